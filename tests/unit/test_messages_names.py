"""One pattern for the names of all messages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from capture.errors import ConfigError
from capture.messages import Facts, Origin, check_name, length_text, name_of

MOMENT = datetime(2026, 11, 22, 14, 31, 5).astimezone()


def facts(**known: Any) -> Facts:
    given: dict[str, Any] = {"origin": Origin.HEARD, "length_s": 37.2, "sent_at": MOMENT}
    return Facts(**given | known)


@pytest.mark.parametrize(
    ("length_s", "text"),
    [(0.4, "0m01s"), (1.4, "0m01s"), (37.3, "0m37s"), (59.6, "1m00s"), (3725.0, "1h02m05s")],
)
def test_lengths_read_well(length_s: float, text: str) -> None:
    assert length_text(length_s) == text


@pytest.mark.parametrize(
    ("app", "name"),
    [
        ("WhatsApp", "2026-11-22 14.31.05 WhatsApp 0m37s"),
        (None, "2026-11-22 14.31.05 0m37s"),
        ("a/b\\c:d", "2026-11-22 14.31.05 a b c d 0m37s"),
        ("Grüße 🎤", "2026-11-22 14.31.05 Grüße 🎤 0m37s"),
    ],
)
def test_names_say_when_who_and_how_long(app: str | None, name: str) -> None:
    assert name_of("{date} {time} {app} {length}", facts(app=app)) == name


def test_a_name_says_who_speaks_and_where() -> None:
    known = facts(sender="Anna", chat="Ruderclub", origin=Origin.IMPORTED, source="chat.zip")
    name = name_of("{chat} {sender} {origin} {source}", known)
    assert name == "Ruderclub Anna imported chat.zip"


def test_what_is_not_known_is_left_out_but_for_the_date() -> None:
    known = facts(sent_at=None)
    assert name_of("{date} {time} {sender} {chat} {length}", known) == "undated 0m37s"


def test_a_part_says_which_it_is() -> None:
    assert name_of("{app}", facts(app="Telegram", part=2)) == "Telegram part 2"


def test_bytes_that_are_no_text_stay_out_of_a_name() -> None:
    assert name_of("a\udcffb", facts()) == "a b"


@pytest.mark.parametrize(
    "pattern", ["{nobody}", "{", "{app.x}", "{0}", "{source[5]}", "{date:>9999999999}", "{app!r}"]
)
def test_a_pattern_with_unknown_words_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="no pattern"):
        check_name(pattern)

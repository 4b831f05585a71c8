"""What the files of voice messages are called, and what else is decided without a sound."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Self

import numpy as np
import pytest

from capture.clock import local_time
from capture.errors import ConfigError
from capture.voice.recent import Recent
from capture.voice.saving import Heard, app_label, check_name, length_text, name_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

MOMENT_S = datetime(2026, 11, 22, 14, 31, 5).astimezone().timestamp()
PATTERN = "{date} {time} {app} {length}"


@pytest.mark.parametrize(
    ("length_s", "text"),
    [(0.4, "0m01s"), (1.4, "0m01s"), (37.3, "0m37s"), (59.6, "1m00s"), (3725.0, "1h02m05s")],
)
def test_lengths_read_well(length_s: float, text: str) -> None:
    assert length_text(length_s) == text


def test_patterns_are_checked_without_a_moment_that_windows_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class OnWindows(datetime):
        def astimezone(self, tz: tzinfo | None = None) -> Self:
            if self.tzinfo is None and self.year < 1971:
                raise OSError(22, "Invalid argument")
            return super().astimezone(tz)

    for module in ("capture.clock", "capture.voice.saving"):
        monkeypatch.setattr(f"{module}.datetime", OnWindows, raising=False)
    check_name(PATTERN)
    assert local_time(0.0).timestamp() == 0
    with pytest.raises(ConfigError, match="nonsense"):
        check_name("{nonsense}")


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
    assert name_of(PATTERN, Heard("system", app, MOMENT_S), 37.2) == name


def test_a_part_says_which_it_is() -> None:
    heard = Heard("system", "Telegram", MOMENT_S, part=2)
    assert name_of("{app}", heard, 1.0) == "Telegram part 2"


def test_bytes_that_are_no_text_stay_out_of_a_name() -> None:
    assert name_of("a\udcffb", Heard("system", None, MOMENT_S), 1.0) == "a b"


@pytest.mark.parametrize(
    "pattern", ["{nobody}", "{", "{app.x}", "{0}", "{source[5]}", "{date:>9999999999}", "{app!r}"]
)
def test_a_pattern_with_unknown_words_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="no pattern"):
        name_of(pattern, Heard("system", None, MOMENT_S), 1.0)


@pytest.mark.parametrize(
    ("details", "label"),
    [
        ({"app": "Firefox", "title": "WhatsApp - 3 new"}, "WhatsApp"),
        ({"app": "org.telegram.desktop", "title": None}, "Telegram"),
        ({"app": "mpv", "title": "song.mp3"}, "mpv"),
        ({"app": "mpv", "title": "Signal Fire.mp3"}, "mpv"),
        ({"app": "Chromium", "title": "Telegram Web"}, "Telegram"),
        ({"app": None}, "unknown"),
    ],
)
def test_a_messenger_in_a_browser_is_called_by_its_name(
    details: Mapping[str, object], label: str
) -> None:
    assert app_label(details) == label


def test_recent_sound_is_held_and_no_more() -> None:
    recent = Recent(100)
    for first in range(0, 300, 30):
        recent.add(np.arange(first, first + 30)[:, None])
    assert recent.end_frame == 300
    assert 170 <= recent.start_frame <= 200
    held = np.concatenate(list(recent.between(195, 250)))[:, 0]
    np.testing.assert_array_equal(held, np.arange(max(195, recent.start_frame), 250))
    assert not list(recent.between(0, recent.start_frame))

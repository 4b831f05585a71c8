"""A message as a line of JSON, and back."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from capture.errors import ConfigError
from capture.messages import Facts, Origin, Passage, entry_of
from capture.messages.message import message_of
from tests.unit.kept import full, make

if TYPE_CHECKING:
    from pathlib import Path

SUM = "0123456789abcdef" * 4


@pytest.mark.parametrize("number", range(12))
def test_every_field_comes_back_from_a_line(tmp_path: Path, number: int) -> None:
    message = full(tmp_path, f"{number} ü.opus", number)
    line = json.dumps(entry_of(message))
    assert message_of(json.loads(line), tmp_path) == message
    assert pickle.loads(pickle.dumps(message)) == message  # noqa: S301 - our own


def test_a_message_does_not_change(tmp_path: Path) -> None:
    message = make(tmp_path)
    with pytest.raises(FrozenInstanceError):
        message.sender = "Anna"  # type: ignore[misc]


def test_what_is_not_known_is_not_written(tmp_path: Path) -> None:
    entry = entry_of(make(tmp_path, app=None, sent_at=None))
    assert not {"app", "sender", "chat", "sent_at", "transcript", "part"} & entry.keys()


def test_a_line_names_its_file_without_the_folder(tmp_path: Path) -> None:
    assert entry_of(make(tmp_path))["path"] == "one.opus"


def test_facts_of_an_origin_stand_beside_the_others(tmp_path: Path) -> None:
    entry = entry_of(make(tmp_path, more={"is_mine": True, "precision": "minute", "id": "x"}))
    assert entry["is_mine"] is True
    assert entry["precision"] == "minute"
    assert entry["id"] != "x"


def test_words_without_times_are_text(tmp_path: Path) -> None:
    message = make(tmp_path, transcript=(Passage("hallo du"),))
    assert entry_of(message)["transcript"] == "hallo du"
    assert message.text == "hallo du"


def test_the_least_that_a_line_has_to_say(tmp_path: Path) -> None:
    message = message_of({"path": "a.ogg", "sha256": SUM, "origin": "imported"}, tmp_path)
    assert (message.id, message.path) == (SUM[:16], tmp_path / "a.ogg")
    assert message.kept_at.tzinfo is not None


def test_a_time_without_a_zone_is_of_this_machine(tmp_path: Path) -> None:
    entry = {"path": "a.ogg", "sha256": SUM, "origin": "imported", "sent_at": "2026-01-29T23:46:03"}
    moment = message_of(entry, tmp_path).sent_at
    assert moment == datetime(2026, 1, 29, 23, 46, 3).astimezone()


def test_facts_have_times_with_a_zone() -> None:
    with pytest.raises(ConfigError, match="no time zone"):
        Facts(origin=Origin.HEARD, length_s=1.0, sent_at=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "../one.opus"},
        {"path": "/etc/passwd"},
        {"path": "a\\b"},
        {"path": ".."},
        {"path": ""},
        {"path": 7},
        {"path": None},
        {"picture": "../a.png"},
        {"sha256": "short"},
        {"sha256": None},
        {"id": "../x"},
        {"id": ""},
        {"origin": "stolen"},
        {"sent_at": "yesterday"},
        {"sent_at": 12},
        {"length_s": "long"},
        {"size_bytes": True},
        {"sender": ["Anna"]},
        {"peaks": "äöü"},
        {"transcript": 3},
        {"transcript": [["a"]]},
        {"transcript": [{"start_s": 1}]},
    ],
)
def test_a_line_that_is_no_message_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    entry = {"path": "a.ogg", "sha256": SUM, "origin": "heard"} | wrong
    with pytest.raises(ValueError, match=r"."):
        message_of(entry, tmp_path)

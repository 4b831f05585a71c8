"""The keys of ``capture voice``: what is thrown away is what was asked about."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from capture.cli.voice_views import LiveView
from capture.model.signal import Level
from capture.model.voice import VoiceMessage, VoiceSnapshot, VoiceState

SILENCE = Level(-math.inf, -math.inf)


class Asked:
    """Notes what the view asks a keeper to do."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def throw_away(self, number: int) -> None:
        self.calls.append(number)

    def delete(self, message: VoiceMessage) -> None:
        self.calls.append(message)

    def keep(self) -> None:
        self.calls.append("keep")

    def actions(self) -> dict[str, Any]:
        return {"keep": self.keep}


def message(name: str) -> VoiceMessage:
    return VoiceMessage(Path(name), "system", None, "", 1.0, 1, -20.0, -30.0)


FIRST, SECOND = message("first.opus"), message("second.opus")
IDLE = VoiceSnapshot(VoiceState.LISTENING, 1.0, None, 0.0, SILENCE, -60.0, (FIRST,))
OPEN = replace(IDLE, state=VoiceState.HEARING, message_s=2.0, number=2)


@pytest.mark.parametrize(
    ("asked", "then", "key", "expected"),
    [
        (OPEN, OPEN, "y", [2]),
        (OPEN, IDLE, "y", [2]),  # it is over, and not saved yet: not the one before
        (OPEN, replace(OPEN, number=3), "y", [2]),
        (IDLE, IDLE, "Y", [FIRST]),
        (IDLE, OPEN, "y", [FIRST]),
        (IDLE, replace(IDLE, kept=(FIRST, SECOND)), "y", [FIRST]),
        (IDLE, IDLE, "", []),  # a key without a name
        (IDLE, IDLE, "n", []),
    ],
)
def test_the_answer_is_about_what_was_asked(
    asked: VoiceSnapshot, then: VoiceSnapshot, key: str, expected: list[Any]
) -> None:
    view, keeper = LiveView(), Asked()
    view._press("d", cast("Any", keeper), asked)
    view._press(key, cast("Any", keeper), then)
    assert keeper.calls == expected


def test_a_key_without_a_name_does_nothing() -> None:
    view, keeper = LiveView(), Asked()
    for key in ("", "s", "x"):
        view._press(key, cast("Any", keeper), OPEN)
    assert keeper.calls == []
    view._press("\r", cast("Any", keeper), OPEN)
    assert keeper.calls == ["keep"]

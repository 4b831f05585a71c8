"""Rules about windows and applications where nobody says which there are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from capture.cli.app import run
from capture.errors import BackendUnavailableError, CaptureError
from capture.live import rule_watch
from capture.live.event_log import EventLog
from capture.model.recording import State
from capture.recording.session import Session
from capture.specs.recording import AudioSpec, RecordingSpec, Rule
from capture.specs.voice import VoiceSpec
from capture.voice import VoiceKeeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from capture.model.devices import WindowInfo
    from capture.model.events import Event

WITHIN_S = 20.0
JOB = ("--for", "1m", "--", "--audio", "synthetic", "--no-video", "--start-when", "window:Mail")


def unanswered(*_: object) -> tuple[Any, ...]:
    raise BackendUnavailableError("nobody answers", hint="start it")


@pytest.fixture
def _silent_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture.sources.list_windows", unanswered)
    monkeypatch.setattr("capture.sources.list_audio_apps", unanswered)


def recording(folder: Path, **rules: tuple[Rule, ...]) -> Session:
    out = folder / "a.flac"
    return Session(RecordingSpec(out, video=None, audio=(AudioSpec("synthetic"),), **rules))  # type: ignore[arg-type]


def keeper(folder: Path, **rules: tuple[Rule, ...]) -> VoiceKeeper:
    return VoiceKeeper(VoiceSpec(folder / "kept", "system", **rules))  # type: ignore[arg-type]


@pytest.mark.usefixtures("_silent_world")
@pytest.mark.parametrize("make", [recording, keeper])
@pytest.mark.parametrize(
    "rules",
    [
        {"start_when": (Rule("window", "Mail"),)},
        {"start_when": (Rule("app", "Mail"),)},
        {"stop_when": (Rule("window-closed", "Mail"),)},
        {"stop_when": (Rule("app-ended", "Mail"),)},
    ],
)
def test_a_rule_that_cannot_be_asked_is_an_error_at_once(
    make: Callable[..., Session | VoiceKeeper], rules: dict[str, Any], tmp_path: Path
) -> None:
    (rule,) = next(iter(rules.values()))
    with pytest.raises(BackendUnavailableError) as caught:
        make(tmp_path, **rules).start()
    assert caught.value.message == f"the rule {rule} cannot be checked: nobody answers"
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["record", "OUT.flac", "--audio", "synthetic", "--start-when", "window:Mail"],
        ["record", "OUT.flac", "--audio", "synthetic", "--stop-when", "window-closed:Mail"],
        ["voice", "OUT", "--start-when", "window:Mail"],
        ["schedule", "add", "daily 09:00", "--database", "OUT.db", *JOB],
    ],
)
def test_the_command_says_so_too(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE"):
        monkeypatch.delenv(name, raising=False)
    assert run([word.replace("OUT", str(tmp_path / "out")) for word in words]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the rule window")
    assert "cannot be checked: there is no screen to read: DISPLAY is not set" in said
    assert not [path for path in tmp_path.iterdir() if ".db" not in path.name]


def test_a_screen_that_dies_while_it_is_waited_for_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_watch, "UNANSWERED_S", 0.1)
    monkeypatch.setattr(rule_watch, "ASK_EVERY_NS", 1)
    asked: list[int] = []

    def windows(_environment: object = None) -> tuple[WindowInfo, ...]:
        asked.append(1)
        return unanswered() if len(asked) > 3 else ()

    monkeypatch.setattr("capture.sources.list_windows", windows)
    with pytest.raises(CaptureError, match="window:Mail cannot be checked: nobody answers"):
        recording(tmp_path, start_when=(Rule("window", "Mail"),)).start()
    assert len(asked) > 3
    assert list(tmp_path.iterdir()) == []


def test_one_that_answers_again_in_time_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_watch, "ASK_EVERY_NS", 1)
    answers = [(), None, (), None]

    def windows(_environment: object = None) -> tuple[WindowInfo, ...]:
        return unanswered() if answers.pop() is None else ()

    monkeypatch.setattr("capture.sources.list_windows", windows)
    watching = rule_watch.RuleWatch([Rule("window", "Mail")], None)
    assert [watching.look().windows for _ in range(4)] == [None, (), None, ()]
    assert watching.unanswered() is None


def test_a_stop_rule_that_can_no_longer_be_asked_is_a_warning_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rule_watch, "UNANSWERED_S", 0.0)
    monkeypatch.setattr(rule_watch, "ASK_EVERY_NS", 1)
    monkeypatch.setattr("capture.sources.list_windows", unanswered)
    published: list[Event] = []
    events = EventLog(published.append)

    class Recording:
        state = State.RECORDING
        turns = 0

        def stop(self, reason: str) -> None:
            raise AssertionError(reason)

        def wait_for_stop(self, timeout_s: float) -> bool:
            del timeout_s
            self.turns += 1
            return self.turns > 5

    running = Recording()
    spec = RecordingSpec(Path("a.mkv"), stop_when=(Rule("window-closed", "Mail"),))
    rule_watch.watch_for_end(running, spec, None, 0, events)
    deadline = time.monotonic() + WITHIN_S
    while running.turns <= 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [event.message for event in published] == [
        "the rule window-closed:Mail cannot be checked; it cannot end this now"
    ]

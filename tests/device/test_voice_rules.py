"""``capture voice`` that waits for something, ends by itself, or hears nothing: really played."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from capture.demo.canvas import Canvas
from capture.errors import CaptureError
from capture.model.events import Event, EventKind
from capture.model.voice import VoiceState
from capture.specs.recording import Rule
from capture.specs.voice import GateSpec, SoundFileSpec, VoiceSpec
from capture.voice import VoiceKeeper, quiet
from tests import scenes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture.model.voice import VoiceResult

pytestmark = [pytest.mark.device, pytest.mark.usefixtures("desktop_env")]

TONES = Path(__file__).with_name("tones.py")
WITHIN_S = 20.0
ANY_SOUND = GateSpec(is_any_sound=True, hold_s=0.5)


@pytest.fixture
def _slow(pytestconfig: pytest.Config) -> None:
    """What takes seconds more and says little more: only with ``--full``."""
    if not pytestconfig.getoption("full"):
        pytest.skip("only with --full")


class Listening:
    """A keeper that starts on a thread of its own, since it may wait, and what it has told."""

    def __init__(self, spec: VoiceSpec) -> None:
        self.events: list[Event] = []
        self._changed = threading.Condition()
        self.keeper = VoiceKeeper(spec, self._on_event)
        self._starter = threading.Thread(target=self.keeper.start)

    def __enter__(self) -> Self:
        self._starter.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.keeper.stop()
        self._starter.join(WITHIN_S)
        self.keeper.wait(WITHIN_S)

    def _on_event(self, event: Event) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait_for(self, kind: EventKind, words: str = "") -> Event:
        """The first event of a kind with these words in its message."""

        def found() -> Event | None:
            fits = (e for e in self.events if e.kind is kind and words in e.message)
            return next(fits, None)

        with self._changed:
            event = self._changed.wait_for(found, WITHIN_S)
        assert event is not None, [each.message for each in self.events]
        return event

    def result(self) -> VoiceResult:
        """What came of it, once it has ended by itself."""
        result = self.keeper.wait(WITHIN_S)
        assert result is not None, "it has not ended"
        return result


@contextlib.contextmanager
def playing(length_s: float, name: str = "radio", peak: float = 0.25) -> Iterator[None]:
    """A tone as an application plays it."""
    words = ["--hz", "700", "--seconds", f"{length_s}", "--peak", f"{peak}", "--name", name]
    process = subprocess.Popen([sys.executable, str(TONES), *words])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_an_application_starts_it_and_its_end_stops_it(tmp_path: Path) -> None:
    spec = VoiceSpec(
        tmp_path,
        gate=ANY_SOUND,
        start_when=(Rule("app", "radio"),),
        stop_when=(Rule("app-ended"),),
    )
    with Listening(spec) as listening:
        assert listening.wait_for(EventKind.WAITING).message == "waiting for app:radio"
        assert listening.keeper.state is VoiceState.WAITING
        with playing(3.0):
            result = listening.result()
    assert result.stopped_by == "app-ended"
    (message,) = result.messages  # that of which it was the beginning
    assert message.app == "radio"
    assert 1.0 < message.length_s < 3.2


def test_a_window_that_comes_starts_it_and_its_closing_stops_it(tmp_path: Path) -> None:
    rules = (Rule("window", "voice call"),)
    spec = VoiceSpec(tmp_path, start_when=rules, stop_when=(Rule("window-closed"),))
    with Listening(spec) as listening:
        listening.wait_for(EventKind.WAITING)
        with Canvas("A Voice Call", 64, 64):
            listening.wait_for(EventKind.STARTED)
        result = listening.result()
    assert (result.stopped_by, result.messages) == ("window-closed", ())


def test_silence_ends_it_so_long_after_the_last_sound(tmp_path: Path) -> None:
    spec = VoiceSpec(
        tmp_path,
        gate=ANY_SOUND,
        file=SoundFileSpec("wav"),
        stop_when=(Rule("silence", amount=2.0),),
    )
    with Listening(spec) as listening:
        listening.wait_for(EventKind.STARTED)
        with playing(3.0):  # longer than the silence
            result = listening.result()
    assert result.stopped_by == "silence"
    (message,) = result.messages
    assert message.length_s >= 2.7  # a player that a busy machine holds up plays longer
    assert result.listened_s >= message.length_s + 2.0 - 0.3


@pytest.mark.usefixtures("_slow")
def test_it_ends_when_the_files_are_so_large(tmp_path: Path) -> None:
    spec = VoiceSpec(
        tmp_path, gate=ANY_SOUND, file=SoundFileSpec("wav"), stop_when=(Rule("size", amount=100e3),)
    )
    with Listening(spec) as listening:
        listening.wait_for(EventKind.STARTED)
        with playing(0.6):  # 58 kB, mono
            listening.wait_for(EventKind.MESSAGE_KEPT)
        assert not listening.keeper.wait_for_stop(1.0)
        with playing(0.6):
            result = listening.result()
    assert result.stopped_by == "size"
    assert len(result.messages) == 2


def test_what_does_not_come_is_given_up(tmp_path: Path) -> None:
    spec = VoiceSpec(tmp_path, start_when=(Rule("app", "nobody"),), start_within_s=0.2)
    keeper = VoiceKeeper(spec)
    with pytest.raises(CaptureError, match="app:nobody did not come within"):
        keeper.start()
    assert keeper.state is VoiceState.FAILED
    keeper = VoiceKeeper(replace(spec, start_within_s=None))
    threading.Timer(0.5, keeper.stop).start()
    with pytest.raises(CaptureError, match="stopped before it began"):
        keeper.start()
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_nobody_has_is_said_with_those_who_play(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet, "NOT_THERE_AFTER_S", 1.0)
    spec = VoiceSpec(tmp_path, "app:raido", gate=ANY_SOUND)
    with Listening(spec) as listening:
        warning = listening.wait_for(EventKind.WARNING, "no application")
    assert warning.message == (
        "no application named raido is playing; nothing is playing; still waiting"
    )
    with playing(WITHIN_S), playing(WITHIN_S, "Alpha"), Listening(spec) as listening:
        listening.wait_for(EventKind.STARTED)
        warning = listening.wait_for(EventKind.WARNING, "no application")
        assert warning.message.endswith("; there are: Alpha, radio; still waiting")
        with playing(1.0, "raido"):  # it is followed all the same
            assert listening.wait_for(EventKind.MESSAGE_OPENED).details["app"] == "raido"
    assert sum("no application" in event.message for event in listening.events) == 1


def test_an_application_that_plays_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet, "NOT_THERE_AFTER_S", 1.0)
    spec = VoiceSpec(tmp_path, "app:radio", duration_s=2.5)
    with playing(WITHIN_S), Listening(spec) as listening:
        listening.result()
    assert not [event for event in listening.events if "no application" in event.message]


def test_a_source_that_plays_nothing_but_silence_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet, "SILENT_AFTER_S", 2.0)
    with Listening(VoiceSpec(tmp_path, "app:radio")) as listening:
        listening.wait_for(EventKind.STARTED)
        with playing(WITHIN_S, peak=0.0):
            warning = listening.wait_for(EventKind.WARNING, "silence")
    assert warning.message == "app radio plays, but gives only silence"
    assert warning.message in listening.result().warnings


@pytest.mark.usefixtures("_slow")
def test_a_source_that_was_heard_may_be_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet, "SILENT_AFTER_S", 1.0)
    with Listening(VoiceSpec(tmp_path, "app:radio", gate=ANY_SOUND)) as listening:
        listening.wait_for(EventKind.STARTED)
        with playing(1.0):
            listening.wait_for(EventKind.MESSAGE_KEPT)
        with playing(WITHIN_S, peak=0.0):
            assert not listening.keeper.wait_for_stop(3.0)
    assert not [event for event in listening.events if "silence" in event.message]


def test_a_message_is_deleted_once_however_often_that_is_asked(tmp_path: Path) -> None:
    with Listening(VoiceSpec(tmp_path, gate=ANY_SOUND)) as listening:
        listening.wait_for(EventKind.STARTED)
        with playing(0.6):
            listening.wait_for(EventKind.MESSAGE_KEPT)
        (message,) = listening.keeper.snapshot().kept
        threads = [
            threading.Thread(target=listening.keeper.delete, args=(message,)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        listening.keeper.delete(message)
        assert not message.path.exists()
        assert listening.keeper.snapshot().kept == ()
    dropped = [e for e in listening.events if e.kind is EventKind.MESSAGE_DROPPED]
    assert len(dropped) == 1
    assert listening.result().dropped == 1


@scenes.needs_espeak
def test_plain_lines_say_what_is_heard_and_what_a_messenger_makes_of_it(tmp_path: Path) -> None:
    words = ["voice", str(tmp_path / "kept"), "--once", "--for", "telegram"]
    process = subprocess.Popen(
        [sys.executable, "-m", "capture", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stderr.readline() == "listening to applications\n"
    message = scenes.messages()[0].write(tmp_path / "message.wav")
    subprocess.run(["paplay", str(message)], check=True)
    with process.stdout, process.stderr:
        lines, paths = process.stderr.read().splitlines(), process.stdout.read()
    assert process.wait(WITHIN_S) == 0
    assert lines[0].startswith("note: Sound as Telegram Desktop records it")
    assert lines[1] == "hearing paplay"
    assert lines[2].startswith("kept ")
    assert [Path(line).suffix for line in paths.splitlines()] == [".ogg"]


def test_events_tell_what_a_messenger_makes_of_it(tmp_path: Path) -> None:
    spec = VoiceSpec(tmp_path, file=SoundFileSpec(messenger="whatsapp"))
    with Listening(spec) as listening:
        (note,) = listening.wait_for(EventKind.STARTED).details["notes"]
    assert "attached by hand it is sent as an audio file" in note


@scenes.needs_espeak
def test_a_microphone_is_a_voice_recorder(tmp_path: Path) -> None:
    """A real source, for monitors are no microphones; what it hears is played to it."""
    import pulsectl  # noqa: PLC0415 - it loads libpulse, without which tests are skipped

    with pulsectl.Pulse("test") as pulse:
        before = pulse.server_info().default_source_name
        sink = pulse.server_info().default_sink_name
        module = pulse.module_load(
            "module-remap-source",
            f"master={sink}.monitor source_name=voicemic source_properties=device.class=sound",
        )
        try:
            pulse.source_default_set("voicemic")
            spec = VoiceSpec(tmp_path / "kept", "mic", count=1, file=SoundFileSpec("wav"))
            message = scenes.messages()[9]
            with Listening(spec) as listening:
                listening.wait_for(EventKind.STARTED)
                subprocess.run(["paplay", str(message.write(tmp_path / "m.wav"))], check=True)
                result = listening.result()
        finally:
            pulse.module_unload(module)
            pulse.source_default_set(before)
    (kept,) = result.messages
    spoken_s = (message.end_frame - message.start_frame) / scenes.RATE_HZ
    assert result.stopped_by == "count"
    assert kept.app is None
    assert kept.length_s == pytest.approx(spoken_s + 0.2, abs=0.15)  # 0.1 s are left at both ends

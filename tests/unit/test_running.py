"""What every front relies on: events as they come, an end for each stream, one way to stop."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING, Any

import pytest

from capture import AudioSpec, EventKind, RecordingSpec, Session
from capture.errors import OutputError
from capture.live.event_log import EventLog

if TYPE_CHECKING:
    from pathlib import Path


def test_streams_have_what_happens_from_then_on_and_end() -> None:
    log = EventLog(None)
    first = log.stream()
    log.emit(EventKind.STARTED, "one")
    second = log.stream()
    log.emit(EventKind.DONE, "two")
    log.close()
    assert [event.message for event in first] == ["one", "two"]
    assert [event.message for event in second] == ["two"]
    assert list(first) == []
    assert list(log.stream()) == []


def test_a_stream_that_nobody_has_any_more_holds_nothing() -> None:
    log = EventLog(None)
    stream = log.stream()
    assert len(log._streams) == 1
    del stream
    gc.collect()
    assert not log._streams


def test_a_callback_that_fails_ends_neither_the_stream_nor_the_recording() -> None:
    def fail(_event: Any) -> None:
        raise RuntimeError("mine")

    log = EventLog(fail)
    stream = log.stream()
    log.emit(EventKind.STARTED, "one")
    log.emit(EventKind.DONE, "two")
    log.close()
    assert [event.message for event in stream] == ["one", "two"]
    assert log.warnings == ("on_event failed, and gets no more events: mine",)


def test_the_events_of_a_recording(tmp_path: Path) -> None:
    spec = RecordingSpec(tmp_path / "a.wav", None, (AudioSpec("synthetic"),), duration_s=0.3)
    session = Session(spec)
    events = session.events()
    with session:
        kinds = [event.kind for event in events]
    assert kinds[0] is EventKind.STARTED
    assert kinds[-1] is EventKind.DONE


def test_a_recording_that_cannot_begin_ends_its_events(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    session = Session(RecordingSpec(path, None, (AudioSpec("synthetic"),)))
    path.write_bytes(b"precious")
    taken: list[Any] = []
    reader = threading.Thread(target=lambda: taken.extend(session.events()))
    reader.start()
    with pytest.raises(OutputError, match="exists"):
        session.start()
    reader.join(20)
    assert not reader.is_alive()

"""``snapshot()`` from many threads at once, while streams of sound come and go."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from capture import AudioSpec, Event, EventKind, RecordingSpec, Session
from capture.clock import now_ns
from capture.model.signal import AudioBlock
from capture.sources.base import AudioSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RATE_HZ = 48_000
BLOCK_FRAMES = 480
STREAM_BLOCKS = 5
"""A stream lives for 50 ms."""
ASKING = 8


class Comers(AudioSource):
    """Streams that play for a moment, several at once, one after the other."""

    def __init__(self) -> None:
        self.label, self.rate_hz, self.channels = "comers", RATE_HZ, 2
        self.is_idle_silent, self.notes = True, []
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, put: Any, on_event: Any) -> None:
        def play() -> None:
            samples = np.full((BLOCK_FRAMES, 2), 0.1, np.float32)
            number = 0
            while not self._is_closed.wait(0.002):
                number += 1
                for block in range(STREAM_BLOCKS):
                    at_ns = now_ns() - (STREAM_BLOCKS - block) * 10_000_000
                    put(AudioBlock(samples.copy(), at_ns, block * BLOCK_FRAMES, number))
                ended = {"stream": number}
                on_event(Event(EventKind.STREAM_ENDED, "over", now_ns(), self.label, ended))

        self._thread = threading.Thread(target=play, name="capture-comers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._is_closed.set()
        if self._thread is not None:
            self._thread.join()


@pytest.fixture
def _hasty() -> Iterator[None]:
    """Threads are switched as often as can be."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before_s)


@pytest.mark.usefixtures("_hasty")
def test_snapshots_hold_while_streams_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    monkeypatch.setattr("capture.recording.inputs.open_audio", lambda *_, **__: Comers())
    length_s = 60.0 if pytestconfig.getoption("full") else 3.0
    session = Session(RecordingSpec(tmp_path / "a.wav", None, (AudioSpec("synthetic"),)))
    took_ns: list[int] = []
    failures: list[Exception] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.wait(0.005):
            began_ns = time.perf_counter_ns()
            try:
                session.snapshot()
            except Exception as error:  # noqa: BLE001 - any is a failure
                failures.append(error)
                return
            took_ns.append(time.perf_counter_ns() - began_ns)

    threads = [threading.Thread(target=ask) for _ in range(ASKING)]
    with session:
        for thread in threads:
            thread.start()
        time.sleep(length_s)
        is_over.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert len(took_ns) > 100
    print(f"99 % within {np.percentile(took_ns, 99) / 1e6:.2f} ms of {len(took_ns)}")  # noqa: T201

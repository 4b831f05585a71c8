"""The contract of a recording and of a listening for voice messages.

Every front (the command, a window, a program of a user) starts, shows and ends both in the same
way. ``Session`` and ``VoiceKeeper`` are the two implementations.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, Protocol, Self, TypeVar

from capture.live.event_log import EventLog, EventStream
from capture.model.events import Event
from capture.pipeline import StopFlag

SnapshotT = TypeVar("SnapshotT")
ResultT = TypeVar("ResultT")


class Stoppable(Protocol):
    """Something that a rule or a signal can stop. Any thread may call its methods."""

    @property
    def state(self) -> str:
        """Its state; the name of a pause is that of ``State.PAUSED``."""

    def stop(self, reason: str) -> None:
        """End in order; does nothing the second time."""

    def wait_for_stop(self, timeout_s: float) -> bool:
        """Wait so many seconds at most until it is to end; true if it is."""


class Running(ABC, Generic[SnapshotT, ResultT]):
    """Something that runs from ``start()`` to its own end or to ``stop()``.

    ``with`` starts and ends it. Any thread may call its methods.

    Args:
        on_event: Called with every event, from several threads; must not block.
    """

    def __init__(self, on_event: Callable[[Event], None] | None) -> None:
        self._events = EventLog(on_event)
        self._lock = threading.RLock()
        self._stop_asked = StopFlag()
        self._finished = threading.Event()
        self._stopped_by = ""
        self._error: BaseException | None = None
        self._result: ResultT | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        if kind is None:
            self.wait()
        else:
            self._finished.wait()

    @abstractmethod
    def start(self) -> None:
        """Wait for the start rules, open the sources and begin.

        Raises:
            NothingRecordedError: It was stopped before it began.
            CaptureError: A device, a file or a library is missing. Nothing is left behind.
        """

    def run(self) -> ResultT:
        """Start, wait for the end or ^C, and give the result.

        Raises:
            CaptureError: It could not start, or failed on the way.
        """
        with self:
            try:
                self.wait()
            except KeyboardInterrupt:
                self.stop("interrupt")
        result = self.wait()
        assert result is not None
        return result

    @abstractmethod
    def pause(self) -> None:
        """Leave out everything from now on, until ``resume()``."""

    @abstractmethod
    def resume(self) -> None:
        """End the pause; does nothing where none is open."""

    def stop(self, reason: str = "request") -> None:
        """End now; ``wait()`` gives the result. Does nothing the second time.

        Args:
            reason: ``stopped_by`` of the result.
        """
        with self._lock:
            if not self._stop_asked.is_set():
                self._stopped_by = self._stopped_by or reason
                self._before_stop()
                self._stop_asked.set()

    def _before_stop(self) -> None:
        """Called once, under the lock, before anything ends."""

    @abstractmethod
    def abort(self) -> None:
        """End without waiting for sound and pictures in queues; the recorded part is kept."""

    def wait(self, timeout_s: float | None = None) -> ResultT | None:
        """Wait for the result; ``None`` if it takes longer than the timeout.

        Raises:
            CaptureError: It failed. ``result`` has what was kept all the same.
        """
        if not self._finished.wait(timeout_s):
            return None
        if self._error is not None:
            raise self._error
        return self._result

    def wait_for_stop(self, timeout_s: float) -> bool:
        """Wait so many seconds at most until it is to end for any reason; true if it is."""
        return self._stop_asked.wait(timeout_s)

    def events(self) -> EventStream:
        """An iterator over the events from now on; the last one is DONE."""
        return self._events.stream()

    def actions(self) -> dict[str, Callable[[], object]]:
        """What may be asked of it while it runs, by name, for keys, buttons and other processes."""
        return {"pause": self.pause, "resume": self.resume, "stop": self.stop}

    @property
    def result(self) -> ResultT | None:
        """The result, also where ``wait()`` raises; ``None`` before the end."""
        return self._result

    @property
    @abstractmethod
    def state(self) -> str:
        """The present ``State`` or ``VoiceState``."""

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """One sentence for each reason why a slower or poorer way was taken."""

    @abstractmethod
    def snapshot(self) -> SnapshotT:
        """The values of this moment; cheap, made to be polled 10 to 20 times a second."""

    def _end_events(self) -> None:
        """End the streams of ``events()``; called after the last event."""
        self._finished.set()
        self._events.close()

"""The events of a recording or a listening, for callbacks and streams, and the warnings."""

import queue
import weakref
from collections.abc import Callable
from typing import Any, Self

from capture.cautions import Caution
from capture.clock import now_ns
from capture.model.events import Event, EventKind


class EventStream:
    """Iterates over the events from its creation on, up to the last one.

    ``next()`` waits for an event. For one thread. Events that nobody takes are held as long as the
    stream is.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()

    def put(self, event: Event | None) -> None:
        """Add an event; ``None`` ends the stream."""
        self._queue.put(event)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        event = self._queue.get()
        if event is None:
            self._queue.put(None)
            raise StopIteration
        return event


class EventLog:
    """Publishes events to a callback and to streams. Any thread may call.

    Args:
        on_event: The owner's callback; it must not block. After an exception it is not called any
            more, which is a warning: the owner's fault must not end a thread of the recording.
    """

    def __init__(self, on_event: Callable[[Event], None] | None) -> None:
        self._on_event = on_event
        self._streams: weakref.WeakSet[EventStream] = weakref.WeakSet()
        self._is_closed = False
        self._warnings: list[str] = []
        self._awaited: dict[str, str] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings, each once, the oldest first."""
        return tuple(dict.fromkeys(self._warnings))

    @property
    def last_warning(self) -> str | None:
        """The newest warning, or ``None``."""
        return self._warnings[-1] if self._warnings else None

    def stream(self) -> EventStream:
        """An iterator over all events from now on."""
        stream = EventStream()
        self._streams.add(stream)
        if self._is_closed:
            stream.put(None)
        return stream

    def close(self) -> None:
        """End all streams; idempotent."""
        self._is_closed = True
        for stream in list(self._streams):
            stream.put(None)

    def add_warning(self, message: str) -> None:
        """Add a text to ``warnings`` that is published as another event."""
        self._warnings.append(message)

    def warn(self, message: str) -> None:
        """Add a warning, and publish it the first time."""
        if message not in self._warnings:
            self._warnings.append(message)
            self.emit(EventKind.WARNING, message)

    def emit(self, kind: EventKind, message: str, **details: Any) -> None:
        """Publish an event that happens now."""
        self.publish(Event(kind, message, now_ns(), details=details))

    def forward(self, event: Event) -> None:
        """Publish a source's event. A fault is a warning, until what it waits for has come."""
        if event.kind in {EventKind.WARNING, EventKind.DEVICE_LOST}:
            self.add_warning(event.message)
        if event.details.get("waiting") and event.source is not None:
            self._awaited[event.source] = event.message
        elif event.kind is EventKind.STREAM_STARTED and event.source in self._awaited:
            message = self._awaited.pop(event.source)
            while message in self._warnings:  # in place: other threads add theirs meanwhile
                self._warnings.remove(message)
        self.publish(event)

    def publish(self, event: Event) -> None:
        """Give an event to the callback and to the streams."""
        for stream in list(self._streams):
            stream.put(event)
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - it is the owner's code
            self._on_event = None
            self.add_warning(Caution.CALLBACK_FAILED.with_(error=str(error)))

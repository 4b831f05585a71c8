"""What happens to a recording, told to its owner; and the warnings, kept for its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capture.clock import now_ns
from capture.model.events import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Teller"]


class Teller:
    """Tells one owner. Any thread may call.

    Args:
        on_event: The owner's; it must not block. What goes wrong in it never reaches a thread of
            the recording: it is told no more, and that is a warning.
    """

    def __init__(self, on_event: Callable[[Event], None] | None) -> None:
        self._on_event = on_event
        self._warnings: list[str] = []
        self._awaited: dict[str, str] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """All of them, each once, the oldest first."""
        return tuple(dict.fromkeys(self._warnings))

    @property
    def last_warning(self) -> str | None:
        """The newest, if there is any."""
        return self._warnings[-1] if self._warnings else None

    def keep(self, message: str) -> None:
        """Keep a warning that is told in other words, or was told."""
        self._warnings.append(message)

    def warn(self, message: str) -> None:
        """Keep a warning, and tell it the first time."""
        if message not in self._warnings:
            self._warnings.append(message)
            self.emit(EventKind.WARNING, message)

    def emit(self, kind: EventKind, message: str, **details: Any) -> None:
        """Tell what happened now."""
        self.tell(Event(kind, message, now_ns(), details=details))

    def pass_on(self, event: Event) -> None:
        """Tell what a source says; what is wrong is kept, until what it waits for has come."""
        if event.kind in {EventKind.WARNING, EventKind.DEVICE_LOST, EventKind.GAP}:
            self.keep(event.message)
        if event.details.get("waiting") and event.source is not None:
            self._awaited[event.source] = event.message
        elif event.kind is EventKind.STREAM_STARTED and event.source in self._awaited:
            message = self._awaited.pop(event.source)
            while message in self._warnings:  # in place: other threads add theirs meanwhile
                self._warnings.remove(message)
        self.tell(event)

    def tell(self, event: Event) -> None:
        """Tell it."""
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - it is the owner's code
            self._on_event = None
            self.keep(f"events are no longer told: on_event failed ({error})")

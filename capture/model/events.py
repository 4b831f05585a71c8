"""Events: what happened during a recording or a listening, and when."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Event", "EventKind"]


class EventKind(enum.StrEnum):
    """The kinds of events of recordings, listenings and devices."""

    CHOICE = "choice"
    """Something was picked automatically; the message has the choice and the reason."""
    WAITING = "waiting"
    """It begins at a time, or when a rule holds; the message has what it waits for."""
    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    MARKED = "marked"
    FILE_DONE = "file-done"
    STREAM_STARTED = "stream-started"
    """An application began to play (``details["stream"]``)."""
    STREAM_ENDED = "stream-ended"
    DEVICE_LOST = "device-lost"
    DEVICE_BACK = "device-back"
    DEFAULT_CHANGED = "default-changed"
    OVERLOAD = "overload"
    """Pictures are taken less often from now on, or as often again (``details["fps"]``)."""
    DEAD_SIGNAL = "dead-signal"
    """A track records nothing of use: ``details["what"]`` is silent, quiet, no-data or black."""
    MESSAGE_OPENED = "message-opened"
    """A sound began that may be a voice message."""
    MESSAGE_KEPT = "message-kept"
    """A voice message is whole, in a file of its own."""
    MESSAGE_DROPPED = "message-dropped"
    """A sound was dropped; ``details["why"]`` is too-short, not-speech or thrown-away."""
    WARNING = "warning"
    FINISHING = "finishing"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Event:
    """One event, with its time and its source."""

    kind: EventKind
    message: str
    at_ns: int
    """Time on the capture clock."""
    source: str | None = None
    """The source's label, or ``None`` for the recording itself."""
    details: Mapping[str, Any] = field(default_factory=dict)

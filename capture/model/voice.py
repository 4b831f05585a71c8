"""Voice messages, and the snapshots and results of a listening."""

import enum
from dataclasses import dataclass
from pathlib import Path

from capture.model.signal import Level

__all__ = ["VoiceMessage", "VoiceResult", "VoiceSnapshot", "VoiceState"]


@dataclass(frozen=True, slots=True)
class VoiceMessage:
    """A voice message in a file of its own."""

    path: Path
    source: str
    """Label of its source."""
    app: str | None
    """The application that played it; ``None`` where that is not known."""
    started: str
    """Local wall time of its beginning, ISO 8601."""
    length_s: float
    """Length of the file, in seconds."""
    size_bytes: int
    peak_dbfs: float
    rms_dbfs: float
    part: int | None = None
    """1, 2, ... where one message was so long that it was cut."""
    picture: Path | None = None
    warnings: tuple[str, ...] = ()
    id: str | None = None
    """Id of the kept message, see ``capture.messages``; ``None``: only the file is kept."""


class VoiceState(enum.StrEnum):
    """The states of a ``VoiceKeeper``."""

    READY = "ready"
    WAITING = "waiting"
    LISTENING = "listening"
    HEARING = "hearing"
    HOLDING = "holding"
    """Nothing sounds, and the message may go on."""
    PAUSED = "paused"
    FINISHING = "finishing"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class VoiceSnapshot:
    """A ``VoiceKeeper`` at one moment; made to be polled 10-20 times a second."""

    state: VoiceState
    listened_s: float
    app: str | None
    """Application of the open message; ``None`` where none is open, or it is not known."""
    message_s: float
    """Length of the open message so far; 0 while none is."""
    level: Level
    """Loudness of the last 100 ms or so."""
    threshold_dbfs: float
    """Louder sound opens the gate."""
    kept: tuple[VoiceMessage, ...]
    message: str | None = None
    """The last warning; ``None``: there is none."""
    number: int | None = None
    """Which message is open, for ``throw_away()``; ``None`` where none is."""


@dataclass(frozen=True, slots=True)
class VoiceResult:
    """The result of a ``VoiceKeeper``; printed whole with ``--json``."""

    messages: tuple[VoiceMessage, ...]
    listened_s: float
    dropped: int
    """Number of sounds that were no messages."""
    warnings: tuple[str, ...]
    stopped_by: str
    """count, duration, idle, size, request, disk, error, or a stop rule's kind."""

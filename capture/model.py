"""Frozen values that cross borders between the parts; units are in the names; no I/O.

``_ns`` are integers, on the capture clock (``capture.clock``) or, where said, on the media time of
a recording. ``_s`` are floats and appear in specs only. ``_frames`` count samples per channel of
sound, ``_pictures`` count pictures. ``_px`` are physical pixels, ``_hz`` per second, ``_dbfs``
decibels below full scale (0 is full scale, silence is -inf).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from capture.specs import (
    AudioSpec,
    ExtractJob,
    GateSpec,
    RecordingSpec,
    Rect,
    Rule,
    SoundFileSpec,
    TrackMode,
    VideoSpec,
    VoiceSpec,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "AudioApp",
    "AudioBlock",
    "AudioDevice",
    "AudioSpec",
    "DeviceKind",
    "Event",
    "EventKind",
    "ExtractJob",
    "ExtractResult",
    "ExtractedPart",
    "GateSpec",
    "Level",
    "Monitor",
    "RecordingResult",
    "RecordingSpec",
    "Rect",
    "Rule",
    "ScreenPicture",
    "Snapshot",
    "SoundFileSpec",
    "SoundState",
    "Span",
    "State",
    "TimeQuality",
    "TrackMode",
    "TrackReport",
    "VideoSpec",
    "VoiceMessage",
    "VoiceResult",
    "VoiceSnapshot",
    "VoiceSpec",
    "VoiceState",
    "Window",
]

NS_PER_S = 1_000_000_000


# ---------------------------------------------------------------------------------- what there is


@dataclass(frozen=True, slots=True)
class Monitor:
    """A screen. ``None`` means that the system could not tell."""

    id: int
    """1 is the first, as in ``--screen 1``."""
    name: str | None
    rect: Rect
    is_primary: bool | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """A top-level window as it was when asked. ``None`` means that the system could not tell."""

    id: int
    title: str
    rect: Rect
    """Its content without the window manager's frame, in desktop coordinates."""
    app_name: str | None = None
    pid: int | None = None


class DeviceKind(enum.StrEnum):
    """Which way the sound goes."""

    OUTPUT = "output"
    MICROPHONE = "microphone"


@dataclass(frozen=True, slots=True)
class AudioDevice:
    """A sound device; ``id`` is stable across runs and is what ``--audio system:ID`` takes."""

    id: str
    name: str
    kind: DeviceKind
    backend: str
    rate_hz: int
    channels: int
    is_default: bool = False
    is_muted: bool | None = None


@dataclass(frozen=True, slots=True)
class AudioApp:
    """An application that plays sound, with all its streams."""

    name: str
    stream_ids: tuple[int, ...]
    binary: str | None = None
    pid: int | None = None
    title: str | None = None
    """What it says it plays, e.g. a song or a page title."""
    is_playing: bool = True
    """False while all its streams are paused."""


# ------------------------------------------------------------------------------ what sources give


@dataclass(frozen=True, slots=True)
class ScreenPicture:
    """What a screen source shows at one moment.

    ``pixels`` is uint8 BGRA, shape ``(height, width, 4)``; the alpha byte has no meaning. It is
    memory that the source keeps and updates: valid until the next ``grab()``, never written to.
    """

    pixels: NDArray[np.uint8]
    changed: tuple[Rect, ...]
    """Where it differs from the picture before, in picture coordinates; empty: nowhere."""
    captured_ns: int
    """Capture clock, middle of the grab."""


class TimeQuality(enum.StrEnum):
    """Where a block's time comes from, best first."""

    DEVICE = "device"
    SERVER = "server"
    ARRIVAL = "arrival"


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """A run of sound: float32, shape ``(frames, channels)``, -1..1, owning its memory."""

    samples: NDArray[np.float32]
    captured_ns: int
    """Capture clock: when the first frame was heard, or reached the microphone; an estimate."""
    position_frames: int
    """Index of the first frame in its stream; a jump says that frames were lost in between."""
    stream: int = 0
    """Which stream of the source: an application may play several at once; they are summed."""
    quality: TimeQuality = TimeQuality.ARRIVAL


class SoundState(enum.StrEnum):
    """Whether sound is to be expected of a source now, as far as its system can tell."""

    UNKNOWN = "unknown"
    IDLE = "idle"
    """Nothing plays: silence is right."""
    PLAYING = "playing"
    MUTED = "muted"
    LOST = "lost"


class EventKind(enum.StrEnum):
    """What can happen during a recording."""

    CHOICE = "choice"
    """Something was picked automatically; the message says what and why."""
    WAITING = "waiting"
    """It begins at a time, or when a rule holds; the message says what it waits for."""
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
    GAP = "gap"
    OVERLOAD = "overload"
    """Pictures are taken less often from now on, or as often again (``details["fps"]``)."""
    DEAD_SIGNAL = "dead-signal"
    """A track records nothing of use: ``details["what"]`` is silent, quiet, no-data or black."""
    MESSAGE_OPENED = "message-opened"
    """Something sounds that may be a voice message."""
    MESSAGE_KEPT = "message-kept"
    """A voice message is whole, in a file of its own."""
    MESSAGE_DROPPED = "message-dropped"
    """What sounded was none: ``details["why"]`` is too-short, not-speech or thrown-away."""
    WARNING = "warning"
    FINISHING = "finishing"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, when, and where."""

    kind: EventKind
    message: str
    at_ns: int
    """Capture clock."""
    source: str | None = None
    """The source's label, or ``None`` for the recording itself."""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Level:
    """Loudness of a stretch of sound; -inf for silence."""

    rms_dbfs: float
    peak_dbfs: float
    is_clipped: bool = False


# ------------------------------------------------------------------------------ what came of it


class State(enum.StrEnum):
    """Where a session stands. Any state may turn to FAILED."""

    READY = "ready"
    WAITING = "waiting"
    RECORDING = "recording"
    PAUSED = "paused"
    FINISHING = "finishing"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session at one moment; immutable, made to be polled 10-20 times a second."""

    state: State
    recorded_ns: int
    """Media time so far, without pauses."""
    written_bytes: int
    free_bytes: int | None
    captured_pictures: int
    dropped_pictures: int
    fps: float
    """Pictures captured in the last second."""
    levels: Mapping[str, Level]
    """Per track, since the snapshot before."""
    drift_ppm: Mapping[str, float]
    path: Path | None
    message: str | None = None
    """The last warning, if any."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a file or a track, in seconds from its beginning."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """How long it is."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class TrackReport:
    """What became of one track."""

    name: str
    kind: str
    """video or audio."""
    codec: str
    start_s: float
    end_s: float
    silence_inserted_s: float = 0.0
    sound_dropped_s: float = 0.0
    gaps: int = 0
    drift_ppm: float = 0.0
    max_error_ms: float = 0.0
    peak_dbfs: float | None = None
    """Loudest sample of the whole track; ``None`` for pictures."""


@dataclass(frozen=True, slots=True)
class RecordingResult:
    """The end of a session; printed whole with ``--json``."""

    paths: tuple[Path, ...]
    duration_s: float
    size_bytes: int
    captured_pictures: int
    unchanged_pictures: int
    """Slots of the grid in which nothing moved, so that nothing was grabbed."""
    dropped_pictures: int
    tracks: tuple[TrackReport, ...]
    warnings: tuple[str, ...]
    stopped_by: str
    """duration, size, request, source-ended, device-lost, disk, error, or a stop rule's kind."""
    pauses_s: tuple[tuple[float, float], ...] = ()
    """(media time, length) of every pause."""
    markers_s: tuple[float, ...] = ()
    dead: tuple[str, ...] = ()
    """Tracks that recorded nothing of use for 5 s or throughout; the warnings say why."""
    command_exit_code: int | None = None
    """Of the command that was recorded, 128 and more for a signal, as in a shell; ``None``: there
    was none, or it still ran at the end and was ended by us."""

    @property
    def path(self) -> Path:
        """The first file."""
        return self.paths[0]


@dataclass(frozen=True, slots=True)
class VoiceMessage:
    """A voice message in a file of its own."""

    path: Path
    source: str
    """Label of what it was heard from."""
    app: str | None
    """The application that played it; ``None`` where that is not known."""
    started: str
    """Local wall time of its beginning, ISO 8601."""
    length_s: float
    """Of the file."""
    size_bytes: int
    peak_dbfs: float
    rms_dbfs: float
    part: int | None = None
    """1, 2, ... where one message was so long that it was cut."""
    picture: Path | None = None
    warnings: tuple[str, ...] = ()
    id: str | None = None
    """Of the kept message, see ``capture.messages``; ``None``: only the file is kept."""


class VoiceState(enum.StrEnum):
    """Where a ``VoiceKeeper`` stands."""

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
    """Whose message is open; ``None`` where none is, or nobody knows."""
    message_s: float
    """Length of the open message so far; 0 while none is."""
    level: Level
    """Of the last 100 ms or so."""
    threshold_dbfs: float
    """Above this it counts as sound."""
    kept: tuple[VoiceMessage, ...]
    message: str | None = None
    """The last warning, if any."""
    number: int | None = None
    """Which message is open, for ``throw_away()``; ``None`` where none is."""


@dataclass(frozen=True, slots=True)
class VoiceResult:
    """The end of a ``VoiceKeeper``; printed whole with ``--json``."""

    messages: tuple[VoiceMessage, ...]
    listened_s: float
    dropped: int
    """How often something sounded that was no message."""
    warnings: tuple[str, ...]
    stopped_by: str
    """count, duration, idle, size, request, disk, error, or a stop rule's kind."""


@dataclass(frozen=True, slots=True)
class ExtractedPart:
    """One file that was written."""

    path: Path
    span: Span
    """Where it lies in the source, on the clock that a player shows. Of what was cut together out
    of several places: from the first to the last."""
    duration_s: float
    """How long it sounds."""
    codec: str
    """What FFmpeg calls it."""
    size_bytes: int
    title: str | None = None
    """Of the track, or of the chapter."""


@dataclass(frozen=True, slots=True)
class ExtractResult:
    """What came of an ``ExtractJob``."""

    source: Path
    parts: tuple[ExtractedPart, ...]
    warnings: tuple[str, ...]
    sound_s: float
    """How much sound of the source was gone through, all tracks together."""
    is_skipped: bool = False
    """The files were there already; nothing was done, and only their names and sizes are known."""
    is_partial: bool = False
    """The source is damaged, and some of its sound is missing; the warnings say what."""

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
class Rect:
    """A rectangle in pixels; left and top may be negative on a multi-monitor desktop.

    Raises:
        ValueError: If it has no area.
    """

    left_px: int
    top_px: int
    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        if self.width_px <= 0 or self.height_px <= 0:
            raise ValueError(f"a rectangle needs an area, not {self.width_px}x{self.height_px}")

    @property
    def right_px(self) -> int:
        """First column to the right of it."""
        return self.left_px + self.width_px

    @property
    def bottom_px(self) -> int:
        """First row below it."""
        return self.top_px + self.height_px

    @property
    def area_px(self) -> int:
        """How many pixels it covers."""
        return self.width_px * self.height_px

    def moved(self, dx_px: int, dy_px: int) -> Rect:
        """The same rectangle elsewhere."""
        return Rect(self.left_px + dx_px, self.top_px + dy_px, self.width_px, self.height_px)

    def intersect(self, other: Rect) -> Rect | None:
        """What both cover, or ``None`` where they do not meet."""
        left, top = max(self.left_px, other.left_px), max(self.top_px, other.top_px)
        right, bottom = min(self.right_px, other.right_px), min(self.bottom_px, other.bottom_px)
        if right <= left or bottom <= top:
            return None
        return Rect(left, top, right - left, bottom - top)

    def union(self, other: Rect) -> Rect:
        """The smallest rectangle around both."""
        left, top = min(self.left_px, other.left_px), min(self.top_px, other.top_px)
        right, bottom = max(self.right_px, other.right_px), max(self.bottom_px, other.bottom_px)
        return Rect(left, top, right - left, bottom - top)

    def __str__(self) -> str:
        return f"{self.width_px}x{self.height_px} at {self.left_px},{self.top_px}"


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


# --------------------------------------------------------------------------- what to record, how


class TrackMode(enum.StrEnum):
    """How several sound sources become tracks."""

    MIXED = "mixed"
    SEPARATE = "separate"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class VideoSpec:
    """What to film and how. At most one of ``screen``, ``region`` and ``window`` is set."""

    screen: int | None = None
    """Monitor number from 1; 0 is all of them together; ``None`` is the primary one."""
    region: Rect | None = None
    window: str | None = None
    """Part of a window's title, case ignored, or its id as ``0x...``."""
    synthetic: tuple[int, int] | None = None
    """A test card of this width and height instead of a screen."""
    fps: float = 30.0
    is_cfr: bool = False
    """Constant frame rate: repeat pictures so that every slot of the grid is filled."""
    quality: str = "medium"
    """low, medium, high or lossless."""
    encoder: str = "libx264"
    """An encoder's name, or ``auto``: hardware where it really opens."""
    with_cursor: bool = True


@dataclass(frozen=True, slots=True)
class AudioSpec:
    """One sound source."""

    source: str
    """``system``, ``system:ID``, ``mic``, ``mic:ID``, ``app:NAME`` or ``synthetic``."""
    gain_db: float = 0.0

    @property
    def kind(self) -> str:
        """The word before the colon."""
        return self.source.partition(":")[0]

    @property
    def name(self) -> str | None:
        """What follows the colon, or ``None``."""
        return self.source.partition(":")[2] or None


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition on which recording, or listening, starts or stops (``capture.rules``)."""

    kind: str
    """To start: sound, window, app; to stop: silence, window-closed, app-ended, size, duration."""
    name: str | None = None
    """Of the window or the application; ``None`` where the kind has none."""
    amount: float = 0.0
    """Seconds or bytes, for the kinds that count."""

    def __str__(self) -> str:
        return self.kind if self.name is None else f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class RecordingSpec:
    """All that a session needs to know. CLI, schedule and Python callers build the same one."""

    output: Path
    video: VideoSpec | None = field(default_factory=VideoSpec)
    audio: tuple[AudioSpec, ...] = (AudioSpec("system"),)
    tracks: TrackMode = TrackMode.BOTH
    audio_codec: str | None = None
    """aac, opus, flac or pcm; ``None`` is what fits the container."""
    duration_s: float | None = None
    """Stop after this much recorded time; ``None``: until told."""
    delay_s: float = 0.0
    begin_at_s: float | None = None
    """Wall time in s since 1970 at which the recording begins, or the start rules begin to count;
    ``None``: now. Follows the clock of the machine when that is set meanwhile."""
    start_when: tuple[Rule, ...] = ()
    """All of them have to hold; the recording begins with the last one."""
    start_within_s: float | None = None
    """How long the start rules have; ``None``: as long as it takes."""
    stop_when: tuple[Rule, ...] = ()
    """The first one that holds ends the recording."""
    max_size_bytes: int | None = None
    split_every_s: float | None = None
    is_strict: bool = False
    """A source that is dead makes the recording fail instead of being a warning."""
    follow_default: bool = True
    """``system`` and ``mic`` without a name go over to the new default device when it changes."""
    overwrite: bool = False
    rate_hz: int = 48_000
    tags: Mapping[str, str] = field(default_factory=dict)
    min_free_bytes: int = 200_000_000
    """The recording ends cleanly before the disk has less."""


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
class GateSpec:
    """Which sounds are messages, and where one ends and the next begins."""

    threshold_dbfs: float | None = None
    """RMS of 10 ms above which there is sound; ``None``: learnt from the noise floor."""
    hold_s: float = 1.5
    """A pause inside a message may last this long; a longer one ends it."""
    pad_s: float = 0.1
    """So much silence is left at both ends."""
    min_length_s: float = 0.5
    """Shorter messages, without their padding, are dropped."""
    max_length_s: float = 4 * 3600.0
    """Longer ones are cut in parts that follow on each other to the sample."""
    is_any_sound: bool = False
    """Keep all that sounds, not only speech."""


@dataclass(frozen=True, slots=True)
class SoundFileSpec:
    """How a file of nothing but sound is encoded."""

    format: str = "opus"
    """opus, m4a, mp3, flac, wav or ogg."""
    quality: str = "medium"
    """low, medium or high; no matter for flac and wav."""
    messenger: str | None = None
    """whatsapp or telegram: written as that messenger writes its voice notes; the format and the
    quality are its own."""


@dataclass(frozen=True, slots=True)
class VoiceSpec:
    """What a ``VoiceKeeper`` listens to, and what it makes of it."""

    folder: Path
    source: str = "auto"
    """``auto`` (every application apart), or as in ``AudioSpec``."""
    file: SoundFileSpec = field(default_factory=SoundFileSpec)
    gate: GateSpec = field(default_factory=GateSpec)
    name: str = "{date} {time} {app} {length}"
    """Of the files, without their ending; see ``capture.messages.name_of``."""
    count: int | None = None
    """Stop after so many messages."""
    duration_s: float | None = None
    """Listen for so long in all."""
    idle_s: float | None = None
    """Give up when nothing was heard for so long."""
    start_when: tuple[Rule, ...] = ()
    """Windows and applications that all have to be there before it listens."""
    start_within_s: float | None = None
    """How long the start rules have; ``None``: as long as it takes."""
    stop_when: tuple[Rule, ...] = ()
    """The first one that holds ends the listening; an open message is kept."""
    max_size_bytes: int | None = None
    """Stop when the files together are so large."""
    keep_last_s: float = 120.0
    """So much of what sounded last is held in memory, for ``save_last``; 0: nothing is."""
    with_picture: bool = False
    """A picture of the waveform beside each file."""
    library: bool = True
    """Remember the messages, for `capture messages`; otherwise only the files are kept."""
    min_free_bytes: int = 200_000_000
    """Listening ends before the disk has less."""


@dataclass(frozen=True, slots=True)
class ExtractJob:
    """What sound to take out of one file, and how; goes to a worker process as it is."""

    source: Path
    target: Path
    """A folder, made where it is missing; or the very file, if ``is_target_file``."""
    is_target_file: bool = False
    name: str | None = None
    """What results in a folder are called; ``None``: as the source."""
    spec: SoundFileSpec | None = None
    """``None``: the packets are copied as they are."""
    track: str = "1"
    """Number of a sound track from 1, ``all``, or a language: ``deu``, ``ger`` or ``de``."""
    start_s: float | None = None
    """On the clock that a player shows; ``None``: from the beginning."""
    end_s: float | None = None
    rate_hz: int | None = None
    """``None``: as in the source, or what the format takes."""
    is_mono: bool = False
    gate: GateSpec | None = None
    """Which sounds are kept by the three below; ``None``: the defaults."""
    is_trim: bool = False
    """Leave silence out at both ends."""
    is_split: bool = False
    """A file for every message."""
    is_speech_only: bool = False
    """Leave everything out that is not speech, also in the middle."""
    loudness_lufs: float | None = None
    """Integrated loudness after EBU R128; ``None``: as loud as it is."""
    keep_offset: bool = False
    """A track that begins after the file does begins as late; otherwise at once."""
    by_chapter: bool = False
    """A file for every chapter."""
    with_picture: bool = False
    """A picture of the waveform beside every file."""
    overwrite: bool = False
    library: bool = False
    """Whoever runs it writes its files down as messages (``capture.messages.extracted``)."""


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

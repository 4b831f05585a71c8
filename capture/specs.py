"""What to record, to keep or to take out, and how: frozen values that are sound once they are made.

Units are in the names, as in ``capture.model``, which hands all of these on. A value that makes no
sense is a ``ConfigError`` when it is made, not when its time has come. Paths may be given as text.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capture.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "AudioSpec",
    "ExtractJob",
    "GateSpec",
    "RecordingSpec",
    "Rect",
    "Rule",
    "SoundFileSpec",
    "TrackMode",
    "VideoSpec",
    "VoiceSpec",
]

MIN_FPS, MAX_FPS = 1, 240
MIN_SPLIT_S = 1.0
QUALITIES = ("low", "medium", "high", "lossless")
AUDIO_CODECS = (None, "aac", "opus", "flac", "pcm")
RATES_HZ = (8000, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000)
"""What sound servers and encoders have in common."""
HOLD_S, OWN_VOICE_HOLD_S = 1.5, 3.0
"""Who speaks into a microphone thinks longer between two sentences than a message that was sent
lets one wait."""
START_RULES = ("sound", "window", "app")
STOP_RULES = ("silence", "window-closed", "app-ended", "size", "duration")


def _path(what: str, value: object) -> Path:
    """A path of whatever names one."""
    if not isinstance(value, (str, os.PathLike)) or "\0" in os.fsdecode(value):
        raise ConfigError(f"{what} is no path: {value!r}", hint="give a path, or its text")
    return Path(value)


def _shown(value: object) -> str:
    """A value as people write it."""
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_number(what: str, value: object, *, least: float = -math.inf) -> None:
    """Refuse what is no finite number, or too small; ``None`` stands for its absence."""
    if value is None or (isinstance(value, (int, float)) and _is_number(value) and value >= least):
        return
    hint = "write a number" if least == -math.inf else f"write {least:g} or more"
    raise ConfigError(f"{what} cannot be {_shown(value)}", hint=hint)


def _check_limits(spec: object, *names: str) -> None:
    """Refuse limits that nothing can be within."""
    for name in names:
        value = getattr(spec, name)
        if value is not None and not (_is_number(value) and value > 0):
            word = name.rpartition("_")[0].replace("_", " ")
            raise ConfigError(
                f"{word} must be more than nothing, not {_shown(value)}",
                hint="leave it out for no limit",
            )


def _check_choice(what: str, value: object, known: tuple[Any, ...]) -> None:
    if value not in known:
        names = ", ".join(str(name) for name in known if name is not None)
        raise ConfigError(f"there is no {what} {value!r}", hint=f"use one of {names}")


def _check_rules(start_when: Iterable[Rule], stop_when: Iterable[Rule]) -> None:
    for rules, kinds, what in (
        (start_when, START_RULES, "start with"),
        (stop_when, STOP_RULES, "stop with"),
    ):
        for rule in rules:
            _check_choice(f"rule to {what}", rule.kind, kinds)


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


class TrackMode(enum.StrEnum):
    """How several sound sources become tracks."""

    MIXED = "mixed"
    SEPARATE = "separate"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class VideoSpec:
    """What to film and how.

    Raises:
        ConfigError: More than one of ``screen``, ``region``, ``window`` and ``synthetic`` is set,
            or one of the values makes no sense.
    """

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

    def __post_init__(self) -> None:
        wishes = ("screen", "region", "window", "synthetic")
        wished = [name for name in wishes if getattr(self, name) is not None]
        if len(wished) > 1:
            raise ConfigError(
                f"{' and '.join(wished)} contradict each other", hint="name one thing to film"
            )
        if self.screen is not None:
            _check_number("the number of a screen", self.screen, least=0)
        if self.window is not None and not self.window.strip():
            raise ConfigError("the window has no name", hint="write a part of its title")
        for side in self.synthetic or ():
            _check_number("a side of the test card", side, least=1)
        if not (_is_number(self.fps) and MIN_FPS <= self.fps <= MAX_FPS):
            raise ConfigError(
                f"{_shown(self.fps)} pictures a second cannot be recorded",
                hint=f"between {MIN_FPS} and {MAX_FPS} can",
            )
        _check_choice("quality", self.quality, QUALITIES)


@dataclass(frozen=True, slots=True)
class AudioSpec:
    """One sound source."""

    source: str
    """``system``, ``system:ID``, ``mic``, ``mic:ID``, ``app:NAME`` or ``synthetic``."""
    gain_db: float = 0.0

    def __post_init__(self) -> None:
        _check_number("a gain in dB", self.gain_db)

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

    def __post_init__(self) -> None:
        _check_choice("rule", self.kind, (*START_RULES, *STOP_RULES))
        _check_number(f"the amount of {self.kind}", self.amount, least=0)

    @property
    def is_of_windows(self) -> bool:
        """Whether it is about which windows there are."""
        return self.kind in {"window", "window-closed"}

    def __str__(self) -> str:
        return self.kind if self.name is None else f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class RecordingSpec:
    """All that a session needs to know. CLI, schedule and Python callers build the same one.

    Raises:
        ConfigError: One of the values makes no sense.
    """

    output: Path
    """The file; text and any other path are taken too, and become one."""
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "output", _path("the output", self.output))
        _check_choice("audio codec", self.audio_codec, AUDIO_CODECS)
        _check_choice("way to make tracks", self.tracks, tuple(TrackMode))
        _check_number("a delay", self.delay_s, least=0)
        _check_number("the time at which it begins", self.begin_at_s)
        _check_limits(self, "duration_s", "start_within_s", "max_size_bytes", "split_every_s")
        _check_number("the time of a file", self.split_every_s, least=MIN_SPLIT_S)
        _check_number("the space that is left free", self.min_free_bytes, least=0)
        _check_choice("sample rate", self.rate_hz, RATES_HZ)
        _check_rules(self.start_when, self.stop_when)


@dataclass(frozen=True, slots=True)
class GateSpec:
    """Which sounds are messages, and where one ends and the next begins.

    Raises:
        ConfigError: One of the values makes no sense.
    """

    threshold_dbfs: float | None = None
    """RMS of 10 ms above which there is sound; ``None``: learnt from the noise floor."""
    hold_s: float | None = None
    """A pause inside a message may last this long; a longer one ends it. ``None``: 1.5 s, and 3 s
    where a ``VoiceSpec`` listens to a microphone."""
    pad_s: float = 0.1
    """So much silence is left at both ends."""
    min_length_s: float = 0.5
    """Shorter messages, without their padding, are dropped."""
    max_length_s: float = 4 * 3600.0
    """Longer ones are cut in parts that follow on each other to the sample."""
    is_any_sound: bool = False
    """Keep all that sounds, not only speech."""

    def __post_init__(self) -> None:
        _check_number("a hold", self.hold_s, least=0)
        _check_number("the silence at both ends", self.pad_s, least=0)
        _check_number("the least length", self.min_length_s, least=0)
        _check_number("the greatest length", self.max_length_s, least=1)
        if self.max_length_s < self.min_length_s:
            raise ConfigError(
                f"no message can be at least {self.min_length_s:g} s and at most "
                f"{self.max_length_s:g} s long",
                hint="the least length must not be above the greatest",
            )
        threshold = self.threshold_dbfs
        if threshold is not None and not (_is_number(threshold) and threshold < 0):
            raise ConfigError(
                f"nothing can be louder than {_shown(threshold)} dBFS",
                hint="a threshold is below 0, often between -60 and -30",
            )

    @property
    def pause_s(self) -> float:
        """``hold_s``, or what it is by default."""
        return HOLD_S if self.hold_s is None else self.hold_s


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
    """What a ``VoiceKeeper`` listens to, and what it makes of it.

    Raises:
        ConfigError: One of the values makes no sense.
    """

    folder: Path
    """Where the files go; text and any other path are taken too, and become one."""
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", _path("the folder", self.folder))
        _check_number("the count of messages", self.count, least=1)
        _check_limits(self, "duration_s", "idle_s", "start_within_s", "max_size_bytes")
        _check_number("what is held in memory", self.keep_last_s, least=0)
        _check_number("the space that is left free", self.min_free_bytes, least=0)
        _check_rules(self.start_when, self.stop_when)
        if self.gate.hold_s is None:
            is_own_voice = self.source.partition(":")[0] == "mic"
            hold_s = OWN_VOICE_HOLD_S if is_own_voice else HOLD_S
            object.__setattr__(self, "gate", dataclasses.replace(self.gate, hold_s=hold_s))


@dataclass(frozen=True, slots=True)
class ExtractJob:
    """What sound to take out of one file, and how; goes to a worker process as it is.

    Raises:
        ConfigError: One of the values makes no sense.
    """

    source: Path
    """Text and any other path are taken too, here and below, and become one."""
    target: Path
    """A folder, made where it is missing; or the very file, if ``is_target_file``."""
    is_target_file: bool = False
    name: str | None = None
    """What results in a folder are called; ``None``: as the source."""
    number: int = 1
    """Put behind that name from 2 on: another source's sound has the name without it."""
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", _path("the source", self.source))
        object.__setattr__(self, "target", _path("the target", self.target))
        for name, value in (("start", self.start_s), ("end", self.end_s)):
            if value is not None and not (_is_number(value) and value >= 0):
                raise ConfigError(
                    f"the {name} must be a time from 0, not {_shown(value)}",
                    hint="it is counted in seconds from the beginning of the file",
                )
        if self.start_s is not None and self.end_s is not None and self.end_s <= self.start_s:
            raise ConfigError("the end must come after the start", hint="change one of them")
        if self.rate_hz is not None and not (
            _is_number(self.rate_hz) and 1000 <= self.rate_hz <= 768_000  # noqa: PLR2004 - any device's
        ):
            raise ConfigError(f"{self.rate_hz} Hz is no sample rate", hint="48000 is usual")

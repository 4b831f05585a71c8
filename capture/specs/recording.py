"""``RecordingSpec``: the screen, the sound, the start and the end of a recording."""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from capture.errors import ConfigError
from capture.specs.checks import as_path, check_choice, check_limits, check_number, is_number, shown
from capture.specs.target import Screen, Target

__all__ = ["AudioSpec", "RecordingSpec", "Rule", "TrackMode", "VideoSpec"]

MIN_FPS, MAX_FPS = 1, 240
MIN_SPLIT_S = 1.0
QUALITIES = ("low", "medium", "high", "lossless")
AUDIO_CODECS = (None, "aac", "opus", "flac", "pcm")
RATES_HZ = (8000, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000)
"""Rates that sound servers and encoders have in common."""
START_RULES = ("sound", "window", "app")
STOP_RULES = ("silence", "window-closed", "app-ended", "size", "duration")


def check_rules(start_when: "Iterable[Rule]", stop_when: "Iterable[Rule]") -> None:
    """Raise ``ConfigError`` for a rule that cannot start, or cannot stop, anything."""
    for rule in start_when:
        check_choice("rule to start with", rule.kind, START_RULES)
    for rule in stop_when:
        check_choice("rule to stop with", rule.kind, STOP_RULES)


class TrackMode(enum.StrEnum):
    """How several sound sources become tracks."""

    MIXED = "mixed"
    SEPARATE = "separate"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class VideoSpec:
    """Which target to film, and how.

    Raises:
        ConfigError: One of the values makes no sense.
    """

    target: Target = field(default_factory=Screen)
    """By default the primary screen."""
    fps: float = 30.0
    is_cfr: bool = False
    """Constant frame rate: repeat pictures so that every slot of the grid is filled."""
    quality: str = "medium"
    """low, medium, high or lossless."""
    encoder: str = "libx264"
    """An encoder's name, or ``auto``: hardware where it really opens."""
    with_cursor: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.target, Target):
            raise ConfigError(
                f"{self.target!r} cannot be filmed",
                hint="a Screen, the Desktop, a Region, a Window and a TestCard can",
            )
        if not (is_number(self.fps) and MIN_FPS <= self.fps <= MAX_FPS):
            raise ConfigError(
                f"{shown(self.fps)} pictures a second cannot be recorded",
                hint=f"between {MIN_FPS} and {MAX_FPS} can",
            )
        check_choice("quality", self.quality, QUALITIES)


@dataclass(frozen=True, slots=True)
class AudioSpec:
    """A sound source, such as ``system``, ``mic:NAME`` or ``app:NAME``, and its gain."""

    source: str
    """``system``, ``system:ID``, ``mic``, ``mic:ID``, ``app:NAME`` or ``synthetic``."""
    gain_db: float = 0.0

    def __post_init__(self) -> None:
        check_number("a gain in dB", self.gain_db)

    @property
    def kind(self) -> str:
        """The part before the colon: ``system``, ``mic``, ``app`` or ``synthetic``."""
        return self.source.partition(":")[0]

    @property
    def name(self) -> str | None:
        """The part after the colon; ``None``: there is none."""
        return self.source.partition(":")[2] or None


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition that starts or stops a recording or a listening; see ``capture.live.rules``."""

    kind: str
    """To start: sound, window, app; to stop: silence, window-closed, app-ended, size, duration."""
    name: str | None = None
    """Name of the window or the application; ``None`` where the kind has none."""
    amount: float = 0.0
    """Seconds or bytes, for the kinds that count."""

    def __post_init__(self) -> None:
        check_choice("rule", self.kind, (*START_RULES, *STOP_RULES))
        check_number(f"the amount of {self.kind}", self.amount, least=0)

    @property
    def is_of_windows(self) -> bool:
        """Whether the rule needs the list of windows."""
        return self.kind in {"window", "window-closed"}

    def __str__(self) -> str:
        return self.kind if self.name is None else f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class RecordingSpec:
    """Everything that a session needs to know.

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
    """Stop after so many seconds of media time; ``None``: at ``stop()``."""
    delay_s: float = 0.0
    begin_at_s: float | None = None
    """Wall time in s since 1970 at which the recording begins, or the start rules begin to count;
    ``None``: now. Follows the clock of the machine when that is set meanwhile."""
    start_when: "tuple[Rule, ...]" = ()
    """All of them have to hold; the recording begins with the last one."""
    start_within_s: float | None = None
    """Time for the start rules to hold; ``None``: no limit."""
    stop_when: "tuple[Rule, ...]" = ()
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
    command: tuple[str, ...] = ()
    """A program and its arguments: started with the recording, which ends with it. Started before
    the start rules, where there are some: it is what they wait for."""
    private_desktop: tuple[int, int] | None = None
    """Width and height of a screen of the recording's own, with a sound server, that nobody sees:
    for a command, on a server without a desktop. Linux only."""
    environment: Mapping[str, str] | None = None
    """Where another desktop is, as in ``PrivateDesktop.environment``: DISPLAY, XAUTHORITY and
    PULSE_SERVER; ``None``: the desktop of this process."""
    min_free_bytes: int = 200_000_000
    """The recording ends cleanly before the disk has less."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "output", as_path("the output", self.output))
        check_choice("audio codec", self.audio_codec, AUDIO_CODECS)
        check_choice("way to make tracks", self.tracks, tuple(TrackMode))
        check_number("a delay", self.delay_s, least=0)
        check_number("the time at which it begins", self.begin_at_s)
        check_limits(self, "duration_s", "start_within_s", "max_size_bytes", "split_every_s")
        check_number("the time of a file", self.split_every_s, least=MIN_SPLIT_S)
        check_number("the space that is left free", self.min_free_bytes, least=0)
        check_choice("sample rate", self.rate_hz, RATES_HZ)
        for side in self.private_desktop or ():
            check_number("a side of the private desktop", side, least=1)
        if self.private_desktop is not None and self.environment is not None:
            raise ConfigError(
                "a private desktop and an environment cannot both be set",
                hint="leave one of them out",
            )
        check_rules(self.start_when, self.stop_when)

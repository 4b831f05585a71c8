"""``VoiceSpec``: which sounds are voice messages, and how they are saved."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from capture.errors import ConfigError
from capture.specs.checks import as_path, check_limits, check_number, is_number, shown
from capture.specs.recording import Rule, check_rules

__all__ = ["GateSpec", "SoundFileSpec", "VoiceSpec"]

HOLD_S, OWN_VOICE_HOLD_S = 1.5, 3.0
"""Who speaks into a microphone thinks longer between two sentences than a message that was sent
lets one wait."""


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
    """Length of the silence that is left at both ends."""
    min_length_s: float = 0.5
    """Shorter messages, without their padding, are dropped."""
    max_length_s: float = 4 * 3600.0
    """Longer ones are cut in parts that follow on each other to the sample."""
    is_any_sound: bool = False
    """Keep all sound, not only speech."""

    def __post_init__(self) -> None:
        check_number("a hold", self.hold_s, least=0)
        check_number("the silence at both ends", self.pad_s, least=0)
        check_number("the least length", self.min_length_s, least=0)
        check_number("the greatest length", self.max_length_s, least=1)
        if self.max_length_s < self.min_length_s:
            raise ConfigError(
                f"no message can be at least {self.min_length_s:g} s and at most "
                f"{self.max_length_s:g} s long",
                hint="the least length must not be above the greatest",
            )
        threshold = self.threshold_dbfs
        if threshold is not None and not (is_number(threshold) and threshold < 0):
            raise ConfigError(
                f"a threshold of {shown(threshold)} dBFS is not below 0, the loudest sound",
                hint="a threshold is below 0, often between -60 and -30",
            )

    @property
    def pause_s(self) -> float:
        """``hold_s``, or the default of it, in seconds."""
        return HOLD_S if self.hold_s is None else self.hold_s


@dataclass(frozen=True, slots=True)
class SoundFileSpec:
    """The encoding of a sound file: format, quality or messenger."""

    format: str = "opus"
    """opus, m4a, mp3, flac, wav or ogg."""
    quality: str = "medium"
    """low, medium or high; no matter for flac and wav."""
    messenger: str | None = None
    """whatsapp or telegram: written as that messenger writes its voice notes; the format and the
    quality are its own."""


@dataclass(frozen=True, slots=True)
class VoiceSpec:
    """What a ``VoiceKeeper`` listens to, and how messages are saved.

    Raises:
        ConfigError: One of the values makes no sense.
    """

    folder: Path
    """Folder of the files; a text is taken, too, and becomes a path."""
    source: str = "auto"
    """``auto`` (every application apart), or as in ``AudioSpec``."""
    file: SoundFileSpec = field(default_factory=SoundFileSpec)
    gate: GateSpec = field(default_factory=GateSpec)
    name: str = "{date} {time} {app} {length}"
    """Of the files, without their ending; see ``capture.messages.name_of``."""
    count: int | None = None
    """Stop after so many messages."""
    duration_s: float | None = None
    """Listen for so many seconds in all."""
    idle_s: float | None = None
    """Give up when nothing was heard for so long."""
    start_when: tuple[Rule, ...] = ()
    """Windows and applications that all have to be there before it listens."""
    start_within_s: float | None = None
    """Time for the start rules to hold; ``None``: no limit."""
    stop_when: tuple[Rule, ...] = ()
    """The first one that holds ends the listening; an open message is kept."""
    max_size_bytes: int | None = None
    """Stop when the files together are so large."""
    keep_last_s: float = 120.0
    """Seconds of the last sound held in memory for ``save_last``; 0: none."""
    with_picture: bool = False
    """A picture of the waveform beside each file."""
    library: bool = True
    """Remember the messages, for `capture messages`; otherwise only the files are kept."""
    min_free_bytes: int = 200_000_000
    """Listening ends before the disk has less."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", as_path("the folder", self.folder))
        check_number("the count of messages", self.count, least=1)
        check_limits(self, "duration_s", "idle_s", "start_within_s", "max_size_bytes")
        check_number("the length of sound in memory", self.keep_last_s, least=0)
        check_number("the space that is left free", self.min_free_bytes, least=0)
        check_rules(self.start_when, self.stop_when)
        if self.gate.hold_s is None:
            is_own_voice = self.source.partition(":")[0] == "mic"
            hold_s = OWN_VOICE_HOLD_S if is_own_voice else HOLD_S
            object.__setattr__(self, "gate", dataclasses.replace(self.gate, hold_s=hold_s))

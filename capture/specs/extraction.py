"""``ExtractJob``: which sound to extract from a file, and how."""

from dataclasses import dataclass
from pathlib import Path

from capture.errors import ConfigError
from capture.specs.checks import as_path, is_number, shown
from capture.specs.voice import GateSpec, SoundFileSpec

__all__ = ["ExtractJob"]


@dataclass(frozen=True, slots=True)
class ExtractJob:
    """Which sound to extract from one file, and how; can be sent to a worker process.

    Raises:
        ConfigError: One of the values makes no sense.
    """

    source: Path
    """Text and any other path are taken too, here and below, and become one."""
    target: Path
    """A folder, made where it is missing; or the very file, if ``is_target_file``."""
    is_target_file: bool = False
    name: str | None = None
    """Name of the results in a folder; ``None``: that of the source."""
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
    """Write a file for every message."""
    is_speech_only: bool = False
    """Leave everything out that is not speech, also in the middle."""
    loudness_lufs: float | None = None
    """Integrated loudness after EBU R128; ``None``: as loud as it is."""
    keep_offset: bool = False
    """A track that begins after the file does begins as late; otherwise at once."""
    by_chapter: bool = False
    """Write a file for every chapter."""
    with_picture: bool = False
    """A picture of the waveform beside every file."""
    overwrite: bool = False
    library: bool = False
    """Record its files as messages (``capture.messages.extracted``)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", as_path("the source", self.source))
        object.__setattr__(self, "target", as_path("the target", self.target))
        for name, value in (("start", self.start_s), ("end", self.end_s)):
            if value is not None and not (is_number(value) and value >= 0):
                raise ConfigError(
                    f"the {name} must be a time from 0, not {shown(value)}",
                    hint="it is counted in seconds from the beginning of the file",
                )
        if self.start_s is not None and self.end_s is not None and self.end_s <= self.start_s:
            raise ConfigError("the end must come after the start", hint="change one of them")
        if self.rate_hz is not None and not (
            is_number(self.rate_hz) and 1000 <= self.rate_hz <= 768_000  # noqa: PLR2004 - any device's
        ):
            raise ConfigError(f"{self.rate_hz} Hz is no sample rate", hint="48000 is usual")

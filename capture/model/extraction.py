"""What was taken out of a file."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["ExtractResult", "ExtractedPart", "Span"]


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

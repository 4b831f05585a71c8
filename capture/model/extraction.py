"""Results of extractions: files, their lengths, warnings."""

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
        """Length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class ExtractedPart:
    """One output file of an extraction."""

    path: Path
    span: Span
    """Where it lies in the source, on the clock that a player shows. Of what was cut together out
    of several places: from the first to the last."""
    duration_s: float
    """Length of its sound, in seconds."""
    codec: str
    """FFmpeg's name of the codec."""
    size_bytes: int
    title: str | None = None
    """Title of the track or of the chapter."""


@dataclass(frozen=True, slots=True)
class ExtractResult:
    """The result of an ``ExtractJob``."""

    source: Path
    parts: tuple[ExtractedPart, ...]
    warnings: tuple[str, ...]
    sound_s: float
    """Length of the source's sound that was read, all tracks together."""
    is_skipped: bool = False
    """The files were there already; nothing was done, and only their names and sizes are known."""
    is_partial: bool = False
    """The source is damaged, and some of its sound is missing; see the warnings."""

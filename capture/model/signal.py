"""Signals of sources: pictures, blocks of sound, loudness."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from capture.geometry import Rect


@dataclass(frozen=True, slots=True, eq=False)
class Pointer:
    """The mouse pointer; its picture is unchanged as long as ``image`` is the same object."""

    place: Rect
    """As large as the image; it may be partly or fully outside the filmed area."""
    image: NDArray[np.uint8]
    """Premultiplied BGRA, shape ``(height, width, 4)``."""


@dataclass(frozen=True, slots=True)
class ScreenPicture:
    """The picture of a screen source at one moment.

    ``pixels`` is uint8 BGRA, shape ``(height, width, 4)``; the alpha byte has no meaning. It is
    memory that the source keeps and updates: valid until the next ``grab()``, never written to.
    A picture of another size than the one before has changed all over.
    """

    pixels: NDArray[np.uint8]
    changed: tuple[Rect, ...]
    """Parts that differ from the picture before, in picture coordinates; empty: none."""
    captured_ns: int
    """Capture clock, middle of the grab."""
    pointer: Pointer | None = None
    """To be drawn over it, in picture coordinates; ``None``: none, or it is in the pixels."""


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """A run of sound: float32, shape ``(frames, channels)``, -1..1, owning its memory."""

    samples: NDArray[np.float32]
    captured_ns: int
    """Capture clock: when the first frame was heard, or reached the microphone; an estimate."""
    position_frames: int
    """Index of the first frame in its stream; at a jump frames were lost in between."""
    stream: int = 0
    """Which stream of the source: an application may play several at once; they are summed."""


class SoundState(enum.StrEnum):
    """Whether a source should give sound now, as far as its system knows."""

    UNKNOWN = "unknown"
    IDLE = "idle"
    """Nothing plays: silence is right."""
    PLAYING = "playing"
    MUTED = "muted"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Level:
    """Loudness of a stretch of sound; -inf for silence."""

    rms_dbfs: float
    peak_dbfs: float
    is_clipped: bool = False

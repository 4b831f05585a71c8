"""What is read back from the files that the recorders leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import av

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Pictures", "read_pictures"]


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a film.

    Attributes:
        count: How many there are.
        length_s: From the first one's time to the end of the last one's slot.
    """

    count: int
    length_s: float


def read_pictures(path: Path, fps: int) -> Pictures:
    """Times of all pictures, without decoding them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        tick_s = float(stream.time_base)
        times_s = [p.pts * tick_s for p in container.demux(stream) if p.pts is not None]
    return Pictures(len(times_s), max(times_s) - min(times_s) + 1 / fps)

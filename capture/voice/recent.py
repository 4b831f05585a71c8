"""The sound of the last seconds or minutes, in memory only."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray


class Recent:
    """The last blocks of one stream, up to a length; used from one thread.

    Args:
        keep_frames: How much is held at least, once there was so much; a block more at most.
    """

    def __init__(self, keep_frames: int) -> None:
        self._keep_frames = keep_frames
        self._blocks: deque[NDArray[Any]] = deque()
        self.end_frame = 0
        """Number of frames that were ever added."""
        self._held_frames = 0

    @property
    def start_frame(self) -> int:
        """Index of the oldest frame in memory."""
        return self.end_frame - self._held_frames

    def add(self, samples: NDArray[Any]) -> None:
        """Append a block of shape (frames, channels); it is not copied."""
        if not len(samples):
            return
        self._blocks.append(samples)
        self.end_frame += len(samples)
        self._held_frames += len(samples)
        while self._held_frames - len(self._blocks[0]) >= self._keep_frames:
            self._held_frames -= len(self._blocks.popleft())

    def between(self, first_frame: int, end_frame: int) -> Iterator[NDArray[Any]]:
        """The blocks between two frames, as far as they are in memory."""
        at = self.start_frame
        for block in self._blocks:
            first, last = max(first_frame - at, 0), min(end_frame - at, len(block))
            if first < last:
                yield block[first:last]
            at += len(block)

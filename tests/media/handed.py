"""What encoders have handed to files so far: what a crash is measured against.

A file can lose what it was given. What a busy machine has not encoded yet is another matter, and
differs from run to run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import numpy as np

from capture.media.write.mux import container_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from capture.media.packets import Packet
    from capture.media.write.mux import FileSink

    Push = Callable[[FileSink, Packet], None]

TRACKS = 2
"""Pictures and one sound; a file of sound alone uses the first."""


class Handed:
    """Where each track of some files ends by what was handed over; in the file's own time.

    Args:
        paths: Files that are not there yet.
        kept_in: Where the numbers lie, so that they outlive the process that is killed.
    """

    def __init__(self, paths: Sequence[Path], kept_in: Path | None = None) -> None:
        self._rows = {path: row for row, path in enumerate(paths)}
        shape = len(paths), TRACKS
        self._ends_s = np.zeros(shape) if kept_in is None else _mapped(kept_in, shape)

    def noting(
        self, push: Callable[[FileSink, Packet], None]
    ) -> Callable[[FileSink, Packet], None]:
        """``FileSink.push`` that also notes what it was given."""

        def pushing(sink: FileSink, packet: Packet) -> None:
            row = self._rows.get(sink.path)
            push(sink, packet)
            if row is not None:
                end_s = max(self._ends_s[row, packet.track], packet.end_s)
                self._ends_s[row, packet.track] = end_s

        return pushing

    def end_s(self, path: Path) -> float:
        """Up to where all tracks of a file were handed over."""
        tracks = 1 if container_of(path).is_audio_only else TRACKS
        return float(self._ends_s[self._rows[path], :tracks].min())

    def wait(self, until_s: float, within_s: float = 60.0) -> None:
        """Until all files were given so much."""
        deadline = time.monotonic() + within_s
        while any(self.end_s(path) < until_s for path in self._rows):
            assert time.monotonic() < deadline, "the recordings do not move"
            time.sleep(0.02)


def _mapped(file: Path, shape: tuple[int, int]) -> NDArray[np.float64]:
    mode: Literal["r+", "w+"] = "r+" if file.exists() else "w+"
    mapped: NDArray[np.float64] = np.memmap(file, np.float64, mode, shape=shape)
    return mapped

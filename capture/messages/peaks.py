"""The stored form of a message's waveform: a byte a column.

A byte is 255 times the square root of the column's loudest sample, so that a soft voice has steps
enough: -45 dBFS is 19.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["COLUMNS", "amplitudes", "pack", "read_peaks"]

COLUMNS = 100
"""As many bars as a picture of 800 pixels has, and as messengers send with a message."""
_FULL = 255


def pack(levels: NDArray[np.float32]) -> bytes:
    """Amplitudes of 0..1, shape (columns,), as bytes."""
    heights: NDArray[np.uint8] = np.rint(np.sqrt(np.clip(levels, 0.0, 1.0)) * _FULL).astype(
        np.uint8
    )
    return heights.tobytes()


def amplitudes(peaks: bytes) -> NDArray[np.float32]:
    """Amplitudes of 0..1, float32 of shape (columns,), from bytes of ``pack``."""
    return (np.frombuffer(peaks, np.uint8).astype(np.float32) / np.float32(_FULL)) ** 2


def read_peaks(path: Path) -> bytes:
    """The waveform of a file; decodes it, 10 ms a second of sound.

    Raises:
        MediaError: It holds no sound; as ``DamagedFileError``: it cannot be read.
    """
    from capture.media.read.stream import SoundStream  # noqa: PLC0415 - loads av
    from capture.media.write.waveform import Peaks  # noqa: PLC0415 - the same

    peaks = Peaks(COLUMNS)
    with SoundStream(path) as stream:
        while (samples := stream.read()) is not None:
            peaks.add(samples)
    return pack(peaks.take())

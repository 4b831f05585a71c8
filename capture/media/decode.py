"""Reads finished files back, picture by picture and as one piece of sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import numpy as np

from capture.errors import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_pictures", "read_sound"]


def read_pictures(path: Path) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Each picture with the time at which it is shown, in seconds; BGR, ``(height, width, 3)``.

    Raises:
        DamagedFileError: It cannot be read.
    """
    with _open(path) as container:
        for frame in container.decode(video=0):
            if frame.time is not None:
                yield float(frame.time), frame.to_ndarray(format="bgr24")


def read_sound(path: Path, track: int = 0) -> tuple[NDArray[np.float32], int, float]:
    """A whole sound track.

    Returns:
        Samples as float32 of shape ``(frames, channels)``, their rate in Hz, and the time in
        seconds at which the first one is heard.

    Raises:
        DamagedFileError: It cannot be read, or has no such track.
    """
    pieces: list[NDArray[np.float32]] = []
    start_s: float | None = None
    rate_hz = 0
    with _open(path) as container:
        if track >= len(container.streams.audio):
            raise DamagedFileError(f"{path} has no sound track {track + 1}")
        resampler = av.AudioResampler(format="flt")
        for frame in container.decode(audio=track):
            if start_s is None and frame.time is not None:
                start_s = float(frame.time)
            rate_hz = frame.sample_rate
            for plain in resampler.resample(frame):
                data: Any = plain.to_ndarray()
                pieces.append(data.reshape(-1, len(plain.layout.channels)))
    if not pieces:
        raise DamagedFileError(f"{path} has an empty sound track")
    return np.concatenate(pieces), rate_hz, start_s or 0.0


def _open(path: Path) -> Any:
    try:
        return av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise DamagedFileError(
            f"{path} cannot be read: {error}", hint="is it a media file, and is it whole?"
        ) from error

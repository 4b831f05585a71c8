"""Reads finished files back: picture by picture, as one piece of sound, or all tracks in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import numpy as np

from capture.errors import DamagedFileError
from capture.media.input import open_media

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Flattener", "read_packets", "read_pictures", "read_sound"]


class Flattener:
    """Frames of one sound track as float32 of shape ``(frames, channels)``."""

    def __init__(self) -> None:
        self._resampler = av.AudioResampler(format="flt")

    def samples(self, frame: Any) -> NDArray[np.float32]:
        """The samples of a frame."""
        channels = len(frame.layout.channels)
        plain = [piece.to_ndarray() for piece in self._resampler.resample(frame)]
        if not plain:
            return np.zeros((0, channels), np.float32)
        return np.concatenate([data.reshape(-1, channels) for data in plain])


def read_pictures(path: Path) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Each picture with the time at which it is shown, in seconds; BGR, ``(height, width, 3)``.

    Raises:
        DamagedFileError: It cannot be read.
    """
    with open_media(path) as container:
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
    with open_media(path) as container:
        if track >= len(container.streams.audio):
            raise DamagedFileError(f"{path} has no sound track {track + 1}")
        flattener = Flattener()
        for frame in container.decode(audio=track):
            if start_s is None and frame.time is not None:
                start_s = float(frame.time)
            rate_hz = frame.sample_rate
            pieces.append(flattener.samples(frame))
    if not pieces:
        raise DamagedFileError(f"{path} has an empty sound track")
    return np.concatenate(pieces), rate_hz, start_s or 0.0


def read_packets(
    container: Any, streams: Sequence[Any]
) -> Iterator[tuple[Any, list[Any] | av.FFmpegError]]:
    """Every packet of some tracks, in the order of the file, with the frames it gives.

    What cannot be decoded comes with its error in place of frames; reading goes on. Where the file
    itself cannot be read on, the packet is ``None``, and nothing follows.

    Args:
        container: From ``open_media``.
        streams: Of it.
    """
    for stream in streams:
        if stream.type == "video":
            stream.thread_type = "AUTO"
    packets = container.demux(streams)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as error:
            yield None, error
            return
        try:
            yield packet, packet.decode()
        except av.FFmpegError as error:
            yield packet, error

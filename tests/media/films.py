"""Reads films back: what the tests of writers and sessions look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Sound:
    """One decoded track; ``samples`` is (frames, channels), beginning at ``start_s``."""

    samples: NDArray[np.float32]
    start_s: float
    rate_hz: int
    title: str

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.samples) / self.rate_hz


def read_sound(path: Path, track: int = 0) -> Sound:
    """A whole track; raises where frames do not follow one another without a gap."""
    pieces: list[NDArray[Any]] = []
    start_s: float | None = None
    with av.open(str(path)) as container:
        stream = container.streams.audio[track]
        title = stream.metadata.get("title") or stream.metadata.get("handler_name") or ""
        rate_hz = stream.codec_context.sample_rate
        frames = 0
        for frame in container.decode(stream):
            data = frame.to_ndarray()
            channels = len(frame.layout.channels)
            data = data.T if frame.format.is_planar else data.reshape(-1, channels)
            if data.dtype == np.int16:
                data = data.astype(np.float32) / 32768
            if frame.time is not None:
                start_s = frame.time if start_s is None else start_s
                expected = start_s + frames / rate_hz
                assert abs(frame.time - expected) < 0.002, f"a gap at {frame.time} s"
            frames += len(data)
            pieces.append(data)
    return Sound(np.concatenate(pieces), start_s or 0.0, rate_hz, title)


def read_picture_times(path: Path) -> list[float]:
    """When each picture is shown, in seconds."""
    with av.open(str(path)) as container:
        return [float(frame.time or 0.0) for frame in container.decode(video=0)]


def read_pictures(path: Path) -> list[tuple[float, NDArray[np.uint8]]]:
    """Every picture as (time in s, BGR of shape (height, width, 3))."""
    with av.open(str(path)) as container:
        return [
            (float(frame.time or 0.0), frame.to_ndarray(format="bgr24").astype(np.uint8))
            for frame in container.decode(video=0)
        ]


def video_end(path: Path) -> float:
    """When the last picture's time is over, in seconds.

    Matroska keeps no length for a picture; a demuxer guesses one slot of the grid. It is the length
    of the track that says when the last one is over; a file that was cut off has none.
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if length := stream.metadata.get("DURATION"):
            hours, minutes, seconds = length.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        return max(
            float((packet.pts + (packet.duration or 0)) * packet.time_base)
            for packet in container.demux(stream)
            if packet.pts is not None
        )

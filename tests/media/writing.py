"""Films and sounds written as a recording writes them, without a session around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capture.media.write.encode import AudioEncoder, VideoEncoder
from capture.media.write.mux import CODEC_NAMES, FileSink, container_of, open_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from av import VideoFrame
    from numpy.typing import NDArray

RATE_HZ = 48_000


@dataclass
class Writing:
    """A file and its encoders; ``close()`` ends it."""

    video: VideoEncoder | None
    audio: Sequence[AudioEncoder]
    file: FileSink

    def picture(self, frame: VideoFrame, at_ns: int, *, is_key: bool = False) -> None:
        assert self.video is not None
        for packet in self.video.encode(frame, at_ns, is_key=is_key):
            self.file.push(packet)

    def sound(self, samples: NDArray[np.float32], track: int = 0) -> None:
        for packet in self.audio[track].encode(samples):
            self.file.push(packet)

    @property
    def encoders(self) -> list[VideoEncoder | AudioEncoder]:
        return [*([self.video] if self.video else []), *self.audio]

    def close(self, *chapters: tuple[float, float, str], certificate: Any = None) -> None:
        for encoder in self.encoders:
            for packet in encoder.flush():
                self.file.push(packet)
        self.file.close(chapters, certificate)


def open_writing(
    path: Path,
    *,
    like: VideoFrame | None = None,
    encoder: str = "libx264",
    quality: str = "medium",
    fps: float = 30,
    channels: int | None = 2,
) -> Writing:
    """A file with pictures like one, if one is given, and a track of sound, if it has channels."""
    container = container_of(path)
    video = None
    if like is not None:
        video = VideoEncoder(0, name=encoder, quality=quality, fps=fps, like=like)
    audio = []
    if channels is not None:
        codec = CODEC_NAMES[container.audio_codecs[0]]
        number = int(video is not None)
        audio = [
            AudioEncoder(
                number,
                codec=codec,
                quality=quality,
                rate_hz=RATE_HZ,
                channels=channels,
                title="system",
            )
        ]
    headers = [*([video.header] if video else []), *(each.header for each in audio)]
    return Writing(video, audio, open_file(path, headers))

"""Sound of a file as a stream for a player: from any place on, at one rate, a piece at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import av
import numpy as np

from capture.errors import DamagedFileError, MediaError
from capture.media.decode import open_media

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["SoundStream"]

PREROLL_S = 0.5
"""Decoding begins so much earlier after a jump: Opus needs 80 ms, an MP3's reservoir some frames."""


class SoundStream:
    """The first sound track of a file, decoded as it is read. Used from one thread, in ``with``.

    Args:
        path: A film or a sound file.
        rate_hz: Of what is read; resampled where the file has another. ``None``: as in the file.

    Attributes:
        rate_hz: Of what is read.
        channels: Of what is read: 1 or 2; more are mixed into two.
        duration_s: As the file says it; ``None`` where it does not.

    Raises:
        DamagedFileError: It cannot be read.
        MediaError: It holds no sound.
    """

    def __init__(self, path: Path, rate_hz: int | None = None) -> None:
        self._container = open_media(path)
        try:
            if not self._container.streams.audio:
                raise MediaError(
                    f"{path} has no sound track", hint="`capture probe` shows what it holds"
                )
            self._stream: Any = self._container.streams.audio[0]
            for stream in self._container.streams:
                if stream is not self._stream:
                    stream.discard = av.stream.Discard.all
            context = self._stream.codec_context
            if context is None or not context.sample_rate:
                raise DamagedFileError(
                    f"the sound of {path} cannot be decoded", hint="`capture probe` says what it is"
                )
            self.rate_hz: int = rate_hz or context.sample_rate
            self.channels = min(2, max(1, context.layout.nb_channels))
            self._zero_s = (self._container.start_time or 0) / av.time_base
            length = self._container.duration
            self.duration_s = length / av.time_base if length and length > 0 else None
            self._begin(0.0)
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()

    def seek(self, to_s: float) -> None:
        """Go on reading there, to the sample; beyond the end there is nothing."""
        goal = max(0.0, to_s)
        try:
            self._container.seek(round((self._zero_s + max(0.0, goal - PREROLL_S)) * av.time_base))
        except av.FFmpegError:  # no index, or behind the end: from the beginning, then
            self._container.seek(round(self._zero_s * av.time_base))
        self._begin(goal)

    def read(self) -> NDArray[np.float32] | None:
        """The next piece, float32 of shape ``(frames, channels)``; ``None`` at the end.

        What cannot be decoded is left out.
        """
        while self._is_open:
            try:
                frame = next(self._frames)
            except StopIteration:
                self._is_open = False
                return self._flattened(None)
            except av.FFmpegError:
                # A packet that is damaged: go on behind it. The file itself: that is the end.
                self._errors += 1
                if self._errors > _MOST_ERRORS:
                    self._is_open = False
                self._frames = self._decode()
                continue
            if (piece := self._flattened(frame)) is not None:
                return piece
        return None

    def _begin(self, goal_s: float) -> None:
        self._goal_s: float | None = goal_s
        self._errors = 0
        self._is_open = True
        layout = "mono" if self.channels == 1 else "stereo"
        self._resampler = av.AudioResampler(format="flt", layout=layout, rate=self.rate_hz)
        self._frames = self._decode()

    def _decode(self) -> Any:
        return self._container.decode(self._stream)

    def _flattened(self, frame: Any) -> NDArray[np.float32] | None:
        """The samples of a frame from the goal on; ``None`` if there are none."""
        drop = 0
        if frame is not None and self._goal_s is not None and frame.time is not None:
            drop = round((self._goal_s - (float(frame.time) - self._zero_s)) * self.rate_hz)
            if drop * frame.sample_rate >= frame.samples * self.rate_hz:
                return None  # before the resampler sees it: nothing of it is wanted
        try:
            frames = self._resampler.resample(frame)
        except (av.FFmpegError, ValueError):  # the track changes its rate or its channels
            self._resampler = av.AudioResampler(
                format="flt", layout="mono" if self.channels == 1 else "stereo", rate=self.rate_hz
            )
            frames = self._resampler.resample(frame)
        pieces = [piece.to_ndarray().reshape(-1, self.channels) for piece in frames]
        samples = np.concatenate(pieces)[max(0, drop) :] if pieces else None
        if samples is None or not len(samples):
            return None
        self._goal_s = None
        return samples


_MOST_ERRORS = 100
"""In a row after a jump; a file that gives only errors has ended."""

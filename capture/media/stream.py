"""Sound of a file as a stream for a player: from any place on, at one rate, a piece at a time."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Self

import av
import numpy as np

from capture.media.tracks import file_zero_s, open_sound_file, rate_of, sound_tracks

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["SoundStream"]

PREROLL_S = 0.5
"""Decoding begins so much earlier after a jump: Opus needs 80 ms, MP3 some frames."""


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
        with contextlib.ExitStack() as stack:
            self._container = stack.enter_context(open_sound_file(path))
            self._stream: Any = sound_tracks(self._container)[0]
            context = self._stream.codec_context
            self.rate_hz: int = rate_hz or rate_of(self._stream, path)
            self.channels = min(2, max(1, context.layout.nb_channels))
            self._zero_s = float(file_zero_s(self._container))
            length = self._container.duration
            self.duration_s = length / av.time_base if length and length > 0 else None
            self._nothing = np.zeros((0, self.channels), np.float32)
            self._is_open = True
            self._frames: Any = iter(())
            self._begin(0.0)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; idempotent."""
        self._stack.close()

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
        self._resampler = self._new_resampler()
        self._frames = self._decode()

    def _decode(self) -> Any:
        return self._container.decode(self._stream)

    def _new_resampler(self) -> Any:
        layout = "mono" if self.channels == 1 else "stereo"
        return av.AudioResampler(format="flt", layout=layout, rate=self.rate_hz)

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
            self._resampler = self._new_resampler()
            frames = self._resampler.resample(frame)
        pieces = [piece.to_ndarray().reshape(-1, self.channels) for piece in frames]
        samples: NDArray[np.float32] = np.concatenate(pieces or [self._nothing])[max(0, drop) :]
        if not len(samples):
            return None
        self._goal_s = None
        return samples


_MOST_ERRORS = 100
"""In a row after a jump; a file that gives only errors has ended."""

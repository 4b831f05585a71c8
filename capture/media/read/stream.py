"""Sound of a file as a stream for a player: from any place on, at one rate, a piece at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from capture.closing import Closing
from capture.media.read.convert import SoundConverter, SoundForm
from capture.media.read.decode import read_packets
from capture.media.read.tracks import file_zero_s, open_sound_file, rate_of, sound_tracks

PREROLL_S = 0.5
"""Decoding begins so much earlier after a jump: Opus needs 80 ms, MP3 some frames."""


class SoundStream(Closing):
    """Decodes the first sound track of a file as it is read. Used from one thread, in ``with``.

    Args:
        path: A film or a sound file.
        rate_hz: Of what is read; resampled where the file has another. ``None``: as in the file.

    Attributes:
        rate_hz: Of what is read.
        channels: Of what is read: 1 or 2; more are mixed into two.
        duration_s: Length by the file's header; ``None`` where it has none.

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
            self._begin(0.0)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Close the file; idempotent."""
        self._stack.close()

    def seek(self, to_s: float) -> None:
        """Continue at a time in seconds, exact to the sample; beyond the end nothing follows."""
        goal = max(0.0, to_s)
        try:
            self._container.seek(round((self._zero_s + max(0.0, goal - PREROLL_S)) * av.time_base))
        except av.FFmpegError:  # no index, or behind the end: from the beginning, then
            self._container.seek(round(self._zero_s * av.time_base))
        self._begin(goal)

    def read(self) -> NDArray[np.float32] | None:
        """The next block, float32 of shape ``(frames, channels)``; ``None`` at the end.

        What cannot be decoded is left out.
        """
        for samples in self._pieces:
            drop = self._drop
            self._drop -= min(drop, len(samples))
            if drop < len(samples):
                return samples[drop:]
        return None

    def _begin(self, goal_s: float) -> None:
        self._drop = 0
        self._pieces = self._read_from(goal_s)

    def _read_from(self, goal_s: float) -> Iterator[NDArray[np.float32]]:
        layout = "mono" if self.channels == 1 else "stereo"
        converter = SoundConverter(SoundForm("flt", layout, self.rate_hz))
        is_first = True
        for frame in self._decoded():
            if is_first and frame.time is not None:
                early_s = goal_s - (float(frame.time) - self._zero_s)
                if early_s * frame.sample_rate >= frame.samples:
                    continue  # before it is converted: nothing of it is wanted
                self._drop = max(0, round(early_s * self.rate_hz))
            is_first = False
            yield from converter.push(frame)
        yield from converter.finish()

    def _decoded(self) -> Iterator[Any]:
        for _ in range(_MOST_ERRORS):
            has_error = False
            for packet, frames in read_packets(self._container, [self._stream]):
                if not isinstance(frames, av.FFmpegError):
                    yield from frames
                has_error = packet is None
            if not has_error:
                return


_MOST_ERRORS = 100
"""Places after a jump where the file cannot be read on; one that gives only errors has ended."""

"""Plays a file on the speakers; usable by any front."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture.closing import Closing
from capture.media.read.stream import SoundStream
from capture.media.write.waveform import Peaks
from capture.pipeline import Pipeline
from capture.sources.playback import open_playback

__all__ = ["Player"]

WAVE_PARTS = 1024
"""Kept of the waveform, however long the file is; more than a terminal has columns."""


class Player(Closing):
    """Plays a file, and reads its waveform in a thread of its own.

    Its owner calls ``feed()`` again and again; all calls from one thread.

    Args:
        path: A film or a sound file.

    Raises:
        CaptureError: The file cannot be read, or there is no output.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._stream = SoundStream(self._path)
        try:
            self._output = open_playback(self._stream.rate_hz, self._stream.channels)
        except BaseException:
            self._stream.close()
            raise
        self.notes = tuple(self._output.notes)
        self._begin_s = 0.0
        self._piece: NDArray[np.float32] | None = None
        self._is_read = False
        self._peaks = Peaks(WAVE_PARTS)
        self._is_loaded = False
        self._is_closing = False
        self._pipeline = Pipeline()
        self._loader = self._pipeline.add("waveform", self._load)
        self._pipeline.start()

    def close(self) -> None:
        """Stop playing and close the file; idempotent."""
        self._is_closing = True
        self._output.close()
        self._stream.close()
        self._loader.join()

    @property
    def position_s(self) -> float:
        """Time in the file, in s, of the sound that is heard now."""
        return self._begin_s + self._output.position_frames / self._stream.rate_hz

    @property
    def stated_s(self) -> float | None:
        """Length in s as the file states it; ``None`` where it does not."""
        return self._stream.duration_s

    @property
    def length_s(self) -> float:
        """Length in s: as the file states it, until all of it has been read."""
        read_s = self._peaks.frames / self._stream.rate_hz
        if self._is_loaded:
            return read_s
        return max(self._stream.duration_s or 0.0, read_s, self.position_s)

    @property
    def is_over(self) -> bool:
        """Whether the last sample was heard."""
        return self._output.is_over

    @property
    def is_paused(self) -> bool:
        """Whether playing is paused."""
        return self._output.is_paused

    def feed(self) -> None:
        """Fill the output's buffer; call at least every 0.3 s."""
        while not self._is_read:
            if self._piece is None:
                self._piece = self._stream.read()
                if self._piece is None:
                    self._is_read = True
                    self._output.end()
                    return
            taken = self._output.write(self._piece)
            self._piece = self._piece[taken:] if taken < len(self._piece) else None
            if self._piece is not None:
                return

    def toggle(self) -> None:
        """Pause, or end the pause."""
        if self._output.is_paused:
            self._output.resume()
        else:
            self._output.pause()

    def seek(self, to_s: float) -> None:
        """Continue at a time of the file, in seconds."""
        self._begin_s = min(max(0.0, to_s), self.length_s)
        self._stream.seek(self._begin_s)
        self._output.restart()
        self._piece, self._is_read = None, False

    def waveform(self, columns: int) -> NDArray[np.float32]:
        """Peaks of at most so many columns, 0..1, as far as the file was read."""
        share = min(1.0, self._peaks.frames / max(1.0, self.length_s * self._stream.rate_hz))
        return self._peaks.take(max(1, round(columns * share)))

    def _load(self) -> None:
        with SoundStream(self._path, self._stream.rate_hz) as stream:
            while not self._is_closing and (piece := stream.read()) is not None:
                self._peaks.add(piece)
        self._is_loaded = not self._is_closing

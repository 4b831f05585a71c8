"""The base of all writers of sound files: write, finish, abandon."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from capture.media.output import as_output_error


class SoundWriter(ABC):
    """A sound file that is being written; used from one thread, as a context manager.

    Left after an error it is closed as well as it can be, and ``is_finished`` stays false: the
    half-written file is the caller's.

    Attributes:
        path: The file.
        frames: How many were written, at the rate at which they came.
        is_finished: Whether all of it is in the file.
    """

    def __init__(self, path: Path, rate_hz: int, channels: int) -> None:
        self.path = path
        self.frames = 0
        self.is_finished = False
        self._rate_hz = rate_hz
        self._channels = channels
        self._is_open = True

    def write(self, samples: NDArray[Any]) -> None:
        """Append sound.

        Args:
            samples: Shape (frames, channels), any number of frames: float of -1..1, or int16 or
                int32 of full range, which FLAC and WAV of that depth keep bit for bit.

        Raises:
            OutputError: The disk is full, its folder is gone, ...
        """
        if samples.ndim != 2 or samples.shape[1] != self._channels:  # noqa: PLR2004 - (frames, channels)
            raise ValueError(f"samples have shape {samples.shape}, not (frames, {self._channels})")
        with as_output_error(self.path):
            # Second by second: what encoders and converters need meanwhile stays small.
            for first in range(0, len(samples), self._rate_hz):
                block = samples[first : first + self._rate_hz]
                self._write(block)
                self.frames += len(block)

    def close(self) -> None:
        """Write the end; idempotent. Use ``output.sync`` to wait until the disk has it.

        Raises:
            OutputError: It could not be written.
        """
        if not self._is_open:
            return
        self._is_open = False
        with as_output_error(self.path):
            self._finish()
        self.is_finished = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        elif self._is_open:
            self._is_open = False
            self._abandon()

    @abstractmethod
    def _write(self, samples: NDArray[Any]) -> None:
        """Append at most a second of sound."""

    @abstractmethod
    def _finish(self) -> None:
        """Write the held samples and the end of the file."""

    @abstractmethod
    def _abandon(self) -> None:
        """Close the file in whatever state it is; raises nothing."""

"""A growing WAV file: sound that becomes a voice message, safe at every moment.

The length of a message, its channels, and whether it is one at all, are known only at its end.
Until then it grows here, in 16 bits, with a valid header after each write; a journal has how it is
to be finished.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import DamagedFileError, OutputError
from capture.hints import Advice
from capture.journal import Journal, journal_path
from capture.libraries import needed
from capture.media.packets import pcm_packet
from capture.media.write.mux import open_wav
from capture.media.write.sndfile import as_int16
from capture.naming import free_path, sndfile_name

GROWING_SUFFIX = ".part.wav"
BLOCK_FRAMES = 48_000
"""Read back in pieces of a second: as much memory for a message of hours as for one of seconds."""


class GrowingSound:
    """One growing file; used by one thread.

    Args:
        stem: Where it lies and what it is called, without an ending.
        rate_hz: Sample rate.
        channels: 1 or 2.
        recipe: What is to be made of it, a JSON value; kept in its journal.

    Raises:
        OutputError: It cannot be written there.
    """

    def __init__(
        self, stem: Path, *, rate_hz: int, channels: int, recipe: Mapping[str, Any]
    ) -> None:
        wished = stem.with_name(stem.name + GROWING_SUFFIX)
        self._rate_hz = rate_hz
        while True:
            path = free_path(wished)
            try:
                self._file = open_wav(path, rate_hz=rate_hz, channels=channels)
                break
            except OutputError:
                if not path.exists():
                    raise  # else another process took that name in this moment: the next one
        self.written_frames = 0
        self._is_open = True
        self._journal = Journal(path, target=path, tracks=("sound",), recipe=recipe)

    @property
    def path(self) -> Path:
        """The path of the growing file."""
        return self._file.path

    def write(self, samples: NDArray[np.float32] | NDArray[np.int16]) -> None:
        """Append float32 or int16 of shape (frames, channels); written to the system at once.

        Raises:
            OutputError: The disk is full, the folder went away, ...
        """
        if len(samples):
            self._file.push(pcm_packet(as_int16(samples), self.written_frames, self._rate_hz))
            self.written_frames += len(samples)
        self._file.tick()
        self._journal.update(self._file.written_s, self._file.written_bytes)

    def close(self) -> None:
        """Close the file; it and its journal stay. Idempotent.

        Raises:
            OutputError: The end could not be written; what was written before still plays.
        """
        if self._is_open:
            self._is_open = False
            self._file.close()

    def give_up(self) -> None:
        """Close the file and mark it for ``recover_message``."""
        with contextlib.suppress(OSError):
            self.close()
        self._journal.give_up()

    def discard(self) -> None:
        """Delete the file and its journal."""
        with contextlib.suppress(OSError):
            self.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._journal.remove()


def discard_growing(path: Path) -> None:
    """Delete a growing file of a process that has ended, and its journal."""
    path.unlink(missing_ok=True)
    journal_path(path).unlink(missing_ok=True)


def rate_of(path: Path) -> int:
    """Sample rate of a growing file in Hz.

    Raises:
        DamagedFileError: It is none.
    """
    with _open(path) as file:
        return int(file.samplerate)


def read_growing(
    path: Path, first_frame: int = 0, frames: int | None = None
) -> Iterator[NDArray[np.int16]]:
    """Read a growing file in blocks of shape (frames, channels).

    Args:
        path: The file, while it grows or afterwards.
        first_frame: Where to begin.
        frames: How many; ``None``: all that follow.

    Raises:
        DamagedFileError: It is none, or holds less.
    """
    with _open(path) as file:
        file.seek(first_frame)
        left = file.frames - first_frame if frames is None else frames
        while left > 0:
            block = file.read(min(left, BLOCK_FRAMES), dtype="int16", always_2d=True)
            if not len(block):
                raise DamagedFileError(f"{path} is {left} frames shorter than it should be")
            left -= len(block)
            yield block


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    with needed("soundfile"):
        import soundfile  # noqa: PLC0415 - loads a native library

    try:
        with soundfile.SoundFile(sndfile_name(path)) as file:
            yield file
    except soundfile.LibsndfileError as error:
        raise DamagedFileError(
            f"{path} cannot be read: {error.error_string}", hint=Advice.CHECK_FILE.with_()
        ) from error

"""Sound on its way to a file: a growing WAV beside its place, safe at every moment, and read back.

What a message will be, its length, its channels, whether it is one at all, is known only when it is
over. Until then it grows here, in 16 bits, the header kept true after each write; a journal says
what is to become of it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from capture.errors import DamagedFileError, OutputError
from capture.journal import Journal, journal_path
from capture.libraries import needed
from capture.media.encode import pcm16
from capture.media.mux import AudioTrack, open_writer
from capture.naming import free_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["GROWING_SUFFIX", "GrowingSound", "discard_growing", "rate_of", "read_growing"]

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
        track = AudioTrack("sound", rate_hz, channels)
        while True:
            path = free_path(wished)
            try:
                self._writer = open_writer(path, video=None, audio=[track])
                break
            except OutputError:
                if not path.exists():
                    raise  # else another process took that name in this moment: the next one
        self.written_frames = 0
        self._is_open = True
        self._journal = Journal(path, target=path, tracks=("sound",), recipe=recipe)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._writer.path

    def write(self, samples: NDArray[np.float32] | NDArray[np.int16]) -> None:
        """Append float32 or int16 of shape (frames, channels); the system has it afterwards.

        Raises:
            OutputError: The disk is full, the folder went away, ...
        """
        if len(samples):
            is_pcm = samples.dtype == np.int16
            self._writer.write(samples if is_pcm else pcm16(samples.astype(np.float32, copy=False)))
            self.written_frames += len(samples)
        self._writer.tick()
        self._journal.update(self._writer.written_s, self._writer.written_bytes)

    def close(self) -> None:
        """No more comes; the file and its journal stay. Idempotent.

        Raises:
            OutputError: The end could not be written; what was written before still plays.
        """
        if self._is_open:
            self._is_open = False
            self._writer.close()

    def give_up(self) -> None:
        """Leave it as it is, for ``capture recover``."""
        with contextlib.suppress(OSError):
            self.close()
        self._journal.give_up()

    def discard(self) -> None:
        """Delete it, and all that knows of it."""
        with contextlib.suppress(OSError):
            self.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._journal.remove()


def discard_growing(path: Path) -> None:
    """Delete a growing file that another process left, and its journal."""
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
    """The sound of a growing file, in blocks of shape (frames, channels).

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
        with soundfile.SoundFile(str(path)) as file:
            yield file
    except soundfile.LibsndfileError as error:
        raise DamagedFileError(
            f"{path} cannot be read: {error.error_string}", hint="`capture verify` says what it is"
        ) from error

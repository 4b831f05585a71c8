"""A second descriptor of a growing file: syncs it to disk, and notices its deletion.

A file that is deleted while it is open goes on growing where nobody can reach it, until its last
descriptor is closed. From the second descriptor such a recording is saved.
"""

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path

from capture.errors import OutputError
from capture.naming import free_path

SYNC_EVERY_S = 2.0
"""Time between two syncs to disk; a power cut loses at most this much."""
SLOW_SYNC_S = 0.2
"""A disk that takes longer for it is not asked again right away."""
LOOK_EVERY_S = 1.0
"""Time between two checks that the file is still at its path."""
if sys.platform == "win32":  # it has the disk keep only what may be written
    _HOLDING = os.O_RDWR | os.O_BINARY
else:
    _HOLDING = os.O_RDONLY


class FileWatch:
    """Syncs a growing file and watches its name; used by the thread that writes the file.

    Args:
        path: The file, which exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        now_s = time.monotonic()
        self._next_look_s = now_s
        self._next_sync_s = now_s + SYNC_EVERY_S

    def tick(self) -> None:
        """Sync and check the file when it is time; call at least every second while it grows.

        Raises:
            OutputError: The file, or its folder, was deleted or moved away.
        """
        now_s = time.monotonic()
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + LOOK_EVERY_S
            self._look()
        if now_s >= self._next_sync_s and self._fd is not None:
            with contextlib.suppress(OSError):  # a file system without sync is no reason to stop
                getattr(os, "fdatasync", os.fsync)(self._fd)
            took_s = time.monotonic() - now_s
            self._next_sync_s = now_s + SYNC_EVERY_S * (5 if took_s > SLOW_SYNC_S else 1)

    def release(self) -> Path:
        """Sync the finished file and close the descriptor; idempotent.

        A file that was deleted is copied back from the descriptor, its folder as well.

        Returns:
            Where the file is.

        Raises:
            OutputError: It was deleted and could not be saved.
        """
        if self._fd is None:
            return self._path
        fd, self._fd = self._fd, None
        try:
            with contextlib.suppress(OSError):
                os.fsync(fd)
            if self._is_away(fd):
                self._path = _moved_to(fd) or _save(fd, self._path)
        finally:
            os.close(fd)
        return self._path

    def _look(self) -> None:
        if self._fd is None:
            # The libraries that write keep their descriptor to themselves.
            with contextlib.suppress(OSError):
                self._fd = os.open(self._path, _HOLDING)
        if self._is_away(self._fd) if self._fd is not None else not self._path.exists():
            what = self._path if self._path.parent.is_dir() else self._path.parent
            raise OutputError(
                f"{what} was deleted or moved away while recording",
                hint="leave it where it is until the recording has ended",
            )

    def _is_away(self, fd: int) -> bool:
        """Whether the path does not lead to the file any more."""
        try:
            there, held = self._path.stat(), os.fstat(fd)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False  # a disk that does not answer now: writing will fail
        # The numbers alone are not enough: some network file systems change them.
        return held.st_nlink == 0 and not os.path.samestat(there, held)


def _moved_to(fd: int) -> Path | None:
    """The new path of a file that was moved; ``None`` if it was deleted, or it is not known."""
    if sys.platform != "linux" or os.fstat(fd).st_nlink == 0:
        return None
    with contextlib.suppress(OSError):
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if path.exists():
            return path
    return None


def _save(fd: int, path: Path) -> Path:
    """Copy the content of a descriptor back to its path; never over another file."""
    # A name cannot be given back to a deleted file (linkat(2) refuses), so its content is copied.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path = free_path(path)
        os.lseek(fd, 0, os.SEEK_SET)
        with os.fdopen(os.dup(fd), "rb") as held, path.open("xb") as saved:
            shutil.copyfileobj(held, saved, 1 << 20)
            saved.flush()
            os.fsync(saved.fileno())
    except OSError as error:
        raise OutputError(
            f"{path} was deleted while recording and cannot be saved: {error.strerror}",
            hint="what was recorded is lost; record into a folder that stays",
        ) from error
    return path

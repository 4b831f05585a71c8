"""The lock that makes one process the daemon of a schedule; the system releases it."""

import os
import sys
from pathlib import Path
from typing import BinaryIO

from capture.closing import Closing
from capture.errors import OutputError

LONGEST_PID = 20
"""Most digits of a process number."""
LOCKED_BYTE = 1 << 30
"""Windows locks bytes, not files, from the file's position on, and nobody else may read them: one
far behind the number, which may lie past the end of the file."""


class Lock(Closing):
    """The lock of a schedule's daemon; its file holds the number of the process.

    The system releases it when the process ends, however that happens.

    Args:
        database: The schedule.

    Raises:
        OutputError: Another daemon has it.
    """

    def __init__(self, database: Path) -> None:
        # Without a buffer: the lock goes by where the system has the file's position.
        self._file = _lock_path(database).open("a+b", buffering=0)
        try:
            _lock(self._file)
        except OSError as error:
            pid = _read_pid(self._file)
            self._file.close()
            raise OutputError(
                f"the schedule is served already, by process {pid or 'unknown'}",
                hint="one daemon is enough: it sees every change by itself",
            ) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()).encode())

    def close(self) -> None:
        """Give it back; idempotent."""
        if not self._file.closed:
            self._file.truncate(0)
            self._file.close()


def serving_pid(database: Path) -> int | None:
    """Number of the daemon that serves a schedule, 0 if not known yet; ``None``: none does."""
    try:
        file = _lock_path(database).open("r+b", buffering=0)
    except OSError:
        return None
    with file:
        try:
            _lock(file)
        except OSError:
            return _read_pid(file)
    return None


def _lock_path(database: Path) -> Path:
    return database.with_name(f"{database.name}.lock")


def _read_pid(file: BinaryIO) -> int:
    file.seek(0)
    text = file.read(LONGEST_PID)
    return int(text) if text.isdigit() else 0


def _lock(file: BinaryIO) -> None:
    """Lock an open file, or raise OSError if somebody else has."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - of this system alone

        file.seek(LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        return
    import fcntl  # noqa: PLC0415 - only where needed

    fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)

"""One daemon a schedule: a lock that the system holds for as long as a process lives."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Self

from capture.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["Lock", "serving_pid"]


class Lock:
    """The right to be the one daemon of a schedule; the file holds the number of who has it.

    The system lets go of it when the process ends, however that happens.

    Args:
        database: The schedule.

    Raises:
        OutputError: Another daemon has it.
    """

    def __init__(self, database: Path) -> None:
        self._file = _lock_path(database).open("a+", encoding="ascii")
        try:
            _lock(self._file.fileno())
        except OSError as error:
            self._file.seek(0)
            pid = self._file.read().strip()
            self._file.close()
            raise OutputError(
                f"the schedule is served already, by process {pid or 'unknown'}",
                hint="one daemon is enough: it sees every change by itself",
            ) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.truncate(0)
        self._file.close()


def serving_pid(database: Path) -> int | None:
    """The daemon that serves a schedule; ``None`` if there is none."""
    try:
        file = _lock_path(database).open("r+", encoding="ascii")
    except OSError:
        return None
    with file:
        try:
            _lock(file.fileno())
        except OSError:
            text = file.read().strip()
            return int(text) if text.isdigit() else 0
    return None


def _lock_path(database: Path) -> Path:
    return database.with_name(f"{database.name}.lock")


def _lock(descriptor: int) -> None:
    """Lock an open file, or raise OSError if somebody else has."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - of this system alone

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        return
    import fcntl  # noqa: PLC0415 - only where needed

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

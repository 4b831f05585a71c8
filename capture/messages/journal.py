"""``messages.jsonl``: facts about the messages of a folder, one JSON object a line.

Lines are appended, each in one write; of several about one message the last one holds. Only when a
deletion becomes final the file is written anew, without what was deleted. A line that is no JSON,
such as an end torn by a power cut, is passed over. A writer holds a lock on the file.

``read`` continues where an earlier reading ended, if that part of the file is unchanged.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capture.errors import OutputError
from capture.naming import part_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = ["JOURNAL", "Position", "Reading", "append", "read", "rewrite", "stamp_of"]

JOURNAL = "messages.jsonl"
OWNER_ONLY = 0o600
LOCKED_AFTER_S = 10.0
"""Writing takes milliseconds: who waits this long waits for something that hangs."""
LOOK_EVERY_S = 0.01
HEAD_BYTES = 256
"""So much of the beginning shows whether a journal was written anew: then it begins with a line
that no other has."""
LOCKED_BYTE = 1 << 30
"""Windows locks bytes, and nobody else may read them: one that a journal never has."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a journal has been read, and a digest of its beginning."""

    offset: int = 0
    head_bytes: int = 0
    head: str = ""
    """SHA-256 of the first ``head_bytes``."""
    stamp: str = ""
    """Changes with the file: while it is the same, there is nothing to read."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Lines of a journal that were read, and the position after them."""

    entries: tuple[dict[str, Any], ...]
    position: Position
    """Position at which the next reading begins."""
    is_whole: bool
    """The whole journal was read: earlier facts do not count any more."""


def stamp_of(folder: Path) -> str:
    """A text that changes with a folder's journal; empty without a readable journal."""
    try:
        return _stamp((folder / JOURNAL).lstat())
    except OSError:
        return ""


def _stamp(found: os.stat_result) -> str:
    return f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"


def read(folder: Path, since: Position | None = None) -> Reading:
    """The lines of a folder's journal; none where there is no journal.

    Args:
        folder: Whose.
        since: Where a reading before ended; ``None``: all lines.

    Raises:
        OutputError: The system refuses.
    """
    since = since or Position()
    try:
        number = _open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return Reading((), Position(), is_whole=True)
    except OSError as error:
        raise _refused(folder, error, "read") from error
    try:
        with os.fdopen(number, "rb") as file:
            found = os.fstat(file.fileno())  # before it is read: what comes later changes it
            size, stamp = found.st_size, _stamp(found)
            head = file.read(since.head_bytes)
            is_same = len(head) == since.head_bytes and _sum(head) == since.head
            is_whole = since.offset == 0 or not is_same or size < since.offset
            file.seek(0 if is_whole else since.offset)
            data = file.read()
            whole, _, _ = data.rpartition(b"\n")  # the end may still be on its way
            offset = (0 if is_whole else since.offset) + len(whole) + (1 if whole else 0)
            file.seek(0)
            head = file.read(min(offset, HEAD_BYTES))
    except OSError as error:
        raise _refused(folder, error, "read") from error
    position = Position(offset, len(head), _sum(head), stamp)
    return Reading(tuple(_parse(whole)), position, is_whole)


def append(folder: Path, entries: Iterable[dict[str, Any]], *, is_durable: bool = True) -> None:
    """Add lines to a folder's journal.

    Args:
        folder: Whose.
        entries: The lines.
        is_durable: Wait until the disk has them; a batch does so once, by itself.

    Raises:
        OutputError: They cannot be written; none of them is there.
    """
    data = b"".join(map(_line, entries))
    if not data:
        return
    try:
        with _locked(folder) as number:
            size = os.fstat(number).st_size
            if size and _byte_at(number, size - 1) != b"\n":
                data = b"\n" + data  # after a torn line, which is then one by itself
            try:
                if os.write(number, data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301
            except OSError:
                os.ftruncate(number, size)
                raise
            if is_durable:
                os.fsync(number)
    except OSError as error:
        raise _refused(folder, error, "written") from error


def rewrite(
    folder: Path, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]] | None]
) -> None:
    """Replace a folder's journal as a whole: a reader finds its old lines or the new ones.

    Args:
        folder: Whose; without a journal nothing is done.
        edit: Gets the lines, and gives those that are to be there, or ``None``: as they are.
            Without any line the file goes.

    Raises:
        OutputError: It cannot be written; it is as it was.
    """
    path = folder / JOURNAL
    if not os.path.lexists(path):
        return
    part = part_path(path)
    try:
        with _locked(folder) as number:
            before = [entry for entry in _parse(_read_all(number)) if _MARK not in entry]
            after = edit(before)
            if after is None or (after == before and after):
                return
            lines = [_line(entry) for entry in after]
            if not lines:
                path.unlink()
                return
            mark = _line({_MARK: f"{time.time_ns():x}-{os.urandom(8).hex()}"})
            fresh = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
            with os.fdopen(fresh, "wb") as file:
                file.write(mark + b"".join(lines))
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
    except OSError as error:
        raise _refused(folder, error, "written") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


_MARK = "rewritten"
"""The key of the first line of a journal that was written anew."""


def _line(entry: dict[str, Any]) -> bytes:
    try:
        return f"{json.dumps(entry, ensure_ascii=False)}\n".encode()
    except UnicodeEncodeError:  # a name that is no UTF-8, as Python reads it
        return f"{json.dumps(entry)}\n".encode()


def _parse(data: bytes) -> list[dict[str, Any]]:
    entries = []
    for line in data.split(b"\n"):
        try:
            entry = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ------------------------------------------------------------------------------------- the system


def _open(folder: Path, flags: int) -> int:
    """Open a journal that is an ordinary file, not a link or a pipe."""
    flags |= (
        getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    number = os.open(folder / JOURNAL, flags, OWNER_ONLY)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "it is no ordinary file")
    return number


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Open the journal for appending, with the lock; creates it if it is missing."""
    deadline_s = time.monotonic() + LOCKED_AFTER_S
    while True:
        number = _open(folder, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            _lock(number, deadline_s)
            if _is_current(number, folder / JOURNAL):
                if sys.platform != "win32" and os.fstat(number).st_mode & 0o077:
                    os.fchmod(number, OWNER_ONLY)
                yield number
                return
        finally:
            os.close(number)  # and with it the lock


def _is_current(number: int, path: Path) -> bool:
    """Whether an open journal has not been replaced or removed since."""
    try:
        return os.path.samestat(os.fstat(number), path.lstat())
    except FileNotFoundError:
        return False


def _lock(number: int, deadline_s: float) -> None:
    """Wait for the lock; a file system without locks is written to without."""
    while True:
        try:
            _try_lock(number)
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EAGAIN, errno.EDEADLK}:
                return
            if time.monotonic() > deadline_s:
                raise OSError(errno.EAGAIN, "another program has locked it") from error
            time.sleep(LOOK_EVERY_S)
            continue
        return


def _try_lock(number: int) -> None:
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - of this system alone

        os.lseek(number, LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        return
    import fcntl  # noqa: PLC0415 - the same

    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_all(number: int) -> bytes:
    os.lseek(number, 0, os.SEEK_SET)
    pieces = []
    while piece := os.read(number, 1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def _byte_at(number: int, offset: int) -> bytes:
    os.lseek(number, offset, os.SEEK_SET)
    return os.read(number, 1)


def _refused(folder: Path, error: OSError, what: str) -> OutputError:
    return OutputError(
        f"{folder / JOURNAL} cannot be {what}: {error.strerror or error}",
        hint="the list of kept messages needs it; the files of the messages are not affected",
        details={"errno": error.errno},
    )

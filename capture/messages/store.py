"""The messages of all folders in one SQLite file, to list and to search; any process may use it.

It is a cache: all that it holds comes from the journals of the folders, and it is made anew when it
is damaged, of another version, or gone. A journal is read into it from where it was read before, in
one transaction, so that two processes that do so at once take nothing twice and miss nothing.

What is deleted is nowhere in the file afterwards: text is searched as it stands, without an index
that could hold on to words, and after a deletion the file is written anew (``VACUUM``). Its
rollback journal, which held the old pages, is removed by SQLite when a transaction ends; there is
no write-ahead log, which other readers would keep from being emptied, and which network file
systems do not support.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from capture.errors import OutputError
from capture.messages.folding import folded_ways
from capture.messages.journal import Position
from capture.messages.message import message_of
from capture.messages.tables import (
    SCHEMA_VERSION,
    clear_folder,
    make_tables,
    put,
    set_position,
    take_entry,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from capture.messages.journal import Reading
    from capture.messages.message import Message, Origin

__all__ = ["Query", "Store", "StoreDamagedError"]

LOCKED_AFTER_S = 10.0
"""Writing takes milliseconds: who waits this long waits for something that hangs."""
OWNER_ONLY, FOLDER_OF_OWNER = 0o600, 0o700


@dataclass(frozen=True, slots=True)
class Query:
    """Which messages; all conditions hold together, and none of them means all messages."""

    words: str = ""
    """Each of these words, or its beginning, middle or end, is in what is said or known of it."""
    sender: str | None = None
    """Part of the sender's name; so the next two."""
    chat: str | None = None
    app: str | None = None
    origin: Origin | None = None
    since: datetime | None = None
    """Sent, or else kept, then or later."""
    until: datetime | None = None
    """Before then."""
    limit: int | None = None
    """The latest so many."""
    is_deleted: bool = False
    """Those whose deletion can still be undone, instead of those that are there."""


class StoreDamagedError(OutputError):
    """The store cannot be read; ``Store.begin_anew`` gives an empty one."""


class Store:
    """The store, open; any thread may call any method.

    Args:
        path: The file, made if it is not there.

    Raises:
        OutputError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock = threading.RLock()
        try:
            self._connection = self._connect()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise self._translated(error) from error
            self._discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            self._connection.close()

    # -------------------------------------------------------------------------------------- asking

    def messages(self, query: Query) -> tuple[Message, ...]:
        """The messages of a query, the latest first."""
        conditions = [f"deleted_s IS {'NOT NULL' if query.is_deleted else 'NULL'}"]
        values: list[Any] = []
        parts: list[tuple[str, str | None]]
        parts = [("folded", word) for word in query.words.split()]
        parts += [("sender", query.sender), ("chat", query.chat), ("app", query.app)]
        for column, text in parts:
            ways = () if text is None else folded_ways(text)
            if ways:
                likes = [f"{column} LIKE ? ESCAPE char(92)"] * len(ways)
                conditions.append(f"({' OR '.join(likes)})")
                values += map(_like, ways)
        for condition, value in (
            ("origin = ?", query.origin),
            ("moment_s >= ?", query.since and query.since.timestamp()),
            ("moment_s < ?", query.until and query.until.timestamp()),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(str(value) if condition.startswith("origin") else value)
        # The words of all messages are looked through, and only those that fit are read.
        table = "words JOIN messages USING (number)" if query.words.split() else "messages"
        select = (
            f"SELECT folder, entry FROM {table} WHERE {' AND '.join(conditions)}"  # noqa: S608 - words of this file
            " ORDER BY moment_s DESC, number DESC LIMIT ?"
        )
        limit = -1 if query.limit is None else query.limit
        return tuple(map(_message_of, self._read(select, *values, limit)))

    def beginning_with(self, digits: str) -> tuple[Message, ...]:
        """The messages whose id begins so, also those that are deleted."""
        select = "SELECT folder, entry FROM messages WHERE id LIKE ? ESCAPE char(92) ORDER BY id"
        return tuple(map(_message_of, self._read(select, f"{_escaped(digits)}%")))

    def at(self, path: Path) -> Message | None:
        """The message whose file this is, or was before it was deleted."""
        select = (
            "SELECT folder, entry FROM messages WHERE folder = ? AND name = ?"
            " ORDER BY deleted_s IS NOT NULL, deleted_s DESC"
        )
        rows = self._read(select, os.fsencode(path.parent), os.fsencode(path.name))
        return _message_of(rows[0]) if rows else None

    def with_sum(self, sha256: str) -> Message | None:
        """The message of this content; also a deleted one."""
        rows = self._read("SELECT folder, entry FROM messages WHERE sha256 = ?", sha256)
        return _message_of(rows[0]) if rows else None

    def is_sum_of_deleted(self, sha256: str) -> bool:
        """Whether a message of this content was deleted for good."""
        return bool(self._read("SELECT 1 FROM sums WHERE sha256 = ?", sha256))

    def sums_of_deleted(self) -> int:
        """How many sums of deleted messages are kept."""
        return int(self._read("SELECT count(DISTINCT sha256) FROM sums")[0][0])

    def folders(self) -> dict[Path, Position]:
        """The folders whose journals were read, and how far."""
        rows = self._read("SELECT * FROM folders ORDER BY folder")
        return {Path(os.fsdecode(row[0])): Position(*row[1:]) for row in rows}

    @property
    def is_complete(self) -> bool:
        """Whether all folders have been read since it was made."""
        return bool(self._read("SELECT is_complete FROM state")[0][0])

    # ------------------------------------------------------------------------------------- changing

    def take(self, folder: Path, since: Position | None, reading: Reading) -> bool:
        """Take in what was read of a folder's journal.

        Args:
            folder: Whose.
            since: Where the reading began, as this store knew it.
            reading: What was read.

        Returns:
            False where another process has taken it in meanwhile: it has to be read again.
        """
        raw = os.fsencode(folder)
        with self._begin() as connection:
            known = connection.execute("SELECT * FROM folders WHERE folder = ?", (raw,)).fetchone()
            if (None if known is None else Position(*known[1:])) != since:
                return False
            if reading.is_whole:
                clear_folder(connection, raw)
            for entry in reading.entries:
                take_entry(connection, folder, entry)
            set_position(connection, raw, reading.position)
        return True

    def replace_all(
        self,
        folders: dict[Path, Position],
        messages: Iterable[Message],
        sums: Iterable[tuple[str, Path]],
    ) -> None:
        """Hold these folders and messages, and nothing else."""
        with self._begin() as connection:
            before = connection.execute("SELECT count(*) FROM messages").fetchone()[0]
            for table in ("messages", "words", "sums", "folders"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of this file
            for message in messages:
                put(connection, message)
            rows = [(sha256, os.fsencode(folder)) for sha256, folder in sums]
            connection.executemany("INSERT OR IGNORE INTO sums VALUES (?, ?)", rows)
            for folder, position in folders.items():
                set_position(connection, os.fsencode(folder), position)
            connection.execute(
                "UPDATE state SET is_complete = 1, deletions = deletions + ?", (bool(before),)
            )

    def clean(self) -> None:
        """Write the file anew, if there may be rests of what was deleted in it."""
        with self._lock, self._translating():
            deletions, cleaned = self._read("SELECT deletions, cleaned FROM state")[0]
            if deletions > cleaned:
                self._connection.execute("VACUUM")
                # What others have deleted meanwhile counts anew.
                self._connection.execute("UPDATE state SET cleaned = max(cleaned, ?)", (deletions,))

    # ---------------------------------------------------------------------------------------- small

    def _connect(self) -> sqlite3.Connection:
        _make_private(self.path)
        connection = sqlite3.connect(
            self.path, timeout=LOCKED_AFTER_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA temp_store = MEMORY")  # nothing of it elsewhere on the disk
            connection.execute("PRAGMA synchronous = NORMAL")  # it is a cache
            if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
                make_tables(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def begin_anew(self) -> None:
        """Put an empty store in the place of one that is damaged.

        Raises:
            OutputError: The system refuses.
        """
        with self._lock:
            self._connection.close()
            self._discard()

    def _discard(self) -> None:
        try:
            for path in (self.path, self.path.with_name(f"{self.path.name}-journal")):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"the list of messages in {self.path} is damaged, and cannot be removed:"
                f" {error.strerror}",
                hint="remove it by hand; it is made anew from the folders of the messages",
            ) from error
        with self._translating():
            self._connection = self._connect()

    def _read(self, query: str, *values: Any) -> list[Any]:
        with self._lock, self._translating():
            return self._connection.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _begin(self) -> Iterator[sqlite3.Connection]:
        """A transaction that may write; the library's errors become ours."""
        with self._lock, self._translating():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.rollback()
                raise
            self._connection.commit()

    @contextlib.contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error) -> OutputError:
        if "locked" in str(error) or "busy" in str(error):
            return OutputError(
                f"another program has held the list of messages for {LOCKED_AFTER_S:.0f} s",
                hint=f"end the program that uses {self.path}, and try again",
            )
        kind = StoreDamagedError if _is_damage(error) else OutputError
        return kind(
            f"the list of messages in {self.path} cannot be used: {error}",
            hint="the files of the messages are not affected",
        )


def _is_damage(error: sqlite3.Error) -> bool:
    return any(words in str(error) for words in ("malformed", "not a database", "no such table"))


def _make_private(path: Path) -> None:
    """A file and its folder that nobody else may read, before anything is in them."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_OF_OWNER)
        number = os.open(path, os.O_RDWR | os.O_CREAT, OWNER_ONLY)
        os.close(number)
        if os.name == "posix":
            for each, mode in ((path.parent, FOLDER_OF_OWNER), (path, OWNER_ONLY)):
                if each.stat().st_mode & 0o077:
                    each.chmod(mode)
    except OSError as error:
        raise OutputError(
            f"there is no place for the list of messages: {error}",
            hint="CAPTURE_DATA_DIR names another folder; CAPTURE_LIBRARY=off goes without it",
        ) from error


def _message_of(row: tuple[bytes, str]) -> Message:
    return message_of(json.loads(row[1]), Path(os.fsdecode(row[0])))


def _escaped(text: str) -> str:
    return "".join(f"\\{sign}" if sign in "\\%_" else sign for sign in text)


def _like(folded: str) -> str:
    return f"%{_escaped(folded)}%"

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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capture.errors import OutputError
from capture.messages.folding import fold, folded_variants
from capture.messages.journal import Position
from capture.messages.message import entry_of, message_of
from capture.sqlite import LOCKED_AFTER_S, Database, connect, is_locked

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from capture.messages.journal import Reading
    from capture.messages.message import Message, Origin

__all__ = ["DELETED", "Query", "Store", "StoreDamagedError"]

SCHEMA_VERSION = 1
OWNER_ONLY, FOLDER_OF_OWNER = 0o600, 0o700
DELETED = "deleted"
"""The key of a line that keeps nothing but the sum of a deleted message."""

_SCHEMA = """
CREATE TABLE messages (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    sha256 TEXT NOT NULL,
    folder BLOB NOT NULL,
    name BLOB NOT NULL,
    moment_s REAL NOT NULL,
    kept_s REAL NOT NULL,
    deleted_s REAL,
    origin TEXT NOT NULL,
    app TEXT NOT NULL,
    sender TEXT NOT NULL,
    chat TEXT NOT NULL,
    entry TEXT NOT NULL
);
CREATE INDEX messages_by_moment ON messages (moment_s);
CREATE INDEX messages_by_sum ON messages (sha256);
CREATE INDEX messages_by_place ON messages (folder, name);
CREATE TABLE words (number INTEGER PRIMARY KEY, folded TEXT NOT NULL);
CREATE TABLE sums (sha256 TEXT, folder BLOB, PRIMARY KEY (sha256, folder)) WITHOUT ROWID;
CREATE TABLE folders (
    folder BLOB PRIMARY KEY,
    offset INTEGER NOT NULL,
    head_bytes INTEGER NOT NULL,
    head TEXT NOT NULL,
    stamp TEXT NOT NULL
);
CREATE TABLE state (deletions INTEGER, cleaned INTEGER, is_complete INTEGER);
INSERT INTO state VALUES (0, 0, 0);
"""
_TABLES = ("messages", "words", "sums", "folders", "state")


@dataclass(frozen=True, slots=True)
class Query:
    """Conditions that messages have to meet, all of them; without any, all messages."""

    words: str = ""
    """Each of these words, or a part of it, is in the transcript or in another fact."""
    sender: str | None = None
    """Part of the sender's name; so the next two."""
    chat: str | None = None
    app: str | None = None
    origin: Origin | None = None
    since: datetime | None = None
    """Only messages of this moment or later; see ``Message.moment``."""
    until: datetime | None = None
    """Only messages before this moment."""
    limit: int | None = None
    """At most so many, the latest."""
    is_deleted: bool = False
    """Only messages whose deletion can still be undone, instead of present ones."""


class StoreDamagedError(OutputError):
    """The store cannot be read; ``Store.begin_anew`` gives an empty one."""


class Store(Database):
    """The store, open; any thread may call any method.

    Args:
        path: The file, made if it is not there.

    Raises:
        OutputError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        super().__init__()
        try:
            self._connection = self._connect()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise self._translated(error) from error
            self._discard()

    # -------------------------------------------------------------------------------------- asking

    def messages(self, query: Query) -> tuple[Message, ...]:
        """The messages that match a query, the latest first."""
        conditions = [f"deleted_s IS {'NOT NULL' if query.is_deleted else 'NULL'}"]
        values: list[Any] = []
        parts: list[tuple[str, str | None]]
        parts = [("folded", word) for word in query.words.split()]
        parts += [("sender", query.sender), ("chat", query.chat), ("app", query.app)]
        for column, text in parts:
            ways = () if text is None else folded_variants(text)
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
        """The messages whose id begins so, also deleted ones."""
        select = "SELECT folder, entry FROM messages WHERE id LIKE ? ESCAPE char(92) ORDER BY id"
        return tuple(map(_message_of, self._read(select, f"{_escaped(digits)}%")))

    def at(self, path: Path) -> Message | None:
        """The message whose file has this path, or had it before its deletion."""
        select = (
            "SELECT folder, entry FROM messages WHERE folder = ? AND name = ?"
            " ORDER BY deleted_s IS NOT NULL, deleted_s DESC"
        )
        rows = self._read(select, os.fsencode(path.parent), os.fsencode(path.name))
        return _message_of(rows[0]) if rows else None

    def with_sum(self, sha256: str) -> Message | None:
        """The message with this SHA-256; also a deleted one."""
        rows = self._read("SELECT folder, entry FROM messages WHERE sha256 = ?", sha256)
        return _message_of(rows[0]) if rows else None

    def is_sum_of_deleted(self, sha256: str) -> bool:
        """Whether a message with this SHA-256 was deleted for good."""
        return bool(self._read("SELECT 1 FROM sums WHERE sha256 = ?", sha256))

    def sums_of_deleted(self) -> int:
        """Number of SHA-256 of deleted messages."""
        return int(self._read("SELECT count(DISTINCT sha256) FROM sums")[0][0])

    def folders(self) -> dict[Path, Position]:
        """The folders whose journals were read, and how far."""
        rows = self._read("SELECT * FROM folders ORDER BY folder")
        return {Path(os.fsdecode(row[0])): Position(*row[1:]) for row in rows}

    @property
    def is_complete(self) -> bool:
        """Whether all folders have been read since the store was created."""
        return bool(self._read("SELECT is_complete FROM state")[0][0])

    # ------------------------------------------------------------------------------------- changing

    def take(self, folder: Path, since: Position | None, reading: Reading) -> bool:
        """Add the new lines of a folder's journal.

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
                _clear_folder(connection, raw)
            for entry in reading.entries:
                _take_entry(connection, folder, entry)
            _set_position(connection, raw, reading.position)
        return True

    def replace_all(
        self,
        folders: dict[Path, Position],
        messages: Iterable[Message],
        sums: Iterable[tuple[str, Path]],
    ) -> None:
        """Replace the content by these folders and messages."""
        with self._begin() as connection:
            before = connection.execute("SELECT count(*) FROM messages").fetchone()[0]
            for table in ("messages", "words", "sums", "folders"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of this file
            for message in messages:
                _put(connection, message)
            rows = [(sha256, os.fsencode(folder)) for sha256, folder in sums]
            connection.executemany("INSERT OR IGNORE INTO sums VALUES (?, ?)", rows)
            for folder, position in folders.items():
                _set_position(connection, os.fsencode(folder), position)
            connection.execute(
                "UPDATE state SET is_complete = 1, deletions = deletions + ?", (bool(before),)
            )

    def clean(self) -> None:
        """Write the file anew if it may hold rests of deleted messages."""
        with self._lock, self._translating():
            deletions, cleaned = self._read("SELECT deletions, cleaned FROM state")[0]
            if deletions > cleaned:
                self._connection.execute("VACUUM")
                # What others have deleted meanwhile counts anew.
                self._connection.execute("UPDATE state SET cleaned = max(cleaned, ?)", (deletions,))

    # ---------------------------------------------------------------------------------------- small

    def _connect(self) -> sqlite3.Connection:
        _make_private(self.path)
        connection = connect(self.path)
        try:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA temp_store = MEMORY")  # nothing of it elsewhere on the disk
            connection.execute("PRAGMA synchronous = NORMAL")  # it is a cache
            if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
                _make_tables(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def begin_anew(self) -> None:
        """Replace a damaged store by an empty one.

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

    def _translated(self, error: sqlite3.Error) -> OutputError:
        if is_locked(error):
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
    """Create a file and its folder that only the user can read."""
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
            f"the folder of the list of messages cannot be made: {error}",
            hint="CAPTURE_DATA_DIR names another folder; CAPTURE_LIBRARY=off goes without it",
        ) from error


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been quicker.
        if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
            for table in _TABLES:
                connection.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _take_entry(connection: sqlite3.Connection, folder: Path, entry: dict[str, Any]) -> None:
    sha256 = entry.get("sha256")
    if entry.get(DELETED) is True:
        if isinstance(sha256, str):
            row = (sha256, os.fsencode(folder))
            connection.execute("INSERT OR IGNORE INTO sums VALUES (?, ?)", row)
        return
    with contextlib.suppress(ValueError):  # no message, or one of a newer version
        message = message_of(entry, folder)
        if _is_ours(connection, message):
            _put(connection, message)


def _is_ours(connection: sqlite3.Connection, message: Message) -> bool:
    """Whether a message is of this folder: of copies, the one that was kept first counts."""
    select = "SELECT folder, kept_s FROM messages WHERE id = ?"
    row = connection.execute(select, (message.id,)).fetchone()
    if row is None or row[0] == os.fsencode(message.path.parent):
        return True
    return bool(message.kept_at.timestamp() < row[1])


def _put(connection: sqlite3.Connection, message: Message) -> None:
    known = connection.execute("SELECT number FROM messages WHERE id = ?", (message.id,)).fetchone()
    moment, deleted = message.moment.timestamp(), message.deleted_at
    place = os.fsencode(message.path.parent), os.fsencode(message.path.name)
    if deleted is None:
        # What had this name before was overwritten.
        for (number,) in connection.execute(
            "SELECT number FROM messages"
            " WHERE folder = ? AND name = ? AND id != ? AND deleted_s IS NULL",
            (*place, message.id),
        ).fetchall():
            _delete(connection, number)
    row = (
        None if known is None else known[0],
        message.id,
        message.sha256,
        *place,
        moment,
        message.kept_at.timestamp(),
        None if deleted is None else deleted.timestamp(),
        message.origin.value,
        *(fold(text or "") for text in (message.app, message.sender, message.chat)),
        json.dumps(entry_of(message)),
    )
    marks = ", ".join("?" * len(row))
    done = connection.execute(f"INSERT OR REPLACE INTO messages VALUES ({marks})", row)  # noqa: S608 - marks
    connection.execute(
        "INSERT OR REPLACE INTO words VALUES (?, ?)", (done.lastrowid, _words_of(message))
    )


def _words_of(message: Message) -> str:
    """The searchable text of a message; a line break between unrelated parts."""
    known = (message.text, message.path.stem, message.sender, message.chat, message.app)
    return "\n".join(fold(text) for text in (*known, message.source) if text)


def _clear_folder(connection: sqlite3.Connection, raw: bytes) -> None:
    select = "SELECT number FROM messages WHERE folder = ?"
    for (number,) in connection.execute(select, (raw,)).fetchall():
        _delete(connection, number)
    connection.execute("DELETE FROM sums WHERE folder = ?", (raw,))


def _delete(connection: sqlite3.Connection, number: int) -> None:
    for table in ("messages", "words"):
        connection.execute(f"DELETE FROM {table} WHERE number = ?", (number,))  # noqa: S608 - names of this file
    connection.execute("UPDATE state SET deletions = deletions + 1")


def _set_position(connection: sqlite3.Connection, raw: bytes, position: Position) -> None:
    row = (raw, position.offset, position.head_bytes, position.head, position.stamp)
    connection.execute("INSERT OR REPLACE INTO folders VALUES (?, ?, ?, ?, ?)", row)


def _message_of(row: tuple[bytes, str]) -> Message:
    return message_of(json.loads(row[1]), Path(os.fsdecode(row[0])))


def _escaped(text: str) -> str:
    return "".join(f"\\{sign}" if sign in "\\%_" else sign for sign in text)


def _like(folded: str) -> str:
    return f"%{_escaped(folded)}%"

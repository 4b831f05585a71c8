"""The tables of the store, and what is written into them, in a transaction of whoever calls."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from capture.messages.folding import fold
from capture.messages.message import entry_of, message_of

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from capture.messages.journal import Position
    from capture.messages.message import Message

__all__ = [
    "DELETED",
    "SCHEMA_VERSION",
    "clear_folder",
    "make_tables",
    "put",
    "set_position",
    "take_entry",
]

SCHEMA_VERSION = 1
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


def make_tables(connection: sqlite3.Connection) -> None:
    """Make them all anew, in a transaction of its own."""
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


def take_entry(connection: sqlite3.Connection, folder: Path, entry: dict[str, Any]) -> None:
    """Take in a line of a folder's journal."""
    sha256 = entry.get("sha256")
    if entry.get(DELETED) is True:
        if isinstance(sha256, str):
            row = (sha256, os.fsencode(folder))
            connection.execute("INSERT OR IGNORE INTO sums VALUES (?, ?)", row)
        return
    with contextlib.suppress(ValueError):  # no message, or one of a newer version
        message = message_of(entry, folder)
        if _is_ours(connection, message):
            put(connection, message)


def _is_ours(connection: sqlite3.Connection, message: Message) -> bool:
    """Whether a message counts that another folder has too: where it was kept first, it does."""
    select = "SELECT folder, kept_s FROM messages WHERE id = ?"
    row = connection.execute(select, (message.id,)).fetchone()
    if row is None or row[0] == os.fsencode(message.path.parent):
        return True
    return bool(message.kept_at.timestamp() < row[1])


def put(connection: sqlite3.Connection, message: Message) -> None:
    """Write a message, in place of what is known of it."""
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
    """What a message is found by; a line break parts what does not belong together."""
    known = (message.text, message.path.stem, message.sender, message.chat, message.app)
    return "\n".join(fold(text) for text in (*known, message.source) if text)


def clear_folder(connection: sqlite3.Connection, raw: bytes) -> None:
    """Forget all that a folder's journal said."""
    select = "SELECT number FROM messages WHERE folder = ?"
    for (number,) in connection.execute(select, (raw,)).fetchall():
        _delete(connection, number)
    connection.execute("DELETE FROM sums WHERE folder = ?", (raw,))


def _delete(connection: sqlite3.Connection, number: int) -> None:
    for table in ("messages", "words"):
        connection.execute(f"DELETE FROM {table} WHERE number = ?", (number,))  # noqa: S608 - names of this file
    connection.execute("UPDATE state SET deletions = deletions + 1")


def set_position(connection: sqlite3.Connection, raw: bytes, position: Position) -> None:
    """Note how far a folder's journal was read."""
    row = (raw, position.offset, position.head_bytes, position.head, position.stamp)
    connection.execute("INSERT OR REPLACE INTO folders VALUES (?, ?, ?, ?, ?)", row)

"""An SQLite file for many threads and processes: transactions and translated errors."""

import contextlib
import sqlite3
import threading
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capture.closing import Closing
from capture.errors import CaptureError

LOCKED_AFTER_S = 10.0
"""Writing takes milliseconds: who waits this long waits for something that hangs."""


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection for all threads, with explicit transactions.

    Raises:
        sqlite3.Error: The file cannot be opened.
    """
    return sqlite3.connect(
        path, timeout=LOCKED_AFTER_S, isolation_level=None, check_same_thread=False
    )


def is_locked(error: sqlite3.Error) -> bool:
    """Whether an error means that the file was locked longer than ``LOCKED_AFTER_S``."""
    return "locked" in str(error) or "busy" in str(error)


class Database(Closing):
    """An open SQLite file; any thread may call any method. Subclasses connect."""

    _connection: sqlite3.Connection

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            self._connection.close()

    def _read(self, query: str, *values: Any) -> list[Any]:
        with self._lock, self._translating():
            return self._connection.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _begin(self) -> Iterator[sqlite3.Connection]:
        """A context with a transaction that may write."""
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

    @abstractmethod
    def _translated(self, error: sqlite3.Error) -> CaptureError:
        """The ``CaptureError`` for an error of SQLite."""

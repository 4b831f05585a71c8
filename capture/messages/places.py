"""The files of a message: sound, picture, derived files; moving, hiding, removing them.

Only files are touched here; what is known of messages is changed by ``capture.messages.library``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from typing import TYPE_CHECKING

from capture.config import cache_folder
from capture.errors import OutputError
from capture.naming import publish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from capture.messages.message import Message

__all__ = ["hide", "made_of", "move", "remove", "restore", "sum_of", "translating"]


@contextlib.contextmanager
def translating(path: Path) -> Iterator[None]:
    """Translate errors of the system to ``OutputError``; loads av only after one."""
    try:
        yield
    except OutputError:
        raise
    except OSError:
        from capture.media.output import as_output_error  # noqa: PLC0415 - loads av

        with as_output_error(path):
            raise


def sum_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def made_of(message: Message) -> Path:
    """The folder of files derived from a message's content; it may not exist."""
    return cache_folder() / "messages" / message.sha256[:16]


def move(path: Path, target: Path) -> Path:
    """Rename a file, to the next free name if it is taken; gives the new path.

    Raises:
        OutputError: The system refuses.
    """
    with translating(path):
        return publish(path, target, number=True)


def hide(message: Message) -> None:
    """Rename a message's file and its picture to their hidden names.

    A file that is missing, or has other content, is left as it is.

    Raises:
        OutputError: The system refuses.
    """
    with translating(message.path):
        if _is_content_of(message, message.path):
            message.path.replace(message.hidden_path)
        if message.picture is not None and os.path.lexists(message.picture):
            message.picture.replace(message.hidden_picture)


def restore(message: Message) -> None:
    """Rename a message's hidden file and picture back; other files stay as they are.

    Raises:
        OutputError: The system refuses, or the place is taken.
    """
    for hidden, target in (
        (message.hidden_path, message.path),
        (message.hidden_picture, message.picture),
    ):
        if target is not None and os.path.lexists(hidden):
            # Another process may be completing what was cut off.
            with translating(target), contextlib.suppress(FileNotFoundError):
                publish(hidden, target)


def remove(message: Message) -> None:
    """Delete a message's file wherever it is, its picture, and all derived files.

    Raises:
        OutputError: The system refuses.
    """
    with translating(message.path):
        message.hidden_path.unlink(missing_ok=True)
        if _is_content_of(message, message.path):  # its deletion was cut off, or is to be at once
            message.path.unlink(missing_ok=True)
        message.hidden_picture.unlink(missing_ok=True)
        if message.picture is not None and message.deleted_at is None:
            message.picture.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(made_of(message))


def _is_content_of(message: Message, path: Path) -> bool:
    """Whether a file has the content of the message, or only its name."""
    try:
        return path.stat().st_size == message.size_bytes and sum_of(path) == message.sha256
    except FileNotFoundError:
        return False

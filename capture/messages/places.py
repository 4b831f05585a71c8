"""Where a message's file, its picture and what was made of it lie, and how they come and go.

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
    """The system's reasons as errors of ours; loads the library that knows them only then."""
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
    """The folder of files that were made of a message's content; it may not exist."""
    return cache_folder() / "messages" / message.sha256[:16]


def move(path: Path, target: Path) -> Path:
    """Give a file another name, or the next free one like it; gives the name.

    Raises:
        OutputError: The system refuses.
    """
    with translating(path):
        return publish(path, target, number=True)


def hide(message: Message) -> None:
    """Take a message's file and its picture out of sight.

    A file that is not there any more, or not the message's, is left as it is.

    Raises:
        OutputError: The system refuses.
    """
    with translating(message.path):
        if _is_content_of(message, message.path):
            message.path.replace(message.hidden_path)
        if message.picture is not None and os.path.lexists(message.picture):
            message.picture.replace(message.hidden_picture)


def restore(message: Message) -> None:
    """Bring a message's hidden file and picture to where they belong; others stay as they are.

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
    """Remove a message's file wherever it lies, its picture, and all that was made of it.

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
    """Whether a file is the message's, and not another one that has its name by now."""
    try:
        return path.stat().st_size == message.size_bytes and sum_of(path) == message.sha256
    except FileNotFoundError:
        return False

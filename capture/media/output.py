"""Files that are written: what the system says about them, and when the disk has them."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import av

from capture.errors import SYSTEM_REASONS, OutputError
from capture.model.extraction import ExtractedPart

__all__ = ["as_output_error", "errno_said", "keep", "keep_all", "keep_names"]


def errno_said(words: str) -> int:
    """The error number behind the system's words, for a library that keeps only those."""
    return next((code for code in SYSTEM_REASONS if os.strerror(code) in words), errno.EIO)


class as_output_error(contextlib.AbstractContextManager["as_output_error"]):  # noqa: N801 - reads as a phrase
    """Turns what the system and FFmpeg say about a file into an ``OutputError``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, (OSError, av.FFmpegError)) or isinstance(error, OutputError):
            return
        code = getattr(error, "errno", None)
        reason, hint = SYSTEM_REASONS.get(code or 0, (str(error), "choose another folder"))
        raise OutputError(
            f"cannot write {self._path}: {reason}", hint=hint, details={"errno": code}
        ) from error


def keep(path: Path) -> None:
    """Wait until the disk has a finished file, so that not even a power cut takes it.

    Raises:
        OutputError: The disk reports an error.
    """
    with as_output_error(path), path.open("rb+") as file:
        os.fsync(file.fileno())


def keep_all(parts: Iterable[ExtractedPart]) -> None:
    """Wait until the disk has many finished files and their names; nothing else is waited for.

    What is gone by now is passed over.

    Raises:
        OutputError: The disk reports an error.
    """
    paths = [path for part in parts for path in (part.path, part.path.with_suffix(".png"))]
    if sys.platform == "linux":  # macOS and Windows have no such call
        # The system begins to write all of them, so that each is waited for a short while only.
        for path in paths:
            with contextlib.suppress(OSError), path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    for path in filter(os.path.exists, paths):
        keep(path)
    for folder in filter(os.path.exists, {path.parent for path in paths}):
        keep_names(folder)


def keep_names(folder: Path) -> None:
    """Wait until the disk has the names of the files in a folder, where a file system can."""
    if sys.platform == "win32":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(number)
    finally:
        os.close(number)

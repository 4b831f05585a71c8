"""Output files: system errors as ``OutputError``, and waiting until the disk has the data."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import av

from capture.errors import SYSTEM_REASONS, OutputError
from capture.model.extraction import ExtractedPart


def errno_of(words: str) -> int:
    """The error number that belongs to a message of the system; EIO if none is known."""
    return next((code for code in SYSTEM_REASONS if os.strerror(code) in words), errno.EIO)


class as_output_error(contextlib.AbstractContextManager["as_output_error"]):  # noqa: N801 - reads as a phrase
    """Turns errors of the system and of FFmpeg about a file into ``OutputError``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, (OSError, av.FFmpegError)) or isinstance(error, OutputError):
            return
        code = getattr(error, "errno", None)
        reason, hint = SYSTEM_REASONS.get(code or 0, (str(error), "choose another folder"))
        raise OutputError(
            f"{self._path} cannot be written: {reason}", hint=hint, details={"errno": code}
        ) from error


def sync(path: Path) -> None:
    """Wait until a finished file is on the disk, safe from a power cut.

    Raises:
        OutputError: The disk reports an error.
    """
    with as_output_error(path), path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_all(parts: Iterable[ExtractedPart]) -> None:
    """Wait until many finished files and their names are on the disk.

    Files that do not exist any more are passed over.

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
        sync(path)
    for folder in filter(os.path.exists, {path.parent for path in paths}):
        sync_names(folder)


def sync_names(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the file system can."""
    if sys.platform == "win32":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(number)
    finally:
        os.close(number)

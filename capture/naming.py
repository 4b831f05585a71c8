"""Names of files that do not exist yet: safe on every file system, never taking another's place.

A file is written under a hidden name beside its place (``part_path``) and moved there whole
(``publish``): what has a final name is complete, and what had that name before is never lost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import unicodedata
from typing import TYPE_CHECKING

from capture.process import is_alive

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["clear_parts", "free_path", "part_path", "publish", "safe_name"]

LONGEST_BYTES = 200
"""Of a name without its ending: file systems take 255 bytes, and numbers and endings follow."""
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]')
"""What Windows (and FAT and exFAT everywhere) refuses in a name, control characters, and bytes that
are no UTF-8, as Python reads them."""
_RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$")
"""Devices of Windows, with any ending."""
_PART = re.compile(r"^\..+\.(\d+)\.part(\.[^.]+)?$")


def safe_name(text: str) -> str:
    """A name that every file system takes, as like ``text`` as possible; never empty."""
    plain = unicodedata.normalize("NFC", text)
    plain = re.sub(r"\s+", " ", _FORBIDDEN.sub(" ", plain)).strip(" .")
    while len(plain.encode()) > LONGEST_BYTES:
        plain = plain[:-1].rstrip(" .")
    if _RESERVED.match(plain):
        plain = f"_{plain}"
    return plain or "unnamed"


def free_path(path: Path) -> Path:
    """This path, or the first of ``NAME (2).EXT``, ``NAME (3).EXT`` that does not exist."""
    candidate, number = path, 1
    while candidate.exists() or candidate.is_symlink():
        number += 1
        candidate = path.with_name(f"{path.stem} ({number}){path.suffix}")
    return candidate


def part_path(target: Path) -> Path:
    """Where this process writes what will be ``target``: hidden, beside it, with its ending."""
    stem = target.stem
    while len(stem.encode()) > LONGEST_BYTES:
        stem = stem[:-1]
    return target.with_name(f".{stem}.{os.getpid()}.part{target.suffix}")


def publish(part: Path, target: Path, *, overwrite: bool = False, number: bool = False) -> Path:
    """Give a finished file its name, whole or not at all.

    Args:
        part: The finished file, in the folder of the target.
        target: The name it is to have.
        overwrite: Replace a file of that name.
        number: Where the name is taken, take the first free one of ``NAME (2).EXT`` and so on.

    Returns:
        The name it got.

    Raises:
        FileExistsError: The name is taken; ``part`` is still there.
        OSError: The system refuses.
    """
    if overwrite:
        part.replace(target)
        return target
    while True:
        wished = free_path(target) if number else target
        try:
            _move_to_free(part, wished)
        except FileExistsError:
            if not number:
                raise
            continue  # somebody was quicker; the next number
        return wished


def _move_to_free(part: Path, target: Path) -> None:
    """Rename without replacing: a link fails where the name is taken, a rename would not."""
    try:
        os.link(part, target)
    except OSError as error:
        if error.errno in {errno.EEXIST, errno.ENOENT, errno.ENOSPC, errno.EROFS, errno.ENOTDIR}:
            raise
        # FAT and some network file systems have no links: take the name first, then replace.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        part.replace(target)
        return
    part.unlink()


def clear_parts(folder: Path) -> None:
    """Remove unfinished files of this module's making whose process has ended."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            found = _PART.match(path.name)
            if found is not None and not is_alive(int(found[1])):
                with contextlib.suppress(OSError):
                    path.unlink()

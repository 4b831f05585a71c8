"""File names: valid on every file system, short enough, never those of other files.

Also how a name is given to a library that is written in C, so that it means a file and nothing
else. A file is written under a hidden name beside its place (``part_path``) and moved there whole
(``publish``): a file with a final name is complete, and none of that name is ever lost.
"""

import contextlib
import errno
import os
import re
import sys
import unicodedata
from pathlib import Path

from capture.process import is_alive

LONGEST_BYTES = 200
"""Of a name without its ending: file systems take 255 bytes, and numbers and endings follow."""
NAME_BYTES = 255
"""NAME_MAX of nearly every file system."""
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\ud800-\udfff]')
"""What Windows (and FAT and exFAT everywhere) refuses in a name, control characters, and bytes that
are no UTF-8, as Python reads them."""
_JOINERS = "\u200c\u200d"
"""Persian and Indic words are spelt with them, and emoji are made of several; all else of Unicode's
category Cf only hides in a name, and a direction mark can turn its ending round."""
_AT_NO_END = f" .{_JOINERS}"
_RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$")
"""Devices of Windows, with any ending."""
_PART = re.compile(r"^\..+\.(\d+)\.part(\.[^.]+)?$")


def safe_name(text: str) -> str:
    """A file name valid on every file system, as similar to ``text`` as possible; never empty."""
    shown = (c for c in text if c in _JOINERS or unicodedata.category(c) != "Cf")
    plain = unicodedata.normalize("NFC", "".join(shown))
    plain = re.sub(r"\s+", " ", _FORBIDDEN.sub(" ", plain)).strip(_AT_NO_END)
    plain = shortened(plain, LONGEST_BYTES).rstrip(_AT_NO_END)
    if _RESERVED.match(plain):
        plain = f"_{plain}"
    return plain or "unnamed"


def shortened(text: str, longest_bytes: int) -> str:
    """The longest beginning of a text within so many bytes; no character is cut in two."""
    # Of a byte that is no UTF-8, which takes one, three are counted.
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) <= longest_bytes:
        return text
    cut = len(raw[: max(0, longest_bytes)].decode("utf-8", "ignore"))
    # What belongs to the character before goes with it: accents, and what is joined to it.
    while cut and (unicodedata.category(text[cut])[0] == "M" or text[cut] in _JOINERS):
        cut -= 1
    return text[:cut].rstrip(_JOINERS)


def fitted(stem: str, tail: str) -> str:
    """A file name: the stem, cut where both are too long, and all of the tail."""
    return shortened(stem, NAME_BYTES - len(tail.encode("utf-8", "surrogatepass"))) + tail


def numbered(path: Path, number: int) -> Path:
    """``NAME (2).EXT`` for 2, and so on; ``NAME.EXT`` itself for 1."""
    if number == 1:
        return path
    return path.with_name(fitted(path.stem, f" ({number}){path.suffix}"))


def free_path(path: Path) -> Path:
    """The path, or the first of ``NAME (2).EXT``, ``NAME (3).EXT`` that does not exist."""
    number = 1
    while os.path.lexists(candidate := numbered(path, number)):
        number += 1
    return candidate


def part_path(target: Path) -> Path:
    """The hidden path at which this process writes ``target``: beside it, with its ending."""
    tail = f".{os.getpid()}.part{target.suffix}"
    return target.with_name(fitted(f".{target.stem}", tail))


def ffmpeg_name(path: Path) -> str:
    """A path as FFmpeg takes it as a file, also if it is ``12:30.mp4`` or ``pipe:1``.

    A name that begins with letters and a colon is a protocol to FFmpeg.
    """
    return f"file:{path}"


def sndfile_name(path: Path) -> str | bytes:
    """A path as libsndfile takes it; a text would be encoded as UTF-8."""
    return str(path) if sys.platform == "win32" else os.fsencode(path)


def publish(part: Path, target: Path, *, overwrite: bool = False, number: bool = False) -> Path:
    """Give a finished file its name, as a whole or not at all.

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
    """Rename without replacing, by a link, which fails where the name is taken."""
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
    """Delete unfinished files of ``part_path`` whose process has ended."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            found = _PART.match(path.name)
            if found is not None and not is_alive(int(found[1])):
                with contextlib.suppress(OSError):
                    path.unlink()

"""Opens files that end too early, as after a crash."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from capture.closing import Closing
from capture.errors import DamagedFileError
from capture.media.read.input import open_container
from capture.naming import ffmpeg_name

BOX_HEADER_BYTES = 8
FRAGMENTS_TRIED = 8
"""A power cut tears what was written in the last seconds, a fragment a second, in any order."""


@contextlib.contextmanager
def open_incomplete(path: Path) -> Iterator[Any]:
    """Open a file for reading, an incomplete MP4 up to its last complete part.

    Raises:
        DamagedFileError: Nothing of it can be read.
    """
    with contextlib.ExitStack() as stack:
        try:
            source = _try_open(stack, path)
        except (av.FFmpegError, OSError) as error:
            raise DamagedFileError(
                f"{path} cannot be read: {error.strerror}",
                hint="it is no recording, or was cut off before anything reached the disk",
            ) from error
        yield source


def _try_open(stack: contextlib.ExitStack, path: Path) -> Any:
    """Open the file, or as much of its beginning as the demuxer takes.

    The demuxer refuses an incomplete box together with all complete ones before it, and a box of
    which only the header reached the disk together with all fragments.
    """
    try:
        return stack.enter_context(open_container(path))
    except (av.InvalidDataError, av.EOFError) as error:
        failure: av.FFmpegError = error
    for end in _ends_of_whole_boxes(path)[: FRAGMENTS_TRIED + 1]:
        try:
            return stack.enter_context(open_container(stack.enter_context(_Head(path, end))))
        except (av.InvalidDataError, av.EOFError) as error:
            failure = error
    raise failure


class _Head(Closing):
    """The beginning of a file, as a file object for ``av.open``."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.name = ffmpeg_name(path)
        self._size_bytes = size_bytes
        self._file = path.open("rb")

    def close(self) -> None:
        self._file.close()

    def read(self, count: int) -> bytes:
        return self._file.read(max(0, min(count, self._size_bytes - self._file.tell())))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            return self._file.seek(self._size_bytes + offset)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def top_boxes(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the top-level boxes of an MP4 or MOV; empty for other formats.

    Each box has its length (ISO/IEC 14496-12, 4.2); the last one may end beyond the file.
    """
    with path.open("rb") as file:
        size_bytes, at = file.seek(0, os.SEEK_END), 0
        while at < size_bytes:
            file.seek(at)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if length == 1:
                length = int.from_bytes(head[8:], "big")
            if length < BOX_HEADER_BYTES or (at == 0 and kind != b"ftyp"):
                return  # 0: up to the end of the file
            yield kind, at, at + length
            at += length


def _ends_of_whole_boxes(path: Path) -> list[int]:
    """Ends of the last complete box of an MP4, then of the boxes before its fragments.

    The last one first; only the end, and that is 0, if this is no MP4.
    """
    end = 0
    fragments: list[int] = []
    size_bytes = path.stat().st_size
    for kind, begin, stop in top_boxes(path):
        if stop > size_bytes:
            break
        if kind == b"moof":
            fragments.append(begin)
        end = stop
    return [end, *reversed(fragments)]

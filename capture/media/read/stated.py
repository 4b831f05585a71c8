"""The number of bytes of sound in a file's header.

FFmpeg does not hand that on: where the file is shorter, it computes a length from what is there. So
a file that was cut off looks like one that was written to a pipe, or by a recorder that was killed,
and whose header was never finished.
"""

import os
import struct
from pathlib import Path
from typing import NamedTuple

HEADED = ("wav", "w64", "aiff", "caf")
"""FFmpeg's names of the containers that are read here."""
_UNFINISHED = (0x7F00_0000, 0x7FFF_F000, 0x8000_0000, 0x1_0000_0000)
"""About what is written for a length that is not known: the most that a field or a reader takes.
SoX writes the first two (AIFF, WAV), arecord the third, FFmpeg the last."""
_ABOUT = 1 << 12
_ENDLESS = 1 << 62
"""And what is written into 64 bits: -1, or the most there is."""


class _Chunks(NamedTuple):
    """A format of chunks: the place of the first one, and the header of each."""

    begin: int
    header: str
    """Layout of its name and its length."""
    sound: bytes
    """Name of the chunk with the sound."""
    counted: int = 0
    """Bytes of the header that count for the length."""
    align: int = 1


_WAV = _Chunks(12, "<4sI", b"data", align=2)
_KINDS = {
    b"RIFF": _WAV,
    b"RF64": _WAV,
    b"FORM": _Chunks(12, ">4sI", b"SSND", align=2),
    b"caff": _Chunks(8, ">4sQ", b"data"),
    b"riff": _Chunks(
        40, "<16sQ", b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a", counted=24, align=8
    ),
}


def stated_bytes(path: Path) -> int | None:
    """Bytes of sound in the header of a WAV, RF64, W64, AIFF or CAF file.

    Returns:
        Bytes; 0 where the header was never finished; ``None``: it is another kind of file.
    """
    with path.open("rb") as file:
        kind = _KINDS.get(file.read(4))
        if kind is None:
            return None
        file_bytes, long = os.fstat(file.fileno()).st_size, 0
        at, size = kind.begin, struct.calcsize(kind.header)
        while at < file_bytes:
            file.seek(at)
            header = file.read(size)
            if len(header) < size:
                return None
            name, length = struct.unpack(kind.header, header)
            if name == b"ds64":  # RF64: the lengths that do not fit into 32 bits
                _, long = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))
            if name == kind.sound:
                length = (long or length) - kind.counted
                return length if _is_known(length, file_bytes) else 0
            at += size + -(-max(0, length - kind.counted) // kind.align) * kind.align
    return None


def _is_known(length: int, file_bytes: int) -> bool:
    if length <= file_bytes:
        return length > 0
    return length < _ENDLESS and not any(abs(length - mark) <= _ABOUT for mark in _UNFINISHED)

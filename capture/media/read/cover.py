"""Cover pictures of sound files: read from one file, added to another."""

import base64
import io
import shutil
import struct
from pathlib import Path
from typing import Any

import av

from capture.media.read.input import open_media
from capture.media.read.tracks import is_cover

_KINDS = {b"\xff\xd8\xff": ("image/jpeg", "cover.jpg"), b"\x89PNG": ("image/png", "cover.png")}
"""How a picture begins: its media type, and a name for it. All containers take these two."""
_FRONT_COVER = 3
_FLAC_PICTURE = 6
_LAST_BLOCK = 0x80
_STREAMINFO_END = 4 + 4 + 34
"""``fLaC``, the header of the first block, the block (RFC 9639, section 8)."""
_MOST_FLAC_BYTES = 1 << 24
"""A block's length has 24 bits."""


def read_cover(path: Path) -> bytes | None:
    """The first cover of a file, a JPEG or PNG; ``None`` where it has none.

    Raises:
        DamagedFileError: The file cannot be read.
    """
    with open_media(path) as container:
        for stream in filter(is_cover, container.streams.video):
            for packet in container.demux(stream):
                data = bytes(packet)
                if _kind(data) is not None:
                    return data
                break
    return None


def muxer_of(muxer: str, cover: bytes | None) -> tuple[str, dict[str, str]]:
    """FFmpeg's muxer that takes a cover, and its options: the one that was meant, or its like.

    PyAV refuses pictures in ``ipod``, though FFmpeg's is ``mp4`` with another brand.
    """
    if cover is None or muxer != "ipod":
        return muxer, {}
    return "mp4", {"brand": "M4A "}


def add_cover(container: Any, cover: bytes) -> None:
    """Add a cover to a file that is being written, after its sound track, before any sound.

    A container that takes no cover is left as it is.
    """
    kind = _kind(cover)
    if kind is None:
        return
    if container.format.name == "matroska":
        container.add_attachment(kind[1], kind[0], cover)
    elif container.format.name in {"ogg", "opus"}:
        block = base64.b64encode(_flac_picture(cover, kind[0])).decode()
        container.metadata["METADATA_BLOCK_PICTURE"] = block
    elif container.format.name in {"mp3", "mp4", "flac"}:
        with av.open(io.BytesIO(cover)) as picture:
            stream = container.add_stream_from_template(picture.streams.video[0])
        stream.disposition = av.stream.Disposition.attached_pic
        packet: Any = av.Packet(cover)
        packet.stream = stream
        packet.pts = packet.dts = 0
        container.mux_one(packet)


def put_in_flac(path: Path, cover: bytes) -> None:
    """Add a cover to a finished FLAC file; one that is too large for a block is left out.

    Raises:
        OSError: It cannot be written.
    """
    kind = _kind(cover)
    block = b"" if kind is None else _flac_picture(cover, kind[0])
    if not 0 < len(block) < _MOST_FLAC_BYTES:
        return
    larger = path.with_name(f"{path.name}.cover")
    try:
        with path.open("rb") as source, larger.open("wb") as target:
            head = bytearray(source.read(_STREAMINFO_END))
            is_last = head[4] & _LAST_BLOCK
            head[4] &= ~_LAST_BLOCK
            target.write(head + struct.pack(">I", (is_last | _FLAC_PICTURE) << 24 | len(block)))
            target.write(block)
            shutil.copyfileobj(source, target, 1 << 20)
        larger.replace(path)
    finally:
        larger.unlink(missing_ok=True)


def _kind(data: bytes) -> tuple[str, str] | None:
    return next((kind for start, kind in _KINDS.items() if data.startswith(start)), None)


def _flac_picture(data: bytes, media_type: str) -> bytes:
    """A picture block of FLAC, Vorbis and Opus (RFC 9639, section 8.8), without its size."""
    name = media_type.encode()
    return b"".join(
        (
            struct.pack(">II", _FRONT_COVER, len(name)),
            name,
            struct.pack(">IIIIII", 0, 0, 0, 0, 0, len(data)),
            data,
        )
    )

"""The identity of a source, written into the files that are extracted from it.

A source is known by its content, so that it may be moved and renamed: by its length, its beginning,
its middle and its end. A line of the comment carries that. Messengers' files have no tags; the
number that an Ogg stream has anyway (RFC 3533, 4) is computed from it there.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SAMPLE_BYTES = 64 * 1024
"""Read of each of three places; headers, indexes and tags lie at the ends."""
_KEY = "source_id"
_LINE = re.compile(rf"(?m)\n?^{_KEY}: ([0-9a-f]{{16}})$")
_OGG_NUMBER = slice(14, 18)
"""Where the first page has the number of its stream, little endian."""


def identity_of(source: Path) -> str:
    """16 hexadecimal digits that stand for the content of a file.

    Raises:
        OSError: It cannot be read.
    """
    with source.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest = hashlib.blake2b(str(size).encode(), digest_size=8)
        for start in sorted({0, size // 2, max(0, size - SAMPLE_BYTES)}):
            file.seek(start)
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


def with_origin(tags: Mapping[str, str], identity: str) -> dict[str, str]:
    """Tags with the identity of the source at the end of the comment."""
    lines = [tags.get("comment", ""), f"{_KEY}: {identity}"]
    return {**tags, "comment": "\n".join(filter(None, lines))}


def without_origin(comment: str) -> str:
    """The owner's part of a comment."""
    return _LINE.sub("", comment)


def stream_number(tags: Mapping[str, str]) -> int:
    """The Ogg stream number for a source; 0 where the tags name none."""
    found = _LINE.search(tags.get("comment", ""))
    return 0 if found is None else int(found[1], 16) & 0x7FFFFFFF  # FFmpeg's is signed


def names_source(path: Path, container: Any, identity: str) -> bool | None:
    """Whether a file names a source as its own; ``None`` where it names none.

    Args:
        path: The file.
        container: The same, open.
        identity: Of the source.
    """
    for tags in (container.metadata, *(stream.metadata for stream in container.streams)):
        for key, text in tags.items():
            if key.lower() == "comment" and (found := _LINE.search(text)):
                return bool(found[1] == identity)
    if container.format.name == "ogg":
        with path.open("rb") as file:
            number = int.from_bytes(file.read(_OGG_NUMBER.stop)[_OGG_NUMBER], "little")
        # 0 is what is written without a source, and by other programs that draw no number.
        return number == stream_number(with_origin({}, identity)) if number else None
    return None

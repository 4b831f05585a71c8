"""Files that no sound can be taken from, of ten kinds: ``make_broken`` writes them.

Each is made anew from FFmpeg's own generators; nothing is stored. All are regular files with an
ending that promises sound, and for each ``capture extract`` must say in a sentence what is wrong.
"""

from __future__ import annotations

import functools
import random
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BROKEN", "make_broken", "run_ffmpeg"]

_TONE = ("-f", "lavfi", "-i", "sine=440:sample_rate=48000:duration=2")
_FILM = ("-f", "lavfi", "-i", "testsrc=size=96x64:rate=10:duration=2")


def run_ffmpeg(*arguments: str | Path) -> bytes:
    """What the real program prints; raises ``CalledProcessError`` where it fails."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, timeout=100).stdout


@functools.cache
def _made(ending: str, *arguments: str) -> bytes:
    """The bytes of a file that FFmpeg makes; once for all tests of a process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"made{ending}")
        run_ffmpeg(*arguments, path)
        return path.read_bytes()


def _empty() -> bytes:
    return b""


def _text() -> bytes:
    return b"This is not a film.\n" * 200


def _page() -> bytes:
    return b"<!doctype html><html><body><h1>404 Not Found</h1></body></html>\n"


def _silent_film() -> bytes:
    return _made(".mp4", *_FILM, "-c:v", "mpeg4")


def _no_index() -> bytes:
    """As a camera leaves it whose battery ran out: the sound is there, its table is not."""
    whole = _made(".mp4", *_FILM, *_TONE, "-c:v", "mpeg4", "-c:a", "aac")
    return whole[: whole.index(b"moov") - 4]


def _noise() -> bytes:
    return random.Random(5).randbytes(40_000)  # noqa: S311 - a file, no secret


def _zeroes() -> bytes:
    return bytes(40_000)


def _only_headers() -> bytes:
    """An Ogg file that ends after the two pages that say what would follow."""
    whole = _made(".opus", *_TONE, "-c:a", "libopus")
    second = whole.index(b"OggS", 1)
    return whole[: whole.index(b"OggS", second + 1)]


def _picture() -> bytes:
    return _made(".png", *_FILM, "-frames:v", "1")


def _cut_header() -> bytes:
    return _made(".webm", *_TONE, "-c:a", "libopus")[:90]


BROKEN: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty": (".opus", _empty),
    "text": (".mp4", _text),
    "page": (".m4a", _page),
    "silent-film": (".mp4", _silent_film),
    "no-index": (".mp4", _no_index),
    "noise": (".mp3", _noise),
    "zeroes": (".wav", _zeroes),
    "only-headers": (".ogg", _only_headers),
    "picture": (".mp3", _picture),
    "cut-header": (".webm", _cut_header),
}
"""Kind: ending of its name, and what makes its bytes."""


def make_broken(folder: Path, count: int = len(BROKEN)) -> list[Path]:
    """Files of all kinds in turn, named ``broken-NUMBER-KIND.ENDING``.

    Args:
        folder: Where they are written; it exists.
        count: How many.
    """
    kinds = list(BROKEN.items())
    paths = []
    for number in range(count):
        kind, (ending, make) = kinds[number % len(kinds)]
        paths.append(folder / f"broken-{number:02}-{kind}{ending}")
        paths[-1].write_bytes(make())
    return paths

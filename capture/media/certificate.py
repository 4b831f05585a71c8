"""What was done to a recording, carried in the file itself: the certificate.

A container's metadata is written with its header, before anything is known, and FFmpeg offers no
way back to it. So the header gets a comment of a fixed length, marked "unfinished", and when the
file is closed the facts are written over it, byte for byte, and the checksums above it (Ogg pages,
Matroska's Tags) are made true again. What is left of the room is zero bytes, at which players and
other programs take a text to end. The comment is the one tag that every container has and that
other programs keep when they copy streams. A file whose recorder was killed stays
"unfinished". WAV takes its comment when it is closed.
"""

from __future__ import annotations

import heapq
import json
import math
import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capture.config import version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from capture.levels import QuietStretch
    from capture.model.recording import TrackReport


FORMAT_VERSION = 1
QUIET_DBFS = -48.0
"""Below it sound is certified as quiet. ``verify`` calls it silent at -60 only: what a lossy codec
does to faint sound must not look like a hole."""
QUIET_MIN_S = 0.05
QUIET_KEPT = 32
"""Quiet stretches in a certificate, the longest ones; a file has room for so many."""

_MARK = "capture-certificate:"
_UNFINISHED = "unfinished"
_PADDING = re.compile(r"(?: *\.|\0+)$")
_ROOM_BYTES = 1500
_ROOM_PER_TRACK_BYTES = 1000
_WINDOW_BYTES = 1 << 20
"""Size of the parts of a file with headers, and with the index at the end of an MP4."""
_MATROSKA_TAGS = bytes.fromhex("1254c367")
_MATROSKA_CRC = bytes.fromhex("bf84")


@dataclass(frozen=True, slots=True)
class CertifiedTrack:
    """One track as its recorder measured it; times are those of the file."""

    name: str
    kind: str
    """``video`` or ``audio``."""
    start_s: float
    end_s: float
    quiet_s: tuple[tuple[float, float], ...] = ()
    """The longest stretches below ``QUIET_DBFS``."""
    quiet_floor_s: float = 0.0
    """Stretches up to this length may be missing from ``quiet_s``."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The facts that a recorder wrote into its file."""

    facts: Mapping[str, Any]
    """All of it, as it is in the file; empty if the recording was never finished."""
    tracks: tuple[CertifiedTrack, ...] = ()
    """In the order of the file: picture, then sound."""
    fps: float | None = None
    """The grid of the pictures; ``None`` without pictures."""

    @property
    def is_finished(self) -> bool:
        """False for a file whose recorder was killed, or still runs."""
        return bool(self.facts)


class QuietLog:
    """Finds the longest quiet stretches of a track. Used from one thread.

    Args:
        rate_hz: Sample rate.
    """

    def __init__(self, rate_hz: int) -> None:
        from capture.levels import QuietFinder  # noqa: PLC0415 - numpy; who only reads does without

        self._finder = QuietFinder(rate_hz, QUIET_DBFS, QUIET_MIN_S)
        self._longest: list[tuple[float, float, float]] = []
        self._floor_s = 0.0

    def push(self, samples: NDArray[np.float32]) -> None:
        """Add samples, shape (frames, channels)."""
        self._keep(self._finder.push(samples))

    def facts(self) -> dict[str, Any]:
        """The quiet stretches for the certificate; ends the track."""
        self._keep(self._finder.finish())
        stretches = sorted((start, end) for _, start, end in self._longest)
        return {
            "quiet_ms": [[round(start * 1000), round(end * 1000)] for start, end in stretches],
            "quiet_floor_ms": round(self._floor_s * 1000),
        }

    def _keep(self, stretches: list[QuietStretch]) -> None:
        for stretch in stretches:
            heapq.heappush(self._longest, (stretch.length_s, stretch.start_s, stretch.end_s))
            if len(self._longest) > QUIET_KEPT:
                self._floor_s = heapq.heappop(self._longest)[0]


def placeholder(tracks: int, comment: str = "") -> str:
    """The comment of a file that is being written: padding that the certificate replaces later.

    Args:
        tracks: How many the file has; each needs some room.
        comment: What its owner wants to be in the comment; comes first.
    """
    size_bytes = _ROOM_BYTES + _ROOM_PER_TRACK_BYTES * tracks
    # The last character keeps the blanks from being cut.
    text = f"{_MARK}{_UNFINISHED}".ljust(size_bytes - 1) + "."
    return f"{comment}\n{text}" if comment else text


def certify(
    *,
    tracks: Sequence[TrackReport],
    pictures: Mapping[str, Any] | None,
    device_changes: int,
    pauses_s: Sequence[tuple[float, float]],
    warnings: Sequence[str],
) -> dict[str, Any]:
    """The facts of a recording as the JSON value that goes into its file.

    Args:
        tracks: In the order of the file.
        pictures: ``fps`` of the grid, how many were captured, unchanged and dropped; ``None``
            without pictures.
        device_changes: How often a device was lost, came back, or the default changed.
        pauses_s: (media time, length) of every pause.
        warnings: All of them, each once.
    """
    return {
        "version": FORMAT_VERSION,
        "capture": version(),
        "pictures": pictures,
        "device_changes": device_changes,
        "pauses_s": [[round(at, 3), round(length, 3)] for at, length in pauses_s],
        "tracks": [_track_facts(track) for track in tracks],
        "warnings": list(warnings),
    }


def _track_facts(track: TrackReport) -> dict[str, Any]:
    facts = {"name": track.name, "kind": track.kind, "codec": track.codec}
    ends = {"start_s": round(track.start_s, 6), "end_s": round(track.end_s, 6)}
    if track.kind == "video":
        return facts | ends
    peak = track.peak_dbfs
    return {
        **facts,
        **ends,
        "silence_inserted_s": round(track.silence_inserted_s, 4),
        "sound_dropped_s": round(track.sound_dropped_s, 4),
        "gaps": track.gaps,
        "drift_ppm": round(track.drift_ppm, 1),
        "max_error_ms": round(track.max_error_ms, 2),
        "peak_dbfs": round(peak, 1) if peak is not None and math.isfinite(peak) else None,
    }


def facts_of_file(
    facts: dict[str, Any], ends_s: Mapping[str, float], quiet: Sequence[QuietLog]
) -> dict[str, Any]:
    """The facts of a recording, with the ends and the quiet stretches of one of its files.

    Args:
        facts: From ``certify``; its tracks are changed.
        ends_s: Where the video and the audio tracks of the file end, on its own time.
        quiet: One for each sound track, in their order.
    """
    logs = iter(quiet)
    for track in facts["tracks"]:
        track["end_s"] = round(ends_s.get(track["kind"], 0.0), 6)
        if track["kind"] == "audio":
            track.update(next(logs).facts())
    return facts


def certificate_text(facts: Mapping[str, Any], size_bytes: int | None = None) -> str:
    """The comment that carries these facts.

    Args:
        facts: A JSON value. Where they are too long, warnings and then the quiet stretches are
            left out.
        size_bytes: Exact length to fill up to with zero bytes, or ``None`` for as long as it is.
    """
    # Plain ASCII: as many bytes as characters, in every container.
    dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode
    texts = map(dump, _ever_shorter(facts))
    if size_bytes is None:
        return _MARK + next(texts)
    longest = size_bytes - len(_MARK)
    text = next(text for text in texts if len(text) <= longest)
    return f"{_MARK}{text}".ljust(size_bytes, "\0")


def _ever_shorter(facts: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield facts
    warnings = facts["warnings"]
    for kept in reversed(range(len(warnings))):
        left_out = len(warnings) - kept
        yield {**facts, "warnings": warnings[:kept], "warnings_left_out": left_out}
    bare = [
        {key: value for key, value in track.items() if not key.startswith("quiet")}
        for track in facts["tracks"]
    ]
    yield {**facts, "warnings": [], "warnings_left_out": len(warnings), "tracks": bare}
    yield {"version": FORMAT_VERSION, "tracks": [], "left_out": "all, for want of room"}


def seal(path: Path, facts: Mapping[str, Any]) -> None:
    """Write the certificate into a closed file that was opened with ``placeholder()``.

    Raises:
        OSError: The disk does not take it; the file itself is whole.
    """
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        for start in sorted({0, max(0, size - _WINDOW_BYTES)}):
            file.seek(start)
            window = bytearray(file.read(_WINDOW_BYTES))
            if _seal_window(window, facts):
                file.seek(start)
                file.write(window)


def parse(comment: str) -> Certificate | None:
    """The certificate in a comment, ``None`` if there is none that can be read."""
    _, mark, text = comment.partition(_MARK)
    if not mark:
        return None
    if text.startswith(_UNFINISHED):
        return Certificate({})
    try:
        facts, _ = json.JSONDecoder().raw_decode(text)
        tracks = tuple(_parse_track(track) for track in facts["tracks"])
        fps = facts["pictures"]["fps"] if facts.get("pictures") else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return Certificate(facts, tracks, fps)


def without_certificate(comment: str) -> str:
    """The owner's part of a comment; empty if there is only a certificate."""
    text, mark, _ = comment.partition(_MARK)
    return text.rstrip() if mark else comment


def without_padding(comment: str) -> str:
    """A comment without the blanks that a certificate leaves of its room."""
    if _MARK not in comment:
        return comment
    return _PADDING.sub("", comment)


def _parse_track(track: Mapping[str, Any]) -> CertifiedTrack:
    quiet = track.get("quiet_ms")
    return CertifiedTrack(
        name=str(track["name"]),
        kind=str(track["kind"]),
        start_s=float(track["start_s"]),
        end_s=float(track["end_s"]),
        quiet_s=tuple((start / 1000, end / 1000) for start, end in quiet or ()),
        quiet_floor_s=float("inf") if quiet is None else track["quiet_floor_ms"] / 1000,
    )


def _seal_window(window: bytearray, facts: Mapping[str, Any]) -> bool:
    """Write over every room in a part of a file; whether there was one."""
    rooms = list(re.finditer(re.escape(f"{_MARK}{_UNFINISHED}".encode()) + rb" *\.", window))
    for found in rooms:
        start, end = found.span()
        window[start:end] = certificate_text(facts, end - start).encode("ascii")
        _repair_ogg(window, start)
        _repair_matroska(window, start)
    return bool(rooms)


def _repair_ogg(window: bytearray, at: int) -> None:
    """Make the checksum of the Ogg page around a place true again (RFC 3533, 6)."""
    page = window.rfind(b"OggS", 0, at)
    if window[:4] != b"OggS" or page < 0:
        return
    segments = window[page + 26]
    end = page + 27 + segments + sum(window[page + 27 : page + 27 + segments])
    window[page + 22 : page + 26] = bytes(4)
    window[page + 22 : page + 26] = struct.pack("<I", _ogg_crc(window[page:end]))


def _ogg_crc(data: bytes | bytearray) -> int:
    """CRC-32 of polynomial 04C11DB7, not reflected, starting from 0."""
    crc = 0
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
    return crc & 0xFFFFFFFF


def _repair_matroska(window: bytearray, at: int) -> None:
    """Make the checksum of the Matroska element "Tags" around a place true again (RFC 9559)."""
    tags = window.rfind(_MATROSKA_TAGS, 0, at)
    if window[:4] != b"\x1a\x45\xdf\xa3" or tags < 0:
        return
    head = tags + len(_MATROSKA_TAGS)
    width = 9 - window[head].bit_length()  # the leading zeros of a size give its own length
    size = int.from_bytes(window[head : head + width], "big") & ((1 << 7 * width) - 1)
    content = head + width
    if window[content : content + 2] == _MATROSKA_CRC:
        crc = zlib.crc32(window[content + 6 : content + size])
        window[content + 2 : content + 6] = struct.pack("<I", crc)

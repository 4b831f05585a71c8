"""Clean files out of recordings that were cut off.

What a crash leaves plays, but has no index, no length, and a last second in which one track is
ahead of the other. ``recover`` copies the packets as they are, nothing is encoded again, into an
ordinary file whose tracks end together, and decodes its end before it believes in it.
"""

from __future__ import annotations

import contextlib
import os
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import av

from capture.errors import DamagedFileError, MediaError
from capture.journal import journal_path, read_journal, require_ended
from capture.media.mux import Container, as_output_error, container_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Measured", "Recovered", "length_of_all", "measure", "recover"]

TAIL_S = 1.5
"""Tracks of one recording that end farther apart than this were meant to: nothing is evened out."""
BOX_HEADER_BYTES = 8
CHECK_S = 1.0
"""So much of the end is decoded, and more of it each time that it is found damaged."""
LONGEST_CHECK_S = 4.0
"""What is damaged for longer was not cut off, which costs a fragment of each track: something else
happened to it, and what lies behind may be good."""
HOLE_S = 0.1
"""Sound is recorded without gaps."""
FRAGMENTS_TRIED = 8
"""A power cut tears what was written in the last seconds, a fragment a second, in any order."""
TORN_ZEROS = {"h264": 1, "aac": 1, "vp9": 8}
"""With so many zero bytes at its end a packet was cut off and filled up, which may decode without
an error. A NAL unit does not end in one (H.264, 7.4.1), nor does an AAC frame, whose end is marked
by three ones (ISO 14496-3, raw_data_block); libvpx flushes its coder with 32 zero bits."""
JUDGE_S = 2.5
"""What may be missing against the journal, whose last word is up to two seconds old."""

_CLEAN = {
    "mp4": {"movflags": "+faststart"},
    "mov": {"movflags": "+faststart"},
    "wav": {"rf64": "auto"},
}


@dataclass(frozen=True, slots=True)
class Measured:
    """How long the tracks of a file are, read from its packets."""

    ends_s: tuple[float, ...]
    """When each track ends, in the order of the file."""
    names: tuple[str, ...]
    """``picture``, and what the sound tracks are called."""
    holes_s: tuple[tuple[float, float], ...] = ()
    """Where sound is missing, and how long: of the tracks together, in order."""

    @property
    def length_s(self) -> float:
        """When the last track ends."""
        return max(self.ends_s, default=0.0)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came of one file."""

    source: Path
    path: Path
    """The clean file; the source itself where it was replaced."""
    tracks: Measured
    size_bytes: int
    journal_s: float | None
    """How much the journal knew of; ``None`` without a journal."""
    warnings: tuple[str, ...]


def measure(path: Path) -> Measured:
    """The length of every track; reads the whole file, decodes nothing.

    Raises:
        DamagedFileError: It cannot be read, or holds nothing.
    """
    with _open(path) as source:
        ends: dict[int, float] = {}
        known: dict[int, float] = {}
        holes: set[tuple[float, float]] = set()
        names = {}
        for stream in _streams(source):
            if stream.type == "video" and "DURATION" in stream.metadata:
                known[stream.index] = _read_clock(stream.metadata["DURATION"])
            title = stream.metadata.get("title") or stream.metadata.get("handler_name")
            names[stream.index] = "picture" if stream.type == "video" else title or "sound"
        for packet in _packets(source):
            begin_s = float(packet.pts * _seconds(packet.time_base))
            end_s = float((packet.pts + packet.duration) * _seconds(packet.time_base))
            before_s = ends.get(packet.stream.index, begin_s)
            if packet.stream.type == "audio" and begin_s - before_s > HOLE_S:
                holes.add((round(before_s, 1), round(begin_s - before_s, 1)))
            ends[packet.stream.index] = max(ends.get(packet.stream.index, 0.0), end_s)
        ends |= {index: end_s for index, end_s in known.items() if end_s and index in ends}
    if not ends:
        raise DamagedFileError(
            f"{path} holds nothing that could be recovered",
            hint="it was cut off before anything reached the disk; delete it",
        )
    ends_s = tuple(ends.get(index, 0.0) for index in names)
    return Measured(ends_s, tuple(names.values()), tuple(sorted(holes)))


def length_of_all(paths: Iterable[Path]) -> float:
    """How much these files hold together, in seconds; what cannot be read holds nothing."""
    length_s = 0.0
    for path in paths:
        with contextlib.suppress(DamagedFileError):
            length_s += measure(path).length_s
    return length_s


def recover(path: Path, *, in_place: bool = False) -> Recovered:
    """Make a clean file of a recording that was cut off; its journal is removed afterwards.

    Args:
        path: The file, with or without a journal.
        in_place: Put the clean file in its place; otherwise it is ``NAME.recovered.EXT``, and the
            source is left as it is.

    Raises:
        MediaError: It is being recorded, or nothing can be read from it.
        OutputError: The clean file exists already or cannot be written.
    """
    container = _check(path)
    entry = read_journal(path)
    source = measure(path)
    target = path if in_place else _target(path)
    part = path.with_name(f".{target.name}.part")
    if target != path:
        with as_output_error(target):
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        until_s = _common_end(source)
        with as_output_error(target):
            _copy_whole(path, part, container, until_s)
            kept = measure(part)
            part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        if target != path:
            target.unlink(missing_ok=True)  # ours, and empty
        raise
    journal_path(path).unlink(missing_ok=True)
    journal_s = entry.media_s if entry else None
    return Recovered(
        source=path,
        path=target,
        tracks=kept,
        size_bytes=target.stat().st_size,
        journal_s=journal_s,
        warnings=_warnings(source, kept, journal_s),
    )


def _check(path: Path) -> Container:
    """Whether there is something to recover; gives what it should be."""
    if not path.exists():
        raise MediaError(f"there is no file {path}", hint="check the name")
    container = container_of(path)
    require_ended(path)
    if not path.stat().st_size:
        raise DamagedFileError(
            f"{path} is empty", hint="it was cut off before anything reached the disk; delete it"
        )
    return container


def _target(path: Path) -> Path:
    """``NAME.recovered.EXT``, by the name that the recording was to have."""
    entry = read_journal(path)
    name = Path(entry.target) if entry else Path(path.name)
    return path.with_name(f"{name.stem}.recovered{path.suffix}")


def _warnings(source: Measured, kept: Measured, journal_s: float | None) -> tuple[str, ...]:
    # Of the source: in the copy the packet before a hole lasts as long as that.
    found = [
        f"{length_s:.1f} s are missing at {at_s:.1f} s"
        for at_s, length_s in source.holes_s
        if at_s < kept.length_s
    ]
    if journal_s is not None and kept.length_s < journal_s - JUDGE_S:
        found.append(f"{journal_s - kept.length_s:.1f} s that were written are missing")
    if source.length_s - kept.length_s > TAIL_S:
        found.append(
            f"the last {source.length_s - kept.length_s:.1f} s were damaged and are left out"
        )
    return tuple(found)


def _common_end(source: Measured) -> float | None:
    """Where all tracks of the copy end, in s; ``None`` where they are left as they are.

    Pictures can be repeated for as long as there is sound, sound cannot be made up.
    """
    sounds = [
        end
        for end, name in zip(source.ends_s, source.names, strict=True)
        if end and name != "picture"
    ]
    if not sounds or max(source.ends_s) - min(filter(None, source.ends_s)) > TAIL_S:
        return None
    return min(sounds)


def _copy(path: Path, target: Path, container: Container, until_s: float | None) -> None:
    """Copy the packets up to a time; the last picture lasts until exactly then."""
    options = _CLEAN.get(container.format, {})
    with (
        _open(path) as source,
        av.open(
            str(target), "w", format=container.format, container_options=dict(options)
        ) as clean,
    ):
        clean.metadata.update(source.metadata)
        streams = {}
        for stream in _streams(source):
            copy = clean.add_stream_from_template(stream)
            copy.metadata.update(stream.metadata)
            streams[stream.index] = copy
        last_dts: dict[int, int] = {}
        last_picture: Any = None
        frames = 0
        for packet in _packets(source):
            index = packet.stream.index
            begin_s = float(packet.pts * _seconds(packet.time_base))
            if until_s is not None and begin_s >= until_s:
                continue
            if packet.dts <= last_dts.get(index, packet.dts - 1):
                continue  # no container takes time that stands still or goes back
            last_dts[index] = packet.dts
            is_picture = packet.stream.type == "video"
            packet.stream = streams[index]
            if not is_picture:
                frames += packet.duration
                clean.mux_one(packet)
                continue
            if last_picture is not None:
                clean.mux_one(last_picture)
            last_picture = packet
        if last_picture is not None:
            if until_s is not None:
                unit_s = _seconds(last_picture.time_base)
                last_picture.duration = max(1, round(until_s / unit_s) - last_picture.pts)
            clean.mux_one(last_picture)
    if container.format == "flac":
        _write_flac_length(target, frames)


def _packets(source: Any) -> Iterator[Any]:
    """All whole packets that have a time, each with a duration."""
    packets = source.demux(_streams(source))
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.InvalidDataError:
            return  # the torn end; what lies before it has been read
        if packet.pts is None or packet.is_corrupt or not packet.size:
            continue
        if packet.dts is None:
            # Matroska has none, and libavformat does not always work it out. Without B-frames,
            # as recorders write, it is the same.
            packet.dts = packet.pts
        if not packet.duration:
            packet.duration = _usual_duration(packet)
        yield packet


def _usual_duration(packet: Any) -> int:
    """What a packet lasts where the container does not say, in its own units."""
    stream = packet.stream
    if stream.type == "video":
        per_s = Fraction(stream.average_rate or stream.guessed_rate or 30)
        return max(1, round(1 / per_s / _seconds(packet.time_base)))
    context = stream.codec_context
    frames_s = Fraction(context.frame_size or 1, context.sample_rate)
    return max(1, round(frames_s / _seconds(packet.time_base)))


def _copy_whole(path: Path, target: Path, container: Container, until_s: float | None) -> None:
    """Copy up to a time, or up to the damage before it.

    Raises:
        DamagedFileError: There is damage all over the file.
    """
    look_s = CHECK_S
    while True:
        _copy(path, target, container, until_s)
        damaged_s = _first_damage(target, look_s)
        if damaged_s is None:
            return
        if damaged_s <= 0 or look_s > LONGEST_CHECK_S:
            raise DamagedFileError(
                f"the recording is damaged from {damaged_s:.1f} s on, and before its end as well",
                hint="a player that is forgiving, such as mpv, may show what is left",
            )
        # The end is now where it was damaged first; what lies before that was not decoded yet.
        until_s = damaged_s
        look_s *= 2


def _first_damage(path: Path, look_s: float) -> float | None:
    """Where the last ``look_s`` seconds of any track stop to decode, in s; ``None``: nowhere."""
    found: list[float] = []
    with _open(path) as clean:
        length_s = float((clean.duration or 0) / av.time_base)
        for stream in _streams(clean):
            with contextlib.suppress(av.FFmpegError):  # a short file has nowhere to seek to
                clean.seek(round(max(0.0, length_s - look_s) * av.time_base))
            for packet in clean.demux(stream):
                at_s = float((packet.pts or 0) * _seconds(packet.time_base))
                if _is_damaged(packet) and at_s >= length_s - look_s:
                    found.append(at_s)
                    break
    return min(found, default=None)


def _is_damaged(packet: Any) -> bool:
    """Whether it does not decode, or was cut off; packets are to come in their order."""
    try:
        packet.decode()
    except av.FFmpegError:
        return True
    zeros = TORN_ZEROS.get(packet.stream.codec_context.name)
    return zeros is not None and packet.size >= zeros and not any(bytes(packet)[-zeros:])


def _write_flac_length(path: Path, frames: int) -> None:
    """Write the number of samples into STREAMINFO, which libavformat leaves at 0 when it copies.

    It is the low 36 bits of bytes 18 to 25 of the file (RFC 9639, section 8.2).
    """
    with path.open("r+b") as file:
        file.seek(18)
        packed = int.from_bytes(file.read(8), "big")
        file.seek(18)
        file.write((packed >> 36 << 36 | frames).to_bytes(8, "big"))


def _read_clock(text: str) -> float:
    """Seconds of ``00:01:30.500``: how long the last picture lasts is only there in Matroska."""
    with contextlib.suppress(ValueError):
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return 0.0


def _streams(source: Any) -> list[Any]:
    return [*source.streams.video, *source.streams.audio]


def _seconds(time_base: Any) -> Fraction:
    return Fraction(time_base.numerator, time_base.denominator)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    """A file to read from; an MP4 that ends within a box as if it ended before that."""
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

    It gives a torn box up together with all that is whole before it, and a box whose header alone
    reached the disk with all the fragments.
    """
    try:
        return stack.enter_context(av.open(str(path)))
    except (av.InvalidDataError, av.EOFError) as error:
        failure: av.FFmpegError = error
    for end in _ends_of_whole_boxes(path)[: FRAGMENTS_TRIED + 1]:
        try:
            return stack.enter_context(av.open(stack.enter_context(_Head(path, end))))
        except (av.InvalidDataError, av.EOFError) as error:
            failure = error
    raise failure


class _Head:
    """The beginning of a file, as if it ended there; what ``av.open`` needs of a file."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.name = str(path)
        self._size_bytes = size_bytes
        self._file = path.open("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, count: int) -> bytes:
        return self._file.read(max(0, min(count, self._size_bytes - self._file.tell())))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            return self._file.seek(self._size_bytes + offset)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _ends_of_whole_boxes(path: Path) -> list[int]:
    """Where the last complete top-level box of an MP4 ends, then where its fragments begin.

    The last one first; only the end, and that is 0, if this is no MP4.
    """
    end = 0
    fragments: list[int] = []
    with path.open("rb") as file:
        size_bytes = path.stat().st_size
        while len(header := file.read(16)) >= BOX_HEADER_BYTES:
            length, kind = struct.unpack(">I4s", header[:8])
            if end == 0 and kind != b"ftyp":
                break
            if length == 1 and len(header) == 16:  # noqa: PLR2004 - a 64-bit length follows
                (length,) = struct.unpack(">Q", header[8:])
            if length < BOX_HEADER_BYTES or end + length > size_bytes:
                break
            if kind == b"moof":
                fragments.append(end)
            end += length
            file.seek(end)
    return [end, *reversed(fragments)]

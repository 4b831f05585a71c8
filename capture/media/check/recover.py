"""Clean files out of recordings that were cut off.

What a crash leaves plays, but has no index, no length, and a last second in which one track is
ahead of the other. ``recover`` copies the packets as they are, nothing is encoded again, into an
ordinary file whose tracks end together, and decodes its end before it believes in it.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from capture.cautions import Caution
from capture.errors import DamagedFileError, MediaError
from capture.hints import Advice
from capture.journal import journal_path, read_journal, require_ended
from capture.media.output import as_output_error
from capture.media.read.incomplete import open_incomplete
from capture.media.read.tag_text import chapters_of
from capture.media.read.tracks import is_cover, read_clock, tick_s, track_title
from capture.media.write.flac import write_flac_length
from capture.media.write.mux import Container, container_of
from capture.naming import ffmpeg_name, fitted

TAIL_S = 1.5
"""Tracks of one recording that end farther apart than this were meant to: nothing is evened out."""
CHECK_S = 1.0
"""So much of the end is decoded, and more after each damage that is found."""
LONGEST_CHECK_S = 4.0
"""What is damaged for longer was not cut off, which costs a fragment of each track: something else
happened to it, and what lies behind may be good."""
HOLE_S = 0.1
"""Sound is recorded without gaps."""
TORN_ZEROS = {"h264": 1, "aac": 1, "vp9": 8}
"""With so many zero bytes at its end a packet was cut off and filled up, which may decode without
an error. A NAL unit does not end in one (H.264, 7.4.1), nor does an AAC frame, whose end is marked
by three ones (ISO 14496-3, raw_data_block); libvpx flushes its coder with 32 zero bits."""
JUDGE_S = 2.5
"""A length that may be missing against the journal, which may be two seconds old."""

_CLEAN = {
    "mp4": {"movflags": "+faststart"},
    "mov": {"movflags": "+faststart"},
    "wav": {"rf64": "auto"},
}


@dataclass(frozen=True, slots=True)
class Measured:
    """The ends and the holes of a file's tracks, read from its packets."""

    ends_s: tuple[float, ...]
    """End of each track, in the order of the file."""
    names: tuple[str, ...]
    """``picture``, and what the sound tracks are called."""
    holes_s: tuple[tuple[float, float], ...] = ()
    """Start and length of missing sound, of all tracks together, in order."""

    @property
    def length_s(self) -> float:
        """End of the last track in seconds; 0.0 without tracks."""
        return max(self.ends_s, default=0.0)


@dataclass(frozen=True, slots=True)
class Recovered:
    """The result of one recovery: the clean file, its length, and warnings."""

    source: Path
    path: Path
    """The clean file; the source itself where it was replaced."""
    tracks: Measured
    size_bytes: int
    journal_s: float | None
    """Length in seconds that the journal gives; ``None`` without a journal."""
    warnings: tuple[str, ...]


def measure(path: Path) -> Measured:
    """The length of every track; reads the whole file, decodes nothing.

    Raises:
        DamagedFileError: It cannot be read, or holds nothing.
    """
    with open_incomplete(path) as source:
        ends: dict[int, float] = {}
        known: dict[int, float] = {}
        holes: set[tuple[float, float]] = set()
        names = {}
        if not _streams(source):
            raise DamagedFileError(
                f"{path} holds no track of a codec that is known here",
                hint=Advice.SHOW_TRACKS.with_(),
            )
        for stream in _streams(source):
            if stream.type == "video" and "DURATION" in stream.metadata:
                known[stream.index] = read_clock(stream.metadata["DURATION"]) or 0.0
            names[stream.index] = (
                "picture" if stream.type == "video" else track_title(stream) or "sound"
            )
        for packet in _packets(source):
            begin_s = float(packet.pts * tick_s(packet.time_base))
            end_s = float((packet.pts + packet.duration) * tick_s(packet.time_base))
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
    """Length of all these files in seconds; one that cannot be read counts as 0."""
    length_s = 0.0
    for path in paths:
        with contextlib.suppress(DamagedFileError):
            length_s += measure(path).length_s
    return length_s


def recover(path: str | os.PathLike[str], *, in_place: bool = False) -> Recovered:
    """Make a clean file of a recording that was cut off; its journal is removed afterwards.

    Args:
        path: The file, with or without a journal.
        in_place: Put the clean file in its place; otherwise it is ``NAME.recovered.EXT``, and the
            source is left as it is.

    Raises:
        MediaError: It is being recorded, or nothing can be read from it.
        OutputError: The clean file exists already or cannot be written.
    """
    path = Path(path)
    container = _check(path)
    entry = read_journal(path)
    source = measure(path)
    target = path if in_place else _target(path)
    part = path.with_name(fitted(f".{target.name}", ".part"))
    if target != path:
        with as_output_error(target):
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        until_s = _common_end(source)
        with as_output_error(target):
            left_out = _copy_whole(path, part, container, until_s)
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
        warnings=(*_warnings(source, kept, journal_s), *left_out),
    )


def _check(path: Path) -> Container:
    """Raise if there is nothing to recover; gives the container of the file."""
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
    return path.with_name(fitted(name.stem, f".recovered{path.suffix}"))


def _warnings(source: Measured, kept: Measured, journal_s: float | None) -> tuple[str, ...]:
    # Of the source: in the copy the packet before a hole lasts as long as that.
    found = [
        Caution.HOLE.with_(length_s=length_s, at_s=at_s)
        for at_s, length_s in source.holes_s
        if at_s < kept.length_s
    ]
    if journal_s is not None and kept.length_s < journal_s - JUDGE_S:
        found.append(Caution.WRITTEN_MISSING.with_(length_s=journal_s - kept.length_s))
    if source.length_s - kept.length_s > TAIL_S:
        found.append(Caution.END_DAMAGED.with_(length_s=source.length_s - kept.length_s))
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


def _copy(path: Path, target: Path, container: Container, until_s: float | None) -> list[str]:
    """Copy the packets up to a time; the last picture lasts until exactly then.

    Returns:
        Warnings for tracks that cannot be copied.
    """
    options = _CLEAN.get(container.format, {})
    with (
        open_incomplete(path) as source,
        av.open(
            ffmpeg_name(target), "w", format=container.format, container_options=dict(options)
        ) as clean,
    ):
        streams = _begin(source, clean)
        aside = {stream.index for stream in _copied_as_is(source)}
        last_dts: dict[int, int] = {}
        last_picture: Any = None
        frames = 0
        for packet in _packets(source, [*_streams(source), *_copied_as_is(source)]):
            index = packet.stream.index
            begin_s = float(packet.pts * tick_s(packet.time_base))
            if until_s is not None and begin_s >= until_s:
                continue
            if packet.dts <= last_dts.get(index, packet.dts - 1):
                continue  # no container takes time that stands still or goes back
            last_dts[index] = packet.dts
            is_picture = packet.stream.type == "video" and index not in aside
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
                unit_s = tick_s(last_picture.time_base)
                last_picture.duration = max(1, round(until_s / unit_s) - last_picture.pts)
            clean.mux_one(last_picture)
        left_out = _left_out(source, streams)
    if container.format == "flac":
        write_flac_length(target, frames)
    return left_out


def _begin(source: Any, clean: Any) -> dict[int, Any]:
    """Tracks, tags and chapters of the copy; gives its streams by the source's index."""
    clean.metadata.update(source.metadata)
    clean.set_chapters(chapters_of(source))
    streams = {}
    for stream in [*_streams(source), *_copied_as_is(source)]:
        copy = clean.add_stream_from_template(stream)
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        streams[stream.index] = copy
    return streams


def _left_out(source: Any, copied: Mapping[int, Any]) -> list[str]:
    counts: dict[str, int] = {}
    names = []
    # The muxer of MP4 makes these two of the chapters and tags that go along.
    made_anew = bool(source.chapters()) + any("timecode" in one.metadata for one in source.streams)
    for stream in source.streams:
        word = {"video": "picture", "audio": "sound"}.get(stream.type, stream.type)
        counts[word] = counts.get(word, 0) + 1
        if stream.index in copied or (word == "data" and counts[word] <= made_anew):
            continue
        names.append(f"{word} track {counts[word]}")
    if not names:
        return []
    if len(names) == 1:
        return [f"{names[0]} is left out: it cannot be copied"]
    return [f"{', '.join(names[:-1])} and {names[-1]} are left out: they cannot be copied"]


def _packets(source: Any, streams: Sequence[Any] | None = None) -> Iterator[Any]:
    """All whole packets that have a time, each with a duration."""
    packets = source.demux(_streams(source) if streams is None else streams)
    with contextlib.suppress(av.InvalidDataError):  # the torn end; what lies before has been read
        for packet in packets:
            if packet.pts is None and is_cover(packet.stream):
                packet.pts = 0
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
    """Duration of a packet where the container has none, in ticks of its stream."""
    stream = packet.stream
    if stream.type == "subtitle" or is_cover(stream):
        return 0
    if stream.type == "video":
        per_s = Fraction(stream.average_rate or stream.guessed_rate or 30)
        return max(1, round(1 / per_s / tick_s(packet.time_base)))
    context = stream.codec_context
    if not context.sample_rate:
        return 1  # nothing of it could be decoded
    frames_s = Fraction(context.frame_size or 1, context.sample_rate)
    return max(1, round(frames_s / tick_s(packet.time_base)))


def _copy_whole(path: Path, target: Path, container: Container, until_s: float | None) -> list[str]:
    """Copy up to a time, or up to the damage before it; see ``_copy`` for what comes back.

    Raises:
        DamagedFileError: There is damage all over the file.
    """
    look_s = CHECK_S
    while True:
        left_out = _copy(path, target, container, until_s)
        damaged_s = _first_damage(target, look_s)
        if damaged_s is None:
            return left_out
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
    with open_incomplete(path) as clean:
        length_s = float((clean.duration or 0) / av.time_base)
        for stream in _streams(clean):
            with contextlib.suppress(av.FFmpegError):  # a short file has nowhere to seek to
                clean.seek(round(max(0.0, length_s - look_s) * av.time_base))
            for packet in clean.demux(stream):
                at_s = float((packet.pts or 0) * tick_s(packet.time_base))
                if _is_damaged(packet) and at_s >= length_s - look_s:
                    found.append(at_s)
                    break
    return min(found, default=None)


def _is_damaged(packet: Any) -> bool:
    """Whether packets, in order, do not decode or were cut off."""
    try:
        packet.decode()
    except av.FFmpegError:
        return True
    zeros = TORN_ZEROS.get(packet.stream.codec_context.name)
    return zeros is not None and packet.size >= zeros and not any(bytes(packet)[-zeros:])


def _streams(source: Any) -> list[Any]:
    """Pictures and sounds of known codecs, without covers."""
    return [
        stream
        for stream in (*source.streams.video, *source.streams.audio)
        if stream.codec_context is not None and not is_cover(stream)
    ]


def _copied_as_is(source: Any) -> list[Any]:
    """Streams that are copied as they are, and do not count for the file's length."""
    has_covers = source.format.name.startswith(("mov,", "flac"))  # in Matroska it is no track
    covers = [stream for stream in source.streams.video if has_covers and is_cover(stream)]
    texts = [stream for stream in source.streams.subtitles if stream.codec_context is not None]
    return [*covers, *texts]

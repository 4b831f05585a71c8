"""The files of a recording: where one ends and the next begins, and what goes into which.

``PictureLane`` and ``SoundLane`` belong to the two encoding threads, ``Segments.write_all`` to the
writing one; packets go from the first two to the third through one bounded box. A file is opened by
whichever lane reaches it first and closed when both have left it, so pictures and sound of a split
recording part at the same media time, the sound to the sample.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from capture.errors import OutputError
from capture.hints import Advice
from capture.journal import Journal
from capture.media.certificate import QuietLog, facts_of_file
from capture.media.write.mux import FileSink, open_file
from capture.naming import fitted
from capture.pipeline import Mailbox, MailboxClosedError
from capture.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from av import VideoFrame
    from numpy.typing import NDArray

    from capture.media.packets import Packet
    from capture.media.write.encode import AudioEncoder, VideoEncoder

__all__ = ["PictureLane", "Segments", "SoundLane"]

PACKETS_BYTES = 64 * 1024 * 1024
"""What may wait for the disk; beyond it pictures wait, and are dropped where they are taken."""
GATHER_S = 0.02
"""Packets are written in batches of so long; it is also what a crash can cost."""
LOOK_EVERY_S = 1.0
"""The files are looked after this often even when there is nothing to write."""
KEY_PICTURE_EVERY_NS = 10 * NS_PER_S
"""A player seeks to key pictures and decodes from there on: 0.1 s of work on a still desktop, whose
file is little else. With 5 s it was a third bigger than ffmpeg's, who takes 8.3 s."""


@dataclass(slots=True)
class _Segment:
    path: Path
    """Where it will be."""
    file: FileSink
    journal: Journal
    open_lanes: int
    start_ns: int
    """Media time at its beginning."""
    quiet: Sequence[QuietLog]
    """One for each sound track."""
    end_ns: int | None = None
    ends_s: dict[str, float] = field(default_factory=dict)
    """Where its video and its audio tracks end, on the time of the file."""
    packets: int = 0


@dataclass(frozen=True, slots=True)
class _Written:
    """Something for the writing thread; without packets: one lane has left the segment."""

    segment: _Segment
    packets: Sequence[Packet] = ()

    @property
    def size_bytes(self) -> int:
        """About what it holds in memory."""
        return sum(len(packet.data) for packet in self.packets) or 1


@dataclass(slots=True)
class Segments:
    """All files of one recording.

    Args:
        path: The file; with ``split_ns`` a number is put before its ending.
        video: Encoder of the pictures, or ``None``; the first stream.
        audio: Encoder of each sound track, in their order in the file.
        rate_hz: Sample rate of the sound.
        split_ns: Length of each file in media time, or ``None``.
        overwrite: Replace a file that exists, once the new one is whole.
        tags: File metadata.
        on_done: Called in the writing thread with each finished file.
        certify: Called in the writing thread when a file ends: what was done to the recording so
            far, a JSON value whose ``tracks`` are in the order of the file.
    """

    path: Path
    video: VideoEncoder | None
    audio: Sequence[AudioEncoder]
    rate_hz: int
    split_ns: int | None
    overwrite: bool
    tags: Mapping[str, str]
    on_done: Callable[[Path], None]
    certify: Callable[[], dict[str, Any]]
    markers_ns: list[int] = field(default_factory=list)
    """Media times that become chapters; appended by any thread."""
    paths: list[Path] = field(default_factory=list)
    """Files that were finished."""
    box: Mailbox[_Written] = field(
        default_factory=lambda: Mailbox(PACKETS_BYTES, weigh=lambda item: item.size_bytes)
    )
    _open: dict[int, _Segment] = field(default_factory=dict)
    _finished_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def written_bytes(self) -> int:
        """Size of all files so far."""
        with self._lock:
            segments = list(self._open.values())
        return self._finished_bytes + sum(s.file.written_bytes for s in segments)

    @property
    def current_path(self) -> Path | None:
        """The file that grows now."""
        with self._lock:
            newest = max(self._open, default=None)
            return None if newest is None else self._open[newest].file.path

    def start_of(self, index: int) -> int:
        """Media time in ns at which a file begins."""
        return 0 if self.split_ns is None else index * self.split_ns

    def index_at(self, media_ns: int) -> int:
        """Which file a media time falls into."""
        return 0 if self.split_ns is None else media_ns // self.split_ns

    def segment(self, index: int) -> _Segment:
        """The file with that number, opened if it is not yet.

        Raises:
            OutputError: It exists or cannot be written.
        """
        with self._lock:
            if index not in self._open:
                self._open[index] = self._create(index)
            return self._open[index]

    def leave(self, segment: _Segment, kind: str, end_ns: int) -> None:
        """The lane of this kind of track is done with a segment, in which it ends at ``end_ns``."""
        segment.ends_s[kind] = (end_ns - segment.start_ns) / NS_PER_S
        segment.end_ns = max(segment.end_ns or 0, end_ns)
        self.box.put(_Written(segment), force=True)

    def write_all(self) -> None:
        """Write packets until the box is closed and empty; then close what is left open."""
        is_whole = False
        try:
            while True:
                self._look_after()
                with contextlib.suppress(TimeoutError):
                    for item in self.box.get_all(LOOK_EVERY_S, gather_s=GATHER_S):
                        self._write(item)
        except MailboxClosedError:
            is_whole = True
        finally:
            # After an error the end of the file may fail as well; what is in it plays all the
            # same, and the first error is the one to tell.
            for segment in list(self._open.values()):
                with contextlib.suppress(OSError):
                    self._close(segment, is_whole=is_whole)

    def _write(self, item: _Written) -> None:
        segment = item.segment
        for packet in item.packets:
            segment.file.push(packet)
            segment.packets += 1
        if item.packets:
            return
        segment.open_lanes -= 1
        if segment.open_lanes == 0:
            self._close(segment, is_whole=True)

    def _look_after(self) -> None:
        with self._lock:
            segments = list(self._open.values())
        for segment in segments:
            segment.file.tick()
            segment.journal.update(segment.file.written_s, segment.file.written_bytes)

    def _create(self, index: int) -> _Segment:
        path = self.path
        if self.split_ns is not None:
            path = path.with_name(fitted(path.stem, f"-{index + 1:03d}{path.suffix}"))
        work_path = path
        if self.overwrite and path.exists():
            # The old file stays until the new one is whole.
            work_path = path.with_name(fitted(path.stem, f".new{path.suffix}"))
            if work_path.exists():
                raise OutputError(
                    f"{work_path} is left of a recording that was cut off",
                    hint=Advice.RECOVER_FIRST.with_(),
                )
        headers = [encoder.header for encoder in self.audio]
        if self.video is not None:
            headers.insert(0, self.video.header)
        start_ns = self.start_of(index)
        file = open_file(work_path, headers, start_ns=start_ns, tags=self.tags)
        names = tuple(header.title or "picture" for header in headers)
        journal = Journal(work_path, target=path, tracks=names)
        lanes = int(self.video is not None) + int(bool(self.audio))
        quiet = [QuietLog(self.rate_hz) for _ in self.audio]
        return _Segment(path, file, journal, lanes, start_ns, quiet)

    def _close(self, segment: _Segment, *, is_whole: bool) -> None:
        try:
            facts = facts_of_file(self.certify(), segment.ends_s, segment.quiet)
            segment.file.close(self._chapters(segment), facts)
        except BaseException:
            segment.journal.give_up()
            self._retire(segment, is_whole=False)
            raise
        segment.journal.remove()
        self._retire(segment, is_whole=is_whole)

    def _retire(self, segment: _Segment, *, is_whole: bool) -> None:
        with self._lock:
            for index, known in list(self._open.items()):
                if known is segment:
                    del self._open[index]
        path = segment.file.path
        if not segment.packets:
            path.unlink(missing_ok=True)
            segment.journal.remove()
            return
        is_there = path.parent == segment.path.parent  # and was not moved meanwhile
        if is_whole and is_there and path != segment.path:
            path = path.replace(segment.path)
        if path.exists():
            self._finished_bytes += path.stat().st_size
            self.paths.append(path)
            self.on_done(path)

    def _chapters(self, segment: _Segment) -> list[tuple[float, float, str]]:
        """(start, end, title) in seconds of the file; none without a marker."""
        end_ns = segment.end_ns or segment.start_ns
        inside = [m for m in sorted(self.markers_ns) if segment.start_ns < m < end_ns]
        if not inside:
            return []
        edges = [segment.start_ns, *inside, end_ns]
        spans = itertools.pairwise(edges)
        return [
            (
                (start - segment.start_ns) / NS_PER_S,
                (end - segment.start_ns) / NS_PER_S,
                f"Chapter {number}",
            )
            for number, (start, end) in enumerate(spans, 1)
        ]


class PictureLane:
    """Pictures with their media time into the right file; used by the picture-encoding thread.

    Args:
        segments: The files.
        encoder: Makes packets of the pictures.
        fps: The grid's pictures per second.
        is_cfr: Fill every slot of the grid by repeating pictures.
        end_ns: Media time at which the recording will end, where that is known.
        on_free: Called with a frame that is not looked at any more.
    """

    def __init__(
        self,
        segments: Segments,
        encoder: VideoEncoder,
        fps: float,
        *,
        is_cfr: bool,
        end_ns: int | None = None,
        on_free: Callable[[VideoFrame], None] = lambda _frame: None,
    ) -> None:
        self._segments = segments
        self._encoder = encoder
        self._on_free = on_free
        self._slot_ns = NS_PER_S / fps
        self._is_cfr = is_cfr
        self._end_ns = end_ns
        self._index = -1
        self._segment: _Segment | None = None
        self._last: VideoFrame | None = None
        self._last_ns = 0
        self._last_slot = -1
        self._key_ns = 0

    def put(self, frame: VideoFrame | None, media_ns: int, *, is_key: bool = False) -> None:
        """Write a picture; ``None`` repeats the one before."""
        self._enter(self._segments.index_at(media_ns))
        if not self._is_cfr:
            self._take(frame)
            self._encode(media_ns, is_key=is_key)
            return
        slot = self._slot_at(media_ns)
        if (ends := self._file_end_ns()) is not None:
            # What was grabbed late in the last slot is nearer to one that the file does not have.
            slot = min(slot, self._slot_at(ends) - 1)
        self._fill(slot)
        self._take(frame)
        if slot > self._last_slot:
            self._encode(self._at_slot(slot), is_key=is_key)
            self._last_slot = slot

    def end(self, media_ns: int) -> None:
        """Let the pictures last until ``media_ns``, the last one for its whole slot, and leave."""
        self._enter(self._segments.index_at(max(media_ns - 1, 0)))
        self._leave(media_ns, self._encoder.flush)

    def _take(self, frame: VideoFrame | None) -> None:
        if frame is not None:
            if self._last is not None:
                self._on_free(self._last)
            self._last = frame

    def _enter(self, index: int) -> None:
        while self._index < index:
            if self._segment is not None:
                self._leave(self._segments.start_of(self._index + 1), self._encoder.cut)
                self._index += 1
            else:
                self._index = index
            self._segment = self._segments.segment(self._index)
            self._last_slot = -1
            self._key_ns = -KEY_PICTURE_EVERY_NS  # every file begins with one
            if self._last is not None:
                # The file begins with what the screen showed at that moment.
                self._encode(self._start_ns, is_key=True)
                self._last_slot = 0

    def _leave(self, end_ns: int, drain: Callable[[], Sequence[Packet]]) -> None:
        assert self._segment is not None
        if self._last is not None:
            last_ns = round(end_ns - self._slot_ns)
            if self._is_cfr:
                self._fill(self._slot_at(end_ns))
            elif last_ns - self._last_ns > self._slot_ns / 2:
                self._encode(last_ns)
        self._give(drain())
        self._segments.leave(self._segment, "video", end_ns)

    def _fill(self, end_slot: int) -> None:
        """Repeat the last picture in every free slot before ``end_slot``."""
        if self._last is None:
            return
        for slot in range(self._last_slot + 1, end_slot):
            self._encode(self._at_slot(slot))
            self._last_slot = slot

    def _encode(self, media_ns: int, *, is_key: bool = False) -> None:
        assert self._last is not None
        is_due = media_ns - self._key_ns >= KEY_PICTURE_EVERY_NS
        is_key = is_key or is_due or self._encoder.wants_key(media_ns)
        if is_key:
            self._key_ns = media_ns
        self._last_ns = media_ns
        self._give(self._encoder.encode(self._last, media_ns, is_key=is_key))

    def _give(self, packets: Sequence[Packet]) -> None:
        if packets:
            assert self._segment is not None
            self._segments.box.put(_Written(self._segment, packets))

    def _slot_at(self, media_ns: int) -> int:
        return round((media_ns - self._start_ns) / self._slot_ns)

    def _file_end_ns(self) -> int | None:
        """Media time at which this file ends, where that is known."""
        if self._segments.split_ns is None:
            return self._end_ns
        split_ns = self._segments.start_of(self._index + 1)
        return split_ns if self._end_ns is None else min(split_ns, self._end_ns)

    def _at_slot(self, slot: int) -> int:
        return self._start_ns + round(slot * self._slot_ns)

    @property
    def _start_ns(self) -> int:
        return self._segment.start_ns if self._segment is not None else 0


class SoundLane:
    """Samples of all tracks into the right files; used by the sound thread.

    Args:
        segments: The files.
    """

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._index = -1
        self._segment: _Segment | None = None
        self._frames = 0

    def put(self, tracks: Sequence[NDArray[np.float32]]) -> None:
        """Encode the next samples of every track; all of one length."""
        done, count = 0, len(tracks[0])
        while done < count:
            self._enter(self._segments.index_at(self._media_ns))
            room = self._frames_before(self._index + 1) - self._frames
            take = min(count - done, room)
            assert self._segment is not None
            outlets = zip(self._segments.audio, self._segment.quiet, tracks, strict=True)
            packets: list[Packet] = []
            for encoder, quiet, samples in outlets:
                part = samples[done : done + take]
                quiet.push(part)
                packets += encoder.encode(part)
            self._give(packets)
            done += take
            self._frames += take

    def end(self) -> None:
        """Leave: what was put is all there is."""
        self._enter(self._segments.index_at(max(self._media_ns - 1, 0)))
        self._leave(is_last=True)

    def _enter(self, index: int) -> None:
        while self._index < index:
            if self._segment is not None:
                self._leave()
                self._index += 1
            else:
                self._index = index
            self._segment = self._segments.segment(self._index)

    def _leave(self, *, is_last: bool = False) -> None:
        assert self._segment is not None
        for encoder in self._segments.audio:
            self._give(encoder.flush() if is_last else encoder.cut())
        self._segments.leave(self._segment, "audio", self._media_ns)

    def _give(self, packets: Sequence[Packet]) -> None:
        assert self._segment is not None
        if packets:
            # Sound never waits for the disk: a few kilobytes a second always have room.
            self._segments.box.put(_Written(self._segment, packets), force=True)

    @property
    def _media_ns(self) -> int:
        # Rounded up, so that the first sample of a file never falls into the one before.
        return -(-self._frames * NS_PER_S // self._segments.rate_hz)

    def _frames_before(self, index: int) -> int:
        if self._segments.split_ns is None:
            return 1 << 62
        return round(self._segments.start_of(index) * self._segments.rate_hz / NS_PER_S)

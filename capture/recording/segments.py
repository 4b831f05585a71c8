"""The files of a recording: where each begins and ends, and the thread that writes them.

The two lanes (``capture.recording.lanes``) belong to the encoding threads, ``write_all`` to the
writing one; packets go from them to it through one bounded mailbox. A file is opened by whichever
lane reaches it first and closed when both have left it, so pictures and sound of a split recording
part at the same media time, the sound to the sample.
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

    from capture.media.packets import Packet
    from capture.media.write.encode import AudioEncoder, VideoEncoder

__all__ = ["Segment", "Segments", "Written", "with_kept_length"]

PACKETS_BYTES = 64 * 1024 * 1024
"""Size of the mailbox; beyond it pictures wait, and are dropped where they are taken."""
GATHER_S = 0.02
"""Packets are written in batches of so long; it is also what a crash can cost."""
LOOK_EVERY_S = 1.0
"""The files are looked after this often even when there is nothing to write."""


@dataclass(slots=True)
class Segment:
    """One file that is being written."""

    path: Path
    """The final path."""
    file: FileSink
    journal: Journal
    open_lanes: int
    start_ns: int
    """Media time at its beginning."""
    quiet: Sequence[QuietLog]
    """The quiet stretches of each sound track."""
    end_ns: int | None = None
    ends_s: dict[str, float] = field(default_factory=dict)
    """Ends of its video and its audio tracks, on the time of the file."""
    packets: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """Packets for the writing thread; empty: one lane has left the segment."""

    segment: Segment
    packets: Sequence[Packet] = ()

    @property
    def size_bytes(self) -> int:
        """Size of the packets, at least 1."""
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
    """Finished files."""
    mailbox: Mailbox[Written] = field(
        default_factory=lambda: Mailbox(PACKETS_BYTES, weigh=lambda item: item.size_bytes)
    )
    _open: dict[int, Segment] = field(default_factory=dict)
    _finished_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def written_bytes(self) -> int:
        """Size of all files so far, in bytes."""
        with self._lock:
            segments = list(self._open.values())
        return self._finished_bytes + sum(s.file.written_bytes for s in segments)

    @property
    def current_path(self) -> Path | None:
        """The newest file that is being written; ``None``: none is."""
        with self._lock:
            newest = max(self._open, default=None)
            return None if newest is None else self._open[newest].file.path

    def start_of(self, index: int) -> int:
        """Media time in ns at which a file begins."""
        return 0 if self.split_ns is None else index * self.split_ns

    def index_at(self, media_ns: int) -> int:
        """Index of the file at a media time."""
        return 0 if self.split_ns is None else media_ns // self.split_ns

    def segment(self, index: int) -> Segment:
        """The file with this index, created if it is new.

        Raises:
            OutputError: It exists or cannot be written.
        """
        with self._lock:
            if index not in self._open:
                self._open[index] = self._create(index)
            return self._open[index]

    def leave(self, segment: Segment, kind: str, end_ns: int) -> None:
        """End the part of one lane in a segment, at ``end_ns``."""
        segment.ends_s[kind] = (end_ns - segment.start_ns) / NS_PER_S
        segment.end_ns = max(segment.end_ns or 0, end_ns)
        self.mailbox.put(Written(segment), force=True)

    def write_all(self) -> None:
        """Write packets until the mailbox is closed and empty; then close all files."""
        is_whole = False
        try:
            while True:
                self._look_after()
                with contextlib.suppress(TimeoutError):
                    for item in self.mailbox.get_all(LOOK_EVERY_S, gather_s=GATHER_S):
                        self._write(item)
        except MailboxClosedError:
            is_whole = True
        finally:
            # After an error the end of the file may fail as well; what is in it plays all the
            # same, and the first error is the one to report.
            for segment in list(self._open.values()):
                with contextlib.suppress(OSError):
                    self._close(segment, is_whole=is_whole)

    def _write(self, item: Written) -> None:
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

    def _create(self, index: int) -> Segment:
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
        return Segment(path, file, journal, lanes, start_ns, quiet)

    def _close(self, segment: Segment, *, is_whole: bool) -> None:
        try:
            facts = facts_of_file(self.certify(), segment.ends_s, segment.quiet)
            segment.file.close(self._chapters(segment), facts)
        except BaseException:
            segment.journal.give_up()
            self._retire(segment, is_whole=False)
            raise
        segment.journal.remove()
        self._retire(segment, is_whole=is_whole)

    def _retire(self, segment: Segment, *, is_whole: bool) -> None:
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

    def _chapters(self, segment: Segment) -> list[tuple[float, float, str]]:
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


def with_kept_length(error: OutputError, paths: Sequence[Path]) -> tuple[float, OutputError]:
    """Seconds of the recording on disk, and the error with a hint on them; reads the files."""
    from capture.media.check.recover import length_of_all  # noqa: PLC0415 - only after a failure

    kept_s = length_of_all(paths)
    hint = Advice.KEPT_IN.with_(length_s=kept_s, path=paths[-1], then=error.hint)
    full = OutputError(error.message, hint=hint, details=error.details)
    return kept_s, full.with_traceback(error.__traceback__)

"""The files of a recording: where each begins and ends, and the thread that writes them.

The two lanes (``capture.recording.lanes``) belong to the encoding threads, ``write_all`` to the
writing one; packets go from them to it through one bounded mailbox. A file is opened by whichever
lane reaches it first and closed when both have left it, so pictures and sound of a split recording
part at the same media time, the sound to the sample.
"""

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from capture.errors import OutputError
from capture.hints import Advice
from capture.media.certificate import QuietLog
from capture.media.packets import Packet
from capture.media.write.encode import AudioEncoder, VideoEncoder
from capture.pipeline import Mailbox, MailboxClosedError
from capture.units import NS_PER_S

PACKETS_BYTES = 64 * 1024 * 1024
"""Size of the mailbox; beyond it pictures wait, and are dropped where they are taken."""
GATHER_S = 0.02
"""Packets are written in batches of so long; it is also what a crash can cost."""
KEY_PICTURE_EVERY_NS = 10 * NS_PER_S
"""A player seeks to key pictures and decodes from there on: 0.1 s of work on a still desktop, whose
file is little else. With 5 s it was a third bigger than ffmpeg's, who takes 8.3 s."""
LOOK_EVERY_S = 1.0
"""The files are looked after this often even when there is nothing to write."""


@dataclass(slots=True)
class Segment(ABC):
    """A stretch of a recording that becomes one file, and takes packets of all tracks until then.

    Attributes:
        start_ns: Media time at its beginning.
        open_lanes: How many lanes have not left it yet.
        quiet: The quiet stretches of each sound track.
        end_ns: Media time at its end, once a lane has left it.
        ends_s: Ends of its video and its audio tracks, on the time of the file.
        written_bytes: Size when it was last looked after; any thread may read it at no cost.
    """

    start_ns: int
    open_lanes: int
    quiet: Sequence[QuietLog]
    end_ns: int | None = field(default=None, kw_only=True)
    ends_s: dict[str, float] = field(default_factory=dict, kw_only=True)
    written_bytes: int = field(default=0, kw_only=True)

    @property
    @abstractmethod
    def path(self) -> Path | None:
        """The file as it is called while it grows; ``None``: there is none yet."""

    @abstractmethod
    def push(self, packet: Packet) -> None:
        """Take a packet; raises ``OutputError`` where the disk does not."""

    @abstractmethod
    def tick(self) -> None:
        """Called by the writing thread after every batch, and once a second without one."""

    @abstractmethod
    def finish(self, markers_ns: Sequence[int]) -> None:
        """Write its end, with chapters at these media times of the whole recording.

        Raises:
            OutputError: The disk does not take it.
        """

    @abstractmethod
    def settle(self, *, is_whole: bool) -> Path | None:
        """Give the file its final name, if it is whole; ``None``: nothing was written into it."""


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
        video: Encoder of the pictures, or ``None``; the first stream.
        audio: Encoder of each sound track, in their order in the file.
        rate_hz: Sample rate of the sound.
        split_ns: Length of each file in media time, or ``None``.
        open_segment: Opens the segment with this index, from 0, that begins at this media time.
        on_done: Called in the writing thread with each finished file.
        key_every_ns: Media time between two key pictures, at most.
    """

    video: VideoEncoder | None
    audio: Sequence[AudioEncoder]
    rate_hz: int
    split_ns: int | None
    open_segment: Callable[[int, int], Segment]
    on_done: Callable[[Path], None]
    key_every_ns: int = KEY_PICTURE_EVERY_NS
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
        return self._finished_bytes + sum(s.written_bytes for s in segments)

    @property
    def current_path(self) -> Path | None:
        """The newest file that is being written; ``None``: none is."""
        with self._lock:
            newest = max(self._open, default=None)
            return None if newest is None else self._open[newest].path

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
                self._open[index] = self.open_segment(index, self.start_of(index))
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
            segment.push(packet)
        if item.packets:
            return
        segment.open_lanes -= 1
        if segment.open_lanes == 0:
            self._close(segment, is_whole=True)

    def _look_after(self) -> None:
        with self._lock:
            segments = list(self._open.values())
        for segment in segments:
            segment.tick()

    def _close(self, segment: Segment, *, is_whole: bool) -> None:
        is_finished = False
        try:
            segment.finish(sorted(self.markers_ns))
            is_finished = True
        finally:
            with self._lock:
                self._open = {i: known for i, known in self._open.items() if known is not segment}
            path = segment.settle(is_whole=is_whole and is_finished)
            if path is not None and path.exists():
                self._finished_bytes += path.stat().st_size
                self.paths.append(path)
                self.on_done(path)


def with_kept_length(error: OutputError, paths: Sequence[Path]) -> tuple[float, OutputError]:
    """Seconds of the recording on disk, and the error with a hint on them; reads the files."""
    from capture.media.check.recover import length_of_all  # noqa: PLC0415 - only after a failure

    kept_s = length_of_all(paths)
    hint = Advice.KEPT_IN.with_(length_s=kept_s, path=paths[-1], then=error.hint)
    full = OutputError(error.message, hint=hint, details=error.details)
    return kept_s, full.with_traceback(error.__traceback__)

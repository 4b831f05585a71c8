"""A segment of a recording as a file: its name, its journal, its certificate, its end."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capture.errors import OutputError
from capture.hints import Advice
from capture.journal import Journal
from capture.media.certificate import QuietLog, facts_of_file
from capture.media.packets import Packet
from capture.media.write.encode import AudioEncoder, VideoEncoder
from capture.media.write.mux import FileSink, open_file
from capture.naming import fitted
from capture.recording.segments import Segment
from capture.units import NS_PER_S


@dataclass(frozen=True, slots=True)
class FilePlan:
    """Opens the files of a recording.

    Args:
        path: The file; with ``is_split`` a number is put before its ending.
        video: Encoder of the pictures, or ``None``; the first stream.
        audio: Encoder of each sound track, in their order in the file.
        is_split: Whether there are several files.
        overwrite: Replace a file that exists, once the new one is whole.
        tags: File metadata.
        certify: Called in the writing thread when a file ends: what was done to the recording so
            far, a JSON value whose ``tracks`` are in the order of the file.
    """

    path: Path
    video: VideoEncoder | None
    audio: Sequence[AudioEncoder]
    is_split: bool
    overwrite: bool
    tags: Mapping[str, str]
    certify: Callable[[], dict[str, Any]]

    def open(self, index: int, start_ns: int) -> "SegmentFile":
        """Open the file with this index, from 0, that begins at this media time.

        Raises:
            OutputError: It exists or cannot be written.
        """
        path = self.path
        if self.is_split:
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
        file = open_file(work_path, headers, start_ns=start_ns, tags=self.tags)
        names = tuple(header.title or "picture" for header in headers)
        lanes = int(self.video is not None) + int(bool(self.audio))
        return SegmentFile(
            start_ns,
            lanes,
            [QuietLog(each.header.rate_hz) for each in self.audio],
            final_path=path,
            file=file,
            journal=Journal(work_path, target=path, tracks=names),
            certify=self.certify,
        )


@dataclass(slots=True)
class SegmentFile(Segment):
    """A file that is being written.

    Attributes:
        final_path: Its path once it is whole.
        file: What writes it.
        journal: What ``capture recover`` reads if it is cut off.
        certify: As of ``FilePlan``.
        is_empty: No packet was written.
    """

    final_path: Path
    file: FileSink
    journal: Journal
    certify: Callable[[], dict[str, Any]]
    is_empty: bool = field(default=True, init=False)

    @property
    def path(self) -> Path:
        """The file as it is called while it grows, also where it was renamed meanwhile."""
        return self.file.path

    def push(self, packet: Packet) -> None:
        """Write a packet.

        Raises:
            OutputError: The disk does not take it.
        """
        self.file.push(packet)
        self.is_empty = False

    def tick(self) -> None:
        """Have the file and its journal say how far it is."""
        self.file.tick()
        self.written_bytes = self.file.written_bytes
        self.journal.update(self.file.written_s, self.written_bytes)

    def finish(self, markers_ns: Sequence[int]) -> None:
        """Write index, chapters and certificate; without them the journal says what to recover.

        Raises:
            OutputError: The disk does not take it.
        """
        try:
            facts = facts_of_file(self.certify(), self.ends_s, self.quiet)
            self.file.close(self._chapters(markers_ns), facts)
        except BaseException:
            self.journal.give_up()
            raise
        self.journal.remove()

    def settle(self, *, is_whole: bool) -> Path | None:
        """Give the file its final name, if it is whole; an empty one is removed."""
        path = self.file.path
        if self.is_empty:
            path.unlink(missing_ok=True)
            self.journal.remove()
            return None
        is_there = path.parent == self.final_path.parent  # and was not moved meanwhile
        if is_whole and is_there and path != self.final_path:
            return path.replace(self.final_path)
        return path

    def _chapters(self, markers_ns: Sequence[int]) -> list[tuple[float, float, str]]:
        """(start, end, title) in seconds of the file; none without a marker."""
        end_ns = self.end_ns or self.start_ns
        inside = [m for m in markers_ns if self.start_ns < m < end_ns]
        if not inside:
            return []
        edges_ns = (self.start_ns, *inside, end_ns)
        spans = itertools.pairwise((edge - self.start_ns) / NS_PER_S for edge in edges_ns)
        return [(start, end, f"Chapter {number}") for number, (start, end) in enumerate(spans, 1)]

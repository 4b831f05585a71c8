"""What a schedule is made of: jobs, their policies, and the runs that came of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from capture.config import default_folder
from capture.naming import safe_name
from capture.schedule.when import When, parse_when, zone_of
from capture.specs.recording import RecordingSpec
from capture.specs.voice import VoiceSpec

if TYPE_CHECKING:
    from pathlib import Path
    from zoneinfo import ZoneInfo

__all__ = [
    "FINAL",
    "Job",
    "Missed",
    "Overlap",
    "Recording",
    "Run",
    "Status",
    "default_place",
    "utc",
]


class Missed(enum.StrEnum):
    """What becomes of a due time at which the machine was off or asleep."""

    SKIP = "skip"
    RUN_LATE = "run-late"
    """The last one is made up for, within the grace time."""


class Overlap(enum.StrEnum):
    """What happens when a run is due while the one before still goes on."""

    SKIP = "skip"
    QUEUE = "queue"
    PARALLEL = "parallel"


class Status(enum.StrEnum):
    """Where a run stands, or how it ended."""

    CLAIMED = "claimed"
    """Taken on by a daemon; nothing was started yet."""
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    SILENT = "silent"
    """Recorded, but there was no sound, or hardly any."""
    BLACK = "black"
    """Recorded, but the picture showed nothing."""
    DEAD = "dead"
    """Recorded, but a source gave no data."""
    FAILED = "failed"
    MISSED = "missed"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"
    """It was told to end before its time, or was killed and left nothing."""
    RECOVERED = "recovered"
    """The recorder was killed; what it had written is a clean file now."""

    @property
    def is_success(self) -> bool:
        """All went as it should."""
        return self is Status.DONE


FINAL = frozenset(Status) - {Status.CLAIMED, Status.QUEUED, Status.RUNNING}
"""Runs that have ended."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something to record again and again, or once."""

    name: str
    when: str
    """As it was written (``capture.schedule.when``)."""
    zone: str
    spec: RecordingSpec | VoiceSpec
    """What each run does. Its output is a folder, or a file whose name every recording gets with
    its time; its folder, of ``voice``, is where all messages go. When it begins a run decides."""
    until_s: float | None = None
    """Wall time after which it is not due any more; ``None``: for ever."""
    runs_left: int | None = None
    """``None``: no limit."""
    missed: Missed = Missed.SKIP
    grace_s: float = 3600.0
    """How late a missed run may still begin."""
    overlap: Overlap = Overlap.SKIP
    retries: int = 0
    """How often a run that fails is tried again."""
    retry_wait_s: float = 10.0
    """Before the first time; twice as long before each further one."""
    keep: int | None = None
    """How many recordings stay; ``None``: all."""
    on_done: str | None = None
    """A shell command after a run that went well."""
    on_fail: str | None = None
    """A shell command after one that did not."""
    is_paused: bool = False
    problem: str | None = None
    """Why it cannot run as it is, one sentence; it is paused then."""
    created_s: float = 0.0
    """Wall time; intervals that do not fit into an hour or a day count from it."""
    active_s: float = 0.0
    """Wall time since which it has been as it is: what is due later and does not run was missed."""
    id: int = 0
    """Of its row; never given twice."""

    @property
    def rule(self) -> When:
        """When it is due."""
        return parse_when(self.when, self.zone, utc(self.created_s))

    def next_due(self, after: datetime, rule: When | None = None) -> datetime | None:
        """The first due time later than a moment, in UTC; ``None``: it is over, or paused."""
        if self.is_paused or self.runs_left == 0:
            return None
        due = (rule or self.rule).next_after(after)
        is_over = due is None or (self.until_s is not None and due.timestamp() > self.until_s)
        return None if is_over else due

    @property
    def for_s(self) -> float | None:
        """How long each recording is; ``None``: until it ends by itself."""
        return self.spec.duration_s

    @property
    def is_voice(self) -> bool:
        """Whether it keeps voice messages."""
        return isinstance(self.spec, VoiceSpec)

    @property
    def has_end(self) -> bool:
        """Whether something ends each recording: its length, or what the recorder waits for."""
        spec = self.spec
        ends: tuple[object, ...] = (spec.duration_s, spec.max_size_bytes, spec.stop_when)
        if isinstance(spec, VoiceSpec):
            ends += (spec.count, spec.idle_s)
        else:
            ends += (spec.command, spec.video and spec.video.window)
        return any(ends)

    @property
    def place(self) -> Path:
        """A folder, or a file whose name every recording gets with its time."""
        return self.spec.folder if isinstance(self.spec, VoiceSpec) else self.spec.output

    def at_place(self, place: Path) -> Job:
        """The job with another ``place``."""
        if isinstance(self.spec, VoiceSpec):
            return replace(self, spec=replace(self.spec, folder=place))
        return replace(self, spec=replace(self.spec, output=place))

    @property
    def folder(self) -> Path:
        """Where its recordings go."""
        return self.place.parent if self.place.suffix and not self.place.is_dir() else self.place

    def output(self, at: datetime) -> Path:
        """The name of a recording that begins at an aware moment; it may be taken already."""
        place = self.place
        if place == self.folder:
            has_picture = isinstance(self.spec, RecordingSpec) and self.spec.video is not None
            place /= f"{safe_name(self.name)}{'.mp4' if has_picture else '.m4a'}"
        return place.with_stem(f"{place.stem} {at.astimezone(self.rule_zone):%Y-%m-%d %H.%M.%S}")

    def spec_of_run(
        self, output: Path, begin_at: datetime | None, length_s: float | None
    ) -> RecordingSpec | VoiceSpec:
        """What one run does.

        Args:
            output: The file; of voice messages the folder.
            begin_at: When a recording begins; ``None``: at once.
            length_s: How long it is; ``None``: until it ends by itself.
        """
        if isinstance(self.spec, VoiceSpec):
            return replace(self.spec, folder=output, duration_s=length_s)
        begin_at_s = None if begin_at is None else begin_at.timestamp()
        return replace(self.spec, output=output, duration_s=length_s, begin_at_s=begin_at_s)

    @property
    def rule_zone(self) -> ZoneInfo:
        """Whose clocks count."""
        return zone_of(self.zone)


@dataclass(frozen=True, slots=True)
class Run:
    """One recording of a job, planned, going on or over."""

    id: int
    job_id: int
    job_name: str
    due_s: float
    """Wall time; with the job it names the run: there is never a second one of both."""
    status: Status
    attempt: int = 1
    started_s: float | None = None
    ended_s: float | None = None
    pid: int | None = None
    pid_started: int | None = None
    """Ticks since the machine started, as in ``capture.journal``; ``None`` where unknown."""
    boot_id: str | None = None
    output: str | None = None
    """Where it was told to record to."""
    paths: tuple[str, ...] = ()
    """What came of it; what tries before the last one have left comes after that one's files."""
    exit_code: int | None = None
    """Of the recorder, or of the command it recorded where that is what failed; ``None``: it goes
    on, or nobody was there to see it end."""
    size_bytes: int | None = None
    length_s: float | None = None
    findings: tuple[str, ...] = ()
    """Warnings of the recorder and of the schedule, one sentence each."""
    message: str | None = None
    """Why it failed, was missed or skipped."""

    @property
    def due(self) -> datetime:
        """In UTC."""
        return utc(self.due_s)


@dataclass(frozen=True, slots=True)
class Recording:
    """A file that a run of a job has made, as it was then."""

    id: int
    job_id: int
    run_id: int
    path: Path
    size_bytes: int
    changed_ns: int
    """Its modification time."""


def utc(wall_s: float) -> datetime:
    """An aware moment from wall time."""
    return datetime.fromtimestamp(wall_s, UTC)


def default_place(name: str) -> Path:
    """Where the recordings of a job go that says nothing else: a folder of its name."""
    return default_folder() / safe_name(name)

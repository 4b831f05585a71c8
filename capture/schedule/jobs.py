"""What a schedule is made of: jobs, their policies, and the runs that came of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from capture.config import default_folder
from capture.naming import safe_name
from capture.schedule.when import When, parse_when, zone_of

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

__all__ = ["FINAL", "Job", "Missed", "Overlap", "Recording", "Run", "Status", "utc"]


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


_ENDERS = frozenset({"--", "--stop-when", "--max-size", "--window", "--count", "--once", "--idle"})
"""Words with which a recorder ends by itself; ``--`` is followed by a program that does."""

FINAL = frozenset(Status) - {Status.CLAIMED, Status.QUEUED, Status.RUNNING}
"""Runs that have ended."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something to record again and again, or once."""

    name: str
    when: str
    """As it was written (``capture.schedule.when``)."""
    zone: str
    words: tuple[str, ...] = ()
    """Options of the command, and after ``--`` what it starts."""
    command: str = "record"
    """record or voice."""
    for_s: float | None = None
    """How long each recording is; ``None``: until it ends by itself."""
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
    target: str | None = None
    """A folder, or a file whose name every recording gets with its time; ``None``: a folder of the
    job's name in the usual place."""
    with_picture: bool = True
    """Decides the ending where the target is a folder."""
    on_done: str | None = None
    """A shell command after a run that went well."""
    on_fail: str | None = None
    """A shell command after one that did not."""
    is_paused: bool = False
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
    def has_end(self) -> bool:
        """Whether something ends each recording: its length, or what the recorder waits for."""
        words = {word.partition("=")[0] for word in self.words}
        return self.for_s is not None or not words.isdisjoint(_ENDERS)

    @property
    def folder(self) -> Path:
        """Where its recordings go."""
        if self.target is None:
            return default_folder() / safe_name(self.name)
        path = Path(self.target).expanduser()
        return path.parent if path.suffix and not path.is_dir() else path

    def output(self, at: datetime) -> Path:
        """The name of a recording that begins at an aware moment; it may be taken already."""
        path = Path(self.target).expanduser() if self.target else self.folder
        is_file = path != self.folder
        suffix = path.suffix if is_file else (".mp4" if self.with_picture else ".m4a")
        stem = path.stem if is_file else safe_name(self.name)
        shown = at.astimezone(self.rule_zone)
        return self.folder / f"{stem} {shown:%Y-%m-%d %H.%M.%S}{suffix}"

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

"""The values of a schedule: jobs, their policies, their runs and recordings."""

import enum
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from capture.config import default_folder
from capture.naming import safe_name
from capture.schedule.when import When, parse_when, zone_of
from capture.specs.recording import RecordingSpec
from capture.specs.target import Window
from capture.specs.voice import VoiceSpec


class Missed(enum.StrEnum):
    """The policy for a due time at which the machine was off or asleep."""

    SKIP = "skip"
    RUN_LATE = "run-late"
    """The last one is made up for, within the grace time."""


class Overlap(enum.StrEnum):
    """The policy for a due run while the one before still runs."""

    SKIP = "skip"
    QUEUE = "queue"
    PARALLEL = "parallel"


class Status(enum.StrEnum):
    """The state of a run, or how it ended."""

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
    """Recorded, but a source gave no data or no usable signal."""
    FAILED = "failed"
    MISSED = "missed"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"
    """It was ended before its time, or was killed and left nothing."""
    RECOVERED = "recovered"
    """The recorder was killed; what it had written is a clean file now."""

    @property
    def is_success(self) -> bool:
        """Whether the run ended well and its recordings count as good."""
        return self is Status.DONE


ENDINGS = (".mp4", ".m4a")
"""Endings with a picture, and without one, where no file was named."""
FINAL = frozenset(Status) - {Status.CLAIMED, Status.QUEUED, Status.RUNNING}
"""Runs that have ended."""


class Place(NamedTuple):
    """The folder and the name pattern of a job's recordings."""

    folder: Path
    file: str | None = None
    """What they are called, but for their time; ``None``: as the job. Voice messages have names
    of their own."""

    def of_job(self, name: str, *, with_picture: bool) -> Path:
        """The path in a spec; of voice messages the folder."""
        return self.folder / (self.file or f"{name}{ENDINGS[not with_picture]}")

    def put(self, spec: RecordingSpec | VoiceSpec, name: str) -> RecordingSpec | VoiceSpec:
        """The spec of a job of this name with this place as its output."""
        if isinstance(spec, VoiceSpec):
            return replace(spec, folder=self.folder)
        return replace(spec, output=self.of_job(name, with_picture=spec.video is not None))


@dataclass(frozen=True, slots=True)
class Job:
    """A recording that is made again and again, or once."""

    name: str
    when: str
    """The text of its rule (``capture.schedule.when``)."""
    zone: str
    spec: RecordingSpec | VoiceSpec
    """What each run does, but for its beginning and for its output, whose name gets the time."""
    until_s: float | None = None
    """Wall time after which it is not due any more; ``None``: for ever."""
    runs_left: int | None = None
    """``None``: no limit."""
    missed: Missed = Missed.SKIP
    grace_s: float = 3600.0
    """How late a missed run may still begin, in seconds."""
    overlap: Overlap = Overlap.SKIP
    retries: int = 0
    """How many times a failed run is tried again."""
    retry_wait_s: float = 10.0
    """Before the first time; twice as long before each further one."""
    keep: int | None = None
    """Number of recordings that are kept; ``None``: all."""
    on_done: str | None = None
    """A shell command after a run that went well."""
    on_fail: str | None = None
    """A shell command after a run that did not end well."""
    is_paused: bool = False
    problem: str | None = None
    """Why it cannot run as it is, one sentence; it is paused then."""
    created_s: float = 0.0
    """Wall time; intervals that do not fit into an hour or a day count from it."""
    active_s: float = 0.0
    """Wall time since which it has been as it is: what is due later and does not run was missed."""
    id: int = 0
    """Number of its row; never used again."""

    @property
    def rule(self) -> When:
        """The parsed rule of its due times."""
        return parse_when(self.when, self.zone, utc(self.created_s))

    def next_due(self, after: datetime, rule: When | None = None) -> datetime | None:
        """The first due time after a moment, in UTC; ``None``: there is none, or it is paused."""
        if self.is_paused or self.runs_left == 0:
            return None
        due = (rule or self.rule).next_after(after)
        is_over = due is None or (self.until_s is not None and due.timestamp() > self.until_s)
        return None if is_over else due

    @property
    def for_s(self) -> float | None:
        """Length of each recording in seconds; ``None``: until it ends by itself."""
        return self.spec.duration_s

    @property
    def is_voice(self) -> bool:
        """Whether the job keeps voice messages."""
        return isinstance(self.spec, VoiceSpec)

    @property
    def has_end(self) -> bool:
        """Whether each recording ends by itself: by its length or by a stop rule."""
        spec = self.spec
        ends: tuple[object, ...] = (spec.duration_s, spec.max_size_bytes, spec.stop_when)
        if isinstance(spec, VoiceSpec):
            ends += (spec.count, spec.idle_s)
        else:
            is_window = spec.video is not None and isinstance(spec.video.target, Window)
            ends += (spec.command, is_window)
        return any(ends)

    @property
    def place(self) -> Place:
        """The folder and name pattern of its recordings."""
        if isinstance(self.spec, VoiceSpec):
            return Place(self.spec.folder)
        output = self.spec.output
        is_as_job = output.stem == self.name and output.suffix in ENDINGS
        return Place(output.parent, None if is_as_job else output.name)

    def output(self, at: datetime) -> Path:
        """The path of a recording that begins at an aware moment; it may exist already."""
        assert isinstance(self.spec, RecordingSpec)
        output = self.spec.output
        return output.with_stem(f"{output.stem} {at.astimezone(self.rule_zone):%Y-%m-%d %H.%M.%S}")

    def spec_of_run(
        self, output: Path, begin_at: datetime | None, length_s: float | None
    ) -> RecordingSpec | VoiceSpec:
        """The spec of one run.

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
        """The time zone of its due times."""
        return zone_of(self.zone)


@dataclass(frozen=True, slots=True)
class Run:
    """One planned, running or ended recording of a job."""

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
    """The path that its recorder was given."""
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
        """The due time as an aware moment in UTC."""
        return utc(self.due_s)


@dataclass(frozen=True, slots=True)
class Recording:
    """A file of a run, as it was at its end."""

    id: int
    job_id: int
    run_id: int
    path: Path
    size_bytes: int
    changed_ns: int
    """Modification time in ns."""


def utc(wall_s: float) -> datetime:
    """An aware moment in UTC from wall time in s."""
    return datetime.fromtimestamp(wall_s, UTC)


def place_of(to: str | None, name: str) -> Place:
    """The place for a path that a person gave: a folder or a file.

    Args:
        to: Its path; ``None``: a folder of the job's name in the usual place.
        name: Of the job.
    """
    if to is None:
        return Place(default_folder() / safe_name(name))
    path = Path(to).expanduser().absolute()
    return Place(path.parent, path.name) if path.suffix and not path.is_dir() else Place(path)

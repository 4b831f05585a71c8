"""The settings of a job, besides its time and what it records."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from capture.cli.values import Duration
from capture.errors import ConfigError
from capture.schedule.jobs import Job, Missed, Overlap
from capture.schedule.when import parse_moment

__all__ = ["Options"]


@Parameter(name="*")
@dataclass
class Options:
    """The settings of a job; ``None`` leaves one as it is.

    Attributes:
        length: How long each recording is.
        timezone: Whose clocks are meant, such as Europe/Berlin; by default this machine's.
        until: Not due any more after this time.
        runs: So many runs in all.
        missed: What to do about a run for which the machine was off: skip, or run-late.
        grace: How late it may still begin with run-late; 1h by default.
        overlap: When the run before still goes on: skip, queue or parallel.
        retries: How often a run that fails is tried again.
        retry_wait: Before the first retry, 10s by default; doubled before each further one.
        keep: So many recordings of this job stay; older ones are deleted, others never.
        to: A folder, or a file such as ~/Lectures/algebra.mkv whose name gets the time of each run.
        on_done: A shell command after a run that went well; gets the result as JSON on stdin.
        on_fail: The same after one that failed, was missed, or recorded silence or black.
    """

    length: Annotated[Duration, Parameter(name="--for")] = None
    timezone: str | None = None
    until: str | None = None
    runs: int | None = None
    missed: Missed | None = None
    grace: Duration = None
    overlap: Overlap | None = None
    retries: int | None = None
    retry_wait: Duration = None
    keep: int | None = None
    to: str | None = None
    on_done: str | None = None
    on_fail: str | None = None

    def applied(self, job: Job) -> Job:
        """The job with what these options change.

        Raises:
            ConfigError: A value makes no sense.
        """
        if self.timezone is not None:
            job = dataclasses.replace(job, zone=self.timezone)
        until_s = None
        if self.until is not None:
            until_s = parse_moment(self.until, zone=job.zone).timestamp()
        values: dict[str, Any] = {
            "until_s": until_s,
            "runs_left": self.runs,
            "missed": self.missed,
            "grace_s": self.grace,
            "overlap": self.overlap,
            "retries": self.retries,
            "retry_wait_s": self.retry_wait,
            "keep": self.keep,
            "on_done": self.on_done,
            "on_fail": self.on_fail,
        }
        numbers = (("for", self.length, 0.1), ("runs", self.runs, 1), ("keep", self.keep, 1))
        for option, number, least in (*numbers, ("retries", self.retries, 0)):
            if number is not None and number < least:
                raise ConfigError(f"{number:g} is too little for --{option}")
        if self.length is not None:
            job = dataclasses.replace(
                job, spec=dataclasses.replace(job.spec, duration_s=self.length)
            )
        return dataclasses.replace(
            job, **{key: value for key, value in values.items() if value is not None}
        )

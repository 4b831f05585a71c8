"""APScheduler as the alarm clock: it says when which job is due, and keeps that on disk.

Only the times are its business. It is asked to ring a little before a run is due, so that the
recorder is up in time, and hands every ring to the daemon at once: what happens then, and how a
time that was missed is treated, is decided there.
"""

from __future__ import annotations

import contextlib
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from capture.errors import OutputError
from capture.schedule.store import LOCKED_AFTER_S
from capture.schedule.when import parse_when

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from capture.schedule.jobs import Job

__all__ = ["LEAD_S", "Alarm", "JobTrigger"]

LEAD_S = 3.0
"""So long before a run is due its recorder is started: it takes 0.6 s, on a busy machine 2 s."""
RING_AGAIN_S = 1.0
"""After an error of the database: the same run may be told again, and is claimed once."""

log = logging.getLogger(__name__)
logging.getLogger("apscheduler").setLevel(logging.WARNING)


class JobTrigger(BaseTrigger):  # type: ignore[misc]
    """Rings a little before a job is due.

    Args:
        job: When that is; it is kept with the alarm, so a job that changes needs a new trigger.
    """

    def __init__(self, job: Job) -> None:
        self._facts = (job.when, job.zone, job.created_s, job.until_s)

    def __getstate__(self) -> tuple[Any, ...]:
        return self._facts

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._facts = state

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """The next time to ring, in UTC; ``None``: never again."""
        when, zone, created_s, until_s = self._facts
        lead = timedelta(seconds=LEAD_S)
        last_due = now if previous_fire_time is None else previous_fire_time + lead
        due = parse_when(when, zone, datetime.fromtimestamp(created_s, UTC)).next_after(last_due)
        if due is None or (until_s is not None and due.timestamp() > until_s):
            return None
        return due - lead


class _HandOver(BaseExecutor):  # type: ignore[misc]
    """Hands every ring to the daemon, in the scheduler's thread."""

    def __init__(self, on_due: Callable[[int, list[datetime]], None]) -> None:
        super().__init__()
        self._on_due = on_due

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        lead = timedelta(seconds=LEAD_S)
        self._on_due(int(job.id), [time.astimezone(UTC) + lead for time in run_times])

    def submit_job(self, job: Any, run_times: list[datetime]) -> None:
        """Nothing of the job runs in here: its instances are not counted."""
        self._do_submit_job(job, run_times)


class _Scheduler(BackgroundScheduler):  # type: ignore[misc]
    """One that goes on after an error of the database, which would end its thread: silently."""

    def _process_jobs(self) -> float | None:
        try:
            wait_s: float | None = super()._process_jobs()
        except (SQLAlchemyError, JobLookupError) as error:
            if (
                self.running
            ):  # else it was closed meanwhile: the alarm stays set, its run is claimed
                log.warning("an alarm cannot be set again: %s", error)
            return RING_AGAIN_S
        return wait_s


class Alarm:
    """All alarms of a schedule; ``on_due`` is called in a thread of its own.

    Args:
        database: The schedule, in which they have a table of their own.
        on_due: Told the job's id and its due times since the last ring, in UTC; usually one, and
            a few seconds ahead.
    """

    def __init__(self, database: Path, on_due: Callable[[int, list[datetime]], None]) -> None:
        store = SQLAlchemyJobStore(
            url=f"sqlite:///{database}",
            tablename="alarms",
            # A pool would leave its connections to the garbage collector, thread by thread.
            engine_options={"connect_args": {"timeout": LOCKED_AFTER_S}, "poolclass": NullPool},
        )
        self._scheduler = _Scheduler(
            jobstores={"default": store},
            executors={"default": _HandOver(on_due)},
            job_defaults={"coalesce": False, "misfire_grace_time": None},
            timezone=UTC,
            jobstore_retry_interval=RING_AGAIN_S,
        )

    def start(self) -> None:
        """Begin to ring, for what is due now as well."""
        self._scheduler.resume()

    def load(self) -> None:
        """Read the alarms that were set; nothing rings yet.

        Raises:
            OutputError: The database cannot be used.
        """
        with _translating():
            self._scheduler.start(paused=True)

    def close(self) -> None:
        """Ring no more; the alarms stay set."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def wake(self) -> None:
        """The machine's clock was set forward: look again at once."""
        self._scheduler.wakeup()

    def set(
        self,
        jobs: tuple[Job, ...],
        last_due: Mapping[int, float],
        *,
        anew_from: datetime | None = None,
    ) -> None:
        """Make the alarms those of the jobs.

        Args:
            jobs: All of them.
            last_due: Wall time of the last run of each that was taken on, by its id. What was due
                after it, and after the job became what it is, rings at once.
            anew_from: Forget which rings have been, and go on from this moment: the machine's
                clock was set back.

        Raises:
            OutputError: The database cannot be used; the alarms are partly as they were.
        """
        with _translating():
            self._set(jobs, last_due, anew_from)

    def _set(
        self, jobs: tuple[Job, ...], last_due: Mapping[int, float], anew_from: datetime | None
    ) -> None:
        wanted = {job.id: job for job in jobs if not job.is_paused and job.runs_left != 0}
        alarms = {int(alarm.id): alarm for alarm in self._scheduler.get_jobs()}
        for job_id in alarms.keys() - wanted.keys():
            self._scheduler.remove_job(str(job_id))
        for job_id, job in wanted.items():
            trigger = JobTrigger(job)
            alarm = alarms.get(job_id)
            if alarm is not None and anew_from is None and _same(alarm.trigger, trigger):
                continue
            since_s = max(job.active_s, last_due.get(job_id, 0.0))
            rings = trigger.get_next_fire_time(
                None, anew_from or datetime.fromtimestamp(since_s, UTC)
            )
            if rings is None:
                if alarm is not None:
                    alarm.remove()
                continue
            self._scheduler.add_job(
                "capture.schedule.engine:ring",
                trigger,
                id=str(job_id),
                next_run_time=rings,
                replace_existing=True,
            )


@contextlib.contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise OutputError(f"the alarms of the schedule cannot be kept: {error}") from error


def _same(one: JobTrigger, other: JobTrigger) -> bool:
    return one.__getstate__() == other.__getstate__()


def ring() -> None:
    """What APScheduler believes to call; ``_HandOver`` never does."""

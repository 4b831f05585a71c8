"""``capture schedule serve``: one process that waits for due times and starts their runs.

It may be killed at any moment. The next due times follow from the runs in the database, where each
is claimed before the next one is looked for; recorders survive it. The next daemon finds claimed,
running and abandoned runs, and treats due times that passed meanwhile by their job's policy.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from capture.errors import CaptureError, ConfigError
from capture.schedule.child import Child
from capture.schedule.jobs import Job, Missed, Run, utc
from capture.schedule.lock import Lock
from capture.schedule.runner import ON_TIME_S, Clock, Runner
from capture.schedule.store import Store
from capture.schedule.when import When
from capture.specs.recording import RecordingSpec
from capture.specs.voice import VoiceSpec

log = logging.getLogger(__name__)

LEAD_S = 3.0
"""So long before a run is due its recorder is started: it takes 0.6 s, on a busy machine 2 s."""
LOOK_EVERY_S = 1.0
"""How soon it is known that another program has changed a job, or somebody has set the clock; costs
0.2 ms."""
CLOCK_SET_S = 2.0
"""A due time does not come again if the wall clock is set back by less."""
BY_HAND = 20
"""Among so many last runs of a job one was on its time, and not by hand."""


@dataclass(slots=True)
class _Next:
    """A job with the next due time of its rule."""

    job: Job
    rule: When
    due: datetime


class Daemon:
    """Serves a schedule until it is stopped.

    Args:
        store: The schedule.
        clock: Gives the time.
        launch: Starts a recorder; by default a process.
        on_change: Called with every run that begins or ends, from other threads.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock | None = None,
        launch: Callable[[RecordingSpec | VoiceSpec, Run, Path], Child] | None = None,
        on_change: Callable[[Run], None] = lambda _run: None,
    ) -> None:
        self._store = store
        self._clock = clock or Clock()
        launching = {} if launch is None else {"launch": launch}
        self.runner = Runner(store, self._clock, on_change=on_change, **launching)
        self._next: dict[int, _Next] = {}
        self._revision = -1
        self._looked = self._clock.now()

    def serve(self, stop: threading.Event) -> None:
        """Serve until ``stop`` is set; then end all recorders cleanly.

        Raises:
            OutputError: Another daemon serves this schedule, or the database cannot be used.
        """
        with Lock(self._store.path):
            try:
                self.load()
                for run in self._store.unfinished():
                    self.runner.take_over(run)
                wait_s = 0.0
                while not stop.wait(wait_s):
                    wait_s = self.look()
            finally:
                self.runner.stop()

    def load(self) -> None:
        """Compute the next due time of every job.

        Raises:
            OutputError: The database cannot be used.
        """
        now, revision, last = self._clock.now(), self._store.revision(), self._store.last_runs()
        found = {}
        for job in self._store.jobs():
            rule = job.rule
            due = job.next_due(self._handled(job, rule, last.get(job.id), now), rule)
            if due is not None:
                found[job.id] = _Next(job, rule, due)
        self._next, self._revision, self._looked = found, revision, now

    @property
    def next_due(self) -> datetime | None:
        """The earliest due time of all jobs, in UTC."""
        return min((coming.due for coming in self._next.values()), default=None)

    def look(self) -> float:
        """Start the runs that are due; gives the time to sleep.

        Returns:
            In s, at most ``LOOK_EVERY_S``.
        """
        now = self._clock.now()
        try:
            moved_s = (now - self._looked).total_seconds()
            if moved_s < -CLOCK_SET_S:
                log.warning("the clock was set back by %.0f s", -moved_s)
            if moved_s < -CLOCK_SET_S or self._store.revision() != self._revision:
                self.load()
            self._looked = now
            for coming in [each for each in self._next.values() if self._left_s(each.due) <= 0]:
                self._take_on(coming)
        except CaptureError as error:  # locked: no run is lost for that, nor claimed twice
            log.warning("%s", error)
            return LOOK_EVERY_S
        due = self.next_due
        return LOOK_EVERY_S if due is None else min(max(self._left_s(due), 0.0), LOOK_EVERY_S)

    def on_due(self, job_id: int, dues: list[datetime]) -> None:
        """Start the runs that are due, and treat those that were missed.

        Args:
            job_id: Whose due times.
            dues: In UTC, in order, since the last time.

        Raises:
            OutputError: That is not in the database: do it again.
        """
        try:
            job = self._store.job(job_id)
        except ConfigError:
            return  # it was removed a moment ago
        if not job.is_paused and job.runs_left != 0:
            self._treat(job, dues)

    def _take_on(self, coming: _Next) -> None:
        dues: list[datetime] = []
        due: datetime | None = coming.due
        while due is not None and self._left_s(due) <= 0:
            dues.append(due)
            due = coming.job.next_due(due, coming.rule)
        self.on_due(coming.job.id, dues)
        if due is None:
            del self._next[coming.job.id]
        else:
            coming.due = due

    def _left_s(self, due: datetime) -> float:
        """Seconds until the recorder for a due time has to be started."""
        return (due - self._clock.now()).total_seconds() - LEAD_S

    def _handled(self, job: Job, rule: When, last: Run | None, now: datetime) -> datetime:
        """The moment up to which a job's due times were handled, or do not count."""
        active = utc(job.active_s)
        if last is None or last.due < active:
            return min(active, now)
        runs = (last,) if _is_on_time(last, rule) else self._store.runs(job, BY_HAND)
        on_time = (run.due for run in runs if _is_on_time(run, rule))
        return min(max(active, next(on_time, active)), now)  # the clock may have been ahead

    def _treat(self, job: Job, dues: list[datetime]) -> None:
        now = self._clock.now()
        on_time = [due for due in dues if (now - due).total_seconds() <= ON_TIME_S]
        missed = [due for due in dues if due not in on_time]
        late = []
        if missed and job.missed is Missed.RUN_LATE:
            late_s = (now - missed[-1]).total_seconds()
            late = missed[-1:] if late_s <= job.grace_s else []
            missed = missed[: len(missed) - len(late)]
        if missed:
            self.runner.note_missed(job, missed)
        for due in late + on_time:
            self.runner.start(job, due)


def _is_on_time(run: Run, rule: When) -> bool:
    """Whether a run was due by the rule, not started by hand; due times are stored in ms."""
    before = run.due - timedelta(milliseconds=1)
    due = rule.next_after(before)
    return due is not None and due - before < timedelta(milliseconds=2)

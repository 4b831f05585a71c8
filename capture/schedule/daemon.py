"""``capture schedule serve``: one process that waits for due times and starts their runs.

It may be killed at any moment. A run is claimed in the database before its alarm is set to the
next time, and recorders live on without it: the next daemon finds what was claimed, what still
runs and what was left, and due times that passed meanwhile are treated by their job's policy.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from capture.errors import CaptureError, ConfigError, OutputError
from capture.schedule.engine import Alarm
from capture.schedule.jobs import Job, Missed, Run
from capture.schedule.lock import Lock
from capture.schedule.runner import ON_TIME_S, Clock, Runner

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from capture.schedule.child import Child
    from capture.schedule.store import Store
    from capture.specs.recording import RecordingSpec
    from capture.specs.voice import VoiceSpec

__all__ = ["Daemon"]

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
"""How soon a job that another program has added or changed is known; costs 0.2 ms."""
CLOCK_SET_S = 2.0
"""The wall clock ran so far off the monotonic one between two looks: somebody has set it, or the
machine was asleep."""
CLAIM_AGAIN_S = 1.0


class Daemon:
    """Serves a schedule until it is told to stop.

    Args:
        store: The schedule.
        clock: Tells the time.
        launch: Starts a recorder; by default a process.
        on_change: Told of every run that begins or ends, from other threads.
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
        self._alarm: Alarm | None = None

    def serve(self, stop: threading.Event) -> None:
        """Serve until ``stop`` is set; then end all recorders cleanly.

        Raises:
            OutputError: Another daemon serves this schedule, or the database cannot be used.
        """
        with Lock(self._store.path):
            self._alarm = Alarm(self._store.path, self.on_due)
            try:
                self._alarm.load()
                revision = self._store.revision()
                self._set_alarms()
                for run in self._store.unfinished():
                    self.runner.take_over(run)
                self._alarm.start()
                self._watch(stop, revision)
            finally:
                self._alarm.close()
                self.runner.stop()

    def on_due(self, job_id: int, dues: list[datetime]) -> None:
        """Take on what is due, and treat what was missed; returns when that is in the database.

        Args:
            job_id: Whose due times.
            dues: In UTC, in order, since the last time.
        """
        while True:
            try:
                job = self._store.job(job_id)
                if not job.is_paused:
                    self._treat(job, dues)
            except OutputError as error:  # locked: no run is lost for that, nor claimed twice
                log.warning("%s", error)
                time.sleep(CLAIM_AGAIN_S)
            except ConfigError:
                return  # it was removed a moment ago
            else:
                return

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

    def _set_alarms(self, anew_from: datetime | None = None) -> None:
        assert self._alarm is not None
        last_due = {job_id: run.due_s for job_id, run in self._store.last_runs().items()}
        self._alarm.set(self._store.jobs(), last_due, anew_from=anew_from)

    def _watch(self, stop: threading.Event, revision: int) -> None:
        """Look for changes of the jobs, and of the machine's clock."""
        offset_s = _offset_s()
        while not stop.wait(LOOK_EVERY_S):
            moved_s = _offset_s() - offset_s
            offset_s += moved_s
            try:
                if moved_s < -CLOCK_SET_S:
                    log.warning("the clock was set back by %.0f s", -moved_s)
                    self._set_alarms(anew_from=datetime.now(UTC))
                elif moved_s > CLOCK_SET_S and self._alarm is not None:
                    self._alarm.wake()
                if (found := self._store.revision()) != revision:
                    self._set_alarms()
                    revision = found
            except CaptureError as error:
                log.warning("%s", error)


def _offset_s() -> float:
    """How far the wall clock is ahead of the one that nobody can set."""
    return time.time() - time.monotonic()

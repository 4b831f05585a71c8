"""Runs: each from its due time to its recorded end, its hooks and the deletion of old files.

Every run has a thread, which mostly waits for its recorder. Everything that must not be done twice
goes through the store: a run is claimed once, and it ends once.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path

from capture.errors import CaptureError
from capture.naming import free_path, numbered
from capture.process import boot_id, process_start
from capture.schedule import hooks, retention
from capture.schedule.child import (
    ENDED_BEFORE,
    ENDED_EARLY,
    Adopted,
    Child,
    Outcome,
    Process,
    find_pid,
    log_paths,
    read_outcome,
    was_started,
)
from capture.schedule.jobs import Job, Missed, Overlap, Run, Status
from capture.schedule.repair import repaired
from capture.schedule.store import Store
from capture.specs.recording import RecordingSpec
from capture.specs.voice import VoiceSpec

log = logging.getLogger(__name__)

ON_TIME_S = 30.0
"""A run that begins so late is still on time: the machine was busy, or has just woken up."""
OVERLAP_SLACK_S = 2.0
"""Time for the run before to finish its file."""
VOICE_LEAD_S = 0.9
"""``voice`` takes no time to begin at; from its start to its first sound it needs 0.6 to 1.4 s."""
GO_ON_S = 5.0
"""Less of an interrupted run than this is not worth a file of its own."""
NO_DAEMON = "no daemon ran then"
END_WITHIN_S = 60.0
"""Recorders have so long to finish their files after the signal to end."""


class Clock:
    """The wall clock; tests step another one."""

    def now(self) -> datetime:
        """The present moment in UTC."""
        return datetime.now(UTC)

    def wait(self, stop: threading.Event, wait_s: float) -> bool:
        """Sleep so many seconds, or until ``stop`` is set; true if it is set."""
        return stop.wait(wait_s)


class Runner:
    """Starts and follows runs; any thread may call its methods.

    Args:
        store: Where they are noted.
        clock: Gives the time.
        launch: Starts a recorder; gives its process.
        on_change: Called with every run that begins or ends.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock | None = None,
        launch: Callable[[RecordingSpec | VoiceSpec, Run, Path], Child] = Process,
        on_change: Callable[[Run], None] = lambda _run: None,
    ) -> None:
        self._store = store
        self._clock = clock or Clock()
        self._launch = launch
        self._on_change = on_change
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._going: dict[int, dict[int, datetime | None]] = {}
        """The runs of each job that have their place, and when they will end, if that is known."""
        self._children: dict[int, Child] = {}
        self._names: set[Path] = set()
        self._threads: dict[int, threading.Thread] = {}

    def start(self, job: Job, due: datetime) -> Run | None:
        """Claim a run and begin it in a thread; ``None`` if another process has claimed it."""
        run = self._store.claim(job, due.timestamp())
        if run is not None:
            self._start_thread(run, lambda: self._run(job, run, None))
        return run

    def run_here(self, job: Job) -> Run:
        """Run a job now, in this thread; gives the ended run.

        Raises:
            CaptureError: It could not be taken on.
        """
        run = self._store.claim(job, self._clock.now().timestamp())
        if run is None:
            raise CaptureError(f"the job {job.name!r} has had all its runs")
        return self._run(job, run, None, is_here=True)

    def note_missed(self, job: Job, dues: Sequence[datetime]) -> None:
        """Record missed due times: one run for the last one, with their number."""
        first, last = dues[0], dues[-1]
        message = NO_DAEMON
        if len(dues) > 1:
            message = f"{len(dues)} runs since {first:%Y-%m-%d %H:%M} UTC were missed: {NO_DAEMON}"
        run = self._store.claim(
            job, last.timestamp(), Status.QUEUED, message=message, ended_s=last.timestamp()
        )
        if run is not None:
            self._start_thread(run, lambda: self._miss(job, run, message))

    def take_over(self, run: Run) -> None:
        """Continue the runs of an earlier daemon: wait for them, or recover their files."""
        try:
            job = self._store.job(run.job_id)
        except CaptureError:
            self._store.change(run, status=Status.INTERRUPTED, message="its job was removed")
            return
        pid = find_pid(self._store.runs_folder, run)
        if pid is not None:
            self._start_thread(run, lambda: self._run(job, run, Adopted(pid)))
        elif run.status is Status.RUNNING and was_started(self._store.runs_folder, run):
            self._start_thread(run, lambda: self._run(job, run, _EndedRecorder()))
        else:
            late_s = (self._clock.now() - run.due).total_seconds()
            grace_s = job.grace_s if job.missed is Missed.RUN_LATE else 0.0
            if late_s <= max(ON_TIME_S, grace_s):
                self._start_thread(run, lambda: self._run(job, run, None))
            else:
                self._start_thread(run, lambda: self._miss(job, run, NO_DAEMON))

    def running(self) -> int:
        """Number of runs that have not ended."""
        return len(self._threads)

    def wait(self) -> None:
        """Wait until all runs have ended."""
        for thread in list(self._threads.values()):
            thread.join()

    def stop(self) -> None:
        """End all recorders in order, and wait for their files."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        for child in list(self._children.values()):
            child.terminate()
        for thread in list(self._threads.values()):
            thread.join(END_WITHIN_S)

    # ----------------------------------------------------------------------------------- one run

    def _start_thread(self, run: Run, work: Callable[[], object]) -> None:
        """Start a run's work in a thread."""

        def main() -> None:
            try:
                work()
            except CaptureError as error:
                log.warning("the run of %s could not be noted: %s", run.job_name, error)
            finally:
                self._threads.pop(run.id, None)

        thread = threading.Thread(target=main, name=f"capture-run-{run.id}", daemon=True)
        self._threads[run.id] = thread
        thread.start()

    def _miss(self, job: Job, run: Run, message: str) -> Run:
        return self._conclude(job, run, Outcome(Status.MISSED, message=message))

    def _run(self, job: Job, run: Run, child: Child | None, *, is_here: bool = False) -> Run:
        self._enter(job, run)
        try:
            if child is not None:
                outcome = self._unless_stopped(repaired(run, self._await(run, child)))
                run, outcome = self._record_rest(job, run, outcome)
            elif self._may_begin(job, run):
                run, outcome = self._attempts(job, run)
            elif self._stop.is_set() and not is_here:
                return run  # the next daemon decides about it
            elif self._stop.is_set():
                outcome = Outcome(Status.INTERRUPTED, message=ENDED_BEFORE)
            else:
                outcome = Outcome(Status.SKIPPED, message="the run before was still going on")
        finally:
            self._leave(job, run)
        return self._conclude(job, run, outcome)

    def _attempts(self, job: Job, run: Run) -> tuple[Run, Outcome]:
        """Record, with retries where that fails."""
        warning = retention.forecast(self._store, job, job.for_s)
        wait_s = job.retry_wait_s
        while True:
            run, outcome = self._record(job, run, job.for_s)
            has_more = run.attempt <= job.retries and not self._stop.is_set()
            if outcome.status is not Status.FAILED or not has_more:
                break
            run = self._store.change(
                run,
                message=f"tried again in {wait_s:g} s: {outcome.message}",
                paths=_all_paths(outcome, run),
            )
            if self._clock.wait(self._stop, wait_s):
                break
            wait_s *= 2
            run = replace(run, attempt=run.attempt + 1)
        if warning is not None:
            outcome = replace(outcome, findings=(warning, *outcome.findings))
        return run, outcome

    def _record(self, job: Job, run: Run, length_s: float | None) -> tuple[Run, Outcome]:
        """Start one recorder and wait for its end."""
        now = self._clock.now()
        begins = max(now, run.due)
        output = job.place.folder if job.is_voice else self._free_name(job, begins)
        spec = job.spec_of_run(output, run.due if run.due > now else None, length_s)
        self._expect_end(job, run, begins, length_s)
        if job.is_voice and run.due > now:
            wait_s = (run.due - now).total_seconds() - VOICE_LEAD_S
            if self._clock.wait(self._stop, wait_s):
                return run, Outcome(Status.INTERRUPTED, message=ENDED_BEFORE)
        run = self._store.change(
            run,
            status=Status.RUNNING,
            attempt=run.attempt,
            started_s=self._clock.now().timestamp(),
            output=str(output),
            pid=None,
        )
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            child = self._launch(spec, run, self._store.runs_folder)
        except OSError as error:
            return run, Outcome(Status.FAILED, message=f"the recorder did not start: {error}")
        run = self._store.change(
            run, pid=child.pid, pid_started=process_start(child.pid), boot_id=boot_id()
        )
        self._on_change(run)
        outcome = self._await(run, child)
        self._names.discard(output)
        return run, self._unless_stopped(repaired(run, outcome))

    def _await(self, run: Run, child: Child) -> Outcome:
        self._children[run.id] = child
        if self._stop.is_set():
            child.terminate()  # it came while everything was being ended
        try:
            exit_code = child.wait()
        finally:
            del self._children[run.id]
        return read_outcome(self._store.runs_folder, run, exit_code)

    def _unless_stopped(self, outcome: Outcome) -> Outcome:
        """The outcome; a recorder that was ended before it had anything has not failed."""
        if not self._stop.is_set() or outcome.has_result or outcome.status is not Status.FAILED:
            return outcome
        message = ENDED_EARLY if outcome.paths else ENDED_BEFORE
        return replace(outcome, status=Status.INTERRUPTED, message=message)

    def _record_rest(self, job: Job, run: Run, before: Outcome) -> tuple[Run, Outcome]:
        """Record the rest of an interrupted run, if the job's policy is to run late."""
        is_wanted = job.missed is Missed.RUN_LATE and not self._stop.is_set()
        if before.has_result or not is_wanted or job.for_s is None:
            return run, before
        end = run.due + timedelta(seconds=job.for_s)
        left_s = (end - self._clock.now()).total_seconds()
        if left_s < GO_ON_S:
            return run, before
        run, rest = self._record(job, replace(run, attempt=run.attempt + 1), round(left_s, 1))
        message = "; ".join(filter(None, (before.message, rest.message, "the rest was recorded")))
        return run, replace(
            rest,
            paths=(*before.paths, *rest.paths),
            size_bytes=(before.size_bytes or 0) + (rest.size_bytes or 0),
            length_s=(before.length_s or 0.0) + (rest.length_s or 0.0),
            findings=(*before.findings, *rest.findings),
            status=Status.RECOVERED if rest.status.is_success else rest.status,
            message=message,
        )

    def _conclude(self, job: Job, run: Run, outcome: Outcome) -> Run:
        """Record the end, call hooks and delete old files; once, in whichever process is first."""
        facts = asdict(outcome) | {"paths": _all_paths(outcome, run)}
        facts["ended_s"] = self._clock.now().timestamp() if run.ended_s is None else run.ended_s
        facts["started_s"] = run.started_s if outcome.began_s is None else outcome.began_s
        del facts["began_s"], facts["has_result"]
        ended = self._store.finish(run, **facts)
        if ended is None:
            return run
        self._store.add_recordings(ended, map(Path, ended.paths))
        if ended.status.is_success:  # what is good is never deleted for something that is not
            retention.remove_old(self._store, job)
        retention.forget_old_runs(self._store, job)
        self._store.runs_folder.mkdir(parents=True, exist_ok=True)
        problem = hooks.call_hook(job, ended, log_paths(self._store.runs_folder, ended.id)[1])
        if problem is not None:
            ended = self._store.change(ended, findings=(*ended.findings, problem))
        hooks.notify(job, ended)
        self._on_change(ended)
        return ended

    # -------------------------------------------------------------------------- runs beside a run

    def _enter(self, job: Job, run: Run) -> None:
        with self._changed:
            self._going.setdefault(job.id, {})[run.id] = None

    def _leave(self, job: Job, run: Run) -> None:
        with self._changed:
            self._going[job.id].pop(run.id, None)
            self._changed.notify_all()

    def _expect_end(self, job: Job, run: Run, begins: datetime, length_s: float | None) -> None:
        if length_s is not None:
            with self._changed:
                self._going[job.id][run.id] = begins + timedelta(seconds=length_s)

    def _may_begin(self, job: Job, run: Run) -> bool:
        """Whether a run may begin beside the earlier ones, by the job's policy.

        A run is started a little before it is due; one before it that will have ended by then is
        not in its way.
        """
        if job.overlap is Overlap.PARALLEL:
            return not self._stop.is_set()
        with self._changed:
            left_s: float | None = None
            if job.overlap is not Overlap.QUEUE:
                left_s = (run.due - self._clock.now()).total_seconds() + OVERLAP_SLACK_S
                left_s = max(0.0, left_s)
            elif self._before(job, run):
                self._store.change(run, status=Status.QUEUED)
            self._changed.wait_for(
                lambda: self._stop.is_set() or not self._before(job, run), left_s
            )
            return not self._stop.is_set() and not self._before(job, run)

    def _before(self, job: Job, run: Run) -> list[int]:
        """Earlier runs that will still run when this one is due."""
        earlier = takewhile(lambda going: going[0] != run.id, self._going[job.id].items())
        return [run_id for run_id, ends in earlier if ends is None or ends > run.due]

    def _free_name(self, job: Job, begins: datetime) -> Path:
        """A path that neither exists nor belongs to another run."""
        with self._changed:
            path = wished = free_path(job.output(begins))
            number = 1
            while path in self._names or path.exists():
                number += 1
                path = numbered(wished, number)
            self._names.add(path)
            return path


def _all_paths(outcome: Outcome, run: Run) -> tuple[str, ...]:
    """The files of an attempt, then those of the attempts before it."""
    return tuple(dict.fromkeys((*map(str, outcome.paths), *run.paths)))


class _EndedRecorder:
    """A recorder that ended while no daemon ran."""

    pid = 0

    def wait(self) -> int | None:
        """Return at once; the exit code is not known."""
        return None

    def terminate(self) -> None:
        """Do nothing; the recorder has ended."""

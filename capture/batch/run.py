"""Many jobs, one result each: whatever happens to one of them, the others are done.

``run_batch`` takes any ``concurrent.futures.Executor``: ``Workers`` (processes here), ``Cluster``
(a Dask cluster), or threads. It owns how jobs are handed out: a few at a time, several small ones
together, and those that were with a process that died again, one by one, until it is known which
of them killed it.

A job is any picklable value, its work a function at the top level of a module; what it raises
becomes the error of that one job.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence, Sized
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    wait,
)
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from capture.batch.executors import Workers, usable_processors
from capture.errors import BackendUnavailableError, CaptureError, explain_system_error
from capture.hints import Advice

J = TypeVar("J")
R = TypeVar("R")

POLL_S = 0.1
"""Time between two checks for a stop; too short for a person to notice."""
CHUNK_S = 0.25
"""A worker returns what it has of a chunk after this long: seldom enough that handing over, 0.1 ms,
costs nothing, often enough for a bar that moves."""
LARGEST_CHUNK = 64
"""Jobs that may have to run again, one by one, when one of them kills its process."""
CHUNKS_A_WORKER = 2
"""One being done and one waiting, so that no worker waits for us."""
DEATHS_IN_A_ROW = 10
"""After so many deaths without a result in between, no process can live here."""


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, in values that can be sent between processes and machines."""

    kind: str
    """The name of the class of the error."""
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class JobResult(Generic[J, R]):
    """The outcome of one job: a value, or an error."""

    job: J
    value: R | None
    error: JobError | None
    elapsed_s: float
    is_again: bool = False
    """The job may have been done before, by a process that died before it could report."""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """How many jobs of a batch were done, and how many failed."""

    done: int
    failed: int
    elapsed_s: float
    is_stopped: bool = False
    """The batch was stopped before its last job."""


DIED = JobError(
    "WorkerDiedError",
    "the process that worked on it died: a codec crashed, or there was no memory left",
    "the others are not affected; report the file if it happens to it alone",
)


def error_of(error: BaseException) -> JobError:
    """An exception as a ``JobError``."""
    kind = type(error).__name__
    if isinstance(error, CaptureError):
        return JobError(kind, error.message, error.hint)
    if isinstance(error, OSError) and (explained := explain_system_error(error)):
        return JobError(kind, *explained)
    return JobError(kind, f"{kind}: {error}", Advice.REPORT.with_())


def run_batch(
    jobs: Iterable[J],
    work: Callable[[J], R],
    executor: Executor,
    *,
    on_result: Callable[[JobResult[J, R]], None],
    on_poll: Callable[[], None] = lambda: None,
    on_loss: Callable[[Sequence[J]], None] = lambda _: None,
    workers: int | None = None,
    stop: threading.Event | None = None,
) -> BatchReport:
    """Do all jobs; gives how many came to which end. The executor stays the caller's.

    Args:
        jobs: Taken only as fast as they are done; a hundred thousand of them do not queue up.
        work: Does one job; a function at the top level of a module. What it raises is the job's.
        executor: Where.
        on_result: Called here, in the caller's thread, once for every job, as they end.
        on_poll: Called here at least every ``POLL_S``.
        on_loss: Called here with jobs that were begun, perhaps, and whose processes have ended
            before the jobs did: what they have left behind can be cleared.
        workers: How many jobs run at a time; by default the executor's ``workers``.
        stop: Set, from anywhere, it ends the batch: nothing is handed out any more, ``Workers``
            are ended at once, and what runs elsewhere is waited for.

    Raises:
        BackendUnavailableError: No process lives long enough for any job.
    """
    count = workers or getattr(executor, "workers", None) or usable_processors()
    batch = _Batch(jobs, work, executor, count, on_result=on_result, on_loss=on_loss)
    return batch.run(stop or threading.Event(), on_poll)


@dataclass(slots=True)
class _Item(Generic[J]):
    """A job of the batch, and whether it is tried again."""

    job: J
    is_again: bool = False


class _Batch(Generic[J, R]):
    """The state of a running batch: jobs in progress, jobs to be repeated, and counts."""

    def __init__(
        self,
        jobs: Iterable[J],
        work: Callable[[J], R],
        executor: Executor,
        workers: int,
        *,
        on_result: Callable[[JobResult[J, R]], None],
        on_loss: Callable[[Sequence[J]], None],
    ) -> None:
        self._jobs = (_Item(job) for job in jobs)
        self._left = len(jobs) if isinstance(jobs, Sized) else None
        self._work = work
        self._executor = executor
        self._workers = workers
        self._on_result = on_result
        self._on_loss = on_loss
        self._running: dict[Future[list[JobResult[J, R]]], list[_Item[J]]] = {}
        self._returned: deque[_Item[J]] = deque()
        """Jobs that were handed out and came back undone."""
        self._suspects: deque[_Item[J]] = deque()
        """Jobs that were with a process that died; tried one at a time."""
        self._chunk = 1
        self._done = self._failed = self._deaths = 0

    def run(self, stop: threading.Event, on_poll: Callable[[], None]) -> BatchReport:
        begun_s = time.monotonic()
        try:
            while not stop.is_set():
                self._hand_out()
                if not self._running:
                    break
                wait(self._running, POLL_S, FIRST_COMPLETED)
                self._collect()
                on_poll()
        finally:
            self._abandon()
        elapsed_s = time.monotonic() - begun_s
        is_stopped = stop.is_set() and bool(self._suspects or self._take(1))
        return BatchReport(self._done, self._failed, elapsed_s, is_stopped)

    # ------------------------------------------------------------------------------- handing out

    def _hand_out(self) -> None:
        """Hand out jobs until all workers are busy; suspects one at a time."""
        if self._suspects:
            if not self._running:
                self._submit([self._suspects.popleft()])
            return
        while len(self._running) < self._workers * CHUNKS_A_WORKER:
            chunk = self._take(self._chunk_size())
            if not chunk:
                return
            self._submit(chunk)

    def _chunk_size(self) -> int:
        if self._left is None:
            return self._chunk
        share = (self._left + len(self._returned)) // (self._workers * CHUNKS_A_WORKER)
        return max(1, min(self._chunk, share))  # the last ones are for all workers

    def _take(self, count: int) -> list[_Item[J]]:
        chunk = [self._returned.popleft() for _ in range(min(count, len(self._returned)))]
        fresh = list(islice(self._jobs, count - len(chunk)))
        if self._left is not None:
            self._left -= len(fresh)
        return chunk + fresh

    def _submit(self, chunk: list[_Item[J]]) -> None:
        jobs = [item.job for item in chunk]
        self._running[self._executor.submit(_run_chunk, self._work, jobs)] = chunk

    # -------------------------------------------------------------------------------- collecting

    def _collect(self) -> None:
        """Take the chunks that have ended, in the order in which they were handed out."""
        lost: list[_Item[J]] = []
        death: BrokenExecutor | None = None
        for future in [future for future in self._running if future.done()]:
            chunk = self._running.pop(future)
            try:
                results = future.result()
            except BrokenExecutor as error:
                lost += chunk
                death = error
            except (Exception, CancelledError) as error:  # noqa: BLE001 - of any executor
                self._retry_alone(chunk, error_of(error))
            else:
                self._account(chunk, results)
        if death is not None:
            self._handle_death(lost, death)

    def _account(self, chunk: list[_Item[J]], results: list[JobResult[J, R]]) -> None:
        """Report the finished jobs of a chunk, requeue the rest, and adapt the chunk size."""
        self._deaths = 0
        undone = chunk[len(results) :]
        self._returned.extendleft(reversed(undone))
        if undone:
            self._chunk = max(1, len(results) // 2)
        elif sum(result.elapsed_s for result in results) < CHUNK_S / 2:
            self._chunk = min(LARGEST_CHUNK, 2 * self._chunk)
        for item, result in zip(chunk, results, strict=False):
            self._report(item, result.value, result.error, result.elapsed_s)

    def _report(
        self, item: _Item[J], value: R | None, error: JobError | None, elapsed_s: float
    ) -> None:
        if error is None:
            self._done += 1
        else:
            self._failed += 1
        # The caller's own job, not the copy that has been to another process.
        self._on_result(JobResult(item.job, value, error, elapsed_s, item.is_again))

    def _retry_alone(self, chunk: list[_Item[J]], error: JobError) -> None:
        """Handle a chunk that failed as a whole: one job has failed, several are tried alone."""
        if len(chunk) == 1:
            self._report(chunk[0], None, error, 0.0)
            return
        for item in chunk:
            item.is_again = True
        self._suspects.extend(chunk)

    def _handle_death(self, lost: list[_Item[J]], death: BrokenExecutor) -> None:
        """Handle a dead process: all jobs of its pool are suspects."""
        self._deaths += 1
        if isinstance(self._executor, Workers):
            self._executor.abandon()  # until the last of its processes has gone
        for chunk in self._running.values():  # they were there too, and only fail later
            lost += chunk
        self._running.clear()
        self._on_loss([item.job for item in lost])
        if self._deaths >= DEATHS_IN_A_ROW:
            raise BackendUnavailableError(
                "the worker processes die before they do anything",
                hint=Advice.FEWER_WORKERS.with_(),
                details={"error": str(death)},
            ) from death
        if len(lost) == 1:
            # Found; those that were suspected with it are as good as any other.
            self._returned.extendleft(reversed(self._suspects))
            self._suspects.clear()
        self._retry_alone(lost, DIED)

    def _abandon(self) -> None:
        """End what is running: ``Workers`` at once, other executors after the present job."""
        if not self._running:
            return
        if isinstance(self._executor, Workers):
            self._executor.abandon()
        else:
            wait([future for future in self._running if not future.cancel()])
        begun: list[_Item[J]] = []
        for future, chunk in self._running.items():
            try:
                self._account(chunk, future.result(0))
            except (Exception, CancelledError):  # noqa: BLE001 - of any executor
                begun += chunk
        self._running.clear()
        self._returned.extend(begun)
        if isinstance(self._executor, Workers):
            self._on_loss([item.job for item in begun])


def _run_chunk(work: Callable[[J], R], jobs: Sequence[J]) -> list[JobResult[J, R]]:
    """Do the jobs of a chunk in the worker, as many as fit into ``CHUNK_S``."""
    results: list[JobResult[J, R]] = []
    begun_s = time.monotonic()
    for job in jobs:
        job_s = time.monotonic()
        value, error = None, None
        try:
            value = work(job)
        except Exception as failure:  # noqa: BLE001 - it is this job's result
            error = error_of(failure)
        now_s = time.monotonic()
        results.append(JobResult(job, value, error, now_s - job_s))
        if now_s - begun_s > CHUNK_S:
            break
    return results

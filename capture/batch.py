"""Many jobs, one result each: whatever happens to one of them, the others are done.

``run_batch`` takes any ``concurrent.futures.Executor``: ``Workers`` (processes here), ``Cluster``
(a Dask cluster), or threads. It owns how jobs are handed out: a few at a time, several small ones
together, and those that were with a process that died again, one by one, until it is known which
of them killed it.

A job is any picklable value, its work a function at the top level of a module; what it raises
becomes the error of that one job.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    wait,
)
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from capture.errors import BackendUnavailableError, CaptureError, explain_system_error
from capture.model.extraction import ExtractedPart, ExtractResult, Span

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

    from capture.specs.extraction import ExtractJob

__all__ = [
    "BatchReport",
    "Cluster",
    "JobError",
    "JobResult",
    "Workers",
    "error_of",
    "extract_file",
    "run_batch",
    "usable_processors",
]

J = TypeVar("J")
R = TypeVar("R")

POLL_S = 0.1
"""How often somebody who waits may look whether to stop: at once, for a person."""
CHUNK_S = 0.25
"""A worker returns what it has of a chunk after this long: seldom enough that handing over, 0.1 ms,
costs nothing, often enough for a bar that moves."""
LARGEST_CHUNK = 64
"""Jobs that may have to run again, one by one, when one of them kills its process."""
CHUNKS_A_WORKER = 2
"""One being done and one waiting, so that no worker waits for us."""
DEATHS_IN_A_ROW = 10
"""So many processes die without a single result in between only where no process can live."""
CONNECT_TIMEOUT_S = 5.0
"""For a cluster's scheduler; Dask's own default is 30 s, too long for a wrong address."""


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed; what survives the way from another process or machine."""

    kind: str
    """The name of the class of the error."""
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class JobResult(Generic[J, R]):
    """What came of one job: a value, or an error."""

    job: J
    value: R | None
    error: JobError | None
    elapsed_s: float
    is_again: bool = False
    """It may have been done before, by a process that died before it could tell."""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """How many jobs of a batch came to which end."""

    done: int
    failed: int
    elapsed_s: float
    is_stopped: bool = False
    """Told to stop before the last job."""


DIED = JobError(
    "WorkerDiedError",
    "the process that worked on it died: a codec crashed, or there was no memory left",
    "the others are not affected; report the file if it happens to it alone",
)


def usable_processors() -> int:
    """How many processors this process may use; at least one."""
    if hasattr(os, "sched_getaffinity"):  # not on Windows and macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def error_of(error: BaseException) -> JobError:
    """An exception as it goes into a report."""
    if isinstance(error, CaptureError):
        return JobError(type(error).__name__, error.message, error.hint)
    if isinstance(error, OSError) and (told := explain_system_error(error)):
        return JobError(type(error).__name__, *told)
    return JobError(
        type(error).__name__,
        f"{type(error).__name__}: {error}",
        "run it alone with --debug to see where, and report it",
    )


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
        workers: How many jobs run at a time; by default what the executor says (``workers``).
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
    """A job on its way."""

    job: J
    is_again: bool = False


class _Batch(Generic[J, R]):
    """A batch that runs."""

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
        """Handed out and given back undone."""
        self._suspects: deque[_Item[J]] = deque()
        """They were with a process that died; one at a time from now on."""
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
        """As much as keeps all workers busy; of suspects only one at a time."""
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
        """Take what has ended, in the order in which it was handed out."""
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
                self._doubt(chunk, error_of(error))
            else:
                self._account(chunk, results)
        if death is not None:
            self._bury(lost, death)

    def _account(self, chunk: list[_Item[J]], results: list[JobResult[J, R]]) -> None:
        """Report what is done of a chunk, keep the rest for later, and learn how much fits."""
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

    def _doubt(self, chunk: list[_Item[J]], error: JobError) -> None:
        """A chunk failed as a whole: a job alone is to blame, of several each is tried alone."""
        if len(chunk) == 1:
            self._report(chunk[0], None, error, 0.0)
            return
        for item in chunk:
            item.is_again = True
        self._suspects.extend(chunk)

    def _bury(self, lost: list[_Item[J]], death: BrokenExecutor) -> None:
        """A process has died, and with it its pool; all that were there may be to blame."""
        self._deaths += 1
        if isinstance(self._executor, Workers):
            self._executor.abandon()  # until the last of its processes has gone
        for chunk in self._running.values():  # they were there too, and are only told later
            lost += chunk
        self._running.clear()
        self._on_loss([item.job for item in lost])
        if self._deaths >= DEATHS_IN_A_ROW:
            raise BackendUnavailableError(
                "the worker processes die before they do anything",
                hint="is there memory left? try --jobs 1, or one file alone",
                details={"error": str(death)},
            ) from death
        if len(lost) == 1:
            # Found; those that were suspected with it are as good as any other.
            self._returned.extendleft(reversed(self._suspects))
            self._suspects.clear()
        self._doubt(lost, DIED)

    def _abandon(self) -> None:
        """Let go of what runs: ``Workers`` are ended, everybody else finishes the job at hand."""
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
    """In the worker: the jobs one after the other, as many as fit into ``CHUNK_S``."""
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


def extract_file(job: ExtractJob) -> ExtractResult:
    """Work: the sound out of one file, unless it has been taken out before, just so.

    Raises:
        CaptureError: As ``capture.media.extract.job.extract``.
    """
    from capture.media.extract.extracted import settle  # noqa: PLC0415 - the same
    from capture.media.extract.job import (  # noqa: PLC0415 - for workers only
        draw_waveform,
        extract,
    )

    settled, there = settle(job)
    if not there:
        return _noted(extract(settled), job, settled)
    if job.with_picture:
        for path in there:
            if not path.with_suffix(".png").exists():
                draw_waveform(path)
    nowhere = Span(0.0, 0.0)
    parts = [ExtractedPart(path, nowhere, 0.0, "", path.stat().st_size) for path in there]
    return ExtractResult(job.source, tuple(parts), (), 0.0, is_skipped=True)


def _noted(result: ExtractResult, asked: ExtractJob, done: ExtractJob) -> ExtractResult:
    """A result that says if its name is not the one that it should have had."""
    if done.number == asked.number or not result.parts:
        return result
    name = result.parts[0].path.name
    note = f"it becomes {name}: the sound of another file has its name"
    return replace(result, warnings=(note, *result.warnings))


# ------------------------------------------------------------------------------------- executors


class Workers(Executor):
    """Processes on this machine; made anew when one of them dies. Used from one thread.

    They hold one end of a pipe whose other end is ours: when we end, killed or not, it closes, and
    they end too, in the middle of what they do. ^C does not reach them: it is ours to handle.

    Args:
        workers: How many.
        preload: Names of modules that every one of them loads when it starts.
    """

    def __init__(self, workers: int, preload: Sequence[str] = ()) -> None:
        self.workers = workers
        self._preload = tuple(preload)
        self._pool: ProcessPoolExecutor | None = None
        self._lifeline: Any = None  # connections, which have another class on Windows
        self._their_end: Any = None

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """As every executor; a pool that has died is replaced."""
        _start_tracker()
        with _interrupts_held():  # what is started here starts deaf to ^C
            if self._pool is not None:
                try:
                    return self._pool.submit(fn, *args, **kwargs)
                except BrokenExecutor:
                    self.abandon()
            return self._open().submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the contract of every executor
        """End them when they have done what was handed out."""
        if self._pool is not None:
            self._pool.shutdown(wait, cancel_futures=cancel_futures)
            self._pool = None
        for end in (self._lifeline, self._their_end):
            if end is not None:
                end.close()
        self._lifeline = self._their_end = None

    def abandon(self) -> None:
        """End them now, whatever they do; returns when the last one is gone."""
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None
        self.shutdown()  # cancelling as well makes Python 3.11's pool trip over what it cancelled

    def _open(self) -> ProcessPoolExecutor:
        import multiprocessing  # noqa: PLC0415 - one file needs no processes
        from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415 - the same

        # Spawned on every system: a fork copies our threads' locks, and costs 0.1 s less, once.
        context = multiprocessing.get_context("spawn")
        self._their_end, self._lifeline = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(
            self.workers,
            mp_context=context,
            initializer=_begin_worker,
            initargs=(self._their_end, self._preload),
        )
        return self._pool


def _begin_worker(lifeline: Any, preload: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            lifeline.recv_bytes()
        os._exit(1)

    threading.Thread(target=watch, name="capture-lifeline", daemon=True).start()
    for module in preload:
        with contextlib.suppress(Exception):  # the job that needs it says what is wrong with it
            importlib.import_module(module)


def _start_tracker() -> None:
    """Have the process that ``multiprocessing`` keeps beside its workers.

    Started on the way, it would let ^C through again, and the first workers would hear it.
    """
    if sys.platform != "win32":  # there is none
        from multiprocessing import resource_tracker  # noqa: PLC0415 - one file needs no processes

        resource_tracker.ensure_running()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """SIGINT waits meanwhile; programs started here never get it."""
    if sys.platform == "win32":  # it has no masks; the initializer comes soon enough
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Cluster(Executor):
    """The workers of a Dask cluster, through its client's executor.

    They have to see the same files under the same names, and to have this package.

    Args:
        address: Of the scheduler, as ``tcp://host:8786``.
        timeout_s: How long it may take to answer; ``None``: ``CONNECT_TIMEOUT_S``.

    Raises:
        BackendUnavailableError: Dask is not installed, nobody answers, or there are no workers.
    """

    def __init__(self, address: str, timeout_s: float | None = None) -> None:
        try:
            import distributed  # noqa: PLC0415 - optional, and slow to load
        except ImportError as error:
            raise BackendUnavailableError(
                "Dask is not installed", hint="pip install 'deskcapture[cluster]'"
            ) from error
        try:
            self._client = distributed.Client(
                address, timeout=timeout_s or CONNECT_TIMEOUT_S, set_as_default=False
            )
        except (OSError, ValueError) as error:
            raise BackendUnavailableError(
                f"no Dask scheduler answers at {address}",
                hint="start one with `dask scheduler`, and give its address as tcp://HOST:8786",
                details={"error": str(error)},
            ) from error
        self.workers = sum(self._client.nthreads().values())
        if not self.workers:
            self._client.close()
            raise BackendUnavailableError(
                f"the Dask scheduler at {address} has no workers",
                hint=f"start some with `dask worker {address}`",
            )
        self._executor: Executor = self._client.get_executor()

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """As every executor."""
        return self._executor.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the contract of every executor
        """Leave the cluster; it goes on without us."""
        del cancel_futures  # Dask's executor cancels what it does not wait for
        self._executor.shutdown(wait)
        self._client.close()

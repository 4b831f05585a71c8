"""Where the jobs of a batch run: processes on this machine, or a Dask cluster."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import TYPE_CHECKING, Any, TypeVar

from capture.errors import BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import ProcessPoolExecutor


R = TypeVar("R")

CONNECT_TIMEOUT_S = 5.0
"""For a cluster's scheduler; Dask's own default is 30 s, too long for a wrong address."""


def usable_processors() -> int:
    """How many processors this process may use; at least one."""
    if hasattr(os, "sched_getaffinity"):  # not on Windows and macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
        """Queue a call, as every ``concurrent.futures.Executor``; a dead pool is replaced."""
        _start_tracker()
        with _interrupts_held():  # what is started here starts deaf to ^C
            if self._pool is not None:
                try:
                    return self._pool.submit(fn, *args, **kwargs)
                except BrokenExecutor:
                    self.abandon()
            return self._open().submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the contract of every executor
        """End the processes when they have done the jobs that they were given."""
        if self._pool is not None:
            self._pool.shutdown(wait, cancel_futures=cancel_futures)
            self._pool = None
        for end in (self._lifeline, self._their_end):
            if end is not None:
                end.close()
        self._lifeline = self._their_end = None

    def abandon(self) -> None:
        """End the processes now, in the middle of a job; returns when the last one is gone."""
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
        with contextlib.suppress(Exception):  # the job that needs it reports the error
            importlib.import_module(module)


def _start_tracker() -> None:
    """Start the resource tracker of ``multiprocessing`` beforehand.

    Started later, by the first worker, it would let SIGINT through again, and the first workers
    would be interrupted by ^C.
    """
    if sys.platform != "win32":  # there is none
        from multiprocessing import resource_tracker  # noqa: PLC0415 - one file needs no processes

        resource_tracker.ensure_running()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Block SIGINT in this thread meanwhile; a program that is started here never gets it."""
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
        """Queue a call on the cluster, as every ``concurrent.futures.Executor``."""
        return self._executor.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the contract of every executor
        """Disconnect from the cluster, which keeps running."""
        del cancel_futures  # Dask's executor cancels what it does not wait for
        self._executor.shutdown(wait)
        self._client.close()

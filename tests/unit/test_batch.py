"""Batches: one result a job, whatever happens to the others, to the workers, or to us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from multiprocessing import resource_tracker
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from capture.batch.executors import Cluster, Workers
from capture.batch.run import BatchReport, JobResult, run_batch
from capture.errors import BackendUnavailableError
from tests.unit.jobs import work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).parents[2]

if sys.platform == "win32":
    pytest.skip("signals as they are elsewhere", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def _tracker() -> None:
    """Python's own watcher of shared memory: started once, it stays as long as we do."""
    resource_tracker.ensure_running()


@pytest.fixture
def workers() -> Iterator[Workers]:
    with Workers(2) as pool:
        yield pool


def do(
    jobs: Iterable[str], executor: Executor, **more: Any
) -> tuple[BatchReport, list[JobResult[str, Any]]]:
    results: list[JobResult[str, Any]] = []
    report = run_batch(jobs, work, executor, on_result=results.append, **more)
    return report, results


def test_every_job_has_its_result(workers: Workers) -> None:
    jobs = [f"double {n}" for n in range(500)]
    report, results = do(jobs, workers)
    assert (report.done, report.failed, report.is_stopped) == (500, 0, False)
    assert {r.job: r.value for r in results} == {f"double {n}": 2 * n for n in range(500)}
    assert len(results) == 500
    assert not any(r.is_again for r in results)


def test_a_failure_stops_nothing_and_keeps_its_hint(workers: Workers) -> None:
    report, results = do(["double 1", "fail 1", "double 2", "nonsense", "fail 2"], workers)
    assert (report.done, report.failed) == (3, 2)
    errors = {r.job: r.error for r in results if r.error}
    assert sorted(errors) == ["fail 1", "fail 2"]
    one = errors["fail 1"]
    assert (one.kind, one.message, one.hint) == (
        "DamagedFileError",
        "fail 1 is broken",
        "mend it",
    )


def test_a_result_that_cannot_be_handed_over_fails_alone(workers: Workers) -> None:
    jobs = [f"double {n}" for n in range(100)]
    report, results = do([*jobs[:60], "unpicklable", *jobs[60:]], workers)
    assert (report.done, report.failed) == (100, 1)
    (failed,) = [r for r in results if r.error]
    assert failed.job == "unpicklable"
    assert len({r.job for r in results}) == len(results) == 101


@pytest.mark.parametrize("where", [{0}, {37}, {99}, {10, 11, 80}])
def test_a_job_that_kills_its_process_is_found_and_the_others_go_on(
    where: set[int], workers: Workers
) -> None:
    jobs = [f"crash {n}" if n in where else f"double {n}" for n in range(100)]
    lost: list[str] = []
    report, results = do(jobs, workers, on_loss=lost.extend)
    assert (report.done, report.failed) == (100 - len(where), len(where))
    failed = {r.job: r.error for r in results if r.error}
    assert set(failed) == {f"crash {n}" for n in where}
    assert {error.kind for error in failed.values()} == {"WorkerDiedError"}
    assert len({r.job for r in results}) == len(results) == 100
    assert set(failed) <= set(lost)
    # What was with the killer, and only that, may have been done twice.
    assert {r.job for r in results if r.is_again} <= set(lost)


def test_where_no_process_lives_it_ends(workers: Workers) -> None:
    with pytest.raises(BackendUnavailableError, match="die") as caught:
        do([f"crash {n}" for n in range(40)], workers)
    assert caught.value.hint


def test_jobs_are_taken_as_fast_as_they_are_done(workers: Workers) -> None:
    taken = done = furthest = 0

    def jobs() -> Iterator[str]:
        nonlocal taken
        for number in range(3000):
            taken += 1
            yield f"double {number}"

    def on_result(_: JobResult[str, Any]) -> None:
        nonlocal done, furthest
        done += 1
        furthest = max(furthest, taken - done)

    run_batch(jobs(), work, workers, on_result=on_result)
    assert done == 3000
    assert furthest <= 64 * 5


class Direct(Executor):
    """An executor of one's own, as simple as can be.

    Attributes:
        chunks: What was handed over, and what came back done.
    """

    def __init__(self) -> None:
        self.chunks: list[tuple[list[str], list[str]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        done = fn(*args, **kwargs)
        self.chunks.append((list(args[-1]), [result.job for result in done]))
        future.set_result(done)
        return future


def test_any_executor_will_do() -> None:
    jobs = ["double 1", "fail 1", "double 3"]
    with ThreadPoolExecutor(2) as threads:
        assert do(jobs, threads)[0].failed == 1
    assert do(jobs, Direct(), workers=1)[0].done == 2


@pytest.mark.parametrize("long_at", [100, 399, 150])
def test_a_long_job_gives_its_neighbours_back(
    long_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short ones first, so that chunks have grown."""
    passed_s = 0.0

    def step(job: str) -> str:
        nonlocal passed_s
        passed_s += float(job.partition(" ")[2])
        return job

    monkeypatch.setattr("capture.batch.run.time", SimpleNamespace(monotonic=lambda: passed_s))
    jobs = [f"{number} 0.0001" for number in range(400)]
    jobs[long_at] = long = f"{long_at} 30"
    executor, results = Direct(), list[JobResult[str, str]]()
    run_batch(iter(jobs), step, executor, workers=2, on_result=results.append)
    (at,) = (number for number, (_, done) in enumerate(executor.chunks) if long in done)
    handed, done = executor.chunks[at]
    assert len(handed) > 8
    assert done == handed[: handed.index(long) + 1]
    given_back = handed[len(done) :]
    again = [job for chunk, _ in executor.chunks[at + 1 :] for job in chunk]
    assert set(given_back) <= set(again)
    assert sorted(result.job for result in results) == sorted(jobs)


def test_stopping_ends_the_workers_at_once_and_reports_what_is_done(
    workers: Workers, tmp_path: Path
) -> None:
    stop = threading.Event()
    lost: list[str] = []

    def on_poll() -> None:
        if list(tmp_path.iterdir()):
            stop.set()

    jobs = ["double 1", "double 2", *[f"mark {tmp_path}"] * 3, *["double 3"] * 50]
    report, results = do(jobs, workers, stop=stop, on_poll=on_poll, on_loss=lost.extend)
    assert report.is_stopped
    assert report.done == len(results) < 55
    assert f"mark {tmp_path}" in lost
    for path in tmp_path.iterdir():
        assert not is_alive(int(path.stem))


def test_stopping_with_threads_lets_them_finish() -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        report, results = do(["sleep 0.2"] * 50, threads, stop=stop, workers=2, on_poll=stop.set)
    assert report.is_stopped
    assert 1 <= len(results) < 50
    assert report.done == len(results)


def test_an_error_of_ours_leaves_nothing_running(workers: Workers, tmp_path: Path) -> None:
    def on_poll() -> None:
        if list(tmp_path.iterdir()):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        do([f"mark {tmp_path}"] * 3, workers, on_poll=on_poll)
    for path in tmp_path.iterdir():
        assert not is_alive(int(path.stem))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_die_with_their_parent(number: int, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "tests.unit.jobs", str(tmp_path)], cwd=ROOT)
    try:
        assert eventually(lambda: len(list(tmp_path.iterdir())) == 2)
        pids = [int(path.stem) for path in tmp_path.iterdir()]
        assert all(map(is_alive, pids))
        process.send_signal(number)
        process.wait(5)
        assert eventually(lambda: not any(map(is_alive, pids)))
    finally:
        process.kill()
        process.wait()


def test_a_cluster_that_is_not_there_is_said_in_time() -> None:
    # Dask's own default is 30 s: the test's own limit notices that.
    with pytest.raises(BackendUnavailableError, match=r"tcp://127\.0\.0\.1:9") as caught:
        Cluster("tcp://127.0.0.1:9", timeout_s=0.5)
    assert caught.value.hint
    with pytest.raises(BackendUnavailableError, match="no Dask scheduler answers"):
        Cluster("nonsense://", timeout_s=0.5)


def eventually(is_so: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_alive(pid: int) -> bool:
    """Whether it runs; what has ended and not been waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False

"""Part ``schedule``: what a full schedule costs, listed and waited on."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from capture.schedule.jobs import Job, Status
from capture.schedule.store import Store
from capture.specs.recording import AudioSpec, RecordingSpec
from scripts.benchmark.processes import cpu_s
from scripts.benchmark.report import Spread, say, spread, table

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["measure_schedule", "show_schedule"]

JOBS = 1000
SCHEDULE = (sys.executable, "-m", "capture", "schedule")
DUE_IN_S = 6.0
STEADY_AFTER_S = 5.0
"""The daemon has read its jobs by then."""


def measure_schedule(folder: Path, *, seconds: float, times: int) -> dict[str, Any]:
    """Seconds of ``capture schedule list``, and CPU seconds a second of an idle daemon."""
    database = folder / "schedule.sqlite"
    say(f"schedule: {JOBS} jobs")
    now_s = time.time()  # jobs without it have been due since 1970
    with Store(database) as store:
        for number in range(JOBS):
            job = Job(
                f"job-{number}", "weekdays 09:00", "Europe/Berlin", RecordingSpec(folder / "x.mp4")
            )
            store.add(dataclasses.replace(job, created_s=now_s, active_s=now_s))
    lists = [_list_s(database) for _ in range(times)]
    say("schedule: an idle daemon")
    command = [*SCHEDULE, "serve", "--database", str(database)]
    daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        time.sleep(STEADY_AFTER_S)
        begun_s, used_s = time.monotonic(), cpu_s(daemon.pid)
        time.sleep(seconds)
        idle = (cpu_s(daemon.pid) - used_s) / (time.monotonic() - begun_s)
    finally:
        daemon.terminate()
        daemon.wait()
    say("schedule: a job that is due")
    late = [_late_s(folder / f"due-{number}") for number in range(times)]
    return {
        "jobs": JOBS,
        "times": times,
        "list_s": spread(lists),
        "seconds": seconds,
        "idle": idle,
        "late_s": spread(late),
    }


def show_schedule(found: dict[str, Any]) -> str:
    """As a table: CPU time is of one core."""
    rows = [
        ["list, seconds", f"{Spread(**found['list_s']):.2f}"],
        ["serve, nothing due: CPU", f"{found['idle']:.2%}"],
        ["recording begins after its time, seconds", f"{Spread(**found['late_s']):.2f}"],
    ]
    return table([f"capture schedule, {found['jobs']} jobs", ""], rows)


def _late_s(folder: Path) -> float:
    """How long after its time a recording begins, without devices."""
    database = folder / "schedule.sqlite"
    folder.mkdir()
    due = (datetime.now(UTC) + timedelta(seconds=DUE_IN_S)).replace(microsecond=0)
    now_s = time.time()
    spec = RecordingSpec(
        folder / "films" / "due.m4a", None, (AudioSpec("synthetic"),), duration_s=1.0
    )
    with Store(database) as store:
        job = Job("due", due.isoformat(), "UTC", spec, created_s=now_s, active_s=now_s)
        job = store.add(job)
        daemon = subprocess.Popen(
            [*SCHEDULE, "serve", "--database", str(database)], stderr=subprocess.DEVNULL
        )
        try:
            while not (runs := store.runs(job)) or runs[0].ended_s is None:
                time.sleep(0.1)
        finally:
            daemon.terminate()
            daemon.wait()
    (done,) = runs
    if done.status is not Status.DONE or done.started_s is None:
        sys.exit(f"bench: a scheduled recording failed: {done.message}")
    return done.started_s - done.due_s


def _list_s(database: Path) -> float:
    begun_s = time.monotonic()
    command = [*SCHEDULE, "list", "--database", str(database)]
    subprocess.run(command, capture_output=True, check=True)
    return time.monotonic() - begun_s

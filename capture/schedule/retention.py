"""Disk space of a job's recordings: deletes old ones, and forecasts the next one."""

import contextlib
import shutil
from pathlib import Path

from capture.errors import CaptureError, ConfigError
from capture.messages import Library
from capture.messages.journal import JOURNAL
from capture.schedule.child import log_paths
from capture.schedule.jobs import Job, Recording
from capture.schedule.store import Store

FORECAST_RUNS = 5
"""The largest of so many last runs is what the next one may be."""
FORECAST_MARGIN = 1.2
LEFT_FREE_BYTES = 200_000_000
"""Space that a recording leaves free (``RecordingSpec.min_free_bytes``)."""


def remove_old(store: Store, job: Job) -> list[Path]:
    """Delete the oldest recordings of a job beyond its limit; gives their paths.

    All files of one run count as one recording. A run that did not go well does not count: its
    files go with those of the good run that came next. Only what the history knows is looked at; a
    file that has changed since, or is another one by now, is left alone and belongs to its owner.
    """
    if job.keep is None:
        return []
    by_run: dict[int, list[Recording]] = {}
    for recording in store.recordings(job):
        if recording.path.exists():
            by_run.setdefault(recording.run_id, []).append(recording)
        else:
            store.forget_recording(recording)
    bad = {run.id for run in store.runs(job) if not run.status.is_success}
    good = [run_id for run_id in sorted(by_run) if run_id not in bad]
    newest_id = max(good[: -job.keep or None], default=0)  # ids begin with 1
    removed = []
    for run_id in [run_id for run_id in sorted(by_run) if run_id <= newest_id]:
        for recording in by_run[run_id]:
            if _is_unchanged(recording):
                with contextlib.suppress(OSError):
                    recording.path.unlink()
                    removed.append(recording.path)
            store.forget_recording(recording)
    _forget_messages(removed)
    return removed


def _forget_messages(paths: list[Path]) -> None:
    """Remove messages whose files were deleted from the library."""
    if not any((path.parent / JOURNAL).exists() for path in paths):
        return
    with contextlib.suppress(CaptureError), Library() as library:
        for path in paths:
            with contextlib.suppress(ConfigError):  # it was none
                library.purge(library.find(path))


def forecast(store: Store, job: Job, length_s: float | None) -> str | None:
    """A warning that the next run will not have enough disk space; ``None``: it will.

    Args:
        store: Knows the past.
        job: Whose next run.
        length_s: How long it will be; ``None``: as long as the longest one.
    """
    past = [run for run in store.runs(job, 4 * FORECAST_RUNS) if run.size_bytes and run.length_s]
    if not past:
        return None
    per_s = max((run.size_bytes or 0) / (run.length_s or 1.0) for run in past[:FORECAST_RUNS])
    expected_s = length_s or max(run.length_s or 0.0 for run in past[:FORECAST_RUNS])
    needed = per_s * expected_s * FORECAST_MARGIN
    place = next((p for p in (job.place.folder, *job.place.folder.parents) if p.exists()), None)
    if place is None:
        return None
    free = shutil.disk_usage(place).free - LEFT_FREE_BYTES
    if needed <= free:
        return None
    return (
        f"the disk will be full: this run needs about {needed / 1e6:.0f} MB, going by those "
        f"before, and there is room for {max(0, free) / 1e6:.0f} MB"
    )


def forget_old_runs(store: Store, job: Job) -> None:
    """Delete the oldest runs of a long history, with their logs."""
    for run_id in store.prune(job):
        for path in log_paths(store.runs_folder, run_id):
            path.unlink(missing_ok=True)


def _is_unchanged(recording: Recording) -> bool:
    try:
        found = recording.path.stat()
    except OSError:
        return False
    return (found.st_size, found.st_mtime_ns) == (recording.size_bytes, recording.changed_ns)

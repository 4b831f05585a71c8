"""How ``capture schedule`` shows jobs and runs: tables, local times, a few words for an end."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from capture.cli.app import say
from capture.cli.views import table_of
from capture.schedule.jobs import Job, Run, Status
from capture.schedule.store import Store
from capture.schedule.when import oddity_of, zone_of
from capture.specs.as_json import to_json
from capture.units import format_clock, format_size

__all__ = [
    "as_found",
    "ended",
    "length_of",
    "mention_daemon",
    "next_of",
    "plain_job",
    "print_runs",
    "print_table",
    "tell",
    "with_offsets",
]

MANY_ROWS = 100
"""Beyond, lines are not folded to the terminal's width: that takes 0.3 ms each."""
_NOBODY_SERVES = (
    "nothing serves this schedule now: run `capture schedule serve`, or install it with "
    "`capture schedule install`"
)


def tell(store: Store, job: Job, warnings: Sequence[str] = ()) -> None:
    """Say what a job that was added or changed will do, and what may keep it from that."""
    rule = job.rule
    due = job.next_due(datetime.now(UTC), rule)
    shown = "paused" if job.is_paused else "over" if due is None else local(due, job.zone)
    length = f"{length_of(job)} " if job.for_s is not None else ""
    say(f"{job.name}: next run {shown}, {length}to {job.place.folder}")
    for line in warnings:
        say(f"warning: {line}")
    odd = oddity_of(job.when, job.zone) if rule.once else None
    for line in ([odd] if odd else []) + rule.oddities(datetime.now(UTC)):
        say(f"note: {line}")
    mention_daemon(store)


def mention_daemon(store: Store) -> None:
    """Say that nothing serves the schedule, if that is so."""
    from capture.schedule.lock import serving_pid  # noqa: PLC0415 - only where needed

    if serving_pid(store.path) is None:
        say(_NOBODY_SERVES)


def local(moment: datetime, zone: str | None = None) -> str:
    """A moment on this machine's clocks, and on the job's where they differ."""
    here = moment.astimezone()
    text = f"{here:%a %Y-%m-%d %H:%M}" + (f":{here:%S}" if here.second else "")
    if zone is not None:
        there = moment.astimezone(zone_of(zone))
        if there.utcoffset() != here.utcoffset():
            text += f" ({there:%H:%M} in {zone})"
    return text


def next_of(job: Job, due: datetime | None) -> str:
    """When a job runs next, or why it does not."""
    if job.is_paused:
        return "paused"
    return "over" if due is None else local(due, job.zone)


def length_of(job: Job) -> str:
    """How long each recording is, as it would be written; or what is known instead."""
    if job.for_s is None:
        return "ends by itself" if job.has_end else "without end"
    minutes, seconds = divmod(round(job.for_s, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{number:g}{unit}" for number, unit in parts if number)


def ended(last: Run | None, *, with_path: bool = True) -> str:
    """How a run ended, in a few words."""
    if last is None:
        return "not yet"
    said = last.message or (last.findings[0] if last.findings else "")
    if with_path and last.status is Status.DONE and not said and last.paths:
        said = last.paths[0]
    return f"{last.status}: {said}" if said else str(last.status)


def with_offsets(rows: Sequence[tuple[datetime, Job]]) -> list[tuple[str, str, str]]:
    """Rows of ``next``; where the UTC offset of a job's zone changes, it is said."""
    offsets: dict[str, Any] = {}
    shown = []
    for due, job in rows:
        offset = f"{due.astimezone(job.rule_zone):%z}"
        before = offsets.setdefault(job.zone, f"{datetime.now(job.rule_zone):%z}")
        remark = ""
        if offset != before:
            remark = f"the clocks in {job.zone} have changed: UTC{before} to UTC{offset}"
            offsets[job.zone] = offset
        shown.append((local(due, job.zone), job.name, remark))
    return shown


def plain_job(job: Job, due: datetime | None, last: Mapping[int, Run]) -> dict[str, Any]:
    """A job as ``list --json`` gives it."""
    from capture.schedule.hooks import run_values  # noqa: PLC0415 - only where needed

    run = last.get(job.id)
    return {
        **dataclasses.asdict(job),
        "spec": to_json(job.spec),
        "next": None if due is None else due.isoformat(),
        "last": None if run is None else run_values(job, run),
    }


def as_found(store: Store, run: Run) -> Run:
    """The run; one that is noted as running, but has no recorder any more, says so."""
    from capture.schedule.child import find_pid  # noqa: PLC0415 - only where needed

    # Without the start of its process nobody can tell whether it lives.
    if run.status is not Status.RUNNING or run.pid_started is None:
        return run
    if find_pid(store.runs_folder, run) is not None:
        return run
    return dataclasses.replace(run, message="its recorder has ended")


def print_runs(runs: Sequence[Run]) -> None:
    """The history on stdout: a line a run, and below it its files and what there is to say.

    Those lines are never folded, so that a path can be copied.
    """
    if not runs:
        say("no runs yet")
        return
    lines = [("due", "length", "size", "result")]
    for run in runs:
        length = "" if run.length_s is None else format_clock(run.length_s)
        size = "" if run.size_bytes is None else format_size(run.size_bytes)
        tries = f", {run.attempt} attempts" if run.attempt > 1 else ""
        code = f", exit code {run.exit_code}" if run.exit_code else ""
        lines.append((local(run.due), length, size, f"{run.status}{tries}{code}"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    _print_cells(lines[0], widths)
    for run, line in zip(runs, lines[1:], strict=True):
        _print_cells(line, widths)
        for detail in (*run.paths, *filter(None, [run.message]), *run.findings):
            print(f"  {detail}")  # noqa: T201 - the result


def _print_cells(cells: Sequence[str], widths: Sequence[int]) -> None:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    print("  ".join(padded).rstrip())  # noqa: T201 - the result


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """A table on stdout; where it has no rows, a sentence on stderr."""
    if not rows:
        say(empty)
        return
    if len(rows) > MANY_ROWS:
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        for row in (columns, *rows):
            _print_cells(row, widths)
        return
    from rich.console import Console  # noqa: PLC0415 - slow to load

    table = table_of(*columns)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False, emoji=False).print(table)

"""How ``capture schedule`` shows jobs and runs: tables, local times, a few words for an end."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from capture.cli.app import say
from capture.cli.views import table_of
from capture.schedule.jobs import Job, Run, Status
from capture.schedule.when import oddity_of, zone_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from capture.schedule.store import Store

__all__ = [
    "ended",
    "local",
    "mention_daemon",
    "next_of",
    "plain_job",
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


def tell(store: Store, job: Job) -> None:
    """Say what a job that was added or changed will do."""
    rule = job.rule
    due = job.next_due(datetime.now(UTC), rule)
    shown = "paused" if job.is_paused else "over" if due is None else local(due, job.zone)
    say(f"{job.name}: next run {shown}, to {job.folder}")
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


def ended(last: Run | None) -> str:
    """How a run ended, in a few words."""
    if last is None:
        return "not yet"
    said = last.message or (last.findings[0] if last.findings else "")
    if last.status is Status.DONE and not said and last.paths:
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
    from capture.schedule.hooks import told  # noqa: PLC0415 - only where needed

    run = last.get(job.id)
    return {
        **dataclasses.asdict(job),
        "next": None if due is None else due.isoformat(),
        "last": None if run is None else told(job, run),
    }


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """A table on stdout; where it has no rows, a sentence on stderr."""
    if not rows:
        say(empty)
        return
    if len(rows) > MANY_ROWS:
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        for row in (columns, *rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print("  ".join(cells).rstrip())  # noqa: T201 - the result
        return
    from rich.console import Console  # noqa: PLC0415 - slow to load

    table = table_of(*columns)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)

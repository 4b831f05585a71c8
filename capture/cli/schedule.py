"""``capture schedule``: jobs on the command line; all that they do is in ``capture.schedule``."""

import contextlib
import dataclasses
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from capture.cli.app import print_error, say
from capture.cli.schedule_options import Options
from capture.cli.schedule_views import (
    as_found,
    ended,
    length_of,
    mention_daemon,
    next_of,
    plain_job,
    print_runs,
    print_table,
    tell,
    with_offsets,
)
from capture.cli.signals import StopSignals
from capture.cli.streams import detached_output
from capture.cli.views import print_json
from capture.errors import ConfigError
from capture.exit_codes import EXIT_DEAD_SOURCE, EXIT_FAILED, EXIT_INTERRUPTED
from capture.json_lines import json_line
from capture.schedule.jobs import Job, Run, Status, place_of
from capture.schedule.store import Store
from capture.schedule.when import local_zone

__all__ = ["schedule"]

schedule = App(name="schedule", help="Record at set times, unattended.", help_format="markdown")

NEXT_SHOWN, LOG_SHOWN = 10, 20
_EXIT_CODES = {
    Status.DONE: 0,
    Status.SILENT: EXIT_DEAD_SOURCE,
    Status.BLACK: EXIT_DEAD_SOURCE,
    Status.DEAD: EXIT_DEAD_SOURCE,
    Status.INTERRUPTED: EXIT_INTERRUPTED,
}
"""Of a run by hand; all other ends are failures."""
Database = Annotated[Path | None, Parameter(metavar="FILE")]
Flag = Annotated[bool, Parameter(negative="")]
Setting = Literal["for", "until", "runs", "keep", "to", "on-done", "on-fail"]
Words = Annotated[tuple[str, ...], Parameter(parse=False)]


@schedule.command
def add(
    when: str,
    /,
    *,
    name: str | None = None,
    options: Options | None = None,
    database: Database = None,
    words: Words = (),
) -> int:
    """Add a job: what follows `--` are the options of `capture record`, or `voice` and its own.

    Args:
        when: "weekdays 09:00", "daily 07:00", "mon,wed 18:30", "every 30m", "2026-12-01 20:15" or
            "cron: 0 9 * * 1-5".
        name: What it is called; by default the next free number.
        options: How it is to be done.
        database: Another schedule than the usual one.
        words: The options of the recorder.
    """
    from capture.cli.schedule_words import check_job, parse_words  # noqa: PLC0415 - slow to load

    now = time.time()
    with _open(database) as store:
        taken = {known.name for known in store.jobs()}
        free = next(n for n in map(str, range(1, len(taken) + 2)) if f"job-{n}" not in taken)
        name = name or f"job-{free}"
        to = None if options is None else options.to
        spec = parse_words(words, name, place_of(to, name))
        job = Job(name, when, local_zone(), spec, created_s=now, active_s=now)
        job = job if options is None else options.applied(job)
        warnings = check_job(job)
        job = store.add(job)
        tell(store, job, warnings)
    return 0


@schedule.command
def edit(
    name: str,
    /,
    *,
    when: str | None = None,
    rename: str | None = None,
    options: Options | None = None,
    clear: Annotated[tuple[Setting, ...], Parameter(negative="", show_default=False)] = (),
    database: Database = None,
    words: Words = (),
) -> int:
    """Change a job; what is not named stays, and so do all options if nothing follows `--`.

    Args:
        name: The job.
        when: Another time.
        rename: Another name.
        options: How it is to be done.
        clear: Take a setting away; may be repeated.
        database: Another schedule than the usual one.
        words: The options of the recorder, all of them.
    """
    from capture.cli.schedule_words import check_job, parse_words  # noqa: PLC0415 - slow to load

    with _open(database) as store:
        before = store.job(name)
        fields = {"until": "until_s", "runs": "runs_left"}
        cleared: dict[str, Any] = {
            fields.get(c, c.replace("-", "_")): None for c in clear if c not in {"for", "to"}
        }
        job = dataclasses.replace(before, name=rename or name, when=when or before.when, **cleared)
        if "for" in clear:
            job = dataclasses.replace(job, spec=dataclasses.replace(job.spec, duration_s=None))
        place, usual = before.place, place_of(None, job.name)
        if options is not None and options.to is not None:
            place = place_of(options.to, job.name)
        elif "to" in clear:
            place = usual
        elif place.folder == place_of(None, name).folder:
            place = place._replace(folder=usual.folder)
        if words:
            spec = parse_words(words, job.name, place)
            job = dataclasses.replace(job, problem=None)
        else:
            spec = place.put(job.spec, job.name)
        job = dataclasses.replace(job, spec=dataclasses.replace(spec, duration_s=job.for_s))
        job = job if options is None else options.applied(job)
        if when is not None:
            job = dataclasses.replace(job, created_s=time.time())
        warnings = check_job(job)
        if (job.when, job.zone, job.until_s) != (before.when, before.zone, before.until_s):
            job = dataclasses.replace(job, active_s=time.time())
        store.update(job)
        tell(store, job, warnings)
    return 0


@schedule.command(name="list")
def list_jobs(*, json: Flag = False, database: Database = None) -> int:
    """List all jobs: when they run next, and what came of the last run.

    Args:
        json: One JSON object on stdout.
        database: Another schedule than the usual one.
    """
    with _open(database) as store:
        jobs = store.jobs()
        last = {job_id: as_found(store, run) for job_id, run in store.last_runs().items()}
        now = datetime.now(UTC)
        next_due = {job.id: job.next_due(now) for job in jobs}
        if json:
            print_json({"jobs": [plain_job(job, next_due[job.id], last) for job in jobs]})
            return 0
        rows = [
            (
                job.name,
                job.when,
                length_of(job),
                next_of(job, next_due[job.id]),
                ended(last.get(job.id), with_path=False),
            )
            for job in jobs
        ]
        print_table(("job", "when", "length", "next run", "last run"), rows, "no jobs yet")
        for job in jobs:
            if job.problem is not None:
                say(f"warning: {job.name}: {job.problem}")
        mention_daemon(store)
    return 0


@schedule.command(name="next")
def next_runs(count: int = NEXT_SHOWN, /, *, json: Flag = False, database: Database = None) -> int:
    """Show the next runs of all jobs, in local time; a change of the clocks is shown.

    Args:
        count: How many.
        json: One JSON object on stdout.
        database: Another schedule than the usual one.
    """
    import heapq  # noqa: PLC0415 - for this command alone

    with _open(database) as store:
        jobs = store.jobs()
    coming: list[tuple[datetime, int]] = []
    rules = {}
    for number, job in enumerate(jobs):
        rules[number] = job.rule
        if (due := job.next_due(datetime.now(UTC), rules[number])) is not None:
            coming.append((due, number))
    heapq.heapify(coming)
    left = {number: job.runs_left for number, job in enumerate(jobs)}
    rows: list[tuple[datetime, Job]] = []
    while coming and len(rows) < count:
        due, number = heapq.heappop(coming)
        rows.append((due, jobs[number]))
        remaining = left[number]
        left[number] = None if remaining is None else remaining - 1
        later = jobs[number].next_due(due, rules[number])
        if later is not None and left[number] != 0:
            heapq.heappush(coming, (later, number))
    if json:
        print_json({"runs": [{"due": due.isoformat(), "job": job.name} for due, job in rows]})
        return 0
    print_table(("due", "job", "remarks"), with_offsets(rows), "nothing is due")
    return 0


@schedule.command
def remove(name: str, /, *, database: Database = None) -> int:
    """Remove a job and its history; its recordings stay.

    Args:
        name: The job.
        database: Another schedule than the usual one.
    """
    with _open(database) as store:
        job = store.job(name)
        folders = {r.path.parent for r in store.recordings(job) if r.path.exists()}
        store.remove(job)
    places = " and ".join(map(str, sorted(folders)))
    say(f"removed: {name}" + (f"; its recordings stay in {places}" if places else ""))
    return 0


@schedule.command
def pause(name: str, /, *, database: Database = None) -> int:
    """Let a job rest; what would be due meanwhile does not count as missed.

    Args:
        name: The job.
        database: Another schedule than the usual one.
    """
    with _open(database) as store:
        store.update(dataclasses.replace(store.job(name), is_paused=True))
    say(f"paused: {name}")
    return 0


@schedule.command
def resume(name: str, /, *, database: Database = None) -> int:
    """Go on with a job that was paused.

    Args:
        name: The job.
        database: Another schedule than the usual one.
    """
    with _open(database) as store:
        job = store.job(name)
        _refuse_broken(job)
        job = dataclasses.replace(job, is_paused=False, active_s=time.time())
        store.update(job)
        tell(store, job)
    return 0


@schedule.command
def run(name: str, /, *, json: Flag = False, database: Database = None) -> int:
    """Run a job now, here, without the daemon; ^C ends it and keeps what was recorded.

    Exits with 0 if all went well, 4 if it recorded silence, a black picture or a source that gave
    nothing, 130 if it was ended early, 1 if it failed.

    Args:
        name: The job.
        json: The run as one JSON object on stdout.
        database: Another schedule than the usual one.
    """
    from capture.schedule.hooks import run_values  # noqa: PLC0415 - only where needed
    from capture.schedule.runner import Runner  # noqa: PLC0415 - only where needed

    with _open(database) as store:
        job, runner = store.job(name), Runner(store)
        _refuse_broken(job)
        with _ended_by_signals(runner.stop):
            done = runner.run_here(job)
        if json:
            print_json(run_values(job, done))
        else:
            for path in done.paths:
                print(path)  # noqa: T201 - the result
    for finding in done.findings:
        say(f"warning: {finding}")
    code = _EXIT_CODES.get(done.status, EXIT_FAILED)
    if code == EXIT_FAILED:
        print_error(f"{job.name}: {ended(done)}")
    elif code:
        say(f"{job.name}: {done.status}" + (f": {done.message}" if done.message else ""))
    return code


@schedule.command
def log(
    name: str,
    /,
    *,
    last: int = LOG_SHOWN,
    text: Flag = False,
    json: Flag = False,
    database: Database = None,
) -> int:
    """Show what came of a job's runs, the latest first.

    Args:
        name: The job.
        last: How many runs.
        text: What the recorder did and reported in the last run, too.
        json: One JSON object on stdout.
        database: Another schedule than the usual one.
    """
    from capture.schedule.child import log_paths, read_events  # noqa: PLC0415 - only where needed
    from capture.schedule.hooks import run_values  # noqa: PLC0415 - only where needed

    with _open(database) as store:
        job = store.job(name)
        runs = [as_found(store, each) for each in store.runs(job, last)]
        folder = store.runs_folder
    if json:
        print_json({"runs": [run_values(job, each) for each in runs]})
        return 0
    print_runs(runs)
    if text and runs:
        for event in read_events(folder, runs[0].id):
            if "message" in event:
                say(f"{event['event']}: {event['message']}")
            elif "spec" in event:
                say(json_line(event).rstrip())
        words = log_paths(folder, runs[0].id)[1]
        say(words.read_text(encoding="utf-8", errors="replace") if words.exists() else "")
    return 0


@schedule.command
def serve(*, database: Database = None) -> int:
    """Wait for due times and record; goes on until it is ended.

    Args:
        database: Another schedule than the usual one.
    """
    import logging  # noqa: PLC0415 - only where needed

    from capture.schedule.daemon import Daemon  # noqa: PLC0415 - only where needed
    from capture.schedule.lock import serving_pid  # noqa: PLC0415 - only where needed

    stop = threading.Event()

    def on_change(changed: Run) -> None:
        begun = f"records to {changed.output}" if changed.status is Status.RUNNING else None
        say(f"{datetime.now().astimezone():%H:%M:%S} {changed.job_name}: {begun or ended(changed)}")

    with _ended_by_signals(stop.set), _open(database) as store:
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        if serving_pid(store.path) is None:
            say(f"serving {store.path} with {len(store.jobs())} jobs; ^C ends it")
        Daemon(store, on_change=on_change).serve(stop)
    return 0


@schedule.command
def install(
    *,
    printing: Annotated[bool, Parameter(name="--print", negative="")] = False,
    database: Database = None,
) -> int:
    """Let the daemon start with the session: writes a systemd user unit.

    The unit gets the variables of the session in which this is called: call it from the desktop
    that is to be recorded.

    Args:
        printing: Write nothing; print the unit, and what does the same elsewhere.
        database: Another schedule than the usual one.
    """
    from capture.schedule import install as units  # noqa: PLC0415 - only where needed

    database = database and database.absolute()
    if printing:
        for title, text in units.printed(database).items():
            print(f"# {title}\n{text}")  # noqa: T201 - the result
        return 0
    if sys.platform != "linux":
        raise ConfigError(
            "there is no systemd here", hint="`capture schedule install --print` shows what else"
        )
    print(units.write_unit(database))  # noqa: T201 - the result
    if shutil.which("systemctl") is None:
        say("there is no systemctl here: the unit is for a machine, or a session, that has it")
    say("now run:")
    say(f"  systemctl --user daemon-reload && systemctl --user enable --now {units.UNIT_NAME}")
    say("and, for recordings while nobody is logged in: loginctl enable-linger")
    return 0


# ------------------------------------------------------------------------------- what a job means


def _open(database: Path | None) -> Store:
    from capture.schedule import store  # noqa: PLC0415 - for commands that need it

    try:
        return store.Store(database)
    except store.EarlierVersionError:
        from capture.cli.schedule_words import parse_words  # noqa: PLC0415 - slow to load
        from capture.schedule.carry_over import carry_over  # noqa: PLC0415 - once in a life

        copy = carry_over((database or store.default_path()).absolute(), parse_words)
        if copy is not None:
            say(f"note: the schedule was of an earlier version; as it was it is in {copy}")
        return store.Store(database)


def _refuse_broken(job: Job) -> None:
    if job.problem is not None:
        raise ConfigError(
            f"{job.name}: {job.problem}",
            hint=f"give it new ones: `capture schedule edit {job.name} -- ...`",
        )


@contextlib.contextmanager
def _ended_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call this for ^C, SIGTERM and the closing of the terminal, instead of ending.

    Recorders that are started meanwhile do not ignore what we ignore: SIGTERM is how they are ended
    in order.
    """
    with detached_output(), StopSignals(ends_children=True) as signals:
        signals.attach(lambda _reason: stop())
        yield

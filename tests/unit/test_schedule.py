"""A schedule with its clock stepped: due times, missed runs, overlaps, retries, what is kept."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import sqlite3
import stat
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from capture import check_recording
from capture.cli.app import app, run
from capture.errors import CaptureError, ConfigError, DamagedFileError, OutputError
from capture.json_lines import of_error
from capture.messages import Facts, Library, Origin, describe
from capture.schedule import daemon, retention, runner, store
from capture.schedule.child import ATTEMPT, log_paths, read_outcome
from capture.schedule.daemon import Daemon
from capture.schedule.jobs import Job, Missed, Overlap, Run, Status
from capture.schedule.lock import Lock, serving_pid
from capture.schedule.runner import Runner
from capture.schedule.store import Store
from capture.schedule.when import parse_when
from capture.specs.recording import AudioSpec, RecordingSpec, VideoSpec
from capture.specs.target import Window
from capture.specs.voice import VoiceSpec
from tests.unit.stepped import LEAD, Actor, StepClock, Stepped, at, due_times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPEC = RecordingSpec(Path("out"))
MONDAY = at("2026-11-23 00:00")
DOC = Path(__file__).parents[2] / "docs" / "scheduling.md"


@pytest.fixture
def stepped(tmp_path: Path) -> Iterator[Stepped]:
    with Store(tmp_path / "s.sqlite") as opened:
        opened._connection.execute("PRAGMA synchronous = OFF")  # thousands of transactions
        yield Stepped(opened, MONDAY)


def job_of(stepped: Stepped, tmp_path: Path, when: str = "daily 09:00", **values: Any) -> Job:
    """A job that is in the store."""
    start_s = stepped.clock.now().timestamp()
    job = Job(
        "talk", when, "UTC", RecordingSpec(tmp_path / "out" / "talk.mp4", duration_s=60.0), **values
    )
    return stepped.store.add(replace(job, created_s=start_s, active_s=start_s))


# ------------------------------------------------------------------------------------- due times


def test_a_year_of_weekdays_in_two_zones_is_recorded_at_the_right_times(
    stepped: Stepped, tmp_path: Path
) -> None:
    zones = ("Europe/Berlin", "America/New_York")
    now_s = MONDAY.timestamp()
    jobs = [
        stepped.store.add(
            Job(
                zone.split("/")[1],
                "weekdays 09:00",
                zone,
                RecordingSpec(tmp_path / f"{zone[:4]}.mp4", duration_s=60),
                active_s=now_s,
            )
        )
        for zone in zones
    ]
    stepped.go(MONDAY + timedelta(days=365))
    for job in jobs:
        dues = [due.astimezone(ZoneInfo(job.zone)) for due in stepped.dues(job)]
        assert len(dues) == 261
        assert {(due.hour, due.minute, due.weekday() < 5) for due in dues} == {(9, 0, True)}
        assert len({due.utcoffset() for due in dues}) == 2
    for launch in stepped.actor.launches:
        # Each is started a little ahead, and told when to begin.
        assert launch.run.due - launch.started == LEAD
        assert isinstance(launch.spec, RecordingSpec)
        assert launch.spec.begin_at_s == launch.run.due.timestamp()
    assert len(list(tmp_path.glob("*.mp4"))) == 2 * 261


def test_a_job_ends_after_its_runs_and_its_last_day(stepped: Stepped, tmp_path: Path) -> None:
    job = job_of(stepped, tmp_path, runs_left=3)
    other = replace(job, name="other", runs_left=None, until_s=at("2026-11-24 12:00").timestamp())
    other = stepped.store.add(other)
    stepped.go(MONDAY + timedelta(days=10))
    assert len(stepped.dues(job)) == 3
    assert len(stepped.dues(other)) == 2
    assert stepped.store.job("talk").next_due(stepped.clock.now()) is None


def test_a_run_of_one_due_time_is_taken_on_once(stepped: Stepped, tmp_path: Path) -> None:
    job = job_of(stepped, tmp_path)
    due = at("2026-11-23 09:00")
    stepped.clock.time = due
    with Store(stepped.store.path) as same:  # as another daemon would
        racers = [Runner(opened, stepped.clock, stepped.actor) for opened in (stepped.store, same)]
        threads = [
            threading.Thread(target=racer.start, args=(job, due)) for racer in racers for _ in "abc"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for racer in racers:
            racer.wait()
    assert len(stepped.actor.launches) == 1
    # The clock was set back, and the time comes again.
    stepped.daemon.on_due(job.id, [due])
    stepped.daemon.runner.wait()
    assert len(stepped.actor.launches) == 1


@pytest.fixture
def serving(stepped: Stepped) -> Iterator[Callable[[], Daemon]]:
    """Starts a daemon in this process, on the real clock."""
    stop = threading.Event()
    stepped.actor = Actor(StepClock(stepped.clock.now()))
    daemon = Daemon(stepped.store, launch=stepped.actor)
    thread = threading.Thread(target=daemon.serve, args=(stop,), name="capture-daemon")

    def start() -> Daemon:
        thread.start()
        return daemon

    yield start
    stop.set()
    if thread.ident is not None:
        thread.join(20)


def coming(serving_daemon: Daemon) -> list[str]:
    """The jobs of which something is due next."""
    return sorted(each.job.name for each in serving_daemon._next.values())


def real_job(name: str, due: datetime, place: Path = Path("out")) -> Job:
    now_s = datetime.now(UTC).timestamp()
    spec = RecordingSpec(place / "x.mp4")
    return Job(name, due.isoformat(), "UTC", spec, created_s=now_s, active_s=now_s)


def test_a_daemon_sees_what_other_programs_change(
    stepped: Stepped, serving: Callable[[], Daemon], tmp_path: Path
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    gone, paused = (
        stepped.store.add(real_job(name, soon + timedelta(hours=1))) for name in ("gone", "paused")
    )
    daemon = serving()
    wait_until(lambda: coming(daemon) == ["gone", "paused"])
    with Store(stepped.store.path) as other:
        new = other.add(real_job("new", soon, tmp_path))
        other.remove(gone)
        other.update(replace(paused, is_paused=True))
    wait_until(lambda: bool(stepped.store.runs(new)) and not coming(daemon))
    wait_until(lambda: stepped.store.runs(new)[0].status is Status.DONE)
    assert len(stepped.actor.launches) == 1


def test_what_was_due_before_the_daemon_came_is_noted(
    stepped: Stepped, serving: Callable[[], Daemon], tmp_path: Path
) -> None:
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    wall_s = hour_ago.timestamp() - 60
    spec = RecordingSpec(tmp_path / "x.mp4")
    once = Job("once", hour_ago.isoformat(), "UTC", spec, created_s=wall_s, active_s=wall_s)
    late = replace(once, name="late", missed=Missed.RUN_LATE, grace_s=7200.0)
    once, late = stepped.store.add(once), stepped.store.add(late)
    serving()
    for job, status in ((once, Status.MISSED), (late, Status.DONE)):
        wait_until(lambda: [run.status for run in stepped.store.runs(job)] == [status])  # noqa: B023 - called at once


def test_a_run_by_hand_hides_nothing_that_was_missed(stepped: Stepped, tmp_path: Path) -> None:
    job = job_of(stepped, tmp_path)
    stepped.go(at("2026-11-24 08:00"))
    stepped.clock.time = at("2026-11-25 10:30")  # nothing ran the schedule since
    by_hand = stepped.daemon.runner.run_here(job)
    stepped.go(at("2026-11-26 12:00"))
    assert [(run.due, run.status) for run in stepped.store.runs(job)] == [
        (at("2026-11-26 09:00"), Status.DONE),
        (by_hand.due, Status.DONE),
        (at("2026-11-25 09:00"), Status.MISSED),
        (at("2026-11-23 09:00"), Status.DONE),
    ]


def test_a_database_that_is_locked_at_the_wrong_moment_neither_loses_nor_doubles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capture.sqlite.LOCKED_AFTER_S", 0.1)
    with Store(tmp_path / "s.sqlite") as opened:
        stepped = Stepped(opened, MONDAY)
        job = job_of(stepped, tmp_path)
        stepped.daemon.load()
        stepped.clock.time = at("2026-11-23 09:00")
        with contextlib.closing(sqlite3.connect(opened.path, isolation_level=None)) as somebody:
            somebody.execute("BEGIN IMMEDIATE")
            assert stepped.daemon.look() == daemon.LOOK_EVERY_S
            assert stepped.store.runs(job) == ()
        stepped.daemon.look()
        stepped.daemon.runner.wait()
        assert stepped.dues(job) == [at("2026-11-23 09:00")]
        assert stepped.daemon.next_due == at("2026-11-24 09:00")


def test_a_clock_that_is_set_back_and_forth_neither_loses_nor_doubles(
    stepped: Stepped, tmp_path: Path
) -> None:
    job = job_of(stepped, tmp_path)
    stepped.go(at("2026-11-23 12:00"))
    # Three years ahead: what lies between was missed.
    stepped.clock.time = at("2029-11-23 12:00")
    stepped.daemon.look()
    stepped.daemon.runner.wait()
    assert stepped.daemon.next_due == at("2029-11-24 09:00")
    # Then somebody sets it right, with the daemon there, and without it.
    for beginning in (stepped.daemon.look, stepped.daemon.load):
        stepped.clock.time = at("2026-11-23 08:00")
        beginning()
        assert stepped.daemon.next_due == at("2026-11-23 09:00")
    stepped.go(at("2026-11-24 12:00"))
    statuses = {run.due: run.status for run in stepped.store.runs(job)}
    assert statuses == {
        at("2026-11-23 09:00"): Status.DONE,
        at("2026-11-24 09:00"): Status.DONE,
        at("2029-11-23 09:00"): Status.MISSED,
    }
    assert len(stepped.actor.launches) == 2
    # Forward again, by little: that is still on time.
    stepped.clock.time = at("2026-11-25 09:00:20")
    assert stepped.daemon.look() == daemon.LOOK_EVERY_S
    stepped.daemon.runner.wait()
    assert stepped.store.runs(job, 2)[1].status is Status.DONE


def test_it_sleeps_until_something_is_due(stepped: Stepped, tmp_path: Path) -> None:
    job_of(stepped, tmp_path)
    stepped.daemon.load()
    assert stepped.daemon.look() == daemon.LOOK_EVERY_S
    stepped.clock.time = at("2026-11-23 09:00") - LEAD - timedelta(seconds=0.25)
    assert stepped.daemon.look() == pytest.approx(0.25)
    assert not stepped.actor.launches


# -------------------------------------------------------------------------------------- policies


def missed_until(job: Job, now: datetime) -> list[datetime]:
    dues = []
    for due in due_times(job.rule, MONDAY):
        if due > now:
            break
        dues.append(due)
    return dues


def test_missed_runs_are_noted_and_told(stepped: Stepped, tmp_path: Path) -> None:
    seen = tmp_path / "told.json"
    job = job_of(stepped, tmp_path, on_fail=f"cat > {shlex.quote(str(seen))}")
    stepped.clock.time = at("2026-11-25 09:40")
    stepped.daemon.on_due(job.id, missed_until(job, stepped.clock.time))
    stepped.daemon.runner.wait()
    (noted,) = stepped.store.runs(job)
    assert noted.status is Status.MISSED
    assert noted.due == at("2026-11-25 09:00")
    assert noted.message == "3 runs since 2026-11-23 09:00 UTC were missed: no daemon ran then"
    assert not stepped.actor.launches
    assert json.loads(seen.read_text())["status"] == "missed"


def test_the_last_missed_run_is_made_up_for_within_its_grace(
    stepped: Stepped, tmp_path: Path
) -> None:
    job = job_of(stepped, tmp_path, missed=Missed.RUN_LATE, grace_s=3600.0)
    stepped.clock.time = at("2026-11-25 09:40")
    stepped.daemon.on_due(job.id, missed_until(job, stepped.clock.time))
    stepped.daemon.runner.wait()
    late, missed = stepped.store.runs(job)
    assert (late.status, late.due) == (Status.DONE, at("2026-11-25 09:00"))
    assert (missed.status, missed.due) == (Status.MISSED, at("2026-11-24 09:00"))
    (launch,) = stepped.actor.launches
    assert isinstance(launch.spec, RecordingSpec)
    assert (launch.spec.begin_at_s, launch.spec.duration_s) == (None, 60.0)
    stepped.clock.time = at("2026-11-26 10:40")  # too late
    stepped.daemon.on_due(job.id, [at("2026-11-26 09:00")])
    stepped.daemon.runner.wait()
    assert stepped.store.runs(job, 1)[0].status is Status.MISSED


@pytest.mark.parametrize(
    ("policy", "statuses"),
    [
        (Overlap.SKIP, ["done", "skipped"]),
        (Overlap.QUEUE, ["done", "done"]),
        (Overlap.PARALLEL, ["done", "done"]),
    ],
)
def test_a_run_that_is_due_while_another_goes_on(
    policy: Overlap,
    statuses: list[str],
    stepped: Stepped,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "OVERLAP_SLACK_S", 0.0)
    job = job_of(stepped, tmp_path, "every 1h", overlap=policy)
    job = replace(job, spec=replace(job.spec, duration_s=None))
    first, second = at("2026-11-23 09:00"), at("2026-11-23 10:00")
    gate = stepped.actor.gate = threading.Event()
    stepped.clock.time = first
    following = stepped.daemon.runner
    following.start(job, first)
    wait_until(lambda: len(stepped.actor.launches) == 1)
    stepped.clock.time = second
    following.start(job, second)
    if policy is Overlap.PARALLEL:
        wait_until(lambda: len(stepped.actor.launches) == 2)
        outputs = {launch.output for launch in stepped.actor.launches}
        assert len(outputs) == 2
    elif policy is Overlap.QUEUE:
        wait_until(lambda: stepped.store.runs(job)[0].status is Status.QUEUED)
        assert len(stepped.actor.launches) == 1
    else:
        wait_until(lambda: following.running() == 1)
    gate.set()
    following.wait()
    assert [each.status for each in reversed(stepped.store.runs(job))] == statuses


def test_a_run_that_ends_just_when_the_next_begins_is_not_in_its_way(
    stepped: Stepped, tmp_path: Path
) -> None:
    job = job_of(stepped, tmp_path, "every 1h")
    job = replace(job, spec=replace(job.spec, duration_s=3600.0))
    gate = stepped.actor.gate = threading.Event()
    for due in (at("2026-11-23 09:00"), at("2026-11-23 10:00")):
        stepped.clock.time = due - LEAD
        stepped.daemon.runner.start(job, due)
        count = 1 + (due.hour == 10)
        wait_until(lambda: len(stepped.actor.launches) == count)  # noqa: B023 - called at once
    gate.set()
    stepped.daemon.runner.wait()
    assert [each.status for each in stepped.store.runs(job)] == [Status.DONE, Status.DONE]


def test_a_run_that_fails_is_tried_again_with_growing_pauses(
    stepped: Stepped, tmp_path: Path
) -> None:
    seen = tmp_path / "told"
    hook = f'echo "$CAPTURE_JOB $CAPTURE_STATUS $CAPTURE_EXIT_CODE" >> {shlex.quote(str(seen))}'
    job = job_of(stepped, tmp_path, retries=3, retry_wait_s=10.0, on_done=hook, on_fail=hook)
    stepped.actor.exit_codes = [1, 1, 0]
    stepped.go(at("2026-11-23 12:00"))
    (done,) = stepped.store.runs(job)
    assert (done.status, done.attempt, done.exit_code) == (Status.DONE, 3, 0)
    starts = [launch.started for launch in stepped.actor.launches]
    assert [(b - starts[0]).total_seconds() for b in starts] == [0, 10, 30]
    stepped.actor.exit_codes = [1] * 9
    stepped.go(at("2026-11-24 12:00"))
    failed = stepped.store.runs(job, 1)[0]
    assert (failed.status, failed.attempt) == (Status.FAILED, 4)
    assert failed.message == "the screen has gone"
    assert seen.read_text().splitlines() == ["talk done 0", "talk failed 1"]


def test_a_command_that_fails_is_tried_again_and_its_files_stay(
    stepped: Stepped, tmp_path: Path
) -> None:
    seen = tmp_path / "told"
    hook = f'echo "$CAPTURE_STATUS $CAPTURE_EXIT_CODE $CAPTURE_PATH" >> {shlex.quote(str(seen))}'
    job = job_of(stepped, tmp_path, retries=1, on_done=hook, on_fail=hook)
    stepped.actor.command_codes = [3, 0]
    stepped.go(at("2026-11-23 12:00"))
    (done,) = stepped.store.runs(job)
    assert (done.status, done.attempt, done.exit_code) == (Status.DONE, 2, 0)
    first, second = (launch.output for launch in stepped.actor.launches)
    assert done.paths == (str(second), str(first))  # the good one is the one that hooks get
    stepped.actor.command_codes = [3, 4]
    stepped.go(at("2026-11-24 12:00"))
    failed = stepped.store.runs(job, 1)[0]
    assert (failed.status, failed.attempt, failed.exit_code) == (Status.FAILED, 2, 4)
    assert failed.message == "the command ended with exit code 4"
    third, fourth = (launch.output for launch in stepped.actor.launches[2:])
    assert failed.paths == (str(fourth), str(third))
    assert all(Path(path).stat().st_size for path in (*done.paths, *failed.paths))
    assert seen.read_text().splitlines() == [f"done 0 {second}", f"failed 4 {fourth}"]


def test_what_tries_have_left_is_known_after_the_daemon_was_killed(
    stepped: Stepped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(stepped, tmp_path, retries=2)
    stepped.actor.command_codes = [3, 4]

    def wait(_stop: threading.Event, _wait_s: float) -> bool:
        if len(stepped.actor.launches) > 1:
            raise CaptureError("killed")  # nothing more is noted of this run
        return False

    with monkeypatch.context() as patched:
        patched.setattr(stepped.clock, "wait", wait)
        stepped.go(at("2026-11-23 09:00"))
    (left,) = stepped.store.runs(job)
    assert left.status is Status.RUNNING
    stepped.daemon.runner.take_over(left)
    stepped.daemon.runner.wait()
    (failed,) = stepped.store.runs(job)
    first, second = (launch.output for launch in stepped.actor.launches)
    assert (failed.status, failed.paths) == (Status.FAILED, (str(second), str(first)))


@pytest.mark.parametrize(
    ("what", "status"),
    [("silent", "silent"), ("quiet", "silent"), ("black", "black"), ("no-data", "dead")],
)
def test_what_recorded_nothing_of_use_is_marked(
    what: str, status: str, stepped: Stepped, tmp_path: Path
) -> None:
    stepped.actor.events = [{"event": "dead-signal", "what": what, "message": "nothing came"}]
    job = job_of(stepped, tmp_path)
    stepped.go(at("2026-11-23 12:00"))
    (marked,) = stepped.store.runs(job)
    assert (marked.status, marked.findings) == (status, ("nothing came",))
    assert marked.paths


@pytest.mark.parametrize(
    ("result", "error", "status"),
    [
        ({"messages": [{"path": "a"}], "stopped_by": "duration"}, None, Status.DONE),
        ({"messages": [], "stopped_by": "duration"}, None, Status.SILENT),
        ({"messages": [], "stopped_by": "app-ended"}, None, Status.SILENT),
        ({"messages": [], "stopped_by": "error"}, "no server", Status.FAILED),
        ({"paths": ["a"], "stopped_by": "duration"}, None, Status.DONE),
        ({"paths": ["a"], "stopped_by": "terminate"}, None, Status.INTERRUPTED),
        ({"paths": ["a"], "stopped_by": "disk"}, "the disk is full", Status.INTERRUPTED),
        ({"paths": ["a"], "stopped_by": "error"}, "no screen", Status.FAILED),
        (None, "no screen", Status.FAILED),
        (None, None, Status.FAILED),
    ],
)
def test_how_a_run_ended_is_read_from_what_its_recorder_reported(
    result: dict[str, Any] | None, error: str | None, status: Status, tmp_path: Path
) -> None:
    recorded = Run(1, 1, "talk", 0.0, Status.RUNNING)
    before = OutputError("of an earlier attempt")
    lines = [{"event": "result", "paths": ["of an earlier attempt"]}, of_error(before)]
    lines += [{"event": ATTEMPT}] + ([] if error is None else [of_error(OutputError(error))])
    lines += [] if result is None else [{"event": "result", **result}]
    torn = '{"event": "result", "pa'  # it was killed in the middle of a line
    log_paths(tmp_path, 1)[0].write_text("".join(f"{json.dumps(line)}\n" for line in lines) + torn)
    outcome = read_outcome(tmp_path, recorded, None)
    assert outcome.status is status
    assert error is None or outcome.message == error
    assert outcome.paths == tuple(map(Path, (result or {}).get("paths", ())))


def test_only_the_oldest_recordings_of_the_job_are_deleted(
    stepped: Stepped, tmp_path: Path
) -> None:
    job_of(stepped, tmp_path, keep=3)
    folder = tmp_path / "out"
    folder.mkdir()
    foreign = folder / "talk 2020-01-01 09.00.00.mp4"
    foreign.write_bytes(bytes(10))
    stepped.go(at("2026-11-24 12:00"))
    first, second = sorted(folder.glob("talk 2026*"))
    first.write_bytes(b"cut to size by its owner")
    stepped.go(at("2026-12-03 12:00"))
    left = sorted(path.name for path in folder.iterdir())
    assert left == [
        foreign.name,
        first.name,
        *(f"talk 2026-12-{day:02d} 09.00.00.mp4" for day in (1, 2, 3)),
    ]
    assert not second.exists()
    # What failed or recorded silence never pushes a good one out.
    stepped.actor.events = [{"event": "dead-signal", "what": "silent", "message": "silence"}]
    stepped.go(at("2026-12-05 12:00"))
    assert len(list(folder.iterdir())) == len(left) + 2


def test_a_voice_message_that_a_job_deletes_is_no_message_any_more(
    stepped: Stepped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPTURE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_MUSIC_DIR", str(tmp_path / "music"))
    job_of(stepped, tmp_path, keep=1)
    stepped.go(at("2026-11-24 12:00"))
    (first,) = (tmp_path / "out").glob("talk*")
    with Library() as library:
        library.add(describe(first, Facts(origin=Origin.HEARD, length_s=1.0)))
        stepped.go(at("2026-11-25 12:00"))
        assert not first.exists()
        assert library.messages() == ()


def test_what_failed_does_not_count_among_the_recordings_that_are_kept(
    stepped: Stepped, tmp_path: Path
) -> None:
    job_of(stepped, tmp_path, keep=2)

    def left() -> list[int]:
        """Days of which there is a file."""
        return sorted(int(path.name[13:15]) for path in (tmp_path / "out").iterdir())

    stepped.go(at("2026-11-24 12:00"))
    stepped.actor.command_codes = [3, 3, 3]
    stepped.go(at("2026-11-27 12:00"))
    assert left() == [23, 24, 25, 26, 27]
    stepped.go(at("2026-11-28 12:00"))
    assert left() == [24, 25, 26, 27, 28]  # two good ones, and what was wrong between them
    stepped.go(at("2026-11-29 12:00"))
    assert left() == [25, 26, 27, 28, 29]
    stepped.go(at("2026-11-30 12:00"))
    assert left() == [29, 30]


def test_a_name_that_is_taken_is_never_overwritten(stepped: Stepped, tmp_path: Path) -> None:
    job = job_of(stepped, tmp_path)
    taken = job.output(at("2026-11-23 09:00"))
    taken.parent.mkdir()
    taken.write_text("precious")
    stepped.go(at("2026-11-23 12:00"))
    assert taken.read_text() == "precious"
    assert stepped.store.runs(job)[0].paths == (str(taken.with_stem(f"{taken.stem} (2)")),)


def test_a_disk_that_will_not_do_is_told_beforehand(
    stepped: Stepped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(stepped, tmp_path)
    stepped.go(at("2026-11-23 12:00"))  # 1000 bytes for 10 s
    monkeypatch.setattr(retention, "LEFT_FREE_BYTES", 0)
    free = 1000 * 6 - 100

    def usage(_path: Path) -> Any:
        return type("usage", (), {"free": free})

    monkeypatch.setattr("shutil.disk_usage", usage)
    stepped.go(at("2026-11-24 12:00"))
    (finding,) = stepped.store.runs(job, 1)[0].findings
    assert finding.startswith("the disk will be full")
    free = 1000 * 60
    stepped.go(at("2026-11-25 12:00"))
    assert stepped.store.runs(job, 1)[0].findings == ()


def test_a_hook_that_fails_is_in_the_findings(stepped: Stepped, tmp_path: Path) -> None:
    job = job_of(stepped, tmp_path, on_done="exit 7")
    stepped.go(at("2026-11-23 12:00"))
    (done,) = stepped.store.runs(job)
    assert done.findings == ("the hook ended with exit code 7: exit 7",)


def test_it_is_shown_on_the_desktop(
    stepped: Stepped, at_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = at_home / "shown"
    program = at_home / "bin" / "notify-send"
    program.write_text(f'#!/bin/sh\necho "$@" >> {shown}\n')
    program.chmod(0o755)
    monkeypatch.setenv("DISPLAY", ":7")
    job_of(stepped, at_home)
    stepped.actor.exit_codes = [0, 1]
    stepped.go(at("2026-11-24 12:00"))
    done, failed = shown.read_text().splitlines()
    assert done.startswith("--urgency=low --app-name=capture -- talk: done /")
    assert failed == "--urgency=critical --app-name=capture -- talk: failed the screen has gone"
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    stepped.go(at("2026-11-25 12:00"))
    assert len(shown.read_text().splitlines()) == 2


def wait_until(condition: Any, within_s: float = 10.0) -> None:
    done = threading.Event()
    for _ in range(round(within_s / 0.01)):
        if condition():
            return
        done.wait(0.01)
    raise AssertionError("it never came")


# -------------------------------------------------------------------------------------- the store


def test_a_store_gives_back_what_was_put_in(tmp_path: Path) -> None:
    job = Job(
        "Ünï 1",
        "cron: 0 9 * * 1-5",
        "Asia/Kolkata",
        RecordingSpec(Path("out"), duration_s=1.5, command=("mpv", "a b")),
        runs_left=4,
        missed=Missed.RUN_LATE,
        overlap=Overlap.QUEUE,
        keep=3,
        on_done="echo 'done'",
        is_paused=True,
        created_s=5.0,
    )
    with Store(tmp_path / "s.sqlite") as opened:
        before = opened.revision()
        job = opened.add(job)
        assert opened.revision() > before
    with Store(tmp_path / "s.sqlite") as opened:
        assert opened.jobs() == (job,)
        opened.remove(job)
        assert opened.jobs() == ()
        assert opened.add(replace(job, id=0)).id > job.id  # never given twice


def test_names_are_unique(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite") as opened:
        one, two = (opened.add(Job(name, "daily 09:00", "UTC", SPEC)) for name in ("one", "two"))
        with pytest.raises(ConfigError, match="'one' already"):
            opened.add(replace(one, id=0))
        with pytest.raises(ConfigError, match="'one' already"):
            opened.update(replace(two, name="one"))
        with pytest.raises(ConfigError, match="no job 'three'"):
            opened.job("three")


def test_a_damaged_database_is_copied_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(DamagedFileError, match="is damaged") as error:
            Store(path)
    assert error.value.hint is not None
    assert path.read_bytes() == before
    (copy,) = tmp_path.glob("*.damaged-*")
    assert copy.read_bytes() == before


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="newer version"):
        Store(path)
    assert path.read_bytes() == before


def test_a_locked_database_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture.sqlite.LOCKED_AFTER_S", 0.1)
    path = tmp_path / "s.sqlite"
    with Store(path) as opened:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OutputError, match="locked"):
            opened.add(Job("a", "daily 09:00", "UTC", SPEC))
        other.close()
        opened.add(Job("a", "daily 09:00", "UTC", SPEC))


def test_there_is_one_daemon_a_schedule(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    assert serving_pid(path) is None
    with Lock(path):
        assert serving_pid(path) == os.getpid()
        with pytest.raises(OutputError, match=f"served already, by process {os.getpid()}"):
            Lock(path)
    assert serving_pid(path) is None


def test_a_long_history_is_cut(
    stepped: Stepped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "HISTORY_PER_JOB", 5)
    job = job_of(stepped, tmp_path)
    stepped.go(MONDAY + timedelta(days=9))
    assert len(stepped.store.runs(job, 100)) == 5
    assert len(list(stepped.store.runs_folder.glob("*.jsonl"))) == 5


# ------------------------------------------------------------------------------------ the recipes


def recipes() -> dict[str, str]:
    """The code of every recipe in the documentation, by its title."""
    found = re.findall(
        r"^## Recipe: (.+?)\n.*?```\w+\n(.+?)```", DOC.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return dict(found)


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of one's own, with the programs that the recipes start."""
    programs = tmp_path / "bin"
    programs.mkdir()
    browser = programs / "chromium"
    browser.write_text("#!/bin/sh\n")
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_VIDEOS_DIR", str(tmp_path / "Videos"))
    monkeypatch.setenv("CAPTURE_DATA_DIR", str(tmp_path / "data"))
    return tmp_path


DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
KIOSK = ("chromium", "--kiosk", "https://example.org/dashboard")
OUT = Path("out")
SYSTEM, MIC = AudioSpec("system"), AudioSpec("mic")
EXPECTED: dict[str, tuple[timedelta, Counter[str], RecordingSpec | VoiceSpec]] = {
    "a weekly lecture": (
        timedelta(days=200),
        Counter({"Tue 10:15": 14}),
        RecordingSpec(OUT, VideoSpec(Window("Zoom")), (SYSTEM, MIC), duration_s=5400.0),
    ),
    "a page every night, on a desktop that nobody sees": (
        timedelta(days=40),
        Counter({f"{day} 03:00": 6 for day in DAYS[:5]} | {f"{day} 03:00": 5 for day in DAYS[5:]}),
        RecordingSpec(OUT, duration_s=600.0, private_desktop=(1280, 720), command=KIOSK),
    ),
    "the voicemail inbox": (
        timedelta(days=7),
        Counter({f"{day} 08:00": 1 for day in DAYS[:5]}),
        VoiceSpec(OUT, "app:Firefox", duration_s=36000.0),
    ),
    "ten minutes of every hour": (
        timedelta(days=1),
        Counter({f"Mon {hour:02d}:00": 1 for hour in range(1, 24)} | {"Tue 00:00": 1}),
        RecordingSpec(OUT, None, (SYSTEM,), duration_s=600.0),
    ),
}
"""For each recipe: how long to go on, when it is due how often, what its recorders do."""


@pytest.mark.parametrize("title", EXPECTED)
def test_a_recipe_does_what_it_says(title: str, at_home: Path) -> None:
    length, times, spec = EXPECTED[title]
    command = shlex.split(recipes()[title])
    assert command[:3] == ["capture", "schedule", "add"]
    assert run(command[1:]) == 0
    with Store() as opened:
        (job,) = opened.jobs()
        # The clock is set to a Monday without the year's changes near, whenever this is run.
        start = datetime(2026, 11, 23, tzinfo=job.rule_zone)
        job = replace(job, created_s=start.timestamp(), active_s=start.timestamp())
        opened.update(job)
        stepped = Stepped(opened, start)
        stepped.go(start + length)
        dues = stepped.dues(job)
        assert Counter(f"{due.astimezone(job.rule_zone):%a %H:%M}" for due in dues) == times
        for launch in stepped.actor.launches:
            if isinstance(launch.spec, VoiceSpec):
                assert replace(launch.spec, folder=OUT) == spec
                continue
            assert launch.spec.begin_at_s == launch.run.due.timestamp()
            assert replace(launch.spec, output=OUT, begin_at_s=None) == spec
            assert launch.spec.output.is_relative_to(at_home)
        kept = [path for path in job.place.folder.glob("*.*") if path.is_file()]
        assert job.is_voice or len(kept) == min(len(dues), job.keep or len(dues))


def test_the_recipe_for_cron_does_what_it_says(at_home: Path) -> None:
    *variables, line = recipes()["cron, without the daemon"].strip().splitlines()
    assert all(re.fullmatch(r"[A-Z_]+=\S+", variable) for variable in variables)
    fields, command = line.split(None, 5)[:5], line.split(None, 5)[5].replace("\\%", "%")
    dues = due_times(parse_when(f"cron: {' '.join(fields)}", "UTC", MONDAY), MONDAY)
    assert f"{next(iter(dues)):%a %H:%M}" == "Mon 08:59"
    words = shlex.split(os.path.expandvars(command).replace("$(date +%F)", "2026-11-23"))
    _, bound, _ = app.parse_args(words[1:], print_error=False, exit_on_error=False)
    spec = bound.arguments["options"].spec(bound.arguments["output"], ())
    check_recording(spec)
    assert spec.output == at_home / "standup 2026-11-23.mp4"
    assert spec.duration_s == 900
    assert f"{datetime.fromtimestamp(spec.begin_at_s).astimezone():%H:%M}" == "09:00"


def test_every_recipe_is_tested() -> None:
    assert set(recipes()) == {*EXPECTED, "cron, without the daemon"}

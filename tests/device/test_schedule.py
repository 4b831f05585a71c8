"""Schedules in real time: a daemon, recorders on a private desktop, a daemon that is killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from capture.cli.app import run
from capture.cli.schedule_words import parse_words
from capture.errors import CaptureError
from capture.media.check.recover import measure
from capture.model.recording import State
from capture.recording.session import Session
from capture.schedule.child import find_pid
from capture.schedule.install import printed
from capture.schedule.jobs import Job, Missed, Place, Run, Status
from capture.schedule.runner import VOICE_LEAD_S
from capture.schedule.store import Store
from capture.specs.recording import AudioSpec, RecordingSpec, Rule, VideoSpec
from tests.device.recorded import PATIENCE_S, until
from tests.media.films import read_sound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture.desktop import PrivateDesktop

assert sys.platform != "win32"  # for the type checker: it knows no signals there

TONES = Path(__file__).with_name("tones.py")
RATE_HZ = 48_000
FPS = 15
EARLY_S = 0.1
"""Nothing begins earlier than this before its time. How much later is the machine's doing:
``scripts/bench schedule`` says."""


@pytest.fixture
def store(
    desktop_env: PrivateDesktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """A schedule of its own, on the private desktop."""
    del desktop_env
    monkeypatch.setenv("CAPTURE_DATA_DIR", str(tmp_path / "data"))
    with Store() as opened:
        yield opened


@pytest.fixture
def tone(desktop_env: PrivateDesktop) -> Iterator[None]:
    """Something plays all the time."""
    del desktop_env
    with playing(60.0):
        yield


@contextlib.contextmanager
def playing(length_s: float) -> Iterator[None]:
    """A tone as a program plays it, in the same environment as the test."""
    words = [sys.executable, str(TONES), "--hz", "440", "--seconds", f"{length_s}"]
    words += ["--latency-ms", "1000"]  # bridges a busy machine
    process = subprocess.Popen(words)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def serving() -> Iterator[subprocess.Popen[str]]:
    """The daemon as a user starts it; ended as ^C ends it, unless it was killed."""
    words = [sys.executable, "-m", "capture", "schedule", "serve"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert "serving" in process.stderr.readline()
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)


@pytest.fixture
def _slow(pytestconfig: pytest.Config) -> None:
    """What takes seconds more and says little more: only with ``--full``."""
    if not pytestconfig.getoption("full"):
        pytest.skip("only with --full")


def due_in(wait_s: float) -> datetime:
    """A full second some time ahead."""
    return (datetime.now(UTC) + timedelta(seconds=wait_s)).replace(microsecond=0)


def add(
    store: Store, name: str, due: datetime, tmp_path: Path, *words: str, for_s: float, **values: Any
) -> Job:
    """A job for one time."""
    now_s = time.time()
    spec = replace(parse_words(words, name, Place(tmp_path / name)), duration_s=for_s)
    return store.add(
        Job(name, due.isoformat(), "UTC", spec, created_s=now_s, active_s=now_s, **values)
    )


def wait_for_end(store: Store, job: Job, within_s: float = 100.0) -> Run:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        (each,) = store.runs(job) or (None,)
        if each is not None and each.ended_s is not None:
            return each
        time.sleep(0.05)
    raise AssertionError(f"{job.name} has not ended")


@pytest.mark.usefixtures("tone")
def test_three_jobs_leave_files_and_a_history(store: Store, tmp_path: Path) -> None:
    due = due_in(6)
    later = timedelta(seconds=1)
    hook = tmp_path / "hook.json"
    film = add(store, "film", due, tmp_path, "--fps", "15", for_s=1.5)
    listen = ("voice", "--from", "system", "--any-sound", "--threshold", "-40")
    voice = add(store, "voice", due + later, tmp_path, *listen, for_s=3.0)
    bad = add(
        store, "bad", due + 2 * later, tmp_path, "--window", "nobody", for_s=1.5,
        on_fail=f"cat > '{hook}'",
    )  # fmt: skip
    fails, cut, wrong = failing_commands(store, due + 2 * later, tmp_path)
    with serving():
        runs = {job.name: wait_for_end(store, job) for job in (film, voice, bad, fails, cut, wrong)}
    for name, suffix, length_s in (("film", ".mp4", 1.5), ("voice", ".opus", 3.0)):
        done = runs[name]
        assert (done.status, done.exit_code, done.findings) == (Status.DONE, 0, ())
        (path,) = map(Path, done.paths)
        assert (path.parent.name, path.suffix) == (name, suffix)
        assert measure(path).length_s == pytest.approx(length_s, abs=0.05 if name == "film" else 1)
        assert done.started_s is not None
        assert done.started_s > done.due_s - (EARLY_S if name == "film" else VOICE_LEAD_S)
    assert (runs["bad"].status, runs["bad"].exit_code, runs["bad"].paths) == (Status.FAILED, 1, ())
    assert "nobody" in (runs["bad"].message or "")
    assert json.loads(hook.read_text())["message"] == runs["bad"].message
    check_failed(runs["fails"], tmp_path, exit_code=3, attempts=2)
    check_failed(runs["wrong"], tmp_path, exit_code=1, attempts=1)
    assert (runs["cut"].status, runs["cut"].exit_code, runs["cut"].findings) == (Status.DONE, 0, ())


def failing_commands(store: Store, due: datetime, tmp_path: Path) -> tuple[Job, Job, Job]:
    """A command that fails and is tried again, one ended by us as planned, one wrong at once."""
    hooks = {
        f"on_{end}": f"cat > '{tmp_path}'/\"$CAPTURE_JOB\"-{end}.json" for end in ("done", "fail")
    }
    fails = add(
        store, "fails", due, tmp_path, "--no-video", "--", "sh", "-c", "sleep 0.7; exit 3",
        for_s=60.0, retries=1, retry_wait_s=0.1, **hooks,
    )  # fmt: skip
    cut = add(
        store, "cut", due, tmp_path, "--no-video", "--",
        sys.executable, "-c", "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "time.sleep(60)",
        for_s=1.0,
    )  # fmt: skip
    wrong = add(store, "wrong", due, tmp_path, "--no-video", "--", "false", for_s=60.0, **hooks)
    return fails, cut, wrong


def check_failed(failed: Run, tmp_path: Path, exit_code: int, attempts: int) -> None:
    """The run of a command that failed: marked and told so, its files kept."""
    assert (failed.status, failed.exit_code) == (Status.FAILED, exit_code)
    assert failed.message == f"the command ended with exit code {exit_code}"
    assert (failed.attempt, len(failed.paths)) == (attempts, attempts)
    assert all(measure(Path(path)).length_s > 0 for path in failed.paths)
    run = json.loads((tmp_path / f"{failed.job_name}-fail.json").read_text())
    assert (run["status"], run["paths"]) == ("failed", list(failed.paths))
    assert not (tmp_path / f"{failed.job_name}-done.json").exists()


@pytest.mark.usefixtures("tone")
def test_a_daemon_that_is_killed_loses_and_doubles_nothing(store: Store, tmp_path: Path) -> None:
    due = due_in(6)
    lives = add(store, "lives", due, tmp_path, "--no-video", for_s=20.0)
    dies = add(store, "dies", due, tmp_path, "--fps", "15", for_s=60.0)
    goes_on = add(store, "goes-on", due, tmp_path, "--no-video", for_s=45.0, missed=Missed.RUN_LATE)
    following = add(store, "next", due + timedelta(seconds=8), tmp_path, "--no-video", for_s=1.0)
    first = [lives, dies, goes_on]
    with serving() as daemon:
        wait_for_files(store, first, tmp_path)
        daemon.kill()
        daemon.wait()
    killed = [(job, store.runs(job)[0]) for job in first]
    assert {each.status for _, each in killed} == {Status.RUNNING}
    for job, each in killed:
        pid = find_pid(store.runs_folder, each)
        # Its number may not have been noted when the daemon was killed.
        assert pid == find_pid(store.runs_folder, replace(each, pid=None))
        if job is not lives and pid is not None:
            os.kill(pid, signal.SIGKILL)
    with serving():
        runs = {job.name: wait_for_end(store, job) for job in (*first, following)}
    assert [each.status for each in runs.values()] == [
        Status.DONE,
        Status.RECOVERED,
        Status.RECOVERED,
        Status.DONE,
    ]
    assert all(len(store.runs(job)) == 1 for job in (*first, following))
    for each in runs.values():
        lengths = [measure(Path(path)).length_s for path in each.paths]
        assert sum(lengths) == pytest.approx(each.length_s, abs=0.05)
        assert len(lengths) == (2 if each.job_name == "goes-on" else 1)
        assert not list(Path(each.paths[0]).parent.glob(".*.journal"))
    assert runs["lives"].length_s == pytest.approx(20.0, abs=0.05)
    assert runs["dies"].length_s is not None
    assert 0 < runs["dies"].length_s < 60


def wait_for_files(store: Store, jobs: list[Job], tmp_path: Path) -> None:
    """Until every job has something on the disk."""
    deadline = time.monotonic() + 60
    del store
    while not all(
        any(path.stat().st_size > 20_000 for path in (tmp_path / job.name).glob("*.m*"))
        for job in jobs
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("with_picture", [True, False])
def test_a_recording_begins_with_the_sound_and_ends_after_it(
    with_picture: bool,  # noqa: FBT001 - a parameter of the test
    desktop_env: PrivateDesktop,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    del desktop_env
    if not with_picture:
        request.getfixturevalue("_slow")
    path = tmp_path / ("message.mkv" if with_picture else "message.wav")
    spec = RecordingSpec(
        path,
        video=VideoSpec(fps=FPS) if with_picture else None,
        audio_codec="flac" if with_picture else None,
        start_when=(Rule("sound"),),
        stop_when=(Rule("silence", amount=2.0),),
    )
    session = Session(spec)
    starter = threading.Thread(target=session.start)
    starter.start()
    until(lambda: session.state is State.WAITING)
    time.sleep(2.0)
    assert session.state is State.WAITING
    assert not path.exists()
    with playing(1.0):
        starter.join(PATIENCE_S)
        result = session.wait(PATIENCE_S)
    assert result is not None
    assert result.stopped_by == "silence"
    # Slots of the recording alone: while it waited nobody took pictures.
    assert result.unchanged_pictures + result.dropped_pictures <= result.duration_s * FPS
    loud = np.flatnonzero(np.abs(read_sound(path).samples).max(axis=1) > 0.01)
    begins_s, ends_s = loud[0] / RATE_HZ, loud[-1] / RATE_HZ
    assert 0 < begins_s <= 0.3
    assert ends_s - begins_s == pytest.approx(1.0, abs=0.01)
    assert result.duration_s - ends_s == pytest.approx(2.0, abs=0.3)


def test_a_recording_that_waits_can_be_given_up(
    desktop_env: PrivateDesktop, tmp_path: Path
) -> None:
    del desktop_env
    audio = (AudioSpec("system"),)
    rules = (Rule("window", "nobody"),)
    path = tmp_path / "never.wav"
    spec = RecordingSpec(path, None, audio, start_when=rules, start_within_s=0.2)
    with pytest.raises(CaptureError, match="window:nobody did not come within"):
        Session(spec).start()
    session = Session(replace(spec, start_within_s=None, start_when=(Rule("sound"),)))
    threading.Timer(0.5, session.stop).start()
    with pytest.raises(CaptureError, match="stopped before it began"):
        session.start()
    assert not path.exists()


@pytest.mark.usefixtures("_slow")
def test_an_application_starts_and_stops_it(desktop_env: PrivateDesktop, tmp_path: Path) -> None:
    del desktop_env
    path = tmp_path / "app.wav"
    rules = (Rule("app", "tone"),)
    spec = RecordingSpec(path, None, start_when=rules, stop_when=(Rule("app-ended"),))
    session = Session(spec)
    starter = threading.Thread(target=session.start)
    starter.start()
    with playing(2.0):
        starter.join(PATIENCE_S)
        result = session.wait(PATIENCE_S)
    assert result is not None
    assert result.stopped_by == "app-ended"
    assert result.duration_s > 2.0


def test_at_a_time_it_begins_then(desktop_env: PrivateDesktop, tmp_path: Path) -> None:
    del desktop_env
    due = due_in(15)  # a countdown first, the session's own wait then
    words = ["record", str(tmp_path / "at.wav"), "--no-video", "--duration", "0.5s", "--json"]
    command = [sys.executable, "-m", "capture", *words, "--at", due.isoformat()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    events = {event["event"]: event for event in map(json.loads, done.stdout.splitlines())}
    assert "in 00:00:" in events["waiting"]["message"]
    assert events["started"]["began_at_s"] > due.timestamp() - EARLY_S


@contextlib.contextmanager
def recording(path: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The recorder as a user starts it, telling its events."""
    command = [sys.executable, "-m", "capture", "record", str(path), "--json", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


def await_event(process: subprocess.Popen[str], name: str) -> dict[str, Any]:
    """The next event of this name."""
    assert process.stdout is not None
    for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == name:
            return event
    raise AssertionError(f"it ended without {name}")


def test_a_sound_counts_from_the_time_on(desktop_env: PrivateDesktop, tmp_path: Path) -> None:
    del desktop_env
    path = tmp_path / "after.wav"
    due = due_in(6)
    rules = ("--start-when", "sound", "--stop-when", "silence:1s")
    with recording(path, "--no-video", "--at", due.isoformat(), *rules) as process:
        with playing(60.0):  # until the recorder has listened to it for a while
            time.sleep((due - datetime.now(UTC)).total_seconds() - 0.5)
        time.sleep(2.0)
        assert not path.exists()
        with playing(1.0):
            started = await_event(process, "started")
            result = await_event(process, "result")
    assert started["began_at_s"] > due.timestamp() + 1.0
    assert result["stopped_by"] == "silence"
    loud = np.flatnonzero(np.abs(read_sound(path).samples).max(axis=1) > 0.01)
    assert 0 < loud[0] / RATE_HZ <= 0.3
    assert (loud[-1] - loud[0]) / RATE_HZ == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("is_there_before", [False, True])
def test_a_window_starts_and_stops_it(
    is_there_before: bool,  # noqa: FBT001 - a parameter of the test
    desktop_env: PrivateDesktop,
    tmp_path: Path,
) -> None:
    from capture.demo.canvas import Canvas  # noqa: PLC0415 - it loads libxcb

    del desktop_env
    path = tmp_path / "window.mkv"
    due = due_in(5)
    words = ["--fps", "15", "--audio", "none", "--start-when", "window:lecture"]
    if is_there_before:  # it counts from the time on
        words += ["--at", due.isoformat()]
    with recording(path, *words, "--stop-when", "window-closed") as process:
        await_event(process, "waiting")
        if not is_there_before:
            time.sleep(1.0)
            assert not path.exists()
        with Canvas("The lecture of today", 320, 240) as canvas:
            canvas.prepare(np.full((240, 320, 3), 128, np.uint8))
            canvas.show()
            opened_s = time.time()
            began_s = await_event(process, "started")["began_at_s"]
            time.sleep(1.0)
        closed_s = time.time()
        result = await_event(process, "result")
    expected_s = due.timestamp() if is_there_before else opened_s
    assert began_s > expected_s - EARLY_S
    assert result["stopped_by"] == "window-closed"
    assert began_s + result["duration_s"] >= closed_s
    assert measure(path).length_s == pytest.approx(result["duration_s"], abs=0.1)


@pytest.mark.usefixtures("tone", "store")
def test_the_printed_environment_is_enough_to_record(tmp_path: Path) -> None:
    unit = next(text for title, text in printed().items() if title.startswith("systemd"))
    lines = re.findall(r'^Environment="(.*)"$', unit, re.MULTILINE)
    path = tmp_path / "alone.mp4"
    words = [sys.executable, "-m", "capture", "record", str(path), "--duration", "1s", "--strict"]
    command = ["env", "-i", *lines, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={})
    assert done.returncode == 0, done.stderr
    assert measure(path).names[0] == "picture"
    assert np.abs(read_sound(path).samples).max() > 0.01


def test_ending_the_daemon_ends_its_recorders_cleanly(store: Store, tmp_path: Path) -> None:
    job = add(store, "cut", due_in(5), tmp_path, "--test-card", "320x240", for_s=60.0)
    with serving():
        wait_for_files(store, [job], tmp_path)
    (each,) = store.runs(job)
    assert (each.status, each.message) == (Status.INTERRUPTED, "the recorder was stopped early")
    assert measure(Path(each.paths[0])).length_s == pytest.approx(each.length_s, abs=0.1)
    assert run(["schedule", "log", "cut"]) == 0


@pytest.mark.usefixtures("_slow")
def test_a_run_by_hand_of_silence_ends_as_a_dead_source_does(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = add(store, "quiet", due_in(3600), tmp_path, "--no-video", for_s=7.0)
    assert run(["schedule", "run", "quiet"]) == 4
    shown = capsys.readouterr()
    (each,) = store.runs(job)
    assert shown.out.splitlines() == [*each.paths]
    assert "quiet: silent" in shown.err
    assert "error" not in shown.err
    assert run(["schedule", "log", "quiet"]) == 0
    assert "  silent\n" in capsys.readouterr().out


@pytest.mark.usefixtures("_slow")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_daemon_that_is_ended_before_the_time_leaves_nothing_running(
    name: str, store: Store, tmp_path: Path
) -> None:
    job = add(store, "early", due_in(5), tmp_path, "--test-card", "320x240", for_s=60.0)
    with serving() as daemon:
        deadline = time.monotonic() + 20
        while not [each for each in store.runs(job) if each.pid is not None]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        daemon.send_signal(getattr(signal, name))
        assert daemon.wait(PATIENCE_S) == 0
    (each,) = store.runs(job)
    assert (each.status, each.paths) == (Status.INTERRUPTED, ())
    assert each.message == "the recorder was stopped before anything was recorded"
    assert find_pid(store.runs_folder, each) is None

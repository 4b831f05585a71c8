"""``capture schedule`` on the command line: what it says, what it refuses, what it writes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from capture.cli.app import run
from capture.errors import CaptureError
from capture.media.check.recover import measure
from capture.process import boot_id, process_start
from capture.schedule.child import find_pid
from capture.schedule.install import printed, session_environment, state, systemd_unit
from capture.schedule.jobs import Job, Status
from capture.schedule.store import Store
from capture.specs.recording import RecordingSpec

if TYPE_CHECKING:
    from collections.abc import Callable

CARD = ("--test-card", "320x240", "--audio", "synthetic")


@pytest.fixture(autouse=True)
def _own_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTURE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def schedule(*words: str) -> int:
    return run(["schedule", *words])


def run_as_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert schedule(*words, "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["2020-01-01 09:00"], "is in the past"),
        (["cron: 0 0 30 2 *"], "never comes"),
        (["cron: 61 * * * *"], "'61' is no minute"),
        (["now and then"], "is no time"),
        (["daily 09:00", "--timezone", "Europe/Atlantis"], "no time zone 'Europe/Atlantis'"),
        (["daily 09:00", "--until", "2020-01-01 09:00"], "is in the past"),
        (["daily 09:00", "--keep", "0"], "0 is too little for --keep"),
        (["daily 09:00", "--name", "taken"], "there is a job 'taken' already"),
        (["daily 09:00", "--name", "a/b"], "cannot be a folder's name"),
        (["daily 09:00", "--overlap", "sometimes"], "sometimes"),
        (["daily 09:00", "--", "--fps", "many"], "the recorder does not take this"),
        (["daily 09:00", "--", "--no-such-option"], "the recorder does not take this"),
        (["daily 09:00", "--", "--fps", "900"], "900 pictures a second cannot be recorded"),
        (["daily 09:00", "--", "--audio-codec", "pcm"], "pcm"),
        (["daily 09:00", "--to", "x.wav", "--", "--screen", "1"], "wav"),
        (["daily 09:00", "--", "--start-when", "rain"], "'rain' is no start rule"),
        (["daily 09:00", "--", "--stop-when", "window-closed"], "names nothing"),
        (["daily 09:00", "--", "record", "out.mp4"], "the output of a recording"),
        (["daily 09:00", "--", "--duration", "5s"], "the duration of a recording"),
        (["daily 09:00", "--", "--at", "09:00"], "the at of a recording"),
        (["daily 09:00", "--", "voice", "out"], "the folder of a recording"),
        (["daily 09:00", "--", "voice", "--for", "5m"], "how long it listens"),
        (["daily 09:00", "--", "voice", "--hold", "1ms"], "would cut at every word"),
        (["daily 09:00", "--", "voice", "--start-when", "sound"], "has no meaning here"),
        (["daily 09:00", "--", "voice", "--stop-when", "app-ended"], "names nothing"),
        (["daily 09:00", "--", "devices"], "'devices' cannot be scheduled"),
        (["daily 09:00", "--", "--no-video", "--", "no-such-program"], "no program"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused_in_one_sentence(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert schedule("add", "daily 07:00", "--name", "taken") == 0
    capsys.readouterr()
    assert schedule("add", *words) in {1, 2}
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.startswith("error: ")
    assert len(shown.err.partition("\n\nhint: ")[0].splitlines()) == 1
    with Store() as store:
        assert [job.name for job in store.jobs()] == ["taken"]


def test_odd_times_are_told_when_a_job_is_added(capsys: pytest.CaptureFixture[str]) -> None:
    assert schedule("add", "daily 02:30", "--timezone", "Europe/Berlin") == 0
    said = capsys.readouterr().err
    assert "02:30 doesn't exist on" in said
    assert "02:30 comes twice on" in said
    assert "nothing serves this schedule now" in said


def test_a_job_from_its_addition_to_its_removal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--for", "45m", "--name", "standup", "--to", str(tmp_path / "out"), "--runs", "5")
    assert schedule("add", "weekdays 09:00", *words, "--", "--screen", "1", "--audio", "mic") == 0
    (job,) = run_as_json(capsys, "list")["jobs"]
    spec = job["spec"]["spec"]
    assert (job["spec"]["kind"], spec["duration_s"], job["runs_left"]) == ("recording", 2700, 5)
    assert (spec["video"]["target"]["number"], spec["audio"][0]["source"]) == (1, "mic")
    assert spec["output"] == str(tmp_path / "out" / "standup.mp4")
    assert len(run_as_json(capsys, "next", "20")["runs"]) == 5
    assert (
        schedule("edit", "standup", "--when", "daily 10:00", "--for", "5m", "--clear", "runs") == 0
    )
    (job,) = run_as_json(capsys, "list")["jobs"]
    assert (job["when"], job["runs_left"]) == ("daily 10:00", None)
    assert job["spec"]["spec"] == spec | {"duration_s": 300}
    assert schedule("edit", "standup", "--", "--no-video") == 0
    (job,) = run_as_json(capsys, "list")["jobs"]
    assert job["spec"]["spec"] == spec | {
        "duration_s": 300,
        "output": str(tmp_path / "out" / "standup.m4a"),
        "video": None,
        "audio": [{"source": "system", "gain_db": 0.0}],
    }
    assert schedule("edit", "standup", "--", "--fps", "900") == 2
    assert schedule("pause", "standup") == 0
    assert run_as_json(capsys, "list")["jobs"][0]["next"] is None
    assert run_as_json(capsys, "next")["runs"] == []
    assert schedule("resume", "standup") == 0
    assert run_as_json(capsys, "list")["jobs"][0]["next"]
    assert run_as_json(capsys, "log", "standup")["runs"] == []
    assert schedule("remove", "standup") == 0
    assert run_as_json(capsys, "list")["jobs"] == []
    for command in ("remove", "pause", "resume", "run", "log", "edit"):
        capsys.readouterr()
        assert schedule(command, "standup") == 2
        assert "no job 'standup'" in capsys.readouterr().err


def place(name: str) -> str:
    """Where a job of this name records to."""
    with Store() as store:
        spec = store.job(name).spec
    return str(spec.output if isinstance(spec, RecordingSpec) else spec.folder)


def test_where_recordings_go_follows_the_name_and_what_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_VIDEOS_DIR", str(tmp_path / "Videos"))
    usual, card = tmp_path / "Videos" / "Capture", ("--", "--test-card", "320x240")
    assert schedule("add", "daily 09:00", "--name", "v1.2", *card) == 0
    assert place("v1.2") == str(usual / "v1.2" / "v1.2.mp4")
    assert schedule("edit", "v1.2", "--rename", "v1.3") == 0
    assert place("v1.3") == str(usual / "v1.3" / "v1.3.mp4")
    assert schedule("edit", "v1.3", "--to", str(tmp_path / "x"), "--", "--no-video") == 0
    assert place("v1.3") == str(tmp_path / "x" / "v1.3.m4a")
    assert schedule("edit", "v1.3", "--rename", "talk") == 0
    assert place("talk") == str(tmp_path / "x" / "talk.m4a")
    assert schedule("edit", "talk", "--to", str(tmp_path / "y.mkv"), *card) == 0
    assert schedule("edit", "talk", "--rename", "other", "--for", "5m") == 0
    assert place("other") == str(tmp_path / "y.mkv")
    assert schedule("edit", "other", "--", "voice", "--from", "synthetic") == 0
    assert place("other") == str(tmp_path)
    assert schedule("edit", "other", "--clear", "to") == 0
    assert place("other") == str(usual / "other")


def test_a_change_of_the_clocks_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert schedule("add", "daily 09:00", "--timezone", "Europe/Berlin") == 0
    capsys.readouterr()
    assert schedule("next", "366") == 0
    shown = capsys.readouterr().out
    assert shown.count("the clocks in Europe/Berlin have changed") == 2


def test_a_run_by_hand_records_and_is_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out" / "card.mkv"
    words = ("--for", "1s", "--name", "card", "--to", str(target), "--keep", "1")
    assert schedule("add", "daily 09:00", *words, "--", *CARD) == 0
    capsys.readouterr()
    assert schedule("run", "card") == 0
    first = Path(capsys.readouterr().out.strip())
    assert first.name.startswith("card 20")
    assert measure(first).length_s == pytest.approx(1.0, abs=0.05)
    done = run_as_json(capsys, "run", "card")
    assert (done["status"], done["exit_code"]) == ("done", 0)
    assert [*target.parent.iterdir()] == [Path(done["paths"][0])]  # --keep 1
    assert len(run_as_json(capsys, "log", "card")["runs"]) == 2
    assert schedule("log", "card", "--text") == 0
    said = capsys.readouterr().err
    assert '"width_px": 320, "height_px": 240' in said
    assert "started: recording to" in said


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("is_early", [True, False])
def test_a_run_by_hand_that_is_ended_is_interrupted(
    name: str,
    is_early: bool,  # noqa: FBT001 - a parameter of the test
    tmp_path: Path,
) -> None:
    words = ("--for", "60s", "--name", "card", "--to", str(tmp_path / "out"))
    assert schedule("add", "daily 09:00", *words, "--", *CARD) == 0
    command = [sys.executable, "-m", "capture", "schedule", "run", "card"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Store() as store, subprocess.Popen(command, text=True, **pipes) as process:
        job = store.job("card")
        wait_until(lambda: [r.status for r in store.runs(job)] == [Status.RUNNING])
        if not is_early:
            wait_until(
                lambda: any(p.stat().st_size > 20_000 for p in job.place.folder.glob("*.mp4"))
            )
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=30)
        (done,) = store.runs(job)
        assert find_pid(store.runs_folder, done) is None
    assert process.returncode == 130
    assert "Traceback" not in err
    assert done.status is Status.INTERRUPTED
    assert f"card: interrupted: {done.message}" in err
    assert out.splitlines() == [*done.paths]
    assert is_early or measure(Path(done.paths[0])).length_s > 0
    assert not [*job.place.folder.glob(".*")]  # no journal either


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_nohup_lets_a_run_go_on_without_its_terminal(tmp_path: Path) -> None:
    words = ("--for", "1s", "--name", "card", "--to", str(tmp_path / "out"))
    assert schedule("add", "daily 09:00", *words, "--", *CARD) == 0
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from capture.cli.app import run; raise SystemExit(run(['schedule', 'run', 'card']))"
    )
    with Store() as store, subprocess.Popen([sys.executable, "-c", code]) as process:
        job = store.job("card")
        wait_until(lambda: bool(store.runs(job)))
        process.send_signal(1)  # SIGHUP, by a name that Windows lacks
        assert process.wait(30) == 0
        assert [each.status for each in store.runs(job)] == [Status.DONE]


def test_what_may_keep_a_job_from_recording_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("DISPLAY", "PULSE_SERVER", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    said = {}
    for name, words in {
        "film": ("--", "--audio", "mic"),
        "sound": ("--for", "5m", "--", "--no-video"),
        "voice": ("--", "voice", "--from", "mic", "--once"),
        "alone": ("--", "--private-desktop", "640x480", "--", sys.executable),
        "card": ("--", *CARD, "--stop-when", "silence:5s"),
    }.items():
        assert schedule("add", "daily 09:00", "--name", name, *words) == 0
        lines = capsys.readouterr().err.splitlines()
        said[name] = [line for line in lines if line.startswith("warning: ")]
    assert "there is no screen to read" in said["film"][0]
    assert "no sound server answers (mic)" in said["film"][1]
    assert "nothing ends these recordings" in said["film"][2]
    assert [line.partition(": ")[2] for line in said["sound"]] == [
        "not there now: no sound server answers (system)"
    ]
    assert [line.partition(": ")[2] for line in said["voice"]] == [
        "not there now: no sound server answers (mic)"
    ]
    assert said["alone"] == said["card"] == []
    assert schedule("list") == 0
    shown = capsys.readouterr().out
    assert (shown.count("without end"), shown.count("ends by itself")) == (1, 3)
    assert " 5m " in shown


def test_the_log_breaks_no_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    folder = tmp_path / ("a long name " * 8).strip()
    with Store() as store:
        job = store.add(Job("long", "daily 09:00", "UTC", RecordingSpec(folder)))
        done = store.claim(job, 0.0)
        assert done is not None
        path = str(folder / "long.mp4")
        store.finish(
            done, status=Status.SILENT, exit_code=4, paths=(path,), findings=("nothing " * 20,)
        )
    assert schedule("log", "long") == 0
    header, line, *details = capsys.readouterr().out.splitlines()
    assert header.split() == ["due", "length", "size", "result"]
    assert line.endswith("silent, exit code 4")
    assert details == [f"  {path}", f"  {'nothing ' * 20}"]


def test_a_run_without_its_recorder_is_not_said_to_record(
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = {"pid": os.getpid(), "pid_started": process_start(os.getpid()), "boot_id": boot_id()}
    with Store() as store:
        for name, values in {"lives": own, "gone": own | {"pid_started": 1}}.items():
            job = store.add(Job(name, "daily 09:00", "UTC", RecordingSpec(Path("out"))))
            claimed = store.claim(job, 0.0)
            assert claimed is not None
            store.change(claimed, status=Status.RUNNING, **values)
    for command in (("list",), ("log", "gone")):
        assert schedule(*command) == 0
        assert "its recorder has ended" in " ".join(capsys.readouterr().out.split())
    assert schedule("log", "lives") == 0
    assert "its recorder has ended" not in capsys.readouterr().out


def test_a_job_that_is_removed_leaves_what_it_has_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--for", "0.5s", "--to", str(tmp_path / "out"))
    for name in ("never", "once"):
        assert schedule("add", "daily 09:00", "--name", name, *words, "--", *CARD) == 0
    assert schedule("run", "once") == 0
    capsys.readouterr()
    assert schedule("remove", "never") == schedule("remove", "once") == 0
    said = capsys.readouterr().err.splitlines()
    assert said == ["removed: never", f"removed: once; its recordings stay in {tmp_path / 'out'}"]
    assert len([*(tmp_path / "out").iterdir()]) == 1


def test_no_option_is_there_by_accident(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("add", "edit", "list", "next", "remove", "run", "log", "serve", "install"):
        assert schedule(command, "--help") == 0
        shown = capsys.readouterr().out
        assert "--empty" not in shown
        assert "--no-" not in shown


def test_a_run_that_fails_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--for", "1s", "--name", "bad", "--to", str(tmp_path / "file" / "out"))
    assert schedule("add", "daily 09:00", *words, "--", *CARD) == 0
    (tmp_path / "file").write_text("in the way")
    capsys.readouterr()
    assert schedule("run", "bad") == 1
    assert "bad: failed: the recorder did not start" in capsys.readouterr().err


def test_a_thousand_jobs_are_listed_without_the_scheduler(tmp_path: Path) -> None:
    with Store() as store:
        store._connection.execute("PRAGMA synchronous = OFF")  # three thousand transactions
        spec = RecordingSpec(tmp_path)
        for number in range(1000):
            job = store.add(Job(f"job-{number}", "weekdays 09:00", "Europe/Berlin", spec))
            last = store.claim(job, 0.0)
            assert last is not None
            store.finish(last, status=Status.DONE)
    code = (
        "import sys; from capture.cli.app import run; code = run(['schedule', 'list']);"
        "slow = {'av', 'numpy', 'rich.console'} & set(sys.modules);"
        "sys.exit(code or ', '.join(slow) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1001


def test_a_damaged_schedule_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "schedule.sqlite").write_bytes(b"nothing of the kind" * 100)
    assert schedule("list") == 1
    assert "is damaged" in capsys.readouterr().err
    connection = sqlite3.connect(tmp_path / "newer.sqlite")
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    assert schedule("list", "--database", str(tmp_path / "newer.sqlite")) == 2
    assert "newer version" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--at", "2020-01-01 09:00"], "in the past"),
        (["--at", "soon"], "is no time"),
        (["--at", "23:59", "--delay", "5s"], "cannot both be set"),
        (["--start-within", "5s"], "no rule to wait for"),
        (["--audio", "none", "--stop-when", "silence:5s"], "no sound is recorded"),
    ],
)
def test_what_record_cannot_wait_for(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [str(tmp_path / "x.mp4"), "--test-card", "320x240"]
    assert run(["record", *before, *words]) == 2
    assert message in capsys.readouterr().err


# --------------------------------------------------------------------------------------- install


def test_the_unit_passes_systemds_own_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.setenv("XAUTHORITY", '/tmp/100 %"odd" $x\\y')  # noqa: S108 - only a text here
    assert schedule("install", "--print") == 0
    text = capsys.readouterr().out
    unit = text.partition("# systemd: ")[2].partition("\n")[2].partition("\n# cron")[0]
    assert 'Environment="DISPLAY=:7"' in unit
    path = tmp_path / "capture-schedule.service"
    path.write_text(unit)
    command = ["systemd-analyze", "verify", "--user", str(path)]
    around = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}  # it wants one, of any kind
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=around)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_place_with_a_percent_sign_survives_every_format() -> None:
    unit = systemd_unit({"A": '50% "x" \\ $HOME'}, Path("/a b/100%.sqlite"))
    assert 'Environment="A=50%% \\"x\\" \\\\ $HOME"' in unit
    assert '"--database" "/a b/100%%.sqlite"' in unit
    cron = next(
        text for title, text in printed(Path("/a b/100%.sqlite")).items() if "cron" in title
    )
    assert "'/a b/100\\%.sqlite'" in cron


def test_the_session_is_known(tmp_path: Path) -> None:
    (tmp_path / ".Xauthority").touch()
    around = {"DISPLAY": ":3", "HOME": str(tmp_path), "SECRET": "x", "PULSE_SERVER": ""}
    assert session_environment(around) == {
        "DISPLAY": ":3",
        "HOME": str(tmp_path),
        "XAUTHORITY": str(tmp_path / ".Xauthority"),
    }


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is of Linux")
def test_doctor_knows_whether_the_schedule_can_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from capture.schedule.lock import Lock  # noqa: PLC0415 - only where needed

    monkeypatch.setenv("DISPLAY", ":7")
    assert state() == "no jobs"
    assert schedule("add", "daily 09:00") == 0
    with pytest.raises(CaptureError, match="no daemon serves the schedule, which has 1 job"):
        state()
    with Store() as store:
        place = store.path
    with Lock(place):
        assert "served by process" in state()
        assert schedule("install") == 0
        path = Path(capsys.readouterr().out.strip())
        assert path.name == "capture-schedule.service"
        assert path.stat().st_mode & 0o777 == 0o600
        assert "served by process" in state()
        monkeypatch.setenv("DISPLAY", ":8")
        with pytest.raises(CaptureError, match="another DISPLAY"):
            state()

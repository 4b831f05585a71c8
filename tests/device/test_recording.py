"""``capture record`` as a user runs it: real programs on a private desktop, files read back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from capture.media.check.verify import verify
from tests.device.measure import against_truth, measure_events, offsets
from tests.device.recorded import PATIENCE_S, until_playing
from tests.media.films import read_picture_times, read_sound, video_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture.desktop import PrivateDesktop

assert sys.platform != "win32"  # for the type checker: it knows no signals there


FLASHBEEP = Path(__file__).with_name("flashbeep.py")
TONES = Path(__file__).with_name("tones.py")
RATE_HZ = 48_000
STEP_MS = 15.0
"""How far a CI machine may be off; the benchmark publishes the real figures."""


def capture(*words: str, timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, to its end."""
    command = [sys.executable, "-m", "capture", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)


@pytest.fixture
def start_capture(desktop_env: PrivateDesktop) -> Iterator[Any]:
    """Start the command on the private desktop; gives its process once it records."""
    del desktop_env
    running: list[subprocess.Popen[str]] = []

    def start(path: Path, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "capture", "record", str(path), "--json", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "started":
                return process
        raise AssertionError("it never recorded")

    yield start
    for process in running:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def result_of(process: subprocess.Popen[str], timeout_s: float = PATIENCE_S) -> dict[str, Any]:
    """The last line of ``--json``."""
    output, _ = process.communicate(timeout=timeout_s)
    last: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert last["event"] == "result", output
    return last


@pytest.mark.parametrize("fps", [60, 30])
@pytest.mark.alone
def test_sound_and_picture_are_in_step(
    fps: int, desktop_env: PrivateDesktop, tmp_path: Path
) -> None:
    del desktop_env
    path = tmp_path / "film.mp4"
    words = [sys.executable, str(FLASHBEEP), "--events", "15", "--out", str(tmp_path / "truth")]
    done = capture("record", str(path), "--fps", str(fps), "-q", "--", *words)
    assert done.returncode == 0, done.stderr
    events = against_truth(measure_events(path), tmp_path / "truth")
    # A picture is taken somewhere in its slot: on average half a slot after the flash.
    measured = offsets(events, picture_s=1 / fps)
    assert measured.count >= 13
    assert measured.median_ms == pytest.approx(0, abs=STEP_MS)


def test_a_film_of_a_player_is_whole(desktop_env: PrivateDesktop, tmp_path: Path) -> None:
    del desktop_env
    path = tmp_path / "film.mp4"
    tone = [sys.executable, str(TONES), "--hz", "440", "--seconds", "20", "--latency-ms", "1000"]
    done = capture("record", str(path), "--duration", "4", "--json", "--", *tone)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["stopped_by"] == "duration"
    assert result["duration_s"] == pytest.approx(4.0, abs=0.001)
    assert video_end(path) == pytest.approx(4.0, abs=0.05)
    sound = read_sound(path)
    assert sound.end_s == pytest.approx(4.0, abs=0.05)
    assert result["tracks"][1]["gaps"] == 0
    steady = sound.samples[3 * RATE_HZ :, 0]  # it may take a while to begin
    assert _level_at(steady, 440) > 20 * np.log10(np.abs(steady).max()) - 12


def test_one_application_alone_is_in_the_file(
    start_capture: Any, desktop_env: PrivateDesktop, tmp_path: Path
) -> None:
    import pulsectl  # noqa: PLC0415 - it loads libpulse

    path = tmp_path / "app.wav"
    words = ("--latency-ms", "1000")
    other = desktop_env.run([sys.executable, str(TONES), "--hz", "1000", "--name", "other", *words])
    player = desktop_env.run([sys.executable, str(TONES), "--hz", "440", "--name", "one", *words])
    with pulsectl.Pulse("test") as client:
        until_playing(client, "one", "other")
    process = start_capture(path, "--no-video", "--audio", "app:one")
    time.sleep(2.0)
    player.terminate()
    player.wait(PATIENCE_S)
    # It goes on after the application has ended: nothing of the other may come.
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    assert result_of(process)["duration_s"] > 4.0
    other.terminate()
    other.wait(PATIENCE_S)
    sound = read_sound(path).samples[:, 0]
    first, end = np.flatnonzero(sound)[[0, -1]]
    playing = sound[first:end]
    assert len(playing) > RATE_HZ
    assert _level_at(playing, 440) > -20
    assert _level_at(playing, 1000) < _level_at(playing, 440) - 60
    # Not where the tone sets in and breaks off: such an edge has all frequencies in it.
    window = RATE_HZ // 2
    for start in range(first + 1, end - window, window):
        assert _level_at(sound[start : start + window], 1000) < -80
    assert len(sound) - end > RATE_HZ


def _level_at(samples: np.ndarray[Any, np.dtype[np.float32]], frequency_hz: float) -> float:
    """Level in dBFS of a sine of that frequency, within +-2 bins."""
    window = np.hanning(len(samples))
    spectrum = np.abs(np.fft.rfft(samples * window)) / (window.sum() / 2)
    at = round(frequency_hz * len(samples) / RATE_HZ)
    return float(20 * np.log10(max(spectrum[max(at - 2, 0) : at + 3].max(), 1e-9)))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.opus", "a.m4a", "a.wav"])
def test_a_killed_recording_of_a_still_desktop_plays(
    name: str, start_capture: Any, desktop_env: PrivateDesktop, tmp_path: Path
) -> None:
    path = tmp_path / name
    tone = [sys.executable, str(TONES), "--hz", "440", "--seconds", "20", "--peak", "0.05"]
    player = desktop_env.run(tone)
    process = start_capture(path, *([] if name in {"a.mp4", "a.mkv"} else ["--no-video"]))
    started_s = time.monotonic()
    time.sleep(5)
    process.kill()
    recorded_s = time.monotonic() - started_s
    player.terminate()
    player.wait(PATIENCE_S)
    assert read_sound(path).end_s >= recorded_s - 2
    if name in {"a.mp4", "a.mkv"}:
        assert video_end(path) >= recorded_s - 2


@pytest.mark.alone
def test_events_after_a_pause_are_as_well_aligned_as_before(
    desktop_env: PrivateDesktop, tmp_path: Path
) -> None:
    from capture import RecordingSpec, Session, VideoSpec  # noqa: PLC0415

    path, truths = tmp_path / "film.mp4", (tmp_path / "before", tmp_path / "after")
    show = [sys.executable, str(FLASHBEEP), "--events", "7", "--out"]
    with Session(RecordingSpec(path, video=VideoSpec(fps=60))) as session:
        assert desktop_env.run([*show, str(truths[0])]).wait(PATIENCE_S) == 0
        session.pause()
        time.sleep(3)
        session.resume()
        assert desktop_env.run([*show, str(truths[1])]).wait(PATIENCE_S) == 0
    result = session.wait()
    assert result is not None
    ((paused_at_s, length_s),) = result.pauses_s
    assert length_s > 2.9
    assert video_end(path) == pytest.approx(result.duration_s, abs=0.05)
    events = measure_events(path)
    parts = (
        [e for e in events if (e[0] < paused_at_s) == is_before] for is_before in (True, False)
    )
    before, after = (
        offsets(against_truth(part, truth)) for part, truth in zip(parts, truths, strict=True)
    )
    assert before.count >= 3
    assert after.count >= 3
    assert after.median_ms - before.median_ms == pytest.approx(0, abs=STEP_MS)


def test_a_warning_is_said_once_and_forgotten_when_it_came_to_nothing(
    desktop_env: PrivateDesktop, tmp_path: Path
) -> None:
    del desktop_env
    path = tmp_path / "talk.mka"
    tone = [sys.executable, str(TONES), "--hz", "440", "--name", "late", "--seconds", "2"]
    sources = ["--audio", "system", "--audio", "app:late", "--audio", "app:never"]
    done = capture("record", str(path), *sources, "--", *tone)
    assert done.returncode == 0, done.stderr
    for warning in (
        (
            "app:late is in system too: it will be twice as loud in the mix; "
            "record separate tracks instead"
        ),
        "late plays nothing yet: waiting for it",
        "never plays nothing yet: waiting for it",
    ):
        assert done.stderr.count(warning) == 1
        assert f"warning: {warning}\n" in done.stderr
    warnings = str(verify(path).certificate)
    assert "late plays nothing" not in warnings
    assert "never plays nothing" in warnings
    assert "app:late is in system too" in warnings


def test_two_sources_are_a_mix_and_two_tracks(desktop_env: PrivateDesktop, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    tone = [sys.executable, str(TONES), "--hz", "440", "--name", "one", "--seconds", "10"]
    player = desktop_env.run(tone)
    sources = ["--audio", "system", "--audio", "app:one"]
    done = capture("record", str(path), "--duration", "3", "-q", *sources)
    player.terminate()
    player.wait(PATIENCE_S)
    assert done.returncode == 0, done.stderr
    titles = [read_sound(path, track).title for track in range(3)]
    assert titles[0] == "mix"
    assert titles[2] == "app one"
    assert done.stderr == ""
    levels = [
        _level_at(read_sound(path, track).samples[RATE_HZ : 2 * RATE_HZ, 0], 440)
        for track in range(3)
    ]
    assert levels[1] == pytest.approx(levels[2], abs=0.5)
    assert levels[0] == pytest.approx(levels[1] + 6, abs=1)


def test_a_still_screen_takes_few_pictures(desktop_env: PrivateDesktop, tmp_path: Path) -> None:
    del desktop_env
    path = tmp_path / "film.mp4"
    done = capture("record", str(path), "--duration", "3", "-q")
    assert done.returncode == 0, done.stderr
    times = read_picture_times(path)
    assert 6 <= len(times) <= 12
    assert max(np.diff(times)) <= 0.6


def test_the_end_of_the_command_ends_the_recording(
    desktop_env: PrivateDesktop, tmp_path: Path
) -> None:
    del desktop_env
    path = tmp_path / "film.mp4"
    done = capture("record", str(path), "--json", "--", "sh", "-c", "sleep 1; exit 3")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["stopped_by"], result["command_exit_code"]) == ("command-ended", 3)
    assert any("exit code 3" in warning for warning in result["warnings"])


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--screen", "9"], 1, "9"),
        (["--window", "no such window"], 1, "no such window"),
        (["--region", "9000,0,100,100"], 1, "region"),
        (["--audio", "system:nowhere"], 1, "nowhere"),
        (["--audio", "mic:nowhere"], 1, "nowhere"),
        (["--audio", "radio"], 2, "radio"),
        (["--encoder", "h266"], 1, "h266"),
        (["--fps", "0"], 2, "0 pictures"),
        (["--fps", "1000"], 2, "1000 pictures"),
        (["--duration", "soon"], 2, "soon"),
        (["--no-video", "--audio", "none"], 2, "neither pictures nor sound"),
        (["--", "no-such-program"], 1, "no-such-program"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    words: list[str], code: int, says: str, desktop_env: PrivateDesktop, tmp_path: Path
) -> None:
    del desktop_env
    name = "a.m4a" if "--no-video" in words else "a.mp4"
    done = capture("record", str(tmp_path / name), *words)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ")
    assert says in done.stderr.splitlines()[0]
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.avi", "a", "folder", "old.mp4", "file.txt/a.mp4"])
def test_bad_outputs(name: str, desktop_env: PrivateDesktop, tmp_path: Path) -> None:
    del desktop_env
    (tmp_path / "folder").mkdir()
    (tmp_path / "old.mp4").write_bytes(b"precious")
    (tmp_path / "file.txt").write_text("a file")
    done = capture("record", str(tmp_path / name), "--duration", "1")
    assert done.returncode in {1, 2}
    assert done.stderr.startswith("error: ")
    assert "hint: " in done.stderr
    assert (tmp_path / "old.mp4").read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.txt", "folder", "old.mp4"]


def test_a_unicode_name_works(desktop_env: PrivateDesktop, tmp_path: Path) -> None:
    del desktop_env
    path = tmp_path / "Sprachnachricht Zoë 🎧.mp4"
    done = capture("record", str(path), "--duration", "1", "-q")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{path}\n"
    assert video_end(path) == pytest.approx(1, abs=0.05)


def test_without_a_sound_server_it_says_so(
    desktop_env: PrivateDesktop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del desktop_env
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/nobody")
    done = capture("record", str(tmp_path / "a.mp4"), "--duration", "1")
    assert done.returncode == 1
    assert "sound server" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_went_away_does_not_end_the_recording(
    start_capture: Any, tmp_path: Path
) -> None:
    path = tmp_path / "film.mp4"
    process = start_capture(path, "--duration", "2")
    process.stdout.close()
    assert process.wait(PATIENCE_S) in {0, 1}
    assert video_end(path) == pytest.approx(2, abs=0.05)


def test_a_program_that_is_not_there_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    done = capture("record", str(path), "--private-desktop", "640x360", "--", "no-such-program")
    assert done.returncode == 1
    assert "no-such-program" in done.stderr
    assert not path.exists()


def test_nothing_of_a_private_desktop_is_left(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    tone = [sys.executable, str(TONES), "--hz", "440", "--seconds", "1.5"]
    done = capture("record", str(path), "--private-desktop", "640x360", "-q", "--", *tone)
    assert done.returncode == 0, done.stderr
    sound = read_sound(path)
    assert np.abs(sound.samples).max() > 0.1
    assert video_end(path) == pytest.approx(sound.end_s, abs=0.05)

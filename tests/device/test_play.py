"""``capture play``: what is heard is the file, and keys do what they say; read from the monitor."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from capture.cli.app import run
from tests.device.counted_player import RATE_HZ, decode, encode
from tests.device.recorded import PATIENCE_S
from tests.device.servers import PulseServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from capture.desktop import PrivateDesktop

ROOT = Path(__file__).parents[2]
LENGTH_S = 70
"""Room for a step of 30 s; the counted samples repeat themselves after 87 s."""
WAYS = ("PortAudio, where it has an output", "PulseAudio directly")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The way that the sound takes; for the second, PortAudio is not installed."""
    if request.param == WAYS[0] and not request.config.getoption("full"):
        pytest.skip("the same through PortAudio: with --full")
    if request.param == WAYS[1]:
        folder = tmp_path / "without"
        folder.mkdir()
        (folder / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder), str(ROOT))))
    return str(request.param)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose samples say which frame they are."""
    path = tmp_path_factory.mktemp("counted") / "counted.wav"
    samples = np.frombuffer(encode(0, LENGTH_S * RATE_HZ), np.float32).reshape(-1, 2)
    soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    return path


def frames_of(heard: list[bytes]) -> NDArray[np.float64]:
    """Which frames were heard, one after the other; silence left out."""
    samples = np.frombuffer(b"".join(heard), np.float32).reshape(-1, 2)
    numbers: NDArray[np.float64] = decode(samples[:, 0])
    return numbers[numbers >= 0]


def runs_of(frames: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Stretches that follow on each other: (first frame, last frame)."""
    cuts = np.flatnonzero(np.diff(frames) != 1) + 1
    return [(int(run[0]), int(run[-1])) for run in np.split(frames, cuts) if len(run)]


def test_what_is_heard_is_the_file(
    way: str, counted: Path, tmp_path: Path, monitor: list[bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "short.wav"
    samples, _ = soundfile.read(counted, frames=2 * RATE_HZ + 77, dtype="float32")
    soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    command = [sys.executable, "-m", "capture", "play", str(path)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "00:00:00 of 00:00:02" in done.stderr
    if way == WAYS[1]:
        assert "played through PulseAudio" in done.stderr
    time.sleep(0.3)
    assert runs_of(frames_of(monitor)) == [(0, 2 * RATE_HZ + 76)]
    assert capfd.readouterr().out == ""


@contextlib.contextmanager
def playing(path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, list[bytes]]]:
    """The player in a terminal of its own, a way to type there, and what it shows."""
    if sys.platform == "win32":  # for the type checker
        raise NotImplementedError
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "capture", "play", str(path)],
        cwd=ROOT,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "60", "LINES": "20"},
        preexec_fn=lambda: os.login_tty(theirs),  # noqa: PLW1509 - our threads only read pipes
    )
    os.close(theirs)
    shown: list[bytes] = []

    def look() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(ours, 1 << 16):
                shown.append(data)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield process, ours, shown
    finally:
        process.kill()
        process.wait()
        thread.join()
        os.close(ours)


@pytest.mark.usefixtures("way")
def test_keys(counted: Path, monitor: list[bytes]) -> None:
    with playing(counted) as (process, terminal, shown):
        deadline = time.monotonic() + 10
        while not len(frames_of(monitor)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for keys in (b"\x1b[C", b"\x1bOA", b"\x1b[D", b"\x1b[B", b"\x1b[F", b"\x1b[1~"):
            time.sleep(0.6)
            os.write(terminal, keys)
        time.sleep(0.6)
        os.write(terminal, b" ")
        time.sleep(0.5)
        paused = len(frames_of(monitor))
        time.sleep(0.5)
        assert len(frames_of(monitor)) == paused
        os.write(terminal, b" ")
        time.sleep(0.5)
        os.write(terminal, b"q")
        assert process.wait(PATIENCE_S) == 0
        text = b"".join(shown).decode(errors="replace")
    # A jump is heard as the end of one stretch and the beginning of another.
    stretches = runs_of(frames_of(monitor))
    jumps_s = [(after[0] - before[1]) / RATE_HZ for before, after in itertools.pairwise(stretches)]
    places_s = [first / RATE_HZ for first, _ in stretches]
    assert len(stretches) == 7, stretches
    assert jumps_s[:4] == pytest.approx([5, 30, -5, -30], abs=0.4)
    assert places_s[5] == pytest.approx(LENGTH_S - 5, abs=0.01)
    assert places_s[6] == 0.0
    assert "paused" in text
    assert "┃" in text
    assert "█" in text
    assert "of 00:01:10" in text


def test_a_file_that_cannot_be_played(
    tmp_path: Path, desktop_env: PrivateDesktop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert desktop_env.display
    path = tmp_path / "text.mp4"
    path.write_text("no film\n" * 100)
    assert run(["play", str(path)]) == 1
    assert "hint: " in capsys.readouterr().err
    assert run(["play", str(tmp_path / "gone.wav")]) == 2
    assert "no file" in capsys.readouterr().err
    short = tmp_path / "short.wav"
    soundfile.write(short, np.zeros(9 * 8000), 8000)
    assert run(["play", str(short), "--start", "99s"]) == 2
    shown = capsys.readouterr().err
    assert "short.wav has no sound at 00:01:39" in shown
    assert "hint: it ends at 00:00:09" in shown


def test_without_an_output_it_says_so(counted: Path) -> None:
    nowhere = {"PULSE_SERVER": "unix:/nonexistent/pulse"}
    done = subprocess.run(
        [sys.executable, "-m", "capture", "play", str(counted)],
        cwd=ROOT,
        env=os.environ | nowhere,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "error: there is no sound output here" in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_that_goes_away_ends_it(counted: Path, tmp_path: Path) -> None:
    server = PulseServer(tmp_path)
    server.start()
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    paths = {"PULSE_SERVER": server.address, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "capture", "play", str(counted)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | paths, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        while "00:00:00 of" not in process.stderr.readline():
            assert process.poll() is None
    finally:
        server.stop()
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "error: the sound output has gone" in said
    assert "hint: " in said

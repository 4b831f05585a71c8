"""Recordings whose terminal closes, whose log ends, whose signals are ignored: real processes."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from capture.media.read.decode import read_sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from capture.desktop import PrivateDesktop

assert sys.platform != "win32"  # for the type checker: it knows no terminals there

WITHIN_S = 60.0
PROGRAM = (sys.executable, "-m", "capture")
LONG = ("--hz", "440", "--seconds", "1e6", "--name", "radio")
WORDS = {
    "record": ("record", "film.mkv", "--test-card", "160x128", "--audio", "synthetic"),
    "voice": ("voice", ".", "--from", "system", "--any-sound", "--threshold", "-40"),
}


@pytest.fixture(autouse=True)
def _sounding(desktop_env: PrivateDesktop) -> Iterator[None]:
    del desktop_env
    tone = [sys.executable, "-m", "tests.device.tones", *LONG]
    program = subprocess.Popen(tone, cwd=Path(__file__).parents[2])
    yield
    program.kill()
    program.wait()


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def is_recording(folder: Path) -> bool:
    """Whether some of it has reached the disk."""
    return any(path.stat().st_size > 4000 for path in folder.iterdir() if path.is_file())


def length_s(folder: Path) -> float:
    """Of the one file in a folder in which nothing else is left but what is known of it."""
    (path,) = (path for path in folder.iterdir() if path.name != "messages.jsonl")
    samples, rate_hz, _ = read_sound(path)
    return len(samples) / rate_hz


def ignoring(*numbers: signal.Signals) -> Callable[[], None]:
    """For ``preexec_fn``: what is started ignores these, and no others."""

    def ignore() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number in numbers else signal.SIG_DFL)

    return ignore


def end(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGINT) -> int:
    process.send_signal(number)
    return process.wait(WITHIN_S)


# ----------------------------------------------------------------------------------- the terminal


@contextlib.contextmanager
def in_a_terminal(
    words: Sequence[str], *, ignores: Sequence[signal.Signals]
) -> Iterator[list[int]]:
    """The command as the leader of a terminal; gives its number and the terminal's other end."""
    pid, other_end = pty.fork()
    if pid == 0:
        ignoring(*ignores)()
        os.environ["TERM"] = "xterm"
        os.execv(PROGRAM[0], [*PROGRAM, *words])  # noqa: S606 - it is the terminal's own
    yield [pid, other_end]
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def read_until(other_end: int, is_so: Callable[[], object]) -> None:
    """Be the reader of a terminal."""

    def step() -> object:
        if select.select([other_end], [], [], 0)[0]:
            os.read(other_end, 65536)
        return is_so()

    until(step)


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("is_ignored", [False, True])
def test_the_terminal_is_closed(name: str, tmp_path: Path, *, is_ignored: bool) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    words = [str(folder / word) if word in {".", "film.mkv"} else word for word in WORDS[name]]
    ignores = (signal.SIGHUP,) if is_ignored else ()
    with in_a_terminal(words, ignores=ignores) as (pid, other_end):
        read_until(other_end, lambda: is_recording(folder))
        os.close(other_end)
        os.kill(pid, signal.SIGHUP)  # as the shell sends it, besides that of the system
        if is_ignored:
            time.sleep(1.5)  # it would have ended, and its meters have nowhere to be drawn
            assert os.waitpid(pid, os.WNOHANG) == (0, 0)
            os.kill(pid, signal.SIGINT)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert length_s(folder) > (1.4 if is_ignored else 0)


# ------------------------------------------------------------------------------ whoever reads it


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("way", ["plain", "json"])
@pytest.mark.parametrize("fault", ["gone", "stuck", "full disk"])
def test_a_log_that_fails(name: str, way: str, fault: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    limit = ("--for", "4s") if name == "voice" else ("--duration", "4s")
    words = [*WORDS[name], *limit, *(["--json"] if way == "json" else [])]
    reading, writing = os.pipe()
    if fault == "full disk":
        os.close(writing)
        writing = os.open("/dev/full", os.O_WRONLY)
    if fault == "stuck":  # as full as it gets
        os.set_blocking(writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"x" * 4096)
        os.set_blocking(writing, True)
    process = subprocess.Popen([*PROGRAM, *words], cwd=folder, stdout=writing, stderr=writing)
    os.close(writing)
    if fault == "gone":
        os.close(reading)
    assert process.wait(WITHIN_S) == 0
    if fault != "gone":
        os.close(reading)
    assert length_s(folder) > (1.0 if name == "voice" else 3.9)


# ---------------------------------------------------------------------------- signals, ignored


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize(
    ("number", "other"),
    [
        (signal.SIGHUP, signal.SIGTERM),
        (signal.SIGTERM, signal.SIGINT),
        (signal.SIGINT, signal.SIGTERM),
    ],
)
def test_a_signal_that_is_ignored_stays_so(
    name: str, number: signal.Signals, other: signal.Signals, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [*PROGRAM, *WORDS[name], "--quiet"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        preexec_fn=ignoring(number),  # noqa: PLW1509 - no thread of ours holds a lock
    )
    until(lambda: is_recording(tmp_path))
    process.send_signal(number)
    time.sleep(1.0)  # it would have ended
    assert process.poll() is None
    assert end(process, other) == 0
    assert length_s(tmp_path) > 0.9


def test_what_is_recorded_ignores_it_as_well(tmp_path: Path) -> None:
    """On a desktop of its own too, though that is ended by a signal which is ignored."""
    show = tmp_path / "numbers"
    command = f'echo $$ > "{show}"; while :; do sleep 0.1; done'
    words = ["record", str(tmp_path / "film.mkv"), "--private-desktop", "320x240", "-q"]
    process = subprocess.Popen(
        [*PROGRAM, *words, "--", "sh", "-c", command],
        preexec_fn=ignoring(signal.SIGHUP, signal.SIGTERM),  # noqa: PLW1509
    )
    until(lambda: show.exists() and show.read_text().strip())
    command_pid = int(show.read_text())
    supervisor_pid = int(
        Path(f"/proc/{command_pid}/stat").read_text().rpartition(")")[2].split()[1]
    )
    for pid in (command_pid, supervisor_pid):
        for number in (signal.SIGHUP, signal.SIGTERM):
            os.kill(pid, number)
    time.sleep(1.0)  # they would have ended
    assert process.poll() is None
    for pid in (command_pid, supervisor_pid):
        os.kill(pid, 0)
    assert end(process) == 0
    assert not Path(f"/proc/{command_pid}").exists()
    assert not Path(f"/proc/{supervisor_pid}").exists()


def test_a_batch_goes_on(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, 48_000 * 10)
    for number in range(12):
        soundfile.write(tmp_path / f"{number}.wav", noise, 48_000)
    target = tmp_path / "out"
    sources = sorted(tmp_path.glob("*.wav"))
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        process = subprocess.Popen(
            [*PROGRAM, "extract", *sources, "--format", "mp3", "--output", target, "--jobs", "2"],
            stdout=full,
            stderr=full,
            preexec_fn=ignoring(signal.SIGHUP, signal.SIGTERM),  # noqa: PLW1509
            start_new_session=True,
        )
        until(lambda: target.exists() and any(target.iterdir()))
        for number in (signal.SIGHUP, signal.SIGTERM):
            os.killpg(process.pid, number)
        assert process.wait(WITHIN_S) == 0
    assert len(list(target.glob("*.mp3"))) == 12
    assert len(list(target.iterdir())) == 12

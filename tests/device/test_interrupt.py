"""^C at any moment of any command: real processes, a real SIGINT for the whole group of each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from capture.media.check.verify import verify
from tests.device.recorded import PATIENCE_S

if TYPE_CHECKING:
    from capture.desktop import PrivateDesktop

assert sys.platform != "win32"  # for the type checker: it knows no groups there

MOMENTS_S = (0.0, 0.05, 0.15, 0.3, 0.5, 0.8)
SCRIPT = (
    "import sys; from capture.cli.app import main; "
    "sys.stdout.write('begun\\n'); sys.stdout.flush(); sys.exit(main())"
)
"""What the installed script does, and a word when it comes to us: Python's own start, and the few
milliseconds that this one module takes to load, cannot be caught."""
EARLIEST_S = 0.04
"""The word wakes this process, often on the core on which the command was about to go on."""
INTERRUPTED = 130
NOTHING_KEPT = {"interrupted", "stopped before anything was recorded"}


def interrupt_each(words: list[list[str]]) -> list[tuple[int, str]]:
    """Run a command for each moment, and send it ^C then; gives exit codes and stderr."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(interrupt, words, MOMENTS_S))


def interrupt(words: list[str], moment_s: float) -> tuple[int, str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(moment_s + EARLIEST_S)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE_S)
    return process.returncode, said


def check(code: int, said: str) -> None:
    assert "Traceback" not in said, said
    assert "Exception ignored" not in said, said
    assert "error:" not in said, said
    assert code in {0, INTERRUPTED}, said


@pytest.mark.parametrize("name", ["film.mp4", "talk.opus"])
def test_a_recording(name: str, desktop_env: PrivateDesktop, tmp_path: Path) -> None:
    del desktop_env
    paths = [tmp_path / f"{number} {name}" for number in range(len(MOMENTS_S))]
    words = [["record", str(path)] for path in paths]
    results = interrupt_each(words)
    for path, (code, said) in zip(paths, results, strict=True):
        check(code, said)
        if code == INTERRUPTED:
            assert NOTHING_KEPT & set(said.splitlines()), said
            assert not path.exists()
        else:
            assert not verify(path).faults
    codes = [code for code, _ in results]
    assert codes[:2] == [INTERRUPTED] * 2
    assert len(list(tmp_path.iterdir())) == codes.count(0)  # no journal, nothing half done


@pytest.mark.parametrize("words", [["devices"], ["voice", "OUT"], ["demo", "OUT"], ["doctor"]])
def test_other_commands(words: list[str], desktop_env: PrivateDesktop, tmp_path: Path) -> None:
    del desktop_env
    folders = [tmp_path / str(moment_s) for moment_s in MOMENTS_S]
    results = interrupt_each(
        [[str(folder) if word == "OUT" else word for word in words] for folder in folders]
    )
    for code, said in results:
        check(code, said)
        assert code == 0 or "interrupted" in said or words[0] == "voice", said
    assert [code for code, _ in results[:2]] == [INTERRUPTED] * 2


@pytest.mark.parametrize("files", [1, 40])
def test_extracting(files: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, 48_000 * 600 // files)
    for number in range(files):
        soundfile.write(tmp_path / f"{number}.wav", noise, 48_000)
    sources = [str(path) for path in sorted(tmp_path.glob("*.wav"))]
    words = [
        ["extract", *sources, "--format", "mp3", "--output", str(tmp_path / f"to {moment_s}/")]
        for moment_s in MOMENTS_S
    ]
    for each in words:
        Path(each[-1]).mkdir()
    for (code, said), each in zip(interrupt_each(words), words, strict=True):
        check(code, said)
        left = [path.name for path in Path(each[-1]).iterdir() if path.suffix != ".mp3"]
        assert not left

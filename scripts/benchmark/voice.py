"""Part ``voice``: what listening for messages costs, while nothing plays and while one does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from capture.demo.voice_sample import make_voice_sample
from scripts.benchmark.processes import cpu_s, memory_bytes
from scripts.benchmark.report import Spread, say, spread, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from capture.desktop import PrivateDesktop

__all__ = ["measure_voice", "show_voice"]

VOICE = (sys.executable, "-m", "capture", "voice", "--quiet")
SOURCES = ("auto", "system")
STEADY_AFTER_S = 5.0
"""Start-up, and the model's loading, are over by then."""


def measure_voice(
    desktop: PrivateDesktop, folder: Path, *, seconds: float, times: int
) -> dict[str, Any]:
    """CPU seconds a second, and memory at the beginning and the end, of a listening process."""
    sample = make_voice_sample(folder / "voice.wav")
    sounds = {"idle": None, "hearing": f"while paplay '{sample}'; do sleep 2; done"}
    found: dict[str, Any] = {}
    for source in SOURCES:
        for what, loop in sounds.items():
            say(f"voice: {source}, {what}")
            command = [*VOICE, str(folder / "kept"), "--from", source]
            runs = [_listen(desktop, command, loop, seconds) for _ in range(times)]
            found[f"{source}, {what}"] = {
                name: spread([run[name] for run in runs]) for name in runs[0]
            }
    return {"seconds": seconds, "times": times, "listening": found}


def show_voice(found: dict[str, Any]) -> str:
    """As a table: CPU time is of one core."""
    rows = [
        [
            name,
            f"{Spread(**values['cpu']):.2%}",
            f"{Spread(**values['first_mb']):.0f}",
            f"{Spread(**values['last_mb']):.0f}",
        ]
        for name, values in found["listening"].items()
    ]
    return table(["capture voice --from", "CPU", "memory MB, first", "last"], rows)


def _listen(
    desktop: PrivateDesktop, command: list[str], loop: str | None, seconds: float
) -> dict[str, float]:
    with _running(desktop, command) as keeper, contextlib.ExitStack() as players:
        time.sleep(1.0)
        if loop is not None:
            players.enter_context(_running(desktop, ["sh", "-c", loop]))
        time.sleep(STEADY_AFTER_S)
        begun_s, used_s, first = time.monotonic(), cpu_s(keeper.pid), memory_bytes(keeper.pid) / 1e6
        time.sleep(seconds)
        cpu = (cpu_s(keeper.pid) - used_s) / (time.monotonic() - begun_s)
        return {"cpu": cpu, "first_mb": first, "last_mb": memory_bytes(keeper.pid) / 1e6}


@contextlib.contextmanager
def _running(desktop: PrivateDesktop, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, **desktop.environment}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        yield process
    finally:
        if sys.platform != "win32":  # where nothing of this runs; the type checker asks
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()

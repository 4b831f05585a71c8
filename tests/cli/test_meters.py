"""What a person sees while it records."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from capture.cli.keys import legend
from capture.cli.meters import PeakHold, plain_line, render
from capture.model.recording import Snapshot, State
from capture.model.signal import Level

SNAPSHOT = Snapshot(
    state=State.RECORDING,
    recorded_ns=83_400_000_000,
    written_bytes=12_345_678,
    free_bytes=50_000_000_000,
    captured_pictures=2400,
    dropped_pictures=3,
    fps=29.0,
    levels={"mix": Level(-18.0, -6.0), "mic": Level(float("-inf"), float("-inf"), is_clipped=True)},
    drift_ppm={"mic": 12.0},
    path=Path("lesson.mp4"),
)


def shown(snapshot: Snapshot) -> list[str]:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(render(snapshot, PeakHold(), legend({"pause", "resume", "stop", "mark"})))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_meters() -> None:
    assert shown(SNAPSHOT) == [
        " ● recording  00:01:23   29 fps, 3 dropped   12.3 MB   50.0 GB left",
        " mix █████████████████████████──────┃──── -6 dBFS",
        " mic ──────────────────────────────────── silent CLIP",
        " lesson.mp4",
        " space pause · m mark · q stop",
    ]


def test_a_plain_line() -> None:
    line = plain_line(SNAPSHOT)
    assert line == "recording  00:01:23  29 fps, 3 dropped  12.3 MB  mix -6 dBFS, mic silent"


def test_a_peak_is_held_and_then_let_go() -> None:
    peaks = PeakHold()
    held = [peaks.update("mix", -6.0)] + [peaks.update("mix", -30.0) for _ in range(20)]
    assert held[10] == -6.0
    assert held[-1] == -30.0

"""Part ``start``: how long until the first picture is taken, and until ``--help`` is there."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from capture.desktop import PrivateDesktop
from scripts.benchmark.desktops import show, tone
from scripts.benchmark.films import read_pictures
from scripts.benchmark.recorders import RECORDERS, SIZE_PX, Run
from scripts.benchmark.report import Spread, say, spread, table

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.benchmark.recorders import Recorder

__all__ = ["measure_start", "show_start"]

RECORD_S = 3.0
FPS = 30


def measure_start(desktop: PrivateDesktop, folder: Path, *, times: int) -> dict[str, Any]:
    """Seconds from the command to the first picture in the file, and of ``capture --help``."""
    recorders = [recorder for recorder in RECORDERS if recorder.is_here()]
    # Something has to move in every slot, so that the film's last picture is of its end.
    with tone(desktop), show("scroll", desktop, folder):
        say("start: to the first picture")
        found: dict[str, list[float]] = {recorder.name: [] for recorder in recorders}
        for _ in range(times):
            for recorder in recorders:
                found[recorder.name].append(_first_picture_s(recorder, desktop, folder))
    say("start: a private desktop")
    desktops = [_desktop_s() for _ in range(times)]
    say("start: --help")
    helps = [_help_s() for _ in range(times)]
    return {
        "times": times,
        "first_picture_s": {name: spread(values) for name, values in found.items()},
        "desktop_s": spread(desktops),
        "help_s": spread(helps),
    }


def show_start(found: dict[str, Any]) -> str:
    """As a table."""
    rows = [[f"{n}: first picture", _cell(v)] for n, v in found["first_picture_s"].items()]
    rows.append(["a private desktop that is up", _cell(found["desktop_s"])])
    rows.append(["capture --help", _cell(found["help_s"])])
    return table(["from the command to", "seconds"], rows)


def _cell(values: dict[str, float]) -> str:
    return f"{Spread(**values):.2f}"


def _first_picture_s(recorder: Recorder, desktop: PrivateDesktop, folder: Path) -> float:
    """Told from outside, for any recorder alike: what the film lacks of the time it had.

    Exact to about a picture, 0.03 s.
    """
    begun_s = time.monotonic()
    run = Run(recorder, desktop, folder / "film", FPS)
    time.sleep(RECORD_S)
    had_s = time.monotonic() - begun_s
    film = run.end()
    recorded_s = read_pictures(film.path, FPS).length_s
    film.path.unlink()
    return had_s - recorded_s


def _desktop_s() -> float:
    begun_s = time.monotonic()
    with PrivateDesktop(*SIZE_PX):
        return time.monotonic() - begun_s


def _help_s() -> float:
    begun_s = time.monotonic()
    subprocess.run([sys.executable, "-m", "capture", "--help"], capture_output=True, check=True)
    return time.monotonic() - begun_s

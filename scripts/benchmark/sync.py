"""Part ``sync``: how far sound and picture are apart in the file, at known moments."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from capture.desktop import SINK_NAME
from scripts.benchmark.desktops import show
from scripts.benchmark.neighbours import PipeWireDesktop, busy
from scripts.benchmark.recorders import FFMPEG_SOUND_FIRST, RECORDERS, Run
from scripts.benchmark.report import say, table
from tests.device.measure import against_truth, measure_events, offsets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from capture.desktop import PrivateDesktop
    from scripts.benchmark.recorders import Recorder

__all__ = ["RATES_FPS", "measure_sync", "show_sync"]

RATES_FPS = (60, 30)
SIDE_PX = 400
"""Of the square that flashes before something else."""


def measure_sync(
    desktop: PrivateDesktop,
    folder: Path,
    *,
    events: int,
    behind: str | None = None,
    loops: int = 0,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Sound minus picture of every recorder, in milliseconds; positive: the sound is late.

    Args:
        desktop: Where.
        folder: For files.
        events: Flashes and beeps.
        behind: Which of ``DESKTOPS`` is to be seen around the flashes; ``None``: they fill it.
        loops: How many processes that never rest run beside.
        names: Of the recorders; none: all.
    """
    found: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        if behind:
            stack.enter_context(show(behind, desktop, folder))
        stack.enter_context(busy(loops))
        for fps in RATES_FPS:
            for recorder in (*RECORDERS, FFMPEG_SOUND_FIRST):
                if recorder.is_here() and (not names or recorder.name in names):
                    say(f"sync: {recorder.name} at {fps} pictures a second")
                    side_px = SIDE_PX if behind else None
                    measured = _measure(
                        recorder, desktop, folder, fps, events=events, side_px=side_px
                    )
                    found.setdefault(str(fps), {})[recorder.name] = measured
    return {"events": events, "behind": behind, "busy": loops, "rates": found}


def show_sync(found: dict[str, Any]) -> str:
    """As a table, in milliseconds."""
    rows = [
        [fps, recorder, str(values["count"])]
        + [f"{values[name]:+.1f}" for name in ("median_ms", "p5_ms", "p95_ms", "drift_ms_per_min")]
        for fps, recorders in found["rates"].items()
        for recorder, values in recorders.items()
    ]
    return table(["fps", "recorder", "events", "median ms", "5 %", "95 %", "drift ms/min"], rows)


def _measure(
    recorder: Recorder,
    desktop: PrivateDesktop,
    folder: Path,
    fps: int,
    *,
    events: int,
    side_px: int | None,
) -> dict[str, Any]:
    run = Run(recorder, desktop, folder / "film", fps)
    truth = folder / "truth.jsonl"
    client = [sys.executable, "-m", "tests.device.flashbeep", "--events", str(events)]
    client += ["--side", str(side_px)] if side_px else []
    client += ["--graph", SINK_NAME] if isinstance(desktop, PipeWireDesktop) else []
    code = desktop.run([*client, "--out", str(truth)]).wait()
    film = run.end()
    if code:
        sys.exit(f"bench: the flashing program failed (exit code {code})")
    # A recorder looks once a slot: on average a flash is half a slot old by then.
    events_s = against_truth(measure_events(film.path), truth)
    film.path.unlink()
    return asdict(offsets(events_s, picture_s=1 / fps)) | {"drift_ms_per_min": _drift(events_s)}


def _drift(events_s: list[tuple[float, float]]) -> float:
    """Slope of the line through all of them: milliseconds that the sound gets later a minute."""
    flashes, beeps = np.array(events_s).T
    return float(np.polyfit(flashes, beeps - flashes, 1)[0] * 60_000)

"""Part ``load``: what recording costs, on five desktops, each recorder in turn in the same run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scripts.benchmark.desktops import show, tone
from scripts.benchmark.films import read_pictures
from scripts.benchmark.recorders import FFMPEG, RECORDERS, Run
from scripts.benchmark.report import Spread, say, spread, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from capture.desktop import PrivateDesktop
    from scripts.benchmark.recorders import Recorder

__all__ = ["measure_load", "show_load"]


PEER_PAIRS = 3
"""In so many rounds all recorders take part, then only the first two: an hour is long enough."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one recording.

    Attributes:
        cpu: CPU seconds a recorded second, start and end of the program in them.
        steady_cpu: The same while it runs, without start and end.
        peak_mb: Most resident memory, 10^6 bytes.
        dropped: Pictures; as the recorder counts them, or else what the file lacks.
        mb_per_min: Size of the file.
    """

    cpu: float
    steady_cpu: float
    peak_mb: float
    dropped: int
    mb_per_min: float


def measure_load(
    desktop: PrivateDesktop,
    folder: Path,
    names: Sequence[str],
    *,
    seconds: float,
    pairs: int,
    fps: int,
) -> dict[str, Any]:
    """Medians and spreads per desktop and recorder.

    The recorders take turns within a pair, in another order every time, and a ratio is made from
    the two of one pair: what else the machine does falls on both.
    """
    recorders = [recorder for recorder in RECORDERS if recorder.is_here()]
    found: dict[str, Any] = {}
    with tone(desktop):
        for name in names:
            costs: list[dict[str, Cost]] = []
            with show(name, desktop, folder):
                for pair in range(pairs):
                    say(f"load: {name}, pair {pair + 1} of {pairs}")
                    here = recorders if pair < PEER_PAIRS else recorders[:2]
                    turn = pair % len(here)
                    order = here[turn:] + here[:turn]
                    costs.append({r.name: _cost(r, desktop, folder, seconds, fps) for r in order})
            found[name] = {r.name: _together(r.name, costs) for r in recorders}
    return {"seconds": seconds, "pairs": pairs, "fps": fps, "desktops": found}


def show_load(found: dict[str, Any]) -> str:
    """As a table: CPU time is of one core."""
    rows = [
        [
            name,
            recorder,
            f"{Spread(**values['cpu']):.1%}",
            f"{Spread(**values['steady_cpu']):.1%}",
            f"{Spread(**values['of_ffmpeg']):.2f}",
            f"{values['peak_mb']['median']:.0f}",
            f"{values['dropped']['median']:.0f}",
            f"{values['mb_per_min']['median']:.1f}",
        ]
        for name, recorders in found["desktops"].items()
        for recorder, values in recorders.items()
    ]
    heads = ["desktop", "recorder", "CPU, all", "CPU, steady", "of ffmpeg", "memory MB"]
    return table([*heads, "dropped", "MB/min"], rows)


def _cost(
    recorder: Recorder, desktop: PrivateDesktop, folder: Path, seconds: float, fps: int
) -> Cost:
    film = Run(recorder, desktop, folder / "film", fps).record(seconds)
    pictures = read_pictures(film.path, fps)
    size_bytes = film.path.stat().st_size
    film.path.unlink()
    dropped = film.dropped
    if dropped is None:
        dropped = max(0, round(pictures.length_s * fps) - pictures.count)
    return Cost(
        film.cpu_s / pictures.length_s,
        film.steady_load,
        film.peak_bytes / 1e6,
        dropped,
        size_bytes / 1e6 / pictures.length_s * 60,
    )


def _together(name: str, costs: list[dict[str, Cost]]) -> dict[str, Any]:
    figures = Cost.__dataclass_fields__
    rounds = [pair for pair in costs if name in pair]
    values = {f: spread([getattr(pair[name], f) for pair in rounds]) for f in figures}
    return values | {"of_ffmpeg": spread([p[name].cpu / p[FFMPEG.name].cpu for p in rounds])}

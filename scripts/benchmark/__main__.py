"""Measures this recorder against others, in the same run, on a private desktop.

    python -m scripts.benchmark load sync start extract

Started by ``scripts/bench``; ``docs/benchmark.md`` says what is measured and how.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capture.desktop import PrivateDesktop
from scripts.benchmark.chart import draw_load
from scripts.benchmark.desktops import DESKTOPS
from scripts.benchmark.extract import measure_extract, show_extract
from scripts.benchmark.load import measure_load, show_load
from scripts.benchmark.neighbours import PipeWireDesktop
from scripts.benchmark.quality import measure_colour, measure_size, show_colour, show_size
from scripts.benchmark.recorders import RECORDERS, SIZE_PX
from scripts.benchmark.report import describe_machine, say
from scripts.benchmark.schedule import measure_schedule, show_schedule
from scripts.benchmark.start import measure_start, show_start
from scripts.benchmark.sync import measure_sync, show_sync
from scripts.benchmark.voice import measure_voice, show_voice

if TYPE_CHECKING:
    from collections.abc import Callable

FIGURES = Path(__file__).parents[2] / "docs" / "bench.json"

DEFAULT_FPS = 30
SERVERS = ("pulseaudio", "pipewire")
SHOWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "load": show_load,
    "size": show_size,
    "colour": show_colour,
    "sync": show_sync,
    "start": show_start,
    "extract": show_extract,
    "voice": show_voice,
    "schedule": show_schedule,
}


def main() -> None:
    """Measure the parts that were asked for, print their tables, and write them if asked to."""
    options = _parse()
    for recorder in RECORDERS:
        if not recorder.is_here():
            say(f"bench: without {recorder.name}, which is not installed")
    parts: dict[str, Any] = {}
    for part in options.parts or SHOWS:
        parts[part] = _measure(part, options)
        print(f"\n{part}\n\n{SHOWS[part](parts[part])}\n", flush=True)
        if options.write:
            _write(_name_of(part, options), parts[part])


def _name_of(part: str, options: argparse.Namespace) -> str:
    """What figures are kept as: measured otherwise, they stand beside the usual ones."""
    if part == "load" and options.fps != DEFAULT_FPS:
        return f"{part} {options.fps}"
    if part != "sync":
        return part
    others = [options.behind, options.server if options.server != SERVERS[0] else None]
    others += [f"busy {options.busy}" if options.busy else None]
    return " ".join(filter(None, [part, *others]))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(SHOWS)}")
    more = parser.add_argument
    more("--seconds", type=float, default=20, help="length of a recording of load (20)")
    more("--fps", type=int, default=DEFAULT_FPS, help="pictures a second of load (30)")
    more("--pairs", type=int, default=3, help="how often each of load is recorded (3)")
    more("--desktops", nargs="+", choices=DESKTOPS, default=DESKTOPS, help="of load, size")
    more("--events", type=int, default=50, help="flashes and beeps of sync (50)")
    more("--behind", choices=DESKTOPS, help="what is to be seen around the flashes of sync")
    more("--server", choices=SERVERS, default=SERVERS[0], help="the sound server of sync")
    more("--busy", type=int, default=0, help="processes that never rest, beside sync (0)")
    more("--recorders", nargs="+", default=[], metavar="NAME", help="of sync, as in its table")
    more("--times", type=int, default=5, help="how often start, voice, schedule start (5)")
    more("--listen", type=float, default=60, help="how long voice listens, schedule waits (60)")
    more("--files", type=int, default=500, help="in each batch of extract (500)")
    more("--rounds", type=int, default=3, help="how often extract does each task (3)")
    more("--big", type=int, default=1000, help="size of the large film of extract, in MB (1000)")
    more("--hours", type=float, default=12, help="length of the long file of extract (12)")
    more("--write", action="store_true", help=f"put the figures into docs/{FIGURES.name}")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(SHOWS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there is {', '.join(SHOWS)}")
    return options


MEASURES: dict[str, Callable[[PrivateDesktop, Path, argparse.Namespace], dict[str, Any]]] = {
    "load": lambda desktop, folder, options: measure_load(
        desktop,
        folder,
        options.desktops,
        seconds=options.seconds,
        pairs=options.pairs,
        fps=options.fps,
    ),
    "size": lambda desktop, folder, options: measure_size(desktop, folder, options.desktops),
    "colour": lambda desktop, folder, _: measure_colour(desktop, folder),
    "sync": lambda desktop, folder, options: measure_sync(
        desktop,
        folder,
        events=options.events,
        behind=options.behind,
        loops=options.busy,
        names=options.recorders,
    ),
    "start": lambda desktop, folder, options: measure_start(desktop, folder, times=options.times),
    "voice": lambda desktop, folder, options: measure_voice(
        desktop, folder, seconds=options.listen, times=options.times
    ),
}
"""What needs a desktop."""


def _measure(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """One part; most on a desktop of its own."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="capture-bench-")))
        if part == "extract":
            return measure_extract(
                folder,
                files=options.files,
                rounds=options.rounds,
                big_mb=options.big,
                hours=options.hours,
            )
        if part == "schedule":
            return measure_schedule(folder, seconds=options.listen, times=options.times)
        is_pipewire = part == "sync" and options.server != SERVERS[0]
        kind = PipeWireDesktop if is_pipewire else PrivateDesktop
        desktop = stack.enter_context(kind(*SIZE_PX))
        return MEASURES[part](desktop, folder, options)


def _write(part: str, figures: dict[str, Any]) -> None:
    """Put one part into the file; the others keep the machine that they were measured on."""
    known = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    known[part] = {"machine": describe_machine()} | figures
    if part == "load":
        draw_load(figures, FIGURES.with_suffix(".png"))
    FIGURES.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    say(f"bench: {part} is in docs/{FIGURES.name}")


if __name__ == "__main__":
    main()

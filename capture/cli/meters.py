"""The live view of a recording: meters in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from capture.model.recording import Snapshot, State
from capture.model.signal import Level
from capture.units import NS_PER_S, format_clock, format_dbfs, format_size

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["PeakHold", "meter", "plain_line", "render"]

FLOOR_DBFS = -60.0
"""The left end of a meter; below it speech is not understood."""
LOUD_DBFS, HOT_DBFS = -18.0, -6.0
"""Where a meter turns yellow and red: EBU alignment level, and close to clipping."""
METER_CELLS = 36
HOLD_POLLS = 15
"""A peak stays visible for 1.5 s at ten polls a second, as on hardware meters."""

_SIGNS = {
    State.WAITING: ("◌", "waiting", "yellow"),
    State.RECORDING: ("●", "recording", "red"),
    State.PAUSED: ("‖", "paused", "yellow"),
    State.FINISHING: ("○", "finishing", "cyan"),
}


class PeakHold:
    """The highest level of each track in the last 1.5 s."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[float, int]] = {}

    def update(self, name: str, peak_dbfs: float) -> float:
        """Take a new peak in; gives the one to show."""
        held, age = self._held.get(name, (-math.inf, 0))
        if peak_dbfs >= held or age >= HOLD_POLLS:
            held, age = peak_dbfs, 0
        self._held[name] = (held, age + 1)
        return held


def render(snapshot: Snapshot, peaks: PeakHold, keys: str) -> RenderableType:
    """State, meters, file and keys as they are drawn in a terminal."""
    sign, word, style = _SIGNS.get(snapshot.state, ("·", snapshot.state.value, "dim"))
    head = Text.assemble(
        (f" {sign} {word}", f"bold {style}"),
        f"  {format_clock(snapshot.recorded_ns / NS_PER_S)}",
        ("   " + _pictures(snapshot), "dim"),
        (f"   {format_size(snapshot.written_bytes)}", "dim"),
        (f"   {_left(snapshot)}", "dim"),
    )
    width = max((len(name) for name in snapshot.levels), default=0)
    rows = [
        meter(name.ljust(width), level, peaks.update(name, level.peak_dbfs))
        for name, level in snapshot.levels.items()
    ]
    path = Text(f" {snapshot.path or ''}", "dim", overflow="ellipsis", no_wrap=True)
    note = [Text(f" ! {snapshot.message}", "yellow")] if snapshot.message else []
    return Group(head, *rows, *note, path, Text(keys, "dim"))


def plain_line(snapshot: Snapshot) -> str:
    """The same in one line without colour, for logs and pipes."""
    levels = ", ".join(
        f"{name} {format_dbfs(level.peak_dbfs)}" for name, level in snapshot.levels.items()
    )
    parts = [
        snapshot.state.value,
        format_clock(snapshot.recorded_ns / NS_PER_S),
        _pictures(snapshot),
        format_size(snapshot.written_bytes),
        levels,
    ]
    return "  ".join(part for part in parts if part)


def _pictures(snapshot: Snapshot) -> str:
    if not snapshot.captured_pictures:
        return ""
    return f"{snapshot.fps:.0f} fps, {snapshot.dropped_pictures} dropped"


def _left(snapshot: Snapshot) -> str:
    return f"{format_size(snapshot.free_bytes)} left" if snapshot.free_bytes is not None else ""


def meter(name: str, level: Level, held_dbfs: float, threshold_dbfs: float | None = None) -> Text:
    """One track: a bar for the RMS level, a tick for the held peak, the peak as a number.

    Args:
        name: Put before it.
        level: Of the last moment.
        held_dbfs: The peak that is still shown.
        threshold_dbfs: Also mark this level; ``None``: none.
    """
    bar = _cell_of(level.rms_dbfs)
    tick = _cell_of(held_dbfs)
    gate = None if threshold_dbfs is None else max(_cell_of(threshold_dbfs) - 1, 0)
    text = Text(f" {name} ")
    for cell in range(METER_CELLS):
        if cell == gate:
            text.append("┊" if cell >= bar else "┋", "bold white")
            continue
        sign = "┃" if cell == tick - 1 else "█" if cell < bar else "─"
        is_lit = cell < bar or cell == tick - 1
        text.append(sign, _colour_of(cell) if is_lit else "grey30")
    text.append(f" {format_dbfs(held_dbfs)}")
    if level.is_clipped:
        text.append(" CLIP", "bold red")
    return text


def _cell_of(level_dbfs: float) -> int:
    """How many cells of the meter a level fills."""
    share = (max(level_dbfs, FLOOR_DBFS) - FLOOR_DBFS) / -FLOOR_DBFS
    return min(METER_CELLS, round(share * METER_CELLS))


def _colour_of(cell: int) -> str:
    at_dbfs = FLOOR_DBFS - (cell + 1) / METER_CELLS * FLOOR_DBFS
    return "red" if at_dbfs > HOT_DBFS else "yellow" if at_dbfs > LOUD_DBFS else "green"

"""``capture play``: a file on the speakers, its waveform and where it is on the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from capture.batch.inputs import check_file
from capture.cli.app import say
from capture.cli.values import Duration
from capture.errors import ConfigError
from capture.units import format_clock

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Group

    from capture import Player

__all__ = ["play", "render_waveform"]

POLL_S = 0.05
"""How often the cursor moves and the output is filled; it holds half a second."""
LINE_EVERY_S = 2.0
STEP_S, LEAP_S = 5.0, 30.0
"""Of the arrows: left and right, up and down."""
WAVE_ROWS = 4
_BLOCKS = " ▁▂▃▄▅▆▇█"
_QUIETEST_HEIGHT = 1
"""Sound that is there is to be seen: in eighths of a row."""


def play(file: Path, /, *, start: Duration = None) -> int:
    """Play a film's sound or a sound file, with its waveform.

    Space pauses and goes on, left and right go 5 seconds, up and down 30, Home and End to the
    beginning and the last 5 seconds; q stops.

    Args:
        file: A film or a sound file.
        start: Begin at this time.
    """
    check_file(file)
    from capture import Player  # noqa: PLC0415 - av is slow to load

    with Player(file) as player:
        for note in player.notes:
            say(f"note: {note}")
        if start:
            _begin_at(player, start, file)
        if sys.stderr.isatty():
            _play_in_terminal(player, file)
        else:
            _play_in_lines(player)
    return 0


def _begin_at(player: Player, start_s: float, file: Path) -> None:
    """Go there.

    Raises:
        ConfigError: It is behind the end.
    """
    if player.stated_s is not None and start_s >= player.stated_s:
        raise ConfigError(
            f"{file} has no sound at {format_clock(start_s)}",
            hint=f"it ends at {format_clock(player.stated_s)}",
        )
    player.seek(start_s)


def _play_in_lines(player: Player) -> None:
    from time import monotonic, sleep  # noqa: PLC0415 - beside what uses it

    next_s = monotonic()
    while not player.is_over:
        player.feed()
        if monotonic() >= next_s:
            next_s += LINE_EVERY_S
            say(f"{format_clock(player.position_s)} of {format_clock(player.length_s)}")
        sleep(POLL_S)


def _play_in_terminal(player: Player, path: Path) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to load
    from rich.live import Live  # noqa: PLC0415

    from capture.cli.keys import Keys  # noqa: PLC0415

    console = Console(stderr=True, emoji=False)
    with Live(console=console, auto_refresh=False, transient=True) as live, Keys() as keys:
        while not player.is_over:
            player.feed()
            live.update(_render(player, path, console.width), refresh=True)
            key = keys.read(POLL_S)
            if key in {"q", "Q", "escape"}:
                return
            _obey(player, key)


def _obey(player: Player, key: str | None) -> None:
    steps = {"left": -STEP_S, "right": STEP_S, "up": LEAP_S, "down": -LEAP_S}
    if key == " ":
        player.toggle()
    elif key in steps:
        player.seek(player.position_s + steps[key])
    elif key == "home":
        player.seek(0.0)
    elif key == "end":
        player.seek(player.length_s - STEP_S)


def _render(player: Player, path: Path, width: int) -> Group:
    from rich.console import Group  # noqa: PLC0415 - slow to load
    from rich.text import Text  # noqa: PLC0415

    columns = max(1, width - 2)
    position_s, length_s = player.position_s, player.length_s
    head = Text(" ⏸ paused " if player.is_paused else " ▶ playing", "bold")
    head.append(f"  {format_clock(position_s)} of {format_clock(length_s)}  ", "not bold")
    head.append(path.name.replace("\n", " "), "dim not bold")
    head.no_wrap, head.overflow = True, "ellipsis"
    cursor = min(columns - 1, int(columns * position_s / max(length_s, 1e-3)))
    rows = []
    for line in render_waveform(player.waveform(columns), columns, WAVE_ROWS):
        row = Text(" ", no_wrap=True)
        row.append(line[:cursor], "cyan")
        row.append("┃", "bold")
        row.append(line[cursor + 1 :], "dim")
        rows.append(row)
    keys = Text(" space pause · ← → 5 s · ↑ ↓ 30 s · Home End · q stop", "dim", no_wrap=True)
    return Group(head, *rows, keys)


def render_waveform(peaks: NDArray[np.float32], columns: int, rows: int) -> list[str]:
    """A waveform in block characters, from above; the loudest column is as high as all rows.

    Args:
        peaks: Amplitudes 0..1 of the first columns; what is not known yet is shown as dots.
        columns: Width of the lines.
        rows: How many lines.
    """
    loudest = max(float(peaks.max(initial=0.0)), 1e-6)
    eighths = [
        max(_QUIETEST_HEIGHT, round(float(peak) / loudest * rows * 8)) if peak > 0 else 0
        for peak in peaks[:columns]
    ]
    lines = []
    for row in reversed(range(rows)):
        line = "".join(_BLOCKS[min(8, max(0, height - 8 * row))] for height in eighths)
        lines.append(line + ("·" if row == 0 else " ") * (columns - len(eighths)))
    return lines

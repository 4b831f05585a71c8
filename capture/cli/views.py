"""How a running recording is shown: meters in a terminal, plain lines, JSON, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any, Self

from capture import json_lines
from capture.cli.app import say
from capture.clock import local_time, now_ns
from capture.model.events import Event, EventKind
from capture.model.recording import RecordingResult
from capture.units import NS_PER_S, format_clock, format_dbfs, format_size

if TYPE_CHECKING:
    from rich.table import Table

    from capture import Running, Session

__all__ = [
    "JsonView",
    "LineView",
    "MeterView",
    "Shown",
    "TerminalView",
    "View",
    "choose_view",
    "print_json",
    "summary",
    "table_of",
]

POLL_S = 0.1
LINE_EVERY_NS = 2 * NS_PER_S
"""How often a line is printed where there is no terminal."""


class Shown:
    """A view, entered while it is shown."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


class View(Shown):
    """Shows nothing; the base of all views."""

    def on_event(self, event: Event) -> None:
        """Called from several threads with every event."""

    def notes(self, notes: Sequence[str]) -> None:
        """Show why a slower or poorer way was taken, a sentence each."""

    def wait(self, until_s: float, sleep: Callable[[], object]) -> None:
        """Show when it begins (wall time, in s since 1970), and sleep for a moment."""
        del until_s
        sleep()

    def show(self, running: Any) -> None:
        """Show the present state; takes the time of one poll."""
        running.wait_for_stop(POLL_S)

    def finish(self, result: Any) -> None:
        """Show the result at the end."""


class PathView(View):
    """Prints the paths of the finished files, nothing else."""

    def finish(self, result: RecordingResult) -> None:
        """Print the path of each file on stdout."""
        for path in result.paths:
            print(path, flush=True)  # noqa: T201


_SPOKEN = {
    EventKind.WAITING,
    EventKind.CHOICE,
    EventKind.WARNING,
    EventKind.DEVICE_LOST,
    EventKind.DEVICE_BACK,
    EventKind.DEFAULT_CHANGED,
    EventKind.STREAM_STARTED,
    EventKind.STREAM_ENDED,
    EventKind.OVERLOAD,
    EventKind.DEAD_SIGNAL,
}


def _spoken(event: Event) -> str:
    is_warning = event.kind in {EventKind.WARNING, EventKind.DEAD_SIGNAL}
    return f"warning: {event.message}" if is_warning else event.message


class LineView(PathView):
    """Plain lines on stderr, for logs and pipes."""

    def __init__(self) -> None:
        self._shown_warnings: set[str] = set()
        self._next_ns = now_ns() + LINE_EVERY_NS
        self._waits_until_s: float | None = None

    def on_event(self, event: Event) -> None:
        """Print warnings, lost devices and the like."""
        if event.kind in _SPOKEN:
            self._shown_warnings.add(event.message)
            say(_spoken(event))

    def wait(self, until_s: float, sleep: Callable[[], object]) -> None:
        """Print the countdown once."""
        if self._waits_until_s != until_s:
            self._waits_until_s = until_s
            say(_countdown(until_s))
        super().wait(until_s, sleep)

    def notes(self, notes: Sequence[str]) -> None:
        """Print each note as a line."""
        for note in notes:
            say(f"note: {note}")

    def show(self, session: Session) -> None:
        """Print levels and counters every two seconds."""
        super().show(session)
        if now_ns() >= self._next_ns:
            from capture.cli.meters import plain_line  # noqa: PLC0415 - rich is slow to load

            self._next_ns += LINE_EVERY_NS
            say(plain_line(session.snapshot()))

    def finish(self, result: RecordingResult) -> None:
        """Print a summary, then the paths."""
        for line in summary(result, self._shown_warnings):
            say(line)
        super().finish(result)


class TerminalView(View):
    """A live picture and keys in a terminal, on stderr."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - slow to load
        from rich.live import Live  # noqa: PLC0415

        from capture.cli.keys import Keys  # noqa: PLC0415
        from capture.cli.meters import PeakHold  # noqa: PLC0415

        self.console = Console(stderr=True, emoji=False)
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.keys = Keys()
        self.peaks = PeakHold()

    def __enter__(self) -> Self:
        self.live.start()
        self.keys.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.keys.__exit__()
        self.live.stop()

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line above the picture."""
        self.console.print(text, style=style, markup=False, highlight=False)

    def notes(self, notes: Sequence[str]) -> None:
        """Print each note as a line."""
        for note in notes:
            self.say(f"note: {note}", "dim")


class MeterView(TerminalView, PathView):
    """Live meters and keys in a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._shown_warnings: set[str] = set()

    def on_event(self, event: Event) -> None:
        """Print warnings, lost devices and the like."""
        if event.kind in _SPOKEN:
            self._shown_warnings.add(event.message)
            self.say(_spoken(event), "yellow")

    def wait(self, until_s: float, sleep: Callable[[], object]) -> None:
        """Show a countdown."""
        from rich.text import Text  # noqa: PLC0415 - slow to load

        with self.live:
            self.live.update(Text(_countdown(until_s)), refresh=True)
            super().wait(until_s, sleep)

    def show(self, session: Session) -> None:
        """Draw the meters once and act on at most one key."""
        from capture.cli.keys import action_of, legend, press  # noqa: PLC0415
        from capture.cli.meters import render  # noqa: PLC0415

        picture = render(session.snapshot(), self.peaks, legend(session.actions()))
        self.live.update(picture, refresh=True)
        press(session, action_of(self.keys.read(POLL_S)))

    def finish(self, result: RecordingResult) -> None:
        """Print a summary, then the paths."""
        for line in summary(result, self._shown_warnings):
            self.say(line)
        super().finish(result)


class JsonView(View):
    """One JSON object a line on stdout; the last one is the result."""

    def __init__(self) -> None:
        self._next_ns = now_ns() + LINE_EVERY_NS
        self._waits_until_s: float | None = None
        print_json({"event": "protocol", "version": json_lines.VERSION})

    def wait(self, until_s: float, sleep: Callable[[], object]) -> None:
        """Print a ``waiting`` event once."""
        if self._waits_until_s != until_s:
            self._waits_until_s = until_s
            print_json({"event": EventKind.WAITING, "message": _countdown(until_s)})
        super().wait(until_s, sleep)

    def on_event(self, event: Event) -> None:
        """Print the event as a JSON object."""
        print_json(json_lines.of_event(event))

    def notes(self, notes: Sequence[str]) -> None:
        """Print a ``note`` object for each."""
        for note in notes:
            print_json({"event": "note", "message": note})

    def show(self, running: Running[Any, Any]) -> None:
        """Print a ``progress`` object every two seconds."""
        super().show(running)
        if now_ns() >= self._next_ns:
            self._next_ns += LINE_EVERY_NS
            print_json(json_lines.of_snapshot(running.snapshot()))

    def finish(self, result: Any) -> None:
        """Print the ``result`` object, the last line."""
        print_json(json_lines.of_result(result))


def _countdown(until_s: float) -> str:
    moment = local_time(until_s)
    left_s = max(0.0, until_s - time.time())
    return f"begins at {moment:%Y-%m-%d %H:%M:%S}, in {format_clock(left_s)}; ^C to leave it"


def print_json(values: dict[str, Any]) -> None:
    """Print a JSON object as one line on stdout."""
    # In one piece: events come from several threads, and print writes its end by itself.
    print(json_lines.json_line(values), end="", flush=True)  # noqa: T201


def table_of(*columns: str) -> Table:
    """An empty table in the style of all commands."""
    from rich.table import Table  # noqa: PLC0415 - slow to load

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def choose_view(*, is_json: bool, is_quiet: bool) -> View:
    """The view that fits what was asked and where we run."""
    if is_json:
        return JsonView()
    if is_quiet:
        return PathView()
    return MeterView() if sys.stderr.isatty() else LineView()


def summary(result: RecordingResult, shown: Container[str] = ()) -> list[str]:
    """What is said at the end: length, size, pictures, loudness, and what went wrong.

    Args:
        result: What was kept.
        shown: Warnings that were said before.
    """
    parts = [f"{result.duration_s:.1f} s", format_size(result.size_bytes)]
    if result.captured_pictures:
        parts.append(f"{result.captured_pictures} pictures, {result.dropped_pictures} dropped")
    parts += [
        f"{track.name} {format_dbfs(track.peak_dbfs)}"
        for track in result.tracks
        if track.peak_dbfs is not None
    ]
    return [
        f"saved: {'; '.join(parts)}",
        *(f"warning: {w}" for w in result.warnings if w not in shown),
    ]

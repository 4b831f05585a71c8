"""How a running recording is shown: meters in a terminal, plain lines, JSON, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Container, Sequence
from types import TracebackType
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
    """Something that is shown as long as it is entered; it has nothing to give back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to give back."""


class View(Shown):
    """Shows nothing; the others build on it."""

    def on_event(self, event: Event) -> None:
        """Called from several threads with every event."""

    def notes(self, notes: Sequence[str]) -> None:
        """What the sources have to say about themselves."""

    def wait(self, until_s: float, sleep: Callable[[], object]) -> None:
        """Show that it begins at a wall time, in s since 1970, and sleep a little."""
        del until_s
        sleep()

    def show(self, running: Any) -> None:
        """Show how it goes, and take the time of one poll for it."""
        running.wait_for_stop(POLL_S)

    def finish(self, result: Any) -> None:
        """Show the result."""


class PathView(View):
    """Prints nothing but the paths of the result."""

    def finish(self, result: RecordingResult) -> None:
        """The paths of the files."""
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
        """A line for what matters to people."""
        if event.kind in _SPOKEN:
            self._shown_warnings.add(event.message)
            say(_spoken(event))

    def wait(self, until_s: float, sleep: Callable[[], object]) -> None:
        """A line, once."""
        if self._waits_until_s != until_s:
            self._waits_until_s = until_s
            say(_countdown(until_s))
        super().wait(until_s, sleep)

    def notes(self, notes: Sequence[str]) -> None:
        """A line for every note."""
        for note in notes:
            say(f"note: {note}")

    def show(self, session: Session) -> None:
        """A new line every two seconds."""
        super().show(session)
        if now_ns() >= self._next_ns:
            from capture.cli.meters import plain_line  # noqa: PLC0415 - rich is slow to load

            self._next_ns += LINE_EVERY_NS
            say(plain_line(session.snapshot()))

    def finish(self, result: RecordingResult) -> None:
        """A summary, then the paths."""
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
        self.live.__enter__()
        self.keys.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.keys.__exit__(kind, error, trace)
        self.live.__exit__(kind, error, trace)

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line above the picture."""
        self.console.print(text, style=style, markup=False, highlight=False)

    def notes(self, notes: Sequence[str]) -> None:
        """A line for every note."""
        for note in notes:
            self.say(f"note: {note}", "dim")


class MeterView(TerminalView, PathView):
    """Live meters and keys in a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._shown_warnings: set[str] = set()

    def on_event(self, event: Event) -> None:
        """A line for what matters to people."""
        if event.kind in _SPOKEN:
            self._shown_warnings.add(event.message)
            self.say(_spoken(event), "yellow")

    def wait(self, until_s: float, sleep: Callable[[], object]) -> None:
        """A line that counts down."""
        from rich.text import Text  # noqa: PLC0415 - slow to load

        with self.live:
            self.live.update(Text(_countdown(until_s)), refresh=True)
            super().wait(until_s, sleep)

    def show(self, session: Session) -> None:
        """The meters as they are now, and one key."""
        from capture.cli.keys import action_of, legend, press  # noqa: PLC0415
        from capture.cli.meters import render  # noqa: PLC0415

        picture = render(session.snapshot(), self.peaks, legend(session.actions()))
        self.live.update(picture, refresh=True)
        press(session, action_of(self.keys.read(POLL_S)))

    def finish(self, result: RecordingResult) -> None:
        """A summary, then the paths."""
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
        """An event, once."""
        if self._waits_until_s != until_s:
            self._waits_until_s = until_s
            print_json({"event": EventKind.WAITING, "message": _countdown(until_s)})
        super().wait(until_s, sleep)

    def on_event(self, event: Event) -> None:
        """A line for every event."""
        print_json(json_lines.of_event(event))

    def notes(self, notes: Sequence[str]) -> None:
        """A line for every note."""
        for note in notes:
            print_json({"event": "note", "message": note})

    def show(self, running: Running[Any, Any]) -> None:
        """Progress every two seconds."""
        super().show(running)
        if now_ns() >= self._next_ns:
            self._next_ns += LINE_EVERY_NS
            print_json(json_lines.of_snapshot(running.snapshot()))

    def finish(self, result: Any) -> None:
        """The last line."""
        print_json(json_lines.of_result(result))


def _countdown(until_s: float) -> str:
    moment = local_time(until_s)
    left_s = max(0.0, until_s - time.time())
    return f"begins at {moment:%Y-%m-%d %H:%M:%S}, in {format_clock(left_s)}; ^C to leave it"


def print_json(values: dict[str, Any]) -> None:
    """One line on stdout."""
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

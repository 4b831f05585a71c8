"""How a running recording is shown: meters in a terminal, plain lines, JSON, or nothing."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from capture.cli.app import say
from capture.cli.values import format_clock, format_dbfs, format_size
from capture.clock import local_time, now_ns
from capture.model.events import Event, EventKind
from capture.model.recording import RecordingResult, State
from capture.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence
    from types import TracebackType

    from rich.table import Table

    from capture.recording.session import Session

__all__ = [
    "JsonView",
    "LineView",
    "MeterView",
    "Shown",
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
        """Called from several threads with everything that happens."""

    def notes(self, notes: Sequence[str]) -> None:
        """What the sources have to say about themselves."""

    def wait(self, until_s: float, sleep: Callable[[], object]) -> None:
        """Show that it begins at a wall time, in s since 1970, and sleep a little."""
        del until_s
        sleep()

    def show(self, session: Session) -> None:
        """Show how it goes, and take the time of one poll for it."""
        session.wait_for_stop(POLL_S)

    def finish(self, result: RecordingResult) -> None:
        """The end: the paths are the result."""
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
    EventKind.GAP,
    EventKind.OVERLOAD,
    EventKind.DEAD_SIGNAL,
}


def _spoken(event: Event) -> str:
    is_warning = event.kind in {EventKind.WARNING, EventKind.DEAD_SIGNAL}
    return f"warning: {event.message}" if is_warning else event.message


class LineView(View):
    """Plain lines on stderr, for logs and pipes."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._next_ns = now_ns() + LINE_EVERY_NS
        self._waits_until_s: float | None = None

    def on_event(self, event: Event) -> None:
        """Said as a line."""
        if event.kind in _SPOKEN:
            self._told.add(event.message)
            say(_spoken(event))

    def wait(self, until_s: float, sleep: Callable[[], object]) -> None:
        """A line, once."""
        if self._waits_until_s != until_s:
            self._waits_until_s = until_s
            say(_countdown(until_s))
        super().wait(until_s, sleep)

    def notes(self, notes: Sequence[str]) -> None:
        """Said as lines."""
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
        for line in summary(result, self._told):
            say(line)
        super().finish(result)


class MeterView(View):
    """Live meters and keys in a terminal."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - slow to load
        from rich.live import Live  # noqa: PLC0415

        from capture.cli.keys import Keys  # noqa: PLC0415
        from capture.cli.meters import PeakHold  # noqa: PLC0415

        self._told: set[str] = set()
        self._console = Console(stderr=True, emoji=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._keys = Keys()
        self._peaks = PeakHold()

    def __enter__(self) -> Self:
        self._live.__enter__()
        self._keys.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._keys.__exit__(kind, error, trace)
        self._live.__exit__(kind, error, trace)

    def on_event(self, event: Event) -> None:
        """Said as a line."""
        if event.kind in _SPOKEN:
            self._told.add(event.message)
            self._console.print(_spoken(event), style="yellow", markup=False)

    def wait(self, until_s: float, sleep: Callable[[], object]) -> None:
        """A line that counts down."""
        from rich.text import Text  # noqa: PLC0415 - slow to load

        with self._live:
            self._live.update(Text(_countdown(until_s)), refresh=True)
            super().wait(until_s, sleep)

    def notes(self, notes: Sequence[str]) -> None:
        """Said as lines."""
        for note in notes:
            self._console.print(f"note: {note}", style="dim", markup=False)

    def show(self, session: Session) -> None:
        """A new line every two seconds."""
        from capture.cli.meters import render  # noqa: PLC0415

        self._live.update(render(session.snapshot(), self._peaks), refresh=True)
        key = self._keys.read(POLL_S)
        if key == " ":
            (session.resume if session.state is State.PAUSED else session.pause)()
        elif key == "m":
            session.mark()
        elif key in {"q", "Q"}:
            session.stop("key")

    def finish(self, result: RecordingResult) -> None:
        """A summary, then the paths."""
        for line in summary(result, self._told):
            self._console.print(line, markup=False, highlight=False)
        super().finish(result)


class JsonView(View):
    """One JSON object a line on stdout; the last one is the result."""

    def __init__(self) -> None:
        self._next_ns = now_ns() + LINE_EVERY_NS
        self._waits_until_s: float | None = None

    def wait(self, until_s: float, sleep: Callable[[], object]) -> None:
        """An event, once."""
        if self._waits_until_s != until_s:
            self._waits_until_s = until_s
            print_json({"event": EventKind.WAITING, "message": _countdown(until_s)})
        super().wait(until_s, sleep)

    def on_event(self, event: Event) -> None:
        """Said as a line."""
        print_json(
            {
                "event": event.kind.value,
                "message": event.message,
                "source": event.source,
                **dict(event.details),
            }
        )

    def notes(self, notes: Sequence[str]) -> None:
        """Said as lines."""
        for note in notes:
            print_json({"event": "note", "message": note})

    def show(self, session: Session) -> None:
        """A new line every two seconds."""
        super().show(session)
        if now_ns() >= self._next_ns:
            self._next_ns += LINE_EVERY_NS
            print_json({"event": "progress", **dataclasses.asdict(session.snapshot())})

    def finish(self, result: RecordingResult) -> None:
        """A summary, then the paths."""
        print_json({"event": "result", **dataclasses.asdict(result)})


def _countdown(until_s: float) -> str:
    moment = local_time(until_s)
    left_s = max(0.0, until_s - time.time())
    return f"begins at {moment:%Y-%m-%d %H:%M:%S}, in {format_clock(left_s)}; ^C to leave it"


def print_json(values: dict[str, Any]) -> None:
    """One line on stdout."""
    # In one piece: events come from several threads, and print writes its end by itself.
    text = _NO_UNICODE.sub(_escaped, json.dumps(_plain(values), ensure_ascii=False))
    print(f"{text}\n", end="", flush=True)  # noqa: T201


_NO_UNICODE = re.compile(r"[\ud800-\udfff]")
"""What stands for a byte of a name that is no UTF-8."""


def _escaped(found: re.Match[str]) -> str:
    """As JSON writes it; what reads it has the name again, as ``os.fsencode`` takes it."""
    return f"\\u{ord(found[0]):04x}"


def _plain(value: Any) -> Any:
    """JSON has neither paths nor infinities: a silent level becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if abs(value) != float("inf") else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)


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
        return View()
    return MeterView() if sys.stderr.isatty() else LineView()


def summary(result: RecordingResult, told: Container[str] = ()) -> list[str]:
    """What is said at the end: length, size, pictures, loudness, and what went wrong.

    Args:
        result: What was kept.
        told: Warnings that were said before.
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
        *(f"warning: {w}" for w in result.warnings if w not in told),
    ]

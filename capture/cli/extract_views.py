"""How a batch is shown while it runs: a bar in a terminal, plain lines, JSON, or nothing."""

from __future__ import annotations

import dataclasses
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from capture.batch.run import BatchReport, JobError
from capture.cli.app import say
from capture.cli.hints import in_options
from capture.cli.views import LINE_EVERY_NS, Shown, print_json, table_of
from capture.clock import now_ns
from capture.model.extraction import ExtractResult
from capture.units import NS_PER_S, format_clock

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["BatchView", "Tally", "choose_batch_view", "show_failures"]


TWO_DIGITS = 9.95
"""What is rounded to 10 or more needs no digit behind the point."""


@dataclass
class Tally:
    """Counts of a batch: files done, skipped and failed, and the sound in them."""

    files: int
    done: int = 0
    """Written, some of them with parts missing."""
    skipped: int = 0
    failed: list[tuple[Path, JobError]] = field(default_factory=list)
    """Also those of which only a part could be had."""
    sound_s: float = 0.0
    begun_ns: int = field(default_factory=now_ns)
    ended: int = 0

    @property
    def speed(self) -> str:
        """Sound gone through in a second of work; empty where that is less than a second."""
        sound_s = self.sound_s / max(1e-3, (now_ns() - self.begun_ns) / NS_PER_S)
        for unit, length_s in (("h", 3600), ("min", 60), ("s", 1)):
            if sound_s >= length_s:
                count = sound_s / length_s
                return f"{count:.{0 if count >= TWO_DIGITS else 1}f} {unit} of sound per second"
        return ""

    @property
    def left_s(self) -> float | None:
        """About how many seconds it will take; ``None`` before the first file has ended."""
        if not self.ended:
            return None
        return (now_ns() - self.begun_ns) / NS_PER_S * (self.files - self.ended) / self.ended

    def line(self) -> str:
        """The counts as a line of text."""
        parts = [f"{self.ended} of {self.files} files", f"{len(self.failed)} failed"]
        parts += [self.speed] if self.speed else []
        if self.left_s is not None:
            parts.append(f"{format_clock(self.left_s)} left")
        return ", ".join(parts)


class BatchView(Shown):
    """The paths of the results on stdout, and nothing else; the others build on it."""

    is_machine_read = False
    """Failures are in what it prints; nobody wants them again as a table."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    def note(self, text: str) -> None:
        """Show a sentence about the batch."""

    def on_done(self, result: ExtractResult) -> None:
        """Show a file that was extracted, now or before."""
        for part in result.parts:
            print(part.path, flush=True)  # noqa: T201

    def on_failed(self, source: Path, error: JobError) -> None:
        """Show a file that failed, or of which only a part was extracted."""

    def poll(self) -> None:
        """Update what is shown; called ten times a second."""

    def finish(self, report: BatchReport) -> None:
        """Show the totals at the end of the batch."""


class LineBatchView(BatchView):
    """Plain lines on stderr, for logs and pipes."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(tally)
        self._next_ns = now_ns() + LINE_EVERY_NS

    def note(self, text: str) -> None:
        """Print the sentence as a line on stderr."""
        say(text)

    def on_done(self, result: ExtractResult) -> None:
        """Print the paths on stdout and warnings on stderr."""
        super().on_done(result)
        for warning in result.warnings:
            self.note(f"warning: {result.source}: {warning}")

    def poll(self) -> None:
        """Print the counts every two seconds."""
        if now_ns() >= self._next_ns:
            self._next_ns = now_ns() + LINE_EVERY_NS
            say(self.tally.line())

    def finish(self, report: BatchReport) -> None:
        """Print the totals as one line."""
        tally = self.tally
        parts = [f"{tally.done} done"]
        parts += [f"{tally.skipped} already there"] if tally.skipped else []
        parts += [f"{len(tally.failed)} failed"] if tally.failed else []
        parts += [f"{tally.files - tally.ended} not done"] if report.is_stopped else []
        speed = f" ({tally.speed})" if tally.speed else ""
        say(f"{'stopped: ' if report.is_stopped else ''}{', '.join(parts)}{speed}")


class BarBatchView(LineBatchView):
    """A progress bar in a terminal, with lines above it."""

    def __init__(self, tally: Tally) -> None:
        from rich.console import Console  # noqa: PLC0415 - slow to load
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        super().__init__(tally)
        self._progress: Progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("files{task.fields[more]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(stderr=True, highlight=False, emoji=False),
            transient=True,
            redirect_stdout=False,  # it would redirect the results to stderr
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=tally.files, more="")
        self._is_stdout_seen = sys.stdout.isatty()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        """Print the sentence above the bar."""
        self._progress.console.print(text, markup=False, soft_wrap=True)

    def on_done(self, result: ExtractResult) -> None:
        """Print the paths above the bar, or on stdout where that is not the terminal."""
        if not self._is_stdout_seen:
            super().on_done(result)
            return
        for part in result.parts:
            self.note(str(part.path))
        for warning in result.warnings:
            self.note(f"warning: {result.source}: {warning}")

    def poll(self) -> None:
        """Move the bar and update the counts beside it."""
        tally = self.tally
        more = f", {len(tally.failed)} failed" if tally.failed else ""
        more += f", {tally.speed}," if tally.speed else ""
        self._progress.update(self._task, completed=tally.ended, more=more)


class JsonBatchView(BatchView):
    """One JSON object a line on stdout; the last one is the summary."""

    is_machine_read = True

    def __init__(self, tally: Tally) -> None:
        super().__init__(tally)
        self._next_ns = now_ns() + LINE_EVERY_NS

    def note(self, text: str) -> None:
        """Print a ``note`` event."""
        print_json({"event": "note", "message": text})

    def on_done(self, result: ExtractResult) -> None:
        """Print a ``file-done`` event."""
        print_json({"event": "file-done", **dataclasses.asdict(result)})

    def on_failed(self, source: Path, error: JobError) -> None:
        """Print a ``file-failed`` event."""
        print_json({"event": "file-failed", "source": source, **dataclasses.asdict(error)})

    def poll(self) -> None:
        """Print a progress event every two seconds."""
        if now_ns() >= self._next_ns:
            self._next_ns = now_ns() + LINE_EVERY_NS
            print_json({"event": "progress", **self._counts(), "left_s": self.tally.left_s})

    def finish(self, report: BatchReport) -> None:
        """Print the totals as the last JSON object."""
        failures: list[dict[str, Any]] = [
            {"source": source, **dataclasses.asdict(error)} for source, error in self.tally.failed
        ]
        print_json(
            {
                "event": "result",
                **self._counts(),
                "elapsed_s": report.elapsed_s,
                "is_stopped": report.is_stopped,
                "failures": failures,
            }
        )

    def _counts(self) -> dict[str, Any]:
        tally = self.tally
        return {
            "files": tally.files,
            "done": tally.done,
            "skipped": tally.skipped,
            "failed": len(tally.failed),
            "sound_s": tally.sound_s,
        }


def choose_batch_view(tally: Tally, *, is_json: bool, is_quiet: bool) -> BatchView:
    """The view that fits what was asked and where we run."""
    if is_json:
        return JsonBatchView(tally)
    if is_quiet:
        return BatchView(tally)
    return BarBatchView(tally) if sys.stderr.isatty() else LineBatchView(tally)


def show_failures(failed: list[tuple[Path, JobError]]) -> None:
    """Every file that failed, why, and what can be done: a table, or lines where nobody looks."""
    if not sys.stderr.isatty():
        for source, error in failed:
            hint = f" ({in_options(error.hint)})" if error.hint else ""
            say(f"failed: {source}: {error.message}{hint}")
        return
    from rich.console import Console  # noqa: PLC0415 - slow to load
    from rich.text import Text  # noqa: PLC0415

    # What all have in common is said once.
    try:
        folder = Path(os.path.commonpath([source.parent for source, _ in failed]))
    except ValueError:  # several drives of Windows
        folder = Path()
    table = table_of(f"failed in {folder}", "why", "what to do")
    for source, error in failed:
        reason = error.message.removeprefix(f"{source} ")
        table.add_row(
            Text(str(source.relative_to(folder))), Text(reason), Text(in_options(error.hint) or "")
        )
    Console(stderr=True, highlight=False, emoji=False).print(table)

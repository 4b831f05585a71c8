"""A run's recorder: a process of its own, in a session of its own, with its words in files.

It goes on when the daemon dies, and another daemon finds it again. What it prints is in two files
in the schedule's folder: its events as JSON, a line each, and what it said besides.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from capture.exit_codes import EXIT_DEAD_SOURCE
from capture.process import END_SIGNAL, apart, is_still, process_start
from capture.schedule.jobs import Job, Run, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

__all__ = [
    "ENDED_BEFORE",
    "ENDED_EARLY",
    "Adopted",
    "Child",
    "Outcome",
    "Process",
    "command_line",
    "drop_progress",
    "find_pid",
    "log_paths",
    "read_outcome",
    "was_started",
]

ATTEMPT = "attempt"
"""The line before a recorder's events: what stands above it came of another try."""
COMMAND_MARK = "$ "
"""Before a command in the log; what stands above it came of another one."""
RUN_VARIABLE = "CAPTURE_RUN"
"""In the recorder's environment: which run it is, so that it is found without its number."""
LOOK_EVERY_S = 1.0
"""Where a process that is not a child cannot be waited for."""
KEPT = "message-kept"
"""The event of ``voice`` that names a finished file."""
HEARD_OUT = {"duration", "idle", "silence", "window-closed", "app-ended"}
"""Reasons of ``voice`` to stop that say nothing about what it heard."""
ENDED_BEFORE = "it was told to end before anything was recorded"
ENDED_EARLY = "it was told to end early"
CUT_SHORT = {
    "interrupt": ENDED_EARLY,
    "terminate": ENDED_EARLY,
    "abort": "it was told to end at once",
    "disk": "there was no more space on the disk",
}
"""Reasons to stop that nobody planned, in words."""


class Child(Protocol):
    """A recorder that runs."""

    pid: int

    def wait(self) -> int | None:
        """Wait for its end; gives its exit code, ``None`` where only its parent would know."""

    def terminate(self) -> None:
        """Let it end cleanly, if it still runs."""


class Process:
    """A recorder that this process has started.

    Args:
        words: Its command line.
        run: Which run it is.
        folder: Where the logs of runs lie.
    """

    def __init__(self, words: Sequence[str], run: Run, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        events, log = log_paths(folder, run)
        with events.open("ab") as out, log.open("ab") as err:
            err.write(f"{COMMAND_MARK}{shlex.join(words)}\n".encode(errors="surrogateescape"))
            err.flush()
            out.write(json.dumps({"event": ATTEMPT}).encode() + b"\n")
            out.flush()
            self._process = subprocess.Popen(  # noqa: S603 - the job's own words
                list(words),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=os.environ | {RUN_VARIABLE: run_mark(folder, run)},
                **apart(),  # ^C is for the daemon, which ends its recorders itself
            )
        self.pid = self._process.pid

    def wait(self) -> int | None:
        """Wait for its end; gives its exit code."""
        return self._process.wait()

    def terminate(self) -> None:
        """Let it end cleanly, if it still runs."""
        try:
            self._process.send_signal(END_SIGNAL)
        except OSError:
            self._process.terminate()


class Adopted:
    """A recorder that a daemon before this one has started.

    Args:
        pid: Its number.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._started = process_start(pid)

    def wait(self) -> int | None:
        """Wait for its end."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                handle = os.pidfd_open(self.pid)
                try:
                    if process_start(self.pid) == self._started:
                        select.select([handle], [], [])
                finally:
                    os.close(handle)
        while process_start(self.pid) is not None and process_start(self.pid) == self._started:
            time.sleep(LOOK_EVERY_S)
        return None

    def terminate(self) -> None:
        """Let it end cleanly, if it still runs."""
        if self._started is not None and process_start(self.pid) == self._started:
            with contextlib.suppress(OSError):
                os.kill(self.pid, END_SIGNAL)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, read from what its recorder has said."""

    status: Status
    paths: tuple[Path, ...] = ()
    size_bytes: int | None = None
    length_s: float | None = None
    findings: tuple[str, ...] = ()
    message: str | None = None
    exit_code: int | None = None
    began_s: float | None = None
    """Wall time of the file's beginning."""
    has_result: bool = False
    """It came to its end and said so."""


def command_line(
    job: Job, output: Path, *, begin_at: datetime | None, length_s: float | None
) -> list[str]:
    """What is started for a run.

    Args:
        job: Whose run.
        output: The file of ``record``, the folder of ``voice``.
        begin_at: When the recording begins; ``None``: at once.
        length_s: How long it is; ``None``: until it ends by itself.
    """
    at = job.words.index("--") if "--" in job.words else len(job.words)
    options, command = job.words[:at], job.words[at:]
    words = [sys.executable, "-m", "capture", job.command, str(output), *options, "--json"]
    if begin_at is not None and job.command == "record":
        words += ["--at", begin_at.isoformat()]
    if length_s is not None:
        words += ["--for" if job.command == "voice" else "--duration", f"{length_s:g}s"]
    return [*words, *command]


def log_paths(folder: Path, run: Run) -> tuple[Path, Path]:
    """Where a run's events and its other words are kept."""
    return folder / f"{run.id}.jsonl", folder / f"{run.id}.log"


def run_mark(folder: Path, run: Run) -> str:
    """What names a run among all schedules of a machine."""
    return f"{folder}/{run.id}"


def find_pid(folder: Path, run: Run) -> int | None:
    """The recorder of a run, if it lives: by its number, or by its environment where that is gone.

    The number is noted after the start; a daemon that is killed in between leaves none.
    """
    if run.pid is not None:
        return run.pid if is_still(run.pid, run.pid_started, run.boot_id) else None
    import psutil  # noqa: PLC0415 - few runs are without a number

    mark = run_mark(folder, run)
    parents = {
        process.pid: process.info["ppid"]
        for process in psutil.process_iter(["ppid", "environ"], ad_value=None)
        if (process.info["environ"] or {}).get(RUN_VARIABLE) == mark
    }
    # What the recorder starts inherits the variable; its own parent has it not.
    return next((pid for pid, parent in parents.items() if parent not in parents), None)


def read_outcome(folder: Path, run: Run, exit_code: int | None) -> Outcome:
    """How a run ended.

    Args:
        folder: Where the logs of runs lie.
        run: Which.
        exit_code: ``None`` where nobody knows.
    """
    events, log = log_paths(folder, run)
    told = _told(events)
    message = _error_of(log)
    if told.result is None:
        paths = tuple(Path(path) for path in told.paths)
        return Outcome(
            Status.FAILED,
            paths,
            findings=told.findings,
            message=message,
            exit_code=exit_code,
            began_s=told.began_s,
        )
    status = _judged(told.dead)
    stopped_by = str(told.result.get("stopped_by"))
    if told.result.get("messages") == [] and stopped_by in HEARD_OUT:
        status = Status.SILENT  # ``voice`` has listened for as long as it was asked to
    elif stopped_by in CUT_SHORT:
        status, message = Status.INTERRUPTED, message or CUT_SHORT[stopped_by]
    elif exit_code not in {0, None, EXIT_DEAD_SOURCE} or (exit_code is None and message):
        status = Status.FAILED
    elif command_code := _number(told.result.get("command_exit_code")):
        # What was to be recorded went wrong, however well it was recorded.
        status, exit_code = Status.FAILED, int(command_code)
        message = f"the command ended with exit code {exit_code}"
    paths = tuple(map(Path, dict.fromkeys((*told.paths, *_strings(told.result.get("paths"))))))
    findings = (*told.findings, *_strings(told.result.get("warnings")))
    return Outcome(
        status,
        paths,
        size_bytes=_sum_of_sizes(paths),
        length_s=_number(told.result.get("duration_s", told.result.get("listened_s"))),
        findings=tuple(finding for finding in dict.fromkeys(findings) if finding != message),
        message=message,
        exit_code=exit_code,
        began_s=told.began_s,
        has_result=True,
    )


@dataclass(slots=True)
class _Told:
    """What a recorder's events say."""

    result: dict[str, object] | None = None
    began_s: float | None = None
    paths: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    dead: frozenset[str] = frozenset()
    """What was dead: silent, quiet, no-data, black."""


def _told(events: Path) -> _Told:
    told = _Told()
    for event in _events(events):
        kind = event.get("event")
        if kind == ATTEMPT:  # what an earlier one has saved is there all the same
            told = _Told(paths=told.paths)
        elif kind == "result":
            told.result = event
        elif kind == "started":
            told.began_s = _number(event.get("began_at_s"))
        elif kind == "dead-signal":
            told.dead |= {str(event.get("what"))}
            told.findings += (str(event.get("message")),)
        elif kind == KEPT:
            told.paths += (str(event.get("message")),)
    return told


def _judged(dead: frozenset[str]) -> Status:
    """How a recording in which these were dead is marked: by the worst of them."""
    if "no-data" in dead:
        return Status.DEAD
    if dead & {"silent", "quiet"}:
        return Status.SILENT
    return Status.BLACK if "black" in dead else Status.DONE


def drop_progress(folder: Path, run: Run) -> None:
    """Keep of a long run's events those that say something: progress comes every two seconds."""
    events, _ = log_paths(folder, run)
    kept = [json.dumps(e) for e in _events(events) if e.get("event") != "progress"]
    part = events.with_suffix(".part")
    with contextlib.suppress(OSError):
        part.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        part.replace(events)


def _events(path: Path) -> Iterator[dict[str, object]]:
    """What the recorder has told; the last line of one that was killed may be torn."""
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if isinstance(event, dict):
                        yield event
    except OSError:
        return


def _error_of(log: Path) -> str | None:
    """The last error that the recorder has given."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        if line.startswith(COMMAND_MARK):
            return None
        if line.startswith("error: "):
            return line.removeprefix("error: ")
    return None


def was_started(folder: Path, run: Run) -> bool:
    """Whether a recorder of a run was noted, or has ever told anything."""
    events, _ = log_paths(folder, run)
    return run.pid is not None or any(event.get("event") != ATTEMPT for event in _events(events))


def _strings(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _sum_of_sizes(paths: Sequence[Path]) -> int:
    size_bytes = 0
    for path in paths:
        with contextlib.suppress(OSError):
            size_bytes += path.stat().st_size
    return size_bytes

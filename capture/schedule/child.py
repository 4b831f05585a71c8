"""The process of a run's recorder (``capture.schedule.worker``): its files and its outcome.

It is in a session of its own, survives the daemon, and the next daemon finds it again. Its output
is in two files in the schedule's folder: its events, as ``capture.json_lines``, and everything that
its libraries and its command have written.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from capture.json_lines import json_line
from capture.model.events import EventKind
from capture.process import END_SIGNAL, detached, is_same_process, process_start
from capture.schedule.jobs import Run, Status
from capture.specs.as_json import to_json
from capture.specs.recording import RecordingSpec
from capture.specs.voice import VoiceSpec

ATTEMPT = "attempt"
"""The line before a recorder's events, with its spec: what is above it came of another try."""
RUN_VARIABLE = "CAPTURE_RUN"
"""In the recorder's environment: which run it is, so that it is found without its number."""
LOOK_EVERY_S = 1.0
"""Time between two looks at a process that cannot be waited for."""
ENDED_BEFORE = "the recorder was stopped before anything was recorded"
ENDED_EARLY = "the recorder was stopped early"
CUT_SHORT = {
    "interrupt": ENDED_EARLY,
    "terminate": ENDED_EARLY,
    "abort": "the recorder was stopped at once",
    "disk": "there was no more space on the disk",
}
"""Reasons to stop that nobody planned, in words."""


class Child(Protocol):
    """A running recorder process that can be ended and waited for."""

    pid: int

    def wait(self) -> int | None:
        """Wait for the end; gives the exit code, ``None`` if only its parent could know it."""

    def terminate(self) -> None:
        """Ask it to end in order; does nothing after its end."""


class Process:
    """A recorder that this process started.

    Args:
        spec: What it does.
        run: Which run it is.
        folder: Where the logs of runs lie.
    """

    def __init__(self, spec: RecordingSpec | VoiceSpec, run: Run, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        events, log = log_paths(folder, run.id)
        values = to_json(spec)
        with (
            events.open("ab") as out,
            log.open("ab") as err,
            tempfile.TemporaryFile("w+", dir=folder, encoding="utf-8") as words,
        ):
            out.write(json_line({"event": ATTEMPT, **values}).encode())
            out.flush()
            words.write(json.dumps(values))  # a file, since we may be killed before it is read
            words.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "capture.schedule.worker"],
                stdin=words,
                stdout=out,
                stderr=err,
                env=os.environ | {RUN_VARIABLE: run_mark(folder, run)},
                **detached(),  # ^C is for the daemon, which ends its recorders itself
            )
        self.pid = self._process.pid

    def wait(self) -> int | None:
        """Wait for the end; gives the exit code."""
        return self._process.wait()

    def terminate(self) -> None:
        """Ask it to end in order; does nothing after its end."""
        try:
            self._process.send_signal(END_SIGNAL)
        except OSError:
            self._process.terminate()


class Adopted:
    """A recorder that an earlier daemon started.

    Args:
        pid: Its number.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._started = process_start(pid)

    def wait(self) -> int | None:
        """Wait for the end; gives ``None``, since the exit code is not known."""
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
        """Ask it to end in order; does nothing after its end."""
        if self._started is not None and process_start(self.pid) == self._started:
            with contextlib.suppress(OSError):
                os.kill(self.pid, END_SIGNAL)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a run, from the events of its recorder."""

    status: Status
    paths: tuple[Path, ...] = ()
    size_bytes: int | None = None
    length_s: float | None = None
    findings: tuple[str, ...] = ()
    message: str | None = None
    exit_code: int | None = None
    began_s: float | None = None
    """Wall time at the file's beginning."""
    has_result: bool = False
    """The recorder reported a result."""


def log_paths(folder: Path, run_id: int) -> tuple[Path, Path]:
    """Paths of a run's events and of its other output."""
    return folder / f"{run_id}.jsonl", folder / f"{run_id}.log"


def run_mark(folder: Path, run: Run) -> str:
    """A text that identifies a run among all schedules of a machine."""
    return f"{folder}/{run.id}"


def find_pid(folder: Path, run: Run) -> int | None:
    """The number of a run's living recorder, by the stored number or by its environment.

    The number is stored after the start; a daemon that is killed in between leaves none.
    """
    if run.pid is not None:
        return run.pid if is_same_process(run.pid, run.pid_started, run.boot_id) else None
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
    """Read the outcome of a run.

    Args:
        folder: Where the logs of runs lie.
        run: Which.
        exit_code: ``None`` where nobody knows.
    """
    found = _found(read_events(folder, run.id))
    error, result = found.error, found.result or {}
    message = None if error is None else str(error.get("message"))
    stopped_by = str(result.get("stopped_by"))
    length_s = _number(result.get("duration_s", result.get("listened_s")))
    status = _judged(found.dead)
    if stopped_by in CUT_SHORT:
        status, message = Status.INTERRUPTED, message or CUT_SHORT[stopped_by]
    elif error is not None or found.result is None:
        status = Status.FAILED
    elif result.get("messages") == []:
        status, message = Status.SILENT, f"no message was heard in {length_s or 0.0:.0f} s"
    elif command_code := _number(result.get("command_exit_code")):
        # What was to be recorded went wrong, however well it was recorded.
        status, exit_code = Status.FAILED, int(command_code)
        message = f"the command ended with exit code {exit_code}"
    paths = tuple(map(Path, dict.fromkeys((*found.paths, *_strings(result.get("paths"))))))
    findings = dict.fromkeys((*found.findings, *_strings(result.get("warnings"))))
    return Outcome(
        status,
        paths,
        size_bytes=None if found.result is None else _sum_of_sizes(paths),
        length_s=length_s,
        findings=tuple(finding for finding in findings if finding != message),
        message=message,
        exit_code=exit_code,
        began_s=found.began_s,
        has_result=found.result is not None,
    )


@dataclass(slots=True)
class _Found:
    """The facts in the events of a recorder."""

    result: dict[str, object] | None = None
    error: dict[str, object] | None = None
    began_s: float | None = None
    paths: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    dead: frozenset[str] = frozenset()
    """Reasons of dead sources: silent, quiet, no-data, black."""


def _found(events: Iterable[dict[str, object]]) -> _Found:
    found = _Found()
    for event in events:
        kind = event.get("event")
        if kind == ATTEMPT:  # what an earlier one has saved is there all the same
            found = _Found(paths=found.paths)
        elif kind == "result":
            found.result = event
        elif kind == "error":
            found.error = event
        elif kind == EventKind.STARTED:
            found.began_s = _number(event.get("began_at_s"))
        elif kind == EventKind.DEAD_SIGNAL:
            found.dead |= {str(event.get("what"))}
            found.findings += (str(event.get("message")),)
        elif kind == EventKind.MESSAGE_KEPT:
            found.paths += (str(event.get("message")),)
    return found


def _judged(dead: frozenset[str]) -> Status:
    """The status of a recording with these dead sources: that of the worst one."""
    if "no-data" in dead:
        return Status.DEAD
    if dead & {"silent", "quiet"}:
        return Status.SILENT
    return Status.BLACK if "black" in dead else Status.DONE


def read_events(folder: Path, run_id: int) -> Iterator[dict[str, object]]:
    """The events of a run's recorder; the last line of a killed one may be incomplete."""
    try:
        with log_paths(folder, run_id)[0].open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if isinstance(event, dict):
                        yield event
    except OSError:
        return


def was_started(folder: Path, run: Run) -> bool:
    """Whether a recorder of a run was stored, or has ever reported anything."""
    events = read_events(folder, run.id)
    return run.pid is not None or any(event.get("event") != ATTEMPT for event in events)


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

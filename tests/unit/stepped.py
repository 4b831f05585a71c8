"""A schedule whose clock is stepped: real store, triggers, daemon and runs; recorders that act."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from capture.errors import DeviceLostError
from capture.json_lines import of_error
from capture.schedule.child import ATTEMPT, log_paths
from capture.schedule.daemon import LEAD_S, Daemon
from capture.schedule.runner import Clock
from capture.specs.recording import RecordingSpec

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from capture.schedule.jobs import Job, Run
    from capture.schedule.store import Store
    from capture.schedule.when import When
    from capture.specs.voice import VoiceSpec

LEAD = timedelta(seconds=LEAD_S)


def due_times(rule: When, moment: datetime) -> Iterator[datetime]:
    """All due times later than a moment, in order."""
    due = rule.next_after(moment)
    while due is not None:
        yield due
        due = rule.next_after(due)


class StepClock(Clock):
    """Stands still until it is told."""

    def __init__(self, start: datetime) -> None:
        self.time = start

    def now(self) -> datetime:
        return self.time

    def wait(self, stop: threading.Event, wait_s: float) -> bool:
        self.time += timedelta(seconds=wait_s)
        return stop.is_set()


@dataclass
class Launch:
    """What was started, and how it is to end."""

    spec: RecordingSpec | VoiceSpec
    run: Run
    started: datetime

    @property
    def output(self) -> Path:
        """The file."""
        assert isinstance(self.spec, RecordingSpec)
        return self.spec.output


@dataclass
class Actor:
    """Stands in for the recorder's process: leaves the file, the events and the exit code of one.

    What real ones leave is in tests/device/test_schedule.py.
    """

    clock: StepClock
    exit_codes: list[int] = field(default_factory=list)
    """Of the next launches; then 0."""
    command_codes: list[int] = field(default_factory=list)
    """How the commands that the next launches record end; then none."""
    events: list[dict[str, Any]] = field(default_factory=list)
    gate: threading.Event | None = None
    """Recorders go on until it is set."""
    launches: list[Launch] = field(default_factory=list)

    def __call__(self, spec: RecordingSpec | VoiceSpec, run: Run, folder: Path) -> _Acting:
        self.launches.append(Launch(spec, run, self.clock.now()))
        exit_code = self.exit_codes.pop(0) if self.exit_codes else 0
        folder.mkdir(exist_ok=True)
        events, _ = log_paths(folder, run.id)
        said: list[dict[str, Any]] = [{"event": ATTEMPT}]
        if exit_code:
            said.append(of_error(DeviceLostError("the screen has gone")))
        else:
            output = spec.output if isinstance(spec, RecordingSpec) else spec.folder
            if isinstance(spec, RecordingSpec):
                output.write_bytes(bytes(1000))
            code = self.command_codes.pop(0) if self.command_codes else None
            result = {"event": "result", "paths": [str(output)], "duration_s": 10.0}
            result |= {"stopped_by": "command-ended" if code else "duration", "warnings": []}
            said += [*self.events, result | {"command_exit_code": code}]
        with events.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(event) + "\n" for event in said)
        return _Acting(exit_code, self.gate)


@dataclass
class _Acting:
    exit_code: int
    gate: threading.Event | None
    pid: int = 0

    def wait(self) -> int | None:
        if self.gate is not None:
            assert self.gate.wait(20)
        return self.exit_code

    def terminate(self) -> None:
        if self.gate is not None:
            self.gate.set()


class Stepped:
    """A daemon that looks whenever something is due."""

    def __init__(self, store: Store, start: datetime) -> None:
        self.store = store
        self.clock = StepClock(start)
        self.actor = Actor(self.clock)
        self.daemon = Daemon(store, clock=self.clock, launch=self.actor)

    def go(self, until: datetime) -> None:
        """Let time pass, doing what is due on the way."""
        self.daemon.load()
        while (due := self.daemon.next_due) is not None and due - LEAD <= until:
            self.clock.time = max(self.clock.time, due - LEAD)
            self.daemon.look()
            self.daemon.runner.wait()
        self.clock.time = until

    def dues(self, job: Job) -> list[datetime]:
        """When its runs were due, in order."""
        return [run.due for run in reversed(self.store.runs(job))]


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)

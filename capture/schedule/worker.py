"""The recorder of a run, as a process: ``python -m capture.schedule.worker`` < SPEC.

It reads a spec (``capture.specs.as_json``) from stdin, and writes the protocol of
``capture.json_lines`` to stdout, without progress, which nobody reads. SIGTERM ends it in order, a
second one at once. Its main thread only waits, so that a signal counts also while a device does not
answer; another thread writes, so that a full or blocked disk delays nothing.
"""

import contextlib
import io
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from typing import Any

from capture import json_lines
from capture.errors import (
    CaptureError,
    ConfigError,
    NothingRecordedError,
    OutputError,
    explain_system_error,
)
from capture.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, of_listening, of_recording
from capture.libraries import missing_library
from capture.live.running import Running
from capture.memory import return_large_blocks
from capture.model.events import Event
from capture.specs.as_json import from_json
from capture.specs.recording import RecordingSpec
from capture.specs.voice import VoiceSpec

LOOK_EVERY_S = 1.0
"""Time between two checks where a signal does not wake the waiting thread."""
START_WITHIN_S = 5.0
"""If it has not begun so long after the signal, a device does not answer."""
WRITE_WITHIN_S = 5.0
"""For the last lines; then the disk stands still."""


class _Output:
    """Writes lines to stdout in a thread; lines that cannot be written are lost."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="capture-output", daemon=True)
        self._thread.start()

    def put(self, values: dict[str, Any]) -> None:
        """Queue an object to be written; any thread may call; never waits."""
        self._lines.put(json_lines.json_line(values))

    def close(self) -> None:
        """Write the remaining lines and end the thread."""
        self._lines.put(None)
        self._thread.join(WRITE_WITHIN_S)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(OSError):  # what is in the buffer goes with the next line
                sys.stdout.write(line)
                sys.stdout.flush()


class _Worker:
    """Records by a spec, in a thread of its own."""

    def __init__(self, output: _Output) -> None:
        self._output = output
        self._running: Running[Any, Any] | None = None
        self._has_begun = False
        self._asked_s: float | None = None
        self.exit_code = EXIT_FAILED
        self.thread = threading.Thread(target=self._run, name="capture-worker", daemon=True)

    def on_signal(self, *_: object) -> None:
        """End in order, at the second call at once; called in the main thread."""
        is_second, running = self._asked_s is not None, self._running
        self._asked_s = self._asked_s or time.monotonic()
        if running is not None:
            running.abort() if is_second else running.stop("terminate")

    def on_save_signal(self, *_: object) -> None:
        """Save the last sound, as ``capture voice`` does."""
        if self._running is not None and (save := self._running.actions().get("save")):
            save()

    @property
    def is_stuck(self) -> bool:
        """Whether something blocks the start, though it is to end."""
        late_s = 0.0 if self._asked_s is None else time.monotonic() - self._asked_s
        return late_s > START_WITHIN_S and not self._has_begun

    def _run(self) -> None:
        spec: RecordingSpec | VoiceSpec | None = None
        error: Exception | None = None
        try:
            spec = from_json(json.load(sys.stdin))
            running = self._running = _make(spec, self._output)
            if self._asked_s is not None:  # while that was loaded
                running.stop("terminate")
            running.start()
            self._has_begun = True
            for note in running.notes:
                self._output.put({"event": "note", "message": note})
            running.wait()
        except Exception as failure:  # noqa: BLE001 - whatever it is, the schedule is to know
            error = failure
            self._output.put(json_lines.of_error(_explained(error)))
        result = None if self._running is None else self._running.result
        if result is not None:
            self._output.put(json_lines.of_result(result))
        if isinstance(spec, RecordingSpec) and result is not None:
            self.exit_code = of_recording(spec, result, has_failed=error is not None)
        elif isinstance(spec, VoiceSpec) and error is None:
            assert result is not None
            self.exit_code = of_listening(spec, result)
        elif isinstance(error, NothingRecordedError) and self._asked_s is not None:
            self.exit_code = EXIT_INTERRUPTED
        elif isinstance(error, ConfigError):
            self.exit_code = EXIT_USAGE


def _make(spec: RecordingSpec | VoiceSpec, output: _Output) -> Running[Any, Any]:
    """A session or a keeper for a spec; loads only the one that is needed."""

    def on_event(event: Event) -> None:
        output.put(json_lines.of_event(event))

    if isinstance(spec, RecordingSpec):
        from capture.recording.session import Session  # noqa: PLC0415 - see above

        return Session(spec, on_event)
    from capture.voice import VoiceKeeper  # noqa: PLC0415 - see above

    return VoiceKeeper(spec, on_event)


def _explained(error: Exception) -> CaptureError:
    """The error as a ``CaptureError``."""
    known = error if isinstance(error, CaptureError) else missing_library(error)
    if known is not None:
        return known
    if isinstance(error, OSError) and (words := explain_system_error(error)):
        return OutputError(words[0], hint=words[1])
    traceback.print_exception(error)
    return CaptureError(
        f"{type(error).__name__}: {error}", hint="report it, with the log of the run"
    )


def main() -> int:
    """Record by the spec on stdin; gives the exit code."""
    return_large_blocks()
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(encoding="utf-8")
    output = _Output()
    output.put({"event": "protocol", "version": json_lines.VERSION})
    worker = _Worker(output)
    handlers = dict.fromkeys(("SIGINT", "SIGTERM", "SIGBREAK"), worker.on_signal)
    for name, handler in (handlers | {"SIGUSR1": worker.on_save_signal}).items():
        if hasattr(signal, name):  # not every system has them all
            signal.signal(getattr(signal, name), handler)
    worker.thread.start()
    while worker.thread.is_alive():
        worker.thread.join(LOOK_EVERY_S)
        if worker.is_stuck:
            os._exit(EXIT_INTERRUPTED)
    output.close()
    return worker.exit_code


if __name__ == "__main__":
    sys.exit(main())

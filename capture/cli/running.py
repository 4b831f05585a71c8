"""A recording or a listening in a terminal: started, shown, ended by signals and keys."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from capture.cli.signals import StopSignals
from capture.cli.views import View
from capture.errors import CaptureError

if TYPE_CHECKING:
    from capture import Running

__all__ = ["run_shown"]


def run_shown(running: Running[Any, Any], view: View, stop: StopSignals) -> CaptureError | None:
    """Start something, show how it goes until its end, and show its result.

    Whatever goes wrong here, what was recorded gets its end before this process does.

    Returns:
        Why it ended early, where something was kept all the same.

    Raises:
        NothingRecordedError: It was stopped before anything was recorded.
        CaptureError: It could not start, or nothing was kept.
    """
    stop.attach(running.stop, running.abort)
    failure: CaptureError | None = None
    with _saving_on_signal(running):  # also while it finishes: the signal would kill it
        running.start()
        try:
            stop.is_starting = False
            view.notes(running.notes)
            with view:
                while not running.wait_for_stop(0):
                    view.show(running)
        finally:
            running.stop()
            with contextlib.suppress(CaptureError):
                running.wait()
    try:
        running.wait()
    except CaptureError as error:
        if running.result is None:
            raise
        failure = error
    view.finish(running.result)
    return failure


@contextlib.contextmanager
def _saving_on_signal(running: Running[Any, Any]) -> Iterator[None]:
    """SIGUSR1 saves what came last, where there is such a signal and something that does so."""
    number, save = getattr(signal, "SIGUSR1", None), running.actions().get("save")
    if number is None or save is None:
        yield
        return
    before = signal.signal(number, lambda *_: save())
    try:
        yield
    finally:
        signal.signal(number, before)

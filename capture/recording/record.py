"""``record()``: a recording in one call."""

from collections.abc import Callable

from capture.model.events import Event
from capture.model.recording import RecordingResult
from capture.recording.session import Session
from capture.specs.recording import RecordingSpec

__all__ = ["record"]


def record(spec: RecordingSpec, on_event: Callable[[Event], None] | None = None) -> RecordingResult:
    """Record until the spec's duration is over, its window closes, or ^C; gives the result.

    Raises:
        CaptureError: It could not start, or failed on the way.
    """
    return Session(spec, on_event).run()

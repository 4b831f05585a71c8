"""Record what your screen shows and your speakers play, in step, into a file that survives.

Example:
    Record ten seconds of the screen with its sound::

        from pathlib import Path
        from capture import RecordingSpec, record

        result = record(RecordingSpec(Path("lesson.mp4"), duration_s=10))
        print(result.path, result.duration_s)

Importing this package loads no native library; that happens when a device or a file is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capture.errors import CaptureError
from capture.model import (
    AudioSpec,
    Event,
    EventKind,
    RecordingResult,
    RecordingSpec,
    Rect,
    Snapshot,
    State,
    TrackMode,
    VideoSpec,
)

if TYPE_CHECKING:
    from capture.session import Session, record

__all__ = [
    "AudioSpec",
    "CaptureError",
    "Event",
    "EventKind",
    "RecordingResult",
    "RecordingSpec",
    "Rect",
    "Session",
    "Snapshot",
    "State",
    "TrackMode",
    "VideoSpec",
    "record",
]


def __getattr__(name: str) -> Any:
    # The session brings NumPy along; `capture --help` and scripts that only build specs do without.
    if name in {"Session", "record"}:
        from capture import session  # noqa: PLC0415

        return getattr(session, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

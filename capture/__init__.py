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

import importlib
from typing import TYPE_CHECKING, Any

from capture.errors import CaptureError
from capture.model import (
    AudioSpec,
    Event,
    EventKind,
    ExtractedPart,
    ExtractJob,
    ExtractResult,
    GateSpec,
    RecordingResult,
    RecordingSpec,
    Rect,
    Snapshot,
    SoundFileSpec,
    Span,
    State,
    TrackMode,
    VideoSpec,
)

if TYPE_CHECKING:
    from capture.media.extract import extract
    from capture.media.probe import probe
    from capture.session import Session, record

__all__ = [
    "AudioSpec",
    "CaptureError",
    "Event",
    "EventKind",
    "ExtractJob",
    "ExtractResult",
    "ExtractedPart",
    "GateSpec",
    "RecordingResult",
    "RecordingSpec",
    "Rect",
    "Session",
    "Snapshot",
    "SoundFileSpec",
    "Span",
    "State",
    "TrackMode",
    "VideoSpec",
    "extract",
    "probe",
    "record",
]


_LAZY = {
    "Session": "capture.session",
    "record": "capture.session",
    "extract": "capture.media.extract",
    "probe": "capture.media.probe",
}


def __getattr__(name: str) -> Any:
    # These bring NumPy and PyAV along; `capture --help` and scripts that build specs do without.
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

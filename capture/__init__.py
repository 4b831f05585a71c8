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
    VoiceMessage,
    VoiceResult,
    VoiceSpec,
)

if TYPE_CHECKING:
    from capture.media.extract import extract
    from capture.media.probe import probe
    from capture.session import Session, record
    from capture.voice import VoiceKeeper, keep_messages

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
    "VoiceKeeper",
    "VoiceMessage",
    "VoiceResult",
    "VoiceSpec",
    "extract",
    "keep_messages",
    "probe",
    "record",
]


_LATER = {
    "Session": "capture.session",
    "record": "capture.session",
    "VoiceKeeper": "capture.voice",
    "keep_messages": "capture.voice",
    "extract": "capture.media.extract",
    "probe": "capture.media.probe",
}
"""These bring NumPy or codecs along; `capture --help` and who only builds specs do without."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

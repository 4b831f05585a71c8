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

TYPE_CHECKING = False
"""As in ``typing``, which takes longer to load than all that is loaded here."""
if TYPE_CHECKING:
    from typing import Any

    from capture.errors import CaptureError
    from capture.geometry import Rect
    from capture.media.check.probe import probe
    from capture.media.extract.job import extract
    from capture.model.events import Event, EventKind
    from capture.model.extraction import ExtractedPart, ExtractResult, Span
    from capture.model.recording import RecordingResult, Snapshot, State
    from capture.model.voice import VoiceMessage, VoiceResult
    from capture.recording.session import Session, record
    from capture.specs.extraction import ExtractJob
    from capture.specs.recording import AudioSpec, RecordingSpec, TrackMode, VideoSpec
    from capture.specs.target import Desktop, Region, Screen, TestCard, Window
    from capture.specs.voice import GateSpec, SoundFileSpec, VoiceSpec
    from capture.voice import VoiceKeeper, keep_messages

__all__ = [
    "AudioSpec",
    "CaptureError",
    "Desktop",
    "Event",
    "EventKind",
    "ExtractJob",
    "ExtractResult",
    "ExtractedPart",
    "GateSpec",
    "RecordingResult",
    "RecordingSpec",
    "Rect",
    "Region",
    "Screen",
    "Session",
    "Snapshot",
    "SoundFileSpec",
    "Span",
    "State",
    "TestCard",
    "TrackMode",
    "VideoSpec",
    "VoiceKeeper",
    "VoiceMessage",
    "VoiceResult",
    "VoiceSpec",
    "Window",
    "extract",
    "keep_messages",
    "probe",
    "record",
]


_PLACES = {
    "capture.errors": ("CaptureError",),
    "capture.geometry": ("Rect",),
    "capture.media.check.probe": ("probe",),
    "capture.media.extract.job": ("extract",),
    "capture.model.events": (
        "Event",
        "EventKind",
    ),
    "capture.model.extraction": (
        "ExtractResult",
        "ExtractedPart",
        "Span",
    ),
    "capture.model.recording": (
        "RecordingResult",
        "Snapshot",
        "State",
    ),
    "capture.model.voice": (
        "VoiceMessage",
        "VoiceResult",
    ),
    "capture.recording.session": (
        "Session",
        "record",
    ),
    "capture.specs.extraction": ("ExtractJob",),
    "capture.specs.recording": (
        "AudioSpec",
        "RecordingSpec",
        "TrackMode",
        "VideoSpec",
    ),
    "capture.specs.target": (
        "Desktop",
        "Region",
        "Screen",
        "TestCard",
        "Window",
    ),
    "capture.specs.voice": (
        "GateSpec",
        "SoundFileSpec",
        "VoiceSpec",
    ),
    "capture.voice": (
        "VoiceKeeper",
        "keep_messages",
    ),
}
"""Some bring NumPy or codecs along, and nothing at all may take time before ``capture.cli.app``
listens for ^C."""
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _PLACE_OF:
        import importlib  # noqa: PLC0415 - see above

        return getattr(importlib.import_module(_PLACE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

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

    from capture.batch.executors import Cluster as Cluster, Workers as Workers
    from capture.batch.extraction import extract_file as extract_file
    from capture.batch.run import (
        BatchReport as BatchReport,
        JobError as JobError,
        JobResult as JobResult,
        run_batch as run_batch,
    )
    from capture.desktop import PrivateDesktop as PrivateDesktop
    from capture.errors import *
    from capture.geometry import *
    from capture.live.event_log import EventStream as EventStream
    from capture.live.rules import parse_start as parse_start, parse_stop as parse_stop
    from capture.live.running import Running as Running
    from capture.media.check.measure import TrackMeasure as TrackMeasure
    from capture.media.check.probe import *
    from capture.media.check.recover import (
        Measured as Measured,
        Recovered as Recovered,
        recover as recover,
    )
    from capture.media.check.verify import *
    from capture.media.extract.job import extract as extract
    from capture.media.read.convert import SoundForm as SoundForm
    from capture.media.read.loudness import Loudness as Loudness
    from capture.media.read.tracks import Chapter as Chapter
    from capture.media.write.mux import Container as Container, container_of as container_of
    from capture.messages import (
        Indexed as Indexed,
        Library as Library,
        Message as Message,
        Origin as Origin,
        Passage as Passage,
        Query as Query,
    )
    from capture.messages.journal import Position as Position
    from capture.model.devices import *
    from capture.model.events import *
    from capture.model.extraction import *
    from capture.model.recording import *
    from capture.model.signal import Level as Level
    from capture.model.voice import *
    from capture.player import *
    from capture.recording.plan import check_recording as check_recording
    from capture.recording.record import *
    from capture.recording.session import *
    from capture.sources import (
        list_audio_apps as list_audio_apps,
        list_audio_devices as list_audio_devices,
        list_monitors as list_monitors,
        list_windows as list_windows,
    )
    from capture.specs.extraction import *
    from capture.specs.recording import *
    from capture.specs.target import *
    from capture.specs.voice import *
    from capture.trials import *
    from capture.voice.keep import *
    from capture.voice.keeper import VoiceKeeper as VoiceKeeper
    from capture.voice.plan import check_listening as check_listening
    from capture.voice.preview import *
    from capture.voice.saving import recover_message as recover_message

_PLACES = {
    "capture.batch.executors": "Cluster Workers",
    "capture.batch.extraction": "extract_file",
    "capture.batch.run": "BatchReport JobError JobResult run_batch",
    "capture.desktop": "PrivateDesktop",
    "capture.errors": "AccessDeniedError BackendUnavailableError CaptureError"
    " ConfigError DamagedFileError DeviceError DeviceLostError"
    " DeviceNotFoundError EncoderUnavailableError LibraryMissingError"
    " MediaError NothingRecordedError OutputError SourceEndedError UnsupportedError",
    "capture.geometry": "Rect",
    "capture.live.event_log": "EventStream",
    "capture.live.rules": "parse_start parse_stop",
    "capture.live.running": "Running",
    "capture.media.check.probe": "Probe ProbedTrack probe",
    "capture.media.check.measure": "TrackMeasure",
    "capture.media.check.recover": "Measured Recovered recover",
    "capture.media.check.verify": "Finding Severity VerifyReport verify",
    "capture.media.extract.job": "extract",
    "capture.media.read.convert": "SoundForm",
    "capture.media.read.loudness": "Loudness",
    "capture.media.read.tracks": "Chapter",
    "capture.messages": "Indexed Library Message Origin Passage Query",
    "capture.messages.journal": "Position",
    "capture.media.write.mux": "Container container_of",
    "capture.model.devices": "AudioApp AudioDevice DeviceKind Monitor WindowInfo",
    "capture.model.events": "Event EventKind",
    "capture.model.extraction": "ExtractResult ExtractedPart Span",
    "capture.model.recording": "RecordingResult Snapshot State TrackReport",
    "capture.model.signal": "Level",
    "capture.model.voice": "VoiceMessage VoiceResult VoiceSnapshot VoiceState",
    "capture.player": "Player",
    "capture.recording.plan": "check_recording",
    "capture.recording.record": "record",
    "capture.recording.session": "Session",
    "capture.sources": "list_audio_apps list_audio_devices list_monitors list_windows",
    "capture.specs.extraction": "ExtractJob",
    "capture.specs.recording": "AudioSpec RecordingSpec Rule TrackMode VideoSpec",
    "capture.specs.target": "Desktop Region Screen Target TestCard Window",
    "capture.specs.voice": "GateSpec SoundFileSpec VoiceSpec",
    "capture.trials": "Trial has_desktop missing_devices try_machine",
    "capture.voice.keep": "keep_messages",
    "capture.voice.keeper": "VoiceKeeper",
    "capture.voice.plan": "check_listening",
    "capture.voice.preview": "preview",
    "capture.voice.saving": "recover_message",
}
"""The public names, by the modules that have them, which are loaded when a name is first used: some
bring NumPy or codecs along, and nothing may take time before ``capture.cli.app`` listens for ^C."""
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names.split()}
__all__ = [*sorted(_PLACE_OF), "__version__"]  # noqa: F405, PLE0604 - strings that are there


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from capture.config import version  # noqa: PLC0415 - see above

        return version()
    if name in _PLACE_OF:
        import importlib  # noqa: PLC0415 - see above

        return getattr(importlib.import_module(_PLACE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]

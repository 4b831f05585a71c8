"""Exit codes of this package's processes: the command, its sub-commands, a job's recorder."""

from __future__ import annotations

TYPE_CHECKING = False
"""As in ``typing``, which takes longer to load than all that is loaded here."""
if TYPE_CHECKING:
    from capture.model.recording import RecordingResult
    from capture.model.voice import VoiceResult
    from capture.specs.recording import RecordingSpec
    from capture.specs.voice import VoiceSpec


EXIT_FAILED = 1
EXIT_USAGE = 2
"""An option or a setting makes no sense."""
EXIT_SOME_FAILED = 3
"""Some of several results are there, others failed."""
EXIT_DEAD_SOURCE = 4
"""Recorded, but a source was dead, which the spec forbids (``is_strict``)."""
EXIT_INTERRUPTED = 130
"""Before anything was kept, or a run of the schedule."""


def of_recording(spec: RecordingSpec, result: RecordingResult, *, has_failed: bool) -> int:
    """The exit code of a recording; ``has_failed``: it ended with an error."""
    is_dead = result.stopped_by == "device-lost" if has_failed else bool(result.dead)
    if is_dead and spec.is_strict:
        return EXIT_DEAD_SOURCE
    return EXIT_FAILED if has_failed else 0


def of_listening(spec: VoiceSpec, result: VoiceResult) -> int:
    """The exit code of a listening that ended without an error; 0 if it kept what was asked for."""
    kept = sum(message.part in {None, 1} for message in result.messages)
    if spec.count is not None and 0 < kept < spec.count and result.stopped_by != "interrupt":
        return EXIT_SOME_FAILED
    if kept:
        return 0
    is_by_hand = result.stopped_by in {"interrupt", "terminate", "key", "abort"}
    return EXIT_INTERRUPTED if is_by_hand else EXIT_FAILED

"""The state, the snapshots and the result of a recording."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from capture.model.signal import Level

__all__ = ["RecordingResult", "Snapshot", "State", "TrackReport"]


class State(enum.StrEnum):
    """The states of a session. Any state may turn to FAILED."""

    READY = "ready"
    WAITING = "waiting"
    RECORDING = "recording"
    PAUSED = "paused"
    FINISHING = "finishing"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session at one moment; immutable, made to be polled 10-20 times a second."""

    state: State
    recorded_ns: int
    """Media time so far."""
    written_bytes: int
    free_bytes: int | None
    captured_pictures: int
    dropped_pictures: int
    fps: float
    """Pictures captured in the last second."""
    levels: Mapping[str, Level]
    """For each track, since the snapshot before."""
    drift_ppm: Mapping[str, float]
    path: Path | None
    message: str | None = None
    """The last warning; ``None``: there is none."""


@dataclass(frozen=True, slots=True)
class TrackReport:
    """The result of one track: its codec, length, gaps and drift."""

    name: str
    kind: str
    """``video`` or ``audio``."""
    codec: str
    start_s: float
    end_s: float
    silence_inserted_s: float = 0.0
    sound_dropped_s: float = 0.0
    gaps: int = 0
    drift_ppm: float = 0.0
    max_error_ms: float = 0.0
    peak_dbfs: float | None = None
    """Loudest sample of the whole track; ``None`` for pictures."""


@dataclass(frozen=True, slots=True)
class RecordingResult:
    """The result of a session; printed whole with ``--json``."""

    paths: tuple[Path, ...]
    duration_s: float
    size_bytes: int
    captured_pictures: int
    unchanged_pictures: int
    """Slots of the grid in which nothing moved, so that nothing was grabbed."""
    dropped_pictures: int
    tracks: tuple[TrackReport, ...]
    warnings: tuple[str, ...]
    stopped_by: str
    """duration, size, request, source-ended, device-lost, disk, error, or a stop rule's kind."""
    pauses_s: tuple[tuple[float, float], ...] = ()
    """(media time, length) of every pause."""
    markers_s: tuple[float, ...] = ()
    dead: tuple[str, ...] = ()
    """Tracks without usable content for 5 s or throughout; see the warnings."""
    command_exit_code: int | None = None
    """Of the command that was recorded, 128 and more for a signal, as in a shell; ``None``: there
    was none, or it still ran at the end and was ended by us."""

    @property
    def path(self) -> Path:
        """The first of the files; most recordings have one."""
        return self.paths[0]

"""Checks the free disk space: before a recording starts, while it grows, and whether it will do."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from capture.cautions import Caution
from capture.errors import OutputError
from capture.specs.recording import RecordingSpec

MAX_SIZE_MARGIN_S = 2.0
"""Data that may still be in mailboxes when the size is checked."""
MARGIN_S = 10
"""Space for so many seconds of recording stays free: for the end of the file, and for others."""
FORECAST_AFTER_S = 10.0
"""Before that the first key picture distorts the rate."""


@dataclass(frozen=True, slots=True)
class DiskLook:
    """Free space, the time that it will last, and a warning, at one moment."""

    free_bytes: int | None
    """``None`` where the system does not give it."""
    stop_reason: str | None = None
    """Why the recording has to end now: ``disk``, or ``size`` where the files are large enough."""
    warning: str | None = None
    """A new warning; ``None``: there is none."""


class DiskWatch:
    """Looks at the disk of one recording; used by one thread.

    Args:
        spec: What is recorded.
    """

    def __init__(self, spec: RecordingSpec) -> None:
        self._spec = spec
        self._has_forecast = False

    def check_start(self) -> None:
        """Raise if there is too little free space to begin.

        Raises:
            OutputError: There is less free than the recording has to leave.
        """
        check_free_space(self._spec.output.parent, self._spec.min_free_bytes)

    def look(self, written_bytes: int, recorded_s: float) -> DiskLook:
        """The state of the disk now.

        Args:
            written_bytes: Size of all files so far.
            recorded_s: Media time so far.
        """
        per_s, limit = written_bytes / max(1.0, recorded_s), self._spec.max_size_bytes
        is_enough = limit is not None and written_bytes + per_s * MAX_SIZE_MARGIN_S >= limit
        reason = "size" if is_enough else None
        free = _free_bytes(self._spec.output.parent)
        if free is None:
            return DiskLook(None, reason)
        floor = max(self._spec.min_free_bytes, MARGIN_S * per_s)
        if free < floor:
            warning = Caution.DISK_ALMOST_FULL.with_(free=_megabytes(free))
            return DiskLook(free, "disk", warning)
        return DiskLook(free, reason, self._forecast(free - floor, per_s, recorded_s))

    def _forecast(self, room_bytes: float, per_s: float, recorded_s: float) -> str | None:
        """A warning that the disk will be full before the recording ends; given once."""
        spec = self._spec
        if self._has_forecast or spec.duration_s is None or recorded_s < FORECAST_AFTER_S:
            return None
        left_s = spec.duration_s - recorded_s
        if spec.max_size_bytes is not None and per_s:
            left_s = min(left_s, spec.max_size_bytes / per_s - recorded_s)
        if room_bytes >= left_s * per_s:
            return None
        self._has_forecast = True
        fits_min = (recorded_s + room_bytes / per_s) / 60
        return Caution.DISK_TOO_SMALL.with_(fits_min=fits_min, wanted_min=spec.duration_s / 60)


def check_free_space(folder: Path, min_free_bytes: int) -> None:
    """Raise if there is too little free space to record.

    Raises:
        OutputError: There is less free than a recording has to leave.
    """
    free = _free_bytes(folder)
    if free is not None and free < min_free_bytes:
        raise OutputError(
            f"the disk of {folder} is almost full: {_megabytes(free)} are free, and "
            f"a recording leaves {_megabytes(min_free_bytes)}",
            hint="free some space, or write elsewhere",
        )


def _free_bytes(folder: Path) -> int | None:
    """Free space in bytes where a folder is or will be; ``None`` where it is not known."""
    for place in (folder, *folder.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1_000_000:.0f} MB"

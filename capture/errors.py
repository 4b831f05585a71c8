"""What can go wrong, as one tree.

Every error carries a message for the person, a hint what to do, and details for a bug
report. Built-in classes are mixed in where Python code would look for them.

* CaptureError
    * ConfigError (ValueError)          an option or a setting that makes no sense
    * BackendUnavailableError           this machine cannot do that at all (Wayland, no server)
        * LibraryMissingError           a library is not installed, or does not load
        * UnsupportedError              not possible on this operating system, or not yet
    * DeviceError
        * DeviceNotFoundError (LookupError)  no such monitor, window, device, application
        * DeviceLostError               it was there and went away
        * AccessDeniedError (PermissionError)  the system refuses
    * MediaError
        * EncoderUnavailableError       no such encoder here, or it does not open
        * DamagedFileError (ValueError) a media file that cannot be read
    * OutputError (OSError)             the file cannot be written: exists, no space, no permission
    * NothingRecordedError              it was stopped before there was anything to keep

``SourceEndedError`` stands apart: it is the clean end of a source, not a failure.
"""

import errno
import os
from collections.abc import Mapping
from typing import Any

from capture.hints import Advice

__all__ = [
    "AccessDeniedError",
    "BackendUnavailableError",
    "CaptureError",
    "ConfigError",
    "DamagedFileError",
    "DeviceError",
    "DeviceLostError",
    "DeviceNotFoundError",
    "EncoderUnavailableError",
    "LibraryMissingError",
    "MediaError",
    "NothingRecordedError",
    "OutputError",
    "SourceEndedError",
    "UnsupportedError",
]

SYSTEM_REASONS: Mapping[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", "free some space, or write elsewhere"),
    errno.EDQUOT: ("your disk quota is used up", "free some space, or write elsewhere"),
    errno.EACCES: ("no permission to write there", "choose another folder"),
    errno.EPERM: ("no permission to write there", "choose another folder"),
    errno.EROFS: ("that file system is read-only", "choose another folder"),
    errno.EEXIST: ("the file exists", Advice.REPLACE_RECORDING.with_()),
    errno.EISDIR: ("that is a folder", "add a file name"),
    errno.ENOTDIR: ("part of that path is a file, not a folder", "choose another folder"),
    errno.ELOOP: ("a link in that path leads back to itself", "name the file or folder itself"),
    errno.ENOENT: ("the folder is gone", "choose another folder"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.EFBIG: ("the file system holds no larger file", Advice.SPLIT_FILES.with_()),
    errno.EIO: ("the disk reports an error", "check the disk, and write elsewhere"),
}
"""What the system's numbers for a failure mean, and what to do about it."""


class CaptureError(Exception):
    """Base of all errors of this package.

    Args:
        message: One sentence, without a full stop, for the person at the screen.
        hint: What to do about it, or ``None`` where nothing can be done.
        details: Raw facts for a bug report.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details or {}

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from args alone; without this a worker process loses the hint.
        return (_rebuild, (type(self), self.message, self.hint, self.details))


def _rebuild(
    kind: type[CaptureError], message: str, hint: str | None, details: dict[str, Any]
) -> CaptureError:
    return kind(message, hint=hint, details=details)


class ConfigError(CaptureError, ValueError):
    """An option or a setting makes no sense."""


class BackendUnavailableError(CaptureError):
    """This machine lacks what a source or an output needs."""


class LibraryMissingError(BackendUnavailableError):
    """A library is not installed, or does not load."""


class UnsupportedError(BackendUnavailableError):
    """Something is not possible on this operating system, or not yet."""


class DeviceError(CaptureError):
    """A monitor, window, sound device or application cannot be used."""


class DeviceNotFoundError(DeviceError, LookupError):
    """No monitor, window, sound device or application fits the name."""


class DeviceLostError(DeviceError):
    """The device was there and went away."""


class AccessDeniedError(DeviceError, PermissionError):
    """The system refuses access to a device."""


class MediaError(CaptureError):
    """An encoder, a container or a media file cannot be used."""


class EncoderUnavailableError(MediaError):
    """An encoder is not in this build of FFmpeg, or does not open."""


class DamagedFileError(MediaError, ValueError):
    """A media file cannot be read."""


class OutputError(CaptureError, OSError):
    """An output file or folder cannot be written."""


class NothingRecordedError(CaptureError):
    """The recording was stopped before there was anything to save."""


class SourceEndedError(Exception):
    """A source came to its natural end: its window was closed, the demo clip has ended."""


def explain_system_error(error: OSError) -> tuple[str, str] | None:
    """A message and a hint for a system error; ``None`` if it is not a usual one of files."""
    known = SYSTEM_REASONS.get(error.errno or 0)
    if known is None:
        return None
    reason, hint = known
    if error.filename is None:  # the terminal, or what stands in its place
        return f"the output cannot be written: {reason}", hint
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    return f"{name}: {reason}", hint

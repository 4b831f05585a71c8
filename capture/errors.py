"""What can go wrong, as one tree.

Every error carries a message for the person, a hint that says what to do, and details for a bug
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

``SourceEndedError`` stands apart: it is the clean end of a source, not a failure.
"""

from __future__ import annotations

from typing import Any

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
    "OutputError",
    "SourceEndedError",
    "UnsupportedError",
]


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
    """An option or a setting that makes no sense."""


class BackendUnavailableError(CaptureError):
    """This machine cannot do that at all."""


class LibraryMissingError(BackendUnavailableError):
    """A library is not installed, or does not load."""


class UnsupportedError(BackendUnavailableError):
    """Not possible on this operating system, or not yet, whatever is installed."""


class DeviceError(CaptureError):
    """Something about a monitor, window, sound device or application."""


class DeviceNotFoundError(DeviceError, LookupError):
    """No monitor, window, sound device or application fits the name."""


class DeviceLostError(DeviceError):
    """The device was there and went away."""


class AccessDeniedError(DeviceError, PermissionError):
    """The system refuses access to the device."""


class MediaError(CaptureError):
    """Something about an encoder, a container or a media file."""


class EncoderUnavailableError(MediaError):
    """No such encoder here, or it does not open."""


class DamagedFileError(MediaError, ValueError):
    """A media file that cannot be read."""


class OutputError(CaptureError, OSError):
    """The output cannot be written."""


class SourceEndedError(Exception):
    """A source came to its natural end: the window was closed, the demo clip is over."""

"""Devices: monitors, windows, sound devices, and applications that play."""

import enum
from dataclasses import dataclass

from capture.geometry import Rect

__all__ = ["AudioApp", "AudioDevice", "DeviceKind", "Monitor", "WindowInfo"]


@dataclass(frozen=True, slots=True)
class Monitor:
    """A monitor. ``None``: the system does not know."""

    id: int
    """Number from 1 on, as in ``Screen``."""
    name: str | None
    rect: Rect
    is_primary: bool | None = None


@dataclass(frozen=True, slots=True)
class WindowInfo:
    """A top-level window when it was listed. ``None``: the system does not know."""

    id: int
    title: str
    rect: Rect
    """Its content without the window manager's frame, in desktop coordinates."""
    app_name: str | None = None
    pid: int | None = None


class DeviceKind(enum.StrEnum):
    """Whether a sound device is an output or a microphone."""

    OUTPUT = "output"
    MICROPHONE = "microphone"


@dataclass(frozen=True, slots=True)
class AudioDevice:
    """A sound device; ``id`` is stable across runs, as in ``system:ID``."""

    id: str
    name: str
    kind: DeviceKind
    backend: str
    rate_hz: int
    channels: int
    is_default: bool = False
    is_muted: bool | None = None


@dataclass(frozen=True, slots=True)
class AudioApp:
    """An application that plays sound, with all its streams."""

    name: str
    stream_ids: tuple[int, ...]
    binary: str | None = None
    pid: int | None = None
    title: str | None = None
    """What it plays by its own description, such as a song or a page title."""
    is_playing: bool = True
    """False while all its streams are paused."""

"""What can be captured: screens, windows, sound devices, applications."""

import enum
from dataclasses import dataclass

from capture.geometry import Rect

__all__ = ["AudioApp", "AudioDevice", "DeviceKind", "Monitor", "WindowInfo"]


@dataclass(frozen=True, slots=True)
class Monitor:
    """A screen. ``None`` means that the system could not tell."""

    id: int
    """1 is the first, as in ``--screen 1``."""
    name: str | None
    rect: Rect
    is_primary: bool | None = None


@dataclass(frozen=True, slots=True)
class WindowInfo:
    """A top-level window as it was when asked. ``None`` means that the system could not tell."""

    id: int
    title: str
    rect: Rect
    """Its content without the window manager's frame, in desktop coordinates."""
    app_name: str | None = None
    pid: int | None = None


class DeviceKind(enum.StrEnum):
    """Which way the sound goes."""

    OUTPUT = "output"
    MICROPHONE = "microphone"


@dataclass(frozen=True, slots=True)
class AudioDevice:
    """A sound device; ``id`` is stable across runs and is what ``--audio system:ID`` takes."""

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
    """What it says it plays, e.g. a song or a page title."""
    is_playing: bool = True
    """False while all its streams are paused."""

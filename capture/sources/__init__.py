"""Screens and sound devices: chooses the backend for a spec.

Backends are imported inside the branch that needs them, so that importing this package loads no
native library.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from capture.errors import BackendUnavailableError, ConfigError, UnsupportedError
from capture.hints import Advice
from capture.libraries import needed
from capture.sources.base import MIX_STREAM
from capture.specs.target import TestCard, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from capture.model.devices import AudioApp, AudioDevice, Monitor, WindowInfo
    from capture.sources.base import AudioSource, PlayerSource, ScreenSource
    from capture.sources.screen_x11 import X11Display
    from capture.specs.recording import AudioSpec, VideoSpec
    from capture.specs.target import Desktop, Region, Screen

__all__ = [
    "MIX_STREAM",
    "list_audio_apps",
    "list_audio_devices",
    "list_monitors",
    "list_windows",
    "open_audio",
    "open_players",
    "open_screen",
    "require_apps",
    "require_windows",
]


# ----------------------------------------------------------------------------------------- sound

_AUDIO_FORMS = "system, system:OUTPUT, mic, mic:MICROPHONE, app:NAME, synthetic"


def open_audio(
    spec: AudioSpec,
    *,
    rate_hz: int = 48_000,
    follow_default: bool = True,
    environment: Mapping[str, str] | None = None,
) -> AudioSource:
    """Open the sound source of a spec, checked but not started.

    Args:
        spec: ``system``, ``system:ID``, ``mic``, ``mic:ID``, ``app:NAME`` or ``synthetic``.
        rate_hz: Of all blocks; a backend with another rate resamples.
        follow_default: Without a name: go over to the new default device when it changes.
        environment: PULSE_SERVER of another desktop; ``None``: this process's own.

    Raises:
        ConfigError: If the spec is of no known form.
        BackendUnavailableError: If this machine cannot do that, or no sound server runs.
        DeviceNotFoundError: If there is no such device; an application may start later.
    """
    if spec.kind == "synthetic":
        from capture.sources.synthetic.tone import SyntheticTone  # noqa: PLC0415

        return SyntheticTone(rate_hz=rate_hz)
    if spec.kind not in ("system", "mic", "app") or (spec.kind == "app" and spec.name is None):
        raise ConfigError(
            f"{spec.source!r} is not a sound source", hint=f"a source is one of {_AUDIO_FORMS}"
        )
    if sys.platform != "linux":
        if spec.kind != "mic":
            raise UnsupportedError(
                f"recording {spec.kind!r} sound is not yet possible on this system",
                hint="record a microphone (mic), or on Linux",
            )
        from capture.sources.audio_portaudio import PortAudioMicrophone  # noqa: PLC0415

        return PortAudioMicrophone(spec.name, rate_hz=rate_hz)
    from capture.sources import audio_pulse  # noqa: PLC0415

    server = _server(environment)
    if spec.kind == "app":
        return audio_pulse.PulseApp(spec.name, server=server, rate_hz=rate_hz)
    kind = audio_pulse.PulseOutput if spec.kind == "system" else audio_pulse.PulseMicrophone
    return kind(spec.name, server=server, rate_hz=rate_hz, follow_default=follow_default)


def open_players(
    *, rate_hz: int = 48_000, name: str | None = None, with_mix: bool = False
) -> PlayerSource:
    """Open all playing applications, or those of one name, each stream alone; not started.

    The sound of this process is left out.

    Args:
        rate_hz: Of all blocks; the server resamples.
        name: As in ``app:NAME``; ``None``: every application.
        with_mix: Also deliver what the default output plays, as the stream ``MIX_STREAM``.

    Raises:
        BackendUnavailableError: If this machine cannot do that, or no sound server runs.
    """
    if sys.platform != "linux":
        raise _no_apps()
    from capture.sources import audio_pulse  # noqa: PLC0415

    return audio_pulse.PulseApp(name, rate_hz=rate_hz, with_mix=with_mix)


def list_audio_devices() -> tuple[AudioDevice, ...]:
    """All microphones, and on Linux all outputs.

    Raises:
        BackendUnavailableError: If there is no sound server or no PortAudio.
    """
    if sys.platform == "linux":
        from capture.sources import audio_pulse  # noqa: PLC0415

        return audio_pulse.list_devices()
    from capture.sources import audio_portaudio  # noqa: PLC0415

    return audio_portaudio.list_devices()


def list_audio_apps(environment: Mapping[str, str] | None = None) -> tuple[AudioApp, ...]:
    """Applications that play sound, or could go on to.

    Args:
        environment: PULSE_SERVER of another desktop; ``None``: this process's own.

    Raises:
        BackendUnavailableError: If there is no sound server, or not on Linux.
    """
    require_apps()
    from capture.sources import audio_pulse  # noqa: PLC0415

    return audio_pulse.list_apps(_server(environment))


def _server(environment: Mapping[str, str] | None) -> str | None:
    return None if environment is None else environment.get("PULSE_SERVER")


def require_apps() -> None:
    """Raise if applications can never be listed here; asks no sound server.

    Raises:
        UnsupportedError: Not on this system.
        LibraryMissingError: What it takes is not installed.
    """
    if sys.platform != "linux":
        raise _no_apps()
    from capture.sources import _pulse_server  # noqa: PLC0415

    _pulse_server.load_pulsectl()


def _no_apps() -> UnsupportedError:
    return UnsupportedError(
        "the sound of one application cannot be recorded on this system yet",
        hint="record on Linux, or everything that this system lets through a microphone input",
    )


# --------------------------------------------------------------------------------------- pictures

_PRIVATE_HINT = Advice.PRIVATE_DESKTOP.with_()
"""The hint where only a private desktop, of X11 on Linux, can help."""


def open_screen(spec: VideoSpec, environment: Mapping[str, str] | None = None) -> ScreenSource:
    """Open the screen source of a spec; it has proved to give pixels.

    Args:
        spec: What to film; its rates and qualities are not looked at.
        environment: DISPLAY and XAUTHORITY of another desktop; ``None``: this process's own.

    Raises:
        BackendUnavailableError: If this machine gives no pixels: Wayland, no display.
        AccessDeniedError: If the display refuses this user.
        DeviceNotFoundError: If there is no such monitor or window.
        ConfigError: If a region lies partly outside the desktop.
    """
    target = spec.target
    if isinstance(target, TestCard):
        from capture.sources.synthetic.screen import SyntheticScreen  # noqa: PLC0415

        return SyntheticScreen(target.width_px, target.height_px)
    if _has_x11():
        return _open_x11(target, environment, with_cursor=spec.with_cursor)
    if isinstance(target, Window):
        raise _no_windows()
    with needed("mss"):
        from capture.sources import screen_mss  # noqa: PLC0415

    area, label = screen_mss.find_area(screen_mss.list_monitors(), target)
    notes = ["the picture is read and compared every time: this system does not report changes"]
    if spec.with_cursor:
        notes.append("the pointer is not in the picture: not yet possible on this system")
    return screen_mss.MssScreen(area, label, notes=notes)


def list_monitors(environment: Mapping[str, str] | None = None) -> tuple[Monitor, ...]:
    """All monitors, the first one as number 1.

    Raises:
        BackendUnavailableError: If this machine gives no pixels: Wayland, no display.
        AccessDeniedError: If the display refuses this user.
    """
    with needed("mss"):
        from capture.sources import screen_mss  # noqa: PLC0415

    if not _has_x11():
        return screen_mss.list_monitors()
    with _connected(environment) as display:
        return screen_mss.list_monitors(display.name)


def list_windows(environment: Mapping[str, str] | None = None) -> tuple[WindowInfo, ...]:
    """All windows that can be filmed.

    Raises:
        BackendUnavailableError: If windows cannot be listed: Wayland, no display, not X11.
        AccessDeniedError: If the display refuses this user.
    """
    require_windows()
    from capture.sources import screen_x11  # noqa: PLC0415

    with _connected(environment) as display:
        return screen_x11.list_windows(display)


def require_windows() -> None:
    """Raise if windows can never be listed here; asks no display.

    Raises:
        UnsupportedError: Not on this system.
        LibraryMissingError: What it takes is not installed.
    """
    if not _has_x11():
        raise _no_windows()
    with needed("xcffib"):
        from capture.sources import screen_x11  # noqa: F401, PLC0415


def _open_x11(
    target: Screen | Desktop | Region | Window,
    environment: Mapping[str, str] | None,
    *,
    with_cursor: bool,
) -> ScreenSource:
    with needed("mss"):
        from capture.sources import screen_mss  # noqa: PLC0415
    with needed("xcffib"):
        from capture.sources import screen_x11  # noqa: PLC0415

    with _authority(environment):
        display = _connect(environment)
        try:
            # Asked of mss even for a window: it refuses displays of unknown pixel layout.
            monitors = screen_mss.list_monitors(display.name)
            if isinstance(target, Window):
                window = screen_x11.find_window(display, target.title)
                area, label = window.rect, f'window "{window.title}"'
            else:
                window = None
                area, label = screen_mss.find_area(monitors, target)
            helper = screen_x11.X11Helper(display, area, window=window, with_cursor=with_cursor)
        except BaseException:
            display.close()
            raise
        return screen_mss.MssScreen(helper.area, label, helper=helper, display=display.name)


@contextmanager
def _connected(environment: Mapping[str, str] | None) -> Iterator[X11Display]:
    with _authority(environment), _connect(environment) as display:
        yield display


def _connect(environment: Mapping[str, str] | None) -> X11Display:
    """Connect to a display whose pixels can be read, not one that only gives black."""
    around = os.environ if environment is None else environment
    name = around.get("DISPLAY")
    is_wayland = "WAYLAND_DISPLAY" in around or around.get("XDG_SESSION_TYPE") == "wayland"
    if not name:
        raise BackendUnavailableError(
            "this is a Wayland session, which does not let programs read the screen"
            if is_wayland
            else "there is no screen to read: DISPLAY is not set",
            hint=_PRIVATE_HINT,
        )
    with needed("xcffib"):
        from capture.sources.screen_x11 import X11Display  # noqa: PLC0415

    display = X11Display(name)
    if display.is_xwayland():
        display.close()
        raise BackendUnavailableError(
            f"the display {name} is Xwayland, which shows nothing of the Wayland desktop",
            hint=_PRIVATE_HINT,
        )
    return display


@contextmanager
def _authority(environment: Mapping[str, str] | None) -> Iterator[None]:
    """Set XAUTHORITY of another desktop meanwhile; libxcb reads it only from this process."""
    own = os.environ.get("XAUTHORITY")
    other = environment.get("XAUTHORITY") if environment is not None else own
    if other == own or other is None:
        yield
        return
    os.environ["XAUTHORITY"] = other
    try:
        yield
    finally:
        if own is None:
            del os.environ["XAUTHORITY"]
        else:
            os.environ["XAUTHORITY"] = own


def _has_x11() -> bool:
    return sys.platform not in ("win32", "darwin")


def _no_windows() -> UnsupportedError:
    return UnsupportedError(
        "recording one window is not yet possible on this system", hint=Advice.RECORD_REGION.with_()
    )

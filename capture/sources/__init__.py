"""Sound and picture devices: the one place that picks a backend, and says why.

Backends are imported inside the branch that needs them, so that importing this package loads no
native library.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from capture.errors import BackendUnavailableError, ConfigError

if TYPE_CHECKING:
    from capture.model import AudioApp, AudioDevice, AudioSpec
    from capture.sources.base import AudioSource

__all__ = ["list_audio_apps", "list_audio_devices", "open_audio"]


# ----------------------------------------------------------------------------------------- sound

_AUDIO_FORMS = "system, system:OUTPUT, mic, mic:MICROPHONE, app:NAME, synthetic"


def open_audio(spec: AudioSpec, *, rate_hz: int = 48_000) -> AudioSource:
    """The source that a spec names, checked but not started.

    Args:
        spec: ``system``, ``system:ID``, ``mic``, ``mic:ID``, ``app:NAME`` or ``synthetic``.
        rate_hz: Of all blocks; whoever delivers another rate resamples.

    Raises:
        ConfigError: If the spec is of no known form.
        BackendUnavailableError: If this machine cannot do that, or no sound server runs.
        DeviceNotFoundError: If there is no such device; an application may start later.
    """
    if spec.kind == "synthetic":
        from capture.sources.synthetic import SyntheticTone  # noqa: PLC0415

        return SyntheticTone(rate_hz=rate_hz)
    if spec.kind not in ("system", "mic", "app") or (spec.kind == "app" and spec.name is None):
        raise ConfigError(
            f"{spec.source!r} is not a sound source", hint=f"a source is one of {_AUDIO_FORMS}"
        )
    if sys.platform != "linux":
        if spec.kind != "mic":
            raise BackendUnavailableError(
                f"recording {spec.kind!r} sound is not yet possible on this system",
                hint="record a microphone (mic), or on Linux",
            )
        from capture.sources.audio_portaudio import PortAudioMicrophone  # noqa: PLC0415

        return PortAudioMicrophone(spec.name, rate_hz=rate_hz)
    from capture.sources import audio_pulse  # noqa: PLC0415

    if spec.kind == "system":
        return audio_pulse.PulseOutput(spec.name, rate_hz=rate_hz)
    if spec.kind == "mic":
        return audio_pulse.PulseMicrophone(spec.name, rate_hz=rate_hz)
    assert spec.name is not None
    return audio_pulse.PulseApp(spec.name, rate_hz=rate_hz)


def list_audio_devices() -> tuple[AudioDevice, ...]:
    """Outputs (Linux only) and microphones.

    Raises:
        BackendUnavailableError: If there is no sound server or no PortAudio.
    """
    if sys.platform == "linux":
        from capture.sources import audio_pulse  # noqa: PLC0415

        return audio_pulse.list_devices()
    from capture.sources import audio_portaudio  # noqa: PLC0415

    return audio_portaudio.list_devices()


def list_audio_apps() -> tuple[AudioApp, ...]:
    """Applications that play sound, or could go on to.

    Raises:
        BackendUnavailableError: If there is no sound server, or not on Linux.
    """
    if sys.platform != "linux":
        raise BackendUnavailableError(
            "applications cannot be told apart by their sound on this system yet",
            hint="record on Linux, or everything that this system lets through a microphone input",
        )
    from capture.sources import audio_pulse  # noqa: PLC0415

    return audio_pulse.list_apps()

"""Lists what a PulseAudio or PipeWire server has: devices, applications, streams.

Uses pulsectl, which is imported when it is needed, since it loads libpulse. Nothing is kept between
calls.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from capture.errors import BackendUnavailableError
from capture.libraries import needed
from capture.model.devices import AudioApp, AudioDevice, DeviceKind
from capture.sources.matching import AppStream

CLIENT_NAME = "capture"

_NAME_KEYS = ("application.name", "application.id", "application.process.binary")
_LOOSE_KEYS = ("application.icon_name", "window.name")


@dataclass(frozen=True, slots=True)
class View:
    """The lists of a server at one moment, of pulsectl's objects."""

    server: Any
    sinks: list[Any]
    sources: list[Any]
    sink_inputs: list[Any]
    clients: dict[int, Any]

    @property
    def microphones(self) -> list[Any]:
        """Sources that are not monitors of outputs."""
        return [source for source in self.sources if not _is_monitor(source)]

    def properties(self, sink_input: Any) -> dict[str, str]:
        """Properties of an application: of its stream first, then of its connection.

        Native PipeWire streams carry no process id; their client does.
        """
        client = self.clients.get(sink_input.client)
        found: dict[str, str] = dict(client.proplist) if client is not None else {}
        found.update(sink_input.proplist)
        return found

    @property
    def app_streams(self) -> list[AppStream]:
        """All streams to outputs, in the form that ``matching`` takes."""
        return [self._app_stream(each) for each in self.sink_inputs]

    def _app_stream(self, sink_input: Any) -> AppStream:
        properties = self.properties(sink_input)
        return AppStream(
            id=sink_input.index,
            names=tuple(properties.get(key, "") for key in _NAME_KEYS),
            loose_names=tuple(properties.get(key, "") for key in _LOOSE_KEYS),
            titles=(properties.get("media.name", ""), sink_input.name or ""),
            pid=process_id(properties),
        )


def _is_monitor(source: Any) -> bool:
    return bool(source.monitor_of_sink_name) or source.proplist.get("device.class") == "monitor"


def is_silenced(device: Any) -> bool:
    """Whether a device or a stream is muted, or at volume 0."""
    # A stream that PipeWire is still setting up has no channels yet, so no volume either.
    volumes = device.volume.values
    return bool(device.mute) or (bool(volumes) and max(volumes) == 0)


def look(pulse: Any) -> View:
    """List all devices, streams and clients of the server."""
    return View(
        server=pulse.server_info(),
        sinks=pulse.sink_list(),
        sources=pulse.source_list(),
        sink_inputs=pulse.sink_input_list(),
        clients={client.index: client for client in pulse.client_list()},
    )


def load_pulsectl() -> Any:
    """Import pulsectl, the Python module of libpulse.

    Raises:
        LibraryMissingError: If libpulse or pulsectl is not installed.
    """
    with needed("pulsectl"):
        import pulsectl  # noqa: PLC0415 - it loads libpulse
    return pulsectl


@contextmanager
def connect(server: str | None) -> Iterator[Any]:
    """Open a pulsectl connection.

    Raises:
        BackendUnavailableError: If libpulse, pulsectl or the server is not there.
    """
    pulsectl = load_pulsectl()
    for kind in (pulsectl.PulseSinkInfo, pulsectl.PulseSourceInfo, pulsectl.PulseSinkInputInfo):
        kind._init_from_struct = _complete  # noqa: SLF001 - what pulsectl has for its subclasses
    pulsectl.PulseClientInfo._init_from_struct = _complete  # noqa: SLF001 - the same
    pulse = None
    try:
        try:
            pulse = pulsectl.Pulse(CLIENT_NAME, server=server, connect=False)
            pulse.connect()  # with a timeout, pulsectl always sleeps all of it
        except (pulsectl.PulseError, pulsectl._pulsectl.pa.CallError) as error:  # noqa: SLF001
            raise BackendUnavailableError(
                "no sound server answers",
                hint="start PulseAudio or pipewire-pulse, or set PULSE_SERVER to the running one",
                details={"server": server, "error": str(error)},
            ) from error
        yield pulse
    finally:
        if pulse is not None:
            pulse.close()


def _complete(info: Any, struct: Any) -> None:
    """Add fields that pulsectl leaves out to a device, a stream or a client."""
    spec = getattr(struct, "sample_spec", None)
    if spec is not None:
        info.rate_hz = int(spec.rate)  # pulsectl keeps a view of memory that is freed
    for key in [key for key, text in info.proplist.items() if text is None]:  # no UTF-8
        text = _raw_property(struct.proplist, key)
        if text is None:
            del info.proplist[key]
        else:
            info.proplist[key] = text


def _raw_property(proplist: Any, key: str) -> str | None:
    """A text that is no UTF-8, read as Latin-1; ``None`` for binary data, such as pictures."""
    if key not in {*_NAME_KEYS, *_LOOSE_KEYS, "media.name", "device.description"}:
        return None
    data, size = ctypes.c_void_p(), ctypes.c_size_t()
    get = ctypes.CDLL("libpulse.so.0").pa_proplist_get  # the one that pulsectl has loaded
    if get(proplist, key.encode(), ctypes.byref(data), ctypes.byref(size)) or not data.value:
        return None
    return ctypes.string_at(data.value, size.value).rstrip(b"\0").decode("latin-1")


def server_name(server: str | None = None) -> str:
    """Name and version: ``pulseaudio 16.1``, ``PulseAudio (on PipeWire 1.4.2) 15.0.0``.

    Raises:
        BackendUnavailableError: If there is no server.
    """
    with connect(server) as pulse:
        info = pulse.server_info()
        return f"{info.server_name} {info.server_version}"


def list_devices(server: str | None = None) -> tuple[AudioDevice, ...]:
    """Outputs first, then microphones; monitors of outputs are left out.

    Raises:
        BackendUnavailableError: If there is no server.
    """
    with connect(server) as pulse:
        view = look(pulse)
    outputs = (
        _device(sink, DeviceKind.OUTPUT, view.server.default_sink_name) for sink in view.sinks
    )
    microphones = (
        _device(source, DeviceKind.MICROPHONE, view.server.default_source_name)
        for source in view.microphones
    )
    return (*outputs, *microphones)


def _device(device: Any, kind: DeviceKind, default: str | None) -> AudioDevice:
    return AudioDevice(
        id=device.name,
        name=device.description or device.name,
        kind=kind,
        backend="pulse",
        rate_hz=device.rate_hz,
        channels=device.channel_count,
        is_default=device.name == default,
        is_muted=is_silenced(device),
    )


def list_apps(server: str | None = None) -> tuple[AudioApp, ...]:
    """Applications with a stream to an output, playing or paused, sorted by name.

    Raises:
        BackendUnavailableError: If there is no server.
    """
    with connect(server) as pulse:
        view = look(pulse)
    groups: dict[str, list[Any]] = {}
    for sink_input in view.sink_inputs:
        groups.setdefault(app_name(sink_input, view), []).append(sink_input)
    apps = []
    for name, streams in groups.items():
        properties = view.properties(streams[0])
        apps.append(
            AudioApp(
                name=name,
                stream_ids=tuple(stream.index for stream in streams),
                binary=properties.get("application.process.binary"),
                pid=process_id(properties),
                title=properties.get("media.name"),
                is_playing=any(not stream.corked for stream in streams),
            )
        )
    return tuple(sorted(apps, key=lambda app: app.name.casefold()))


def process_id(properties: dict[str, str]) -> int | None:
    """Number of the playing process; ``None`` if it is not known."""
    pid = properties.get("application.process.id", "")
    return int(pid) if pid.isdecimal() else None


def app_name(sink_input: Any, view: View) -> str:
    """The name of an application for people."""
    properties = view.properties(sink_input)
    return (
        properties.get("application.name")
        or properties.get("application.process.binary")
        or sink_input.name
        or f"stream {sink_input.index}"
    )

"""Sound of a PulseAudio or PipeWire server: outputs and microphones.

Owns the choice of a device by its name, and the stream that records it. Watching the server is in
``_pulse_source``, applications are in ``_pulse_players``.
"""

from abc import abstractmethod
from typing import Any

from capture.cautions import Caution
from capture.errors import DeviceNotFoundError
from capture.model.events import EventKind
from capture.sources._pulse_players import PulseApp
from capture.sources._pulse_server import View, is_silenced, list_apps, list_devices, server_name
from capture.sources._pulse_source import PulseSource
from capture.sources._pulse_stream import StreamRequest

__all__ = ["PulseApp", "PulseMicrophone", "PulseOutput", "list_apps", "list_devices", "server_name"]


class _PulseDevice(PulseSource):
    """One output or microphone, named or the default one."""

    _what: str  # for people

    def __init__(
        self,
        name: str | None = None,
        *,
        follow_default: bool = True,
        server: str | None = None,
        rate_hz: int = 48_000,
    ) -> None:
        self._name = name
        self._recorded: str | None = None  # name of the device of the last plan
        self._follow_default = follow_default and name is None
        super().__init__(server=server, rate_hz=rate_hz)

    @abstractmethod
    def _devices(self, view: View) -> list[Any]:
        """All devices of this kind."""

    @abstractmethod
    def _default(self, view: View) -> Any:
        """The default device; ``None``: there is none."""

    @abstractmethod
    def _want(self, device: Any) -> StreamRequest:
        """The stream that records a device."""

    def _device(self, view: View) -> Any:
        if self._name is None:
            return self._default(view)
        return next((each for each in self._devices(view) if each.name == self._name), None)

    def _find(self, view: View) -> str:
        devices = self._devices(view)
        if self._name is not None:
            wished = self._name.removesuffix(".monitor").casefold()
            device = next(
                (each for each in devices if each.name.casefold() == wished), None
            ) or next((each for each in devices if wished in each.description.casefold()), None)
        else:
            device = self._default(view)
        if device is None:
            there = ", ".join(f"{each.name} ({each.description})" for each in devices)
            raise DeviceNotFoundError(
                f"no {self._what} is called {self._name}"
                if self._name
                else f"the sound server has no {self._what}",
                hint=f"there is {there}" if there else "connect one",
            )
        if self._name is not None or not self._follow_default:
            self._name = device.name
        return f"{self._what} ({device.description})"

    def _plan(self, view: View) -> frozenset[StreamRequest]:
        device = self._device(view)
        return frozenset() if device is None else frozenset({self._want(device)})

    def _silenced(self, view: View) -> str | None:
        device = self._device(view)
        if device is None or not is_silenced(device):
            return None
        return Caution.MUTED.with_(name=device.description)

    def _looked(self, view: View, wanted: frozenset[StreamRequest]) -> None:
        if not wanted:
            self._lost(f"no {self._what} is left" if self._name is None else "it went away")
            return
        device = self._device(view)
        if self._recorded not in (None, device.name):
            self._emit(
                EventKind.DEFAULT_CHANGED,
                f"the {self._what} is now {device.description}",
                device=device.name,
                before=self._recorded,
            )
        self._recorded = device.name


class PulseOutput(_PulseDevice):
    """All that an output plays: the stream of its monitor.

    A muted output gives silence on some servers and cards: a WARNING event reports that.

    Args:
        name: The output's name or part of its description; ``None``: the default one.
        follow_default: Without a name: record the new default output when it changes.
        server: As in PULSE_SERVER; ``None`` is the environment's.
        rate_hz: Of all blocks; the server resamples.
    """

    _what = "output"

    def _devices(self, view: View) -> list[Any]:
        return view.sinks

    def _default(self, view: View) -> Any:
        name = view.server.default_sink_name
        return next((sink for sink in view.sinks if sink.name == name), None)

    def _want(self, device: Any) -> StreamRequest:
        return StreamRequest(0, device.monitor_source_name, device.index)

    def _streams(self, view: View) -> list[Any] | None:
        device = self._device(view)
        return [each for each in view.sink_inputs if device and each.sink == device.index]


class PulseMicrophone(_PulseDevice):
    """A microphone; the arguments are those of ``PulseOutput``.

    Where the server's default source is the monitor of an output, as on machines without a
    microphone, the first true microphone is taken: ``mic`` never records what the speakers play.
    """

    _what = "microphone"

    def _devices(self, view: View) -> list[Any]:
        return view.microphones

    def _default(self, view: View) -> Any:
        name = view.server.default_source_name
        microphones = view.microphones
        return next(
            (source for source in microphones if source.name == name),
            microphones[0] if microphones else None,
        )

    def _want(self, device: Any) -> StreamRequest:
        return StreamRequest(0, device.name, device.index)

    def _streams(self, view: View) -> list[Any] | None:  # noqa: ARG002
        return None  # a room is never exactly silent

"""Sound of a PulseAudio or PipeWire server: an output, a microphone, or one application.

Owns what to record: it watches the server (pulsectl) and tells a ``PulseReader``, which owns the
streams and their time. Every event of the server leads to the same step: list what there is, plan
the streams from it, hand the plan over. So a device that is lost, back or replaced, and an
application that starts, moves or ends, are one code path.

Two threads a source: ``capture-audio-watch`` here, ``capture-audio-read`` in the reader. Both are
daemons, and ``atexit`` closes what was left open: no C code may call into a dying interpreter.
"""

from __future__ import annotations

import atexit
import threading
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from capture.clock import now_ns
from capture.errors import BackendUnavailableError, DeviceNotFoundError
from capture.model import Event, EventKind, SoundState
from capture.sources._pulse_reader import BACK_OFF_S, CHANNELS, PulseReader, Want
from capture.sources._pulse_server import (
    View,
    app_name,
    connect,
    is_match,
    is_silenced,
    list_apps,
    list_devices,
    look,
    server_name,
)
from capture.sources.base import AudioSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from capture.model import AudioBlock

__all__ = [
    "PulseApp",
    "PulseMicrophone",
    "PulseOutput",
    "list_apps",
    "list_devices",
    "server_name",
]

LISTEN_S = 0.1
"""How long the watch sleeps at most: it bounds ``close()`` and the reaction to a lost reader."""
WARN_AFTER_S = 0.3
"""A new stream on PipeWire is muted for a moment while it is set up."""
SETTLE_S = 0.03
"""At most one look at the server in this time: moving a volume slider sends dozens of events."""


class _PulseSource(AudioSource):
    """What the three kinds share: watching the server, losing it, and coming back.

    Args:
        server: As in PULSE_SERVER; ``None`` is the environment's.
        rate_hz: Of all blocks; the server resamples.

    Raises:
        BackendUnavailableError: If there is no server.
        DeviceNotFoundError: If the named device does not exist.
    """

    is_idle_silent = False

    def __init__(self, *, server: str | None, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.channels = CHANNELS
        self.notes = []
        self._server = server
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._positions: dict[int, Any] = {}
        self._lock = threading.Lock()  # guards _is_lost, which both threads change
        self._is_lost = False
        self._is_dirty = False  # the server changed since the last look; watching thread only
        self._warning: str | None = None
        self._sound_state = SoundState.UNKNOWN
        with connect(server) as pulse:
            view = look(pulse)
        self.label = self._find(view)

    @abstractmethod
    def _find(self, view: View) -> str:
        """The source's label.

        Raises:
            DeviceNotFoundError: If there is nothing to record, now or later.
        """

    @abstractmethod
    def _plan(self, view: View) -> frozenset[Want]:
        """What to record now; nothing while the device is not there."""

    @abstractmethod
    def _silenced(self, view: View) -> str | None:
        """Why all that is recorded is silence, or ``None``."""

    @abstractmethod
    def _streams(self, view: View) -> list[Any] | None:
        """What plays into all that is recorded, paused or not; ``None``: it always sounds."""

    @property
    def sound_state(self) -> SoundState:
        """As of the last look at the server; see ``AudioSource``."""
        return SoundState.LOST if self._is_lost else self._sound_state

    def _state_in(self, view: View) -> SoundState:
        if self._silenced(view) is not None:
            return SoundState.MUTED
        streams = self._streams(view)
        if streams is None or any(not (s.corked or is_silenced(s)) for s in streams):
            return SoundState.PLAYING
        return SoundState.IDLE

    def start(self, put: Callable[[AudioBlock], None], on_event: Callable[[Event], None]) -> None:
        """Begin to deliver, within milliseconds, or within 2 s from an idle output.

        A block of an output may be stamped a little ahead of the clock: its sound left the server
        and is on its way to the speakers.
        """
        assert self._thread is None
        self._put, self._on_event = put, on_event
        atexit.register(self.close)
        self._thread = threading.Thread(target=self._watch, name="capture-audio-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop both threads and disconnect; takes up to 0.1 s. Idempotent."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            atexit.unregister(self.close)

    # ------------------------------------------------------------------------ the watching thread

    def _watch(self) -> None:
        """Serve one connection after the other until closed."""
        failures = 0
        while not self._closing.is_set():
            try:
                with connect(self._server) as pulse:
                    failures = 0
                    self._serve(pulse)
                if self._closing.is_set():
                    return
            except BackendUnavailableError:
                pass
            self._lost("the sound server is gone")
            self._closing.wait(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
            failures += 1

    def _serve(self, pulse: Any) -> None:
        """Keep the plan fitting to the server; returns when it is gone or when closed."""
        import pulsectl  # noqa: PLC0415 - it loads libpulse

        def note(_: Any) -> None:
            self._is_dirty = True
            raise pulsectl.PulseLoopStop

        reader = PulseReader(
            self._server, self.rate_hz, self._positions, self._put, self._stream_changed
        )
        try:
            pulse.event_mask_set("sink", "source", "sink_input", "server")
            pulse.event_callback_set(note)
            while not self._closing.is_set() and reader.is_alive:
                self._is_dirty = False  # before the look: what comes during it counts
                view = look(pulse)
                wanted = self._plan(view)
                reader.want(wanted)
                self._looked(view, wanted)
                self._sound_state = self._state_in(view)
                warning, looked = self._silenced(view), time.monotonic()
                self._closing.wait(SETTLE_S)
                while not (self._is_dirty or self._closing.is_set()) and reader.is_alive:
                    pulse.event_listen(timeout=LISTEN_S)
                    if time.monotonic() - looked > WARN_AFTER_S:
                        self._warn(warning)
        except (pulsectl.PulseDisconnected, pulsectl.PulseError):
            pass  # the server went away in the middle of a call
        finally:
            reader.close()

    def _looked(self, view: View, wanted: frozenset[Want]) -> None:
        """Tell what changed since the last look."""

    def _stream_changed(self, want: Want, is_running: bool) -> None:  # noqa: FBT001
        """A stream runs or failed; on the reader's thread."""
        if is_running:
            self._back()
        else:
            self._lost(f"{want.device} went away")

    # ------------------------------------------------------------------------------- what to tell

    def _emit(self, kind: EventKind, message: str, **details: Any) -> None:
        self._on_event(Event(kind, message, now_ns(), self.label, details))

    def _warn(self, warning: str | None) -> None:
        if warning is not None and warning != self._warning:
            self._emit(EventKind.WARNING, warning)
        self._warning = warning

    def _lost(self, message: str) -> None:
        with self._lock:
            if self._is_lost:
                return
            self._is_lost = True
        self._emit(EventKind.DEVICE_LOST, message)

    def _back(self) -> None:
        with self._lock:
            if not self._is_lost:
                return
            self._is_lost = False
        self._emit(EventKind.DEVICE_BACK, f"{self.label} is back")


class _PulseDevice(_PulseSource):
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
        """What there is to choose from."""

    @abstractmethod
    def _default(self, view: View) -> Any:
        """The default one, or ``None``."""

    @abstractmethod
    def _want(self, device: Any) -> Want:
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
                f"no {self._what} is called {self._name}" if self._name else f"no {self._what}",
                hint=f"there is {there}" if there else f"this machine has no {self._what}",
            )
        if self._name is not None or not self._follow_default:
            self._name = device.name
        return f"{self._what} ({device.description})"

    def _plan(self, view: View) -> frozenset[Want]:
        device = self._device(view)
        return frozenset() if device is None else frozenset({self._want(device)})

    def _silenced(self, view: View) -> str | None:
        device = self._device(view)
        if device is None or not is_silenced(device):
            return None
        return f"{device.description} is muted: it records silence"

    def _looked(self, view: View, wanted: frozenset[Want]) -> None:
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

    A muted output gives silence on some servers and cards: a WARNING event says so.

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

    def _want(self, device: Any) -> Want:
        return Want(0, device.monitor_source_name, device.index)

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

    def _want(self, device: Any) -> Want:
        return Want(0, device.name, device.index)

    def _streams(self, view: View) -> list[Any] | None:  # noqa: ARG002
        return None  # a room is never exactly silent


class PulseApp(_PulseSource):
    """What one application plays, and nothing else, whether or not it plays yet.

    Every stream of it is one ``AudioBlock.stream``, whose id is the server's sink-input index;
    STREAM_STARTED and STREAM_ENDED frame it. Between streams nothing is delivered: not the mix,
    not another application.

    Args:
        name: Part of the application's name, id, program, or of what it says it plays; case
            ignored. A number is a process id. Streams of child processes of a program of exactly
            this name belong to it.
        server: As in PULSE_SERVER; ``None`` is the environment's.
        rate_hz: Of all blocks; the server resamples.
    """

    is_idle_silent = True

    def __init__(self, name: str, *, server: str | None = None, rate_hz: int = 48_000) -> None:
        self._wished = name.casefold()
        self._name = name
        self._known: dict[int, str] = {}  # stream id to its application's name
        self._is_waiting = False
        super().__init__(server=server, rate_hz=rate_hz)

    def _find(self, view: View) -> str:  # noqa: ARG002 - it may start later
        return f"app {self._name}"

    def _matching(self, view: View) -> list[Any]:
        return [
            sink_input
            for sink_input in view.sink_inputs
            if is_match(self._wished, sink_input.name, view.properties(sink_input))
        ]

    def _streams(self, view: View) -> list[Any] | None:
        return self._matching(view)

    def _plan(self, view: View) -> frozenset[Want]:
        sinks = {sink.index: sink for sink in view.sinks}
        return frozenset(
            Want(each.index, sinks[each.sink].monitor_source_name, each.sink, each.index)
            for each in self._matching(view)
            if each.sink in sinks
        )

    def _silenced(self, view: View) -> str | None:
        streams = self._matching(view)
        if streams and all(is_silenced(stream) for stream in streams):
            return f"{self._name} is muted: it records silence"
        return None

    def _looked(self, view: View, wanted: frozenset[Want]) -> None:
        self._back()  # only the server can be lost
        streams = {want.stream for want in wanted}
        for each in view.sink_inputs:
            if each.index in streams and each.index not in self._known:
                self._known[each.index] = name = app_name(each, view)
                self._emit(EventKind.STREAM_STARTED, f"{name} began to play", stream=each.index)
        for stream in self._known.keys() - streams:
            name = self._known.pop(stream)
            self._positions.pop(stream, None)
            self._emit(EventKind.STREAM_ENDED, f"{name} stopped playing", stream=stream)
        if not streams and not self._is_waiting:
            self._emit(
                EventKind.WARNING, f"{self._name} plays nothing yet: waiting for it", waiting=True
            )
        self._is_waiting = True

    def _stream_changed(self, want: Want, is_running: bool) -> None:  # noqa: FBT001
        """Nothing: an application's stream that fails has ended or moved, as the watch will see."""

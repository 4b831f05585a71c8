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
import os
import threading
import time
from abc import abstractmethod
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from capture.clock import now_ns
from capture.errors import BackendUnavailableError, DeviceNotFoundError
from capture.model import NS_PER_S, Event, EventKind, SoundState
from capture.sources._pulse_lead import MixMemory, join
from capture.sources._pulse_reader import BACK_OFF_S, CHANNELS, PulseReader, Want
from capture.sources._pulse_server import (
    View,
    app_name,
    connect,
    is_silenced,
    list_apps,
    list_devices,
    look,
    match,
    process_id,
    server_name,
)
from capture.sources.base import MIX_STREAM, AudioSource, PlayerSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
MAX_STREAMS = 16
"""Of applications, followed at once: a browser has one a playing tab."""
MAX_MIXES = 3
"""Outputs whose mix is remembered, the default one first; each costs 1 % of a core."""
MIX_FRAGMENT_S = 0.02
"""Bounds how far ahead PulseAudio renders, so what a new stream loses if it has no lead. Listening
costs 1.4 % of a core, with 10 ms 2.5."""
COMPARED_S = 0.02
"""So much captured sound is compared with the mix."""
PATIENCE_NS = 3 * NS_PER_S // 10
"""A stream that is silent for longer begins without; the mixer waits 0.5 s for late sound."""
LONGEST_LEAD_NS = NS_PER_S
UNSEEN_NS = NS_PER_S // 10
"""The server made a stream at most this long before this process saw it, however busy it was."""
TAIL_NS = NS_PER_S // 2
"""Another stream may be heard for so long after it ended: what was rendered, and the device."""
OTHERS_NS = 3 * NS_PER_S
"""How long streams that ended are remembered."""


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

        self._connected()
        reader = PulseReader(
            self._server,
            self.rate_hz,
            self._positions,
            self._take,
            self._stream_changed,
            self._new_streams(),
        )
        try:
            pulse.event_mask_set("sink", "source", "sink_input", "server")
            pulse.event_callback_set(note)
            while not self._closing.is_set() and reader.is_alive:
                self._is_dirty = False  # before the look: what comes during it counts
                began_ns = now_ns()
                view = look(pulse)
                wanted = self._plan(view)
                is_news = self._planned(view, wanted, began_ns)
                reader.want(wanted)
                self._looked(view, wanted)
                self._sound_state = self._state_in(view)
                warning, looked = self._silenced(view), time.monotonic()
                self._closing.wait(SETTLE_S)
                self._is_dirty = self._is_dirty or is_news
                while not (self._is_dirty or self._closing.is_set()) and reader.is_alive:
                    pulse.event_listen(timeout=LISTEN_S)
                    if time.monotonic() - looked > WARN_AFTER_S:
                        self._warn(warning)
        except (pulsectl.PulseDisconnected, pulsectl.PulseError):
            pass  # the server went away in the middle of a call
        finally:
            reader.close()

    def _connected(self) -> None:
        """A server was found, perhaps another one than before."""

    def _planned(self, view: View, wanted: frozenset[Want], began_ns: int) -> bool:  # noqa: ARG002
        """Prepare for the streams of a plan, before they are wanted.

        Args:
            view: The look that it was made from.
            wanted: The plan.
            began_ns: When the look began.

        Returns:
            Whether to look again soon.
        """
        return False

    def _looked(self, view: View, wanted: frozenset[Want]) -> None:
        """Tell what changed since the last look."""

    def _new_streams(self) -> Callable[[int, int], None] | None:
        """Who is told of new playback streams, on the reader's thread."""
        return None

    def _take(self, block: AudioBlock) -> None:
        """A block was read; on the reader's thread."""
        self._put(block)

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


@dataclass(slots=True)
class _Player:
    """One stream of an application; guarded by the source's ``_turn``."""

    sink: int
    app: str
    details: dict[str, Any]
    created_ns: int | None
    """When the server made it; ``None``: before anyone looked."""
    is_started: bool = False
    lead_frames: int = 0
    held: list[AudioBlock] = field(default_factory=list)
    """Captured, but waiting for the mix that tells what came before."""
    held_ns: int = 0
    """Since when."""


class PulseApp(_PulseSource, PlayerSource):
    """What one application plays, or each one, and nothing else, whether or not it plays yet.

    Every stream of it is one ``AudioBlock.stream``, whose id is the server's sink-input index;
    STREAM_STARTED and STREAM_ENDED frame it. Between streams nothing is delivered: not the mix,
    not another application. What this process plays is left out.

    A stream can be captured some milliseconds after it began at the earliest. What it played until
    then is taken from the mix of its output, of which the last 1.5 s are kept in memory for that:
    only if nothing else played there, and if the mix is, from the moment of the capture on, that
    stream to -30 dB (``_pulse_lead``). The mix is also why little is missing if not: as long as
    someone listens to it, the server renders no further ahead than a fragment.

    Args:
        name: The application's name, id or program, or a part of these; else part of what it says
            it plays, where none is called so; case ignored. A number is a process id. Streams of
            child processes of a program of exactly this name belong to it. A stream that was
            followed once is followed until it ends. ``None``: all applications.
        server: As in PULSE_SERVER; ``None`` is the environment's.
        rate_hz: Of all blocks; the server resamples.
        with_mix: Also deliver what the default output plays, as the stream ``MIX_STREAM``.
    """

    is_idle_silent = True

    def __init__(
        self,
        name: str | None,
        *,
        server: str | None = None,
        rate_hz: int = 48_000,
        with_mix: bool = False,
    ) -> None:
        self._wished = name.casefold() if name is not None else None
        self._name = name
        self._with_mix = with_mix
        self._is_waiting = False
        self._is_crowded = False
        self._turn = threading.Lock()  # guards all below, which both threads use
        self._players: dict[int, _Player] = {}
        self._created: dict[int, int] = {}  # when streams were made
        self._mixes: dict[int, MixMemory] = {}  # by sink
        self._mix_sinks: dict[int, int] = {}  # id of the mix's stream to its sink
        self._sounding: set[tuple[int, int]] = set()  # (sink, stream), as of the last look
        self._sounded: deque[tuple[int, tuple[int, int]]] = deque()  # until when, the same
        self._full_sinks: set[int] = set()  # at 100 %
        self._looked_ns = 0
        self._playing: dict[int, tuple[str, bool, bool]] = {}
        super().__init__(server=server, rate_hz=rate_hz)

    def playing(self) -> dict[int, tuple[str, bool, bool]]:
        """As of the last look at the server; see ``PlayerSource``."""
        return self._playing

    def _find(self, view: View) -> str:  # noqa: ARG002 - it may start later
        return "applications" if self._name is None else f"app {self._name}"

    def _matching(self, view: View) -> list[Any]:
        """The streams to follow, at most ``MAX_STREAMS``: those already followed, then the oldest."""
        found = None if self._wished is None else match(self._wished, view)
        streams = [
            each
            for each in view.sink_inputs
            if (found is None or each.index in found or each.index in self._players)
            and process_id(view.properties(each)) != os.getpid()
        ]
        streams.sort(key=lambda each: (each.index not in self._players, each.index))
        if len(streams) > MAX_STREAMS and not self._is_crowded:
            self._is_crowded = True
            self._emit(
                EventKind.WARNING,
                f"{len(streams)} streams play at once: only {MAX_STREAMS} are followed",
            )
        return streams[:MAX_STREAMS]

    def _streams(self, view: View) -> list[Any] | None:
        return self._matching(view)

    def _plan(self, view: View) -> frozenset[Want]:
        sinks = {sink.index: sink for sink in view.sinks}
        streams = [each for each in self._matching(view) if each.sink in sinks]
        wanted = {
            Want(each.index, sinks[each.sink].monitor_source_name, each.sink, each.index)
            for each in streams
        }
        default = view.server.default_sink_name
        used = {each.sink for each in streams} | self._mixes.keys()
        mixed = [sink for sink in view.sinks if sink.name == default or sink.index in used]
        mixed.sort(key=lambda sink: sink.name != default)
        mix_sinks = {}
        for sink in mixed[:MAX_MIXES]:
            stream = MIX_STREAM if sink.name == default else MIX_STREAM - 1 - sink.index
            mix_sinks[stream] = sink.index
            wanted.add(
                Want(stream, sink.monitor_source_name, sink.index, fragment_s=MIX_FRAGMENT_S)
            )
        with self._turn:
            for stream, sink in mix_sinks.items():
                if self._mix_sinks.get(stream) != sink:
                    self._mixes[sink] = MixMemory(self.rate_hz)
            self._mix_sinks = mix_sinks
            for sink in self._mixes.keys() - mix_sinks.values():
                del self._mixes[sink]
        return frozenset(wanted)

    def _silenced(self, view: View) -> str | None:
        streams = self._matching(view)
        if self._name is not None and streams and all(is_silenced(stream) for stream in streams):
            return f"{self._name} is muted: it records silence"
        return None

    def _connected(self) -> None:
        """Another server counts its streams anew."""
        self._end(self._players.keys())
        with self._turn:
            self._looked_ns = 0
            self._created.clear()
            self._sounding.clear()
            self._mixes.clear()
            self._mix_sinks.clear()

    def _planned(self, view: View, wanted: frozenset[Want], began_ns: int) -> bool:
        self._back()  # only the server can be lost
        streams = {want.stream for want in wanted if want.sink_input is not None}
        self._end(self._players.keys() - streams)
        now, is_news = now_ns(), False
        with self._turn:
            sounding = {
                (each.sink, each.index)
                for each in view.sink_inputs
                if not (each.corked or is_silenced(each))
            }
            self._sounded.extend((now, each) for each in self._sounding - sounding)
            while self._sounded and now - self._sounded[0][0] > OTHERS_NS:
                self._sounded.popleft()
            self._sounding = sounding
            self._full_sinks = {
                sink.index for sink in view.sinks if set(sink.volume.values) == {1.0}
            }
            # A stream that was not there in the look before is not older than it was seen to be.
            unseen_ns = began_ns if self._looked_ns else None
            self._looked_ns = began_ns
            for each in view.sink_inputs:
                if each.index in self._players:
                    self._players[each.index].sink = each.sink
                elif each.index in streams:
                    is_news = True
                    created_ns = self._created.get(each.index, unseen_ns)
                    self._players[each.index] = self._player(each, view, created_ns)
            listed = {each.index for each in view.sink_inputs}
            for stream in [
                stream
                for stream, at_ns in self._created.items()
                if stream not in listed and began_ns - at_ns > OTHERS_NS
            ]:
                del self._created[stream]
        self._playing = {
            each.index: (self._players[each.index].app, bool(each.corked), is_silenced(each))
            for each in view.sink_inputs
            if each.index in streams
        }
        if not streams and not self._is_waiting and self._name is not None:
            self._emit(
                EventKind.WARNING, f"{self._name} plays nothing yet: waiting for it", waiting=True
            )
        self._is_waiting = True
        return is_news

    def _player(self, sink_input: Any, view: View, created_ns: int | None) -> _Player:
        properties = view.properties(sink_input)
        name = app_name(sink_input, view)
        details = {
            "stream": sink_input.index,
            "app": name,
            "pid": process_id(properties),
            "binary": properties.get("application.process.binary"),
            "title": properties.get("media.name"),
        }
        return _Player(sink_input.sink, name, details, created_ns)

    def _end(self, streams: Iterable[int]) -> None:
        for stream in list(streams):
            with self._turn:
                player = self._players[stream]
                if player.held:
                    self._begin(player)
                del self._players[stream]
                self._positions.pop(stream, None)
            if player.is_started:
                self._emit(EventKind.STREAM_ENDED, f"{player.app} stopped playing", stream=stream)

    def _stream_changed(self, want: Want, is_running: bool) -> None:  # noqa: FBT001
        """Nothing: an application's stream that fails has ended or moved, as the watch will see."""

    # ------------------------------------------------------------------------- the reading thread

    def _new_streams(self) -> Callable[[int, int], None] | None:
        return self._stream_made

    def _stream_made(self, index: int, at_ns: int) -> None:
        with self._turn:
            self._created[index] = at_ns

    def _take(self, block: AudioBlock) -> None:
        with self._turn:
            if block.stream <= MIX_STREAM:
                sink = self._mix_sinks.get(block.stream)
                if sink is not None:
                    self._mixes[sink].push(block)
                if block.stream == MIX_STREAM and self._with_mix:
                    self._put(block)
                for player in self._players.values():
                    if player.held and player.sink == sink:
                        self._try_to_begin(player)
            elif (player := self._players.get(block.stream)) is None:
                return  # it has ended
            elif player.is_started:
                self._deliver(player, block)
            else:
                if not player.held:
                    player.held_ns = now_ns()
                player.held.append(block)
                self._try_to_begin(player)

    def _try_to_begin(self, player: _Player) -> None:
        """Begin to deliver, once it is known what came before, or that it can't be known."""
        first, last = player.held[0], player.held[-1]
        if player.created_ns is not None and self._alone_since(player, first) is not None:
            mix = self._mixes.get(player.sink)
            is_comparable = (
                mix is not None
                and mix.end_ns >= last.captured_ns + len(last.samples) * NS_PER_S // self.rate_hz
                and sum(np.count_nonzero(block.samples.any(axis=1)) for block in player.held)
                >= COMPARED_S * self.rate_hz
            )
            is_patient = now_ns() - player.held_ns < PATIENCE_NS
            if is_patient and not (is_comparable and self._looked_ns > player.held_ns):
                return
        self._begin(player)

    def _alone_since(self, player: _Player, first: AudioBlock) -> int | None:
        """Since when what its output plays can only be this player; ``None``: it is not alone."""
        assert player.created_ns is not None
        if any(sink == player.sink and stream != first.stream for sink, stream in self._sounding):
            return None
        since_ns = max(player.created_ns - UNSEEN_NS, first.captured_ns - LONGEST_LEAD_NS)
        for until_ns, (sink, stream) in self._sounded:
            if sink == player.sink and stream != first.stream:
                since_ns = max(since_ns, until_ns + TAIL_NS)
        return since_ns if since_ns < first.captured_ns else None

    def _begin(self, player: _Player) -> None:
        """Tell of the stream, and deliver its lead, if there is one, and what was held."""
        held, player.held, player.is_started = player.held, [], True
        first, created_ns = held[0], player.created_ns
        missing_ms: float | None = None
        lead = None
        if created_ns is not None:
            missing_ns = min(first.captured_ns - created_ns, LONGEST_LEAD_NS)
            since_ns = self._alone_since(player, first)
            mix = self._mixes.get(player.sink)
            if since_ns is not None and mix is not None and mix.end_ns:
                head = np.concatenate([block.samples for block in held])
                gain = 1.0 if player.sink in self._full_sinks else None
                if joined := join(mix, head, first.captured_ns, since_ns, gain):
                    lead, head = joined
                    held = [replace(first, samples=head)]
                    missing_ns = since_ns - created_ns
            missing_ms = max(missing_ns, 0) / 1e6
        player.lead_frames = 0 if lead is None else len(lead)
        lead_ns = player.lead_frames * NS_PER_S // self.rate_hz
        self._emit(
            EventKind.STREAM_STARTED,
            f"{player.app} began to play",
            **player.details,
            lead_ms=lead_ns / 1e6,
            missing_ms=missing_ms,
        )
        if lead is not None and player.lead_frames:
            self._put(replace(first, samples=lead, captured_ns=first.captured_ns - lead_ns))
        for block in held:
            self._deliver(player, block)

    def _deliver(self, player: _Player, block: AudioBlock) -> None:
        """Hand a block on, counted from the first frame of the lead."""
        if player.lead_frames:
            block = replace(block, position_frames=block.position_frames + player.lead_frames)
        self._put(block)

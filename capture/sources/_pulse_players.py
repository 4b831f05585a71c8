"""The sound of applications, each stream alone, from its first sample on where that can be had.

Owns which streams are followed, and how one begins: it is opened before it is known whose it is
(``_pulse_reader``), and what it played until then is taken from the mix of its output, where that
is its sound alone (``_pulse_lead``).

How little can be lost (``tests/device/test_players.py``): on an output that is rendered once, which
PulseAudio's ``norewinds`` and PipeWire do, nothing of a stream that plays alone. An output that
rewinds to let a new stream in at once, as PulseAudio's null sink does, hands its monitor no more
than what follows the block it had rendered: up to ``MIX_FRAGMENT_S`` is in nobody's reach.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from capture.cautions import Caution
from capture.clock import now_ns
from capture.model.events import EventKind
from capture.model.signal import AudioBlock
from capture.sources._pulse_lead import MixMemory, comparable, join
from capture.sources._pulse_server import View, app_name, is_silenced, process_id
from capture.sources._pulse_source import PulseSource
from capture.sources._pulse_stream import StreamRequest
from capture.sources.base import MIX_STREAM, PlayerSource
from capture.sources.matching import match
from capture.units import NS_PER_S

MAX_STREAMS = 16
"""Of applications, followed at once: a browser has one a playing tab."""
MAX_MIXES = 3
"""Outputs whose mix is remembered, the default one first; each costs 1 % of a core."""
MIX_FRAGMENT_S = 0.02
"""Bounds how far ahead PulseAudio renders, so what a new stream loses if it has no lead. Listening
costs 1.4 % of a core, with 10 ms 2.5."""
PATIENCE_NS = 3 * NS_PER_S // 10
"""A stream that is silent for longer begins without; the mixer waits 0.5 s for late sound."""
LONGEST_LEAD_NS = NS_PER_S
UNSEEN_NS = NS_PER_S // 10
"""The server made a stream at most this long before this process saw it, however busy it was."""
TAIL_NS = NS_PER_S // 2
"""Another stream may be heard for so long after it ended: what was rendered, and the device."""
OTHERS_NS = 3 * NS_PER_S
"""Time for which ended streams are remembered."""


@dataclass(slots=True)
class _Player:
    """One stream of an application; guarded by the source's ``_turn``."""

    sink: int
    app: str
    details: dict[str, Any]
    created_ns: int | None
    """When the server made it; ``None``: before the first look."""
    is_started: bool = False
    lead_frames: int = 0
    held: list[AudioBlock] = field(default_factory=list)
    """Captured blocks that wait until the mix has the sound before them."""
    held_ns: int = 0
    """Capture clock at which the first held block came."""


class PulseApp(PulseSource, PlayerSource):
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
        name: The application's name, id or program, or a part of these; else part of the title
            of what it plays, where no name fits; case ignored. A number is a process id. Streams of
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
        """The followed streams at the last look at the server; see ``PlayerSource``."""
        return self._playing

    def _find(self, view: View) -> str:  # noqa: ARG002 - it may start later
        return "applications" if self._name is None else f"app {self._name}"

    def _matching(self, view: View) -> list[Any]:
        """The streams to follow: present ones, then the oldest, up to ``MAX_STREAMS``."""
        found = None if self._wished is None else match(self._wished, view.app_streams)
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
                Caution.TOO_MANY_STREAMS.with_(streams=len(streams), followed=MAX_STREAMS),
            )
        return streams[:MAX_STREAMS]

    def _streams(self, view: View) -> list[Any] | None:
        return self._matching(view)

    def _plan(self, view: View) -> frozenset[StreamRequest]:
        sinks = {sink.index: sink for sink in view.sinks}
        streams = [each for each in self._matching(view) if each.sink in sinks]
        wanted = {
            StreamRequest(each.index, sinks[each.sink].monitor_source_name, each.sink, each.index)
            for each in streams
        }
        default = view.server.default_sink_name
        used = {each.sink for each in streams}
        mixed = [sink for sink in view.sinks if sink.name == default or sink.index in used]
        mixed.sort(key=lambda sink: sink.name != default)
        planned = {}
        for sink in mixed[:MAX_MIXES]:
            stream = MIX_STREAM if sink.name == default else MIX_STREAM - 1 - sink.index
            planned[stream] = sink.index
            wanted.add(
                StreamRequest(
                    stream, sink.monitor_source_name, sink.index, fragment_s=MIX_FRAGMENT_S
                )
            )
        with self._turn:  # what still comes of another output must not be taken for this one's
            for stream, sink_index in list(self._mix_sinks.items()):
                if planned.get(stream) != sink_index:
                    del self._mix_sinks[stream], self._mixes[sink_index]
        return frozenset(wanted)

    def _silenced(self, view: View) -> str | None:
        streams = self._matching(view)
        if self._name is not None and streams and all(is_silenced(stream) for stream in streams):
            return Caution.MUTED.with_(name=self._name)
        return None

    def _connected(self) -> None:
        """Forget the streams of an earlier server, which counts differently."""
        self._end(self._players.keys())
        with self._turn:
            self._looked_ns = 0
            self._created.clear()
            self._sounding.clear()
            self._mixes.clear()
            self._mix_sinks.clear()

    def _planned(
        self, view: View, wanted: frozenset[StreamRequest], began_ns: int, heard_all_ns: int
    ) -> bool:
        self._back()  # only the server can be lost
        streams = _streams_of(wanted)
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
            # A stream that was not there in the look before is not older than it was seen to be;
            # where both threads were late, than the last thing that was heard of the server.
            unseen_ns = min(began_ns, heard_all_ns) if self._looked_ns else None
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
            warning = Caution.APP_WAITED_FOR.with_(name=self._name)
            self._emit(EventKind.WARNING, warning, waiting=True)
        self._is_waiting = True
        return is_news

    def _looked(self, view: View, wanted: frozenset[StreamRequest]) -> None:  # noqa: ARG002 - all is in the plan
        self._end(self._players.keys() - _streams_of(wanted))

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

    def _stream_changed(self, want: StreamRequest, is_running: bool) -> None:  # noqa: FBT001
        """Begin the memory of a mix, on the reader's thread, before its first block.

        An application's stream that fails has ended or moved; the watching thread notices that.
        """
        if want.sink_input is not None or want.device_index is None:
            return
        with self._turn:
            self._mixes.pop(self._mix_sinks.pop(want.stream, want.device_index), None)
            if is_running:
                self._mix_sinks[want.stream] = want.device_index
                self._mixes[want.device_index] = MixMemory(self.rate_hz)

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
            elif block.stream in self._players:  # else it has ended
                self._take_player(self._players[block.stream], block)

    def _take_player(self, player: _Player, block: AudioBlock) -> None:
        if player.is_started:
            self._deliver(player, block)
            return
        if not player.held:
            player.held_ns = now_ns()
        player.held.append(block)
        self._try_to_begin(player)

    def _try_to_begin(self, player: _Player) -> None:
        """Begin to deliver once the lead is known, or cannot be known."""
        first = player.held[0]
        if player.created_ns is not None and self._alone_since(player, first) is not None:
            mix = self._mixes.get(player.sink)
            head = np.concatenate([block.samples for block in player.held])
            is_comparable = (
                mix is not None
                and head.any()
                and comparable(mix, head, first.captured_ns) is not None
            )
            is_patient = now_ns() - player.held_ns < PATIENCE_NS
            if is_patient and not (is_comparable and self._looked_ns > player.held_ns):
                return
        self._begin(player)

    def _alone_since(self, player: _Player, first: AudioBlock) -> int | None:
        """Time since which this player's output plays nothing else; ``None``: it is not alone."""
        assert player.created_ns is not None
        if any(sink == player.sink and stream != first.stream for sink, stream in self._sounding):
            return None
        since_ns = max(player.created_ns - UNSEEN_NS, first.captured_ns - LONGEST_LEAD_NS)
        for until_ns, (sink, stream) in self._sounded:
            if sink == player.sink and stream != first.stream:
                since_ns = max(since_ns, until_ns + TAIL_NS)
        return since_ns if since_ns < first.captured_ns else None

    def _begin(self, player: _Player) -> None:
        """Publish the start of the stream; deliver its lead and the held blocks."""
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
        """Deliver a block, counted from the first frame of the lead."""
        if player.lead_frames:
            block = replace(block, position_frames=block.position_frames + player.lead_frames)
        self._put(block)


def _streams_of(wanted: frozenset[StreamRequest]) -> set[int]:
    """Ids of the applications' streams in a plan."""
    return {want.stream for want in wanted if want.sink_input is not None}

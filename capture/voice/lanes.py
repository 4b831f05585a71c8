"""All lanes of a listening: one for each application, or one for a device."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from capture.clock import SessionClock, now_ns
from capture.gate import GateEvent, GateState, SpeechJudge
from capture.live.mixer import Mixer, SourceSetting
from capture.model.events import Event, EventKind
from capture.model.signal import AudioBlock
from capture.sources import MIX_STREAM, open_audio, open_players
from capture.sources.base import AudioSource
from capture.specs.recording import AudioSpec, TrackMode
from capture.specs.voice import VoiceSpec
from capture.speech import SpeechDetector
from capture.units import NS_PER_S
from capture.voice.lane import Finished, Lane
from capture.voice.saving import app_label

AUTO = "auto"
"""The source that is every application, each followed alone."""
RATE_HZ = 48_000
CHANNELS = 2
EARLY_BLOCKS = 250
"""So many blocks of a stream are held until its event comes: 5 s, where milliseconds will do."""
LEAD_IN_S = 0.3
"""A lane begins so long before its first block, in silence: room for a message's padding."""
LANE_REST_S = 5.0
"""A lane into which nothing plays any more is closed after this long."""


@dataclass(slots=True, eq=False)
class Lanes:
    """All lanes of one listening, and their source. Used from one thread after ``begin()``.

    Args:
        spec: What is listened to.
        on_finished: Called with a lane and a message of it that is over.
        on_change: Called with a lane and what its gate has found.

    Attributes:
        lanes: By application, or one by the empty name.
    """

    spec: VoiceSpec
    on_finished: Callable[[Lane, Finished], None]
    on_change: Callable[[Lane, GateEvent], None]
    lanes: dict[str, Lane] = field(default_factory=dict)
    _apps: dict[int, str] = field(default_factory=dict)
    """Stream to its application's lane."""
    _early: dict[int, list[AudioBlock]] = field(default_factory=lambda: defaultdict(list))
    """Before their event."""
    _mix: Mixer | None = None
    _judges: list[SpeechJudge] = field(default_factory=list)
    """Loaded, and free."""
    _is_paused: bool = False
    _source: AudioSource | None = None

    @property
    def is_apart(self) -> bool:
        """Whether every application has a lane of its own."""
        return self.spec.source == AUTO

    def load(self) -> None:
        """Load the speech detector now, before there is sound to miss."""
        if not self.spec.gate.is_any_sound:
            self._judges.append(SpeechDetector())

    def open_source(self) -> AudioSource:
        """Open the source of the spec, checked but not started.

        Raises:
            CaptureError: It is not there.
        """
        kind, _, name = self.spec.source.partition(":")
        if kind == AUTO:
            with_mix = self.spec.keep_last_s > 0
            if with_mix:
                setting = SourceSetting("mix", CHANNELS)
                clock = SessionClock(now_ns())
                self._mix = Mixer([setting], TrackMode.SEPARATE, clock, RATE_HZ)
            self._source = open_players(rate_hz=RATE_HZ, with_mix=with_mix)
        elif kind == "app" and name:
            self._source = open_players(rate_hz=RATE_HZ, name=name)
        else:
            self._source = open_audio(AudioSpec(self.spec.source), rate_hz=RATE_HZ)
        return self._source

    def begin(self, start_ns: int) -> None:
        """Open the lane of a source that has only one."""
        if not self.is_apart:
            assert self._source is not None
            self._open("", self._source.label, None, start_ns)

    def pause(self, at_ns: int) -> None:
        """Leave out the sound from a moment on, in every lane."""
        self._is_paused = True
        for lane in self.lanes.values():
            lane.clock.pause(at_ns)

    def resume(self, at_ns: int) -> None:
        """End the pause at a moment, in every lane."""
        self._is_paused = False
        for lane in self.lanes.values():
            lane.clock.resume(at_ns)

    def cut(self) -> None:
        """End all open messages now."""
        for lane in self.lanes.values():
            lane.cut()

    def reject(self, number: int) -> None:
        """Drop the open message with this number, and the rest that is still to come."""
        for lane in self.lanes.values():
            if lane.number == number:
                lane.reject()

    def give_up(self) -> None:
        """Leave open messages for ``capture.voice.recover_message``, after an error."""
        for lane in self.lanes.values():
            lane.give_up()

    def are_at(self, end_ns: int) -> bool:
        """Whether every lane has processed the sound before a moment."""
        return all(lane.is_at(end_ns) for lane in self.lanes.values())

    def finish(self, end_ns: int, *, is_enough: bool) -> None:
        """End open messages; ``is_enough``: drop those that do not continue an earlier part."""
        for lane in self.lanes.values():
            if is_enough and not lane.is_continuing:
                lane.reject()
                lane.cut()
            else:
                lane.finish(end_ns)

    def push(self, block: AudioBlock) -> None:
        """Put a block into the lane of its stream."""
        if block.stream == MIX_STREAM and self._mix is not None:
            self._mix.push(0, block)
        elif not self.is_apart:
            self.lanes[""].push(block)
        elif (app := self._apps.get(block.stream)) is not None:
            self._lane_of(app, block).push(block)
        elif len(self._early[block.stream]) < EARLY_BLOCKS:
            # Its event is on its way, from another thread.
            self._early[block.stream].append(block)

    def change(self, event: Event) -> None:
        """Handle an event: an application's stream began or ended."""
        stream = event.details["stream"]
        if event.kind is EventKind.STREAM_STARTED:
            app = app_label(event.details)
            self._apps[stream] = app
            if not self.is_apart:
                self.lanes[""].app = app
            for block in self._early.pop(stream, ()):
                self.push(block)
            return
        self._early.pop(stream, None)
        app = self._apps.pop(stream, "")
        lane = self.lanes.get(app if self.is_apart else "")
        if lane is not None:
            lane.end_stream(stream)

    def advance(self, at_ns: int) -> Iterator[NDArray[np.float32]]:
        """Advance all lanes; gives their sound mixed together, gapless."""
        for app, lane in list(self.lanes.items()):
            heard = lane.advance(at_ns)
            if self.is_apart:
                self._rest(app, lane, at_ns)
            elif heard is not None:
                yield heard
        if self._mix is not None:
            yield from self._mix.advance(at_ns)

    def _lane_of(self, app: str, block: AudioBlock) -> Lane:
        lane = self.lanes.get(app)
        if lane is None:
            start_ns = block.captured_ns - round(LEAD_IN_S * NS_PER_S)
            lane = self._open(app, app, app, start_ns)
        lane.streams.add(block.stream)
        return lane

    def _open(self, key: str, label: str, app: str | None, start_ns: int) -> Lane:
        assert self._source is not None
        judge = None
        if not self.spec.gate.is_any_sound:
            judge = self._judges.pop() if self._judges else SpeechDetector()
        lane = Lane(
            label,
            app,
            self.spec,
            start_ns=start_ns,
            rate_hz=RATE_HZ,
            channels=self._source.channels,
            judge=judge,
            on_finished=lambda finished: self.on_finished(lane, finished),
            on_change=self.on_change,
        )
        if self._is_paused:
            lane.clock.pause(start_ns)
        self.lanes[key] = lane
        return lane

    def _rest(self, app: str, lane: Lane, at_ns: int) -> None:
        """Close a lane that no stream plays into."""
        is_over = not lane.streams and lane.state is GateState.LISTENING
        if is_over and at_ns - lane.heard_ns > LANE_REST_S * NS_PER_S:
            del self.lanes[app]
            if lane.judge is not None:
                lane.judge.reset()
                self._judges.append(lane.judge)

"""A lane: one stream of sound that may hold voice messages, from blocks to messages.

A lane has a gapless timeline, the gate that finds where messages begin and end, and the file that
grows while one is open. It belongs to the keeper's one thread.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture.clock import SessionClock
from capture.gate import (
    LOOKBACK_S,
    GateEvent,
    GateEventKind,
    GateState,
    SoundGate,
    SpeechJudge,
    Verdict,
)
from capture.live.mixer import Mixer, SourceSetting
from capture.media.write.growing import GrowingSound, read_growing
from capture.messages import name_of
from capture.model.signal import AudioBlock, Level
from capture.specs.recording import TrackMode
from capture.specs.voice import VoiceSpec
from capture.units import NS_PER_S
from capture.voice.recent import Recent
from capture.voice.saving import Heard, facts_of, recipe_of, wall_time

ON_DISK_AFTER_S = 0.25
"""An open message goes to disk when it is so long: a click in the loudspeaker writes nothing."""
MOVED_S = 30.0
"""So much sound before a message may stand at the head of its growing file."""
STEM = "{date} {time} {app}"
"""Name of a growing file, without its ending."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A message that has ended, on its way to its own file."""

    growing: GrowingSound
    first_frame: int
    """First frame in the growing file."""
    frames: int
    heard: Heard
    is_continued: bool
    """It was cut here at the longest length; the next part follows."""


class Lane:
    """Takes the blocks of one application or device, gives finished messages.

    Args:
        label: The source's label, or the application's name.
        app: The application, for names and tags; ``None`` where that is not known.
        spec: What is listened for.
        start_ns: Capture clock at which it begins.
        rate_hz: Of all blocks.
        channels: Of the file.
        judge: The speech detector; ``None``: all sound is kept.
        on_finished: Takes a message that is to be kept.
        on_change: Called with every gate event.
    """

    def __init__(
        self,
        label: str,
        app: str | None,
        spec: VoiceSpec,
        *,
        start_ns: int,
        rate_hz: int,
        channels: int,
        judge: SpeechJudge | None,
        on_finished: Callable[[Finished], None],
        on_change: "Callable[[Lane, GateEvent], None]",
    ) -> None:
        self.label = label
        self.app = app
        self.clock = SessionClock(start_ns)
        self.streams: set[int] = set()
        """Streams that play into it now."""
        self._spec = spec
        self._rate_hz = rate_hz
        self._channels = channels
        self.judge = judge
        self._on_finished = on_finished
        self._on_change = on_change
        self._mixer = Mixer(
            [SourceSetting(label, channels)],
            TrackMode.SEPARATE,
            self.clock,
            rate_hz,
            corrects_drift=False,
        )
        self._gate = SoundGate(spec.gate, rate_hz, judge)
        self._gate_frame = 0  # frame of the lane at which this gate began
        self._recent = Recent(round((LOOKBACK_S + ON_DISK_AFTER_S) * rate_hz))
        self._start_frame: int | None = None  # of the open message
        self._growing: GrowingSound | None = None
        self._grown_from = 0  # frame of the lane at which the growing file begins
        self.is_rejected = False
        """The open message is to be dropped."""
        self.number = 0
        """Number of the message that was opened last; set by the keeper."""
        self._is_part = False  # what is open is not the first part of its message
        self.heard_ns = start_ns
        """Capture clock at which something sounded last."""

    # ------------------------------------------------------------------------------- what it takes

    def push(self, block: AudioBlock) -> None:
        """Add a block of any of its streams."""
        self._mixer.push(0, block)

    def end_stream(self, stream: int) -> None:
        """End a stream: no more blocks of it will come."""
        self.streams.discard(stream)
        self._mixer.end_stream(0, stream)

    def advance(self, now_ns: int) -> NDArray[np.float32] | None:
        """Advance as far as there is sound; gives that sound.

        Raises:
            OutputError: The growing file cannot be written.
        """
        tracks = self._mixer.advance(now_ns)
        return self._take(tracks[0]) if tracks else None

    def is_at(self, at_ns: int) -> bool:
        """Whether all sound before a moment has been processed."""
        return self._mixer.is_at(self._frame_of(at_ns))

    def finish(self, end_ns: int) -> None:
        """Process the last sound; an open message ends here.

        Raises:
            OutputError: The growing file cannot be written.
        """
        self._take(self._mixer.finish(self._frame_of(end_ns))[0])
        self.cut()

    def reject(self) -> None:
        """Drop the open message with the rest that is still to come; does nothing without one."""
        self.is_rejected = self._start_frame is not None
        self._discard()

    def cut(self) -> None:
        """End the open message now, and listen anew.

        Raises:
            OutputError: The growing file cannot be written.
        """
        self._handle(self._gate.finish())
        self._gate_frame = self._recent.end_frame
        self._gate = SoundGate(self._spec.gate, self._rate_hz, self.judge)

    def give_up(self) -> None:
        """Leave the open message for ``recover_message``."""
        if self._growing is not None:
            self._growing.give_up()
            self._growing = None

    # -------------------------------------------------------------------------------- what it shows

    @property
    def state(self) -> GateState:
        """The state of its gate: listening, hearing or holding."""
        return self._gate.state

    @property
    def is_continuing(self) -> bool:
        """Whether the open message is the rest of one of which a part was handed over."""
        return self._is_part and not self.is_rejected

    @property
    def threshold_dbfs(self) -> float:
        """RMS in dBFS at which the gate opens."""
        return self._gate.threshold_dbfs

    def level(self) -> Level:
        """Loudness since the last call; see ``LevelMeter.take``."""
        return next(iter(self._mixer.levels().values()))

    @property
    def open_s(self) -> float:
        """Length of the open message in seconds; 0 while none is open, or it is rejected."""
        if self._start_frame is None or self.is_rejected:
            return 0.0
        return (self._recent.end_frame - self._start_frame) / self._rate_hz

    # ------------------------------------------------------------------------------------- messages

    def _take(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        self._recent.add(samples)
        self._handle(self._gate.push(samples))
        # A message is to be as it was played; a clock that is off is put right between messages.
        self._mixer.keep_still(is_still=self._gate.state is not GateState.LISTENING)
        self._write(self._recent.end_frame)
        if self._gate.state is GateState.HEARING:
            self.heard_ns = self._moment_of(self._recent.end_frame)
        return samples

    def _handle(self, events: list[GateEvent]) -> None:
        far = MOVED_S * self._rate_hz
        for event, after in itertools.zip_longest(events, events[1:]):
            start_frame = self._gate_frame + event.start_frame
            is_continued = after is not None and after.part > event.part
            if event.kind is GateEventKind.CLOSED:
                self._close(event, start_frame, is_continued=is_continued)
            else:
                self._start_frame = start_frame
            self._is_part = is_continued or (
                event.kind is not GateEventKind.CLOSED and event.part > 1
            )
            if event.kind is GateEventKind.MOVED and start_frame > self._grown_from + far:
                self._discard()
            self._on_change(self, event)
            if event.kind is GateEventKind.CLOSED and not is_continued:
                self.is_rejected = False

    def _write(self, until_frame: int) -> None:
        """Write the open message up to a frame to its growing file."""
        if self._start_frame is None or self.is_rejected:
            return
        if self._growing is None:
            if until_frame - self._start_frame < ON_DISK_AFTER_S * self._rate_hz:
                return
            self._grow(self._start_frame)
        assert self._growing is not None
        at = self._grown_from + self._growing.written_frames
        for samples in self._recent.between(at, until_frame):
            self._growing.write(samples)

    def _grow(self, start_frame: int) -> None:
        heard = self._heard(start_frame, None)
        self._grown_from = start_frame
        self._growing = GrowingSound(
            self._spec.folder / name_of(STEM, facts_of(heard, 0.0)),
            rate_hz=self._rate_hz,
            channels=self._channels,
            recipe=recipe_of(self._spec, heard),
        )

    def _close(self, event: GateEvent, start_frame: int, *, is_continued: bool) -> None:
        assert event.end_frame is not None
        end_frame = self._gate_frame + event.end_frame
        if event.verdict is Verdict.KEPT and not self.is_rejected:
            if self._growing is None:
                self._grow(start_frame)
            self._write(end_frame)
            growing, grown_from = self._growing, self._grown_from
            self._growing = None
            assert growing is not None
            growing.close()
            if is_continued:
                self._go_on(growing, end_frame, end_frame - grown_from)
            part = event.part if is_continued or event.part > 1 else None
            heard = self._heard(start_frame, part)
            first = start_frame - grown_from
            frames = end_frame - start_frame
            self._on_finished(Finished(growing, first, frames, heard, is_continued))
        else:
            self._discard()
        self._start_frame = None

    def _go_on(self, before: GrowingSound, cut_frame: int, first_frame: int) -> None:
        """Begin the file of the next part with the end of the one before.

        A message is cut when it is known to go on, which may be some seconds later.
        """
        self._grow(cut_frame)
        assert self._growing is not None
        for block in read_growing(before.path, first_frame):
            self._growing.write(block)

    def _discard(self) -> None:
        if self._growing is not None:
            self._growing.discard()
            self._growing = None

    def _heard(self, start_frame: int, part: int | None) -> Heard:
        started_s = wall_time(self._moment_of(start_frame))
        return Heard(self.label, self.app, started_s, part)

    def _moment_of(self, frame: int) -> int:
        media_ns = frame * NS_PER_S // self._rate_hz
        return self.clock.moment_of(media_ns) or self.clock.start_ns + media_ns

    def _frame_of(self, at_ns: int) -> int:
        return round((at_ns - self.clock.start_ns) * self._rate_hz / NS_PER_S)

"""The open message, and the events that report its beginning and end."""

from dataclasses import dataclass, field

from capture.gate.events import LOOKBACK_S, GateEvent, GateEventKind, Verdict
from capture.gate.loudness import TICK_HZ, Tally, TickLevels, power_dbfs
from capture.gate.votes import SHORT_TICKS, Island
from capture.specs.voice import GateSpec


@dataclass(slots=True)
class Message:
    """The message that is open; positions in ticks where the name has no other unit."""

    start_frame: int
    """First frame of the open part, its padding included."""
    sound_start: int
    """First tick of its sound; in continuous sound, of its speech."""
    end: int
    """Tick that it is certain to reach, if it is accepted."""
    voice_end: int
    """The hold counts from here; sounds that are no speech do not put it off."""
    padded_frame: int = 0
    """The end of its last island with the padding, which is certain by then; 0 before."""
    is_accepted: bool = False
    """It is speech, and is kept if it is long enough."""
    is_cut_by_voice: bool = False
    """The end lies amid sound and has its padding in it."""
    voice: int = 0
    """Number of its ticks with speech; only counted in continuous sound."""
    part: int = 1
    loose: Island | None = None
    """A sound without voice that may yet turn out to be its beginning."""
    tally: Tally = field(default_factory=Tally)
    pending: Tally = field(default_factory=Tally)
    """Sums of the ticks after ``end``."""

    @property
    def length(self) -> int:
        """Length of the sound, in ticks."""
        end = min(self.end, self.voice_end) if self.is_cut_by_voice else self.end
        return end - self.sound_start

    def accept(self) -> None:
        """Mark the message as speech; its start does not move any more."""
        self.is_accepted = True
        self.loose = None


class MessageReporter:
    """Gives the open message its edges, cuts it into parts, and reports all that as events.

    Args:
        spec: How long messages are, and their padding.
        rate_hz: Frames per second.
        loudness: Of the sound that is pushed, filled by somebody else.

    Attributes:
        message: What is open; ``None``: nothing.
    """

    def __init__(self, spec: GateSpec, rate_hz: int, loudness: TickLevels) -> None:
        self.message: Message | None = None
        self._loudness = loudness
        self._tick_frames = rate_hz // TICK_HZ
        self._lookback_frames = round(LOOKBACK_S * rate_hz)
        self._pad_frames = round(spec.pad_s * rate_hz)
        self._min = spec.min_length_s * TICK_HZ
        self._max_frames = round(spec.max_length_s * rate_hz)
        self._end_frame = 0  # of the last message; the next starts no earlier
        self._events: list[GateEvent] = []

    def open(self, sound_start: int, known: int, *, least_pad_ticks: int = 0) -> Message:
        """Begin a message; ticks from ``known`` on are added as they arrive."""
        pad_frames = max(least_pad_ticks * self._tick_frames, self._pad_frames)
        reach_frame = self._loudness.known * self._tick_frames - self._lookback_frames
        start_frame = max(
            sound_start * self._tick_frames - pad_frames, 0, reach_frame, self._end_frame
        )
        message = self.message = Message(start_frame, sound_start, sound_start, sound_start)
        message.pending = self._loudness.tally(sound_start, known)
        self._report_start(GateEventKind.OPENED, message)
        return message

    def move(self, message: Message, sound_start: int, known: int) -> None:
        """Move the start to a later tick; ticks from ``known`` on are added as they arrive."""
        start_frame = sound_start * self._tick_frames - self._pad_frames
        message.start_frame = max(start_frame, message.start_frame)
        message.sound_start = sound_start
        message.end = message.voice_end = sound_start
        message.pending = self._loudness.tally(sound_start, known)
        message.loose = None
        self._report_start(GateEventKind.MOVED, message)

    def extend(self, message: Message, end: int) -> None:
        """Let the message reach at least to a tick; full parts are closed."""
        if end <= message.end:
            return
        message.end = end
        message.tally.add(message.pending)
        message.pending = Tally()
        if not self._is_kept(message):
            return
        while message.end * self._tick_frames > message.start_frame + self._max_frames:
            cut_frame = message.start_frame + self._max_frames
            self._report_closed(message, cut_frame, cut_frame, Verdict.KEPT)
            message.start_frame = cut_frame
            message.part += 1
            message.tally = Tally()
            self._report_start(GateEventKind.OPENED, message)

    def pad(self, message: Message) -> None:
        """Add the padding after the last island to the message, whatever follows."""
        message.padded_frame = message.end * self._tick_frames + self._pad_frames

    def close(self, tick: int, pushed_frames: int) -> None:
        """End the open message and report it.

        Args:
            tick: What is decided about now.
            pushed_frames: How much sound there was.
        """
        message, self.message = self.message, None
        assert message is not None  # the caller has checked
        if not message.is_accepted:
            # Where that ends matters little; but a message may begin here, and is heard late.
            over = message.loose.end if message.loose else tick - SHORT_TICKS
            message.end = max(message.end, over)
            message.tally.add(message.pending)
            verdict = Verdict.NOT_SPEECH
        elif self._is_kept(message):
            verdict = Verdict.KEPT
        else:
            verdict = Verdict.TOO_SHORT
        sound_end = message.end
        end_frame = message.end * self._tick_frames
        if message.is_cut_by_voice:
            sound_end = max(min(message.voice_end, message.end), message.sound_start)
        else:
            end_frame += self._pad_frames
        end_frame = max(end_frame, message.padded_frame)
        end_frame = min(end_frame, pushed_frames, self._loudness.known * self._tick_frames)
        if verdict is Verdict.KEPT:
            end_frame = min(end_frame, message.start_frame + self._max_frames)
        sound_end_frame = min(sound_end * self._tick_frames, end_frame)
        # The last part of a long one may hold nothing but the padding.
        sound_end_frame = max(sound_end_frame, self._sound_start_frame(message))
        self._report_closed(message, end_frame, sound_end_frame, verdict)
        self._end_frame = end_frame

    def take_events(self) -> list[GateEvent]:
        """The events since the last call, in order."""
        events, self._events = self._events, []
        return events

    def _is_kept(self, message: Message) -> bool:
        """Whether the message is accepted and long enough; a last part may be short."""
        return message.is_accepted and (message.part > 1 or message.length >= self._min)

    def _sound_start_frame(self, message: Message) -> int:
        return max(message.sound_start * self._tick_frames, message.start_frame)

    def _report_start(self, kind: GateEventKind, message: Message) -> None:
        sound_start_frame = self._sound_start_frame(message)
        self._events.append(
            GateEvent(kind, message.start_frame, message.part, sound_start_frame=sound_start_frame)
        )

    def _report_closed(
        self, message: Message, end_frame: int, sound_end_frame: int, verdict: Verdict
    ) -> None:
        tally = message.tally
        self._events.append(
            GateEvent(
                GateEventKind.CLOSED,
                message.start_frame,
                message.part,
                end_frame,
                verdict,
                self._sound_start_frame(message),
                sound_end_frame,
                power_dbfs(tally.peak**2),
                power_dbfs(tally.power / tally.ticks if tally.ticks else 0.0),
            )
        )

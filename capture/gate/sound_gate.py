"""The gate itself: tick after tick, what is open, and what is over."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np

from capture.errors import ConfigError
from capture.gate.events import LOOKBACK_S, GateEvent, GateEventKind, GateState, Verdict
from capture.gate.loudness import TICK_HZ, Loudness, Tally, dbfs_of
from capture.gate.votes import NEAR_TICKS, SHORT_TICKS, SPEECH_SHARE, Island, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from capture.gate.events import SpeechJudge
    from capture.specs.voice import GateSpec

__all__ = ["SoundGate", "find_messages"]

STEP_TICKS: Final = 10
RING_STEPS: Final = 16  # of sound kept for the judge: LOOKBACK_S and the step that is decided

ISLAND_GAP_TICKS: Final = 25
"""Silence that separates islands of sound; a long plosive in slow speech is 0.2 s."""

VOICE: Final = 0.5
VOICE_GOES_ON: Final = 0.35
SETTLE_TICKS: Final = 100
"""With so much voice an island is judged before it is over."""
LATE_TICKS: Final = 55
"""Silero comes so late at most (0.04 s in the median): in an island it may still be speech."""

VOICE_REACH_TICKS: Final = 20
"""Voice that noise covers is followed so far beyond an island's end."""
VOICE_LAG_TICKS: Final = 6
"""Silero hears voice for about so long when there is none any more."""

# Continuous sound. Padding of 0.4 s before and 0.5 s after leaves 95 % of utterances uncut.
NOISY_LEAD_TICKS: Final = 300
NOISY_FIRST_TICKS: Final = 75
"""Less is enough of sound that was there when the stream began: a message seldom is. Once such
sound outlasts speech by the hold, it is continuous too."""
NOISY_TAIL_TICKS: Final = 600
NOISY_BEFORE_TICKS: Final = 40
NOISY_AFTER_TICKS: Final = 50
NOISY_VOICE_TICKS: Final = 25
"""Less voice than this is no message: music has such moments."""
PREFEED_TICKS: Final = 50  # what the judge hears before the first sound, to settle


class SoundGate:
    """Finds messages while sound comes in. Use from one thread.

    Args:
        spec: Which sounds are messages.
        rate_hz: Frames per second of what is pushed.
        judge: Tells speech; not needed, and not asked, where any sound counts. It is reset here.

    Raises:
        ConfigError: There is no judge where one is needed, or one for another rate.
    """

    def __init__(self, spec: GateSpec, rate_hz: int, judge: SpeechJudge | None = None) -> None:
        _check(spec, rate_hz, judge)
        self._rate_hz = rate_hz
        self._judge = None if spec.is_any_sound else judge
        self._tick_frames = rate_hz // TICK_HZ
        self._step_frames = self._tick_frames * STEP_TICKS
        self._hold = round(spec.pause_s * TICK_HZ)
        self._pad_frames = round(spec.pad_s * rate_hz)
        self._min = spec.min_length_s * TICK_HZ
        self._max_frames = round(spec.max_length_s * rate_hz)

        self._pushed_frames = 0
        self._step: NDArray[np.float32] | None = None  # being filled; its shape is not known yet
        self._filled_frames = 0
        self._ring: deque[NDArray[np.float32]] = deque(maxlen=RING_STEPS)
        self._next = 0  # the tick to decide about
        self._loudness = Loudness(spec.threshold_dbfs, RING_STEPS * STEP_TICKS)

        self._is_awake = False  # sound is followed, by the judge too
        self._origin_frame = 0  # the judge's frame 0
        self._voices: list[float] = []  # its probabilities since then, but for the oldest
        self._dropped_voices = 0
        self._is_voice = False
        self._is_noisy = False  # continuous sound
        self._island: Island | None = None
        self._island_limit = 0  # the last one's end: the next starts no earlier
        self._message: Message | None = None
        self._end_frame = 0  # of the last message; the next starts no earlier
        self._events: list[GateEvent] = []

    @property
    def state(self) -> GateState:
        """What it is doing; a tenth of a second late."""
        if self._message is None:
            return GateState.LISTENING
        if self._island is None or (self._is_noisy and not self._is_voice):
            return GateState.HOLDING
        return GateState.HEARING

    @property
    def threshold_dbfs(self) -> float:
        """RMS of 10 ms that opens it now."""
        return dbfs_of(self._loudness.opens)

    def push(self, samples: NDArray[np.float32]) -> list[GateEvent]:
        """Take the next sound and say what it shows.

        Args:
            samples: Shape (frames, channels), -1..1, of any length. The caller may reuse it.

        Returns:
            What was found out, in order; mostly nothing.
        """
        if self._step is None:
            self._step = np.zeros((self._step_frames, samples.shape[1]), np.float32)
        done = 0
        while done < len(samples):
            room = self._step_frames - self._filled_frames
            part = samples[done : done + room]
            self._step[self._filled_frames : self._filled_frames + len(part)] = part
            self._filled_frames += len(part)
            self._pushed_frames += len(part)
            done += len(part)
            if self._filled_frames == self._step_frames:
                self._take_step(self._step.copy())
                self._filled_frames = 0
        return self._take_events()

    def finish(self) -> list[GateEvent]:
        """The sound is over: judge what is left. Push nothing after this."""
        if self._step is not None and self._filled_frames:
            rest = self._step[: self._filled_frames]
            missing = -len(rest) % self._tick_frames
            self._take_step(np.pad(rest, ((0, missing), (0, 0))))
        if self._loudness.floor is None:
            self._loudness.learn()
        self._advance(is_last=True)
        island = self._island
        if island is not None and not self._is_noisy:
            self._end_island(island)
        if self._message is not None:
            self._close()
        return self._take_events()

    def _take_step(self, samples: NDArray[np.float32]) -> None:
        """Measure a step, and decide what can be decided."""
        self._ring.append(samples)
        rows = samples.reshape(len(samples) // self._tick_frames, -1)
        self._loudness.take(rows, is_open=self._message is not None)
        if self._is_awake and self._judge is not None:
            self._voices += self._judge.push(samples)
        if self._loudness.floor is not None:
            self._advance()

    # --------------------------------------------------------------------------- tick after tick

    def _advance(self, *, is_last: bool = False) -> None:
        """Decide about all ticks of which enough is known."""
        if is_last and self._is_awake:
            self._flush_judge()
        while True:
            if not self._is_awake:
                at = self._find_sound()
                if at is None:
                    return
                self._wake(at)
                if is_last:
                    self._flush_judge()
            for voice in self._ready_voices():
                self._hear(self._next, self._loudness.power(self._next), voice)
                self._next += 1
                if not self._is_awake:
                    break  # it fell silent: what follows is looked at without the judge
            else:
                return

    def _find_sound(self) -> int | None:
        """The first tick that opens the gate, of those not decided yet."""
        for tick in range(self._next, self._loudness.known):
            if self._loudness.power(tick) >= self._loudness.opens:
                return tick
        self._next = self._loudness.known
        return None

    def _wake(self, tick: int) -> None:
        """Sound begins: from here on the judge listens, too."""
        self._is_awake = True
        self._is_voice = False
        self._next = tick
        if self._judge is None:
            return
        step_first = (
            self._loudness.known - sum(len(step) for step in self._ring) // self._tick_frames
        )
        skip = max(0, (tick - PREFEED_TICKS - step_first) // STEP_TICKS)
        self._origin_frame = (step_first + skip * STEP_TICKS) * self._tick_frames
        self._judge.reset()
        self._dropped_voices = 0
        self._voices = self._judge.push(np.concatenate(list(self._ring)[skip:]))

    def _flush_judge(self) -> None:
        """Have the last probabilities, as if silence followed."""
        if self._judge is not None:
            channels = self._ring[-1].shape[1]
            rest = self._judge.window_frames + self._judge.lookahead_frames
            self._voices += self._judge.push(np.zeros((rest, channels), np.float32))

    def _ready_voices(self) -> Iterator[float]:
        """The probability of speech of each tick to come that has one; 1 where all counts."""
        judge = self._judge
        if judge is None:
            for _ in range(self._next, self._loudness.known):
                yield 1.0
            return
        middle = self._tick_frames // 2 - self._origin_frame
        for tick in range(self._next, self._loudness.known):
            window = (tick * self._tick_frames + middle) // judge.window_frames
            old = window - self._dropped_voices
            if old >= len(self._voices):
                break
            yield self._voices[old]
        drop = (self._next * self._tick_frames + middle) // judge.window_frames
        drop -= self._dropped_voices
        if drop > 0 and self._is_awake:
            del self._voices[:drop]
            self._dropped_voices += drop

    def _hear(self, tick: int, power: float, probability: float) -> None:
        """Decide about one tick while awake."""
        is_loud = power >= self._loudness.closes
        self._is_voice = probability >= (VOICE_GOES_ON if self._is_voice else VOICE)
        island = self._island
        if island is None and is_loud:
            island = self._island = Island(self._loudness.start_of(tick, self._island_limit), tick)
            self._begin_island(island, tick)
        if self._message is not None:
            is_voiced = is_loud and probability >= VOICE
            pending = self._message.pending
            pending.add(Tally(1, power, self._loudness.peak(tick), int(is_loud), int(is_voiced)))
        if island is None:
            self._pause(tick)
            return
        if is_loud or self._loudness.is_soft_end(tick, island.end):
            island.end = tick + 1
        if is_loud:
            island.sounding += 1
            island.voiced += probability >= VOICE
        if self._is_voice and tick <= island.end + VOICE_REACH_TICKS:
            island.voice_start = tick if island.voice_start is None else island.voice_start
            island.voice_end = tick + 1
        if self._is_noisy:
            self._follow_voice(island, tick)
        else:
            self._follow_sound(island, tick)

    # ------------------------------------------------------------- sound that comes and goes

    def _follow_sound(self, island: Island, tick: int) -> None:
        """An island goes on, or is over."""
        if tick + 1 - island.end >= ISLAND_GAP_TICKS:
            self._end_island(island)
            self._pause(tick)
            return
        message = self._message
        assert message is not None  # outside continuous sound, whatever sounds has opened one
        if not island.is_speech and island.voiced >= SETTLE_TICKS and island.share >= SPEECH_SHARE:
            island.is_speech = True
            message.accept()
        if island.is_speech:
            self._extend(message, min(island.end, island.voice_end + NOISY_AFTER_TICKS))
            message.is_cut_by_voice = message.end < island.end
            message.voice_end = max(message.voice_end, island.voice_end)
            tail = NOISY_TAIL_TICKS if island.start > 0 else self._hold + LATE_TICKS
            if tick + 1 - island.voice_end >= tail:
                self._become_noisy(tick)
            return
        age = tick + 1 - island.start
        silent_for = tick + 1 - (island.start if island.voice_start is None else island.voice_end)
        lead = NOISY_LEAD_TICKS if island.start > 0 else NOISY_FIRST_TICKS
        if age >= lead and silent_for >= NOISY_FIRST_TICKS:
            self._become_noisy(tick)
        elif (
            message.is_accepted
            and island.voice_start is None
            and tick + 1 - message.voice_end > self._hold + LATE_TICKS
        ):
            # Something else plays on after the message; it is the next one's matter.
            self._close()
            self._open(island.start, self._start_frame(island.start), tick + 1)

    def _begin_island(self, island: Island, tick: int) -> None:
        """Sound after silence."""
        message = self._message
        if message is None:
            self._open(island.start, self._start_frame(island.start), tick)
        elif message.loose and not message.loose.belongs(island.start - message.loose.end):
            self._move(message, island.start, tick)

    def _end_island(self, island: Island) -> None:
        """Silence follows it: vote."""
        message = self._message
        assert message is not None  # as above
        if self._loudness.is_in_noise:  # it covers soft endings, and the judge hears them
            island.end = max(island.end, island.voice_end - VOICE_LAG_TICKS)
        self._island, self._island_limit = None, island.end
        if not island.is_speech and island.is_over_as_speech:
            island.is_speech = True
            message.accept()
        if island.is_speech:
            self._extend(message, island.end)
            message.voice_end = island.end
        elif not message.is_accepted:
            if message.loose is not None:
                self._move(message, island.start, self._next + 1)
            message.loose = island
        elif island.belongs(island.start - message.voice_end):
            self._extend(message, island.end)
        else:
            return
        message.is_cut_by_voice = False
        if message.is_accepted:
            message.padded_frame = message.end * self._tick_frames + self._pad_frames

    def _pause(self, tick: int) -> None:
        """Nothing sounds."""
        message = self._message
        if message is None:
            self._is_awake = False
        elif message.is_accepted:
            if tick + 1 - message.voice_end > self._hold:
                self._close()
                self._is_awake = False
        elif message.loose is None or tick + 1 - message.loose.end > NEAR_TICKS:
            self._close()
            self._is_awake = False

    # ---------------------------------------------------------------- sound that never stops

    def _become_noisy(self, tick: int) -> None:
        """The edges are the judge's from here on."""
        self._is_noisy = True
        message = self._message
        if message is not None and (
            not message.is_accepted or tick + 1 - message.voice_end > self._hold
        ):
            self._close()

    def _follow_voice(self, island: Island, tick: int) -> None:
        """Continuous sound: only speech counts."""
        if tick + 1 - island.end >= ISLAND_GAP_TICKS:
            self._is_noisy = False
            self._island, self._island_limit = None, island.end
            if self._message is not None and not self._message.is_accepted:
                self._close()
            self._pause(tick)
            return
        if self._is_voice and tick < island.end:
            if self._message is None:
                pad_frames = max(NOISY_BEFORE_TICKS * self._tick_frames, self._pad_frames)
                start_frame = max(tick * self._tick_frames - pad_frames, self._reach_frame())
                self._open(tick, start_frame, tick)
                assert self._message is not None
                self._message.pending.add(self._loudness.tally(tick, tick + 1))
            self._message.voice += 1
            self._message.voice_end = tick + 1
            self._message.is_accepted |= self._message.voice >= NOISY_VOICE_TICKS
        message = self._message
        if message is None:
            return
        if message.is_accepted:
            self._extend(message, min(island.end, message.voice_end + NOISY_AFTER_TICKS))
            message.is_cut_by_voice = message.end < island.end or not self._is_voice
        if tick + 1 - message.voice_end > self._hold:
            self._close()

    # ------------------------------------------------------------------------------ messages

    def _open(self, sound_start: int, start_frame: int, known: int) -> None:
        """Begin a message; ticks from ``known`` on are added as they are heard."""
        self._message = Message(start_frame, sound_start, sound_start, sound_start)
        self._message.pending = self._loudness.tally(sound_start, known)
        self._emit_start(GateEventKind.OPENED, self._message)

    def _move(self, message: Message, sound_start: int, known: int) -> None:
        """It begins later than thought; ticks from ``known`` on are added as they are heard."""
        start_frame = sound_start * self._tick_frames - self._pad_frames
        message.start_frame = max(start_frame, message.start_frame)
        message.sound_start = sound_start
        message.end = message.voice_end = sound_start
        message.pending = self._loudness.tally(sound_start, known)
        message.loose = None
        self._emit_start(GateEventKind.MOVED, message)

    def _extend(self, message: Message, end: int) -> None:
        """It reaches at least to this tick; parts that are full are closed."""
        if end <= message.end:
            return
        message.end = end
        message.tally.add(message.pending)
        message.pending = Tally()
        if not self._is_kept(message):
            return
        while message.end * self._tick_frames > message.start_frame + self._max_frames:
            cut_frame = message.start_frame + self._max_frames
            self._emit_closed(message, cut_frame, cut_frame, Verdict.KEPT)
            message.start_frame = cut_frame
            message.part += 1
            message.tally = Tally()
            self._emit_start(GateEventKind.OPENED, message)

    def _close(self) -> None:
        """The open message is over."""
        message, self._message = self._message, None
        assert message is not None  # whoever closes has looked
        if not message.is_accepted:
            # Where that ends matters little; but a message may begin here, and is heard late.
            over = message.loose.end if message.loose else self._next - SHORT_TICKS
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
        end_frame = min(end_frame, self._pushed_frames, self._loudness.known * self._tick_frames)
        if verdict is Verdict.KEPT:
            end_frame = min(end_frame, message.start_frame + self._max_frames)
        sound_end_frame = min(sound_end * self._tick_frames, end_frame)
        # The last part of a long one may hold nothing but the padding.
        sound_end_frame = max(sound_end_frame, self._sound_start_frame(message))
        self._emit_closed(message, end_frame, sound_end_frame, verdict)
        self._end_frame = end_frame

    def _sound_start_frame(self, message: Message) -> int:
        return max(message.sound_start * self._tick_frames, message.start_frame)

    def _emit_start(self, kind: GateEventKind, message: Message) -> None:
        sound_start_frame = self._sound_start_frame(message)
        self._events.append(
            GateEvent(kind, message.start_frame, message.part, sound_start_frame=sound_start_frame)
        )

    def _emit_closed(
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
                tally.voiced / tally.sounding if tally.sounding else 0.0,
                dbfs_of(tally.peak**2),
                dbfs_of(tally.power / tally.ticks if tally.ticks else 0.0),
            )
        )

    def _is_kept(self, message: Message) -> bool:
        """Accepted, and long enough; the rest of a long message may be short."""
        return message.is_accepted and (message.part > 1 or message.length >= self._min)

    # --------------------------------------------------------------------------- looking back

    def _reach_frame(self) -> int:
        """No message may begin before this."""
        reach = self._loudness.known * self._tick_frames - round(LOOKBACK_S * self._rate_hz)
        return max(0, reach, self._end_frame)

    def _start_frame(self, sound_start: int) -> int:
        """Where the padding before this tick begins."""
        return max(sound_start * self._tick_frames - self._pad_frames, self._reach_frame())

    def _take_events(self) -> list[GateEvent]:
        events, self._events = self._events, []
        return events


def find_messages(
    blocks: Iterable[NDArray[np.float32]],
    spec: GateSpec,
    rate_hz: int,
    judge: SpeechJudge | None = None,
) -> list[GateEvent]:
    """All messages of a recording, each as the event that closed it.

    Args:
        blocks: The sound, shape (frames, channels) each.
        spec: Which sounds are messages.
        rate_hz: Frames per second.
        judge: Tells speech; not needed where any sound counts.

    Returns:
        Those that are kept, in order; they do not overlap.

    Raises:
        ConfigError: As ``SoundGate``.
    """
    gate = SoundGate(spec, rate_hz, judge)
    events = [event for block in blocks for event in gate.push(block)]
    events += gate.finish()
    return [event for event in events if event.verdict is Verdict.KEPT]


def _check(spec: GateSpec, rate_hz: int, judge: SpeechJudge | None) -> None:
    """Refuse a detector that is missing, or does not fit."""
    if spec.is_any_sound:
        return
    if judge is None:
        raise ConfigError(
            "a gate for speech needs a detector of speech", hint="or let any sound count"
        )
    if judge.rate_hz != rate_hz:
        raise ConfigError(
            f"speech is judged at {judge.rate_hz} Hz, and the sound has {rate_hz}",
            hint="convert the sound first",
        )

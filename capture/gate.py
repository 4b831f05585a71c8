"""Where messages begin and end in a stream of sound.

Owns every rule by which sound becomes a message; listening, splitting and trimming share them. The
edges are those of the sound itself; whether it counts is decided by a judge of speech (a
notification and music are no messages). Only in sound that never stops, the edges are the judge's.

Pure: no clock, no threads, no devices. All positions are frames since the first that was pushed,
and what comes out does not depend on the lengths of the blocks: everything is decided in steps of
``STEP_TICKS`` on a fixed grid of 10 ms, here called ticks.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from capture.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from capture.model import GateSpec

__all__ = [
    "LOOKBACK_S",
    "GateEvent",
    "GateEventKind",
    "GateState",
    "SoundGate",
    "SpeechJudge",
    "Verdict",
    "find_messages",
]

LOOKBACK_S: Final = 1.5
"""OPENED and MOVED never point farther back than this before the first frame of the block whose
``push`` returned them: the owner keeps so much sound. The first second is judged when it is
over, and half a second is for a soft beginning and the pad."""

TICK_HZ: Final = 100
STEP_TICKS: Final = 10
RING_STEPS: Final = 16  # of sound kept for the judge: LOOKBACK_S and the step that is decided

# The floor: the 5th percentile of a second. Of steady noise that is its level less 0.5 dB; of
# speech it is what lies between the words.
FLOOR_TICKS: Final = 100
FLOOR_PERCENTILE: Final = 5
FLOOR_RISE_DB_PER_S: Final = 2.0
"""Of an open gate it never rises, so that no message lifts its own threshold."""
LOWEST_FLOOR_DBFS: Final = -80.0
OPEN_MARGIN_DB: Final = 10.0
"""Above the floor; a room's noise in ticks of 10 ms stays within 6 dB of its 5th percentile."""
LOWEST_OPEN_DBFS: Final = -60.0
"""Softer is nothing that anyone plays on purpose, in digital silence too."""
HIGHEST_OPEN_DBFS: Final = -42.0
"""Speech at -35 dBFS RMS, the softest that is promised, has to be above. What is louder all the
time is no floor but sound, and the judge's."""
HYSTERESIS_DB: Final = 3.0
EDGE_MARGIN_DB: Final = 6.0
LOWEST_EDGE_DBFS: Final = -75.0
"""40 dB below the loudest 10 ms of a message at -35 dBFS RMS lies at -65; and some more."""
EDGE_WALK_TICKS: Final = 50  # a soft beginning is followed so far back
EDGE_BRIDGE_TICKS: Final = 5  # and over dips so long: the closure of a plosive

ISLAND_GAP_TICKS: Final = 25
"""Silence that separates islands of sound; a long plosive in slow speech is 0.2 s."""

# What Silero says of 10 ms ticks, measured on 37 utterances, notifications and music: speech has a
# share of 0.40 at least, 0.98 in the median; notifications 0.09 at most, music 0.07 at the 90th
# percentile.
VOICE: Final = 0.5
VOICE_GOES_ON: Final = 0.35
SPEECH_SHARE: Final = 0.25
WORD_TICKS: Final = 50
WORD_SHARE: Final = 0.6
"""Asked of islands no longer than that. Of 66 single words ("ja", 0.17 s) the least had 0.70; of
216 notifications the most, a knock, had 0.53."""
NEAR_TICKS: Final = 100
"""A word with less, but ``SPEECH_SHARE``, still ends a message that it is so near to."""
SETTLE_TICKS: Final = 100
"""With so much voice an island is judged before it is over."""
LONG_VOICE_TICKS: Final = 150
"""So much voice is speech, whatever share: a sentence, and music for the rest of the island."""
SHORT_TICKS: Final = 100
ATTACH_TICKS: Final = 40
"""A short sound without voice so near belongs to the message: a breath, a last plosive."""
LATE_TICKS: Final = 55
"""Silero comes so late at most (0.04 s in the median): in an island it may still be speech."""

VOICE_LAG_TICKS: Final = 3
"""Silero hears voice for so long at least when there is none any more (0.05 s in the median)."""

# Continuous sound. Padding of 0.4 s before and 0.5 s after leaves 95 % of utterances uncut.
NOISY_LEAD_TICKS: Final = 300
NOISY_FIRST_TICKS: Final = 75
"""Less is enough of sound that was there when the stream began: a message seldom is."""
NOISY_TAIL_TICKS: Final = 600
NOISY_BEFORE_TICKS: Final = 40
NOISY_AFTER_TICKS: Final = 50
NOISY_VOICE_TICKS: Final = 25
"""Less voice than this is no message: music has such moments."""
PREFEED_TICKS: Final = 50  # what the judge hears before the first sound, to settle


class SpeechJudge(Protocol):
    """Tells speech from other sounds; ``capture.speech.SpeechDetector`` is one."""

    @property
    def rate_hz(self) -> int:
        """Frames per second that it takes."""

    @property
    def window_frames(self) -> int:
        """The n-th probability since the reset is of frames n to n + 1 times this."""

    @property
    def lookahead_frames(self) -> int:
        """Frames past a window that its probability waits for."""

    def push(self, samples: NDArray[np.float32]) -> list[float]:
        """Take sound, shape (frames, channels); give 0..1 for each window that is complete."""

    def reset(self) -> None:
        """What is pushed next has nothing to do with what was."""


class GateState(enum.StrEnum):
    """What the gate is doing."""

    LISTENING = "listening"
    """No message is open."""
    HEARING = "hearing"
    """One is, and it sounds."""
    HOLDING = "holding"
    """One is, and pauses."""


class GateEventKind(enum.StrEnum):
    """What happened."""

    OPENED = "opened"
    MOVED = "moved"
    CLOSED = "closed"


class Verdict(enum.StrEnum):
    """What becomes of a message that was closed."""

    KEPT = "kept"
    NOT_SPEECH = "not-speech"
    TOO_SHORT = "too-short"


@dataclass(frozen=True, slots=True)
class GateEvent:
    """A message begins, begins later than thought, or is over.

    OPENED is said of any sound; it may turn out to be nothing. MOVED comes only before
    ``settled_end_frame`` has a value. Every OPENED is followed by a CLOSED.

    Attributes:
        kind: Which.
        start_frame: First frame of the message, its padding included.
        part: 1, and more for each part of a message that was longer than ``max_length_s``.
        end_frame: The frame after its last, padding included; ``None`` unless CLOSED.
        verdict: Whether it counts; ``None`` unless CLOSED.
        sound_start_frame: Where sound begins, or speech in continuous sound.
        sound_end_frame: Where it ends; ``None`` unless CLOSED.
        speech_share: Share of its ticks with sound that are speech, 0..1; 1 where any sound
            counts.
        peak_dbfs: Its highest sample.
        rms_dbfs: Of its whole length without padding, pauses included.
    """

    kind: GateEventKind
    start_frame: int
    part: int
    end_frame: int | None = None
    verdict: Verdict | None = None
    sound_start_frame: int | None = None
    sound_end_frame: int | None = None
    speech_share: float = 0.0
    peak_dbfs: float = -math.inf
    rms_dbfs: float = -math.inf


@dataclass(slots=True)
class _Tally:
    """What a stretch of ticks is like."""

    ticks: int = 0
    power: float = 0.0
    peak: float = 0.0
    sounding: int = 0
    voiced: int = 0

    def add(self, other: _Tally) -> None:
        self.ticks += other.ticks
        self.power += other.power
        self.peak = max(self.peak, other.peak)
        self.sounding += other.sounding
        self.voiced += other.voiced


@dataclass(slots=True)
class _Island:
    """A run of sound without a pause; ticks, the end not included."""

    start: int
    end: int
    sounding: int = 0
    voiced: int = 0
    voice_start: int | None = None
    """``None`` while no speech was heard in it."""
    voice_end: int = 0
    is_speech: bool = False

    @property
    def share(self) -> float:
        return self.voiced / self.sounding if self.sounding else 0.0

    @property
    def length(self) -> int:
        return self.end - self.start

    @property
    def is_over_as_speech(self) -> bool:
        """The vote, when it is over."""
        share = WORD_SHARE if self.length <= WORD_TICKS else SPEECH_SHARE
        return self.share >= share or self.voiced >= LONG_VOICE_TICKS

    def belongs(self, distance: int) -> bool:
        """Whether it is part of a message so near, though it is no speech."""
        if self.length > SHORT_TICKS:
            return False
        is_word = self.length <= WORD_TICKS and self.share >= SPEECH_SHARE
        return distance <= (NEAR_TICKS if is_word else ATTACH_TICKS)


@dataclass(slots=True)
class _Message:
    """What is open. In ticks where not named otherwise."""

    start_frame: int
    sound_start: int
    """Where its sound begins; in continuous sound, its speech."""
    end: int
    """How far it is certain to reach, if it is accepted."""
    voice_end: int
    """The hold counts from here; sounds that are no speech do not put it off."""
    is_accepted: bool = False
    """It is speech, and will be kept if it is long enough."""
    is_cut_by_voice: bool = False
    """The end lies amid sound and has its padding in it."""
    voice: int = 0
    """How much of it was speech; only counted in continuous sound."""
    part: int = 1
    part_sound_start: int = 0
    loose: _Island | None = None
    """A sound without voice that may yet turn out to be its beginning."""
    tally: _Tally = field(default_factory=_Tally)
    pending: _Tally = field(default_factory=_Tally)
    """What came after ``end``."""


class SoundGate:
    """Finds messages while sound comes in. Use from one thread.

    Args:
        spec: Which sounds are messages.
        rate_hz: Frames per second of what is pushed.
        judge: Tells speech; not needed, and not asked, where any sound counts. It is reset here.

    Raises:
        ConfigError: Times that make no sense, no judge where one is needed, or one for another
            rate.
    """

    def __init__(self, spec: GateSpec, rate_hz: int, judge: SpeechJudge | None = None) -> None:
        _check(spec, rate_hz, judge)
        self._spec = spec
        self._rate_hz = rate_hz
        self._judge = None if spec.is_any_sound else judge
        self._tick_frames = rate_hz // TICK_HZ
        self._step_frames = self._tick_frames * STEP_TICKS
        self._hold = round(spec.hold_s * TICK_HZ)
        self._pad_frames = round(spec.pad_s * rate_hz)
        self._min = spec.min_length_s * TICK_HZ
        self._max_frames = round(spec.max_length_s * rate_hz)

        self._pushed_frames = 0
        self._step: NDArray[np.float32] | None = None  # being filled; its shape is not known yet
        self._filled_frames = 0
        # The last steps of sound, and for as long the power and the peak of their ticks.
        self._ring: deque[NDArray[np.float32]] = deque(maxlen=RING_STEPS)
        self._powers: deque[float] = deque(maxlen=RING_STEPS * STEP_TICKS)
        self._peaks: deque[float] = deque(maxlen=RING_STEPS * STEP_TICKS)
        self._known = 0  # ticks whose power is known
        self._next = 0  # the tick to decide about
        self._level_power = 0.0

        self._floor: float | None = None  # as a power; None while it is learnt
        self._floor_powers: list[float] = []
        self._is_floor_free = True  # nothing was open since the last look at the floor
        self._set_thresholds()

        self._is_awake = False  # sound is followed, by the judge too
        self._origin_frame = 0  # the judge's frame 0
        self._voices: list[float] = []  # its probabilities since then, but for the oldest
        self._dropped_voices = 0
        self._is_voice = False
        self._is_noisy = False  # continuous sound
        self._island: _Island | None = None
        self._island_limit = 0  # the last one's end: the next starts no earlier
        self._message: _Message | None = None
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
        return _dbfs(self._open_power)

    @property
    def floor_dbfs(self) -> float:
        """The noise floor as learnt; -inf for digital silence, and while the first second runs."""
        return _dbfs(self._floor or 0.0)

    @property
    def level_dbfs(self) -> float:
        """RMS of the last tenth of a second."""
        return _dbfs(self._level_power)

    @property
    def position_frames(self) -> int:
        """How much was pushed."""
        return self._pushed_frames

    @property
    def open_start_frame(self) -> int | None:
        """Where the open message begins, as far as is known; ``None`` if none is open."""
        return None if self._message is None else self._message.start_frame

    @property
    def settled_end_frame(self) -> int | None:
        """Up to here the open message will be kept, whatever comes; never moves back.

        ``None`` while it may still turn out to be nothing. What lies beyond may be a pause, and is
        kept when it is followed by more speech.
        """
        message = self._message
        if message is None or not self._is_kept(message):
            return None
        end_frame = message.end * self._tick_frames
        if self._island is None and not message.is_cut_by_voice:
            end_frame += self._pad_frames
        return min(end_frame, self._next * self._tick_frames)

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
        self._learn_floor(is_last=True)
        self._advance(is_last=True)
        island = self._island
        if island is not None and not self._is_noisy:
            self._end_island(island)
        if self._message is not None:
            self._close()
        return self._take_events()

    # ------------------------------------------------------------------ levels, floor, thresholds

    def _take_step(self, samples: NDArray[np.float32]) -> None:
        """Measure a step, and decide what can be decided."""
        rows = samples.reshape(len(samples) // self._tick_frames, -1)
        powers = np.einsum("ij,ij->i", rows, rows) / rows.shape[1]
        steps_powers: list[float] = powers.tolist()
        loudest = max(steps_powers)
        self._ring.append(samples)
        self._powers.extend(steps_powers)
        self._peaks.extend(np.maximum(rows.max(axis=1), -rows.min(axis=1)).tolist())
        self._known += len(steps_powers)
        self._level_power = sum(steps_powers) / len(steps_powers)
        self._floor_powers += steps_powers
        if self._floor is not None and loudest < self._floor:
            self._floor = loudest  # downward at once
            self._set_thresholds()
        if len(self._floor_powers) >= FLOOR_TICKS:
            self._learn_floor()
        if self._is_awake and self._judge is not None:
            self._voices += self._judge.push(samples)
        if self._floor is not None:
            self._advance()

    def _learn_floor(self, *, is_last: bool = False) -> None:
        """Look at the second that is over."""
        if not self._floor_powers or (is_last and self._floor is not None):
            return
        powers = np.array(self._floor_powers)
        place = len(powers) * FLOOR_PERCENTILE // 100
        low = float(np.partition(powers, place)[place])
        self._floor_powers.clear()
        if self._floor is None:
            self._floor = low
        elif low > self._floor and self._is_floor_free:
            lowest = max(self._floor, _power(LOWEST_FLOOR_DBFS))
            self._floor = min(low, lowest * _power(FLOOR_RISE_DB_PER_S))
        self._is_floor_free = self._message is None
        self._set_thresholds()

    def _set_thresholds(self) -> None:
        floor_dbfs = max(_dbfs(self._floor or 0.0), LOWEST_FLOOR_DBFS)
        opens = self._spec.threshold_dbfs
        if opens is None:
            opens = min(max(floor_dbfs + OPEN_MARGIN_DB, LOWEST_OPEN_DBFS), HIGHEST_OPEN_DBFS)
        edge = min(opens, max(floor_dbfs + EDGE_MARGIN_DB, LOWEST_EDGE_DBFS))
        self._open_power = _power(opens)
        self._edge_power = _power(edge)
        self._is_in_noise = floor_dbfs > LOWEST_FLOOR_DBFS
        self._close_power = _power(max(edge, opens - HYSTERESIS_DB))

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
                self._hear(self._next, self._power_of(self._next), voice)
                self._next += 1
                if not self._is_awake:
                    break  # it fell silent: what follows is looked at without the judge
            else:
                return

    def _find_sound(self) -> int | None:
        """The first tick that opens the gate, of those not decided yet."""
        for tick in range(self._next, self._known):
            if self._power_of(tick) >= self._open_power:
                return tick
        self._next = self._known
        return None

    def _wake(self, tick: int) -> None:
        """Sound begins: from here on the judge listens, too."""
        self._is_awake = True
        self._is_voice = False
        self._next = tick
        if self._judge is None:
            return
        step_first = self._known - sum(len(step) for step in self._ring) // self._tick_frames
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
            for _ in range(self._next, self._known):
                yield 1.0
            return
        middle = self._tick_frames // 2 - self._origin_frame
        for tick in range(self._next, self._known):
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
        is_loud = power >= self._close_power
        self._is_voice = probability >= (VOICE_GOES_ON if self._is_voice else VOICE)
        island = self._island
        if island is None and is_loud:
            island = self._island = _Island(self._walk_back(tick), tick)
            self._begin_island(island, tick)
        if self._message is not None:
            is_voiced = is_loud and probability >= VOICE
            pending = self._message.pending
            pending.add(_Tally(1, power, self._peak_of(tick), int(is_loud), int(is_voiced)))
        if island is None:
            self._pause(tick)
            return
        if is_loud or (power >= self._edge_power and tick - island.end <= EDGE_BRIDGE_TICKS):
            island.end = tick + 1
        if is_loud:
            island.sounding += 1
            island.voiced += probability >= VOICE
        if self._is_voice and tick <= island.end + VOICE_LAG_TICKS:
            island.voice_start = tick if island.voice_start is None else island.voice_start
            island.voice_end = tick + 1
        if self._is_noisy:
            self._follow_voice(island, tick)
        else:
            self._follow_sound(island, tick)

    # ------------------------------------------------------------- sound that comes and goes

    def _follow_sound(self, island: _Island, tick: int) -> None:
        """An island goes on, or is over."""
        if tick + 1 - island.end >= ISLAND_GAP_TICKS:
            self._end_island(island)
            self._pause(tick)
            return
        message = self._message
        assert message is not None  # outside continuous sound, whatever sounds has opened one
        if not island.is_speech and island.voiced >= SETTLE_TICKS and island.share >= SPEECH_SHARE:
            self._accept(message, island)
        if island.is_speech:
            self._extend(message, min(island.end, island.voice_end + NOISY_AFTER_TICKS))
            message.is_cut_by_voice = message.end < island.end
            message.voice_end = max(message.voice_end, island.voice_end)
            if tick + 1 - island.voice_end >= NOISY_TAIL_TICKS:
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

    def _begin_island(self, island: _Island, tick: int) -> None:
        """Sound after silence."""
        message = self._message
        if message is None:
            self._open(island.start, self._start_frame(island.start), tick)
        elif message.loose and not message.loose.belongs(island.start - message.loose.end):
            self._move(message, island.start, tick)

    def _end_island(self, island: _Island) -> None:
        """Silence follows it: vote."""
        message = self._message
        assert message is not None  # as above
        if self._is_in_noise:  # it covers soft endings, and the judge hears them
            island.end = max(island.end, island.voice_end - VOICE_LAG_TICKS)
        self._island, self._island_limit = None, island.end
        if not island.is_speech and island.is_over_as_speech:
            self._accept(message, island)
        if island.is_speech:
            self._extend(message, island.end)
            message.is_cut_by_voice = False
            message.voice_end = island.end
        elif not message.is_accepted:
            if message.loose is not None:
                self._move(message, island.start, self._next + 1)
            message.loose = island
        elif island.belongs(island.start - message.voice_end):
            self._extend(message, island.end)
            message.is_cut_by_voice = False

    def _accept(self, message: _Message, island: _Island) -> None:
        """The island is speech: it joins the message, or is its beginning."""
        island.is_speech = True
        message.loose = None
        message.is_accepted = True

    def _pause(self, tick: int) -> None:
        """Nothing sounds."""
        message = self._message
        if message is None:
            self._sleep()
        elif message.is_accepted:
            if tick + 1 - message.voice_end > self._hold:
                self._close()
                self._sleep()
        elif message.loose is None or tick + 1 - message.loose.end > NEAR_TICKS:
            self._close()
            self._sleep()

    def _sleep(self) -> None:
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

    def _follow_voice(self, island: _Island, tick: int) -> None:
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
                reach = self._reach_frame()
                pad_frames = max(NOISY_BEFORE_TICKS * self._tick_frames, self._pad_frames)
                start_frame = max(tick * self._tick_frames - pad_frames, reach)
                self._open(tick, start_frame, tick)
                assert self._message is not None
                self._message.pending.add(self._tally(tick, tick + 1))
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
        self._message = _Message(start_frame, sound_start, sound_start, sound_start)
        self._message.part_sound_start = sound_start
        self._message.pending = self._tally(sound_start, known)
        self._is_floor_free = False
        self._events.append(
            GateEvent(
                GateEventKind.OPENED,
                start_frame,
                1,
                sound_start_frame=sound_start * self._tick_frames,
            )
        )

    def _move(self, message: _Message, sound_start: int, known: int) -> None:
        """It begins later than thought; ticks from ``known`` on are added as they are heard."""
        start_frame = sound_start * self._tick_frames - self._pad_frames
        message.start_frame = max(start_frame, message.start_frame)
        message.sound_start = message.part_sound_start = sound_start
        message.end = message.voice_end = sound_start
        message.pending = self._tally(sound_start, known)
        message.loose = None
        self._events.append(
            GateEvent(
                GateEventKind.MOVED,
                message.start_frame,
                1,
                sound_start_frame=sound_start * self._tick_frames,
            )
        )

    def _extend(self, message: _Message, end: int) -> None:
        """It reaches at least to this tick; parts that are full are closed."""
        if end <= message.end:
            return
        message.end = end
        message.tally.add(message.pending)
        message.pending = _Tally()
        if not self._is_kept(message):
            return
        while message.end * self._tick_frames > message.start_frame + self._max_frames:
            cut_frame = message.start_frame + self._max_frames
            self._emit_closed(message, cut_frame, cut_frame, Verdict.KEPT)
            message.start_frame = cut_frame
            message.part_sound_start = cut_frame // self._tick_frames
            message.part += 1
            message.tally = _Tally()
            self._events.append(
                GateEvent(
                    GateEventKind.OPENED, cut_frame, message.part, sound_start_frame=cut_frame
                )
            )

    def _close(self) -> None:
        """The open message is over."""
        message, self._message = self._message, None
        assert message is not None  # whoever closes has looked
        if not message.is_accepted:
            message.end = max(message.end, message.loose.end if message.loose else self._next)
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
        end_frame = min(end_frame, self._pushed_frames, self._known * self._tick_frames)
        sound_end_frame = min(sound_end * self._tick_frames, end_frame)
        self._emit_closed(message, end_frame, sound_end_frame, verdict)
        self._end_frame = end_frame

    def _emit_closed(
        self, message: _Message, end_frame: int, sound_end_frame: int, verdict: Verdict
    ) -> None:
        tally = message.tally
        sound_start_frame = message.part_sound_start * self._tick_frames
        self._events.append(
            GateEvent(
                GateEventKind.CLOSED,
                message.start_frame,
                message.part,
                end_frame,
                verdict,
                max(sound_start_frame, message.start_frame),
                sound_end_frame,
                tally.voiced / tally.sounding if tally.sounding else 0.0,
                _dbfs(tally.peak**2),
                _dbfs(tally.power / tally.ticks if tally.ticks else 0.0),
            )
        )

    def _is_kept(self, message: _Message) -> bool:
        """Accepted, and long enough; the rest of a long message may be short."""
        return message.is_accepted and (message.part > 1 or self._length(message) >= self._min)

    def _length(self, message: _Message) -> int:
        end = min(message.end, message.voice_end) if message.is_cut_by_voice else message.end
        return end - message.sound_start

    # --------------------------------------------------------------------------- looking back

    def _reach_frame(self) -> int:
        """No message may begin before this."""
        reach = self._known * self._tick_frames - round(LOOKBACK_S * self._rate_hz)
        return max(0, reach, self._end_frame)

    def _start_frame(self, sound_start: int) -> int:
        """Where the padding before this tick begins."""
        return max(sound_start * self._tick_frames - self._pad_frames, self._reach_frame())

    def _walk_back(self, tick: int) -> int:
        """The soft beginning of what is loud at a tick."""
        limit = max(tick - EDGE_WALK_TICKS, self._island_limit, self._known - len(self._powers))
        start = tick
        for before in range(tick - 1, limit - 1, -1):
            if start - before > EDGE_BRIDGE_TICKS + 1:
                break
            if self._power_of(before) >= self._edge_power:
                start = before
        return start

    def _tally(self, start: int, end: int) -> _Tally:
        """Of ticks that were heard before there was a message; as far back as they are known."""
        start = max(start, self._known - len(self._powers))
        ticks = range(start, min(end, self._known))
        peak = max((self._peak_of(tick) for tick in ticks), default=0.0)
        return _Tally(len(ticks), sum(self._power_of(tick) for tick in ticks), peak)

    def _power_of(self, tick: int) -> float:
        return self._powers[tick - self._known]

    def _peak_of(self, tick: int) -> float:
        return self._peaks[tick - self._known]

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
    """Refuse what makes no sense."""
    times = (spec.hold_s, spec.pad_s, spec.min_length_s, spec.max_length_s)
    if not all(math.isfinite(value) and value >= 0 for value in times):
        raise ConfigError("the times of a gate must be 0 or more", details={"spec": repr(spec)})
    if spec.max_length_s < max(1.0, spec.min_length_s):
        raise ConfigError(
            f"a message can't be cut into parts of {spec.max_length_s:g} s",
            hint="the greatest length must be 1 s or more, and not below the least",
        )
    if spec.threshold_dbfs is not None and not spec.threshold_dbfs < 0:
        raise ConfigError(
            f"nothing can be louder than {spec.threshold_dbfs:g} dBFS",
            hint="a threshold is below 0, often between -60 and -30",
        )
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


def _power(dbfs: float) -> float:
    return float(10.0 ** (dbfs / 10.0))


def _dbfs(power: float) -> float:
    return 10.0 * math.log10(power) if power > 0.0 else -math.inf

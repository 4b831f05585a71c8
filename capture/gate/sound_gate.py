"""The gate: decides tick by tick where messages begin and end."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from capture.errors import ConfigError
from capture.gate.events import GateEvent, GateState, SpeechJudge, Verdict
from capture.gate.loudness import TICK_HZ, Tally, TickLevels, power_dbfs
from capture.gate.message import Message, MessageReporter
from capture.gate.voices import RING_STEPS, STEP_TICKS, Voices
from capture.gate.votes import NEAR_TICKS, SPEECH_SHARE, Island
from capture.specs.voice import GateSpec

ISLAND_GAP_TICKS: Final = 25
"""Silence that separates islands of sound; a long plosive in slow speech is 0.2 s."""

VOICE: Final = 0.5
VOICE_GOES_ON: Final = 0.35
SETTLE_TICKS: Final = 100
"""An island with so many ticks of speech is judged before its end."""
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


class SoundGate:
    """Finds messages while sound comes in. Use from one thread.

    Args:
        spec: Which sounds are messages.
        rate_hz: Frames per second of what is pushed.
        judge: The speech detector; ``None`` where any sound counts. It is reset here.

    Raises:
        ConfigError: There is no judge where one is needed, or one for another rate.
    """

    def __init__(self, spec: GateSpec, rate_hz: int, judge: SpeechJudge | None = None) -> None:
        _check(spec, rate_hz, judge)
        self._tick_frames = rate_hz // TICK_HZ
        self._step_frames = self._tick_frames * STEP_TICKS
        self._hold = round(spec.pause_s * TICK_HZ)

        self._pushed_frames = 0
        self._step: NDArray[np.float32] | None = None  # being filled; its shape is not known yet
        self._filled_frames = 0
        self._next = 0  # the tick to decide about
        self._loudness = TickLevels(spec.threshold_dbfs, RING_STEPS * STEP_TICKS)

        self._is_awake = False  # sound is followed, by the judge too
        self._voices = Voices(None if spec.is_any_sound else judge, self._tick_frames)
        self._is_voice = False
        self._is_noisy = False  # continuous sound
        self._island: Island | None = None
        self._island_limit = 0  # the last one's end: the next starts no earlier
        self._reporter = MessageReporter(spec, rate_hz, self._loudness)

    @property
    def _message(self) -> Message | None:
        return self._reporter.message

    @property
    def state(self) -> GateState:
        """The state of the gate; a tenth of a second late."""
        if self._message is None:
            return GateState.LISTENING
        if self._island is None or (self._is_noisy and not self._is_voice):
            return GateState.HOLDING
        return GateState.HEARING

    @property
    def threshold_dbfs(self) -> float:
        """RMS of 10 ms, in dBFS, at which the gate opens now."""
        return power_dbfs(self._loudness.opens)

    def push(self, samples: NDArray[np.float32]) -> list[GateEvent]:
        """Take the next sound and give the events that follow from it.

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
        return self._reporter.take_events()

    def finish(self) -> list[GateEvent]:
        """End the sound and give the last events. Nothing can be pushed after this."""
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
        return self._reporter.take_events()

    def _take_step(self, samples: NDArray[np.float32]) -> None:
        """Measure a step, then decide about the ticks that can be decided."""
        self._voices.take(samples, is_awake=self._is_awake)
        rows = samples.reshape(len(samples) // self._tick_frames, -1)
        self._loudness.take(rows, is_open=self._message is not None)
        if self._loudness.floor is not None:
            self._advance()

    # --------------------------------------------------------------------------- tick after tick

    def _advance(self, *, is_last: bool = False) -> None:
        """Decide about all ticks for which enough sound has been pushed."""
        if is_last and self._is_awake:
            self._voices.flush()
        while True:
            if not self._is_awake:
                at = self._find_sound()
                if at is None:
                    return
                self._wake(at)
                if is_last:
                    self._voices.flush()
            for voice in self._voices.ready(self._next, self._loudness.known):
                self._hear(self._next, self._loudness.power(self._next), voice)
                self._next += 1
                if not self._is_awake:
                    break  # it fell silent: what follows is looked at without the judge
            else:
                self._voices.forget(self._next)
                return

    def _find_sound(self) -> int | None:
        """The first undecided tick that opens the gate."""
        for tick in range(self._next, self._loudness.known):
            if self._loudness.power(tick) >= self._loudness.opens:
                return tick
        self._next = self._loudness.known
        return None

    def _wake(self, tick: int) -> None:
        """Begin an episode of sound: from this tick on the speech detector runs, too."""
        self._is_awake = True
        self._is_voice = False
        self._next = tick
        self._voices.begin(tick, self._loudness.known)

    def _hear(self, tick: int, power: float, probability: float) -> None:
        """Decide about one tick while awake."""
        is_loud = power >= self._loudness.closes
        self._is_voice = probability >= (VOICE_GOES_ON if self._is_voice else VOICE)
        island = self._island
        if island is None and is_loud:
            island = self._island = Island(self._loudness.start_of(tick, self._island_limit), tick)
            self._begin_island(island, tick)
        if self._message is not None:
            self._message.pending.add(Tally(1, power, self._loudness.peak(tick)))
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
        """Extend the present island to a tick, or end it."""
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
            self._reporter.extend(message, min(island.end, island.voice_end + NOISY_AFTER_TICKS))
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
            self._reporter.open(island.start, tick + 1)

    def _begin_island(self, island: Island, tick: int) -> None:
        """Open a message for an island, or move an open one that has no speech yet."""
        message = self._message
        if message is None:
            self._reporter.open(island.start, tick)
        elif message.loose and not message.loose.belongs(island.start - message.loose.end):
            self._reporter.move(message, island.start, tick)

    def _end_island(self, island: Island) -> None:
        """Decide whether the island is speech, and whether it belongs to the message."""
        message = self._message
        assert message is not None  # as above
        if self._loudness.is_in_noise:  # it covers soft endings, and the judge hears them
            island.end = max(island.end, island.voice_end - VOICE_LAG_TICKS)
        self._island, self._island_limit = None, island.end
        if not island.is_speech and island.is_over_as_speech:
            island.is_speech = True
            message.accept()
        if island.is_speech:
            self._reporter.extend(message, island.end)
            message.voice_end = island.end
        elif not message.is_accepted:
            if message.loose is not None:
                self._reporter.move(message, island.start, self._next + 1)
            message.loose = island
        elif island.belongs(island.start - message.voice_end):
            self._reporter.extend(message, island.end)
        else:
            return
        message.is_cut_by_voice = False
        if message.is_accepted:
            self._reporter.pad(message)

    def _pause(self, tick: int) -> None:
        """Close the message once a silent tick is too far from its last speech."""
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

    def _close(self) -> None:
        self._reporter.close(self._next, self._pushed_frames)

    # ---------------------------------------------------------------- sound that never stops

    def _become_noisy(self, tick: int) -> None:
        """Enter the mode for continuous sound, where the speech detector sets the edges."""
        self._is_noisy = True
        message = self._message
        if message is not None and (
            not message.is_accepted or tick + 1 - message.voice_end > self._hold
        ):
            self._close()

    def _follow_voice(self, island: Island, tick: int) -> None:
        """Decide about a tick of continuous sound, in which only speech counts."""
        if tick + 1 - island.end >= ISLAND_GAP_TICKS:
            self._is_noisy = False
            self._island, self._island_limit = None, island.end
            if self._message is not None and not self._message.is_accepted:
                self._close()
            self._pause(tick)
            return
        message = self._message
        if self._is_voice and tick < island.end:
            if message is None:
                message = self._reporter.open(tick, tick + 1, least_pad_ticks=NOISY_BEFORE_TICKS)
            message.voice += 1
            message.voice_end = tick + 1
            message.is_accepted |= message.voice >= NOISY_VOICE_TICKS
        if message is None:
            return
        if message.is_accepted:
            self._reporter.extend(message, min(island.end, message.voice_end + NOISY_AFTER_TICKS))
            message.is_cut_by_voice = message.end < island.end or not self._is_voice
        if tick + 1 - message.voice_end > self._hold:
            self._close()


def find_messages(
    blocks: Iterable[NDArray[np.float32]],
    spec: GateSpec,
    rate_hz: int,
    judge: SpeechJudge | None = None,
) -> list[GateEvent]:
    """All messages of a recording, each as its CLOSED event.

    Args:
        blocks: The sound, shape (frames, channels) each.
        spec: Which sounds are messages.
        rate_hz: Frames per second.
        judge: The speech detector; ``None`` where any sound counts.

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
    """Refuse a missing speech detector, or one with another rate."""
    if spec.is_any_sound:
        return
    if judge is None:
        raise ConfigError("a gate for speech has no speech detector", hint="or let any sound count")
    if judge.rate_hz != rate_hz:
        raise ConfigError(
            f"speech is judged at {judge.rate_hz} Hz, and the sound has {rate_hz}",
            hint="convert the sound first",
        )

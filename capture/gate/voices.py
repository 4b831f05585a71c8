"""The probability of speech of each tick."""

from collections import deque
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from capture.gate.events import SpeechJudge

STEP_TICKS: Final = 10
RING_STEPS: Final = 16  # of sound kept for the judge: LOOKBACK_S and the step that is decided
PREFEED_TICKS: Final = 50  # what the judge hears before the first sound, to settle


class Voices:
    """The probability of speech, tick after tick, from the tick at which sound begins.

    Args:
        judge: Asked while something sounds; ``None``: all that sounds counts as speech.
        tick_frames: Length of a tick.
    """

    def __init__(self, judge: SpeechJudge | None, tick_frames: int) -> None:
        self._judge = judge
        self._tick_frames = tick_frames
        self._ring: deque[NDArray[np.float32]] = deque(maxlen=RING_STEPS)
        self._origin_frame = 0  # the judge's frame 0
        self._voices: list[float] = []  # its probabilities since then, but for the oldest
        self._dropped = 0

    def take(self, samples: NDArray[np.float32], *, is_awake: bool) -> None:
        """Store a step, (frames, channels), or pass it to the speech detector during sound."""
        self._ring.append(samples)
        if is_awake and self._judge is not None:
            self._voices += self._judge.push(samples)

    def begin(self, tick: int, known: int) -> None:
        """Start the speech detector shortly before a tick; ``known`` ticks have been stored."""
        if self._judge is None:
            return
        step_first = known - sum(len(step) for step in self._ring) // self._tick_frames
        skip = max(0, (tick - PREFEED_TICKS - step_first) // STEP_TICKS)
        self._origin_frame = (step_first + skip * STEP_TICKS) * self._tick_frames
        self._judge.reset()
        self._dropped = 0
        self._voices = self._judge.push(np.concatenate(list(self._ring)[skip:]))

    def flush(self) -> None:
        """Get the last probabilities, as if silence followed."""
        if self._judge is not None:
            channels = self._ring[-1].shape[1]
            rest = self._judge.window_frames + self._judge.lookahead_frames
            self._voices += self._judge.push(np.zeros((rest, channels), np.float32))

    def ready(self, first: int, known: int) -> Iterator[float]:
        """The probability of each tick from ``first`` on, up to the last that has one."""
        for tick in range(first, known):
            if self._judge is None:
                yield 1.0
                continue
            place = self._window_of(tick) - self._dropped
            if place >= len(self._voices):
                return
            yield self._voices[place]

    def forget(self, tick: int) -> None:
        """Drop the probabilities of all ticks before this one."""
        if self._judge is not None and (old := self._window_of(tick) - self._dropped) > 0:
            del self._voices[:old]
            self._dropped += old

    def _window_of(self, tick: int) -> int:
        assert self._judge is not None
        middle_frame = tick * self._tick_frames + self._tick_frames // 2
        return (middle_frame - self._origin_frame) // self._judge.window_frames

"""The loudness of each tick, the noise floor, and the thresholds that follow from it."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

TICK_HZ: Final = 100

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


@dataclass(slots=True)
class Tally:
    """Sums over a stretch of ticks: powers, number of ticks, highest sample."""

    ticks: int = 0
    power: float = 0.0
    peak: float = 0.0

    def add(self, other: "Tally") -> None:
        """Add the sums of another stretch of ticks."""
        self.ticks += other.ticks
        self.power += other.power
        self.peak = max(self.peak, other.peak)


class TickLevels:
    """The last ticks, and the thresholds that follow from all there were. Powers, not dBFS.

    Args:
        threshold_dbfs: What opens the gate; ``None``: learnt from the noise floor.
        kept_ticks: How many are remembered.

    Attributes:
        known: How many ticks there were.
        floor: The noise floor; ``None`` while it is learnt, for ``FLOOR_TICKS``.
        opens: From here on it is sound.
        closes: Sound that goes on stays above this.
        edge: Soft beginnings and endings are followed down to this.
        is_in_noise: Sound has no silence around it: its softest parts are covered.
    """

    def __init__(self, threshold_dbfs: float | None, kept_ticks: int) -> None:
        self._threshold_dbfs = threshold_dbfs
        self._powers: deque[float] = deque(maxlen=kept_ticks)
        self._peaks: deque[float] = deque(maxlen=kept_ticks)
        self._second: list[float] = []
        self._is_free = True  # nothing was open since the last look at the floor
        self.known = 0
        self.floor: float | None = None
        self._set_thresholds()

    @property
    def first(self) -> int:
        """The oldest tick that is remembered."""
        return self.known - len(self._powers)

    def power(self, tick: int) -> float:
        """Mean square of a tick that is remembered."""
        return self._powers[tick - self.known]

    def peak(self, tick: int) -> float:
        """Highest sample of a tick that is remembered."""
        return self._peaks[tick - self.known]

    def take(self, rows: NDArray[np.float32], *, is_open: bool) -> None:
        """Measure the next ticks.

        Args:
            rows: All samples of each tick, of all channels: shape (ticks, samples).
            is_open: A message is: the floor does not rise.
        """
        powers: list[float] = (np.einsum("ij,ij->i", rows, rows) / rows.shape[1]).tolist()
        self._powers.extend(powers)
        self._peaks.extend(np.maximum(rows.max(axis=1), -rows.min(axis=1)).tolist())
        self.known += len(powers)
        self._second += powers
        self._is_free = self._is_free and not is_open
        loudest = max(powers)
        if self.floor is not None and loudest < self.floor:
            self.floor = loudest  # downward at once
            self._set_thresholds()
        if len(self._second) >= FLOOR_TICKS:
            self.learn()

    def learn(self) -> None:
        """Update the noise floor from the last second, or from the part of it that there is."""
        if not self._second:
            return
        place = len(self._second) * FLOOR_PERCENTILE // 100
        low = sorted(self._second)[place]
        self._second.clear()
        if self.floor is None:
            self.floor = low
        elif low > self.floor and self._is_free:
            lowest = max(self.floor, _power(LOWEST_FLOOR_DBFS))
            self.floor = min(low, lowest * _power(FLOOR_RISE_DB_PER_S))
        self._is_free = True
        self._set_thresholds()

    def start_of(self, tick: int, limit: int) -> int:
        """The first tick of the soft beginning before a loud tick; at least ``limit``."""
        start = tick
        for before in range(tick - 1, max(limit, self.first, tick - EDGE_WALK_TICKS) - 1, -1):
            if start - before > EDGE_BRIDGE_TICKS + 1:
                break
            if self.power(before) >= self.edge:
                start = before
        return start

    def is_soft_end(self, tick: int, end: int) -> bool:
        """Whether sound that ended before ``end`` continues softly up to a tick."""
        return self.power(tick) >= self.edge and tick - end <= EDGE_BRIDGE_TICKS

    def tally(self, start: int, end: int) -> Tally:
        """The sums over a stretch of ticks, as far back as they are remembered."""
        ticks = range(max(start, self.first), min(end, self.known))
        peak = max((self.peak(tick) for tick in ticks), default=0.0)
        return Tally(len(ticks), sum(self.power(tick) for tick in ticks), peak)

    def _set_thresholds(self) -> None:
        floor_dbfs = max(power_dbfs(self.floor or 0.0), LOWEST_FLOOR_DBFS)
        opens = self._threshold_dbfs
        if opens is None:
            opens = min(max(floor_dbfs + OPEN_MARGIN_DB, LOWEST_OPEN_DBFS), HIGHEST_OPEN_DBFS)
        edge = min(opens, max(floor_dbfs + EDGE_MARGIN_DB, LOWEST_EDGE_DBFS))
        self.opens = _power(opens)
        self.closes = _power(max(edge, opens - HYSTERESIS_DB))
        self.edge = _power(edge)
        self.is_in_noise = floor_dbfs > LOWEST_FLOOR_DBFS


def power_dbfs(power: float) -> float:
    """Decibels below full scale of a mean square; -inf for 0."""
    return 10.0 * math.log10(power) if power > 0.0 else -math.inf


def _power(dbfs: float) -> float:
    return float(10.0 ** (dbfs / 10.0))

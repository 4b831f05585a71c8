"""Estimates when the first frame of a record stream was heard, from the server's answers.

Owns the estimate behind every stamp of ``_pulse_stream``. Pure: no threads, no clock, no libpulse.
"""

from collections import deque

from capture.units import NS_PER_S

WINDOW_NS = 5 * NS_PER_S
"""A device's clock that is 100 ppm off moves by 0.5 ms in it. On PipeWire 0.3, with eight busy
processes a core, 95 % of the estimates lie within 0.7 ms; those of one second, within 11 ms."""
QUANTILE = 0.03
"""Low, because disturbed answers are late; not the lowest, because sound cards round."""
STEP_WITHIN_NS, STEP_ANSWERS, STEP_NS = NS_PER_S, 8, 12_000_000
"""If no answer of a second is less late than this, the origin has moved: PipeWire works in shorter
cycles from then on, or has left one out. Older answers are forgotten then."""
WITHHELD_WINDOW_NS = NS_PER_S // 2
"""``buffer_usec`` also counts what the server has not sent yet, hundreds of ms when the reader is
starved, so the least of this long is what is held back for rewinds."""
ENOUGH_NS = NS_PER_S
"""After so long there are answers enough to rely on."""


class OriginClock:
    """The origin of a stream, from the answers of the last seconds. Used from one thread."""

    def __init__(self) -> None:
        self._answers: deque[tuple[int, int, int]] = deque()  # as the arguments of ``add``

    def __bool__(self) -> bool:
        """Whether there was an answer since the last ``clear()``."""
        return bool(self._answers)

    def clear(self) -> None:
        """Forget all answers: the server's indexes stood still."""
        self._answers.clear()

    def add(self, at_ns: int, origin_ns: int, withheld_us: int) -> None:
        """Add an answer of the server.

        Args:
            at_ns: When it came.
            origin_ns: When the stream's first frame was heard by it, if nothing was held back.
            withheld_us: Sound that the server holds back by its own answer.
        """
        self._answers.append((at_ns, origin_ns, withheld_us))
        while at_ns - self._answers[0][0] > WINDOW_NS:
            self._answers.popleft()
        latest = [each for each in self._answers if at_ns - each[0] <= STEP_WITHIN_NS]
        earliest_ns = min(origin for _, origin, _ in latest)
        if len(latest) >= STEP_ANSWERS and earliest_ns - self._low() > STEP_NS:
            self._answers = deque(latest)

    def origin_ns(self) -> int:
        """Capture clock of the stream's first frame; needs at least one answer."""
        since_ns = self._answers[-1][0] - WITHHELD_WINDOW_NS
        withheld_us = min(withheld for at, _, withheld in self._answers if at >= since_ns)
        return self._low() - withheld_us * 1000

    def _low(self) -> int:
        origins = sorted(origin for _, origin, _ in self._answers)
        return origins[round(len(origins) * QUANTILE)]

"""Where packets and frames of sound lie, counted in samples, whatever their stamps are like.

Stamps are rounded to the tick of their container (1 ms in Matroska), are missing, or jump. A clock
counts samples instead, and listens to a stamp only where it contradicts by more than rounding.
Where sound is missing it listens closely until both agree again, and takes the hole for as many
whole packets as it is near to, so that what follows lies where it did, to the sample.
"""

from fractions import Fraction

HOLE_S = 0.02
"""Missing time between two packets: more than any container's rounding."""
JUMP_S = 600.0
"""A longer hole is no missing sound but a clock that was set: nothing is put in its place."""
RESTART_S = 1.0
"""A stamp that goes back farther begins a new count; a nearer one is only wrong."""


class SampleClock:
    """Counts samples along a track.

    Args:
        rate_hz: Of the track.
        tick: Seconds of the track's time base.
        zero: The stamp, in seconds, that counts as sample 0.
        unit: All packets hold a multiple of so many samples.
        slack: Stamps may be off by so many samples, besides their rounding.
    """

    def __init__(
        self, rate_hz: int, tick: Fraction, zero: Fraction, unit: int = 1, slack: int = 0
    ) -> None:
        self._rate_hz = rate_hz
        # Floats: fractions would cost as much as decoding, and 53 bits hold years of samples.
        self._samples_of_tick = float(tick * rate_hz)
        self._zero = float(zero * rate_hz)
        self._rounding = max(1, round(2.5 * tick * rate_hz)) + slack
        self._tolerance = max(self._rounding, round(HOLE_S * rate_hz))
        # Both the first stamp and this one may be off by half a tick.
        self._unit = unit if unit > 2 * self._samples_of_tick else 1
        self._is_doubtful = False
        self._has_stamps = True
        self._shift = 0
        self.position: int | None = None
        """Position of the next sample; ``None`` before the first."""
        self.holes = 0
        self.missing = 0
        """Samples in all holes together."""
        self.jumps = 0
        """Number of stamps that went back, or far ahead."""

    @property
    def seconds(self) -> float:
        """Position of the next sample, in seconds; 0 before the first."""
        return (self.position or 0) / self._rate_hz

    @property
    def missing_s(self) -> float:
        """Length of all holes together, in seconds."""
        return self.missing / self._rate_hz

    def start(self, stamp: int | None, priming: int = 0, *, is_at_zero: bool = False) -> int:
        """Begin the count; gives the position of the first sample that is heard.

        Args:
            stamp: Of the first packet, in ticks; ``None``: it has none, and lies at 0. Stamps that
                come later are FFmpeg's own then, and are not listened to.
            priming: How many of its samples are not heard.
            is_at_zero: The first that is heard lies at 0, whatever the stamp.
        """
        self._has_stamps = stamp is not None
        heard = 0 if stamp is None or is_at_zero else self.place(stamp) + priming
        if abs(heard) <= self._rounding:
            heard = 0
        self.position = heard - priming
        return heard

    def advance(self, stamp: int | None, length: int) -> int:
        """Place the next packet; gives the number of samples that are missing before it.

        Args:
            stamp: Of its first sample, in ticks; ``None``: it follows on.
            length: Its samples.
        """
        assert self.position is not None, "start() comes first"
        hole = 0
        if stamp is not None and self._has_stamps:
            late = self.place(stamp) - self.position
            if late > JUMP_S * self._rate_hz or late < -RESTART_S * self._rate_hz:
                self.jumps += 1
                self._shift -= late
            elif late > self._tolerance or (self._is_doubtful and late > self._rounding):
                hole = round(late / self._unit) * self._unit
                self.holes += not self._is_doubtful
                self.missing += hole
                self._is_doubtful = True
            elif self._is_doubtful and late > -self._rounding:
                self._is_doubtful = False
        self.position += hole + length
        return hole

    def steady(self) -> tuple[float, float, float]:
        """The range of stamps that need no look at each.

        Returns:
            (samples of a tick, least, most): while ``stamp * samples of a tick`` minus the position
            lies from least to most, ``advance`` would only count on.
        """
        place = self._zero - self._shift
        early = -RESTART_S * self._rate_hz
        return self._samples_of_tick, place + early + 1, place + self._tolerance - 1

    def count(self, samples: int) -> None:
        """Advance by so many samples whose stamps are within the range of ``steady``."""
        assert self.position is not None, "start() comes first"
        self.position += samples

    def follow(self, stamp: int | None) -> None:
        """Set the position to a packet's stamp: its length is known to the tick only."""
        assert self.position is not None, "start() comes first"
        if stamp is not None and self._has_stamps:
            late = self.place(stamp) - self.position
            if abs(late) <= self._tolerance:
                self.position += late

    def resume(self, stamp: int | None) -> None:
        """Count stamps from here on, whatever they were before."""
        assert self.position is not None, "start() comes first"
        if stamp is not None:
            self._shift -= self.place(stamp) - self.position

    def place(self, stamp: int) -> int:
        """Position of a stamp in ticks, in samples."""
        return round(stamp * self._samples_of_tick - self._zero) + self._shift

"""How coarsely pictures are written: constant from one key picture to the next, chosen by content.

x264's CRF looks at every picture at half size before it encodes it, which is 15 % of the work on a
film and 45 % on a desktop. What it decides by that look hardly changes within seconds, and the
sizes of the pictures show it afterwards for nothing: small ones are a desktop, whose letters want
to be fine; large ones are a film, in which nobody sees the difference. The rule is CRF's own.
"""

import math
import statistics
from collections import deque
from typing import Final

from capture.units import NS_PER_S

LOOK_BACK_PICTURES: Final = 16
"""Half a second of a film. The median of so many: one new slide is not a film."""
SETTLED_NS: Final = 2 * NS_PER_S
"""A key picture before its time costs as much as eight of a film: not sooner after the last."""
COARSER_AFTER_NS: Final = NS_PER_S // 2
"""Unless it is far coarser: a film at the desktop's quantizer is twice as large, and that pays for
the key picture within half a second."""
FAR_STEPS: Final = 4
"""So many steps of the quantizer are a great difference."""
BITS_OF_DESKTOP: Final = 1 / 12
"""A pixel and picture, at the finest; what needs more is a film. Text that scrolls over half a
screen needs 0.02, a film in a corner 0.09, a film over the whole screen 0.57."""
STEPS_PER_DOUBLING: Final = 6 * (1 - 0.6)
"""x264 doubles the quantizer with 6 steps, and lets it grow with complexity to the power of 1 less
``qcomp``, which is 0.6."""
STEPS_PER_HALVING: Final = 8
"""Steps of the quantizer that halve the size of a film's picture (measured)."""
MOST_STEPS: Final = 8
"""Coarser than the finest; a film is at 7, where its SSIM is that of CRF 23."""


class Quantizer:
    """Chooses the quantizer of constant-quantizer encoding; used from one thread.

    Args:
        finest: H.264 QP (0-51) of a desktop.
        area_px: Of a picture.

    Attributes:
        qp: What is in use.
    """

    def __init__(self, finest: int, area_px: int) -> None:
        self.qp = self._finest = finest
        self._area_px = area_px
        self._key_ns = 0
        self._bits: deque[float] = deque(maxlen=LOOK_BACK_PICTURES)

    def note(self, size_bytes: int, at_ns: int, *, is_key: bool) -> None:
        """Note the size of an encoded picture at a time of the file; key pictures do not count."""
        if is_key:
            self._key_ns = at_ns
        else:
            finer = 2 ** ((self.qp - self._finest) / STEPS_PER_HALVING)
            self._bits.append(size_bytes * 8 / self._area_px * finer)

    def wants_key(self, at_ns: int) -> bool:
        """Whether the content has changed so much that a key picture should come early.

        One step is not worth it.
        """
        steps = self._fitting() - self.qp
        settled_ns = COARSER_AFTER_NS if steps >= FAR_STEPS else SETTLED_NS
        return abs(steps) > 1 and at_ns - self._key_ns >= settled_ns

    def renew(self) -> bool:
        """Choose ``qp`` anew, at a key picture; whether it has changed."""
        before, self.qp = self.qp, self._fitting()
        return self.qp != before

    def _fitting(self) -> int:
        if len(self._bits) < LOOK_BACK_PICTURES:
            return self.qp
        too_many = max(statistics.median(self._bits) / BITS_OF_DESKTOP, 1.0)
        return self._finest + round(min(STEPS_PER_DOUBLING * math.log2(too_many), MOST_STEPS))

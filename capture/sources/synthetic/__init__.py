"""A test card and a test tone with counters, so that a recording can be checked by itself.

Owns the fake devices: real backends and the tests' fakes at once. Picture ``k`` is on show
from ``epoch + k / fps_change``; second ``n`` begins at ``epoch + n`` with a flash and a beep that
carries ``n``. Order, drops, gaps and the distance between sound and picture are read back from any
recording with ``screen.read_counter`` and ``tone.read_tone``.

All content is a pure function of time since the epoch, which all sources of a process share.
"""

from capture.clock import now_ns

__all__ = ["EPOCH_NS"]

EPOCH_NS = now_ns()
"""Picture 0 and second 0 of all synthetic sources of this process."""

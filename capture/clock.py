"""The one clock.

Everything is stamped with ``now_ns()``: monotonic, in nanoseconds, the same for pictures and
sound. Wall time is metadata and never enters a timestamp.
"""

from __future__ import annotations

import sys
import time

__all__ = ["now_ns"]

# On Linux and macOS both counters are one clock; on Windows monotonic() steps by 15.6 ms before
# Python 3.13, while perf_counter is the QPC that the audio stack stamps with.
now_ns = time.perf_counter_ns if sys.platform == "win32" else time.monotonic_ns

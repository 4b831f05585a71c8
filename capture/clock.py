"""The one clock, and the media time of a recording.

Everything is stamped with ``now_ns()``: monotonic, in nanoseconds, the same for pictures and
sound. Wall time is metadata and never enters a timestamp. ``SessionClock`` turns stamps into the
time of the file, from which the pauses are cut out, for pictures and sound alike.
"""

import sys
import threading
import time
from datetime import UTC, datetime

from capture.units import NS_PER_S

# On Linux and macOS both counters are one clock; on Windows monotonic() steps by 15.6 ms before
# Python 3.13, while perf_counter is the QPC that the audio stack stamps with.
now_ns = time.perf_counter_ns if sys.platform == "win32" else time.monotonic_ns


def local_time(wall_s: float) -> datetime:
    """Wall time in s since 1970 as this machine's clocks show it, with its offset."""
    # Through UTC: Windows knows no offset for a naive time near 1970.
    return datetime.fromtimestamp(wall_s, UTC).astimezone()


class SessionClock:
    """Media time of a recording; any thread may ask.

    Args:
        start_ns: Capture clock at media time 0.
    """

    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns
        self.pauses: tuple[tuple[int, int | None], ...] = ()
        """(start, end) of each on the capture clock; the end of an open one is ``None``."""
        self._lock = threading.Lock()  # of those who change them; reading takes none

    def pause(self, at_ns: int) -> None:
        """Cut out what comes from ``at_ns`` on. Does nothing while a pause is open."""
        with self._lock:
            if not self.pauses or self.pauses[-1][1] is not None:
                self.pauses = (*self.pauses, (at_ns, None))

    def resume(self, at_ns: int) -> None:
        """End the open pause, if there is one."""
        with self._lock:
            if self.pauses and self.pauses[-1][1] is None:
                start_ns = self.pauses[-1][0]
                self.pauses = (*self.pauses[:-1], (start_ns, max(at_ns, start_ns)))

    def media_ns(self, at_ns: int) -> int | None:
        """Media time in ns of a moment on the capture clock; ``None`` within a pause."""
        cut_ns = 0
        for start_ns, end_ns in self.pauses:
            if at_ns < start_ns:
                break
            if end_ns is None or at_ns < end_ns:
                return None
            cut_ns += end_ns - start_ns
        return at_ns - self.start_ns - cut_ns

    def recorded_ns(self, at_ns: int) -> int:
        """Length of the file in ns at a moment: ``media_ns`` that stands still in a pause."""
        cut_ns = 0
        for start_ns, end_ns in self.pauses:
            if at_ns < start_ns:
                break
            cut_ns += (at_ns if end_ns is None else min(end_ns, at_ns)) - start_ns
        return max(0, at_ns - self.start_ns - cut_ns)

    def moment_of(self, media_ns: int) -> int | None:
        """Capture clock at which the file is so long; ``None`` if an open pause is before it."""
        at_ns = self.start_ns + media_ns
        for start_ns, end_ns in self.pauses:
            if at_ns <= start_ns:
                break
            if end_ns is None:
                return None
            at_ns += end_ns - start_ns
        return at_ns

    @property
    def pauses_s(self) -> tuple[tuple[float, float], ...]:
        """(media time, length) of each pause that ended, in seconds."""
        ended = [(start, end) for start, end in self.pauses if end is not None]
        return tuple(
            (self.recorded_ns(start) / NS_PER_S, (end - start) / NS_PER_S) for start, end in ended
        )

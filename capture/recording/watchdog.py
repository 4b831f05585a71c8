"""Finds dead signals: silent sound, a black picture, a source without data, an overload.

Pure: no threads, no clock reads, no devices. The session's watchdog thread steps it ten times a
second with the present facts; each step gives events. All times are counted while this process was
awake: after SIGSTOP or a suspend nothing is called dead for the time in between.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from capture.cautions import Caution
from capture.levels import Loudness
from capture.model.events import Event, EventKind
from capture.model.signal import SoundState
from capture.units import NS_PER_S

PICTURE = "picture"
"""The picture track's name in events and results."""

SILENT_S = 5.0
"""Exact zeros for so long while something plays: films and speech pause for less."""
QUIET_DBFS = -60.0
"""A recording that stays below this throughout has nothing that can be listened to."""
CLIPPED_S = 0.3
"""A shout clips for a few milliseconds; this much in all is a level that is set too high."""
NO_DATA_S = 2.0
"""A device delivers every 10-160 ms; the mixer has put silence in its place since 0.6 s."""
BLACK_S = 5.0
ASLEEP_S = 1.0
"""No step for so long: this process was stopped, or the machine had no time for it at all."""

OVERLOAD_WINDOW_S = 5.0
OVERLOAD_SHARE = 0.1
RELIEF_WINDOW_S = 30.0
RELIEF_SHARE = 0.01
LOWEST_FPS = 10.0
"""A grid is not halved to less than this: 60, 30, 15; 24, 12."""


@dataclass(frozen=True, slots=True)
class SoundFacts:
    """The present facts about one sound source."""

    label: str
    state: SoundState
    loudness: Loudness
    received_blocks: int
    is_idle_silent: bool


@dataclass(frozen=True, slots=True)
class PictureCounts:
    """Slots of the grid so far: those that were used, and those that were lost."""

    kept: int
    dropped: int


class Watchdog:
    """Steps all watches with the time that this process was awake. Used from one thread.

    Args:
        at_ns: Capture clock of the start.
        is_black: Whether the picture shows nothing; ``None`` without pictures. Asked only while
            the picture is black or new.
    """

    def __init__(self, at_ns: int, is_black: Callable[[], bool] | None = None) -> None:
        self._last_ns = at_ns
        self._sounds: dict[str, _SoundWatch] = {}
        self._is_black = is_black
        self._black_s = 0.0
        self._told_black = False
        self._looked_at = -1
        self._was_black = False

    def step(
        self, at_ns: int, sounds: Sequence[SoundFacts], pictures: PictureCounts | None
    ) -> list[Event]:
        """The new findings since the last step; not called during a pause.

        Args:
            at_ns: The capture clock.
            sounds: All sources.
            pictures: ``None`` without pictures, or when the screen is gone.
        """
        passed_s = (at_ns - self._last_ns) / NS_PER_S
        awake_s = passed_s if passed_s < ASLEEP_S else 0.0
        events = []
        if awake_s == 0:
            message = Caution.STOPPED.with_(length_s=passed_s)
            if pictures is not None:
                events.append(Event(EventKind.WARNING, message, at_ns))
        self._last_ns = at_ns
        for facts in sounds:
            watch = self._sounds.setdefault(facts.label, _SoundWatch())
            events += watch.step(at_ns, awake_s, facts)
        if pictures is not None and self._is_black is not None:
            events += self._watch_picture(at_ns, awake_s, pictures.kept, self._is_black)
        return events

    def rest(self, at_ns: int) -> None:
        """Step during a pause, in which nothing is checked."""
        self._last_ns = at_ns

    def end(self, at_ns: int, sounds: Sequence[SoundFacts]) -> list[Event]:
        """The findings about the recording as a whole."""
        return [
            _dead(
                at_ns,
                facts.label,
                "quiet",
                f"{facts.label} was silent all the time"
                if facts.loudness.peak_dbfs == -float("inf")
                else f"{facts.label} was never louder than {facts.loudness.peak_dbfs:.0f} dBFS",
            )
            for facts in sounds
            if facts.loudness.peak_dbfs < QUIET_DBFS
        ]

    def _watch_picture(
        self, at_ns: int, awake_s: float, kept: int, is_black: Callable[[], bool]
    ) -> Iterator[Event]:
        # An unchanged picture is what it was; a new one is looked at once a step at most.
        if kept != self._looked_at:
            self._looked_at, self._was_black = kept, is_black()
        if not self._was_black:
            self._black_s, self._told_black = 0.0, False
            return
        self._black_s += awake_s
        if self._black_s >= BLACK_S and not self._told_black:
            self._told_black = True
            message = f"the picture has been black for {BLACK_S:.0f} s"
            yield _dead(at_ns, PICTURE, "black", message)


class _SoundWatch:
    """Watches one source: silence while it plays, no data, clipping; each once an episode."""

    def __init__(self) -> None:
        self._due_s = 0.0  # how long sound has been due
        self._missing_s = 0.0
        self._received = -1
        self._told: set[str] = set()

    def step(self, at_ns: int, awake_s: float, facts: SoundFacts) -> Iterator[Event]:
        label = facts.label
        is_due = facts.state in {SoundState.PLAYING, SoundState.MUTED}
        self._due_s = self._due_s + awake_s if is_due else 0.0
        is_silent = min(self._due_s, facts.loudness.silent_s) >= SILENT_S
        if self._has_begun("silent", is_so=is_silent):
            why = "it is muted" if facts.state is SoundState.MUTED else "though something plays"
            message = f"{label} has been silent for {SILENT_S:.0f} s: {why}"
            yield _dead(at_ns, label, "silent", message)

        has_come = facts.received_blocks != self._received or facts.state is SoundState.LOST
        self._received = facts.received_blocks
        self._missing_s = 0.0 if has_come or facts.is_idle_silent else self._missing_s + awake_s
        if self._has_begun("no-data", is_so=self._missing_s >= NO_DATA_S):
            message = f"{label} has delivered nothing for {NO_DATA_S:.0f} s"
            yield _dead(at_ns, label, "no-data", message)

        # Not dead: loud music clips by design, and only the person knows.
        if self._has_begun("clipped", is_so=facts.loudness.clipped_s >= CLIPPED_S):
            message = f"{label} is clipped: it is louder than the file can hold"
            yield Event(EventKind.WARNING, message, at_ns, label, {"what": "clipped"})

    def _has_begun(self, what: str, *, is_so: bool) -> bool:
        """Whether a condition has just begun to hold."""
        if not is_so:
            self._told.discard(what)
            return False
        is_new = what not in self._told
        self._told.add(what)
        return is_new


class GridWatch:
    """Decides how much coarser the grid of pictures has to be. Used from one thread.

    Args:
        fps: Pictures per second that were asked for.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self.divisor = 1
        """1, 2, 4: only every so many slots of the grid are used."""
        self._counts: deque[tuple[int, PictureCounts]] = deque()

    def step(self, at_ns: int, counts: PictureCounts) -> Event | None:
        """Check the last seconds; gives an event when ``divisor`` has changed."""
        if self._counts and at_ns - self._counts[-1][0] >= ASLEEP_S * NS_PER_S:
            self._counts.clear()
        if not self._counts:
            # What was missed in sleep is counted by another thread about now: begin after it.
            self._counts.append((at_ns + round(ASLEEP_S * NS_PER_S / 2), counts))
            return None
        if at_ns < self._counts[0][0]:
            self._counts[0] = (self._counts[0][0], counts)
            return None
        self._counts.append((at_ns, counts))
        while at_ns - self._counts[1][0] >= RELIEF_WINDOW_S * NS_PER_S:
            self._counts.popleft()
        if self._fps / self.divisor / 2 >= LOWEST_FPS and (
            self._share(at_ns, OVERLOAD_WINDOW_S) > OVERLOAD_SHARE
        ):
            return self._use(self.divisor * 2, at_ns, "this machine is too busy")
        if self.divisor > 1 and 0 <= self._share(at_ns, RELIEF_WINDOW_S) < RELIEF_SHARE:
            return self._use(self.divisor // 2, at_ns, "there is time again")
        return None

    def _share(self, at_ns: int, window_s: float) -> float:
        """Share of dropped pictures in the last seconds; -1 before there are any."""
        since_ns = at_ns - round(window_s * NS_PER_S)
        if self._counts[0][0] > since_ns:
            return -1.0
        before = next(counts for when, counts in reversed(self._counts) if when <= since_ns)
        now = self._counts[-1][1]
        dropped = now.dropped - before.dropped
        return dropped / max(1, dropped + now.kept - before.kept)

    def _use(self, divisor: int, at_ns: int, why: str) -> Event:
        self.divisor = divisor
        self._counts.clear()
        fps = self._fps / divisor
        message = f"{why}: {fps:g} pictures a second from now on"
        return Event(EventKind.OVERLOAD, message, at_ns, PICTURE, {"fps": fps})


def _dead(at_ns: int, track: str, what: str, message: str) -> Event:
    return Event(EventKind.DEAD_SIGNAL, message, at_ns, track, {"what": what})

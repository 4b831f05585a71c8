"""Gathers what rules are held against: which windows are open, who plays, when sound was heard."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from capture import sources
from capture.clock import now_ns
from capture.errors import CaptureError
from capture.levels import gain_of
from capture.model import NS_PER_S
from capture.rules import Facts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from capture.model import AudioBlock, Rule

__all__ = ["Ear", "Lookout"]

SOUND_DBFS = -50.0
"""RMS of 20 ms: above the noise of a microphone in a quiet room, below the quietest speech."""
WINDOW_S = 0.02
EPISODE_GAP_S = 0.5
"""A shorter pause lies within speech; what sounds after a longer one is a new beginning."""
ASK_EVERY_NS = NS_PER_S // 2
"""Windows and applications are asked for this often: 3 ms of work each time."""


class Ear:
    """Hears in the blocks of all sources when there is sound; any thread may call its methods.

    Args:
        rate_hz: Of all sources.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._limit = gain_of(SOUND_DBFS)
        self._lock = threading.Lock()
        self.onset_ns: int | None = None
        """Where the present sound, or the last one, began; ``None``: there was none."""
        self.heard_ns: int | None = None
        """Where it has got to, or ended."""

    def take(self, block: AudioBlock) -> None:
        """Listen to a block."""
        peak = max(float(block.samples.max()), -float(block.samples.min()))
        if peak < self._limit:
            return  # the RMS is never above the peak
        frames = round(WINDOW_S * self._rate_hz)
        starts = np.arange(0, len(block.samples), frames)
        power = np.add.reduceat(np.square(block.samples).mean(axis=1), starts)
        power /= np.diff(np.append(starts, len(block.samples)))
        loud = starts[power >= self._limit**2]
        if len(loud):
            with self._lock:
                self._hear(block, int(loud[0]), int(loud[-1]) + frames)

    def _hear(self, block: AudioBlock, first_frame: int, last_frame: int) -> None:
        def moment(frame: int) -> int:
            return block.captured_ns + frame * NS_PER_S // self._rate_hz

        gap_ns = EPISODE_GAP_S * NS_PER_S
        if self.heard_ns is None or moment(first_frame) - self.heard_ns > gap_ns:
            self.onset_ns = moment(first_frame)
        end_ns = moment(min(last_frame, len(block.samples)))
        self.heard_ns = max(self.heard_ns or end_ns, end_ns)


class Lookout:
    """Facts for some rules; asks only for what they need. Used from one thread.

    Args:
        rules: What they will be held against.
        ear: Hears the sources; ``None`` where none is open.
    """

    def __init__(self, rules: Iterable[Rule], ear: Ear | None) -> None:
        kinds = {rule.kind for rule in rules}
        self._asks_windows = bool(kinds & {"window", "window-closed"})
        self._asks_apps = bool(kinds & {"app", "app-ended"})
        self._ear = ear
        self._asked_ns: int | None = None
        self._windows: tuple[str, ...] | None = ()
        self._apps: tuple[str, ...] | None = ()

    def look(self) -> Facts:
        """What is so now; windows and applications as they were half a second ago at most."""
        at_ns = now_ns()
        if self._asked_ns is None or at_ns - self._asked_ns >= ASK_EVERY_NS:
            self._asked_ns = at_ns
            if self._asks_windows:
                self._windows = _titles()
            if self._asks_apps:
                self._apps = _players()
        heard_ns = self._ear.heard_ns if self._ear is not None else None
        return Facts(at_ns, heard_ns, self._windows, self._apps)


def _titles() -> tuple[str, ...] | None:
    try:
        return tuple(window.title for window in sources.list_windows())
    except CaptureError:
        return None


def _players() -> tuple[str, ...] | None:
    """Names and programs of what plays."""
    try:
        apps = sources.list_audio_apps()
    except CaptureError:
        return None
    return tuple(name for app in apps for name in (app.name, app.binary) if name)

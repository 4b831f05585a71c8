"""How loud sound is: RMS and peak in dBFS, clipping, quiet stretches.

Owns all arithmetic about loudness. Fast enough for every block of every track: about 10 us for
20 ms of stereo.
"""

import math
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture.model.signal import Level

CLIP_LEVEL = 0.9999  # 16-bit full scale is 0.99997; one such sample is a peak, a run is a clip
CLIP_RUN_FRAMES = 3
EDGE_S = 0.02
"""Distance from a quiet stretch within which its edge is searched: a lossy codec smears a cut."""


@dataclass(slots=True)
class Loudness:
    """Loudness of a recording so far. One thread adds; any thread may read.

    Args:
        rate_hz: Frames per second of what is added.
    """

    rate_hz: int
    peak_dbfs: float = -math.inf
    silent_s: float = 0.0
    """For how long every sample has been exactly zero, up to now; in whole blocks."""
    clipped_s: float = 0.0
    """Length of all blocks that clip."""

    def accumulate(self, samples: NDArray[np.float32]) -> None:
        """Add a block, shape (frames, channels), -1..1."""
        if samples.size == 0:
            return
        peak = max(float(samples.max()), -float(samples.min()))
        length_s = len(samples) / self.rate_hz
        self.silent_s = self.silent_s + length_s if peak == 0 else 0.0
        self.peak_dbfs = max(self.peak_dbfs, dbfs_of(peak))
        if peak >= CLIP_LEVEL and _has_clip(samples):
            self.clipped_s += length_s


def dbfs_of(amplitude: float) -> float:
    """Decibels below full scale of an amplitude; -inf for 0."""
    return 20.0 * math.log10(amplitude) if amplitude > 0.0 else -math.inf


def gain_of(decibels: float) -> float:
    """The factor that changes sound by this many decibels; 0 for -inf."""
    return float(10.0 ** (decibels / 20.0))


class LevelMeter:
    """Collects the loudness of all blocks between two looks. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._energy = 0.0
        self._count = 0
        self._peak = 0.0
        self._highest = 0.0
        self._is_clipped = False
        self._last = Level(-math.inf, -math.inf)

    def accumulate(self, samples: NDArray[np.float32]) -> None:
        """Add a block, shape (frames, channels), -1..1; an empty one ends the previous."""
        if samples.size == 0:
            with self._lock:
                self._last = Level(-math.inf, -math.inf)
            return
        flat = samples.reshape(-1)
        energy = float(np.dot(flat, flat))
        peak = max(float(flat.max()), -float(flat.min()))
        is_clipped = peak >= CLIP_LEVEL and _has_clip(samples)
        with self._lock:
            self._energy += energy
            self._count += samples.size
            self._peak = max(self._peak, peak)
            self._highest = max(self._highest, peak)
            self._is_clipped |= is_clipped

    @property
    def highest_dbfs(self) -> float:
        """Peak in dBFS of all blocks so far; -inf before the first."""
        return dbfs_of(self._highest)

    def take(self) -> Level:
        """Loudness since the last call; without new blocks, the value of the last call.

        Sound comes in batches, and meters look more often. -inf before the first block.
        """
        with self._lock:
            if not self._count:
                return self._last
            energy, count, peak = self._energy, self._count, self._peak
            is_clipped = self._is_clipped
            self._energy, self._count, self._peak, self._is_clipped = 0.0, 0, 0.0, False
            self._last = Level(dbfs_of(math.sqrt(energy / count)), dbfs_of(peak), is_clipped)
            return self._last


@dataclass(frozen=True, slots=True)
class QuietStretch:
    """A stretch of a track, in seconds, in which every sample is below a level."""

    start_s: float
    end_s: float
    edge: float
    """Highest amplitude within ``EDGE_S`` of it, on its softer side: much, where sound was cut off
    suddenly; 0 at the beginning and the end of the track."""

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


class QuietFinder:
    """Finds where a track stays below a level, block by block; used from one thread.

    Args:
        rate_hz: Sample rate.
        below_dbfs: No sample of a quiet stretch reaches it.
        min_s: Shorter stretches are none: every wave goes through zero.
    """

    def __init__(self, rate_hz: int, below_dbfs: float, min_s: float) -> None:
        self._rate_hz = rate_hz
        self._level = gain_of(below_dbfs)
        self._min_frames = round(min_s * rate_hz)
        self._edge_frames = round(EDGE_S * rate_hz)
        self._loud_frame = -1
        self._edge = 0.0
        # What an edge may still need: the last frames looked at, and after them those to come.
        self._held = np.zeros(0, np.float32)
        self._held_frame = 0
        self._next_frame = 0

    def push(self, samples: NDArray[np.float32]) -> list[QuietStretch]:
        """Take samples, (frames, channels); give the quiet stretches that ended."""
        peaks = np.abs(samples[:, 0])
        for channel in samples.T[1:]:  # several times as fast as a maximum along short rows
            np.maximum(peaks, np.abs(channel), out=peaks)
        self._held = np.concatenate((self._held, peaks))
        return self._look(self._held_frame + len(self._held) - self._edge_frames)

    def skip(self, frames: int) -> list[QuietStretch]:
        """Count frames that are missing, as if they were silent."""
        found = self._look(self._held_frame + len(self._held))
        self._next_frame += frames
        self._held_frame, self._held = self._next_frame, self._held[:0]
        return found

    def finish(self) -> list[QuietStretch]:
        """End the track; give the quiet stretches that were still open."""
        found = self._look(self._held_frame + len(self._held))
        start, self._loud_frame = self._loud_frame, self._next_frame
        if self._next_frame - start > self._min_frames:
            found.append(self._stretch(start, self._next_frame, 0.0))
        return found

    def _look(self, end_frame: int) -> list[QuietStretch]:
        """Examine the held samples up to a frame."""
        if end_frame <= self._next_frame:
            return []
        seen = self._held[self._next_frame - self._held_frame : end_frame - self._held_frame]
        loud = np.flatnonzero(seen >= self._level) + self._next_frame
        frames = np.concatenate(([self._loud_frame], loud))
        found = []
        for index in np.flatnonzero(np.diff(frames) > self._min_frames):
            before, after = int(frames[index]), int(frames[index + 1])
            edge = self._edge if index == 0 else self._peak(before - self._edge_frames, before)
            found.append(
                self._stretch(
                    before, after, min(edge, self._peak(after, after + self._edge_frames))
                )
            )
        if len(loud):
            self._loud_frame = int(loud[-1])
            self._edge = self._peak(self._loud_frame - self._edge_frames, self._loud_frame)
        self._next_frame = end_frame
        drop = max(0, end_frame - self._edge_frames - self._held_frame)
        self._held, self._held_frame = self._held[drop:], self._held_frame + drop
        return found

    def _peak(self, first_frame: int, last_frame: int) -> float:
        """Highest held sample between two frames, both included."""
        first = max(0, first_frame - self._held_frame)
        return float(self._held[first : last_frame + 1 - self._held_frame].max(initial=0.0))

    def _stretch(self, loud_frame: int, end_frame: int, edge: float) -> QuietStretch:
        return QuietStretch((loud_frame + 1) / self._rate_hz, end_frame / self._rate_hz, edge)


def _has_clip(samples: NDArray[np.float32]) -> bool:
    """Whether a channel stays at full scale for ``CLIP_RUN_FRAMES``; the way up and down alike."""
    hot = np.abs(samples.reshape(len(samples), -1)) >= CLIP_LEVEL
    frames = len(hot) - CLIP_RUN_FRAMES + 1
    if frames <= 0:
        return False
    run = hot[:frames].copy()
    for shift in range(1, CLIP_RUN_FRAMES):
        run &= hot[shift : shift + frames]
    return bool(run.any())

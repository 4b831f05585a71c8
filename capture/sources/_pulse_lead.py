"""The lead: the beginning of a stream from before its capture, found in its output's mix.

Owns a short memory of an output's mix, and the proof that what it holds is one stream's sound.
A stream of an application is captured some milliseconds after it began, when what the server had
rendered by then is gone; the monitor of the output has it, together with all else that played. If
the captured beginning is the mix of the same moment, times a gain for the output's volume, then
the mix a moment before is that stream too, as long as nothing else played: that part is for
the caller to know. Pure: no threads, no clock.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture.model.signal import AudioBlock
from capture.units import NS_PER_S

MEMORY_S = 1.5
"""Covers the longest lead, and the time until enough is captured to compare."""
SEARCH_S = 0.06
"""Stamps of both streams agree to a sample on PulseAudio, to some cycles of 10 ms on PipeWire."""
COMPARED_S = 0.02
"""At least so much captured sound is compared with the mix."""
MAX_RESIDUAL = 1e-3
"""-30 dB, of energy: what is not explained may be quantisation, never another's sound."""
TIE_RESIDUAL = 1e-12
"""Fits that differ by less are equally good (float32), as those of a tone at every period."""
TIE_FACTOR = 4.0
MAX_GAIN = 100.0
"""An output below -40 dB has too few bits left to win the sound back from."""
UNITY = 1e-4
"""A gain nearer to one than this is one: the output is at 100 %."""
SILENT = 1e-9
"""-90 dB, of energy: less is what the transform leaves of silence."""
SHORTEST_S = 0.001
"""A shorter lead is none: a rising sound fits as well a frame or two beside its place."""
FADE_S = 0.002
"""Where lead and capture are not the same bit for bit, one is faded into the other."""


class MixMemory:
    """The last 1.5 s of one output's mix, without holes.

    Args:
        rate_hz: Of its blocks.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._blocks: deque[AudioBlock] = deque()
        self._frames = 0

    def push(self, block: AudioBlock) -> None:
        """Add the next block; after a hole the memory begins anew."""
        if self._blocks:
            last = self._blocks[-1]
            if block.position_frames != last.position_frames + len(last.samples):
                self._blocks.clear()
                self._frames = 0
        self._blocks.append(block)
        self._frames += len(block.samples)
        while self._frames - len(self._blocks[0].samples) > MEMORY_S * self.rate_hz:
            self._frames -= len(self._blocks.popleft().samples)

    @property
    def end_ns(self) -> int:
        """Capture clock of the last frame; 0 while there is none."""
        if not self._blocks:
            return 0
        last = self._blocks[-1]
        return last.captured_ns + len(last.samples) * NS_PER_S // self.rate_hz

    def samples(self) -> NDArray[np.float32]:
        """All samples, shape (frames, channels); needs at least one block."""
        return np.concatenate([block.samples for block in self._blocks])


@dataclass(frozen=True, slots=True)
class _Fit:
    """A position and gains at which the mix equals the captured beginning."""

    at: int
    gain: NDArray[np.float64]
    """One factor for each channel."""


def comparable(mix: MixMemory, head: NDArray[np.float32], head_ns: int) -> int | None:
    """Frames of a head that the mix covers wherever it may lie; ``None``: too few to decide.

    Too few are less than 20 ms, or less than that of sound, if there is any.
    """
    margin_ns = round(SEARCH_S * NS_PER_S)
    frames = (mix.end_ns - margin_ns - head_ns) * mix.rate_hz // NS_PER_S
    usable = min(len(head), frames)
    enough = round(COMPARED_S * mix.rate_hz)
    if usable < enough:
        return None
    sounding = int(np.count_nonzero(head[:usable].any(axis=1)))
    return usable if sounding >= enough or not sounding else None


def join(
    mix: MixMemory,
    head: NDArray[np.float32],
    head_ns: int,
    since_ns: int,
    silent_gain: float | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """The sound before a captured beginning, and the beginning as it continues it.

    Args:
        mix: Of the output that the stream plays to.
        head: The captured beginning, shape (frames, channels).
        head_ns: Stamp of its first frame.
        since_ns: The mix before this is not looked at: another may have played.
        silent_gain: Of the mix, where the beginning is silent in both and gives no gain.

    Returns:
        The lead, shape (frames, channels), from its first sound on, and the head, changed in its
        first 2 ms at most, where both are not the same bit for bit; ``None`` where the mix is not
        this stream.
    """
    usable = comparable(mix, head, head_ns)
    if usable is None:
        return None
    whole = mix.samples()
    expected = len(whole) - round((mix.end_ns - head_ns) * mix.rate_hz / NS_PER_S)
    fit = _fit(whole, head[:usable], expected, round(SEARCH_S * mix.rate_hz), silent_gain)
    if fit is None:
        return None
    begin = fit.at - round((head_ns - since_ns) * mix.rate_hz / NS_PER_S)
    lead = whole[max(begin, 0) : fit.at]
    (sounding,) = np.nonzero(lead.any(axis=1))
    lead = lead[sounding[0] :] if len(sounding) else lead[:0]
    if len(lead) < SHORTEST_S * mix.rate_hz:
        return lead[:0], head
    same = whole[fit.at : fit.at + usable] * fit.gain.astype(np.float32)
    if len(lead) and not np.array_equal(same, head[:usable]):
        fade = round(FADE_S * mix.rate_hz)
        ramp = np.linspace(0.0, 1.0, fade, endpoint=False, dtype=np.float32)[:, None]
        head = head.copy()
        head[:fade] = same[:fade] * (1 - ramp) + head[:fade] * ramp
    return np.asarray(lead * fit.gain.astype(np.float32)), head


def _fit(
    whole: NDArray[np.float32],
    head: NDArray[np.float32],
    expected: int,
    search: int,
    silent_gain: float | None,
) -> _Fit | None:
    """The position of the head in the mix by least squares; the nearest of equal ones."""
    low = max(expected - search, 0)
    high = min(expected + search, len(whole) - len(head))
    if high < low:
        return None
    part = whole[low : high + len(head)].astype(np.float64)
    wanted = head.astype(np.float64)
    sums = np.concatenate((np.zeros((1, head.shape[1])), np.cumsum(part**2, axis=0)))
    energies = np.maximum(sums[len(head) :] - sums[: -len(head)], 0.0)
    if not wanted.any():
        silent = np.flatnonzero(~energies.any(axis=1)) + low
        if silent_gain is None or not len(silent):
            return None
        at = int(silent[np.argmin(np.abs(silent - expected))])
        return _Fit(at, np.full(head.shape[1], silent_gain))
    products = _correlate(part, wanted)
    # Where the mix is silent it explains nothing, and a division would pretend that it does.
    is_heard = energies > SILENT * energies.max()
    explained = np.where(is_heard, products**2 / np.where(is_heard, energies, 1.0), 0.0)
    residuals = 1.0 - explained.sum(axis=1) / (wanted**2).sum()
    ties = residuals <= max(residuals.min(), 0.0) * TIE_FACTOR + TIE_RESIDUAL
    places = np.flatnonzero(ties) + low
    at = int(places[np.argmin(np.abs(places - expected))])
    here = whole[at : at + len(head)].astype(np.float64)
    energy = (here**2).sum(axis=0)
    gain = (here * wanted).sum(axis=0) / np.maximum(energy, np.finfo(np.float64).tiny)
    gain = np.where(energy > 0, gain, gain.max())  # a silent channel gives none
    residual = ((wanted - here * gain) ** 2).sum() / (wanted**2).sum()
    if residual > MAX_RESIDUAL or gain.max() > MAX_GAIN or gain.min() <= 0:
        return None
    return _Fit(at, np.where(np.abs(gain - 1.0) < UNITY, 1.0, gain))


def _correlate(part: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of products for every position of ``wanted`` in ``part``, for each channel."""
    size = 1 << (len(part) - 1).bit_length()
    spectrum = np.fft.rfft(part, size, axis=0) * np.conj(np.fft.rfft(wanted, size, axis=0))
    places = len(part) - len(wanted) + 1
    return np.asarray(np.fft.irfft(spectrum, size, axis=0)[:places])

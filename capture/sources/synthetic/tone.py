"""The test tone: sound whose seconds carry their number, and the reader of those numbers."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capture.clock import now_ns
from capture.model.events import Event, EventKind
from capture.model.signal import AudioBlock, SoundState
from capture.sources.base import AudioSource
from capture.sources.synthetic import EPOCH_NS
from capture.units import NS_PER_S

TONE_HZ, TONE_AMPLITUDE = 1000.0, 0.1  # -20 dBFS
# A second begins with a chirp, wide enough to be found to the sample, then has its number in bits
# of 10 ms, long enough to survive AAC's windows of 21 ms.
CHIRP_S, CHIRP_LOW_HZ, CHIRP_HIGH_HZ, CHIRP_AMPLITUDE = 0.020, 2000.0, 8000.0, 0.4
BIT_S, BIT_HZ, BIT_AMPLITUDE = 0.010, (3000.0, 4500.0), 0.25
NUMBER_BITS, SUM_BITS = 16, 4  # 18 hours
SUM_SEED = 0xA
BEEP_S = CHIRP_S + BIT_S * (NUMBER_BITS + SUM_BITS)
BLOCK_S = 0.020
MIN_LIKENESS = 0.35  # normalised correlation with the chirp; the tone alone reaches 0.1
FAINTEST_BIT = 0.3  # of the loudest in its beep; below, a part of it was lost
SEARCH_FRAMES = 1 << 20  # 22 s at a time, so that a recording of hours fits into memory


class Beep(NamedTuple):
    """A numbered second that was found in a recording."""

    frame: int
    """Position of its first sample."""
    number: int
    """Number of the second, modulo 65536."""


@dataclass(frozen=True, slots=True)
class ToneFaults:
    """What is wrong with a synthetic device; times in seconds after ``start()``."""

    clock_error_ppm: float = 0.0
    """Positive: its clock is fast, it delivers more frames than it should."""
    jitter_s: float = 0.0
    """Mean lateness of its stamps, exponentially distributed."""
    lost_blocks: frozenset[int] = frozenset()
    """Blocks that are not delivered; the position jumps over them."""
    silent_s: tuple[tuple[float, float], ...] = ()
    """(from, to): no data at all, as when nothing plays."""
    lost_s: float = math.inf
    """When the device goes away, with an event."""
    back_s: float = math.inf
    """When the device is back."""
    end_s: float = math.inf
    """When the stream ends for good, with an event."""


class SyntheticTone(AudioSource):
    """A 1 kHz tone with a numbered beep at every second since the epoch, in real time.

    Args:
        rate_hz: Frames per second.
        channels: All carry the same.
        epoch_ns: Capture clock of second 0.
        faults: What the device does wrong.
        seed: Of the jitter.
    """

    def __init__(
        self,
        *,
        rate_hz: int = 48_000,
        channels: int = 2,
        epoch_ns: int = EPOCH_NS,
        faults: ToneFaults | None = None,
        seed: int = 0,
    ) -> None:
        self.label = "test tone"
        self.rate_hz = rate_hz
        self.channels = channels
        self.is_idle_silent = bool(faults and faults.silent_s)
        self.notes = []
        self._epoch_ns = epoch_ns
        self._faults = faults or ToneFaults()
        self._random = np.random.default_rng(seed)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_lost = False

    @property
    def sound_state(self) -> SoundState:
        """``PLAYING``, or ``LOST`` while the fault lasts; see ``AudioSource``."""
        return SoundState.LOST if self._is_lost else SoundState.PLAYING

    def start(self, put: Callable[[AudioBlock], None], on_event: Callable[[Event], None]) -> None:
        """Begin to deliver; see ``AudioSource``."""
        # On a whole frame since the epoch: without a clock error, second n is frame n * rate.
        first = (now_ns() - self._epoch_ns) * self.rate_hz // NS_PER_S
        self._thread = threading.Thread(
            target=self._run, args=(first, put, on_event), name="capture-audio-read", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop delivering; see ``AudioSource``."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(
        self, first: int, put: Callable[[AudioBlock], None], on_event: Callable[[Event], None]
    ) -> None:
        faults = self._faults
        frames = round(BLOCK_S * self.rate_hz)
        block_s = frames / self.rate_hz / (1 + faults.clock_error_ppm * 1e-6)
        start_ns = self._epoch_ns + math.ceil(first * NS_PER_S / self.rate_hz)
        index = 0
        while True:
            at_s = index * block_s
            heard_ns = start_ns + round(at_s * NS_PER_S)
            if self._stop.wait(max(heard_ns + round(block_s * NS_PER_S) - now_ns(), 0) / NS_PER_S):
                return
            if at_s >= faults.end_s:
                on_event(Event(EventKind.STREAM_ENDED, "test tone ended", now_ns(), self.label))
                return
            is_lost = faults.lost_s <= at_s < faults.back_s
            if is_lost != self._is_lost:
                self._is_lost = is_lost
                kind = EventKind.DEVICE_LOST if is_lost else EventKind.DEVICE_BACK
                on_event(Event(kind, f"test tone: {kind}", now_ns(), self.label))
            is_silent = any(start <= at_s < end for start, end in faults.silent_s)
            if not (is_lost or is_silent or index in faults.lost_blocks):
                put(self._block(first, index, frames, heard_ns))
            index += 1

    def _block(self, first: int, index: int, frames: int, heard_ns: int) -> AudioBlock:
        position = index * frames
        # A fast device reads the same sound at closer moments.
        pace = 1 / (1 + self._faults.clock_error_ppm * 1e-6)
        tone = tone_at((first + (position + np.arange(frames)) * pace) / self.rate_hz)
        late_ns = 0
        if self._faults.jitter_s:
            late_ns = round(self._random.exponential(self._faults.jitter_s) * NS_PER_S)
        return AudioBlock(
            samples=np.repeat(tone[:, None], self.channels, axis=1),
            captured_ns=heard_ns + late_ns,
            position_frames=position,
        )


def tone_at(seconds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The test tone at these moments since the epoch, -1..1, same shape."""
    number = np.floor(seconds + 1e-9)  # frame n * rate begins second n, whatever the rounding
    within = np.maximum(seconds - number, 0.0)
    tone = TONE_AMPLITUDE * np.sin(2 * np.pi * TONE_HZ * within)
    (chirping,) = np.nonzero(within < CHIRP_S)
    tone[chirping] += CHIRP_AMPLITUDE * _chirp(within[chirping])
    (speaking,) = np.nonzero((within >= CHIRP_S) & (within < BEEP_S))
    if len(speaking):
        moment = within[speaking] - CHIRP_S
        bit = np.minimum(moment // BIT_S, NUMBER_BITS + SUM_BITS - 1).astype(np.int64)
        numbers, which = np.unique(number[speaking], return_inverse=True)
        words = np.array([_word(int(each)) for each in numbers])[which]
        is_set = words >> (NUMBER_BITS + SUM_BITS - 1 - bit) & 1
        pitch = np.where(is_set, BIT_HZ[1], BIT_HZ[0])
        shape = np.sin(np.pi * np.clip(moment / BIT_S - bit, 0, 1)) ** 2
        tone[speaking] += BIT_AMPLITUDE * shape * np.sin(2 * np.pi * pitch * moment)
    return tone.astype(np.float32)


def read_tone(samples: NDArray[np.float32], rate_hz: int) -> list[Beep]:
    """All numbered seconds in a recording of the test tone, in order of their place.

    Args:
        samples: Shape (frames, channels) or (frames,); the channels are averaged.
        rate_hz: At least 22050.

    Returns:
        To the sample where the sound is lossless, to about 1 ms after AAC or Opus; a beep whose
        number fails its checksum is left out.
    """
    mono = samples.mean(axis=1) if samples.ndim > 1 else samples
    beep = math.ceil(BEEP_S * rate_hz)
    beeps: list[Beep] = []
    for start in range(0, len(mono), SEARCH_FRAMES):
        part = mono[start : start + SEARCH_FRAMES + beep]
        for frame in _chirps_in(part, rate_hz):
            number = _read_number(part[frame : frame + beep], rate_hz)
            if number is not None and not (beeps and start + frame - beeps[-1].frame < beep):
                beeps.append(Beep(start + frame, number))
    return beeps


def _chirp(within: NDArray[np.float64]) -> NDArray[np.float64]:
    """A linear sweep with a raised-cosine envelope."""
    sweep = (CHIRP_HIGH_HZ - CHIRP_LOW_HZ) / CHIRP_S
    phase = 2 * np.pi * (CHIRP_LOW_HZ + sweep * within / 2) * within
    wave: NDArray[np.float64] = np.sin(np.pi * within / CHIRP_S) ** 2 * np.sin(phase)
    return wave


def _word(number: int) -> int:
    """Number and checksum as bits."""
    number %= 1 << NUMBER_BITS
    check = SUM_SEED
    for shift in range(0, NUMBER_BITS, SUM_BITS):
        check = ((check << 1 | check >> 3) & 0xF) ^ (number >> shift & 0xF)
    return number << SUM_BITS | check


def _chirps_in(mono: NDArray[np.float32], rate_hz: int) -> list[int]:
    """Frames at which the sound looks like the chirp, one per chirp."""
    chirp = _chirp(np.arange(round(CHIRP_S * rate_hz)) / rate_hz)
    if len(mono) < len(chirp):
        return []
    chirp -= chirp.mean()
    chirp /= np.sqrt(np.sum(chirp**2))
    size = 1 << (len(mono) + len(chirp) - 1).bit_length()
    spectrum = np.fft.rfft(mono, size) * np.conj(np.fft.rfft(chirp, size))
    match = np.fft.irfft(spectrum, size)[: len(mono) - len(chirp) + 1]
    energy = np.concatenate(([0.0], np.cumsum(np.square(mono, dtype=np.float64))))
    local = energy[len(chirp) :] - energy[: -len(chirp)]
    likeness = match / np.sqrt(np.maximum(local, 1e-6))
    (places,) = np.nonzero(likeness > MIN_LIKENESS)
    groups = np.split(places, np.nonzero(np.diff(places) > len(chirp))[0] + 1)
    return [int(group[np.argmax(match[group])]) for group in groups if len(group)]


def _read_number(beep: NDArray[np.float32], rate_hz: int) -> int | None:
    """The number in a beep; ``None`` if it is cut off or damaged."""
    frames = round(BIT_S * rate_hz)
    starts = np.round((CHIRP_S + np.arange(NUMBER_BITS + SUM_BITS) * BIT_S) * rate_hz)
    places = starts.astype(np.intp)[:, None] + np.arange(frames)
    if places[-1, -1] >= len(beep):
        return None
    turns = np.exp(-2j * np.pi / rate_hz * np.outer(np.arange(frames), BIT_HZ))
    power = np.abs((beep[places] * np.hanning(frames)) @ turns)
    strongest = power.max(axis=1)
    if strongest.min() < FAINTEST_BIT * strongest.max():
        return None
    word = 0
    for low, high in power:
        word = word << 1 | int(high > low)
    number = word >> SUM_BITS
    return number if word == _word(number) else None

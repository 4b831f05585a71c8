"""Loudness after EBU R128: measured with FFmpeg, and changed by a gain and a limiter.

FFmpeg's ``ebur128`` measures; one gain brings a file to its loudness, so that its dynamics stay as
they are. Only where the true peak would then pass the ceiling, FFmpeg's ``alimiter``, at four times
the rate so that it sees peaks between samples (ITU-R BS.1770-4, annex 2), takes the peaks down.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from capture.media.read.convert import SoundForm, filters_in_a_row, frame_of

PROMISED_DBTP = -1.0
"""No file's true peak is higher."""
CEILING_DBTP = -1.2
"""The meter's own error at four times the rate is 0.2 dB at most."""
LOSSY_CEILING_DBTP = -2.0
"""A lossy encoder gives peaks back up to about 1 dB higher."""
MOST_LIMITED_DB = 12.0
"""Peaks that follow each other closely are taken down no farther: those of speech rise about 12 dB
above its mean, so that a limiter that takes more works on the words themselves."""
MOST_LOST_LU = 6.0
"""Peaks are that close where taking them down makes all of it softer by more than this: a limiter
that is at work half of the time takes half of the 12 dB."""
CLOSE_LU = 0.2
SILENT_LUFS = -69.0
"""FFmpeg gives -70 where no sound passes the gate of the measurement."""
_OVERSAMPLED = 4


@dataclass(frozen=True, slots=True)
class Loudness:
    """Loudness, range and true peak of EBU R128; ``None``: too soft or too short to measure."""

    integrated_lufs: float | None
    range_lu: float | None
    true_peak_dbtp: float | None

    def louder(self, gain_db: float) -> "Loudness":
        """The loudness after a gain in dB, if no limiter changes the sound."""
        integrated, peak = self.integrated_lufs, self.true_peak_dbtp
        return Loudness(
            None if integrated is None else integrated + gain_db,
            self.range_lu,
            None if peak is None else peak + gain_db,
        )


@dataclass(frozen=True, slots=True)
class Gain:
    """A gain, and the ceiling of the limiter after it."""

    gain_db: float = 0.0
    ceiling_dbtp: float | None = None
    """``None``: the gain leaves all peaks below the ceiling anyway."""


class _Chain:
    """A chain of FFmpeg filters; float32 of shape (frames, channels) goes in."""

    def __init__(self, form: SoundForm, *filters: tuple[str, dict[str, str]]) -> None:
        self._form = form
        self._pushed = 0
        self._graph = filters_in_a_row(form, *filters)

    def push(self, samples: NDArray[np.float32] | None) -> Iterator[Any]:
        """Give the frames that come out; ``None`` as input ends the stream."""
        if samples is None:
            self._graph.push(None)
        elif len(samples):
            frame = frame_of(samples, self._form)
            frame.time_base = Fraction(1, self._form.rate_hz)
            frame.pts = self._pushed
            self._pushed += len(samples)
            self._graph.push(frame)
        with contextlib.suppress(av.BlockingIOError, av.EOFError):
            while True:
                yield self._graph.pull()


class LoudnessMeter:
    """Measures loudness after EBU R128, with true peaks.

    Args:
        rate_hz: Of the sound.
        layout: Of its channels: those behind the listener count for more (ITU-R BS.1770-4).
    """

    def __init__(self, rate_hz: int, layout: str) -> None:
        options = {"peak": "true", "framelog": "quiet", "metadata": "1"}
        self._chain = _Chain(SoundForm("flt", layout, rate_hz), ("ebur128", options))
        self._facts: dict[str, str] = {}

    def push(self, samples: NDArray[np.float32]) -> None:
        """Add sound, float32 of shape (frames, channels)."""
        for frame in self._chain.push(samples):
            self._facts = frame.metadata

    def finish(self) -> Loudness:
        """End the sound and give its loudness; nothing can be pushed afterwards."""
        for frame in self._chain.push(None):
            self._facts = frame.metadata or self._facts
        integrated = self._fact("I")
        peak = self._fact("true_peak")
        is_heard = integrated is not None and integrated > SILENT_LUFS
        return Loudness(
            integrated_lufs=integrated if is_heard else None,
            range_lu=self._fact("LRA") if is_heard else None,
            true_peak_dbtp=20 * math.log10(peak) if peak else None,
        )

    def _fact(self, name: str) -> float | None:
        text = self._facts.get(f"lavfi.r128.{name}")
        value = None if text is None else float(text)
        return value if value is not None and math.isfinite(value) else None


class Leveller:
    """Applies a ``Gain``; the number of samples stays the same."""

    def __init__(self, gain: Gain, rate_hz: int, layout: str) -> None:
        self._factor = np.float32(10 ** (gain.gain_db / 20))
        self._form = SoundForm("flt", layout, rate_hz)
        self._channels = self._form.channels
        self._chain: _Chain | None = None
        self._owed = 0
        if gain.ceiling_dbtp is not None:
            limit = {"limit": f"{10 ** (gain.ceiling_dbtp / 20):.6f}", "level": "0"}
            self._chain = _Chain(
                self._form,
                ("aresample", {"sample_rate": str(rate_hz * _OVERSAMPLED)}),
                ("alimiter", limit | {"attack": "5", "release": "50", "latency": "1"}),
                ("aresample", {"sample_rate": str(rate_hz)}),
                ("aformat", {"sample_fmts": "flt"}),
            )

    def push(self, samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Take samples, (frames, channels); give the changed ones that are ready."""
        louder = samples * self._factor
        if self._chain is None:
            yield louder
            return
        self._owed += len(samples)
        yield from self._given(self._chain.push(louder))

    def finish(self) -> Iterator[NDArray[np.float32]]:
        """Give the remaining samples; nothing can be pushed afterwards."""
        if self._chain is None:
            return
        yield from self._given(self._chain.push(None))
        if self._owed:
            yield np.zeros((self._owed, self._channels), np.float32)

    def _given(self, frames: Iterator[Any]) -> Iterator[NDArray[np.float32]]:
        for frame in frames:
            samples = frame.to_ndarray().reshape(-1, self._channels)[: self._owed]
            self._owed -= len(samples)
            yield samples


def next_gain(
    wanted_lufs: float, plain: Loudness, ceiling_dbtp: float, tried: tuple[Gain, Loudness] | None
) -> Gain | None:
    """The next gain to try; ``None``: the last one is as near as it gets.

    Args:
        wanted_lufs: Integrated loudness that the file is to have.
        plain: Of the sound as it is.
        ceiling_dbtp: For its true peak.
        tried: The gain before, and the loudness with it.
    """
    if plain.integrated_lufs is None or plain.true_peak_dbtp is None:
        return None if tried else Gain()
    if tried is None:
        return _gain(wanted_lufs - plain.integrated_lufs, plain.true_peak_dbtp, ceiling_dbtp)
    gain, came = tried
    if gain.ceiling_dbtp is None or came.integrated_lufs is None or came.true_peak_dbtp is None:
        return None
    # The way back from the fourfold rate lets peaks grow a little, the more the denser they are.
    excess_db = came.true_peak_dbtp - ceiling_dbtp
    limit_dbtp = gain.ceiling_dbtp - (excess_db if excess_db > CLOSE_LU / 2 else 0.0)
    missing = wanted_lufs - came.integrated_lufs
    lost = plain.integrated_lufs + gain.gain_db - came.integrated_lufs
    most_db = ceiling_dbtp + MOST_LIMITED_DB - plain.true_peak_dbtp
    gain_db = gain.gain_db + (missing if abs(missing) > CLOSE_LU else 0.0)
    if lost > MOST_LOST_LU and gain_db > most_db:
        gain_db = min(gain.gain_db, most_db)
    wanted = Gain(gain_db, limit_dbtp)
    return None if wanted == gain else wanted


def _gain(gain_db: float, peak_dbtp: float, ceiling_dbtp: float) -> Gain:
    return Gain(gain_db, ceiling_dbtp if peak_dbtp + gain_db > ceiling_dbtp else None)

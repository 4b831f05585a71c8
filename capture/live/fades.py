"""Silence, and soft edges where sound begins or ends suddenly."""

import numpy as np

from capture.live.drift import Samples


def silence(frames: int, channels: int) -> Samples:
    """Silence, shape (frames, channels), that takes no memory however long; read-only."""
    return np.broadcast_to(np.float32(0), (frames, channels))


def _rise(frames: int) -> Samples:
    """Gains of a raised-cosine fade-in, shape (frames, 1); add up to 1 with their reverse."""
    phase = (np.arange(frames) + 0.5) / frames
    gains: Samples = (0.5 - 0.5 * np.cos(np.pi * phase)).astype(np.float32)[:, None]
    return gains


def faded_in(samples: Samples, before: Samples | None, frames: int) -> Samples:
    """A copy with a fade-in, as a crossfade from ``before`` if that is given."""
    frames = min(frames, len(samples), frames if before is None else len(before))
    gains = _rise(frames)
    out = samples.copy()
    out[:frames] *= gains
    if before is not None:
        out[:frames] += before[:frames] * (1 - gains)
    return out


def faded_out(samples: Samples, frames: int) -> Samples:
    """A copy with a fade-out at its end."""
    frames = min(frames, len(samples))
    out = samples.copy()
    out[len(out) - frames :] *= _rise(frames)[::-1]
    return out

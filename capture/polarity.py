"""Opposite channels, as from a cable with swapped wires: found and turned. Pure.

On two loudspeakers they are as loud as any; added up, they are silence. So such channels are turned
before channels are added up.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

OPPOSITE: Final = 0.8
"""Correlation below minus this, of channels about as loud: half the one against the other has 0.8,
and adding them up costs 10 dB. What belongs together in a room or in music stays above."""
PIECE_S: Final = 0.5
"""Sound that is written is looked at in pieces of this length: a syllable or two."""
RAMP_S: Final = 0.005
"""Length of the ramp in which a channel is turned, so that it does not click."""


def signs_of(pieces: NDArray[np.float32]) -> NDArray[np.float32]:
    """Factors for each channel, so that the sum of all channels does not cancel.

    Args:
        pieces: Shape (pieces, frames, channels).

    Returns:
        1 or -1, shape (pieces, channels); the first channel of a piece is never turned.
    """
    signs, _ = _compared(pieces)
    return signs


def cancels(pieces: NDArray[np.float32], mean: NDArray[np.float32]) -> bool:
    """Whether the mean of the channels is far softer than they are, in any piece; cheap.

    Args:
        pieces: Shape (pieces, frames, channels).
        mean: Of the channels, shape (pieces * frames,).
    """
    each = pieces.reshape(len(pieces), -1)
    mixed = mean.reshape(len(pieces), -1)
    powers = np.einsum("ij,ij->i", each, each)
    # Of unlike channels the mean has one part in their number of the power of one.
    left = np.einsum("ij,ij->i", mixed, mixed) * pieces.shape[2] ** 2
    return bool((left < (1 - OPPOSITE) * powers).any())


def _compared(pieces: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The signs, and where a channel agrees with the first one."""
    products = np.matmul(pieces.transpose(0, 2, 1), pieces)
    powers = np.diagonal(products, axis1=1, axis2=2)
    each = np.arange(len(pieces))
    loudest = powers.argmax(axis=1)
    along = products[each, loudest]
    alike = along / np.maximum(
        (powers + powers[each, loudest, None]) / 2, np.finfo(np.float32).tiny
    )
    signs = np.where(alike < -OPPOSITE, -1, 1).astype(np.float32)
    return signs * signs[:, :1], products[:, 0] > 0


class Aligner:
    """Turns channels of a stream that is to be mixed down; used from one thread.

    Args:
        rate_hz: Frames per second of what is pushed.
    """

    def __init__(self, rate_hz: int) -> None:
        self._piece_frames = max(1, round(PIECE_S * rate_hz))
        self._ramp_frames = max(1, round(RAMP_S * rate_hz))
        self._signs: NDArray[np.float32] | None = None

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples; give them with no two channels opposite.

        Args:
            samples: Shape (frames, channels).

        Returns:
            The same, as the very object where nothing had to be turned.
        """
        frames, channels = samples.shape
        if channels == 1 or not frames:
            return samples
        before = self._signs if self._signs is not None else np.ones(channels, np.float32)
        turned: NDArray[np.float32] | None = None
        for first in range(0, frames, self._piece_frames):
            piece = samples[first : first + self._piece_frames]
            (signs,), (is_along,) = _compared(piece[None])
            # What was turned stays so until it goes along: pauses and faint sound decide nothing.
            signs = np.where((before < 0) & ~is_along, np.float32(-1), signs)
            if (signs < 0).any() or (before < 0).any():
                turned = samples.copy() if turned is None else turned
                turned[first : first + len(piece)] *= self._curve(before, signs, len(piece))
            before = signs
        self._signs = before
        return samples if turned is None else turned

    def _curve(
        self, before: NDArray[np.float32], signs: NDArray[np.float32], frames: int
    ) -> NDArray[np.float32]:
        """The factors of a piece: from the old signs to the new ones in a short ramp."""
        if self._signs is None or (before == signs).all():  # nothing was heard before
            return signs[None]
        way = np.minimum(np.arange(1, frames + 1) / self._ramp_frames, 1).astype(np.float32)
        return before + (signs - before) * way[:, None]

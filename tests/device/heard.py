"""Compares what was kept of a played scene with the scene: where it was cut, how well it sounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from capture.media.read.decode import read_sound
from tests.scenes import RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.scenes import Place, Scene

__all__ = ["PAD_S", "Match", "match_all"]

PAD_S = 0.1
"""So much silence a kept file has at both ends."""


@dataclass(frozen=True)
class Match:
    """A kept file, laid over the scene.

    Attributes:
        path: The file.
        name: Of the message that it holds most of.
        start_s: Where its sound begins, less where the message does; negative: early.
        end_s: Where it ends, less where the message does; positive: late.
        cut_s: So much of the message is missing at its ends, together.
        correlation: With the scene, of the message itself, -1..1.
        gain_db: Its level against the scene's.
    """

    path: Path
    name: str
    start_s: float
    end_s: float
    cut_s: float
    correlation: float
    gain_db: float


def match_all(scene: Scene, paths: Sequence[Path]) -> list[Match]:
    """Each file, laid over the scene where it fits best, in the order of the scene."""
    mono = scene.samples.mean(axis=1)
    matches = [_match(path, mono, scene.truth) for path in paths]
    return sorted(matches, key=lambda match: match.name)


def _match(path: Path, scene: NDArray[np.float32], truth: Sequence[Place]) -> Match:
    samples, rate_hz, _ = read_sound(path)
    assert rate_hz == RATE_HZ
    kept = samples.mean(axis=1)
    lag = _lag(kept, scene)
    end = lag + len(kept)
    place = max(truth, key=lambda p: min(p.end_frame, end) - max(p.start_frame, lag))
    first, last = max(place.start_frame, lag), min(place.end_frame, end)
    heard, played = kept[first - lag : last - lag], scene[first:last]
    pad = round(PAD_S * RATE_HZ)
    return Match(
        path=path,
        name=place.name,
        start_s=(lag + pad - place.start_frame) / RATE_HZ,
        end_s=(end - pad - place.end_frame) / RATE_HZ,
        cut_s=(first - place.start_frame + place.end_frame - last) / RATE_HZ,
        correlation=float(np.corrcoef(heard, played)[0, 1]),
        gain_db=float(10 * np.log10(np.mean(heard**2) / np.mean(played**2))),
    )


def _lag(kept: NDArray[np.float32], scene: NDArray[np.float32]) -> int:
    """Frame of the scene at which the kept sound begins: the greatest normalised correlation."""
    size = 1 << (len(kept) + len(scene)).bit_length()
    product = np.fft.rfft(scene, size) * np.conj(np.fft.rfft(kept, size))
    correlation = np.fft.irfft(product, size)
    # It may begin before the scene does: those lags are at the end.
    lags = np.concatenate((np.arange(len(scene)), np.arange(-len(kept), 0)))
    values = np.concatenate((correlation[: len(scene)], correlation[-len(kept) :]))
    energy = np.concatenate(([0.0], np.cumsum(scene.astype(np.float64) ** 2)))
    ends = np.clip(lags + len(kept), 0, len(scene))
    power = energy[ends] - energy[np.clip(lags, 0, len(scene))]
    usable = power > 0.05 * float(np.sum(kept.astype(np.float64) ** 2))
    scores = np.where(usable, values / np.sqrt(np.maximum(power, 1e-12)), -np.inf)
    return int(lags[np.argmax(scores)])

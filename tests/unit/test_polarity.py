"""Channels that are each other's opposite do not cancel where they are added up."""

from __future__ import annotations

import numpy as np
import pytest

from capture.polarity import Aligner, signs_of

RATE_HZ = 48_000


def noise(seconds: float, seed: int = 1) -> np.ndarray:
    found = np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE_HZ))
    return found.astype(np.float32)


@pytest.mark.parametrize(
    ("factors", "turned"),
    [
        ((1, 1), (1, 1)),
        ((1, -1), (1, -1)),
        ((1, -0.7), (1, -1)),
        ((1, -0.2), (1, 1)),  # what is left is enough
        ((1, 0), (1, 1)),
        ((0, 0), (1, 1)),
        ((1, -1, 0, 0, 0.5, -0.6), (1, -1, 1, 1, 1, -1)),
    ],
)
def test_only_what_would_cancel_is_turned(
    factors: tuple[float, ...], turned: tuple[int, ...]
) -> None:
    piece = noise(0.1)[:, None] * np.array(factors, np.float32)
    assert tuple(signs_of(piece[None])[0]) == turned


def test_different_sides_stay_as_they_are() -> None:
    samples = np.stack((noise(2.0, 1), noise(2.0, 2)), axis=1)
    assert Aligner(RATE_HZ).push(samples) is samples


def test_a_channel_is_turned_without_a_click_and_stays_so_in_pauses() -> None:
    aligner = Aligner(RATE_HZ)
    tone = 0.5 * np.sin(np.arange(RATE_HZ) * 2 * np.pi * 200 / RATE_HZ).astype(np.float32)
    same, opposite = np.stack((tone, tone), axis=1), np.stack((tone, -tone), axis=1)
    faint = np.stack((noise(1.0, 1), noise(1.0, 2)), axis=1) * np.float32(1e-4)
    mono = [aligner.push(part).mean(axis=1) for part in (same, opposite, faint, opposite)]
    assert np.abs(np.diff(np.concatenate(mono[:2]))).max() < 0.03
    for found in mono[1], mono[3]:
        assert np.sqrt(np.mean(found[2400:] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    assert np.abs(aligner.push(same).mean(axis=1)[2400:]).max() == pytest.approx(0.5, rel=0.01)

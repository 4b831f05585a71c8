from __future__ import annotations

import numpy as np
import pytest

from capture.live.drift import DRIFT_CAP, DRIFT_INTEGRAL_CAP, TAPS, DriftLoop, Stretcher

RATE = 48_000


def wave(
    hz: float, at: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.sin(2 * np.pi * hz / RATE * at)


@pytest.mark.parametrize(("hz", "snr_db"), [(1_000, 120), (10_000, 110), (20_000, 100)])
def test_it_plays_at_exactly_the_asked_pace(hz: float, snr_db: float) -> None:
    sound = wave(hz, np.arange(-TAPS // 2, 96_000, dtype=float)).astype(np.float32)[:, None]
    stretcher = Stretcher(sound[: TAPS // 2])
    random = np.random.default_rng(0)
    place, places, parts = 0.0, [], []
    for first in range(TAPS // 2, len(sound) - 960, 960):
        step = 1 + random.uniform(-DRIFT_CAP, DRIFT_CAP)
        out = stretcher.push(sound[first : first + 960], step)
        parts.append(out[:, 0])
        places.append(place + step * np.arange(len(out)))
        place += step * len(out)
    expected = wave(hz, np.concatenate(places))
    noise = np.concatenate(parts) - expected
    assert 10 * np.log10(0.5 / np.mean(noise**2)) > snr_db


def test_at_full_pace_it_is_the_identity() -> None:
    sound = np.random.default_rng(0).uniform(-1, 1, (5_000, 2)).astype(np.float32)
    stretcher = Stretcher(np.zeros((TAPS // 2, 2), np.float32))
    out = [stretcher.push(sound[first : first + 100], 1.0) for first in range(0, 5_000, 100)]
    out.append(stretcher.flush())
    assert np.array_equal(np.concatenate(out), sound)


@pytest.mark.parametrize("step", [1 - DRIFT_CAP, 1 + 123e-6])
def test_after_landing_the_rest_follows_bit_by_bit(step: float) -> None:
    sound = wave(997, np.arange(60_000, dtype=float)).astype(np.float32)[:, None]
    stretcher = Stretcher(np.zeros((TAPS // 2, 1), np.float32))
    played = len(stretcher.push(sound[:20_000], step))
    stretcher.land(12_000)
    position = 20_000
    while not stretcher.is_landed:
        played += len(stretcher.push(sound[position : position + 480], step))
        position += 480
    rest = stretcher.rest()
    assert np.array_equal(rest, sound[position - len(rest) : position])
    moved = position - len(rest) - played  # whole frames by which the sound was moved
    assert moved == pytest.approx((step - 1) * (played - 12_000), abs=1)


def test_the_loop_stays_within_its_caps_and_slew() -> None:
    loop = DriftLoop()
    before = 0.0
    for _ in range(6_000):
        loop.update(0.024, 0.05)
        assert abs(loop.correction - before) <= 100e-6 * 0.05 + 1e-12
        before = loop.correction
    assert loop.is_active
    assert loop.correction == pytest.approx(DRIFT_CAP)
    assert loop.integral == pytest.approx(DRIFT_INTEGRAL_CAP)


def test_a_short_excursion_does_not_wake_the_loop() -> None:
    loop = DriftLoop()
    for index in range(1_000):
        loop.update(0.004 if index % 50 < 30 else 0.002, 0.05)
    assert not loop.is_active
    assert loop.correction == 0.0

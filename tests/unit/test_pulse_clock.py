"""When a stream's first frame was heard, from answers that are late more or less."""

from __future__ import annotations

import numpy as np
import pytest

from capture.sources._pulse_clock import OriginClock
from capture.units import NS_PER_S

MS = 1_000_000
ORIGIN_NS = 7 * NS_PER_S


def errors_ms(
    lateness_ms: list[float], every_s: float = 0.1, *, ppm: float = 0.0, steps_ms: float = 0.0
) -> list[float]:
    """What is estimated after each answer less the truth, which steps after the first half."""
    clock, errors = OriginClock(), []
    for number, late_ms in enumerate(lateness_ms):
        at_ns = round(number * every_s * NS_PER_S)
        step_ms = steps_ms * (number >= len(lateness_ms) // 2)
        true_ns = ORIGIN_NS + round(at_ns * ppm * 1e-6 + step_ms * MS)
        clock.add(at_ns, true_ns + round(late_ms * MS), 0)
        errors.append((clock.origin_ns() - true_ns) / MS)
    return errors


@pytest.mark.parametrize("scale_ms", [0.1, 3.0, 8.0])
def test_a_busy_machine_does_not_move_it(scale_ms: float) -> None:
    lateness = np.random.default_rng(1).exponential(scale_ms, 600)
    errors = errors_ms(lateness.tolist())[50:]
    assert min(errors) >= 0
    assert np.percentile(errors, 95) < 0.1 + scale_ms / 10


@pytest.mark.parametrize("ppm", [-300.0, -50.0, 100.0, 300.0])
def test_a_clock_that_is_off_is_followed(ppm: float) -> None:
    errors = errors_ms([0.0, 0.4] * 300, ppm=ppm)
    assert max(map(abs, errors)) < 1.6  # 300 ppm of 5 s
    assert np.ptp(errors[300:]) < 0.2  # and no more from then on


@pytest.mark.parametrize("steps_ms", [-40.0, -16.0, 16.0, 21.3, 200.0])
@pytest.mark.parametrize("scale_ms", [0.05, 3.0])
def test_a_step_is_followed_within_a_second(steps_ms: float, scale_ms: float) -> None:
    lateness = np.random.default_rng(2).exponential(scale_ms, 200)
    errors = errors_ms(lateness.tolist(), steps_ms=steps_ms)
    assert max(map(abs, errors[115:])) < 1 + scale_ms


def test_what_is_held_back_is_the_least_of_late() -> None:
    clock = OriginClock()
    for number, withheld_us in enumerate((10_000, 400_000, 12_000, 90_000)):
        clock.add(number * 100 * MS, ORIGIN_NS, withheld_us)
    assert clock.origin_ns() == ORIGIN_NS - 10 * MS
    for number in range(4, 10):
        clock.add(number * 100 * MS, ORIGIN_NS, 30_000)
    assert clock.origin_ns() == ORIGIN_NS - 30 * MS


def test_answers_are_forgotten() -> None:
    clock = OriginClock()
    assert not clock
    clock.add(0, ORIGIN_NS, 0)
    assert clock
    clock.clear()
    assert not clock

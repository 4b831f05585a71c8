from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from capture.levels import LevelMeter, QuietFinder, dbfs_of, gain_of

if TYPE_CHECKING:
    from capture.model.signal import Level


def sine(
    amplitude: float, frames: int = 48_000
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    wave = amplitude * np.sin(2 * np.pi * 1000 * np.arange(frames) / 48_000)
    return np.stack((wave, wave), axis=1).astype(np.float32)


def measure(samples: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Level:
    meter = LevelMeter()
    meter.accumulate(samples)
    return meter.take()


def test_full_scale_sine_is_minus_three_rms_and_zero_peak() -> None:
    level = measure(sine(1.0))
    assert level.rms_dbfs == pytest.approx(-3.01, abs=0.01)
    assert level.peak_dbfs == pytest.approx(0.0, abs=0.01)


def test_silence_and_nothing_are_minus_infinity() -> None:
    assert measure(np.zeros((960, 2), np.float32)).rms_dbfs == -math.inf
    assert measure(np.zeros((0, 2), np.float32)).peak_dbfs == -math.inf


def test_negative_peak_counts() -> None:
    samples = np.zeros((100, 1), np.float32)
    samples[50] = -0.5
    assert measure(samples).peak_dbfs == pytest.approx(-6.02, abs=0.01)


@pytest.mark.parametrize(("run", "clipped"), [(1, False), (2, False), (3, True), (10, True)])
def test_clipping_is_a_run_at_full_scale_in_one_channel(run: int, clipped: bool) -> None:  # noqa: FBT001
    samples = np.zeros((100, 2), np.float32)
    samples[20 : 20 + run, 1] = -1.0
    samples[60, 0] = samples[61, 1] = samples[62, 0] = 1.0
    assert measure(samples).is_clipped is clipped


def test_short_and_mono_blocks() -> None:
    assert not measure(np.ones((2, 1), np.float32)).is_clipped
    assert measure(np.ones(3, np.float32)).is_clipped


def test_decibels_and_back() -> None:
    assert gain_of(-math.inf) == 0.0
    assert dbfs_of(0.0) == -math.inf
    assert dbfs_of(gain_of(-23.0)) == pytest.approx(-23.0)


def test_meter_joins_blocks_and_holds_until_the_next_one() -> None:
    meter = LevelMeter()
    assert meter.take().rms_dbfs == -math.inf
    whole = sine(0.3)
    for block in np.split(whole, 50):
        meter.accumulate(block)
    assert meter.take().rms_dbfs == pytest.approx(measure(whole).rms_dbfs, abs=1e-4)
    assert meter.take().rms_dbfs == pytest.approx(measure(whole).rms_dbfs, abs=1e-4)
    meter.accumulate(whole * np.float32(0.1))
    assert meter.take().rms_dbfs == pytest.approx(measure(whole).rms_dbfs - 20, abs=1e-4)
    meter.accumulate(whole[:0])  # a pause
    assert meter.take().rms_dbfs == -math.inf


def test_meter_loses_nothing_between_threads() -> None:
    meter = LevelMeter()
    block = np.full((10, 1), 0.5, np.float32)

    def feed() -> None:
        for _ in range(500):
            meter.accumulate(block)

    threads = [threading.Thread(target=feed) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter._count == 20_000
    assert meter.take().rms_dbfs == pytest.approx(-6.02, abs=0.01)


def test_a_block_takes_well_below_a_millisecond() -> None:
    block = sine(0.5, 960)
    measure(block)
    best = math.inf
    for _ in range(20):
        began = time.perf_counter()
        measure(block)
        best = min(best, time.perf_counter() - began)
    assert best < 200e-6


@pytest.mark.parametrize("block", [100, 960, 1024, 48_000, 200_000])
def test_quiet_stretches_are_found_to_the_sample_in_blocks_of_any_size(block: int) -> None:
    sound = np.full((150_000, 2), 0.5, np.float32)
    sound[:, 1] = 0  # the other side is loud enough
    quiet = [(0, 6_000), (30_000, 78_000), (80_000, 80_400), (140_000, 150_000)]
    for start, end in quiet:
        sound[start:end] = 0.0001
    finder = QuietFinder(48_000, -60.0, 0.05)
    found = []
    for start in range(0, len(sound), block):
        found += finder.push(sound[start : start + block])
    found += finder.finish()
    assert [(round(s.start_s * 48_000), round(s.end_s * 48_000)) for s in found] == [
        (0, 6_000),
        (30_000, 78_000),
        (140_000, 150_000),
    ]
    assert [s.edge for s in found] == [0.0, 0.5, 0.0]


def test_the_edge_of_a_fade_is_soft_and_what_is_missing_is_quiet() -> None:
    finder = QuietFinder(48_000, -60.0, 0.05)
    fade = np.geomspace(0.5, 0.0005, 24_000, dtype=np.float32)[:, None]
    found = [*finder.push(fade), *finder.skip(48_000), *finder.push(fade[::-1])]
    (stretch,) = [*found, *finder.finish()]
    assert stretch.length_s == pytest.approx(1.0, abs=0.12)
    assert stretch.edge < 0.005

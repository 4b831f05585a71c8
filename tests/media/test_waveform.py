"""Waveforms: amplitudes of a sound of any length, and the picture of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from capture.errors import OutputError
from capture.media.write.waveform import (
    HEIGHT_PX,
    WIDTH_PX,
    Peaks,
    bar_count,
    draw_waveform,
    save_waveform,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def is_drawn(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where it differs from its ground."""
    drawn: NDArray[np.bool_] = (picture != picture[0, 0]).any(axis=2)
    return drawn


def heights_of(picture: NDArray[np.uint8], bars: int) -> NDArray[Any]:
    """How many pixels of each bar are drawn, at its middle."""
    middles = 20 + 10 * np.arange(bars) + 3
    heights: NDArray[Any] = is_drawn(picture)[:, middles].sum(axis=0)
    return heights


@given(
    sizes=st.lists(st.integers(0, 700), max_size=12),
    columns=st.integers(1, 40),
    channels=st.integers(1, 2),
    seed=st.integers(0, 1000),
)
@settings(deadline=None)
def test_peaks_miss_nothing_and_stay_small(
    sizes: list[int], columns: int, channels: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    sound = random.uniform(-1, 1, (sum(sizes), channels)).astype(np.float32)
    peaks = Peaks(columns)
    first = 0
    for size in sizes:
        peaks.add(sound[first : first + size])
        first += size
    found = peaks.take()
    assert found.shape == (columns,)
    assert peaks.frames == len(sound)
    assert len(peaks._parts) == 8 * columns
    if not len(sound):
        assert not found.any()
        return
    assert found.max() == np.abs(sound).max()
    if len(sound) >= columns:
        starts = np.arange(columns) * len(sound) // columns
        truth = np.maximum.reduceat(np.abs(sound), starts).max(axis=1)
        assert (found >= truth - 1e-6).all(), "a column hides what is in it"


def test_peaks_are_where_the_sound_is() -> None:
    rate_hz, columns = 48_000, 100
    sound = np.zeros((rate_hz * 10, 2), np.float32)
    for second in range(10):
        sound[second * rate_hz + 24_000, second % 2] = -(second + 1) / 10
    peaks = Peaks(columns)
    for first in range(0, len(sound), 997):
        peaks.add(sound[first : first + 997])
    found = peaks.take()
    loud = np.flatnonzero(found)
    assert {round(at / 10 - 0.5) for at in loud} == set(range(10))
    assert all(abs(at % 10 - 5) <= 1 for at in loud)
    assert sorted({round(float(level), 3) for level in found[loud]}) == [
        n / 10 for n in range(1, 11)
    ]
    assert peaks.take(10).tolist() == pytest.approx([n / 10 for n in range(1, 11)])


def test_peaks_take_integers() -> None:
    peaks = Peaks(1)
    peaks.add(np.array([[100], [-16_384]], np.int16))
    assert peaks.take().tolist() == [0.5]
    peaks.add(np.array([[-(2**31)]], np.int32))
    assert peaks.take().tolist() == [1.0]


def test_bars_are_as_high_as_the_sound_is_loud() -> None:
    bars = bar_count(WIDTH_PX, 37)
    levels = np.linspace(0, 1, bars).astype(np.float32)
    picture = draw_waveform(levels, duration_s=37)
    assert picture.shape == (HEIGHT_PX, WIDTH_PX, 3)
    assert picture.dtype == np.uint8
    heights = heights_of(picture, bars)
    assert heights[0] in range(4, 10), "silence is a dot"
    assert heights[-1] in range(HEIGHT_PX // 2, HEIGHT_PX - 10)
    assert (np.diff(heights) >= 0).all()
    both = np.stack((-levels, levels / 2), axis=1).astype(np.float32)
    assert np.array_equal(draw_waveform(both, duration_s=37), picture)
    soft = draw_waveform((levels / 128).astype(np.float32), duration_s=37)
    assert np.array_equal(soft, picture), "the loudest bar is full, however soft"


def test_what_was_played_has_another_colour() -> None:
    levels = np.ones(500, np.float32)
    row = HEIGHT_PX // 2
    bars = bar_count(WIDTH_PX, 10)
    middles = 20 + 10 * np.arange(bars) + 3
    colors = [
        draw_waveform(levels, duration_s=10, played=played)[row, middles]
        for played in (0.0, 0.5, 1.0, None)
    ]
    changes = np.flatnonzero((np.diff(colors[1].astype(int), axis=0) != 0).any(axis=1))
    assert len(changes) == 1
    assert changes[0] + 1 == round(bars / 2)
    assert np.array_equal(colors[2], colors[3])
    assert (colors[0] != colors[2]).any(axis=1).all()


@pytest.mark.parametrize("duration_s", [0, 7.9, 59.99, 754, 3723, 360_000])
@pytest.mark.parametrize("size_px", [(800, 160), (400, 60), (160, 24)])
def test_bars_and_text_stay_inside_and_apart(duration_s: float, size_px: tuple[int, int]) -> None:
    width_px, height_px = size_px
    picture = draw_waveform(
        np.ones(64, np.float32), width_px=width_px, height_px=height_px, duration_s=duration_s
    )
    drawn = is_drawn(picture)
    assert not drawn[[0, -1]].any()
    assert not drawn[:, [0, -1]].any()
    end = 20 + bar_count(width_px, duration_s) * 10
    assert not drawn[:, end : end + 8].any(), "there is ground between them"
    assert drawn[:, end + 8 :].any(), "and a text"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_or_no_columns(count: int) -> None:
    bars = bar_count(WIDTH_PX, 1)
    picture = draw_waveform(np.ones((count, 2), np.float32), duration_s=1)
    heights = heights_of(picture, bars)
    assert (heights == heights[0]).all()
    assert (heights[0] > HEIGHT_PX // 2) == bool(count)


def test_a_picture_is_saved_under_any_name(tmp_path: Path) -> None:
    path = tmp_path / "Grüße 日本 🎤.png"
    levels = np.random.default_rng(1).random(80).astype(np.float32)
    save_waveform(path, levels, duration_s=3)
    read = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert read is not None
    assert np.array_equal(read, draw_waveform(levels, duration_s=3))
    with pytest.raises(OutputError, match="the folder is gone"):
        save_waveform(tmp_path / "gone" / "a.png", levels, duration_s=3)

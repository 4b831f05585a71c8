"""The measure is measured: films made with a known offset are read back to less than 1 ms."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from tests.device.measure import find_beeps, find_flashes, measure_events, offsets

if TYPE_CHECKING:
    from pathlib import Path

RATE_HZ = 48_000
FPS = 60
FLASHES_S = (0.5, 1.2, 2.0, 2.75, 3.5)
LENGTH_S = 4.5


def make_film(path: Path, video: str, audio: str, sound_late_s: float) -> None:
    """A film that flashes at FLASHES_S, with beeps that much later."""
    with av.open(str(path), "w") as container:
        picture: Any = container.add_stream(
            video, rate=FPS, width=160, height=120, pix_fmt="yuv420p"
        )
        picture.time_base = Fraction(1, 90_000)
        picture.codec_context.time_base = Fraction(1, 90_000)
        sound: Any = container.add_stream(audio, rate=RATE_HZ, layout="stereo")
        for number in range(round(LENGTH_S * FPS)):
            moment = Fraction(number, FPS)
            is_white = any(0 <= float(moment) - flash < 0.15 for flash in FLASHES_S)
            frame = av.VideoFrame.from_ndarray(
                np.full((120, 160, 3), 255 * is_white, np.uint8), format="rgb24"
            )
            frame.pts, frame.time_base = int(moment * 90_000), Fraction(1, 90_000)
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        samples = np.zeros(round(LENGTH_S * RATE_HZ), np.float32)
        beep = 0.5 * np.cos(2 * np.pi * 1000 * np.arange(1440) / RATE_HZ)
        for flash in FLASHES_S:
            start = round((flash + sound_late_s) * RATE_HZ)
            samples[start : start + len(beep)] = beep
        block = av.AudioFrame.from_ndarray(
            np.repeat(samples, 2).reshape(1, -1), format="flt", layout="stereo"
        )
        block.sample_rate, block.pts, block.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        resampler = av.AudioResampler(sound.format, "stereo", RATE_HZ, sound.frame_size or 1024)
        for piece in [*resampler.resample(block), *resampler.resample(None)]:
            container.mux(sound.encode(piece))
        container.mux(sound.encode(None))


@pytest.mark.parametrize(
    ("name", "video", "audio"),
    [
        ("film.mkv", "libx264", "pcm_s16le"),
        ("film.mp4", "libx264", "aac"),
        ("film.webm", "libvpx-vp9", "libopus"),
    ],
)
@pytest.mark.parametrize("late_ms", [0.0, 12.345, -40.0, 117.0])
def test_a_known_offset_is_found(
    tmp_path: Path, name: str, video: str, audio: str, late_ms: float
) -> None:
    path = tmp_path / name
    make_film(path, video, audio, late_ms / 1000)
    result = offsets(measure_events(path))
    assert result.count == len(FLASHES_S)
    assert result.median_ms == pytest.approx(late_ms, abs=1)
    assert result.p5_ms == pytest.approx(late_ms, abs=1)
    assert result.p95_ms == pytest.approx(late_ms, abs=1)


def test_half_a_picture_is_added(tmp_path: Path) -> None:
    make_film(tmp_path / "film.mkv", "libx264", "pcm_s16le", 0.0)
    result = offsets(measure_events(tmp_path / "film.mkv"), picture_s=1 / 30)
    assert result.median_ms == pytest.approx(1000 / 60, abs=1)


def test_a_film_without_events_has_none(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=10, width=64, height=64, pix_fmt="yuv420p")
        sound = container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, RATE_HZ), np.int16), "s16", "mono")
        silence.sample_rate = RATE_HZ
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    assert find_flashes(path) == []
    assert find_beeps(path) == []
    assert offsets(measure_events(path)).count == 0

"""The demo's window shows and plays, and ends by itself; its voice is a voice."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from capture.demo import voice_sample
from capture.demo.layout import SIZE_PX
from capture.demo.window import draw_message
from tests.device.recorded import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

    from capture.desktop import PrivateDesktop


@pytest.mark.parametrize("with_espeak", [True, False])
def test_the_voice_sample_is_loud_and_about_six_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, with_espeak: bool
) -> None:
    if not with_espeak:
        monkeypatch.setattr(voice_sample.shutil, "which", lambda _: None)  # type: ignore[attr-defined]
    path = voice_sample.make_voice_sample(tmp_path / "voice.wav")
    samples, rate_hz = voice_sample.read_wav(path)
    assert 4 < len(samples) / rate_hz < 8
    assert 20 * np.log10(np.abs(samples).max()) == pytest.approx(-3, abs=0.1)
    assert -25 < 20 * np.log10(np.sqrt((samples**2).mean())) < -8
    # Speech has pauses: some of its 100 ms are far below the loudest.
    steps = np.array_split(samples, len(samples) * 10 // rate_hz)
    levels = np.array([np.abs(step).max() for step in steps])
    assert (levels < 0.1 * levels.max()).mean() > 0.03


def test_the_line_moves() -> None:
    bars = np.full(20, 0.5, np.float32)
    pictures = [draw_message(bars, played_s, 10.0) for played_s in (-1.0, 0.0, 5.0, 10.0, 99.0)]
    assert all(picture.shape == (SIZE_PX[1], SIZE_PX[0], 3) for picture in pictures)
    lines = [int(np.argmax((picture[190] > 200).all(axis=1))) for picture in pictures]
    assert lines[0] == lines[1] < lines[2] < lines[3] == lines[4]


def test_it_plays_to_the_end(private_desktop: PrivateDesktop, tmp_path: Path) -> None:
    sound = voice_sample.make_voice_sample(tmp_path / "voice.wav")
    options = ["--sound", str(sound)]
    window = private_desktop.run([sys.executable, "-m", "capture.demo.window", *options])
    assert window.wait(PATIENCE_S) == 0

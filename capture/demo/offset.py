"""How far sound and picture of the demo's film are apart, measured in the film itself."""

import statistics
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture.demo.layout import BARS, bar_at_px, bar_due_s, is_played
from capture.demo.voice_sample import read_wav
from capture.errors import CaptureError
from capture.media.read.decode import read_pictures, read_sound

AUDIBLE_DBFS = -35.0


def measure_offset(
    film: Path, sample: Path, origin_px: tuple[int, int], fps: float
) -> tuple[float, int]:
    """Sound minus picture in ms, from the film itself: median over the bars, and their number.

    Every bar takes its colour when its moment of the message is heard. Where the message is in
    the sound track is found by correlation; a picture is taken half a slot late on average.

    Raises:
        CaptureError: The message is not in the film, or too quiet.
    """
    voice, voice_hz = read_wav(sample)
    samples, rate_hz, start_s = read_sound(film)
    mono = samples.mean(axis=1)
    level_dbfs = 20 * np.log10(max(float(np.abs(mono).max()), 1e-9))
    if level_dbfs < AUDIBLE_DBFS:
        raise CaptureError(
            f"the voice is not in the recording: its loudest sample is {level_dbfs:.0f} dBFS",
            hint="is the output muted?",
        )
    length_s = len(voice) / voice_hz
    heard_s = start_s + _find(voice, voice_hz, mono, rate_hz) / rate_hz
    offsets_ms = [
        (heard_s + bar_due_s(bar, length_s) - shown_s) * 1000 + 500 / fps
        for bar, shown_s in _bars_shown(film, origin_px).items()
    ]
    if not offsets_ms:
        raise CaptureError("the message's window is not in the film")
    return statistics.median(offsets_ms), len(offsets_ms)


def _find(
    voice: NDArray[np.float32], voice_hz: int, mono: NDArray[np.float32], rate_hz: int
) -> int:
    """Frame of ``mono`` at which the voice begins: the peak of their correlation."""
    moments = np.arange(len(voice) * rate_hz // voice_hz) / rate_hz
    wanted = np.interp(moments, np.arange(len(voice)) / voice_hz, voice)
    size = len(mono) + len(wanted)
    product = np.fft.rfft(mono, size) * np.conj(np.fft.rfft(wanted, size))
    return int(np.argmax(np.fft.irfft(product, size)[: len(mono)]))


def _bars_shown(film: Path, origin_px: tuple[int, int]) -> dict[int, float]:
    """When each bar first had its colour in the film, in seconds."""
    shown: dict[int, float] = {}
    points = {bar: bar_at_px(bar) for bar in range(BARS)}
    for at_s, picture in read_pictures(film):
        for bar, (x, y) in points.items():
            if bar not in shown and is_played(
                *map(int, picture[origin_px[1] + y, origin_px[0] + x])
            ):
                shown[bar] = at_s
    return shown

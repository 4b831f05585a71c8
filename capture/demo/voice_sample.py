"""The spoken sample of the demo, made on the spot: no media lie in the repository."""

import contextlib
import shutil
import subprocess
import tempfile
import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEXT = (
    "Hi, this is your desktop speaking. What you see and what you hear end up in one file, in step."
)
WORDS_PER_MINUTE = 165
PEAK = 10 ** (-3 / 20)
"""-3 dBFS: loud, and no codec can push it into clipping."""
ESPEAK_TIMEOUT_S = 20.0

RATE_HZ = 48_000
"""The rate of sound servers, and of the recording."""
VOWELS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))
"""First three formants of a, i, u, e (Peterson and Barney 1952, men's averages)."""
FORMANT_WIDTH_HZ = 90.0
SYLLABLE_S = 0.21
"""Speech has four to five syllables a second."""
PHRASES = (9, 7, 8)
"""Syllables between two breaths."""
BREATH_S = 0.35
PITCH_HZ = 115.0
HARMONICS = 30


def make_voice_sample(path: Path) -> Path:
    """Write about six seconds of speech as a mono WAV file of 16 bits.

    espeak-ng speaks where it is installed; otherwise a voice-like signal is synthesised, with
    pitch, vowels, syllables and pauses, but no words.
    """
    spoken = _spoken()
    samples = _synthesised() if spoken is None else _resampled(*spoken)
    loudest = float(np.abs(samples).max())
    steps = np.round(samples * (PEAK / loudest * 32767)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(steps.tobytes())
    return path


def read_wav(path: Path) -> tuple[NDArray[np.float32], int]:
    """The samples of a 16 bit WAV file, shape ``(frames,)``, channels averaged; and its rate."""
    with wave.open(str(path), "rb") as file:
        steps = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        samples = steps.reshape(-1, file.getnchannels()).mean(axis=1, dtype=np.float32)
        return samples / np.float32(32768), file.getframerate()


def _spoken() -> tuple[NDArray[np.float32], int] | None:
    program = shutil.which("espeak-ng")
    if program is None:
        return None
    with (
        # Whatever espeak-ng stumbles over, the demo goes on with the other voice.
        contextlib.suppress(OSError, subprocess.SubprocessError, wave.Error, EOFError),
        tempfile.TemporaryDirectory(prefix="capture-voice-") as folder,
    ):
        spoken = Path(folder, "spoken.wav")
        command = [program, "-s", str(WORDS_PER_MINUTE), "-w", str(spoken), TEXT]
        subprocess.run(command, check=True, capture_output=True, timeout=ESPEAK_TIMEOUT_S)  # noqa: S603 - our own command line
        samples, rate_hz = read_wav(spoken)
        if len(samples) > rate_hz and np.abs(samples).max() > 0:
            return samples, rate_hz
    return None


def _resampled(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """The same sound at ``RATE_HZ``; the spectrum stays, so nothing is lost on the way up."""
    length = len(samples) * RATE_HZ // rate_hz
    spectrum = np.fft.rfft(samples)
    return (np.fft.irfft(spectrum, length) * (length / len(samples))).astype(np.float32)


def _synthesised() -> NDArray[np.float32]:
    """Harmonics of a gliding pitch, as loud as the formants of changing vowels make them."""
    random = np.random.default_rng(7)
    breath = np.zeros(round(BREATH_S * RATE_HZ))
    pieces: list[NDArray[Any]] = []
    for syllables in PHRASES:
        length = round(syllables * SYLLABLE_S * RATE_HZ)
        at = np.arange(length) / RATE_HZ / SYLLABLE_S  # in syllables
        # The pitch falls over a phrase, and every syllable bends it a little.
        pitch_hz = PITCH_HZ * (1.15 - 0.3 * at / syllables + 0.04 * np.sin(2 * np.pi * at))
        phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
        vowels = np.array(VOWELS_HZ, float)[random.integers(len(VOWELS_HZ), size=syllables + 1)]
        formants = [np.interp(at, np.arange(syllables + 1), column) for column in vowels.T]
        voice = np.zeros(length)
        for number in range(1, HARMONICS + 1):
            frequency_hz = number * pitch_hz
            resonance = sum(
                loudness / (1 + ((frequency_hz - formant_hz) / FORMANT_WIDTH_HZ) ** 2)
                for loudness, formant_hz in zip((1.0, 0.5, 0.25), formants, strict=True)
            )
            voice += resonance * np.sin(number * phase) / np.sqrt(number)
        opening = np.sin(np.pi * (at % 1.0)) ** 0.6  # the mouth opens and closes
        pieces += [voice * opening, breath]
    return np.concatenate(pieces[:-1]).astype(np.float32)

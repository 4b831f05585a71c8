"""Scenes of voice messages with the truth about them, made anew by every test session.

Owns the sounds that the gate is tried on: twenty spoken messages (espeak-ng, eight voices, seven
languages), chimes, music, noise, and what is put together of them. The same for every run.

    scene = build(chimes=True, music=True)        # 20 messages, a chime in every gap, …
    scene.samples                                 # float32 (frames, 2) at 48 000 Hz
    [(t.start_frame, t.end_frame) for t in scene.truth]
    scene.write(folder / "scene.wav")             # 16 bit, for a real player
    for message in messages(): message.write(folder / f"{message.name}.wav")

A message's truth is its first and its last 10 ms within 40 dB of its loudest 10 ms, by RMS. Needs
``espeak-ng`` on PATH; mark what uses it with ``needs_espeak``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float32]

RATE_HZ = 48_000
FRAME = RATE_HZ // 100
"""10 ms, the grid of the truth."""
TRUTH_DB = 40.0
ESPEAK_HZ = 22_050
EDGE_S = 0.25
"""Digital silence that a message's samples have before and after the voice, as files have."""

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None and not os.environ.get("CI"),
    reason="not installed: espeak-ng; `scripts/test` installs it",
)
"""For tests of real speech: skipped without it, but not in CI."""


@dataclass(frozen=True)
class Message:
    """A spoken message by itself.

    Attributes:
        name: Number, voice: "07 de+f2".
        samples: Shape (frames, 2), with ``EDGE_S`` of silence at both ends.
        start_frame: Where its sound begins in ``samples``.
        end_frame: Where it ends, not included.
    """

    name: str
    samples: Samples
    start_frame: int
    end_frame: int

    def at(self, rms_dbfs: float) -> Message:
        """The same words, this loud between start and end; rounded to 16 bits as a file's are."""
        sound = self.samples[self.start_frame : self.end_frame]
        gain = 10 ** (rms_dbfs / 20) / np.sqrt(np.mean(np.square(sound)))
        samples = _rounded(np.clip(self.samples * gain, -1, 1))
        return Message(self.name, samples, *_truth(samples))

    def write(self, path: Path) -> Path:
        """Write it as WAV."""
        return write_wav(path, self.samples)


@dataclass(frozen=True)
class Place:
    """Where something sounds in a scene, in frames; the end is not included."""

    name: str
    start_frame: int
    end_frame: int


@dataclass(frozen=True)
class Scene:
    """Sound, and the truth about it.

    Attributes:
        samples: Shape (frames, 2).
        truth: Where the messages are.
        others: Where chimes and music between them are.
    """

    samples: Samples
    truth: tuple[Place, ...]
    others: tuple[Place, ...]

    def write(self, path: Path) -> Path:
        """Write it as WAV."""
        return write_wav(path, self.samples)


_PARTS = {
    "en-us": (
        "Hi, it's me.",
        "I just wanted to tell you that the train is late again, so don't wait for me.",
        "Could you put the soup on the stove at about half past six?",
        "There should be enough bread left.",
        "Anyway, see you later tonight.",
    ),
    "en-gb": (
        "Right, so I've spoken to the plumber, and he says Thursday at the earliest.",
        "Not brilliant.",
        "He thinks it's the valve behind the boiler, which is what I told you last week.",
        "Thanks.",
    ),
    "de": (
        "Hallo, ich bin's.",
        "Ich stehe gerade vor dem Supermarkt und habe den Zettel vergessen.",
        "Brauchen wir noch Milch, oder reicht es bis Samstag?",
        "Schreib mir bitte kurz zurück.",
        "Bis gleich.",
    ),
    "es": (
        "Oye, mañana no puedo ir a la reunión.",
        "Tengo que llevar a mi hermana al aeropuerto a las siete y media.",
        "¿Puedes tomar notas por mí?",
        "Gracias.",
    ),
    "fr": (
        "Salut, c'est moi.",
        "J'ai retrouvé tes clés sous le canapé, ne les cherche plus.",
        "Je te les apporte demain matin avant d'aller au travail.",
        "Bisous.",
    ),
    "ru": (
        "Привет, я уже подъезжаю к дому.",
        "Поставь, пожалуйста, чайник и открой окно на кухне.",
        "Спасибо, до встречи.",
    ),
    "it": (
        "Ciao, senti, ho pensato a quella cosa di ieri.",
        "Secondo me conviene aspettare la settimana prossima.",
        "Fammi sapere che cosa ne pensi, quando hai un momento.",
        "A presto.",
    ),
}

# Voice, words a minute, which sentences, the pauses between them (repeated), level.
_MESSAGES: tuple[tuple[str, int, tuple[int, ...], tuple[float, ...], float], ...] = (
    ("en-us", 160, (0,), (), -20),
    ("en-us", 170, (0, 1, 2), (0.3, 0.8), -12),
    ("en-gb", 150, (0, 1), (1.0,), -26),
    ("de", 150, (0, 1, 2), (0.6,), -18),
    ("es", 160, (0, 1, 2, 3), (0.5,), -30),
    ("fr", 155, (0, 1, 2), (0.9, 0.4), -23),
    ("ru", 145, (0, 1, 2), (0.7,), -15),
    ("it", 150, (0, 1, 2, 3), (0.8,), -35),
    ("it+f2", 165, (0, 1), (1.0,), -21),
    ("de+f2", 170, (1,), (), -28),
    ("en-us+f3", 175, (1, 2, 3, 4), (0.2, 1.0, 0.6), -17),
    ("es+f4", 140, (3, 0), (0.9,), -33),
    ("en-gb", 120, (0, 2, 1, 3), (1.0, 0.5, 1.0), -24),
    ("fr+f2", 165, (1,), (), -19),
    ("ru+f4", 150, (1, 0), (1.0,), -29),
    ("en-gb+m3", 180, (2, 3), (0.6,), -14),
    ("de", 130, (1, 2, 3, 0, 1, 2, 4), (0.9, 0.7, 1.0), -22),
    ("it+m7", 155, (2,), (), -31),
    ("en-us", 140, (1, 2, 3, 1, 0, 2, 4), (1.0, 0.4, 0.8), -25),
    ("fr", 180, (0, 3), (0.4,), -16),
)


@cache
def messages() -> tuple[Message, ...]:
    """Twenty messages, 1 to 30 s, pauses of up to 1 s inside, -12 to -35 dBFS RMS."""
    made = []
    edge = np.zeros(round(EDGE_S * RATE_HZ), np.float32)
    for number, (voice, speed, parts, pauses, level) in enumerate(_MESSAGES):
        texts = _PARTS[voice.partition("+")[0]]
        pieces: list[Samples] = [edge]
        for index, part in enumerate(parts):
            if index:
                pause_s = pauses[(index - 1) % len(pauses)]
                pieces.append(np.zeros(round(pause_s * RATE_HZ), np.float32))
            pieces.append(_spoken(voice, speed, texts[part]))
        mono = np.concatenate((*pieces, edge))
        samples = np.stack((mono, mono), axis=1)
        name = f"{number + 1:02} {voice}"
        made.append(Message(name, samples, *_truth(samples)).at(level))
    return tuple(made)


def build(
    *,
    count: int = 20,
    level_dbfs: float | None = None,
    lead_s: float = 1.5,
    chimes: bool = False,
    music: bool = False,
    bed: Literal["music", "pink", "white"] | None = None,
    bed_dbfs: float = -55.0,
) -> Scene:
    """Put a scene together.

    Args:
        count: The first so many messages.
        level_dbfs: RMS of each message; ``None``: each at its own, -12 to -35.
        lead_s: What comes before the first.
        chimes: A notification in each gap, at least 0.5 s from the messages.
        music: 5 s of it in each second gap, which grows to 6.6 to 7.4 s; with a notification
            after it to 7.6 to 9.1 s.
        bed: What sounds all the time underneath.
        bed_dbfs: RMS of that.
    """
    random = np.random.default_rng(4)
    pieces: list[Samples] = []
    truth: list[Place] = []
    others: list[Place] = []
    at = 0

    def add(samples: Samples) -> int:
        nonlocal at
        pieces.append(samples)
        at += len(samples)
        return at - len(samples)

    def rest(length_s: float) -> None:
        add(np.zeros((round(length_s * RATE_HZ), 2), np.float32))

    rest(lead_s)
    for index, original in enumerate(messages()[:count]):
        message = original if level_dbfs is None else original.at(level_dbfs)
        spoken = message.samples[message.start_frame : message.end_frame]
        start = add(spoken)
        truth.append(Place(message.name, start, start + len(spoken)))
        gap_s = float(random.uniform(2, 4))
        if music and index % 2:
            rest(float(random.uniform(0.8, 1.2)))
            song = song_of(5.0, seed=index) * np.float32(0.2)
            others.append(Place("music", start := add(song), start + len(song)))
            rest(float(random.uniform(0.8, 1.2)))
            if chimes:
                chime = CHIMES[index % len(CHIMES)]()
                others.append(Place("chime", start := add(chime), start + len(chime)))
                rest(float(random.uniform(0.8, 1.2)))
        elif chimes:
            chime = CHIMES[index % len(CHIMES)]()
            spare_s = gap_s - len(chime) / RATE_HZ - 1.0
            before_s = 0.5 + float(random.uniform(0, max(spare_s, 0)))
            rest(before_s)
            others.append(Place("chime", start := add(chime), start + len(chime)))
            rest(gap_s - before_s - len(chime) / RATE_HZ)
        else:
            rest(gap_s)
    samples = np.concatenate(pieces)
    if bed is not None:
        under = _bed(bed, len(samples))
        under *= np.float32(10 ** (bed_dbfs / 20)) / np.sqrt(np.mean(np.square(under)))
        samples = samples + under
    return Scene(_rounded(np.clip(samples, -1, 1)), tuple(truth), tuple(others))


def ding(pitch_hz: float = 1320.0, length_s: float = 0.6) -> Samples:
    """A bell: one tone that dies away."""
    return _stereo(0.3 * _tone(pitch_hz, length_s) * _decay(length_s, length_s / 5))


def two_tone() -> Samples:
    """A door bell: a third downwards."""
    return np.concatenate((ding(988, 0.35), ding(784, 0.65)))


def marimba() -> Samples:
    """Four wooden notes upwards, with their overtones."""
    notes = [
        (_tone(pitch, 0.2) + 0.3 * _tone(4 * pitch, 0.2)) * _decay(0.2, 0.05)
        for pitch in (523.0, 659.0, 784.0, 1047.0)
    ]
    return _stereo(0.25 * np.concatenate(notes))


def blip() -> Samples:
    """A short slide upwards, as messengers make when something arrives."""
    seconds = np.arange(round(0.2 * RATE_HZ)) / RATE_HZ
    wave_ = np.sin(2 * np.pi * (600 * seconds + 2500 * seconds**2)) * np.hanning(len(seconds))
    return _stereo(0.3 * wave_)


def knock() -> Samples:
    """Two soft knocks: noise that is gone at once."""
    noise = np.random.default_rng(7).standard_normal(round(0.15 * RATE_HZ))
    low = np.convolve(noise, np.hanning(96) / 48, "same") * _decay(0.15, 0.02)
    return _stereo(0.8 * np.concatenate((low, low)))


CHIMES = (ding, two_tone, marimba, blip, knock, lambda: ding(2093, 1.0))


def song_of(length_s: float, seed: int) -> Samples:
    """Chords, a tune and drums, nobody sings; RMS about -12 dBFS. Another tune for each seed."""
    random = np.random.default_rng(seed)
    beat_s = float(random.uniform(0.22, 0.45))
    scale = 220.0 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
    out = np.zeros(round(length_s * RATE_HZ) + RATE_HZ)
    beats = int(length_s / beat_s) + 1
    for beat in range(beats):
        at = round(beat * beat_s * RATE_HZ)
        if beat % 4 == 0:
            root = int(random.integers(0, 4))
            for step in (0, 2, 4):
                _add(out, at, 0.12 * _pluck(float(scale[root + step]) / 2, 4 * beat_s, 4))
        if random.random() < 0.8:
            pitch = float(scale[random.integers(0, 8)]) * 2
            _add(out, at, 0.2 * _pluck(pitch, float(random.choice([1, 2])) * beat_s, 3))
        kick = np.sin(2 * np.pi * 30 * _decay(0.15, 0.05)) * _decay(0.15, 0.05)
        snare = random.standard_normal(round(0.12 * RATE_HZ)) * _decay(0.12, 0.03)
        _add(out, at, 0.5 * kick if beat % 2 == 0 else 0.2 * snare)
        hat = np.diff(random.standard_normal(round(0.04 * RATE_HZ) + 1)) * _decay(0.04, 0.01)
        _add(out, at + round(beat_s * RATE_HZ / 2), 0.08 * hat)
    out = out[: round(length_s * RATE_HZ)]
    out *= 0.25 / np.sqrt(np.mean(out**2))
    return _stereo(np.clip(out, -1, 1))


def write_wav(path: Path, samples: Samples) -> Path:
    """Write sound as WAV, 16 bit at 48 000 Hz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(_to_16_bit(samples).tobytes())
    return path


@cache
def _spoken(voice: str, speed: int, text: str) -> Samples:
    """What espeak-ng says, mono, without the silence around it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        command = ["espeak-ng", "-v", voice, "-s", str(speed), "-w", str(path), text]
        subprocess.run(command, check=True, timeout=20, capture_output=True)
        with wave.open(str(path)) as file:
            assert (file.getframerate(), file.getnchannels()) == (ESPEAK_HZ, 1)
            raw = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    loud = np.flatnonzero(raw)
    mono = raw[loud[0] : loud[-1] + 1].astype(np.float64) / 32768
    return _resampled(mono)


def _resampled(mono: NDArray[np.float64]) -> Samples:
    """To 48 000 Hz, through its spectrum: exact, as long as silence is put at the end."""
    frames = round(len(mono) * RATE_HZ / ESPEAK_HZ)
    # 22 050 Hz and 48 000 Hz meet every 147 and 320 samples.
    length = -(-(len(mono) + 2048) // 147) * 147
    spectrum = np.fft.rfft(mono, length)
    out = np.fft.irfft(spectrum, length // 147 * 320) * (320 / 147)
    return out[:frames].astype(np.float32)


def heard(samples: Samples) -> Scene:
    """A scene of one message: what an output has played of it, shape (frames, 2).

    On a busy machine players stumble; what they made of a message is what there is to be kept.
    """
    return Scene(samples, (Place("heard", *_truth(samples)),), ())


def _truth(samples: Samples) -> tuple[int, int]:
    whole = len(samples) // FRAME * FRAME
    power = np.square(samples[:whole]).reshape(-1, FRAME * samples.shape[1]).mean(axis=1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-TRUTH_DB / 10))
    return int(loud[0]) * FRAME, (int(loud[-1]) + 1) * FRAME


def _bed(kind: str, frames: int) -> Samples:
    if kind == "music":
        return song_of(frames / RATE_HZ + 0.001, seed=99)[:frames]
    if kind == "white":
        return _stereo(np.random.default_rng(5).standard_normal(frames))
    length = 2**20  # 22 s, again and again without a seam, and quick to transform
    spectrum = np.fft.rfft(np.random.default_rng(5).standard_normal(length))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[: 20 * length // RATE_HZ] = 0  # nobody hears below 20 Hz
    return np.resize(_stereo(np.fft.irfft(spectrum, length)), (frames, 2))


def _pluck(pitch_hz: float, length_s: float, overtones: int) -> NDArray[np.float64]:
    tone = sum(
        (_tone(pitch_hz * number, length_s) / number for number in range(1, overtones + 1)),
        np.zeros(round(length_s * RATE_HZ)),
    )
    return tone * _decay(length_s, length_s / 2)


def _tone(pitch_hz: float, length_s: float) -> NDArray[np.float64]:
    return np.sin(2 * np.pi * pitch_hz * np.arange(round(length_s * RATE_HZ)) / RATE_HZ)


def _decay(length_s: float, tau_s: float) -> NDArray[np.float64]:
    """Rises in 5 ms, dies away, and is let go within the last 10 ms."""
    seconds = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    attack = np.minimum(seconds / 0.005, 1)
    release = np.minimum((length_s - seconds) / 0.010, 1)
    return attack * release * np.exp(-seconds / tau_s)


def _add(out: NDArray[np.float64], at: int, sound: NDArray[np.float64]) -> None:
    room = max(0, min(len(sound), len(out) - at))
    out[at : at + room] += sound[:room]


def _stereo(mono: NDArray[np.float64]) -> Samples:
    return np.stack((mono, mono), axis=1).astype(np.float32)


def _to_16_bit(samples: Samples) -> NDArray[np.int16]:
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2")


def _rounded(samples: Samples) -> Samples:
    """As it comes out of a 16-bit file: silence is exactly zero."""
    return _to_16_bit(samples).astype(np.float32) / np.float32(32768)

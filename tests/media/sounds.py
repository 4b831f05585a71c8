"""Films and sound files of every kind, made by the real FFmpeg once for all tests of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import numpy as np

from tests.media.broken import run_ffmpeg

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["COPIED", "decoded", "make_film", "played", "samples"]

LENGTH_S = 3.1
_SOUND = (
    "-f",
    "lavfi",
    "-i",
    (
        "aevalsrc=0.3*sin(2*PI*440*t)+0.05*random(1)|0.2*sin(2*PI*330*t*(1+t/9))+0.02*random(2)"
        f":sample_rate=48000:duration={LENGTH_S}"
    ),
)
_FILM = ("-f", "lavfi", "-i", f"testsrc=size=96x64:rate=10:duration={LENGTH_S}")

COPIED: dict[str, tuple[str, str]] = {
    "aac.mp4": ("aac", ".m4a"),
    "aac.mkv": ("aac", ".m4a"),
    "aac.mov": ("aac", ".m4a"),
    "aac.avi": ("aac", ".m4a"),
    "aac.ts": ("aac", ".m4a"),
    "aac.aac": ("aac", ".m4a"),
    "opus.mp4": ("libopus", ".opus"),
    "opus.mkv": ("libopus", ".opus"),
    "opus.webm": ("libopus", ".opus"),
    "opus.ogg": ("libopus", ".opus"),
    "mp3.mp4": ("libmp3lame", ".mp3"),
    "mp3.mkv": ("libmp3lame", ".mp3"),
    "mp3.mov": ("libmp3lame", ".mp3"),
    "mp3.avi": ("libmp3lame", ".mp3"),
    "mp3.mp3": ("libmp3lame", ".mp3"),
    "flac.mp4": ("flac", ".flac"),
    "flac.mkv": ("flac", ".flac"),
    "flac.ogg": ("flac", ".flac"),
    "vorbis.mp4": ("libvorbis", ".ogg"),
    "vorbis.mkv": ("libvorbis", ".ogg"),
    "vorbis.webm": ("libvorbis", ".ogg"),
    "vorbis.ogg": ("libvorbis", ".ogg"),
    "pcm16.mkv": ("pcm_s16le", ".wav"),
    "pcm16.mov": ("pcm_s16le", ".wav"),
    "pcm16.avi": ("pcm_s16le", ".wav"),
    "pcm24.mkv": ("pcm_s24le", ".wav"),
    "pcm24big.mov": ("pcm_s24be", ".wav"),
    "pcm16big.mov": ("pcm_s16be", ".wav"),
    "pcmfloat.mkv": ("pcm_f32le", ".wav"),
    "ulaw.wav": ("pcm_mulaw", ".wav"),
    "alac.mov": ("alac", ".m4a"),
    "ac3.mkv": ("ac3", ".ac3"),
    "mp2.ts": ("mp2", ".mka"),
}
"""File: the encoder of its sound, and what a copy is called."""

_SOUND_ONLY = {".aac", ".mp3", ".wav", ".ogg", ".flac", ".opus"}


def make_film(path: Path, encoder: str, *arguments: str) -> Path:
    """A film, or a sound file where its ending says so, of ``LENGTH_S`` with one sound track."""
    if path.suffix in _SOUND_ONLY:
        run_ffmpeg(*_SOUND, "-c:a", encoder, *arguments, path)
        return path
    picture = "libvpx" if path.suffix == ".webm" else "mpeg4"
    inputs = (*_FILM, *_SOUND, "-c:v", picture, "-c:a", encoder, "-strict", "-2")
    run_ffmpeg(*inputs, *arguments, path)
    return path


def decoded(path: Path, track: int = 0) -> bytes:
    """A sound track as FFmpeg decodes it, float32."""
    return run_ffmpeg("-i", path, "-map", f"0:a:{track}", "-f", "f32le", "-")


def played(path: Path) -> NDArray[Any]:
    """The first sound track as the FFmpeg inside PyAV plays it: floats, channels in turn.

    It leaves out what Matroska says is not to be heard. Programs before FFmpeg 8 play that but for
    Opus, and those from FFmpeg 7 say it of all that an encoder puts before the sound.
    """
    resampler = av.AudioResampler(format="flt")
    with av.open(str(path)) as container:
        frames = [one for frame in container.decode(audio=0) for one in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def samples(path: Path, form: str = "s16le") -> NDArray[Any]:
    """A sound track as FFmpeg decodes it: 16 or 32 bits, or floats."""
    dtype = {"s16le": np.int16, "s32le": np.int32, "f32le": np.float32}[form]
    return np.frombuffer(run_ffmpeg("-i", path, "-map", "0:a:0", "-f", form, "-"), dtype)

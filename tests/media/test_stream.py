"""Sound for a player: what is read is the file, from any place on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from capture.errors import DamagedFileError, MediaError
from capture.media.read.decode import read_sound
from capture.media.read.stream import SoundStream
from tests.media.broken import BROKEN, make_broken, run_ffmpeg

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NOISE = ("-f", "lavfi", "-i", "anoisesrc=d=9:r=48000:a=0.3:c=pink:seed=5")
CODINGS = {
    ".wav": ("-c:a", "pcm_s16le"),
    ".flac": ("-c:a", "flac"),
    ".opus": ("-c:a", "libopus"),
    ".mp3": ("-c:a", "libmp3lame"),
    ".m4a": ("-c:a", "aac"),
    ".mkv": ("-c:a", "libvorbis", "-ac", "2"),
}
OFF_S = {".mkv": 0.005}
"""Matroska's times are whole milliseconds, and Vorbis's first block is shorter than it says."""


def place_of(piece: NDArray[np.float32], whole: NDArray[np.float32], near: int) -> int:
    """Where a piece lies; AAC draws its noise anew, so that it is only much alike."""
    lowest = max(0, near - 6000)
    around = whole[lowest : near + len(piece) + 6000, 0]
    return lowest + int(np.argmax(np.correlate(around, piece[:, 0], "valid")))


def read(stream: SoundStream, seconds: float) -> NDArray[np.float32]:
    """That much, or what is left."""
    pieces, frames = [], 0
    while frames < seconds * stream.rate_hz and (piece := stream.read()) is not None:
        pieces.append(piece)
        frames += len(piece)
    return np.concatenate(pieces or [np.zeros((0, stream.channels), np.float32)])


@pytest.mark.parametrize("ending", CODINGS)
def test_any_place_is_found_to_the_sample(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"noise{ending}"
    run_ffmpeg(*NOISE, *CODINGS[ending], path)
    whole, rate_hz, _ = read_sound(path)
    with SoundStream(path) as stream:
        assert (stream.rate_hz, stream.channels) == (rate_hz, whole.shape[1])
        assert stream.duration_s == pytest.approx(9.0, abs=0.1)
        assert np.array_equal(read(stream, 99), whole)
        for to_s in (3.21, 0.0, 8.5, 0.7):
            stream.seek(to_s)
            piece = read(stream, 0.3)[: round(0.25 * rate_hz)]
            wanted = round(to_s * rate_hz)  # a player's 0 is where the first sample is
            off = abs(place_of(piece, whole, wanted) - wanted)
            assert off <= OFF_S.get(ending, 0.0) * rate_hz, to_s
        stream.seek(20.0)
        assert stream.read() is None
        stream.seek(1.0)
        assert stream.read() is not None
    stream.close()


def test_another_rate_and_more_channels(tmp_path: Path) -> None:
    path = tmp_path / "six.flac"
    run_ffmpeg(*NOISE, "-ac", "6", path)
    with SoundStream(path, 24_000) as stream:
        assert stream.channels == 2
        assert read(stream, 99).shape == pytest.approx((9 * 24_000, 2), abs=2)


def test_what_is_broken_is_said_and_not_played(tmp_path: Path) -> None:
    said = 0
    for path in make_broken(tmp_path):
        with contextlib.suppress(DamagedFileError, MediaError):
            said += 1
            with SoundStream(path) as stream:
                said -= 1
                assert not len(read(stream, 99)), path
    assert said >= len(BROKEN) - 2  # a file of headers, and zeroes after one, hold no sound at all

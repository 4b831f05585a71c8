"""Writers on the real thing: every container in step, whole after a clean end and after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from capture.errors import ConfigError, EncoderUnavailableError, OutputError
from capture.media.write.encode import choose_video_encoder, list_video_encoders, pcm16
from capture.media.write.mux import CONTAINERS, check_tracks, container_of
from tests.media.films import read_picture_times, read_sound, video_end
from tests.media.writing import open_writing

RATE = 48_000
FPS = 30
FILMS = [suffix for suffix, container in CONTAINERS.items() if not container.is_audio_only]
SOUNDS = [suffix for suffix, container in CONTAINERS.items() if container.is_audio_only]
FLASH_S = 2.0
KILL = 9
"""SIGKILL, which the signal module of Windows does not name."""


def grey(level: int, size: tuple[int, int] = (320, 180)) -> av.VideoFrame:
    frame = av.VideoFrame(*size, "yuv420p")
    for plane, value in zip(frame.planes, (level, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    return frame


def write(path: Path, seconds: float, *, picture_every: int = 1, kill: bool = False) -> None:
    """A film that is dark and quiet, but for a flash and a beep at FLASH_S; maybe killed."""
    encoder = container_of(path).video_encoder
    writing = open_writing(path, like=grey(16) if encoder else None, encoder=encoder or "", fps=FPS)
    samples_per_picture = RATE // FPS
    rng = np.random.default_rng(1)
    for number in range(round(seconds * FPS)):
        is_flash = 0 <= number - FLASH_S * FPS < 6
        if encoder is not None and (is_flash or number % picture_every == 0):
            at_ns = round(number * 1e9 / FPS)
            writing.picture(grey(235 if is_flash else 16), at_ns, is_key=number % 150 == 0)
        level = np.float32(0.5 if is_flash else 0.001)
        sound = (rng.random((samples_per_picture, 2), np.float32) - np.float32(0.5)) * level
        writing.sound(sound)
    if kill:
        os.kill(os.getpid(), KILL)
    writing.close()


@pytest.mark.parametrize("suffix", FILMS)
def test_sound_and_picture_of_a_film_are_in_step(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"film{suffix}"
    write(path, 4)
    flash_s = None
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.to_ndarray(format="gray").mean() > 150:
                flash_s = float(frame.time or 0)
                break
    assert flash_s is not None
    sound = read_sound(path)
    beep_s = sound.start_s + np.argmax(np.abs(sound.samples[:, 0]) > 0.1) / RATE
    # Matroska counts in milliseconds, both for the picture and for the sound.
    tolerance_s = 0.002 if suffix in {".mkv", ".webm"} else 0.001
    assert beep_s - flash_s == pytest.approx(0, abs=tolerance_s)


@pytest.mark.parametrize("suffix", SOUNDS)
def test_sound_files_have_the_right_length(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"sound{suffix}"
    write(path, 3)
    sound = read_sound(path)
    assert sound.end_s == pytest.approx(3, abs=0.03)
    beep = int(np.argmax(np.abs(sound.samples[:, 0]) > 0.1))
    assert sound.start_s + beep / RATE == pytest.approx(FLASH_S, abs=0.001)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_lossless_sound_comes_back_bit_for_bit(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"sound{suffix}"
    rng = np.random.default_rng(3)
    original = rng.integers(-32768, 32768, (RATE, 2)).astype(np.int16)
    writing = open_writing(path)
    writing.sound((original / 32768).astype(np.float32))
    writing.close()
    assert np.array_equal(pcm16(read_sound(path).samples), original)


@pytest.mark.parametrize("suffix", [*FILMS, *SOUNDS])
def test_a_killed_recording_plays_and_lost_at_most_a_second_and_a_half(
    suffix: str, tmp_path: Path
) -> None:
    # A still picture and a quiet room: what fills no buffer is what other recorders lose.
    path = tmp_path / f"killed{suffix}"
    code = (
        "import sys; from pathlib import Path; from tests.media.test_mux import write;"
        "write(Path(sys.argv[1]), 8, picture_every=15, kill=True)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=root, check=False, stderr=subprocess.PIPE
    )
    assert done.returncode == -KILL, done.stderr.decode()
    assert read_sound(path).end_s >= 8 - 1.5
    if suffix in FILMS:
        assert video_end(path) >= 8 - 1.5


def test_a_static_picture_keeps_its_times(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write(path, 3, picture_every=15)
    times = read_picture_times(path)
    expected = sorted({n / FPS for n in range(0, 90, 15)} | {n / FPS for n in range(60, 66)})
    assert times == pytest.approx(expected, abs=0.0005)


def test_chapters_are_written(tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv"):
        path = tmp_path / f"film{suffix}"
        writing = open_writing(path)
        writing.sound(np.zeros((4 * RATE, 2), np.float32))
        writing.close((0, 1.5, "one"), (1.5, 4, "two"))
        with av.open(str(path)) as container:
            chapters: list[Any] = list(container.chapters())
        assert [c["metadata"]["title"] for c in chapters] == ["one", "two"]
        assert float(chapters[1]["start"] * chapters[1]["time_base"]) == pytest.approx(1.5)


def test_an_existing_file_is_never_touched(tmp_path: Path) -> None:
    path = tmp_path / "old.mp4"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists"):
        open_writing(path)
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing\0name.mp4", None), ("x" * 300 + ".mp4", "too long"), ("file.txt/a.mp4", "folder")],
)
def test_what_cannot_be_written_is_said_in_one_sentence(
    name: str, reason: str | None, tmp_path: Path
) -> None:
    (tmp_path / "file.txt").write_text("a file")
    with pytest.raises((OutputError, ValueError), match=reason):
        open_writing(tmp_path / name)


@pytest.mark.parametrize("name", ["film.avi", "film", "film.mp5"])
def test_unknown_endings_name_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        container_of(Path(name))
    assert caught.value.hint is not None
    assert ".mp4" in caught.value.hint


def test_what_a_container_cannot_hold_is_refused() -> None:
    for suffix, tracks, with_video, codec in (
        (".opus", 1, True, None),
        (".wav", 2, False, None),
        (".webm", 1, True, "aac"),
        (".mp4", 0, False, None),
    ):
        container = CONTAINERS[suffix]
        with pytest.raises(ConfigError):
            check_tracks(container, with_video=with_video, audio_tracks=tracks, codec=codec)


def test_encoders_are_proved_before_they_are_used() -> None:
    assert "libx264" in list_video_encoders()
    assert choose_video_encoder("libx264", (320, 180), 30)[0] == "libx264"
    name, reason = choose_video_encoder("auto", (320, 180), 30)
    assert name in list_video_encoders()
    assert reason
    with pytest.raises(EncoderUnavailableError, match="there is no encoder"):
        choose_video_encoder("h266", (320, 180), 30)


def test_lossless_pictures_are_lossless(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    rng = np.random.default_rng(5)
    original = rng.integers(0, 256, (90, 160, 3)).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(original, format="bgr24").reformat(format="bgr0")
    writing = open_writing(
        path, like=frame, encoder="libx264rgb", quality="lossless", channels=None
    )
    writing.picture(frame, 0, is_key=True)
    writing.close()
    with av.open(str(path)) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="bgr24")
    assert np.array_equal(shown, original)

"""What files say about themselves."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

import capture
from capture.errors import DamagedFileError
from capture.media.check.probe import probe
from tests.media.broken import BROKEN, make_broken, run_ffmpeg
from tests.media.sounds import LENGTH_S, make_film

if TYPE_CHECKING:
    from pathlib import Path


def test_tracks_durations_languages_and_chapters(tmp_path: Path) -> None:
    notes = tmp_path / "chapters.txt"
    notes.write_text(
        ";FFMETADATA1\ntitle=Talk\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=500\nEND=2000\ntitle=One\n"
    )
    tone = "sine=440:sample_rate=48000:duration=4"
    source = tmp_path / "in.mkv"
    run_ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=size=96x64:rate=10:duration=4"),
        *("-f", "lavfi", "-i", tone, "-itsoffset", "1.5", "-f", "lavfi", "-i", tone, "-i", notes),
        *("-map", "0", "-map", "1", "-map", "2", "-map_metadata", "3", "-map_chapters", "3"),
        *("-c:v", "mpeg4", "-c:a:0", "flac", "-c:a:1", "libopus", "-ac:a:1", "2"),
        *("-metadata:s:a:1", "language=ger", "-metadata:s:a:1", "title=Mikro", source),
    )
    found = capture.probe(source)
    assert found.container.startswith("matroska")
    assert found.duration_s == pytest.approx(5.5, abs=0.05)
    assert found.tags["title"] == "Talk"
    assert found.size_bytes == source.stat().st_size
    film, first, second = found.tracks
    assert (film.kind, film.codec, film.width_px, film.height_px) == ("video", "mpeg4", 96, 64)
    assert film.fps == pytest.approx(10)
    assert (first.codec, first.rate_hz, first.channels, first.number) == ("flac", 48_000, 1, 1)
    assert (second.codec, second.language, second.title) == ("opus", "ger", "Mikro")
    assert (second.layout, second.number) == ("stereo", 2)
    assert second.start_s == pytest.approx(1.5, abs=0.02)
    assert first.duration_s == pytest.approx(4.0, abs=0.1)
    (chapter,) = found.chapters
    assert (chapter.start_s, chapter.end_s, chapter.title) == (0.5, 2.0, "One")
    assert found.sound_tracks == (first, second)
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - ours


def test_ogg_says_of_itself_in_its_stream(tmp_path: Path) -> None:
    source = tmp_path / "in.opus"
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-metadata", "title=Message", source)
    assert probe(source).tags["title"] == "Message"


def test_loudness_is_that_of_the_whole_track(tmp_path: Path) -> None:
    source = tmp_path / "in.wav"
    # 1 kHz at full scale in one channel is -3.01 LUFS by definition (BS.1770-4), here 20 dB less.
    run_ffmpeg("-f", "lavfi", "-i", "aevalsrc=0.1*sin(2*PI*997*t):s=48000:d=5", source)
    (track,) = probe(source, with_loudness=True).tracks
    assert track.loudness is not None
    assert track.loudness.integrated_lufs == pytest.approx(-23.0, abs=0.1)
    assert track.loudness.true_peak_dbtp == pytest.approx(-20.0, abs=0.1)
    assert probe(source).tracks[0].loudness is None


def test_an_mp4_counts_from_what_is_heard(tmp_path: Path) -> None:
    (track,) = probe(make_film(tmp_path / "in.mp4", "aac")).sound_tracks
    assert track.start_s == 0.0
    assert track.duration_s == pytest.approx(LENGTH_S, abs=0.001)
    assert track.profile == "LC"
    assert track.packets


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_media_file_is_refused(kind: str, tmp_path: Path) -> None:
    (source,) = (path for path in make_broken(tmp_path) if kind in path.name)
    if kind in {"silent-film", "picture"}:
        assert not probe(source).sound_tracks
        return
    with pytest.raises(DamagedFileError) as caught:
        probe(source, with_loudness=True)
    assert source.name in caught.value.message

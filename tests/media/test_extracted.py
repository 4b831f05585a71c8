"""What has been extracted before is known by its source, whatever both are called."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from capture.batch.extraction import extract_file
from capture.media.check.probe import probe
from capture.media.extract.job import extract
from capture.specs.extraction import ExtractJob
from capture.specs.voice import SoundFileSpec
from tests.media.broken import run_ffmpeg

if TYPE_CHECKING:
    from pathlib import Path

    from capture.model.extraction import ExtractResult

MANNERS = {
    "copy": {},
    "opus": {"spec": SoundFileSpec("opus", "low")},
    "mp3": {"spec": SoundFileSpec("mp3")},
    "ogg": {"spec": SoundFileSpec("ogg")},
    "flac": {"spec": SoundFileSpec("flac")},
    "wav": {"spec": SoundFileSpec("wav")},
    "whatsapp": {"spec": SoundFileSpec(messenger="whatsapp")},
    "mono": {"is_mono": True},
}


def film(path: Path, hz: int, codec: str = "aac", seconds: float = 1.0) -> Path:
    path.parent.mkdir(exist_ok=True)
    run_ffmpeg("-f", "lavfi", "-i", f"sine={hz}:duration={seconds}", "-c:a", codec, path)
    return path


def made(result: ExtractResult) -> list[str]:
    return [part.path.name for part in result.parts]


@pytest.mark.parametrize("manner", MANNERS)
def test_the_same_name_and_length_from_another_source(manner: str, tmp_path: Path) -> None:
    sources = [film(tmp_path / "a" / "hello.mp4", 300), film(tmp_path / "b" / "hello.m4v", 600)]
    for is_again in (False, True):
        results = [
            extract_file(ExtractJob(source, tmp_path / "out", **MANNERS[manner]))  # type: ignore[arg-type]
            for source in sources
        ]
        first, second = map(made, results)
        assert [result.is_skipped for result in results] == [is_again, is_again]
        assert second == [first[0].replace("hello", "hello (2)")]
    assert any("hello (2)" in text for text in extract_file_again(sources[1], tmp_path).warnings)


def extract_file_again(source: Path, folder: Path) -> ExtractResult:
    """Of another folder, whose name is taken by a third source."""
    extract_file(ExtractJob(film(folder / "c" / "hello.mp4", 900), folder / "other"))
    return extract_file(ExtractJob(source, folder / "other"))


def test_a_source_that_was_moved_and_renamed_in_place_is_known(tmp_path: Path) -> None:
    source = film(tmp_path / "hello.mp4", 300)
    extract_file(ExtractJob(source, tmp_path / "out"))
    moved = tmp_path / "new" / "hello.mov"
    moved.parent.mkdir()
    shutil.move(source, moved)
    shutil.move(tmp_path / "out", tmp_path / "new" / "out")
    assert extract_file(ExtractJob(moved, tmp_path / "new" / "out")).is_skipped


def test_doing_it_again_replaces_the_own_file_and_no_other(tmp_path: Path) -> None:
    sources = [film(tmp_path / "a" / "x.mp4", 300), film(tmp_path / "b" / "x.mp4", 600)]
    jobs = [ExtractJob(source, tmp_path, overwrite=True) for source in sources]
    for _ in range(2):
        assert [made(extract_file(job)) for job in jobs] == [["x.m4a"], ["x (2).m4a"]]


def test_what_says_nothing_of_its_source_is_told_by_its_length(tmp_path: Path) -> None:
    source = film(tmp_path / "x.mkv", 300, "ac3", 2.0)
    (first,) = extract(ExtractJob(source, tmp_path)).parts  # bare AC-3 has no place for tags
    assert first.path.name == "x.ac3"
    assert extract_file(ExtractJob(source, tmp_path)).is_skipped
    longer = film(tmp_path / "b" / "x.mkv", 300, "ac3", 4.0)
    assert made(extract_file(ExtractJob(longer, tmp_path))) == ["x (2).ac3"]


def test_tags_stay_and_the_mark_is_not_handed_on(tmp_path: Path) -> None:
    source = tmp_path / "x.mp4"
    tone = ("-f", "lavfi", "-i", "sine=300:duration=1", "-c:a", "aac")
    run_ffmpeg(*tone, "-metadata", "comment=two\nlines", source)
    (first,) = extract(ExtractJob(source, tmp_path / "1")).parts
    (second,) = extract(ExtractJob(first.path, tmp_path / "2", spec=SoundFileSpec("opus"))).parts
    for part in (first, second):
        tags = {key.lower(): text for key, text in probe(part.path).tags.items()}
        comment = tags.get("comment", tags.get("description", ""))
        assert comment.startswith("two\nlines")
        assert comment.count("source_id: ") == 1
    other = film(tmp_path / "y" / "x.mp4", 300)
    assert not extract_file(replace(ExtractJob(other, tmp_path / "1"))).is_skipped


def test_a_long_name_keeps_its_number(tmp_path: Path) -> None:
    stem = "ü" * 120
    for number, hz in enumerate((300, 600, 900), 1):
        source = film(tmp_path / str(number) / f"{stem}.mp4", hz)
        (name,) = made(extract_file(ExtractJob(source, tmp_path, is_mono=True)))
        assert name.endswith(f"ü{f' ({number})' if number > 1 else ''} mono.m4a")
        assert len(os.fsencode(name)) <= 255

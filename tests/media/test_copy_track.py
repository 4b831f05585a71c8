"""Copies of what is cut or padded in unusual ways decode to the samples of their sources."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from capture.errors import MediaError
from capture.media.extract.job import extract
from capture.specs.extraction import ExtractJob
from capture.specs.voice import SoundFileSpec
from tests.media.broken import run_ffmpeg
from tests.media.sounds import decoded, played, samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RATE_HZ = 48_000
PACKET = 1024
STEPS = "aevalsrc=0.4*sin(2*PI*(200+100*floor(t))*t):sample_rate=48000:duration=6"
"""200 Hz in the first second, 300 Hz in the second, and so on."""


def boxes(data: bytes | bytearray, start: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        yield start, size, kind
        start += size


def with_edits(path: Path, edits: list[tuple[int, int]]) -> Path:
    """The MP4 file of one track with this edit list: (length in ms, first sample of the media)."""
    data = bytearray(path.read_bytes())
    parents: list[int] = []
    start, size = 0, len(data)
    for kind in (b"moov", b"trak", b"edts"):
        head = 8 if parents else 0
        start, size, _ = next(b for b in boxes(data, start + head, start + size) if b[2] == kind)
        parents.append(start)
    entries = b"".join(struct.pack(">IiI", length, first, 1 << 16) for length, first in edits)
    elst = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(edits)) + entries
    data[start : start + size] = struct.pack(">I4s", 8 + len(elst), b"edts") + elst
    for parent in parents[:2]:
        (old,) = struct.unpack_from(">I", data, parent)
        struct.pack_into(">I", data, parent, old + 8 + len(elst) - size)
    target = path.with_name(f"edited{path.suffix}")
    target.write_bytes(data)
    return target


def pitches(path: Path) -> set[int]:
    """The tones, in hundreds of Hz, that are heard for two tenths of a second or more."""
    sound = played(path)
    step = RATE_HZ // 10
    tenths = sound[: len(sound) // step * step].reshape(-1, step)
    found = [round(int(np.abs(np.fft.rfft(tenth)).argmax()) / 10) * 100 for tenth in tenths]
    return {tone for tone in found if found.count(tone) > 1}


def assert_same(copy: Path, source: Path) -> None:
    """Both decode to the same samples; an MP3 takes a moment, as it leaves out 4 packets at most.

    What lies before them, its first packets would borrow bits from.
    """
    ours, theirs = played(copy), played(source)
    slack = PACKET if copy.suffix == ".mp3" else 0
    assert len(ours) == len(theirs)
    assert np.array_equal(ours[slack:], theirs[slack:])


@pytest.fixture(params=["aac.m4a", "libmp3lame.mp4", "libopus.mp4", "pcm_s16le.mov"])
def steps(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    encoder, _, suffix = request.param.partition(".")
    path = tmp_path / f"steps.{suffix}"
    run_ffmpeg("-f", "lavfi", "-i", STEPS, "-c:a", encoder, path)
    return path


@pytest.mark.parametrize(
    ("edits", "heard"),
    [
        ([(1000, PACKET), (2000, 3 * RATE_HZ)], {200, 500, 600}),
        ([(500, PACKET), (700, RATE_HZ + 2345), (1000, 4 * RATE_HZ + 100)], {200, 300, 600}),
        ([(800, RATE_HZ + PACKET), (800, RATE_HZ + PACKET)], {300}),
        ([(500, -1), (900, 4 * RATE_HZ + 999), (900, PACKET)], {600, 200}),
    ],
    ids=["one cut", "two cuts", "repeated", "late and swapped"],
)
def test_what_an_edit_list_cuts_out_does_not_come_back(
    steps: Path, edits: list[tuple[int, int]], heard: set[int], tmp_path: Path
) -> None:
    source = with_edits(steps, edits)
    result = extract(ExtractJob(source, tmp_path / "out"))
    (part,) = result.parts
    assert len(played(part.path)) == len(played(source))
    assert pitches(part.path) == heard
    assert part.duration_s == pytest.approx(sum(ms for ms, at in edits if at >= 0) / 1000, abs=0.12)
    assert not any("jumps" in text or "lacks" in text for text in result.warnings)
    if not result.warnings:
        assert_same(part.path, source)
    else:  # what a decoder remembers is not that of the source
        assert part.codec != "pcm_s16le"
        assert all("by the edit list" in text for text in result.warnings)


def test_a_stretch_behind_a_cut_lies_where_the_edit_list_puts_it(tmp_path: Path) -> None:
    path = tmp_path / "steps.m4a"
    run_ffmpeg("-f", "lavfi", "-i", STEPS, "-c:a", "aac", path)
    source = with_edits(path, [(1000, PACKET), (2000, 3 * RATE_HZ + PACKET)])
    (part,) = extract(ExtractJob(source, tmp_path / "out", start_s=1.2, end_s=1.8)).parts
    assert pitches(part.path) == {500}
    assert part.duration_s == pytest.approx(0.6, abs=2 * PACKET / RATE_HZ)


@pytest.mark.parametrize("first", [5 * PACKET, 60_000, 2 * RATE_HZ + 777])
def test_a_beginning_that_an_edit_list_leaves_out_stays_out(
    steps: Path, first: int, tmp_path: Path
) -> None:
    source = with_edits(steps, [(2500, first)])
    result = extract(ExtractJob(source, tmp_path / "out"))
    (part,) = result.parts
    assert_same(part.path, source)
    assert not result.warnings


def test_what_a_container_cannot_leave_out_is_named(tmp_path: Path) -> None:
    path = tmp_path / "steps.mp4"
    run_ffmpeg("-f", "lavfi", "-i", STEPS, "-c:a", "flac", "-strict", "-2", path)
    source = with_edits(path, [(2000, 2 * 4608 + 1000)])
    result = extract(ExtractJob(source, tmp_path / "out"))
    assert len(samples(result.parts[0].path)) < 2.2 * RATE_HZ
    assert result.warnings == (
        "a .flac file cannot mark its first 1000 samples, which should not be heard",
    )


@pytest.mark.parametrize("rate_hz", [44_100, 24_000])
@pytest.mark.parametrize(
    ("delay", "padding"), [(1105, 2000), (576, 4000), (4095, 4095), (2000, 0), (0, 529), (100, 100)]
)
def test_an_mp3_may_state_any_delay_and_padding(
    rate_hz: int, delay: int, padding: int, tmp_path: Path
) -> None:
    source = tmp_path / "in.mp3"
    tone = f"aevalsrc=0.3*sin(2*PI*440*t)+0.1*random(1):sample_rate={rate_hz}:duration=3.3"
    run_ffmpeg("-f", "lavfi", "-i", tone, "-c:a", "libmp3lame", source)
    data = bytearray(source.read_bytes())
    at = max(data.find(b"Xing"), data.find(b"Info")) + 120 + 21
    data[at : at + 3] = (delay << 12 | padding).to_bytes(3, "big")
    source.write_bytes(data)
    result = extract(ExtractJob(source, tmp_path / "out"))
    (part,) = result.parts
    assert decoded(part.path) == decoded(source)
    assert part.duration_s == len(samples(source)) / rate_hz
    assert not result.warnings


CLICKS = "aevalsrc='0.9*lt(mod(t,0.0713),0.0002)+0.1*sin(2*PI*300*t)*lt(mod(t,1),0.4)'"


@pytest.mark.parametrize(
    ("suffix", "rate_hz", "length_s"),
    [
        *(("ogg", 48_000, 4.01), ("ogg", 44_100, 0.7), ("ogg", 22_050, 0.6), ("ogg", 8_000, 5.3)),
        *(("mkv", 48_000, 3.02), ("mkv", 8_000, 4.0), ("mp4", 48_000, 3.02), ("mp4", 22_050, 1.5)),
    ],
)
def test_vorbis_with_blocks_of_both_sizes(
    suffix: str, rate_hz: int, length_s: float, tmp_path: Path
) -> None:
    first, source = tmp_path / "first.ogg", tmp_path / f"in.{suffix}"
    sound = f"{CLICKS}:sample_rate={rate_hz}:duration={length_s}"
    page = ("-page_duration", "0" if length_s < 1 else "100000")  # all in one, or many small ones
    run_ffmpeg("-f", "lavfi", "-i", sound, "-c:a", "libvorbis", *page, first)
    if suffix == "ogg":
        source = first
    else:
        run_ffmpeg("-i", first, "-c", "copy", "-strict", "-2", source)
    result = extract(ExtractJob(source, tmp_path / "out"))
    (part,) = result.parts
    assert not result.warnings
    assert decoded(part.path) == decoded(source)
    assert part.duration_s == pytest.approx(length_s, abs=0.07)


def test_vorbis_that_changes_its_tables_is_not_copied_as_noise(tmp_path: Path) -> None:
    parts = []
    for number, quality in enumerate(("2", "6")):
        path = tmp_path / f"{number}.ogg"
        sound = f"{CLICKS}:sample_rate=48000:duration=2"
        run_ffmpeg("-f", "lavfi", "-i", sound, "-c:a", "libvorbis", "-q:a", quality, path)
        parts.append(path.read_bytes())
    source = tmp_path / "both.ogg"
    source.write_bytes(b"".join(parts))
    with pytest.raises(MediaError, match="other codec tables from 2"):
        extract(ExtractJob(source, tmp_path / "out"))
    assert not list((tmp_path / "out").iterdir())
    result = extract(ExtractJob(source, tmp_path / "out", end_s=1.5))
    assert result.parts[0].duration_s == pytest.approx(1.5, abs=0.05)


@pytest.mark.parametrize("rate_hz", [32_000, 44_100])
@pytest.mark.parametrize("name", ["wmav2.wma", "ac3.mkv", "wavpack.mkv", "mp2.avi"])
def test_packets_whose_length_is_rounded_leave_no_holes(
    name: str, rate_hz: int, tmp_path: Path
) -> None:
    encoder, _, suffix = name.partition(".")
    source = tmp_path / f"in.{suffix}"
    sound = f"aevalsrc=0.3*sin(2*PI*440*t):sample_rate={rate_hz}:duration=20.3"
    run_ffmpeg("-f", "lavfi", "-i", sound, "-c:a", encoder, source)
    result = extract(ExtractJob(source, tmp_path / "out"))
    warnings = [text for text in result.warnings if "should not be heard" not in text]
    assert not warnings
    assert result.parts[0].duration_s == pytest.approx(20.3, abs=0.1)
    if not result.warnings:
        assert decoded(result.parts[0].path) == decoded(source)


@pytest.mark.parametrize("suffix", [".aac", ".ts"])
def test_a_copy_does_not_lose_what_follows_a_change_of_channels(
    suffix: str, tmp_path: Path
) -> None:
    parts = []
    for number, channels in enumerate((6, 2)):
        part = tmp_path / f"part{number}{suffix}"
        sine = f"sine=440:r=48000:d={number + 2}"
        run_ffmpeg("-f", "lavfi", "-i", sine, "-ac", str(channels), "-c:a", "aac", part)
        parts.append(part.read_bytes())
    source = tmp_path / f"joined{suffix}"
    source.write_bytes(b"".join(parts))
    with pytest.raises(MediaError, match=r"changes its rate or channels at [12]\.\d s"):
        extract(ExtractJob(source, tmp_path / "out"))
    made = extract(ExtractJob(source, tmp_path / "out", spec=SoundFileSpec("wav")))
    assert made.sound_s == pytest.approx(5, abs=0.2)

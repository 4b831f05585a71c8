"""Copies of sound of every kind: each goes to a container that gives back all of it."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from capture.cli.hints import in_options
from capture.errors import DamagedFileError, MediaError
from capture.media.extract.job import extract
from capture.media.read.stated import stated_bytes
from capture.specs.extraction import ExtractJob
from tests.media.broken import run_ffmpeg
from tests.media.sounds import decoded, samples

if TYPE_CHECKING:
    from pathlib import Path

_TONE = ("-f", "lavfi", "-i", "sine=440:sample_rate=48000:duration=2.21")
_KINDS = {
    # Name of the source: how it is made, ending of the copy.
    "dts.mkv": ("-c:a dca -strict -2 -ac 2", ".mka"),
    "dts.ts": ("-c:a dca -strict -2 -ac 6", ".mka"),
    "truehd.mkv": ("-c:a truehd -strict -2 -ac 2", ".mka"),
    "alac.mkv": ("-c:a alac", ".m4a"),
    "tta.mkv": ("-c:a tta", ".mka"),
    "wavpack.mkv": ("-c:a wavpack", ".mka"),
    "latm.ts": ("-c:a aac -mpegts_flags latm", ".latm"),
    "wma.avi": ("-c:a wmav2 -ac 2", ".wma"),
    "g722.wav": ("-c:a g722 -ar 16000", ".wav"),
    "g726.au": ("-c:a g726le -ar 8000", ".au"),
    "ima.mov": ("-c:a adpcm_ima_qt", ".caf"),
    "nelly.flv": ("-c:a nellymoser -ar 22050", ".mov"),
    "s8.aiff": ("-c:a pcm_s8", ".wav"),
    "s8.mov": ("-c:a pcm_s8 -ac 2", ".wav"),
    "f64.caf": ("-c:a pcm_f64be", ".wav"),
    "u24.nut": ("-c:a pcm_u24be", ".wav"),
    "planar.nut": ("-c:a pcm_s16le_planar -ac 2", ".wav"),
    "dvd.vob": ("-c:a pcm_dvd -ac 2 -sample_fmt s32", ".wav"),
    "disc.m2ts": ("-c:a pcm_bluray -ac 2 -mpegts_m2ts_mode 1", ".wav"),
    "smpte.ts": ("-c:a s302m -strict -2 -ac 2", ".wav"),
}


@pytest.mark.parametrize("name", _KINDS)
def test_all_frames_of_every_kind_are_in_the_copy(name: str, tmp_path: Path) -> None:
    how, ending = _KINDS[name]
    source = tmp_path / name
    run_ffmpeg(*_TONE, *how.split(), source)
    result = extract(ExtractJob(source, tmp_path / "out"))
    (part,) = result.parts
    assert part.path.suffix == ending
    assert decoded(part.path) == decoded(source)
    assert not result.warnings


@pytest.mark.parametrize(("head", "frame"), [(b"#!AMR\n", 32), (b"#!AMR-WB\n", 61)])
def test_voice_notes_of_phones_in_films_become_amr(head: bytes, frame: int, tmp_path: Path) -> None:
    note, film = tmp_path / "note.amr", tmp_path / "film.3gp"
    first = bytes([0x3C if frame == 32 else 0x44])
    noise = random.Random(1)  # noqa: S311 - any bits are sound
    note.write_bytes(head + b"".join(first + noise.randbytes(frame - 1) for _ in range(100)))
    run_ffmpeg("-i", note, "-c", "copy", film)
    (part,) = extract(ExtractJob(film, tmp_path / "out")).parts
    assert part.path.name == "film.amr"
    assert part.path.read_bytes() == note.read_bytes()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("a.flv", ("-c:a", "adpcm_swf", "-ar", "22050")), ("a.adx", ()), ("a.flv", ("-c:a", "speex"))],
)
def test_what_no_container_gives_back_is_refused(
    name: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    source = tmp_path / name
    if "speex" in arguments:
        arguments = ("-c:a", "libspeex", "-ar", "16000")
    run_ffmpeg(*_TONE, *arguments, source)
    with pytest.raises(MediaError, match="no container here takes a copy") as caught:
        extract(ExtractJob(source, tmp_path / "out"))
    assert "--format" in (in_options(caught.value.hint) or "")
    assert not [path for path in (tmp_path / "out").glob("*") if path.is_file()]


# ------------------------------------------------------------- headers that were never finished


def _wav(tmp_path: Path, *arguments: str) -> tuple[bytes, int]:
    """A WAV file and where the length of its data is written."""
    path = tmp_path / "whole.wav"
    run_ffmpeg(*_TONE, "-bitexact", *arguments, path)
    whole = path.read_bytes()
    return whole, whole.index(b"data") + 4


@pytest.mark.parametrize("length", [0, 0x7FFF_F000, 0x8000_0000, 0xFFFF_FFDB, 0xFFFF_FFFF])
@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s24le", "pcm_mulaw", "adpcm_ms"])
def test_a_wav_without_a_length_is_copied_to_its_end(
    length: int, codec: str, tmp_path: Path
) -> None:
    whole, at = _wav(tmp_path, "-c:a", codec)
    source = tmp_path / "streamed.wav"
    source.write_bytes(whole[:at] + struct.pack("<I", length) + whole[at + 4 :])
    result = extract(ExtractJob(source, tmp_path / "out"))
    assert not result.warnings
    assert decoded(result.parts[0].path) == decoded(source)
    assert stated_bytes(source) == 0


def test_a_wav_of_half_a_packet_is_not_empty(tmp_path: Path) -> None:
    whole, at = _wav(tmp_path)
    source = tmp_path / "short.wav"
    source.write_bytes(whole[:at] + b"\xff" * 4 + whole[at + 4 : at + 4 + 2 * 700 + 1])
    result = extract(ExtractJob(source, tmp_path / "out"))
    assert np.array_equal(samples(result.parts[0].path), samples(tmp_path / "whole.wav")[:700])
    assert not result.warnings


def test_an_rf64_without_lengths_is_copied_to_its_end(tmp_path: Path) -> None:
    whole, _ = _wav(tmp_path, "-rf64", "always")
    at = whole.index(b"ds64") + 8
    source = tmp_path / "long.wav"
    source.write_bytes(whole[:at] + bytes(28) + whole[at + 28 :])
    result = extract(ExtractJob(source, tmp_path / "out"))
    assert decoded(result.parts[0].path) == decoded(tmp_path / "whole.wav")
    assert not result.warnings


@pytest.mark.parametrize("name", ["cut.wav", "cut.w64", "cut.aiff"])
def test_what_was_cut_off_is_kept_and_said(name: str, tmp_path: Path) -> None:
    source = tmp_path / name
    run_ffmpeg(*_TONE, source)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2 + 1])
    result = extract(ExtractJob(source, tmp_path / "out"))
    assert result.is_partial
    assert any("is cut off: 1.1 s of 2.2 s" in text for text in result.warnings)
    assert decoded(result.parts[0].path) == decoded(source)


# ------------------------------------------------------------ sound of which no rate is known


def _scrambled(source: Path) -> None:
    """Change every byte of the sound in a transport stream; its packets stay."""
    data = bytearray(source.read_bytes())
    for at in range(0, len(data) - 187, 188):
        if (data[at + 1] & 0x1F) << 8 | data[at + 2] == 0x101:
            begin = 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
            begin += 14 if data[at + 1] & 0x40 else 0
            data[at + begin : at + 188] = bytes(b ^ 0x5A for b in data[at + begin : at + 188])
    source.write_bytes(data)


def test_sound_of_which_nothing_is_known_is_one_sentence(tmp_path: Path) -> None:
    source = tmp_path / "film.ts"
    picture = ("-f", "lavfi", "-i", "testsrc=size=96x64:rate=10:duration=2.21")
    run_ffmpeg(*picture, *_TONE, "-c:v", "mpeg2video", "-c:a", "mp2", source)
    _scrambled(source)
    job = ExtractJob(source, tmp_path / "out")
    for one in (job, ExtractJob(source, job.target, start_s=1.0, keep_offset=True)):
        with pytest.raises(DamagedFileError, match="cannot be decoded"):
            extract(one)


def test_sound_that_begins_long_after_the_pictures_is_found(tmp_path: Path) -> None:
    source = tmp_path / "broadcast.ts"
    noise = "nullsrc=size=640x360:rate=25:duration=8,geq=random(1)*255:128:128"
    late = ("-itsoffset", "7", *_TONE)
    run_ffmpeg(
        *("-f", "lavfi", "-i", noise, *late, "-map", "0", "-map", "1"),
        *("-c:v", "mpeg2video", "-b:v", "9M", "-minrate", "9M", "-c:a", "mp2", source),
    )
    with av.open(str(source)) as container:  # or this tests nothing
        assert not container.streams.audio[0].codec_context.sample_rate
    (part,) = extract(ExtractJob(source, tmp_path / "out")).parts
    assert 0 <= len(samples(part.path)) - 2.21 * 48_000 < 2 * 1152

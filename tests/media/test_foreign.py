"""What other people's files hold that ours never do: sound that changes, tags in old code pages,
lengths that nobody states, pauses that no decoder takes, tracks of unknown codecs."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from capture.errors import DamagedFileError
from capture.levels import dbfs_of
from capture.media.check.probe import probe
from capture.media.check.recover import recover
from capture.media.check.verify import Severity, verify
from capture.media.extract.job import extract
from capture.media.layouts import file_layout
from capture.media.read.decode import decode_packet, read_sound
from capture.media.read.stream import SoundStream
from capture.specs.extraction import ExtractJob
from capture.specs.voice import SoundFileSpec
from tests.media.broken import run_ffmpeg
from tests.media.sounds import decoded, played, samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

RATE_HZ = 48_000
WAV = SoundFileSpec("wav")
_WAVES = {
    "mono": "0.4*sin(2*PI*660*t)",
    "stereo": "0.3*sin(2*PI*440*t)|0.3*sin(2*PI*550*t)",
    "5.1": "0|0|0.4*sin(2*PI*500*t)|0|0|0",
}
"""In 5.1 somebody speaks: all of it is in the centre."""


def joined(path: Path, encoder: str, *layouts: str) -> Path:
    """One track that changes its layout every second."""
    data = b""
    for layout in layouts:
        part = path.with_name(f"part{path.suffix}")
        wave = f"aevalsrc={_WAVES[layout]}:c={layout}:s={RATE_HZ}:d=1"
        raw = ("-write_xing", "0", "-id3v2_version", "0") if path.suffix == ".mp3" else ()
        run_ffmpeg("-f", "lavfi", "-i", wave, "-c:a", encoder, *raw, part)
        data += part.read_bytes()
    path.write_bytes(data)
    return path


def pieces(stream: SoundStream) -> Iterator[NDArray[np.float32]]:
    while (piece := stream.read()) is not None:
        yield piece


def title_of(path: Path) -> str | None:
    return {key.lower(): text for key, text in probe(path).tags.items()}.get("title")


def faults(path: Path) -> list[str]:
    return [one.message for one in verify(path).findings if one.severity is Severity.FAULT]


# --------------------------------------------------------------------- sound that changes its form


@pytest.mark.parametrize(
    ("name", "encoder", "layouts"),
    [
        ("a.mp2", "mp2", ("stereo", "mono")),
        ("a.mp3", "libmp3lame", ("mono", "stereo", "mono")),
        ("a.aac", "aac", ("5.1", "mono", "stereo")),
        ("a.ac3", "ac3", ("stereo", "5.1")),
        ("a.eac3", "eac3", ("5.1", "stereo")),
    ],
)
def test_channels_that_change_are_mixed_as_ffmpeg_mixes_them(
    name: str, encoder: str, layouts: tuple[str, ...], tmp_path: Path
) -> None:
    source = joined(tmp_path / name, encoder, *layouts)
    result = extract(ExtractJob(source, tmp_path / "out", spec=WAV))
    heard = samples(result.parts[0].path).astype(int)
    run_ffmpeg("-i", source, tmp_path / "by_ffmpeg.wav")
    expected = samples(tmp_path / "by_ffmpeg.wav").astype(int)
    assert len(heard) == len(expected)
    assert np.abs(heard - expected).max() <= 1
    assert len([text for text in result.warnings if "changes its rate or channels" in text]) == 1
    assert not result.is_partial


def test_every_way_to_use_sound_that_changes(tmp_path: Path) -> None:
    source = joined(tmp_path / "a.ac3", "ac3", "stereo", "5.1", "mono")
    for number, job in enumerate(
        (
            ExtractJob(source, tmp_path / "0", spec=SoundFileSpec("mp3")),
            ExtractJob(source, tmp_path / "1", spec=SoundFileSpec(messenger="whatsapp")),
            ExtractJob(source, tmp_path / "2", spec=WAV, is_trim=True),
            ExtractJob(source, tmp_path / "3", spec=WAV, loudness_lufs=-20.0),
            ExtractJob(source, tmp_path / "4", spec=WAV, is_mono=True, rate_hz=16_000),
        )
    ):
        (part,) = extract(job).parts
        assert part.duration_s == pytest.approx(3.1, abs=0.1), number
    assert probe(source, with_loudness=True).tracks[0].loudness is not None
    sound, rate_hz, _ = read_sound(source)
    assert sound.shape == pytest.approx((3.1 * rate_hz, 2), abs=0.1 * rate_hz)
    with SoundStream(source) as stream:
        heard = np.concatenate(list(pieces(stream)))
    assert len(heard) == len(sound)
    assert dbfs_of(float(np.abs(heard[-RATE_HZ // 2 :]).max())) > -20.0


def test_mixing_to_one_channel_clips_no_float(tmp_path: Path) -> None:
    source = tmp_path / "loud.wav"
    wave = "aevalsrc=0.9*sin(2*PI*440*t)|0.9*sin(2*PI*440*t):s=48000:d=1"
    run_ffmpeg("-f", "lavfi", "-i", wave, source)
    job = ExtractJob(source, tmp_path / "out", spec=SoundFileSpec("ogg", "high"), is_mono=True)
    heard = samples(extract(job).parts[0].path, "f32le")
    assert np.abs(heard).max() == pytest.approx(0.9, abs=0.05)


def test_verify_measures_sound_that_changes_and_says_so(tmp_path: Path) -> None:
    source = joined(tmp_path / "a.mp3", "libmp3lame", "stereo", "mono")
    tone = "sine=440:sample_rate=24000:duration=1"
    run_ffmpeg("-f", "lavfi", "-i", tone, "-metadata", "title=x", tmp_path / "b.mp3")
    # The joined file's own ID3 tag and its Xing frame are then in the middle.
    source.write_bytes(source.read_bytes() + (tmp_path / "b.mp3").read_bytes())
    report = verify(source)
    assert not report.faults
    (track,) = report.tracks
    assert track.duration_s == pytest.approx(3.2, abs=0.1)
    (note,) = (one for one in report.findings if "changes its rate or channels" in one.message)
    assert "2 times, first from 48000 Hz stereo to 48000 Hz mono" in note.message
    assert note.at_s == pytest.approx(1.0, abs=0.1)


# ------------------------------------------------------------------------------------ layouts


@pytest.mark.parametrize("layout", ["quad", "4.0", "5.0(side)", "7.1"])
def test_loudness_is_that_of_the_layout_of_the_source(layout: str, tmp_path: Path) -> None:
    channels = av.AudioLayout(layout).nb_channels
    waves = "|".join(f"0.1*random({number})" for number in range(channels))
    source = tmp_path / "many.wav"
    run_ffmpeg("-f", "lavfi", "-i", f"aevalsrc={waves}:c={layout}:s=48000:d=4", source)
    found = probe(source, with_loudness=True).tracks[0].loudness
    assert found is not None
    assert found.integrated_lufs == pytest.approx(_lufs(source), abs=0.1)
    for name in ("wav", "flac"):
        job = ExtractJob(source, tmp_path / name, spec=SoundFileSpec(name), loudness_lufs=-23.0)
        (part,) = extract(job).parts
        assert _lufs(part.path) == pytest.approx(-23.0, abs=0.3), name
    (part,) = extract(ExtractJob(source, tmp_path / "as it is", spec=WAV)).parts
    assert decoded(part.path) == decoded(source)
    assert probe(part.path).tracks[0].layout == layout


def test_a_layout_for_files_that_cannot_state_it() -> None:
    assert file_layout("5.1(side)") == "5.1(side)"
    assert file_layout("4.0") == "quad"
    assert file_layout("2.1") == "2.1"


def _lufs(path: Path) -> float:
    """As FFmpeg's own program measures it."""
    filters = "ebur128=metadata=1,ametadata=print:key=lavfi.r128.I:file=-"
    said = run_ffmpeg("-i", path, "-af", filters, "-f", "null", "-").decode()
    return float(said.split("lavfi.r128.I=")[-1].split()[0])


# --------------------------------------------------------------------------------------- tags


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("Übung für J".encode("cp1252"), "Übung für J"),
        ("テスト・ソング".encode("cp932"), "テスト・ソング"),
        ("Grüß".encode() + b"\xc3", "Grüß"),
        (b"a\xff\xfe\x81b", "aÿþ�b"),
    ],
)
@pytest.mark.parametrize("name", ["t.mp3", "t.wav", "t.m4a", "t.mkv", "t.flac", "t.avi"])
def test_a_tag_that_is_no_utf8_is_read_as_far_as_it_can(
    name: str, data: bytes, text: str, tmp_path: Path
) -> None:
    source, place = tmp_path / name, b"Q" * len(data)
    notes = tmp_path / "notes.txt"
    tag = place.decode()
    notes.write_text(
        f";FFMETADATA1\ntitle={tag}\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=900\ntitle={tag}\n"
    )
    run_ffmpeg(
        *("-f", "lavfi", "-i", "sine=440:duration=1", "-i", notes, "-map", "0"),
        *("-map_metadata", "1", "-map_chapters", "1", "-id3v2_version", "4"),
        *(("-metadata:s:a:0", f"title={tag}") if name == "t.mkv" else ()),
        source,
    )
    source.write_bytes(source.read_bytes().replace(place, data))
    found = probe(source)
    assert title_of(source) == text
    assert all(chapter.title == text for chapter in found.chapters)
    for form in (None, *map(SoundFileSpec, ("mp3", "m4a", "flac", "ogg", "opus", "wav"))):
        target = tmp_path / (form.format if form else "copy")
        (part,) = extract(ExtractJob(source, target, spec=form)).parts
        assert title_of(part.path) == text
    assert not faults(source)
    with SoundStream(source) as stream:
        assert stream.read() is not None
    if source.suffix in {".wav", ".m4a", ".mkv", ".flac"}:
        assert title_of(recover(source).path) == text


def test_an_id3v1_tag_in_latin_1(tmp_path: Path) -> None:
    source = tmp_path / "old.mp3"
    run_ffmpeg("-f", "lavfi", "-i", "sine=440:duration=1", "-id3v2_version", "0", source)
    fields = (("Übung", 30), ("Jörg", 30), ("", 30), ("2001", 4), ("", 31))
    tag = b"TAG" + b"".join(text.encode("latin-1").ljust(size, b"\0") for text, size in fields)
    source.write_bytes(source.read_bytes() + tag)
    assert probe(source).tags["artist"] == "Jörg"
    assert extract(ExtractJob(source, tmp_path / "out")).parts


# ------------------------------------------------------------------------------------- lengths

_VARIED = (
    *("-f", "lavfi", "-i", "anullsrc=r=44100:d=4", "-f", "lavfi", "-i", "anoisesrc=d=4:r=44100"),
    *("-filter_complex", "[0:a][1:a]concat=v=0:a=1"),
)
"""Silence, then noise: what a bit rate at the beginning says of the length is far from true."""
_NO_XING = ("-write_xing", "0", "-id3v2_version", "0")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("a.mp3", ("-c:a", "libmp3lame", "-q:a", "2", *_NO_XING)),
        ("a.aac", ("-c:a", "aac")),
        ("a.loas", ("-c:a", "aac", "-f", "latm")),
        ("a.ac3", ("-c:a", "ac3")),
        ("a.ts", ("-c:a", "mp2")),
        ("piped.mka", ("-c:a", "libmp3lame", "-q:a", "2", "-f", "matroska", "-")),
        ("piped.avi", ("-c:a", "libmp3lame", "-q:a", "2", "-f", "avi", "-")),
        ("piped.wma", ("-c:a", "wmav2", "-f", "asf", "-")),
        ("piped.wav", ("-f", "wav", "-")),
        ("piped.flac", ("-f", "flac", "-")),
    ],
)
def test_a_length_that_is_guessed_makes_no_file_faulty(
    name: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / name
    if arguments[-1] == "-":
        path.write_bytes(run_ffmpeg(*_VARIED, *arguments))
    else:
        run_ffmpeg(*_VARIED, *arguments, path)
    assert not faults(path)
    result = extract(ExtractJob(path, tmp_path / "out", spec=WAV))
    assert not result.warnings


def test_two_mp3_files_in_one_are_not_cut_short(tmp_path: Path) -> None:
    one, two = tmp_path / "one.mp3", tmp_path / "two.mp3"
    run_ffmpeg(*_VARIED, "-c:a", "libmp3lame", "-q:a", "2", one)
    two.write_bytes(one.read_bytes() * 2)
    assert not faults(two)


@pytest.mark.parametrize("name", ["a.mp3", "a.mka", "a.tta"])
def test_a_file_that_lacks_its_end_is_cut_short(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    encoder = {"a.mp3": "libmp3lame", "a.tta": "tta"}
    run_ffmpeg(*_VARIED, "-c:a", encoder.get(name, "libopus"), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert any("cut short" in message for message in faults(path))
    assert extract(ExtractJob(path, tmp_path / "out", spec=WAV)).is_partial


# ----------------------------------------------------------------------------- pauses (AMR)

_AMR = {
    "nb": (b"#!AMR\n", bytes([7 << 3 | 4]), 31, bytes([8 << 3 | 4, *bytes(5)]), 8000),
    "wb": (b"#!AMR-WB\n", bytes([8 << 3 | 4]), 60, bytes([9 << 3 | 4, *bytes(5)]), 16_000),
}
_NO_DATA = bytes([15 << 3 | 4])


def amr(kind: str, pattern: str) -> tuple[bytes, list[bytes], int]:
    """A file, its frames, its rate: ``S`` speech, ``c`` comfort noise, ``n`` no data."""
    magic, head, size, pause, rate_hz = _AMR[kind]
    noise = random.Random(1)  # noqa: S311 - a sound
    frames = {"c": lambda: pause, "n": lambda: _NO_DATA, "S": lambda: head + noise.randbytes(size)}
    parts = [frames[letter]() for letter in pattern]
    return magic + b"".join(parts), parts, rate_hz


@pytest.mark.parametrize("pattern", ["S" * 20 + "cnnnnnnn" * 3 + "S" * 10, "nnncnn" + "S" * 9])
@pytest.mark.parametrize("kind", ["nb", "wb"])
@pytest.mark.parametrize("ending", [".amr", ".3gp"])
def test_a_pause_in_amr_is_exact_silence(
    kind: str, pattern: str, ending: str, tmp_path: Path
) -> None:
    source = tmp_path / "voice.amr"
    data, _, rate_hz = amr(kind, pattern)
    source.write_bytes(data)
    if ending == ".3gp":
        run_ffmpeg("-i", source, "-c", "copy", tmp_path / "voice.3gp")
        source = tmp_path / "voice.3gp"
    result = extract(ExtractJob(source, tmp_path / "out", spec=WAV))
    heard = samples(result.parts[0].path).reshape(-1, rate_hz // 50)
    assert len(heard) == len(pattern)
    assert not result.warnings
    silent = [letter != "S" for letter in pattern]
    assert not heard[silent].any()
    assert heard[[not one for one in silent]].any()
    assert not faults(source)


def test_a_packet_of_several_amr_frames(tmp_path: Path) -> None:
    data, frames, rate_hz = amr("nb", "ScnS")
    source = tmp_path / "voice.amr"
    source.write_bytes(data)
    with av.open(str(source)) as container:
        packet: Any = av.Packet(b"".join(frames))
        packet.stream = container.streams.audio[0]
        packet.pts, packet.time_base = 800, container.streams.audio[0].time_base
        found = decode_packet(packet)
    assert [frame.samples for frame in found] == [rate_hz // 50] * 4
    assert [frame.pts for frame in found] == [800, 960, 1120, 1280]
    assert [bool(frame.to_ndarray().any()) for frame in found] == [True, False, False, True]


# ------------------------------------------------------------------------- tracks nobody knows


def film(path: Path) -> bytes:
    run_ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=size=96x64:rate=10:duration=2"),
        *("-f", "lavfi", "-i", "sine=440:duration=2", "-f", "lavfi", "-i", "sine=880:duration=2"),
        *("-map", "0", "-map", "1", "-map", "2", "-c:v", "libx264", "-c:a", "aac", path),
    )
    return path.read_bytes()


@pytest.mark.parametrize(
    ("swaps", "left_out", "kept"),
    [
        ({b"mp4a": b"ac-4"}, "sound track 1 is left out", 2),
        ({b"avc1\0\0": b"zzzz\0\0", b"avcC": b"free"}, "picture track 1 is left out", 2),
    ],
)
def test_recover_names_a_track_of_an_unknown_codec_and_keeps_the_rest(
    swaps: dict[bytes, bytes], left_out: str, kept: int, tmp_path: Path
) -> None:
    path = tmp_path / "film.mp4"
    data = film(path)
    for known, unknown in swaps.items():
        data = data.replace(known, unknown, 1)
    if b"ac-4" in data:
        data = data.replace(b"esds", b"free", 1)
    path.write_bytes(data)
    done = recover(path)
    assert len(done.tracks.ends_s) == kept
    assert [text for text in done.warnings if left_out in text]
    assert len(probe(done.path).tracks) == kept
    assert not faults(done.path)


def test_recover_of_nothing_but_unknown_codecs_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "sound.mkv"
    run_ffmpeg("-f", "lavfi", "-i", "sine=440:duration=1", "-c:a", "libopus", path)
    path.write_bytes(path.read_bytes().replace(b"A_OPUS", b"A_WHAT"))
    with pytest.raises(DamagedFileError, match="no track of a codec that is known"):
        recover(path)
    assert [one.name for one in tmp_path.iterdir()] == ["sound.mkv"]


def test_recover_keeps_subtitles_chapters_and_a_cover(tmp_path: Path) -> None:
    words = tmp_path / "words.srt"
    words.write_text("1\n00:00:00,200 --> 00:00:01,000\nhello\n\n")
    notes = tmp_path / "notes.txt"
    notes.write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=900\ntitle=One\n")
    path = tmp_path / "film.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "color=red:size=64x64", "-frames:v", "1", tmp_path / "c.png")
    film(tmp_path / "plain.mp4")
    run_ffmpeg(
        *("-i", tmp_path / "plain.mp4", "-i", words, "-i", notes, "-i", tmp_path / "c.png"),
        *("-map", "0", "-map", "1", "-map", "3", "-map_chapters", "2", "-c", "copy"),
        *("-c:s", "mov_text", "-disposition:v:1", "attached_pic", path),
    )
    before, after = probe(path), probe(recover(path).path)
    assert [one.title for one in after.chapters] == ["One"]
    kinds = sorted(track.kind for track in before.tracks)
    assert sorted(track.kind for track in after.tracks) == kinds
    assert kinds.count("video") == 2


# ------------------------------------------------------------------------------------- covers


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, bytes]]:
    """Sound with a cover, by its ending, and the bytes of the cover."""
    folder = tmp_path_factory.mktemp("album")
    cover = folder / "cover.jpg"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x64", "-frames:v", "1", cover)

    def make(ending: str) -> tuple[Path, bytes]:
        path = folder / f"song{ending}"
        encoder = {".mp3": "libmp3lame", ".m4a": "aac", ".mka": "mp2"}.get(ending, "flac")
        sound = ("-f", "lavfi", "-i", "sine=440:duration=1:sample_rate=48000")
        attached = ("-attach", cover, "-metadata:s:t", "mimetype=image/jpeg")
        shown = (
            *("-i", cover, "-map", "0", "-map", "1", "-c:v", "copy"),
            *("-disposition:v", "attached_pic"),
        )
        more = attached if ending == ".mka" else shown
        run_ffmpeg(*sound, *more, "-c:a", encoder, path)
        return path, cover.read_bytes()

    return make


def cover_of(path: Path) -> bytes:
    return run_ffmpeg("-i", path, "-map", "0:v", "-c", "copy", "-f", "image2pipe", "-")


@pytest.mark.parametrize("ending", [".mp3", ".m4a", ".flac", ".mka"])
def test_a_cover_goes_along(
    ending: str, album: Callable[[str], tuple[Path, bytes]], tmp_path: Path
) -> None:
    source, cover = album(ending)
    (copy,) = extract(ExtractJob(source, tmp_path / "copy")).parts
    assert copy.path.suffix == ending
    assert cover_of(copy.path) == cover
    assert decoded(copy.path) == decoded(source)
    for name in ("mp3", "m4a", "flac", "opus"):
        (part,) = extract(ExtractJob(source, tmp_path / name, spec=SoundFileSpec(name))).parts
        assert cover_of(part.path) == cover
        assert not list(part.path.parent.glob(".*"))
    heard = samples(tmp_path / "flac/song.flac").astype(int)
    expected = np.rint(played(source) * 32768).astype(int)
    assert np.abs(heard - expected).max() <= 1


@pytest.mark.parametrize("spec", [WAV, SoundFileSpec("ogg"), SoundFileSpec(messenger="whatsapp")])
def test_what_takes_no_cover_is_written_without(
    spec: SoundFileSpec, album: Callable[[str], tuple[Path, bytes]], tmp_path: Path
) -> None:
    source, _ = album(".mp3")
    (part,) = extract(ExtractJob(source, tmp_path, spec=spec)).parts
    assert [track.kind for track in probe(part.path).tracks] == ["audio"]

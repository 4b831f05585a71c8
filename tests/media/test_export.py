"""Files of sound, read back by FFmpeg: as long as they were, where they were, as loud, named."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from capture.errors import ConfigError, OutputError
from capture.media.formats import (
    FORMATS,
    MESSENGERS,
    QUALITIES,
    check_sound_spec,
    size_warning,
    suffix_of,
)
from capture.media.write.export import open_sound
from capture.media.write.packet_writer import merge_opus
from capture.media.write.sndfile import as_float32, as_int16, as_int32
from capture.specs.voice import SoundFileSpec
from tests.media.disks import mounted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

RATE = 48_000
PROGRAMS = ("ffmpeg", "ffprobe")
LOSSY = [name for name, kind in FORMATS.items() if not kind.is_lossless]
WHATSAPP = SoundFileSpec(messenger="whatsapp")
TELEGRAM = SoundFileSpec(messenger="telegram")
needs_ffmpeg = pytest.mark.skipif(
    None in map(shutil.which, PROGRAMS) and not os.environ.get("CI"),
    reason=f"not installed: {', '.join(PROGRAMS)}",
)


def talk(seconds: float, rate_hz: int = RATE, channels: int = 1) -> NDArray[np.float32]:
    """Something like speech: syllables of a gliding voice, hisses between them, pauses."""
    frames = round(seconds * rate_hz)
    t = np.arange(frames) / rate_hz
    pitch = 2 * np.pi * (140 * t + 8 * np.sin(2 * np.pi * 0.7 * t))
    voice = sum(np.sin(k * pitch + k * k) / k for k in range(1, 21))
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * t), 0, None) * (np.sin(2 * np.pi * 0.4 * t) > -0.6)
    hiss = np.diff(np.random.default_rng(5).standard_normal(frames + 1))
    hisses = np.clip(-np.sin(2 * np.pi * 3.1 * t) - 0.8, 0, None)
    mono = 0.2 * np.asarray(voice) * syllables + 0.02 * hiss * hisses
    sides = [mono * (1.0 - 0.3 * side) for side in range(channels)]
    return np.stack(sides, axis=1).astype(np.float32)


def save(path: Path, spec: SoundFileSpec, samples: NDArray[Any], **options: Any) -> Path:
    options = {"rate_hz": RATE, "block": 1234} | options
    block = options.pop("block")
    with open_sound(path, spec, channels=samples.shape[1], **options) as writer:
        for first in range(0, len(samples), block):
            writer.write(samples[first : first + block])
        assert writer.frames == len(samples)
    assert writer.is_finished
    return path


def decode(
    path: Path, form: str = "f32le", *arguments: str, channels: int = 1, decoder: str | None = None
) -> NDArray[Any]:
    chosen = ["-c:a", decoder] if decoder else []
    command = ["ffmpeg", "-v", "error", *chosen, "-i", str(path), *arguments, "-f", form, "-"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert not done.stderr, done.stderr.decode()
    types = {"f32le": "<f4", "s16le": "<i2", "s32le": "<i4"}
    return np.frombuffer(done.stdout, types[form]).reshape(-1, channels)


def probe(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def tags_of(path: Path) -> dict[str, str]:
    found = probe(path)
    tags = found["streams"][0].get("tags", {}) | found["format"].get("tags", {})
    return {name.lower(): text for name, text in tags.items()}


def likeness(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Correlation where both lie: a shift by a few frames shows."""
    frames = min(len(one), len(other))
    return float(np.corrcoef(one[:frames].reshape(-1), other[:frames].reshape(-1))[0, 1])


def loudness(samples: NDArray[Any]) -> NDArray[Any]:
    """Energy of every 10 ms."""
    frames = len(samples) // 480 * 480
    energy: NDArray[Any] = (
        np.square(samples[:frames]).reshape(-1, 480, samples.shape[1]).sum((1, 2))
    )
    return energy


def level_db(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(10 * np.log10(np.square(one).sum() / np.square(other).sum()))


@needs_ffmpeg
@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", LOSSY)
def test_a_lossy_file_is_as_long_as_loud_and_where_it_was(
    name: str, channels: int, quality: str, tmp_path: Path
) -> None:
    original = talk(3.217, channels=channels)
    path = save(tmp_path / "any name", SoundFileSpec(name, quality), original)
    sound = decode(path, channels=channels)
    if name == "m4a":  # FFmpeg plays the last packet whole, but knows the length
        assert 0 <= len(sound) - len(original) < 1024
        assert np.abs(sound[len(original) :]).max(initial=0) < 0.05
        assert float(probe(path)["streams"][0]["duration"]) == len(original) / RATE
    else:
        assert len(sound) == len(original)
    assert likeness(loudness(sound), loudness(original)) >= 0.99
    # Few bits and Opus' speech mode, whose filter turns phases, leave no more of the wave.
    assert likeness(sound, original) >= (0.8 if (name, quality) == ("opus", "low") else 0.99)
    assert level_db(sound, original) == pytest.approx(0, abs=0.3 if quality == "low" else 0.1)


@needs_ffmpeg
@pytest.mark.parametrize("rate_hz", [8000, 11_025, 16_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("name", LOSSY)
def test_other_rates_are_resampled_where_the_format_must(
    name: str, rate_hz: int, tmp_path: Path
) -> None:
    original = talk(2.5, rate_hz)
    path = save(tmp_path / "a", SoundFileSpec(name, "high"), original, rate_hz=rate_hz)
    sound = decode(path, "f32le", "-ar", str(rate_hz))
    slack = 1024 if name == "m4a" else 2
    assert -2 <= len(sound) - len(original) < slack
    # Resampling there and back leaves the octave below half the rate a little softer.
    assert likeness(sound, original) >= 0.98


@needs_ffmpeg
@pytest.mark.parametrize("name", ["wav", "flac"])
def test_lossless_files_give_back_every_sample(name: str, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for form, kind, bits in (("s16", np.int16, 16), ("s24", np.int32, 24)):
        span = np.iinfo(kind)
        samples = random.integers(span.min, span.max, (RATE + 77, 2), kind, endpoint=True)
        path = save(
            tmp_path / "a", SoundFileSpec(name), samples, rate_hz=44_100, sample_format=form
        )
        kept = as_int32(samples) >> (32 - bits) << (32 - bits)
        assert np.array_equal(decode(path, "s32le", channels=2), kept)
        assert probe(path)["streams"][0]["sample_rate"] == "44100"


@needs_ffmpeg
def test_wav_of_32_bits(tmp_path: Path) -> None:
    whole = np.random.default_rng(2).integers(-(2**31), 2**31, (4321, 1)).astype(np.int32)
    path = save(tmp_path / "a", SoundFileSpec("wav"), whole, sample_format="s32")
    assert np.array_equal(decode(path, "s32le"), whole)
    loud = talk(0.2) * np.float32(5)
    path = save(tmp_path / "b", SoundFileSpec("wav"), loud, sample_format="f32")
    assert np.array_equal(decode(path), loud)


@needs_ffmpeg
def test_float_becomes_the_integers_that_ffmpeg_makes_of_it(tmp_path: Path) -> None:
    samples = np.random.default_rng(3).uniform(-1.1, 1.1, (RATE, 1)).astype(np.float32)
    samples[:6, 0] = (1.0, -1.0, 0.5 / 32768, 1.5 / 32768, -0.5 / 32768, 2.5 / 32768)
    raw = tmp_path / "raw.f32"
    raw.write_bytes(samples.tobytes())
    for form, codec in (("s16", "pcm_s16le"), ("s24", "pcm_s24le"), ("s32", "pcm_s32le")):
        other = tmp_path / f"{form}.wav"
        command = ["ffmpeg", "-v", "error", "-f", "f32le", "-ar", str(RATE), "-i", str(raw)]
        subprocess.run([*command, "-c:a", codec, str(other)], check=True, timeout=60)
        path = save(tmp_path / "a", SoundFileSpec("wav"), samples, sample_format=form)
        assert np.array_equal(decode(path, "s32le"), decode(other, "s32le"))
    path = save(tmp_path / "a", SoundFileSpec("flac"), samples)
    assert np.array_equal(decode(path, "s16le"), decode(tmp_path / "s16.wav", "s16le"))


def test_samples_change_their_form_exactly() -> None:
    whole = np.arange(-32768, 32768, dtype=np.int16)
    assert np.array_equal(as_int16(as_float32(whole)), whole)
    assert np.array_equal(as_int16(as_int32(whole)), whole)
    assert np.array_equal(as_int32(as_float32(whole)), as_int32(whole))
    edges = np.array([-2.0, -1.0, 1.0, 2.0], np.float32)
    assert as_int32(edges).tolist() == [-(2**31), -(2**31), 2**31 - 1, 2**31 - 1]
    assert as_float32(np.array([-(2**31), 1 << 30], np.int32)).tolist() == [-1.0, 0.5]


@pytest.mark.parametrize("name", ["opus", "m4a", "mp3", "flac", "wav"])
def test_how_the_sound_is_cut_makes_no_difference(name: str, tmp_path: Path) -> None:
    original = talk(2.3)
    whole = save(tmp_path / "a", SoundFileSpec(name), original, block=len(original))
    with open_sound(tmp_path / "b", SoundFileSpec(name), rate_hz=RATE, channels=1) as writer:
        first = 0
        for size in (1, 0, 959, 7, 20_000, 60_000, len(original)):
            writer.write(original[first : first + size])
            first += size
    assert writer.frames / RATE == 2.3
    assert (tmp_path / "b").read_bytes() == whole.read_bytes()


@needs_ffmpeg
@pytest.mark.parametrize("name", FORMATS)
def test_tags_are_read_back(name: str, tmp_path: Path) -> None:
    tags = {
        "title": "Grüße 日本 🎤",
        "date": "2026-11-22",
        "artist": "Zoë",
        "album": "Messages",
        "comment": "the first",
        "source": "WhatsApp",
        "duration": "0m37s",
        "encoded_by": "capture 0.1.0",
    }
    path = save(tmp_path / "a", SoundFileSpec(name), talk(0.5), tags=tags)
    found = tags_of(path)
    for key in ("title", "date", "artist", "album"):
        assert found[key] == tags[key]
    if FORMATS[name].tags is None:
        assert tags.items() <= found.items()
    else:
        assert found["comment"].startswith("the first\nsource: WhatsApp\nduration: 0m37s")
        assert "capture 0.1.0" in " ".join(found.values())


def ogg_packets(path: Path) -> list[bytes]:
    """The packets of an Ogg file of one stream, RFC 3533."""
    data, packets, part, at = path.read_bytes(), [], b"", 0
    while at < len(data):
        assert data[at : at + 4] == b"OggS"
        laces = data[at + 27 : at + 27 + data[at + 26]]
        at += 27 + len(laces)
        for lace in laces:
            part += data[at : at + lace]
            at += lace
            if lace < 255:
                packets.append(part)
                part = b""
    return packets


def opus_frames(packet: bytes) -> list[bytes]:
    """The frames of an Opus packet of code 3 with lengths, RFC 6716 section 3.2.5."""
    assert packet[0] & 3 == 3
    assert packet[1] & 0xC0 == 0x80
    lengths, at = [], 2
    for _ in range((packet[1] & 0x3F) - 1):
        length = packet[at]
        at += 1
        if length >= 252:
            length += 4 * packet[at]
            at += 1
        lengths.append(length)
    frames = []
    for length in lengths:
        frames.append(packet[at : at + length])
        at += length
    return [*frames, packet[at:]]


@needs_ffmpeg
def test_a_file_for_whatsapp_is_like_its_own(tmp_path: Path) -> None:
    original = talk(60, channels=2)
    path = save(tmp_path / "a", WHATSAPP, original, tags={"title": "secret"})
    assert suffix_of(WHATSAPP) == ".ogg"
    assert path.stat().st_size <= 200_000
    head, comments, *packets = ogg_packets(path)
    magic, version, channels, _, rate_hz = struct.unpack("<8sBBHI", head[:16])
    assert (magic, version, channels, rate_hz) == (b"OpusHead", 1, 1, 16_000)
    assert b"secret" not in comments
    assert {packet[0] >> 3 for packet in packets} == {9}
    assert {packet[0] & 0b111 for packet in packets} == {3}, "mono, code 3"
    assert {packet[1] & 0x3F for packet in packets[:-1]} == {3}
    assert len(decode(path)) == len(original)
    sound = decode(path, decoder="libopus")
    assert len(sound) == len(original)
    mixed = original.mean(axis=1, keepdims=True)
    assert likeness(sound, mixed) >= 0.8
    assert likeness(loudness(sound), loudness(mixed)) >= 0.99
    assert level_db(sound, mixed) == pytest.approx(0, abs=0.5)
    assert size_warning(path, WHATSAPP) is None


@needs_ffmpeg
def test_merged_packets_sound_the_same_to_the_bit(tmp_path: Path) -> None:
    original = talk(7.013)
    path = save(tmp_path / "a", WHATSAPP, original)
    packets = ogg_packets(path)[2:]
    apart = tmp_path / "apart.ogg"
    with av.open(str(path)) as merged, av.open(str(apart), "w") as container:
        stream: Any = container.add_stream_from_template(merged.streams.audio[0])
        pts = -312
        for packet in packets:
            for frame in opus_frames(packet):
                single: Any = av.Packet(bytes([packet[0] & ~3]) + frame)
                single.stream, single.time_base = stream, stream.time_base
                single.pts = single.dts = pts
                single.duration = min(960, len(original) - pts)
                pts += 960
                container.mux_one(single)
    assert len(ogg_packets(apart)) - 2 == -(-(len(original) + 312) // 960)
    # FFmpeg's own decoder carries other state from packet to packet than from frame to frame.
    one, other = (decode(p, "s16le", decoder="libopus") for p in (path, apart))
    assert len(one) == len(original)
    assert np.array_equal(one, other)


def test_packets_that_do_not_belong_together_stay_apart() -> None:
    def packet(first: int, length: int, pts: int) -> Any:
        made: Any = av.Packet(bytes([first]) + bytes([pts % 250]) * length)
        made.pts = made.dts = pts
        made.duration, made.time_base = 960, Fraction(1, RATE)
        return made

    wide, narrow, several = 9 << 3, 1 << 3, 9 << 3 | 1
    given = [packet(wide, 300, 0), packet(wide, 0, 960), packet(narrow, 5, 1920)]
    merged = merge_opus([*given, packet(several, 8, 2880)])
    assert [(one.pts, one.duration) for one in merged] == [(0, 1920), (1920, 960), (2880, 960)]
    assert opus_frames(bytes(merged[0])) == [bytes(300), b""]
    assert bytes(merged[0])[2:4] == bytes([252, 12]), "RFC 6716: 252 + 4 * 12 = 300"
    assert opus_frames(bytes(merged[1])) == [bytes([1920 % 250]) * 5]
    assert bytes(merged[2])[0] == several


@needs_ffmpeg
def test_a_file_for_telegram(tmp_path: Path) -> None:
    original = talk(5, 44_100)
    path = save(tmp_path / "a", TELEGRAM, original, rate_hz=44_100)
    head = ogg_packets(path)[0]
    assert struct.unpack("<BBHI", head[8:16])[1::2] == (1, RATE)
    assert len(decode(path)) == 5 * RATE
    assert path.stat().st_size * 8 / 5 == pytest.approx(32_000, rel=0.35)


def test_sizes_that_a_messenger_does_not_take(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    for size_bytes, spec, said in (
        (500_000, WHATSAPP, None),
        (600_000, WHATSAPP, "download arrow"),
        (16_100_000, WHATSAPP, "16 MB at most"),
        (16_100_000, TELEGRAM, None),
        (51_000_000, TELEGRAM, "50 MB at most"),
        (51_000_000, SoundFileSpec(), None),
    ):
        with path.open("wb") as file:
            file.truncate(size_bytes)
        warning = size_warning(path, spec)
        assert (warning is None) if said is None else (said in str(warning))


def test_the_notes_say_what_cannot_be_had() -> None:
    for messenger in MESSENGERS.values():
        assert "the message, not to the file" in messenger.note.replace("\n", " ")


@pytest.mark.parametrize(
    ("spec", "options", "said"),
    [
        (SoundFileSpec("aiff"), {}, "there is no format 'aiff'"),
        (SoundFileSpec("opus", "best"), {}, "there is no quality 'best'"),
        (SoundFileSpec(messenger="icq"), {}, "there is no messenger 'icq'"),
        (SoundFileSpec("flac"), {"sample_format": "f32"}, "flac holds no f32"),
        (SoundFileSpec("mp3"), {"channels": 6}, "mp3 holds 2 channels at most"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    spec: SoundFileSpec, options: Mapping[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        open_sound(tmp_path / "a", spec, **({"rate_hz": RATE, "channels": 1} | dict(options)))
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_every_known_name_is_taken() -> None:
    for name, kind in FORMATS.items():
        for quality in QUALITIES:
            check_sound_spec(SoundFileSpec(name, quality))
        assert suffix_of(SoundFileSpec(name)) == kind.suffix == f".{name}"
    for messenger in MESSENGERS:
        check_sound_spec(SoundFileSpec(messenger=messenger))


def test_a_file_that_is_left_after_an_error_is_unfinished_and_stays(tmp_path: Path) -> None:
    for name in FORMATS:
        path = tmp_path / name
        with (  # noqa: PT012 - what happens inside is what is tested
            pytest.raises(RuntimeError, match="from elsewhere"),
            open_sound(path, SoundFileSpec(name), rate_hz=RATE, channels=1) as writer,
        ):
            writer.write(talk(0.5))
            raise RuntimeError("from elsewhere")
        assert not writer.is_finished
        assert path.exists()
        writer.close()
        assert not writer.is_finished


@pytest.mark.parametrize("name", ["opus", "mp3", "flac", "wav"])
def test_a_file_that_was_never_closed_plays(name: str, tmp_path: Path) -> None:
    original = talk(8)
    code = (
        "import os, sys; from pathlib import Path; from capture.specs.voice import SoundFileSpec;"
        "from tests.media.test_export import RATE, open_sound, talk;"
        "w = open_sound(Path(sys.argv[1]), SoundFileSpec(sys.argv[2]), rate_hz=RATE, channels=1);"
        "w.write(talk(8)); os._exit(9)"
    )
    path = tmp_path / "a"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, path, name], cwd=root, check=False)
    assert done.returncode == 9
    with av.open(str(path)) as container:
        pieces = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    sound = np.concatenate(pieces)
    assert len(original) - RATE // 2 <= len(sound) <= len(original) + 1152


@pytest.mark.parametrize("name", FORMATS)
def test_places_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place, said in (
        (tmp_path / "gone" / "a", "the folder is gone"),
        (tmp_path / "file" / "a", "part of that path is a file"),
        (tmp_path, "that is a folder"),
    ):
        with pytest.raises(OutputError, match=said) as caught:
            open_sound(place, SoundFileSpec(name), rate_hz=RATE, channels=1)
        assert caught.value.hint


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    yield from mounted(tmp_path / "disk", "256k")


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_is_told(name: str, small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(200_000))
    with pytest.raises(OutputError, match="the disk is full") as caught:
        save(small_disk / "a", SoundFileSpec(name, "high"), talk(12), block=RATE // 10)
    assert caught.value.details["errno"] is not None
    filler.unlink()
    (small_disk / "a").unlink()
    save(small_disk / "a", SoundFileSpec(name), talk(0.5))


@pytest.mark.parametrize("name", ["opus", "m4a", "wav", "flac"])
def test_a_read_only_disk_is_told(name: str, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OutputError, match="read-only") as caught:
        open_sound(small_disk / "a", SoundFileSpec(name), rate_hz=RATE, channels=1)
    assert caught.value.hint == "choose another folder"


def test_samples_of_another_shape_are_refused(tmp_path: Path) -> None:
    with open_sound(tmp_path / "a", SoundFileSpec("wav"), rate_hz=RATE, channels=1) as writer:
        for shape in ((100, 2), (100,)):
            with pytest.raises(ValueError, match="not \\(frames, 1\\)"):
                writer.write(np.zeros(shape, np.float32))
        writer.write(np.zeros((0, 1), np.float32))

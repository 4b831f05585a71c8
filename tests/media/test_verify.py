"""Finished files measured again: whole ones pass, damaged ones fail and say where."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from capture import AudioSpec, RecordingSpec, TestCard, VideoSpec, record
from capture.errors import DamagedFileError
from capture.media.certificate import certificate_text, parse, placeholder, seal
from capture.media.check.probe import probe
from capture.media.check.verify import Severity, VerifyReport, verify
from capture.media.extract.job import extract
from capture.media.write.export import open_sound
from capture.media.write.mux import CONTAINERS, container_of
from capture.specs.extraction import ExtractJob
from capture.specs.voice import SoundFileSpec
from tests.media.broken import run_ffmpeg
from tests.media.writing import open_writing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SUFFIXES = [suffix for suffix in CONTAINERS if suffix != ".m4v"]
RATE = 48_000
LENGTH_S = 2.5


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A recording of the synthetic sources in every container, by its ending."""
    folder = tmp_path_factory.mktemp("films")

    def film(suffix: str) -> Path:
        with_picture = not container_of(folder / f"film{suffix}").is_audio_only
        spec = RecordingSpec(
            folder / f"film{suffix}",
            video=VideoSpec(TestCard(256, 144)) if with_picture else None,
            audio=(AudioSpec("synthetic"),),
            duration_s=LENGTH_S,
            tags={"comment": "Grüße"},
        )
        return record(spec).path

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(SUFFIXES, pool.map(film, SUFFIXES), strict=True))


def faults(report: VerifyReport) -> list[str]:
    """Every fault as ``track: message``."""
    return [
        f"{finding.track}: {finding.message}"
        for finding in report.findings
        if finding.severity is Severity.FAULT
    ]


def remux(source: Path, target: Path, change: Callable[[Any], bool]) -> None:
    """Copy all packets for which ``change`` is true; it may move them. Metadata is kept."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        new.metadata.update(old.metadata)
        streams = {}
        for stream in old.streams:
            streams[stream.index] = new.add_stream_from_template(stream)
            streams[stream.index].metadata.update(stream.metadata)
        for packet in old.demux():
            if packet.dts is not None and change(packet):
                packet.stream = streams[packet.stream.index]
                new.mux(packet)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_recording_is_what_its_certificate_says(suffix: str, films: dict[str, Path]) -> None:
    report = verify(films[suffix])
    assert faults(report) == []
    assert report.certificate
    assert report.certificate["version"] == 1
    tracks = report.certificate["tracks"]
    assert [track["kind"] for track in tracks] == [track.kind for track in report.tracks]
    for said, found in zip(tracks, report.tracks, strict=True):
        assert said["end_s"] == pytest.approx(LENGTH_S, abs=0.001)
        assert found.duration_s == pytest.approx(LENGTH_S, abs=0.04)
    assert tracks[-1]["silence_inserted_s"] == 0
    if report.certificate["pictures"]:
        pictures = report.certificate["pictures"]
        # How many were dropped is the machine's doing; each slot of the grid is accounted for.
        slots = pictures["captured"] + pictures["unchanged"] + pictures["dropped"]
        assert slots == pytest.approx(LENGTH_S * 30, abs=1)
        assert pictures["captured"] > 0


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".opus", ".flac"])
def test_the_owners_comment_stays(suffix: str, films: dict[str, Path]) -> None:
    with av.open(str(films[suffix])) as container:
        tags = {**container.metadata, **container.streams[0].metadata}
    comment = next(text for key, text in tags.items() if key.lower() == "comment")
    assert comment.startswith("Grüße\n")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_players_show_no_padding(suffix: str, films: dict[str, Path]) -> None:
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams"]
    shown = subprocess.run([*command, films[suffix]], capture_output=True, text=True, check=True)
    assert "capture-certificate:" in shown.stdout
    assert "  ." not in shown.stdout
    assert "\\u0000" not in shown.stdout
    for tags in (probe(films[suffix]).tags, probe(films[suffix]).tracks):
        assert "   " not in str(tags)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_what_another_program_copies_is_fine(
    suffix: str, films: dict[str, Path], tmp_path: Path
) -> None:
    copy, sound = tmp_path / f"copy{suffix}", tmp_path / "sound.mka"
    run_ffmpeg("-i", films[".mp4"], "-c", "copy", copy)
    run_ffmpeg("-i", films[".mp4"], "-map", "0:a", "-c", "copy", sound)
    assert faults(verify(copy)) == []
    report = verify(sound)
    assert faults(report) == []
    assert "it is a part of a recording: 1 audio track of 1 video and 1 audio tracks" in [
        finding.message for finding in report.findings
    ]


def test_what_is_extracted_has_no_certificate(films: dict[str, Path], tmp_path: Path) -> None:
    job = ExtractJob(films[".mp4"], tmp_path)
    trimmed = replace(job, target=tmp_path / "trimmed", is_trim=True)
    for wanted in (job, replace(job, spec=SoundFileSpec("opus")), trimmed):
        (part,) = extract(wanted).parts
        report = verify(part.path)
        assert report.certificate is None
        assert faults(report) == []
        with av.open(str(part.path)) as container:
            tags = {**container.metadata, **container.streams[0].metadata}
        comment = {key.lower(): text for key, text in tags.items()}["comment"]
        assert comment.splitlines()[0] == "Grüße"
        assert "certificate" not in comment


@pytest.mark.parametrize("form", ["opus", "m4a", "mp3", "flac", "wav"])
def test_a_message_has_no_certificate_and_is_fine(form: str, tmp_path: Path) -> None:
    sound = (tone(3.0) * 32767).astype(np.int16)
    sound[RATE : RATE + RATE // 2] = 0
    path = tmp_path / f"message.{form}"
    tags = {"encoded_by": "capture 1.2.3"}
    with open_sound(path, SoundFileSpec(form), rate_hz=RATE, channels=1, tags=tags) as writer:
        writer.write(sound[:, None])
    report = verify(path)
    assert report.written_by == "capture 1.2.3"
    assert faults(report) == []
    assert not any("certificate" in finding.message for finding in report.findings)


@pytest.mark.parametrize("suffix", [".opus", ".ogg", ".flac"])
def test_checksums_stay_true(suffix: str, films: dict[str, Path]) -> None:
    import soundfile  # noqa: PLC0415

    # libogg leaves out pages whose checksum is wrong; FFmpeg takes them as they are.
    samples, rate_hz = soundfile.read(films[suffix])
    assert len(samples) / rate_hz == pytest.approx(LENGTH_S, abs=0.01)


def test_the_checksum_of_matroska_tags_stays_true(films: dict[str, Path]) -> None:
    import zlib  # noqa: PLC0415

    data = films[".mkv"].read_bytes()
    tags = data.rfind(bytes.fromhex("1254c367"), 0, data.find(b"capture-certificate"))
    content = data.index(bytes.fromhex("bf84"), tags)
    width = content - tags - 4
    size = int.from_bytes(data[tags + 4 : content], "big") & ((1 << 7 * width) - 1)
    stored = int.from_bytes(data[content + 2 : content + 6], "little")
    assert stored == zlib.crc32(data[content + 6 : content + size])


def test_files_of_a_split_recording_each_have_their_own_ends(tmp_path: Path) -> None:
    spec = RecordingSpec(
        tmp_path / "talk.mp4",
        video=VideoSpec(TestCard(256, 144)),
        audio=(AudioSpec("synthetic"),),
        duration_s=1.5,
        split_every_s=1.0,
    )
    ends = []
    for path in record(spec).paths:
        report = verify(path)
        assert faults(report) == []
        assert report.certificate
        ends.append([track["end_s"] for track in report.certificate["tracks"]])
    assert ends == [[1.0, 1.0], [0.5, 0.5]]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".m4a", ".mka"])
def test_dropped_packets_are_a_hole(suffix: str, films: dict[str, Path], tmp_path: Path) -> None:
    damaged = tmp_path / f"damaged{suffix}"
    remux(
        films[suffix],
        damaged,
        lambda p: p.stream.type == "video" or not 0.8 <= float(p.pts * p.time_base) < 1.8,
    )
    (hole,) = faults(verify(damaged))
    assert hole.startswith("test tone: it has a hole: ")
    assert "s of sound are missing" in hole


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".opus", ".m4a", ".mp4"])
def test_a_second_cut_out_of_the_sound_is_a_hole(
    suffix: str, films: dict[str, Path], tmp_path: Path
) -> None:
    # Decoded, blanked, encoded again: timestamps and lengths are in order, only sound is missing.
    source, damaged = films[suffix], tmp_path / f"damaged{suffix}"
    old: Any
    with av.open(str(source)) as old, av.open(str(damaged), "w") as new:
        new.metadata.update({**old.metadata, **old.streams[0].metadata})
        films_ = [new.add_stream_from_template(stream) for stream in old.streams.video]
        codec = old.streams.audio[0].codec_context
        sound: Any = new.add_stream(
            {"opus": "libopus"}.get(codec.name, codec.name), rate=RATE, layout="stereo"
        )
        for packet in old.demux():
            if packet.stream.type == "video":
                if packet.dts is not None:
                    packet.stream = films_[0]
                    new.mux(packet)
                continue
            for frame in packet.decode():
                data = frame.to_ndarray()
                time_s = float(frame.time) + np.arange(frame.samples) / RATE
                blank = (time_s >= 1.0) & (time_s < 2.0)
                data[:, blank if frame.format.is_planar else np.repeat(blank, 2)] = 0
                cut = av.AudioFrame.from_ndarray(data, frame.format.name, frame.layout.name)
                cut.rate, cut.pts, cut.time_base = RATE, frame.pts, frame.time_base
                new.mux(sound.encode(cut))
        new.mux(sound.encode(None))
    report = verify(damaged)
    (hole,) = [finding for finding in report.findings if finding.severity is Severity.FAULT]
    assert "silent that were not when recorded" in hole.message
    assert hole.at_s == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize(("kind", "name"), [("audio", "test tone"), ("video", "picture")])
def test_a_shifted_track_is_named(
    suffix: str, kind: str, name: str, films: dict[str, Path], tmp_path: Path
) -> None:
    shifted = tmp_path / f"shifted{suffix}"

    def shift(packet: Any) -> bool:
        if packet.stream.type == kind:
            ticks = round(0.08 / float(packet.time_base))
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
        if packet.stream.type == "video":  # Matroska keeps none, and a demuxer guesses
            packet.duration = round(1 / 30 / float(packet.time_base))
        return True

    remux(films[suffix], shifted, shift)
    (fault,) = faults(verify(shifted))
    told = re.fullmatch(
        rf"{name}: it is shifted by about ([+-]\d+) ms against its certificate", fault
    )
    assert told, fault
    assert int(told[1]) == pytest.approx(80, abs=12)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_file_is_told(suffix: str, films: dict[str, Path], tmp_path: Path) -> None:
    cut = tmp_path / f"cut{suffix}"
    data = films[suffix].read_bytes()
    cut.write_bytes(data[: len(data) * 6 // 10])
    found = faults(verify(cut))
    assert any("cut short" in fault or "before the time" in fault for fault in found), found


def test_a_file_whose_recorder_was_killed_says_so(tmp_path: Path) -> None:
    path = tmp_path / "talk.mka"
    writing = open_writing(path)
    writing.sound(np.random.default_rng(1).uniform(-0.1, 0.1, (RATE * 2, 2)).astype(np.float32))
    killed = tmp_path / "killed.mka"
    shutil.copy(path, killed)
    writing.close()
    report = verify(killed)
    assert faults(report) == []
    assert report.certificate == {}
    assert "was not finished" in report.findings[-1].message


def other_film(path: Path, sound: np.ndarray[Any, Any]) -> Path:
    """A film of one grey picture after another, by a recorder that knows of no certificates."""
    with av.open(str(path), "w") as container:
        picture: Any = container.add_stream("libx264", rate=25)
        picture.width, picture.height, picture.pix_fmt = 160, 96, "yuv420p"
        track: Any = container.add_stream("aac", rate=RATE, layout="mono")
        for number in range(len(sound) * 25 // RATE):
            grey = np.full((144, 160), 16 if number < 10 else 100, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="yuv420p")
            frame.pts = number
            container.mux(picture.encode(frame))
        for start in range(0, len(sound), 1024):
            piece = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], "fltp", "mono")
            piece.rate, piece.pts = RATE, start
            container.mux(track.encode(piece))
        container.mux(track.encode(None))
        container.mux(picture.encode(None))
    return path


def tone(seconds: float) -> np.ndarray[Any, Any]:
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)
    return wave.astype(np.float32)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_another_recorders_film_passes_without_a_certificate(suffix: str, tmp_path: Path) -> None:
    report = verify(other_film(tmp_path / f"other{suffix}", tone(2)))
    assert faults(report) == []
    assert report.certificate is None
    assert [finding.message for finding in report.findings] == [
        "the file has no certificate to compare it with"
    ]
    assert [track.codec for track in report.tracks] == ["h264", "aac"]
    ((start_s, end_s),) = report.tracks[0].black
    assert (start_s, end_s) == pytest.approx((0, 0.4), abs=0.01)


def test_another_recorders_hole_is_noted(tmp_path: Path) -> None:
    sound = tone(3)
    sound[RATE : 2 * RATE] = 0
    report = verify(other_film(tmp_path / "other.mp4", sound))
    assert faults(report) == []
    notes = [
        finding for finding in report.findings if "falls silent and comes back" in finding.message
    ]
    assert len(notes) == 1
    assert notes[0].at_s == pytest.approx(1.0, abs=0.05)


def test_long_silence_is_noted(tmp_path: Path) -> None:
    sound = tone(7)
    sound[RATE:] = 0
    report = verify(other_film(tmp_path / "other.mkv", sound))
    assert any(finding.message.startswith("it is silent for 6.0 s") for finding in report.findings)
    silent = verify(other_film(tmp_path / "silent.mkv", 0 * tone(1)))
    assert any("silent from beginning to end" in finding.message for finding in silent.findings)


@pytest.mark.parametrize("content", [b"hello\n" * 100, b"\0" * 5000, b"RIFF"])
def test_what_is_no_recording_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError) as caught:
        verify(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


# ------------------------------------------------------------------------------ the certificate


FACTS: dict[str, Any] = {
    "version": 1,
    "pictures": None,
    "tracks": [
        {
            "name": "Größe",
            "kind": "audio",
            "start_s": 0.0,
            "end_s": 2.0,
            "quiet_ms": [[n * 100, n * 100 + 60] for n in range(32)],
            "quiet_floor_ms": 60,
        }
    ],
    "warnings": [],
}


def test_a_certificate_takes_exactly_its_room_whatever_it_says() -> None:
    size = len(placeholder(1))
    for count in (0, 1, 5, 500):
        text = certificate_text(FACTS | {"warnings": ["the sound is lost"] * count}, size)
        assert len(text.encode()) == size
        certificate = parse(text)
        assert certificate is not None
        assert certificate.tracks[0].name == "Größe"
        assert len(certificate.tracks[0].quiet_s) == 32
    long_name = FACTS | {"tracks": [FACTS["tracks"][0] | {"name": "x" * 2200}]}
    certificate = parse(certificate_text(long_name, size))
    assert certificate is not None
    assert certificate.tracks[0].quiet_floor_s == float("inf")


def test_a_certificate_that_cannot_be_read_is_none() -> None:
    assert parse("holiday") is None
    assert parse("capture-certificate:{") is None
    assert parse('capture-certificate:{"tracks":[{}]}') is None
    assert parse("capture-certificate:[]") is None
    unfinished = parse(f"holiday\n{placeholder(2)}")
    assert unfinished is not None
    assert not unfinished.is_finished


def test_a_file_is_sealed_at_its_beginning_and_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    blank = placeholder(1).encode()
    path.write_bytes(b"head" + blank + bytes(3 << 20) + blank + b"tail")
    seal(path, FACTS)
    data = path.read_bytes()
    assert len(data) == 8 + 2 * len(blank) + (3 << 20)
    text = certificate_text(FACTS, len(blank)).encode()
    assert data == b"head" + text + bytes(3 << 20) + text + b"tail"
    assert json.loads(text.removeprefix(b"capture-certificate:").rstrip(b"\0")) == FACTS

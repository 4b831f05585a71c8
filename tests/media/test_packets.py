"""One encoder, several sinks: every file decodes, and holds the same bytes."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from capture.media.write.encode import AudioEncoder, VideoEncoder
from capture.media.write.mux import CODEC_NAMES, container_of, open_file
from capture.recording.lanes import PictureLane
from capture.recording.segment_file import FilePlan
from capture.recording.segments import Segments
from capture.units import NS_PER_S
from tests.media.films import read_picture_times, read_sound
from tests.media.writing import open_writing

if TYPE_CHECKING:
    from pathlib import Path

    from capture.media.packets import Packet, StreamHeader

FPS = 30
RATE_HZ = 48_000
FRAMES = RATE_HZ // FPS
"""Of sound beside each picture."""


def shade(level: int) -> av.VideoFrame:
    frame = av.VideoFrame(320, 180, "yuv420p")
    for plane, value in zip(frame.planes, (level, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    return frame


def encode(codec: str, seconds: float) -> tuple[list[Packet], list[StreamHeader]]:
    """Packets of a film that gets brighter with a tone that does not, and the two headers."""
    video = VideoEncoder(0, name="libx264", quality="medium", fps=FPS, like=shade(0))
    audio = AudioEncoder(
        1, codec=codec, quality="medium", rate_hz=RATE_HZ, channels=2, title="system"
    )
    tone = np.sin(np.arange(round(seconds * RATE_HZ)) * 2 * np.pi * 440 / RATE_HZ) / 4
    sound = np.stack([tone, tone], 1).astype(np.float32)
    packets = []
    for number in range(round(seconds * FPS)):
        at_ns = round(number * NS_PER_S / FPS)
        packets += video.encode(shade(16 + number), at_ns, is_key=number % FPS == 0)
        packets += audio.encode(sound[number * FRAMES : (number + 1) * FRAMES])
    return [*packets, *video.flush(), *audio.flush()], [video.header, audio.header]


def payloads(path: Path) -> list[list[bytes]]:
    with av.open(str(path)) as container:
        found: list[list[bytes]] = [[] for _ in container.streams]
        for packet in container.demux():
            if packet.size:
                found[packet.stream_index].append(bytes(packet))
    return found


@pytest.mark.parametrize("codec", ["aac", "opus", "flac"])
def test_two_files_of_one_encoder_hold_the_same_packets(codec: str, tmp_path: Path) -> None:
    packets, headers = encode(CODEC_NAMES[codec], 2)
    paths = [tmp_path / "one.mp4", tmp_path / "other.mkv"]
    files = [open_file(path, headers) for path in paths]
    for packet in packets:
        for file in files:
            file.push(packet)
    for file in files:
        file.close()
    assert payloads(paths[0]) == payloads(paths[1])
    for path in paths:
        assert len(read_picture_times(path)) == 2 * FPS
        assert read_sound(path).end_s == pytest.approx(2, abs=0.03)


def test_a_file_may_begin_at_any_key_picture(tmp_path: Path) -> None:
    # What a replay does: the packets are older than the file.
    packets, headers = encode("aac", 3)
    start_ns = NS_PER_S
    for suffix in (".mp4", ".mkv"):
        path = tmp_path / f"late{suffix}"
        file = open_file(path, headers, start_ns=start_ns)
        for packet in packets:
            if packet.pts * packet.time_base >= 1:
                file.push(packet)
        file.close()
        times = read_picture_times(path)
        assert len(times) == 2 * FPS
        assert times[0] == pytest.approx(0, abs=0.001)
        sound = read_sound(path)
        assert sound.end_s == pytest.approx(2, abs=0.03)


def test_packets_do_not_change_when_a_file_takes_them(tmp_path: Path) -> None:
    packets, headers = encode("aac", 1)
    before = [(packet.pts, packet.dts, packet.duration, packet.data) for packet in packets]
    # Matroska counts in milliseconds; the packets go on counting in their own ticks.
    file = open_file(tmp_path / "film.mkv", headers)
    for packet in packets:
        file.push(packet)
    file.close()
    assert [(packet.pts, packet.dts, packet.duration, packet.data) for packet in packets] == before
    assert {packet.time_base for packet in packets} == {Fraction(1, 90_000), Fraction(1, RATE_HZ)}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".opus", ".flac", ".wav"])
def test_an_encoder_that_is_cut_goes_on_in_the_next_file(suffix: str, tmp_path: Path) -> None:
    # To the sample: the second file begins with the very next one.
    container = container_of(tmp_path / f"a{suffix}")
    first = open_writing(
        tmp_path / f"first{suffix}",
        like=shade(16) if container.video_encoder else None,
        encoder=container.video_encoder or "",
        fps=FPS,
    )
    cut = 50_123
    ramp = np.linspace(-0.5, 0.5, 2 * RATE_HZ, dtype=np.float32).reshape(-1, 1).repeat(2, axis=1)
    first.sound(ramp[:cut])
    if first.video is not None:
        first.picture(shade(16), 0, is_key=True)
    for encoder in first.encoders:
        for packet in encoder.cut():
            first.file.push(packet)
    first.file.close()
    cut_ns = -(-cut * NS_PER_S // RATE_HZ)
    second = tmp_path / f"second{suffix}"
    file = open_file(second, [encoder.header for encoder in first.encoders], start_ns=cut_ns)
    packets = first.audio[0].encode(ramp[cut:]) + first.audio[0].flush()
    if first.video is not None:
        packets += first.video.encode(shade(200), cut_ns, is_key=True) + first.video.flush()
    for packet in packets:
        file.push(packet)
    file.close()

    lengths = [len(read_sound(path).samples) for path in (first.file.path, second)]
    if container.audio_codecs[0] in {"flac", "pcm"}:
        assert lengths == [cut, len(ramp) - cut]
    sound = read_sound(second)
    assert sound.start_s == pytest.approx(0, abs=0.022)
    assert sound.end_s == pytest.approx((len(ramp) - cut) / RATE_HZ, abs=0.022)
    if first.video is not None:
        assert read_picture_times(second)[0] == pytest.approx(0, abs=0.001)


def test_a_picture_that_came_late_in_the_last_slot_adds_none_to_a_constant_rate(
    tmp_path: Path,
) -> None:
    video = VideoEncoder(0, name="libx264", quality="medium", fps=FPS, like=shade(0))
    files = FilePlan(
        path=tmp_path / "film.mp4",
        video=video,
        audio=[],
        is_split=True,
        overwrite=False,
        tags={},
        certify=lambda: {"tracks": [{"name": "picture", "kind": "video"}]},
    )
    segments = Segments(
        video=video,
        audio=[],
        rate_hz=RATE_HZ,
        split_ns=NS_PER_S,
        open_segment=files.open,
        on_done=lambda _path: None,
    )
    lane = PictureLane(segments, video, FPS, is_cfr=True, end_ns=2 * NS_PER_S)
    for number in range(2 * FPS):
        late = 0.8 if number else 0.0
        lane.put(shade(number), round((number + late) * NS_PER_S / FPS))
    lane.end(2 * NS_PER_S)
    segments.mailbox.close()
    segments.write_all()
    assert [len(read_picture_times(path)) for path in segments.paths] == [FPS, FPS]

from __future__ import annotations

import io
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from capture.clock import now_ns
from capture.errors import ConfigError, DeviceLostError, SourceEndedError
from capture.live.timeline import AudioTimeline
from capture.model.events import Event, EventKind
from capture.sources.synthetic import EPOCH_NS
from capture.sources.synthetic.screen import SyntheticScreen, read_counter
from capture.sources.synthetic.tone import Beep, SyntheticTone, ToneFaults, read_tone, tone_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from capture.model.signal import AudioBlock

RATE = 48_000


class Clock:
    def __init__(self, ns: int = EPOCH_NS) -> None:
        self.ns = ns

    def __call__(self) -> int:
        return self.ns

    def at(self, seconds: float) -> None:
        self.ns = EPOCH_NS + round(seconds * 1e9)


# ---------------------------------------------------------------------------------- the test card


@pytest.mark.parametrize("size", [(128, 128), (321, 243), (1280, 720)])
def test_every_picture_carries_its_number(size: tuple[int, int]) -> None:
    clock = Clock()
    screen = SyntheticScreen(*size, fps_change=25.0, now=clock)
    for index in (0, 1, 2, 77, 255, 256, 65_535, 65_536, (1 << 24) - 1):
        clock.at((index + 0.5) / 25)
        pixels = screen.grab().pixels
        assert pixels.shape == (size[1], size[0], 4)
        assert read_counter(pixels) == index
        assert read_counter(pixels[..., 1]) == index


def test_only_what_moved_is_reported() -> None:
    clock = Clock()
    screen = SyntheticScreen(320, 240, now=clock)
    (whole,) = screen.grab().changed
    assert (whole.width_px, whole.height_px) == (320, 240)
    assert screen.grab().changed == ()
    clock.at(1.5 / 30)
    changed = screen.grab().changed
    assert changed
    assert sum(rect.area_px for rect in changed) < 320 * 240 / 8


def test_a_flash_marks_the_first_tenth_of_a_second() -> None:
    clock = Clock()
    screen = SyntheticScreen(320, 240, fps_change=60.0, now=clock)
    light = []
    for index in range(120):
        clock.at((index + 0.5) / 60)
        light.append(screen.grab().pixels[70, 270, 0] == 255)
    assert light == ([True] * 6 + [False] * 54) * 2


def test_the_same_moment_gives_the_same_picture_whatever_came_before() -> None:
    clock = Clock()
    moved, fresh = (SyntheticScreen(320, 240, now=clock) for _ in range(2))
    for index in range(200):
        clock.at(index / 30)
        moved.grab()
    assert np.array_equal(moved.grab().pixels, fresh.grab().pixels)


def test_it_ends_and_gets_lost_when_told() -> None:
    clock = Clock()
    ending = SyntheticScreen(128, 128, end_s=2.0, now=clock)
    losing = SyntheticScreen(128, 128, lost_s=2.0, now=clock)
    ending.grab()
    clock.at(2.0)
    with pytest.raises(SourceEndedError):
        ending.grab()
    with pytest.raises(DeviceLostError):
        losing.grab()


def test_too_small_a_card_is_refused() -> None:
    with pytest.raises(ConfigError, match="too small"):
        SyntheticScreen(64, 480)


def test_noise_black_and_white_are_no_counter() -> None:
    assert read_counter(np.zeros((240, 320), np.uint8)) is None
    assert read_counter(np.full((240, 320, 3), 255, np.uint8)) is None
    noise = np.random.default_rng(0).integers(0, 2, (50, 1, 32), np.uint8) * np.uint8(255)
    read = [read_counter(np.repeat(np.repeat(row, 64, 0), 10, 1)) for row in noise]
    assert read.count(None) >= 48


def test_the_counter_survives_h264() -> None:
    clock = Clock()
    screen = SyntheticScreen(320, 240, now=clock)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.options["crf"] = "28"
        for index in range(45):
            clock.at((index + 0.5) / 30)
            bgr = np.ascontiguousarray(screen.grab().pixels[..., :3])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(bgr, format="bgr24")))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as recorded:
        frames = [frame.to_ndarray(format="gray") for frame in recorded.decode(video=0)]
    assert [read_counter(frame.astype(np.uint8)) for frame in frames] == list(range(45))


# ---------------------------------------------------------------------------------- the test tone


def toned(start_s: float, seconds: float) -> NDArray[np.float32]:
    first = round(start_s * RATE)
    return tone_at(np.arange(first, first + round(seconds * RATE)) / RATE)


def test_beeps_are_found_to_the_sample() -> None:
    assert read_tone(toned(65_533.4, 4.0), RATE) == [
        Beep(28_800, 65_534),
        Beep(76_800, 65_535),
        Beep(124_800, 0),
        Beep(172_800, 1),
    ]


def test_blocks_join_to_the_same_tone() -> None:
    parts = [tone_at(np.arange(first, first + 960) / RATE) for first in range(0, 96_000, 960)]
    assert np.array_equal(np.concatenate(parts), toned(0, 2.0))


def test_drops_and_gaps_show_in_the_distances() -> None:
    sound = toned(0, 5.0)
    sound = np.concatenate((sound[:72_000], sound[72_480:168_000], np.zeros(960), sound[168_000:]))
    frames = [beep.frame for beep in read_tone(sound.astype(np.float32), RATE)]
    assert [after - before for before, after in pairwise(frames)] == [
        48_000,
        47_520,
        48_000,
        48_960,
    ]


def test_a_cut_or_drowned_beep_is_left_out() -> None:
    sound = toned(0, 3.0)
    sound[48_000 + 5_000 : 48_000 + 7_000] = 0
    assert [beep.number for beep in read_tone(sound, RATE)] == [0, 2]
    assert read_tone(sound[:5_000], RATE) == []
    assert read_tone(sound[:100], RATE) == []
    noise = np.random.default_rng(1).normal(0, 0.3, 5 * RATE).astype(np.float32)
    assert read_tone(noise, RATE) == []


def test_quiet_and_stereo_and_other_rates() -> None:
    quiet = 0.01 * toned(7, 2.0)
    assert [beep.number for beep in read_tone(np.stack((quiet, quiet), 1), RATE)] == [7, 8]
    other = tone_at(np.arange(2 * 44_100) / 44_100)
    assert read_tone(other, 44_100) == [Beep(0, 0), Beep(44_100, 1)]


def test_beeps_across_a_search_border_are_found_once() -> None:
    beeps = read_tone(toned(0.16, 70.0), RATE)
    assert [beep.number for beep in beeps] == list(range(1, 70))
    assert {after.frame - before.frame for before, after in pairwise(beeps)} == {RATE}


def test_beeps_keep_their_place_in_aac() -> None:
    sound = toned(0, 6.0)
    file = io.BytesIO()
    with av.open(file, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        stream.bit_rate = 96_000
        for first in range(0, len(sound) // 1024 * 1024, 1024):
            frame = av.AudioFrame.from_ndarray(
                sound[None, first : first + 1024], format="fltp", layout="mono"
            )
            frame.sample_rate = RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as recorded:
        out = np.concatenate([frame.to_ndarray()[0] for frame in recorded.decode(audio=0)])
    beeps = read_tone(out, RATE)
    assert [beep.number for beep in beeps] == [0, 1, 2, 3, 4, 5]
    # ADTS knows no encoder delay: all are late by the same 1024 frames.
    assert all(abs(beep.frame - 1024 - RATE * beep.number) <= 2 for beep in beeps)


# ---------------------------------------------------------------------------------- as a device


def test_sound_and_picture_are_in_step() -> None:
    began = now_ns()
    blocks: list[AudioBlock] = []
    events: list[Event] = []
    with SyntheticTone() as tone:
        tone.start(blocks.append, events.append)
        time.sleep(1.35)  # a whole beep, wherever the second begins
    assert not events
    timeline = AudioTimeline(rate_hz=RATE, channels=2, start_ns=began)
    for block in blocks:
        timeline.push(block)
    beeps = read_tone(timeline.pull(timeline.available_frames, fill=False), RATE)
    assert beeps
    for beep in beeps:
        said_ns = EPOCH_NS + beep.number * 1_000_000_000
        assert abs(began + beep.frame * 1_000_000_000 // RATE - said_ns) < 60_000
    assert timeline.stats.inserted_frames == timeline.stats.dropped_frames == 0


def test_a_device_that_fails_in_every_way() -> None:
    faults = ToneFaults(
        clock_error_ppm=20_000,
        jitter_s=0.001,
        lost_blocks=frozenset({3, 4}),
        silent_s=((0.12, 0.16),),
        lost_s=0.2,
        back_s=0.24,
        end_s=0.3,
    )
    tone = SyntheticTone(channels=1, faults=faults)
    blocks: list[AudioBlock] = []
    events: list[Event] = []
    with tone:
        tone.start(blocks.append, events.append)
        assert tone._thread is not None
        tone._thread.join(10)  # it ends by itself
    indexes = [block.position_frames // 960 for block in blocks]
    assert indexes == [0, 1, 2, 5, 6, 9, 10, 13, 14, 15]
    assert [event.kind for event in events] == [
        EventKind.DEVICE_LOST,
        EventKind.DEVICE_BACK,
        EventKind.STREAM_ENDED,
    ]
    apart_s = (blocks[-1].captured_ns - blocks[0].captured_ns) / 1e9
    assert apart_s == pytest.approx(15 * 0.02 / 1.02, abs=0.008)
    assert all(block.samples.shape == (960, 1) for block in blocks)


def test_a_fast_device_still_beeps_at_the_second() -> None:
    # At 0.1 % it reads 48 frames more in a second.
    device = SyntheticTone(channels=1, faults=ToneFaults(clock_error_ppm=1_000))
    sound = np.concatenate([device._block(0, index, 960, 0).samples[:, 0] for index in range(110)])
    assert [beep.frame for beep in read_tone(sound, RATE)] == pytest.approx([0, 48_048], abs=3)


@pytest.mark.parametrize("ppm", [-300.0, 300.0])
def test_the_timeline_brings_a_drifting_device_back_in_step(ppm: float) -> None:
    faults = ToneFaults(clock_error_ppm=ppm, jitter_s=0.001)
    device = SyntheticTone(faults=faults)
    timeline = AudioTimeline(rate_hz=RATE, channels=2, start_ns=EPOCH_NS)
    for index in range(60 * 50):
        heard_ns = EPOCH_NS + round(index * 0.02 / (1 + ppm * 1e-6) * 1e9)
        timeline.push(device._block(0, index, 960, heard_ns))
    beeps = read_tone(timeline.pull(timeline.available_frames, fill=False), RATE)
    assert [beep.number for beep in beeps] == list(range(60))
    late_ms = [1e3 * (beep.frame / RATE - beep.number) for beep in beeps]
    assert max(map(abs, late_ms)) < 6
    assert max(map(abs, late_ms[20:])) < 5
    assert max(map(abs, late_ms[50:])) < 2.5

"""The timeline against simulated devices: what arrives, when it is stamped, what comes out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from capture.live.timeline import STEP_S, AudioTimeline
from capture.model.signal import AudioBlock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RATE = 48_000
START_NS = 5_000_000_000
BLOCK = 960


def counted(first: int, frames: int) -> NDArray[np.float32]:
    """Sound whose every sample says its index modulo 65521, exactly; never 0."""
    number = (np.arange(first, first + frames) % 65_521 + 1) / np.float32(65_536)
    return np.stack((number, -number), axis=1).astype(np.float32)


def sine(first: int, frames: int) -> NDArray[np.float32]:
    wave = 0.5 * np.sin(2 * np.pi * 997 / RATE * np.arange(first, first + frames))
    return np.stack((wave, wave), axis=1).astype(np.float32)


@dataclass
class Device:
    """Gives blocks one by one; its fields are changed between them to make it fail."""

    ppm: float = 0.0
    begins_s: float = 0.0
    content: object = counted
    frames: int = 0  # heard so far: index of the sound
    position: int = 0  # counted so far
    stamp_s: float = 0.0  # constant error of the stamps
    jitter: list[float] = field(default_factory=list)

    @property
    def now_s(self) -> float:
        return self.begins_s + self.frames / (RATE * (1 + self.ppm * 1e-6))

    def block(self, frames: int = BLOCK, jitter_s: float = 0.0) -> AudioBlock:
        assert callable(self.content)
        stamp = START_NS + round((self.now_s + self.stamp_s + jitter_s) * 1e9)
        block = AudioBlock(self.content(self.frames, frames), stamp, self.position)
        self.frames += frames
        self.position += frames
        return block

    def blocks(self, seconds: float, frames: int = BLOCK) -> Iterator[AudioBlock]:
        for _ in range(round(seconds * RATE / frames)):
            yield self.block(frames)

    def lose(self, frames: int, *, counts: bool = True) -> None:
        self.frames += frames
        self.position += frames if counts else 0


def new(channels: int = 2) -> AudioTimeline:
    return AudioTimeline(rate_hz=RATE, channels=channels, start_ns=START_NS)


def pull_all(timeline: AudioTimeline) -> NDArray[np.float32]:
    return timeline.pull(timeline.available_frames, fill=False)


def error_s(timeline: AudioTimeline, device: Device) -> float:
    """How late the sound is laid."""
    return (timeline.available_frames + timeline._backlog) / RATE - device.now_s


# --------------------------------------------------------------------------------- placing


def test_exact_device_comes_out_bit_by_bit() -> None:
    timeline, device = new(), Device()
    for block in device.blocks(5):
        timeline.push(block)
    assert np.array_equal(pull_all(timeline), counted(0, 5 * RATE))
    assert timeline.stats.inserted_frames == timeline.stats.dropped_frames == 0


def test_nothing_is_available_while_the_first_blocks_are_weighed() -> None:
    timeline, device = new(), Device()
    for block in device.blocks(0.18):
        timeline.push(block)
    assert timeline.available_frames == 0
    timeline.push(device.block())
    assert timeline.available_frames == 10 * BLOCK


def test_one_bad_first_stamp_shifts_nothing() -> None:
    timeline, device = new(), Device(begins_s=1.0)
    timeline.push(device.block(jitter_s=0.7))
    for block in device.blocks(1):
        timeline.push(block)
    assert timeline.stats.lead_frames == RATE
    assert np.array_equal(pull_all(timeline)[RATE:], counted(0, RATE + BLOCK))


def test_a_late_stream_begins_at_its_stamp_and_its_lead_is_no_gap() -> None:
    timeline, device = new(), Device(begins_s=7.25)
    assert not timeline.pull(3 * RATE, fill=True).any()
    for block in device.blocks(1):
        timeline.push(block)
    out = pull_all(timeline)
    assert len(out) == round(5.25 * RATE)
    assert np.array_equal(out[round(4.25 * RATE) :], counted(0, RATE))
    assert timeline.stats.lead_frames == round(7.25 * RATE)
    assert timeline.stats.inserted_frames == timeline.stats.gaps == 0


def test_sound_before_the_session_is_cut_to_the_sample() -> None:
    timeline, device = new(), Device(begins_s=-0.1234)
    for block in device.blocks(1):
        timeline.push(block)
    cut = round(0.1234 * RATE)
    assert np.array_equal(pull_all(timeline), counted(cut, RATE - cut))
    assert timeline.stats.dropped_frames == 0


def test_a_pull_past_waiting_blocks_places_them_early() -> None:
    timeline, device = new(), Device()
    for block in device.blocks(0.06):
        timeline.push(block)
    out = timeline.pull(4800, fill=True)
    # The fade out belongs to the hole behind the sound.
    assert np.array_equal(out[: 2880 - 240], counted(0, 2880 - 240))
    assert not out[2880:].any()


def test_a_stream_shorter_than_its_weighing_is_kept() -> None:
    timeline, device = new(), Device()
    for block in device.blocks(0.06):
        timeline.push(block)
    timeline.finish()
    assert np.array_equal(pull_all(timeline), counted(0, 2880))


def test_stamps_that_are_all_zero_lay_the_sound_end_to_end() -> None:
    timeline = new()
    for index in range(200):
        timeline.push(AudioBlock(counted(index * BLOCK, BLOCK), 0, index * BLOCK))
    assert np.array_equal(pull_all(timeline), counted(0, 200 * BLOCK))


# --------------------------------------------------------------------------------- jitter


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("early_s", [-0.02, 0.0, 0.02])
def test_jitter_never_reaches_the_sound(seed: int, early_s: float) -> None:
    random = np.random.default_rng(seed)
    timeline, device = new(), Device(begins_s=0.05, content=counted)
    out = []
    for index in range(3000):
        jitter = random.uniform(-0.005, 0.005)
        if random.random() < 0.01:
            jitter += random.choice((-0.03, 0.03))
        if index < 50:
            jitter = random.uniform(0.5, 1) * early_s
        timeline.push(device.block(jitter_s=jitter))
        out.append(pull_all(timeline))
    sound = np.concatenate(out)
    first = int(np.argmax(sound[:, 0] != 0))
    start = round(float(sound[first, 0]) * 65_536) - 1
    assert np.array_equal(sound[first:], counted(start, len(sound) - first))
    stats = timeline.stats
    assert (stats.inserted_frames, stats.dropped_frames, stats.gaps) == (0, 0, 0)
    assert stats.corrected_frames == 0


# --------------------------------------------------------------------------------- gaps


@pytest.mark.parametrize("gap_s", [0.005, 0.02, 0.1, 0.77, 3.0, 10.0])
@pytest.mark.parametrize("jitter", [0.0, 0.004])
def test_a_jump_in_position_becomes_exactly_that_much_silence(gap_s: float, jitter: float) -> None:
    timeline, device = new(), Device()
    random = np.random.default_rng(1)
    gap = round(gap_s * RATE)
    for index in range(200):
        if index == 100:
            device.lose(gap)
        timeline.push(device.block(jitter_s=random.uniform(-jitter, jitter) if index > 10 else 0))
    out = pull_all(timeline)
    before, after = out[: 100 * BLOCK], out[100 * BLOCK + gap :]
    assert not out[100 * BLOCK : 100 * BLOCK + gap].any()
    assert np.array_equal(before[:-240], counted(0, 100 * BLOCK - 240))
    assert np.array_equal(after[240:], counted(100 * BLOCK + gap + 240, 100 * BLOCK - 240))
    assert before[-1].any()
    assert after[0].any()
    assert timeline.stats.inserted_frames == gap
    assert timeline.stats.gaps == 1


def test_a_gap_that_only_stamps_tell_of_is_found_and_exact() -> None:
    timeline, device = new(), Device()
    for block in device.blocks(3):
        timeline.push(block)
    device.lose(12_345, counts=False)
    for block in device.blocks(3):
        timeline.push(block)
    assert timeline.stats.inserted_frames == 12_345
    assert error_s(timeline, device) == pytest.approx(0, abs=1e-6)
    out = pull_all(timeline)
    assert np.array_equal(out[-RATE:], counted(device.frames - RATE, RATE))


def test_a_count_that_starts_anew_loses_nothing() -> None:
    timeline, device = new(), Device()
    for block in device.blocks(2):
        timeline.push(block)
    device.position = 0
    for block in device.blocks(2):
        timeline.push(block)
    assert len(pull_all(timeline)) == 4 * RATE
    assert timeline.stats.inserted_frames == timeline.stats.dropped_frames == 0


def test_blocks_that_come_twice_are_heard_once() -> None:
    timeline, device = new(), Device()
    for index, block in enumerate(device.blocks(3)):
        timeline.push(block)
        if index % 40 == 20:
            timeline.push(block)
    assert np.array_equal(pull_all(timeline), counted(0, 3 * RATE))
    assert timeline.stats.dropped_frames == 4 * BLOCK


def test_late_blocks_go_where_they_belong_and_what_was_filled_stays_silent() -> None:
    timeline, device = new(), Device()
    for block in device.blocks(2):
        timeline.push(block)
    first = timeline.pull(2 * RATE + 5000, fill=True)
    assert not first[2 * RATE :].any()
    for block in device.blocks(2):
        timeline.push(block)
    rest = pull_all(timeline)
    assert np.array_equal(rest[240:], counted(2 * RATE + 5240, 2 * RATE - 5240))
    assert timeline.stats.inserted_frames == timeline.stats.dropped_frames == 5000
    assert timeline.stats.gaps == 1


@pytest.mark.parametrize("counts", [True, False])
def test_an_idle_source_comes_back_at_its_stamp(counts: bool) -> None:  # noqa: FBT001
    timeline, device = new(), Device()
    for block in device.blocks(2):
        timeline.push(block)
    for until in range(2 * RATE + BLOCK, 62 * RATE, BLOCK):
        timeline.pull(until, fill=True)
    device.lose(60 * RATE, counts=counts)
    for block in device.blocks(1):
        timeline.push(block)
    assert error_s(timeline, device) == pytest.approx(0, abs=1e-6)
    assert timeline.stats.inserted_frames == 60 * RATE
    assert timeline.stats.gaps == 1
    assert np.array_equal(pull_all(timeline)[-RATE + 240 :], counted(62 * RATE + 240, RATE - 240))


def test_a_hole_of_hours_costs_no_memory_until_it_is_pulled() -> None:
    timeline, device = new(), Device()
    for block in device.blocks(1):
        timeline.push(block)
    device.lose(10 * 3600 * RATE)
    timeline.push(device.block())
    assert timeline.available_frames == 36_001 * RATE + BLOCK
    assert sum(chunk.base.nbytes for chunk in timeline._ready if chunk.base is not None) < 1 << 20


# --------------------------------------------------------------------------------- bad stamps


@pytest.mark.parametrize("step_s", [0.2, -0.2, 0.03, -0.03])
def test_a_step_of_latency_is_followed_once_confirmed(step_s: float) -> None:
    timeline, device = new(), Device(content=sine)
    for block in device.blocks(4):
        timeline.push(block)
    device.stamp_s = step_s
    for block in device.blocks(4):
        timeline.push(block)
    assert error_s(timeline, device) == pytest.approx(step_s, abs=1e-6)
    stats = timeline.stats
    moved = stats.inserted_frames - stats.dropped_frames
    assert moved == round(step_s * RATE)
    out = pull_all(timeline)
    assert np.abs(np.diff(out[:, 0])).max() < 0.09  # no click: the sine's own slope is 0.065


@pytest.mark.parametrize("bad_s", [-4.0, 0.03, 2.0, 3600.0, 1.7e9])
def test_a_few_wild_stamps_are_ignored(bad_s: float) -> None:
    timeline, device = new(), Device()
    for index in range(300):
        timeline.push(device.block(jitter_s=bad_s if 150 <= index < 160 else 0.0))
    assert np.array_equal(pull_all(timeline), counted(0, 300 * BLOCK))


def test_zero_stamps_follow_the_count() -> None:
    timeline, device = new(), Device()
    for index in range(400):
        block = device.block()
        if index > 100:
            block = AudioBlock(block.samples, 0, block.position_frames)
        timeline.push(block)
    assert np.array_equal(pull_all(timeline), counted(0, 400 * BLOCK))


def test_implausible_stamps_that_persist_are_believed_up_to_a_minute() -> None:
    for off_s, followed in ((5.0, True), (1.7e9, False)):
        timeline, device = new(), Device()
        for block in device.blocks(3):
            timeline.push(block)
        device.stamp_s = off_s
        for block in device.blocks(3):
            timeline.push(block)
        assert error_s(timeline, device) == pytest.approx(off_s if followed else 0, abs=1e-6)


# --------------------------------------------------------------------------------- drift


@pytest.mark.parametrize("ppm", [-300.0, -40.0, 100.0, 300.0])
def test_drift_is_held_within_five_milliseconds(ppm: float) -> None:
    random = np.random.default_rng(7)
    timeline, device = new(), Device(ppm=ppm)
    worst = 0.0
    for index in range(60 * 50):
        jitter = random.exponential(0.001)
        if random.random() < 0.01:
            jitter += random.uniform(0.005, 0.03)
        timeline.push(device.block(jitter_s=jitter))
        pull_all(timeline)
        if index > 20 * 50:
            worst = max(worst, abs(error_s(timeline, device)))
    assert worst <= 0.005
    assert timeline.stats.inserted_frames == timeline.stats.dropped_frames == 0
    if abs(ppm) >= 100:
        assert timeline.stats.drift_ppm == pytest.approx(ppm, abs=60)
        assert timeline.stats.corrected_frames > 0


def test_a_bad_start_is_mended_where_the_sound_is_resampled_anyway() -> None:
    timeline, device = new(), Device(ppm=200.0, content=sine)
    for index in range(280 * 50):
        timeline.push(device.block(jitter_s=-0.018 if index < 50 else 0.0))
        pull_all(timeline)
        if index == 200:
            assert error_s(timeline, device) == pytest.approx(-0.018, abs=0.002)
    assert error_s(timeline, device) == pytest.approx(0, abs=0.002)
    assert timeline.stats.inserted_frames == timeline.stats.dropped_frames == 0


def test_the_resampler_joins_without_a_seam_and_leaves_again() -> None:
    timeline, device = new(), Device(ppm=200.0, content=sine)
    out = []
    for index in range(150 * 50):
        if index == 40 * 50:  # from here the device keeps time
            device.begins_s, device.ppm = device.now_s - device.frames / RATE, 0.0
        timeline.push(device.block())
        out.append(pull_all(timeline))
    sound = np.concatenate(out)[:, 0].astype(np.float64)
    assert 0 < timeline.stats.corrected_frames < len(sound) - 30 * RATE
    assert timeline._stretcher is None
    # A sine obeys y[n+1] + y[n-1] = 2 cos(w) y[n]; any seam breaks that, slow pitch does not.
    wave = 2 * math.cos(2 * math.pi * 997 / RATE)
    residue = sound[2:] + sound[:-2] - wave * sound[1:-1]
    assert np.abs(residue).max() < 2e-5
    # Back in the dead band, it is the input again, moved by whole frames.
    late = device.frames - timeline.available_frames
    assert np.array_equal(sound[-RATE:], sine(late + len(sound) - RATE, RATE)[:, 0])


def test_a_gap_while_resampling_is_exact_to_a_sample() -> None:
    timeline, device = new(), Device(ppm=300.0)
    for block in device.blocks(40):
        timeline.push(block)
    before = error_s(timeline, device)
    device.lose(24_000)
    timeline.push(device.block())
    assert error_s(timeline, device) - before == pytest.approx(300e-6 * 0.52, abs=1.5 / RATE)
    assert timeline.stats.inserted_frames == 24_000


# --------------------------------------------------------------------------------- contract


def test_wrong_pulls_and_blocks_are_refused() -> None:
    timeline, device = new(), Device()
    for block in device.blocks(1):
        timeline.push(block)
    with pytest.raises(ValueError, match="only 48000"):
        timeline.pull(48_001, fill=False)
    timeline.pull(1000, fill=False)
    with pytest.raises(ValueError, match="before the last pull"):
        timeline.pull(999, fill=True)
    assert timeline.pull(1000, fill=False).shape == (0, 2)
    with pytest.raises(ValueError, match="2 channels"):
        timeline.push(AudioBlock(np.zeros((10, 1), np.float32), START_NS, 0))


@dataclass
class Plan:
    """A device, what happens to it, and how its sound is pulled."""

    ppm: float
    begins_s: float
    faults: list[tuple[str, int]]
    frames: int
    holdback_s: float | None
    seed: int


PLANS = st.builds(
    Plan,
    ppm=st.sampled_from([0.0, 300.0, -300.0]),
    begins_s=st.floats(-0.5, 2.0),
    faults=st.lists(
        st.tuples(
            st.sampled_from(
                ["lose", "hole", "step", "twice", "zero", "wild", "restart", "mute"],
            ),
            st.integers(240, 10 * RATE),
        ),
        max_size=5,
    ),
    frames=st.sampled_from([441, 960, 4800]),
    holdback_s=st.sampled_from([None, 0.0, 0.15, 1.0]),
    seed=st.integers(0, 2**16),
)


class Run:
    """Plays a plan, and checks everything that is pulled."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.timeline = new()
        self.device = Device(ppm=plan.ppm, begins_s=plan.begins_s)
        self.pulled = 0
        self.random = np.random.default_rng(plan.seed)

    def pull(self, until: int, *, fill: bool) -> None:
        until = max(until, self.pulled)
        out = self.timeline.pull(until, fill=fill)
        assert out.shape == (until - self.pulled, 2)
        assert out.dtype == np.float32
        assert np.isfinite(out).all()
        assert np.abs(out).max(initial=0) <= 1.2  # the saw's edge rings in the resampler
        self.pulled = until

    def play(self, seconds: float, fault: str = "") -> None:
        for _ in range(math.ceil(seconds * RATE / self.plan.frames)):
            jitter = min(self.random.exponential(0.001), 0.01)
            block = self.device.block(self.plan.frames, jitter_s=jitter)
            if fault in ("zero", "wild"):
                stamp = 0 if fault == "zero" else int(self.random.integers(1, 10**15))
                block = AudioBlock(block.samples, stamp, block.position_frames)
            self.timeline.push(block)
            if fault == "twice":
                self.timeline.push(block)
            if self.plan.holdback_s is None:
                self.pull(self.timeline.available_frames, fill=False)
            else:
                self.pull(round((self.device.now_s - self.plan.holdback_s) * RATE), fill=True)

    def fail(self, fault: str, size: int) -> None:
        if fault in ("lose", "mute"):
            self.device.lose(size)
        elif fault == "hole":
            self.device.lose(min(size, 2 * RATE), counts=False)
        elif fault == "step":
            self.device.stamp_s = -0.2 if self.device.stamp_s > 0 else 0.2
        elif fault == "restart":
            self.device.position = 0
        if fault == "mute":
            self.pull(round(self.device.now_s * RATE), fill=True)
        self.play(0.5, fault)


@settings(max_examples=200, deadline=None)
@given(PLANS)
def test_whatever_happens_the_stream_is_whole_and_finds_back(plan: Plan) -> None:
    run = Run(plan)
    run.play(1.0)
    for fault, size in plan.faults:
        run.fail(fault, size)
    run.device.stamp_s = 0.0
    run.play(5.0)
    assert abs(error_s(run.timeline, run.device)) <= STEP_S + 0.002


@pytest.mark.parametrize("is_still", [False, True])
def test_without_drift_correction_sound_stays_bit_for_bit(is_still: bool) -> None:  # noqa: FBT001 - a case
    """A clock that is 4000 ppm slow: put right in steps, or not at all while it is to be still."""
    timeline = AudioTimeline(rate_hz=RATE, channels=1, start_ns=0, corrects_drift=False)
    timeline.is_still = is_still
    frames, blocks = 960, 1500
    for number in range(blocks):
        first = number * frames
        samples = (np.arange(first, first + frames)[:, None] / 2**23).astype(np.float32)
        stamp_ns = round(first / RATE * 1.004 * 1e9) + 1
        timeline.push(AudioBlock(samples, stamp_ns, first))
    timeline.finish()
    assert timeline.stats.corrected_frames == 0
    late_s = (timeline.available_frames - frames * blocks) / RATE
    assert late_s == pytest.approx(0.0 if is_still else 0.12, abs=0.04)
    assert (timeline.stats.gaps == 0) is is_still

from __future__ import annotations

import math
import statistics
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from capture.errors import ConfigError
from capture.gate import (
    LOOKBACK_S,
    GateEvent,
    GateEventKind,
    GateState,
    SoundGate,
    Verdict,
    find_messages,
)
from capture.gate.loudness import OPEN_MARGIN_DB
from capture.specs.voice import GateSpec
from capture.speech import SpeechDetector
from tests.scenes import RATE_HZ, Place, Samples, Scene, build, needs_espeak

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# ------------------------------------------------------- a small world in which speech is known

LOW_HZ = 4800
SPEC = GateSpec()
ANY = GateSpec(is_any_sound=True)


class Oracle:
    """Speech is what is above zero in the mean; asks for windows and lookahead as Silero does."""

    rate_hz = LOW_HZ
    window_frames = 154
    lookahead_frames = 5

    def __init__(self) -> None:
        self.pushed_frames = 0
        self._held: Samples
        self.reset()

    def push(self, samples: Samples) -> list[float]:
        self.pushed_frames += len(samples)
        self._held = np.concatenate((self._held, samples[:, 0]))
        count = max(0, len(self._held) - self.lookahead_frames) // self.window_frames
        whole, self._held = np.split(self._held, [count * self.window_frames])
        windows = whole.reshape(count, self.window_frames)
        loud = np.abs(windows).mean(axis=1)
        return [
            0.9 if mean > 0.4 * level and level > 0 else 0.1
            for mean, level in zip(windows.mean(axis=1), loud, strict=True)
        ]

    def reset(self) -> None:
        self._held = np.zeros(0, np.float32)


def sound(*parts: tuple[str, float] | tuple[str, float, float]) -> Samples:
    """``("voice", 2.0)``, ``("ping", 0.3)`` or ``("rest", 1.0)`` in a row, perhaps with a dBFS."""
    pieces = []
    for kind, length_s, *level in parts:
        frames = round(length_s * LOW_HZ)
        wave = {
            "rest": np.zeros(frames),
            "voice": np.where(np.arange(frames) % 4 < 3, 1.0, -0.2),
            "ping": np.where(np.arange(frames) % 2 == 0, 1.0, -1.0),
        }[kind]
        pieces.append(wave * 10 ** ((level[0] if level else -20.0) / 20))
    return np.concatenate(pieces)[:, None].astype(np.float32)


def run(samples: Samples, spec: GateSpec = SPEC, blocks: Iterable[int] = (480,)) -> list[GateEvent]:
    """All events; the block lengths are repeated."""
    gate = SoundGate(spec, LOW_HZ, Oracle())
    events: list[GateEvent] = []
    lengths = list(blocks)
    at = number = 0
    while at < len(samples):
        length = lengths[number % len(lengths)]
        events += gate.push(samples[at : at + length])
        at, number = at + length, number + 1
    return events + gate.finish()


def kept_s(events: Sequence[GateEvent]) -> list[tuple[float, float]]:
    """Start and end of what is kept, without its padding, in seconds."""
    return [
        (round((e.sound_start_frame or 0) / LOW_HZ, 2), round((e.sound_end_frame or 0) / LOW_HZ, 2))
        for e in events
        if e.verdict is Verdict.KEPT
    ]


def test_a_message_is_found_with_its_padding() -> None:
    events = run(sound(("rest", 2), ("voice", 3), ("rest", 3)))
    assert [event.kind for event in events] == [GateEventKind.OPENED, GateEventKind.CLOSED]
    closed = events[1]
    assert (closed.start_frame, closed.end_frame) == (1.9 * LOW_HZ, 5.1 * LOW_HZ)
    assert (closed.sound_start_frame, closed.sound_end_frame) == (2 * LOW_HZ, 5 * LOW_HZ)
    assert closed.peak_dbfs == pytest.approx(-20, abs=0.01)
    assert closed.rms_dbfs == pytest.approx(-21.2, abs=0.1)


@pytest.mark.parametrize(("pause_s", "count"), [(1.0, 1), (1.45, 1), (1.6, 2), (4.0, 2)])
def test_a_pause_up_to_the_hold_is_inside(pause_s: float, count: int) -> None:
    events = run(sound(("rest", 1.5), ("voice", 2), ("rest", pause_s), ("voice", 2), ("rest", 2)))
    assert len(kept_s(events)) == count


@pytest.mark.parametrize("pad_s", [0.0, 0.1, 0.7])
def test_messages_do_not_overlap_whatever_the_padding(pad_s: float) -> None:
    spec = GateSpec(hold_s=0.5, pad_s=pad_s)
    events = run(sound(("rest", 2), ("voice", 2), ("rest", 0.8), ("voice", 2), ("rest", 1)), spec)
    first, second = (event for event in events if event.verdict is Verdict.KEPT)
    assert first.end_frame is not None
    assert first.end_frame <= second.start_frame <= 4.8 * LOW_HZ


@pytest.mark.parametrize("length_s", [0.2, 0.6, 1.0])
def test_a_ping_between_messages_neither_counts_nor_glues(length_s: float) -> None:
    before = ("rest", 2), ("voice", 2), ("rest", 0.8)
    after = ("rest", 2.0 - 0.8), ("voice", 2), ("rest", 2)
    assert kept_s(run(sound(*before, ("ping", length_s), *after))) == [
        (2.0, 4.0),
        (pytest.approx(6 + length_s), pytest.approx(8 + length_s)),
    ]


def test_a_ping_does_not_keep_a_message_open() -> None:
    pings = [("rest", 0.7), ("ping", 0.3)] * 5
    assert kept_s(run(sound(("rest", 2), ("voice", 2), *pings, ("rest", 2)))) == [(2.0, 4.0)]


def test_a_ping_in_a_pause_stays_in_the_message() -> None:
    parts = ("voice", 2), ("rest", 0.5), ("ping", 0.2), ("rest", 0.5), ("voice", 2)
    assert kept_s(run(sound(("rest", 2), *parts, ("rest", 2)))) == [(2.0, 7.2)]


def test_a_ping_before_a_message_is_cut_off_and_the_start_moved() -> None:
    events = run(sound(("rest", 2), ("ping", 0.3), ("rest", 0.7), ("voice", 5), ("rest", 2)))
    assert [event.kind.value for event in events] == ["opened", "moved", "closed"]
    assert kept_s(events) == [(3.0, 8.0)]
    assert events[1].start_frame == events[2].start_frame == pytest.approx(2.9 * LOW_HZ)


def test_a_breath_at_either_end_belongs_to_it() -> None:
    parts = ("ping", 0.2), ("rest", 0.3), ("voice", 2), ("rest", 0.35), ("ping", 0.1)
    assert kept_s(run(sound(("rest", 2), *parts, ("rest", 2)))) == [(2.0, 4.95)]


def test_music_after_a_message_is_left_out_and_does_not_reach_the_next() -> None:
    parts = ("voice", 2), ("rest", 1), ("ping", 5), ("rest", 1), ("voice", 2)
    assert kept_s(run(sound(("rest", 2), *parts, ("rest", 2)))) == [(2.0, 4.0), (11.0, 13.0)]


def test_in_continuous_sound_the_judge_has_the_edges() -> None:
    parts = ("ping", 5), ("voice", 4), ("ping", 3), ("voice", 4), ("ping", 5)
    events = run(sound(("rest", 2), *parts, ("rest", 2)))
    kept = [event for event in events if event.verdict is Verdict.KEPT]
    for event, true_s in zip(kept, (7, 14), strict=True):
        assert event.start_frame / LOW_HZ == pytest.approx(true_s - 0.4, abs=0.04)
        assert event.end_frame is not None
        assert event.end_frame / LOW_HZ == pytest.approx(true_s + 4.5, abs=0.04)


@pytest.mark.parametrize("lead_s", [0.1, 1.0])
def test_sound_from_the_first_frame_on_is_known_as_continuous_sooner(lead_s: float) -> None:
    parts = ("ping", lead_s), ("voice", 4), ("ping", 3), ("voice", 4), ("ping", 3)
    assert len(kept_s(run(sound(*parts)))) == 2


def test_a_sound_inside_a_message_may_last_some_seconds() -> None:
    parts = ("voice", 3), ("ping", 4), ("voice", 3)
    assert kept_s(run(sound(("rest", 2), *parts, ("rest", 2)))) == [(2.0, 12.0)]


def test_a_long_message_is_cut_and_nothing_is_lost_between() -> None:
    events = run(sound(("rest", 2), ("voice", 10.2), ("rest", 2)), GateSpec(max_length_s=3))
    kept = [event for event in events if event.verdict is Verdict.KEPT]
    assert [event.part for event in kept] == [1, 2, 3, 4]
    assert [event.start_frame for event in kept[1:]] == [event.end_frame for event in kept[:-1]]
    assert all(event.end_frame == event.start_frame + 3 * LOW_HZ for event in kept[:-1])
    assert kept[-1].end_frame == 12.3 * LOW_HZ


def test_the_rest_of_a_long_message_may_be_short() -> None:
    spec = GateSpec(max_length_s=3, min_length_s=1)
    events = run(sound(("rest", 2), ("voice", 3.3), ("rest", 2)), spec)
    assert [event.verdict for event in events if event.verdict] == [Verdict.KEPT] * 2


@pytest.mark.parametrize(("length_s", "verdict"), [(0.45, "too-short"), (0.55, "kept")])
def test_short_ones_are_dropped(length_s: float, verdict: str) -> None:
    events = run(sound(("rest", 2), ("voice", length_s), ("rest", 3)))
    assert [event.verdict for event in events if event.verdict] == [verdict]


def test_any_sound_asks_no_judge() -> None:
    samples = sound(("rest", 2), ("ping", 1), ("rest", 1), ("ping", 8), ("rest", 2), ("voice", 1))
    gate = SoundGate(ANY, LOW_HZ)
    assert kept_s(gate.push(samples) + gate.finish()) == [(2.0, 12.0), (14.0, 15.0)]


def test_a_first_attack_of_one_tick_is_in_the_message() -> None:
    parts = ("voice", 0.01), ("rest", 0.1), ("voice", 3)
    assert kept_s(run(sound(("rest", 2), *parts, ("rest", 2)))) == [(2.0, 5.11)]


def test_a_soft_beginning_and_end_are_in_the_message() -> None:
    parts = ("voice", 0.2, -70.0), ("voice", 2), ("voice", 0.3, -70.0)
    assert kept_s(run(sound(("rest", 2), *parts, ("rest", 2)))) == [(2.0, 4.5)]


def test_sound_at_both_ends_of_the_stream() -> None:
    events = run(sound(("voice", 0.8), ("rest", 3), ("voice", 2.003)))
    assert kept_s(events) == [(0.0, 0.8), (3.8, 5.8)]
    assert events[-1].end_frame == round(5.803 * LOW_HZ)


def test_nothing_is_nothing() -> None:
    assert SoundGate(ANY, LOW_HZ).finish() == []
    assert run(sound(("rest", 0.004))) == []
    assert run(sound(("rest", 20))) == []


def test_the_judge_sleeps_while_nothing_sounds() -> None:
    judge = Oracle()
    gate = SoundGate(SPEC, LOW_HZ, judge)
    gate.push(sound(("rest", 20)))
    assert judge.pushed_frames == 0
    gate.push(sound(("voice", 1), ("rest", 20)))
    assert judge.pushed_frames < 6 * LOW_HZ


def test_the_state_while_a_message_comes() -> None:
    gate = SoundGate(SPEC, LOW_HZ, Oracle())
    parts = [("rest", 2), ("voice", 0.5), ("voice", 1.5), ("rest", 1), ("rest", 1)]
    events: list[GateEvent] = []
    states = []
    for part in parts:
        events += gate.push(sound(part))
        states.append(gate.state.value)
        assert (len(events) > 0) == (len(states) > 1), "opened at once"
    assert states == ["listening", "hearing", "hearing", "holding", "listening"]
    assert events[0].start_frame == 1.9 * LOW_HZ


def test_the_floor_is_learnt_and_followed() -> None:
    gate = SoundGate(SPEC, LOW_HZ, Oracle())
    gate.push(sound(("ping", 1.0, -65.0)))
    assert gate.threshold_dbfs == pytest.approx(-65 + OPEN_MARGIN_DB, abs=0.1)
    gate.push(sound(("ping", 2.0, -57.0)))
    assert -64 < gate.threshold_dbfs - OPEN_MARGIN_DB < -60
    gate.push(sound(("ping", 3.0, -57.0)))
    assert gate.threshold_dbfs == pytest.approx(-57 + OPEN_MARGIN_DB, abs=0.1)
    gate.push(sound(("rest", 0.1)))
    assert gate.threshold_dbfs == -60


def test_speech_from_the_first_second_on_does_not_become_the_floor() -> None:
    gate = SoundGate(SPEC, LOW_HZ, Oracle())
    gate.push(sound(("voice", 1.2)))
    assert gate.threshold_dbfs == -42
    assert gate.state is GateState.HEARING


def test_an_own_threshold_is_taken() -> None:
    samples = sound(("rest", 2), ("voice", 2, -35.0), ("rest", 2), ("voice", 2), ("rest", 2))
    assert len(kept_s(run(samples, GateSpec(threshold_dbfs=-30)))) == 1
    gate = SoundGate(GateSpec(threshold_dbfs=-30), LOW_HZ, Oracle())
    assert gate.threshold_dbfs == pytest.approx(-30)


def test_a_long_message_takes_no_memory() -> None:
    gate = SoundGate(SPEC, LOW_HZ, Oracle())
    events = gate.push(sound(("rest", 2)))
    minute = sound(("voice", 59), ("rest", 1))
    for _ in range(10):
        events += gate.push(minute)
    assert [event.start_frame for event in events] == [1.9 * LOW_HZ]
    parts = (gate, gate._voices, gate._loudness, gate._reporter)
    values = [value for part in parts for value in vars(part).values()]
    sizes = [len(value) for value in values if hasattr(value, "__len__")]
    assert max(sizes) <= LOW_HZ // 10


@pytest.mark.parametrize(
    "options",
    [
        {"hold_s": -1.0},
        {"pad_s": math.nan},
        {"max_length_s": 0.0},
        {"max_length_s": 2.0, "min_length_s": 3.0},
        {"threshold_dbfs": 3.0},
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SoundGate(GateSpec(**options), LOW_HZ, Oracle())


def test_a_judge_is_needed_and_has_to_fit() -> None:
    with pytest.raises(ConfigError, match="has no speech detector"):
        SoundGate(SPEC, LOW_HZ)
    with pytest.raises(ConfigError, match="4800 Hz"):
        SoundGate(SPEC, 48_000, Oracle())


def test_files_give_what_is_kept() -> None:
    samples = sound(("rest", 1.5), ("voice", 2), ("rest", 3), ("ping", 1), ("rest", 3))
    found = find_messages(np.array_split(samples, 7), SPEC, LOW_HZ, Oracle())
    assert kept_s(found) == [(1.5, 3.5)]


PART = st.tuples(
    st.sampled_from(["rest", "rest", "voice", "voice", "ping"]),
    st.sampled_from([0.01, 0.1, 0.3, 0.7, 1.2, 1.6, 3.5, 7.0]),
    st.sampled_from([-20.0, -20.0, -35.0, -50.0, -70.0]),
)
SPECS = st.builds(
    GateSpec,
    hold_s=st.sampled_from([0.2, 1.5, 4.0]),
    pad_s=st.sampled_from([0.0, 0.1, 1.0]),
    max_length_s=st.sampled_from([1.0, 3.0, 3600.0]),
    is_any_sound=st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(
    parts=st.lists(PART, min_size=1, max_size=12),
    spec=SPECS,
    blocks=st.lists(st.integers(1, 20_000), min_size=1, max_size=6),
)
def test_events_do_not_depend_on_blocks_and_are_in_order(
    parts: list[tuple[str, float, float]], spec: GateSpec, blocks: list[int]
) -> None:
    samples = sound(*parts)
    gate = SoundGate(spec, LOW_HZ, Oracle())
    events: list[GateEvent] = []
    for at in [*range(0, len(samples), 480), None]:
        new = gate.finish() if at is None else gate.push(samples[at : at + 480])
        for event in new:
            is_opened = event.kind is GateEventKind.OPENED and event.part == 1
            if is_opened and at is not None:
                assert event.start_frame >= at - LOOKBACK_S * LOW_HZ
            if event.kind is GateEventKind.MOVED:
                assert event.start_frame >= events[-1].start_frame
            if event.verdict is not None:
                assert event.end_frame is not None
            events.append(event)
    assert run(samples, spec, blocks) == events

    last = 0
    for opened, closed in _pairs(events):
        assert last <= opened.start_frame <= closed.start_frame
        assert closed.end_frame is not None
        assert closed.sound_start_frame is not None
        assert closed.sound_end_frame is not None
        assert closed.start_frame <= closed.sound_start_frame <= closed.sound_end_frame
        assert closed.sound_end_frame <= closed.end_frame <= len(samples)
        if closed.verdict is Verdict.KEPT:
            assert closed.end_frame - closed.start_frame <= spec.max_length_s * LOW_HZ
        last = closed.end_frame


def _pairs(events: list[GateEvent]) -> list[tuple[GateEvent, GateEvent]]:
    opened = [event for event in events if event.kind is GateEventKind.OPENED]
    closed = [event for event in events if event.kind is GateEventKind.CLOSED]
    kinds = [event.kind.value for event in events if event.kind is not GateEventKind.MOVED]
    assert kinds == ["opened", "closed"] * len(opened)
    return list(zip(opened, closed, strict=True))


# --------------------------------------------------------------------- real speech, real detector


@cache
def _detector() -> SpeechDetector:
    return SpeechDetector()


class Score:
    """What was found of a scene's messages, in frames of its truth."""

    def __init__(self, scene: Scene, spec: GateSpec = SPEC) -> None:
        blocks = (scene.samples[at : at + 1920] for at in range(0, len(scene.samples), 1920))
        self.kept = find_messages(blocks, spec, RATE_HZ, _detector())
        found = [[kept for kept in self.kept if _meets(kept, true)] for true in scene.truth]
        self.missed = [true.name for true, some in zip(scene.truth, found, strict=True) if not some]
        self.extra = [kept for kept in self.kept if not any(_meets(kept, t) for t in scene.truth)]
        self.merged = sum(
            max(0, sum(_meets(kept, true) for true in scene.truth) - 1) for kept in self.kept
        )
        self.start_ms = [
            ((some[0].sound_start_frame or 0) - true.start_frame) / 48
            for true, some in zip(scene.truth, found, strict=True)
            if some
        ]
        self.end_ms = [
            ((some[-1].sound_end_frame or 0) - true.end_frame) / 48
            for true, some in zip(scene.truth, found, strict=True)
            if some
        ]
        self.padding_frames = [
            (true.start_frame - some[0].start_frame, (some[-1].end_frame or 0) - true.end_frame)
            for true, some in zip(scene.truth, found, strict=True)
            if some
        ]

    @property
    def within_60_ms(self) -> int:
        return sum(
            abs(start) <= 60 and abs(end) <= 60
            for start, end in zip(self.start_ms, self.end_ms, strict=True)
        )

    @property
    def most_cut_ms(self) -> float:
        """How far an edge lies inside speech, without padding, at worst."""
        return max(*self.start_ms, *(-end for end in self.end_ms))

    def check_found(self, count: int = 20) -> None:
        assert (self.missed, self.extra, self.merged) == ([], [], 0)
        assert len(self.kept) == count


def _meets(kept: GateEvent, true: Place) -> bool:
    assert kept.end_frame is not None
    return kept.start_frame < true.end_frame and kept.end_frame > true.start_frame


@needs_espeak
def test_twenty_messages_are_twenty() -> None:
    score = Score(build())
    score.check_found()
    assert score.within_60_ms >= 19
    assert score.most_cut_ms <= 40


@needs_espeak
def test_notifications_and_music_in_between_are_no_messages() -> None:
    score = Score(build(chimes=True, music=True))
    assert (score.missed, score.merged) == ([], 0)
    assert len(score.extra) <= 1
    assert score.within_60_ms >= 19
    assert score.most_cut_ms <= 40


@needs_espeak
def test_a_notification_in_every_gap() -> None:
    score = Score(build(chimes=True))
    score.check_found()
    assert score.within_60_ms >= 19
    assert score.most_cut_ms <= 40


@needs_espeak
@pytest.mark.parametrize(
    ("bed", "below_db", "lead_s"), [("music", 12, 3.5), ("pink", 20, 1.0), ("pink", 5, 0.3)]
)
def test_each_message_over_continuous_sound_is_one(
    bed: Any, below_db: float, lead_s: float
) -> None:
    score = Score(build(level_dbfs=-20, lead_s=lead_s, bed=bed, bed_dbfs=-20 - below_db))
    # Music has moments of voice. One in a gap, little longer than the hold, joins two messages:
    # where the gaps lie over the music depends on how fast this espeak-ng speaks.
    assert (score.missed, score.extra) == ([], [])
    assert score.merged <= (bed == "music")
    assert all(start >= 0 and end >= 0 for start, end in score.padding_frames)
    assert statistics.median(start for start, _ in score.padding_frames) < 0.5 * RATE_HZ
    assert statistics.median(end for _, end in score.padding_frames) < 0.8 * RATE_HZ


@needs_espeak
def test_over_the_noise_of_a_microphone() -> None:
    score = Score(build(bed="white", bed_dbfs=-55))
    score.check_found()
    assert score.within_60_ms >= 19
    # Within the padding, where the end of a soft message lies below the noise.
    assert score.most_cut_ms <= 100
    assert sorted(-end for end in score.end_ms)[-2] <= 40


@needs_espeak
def test_any_sound_keeps_notifications_too() -> None:
    scene = build(count=6, chimes=True)
    score = Score(scene, GateSpec(is_any_sound=True, hold_s=0.4, min_length_s=0.1))
    assert score.missed == []
    assert len(score.extra) == len(scene.others)

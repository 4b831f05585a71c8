"""Several sources on one axis: equal lengths, exact pauses, silence where one is silent."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from capture.clock import SessionClock
from capture.live.mixer import Mixer, SourceSetting, plan_tracks
from capture.model.signal import AudioBlock
from capture.specs.recording import TrackMode

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 48_000
BLOCK = 960
S = 1_000_000_000


def play(
    mixer: Mixer,
    seconds: float,
    values: list[float | None],
    *,
    start_s: float = 0.0,
    end_frame: int | None = None,
) -> list[NDArray[np.float32]]:
    """Push steady blocks of constant values, 20 ms each, advancing after each; gives the tracks."""
    parts: list[list[NDArray[np.float32]]] = []
    for number in range(round(start_s * 50), round((start_s + seconds) * 50)):
        at_ns = number * S // 50
        for source, value in enumerate(values):
            if value is not None:
                channels = mixer._sources[source].setting.channels
                samples = np.full((BLOCK, channels), value, np.float32)
                mixer.push(source, AudioBlock(samples, at_ns, number * BLOCK))
        given = mixer.advance(at_ns + S // 25, end_frame)
        if given:
            parts.append(given)
    return [np.concatenate(track) for track in zip(*parts, strict=True)]


def two(clock: SessionClock, mode: TrackMode = TrackMode.BOTH) -> Mixer:
    return Mixer([SourceSetting("system", 2), SourceSetting("mic", 1)], mode, clock, RATE)


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (TrackMode.MIXED, ["mix"]),
        (TrackMode.SEPARATE, ["system", "mic"]),
        (TrackMode.BOTH, ["mix", "system", "mic"]),
    ],
)
def test_two_sources_become_the_tracks_asked_for(mode: TrackMode, names: list[str]) -> None:
    sources = [SourceSetting("system", 2), SourceSetting("mic", 1)]
    assert [track.name for track in plan_tracks(sources, mode)] == names


@pytest.mark.parametrize("mode", list(TrackMode))
def test_one_source_is_one_track(mode: TrackMode) -> None:
    assert [track.name for track in plan_tracks([SourceSetting("system", 2)], mode)] == ["system"]


def test_the_mix_is_the_sum_and_comes_first() -> None:
    mix, system, mic = play(two(SessionClock(0)), 3, [0.25, 0.125])
    assert len(mix) == len(system) == len(mic)
    assert mic.shape[1] == 1
    assert np.all(mix == 0.375)
    assert np.all(system == 0.25)


def test_a_mix_that_is_too_loud_is_clipped_not_wrapped() -> None:
    mix, *_ = play(two(SessionClock(0)), 2, [0.9, 0.9])
    assert mix.max() == 1.0


def test_gain_is_applied() -> None:
    mixer = Mixer([SourceSetting("mic", 1, 0.5)], TrackMode.BOTH, SessionClock(0), RATE)
    (mic,) = play(mixer, 2, [0.5])
    assert np.all(mic == 0.25)


def test_a_source_that_never_speaks_does_not_hold_the_others_back() -> None:
    mixer = two(SessionClock(0))
    mix, system, mic = play(mixer, 5, [0.25, None])
    assert len(mix) / RATE > 4.3
    assert np.all(system == 0.25)
    assert not mic.any()
    assert np.all(mix == 0.25)


def test_a_recording_ends_at_the_sample_asked_for() -> None:
    mixer = two(SessionClock(0))
    mix, *_ = play(mixer, 3, [0.25, None], end_frame=100_001)
    assert len(mix) == mixer.recorded_frames == 100_001
    assert mixer.is_at(100_001)


def test_a_pause_is_cut_to_the_sample_with_short_fades() -> None:
    clock = SessionClock(0)
    mixer = two(clock)
    clock.pause(S)
    clock.resume(2 * S)
    mix, *_ = play(mixer, 4, [0.25, 0.0], end_frame=3 * RATE)
    assert len(mix) == 2 * RATE
    fade = RATE // 200
    touched = np.flatnonzero(mix[:, 0] != 0.25)
    assert touched[0] >= RATE - fade
    assert touched[-1] < RATE + fade
    assert abs(mix[RATE - 1, 0]) < 0.01
    assert abs(mix[RATE, 0]) < 0.01


def test_an_open_pause_gives_nothing() -> None:
    clock = SessionClock(0)
    clock.pause(S)
    mix, *_ = play(two(clock), 4, [0.25, 0.25])
    assert len(mix) == RATE


def test_streams_of_one_application_are_added_up_and_may_end() -> None:
    mixer = Mixer([SourceSetting("app", 2)], TrackMode.BOTH, SessionClock(0), RATE)
    parts = []
    for number in range(250):
        for stream, (first, last) in {7: (0, 250), 9: (100, 150)}.items():
            if first <= number < last:
                samples = np.full((BLOCK, 2), 0.25, np.float32)
                position = (number - first) * BLOCK
                mixer.push(0, AudioBlock(samples, number * S // 50, position, stream))
        if number == 150:
            mixer.end_stream(0, 9)
        parts += mixer.advance((number + 2) * S // 50)
    sound = np.concatenate(parts)[:, 0]
    assert np.all(sound[: 2 * RATE] == 0.25)
    both = np.flatnonzero(sound == 0.5)
    assert len(both) == pytest.approx(RATE, abs=2)
    assert both[0] == pytest.approx(2 * RATE, abs=2)
    assert np.all(sound[-RATE:] == 0.25)


@pytest.mark.parametrize("ticks", [1, 5])
def test_a_process_that_slept_does_not_take_late_sound_for_missing(ticks: int) -> None:
    # SIGSTOP for 3 s: the clock jumps, the sound comes in a burst up to half a second later.
    mixer = Mixer([SourceSetting("system", 2)], TrackMode.BOTH, SessionClock(0), RATE)
    parts = []
    for number in range(400):
        samples = np.full((BLOCK, 2), 0.25, np.float32)
        now_ns = number * S // 50 + S // 25
        if number == 100:
            for tick in range(ticks):
                parts += mixer.advance((250 + 5 * tick) * S // 50)
        if 100 <= number < 250 + 5 * (ticks - 1):
            now_ns = (250 + 5 * (ticks - 1)) * S // 50
        mixer.push(0, AudioBlock(samples, number * S // 50, number * BLOCK))
        parts += mixer.advance(now_ns)
    assert np.all(np.concatenate(parts) == 0.25)
    assert mixer.report(0).inserted_frames == 0


def test_levels_are_those_since_the_last_look() -> None:
    mixer = two(SessionClock(0))
    play(mixer, 1, [0.5, 0.0])
    assert mixer.levels()["system"].peak_dbfs == pytest.approx(-6.02, abs=0.01)
    play(mixer, 1, [0.25, 0.0], start_s=1)
    assert mixer.levels()["system"].peak_dbfs == pytest.approx(-12.04, abs=0.01)


def test_reports_are_asked_for_by_many_while_streams_come_and_go() -> None:
    clock = SessionClock(0)
    mixer = two(clock)
    is_over = threading.Event()
    wrong: list[BaseException | str] = []

    def ask() -> None:
        gaps = 0
        try:
            while not is_over.is_set():
                found = mixer.report(0).gaps
                if found < gaps:
                    wrong.append(f"{gaps} gaps, then {found}: a stream that ended was left out")
                gaps = found
                mixer.track_reports("flac")
                mixer.levels()
        except BaseException as error:  # noqa: BLE001 - the test's own thread says it
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        samples = np.zeros((BLOCK, 2), np.float32)
        for number in range(300):
            at_ns = number * S // 50
            # Each stream has a hole of a block, ends, and is followed by another one.
            for position, later in ((0, 0), (2 * BLOCK, 2)):
                block = AudioBlock(samples, at_ns + later * S // 50, position, stream=number)
                mixer.push(0, block)
            mixer.end_stream(0, number)
            mixer.advance(at_ns + S // 25)
    finally:
        sys.setswitchinterval(before_s)
        is_over.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[:3]
    assert mixer.report(0).gaps > 0


def test_streams_that_are_over_cost_nothing_and_stay_in_the_report() -> None:
    mixer = Mixer([SourceSetting("app", 2)], TrackMode.BOTH, SessionClock(0), RATE)
    samples = np.zeros((BLOCK, 2), np.float32)
    all_of_them = []
    for number in range(100):
        at_ns = number * S // 5
        for position, later in ((0, 0), (2 * BLOCK, 2)):  # with a hole of a block
            mixer.push(0, AudioBlock(samples, at_ns + later * S // 50, position, number))
        all_of_them.append(mixer._sources[0].past_and_present[1][-1])
        mixer.end_stream(0, number)
        mixer.advance(at_ns + S // 5)
    assert len(mixer._sources[0].past_and_present[1]) <= 5
    stats, report = [each.stats for each in all_of_them], mixer.report(0)
    assert len(set(map(id, all_of_them))) == 100
    assert report.gaps == sum(each.gaps for each in stats) >= 100
    assert report.inserted_frames == sum(each.inserted_frames for each in stats)

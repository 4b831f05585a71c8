"""Media time: what pauses do to it."""

from __future__ import annotations

from hypothesis import given, strategies as st

from capture.clock import SessionClock

S = 1_000_000_000


def test_without_pauses_media_time_is_time_since_the_start() -> None:
    clock = SessionClock(5 * S)
    assert clock.media_ns(7 * S) == 2 * S
    assert clock.recorded_ns(4 * S) == 0
    assert clock.moment_of(3 * S) == 8 * S


def test_a_pause_is_cut_out() -> None:
    clock = SessionClock(0)
    clock.pause(2 * S)
    clock.resume(5 * S)
    assert clock.media_ns(2 * S - 1) == 2 * S - 1
    assert clock.media_ns(2 * S) is None
    assert clock.media_ns(5 * S - 1) is None
    assert clock.media_ns(5 * S) == 2 * S
    assert clock.recorded_ns(4 * S) == 2 * S
    assert clock.recorded_ns(6 * S) == 3 * S
    assert clock.moment_of(3 * S) == 6 * S
    assert clock.pauses_s == ((2.0, 3.0),)


def test_an_open_pause_hides_the_end() -> None:
    clock = SessionClock(0)
    clock.pause(2 * S)
    assert clock.pauses[-1][1] is None
    assert clock.media_ns(100 * S) is None
    assert clock.recorded_ns(100 * S) == 2 * S
    assert clock.moment_of(2 * S) == 2 * S
    assert clock.moment_of(3 * S) is None
    assert clock.pauses_s == ()


def test_pause_and_resume_twice_do_nothing_the_second_time() -> None:
    clock = SessionClock(0)
    clock.resume(S)
    clock.pause(2 * S)
    clock.pause(3 * S)
    clock.resume(4 * S)
    clock.resume(9 * S)
    assert clock.pauses == ((2 * S, 4 * S),)


@given(st.lists(st.integers(1, 10**10), min_size=2, max_size=12), st.integers(0, 10**11))
def test_moment_of_is_the_inverse_of_media_time(steps: list[int], media_ns: int) -> None:
    clock = SessionClock(1234)
    at_ns = 1234
    for number, step in enumerate(steps[: len(steps) // 2 * 2]):
        at_ns += step
        (clock.resume if number % 2 else clock.pause)(at_ns)
    moment_ns = clock.moment_of(media_ns)
    assert moment_ns is not None
    assert clock.recorded_ns(moment_ns) == media_ns

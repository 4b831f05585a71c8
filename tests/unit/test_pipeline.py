"""Boxes and stages: what happens when they are full, closed, or fail."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from capture.pipeline import Mailbox, MailboxClosedError, Pipeline, StopFlag, WhenFull
from capture.recording.session import Session
from capture.specs.recording import RecordingSpec

if TYPE_CHECKING:
    from pathlib import Path


def test_items_come_out_in_the_order_they_went_in() -> None:
    box: Mailbox[int] = Mailbox(10)
    for number in range(5):
        box.put(number)
    assert [box.get() for _ in range(5)] == [0, 1, 2, 3, 4]


def test_a_full_box_drops_the_new_item_and_counts_it() -> None:
    box: Mailbox[int] = Mailbox(2, when_full=WhenFull.DROP_NEW)
    assert [box.put(number) for number in range(4)] == [True, True, False, False]
    assert box.get_all() == [0, 1]


def test_a_full_box_drops_the_oldest_items_until_the_new_one_fits() -> None:
    box: Mailbox[bytes] = Mailbox(10, when_full=WhenFull.DROP_OLDEST, weigh=len)
    assert box.put(b"1234")
    assert box.put(b"56789")
    assert not box.put(b"abcdefgh")
    assert box.get_all() == [b"abcdefgh"]


def test_an_item_heavier_than_the_box_fits_when_the_box_is_empty() -> None:
    box: Mailbox[bytes] = Mailbox(3, weigh=len)
    box.put(b"too heavy")
    assert box._weight == 9
    assert box.get() == b"too heavy"
    assert box._weight == 0


def test_a_forced_item_goes_in_beyond_the_capacity() -> None:
    box: Mailbox[int] = Mailbox(1)
    box.put(1)
    box.put(2, force=True)
    assert box.get_all() == [1, 2]


def test_a_blocked_put_goes_on_when_there_is_room() -> None:
    box: Mailbox[int] = Mailbox(1)
    box.put(1)
    taken = threading.Thread(target=lambda: box.put(2))
    taken.start()
    assert box.get(timeout_s=5) == 1
    assert box.get(timeout_s=5) == 2
    taken.join(5)
    assert not taken.is_alive()


def test_a_blocked_put_ends_when_the_box_is_closed() -> None:
    box: Mailbox[int] = Mailbox(1)
    box.put(1)
    seen: list[type[BaseException]] = []

    def put() -> None:
        try:
            box.put(2)
        except MailboxClosedError as error:
            seen.append(type(error))

    thread = threading.Thread(target=put)
    thread.start()
    box.close()
    thread.join(5)
    assert seen == [MailboxClosedError]


def test_a_closed_box_gives_what_is_inside_and_then_ends() -> None:
    box: Mailbox[int] = Mailbox(4)
    box.put(1)
    box.close()
    assert box.get() == 1
    with pytest.raises(MailboxClosedError):
        box.get()
    with pytest.raises(MailboxClosedError):
        box.put(2)


def test_a_discarded_box_gives_nothing() -> None:
    box: Mailbox[int] = Mailbox(4)
    box.put(1)
    box.close(discard=True)
    with pytest.raises(MailboxClosedError):
        box.get_all()


def test_waiting_for_an_empty_box_times_out() -> None:
    box: Mailbox[int] = Mailbox(4)
    with pytest.raises(TimeoutError):
        box.get(timeout_s=0)
    with pytest.raises(TimeoutError):
        box.get_all(timeout_s=0)


def test_stages_pass_items_on_and_end_with_their_boxes() -> None:
    numbers: Mailbox[int] = Mailbox(1)
    squares: Mailbox[int] = Mailbox(1)
    seen: list[int] = []

    def produce() -> None:
        for number in range(50):
            numbers.put(number)

    def square() -> None:
        while True:
            squares.put(numbers.get() ** 2)

    def collect() -> None:
        while True:
            seen.append(squares.get())

    pipeline = Pipeline()
    stages = [
        pipeline.add("produce", produce, numbers.close),
        pipeline.add("square", square, squares.close),
        pipeline.add("collect", collect),
    ]
    pipeline.start()
    assert all(stage.join(5) for stage in stages)
    assert seen == [number**2 for number in range(50)]
    assert pipeline.first_error is None


def test_the_first_error_is_kept_with_its_traceback_and_the_box_is_closed() -> None:
    box: Mailbox[int] = Mailbox(1)
    pipeline = Pipeline()

    def fail() -> None:
        raise ValueError("broken")

    def read() -> None:
        box.get()

    stages = [pipeline.add("fail", fail, box.close), pipeline.add("read", read)]
    pipeline.start()
    assert all(stage.join(5) for stage in stages)
    assert pipeline.failed.is_set()
    assert isinstance(pipeline.first_error, ValueError)
    assert pipeline.first_error.__traceback__ is not None


def test_threads_are_named() -> None:
    names: list[str] = []
    pipeline = Pipeline()
    stage = pipeline.add("mux", lambda: names.append(threading.current_thread().name))
    pipeline.start()
    assert stage.join(5)
    assert names == ["capture-mux"]


# --------------------------------------------------------------------------------- the stop flag


def test_a_flag_wakes_all_who_wait() -> None:
    flag = StopFlag()
    found: list[bool] = []
    threads = [threading.Thread(target=lambda: found.append(flag.wait(30))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert not flag.wait(0.01)
    assert not flag.is_set()
    flag.set()
    flag.set()
    for thread in threads:
        thread.join(30)
    assert found == [True] * 8
    assert flag.wait(0)


@pytest.mark.parametrize("kind", ["flag", "session"])
def test_a_signal_handler_sets_it_in_the_middle_of_a_wait(kind: str, tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("it has no timers that send signals")
    flags: list[StopFlag] = []
    sessions: list[Session] = []

    def on_alarm(_number: int, _frame: object) -> None:
        flags[-1].set() if kind == "flag" else sessions[-1].stop("signal")

    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        for number in range(200):
            flags.append(StopFlag())
            if kind == "session":
                sessions.append(Session(RecordingSpec(tmp_path / "a.flac", video=None)))
            wait = flags[-1].wait if kind == "flag" else sessions[-1].wait_for_stop
            signal.setitimer(signal.ITIMER_REAL, 1e-4 + number * 1e-6)
            while not wait(0):  # its lock is taken and given back all the time
                pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

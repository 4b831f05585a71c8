"""^C and its like: the first one, the second one, those that are ignored, and those in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from capture.cli.signals import StopSignals
from capture.errors import BackendUnavailableError, NothingRecordedError

if sys.platform == "win32":
    pytest.skip("signals as they are elsewhere", allow_module_level=True)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WITHIN_S = 20.0


class Work:
    """Something to end, whose methods take a lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reasons: list[str] = []
        self.aborted = 0

    def stop(self, reason: str) -> None:
        with self.lock:
            self.reasons.append(reason)

    def abort(self) -> None:
        with self.lock:
            self.aborted += 1


@pytest.fixture(autouse=True)
def _handlers_stay() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


def send(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)
        time.sleep(0.05)  # those that wait are one


def until(is_so: Callable[[], object]) -> bool:
    deadline = time.monotonic() + WITHIN_S
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(is_so())


@pytest.mark.parametrize(
    ("numbers", "reason", "aborted"),
    [
        ((signal.SIGINT,), "interrupt", False),
        ((signal.SIGTERM,), "terminate", False),
        ((signal.SIGHUP,), "terminate", False),
        ((signal.SIGHUP, signal.SIGHUP, signal.SIGHUP), "terminate", False),
        ((signal.SIGHUP, signal.SIGTERM), "terminate", False),
        ((signal.SIGINT, signal.SIGHUP), "interrupt", False),
        ((signal.SIGINT, signal.SIGINT), "interrupt", True),
        ((signal.SIGINT, signal.SIGTERM), "interrupt", True),
        ((signal.SIGHUP, signal.SIGTERM, signal.SIGTERM), "terminate", True),
    ],
)
def test_the_first_one_stops_and_a_second_deliberate_one_aborts(
    numbers: tuple[signal.Signals, ...], reason: str, *, aborted: bool
) -> None:
    work = Work()
    with StopSignals() as signals:
        signals.attach(work.stop, work.abort)
        assert not signals.has_come
        send(*numbers)
        assert until(lambda: work.reasons)
        assert until(lambda: work.aborted) if aborted else not work.aborted
    assert work.reasons == [reason]


def test_an_error_of_a_start_that_was_interrupted_is_no_error() -> None:
    lacking = BackendUnavailableError("its helper was interrupted too")
    with StopSignals() as signals:
        signals.is_starting = True
        assert not signals.explains(lacking)
        send(signal.SIGINT)
        assert signals.wait(WITHIN_S)
        assert signals.explains(lacking)
        signals.is_starting = False
        assert not signals.explains(lacking)
        assert signals.explains(NothingRecordedError("stopped at once"))


def test_the_main_thread_may_hold_the_lock_that_ending_needs() -> None:
    work = Work()
    with StopSignals() as signals:
        signals.attach(work.stop, work.abort)
        with work.lock:
            send(signal.SIGINT, signal.SIGINT)
            assert signals.wait(WITHIN_S)
            assert not work.reasons
        assert until(lambda: work.aborted)
    assert work.reasons == ["interrupt"]


def test_one_that_came_before_there_was_anything_ends_it_at_once() -> None:
    work = Work()
    with StopSignals() as signals:
        send(signal.SIGTERM)
        assert signals.wait(WITHIN_S)
        signals.attach(work.stop)
        assert work.reasons == ["terminate"]
        with pytest.raises(KeyboardInterrupt):
            signals.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_was_ignored_stays_ignored_also_by_what_is_started(number: signal.Signals) -> None:
    show = "import signal; print(signal.getsignal({}) is signal.SIG_IGN)"
    command = [sys.executable, "-c", show.format(int(number))]
    before = signal.signal(number, signal.SIG_IGN)
    try:
        for ends_children in (False, True):
            with StopSignals(ends_children=ends_children) as signals:
                send(number)
                assert not signals.has_come
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                is_ended_by_it = ends_children and number == signal.SIGTERM
                assert done.stdout.strip() == str(not is_ended_by_it)
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_the_second_one_raises_where_that_is_wanted() -> None:
    with StopSignals(raises_again=True):
        send(signal.SIGINT, signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_a_start_that_does_not_answer_is_left() -> None:
    code = (
        "import os, signal, time; from capture.cli import signals; signals.START_WITHIN_S = 0.2\n"
        "with signals.StopSignals() as stop:\n"
        "    stop.is_starting = True\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 130
    assert done.stderr == "interrupted\n"

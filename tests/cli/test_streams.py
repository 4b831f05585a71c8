"""stdout and stderr that fail or are not read: whoever writes goes on, and what can be read is."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from capture.cli import streams
from capture.cli.app import say
from capture.cli.streams import detached_output

if sys.platform == "win32":
    pytest.skip("pipes and terminals as they are elsewhere", allow_module_level=True)

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHIN_S = 20.0
LINE = "x" * 99 + "\n"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "GIVE_UP_S", 0.3)


@contextlib.contextmanager
def stderr_in_a_pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose other end is stderr; gives both ends."""
    reading, writing = os.pipe()
    with (
        os.fdopen(writing, "w", encoding="utf-8", closefd=False) as stream,
        contextlib.redirect_stderr(stream),
    ):
        yield reading, writing
    for end in (reading, writing):
        with contextlib.suppress(OSError):  # the test has closed it
            os.close(end)


def read_all(end: int) -> str:
    data = b""
    while select.select([end], [], [], 0)[0] and (more := os.read(end, 65536)):
        data += more
    return data.decode()


def say_many(count: int) -> None:
    for number in range(count):
        say(f"{number} {LINE[:-1]}")


def test_what_is_read_is_all_there_and_in_order() -> None:
    text = ""
    with stderr_in_a_pipe() as (reading, _), detached_output():
        say_many(2000)  # more than a pipe holds
        deadline = time.monotonic() + WITHIN_S
        while not text.endswith(f"1999 {LINE}") and time.monotonic() < deadline:
            text += read_all(reading)
            time.sleep(0.01)
    assert [int(line.split()[0]) for line in text.splitlines()] == list(range(2000))


@pytest.mark.parametrize("is_blocking", [True, False])
def test_a_reader_that_stops_reading_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, *, is_blocking: bool
) -> None:
    monkeypatch.setattr(streams, "CAPACITY_BYTES", 10_000)
    with stderr_in_a_pipe() as (reading, writing):
        os.set_blocking(writing, is_blocking)
        with detached_output():
            say_many(5000)
        text = read_all(reading)  # it reads again, too late for most
    numbers = [int(line.split()[0]) for line in text.splitlines()[:-1]]
    assert numbers
    assert numbers == sorted(numbers)


def test_a_reader_that_reads_again_gets_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CAPACITY_BYTES", 10_000)
    text = ""
    with stderr_in_a_pipe() as (reading, _), detached_output():
        say_many(5000)
        deadline = time.monotonic() + WITHIN_S
        while not text.endswith(f"4999 {LINE}") and time.monotonic() < deadline:
            text += read_all(reading)
            time.sleep(0.01)
    assert text.endswith(f"\n4999 {LINE}")
    assert all(len(line) < len(LINE) + 6 for line in text.splitlines()), "a line was torn"


def test_a_reader_that_is_gone_is_no_error() -> None:
    # What was written past it, at the end, stays in the buffer of the test's own stream.
    with contextlib.suppress(BrokenPipeError), stderr_in_a_pipe() as (reading, _):
        with detached_output():
            say("one")
            os.close(reading)
            say_many(100)
            sys.stderr.write("\r without an end of line")
            sys.stderr.flush()
        say("also afterwards")


def test_a_terminal_that_is_closed_is_no_error() -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as stream, contextlib.redirect_stderr(stream), detached_output():
        assert sys.stderr.isatty()
        os.close(ours)
        say_many(100)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")  # noqa: PTH110
def test_results_that_a_full_disk_does_not_take_are_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with (
        open("/dev/full", "w", encoding="utf-8") as stream,  # noqa: PTH123
        contextlib.redirect_stdout(stream),
        detached_output(),
    ):
        print("a path", flush=True)  # noqa: T201
    assert "could not be printed: No space left" in capsys.readouterr().err


def test_what_the_encoding_lacks_is_no_error() -> None:
    reading, writing = os.pipe()
    with (
        os.fdopen(writing, "w", encoding="ascii") as stream,
        contextlib.redirect_stdout(stream),
        detached_output(),
    ):
        print("é\udcff")  # noqa: T201
    assert read_all(reading) == "\\xe9\\udcff\n"
    os.close(reading)


def test_streams_that_are_no_files_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with detached_output():
        print("here")  # noqa: T201
        assert sys.stdout is before[0]
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "here\n"


def test_many_threads_write_whole_lines() -> None:
    with stderr_in_a_pipe() as (reading, _):
        with detached_output():
            threads = [threading.Thread(target=say_many, args=(50,)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        lines = read_all(reading).splitlines()
    assert sorted(lines) == sorted(
        f"{number} {LINE[:-1]}" for number in range(50) for _ in range(8)
    )


def test_an_interruption_while_it_is_being_detached_leaves_the_streams_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_writer: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(streams._Writer, "start", interrupted)
    with stderr_in_a_pipe() as (reading, _):
        with pytest.raises(KeyboardInterrupt), detached_output():
            pass
        say("interrupted")
        assert read_all(reading) == "interrupted\n"

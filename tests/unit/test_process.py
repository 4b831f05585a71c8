"""A process is known by its number and its beginning, on every system."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from capture.errors import MediaError
from capture.journal import Journal, find_orphans, is_recording, journal_path, require_ended
from capture.naming import clear_parts
from capture.process import ancestors, boot_id, is_alive, is_same_process, process_start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture(params=["linux", "win32", "darwin"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What this code takes the system for; psutil stays that of this one."""
    name: str = request.param
    if name == "linux" and sys.platform != "linux":
        pytest.skip("reads /proc")
    monkeypatch.setattr("capture.process.sys.platform", name)
    return name


@pytest.fixture
def ended() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has ended, and that nobody has waited for yet."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    with contextlib.suppress(psutil.NoSuchProcess):  # as Windows says
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
    yield process
    process.wait()


@pytest.mark.usefixtures("system")
def test_a_living_process_is_known_again() -> None:
    with subprocess.Popen(SLEEP) as process:
        try:
            started = process_start(process.pid)
            assert started is not None
            assert is_alive(process.pid)
            assert is_same_process(process.pid, started, boot_id())
        finally:
            process.kill()
    assert process_start(process.pid) is None
    assert not is_alive(process.pid)
    assert is_same_process(process.pid, started, boot_id()) is False


@pytest.mark.usefixtures("system")
def test_one_that_nobody_has_waited_for_has_ended(ended: subprocess.Popen[bytes]) -> None:
    assert process_start(ended.pid) is None


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("pid", [-1, 1 << 31, 1 << 40, 1 << 80])
def test_what_is_no_number_of_a_process_is_no_process(pid: int) -> None:
    assert not is_alive(pid)
    assert process_start(pid) is None


def test_a_process_is_seen_with_its_ancestors() -> None:
    with subprocess.Popen(SLEEP) as process:
        try:
            numbers = [number for number, _ in ancestors(process.pid)]
            assert numbers[:2] == [process.pid, os.getpid()]
            assert all(name for _, name in ancestors(process.pid))
        finally:
            process.kill()
    for gone in (process.pid, -1, 1 << 80):
        assert ancestors(gone) == []


def test_a_number_that_was_given_again(system: str) -> None:
    pid = os.getpid()
    other = is_same_process(pid, 1, boot_id())
    # Elsewhere the clock may have been set in between: only the journal's age can say.
    assert other is (False if system == "linux" else None)


def test_a_process_that_does_not_let_itself_be_asked_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr("capture.process.sys.platform", "win32")
    monkeypatch.setattr(psutil, "Process", refuse)
    assert process_start(os.getpid()) is not None
    assert is_same_process(os.getpid(), 5, None) is None


@pytest.mark.usefixtures("system")
def test_a_killed_recorder_is_known_at_once(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    script = (
        "import psutil, sys, time; from pathlib import Path; from capture import journal, process\n"
        f"process.sys.platform = {sys.platform!r}\n"
        f"film = Path({str(film)!r}); film.touch()\n"
        "kept = journal.Journal(film, target=film, tracks=('picture',)); kept.update(1, 1)\n"
        "print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert find_orphans(tmp_path) == ((), (film,))
        with pytest.raises(MediaError, match="is being recorded"):
            require_ended(film)
        process.kill()
    assert find_orphans(tmp_path) == ((film,), ())
    require_ended(film)


def test_who_cannot_be_asked_is_waited_for_and_it_is_said_how_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = tmp_path / "film.mp4"
    journal = Journal(film, target=film, tracks=("picture",))
    monkeypatch.setattr("capture.journal.platform.node", lambda: "another machine")
    assert is_recording(film)
    with pytest.raises(MediaError) as caught:
        require_ended(film)
    assert "try again in " in str(caught.value.hint)
    os.utime(journal_path(film), (1, 1))
    require_ended(film)
    journal.remove()


@pytest.mark.usefixtures("system")
def test_only_what_the_dead_have_left_is_cleared(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    kept = tmp_path / f".a.{os.getpid()}.part.opus"
    for name in (kept.name, f".a.{gone.pid}.part.opus", f".b.{1 << 40}.part", ".a.part.opus"):
        (tmp_path / name).touch()
    clear_parts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((kept.name, ".a.part.opus"))

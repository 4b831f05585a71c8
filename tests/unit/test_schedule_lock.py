"""One daemon a schedule, by the locks of every system."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from capture.errors import OutputError
from capture.schedule.lock import Lock, serving_pid

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from capture.schedule.lock import Lock
with Lock(Path(sys.argv[1])):
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["own", "win32"])
def locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Those of this system, and locks of bytes as on Windows."""
    if request.param == "win32":
        if sys.platform == "linux":
            from tests.cli.elsewhere import msvcrt  # noqa: PLC0415 - of Linux only

            monkeypatch.setitem(sys.modules, "msvcrt", msvcrt())
            monkeypatch.setattr("capture.schedule.lock.sys.platform", "win32")
        else:
            pytest.skip("the locks of Linux are taken for those of Windows")
    return str(request.param)


@pytest.mark.usefixtures("locks")
def test_the_second_daemon_is_told_who_the_first_is(tmp_path: Path) -> None:
    database = tmp_path / "schedule.sqlite"
    assert serving_pid(database) is None
    for _ in range(2):  # what an earlier one wrote is no obstacle
        with Lock(database):
            assert serving_pid(database) == os.getpid()
            with pytest.raises(OutputError, match=f"by process {os.getpid()}$"):
                Lock(database)
            assert serving_pid(database) == os.getpid()
        assert serving_pid(database) is None


@pytest.mark.usefixtures("locks")
@pytest.mark.parametrize("left", ["", "4294967295", "no number", "1" * 40])
def test_what_a_dead_daemon_left_in_the_file_counts_for_nothing(left: str, tmp_path: Path) -> None:
    database = tmp_path / "schedule.sqlite"
    (tmp_path / "schedule.sqlite.lock").write_text(left)
    assert serving_pid(database) is None
    with Lock(database):
        assert serving_pid(database) == os.getpid()


def test_a_daemon_that_is_killed_holds_nothing(tmp_path: Path) -> None:
    database = tmp_path / "schedule.sqlite"
    command = [sys.executable, "-c", HOLD, str(database)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as daemon:
        assert daemon.stdout is not None
        daemon.stdout.readline()
        assert serving_pid(database) == daemon.pid
        daemon.kill()
    assert serving_pid(database) is None

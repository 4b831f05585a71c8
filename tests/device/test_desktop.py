"""A private desktop works, is private, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from capture.desktop import SINK_NAME, PrivateDesktop
from capture.errors import BackendUnavailableError, ConfigError, DeviceNotFoundError
from tests.device.recorded import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform == "win32":
    pytest.skip("a private desktop needs Linux", allow_module_level=True)

TREE = "setsid sh -c 'sleep 1234 & env -i setsid sleep 1234' & sleep 1234"
"""A shell with a child, and grandchildren in sessions of their own, one with no environment."""
OWNER = f"""
import sys, time
from capture.desktop import PrivateDesktop
desktop = PrivateDesktop(320, 240)
desktop.run(["sh", "-c", {TREE!r}])
print(desktop.directory, flush=True)
time.sleep(600)
"""


@pytest.fixture
def small_desktop() -> Iterator[PrivateDesktop]:
    with PrivateDesktop(320, 240) as desktop:
        yield desktop


def family(needle: str) -> list[str]:
    """Command lines of all processes that name the folder of a desktop, in words or variables."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if needle.encode() in command + environment and int(folder.name) != os.getpid():
            found.append(command.decode())
    return found


def descendants(pid: int) -> set[int]:
    """All processes below one."""
    parents = {int(path.parent.name): fields for path, fields in stats()}
    found: set[int] = set()
    ahead = {pid}
    while ahead:
        ahead = {child for child, fields in parents.items() if int(fields[1]) in ahead}
        found |= ahead
    return found


def stats() -> Iterator[tuple[Path, list[str]]]:
    """What the kernel says of each process, from its state on."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            yield path, path.read_text().rpartition(")")[2].split()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: object, timeout_s: float = PATIENCE_S) -> None:
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def x_setup_answer(display: str) -> int:
    """First byte of the X server's answer to a client without a cookie: 0 refused, 1 accepted."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"/tmp/.X11-unix/X{display[1:]}")  # noqa: S108
        connection.sendall(b"l\0\x0b\0\0\0\0\0\0\0\0\0")
        return connection.recv(1)[0]


def test_programs_find_screen_and_sound(small_desktop: PrivateDesktop) -> None:
    log = small_desktop.directory / "info"
    with log.open("wb") as out:
        program = small_desktop.run(["pactl", "info"], stdout=out)
        assert program.wait(PATIENCE_S) == 0
    assert f"Default Sink: {SINK_NAME}\n" in log.read_text()
    assert "float32le 2ch 48000Hz" in log.read_text()


def test_the_screen_wants_the_cookie(small_desktop: PrivateDesktop) -> None:
    assert x_setup_answer(small_desktop.display) == 0


def test_nothing_listens_on_tcp(small_desktop: PrivateDesktop) -> None:
    port = 6000 + int(small_desktop.display[1:])
    with socket.socket() as connection, pytest.raises(ConnectionRefusedError):
        connection.connect(("127.0.0.1", port))
    inodes = set()
    for pid in descendants(os.getpid()):
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            target = str(link.readlink()) if link.is_symlink() else ""
            inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    tables = [path for path in map(Path, ("/proc/net/tcp", "/proc/net/tcp6")) if path.exists()]
    lines = [line.split() for path in tables for line in path.read_text().splitlines()]
    assert not [fields for fields in lines if len(fields) > 9 and fields[9] in inodes]


def test_the_folder_is_for_its_owner_alone(small_desktop: PrivateDesktop) -> None:
    assert stat.S_IMODE(small_desktop.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((small_desktop.directory / "run").stat().st_mode) == 0o700
    secrets = [Path(small_desktop.environment[n]) for n in ("XAUTHORITY", "PULSE_COOKIE")]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in secrets)
    assert small_desktop.environment["PULSE_SERVER"].startswith(f"unix:{small_desktop.directory}")


def test_the_way_back_to_the_real_desktop_is_hidden(
    small_desktop: PrivateDesktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    log = small_desktop.directory / "variables"
    with log.open("wb") as out:
        small_desktop.run(["env"], stdout=out).wait(PATIENCE_S)
    names = {line.partition("=")[0] for line in log.read_text().splitlines()}
    assert not names & {"WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS"}
    assert names >= {"DISPLAY", "XAUTHORITY", "PULSE_SERVER", "XDG_RUNTIME_DIR", "PATH"}


def test_exit_codes_come_through(small_desktop: PrivateDesktop) -> None:
    assert small_desktop.run(["sh", "-c", "exit 3"]).wait(PATIENCE_S) == 3
    assert small_desktop.run(["sh", "-c", "kill -KILL $$"]).wait(PATIENCE_S) == 128 + signal.SIGKILL


def test_what_a_program_leaves_ends_with_it(small_desktop: PrivateDesktop) -> None:
    program = small_desktop.run(["sh", "-c", f"({TREE}) & sleep 0.5"])
    wait_for(lambda: len(descendants(program.pid)) >= 5)
    tree = descendants(program.pid)
    assert program.wait(PATIENCE_S) == 0
    assert not any(is_running(pid) for pid in tree)


def test_a_program_that_ignores_sigterm_is_killed(small_desktop: PrivateDesktop) -> None:
    program = small_desktop.run(["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"])
    wait_for(lambda: len(descendants(program.pid)) >= 2)
    program.terminate()
    assert program.wait(PATIENCE_S) == 128 + signal.SIGKILL


def test_close_ends_everything_and_may_be_called_twice() -> None:
    others = descendants(os.getpid())  # the desktop that other tests share
    desktop = PrivateDesktop(320, 240)
    program = desktop.run(["sh", "-c", TREE])
    wait_for(lambda: len(descendants(program.pid)) >= 5)
    tree = descendants(os.getpid()) - others
    assert len(tree) >= 10
    desktop.close()
    desktop.close()
    assert not any(is_running(pid) for pid in tree)
    assert not desktop.directory.exists()
    assert not family(str(desktop.directory))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_owners_death_ends_everything(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        directory = Path(owner.stdout.readline().strip())
        # Three supervisors, two servers, and the program's tree.
        wait_for(lambda: len(descendants(owner.pid)) >= 10)
        tree = descendants(owner.pid)
        owner.send_signal(how)
    wait_for(lambda: not any(is_running(pid) for pid in tree))
    wait_for(lambda: not directory.exists())
    assert not family(str(directory))


def test_two_desktops_at_once(small_desktop: PrivateDesktop) -> None:
    with PrivateDesktop(640, 480) as other:
        assert other.display != small_desktop.display
        assert other.directory != small_desktop.directory


def test_it_works_in_a_bare_environment() -> None:
    code = (
        "from capture.desktop import PrivateDesktop as D\nwith D(320, 240) as d: print(d.display)"
    )
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run(
        [sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=True
    )
    assert answer.stdout.startswith(":")


def test_a_program_that_is_not_there(small_desktop: PrivateDesktop) -> None:
    with pytest.raises(DeviceNotFoundError, match="no-such-program"):
        small_desktop.run(["no-such-program"])
    with pytest.raises(ConfigError):
        small_desktop.run([])


def test_servers_that_are_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendUnavailableError, match="Xvfb and pulseaudio") as caught:
        PrivateDesktop(320, 240)
    assert "xvfb pulseaudio" in str(caught.value.hint)


@pytest.mark.parametrize("broken", ["Xvfb", "pulseaudio"])
def test_a_server_that_does_not_start(
    broken: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / broken
    fake.write_text("#!/bin/sh\necho 'it is raining' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    folders = tmp_path / "folders"
    folders.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folders))
    with pytest.raises(BackendUnavailableError, match="it is raining") as caught:
        PrivateDesktop(320, 240)
    assert caught.value.details["log"] == ["it is raining"]
    assert not list(folders.iterdir())


@pytest.mark.parametrize("size", [(0, 100), (100, -1), (100_000, 100)])
def test_a_size_that_makes_no_sense(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError):
        PrivateDesktop(*size)

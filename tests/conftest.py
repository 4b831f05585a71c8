"""What every test gets: nothing may be left behind, and the desktop that device tests run on."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from capture.desktop import HIDDEN_VARIABLES, PrivateDesktop

if TYPE_CHECKING:
    from collections.abc import Iterator

# The measuring programs are imported as tests.device.…, from wherever pytest was started.
sys.path.insert(0, str(Path(__file__).parents[1]))

DESKTOP_PX = (1280, 720)
SETTLE_S = 2.0
"""A thread or process that was told to end may take this long on a busy machine."""
DEVICE_PROGRAMS = ("Xvfb", "pulseaudio")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What ``scripts/test --full`` turns on."""
    parser.addoption("--full", action="store_true", help="what takes minutes: all random moments")


def pytest_configure() -> None:
    """What tests start hears signals that pytest itself was started to ignore.

    A shell has ^C ignored in the background, ``nohup`` the hang-up; a handler is not inherited.
    """
    for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", lambda *_: None)):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What lies in ``tests/device`` needs devices; without them it is skipped, but not in CI."""
    missing = [name for name in DEVICE_PROGRAMS if shutil.which(name) is None]
    for item in items:
        if "device" in item.path.parts:
            item.add_marker(pytest.mark.device)
        if missing and not os.environ.get("CI") and item.get_closest_marker("device"):
            reason = f"not installed: {', '.join(missing)}; `scripts/test` installs them"
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _nothing_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A test fails on a thread of ours, a child process or an ERROR record that it leaves."""
    children = _children()
    yield
    deadline = time.monotonic() + SETTLE_S
    while (left := _threads() + _names(_children() - children)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left, f"left behind: {', '.join(left)}"
    errors = [
        record.getMessage()
        for phase in ("setup", "call")
        for record in caplog.get_records(phase)
        if record.levelno >= logging.ERROR
    ]
    assert not errors, f"logged as errors: {errors}"


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("capture-")]


def _children() -> set[int]:
    """Our child processes; also those that ended and that nobody has waited for."""
    if sys.platform != "linux":
        return set()
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == os.getpid():
            found.add(int(path.parent.name))
    return found


def _names(pids: set[int]) -> list[str]:
    names = []
    for pid in pids:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        names.append(f"process {pid} ({command.strip() or 'ended, never waited for'})")
    return names


@pytest.fixture(autouse=True, scope="session")
def _own_library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests keep, and the programs that they start, does not go into the user's library."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CAPTURE_DATA_DIR", "CAPTURE_CACHE_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        patch.delenv("CAPTURE_LIBRARY", raising=False)
        yield


@pytest.fixture(scope="session")
def private_desktop() -> Iterator[PrivateDesktop]:
    """One screen and sound server for all device tests, 1280x720."""
    with PrivateDesktop(*DESKTOP_PX) as desktop:
        yield desktop


@pytest.fixture
def desktop_env(private_desktop: PrivateDesktop, monkeypatch: pytest.MonkeyPatch) -> PrivateDesktop:
    """The test itself and what it starts live on the private desktop."""
    for name in HIDDEN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in private_desktop.environment.items():
        monkeypatch.setenv(name, value)
    return private_desktop

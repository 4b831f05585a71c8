"""Identifies processes: numbers are used again, so a process is its number and its start."""

import contextlib
import signal
import sys
from pathlib import Path
from typing import Any

if sys.platform == "win32":
    END_SIGNAL: int = signal.CTRL_BREAK_EVENT
else:
    END_SIGNAL: int = signal.SIGTERM
"""Lets a program of ours that was started ``apart`` end cleanly; SIGTERM kills on Windows. There
it takes a console that both have, and OSError means that they have none."""

ANY_START = 0
"""A process is alive, but the system does not give its start."""


def boot_id() -> str | None:
    """The id of this run of the machine; ``None`` where it is not known."""
    if sys.platform != "linux":
        return None
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return None


def process_start(pid: int) -> int | None:
    """Start of a process; ``None`` if it has ended.

    On Linux in ticks since the machine started, which no setting of the clock moves: field 22 of
    /proc/PID/stat (proc(5)). Elsewhere in ms since 1970; 0 where the system does not give it.
    """
    if sys.platform != "linux":
        return _start_ms(pid)
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold anything, spaces and parentheses too; field 3 follows it.
    after_name = text.rpartition(")")[2].split()
    state, started = after_name[0], after_name[22 - 3]
    return None if state in {"Z", "X"} else int(started)  # ended, but not yet reaped by its parent


def _start_ms(pid: int) -> int | None:
    import psutil  # noqa: PLC0415 - 10 ms that no command needs to begin

    try:
        process = psutil.Process(pid)
        is_ended = process.status() == psutil.STATUS_ZOMBIE
        return None if is_ended else round(process.create_time() * 1000)
    except psutil.AccessDenied:
        return ANY_START
    except (psutil.NoSuchProcess, OverflowError, ValueError):  # the last two: no such number
        return None


def is_alive(pid: int) -> bool:
    """Whether any process has this number now."""
    import psutil  # noqa: PLC0415 - see above

    try:
        return bool(psutil.pid_exists(pid))
    except OverflowError:  # no system has numbers as large
        return False


def ancestors(pid: int) -> list[tuple[int, str]]:
    """Number and name of a process and its ancestors, the nearest first; empty if it has ended.

    An ancestor that cannot be seen from here, as in another container, ends the list.
    """
    import psutil  # noqa: PLC0415 - see above

    found = []
    with contextlib.suppress(psutil.Error, OverflowError, ValueError):  # the last two: see above
        process = psutil.Process(pid)
        while process is not None and process.pid > 1:
            with process.oneshot():
                found.append((process.pid, process.name()))
                process = process.parent()
    return found


def is_same_process(pid: int, started: int | None, boot: str | None) -> bool | None:
    """Whether a process that was noted still runs; ``None`` where that cannot be known.

    Args:
        pid: Its number.
        started: What ``process_start`` gave then; ``None``: it was not known.
        boot: What ``boot_id`` gave then.
    """
    now = process_start(pid)
    if sys.platform == "linux":
        if started is None or boot is None or boot_id() is None:
            return None
        return boot == boot_id() and now == started
    if now is None:
        return False
    # Another start may be that of another process, or the same after the clock was set: psutil
    # moves it along on macOS.
    return True if now == started else None


def detached() -> dict[str, Any]:
    """Arguments for ``Popen`` that keep ^C of this terminal from a program."""
    if sys.platform == "win32":
        from subprocess import CREATE_NEW_PROCESS_GROUP  # noqa: PLC0415 - only for who starts one

        return {"creationflags": CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}

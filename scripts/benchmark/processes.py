"""What a process has used so far, by proc(5); only where there is a private desktop."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cpu_s", "memory_bytes"]


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far; those of its ended children with it."""
    if sys.platform == "win32":  # for the type checker
        raise NotImplementedError
    # After the name, which may hold anything, in brackets; utime is field 14.
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int, *, most: bool = False) -> int:
    """Resident memory now, or the most so far.

    Not ``ru_maxrss``, which counts that of the process before its exec as well.
    """
    name = "VmHWM" if most else "VmRSS"
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0  # it has ended, and was not waited for

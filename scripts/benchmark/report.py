"""Figures of several runs together, tables, and what machine they are from."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Spread", "describe_machine", "say", "spread", "table"]

_VERSIONS = {
    "ffmpeg": ["ffmpeg", "-version"],
    "mpv": ["mpv", "--version"],
    "pulseaudio": ["pulseaudio", "--version"],
}
_PACKAGES = ("av", "numpy", "opencv-python")


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of several runs, and how far they reach."""

    median: float
    least: float
    most: float

    def __format__(self, form: str) -> str:
        """The median, and the range in brackets, each in the format of one number."""
        return f"{self.median:{form}} ({self.least:{form}} to {self.most:{form}})"


def spread(values: Sequence[float]) -> dict[str, float]:
    """A ``Spread``, as it goes into JSON."""
    return asdict(Spread(statistics.median(values), min(values), max(values)))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that is also readable as it stands."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    padded = [[cell.ljust(width) for cell, width in zip(r, widths, strict=True)] for r in lines]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def say(text: str) -> None:
    """Talk goes to stderr: stdout is for the tables."""
    print(text, file=sys.stderr, flush=True)


def describe_machine() -> dict[str, Any]:
    """What the figures depend on; nothing by which the machine or its owner could be told."""
    return {
        "processor": _field(Path("/proc/cpuinfo"), "model name"),
        "cores": os.cpu_count(),
        "memory": _field(Path("/proc/meminfo"), "MemTotal"),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"),
        "python": platform.python_version(),
        **{name: _first_line(command) for name, command in _VERSIONS.items()},
        **{name: metadata.version(name) for name in _PACKAGES},
    }


def _field(path: Path, name: str) -> str:
    lines = path.read_text("utf-8").splitlines()
    values = (line.partition(":")[2].strip() for line in lines if line.startswith(name))
    return next(values, "unknown")


def _first_line(command: list[str]) -> str | None:
    """A program's version; ``None`` if it is not here."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split()[:3])

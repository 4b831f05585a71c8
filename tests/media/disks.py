"""Small file systems, for tests of disks that fill up."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def mounted(place: Path, size: str) -> Iterator[Path]:
    """A file system of that size, such as ``4m``, at a new folder; skips without root."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    place.mkdir()
    command = [str(mount), "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if (
        None in {mount, umount}
        or subprocess.run(command, check=False, capture_output=True).returncode
    ):
        pytest.skip("mounting takes root")
    try:
        yield place
    finally:
        subprocess.run([str(umount), str(place)], check=True)

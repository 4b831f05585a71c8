"""The programs in the documentation, run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from capture.desktop import PrivateDesktop

ROOT = Path(__file__).parents[2]


def programs() -> list[tuple[str, str]]:
    """(page and number, code) of every Python example."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        fences = re.findall(r"^( *)```python\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)
        for number, (indent, code) in enumerate(fences, 1):
            found.append((f"{page.name}-{number}", re.sub(f"^{indent}", "", code, flags=re.MULTILINE)))
    return found


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in programs()])
def test_an_example_runs(code: str, desktop_env: PrivateDesktop, tmp_path: Path) -> None:
    del desktop_env
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "lesson.mp4" in done.stdout
    assert (tmp_path / "lesson.mp4").stat().st_size > 1000

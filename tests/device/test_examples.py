"""The programs in the documentation, run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.media.sounds import make_film

if TYPE_CHECKING:
    from capture.desktop import PrivateDesktop

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(?P<indent> *)```python\n(?P<code>.*?)^ *```", flags=re.MULTILINE | re.DOTALL)


def programs() -> list[tuple[str, str]]:
    """(page and number, code) of every Python example."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for number, match in enumerate(FENCE.finditer(page.read_text()), 1):
            code = re.sub(f"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
            found.append((f"{page.name}-{number}", code))
    return found


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in programs()])
def test_an_example_runs(code: str, desktop_env: PrivateDesktop, tmp_path: Path) -> None:
    """Those of ``lesson.mp4``, recorded or found in ``films``, say what came of it."""
    del desktop_env
    (tmp_path / "films").mkdir()
    make_film(tmp_path / "films" / "lesson.mp4", "aac")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    if "lesson" not in code and "films" not in code:
        return
    assert "lesson" in done.stdout
    (made,) = (path for path in tmp_path.rglob("lesson.m*") if path.parent.name != "films")
    assert made.stat().st_size > 1000

"""The programs in the documentation, run as they stand."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from capture.demo.voice_sample import make_voice_sample
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
    """Those that record or extract a lesson say what came of it; who listens hears a message."""
    (tmp_path / "films").mkdir()
    make_film(tmp_path / "films" / "lesson.mp4", "aac")
    with contextlib.ExitStack() as stack:
        if "VoiceKeeper" in code:
            sample = make_voice_sample(tmp_path / "voice.wav")
            again = f"while sleep 3; do paplay '{sample}'; done"
            player = desktop_env.run(["sh", "-c", again])
            stack.callback(player.wait)
            stack.callback(player.terminate)
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    if "VoiceKeeper" in code:
        assert done.stdout.endswith("1 kept\n")
        (kept,) = (tmp_path / "kept").glob("*.opus")
        assert str(kept.name) in done.stdout
    if "RecordingSpec" in code or "ExtractJob" in code:
        assert "lesson" in done.stdout
        (made,) = (path for path in tmp_path.rglob("lesson.m*") if path.parent.name != "films")
        assert made.stat().st_size > 1000

"""Several ``capture voice`` at once and ``capture messages`` beside them, on one library."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

if TYPE_CHECKING:
    from pathlib import Path

    from capture.desktop import PrivateDesktop

TONES = 3
RATE_HZ = 48_000


def capture(*words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "capture", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def listed() -> list[dict[str, Any]]:
    run = subprocess.run(
        [sys.executable, "-m", "capture", "messages", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def wait_for(keeper: subprocess.Popen[str], event: str) -> None:
    """Read what it says up to an event."""
    assert keeper.stdout is not None
    for line in keeper.stdout:
        if json.loads(line)["event"] == event:
            return
    pytest.fail(f"it ended before {event}")


@pytest.mark.parametrize("is_one_folder", [True, False])
def test_two_listen_and_one_lists_and_nothing_is_lost_or_twice(
    desktop_env: PrivateDesktop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_one_folder: bool,
) -> None:
    del desktop_env
    monkeypatch.setenv("CAPTURE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_MUSIC_DIR", str(tmp_path / "music"))
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    soundfile.write(tmp_path / "tone.wav", tone, RATE_HZ)
    folders = [tmp_path / "a", tmp_path / ("a" if is_one_folder else "b")]
    options = ("--any-sound", "--hold", "0.5s", "--count", TONES, "--json")
    keepers = [capture("voice", folder, *map(str, options)) for folder in folders]
    try:
        for keeper in keepers:
            wait_for(keeper, "started")
        for _ in range(TONES):
            subprocess.run(["paplay", str(tmp_path / "tone.wav")], check=True, timeout=60)
            for keeper in keepers:
                wait_for(keeper, "message-kept")
            found = listed()  # meanwhile
            assert len({row["id"] for row in found}) == len(found)
        kept = []
        for keeper in keepers:
            assert keeper.stdout is not None
            kept += json.loads(keeper.stdout.read().splitlines()[-1])["messages"]
            assert keeper.wait(timeout=60) == 0
            keeper.stdout.close()
    finally:
        for keeper in keepers:
            if keeper.poll() is None:
                keeper.kill()
                keeper.communicate()
    assert len(kept) == 2 * TONES
    rows = {row["id"]: row for row in listed()}
    assert rows.keys() == {message["id"] for message in kept}
    assert {row["path"] for row in rows.values()} <= {message["path"] for message in kept}
    assert all(row["app"] == "paplay" and row["peaks"] for row in rows.values())

"""The command of a recording: where it is started, and that it never outlives its place."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from capture import AudioSpec, RecordingSpec
from capture.recording.place import Place

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def place(folder: Path, code: str, **changes: Any) -> Place:
    command = (sys.executable, "-c", code)
    return Place(
        RecordingSpec(folder / "a.wav", None, (AudioSpec("synthetic"),), command=command, **changes)
    )


def test_a_command_is_not_started_once_the_recording_is_over(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    over = place(tmp_path, f"open({str(mark)!r}, 'w')")
    over.close()
    over.start_command()
    assert not over.has_command_ended()
    assert over._command is None
    assert not mark.exists()


def test_a_command_on_another_desktop_is_not_led_back_to_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-7")
    mark = tmp_path / "mark"
    code = (
        "import os, pathlib;"
        f"pathlib.Path({str(mark)!r}).write_text("
        "os.environ['DISPLAY'] + str('WAYLAND_DISPLAY' in os.environ))"
    )
    there = place(tmp_path, code, environment={"DISPLAY": ":77"})
    there.start_command()
    assert there._command is not None
    assert there._command.wait(60) == 0
    there.close()
    assert mark.read_text() == ":77False"
    assert there.exit_code == 0

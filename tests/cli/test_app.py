"""The command as a whole: help, versions, errors and exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest

import capture
from capture.cli.app import run

COMMANDS = (
    "record",
    "voice",
    "recover",
    "schedule",
    "verify",
    "devices",
    "doctor",
    "demo",
    "extract",
    "probe",
    "play",
)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in COMMANDS:
        assert name in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert ".left-px" not in shown
    assert "--empty-" not in shown


@pytest.mark.parametrize(
    "words",
    [
        ["play-back"],
        ["record", "--fps", "many"],
        ["record", "--duration", "soon"],
        ["record", "--max-size", "huge"],
        ["record", "--region", "1,2"],
        ["record", "--quality", "best"],
        ["record", "--no-such-option"],
    ],
)
def test_usage_errors_are_one_sentence_and_a_hint(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert "\n\nhint: " in shown.err


def test_words_after_dashes_are_refused_where_they_mean_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["devices", "--", "mpv"]) == 2
    assert "--" in capsys.readouterr().err


def test_importing_the_package_loads_no_native_library() -> None:
    code = (
        "import sys, capture; capture.RecordingSpec; capture.VideoSpec;"
        "print([m for m in ('numpy','av','cv2','mss','xcffib','sounddevice') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_those_listed() -> None:
    assert sorted(capture.__all__) == capture.__all__
    for name in capture.__all__:
        assert getattr(capture, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = capture.nonsense

"""``capture verify``: tables, JSON, exit codes, and what is no recording."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from capture.cli.app import run
from tests.media.writing import open_writing

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """A finished sound file, of which the recorder says that it is a second longer."""
    path = tmp_path / "Gespräch 会話.mka"
    writing = open_writing(path, channels=1)
    writing.sound(np.random.default_rng(1).uniform(-0.1, 0.1, (48_000, 1)).astype(np.float32))
    track = {"name": "system", "kind": "audio", "start_s": 0, "end_s": 2.0}
    track |= {"quiet_ms": [], "quiet_floor_ms": 0}
    writing.close(certificate={"capture": "0.1.0", "tracks": [track], "warnings": ["it rained"]})
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A sound file without a certificate."""
    import soundfile  # noqa: PLC0415

    path = tmp_path / "clip [1].wav"
    soundfile.write(path, np.random.default_rng(2).uniform(-0.1, 0.1, 24_000), 48_000)
    return path


def test_a_file_that_disagrees_fails_and_says_where(
    talk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(talk)]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{talk.name}: recorded by capture 0.1.0" in shown
    assert "fault: system at 1.00 s: it ends 1.0" in shown
    assert "note: the recorder warned: it rained" in shown
    assert shown.endswith("faulty")


def test_a_file_of_another_recorder_passes(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(clip)]) == 0
    shown = capsys.readouterr().out
    assert f"{clip.name}: no certificate" in shown.replace("\n", "")
    assert shown.rstrip().endswith("fine")


def test_json_is_an_object_a_file(
    talk: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", "--json", str(clip), str(talk)]) == 1
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [report["faults"] for report in reports] == [0, 1]
    assert reports[0]["certificate"] is None
    assert reports[1]["certificate"]["capture"] == "0.1.0"
    assert reports[1]["findings"][0]["severity"] == "fault"
    assert reports[1]["tracks"][0]["end_s"] == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (None, 2, "there is no "),
        ("folder", 2, " is a folder"),
        (b"", 1, " is empty"),
        (b"To be, or not to be\n" * 50, 1, " cannot be read"),
    ],
)
def test_what_is_no_recording_is_one_sentence_and_a_hint(
    content: bytes | str | None,
    code: int,
    message: str,
    *,
    tmp_path: Path,
    clip: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "Ünïcode 文.mp4"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder":
        path.mkdir()
    assert run(["verify", str(path), str(clip)]) == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert path.name in shown.err
    assert shown.err.startswith("error: ")
    assert "\nhint: " in shown.err
    assert "fine" in shown.out  # the other file was looked at all the same


def test_nothing_to_verify_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify"]) == 2
    assert "hint: " in capsys.readouterr().err

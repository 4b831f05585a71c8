"""Names of files as people and old disks have them, and values that scripts leave empty."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from capture.cli.app import run
from capture.naming import sndfile_name
from tests.media.broken import run_ffmpeg

if sys.platform == "win32":
    pytest.skip("it refuses most of these names", allow_module_level=True)

ODD = (
    "12:30.mp4",
    "http:x:",
    "pipe:1",
    "concat:a|b",
    "-n.mp4",
    "a%03d.mp4",
    "file:b.mp4",
    "caf\udce9.mp4",
)
CARD = ("--test-card", "128x128", "--audio", "synthetic", "--duration", "0.3s", "-q")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "sine=440:duration=1", "-c:a", "aac", path)
    return path


def capture(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "capture", *words], capture_output=True, check=False, cwd=cwd
    )


@pytest.mark.parametrize("name", ODD)
def test_a_name_is_always_a_file(
    name: str, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.link(film, name) if film.stat().st_dev == Path().stat().st_dev else Path(name).write_bytes(
        film.read_bytes()
    )
    monkeypatch.setattr(sys.stdout, "write", lambda _text: 0)
    word = f"./{name}"
    for options in ((), ("--start", "0.5"), ("--for", "whatsapp"), ("--format", "ogg")):
        assert run(["extract", word, "--output", "out", *options]) == 0, options
    assert len(list(Path("out").iterdir())) == 4
    assert run(["extract", word, "--mono", "--output", f"./{name}.wav"]) == 0
    assert Path(f"{name}.wav").stat().st_size > 40_000
    assert isinstance(sndfile_name(Path(name)), bytes)
    assert run(["probe", word]) == 0
    assert run(["verify", word]) == 0


@pytest.mark.parametrize("ending", ["mkv", "mp4", "webm", "wav", "opus", "flac"])
def test_recordings_into_such_names(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (f"2026-01-01T10:00.{ending}", f"caf\udce9:x.{ending}"):
        card = CARD if ending in {"mkv", "mp4", "webm"} else CARD[2:]
        assert run(["record", f"./{name}", *card]) == 0
        assert Path(name).stat().st_size > 1000


def test_names_are_written_as_they_are_and_json_stays_json(film: Path, tmp_path: Path) -> None:
    source = tmp_path / "caf\udce9.mp4"
    source.write_bytes(film.read_bytes())
    out = tmp_path / "o\udce9"
    plain = capture("extract", os.fspath(source), "--output", os.fspath(out))
    assert (plain.returncode, plain.stdout) == (0, os.fsencode(out / "caf.m4a") + b"\n")
    probed = capture("probe", "--json", os.fspath(source))
    assert json.loads(probed.stdout.decode())["path"] == str(source)
    assert capture("probe", "--json", os.fspath(tmp_path / "no\udce9")).returncode == 2


LONG = "n" * 260


@pytest.mark.parametrize(
    "words",
    [
        ["extract", LONG],
        ["extract", "FILM", "--output", f"{LONG}/x"],
        ["extract", "FILM", "--output", f"{LONG}.wav"],
        ["probe", LONG],
        ["verify", LONG],
        ["play", LONG],
        ["recover", f"{LONG}.mp4"],
        ["record", f"{LONG}.mp4", *CARD],
        ["record", "FILM/x.mp4", *CARD],
        ["voice", LONG],
    ],
)
def test_a_name_that_cannot_be_is_one_sentence(
    words: list[str], film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([word.replace("FILM", str(film)) for word in words]) in {1, 2}
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert "hint: " in shown.err
    assert "Errno" not in shown.err
    assert "report it" not in shown.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
@pytest.mark.parametrize("words", [["--help"], ["record", "--help"], ["schedule", "--help"]])
def test_no_room_for_what_is_said(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "capture", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert b" cannot be written: " in done.stderr
    assert b"report it" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["record", "--window", "", "x.mp4"],
        ["record", "--region=", "x.mp4"],
        ["record", "--audio", " ", "x.mp4"],
        ["record", "--start-when", "", "x.mp4"],
        ["record", ""],
        ["voice", "--from", ""],
        ["voice", ""],
        ["extract", ""],
        ["extract", "x.mp4", "-o", ""],
        ["probe", ""],
        ["recover", ""],
        ["schedule", "add", "12:00", "--name", ""],
        ["schedule", "add", "12:00", "--name", "x", "--", "--window", ""],
    ],
)
def test_an_empty_value_is_no_missing_one(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert run(words) == 2
    assert "is empty" in capsys.readouterr().err
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".mp4"]


def test_what_is_recorded_may_have_empty_words(tmp_path: Path) -> None:
    film = tmp_path / "x.mp4"
    words = ["record", str(film), "--test-card", "128x128", "--audio", "none", "-q"]
    assert (
        capture(*words, "--", sys.executable, "-c", "import time; time.sleep(0.3)", "").returncode
        == 0
    )
    assert film.exists()

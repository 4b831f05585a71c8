"""``capture messages``: lists, JSON, exit codes, and what is written by mistake."""

from __future__ import annotations

import json
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from capture.cli.app import run
from capture.messages import Library, Message, Origin, Passage, entry_of
from capture.messages.journal import JOURNAL
from capture.model.extraction import ExtractResult
from tests.unit.kept import MOMENT, make

if TYPE_CHECKING:
    from capture.specs.extraction import ExtractJob

SPOKEN = (Passage("Hol mich in München ab"),)


@pytest.fixture(scope="module", autouse=True)
def _tracker() -> None:
    """Python's own watcher of shared memory: started once, it stays as long as we do."""
    resource_tracker.ensure_running()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("data", "cache"):
        monkeypatch.setenv(f"CAPTURE_{name.upper()}_DIR", str(tmp_path / name))
    monkeypatch.setenv("XDG_MUSIC_DIR", str(tmp_path / "music"))
    return tmp_path / "kept"


@pytest.fixture
def three(folder: Path) -> tuple[Message, ...]:
    with Library() as library:
        return library.add(
            make(folder, "first.opus", sender="Anna", transcript=SPOKEN),
            make(folder, "second.opus", app="Telegram", sent_at=MOMENT.replace(day=23)),
            make(folder, "third.opus", sent_at=None, origin=Origin.EXTRACTED, app=None),
        )


def rows(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_list_has_a_line_for_each(
    three: tuple[Message, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["messages"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [three[n].id[:8] for n in (2, 1, 0)]
    assert all(str(message.path) in "".join(lines) for message in three)
    assert "undated" in lines[0]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["muenchen"], [0]),
        (["ANNA", "hol"], [0]),
        (["nobody"], []),
        (["list", "applic"], [2, 1, 0]),
        (["--app", "tele"], [1]),
        (["--origin", "extracted"], [2]),
        (["--since", "2026-11-23", "--until", "2026-11-23"], [1]),
        (["--limit", "1"], [2]),
    ],
)
def test_json_is_an_object_a_message(
    three: tuple[Message, ...],
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    found: list[int],
) -> None:
    assert run(["messages", *words, "--json"]) == 0
    got = rows(capsys)
    assert [row["id"] for row in got] == [three[number].id for number in found]
    for row in got:
        assert Path(row["path"]).is_file()
        assert {"sender", "chat", "sent_at", "transcript", "peaks", "sha256"} <= row.keys()


def test_it_is_renamed_by_a_pattern(
    three: tuple[Message, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["messages", "rename", str(three[0].path), "{sender} {date} {length}"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.name == "Anna 2026-11-22 0m12s.opus"
    assert path.is_file()
    assert run(["messages", "rename", three[0].id, "{nobody}"]) == 2


def test_a_deletion_is_undone_or_final(
    three: tuple[Message, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [message.id for message in three]
    assert run(["messages", "delete", ids[0][:8], str(three[1].path)]) == 0
    assert not three[0].path.exists()
    assert run(["messages", "--deleted", "--json"]) == 0
    assert {row["id"] for row in rows(capsys)} == set(ids[:2])
    assert run(["messages", "undo"]) == 0  # the last one
    assert run(["messages", "undo", ids[0]]) == 0
    assert set(capsys.readouterr().out.split()) == {str(three[0].path), str(three[1].path)}
    assert run(["messages", "undo"]) == 2
    assert run(["messages", "delete", "--now", *ids]) == 0
    assert [path.name for path in folder.iterdir()] == [JOURNAL]
    assert b"Anna" not in (folder / JOURNAL).read_bytes()
    assert run(["messages", "forget"]) == 0
    assert "3 sums forgotten" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_one_that_is_not_there_keeps_no_other_from_being_deleted(
    three: tuple[Message, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["messages", "delete", "0000000000", three[0].id]) == 3
    assert not three[0].path.exists()
    assert "there is no message 0000000000" in capsys.readouterr().err
    assert run(["messages", "delete", "0000000000"]) == 2


def test_they_are_exported_bit_for_bit_and_as_old_as_they_are(
    three: tuple[Message, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out" / "deep"
    assert run(["messages", "export", str(target), "--name", "{date} {sender}"]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(p.name for p in paths) == sorted(
        ["2026-11-22 Anna.opus", "2026-11-23.opus", "undated.opus"]
    )
    anna = target / "2026-11-22 Anna.opus"
    assert anna.read_bytes() == three[0].path.read_bytes()
    assert anna.stat().st_mtime == pytest.approx(MOMENT.timestamp(), abs=0.001)
    assert run(["messages", "export", str(target), "anna", "--json"]) == 0
    (row,) = rows(capsys)
    assert Path(row["exported"]).read_bytes() == anna.read_bytes()
    assert set(target.iterdir()) == {*paths, target / "first.opus"}


def test_a_file_that_is_missing_is_told(
    three: tuple[Message, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three[1].path.unlink()
    assert run(["messages", "export", str(tmp_path / "out")]) == 3
    assert "the file is missing" in capsys.readouterr().err
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert run(["messages", "index"]) == 0
    said = capsys.readouterr().err
    assert f"its file is missing: {three[1].path}" in said
    assert "2 messages" in said


def test_a_folder_that_was_moved_is_named(
    three: tuple[Message, ...], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.rename(tmp_path / "moved")
    assert run(["messages", "index", str(tmp_path / "moved")]) == 0
    capsys.readouterr()
    assert run(["messages", "--json"]) == 0
    assert {row["id"]: Path(row["path"]) for row in rows(capsys)} == {
        message.id: tmp_path / "moved" / message.path.name for message in three
    }


@pytest.mark.parametrize(
    "words",
    [
        ["--since", "gestern"],
        ["--limit", "0"],
        ["rename", "0123", "x"],
        ["trim", "0123456789"],
        ["delete"],
        ["undo", "0123456789"],
        ["index", "/nonexistent"],
        ["export", "out", "--name", "{x}"],
    ],
)
def test_a_mistake_is_a_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["messages", *words]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert "\nhint: " in shown


def test_a_name_does_nothing_to_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Library() as library:
        library.add(make(folder, sender="\x1b[2JAnna\u202e\nBen"))
    assert run(["messages"]) == 0
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert "\u202e" not in line


def test_what_is_known_of_a_message_is_in_its_row(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Library() as library:
        (message,) = library.add(make(folder, more={"is_mine": True}, transcript=SPOKEN))
    assert run(["messages", "--json"]) == 0
    (row,) = rows(capsys)
    assert entry_of(message).items() <= (row | {"path": message.path.name}).items()
    assert row["is_mine"] is True
    assert row["chat"] is None


# ---------------------------------------------------------------------------- what extract adds


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Two seconds of a tone, twice, with silence between them."""
    import numpy as np  # noqa: PLC0415
    import soundfile  # noqa: PLC0415

    at_s = np.arange(7 * 16_000) / 16_000
    tone = 0.3 * np.sin(2 * np.pi * 440 * at_s) * ((at_s % 5) < 2)
    (tmp_path / "talk").mkdir()
    soundfile.write(tmp_path / "talk" / "talk.wav", tone, 16_000)
    return tmp_path / "talk" / "talk.wav"


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["--format", "mp3"], 0),
        (["--split", "--any-sound"], 0),
        (["--split", "--any-sound", "--library"], 2),
        (["--format", "mp3", "--library"], 1),
        (["--format", "mp3", "--library", "--recursive"], 1),
    ],
)
@pytest.mark.parametrize("is_batch", [False, True])
def test_what_is_extracted_is_remembered_where_that_is_asked_for(
    talk: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    kept: int,
    *,
    is_batch: bool,
) -> None:
    source = talk.parent if is_batch else talk
    assert run(["extract", str(source), "-o", str(folder), *words, "--quiet"]) == 0
    paths = set(capsys.readouterr().out.splitlines())
    assert (folder / JOURNAL).exists() == (kept > 0)
    assert run(["messages", "--json"]) == 0
    found = rows(capsys)
    assert len(found) == kept
    assert {row["path"] for row in found} <= paths
    assert {(row["origin"], row["source"]) for row in found} <= {("extracted", "talk.wav")}
    assert all(row["length_s"] > 1.9 and row["end_s"] > row["start_s"] for row in found)


@pytest.mark.parametrize(
    ("words", "is_kept"),
    [
        ([], False),
        (["--split"], True),
        (["--split", "--any-sound"], False),
        (["--split", "--no-library"], False),
        (["--speech"], False),
        (["--for", "whatsapp"], False),
    ],
)
def test_what_is_split_by_speech_are_messages(
    talk: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], *, is_kept: bool
) -> None:
    jobs: list[ExtractJob] = []

    def note(job: ExtractJob) -> ExtractResult:
        jobs.append(job)
        return ExtractResult(job.source, (), (), 0.0)

    monkeypatch.setattr("capture.cli.extract.extract_file", note)
    assert run(["extract", str(talk), *words]) == 0
    assert [job.library for job in jobs] == [is_kept]


def test_switched_off_nothing_that_is_extracted_is_remembered(
    talk: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPTURE_LIBRARY", "off")
    assert run(["extract", str(talk), "-o", str(folder), "--library", "--format", "mp3"]) == 0
    assert [path.suffix for path in folder.iterdir()] == [".mp3"]
    assert not (folder.parent / "data").exists()

"""``messages.jsonl``: appended by several, torn, written anew, and read from where one was."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from capture.errors import OutputError
from capture.messages.journal import JOURNAL, append, read, rewrite

if TYPE_CHECKING:
    from pathlib import Path

assert sys.platform != "win32"  # for the type checker: it knows no pipes and signals there


def test_what_was_appended_is_read(tmp_path: Path) -> None:
    append(tmp_path, [{"a": "ü"}, {"b": "line\nbreak"}])
    append(tmp_path, [{"c": "\udcff"}])
    assert read(tmp_path).entries == ({"a": "ü"}, {"b": "line\nbreak"}, {"c": "\udcff"})
    assert (tmp_path / JOURNAL).read_bytes().count(b"\n") == 3


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    append(tmp_path, [{"a": 1}])
    assert (tmp_path / JOURNAL).stat().st_mode & 0o777 == 0o600
    (tmp_path / JOURNAL).chmod(0o644)  # by hand, or by a copy
    append(tmp_path, [{"a": 1}])
    assert (tmp_path / JOURNAL).stat().st_mode & 0o777 == 0o600
    rewrite(tmp_path, lambda entries: entries[:1])
    assert (tmp_path / JOURNAL).stat().st_mode & 0o777 == 0o600


def test_reading_goes_on_where_it_ended(tmp_path: Path) -> None:
    assert read(tmp_path).entries == ()
    append(tmp_path, [{"a": 1}])
    first = read(tmp_path)
    assert first.is_whole
    assert read(tmp_path, first.position).entries == ()
    append(tmp_path, [{"a": 2}])
    second = read(tmp_path, first.position)
    assert (second.entries, second.is_whole) == (({"a": 2},), False)


@pytest.mark.parametrize("torn", [b'{"a": 3, "te', b"\xff\xfe", b'["no object"]', b"[" * 100_000])
def test_a_torn_end_costs_nothing_else(tmp_path: Path, torn: bytes) -> None:
    append(tmp_path, [{"a": 1}])
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(torn)
    before = read(tmp_path)
    assert before.entries == ({"a": 1},)
    append(tmp_path, [{"a": 2}])
    assert read(tmp_path).entries == ({"a": 1}, {"a": 2})
    assert read(tmp_path, before.position).entries == ({"a": 2},)


def test_a_journal_that_was_written_anew_is_read_as_a_whole(tmp_path: Path) -> None:
    append(tmp_path, [{"a": number} for number in range(100)])
    first = read(tmp_path)
    rewrite(tmp_path, lambda entries: [*entries, {"a": 100}])  # longer than before
    again = read(tmp_path, first.position)
    assert again.is_whole
    assert len([entry for entry in again.entries if "a" in entry]) == 101
    # Twice as well: the file may have the first one's number by then.
    rewrite(tmp_path, lambda entries: entries[1:])
    assert read(tmp_path, again.position).is_whole


def test_a_journal_without_lines_goes(tmp_path: Path) -> None:
    append(tmp_path, [{"a": 1}])
    position = read(tmp_path).position
    rewrite(tmp_path, lambda _: [])
    assert list(tmp_path.iterdir()) == []
    assert read(tmp_path, position).is_whole


def test_nothing_is_written_anew_without_need(tmp_path: Path) -> None:
    append(tmp_path, [{"a": 1}])
    before = (tmp_path / JOURNAL).stat().st_ino
    rewrite(tmp_path, lambda _: None)
    rewrite(tmp_path, lambda entries: entries)
    assert (tmp_path / JOURNAL).stat().st_ino == before


def test_many_processes_lose_no_line(tmp_path: Path) -> None:
    """Some append, one writes anew all the time."""
    work = """
import sys
from pathlib import Path
from capture.messages.journal import append, rewrite
folder, who = Path(sys.argv[1]), int(sys.argv[2])
for number in range(100):
    append(folder, [{"who": who, "number": number, "text": "x" * 3000}], is_durable=False)
    if who == 0:
        rewrite(folder, lambda entries: [e for e in entries if e.get("who") != 0])
"""
    command = [sys.executable, "-c", work, str(tmp_path)]
    processes = [subprocess.Popen([*command, str(who)]) for who in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    found = [(e["who"], e["number"]) for e in read(tmp_path).entries if e.get("who")]
    assert sorted(found) == [(who, number) for who in range(1, 4) for number in range(100)]
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_file_of_ours_is_not_written_to(tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    folder = tmp_path / "messages"
    folder.mkdir()
    if kind == "link":
        (folder / JOURNAL).symlink_to(other)
    elif kind == "pipe":
        os.mkfifo(folder / JOURNAL)
    else:
        (folder / JOURNAL).mkdir()
    with pytest.raises(OutputError, match=r"messages\.jsonl cannot be written"):
        append(folder, [{"a": 1}])
    with pytest.raises(OutputError, match=r"messages\.jsonl cannot be read"):
        read(folder)
    assert other.read_text() == "mine"


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        append(tmp_path / "gone", [{"a": 1}])

"""Names that every file system takes, and files that appear whole or not at all."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from capture.journal import Journal, find_orphans, journal_path
from capture.naming import clear_parts, free_path, numbered, part_path, publish, safe_name

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("WhatsApp: Tom/Jerry?", "WhatsApp Tom Jerry"),
        ("  ..hidden.. ", "hidden"),
        ("con", "_con"),
        ("LPT1.opus", "_LPT1.opus"),
        ("line\nbreak\ttab", "line break tab"),
        ("\u0000", "unnamed"),
        ("Grüße 🎤", "Grüße 🎤"),
        ("u\u0308", "ü"),
        ("gnp\u202egnp.exe", "gnpgnp.exe"),  # shown with its ending turned round
        ("\u2066a\u200eb\u00adc\ufeff", "abc"),
        # Persian: without the joiner it is misspelt.
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
        ("👩\u200d👧", "👩\u200d👧"),
        ("\u200d", "unnamed"),
        ("\x9b31m", "31m"),
        ("caf\udce9", "caf"),
    ],
)
def test_names_are_made_safe(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_long_names_are_cut_between_characters() -> None:
    name = safe_name("🎤" * 100)
    assert len(name.encode()) <= 200
    assert set(name) == {"🎤"}


@pytest.mark.parametrize("stem", ["n" * 251, "ü" * 125, "👩\u200d👧" * 22, "\udce9" * 251])
def test_made_names_fit_the_file_system(stem: str, tmp_path: Path) -> None:
    taken = tmp_path / f"{stem}.wav"
    taken.touch()
    for made in (free_path(taken), numbered(taken, 1000), part_path(taken), journal_path(taken)):
        made.touch()
        assert made.suffix in {".wav", ".journal"}
        assert not made.stem.rstrip(" ()0123456789").endswith("\u200d")


def test_each_file_of_a_long_name_has_its_own_journal(tmp_path: Path) -> None:
    paths = [tmp_path / f"{'n' * 249}{number}.wav" for number in range(2)]
    for path in paths:
        path.touch()
        Journal(path, target=path, tracks=("sound",)).give_up()
    assert find_orphans(tmp_path)[0] == tuple(paths)


def test_a_finished_file_gets_its_name_and_takes_no_other(tmp_path: Path) -> None:
    target = tmp_path / "message.opus"
    target.write_bytes(b"old")
    part = part_path(target)
    part.write_bytes(b"new")
    with pytest.raises(FileExistsError):
        publish(part, target)
    assert publish(part, target, number=True) == tmp_path / "message (2).opus"
    assert target.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "message (2).opus", target]


def test_overwriting_has_to_be_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "a.wav"
    target.write_bytes(b"old")
    part = part_path(target)
    part.write_bytes(b"new")
    assert publish(part, target, overwrite=True) == target
    assert target.read_bytes() == b"new"


def test_many_at_once_all_keep_their_place(tmp_path: Path) -> None:
    target = tmp_path / "same.opus"
    parts = []
    for number in range(16):
        part = tmp_path / f".{number}.part"
        part.write_text(str(number))
        parts.append(part)
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda part: publish(part, target, number=True), parts))
    assert len(set(paths)) == 16
    assert {path.read_text() for path in paths} == {str(number) for number in range(16)}


def test_without_links_nothing_is_replaced_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "a.wav"
    part = part_path(target)
    part.write_bytes(b"1")
    assert publish(part, target).read_bytes() == b"1"
    part.write_bytes(b"2")
    with pytest.raises(FileExistsError):
        publish(part, target)
    assert free_path(target).name == "a (2).wav"


def test_what_a_dead_process_left_is_cleared(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    dead = tmp_path / f".a.{process.pid}.part.opus"
    mine = part_path(tmp_path / "b.opus")
    other = tmp_path / ".hidden.part"
    for path in (dead, mine, other):
        path.touch()
    clear_parts(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted((mine, other))

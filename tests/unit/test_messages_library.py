"""The library: what is kept is found by every process, after every crash, and from the folders."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from capture.errors import CaptureError, ConfigError
from capture.messages import Library, Message, Origin, Passage, Query, entry_of, record
from capture.messages.journal import JOURNAL, append, read
from tests.unit.kept import MOMENT, full, make

if TYPE_CHECKING:
    from collections.abc import Iterator

assert sys.platform != "win32"  # for the type checker: it knows no pipes and signals there

KEEP = [sys.executable, "-m", "tests.unit.kept"]
TESTS = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user of one's own."""
    for name in ("data", "cache"):
        monkeypatch.setenv(f"CAPTURE_{name.upper()}_DIR", str(tmp_path / name))
    monkeypatch.setenv("XDG_MUSIC_DIR", str(tmp_path / "music"))
    return tmp_path / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "Stimmen 🎤"


@pytest.fixture
def library() -> Iterator[Library]:
    with Library() as opened:
        yield opened


def listed(library: Library) -> list[Message]:
    return list(library.messages())


# ------------------------------------------------------------------------------- kept, and found


def test_what_is_added_is_there_for_the_next_one(folder: Path) -> None:
    with Library() as library:
        added = [library.add(full(folder, f"{number}.opus", number))[0] for number in range(8)]
    with Library() as library:
        found = listed(library)
    assert sorted(found, key=lambda each: each.id) == sorted(added, key=lambda each: each.id)
    assert [each.moment for each in found] == sorted((m.moment for m in added), reverse=True)


def test_only_the_user_may_read_it(folder: Path, data: Path) -> None:
    data.mkdir(mode=0o755)
    (data / "messages").mkdir(mode=0o755)
    with Library() as library:
        library.add(make(folder))
    modes = {path.name: path.stat().st_mode & 0o777 for path in data.rglob("*")}
    assert modes == {"messages": 0o700, "messages.sqlite": 0o600, "folders": 0o600}
    assert (folder / JOURNAL).stat().st_mode & 0o777 == 0o600


def test_a_recorder_needs_no_store(folder: Path, library: Library, data: Path) -> None:
    message = make(folder)
    record([message])
    assert listed(library) == [message]
    assert (data / "messages" / "messages.sqlite").exists()


def test_the_same_content_is_one_message(folder: Path, library: Library) -> None:
    message = make(folder, sender="Anna")
    copy = folder.parent / "elsewhere" / "again.opus"
    copy.parent.mkdir()
    shutil.copy2(message.path, copy)
    library.add(message)
    other = make(copy.parent, "other.opus")
    shutil.copy2(message.path, other.path)
    again = library.add(
        Message(
            **{name: getattr(message, name) for name in message.__dataclass_fields__}
            | {"path": copy, "kept_at": message.kept_at + timedelta(seconds=1)}
        )
    )
    assert again == (message,)
    assert listed(library) == [message]
    library.index(copy.parent)
    assert listed(library) == [message]


def test_it_is_found_by_its_id_the_beginning_of_it_or_its_file(
    folder: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    message, _ = library.add(make(folder), make(folder, "two.opus"))
    monkeypatch.chdir(folder)
    for text in (message.id, message.id[:8].upper(), message.path, "one.opus", "./one.opus"):
        assert library.find(text) == message


@pytest.mark.parametrize("text", ["", "abc", "0000000000000000000", "%%%%", "nobody.opus", "\0"])
def test_what_is_not_there_is_not_found(folder: Path, library: Library, text: str) -> None:
    library.add(make(folder))
    with pytest.raises(ConfigError, match="there is no message"):
        library.find(text)


def test_an_id_that_fits_several_is_refused(folder: Path, library: Library) -> None:
    folder.mkdir()
    for number in range(2):
        name = f"{number}.opus"
        (folder / name).write_bytes(b"x")
        sha256 = f"abcdef{number}{0:057d}"
        append(folder, [{"path": name, "sha256": sha256, "origin": "heard"}])
    record([make(folder)])
    with pytest.raises(ConfigError, match="2 messages have an id that begins with abcdef"):
        library.find("abcdef")


def test_a_query_may_ask_for_all_at_once(folder: Path, library: Library) -> None:
    wanted = make(folder, "Zahnarzttermin.opus", sender="Jörg Müller", chat="Familie")
    others = [
        make(folder, "b.opus", sender="Jörg Müller", chat="Ruderclub"),
        make(folder, "c.opus", sender="Anna", chat="Familie", sent_at=MOMENT - timedelta(days=2)),
        make(folder, "d.opus", origin=Origin.EXTRACTED, app=None, sent_at=None),
    ]
    library.add(wanted, *others)

    def names(**asked: object) -> str:
        found = library.messages(Query(**asked))  # type: ignore[arg-type]
        return "".join(sorted(message.path.name[0] for message in found))

    assert names(sender="jorg") == "Zb"
    assert names(sender="mueller") == "Zb"
    assert names(words="mueller termin") == "Z"
    assert names(sender="JÖRG", chat="fam", app="whats", origin=Origin.HEARD) == "Z"
    assert names(until=MOMENT - timedelta(days=1)) == "c"
    assert names(since=MOMENT, until=MOMENT + timedelta(seconds=1)) == "Zb"
    assert names(origin=Origin.EXTRACTED) == "d"
    assert len(library.messages(Query(limit=2))) == 2


# -------------------------------------------------------------------------------- several at once


def keeping(folder: Path, first: int, count: int) -> subprocess.Popen[str]:
    command = [*KEEP, str(folder), str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TESTS)


def test_several_processes_lose_nothing_and_have_nothing_twice(folder: Path) -> None:
    processes = [keeping(folder, 100 * who, 20) for who in range(3)]
    with Library() as library:
        while any(process.poll() is None for process in processes):
            found = listed(library)
            assert len({message.id for message in found}) == len(found)
    said = []
    for process in processes:
        assert process.stdout is not None
        said += process.stdout.read().split()
        process.stdout.close()
        assert process.returncode == 0
    with Library() as library:
        assert sorted(message.id for message in listed(library)) == sorted(said)
        assert all(message.path.is_file() for message in listed(library))


def test_killed_at_any_moment_it_can_be_read(folder: Path, pytestconfig: pytest.Config) -> None:
    rounds = 20 if pytestconfig.getoption("full") else 4
    chance = random.Random(11)  # noqa: S311 - moments, no secrets
    said: list[str] = []
    for number in range(rounds):
        process = keeping(folder, 1000 * number, 1000)
        assert process.stdout is not None
        said += [process.stdout.readline().strip() for _ in range(chance.randrange(1, 12))]
        time.sleep(chance.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        said += [line.strip() for line in process.stdout if len(line) == 17]
        process.stdout.close()
        process.wait()
        with Library() as library:
            found = [*library.messages(), *library.messages(Query(is_deleted=True))]
            ids = [message.id for message in found]
            assert len(set(ids)) == len(ids)
            assert set(said) <= set(ids)
    with Library() as library:
        library.index()
        found = [*library.messages(), *library.messages(Query(is_deleted=True))]
        assert set(said) <= {message.id for message in found}
        for message in library.messages():
            assert message.path.is_file()
        before = listed(library)
        for path in (Path(os.environ["CAPTURE_DATA_DIR"]) / "messages").glob("messages.sqlite*"):
            path.unlink()
    with Library() as library:
        assert listed(library) == before


@pytest.mark.parametrize("rest", [b"", b"no database at all" * 100, None])
def test_a_store_that_is_damaged_is_made_anew(folder: Path, data: Path, rest: bytes | None) -> None:
    with Library() as library:
        library.add(*(full(folder, f"{number}.opus", number) for number in range(30)))
        before = listed(library)
    path = data / "messages" / "messages.sqlite"
    if rest is None:
        content = bytearray(path.read_bytes())
        content[4096 : 4096 + 8192] = os.urandom(8192)
        path.write_bytes(content)
    else:
        path.write_bytes(rest)
    with Library() as library:
        assert listed(library) == before


# ------------------------------------------------------------------------------ made of the folders


def test_without_the_store_every_message_is_unchanged_in_every_field(
    tmp_path: Path, data: Path
) -> None:
    folders = [tmp_path / "music" / "Voice messages", tmp_path / "a", tmp_path / "a" / "b ü"]
    with Library() as library:
        library.add(*(full(folders[n % 3], f"{n}.opus", n) for n in range(60)))
        for message in listed(library)[::7]:
            library.change(message, sender="Änne", transcript=(Passage("neu", 1.0, 2.0),))
        library.purge(*listed(library)[::11])
        before = listed(library)
        deleted = library.delete(before.pop())
    shutil.rmtree(data / "messages")
    with Library() as library:
        library.index(tmp_path)
        assert listed(library) == before
        assert library.messages(Query(is_deleted=True)) == (deleted,)
    (data / "messages" / "messages.sqlite").unlink()  # the folders are remembered
    with Library() as library:
        assert listed(library) == before


def test_a_folder_that_was_moved_is_found_where_it_is_named(tmp_path: Path) -> None:
    with Library() as library:
        library.add(*(full(tmp_path / "old" / "Anna", f"{n}.opus", n) for n in range(5)))
        before = listed(library)
        (tmp_path / "old").rename(tmp_path / "new")
        assert listed(library) == before  # a disk that is not there just now
        found = library.index(tmp_path / "new")
        after = listed(library)
        assert [(m.id, m.path.parent) for m in after] == [
            (m.id, tmp_path / "new" / "Anna") for m in before
        ]
        assert not found.missing


@pytest.mark.parametrize("is_other_folder", [False, True])
def test_a_file_that_was_renamed_or_moved_by_hand_is_found(
    tmp_path: Path, *, is_other_folder: bool
) -> None:
    with Library() as library:
        (message,) = library.add(full(tmp_path / "a", "1.opus", 1))
        target = tmp_path / ("b" if is_other_folder else "a") / "Mutter.opus"
        target.parent.mkdir(exist_ok=True)
        message.path.rename(target)
        assert library.index(tmp_path / "b" if is_other_folder else tmp_path).moved == 1
        (found,) = listed(library)
        assert entry_of(found) == entry_of(message) | {"path": "Mutter.opus"}
        assert found.path == target
        assert library.index().moved == 0  # it is written down
        library.purge(found)
        assert not any(b"Anna" in path.read_bytes() for path in tmp_path.rglob(JOURNAL))


def test_a_file_that_was_removed_by_hand_is_no_message_any_more(folder: Path) -> None:
    with Library() as library:
        gone, there = library.add(make(folder), make(folder, "two.opus"))
        content = gone.path.read_bytes()
        gone.path.unlink()
        assert library.index().missing == [gone]
        assert listed(library) == [there]
        library.purge(there)  # the journal is read anew: the other one stays out
        assert listed(library) == []
        gone.path.write_bytes(content)
        library.index()
        assert listed(library) == [gone]


def test_a_file_that_another_program_changed_is_still_that_message(folder: Path) -> None:
    with Library() as library:
        (message,) = library.add(make(folder, sender="Anna"))
        message.path.write_bytes(b"shorter")
        library.index()
        (changed,) = listed(library)
        assert (changed.id, changed.sender) == (message.id, "Anna")
        assert changed.sha256 != message.sha256
        assert changed.size_bytes == 7


def test_a_file_of_the_same_name_is_another_message(folder: Path, library: Library) -> None:
    """As `extract --force` makes it."""
    (old,) = library.add(make(folder))
    (new,) = library.add(make(folder))
    assert old.id != new.id
    assert listed(library) == [new]
    library.index()
    assert listed(library) == [new]


def test_files_that_nobody_knows_are_no_messages(folder: Path, library: Library) -> None:
    library.add(make(folder))
    for name in ("song.mp3", "note.txt", "broken.wav"):
        (folder / name).write_bytes(os.urandom(100))
    (folder / "below").mkdir()
    assert library.index(folder).found == 0
    assert len(listed(library)) == 1


def test_lines_of_another_hand_are_passed_over(folder: Path, library: Library) -> None:
    (message,) = library.add(make(folder))
    append(folder, [{"path": "../../x", "sha256": "0" * 64, "origin": "heard"}, {"future": 1}])
    assert listed(library) == [message]
    library.index()
    assert listed(library) == [message]
    library.purge(message)
    assert {"future": 1} in read(folder).entries


def test_a_folder_that_cannot_be_written_to_is_listed_all_the_same(
    folder: Path, library: Library
) -> None:
    message = make(folder)
    (folder / "Mutter.opus").write_bytes(message.path.read_bytes())
    record([message])
    message.path.unlink()
    (folder / JOURNAL).rename(folder.parent / "journal")
    (folder / JOURNAL).symlink_to(folder.parent / "journal")  # refused, also to root
    with pytest.raises(CaptureError):
        library.change(message, sender="Anna")
    assert not library.index(folder).moved


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, library: Library) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        library.index(tmp_path / "gone")


# ------------------------------------------------------------------------------------------ deleted


def raw(*folders: Path) -> bytes:
    return b"".join(p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file())


def wordy(folder: Path, number: int, chance: random.Random) -> Message:
    """A message whose every word says whose it is."""
    length = chance.choice([3, 30, 300, 3000])
    text = " ".join(f"{chance.getrandbits(48):x}~~{number}~~" for _ in range(length))
    return make(folder, f"{number}.opus", transcript=(Passage(text),), sender=f"by ~~{number}~~")


def mentioned(content: bytes, messages: list[Message]) -> set[str]:
    """The messages of which any word, their peaks or their id is in it, by their file's name."""
    found = {f"{int(number)}.opus" for number in re.findall(rb"~~(\d+)~~", content)}
    without_sums = re.sub(rb"[0-9a-f]{64}", b"", content)
    for message in messages:
        for trace in (entry_of(message)["peaks"].encode(), message.id.encode()):
            if trace in without_sums:
                found.add(message.path.name)
    return found


def test_nothing_of_a_deleted_message_is_left_in_any_file(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    chance = random.Random(5)  # noqa: S311 - words, no secrets
    with Library() as library, Library() as other:
        kept = list(library.add(*(wordy(folder, number, chance) for number in range(150))))
        for number in range(0, 150, 3):  # pages are split and joined, and rows grow
            kept[number] = library.change(kept[number], chat="x" * chance.randrange(5000))
        chance.shuffle(kept)
        doomed, staying = kept[:40], kept[40:]
        assert mentioned(raw(data), kept) == {f"{number}.opus" for number in range(150)}
        library.purge(*doomed[:20])
        for one in doomed[20:]:
            other.delete(one)
        other.purge_overdue(older_than_s=-1)
        assert mentioned(raw(tmp_path), kept) == {one.path.name for one in staying}
        assert all(one.sha256.encode() in raw(folder) for one in doomed)
        assert sorted(m.id for m in listed(library)) == sorted(m.id for m in staying)
        assert not any(one.path.exists() or one.hidden_path.exists() for one in doomed)


def test_a_deletion_can_be_undone(folder: Path, library: Library) -> None:
    message = full(folder, "1.opus", 3)
    content = message.path.read_bytes()
    library.add(message)
    deleted = library.delete(message)
    assert listed(library) == []
    assert not message.path.exists()
    assert library.delete(message) == deleted  # a double click
    with Library() as other:
        assert other.undo(deleted) == message
    assert listed(library) == [message]
    assert message.path.read_bytes() == content
    with pytest.raises(ConfigError, match="is not deleted"):
        library.undo(message)


def test_undone_it_takes_no_other_ones_name(folder: Path, library: Library) -> None:
    (message,) = library.add(make(folder))
    content = message.path.read_bytes()
    library.delete(message)
    (other,) = library.add(make(folder))
    back = library.undo(library.find(message.id))
    assert back.path.name == "one (2).opus"
    assert back.path.read_bytes() == content
    assert set(listed(library)) == {back, other}


def test_when_its_time_is_over_it_is_gone_for_good(folder: Path, library: Library) -> None:
    (message,) = library.add(make(folder))
    deleted = library.delete(message)
    assert deleted.deleted_at is not None
    record([library.change(deleted, deleted_at=deleted.deleted_at - timedelta(hours=1))])
    with Library() as later:
        with pytest.raises(ConfigError, match="there is no message"):
            later.undo(message)
        assert later.was_deleted(message.sha256)
    assert [path.name for path in folder.iterdir()] == [JOURNAL]


def test_another_file_of_its_name_is_not_deleted_with_it(folder: Path, library: Library) -> None:
    (message,) = library.add(make(folder))
    message.path.write_bytes(b"mine, and not that message")
    library.purge(library.delete(message))
    assert message.path.read_bytes() == b"mine, and not that message"


def test_sums_stop_a_second_import_until_they_are_forgotten(folder: Path, library: Library) -> None:
    first, second, _ = library.add(*(make(folder, f"{n}.opus") for n in range(3)))
    library.purge(first)
    library.purge(second)
    with Library() as other:
        assert other.was_deleted(first.sha256)
        assert other.was_deleted(second.sha256)
        assert other.with_content(first.sha256) is None
        assert other.forget() == 2
    assert not library.was_deleted(first.sha256)
    assert len(listed(library)) == 1
    assert first.sha256.encode() not in raw(folder)


@pytest.mark.parametrize("moment", ["before it is hidden", "before it is shown"])
def test_a_deletion_that_was_cut_off_can_be_undone(folder: Path, moment: str) -> None:
    """The journal comes first; the file follows, or a later look finds it."""
    with Library() as library:
        (message,) = library.add(make(folder))
        if moment == "before it is hidden":
            deleted = library.delete(message)
            deleted.hidden_path.rename(message.path)
            assert library.undo(deleted) == message
        else:
            library.delete(message)
            record([message])
    with Library() as library:
        assert listed(library) == [message]
    assert message.path.exists()
    assert not message.hidden_path.exists()


def test_nothing_is_remembered_where_that_is_switched_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from capture.messages import is_enabled  # noqa: PLC0415

    assert is_enabled()
    for word in ("off", "OFF", "0", "no"):
        monkeypatch.setenv("CAPTURE_LIBRARY", word)
        assert not is_enabled()
    assert not folder.exists()

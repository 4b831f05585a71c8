"""Recordings that are killed at random moments: each opens, lost little, and becomes clean."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from capture import journal
from capture.cli.app import run
from capture.errors import CaptureError, DamagedFileError, MediaError, OutputError
from capture.journal import Journal, find_orphans, is_recording, journal_path, read_journal
from capture.media.check.recover import measure, recover
from capture.media.write.mux import container_of
from tests.media.films import read_picture_times, read_pictures, read_sound
from tests.media.handed import Handed

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDINGS = (".mp4", ".mkv", ".webm", ".m4a", ".opus", ".mka", ".flac", ".wav")
ALL_MOMENTS, QUICK_MOMENTS = 20, 3
MAX_LOSS_S = 1.5
STEP_S = 0.02
"""Tracks of a recovered file end at most so far apart."""
ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def recording(kind: str, *paths: Path) -> Iterator[tuple[subprocess.Popen[str], Handed]]:
    """A recorder in a process of its own, killed in the end, and what its files were given."""
    numbers = paths[0].with_name("handed")
    handed = Handed(paths, numbers)
    command = [sys.executable, "-m", "tests.media.recorder", kind, str(numbers), *map(str, paths)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        numbers.unlink()  # both have it open
        yield process, handed
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@dataclass(frozen=True)
class Killed:
    path: Path
    moment: str
    handed_s: float
    """Up to where the file had been given all its tracks when the recorder was killed."""


@pytest.fixture(scope="module")
def killed(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Killed]]:
    """Files of every container, killed together at random moments; by their endings."""
    seed = int(os.environ.get("CAPTURE_SEED", random.randrange(1 << 32)))  # noqa: S311 - no secret
    print(f"moments drawn with CAPTURE_SEED={seed}")  # noqa: T201 - to run it again
    draw = random.Random(seed)  # noqa: S311 - no secret
    count = ALL_MOMENTS if pytestconfig.getoption("full") else QUICK_MOMENTS
    files: dict[str, list[Killed]] = {ending: [] for ending in ENDINGS}
    for number in range(count):
        folder = tmp_path_factory.mktemp("killed")
        paths = [folder / f"cut{ending}" for ending in ENDINGS]
        kind, length_s = ("still", "moving")[number % 2], draw.uniform(1.8, 5.0)
        with recording(kind, *paths) as (process, handed):
            time.sleep(draw.random())
            handed.wait(length_s)
            process.kill()
            process.wait()
        for path in paths:
            handed_s = handed.end_s(path)
            moment = f"{kind} {handed_s:.2f} s, seed {seed}"
            files[path.suffix].append(Killed(path, moment, handed_s))
    return files


@pytest.mark.timeout(400)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_killed_recording_opens_lost_little_and_becomes_clean(
    ending: str, killed: dict[str, list[Killed]]
) -> None:
    worst_s = 0.0
    for one in killed[ending]:
        before = one.path.read_bytes()
        left = measure(one.path)
        entry = read_journal(one.path)
        assert entry is not None
        assert len(left.ends_s) == len(entry.tracks)
        lost_s = one.handed_s - min(left.ends_s)
        worst_s = max(worst_s, lost_s)
        assert lost_s <= MAX_LOSS_S, one.moment
        assert left.length_s >= entry.media_s - MAX_LOSS_S, one.moment
        clean = recover(one.path)
        assert not clean.warnings, one.moment
        assert one.path.read_bytes() == before
        assert not journal_path(one.path).exists()
        assert min(left.ends_s) - STEP_S <= clean.tracks.length_s <= left.length_s + STEP_S
        assert max(clean.tracks.ends_s) - min(clean.tracks.ends_s) <= STEP_S, one.moment
        with av.open(str(clean.path)) as container:
            header_s = (container.duration or 0) / av.time_base
        assert header_s == pytest.approx(clean.tracks.length_s, abs=0.03), one.moment
        assert read_sound(clean.path).start_s == pytest.approx(
            read_sound(one.path).start_s, abs=0.001
        )
        if container_of(one.path).video_encoder:
            times = read_picture_times(clean.path)
            assert times == sorted(set(times))
            assert times == pytest.approx(read_picture_times(one.path)[: len(times)], abs=0.001)
    print(f"{ending}: worst loss {worst_s:.2f} s of {len(killed[ending])}")  # noqa: T201


@pytest.fixture(scope="module")
def orphan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A killed film that the tests copy."""
    path = tmp_path_factory.mktemp("orphan") / "film.mp4"
    with recording("moving", path) as (process, handed):
        handed.wait(4.3)
        process.kill()
    return path


@pytest.fixture
def film(orphan: Path, tmp_path: Path) -> Path:
    """A killed film with its journal, in a folder of its own."""
    shutil.copy(journal_path(orphan), journal_path(tmp_path / "film.mp4"))
    return Path(shutil.copy(orphan, tmp_path))


def test_what_is_being_recorded_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "film.mkv"
    with recording("moving", path) as (process, _):
        assert is_recording(path)
        assert find_orphans(tmp_path) == ((), (path,))
        with pytest.raises(MediaError, match="being recorded") as caught:
            recover(path, in_place=True)
        assert caught.value.hint
        assert run(["recover", str(path)]) == 1
        assert run(["recover", str(tmp_path)]) == 0
        assert "nothing to recover" in capsys.readouterr().err
        process.kill()
        # Ended, and not yet waited for by us: a zombie is no recorder.
        for _ in range(100):
            if not is_recording(path):
                break
            time.sleep(0.01)
        assert find_orphans(tmp_path) == ((path,), ())


def test_a_clean_end_leaves_no_journal(tmp_path: Path) -> None:
    from capture import AudioSpec, RecordingSpec, Session  # noqa: PLC0415

    path = tmp_path / "a.wav"
    with Session(RecordingSpec(path, None, (AudioSpec("synthetic"),))) as session:
        deadline = time.monotonic() + 5
        while read_journal(path) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert find_orphans(tmp_path) == ((), (path,))
        time.sleep(0.3)
        session.stop()
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_a_folder_is_looked_through(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recover", str(film.parent)]) == 0
    shown = capsys.readouterr()
    assert shown.out.strip() == str(film.with_name("film.recovered.mp4"))
    assert re.search(r"picture [34]\.", shown.err)
    assert run(["recover", str(film.parent)]) == 0
    assert "nothing to recover" in capsys.readouterr().err


@pytest.mark.parametrize("which", ["default_folder", "default_voice_folder"])
def test_the_default_folders_and_those_in_them_are_looked_through(
    film: Path, which: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = film.parent / "job"
    job.mkdir()
    shutil.move(journal_path(film), job)
    film = Path(shutil.move(film, job))
    for name in ("default_folder", "default_voice_folder"):
        folder = job.parent if name == which else job / "missing"
        monkeypatch.setattr(f"capture.cli.recover.{name}", lambda folder=folder: folder)
    assert run(["recover", "--json"]) == 0
    (done,) = json.loads(capsys.readouterr().out)["recovered"]
    assert done["path"] == str(film.with_name("film.recovered.mp4"))
    assert done["tracks"]["names"] == ["picture", "test tone"]


def test_in_place_replaces_the_file(film: Path) -> None:
    before = measure(film)
    done = recover(film, in_place=True)
    assert done.path == film
    assert [p.name for p in film.parent.iterdir()] == ["film.mp4"]
    assert min(before.ends_s) - STEP_S <= measure(film).length_s <= before.length_s + STEP_S
    data = film.read_bytes()
    assert b"moof" not in data
    assert data.index(b"moov") < data.index(b"mdat"), "an ordinary MP4, its index in front"


def test_a_file_without_a_journal_and_an_odd_name(film: Path) -> None:
    odd = film.rename(film.with_name("Ünïcödé - 录音 'x'.mp4"))
    assert recover(odd).path.name == "Ünïcödé - 录音 'x'.recovered.mp4"
    assert recover(odd, in_place=True).journal_s is None


def test_an_existing_file_is_never_overwritten(film: Path) -> None:
    taken = film.with_name("film.recovered.mp4")
    taken.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists"):
        recover(film)
    assert taken.read_bytes() == b"precious"
    assert journal_path(film).exists()
    assert len(list(film.parent.iterdir())) == 3


def test_an_overwriting_recording_that_was_cut_off(film: Path) -> None:
    # --overwrite writes beside the old file until the new one is whole.
    new = film.rename(film.with_name("film.new.mp4"))
    film.write_bytes(b"precious")
    known = json.loads(journal_path(film).read_text())
    journal_path(new).write_text(json.dumps(known | {"file": new.name}))
    journal_path(film).unlink()
    assert recover(new).path.name == "film.recovered.mp4"
    assert film.read_bytes() == b"precious"


def check_last_picture(clean: Path, source: Path) -> None:
    """What is shown at the end was recorded then, not half of it."""
    at_s, last = read_pictures(clean)[-1]
    (recorded,) = [shown for when_s, shown in read_pictures(source) if abs(when_s - at_s) < 0.002]
    assert np.array_equal(last, recorded)


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_cut_by_hand(
    ending: str, killed: dict[str, list[Killed]], tmp_path: Path, subtests: Any
) -> None:
    one = killed[ending][1]  # that moves: most of a still film is its first picture
    data, whole_s = one.path.read_bytes(), measure(one.path).length_s
    for part in (0.98, 0.6, 0.35):
        left = data[: round(len(data) * part)]
        if b"moof" in data and left.count(b"moof") < 2:
            continue  # not even the first second is whole, and the index comes with it
        with subtests.test(part=part):
            path = tmp_path / f"{part}{ending}"
            path.write_bytes(left)
            done = recover(path)
            assert 0.1 * part * whole_s < done.tracks.length_s <= whole_s
            read_sound(done.path)
    # Within the pictures of a fragment, within its sound, right behind the header of its header.
    places = [round(len(data) * part) for part in (0.5, 0.6, 0.7, 0.8, 0.9)]
    places += [data.rfind(b"moof") + 4] * (b"moof" in data)
    for kept in places:
        if b"moof" in data and data[:kept].count(b"moof") < 2:
            continue
        with subtests.test("its end is zeros, as after a power cut", kept=kept):
            path = tmp_path / f"zeros {kept}{ending}"
            path.write_bytes(data[:kept] + bytes(len(data) - kept))
            done = recover(path)
            assert done.tracks.length_s > 0.4 * kept / len(data) * whole_s
            assert not done.warnings or "damaged" in done.warnings[0]
            if container_of(path).video_encoder == "libx264":
                check_last_picture(done.path, one.path)


def test_a_fragment_that_never_reached_the_disk_is_told(film: Path) -> None:
    # A power cut loses what was written last in any order: a later fragment may be there.
    data = bytearray(film.read_bytes())
    begins = [at for at in range(len(data)) if data[at : at + 4] == b"moof"]
    assert len(begins) >= 3
    torn = begins[-2]
    length = int.from_bytes(data[torn - 4 : torn], "big")
    data[torn + 4 : torn - 4 + length] = bytes(length - 8)
    film.write_bytes(data)
    done = recover(film)
    (warning,) = done.warnings
    assert re.fullmatch(r"[01]\.\d s are missing at \d\.\d s", warning)
    assert done.tracks.length_s > 2.5


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.mp4", b"some text\n" * 100, "cannot be read"),
        ("empty.mkv", b"", "is empty"),
        ("head.mp4", b"\0\0\0\x1cftypisom", "cannot be read"),
        ("gone.mp4", None, "no file"),
        ("words.txt", b"text", "no recording can have a name with"),
    ],
)
def test_what_cannot_be_recovered_is_said_in_one_sentence(
    name: str, content: bytes | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CaptureError, match=said) as caught:
        recover(path)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert [p.name for p in tmp_path.iterdir()] == ([name] if content is not None else [])


def test_some_of_several_fail(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recover", str(film), str(film.with_name("gone.mp4"))]) == 3
    shown = capsys.readouterr()
    assert shown.out.strip().endswith("film.recovered.mp4")
    assert "error: there is no file" in shown.err
    assert run(["recover", str(film.parent), "--in-place"]) == 0


def test_record_mentions_what_was_cut_off(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--no-video", "--audio", "synthetic", "--duration", "0.3s"]
    assert run(["record", str(film.with_name("a.wav")), *words]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "recover" in line]
    assert f"`capture recover {film}`" in line


def test_a_number_that_was_given_again_is_not_the_recorder(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    Journal(path, target=path, tracks=("picture",)).update(0, 0)
    assert is_recording(path)
    entry = read_journal(path)
    assert entry is not None
    for change in ({"pid_started": 1}, {"boot_id": "another"}, {"pid": None}):
        other = replace(entry, **change)
        journal_path(path).write_text(json.dumps(asdict(other)))
        assert is_recording(path) is (sys.platform != "linux" and "pid" not in change)


def test_on_another_machine_a_journal_that_is_kept_up_is_a_recorder(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    Journal(path, target=path, tracks=("picture",)).update(0, 0)
    entry = read_journal(path)
    assert entry is not None
    journal_path(path).write_text(json.dumps(asdict(replace(entry, host="elsewhere"))))
    assert is_recording(path)
    old_s = time.time() - journal.STALE_AFTER_S - 1
    os.utime(journal_path(path), (old_s, old_s))
    assert not is_recording(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 1}', "no json", "null"])
def test_a_journal_that_makes_no_sense_is_none(text: str, film: Path) -> None:
    journal_path(film).write_text(text)
    assert read_journal(film) is None
    assert recover(film).journal_s is None


def test_a_journal_that_cannot_be_written_harms_nothing(tmp_path: Path) -> None:
    kept = Journal(tmp_path / "gone" / "film.mp4", target=tmp_path / "film.mp4", tracks=())
    kept.update(1, 1)
    kept.give_up()
    kept.remove()
    assert list(tmp_path.iterdir()) == []


def test_damage_before_the_end_is_refused(film: Path) -> None:
    data = film.read_bytes()
    film.write_bytes(data[:2000])
    with pytest.raises(DamagedFileError):
        recover(film)

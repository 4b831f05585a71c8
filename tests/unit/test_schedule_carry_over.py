"""A database that version 1 has made becomes one of today, with its history.

``data/schedule-1.sql`` was made by the commands of version 1 themselves, and is as they left it.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capture.cli.app import run
from capture.cli.schedule_words import parse_words
from capture.errors import OutputError
from capture.geometry import Rect
from capture.schedule.carry_over import carry_over
from capture.schedule.jobs import Missed, Overlap, Status, place_of
from capture.schedule.lock import Lock
from capture.schedule.store import EarlierVersionError, Store, default_path
from capture.specs.recording import AudioSpec, RecordingSpec, Rule, TrackMode, VideoSpec
from capture.specs.target import Region, TestCard, Window
from capture.specs.voice import GateSpec, SoundFileSpec, VoiceSpec

DUMP = Path(__file__).parent / "data" / "schedule-1.sql"
SYSTEM = AudioSpec("system")


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The usual schedule, of version 1."""
    monkeypatch.setenv("CAPTURE_DATA_DIR", str(tmp_path / "data"))
    path = default_path()
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DUMP.read_text("utf-8"))
        connection.execute("PRAGMA journal_mode = WAL")
    return path


def usual(name: str, ending: str = ".mp4") -> Path:
    return place_of(None, name).folder / f"{name}{ending}"


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def rows(path: Path, table: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - ours


def change(path: Path, name: str, before: str, after: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE jobs SET settings = replace(settings, ?, ?) WHERE name = ?",
            (before, after, name),
        )


def test_every_job_is_there_afterwards_and_so_is_the_history(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, history = dump(old), [rows(old, table) for table in ("runs", "recordings")]
    with pytest.raises(EarlierVersionError, match="an earlier version"):
        Store(old)
    assert dump(old) == before
    assert run(["schedule", "list"]) == 0
    copy = old.with_name("schedule.sqlite.version-1")
    assert f"as it was it is in {copy}" in capsys.readouterr().err
    assert dump(copy) == before
    assert [rows(old, table) for table in ("runs", "recordings")] == history
    expected = {
        "algebra": RecordingSpec(
            "/home/me/Lectures/algebra.mkv",  # type: ignore[arg-type]
            VideoSpec(Window("Zoom"), fps=15.0, with_cursor=False),
            (SYSTEM, AudioSpec("mic")),
            TrackMode.SEPARATE,
            duration_s=5400.0,
        ),
        "page": RecordingSpec(
            usual("page"),
            duration_s=600.0,
            private_desktop=(1280, 720),
            command=("sh", "-c", "sleep 5; exit 0"),
        ),
        "voicemail": VoiceSpec(
            "/home/me/Voicemail",  # type: ignore[arg-type]
            "app:Firefox",
            SoundFileSpec(messenger="whatsapp"),
            GateSpec(threshold_dbfs=-45.0, hold_s=2.0),
            "{date} {app}",
            duration_s=36_000.0,
            stop_when=(Rule("window-closed", "Mail"),),
        ),
        "sample": RecordingSpec(
            usual("sample", ".m4a"),
            None,
            (AudioSpec("system:out"),),
            duration_s=600.0,
            is_strict=True,
        ),
        "rules": RecordingSpec(
            usual("rules"),
            VideoSpec(Region(Rect(0, 0, 640, 480)), quality="lossless"),
            (),
            start_when=(Rule("window", "Mail"),),
            start_within_s=600.0,
            stop_when=(Rule("size", amount=1e9), Rule("window-closed")),
            max_size_bytes=2_000_000_000,
            split_every_s=600.0,
        ),
        "listen": VoiceSpec(
            place_of(None, "listen").folder, "mic", count=1, idle_s=300.0, library=False
        ),
        "card": RecordingSpec(
            usual("card"),
            VideoSpec(TestCard(320, 240)),
            (AudioSpec("synthetic"),),
            audio_codec="opus",
            duration_s=1.0,
        ),
        "bad": RecordingSpec(usual("bad"), VideoSpec(Window("nobody")), duration_s=1.0),
    }
    with Store() as store:
        jobs = {job.name: job for job in store.jobs()}
        assert {name: job.spec for name, job in jobs.items()} == expected
        assert [name for name, job in jobs.items() if job.is_paused] == ["rules"]
        assert not [name for name, job in jobs.items() if job.problem]
        algebra, page = jobs["algebra"], jobs["page"]
        assert (algebra.when, algebra.zone, algebra.id) == ("tuesdays 10:15", "Europe/Berlin", 1)
        assert (algebra.runs_left, algebra.retries, algebra.retry_wait_s) == (14, 5, 30.0)
        assert algebra.on_fail == 'echo "$CAPTURE_MESSAGE"'
        assert (page.missed, page.grace_s, page.keep) == (Missed.RUN_LATE, 28_800.0, 30)
        assert jobs["voicemail"].until_s == 1_893_456_000.0
        assert jobs["sample"].overlap is Overlap.QUEUE
        assert [each.status for each in store.runs(jobs["card"])] == [Status.DONE] * 4
        (failed,) = store.runs(jobs["bad"])
        assert (failed.status, failed.message) == (
            Status.FAILED,
            'no window has "nobody" in its title',
        )
        assert len(store.recordings(jobs["card"])) == 2
        assert store.add(replace(page, id=0, name="new")).id == 9
        assert "alarms" not in "".join(dump(old))
    assert carry_over(old, parse_words) is None  # it is done


def test_a_job_whose_words_make_no_sense_any_more_is_kept_and_says_why(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(old, "card", "--audio-codec", "--sound-codec")
    change(old, "listen", "--once", "--count-of")
    assert run(["schedule", "list"]) == 0
    assert "warning: card: the job's options make no sense now" in capsys.readouterr().err
    with Store() as store:
        card, listen = store.job("card"), store.job("listen")
        assert card.is_paused
        assert "--sound-codec" in (card.problem or "")
        assert (card.problem or "").endswith("320x240 --audio synthetic --sound-codec opus")
        assert card.spec == RecordingSpec(usual("card"), duration_s=1.0)
        assert isinstance(listen.spec, VoiceSpec)
        assert len(store.runs(card)) == 4
        assert len([job for job in store.jobs() if job.problem]) == 2
    for command in ("resume", "run"):
        assert run(["schedule", command, "card"]) == 2
        assert "make no sense now" in capsys.readouterr().err
    assert run(["schedule", "edit", "card", "--", "--test-card", "320x240"]) == 0
    assert run(["schedule", "resume", "card"]) == 0
    with Store() as store:
        card = store.job("card")
        assert (card.problem, card.is_paused, card.for_s) == (None, False, 1.0)


def test_nothing_is_changed_under_a_daemon(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = dump(old)
    with Lock(old):
        assert run(["schedule", "list"]) == 1
    assert "serves the schedule, and may be of an earlier version" in capsys.readouterr().err
    assert dump(old) == before
    assert not old.with_name("schedule.sqlite.version-1").exists()


def test_two_programs_at_once_do_it_once(old: Path) -> None:
    copies = []
    threads = [
        threading.Thread(target=lambda: copies.append(carry_over(old, parse_words))) for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(bool, copies)) == [False, True]
    with Store(old) as store:
        assert len(store.jobs()) == 8


def test_what_fails_on_the_way_changes_nothing(old: Path) -> None:
    before = dump(old)
    change(old, "card", "words", "wrods")

    def parse(*_: object) -> RecordingSpec:
        raise OSError("the disk is full")

    with pytest.raises(OutputError, match="cannot be carried over: the disk is full"):
        carry_over(old, parse)
    change(old, "card", "wrods", "words")
    assert dump(old) == before

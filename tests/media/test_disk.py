"""Recordings whose disk fails: they end with a clear error, and what was written stays."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import time
from collections import namedtuple
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from capture import AudioSpec, Event, EventKind, RecordingSpec, Session, TestCard, VideoSpec
from capture.errors import OutputError
from capture.live.disk import DiskWatch
from capture.media.check.recover import measure, recover
from capture.media.write.mux import FileSink, container_of
from tests.media.disks import mounted
from tests.media.films import read_sound
from tests.media.handed import Handed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ENDINGS = (".mp4", ".mkv", ".webm", ".m4a", ".opus", ".mka", ".flac", ".wav")
LOST_S = 1.5
"""Of what a file was given, where its end could not be written."""
STEP_S = 0.02
"""Tracks of a recovered file end at most so far apart."""
Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - what shutil.disk_usage gives


def spec(path: Path, **changes: Any) -> RecordingSpec:
    """A small film, or sound alone where the ending says so."""
    video = None if container_of(path).is_audio_only else VideoSpec(TestCard(640, 360))
    return RecordingSpec(path, **({"video": video, "audio": (AudioSpec("synthetic"),)} | changes))


def failed(session: Session, within_s: float = 10.0) -> OutputError:
    """The error with which a running session ends by itself."""
    with pytest.raises(OutputError) as caught:
        session.wait(within_s)
    assert session.wait_for_stop(0), "it did not end by itself"
    return caught.value


def check_kept(
    session: Session, error: OutputError, path: Path, handed_s: float, lost_s: float = LOST_S
) -> None:
    """The error and the result say what is in the file, and of what it was given little is lost."""
    assert error.hint is not None
    assert f"are kept in {path}" in error.hint
    result = session.result
    assert result is not None
    assert result.paths == (path,)
    assert result.stopped_by == "error"
    assert result.size_bytes == path.stat().st_size
    kept = measure(path)
    assert kept.length_s == pytest.approx(result.duration_s, abs=0.1)
    assert min(kept.ends_s) >= handed_s - lost_s
    assert read_sound(path).end_s >= handed_s - lost_s


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    yield from mounted(tmp_path / "disk", "4m")


@pytest.fixture
def _blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotas and network disks: what is said to be free is not."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(1 << 40, 0, 1 << 40))


class Start(Protocol):
    """Starts a recording to each path, all at once, and notes what these or ``files`` are given."""

    def __call__(
        self, *paths: Path, files: Sequence[Path] = (), **changes: Any
    ) -> tuple[dict[Path, Session], Handed]: ...


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    def begin(
        *paths: Path, files: Sequence[Path] = (), **changes: Any
    ) -> tuple[dict[Path, Session], Handed]:
        handed = Handed(files or paths)
        monkeypatch.setattr(FileSink, "push", handed.noting(FileSink.push))
        sessions = {path: Session(spec(path, **changes)) for path in paths}
        for session in sessions.values():
            session.start()
        return sessions, handed

    return begin


@pytest.mark.usefixtures("_blind")
def test_a_full_disk_keeps_what_was_written(small_disk: Path, start: Start) -> None:
    filler = small_disk / "filler"
    sessions, handed = start(*(small_disk / f"film{ending}" for ending in ENDINGS))
    handed.wait(1.8)
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    for path, session in sessions.items():
        error = failed(session)
        assert "the disk is full" in error.message
        check_kept(session, error, path, handed.end_s(path))
    filler.unlink()
    for path in sessions:
        left = measure(path)
        kept_s = recover(path, in_place=True).tracks.length_s
        assert min(left.ends_s) - STEP_S <= kept_s <= left.length_s + STEP_S
    assert {p.name for p in small_disk.iterdir()} == {path.name for path in sessions}


@pytest.mark.parametrize("ending", [".mp4", ".wav"])
def test_a_limit_of_the_size_of_files(ending: str, tmp_path: Path, start: Start) -> None:
    resource: Any = pytest.importorskip("resource", reason="this system has no such limit")
    path = tmp_path / f"film{ending}"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sessions, handed = start(path)
    session = sessions[path]
    try:
        handed.wait(1.5)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20_000, hard))
        error = failed(session)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        session.stop()
    assert "holds no larger file" in error.message
    check_kept(session, error, path, handed.end_s(path))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.EIO, "the disk reports an error"),
        (errno.EROFS, "read-only"),
        (errno.EDQUOT, "quota"),
    ],
)
def test_a_disk_that_fails(code: int, said: str, tmp_path: Path, start: Start) -> None:
    # No machine lets a test remount its disk under an open file: the library's answer is given.
    path = tmp_path / "film.mkv"
    sessions, handed = start(path)
    session = sessions[path]
    handed.wait(1.8)
    assert session._segments is not None
    segment: Any = session._segments.segment(0)
    writer = segment.file
    writer._container = _Failing(writer._container, OSError(code, os.strerror(code)))
    error = failed(session)
    assert said in error.message
    check_kept(session, error, path, handed.end_s(path))


class _Failing:
    """A container that takes nothing more."""

    def __init__(self, container: Any, error: OSError) -> None:
        self._container = container
        self._error = error

    def mux_one(self, _packet: Any) -> None:
        raise self._error

    def close(self) -> None:
        self._container.close()


def test_a_folder_that_is_deleted_is_saved_with_what_was_recorded(
    tmp_path: Path, start: Start
) -> None:
    folder = tmp_path / "my films"
    sessions, handed = start(*(folder / f"film{ending}" for ending in ENDINGS))
    handed.wait(1.0)
    shutil.rmtree(folder)
    for path, session in sessions.items():
        assert session.wait_for_stop(30)  # a second after it is noticed
        error = failed(session)
        assert "was deleted or moved away" in error.message
        check_kept(session, error, path, handed.end_s(path), lost_s=STEP_S)
    assert {p.name for p in folder.iterdir()} == {path.name for path in sessions}


def test_a_file_that_is_deleted_is_saved(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "film.mp4"
    sessions, handed = start(path)
    session = sessions[path]
    handed.wait(1.0)
    path.unlink()
    path.write_bytes(b"precious")
    error = failed(session)
    assert f"{path} was deleted" in error.message
    assert path.read_bytes() == b"precious"
    check_kept(session, error, tmp_path / "film (2).mp4", handed.end_s(path), lost_s=STEP_S)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the new name")
def test_a_folder_that_is_renamed_is_followed(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "films"
    path = folder / "film.mkv"
    sessions, handed = start(path)
    session = sessions[path]
    handed.wait(1.0)
    folder.rename(tmp_path / "renamed")
    error = failed(session)
    kept = tmp_path / "renamed" / "film.mkv"
    check_kept(session, error, kept, handed.end_s(path), lost_s=STEP_S)
    assert not folder.exists()


def test_a_file_that_is_deleted_in_the_last_moment_is_saved(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "films" / "film.mp4"
    sessions, handed = start(path)
    session = sessions[path]
    handed.wait(0.5)
    shutil.rmtree(path.parent)
    session.stop()
    with contextlib.suppress(OutputError):  # where it was noticed before the end
        session.wait(10)
    assert session.result is not None
    assert session.result.paths == (path,)
    assert read_sound(path).end_s >= handed.end_s(path) - STEP_S


def test_a_folder_that_cannot_be_made_again_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    session = Session(spec(folder / "film.mkv"))
    session.start()
    time.sleep(0.5)
    shutil.rmtree(folder)
    folder.write_bytes(b"in the way")
    with pytest.raises(OutputError, match="was deleted"):
        session.wait(10)
    session.stop()
    assert session.result is None


def test_the_old_file_stays_when_the_disk_fails_under_the_new_one(
    tmp_path: Path, start: Start
) -> None:
    path = tmp_path / "film.mkv"
    path.write_bytes(b"precious")
    new = tmp_path / "film.new.mkv"
    sessions, handed = start(path, files=(new,), overwrite=True)
    session = sessions[path]
    handed.wait(1.2)
    assert session._segments is not None
    segment: Any = session._segments.segment(0)
    writer = segment.file
    writer._container = _Failing(writer._container, OSError(errno.EIO, "no"))
    error = failed(session)
    check_kept(session, error, new, handed.end_s(new))
    assert path.read_bytes() == b"precious"
    with pytest.raises(OutputError, match="left of a recording that was cut off"):
        Session(spec(path, overwrite=True)).start()


def test_a_disk_that_is_nearly_full_is_not_begun_on(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "film.mp4"
    session = Session(spec(path, min_free_bytes=1 << 60))
    with pytest.raises(OutputError, match="almost full") as caught:
        session.start()
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_recording_ends_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frees = iter([1 << 40, 1 << 40])
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, next(frees, 150_000_000)))
    path = tmp_path / "film.mp4"
    session = Session(spec(path))
    session.start()
    result = session.wait(10)
    assert result is not None
    assert result.stopped_by == "disk"
    assert result.warnings == ("the disk is almost full: 150 MB left",)
    assert read_sound(path).end_s == pytest.approx(result.duration_s, abs=0.03)


def test_a_disk_too_small_for_the_duration_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, 1_200_000_000))
    watch = DiskWatch(spec(tmp_path / "film.mp4", duration_s=3600.0))
    assert watch.look(5_000_000, 5.0).warning is None, "too early to say"
    look = watch.look(20_000_000, 20.0)
    assert look.warning is not None
    assert "17.0 of 60.0 minutes" in look.warning
    assert look.stop_reason is None
    assert watch.look(21_000_000, 21.0).warning is None
    for changes in ({"duration_s": 900.0}, {"duration_s": None}):
        assert DiskWatch(spec(tmp_path / "a.mp4", **changes)).look(20_000_000, 20).warning is None
    limited = spec(tmp_path / "b.mp4", duration_s=3600.0, max_size_bytes=500_000_000)
    assert DiskWatch(limited).look(20_000_000, 20).warning is None


def test_the_forecast_is_a_warning_of_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capture.live.disk.FORECAST_AFTER_S", 0.5)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, 230_000_000))
    events: list[Event] = []
    with Session(spec(tmp_path / "a.wav", duration_s=36_000.0), events.append):
        time.sleep(2.4)
    warnings = [event.message for event in events if event.kind is EventKind.WARNING]
    assert len(warnings) == 1
    assert "the disk will be full before" in warnings[0]

"""Whole recordings of the synthetic sources, whose counters say what was lost, doubled or late."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from capture import (
    AudioSpec,
    CaptureError,
    Event,
    EventKind,
    RecordingSpec,
    Session,
    State,
    TestCard,
    TrackMode,
    VideoSpec,
    record,
)
from capture.clock import now_ns
from capture.errors import ConfigError, OutputError
from capture.sources.synthetic.screen import read_counter
from capture.sources.synthetic.tone import read_tone
from capture.units import NS_PER_S
from tests.media.films import read_picture_times, read_pictures, read_sound, video_end

if TYPE_CHECKING:
    from pathlib import Path

CARD = (640, 360)
TONE = (AudioSpec("synthetic"),)


def spec(path: Path, **changes: Any) -> RecordingSpec:
    video = {"target": TestCard(*CARD)} | changes.pop("video", {})
    values: dict[str, Any] = {"audio": TONE, "duration_s": 2.0} | changes
    return RecordingSpec(path, video=VideoSpec(**video), **values)


def seconds_heard(path: Path, track: int = 0) -> dict[int, float]:
    """When each beep of the tone is in the file, by its number."""
    sound = read_sound(path, track)
    return {
        beep.number: sound.start_s + beep.frame / sound.rate_hz
        for beep in read_tone(sound.samples, sound.rate_hz)
        if beep.number is not None
    }


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.webm", "film.mov"])
def test_a_film_has_its_length_its_pictures_and_its_sound(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    result = record(spec(path, duration_s=3.0))
    assert result.paths == (path,)
    assert result.duration_s == pytest.approx(3.0, abs=0.001)
    assert result.stopped_by == "duration"
    assert video_end(path) == pytest.approx(3.0, abs=0.04)
    assert read_sound(path).end_s == pytest.approx(3.0, abs=0.03)
    counters = [read_counter(picture) for _, picture in read_pictures(path)]
    known = [counter for counter in counters if counter is not None]
    assert len(known) >= 0.9 * len(counters)
    assert known == sorted(known)
    heard = list(seconds_heard(path).items())
    assert len(heard) >= 2
    for (number, at_s), (next_number, next_s) in itertools.pairwise(heard):
        assert next_number == number + 1
        assert next_s - at_s == pytest.approx(1.0, abs=0.002)
    assert result.tracks[1].silence_inserted_s == 0


@pytest.mark.parametrize("name", ["a.m4a", "a.opus", "a.ogg", "a.mka", "a.flac", "a.wav"])
def test_sound_alone(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    result = record(RecordingSpec(path, video=None, audio=TONE, duration_s=2.5))
    assert result.captured_pictures == 0
    assert read_sound(path).end_s == pytest.approx(2.5, abs=0.03)
    assert len(seconds_heard(path)) >= 2


def test_pictures_alone(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    result = record(spec(path, audio=(), duration_s=1.0))
    assert video_end(path) == pytest.approx(1.0, abs=0.04)
    assert [track.kind for track in result.tracks] == ["video"]


def test_odd_sizes_are_recorded(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    record(spec(path, video={"target": TestCard(641, 361)}, duration_s=1.0))
    height, width, _ = read_pictures(path)[0][1].shape
    assert (width, height) == (642, 362)


def test_lossless_film(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    record(spec(path, video={"quality": "lossless"}, duration_s=1.0))
    counters = [read_counter(picture) for _, picture in read_pictures(path)]
    assert len([c for c in counters if c is not None]) >= 0.9 * len(counters)


def test_a_constant_frame_rate_fills_every_slot(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    record(spec(path, video={"is_cfr": True, "fps": 30}, duration_s=2.0))
    times = read_picture_times(path)
    assert len(times) == 60
    assert np.diff(times) == pytest.approx(1 / 30, abs=0.0005)


def test_a_running_session_tells_how_it_goes(tmp_path: Path) -> None:
    began_ns = now_ns()
    with Session(spec(tmp_path / "film.mkv", duration_s=None)) as session:
        time.sleep(1.5)
        snapshot = session.snapshot()
        took_ns = now_ns() - began_ns
    assert snapshot.state is State.RECORDING
    assert 1.5 * NS_PER_S <= snapshot.recorded_ns <= took_ns
    assert snapshot.written_bytes > 0
    assert 0 < snapshot.fps <= 31
    assert snapshot.path == tmp_path / "film.mkv"
    assert snapshot.levels["test tone"].peak_dbfs > -30
    assert session.snapshot().state is State.DONE


def test_a_pause_is_cut_out_of_pictures_and_sound_alike(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    events: list[Event] = []
    with Session(spec(path, duration_s=None), events.append) as session:
        time.sleep(1.5)
        before_ns = now_ns(), session.snapshot().recorded_ns
        session.pause()
        paused_ns = now_ns(), session.snapshot().recorded_ns
        time.sleep(1.5)
        assert session.snapshot().state is State.PAUSED
        resumed_ns = now_ns()
        session.resume()
        after_ns = now_ns()
        time.sleep(1.5)
    result = session.wait()
    assert result is not None
    ((at_s, length_s),) = result.pauses_s
    slot_s = 1 / 30  # a pause begins and ends with a picture
    assert before_ns[1] / NS_PER_S <= at_s <= paused_ns[1] / NS_PER_S + slot_s
    assert (resumed_ns - paused_ns[0]) / NS_PER_S - slot_s <= length_s
    assert length_s <= (after_ns - before_ns[0]) / NS_PER_S + slot_s
    assert video_end(path) == pytest.approx(result.duration_s, abs=0.04)
    assert read_sound(path).end_s == pytest.approx(result.duration_s, abs=0.03)
    # The tone goes on during the pause, so the beep numbers jump by what was cut out.
    for number, heard_s in seconds_heard(path).items():
        shown = _flash_of(path, number)
        if shown is not None:
            assert heard_s - shown == pytest.approx(0, abs=0.06)
    kinds = [event.kind for event in events]
    assert kinds.index(EventKind.PAUSED) < kinds.index(EventKind.RESUMED)


def _flash_of(path: Path, number: int) -> float | None:
    """When the picture that begins a second of the test card is shown; ``None`` if it is cut."""
    for at_s, picture in read_pictures(path):
        counter = read_counter(picture)
        if counter is not None and 0 <= counter - number * 30 <= 1:
            return at_s
    return None


def test_files_of_a_split_recording_join_without_a_gap(tmp_path: Path) -> None:
    result = record(spec(tmp_path / "film.mkv", duration_s=3.5, split_every_s=1.0))
    assert [path.name for path in result.paths] == [f"film-00{n}.mkv" for n in (1, 2, 3, 4)]
    numbers: list[int] = []
    for path, length_s in zip(result.paths, (1, 1, 1, 0.5), strict=True):
        assert video_end(path) == pytest.approx(length_s, abs=0.04)
        assert read_picture_times(path)[0] == pytest.approx(0, abs=0.002)
        assert read_sound(path).end_s == pytest.approx(length_s, abs=0.03)
        known = [read_counter(picture) for _, picture in read_pictures(path)]
        numbers += [number for number in known if number is not None]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) + result.dropped_pictures >= 0.9 * 3.5 * 30
    assert len(set(numbers)) > 10  # how many are dropped is the machine's doing


def test_sound_split_into_wav_files_is_whole_to_the_sample(tmp_path: Path) -> None:
    spec_ = RecordingSpec(
        tmp_path / "a.wav", video=None, audio=TONE, duration_s=2.5, split_every_s=1.0
    )
    sounds = [read_sound(path).samples for path in record(spec_).paths]
    assert [len(samples) for samples in sounds] == [48_000, 48_000, 24_000]


def test_markers_become_chapters(tmp_path: Path) -> None:
    import av  # noqa: PLC0415

    path = tmp_path / "film.mp4"
    with Session(spec(path, duration_s=None)) as session:
        time.sleep(0.7)
        before_s = session.snapshot().recorded_ns / NS_PER_S
        session.mark()
        after_s = session.snapshot().recorded_ns / NS_PER_S
        time.sleep(0.7)
    with av.open(str(path)) as container:
        chapters: list[Any] = list(container.chapters())
    assert len(chapters) == 2
    start_s = float(chapters[1]["start"] * chapters[1]["time_base"])
    assert before_s - 0.001 <= start_s <= after_s + 0.001


def test_a_recording_stops_at_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    spec_ = RecordingSpec(path, video=None, audio=TONE, duration_s=30, max_size_bytes=800_000)
    result = record(spec_)
    assert result.stopped_by == "size"
    assert 300_000 < result.size_bytes <= 800_000


def test_overwriting_keeps_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already"):
        record(spec(path))
    with Session(spec(path, overwrite=True, duration_s=None)) as session:
        time.sleep(0.5)
        assert path.read_bytes() == b"precious"
    result = session.wait()
    assert result is not None
    assert result.paths == (path,)
    assert video_end(path) > 0.4
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize(
    "changes",
    [
        {"video": {"fps": 0}},
        {"video": {"fps": 1000}},
        {"video": {"quality": "best"}},
        {"duration_s": 0.0},
        {"split_every_s": 0.01},
        {"audio_codec": "mp3"},
        {"audio": (AudioSpec("synthetic"), AudioSpec("synthetic"))},
        {"audio": (AudioSpec("television"),)},
        {"audio": (AudioSpec("app:"),)},
    ],
)
def test_a_spec_that_makes_no_sense_is_refused_and_leaves_nothing(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        record(spec(tmp_path / "film.mp4", **changes))
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither pictures nor sound"):
        record(RecordingSpec(tmp_path / "a.m4a", video=None, audio=()))


def test_an_encoder_that_is_not_there_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="there is no encoder"):
        record(spec(tmp_path / "film.mp4", video={"encoder": "h266"}))
    assert list(tmp_path.iterdir()) == []


def test_stopping_twice_and_aborting_end_with_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    session = Session(spec(path, duration_s=None))
    session.start()
    time.sleep(0.5)
    session.stop()
    session.stop()
    session.abort()
    assert session.wait() is not None
    assert video_end(path) > 0.3


def test_bounded_boxes_drop_pictures_never_sound(tmp_path: Path) -> None:
    # lossless 1080p of a full-screen change at 120 fps is more than this machine can do
    path = tmp_path / "film.mkv"
    video = {"target": TestCard(1920, 1080), "fps": 120, "quality": "lossless"}
    result = record(spec(path, video=video, duration_s=3.0, tracks=TrackMode.MIXED))
    assert read_sound(path).end_s == pytest.approx(3.0, abs=0.03)
    assert result.tracks[1].silence_inserted_s == 0
    times = read_picture_times(path)
    assert times == sorted(times)


def test_a_listener_that_fails_does_not_harm_the_recording(tmp_path: Path) -> None:
    def on_event(event: Event) -> None:
        raise BrokenPipeError(event.message)

    result = record(spec(tmp_path / "film.mp4", duration_s=1.0), on_event)
    assert video_end(result.path) == pytest.approx(1.0, abs=0.04)
    assert any("on_event failed" in warning for warning in result.warnings)

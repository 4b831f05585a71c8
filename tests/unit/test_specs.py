"""What a spec takes, and what it refuses the moment it is made."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from capture.errors import ConfigError
from capture.geometry import Rect
from capture.specs.as_json import from_json, to_json
from capture.specs.extraction import ExtractJob
from capture.specs.recording import AudioSpec, RecordingSpec, Rule, TrackMode, VideoSpec
from capture.specs.target import Region, Screen, TestCard, Window
from capture.specs.voice import GateSpec, SoundFileSpec, VoiceSpec

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_FINITE = (math.nan, math.inf, -math.inf)
OUT = Path("out.mkv")


def recording(**changes: Any) -> RecordingSpec:
    return RecordingSpec(OUT, **changes)


def voice(**changes: Any) -> VoiceSpec:
    return VoiceSpec(Path("kept"), **changes)


def job(**changes: Any) -> ExtractJob:
    return ExtractJob(Path("a.mp4"), Path("out"), **changes)


@pytest.mark.parametrize(
    ("make", "name", "values"),
    [
        (VideoSpec, "fps", (0, -1, 0.5, 241, *NOT_FINITE, True, "30")),
        (VideoSpec, "quality", ("best", "", None)),
        (VideoSpec, "target", (None, 1, "Mail", Rect(0, 0, 2, 2))),
        (Screen, "number", (0, -1, 1.5, True, *NOT_FINITE, "1")),
        (Region, "rect", (None, (0, 0, 2, 2))),
        (Window, "title", ("", "  ", None, 3)),
        (partial(TestCard, height_px=240), "width_px", (0, -1, 320.5, None)),
        (lambda **changes: AudioSpec("mic", **changes), "gain_db", (*NOT_FINITE, "loud")),
        (recording, "duration_s", (0, -5, *NOT_FINITE)),
        (recording, "delay_s", (-5, *NOT_FINITE)),
        (recording, "begin_at_s", NOT_FINITE),
        (recording, "start_within_s", (0, -1, math.nan)),
        (recording, "split_every_s", (0, -1, 0.01, math.nan)),
        (recording, "max_size_bytes", (0, -1, math.nan)),
        (recording, "min_free_bytes", (-1, math.nan)),
        (recording, "rate_hz", (0, -48_000, 12_345, math.nan)),
        (recording, "audio_codec", ("mp3", "")),
        (recording, "tracks", ("some",)),
        (recording, "start_when", ((Rule("silence", amount=1),), (Rule("size", amount=1),))),
        (recording, "stop_when", ((Rule("sound"),), (Rule("window", "Mail"),))),
        (lambda **changes: Rule("silence", **changes), "amount", (-1, *NOT_FINITE)),
        (Rule, "kind", ("", "noise")),
        (voice, "count", (0, -1, math.nan)),
        (voice, "duration_s", (0, -1, math.nan)),
        (voice, "idle_s", (0, -1, math.inf)),
        (voice, "keep_last_s", (-1, *NOT_FINITE)),
        (voice, "stop_when", ((Rule("app", "Mail"),),)),
        (GateSpec, "hold_s", (-1, *NOT_FINITE)),
        (GateSpec, "pad_s", (-1, math.nan)),
        (GateSpec, "min_length_s", (-1, math.nan, 5 * 3600)),
        (GateSpec, "max_length_s", (0, 0.1, math.nan)),
        (GateSpec, "threshold_dbfs", (0, 3, math.nan)),
        (job, "start_s", (-1, *NOT_FINITE)),
        (job, "end_s", (-1, *NOT_FINITE)),
        (job, "rate_hz", (0, 7, 10**7, math.nan)),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(
    make: Callable[..., object], name: str, values: tuple[object, ...]
) -> None:
    for value in values:
        with pytest.raises(ConfigError) as caught:
            make(**{name: value})
        assert caught.value.hint, value


def test_a_job_ends_after_it_starts() -> None:
    for end_s in (1.0, 0.5):
        with pytest.raises(ConfigError, match="after the start"):
            job(start_s=1.0, end_s=end_s)


@pytest.mark.parametrize("text", ["a b.mkv", "übung.mkv", "/x/y.mkv"])
def test_a_path_may_be_text_or_any_other_path(text: str) -> None:
    for given in (text, PurePosixPath(text), Path(text)):
        made: Any = given  # what the annotation says is what comes out
        assert RecordingSpec(made).output == Path(text)
        assert VoiceSpec(made).folder == Path(text)
        one = ExtractJob(made, made)
        assert (one.source, one.target) == (Path(text), Path(text))
        assert isinstance(dataclasses.replace(RecordingSpec(made), duration_s=1).output, Path)


@pytest.mark.parametrize("value", [None, 3, b"a.mkv", "a\0.mkv"])
def test_what_is_no_path_is_refused(value: Any) -> None:
    for make in (RecordingSpec, VoiceSpec, lambda each: ExtractJob(each, each)):
        with pytest.raises(ConfigError, match="no path"):
            make(value)


def test_a_microphone_has_a_longer_hold_unless_one_is_given() -> None:
    assert voice(source="auto").gate.hold_s == 1.5
    assert voice(source="app:mic").gate.hold_s == 1.5
    assert voice(source="mic").gate.hold_s == 3.0
    assert voice(source="mic:usb", gate=GateSpec(is_any_sound=True)).gate.hold_s == 3.0
    assert voice(source="mic", gate=GateSpec(hold_s=1.5)).gate.hold_s == 1.5
    assert GateSpec().pause_s == 1.5


FULL_RECORDING = RecordingSpec(
    Path("/tmp/\udcff films/a.mkv"),  # noqa: S108 - only a name; not UTF-8
    video=VideoSpec(Region(Rect(-5, 0, 640, 480)), fps=15.0, is_cfr=True),
    audio=(AudioSpec("system", gain_db=-3.0), AudioSpec("app:Zoom")),
    tracks=TrackMode.SEPARATE,
    duration_s=2.5,
    start_when=(Rule("window", "Mail"),),
    stop_when=(Rule("silence", amount=10.0), Rule("size", amount=1e9)),
    tags={"title": "ünï"},
    command=("sh", "-c", "exit 0"),
    private_desktop=(1280, 720),
)
FULL_VOICE = VoiceSpec(
    Path("kept"),
    source="mic",
    file=SoundFileSpec(messenger="whatsapp"),
    gate=GateSpec(threshold_dbfs=-45.0),
    stop_when=(Rule("window-closed"),),
    library=False,
)


@pytest.mark.parametrize("spec", [FULL_RECORDING, FULL_VOICE, recording(video=None, audio=())])
def test_a_spec_comes_back_from_json_as_it_was(spec: RecordingSpec | VoiceSpec) -> None:
    back = from_json(json.loads(json.dumps(to_json(spec))))
    assert back == spec
    if isinstance(back, RecordingSpec):
        assert isinstance(back.tracks, TrackMode)


def test_a_spec_that_was_kept_before_a_field_was_added_has_its_default() -> None:
    kept = to_json(FULL_VOICE)
    del kept["spec"]["keep_last_s"]
    assert from_json(kept) == FULL_VOICE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "a spec of version 2 cannot be read here, only of version 1"),
        ({"kind": "film"}, "the JSON object is no spec: KeyError('film')"),
        ({"spec": {"folder": "out", "colour": "red"}}, "'colour'"),
        ({"spec": {}}, "'folder'"),
        (
            {"spec": {"folder": "out", "count": 0}},
            "the count of messages cannot be 0: the least is 1",
        ),
        ({"spec": None}, "the JSON object is no spec"),
    ],
)
def test_what_is_no_spec_is_refused_in_one_sentence(changes: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_json(to_json(FULL_VOICE) | changes)
    assert message in error.value.message
    assert error.value.hint
    assert "\n" not in error.value.message

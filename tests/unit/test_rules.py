"""The grammar of start and stop rules, and what they make of facts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capture.cli.hints import in_options
from capture.errors import ConfigError
from capture.live.rule_watch import SoundDetector
from capture.live.rules import Facts, StopRules, has_all, parse_start, parse_stop, with_rules
from capture.model.signal import AudioBlock
from capture.specs.recording import AudioSpec, RecordingSpec, Rule, VideoSpec
from capture.specs.target import Window
from capture.specs.voice import VoiceSpec
from capture.units import NS_PER_S

RATE_HZ = 48_000
OUTPUT, FOLDER = Path("out.mp4"), Path("kept")


def s(seconds: float) -> int:
    return round(seconds * NS_PER_S)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("sound", Rule("sound")),
        ("window:Zoom Meeting", Rule("window", "Zoom Meeting")),
        ("APP: Firefox", Rule("app", "Firefox")),
    ],
)
def test_start_rules(text: str, rule: Rule) -> None:
    assert parse_start(text) == rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("silence:10s", Rule("silence", amount=10)),
        ("silence:1m30s", Rule("silence", amount=90)),
        ("size:1GB", Rule("size", amount=1e9)),
        ("duration:45m", Rule("duration", amount=2700)),
        ("window-closed", Rule("window-closed")),
        ("window-closed:a:b", Rule("window-closed", "a:b")),
        ("app-ended:Firefox", Rule("app-ended", "Firefox")),
    ],
)
def test_stop_rules(text: str, rule: Rule) -> None:
    assert parse_stop(text) == rule


@pytest.mark.parametrize("text", ["", "noise", "window", "app:", "sound:loud", "silence:10s"])
def test_what_cannot_start_anything(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_start(text)
    assert error.value.hint


@pytest.mark.parametrize("text", ["", "silence", "silence:soon", "silence:0s", "size:big", "sound"])
def test_what_cannot_stop_anything(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_stop(text)
    assert error.value.hint


def test_sizes_and_durations_become_limits_and_the_lower_one_counts() -> None:
    rules = tuple(map(parse_stop, ["size:1MB", "duration:45m", "duration:1h", "silence:5s"]))
    spec = with_rules(RecordingSpec(OUTPUT, duration_s=3000, max_size_bytes=10**9, stop_when=rules))
    assert (spec.max_size_bytes, spec.duration_s) == (10**6, 2700)
    assert spec.stop_when == (Rule("silence", amount=5),)
    assert with_rules(spec) == spec


def test_the_name_is_that_of_what_is_recorded_or_was_waited_for() -> None:
    stop = (Rule("window-closed"), Rule("app-ended"))
    audio = (AudioSpec("app:Firefox"),)
    spec = with_rules(RecordingSpec(OUTPUT, VideoSpec(Window("Zoom")), audio, stop_when=stop))
    assert [rule.name for rule in spec.stop_when] == ["Zoom", "Firefox"]
    waited = (Rule("window", "Call"), Rule("app", "mpv"))
    spec = with_rules(RecordingSpec(OUTPUT, start_when=waited, stop_when=stop))
    assert [rule.name for rule in spec.stop_when] == ["Call", "mpv"]


@pytest.mark.parametrize(
    "spec",
    [
        RecordingSpec(OUTPUT, stop_when=(Rule("window-closed"),)),
        RecordingSpec(OUTPUT, stop_when=(Rule("app-ended"),)),
        RecordingSpec(OUTPUT, audio=(), start_when=(Rule("sound"),)),
        RecordingSpec(OUTPUT, audio=(), stop_when=(Rule("silence", amount=1),)),
        RecordingSpec(OUTPUT, start_within_s=5),
    ],
)
def test_rules_with_nothing_to_go_by_are_refused(spec: RecordingSpec) -> None:
    with pytest.raises(ConfigError):
        with_rules(spec)


@pytest.mark.parametrize(
    "spec",
    [
        VoiceSpec(FOLDER, stop_when=(Rule("window-closed"),)),
        VoiceSpec(FOLDER, "system", stop_when=(Rule("app-ended"),)),
        VoiceSpec(FOLDER, start_within_s=5),
    ],
)
def test_rules_of_a_keeper_with_nothing_to_go_by_are_refused(spec: VoiceSpec) -> None:
    with pytest.raises(ConfigError) as error:
        with_rules(spec)
    assert "NAME" in str(error.value.hint)


def test_the_rules_of_a_keeper_are_made_definite_as_those_of_a_recording() -> None:
    texts = ["size:1MB", "duration:45m", "silence:5m", "app-ended", "window-closed"]
    stop = tuple(map(parse_stop, texts))
    spec = VoiceSpec(FOLDER, "app:Firefox", start_when=(parse_start("window:Call"),))
    spec = with_rules(replace(spec, duration_s=3000, stop_when=stop))
    assert (spec.max_size_bytes, spec.duration_s) == (10**6, 2700)
    assert list(map(str, spec.stop_when)) == ["silence", "app-ended:Firefox", "window-closed:Call"]
    assert with_rules(spec) == spec


def test_a_keeper_does_not_wait_for_sound() -> None:
    """It does so all the time."""
    with pytest.raises(ConfigError, match="no meaning here") as error:
        with_rules(VoiceSpec(FOLDER, start_when=(Rule("sound"),)))
    assert "--idle" in str(in_options(error.value.hint))


def test_all_start_rules_have_to_hold() -> None:
    rules = [Rule("window", "zoom"), Rule("app", "firefox"), Rule("sound")]
    window, app = ("Zoom Meeting",), ("Firefox", "firefox-esr")
    assert has_all(rules, Facts(0, None, window, app))
    assert not has_all(rules, Facts(0, None, window, ()))
    assert not has_all(rules, Facts(0, None, None, app))  # a screen that does not answer


def test_silence_counts_from_the_start_and_from_the_last_sound() -> None:
    ending = StopRules([Rule("silence", amount=2)], s(10))
    assert ending.step(Facts(s(11.9))) is None
    assert ending.step(Facts(s(12.5), heard_ns=s(11))) is None
    assert ending.step(Facts(s(12.9), heard_ns=s(11))) is None
    assert ending.step(Facts(s(13), heard_ns=s(11))) == "silence"


def test_what_was_waited_for_may_be_gone_before_anyone_looks() -> None:
    rules = [Rule("window-closed", "Call"), Rule("app-ended", "mpv"), Rule("app-ended", "Firefox")]
    gone = Facts(s(1), windows=("Mail",))
    assert StopRules(rules, 0).step(gone) is None
    assert StopRules(rules, 0, [Rule("app", "Call"), Rule("window", "mpv")]).step(gone) is None
    assert StopRules(rules, 0, [Rule("window", "Call")]).step(gone) == "window-closed"
    ending = StopRules(rules, 0, [Rule("app", "mpv")])
    assert ending.step(gone) is None  # it may play on in a moment
    assert ending.step(Facts(s(3.1), windows=("Mail",))) == "app-ended"


def test_a_pause_is_no_silence() -> None:
    ending = StopRules([Rule("silence", amount=2)], 0)
    ending.rest(s(5))
    assert ending.step(Facts(s(6))) is None
    assert ending.step(Facts(s(7))) == "silence"


def test_a_window_has_to_be_seen_before_it_can_be_closed() -> None:
    ending = StopRules([Rule("window-closed", "Zoom")], 0)
    assert ending.step(Facts(s(1), windows=())) is None
    assert ending.step(Facts(s(2), windows=("zoom",))) is None
    assert ending.step(Facts(s(3), windows=None)) is None
    assert ending.step(Facts(s(4), windows=("other",))) == "window-closed"


def test_an_application_between_two_titles_has_not_ended() -> None:
    ending = StopRules([Rule("app-ended", "mpv")], 0)
    steps = [(1.0, ("mpv",)), (2.0, ()), (3.5, ("mpv",)), (4.0, ()), (5.9, ()), (6.0, ())]
    said = [ending.step(Facts(s(when), apps=apps)) for when, apps in steps]
    assert said == [None, None, None, None, None, "app-ended"]


def test_the_ear_hears_where_a_sound_begins_and_ends() -> None:
    sound_detector = SoundDetector(RATE_HZ)
    rng = np.random.default_rng(1)
    length = 4 * RATE_HZ
    sound = rng.normal(0, 10 ** (-65 / 20), (length, 2)).astype(np.float32)  # a quiet room
    for start_s, end_s in ((1.0, 1.5), (1.8, 2.0), (3.0, 3.2)):  # the first two belong together
        sound[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)] += 0.1
    found = []
    for start in range(0, length, 480):
        block = AudioBlock(sound[start : start + 480], s(start / RATE_HZ), start)
        sound_detector.take(block)
        found.append((sound_detector.onset_ns, sound_detector.heard_ns))
    assert found[99] == (None, None)
    assert found[210] == (s(1.0), s(2.0))
    assert found[-1] == (s(3.0), s(3.2))

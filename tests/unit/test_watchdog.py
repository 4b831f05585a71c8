"""What is called dead, and when; stepped, so that half a minute takes no time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from capture.levels import Loudness
from capture.model.events import EventKind
from capture.model.signal import SoundState
from capture.recording.watchdog import PICTURE, GridWatch, PictureCounts, SoundFacts, Watchdog

if TYPE_CHECKING:
    from capture.model.events import Event

S = 1_000_000_000
TICK_NS = S // 10
RATE_HZ = 48_000


@dataclass
class Scene:
    """A source and a picture that can be told how to be, and a watchdog that looks at them."""

    state: SoundState = SoundState.PLAYING
    value: float = 0.1
    is_delivering: bool = True
    is_idle_silent: bool = False
    is_black: bool = False
    now_ns: int = 0
    loudness: Loudness = field(default_factory=lambda: Loudness(RATE_HZ))
    received: int = 0
    pictures: int = 0
    looks: int = 0

    def __post_init__(self) -> None:
        self.watchdog = Watchdog(self.now_ns, self._look)

    def _look(self) -> bool:
        self.looks += 1
        return self.is_black

    @property
    def facts(self) -> list[SoundFacts]:
        facts = SoundFacts(
            "speakers", self.state, self.loudness, self.received, self.is_idle_silent
        )
        return [facts]

    def run(self, seconds: float) -> list[Event]:
        events: list[Event] = []
        for _ in range(round(seconds * 10)):
            self.now_ns += TICK_NS
            if self.is_delivering:
                self.received += 1
                self.loudness.accumulate(np.full((RATE_HZ // 10, 2), self.value, np.float32))
            counts = PictureCounts(self.pictures, 0)
            events += self.watchdog.step(self.now_ns, self.facts, counts)
        return events


def test_a_healthy_recording_is_left_alone() -> None:
    scene = Scene()
    assert scene.run(60) == []
    assert scene.watchdog.end(scene.now_ns, scene.facts) == []


@pytest.mark.parametrize(
    ("state", "says"), [(SoundState.PLAYING, "plays"), (SoundState.MUTED, "muted")]
)
def test_silence_while_something_plays_is_told_once_after_five_seconds(
    state: SoundState, says: str
) -> None:
    scene = Scene(state=state)
    scene.run(2)
    scene.value = 0.0
    assert scene.run(4.9) == []
    (event,) = scene.run(30)
    assert event.kind is EventKind.DEAD_SIGNAL
    assert event.source == "speakers"
    assert event.details["what"] == "silent"
    assert says in event.message
    scene.value = 0.1
    scene.run(1)
    scene.value = 0.0
    assert len(scene.run(6)) == 1


def test_silence_is_right_where_nothing_plays() -> None:
    scene = Scene(state=SoundState.IDLE, value=0.0)
    assert scene.run(60) == []
    # A player starts: its first five seconds are judged, not the minute before.
    scene.state = SoundState.PLAYING
    assert scene.run(4.9) == []
    assert len(scene.run(1)) == 1


def test_the_faintest_sound_is_no_exact_silence() -> None:
    assert Scene(value=1e-7).run(30) == []


@pytest.mark.parametrize(("value", "is_dead"), [(0.0, True), (0.0009, True), (0.0011, False)])
def test_what_stayed_below_minus_60_dbfs_is_told_at_the_end(value: float, *, is_dead: bool) -> None:
    scene = Scene(state=SoundState.IDLE, value=value)
    scene.run(3)
    events = scene.watchdog.end(scene.now_ns, scene.facts)
    assert [event.details["what"] for event in events] == ["quiet"] * is_dead


def test_clipping_is_a_warning_and_not_dead() -> None:
    scene = Scene(value=1.0)
    (event,) = scene.run(10)
    assert event.kind is EventKind.WARNING
    assert "clipped" in event.message


@pytest.mark.parametrize("is_idle_silent", [False, True])
def test_no_data_is_told_after_two_seconds(*, is_idle_silent: bool) -> None:
    scene = Scene(is_idle_silent=is_idle_silent)
    scene.run(1)
    scene.is_delivering = False
    assert scene.run(1.9) == []
    assert [event.details["what"] for event in scene.run(9)] == ["no-data"] * (not is_idle_silent)


def test_a_lost_device_has_told_so_itself() -> None:
    scene = Scene(state=SoundState.LOST)
    scene.is_delivering = False
    assert scene.run(30) == []


def test_a_program_that_was_stopped_blames_nobody_else() -> None:
    scene = Scene()
    scene.run(1)
    scene.now_ns += 30 * S  # SIGSTOP
    (event,) = scene.run(1)
    assert event.kind is EventKind.WARNING
    assert "stopped for 30.1 s" in event.message


def test_a_pause_is_no_sleep() -> None:
    scene = Scene()
    scene.run(1)
    for _ in range(100):
        scene.now_ns += TICK_NS
        scene.watchdog.rest(scene.now_ns)
    assert scene.run(1) == []


def test_a_black_picture_is_told_after_five_seconds_and_looked_at_only_when_it_changes() -> None:
    scene = Scene()
    scene.run(1)
    scene.is_black, scene.pictures = True, 1
    assert scene.run(4.9) == []
    (event,) = scene.run(30)
    assert event.source == PICTURE
    assert event.details["what"] == "black"
    assert scene.looks == 2
    scene.is_black, scene.pictures = False, 2
    assert scene.run(30) == []


def test_loudness_counts_silence_and_clipping() -> None:
    loudness = Loudness(RATE_HZ)
    zeros = np.zeros((RATE_HZ, 2), np.float32)
    loudness.accumulate(zeros)
    loudness.accumulate(zeros)
    assert loudness.silent_s == 2
    assert loudness.peak_dbfs == -math.inf
    loudness.accumulate(-np.ones((RATE_HZ // 2, 2), np.float32))
    assert loudness.silent_s == 0
    assert loudness.peak_dbfs == 0
    assert loudness.clipped_s == 0.5


class Load:
    """A grid whose slots are lost to a given share."""

    def __init__(self, fps: float) -> None:
        self.watch = GridWatch(fps)
        self.fps = fps
        self.now_ns = 0
        self.kept = self.dropped = 0.0

    def run(self, seconds: float, share: float) -> list[Event]:
        events = []
        for _ in range(round(seconds * 10)):
            self.now_ns += TICK_NS
            slots = self.fps / self.watch.divisor / 10
            self.kept += slots * (1 - share)
            self.dropped += slots * share
            counts = PictureCounts(round(self.kept), round(self.dropped))
            event = self.watch.step(self.now_ns, counts)
            events += [event] if event is not None else []
        return events


def test_an_overload_halves_the_grid_and_relief_restores_it() -> None:
    load = Load(60)
    assert load.run(60, 0.08) == []
    (event,) = load.run(6, 0.3)
    assert event.kind is EventKind.OVERLOAD
    assert event.details["fps"] == 30
    (event,) = load.run(6, 0.3)
    assert event.details["fps"] == 15
    assert load.run(60, 0.9) == []  # no further: that is no film any more
    assert load.run(29, 0.0) == []
    (event,) = load.run(3, 0.0)
    assert event.details["fps"] == 30
    (event,) = load.run(32, 0.0)
    assert event.details["fps"] == 60
    assert load.watch.divisor == 1


def test_slots_missed_in_sleep_are_no_overload() -> None:
    load = Load(30)
    load.run(10, 0.0)
    load.now_ns += 3 * S
    load.dropped += 90
    assert load.run(10, 0.0) == []


def test_a_slow_grid_is_not_halved() -> None:
    assert Load(15).run(60, 0.9) == []

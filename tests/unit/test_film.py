"""The grid of pictures, its clock stepped: which slots are looked at, which count as missed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from capture.clock import SessionClock
from capture.geometry import Rect
from capture.model.signal import ScreenPicture
from capture.pipeline import StopFlag
from capture.recording.film import Film
from capture.sources.base import ScreenSource
from capture.units import NS_PER_S

FPS = 60
SIZE_PX = (32, 16)
START_NS = 1_000 * NS_PER_S
OVERSLEPT_NS = 200_000
"""Every sleep takes so much longer than it should."""


@dataclass
class Plan:
    """What is to happen, by the number of the look at the screen."""

    divisors: dict[int, int] = field(default_factory=dict)
    busy_slots: dict[int, float] = field(default_factory=dict)
    """For how many slots the machine then has no time for us."""


class Machine(ScreenSource, StopFlag):
    """A clock and a screen that changes all the time; waiting steps the clock."""

    size_px = SIZE_PX
    label = "stepped"

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.notes = []
        self.now_ns = START_NS
        self.slots: list[float] = []
        """Of the grid, in which the screen was looked at."""
        self.film = Film(self, FPS, is_lossless=False)
        self._plan = plan

    def wait(self, timeout_s: float) -> bool:
        self.now_ns += round(timeout_s * NS_PER_S) + OVERSLEPT_NS
        return False

    def grab(self) -> ScreenPicture:
        look = len(self.slots)
        self.slots.append((self.now_ns - START_NS) * FPS / NS_PER_S)
        if len(self.film.mailbox):
            self.film.mailbox.get_all()  # as a quick encoder does
        self.film.divisor = self._plan.divisors.get(look, self.film.divisor)
        pixels = np.full((SIZE_PX[1], SIZE_PX[0], 4), look % 256, np.uint8)
        shown = ScreenPicture(pixels, (Rect(0, 0, *SIZE_PX),), self.now_ns)
        self.now_ns += round(self._plan.busy_slots.get(look, 0.0) * NS_PER_S / FPS)
        return shown

    def close(self) -> None:
        """Nothing is open."""


def record(plan: Plan, seconds: float, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A recording of this length."""
    machine = Machine(plan)
    monkeypatch.setattr("capture.recording.film.now_ns", lambda: machine.now_ns)
    clock = SessionClock(machine.film.begin())
    end_ns = START_NS + round(seconds * NS_PER_S)
    machine.film.run(clock, lambda: end_ns, machine, lambda _: False)
    return machine


def test_every_slot_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = record(Plan(), 1.0, monkeypatch)
    assert np.floor(machine.slots).tolist() == list(range(FPS))
    assert machine.film.dropped == 0
    assert machine.film.captured == FPS


@pytest.mark.parametrize("begun_at", [30, 31, 33])
def test_a_coarser_grid_keeps_its_phase(begun_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = record(Plan({begun_at: 4, begun_at + 15: 1}), 3.0, monkeypatch)
    slots = np.floor(machine.slots)
    coarse = slots[begun_at + 1 : begun_at + 16]
    assert (coarse % 4 == 0).all()
    assert (np.diff(coarse) == 4).all()
    assert (np.diff(slots[begun_at + 15 :]) == 1).all()
    assert np.max(machine.slots - slots) < 0.1  # of a slot
    assert machine.film.dropped == 0


@pytest.mark.parametrize("divisor", [1, 2, 4])
def test_what_was_missed_is_counted_and_the_phase_is_kept(
    divisor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = record(Plan({0: divisor}, {20: 9.5 * divisor}), 3.0, monkeypatch)
    slots = np.floor(machine.slots)
    (longest,) = np.flatnonzero(np.diff(slots) > divisor)
    assert slots[longest + 1] - slots[longest] == 10 * divisor  # the next one that is not over
    assert (slots % divisor == 0).all()
    assert machine.film.dropped == 9
    assert machine.film.captured + machine.film.dropped == 3 * FPS // divisor


@pytest.mark.parametrize("look", [25, 29])
def test_no_slot_is_counted_after_the_end(look: int, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = record(Plan(busy_slots={look: 40.0}), 1.0, monkeypatch)
    assert machine.film.captured == look + 1
    assert machine.film.captured + machine.film.dropped == FPS

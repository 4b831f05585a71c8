"""What every backend must keep to. A new one is added to ``SCREENS`` or ``SOUNDS``, nowhere else.

A factory is called for each test and gives the source as a context manager, so that one that needs
a display or a sound server starts it around the source. Those carry the mark ``device``:
``pytest.param(factory, id="mss", marks=pytest.mark.device)``. Something should move, and sound.
"""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest

from capture.clock import now_ns
from capture.geometry import Rect
from capture.sources.synthetic import SyntheticScreen, SyntheticTone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from capture.model.events import Event
    from capture.model.signal import AudioBlock
    from capture.sources.base import AudioSource, ScreenSource

OpenScreen: TypeAlias = "Callable[[], AbstractContextManager[ScreenSource]]"
OpenSound: TypeAlias = "Callable[[], AbstractContextManager[AudioSource]]"

SCREENS = [
    pytest.param(lambda: SyntheticScreen(320, 240, fps_change=60.0), id="synthetic"),
]
SOUNDS = [
    pytest.param(SyntheticTone, id="synthetic"),
    pytest.param(lambda: SyntheticTone(rate_hz=44_100, channels=1), id="synthetic-mono"),
]

SLOWEST_START_S = 3.0  # an idle PulseAudio sink gives its first sound after up to 2 s
LISTEN_S = 0.3
NEWEST_S, OLDEST_S = 0.5, 3.0  # a monitor hears sound before the speakers play it
STEADY_S = 0.1


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


# --------------------------------------------------------------------------------- screens


@pytest.mark.parametrize("open_screen", SCREENS)
def test_pictures_have_one_shape_and_rising_stamps(open_screen: OpenScreen) -> None:
    with open_screen() as screen:
        assert screen.label
        last_ns = 0
        for _ in range(5):
            began = now_ns()
            picture = screen.grab()
            assert picture.pixels.dtype == np.uint8
            assert picture.pixels.shape == (screen.size_px[1], screen.size_px[0], 4)
            assert began <= picture.captured_ns <= now_ns()
            assert picture.captured_ns > last_ns
            last_ns = picture.captured_ns


@pytest.mark.parametrize("open_screen", SCREENS)
def test_the_first_picture_is_new_all_over(open_screen: OpenScreen) -> None:
    with open_screen() as screen:
        assert screen.grab().changed == (Rect(0, 0, *screen.size_px),)


@pytest.mark.parametrize("open_screen", SCREENS)
def test_patching_what_changed_gives_the_picture(open_screen: OpenScreen) -> None:
    with open_screen() as screen:
        whole = Rect(0, 0, *screen.size_px)
        kept = screen.grab().pixels.copy()
        for _ in range(20):
            time.sleep(0.02)
            picture = screen.grab()
            for rect in picture.changed:
                assert whole.intersect(rect) == rect
                area = np.s_[rect.top_px : rect.bottom_px, rect.left_px : rect.right_px, :3]
                kept[area] = picture.pixels[area]
            assert np.array_equal(kept[..., :3], picture.pixels[..., :3])


@pytest.mark.parametrize("open_screen", SCREENS)
def test_a_screen_may_be_closed_twice(open_screen: OpenScreen) -> None:
    with open_screen() as screen:
        screen.grab()
        screen.close()
        screen.close()


# --------------------------------------------------------------------------------- sound


class Listener:
    """Takes blocks; keeps a copy of each, to see whether the source touches it again."""

    def __init__(self) -> None:
        self.blocks: list[AudioBlock] = []
        self.copies: list[NDArray[np.float32]] = []
        self.arrivals_ns: list[int] = []
        self.events: list[Event] = []
        self.threads: set[int] = set()

    def put(self, block: AudioBlock) -> None:
        self.arrivals_ns.append(now_ns())
        self.threads.add(threading.get_ident())
        self.copies.append(block.samples.copy())
        self.blocks.append(block)

    def listen(self, source: AudioSource) -> None:
        source.start(self.put, self.events.append)
        patience = time.monotonic() + SLOWEST_START_S
        while not self.blocks and time.monotonic() < patience:
            time.sleep(0.01)
        time.sleep(LISTEN_S)


@pytest.mark.parametrize("open_sound", SOUNDS)
def test_blocks_are_whole_and_in_order(open_sound: OpenSound) -> None:
    listener = Listener()
    with open_sound() as source:
        assert source.label
        listener.listen(source)
        source.close()
        rate_hz, channels = source.rate_hz, source.channels
    assert listener.blocks
    assert threading.get_ident() not in listener.threads
    for block, copy, arrival_ns in zip(
        listener.blocks, listener.copies, listener.arrivals_ns, strict=True
    ):
        assert block.samples.dtype == np.float32
        assert block.samples.ndim == 2
        assert block.samples.shape[1] == channels
        assert len(block.samples) > 0
        assert np.isfinite(block.samples).all()
        assert np.array_equal(block.samples, copy)
        assert -NEWEST_S <= (arrival_ns - block.captured_ns) / 1e9 <= OLDEST_S
    for stream in {block.stream for block in listener.blocks}:
        blocks = [block for block in listener.blocks if block.stream == stream]
        for before, after in pairwise(blocks):
            assert after.position_frames >= before.position_frames + len(before.samples)
        starts_s = [b.captured_ns / 1e9 - b.position_frames / rate_hz for b in blocks]
        assert np.ptp(starts_s) < STEADY_S


@pytest.mark.parametrize("open_sound", SOUNDS)
def test_blocks_share_no_memory(open_sound: OpenSound) -> None:
    listener = Listener()
    with open_sound() as source:
        listener.listen(source)
    for before, after in pairwise(listener.blocks):
        assert not np.shares_memory(before.samples, after.samples)


@pytest.mark.parametrize("open_sound", SOUNDS)
def test_nothing_comes_after_close_which_may_be_called_twice(open_sound: OpenSound) -> None:
    listener = Listener()
    with open_sound() as source:
        listener.listen(source)
        source.close()
        heard = len(listener.blocks)
        source.close()
        time.sleep(0.1)
        assert len(listener.blocks) == heard


@pytest.mark.parametrize("open_sound", SOUNDS)
def test_a_source_that_was_never_started_closes(open_sound: OpenSound) -> None:
    with open_sound() as source:
        source.close()

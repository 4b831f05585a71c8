"""What every backend must keep to. A new one is added to ``SCREENS``, ``SOUNDS`` or ``PLAYERS``.

Each gives what opens a source, once for each test; what it takes to run there (``conftest``) is
started before. Something moves on every screen, and something is heard of everything that sounds.
Nothing waits for a time to pass where a busy machine may need more of it.
"""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest

from capture.clock import now_ns
from capture.geometry import Rect
from capture.model.events import Event, EventKind
from capture.model.signal import AudioBlock, SoundState
from capture.sources import MIX_STREAM, open_audio, open_players, open_screen
from capture.sources.synthetic.screen import SyntheticScreen
from capture.sources.synthetic.tone import SyntheticTone
from capture.specs.recording import AudioSpec, VideoSpec
from capture.specs.target import Region, Screen, Target, Window
from capture.units import NS_PER_S
from tests.device.recorded import PATIENCE_S, until
from tests.device.servers import look_with_portaudio, tone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from capture.sources.base import AudioSource, PlayerSource, ScreenSource

OpenScreen: TypeAlias = (
    "Callable[[], AbstractContextManager[tuple[ScreenSource, Callable[[], None]]]]"
)
"""Also gives what makes something move."""
OpenSound: TypeAlias = "Callable[[], AbstractContextManager[AudioSource]]"
OpenPlayers: TypeAlias = "Callable[[], AbstractContextManager[PlayerSource]]"

RATE_HZ = 48_000
WINDOW = 960
"""Frames: 20 ms, in which both tones are whole lobes apart."""
AUDIBLE = 0.1
"""The tones reach 0.25."""
BLOCKS = 20
"""So many are enough to judge a source by."""
NEWEST_S, OLDEST_S = 0.5, 3.0
"""A monitor hears sound before the speakers play it; what plays already may have a lead."""
STEADY_S = 0.1


def card(_: pytest.FixtureRequest) -> OpenScreen:
    @contextmanager
    def opened() -> Iterator[tuple[ScreenSource, Callable[[], None]]]:
        with SyntheticScreen(320, 240, fps_change=60.0) as source:
            yield source, lambda: time.sleep(0.02)

    return opened


def mss_alone(display: str) -> ScreenSource:
    from capture.sources.screen_mss import MssScreen  # noqa: PLC0415 - loads the library

    return MssScreen(Rect(0, 0, 640, 480), "mss", display=display)


def x11(target: Target) -> Callable[[str], ScreenSource]:
    return lambda display: open_screen(VideoSpec(target), {"DISPLAY": display})


def real_screen(make: Callable[[str], ScreenSource], name: str) -> Any:
    """A backend on an X server, where a window is drawn into and the pointer moves."""

    def prepare(request: pytest.FixtureRequest) -> OpenScreen:
        display: str = request.getfixturevalue("display")

        @contextmanager
        def opened() -> Iterator[tuple[ScreenSource, Callable[[], None]]]:
            from tests.device.painter import RED, Painter  # noqa: PLC0415 - needs libxcb

            with Painter(display) as painter:
                window = painter.window(Rect(30, 40, 200, 100), RED, "Contract")
                counter = itertools.count(1)

                def move() -> None:
                    n = next(counter)
                    painter.fill(window, Rect(n * 17 % 170, n * 11 % 60, 30, 40), 0x10305 * n)
                    painter.warp(40 + n, 60)

                with make(display) as source:
                    yield source, move

        return opened

    return pytest.param(prepare, id=name, marks=pytest.mark.device)


def real_sound(server: str, name: str, make: Callable[[], Any]) -> Any:
    """A backend on a sound server, where ``host`` plays and a microphone hears it."""

    def prepare(request: pytest.FixtureRequest) -> OpenSound:
        address: str = request.getfixturevalue(f"{server}_sounding")

        @contextmanager
        def opened() -> Iterator[AudioSource]:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PULSE_SERVER", address)
                with make() as source:
                    yield source

        return opened

    return pytest.param(prepare, id=f"{name}-{server}", marks=pytest.mark.device)


def portaudio() -> AudioSource:
    from capture.sources.audio_portaudio import PortAudioMicrophone  # noqa: PLC0415 - loads it

    look_with_portaudio()
    return PortAudioMicrophone("pulse")


SERVERS = ("pulseaudio", "pipewire")
SCREENS = [
    pytest.param(card, id="synthetic"),
    real_screen(x11(Screen()), "x11"),
    real_screen(x11(Region(Rect(21, 31, 301, 203))), "x11-region"),
    real_screen(x11(Window("Contract")), "x11-window"),
    real_screen(mss_alone, "mss"),
]
PLAYERS = [
    real_sound(server, name, make)
    for server in SERVERS
    for name, make in (
        ("players", open_players),
        ("app", lambda: open_audio(AudioSpec("app:guest"))),
    )
]
SOUNDS = [
    pytest.param(lambda _: SyntheticTone, id="synthetic"),
    pytest.param(lambda _: lambda: SyntheticTone(rate_hz=44_100, channels=1), id="synthetic-mono"),
    *(
        real_sound(server, name, make)
        for server in SERVERS
        for name, make in (
            ("output", lambda: open_audio(AudioSpec("system"))),
            ("microphone", lambda: open_audio(AudioSpec("mic:desk"))),
            ("app", lambda: open_audio(AudioSpec("app:host"))),
            ("players", lambda: open_players(with_mix=True)),
        )
    ),
    real_sound("pulseaudio", "portaudio", portaudio),
]


@pytest.fixture(scope="module", params=SCREENS, name="open_screen")
def _open_screen(request: pytest.FixtureRequest) -> OpenScreen:
    opened: OpenScreen = request.param(request)
    return opened


@pytest.fixture(scope="module", params=SOUNDS, name="open_sound")
def _open_sound(request: pytest.FixtureRequest) -> OpenSound:
    opened: OpenSound = request.param(request)
    return opened


@pytest.fixture(scope="module", params=PLAYERS, name="open_player")
def _open_player(request: pytest.FixtureRequest) -> OpenPlayers:
    opened: OpenPlayers = request.param(request)
    return opened


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


# --------------------------------------------------------------------------------- screens


def test_pictures_have_one_shape_and_rising_stamps(open_screen: OpenScreen) -> None:
    with open_screen() as (screen, move):
        assert screen.label
        last_ns = 0
        for _ in range(5):
            move()
            began = now_ns()
            picture = screen.grab()
            assert picture.pixels.dtype == np.uint8
            assert picture.pixels.shape == (screen.size_px[1], screen.size_px[0], 4)
            assert began <= picture.captured_ns <= now_ns()
            assert picture.captured_ns > last_ns
            last_ns = picture.captured_ns


def test_the_first_picture_is_new_all_over(open_screen: OpenScreen) -> None:
    with open_screen() as (screen, _):
        assert screen.grab().changed == (Rect(0, 0, *screen.size_px),)


def test_patching_what_changed_gives_the_picture(open_screen: OpenScreen) -> None:
    with open_screen() as (screen, move):
        whole = Rect(0, 0, *screen.size_px)
        kept = screen.grab().pixels.copy()
        for _ in range(20):
            move()
            picture = screen.grab()
            assert picture.changed
            for rect in picture.changed:
                assert whole.intersect(rect) == rect
                area = np.s_[rect.top_px : rect.bottom_px, rect.left_px : rect.right_px, :3]
                kept[area] = picture.pixels[area]
            assert np.array_equal(kept[..., :3], picture.pixels[..., :3])


def test_a_pointer_is_as_large_as_its_place(open_screen: OpenScreen) -> None:
    with open_screen() as (screen, move):
        for _ in range(5):
            move()
            if pointer := screen.grab().pointer:
                size = (pointer.place.height_px, pointer.place.width_px, 4)
                assert pointer.image.shape == size
                assert pointer.image.dtype == np.uint8
                assert (pointer.image[..., :3] <= pointer.image[..., 3:]).all()  # premultiplied
                assert pointer.place.intersect(Rect(0, 0, *screen.size_px))


def test_a_hurried_screen_does_not_rest(open_screen: OpenScreen) -> None:
    with open_screen() as (screen, _):
        screen.grab()
        until_ns = now_ns() + round(PATIENCE_S * NS_PER_S)
        screen.wake()
        screen.rest(until_ns)
        assert now_ns() < until_ns


def test_a_screen_may_be_closed_twice(open_screen: OpenScreen) -> None:
    with open_screen() as (screen, _):
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
        self.started_ns = 0

    def put(self, block: AudioBlock) -> None:
        self.arrivals_ns.append(now_ns())
        self.threads.add(threading.get_ident())
        self.copies.append(block.samples.copy())
        self.blocks.append(block)

    def listen(self, source: AudioSource) -> None:
        self.started_ns = now_ns()
        source.start(self.put, self.events.append)
        until(lambda: len(self.blocks) >= BLOCKS, lambda: self.events)
        until(lambda: any(block.samples.any() for block in self.blocks))


def test_blocks_are_whole_and_in_order(open_sound: OpenSound) -> None:
    listener = Listener()
    with open_sound() as source:
        assert source.label
        assert source.sound_state in SoundState
        listener.listen(source)
        source.close()
        rate_hz, channels = source.rate_hz, source.channels
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
        # However late it comes, it is stamped with when it was heard.
        assert block.captured_ns / 1e9 <= arrival_ns / 1e9 + NEWEST_S
        assert block.captured_ns / 1e9 >= listener.started_ns / 1e9 - OLDEST_S
    for stream in {block.stream for block in listener.blocks}:
        blocks = [block for block in listener.blocks if block.stream == stream]
        for before, after in pairwise(blocks):
            assert after.position_frames >= before.position_frames + len(before.samples)
        starts_s = [b.captured_ns / 1e9 - b.position_frames / rate_hz for b in blocks]
        late_s, early_s = np.percentile(starts_s, (75, 25))
        assert late_s - early_s < STEADY_S


def test_blocks_share_no_memory(open_sound: OpenSound) -> None:
    listener = Listener()
    with open_sound() as source:
        listener.listen(source)
    for before, after in pairwise(listener.blocks):
        assert not np.shares_memory(before.samples, after.samples)


def test_nothing_comes_after_close_which_may_be_called_twice(open_sound: OpenSound) -> None:
    listener = Listener()
    with open_sound() as source:
        listener.listen(source)
        source.close()
        heard = len(listener.blocks)
        source.close()
        time.sleep(0.1)
        assert len(listener.blocks) == heard


def test_a_source_that_was_never_started_closes(open_sound: OpenSound) -> None:
    with open_sound() as source:
        source.close()


# --------------------------------------------------------------------------------- players


def strength(samples: NDArray[np.float32], hz: float) -> float:
    """How loud a tone is: the median of all windows that sound, so that gaps do not matter."""
    windows = samples[: len(samples) // WINDOW * WINDOW].reshape(-1, WINDOW)
    shape = np.hanning(WINDOW)
    turn = shape * np.exp(-2j * np.pi * hz * np.arange(WINDOW) / RATE_HZ)
    found = np.median(np.abs(windows[windows.any(axis=1)] @ turn))
    return 2 * float(found) / float(shape.sum())


class Log:
    """What a source of applications told and delivered, in its order."""

    def __init__(self, source: PlayerSource) -> None:
        self.all: list[AudioBlock | Event] = []
        source.start(self.all.append, self.all.append)

    def events(self, kind: EventKind, **details: Any) -> list[Event]:
        """What was told, with these details."""
        return [
            each
            for each in self.all
            if isinstance(each, Event)
            and each.kind is kind
            and details.items() <= each.details.items()
        ]

    def blocks(self, stream: int) -> list[AudioBlock]:
        return [e for e in self.all if isinstance(e, AudioBlock) and e.stream == stream]

    def hear(self, stream: int) -> NDArray[np.float32]:
        """What came of a stream until it had sounded for half a second."""
        until(lambda: sum(np.count_nonzero(b.samples) for b in self.blocks(stream)) >= RATE_HZ)
        return np.concatenate([block.samples[:, 0] for block in self.blocks(stream)])

    def stream(self, app: str = "guest") -> int:
        """Of the application, once it plays."""
        until(lambda: self.events(EventKind.STREAM_STARTED, app=app))
        return int(self.events(EventKind.STREAM_STARTED, app=app)[0].details["stream"])


def test_a_stream_is_told_before_its_first_block_and_after_its_last(
    open_player: OpenPlayers,
) -> None:
    with open_player() as source:
        log = Log(source)
        with tone("guest", 1000) as program:
            stream = log.stream()
            until(lambda: source.playing().get(stream) == ("guest", False, False))
            log.hear(stream)
        until(lambda: log.events(EventKind.STREAM_ENDED, stream=stream))
        until(lambda: stream not in source.playing())
    (started,) = log.events(EventKind.STREAM_STARTED, stream=stream)
    (ended,) = log.events(EventKind.STREAM_ENDED, stream=stream)
    assert stream >= 0
    blocks, order = log.blocks(stream), [id(each) for each in log.all]
    assert order.index(id(started)) < order.index(id(blocks[0]))
    assert order.index(id(blocks[-1])) < order.index(id(ended))
    assert started.details["pid"] == program.pid
    assert {"binary", "title"} <= set(started.details)
    assert started.details["lead_ms"] >= 0
    assert started.details["missing_ms"] is None or started.details["missing_ms"] >= 0


def test_each_stream_is_heard_alone(open_player: OpenPlayers) -> None:
    with open_player() as source:
        log = Log(source)
        with tone("guest", 1000):
            stream = log.stream()
            samples = log.hear(stream)
        others = {block.stream for block in log.all if isinstance(block, AudioBlock)} - {stream}
    assert strength(samples, 1000) > AUDIBLE
    assert strength(samples, 440) < AUDIBLE / 10
    assert MIX_STREAM not in others


@pytest.mark.device
@pytest.mark.parametrize("server", SERVERS)
def test_the_mix_is_a_stream_of_its_own(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULSE_SERVER", request.getfixturevalue(f"{server}_sounding"))
    with open_players(with_mix=True) as source:
        log = Log(source)
        for stream in (log.stream("host"), MIX_STREAM):
            assert strength(log.hear(stream), 440) > AUDIBLE

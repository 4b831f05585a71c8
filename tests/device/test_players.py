"""Each application alone, from its first frame: on servers whose outputs are rendered once.

PulseAudio's null sink rewinds by default, and its monitor then misses up to a block of what begins
(see ``_pulse_players``), so here it is told not to.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from capture.errors import BackendUnavailableError
from capture.model.events import Event, EventKind
from capture.sources import MIX_STREAM, open_audio, open_players
from capture.sources._pulse_reader import PulseReader
from capture.sources.audio_pulse import PulseApp
from capture.specs.recording import AudioSpec
from tests.device.counted_player import RATE_HZ, SCALE, decode
from tests.device.recorded import PATIENCE_S, until, until_playing
from tests.device.servers import PipeWireServer, PulseServer, serving, talking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from capture.model.signal import AudioBlock
    from capture.sources.base import AudioSource

try:
    import pulsectl
except (ImportError, OSError):
    pytest.skip("needs libpulse", allow_module_level=True)

pytestmark = [
    pytest.mark.device,
    pytest.mark.skipif(shutil.which("pulseaudio") is None, reason="needs pulseaudio"),
]

HERE = Path(__file__).parent
FORGOTTEN_S = 0.6
"""After this long a stream that ended is no longer taken to be heard."""
SHORTEST_HOLE_S = 0.1
LATE_S = 0.03
BUSY_LOSS_MS = 22.0
"""One fragment of 20 ms, or two of PipeWire's cycles."""


@pytest.fixture(scope="module")
def pulse_rendered_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from serving(PulseServer(tmp_path_factory.mktemp("pulse"), "norewinds=1"))


@pytest.fixture(scope="module")
def pulse_pipewire_players(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from serving(PipeWireServer(tmp_path_factory.mktemp("pipewire")))


@pytest.fixture
def pulse(pulse_rendered_once: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """PulseAudio as PULSE_SERVER, seen through pulsectl."""
    yield from talking(pulse_rendered_once, monkeypatch)


@pytest.fixture(
    scope="module",
    params=["pulse_rendered_once", "pulse_pipewire_players"],
    ids=["pulse", "pipewire"],
)
def pulse_either_address(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def pulse_either(pulse_either_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """PulseAudio, then PipeWire, as PULSE_SERVER."""
    yield from talking(pulse_either_address, monkeypatch)


class Take:
    """What a source delivered, kept apart by stream."""

    def __init__(self, source: AudioSource) -> None:
        self.blocks: dict[int, list[AudioBlock]] = {}
        self.events: list[Event] = []
        source.start(
            lambda block: self.blocks.setdefault(block.stream, []).append(block),
            self.events.append,
        )

    def started(self) -> list[Event]:
        return [event for event in self.events if event.kind is EventKind.STREAM_STARTED]

    def ended(self) -> int:
        return sum(event.kind is EventKind.STREAM_ENDED for event in self.events)

    def wait(self, condition: Callable[[], Any]) -> None:
        until(condition, lambda: [event.message for event in self.events])

    def stream(self, app: str) -> int:
        (event,) = (event for event in self.started() if event.details["app"] == app)
        return int(event.details["stream"])

    def samples(self, stream: int) -> Any:
        """Its left side; every block must go on where the one before ended.

        Where a busy server itself stood still, positions and times have to tell of the same hole.
        """
        blocks = self.blocks[stream]
        pieces = [blocks[0].samples[:, 0]]
        for one, other in itertools.pairwise(blocks):
            hole = other.position_frames - one.position_frames - len(one.samples)
            if hole:
                passed_s = (other.captured_ns - one.captured_ns) / 1e9
                assert hole >= SHORTEST_HOLE_S * RATE_HZ
                assert hole + len(one.samples) == pytest.approx(passed_s * RATE_HZ, abs=48)
                pieces.append(np.zeros(hole, np.float32))
            pieces.append(other.samples[:, 0])
        return np.concatenate(pieces)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a player of this folder; all are ended with the test."""
    running = []

    def run(program: str, *words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, str(HERE / program), *words],
            stdout=subprocess.DEVNULL,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.wait()


def play(start: Any, name: str = "message", latency_ms: int = 50) -> None:
    words = ("--name", name, "--seconds", "0.6", "--latency-ms", str(latency_ms))
    assert start("counted_player.py", *words).wait(PATIENCE_S) == 0


def played(samples: Any) -> Any:
    """Frame numbers from the first sound to the last one."""
    numbers = decode(samples)
    (sounding,) = np.nonzero(numbers >= 0)
    return numbers[sounding[0] : sounding[-1] + 1]


def assert_unbroken(numbers: Any, lead_ms: float = 0.0) -> None:
    """No frame is missing or twice, and nothing but these frames is heard.

    On a busy machine PipeWire itself may skip a cycle and then play a silent one, recorder or not;
    never where the lead joins on.
    """
    heard = numbers[numbers >= 0]
    (breaks,) = np.nonzero(np.diff(heard) != 1)
    assert len(breaks) <= 1, [(heard[each], heard[each + 1]) for each in breaks]
    assert round(lead_ms * RATE_HZ / 1000) - 1 not in breaks


def tone_db(samples: Any, hz: float) -> float:
    window = np.hanning(len(samples))
    turn = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / RATE_HZ)
    return float(20 * np.log10(2 * abs(np.sum(samples * window * turn)) / np.sum(window) + 1e-12))


# --------------------------------------------------------------------------------- the first frame


@pytest.mark.usefixtures("pulse_either")
@pytest.mark.alone
def test_a_new_stream_is_captured_from_its_first_frame(start: Any) -> None:
    with open_players() as source:
        take = Take(source)
        time.sleep(FORGOTTEN_S)
        for latency_ms in (20, 200):
            play(start, latency_ms=latency_ms)
            time.sleep(FORGOTTEN_S)
    assert take.ended() == len(take.started()) == 2
    for event in take.started():
        numbers = played(take.samples(event.details["stream"]))
        assert numbers[0] == 0, f"{numbers[0]} frames are missing; {dict(event.details)}"
        assert_unbroken(numbers, event.details["lead_ms"])
        assert len(numbers) > 0.5 * RATE_HZ


@pytest.mark.usefixtures("pulse_either")
@pytest.mark.alone
def test_a_recording_of_one_application_has_its_first_frame(start: Any) -> None:
    with open_audio(AudioSpec("app:message")) as source:
        take = Take(source)
        time.sleep(FORGOTTEN_S)
        play(start)
        take.wait(take.ended)
    (event,) = take.started()
    numbers = played(take.samples(event.details["stream"]))
    assert numbers[0] == 0
    assert_unbroken(numbers, event.details["lead_ms"])


@pytest.mark.usefixtures("pulse_either")
@pytest.mark.alone
def test_beside_music_little_is_lost_and_nothing_of_it_is_heard(start: Any) -> None:
    start("tones.py", "--hz", "1000", "--name", "music", "--peak", "0.5")
    with open_players() as source:
        take = Take(source)
        take.wait(lambda: any(event.details["app"] == "music" for event in take.started()))
        time.sleep(FORGOTTEN_S)
        play(start)
        take.wait(take.ended)
        assert [app for app, _, _ in source.playing().values()] == ["music"]
    message, music = take.stream("message"), take.stream("music")
    (event,) = (event for event in take.started() if event.details["stream"] == message)
    assert event.details["lead_ms"] == 0, "a lead was taken while another played"
    samples = take.samples(message)
    numbers = played(samples)
    assert numbers[0] / RATE_HZ * 1000 <= BUSY_LOSS_MS
    assert_unbroken(numbers)  # exact counts: nothing was added to any frame
    assert tone_db(take.samples(music), 1000) > -10
    assert tone_db(samples[: RATE_HZ // 2], 1000) < -70


def unbroken(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """The longest part without silence: a player that a busy machine holds up begins anew."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], np.abs(sound) > 0, [0]))))
    starts, ends = edges[::2], edges[1::2]
    joined = np.flatnonzero(np.concatenate(([True], starts[1:] - ends[:-1] > RATE_HZ // 500)))
    spans = [(starts[i], ends[j - 1]) for i, j in itertools.pairwise([*joined, len(starts)])]
    first, last = max(spans, key=lambda span: span[1] - span[0])
    return sound[first:last]


@pytest.mark.usefixtures("pulse_either")
def test_two_applications_at_once_come_out_apart(start: Any) -> None:
    with open_players(with_mix=True) as source:
        take = Take(source)
        time.sleep(0.3)
        words = ("--seconds", "1", "--latency-ms", "500")
        one = start("tones.py", "--hz", "440", "--name", "one", *words)
        other = start("tones.py", "--hz", "1000", "--name", "other", *words)
        assert (one.wait(PATIENCE_S), other.wait(PATIENCE_S)) == (0, 0)
        take.wait(lambda: take.ended() == 2)
    for app, own, foreign, process in (("one", 440, 1000, one), ("other", 1000, 440, other)):
        sound = take.samples(take.stream(app))
        (event,) = (each for each in take.started() if each.details["app"] == app)
        (sounding,) = np.nonzero(sound)
        sound = sound[sounding[0] : sounding[-1]]
        assert len(sound) / RATE_HZ > 0.95 - event.details["missing_ms"] / 1000
        sound = unbroken(sound)
        assert tone_db(sound, own) > -14
        assert tone_db(sound, foreign) < tone_db(sound, own) - 60
        assert event.details["pid"] == process.pid
        assert "python" in event.details["binary"]
        assert event.details["title"] == app
    mix = take.samples(MIX_STREAM)
    first, last = np.flatnonzero(mix)[[0, -1]]
    mix = mix[first:last]
    assert tone_db(mix, 440) > -30
    assert tone_db(mix, 1000) > -30


# ---------------------------------------------------------------------- what only the mix still has


@pytest.fixture
def _late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader does not get to run when a stream is made, as on a busy machine."""
    made = PulseApp._stream_made

    def hold_up(source: PulseApp, index: int, at_ns: int) -> None:
        made(source, index, at_ns)
        time.sleep(LATE_S)

    monkeypatch.setattr(PulseApp, "_stream_made", hold_up)


@pytest.mark.parametrize("volume", [1.0, 0.5, 0.7])
@pytest.mark.usefixtures("_late")
@pytest.mark.alone
def test_the_lead_joins_without_a_step_at_any_volume(volume: float, pulse: Any, start: Any) -> None:
    sink = pulse.get_sink_by_name("spk")
    pulse.volume_set_all_chans(sink, volume)
    try:
        with open_players() as source:
            take = Take(source)
            time.sleep(FORGOTTEN_S)
            play(start)
            take.wait(take.ended)
    finally:
        pulse.volume_set_all_chans(sink, 1.0)
    (event,) = take.started()
    assert event.details["lead_ms"] > 0
    assert event.details["missing_ms"] == 0
    stream = event.details["stream"]
    samples = take.samples(stream)
    numbers = played(samples)
    assert numbers[0] == 0
    assert (np.diff(numbers) == 1).all()
    if volume == 1.0:
        exact = samples.astype(np.float64) * SCALE
        assert np.array_equal(exact, np.rint(exact)), "not bit for bit"
    lead, captured = take.blocks[stream][:2]
    gap_ns = captured.captured_ns - lead.captured_ns - len(lead.samples) * 1e9 / RATE_HZ
    assert abs(gap_ns) < 1e6


@pytest.mark.parametrize("held_up_s", [0.2, 0.5])
@pytest.mark.alone
def test_a_reader_that_was_held_up_still_has_the_first_frame(
    held_up_s: float, pulse: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both threads hear of the stream long after it began, as on a busy machine."""
    is_held_up = threading.Event()

    def held_up(do: Any) -> Any:
        def late(*arguments: Any) -> Any:
            while is_held_up.is_set():
                time.sleep(0.001)
            return do(*arguments)

        return late

    monkeypatch.setattr(PulseReader, "_drain", held_up(PulseReader._drain))
    monkeypatch.setattr(PulseApp, "_warn", held_up(PulseApp._warn))
    with open_players() as source:
        take = Take(source)
        time.sleep(FORGOTTEN_S)
        is_held_up.set()
        words = ("--name", "message", "--seconds", "1.5", "--latency-ms", "50")
        player = start("counted_player.py", *words)
        until_playing(pulse, "message")
        time.sleep(held_up_s)
        is_held_up.clear()
        assert player.wait(60) == 0
        take.wait(take.ended)
    (event,) = take.started()
    numbers = played(take.samples(event.details["stream"]))
    assert numbers[0] == 0, f"{numbers[0]} frames are missing; {dict(event.details)}"
    assert event.details["lead_ms"] > held_up_s * 900
    assert_unbroken(numbers, event.details["lead_ms"])


@pytest.mark.usefixtures("pulse", "_late")
def test_no_lead_is_taken_while_another_plays_or_just_did(start: Any) -> None:
    music = start("tones.py", "--hz", "1000", "--name", "music")
    with open_players(name="message") as source:
        take = Take(source)
        time.sleep(FORGOTTEN_S)
        play(start)
        music.kill()
        music.wait()
        play(start)
        take.wait(lambda: take.ended() == 2)
    beside, after = take.started()
    assert beside.details["lead_ms"] == 0
    assert beside.details["missing_ms"] > LATE_S * 1000 / 2
    assert after.details["lead_ms"] == 0 or after.details["missing_ms"] == 0
    for event in (beside, after):
        assert tone_db(take.samples(event.details["stream"])[: RATE_HZ // 4], 1000) < -60


@pytest.mark.usefixtures("_late")
def test_a_muted_output_gives_no_lead(pulse: Any, start: Any) -> None:
    sink = pulse.get_sink_by_name("spk")
    pulse.mute(sink, mute=True)
    try:
        with open_players() as source:
            take = Take(source)
            time.sleep(FORGOTTEN_S)
            play(start)
            take.wait(take.ended)
    finally:
        pulse.mute(sink, mute=False)
    (event,) = take.started()
    assert event.details["lead_ms"] == 0
    assert event.details["missing_ms"] > 0
    assert len(played(take.samples(event.details["stream"]))) > 0.4 * RATE_HZ


# ------------------------------------------------------------------------------------ what is whose


@pytest.mark.usefixtures("pulse")
def test_an_applications_name_beats_a_title(start: Any) -> None:
    start("tones.py", "--hz", "440", "--name", "podcast of alpha", "--seconds", "20")
    start("tones.py", "--hz", "1000", "--name", "alpha", "--seconds", "20")
    with pulsectl.Pulse("look") as client:
        until_playing(client, "podcast of alpha", "alpha")
    with open_players(name="Alpha") as source:
        take = Take(source)
        take.wait(lambda: len(take.blocks) == 1)
        time.sleep(0.2)
        assert [app for app, _, _ in source.playing().values()] == ["alpha"]


def test_what_this_process_plays_is_left_out(pulse: Any, start: Any) -> None:
    from tests.device.counted_player import Player  # noqa: PLC0415 - it loads libpulse

    with open_players() as source:
        take = Take(source)
        own = Player("own", None, 50)
        try:
            assert pulse.sink_input_list()
            play(start, "other")
            take.wait(take.ended)
        finally:
            own.close()
    assert [event.details["app"] for event in take.started()] == ["other"]


def test_without_applications_to_tell_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(BackendUnavailableError) as error:
        open_players()
    assert error.value.hint

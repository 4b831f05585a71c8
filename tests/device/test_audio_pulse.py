"""Sound of private servers: what is recorded, when it was heard, what may go wrong.

The servers play to null sinks only. What differs between PulseAudio and PipeWire runs on both,
where PipeWire's programs are installed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from capture.errors import BackendUnavailableError, DeviceNotFoundError
from capture.model.devices import DeviceKind
from capture.model.events import Event, EventKind
from capture.sources import audio_pulse as pulse
from tests.device.recorded import until, until_playing
from tests.device.servers import PipeWireServer, PulseServer, serving, talking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from capture.model.signal import AudioBlock

try:
    import pulsectl  # noqa: F401 - it loads libpulse
except (ImportError, OSError):
    pytest.skip("needs libpulse", allow_module_level=True)

pytestmark = [
    pytest.mark.device,
    pytest.mark.skipif(shutil.which("pulseaudio") is None, reason="needs pulseaudio"),
]

RATE_HZ = 48_000
TOLERANCE_MS = 12.0
"""PulseAudio is within 0.2; where the PipeWire player stands is known to a cycle of 10 ms."""
PLAYER = Path(__file__).with_name("counted_player.py")


@pytest.fixture(scope="module")
def pulse_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from serving(PulseServer(tmp_path_factory.mktemp("pulse")))


@pytest.fixture(scope="module")
def pulse_pipewire_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from serving(PipeWireServer(tmp_path_factory.mktemp("pipewire")))


@pytest.fixture
def pulse_server(pulse_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """PulseAudio as PULSE_SERVER, seen through pulsectl."""
    yield from talking(pulse_address, monkeypatch)


@pytest.fixture(
    scope="module", params=["pulse_address", "pulse_pipewire_address"], ids=["pulse", "pipewire"]
)
def pulse_either_address(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def pulse_either(pulse_either_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """PulseAudio, then PipeWire, as PULSE_SERVER."""
    yield from talking(pulse_either_address, monkeypatch)


class Take:
    """What a source delivered; waits for what is to come."""

    def __init__(self) -> None:
        self.blocks: list[AudioBlock] = []
        self.events: list[Event] = []

    def start(self, source: Any) -> None:
        source.start(self.blocks.append, self.events.append)

    def wait(self, condition: Callable[[], Any]) -> None:
        until(condition, lambda: [event.message for event in self.events])

    def has(self, kind: EventKind) -> bool:
        return any(event.kind is kind for event in self.events)

    def wait_for_sound(self, since: int = 0) -> None:
        self.wait(lambda: any(block.samples.any() for block in self.blocks[since:]))

    def samples(self, since: int = 0) -> Any:
        return np.concatenate([block.samples[:, 0] for block in self.blocks[since:]])


def counted(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PLAYER), *arguments], stdout=subprocess.PIPE, text=True
    )


def numbers(samples: Any) -> Any:
    """Frame numbers of what the counted player played; -1 for silence."""
    return np.rint(samples.astype(np.float64) * 2.0**23) - 1


def errors_ms(blocks: list[AudioBlock], heard_ns: int) -> Any:
    """Columns: seconds since the first sound, stamp minus truth in ms; one row a block."""
    rows = []
    for block in blocks:
        played = numbers(block.samples[:, 0])
        (sounding,) = np.nonzero(played >= 0)
        if len(sounding):
            offset_ns = (played[sounding[0]] - sounding[0]) * 1e9 / RATE_HZ
            rows.append((block.captured_ns, (block.captured_ns - heard_ns - offset_ns) / 1e6))
    table = np.array(rows)
    table[:, 0] = (table[:, 0] - table[0, 0]) / 1e9
    return table


@pytest.fixture
def pulse_tone(tmp_path: Path) -> Iterator[Callable[[str, float, float], subprocess.Popen[bytes]]]:
    """Play a tone under an application's name; its latency bridges a busy machine."""
    running = []

    def play(name: str, hz: float, seconds: float) -> subprocess.Popen[bytes]:
        path = tmp_path / f"{name}-{hz}-{seconds}.wav"
        tone = 0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes((tone * 32767).astype("<i2").tobytes())
        process = subprocess.Popen(
            ["paplay", f"--client-name={name}", "--device=spk", "--latency-msec=500", str(path)]
        )
        running.append(process)
        return process

    yield play
    for process in running:
        process.kill()
        process.wait()


def tone_db(samples: Any, hz: float) -> float:
    """Level of one frequency, by the windowed sum of the signal against it."""
    window = np.hanning(len(samples))
    turn = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / RATE_HZ)
    amplitude = 2 * abs(np.sum(samples * window * turn)) / np.sum(window)
    return float(20 * np.log10(amplitude + 1e-12))


# ------------------------------------------------------------------------------- sound and time


@pytest.mark.usefixtures("pulse_either")
@pytest.mark.parametrize(("latency_ms", "is_player_first"), [(40, True), (100, False), (200, True)])
@pytest.mark.alone
def test_the_mix_is_gapless_and_stamped_when_it_was_heard(
    latency_ms: int, *, is_player_first: bool
) -> None:
    take = Take()
    play = ("--seconds", "2", "--latency-ms", str(latency_ms), "--device", "spk")
    player = counted(*play) if is_player_first else None
    if player is not None and player.stdout is not None:
        assert player.stdout.readline() == "playing\n"
    with pulse.PulseOutput("spk") as source:
        take.start(source)
        player = player or counted(*play)
        truth = json.loads(player.communicate()[0].splitlines()[-1])
        time.sleep(0.2)

    played = numbers(take.samples())
    (sounding,) = np.nonzero(played >= 0)
    steps = np.diff(played[sounding[0] : sounding[-1] + 1])
    assert np.count_nonzero(steps != 1) <= 1, "a frame is missing or twice"
    positions = [block.position_frames for block in take.blocks]
    lengths = [len(block.samples) for block in take.blocks]
    assert positions == list(np.cumsum([0, *lengths[:-1]]))
    errors = errors_ms(take.blocks, truth["heard_ns"])
    first, later = errors[errors[:, 0] < 1, 1], errors[errors[:, 0] >= 1, 1]
    assert abs(np.median(first)) < TOLERANCE_MS
    assert abs(np.median(later)) < TOLERANCE_MS
    assert not take.events


@pytest.mark.usefixtures("pulse_server")
@pytest.mark.alone
def test_stamps_hold_beside_busy_threads() -> None:
    take, is_done = Take(), threading.Event()

    def burn() -> None:
        while not is_done.is_set():
            sum(range(1000))

    busy = [threading.Thread(target=burn) for _ in range(2)]
    for thread in busy:
        thread.start()
    try:
        with pulse.PulseOutput("spk") as source:
            take.start(source)
            player = counted("--seconds", "2", "--latency-ms", "100", "--device", "spk")
            truth = json.loads(player.communicate()[0].splitlines()[-1])
            time.sleep(0.3)
    finally:
        is_done.set()
        for thread in busy:
            thread.join()
    assert abs(np.median(errors_ms(take.blocks, truth["heard_ns"])[:, 1])) < TOLERANCE_MS


# -------------------------------------------------------------------------------- applications


@pytest.mark.usefixtures("pulse_either")
def test_an_application_alone_before_during_and_after_it_plays(
    pulse_tone: Callable[[str, float, float], subprocess.Popen[bytes]],
) -> None:
    take = Take()
    with pulse.PulseApp("Alpha") as source:
        take.start(source)
        pulse_tone("beta", 1000, 120)
        take.wait(lambda: take.has(EventKind.WARNING))
        assert "waiting" in take.events[0].message
        time.sleep(0.4)
        assert not take.blocks

        pulse_tone("alpha", 440, 1).wait()
        take.wait(lambda: take.has(EventKind.STREAM_ENDED))
        ended = len(take.blocks)
        time.sleep(0.6)
        assert len(take.blocks) == ended, "something was recorded after the application ended"

        pulse_tone("alpha", 440, 1).wait()
        take.wait(lambda: len([e for e in take.events if e.kind is EventKind.STREAM_ENDED]) == 2)
    first, second = take.blocks[:ended], take.blocks[ended:]
    assert {block.stream for block in first}.isdisjoint(block.stream for block in second)
    started = [event for event in take.events if event.kind is EventKind.STREAM_STARTED]
    for blocks, event in zip((first, second), started, strict=True):
        sound = np.concatenate([block.samples[:, 0] for block in blocks])
        (sounding,) = np.nonzero(sound)
        sound = sound[sounding[0] : sounding[-1]]
        # Beside another the first of it is lost, and said to be.
        assert len(sound) / RATE_HZ > 0.95 - event.details["missing_ms"] / 1000
        assert tone_db(sound, 440) > -18  # a player that is held up leaves gaps in its tone
        assert tone_db(sound, 1000) < tone_db(sound, 440) - 60


@pytest.mark.usefixtures("pulse_either")
def test_a_pause_of_an_application_keeps_its_length() -> None:
    take = Take()
    with pulse.PulseApp("counted") as source:
        take.start(source)
        player = counted(
            "--seconds", "2", "--latency-ms", "50", "--device", "spk", "--pause-at", "1"
        )
        paused_s = json.loads(player.communicate()[0].splitlines()[-1])["paused_s"]
        take.wait(lambda: take.has(EventKind.STREAM_ENDED))
    times = np.concatenate(
        [
            block.captured_ns / 1e9 + np.nonzero(block.samples[:, 0])[0] / RATE_HZ
            for block in take.blocks
        ]
    )
    played = numbers(take.samples())
    # PulseAudio takes back what it had rendered, and plays it again after the pause.
    assert np.diff(played[played >= 0]).min() > -0.1 * RATE_HZ
    # A busy machine lets the player go on later than it wants to.
    assert paused_s - 0.15 <= np.diff(times).max() <= paused_s + 0.5


def test_an_application_is_followed_to_another_output(pulse_either: Any) -> None:
    take = Take()
    with pulse.PulseApp("counted") as source:
        take.start(source)
        player = counted("--seconds", "3", "--latency-ms", "50", "--device", "spk")
        take.wait_for_sound()
        (stream,) = pulse_either.sink_input_list()
        alt = pulse_either.get_sink_by_name("alt")
        pulse_either.sink_input_move(stream.index, alt.index)
        moved = len(take.blocks)
        take.wait_for_sound(moved + 5)
        player.communicate()
    assert {block.stream for block in take.blocks} == {stream.index}
    played = numbers(take.samples())
    assert (np.diff(played[played >= 0]) > 0).all()
    assert not take.has(EventKind.DEVICE_LOST)


# ------------------------------------------------------------------------------ what may go wrong


def test_an_output_that_is_unloaded_comes_back(pulse_either: Any) -> None:
    take = Take()
    module = pulse_either.module_load("module-null-sink", "sink_name=usb rate=48000")
    with pulse.PulseOutput("usb") as source:
        take.start(source)
        take.wait(lambda: take.blocks)
        pulse_either.module_unload(module)
        take.wait(lambda: take.has(EventKind.DEVICE_LOST))
        lost = len(take.blocks)
        time.sleep(0.3)
        module = pulse_either.module_load("module-null-sink", "sink_name=usb rate=48000")
        take.wait(lambda: take.has(EventKind.DEVICE_BACK))
        take.wait(lambda: len(take.blocks) > lost)
    pulse_either.module_unload(module)
    before, after = take.blocks[lost - 1], take.blocks[lost]
    assert before.stream == after.stream
    passed_s = (after.captured_ns - before.captured_ns) / 1e9
    assert after.position_frames - before.position_frames == pytest.approx(
        passed_s * RATE_HZ, abs=0.001 * RATE_HZ
    )


def test_a_server_that_is_killed_is_found_again(tmp_path: Path) -> None:
    server = PulseServer(tmp_path)
    server.start()
    take = Take()
    try:
        with pulse.PulseOutput(server=server.address) as source:
            take.start(source)
            take.wait(lambda: take.blocks)
            server.stop()
            take.wait(lambda: take.has(EventKind.DEVICE_LOST))
            server.start()
            take.wait(lambda: take.has(EventKind.DEVICE_BACK))
            since = len(take.blocks)
            take.wait(lambda: len(take.blocks) > since)
    finally:
        server.stop()
    kinds = [event.kind for event in take.events]
    assert kinds.count(EventKind.DEVICE_LOST) == kinds.count(EventKind.DEVICE_BACK) == 1


def test_the_default_output_is_followed_unless_it_was_named(pulse_server: Any) -> None:
    follows, stays = Take(), Take()
    player = counted("--seconds", "4", "--latency-ms", "50", "--device", "alt")
    with pulse.PulseOutput() as one, pulse.PulseOutput("spk") as other:
        follows.start(one)
        stays.start(other)
        follows.wait(lambda: follows.blocks)
        pulse_server.sink_default_set("alt")
        follows.wait(lambda: follows.has(EventKind.DEFAULT_CHANGED))
        follows.wait_for_sound()
        assert not stays.events
        assert not stays.samples().any()
        pulse_server.sink_default_set("spk")  # takes the player along
    player.communicate()


def test_a_muted_output_is_told(pulse_server: Any) -> None:
    take = Take()
    alt = pulse_server.get_sink_by_name("alt")
    with pulse.PulseOutput("alt") as source:
        take.start(source)
        take.wait(lambda: take.blocks)
        assert not take.events
        pulse_server.mute(alt, mute=True)
        take.wait(lambda: take.has(EventKind.WARNING))
        pulse_server.mute(alt, mute=False)
    assert "muted" in take.events[0].message


@pytest.mark.usefixtures("pulse_server")
def test_names_that_do_not_exist() -> None:
    with pytest.raises(DeviceNotFoundError) as unknown:
        pulse.PulseOutput("kitchen")
    assert "spk" in str(unknown.value.hint)
    with pytest.raises(DeviceNotFoundError, match="has no microphone"):
        pulse.PulseMicrophone()  # monitors are no microphones


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError) as error:
        pulse.PulseApp("any", server=f"unix:{tmp_path}/none")
    assert error.value.hint


def test_what_is_listed(
    pulse_server: Any, pulse_tone: Callable[[str, float, float], subprocess.Popen[bytes]]
) -> None:
    default = pulse_server.server_info().default_sink_name
    options = "sink_name=cd rate=44100 channels=1 channel_map=mono"
    module = pulse_server.module_load("module-null-sink", options)
    try:
        devices = {device.id: device for device in pulse.list_devices()}
    finally:
        pulse_server.module_unload(module)
    assert (devices["cd"].rate_hz, devices["cd"].channels) == (44_100, 1)
    assert (devices["alt"].rate_hz, devices["alt"].channels) == (48_000, 2)
    devices = {device.id: device for device in pulse.list_devices()}
    assert {"spk", "alt"} <= devices.keys()
    assert devices[default].is_default
    assert devices["spk"].kind is DeviceKind.OUTPUT
    assert "pulse" in pulse.server_name().lower()
    player = pulse_tone("gamma", 440, 60)
    until_playing(pulse_server, "gamma")
    (app,) = (app for app in pulse.list_apps() if app.name == "gamma")
    assert app.pid == player.pid
    assert len(app.stream_ids) == 1

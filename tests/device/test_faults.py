"""What may go wrong during a recording, on the real thing: the file stays whole and tells it.

After every fault the film decodes, its tracks are equally long, what was lost is in the result, and
where sound was missing there is exact silence. Sound servers and, where it is killed, the screen
are the test's own.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest

from capture import AudioSpec, Event, EventKind, RecordingResult, RecordingSpec, Session, VideoSpec
from capture.desktop import PrivateDesktop
from capture.media.verify import verify
from tests.device.measure import measure_events, offsets
from tests.device.servers import PIPEWIRE_PROGRAMS, PipeWireServer, PulseServer
from tests.media.films import read_picture_times, read_sound, video_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

HERE = Path(__file__).parent
RATE_HZ = 48_000
EQUAL_S = 0.035
"""How far the ends of two tracks may be apart: the last picture fills its slot of the grid."""
AAC_FRAME_S = 1024 / RATE_HZ
"""AAC is written in whole frames."""
STEP_MS = 15.0
"""How far events after a fault may be from those before."""
PIPEWIRE_MS = 12.0
SERVERS = {"pulse": PulseServer, "pipewire": PipeWireServer}

assert sys.platform != "win32"  # for the type checker: it knows no signals there


# ----------------------------------------------------------------------------- what the tests use


class Film:
    """A session in this process: lossless sound, and everything that was told."""

    def __init__(self, path: Path, **spec: Any) -> None:
        self.path = path
        self.events: list[Event] = []
        values: dict[str, Any] = {"video": VideoSpec(), "audio_codec": "flac"} | spec
        self.session = Session(RecordingSpec(path, **values), self.events.append)

    def __enter__(self) -> Self:
        self.session.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.session.stop()
        self.session.wait()

    def wait_for(self, kind: EventKind, seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not any(event.kind is kind for event in self.events):
            assert time.monotonic() < deadline, [event.message for event in self.events]
            time.sleep(0.02)

    @property
    def result(self) -> RecordingResult:
        assert self.session.result is not None
        return self.session.result


def check_whole(path: Path, codec_frame_s: float = 0.0) -> NDArray[np.float32]:
    """The film decodes to its end and its tracks are of one length; gives the left channel."""
    sound = read_sound(path)
    times = read_picture_times(path)
    assert times == sorted(times)
    assert sound.start_s == pytest.approx(0, abs=0.002)
    assert sound.end_s == pytest.approx(video_end(path), abs=EQUAL_S + codec_frame_s)
    report = verify(path)
    assert report.faults == 0, report.findings
    return sound.samples[:, 0]


def holes_s(samples: NDArray[np.float32], at_least_s: float = 0.3) -> list[tuple[float, float]]:
    """(start, length) of each stretch of exact silence between the first and the last sound."""
    (sounding,) = np.nonzero(samples)
    steps = np.diff(sounding)
    (wide,) = np.nonzero(steps > at_least_s * RATE_HZ)
    return [(float(sounding[at]) / RATE_HZ, float(steps[at]) / RATE_HZ) for at in wide]


def has_tone(samples: NDArray[np.float32], hz: float) -> bool:
    """Whether a tone of about -12 dBFS is in there, by the windowed sum against it."""
    window = np.hanning(len(samples))
    turn = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / RATE_HZ)
    return bool(2 * abs(np.sum(samples * window * turn)) / np.sum(window) > 0.05)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start one of our programs; it ends with the test at the latest."""
    running: list[subprocess.Popen[str]] = []

    def run(*words: str, **variables: str) -> subprocess.Popen[str]:
        command = [sys.executable, *words]
        environment = os.environ | {"PYTHONPATH": str(HERE.parents[1])} | variables
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def tone(start: Any) -> Callable[..., subprocess.Popen[str]]:
    """Play a tone to the default output, or the one named."""

    def play(
        hz: float = 440, name: str = "one", sink: str = "", latency_ms: int = 100
    ) -> subprocess.Popen[str]:
        words = [str(HERE / "tones.py"), "--hz", str(hz), "--name", name]
        words += ["--latency-ms", str(latency_ms)]
        process: subprocess.Popen[str] = start(*words, **({"PULSE_SINK": sink} if sink else {}))
        return process

    return play


@pytest.fixture(scope="module", params=list(SERVERS))
def kept_address(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A server that outlives the test: PulseAudio, then PipeWire."""
    if request.param == "pipewire" and not all(map(shutil.which, PIPEWIRE_PROGRAMS)):
        pytest.skip("needs pipewire, wireplumber, pipewire-pulse and dbus-run-session")
    server = SERVERS[request.param](tmp_path_factory.mktemp(request.param), "norewinds=1")
    server.start()
    yield server.address
    server.stop()


@pytest.fixture
def pulse(
    kept_address: str, desktop_env: PrivateDesktop, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """The private screen with that server, seen through pulsectl."""
    import pulsectl  # noqa: PLC0415 - it loads libpulse

    del desktop_env
    monkeypatch.setenv("PULSE_SERVER", kept_address)
    with pulsectl.Pulse("test") as client:
        client.sink_default_set("spk")
        yield client


@pytest.fixture
def own_server(
    desktop_env: PrivateDesktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PulseServer]:
    """The private screen with a PulseAudio that may be killed."""
    del desktop_env
    server = PulseServer(tmp_path, "norewinds=1")
    monkeypatch.setenv("PULSE_SERVER", server.address)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def record(start: Any) -> Callable[..., subprocess.Popen[str]]:
    """`capture record --json` as a user runs it; returns once it records."""

    def run(path: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
        process: subprocess.Popen[str] = start(
            "-m", "capture", "record", str(path), "--json", *words, **variables
        )
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "started":
                return process
        raise AssertionError("it never recorded")

    return run


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=30)
    last: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert last["event"] == "result", output
    return last


# ---------------------------------------------------------------------------- the recorder itself


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(
    number: signal.Signals, desktop_env: PrivateDesktop, record: Any, tmp_path: Path
) -> None:
    del desktop_env
    path = tmp_path / "film.mp4"
    process = record(path)
    time.sleep(0.7)
    process.send_signal(number)
    result = result_of(process)
    assert process.returncode == 0
    assert result["paths"] == [str(path)]
    assert video_end(path) == pytest.approx(result["duration_s"], abs=0.05)
    check_whole(path, AAC_FRAME_S)


def test_interrupting_twice_does_not_wait_and_keeps_the_file(
    desktop_env: PrivateDesktop, record: Any, tmp_path: Path
) -> None:
    del desktop_env
    path = tmp_path / "film.mp4"
    process = record(path)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    begun_s = time.monotonic()
    result = result_of(process)
    assert time.monotonic() - begun_s < 3
    assert process.returncode == 0
    assert result["duration_s"] > 1
    check_whole(path, AAC_FRAME_S)


def test_a_recorder_that_is_stopped_for_three_seconds_loses_no_sound(
    own_server: PulseServer, record: Any, tone: Any, tmp_path: Path
) -> None:
    del own_server
    path = tmp_path / "film.mkv"
    tone(latency_ms=1000)  # whose own sound has no hole on a busy machine
    process = record(path, "--audio-codec", "flac")
    time.sleep(1.5)
    process.send_signal(signal.SIGSTOP)
    time.sleep(3)
    process.send_signal(signal.SIGCONT)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    result = result_of(process)
    samples = check_whole(path)
    assert result["duration_s"] == pytest.approx(6.5, abs=0.6)
    assert holes_s(samples, 0.001) == []
    assert result["tracks"][1]["silence_inserted_s"] == 0
    assert result["dropped_pictures"] >= 70  # the first half second was to be slept through anyway
    assert any("was stopped for 3" in warning for warning in result["warnings"])
    assert not any("too busy" in warning for warning in result["warnings"])
    assert result["dead"] == ["picture"] * ("picture" in result["dead"])  # the desktop is black


# ------------------------------------------------------------------------------------- the screen


def test_a_screen_that_is_killed_leaves_the_sound_going_on(record: Any, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with PrivateDesktop(640, 360) as desktop:  # its screen is going to be killed
        process = record(path, "--duration", "3", **desktop.environment)
        time.sleep(1)
        _kill_screen(desktop)
        result = result_of(process)
    assert process.returncode == 0
    assert result["stopped_by"] == "duration"
    assert any("the sound is still recorded" in warning for warning in result["warnings"])
    assert result["duration_s"] == 3
    check_whole(path, AAC_FRAME_S)


def _kill_screen(desktop: PrivateDesktop) -> None:
    """End the X server of a desktop: the child of one of its keepers."""
    keepers = {server.pid for server in desktop._servers}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
            if name == "Xvfb" and int(rest.split()[1]) in keepers:
                os.kill(int(path.parent.name), signal.SIGKILL)
                return
    raise AssertionError("no X server")


def test_a_window_that_is_closed_ends_the_recording(
    desktop_env: PrivateDesktop, tmp_path: Path
) -> None:
    from capture.sources.canvas_x11 import Canvas  # noqa: PLC0415 - it loads libxcb

    del desktop_env
    path = tmp_path / "film.mkv"
    with Canvas("a window to close", 320, 240) as canvas:
        canvas.prepare(np.full((240, 320, 3), 128, np.uint8))
        canvas.show()
        film = Film(path, video=VideoSpec(window="a window to close"))
        film.session.start()
        time.sleep(1)
    assert film.session.wait(10) is not None
    assert film.result.stopped_by == "source-ended"
    assert film.result.duration_s == pytest.approx(1.1, abs=0.5)
    check_whole(path)


# --------------------------------------------------------------------------- the sound's own faults


def test_a_sound_server_that_is_killed_and_restarted(
    own_server: PulseServer, tone: Any, tmp_path: Path
) -> None:
    path = tmp_path / "film.mkv"
    tone()
    with Film(path) as film:
        time.sleep(1.2)
        own_server.stop()
        film.wait_for(EventKind.DEVICE_LOST)
        time.sleep(1)
        own_server.start()
        tone()
        film.wait_for(EventKind.DEVICE_BACK)
        time.sleep(1.5)
    samples = check_whole(path)
    ((start_s, length_s),) = holes_s(samples)
    assert start_s == pytest.approx(1.2, abs=0.5)
    assert 1 < length_s < 4
    assert film.result.tracks[1].silence_inserted_s == pytest.approx(length_s, abs=0.7)
    assert any("sound server is gone" in warning for warning in film.result.warnings)


def test_an_output_that_is_unloaded_and_loaded_again(pulse: Any, tone: Any, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    options = "sink_name=usb rate=48000 norewinds=1"
    module = pulse.module_load("module-null-sink", options)
    tone(sink="usb")
    with Film(path, audio=(AudioSpec("system:usb"),)) as film:
        time.sleep(1.5)
        pulse.module_unload(module)
        film.wait_for(EventKind.DEVICE_LOST)
        time.sleep(0.7)
        module = pulse.module_load("module-null-sink", options)
        tone(sink="usb")
        film.wait_for(EventKind.DEVICE_BACK)
        time.sleep(1.5)
    pulse.module_unload(module)
    samples = check_whole(path)
    ((_, length_s),) = holes_s(samples)
    assert 0.6 < length_s < 3
    assert film.result.tracks[1].silence_inserted_s == pytest.approx(length_s, abs=0.7)
    assert any("went away" in warning for warning in film.result.warnings)


def test_a_microphone_that_is_unplugged_and_back(pulse: Any, tone: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    options = "master=spk.monitor source_name=usbmic source_properties=device.class=sound"
    tone(sink="spk")
    module = pulse.module_load("module-remap-source", options)
    with Film(path, audio=(AudioSpec("mic:usbmic"),)) as film:
        time.sleep(1.2)
        pulse.module_unload(module)
        film.wait_for(EventKind.DEVICE_LOST)
        time.sleep(0.7)
        module = pulse.module_load("module-remap-source", options)
        film.wait_for(EventKind.DEVICE_BACK)
        time.sleep(1.2)
    pulse.module_unload(module)
    samples = check_whole(path)
    ((_, length_s),) = holes_s(samples)
    assert 0.6 < length_s < 3
    assert film.result.warnings


@pytest.mark.parametrize("is_followed", [True, False])
def test_another_default_output(
    pulse: Any, tone: Any, tmp_path: Path, *, is_followed: bool
) -> None:
    path = tmp_path / "film.mkv"
    tone(440, "one", "spk")
    tone(1000, "two", "alt")
    with Film(path, follow_default=is_followed) as film:
        time.sleep(1.4)
        pulse.sink_default_set("alt")  # the servers take the first player along
        time.sleep(1.6)
    samples = check_whole(path)
    before, after = samples[RATE_HZ // 2 : RATE_HZ * 5 // 4], samples[-RATE_HZ:]
    assert has_tone(before, 440)
    assert not has_tone(before, 1000)
    assert has_tone(after, 1000) == is_followed
    assert after.any() == is_followed
    kinds = [event.kind for event in film.events]
    assert (EventKind.DEFAULT_CHANGED in kinds) == is_followed
    assert all(length_s < 0.6 for _, length_s in holes_s(samples))


def test_an_application_that_ends_and_starts_again(pulse: Any, tone: Any, tmp_path: Path) -> None:
    del pulse
    path = tmp_path / "film.mkv"
    tone(1000, "other")
    player = tone(440, "one")
    time.sleep(0.5)
    with Film(path, audio=(AudioSpec("app:one"),)) as film:
        time.sleep(1)
        player.kill()
        player.wait()
        film.wait_for(EventKind.STREAM_ENDED)
        time.sleep(1)
        tone(440, "one")
        time.sleep(2)
    samples = check_whole(path)
    ((_, length_s),) = holes_s(samples)
    assert 0.8 < length_s < 2.5
    assert not has_tone(samples, 1000)
    assert has_tone(samples[-RATE_HZ:], 440)
    kinds = [event.kind for event in film.events]
    assert kinds.count(EventKind.STREAM_STARTED) == 2


def test_an_application_that_pauses_for_five_seconds(
    pulse: Any, start: Any, tmp_path: Path
) -> None:
    del pulse
    path = tmp_path / "film.mkv"
    player = start(
        str(HERE / "counted_player.py"),
        *("--name", "one", "--device", "spk", "--latency-ms", "50"),
        *("--seconds", "2", "--pause-at", "1", "--pause-s", "5"),
    )
    with Film(path, audio=(AudioSpec("app:one"),)) as film:
        player.wait(20)
    samples = check_whole(path)
    ((_, length_s),) = holes_s(samples)
    assert length_s == pytest.approx(5, abs=0.2)
    assert film.result.dead in {(), ("picture",)}  # the desktop is black; the pause is no fault


# ------------------------------------------------------------------------------- what says nothing


@pytest.mark.parametrize(("words", "code"), [(["--strict"], 4), ([], 0)])
def test_a_muted_output_is_told(
    words: list[str], code: int, *, own_server: PulseServer, start: Any, tone: Any, tmp_path: Path
) -> None:
    import pulsectl  # noqa: PLC0415 - it loads libpulse

    with pulsectl.Pulse("test", server=own_server.address) as client:
        client.mute(client.get_sink_by_name("spk"), mute=True)
    tone()
    process = start(
        "-c",
        "import sys; sys.stderr = sys.stdout; from capture.cli.app import main; main()",
        *("record", str(tmp_path / "a.m4a"), "--no-video", "--duration", "1.5", *words),
    )
    output, _ = process.communicate(timeout=30)
    assert process.returncode == code, output
    assert output.count("output (Null Output) was silent all the time") == 1
    assert "warning: output (Null Output) was silent all the time" in output
    assert ("error: recorded, but nothing came of output (Null Output)" in output) == (code == 4)
    assert read_sound(tmp_path / "a.m4a").end_s == pytest.approx(1.5, abs=0.05)


# ----------------------------------------------------------------------- in step, whatever happens


def flashbeep(start: Any, folder: Path, events: int = 5) -> None:
    """Show and play a few events, to their end."""
    words = [
        "--events",
        str(events),
        "--lead",
        "1.3",
        "--tail",
        "0.5",
        "--out",
        str(folder / "truth"),
    ]
    assert start(str(HERE / "flashbeep.py"), *words).wait(60) == 0


@pytest.mark.alone
def test_events_after_every_fault_are_as_well_aligned_as_before(
    own_server: PulseServer, start: Any, tmp_path: Path
) -> None:
    import pulsectl  # noqa: PLC0415 - it loads libpulse

    path = tmp_path / "film.mkv"
    edges_s = [0.0]
    with Film(path, video=VideoSpec(fps=60)) as film:

        def show() -> None:
            flashbeep(start, tmp_path)
            edges_s.append(film.session.snapshot().recorded_ns / 1e9)

        show()
        with pulsectl.Pulse("test", server=own_server.address) as client:
            client.sink_default_set("alt")
        film.wait_for(EventKind.DEFAULT_CHANGED)
        show()
        own_server.stop()
        time.sleep(2)
        own_server.start()
        film.wait_for(EventKind.DEVICE_BACK)
        show()
        film.session.pause()
        time.sleep(1)
        film.session.resume()
        show()
    check_whole(path)
    events = measure_events(path)
    parts = [
        offsets([event for event in events if start_s < event[0] < end_s], picture_s=1 / 60)
        for start_s, end_s in itertools.pairwise(edges_s)
    ]
    print(*parts, sep="\n")  # noqa: T201 - shown with -s, and when it fails
    assert all(part.count >= 4 for part in parts)
    for part in parts[1:]:
        assert part.median_ms - parts[0].median_ms == pytest.approx(0, abs=STEP_MS)


@pytest.mark.parametrize("kept_address", ["pipewire"], indirect=True)
@pytest.mark.alone
def test_sound_and_picture_are_in_step_on_pipewire(pulse: Any, start: Any, tmp_path: Path) -> None:
    del pulse
    path = tmp_path / "film.mp4"
    with Film(path, video=VideoSpec(fps=60), audio_codec=None):
        flashbeep(start, tmp_path, events=10)
    check_whole(path, AAC_FRAME_S)
    measured = offsets(measure_events(path), picture_s=1 / 60)
    print(measured)  # noqa: T201 - shown with -s, and when it fails
    assert measured.count >= 9
    assert measured.median_ms == pytest.approx(0, abs=PIPEWIRE_MS)

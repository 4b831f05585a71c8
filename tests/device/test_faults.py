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
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from capture import AudioSpec, EventKind, VideoSpec, Window
from capture.desktop import PrivateDesktop
from tests.device.measure import against_truth, measure_events, offsets
from tests.device.recorded import PATIENCE_S, Film, check_whole, has_tone, holes_s, until_playing
from tests.device.servers import PIPEWIRE_PROGRAMS, PipeWireServer, PulseServer
from tests.media.films import read_sound, video_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
RATE_HZ = 48_000
STOPPED_S = 3.0
AAC_FRAME_S = 1024 / RATE_HZ
"""AAC is written in whole frames."""
LATENCY_S = 0.5
"""Between what is done to a device and what the film shows of it; the most that is held back."""
STEP_MS = 15.0
"""How far events after a fault may be from those before."""
PIPEWIRE_MS = 12.0
SERVERS = {"pulse": PulseServer, "pipewire": PipeWireServer}

assert sys.platform != "win32"  # for the type checker: it knows no signals there


# ----------------------------------------------------------------------------- what the tests use


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
    """Play a tone to the default output, or the one named; its latency bridges a busy machine."""

    def play(
        hz: float = 440, name: str = "one", sink: str = "", latency_ms: int = 1000
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
    output, _ = process.communicate(timeout=PATIENCE_S)
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
    result = result_of(process)
    assert process.returncode == 0
    assert result["duration_s"] > 1
    check_whole(path, AAC_FRAME_S)


def test_a_recorder_that_is_stopped_for_three_seconds_loses_no_sound(
    own_server: PulseServer, record: Any, tone: Any, tmp_path: Path
) -> None:
    import pulsectl  # noqa: PLC0415 - it loads libpulse

    path = tmp_path / "film.mkv"
    tone()
    with pulsectl.Pulse("test", server=own_server.address) as client:
        until_playing(client, "one")
    process = record(path, "--audio-codec", "flac")
    time.sleep(1.5)
    process.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED_S)
    process.send_signal(signal.SIGCONT)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    result = result_of(process)
    samples = check_whole(path)
    assert result["duration_s"] > STOPPED_S + 2
    assert holes_s(samples, 0.001) == []
    assert result["tracks"][1]["silence_inserted_s"] == 0
    assert result["dropped_pictures"] >= 70  # the first half second was to be slept through anyway
    said = re.findall(r"was stopped for ([\d.]+) s", " ".join(result["warnings"]))
    assert any(float(stopped_s) >= STOPPED_S for stopped_s in said)
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
    """End the X server of a desktop: the child of one of its supervisors."""
    supervisors = {server.pid for server in desktop._servers}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
            if name == "Xvfb" and int(rest.split()[1]) in supervisors:
                os.kill(int(path.parent.name), signal.SIGKILL)
                return
    raise AssertionError("no X server")


def test_a_window_that_is_closed_ends_the_recording(
    desktop_env: PrivateDesktop, tmp_path: Path
) -> None:
    from capture.demo.canvas import Canvas  # noqa: PLC0415 - it loads libxcb

    del desktop_env
    path = tmp_path / "film.mkv"
    with Canvas("a window to close", 320, 240) as canvas:
        canvas.prepare(np.full((240, 320, 3), 128, np.uint8))
        canvas.show()
        film = Film(path, video=VideoSpec(Window("a window to close")))
        film.session.start()
        closed_s = film.record(1.0)
    assert film.session.wait(PATIENCE_S) is not None
    assert film.result.stopped_by == "source-ended"
    assert film.result.duration_s >= closed_s
    check_whole(path)


# --------------------------------------------------------------------------- the sound's own faults


def test_a_sound_server_that_is_killed_and_restarted(
    own_server: PulseServer, tone: Any, tmp_path: Path
) -> None:
    path = tmp_path / "film.mkv"
    tone()
    with Film(path) as film:
        film.hear()
        stopped_s = film.record(1.0)
        own_server.stop()
        film.wait_for(EventKind.DEVICE_LOST)
        film.record(1.0)
        own_server.start()
        film.wait_for(EventKind.DEVICE_BACK)
        tone()
        film.hear()
        film.record(1.0)
    samples = check_whole(path)
    ((start_s, length_s),) = holes_s(samples)
    assert start_s == pytest.approx(stopped_s, abs=LATENCY_S)
    assert length_s > 1
    assert 1 - LATENCY_S < film.result.tracks[1].silence_inserted_s < length_s + LATENCY_S
    assert any("sound server is gone" in warning for warning in film.result.warnings)


def test_an_output_that_is_unloaded_and_loaded_again(pulse: Any, tone: Any, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    options = "sink_name=usb rate=48000 norewinds=1"
    module = pulse.module_load("module-null-sink", options)
    tone(name="before", sink="usb")
    with Film(path, audio=(AudioSpec("system:usb"),)) as film:
        film.hear()
        unloaded_s = film.record(1.0)
        pulse.module_unload(module)
        film.wait_for(EventKind.DEVICE_LOST)
        film.record(0.7)
        module = pulse.module_load("module-null-sink", options)
        film.wait_for(EventKind.DEVICE_BACK)
        tone(name="after", sink="usb")
        film.hear()
        film.record(1.0)
    pulse.module_unload(module)
    samples = check_whole(path)
    ((start_s, length_s),) = holes_s(samples)
    assert start_s == pytest.approx(unloaded_s, abs=LATENCY_S)
    assert length_s > 0.6
    assert 0.7 - LATENCY_S < film.result.tracks[1].silence_inserted_s < length_s + LATENCY_S
    assert any("went away" in warning for warning in film.result.warnings)


def test_a_microphone_that_is_unplugged_and_back(pulse: Any, tone: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    options = "master=spk.monitor source_name=usbmic source_properties=device.class=sound"
    tone(sink="spk")
    module = pulse.module_load("module-remap-source", options)
    with Film(path, audio=(AudioSpec("mic:usbmic"),)) as film:
        film.hear()
        unloaded_s = film.record(1.0)
        pulse.module_unload(module)
        film.wait_for(EventKind.DEVICE_LOST)
        film.record(0.7)
        module = pulse.module_load("module-remap-source", options)
        film.wait_for(EventKind.DEVICE_BACK)
        film.hear()
        film.record(1.0)
    pulse.module_unload(module)
    samples = check_whole(path)
    ((start_s, length_s),) = holes_s(samples)
    assert start_s == pytest.approx(unloaded_s, abs=LATENCY_S)
    assert length_s > 0.6
    assert film.result.warnings


@pytest.mark.parametrize("is_followed", [True, False])
def test_another_default_output(
    pulse: Any, tone: Any, tmp_path: Path, *, is_followed: bool
) -> None:
    path = tmp_path / "film.mkv"
    tone(440, "one", "spk")
    tone(1000, "two", "alt")
    until_playing(pulse, "one", sink="spk")
    until_playing(pulse, "two", sink="alt")
    with Film(path, follow_default=is_followed) as film:
        heard_s = film.hear()
        changed_s = film.record(1.0)
        pulse.sink_default_set("alt")
        until_playing(pulse, "one", "two", sink="alt")  # the servers take the first player along
        if is_followed:
            film.wait_for(EventKind.DEFAULT_CHANGED)
            film.hear()
        film.record(1.0 + LATENCY_S)
    samples = check_whole(path)
    before = samples[round(heard_s * RATE_HZ) : round((changed_s - LATENCY_S) * RATE_HZ)]
    after = samples[-RATE_HZ:]
    assert has_tone(before, 440)
    assert not has_tone(before, 1000)
    assert has_tone(after, 1000) == is_followed
    assert after.any() == is_followed
    assert (film.count(EventKind.DEFAULT_CHANGED) > 0) == is_followed
    inserted_s = film.result.tracks[1].silence_inserted_s
    assert sum(length_s for _, length_s in holes_s(samples)) < inserted_s + LATENCY_S


def test_an_application_that_ends_and_starts_again(pulse: Any, tone: Any, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    tone(1000, "other")
    player = tone(440, "one")
    until_playing(pulse, "one", "other")
    with Film(path, audio=(AudioSpec("app:one"),)) as film:
        film.hear()
        killed_s = film.record(1.0)
        player.kill()
        player.wait()
        film.wait_for(EventKind.STREAM_ENDED)
        film.record(1.0)
        tone(440, "one")
        film.wait_for(EventKind.STREAM_STARTED, 2)
        film.hear()
        film.record(1.0 + LATENCY_S)
    samples = check_whole(path)
    ((start_s, length_s),) = holes_s(samples)
    assert start_s == pytest.approx(killed_s, abs=LATENCY_S)
    assert length_s > 1
    assert not has_tone(samples, 1000)
    assert has_tone(samples[-RATE_HZ:], 440)
    assert film.count(EventKind.STREAM_STARTED) == 2


def test_an_application_that_pauses_for_five_seconds(
    pulse: Any, start: Any, tmp_path: Path
) -> None:
    del pulse
    path = tmp_path / "film.mkv"
    with Film(path, audio=(AudioSpec("app:one"),)) as film:
        player = start(
            str(HERE / "counted_player.py"),
            *("--name", "one", "--device", "spk", "--latency-ms", "500"),
            *("--seconds", "3", "--pause-at", "1", "--pause-s", "5"),
        )
        assert player.wait(PATIENCE_S) == 0
    samples = check_whole(path)
    ((_, length_s),) = holes_s(samples)
    assert length_s > 4  # what the player's own clock made of its 5 s
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
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, output
    assert output.count("output (Null Output) was silent all the time") == 1
    assert "warning: output (Null Output) was silent all the time" in output
    assert ("error: recorded, but nothing came of output (Null Output)" in output) == (code == 4)
    assert read_sound(tmp_path / "a.m4a").end_s == pytest.approx(1.5, abs=0.05)


# ----------------------------------------------------------------------- in step, whatever happens


def flashbeep(start: Any, truth: Path, *more: str, events: int = 5, **variables: str) -> None:
    """Show and play a few events, to their end."""
    words = f"-m tests.device.flashbeep --events {events} --lead 1.3 --tail 0.5 --out {truth}"
    assert start(*words.split(), *more, **variables).wait(PATIENCE_S) == 0


@pytest.mark.alone
def test_events_after_every_fault_are_as_well_aligned_as_before(
    own_server: PulseServer, start: Any, tmp_path: Path
) -> None:
    import pulsectl  # noqa: PLC0415 - it loads libpulse

    path = tmp_path / "film.mkv"
    edges_s = [0.0]
    with Film(path, video=VideoSpec(fps=60)) as film:

        def show() -> None:
            flashbeep(start, tmp_path / f"truth{len(edges_s)}")
            edges_s.append(film.at_s)

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
    parts = []
    for number, (start_s, end_s) in enumerate(itertools.pairwise(edges_s), 1):
        shown = [event for event in events if start_s < event[0] < end_s]
        parts.append(offsets(against_truth(shown, tmp_path / f"truth{number}"), picture_s=1 / 60))
    print(*parts, sep="\n")  # noqa: T201 - shown with -s, and when it fails
    assert all(part.count >= 4 for part in parts)
    for part in parts[1:]:
        assert part.median_ms - parts[0].median_ms == pytest.approx(0, abs=STEP_MS)


@pytest.mark.parametrize("kept_address", ["pipewire"], indirect=True)
@pytest.mark.alone
def test_sound_and_picture_are_in_step_on_pipewire(
    pulse: Any, kept_address: str, start: Any, tmp_path: Path
) -> None:
    del pulse
    path, truth = tmp_path / "film.mp4", tmp_path / "truth"
    # Its own socket lies beside that of pipewire-pulse, which is in a folder.
    folder = str(Path(kept_address.partition(":")[2]).parents[1])
    variables = {"XDG_RUNTIME_DIR": folder, "PIPEWIRE_RUNTIME_DIR": folder}
    with Film(path, video=VideoSpec(fps=60), audio_codec=None):
        flashbeep(start, truth, "--graph", "spk", events=12, **variables)
    check_whole(path, AAC_FRAME_S)
    measured = offsets(against_truth(measure_events(path), truth), picture_s=1 / 60)
    print(measured)  # noqa: T201 - shown with -s, and when it fails
    assert measured.count >= 8
    assert measured.median_ms == pytest.approx(0, abs=PIPEWIRE_MS)

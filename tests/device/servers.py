"""Sound servers of their own for tests: PulseAudio and PipeWire, each with null outputs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

START_WITHIN_S = 30.0
TONES = Path(__file__).with_name("tones.py")
PIPEWIRE_PROGRAMS = ("dbus-run-session", "pipewire", "wireplumber", "pipewire-pulse")


class PulseServer:
    """A PulseAudio of its own, with the outputs ``spk`` and ``alt``; the first is the default."""

    socket = "native"

    def __init__(
        self, folder: Path, sink_options: str = "", sinks: tuple[str, ...] = ("spk", "alt")
    ) -> None:
        self.folder = folder
        self.sinks = sinks
        self.sink_options = sink_options
        self.address = f"unix:{folder}/{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        modules = [
            f"module-native-protocol-unix auth-anonymous=1 socket={self.folder}/native",
            *(
                f"module-null-sink sink_name={name} rate=48000 format=float32le {self.sink_options}"
                for name in self.sinks
            ),
        ]
        loads = [argument for module in modules for argument in ("-L", module)]
        return ["pulseaudio", "--daemonize=no", "-n", "--exit-idle-time=-1", *loads]

    def start(self) -> None:
        import pulsectl  # noqa: PLC0415 - it loads libpulse, without which tests are skipped

        variables = ("XDG_RUNTIME_DIR", "HOME", "PIPEWIRE_RUNTIME_DIR", "XDG_CONFIG_HOME")
        self.process = subprocess.Popen(
            self.command(),
            env=os.environ | dict.fromkeys(variables, str(self.folder)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            try:
                with pulsectl.Pulse("wait", server=self.address, connect=False) as client:
                    client.connect()
                    self.prepare(client)
                    return
            except pulsectl.PulseError:
                assert time.monotonic() < deadline, "the server does not come up"
                time.sleep(0.05)

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to find it; laid over its other variables."""
        return {"PULSE_SERVER": self.address} | dict.fromkeys(
            ("XDG_RUNTIME_DIR", "PIPEWIRE_RUNTIME_DIR"), str(self.folder)
        )

    def prepare(self, client: Any) -> None:
        """Make the outputs, if the server came without."""

    def stop(self) -> None:
        assert self.process is not None
        if sys.platform != "win32":  # for the type checker
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class PipeWireServer(PulseServer):
    """A PipeWire of its own with the same two outputs; everything it needs is one session."""

    socket = "pulse/native"

    def command(self) -> list[str]:
        everything = "pipewire & sleep 0.5; wireplumber & sleep 0.5; exec pipewire-pulse"
        return ["dbus-run-session", "--", "sh", "-c", everything]

    def prepare(self, client: Any) -> None:
        for name in self.sinks:
            client.module_load("module-null-sink", f"sink_name={name}")
        deadline = time.monotonic() + START_WITHIN_S
        while set(self.sinks) - {sink.name for sink in client.sink_list()}:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        client.sink_default_set(self.sinks[0])
        while client.server_info().default_sink_name != self.sinks[0]:  # WirePlumber's, in a moment
            assert time.monotonic() < deadline
            time.sleep(0.05)


def serving(server: PulseServer) -> Iterator[str]:
    """Run a server for as long as its address is in use; skips where its programs are missing."""
    if isinstance(server, PipeWireServer):
        for program in PIPEWIRE_PROGRAMS:
            if shutil.which(program) is None:
                pytest.skip(f"needs {program}")
    server.start()
    yield server.address
    server.stop()


def talking(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make a server the environment's, seen through pulsectl."""
    import pulsectl  # noqa: PLC0415 - as above

    monkeypatch.setenv("PULSE_SERVER", address)
    with pulsectl.Pulse("test") as client:
        yield client


@contextmanager
def tone(name: str, hz: float, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program of this name that plays a tone until the end, where the variables say."""
    command = [sys.executable, str(TONES), "--hz", str(hz), "--name", name, "--seconds", "3600"]
    around = os.environ | {"PYTHONPATH": str(TONES.parents[2])} | variables
    with subprocess.Popen(command, env=around) as process:
        try:
            yield process
        finally:
            process.kill()


def look_with_portaudio() -> None:
    """Have PortAudio list the server of the environment; skips where it has no way there."""
    import sounddevice  # noqa: PLC0415 - it loads PortAudio

    portaudio: Any = sounddevice
    portaudio._terminate()  # it looks once in a process, and this server may be new
    portaudio._initialize()
    if not any(each["name"] == "pulse" for each in portaudio.query_devices()):
        pytest.skip("needs ALSA's way to PulseAudio (libasound2-plugins)")

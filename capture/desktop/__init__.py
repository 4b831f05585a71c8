"""A private desktop: a screen (Xvfb) and a sound server (PulseAudio) that nobody else can see.

    with PrivateDesktop(1280, 720) as desktop:
        player = desktop.run(["mpv", "film.mkv"])
        ...                     # record it through desktop.environment
        player.wait()

Private means: the screen wants an X authority cookie and does not listen on TCP; cookie, sound
socket and runtime directory lie in a folder of mode 0700. What would lead a program back to the
desktop of the person (Wayland, the session bus) is not in its environment.

Every process runs under a supervisor (``supervisor.py``) that ends its whole process tree on a
signal to it, or when the process that owns this object dies, ``kill -9`` included.
"""

import contextlib
import os
import secrets
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from capture.closing import Closing
from capture.errors import (
    BackendUnavailableError,
    ConfigError,
    DeviceNotFoundError,
    UnsupportedError,
)

__all__ = ["HIDDEN_VARIABLES", "SINK_NAME", "PrivateDesktop", "inherited_variables"]

SINK_NAME = "desk"
"""The one output of the private sound server, and its default."""
RATE_HZ = 48_000
"""What nearly all programs play and what Opus wants: nothing is resampled on the way."""

HIDDEN_VARIABLES = (
    *("WAYLAND_DISPLAY", "WAYLAND_SOCKET", "DBUS_SESSION_BUS_ADDRESS", "PIPEWIRE_REMOTE"),
    *("PIPEWIRE_RUNTIME_DIR", "PULSE_SINK", "PULSE_SOURCE"),
)
"""Variables that would lead a program to the person's own desktop instead of this one."""

SIZE_LIMIT_PX = 16_384
"""Xvfb's coordinates are signed 16 bit numbers; half of that leaves room for windows off it."""
PROGRAM_GRACE_S = 2.0
"""How long a program may take to end by itself: time to save its settings."""
SERVER_GRACE_S = 1.0
"""The two servers end within 50 ms when asked."""
KILL_MARGIN_S = 3.0
"""Beyond its grace time, a supervisor that has not ended is stuck and is killed."""
LOG_LINES = 12
"""How much of a server's log goes into an error's details."""

_ANSWER_POLL_S = 0.01
_ANSWER_TIMEOUT_S = 1.0

_FAMILY_WILD = 0xFFFF  # libXau: an entry for any host and, without a number, for any display
_COOKIE_NAME = b"MIT-MAGIC-COOKIE-1"
_X_ACCEPTED = 1

_PULSE_COOKIE_BYTES = 256
_PULSE_PROTOCOL = 32
_PULSE_AUTH = 8
_PULSE_REPLY = 2
_PULSE_NO_CHANNEL = 0xFFFF_FFFF

# norewinds: without it the sink renders two seconds ahead while nothing plays, and whatever starts
# next is held back for as long; with it never more than 50 ms.
_SINK_MODULE = (
    f"module-null-sink sink_name={SINK_NAME} rate={RATE_HZ} channels=2 format=float32le"
    " norewinds=1 sink_properties=device.description=PrivateDesktop"
)


class PrivateDesktop(Closing):
    """A screen and a sound server of their own, up when this returns, gone after ``close()``.

    Used from one thread at a time.

    Attributes:
        display: The X display, as ``:7``.
        directory: The folder of mode 0700 with cookies, sockets and logs.

    Raises:
        BackendUnavailableError: Not Linux, Xvfb or PulseAudio is missing, or one of them did not
            start; its last words are in ``details``.
        ConfigError: The size makes no sense.
    """

    def __init__(self, width_px: int, height_px: int, *, start_timeout_s: float = 15.0) -> None:
        self.display = ""
        if not (0 < width_px <= SIZE_LIMIT_PX and 0 < height_px <= SIZE_LIMIT_PX):
            raise ConfigError(
                f"a private desktop cannot be {width_px}x{height_px} pixels",
                hint=f"give width and height from 1 to {SIZE_LIMIT_PX}, as in 1280x720",
            )
        _require_programs()
        self._programs: list[subprocess.Popen[bytes]] = []
        self._servers: list[subprocess.Popen[bytes]] = []
        self.directory = Path(tempfile.mkdtemp(prefix="capture-desktop-"))  # of mode 0700
        deadline = time.monotonic() + start_timeout_s
        try:
            self._cookie = secrets.token_bytes(16)
            (self.directory / "run").mkdir(mode=0o700)
            _write_secret(self._xauthority, _xauthority_entry(self._cookie))
            _write_secret(self._pulse_cookie, secrets.token_bytes(_PULSE_COOKIE_BYTES))
            # Both start at once; each takes a few tenths of a second on a busy machine.
            read_fd = self._start_screen(width_px, height_px)
            with open(read_fd, "rb", buffering=0) as answer:  # noqa: PTH123 - a descriptor
                self._start_sound()
                self.display = f":{self._await_display(answer, deadline)}"
            self._await(self._screen_answers, "Xvfb", deadline)
            self._await(self._sound_answers, "pulseaudio", deadline)
        except BaseException:
            self.close()
            raise

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to find this desktop; laid over its other variables."""
        return {
            "DISPLAY": self.display,
            "XAUTHORITY": str(self._xauthority),
            "PULSE_SERVER": f"unix:{self._pulse_socket}",
            "PULSE_COOKIE": str(self._pulse_cookie),
            "XDG_RUNTIME_DIR": str(self.directory / "run"),
            "XDG_SESSION_TYPE": "x11",
        }

    def run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = 2,
        stderr: int | IO[bytes] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program on this desktop, in a session of its own.

        As in a container, the command has to stay in the foreground: what it leaves behind in the
        background ends with it. The result is its supervisor: end it with ``terminate()``; after a
        ``kill()`` the supervisor can no longer look after grandchildren.

        Args:
            command: The program and its arguments.
            environment: More variables for it.
            stdin: As for ``subprocess.Popen``; nothing to read by default.
            stdout: The same; our stderr by default, because our stdout is for results.
            stderr: The same; our stderr by default.

        Raises:
            DeviceNotFoundError: There is no such program.
        """
        if not command:
            raise ConfigError("the command to run is empty", hint="name a program to run")
        variables = inherited_variables() | self.environment | dict(environment or {})
        if shutil.which(command[0], path=variables.get("PATH", os.defpath)) is None:
            raise DeviceNotFoundError(
                f"there is no program {command[0]!r}",
                hint="check the command, or install the program",
            )
        program = subprocess.Popen(  # noqa: S603 - running it is the purpose
            _supervised(command, PROGRAM_GRACE_S),
            env=variables,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        self._programs.append(program)
        return program

    def close(self) -> None:
        """End the programs, then the servers, and delete the folder; idempotent."""
        _end(self._programs, PROGRAM_GRACE_S)
        _end(self._servers, SERVER_GRACE_S)
        shutil.rmtree(self.directory, ignore_errors=True)

    # ------------------------------------------------------------------------------- the servers

    @property
    def _xauthority(self) -> Path:
        return self.directory / "Xauthority"

    @property
    def _pulse_cookie(self) -> Path:
        return self.directory / "pulse-cookie"

    @property
    def _pulse_socket(self) -> Path:
        return self.directory / "pulse"

    def _start_screen(self, width_px: int, height_px: int) -> int:
        read_fd, write_fd = os.pipe()
        try:
            # -s 0: no screen saver, which would film as black after ten minutes.
            # -noreset: stay as it is when the last window closes.
            options = f"-displayfd {write_fd} -screen 0 {width_px}x{height_px}x24 -dpi 96"
            options += " -s 0 -noreset -nolisten tcp"
            command = ["Xvfb", *options.split(), "-auth", str(self._xauthority)]
            self._serve(command, pass_fds=(write_fd,))
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        return read_fd

    def _start_sound(self) -> None:
        # A configuration of our own: the person's daemon.conf must not change a recording.
        config = self.directory / "daemon.conf"
        config.write_text(
            f"default-sample-rate = {RATE_HZ}\n"
            "default-sample-format = float32le\n"
            "flat-volumes = no\n",
            encoding="utf-8",
        )
        # Loaded last: once the socket is there, so is the output.
        protocol = (
            f"module-native-protocol-unix socket={self._pulse_socket}"
            f" auth-cookie={self._pulse_cookie}"
        )
        options = "-n --daemonize=no --use-pid-file=no --exit-idle-time=-1 --log-target=stderr"
        self._serve(
            ["pulseaudio", *options.split(), "--load", _SINK_MODULE, "--load", protocol],
            environment={
                "PULSE_CONFIG": str(config),
                "PULSE_RUNTIME_PATH": str(self.directory / "run"),
                "PULSE_STATE_PATH": str(self.directory / "run"),
                "DBUS_SESSION_BUS_ADDRESS": "disabled:",  # it would look for devices there
            },
        )

    def _serve(
        self,
        command: list[str],
        *,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        variables = inherited_variables() | {"XDG_RUNTIME_DIR": str(self.directory / "run")}
        with self._log(command[0]).open("wb") as log:
            self._servers.append(
                subprocess.Popen(  # noqa: S603 - our own command line
                    _supervised(command, SERVER_GRACE_S, remove=self.directory),
                    env=variables | dict(environment or {}),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=pass_fds,
                    start_new_session=True,
                )
            )

    def _log(self, server: str) -> Path:
        return self.directory / f"{server}.log"

    # --------------------------------------------------------------------------- are they ready?

    def _await_display(self, answer: IO[bytes], deadline: float) -> int:
        """The display's number, which Xvfb writes once it listens."""
        read = b""
        while not read.endswith(b"\n"):
            ready, _, _ = select.select([answer], [], [], max(0.0, deadline - time.monotonic()))
            piece = answer.read(16) if ready else b""
            if not piece:
                raise self._failure("Xvfb")
            read += piece
        return int(read)

    def _await(self, answers: Callable[[], bool], server: str, deadline: float) -> None:
        while True:
            with contextlib.suppress(OSError, struct.error):
                if answers():
                    return
            has_ended = any(process.poll() is not None for process in self._servers)
            if has_ended or time.monotonic() > deadline:
                raise self._failure(server)
            time.sleep(_ANSWER_POLL_S)

    def _screen_answers(self) -> bool:
        """Whether the screen accepts a connection with the cookie."""
        path = f"/tmp/.X11-unix/X{self.display[1:]}"  # noqa: S108 - where X servers listen
        name, cookie = _padded(_COOKIE_NAME), _padded(self._cookie)
        lengths = struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(_COOKIE_NAME), len(self._cookie))
        return _ask(path, lengths + name + cookie, 1)[0] == _X_ACCEPTED

    def _sound_answers(self) -> bool:
        """Whether the sound server lets us in with the cookie (the first step of its protocol)."""
        cookie = self._pulse_cookie.read_bytes()
        body = struct.pack(">cIcIcI", b"L", _PULSE_AUTH, b"L", 0, b"L", _PULSE_PROTOCOL)
        body += struct.pack(">cI", b"x", len(cookie)) + cookie
        head = struct.pack(">IIIII", len(body), _PULSE_NO_CHANNEL, 0, 0, 0)
        reply = _ask(str(self._pulse_socket), head + body, len(head) + 5)
        return struct.unpack(">cI", reply[len(head) :]) == (b"L", _PULSE_REPLY)

    def _failure(self, server: str) -> BackendUnavailableError:
        _end(self._servers, SERVER_GRACE_S)  # so that the log is complete
        with contextlib.suppress(FileNotFoundError):
            lines = self._log(server).read_text("utf-8", "replace").splitlines()[-LOG_LINES:]
            return BackendUnavailableError(
                f"the private desktop's {server} did not start"
                + (f": {lines[-1].strip()}" if lines else ""),
                hint=f"run `{server}` by hand to see why",
                details={"server": server, "log": lines},
            )
        return BackendUnavailableError(f"the private desktop's {server} did not start")


def _require_programs() -> None:
    if sys.platform != "linux":
        raise UnsupportedError(
            "a private desktop needs Linux", hint="record the real screen, or a synthetic one"
        )
    packages = {"Xvfb": "xvfb", "pulseaudio": "pulseaudio"}
    missing = [program for program in packages if shutil.which(program) is None]
    if missing:
        names = " ".join(packages[program] for program in missing)
        raise BackendUnavailableError(
            f"a private desktop needs {' and '.join(missing)}, not installed here",
            hint=f"install the packages: `sudo apt-get install {names}`",
            details={"missing": missing},
        )


def inherited_variables() -> dict[str, str]:
    """The variables of this process, without those of the person's own desktop."""
    return {name: value for name, value in os.environ.items() if name not in HIDDEN_VARIABLES}


def _supervised(command: Sequence[str], grace_s: float, *, remove: Path | None = None) -> list[str]:
    """The command line that runs a command under a supervisor."""
    supervisor = Path(__file__).with_name("supervisor.py")
    folder = str(remove) if remove is not None else ""
    arguments = [str(os.getpid()), str(grace_s), folder, "--", *command]
    return [sys.executable, "-I", "-S", str(supervisor), *arguments]


def _end(processes: list[subprocess.Popen[bytes]], grace_s: float) -> None:
    """Send SIGTERM to all supervisors at once, wait for each, and forget them."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(grace_s + KILL_MARGIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    processes.clear()


def _write_secret(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _xauthority_entry(cookie: bytes) -> bytes:
    """A line of an Xauthority file that holds for any display: its number is not known yet."""

    def counted(content: bytes) -> bytes:
        return struct.pack(">H", len(content)) + content

    fields = (b"", b"", _COOKIE_NAME, cookie)  # address, display number, name, data
    return struct.pack(">H", _FAMILY_WILD) + b"".join(counted(field) for field in fields)


def _padded(content: bytes) -> bytes:
    """X11 fills every string up to four bytes."""
    return content + bytes(-len(content) % 4)


def _ask(path: str, question: bytes, answer_bytes: int) -> bytes:
    """The first bytes of a server's answer on its socket."""
    if sys.platform == "win32":  # for the type checker; see _require_programs()
        raise NotImplementedError
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_TIMEOUT_S)
        connection.connect(path)
        connection.sendall(question)
        answer = b""
        while len(answer) < answer_bytes:
            piece = connection.recv(answer_bytes - len(answer))
            if not piece:
                raise ConnectionResetError(path)
            answer += piece
        return answer

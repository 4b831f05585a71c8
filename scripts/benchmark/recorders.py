"""The recorders that are compared: how each is started, ended and asked what it lost.

All write H.264 with x264's ultrafast preset at CRF 23 in 4:2:0, and AAC.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capture.desktop import SINK_NAME
from scripts.benchmark.processes import cpu_s, memory_bytes

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from capture.desktop import PrivateDesktop

__all__ = ["FFMPEG", "FFMPEG_SOUND_FIRST", "RECORDERS", "SIZE_PX", "Film", "Recorder", "Run"]

SIZE_PX = (1920, 1080)
CRF = 23
END_TIMEOUT_S = 20.0
SETTLE_S = 3.0
"""Starting up is over: from then on the steady load is measured."""


@dataclass(frozen=True, slots=True)
class Film:
    """What a run left.

    Attributes:
        path: The file.
        cpu_s: User and system time of the whole process tree, from its start to its end.
        steady_load: CPU seconds a second while it ran, without start and end; of one core.
        peak_bytes: Most memory that was resident, up to the moment it was told to end.
        dropped: Pictures that it says it dropped; ``None`` where it doesn't say.
    """

    path: Path
    cpu_s: float
    steady_load: float
    peak_bytes: int
    dropped: int | None


class Recorder:
    """One way to record the private desktop.

    Attributes:
        name: What tables call it.
    """

    name: str
    suffix = ".mp4"

    def is_here(self) -> bool:
        """Whether it is installed."""
        return True

    def command(self, desktop: PrivateDesktop, path: Path, fps: int) -> list[str]:
        """The command line that records to a file until it is told to end."""
        raise NotImplementedError

    def environment(self, folder: Path) -> dict[str, str]:
        """Variables that it needs besides the desktop's; may write into the folder."""
        del folder
        return {}

    def end(self, process: subprocess.Popen[str]) -> None:
        """Tell it to finish its file."""
        process.send_signal(signal.SIGINT)

    def dropped(self, output: str) -> int | None:
        """Dropped pictures, from what it wrote to stdout."""
        del output
        return None


class Capture(Recorder):
    """This project, as a person would start it."""

    name = "capture"

    def command(self, desktop: PrivateDesktop, path: Path, fps: int) -> list[str]:
        """With the encoder named: hardware would compare something else."""
        del desktop
        words = f"-m capture record {path} --json --fps {fps} --encoder libx264 --quality medium"
        return [sys.executable, *words.split()]

    def dropped(self, output: str) -> int | None:
        """From the result, the last line."""
        return int(json.loads(output.splitlines()[-1])["dropped_pictures"])


class FFmpeg(Recorder):
    """x11grab and pulse, in one of the two orders that people write."""

    def __init__(self, name: str, *, is_sound_first: bool) -> None:
        self.name = name
        self._is_sound_first = is_sound_first

    def is_here(self) -> bool:
        """Debian's package, with x11grab and pulse."""
        return shutil.which("ffmpeg") is not None

    def command(self, desktop: PrivateDesktop, path: Path, fps: int) -> list[str]:
        """The two inputs are opened one after the other, in the order given."""
        size = "x".join(map(str, SIZE_PX))
        picture = f"-f x11grab -framerate {fps} -video_size {size} -i {desktop.display}"
        sound = f"-f pulse -i {SINK_NAME}.monitor"
        inputs = f"{sound} {picture}" if self._is_sound_first else f"{picture} {sound}"
        codecs = f"-c:v libx264 -preset ultrafast -crf {CRF} -pix_fmt yuv420p -c:a aac"
        return f"ffmpeg -nostdin -y -loglevel error {inputs} {codecs} {path}".split()


class SimpleScreenRecorder(Recorder):
    """SimpleScreenRecorder, hidden, told what to do on its stdin."""

    name = "SSR"
    suffix = ".mkv"

    def is_here(self) -> bool:
        """It is optional."""
        return shutil.which("simplescreenrecorder") is not None

    def command(self, desktop: PrivateDesktop, path: Path, fps: int) -> list[str]:
        """Everything it should know is in a settings file beside the film."""
        del desktop
        settings = path.with_suffix(".conf")
        width, height = SIZE_PX
        settings.write_text(
            f"""[input]
audio_backend=pulseaudio
audio_enabled=true
audio_pulseaudio_source={SINK_NAME}.monitor
video_area=fixed
video_x=0
video_y=0
video_w={width}
video_h={height}
video_backend=x11
video_frame_rate={fps}
video_record_cursor=true
video_scale=false

[output]
add_timestamp=false
audio_codec=aac
container=mkv
file={path}
separate_files=false
video_allow_frame_skipping=true
video_codec=h264
video_h264_crf={CRF}
video_h264_preset=0
""",
            encoding="utf-8",
        )
        options = "--start-recording --start-hidden --no-systray"
        return ["simplescreenrecorder", f"--settingsfile={settings}", *options.split()]

    def environment(self, folder: Path) -> dict[str, str]:
        """A home of its own: it must neither find nor leave anything in the person's."""
        return {"HOME": str(folder), "QT_QPA_PLATFORM": "xcb"}

    def end(self, process: subprocess.Popen[str]) -> None:
        """Save first: quitting alone asks whether to."""
        assert process.stdin is not None
        process.stdin.write("record-save\nquit\n")
        process.stdin.close()


FFMPEG = FFmpeg("ffmpeg", is_sound_first=False)
FFMPEG_SOUND_FIRST = FFmpeg("ffmpeg, sound first", is_sound_first=True)
RECORDERS: tuple[Recorder, ...] = (Capture(), FFMPEG, SimpleScreenRecorder())
"""Those of the ``load`` part; ffmpeg is what the others are compared with."""


class Run:
    """A recorder that is running, from its start to its finished file.

    Args:
        recorder: Which one.
        desktop: What it records.
        path: Where to, without suffix.
        fps: Pictures per second.
    """

    def __init__(self, recorder: Recorder, desktop: PrivateDesktop, path: Path, fps: int) -> None:
        self._recorder = recorder
        self._path = path.with_suffix(recorder.suffix)
        self._output = path.with_suffix(".out")
        with self._output.open("wb") as output, path.with_suffix(".err").open("wb") as errors:
            self._process = _start(
                recorder.command(desktop, self._path, fps),
                desktop.environment | recorder.environment(path.parent),
                output,
                errors,
            )

    def record(self, seconds: float) -> Film:
        """Let it record for so long, then end it; also when it was running already."""
        time.sleep(SETTLE_S)
        before_s, begun_s = cpu_s(self._process.pid), time.monotonic()
        time.sleep(max(0.0, seconds - SETTLE_S))
        steady_s, steady_cpu_s = time.monotonic() - begun_s, cpu_s(self._process.pid) - before_s
        return self.end(steady_cpu_s / steady_s)

    def end(self, steady_load: float = float("nan")) -> Film:
        """Have the file finished.

        Raises:
            SystemExit: It failed; its last words are in the message.
        """
        peak_bytes = memory_bytes(self._process.pid, most=True)
        self._recorder.end(self._process)
        cpu_s, status = _wait(self._process)
        output = self._output.read_text("utf-8", "replace")
        if not self._path.exists():
            errors = self._path.with_suffix(".err").read_text("utf-8", "replace")
            sys.exit(
                f"bench: {self._recorder.name} left no film (status {status}): {errors[-800:]}"
            )
        return Film(self._path, cpu_s, steady_load, peak_bytes, self._recorder.dropped(output))


def _start(
    command: list[str], variables: dict[str, str], output: IO[bytes], errors: IO[bytes]
) -> subprocess.Popen[str]:
    # OpenCV, once imported, points every Qt program to its own plugins.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("QT_")}
    # Not under the desktop's supervisor, whose CPU time would be counted as well.
    return subprocess.Popen(
        command,
        env=inherited | variables,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=errors,
        text=True,
    )


def _wait(process: subprocess.Popen[str]) -> tuple[float, int]:
    """CPU seconds of the process and of all that it waited for, and its exit status."""
    if sys.platform == "win32":  # for the type checker: there is no private desktop
        raise NotImplementedError
    deadline = time.monotonic() + END_TIMEOUT_S
    while time.monotonic() < deadline:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime, process.returncode
        time.sleep(0.02)
    process.kill()
    process.wait()
    sys.exit(f"bench: {process.args!r} did not end")

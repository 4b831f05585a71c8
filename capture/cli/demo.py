"""``capture demo``: a voice message is played in a small window, filmed, and checked."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from capture import PrivateDesktop, has_desktop, list_windows
from capture.cli.app import say
from capture.cli.signals import StopSignals
from capture.cli.streams import detached_output
from capture.cli.views import View, choose_view
from capture.config import default_output
from capture.demo.layout import PLAYER_NAME, SIZE_PX, TITLE, require_window
from capture.errors import CaptureError, NothingRecordedError
from capture.model.devices import WindowInfo
from capture.specs.recording import AudioSpec, RecordingSpec, VideoSpec
from capture.specs.target import Screen, Window

if TYPE_CHECKING:
    from capture import Session

__all__ = ["demo"]

DESKTOP_PX = (1280, 720)
FPS = 30.0
WINDOW_WITHIN_S = 10.0
"""Loading OpenCV's toolkit takes a second or two on a slow machine."""


def demo(
    folder: Path | None = None,
    /,
    *,
    private: Annotated[bool | None, Parameter(negative="--here")] = None,
) -> int:
    """Record a short voice message with its window, to see and hear that all works.

    Makes a film (.mp4) and the sound alone (.opus), and measures how well they are in step.
    Without a usable screen or sound server it runs on a private desktop that nobody sees.

    Args:
        folder: Where the two files go; by default Videos/Capture.
        private: On a private desktop even where there is a screen; --here insists on this one.
    """
    require_window()
    from capture.demo.offset import measure_offset  # noqa: PLC0415 - loads av

    film = default_output(".mp4")
    if folder is not None:
        film = folder / film.name
    sound = film.with_suffix(".opus")
    with contextlib.ExitStack() as stack:
        sample = stack.enter_context(_voice())  # removed last: the window's program reads it
        desktop = None
        if private or (private is None and not has_desktop(*SIZE_PX)):
            say(f"no usable screen and sound here, or not wanted: a private desktop {DESKTOP_PX}")
            desktop = stack.enter_context(PrivateDesktop(*DESKTOP_PX))
        view = choose_view(is_json=False, is_quiet=False)
        origin_px = _record(film, sound, sample, view, desktop)
        offset_ms, bars = measure_offset(film, sample, origin_px, FPS)
    print(film, flush=True)  # noqa: T201
    print(sound, flush=True)  # noqa: T201
    for line in conclusion(film, sound, offset_ms, bars):
        say(line)
    return 0


def conclusion(film: Path, sound: Path, offset_ms: float, bars: int) -> list[str]:
    """The last words: is it in step, what the two files are, how to see and hear them.

    Args:
        film: With its picture.
        sound: Of the message alone.
        offset_ms: Sound minus picture.
        bars: How many moments that is the median of.
    """
    is_in_step = abs(offset_ms) <= 1000 / FPS
    verdict = "in step: within one picture" if is_in_step else "NOT in step: `capture doctor`"
    return [
        f"{verdict} (sound - picture {offset_ms:+.1f} ms, median of {bars} moments)",
        f"film: {film.name}; message: {sound.name}; play it: capture play {shlex.quote(str(film))}",
    ]


@contextlib.contextmanager
def _voice() -> Iterator[Path]:
    from capture.demo.voice_sample import make_voice_sample  # noqa: PLC0415 - loads NumPy

    with tempfile.TemporaryDirectory(prefix="capture-demo-") as folder:
        yield make_voice_sample(Path(folder) / "voice.wav")


def _record(
    film: Path, sound: Path, sample: Path, view: View, desktop: PrivateDesktop | None
) -> tuple[int, int]:
    """Play the message in its window and record both; gives where the window is in the film."""
    from capture import Session  # noqa: PLC0415 - loads NumPy

    command = [sys.executable, "-m", "capture.demo.window", "--sound", str(sample)]
    environment = desktop.environment if desktop else None
    window_program = (
        desktop.run(command)
        if desktop
        # In a session of its own: ^C is ours to handle.
        else subprocess.Popen(command, stdout=2, start_new_session=True)  # noqa: S603 - our own program
    )
    try:
        window = _await_window(window_program, environment)
        # On a person's own desktop nothing but this window and its sound is recorded.
        video = VideoSpec(Screen() if desktop else Window(f"{window.id:#x}"), fps=FPS)
        voice = (AudioSpec("system" if desktop else f"app:{PLAYER_NAME}"),)
        specs = (
            RecordingSpec(film, video=video, audio=voice, environment=environment),
            RecordingSpec(sound, video=None, audio=voice, environment=environment),
        )
        sessions = [Session(specs[0], view.on_event), Session(specs[1])]
        with detached_output(), StopSignals() as stop:
            both = _Both(sessions)
            stop.attach(both.stop, both.abort)
            try:
                with sessions[0] as filming, sessions[1], view:
                    while window_program.poll() is None and not filming.wait_for_stop(0):
                        view.show(filming)
            except NothingRecordedError:
                if not stop.has_come:
                    raise
            stop.check()  # the files are whole, but there is nothing to measure
    finally:
        window_program.terminate()
        window_program.wait()
    if window_program.returncode > 0:
        raise CaptureError("the demo's window did not come to its end", hint="see above for why")
    return (window.rect.left_px, window.rect.top_px) if desktop else (0, 0)


class _Both:
    """Two recordings that one signal ends in order, from before they begin."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = sessions

    def stop(self, reason: str) -> None:
        for session in self._sessions:
            session.stop(reason)

    def abort(self) -> None:
        for session in self._sessions:
            session.abort()


def _await_window(
    program: subprocess.Popen[bytes], environment: Mapping[str, str] | None
) -> WindowInfo:
    deadline_s = time.monotonic() + WINDOW_WITHIN_S
    while program.poll() is None and time.monotonic() < deadline_s:
        for window in list_windows(environment):
            if window.title == TITLE and window.rect.width_px >= SIZE_PX[0]:
                return window
        time.sleep(0.05)
    raise CaptureError(
        "the demo's window did not open", hint="see `capture doctor` for what works here"
    )

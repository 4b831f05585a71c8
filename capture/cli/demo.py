"""``capture demo``: a voice message is played in a small window, filmed, and checked."""

from __future__ import annotations

import contextlib
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from cyclopts import Parameter

from capture import sources
from capture.cli.app import say
from capture.cli.demo_window import (
    BARS,
    PLAYER_NAME,
    SIZE_PX,
    TITLE,
    bar_at_px,
    bar_due_s,
    is_played,
)
from capture.cli.record import enter_private_desktop
from capture.cli.signals import StopSignals
from capture.cli.streams import detached_output
from capture.cli.views import choose_view
from capture.cli.voice_sample import make_voice_sample, read_wav
from capture.config import default_output
from capture.errors import CaptureError, NothingRecordedError
from capture.media.decode import read_pictures, read_sound
from capture.model import AudioSpec, RecordingSpec, VideoSpec, Window
from capture.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from capture.cli.views import View

__all__ = ["demo"]

DESKTOP_PX = (1280, 720)
FPS = 30.0
WINDOW_WITHIN_S = 10.0
"""Loading OpenCV's toolkit takes a second or two on a slow machine."""
AUDIBLE_DBFS = -35.0


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
    film = default_output(".mp4")
    if folder is not None:
        film = folder / film.name
    sound = film.with_suffix(".opus")
    with contextlib.ExitStack() as stack:
        is_private = private if private is not None else not _is_usable()
        if is_private:
            say(f"no usable screen and sound here, or not wanted: a private desktop {DESKTOP_PX}")
            stack.enter_context(enter_private_desktop(*DESKTOP_PX))
        sample = stack.enter_context(_voice())
        view = choose_view(is_json=False, is_quiet=False)
        origin_px = _record(film, sound, sample, view, is_private=is_private)
        offset_ms, bars = measure_offset(film, sample, origin_px)
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


def _is_usable() -> bool:
    """Whether this machine shows a screen and plays sound for us."""
    try:
        with sources.open_screen(VideoSpec()) as screen:
            width_px, height_px = screen.size_px
        has_output = bool(sources.list_audio_devices())
    except CaptureError:
        return False
    return has_output and width_px >= SIZE_PX[0] and height_px >= SIZE_PX[1]


@contextlib.contextmanager
def _voice() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="capture-demo-") as folder:
        yield make_voice_sample(Path(folder) / "voice.wav")


def _record(
    film: Path, sound: Path, sample: Path, view: View, *, is_private: bool
) -> tuple[int, int]:
    """Play the message in its window and record both; gives where the window is in the film."""
    command = [sys.executable, "-m", "capture.cli.demo_window", "--sound", str(sample)]
    # In a session of its own: ^C is ours to handle.
    window_program = subprocess.Popen(command, stdout=2, start_new_session=True)  # noqa: S603 - our own program
    try:
        window = _await_window(window_program)
        # On a person's own desktop nothing but this window and its sound is recorded.
        video = VideoSpec(fps=FPS) if is_private else VideoSpec(window=f"{window.id:#x}", fps=FPS)
        voice = (AudioSpec("system" if is_private else f"app:{PLAYER_NAME}"),)
        sessions = [
            Session(RecordingSpec(film, video=video, audio=voice), view.on_event),
            Session(RecordingSpec(sound, video=None, audio=voice)),
        ]
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
    return (window.rect.left_px, window.rect.top_px) if is_private else (0, 0)


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


def _await_window(program: subprocess.Popen[bytes]) -> Window:
    deadline_s = time.monotonic() + WINDOW_WITHIN_S
    while program.poll() is None and time.monotonic() < deadline_s:
        for window in sources.list_windows():
            if window.title == TITLE and window.rect.width_px >= SIZE_PX[0]:
                return window
        time.sleep(0.05)
    raise CaptureError(
        "the demo's window did not open", hint="see `capture doctor` for what works here"
    )


def measure_offset(film: Path, sample: Path, origin_px: tuple[int, int]) -> tuple[float, int]:
    """Sound minus picture in ms, from the film itself: median over the bars, and their number.

    Every bar takes its colour when its moment of the message is heard. Where the message is in
    the sound track is found by correlation; a picture is taken half a slot late on average.

    Raises:
        CaptureError: The message is not in the film, or too quiet.
    """
    voice, voice_hz = read_wav(sample)
    samples, rate_hz, start_s = read_sound(film)
    mono = samples.mean(axis=1)
    level_dbfs = 20 * np.log10(max(float(np.abs(mono).max()), 1e-9))
    if level_dbfs < AUDIBLE_DBFS:
        raise CaptureError(
            f"the voice is not in the recording: its loudest sample is {level_dbfs:.0f} dBFS",
            hint="is the output muted? `capture doctor` listens to it",
        )
    length_s = len(voice) / voice_hz
    heard_s = start_s + _find(voice, voice_hz, mono, rate_hz) / rate_hz
    offsets_ms = [
        (heard_s + bar_due_s(bar, length_s) - shown_s) * 1000 + 500 / FPS
        for bar, shown_s in _bars_shown(film, origin_px).items()
    ]
    if not offsets_ms:
        raise CaptureError("the message's window is not in the film")
    return statistics.median(offsets_ms), len(offsets_ms)


def _find(
    voice: NDArray[np.float32], voice_hz: int, mono: NDArray[np.float32], rate_hz: int
) -> int:
    """Frame of ``mono`` at which the voice begins: the peak of their correlation."""
    moments = np.arange(len(voice) * rate_hz // voice_hz) / rate_hz
    wanted = np.interp(moments, np.arange(len(voice)) / voice_hz, voice)
    size = len(mono) + len(wanted)
    product = np.fft.rfft(mono, size) * np.conj(np.fft.rfft(wanted, size))
    return int(np.argmax(np.fft.irfft(product, size)[: len(mono)]))


def _bars_shown(film: Path, origin_px: tuple[int, int]) -> dict[int, float]:
    """When each bar first had its colour in the film, in seconds."""
    shown: dict[int, float] = {}
    points = {bar: bar_at_px(bar) for bar in range(BARS)}
    for at_s, picture in read_pictures(film):
        for bar, (x, y) in points.items():
            if bar not in shown and is_played(
                *map(int, picture[origin_px[1] + y, origin_px[0] + x])
            ):
                shown[bar] = at_s
    return shown

"""What works on this machine, and why the rest does not: each part is tried, not looked up.

For ``capture doctor`` and for every other front that helps somebody with a machine. Nothing that is
tried is kept.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from capture import sources
from capture.config import default_folder
from capture.errors import CaptureError, ConfigError
from capture.libraries import missing_library
from capture.specs.recording import AudioSpec, RecordingSpec, VideoSpec
from capture.specs.target import TestCard, Window
from capture.specs.voice import VoiceSpec
from capture.units import format_dbfs, format_size

__all__ = ["Trial", "has_desktop", "missing_devices", "try_machine"]

TRIAL_S = 1.0
TRIAL_PX, TRIAL_FPS = (1280, 720), 30.0
BLACK_LEVEL = 4
"""A picture in which no pixel is brighter than this, of 255, is black."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of trying one part of the program on this machine.

    Attributes:
        part: Which: screen, windows, system sound, microphone, applications, encoders, disk,
            private desktop, schedule.
        works: Whether it can be used.
        says: What was found, or what is wrong; one sentence.
        hint: What helps, if that is known.
    """

    part: str
    works: bool
    says: str
    hint: str | None = None


def try_machine() -> list[Trial]:
    """Try every part, the sound sources for a second or two each."""
    return [_try(part, trial) for part, trial in _TRIALS.items()]


def has_desktop(width_px: int, height_px: int) -> bool:
    """Whether a screen of this size answers, and an output for sound."""
    try:
        with sources.open_screen(VideoSpec()) as screen:
            has_room = screen.size_px[0] >= width_px and screen.size_px[1] >= height_px
        return has_room and bool(sources.list_audio_devices())
    except CaptureError:
        return False


def missing_devices(spec: RecordingSpec | VoiceSpec) -> Iterator[str]:
    """Sentences about devices that a spec names and that do not answer now.

    Windows and applications are not looked for: they are opened for the occasion. Nor is anything
    on a private desktop, which is made for it.

    Raises:
        ConfigError: A word names no kind of sound source.
    """
    sounds: tuple[AudioSpec, ...]
    if isinstance(spec, VoiceSpec):
        sounds = (AudioSpec("system" if spec.source == "auto" else spec.source),)
    elif spec.private_desktop is not None:
        return
    else:
        sounds, film = spec.audio, spec.video
        if film is not None and not isinstance(film.target, (TestCard, Window)):
            try:
                sources.open_screen(film).close()
            except CaptureError as error:
                yield error.message
    for sound in sounds:
        if sound.kind == "app":
            continue
        try:
            sources.open_audio(sound).close()
        except ConfigError:
            raise
        except CaptureError as error:
            yield f"{error.message} ({sound.source})"


def _try(part: str, trial: Callable[[], str]) -> Trial:
    try:
        return Trial(part, works=True, says=trial())
    except Exception as error:  # noqa: BLE001 - of all commands this one is for what goes wrong
        known = missing_library(error) or error
        if isinstance(known, CaptureError):
            return Trial(part, works=False, says=known.message, hint=known.hint)
        text = f"{type(error).__name__}: {error}"
        return Trial(part, works=False, says=text, hint="this is not known: please report it")


def _try_screen() -> str:
    with sources.open_screen(VideoSpec()) as screen:
        started_s = time.monotonic()
        picture = screen.grab()
        took_ms = (time.monotonic() - started_s) * 1000
        width, height = screen.size_px
        black = ", all black" if picture.pixels[..., :3].max() <= BLACK_LEVEL else ""
        notes = "".join(f"; {note}" for note in screen.notes)
        return f"{screen.label}, {width}x{height}, a picture in {took_ms:.0f} ms{black}{notes}"


def _try_sound(name: str) -> str:
    from capture.levels import LevelMeter  # noqa: PLC0415 - NumPy is slow to load

    meter = LevelMeter()
    heard = threading.Event()
    events: list[str] = []

    def take(block: Any) -> None:
        meter.accumulate(block.samples)
        heard.set()

    with sources.open_audio(AudioSpec(name)) as source:
        source.start(take, lambda event: events.append(event.message))
        heard.wait(TRIAL_S)
        time.sleep(TRIAL_S)
        level = format_dbfs(meter.take().peak_dbfs)
        state = level if heard.is_set() else "gave nothing in this second"
        return "; ".join([f"{source.label}, {source.rate_hz} Hz, {state}", *source.notes, *events])


def _try_apps() -> str:
    apps = sources.list_audio_apps()
    return ", ".join(app.name for app in apps) or "none plays sound now"


def _try_encoders() -> str:
    from capture.media.write.encode import choose_video_encoder, list_video_encoders  # noqa: PLC0415

    def opens(encoder: str) -> bool:
        try:
            choose_video_encoder(encoder, TRIAL_PX, TRIAL_FPS)
        except CaptureError:
            return False
        return True

    name, reason = choose_video_encoder("auto", TRIAL_PX, TRIAL_FPS)
    opening = ", ".join(filter(opens, list_video_encoders()))
    return f"{opening}; auto takes {name}: {reason.split(';')[0]}"


def _try_disk() -> str:
    folder = default_folder()
    known = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return f"{folder}, {format_size(shutil.disk_usage(known).free)} free"


def _try_private_desktop() -> str:
    from capture.desktop import PrivateDesktop  # noqa: PLC0415

    started_s = time.monotonic()
    with PrivateDesktop(640, 360) as desktop:
        return f"{desktop.display} was up in {time.monotonic() - started_s:.1f} s"


def _try_schedule() -> str:
    from capture.schedule.install import state  # noqa: PLC0415 - only where needed

    return state()


_TRIALS: dict[str, Callable[[], str]] = {
    "screen": _try_screen,
    "windows": lambda: f"{len(sources.list_windows())} found",
    "system sound": lambda: _try_sound("system"),
    "microphone": lambda: _try_sound("mic"),
    "applications": _try_apps,
    "encoders": _try_encoders,
    "disk": _try_disk,
    "private desktop": _try_private_desktop,
    "schedule": _try_schedule,
}

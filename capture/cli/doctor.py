"""``capture doctor``: what works on this machine and why the rest does not, by trying it."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from capture import sources
from capture.cli.hints import in_options
from capture.cli.values import format_dbfs, format_size
from capture.cli.views import print_json
from capture.config import default_output
from capture.errors import CaptureError
from capture.exit_codes import EXIT_FAILED
from capture.libraries import missing_library
from capture.model.events import Event
from capture.model.signal import AudioBlock
from capture.specs.recording import AudioSpec, VideoSpec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["doctor"]

TRIAL_S = 1.0
TRIAL_PX, TRIAL_FPS = (1280, 720), 30.0
BLACK_LEVEL = 4
"""A picture in which no pixel is brighter than this, of 255, is black."""
PACKAGES = ("av", "cyclopts", "mss", "numpy", "opencv-python", "pulsectl", "sounddevice")
MORE_PACKAGES = ("psutil", "soundfile", "xcffib")
LINUX_PACKAGES = ("pulsectl", "xcffib")


def doctor(*, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Try each kind of source for a second and say what came of it; also the versions.

    Args:
        json: One JSON object on stdout.
    """
    versions = {"python": platform.python_version(), "system": platform.platform()}
    versions |= {name: _version(name) for name in ("deskcapture", *PACKAGES, *MORE_PACKAGES)}
    trials: dict[str, Callable[[], str]] = {
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
    rows = [(name, *_try(trial)) for name, trial in trials.items()]
    if json:
        found = [{"part": n, "works": w, "says": s, "hint": h} for n, w, s, h in rows]
        print_json({"versions": versions, "parts": found})
    else:
        console = Console(highlight=False, emoji=False)
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, works, says, hint in rows:
            sign = "[green]works[/]" if works else "[red]no[/]"
            table.add_row(name, sign, says + (f"\n[dim]{hint}[/]" if hint else ""))
        console.print(table)
        console.print("\n" + ", ".join(f"{n} {v}" for n, v in versions.items()), style="dim")
    needed = {name: works for name, works, _, _ in rows}
    can_record = needed["encoders"] and (needed["screen"] or needed["system sound"])
    return 0 if can_record or needed["private desktop"] else EXIT_FAILED


def _try(trial: Callable[[], str]) -> tuple[bool, str, str | None]:
    """Whether it works, what it says, and a hint."""
    try:
        return True, trial(), None
    except CaptureError as error:
        return False, error.message, in_options(error.hint)
    except Exception as error:  # noqa: BLE001 - of all commands this one is for what goes wrong
        if (missing := missing_library(error)) is not None:
            return False, missing.message, in_options(missing.hint)
        return False, f"{type(error).__name__}: {error}", "this is not known: please report it"


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

    def take(block: AudioBlock) -> None:
        meter.accumulate(block.samples)
        heard.set()

    def on_event(event: Event) -> None:
        events.append(event.message)

    with sources.open_audio(AudioSpec(name)) as source:
        source.start(take, on_event)
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

    name, reason = choose_video_encoder("auto", TRIAL_PX, TRIAL_FPS)
    first_reason = reason.split(";")[0]
    opening = [each for each in list_video_encoders() if _opens(each)]
    return f"{', '.join(opening)}; auto takes {name}: {first_reason}"


def _opens(encoder: str) -> bool:
    from capture.media.write.encode import choose_video_encoder  # noqa: PLC0415 - loads av

    try:
        choose_video_encoder(encoder, TRIAL_PX, TRIAL_FPS)
    except CaptureError:
        return False
    return True


def _try_disk() -> str:
    folder = default_output(".mp4").parent
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


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        is_needed = sys.platform == "linux" or name not in LINUX_PACKAGES
        return "not there" if is_needed else "not needed"

"""What is on the private desktop while recorders are measured."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from capture.desktop import PrivateDesktop

__all__ = ["DESKTOPS", "running", "show", "tone"]

DESKTOPS = ("static", "chat", "scroll", "corner", "film")
"""static text; a chat; half a screen of scrolling text; a film of 640x360; one over all of it."""

STIMULUS = Path(__file__).with_name("stimulus.py")
SETTLE_S = 2.0
"""A player has its window and its first pictures."""
CLIP_S = 10
"""A recording of a multiple of this sees the same pictures, whenever it begins."""
CLIP_FPS = 30

_CORNER = "--geometry=640x360+1240+40 --no-border"
_PLAYER = "mpv --no-config --really-quiet --no-audio --no-osc --vo=x11 --hwdec=no --loop-file=inf"
_TONE = "mpv --no-config --really-quiet --no-video --ao=pulse av://lavfi:sine=frequency=440"


@contextmanager
def running(desktop: PrivateDesktop, command: list[str]) -> Iterator[None]:
    """A program on the desktop as long as this lasts."""
    program = desktop.run(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
        if program.poll() is not None:
            sys.exit(f"bench: {command[0]} ended too early (exit code {program.returncode})")
    finally:
        program.terminate()
        program.wait()


@contextmanager
def show(name: str, desktop: PrivateDesktop, folder: Path) -> Iterator[None]:
    """One of ``DESKTOPS``, with clips made in a folder where they are needed."""
    behind = "static" if name in {"corner", "film"} else name
    with running(desktop, [sys.executable, str(STIMULUS), behind]):
        time.sleep(SETTLE_S)
        if behind == name:
            yield
            return
        size, place = ("640x360", _CORNER) if name == "corner" else ("1920x1080", "--fs")
        player = [*_PLAYER.split(), *place.split(), "--ontop", str(_clip(size, folder))]
        with running(desktop, player):
            time.sleep(SETTLE_S)
            yield


def tone(desktop: PrivateDesktop) -> AbstractContextManager[None]:
    """A sine that never ends, so that every recorder has sound to encode."""
    return running(desktop, _TONE.split())


def _clip(size: str, folder: Path) -> Path:
    """A zoom into the Mandelbrot set with grain: smooth motion, detail, and noise, like a film."""
    path = folder / f"{size}.mkv"
    if not path.exists():
        scene = f"mandelbrot=size=960x540:rate={CLIP_FPS}:end_scale=0.01:end_pts=600"
        look = f"scale={size},noise=alls=4:allf=t,format=yuv420p"
        # Cheap to decode: what plays the film shares the machine with what is measured.
        codec = "-c:v libx264 -preset ultrafast -tune fastdecode -crf 20 -bf 0"
        command = f"ffmpeg -nostdin -y -loglevel error -f lavfi -i {scene} -t {CLIP_S} -vf {look}"
        subprocess.run([*command.split(), *codec.split(), str(path)], check=True)
    return path

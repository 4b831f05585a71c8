"""The little messenger window that ``capture demo`` films, as a program of its own.

    python -m capture.cli.demo_window --sound FILE.wav

Shows a voice message with its waveform, starts to play it, moves a line along with it, and ends
when it is over. Drawn and shown by OpenCV, which brings its own toolkit.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from capture.cli.voice_sample import read_wav

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["draw_message", "main"]

TITLE = "Voice message"
SIZE_PX = (900, 500)
FPS = 20
"""Enough for a line that moves smoothly, and little to draw."""
LEAD_S = 0.5
"""The window stands before the sound begins, as a messenger does."""
TAIL_S = 0.7
PLAYERS = (
    ("paplay", "--latency-msec=40"),
    ("pw-play", "--latency=40ms"),
    ("aplay", "--quiet"),
)
"""What plays a WAV file on Linux, best first."""

BARS = 72
NAME, MESSAGE = "Ada Lovelace", "sent you a voice message"

# Blue, green, red, as OpenCV has them.
_BACKGROUND = (62, 48, 38)
_BUBBLE = (84, 66, 52)
_ACCENT = (160, 196, 64)
_FAINT = (140, 122, 106)
_TEXT = (240, 236, 232)
_BUBBLE_BOX = (60, 90, 840, 410)  # left, top, right, bottom
_WAVE_BOX = (210, 200, 790, 320)
_PLAY_AT = (135, 260)


def draw_message(bars: NDArray[np.float32], played_s: float, length_s: float) -> NDArray[np.uint8]:
    """A picture of the message, uint8 BGR, shape ``(500, 900, 3)``.

    Args:
        bars: Loudness along the message, 0 to 1, shape ``(bars,)``.
        played_s: How far it has been played.
        length_s: How long it is.
    """
    picture = np.full((SIZE_PX[1], SIZE_PX[0], 3), _BACKGROUND, np.uint8)
    _rounded(picture, _BUBBLE_BOX, 28, _BUBBLE)
    cv2.circle(picture, (110, 140), 26, _ACCENT, -1, cv2.LINE_AA)
    _text(picture, NAME[0], (101, 149), size=0.9, colour=_BUBBLE, width=2)
    _text(picture, NAME, (156, 136), size=0.8, colour=_TEXT, width=2)
    _text(picture, MESSAGE, (156, 164), size=0.55, colour=_FAINT)

    share = min(max(played_s / length_s, 0.0), 1.0)
    left, top, right, bottom = _WAVE_BOX
    middle, step = (top + bottom) // 2, (right - left) / len(bars)
    for number, loudness in enumerate(bars):
        half = max(3, round(float(loudness) * (bottom - top) / 2))
        x = round(left + (number + 0.5) * step)
        colour = _ACCENT if (number + 0.5) / len(bars) <= share else _FAINT
        cv2.line(picture, (x, middle - half), (x, middle + half), colour, 4, cv2.LINE_AA)
    line_x = round(left + share * (right - left))
    cv2.line(picture, (line_x, top - 14), (line_x, bottom + 14), _TEXT, 2, cv2.LINE_AA)
    cv2.circle(picture, (line_x, bottom + 14), 7, _TEXT, -1, cv2.LINE_AA)

    cv2.circle(picture, _PLAY_AT, 36, _ACCENT, -1, cv2.LINE_AA)
    x, y = _PLAY_AT
    if 0 < share < 1:
        for bar_x in (x - 9, x + 9):
            cv2.line(picture, (bar_x, y - 12), (bar_x, y + 12), _BUBBLE, 7, cv2.LINE_AA)
    else:
        triangle = np.array([(x - 10, y - 16), (x - 10, y + 16), (x + 18, y)], np.int32)
        cv2.fillConvexPoly(picture, triangle, _BUBBLE, cv2.LINE_AA)
    label = f"{_clock(min(max(played_s, 0.0), length_s))} / {_clock(length_s)}"
    _text(picture, label, (left, bottom + 62), size=0.7, colour=_TEXT)
    return picture


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _text(
    picture: NDArray[np.uint8],
    words: str,
    at: tuple[int, int],
    *,
    size: float,
    colour: tuple[int, int, int],
    width: int = 1,
) -> None:
    cv2.putText(picture, words, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, width, cv2.LINE_AA)


def _rounded(
    picture: NDArray[np.uint8],
    box: tuple[int, int, int, int],
    radius: int,
    colour: tuple[int, int, int],
) -> None:
    left, top, right, bottom = box
    cv2.rectangle(picture, (left + radius, top), (right - radius, bottom), colour, -1)
    cv2.rectangle(picture, (left, top + radius), (right, bottom - radius), colour, -1)
    for x in (left + radius, right - radius):
        for y in (top + radius, bottom - radius):
            cv2.circle(picture, (x, y), radius, colour, -1, cv2.LINE_AA)


def _loudness(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Loudness along the message in ``BARS`` steps, the loudest 1."""
    steps = [np.sqrt(np.mean(part**2)) for part in np.array_split(samples, BARS)]
    bars = np.array(steps, np.float32)
    return bars / max(float(bars.max()), 1e-9)


def _start_player(sound: Path) -> subprocess.Popen[bytes]:
    for name, *options in PLAYERS:
        program = shutil.which(name)
        if program is not None:
            return subprocess.Popen([program, *options, str(sound)])  # noqa: S603 - our own command line
    sys.exit(f"no program to play sound: install one of {', '.join(p[0] for p in PLAYERS)}")


def _place_window(screen_px: tuple[int, int] | None) -> None:
    """In the middle of the screen, where its size is known; else where it likes."""
    cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
    if screen_px is not None:
        left, top = ((screen_px[i] - SIZE_PX[i]) // 2 for i in (0, 1))
        cv2.moveWindow(TITLE, max(left, 0), max(top, 0))


def main() -> None:
    """Show and play one message to its end."""
    parser = argparse.ArgumentParser(description="a window that plays a voice message")
    parser.add_argument("--sound", type=Path, required=True, help="a WAV file of 16 bits")
    parser.add_argument("--screen", help="size of the screen as WxH, to stand in its middle")
    options = parser.parse_args()
    samples, rate_hz = read_wav(options.sound)
    bars, length_s = _loudness(samples), len(samples) / rate_hz
    size: Any = options.screen and tuple(map(int, options.screen.split("x")))
    _place_window(size or None)
    started_s = time.monotonic()
    player: subprocess.Popen[bytes] | None = None
    try:
        while (played_s := time.monotonic() - started_s - LEAD_S) < length_s + TAIL_S:
            if player is None and played_s >= 0:
                player = _start_player(options.sound)
            cv2.imshow(TITLE, draw_message(bars, played_s, length_s))
            ahead_s = 1 / FPS - (time.monotonic() - started_s) % (1 / FPS)
            cv2.waitKey(max(1, round(ahead_s * 1000)))  # it also serves the window
    finally:
        if player is not None:
            player.terminate()
            player.wait()


if __name__ == "__main__":
    main()

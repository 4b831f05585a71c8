"""The little messenger window that ``capture demo`` films, as a program of its own.

    python -m capture.demo.window --sound FILE.wav

Shows a voice message with its waveform, plays it, colours each bar at the moment its sound is
heard, and ends when it is over. So the film shows by itself whether it is in step (``bar_due_s``).
Drawn by OpenCV, shown without a toolkit, whose event loop would be tens of milliseconds late.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture.clock import now_ns
from capture.demo.canvas import Canvas
from capture.demo.layout import (
    ACCENT,
    BARS,
    FAINT,
    PLAYER_NAME,
    SIZE_PX,
    TITLE,
    WAVE_BOX,
    bar_at_px,
    bar_due_s,
)
from capture.demo.voice_sample import read_wav
from capture.opencv import cv2
from capture.sources.player_pulse import PulsePlayer
from capture.units import NS_PER_S

STEPS_PER_BAR = 2
"""Number of pictures while one bar is played; 24 a second here."""
LEAD_S = 2.0
"""The window stands before the sound begins, as a messenger does; a recorder finds it meanwhile."""
TAIL_S = 0.7
NAME, MESSAGE = "Ada Lovelace", "sent you a voice message"

# Blue, green, red, as OpenCV has them.
_BACKGROUND = (62, 48, 38)
_BUBBLE = (84, 66, 52)
_TEXT = (240, 236, 232)
_BUBBLE_BOX = (60, 90, 840, 410)  # left, top, right, bottom
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
    cv2.circle(picture, (110, 140), 26, ACCENT, -1, cv2.LINE_AA)
    _text(picture, NAME[0], (101, 149), size=0.9, colour=_BUBBLE, width=2)
    _text(picture, NAME, (156, 136), size=0.8, colour=_TEXT, width=2)
    _text(picture, MESSAGE, (156, 164), size=0.55, colour=FAINT)

    share = min(max(played_s / length_s, 0.0), 1.0)
    left, top, right, bottom = WAVE_BOX
    # Behind the bars: a bar is to be seen in its colour from the moment that it has it.
    line_x = round(left + share * (right - left))
    cv2.line(picture, (line_x, top - 14), (line_x, bottom + 14), _TEXT, 2, cv2.LINE_AA)
    cv2.circle(picture, (line_x, bottom + 14), 7, _TEXT, -1, cv2.LINE_AA)
    for number, loudness in enumerate(bars):
        half = max(3, round(float(loudness) * (bottom - top) / 2))
        x, middle = bar_at_px(number)
        colour = ACCENT if bar_due_s(number, length_s) <= played_s else FAINT
        cv2.line(picture, (x, middle - half), (x, middle + half), colour, 4, cv2.LINE_AA)
    cv2.circle(picture, _PLAY_AT, 36, ACCENT, -1, cv2.LINE_AA)
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


def main() -> None:
    """Show and play one message to its end."""
    parser = argparse.ArgumentParser(description="a window that plays a voice message")
    parser.add_argument("--sound", type=Path, required=True, help="a WAV file of 16 bits")
    options = parser.parse_args()
    samples, rate_hz = read_wav(options.sound)
    bars, length_s = _loudness(samples), len(samples) / rate_hz
    with Canvas(TITLE, *SIZE_PX) as canvas:
        canvas.prepare(draw_message(bars, -1.0, length_s))
        ready_s = time.monotonic() + LEAD_S
        while time.monotonic() < ready_s:
            canvas.serve()
            time.sleep(0.02)
        with PulsePlayer(PLAYER_NAME, samples, rate_hz) as player:
            show_playing(canvas, player, bars, length_s)


def show_playing(
    canvas: Canvas, player: PulsePlayer, bars: NDArray[np.float32], length_s: float
) -> None:
    """Draw along with what is heard, until it is over."""
    steps = len(bars) * STEPS_PER_BAR
    # Half a bar from its edge is a step as well: every bar gets its colour on one.
    moments_s = [step / steps * length_s for step in range(1, steps + 1)]
    for moment_s in [*moments_s, length_s + TAIL_S]:
        # A hair later than the moment: no bar may miss its step by a rounding error.
        canvas.prepare(draw_message(bars, moment_s + 1e-6, length_s))
        while not canvas.is_closed:
            start_ns = player.heard_ns(0)
            if start_ns is not None and now_ns() - start_ns >= moment_s * NS_PER_S:
                break
            player.turn()
            canvas.serve()
        canvas.show()


if __name__ == "__main__":
    main()

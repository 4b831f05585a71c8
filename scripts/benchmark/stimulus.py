"""Draws a desktop to be recorded: always the same, and cheap for the machine.

    python stimulus.py chat

Everything is prepared on the X server as one tall picture of text; what moves is copied from it or
filled. Runs on the DISPLAY of its environment until it is ended.
"""

from __future__ import annotations

import argparse
import time
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import xcffib
import xcffib.xproto

from capture.opencv import cv2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

LINE_PX = 24
SCROLL_HZ = 60
SCROLL_PX = 3
"""A step, 180 pixels a second: a person's reading on."""
BLINK_S = 0.5
PROGRESS_HZ = 10
PROGRESS_STEPS = 200

PAPER, INK, BLUE = (250, 248, 246), (40, 36, 32), 0x3D7EDB
TEXT = "the quick brown fox jumps over a lazy dog while seven wizards quietly box jade lynx"


def draw_text(width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Lines of words in a random order, the same every time; BGRA ``(height, width, 4)``."""
    picture = np.full((height_px, width_px, 4), (*PAPER, 255), np.uint8)
    words = TEXT.split()
    random = np.random.default_rng(1)
    for bottom in range(LINE_PX, height_px, LINE_PX):
        line = " ".join(random.choice(words, 40))
        place, font = (16, bottom - 7), cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(picture, line[: width_px // 10], place, font, 0.5, (*INK, 255), 1, cv2.LINE_AA)
    return picture


def draw_colours(width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Coloured text on the left, something like a photo on the right; BGRA."""
    picture = draw_text(width_px, height_px)
    random = np.random.default_rng(2)
    for top in range(4, height_px - LINE_PX, LINE_PX):  # on colour, and of every colour
        ink, paper = random.integers(0, 256, (2, 3)).tolist()
        line = picture[top : top + LINE_PX, : width_px // 2]
        is_ink = line[..., :1] < (min(PAPER) + max(INK)) // 2
        line[..., :3] = np.where(is_ink, ink, paper)
    coarse = random.integers(0, 256, (9, 8, 3), np.uint8)
    size = (width_px - width_px // 2, height_px)
    photo = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    photo = photo + random.normal(0, 4, photo.shape)
    picture[:, width_px // 2 :, :3] = np.clip(photo, 0, 255)
    return picture


class Window:
    """A window over the whole screen, and a picture of text to copy from.

    Attributes:
        width_px: Of the screen.
        height_px: Of the screen.
        text_px: Height of the prepared text.

    Args:
        draw: Makes the picture of text from its width and height.
    """

    def __init__(self, draw: Callable[[int, int], NDArray[np.uint8]] = draw_text) -> None:
        self._connection = connection = xcffib.connect()
        root = connection.get_setup().roots[connection.pref_screen]
        self.width_px, self.height_px = int(root.width_in_pixels), int(root.height_in_pixels)
        self.text_px = 2 * self.height_px
        core, xproto = connection.core, xcffib.xproto
        self._window, self._text, self._gc = (connection.generate_id() for _ in range(3))
        core.CreateWindow(
            root.root_depth,
            self._window,
            root.root,
            0,
            0,
            self.width_px,
            self.height_px,
            0,
            xproto.WindowClass.InputOutput,
            root.root_visual,
            xproto.CW.BackPixel | xproto.CW.OverrideRedirect,
            [0xFFFFFF, 1],
        )
        # Without GraphicsExposures a copy sends no event.
        core.CreateGC(self._gc, self._window, xproto.GC.GraphicsExposures, [0])
        core.CreatePixmap(root.root_depth, self._text, self._window, self.width_px, self.text_px)
        self._send(draw(self.width_px, self.text_px), root.root_depth)
        core.MapWindow(self._window)
        self.copy(0, 0, self.width_px, self.height_px)

    def copy(self, offset_px: int, left: int, width: int, height: int) -> None:
        """Show a column of the text, from the top of the screen on."""
        self._connection.core.CopyArea(
            self._text, self._window, self._gc, left, offset_px, left, 0, width, height
        )
        self._flush()

    def fill(self, colour: int, left: int, top: int, width: int, height: int) -> None:
        """A rectangle of one colour."""
        core = self._connection.core
        core.ChangeGC(self._gc, xcffib.xproto.GC.Foreground, [colour])
        area = xcffib.xproto.RECTANGLE.synthetic(left, top, width, height)
        core.PolyFillRectangle(self._window, self._gc, 1, [area])
        self._flush()

    def _flush(self) -> None:
        self._connection.flush()
        while self._connection.poll_for_event() is not None:
            pass  # nothing is expected, and nothing may pile up

    def _send(self, picture: NDArray[np.uint8], depth: int) -> None:
        rows_at_once = 64  # 480 kB, below what a server takes in one request
        for top in range(0, len(picture), rows_at_once):
            rows: Any = picture[top : top + rows_at_once]
            self._connection.core.PutImage(
                xcffib.xproto.ImageFormat.ZPixmap,
                self._text,
                self._gc,
                rows.shape[1],
                len(rows),
                0,
                top,
                0,
                depth,
                rows.nbytes,
                rows.tobytes(),
            )


def show_static(_window: Window) -> None:
    """Nothing moves."""
    while True:
        time.sleep(3600)


def show_chat(window: Window) -> None:
    """A cursor that blinks, and a line of progress that grows ten times a second."""
    top = window.height_px - 3 * LINE_PX
    window.fill(0xFFFFFF, 0, top, window.width_px, 3 * LINE_PX)
    ticks_a_blink = round(BLINK_S * PROGRESS_HZ)
    for tick in ticks(PROGRESS_HZ):
        step = tick % PROGRESS_STEPS
        if step == 0:
            window.fill(0xDDDDDD, 16, 100, 4 * PROGRESS_STEPS, 6)
        window.fill(BLUE, 16 + 4 * step, 100, 4, 6)
        if tick % ticks_a_blink == 0:
            is_on = tick // ticks_a_blink % 2 == 0
            window.fill(0 if is_on else 0xFFFFFF, 32, top + LINE_PX, 2, 18)


def show_scroll(window: Window) -> None:
    """The right half of the screen is text that moves up."""
    half = window.width_px // 2
    end = window.text_px - window.height_px
    for tick in ticks(SCROLL_HZ):
        window.copy(tick * SCROLL_PX % end, half, half, window.height_px)


def ticks(rate_hz: int) -> Iterator[int]:
    """0, 1, 2, … at a steady rate."""
    begun_s = time.monotonic()
    for tick in count():
        time.sleep(max(0.0, begun_s + tick / rate_hz - time.monotonic()))
        yield tick


SHOWS = {"static": show_static, "chat": show_chat, "scroll": show_scroll, "colours": show_static}


def main() -> None:
    """Show one of them until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("desktop", choices=SHOWS)
    name = parser.parse_args().desktop
    SHOWS[name](Window(draw_colours if name == "colours" else draw_text))


if __name__ == "__main__":
    main()

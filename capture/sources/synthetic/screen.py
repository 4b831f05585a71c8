"""The test card: a screen whose pictures carry their number, and the reader of that number."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from capture.clock import now_ns
from capture.errors import ConfigError, DeviceLostError, SourceEndedError
from capture.geometry import Rect
from capture.model.signal import ScreenPicture
from capture.sources.base import ScreenSource
from capture.sources.synthetic import EPOCH_NS
from capture.units import NS_PER_S

COUNTER_BITS = 24  # 6 days at 30 per second
CHECK_BITS = 8
CELLS = COUNTER_BITS + CHECK_BITS
STRIP_PART = 16  # the strip takes 1/16 of the height
CHECK_SEED = 0xA5  # so that an all black or all white strip is no counter
DARK, BRIGHT = 85, 170  # between them a cell is neither: half way through a bad picture
MIN_WIDTH_PX, MIN_HEIGHT_PX = 4 * CELLS, 8 * STRIP_PART  # cells of 4x8 survive 4:2:0
FLASH_S = 0.1
SEGMENTS = (0x77, 0x24, 0x5D, 0x6D, 0x2E, 0x6B, 0x7B, 0x25, 0x7F, 0x6F)  # seven-segment digits
DIGITS = 4
BOX_SPEED_PX = 4  # per picture


class SyntheticScreen(ScreenSource):
    """A moving test card: a counter strip, a clock, a flash at each second and a running box.

    Args:
        width_px: At least 128.
        height_px: At least 128.
        fps_change: How many new pictures it shows per second.
        epoch_ns: Capture clock of picture 0.
        end_s: Seconds after the epoch at which it ends, as a window that is closed.
        lost_s: Seconds after the epoch at which the display goes away.
        now: The clock, for tests that step it.

    Raises:
        ConfigError: If it is too small for its counter.
    """

    def __init__(
        self,
        width_px: int,
        height_px: int,
        *,
        fps_change: float = 30.0,
        epoch_ns: int = EPOCH_NS,
        end_s: float = math.inf,
        lost_s: float = math.inf,
        now: Callable[[], int] = now_ns,
    ) -> None:
        if width_px < MIN_WIDTH_PX or height_px < MIN_HEIGHT_PX:
            raise ConfigError(
                f"a test card of {width_px}x{height_px} is too small for its counter",
                hint=f"make it {MIN_WIDTH_PX}x{MIN_HEIGHT_PX} or larger",
            )
        self.label = f"test card {width_px}x{height_px}"
        self.size_px = (width_px, height_px)
        self.notes = []
        self._fps = fps_change
        self._epoch_ns = epoch_ns
        self._end_s, self._lost_s = end_s, lost_s
        self._now = now
        self._background = _background(width_px, height_px)
        self._pixels = self._background.copy()
        self._shown: dict[str, tuple[int, Rect]] = {}  # part -> (what it shows, where)
        lane = height_px // 4
        self._flash = Rect(width_px - lane, lane, lane // 2, lane // 2)
        self._digits = Rect(lane // 2, lane, width_px // 2, lane)
        self._lane_top = height_px - lane

    def grab(self) -> ScreenPicture:
        """The card at this moment; see ``ScreenSource``."""
        captured_ns = self._now()
        elapsed_s = (captured_ns - self._epoch_ns) / NS_PER_S
        if elapsed_s >= self._end_s:
            raise SourceEndedError(f"{self.label} ended after {self._end_s} s")
        if elapsed_s >= self._lost_s:
            raise DeviceLostError(f"{self.label} went away")
        index = math.floor(elapsed_s * self._fps)
        second = math.floor(index / self._fps + 1e-9)  # of the picture, not of the moment
        is_first = not self._shown
        parts = {
            "strip": (index, self._strip),
            "clock": (second, self._digits),
            "flash": (int(index / self._fps - second < FLASH_S - 1e-9), self._flash),
            "box": (index, self._box(index)),
        }
        changed: list[Rect] = []
        for name, (value, rect) in parts.items():
            changed += self._show(name, value, rect)
        if is_first:
            changed = [Rect(0, 0, *self.size_px)]
        return ScreenPicture(self._pixels, tuple(changed), captured_ns)

    def close(self) -> None:
        """Do nothing: there are no resources."""

    @property
    def _strip(self) -> Rect:
        return Rect(0, 0, self.size_px[0], self.size_px[1] // STRIP_PART)

    def _box(self, index: int) -> Rect:
        """The place of the moving box, up and down its lane at the bottom."""
        size = (self.size_px[1] - self._lane_top) // 2
        way = self.size_px[0] - size
        left = way - abs(index * BOX_SPEED_PX % (2 * way) - way)
        return Rect(left, self._lane_top + size // 2, size, size)

    def _show(self, name: str, value: int, rect: Rect) -> list[Rect]:
        """Redraw one part; gives where the picture changed."""
        before = self._shown.get(name)
        if before == (value, rect):
            return []
        self._shown[name] = value, rect
        changed = [rect]
        if before is not None and before[1] != rect:
            old = before[1]
            self._pixels[old.slices] = self._background[old.slices]
            # Two touching halves are one rectangle; a jump is two.
            changed = [rect.union(old)] if rect.intersect(old) else [old, rect]
        area = self._pixels[rect.slices]
        if name == "strip":
            _draw_counter(area, value)
        elif name == "clock":
            area[:] = 16
            _draw_number(area, value)
        else:
            area[..., :3] = 255 if name == "box" or value else 16
        return changed


def read_counter(picture: NDArray[np.uint8]) -> int | None:
    """The counter of a test card, at whatever size it was scaled to.

    Args:
        picture: Shape (height, width), or (height, width, 3 or 4) as BGR or RGB.

    Returns:
        The picture's number, or None where the strip cannot be read or its checksum is wrong.
    """
    height, width = picture.shape[:2]
    strip = height / STRIP_PART
    rows = picture[int(strip * 0.3) : max(int(strip * 0.7), int(strip * 0.3) + 1)]
    line = rows[..., :3].mean(axis=(0, 2)) if rows.ndim > 2 else rows.mean(axis=0)  # noqa: PLR2004
    cell = width / CELLS
    word = 0
    for index in range(CELLS):
        first = int((index + 0.25) * cell)
        light = float(line[first : max(int((index + 0.75) * cell), first + 1)].mean())
        if DARK < light < BRIGHT:
            return None
        word = word << 1 | (light >= BRIGHT)
    number, check = word >> CHECK_BITS, word & 0xFF
    return number if check == _check(number) else None


def _check(number: int) -> int:
    """A byte that changes with every bit of the number, and with swapped bytes."""
    check = CHECK_SEED
    for byte in number.to_bytes(COUNTER_BITS // 8, "big"):
        check = ((check << 1 | check >> 7) & 0xFF) ^ byte
    return check


def _draw_counter(area: NDArray[np.uint8], number: int) -> None:
    number %= 1 << COUNTER_BITS
    word = number << CHECK_BITS | _check(number)
    bits = np.array([word >> shift & 1 for shift in range(CELLS - 1, -1, -1)], np.uint8)
    cells = np.arange(area.shape[1]) * CELLS // area.shape[1]
    area[..., :3] = (bits * 255)[cells][None, :, None]


def _draw_number(area: NDArray[np.uint8], number: int) -> None:
    """Seven-segment digits, drawn as bars; segments are bits from the top to the bottom."""
    height, width = area.shape[0], area.shape[1] // DIGITS
    bar = max(height // 8, 2)
    right, middle = width - 2 * bar, (height - bar) // 2
    places = (
        (0, bar, 0, right),
        (0, middle, 0, bar),
        (0, middle, right - bar, right),
        (middle, middle + bar, 0, right),
        (middle, height, 0, bar),
        (middle, height, right - bar, right),
        (height - bar, height, 0, right),
    )
    for digit in range(DIGITS):
        figure = SEGMENTS[number // 10 ** (DIGITS - 1 - digit) % 10]
        left = digit * width
        for bit, (top, bottom, start, stop) in enumerate(places):
            if figure >> bit & 1:
                area[top:bottom, left + start : left + stop, :3] = 235


def _background(width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Colour bars over a grey ramp, BGRA."""
    pixels = np.full((height_px, width_px, 4), 255, np.uint8)
    bar = np.arange(width_px) * 8 // width_px
    for channel, bit in enumerate((1, 4, 2)):  # blue, green, red: the usual order of the bars
        pixels[..., channel] = np.where(bar & bit, 32, 192).astype(np.uint8)
    pixels[height_px * 3 // 4 :, :, :3] = np.linspace(0, 128, width_px, dtype=np.uint8)[:, None]
    return pixels

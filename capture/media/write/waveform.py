"""Waveform pictures: rounded bars as messengers draw them, with the length beside them.

Owns ``Peaks``, which reduces a sound of unknown length to a few amplitudes in bounded memory, and
the drawing with OpenCV.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import MediaError
from capture.media.output import as_output_error
from capture.media.write.sndfile import as_float32

WIDTH_PX, HEIGHT_PX = 800, 160
"""Sharp on a screen of two pixels a point, where a message's bubble is 400 points wide."""

_GROUND = (250, 247, 245)
_BAR = (193, 178, 168)
_PLAYED = (214, 132, 36)
_TEXT = (125, 110, 100)
"""BGR: near white, grey-blue, blue, dark grey."""

_BAR_PX, _GAP_PX = 6, 4
_MARGIN_PX = 20
_TEXT_HEIGHT_PX = 16
"""Height of a digit."""
_SMOOTH = 4
"""Drawn so many times as large and made smaller, which smooths every edge alike."""
_CURVE = 0.75
"""Exponent of a bar's height: a bit more than the amplitude shows, so that a soft voice beside a
loud one is more than a line."""

_PARTS = 8
"""Levels kept for each column, half as many at worst: a peak is at most a quarter of one off."""


class Peaks:
    """Peaks of a sound of unknown length, for a number of columns; used from one thread.

    Args:
        columns: How many amplitudes there will be at the end, 1 or more.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._parts = np.zeros(_PARTS * columns, np.float32)
        self._part_frames = 1
        self.frames = 0

    def add(self, samples: NDArray[Any]) -> None:
        """Add samples: float of -1..1, int16 or int32, shape (frames, channels) or (frames,)."""
        if samples.size == 0:
            return
        levels = np.abs(as_float32(samples).reshape(len(samples), -1)).max(axis=1)
        while len(levels):
            while self.frames >= len(self._parts) * self._part_frames:
                self._halve()
            # Up to what the parts hold now; what is longer waits until they are halved.
            room = len(self._parts) * self._part_frames - self.frames
            self._put(levels[:room])
            levels = levels[room:]

    def _put(self, levels: NDArray[np.float32]) -> None:
        offset = self.frames % self._part_frames
        first = self.frames // self._part_frames
        starts = np.arange(0, offset + len(levels), self._part_frames) - offset
        starts[0] = 0
        found = np.maximum.reduceat(levels, starts)
        parts = self._parts[first : first + len(found)]
        np.maximum(parts, found, out=parts)
        self.frames += len(levels)

    def _halve(self) -> None:
        half = len(self._parts) // 2
        self._parts[:half] = self._parts.reshape(half, 2).max(axis=1)
        self._parts[half:] = 0.0
        self._part_frames *= 2

    def take(self, columns: int | None = None) -> NDArray[np.float32]:
        """The amplitudes so far, 0..1, shape (columns,); zeros where there was no sound.

        Args:
            columns: Fewer than in the constructor; ``None``: as many.
        """
        columns = self._columns if columns is None else columns
        if not self.frames:
            return np.zeros(columns, np.float32)
        return _resized(self._parts, columns, self.frames, self._part_frames)


def bar_count(width_px: int = WIDTH_PX, duration_s: float = 0.0) -> int:
    """Number of bars in a picture of this width, beside the text."""
    room_px = width_px - 3 * _MARGIN_PX - _text_width_px(_clock(duration_s))
    return max(1, (room_px + _GAP_PX) // (_BAR_PX + _GAP_PX))


def draw_waveform(
    peaks: NDArray[np.float32],
    *,
    width_px: int = WIDTH_PX,
    height_px: int = HEIGHT_PX,
    duration_s: float,
    played: float | None = None,
) -> NDArray[np.uint8]:
    """Draw a waveform, uint8 BGR of shape ``(height_px, width_px, 3)``.

    Args:
        peaks: Amplitudes 0..1 of shape (columns,), or lowest and highest sample of shape
            (columns, 2); any number of columns, which become as many bars as there is room for.
        width_px: At least 160, so that beside 1:00:00 there is room for a bar.
        height_px: At least 24.
        duration_s: Written beside it.
        played: How much of it has been played, 0.0 to 1.0: those bars are drawn in colour.
            ``None``: it is not being played, and all are.
    """
    from capture.opencv import cv2  # noqa: PLC0415 - most commands draw nothing

    text = _clock(duration_s)
    bars = bar_count(width_px, duration_s)
    heights = _heights(peaks, bars)
    canvas = np.full((height_px * _SMOOTH, width_px * _SMOOTH, 3), _GROUND, np.uint8)
    middle = height_px * _SMOOTH // 2
    radius = _BAR_PX * _SMOOTH // 2
    reach = max(0, middle - min(_MARGIN_PX, height_px // 8) * _SMOOTH - radius)
    played_bars = bars if played is None else round(played * bars)
    for number, height in enumerate(heights):
        x = (_MARGIN_PX + number * (_BAR_PX + _GAP_PX)) * _SMOOTH + radius
        half = round(float(height) * reach)
        color = _PLAYED if number < played_bars else _BAR
        # A thick line ends in half circles.
        cv2.line(canvas, (x, middle - half), (x, middle + half), color, 2 * radius)
    picture = cv2.resize(canvas, (width_px, height_px), interpolation=cv2.INTER_AREA)
    left = width_px - _MARGIN_PX - _text_width_px(text)
    baseline = (height_px + _TEXT_HEIGHT_PX) // 2
    scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, _TEXT_HEIGHT_PX, 2)
    cv2.putText(
        *(picture, text, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, _TEXT, 2, cv2.LINE_AA)
    )
    return picture.astype(np.uint8, copy=False)


def save_waveform(path: Path, peaks: NDArray[np.float32], *, duration_s: float) -> None:
    """Write the picture as PNG; see ``draw_waveform``. An existing file is replaced.

    Raises:
        MediaError: OpenCV cannot make a PNG here.
        OutputError: The file cannot be written.
    """
    from capture.opencv import cv2  # noqa: PLC0415 - as above

    is_done, png = cv2.imencode(".png", draw_waveform(peaks, duration_s=duration_s))
    if not is_done:
        raise MediaError("this build of OpenCV cannot write PNG")
    # Not cv2.imwrite: it takes no Unicode paths on Windows, and gives no reason for a failure.
    with as_output_error(path):
        path.write_bytes(png.tobytes())


def _heights(peaks: NDArray[np.float32], bars: int) -> NDArray[np.float32]:
    """Heights of the bars, 0..1: relative to the loudest."""
    if peaks.size == 0:
        return np.zeros(bars, np.float32)
    levels = np.abs(peaks.reshape(len(peaks), -1)).max(axis=1)
    bar = _resized(levels, bars, len(levels))
    loudest = bar.max()
    heights: NDArray[np.float32] = (bar / loudest) ** np.float32(_CURVE) if loudest > 0.0 else bar
    return heights


def _resized(
    levels: NDArray[np.float32], columns: int, frames: int, level_frames: int = 1
) -> NDArray[np.float32]:
    """The peak of each column; a level across an edge counts for both."""
    edges = np.arange(columns + 1) * frames
    first = edges[:-1] // (columns * level_frames)
    last = -(-edges[1:] // (columns * level_frames))
    return np.array([levels[a:b].max() for a, b in zip(first, last, strict=True)], np.float32)


def _clock(duration_s: float) -> str:
    """0:07, 12:34 or 1:02:03, cut to whole seconds as players do."""
    minutes, seconds = divmod(math.floor(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _text_width_px(text: str) -> int:
    from capture.opencv import cv2  # noqa: PLC0415 - as above

    scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, _TEXT_HEIGHT_PX, 2)
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)[0][0])

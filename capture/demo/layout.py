"""Places and times in the demo's window, shared by what draws it and what measures it."""

from __future__ import annotations

__all__ = [
    "ACCENT",
    "BARS",
    "FAINT",
    "PLAYER_NAME",
    "SIZE_PX",
    "TITLE",
    "WAVE_BOX",
    "bar_at_px",
    "bar_due_s",
    "is_played",
]

TITLE = "Voice message"
SIZE_PX = (900, 500)
PLAYER_NAME = "capture-demo"
"""The sound's name at the sound server."""
BARS = 72
WAVE_BOX = (210, 200, 790, 320)
"""Left, top, right and bottom of the waveform."""
ACCENT, FAINT = (160, 196, 64), (140, 122, 106)
"""Colours of a played bar and of the others: blue, green, red, as in OpenCV."""


def bar_due_s(bar: int, length_s: float) -> float:
    """When a bar changes its colour, in seconds of the message."""
    return (bar + 0.5) / BARS * length_s


def bar_at_px(bar: int) -> tuple[int, int]:
    """A point inside a bar, in pixels of the window from its top left."""
    left, top, right, bottom = WAVE_BOX
    return round(left + (bar + 0.5) * (right - left) / BARS), (top + bottom) // 2


def is_played(blue: int, green: int, red: int) -> bool:
    """Whether a pixel of a bar has the colour of what was played."""
    halfway = (ACCENT[1] + FAINT[1]) // 2
    del blue
    return green > halfway and green > red + (ACCENT[1] - ACCENT[2]) // 4

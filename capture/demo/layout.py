"""Places and times in the demo's window, shared by what draws it and what measures it."""

import sys

from capture.errors import UnsupportedError
from capture.hints import Advice
from capture.libraries import needed

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


def require_window() -> None:
    """See whether the message's window can be drawn and heard: it is a program of its own.

    Raises:
        UnsupportedError: Not on this system.
        LibraryMissingError: Something is not installed.
    """
    if sys.platform != "linux":
        raise UnsupportedError(
            "the demo's window needs Linux",
            hint=Advice.CHECK_MACHINE.with_(),
        )
    with needed("xcffib"):
        import capture.demo.canvas  # noqa: PLC0415 - only looked for
    import capture.opencv  # noqa: F401, PLC0415 - the same

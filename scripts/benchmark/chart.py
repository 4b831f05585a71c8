"""A bar chart of the ``load`` part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from capture.opencv import cv2

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["draw_load"]

_BAR_PX, _GAP_PX, _LEFT_PX, _TOP_PX, _FULL_PX = 26, 34, 150, 70, 820
_PALETTE: Final = ((201, 122, 30), (150, 150, 150), (90, 160, 90))
"""Blue for this recorder, which comes first; BGR."""
_INK: Final = (50, 50, 50)


def draw_load(found: dict[str, Any], path: Path) -> None:
    """CPU time of every recorder on every desktop, as a picture."""
    desktops: dict[str, Any] = found["desktops"]
    recorders = list(next(iter(desktops.values())))
    most = max(each["cpu"]["median"] for one in desktops.values() for each in one.values())
    block_px = len(recorders) * _BAR_PX + _GAP_PX
    size = (_TOP_PX + len(desktops) * block_px, _LEFT_PX + _FULL_PX + 110, 3)
    picture = np.full(size, 255, np.uint8)

    def write(text: str, left: int, bottom: int, scale: float = 0.55) -> None:
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(picture, text, (left, bottom), font, scale, _INK, 1, cv2.LINE_AA)

    title = f"CPU time of recording 1920x1080 at {found['fps']} fps, in % of one core"
    write(title, 16, 36, 0.7)
    for row, (name, values) in enumerate(desktops.items()):
        top = _TOP_PX + row * block_px
        write(name, 16, top + len(recorders) * _BAR_PX // 2 + 5, 0.65)
        for number, recorder in enumerate(recorders):
            share = values[recorder]["cpu"]["median"]
            bar_top, right = top + number * _BAR_PX, _LEFT_PX + round(_FULL_PX * share / most)
            bottom = bar_top + _BAR_PX - 4
            colour = _PALETTE[number % len(_PALETTE)]
            cv2.rectangle(picture, (_LEFT_PX, bar_top), (right, bottom), colour, cv2.FILLED)
            write(f"{share:.1%} {recorder}", right + 6, bottom - 5, 0.45)
    cv2.imwrite(str(path), picture)

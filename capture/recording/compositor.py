"""Brings pictures of any size into the kept picture, with the pointer drawn in.

Owns what no source then has to do: a window that was resized is shown within the size that the
recording began with, and a pointer that moved makes the places change where it was and where it is.
"""

import numpy as np
from numpy.typing import NDArray

from capture.geometry import Rect
from capture.media.write.picture import KeptPicture, pointed
from capture.model.signal import Pointer, ScreenPicture
from capture.opencv import cv2


class Compositor:
    """Copies pictures of any size into a kept picture. Used from one thread at a time.

    Args:
        picture: Brought up to date by ``take()``.
        size_px: Width and height that it was made for.
    """

    def __init__(self, picture: KeptPicture, size_px: tuple[int, int]) -> None:
        self._picture = picture
        self._size_px = size_px
        self._pointer: Pointer | None = None

    def take(self, shown: ScreenPicture) -> bool:
        """Update the kept picture; whether anything has changed."""
        whole = Rect(0, 0, shown.pixels.shape[1], shown.pixels.shape[0])
        dirty = list(shown.changed)
        before, pointer = self._pointer, shown.pointer
        self._pointer = pointer
        if not _is_same(before, pointer):
            spots = (each.place.intersect(whole) for each in (before, pointer) if each)
            for spot in spots:
                if spot and not any(rect.intersect(spot) == spot for rect in dirty):
                    dirty.append(spot)
        if not dirty:
            return False
        if (whole.width_px, whole.height_px) == self._size_px:
            self._picture.update(shown.pixels, dirty, pointer)
        else:
            pixels = pointed(shown.pixels, whole, pointer) if pointer else shown.pixels
            self._picture.update(_fitted(pixels, self._size_px), [Rect(0, 0, *self._size_px)])
        return True


def _is_same(one: Pointer | None, other: Pointer | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.place == other.place and one.image is other.image


def _fitted(pixels: NDArray[np.uint8], size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """A whole picture, scaled to fit into a size, on black."""
    width, height = size_px
    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    inner = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    fitted = np.zeros((height, width, 4), np.uint8)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    inside = cv2.resize(pixels, inner, interpolation=way)
    fitted[top : top + inner[1], left : left + inner[0]] = inside
    return fitted

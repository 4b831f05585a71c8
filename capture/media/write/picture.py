"""The kept picture: what the screen shows, in the form that an encoder takes.

Owns the conversion from BGRA. A picture is kept from one frame to the next, so that only what
changed is converted again, into memory that was allocated once. OpenCV does the arithmetic: its
luma is exact and three to five times as fast as swscale's. Its own chroma is not used, as it looks
at one pixel of four and frays coloured text; here the four are averaged first.

``kept_picture()`` chooses between the two kinds: ``PlanarPicture`` (yuv420p, what every player
plays) and ``PackedPicture`` (bgr0 for libx264rgb, nothing lost at all).
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from math import prod
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from capture.geometry import Rect
from capture.model.signal import Pointer
from capture.opencv import cv2

# The values of H.273, which codec contexts and frames of av share by attribute name. A screen is
# sRGB: its primaries are BT.709's and its curve has a number of its own. The matrix is free, and
# BT.601's is the one that OpenCV computes; players read it from the file.
_SCREEN: Final = {"color_primaries": 1, "color_trc": 13}
_BT601_LIMITED: Mapping[str, int] = {"colorspace": 6, "color_range": 1} | _SCREEN
_RGB_FULL: Mapping[str, int] = {"colorspace": 0, "color_range": 2} | _SCREEN

# BT.601: Y' = 0.299 R + 0.587 G + 0.114 B. Limited chroma reaches 112 to both sides of 128, where
# B - Y' reaches 255 (1 - 0.114) and R - Y' 255 (1 - 0.299).
_BLUE_SCALE: Final = 112 / 255 / (1 - 0.114)
_RED_SCALE: Final = 112 / 255 / (1 - 0.299)

BLACK: Final = 24
"""Of 255; black is 16 in limited range, and a dark theme's background about 40."""

SPARE_FRAMES: Final = 3
"""One that is filled, one that is encoded, one on its way; a frame has 3 MB at 1080p."""
BAND_PX: Final = 256 * 1024
"""Converted at once: what lies between the steps stays in the cache, and takes 1 MB of memory."""
CHANGES_KEPT: Final = 64
"""A frame comes back after three pictures of a few rectangles each."""
PART_OF_ALL: Final = 0.5
"""Copying rectangles that are more than this of the picture costs as much as copying it."""

# One thread: the second core belongs to the encoder, and splitting 2 ms of work costs more CPU
# than it saves time.
cv2.setNumThreads(1)


class KeptPicture(ABC):
    """The interface of both kinds of picture. Used from one thread at a time.

    The picture is stored in the frame that is handed out next. Once that is out, the next change
    goes into another frame, to which only the parts are copied that it lacks.

    Attributes:
        size_px: Width and height of the frames, even: an odd picture is grown by repeating its
            last column or row.
        pixel_format: FFmpeg's name of the frames' format.
        color_tags: ``colorspace``, ``color_range``, ``color_primaries`` and ``color_trc`` in
            H.273's numbers: on every frame already, and to be set on the codec context.
    """

    pixel_format: str
    color_tags: Mapping[str, int]
    _px_per_sample: tuple[int, ...]
    """Pixels per sample of each of ``_planes``, in both directions."""
    _black: tuple[int, ...]

    def __init__(self, width_px: int, height_px: int) -> None:
        self._screen_px = (width_px, height_px)
        self.size_px = (_even(width_px), _even(height_px))
        self._spare: deque[av.VideoFrame] = deque(maxlen=SPARE_FRAMES)
        self._changes: deque[Rect] = deque(maxlen=CHANGES_KEPT)
        self._change_count = 0
        # By id: how many changes there had been when a frame was handed out. A new frame, which may
        # have the id of one that is gone, is forgotten before it is looked up.
        self._filled: dict[int, int] = {}
        self._frame = self.like()
        self._planes = self._shown = self._planes_of(self._frame)
        self._is_out = False
        for plane, black in zip(self._planes, self._black, strict=True):
            plane[:] = black

    def update(
        self, pixels_bgra: NDArray[np.uint8], rects: Sequence[Rect], pointer: Pointer | None = None
    ) -> None:
        """Convert the changed parts, and draw the pointer where they touch it.

        Args:
            pixels_bgra: The whole screen picture, shape ``(height, width, 4)`` of the size given
                to the constructor; only ``rects`` of it, grown to even borders, are read.
            rects: Where it changed, inside the picture; also where the pointer was and is.
            pointer: In picture coordinates.
        """
        if not rects:
            return
        changed = [_grown(rect) for rect in rects]
        spot = _grown(pointer.place).intersect(Rect(0, 0, *self.size_px)) if pointer else None
        if spot and any(rect.intersect(spot) for rect in changed):
            changed = [rect for rect in changed if not _covers(spot, rect)] + [spot]  # over them
        self._renew(changed)
        for rect in changed:
            if pointer and rect is spot:
                self._take_over(pointed(pixels_bgra, rect, pointer), rect)
            else:
                self._take_over(pixels_bgra[rect.slices], rect)
        self._changes.extend(changed)
        self._change_count += len(changed)
        self._shown = self._planes  # whole again

    @abstractmethod
    def _take_over(self, part_bgra: NDArray[np.uint8], rect: Rect) -> None:
        """Convert ``rect``, with even borders; it may reach beyond an odd ``part_bgra``."""

    @abstractmethod
    def _planes_of(self, frame: av.VideoFrame) -> tuple[NDArray[np.uint8], ...]:
        """Writable arrays of a frame's planes, shape ``(rows, columns, ...)``."""

    @property
    @abstractmethod
    def _light(self) -> NDArray[np.uint8]:
        """Brightness of the picture, shape ``(height, width, ...)``; black is 0 or 16."""

    def is_black(self) -> bool:
        """Whether the picture is all black; any thread may ask; about 30 us where it is not."""
        light = self._light
        # A few pixels decide it for nearly every picture; only where those are dark all are
        # checked.
        return bool(light[::8, ::8].max() <= BLACK and light.max() <= BLACK)

    def like(self) -> av.VideoFrame:
        """An unfilled frame of the size, pixel format and colour tags of all frames."""
        return _tagged(av.VideoFrame(*self.size_px, self.pixel_format), self.color_tags)

    def to_frame(self) -> av.VideoFrame:
        """The picture as a tagged frame that later updates don't change; its pts may be old."""
        self._renew(())
        self._shown, self._is_out = self._planes, True
        if len(self._filled) > CHANGES_KEPT:
            self._filled.clear()
        self._filled[id(self._frame)] = self._change_count
        return self._frame

    def _renew(self, changing: Sequence[Rect]) -> None:
        """Continue in another frame if this one is out; parts in ``changing`` are not copied."""
        if not self._is_out:
            return
        try:
            frame = self._spare.pop()
        except IndexError:
            frame = self.like()
            self._filled.pop(id(frame), None)
        frame.make_writable()  # what an encoder should still hold is left to it
        planes = self._planes_of(frame)
        lacking = self._lacking(frame, changing) if frame is not self._frame else []
        for rect in lacking:
            for target, kept, per_px in zip(planes, self._planes, self._px_per_sample, strict=True):
                part = _part(rect, per_px)
                target[part] = kept[part]
        self._frame, self._planes, self._is_out = frame, planes, False

    def _lacking(self, frame: av.VideoFrame, changing: Sequence[Rect]) -> list[Rect]:
        """The parts that a frame lacks, without those that are about to change again."""
        whole = Rect(0, 0, *self.size_px)
        rects = [whole]
        filled = self._filled.get(id(frame))
        if filled is not None and self._change_count - filled <= len(self._changes):
            changes = list(self._changes)[len(self._changes) - (self._change_count - filled) :]
            rects = list(dict.fromkeys(changes))
        rects = [rect for rect in rects if not any(_covers(new, rect) for new in changing)]
        is_much = sum(rect.area_px for rect in rects) > PART_OF_ALL * whole.area_px
        return [whole] if is_much else rects

    def recycle(self, frame: av.VideoFrame) -> None:
        """Take back a frame that is not used any more, to be filled again. Any thread.

        The system hands out fresh memory page by page, and clears it: as long as the conversion.
        """
        self._spare.append(frame)


def kept_picture(width_px: int, height_px: int, *, is_lossless: bool = False) -> KeptPicture:
    """A picture for lossy or lossless encoding."""
    if is_lossless:
        return PackedPicture(width_px, height_px)
    return PlanarPicture(width_px, height_px)


class PlanarPicture(KeptPicture):
    """A screen picture as yuv420p, BT.601 limited range; 1.5 bytes a pixel.

    A flat colour comes back within 2 levels of 255 where the decoder rounds exactly (swscale, which
    does not, adds another 2).

    Args:
        width_px: Width of the screen pictures.
        height_px: Their height.
    """

    pixel_format = "yuv420p"
    color_tags = _BT601_LIMITED
    _px_per_sample = (1, 2, 2)
    _black = (16, 128, 128)  # limited range

    def __init__(self, width_px: int, height_px: int) -> None:
        super().__init__(width_px, height_px)
        width, height = self.size_px
        area = min(width * height, max(BAND_PX, 2 * width))
        self._i420_scratch = np.empty(area * 3 // 2, np.uint8)
        self._half_scratch = np.empty(area, np.uint8)
        self._channel_scratch = np.empty((5, area // 4), np.uint8)
        self._edge_scratch = np.empty(area * 4 if self.size_px != self._screen_px else 0, np.uint8)

    def _take_over(self, part_bgra: NDArray[np.uint8], rect: Rect) -> None:
        """Convert one rectangle in bands of rows."""
        rows = max(BAND_PX // rect.width_px & ~1, 2)
        for top in range(0, rect.height_px, rows):
            height = min(rows, rect.height_px - top)
            band = Rect(rect.left_px, rect.top_px + top, rect.width_px, height)
            self._convert(part_bgra[top : top + height], band)

    def _convert(self, part_bgra: NDArray[np.uint8], rect: Rect) -> None:
        left, top, right, bottom = rect.left_px, rect.top_px, rect.right_px, rect.bottom_px
        width, height = rect.width_px, rect.height_px
        source = self._with_edge(part_bgra, width, height)

        # Luma comes with a chroma that is left behind in the scratch memory.
        i420 = _shaped(self._i420_scratch, (height * 3 // 2, width))
        cv2.cvtColor(source, cv2.COLOR_BGRA2YUV_I420, dst=i420)
        luma, blueness, redness = self._planes
        luma[top:bottom, left:right] = i420[:height]

        half_shape = (height // 2, width // 2)
        half = _shaped(self._half_scratch, (*half_shape, 4))
        cv2.resize(source, half_shape[::-1], dst=half, interpolation=cv2.INTER_AREA)
        blue, green, red, gray, unused = (_shaped(p, half_shape) for p in self._channel_scratch)
        cv2.split(half, [blue, green, red, unused])
        cv2.cvtColor(half, cv2.COLOR_BGRA2GRAY, dst=gray)
        # Cb = k (B - Y') and Cr = k (R - Y'), rounded once.
        part = slice(top // 2, bottom // 2), slice(left // 2, right // 2)
        cv2.addWeighted(blue, _BLUE_SCALE, gray, -_BLUE_SCALE, 128, dst=blueness[part])
        cv2.addWeighted(red, _RED_SCALE, gray, -_RED_SCALE, 128, dst=redness[part])

    def _planes_of(self, frame: av.VideoFrame) -> tuple[NDArray[np.uint8], ...]:
        return tuple(_rows(plane)[:, : plane.width] for plane in frame.planes)

    @property
    def _light(self) -> NDArray[np.uint8]:
        return self._shown[0]

    def _with_edge(self, source: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
        """The pixels, extended to an even size by repeating the last column or row."""
        have_height, have_width = source.shape[:2]
        if (have_width, have_height) == (width, height):
            return source
        grown = _shaped(self._edge_scratch, (height, width, 4))
        grow = (0, height - have_height, 0, width - have_width)
        cv2.copyMakeBorder(source, *grow, cv2.BORDER_REPLICATE, dst=grown)
        return grown


class PackedPicture(KeptPicture):
    """A screen picture as bgr0 for libx264rgb: every pixel comes back as it was.

    RGB rather than yuv444p, because YUV of 8 bits cannot hold every RGB colour. Files are High
    4:4:4 Predictive: mpv, VLC and editors play them, browsers and phones don't.

    Args:
        width_px: Width of the screen pictures.
        height_px: Their height.
    """

    pixel_format = "bgr0"
    color_tags = _RGB_FULL
    _px_per_sample = (1,)
    _black = (0,)

    def _take_over(self, part_bgra: NDArray[np.uint8], rect: Rect) -> None:
        """Copy one rectangle."""
        width, height = self._screen_px
        (pixels,) = self._planes
        rows = slice(rect.top_px, min(rect.bottom_px, height))
        columns = slice(rect.left_px, min(rect.right_px, width))
        pixels[rows, columns] = part_bgra
        if rect.right_px > width:
            pixels[rows, width] = pixels[rows, width - 1]
        if rect.bottom_px > height:
            # Whole rows, as the corner belongs to neither.
            pixels[height] = pixels[height - 1]

    def _planes_of(self, frame: av.VideoFrame) -> tuple[NDArray[np.uint8], ...]:
        width, height = self.size_px
        return (_rows(frame.planes[0])[:, : width * 4].reshape(height, width, 4),)

    @property
    def _light(self) -> NDArray[np.uint8]:
        return self._shown[0][..., :3]


def pointed(pixels_bgra: NDArray[np.uint8], rect: Rect, pointer: Pointer) -> NDArray[np.uint8]:
    """A copy of a part of a picture with the pointer drawn over it."""
    part = pixels_bgra[rect.slices].copy()
    place = pointer.place.moved(-rect.left_px, -rect.top_px)
    spot = place.intersect(Rect(0, 0, part.shape[1], part.shape[0]))
    if spot is None:
        return part
    over = pointer.image[spot.moved(-place.left_px, -place.top_px).slices].astype(np.uint16)
    see_through = 255 - over[..., 3:]
    under = part[spot.slices]
    under[:] = np.minimum(over + (under * see_through + 127) // 255, 255)
    return part


def _grown(rect: Rect) -> Rect:
    """The rectangle, extended to even borders."""
    left, top = rect.left_px & ~1, rect.top_px & ~1
    return Rect(left, top, _even(rect.right_px) - left, _even(rect.bottom_px) - top)


def _covers(one: Rect, other: Rect) -> bool:
    return (
        one.left_px <= other.left_px
        and one.top_px <= other.top_px
        and one.right_px >= other.right_px
        and one.bottom_px >= other.bottom_px
    )


def _even(length_px: int) -> int:
    return length_px + (length_px & 1)


def _shaped(scratch: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The beginning of a flat array in a shape: OpenCV writes into exactly fitting arrays."""
    return scratch[: prod(shape)].reshape(shape)


def _rows(plane: av.video.plane.VideoPlane) -> NDArray[np.uint8]:
    """Writable rows of a plane, without FFmpeg's padding."""
    height, stride = plane.height, plane.line_size
    return np.frombuffer(memoryview(plane), np.uint8)[: height * stride].reshape(height, stride)


def _part(rect: Rect, per_px: int) -> tuple[slice, slice]:
    """Slices of a rectangle in a plane of one sample per so many pixels each way."""
    rows = slice(rect.top_px // per_px, rect.bottom_px // per_px)
    return rows, slice(rect.left_px // per_px, rect.right_px // per_px)


def _tagged(frame: av.VideoFrame, tags: Mapping[str, int]) -> av.VideoFrame:
    for name, value in tags.items():
        setattr(frame, name, value)
    return frame

"""What a source shows, at one size and with the pointer in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from capture.geometry import Rect
from capture.media.write.picture import PackedPicture, PlanarPicture
from capture.model.signal import Pointer, ScreenPicture
from capture.recording.compositor import Compositor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from capture.media.write.picture import KeptPicture

SIZE_PX = (64, 48)
GREY, RED, BLUE = (64, 64, 64), (0, 0, 255), (255, 0, 0)
WHITE_SQUARE = np.full((8, 6, 4), 255, np.uint8)


class Watched(PackedPicture):
    """Notes what is converted."""

    def __init__(self, width_px: int, height_px: int) -> None:
        super().__init__(width_px, height_px)
        self.converted: list[Rect] = []

    def _take_over(self, part_bgra: NDArray[np.uint8], rect: Rect) -> None:
        self.converted.append(rect)
        super()._take_over(part_bgra, rect)


def plain(colour: tuple[int, int, int], size_px: tuple[int, int] = SIZE_PX) -> NDArray[np.uint8]:
    pixels = np.empty((size_px[1], size_px[0], 4), np.uint8)
    pixels[..., :3] = colour
    return pixels


def whole(pixels: NDArray[np.uint8]) -> Rect:
    return Rect(0, 0, pixels.shape[1], pixels.shape[0])


def square_at(left_px: int, top_px: int) -> Pointer:
    return Pointer(Rect(left_px, top_px, 6, 8), WHITE_SQUARE)


def seen(picture: PackedPicture) -> NDArray[np.uint8]:
    """What is in the kept picture, BGR."""
    frame = picture.to_frame()
    plane = np.frombuffer(memoryview(frame.planes[0]), np.uint8)
    rows = plane.reshape(frame.height, frame.planes[0].line_size)
    shown = rows[:, : frame.width * 4].reshape(frame.height, frame.width, 4)[..., :3].copy()
    picture.recycle(frame)
    return shown


def test_a_moved_pointer_changes_two_places_and_leaves_no_trace() -> None:
    picture, pixels = Watched(*SIZE_PX), plain(GREY)
    compositor = Compositor(picture, SIZE_PX)
    assert compositor.take(ScreenPicture(pixels, (whole(pixels),), 0, square_at(10, 10)))
    assert (seen(picture)[10:18, 10:16] == 255).all()
    picture.converted.clear()
    assert not compositor.take(ScreenPicture(pixels, (), 0, square_at(10, 10)))
    assert picture.converted == []
    assert compositor.take(ScreenPicture(pixels, (), 0, square_at(40, 30)))
    assert set(picture.converted) == {Rect(10, 10, 6, 8), Rect(40, 30, 6, 8)}
    expected = pixels[..., :3].copy()
    expected[30:38, 40:46] = 255
    assert np.array_equal(seen(picture), expected)
    assert compositor.take(ScreenPicture(pixels, (), 0, None))
    assert np.array_equal(seen(picture), pixels[..., :3])
    assert (pixels[..., :3] == GREY).all()  # the source's own memory


def test_what_changes_beside_the_pointer_does_not_draw_it_anew() -> None:
    picture, pixels = Watched(*SIZE_PX), plain(GREY)
    compositor = Compositor(picture, SIZE_PX)
    compositor.take(ScreenPicture(pixels, (whole(pixels),), 0, square_at(10, 10)))
    picture.converted.clear()
    compositor.take(ScreenPicture(pixels, (Rect(30, 30, 4, 4),), 0, square_at(10, 10)))
    assert picture.converted == [Rect(30, 30, 4, 4)]


def test_another_image_is_a_change_and_shines_through() -> None:
    picture, pixels = Watched(*SIZE_PX), plain(GREY)
    compositor = Compositor(picture, SIZE_PX)
    compositor.take(ScreenPicture(pixels, (whole(pixels),), 0, square_at(10, 10)))
    half_red = np.zeros_like(WHITE_SQUARE)
    half_red[..., 2:] = 128  # premultiplied
    assert compositor.take(ScreenPicture(pixels, (), 0, Pointer(Rect(10, 10, 6, 8), half_red)))
    under = round(64 * 127 / 255)
    assert (seen(picture)[10:18, 10:16] == (under, under, 128 + under)).all()


@pytest.mark.parametrize("kind", [PackedPicture, PlanarPicture])
@pytest.mark.parametrize("size_px", [SIZE_PX, (63, 47)])
def test_what_is_kept_is_what_a_whole_conversion_gives(
    kind: type[KeptPicture], size_px: tuple[int, int]
) -> None:
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (size_px[1], size_px[0], 4), np.uint8)
    images = [np.sort(rng.integers(0, 256, (9, 7, 4), np.uint8), axis=-1) for _ in range(3)]
    picture = kind(*size_px)
    compositor = Compositor(picture, size_px)
    changed: Sequence[Rect] = (whole(pixels),)
    image, place = images[0], Rect(5, 5, 7, 9)
    for round_ in range(200):
        if round_ % 3:
            left, top = (int(rng.integers(-9, side + 3)) for side in size_px)
            image, place = images[int(rng.integers(3))], Rect(left, top, 7, 9)
        pointer = Pointer(place, image) if round_ % 10 else None
        compositor.take(ScreenPicture(pixels, tuple(changed), 0, pointer))
        anew = kind(*size_px)
        Compositor(anew, size_px).take(ScreenPicture(pixels, (whole(pixels),), 0, pointer))
        kept, expected = picture.to_frame(), anew.to_frame()
        for one, other in zip(kept.planes, expected.planes, strict=True):
            assert bytes(one) == bytes(other), f"round {round_}"
        if round_ % 2:
            picture.recycle(kept)
        left, top = (int(rng.integers(0, side - 8)) for side in size_px)
        changed = [Rect(left, top, *(int(side) for side in rng.integers(1, 9, 2)))]
        for rect in changed:
            area = np.s_[rect.top_px : rect.bottom_px, rect.left_px : rect.right_px]
            pixels[area] = rng.integers(0, 256, pixels[area].shape, np.uint8)


def test_a_picture_of_another_size_is_shown_within_the_first_ones() -> None:
    picture = Watched(*SIZE_PX)
    compositor = Compositor(picture, SIZE_PX)
    compositor.take(ScreenPicture(plain(GREY), (Rect(0, 0, *SIZE_PX),), 0))
    narrow = plain(RED, (24, 24))
    compositor.take(
        ScreenPicture(narrow, (whole(narrow),), 0, Pointer(Rect(0, 0, 6, 8), WHITE_SQUARE))
    )
    shown = seen(picture)
    assert (shown[:, 8:56][20:] == RED).all()
    assert (shown[:12, 8:16] == 255).all()  # the pointer grows with it
    assert not shown[:, :8].any()
    assert not shown[:, 56:].any()
    wide = plain(BLUE, (640, 240))
    compositor.take(ScreenPicture(wide, (whole(wide),), 0))
    shown = seen(picture)
    assert (shown[12:36] == BLUE).all()
    assert not shown[:12].any()
    assert not shown[36:].any()
    assert not compositor.take(ScreenPicture(wide, (), 0))
    compositor.take(ScreenPicture(plain(GREY), (Rect(0, 0, *SIZE_PX),), 0))
    assert (seen(picture) == GREY).all()

"""The kept picture against exact arithmetic, swscale and itself."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
import pytest

from capture.geometry import Rect
from capture.media.write.picture import (
    CHANGES_KEPT,
    KeptPicture,
    PackedPicture,
    PlanarPicture,
    kept_picture,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

UI_COLOURS_BGR = [
    (0, 0, 0),
    (255, 255, 255),
    (128, 128, 128),
    (0, 0, 255),
    (0, 255, 0),
    (255, 0, 0),
    (0, 255, 255),
    (255, 0, 255),
    (255, 255, 0),
    (211, 118, 0),
    (54, 67, 244),
    (30, 30, 30),
]


def noise(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)


def whole(pixels: NDArray[np.uint8]) -> Rect:
    return Rect(0, 0, pixels.shape[1], pixels.shape[0])


def planes(frame: av.VideoFrame) -> list[NDArray[np.uint8]]:
    return [
        np.frombuffer(memoryview(p), np.uint8).reshape(-1, p.line_size)[: p.height, : p.width]
        for p in frame.planes
    ]


def decoded_exactly(frame: av.VideoFrame) -> NDArray[np.float64]:
    """BT.601 limited to BGR as the standard says, chroma repeated."""
    y, u, v = (plane.astype(np.float64) for plane in planes(frame))
    u, v = (c.repeat(2, 0).repeat(2, 1) - 128 for c in (u, v))
    y, u, v = (y - 16) * 255 / 219, u * 255 / 224, v * 255 / 224
    bgr = np.dstack([y + 1.772 * u, y - 0.344136 * u - 0.714136 * v, y + 1.402 * v])
    return np.clip(np.round(bgr), 0, 255)


def through_codec(picture: KeptPicture, codec: str, options: dict[str, str]) -> av.VideoFrame:
    """Encode one picture into a file and decode it again."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream(codec, rate=30, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = picture.size_px
        stream.pix_fmt = picture.pixel_format
        for name, value in picture.color_tags.items():
            setattr(stream.codec_context, name, value)
        frame = picture.to_frame()
        frame.pts = 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as container:
        return next(container.decode(video=0))


def psnr_db(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def coloured_text(width: int = 640, height: int = 384) -> NDArray[np.uint8]:
    image = np.full((height, width, 4), 255, np.uint8)
    image[height // 2 :] = 30
    for line, y in enumerate(range(16, height, 16)):
        place, font = (5 + line, y), cv2.FONT_HERSHEY_SIMPLEX
        colour = UI_COLOURS_BGR[3 + line % 8]
        text = "The quick brown fox jumps 0123456789"
        cv2.putText(image, text, place, font, 0.45, colour, 1, cv2.LINE_AA)
    return image


def test_any_flat_colour_is_within_two_levels() -> None:
    colours = noise(128, 128)
    pixels = colours.repeat(2, 0).repeat(2, 1)
    picture = PlanarPicture(256, 256)
    picture.update(pixels, [whole(pixels)])
    error = np.abs(decoded_exactly(picture.to_frame()) - pixels[..., :3])
    assert error.max() <= 2


@pytest.mark.parametrize("colour", UI_COLOURS_BGR)
def test_a_flat_colour_comes_back_from_h264(colour: tuple[int, int, int]) -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[..., :3] = colour
    picture = PlanarPicture(64, 64)
    picture.update(pixels, [whole(pixels)])
    frame = through_codec(picture, "libx264", {"preset": "ultrafast", "crf": "18"})
    rgb = frame.to_ndarray(format="rgb24").astype(int)
    assert np.abs(rgb[..., ::-1] - colour).max() <= 3


def test_coloured_text_is_as_good_as_swscales_bicubic() -> None:
    pixels = coloured_text()
    picture = PlanarPicture(pixels.shape[1], pixels.shape[0])
    picture.update(pixels, [whole(pixels)])
    theirs = av.VideoFrame.from_ndarray(pixels, format="bgra").reformat(
        format="yuv420p", interpolation="BICUBIC", dst_colorspace="ITU601"
    )

    def decoded(frame: av.VideoFrame) -> NDArray[np.uint8]:
        bgr = frame.reformat(format="bgr24", interpolation="BICUBIC", src_colorspace="ITU601")
        return bgr.to_ndarray().astype(np.uint8)

    text = pixels[..., :3]
    ours_db = psnr_db(decoded(picture.to_frame()), text)
    assert ours_db >= psnr_db(decoded(theirs), text) - 0.05
    i420 = cv2.cvtColor(pixels, cv2.COLOR_BGRA2YUV_I420).astype(np.uint8)
    one_of_four = av.VideoFrame.from_ndarray(i420, format="yuv420p")
    assert ours_db > psnr_db(decoded(one_of_four), text) + 2


@pytest.mark.parametrize("size", [(64, 48), (65, 48), (64, 47), (33, 21)])
@pytest.mark.parametrize("is_lossless", [False, True])
def test_rectangles_give_the_same_bits_as_whole_pictures(
    size: tuple[int, int],
    is_lossless: bool,  # noqa: FBT001
) -> None:
    width, height = size
    rng = np.random.default_rng(5)
    pixels = noise(width, height)
    by_parts = kept_picture(width, height, is_lossless=is_lossless)
    by_parts.update(pixels, [whole(pixels)])
    out: list[av.VideoFrame] = []  # frames that somebody looks at
    for number in range(120):
        # Frames that come back lack a few small rectangles, or more than is remembered.
        rects = []
        for _ in range(CHANGES_KEPT if number % 50 == 49 else int(rng.integers(0, 4))):
            largest = (width, height) if number < 60 else (width // 4, height // 4)
            left, top = int(rng.integers(0, width)), int(rng.integers(0, height))
            right = min(width, left + int(rng.integers(1, largest[0] + 1)))
            bottom = min(height, top + int(rng.integers(1, largest[1] + 1)))
            pixels[top:bottom, left:right] = rng.integers(0, 256, (bottom - top, right - left, 4))
            rects.append(Rect(left, top, right - left, bottom - top))
        by_parts.update(pixels, rects)
        at_once = kept_picture(width, height, is_lossless=is_lossless)
        at_once.update(pixels, [whole(pixels)])
        frame = by_parts.to_frame()
        pairs = zip(planes(frame), planes(at_once.to_frame()), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs), number
        out.append(frame)
        while len(out) > rng.integers(1, 5):
            back = out.pop(int(rng.integers(0, len(out))))
            if rng.random() < 0.9:  # else it never comes back
                by_parts.recycle(back)


def test_an_odd_picture_is_grown_by_its_own_edge() -> None:
    pixels = noise(33, 21)
    grown = np.pad(pixels, ((0, 1), (0, 1), (0, 0)), mode="edge")
    odd, even = PlanarPicture(33, 21), PlanarPicture(34, 22)
    odd.update(pixels, [whole(pixels)])
    even.update(grown, [whole(grown)])
    assert odd.size_px == (34, 22)
    pairs = zip(planes(odd.to_frame()), planes(even.to_frame()), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_a_picture_that_was_never_updated_is_black() -> None:
    assert decoded_exactly(PlanarPicture(16, 16).to_frame()).max() == 0


def test_a_frame_is_a_copy() -> None:
    picture = PlanarPicture(64, 64)
    before = picture.to_frame()
    pixels = noise(64, 64)
    picture.update(pixels, [whole(pixels)])
    assert decoded_exactly(before).max() == 0


def test_lossless_is_lossless() -> None:
    pixels = noise(65, 47)
    picture = PackedPicture(65, 47)
    picture.update(pixels, [whole(pixels)])
    frame = through_codec(picture, "libx264rgb", {"preset": "ultrafast", "qp": "0"})
    bgr = frame.to_ndarray(format="bgr24")
    assert np.array_equal(bgr[:47, :65], pixels[..., :3])
    assert np.array_equal(bgr[:, 65], bgr[:, 64])
    assert np.array_equal(bgr[47], bgr[46])


def test_frames_say_how_their_colours_are_meant() -> None:
    frame = PlanarPicture(16, 16).to_frame()
    tags = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
    assert tags == (6, 1, 1, 13)
    assert frame.format.name == "yuv420p"
    assert isinstance(kept_picture(16, 16, is_lossless=True), PackedPicture)

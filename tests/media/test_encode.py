"""One stream by several encoders, one after the other: whoever reads the file must not notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from capture.geometry import Rect
from capture.media.write.picture import PlanarPicture
from tests.media.writing import open_writing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FPS = 30
SIZE_PX = (320, 180)
STILL_S, NOISE_S = 2.5, 3.0
KEY_EVERY = 5 * FPS


def draw(number: int) -> NDArray[np.uint8]:
    """Fine stripes, still; in between a film of coarse grain. BGRA."""
    width, height = SIZE_PX
    picture = np.full((height, width, 4), 255, np.uint8)
    if STILL_S <= number / FPS < STILL_S + NOISE_S:
        grain = np.random.default_rng(number).integers(0, 256, (height // 4, width // 4), np.uint8)
        picture[..., :3] = np.kron(grain, np.ones((4, 4), np.uint8))[..., None]
    else:
        picture[::3, :, :3] = 40
    return picture


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_film_within_a_still_desktop_is_one_clean_stream(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"film{suffix}"
    kept = PlanarPicture(*SIZE_PX)
    shown = []
    writing = open_writing(path, like=kept.to_frame(), fps=FPS, channels=None)
    encoder = writing.video
    assert encoder is not None
    total = round((2 * STILL_S + NOISE_S) * FPS)
    asked = []
    for number in range(total):
        kept.update(draw(number), [Rect(0, 0, *SIZE_PX)])
        frame = kept.to_frame()
        shown.append(frame.to_ndarray()[: SIZE_PX[1]].astype(int))
        at_ns = round(number * 1e9 / FPS)
        if encoder.wants_key(at_ns):
            asked.append(number / FPS)
        is_key = number % KEY_EVERY == 0 or encoder.wants_key(at_ns)
        writing.picture(frame, at_ns, is_key=is_key)
    writing.close()

    assert any(STILL_S < at_s < STILL_S + NOISE_S for at_s in asked), "coarser for the film"
    assert any(at_s > STILL_S + NOISE_S for at_s in asked), "fine again after it"
    with av.open(str(path), options={"err_detect": "explode"}) as container:
        frames = list(container.decode(video=0))
    assert [round((frame.time or 0) * FPS) for frame in frames] == list(range(total))
    for number in (30, total - 2):
        got = frames[number].to_ndarray()[: SIZE_PX[1]].astype(int)
        assert np.abs(got - shown[number]).mean() < 1.5, "letters are as clear as at first"

"""Parts ``size`` and ``colour``: what is left of the pictures, and in how many bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from capture.geometry import Rect
from capture.media.write.encode import VideoEncoder
from capture.media.write.mux import open_file
from capture.media.write.picture import kept_picture
from capture.opencv import cv2
from capture.recording.segments import KEY_PICTURE_EVERY_NS
from scripts.benchmark.desktops import show, tone
from scripts.benchmark.recorders import RECORDERS, SIZE_PX, Run
from scripts.benchmark.report import say, table
from scripts.benchmark.stimulus import draw_colours

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from capture.desktop import PrivateDesktop

__all__ = ["measure_colour", "measure_size", "show_colour", "show_size"]

FPS = 30
TRUTH_S = 25.0
"""Three key pictures of ours and of ffmpeg's, which come every 10 and 8.3 s."""
CRFS = (17, 20, 23, 26)
"""ffmpeg's size at our SSIM is read off the line through these."""
LOOK_EVERY_S = 0.7
"""Pictures that are compared: a sample of them is as good as all."""
COLOUR_S = 4.0
WHOLE = Rect(0, 0, *SIZE_PX)


def measure_size(desktop: PrivateDesktop, folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Size at equal SSIM: the same lossless pictures by our encoder and by ffmpeg's settings."""
    found: dict[str, Any] = {}
    for name in names:
        say(f"size: {name}")
        truth = folder / f"{name}.mkv"
        with show(name, desktop, folder):
            _film_losslessly(desktop, truth)
        ours = _ours(truth, folder / "ours.mp4")
        theirs = [_theirs(truth, folder / "theirs.mp4", crf) for crf in CRFS]
        sizes, likeness = zip(*sorted(theirs), strict=True)
        # Size grows with the logarithm of what is missing; a straight line between two CRFs.
        lacking = np.log([1 - each for each in likeness])
        equal = np.exp(np.interp(-np.log(1 - ours[1]), -lacking, np.log(sizes)))
        at_crf = dict(zip(CRFS, theirs, strict=True))[23]
        found[name] = {
            "capture": {"bytes": ours[0], "ssim": ours[1]},
            "ffmpeg": {"bytes": at_crf[0], "ssim": at_crf[1]},
            "of_ffmpeg_at_equal_ssim": ours[0] / float(equal),
        }
        truth.unlink()
    return {"seconds": TRUTH_S, "fps": FPS, "desktops": found}


def show_size(found: dict[str, Any]) -> str:
    """As a table; the last column is what is wanted."""
    rows = [
        [name]
        + [f"{values[who]['bytes'] / 1e6:.2f}" for who in ("capture", "ffmpeg")]
        + [f"{values[who]['ssim']:.5f}" for who in ("capture", "ffmpeg")]
        + [f"{values['of_ffmpeg_at_equal_ssim']:.2f}"]
        for name, values in found["desktops"].items()
    ]
    heads = ["desktop", "capture MB", "ffmpeg MB", "capture SSIM", "ffmpeg SSIM"]
    return table([*heads, "of ffmpeg at equal SSIM"], rows)


def measure_colour(desktop: PrivateDesktop, folder: Path) -> dict[str, Any]:
    """Coloured text and a photo, as a player shows them again, against what the screen showed."""
    width, height = SIZE_PX
    shown = draw_colours(width, 2 * height)[:height, :, :3]  # the screen is the top of it
    halves = {"text": np.s_[:, : width // 2], "photo": np.s_[:, width // 2 :]}
    found: dict[str, Any] = {}
    with tone(desktop), show("colours", desktop, folder):
        for recorder in RECORDERS:
            if not recorder.is_here():
                continue
            say(f"colour: {recorder.name}")
            film = Run(recorder, desktop, folder / "film", FPS).record(COLOUR_S)
            with av.open(str(film.path)) as container:
                *_, frame = container.decode(video=0)
            film.path.unlink()
            # 2 is "not said": players then guess from the size, mostly BT.709.
            is_tagged = int(frame.colorspace) != 2  # noqa: PLR2004 - H.273's number
            seen = _pixels(frame, "bgr24")
            found[recorder.name] = {"says_its_matrix": is_tagged} | {
                kind: {
                    "psnr_db": cv2.PSNR(shown[part], seen[part]),
                    "ssim": ssim(_luma(shown[part]), _luma(seen[part])),
                }
                for kind, part in halves.items()
            }
    return {"recorders": found}


def show_colour(found: dict[str, Any]) -> str:
    """As a table."""
    rows = [
        [name, "yes" if values["says_its_matrix"] else "no"]
        + [f"{values[kind]['psnr_db']:.1f}" for kind in ("text", "photo")]
        + [f"{values[kind]['ssim']:.4f}" for kind in ("text", "photo")]
        for name, values in found["recorders"].items()
    ]
    heads = ["recorder", "matrix in the file", "text dB", "photo dB", "text SSIM", "photo SSIM"]
    return table(heads, rows)


def ssim(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Structural similarity of two planes, 1 for the same (Wang et al. 2004, Gauss of 1.5 px)."""
    a, b = one.astype(np.float32), other.astype(np.float32)

    def mean(plane: NDArray[Any]) -> NDArray[Any]:
        return cv2.GaussianBlur(plane, (11, 11), 1.5)

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    both = mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float((above / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


def _luma(picture: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_BGR2GRAY), np.uint8)


def _pixels(frame: av.VideoFrame, form: str) -> NDArray[np.uint8]:
    return np.asarray(frame.to_ndarray(format=form), np.uint8)


def _film_losslessly(desktop: PrivateDesktop, path: Path) -> None:
    """What the desktop shows, every pixel as it is."""
    words = f"record {path} --audio none --quality lossless --cfr --fps {FPS}"
    command = [sys.executable, "-m", "capture", *words.split(), "--duration", f"{TRUTH_S}", "-q"]
    subprocess.run(
        command, check=True, env=dict(os.environ) | desktop.environment, stdout=subprocess.DEVNULL
    )


def _ours(truth: Path, path: Path) -> tuple[int, float]:
    """Bytes and SSIM of our encoder, told what a session would tell it."""
    kept = kept_picture(*SIZE_PX)
    encoder = VideoEncoder(0, name="libx264", quality="medium", fps=FPS, like=kept.to_frame())
    file = open_file(path, [encoder.header])
    key_ns = -KEY_PICTURE_EVERY_NS
    with av.open(str(truth)) as container:
        for frame in container.decode(video=0):
            at_ns = round((frame.time or 0.0) * 1e9)
            kept.update(_pixels(frame, "bgra"), [WHOLE])
            is_key = at_ns - key_ns >= KEY_PICTURE_EVERY_NS or encoder.wants_key(at_ns)
            key_ns = at_ns if is_key else key_ns
            for packet in encoder.encode(kept.to_frame(), at_ns, is_key=is_key):
                file.push(packet)
    for packet in encoder.flush():
        file.push(packet)
    file.close()
    return _weigh(path, truth)


def _theirs(truth: Path, path: Path, crf: int) -> tuple[int, float]:
    """Bytes and SSIM of ffmpeg, which writes every slot of the grid."""
    codec = f"-r {FPS} -c:v libx264 -preset ultrafast -crf {crf} -pix_fmt yuv420p"
    command = f"ffmpeg -nostdin -y -loglevel error -i {truth} {codec} {path}"
    subprocess.run(command.split(), check=True)
    return _weigh(path, truth)


def _weigh(path: Path, truth: Path) -> tuple[int, float]:
    seen, shown = _lumas(path), _lumas(truth)
    likeness = [ssim(one, other) for one, other in zip(seen, shown, strict=True)]
    size_bytes = path.stat().st_size
    path.unlink()
    return size_bytes, sum(likeness) / len(likeness)


def _lumas(path: Path) -> Iterator[NDArray[np.uint8]]:
    """What is shown at every ``LOOK_EVERY_S``, whatever the pictures' own times are."""
    wanted = [number * LOOK_EVERY_S for number in range(1, round(TRUTH_S / LOOK_EVERY_S))]
    last: av.VideoFrame | None = None
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            while wanted and last is not None and (frame.time or 0.0) > wanted[0] + 0.5 / FPS:
                del wanted[0]
                yield _luma(_pixels(last, "bgr24"))
            last = frame
    assert last is not None
    for _ in wanted:
        yield _luma(_pixels(last, "bgr24"))

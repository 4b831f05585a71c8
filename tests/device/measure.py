"""Reads the flashes and beeps of ``flashbeep.py`` back from a film, whoever recorded it.

Times are those that a player would use: timestamps as written, edit lists and priming honoured.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PATCH_PX = 32
"""Side of the patch in the middle of the picture whose brightness counts."""
CONTRAST = 50.0
"""Of 255; where nothing ever gets that much brighter there are no flashes."""
ONSET = 0.3
"""Of the loudest sample: above the pre-echo of lossy codecs, reached within a beep's first wave."""
QUIET_S = 0.2
"""A beep begins after at least this much quiet; beeps last 30 ms and are 0.6 s apart."""
PAIR_S = 0.3
"""Flash and beep that are further apart than this don't belong together."""
NEAR_S = 0.2
"""Events are at least 0.6 s apart."""
QUIET_PEAK = 0.01
"""-40 dBFS: where nothing gets louder there are no beeps."""


@dataclass(frozen=True, slots=True)
class Offsets:
    """Sound minus picture, in milliseconds; positive: the sound is late."""

    count: int
    median_ms: float
    p5_ms: float
    p95_ms: float

    def __str__(self) -> str:
        return (
            f"{self.count} events: median {self.median_ms:+.2f} ms, "
            f"p5 {self.p5_ms:+.2f}, p95 {self.p95_ms:+.2f}"
        )


def measure_events(path: Path | str, *, audio_track: int = 0) -> list[tuple[float, float]]:
    """The events of a film as (flash, beep), in seconds of media time.

    The flash is the time of the first bright picture: on average half a picture late, because a
    recorder looks only once a picture. ``offsets`` takes that out.
    """
    flashes = find_flashes(path)
    beeps = np.array(find_beeps(path, audio_track=audio_track))
    pairs = []
    for flash in flashes:
        if len(beeps) == 0:
            break
        beep = float(beeps[np.argmin(np.abs(beeps - flash))])
        if abs(beep - flash) <= PAIR_S:
            pairs.append((flash, beep))
    return pairs


def offsets(pairs: list[tuple[float, float]], *, picture_s: float = 0.0) -> Offsets:
    """What the events say together.

    Args:
        pairs: From ``measure_events``.
        picture_s: Distance of pictures, to add the half picture by which flashes are found late;
            0 leaves it in.
    """
    late_ms = np.array([(beep - flash + picture_s / 2) * 1000 for flash, beep in pairs])
    if len(late_ms) == 0:
        return Offsets(0, float("nan"), float("nan"), float("nan"))
    p5, median, p95 = np.percentile(late_ms, [5, 50, 95])
    return Offsets(len(late_ms), float(median), float(p5), float(p95))


def against_truth(
    pairs: list[tuple[float, float]], truth: Path, *, near_s: float = NEAR_S
) -> list[tuple[float, float]]:
    """The same events, each flash moved to where it had been if drawn when its beep was heard.

    So a client that draws late, or is told wrongly when it is heard, is not the recorder's fault.

    Args:
        pairs: From ``measure_events``.
        truth: What ``flashbeep.py`` wrote about them.
        near_s: How far the distance of two flashes in the film may be from the truth.

    Returns:
        Those events whose truth is known.
    """
    events = [json.loads(line) for line in truth.read_text("utf-8").splitlines()]
    drawn_s = np.array([event["drawn_ns"] / 1e9 for event in events])
    step_s = [
        None if event["heard_ns"] is None else (event["heard_ns"] - event["drawn_ns"]) / 1e9
        for event in events
    ]
    best: list[tuple[float, float]] = []
    # The film's time is the truth's less a constant: the one under which most events fit.
    for begin_s in drawn_s - pairs[0][0] if pairs else ():
        found = []
        for flash, beep in pairs:
            at = int(np.argmin(np.abs(drawn_s - begin_s - flash)))
            step = step_s[at]
            if abs(drawn_s[at] - begin_s - flash) < near_s and step is not None:
                found.append((flash + step, beep))
        best = max(best, found, key=len)
    return best


def find_flashes(path: Path | str) -> list[float]:
    """Times of the pictures with which the middle of the screen turned white."""
    times, levels = [], []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            if frame.time is not None:
                times.append(float(frame.time))
                levels.append(_brightness(frame))
    if not levels or max(levels) - min(levels) < CONTRAST:
        return []
    is_bright = np.array(levels) > (max(levels) + min(levels)) / 2
    rises = np.flatnonzero(is_bright[1:] & ~is_bright[:-1]) + 1
    return [times[index] for index in rises]


def find_beeps(path: Path | str, *, audio_track: int = 0) -> list[float]:
    """Times at which a beep sets in, between two samples where that fits best."""
    pieces = list(_sound(path, audio_track))
    if not pieces:
        return []
    peak = max(float(np.abs(samples).max(initial=0.0)) for _, _, samples in pieces)
    if peak < QUIET_PEAK:
        return []
    threshold = ONSET * peak
    onsets: list[float] = []
    last_loud_s, before = -1e9, 0.0
    for start_s, rate_hz, samples in pieces:
        loudness = np.abs(samples)
        for index in np.flatnonzero(loudness > threshold):
            now_s = start_s + index / rate_hz
            if now_s - last_loud_s > QUIET_S:
                below = float(loudness[index - 1]) if index else before
                # Where between the two samples the threshold was crossed.
                rise = float(loudness[index]) - below
                onsets.append(now_s - (float(loudness[index]) - threshold) / rise / rate_hz)
            last_loud_s = now_s
        if len(loudness):
            before = float(loudness[-1])
    return onsets


def _sound(path: Path | str, track: int) -> list[tuple[float, int, NDArray[np.float32]]]:
    """Pieces of sound as (start, rate, mono samples)."""
    pieces: list[tuple[float, int, NDArray[np.float32]]] = []
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.audio[track]):
            if frame.time is None:
                continue
            raw = frame.to_ndarray()
            samples = _as_float(raw)
            if not frame.format.is_planar:
                samples = samples.reshape(-1, len(frame.layout.channels)).T
            pieces.append(
                (float(frame.time), frame.sample_rate, samples.mean(axis=0, dtype=np.float32))
            )
    return pieces


def _as_float(raw: NDArray[Any]) -> NDArray[np.float32]:
    if raw.dtype.kind == "f":
        return raw.astype(np.float32)
    if raw.dtype == np.uint8:
        return (raw.astype(np.float32) - np.float32(128)) / np.float32(128)
    return raw.astype(np.float32) / np.float32(np.iinfo(raw.dtype).max)


def _brightness(frame: av.VideoFrame) -> float:
    """Mean of a small patch in the middle, 0 to 255 or nearly so."""
    luma: NDArray[Any]
    if frame.format.name in {"yuv420p", "yuv422p", "yuv444p", "yuvj420p", "nv12", "gray"}:
        plane = frame.planes[0]
        luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[
            : frame.height
        ]
    else:
        luma = frame.to_ndarray(format="gray")
    top, left = (frame.height - PATCH_PX) // 2, (frame.width - PATCH_PX) // 2
    top, left = max(top, 0), max(left, 0)
    return float(luma[top : top + PATCH_PX, left : left + PATCH_PX].mean())


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name}: {offsets(measure_events(name))}")  # noqa: T201 - its result

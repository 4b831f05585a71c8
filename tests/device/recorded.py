"""What device tests record, and how they wait: for what has happened, never for a time to pass.

On a busy machine a player may take seconds to start and the recorder to hear of it. So a test waits
until the server has the player, the film its sound, the recording its length by its own clock.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest

from capture import Event, EventKind, RecordingResult, RecordingSpec, Session, VideoSpec
from capture.media.check.verify import verify
from capture.units import NS_PER_S
from tests.media.films import read_picture_times, read_sound, video_end

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["PATIENCE_S", "Film", "check_whole", "has_tone", "holes_s", "until", "until_playing"]

RATE_HZ = 48_000
PATIENCE_S = 60.0
"""What has not happened by then never will, however busy the machine is."""
EQUAL_S = 0.035
"""How far the ends of two tracks may be apart: the last picture fills its slot of the grid."""
AUDIBLE_DBFS = -40.0


def until(is_so: Callable[[], Any], what: Callable[[], object] | None = None) -> None:
    """Wait until something is so; fails, saying what there is instead, when it never is."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, what() if what else "it never came"
        time.sleep(0.02)


def until_playing(pulse: Any, *names: str, sink: str | None = None) -> None:
    """Wait until these applications play, on the named output if one is given.

    Args:
        pulse: A pulsectl connection.
        names: What they call themselves.
        sink: The output; ``None``: any.
    """

    def playing() -> set[str]:
        sinks = {each.index: each.name for each in pulse.sink_list()}
        return {
            each.proplist.get("application.name", "")
            for each in pulse.sink_input_list()
            if not each.corked and sink in (None, sinks.get(each.sink))
        }

    until(lambda: set(names) <= playing(), lambda: f"{names} on {sink}: {playing()}")


class Film:
    """A session in this process: lossless sound, and everything that was told."""

    def __init__(self, path: Path, **spec: Any) -> None:
        self.path = path
        self.events: list[Event] = []
        values: dict[str, Any] = {"video": VideoSpec(), "audio_codec": "flac"} | spec
        self.session = Session(RecordingSpec(path, **values), self.events.append)

    def __enter__(self) -> Self:
        self.session.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.session.stop()
        self.session.wait()

    @property
    def at_s(self) -> float:
        """Media time, now."""
        return self.session.snapshot().recorded_ns / NS_PER_S

    def count(self, kind: EventKind) -> int:
        """How often something has happened."""
        return sum(event.kind is kind for event in self.events)

    def wait_for(self, kind: EventKind, count: int = 1) -> None:
        """Wait until something has happened so often."""
        until(
            lambda: self.count(kind) >= count,
            lambda: f"no {kind}: {[event.message for event in self.events]}",
        )

    def hear(self) -> float:
        """Wait until sound arrives in the film; gives the media time, a moment after its first."""
        self.session.snapshot()  # levels are those since the snapshot before
        until(
            lambda: any(
                level.peak_dbfs > AUDIBLE_DBFS for level in self.session.snapshot().levels.values()
            ),
            lambda: f"nothing is heard: {[event.message for event in self.events]}",
        )
        return self.at_s

    def record(self, seconds: float) -> float:
        """Go on until so much more is recorded; gives the media time."""
        end_s = self.at_s + seconds
        until(lambda: self.at_s >= end_s)
        return self.at_s

    @property
    def result(self) -> RecordingResult:
        """What became of it."""
        assert self.session.result is not None
        return self.session.result


def check_whole(path: Path, codec_frame_s: float = 0.0) -> NDArray[np.float32]:
    """The film decodes to its end and its tracks are of one length; gives the left channel."""
    sound = read_sound(path)
    times = read_picture_times(path)
    assert times == sorted(times)
    assert sound.start_s == pytest.approx(0, abs=0.002)
    assert sound.end_s == pytest.approx(video_end(path), abs=EQUAL_S + codec_frame_s)
    report = verify(path)
    assert report.faults == 0, report.findings
    return sound.samples[:, 0]


def holes_s(samples: NDArray[np.float32], at_least_s: float = 0.3) -> list[tuple[float, float]]:
    """(start, length) of each stretch of exact silence between the first and the last sound."""
    (sounding,) = np.nonzero(samples)
    steps = np.diff(sounding)
    (wide,) = np.nonzero(steps > at_least_s * RATE_HZ)
    return [(float(sounding[at]) / RATE_HZ, float(steps[at]) / RATE_HZ) for at in wide]


def has_tone(samples: NDArray[np.float32], hz: float) -> bool:
    """Whether a tone of about -12 dBFS is in there, by the windowed sum against it."""
    window = np.hanning(len(samples))
    turn = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / RATE_HZ)
    return bool(2 * abs(np.sum(samples * window * turn)) / np.sum(window) > 0.05)

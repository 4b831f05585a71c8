"""Reads a sound track several times, and cuts it to the sample into pieces."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.media.read.convert import Conversion, SoundForm, frame_of
from capture.media.read.sound_reader import DECODED, SoundReader, depth_of
from capture.media.read.tracks import open_sound_file, sound_tracks

Stretch = tuple[float, float | None]
"""Start and end in seconds on the clock that a player shows; ``None``: to the end."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One output file: its path, its stretches of the source, its tags and cover."""

    path: Path
    stretches: tuple[Stretch, ...]
    """In their order, not overlapping; what lies between them is left out."""
    tags: dict[str, str]
    cover: bytes | None = None
    """A picture to be added to the file; ``None``: none."""


@dataclass(frozen=True, slots=True)
class PieceDone:
    """The range of the source that a written piece covers; an empty piece has no file."""

    begins_s: float
    """Position of its first sample in the source; ``ends_s``: of its last."""
    ends_s: float
    length_s: float


@dataclass(slots=True, eq=False)
class TrackSource:
    """Reads a track of a file again and again.

    Args:
        path: The file.
        number: The track's, from 1.
        keep_offset: Put silence before a track that begins late.
        arrange: Gives the layout that the channels are brought to; see ``SoundReader``.

    Attributes:
        farthest: The reader of the pass that came farthest, which knows best what was wrong.
    """

    path: Path
    number: int
    keep_offset: bool
    arrange: Callable[[str], str] = str
    farthest: SoundReader | None = None

    @contextlib.contextmanager
    def reading(self, sample_format: str | None, *, is_mono: bool = False) -> Iterator[SoundReader]:
        """A reader from the start; ``None`` as format: the least that holds every sample."""
        with open_sound_file(self.path) as container:
            stream = sound_tracks(container)[self.number - 1]
            wanted = sample_format or DECODED[depth_of(stream)]
            reader = SoundReader(
                container, stream, self.path, wanted, is_mono=is_mono, arrange=self.arrange
            )
            yield reader
            if self.farthest is None or reader.clock.seconds > self.farthest.clock.seconds:
                self.farthest = reader

    def blocks(self, reader: SoundReader, until: float) -> Iterator[tuple[int, NDArray[Any]]]:
        """The blocks of the track; silence comes first where a late start is kept."""
        blocks = reader.blocks()
        first = next(blocks, None)
        if first is None:
            return
        if self.keep_offset and first[0] > 0:
            step = reader.rate_hz
            for at in range(0, first[0], step):
                count = min(step, first[0] - at)
                yield at, np.zeros((count, reader.channels), first[1].dtype)
        yield first
        for at, samples in blocks:
            if at >= until:
                return
            yield at, samples


class Rate:
    """Resamples a track; the number of samples is exactly its length at the new rate.

    Args:
        from_hz: Of what is pushed.
        to_hz: Of what comes out.
        layout: Of both.
        sample_format: Of both; a key of ``DTYPES``.
    """

    def __init__(self, from_hz: int, to_hz: int, layout: str, sample_format: str) -> None:
        self._source = SoundForm(sample_format, layout, from_hz)
        self._conversion = (
            None
            if from_hz == to_hz
            else Conversion(self._source, SoundForm(sample_format, layout, to_hz))
        )

    def push(self, samples: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Take samples, (frames, channels); give the resampled ones that are ready."""
        if self._conversion is None:
            yield samples
        elif len(samples):
            yield from self._conversion.push(frame_of(samples, self._source))

    def finish(self) -> Iterator[NDArray[Any]]:
        """Give the remaining samples; nothing can be pushed afterwards."""
        if self._conversion is not None:
            yield from self._conversion.finish()


def _frames_of(start_s: float, end_s: float | None, rate_hz: int) -> tuple[int, float]:
    """First and last frame of a stretch; its length is rounded once."""
    first = round(start_s * rate_hz)
    return first, math.inf if end_s is None else first + round((end_s - start_s) * rate_hz)


class Cutter:
    """Cuts blocks to the wanted stretches and passes them to the files in turn."""

    def __init__(
        self, pieces: Sequence[Piece], rate_hz: int, sinks: Sequence[Callable[[NDArray[Any]], None]]
    ) -> None:
        self._jobs = sorted(
            (*_frames_of(*stretch, rate_hz), number)
            for number, piece in enumerate(pieces)
            for stretch in piece.stretches
        )
        self._sinks = sinks
        self.begins: list[int | None] = [None] * len(sinks)
        self.ends = [0] * len(sinks)
        self.until = max(end for _, end, _ in self._jobs)
        """Position after which nothing is wanted."""

    def take(self, at: int, samples: NDArray[Any]) -> None:
        """Take a block that begins at sample ``at``; blocks come in order."""
        end = at + len(samples)
        while self._jobs:
            first, last, number = self._jobs[0]
            if first >= end:
                return
            kept = samples[max(0, first - at) : round(max(0, min(last, end) - at))]
            if len(kept):
                begins = max(at, first)
                if self.begins[number] is None:
                    self.begins[number] = begins
                self.ends[number] = begins + len(kept)
                self._sinks[number](kept)
            if last > end:
                return
            self._jobs.pop(0)

"""One sound track, decoded and written anew: cut to the sample, mixed, brought to a loudness.

The track is read once for each question: where are the messages, how loud is it, and then to write
it. All files of a track are written in the same pass, so that a day cut in a hundred messages
costs no more than the day.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import av
import numpy as np

from capture.gate import find_messages
from capture.media.export import FORMATS, open_sound
from capture.media.loudness import (
    CEILING_DBTP,
    LOSSY_CEILING_DBTP,
    Gain,
    Leveller,
    Loudness,
    LoudnessMeter,
    layout_of,
    next_gain,
)
from capture.media.sound_reader import DECODED, SoundReader, depth_of
from capture.media.tracks import open_sound_file, sound_tracks
from capture.model import ExtractJob, GateSpec, SoundFileSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["Piece", "PieceDone", "TrackSource", "default_spec", "find_spans", "write_pieces"]

Stretch = tuple[float, float | None]
"""Start and end in seconds on the clock that a player shows; ``None``: to the end."""

GATE_RATE_HZ = 48_000
"""What the model of speech hears at."""
MOST_PASSES = 6
"""With the limiter, so often at most the loudness is looked at again."""
MISSING_LU = 0.5
"""A file that is softer by more is not what was promised."""
_SAME_KIND = {"aac": "m4a", "opus": "opus", "mp3": "mp3", "vorbis": "ogg", "flac": "flac"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A file that is to be written."""

    path: Path
    stretches: tuple[Stretch, ...]
    """In their order, not overlapping; what lies between them is left out."""
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class PieceDone:
    """What became of it. An empty one has no file."""

    begins_s: float
    """Where the first of its samples lies in the source, and the last."""
    ends_s: float
    length_s: float


def default_spec(codec: str) -> SoundFileSpec:
    """What sound is written as that has to be written anew, though no format was named.

    The same kind as the source, at high quality, so that what plays it goes on to; FLAC where that
    kind is not written here.
    """
    if codec.startswith("pcm_"):
        return SoundFileSpec("wav")
    return SoundFileSpec(_SAME_KIND.get(codec, "flac"), "high")


class TrackSource:
    """Reads a track of a file again and again.

    Attributes:
        farthest: The reader of the pass that came farthest, which knows best what was wrong.
    """

    def __init__(self, path: Path, number: int, *, keep_offset: bool) -> None:
        self.path = path
        self._number = number
        self._keep_offset = keep_offset
        self.farthest: SoundReader | None = None

    @contextlib.contextmanager
    def reading(self, sample_format: str | None, *, is_mono: bool = False) -> Iterator[SoundReader]:
        """A reader from the beginning; ``None`` as format: what holds all of the source."""
        with open_sound_file(self.path) as container:
            stream = sound_tracks(container)[self._number - 1]
            wanted = sample_format or DECODED[depth_of(stream)]
            reader = SoundReader(container, stream, self.path, wanted, is_mono=is_mono)
            yield reader
            if self.farthest is None or reader.clock.seconds > self.farthest.clock.seconds:
                self.farthest = reader

    def blocks(self, reader: SoundReader, until: float) -> Iterator[tuple[int, NDArray[Any]]]:
        """Its sound; with silence before it where the offset of a late track is kept."""
        blocks = reader.blocks()
        first = next(blocks, None)
        if first is None:
            return
        if self._keep_offset and first[0] > 0:
            step = reader.rate_hz
            for at in range(0, first[0], step):
                count = min(step, first[0] - at)
                yield at, np.zeros((count, reader.channels), first[1].dtype)
        yield first
        for at, samples in blocks:
            if at >= until:
                return
            yield at, samples


def find_spans(
    source: TrackSource, window: tuple[float | None, float | None], job: ExtractJob
) -> list[Stretch]:
    """Where the messages, or the speech, or all sound lie within a window."""
    gate = job.gate or GateSpec()
    if job.is_trim and not job.is_split and not job.is_speech_only:
        gate = replace(gate, is_any_sound=True, min_length_s=0.0)  # silence goes, nothing else
    if job.is_speech_only:
        gate = replace(gate, is_any_sound=False)
    start_s, end_s = window
    first = round((start_s or 0.0) * GATE_RATE_HZ)
    last = math.inf if end_s is None else round(end_s * GATE_RATE_HZ)
    judge = None if gate.is_any_sound else _detector()
    with source.reading("flt", is_mono=True) as reader:
        until = math.inf if end_s is None else end_s * reader.rate_hz
        begins: list[int] = []

        def heard() -> Iterator[NDArray[np.float32]]:
            rate = _Rate(reader.rate_hz, GATE_RATE_HZ, 1, "flt")
            offset = None
            for at, samples in source.blocks(reader, until):
                if offset is None:
                    offset = round(at * GATE_RATE_HZ / reader.rate_hz)
                    begins.append(max(first, offset))
                for piece in rate.push(samples):
                    yield from _clip(piece, offset, first, last)
                    offset += len(piece)
            if offset is not None:
                for piece in rate.finish():
                    yield from _clip(piece, offset, first, last)
                    offset += len(piece)

        events = find_messages(heard(), gate, GATE_RATE_HZ, judge)
    shift = begins[0] if begins else 0
    found: list[Stretch] = [
        ((shift + event.start_frame) / GATE_RATE_HZ, (shift + event.end_frame) / GATE_RATE_HZ)
        for event in events
        if event.end_frame is not None
    ]
    if found and job.is_trim and not job.is_split and not job.is_speech_only:
        found = [(found[0][0], found[-1][1])]
    return found


def _clip(
    samples: NDArray[np.float32], at: int, first: int, last: float
) -> Iterator[NDArray[np.float32]]:
    kept = samples[max(0, first - at) : round(max(0, min(len(samples), last - at)))]
    if len(kept):
        yield kept


@cache
def _detector() -> Any:
    """The model of speech; loading it takes longer than most files, so a process keeps it."""
    from capture.speech import SpeechDetector  # noqa: PLC0415 - the model is heavy

    return SpeechDetector()


class _Rate:
    """Sound at another rate: as many samples as its length at that rate has."""

    def __init__(self, from_hz: int, to_hz: int, channels: int, sample_format: str) -> None:
        self._from_hz, self._to_hz = from_hz, to_hz
        self._channels = channels
        self._format = sample_format
        self._taken = self._given = 0
        self._resampler = (
            None
            if from_hz == to_hz
            else av.AudioResampler(format=sample_format, layout=layout_of(channels), rate=to_hz)
        )

    def push(self, samples: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Take sound; give what is ready."""
        self._taken += len(samples)
        if self._resampler is None:
            self._given += len(samples)
            yield samples
            return
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples).reshape(1, -1),
            format=self._format,
            layout=layout_of(self._channels),
        )
        frame.sample_rate = self._from_hz
        frame.pts = None
        yield from self._out(self._resampler.resample(frame))

    def finish(self) -> Iterator[NDArray[Any]]:
        """The rest."""
        if self._resampler is None or not self._taken:
            return
        total = round(self._taken * self._to_hz / self._from_hz)
        dtype: Any = np.float32
        for samples in self._out(self._resampler.resample(None)):
            dtype = samples.dtype
            yield samples[: max(0, len(samples) - max(0, self._given - total))]
        if self._given < total:
            yield np.zeros((total - self._given, self._channels), dtype)

    def _out(self, frames: Iterable[Any]) -> Iterator[NDArray[Any]]:
        for frame in frames:
            samples = frame.to_ndarray().reshape(-1, self._channels)
            self._given += len(samples)
            yield samples


def _frames_of(start_s: float, end_s: float | None, rate_hz: int) -> tuple[int, float]:
    """A stretch in samples: exactly as many as its length has, rounded once."""
    first = round(start_s * rate_hz)
    return first, math.inf if end_s is None else first + round((end_s - start_s) * rate_hz)


class _Cutter:
    """Gives each block, or what of it is wanted, to the files in turn."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        rate_hz: int,
        sinks: Sequence[Callable[[NDArray[Any]], None]],
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
        """What lies behind it is of no interest."""

    def take(self, at: int, samples: NDArray[Any]) -> None:
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


def write_pieces(
    source: TrackSource,
    pieces: Sequence[Piece],
    spec: SoundFileSpec,
    job: ExtractJob,
    warnings: list[str],
) -> list[PieceDone]:
    """Write the files of one track, to exactly the paths that the pieces name.

    Args:
        source: The track.
        pieces: What goes into each.
        spec: How they are encoded.
        job: For rate, channels, loudness.
        warnings: What there is to say is added.

    Returns:
        What became of each; an empty one has no file.
    """
    gains = _gains(source, pieces, spec, job, warnings)
    is_changed = job.loudness_lufs is not None
    is_kept = spec.messenger is None and FORMATS[spec.format].is_lossless
    wanted = None if is_kept and not is_changed else "flt"
    with contextlib.ExitStack() as stack, source.reading(wanted, is_mono=job.is_mono) as reader:
        parts = [
            stack.enter_context(_Part(piece, gain, reader, spec, job.rate_hz))
            for piece, gain in zip(pieces, gains, strict=True)
        ]
        cutter = _Cutter(pieces, reader.rate_hz, [part.take for part in parts])
        for at, samples in source.blocks(reader, cutter.until):
            cutter.take(at, samples)
        for part in parts:
            part.finish()
    return [
        PieceDone((begins or 0) / reader.rate_hz, ends / reader.rate_hz, part.frames / part.rate_hz)
        for begins, ends, part in zip(cutter.begins, cutter.ends, parts, strict=True)
    ]


def _depth(reader: SoundReader, spec: SoundFileSpec) -> str:
    depth = depth_of(reader.stream)
    if spec.format == "flac" and depth != "s16":
        return "s24"  # the most that our FLAC has
    return depth


class _Part:
    """One file on its way: gain, rate, encoder. Its file appears with its first sample."""

    def __init__(
        self,
        piece: Piece,
        gain: Gain | None,
        reader: SoundReader,
        spec: SoundFileSpec,
        rate_hz: int | None,
    ) -> None:
        self._piece, self._spec = piece, spec
        self._depth = _depth(reader, spec)
        self._channels = reader.channels
        self.rate_hz = rate_hz or reader.rate_hz
        self.frames = 0
        self._level = None if gain is None else Leveller(gain, reader.rate_hz, reader.channels)
        self._rate = _Rate(reader.rate_hz, self.rate_hz, reader.channels, reader.sample_format)
        self._stack = contextlib.ExitStack()
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def take(self, samples: NDArray[Any]) -> None:
        """Sound at the rate of the source."""
        if self._level is None:
            self._resample(samples)
            return
        for levelled in self._level.push(samples):
            self._resample(levelled)

    def finish(self) -> None:
        """Write what is held back, and the end."""
        if self._level is not None:
            for samples in self._level.finish():
                self._resample(samples)
        for samples in self._rate.finish():
            self._write(samples)
        self._stack.close()

    def _resample(self, samples: NDArray[Any]) -> None:
        for resampled in self._rate.push(samples):
            self._write(resampled)

    def _write(self, samples: NDArray[Any]) -> None:
        if self._writer is None:
            self._writer = self._stack.enter_context(
                open_sound(
                    self._piece.path,
                    self._spec,
                    rate_hz=self.rate_hz,
                    channels=self._channels,
                    tags=self._piece.tags,
                    sample_format=self._depth,
                )
            )
        self._writer.write(samples)
        self.frames += len(samples)


def _gains(
    source: TrackSource,
    pieces: Sequence[Piece],
    spec: SoundFileSpec,
    job: ExtractJob,
    warnings: list[str],
) -> list[Gain | None]:
    """The gain of every file; all are measured in the same passes."""
    if job.loudness_lufs is None:
        return [None] * len(pieces)
    is_lossless = spec.messenger is None and FORMATS[spec.format].is_lossless
    ceiling = CEILING_DBTP if is_lossless else LOSSY_CEILING_DBTP
    plain = _measure(source, pieces, [Gain()] * len(pieces), job)
    gains = [next_gain(job.loudness_lufs, loudness, ceiling, None) for loudness in plain]
    chosen = [gain or Gain() for gain in gains]
    came = list(plain)
    for _ in range(MOST_PASSES):
        open_ones = [number for number, gain in enumerate(gains) if gain and gain.ceiling_dbtp]
        if not open_ones:
            break
        measured = _measure(
            source, [pieces[n] for n in open_ones], [chosen[n] for n in open_ones], job
        )
        for number, loudness in zip(open_ones, measured, strict=True):
            came[number] = loudness
            gains[number] = next_gain(
                job.loudness_lufs, plain[number], ceiling, (chosen[number], loudness)
            )
            chosen[number] = gains[number] or chosen[number]
    for piece, before, after, gain in zip(pieces, plain, came, chosen, strict=True):
        warnings += _loudness_warnings(piece, before, after, gain, job.loudness_lufs)
    return list(chosen)


def _loudness_warnings(
    piece: Piece, before: Loudness, after: Loudness, gain: Gain, wanted_lufs: float
) -> Iterator[str]:
    if before.integrated_lufs is None:
        yield f"{piece.path.name} is too soft or too short to be measured; it is left as it is"
    elif gain.ceiling_dbtp is not None and after.integrated_lufs is not None:
        missing = wanted_lufs - after.integrated_lufs
        if missing > MISSING_LU:
            yield (
                f"{piece.path.name} is {missing:.1f} LU softer than wanted: "
                "its peaks could not be taken down farther without harm"
            )


def _measure(
    source: TrackSource, pieces: Sequence[Piece], gains: Sequence[Gain], job: ExtractJob
) -> list[Loudness]:
    with source.reading("flt", is_mono=job.is_mono) as reader:
        meters = [LoudnessMeter(reader.rate_hz, reader.channels) for _ in pieces]
        levels = [Leveller(gain, reader.rate_hz, reader.channels) for gain in gains]

        def sink(number: int) -> Callable[[NDArray[Any]], None]:
            def take(samples: NDArray[Any]) -> None:
                for levelled in levels[number].push(samples):
                    meters[number].push(levelled)

            return take

        cutter = _Cutter(pieces, reader.rate_hz, [sink(number) for number in range(len(pieces))])
        for at, samples in source.blocks(reader, cutter.until):
            cutter.take(at, samples)
        for level, meter in zip(levels, meters, strict=True):
            for levelled in level.finish():
                meter.push(levelled)
        return [meter.finish() for meter in meters]

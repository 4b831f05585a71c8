"""One sound track, decoded and written anew: cut to the sample, mixed, brought to a loudness.

The track is read once for each question: where are the messages, how loud is it, and then to write
it. All files of a track are written in the same pass, so that a day cut in a hundred messages
costs no more than the day.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.gate import find_messages
from capture.media.extract.normalize import Normalizer
from capture.media.extract.pieces import Cutter, Piece, PieceDone, Rate, Stretch, TrackSource
from capture.media.formats import FORMATS
from capture.media.read.loudness import Gain, Leveller
from capture.media.read.sound_reader import SoundReader, depth_of
from capture.media.write.export import open_sound
from capture.specs.extraction import ExtractJob
from capture.specs.voice import GateSpec, SoundFileSpec

GATE_RATE_HZ = 48_000
"""Sample rate of the sound that the speech detector takes."""
_SAME_KIND = {"aac": "m4a", "opus": "opus", "mp3": "mp3", "vorbis": "ogg", "flac": "flac"}


def default_spec(codec: str) -> SoundFileSpec:
    """The format of sound that has to be encoded where the job names no format.

    The same format as the source at high quality, so that the same players play it; FLAC where that
    cannot be encoded here.
    """
    if codec.startswith("pcm_"):
        return SoundFileSpec("wav")
    return SoundFileSpec(_SAME_KIND.get(codec, "flac"), "high")


def find_spans(
    source: TrackSource, window: tuple[float | None, float | None], job: ExtractJob
) -> list[Stretch]:
    """Start and end of messages, of speech, or of all sound within a window."""
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
            rate = Rate(reader.rate_hz, GATE_RATE_HZ, reader.layout, "flt")
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
    """The speech detector; loading takes longer than most files, so each process has one."""
    from capture.speech import SpeechDetector  # noqa: PLC0415 - the model is heavy

    return SpeechDetector()


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
        warnings: Warnings are added here.

    Returns:
        What became of each; an empty one has no file.
    """
    if job.loudness_lufs is None:
        return _write(source, pieces, [None] * len(pieces), spec, job)
    normalizer = Normalizer(source, pieces, spec, job)
    while True:
        done = _write(source, pieces, normalizer.gains, spec, job)
        if not normalizer.correct():
            break
    warnings += normalizer.warnings()
    return done


def _write(
    source: TrackSource,
    pieces: Sequence[Piece],
    gains: Sequence[Gain | None],
    spec: SoundFileSpec,
    job: ExtractJob,
) -> list[PieceDone]:
    is_kept = spec.messenger is None and FORMATS[spec.format].is_lossless
    wanted = None if is_kept and job.loudness_lufs is None else "flt"
    with contextlib.ExitStack() as stack, source.reading(wanted, is_mono=job.is_mono) as reader:
        parts = [
            stack.enter_context(_Part(piece, gain, reader, spec, job.rate_hz))
            for piece, gain in zip(pieces, gains, strict=True)
        ]
        cutter = Cutter(pieces, reader.rate_hz, [part.take for part in parts])
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


class _Part(contextlib.ExitStack):
    """One output file while it is written: gain, rate, encoder; appears with its first sample."""

    def __init__(
        self,
        piece: Piece,
        gain: Gain | None,
        reader: SoundReader,
        spec: SoundFileSpec,
        rate_hz: int | None,
    ) -> None:
        super().__init__()
        self._piece, self._spec = piece, spec
        self._depth = _depth(reader, spec)
        self._channels, self._layout = reader.channels, reader.layout
        self.rate_hz = rate_hz or reader.rate_hz
        self.frames = 0
        self._level = None if gain is None else Leveller(gain, reader.rate_hz, reader.layout)
        self._rate = Rate(reader.rate_hz, self.rate_hz, reader.layout, reader.sample_format)
        self._writer: Any = None

    def take(self, samples: NDArray[Any]) -> None:
        """Add sound at the rate of the source."""
        if self._level is None:
            self._resample(samples)
            return
        for levelled in self._level.push(samples):
            self._resample(levelled)

    def finish(self) -> None:
        """Write the held samples and the end of the file."""
        if self._level is not None:
            for samples in self._level.finish():
                self._resample(samples)
        for samples in self._rate.finish():
            self._write(samples)
        self.close()

    def _resample(self, samples: NDArray[Any]) -> None:
        for resampled in self._rate.push(samples):
            self._write(resampled)

    def _write(self, samples: NDArray[Any]) -> None:
        if self._writer is None:
            self._writer = self.enter_context(
                open_sound(
                    self._piece.path,
                    self._spec,
                    rate_hz=self.rate_hz,
                    channels=self._channels,
                    tags=self._piece.tags,
                    sample_format=self._depth,
                    layout=self._layout,
                    cover=self._piece.cover,
                )
            )
        self._writer.write(samples)
        self.frames += len(samples)

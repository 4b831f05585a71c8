"""Finds the gain that brings each piece of a track to a loudness, by trying and measuring.

What is limited comes out softer than reckoned, and a lossy encoder changes both loudness and
peaks; so both are measured again, before and after encoding, until they are as they should be.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from capture.cautions import Caution
from capture.media.extract.pieces import Cutter, Piece, TrackSource
from capture.media.formats import FORMATS
from capture.media.read.loudness import (
    CEILING_DBTP,
    CLOSE_LU,
    LOSSY_CEILING_DBTP,
    PROMISED_DBTP,
    Gain,
    Leveller,
    Loudness,
    LoudnessMeter,
    next_gain,
)
from capture.specs.extraction import ExtractJob
from capture.specs.voice import SoundFileSpec

MOST_PASSES = 6
"""Most measurements of one loudness with the limiter."""
MOST_REWRITES = 5
"""Most times that a lossy file is written again; at most two, as a rule."""
MISSING_LU = 0.5
"""A file that is softer by more is not what was promised."""
ACCEPTED_LU = 0.4
"""A lossy file that is off by less is not written again: what is promised is 0.5."""
PEAK_ROOM_DB = 0.05
"""A peak is aimed to stay below the promise by so much, which is what a display rounds away."""


class Normalizer:
    """Finds the gains of all pieces of a track; all are measured in the same passes.

    Args:
        source: The track.
        pieces: Of it.
        spec: How they will be encoded.
        job: Its loudness, which is wanted.

    Attributes:
        gains: For each piece.
    """

    def __init__(
        self, source: TrackSource, pieces: Sequence[Piece], spec: SoundFileSpec, job: ExtractJob
    ) -> None:
        assert job.loudness_lufs is not None, "it was asked for"
        self._wanted_lufs = job.loudness_lufs
        self._source, self._pieces, self._job = source, pieces, job
        self._is_lossless = spec.messenger is None and FORMATS[spec.format].is_lossless
        self._rewrites = 0
        ceiling = CEILING_DBTP if self._is_lossless else LOSSY_CEILING_DBTP
        self._plain = self._measure(range(len(pieces)), [Gain()] * len(pieces))
        self.gains, self._reckoned = self._search(ceiling)
        self._came = list(self._reckoned)

    def _search(self, ceiling: float) -> tuple[list[Gain], list[Loudness]]:
        """The best gains that were found, and the loudness with them before encoding."""
        best: list[tuple[Gain, Loudness]] = []
        trying: dict[int, Gain] = {}
        for number, plain in enumerate(self._plain):
            gain = next_gain(self._wanted_lufs, plain, ceiling, None) or Gain()
            best.append((gain, plain.louder(gain.gain_db)))
            if gain.ceiling_dbtp is not None:
                trying[number] = gain
        tried: set[int] = set()
        for _ in range(MOST_PASSES):
            if not trying:
                break
            measured = self._measure(list(trying), list(trying.values()))
            for (number, gain), came in zip(list(trying.items()), measured, strict=True):
                is_better = self._badness(came, ceiling) < self._badness(best[number][1], ceiling)
                if number not in tried or is_better:
                    best[number] = (gain, came)
                tried.add(number)
                following = next_gain(self._wanted_lufs, self._plain[number], ceiling, (gain, came))
                if following is None:
                    del trying[number]
                else:
                    trying[number] = following
        return [gain for gain, _ in best], [came for _, came in best]

    def _badness(self, came: Loudness, ceiling: float) -> tuple[bool, float]:
        """Sort key of a result: first a peak above the ceiling, then the distance in LU."""
        if came.integrated_lufs is None or came.true_peak_dbtp is None:
            return True, 0.0
        is_over = came.true_peak_dbtp > ceiling + CLOSE_LU
        return is_over, abs(self._wanted_lufs - came.integrated_lufs)

    def correct(self) -> bool:
        """Measure the files that were written; gives whether they are to be written again."""
        if self._is_lossless:
            return False
        before = list(self.gains)
        for number, piece in enumerate(self._pieces):
            if self._reckoned[number].integrated_lufs is not None and piece.path.exists():
                self._came[number] = _measure_file(piece)
                self.gains[number] = self._corrected(number)
        self._rewrites += 1
        return self.gains != before and self._rewrites <= MOST_REWRITES

    def _corrected(self, number: int) -> Gain:
        """The gain of a piece, corrected for the change that the encoder made."""
        gain, reckoned, came = self.gains[number], self._reckoned[number], self._came[number]
        integrated, peak = came.integrated_lufs, came.true_peak_dbtp
        if reckoned.integrated_lufs is None or integrated is None or peak is None:
            return gain
        is_reached = abs(self._wanted_lufs - reckoned.integrated_lufs) <= MISSING_LU
        lost = (self._wanted_lufs if is_reached else reckoned.integrated_lufs) - integrated
        # What was below the ceiling need not be so any more.
        ceiling = LOSSY_CEILING_DBTP if gain.ceiling_dbtp is None else gain.ceiling_dbtp
        if abs(lost) > ACCEPTED_LU:
            gain = Gain(gain.gain_db + lost, ceiling)
        if peak >= PROMISED_DBTP - PEAK_ROOM_DB:
            gain = Gain(gain.gain_db, ceiling - (peak - PROMISED_DBTP) - 2 * PEAK_ROOM_DB)
        return gain

    def warnings(self) -> Iterator[str]:
        """One sentence for each piece whose loudness or peak is not as wanted."""
        for number, (plain, came) in enumerate(zip(self._plain, self._came, strict=True), 1):
            name = "the sound" if len(self._pieces) == 1 else f"part {number}"
            if plain.integrated_lufs is None:
                yield Caution.LOUDNESS_UNKNOWN.with_(part=name)
            elif came.integrated_lufs is not None:
                if (peak_dbtp := came.true_peak_dbtp or PROMISED_DBTP) > PROMISED_DBTP:
                    yield Caution.PEAKS_GROW.with_(part=name, peak_dbtp=peak_dbtp)
                missing = self._wanted_lufs - came.integrated_lufs
                if missing > MISSING_LU:
                    yield Caution.SOFTER_THAN_WANTED.with_(part=name, missing_lu=missing)

    def _measure(self, numbers: Sequence[int], gains: Sequence[Gain]) -> list[Loudness]:
        """Loudness of some pieces with these gains."""
        with self._source.reading("flt", is_mono=self._job.is_mono) as reader:
            meters = [LoudnessMeter(reader.rate_hz, reader.layout) for _ in numbers]
            levels = [Leveller(gain, reader.rate_hz, reader.layout) for gain in gains]

            pairs = list(zip(levels, meters, strict=True))
            sinks = [functools.partial(_meter, level, meter) for level, meter in pairs]
            cutter = Cutter([self._pieces[number] for number in numbers], reader.rate_hz, sinks)
            for at, samples in self._source.blocks(reader, cutter.until):
                cutter.take(at, samples)
            for level, meter in pairs:
                for levelled in level.finish():
                    meter.push(levelled)
        return [meter.finish() for meter in meters]


def _meter(level: Leveller, meter: LoudnessMeter, samples: NDArray[Any]) -> None:
    for levelled in level.push(samples):
        meter.push(levelled)


def _measure_file(piece: Piece) -> Loudness:
    """Loudness of a written file, as players decode it."""
    source = TrackSource(piece.path, 1, keep_offset=False)
    with source.reading("flt") as reader:
        meter = LoudnessMeter(reader.rate_hz, reader.layout)
        for _, samples in reader.blocks():
            meter.push(samples)
    return meter.finish()

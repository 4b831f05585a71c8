"""Decoded sound in one form, however the form of its frames changes within a track.

Broadcasts change from stereo to 5.1 and back, joined files change their rate. What comes out has
one sample format, one layout and one rate: channels are mixed by FFmpeg's matrices (swresample),
which leave out none but the bass effects (LFE). They are scaled so that the sum does not clip.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.filter import Graph
from numpy.typing import NDArray

from capture.media.layouts import default_layout
from capture.polarity import Aligner

DTYPES: dict[str, Any] = {"s16": np.int16, "s32": np.int32, "flt": np.float32}
"""The packed sample formats that come out, and how NumPy calls their samples."""


class SoundForm(NamedTuple):
    """Sample format, channel layout and sample rate of decoded frames."""

    sample_format: str
    """FFmpeg's name, such as s16 or fltp."""
    layout: str
    """FFmpeg's name, such as mono or 5.1(side)."""
    rate_hz: int

    @property
    def channels(self) -> int:
        """Number of channels of the layout."""
        return int(av.AudioLayout(self.layout).nb_channels)


def form_of(frame: Any) -> SoundForm:
    """Sample format, layout and rate of a decoded frame."""
    return SoundForm(frame.format.name, frame.layout.name, frame.sample_rate)


def frame_of(samples: NDArray[Any], form: SoundForm) -> Any:
    """A frame without a stamp from samples, (frames, channels), of the form's dtype."""
    flat = np.ascontiguousarray(samples, DTYPES[form.sample_format]).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(flat, format=form.sample_format, layout=form.layout)
    frame.sample_rate = form.rate_hz
    return frame


class Conversion:
    """Converts frames of one form to another; their length stays exactly the same.

    Args:
        source: Of every frame that is pushed.
        target: Of what comes out; its sample format is a key of ``DTYPES``.
    """

    def __init__(self, source: SoundForm, target: SoundForm) -> None:
        self._source, self._target = source, target
        self._channels = target.channels
        self._taken = self._given = 0
        self._graph: Any = None if source == target else _graph(source, target)
        is_mixed_down = target.channels == 1 and source.channels > 1
        self._aligner = Aligner(source.rate_hz) if is_mixed_down else None

    def push(self, frame: Any) -> Iterator[NDArray[Any]]:
        """Take a frame; give the converted samples that are ready, (frames, channels)."""
        self._taken += frame.samples
        if self._graph is None:
            yield self._samples(frame)
            return
        if self._aligner is not None:
            frame = _aligned(frame, self._aligner)
        frame.pts = None  # the filters would fill what they take for holes
        self._graph.push(frame)
        yield from self._pulled()

    def finish(self) -> Iterator[NDArray[Any]]:
        """Give the remaining samples; nothing can be pushed afterwards."""
        if self._graph is None or not self._taken:
            return
        total = round(self._taken * self._target.rate_hz / self._source.rate_hz)
        self._graph.push(None)
        for samples in self._pulled():
            yield samples[: max(0, len(samples) - max(0, self._given - total))]
        if self._given < total:
            dtype = DTYPES[self._target.sample_format]
            yield np.zeros((total - self._given, self._channels), dtype)

    def _pulled(self) -> Iterator[NDArray[Any]]:
        with contextlib.suppress(av.BlockingIOError, av.EOFError):
            while True:
                yield self._samples(self._graph.pull())

    def _samples(self, frame: Any) -> NDArray[Any]:
        samples: NDArray[Any] = frame.to_ndarray().reshape(-1, self._channels)
        self._given += len(samples)
        return samples


def _aligned(frame: Any, aligner: Aligner) -> Any:
    """A frame without opposite channels; the same object where there were none."""
    raw, channels = frame.to_ndarray(), frame.layout.nb_channels
    samples = raw.T if frame.format.is_planar else raw.reshape(-1, channels)
    is_whole = samples.dtype.kind in "iu"
    zero = 1 << 7 if samples.dtype == np.uint8 else 0
    # Full scale is 1 for what is compared; 64 bits hold every integer as it is.
    scale = float(np.iinfo(samples.dtype).max) if is_whole else 1.0
    sound = (samples.astype(np.float64 if is_whole else samples.dtype) - zero) / scale
    turned = aligner.push(sound)
    if turned is sound:
        return frame
    if is_whole:
        limits = np.iinfo(samples.dtype)
        turned = np.clip(np.rint(turned * scale + zero), limits.min, limits.max)
    turned = turned.astype(samples.dtype)
    plain = turned.T if frame.format.is_planar else turned.reshape(1, -1)
    made = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(plain), format=frame.format.name, layout=frame.layout
    )
    made.sample_rate = frame.sample_rate
    return made


def _graph(source: SoundForm, target: SoundForm) -> Any:
    wanted = {
        "out_sample_fmt": target.sample_format,
        "out_chlayout": target.layout,
        "out_sample_rate": str(target.rate_hz),
        # Otherwise FFmpeg scales the matrix for integers only, and floats clip in the encoder.
        "rematrix_maxval": "1.0",
    }
    try:
        return filters_in_a_row(source, ("aresample", wanted))
    except av.FFmpegError:  # such as three channels left of the middle: there is no matrix for it
        places = "|".join(map(str, range(source.channels)))
        taken_for = {"map": places, "channel_layout": default_layout(source.channels)}
        return filters_in_a_row(source, ("channelmap", taken_for), ("aresample", wanted))


def filters_in_a_row(source: SoundForm, *filters: tuple[str, dict[str, str]]) -> Any:
    """A graph of FFmpeg's that takes sound of a form; each filter by its name and options."""
    graph = Graph()
    last = graph.add_abuffer(
        sample_rate=source.rate_hz, format=source.sample_format, layout=source.layout
    )
    for name, options in (*filters, ("abuffersink", {})):
        node = graph.add(name, **options)
        last.link_to(node)
        last = node
    graph.configure()
    return graph


class SoundConverter:
    """Converts the frames of a track, in whatever forms they come, to one form.

    Args:
        target: Of what comes out; its sample format is a key of ``DTYPES``.
        batch_frames: Give samples when there are so many: asking NumPy for every 20 ms costs more
            than decoding.

    Attributes:
        changes: How often the rate or the layout changed.
    """

    def __init__(self, target: SoundForm, batch_frames: int = 0) -> None:
        self.changes = 0
        self._target = target
        self._batch_frames = batch_frames
        self._form: SoundForm | None = None
        self._layout: Any = None
        self._conversion: Any = None
        self._waiting: Any = None

    def push(self, frame: Any) -> Iterator[NDArray[Any]]:
        """Take a frame; give the converted samples that are ready, (frames, channels)."""
        form = self._form
        if (
            form is None
            or frame.layout != self._layout
            or frame.sample_rate != form.rate_hz
            or frame.format.name != form.sample_format
        ):
            yield from self._begin(frame)
        if not self._batch_frames:
            yield from self._conversion.push(frame)
            return
        frame.pts = None  # the buffer of frames would insist on stamps without rounding
        self._waiting.write(frame)
        if self._waiting.samples >= self._batch_frames:
            yield from self.flush()

    def flush(self) -> Iterator[NDArray[Any]]:
        """Give the frames that wait until a batch is full."""
        if self._waiting is not None and self._waiting.samples:
            yield from self._conversion.push(self._waiting.read())

    def finish(self) -> Iterator[NDArray[Any]]:
        """Give the samples that remain; more frames may follow."""
        yield from self.flush()
        if self._conversion is not None:
            yield from self._conversion.finish()
            self._conversion = self._waiting = self._form = None

    def _begin(self, frame: Any) -> Iterator[NDArray[Any]]:
        before, form = self._form, form_of(frame)
        yield from self.finish()
        if before is not None and before[1:] != form[1:]:
            self.changes += 1
        self._form, self._layout = form, frame.layout
        self._conversion = Conversion(form, self._target)
        self._waiting = AudioFifo() if self._batch_frames else None

"""One sound track, decoded from its beginning to its end as one stream without holes.

Everything else that decodes stands on this: transcoding, the search for messages, loudness. Packets
are decoded one by one and handed on second by second, since NumPy costs more than decoding where
it is asked for every 20 ms.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from capture.errors import DamagedFileError
from capture.media.layouts import default_layout, known_layout
from capture.media.read.convert import DTYPES, SoundConverter, SoundForm
from capture.media.read.decode import read_packets
from capture.media.read.packet_length import PacketLength
from capture.media.read.sample_clock import SampleClock
from capture.media.read.tracks import codec_of, file_zero_s, tick_s

DECODED = {"s16": "s16", "s24": "s32", "s32": "s32", "f32": "flt"}
"""The depth that is wanted, and FFmpeg's format that holds it."""
_BLOCK_S = 0.5
"""A stereo block still fits into a processor's second cache, in each of its forms."""
_SILENCE_S = 10.0
"""Missing sound is filled in pieces of this length."""


def depth_of(stream: Any) -> str:
    """The least of s16, s24, s32 and f32 that holds all samples of the codec.

    Lossy codecs have no depth; like FFmpeg we take 16 bits for theirs.
    """
    codec = codec_of(stream)
    if codec.startswith("pcm_f"):
        return "f32"
    if codec.startswith(("pcm_s32", "pcm_s64", "pcm_u32")):
        return "s32"
    form = stream.codec_context.format
    # A decoder that gives 32-bit integers has found more than 16 bits: 24, but for the above.
    return "s24" if form is not None and form.name in {"s32", "s32p"} else "s16"


class SoundReader:
    """Decodes one track; its faults are known at the end.

    Args:
        container: Open, and not read from before.
        stream: Of it.
        path: For messages.
        sample_format: s16, s32 or flt: int16, int32 or float32 come out.
        is_mono: Mix all channels to one.
        arrange: Gives the layout, of as many channels, that the source's is to be brought to.

    Attributes:
        stream: The track.
        sample_format: Of what comes out.
        rate_hz: Sample rate; what changes it later in the track is resampled to it.
        channels: Of what comes out; what changes them later in the track is mixed to them.
        layout: Where they are played, by FFmpeg's name; its default where the file has none.
        heard: Sample at which the track begins, on the clock that a player shows.
        clock: What its stamps were like.
        broken: Packets that could not be decoded; their time is silent.
        read_error: Why the file could not be read to its end.
        changes: How often its rate or its channels changed, as far as it was read.
        is_at_end: It was read as far as it goes.

    Raises:
        DamagedFileError: Nothing of it can be decoded.
    """

    def __init__(
        self,
        container: Any,
        stream: Any,
        path: Path,
        sample_format: str,
        *,
        is_mono: bool = False,
        arrange: Callable[[str], str] = str,
    ) -> None:
        self._container = container
        self.stream = stream
        self.sample_format = sample_format
        self.broken = 0
        self.is_at_end = False
        self.read_error: str | None = None
        stream.codec_context.thread_type = "NONE"  # a packet of sound takes less than a hand-over
        self._frames = self._decode()
        first = next(self._frames, None)
        if first is None:
            why = "is damaged from its beginning" if self.broken else "is empty"
            raise DamagedFileError(
                f"the sound track of {path} {why}",
                hint="it may have been cut off, or be encrypted",
                details={"broken packets": self.broken, "read error": self.read_error},
            )
        self._first = first
        self.rate_hz = int(first.sample_rate)
        layout = "mono" if is_mono else first.layout.name
        known = known_layout(layout)
        self.layout = arrange(known or default_layout(first.layout.nb_channels))
        # Where nobody knows which channel is which, none can be mixed into another.
        target = SoundForm(sample_format, self.layout if known else layout, self.rate_hz)
        self.channels = target.channels
        self._converter = SoundConverter(target, round(_BLOCK_S * self.rate_hz))
        tick, zero = tick_s(stream.time_base), file_zero_s(container)
        length = PacketLength(stream, self.rate_hz)
        self.clock = SampleClock(self.rate_hz, tick, zero, length.unit, length.slack)
        self.heard = self.clock.start(first.pts)

    @property
    def changes(self) -> int:  # noqa: D102 - described above
        return self._converter.changes

    def _decode(self) -> Iterator[Any]:
        for packet, frames in read_packets(self._container, [self.stream]):
            if not isinstance(frames, av.FFmpegError):
                yield from frames
            elif packet is not None:
                self.broken += 1
            else:
                self.read_error = frames.strerror or str(frames)
                with contextlib.suppress(av.FFmpegError):
                    yield from self.stream.codec_context.decode(None)
                return
        self.is_at_end = True

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """The blocks of the track, without holes, each with the position of its first sample.

        Yields:
            (position on the clock that a player shows, samples of shape (frames, channels)).
        """
        position = self.heard
        for samples in self._samples():
            if len(samples):
                yield position, samples
                position += len(samples)

    def _samples(self) -> Iterator[NDArray[Any]]:
        converter, clock = self._converter, self.clock
        frame: Any = self._first
        rest = 0
        while frame is not None:
            # What is cut off when lengths are reckoned at another rate must not add up to a hole.
            length, rest = divmod(frame.samples * self.rate_hz + rest, frame.sample_rate)
            hole = clock.advance(frame.pts, length)
            if hole:
                yield from converter.flush()
                yield from self._silence(hole)
            yield from converter.push(frame)
            frame = next(self._frames, None)
        yield from converter.finish()

    def _silence(self, count: int) -> Iterator[NDArray[Any]]:
        step = round(_SILENCE_S * self.rate_hz)
        for done in range(0, count, step):
            yield np.zeros((min(step, count - done), self.channels), DTYPES[self.sample_format])

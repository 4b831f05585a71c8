"""Writes sound files through PyAV: all formats but WAV, FLAC and Ogg Vorbis."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from capture.errors import EncoderUnavailableError
from capture.hints import Advice
from capture.media.layouts import usual_layout
from capture.media.output import as_output_error
from capture.media.read.cover import add_cover, muxer_of
from capture.media.write.sndfile import as_float32
from capture.media.write.sound_writer import SoundWriter
from capture.naming import ffmpeg_name
from capture.polarity import Aligner

_FRAME_CODE = 0b11
"""The bits of an Opus packet's first byte for the number of frames; 3: any number."""
_VARIABLE = 0x80
"""Bit of the second byte: each frame has a length of its own."""
_LONG_LENGTH = 252
"""Least length that takes two bytes, RFC 6716 section 3.2.1."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of an encoder and its muxer."""

    codec: str
    container: str
    rate_hz: int
    channels: int
    bits_per_s: int
    """In bit/s; 0 where the options set the quality."""
    codec_options: Mapping[str, str]
    container_options: Mapping[str, str]
    merged_packets: int = 1
    """Number of Opus packets that become one."""


class PacketWriter(SoundWriter):
    """A sound file through PyAV; see ``SoundWriter``."""

    def __init__(
        self,
        path: Path,
        recipe: Recipe,
        *,
        rate_hz: int,
        channels: int,
        tags: Mapping[str, str],
        cover: bytes | None = None,
    ) -> None:
        super().__init__(path, rate_hz, channels)
        if recipe.codec not in av.codecs_available:
            raise EncoderUnavailableError(
                f"this build of FFmpeg has no encoder {recipe.codec} here",
                hint=Advice.OTHER_FORMAT.with_(format="flac"),
            )
        self._is_mixed_down = recipe.channels < channels
        self._aligner = Aligner(rate_hz)
        self._layout = usual_layout(recipe.channels)
        self._time_base = Fraction(1, rate_hz)
        self._merged_packets = recipe.merged_packets
        self._waiting: list[av.Packet[Any]] = []
        muxer, options = muxer_of(recipe.container, cover)
        with as_output_error(path):
            self._container: Any = av.open(
                ffmpeg_name(path),
                "w",
                format=muxer,
                container_options={**recipe.container_options, **options},
            )
        try:
            self._container.metadata.update(tags)
            self._stream: Any = self._container.add_stream(
                recipe.codec, rate=recipe.rate_hz, options=dict(recipe.codec_options)
            )
            context: Any = self._stream.codec_context
            context.layout = self._layout
            if recipe.bits_per_s:
                context.bit_rate = recipe.bits_per_s
            context.time_base = Fraction(1, recipe.rate_hz)
            with as_output_error(path):
                if cover is not None:
                    add_cover(self._container, cover)
                self._container.start_encoding()
        except BaseException:
            self._abandon()
            raise

    def _write(self, samples: NDArray[Any]) -> None:
        sound = as_float32(samples)
        if self._is_mixed_down:
            # Not swresample: it adds the channels by power, so that equal ones get 3 dB louder.
            sound = self._aligner.push(sound).mean(axis=1, keepdims=True, dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(sound).reshape(1, -1), format="flt", layout=self._layout
        )
        frame.sample_rate = self._rate_hz
        # The times are what makes pre-skip and edit list right. PyAV resamples, and cuts the
        # sound into the encoder's frames.
        frame.pts, frame.time_base = self.frames, self._time_base
        self._mux(self._stream.encode(frame))

    def _finish(self) -> None:
        self._mux(self._stream.encode(None))
        self._mux_merged()
        self._container.close()

    def _mux(self, packets: "Iterable[av.Packet[Any]]") -> None:
        for packet in packets:
            if self._merged_packets == 1:
                self._container.mux_one(packet)
                continue
            self._waiting.append(packet)
            if len(self._waiting) == self._merged_packets:
                self._mux_merged()

    def _mux_merged(self) -> None:
        for packet in merge_opus(self._waiting):
            self._container.mux_one(packet)
        self._waiting = []

    def _abandon(self) -> None:
        with contextlib.suppress(OSError, av.FFmpegError):
            self._container.close()


def merge_opus(packets: "Sequence[av.Packet[Any]]") -> "list[av.Packet[Any]]":
    """Opus packets of one frame each, merged to packets of several (RFC 6716, 3.2.5).

    The frames stay as they are, so that the sound does, to the bit. Packets of another mode or
    bandwidth than their neighbours, which one packet cannot hold, become one of their own.
    """
    merged = []
    for toc, group in groupby(packets, key=lambda packet: bytes(packet)[0]):
        run = list(group)
        if toc & _FRAME_CODE:
            merged += run  # holds several already
            continue
        frames = [bytes(packet)[1:] for packet in run]
        head = bytes([toc | _FRAME_CODE, _VARIABLE | len(frames)])
        lengths = b"".join(_opus_length(len(frame)) for frame in frames[:-1])
        packet: av.Packet[Any] = av.Packet(head + lengths + b"".join(frames))
        packet.pts, packet.dts = run[0].pts, run[0].dts
        packet.time_base = run[0].time_base
        packet.duration = sum(part.duration or 0 for part in run)
        merged.append(packet)
    return merged


def _opus_length(length_bytes: int) -> bytes:
    if length_bytes < _LONG_LENGTH:
        return bytes([length_bytes])
    first = _LONG_LENGTH + (length_bytes - _LONG_LENGTH) % 4
    return bytes([first, (length_bytes - first) // 4])

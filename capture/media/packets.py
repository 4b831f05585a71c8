"""Packets, stream headers, and the interface of a sink: what lies between encoders and files.

An encoder knows no file and a file no encoder, so the packets of one encoder may go to several
sinks, now or later: times are those of the recording, and each sink counts from its own start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

import av
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Packet:
    """One encoded piece of a stream, complete in itself."""

    track: int
    """Number of the stream in the file, from 0."""
    data: bytes
    pts: int
    """Time at which it is shown or heard, in ticks of ``time_base``; before 0: left out."""
    dts: int
    """Time at which it is decoded; the same without B-frames."""
    duration: int
    time_base: Fraction
    is_key: bool
    """Whether decoding can begin here; true of all sound."""
    side_data: Sequence[Any] = ()
    """``av.packet.PacketSideData``: what is cut off at the end, FLAC's last header."""

    @property
    def end_s(self) -> float:
        """End of the packet in seconds of media time."""
        return float((self.pts + self.duration) * self.time_base)

    @classmethod
    def of(cls, packet: "av.Packet[Any]", track: int, duration: int | None = None) -> "Packet":
        """A copy of what an encoder gave; ``duration`` where it gave none."""
        return cls(
            track,
            bytes(packet),
            packet.pts or 0,
            packet.dts if packet.dts is not None else packet.pts or 0,
            packet.duration or 0 if duration is None else duration,
            Fraction(packet.time_base.numerator, packet.time_base.denominator),
            packet.is_keyframe,
            tuple(packet.iter_sidedata()),
        )

    def for_stream(self, stream: Any, start: int) -> "av.Packet[Any]":
        """A copy for a stream of a muxer, whose time 0 is at tick ``start``."""
        packet: av.Packet[Any] = av.Packet(self.data)
        packet.pts, packet.dts = self.pts - start, self.dts - start
        packet.duration, packet.time_base = self.duration, self.time_base
        packet.is_keyframe = self.is_key
        for side_data in self.side_data:
            packet.set_sidedata(side_data)
        packet.stream = stream
        return packet


def pcm_packet(samples: NDArray[np.int16], first_frame: int, rate_hz: int) -> Packet:
    """Uncompressed sound of shape ``(frames, channels)`` as a packet of track 0."""
    data, time_base = samples.astype("<i2", copy=False).tobytes(), Fraction(1, rate_hz)
    return Packet(0, data, first_frame, first_frame, len(samples), time_base, is_key=True)


@dataclass(frozen=True, slots=True, eq=False)
class StreamHeader:
    """The parameters of a stream that a file needs before its first packet; reusable."""

    codec: str
    """FFmpeg's name of the encoder."""
    title: str
    """Title of the track in players; empty for pictures."""
    channels: int
    """Number of channels; 0 for pictures."""
    rate_hz: int
    """Sample rate in Hz; 0 for pictures."""
    template: Any
    """``av`` stream that holds the codec's parameters and no encoder."""
    _scratch: Any = field(repr=False)
    """The container of the template, which lives as long."""

    @classmethod
    def of(cls, stream: Any, title: str = "") -> "StreamHeader":
        """The header of a stream from its open encoder, which is not kept."""
        scratch: Any = av.open("", "w", format="null")
        context, is_sound = stream.codec_context, stream.type == "audio"
        return cls(
            context.name,
            title,
            context.channels if is_sound else 0,
            context.sample_rate if is_sound else 0,
            scratch.add_stream_from_template(stream),
            scratch,
        )


class PacketSink(Protocol):
    """Takes the packets of all streams of a recording; used from one thread."""

    def push(self, packet: Packet) -> None:
        """Take a packet; the packets of a stream come in order.

        Raises:
            OutputError: It cannot be kept.
        """
        ...

    def close(
        self,
        chapters: Sequence[tuple[float, float, str]] = (),
        certificate: Mapping[str, Any] | None = None,
    ) -> None:
        """End the sink; idempotent.

        Args:
            chapters: (start in s, end in s, title), from the sink's own start.
            certificate: What is to be known of the recording, a JSON value.

        Raises:
            OutputError: What was taken could not be finished.
        """
        ...

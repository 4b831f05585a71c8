"""AMR with pauses: while nobody speaks, an AMR encoder sends frames that stand for silence.

FFmpeg's decoders refuse those frames. They become exact silence here, 20 ms each.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np

from capture.media.read.tracks import codec_of, tick_s

_FRAME_S = Fraction(1, 50)


class _Amr(NamedTuple):
    rate_hz: int
    frame_bytes: tuple[int, ...]
    """Of a frame of each type, its header included; RFC 4867, section 5.3."""
    silent: frozenset[int]
    """Types of frame that hold no speech: comfort noise (SID), lost, no data."""


_AMR = {
    "amr_nb": _Amr(8000, (13, 14, 16, 18, 20, 21, 27, 32, 6), frozenset({8, 15})),
    "amr_wb": _Amr(16_000, (18, 24, 33, 37, 41, 47, 51, 59, 61, 6), frozenset({9, 14, 15})),
}


def has_pause(packet: Any) -> bool:
    """Whether a packet is AMR and holds a frame of silence."""
    amr = _AMR.get(codec_of(packet.stream))
    return amr is not None and any(is_silent for _, is_silent in _frames(bytes(packet), amr))


def decode_pause(packet: Any) -> list[Any]:
    """Decode a packet with frames of silence, 20 ms each.

    Raises:
        av.FFmpegError: What is speech in it cannot be decoded.
    """
    amr = _AMR[codec_of(packet.stream)]
    codec = packet.stream.codec_context
    found = []
    for number, (data, is_silent) in enumerate(_frames(bytes(packet), amr)):
        stamp = packet.pts
        if stamp is not None:
            stamp += round(number * _FRAME_S / tick_s(packet.time_base))
        if is_silent:
            frame = _silence(codec, amr)
            frame.pts, frame.time_base = stamp, packet.time_base
            found.append(frame)
            continue
        part = av.Packet(data)
        part.pts, part.time_base = stamp, packet.time_base
        found += codec.decode(part)
    return found


def _frames(data: bytes, amr: _Amr) -> Iterator[tuple[bytes, bool]]:
    """The frames of a packet, each with whether it is silent; 3GP puts several in one."""
    while data:
        kind = data[0] >> 3 & 15
        size = amr.frame_bytes[kind] if kind < len(amr.frame_bytes) else 1
        yield data[:size], kind in amr.silent
        data = data[size:]


def _silence(codec: Any, amr: _Amr) -> Any:
    form = codec.format.name if codec.format is not None else "fltp"
    dtype: Any = np.float32 if form.startswith("flt") else np.int16
    samples = np.zeros((1, int(_FRAME_S * amr.rate_hz)), dtype)
    frame = av.AudioFrame.from_ndarray(samples, format=form, layout="mono")
    frame.sample_rate = amr.rate_hz
    return frame

"""Several Opus packets as one: messengers want longer ones than the encoder makes."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import av

if TYPE_CHECKING:
    from collections.abc import Sequence

    from av.packet import Packet

__all__ = ["merge_opus"]

_FRAME_CODE = 0b11
"""The bits of an Opus packet's first byte that tell how many frames follow; 3: any number."""
_VARIABLE = 0x80
"""In the second byte: each frame has a length of its own."""
_LONG_LENGTH = 252
"""From here on a length takes two bytes, RFC 6716 section 3.2.1."""


def merge_opus(packets: Sequence[Packet[Any]]) -> list[Packet[Any]]:
    """Opus packets of one frame each as one packet of all their frames, RFC 6716 section 3.2.5.

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
        packet: Packet[Any] = av.Packet(head + lengths + b"".join(frames))
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

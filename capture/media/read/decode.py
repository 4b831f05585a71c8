"""Decodes finished files: pictures one by one, a sound track as a whole, or all tracks at once."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from capture.errors import DamagedFileError
from capture.media.read.amr import decode_pause, has_pause
from capture.media.read.convert import SoundConverter, form_of
from capture.media.read.input import open_media
from capture.media.read.mp3_info import tag_bytes


def read_pictures(path: Path) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Each picture with its time in seconds; BGR, uint8, ``(height, width, 3)``.

    Raises:
        DamagedFileError: It cannot be read.
    """
    with open_media(path) as container:
        for frame in container.decode(video=0):
            if frame.time is not None:
                yield float(frame.time), frame.to_ndarray(format="bgr24")


def read_sound(path: Path, track: int = 0) -> tuple[NDArray[np.float32], int, float]:
    """A whole sound track.

    Returns:
        Samples as float32 of shape ``(frames, channels)``, their rate in Hz, and the time in
        seconds at which the first one is heard.

    Raises:
        DamagedFileError: It cannot be read, or has no such track.
    """
    pieces: list[NDArray[np.float32]] = []
    start_s: float | None = None
    rate_hz = 0
    with open_media(path) as container:
        if track >= len(container.streams.audio):
            raise DamagedFileError(f"{path} has no sound track {track + 1}")
        converter: SoundConverter | None = None
        for _, frames in read_packets(container, [container.streams.audio[track]]):
            if isinstance(frames, av.FFmpegError):
                raise DamagedFileError(f"{path} cannot be read: {frames.strerror}") from frames
            for frame in frames:
                if converter is None:
                    start_s, form = frame.time, form_of(frame)
                    converter = SoundConverter(form._replace(sample_format="flt"))
                    rate_hz = form.rate_hz
                pieces += converter.push(frame)
        if converter is not None:
            pieces += converter.finish()
    if not pieces:
        raise DamagedFileError(f"{path} has an empty sound track")
    return np.concatenate(pieces), rate_hz, start_s or 0.0


def read_packets(
    container: Any, streams: Sequence[Any]
) -> Iterator[tuple[Any, list[Any] | av.FFmpegError]]:
    """Every packet of some tracks, in the order of the file, with the frames it gives.

    What cannot be decoded comes with its error in place of frames; reading goes on. Where the file
    itself cannot be read on, the packet is ``None``, and nothing follows.

    Args:
        container: From ``open_media``.
        streams: Of it.
    """
    for stream in streams:
        if stream.type == "video":
            stream.thread_type = "AUTO"
    try:
        for packet in container.demux(streams):
            try:
                yield packet, decode_packet(packet)
            except av.FFmpegError as error:
                yield packet, error
    except av.FFmpegError as error:
        yield None, error


def decode_packet(packet: Any) -> list[Any]:
    """Decode a packet, also one that FFmpeg refuses though it is not damaged.

    Raises:
        av.FFmpegError: It cannot be decoded.
    """
    if packet.stream.type == "audio" and packet.size and has_pause(packet):
        return decode_pause(packet)
    try:
        return list(packet.decode())
    except av.FFmpegError:
        data = bytes(packet)
        begin = 0
        while length := tag_bytes(data[begin:]):
            begin += length
        if not begin or packet.stream.type != "audio":
            raise
        sound = av.Packet(data[begin:])
        sound.pts, sound.time_base = packet.pts, packet.time_base
        return list(packet.stream.codec_context.decode(sound)) if sound.size else []

"""Which container a copy of a track goes to: the file that people know its codec by, or one asked.

FFmpeg is asked, not a list of all codecs: a container takes a track if its muxer writes a header
for it and, where packets may lose their edges in it, if it gives the first ones back.
"""

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import av

from capture.media.read.input import open_media
from capture.media.read.mp3_info import MOST_SKIP
from capture.media.read.packet_length import decoded_samples
from capture.media.read.pcm import PcmConverter, pcm_in_wave
from capture.media.read.tracks import codec_of


@dataclass(frozen=True, slots=True)
class CopyContainer:
    """A container, and the codec that the sound has in it."""

    suffix: str
    format: str
    """FFmpeg's muxer."""
    has_time: bool
    """It can state that sound begins late, or is missing in the middle."""
    codec: str
    """FFmpeg's name of the codec in it."""
    most_skip: int = 0
    """Most samples at its beginning that it can mark as not heard."""
    turn: PcmConverter | None = None
    """Converts packets of PCM; ``None``: they are copied as they are."""
    options: Mapping[str, str] = field(default_factory=dict)


_OWN = {
    "aac": (".m4a", "ipod"),
    "alac": (".m4a", "ipod"),
    "mp4als": (".m4a", "mp4"),
    "opus": (".opus", "opus"),
    "mp3": (".mp3", "mp3"),
    "flac": (".flac", "flac"),
    "vorbis": (".ogg", "ogg"),
    "speex": (".ogg", "ogg"),
    "ac3": (".ac3", "ac3"),
    "eac3": (".eac3", "eac3"),
    "amr_nb": (".amr", "amr"),
    "amr_wb": (".amr", "amr"),
    "aac_latm": (".latm", "latm"),
    **dict.fromkeys(("wmav1", "wmav2", "wmapro", "wmalossless", "wmavoice"), (".wma", "asf")),
}
"""The file that people know a codec by."""
_WAV = (".wav", "wav")
_REST = (
    *((".mka", "matroska"), _WAV, (".au", "au"), (".aiff", "aiff"), (".caf", "caf")),
    *((".mov", "mov"), (".sbc", "sbc"), (".aptx", "aptx"), (".aptxhd", "aptx_hd")),
)
"""Containers that are tried, in this order, for codecs without one of their own."""
SUFFIXES = frozenset(suffix for suffix, _ in (*_OWN.values(), *_REST))
"""All endings that copies get."""
_TIMED = frozenset({"ipod", "mp4", "matroska", "asf"})
_SKIPS = {"ipod": 1 << 31, "mp4": 1 << 31, "mov": 1 << 31, "opus": 0xFFFF, "mp3": MOST_SKIP}
"""Most samples to skip that a container can state; an edit list has no limit."""
_OPTIONS = {"wav": {"rf64": "auto"}, "mp3": {"write_xing": "0", "id3v2_version": "4"}}
_ASKED_PACKETS = 20
_REFUSALS = (ValueError, OSError, av.FFmpegError)  # ValueError: not this codec


def copy_container_of(stream: Any, path: Path, *, is_late: bool = False) -> CopyContainer | None:
    """The container that fits a track; ``None``: there is none, it has to be transcoded.

    Args:
        stream: Of an open file. There is none for what nothing is known of, not even its rate.
        path: Of the file: it is read again where the first packets are needed.
        is_late: It has to keep that the sound begins late.
    """
    if not stream.codec_context.sample_rate:
        return None
    codec = codec_of(stream)
    pcm = pcm_in_wave(stream)
    own = (_WAV,) if pcm is not None else (_OWN[codec],) if codec in _OWN else ()
    for suffix, muxer in (*own, *_REST):
        if is_late and muxer not in _TIMED:
            continue
        turned = pcm if pcm != codec else None
        is_trusted = muxer in _TIMED or (suffix, muxer) in own
        if _takes(muxer, stream, turned) and (is_trusted or _gives_back(muxer, stream.index, path)):
            turn = PcmConverter(stream, turned) if turned is not None else None
            options, skip = _OPTIONS.get(muxer, {}), _SKIPS.get(muxer, 0)
            return CopyContainer(suffix, muxer, muxer in _TIMED, pcm or codec, skip, turn, options)
    return None


def _takes(muxer: str, stream: Any, turned: str | None) -> bool:
    """Whether a muxer writes a header for a track, or for the PCM that it is converted to."""
    with contextlib.suppress(*_REFUSALS), av.open(io.BytesIO(), "w", format=muxer) as container:
        if turned is None:
            container.add_stream_from_template(stream)
        else:
            container.add_stream(turned, rate=stream.codec_context.sample_rate)
        container.start_encoding()
        container.close()
        return True
    return False


def _gives_back(muxer: str, index: int, path: Path) -> bool:
    """Whether the first packets decode to the same samples after a copy."""
    with contextlib.suppress(*_REFUSALS):
        return _is_same(muxer, index, path)
    return False


def _is_same(muxer: str, index: int, path: Path) -> bool:
    memory = io.BytesIO()
    with open_media(path) as source, av.open(memory, "w", format=muxer) as container:
        stream = source.streams[index]
        target = container.add_stream_from_template(stream)
        form, samples = _form(stream), 0
        for packet in islice(source.demux(stream), _ASKED_PACKETS):
            samples += decoded_samples(packet)
            if packet.size:
                packet.stream = target
                container.mux_one(packet)
        container.start_encoding()
        container.close()
        memory = io.BytesIO(memory.getvalue())
    copy: Any = av.open(memory, format=muxer)
    with copy:
        (stream,) = copy.streams
        found = sum(decoded_samples(packet) for packet in copy.demux(stream))
        return _form(stream) == form and found == samples


def _form(stream: Any) -> tuple[str, int, int]:
    codec = stream.codec_context
    return codec_of(stream), codec.sample_rate, codec.layout.nb_channels

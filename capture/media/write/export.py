"""Files of nothing but sound: what a heard message or an extracted track is written as.

Owns ``open_sound`` and the writers behind it; the formats are in ``capture.media.formats``. Every
file comes back as long as the sound was and where it was: encoders' delays are told in it
(pre-skip, edit list, LAME header), which FFmpeg does where every frame has its time. The exceptions
are FFmpeg's own: unlike browsers and Apple's players it plays the last AAC packet of an ``.m4a``
whole, up to 1023 frames too many, and is off by 256 frames in an ``.ogg`` of a single page (4 kB).

WAV, FLAC and Ogg Vorbis are written through libsndfile (PyAV comes without libvorbis), the rest
through PyAV. The same sound gives the same bytes every time, but for Ogg Vorbis, to whose streams
libsndfile gives random numbers.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

import av
import numpy as np

from capture.errors import ConfigError, EncoderUnavailableError
from capture.hints import Advice
from capture.media.formats import (
    FORMATS,
    MESSENGERS,
    PAGES,
    QUALITIES,
    Messenger,
    SoundFormat,
    check_sound_spec,
    size_warning,
    suffix_of,
)
from capture.media.layouts import usual_layout
from capture.media.origin import stream_number
from capture.media.output import as_output_error
from capture.media.read.cover import add_cover, muxer_of, put_in_flac
from capture.media.write.sndfile import SoundLibraryFile, as_float32, as_int16, as_int32
from capture.naming import ffmpeg_name
from capture.polarity import Aligner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from av.packet import Packet
    from numpy.typing import NDArray

    from capture.specs.voice import SoundFileSpec

__all__ = [
    "FORMATS",
    "MESSENGERS",
    "QUALITIES",
    "Messenger",
    "SoundFormat",
    "SoundWriter",
    "check_sound_spec",
    "merge_opus",
    "open_sound",
    "size_warning",
    "suffix_of",
]

_OPUS_FRAME_MS = 20
"""The longest frame that every mode of Opus has; longer packets hold several."""
_VORBIS_COMPRESSION = {"low": 0.8, "medium": 0.6, "high": 0.3}
"""What libsndfile calls it: 1 less a tenth of Vorbis' own quality, here 2, 4 and 7."""

_LAME_VBR = {"low": 6, "medium": 4, "high": 2}
"""LAME's -V. At a constant rate LAME makes all sound 0.45 dB softer: its presets scale by 0.95."""
_LAMBDA = 118
"""FF_QP2LAMBDA: in what FFmpeg counts an encoder's quality."""

_SUBTYPES = {
    "wav": {"s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT"},
    "flac": {"s16": "PCM_16", "s24": "PCM_24"},
    "ogg": {"s16": "VORBIS", "s24": "VORBIS", "s32": "VORBIS", "f32": "VORBIS"},
}
_CONVERTERS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "PCM_16": as_int16,
    "PCM_24": as_int32,
    "PCM_32": as_int32,
    "FLOAT": as_float32,
    "VORBIS": as_float32,
}


def open_sound(
    path: Path,
    spec: SoundFileSpec,
    *,
    rate_hz: int,
    channels: int,
    tags: Mapping[str, str] | None = None,
    sample_format: str = "s16",
    layout: str | None = None,
    cover: bytes | None = None,
) -> SoundWriter:
    """A writer of a file; what had that name is written over.

    Args:
        path: Taken as it is; its ending means nothing.
        spec: How it is encoded.
        rate_hz: Frames per second of what will be written; resampled where the format must.
        channels: Of what will be written; mixed to mono for messengers.
        tags: title, artist, album, date, comment, encoded_by, or any key. What the format has no
            place for is added to its comment, a line each. Left out of messengers' files, whose
            own have none; only which source they name shows in the number of the Ogg stream.
        sample_format: s16, s24, s32 or f32 for wav; s16 or s24 for flac; no matter for others.
        layout: FFmpeg's name of where the channels are played; ``None``: the format's own. Only a
            WAV file can state another.
        cover: A JPEG or PNG. WAV and Ogg Vorbis take none, nor do messengers' files get one.

    Raises:
        ConfigError: There is no such format, or it does not hold that.
        EncoderUnavailableError: This build of FFmpeg lacks the encoder.
        OutputError: The file cannot be written.
    """
    check_sound_spec(spec)
    tags = tags or {}
    if spec.messenger is not None:
        recipe = _messenger_recipe(MESSENGERS[spec.messenger], stream_number(tags))
        return _PacketWriter(path, recipe, rate_hz=rate_hz, channels=channels, tags={})
    kind = FORMATS[spec.format]
    if channels > kind.max_channels:
        raise ConfigError(
            f"{kind.name} holds {kind.max_channels} channels at most, not {channels}",
            hint="mix it down to mono, or choose flac or wav",
        )
    tags = _fitted(tags, kind.tags)
    if kind.name not in _SUBTYPES:
        recipe = _recipe(kind, spec.quality, rate_hz, channels)
        return _PacketWriter(
            path, recipe, rate_hz=rate_hz, channels=channels, tags=tags, cover=cover
        )
    subtype = _SUBTYPES[kind.name].get(sample_format)
    if subtype is None:
        raise ConfigError(
            f"{kind.name} holds no {sample_format} samples",
            hint=f"there is: {', '.join(_SUBTYPES[kind.name])}",
        )
    compression = None if kind.is_lossless else _VORBIS_COMPRESSION[spec.quality]
    return _LibraryWriter(
        path,
        (kind.container, subtype),
        rate_hz=rate_hz,
        channels=channels,
        tags=tags,
        compression=compression,
        layout=layout,
        cover=cover if kind.name == "flac" else None,
    )


def _fitted(tags: Mapping[str, str], places: tuple[str, ...] | None) -> dict[str, str]:
    """The tags for which there is a place, and the rest as lines of the comment."""
    if places is None:
        return dict(tags)
    kept = {name: text for name, text in tags.items() if name in places}
    rest = {name: text for name, text in tags.items() if name not in places}
    if "software" in places and "encoded_by" in rest:
        kept.setdefault("software", rest.pop("encoded_by"))
    lines = [kept.get("comment", ""), *(f"{name}: {text}" for name, text in rest.items())]
    comment = "\n".join(line for line in lines if line)
    return kept | ({"comment": comment} if comment else {})


class SoundWriter(ABC):
    """A file of sound being written; used from one thread, as a context manager.

    Left after an error it is closed as well as it can be, and ``is_finished`` stays false: the
    half-written file is the caller's.

    Attributes:
        path: The file.
        frames: How many were written, at the rate at which they came.
        is_finished: Whether all of it is in the file.
    """

    def __init__(self, path: Path, rate_hz: int, channels: int) -> None:
        self.path = path
        self.frames = 0
        self.is_finished = False
        self._rate_hz = rate_hz
        self._channels = channels
        self._is_open = True

    @property
    def length_s(self) -> float:
        """How much was written."""
        return self.frames / self._rate_hz

    def write(self, samples: NDArray[Any]) -> None:
        """Append sound.

        Args:
            samples: Shape (frames, channels), any number of frames: float of -1..1, or int16 or
                int32 of full range, which FLAC and WAV of that depth keep bit for bit.

        Raises:
            OutputError: The disk is full, its folder is gone, ...
        """
        if samples.ndim != 2 or samples.shape[1] != self._channels:  # noqa: PLR2004 - (frames, channels)
            raise ValueError(f"samples of shape {samples.shape}, not (frames, {self._channels})")
        with as_output_error(self.path):
            # Second by second: what encoders and converters need meanwhile stays small.
            for first in range(0, len(samples), self._rate_hz):
                block = samples[first : first + self._rate_hz]
                self._write(block)
                self.frames += len(block)

    def close(self) -> None:
        """Write the end; idempotent. Whether the disk has it yet is for ``output.keep`` to ask.

        Raises:
            OutputError: It could not be written.
        """
        if not self._is_open:
            return
        self._is_open = False
        with as_output_error(self.path):
            self._finish()
        self.is_finished = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        elif self._is_open:
            self._is_open = False
            self._abandon()

    @abstractmethod
    def _write(self, samples: NDArray[Any]) -> None:
        """Append at most a second."""

    @abstractmethod
    def _finish(self) -> None:
        """Write what is held back, and the end."""

    @abstractmethod
    def _abandon(self) -> None:
        """Let go of the file; nothing more can be hoped for, so that no error is raised."""


class _LibraryWriter(SoundWriter):
    """WAV, FLAC and Ogg Vorbis."""

    def __init__(
        self,
        path: Path,
        kind: tuple[str, str],
        *,
        rate_hz: int,
        channels: int,
        tags: Mapping[str, str],
        compression: float | None,
        layout: str | None,
        cover: bytes | None,
    ) -> None:
        super().__init__(path, rate_hz, channels)
        self._cover = cover
        self._convert = _CONVERTERS[kind[1]]
        with as_output_error(path):
            self._file = SoundLibraryFile(
                path,
                *kind,
                rate_hz=rate_hz,
                channels=channels,
                tags=tags,
                compression=compression,
                layout=layout,
            )

    def _write(self, samples: NDArray[Any]) -> None:
        self._file.write(self._convert(samples))

    def _finish(self) -> None:
        self._file.close()
        if self._cover is not None:
            put_in_flac(self.path, self._cover)

    def _abandon(self) -> None:
        with contextlib.suppress(OSError, av.FFmpegError):
            self._file.close()


@dataclass(frozen=True, slots=True)
class _Recipe:
    """All that an encoder and its muxer are told."""

    codec: str
    container: str
    rate_hz: int
    channels: int
    bits_per_s: int
    """0 where the options say how good it is to be."""
    codec_options: Mapping[str, str]
    container_options: Mapping[str, str]
    merged_packets: int = 1
    """How many Opus packets become one."""


def _recipe(kind: SoundFormat, quality: str, rate_hz: int, channels: int) -> _Recipe:
    mono, stereo = kind.bits_per_s[quality]
    bits_per_s = mono if channels == 1 else stereo * channels // 2
    options: dict[str, str] = {}
    if kind.name == "opus" and quality == "low" and channels == 1:
        # Opus' speech mode filters the lowest notes out and favours what makes words clear. What
        # plays may be music: it is for where the bits are few and nobody expects music.
        options = {"application": "voip"}
    elif kind.name == "mp3":
        options = {"flags": "+qscale", "global_quality": str(_LAME_VBR[quality] * _LAMBDA)}
        bits_per_s = 0
    return _Recipe(
        kind.codec,
        kind.container,
        _nearest_rate(rate_hz, kind.rates_hz),
        channels,
        bits_per_s,
        options,
        kind.options,
    )


def _messenger_recipe(messenger: Messenger, number: int) -> _Recipe:
    return _Recipe(
        "libopus",
        "ogg",
        messenger.rate_hz,
        messenger.channels,
        messenger.bits_per_s,
        {"application": "voip", "frame_duration": str(_OPUS_FRAME_MS)},
        PAGES | {"serial_offset": str(number)},
        messenger.frame_ms // _OPUS_FRAME_MS,
    )


def _nearest_rate(rate_hz: int, rates_hz: tuple[int, ...]) -> int:
    """The lowest rate that loses nothing of this one, or the highest there is."""
    return next((rate for rate in rates_hz if rate >= rate_hz), rates_hz[-1])


class _PacketWriter(SoundWriter):
    """Everything that PyAV writes."""

    def __init__(
        self,
        path: Path,
        recipe: _Recipe,
        *,
        rate_hz: int,
        channels: int,
        tags: Mapping[str, str],
        cover: bytes | None = None,
    ) -> None:
        super().__init__(path, rate_hz, channels)
        if recipe.codec not in av.codecs_available:
            raise EncoderUnavailableError(
                f"no encoder named {recipe.codec} here",
                hint=Advice.OTHER_FORMAT.with_(format="flac"),
            )
        self._is_mixed_down = recipe.channels < channels
        self._aligner = Aligner(rate_hz)
        self._layout = usual_layout(recipe.channels)
        self._time_base = Fraction(1, rate_hz)
        self._merged_packets = recipe.merged_packets
        self._waiting: list[Packet[Any]] = []
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

    def _mux(self, packets: Iterable[Packet[Any]]) -> None:
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


_FRAME_CODE = 0b11
"""The bits of an Opus packet's first byte that tell how many frames follow; 3: any number."""
_VARIABLE = 0x80
"""In the second byte: each frame has a length of its own."""
_LONG_LENGTH = 252
"""From here on a length takes two bytes, RFC 6716 section 3.2.1."""


def _opus_length(length_bytes: int) -> bytes:
    if length_bytes < _LONG_LENGTH:
        return bytes([length_bytes])
    first = _LONG_LENGTH + (length_bytes - _LONG_LENGTH) % 4
    return bytes([first, (length_bytes - first) // 4])

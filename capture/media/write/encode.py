"""Encoders: which one is used, with what settings, after a proof that it opens.

The settings serve a recorder: no picture is held back (what an encoder holds is lost with a crash),
no B-frames (a fragmented MP4 with them is 12-27 ms out of step, ``docs/decisions.md``), and key
pictures come when the session asks, by time: a still screen gives two pictures a second, and an
interval counted in pictures would stretch to minutes. x264 quantizes all pictures from one key
picture to the next alike, as ``quantizer`` decides.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.video.frame import PictureType
from numpy.typing import NDArray

from capture.errors import EncoderUnavailableError
from capture.hints import Advice
from capture.media.packets import Packet, StreamHeader
from capture.media.write.quantizer import Quantizer
from capture.units import NS_PER_S

PICTURE_TIME_BASE = Fraction(1, 90_000)
"""The clock of MPEG; a variable frame rate keeps every grab time to 11 us."""

MAX_THREADS = 4
"""More slices than this cost quality and bring little on a desktop picture."""
PX_PER_S_AND_THREAD = 1920 * 1080 * 30
"""What one thread does at the ultrafast preset in a quarter of its time: a second one would only
add wake-ups and slices."""

HARDWARE_ENCODERS = (
    "h264_nvenc",
    "h264_qsv",
    "h264_videotoolbox",
    "h264_amf",
    "h264_mf",
    "h264_v4l2m2m",
)
"""In the order in which ``auto`` tries them; not every player has hevc and av1."""

_X264 = {
    "low": {"preset": "ultrafast"},
    "medium": {"preset": "ultrafast"},
    "high": {"preset": "veryfast", "crf": "18"},
    "lossless": {"preset": "ultrafast", "qp": "0"},
}
_X264_FINEST_QP = {"low": 25, "medium": 18}
"""About as good as CRF 30 and CRF 23 by SSIM, on desktops and films (``docs/benchmark.md``)."""
_VPX_LIVE = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1"}
_VPX_LOSSY = _VPX_LIVE | {"b": "0", "lag-in-frames": "0", "auto-alt-ref": "0"}
_VPX = {
    "low": _VPX_LOSSY | {"crf": "42"},
    "medium": _VPX_LOSSY | {"crf": "33"},
    "high": _VPX_LOSSY | {"crf": "24"},
    "lossless": _VPX_LIVE | {"lossless": "1"},
}
_HARDWARE_BITS_PER_PIXEL = {"low": 0.03, "medium": 0.07, "high": 0.15}
"""Constant-quality switches differ per vendor; a bit rate is understood by all of them."""

_SAMPLE_FORMATS = {"aac": "fltp", "libopus": "flt", "flac": "s16", "pcm_s16le": "s16"}
_BITS_PER_S = {
    "aac": {"low": 96_000, "medium": 160_000, "high": 256_000, "lossless": 320_000},
    "libopus": {"low": 64_000, "medium": 128_000, "high": 192_000, "lossless": 256_000},
}
_AAC = {"aac_coder": "fast", "aac_ms": "0", "flags": "+qscale"}
"""A quarter of the time of FFmpeg's default, and truer at these bit rates (``docs/decisions.md``):
the search for a given bit rate encodes a pure sound, or silence, over and over."""
_AAC_QUALITY = {"low": 1.1, "medium": 1.5, "high": 2.0, "lossless": 4.0}
"""So chosen that dense sound takes about the bits a second above; a voice with pauses fewer."""
_QUALITY_UNITS = 118
"""FFmpeg's FF_QP2LAMBDA."""
MAX_PCM_FRAMES = 4800
"""Of a packet without compression: what is encoded at a time, 0.1 s, fits into one."""


def pcm16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """16-bit integers of float samples in -1..1; what lies outside is clipped.

    The factor is 32768, as sound servers use it: sound that was 16-bit comes back bit for bit.
    """
    scaled: NDArray[np.float32] = np.rint(samples * np.float32(32768))
    return np.clip(scaled, -32768, 32767, out=scaled).astype(np.int16)


def list_video_encoders() -> tuple[str, ...]:
    """Names of the video encoders of this build, software first; some may not open."""
    known = ("libx264", "libx264rgb", "libvpx-vp9", *HARDWARE_ENCODERS)
    return tuple(name for name in known if name in av.codecs_available)


def choose_video_encoder(wanted: str, size_px: tuple[int, int], fps: float) -> tuple[str, str]:
    """The encoder to use and the reason, after it was opened as a test.

    Args:
        wanted: An encoder's name, or ``auto`` for hardware where it works.
        size_px: Even width and height of the pictures.
        fps: Pictures per second at most.

    Raises:
        EncoderUnavailableError: It is unknown, or does not open on this machine.
    """
    if wanted != "auto":
        if wanted not in av.codecs_available:
            raise EncoderUnavailableError(
                f"there is no encoder {wanted!r}",
                hint=f"there is: {', '.join(list_video_encoders())}, auto",
            )
        problem = _problem_of(wanted, size_px, fps)
        if problem is not None:
            raise EncoderUnavailableError(
                f"the encoder {wanted} does not open on this machine",
                hint=Advice.OTHER_ENCODER.with_(),
                details={"reason": problem},
            )
        return wanted, "as asked"
    reasons = []
    for name in HARDWARE_ENCODERS:
        if name in av.codecs_available:
            problem = _problem_of(name, size_px, fps)
            if problem is None:
                return name, "the hardware encoder opened"
            reasons.append(f"{name}: {problem}")
    return "libx264", "no hardware encoder opens here" + "".join(f"; {r}" for r in reasons)


def _problem_of(name: str, size_px: tuple[int, int], fps: float) -> str | None:
    """The reason why an encoder cannot encode a grey picture; ``None`` if it can."""
    try:
        context: Any = av.CodecContext.create(name, "w")
        context.width, context.height = size_px
        context.pix_fmt = "bgr0" if name == "libx264rgb" else "yuv420p"
        context.time_base = PICTURE_TIME_BASE
        context.framerate = Fraction(fps).limit_denominator(1001)
        frame = av.VideoFrame(*size_px, context.pix_fmt)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts, frame.time_base = 0, PICTURE_TIME_BASE
        context.open()
        context.encode(frame)
        context.encode(None)
    except (av.FFmpegError, ValueError) as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True)
class _VideoSettings:
    options: dict[str, str]
    bit_rate: int = 0
    threads: int = MAX_THREADS
    finest_qp: int | None = None
    """Quantizer of a desktop, where it is chosen here; ``None``: the encoder's own control."""


def _video_settings(
    name: str, quality: str, size_px: tuple[int, int], fps: float
) -> _VideoSettings:
    if name in {"libx264", "libx264rgb"}:
        # Stitchable: the same header whatever the quantizer, as a file has but one.
        params = "keyint=infinite:scenecut=0:bframes=0:stitchable=1"
        common = {"tune": "zerolatency", "forced-idr": "1", "x264-params": params}
        finest_qp = _X264_FINEST_QP.get(quality)
        threads = MAX_THREADS
        if finest_qp is not None:
            threads = min(MAX_THREADS, math.ceil(prod(size_px) * fps / PX_PER_S_AND_THREAD))
        return _VideoSettings(_X264[quality] | common, threads=threads, finest_qp=finest_qp)
    if name.startswith("libvpx"):
        return _VideoSettings(_VPX[quality])
    if quality == "lossless":
        raise EncoderUnavailableError(
            f"{name} cannot record losslessly", hint=Advice.LOSSLESS_ENCODER.with_()
        )
    width, height = size_px
    return _VideoSettings({}, int(width * height * fps * _HARDWARE_BITS_PER_PIXEL[quality]))


def _open(
    name: str, rate: Any, title: str, set_up: Callable[[Any], None]
) -> tuple[Any, StreamHeader]:
    """A codec context that is open, and the header of its stream.

    Only a muxer gives an encoder's parameters, so the first one is opened in one that writes
    nothing.
    """
    try:
        scratch: Any = av.open("", "w", format="null")
        stream: Any = scratch.add_stream(name, rate=rate)
        set_up(stream.codec_context)
        scratch.start_encoding()
        header = StreamHeader.of(stream, title)
        context = stream.codec_context
        scratch.close()
    except (av.FFmpegError, ValueError) as error:
        raise EncoderUnavailableError(
            f"the encoder {name} does not open on this machine",
            hint="choose another encoder or format",
            details={"reason": str(error)},
        ) from error
    return context, header


class VideoEncoder:
    """Encodes pictures to packets; used from one thread.

    Args:
        track: Number of its stream.
        name: Encoder as FFmpeg calls it.
        quality: low, medium, high or lossless.
        fps: Pictures per second at most.
        like: A picture of the size, pixel format and colour tags that all will have.

    Raises:
        EncoderUnavailableError: It does not open here.
    """

    def __init__(
        self, track: int, *, name: str, quality: str, fps: float, like: av.VideoFrame
    ) -> None:
        self._settings = _video_settings(name, quality, (like.width, like.height), fps)
        self._rate = Fraction(fps).limit_denominator(1001)
        self._like = like
        self._track = track
        self._duration = round(1 / fps / PICTURE_TIME_BASE)
        self._last_pts = -1
        self._held_pictures = 0
        self._quantizer: Quantizer | None = None
        if self._settings.finest_qp is not None:
            self._quantizer = Quantizer(self._settings.finest_qp, like.width * like.height)
        self.codec = name
        self._context: Any
        self._context, self.header = _open(name, self._rate, "", self._set_up)

    def _set_up(self, context: Any) -> None:
        like = self._like
        context.width, context.height = like.width, like.height
        context.pix_fmt = like.format.name
        context.framerate = self._rate
        context.time_base = PICTURE_TIME_BASE
        context.thread_count = min(self._settings.threads, os.cpu_count() or 1)
        context.bit_rate = self._settings.bit_rate
        context.options = self._settings.options
        context.flags |= Flags.global_header  # every container of pictures here wants it so
        if self._quantizer is not None:
            context.options = context.options | {"qp": str(self._quantizer.qp)}
        for tag in ("color_range", "colorspace", "color_primaries", "color_trc"):
            setattr(context, tag, getattr(like, tag))

    def wants_key(self, at_ns: int) -> bool:
        """Whether the next picture should be a key picture because the content changed."""
        return self._quantizer is not None and self._quantizer.wants_key(at_ns)

    def encode(self, frame: av.VideoFrame, at_ns: int, *, is_key: bool = False) -> list[Packet]:
        """Encode a picture; gives the packets that are ready.

        Args:
            frame: Like the one given to the constructor.
            at_ns: Its media time; moved up to one tick (11 us) where two would fall together.
            is_key: Make it a key picture.
        """
        packets = []
        quantizer = self._quantizer
        if is_key and quantizer is not None and quantizer.renew():
            packets = self.flush()
            self._renew()
        frame.pts = max(round(Fraction(at_ns, NS_PER_S) / PICTURE_TIME_BASE), self._last_pts + 1)
        self._last_pts = frame.pts
        frame.time_base = PICTURE_TIME_BASE
        frame.pict_type = PictureType.I if is_key else PictureType.NONE
        encoded = self._typed(self._context.encode(frame))
        self._held_pictures += 1 - len(encoded)
        if quantizer is not None:
            quantizer.note(sum(len(packet.data) for packet in encoded), at_ns, is_key=is_key)
        return packets + encoded

    def cut(self) -> list[Packet]:
        """End the encoding before another file, which begins with a key picture; gives the rest."""
        if not self._held_pictures:
            return []
        packets = self.flush()
        self._renew()
        return packets

    def flush(self) -> list[Packet]:
        """Give the remaining packets; nothing can be encoded afterwards."""
        self._held_pictures = 0
        return self._typed(self._context.encode(None))

    def _renew(self) -> None:
        """Open a new encoder whose packets fit the stream's header; takes 2 ms."""
        self._context = None  # its 21 MB go before the next one's come
        self._context = av.CodecContext.create(self.codec, "w")
        self._set_up(self._context)
        self._context.open()

    def _typed(self, packets: list[Any]) -> list[Packet]:
        # Without a duration the last picture of the file would last no time at all.
        return [Packet.of(packet, self._track, self._duration) for packet in packets]


class AudioEncoder:
    """Encodes a gapless stream of samples to packets; used from one thread.

    Args:
        track: Number of its stream.
        codec: aac, libopus, flac or pcm_s16le.
        quality: low, medium, high or lossless.
        rate_hz: Sample rate; Opus takes 48000.
        channels: 1 or 2.
        title: The track's name in players.
    """

    def __init__(
        self, track: int, *, codec: str, quality: str, rate_hz: int, channels: int, title: str
    ) -> None:
        self.codec = codec
        self._track = track
        self._quality = quality
        self._rate_hz = rate_hz
        self._layout = "mono" if channels == 1 else "stereo"
        self._format = _SAMPLE_FORMATS[codec]
        self._channels = channels
        self._rest = np.zeros((0, channels), np.float32)
        self._encoded_frames = 0
        self._context: Any
        self._context, self.header = _open(codec, rate_hz, title, self._set_up)

    def _set_up(self, context: Any) -> None:
        codec = self.codec
        context.sample_rate = self._rate_hz
        context.layout = self._layout
        context.format = self._format
        context.flags |= Flags.global_header
        if codec in _BITS_PER_S:
            context.bit_rate = _BITS_PER_S[codec][self._quality] * self._channels // 2
        if codec == "aac":  # its bandwidth still goes by the bit rate
            units = round(_AAC_QUALITY[self._quality] * _QUALITY_UNITS)
            context.options = _AAC | {"global_quality": str(units)}

    def encode(self, samples: NDArray[np.float32]) -> list[Packet]:
        """Encode samples, float32 of shape ``(frames, channels)``; gives the ready packets."""
        self._rest = np.concatenate((self._rest, samples)) if len(self._rest) else samples
        packets: list[Packet] = []
        done = 0
        while left := len(self._rest) - done:
            size = self._context.frame_size or min(left, MAX_PCM_FRAMES)
            if left < size:
                break
            packets += self._encode_frame(self._rest[done : done + size])
            done += size
        self._rest = self._rest[done:]
        return packets

    def cut(self) -> list[Packet]:
        """Give the packets up to the last sample; another file begins with the next one."""
        packets = self.flush()
        self._context = av.CodecContext.create(self.codec, "w")
        self._set_up(self._context)
        self._context.open()
        return packets

    def flush(self) -> list[Packet]:
        """Give the rest, with a short last frame; nothing can be encoded afterwards."""
        packets = self._encode_frame(self._rest) if len(self._rest) else []
        self._rest = self._rest[:0]
        return packets + self._typed(self._context.encode(None))

    def _encode_frame(self, samples: NDArray[np.float32]) -> list[Packet]:
        data: NDArray[Any] = pcm16(samples) if self._format == "s16" else samples
        is_planar = self._format.endswith("p")
        data = np.ascontiguousarray(data.T) if is_planar else data.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(data, format=self._format, layout=self._layout)
        frame.sample_rate = self._rate_hz
        frame.pts, frame.time_base = self._encoded_frames, Fraction(1, self._rate_hz)
        self._encoded_frames += len(samples)
        return self._typed(self._context.encode(frame))

    def _typed(self, packets: list[Any]) -> list[Packet]:
        return [Packet.of(packet, self._track) for packet in packets]

"""The number of samples in a packet of sound, exact where the container has milliseconds."""

import math
from typing import Any

import av

from capture.media.read.tracks import codec_of, tick_s, trims

_OPUS_RATE_HZ = 48_000
_OPUS_UNIT = 120
_OPUS_MOST = 5760
"""2.5 and 120 ms: the shortest frame, and the longest packet there may be (RFC 6716)."""
_ROUNDED = 1.1
"""Durations in a container may be off by this many of its ticks."""
_MP4_HAS_ENDS = (63,)
"""The libavformat (FFmpeg 9) that heeds where an edit list ends."""
_BYTES_OF_SAMPLE = {"u8": 1, "s16le": 2, "s24le": 3, "s32le": 4, "s64le": 8}
_BYTES_OF_SAMPLE |= {"mulaw": 1, "alaw": 1, "f32le": 4, "f64le": 8}
"""PCM, as it is copied."""


def opus_samples(packet: bytes) -> int:
    """Samples at 48 kHz in an Opus packet, read from its first bytes (RFC 6716, section 3.1)."""
    if not packet:
        return 0
    config = packet[0] >> 3
    if config < 12:  # noqa: PLR2004 - SILK: 10, 20, 40, 60 ms
        frame = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:  # noqa: PLR2004 - both: 10, 20 ms
        frame = (480, 960)[config & 1]
    else:  # CELT: 2.5, 5, 10, 20 ms
        frame = (120, 240, 480, 960)[config & 3]
    code = packet[0] & 3
    if code < 3:  # noqa: PLR2004 - one frame, or two
        return frame * (1, 2, 2)[code]
    return frame * (packet[1] & 63) if len(packet) > 1 else 0


def adts_form(head: bytes) -> int | None:
    """Object type, rate and channels in the header of an AAC packet, as one number.

    Returns:
        ``None``: it has no such header (ISO/IEC 14496-3, table 1.A.5).
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:  # noqa: PLR2004 - the sync word
        return None
    return (head[2] << 8 | head[3]) & 0b1111_1101_1100_0000  # without the private bit


def opus_preskip(head: bytes) -> int:
    """Samples at 48 kHz that a decoder drops at the beginning (RFC 7845, section 5.1)."""
    return int.from_bytes(head[10:12], "little")


def wavpack_samples(packet: bytes) -> int:
    """Samples in a WavPack block, with its whole header or as Matroska keeps it, without 20 bytes.

    Layout: https://www.wavpack.com/WavPack5FileFormat.pdf, section 2.
    """
    at = 20 if packet.startswith(b"wvpk") else 0
    return int.from_bytes(packet[at : at + 4], "little")


def cut_packet(packet: Any, data: bytes) -> Any:
    """A packet with other bytes and the same stamps."""
    other = av.Packet(data)
    other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
    other.time_base = packet.time_base
    return other


def decoded_samples(packet: Any) -> int:
    """Number of samples that a packet decodes to by itself; 0 if it does not."""
    try:
        return sum(frame.samples for frame in packet.decode())
    except av.FFmpegError:
        return 0


class PacketLength:
    """Computes the length of each packet of one track.

    Args:
        stream: The track.
        rate_hz: Of the track.
        taken_as: Codec of the packets when they are read; ``None``: the one that the track has.

    Attributes:
        frame_bytes: Bytes of a sample of all channels of PCM; 0 of other codecs.
        is_end_open: The last packet may be shorter than its duration: Matroska often has the
            usual length.
        may_cut: Whether packets may say by themselves that something is cut off of them.
    """

    def __init__(self, stream: Any, rate_hz: int, taken_as: str | None = None) -> None:
        self._rate_hz = rate_hz
        self._codec = taken_as or codec_of(stream)
        # FFmpeg before 9 does not give it for MP4; a look at every packet takes a tenth of the
        # time.
        is_mp4 = stream.container.format.name.startswith("mov,")
        self.may_cut = not is_mp4 or av.library_versions["libavformat"] >= _MP4_HAS_ENDS
        self._ticks = float(tick_s(stream.time_base) * rate_hz)
        codec = stream.codec_context
        is_vorbis = self._codec == "vorbis"
        self._blocks = _vorbis_blocks(bytes(codec.extradata or b"")) if is_vorbis else ()
        self._choices: tuple[int, ...] = (codec.frame_size,) if codec.frame_size else ()
        self._was_long = False
        has_own = self._blocks or self._codec == "wavpack"
        self._is_open = not (self._choices or has_own) and self._ticks != 1
        """The length of packets has to be learned from the first ones."""
        self._is_lossless = codec.codec.lossless and not self._codec.startswith("pcm_")
        is_matroska = stream.container.format.name.startswith("matroska")
        self.is_end_open = self._is_lossless and is_matroska and not has_own
        width = _BYTES_OF_SAMPLE.get(self._codec.removeprefix("pcm_"), 0)
        self.frame_bytes = width * codec.layout.nb_channels

    def steady(self) -> tuple[int, int, int] | None:
        """The length and duration of packets that need not be read one by one.

        Returns:
            (their samples, least, most duration in ticks); ``None``: each has to be read.
        """
        if len(self._choices) != 1 or self._codec == "opus" or self.frame_bytes or self.is_end_open:
            return None
        (length,) = self._choices
        slack = max(1.0, _ROUNDED * self._ticks)
        least = math.floor((length - slack) / self._ticks) + 1
        return length, max(1, least), math.ceil((length + slack) / self._ticks) - 1

    @property
    def unit(self) -> int:
        """A number of samples that every packet's length is a multiple of."""
        if self._codec == "opus":
            return _OPUS_UNIT * self._rate_hz // _OPUS_RATE_HZ
        if self._blocks:
            short, long = self._blocks
            return math.gcd(short // 2, (short + long) // 4, long // 2)
        return math.gcd(*self._choices) or 1

    @property
    def slack(self) -> int:
        """Samples by which FFmpeg's stamps of Vorbis may be off; 0 for other codecs.

        Inside an Ogg page it adds up what packets hold, but counts a short block after a long one
        as after a short one; where all lies in one page, it counts the first block, too, which
        gives no sound. ``-c copy`` writes such stamps into other containers.
        """
        return max(self._blocks) // 2 if self._blocks else 0

    @property
    def is_exact(self) -> bool:
        """Whether lengths are exact to the sample, not only to the container's tick."""
        known = self._choices or self._blocks or self.frame_bytes
        return bool(known) or self._codec in {"opus", "wavpack"} or self._ticks <= 1

    def whole(self, packet: Any) -> Any:
        """The packet without an incomplete PCM frame at its end."""
        over = packet.size % self.frame_bytes if self.frame_bytes else 0
        return cut_packet(packet, bytes(packet)[:-over]) if over else packet

    def read(self, packet: Any, *, is_last: bool = False) -> tuple[int, int]:
        """Number of samples that it decodes to, and of those cut off at its end."""
        if is_last and (full := decoded_samples(packet)):
            return full, 0
        cut = trims(packet)[1] if self.may_cut else 0
        if self._codec == "opus":
            full = opus_samples(bytes(packet))
            if full <= _OPUS_MOST:  # or it is damaged
                full = full * self._rate_hz // _OPUS_RATE_HZ
                return full, min(cut, full)
        if self.frame_bytes:
            return packet.size // self.frame_bytes, 0
        if self._codec == "wavpack":
            return wavpack_samples(bytes(packet)), 0
        if self._blocks and packet.size:
            full = self._vorbis(packet)
            return full, min(cut, full)
        return self._by_container(packet, cut)

    @staticmethod
    def duration_ticks(packet: Any) -> int:
        """Duration in the container; below 0 where its end lies before the packet."""
        ticks = int(packet.duration or 0)
        return ticks - (1 << 32) if 1 << 31 <= ticks < 1 << 32 else ticks  # FFmpeg: 32 bits

    def _by_container(self, packet: Any, cut: int) -> tuple[int, int]:
        stated = round(self.duration_ticks(packet) * self._ticks)
        if self._is_open:
            self._learn(packet, stated)
        # Some demuxers take what is cut off out of the duration, others do not.
        for candidate in (stated, stated + cut) if cut else (stated,):
            for length in self._choices:
                if abs(length - candidate) < max(1.0, _ROUNDED * self._ticks):
                    return length, min(cut, length)
        if not stated and len(self._choices) == 1:
            stated = self._choices[0]
        stated = stated or decoded_samples(packet)
        return stated, min(cut, stated)

    def _learn(self, packet: Any, stated: int) -> None:
        """Learn the frame size of DTS, ALAC and others from the first packets.

        FFmpeg does not give it, and milliseconds are rough. The length of a first decoded packet
        counts if it is the container's duration, but for the rounding; or if there is no duration
        and the codec is lossless, where it is never less.
        """
        length = decoded_samples(packet)
        self._is_open = not length  # some decoders give nothing for the first packets
        is_as_stated = stated and abs(length - stated) < max(1.0, _ROUNDED * self._ticks)
        if length and (is_as_stated or (not stated and self._is_lossless)):
            self._choices = (length,)

    def _vorbis(self, packet: Any) -> int:
        """Samples of a Vorbis packet: a quarter of its block and of the one before (4.3.8).

        The durations of containers are no help: FFmpeg gets them wrong where blocks change their
        size, and some cut the last packet short without a sign.
        """
        # The bit after the first is the mode: 0 short, 1 long, with all encoders that are known.
        is_long = bool(memoryview(packet)[0] & 2)
        full = (self._blocks[self._was_long] + self._blocks[is_long]) // 4
        self._was_long = is_long
        return full


def vorbis_setup(extradata: bytes) -> bytes:
    """The headers that a Vorbis decoder needs, without the comments."""
    first, third = extradata.find(b"\x01vorbis"), extradata.find(b"\x05vorbis")
    return extradata[first : first + 30] + extradata[third:] if 0 <= first < third else b""


def _vorbis_blocks(extradata: bytes) -> tuple[int, int] | tuple[()]:
    """Sizes of a short and a long block; empty where the header is missing."""
    at = extradata.find(b"\x01vorbis")  # the identification header, Vorbis I, section 4.2.2
    if at < 0 or at + 28 >= len(extradata):
        return ()
    return 1 << (extradata[at + 28] & 15), 1 << (extradata[at + 28] >> 4)

"""PCM of any kind as the one that a WAV file holds, every value unchanged.

There are some forty kinds: the bytes in another order, unsigned, a channel after the other, packed
for a DVD or a broadcast. FFmpeg decodes them all, and what its decoder gives has a form in WAV.
"""

from typing import Any

import av

from capture.media.read.packet_length import cut_packet
from capture.media.read.tracks import codec_of

_IN_WAVE = {"u8": "u8", "s16": "s16le", "s32": "s32le", "s64": "s64le", "flt": "f32le"}
_IN_WAVE |= {"dbl": "f64le"}
"""FFmpeg's sample format: how it is called as a codec."""
_AS_IS = frozenset({*(f"pcm_{name}" for name in _IN_WAVE.values()), "pcm_s24le"})
_AS_IS |= {"pcm_mulaw", "pcm_alaw"}
_OTHER_NAMES = frozenset({"s302m"})
"""PCM, too: SMPTE 302M, in broadcasts."""


def pcm_in_wave(stream: Any) -> str | None:
    """The PCM codec of a track in a WAV file; ``None`` if the track is no PCM."""
    codec = codec_of(stream)
    if codec in _AS_IS:
        return codec
    form = stream.codec_context.format
    if form is None or not (codec.startswith("pcm_") or codec in _OTHER_NAMES):
        return None
    # All that decodes to 32 bits has 24 of them or less, unless its name has 32.
    if form.packed.name == "s32" and "32" not in codec:
        return "pcm_s24le"
    return f"pcm_{_IN_WAVE[form.packed.name]}"


class PcmConverter:
    """Converts the packets of a PCM track to the PCM of a WAV file.

    Args:
        stream: The track.
        codec: From ``pcm_in_wave``.
    """

    def __init__(self, stream: Any, codec: str) -> None:
        source = stream.codec_context
        encoder: Any = av.CodecContext.create(codec, "w")
        (form,) = encoder.codec.audio_formats
        encoder.sample_rate, encoder.layout, encoder.format = (
            source.sample_rate,
            source.layout,
            form,
        )
        self._encoder = encoder
        self._resampler = av.AudioResampler(form, source.layout, source.sample_rate)

    def __call__(self, packet: Any) -> Any:
        """Convert a packet; its stamps stay.

        Raises:
            av.FFmpegError: It cannot be decoded.
        """
        data = bytearray()
        for frame in packet.decode():
            frame.pts = None
            for packed in self._resampler.resample(frame):
                for turned in self._encoder.encode(packed):
                    data += bytes(turned)
        return cut_packet(packet, bytes(data))

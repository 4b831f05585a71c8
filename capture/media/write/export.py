"""Files of nothing but sound: what a heard message or an extracted track is written as.

Owns ``open_sound``, which picks a writer and its settings; the formats are in
``capture.media.formats``. Every file comes back as long as the sound was and where it was:
encoders' delays are stated in it (pre-skip, edit list, LAME header), which FFmpeg does where every
frame has its time. The exceptions are FFmpeg's own: unlike browsers and Apple's players it plays
the last AAC packet of an ``.m4a`` whole, up to 1023 frames too many, and is off by 256 frames in an
``.ogg`` of a single page (4 kB).

WAV, FLAC and Ogg Vorbis are written through libsndfile (``sndfile``; PyAV comes without libvorbis),
the rest through PyAV (``packet_writer``). The same sound gives the same bytes every time, but for
Ogg Vorbis, to whose streams libsndfile gives random numbers.
"""

from collections.abc import Mapping
from pathlib import Path

from capture.errors import ConfigError
from capture.media.formats import (
    FORMATS,
    MESSENGERS,
    PAGES,
    Messenger,
    SoundFormat,
    check_sound_spec,
)
from capture.media.origin import stream_number
from capture.media.output import as_output_error
from capture.media.write.packet_writer import PacketWriter, Recipe
from capture.media.write.sndfile import LibraryWriter, SoundLibraryFile
from capture.media.write.sound_writer import SoundWriter
from capture.specs.voice import SoundFileSpec

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
    """Open a writer of a sound file; an existing file of that name is replaced.

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
        return PacketWriter(path, recipe, rate_hz=rate_hz, channels=channels, tags={})
    kind = FORMATS[spec.format]
    if channels > kind.max_channels:
        raise ConfigError(
            f"{kind.name} holds {kind.max_channels} channels at most, not {channels}",
            hint="mix it down to mono, or choose flac or wav",
        )
    tags = _fitted(tags, kind.tags)
    if kind.name not in _SUBTYPES:
        recipe = _recipe(kind, spec.quality, rate_hz, channels)
        return PacketWriter(
            path, recipe, rate_hz=rate_hz, channels=channels, tags=tags, cover=cover
        )
    subtype = _SUBTYPES[kind.name].get(sample_format)
    if subtype is None:
        raise ConfigError(
            f"{kind.name} holds no {sample_format} samples",
            hint=f"there is: {', '.join(_SUBTYPES[kind.name])}",
        )
    compression = None if kind.is_lossless else _VORBIS_COMPRESSION[spec.quality]
    with as_output_error(path):
        file = SoundLibraryFile(
            path,
            kind.container,
            subtype,
            rate_hz=rate_hz,
            channels=channels,
            tags=tags,
            compression=compression,
            layout=layout,
        )
    return LibraryWriter(path, file, cover if kind.name == "flac" else None)


def _fitted(tags: Mapping[str, str], places: tuple[str, ...] | None) -> dict[str, str]:
    """The tags that the format has a place for, and the others as lines of the comment."""
    if places is None:
        return dict(tags)
    kept = {name: text for name, text in tags.items() if name in places}
    rest = {name: text for name, text in tags.items() if name not in places}
    if "software" in places and "encoded_by" in rest:
        kept.setdefault("software", rest.pop("encoded_by"))
    lines = [kept.get("comment", ""), *(f"{name}: {text}" for name, text in rest.items())]
    comment = "\n".join(line for line in lines if line)
    return kept | ({"comment": comment} if comment else {})


def _recipe(kind: SoundFormat, quality: str, rate_hz: int, channels: int) -> Recipe:
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
    return Recipe(
        kind.codec,
        kind.container,
        _nearest_rate(rate_hz, kind.rates_hz),
        channels,
        bits_per_s,
        options,
        kind.options,
    )


def _messenger_recipe(messenger: Messenger, number: int) -> Recipe:
    return Recipe(
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
    """The lowest supported rate that loses nothing, or else the highest."""
    return next((rate for rate in rates_hz if rate >= rate_hz), rates_hz[-1])

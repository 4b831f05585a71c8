"""The formats of sound files and what messengers take: tables, and the checks against them.

Loads no codec, so that a command line can be checked before anything heavy is imported. What is
written by them is in ``capture.media.write.export``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from capture.cautions import Caution
from capture.errors import ConfigError
from capture.specs.voice import SoundFileSpec

QUALITIES = ("low", "medium", "high")

_OPUS_RATES_HZ = (8000, 12_000, 16_000, 24_000, 48_000)
_MP3_RATES_HZ = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""MPEG-1 and 2; the lower ones of MPEG-2.5 are a private extension, and FFmpeg computes their
length wrong by some frames."""
_AAC_RATES_HZ = (8000, 11_025, 12_000, *_MP3_RATES_HZ, 64_000, 88_200, 96_000)

_STEADY = {
    # Without it every Ogg stream gets a random number, so that no two runs give the same file.
    "fflags": "+bitexact",
    # Handed to the system at once: what is killed meanwhile plays up to there.
    "flush_packets": "1",
}
PAGES = _STEADY | {"page_duration": "200000"}
"""Ogg, with a page every 200 ms: less than that is lost when the program is killed."""
_FAST_START = _STEADY | {"movflags": "faststart"}
"""The index in front, for playing while it loads; until it is closed, the file has none at all."""

_MP4_TAGS = (
    *("title", "artist", "album", "album_artist", "date", "genre", "copyright", "comment"),
    *("composer", "description", "grouping", "lyrics"),
)
"""What FFmpeg writes as iTunes tags. It could write any key as ``mdta`` instead, but then players
that look for the title find none: it writes one kind or the other."""

LIBRARY_TAGS = ("title", "artist", "album", "date", "genre", "copyright", "software", "comment")
"""The tags that libsndfile has a place for."""


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """A sound format: its container, encoder, options and limits."""

    name: str
    suffix: str
    codec: str
    """FFmpeg's encoder; ``pcm``, ``flac`` and ``vorbis`` are libsndfile's."""
    container: str
    """FFmpeg's muxer, or libsndfile's format."""
    bits_per_s: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """For each quality: mono, stereo; about, where the codec varies it. Empty if lossless."""
    rates_hz: tuple[int, ...] = ()
    """Sample rates that it takes, rising; empty: all."""
    max_channels: int = 8
    tags: tuple[str, ...] | None = None
    """The tags that it has a place for; ``None``: all. What has none goes into the comment."""
    options: Mapping[str, str] = field(default_factory=dict)
    """The muxer's."""

    @property
    def is_lossless(self) -> bool:
        """Whether it decodes to exactly the samples that were written."""
        return not self.bits_per_s


def _bits(low: tuple[int, int], medium: tuple[int, int], high: tuple[int, int]) -> Any:
    return MappingProxyType(dict(zip(QUALITIES, (low, medium, high), strict=True)))


FORMATS: Mapping[str, SoundFormat] = MappingProxyType(
    {
        row.name: row
        for row in (
            SoundFormat(
                *("opus", ".opus", "libopus", "ogg"),
                bits_per_s=_bits((24_000, 40_000), (48_000, 80_000), (96_000, 160_000)),
                rates_hz=_OPUS_RATES_HZ,
                options=PAGES,
            ),
            SoundFormat(
                *("m4a", ".m4a", "aac", "ipod"),
                bits_per_s=_bits((64_000, 96_000), (96_000, 160_000), (128_000, 256_000)),
                rates_hz=_AAC_RATES_HZ,
                tags=_MP4_TAGS,
                options=_FAST_START,
            ),
            SoundFormat(
                *("mp3", ".mp3", "libmp3lame", "mp3"),
                bits_per_s=_bits((65_000, 110_000), (90_000, 150_000), (110_000, 190_000)),
                rates_hz=_MP3_RATES_HZ,
                max_channels=2,
                options=_STEADY,
            ),
            SoundFormat(*("flac", ".flac", "flac", "FLAC"), tags=LIBRARY_TAGS),
            SoundFormat(*("wav", ".wav", "pcm", "WAV"), max_channels=1024, tags=LIBRARY_TAGS),
            SoundFormat(
                *("ogg", ".ogg", "vorbis", "OGG"),
                bits_per_s=_bits((48_000, 96_000), (64_000, 128_000), (112_000, 224_000)),
                tags=LIBRARY_TAGS,
            ),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Messenger:
    """The voice notes of a messenger: Ogg/Opus, tuned for speech, without tags."""

    name: str
    suffix: str
    rate_hz: int
    """Rate of the encoder, and in the header; Opus always plays at 48 kHz."""
    channels: int
    bits_per_s: int
    frame_ms: int
    """Length of a packet."""
    max_bytes: int
    """Size of the largest file that it takes."""
    note: str
    """What can be had and what can't, for people."""
    inline_bytes: int | None = None
    """A larger one can't be played in place; ``None``: no such limit is known."""


MESSENGERS: Mapping[str, Messenger] = MappingProxyType(
    {
        row.name: row
        for row in (
            # As its own: packets of three 20 ms SILK wideband frames ("code 3"), OpusHead 16000.
            # Figures: Meta's Cloud API, "Audio messages"; its MB and KB are taken for decimal.
            Messenger(
                *("whatsapp", ".ogg", 16_000, 1, 20_000, 60, 16_000_000),
                inline_bytes=512_000,
                note=(
                    "Sound as WhatsApp records it: Opus, mono, 16 kHz, packets of 60 ms. That it "
                    "is shown as a voice message, its waveform and who sent it belong to the "
                    "message, not to the file: attached by hand it is sent as an audio file. "
                    "The file names another program as its maker than WhatsApp's own do."
                ),
            ),
            # As Telegram Desktop records; 50 MB is what the Bot API's sendVoice takes.
            Messenger(
                *("telegram", ".ogg", 48_000, 1, 32_000, 20, 50_000_000),
                note=(
                    "Sound as Telegram Desktop records it: Opus, mono, 48 kHz, 32 kbit/s. A bot "
                    "sends it as a voice message (sendVoice); attached by hand it is sent as a "
                    "music file. The waveform belongs to the message, not to the file."
                ),
            ),
        )
    }
)


def check_sound_spec(spec: SoundFileSpec) -> None:
    """Refuse a spec of a sound file whose format, quality or messenger is unknown.

    Raises:
        ConfigError: The format, the quality or the messenger is unknown.
    """
    for what, wanted, known in (
        ("format", spec.format, tuple(FORMATS)),
        ("quality", spec.quality, QUALITIES),
        ("messenger", spec.messenger, (None, *MESSENGERS)),
    ):
        if wanted not in known:
            names = ", ".join(name for name in known if name is not None)
            raise ConfigError(f"there is no {what} {wanted!r}", hint=f"there is: {names}")


def suffix_of(spec: SoundFileSpec) -> str:
    """File name ending of a spec, with the dot."""
    if spec.messenger is not None:
        return MESSENGERS[spec.messenger].suffix
    return FORMATS[spec.format].suffix


def size_warning(path: Path, spec: SoundFileSpec) -> str | None:
    """A warning where a file is too large for its messenger; ``None`` if it is not."""
    if spec.messenger is None:
        return None
    messenger = MESSENGERS[spec.messenger]
    size_bytes = path.stat().st_size
    if size_bytes > messenger.max_bytes:
        return Caution.TOO_LARGE_TO_SEND.with_(
            name=path.name,
            size_mb=size_bytes / 1e6,
            messenger=messenger.name,
            most_mb=messenger.max_bytes / 1e6,
        )
    if messenger.inline_bytes is not None and size_bytes > messenger.inline_bytes:
        return Caution.SHOWN_AS_DOWNLOAD.with_(
            name=path.name,
            size_kb=size_bytes / 1e3,
            messenger=messenger.name,
            most_kb=messenger.inline_bytes / 1e3,
        )
    return None

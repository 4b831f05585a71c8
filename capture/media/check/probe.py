"""Reads what a media file holds from its headers; ``capture probe``.

Nothing is decoded, and no file is read through, unless loudness is asked for. ``verify`` measures
what a recording really holds.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from capture.errors import DamagedFileError
from capture.media.certificate import without_padding
from capture.media.read.input import open_media
from capture.media.read.loudness import Loudness, LoudnessMeter
from capture.media.read.sound_reader import SoundReader
from capture.media.read.tracks import (
    Chapter,
    codec_of,
    file_zero_s,
    is_sound,
    open_sound_file,
    read_chapters,
    sound_tracks,
    tick_s,
    track_duration_s,
    track_language,
    track_title,
)

__all__ = ["Probe", "ProbedTrack", "probe"]

TIME_BASE_HZ = 1_000_000
"""FFmpeg's unit of a container's times."""


@dataclass(frozen=True, slots=True)
class ProbedTrack:
    """One track as the file describes it; ``None`` where the file has no value."""

    kind: str
    """video, audio, subtitle, data or attachment."""
    number: int
    """From 1 among the tracks of its kind."""
    codec: str
    profile: str | None = None
    title: str | None = None
    language: str | None = None
    start_s: float | None = None
    """Start on the clock that a player shows."""
    duration_s: float | None = None
    bit_rate: int | None = None
    """In bits per second."""
    packets: int | None = None
    rate_hz: int | None = None
    """Sample rate of sound, in Hz."""
    channels: int | None = None
    layout: str | None = None
    """``None`` also where the file has a number of channels, but no layout."""
    sample_format: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    fps: float | None = None
    loudness: Loudness | None = None
    """Sound, where it was asked for: measured over the whole track."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A file as its headers describe it: container, length, tags, chapters and tracks."""

    path: Path
    container: str
    """FFmpeg's name of the format; several where they are one family."""
    duration_s: float | None
    bit_rate: int | None
    """In bits per second, all tracks together."""
    size_bytes: int
    tracks: tuple[ProbedTrack, ...]
    chapters: tuple[Chapter, ...]
    tags: Mapping[str, str]

    @property
    def sound_tracks(self) -> tuple[ProbedTrack, ...]:
        """The tracks that ``capture extract`` can take."""
        return tuple(track for track in self.tracks if track.kind == "audio")


def probe(path: str | os.PathLike[str], *, with_loudness: bool = False) -> Probe:
    """Read a file's headers, and on request the loudness of its sound.

    Args:
        path: Any media file, also one without sound.
        with_loudness: Decode every sound track and measure it; takes about as long as extracting.

    Raises:
        DamagedFileError: It cannot be read, or is no media file.
    """
    path = Path(path)
    with open_media(path) as container:
        if container.format.name == "tty":  # FFmpeg takes a text for a film
            raise DamagedFileError(
                f"{path} is a text", hint="name a film or a sound file; its ending does not count"
            )
        numbers: dict[str, int] = {}
        tracks = []
        for stream in container.streams:
            numbers[stream.type] = numbers.get(stream.type, 0) + 1
            tracks.append(_track(container, stream, numbers[stream.type]))
        found = Probe(
            path=path,
            container=str(container.format.name),
            duration_s=container.duration / TIME_BASE_HZ if container.duration else None,
            bit_rate=container.bit_rate or None,
            size_bytes=path.stat().st_size,
            tracks=tuple(tracks),
            chapters=read_chapters(container),
            tags=_tags(container),
        )
    if not with_loudness:
        return found
    heard = {track.number: _loudness(path, track.number) for track in found.sound_tracks}
    measured = (
        replace(track, loudness=heard[track.number]) if track.kind == "audio" else track
        for track in found.tracks
    )
    return replace(found, tracks=tuple(measured))


def _tags(container: Any) -> dict[str, str]:
    """The tags of the file; in Ogg those of its only stream."""
    only = container.streams if len(container.streams) == 1 else ()
    found = dict(*(stream.metadata for stream in only if container.format.name == "ogg"))
    found |= container.metadata
    return {key: without_padding(text) for key, text in found.items()}


def _track(container: Any, stream: Any, number: int) -> ProbedTrack:
    tick = tick_s(stream.time_base) if stream.time_base is not None else None
    zero_s = float(file_zero_s(container))
    codec: Any = stream.codec_context if stream.type in {"audio", "video", "subtitle"} else None
    known: dict[str, Any] = {}
    if is_sound(stream):
        known = {
            "rate_hz": codec.sample_rate or None,
            "channels": codec.layout.nb_channels or None,
            "layout": _layout(codec.layout),
            "sample_format": codec.format.name if codec.format is not None else None,
        }
    elif stream.type == "video" and codec is not None:
        rate = stream.average_rate
        known = {
            "width_px": codec.width or None,
            "height_px": codec.height or None,
            "fps": rate.numerator / rate.denominator if rate else None,
        }
    start_s = None
    if tick is not None and stream.start_time is not None:
        start_s = round(stream.start_time * float(tick) - zero_s, 6)
    return ProbedTrack(
        kind=stream.type,
        number=number,
        codec=codec_of(stream) if codec is not None else "unknown",
        profile=str(stream.profile) if codec is not None and stream.profile else None,
        title=track_title(stream),
        language=track_language(stream),
        start_s=start_s,
        duration_s=track_duration_s(stream),
        bit_rate=(codec.bit_rate or None) if codec is not None and known else None,
        packets=stream.frames or None,
        **known,
    )


def _layout(layout: Any) -> str | None:
    name = str(layout.name)
    return None if name.endswith("channels") else name or None


def _loudness(path: Path, number: int) -> Loudness | None:
    """The loudness of a track; ``None`` where it cannot be decoded."""
    with open_sound_file(path) as container:
        stream = sound_tracks(container)[number - 1]
        try:
            reader = SoundReader(container, stream, path, "flt")
        except DamagedFileError:
            return None
        meter = LoudnessMeter(reader.rate_hz, reader.layout)
        for _, samples in reader.blocks():
            meter.push(samples)
        return meter.finish()

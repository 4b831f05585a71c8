"""The sound tracks of an open file: which one is meant, its names and its times.

FFmpeg's times are brought to the clock that a player shows: 0 is where the file begins, also in a
broadcast whose first stamp is at 17 hours. What an encoder puts before the sound (priming) is not
heard and has no time.
"""

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from capture.errors import DamagedFileError, MediaError
from capture.hints import Advice
from capture.media.certificate import without_certificate
from capture.media.origin import without_origin
from capture.media.read.input import open_media
from capture.media.read.mp3_info import stated_length_s
from capture.media.read.stated import HEADED, stated_bytes
from capture.media.read.tag_text import chapters_of

_MUXERS_OWN = {"VideoHandler", "SoundHandler", "Core Media Audio", "Core Media Video"}
"""Titles that muxers write by themselves."""
_QUICK = {"analyzeduration": "0"}
_SPARSE = _QUICK | {"avioflags": "direct"}
_FAR = {"analyzeduration": "600000000", "probesize": "50000000"}
"""Microseconds and bytes: in a broadcast the sound may begin long after the pictures."""
_INDEXED = {".m4a": _QUICK, ".m4b": _QUICK}
_INDEXED |= dict.fromkeys((".mp4", ".m4v", ".mov", ".3gp"), _SPARSE)
"""All about their tracks is in a table; FFmpeg would decode pictures to learn more (5 ms of 6).

Where pictures lie between the sound, FFmpeg would read all of them too, for the sake of its buffer:
1.4 GB for the 30 MB of sound in half an hour of film. Directly, it reads what was asked for.
"""
_STATE_LENGTH = frozenset(
    {
        *("mov", "matroska", "wav", "flac", "w64", "aiff", "caf", "au"),
        *("avi", "flv", "asf", "tta", "wv", "ape", "mp3"),
    }
)
"""Containers whose header states a length; in the rest FFmpeg finds one by itself."""
_HEAD_BYTES = 1 << 16
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_NEAR_S = 0.5
"""FFmpeg takes off an MP3's length what is not heard."""
_TECHNICAL = (
    *("encoder", "major_brand", "minor_version", "compatible_brands", "handler_name", "vendor_id"),
    *("duration", "language", "bps", "number_of_", "_statistics", "creation_time", "timecode"),
    *("tlen", "isft", "capture"),
)
"""Tags about the old file, which would be wrong in the new one, begin with these."""
_LANGUAGES = (
    "ar=ara bg=bul ca=cat cs=ces=cze da=dan de=deu=ger el=ell=gre en=eng es=spa et=est fa=fas=per "
    "fi=fin fr=fra=fre he=heb hi=hin hr=hrv hu=hun hy=hye=arm id=ind is=isl=ice it=ita ja=jpn "
    "ka=kat=geo ko=kor lt=lit lv=lav mk=mkd=mac ms=msa=may nl=nld=dut no=nor nb=nob nn=nno pl=pol "
    "pt=por ro=ron=rum ru=rus sk=slk=slo sl=slv sq=sqi=alb sr=srp sv=swe th=tha tr=tur uk=ukr "
    "ur=urd vi=vie zh=zho=chi cy=cym=wel eu=eus=baq"
)
"""ISO 639-1 = 639-2/T [= 639-2/B]: the same language under its codes; others match as written."""
_SAME = {code: group for group in _LANGUAGES.split() for code in group.split("=")}


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter: start and end in seconds on the clock that a player shows, and its title."""

    start_s: float
    end_s: float
    title: str | None


@contextlib.contextmanager
def open_sound_file(path: Path) -> Iterator[Any]:
    """Open a file with at least one sound track; other streams are skipped when reading.

    Raises:
        DamagedFileError: It cannot be read.
        MediaError: It holds no sound.
    """
    with contextlib.ExitStack() as stack:
        quick = _INDEXED.get(path.suffix.lower())
        container = stack.enter_context(open_media(path, quick))
        for options in ([None] if quick else []) + [_FAR]:
            if all(_is_known(stream) for stream in container.streams.audio):
                break
            container = stack.enter_context(open_media(path, options))
        if container.format.name == "tty":  # FFmpeg takes a text for a film
            raise DamagedFileError(
                f"{path} is a text", hint="name a film or a sound file; its ending does not count"
            )
        if not sound_tracks(container):
            raise MediaError(f"{path} has no sound track", hint=Advice.SHOW_TRACKS.with_())
        for stream in container.streams:
            if stream.type != "audio":
                stream.discard = av.stream.Discard.all
        yield container


def _is_known(stream: Any) -> bool:
    codec = stream.codec_context
    return codec is None or bool(codec.sample_rate and codec.format and codec.layout.nb_channels)


def is_sound(stream: Any) -> bool:
    """Whether a stream is sound of a known codec."""
    return stream.type == "audio" and stream.codec_context is not None


def is_cover(stream: Any) -> bool:
    """Whether a stream is a cover picture, not a film."""
    covers = av.stream.Disposition.attached_pic
    return stream.type == "video" and bool(stream.disposition & covers)


def sound_tracks(container: Any) -> list[Any]:
    """The sound streams in the order of the file; the n-th is number ``n`` for people."""
    return [stream for stream in container.streams.audio if is_sound(stream)]


def pick_tracks(container: Any, wanted: str, path: Path) -> list[tuple[int, Any]]:
    """The wanted tracks, each with its number from 1.

    Args:
        container: From ``open_sound_file``.
        wanted: A number from 1, ``all``, or a language: its two or three letters.
        path: For the message.

    Raises:
        MediaError: There is no such track.
    """
    tracks = list(enumerate(sound_tracks(container), 1))
    word = wanted.strip().lower()
    if word == "all":
        return tracks
    if word.isdecimal():
        found = [track for track in tracks if track[0] == int(word)]
    else:
        code = _SAME.get(word, word)
        found = [
            (number, stream)
            for number, stream in tracks
            if _SAME.get(language := (track_language(stream) or ""), language) == code
        ]
    if not found:
        there = ", ".join(
            f"{number} ({track_language(stream) or 'no language'})" for number, stream in tracks
        )
        what = f"sound track {word}" if word.isdecimal() else f"sound track in {wanted!r}"
        raise MediaError(f"{path} has no {what}", hint=f"it has {there}")
    return found


def track_title(stream: Any) -> str | None:
    """The title that somebody gave the track; empty where a muxer set it by itself."""
    tags = {key.lower(): text for key, text in stream.metadata.items()}
    title = tags.get("title") or tags.get("handler_name") or ""
    return None if title in _MUXERS_OWN else title.strip() or None


def track_language(stream: Any) -> str | None:
    """The language tag in small letters; ``None`` where there is none."""
    tags = {key.lower(): text for key, text in stream.metadata.items()}
    language = str(tags.get("language", "")).strip().lower()
    return language if language not in {"", "und"} else None


def track_duration_s(stream: Any) -> float | None:
    """Length of a track in its headers, in seconds; ``None`` where there is none."""
    if stream.duration and stream.time_base is not None:
        return float(stream.duration * tick_s(stream.time_base))
    return read_clock(
        {key.lower(): text for key, text in stream.metadata.items()}.get("duration", "")
    )


def read_clock(text: str) -> float | None:
    """Seconds of ``00:01:30.500``, as Matroska's tag of a track's length; ``None``: it is none."""
    with contextlib.suppress(ValueError):
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return None


def stated_end_s(container: Any, stream: Any, path: Path) -> float | None:
    """End of a track in the headers, in seconds on the clock that a player shows.

    Args:
        container: Open.
        stream: Of it.
        path: Of the file.

    Returns:
        ``None`` where the file has none, also where FFmpeg gives a length all the same: it
        divides the size by a bit rate, or looks at the last stamp, which is there in any case.
    """
    if not _states_length(container, path):
        return None
    if container.format.name in HEADED:
        size_bytes, bit_rate = stated_bytes(path), stream.codec_context.bit_rate
        if size_bytes == 0:
            return None
        if size_bytes and bit_rate and size_bytes > container.size:
            return float(size_bytes * 8 / bit_rate)
    if length_s := track_duration_s(stream):
        # Matroska's tag is the end of the track, the others are its length.
        start_s = (stream.start_time or 0) * tick_s(stream.time_base) - file_zero_s(container)
        return length_s + (max(0.0, float(start_s)) if stream.duration else 0.0)
    if container.duration and all(one.type in {"audio", "video"} for one in container.streams):
        return float(container.duration / av.time_base)
    return None


def _states_length(container: Any, path: Path) -> bool:
    names = set(container.format.name.split(","))
    if not names & _STATE_LENGTH:
        return False
    if "mp3" in names:
        stated_s = stated_length_s(path)
        return stated_s is not None and abs(stated_s - container.duration / av.time_base) < _NEAR_S
    if names & {"avi", "asf"} and _was_streamed(path):
        return False
    # Of Matroska FFmpeg gives the length of the file; that of a track only where it guesses both.
    return not ("matroska" in names and any(stream.duration for stream in container.streams))


def _was_streamed(path: Path) -> bool:
    """Whether the header of an AVI or ASF file was left unfinished, as in a stream."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[24:28] == b"avih":
        return not head[44:45] or not head[44] & 0x10  # dwFlags: AVIF_HASINDEX
    at = head.find(_ASF_FILE_PROPERTIES) + 88
    return bool(head[at : at + 1]) and bool(head[at] & 1)  # Flags: broadcast


def source_tags(container: Any, stream: Any) -> dict[str, str]:
    """The tags of a file for an extracted track."""
    found = {}
    for tags in (container.metadata, stream.metadata):
        for key, text in tags.items():
            name = key.lower()
            # A certificate is about the old file, an origin about its source.
            kept = without_origin(without_certificate(text)) if name == "comment" else text
            if kept.strip() and not name.startswith(_TECHNICAL):
                found[name] = kept
    title = track_title(stream)
    if title is not None:
        found["title"] = title
    return found


def read_tags(path: Path) -> dict[str, str]:
    """All tags of a sound file, names in small letters, also those that are lines of its comment.

    The opposite of what ``capture.media.write.export`` does where a format has no place for a tag.

    Raises:
        DamagedFileError: It cannot be read.
        MediaError: It holds no sound.
    """
    with open_sound_file(path) as container:
        stream = sound_tracks(container)[0]
        pairs = [*container.metadata.items(), *stream.metadata.items()]
    found = {key.lower(): str(text) for key, text in pairs}
    lines = (line.partition(": ") for line in found.get("comment", "").splitlines())
    return {name: text for name, sign, text in lines if sign} | found


def codec_of(stream: Any) -> str:
    """FFmpeg's name of the format (``opus``), not of what decodes it (``libopus``)."""
    codec = stream.codec_context.codec
    return str(getattr(codec, "canonical_name", None) or codec.name)


def tick_s(time_base: Any) -> Fraction:
    """Seconds per tick of a time base: a Fraction in PyAV 18, an AVRational in 19."""
    return Fraction(time_base.numerator, time_base.denominator)


def file_zero_s(container: Any) -> Fraction:
    """FFmpeg's time, in seconds, of the moment that a player calls 0."""
    return Fraction(container.start_time or 0, av.time_base)


def rate_of(stream: Any, path: Path) -> int:
    """The sample rate of a track in Hz.

    Raises:
        DamagedFileError: FFmpeg found none: nothing of it could be decoded.
    """
    if rate_hz := stream.codec_context.sample_rate:
        return int(rate_hz)
    raise DamagedFileError(
        f"the sound of {path} cannot be decoded",
        hint="it is damaged, encrypted, or of a kind that is not known here",
    )


def read_chapters(container: Any) -> tuple[Chapter, ...]:
    """The chapters in order; those without a length are left out."""
    zero = file_zero_s(container)
    found = []
    for chapter in chapters_of(container):
        tick = tick_s(chapter["time_base"])
        start, end = (float(max(0, chapter[key] * tick - zero)) for key in ("start", "end"))
        title = {key.lower(): text for key, text in chapter["metadata"].items()}.get("title")
        if end > start:
            found.append(Chapter(start, end, title or None))
    return tuple(sorted(found, key=lambda chapter: chapter.start_s))


def trims(packet: Any) -> tuple[int, int]:
    """Samples that a decoder drops at the beginning and at the end of a packet."""
    if not packet.has_sidedata("skip_samples"):
        return 0, 0
    first, last = struct.unpack_from("<II", bytes(packet.get_sidedata("skip_samples")))
    return int(first), int(last)

"""Files that packets are copied to as they are: opened, cut, closed, each in its container's way.

What of the first packets and of the last one is not to be heard goes along in the container's own
way, as far as it has one: an edit list (MP4), a pre-skip (Opus), the first frame (MP3), the length
of the last packet (Ogg).
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av

from capture.media.extract.copy_container import CopyContainer
from capture.media.output import as_output_error
from capture.media.read.cover import add_cover, muxer_of
from capture.media.read.mp3_info import Mp3Info
from capture.media.read.tracks import tick_s
from capture.media.write.flac import write_flac_length
from capture.naming import ffmpeg_name

_PAGE_S = 1.0
"""An Ogg page holds so much sound; FFmpeg's own choice."""


class Placed(NamedTuple):
    """A packet and its position, in samples on the clock that a player shows."""

    packet: Any
    """The packet; it may be changed."""
    at: int
    """Position of its first sample; below 0: not heard."""
    length: int
    skip: int
    """Number of samples that are not heard if this is the first packet of a file."""
    dropped: int
    """Number of these samples that every decoder drops by itself."""
    cut: int
    """Number of samples that are dropped at its end."""


class Steady(NamedTuple):
    """The properties of packets that can be copied in a run, without a look at each."""

    length: int
    """Samples of each packet."""
    shortest: int
    """Least and most of their durations, in ticks."""
    longest: int
    samples_of_tick: float
    earliest: float
    """Least and most of the stamp, in samples, minus the place that is counted."""
    latest: float
    may_cut: bool
    """A packet may have samples to be dropped, which it states itself."""


@dataclass(slots=True)
class PacketFile:
    """One file that packets are copied to, and how far it has come.

    ``start`` and ``end`` are samples on the clock that a player shows; ``None`` is all that there
    is on that side. Afterwards ``begins`` and ``ends`` are the positions of the packets.
    """

    path: Path
    copy_container: CopyContainer
    tags: Mapping[str, str]
    language: str | None = None
    start: int | None = None
    end: int | None = None
    cover: bytes | None = None
    """A picture to be added to the file; ``None``: none."""
    origin: int | None = None
    """The sample at which the new file's time begins; ``None``: where its sound does."""
    begins: int = 0
    ends: int = 0
    unstated: int = 0
    """Number of samples that are heard at its beginning, but not in the source."""
    packets: int = 0
    is_done: bool = False
    _stream: Any = None
    _time_base: Fraction = Fraction(1)
    _zero: int = 0
    """The sample that lies at 0 in the new file."""
    _is_other_tick: bool = True
    """The source counts in another time base."""
    _container: Any = None
    _mp3: Mp3Info | None = None
    _cut: int = 0
    _missing: int = 0

    def take(self, source: Any, placed: Placed) -> None:
        """Write a packet of the track ``source``; one outside the file's range is left out."""
        packet, at, length, skip, _, cut = placed
        ends = at + length
        if self.is_done or (self.start is not None and ends + skip <= self.start):
            return
        if self.end is not None and at >= self.end:
            self.close()
            return
        if self._container is None and skip >= length and not self._states(source, placed):
            return  # a later one will do
        try:
            if self._container is None:
                self._open(source, placed)
            self._write(packet, at, length - cut)
        except (OSError, av.FFmpegError):
            with as_output_error(self.path):
                raise
        if self.packets > 1 and at > self.ends:
            self._missing += at - self.ends
        self._cut = cut
        self.ends = ends - cut

    @property
    def is_plain(self) -> bool:
        """Whether the file is open and takes packets unchanged."""
        return (
            self._container is not None and self.copy_container.turn is None and self._mp3 is None
        )

    def take_run(self, packets: Iterator[Any], at: int, steady: Steady) -> tuple[Any, int]:
        """Write packets that follow each other; each costs a third of ``take``.

        Args:
            packets: Of the track, the first lying at ``at``.
            at: Where all before it ended.
            steady: What they are like.

        Returns:
            The first packet that wants a closer look, which is not written (``None``: no more
            came), and where it should lie.
        """
        length, shortest, longest, samples_of_tick, earliest, latest, may_cut = steady
        stream, time_base, zero = self._stream, self._time_base, self._zero
        is_other_tick = self._is_other_tick
        mux = self._container.mux_one
        last = math.inf if self.end is None else self.end
        begins, packet = at, None
        try:
            for packet in packets:
                stamp = packet.pts
                if (
                    stamp is None
                    or not earliest <= stamp * samples_of_tick - at <= latest
                    or not shortest <= (packet.duration or 0) <= longest
                    or at >= last
                    or packet.is_corrupt
                    or packet.is_discard
                    or (may_cut and packet.has_sidedata("skip_samples"))
                ):
                    break
                packet.stream = stream
                if is_other_tick:
                    packet.time_base = time_base
                packet.pts = packet.dts = at - zero
                packet.duration = length
                mux(packet)
                at += length
            else:
                packet = None
        except (OSError, av.FFmpegError):
            with as_output_error(self.path):
                raise
        if at > begins:
            self.packets += (at - begins) // length
            self._cut, self.ends = 0, at
        return packet, at

    def _open(self, source: Any, first: Placed) -> None:
        copy_container, codec = self.copy_container, source.codec_context
        stated = first.skip - first.dropped
        if not self._states(source, first):
            stated, self.unstated = 0, stated
        self.begins = self.ends = first.at + first.dropped + stated
        if self.origin is None:
            self.origin = self.begins
        self._zero = self.origin
        muxer, options = muxer_of(copy_container.format, self.cover)
        options = options | self._options(source, first.packet)
        self._container = av.open(ffmpeg_name(self.path), "w", format=muxer, options=options)
        self._container.metadata.update(self.tags)
        if copy_container.turn is not None:
            self._stream = self._container.add_stream(
                copy_container.codec, rate=codec.sample_rate, layout=codec.layout.name
            )
        else:
            self._stream = self._container.add_stream_from_template(source)
        self._time_base = Fraction(1, self._stream.codec_context.sample_rate)
        self._is_other_tick = tick_s(source.time_base) != self._time_base
        if self.language:
            self._stream.metadata["language"] = self.language
        if copy_container.codec == "opus":
            self._stream.codec_context.extradata = _with_preskip(bytes(codec.extradata), stated)
            self._zero = first.at + codec.delay  # FFmpeg takes the source's off by itself
        if self.cover is not None:
            add_cover(self._container, self.cover)
        if copy_container.format == "mp3":
            info = Mp3Info(bytes(first.packet), stated)
            if info.is_known:
                self._mp3 = info
                may_cut = source.container.format.name.startswith(("matroska", "mov,"))
                for frame in info.begin(may_cut=may_cut):
                    self._mux(av.Packet(frame), 0, info.frame_samples)

    def _states(self, source: Any, first: Placed) -> bool:
        """Whether the container can hold the samples to skip, if this packet is the first."""
        skip, form = first.skip - first.dropped, self.copy_container.format
        if form == "matroska":  # FFmpeg writes the value of the whole source track
            return bool(skip == source.codec_context.delay)
        if form == "mp3" and skip and not Mp3Info(bytes(first.packet)).is_known:
            return False
        return skip <= self.copy_container.most_skip

    def _options(self, source: Any, first: Any) -> dict[str, str]:
        options = dict(self.copy_container.options)
        if self.copy_container.format == "ipod":  # else its edit list would end at whole ms
            options["movie_timescale"] = str(source.codec_context.sample_rate)
        if self.copy_container.codec == "vorbis":
            options["page_duration"] = str(self._page_us(source, first))
        return options

    def _page_us(self, source: Any, first: Any) -> int:
        """The length of a page of Ogg Vorbis, in microseconds; 0: as long as it can be.

        The first packet gives no sound. Where all lies in one page, FFmpeg takes it for sound (the
        stamps begin with 0, not before) and leaves out as much at the end. So a copy of one page
        has one, and every other has more.
        """
        container, rate_hz = source.container, source.codec_context.sample_rate
        is_whole = self.start is None and self.end is None
        if is_whole and container.format.name == "ogg" and first.pts == 0:
            return 0
        length_s: float = (container.duration or math.inf) / av.time_base
        if self.end is not None:
            length_s = min(length_s, self.end / rate_hz)
        length_s -= (self.start or 0) / rate_hz
        return round(max(0.001, min(_PAGE_S, length_s / 3)) * 1_000_000)

    def _write(self, packet: Any, at: int, length: int) -> None:
        self.packets += 1
        if self._mp3 is not None:
            self._mp3.count(packet.size)
        self._mux(packet, at - self._zero, length)

    def _mux(self, packet: Any, at: int, length: int) -> None:
        packet.stream = self._stream
        packet.time_base = self._time_base
        packet.pts = packet.dts = at
        packet.duration = length
        self._container.mux_one(packet)

    def close(self) -> None:
        """Finish the file; may be called twice."""
        self.is_done = True
        container, self._container = self._container, None
        if container is None:
            return
        with as_output_error(self.path):
            container.close()
            if self._mp3 is not None:
                self._mp3.finish(self.path, self._cut)
            if self.copy_container.format == "flac":
                is_whole = self.start is None and self.end is None and not self._missing
                write_flac_length(
                    self.path, self.ends - self.begins - self._missing, is_whole=is_whole
                )

    def abandon(self) -> None:
        """Close the file in any state; the caller deletes it."""
        self.is_done = True
        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(av.FFmpegError, OSError, ValueError):
                container.close()


def _with_preskip(head: bytes, samples: int) -> bytes:
    """An Opus header that states so many samples of pre-skip (RFC 7845, section 5.1)."""
    return head[:10] + samples.to_bytes(2, "little") + head[12:]

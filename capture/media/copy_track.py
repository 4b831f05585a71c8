"""Sound tracks copied packet by packet into files of their own: nothing is decoded or encoded.

What a decoder drops at both ends (priming, pre-skip, end padding) goes along in the new container's
own way, so that the copy decodes to the very samples of the source. Stamps are counted anew in
samples; where the source has a hole, the copy has one too, if its container knows time at all.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import av

from capture.errors import DamagedFileError
from capture.media.cover import add_cover, muxer_of
from capture.media.mp3_info import Mp3Info
from capture.media.output import as_output_error
from capture.media.packet_length import PacketLength, decoded_samples
from capture.media.sample_clock import SampleClock
from capture.media.tracks import codec_of, file_zero_s, tick_s, trims
from capture.naming import ffmpeg_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from capture.media.holders import Holder

__all__ = ["PacketFile", "TrackCopy", "copy_packets"]

TRIED = 10
"""If none of so many packets at the beginning can be decoded, the track is no sound."""
SEEK_MARGIN_S = 5.0
"""A stretch is looked for from so far before its beginning."""
_DIVISIBLE = ("wav", "w64", "caf", "aiff", "au")
"""Containers whose packets are as many small blocks as go into 4096 bytes."""
_SEEKABLE = ("mov,", "matroska", "wav", "flac", "ogg")
"""Containers whose stamps are right also after a jump; FFmpeg guesses them in the rest."""


class Placed(NamedTuple):
    """A packet and where it lies, in samples on the clock that a player shows."""

    packet: Any
    """May be changed."""
    at: int
    """Below 0 for what is not heard."""
    length: int
    skip: int
    """So many samples are dropped if this is the first packet of a file."""
    cut: int
    """So many samples are dropped at its end."""


class Steady(NamedTuple):
    """What packets are like that only follow each other, so that nothing has to be asked."""

    length: int
    """Samples of each."""
    shortest: int
    """Least and most of their durations, in ticks."""
    longest: int
    samples_of_tick: float
    earliest: float
    """Least and most of the stamp, in samples, minus the place that is counted."""
    latest: float
    may_cut: bool
    """Something may be cut off of one; it says so."""


@dataclass(slots=True)
class PacketFile:
    """One file that packets are copied to, and how far it has come.

    ``start`` and ``end`` are samples on the clock that a player shows; ``None`` is all that there
    is on that side. Afterwards ``begins`` and ``ends`` say where the packets really lie.
    """

    path: Path
    holder: Holder
    tags: Mapping[str, str]
    language: str | None = None
    start: int | None = None
    end: int | None = None
    origin: int | None = None
    """The sample at which the new file's time begins; ``None``: where its sound does."""
    cover: bytes | None = None
    """A picture that goes along."""
    begins: int = 0
    ends: int = 0
    packets: int = 0
    is_done: bool = False
    _stream: Any = None
    _time_base: Fraction = Fraction(1)
    _is_other_tick: bool = True
    """The source counts in another time base."""
    _container: Any = None
    _mp3: Mp3Info | None = None
    _cut: int = 0
    _missing: int = 0

    def take(self, source: Any, placed: Placed) -> None:
        """A packet of the track ``source``; it is left out where it lies outside."""
        packet, at, length, skip, cut = placed
        ends = at + length
        if self.is_done or (self.start is not None and ends + skip <= self.start):
            return
        if self.end is not None and at >= self.end:
            self.close()
            return
        try:
            if self._container is None:
                self._open(source, packet, at + skip, skip)
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
        """Whether it is open and takes packets as they are."""
        return self._container is not None and self.holder.turn is None and self._mp3 is None

    def take_run(self, packets: Iterator[Any], at: int, steady: Steady) -> tuple[Any, int]:
        """Packets that follow on each other, where a packet costs a third of ``take``.

        Args:
            packets: Of the track, the first lying at ``at``.
            at: Where all before it ended.
            steady: What they are like.

        Returns:
            The first packet that wants a closer look, which is not written (``None``: no more
            came), and where it should lie.
        """
        assert self.origin is not None, "is_plain was asked"
        length, shortest, longest, samples_of_tick, earliest, latest, may_cut = steady
        stream, time_base, origin = self._stream, self._time_base, self.origin
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
                    or (may_cut and packet.has_sidedata("skip_samples"))
                ):
                    break
                packet.stream = stream
                if is_other_tick:
                    packet.time_base = time_base
                packet.pts = packet.dts = at - origin
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

    def _open(self, source: Any, packet: Any, begins: int, skip: int) -> None:
        self.begins = self.ends = begins
        if self.origin is None:
            self.origin = begins
        holder = self.holder
        muxer, options = muxer_of(holder.format, self.cover)
        self._container = av.open(
            ffmpeg_name(self.path), "w", format=muxer, options={**holder.options, **options}
        )
        self._container.metadata.update(self.tags)
        if holder.turn is not None:
            rate_hz = source.codec_context.sample_rate
            self._stream = self._container.add_stream(
                holder.codec, rate=rate_hz, layout=source.codec_context.layout.name
            )
        else:
            self._stream = self._container.add_stream_from_template(source)
        self._time_base = Fraction(1, self._stream.codec_context.sample_rate)
        self._is_other_tick = tick_s(source.time_base) != self._time_base
        if self.language:
            self._stream.metadata["language"] = self.language
        if self.cover is not None:
            add_cover(self._container, self.cover)
        if holder.format == "mp3":
            info = Mp3Info(bytes(packet), skip)
            if info.is_known:
                self._mp3 = info
                may_cut = source.container.format.name.startswith("matroska")
                for frame in info.begin(may_cut=may_cut):
                    self._mux(av.Packet(frame), 0, info.frame_samples)

    def _write(self, packet: Any, at: int, length: int) -> None:
        assert self.origin is not None, "set when it was opened"
        self.packets += 1
        if self._mp3 is not None:
            self._mp3.count(packet.size)
        self._mux(packet, at - self.origin, length)

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
            if self.holder.format == "flac":
                is_whole = self.start is None and self.end is None and not self._missing
                _write_flac_length(
                    self.path, self.ends - self.begins - self._missing, is_whole=is_whole
                )

    def abandon(self) -> None:
        """Let go of the file, whatever state it is in; the caller deletes it."""
        self.is_done = True
        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(av.FFmpegError, OSError, ValueError):
                container.close()


class TrackCopy:
    """One track on its way into one or more files.

    Args:
        container: Open.
        stream: Of it.
        files: What its packets go to; a packet at the edge of two goes to both.
    """

    def __init__(self, container: Any, stream: Any, files: Sequence[PacketFile]) -> None:
        codec = stream.codec_context
        self.stream = stream
        self.files = files
        self.broken = 0
        self._is_vorbis = codec_of(stream) == "vorbis"
        self._is_broadcast = container.format.name == "mpegts"
        is_pcm = files[0].holder.codec.startswith("pcm_")
        self._is_divisible = is_pcm or container.format.name in _DIVISIBLE
        self.rate_hz = codec.sample_rate
        self._turn = files[0].holder.turn
        self._length = PacketLength(stream, self.rate_hz, files[0].holder.codec)
        tick, zero = tick_s(stream.time_base), file_zero_s(container)
        self.clock = SampleClock(self.rate_hz, tick, zero, self._length.unit)
        self.skip = self._preskip = codec.delay if codec_of(stream) == "opus" else 0
        self._tried = 0
        self._is_sound = is_pcm
        self._waiting: Any = None
        """A packet, until it is known whether it is the last."""
        self.is_torn = False
        """A packet was cut off in its middle, and what of it is there was taken."""
        self.is_at_end = False
        """It was read as far as it goes, not only as far as was wanted; known when finished."""

    @property
    def is_done(self) -> bool:
        """Whether nothing more is wanted of it."""
        return all(file.is_done for file in self.files)

    def take(self, packet: Any) -> None:
        """The next packet of this track."""
        if self._length.is_end_open:
            packet, self._waiting = self._waiting, packet
        if packet is not None:
            self._take(packet)

    def _take(self, packet: Any, *, is_last: bool = False) -> None:
        packet = self._prepared(packet)
        if packet is None:
            self.broken += 1
            return
        stamp = packet.pts if packet.pts is not None else packet.dts
        length, cut = self._length.read(packet, is_last=is_last)
        clock = self.clock
        if clock.position is None:
            self.skip = trims(packet)[0] or self.skip
            if self._is_vorbis and not self.skip:
                self.skip = length  # Vorbis gives nothing for its first packet
            clock.start(stamp, self.skip)
        clock.advance(stamp, length)
        assert clock.position is not None, "it was started"
        at = clock.position - length
        if not self._is_sound and self._tried < TRIED:
            self._try(packet)
        placed = Placed(packet, at, length, self._skip_at(at, length), cut)
        for file in self.files:
            file.take(self.stream, placed)

    def _prepared(self, packet: Any) -> Any:
        """A packet as it is copied; ``None``: nothing of it can be had."""
        # In a broadcast the mark only says that a packet of the transport was lost nearby.
        if packet.is_corrupt and not self._is_broadcast:  # it was cut off in its middle
            if not self._is_divisible or not decoded_samples(packet):
                return None
            self.is_torn = True
        if self._turn is None:
            return self._length.whole(packet)
        try:
            return self._turn(packet)
        except av.FFmpegError:
            return None

    def take_run(self, packets: Iterator[Any]) -> Any:
        """Packets that only follow on each other, if there are any.

        Returns:
            The first that ``take`` has to look at; ``None``: no more came.
        """
        lengths = self._length.steady()
        at = self.clock.position
        is_tried = self._is_sound or self._tried >= TRIED
        if lengths is None or at is None or not is_tried or self._is_broadcast:
            return next(packets, None)
        (file,) = self.files[:1]
        if len(self.files) > 1 or not file.is_plain:
            return next(packets, None)
        steady = Steady(*lengths, *self.clock.steady(), self._length.may_cut)
        packet, ends = file.take_run(packets, at, steady)
        self.clock.count(ends - at)
        return packet

    def _skip_at(self, at: int, length: int) -> int:
        """How much a decoder drops that begins with this packet."""
        if at < 0:
            return self.skip
        return length if self._is_vorbis else self._preskip

    def _try(self, packet: Any) -> None:
        self._tried += 1
        with contextlib.suppress(av.FFmpegError):
            self._is_sound = bool(packet.decode())

    def finish(self, path: Path) -> None:
        """Close the files.

        Raises:
            DamagedFileError: Nothing of the track was sound.
        """
        if self._waiting is not None:
            self._take(self._waiting, is_last=True)
        if self._tried and not self._is_sound and self._tried > 1:
            raise DamagedFileError(
                f"the sound in {path} cannot be decoded", hint="it is damaged, or encrypted"
            )
        self.is_at_end = not self.is_done
        for file in self.files:
            file.close()


def copy_packets(container: Any, tracks: Sequence[TrackCopy]) -> str | None:
    """Read the container once and give every packet to its track.

    Returns:
        Why it could not be read to its end; ``None``: it was, or as far as was wanted.
    """
    _seek(container, tracks)
    by_index = {track.stream.index: track for track in tracks}
    alone = tracks[0] if len(tracks) == 1 else None
    errors: list[str] = []
    packets = _packets(container, [track.stream for track in tracks], errors)
    while (packet := alone.take_run(packets) if alone else next(packets, None)) is not None:
        if packet.size:
            track = by_index[packet.stream_index]
            track.take(packet)
            if track.is_done and all(track.is_done for track in tracks):
                break
    return errors[0] if errors else None


def _packets(container: Any, streams: Sequence[Any], errors: list[str]) -> Iterator[Any]:
    """All packets that can be read; why there are no more is added to ``errors``."""
    try:
        yield from container.demux(streams)
    except av.FFmpegError as error:
        errors.append(error.strerror or str(error))


def _seek(container: Any, tracks: Sequence[TrackCopy]) -> None:
    starts = [(file.start or 0) / track.rate_hz for track in tracks for file in track.files]
    from_s = min(starts) - SEEK_MARGIN_S
    if from_s > SEEK_MARGIN_S and container.format.name.startswith(_SEEKABLE):
        at = round((file_zero_s(container) + Fraction(from_s)) * av.time_base)
        with contextlib.suppress(av.FFmpegError):
            container.seek(at, backward=True)


def _write_flac_length(path: Path, samples: int, *, is_whole: bool) -> None:
    """Correct STREAMINFO, which is copied from the source (RFC 9639, section 8.2).

    The number of samples is the low 36 bits of bytes 18 to 25; the sum over them follows, and is
    that of the whole source: 0 says that it is not known.
    """
    with path.open("r+b") as file:
        file.seek(18)
        packed = int.from_bytes(file.read(8), "big")
        file.seek(18)
        file.write((packed >> 36 << 36 | samples).to_bytes(8, "big"))
        if not is_whole:
            file.write(bytes(16))

"""Sound tracks copied packet by packet into files of their own: nothing is decoded or encoded.

What a decoder drops at both ends (priming, pre-skip, end padding) goes along in the new container's
own way, so that the copy decodes to the very samples of the source. Stamps are counted anew in
samples; where the source has a hole, the copy has one too, if its container knows time at all.
"""

import contextlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from capture.cautions import Caution
from capture.errors import DamagedFileError, MediaError
from capture.hints import Advice
from capture.media.extract.packet_file import PacketFile, Placed, Steady
from capture.media.read.packet_length import (
    PacketLength,
    adts_form,
    cut_packet,
    decoded_samples,
    opus_preskip,
    vorbis_setup,
)
from capture.media.read.sample_clock import SampleClock
from capture.media.read.tracks import codec_of, file_zero_s, tick_s, trims

TRIED = 10
"""If none of the first so many packets can be decoded, the track is no sound."""
SEEK_MARGIN_S = 5.0
"""A stretch is looked for from so far before its beginning."""
_DIVISIBLE = ("wav", "w64", "caf", "aiff", "au")
"""Containers whose packets are as many small blocks as go into 4096 bytes."""
_ALONE = ("pcm_", "flac", "alac", "wavpack", "tta")
"""Codecs whose packets are decoded alike whatever was decoded before."""
_ADTS = ("aac", "mpegts")
"""Containers in which every packet of AAC states its rate and channels; MP4 has one for all."""
CHANGED_AFTER = 3
"""So many packets of another form in a row are a change; fewer are damage."""
_SEEKABLE = ("mov,", "matroska", "wav", "flac", "ogg")
"""Containers whose stamps are right also after a jump; FFmpeg guesses them in the rest."""


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
        self._setup = vorbis_setup(bytes(codec.extradata or b"")) if self._is_vorbis else b""
        self._is_broadcast = container.format.name == "mpegts"
        self._is_adts = codec_of(stream) == "aac" and container.format.name in _ADTS
        self._form: int | None = None
        self._other_forms = 0
        is_pcm = files[0].copy_container.codec.startswith("pcm_")
        self._is_divisible = is_pcm or container.format.name in _DIVISIBLE
        self.rate_hz = codec.sample_rate
        self._turn = files[0].copy_container.turn
        self._length = PacketLength(stream, self.rate_hz, files[0].copy_container.codec)
        tick, zero = tick_s(stream.time_base), file_zero_s(container)
        unit, slack = self._length.unit, self._length.slack
        self.clock = SampleClock(self.rate_hz, tick, zero, unit, slack)
        self._is_counted = self._length.is_exact
        self._is_ogg = container.format.name == "ogg"
        # It is stated for the whole track: also a copy of a part begins with it.
        if codec_of(stream) == "opus":
            self._preskip = opus_preskip(bytes(codec.extradata or b""))
        else:
            self._preskip = codec.delay if files[0].copy_container.format == "matroska" else 0
        self._heard = 0
        """Position of the first sample that is heard."""
        self._lead: Any = None
        """Of Vorbis: the last packet so far, while an edit list leaves all out."""
        self._is_between = False
        """The last packet was one that an edit list leaves out."""
        self.joins = 0
        """Number of places at which an edit list continues elsewhere in the track."""
        self._tried = 0
        self._is_sound = is_pcm
        self._waiting: Any = None
        """A packet, until it is known whether it is the last."""
        self.is_incomplete = False
        """A packet was cut off in its middle, and what of it is there was taken."""
        self.is_at_end = False
        """The track was read to its end, not only as far as wanted; known when finished."""

    @property
    def is_done(self) -> bool:
        """Whether the track needs no more packets."""
        return all(file.is_done for file in self.files)

    def take(self, packet: Any) -> None:
        """Copy the next packet of the track."""
        if self._length.is_end_open:
            packet, self._waiting = self._waiting, packet
        if packet is not None:
            self._take(packet)

    def _take(self, packet: Any, *, is_last: bool = False) -> None:
        packet = self._prepared(packet)
        if packet is None:
            self.broken += 1
            return
        if packet.is_discard and self.clock.position is None and self._is_vorbis:
            self._lead = packet  # the last one before the sound does: it gives no sound itself
            return
        if self._lead is not None:
            lead, self._lead = self._lead, None
            self._place(lead)
        if (
            packet.is_discard
            and self.clock.position is not None
            and self.clock.position >= self._heard
        ):
            self._is_between = True
            return
        self._place(packet, is_last=is_last)

    def _prepared(self, packet: Any) -> Any:
        """The packet in the form in which it is copied; ``None``: it cannot be used."""
        # In a broadcast the mark only means that a packet of the transport was lost nearby.
        if packet.is_corrupt and not self._is_broadcast:  # it was cut off in its middle
            if not self._is_divisible or not decoded_samples(packet):
                return None
            self.is_incomplete = True
        if self._turn is None:
            return self._length.whole(packet)
        try:
            return self._turn(packet)
        except av.FFmpegError:
            return None

    def _place(self, packet: Any, *, is_last: bool = False) -> None:
        """Compute a packet's position, and give it to the files."""
        self._refuse_change(packet)
        stamp = packet.pts if packet.pts is not None else packet.dts
        clock = self.clock
        length, cut = self._length.read(packet, is_last=is_last)
        if clock.position is None:
            self._heard = self._start(packet, stamp, length)
        elif self._is_between:
            self._is_between = False
            self.joins += 1
            clock.resume(stamp)
        elif not self._is_counted:
            clock.follow(stamp)
        clock.advance(stamp, length)
        assert clock.position is not None, "it was started"
        if cut and stamp is not None and self._is_vorbis and self._is_ogg:
            # FFmpeg's sum of what comes before is wrong; where the last page ends is known.
            ends = clock.place(stamp + self._length.duration_ticks(packet))
            cut = min(max(0, clock.position - ends), length)
        at = clock.position - length
        if not self._is_sound and self._tried < TRIED:
            self._try(packet, is_heard=clock.position > self._heard)
        if length and cut == length:
            return
        early, width = self._heard - at, self._length.frame_bytes
        if width and 0 < early < length:
            packet = cut_packet(packet, bytes(packet)[early * width :])
            at, length = at + early, length - early
        placed = Placed(packet, at, length, *self._skip_at(at, length), cut)
        for file in self.files:
            file.take(self.stream, placed)

    def _refuse_change(self, packet: Any) -> None:
        """Raise at a packet that needs another file header than the first one."""
        if self._setup and packet.has_sidedata("new_extradata"):
            self._refuse_other_setup(bytes(packet.get_sidedata("new_extradata")))
        if self._is_adts:
            self._refuse_other_form(adts_form(bytes(memoryview(packet)[:4])))

    def _refuse_other_setup(self, extradata: bytes) -> None:
        """Raise where joined files have other codec tables: the rest would be noise."""
        if vorbis_setup(extradata) != self._setup:
            raise MediaError(
                f"the Vorbis sound has other codec tables from {self.clock.seconds:.3f} s on, "
                "which a copy cannot hold",
                hint=Advice.COPY_FIRST_PART.with_(),
            )

    def _refuse_other_form(self, form: int | None) -> None:
        """Raise where rate or channels change: players would leave out the rest."""
        self._form = form if self._form is None else self._form
        self._other_forms = self._other_forms + 1 if form not in {None, self._form} else 0
        if self._other_forms == CHANGED_AFTER:
            raise MediaError(
                f"the AAC sound changes its rate or channels at {self.clock.seconds:.1f} s, which "
                "a copy cannot hold",
                hint=Advice.COPY_OR_ENCODE.with_(),
            )

    def _start(self, packet: Any, stamp: int | None, length: int) -> int:
        if self._is_vorbis:
            # Vorbis gives nothing for its first packet; a stamp of 0 does not heed that.
            return self.clock.start(stamp, length, is_at_zero=not stamp)
        return self.clock.start(stamp, trims(packet)[0] or self._preskip)

    def take_run(self, packets: Iterator[Any]) -> Any:
        """Copy packets that directly follow each other.

        Returns:
            The first that ``take`` has to look at; ``None``: no more came.
        """
        lengths = self._length.steady()
        at = self.clock.position
        is_tried = self._is_sound or self._tried >= TRIED
        is_plain = is_tried and not (self._is_between or self._is_broadcast or self._is_adts)
        if lengths is None or at is None or not is_plain:
            return next(packets, None)
        (file,) = self.files[:1]
        if len(self.files) > 1 or not file.is_plain:
            return next(packets, None)
        steady = Steady(*lengths, *self.clock.steady(), self._length.may_cut)
        packet, ends = file.take_run(packets, at, steady)
        self.clock.count(ends - at)
        return packet

    def _skip_at(self, at: int, length: int) -> tuple[int, int]:
        """Samples that are not heard of a file that begins with this packet.

        Returns:
            (samples, how many of them every decoder drops by itself).
        """
        dropped = length if self._is_vorbis else 0
        return self._heard - at if at < self._heard else dropped or self._preskip, dropped

    def _try(self, packet: Any, *, is_heard: bool) -> None:
        self._tried += is_heard
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

    def notes(self, number: int) -> Sequence[str]:
        """One sentence for each difference between the copy and its source, track ``number``."""
        notes, file = [], self.files[0]
        suffix = file.copy_container.suffix
        if self.clock.holes and not file.copy_container.has_time:
            notes.append(Caution.NO_TIMESTAMPS.with_(suffix=suffix))
        if self.joins and not codec_of(self.stream).startswith(_ALONE):
            places = "one place" if self.joins == 1 else f"{self.joins} places"
            notes.append(Caution.CUT_BY_EDIT_LIST.with_(track=number, places=places))
        if file.unstated:
            notes.append(Caution.START_UNMARKED.with_(suffix=suffix, samples=file.unstated))
        return notes


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

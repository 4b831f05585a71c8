"""Lanes: encode pictures and sound, and put the packets into the right file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capture.recording.segments import Segment, Segments, Written
from capture.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from av import VideoFrame
    from numpy.typing import NDArray

    from capture.media.packets import Packet
    from capture.media.write.encode import VideoEncoder


class PictureLane:
    """Encodes pictures into the right file; used by the picture-encoding thread.

    Args:
        segments: The files.
        encoder: Makes packets of the pictures.
        fps: The grid's pictures per second.
        is_cfr: Fill every slot of the grid by repeating pictures.
        end_ns: Media time at which the recording will end, where that is known.
        on_free: Called with a frame that is not looked at any more.
    """

    def __init__(
        self,
        segments: Segments,
        encoder: VideoEncoder,
        fps: float,
        *,
        is_cfr: bool,
        end_ns: int | None = None,
        on_free: Callable[[VideoFrame], None] = lambda _frame: None,
    ) -> None:
        self._segments = segments
        self._encoder = encoder
        self._on_free = on_free
        self._slot_ns = NS_PER_S / fps
        self._is_cfr = is_cfr
        self._end_ns = end_ns
        self._index = -1
        self._segment: Segment | None = None
        self._last: VideoFrame | None = None
        self._last_ns = 0
        self._last_slot = -1
        self._key_ns = 0

    def put(self, frame: VideoFrame | None, media_ns: int, *, is_key: bool = False) -> None:
        """Encode a picture; ``None`` repeats the one before."""
        self._enter(self._segments.index_at(media_ns))
        if not self._is_cfr:
            self._take(frame)
            self._encode(media_ns, is_key=is_key)
            return
        slot = self._slot_at(media_ns)
        if (ends := self._file_end_ns()) is not None:
            # What was grabbed late in the last slot is nearer to one that the file does not have.
            slot = min(slot, self._slot_at(ends) - 1)
        self._fill(slot)
        self._take(frame)
        if slot > self._last_slot:
            self._encode(self._at_slot(slot), is_key=is_key)
            self._last_slot = slot

    def end(self, media_ns: int) -> None:
        """End at ``media_ns``, with the last picture shown for its whole slot."""
        self._enter(self._segments.index_at(max(media_ns - 1, 0)))
        self._leave(media_ns, self._encoder.flush)

    def _take(self, frame: VideoFrame | None) -> None:
        if frame is not None:
            if self._last is not None:
                self._on_free(self._last)
            self._last = frame

    def _enter(self, index: int) -> None:
        while self._index < index:
            if self._segment is not None:
                self._leave(self._segments.start_of(self._index + 1), self._encoder.cut)
                self._index += 1
            else:
                self._index = index
            self._segment = self._segments.segment(self._index)
            self._last_slot = -1
            self._key_ns = -self._segments.key_every_ns  # every file begins with one
            if self._last is not None:
                # The file begins with what the screen showed at that moment.
                self._encode(self._start_ns, is_key=True)
                self._last_slot = 0

    def _leave(self, end_ns: int, drain: Callable[[], Sequence[Packet]]) -> None:
        assert self._segment is not None
        if self._last is not None:
            last_ns = round(end_ns - self._slot_ns)
            if self._is_cfr:
                self._fill(self._slot_at(end_ns))
            elif last_ns - self._last_ns > self._slot_ns / 2:
                self._encode(last_ns)
        self._give(drain())
        self._segments.leave(self._segment, "video", end_ns)

    def _fill(self, end_slot: int) -> None:
        """Repeat the last picture in every free slot before ``end_slot``."""
        if self._last is None:
            return
        for slot in range(self._last_slot + 1, end_slot):
            self._encode(self._at_slot(slot))
            self._last_slot = slot

    def _encode(self, media_ns: int, *, is_key: bool = False) -> None:
        assert self._last is not None
        is_due = media_ns - self._key_ns >= self._segments.key_every_ns
        is_key = is_key or is_due or self._encoder.wants_key(media_ns)
        if is_key:
            self._key_ns = media_ns
        self._last_ns = media_ns
        self._give(self._encoder.encode(self._last, media_ns, is_key=is_key))

    def _give(self, packets: Sequence[Packet]) -> None:
        if packets:
            assert self._segment is not None
            self._segments.mailbox.put(Written(self._segment, packets))

    def _slot_at(self, media_ns: int) -> int:
        return round((media_ns - self._start_ns) / self._slot_ns)

    def _file_end_ns(self) -> int | None:
        """Media time at which the present file ends; ``None`` where it is not known."""
        if self._segments.split_ns is None:
            return self._end_ns
        split_ns = self._segments.start_of(self._index + 1)
        return split_ns if self._end_ns is None else min(split_ns, self._end_ns)

    def _at_slot(self, slot: int) -> int:
        return self._start_ns + round(slot * self._slot_ns)

    @property
    def _start_ns(self) -> int:
        return self._segment.start_ns if self._segment is not None else 0


class SoundLane:
    """Encodes the samples of all tracks into the right files; used by the sound thread.

    Args:
        segments: The files.
    """

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._index = -1
        self._segment: Segment | None = None
        self._frames = 0

    def put(self, tracks: Sequence[NDArray[np.float32]]) -> None:
        """Encode the next samples of every track; all of one length."""
        done, count = 0, len(tracks[0])
        while done < count:
            self._enter(self._segments.index_at(self._media_ns))
            room = self._frames_before(self._index + 1) - self._frames
            take = min(count - done, room)
            assert self._segment is not None
            outlets = zip(self._segments.audio, self._segment.quiet, tracks, strict=True)
            packets: list[Packet] = []
            for encoder, quiet, samples in outlets:
                part = samples[done : done + take]
                quiet.push(part)
                packets += encoder.encode(part)
            self._give(packets)
            done += take
            self._frames += take

    def end(self) -> None:
        """End all tracks after the samples so far."""
        self._enter(self._segments.index_at(max(self._media_ns - 1, 0)))
        self._leave(is_last=True)

    def _enter(self, index: int) -> None:
        while self._index < index:
            if self._segment is not None:
                self._leave()
                self._index += 1
            else:
                self._index = index
            self._segment = self._segments.segment(self._index)

    def _leave(self, *, is_last: bool = False) -> None:
        assert self._segment is not None
        for encoder in self._segments.audio:
            self._give(encoder.flush() if is_last else encoder.cut())
        self._segments.leave(self._segment, "audio", self._media_ns)

    def _give(self, packets: Sequence[Packet]) -> None:
        assert self._segment is not None
        if packets:
            # Sound never waits for the disk: a few kilobytes a second always have room.
            self._segments.mailbox.put(Written(self._segment, packets), force=True)

    @property
    def _media_ns(self) -> int:
        # Rounded up, so that the first sample of a file never falls into the one before.
        return -(-self._frames * NS_PER_S // self._segments.rate_hz)

    def _frames_before(self, index: int) -> int:
        if self._segments.split_ns is None:
            return 1 << 62
        return round(self._segments.start_of(index) * self._segments.rate_hz / NS_PER_S)

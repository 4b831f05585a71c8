"""The information frame of an MP3 file: number of frames, and samples to drop at both ends.

libavformat writes one of its own while it copies, but counts encoders' delays that the source never
had. This one has the values of the source, so that a copy decodes to the same samples:

* the "Xing" part: frames, bytes, and a table for seeking;

* the "LAME" part: samples to be dropped at both ends. Decoders add their own delay of 529 samples
to it, so that less can't be stated: a silent frame before the first, dropped whole, makes room.

Layout: http://gabriel.mp3-tech.org/mp3infotag.html
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

DECODER_DELAY = 529
"""Samples that every decoder adds, and every reader of this header takes off."""
MOST = 4095
"""Largest value of 12 bits."""
MOST_SKIP = MOST + DECODER_DELAY
"""Samples at the beginning that it can state."""
TOC_ENTRIES = 100
TOC_STEP = 32
"""Every so many frames their place is noted for the table."""
_TAG_BYTES = 4 + 4 + 4 + 4 + TOC_ENTRIES + 4 + 36
_TAG_MOST_BYTES = 4 + 32 + 18
"""Bytes that are read to find the length in the first frame."""
_BITRATES = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""kbit/s by index: MPEG 1, and MPEG 2 and 2.5, layer III."""
_RATES_HZ = (44_100, 48_000, 32_000)


@dataclass(slots=True)
class Mp3Info:
    """Makes the information frame of a new file, and fills it in at the end.

    Args:
        first: The first frame of the track; its header gives the form of ours.
    """

    first: bytes
    skip: int = 0
    """Samples to be dropped at the beginning."""
    frames: int = 0
    _bytes: int = 0
    _places: list[int] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        """Whether the first frame is MPEG layer III in a form that is supported."""
        head = self.first[:4]
        return (
            len(head) == 4  # noqa: PLR2004 - a header has four bytes
            and head[0] == 0xFF  # noqa: PLR2004 - 11 bits of sync
            and head[1] & 0xE6 == 0xE2  # noqa: PLR2004 - the other three; layer III
            and head[1] >> 3 & 3 != 1
            and head[2] >> 2 & 3 != 3  # noqa: PLR2004 - a reserved rate
        )

    @property
    def _is_mpeg1(self) -> bool:
        return self.first[1] >> 3 & 3 == 3  # noqa: PLR2004 - two bits: 3 is MPEG 1, 2 MPEG 2

    @property
    def rate_hz(self) -> int:
        """Sample rate in Hz."""
        halved = {3: 0, 2: 1, 0: 2}[self.first[1] >> 3 & 3]  # MPEG 1, 2, 2.5
        return _RATES_HZ[self.first[2] >> 2 & 3] >> halved

    @property
    def side_bytes(self) -> int:
        """Bytes of side information between the header and the tag."""
        is_mono = self.first[3] >> 6 == 3  # noqa: PLR2004 - two bits: 3 is mono
        return (17 if is_mono else 32) if self._is_mpeg1 else (9 if is_mono else 17)

    @property
    def frame_samples(self) -> int:
        """Samples per frame and channel: 1152 or 576."""
        return 1152 if self._is_mpeg1 else 576

    def silence(self) -> bytes:
        """A silent frame with room for the tag, at the lowest bit rate that is large enough."""
        for index, kbit in enumerate(_BITRATES[1 if self._is_mpeg1 else 2]):
            size = self.frame_samples // 8 * kbit * 1000 // self.rate_hz
            if index and size >= 4 + self.side_bytes + _TAG_BYTES:
                break
        # No CRC (the lowest bit of byte 1), no padding (0x02 of byte 2).
        head = bytes(
            [0xFF, self.first[1] | 1, index << 4 | self.first[2] & 0x0C, self.first[3] & 0xCF]
        )
        return head + bytes(size - 4)

    def begin(self, *, may_cut: bool) -> list[bytes]:
        """The frames to be written before the first one of the track.

        Args:
            may_cut: Something may have to be dropped at the end, though nothing is at the start.
        """
        before = [self.silence()]
        if self.skip < DECODER_DELAY and (self.skip or may_cut):
            before.append(self._lead_in())
        return before

    def _lead_in(self) -> bytes:
        self.skip += self.frame_samples
        frame = self.silence()
        self.count(len(frame))
        return frame

    def count(self, size_bytes: int) -> None:
        """Count a frame that was written, for the number of frames and the table."""
        if self.frames % TOC_STEP == 0:
            self._places.append(self._bytes)
        self.frames += 1
        self._bytes += size_bytes

    def finish(self, path: Path, cut: int) -> None:
        """Write the final information frame into the file.

        Args:
            path: The closed file.
            cut: Samples to be dropped at its end.
        """
        frame = bytearray(self.silence())
        total = len(frame) + self._bytes
        tag = bytearray(b"Xing" + (7).to_bytes(4, "big"))  # it has frames, bytes, a table
        tag += self.frames.to_bytes(4, "big") + min(total, 0xFFFFFFFF).to_bytes(4, "big")
        for percent in range(TOC_ENTRIES):
            place = self._places[len(self._places) * percent // TOC_ENTRIES] if self._places else 0
            tag.append(min(255, (len(frame) + place) * 256 // total))
        if self.skip or cut:
            start = min(MOST, max(0, self.skip - DECODER_DELAY))
            end = min(MOST, cut + DECODER_DELAY)
            lame = bytearray(36)
            lame[:9] = b"LAME3.100"
            lame[21:24] = (start << 12 | end).to_bytes(3, "big")
            # Our tag has no quality field: it follows the table at once.
            tag += lame
        at = 4 + self.side_bytes
        frame[at : at + len(tag)] = tag
        with path.open("r+b") as file:
            file.seek(_first_frame_at(file))
            file.write(frame)


def stated_length_s(path: Path) -> float | None:
    """Length in seconds in the first frame of an MP3 file; ``None`` where there is none."""
    with path.open("rb") as file:
        file.seek(_first_frame_at(file))
        head = file.read(_TAG_MOST_BYTES)
    info = Mp3Info(head)
    if not info.is_known:
        return None
    for mark, at, count_at in (
        *((mark, 4 + info.side_bytes, 8) for mark in (b"Xing", b"Info")),
        (b"VBRI", 4 + 32, 14),
    ):
        tag = head[at:]
        # The flags of a Xing part state whether it has the number of frames.
        if tag.startswith(mark) and (mark == b"VBRI" or (tag[7:8] and tag[7] & 1)):
            frames = int.from_bytes(tag[count_at : count_at + 4], "big")
            return frames * info.frame_samples / info.rate_hz or None
    return None


def _first_frame_at(file: BinaryIO) -> int:
    """Offset of the first frame: the end of an ID3v2 tag, if there is one."""
    file.seek(0)
    return tag_bytes(file.read(10))


def tag_bytes(data: bytes) -> int:
    """Length of the ID3 tag at the beginning of the data; 0 without one."""
    if data[:3] == b"TAG":
        return 128  # ID3v1
    if data[:3] != b"ID3":
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size

"""Measures a media file: every packet of every track is decoded.

Memory stays flat: of a track only numbers are kept, and the places of anything unusual.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from capture.errors import DamagedFileError
from capture.levels import LevelMeter, QuietFinder, QuietStretch
from capture.media.read.convert import SoundConverter, SoundForm, form_of
from capture.media.read.decode import read_packets
from capture.media.read.input import open_media
from capture.media.read.tracks import is_cover, stated_end_s, tick_s, track_title

HOLE_S = 0.02
"""Missing time between two frames of sound: more than any container's rounding."""
SILENT_DBFS = -60.0
SILENT_MIN_S = 0.1
BLACK_LUMA = 32
"""Limited range has black at 16; the rest is what a codec adds."""
BLACK_SHARE = 0.002
"""Share of a black picture that may be brighter: the pointer."""
LUMA_STEP = 8
"""One pixel out of so many, each way, is looked at."""
KEPT = 1000
"""Places kept of each kind; a file with more is past counting."""

_WRITER_TAGS = frozenset({"encoded_by", "encoded-by", "software", "encoder"})
"""Names of the tag ``encoded_by`` in the containers."""

Place = tuple[float, float]
"""(start in s, end in s) on the time of the file."""


class Change(NamedTuple):
    """A place where sound changes its sample rate or channels."""

    at_s: float
    before: SoundForm
    after: SoundForm


@dataclass(frozen=True, slots=True)
class TrackMeasure:
    """The measures of one track. Times are those of the file, in seconds."""

    name: str
    kind: str
    """``video`` or ``audio``."""
    codec: str
    start_s: float
    end_s: float
    frames: int
    """Number of pictures, or of samples per channel."""
    frame_s: float
    """Length of its longest packet of sound, or of its last picture."""
    holes: tuple[Place, ...] = ()
    """Sound: time without samples, between two frames."""
    backwards_s: tuple[float, ...] = ()
    """Times at which the timestamps go back."""
    undecodable_s: tuple[float, ...] = ()
    """Times of packets that cannot be decoded."""
    silent: tuple[QuietStretch, ...] = ()
    """Sound below -60 dBFS for 0.1 s and more; ``edge`` is the amplitude beside it."""
    black: tuple[Place, ...] = ()
    """Start and end of each run of black pictures."""
    largest_gap: Place = (0.0, 0.0)
    """Start and end of the longest time between two pictures."""
    stretch_s: float = 0.0
    """Sound: how much longer its timestamps last than its samples, holes aside."""
    peak_dbfs: float | None = None
    """Highest sample; ``None`` for pictures."""
    changes: tuple[Change, ...] = ()
    """Sound: where its rate or channels change; it is measured at those that it began with."""

    @property
    def duration_s(self) -> float:
        """Seconds from the start to the end of the track."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class FileMeasure:
    """The measures of a file and of its tracks."""

    format: str
    """FFmpeg's name of the container."""
    declared_s: float | None
    """End of the last track by its header, in seconds; ``None`` if the header has none."""
    comments: tuple[str, ...]
    tracks: tuple[TrackMeasure, ...]
    read_error: str | None
    """Why the file could not be read to its end."""
    written_by: str | None = None
    """``capture`` and its version, where a tag of a sound file names them."""


class _Track:
    """The measuring that sound and pictures have in common."""

    def __init__(self, stream: Any, name: str) -> None:
        self._stream = stream
        self._name = name
        self._undecodable: list[float] = []
        self._backwards: list[float] = []
        self._start_s: float | None = None
        self._end_s = 0.0
        self._frames = 0

    def _time_of(self, packet: Any) -> float:
        if packet is None or packet.pts is None:
            return self._end_s
        return float(packet.pts * tick_s(packet.time_base))

    def _facts(self) -> dict[str, Any]:
        return {
            "name": self._name,
            "kind": self._stream.type,
            "codec": self._stream.codec_context.name,
            "start_s": self._start_s,
            "end_s": self._end_s,
            "frames": self._frames,
            "backwards_s": tuple(self._backwards),
            "undecodable_s": tuple(self._undecodable),
        }


class _Sound(_Track):
    def __init__(self, stream: Any, name: str) -> None:
        super().__init__(stream, name)
        self._converter: SoundConverter | None = None
        self._form: SoundForm | None = None
        self._changes: list[Change] = []
        self._meter = LevelMeter()
        self._finder: QuietFinder | None = None
        self._rate_hz = 0
        self._frame_s = 0.0
        self._has_stamps = True
        self._holes: list[Place] = []
        self._silent: list[QuietStretch] = []

    def take(self, packet: Any, frames: list[Any] | av.FFmpegError) -> None:
        if isinstance(frames, av.FFmpegError):
            _keep(self._undecodable, self._time_of(packet))
            return
        for frame in frames:
            self._take_frame(frame)

    def _take_frame(self, frame: Any) -> None:
        form = form_of(frame)
        if self._form is None:
            self._rate_hz = form.rate_hz
            self._finder = QuietFinder(self._rate_hz, SILENT_DBFS, SILENT_MIN_S)
            self._converter = SoundConverter(form._replace(sample_format="flt"))
        assert self._finder is not None, "made with the first frame"
        assert self._converter is not None, "the same"
        if self._start_s is None:
            self._has_stamps = frame.time is not None
        at_s = float(frame.time) if self._has_stamps and frame.time is not None else self._end_s
        if self._start_s is None:
            self._start_s = self._end_s = at_s
        if self._form is not None and self._form[1:] != form[1:]:
            _keep(self._changes, Change(at_s, self._form, form))
        self._form = form
        missing_s = at_s - self._end_s
        if missing_s > HOLE_S:
            _keep(self._holes, (self._end_s, at_s))
            self._silent += self._finder.skip(round(missing_s * self._rate_hz))
        elif missing_s < -HOLE_S:
            _keep(self._backwards, at_s)
        length_s = frame.samples / form.rate_hz
        self._frame_s = max(self._frame_s, length_s)
        self._end_s = at_s + length_s
        for samples in self._converter.push(frame):
            self._measure(samples)

    def _measure(self, samples: NDArray[np.float32]) -> None:
        assert self._finder is not None, "made with the first frame"
        self._meter.accumulate(samples)
        for stretch in self._finder.push(samples):
            _keep(self._silent, stretch)
        self._frames += len(samples)

    def result(self) -> TrackMeasure | None:
        if self._finder is None or self._converter is None or self._start_s is None:
            return None
        for samples in self._converter.finish():
            self._measure(samples)
        start_s = self._start_s
        missing_s = sum(end - start for start, end in self._holes)
        return TrackMeasure(
            **self._facts(),
            frame_s=self._frame_s,
            holes=tuple(self._holes),
            silent=tuple(
                QuietStretch(start_s + quiet.start_s, start_s + quiet.end_s, quiet.edge)
                for quiet in (*self._silent, *self._finder.finish())
            ),
            stretch_s=self._end_s - start_s - missing_s - self._frames / self._rate_hz,
            peak_dbfs=self._meter.take().peak_dbfs,
            changes=tuple(self._changes),
        )


class _Pictures(_Track):
    def __init__(self, stream: Any, name: str) -> None:
        super().__init__(stream, name)
        self._last_s = 0.0
        self._gap: Place = (0.0, 0.0)
        self._black_since_s: float | None = None
        self._black: list[Place] = []

    def take(self, packet: Any, frames: list[Any] | av.FFmpegError) -> None:
        at_s = self._time_of(packet)
        if isinstance(frames, av.FFmpegError):
            _keep(self._undecodable, at_s)
            return
        if packet.pts is not None:
            end_s = at_s + float((packet.duration or 0) * tick_s(packet.time_base))
            self._end_s = max(self._end_s, end_s)
        for frame in frames:
            self._take_frame(frame)

    def _take_frame(self, frame: Any) -> None:
        at_s = self._last_s if frame.time is None else float(frame.time)
        if self._start_s is None:
            self._start_s = self._last_s = at_s
        if at_s < self._last_s:
            _keep(self._backwards, at_s)
        if at_s - self._last_s > self._gap[1] - self._gap[0]:
            self._gap = (self._last_s, at_s)
        self._mark_black(at_s, is_black=_is_black(frame))
        self._last_s = at_s
        self._frames += 1

    def _mark_black(self, at_s: float, *, is_black: bool) -> None:
        if is_black and self._black_since_s is None:
            self._black_since_s = at_s
        elif not is_black and self._black_since_s is not None:
            _keep(self._black, (self._black_since_s, at_s))
            self._black_since_s = None

    def result(self) -> TrackMeasure | None:
        if self._start_s is None:
            return None
        self._end_s = max(self._end_s, self._last_s)
        self._mark_black(self._end_s, is_black=False)
        return TrackMeasure(
            **self._facts(),
            frame_s=self._end_s - self._last_s,
            black=tuple(self._black),
            largest_gap=self._gap,
        )


def measure_file(path: Path) -> FileMeasure:
    """Decode a whole file and measure it.

    Raises:
        DamagedFileError: It is no media file, or nothing in it can be decoded.
    """
    with open_media(path) as container:
        films = [stream for stream in container.streams.video if not is_cover(stream)]
        streams = (*films, *container.streams.audio)
        if container.format.name == "tty" or not streams:  # FFmpeg takes a text for a film
            raise DamagedFileError(
                f"{path} holds neither sound nor pictures", hint="name a film or a sound file"
            )
        measuring: dict[int, _Pictures | _Sound] = {}
        for kind, same in ((_Pictures, films), (_Sound, container.streams.audio)):
            word = "picture" if kind is _Pictures else "sound"
            for number, stream in enumerate(same, 1):
                name = track_title(stream) or (word if len(same) == 1 else f"{word} {number}")
                measuring[stream.index] = kind(stream, name)
        read_error: str | None = None
        for packet, frames in read_packets(container, streams):
            if packet is None:
                read_error = str(frames)
            else:
                measuring[packet.stream.index].take(packet, frames)
        tracks = tuple(found for part in measuring.values() if (found := part.result()))
        if not tracks:
            raise DamagedFileError(
                f"nothing in {path} can be decoded", hint="it is damaged, or was cut very short"
            )
        return FileMeasure(
            format=container.format.name,
            declared_s=max(
                filter(None, (stated_end_s(container, stream, path) for stream in streams)),
                default=None,
            ),
            comments=tuple(
                text
                for tags in (container.metadata, *(stream.metadata for stream in streams))
                for key, text in tags.items()
                if key.lower() == "comment"
            ),
            tracks=tracks,
            read_error=read_error,
            written_by=_writer_of([container.metadata, *(stream.metadata for stream in streams)]),
        )


def _writer_of(metadata: Iterable[Mapping[str, str]]) -> str | None:
    for tags in metadata:
        for key, text in tags.items():
            # Where a container has no place for it, it is a line of the comment.
            lines = text.splitlines() if key.lower() == "comment" else [f"{key.lower()}: {text}"]
            for line in lines:
                name, _, writer = line.partition(": ")
                if name in _WRITER_TAGS and writer.startswith("capture "):
                    return " ".join(writer.split()[:2])  # libsndfile adds its own name
    return None


def _is_black(frame: Any) -> bool:
    """Whether a picture is black, but for a pointer."""
    if not frame.format.name.startswith(("yuv4", "yuvj4", "nv12")) or "p1" in frame.format.name:
        frame = frame.reformat(format="gray")
    plane = frame.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    luma = luma[: frame.height : LUMA_STEP, : frame.width : LUMA_STEP]
    return bool(np.count_nonzero(luma > BLACK_LUMA) <= BLACK_SHARE * luma.size)


def _keep(places: list[Any], place: Any) -> None:
    if len(places) < KEPT:
        places.append(place)

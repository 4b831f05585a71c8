"""The files of recordings: containers, their crash-safe options, and the sink that writes them.

A recording is written so that whatever ends it, even ``kill -9``, leaves a file that plays: MP4 in
fragments of a second that a clean stop turns into an ordinary MP4, Matroska in clusters of half a
second, Ogg in pages of 200 ms, each packet handed to the system at once, synced to disk
every two seconds. The figures behind the options are in ``docs/decisions.md``.
"""

import contextlib
import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from capture.errors import ConfigError, OutputError
from capture.hints import Advice
from capture.media.certificate import certificate_text, placeholder, seal
from capture.media.output import as_output_error
from capture.media.packets import Packet, PacketSink, StreamHeader
from capture.media.write.file_watch import FileWatch
from capture.media.write.sndfile import SoundLibraryFile
from capture.naming import ffmpeg_name
from capture.units import NS_PER_S

_COMMON = {"flush_packets": "1", "max_interleave_delta": "1000000"}
_FRAGMENTED = _COMMON | {
    # delay_moov: the header waits for the first fragment, when the encoders' delays are known.
    # Written before (empty_moov) it cannot hold the 21 ms that AAC starts early: a player then
    # shows picture and sound 21 ms late. It needs every track to have data in the first second,
    # which the mixer sees to: a source that gives nothing gets silence.
    "movflags": "hybrid_fragmented+delay_moov+default_base_moof",
    "frag_duration": "1000000",
}
# A cluster reaches the disk when it is closed, and its last picture may be half a second old.
_CLUSTERS = _COMMON | {"cluster_time_limit": "500"}
_PAGES = _COMMON | {"page_duration": "200000"}

CODEC_NAMES = {"aac": "aac", "opus": "libopus", "flac": "flac", "pcm": "pcm_s16le"}
"""Names of codecs for people, and FFmpeg's."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container, by the ending of a file name."""

    suffix: str
    format: str
    audio_codecs: tuple[str, ...]
    """The first is the default."""
    video_encoder: str | None = None
    """Default encoder; ``None`` for sound only."""
    max_audio_tracks: int | None = None
    options: Mapping[str, str] = field(default_factory=lambda: _COMMON)

    @property
    def is_audio_only(self) -> bool:
        """Whether the container cannot hold pictures."""
        return self.video_encoder is None


CONTAINERS: dict[str, Container] = {
    container.suffix: container
    for container in (
        Container(".mp4", "mp4", ("aac", "opus", "flac"), "libx264", options=_FRAGMENTED),
        Container(".m4v", "mp4", ("aac", "opus", "flac"), "libx264", options=_FRAGMENTED),
        Container(".mov", "mov", ("aac", "pcm"), "libx264", options=_FRAGMENTED),
        Container(".mkv", "matroska", ("aac", "opus", "flac", "pcm"), "libx264", options=_CLUSTERS),
        Container(".webm", "webm", ("opus",), "libvpx-vp9", options=_CLUSTERS),
        Container(".m4a", "mp4", ("aac", "flac"), options=_FRAGMENTED),
        Container(".mka", "matroska", ("opus", "aac", "flac", "pcm"), options=_CLUSTERS),
        Container(".opus", "ogg", ("opus",), max_audio_tracks=1, options=_PAGES),
        Container(".ogg", "ogg", ("opus", "flac"), max_audio_tracks=1, options=_PAGES),
        Container(".flac", "flac", ("flac",), max_audio_tracks=1),
        Container(".wav", "wav", ("pcm",), max_audio_tracks=1),
    )
}


def container_of(path: Path) -> Container:
    """The container for a file name, by its ending.

    Raises:
        ConfigError: The ending is missing or unknown.
    """
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        what = f"the ending {path.suffix!r}" if path.suffix else "no ending"
        raise ConfigError(
            f"no recording can have a name with {what}",
            hint=f"use one of {' '.join(CONTAINERS)}",
        )
    return container


class FileSink(PacketSink, ABC):
    """A file that packets are written to; used from one thread.

    Attributes:
        path: The file; another one after ``close()`` if it was moved meanwhile.
        written_s: Up to which time of the file something was written.
    """

    path: Path

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written_s = 0.0
        self._whole_bytes = 0
        self._is_incomplete = False
        self._watch = FileWatch(path)

    @property
    def written_bytes(self) -> int:
        """Size of the file so far, in bytes."""
        with contextlib.suppress(OSError):
            return self.path.stat().st_size
        return 0

    def push(self, packet: Packet) -> None:
        """Write a packet.

        Raises:
            OutputError: The disk is full, the file system holds no larger file, ...
        """
        try:
            with as_output_error(self.path):
                until_s = self._write(packet)
        except OutputError:
            self._is_incomplete = True
            raise
        self.written_s = max(self.written_s, until_s)
        self._whole_bytes = self.written_bytes

    @abstractmethod
    def _write(self, packet: Packet) -> float:
        """Write a packet; gives its end in seconds of the file."""

    def tick(self) -> None:
        """Sync and check the file when it is time; call at least every second.

        Raises:
            OutputError: The file or its folder went away.
        """
        self._watch.tick()

    def close(
        self,
        chapters: Sequence[tuple[float, float, str]] = (),
        certificate: Mapping[str, Any] | None = None,
    ) -> None:
        """Finish the file and sync it to disk; idempotent.

        Args:
            chapters: (start in s, end in s, title), where the container has chapters.
            certificate: What is to be known about the file, a JSON value.

        Raises:
            OutputError: The end could not be written; what was written before still plays.
        """
        try:
            with as_output_error(self.path):
                self._finish(chapters, certificate)
        finally:
            self.path = self._watch.release()
            if self._is_incomplete:
                # All else was handed to the system whole, so that half a packet is the last thing
                # in the file: a strict reader would stumble over it.
                with contextlib.suppress(OSError):
                    os.truncate(self.path, self._whole_bytes)

    @abstractmethod
    def _finish(
        self, chapters: Sequence[tuple[float, float, str]], certificate: Mapping[str, Any] | None
    ) -> None:
        """Write the end and close; does nothing the second time."""


class _AvFile(FileSink):
    """A file of any container but WAV, through PyAV."""

    def __init__(
        self,
        path: Path,
        container: Container,
        streams: Sequence[StreamHeader],
        *,
        start_ns: int,
        tags: Mapping[str, str],
    ) -> None:
        super().__init__(path)
        with as_output_error(path):
            self._container: Any = av.open(
                ffmpeg_name(path),
                "w",
                format=container.format,
                container_options=dict(container.options),
            )
        try:
            comment = placeholder(len(streams), tags.get("comment", ""))
            self._container.metadata.update({**tags, "comment": comment})
            self._streams = [self._add(header) for header in streams]
            self._start_ns = start_ns
            with as_output_error(path):
                self._container.start_encoding()
        except BaseException:
            with contextlib.suppress(av.FFmpegError, OSError):
                self._container.close()
            raise
        self._is_open = True

    def _add(self, header: StreamHeader) -> Any:
        stream = self._container.add_stream_from_template(header.template)
        if header.title:
            stream.metadata["title"] = header.title
            # MP4 has no track title of its own; players show the handler's name.
            stream.metadata["handler_name"] = header.title
        return stream

    def _write(self, packet: Packet) -> float:
        start = round(self._start_ns / (packet.time_base * NS_PER_S))
        self._container.mux_one(packet.for_stream(self._streams[packet.track], start))
        return float((packet.pts + packet.duration - start) * packet.time_base)

    def _finish(
        self, chapters: Sequence[tuple[float, float, str]], certificate: Mapping[str, Any] | None
    ) -> None:
        if not self._is_open:
            return
        self._is_open = False
        if chapters:
            milliseconds = Fraction(1, 1000)
            self._container.set_chapters(
                [
                    {
                        "id": number,
                        "start": round(start_s * 1000),
                        "end": round(end_s * 1000),
                        "time_base": milliseconds,
                        "metadata": {"title": title},
                    }
                    for number, (start_s, end_s, title) in enumerate(chapters, 1)
                ]
            )
        self._container.close()
        if certificate is not None:
            # A file that was deleted meanwhile is saved all the same, but marked "unfinished".
            with contextlib.suppress(FileNotFoundError):
                seal(self.path, certificate)


class _WavFile(FileSink):
    """A WAV file through libsndfile, whose header is valid while the file grows."""

    def __init__(self, path: Path, *, rate_hz: int, channels: int) -> None:
        super().__init__(path)
        self._channels = channels
        with as_output_error(path):
            self._file = SoundLibraryFile(path, "WAV", "PCM_16", rate_hz=rate_hz, channels=channels)
            self._file.write(np.zeros((0, channels), np.float32))

    def _write(self, packet: Packet) -> float:
        # The system has it now; the watch syncs it to disk.
        self._file.write(np.frombuffer(packet.data, "<i2").reshape(-1, self._channels))
        return self.written_s + packet.duration / self._file.rate_hz

    def _finish(
        self, chapters: Sequence[tuple[float, float, str]], certificate: Mapping[str, Any] | None
    ) -> None:
        del chapters  # WAV has none that players read
        if not self._file.is_closed:
            if certificate is not None:
                self._file.set_tags({"comment": certificate_text(certificate)})
            self._file.close()


def open_file(
    path: Path,
    streams: Sequence[StreamHeader],
    *,
    start_ns: int = 0,
    tags: Mapping[str, str] | None = None,
) -> FileSink:
    """Create a file for packets of these streams.

    Args:
        path: Its ending decides the container.
        streams: In their order in the file; encoders have them.
        start_ns: Media time of its beginning, from which its own time counts.
        tags: File metadata: title, date, ...

    Raises:
        ConfigError: No container has that ending.
        OutputError: The file exists or cannot be written.
    """
    container = container_of(path)
    with _reserved(path):
        if container.format == "wav":
            return _WavFile(path, rate_hz=streams[0].rate_hz, channels=streams[0].channels)
        return _AvFile(path, container, streams, start_ns=start_ns, tags=tags or {})


def open_wav(path: Path, *, rate_hz: int, channels: int) -> FileSink:
    """Create a WAV file for packets of ``packets.pcm_packet``.

    Raises:
        OutputError: The file exists or cannot be written.
    """
    with _reserved(path):
        return _WavFile(path, rate_hz=rate_hz, channels=channels)


def check_tracks(
    container: Container, *, with_video: bool, audio_tracks: int, codec: str | None
) -> None:
    """Refuse tracks that a container cannot hold.

    Raises:
        ConfigError: It cannot; the hint names one that can.
    """
    suffix = container.suffix
    if not with_video and not audio_tracks:
        raise ConfigError(
            "the recording has neither pictures nor sound", hint=Advice.RECORD_SOMETHING.with_()
        )
    if with_video and container.is_audio_only:
        raise ConfigError(f"{suffix} holds no pictures", hint=Advice.KEEP_PICTURES_OUT.with_())
    if audio_tracks and codec is not None and codec not in container.audio_codecs:
        raise ConfigError(
            f"{suffix} cannot hold {codec} sound",
            hint=f"{suffix} takes {', '.join(container.audio_codecs)}",
        )
    limit = container.max_audio_tracks
    if limit is not None and audio_tracks > limit:
        raise ConfigError(
            f"{suffix} holds one track, not {audio_tracks}",
            hint=Advice.MIX_TRACKS.with_(others=".mka or .m4a"),
        )


@contextlib.contextmanager
def _reserved(path: Path) -> Iterator[None]:
    """Create the file empty, so that no other file of that name is ever overwritten."""
    with as_output_error(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, "not a folder") from error
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)  # ours: it was reserved a moment ago, and holds nothing
        raise

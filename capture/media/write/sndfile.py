"""Files through libsndfile: WAV that stays valid while it grows, FLAC, Ogg Vorbis.

Owns all use of ``soundfile``, and the functions that it lacks: RF64 past 4 GB, a header that is
kept valid, the system's reason when a disk fails; and the exact conversion between sample formats.
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.libraries import needed
from capture.media.layouts import speakers
from capture.media.output import errno_of
from capture.media.read.cover import put_in_flac
from capture.media.write.encode import pcm16
from capture.media.write.sound_writer import SoundWriter
from capture.naming import sndfile_name

_UPDATE_HEADER_AUTO = 0x1061
"""SFC_SET_UPDATE_HEADER_AUTO of sndfile.h: rewrite the header after each write."""
_RF64_AUTO_DOWNGRADE = 0x1210
"""SFC_RF64_AUTO_DOWNGRADE: a plain WAV as long as it fits into 4 GB."""

_SET_CHANNEL_MAP = 0x1101
"""SFC_SET_CHANNEL_MAP_INFO: where the channels are played."""
_PLACES = {"FL": 2, "FR": 3, "FC": 4, "BC": 8, "BL": 9, "BR": 10, "LFE": 11, "FLC": 12}
_PLACES |= {"FRC": 13, "SL": 14, "SR": 15}
"""FFmpeg's names of channels, and SF_CHANNEL_MAP_LEFT to SF_CHANNEL_MAP_SIDE_RIGHT."""

_FULL_SCALE_32 = 1 << 31


def as_int16(samples: NDArray[Any]) -> NDArray[np.int16]:
    """Samples as 16-bit integers, exactly as FFmpeg converts them.

    Args:
        samples: int16 (as it is), int32 (its upper half) or float of -1..1 (rounded, clipped).
    """
    if samples.dtype == np.int16:
        return samples
    if samples.dtype == np.int32:
        return (samples >> 16).astype(np.int16)
    return pcm16(samples.astype(np.float32, copy=False))


def as_int32(samples: NDArray[Any]) -> NDArray[np.int32]:
    """Samples as 32-bit integers; int16 becomes the upper half, so that nothing is lost."""
    if samples.dtype == np.int32:
        return samples
    if samples.dtype == np.int16:
        return samples.astype(np.int32) << 16
    # Doubles: the highest 32-bit integer is no float32, so that clipping there would overflow.
    scaled = np.rint(samples.astype(np.float64) * _FULL_SCALE_32)
    return np.clip(scaled, -_FULL_SCALE_32, _FULL_SCALE_32 - 1, out=scaled).astype(np.int32)


def as_float32(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Samples as float32 of -1..1; exact for int16."""
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(32768)
    if samples.dtype == np.int32:
        return (samples / _FULL_SCALE_32).astype(np.float32)
    return samples.astype(np.float32, copy=False)


class SoundLibraryFile:
    """A file that is written through libsndfile; used from one thread.

    Args:
        path: Where; what is there is written over.
        container: WAV, FLAC or OGG as libsndfile calls it.
        subtype: PCM_16, PCM_24, PCM_32, FLOAT or VORBIS.
        rate_hz: Sample rate.
        channels: How many.
        tags: Of ``capture.media.formats.LIBRARY_TAGS``.
        layout: FFmpeg's name of where the channels are played, which a WAV file states;
            ``None``: what is usual for so many.
        compression: 0.0 (best quality or largest file) to 1.0; ``None`` is the library's choice.

    Raises:
        OSError: With the system's number, here and in every method.
    """

    def __init__(
        self,
        path: Path,
        container: str,
        subtype: str,
        *,
        rate_hz: int,
        channels: int,
        tags: Mapping[str, str] | None = None,
        compression: float | None = None,
        layout: str | None = None,
    ) -> None:
        with needed("soundfile"):
            import soundfile  # noqa: PLC0415 - most commands write none of these

        self._library = soundfile
        self.rate_hz, self.channels, self.subtype = rate_hz, channels, subtype
        path.open("wb").close()  # says why it cannot be written; libsndfile only says that it can't
        self._file = soundfile.SoundFile(
            sndfile_name(path),
            "w",
            samplerate=rate_hz,
            channels=channels,
            format="RF64" if container == "WAV" else container,
            subtype=subtype,
            compression_level=compression,
        )
        if container == "WAV":
            # soundfile has no public call for these two; both are stable numbers of libsndfile.
            for command in (_RF64_AUTO_DOWNGRADE, _UPDATE_HEADER_AUTO):
                soundfile._snd.sf_command(self._file._file, command, soundfile._ffi.NULL, 1)  # noqa: SLF001
            self._set_places(layout)
        self.set_tags(tags or {})

    def _set_places(self, layout: str | None) -> None:
        places = [_PLACES.get(name) for name in speakers(layout)] if layout else []
        if not places or None in places:
            return
        library = self._library
        given = library._ffi.new("int[]", places)  # noqa: SLF001 - no public call, as above
        library._snd.sf_command(  # noqa: SLF001
            self._file._file,  # noqa: SLF001
            _SET_CHANNEL_MAP,
            given,
            library._ffi.sizeof(given),  # noqa: SLF001
        )

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return bool(self._file.closed)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; WAV takes them at any time, the others before the first sample."""
        for name, value in tags.items():
            setattr(self._file, name, value)

    def write(self, samples: NDArray[Any]) -> None:
        """Append samples, (frames, channels), of the dtype that the subtype takes."""
        try:
            self._file.write(samples)
        except self._library.LibsndfileError as error:
            raise self._system_error() from error

    def close(self) -> None:
        """Write the end and close; idempotent.

        Without ``SoundFile.close``, which waits for the disk: that is up to the owner.
        """
        handle, self._file._file = self._file._file, None  # noqa: SLF001 - as above
        if handle is not None and (code := self._library._snd.sf_close(handle)):  # noqa: SLF001
            text = str(self._library.LibsndfileError(code))
            raise OSError(errno_of(text), text)

    def _system_error(self) -> OSError:
        """The system's error; libsndfile keeps its text and drops the number."""
        words = self._library._snd.sf_strerror(self._file._file)  # noqa: SLF001 - as above
        text = self._library._ffi.string(words).decode(errors="replace")  # noqa: SLF001
        return OSError(errno_of(text), text)


_CONVERTERS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "PCM_16": as_int16,
    "PCM_24": as_int32,
    "PCM_32": as_int32,
    "FLOAT": as_float32,
    "VORBIS": as_float32,
}


class LibraryWriter(SoundWriter):
    """A WAV, FLAC or Ogg Vorbis file; see ``SoundWriter``."""

    def __init__(self, path: Path, file: SoundLibraryFile, cover: bytes | None = None) -> None:
        super().__init__(path, file.rate_hz, file.channels)
        self._file = file
        self._cover = cover
        self._convert = _CONVERTERS[file.subtype]

    def _write(self, samples: NDArray[Any]) -> None:
        self._file.write(self._convert(samples))

    def _finish(self) -> None:
        self._file.close()
        if self._cover is not None:
            put_in_flac(self.path, self._cover)

    def _abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

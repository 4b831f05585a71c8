"""Opens media files, with an error that states what is wrong with one.

Loads no numpy: sound that is copied as it is does without, and long files need the memory.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av

from capture.errors import DamagedFileError
from capture.media.read.stated import stated_bytes
from capture.media.read.tag_text import repair_tags
from capture.naming import ffmpeg_name

_KEEPS_BYTES: dict[str, Any] = (
    {"metadata_errors": "surrogateescape"} if int(av.__version__.split(".")[0]) < 19 else {}  # noqa: PLR2004
)
"""PyAV reads tags so from 19 on anyway, and has no option for it."""


def open_media(path: Path, options: Mapping[str, str] | None = None) -> Any:
    """Open a media file; the caller closes the container.

    Args:
        path: An ordinary file. A pipe is refused: it cannot be read twice, and may never end.
        options: For FFmpeg's demuxer.

    Raises:
        DamagedFileError: It cannot be read.
    """
    _refuse_what_is_no_file(path)
    settings = dict(options or {})
    try:
        if stated_bytes(path) == 0:  # FFmpeg finds nothing in an RF64 file that was never finished
            settings["ignore_length"] = "1"
        return open_container(path, settings)
    except (av.FFmpegError, OSError) as error:
        raise DamagedFileError(
            f"{path} cannot be read: {error.strerror}", hint="is it a media file, and is it whole?"
        ) from error


def open_container(file: Any, options: Mapping[str, str] | None = None) -> Any:
    """Open a container for reading, whatever the encoding of its tags.

    Args:
        file: Its path, or what ``av.open`` needs of an open one.
        options: For FFmpeg's demuxer.

    Raises:
        av.FFmpegError: It cannot be read.
        OSError: The same.
    """
    name = ffmpeg_name(file) if isinstance(file, Path) else file
    container: Any = av.open(name, options=dict(options or {}), **_KEEPS_BYTES)
    repair_tags(container)
    return container


def _refuse_what_is_no_file(path: Path) -> None:
    """Raise for a path that is no ordinary file; FFmpeg would wait for a pipe."""
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            os.close(os.open(path, os.O_RDONLY))
    except FileNotFoundError as error:
        raise DamagedFileError(f"there is no file {path}", hint="check the name") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        hint = "ask for the right to read it" if isinstance(error, PermissionError) else None
        raise DamagedFileError(f"{path} cannot be read: {reason}", hint=hint) from error
    if stat.S_ISDIR(status.st_mode):
        raise DamagedFileError(f"{path} is a folder", hint="name the files in it")
    if not stat.S_ISREG(status.st_mode):
        raise DamagedFileError(
            f"{path} is no ordinary file", hint="save what comes out of it in a file first"
        )
    if not status.st_size:
        raise DamagedFileError(f"{path} is empty", hint="was it copied or downloaded to its end?")

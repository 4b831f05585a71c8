"""Default folders and names of recordings, and the version of this program."""

import os
from datetime import datetime
from pathlib import Path

import platformdirs

from capture.naming import free_path


def data_folder() -> Path:
    """The folder of the program's own data: ``CAPTURE_DATA_DIR``, or the user's data folder."""
    named = os.environ.get("CAPTURE_DATA_DIR")
    return Path(named) if named else Path(platformdirs.user_data_dir("capture"))


def cache_folder() -> Path:
    """The folder of replaceable files: ``CAPTURE_CACHE_DIR``, or the user's cache folder."""
    named = os.environ.get("CAPTURE_CACHE_DIR")
    return Path(named) if named else Path(platformdirs.user_cache_dir("capture"))


def default_folder() -> Path:
    """The folder of recordings, such as ``~/Videos/Capture``; it may not exist yet."""
    return Path(platformdirs.user_videos_dir()) / "Capture"


def default_voice_folder() -> Path:
    """The folder of voice messages, ``~/Music/Voice messages``; it may not exist yet."""
    return Path(platformdirs.user_music_dir()) / "Voice messages"


def default_output(suffix: str) -> Path:
    """A path that does not exist yet, such as ``~/Videos/Capture/2026-11-22 14.31.05.mp4``.

    Args:
        suffix: The ending, with its dot; it decides nothing but the name.
    """
    stamp = datetime.now().astimezone().strftime("%Y-%m-%d %H.%M.%S")
    return free_path(default_folder() / f"{stamp}{suffix}")


def version() -> str:
    """The version of this program; ``unknown`` in a checkout that is not installed."""
    import importlib.metadata  # noqa: PLC0415 - 20 ms and 3 MB that no command needs to begin

    try:
        return importlib.metadata.version("deskcapture")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"

"""The list of folders that hold messages, a file beside the store."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from capture.config import data_folder, default_voice_folder

__all__ = ["add_folder", "known_folders", "library_folder"]

OWNER_ONLY, FOLDER_OF_OWNER = 0o600, 0o700


def library_folder() -> Path:
    """The folder of the store and of the list of folders."""
    return data_folder() / "messages"


def known_folders(library: Path) -> list[Path]:
    """The folders that hold messages, the default one first; some may not exist any more.

    Args:
        library: As ``library_folder`` gives it.
    """
    try:
        lines = (library / "folders").read_bytes().split(b"\n")
    except OSError:
        lines = []
    named = (Path(os.fsdecode(line)) for line in lines if line)
    return list(dict.fromkeys((default_voice_folder(), *named)))


def add_folder(library: Path, folder: Path) -> None:
    """Add a folder to the list; if that fails, an index must be given the folder by name."""
    if folder in known_folders(library):
        return
    with contextlib.suppress(OSError):
        library.mkdir(parents=True, exist_ok=True, mode=FOLDER_OF_OWNER)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        number = os.open(library / "folders", flags, OWNER_ONLY)
        try:
            # A line break at both ends: one that a crash tore spoils no other.
            os.write(number, b"\n" + os.fsencode(folder) + b"\n")
        finally:
            os.close(number)

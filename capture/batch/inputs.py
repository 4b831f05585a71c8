"""What files are meant by the words of a command: files, folders, and patterns left to us."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from capture.errors import ConfigError, explain_system_error

_FILMS = "3g2 3gp asf avi flv m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv rm rmvb ts vob webm wmv"
_SOUNDS = (
    "aac ac3 aif aifc aiff amr ape au awb caf dts eac3 flac m4a m4b mka mp2 mp3 oga ogg opus spx"
    " tta w64 wav weba wma wv"
)
FILM_ENDINGS = frozenset(f".{ending}" for ending in _FILMS.split())
SOUND_ENDINGS = frozenset(f".{ending}" for ending in _SOUNDS.split())
"""Endings of the files that are taken from folders; a named file may have any ending."""


@dataclass(frozen=True, slots=True)
class Input:
    """An input file of a batch, and the folder in which it was found."""

    path: Path
    below: Path | None = None
    """Its folder, relative to the named folder; ``None`` if the file itself was named."""


def check_file(path: Path) -> None:
    """Refuse a path that is no file; other faults of a file are found when it is opened.

    Raises:
        ConfigError: There is nothing of that name, or it is a folder.
    """
    if is_folder(path):
        raise ConfigError(f"{path} is a folder", hint="name the files in it")
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(
            f"there is no file {path}", hint="check the name and the folder"
        ) from error
    except OSError as error:
        explained = explain_system_error(error)
        raise ConfigError(
            explained[0] if explained else str(error), hint="check the name"
        ) from error


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; false where the system cannot look, as at an overlong name."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises then


def find_inputs(
    words: Sequence[Path], *, is_recursive: bool = False, leave_out: Path | None = None
) -> list[Input]:
    """The files that the words name, each once, in the order of the words and of their names.

    A pattern that the shell has left alone is expanded as the shell would. In folders, hidden files
    and what does not end like a film or a sound file are passed over. A file that is named is taken
    as it is, also if it is not there: opening it gives the error.

    Args:
        words: Files, folders, patterns.
        is_recursive: Look into the folders of folders too; links to folders are followed once.
        leave_out: A folder below a named one that is not looked into: where the results go.

    Raises:
        ConfigError: A pattern fits nothing, or a folder cannot be read.
    """
    found: dict[str, Input] = {}
    for word in words:
        for path in _expand(word):
            for one in _files(path, is_recursive=is_recursive, leave_out=leave_out):
                # Two ways to a folder are one; a link to a file has a name of its own.
                folder = os.path.realpath(one.path.parent)
                found.setdefault(str(Path(folder, one.path.name)), one)
    return list(found.values())


def _expand(word: Path) -> list[Path]:
    text = str(word)
    if os.path.lexists(text) or not glob.has_magic(text):
        return [word]
    paths = [Path(name) for name in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207 - ours to expand
    if not paths:
        raise ConfigError(f"nothing fits {text}", hint="check the folder and the pattern")
    return paths


def _files(path: Path, *, is_recursive: bool, leave_out: Path | None) -> Iterator[Input]:
    if not is_folder(path):
        yield Input(path)
        return
    try:
        yield from _walk(path, Path(), is_recursive=is_recursive, leave_out=leave_out, seen=set())
    except OSError as error:
        raise ConfigError(
            f"{error.filename} cannot be read: {error.strerror}", hint="check its permissions"
        ) from error


def _walk(
    folder: Path, below: Path, *, is_recursive: bool, leave_out: Path | None, seen: set[str]
) -> Iterator[Input]:
    real = os.path.realpath(folder)
    if real in seen or (below.parts and leave_out is not None and real == str(leave_out)):
        return
    seen.add(real)
    with os.scandir(folder) as entries:
        shown = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in shown:
        path = Path(entry.path)
        if entry.is_dir():
            if is_recursive:
                yield from _walk(
                    path, below / entry.name, is_recursive=True, leave_out=leave_out, seen=seen
                )
        elif path.suffix.lower() in FILM_ENDINGS | SOUND_ENDINGS:
            yield Input(path, below)

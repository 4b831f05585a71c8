"""The journal of a growing file: a few facts beside it, which say after a crash what was cut off.

Written by the thread that writes the file, every two seconds, whole or not at all (a temporary file
and a rename), removed when the file has its end. What is left without its recorder is an orphan.
A journal that cannot be written costs nothing but this knowledge, never the recording. It holds no
path, no title and no command: only what is needed to tell whether the recorder lives, how
much there should be, and what was to become of it.
"""

import contextlib
import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from capture.errors import MediaError
from capture.naming import NAME_BYTES, fitted
from capture.process import boot_id, is_still, process_start

__all__ = [
    "MESSAGE_RECIPE",
    "Entry",
    "Journal",
    "find_orphans",
    "is_message",
    "is_recording",
    "journal_path",
    "read_journal",
    "require_ended",
]

_SUFFIX = ".journal"
_PART = ".part"
MESSAGE_RECIPE = "voice-message"
"""Kind of the recipe of a voice message."""
WRITE_EVERY_S = 2.0
"""As often as the disk is told to keep the file itself."""
STALE_AFTER_S = 10.0
"""Where the recorder cannot be asked (another machine): silence for so long is death. Five writes
would have been due."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a journal says."""

    file: str
    """Name of the growing file, which lies beside the journal."""
    target: str
    """Name that it will have in the end; differs while a file is being replaced."""
    container: str
    """Its ending, such as ``.mp4``."""
    tracks: tuple[str, ...]
    """In their order in the file; pictures are called ``picture``."""
    started: float
    """Wall time in s since 1970 at which the file was opened."""
    pid: int | None
    """The recorder; ``None`` once it has given the file up."""
    pid_started: int | None
    """When that process started, as ``process_start`` has it; ``None`` where unknown."""
    boot_id: str | None
    """This run of the machine; ``None`` where unknown."""
    host: str
    recipe: Mapping[str, Any] | None = None
    """What is to be made of the file in the end, where that is not the file itself; JSON."""
    media_s: float = 0.0
    """Up to which time of the file something was written."""
    written_bytes: int = 0


class Journal:
    """Kept by the one thread that writes the file.

    Args:
        path: The growing file.
        target: Where it will be in the end.
        tracks: Names of its tracks, in their order.
        recipe: As in ``Entry``.
    """

    def __init__(
        self,
        path: Path,
        *,
        target: Path,
        tracks: tuple[str, ...],
        recipe: Mapping[str, Any] | None = None,
    ) -> None:
        self._path = journal_path(path)
        self._next_s = 0.0
        self._entry = Entry(
            file=path.name,
            target=target.name,
            container=path.suffix.lower(),
            tracks=tracks,
            started=round(time.time(), 3),
            pid=os.getpid(),
            pid_started=process_start(os.getpid()),
            boot_id=boot_id(),
            host=platform.node(),
            recipe=recipe,
        )
        self._write()  # no moment in which the file grows and nobody seems to write it

    def update(self, media_s: float, written_bytes: int) -> None:
        """Note how far the file has come; writes at most every two seconds."""
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + WRITE_EVERY_S
            self._entry = replace(
                self._entry, media_s=round(media_s, 3), written_bytes=written_bytes
            )
            self._write()

    def give_up(self) -> None:
        """The file got no proper end, and this process will not come back to it."""
        self._entry = replace(self._entry, pid=None)
        if self._write():
            return
        with contextlib.suppress(OSError), self._path.open("r+b") as file:
            file.write(self._text().encode())  # a full disk has room where the journal is already
            file.truncate()

    def remove(self) -> None:
        """The file is whole."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _text(self) -> str:
        return json.dumps(asdict(self._entry))

    def _write(self) -> bool:
        part = self._path.with_name(f"{self._path.name}{_PART}")
        try:
            part.write_text(self._text(), encoding="utf-8")
            part.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            return False
        return True


def journal_path(path: Path) -> Path:
    """Where the journal of a file is."""
    name = f".{path.name}{_SUFFIX}"
    if len(os.fsencode(name + _PART)) > NAME_BYTES:  # it is cut, and stays that file's alone
        mark = hashlib.blake2b(os.fsencode(path.name), digest_size=4).hexdigest()
        name = fitted(f".{path.name}", f"~{mark}{_SUFFIX}{_PART}").removesuffix(_PART)
    return path.with_name(name)


def read_journal(path: Path) -> Entry | None:
    """The journal of a recorded file; ``None`` if it has none, or one that makes no sense."""
    try:
        known = json.loads(journal_path(path).read_text(encoding="utf-8"))
        known["tracks"] = tuple(known["tracks"])
        named = {field.name for field in fields(Entry)}
        return Entry(**{name: value for name, value in known.items() if name in named})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _recorded_by(journal: Path) -> Path:
    """The file whose journal this is; where its name is cut, the journal knows it."""
    name = journal.name[1 : -len(_SUFFIX)]
    if not journal.with_name(name).is_file():
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            name = Path(json.loads(journal.read_text(encoding="utf-8"))["file"]).name
    return journal.with_name(name)


def is_message(path: Path) -> bool:
    """Whether a growing file is to become a voice message."""
    entry = read_journal(path)
    recipe = entry.recipe if entry is not None else None
    return isinstance(recipe, dict) and recipe.get("kind") == MESSAGE_RECIPE


def find_orphans(
    folder: Path, *, with_folders: bool = False
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The unfinished recordings in a folder, oldest name first.

    Args:
        folder: Need not exist.
        with_folders: Also in the folders below it.

    Returns:
        Those that were cut off, and those that are being recorded now.
    """
    orphans: list[Path] = []
    living: list[Path] = []
    with contextlib.suppress(OSError):
        find = folder.rglob if with_folders else folder.glob
        for journal in find(f".*{_SUFFIX}"):
            path = _recorded_by(journal)
            if path.is_file():
                (living if is_recording(path) else orphans).append(path)
    return tuple(sorted(orphans)), tuple(sorted(living))


def is_recording(path: Path) -> bool:
    """Whether the recorder that writes this file lives."""
    return _living_s(path) > 0


def require_ended(path: Path) -> None:
    """Go on only where nobody writes this file any more.

    Raises:
        MediaError: Its recorder lives, or may live.
    """
    living_s = _living_s(path)
    if living_s == math.inf:
        raise MediaError(
            f"{path} is being recorded", hint="stop that recording; it finishes the file itself"
        )
    if living_s > 0:
        raise MediaError(
            f"{path} was written a moment ago, by a process that cannot be asked from here",
            hint=f"if that recording has ended, try again in {math.ceil(living_s)} s",
        )


def _living_s(path: Path) -> float:
    """For how long the recorder of a file counts as living: infinite if it does live, 0 if not."""
    entry = read_journal(path)
    if entry is None or entry.pid is None:
        return 0.0
    if entry.host == platform.node():
        known = is_still(entry.pid, entry.pid_started, entry.boot_id)
        if known is not None:
            return math.inf if known else 0.0
    with contextlib.suppress(OSError):
        silent_s = time.time() - journal_path(path).stat().st_mtime
        return max(0.0, STALE_AFTER_S - silent_s)
    return 0.0

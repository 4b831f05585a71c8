"""The journal of a growing file: facts beside it, from which a crash can be repaired.

Written by the thread that writes the file, every two seconds, whole or not at all (a temporary file
and a rename), and removed when the file is complete. A growing file whose recorder is gone is an
orphan. Where a journal cannot be written only this knowledge is lost, never the recording. It holds
no path, no title and no command: only whether the recorder lives, the length of the recording, and
what the file was to become.
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
from capture.process import boot_id, is_same_process, process_start

_SUFFIX = ".journal"
_PART = ".part"
MESSAGE_RECIPE = "voice-message"
"""Kind of the recipe of a voice message."""
WRITE_EVERY_S = 2.0
"""As often as the file itself is synced to disk."""
STALE_AFTER_S = 10.0
"""Where the recorder cannot be asked (another machine): silence for so long is death. Five writes
would have been due."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The content of a journal: file, recorder, progress, recipe."""

    file: str
    """Name of the growing file, which lies beside the journal."""
    target: str
    """Name that it will have in the end; differs while a file is being replaced."""
    container: str
    """File name ending, such as ``.mp4``."""
    tracks: tuple[str, ...]
    """Names in the order of the file; pictures are ``picture``."""
    started: float
    """Wall time in s since 1970 at which the file was opened."""
    pid: int | None
    """The recorder; ``None`` once it has given the file up."""
    pid_started: int | None
    """Start of that process, from ``process_start``; ``None`` where unknown."""
    boot_id: str | None
    """This run of the machine; ``None`` where unknown."""
    host: str
    recipe: Mapping[str, Any] | None = None
    """JSON value for making the final file, where that is not the file itself."""
    media_s: float = 0.0
    """Up to which time of the file something was written."""
    written_bytes: int = 0


class Journal:
    """Writes the journal of one growing file; used by the thread that writes the file.

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
        """Mark the file as left unfinished, so that it can be recovered at once."""
        self._entry = replace(self._entry, pid=None)
        if self._write():
            return
        with contextlib.suppress(OSError), self._path.open("r+b") as file:
            file.write(self._text().encode())  # a full disk has room where the journal is already
            file.truncate()

    def remove(self) -> None:
        """Delete the journal; called when the file is complete. Never raises."""
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
    """The path of a file's journal."""
    name = f".{path.name}{_SUFFIX}"
    if len(os.fsencode(name + _PART)) > NAME_BYTES:  # it is cut, and stays that file's alone
        mark = hashlib.blake2b(os.fsencode(path.name), digest_size=4).hexdigest()
        name = fitted(f".{path.name}", f"~{mark}{_SUFFIX}{_PART}").removesuffix(_PART)
    return path.with_name(name)


def read_journal(path: Path) -> Entry | None:
    """The journal of a recorded file; ``None`` if there is none, or an unreadable one."""
    try:
        known = json.loads(journal_path(path).read_text(encoding="utf-8"))
        known["tracks"] = tuple(known["tracks"])
        named = {field.name for field in fields(Entry)}
        return Entry(**{name: value for name, value in known.items() if name in named})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _recorded_by(journal: Path) -> Path:
    """The file that a journal belongs to; where the name was cut, the journal has it."""
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
    """Whether the recorder that writes this file is alive."""
    return _living_s(path) > 0


def require_ended(path: Path) -> None:
    """Raise if another process still writes this file.

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
    """Seconds for which a recorder counts as alive: infinite if it is, 0 if it is dead."""
    entry = read_journal(path)
    if entry is None or entry.pid is None:
        return 0.0
    if entry.host == platform.node():
        known = is_same_process(entry.pid, entry.pid_started, entry.boot_id)
        if known is not None:
            return math.inf if known else 0.0
    with contextlib.suppress(OSError):
        silent_s = time.time() - journal_path(path).stat().st_mtime
        return max(0.0, STALE_AFTER_S - silent_s)
    return 0.0

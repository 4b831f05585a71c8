"""The index of message folders: matches the lines of journals with files.

A line and a file belong together by the file's name and size. What is left over is matched by its
content: a file that was renamed or moved by hand, also into another folder. A file of another
content under a known name was changed by another program, and is still that message. A file without
a line is a message if its tags name ``capture voice`` as its writer; other files are left alone.
Matches are written into the journal of the folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capture.errors import CaptureError, ConfigError, OutputError
from capture.messages import journal
from capture.messages.message import ID_DIGITS, Message, Origin, entry_of, message_of
from capture.messages.places import restore, sum_of
from capture.messages.store import DELETED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from capture.messages.journal import Position

__all__ = ["Indexed", "Survey", "current_entries"]

SOUND_ENDINGS = frozenset({".opus", ".ogg", ".oga", ".m4a", ".mp3", ".flac", ".wav"})
"""Endings of files of ``capture voice``; only such files are searched for tags."""
_MAKER = "capture "
"""How the ``encoded_by`` tag of this program's files begins."""
_OWN_TAGS = {"title", "date", "source", "duration"}
"""Tags that ``capture voice`` writes, except into files for messengers."""


@dataclass(slots=True)
class Indexed:
    """The messages that were found, the folders that were read, and counts of changes."""

    messages: list[Message] = field(default_factory=list)
    sums: list[tuple[str, Path]] = field(default_factory=list)
    """SHA-256 of deleted messages, with the folder whose journal has it."""
    folders: dict[Path, Position] = field(default_factory=dict)
    """Folders that were read, and how far their journals were read."""
    found: int = 0
    """Number of messages that no journal had."""
    moved: int = 0
    """Number of messages whose file had another name or place than in the journal."""
    missing: list[Message] = field(default_factory=list)
    """Messages of the journals whose file is nowhere."""


def current_entries(
    entries: Iterable[dict[str, Any]], folder: Path, *, is_whole: bool
) -> Iterator[dict[str, Any]]:
    """The valid lines of a journal: the last one of each message.

    An undone deletion that was cut off is completed here: its file is brought back.

    Args:
        entries: The lines.
        folder: Whose.
        is_whole: These are all lines: those go of which there is no file any more. Of a line that
            is new there is one.
    """
    last: dict[Any, dict[str, Any]] = {}
    for entry in entries:
        if entry.get(DELETED) is True:
            yield entry
        else:
            key = entry.get("id", entry.get("sha256"))
            last.pop(key, None)  # in the order of their last lines: of two with one name the later
            last[key] = entry
    for entry in last.values():
        with contextlib.suppress(ValueError):
            message = message_of(entry, folder)
            _bring_back(message)
            if not is_whole or os.path.lexists(_place_of(message)):
                yield entry


def _bring_back(message: Message) -> None:
    """Restore the file of a message whose deletion was undone, if that was interrupted."""
    if (
        message.deleted_at is None
        and os.path.lexists(message.hidden_path)
        and not os.path.lexists(message.path)
    ):
        with contextlib.suppress(OutputError):  # somebody else is doing it
            restore(message)


def _place_of(message: Message) -> Path:
    """The path of a message's file by its line in the journal."""
    if message.deleted_at is not None and os.path.lexists(message.hidden_path):
        return message.hidden_path
    return message.path


class Survey:
    """One index of a set of folders.

    Args:
        folders: Those that are looked through by themselves; those that are gone are passed over.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = [folder for folder in folders if folder.is_dir()]
        self._unmatched: list[Message] = []
        self._loose: list[tuple[Path, os.stat_result]] = []
        self._result = Indexed()

    def add_tree(self, place: Path) -> None:
        """Look through a folder too, and the folders below it that are not hidden.

        Raises:
            ConfigError: There is no such folder.
        """
        if not place.is_dir():
            raise ConfigError(f"there is no folder {place}", hint="check the name")
        for folder, below, _ in os.walk(place):
            below[:] = sorted(name for name in below if not name.startswith("."))
            self._folders.append(Path(folder))

    def run(self) -> Indexed:
        """Read all folders and match their journals with their files."""
        for folder in dict.fromkeys(self._folders):
            with contextlib.suppress(OSError, OutputError):  # one that cannot be read
                self._read(folder)
        self._match()
        self._look_at_tags()
        self._result.missing = self._unmatched
        self._result.messages = list(_first_of_each(self._result.messages))
        return self._result

    def _read(self, folder: Path) -> None:
        reading = journal.read(folder)
        # Before the files are listed: some may come back.
        entries = list(current_entries(reading.entries, folder, is_whole=False))
        files = {
            entry.name: entry.stat()
            for entry in os.scandir(folder)
            if entry.is_file() and entry.name != journal.JOURNAL
        }
        self._result.folders[folder] = reading.position
        for entry in reversed(entries):  # of two with one name the later
            if entry.get(DELETED) is True:
                self._result.sums.append((str(entry.get("sha256")), folder))
            else:
                self._place(message_of(entry, folder), files)
        self._loose += [
            (folder / name, stat) for name, stat in files.items() if not name.startswith(".")
        ]

    def _place(self, message: Message, files: dict[str, os.stat_result]) -> None:
        """Match a message with its file, which is taken out of the loose ones."""
        name = _place_of(message).name
        found = files.get(name)
        if found is None or message.size_bytes not in {found.st_size, -1}:
            self._unmatched.append(message)
            return
        del files[name]
        if message.size_bytes < 0:  # a line that another program has written
            message = dataclasses.replace(message, size_bytes=found.st_size)
        self._result.messages.append(message)

    def _match(self) -> None:
        """Find missing files by their content, or by a name whose content has changed."""
        waiting = {message.sha256: message for message in self._unmatched}
        sizes = {message.size_bytes for message in self._unmatched}
        loose = []
        for path, found in self._loose:
            message = None
            if found.st_size in sizes:
                with contextlib.suppress(OSError):
                    message = waiting.pop(sum_of(path), None)
            if message is None:
                loose.append((path, found))
            else:
                self._note(dataclasses.replace(message, path=path, deleted_at=None))
                self._result.moved += 1
        by_path = {message.path: message for message in waiting.values()}
        self._loose = []
        for path, found in loose:
            message = by_path.get(path)
            if message is None:
                self._loose.append((path, found))
            elif message.deleted_at is None and self._note_changed(message, found):
                del waiting[message.sha256]
        self._unmatched = list(waiting.values())

    def _note_changed(self, message: Message, found: os.stat_result) -> bool:
        try:
            sha256 = sum_of(message.path)
        except OSError:
            return False
        changed = dataclasses.replace(
            message,
            sha256=sha256,
            size_bytes=found.st_size,
            length_s=_length_of(message.path) or message.length_s,
            peaks=None,
        )
        self._note(changed)
        return True

    def _look_at_tags(self) -> None:
        """Add messages for files of this program that no journal has."""
        sums = {message.sha256 for message in self._result.messages}
        sums |= {sha256 for sha256, _ in self._result.sums}
        # What was extracted from a message has its tags: the older file is the message.
        moments = {_second_of(message) for message in self._result.messages}
        for path, found in sorted(self._loose, key=lambda each: each[1].st_mtime_ns):
            if path.suffix.lower() not in SOUND_ENDINGS:
                continue
            with contextlib.suppress(OSError, CaptureError, ValueError):
                message = _message_by_tags(path, found)
                if message is None or message.sha256 in sums or _second_of(message) in moments:
                    continue
                sums.add(message.sha256)
                moments.add(_second_of(message))
                self._note(message)
                self._result.found += 1

    def _note(self, message: Message) -> None:
        """Change a message, also in its folder's journal if that can be written."""
        self._result.messages.append(message)
        with contextlib.suppress(OutputError):
            journal.append(message.path.parent, [entry_of(message)])


def _second_of(message: Message) -> tuple[int, str | None]:
    return int(message.moment.timestamp()), message.app or message.source


def _first_of_each(messages: Iterable[Message]) -> Iterator[Message]:
    """Each message once; of copies in two folders the one that was kept first."""
    seen: set[str] = set()
    for message in sorted(messages, key=lambda each: (each.kept_at, each.path)):
        if message.id not in seen:
            seen.add(message.id)
            yield message


def _length_of(path: Path) -> float | None:
    """Length of a file in seconds by its header; ``None`` where it is not known."""
    from capture.media.read.stream import SoundStream  # noqa: PLC0415 - loads av

    with contextlib.suppress(CaptureError), SoundStream(path) as stream:
        return stream.duration_s
    return None


def _message_by_tags(path: Path, found: os.stat_result) -> Message | None:
    """A message from the tags of a file; ``None`` if ``capture voice`` did not write it."""
    from capture.media.read.tracks import read_tags  # noqa: PLC0415 - loads av

    tags = read_tags(path)
    makers = (tags.get(name, "") for name in ("encoded_by", "software", "encoder"))
    if not any(maker.startswith(_MAKER) for maker in makers) or not tags.keys() >= _OWN_TAGS:
        return None
    sha256, source = sum_of(path), tags["source"]
    is_by_app = not tags["title"].startswith("Voice message")
    return Message(
        id=sha256[:ID_DIGITS],
        path=path,
        sha256=sha256,
        size_bytes=found.st_size,
        kept_at=datetime.fromtimestamp(found.st_mtime).astimezone(),
        origin=Origin.HEARD,
        length_s=float(tags["duration"]),
        app=source if is_by_app else None,
        source=None if is_by_app else source,
        sent_at=datetime.fromisoformat(tags["date"]),
    )

"""``Library``: all kept messages, listed, found, added, changed and deleted.

The truth is in the folders: the files, and the entries of each folder's journal. Whatever changes,
the journal is written first; then the store reads the lines that are new to it, whichever process
wrote them. So a process may be killed anywhere, and the next one knows what was written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from capture.errors import CaptureError, ConfigError, OutputError
from capture.hints import Advice
from capture.messages import journal
from capture.messages.folders import add_folder, known_folders, library_folder
from capture.messages.index import Indexed, Survey, current_entries
from capture.messages.message import ID_DIGITS, Facts, Message, entry_of
from capture.messages.places import hide, remove, restore, sum_of, translating
from capture.messages.store import DELETED, Query, Store, StoreDamagedError
from capture.naming import free_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["UNDO_FOR_S", "Library", "describe", "is_enabled", "record"]

T = TypeVar("T")
UNDO_FOR_S = 600.0
"""Time in which a deletion can be undone: enough to notice, and short for what is private."""
LEAST_DIGITS = 4
"""The least number of digits of an id that a person has to write."""
MOST_ROUNDS = 100
"""Most times that a journal is read again after another process has changed the store."""


def is_enabled() -> bool:
    """Whether messages are recorded at all; ``CAPTURE_LIBRARY=off`` switches that off."""
    return os.environ.get("CAPTURE_LIBRARY", "").casefold() not in {"off", "0", "no", "false"}


def describe(
    path: Path, facts: Facts, *, peaks: bytes | None = None, picture: Path | None = None
) -> Message:
    """A new message from a file and the facts about it.

    Raises:
        OutputError: The file cannot be read.
    """
    path = path.absolute()
    with translating(path):
        sha256, size_bytes = sum_of(path), path.stat().st_size
    known = {one.name: getattr(facts, one.name) for one in dataclasses.fields(Facts)}
    return Message(
        id=sha256[:ID_DIGITS],
        path=path,
        sha256=sha256,
        size_bytes=size_bytes,
        kept_at=datetime.now().astimezone(),
        peaks=peaks,
        picture=None if picture is None else picture.absolute(),
        **known,
    )


def record(
    messages: Iterable[Message], *, library: Path | None = None, is_durable: bool = True
) -> None:
    """Record messages in the journals of their folders, where every library finds them.

    Needs no store: a recorder must neither wait for one nor fail with it.

    Args:
        messages: Which; what was known of one of the same id does not count any more.
        library: The folder of the library; by default the user's.
        is_durable: Wait until the disk has it.

    Raises:
        OutputError: It cannot be written down.
    """
    by_folder = defaultdict(list)
    for message in messages:
        by_folder[message.path.parent].append(entry_of(message))
    for folder, entries in by_folder.items():
        add_folder(library or library_folder(), folder)
        journal.append(folder, entries, is_durable=is_durable)


class Library:
    """All kept messages; any thread may call any method, and any process may have one open.

    Args:
        folder: Where its store lies; by default in the user's data folder.

    Raises:
        OutputError: The store cannot be opened.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or library_folder()
        self._store = Store(self._folder / "messages.sqlite")
        try:
            self._ask(self._begin)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store; idempotent."""
        self._store.close()

    # -------------------------------------------------------------------------------------- asking

    def messages(self, query: Query | None = None) -> tuple[Message, ...]:
        """The messages that match a query, the latest first; by default all."""
        self.refresh()
        return self._ask(lambda: self._store.messages(query or Query()))

    def find(self, text: str | Path) -> Message:
        """The message with an id, the beginning of an id, or a path; also a deleted one.

        Raises:
            ConfigError: There is none, or there are several.
        """
        self.refresh()
        path = Path(os.path.abspath(text))  # noqa: PTH100 - a link is a file
        found = self._ask(lambda: self._store.at(path))
        if found is not None:
            return found
        digits = str(text).casefold()
        fitting = self._store.beginning_with(digits) if len(digits) >= LEAST_DIGITS else ()
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise ConfigError(
                f"{len(fitting)} messages have an id that begins with {text}",
                hint=Advice.SHOW_MESSAGES.with_(first="write more of it"),
            )
        raise ConfigError(
            f"there is no message {text}",
            hint=Advice.SHOW_MESSAGES.with_(first="write a file, or at least four digits of an id"),
        )

    def newest(self, message: Message) -> Message:
        """The present state of a message.

        Raises:
            ConfigError: It is not there any more.
        """
        return self.find(message.id)

    def with_content(self, sha256: str) -> Message | None:
        """The message with this SHA-256, whatever its origin; also a deleted one."""
        self.refresh()
        return self._ask(lambda: self._store.with_sum(sha256))

    def was_deleted(self, sha256: str) -> bool:
        """Whether a message with this SHA-256 was deleted for good, so that none imports it."""
        return self._ask(lambda: self._store.is_sum_of_deleted(sha256))

    # ------------------------------------------------------------------------------------- changing

    def add(self, *messages: Message) -> tuple[Message, ...]:
        """Record messages; gives them as they are known now.

        A message with the content of a known one is that message, and does not change it.

        Raises:
            OutputError: It cannot be written down.
        """
        record(messages, library=self._folder)
        self.refresh()
        return tuple(self._store.with_sum(message.sha256) or message for message in messages)

    def change(self, message: Message, **fields: Any) -> Message:
        """Change facts of a message; gives the changed message.

        Raises:
            OutputError: It cannot be written down.
        """
        changed = dataclasses.replace(message, **fields)
        record([changed], library=self._folder)
        self.refresh()
        return changed

    def refresh(self) -> None:
        """Read the new lines of all journals, whichever process wrote them."""
        self._ask(self._refresh)

    def _refresh(self) -> None:
        for folder, since in self._all_folders().items():
            self._catch_up(folder, since)
        self._clean()

    def index(self, *places: Path) -> Indexed:
        """Look through all known folders, and these with their subfolders.

        Finds files that were renamed or moved by hand, and messages in folders from elsewhere.

        Raises:
            ConfigError: There is no such folder.
        """
        survey = Survey(self._all_folders())
        for place in places:
            survey.add_tree(place.absolute())
        found = survey.run()
        for folder in found.folders:
            add_folder(self._folder, folder)
        self._store.replace_all(found.folders, found.messages, found.sums)
        self._refresh()  # what others have written down meanwhile
        return found

    # ------------------------------------------------------------------------------------- deleting

    def delete(self, message: Message, *, replaced_by: Message | None = None) -> Message:
        """Delete a message; gives the deleted message. A second time changes nothing.

        Its file is hidden in its folder until the deletion cannot be undone any more.

        Raises:
            ConfigError: There is no such message.
            OutputError: The system refuses.
        """
        message = self.newest(message)
        if message.deleted_at is not None:
            return message
        new_id = None if replaced_by is None else replaced_by.id
        deleted = self.change(message, deleted_at=datetime.now().astimezone(), replaced_by=new_id)
        hide(deleted)
        return deleted

    def undo(self, message: Message) -> Message:
        """Bring a deleted message back; gives it.

        Of one that was trimmed, the trimmed one is deleted for good.

        Raises:
            ConfigError: It was deleted for good, or never.
            OutputError: The system refuses.
        """
        deleted = self.newest(message)
        if deleted.deleted_at is None:
            raise ConfigError(
                f"{deleted.path.name} is not deleted", hint="there is nothing to undo"
            )
        if deleted.replaced_by is not None:
            with contextlib.suppress(ConfigError):  # deleted itself meanwhile
                self.purge(self.find(deleted.replaced_by))
        places = {"path": deleted.path, "picture": deleted.picture}
        if os.path.lexists(deleted.hidden_path):
            places["path"] = free_path(deleted.path)
        if deleted.picture is not None:
            is_hidden = os.path.lexists(deleted.hidden_picture)
            places["picture"] = free_path(deleted.picture) if is_hidden else None
        back = self.change(deleted, deleted_at=None, replaced_by=None, **places)
        restore(back)
        return back

    def purge(self, *messages: Message) -> None:
        """Delete messages for good: nothing is left but the SHA-256 of their content.

        Args:
            messages: Which; they need not be deleted yet.

        Raises:
            OutputError: The system refuses.
        """
        for message in messages:
            remove(message)
        # Also where it was before it was moved by hand.
        for folder in {*self._all_folders(), *(message.path.parent for message in messages)}:
            _erase(folder, messages)
        self.refresh()

    def purge_overdue(self, older_than_s: float = UNDO_FOR_S) -> None:
        """Delete for good what was deleted so long ago; an error leaves it for later."""
        before = datetime.now(UTC) - timedelta(seconds=older_than_s)
        deleted = self._store.messages(Query(is_deleted=True))
        overdue = [one for one in deleted if one.deleted_at and one.deleted_at <= before]
        try:
            if overdue:
                self.purge(*overdue)
        except OutputError:
            for message in overdue:
                with contextlib.suppress(OutputError):
                    self.purge(message)

    def forget(self) -> int:
        """Forget the SHA-256 of deleted messages, so that they can be imported again.

        Raises:
            OutputError: A journal cannot be written.
        """
        self.refresh()
        count = self._store.sums_of_deleted()
        for folder in self._store.folders():
            journal.rewrite(
                folder, lambda entries: [one for one in entries if one.get(DELETED) is not True]
            )
        self.refresh()
        return count

    # ---------------------------------------------------------------------------------------- small

    def _begin(self) -> None:
        if self._store.is_complete:
            self._refresh()
        else:
            self.index()
        self.purge_overdue()

    def _ask(self, question: Callable[[], T]) -> T:
        """The answer of the store; a damaged store is replaced first."""
        try:
            return question()
        except StoreDamagedError:
            self._store.begin_anew()
            self.index()
            return question()

    def _all_folders(self) -> dict[Path, Any]:
        """The folders to look at: those of the store, and those of the list."""
        folders: dict[Path, Any] = dict.fromkeys(known_folders(self._folder))
        return folders | self._store.folders()

    def _catch_up(self, folder: Path, since: journal.Position | None) -> None:
        for _ in range(MOST_ROUNDS):
            if journal.stamp_of(folder) == ("" if since is None else since.stamp):
                return
            try:
                reading = journal.read(folder, since)
            except CaptureError:
                return  # a disk that is not there; what is known of it stays
            if reading.position == since:
                return
            if reading.is_whole and not folder.is_dir():
                return
            entries = current_entries(reading.entries, folder, is_whole=reading.is_whole)
            reading = dataclasses.replace(reading, entries=tuple(entries))
            if self._store.take(folder, since, reading):
                return
            since = self._store.folders().get(folder)
            time.sleep(0)

    def _clean(self) -> None:
        """Remove rests of deleted messages from the store; after an error, the next time."""
        with contextlib.suppress(OutputError):
            self._store.clean()


def _erase(folder: Path, leaving: Sequence[Message]) -> None:
    """Replace messages in a folder's journal by the SHA-256 of their content."""
    ids, sums = {one.id for one in leaving}, {one.sha256 for one in leaving}

    def is_leaving(entry: dict[str, Any]) -> bool:
        return entry.get("id") in ids or (entry.get("sha256") in sums and DELETED not in entry)

    def edit(entries: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
        if not any(map(is_leaving, entries)):
            return None
        kept = {
            (entry.get("id") or entry.get("sha256") or number, DELETED in entry): entry
            for number, entry in enumerate(entries)
            if not is_leaving(entry)
        }
        known = {entry.get("sha256") for entry in kept.values() if DELETED in entry}
        return [*kept.values(), *({"sha256": one, DELETED: True} for one in sorted(sums - known))]

    journal.rewrite(folder, edit)

"""``capture messages``: kept voice messages on the command line."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from capture.cli.app import print_error, say
from capture.cli.values import Duration
from capture.cli.views import print_json
from capture.errors import CaptureError, ConfigError
from capture.exit_codes import EXIT_FAILED, EXIT_SOME_FAILED, EXIT_USAGE
from capture.messages import Library, Message, Query
from capture.units import format_clock

__all__ = ["messages"]

messages = App(name="messages", help="List, find and change kept voice messages.")

ID_SHOWN = 8
"""Digits: two of 20 000 messages share them with a probability of 5 %, and more are taken too."""
Flag = Annotated[bool, Parameter(negative="")]
Words = Annotated[tuple[str, ...], Parameter(negative="")]


@Parameter(name="*")
@dataclass
class Filter:
    """Which messages.

    Attributes:
        sender: Only those of whose sender's name this is a part.
        chat: Only those of such a conversation.
        app: Only those of such an application.
        origin: Only those that were heard, imported or extracted.
        since: Only those of this day or time, such as 2026-01-31 or "2026-01-31 14:30", and later.
        until: Only those of this day, or before this time, and earlier.
        limit: Only the latest so many.
    """

    sender: str | None = None
    chat: str | None = None
    app: str | None = None
    origin: Literal["heard", "imported", "extracted"] | None = None
    since: str | None = None
    until: str | None = None
    limit: int | None = None


@messages.default
@messages.command(name="list")
def list_(
    *words: str,
    chosen: Filter | None = None,
    deleted: Flag = False,
    json: Flag = False,
) -> int:
    """List kept voice messages, the latest first; with words, those in which all of them are.

    Words are looked for in what is said (where a transcript is known), and in the names of files,
    senders, chats and applications: parts of words too, and neither case nor accents matter.

    Args:
        words: What to look for.
        chosen: Which messages.
        deleted: Those whose deletion can still be undone, instead.
        json: One JSON object a message, on stdout.
    """
    query = _query(words, chosen, is_deleted=deleted)
    with _library() as library:
        found = library.messages(query)
    if json:
        for message in found:
            print_json(_row(message))
        return 0
    if not found:
        say("no message fits" if query != _query((), None) else "no message is kept yet")
    lines = [_cells(message) for message in found]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for cells in lines:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(line.rstrip())  # noqa: T201
    return 0


@messages.command
def rename(message: str, name: str, /) -> int:
    """Give the file of a message another name; prints its path.

    Args:
        message: A file, or the beginning of an id.
        name: Without its ending; {date} {time} {app} {sender} {chat} {length} {source} {origin} in
            it stand for what is known.
    """
    from capture.messages import name_of, rename as rename_message  # noqa: PLC0415 - slow to load

    with _library() as library:
        found = library.find(message)
        _tell(rename_message(library, found, name_of(name, found)))
    return 0


@messages.command
def trim(message: str, /, *, start: Duration = None, end: Duration = None) -> int:
    """Keep a part of a message only, without encoding it anew; prints its path.

    The message as it was can be brought back with `undo`.

    Args:
        message: A file, or the beginning of an id.
        start: Leave out what comes before this time.
        end: Leave out what comes after this time.
    """
    from capture.messages import trim as trim_message  # noqa: PLC0415 - only where needed

    if start is None and end is None:
        raise ConfigError("there is nothing to trim", hint="write --start or --end, such as 1.5s")
    with _library() as library:
        _tell(trim_message(library, library.find(message), start_s=start, end_s=end))
    return 0


@messages.command
def delete(*chosen: str, now: Flag = False) -> int:
    """Delete messages with all that is known of them; `undo` brings them back for ten minutes.

    After that, the next command that lists messages removes every trace but the sums of their
    content, by which `capture import` knows what not to bring back.

    Args:
        chosen: Files, or beginnings of ids.
        now: Remove every trace at once; it cannot be undone.
    """

    def delete_one(library: Library, message: Message) -> None:
        if now:
            library.purge(message)
            return
        library.delete(message)
        say(f"{message.path.name} is deleted; `capture messages undo {message.id[:ID_SHOWN]}`")

    return _each(chosen, delete_one)


@messages.command
def undo(*chosen: str) -> int:
    """Bring deleted or trimmed messages back as they were; prints their paths.

    Args:
        chosen: Beginnings of ids, or files as they were called; by default the last deleted one.
    """
    if not chosen:
        with _library() as library:
            found = library.messages(_query((), None, is_deleted=True))
        if not found:
            raise ConfigError(
                "there is nothing to undo", hint="what was deleted longer ago is gone for good"
            )
        chosen = (max(found, key=lambda each: each.deleted_at or each.kept_at).id,)
    return _each(chosen, lambda library, message: _tell(library.undo(message)))


@messages.command
def export(
    folder: Path,
    /,
    *words: str,
    chosen: Filter | None = None,
    name: str | None = None,
    for_: Annotated[
        Literal["whatsapp", "telegram"] | None, Parameter(name="--for", negative="")
    ] = None,
    json: Flag = False,
) -> int:
    """Copy the files of messages into a folder; prints the new paths.

    Args:
        folder: Where they go; made where it is missing. Nothing in it is overwritten.
        words: Only messages in which all of these are, as in `capture messages`.
        chosen: Which messages.
        name: Of the files, from {date} {time} {app} {sender} {chat} {length} {source} {origin}; by
            default as they are called.
        for_: Written as this messenger writes its own; by default bit for bit as they are.
        json: One JSON object a message, on stdout: what is known of it, and "exported", the copy.
    """
    from capture.messages import check_name, copy_to  # noqa: PLC0415 - only where needed

    if name is not None:
        check_name(name)
    with _library() as library:
        found = library.messages(_query(words, chosen))
    if not found:
        say("no message fits")
    failed = 0
    for message in reversed(found):
        try:
            path = copy_to(message, folder, name=name, messenger=for_)
        except CaptureError as error:
            failed += 1
            print_error(error.message, error.hint)
            continue
        if json:
            print_json(_row(message) | {"exported": path})
        else:
            print(path, flush=True)  # noqa: T201
    if not failed:
        return 0
    return EXIT_SOME_FAILED if failed < len(found) else EXIT_FAILED


@messages.command
def index(*folders: Path) -> int:
    """Look through the folders of messages again: what was renamed, moved or removed by hand.

    Args:
        folders: More folders, with those below them, such as one that was moved.
    """
    with _library() as library:
        found = library.index(*folders)
        count = len(library.messages())
    for message in found.missing:
        say(f"its file is missing: {message.path}")
    moved = f", {found.moved} of them under another name or elsewhere" if found.moved else ""
    new = f", {found.found} of them new" if found.found else ""
    say(f"{count} message{'' if count == 1 else 's'}{new}{moved}")
    return 0


@messages.command
def forget() -> int:
    """Forget which messages were deleted, so that `capture import` brings them again."""
    with _library() as library:
        count = library.forget()
    say(f"{count} sum{'' if count == 1 else 's'} forgotten")
    return 0


# ------------------------------------------------------------------------------------------- small


def _library() -> Library:
    from capture.messages import Library  # noqa: PLC0415 - help needs none of it

    return Library()


def _query(words: tuple[str, ...], chosen: Filter | None, *, is_deleted: bool = False) -> Query:
    from capture.messages import Origin, Query  # noqa: PLC0415 - as above

    chosen = chosen or Filter()
    if chosen.limit is not None and chosen.limit < 1:
        raise ConfigError(f"--limit {chosen.limit} lists nothing", hint="write 1 or more")
    return Query(
        words=" ".join(words),
        sender=chosen.sender,
        chat=chosen.chat,
        app=chosen.app,
        origin=None if chosen.origin is None else Origin(chosen.origin),
        since=_moment("since", chosen.since, is_end=False),
        until=_moment("until", chosen.until, is_end=True),
        limit=chosen.limit,
        is_deleted=is_deleted,
    )


def _moment(option: str, text: str | None, *, is_end: bool) -> datetime | None:
    """A day or a time of this machine's zone; of a day the beginning, or its end."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"--{option} {text} is no day", hint='write 2026-01-31 or "2026-01-31 14:30"'
        ) from error
    is_day = len(text) <= len("2026-01-31")
    try:
        moment += timedelta(days=1 if is_day and is_end else 0)
        return moment if moment.tzinfo is not None else moment.astimezone()
    except (OverflowError, OSError, ValueError) as error:
        raise ConfigError(
            f"--{option} {text} is too far away", hint="write a day of these centuries"
        ) from error


def _each(chosen: tuple[str, ...], action: Callable[[Library, Message], None]) -> int:
    """Do something to each of the messages; one that fails keeps no other from it."""
    if not chosen:
        raise ConfigError("no message is named", hint="`capture messages` shows their ids")
    codes = []
    with _library() as library:
        for text in chosen:
            try:
                action(library, library.find(text))
            except CaptureError as error:
                print_error(error.message, error.hint)
                codes.append(EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED)
    if not codes:
        return 0
    return EXIT_SOME_FAILED if len(codes) < len(chosen) else max(codes)


def _tell(message: Message) -> None:
    print(message.path, flush=True)  # noqa: T201


def _row(message: Message) -> dict[str, Any]:
    """All that is known of a message; what is not known is null."""
    from capture.messages import entry_of  # noqa: PLC0415 - as above

    return dict.fromkeys(_KEYS) | entry_of(message) | {"path": message.path}


_KEYS = (
    *("id", "path", "origin", "app", "source", "sender", "chat", "sent_at", "kept_at", "length_s"),
    *("part", "sha256", "size_bytes", "peaks", "picture", "transcript", "deleted_at"),
    "replaced_by",
)


def _cells(message: Message) -> tuple[str, ...]:
    """A message as a line of a list."""
    sent_at = message.sent_at
    who = " in ".join(filter(None, (message.sender, message.chat))) or message.app or ""
    return (
        message.id[:ID_SHOWN],
        "undated" if sent_at is None else f"{sent_at.astimezone():%Y-%m-%d %H:%M:%S}",
        format_clock(message.length_s),
        "".join(_shown(who)),
        "".join(_shown(str(message.path))),
    )


def _shown(text: str) -> Iterator[str]:
    """What does nothing to a terminal: a name may come from anybody."""
    for sign in text:
        yield sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}"

"""``Message``: a kept voice message, wherever it came from; and how it is written as JSON.

``Facts`` is what is known before there is a file: names are made of it. A ``Message`` is that and
its file.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from capture.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ID_DIGITS", "Facts", "Message", "Origin", "Passage", "entry_of", "message_of"]

ID_DIGITS = 16
"""Of a SHA-256, as an id: two of 20 000 messages share one with a probability of 1e-11."""
_SUM_DIGITS = 64

T = TypeVar("T")


class Origin(enum.StrEnum):
    """How a message came to be: heard, imported or extracted."""

    HEARD = "heard"
    """It was recorded while it played."""
    IMPORTED = "imported"
    """Its file was copied out of an export, a backup or a mailbox."""
    EXTRACTED = "extracted"
    """It was cut out of a longer recording."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Words of a transcript, with their time."""

    text: str
    start_s: float | None = None
    """Time from the beginning of the message; ``None``: not known."""
    end_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts about a message that do not depend on its file."""

    origin: Origin
    length_s: float
    app: str | None = None
    """The application that played it; ``None``: not known, or none did."""
    source: str | None = None
    """The label of the device or the name of the file it is from; ``None``: not known."""
    sender: str | None = None
    """The speaker; ``None``: not known."""
    chat: str | None = None
    """The conversation that it belongs to; ``None``: not known, or none."""
    sent_at: datetime | None = None
    """With its time zone. Of a heard message: when it played. ``None``: not known."""
    part: int | None = None
    """1, 2, ... where one message was so long that it was cut; ``None``: it is whole."""
    transcript: tuple[Passage, ...] = ()
    """The spoken words in order; empty: not known."""
    more: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Further facts of its origin, as JSON has them. They are kept, and mean nothing here."""

    def __post_init__(self) -> None:
        """Refuse times without a zone: they are different moments on different machines."""
        for name in ("sent_at", "kept_at", "deleted_at"):
            moment = getattr(self, name, None)
            if moment is not None and moment.tzinfo is None:
                raise ConfigError(f"{name} has no time zone", hint="see datetime.astimezone")

    @property
    def text(self) -> str:
        """The words of the transcript, joined by blanks; empty without a transcript."""
        return " ".join(passage.text for passage in self.transcript)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(Facts):
    """A kept message: the facts about it, and its file."""

    id: str
    """Hexadecimal digits, from the content that it had when it was first kept. It stays the same
    when the file is renamed, moved or indexed again."""
    path: Path
    """Absolute. Of a deleted message: where the file was."""
    sha256: str
    """SHA-256 of the file's content, in hexadecimal digits."""
    size_bytes: int
    kept_at: datetime
    """When it was first kept, with its time zone."""
    peaks: bytes | None = None
    """The waveform for its picture, a byte a column, see ``capture.messages.peaks``; ``None``: not
    computed yet."""
    picture: Path | None = None
    """A picture of the waveform that lies beside it; ``None``: none was asked for."""
    deleted_at: datetime | None = None
    """When it was deleted, while that can be undone; ``None``: it is not deleted."""
    replaced_by: str | None = None
    """Id of the message that took its place in a trim; ``None``: there is none."""

    @property
    def moment(self) -> datetime:
        """When it was sent, or else when it was kept; lists are sorted by this."""
        return self.sent_at or self.kept_at

    @property
    def hidden_path(self) -> Path:
        """The path of the file after a deletion that can still be undone."""
        return self.path.with_name(f".{self.id}.deleted")

    @property
    def hidden_picture(self) -> Path:
        """The path of the picture after a deletion that can still be undone."""
        return self.path.with_name(f".{self.id}.deleted.png")


# ---------------------------------------------------------------------------------------- as JSON


def entry_of(message: Message) -> dict[str, Any]:
    """A message as a line of its folder's journal, without unknown values.

    The file is named without its folder, so that the folder may be moved. ``more`` is not nested.
    """
    entry: dict[str, Any] = {"id": message.id, "path": message.path.name}
    for one in dataclasses.fields(message):
        value = getattr(message, one.name)
        if one.name in entry or one.name == "more" or value is None or value == ():
            continue
        entry[one.name] = _WRITERS.get(one.name, _as_it_is)(value)
    return entry | {key: value for key, value in message.more.items() if key not in _FIELDS}


def message_of(entry: Mapping[str, Any], folder: Path) -> Message:
    """The message of a line in a journal.

    Args:
        entry: As ``entry_of`` makes it. The id may be missing; unknown keys become ``more``.
        folder: Where the journal lies, absolute.

    Raises:
        ValueError: It stands for none.
    """
    found = _Entry(entry)
    sha256 = found.take("sha256", str, default="").lower()
    if len(sha256) != _SUM_DIGITS or set(sha256) - set("0123456789abcdef"):
        raise ValueError("its sha256 is missing or no SHA-256")
    message_id = found.take("id", str, default=sha256[:ID_DIGITS])
    if not message_id or set(message_id) - set("0123456789abcdef"):
        raise ValueError("its id is no hexadecimal number")  # it becomes part of a file's name
    kept_at = found.moment("kept_at") or found.moment("sent_at")
    picture = found.optional("picture", str)
    return Message(
        id=message_id,
        path=folder / _plain_name(found.take("path", str)),
        sha256=sha256,
        size_bytes=found.take("size_bytes", int, default=-1),
        kept_at=kept_at or datetime.fromtimestamp(0).astimezone(),
        peaks=_read_peaks(found.optional("peaks", str)),
        picture=None if picture is None else folder / _plain_name(picture),
        deleted_at=found.moment("deleted_at"),
        replaced_by=found.optional("replaced_by", str),
        origin=Origin(found.take("origin", str)),
        length_s=found.take("length_s", float, default=0.0),
        app=found.optional("app", str),
        source=found.optional("source", str),
        sender=found.optional("sender", str),
        chat=found.optional("chat", str),
        sent_at=found.moment("sent_at"),
        part=found.optional("part", int),
        transcript=_read_transcript(found.optional("transcript", object)),
        more={key: value for key, value in entry.items() if key not in _FIELDS},
    )


class _Entry:
    """Reads values of a line, and checks their types."""

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self._entry = entry

    def optional(self, key: str, kind: type[T]) -> T | None:
        value = self._entry.get(key)
        return None if value is None else self.take(key, kind)

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        value = self._entry.get(key, default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"its {key} is {value!r}")
        return value

    def moment(self, key: str) -> datetime | None:
        text = self.optional(key, str)
        return None if text is None else _read_moment(text)


def _read_moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.astimezone()


def _plain_name(name: str) -> str:
    """A file name without a folder: a message may be renamed and deleted by it."""
    if name in {"", ".", ".."} or any(sign in name for sign in "/\\\0"):
        raise ValueError(f"{name!r} is no file beside it")
    return name


def _read_peaks(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


def _read_transcript(value: object) -> tuple[Passage, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (Passage(value),)
    if not isinstance(value, list):
        raise ValueError("its transcript is no list of passages")  # noqa: TRY004 - as all that is wrong with it
    passages = []
    for one in value:
        if not isinstance(one, Mapping):
            raise ValueError("its transcript is no list of passages")  # noqa: TRY004 - the same
        found = _Entry(one)
        times = found.optional("start_s", float), found.optional("end_s", float)
        passages.append(Passage(found.take("text", str), *times))
    return tuple(passages)


def _write_transcript(passages: tuple[Passage, ...]) -> Any:
    if len(passages) == 1 and passages[0].start_s is None and passages[0].end_s is None:
        return passages[0].text
    return [
        {key: value for key, value in dataclasses.asdict(passage).items() if value is not None}
        for passage in passages
    ]


def _as_it_is(value: Any) -> Any:
    return value


_WRITERS: dict[str, Any] = {
    "origin": str,
    "sent_at": datetime.isoformat,
    "kept_at": datetime.isoformat,
    "deleted_at": datetime.isoformat,
    "peaks": lambda peaks: base64.b64encode(peaks).decode(),
    "picture": lambda path: path.name,
    "transcript": _write_transcript,
}
_FIELDS = frozenset(one.name for one in dataclasses.fields(Message)) - {"more"}

"""File names of messages: one pattern for all, whatever their origin."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from capture.errors import ConfigError
from capture.messages.message import Facts, Origin
from capture.naming import safe_name

if TYPE_CHECKING:
    from capture.messages.message import Message

__all__ = ["check_name", "length_text", "name_of", "renamed_stem"]


def length_text(length_s: float) -> str:
    """A length in seconds as ``0m37s`` or ``1h02m05s``, which sorts and reads well in a name."""
    whole = max(1, round(length_s)) if length_s > 0 else 0
    minutes, seconds = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 - minutes of an hour
        return f"{minutes}m{seconds:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m{seconds:02d}s"


def name_of(pattern: str, facts: Facts) -> str:
    """The name of a message's file without its ending, safe on every file system.

    Args:
        pattern: Text with ``{date}``, ``{time}``, ``{app}``, ``{sender}``, ``{chat}``,
            ``{length}``, ``{source}``, ``{origin}`` in it. The time is that of this machine's zone.
        facts: What is known of the message. What is not known is left out, but for the date, which
            is then ``undated``.

    Raises:
        ConfigError: The pattern has a word in braces that is none of these.
    """
    moment = None if facts.sent_at is None else facts.sent_at.astimezone()
    words = {
        "date": "undated" if moment is None else moment.strftime("%Y-%m-%d"),
        "time": "" if moment is None else moment.strftime("%H.%M.%S"),
        "app": facts.app or "",
        "sender": facts.sender or "",
        "chat": facts.chat or "",
        "length": length_text(facts.length_s),
        "source": facts.source or "",
        "origin": facts.origin.value,
    }
    try:
        # Nothing but the words: what a part of one or its width comes to shows only in the end.
        for _, word, width, conversion in string.Formatter().parse(pattern):
            if word is not None and (word not in words or width or conversion):
                raise ValueError(f"{word!r} is no known word")  # noqa: TRY301 - as parse() does
        text = pattern.format_map(words)
    except ValueError as error:
        raise ConfigError(
            f"{pattern!r} is no pattern for names: {error}",
            hint="words in braces are " + " ".join(f"{{{word}}}" for word in words),
        ) from error
    return safe_name(text if facts.part is None else f"{text} part {facts.part}")


def check_name(pattern: str) -> None:
    """Refuse a pattern with an unknown word in braces.

    Raises:
        ConfigError: It has a word in braces that nobody knows.
    """
    name_of(pattern, Facts(origin=Origin.HEARD, length_s=1.0))


def renamed_stem(message: Message, length_s: float) -> str:
    """The name of a message's file, without its ending, after its length has changed."""
    before, after = length_text(message.length_s), length_text(length_s)
    words = message.path.stem.split(" ")
    return " ".join(after if word == before else word for word in words)

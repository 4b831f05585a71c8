"""Kept voice messages, wherever they come from: listed, found, renamed, trimmed, deleted.

``message`` is the value, ``journal`` the file in each folder with the facts that sound files cannot
hold, ``store`` the cache of all folders, ``library`` what holds them together, ``index`` what finds
everything again; ``actions`` is what is done to a message, ``names`` the pattern for its name.
"""

from __future__ import annotations

from capture.messages.actions import copy_to, for_messenger, rename, trim, with_peaks
from capture.messages.index import Indexed
from capture.messages.library import UNDO_FOR_S, Library, describe, is_enabled, record
from capture.messages.message import Facts, Message, Origin, Passage, entry_of
from capture.messages.names import check_name, length_text, name_of
from capture.messages.store import Query

__all__ = [
    "UNDO_FOR_S",
    "Facts",
    "Indexed",
    "Library",
    "Message",
    "Origin",
    "Passage",
    "Query",
    "check_name",
    "copy_to",
    "describe",
    "entry_of",
    "for_messenger",
    "is_enabled",
    "length_text",
    "name_of",
    "record",
    "rename",
    "trim",
    "with_peaks",
]

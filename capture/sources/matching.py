"""Finds the streams of the application that a person names, on any system."""

from collections.abc import Iterable
from dataclasses import dataclass

from capture.process import ancestors


@dataclass(frozen=True, slots=True)
class AppStream:
    """The names of a stream and of its application. Case and empty texts do not matter."""

    id: int
    names: tuple[str, ...]
    """Names of the application: its name, its id, its program."""
    loose_names: tuple[str, ...] = ()
    """Texts with its name: of its icon, its window."""
    titles: tuple[str, ...] = ()
    """Titles of what it plays."""
    pid: int | None = None
    """Process number; ``None``: not known."""


def match(wished: str, streams: Iterable[AppStream]) -> set[int]:
    """Ids of the streams of the application with the name ``wished`` (casefolded).

    A name that fits exactly beats one that fits in part, and both beat the title of what is played,
    which any application may set: a title counts where no application has that name. The number, or
    the name, of a process stands for all processes that it started.
    """
    ranks = {each.id: rank for each in streams if (rank := _rank(wished, each)) is not None}
    return {id_ for id_, rank in ranks.items() if rank == min(ranks.values())}


def _rank(wished: str, stream: AppStream) -> int | None:
    """0: the application has this name, 1: as a part, 2: it is in the title of what plays."""
    names = [name.casefold() for name in stream.names]
    if wished in names or (stream.pid is not None and _descends_from(stream.pid, wished)):
        return 0
    if wished.isdecimal():  # a process id, not a part of a name
        return None
    names += [name.casefold() for name in stream.loose_names]
    if any(wished in name for name in names):
        return 1
    return 2 if any(wished in title.casefold() for title in stream.titles) else None


def _descends_from(pid: int, wished: str) -> bool:
    """Whether the process or one of its ancestors has this name or number."""
    return any(wished in (str(number), name.casefold()) for number, name in ancestors(pid))

"""Which streams of sound belong to the application that someone names, on any system."""

from collections.abc import Iterable
from dataclasses import dataclass

from capture.process import lineage

__all__ = ["AppStream", "match"]


@dataclass(frozen=True, slots=True)
class AppStream:
    """What a stream says of who plays it, and what. Case does not matter, nor do empty texts."""

    id: int
    names: tuple[str, ...]
    """What the application is called: its name, its id, its program."""
    loose_names: tuple[str, ...] = ()
    """What holds its name: of its icon, its window."""
    titles: tuple[str, ...] = ()
    """What it says it plays."""
    pid: int | None = None
    """``None``: it does not say."""


def match(wished: str, streams: Iterable[AppStream]) -> set[int]:
    """Ids of the streams of the application that someone calls ``wished`` (casefolded).

    A name that fits exactly beats one that fits in part, and both beat the title of what is
    played, which any application may set: a title counts where no application is called so. The
    number, or the name, of a process stands for all that it started.
    """
    ranks = {each.id: rank for each in streams if (rank := _rank(wished, each)) is not None}
    return {id_ for id_, rank in ranks.items() if rank == min(ranks.values())}


def _rank(wished: str, stream: AppStream) -> int | None:
    """0: the application is called so, 1: in part, 2: it plays something called so."""
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
    return any(wished in (str(number), name.casefold()) for number, name in lineage(pid))

"""Messages without sound, for tests of what is kept of them; also as a program that keeps some."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from capture.messages import Facts, Library, Message, Origin, Passage, describe

MOMENT = datetime(2026, 11, 22, 14, 31, 5, 250_000, UTC)


def make(folder: Path, name: str = "one.opus", **known: Any) -> Message:
    """A file of its own content, and all that can be known of a message."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(f"the sound of {name} ".encode() + os.urandom(64))
    given: dict[str, Any] = {
        "origin": Origin.HEARD,
        "length_s": 12.34567,
        "app": "WhatsApp",
        "source": "applications",
        "sent_at": MOMENT,
    }
    return describe(path, Facts(**given | known), peaks=os.urandom(100))


def full(folder: Path, name: str, number: int) -> Message:
    """One with all fields, different ones for each number."""
    words = (
        Passage(f"erste Wörter {number}", 0.5, 1.25),
        Passage("ohne Zeit"),
        Passage("\N{CROCODILE} «zuletzt»", 2.0),
    )
    return make(
        folder,
        name,
        origin=tuple(Origin)[number % 3],
        length_s=number / 7 + 1,
        sender=f"Anna\n{number}",
        chat=None if number % 2 else "Ruder\u202eclub",
        sent_at=None if number % 5 == 0 else MOMENT + timedelta(hours=number),
        part=number % 4 or None,
        transcript=words[: number % 4],
        more={"kind": "voice", "sources": [{"source": "a.zip", "name": f"{number}"}], "is_mine": 1},
    )


def main(folder: Path, first: int, count: int) -> None:
    """Keep so many messages, and say of each when it is kept."""
    with Library() as library:
        for number in range(first, first + count):
            (message,) = library.add(full(folder, f"{number}.opus", number))
            print(message.id, flush=True)  # noqa: T201
            if number % 5 == 4:
                library.delete(message)
                library.undo(message)
            if number % 7 == 6:
                doomed = full(folder, f"doomed {number}.opus", number)
                library.purge(*library.add(doomed))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

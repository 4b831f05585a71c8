"""Keys as terminals send them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from capture.cli.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform == "win32":
    pytest.skip("terminals as they are elsewhere", allow_module_level=True)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Where to type; stdin is the other end."""
    ours, theirs = os.openpty()
    with os.fdopen(theirs) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())  # it is no session's terminal
        yield ours
    os.close(ours)


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        (b"a q", ["a", " ", "q"]),
        ("äß€😀".encode(), ["ä", "ß", "€", "😀"]),
        (b"\x1b[A\x1b[B\x1b[C\x1b[D", ["up", "down", "right", "left"]),
        (b"\x1bOA\x1bOD\x1bOH\x1bOF", ["up", "left", "home", "end"]),
        (b"\x1b[1~\x1b[4~\x1b[H\x1b[F", ["home", "end", "home", "end"]),
        (b"\x1b[3~x", ["", "x"]),  # delete: a key without a name
        (b"\x1b[1;5Cx", ["", "x"]),  # with Ctrl
        (b"\x1b", ["escape"]),
    ],
)
def test_keys(typed: bytes, keys: list[str], terminal: int) -> None:
    with Keys() as reader:
        os.write(terminal, typed)
        assert [reader.read(1.0) for _ in keys] == keys
        assert reader.read(0.01) is None

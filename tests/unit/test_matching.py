"""Which streams someone means by the name of an application."""

from __future__ import annotations

import os

import pytest

from capture.process import ancestors
from capture.sources.matching import AppStream, match

FIREFOX = AppStream(1, ("Firefox", "org.mozilla.firefox", "firefox-bin"), titles=("mpv - a song",))
PLAYER = AppStream(2, ("mpv Media Player", "", "mpv"), loose_names=("mpv-icon",))
OTHER_PLAYER = AppStream(3, ("mpv Media Player", "", "mpv"), titles=("Firefox, the film",))
NAMELESS = AppStream(4, ("", "", ""), loose_names=("Chat window",), titles=("a Call",))
ALL = (FIREFOX, PLAYER, OTHER_PLAYER, NAMELESS)


@pytest.mark.parametrize(
    ("wished", "ids"),
    [
        ("firefox", {1}),  # its name, not what another one plays
        ("firefox-bin", {1}),
        ("fire", {1}),
        ("mpv", {2, 3}),  # exactly, not in part
        ("media", {2, 3}),
        ("icon", {2}),
        ("chat", {4}),
        ("song", {1}),  # nobody is called so
        ("call", {4}),
        ("chess", set()),
        ("4", set()),  # a process id, not the id of a stream
    ],
)
def test_a_name_beats_a_part_of_one_and_both_beat_a_title(wished: str, ids: set[int]) -> None:
    assert match(wished, ALL) == ids


def test_a_process_stands_for_what_it_started() -> None:
    child = AppStream(1, ("helper",), pid=os.getpid())
    other = AppStream(2, ("python",), pid=None)
    for number, name in ancestors(os.getpid()):
        assert match(str(number), (child, other)) == {1}
        assert 1 in match(name.casefold(), (child, other))
    assert match(str(os.getpid()), (other,)) == set()

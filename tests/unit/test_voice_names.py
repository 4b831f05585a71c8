"""What an application is called, and what sounded last: decided without a sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from capture.voice.recent import Recent
from capture.voice.saving import app_label

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.mark.parametrize(
    ("details", "label"),
    [
        ({"app": "Firefox", "title": "WhatsApp - 3 new"}, "WhatsApp"),
        ({"app": "org.telegram.desktop", "title": None}, "Telegram"),
        ({"app": "mpv", "title": "song.mp3"}, "mpv"),
        ({"app": "mpv", "title": "Signal Fire.mp3"}, "mpv"),
        ({"app": "Chromium", "title": "Telegram Web"}, "Telegram"),
        ({"app": None}, "unknown"),
    ],
)
def test_a_messenger_in_a_browser_is_called_by_its_name(
    details: Mapping[str, object], label: str
) -> None:
    assert app_label(details) == label


def test_recent_sound_is_held_and_no_more() -> None:
    recent = Recent(100)
    for first in range(0, 300, 30):
        recent.add(np.arange(first, first + 30)[:, None])
    assert recent.end_frame == 300
    assert 170 <= recent.start_frame <= 200
    held = np.concatenate(list(recent.between(195, 250)))[:, 0]
    np.testing.assert_array_equal(held, np.arange(max(195, recent.start_frame), 250))
    assert not list(recent.between(0, recent.start_frame))

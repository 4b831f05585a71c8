"""How fast a batch is, in words."""

from __future__ import annotations

import pytest

from capture.cli import extract_views
from capture.cli.extract_views import Tally
from capture.units import NS_PER_S


@pytest.mark.parametrize(
    ("sound_s", "shown"),
    [
        (3.0, ""),
        (95.0, "9.5 s of sound per second"),
        (99.9, "10 s of sound per second"),
        (2400.0, "4.0 min of sound per second"),
        (54_000.0, "1.5 h of sound per second"),
        (4_000_000.0, "111 h of sound per second"),
    ],
)
def test_speed_is_told_in_a_unit_that_fits(
    sound_s: float, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract_views, "now_ns", lambda: 10 * NS_PER_S)
    assert Tally(1, sound_s=sound_s, begun_ns=0).speed == shown

"""What people write on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from capture.cli.values import as_target, parse_dimensions, parse_rect
from capture.errors import ConfigError
from capture.geometry import Rect
from capture.specs.target import Desktop, Region, Screen, TestCard, Window
from capture.units import (
    format_clock,
    format_dbfs,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

CORNER = Rect(0, 0, 2, 2)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("1m30s", 90),
        ("1m 30s", 90),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("00:01:30", 90),
        ("1:30", 90),
        ("1:00:00.5", 3600.5),
        ("2min", 120),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-5s", "1:2:3:4", "5 apples", "1m30", "nan", "1e9"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("500MB", 500_000_000), ("2GiB", 2 << 30), ("1.5 k", 1500), ("12", 12), ("3b", 3)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1MB", "5XB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


def test_rectangles() -> None:
    assert parse_rect("-10,0,640,480") == Rect(-10, 0, 640, 480)
    for text in ("1,2,3", "a,b,c,d", "0,0,0,5", ""):
        with pytest.raises(ValueError, match=r"region|area"):
            parse_rect(text)


def test_dimensions() -> None:
    assert parse_dimensions("1280x720") == (1280, 720)
    for text in ("1280", "0x5", "axb"):
        with pytest.raises(ValueError, match="is no size"):
            parse_dimensions(text)


def test_what_to_film() -> None:
    assert as_target() == Screen()
    assert as_target(screen=0) == Desktop()
    assert as_target(screen=2) == Screen(2)
    assert as_target(region=CORNER) == Region(CORNER)
    assert as_target(window="Mail") == Window("Mail")
    assert as_target(test_card=(320, 240)) == TestCard(320, 240)


@pytest.mark.parametrize(
    "wishes",
    [
        {"screen": 1, "region": CORNER},
        {"screen": 0, "window": "Mail"},
        {"region": CORNER, "test_card": (320, 240)},
        {"screen": 1, "region": CORNER, "window": "Mail", "test_card": (320, 240)},
    ],
)
def test_two_things_to_film_contradict_each_other(wishes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        as_target(**wishes)
    for name in wishes:
        assert f"--{name.replace('_', '-')}" in caught.value.message


def test_what_is_shown() -> None:
    assert format_clock(3725.9) == "01:02:05"
    assert [format_duration(s) for s in (120.0, 90, 0.5, 0, 7200, 3660)] == [
        *("2m", "1m30s", "0.5s", "0s", "2h", "1h1m"),
    ]
    assert format_size(999) == "999 B"
    assert format_size(1_234_567) == "1.2 MB"
    assert format_dbfs(-17.6) == "-18 dBFS"
    assert format_dbfs(float("-inf")) == "silent"

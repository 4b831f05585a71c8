"""What to film: a screen, all of them, a part of them, a window, or a test card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from capture.errors import ConfigError
from capture.geometry import Rect
from capture.specs.checks import check_number, is_number, shown

__all__ = ["Desktop", "Region", "Screen", "Target", "TestCard", "Window"]


@dataclass(frozen=True, slots=True)
class Screen:
    """One monitor.

    Raises:
        ConfigError: No monitor can have that number.
    """

    number: int | None = None
    """From 1, as ``list_monitors()`` has it; ``None`` is the primary one."""

    def __post_init__(self) -> None:
        if self.number is not None and not (is_number(self.number) and self.number >= 1):
            raise ConfigError(
                f"no screen has the number {shown(self.number)}",
                hint="the first one is 1; all together are the desktop",
            )


@dataclass(frozen=True, slots=True)
class Desktop:
    """All monitors together."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the desktop.

    Raises:
        ConfigError: It is no rectangle.
    """

    rect: Rect

    def __post_init__(self) -> None:
        if not isinstance(self.rect, Rect):
            raise ConfigError(f"{self.rect!r} is no rectangle", hint="give a Rect, in pixels")


@dataclass(frozen=True, slots=True)
class Window:
    """One window, followed when it moves.

    Raises:
        ConfigError: It has no name.
    """

    title: str
    """A part of its title, case ignored, or its id as ``0x...``."""

    def __post_init__(self) -> None:
        if not self.title.strip():
            raise ConfigError("the window has no name", hint="write a part of its title")


@dataclass(frozen=True, slots=True)
class TestCard:
    """A moving test card instead of a screen.

    Raises:
        ConfigError: It has no area.
    """

    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        for side in (self.width_px, self.height_px):
            check_number("a side of the test card", side, least=1)


Target: TypeAlias = Screen | Desktop | Region | Window | TestCard

"""Targets of a film: a screen, all of them, a part of them, a window, or a test card.

What makes no sense is a ``ConfigError`` when it is made.
"""

from dataclasses import dataclass
from typing import TypeAlias

from capture.errors import ConfigError
from capture.geometry import Rect
from capture.specs.checks import shown

__all__ = ["Desktop", "Region", "Screen", "Target", "TestCard", "Window"]


@dataclass(frozen=True, slots=True)
class Screen:
    """One monitor, by its number from 1 or as the primary one."""

    number: int | None = None
    """From 1, as ``list_monitors()`` has it; ``None`` is the primary one."""

    def __post_init__(self) -> None:
        if self.number is not None and not _is_count(self.number):
            raise ConfigError(
                f"no screen has the number {shown(self.number)}",
                hint="the first one is 1; all together are the desktop",
            )


@dataclass(frozen=True, slots=True)
class Desktop:
    """All monitors together, as one picture."""


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the desktop, in pixels."""

    rect: Rect

    def __post_init__(self) -> None:
        if not isinstance(self.rect, Rect):
            raise ConfigError(f"{self.rect!r} is no rectangle", hint="give a Rect, in pixels")


@dataclass(frozen=True, slots=True)
class Window:
    """One window by its title or id, followed when it moves."""

    title: str
    """A part of its title, case ignored, or its id as ``0x...``."""

    def __post_init__(self) -> None:
        if not (isinstance(self.title, str) and self.title.strip()):
            raise ConfigError("the window has no name", hint="write a part of its title")


@dataclass(frozen=True, slots=True)
class TestCard:
    """A moving test card in place of a screen."""

    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        for side in (self.width_px, self.height_px):
            if not _is_count(side):
                raise ConfigError(
                    f"no test card is {shown(side)} pixels wide or high",
                    hint="write whole numbers, such as 1280 and 720",
                )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


Target: TypeAlias = Screen | Desktop | Region | Window | TestCard

"""What people write and read on the command line: durations, sizes, rectangles."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from capture.errors import ConfigError
from capture.geometry import Rect
from capture.specs.target import Desktop, Region, Screen, Target, TestCard, Window
from capture.units import format_duration, parse_duration, parse_size

__all__ = [
    "Dimensions",
    "Duration",
    "Moment",
    "RectOption",
    "Size",
    "as_target",
    "parse_dimensions",
    "parse_duration",
    "parse_rect",
    "parse_size",
]


def as_target(
    screen: int | None = None,
    region: Rect | None = None,
    window: str | None = None,
    test_card: tuple[int, int] | None = None,
) -> Target:
    """What these options say to film; the primary screen if none is given.

    Raises:
        ConfigError: Two of them contradict each other, or one makes no sense.
    """
    wished: dict[str, Target] = {}
    if screen is not None:
        wished["--screen"] = Screen(screen) if screen else Desktop()
    if region is not None:
        wished["--region"] = Region(region)
    if window is not None:
        wished["--window"] = Window(window)
    if test_card is not None:
        wished["--test-card"] = TestCard(*test_card)
    if len(wished) > 1:
        raise ConfigError(
            f"{' and '.join(wished)} contradict each other", hint="name one thing to film"
        )
    return next(iter(wished.values()), Screen())


def parse_rect(text: str) -> Rect:
    """A rectangle from ``X,Y,W,H`` in pixels.

    Raises:
        ValueError: It is none, or has no area.
    """
    numbers = text.split(",")
    if len(numbers) != 4 or not all(re.fullmatch(r"\s*-?\d+\s*", n) for n in numbers):  # noqa: PLR2004
        raise ValueError(f"{text!r} is no region; write X,Y,W,H in pixels, such as 0,0,1280,720")
    return Rect(*(int(n) for n in numbers))


def parse_dimensions(text: str) -> tuple[int, int]:
    """Width and height from ``1280x720``.

    Raises:
        ValueError: It is none.
    """
    match = re.fullmatch(r"(\d+)[x*](\d+)", text.strip().lower())
    if match is None or not int(match[1]) or not int(match[2]):
        raise ValueError(f"{text!r} is no size in pixels; write 1280x720")
    return int(match[1]), int(match[2])


LATE_S = 60.0
"""A recorder that a scheduler started for a time may come up after it; that is no typing error."""


def _parse_moment(text: str) -> float:
    from capture.schedule.when import parse_moment  # noqa: PLC0415 - few commands need it

    return parse_moment(text, late_s=LATE_S).timestamp()


def _with(
    parse: Callable[[str], Any], metavar: str, show: Callable[[Any], str] | None = None
) -> Parameter:
    def convert(_kind: Any, tokens: Sequence[Any]) -> Any:
        return parse(tokens[0].value)

    return Parameter(
        converter=convert,
        metavar=metavar,
        n_tokens=1,
        accepts_keys=False,
        allow_leading_hyphen=True,
        negative="",
        show_default=None if show is None else lambda value: None if value is None else show(value),
    )


Duration = Annotated[float | None, _with(parse_duration, "DURATION", format_duration)]
Moment = Annotated[float | None, _with(_parse_moment, "TIME")]
Size = Annotated[int | None, _with(parse_size, "SIZE")]
RectOption = Annotated[Rect | None, _with(parse_rect, "X,Y,W,H")]
Dimensions = Annotated[tuple[int, int] | None, _with(parse_dimensions, "WxH")]

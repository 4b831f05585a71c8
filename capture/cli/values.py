"""What people write and read on the command line: durations, sizes, rectangles."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from capture.model import Rect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "Dimensions",
    "Duration",
    "RectOption",
    "Size",
    "format_clock",
    "format_dbfs",
    "format_size",
    "parse_dimensions",
    "parse_duration",
    "parse_rect",
    "parse_size",
]

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS_BYTES = {"": 1, "b": 1} | {
    prefix + suffix: int(base**power)
    for power, prefix in enumerate("kmgt", 1)
    for suffix, base in {"": 1000, "b": 1000, "ib": 1024}.items()
}


def parse_duration(text: str) -> float:
    """Seconds from ``90``, ``90s``, ``1m30s``, ``1.5h``, ``1:30`` or ``00:01:30``.

    Raises:
        ValueError: It is none of these.
    """
    words = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", words):
        return float(words)
    if re.fullmatch(r"(\d+:)?\d{1,2}:\d{1,2}(\.\d+)?", words):
        seconds = 0.0
        for part in words.split(":"):
            seconds = seconds * 60 + float(part)
        return seconds
    if re.fullmatch(r"(\d+(\.\d+)?(ms|s|min|m|h|d)\s*)+", words):
        parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|min|m|h|d)", words)
        return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    raise ValueError(f"{text!r} is no duration; write 90s, 1m30s or 00:01:30")


def parse_size(text: str) -> int:
    """Bytes from ``500MB``, ``2GiB``, ``1.5 G`` or a plain number.

    Raises:
        ValueError: It is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in _UNITS_BYTES:
        raise ValueError(f"{text!r} is no size; write 500MB or 2GiB")
    return round(float(match[1]) * _UNITS_BYTES[match[2]])


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


def format_clock(seconds: float) -> str:
    """``00:01:30``."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def format_size(size_bytes: float) -> str:
    """``1.2 MB``: what disks and shops mean, powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:  # noqa: PLR2004 - the step between units
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def format_dbfs(level_dbfs: float) -> str:
    """``-18 dBFS``, or ``silent``."""
    return "silent" if level_dbfs < -120 else f"{level_dbfs:.0f} dBFS"  # noqa: PLR2004 - 20 bits


def _with(parse: Callable[[str], Any], metavar: str) -> Parameter:
    def convert(_kind: Any, tokens: Sequence[Any]) -> Any:
        return parse(tokens[0].value)

    return Parameter(
        converter=convert,
        metavar=metavar,
        n_tokens=1,
        accepts_keys=False,
        allow_leading_hyphen=True,
        negative="",
    )


Duration = Annotated[float | None, _with(parse_duration, "DURATION")]
Size = Annotated[int | None, _with(parse_size, "SIZE")]
RectOption = Annotated[Rect | None, _with(parse_rect, "X,Y,W,H")]
Dimensions = Annotated[tuple[int, int] | None, _with(parse_dimensions, "WxH")]

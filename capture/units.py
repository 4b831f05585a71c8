"""Durations and sizes as people write them, for commands, rules and schedules."""

from __future__ import annotations

import re

__all__ = ["NS_PER_S", "parse_duration", "parse_size"]

NS_PER_S = 1_000_000_000

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

"""Durations and sizes as people write them, for commands, rules and schedules."""

import re

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


def format_clock(seconds: float) -> str:
    """A duration in s as ``00:01:30``, whole seconds."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def format_duration(seconds: float) -> str:
    """A duration in s as ``1m30s``: as ``parse_duration`` reads it."""
    minutes, rest_s = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = (f"{hours}h" if hours else "", f"{minutes}m" if minutes else "")
    return "".join(parts) + (f"{rest_s:g}s" if rest_s or seconds < 60 else "")  # noqa: PLR2004 - a minute


def format_size(size_bytes: float) -> str:
    """Bytes as ``1.2 MB``: what disks and shops mean, powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:  # noqa: PLR2004 - the step between units
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def format_dbfs(level_dbfs: float) -> str:
    """A level in dBFS as ``-18 dBFS``, or ``silent`` below what 20 bits hold."""
    return "silent" if level_dbfs < -120 else f"{level_dbfs:.0f} dBFS"  # noqa: PLR2004 - 20 bits

"""Checks of values in specs; each raises a ``ConfigError`` with a sentence and a hint."""

import math
import os
from pathlib import Path
from typing import Any

from capture.errors import ConfigError


def as_path(what: str, value: object) -> Path:
    """A text or a path as ``Path``."""
    if not isinstance(value, (str, os.PathLike)) or "\0" in os.fsdecode(value):
        raise ConfigError(f"{what} is no path: {value!r}", hint="give a path, or its text")
    return Path(value)


def shown(value: object) -> str:
    """A value as text in an error message."""
    return f"{value:g}" if isinstance(value, float) else repr(value)


def is_number(value: object) -> bool:
    """Whether a value is a finite number, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_number(what: str, value: object, *, least: float = -math.inf) -> None:
    """Refuse a value that is no finite number, or too small; ``None`` is allowed."""
    if value is None or (isinstance(value, (int, float)) and is_number(value) and value >= least):
        return
    hint = "write a number" if least == -math.inf else f"write {least:g} or more"
    fault = f"the least is {least:g}" if is_number(value) else "it must be a finite number"
    raise ConfigError(f"{what} cannot be {shown(value)}: {fault}", hint=hint)


def check_limits(spec: object, *names: str) -> None:
    """Refuse limits that are not above zero; ``None`` is no limit."""
    for name in names:
        value = getattr(spec, name)
        if value is not None and not (is_number(value) and value > 0):
            word = name.rpartition("_")[0].replace("_", " ")
            raise ConfigError(
                f"{word} must be above 0, but is {shown(value)}",
                hint="leave it out for no limit",
            )


def check_choice(what: str, value: object, known: tuple[Any, ...]) -> None:
    """Refuse a value that is not among the known ones."""
    if value not in known:
        names = ", ".join(str(name) for name in known if name is not None)
        raise ConfigError(f"there is no {what} {value!r}", hint=f"use one of {names}")

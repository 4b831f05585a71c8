"""How a process of ours ends, as a number: the command, its sub-commands, a job's recorder."""

from __future__ import annotations

__all__ = [
    "EXIT_DEAD_SOURCE",
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_SOME_FAILED",
    "EXIT_USAGE",
]

EXIT_FAILED = 1
EXIT_USAGE = 2
"""An option or a setting makes no sense."""
EXIT_SOME_FAILED = 3
"""Of several things that were asked for, some are there."""
EXIT_DEAD_SOURCE = 4
"""Recorded, but a source was dead, which the spec forbids (``is_strict``)."""
EXIT_INTERRUPTED = 130
"""Before anything was kept, or a run of the schedule."""

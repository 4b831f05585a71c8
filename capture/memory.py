"""Returns freed memory to the system, in this program's own processes only."""

import contextlib
import ctypes

MALLOC_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of malloc.h: blocks from this size on are mapped one by one."""
LARGE_BLOCK_BYTES = 1 << 20
"""Pictures are, and the index of a long file; what is made and freed many times a second is
smaller, or kept."""


def return_large_blocks() -> None:
    """Make glibc return large blocks to the system when they are freed.

    glibc otherwise keeps blocks of whatever size was freed once, for every thread apart: 240 MB
    for a film that needs 165 (``docs/decisions.md``).
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # only glibc has this
        ctypes.CDLL(None).mallopt(MALLOC_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)

"""Single key presses from the terminal, where there is one."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Keys"]


class Keys:
    """Keys as they are pressed, without Enter and without echo; nothing where stdin is no terminal.

    Use in ``with``: the terminal gets its old mode back at the end.
    """

    def __init__(self) -> None:
        self._saved: Any = None
        self._is_terminal = sys.stdin is not None and sys.stdin.isatty()

    def __enter__(self) -> Self:
        if self._is_terminal and sys.platform != "win32":
            import termios  # noqa: PLC0415 - not on Windows
            import tty  # noqa: PLC0415

            # A process in the background would be stopped for touching the terminal.
            if os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp():
                self._is_terminal = False
                return self
            self._saved = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._saved is not None and sys.platform != "win32":
            import termios  # noqa: PLC0415

            with contextlib.suppress(termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)

    def read(self, timeout_s: float) -> str | None:
        """The next key, or ``None`` when none was pressed in that time."""
        if not self._is_terminal:
            time.sleep(timeout_s)
            return None
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415

            end_s = time.monotonic() + timeout_s
            while not msvcrt.kbhit():
                if time.monotonic() >= end_s:
                    return None
                time.sleep(0.02)
            return msvcrt.getwch()
        import select  # noqa: PLC0415

        ready, _, _ = select.select([sys.stdin], [], [], timeout_s)
        if not ready:
            return None
        key = os.read(sys.stdin.fileno(), 1).decode(errors="ignore")
        if not key:  # the terminal is gone
            self._is_terminal = False
        return key or None

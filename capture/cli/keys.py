"""Single key presses from the terminal, where there is one, and what they ask for."""

import contextlib
import os
import sys
import time
from collections.abc import Container
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from capture import Running

__all__ = ["Keys", "action_of", "legend", "press"]

_ACTIONS = {
    "pause": (" ", "space pause"),
    "mark": ("m", "m mark"),
    "keep": ("\r", "enter keep now"),
    "drop": ("d", "d drop"),
    "play": ("p", "p play"),
    "save": ("s", "s save last"),
    "stop": ("q", "q stop"),
}
"""What a running thing or its view can do: the key, and how it reads."""
_BY_KEY = {key: name for name, (key, _) in _ACTIONS.items()} | {"\n": "keep", "Q": "stop"}

SEQUENCE_S = 0.05
"""What follows an escape later than this is another key: terminals send a sequence in one piece."""
_SEQUENCES = {
    "left": ("[D", "OD"),
    "right": ("[C", "OC"),
    "up": ("[A", "OA"),
    "down": ("[B", "OB"),
    "home": ("[H", "OH", "[1~", "[7~"),
    "end": ("[F", "OF", "[4~", "[8~"),
}
"""What VT100, xterm, rxvt and the Linux console send after an escape."""
_NAMES = {text: name for name, texts in _SEQUENCES.items() for text in texts}
_WINDOWS_NAMES = {"K": "left", "M": "right", "H": "up", "P": "down", "G": "home", "O": "end"}


def action_of(key: str | None) -> str | None:
    """The name of what a key asks for."""
    return None if key is None else _BY_KEY.get(key)


def legend(actions: Container[str]) -> str:
    """The keys of these actions, in a line."""
    return " " + " · ".join(words for name, (_, words) in _ACTIONS.items() if name in actions)


def press(running: "Running[Any, Any]", action: str | None) -> None:
    """Do what a key asks for, if that can be asked of what runs."""
    if action == "stop":
        running.stop("key")
    elif action == "pause" and running.state == "paused":
        running.resume()
    elif action in (actions := running.actions()):
        actions[action]()


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

            # A process in the background would be stopped for touching the terminal; one that is
            # not controlled by it (an error here) stops nobody.
            with contextlib.suppress(OSError):
                if os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp():
                    self._is_terminal = False
                    return self
            try:
                self._saved = termios.tcgetattr(sys.stdin)
                tty.setcbreak(sys.stdin)
            except termios.error:  # it was closed
                self._is_terminal = False
        return self

    def __exit__(self, *_: object) -> None:
        if self._saved is not None and sys.platform != "win32":
            import termios  # noqa: PLC0415

            with contextlib.suppress(termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)

    def read(self, timeout_s: float) -> str | None:
        """The next key, or ``None`` when none was pressed in that time.

        A character as it is; ``left``, ``right``, ``up``, ``down``, ``home``, ``end``, ``escape``;
        an empty text for a key without a name here.
        """
        if not self._is_terminal:
            time.sleep(timeout_s)
            return None
        if sys.platform == "win32":
            return _read_windows_key(timeout_s)
        first = self._read_byte(timeout_s)
        if first is None:
            return None
        return self._read_sequence() if first == b"\x1b" else self._read_character(first)

    def _read_character(self, byte: bytes) -> str:
        """What begins with this byte, in UTF-8."""
        character = byte
        while True:
            with contextlib.suppress(UnicodeDecodeError):
                return character.decode()
            more = self._read_byte(SEQUENCE_S)
            if more is None:
                return ""
            character += more

    def _read_sequence(self) -> str:
        """What follows an escape: two bytes, or a bracket and all up to a letter or a tilde."""
        text = ""
        while (byte := self._read_byte(SEQUENCE_S)) is not None:
            text += byte.decode("latin-1")
            if text not in {"[", "O"} and (text[-1].isalpha() or text[-1] in "~\x1b"):
                break
        return _NAMES.get(text, "") if text else "escape"

    def _read_byte(self, timeout_s: float) -> bytes | None:
        import select  # noqa: PLC0415

        ready, _, _ = select.select([sys.stdin], [], [], timeout_s)
        if not ready:
            return None
        byte = b""
        with contextlib.suppress(OSError):
            byte = os.read(sys.stdin.fileno(), 1)
        if not byte:  # the terminal is gone
            self._is_terminal = False
        return byte or None


def _read_windows_key(timeout_s: float) -> str | None:
    if sys.platform != "win32":  # for the type checker
        raise NotImplementedError
    import msvcrt  # noqa: PLC0415 - on Windows only

    end_s = time.monotonic() + timeout_s
    while not msvcrt.kbhit():
        if time.monotonic() >= end_s:
            return None
        time.sleep(0.02)
    key = msvcrt.getwch()
    return _WINDOWS_NAMES.get(msvcrt.getwch(), "") if key in {"\0", "\xe0"} else key

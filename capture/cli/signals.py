"""The signals that end a command: ^C, SIGTERM, and SIGHUP when its terminal is closed.

Their handlers do nothing. Python itself writes the number of a signal into a socket the moment it
comes (``signal.set_wakeup_fd``), and a thread of its own acts on it. So nothing is ever stopped in
the middle of something else: no handler waits for a lock that the very same thread holds, none
raises where a library is just loading, and ^C counts also while the main thread does not answer.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from capture.cli.app import on_interrupt, say
from capture.cli.streams import DetachedStream
from capture.errors import NothingRecordedError
from capture.exit_codes import EXIT_INTERRUPTED
from capture.pipeline import StopFlag

__all__ = ["StopSignals"]

START_WITHIN_S = 3.0
"""What has not begun so long after ^C waits for a device that does not answer."""
SAY_WITHIN_S = 1.0
"""For the last word of a process that ends at once: its writer may have to wait for a processor."""
SECOND = 2


class StopSignals:
    """The first of these signals ends the work cleanly; a second ^C or SIGTERM does not wait.

    SIGHUP never counts as the second: of a terminal that is closed it comes from the shell and from
    the system. A signal that was ignored before (``nohup``, ``trap ''``) stays ignored, also by
    what is started meanwhile. For the main thread.

    Args:
        is_last: Nothing follows: once this is left without an error, ^C has nothing to end.
        raises_again: The second one raises KeyboardInterrupt in the main thread.
        ends_children: What is started meanwhile is ended by SIGTERM, and does not ignore it for
            our doing so.

    Attributes:
        is_starting: Nothing is recorded yet. If it is still so ``START_WITHIN_S`` after the first
            signal, the process ends there and then.
    """

    _NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")

    def __init__(
        self, *, is_last: bool = False, raises_again: bool = False, ends_children: bool = False
    ) -> None:
        self.is_starting = False
        self._is_last = is_last
        self._raises_again = raises_again
        self._ends_children = ends_children
        self._saved: dict[int, Any] = {}
        self._saved_fd = -1
        self._numbers: set[int] = set()
        self._come = StopFlag()
        self._reason = ""
        self._raised = 0
        self._lock = threading.Lock()  # of the two below; no handler takes it
        self._stop: Callable[[str], None] = lambda _reason: None
        self._abort: Callable[[], None] = lambda: None
        self._wakeup, self._waiting = socket.socketpair()
        self._wakeup.setblocking(False)  # noqa: FBT003 - the socket's own parameter
        self._thread = threading.Thread(target=self._watch, name="capture-signals", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._saved_fd = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        for name in self._NAMES:
            number = getattr(signal, name, None)  # Windows has no SIGHUP, and alone SIGBREAK
            if number is None:
                continue
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._numbers.add(number)
                self._saved[number] = signal.signal(number, self._on_signal)
            elif number == signal.SIGTERM and self._ends_children:
                # A handler, unlike SIG_IGN, is not inherited.
                self._saved[number] = signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._saved.items():
            is_over = self._is_last and kind is None and handler is on_interrupt
            signal.signal(number, signal.SIG_IGN if is_over else handler or signal.SIG_DFL)
        signal.set_wakeup_fd(self._saved_fd)
        self._wakeup.close()  # ends the thread, after what has come
        self._thread.join()
        self._waiting.close()

    def attach(self, stop: Callable[[str], None], abort: Callable[[], None] | None = None) -> None:
        """Say what the signals end; if one has come already, that is ended now.

        Args:
            stop: Called once, from another thread, with ``interrupt`` or ``terminate``.
            abort: Called for the second one, and further ones; ``None``: nothing is.
        """
        with self._lock:
            self._stop, self._abort = stop, abort or self._abort
            has_come = self._come.is_set()
        if has_come:
            stop(self._reason)

    @property
    def has_come(self) -> bool:
        """Whether a signal has come."""
        return self._come.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Sleep so long, in s, or until one comes; true once there was one."""
        return self._come.wait(timeout_s)

    def explains(self, error: BaseException) -> bool:
        """Whether an error is what a signal has made of a start.

        ^C also ends a program that a library asks while it is loaded, such as ``ldconfig``; the
        library then says that something is not there.
        """
        is_end = isinstance(error, (KeyboardInterrupt, NothingRecordedError))
        return self.has_come and (self.is_starting or is_end)

    def check(self) -> None:
        """Leave, if there was one.

        Raises:
            KeyboardInterrupt: There was.
        """
        if self._come.is_set():
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Raise on the second one, if asked to; the thread has the signal already."""
        self._raised += _is_deliberate(number)
        if self._raises_again and self._raised >= SECOND:
            on_interrupt(number, frame)

    # ------------------------------------------------------------------------------- the thread

    def _watch(self) -> None:
        deliberate = 0
        while True:
            try:
                numbers = self._waiting.recv(64)
            except TimeoutError:
                self._leave()
                continue
            if not numbers:
                return
            for number in self._numbers.intersection(numbers):
                deliberate += numbers.count(number) * _is_deliberate(number)
                if not self._come.is_set():
                    self._begin_to_stop(number)
            if deliberate >= SECOND:
                self._abort()

    def _begin_to_stop(self, number: int) -> None:
        with self._lock:
            self._reason = "interrupt" if number == signal.SIGINT else "terminate"
            self._come.set()
            stop = self._stop
        self._waiting.settimeout(START_WITHIN_S)
        stop(self._reason)

    def _leave(self) -> None:
        """End a process in which nothing has begun, and that does not answer."""
        self._waiting.settimeout(None)
        if self.is_starting:
            say("interrupted")
            if isinstance(sys.stderr, DetachedStream):
                sys.stderr.drain(SAY_WITHIN_S)
            os._exit(EXIT_INTERRUPTED)


def _is_deliberate(number: int) -> bool:
    """Whether somebody means us, and not the terminal."""
    return number in {signal.SIGINT, signal.SIGTERM}

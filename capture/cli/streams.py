"""stdout and stderr while something is recorded: their readers can neither end nor delay it.

A log viewer ends (EPIPE), the disk of a log is full (ENOSPC), a terminal is closed (EIO), a reader
stops reading and the pipe is full: a recording goes on all the same, and so does a batch.
"""

import contextlib
import errno
import io
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import TextIO, cast

from capture.cli.app import say
from capture.pipeline import Mailbox, MailboxClosedError, WhenFull

__all__ = ["DetachedStream", "detached_output"]

CAPACITY_BYTES = 1 << 20
"""Held for a reader that is slow: hours of progress. Beyond it the oldest lines are dropped."""
CHUNK_BYTES = 4096
"""PIPE_BUF on Linux: a pipe that is ready takes so much without waiting."""
RETRY_S = 0.05
"""How soon it is tried again whether a stream that was full takes something."""
DRAIN_LOOK_S = 0.01
GIVE_UP_S = 2.0
"""At the end: a reader that takes nothing for so long does not read any more."""


class DetachedStream(io.TextIOBase):
    """A text stream whose ``write`` never fails and never waits: another thread does the writing.

    Any thread may write. A line that cannot be written is dropped; the next one is tried again. It
    has no ``fileno()``: a write past it would fail or wait.

    Args:
        stream: Where the text goes in the end.
        raw: Its file, without any buffer.
        box: Where the writing thread takes bytes from.
    """

    def __init__(
        self, stream: TextIO, raw: io.RawIOBase, box: "Mailbox[tuple[DetachedStream, bytes]]"
    ) -> None:
        super().__init__()
        self.stream = stream
        self.lost: OSError | None = None
        """Why text was dropped, the last time; ``None``: all of it was taken."""
        self._raw = raw
        self._box = box
        self._lock = threading.RLock()  # a destructor may warn in the middle of a write
        self._text: list[str] = []  # up to the next end of a line
        self._given = 0  # to the writing thread
        # What follows belongs to the writing thread.
        self._lines: deque[bytes] = deque()
        self._taken = 0
        self._size_bytes = 0
        self._rest = b""  # of a line that is written in part

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the text on its way to the file."""
        return self.stream.encoding

    def isatty(self) -> bool:
        """Whether the stream below is a terminal."""
        return self.stream.isatty()

    def writable(self) -> bool:
        """True: it takes text at any time."""
        return True

    def write(self, text: str, /) -> int:
        """Take text; it goes on with the end of its line, or with ``flush()``."""
        with self._lock:
            self._text.append(text)
            if "\n" in text:
                self.flush()
        return len(text)

    def flush(self) -> None:
        """Hand over what was taken; does not wait until it is written."""
        with self._lock:
            text, self._text = "".join(self._text), []
            if text:
                with contextlib.suppress(MailboxClosedError):
                    self._box.put((self, self._encoded(text)))
                    self._given += 1

    def drain(self, within_s: float) -> None:
        """Wait until all is written, at most so long, in s; a reader may have stopped reading."""
        deadline_s = time.monotonic() + within_s
        while (self._taken < self._given or self.is_waiting) and time.monotonic() < deadline_s:
            time.sleep(DRAIN_LOOK_S)

    def _encoded(self, text: str) -> bytes:
        text = text.replace("\n", os.linesep)
        try:
            return text.encode(self.encoding, self.stream.errors or "strict")
        except UnicodeEncodeError:
            return text.encode(self.encoding, "backslashreplace")

    # ------------------------------------------------------------------------ the writing thread

    @property
    def is_waiting(self) -> bool:
        """Whether something is still to be written."""
        return bool(self._rest or self._lines)

    def add(self, data: bytes) -> None:
        """Put bytes behind those that wait; drops the oldest where that is too much."""
        self._lines.append(data)
        self._taken += 1
        self._size_bytes += len(data)
        while self._size_bytes > CAPACITY_BYTES and len(self._lines) > 1:
            self._size_bytes -= len(self._lines.popleft())
            self.lost = OSError(errno.EAGAIN, "its reader is too slow")

    def push(self) -> bool:
        """Write what the file takes without waiting; whether that was anything."""
        has_moved = False
        while self.is_waiting and _takes_some(self._raw):
            if not self._rest:
                self._rest = self._lines.popleft()
                self._size_bytes -= len(self._rest)
            try:
                count = self._raw.write(self._rest[:CHUNK_BYTES])
            except (OSError, ValueError) as error:  # ValueError: somebody has closed it
                self.lost = error if isinstance(error, OSError) else OSError(errno.EBADF, "closed")
                count = len(self._rest)
            if not count:  # a pipe that does not block, and is full
                break
            self._rest = self._rest[count:]
            has_moved = True
        return has_moved


def _takes_some(raw: io.RawIOBase) -> bool:
    """Whether a file takes something now; also where it would answer with an error."""
    if sys.platform == "win32":  # cannot be asked
        return True
    import select  # noqa: PLC0415 - not on Windows

    poll = select.poll()
    try:
        poll.register(raw, select.POLLOUT)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True


class _Writer:
    """The thread that writes, in the order in which it was given."""

    def __init__(self) -> None:
        self.box: Mailbox[tuple[DetachedStream, bytes]] = Mailbox(
            CAPACITY_BYTES, when_full=WhenFull.DROP_OLDEST, weigh=lambda item: len(item[1])
        )
        self.streams: list[DetachedStream] = []
        self._moved_s = time.monotonic()
        self._is_given_up = False
        self._thread = threading.Thread(target=self._run, name="capture-output", daemon=True)

    def attach(self, stream: TextIO) -> TextIO:
        """A detached stream in its place; itself where it has no file of its own."""
        buffer = getattr(stream, "buffer", None)
        raw = getattr(buffer, "raw", buffer)
        if not isinstance(raw, io.RawIOBase):
            return stream
        with contextlib.suppress(OSError):
            stream.flush()
        detached = DetachedStream(stream, raw, self.box)
        self.streams.append(detached)
        return cast("TextIO", detached)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Write the rest, as long as somebody takes it."""
        if not self._thread.ident:
            return  # it never began: nothing was written yet
        for stream in self.streams:
            stream.flush()
        self.box.close()
        self._moved_s = time.monotonic()
        while self._thread.is_alive() and time.monotonic() - self._moved_s < GIVE_UP_S:
            self._thread.join(RETRY_S)
        self._is_given_up = True
        self._thread.join(RETRY_S)  # it may wait in a file that cannot be asked

    def _run(self) -> None:
        is_open = True
        while is_open or (self._is_waiting and not self._is_given_up):
            try:
                items = self.box.get_all(RETRY_S if self._is_waiting else None)
            except TimeoutError:
                items = []
            except MailboxClosedError:
                if not is_open:
                    time.sleep(RETRY_S)
                is_open, items = False, []
            for stream, data in items:
                stream.add(data)
                self._push(stream)
            for stream in self.streams:
                self._push(stream)

    def _push(self, stream: DetachedStream) -> None:
        if stream.push():
            self._moved_s = time.monotonic()

    @property
    def _is_waiting(self) -> bool:
        return any(stream.is_waiting for stream in self.streams)


@contextlib.contextmanager
def detached_output() -> Iterator[None]:
    """Have ``sys.stdout`` and ``sys.stderr`` neither fail nor wait as long as this is entered.

    At the end it waits for a reader that still reads. What stdout has lost is said on stderr,
    unless its reader has gone: then nobody wanted it.
    """
    writer = _Writer()
    before = sys.stdout, sys.stderr
    try:  # ^C may come at every step
        sys.stdout = writer.attach(sys.stdout)
        sys.stderr = writer.attach(sys.stderr)
        writer.start()
        yield
    finally:
        out = sys.stdout
        sys.stdout, sys.stderr = before
        writer.close()
        lost = out.lost if isinstance(out, DetachedStream) else None
        if lost is not None and lost.errno != errno.EPIPE:
            say(f"warning: some of the results could not be printed: {lost.strerror}")

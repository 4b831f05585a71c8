"""Threads joined by bounded queues, of which sessions are built.

A ``Mailbox`` has a stated policy for when it is full, a ``Stage`` is a named thread that stores its
error, a ``Pipeline`` ends them in order and gives the first error to the owner. A ``StopFlag`` ends
all of them, also from a signal handler.
"""

import contextlib
import enum
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class StopFlag:
    """A flag that is set once and wakes waiting threads; any thread may call its methods.

    Unlike ``threading.Event`` it may be set by a signal handler in the middle of a ``wait()`` of
    the same thread: ``set()`` only releases a lock and never waits for one.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def is_set(self) -> bool:
        """Whether ``set()`` was called."""
        return self._is_set

    def set(self) -> None:
        """Set the flag and wake the waiting threads."""
        if not self._is_set:
            self._is_set = True
            self._open()

    def wait(self, timeout_s: float) -> bool:
        """Wait so many seconds at most for the flag; true if it is set."""
        if not self._is_set and self._gate.acquire(timeout=max(0.0, timeout_s)):
            self._open()  # for the next one who waits
        return self._is_set

    def _open(self) -> None:
        with contextlib.suppress(RuntimeError):  # open already: two have set it at once
            self._gate.release()


class MailboxClosedError(Exception):
    """The mailbox is closed: it is empty, or takes no more items."""


class WhenFull(enum.Enum):
    """The policy of ``put`` for an item that does not fit."""

    BLOCK = enum.auto()
    DROP_NEW = enum.auto()
    DROP_OLDEST = enum.auto()


class Mailbox(Generic[T]):
    """A bounded queue with a stated policy and a way to end it; any thread may call any method.

    Args:
        capacity: How much fits, in the unit that ``weigh`` counts; one item always fits.
        when_full: What happens to an item that does not fit.
        weigh: The weight of an item; by default each item weighs 1.
    """

    def __init__(
        self,
        capacity: int,
        *,
        when_full: WhenFull = WhenFull.BLOCK,
        weigh: Callable[[T], int] = lambda _item: 1,
    ) -> None:
        self._capacity = capacity
        self._when_full = when_full
        self._weigh = weigh
        self._items: deque[T] = deque()
        self._weight = 0
        self._closed = threading.Event()
        self._condition = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, *, force: bool = False) -> bool:
        """Add an item.

        Args:
            item: What to hand over.
            force: Let it in even beyond the capacity, for what must neither wait nor be lost.

        Returns:
            False if an item, this one or the oldest, was dropped.

        Raises:
            MailboxClosedError: The mailbox was closed, maybe while waiting for room.
        """
        weight = self._weigh(item)
        is_kept = True
        with self._condition:
            while not force and not self._is_closed and not self._has_room(weight):
                if self._when_full is WhenFull.DROP_NEW:
                    return False
                if self._when_full is WhenFull.DROP_OLDEST:
                    self._weight -= self._weigh(self._items.popleft())
                    is_kept = False
                else:
                    self._condition.wait()
            if self._is_closed:
                raise MailboxClosedError
            self._items.append(item)
            self._weight += weight
            self._condition.notify_all()
        return is_kept

    def get(self, timeout_s: float | None = None) -> T:
        """Remove and return the oldest item; waits for one.

        Raises:
            MailboxClosedError: Closed, and all that was inside has been taken.
            TimeoutError: Nothing came in time.
        """
        with self._condition:
            self._wait_for_item(timeout_s)
            item = self._items.popleft()
            self._weight -= self._weigh(item)
            self._condition.notify_all()
            return item

    def get_all(self, timeout_s: float | None = None, *, gather_s: float = 0.0) -> list[T]:
        """Remove and return all items; waits for at least one.

        Args:
            timeout_s: How long to wait for it.
            gather_s: Sleep this long beforehand, unless the mailbox is closed: one wake-up for many
                items, where nobody minds that they come later.

        Raises:
            MailboxClosedError: Closed, and all that was inside has been taken.
            TimeoutError: Nothing came in time.
        """
        if gather_s:
            self._closed.wait(gather_s)
        with self._condition:
            self._wait_for_item(timeout_s)
            items = list(self._items)
            self._items.clear()
            self._weight = 0
            self._condition.notify_all()
            return items

    def close(self, *, discard: bool = False) -> None:
        """Take no more items; those inside can still be taken, unless discarded."""
        with self._condition:
            self._closed.set()
            if discard:
                self._items.clear()
                self._weight = 0
            self._condition.notify_all()

    @property
    def _is_closed(self) -> bool:
        return self._closed.is_set()

    def _has_room(self, weight: int) -> bool:
        return not self._items or self._weight + weight <= self._capacity

    def _wait_for_item(self, timeout_s: float | None) -> None:
        if not self._condition.wait_for(lambda: self._items or self._is_closed, timeout_s):
            raise TimeoutError
        if not self._items:
            raise MailboxClosedError


class Stage:
    """A named thread that runs one function and stores its error.

    Args:
        name: Shown in thread lists and logs; ``capture-`` is put before it.
        run: The work; returns when it is done, or raises. ``MailboxClosedError`` is a normal end.
        on_end: Called in the thread afterwards, however it ended: close the mailboxes here.
    """

    def __init__(
        self, name: str, run: Callable[[], None], on_end: Callable[[], None] | None = None
    ) -> None:
        self.name = f"capture-{name}"
        self.error: BaseException | None = None
        self._run = run
        self._on_end = on_end
        self._on_error: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._main, name=self.name, daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self, on_error: Callable[[], None]) -> None:
        """Start the thread; ``on_error`` is called in it if the function fails."""
        self._on_error = on_error
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of the thread; false if it does not end in time."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _main(self) -> None:
        try:
            self._run()
        except MailboxClosedError:
            pass
        except BaseException as error:  # noqa: BLE001 - kept for the owner, who raises it
            self.error = error
        finally:
            if self._on_end is not None:
                self._on_end()
            if self.error is not None:
                self._on_error()


class Pipeline:
    """Stages in the order in which material flows; they are ended in that order, too."""

    def __init__(self) -> None:
        self._stages: list[Stage] = []
        self.first_error: BaseException | None = None
        """The error that came first, with its traceback."""
        self._lock = threading.Lock()
        self.failed = threading.Event()

    def add(
        self, name: str, run: Callable[[], None], on_end: Callable[[], None] | None = None
    ) -> Stage:
        """Add a stage after the present ones."""
        stage = Stage(name, run, on_end)
        self._stages.append(stage)
        return stage

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages in the order of ``add()``."""
        return tuple(self._stages)

    def start(self) -> None:
        """Start all stages, the last one first, so that no mailbox lacks its reader."""
        for stage in reversed(self._stages):
            stage.start(lambda stage=stage: self._note(stage))  # type: ignore[misc]

    def _note(self, stage: Stage) -> None:
        with self._lock:
            if self.first_error is None:
                self.first_error = stage.error
        self.failed.set()

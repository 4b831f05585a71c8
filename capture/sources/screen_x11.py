"""What X11 adds to bare pixels: what changed, the pointer, shared memory, windows.

Owns the helper that ``MssScreen`` takes. Each part is used where the server has it and leaves a
note where it hasn't:

* XDamage reports changes (``_x11_damage``), so that a still screen costs nothing.
* MIT-SHM gives pixels without the copies that mss makes (``_x11_memory``): the whole area straight
  into the kept picture, parts of it into memory beside it.
* XFixes gives the pointer's picture, which screenshots lack; XInput reports motion, so that a
  still screen is not even asked (``_x11_pointer``).
* Composite gives a window's own pixels, whatever lies over it (``_x11_window``).
"""

import selectors
import socket
from contextlib import suppress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from capture.clock import now_ns
from capture.errors import DeviceLostError
from capture.geometry import Rect
from capture.model.devices import WindowInfo
from capture.model.signal import Pointer
from capture.sources._x11_damage import Damage
from capture.sources._x11_display import X11Display
from capture.sources._x11_memory import SharedMemory
from capture.sources._x11_pointer import PointerTracker
from capture.sources._x11_window import FollowedWindow, find_window, list_windows
from capture.units import NS_PER_S

__all__ = ["X11Display", "X11Helper", "find_window", "list_windows"]

REST_AFTER_NS: Final = NS_PER_S // 4
"""A screen on which nothing has happened for so long is at rest: what happens next is an event."""
GLANCE_NS: Final = NS_PER_S // 5
"""Time between looks at a still pointer: a program or a touch moves it without an event."""


class X11Helper:
    """Watches one area of an X11 desktop, or one window. A ``screen_mss.Helper``.

    Args:
        display: Owned from now on, and closed if making this fails.
        area: What is filmed, in desktop coordinates; not looked at if there is a window.
        window: To follow; ``None`` films the area.
        with_cursor: Whether to look after the pointer.

    Attributes:
        area: What is filmed, as it was at the last look.

    Raises:
        DeviceNotFoundError: If the window is hidden, or gone already.
        DeviceLostError: If the display went away.
    """

    def __init__(
        self,
        display: X11Display,
        area: Rect,
        *,
        window: WindowInfo | None = None,
        with_cursor: bool = True,
    ) -> None:
        self.notes: list[str] = []
        self._display = display
        self.area = area
        self._desktop = display.desktop
        # Neither takes any room before it is used.
        self._whole = SharedMemory.open(display, area.area_px)
        self._parts = SharedMemory.open(display, area.area_px)
        self.can_read = self._whole is not None and self._parts is not None
        if not self.can_read:
            self.notes.append("the display shares no memory: pixels are read more slowly")
        self._window: FollowedWindow | None = None
        self._damage: Damage | None = None
        self._tracker: PointerTracker | None = None
        self._pointer: Pointer | None = None
        self._news_ns = self._asked_ns = 0
        # A byte that is written to the one end wakes a thread that waits for the other.
        self._wake_read, self._wake_write = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for heard in (display.connection.get_file_descriptor(), self._wake_read):
            self._selector.register(heard, selectors.EVENT_READ)
        try:
            self._look_around(window, with_cursor=with_cursor)
        except BaseException:
            self.close()
            raise

    def _look_around(self, window: WindowInfo | None, *, with_cursor: bool) -> None:
        """Set up the extensions that the server has."""
        if window:
            # Only shared memory can read a pixmap.
            self._window = FollowedWindow(self._display, window, has_own_pixels=self.can_read)
            self.notes += self._window.notes
            self.area = self._window.first_area
        drawable = window.id if window and self._has_own_pixels else self._display.root
        self._damage = Damage.open(self._display, drawable)
        if self._damage is None:
            self.notes.append("the display has no XDamage: every picture is read and compared")
        if with_cursor:
            self._tracker = PointerTracker.open(self._display)
            if self._tracker is None:
                self.notes.append("the display has no XFixes: the pointer is not in the picture")

    def look(self) -> tuple[Rect | None, tuple[Rect, ...] | None, Pointer | None]:
        """Find the changes since the last call; see ``screen_mss.Helper``."""
        at_ns = now_ns()
        with self._display.guarded():
            if self._is_at_rest(at_ns):
                return self.area, (), self._pointer
            self._asked_ns = at_ns
            # Asked first: all damage up to the answers has arrived when they have.
            question = self._tracker.ask() if self._tracker else None
            area: Rect | None = self.area
            is_replaced = False
            if self._window:
                area, is_replaced = self._window.locate()
            pointer = self._tracker.answer(question) if self._tracker else None
            self._display.drain()
            if area is None:
                return None, (), None
            changed: tuple[Rect, ...] | None = None
            if self._damage:
                origin = (area.left_px, area.top_px) if self._has_own_pixels else (0, 0)
                changed = self._damage.take(origin, area)
            if not self._has_own_pixels:
                # What comes into view by moving isn't damage, nor what a smaller screen cuts off.
                is_replaced = (area, self._display.desktop) != (self.area, self._desktop)
            if is_replaced:
                changed = (area,)
            if changed != () or pointer is not self._pointer:
                self._news_ns = at_ns
            self.area, self._desktop, self._pointer = area, self._display.desktop, pointer
            return area, changed, pointer

    def rest(self, until_ns: int) -> bool:
        """Sleep until the server sends an event; see ``ScreenSource.rest``."""
        at_ns = now_ns()
        with self._display.guarded():
            if not self._is_at_rest(at_ns):
                return False
            wait_s = (min(until_ns, self._asked_ns + GLANCE_NS) - at_ns) / NS_PER_S
            self._selector.select(max(0.0, wait_s))
            return True

    def wake(self) -> None:
        """Wake ``rest()`` for good: the byte in the socket is never read. Any thread."""
        with suppress(OSError):  # closed already
            self._wake_write.send(b"!")

    def _is_at_rest(self, at_ns: int) -> bool:
        """Whether no event of a change has come for a while, without a question to the server.

        A server that is drawing sends events late, and an answer would wait for it.
        """
        if self._window or self._damage is None or at_ns - self._news_ns < REST_AFTER_NS:
            return False
        self._display.drain()
        if self._tracker and not self._tracker.watch():
            self._asked_ns = 0  # events come for new motion, not for past
        return (
            at_ns - self._asked_ns < GLANCE_NS
            and not self._damage.is_pending
            and self._display.desktop == self._desktop
        )

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        """Pixels of a rectangle inside the area; see ``screen_mss.Helper``."""
        assert self._parts is not None
        return self._read(self._parts, rect)

    def read_kept(self, area: Rect) -> NDArray[np.uint8]:
        """Pixels of the whole area; see ``screen_mss.Helper``."""
        assert self._whole is not None
        return self._read(self._whole, area)

    def _read(self, memory: SharedMemory, rect: Rect) -> NDArray[np.uint8]:
        if self._window and self._window.pixmap:
            left, top = self._window.pixmap_origin_px
            return memory.read(self._window.pixmap, rect.moved(-left, -top))
        inside = rect.intersect(self._display.desktop)
        if inside == rect:
            return memory.read(self._display.root, rect)
        if inside is None:
            raise DeviceLostError(
                f"the filmed area, {rect}, is no longer on the screen",
                hint="start again with the screen's new size",
            )
        # A window that hangs over the edge, or a screen that shrank: what is left, on black.
        whole = np.zeros((rect.height_px, rect.width_px, 4), np.uint8)
        part = inside.moved(-rect.left_px, -rect.top_px)
        pixels = memory.read(self._display.root, inside)
        whole[part.slices] = pixels
        return whole

    def close(self) -> None:
        """Disconnect from the X server; idempotent."""
        self._display.close()
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()
        for memory in (self._whole, self._parts):
            if memory:
                memory.close()

    @property
    def _has_own_pixels(self) -> bool:
        return self._window is not None and self._window.has_own_pixels

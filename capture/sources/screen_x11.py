"""What X11 adds to bare pixels: what changed, the pointer, shared memory, windows.

Owns the helper that ``MssScreen`` takes. Each part is used where the server has it and leaves a
note where it hasn't:

* XDamage says what changed, so that a still screen costs nothing.
* MIT-SHM gives pixels without the copies that mss makes: the whole area straight into the kept
  picture, parts of it into memory beside it.
* XFixes gives the pointer's picture, which screenshots lack; XInput says that it moves, so that a
  still screen is not even asked.
* Composite gives a window's own pixels, whatever lies over it (``_x11_window``).
"""

from __future__ import annotations

import ctypes
import selectors
import socket
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xcffib
import xcffib.damage
import xcffib.shm
import xcffib.xfixes
import xcffib.xinput
import xcffib.xproto

from capture.clock import now_ns
from capture.errors import DeviceLostError
from capture.geometry import Rect
from capture.model.signal import Pointer
from capture.sources._x11_display import X11Display
from capture.sources._x11_window import FollowedWindow, find_window, list_windows
from capture.units import NS_PER_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from capture.model.devices import WindowInfo

__all__ = ["X11Display", "X11Helper", "find_window", "list_windows", "merged"]

# One more rectangle costs a round trip and a few calls, as long as reading and converting this
# many pixels takes (0.08 ms against 1.3 ns a pixel, measured).
_READ_COST_PX: Final = 64 * 1024

_ALL_PLANES: Final = 0xFFFFFFFF

REST_AFTER_NS: Final = NS_PER_S // 4
"""A screen on which nothing has happened for so long is at rest: what happens next is an event."""
GLANCE_NS: Final = NS_PER_S // 5
"""How often it is asked all the same: a pointer that a program or a touch moves sends no event."""


class X11Helper:
    """Looks after one area of an X11 desktop, or one window. A ``screen_mss.Helper``.

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
        self._whole = _SharedMemory.open(display, area.area_px)
        self._parts = _SharedMemory.open(display, area.area_px)
        self.can_read = self._whole is not None and self._parts is not None
        if not self.can_read:
            self.notes.append("no shared memory with the display: pixels are read more slowly")
        self._window: FollowedWindow | None = None
        self._damage: _Damage | None = None
        self._tracker: _PointerTracker | None = None
        self._pointer: Pointer | None = None
        self._news_ns = self._asked_ns = 0
        # What is written to the rope can be read at the bell.
        self._bell, self._rope = socket.socketpair()
        self._ears = selectors.DefaultSelector()
        for heard in (display.connection.get_file_descriptor(), self._bell):
            self._ears.register(heard, selectors.EVENT_READ)
        try:
            self._look_around(window, with_cursor=with_cursor)
        except BaseException:
            self.close()
            raise

    def _look_around(self, window: WindowInfo | None, *, with_cursor: bool) -> None:
        """Take into use what the server has."""
        if window:
            # Only shared memory can read a pixmap.
            self._window = FollowedWindow(self._display, window, has_own_pixels=self.can_read)
            self.notes += self._window.notes
            self.area = self._window.first_area
        drawable = window.id if window and self._has_own_pixels else self._display.root
        self._damage = _Damage.open(self._display, drawable)
        if self._damage is None:
            self.notes.append("no XDamage: the picture is read and compared every time")
        if with_cursor:
            self._tracker = _PointerTracker.open(self._display)
            if self._tracker is None:
                self.notes.append("no XFixes: the pointer is not in the picture")

    def look(self) -> tuple[Rect | None, tuple[Rect, ...] | None, Pointer | None]:
        """What happened since the last call; see ``screen_mss.Helper``."""
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
        """Sleep until the server has something to say; see ``ScreenSource.rest``."""
        at_ns = now_ns()
        with self._display.guarded():
            if not self._is_at_rest(at_ns):
                return False
            wait_s = (min(until_ns, self._asked_ns + GLANCE_NS) - at_ns) / NS_PER_S
            self._ears.select(max(0.0, wait_s))
            return True

    def hurry(self) -> None:
        """Ring; it is never read, so that nobody rests any more."""
        with suppress(OSError):  # closed already
            self._rope.send(b"!")

    def _is_at_rest(self, at_ns: int) -> bool:
        """Whether nothing happens on this screen, as far as the server tells without being asked.

        Only after a while: a server that is drawing tells late, and an answer waits for it.
        """
        if self._window or self._damage is None or at_ns - self._news_ns < REST_AFTER_NS:
            return False
        self._display.drain()
        if self._tracker and not self._tracker.watch():
            self._asked_ns = 0  # it is told of what comes now, not of what was
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

    def _read(self, memory: _SharedMemory, rect: Rect) -> NDArray[np.uint8]:
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
        whole[part.top_px : part.bottom_px, part.left_px : part.right_px] = pixels
        return whole

    def close(self) -> None:
        """Disconnect; idempotent."""
        self._display.close()
        self._ears.close()
        self._bell.close()
        self._rope.close()
        for memory in (self._whole, self._parts):
            if memory:
                memory.close()

    @property
    def _has_own_pixels(self) -> bool:
        return self._window is not None and self._window.has_own_pixels


def merged(rects: list[Rect], cost_px: int = _READ_COST_PX) -> tuple[Rect, ...]:
    """Fewer rectangles covering the same, where reading more pixels costs less than more reads.

    Args:
        rects: In any order; the server sends them from top to bottom.
        cost_px: What one read costs, in pixels.
    """
    result: list[Rect] = []
    for rect in rects:
        grown = rect
        for other in result.copy():
            union = grown.union(other)
            if union.area_px <= grown.area_px + other.area_px + cost_px:
                result.remove(other)
                grown = union
        result.append(grown)
    return tuple(result)


class _Damage:
    """What was drawn into a drawable and all that lies in it.

    Of the report levels, non-empty sends one event until it is subtracted, however much is
    drawn; what was drawn is then fetched as one region (0.04 ms, even of 180 rectangles).

    Attributes:
        is_pending: Something was drawn since the last ``take()``.
    """

    def __init__(self, display: X11Display, damage: Any, fixes: Any, drawable: int) -> None:
        self._extension, self._fixes = damage, fixes
        self._region = display.new_id()
        fixes.CreateRegionChecked(self._region, 0, []).check()
        self._id = display.new_id()
        level = xcffib.damage.ReportLevel.NonEmpty
        damage.CreateChecked(self._id, drawable, level).check()
        self.is_pending = False
        display.listen(self._on_event)

    @classmethod
    def open(cls, display: X11Display, drawable: int) -> _Damage | None:
        damage = display.extension(xcffib.damage, 1, 1)
        fixes = display.extension(xcffib.xfixes, 4, 0)
        if damage is None or fixes is None:
            return None
        with display.guarded():
            return cls(display, damage, fixes, drawable)

    def take(self, origin_px: tuple[int, int], area: Rect) -> tuple[Rect, ...]:
        """What was drawn since the last call, inside the area, in desktop coordinates.

        It is taken off before anything is read: what is drawn in between is in the pixels
        already and reported once more, never lost.
        """
        if not self.is_pending:
            return ()
        self.is_pending = False
        self._extension.Subtract(self._id, xcffib.NONE, self._region)
        try:
            found = self._fixes.FetchRegion(self._region).reply().rectangles
        except xcffib.Error:
            return ()  # the window is going; the next look says so
        rects = (Rect(r.x, r.y, r.width, r.height).moved(*origin_px) for r in found)
        return merged([inside for rect in rects if (inside := rect.intersect(area))])

    def _on_event(self, event: Any) -> None:
        if isinstance(event, xcffib.damage.NotifyEvent) and event.damage == self._id:
            self.is_pending = True


class _PointerTracker:
    """The pointer: its picture is fetched again only when it changes."""

    def __init__(self, display: X11Display, fixes: Any) -> None:
        self._display, self._fixes = display, fixes
        self._motion = _Motion.open(display)
        mask = xcffib.xfixes.CursorNotifyMask.DisplayCursor
        fixes.SelectCursorInputChecked(display.root, mask).check()
        self._is_stale = True
        self._hot_px = (0, 0)
        self._image = np.zeros((1, 1, 4), np.uint8)
        self._last: Pointer | None = None
        display.listen(self._on_event)

    @classmethod
    def open(cls, display: X11Display) -> _PointerTracker | None:
        fixes = display.extension(xcffib.xfixes, 4, 0)
        if fixes is None:
            return None
        with display.guarded():
            return cls(display, fixes)

    def watch(self) -> bool:
        """Have it told when the pointer moves or looks different; whether neither was told yet."""
        return self._motion is not None and self._motion.watch() and not self._is_stale

    def ask(self) -> Any:
        """Send the question where it is."""
        return self._display.core.QueryPointer(self._display.root)

    def answer(self, question: Any) -> Pointer | None:
        """The pointer, placed on the desktop; ``None``: it is on another screen.

        The same object as long as nothing changes.
        """
        answer = question.reply()
        self._display.drain()
        if not answer.same_screen:
            return None
        if self._is_stale:
            self._is_stale = False
            with suppress(xcffib.Error):  # a server without a pointer has no picture of it
                self._fetch()
        height, width = self._image.shape[:2]
        left, top = answer.root_x - self._hot_px[0], answer.root_y - self._hot_px[1]
        place, last = Rect(left, top, width, height), self._last
        if last is None or last.place != place or last.image is not self._image:
            self._last = Pointer(place, self._image)
        return self._last

    def _fetch(self) -> None:
        cursor = self._fixes.GetCursorImage().reply()
        pixels = np.frombuffer(cursor.cursor_image.buf(), np.uint8)
        if pixels.size:
            self._image = pixels.reshape(cursor.height, cursor.width, 4)
            self._hot_px = (cursor.xhot, cursor.yhot)

    def _on_event(self, event: Any) -> None:
        if isinstance(event, xcffib.xfixes.CursorNotifyEvent):
            self._is_stale = True


class _Motion:
    """Tells that the pointer begins to move: one event, however fast a mouse sends them."""

    _MASTERS: Final = 1  # XIAllMasterDevices

    def __init__(self, display: X11Display, extension: Any) -> None:
        self._display, self._extension = display, extension
        self._is_watching = False
        display.listen(self._on_event)

    @classmethod
    def open(cls, display: X11Display) -> _Motion | None:
        # Raw events of other programs' windows came with 2.0, whatever grabs the pointer with 2.1.
        extension = display.extension(xcffib.xinput, 2, 1)
        return None if extension is None else cls(display, extension)

    def watch(self) -> bool:
        """Ask to be told; whether that was done before, and nothing has moved since."""
        if self._is_watching:
            return True
        self._select(xcffib.xinput.XIEventMask.RawMotion)
        return False

    def _select(self, mask: int) -> None:
        masks = [xcffib.xinput.EventMask.synthetic(self._MASTERS, 1, [mask])]
        self._extension.XISelectEvents(self._display.root, len(masks), masks)
        self._is_watching = bool(mask)

    def _on_event(self, event: Any) -> None:
        if isinstance(event, xcffib.xinput.RawMotionEvent) and self._is_watching:
            self._select(0)


class _SharedMemory:
    """Memory that the X server writes pixels into.

    It is given back when the last array of it is gone: a kept picture may outlive its source.
    """

    # shmget(2): a private segment, to be made, for this user alone.
    _PRIVATE, _CREATE, _REMOVE = 0, 0o1000 | 0o600, 0

    def __init__(self, display: X11Display, extension: Any, area_px: int) -> None:
        self._display, self._extension = display, extension
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
        self._libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
        self._libc.shmat.restype = ctypes.c_void_p
        self._libc.shmdt.argtypes = [ctypes.c_void_p]
        self._segment = 0
        self._bytes = np.empty(0, np.uint8)
        self._make_room(area_px)

    @classmethod
    def open(cls, display: X11Display, area_px: int) -> _SharedMemory | None:
        """Memory for so many pixels; ``None`` where display and program share none."""
        extension = display.extension(xcffib.shm)
        if extension is None:
            return None
        with display.guarded():
            try:
                return cls(display, extension, area_px)
            except (xcffib.Error, OSError):
                return None

    def read(self, drawable: int, rect: Rect) -> NDArray[np.uint8]:
        """BGRA pixels of a part of a drawable, which must hold it; valid until the next call."""
        with self._display.guarded():
            try:
                if rect.area_px * 4 > self._bytes.size:
                    self._make_room(rect.area_px)
                self._extension.GetImage(
                    drawable,
                    rect.left_px,
                    rect.top_px,
                    rect.width_px,
                    rect.height_px,
                    _ALL_PLANES,
                    xcffib.xproto.ImageFormat.ZPixmap,
                    self._segment,
                    0,
                ).reply()
            except (xcffib.Error, OSError) as error:
                raise DeviceLostError(
                    f"the display no longer gives the pixels of {rect}",
                    hint="start again with the screen's new size",
                    details={"error": repr(error)},
                ) from error
        pixels = self._bytes[: rect.area_px * 4]
        return pixels.reshape(rect.height_px, rect.width_px, 4)

    def close(self) -> None:
        """Let go of the memory; idempotent."""
        self._bytes = np.empty(0, np.uint8)

    def _make_room(self, area_px: int) -> None:
        if self._bytes.size:
            self._extension.Detach(self._segment)
            self.close()
        size = area_px * 4
        segment = self._libc.shmget(self._PRIVATE, size, self._CREATE)
        if segment < 0:
            raise OSError(ctypes.get_errno(), "shmget")
        try:
            address = self._libc.shmat(segment, None, 0)
            if address == ctypes.c_void_p(-1).value:
                raise OSError(ctypes.get_errno(), "shmat")
            memory = (ctypes.c_uint8 * size).from_address(address)
            weakref.finalize(memory, self._libc.shmdt, ctypes.c_void_p(address))
            self._segment = self._display.new_id()
            self._extension.AttachChecked(self._segment, segment, read_only=False).check()
        finally:
            # Goes for good when both sides have let go, however they end.
            self._libc.shmctl(segment, self._REMOVE, None)
        self._bytes = np.ctypeslib.as_array(memory)

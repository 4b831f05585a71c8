"""The pointer of an X11 screen: its place, its picture, and whether it moves."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xcffib
import xcffib.xfixes
import xcffib.xinput

from capture.geometry import Rect
from capture.model.signal import Pointer

if TYPE_CHECKING:
    from capture.sources._x11_display import X11Display


class PointerTracker:
    """The pointer of a screen; its picture is fetched again only when it changes."""

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
    def open(cls, display: X11Display) -> PointerTracker | None:
        fixes = display.extension(xcffib.xfixes, 4, 0)
        if fixes is None:
            return None
        with display.guarded():
            return cls(display, fixes)

    def watch(self) -> bool:
        """Request events of motion and of a new shape; true if none came since the last call."""
        return self._motion is not None and self._motion.watch() and not self._is_stale

    def ask(self) -> Any:
        """Send the request for the pointer's position."""
        return self._display.core.QueryPointer(self._display.root)

    def answer(self, question: Any) -> Pointer | None:
        """The pointer in desktop coordinates; ``None``: it is on another screen.

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
    """Notices that the pointer begins to move: one event, however many a mouse sends."""

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
        """Request an event of the next motion; true if one was requested and has not come."""
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

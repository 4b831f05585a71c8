"""A plain window of our own on X11, without a toolkit, so that what is shown is shown at once.

A picture is prepared on the server beforehand, which takes milliseconds, and shown when it is its
moment, which takes a fraction of one.
"""

import struct
from typing import Any

import numpy as np
import xcffib
import xcffib.xproto
from numpy.typing import NDArray

from capture.closing import Closing
from capture.errors import BackendUnavailableError
from capture.hints import Advice

_DEPTH = 24


class Canvas(Closing):
    """A window of fixed size in the middle of the screen; used from one thread.

    Args:
        title: In its title bar, and what recorders find it by.
        width_px: Its width.
        height_px: Its height.

    Attributes:
        is_closed: Whether the person closed it.

    Raises:
        BackendUnavailableError: No X server, or none with 24 bits a pixel.
    """

    def __init__(self, title: str, width_px: int, height_px: int) -> None:
        self.is_closed = False
        try:
            self._connection = xcffib.connect()
        except xcffib.ConnectionException as error:
            raise BackendUnavailableError(
                "no X server answers", hint=Advice.CHECK_MACHINE.with_()
            ) from error
        root = self._connection.get_setup().roots[self._connection.pref_screen]
        if root.root_depth != _DEPTH:
            raise BackendUnavailableError(f"this screen has {root.root_depth} bits a pixel, not 24")
        self._size_px = width_px, height_px
        self._sent = np.zeros((height_px, width_px, 4), np.uint8)
        core = self._connection.core
        self._window = self._connection.generate_id()
        left = max(0, (root.width_in_pixels - width_px) // 2)
        top = max(0, (root.height_in_pixels - height_px) // 2)
        masks, events = xcffib.xproto.CW, xcffib.xproto.EventMask
        core.CreateWindow(
            _DEPTH,
            self._window,
            root.root,
            left,
            top,
            width_px,
            height_px,
            0,
            xcffib.xproto.WindowClass.InputOutput,
            root.root_visual,
            masks.BackPixel | masks.EventMask,
            [root.black_pixel, events.Exposure],
        )
        name = title.encode()
        self._set("_NET_WM_NAME", "UTF8_STRING", 8, name)
        self._set("WM_NAME", "STRING", 8, name)
        # PPosition, PMinSize and PMaxSize of WM_NORMAL_HINTS: this place, and no other size.
        hints = (4 | 16 | 32, left, top, 0, 0, width_px, height_px, width_px, height_px)
        self._set("WM_NORMAL_HINTS", "WM_SIZE_HINTS", 32, struct.pack("=18i", *hints, *[0] * 9))
        self._closing = self._atom("WM_DELETE_WINDOW")
        self._set("WM_PROTOCOLS", "ATOM", 32, struct.pack("=I", self._closing))
        self._context = self._connection.generate_id()
        # Without GraphicsExposures a copy sends no event of its own.
        core.CreateGC(self._context, self._window, xcffib.xproto.GC.GraphicsExposures, [0])
        self._pixmap = self._connection.generate_id()
        core.CreatePixmap(_DEPTH, self._pixmap, self._window, width_px, height_px)
        core.MapWindow(self._window)
        self._connection.flush()

    def prepare(self, picture: NDArray[np.uint8]) -> None:
        """Send a picture to the server without showing it; uint8 BGR, ``(height, width, 3)``.

        Only the rows that changed are sent; it takes some milliseconds.
        """
        before = self._sent
        self._sent = np.zeros_like(before)
        self._sent[..., :3] = picture
        differs = self._sent.view(np.uint32) != before.view(np.uint32)
        changed = np.flatnonzero(differs.any(axis=(1, 2)))
        if len(changed):
            self._send(int(changed[0]), int(changed[-1]) + 1)
        self._round_trip()

    def show(self) -> None:
        """Show what was prepared, at once: it is on the screen when this returns."""
        width_px, height_px = self._size_px
        self._connection.core.CopyArea(
            self._pixmap, self._window, self._context, 0, 0, 0, 0, width_px, height_px
        )
        self._round_trip()

    def serve(self) -> None:
        """Handle window events: draw again what was covered, note that it was closed."""
        while (event := self._connection.poll_for_event()) is not None:
            if isinstance(event, xcffib.xproto.ExposeEvent):
                self.show()
            elif isinstance(event, xcffib.xproto.ClientMessageEvent):
                self.is_closed = True

    def close(self) -> None:
        """Close the window and the connection to the X server; idempotent."""
        self._connection.disconnect()

    def _round_trip(self) -> None:
        """Wait until the server has handled all requests."""
        self._connection.core.GetInputFocus().reply()

    def _send(self, top: int, bottom: int) -> None:
        row_bytes = self._size_px[0] * 4
        rows_at_once = max(1, (self._connection.get_maximum_request_length() * 4 - 64) // row_bytes)
        for first in range(top, bottom, rows_at_once):
            rows = self._sent[first : min(first + rows_at_once, bottom)]
            self._connection.core.PutImage(
                xcffib.xproto.ImageFormat.ZPixmap,
                self._pixmap,
                self._context,
                self._size_px[0],
                len(rows),
                0,
                first,
                0,
                _DEPTH,
                rows.nbytes,
                rows.tobytes(),
            )

    def _atom(self, name: str) -> int:
        answer: Any = self._connection.core.InternAtom(0, len(name), name).reply()
        return int(answer.atom)

    def _set(self, name: str, kind: str, bits: int, data: bytes) -> None:
        self._connection.core.ChangeProperty(
            xcffib.xproto.PropMode.Replace,
            self._window,
            self._atom(name),
            self._atom(kind),
            bits,
            len(data) * 8 // bits,
            data,
        )

"""Memory that is shared with an X server, for pixels."""

import ctypes
import weakref
from typing import Any, Final

import numpy as np
import xcffib
import xcffib.shm
import xcffib.xproto
from numpy.typing import NDArray

from capture.errors import DeviceLostError
from capture.geometry import Rect
from capture.sources._x11_display import X11Display

_ALL_PLANES: Final = 0xFFFFFFFF


class SharedMemory:
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
    def open(cls, display: X11Display, area_px: int) -> "SharedMemory | None":
        """Shared memory for so many pixels; ``None`` where display and program share none."""
        extension = display.extension(xcffib.shm)
        if extension is None:
            return None
        with display.guarded():
            try:
                return cls(display, extension, area_px)
            except (xcffib.Error, OSError):
                return None

    def read(self, drawable: int, rect: Rect) -> NDArray[np.uint8]:
        """BGRA pixels of a part of a drawable, which must contain it; valid until the next call."""
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
        """Detach the memory; idempotent."""
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

"""Windows of an X11 desktop: lists them, and follows one.

Owns what ``screen_x11`` knows of windows. A followed window gives its own pixels where the server
has Composite: whatever lies over it is not in the film.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import xcffib
import xcffib.composite
import xcffib.xproto

from capture.clock import now_ns
from capture.errors import DeviceNotFoundError, SourceEndedError
from capture.geometry import Rect
from capture.model.devices import WindowInfo
from capture.sources._x11_display import X11Display
from capture.sources._x11_text import decode_text
from capture.units import NS_PER_S

# As many 32-bit units of a property as are read: more than any title or window list.
_PROPERTY_LENGTH: Final = 16 * 1024

# How long a window may take to draw itself anew after it was resized or came back. Its new pixmap
# begins as a copy of the screen there, with what lies over it: that must not get into the film.
_REPAINT_NS: Final = 100_000_000


def list_windows(display: X11Display) -> tuple[WindowInfo, ...]:
    """All windows that people call so, from the window manager's list.

    Without a window manager: the mapped windows on the root, or inside a frame, that have a name.

    Raises:
        DeviceLostError: If the display went away.
    """
    with display.guarded():
        ids = _property_ids(display, display.root, "_NET_CLIENT_LIST") or [
            *_named_windows(display, display.root, depth=2)
        ]
        return tuple(window for id_ in ids if (window := _describe(display, id_)))


def find_window(display: X11Display, wanted: str) -> WindowInfo:
    """One window by a part of its title, case ignored, or by its id as ``0x...``.

    Raises:
        DeviceNotFoundError: If none or several fit; the hint lists what there is.
        DeviceLostError: If the display went away.
    """
    windows = list_windows(display)
    if wanted.lower().startswith("0x"):
        with suppress(ValueError), display.guarded():
            id_ = int(wanted, 16)
            listed = (window for window in windows if window.id == id_)
            found = next(listed, None) or _describe(display, id_)
            if found:
                return found
        raise DeviceNotFoundError(f"there is no window {wanted}", hint=_choice(windows))
    fitting = [window for window in windows if wanted.casefold() in window.title.casefold()]
    if len(fitting) == 1:
        return fitting[0]
    exact = [window for window in fitting if window.title.casefold() == wanted.casefold()]
    if len(exact) == 1:
        return exact[0]
    if fitting:
        message = f'{len(fitting)} windows have "{wanted}" in their title'
        raise DeviceNotFoundError(message, hint=_choice(fitting))
    message = f'no window has "{wanted}" in its title'
    raise DeviceNotFoundError(message, hint=_choice(windows))


class FollowedWindow:
    """Tracks the place of a window, and its own pixels if wanted and possible.

    Args:
        display: Its display; stays the caller's.
        window: What to follow.
        has_own_pixels: Whether a pixmap can be read.

    Attributes:
        first_area: Where it is at first, in desktop coordinates.
        has_own_pixels: Whether ``pixmap`` is kept up to date.
        pixmap: The window's pixels, with its border; 0 where there are none.
        pixmap_origin_px: Where on the desktop the pixmap's first pixel is.
        notes: What is missing, one sentence each.

    Raises:
        DeviceNotFoundError: If it is hidden, or gone already.
    """

    def __init__(self, display: X11Display, window: WindowInfo, *, has_own_pixels: bool) -> None:
        self._display, self._window = display, window
        self.notes: list[str] = []
        self.pixmap = 0
        self._border_px = 0
        self.pixmap_origin_px = (0, 0)
        self._pixmap_size: tuple[int, int] | None = None
        self._coming_size: tuple[int, int] | None = None
        self._drawn_ns = self._wait_ns = 0
        display.listen(self._on_event)
        self._composite = display.extension(xcffib.composite, 0, 4) if has_own_pixels else None
        if self._composite is not None:
            try:
                with display.guarded():
                    mask = xcffib.xproto.EventMask.StructureNotify
                    events = xcffib.xproto.CW.EventMask
                    display.core.ChangeWindowAttributesChecked(window.id, events, [mask]).check()
                    self._redirect(window)
            except xcffib.Error:
                self._composite = None
        self.has_own_pixels = self._composite is not None
        if not self.has_own_pixels:
            self.notes.append(
                "the display has no Composite: windows over the filmed one are recorded, too"
            )
        try:
            with display.guarded():
                area, _ = self.locate()
        except SourceEndedError as error:
            raise DeviceNotFoundError(str(error)) from error
        if area is None:
            raise DeviceNotFoundError(
                f'the window "{window.title}" is hidden',
                hint="bring it up before the recording starts; later it may be minimised",
            )
        self.first_area = area
        self._wait_ns = _REPAINT_NS
        if self.has_own_pixels:
            time.sleep(_REPAINT_NS / NS_PER_S)  # or the film begins in black

    def locate(self) -> tuple[Rect | None, bool]:
        """Find the place of the window's content now.

        Returns:
            Its place on the desktop (``None``: hidden, or not drawn yet), and whether its pixels
            are new ones.

        Raises:
            SourceEndedError: It was closed.
        """
        core, id_ = self._display.core, self._window.id
        questions = (
            core.GetWindowAttributes(id_),
            core.GetGeometry(id_),
            core.TranslateCoordinates(id_, self._display.root, 0, 0),
        )
        try:
            attributes, geometry, place = (question.reply() for question in questions)
        except xcffib.Error as error:
            for question in questions:
                with suppress(xcffib.Error):
                    question.discard_reply()
            raise SourceEndedError(f'the window "{self._window.title}" was closed') from error
        self._display.drain()
        if attributes.map_state != xcffib.xproto.MapState.Viewable:
            # Its pixmap is another one when it comes back.
            self._pixmap_size = self._coming_size = None
            return None, False
        size = (geometry.width, geometry.height)
        self._border_px = geometry.border_width
        is_replaced = False
        if self.has_own_pixels and size != self._pixmap_size:
            if size != self._coming_size:
                self._coming_size, self._drawn_ns = size, now_ns() + self._wait_ns
            named = self._name_pixmap() if now_ns() >= self._drawn_ns else None
            if named is None:
                return None, False
            self._pixmap_size = size = named
            self._coming_size = None
            is_replaced = True
        left, top = place.dst_x, place.dst_y
        self.pixmap_origin_px = (left - self._border_px, top - self._border_px)
        return Rect(left, top, *size), is_replaced

    def _name_pixmap(self) -> tuple[int, int] | None:
        """Get the window's present pixmap.

        Returns:
            The size of its content; ``None`` if the window has just gone.
        """
        assert self._composite is not None
        pixmap = self._display.new_id()
        try:
            self._composite.NameWindowPixmapChecked(self._window.id, pixmap).check()
            size = self._display.core.GetGeometry(pixmap).reply()
        except xcffib.Error:
            return None
        if self.pixmap:
            self._display.core.FreePixmap(self.pixmap)
        self.pixmap = pixmap
        return size.width - 2 * self._border_px, size.height - 2 * self._border_px

    def _on_event(self, event: Any) -> None:
        """Note a window that was unmapped: it gets another pixmap."""
        is_gone = isinstance(event, xcffib.xproto.UnmapNotifyEvent)
        if is_gone and event.window == self._window.id:
            self._pixmap_size = self._coming_size = None

    def _redirect(self, window: WindowInfo) -> None:
        """Give the window a pixmap of its own, without the windows over it.

        The server puts their pixels there at first, and a window without a background leaves them
        until it draws. So all is blackened and asked to draw itself, in one step for other
        programs.
        """
        core, gc = self._display.core, self._display.new_id()
        black = xcffib.xproto.GC.Foreground | xcffib.xproto.GC.SubwindowMode
        through = xcffib.xproto.SubwindowMode.IncludeInferiors
        area = xcffib.xproto.RECTANGLE.synthetic(0, 0, window.rect.width_px, window.rect.height_px)
        assert self._composite is not None
        core.GrabServer()
        try:
            mode = xcffib.composite.Redirect.Automatic
            self._composite.RedirectWindowChecked(window.id, mode).check()
            core.CreateGCChecked(gc, window.id, black, [0, through]).check()
            core.PolyFillRectangle(window.id, gc, 1, [area])
            core.FreeGC(gc)
            for id_ in _family(self._display, window.id):
                core.ClearArea(True, id_, 0, 0, 0, 0)  # noqa: FBT003 - and send Expose
        finally:
            core.UngrabServer()
            self._display.connection.flush()


def _describe(display: X11Display, id_: int) -> WindowInfo | None:
    """The facts about a window; ``None`` if it is gone."""
    core = display.core
    try:
        geometry = core.GetGeometry(id_).reply()
        place = core.TranslateCoordinates(id_, display.root, 0, 0).reply()
        names = _property(display, id_, "WM_CLASS")[0].split(b"\0")
        pids = _property_ids(display, id_, "_NET_WM_PID")
        title = _title(display, id_)
    except xcffib.Error:
        return None
    # instance, class, and an empty piece after the last zero
    app_name = decode_text(names[1], is_compound=False) if len(names) > 1 else None
    rect = Rect(place.dst_x, place.dst_y, geometry.width, geometry.height)
    return WindowInfo(id_, title, rect, app_name or None, pids[0] if pids else None)


def _named_windows(display: X11Display, parent: int, depth: int) -> Iterator[int]:
    """Mapped windows below the parent with a name; a frame without one is looked into."""
    for child in display.core.QueryTree(parent).reply().children:
        with suppress(xcffib.Error):
            attributes = display.core.GetWindowAttributes(child).reply()
            is_shown = attributes.map_state == xcffib.xproto.MapState.Viewable
            if not is_shown or attributes._class != xcffib.xproto.WindowClass.InputOutput:  # noqa: SLF001
                continue
            if _title(display, child):
                yield child
            elif depth > 1:
                yield from _named_windows(display, child, depth - 1)


def _family(display: X11Display, id_: int) -> Iterator[int]:
    """A window and all its descendants, outermost first."""
    yield id_
    for child in display.core.QueryTree(id_).reply().children:
        yield from _family(display, child)


def _title(display: X11Display, id_: int) -> str:
    """_NET_WM_NAME, or the older WM_NAME in the encoding of its type."""
    modern, _ = _property(display, id_, "_NET_WM_NAME")
    if modern:
        return modern.decode("utf-8", "replace")
    legacy, kind = _property(display, id_, "WM_NAME")
    return decode_text(legacy, is_compound=kind == _atom(display, "COMPOUND_TEXT"))


def _property_ids(display: X11Display, id_: int, name: str) -> list[int]:
    raw, _ = _property(display, id_, name)
    return memoryview(raw[: len(raw) // 4 * 4]).cast("I").tolist()


def _property(display: X11Display, id_: int, name: str) -> tuple[bytes, int]:
    """Bytes and type of a property; empty where it isn't set."""
    atom = _atom(display, name)
    kind = xcffib.xproto.GetPropertyType.Any
    reply: Any = display.core.GetProperty(False, id_, atom, kind, 0, _PROPERTY_LENGTH).reply()  # noqa: FBT003
    return bytes(reply.value.buf()), reply.type


def _atom(display: X11Display, name: str) -> int:
    """The number of a name, which stays the same as long as the server runs."""
    return int(display.core.InternAtom(False, len(name), name).reply().atom)  # noqa: FBT003


def _choice(windows: Sequence[WindowInfo]) -> str:
    if not windows:
        return "no window is open"
    return "there is " + ", ".join(f'"{window.title}" ({window.id:#x})' for window in windows)

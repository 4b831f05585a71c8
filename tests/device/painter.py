"""X servers of their own for tests, and a client that draws on them."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import xcffib
import xcffib.xproto

from capture.geometry import Rect
from tests.device.recorded import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH, HEIGHT = 640, 480
RED, GREEN, BLUE, GREY = 0xFF0000, 0x00FF00, 0x0000FF, 0x404040


@contextmanager
def x_server(*options: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An X server of our own and its DISPLAY."""
    read, write = os.pipe()
    size = ["-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), *size, *options],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as answer:
            yield f":{answer.readline().strip()}", server
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


class Painter:
    """A small X client that makes windows and draws; every call is done when it returns."""

    def __init__(self, display: str) -> None:
        self.connection = xcffib.connect(display)
        self.core = self.connection.core
        self.screen = self.connection.setup.roots[0]
        self.root: int = self.screen.root
        self.gc = self.connection.generate_id()
        mode = xcffib.xproto.SubwindowMode.IncludeInferiors
        mask = xcffib.xproto.GC.SubwindowMode
        self.core.CreateGCChecked(self.gc, self.root, mask, [mode]).check()
        self.warp(WIDTH - 1, HEIGHT - 1)
        self.fill(self.root, Rect(0, 0, WIDTH, HEIGHT), GREY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.connection.disconnect()

    def window(
        self,
        at: Rect,
        colour: int | None,
        title: str = "",
        *,
        border: int = 0,
        parent: int | None = None,
    ) -> int:
        """Mapped; of a colour, or of none, so that the server doesn't draw it."""
        id_: int = self.connection.generate_id()
        self.core.CreateWindowChecked(
            24,
            id_,
            parent or self.root,
            at.left_px,
            at.top_px,
            at.width_px,
            at.height_px,
            border,
            xcffib.xproto.WindowClass.InputOutput,
            self.screen.root_visual,
            0 if colour is None else xcffib.xproto.CW.BackPixel,
            [] if colour is None else [colour],
        ).check()
        if title:
            self.set(id_, "_NET_WM_NAME", "UTF8_STRING", title.encode())
        self.core.MapWindowChecked(id_).check()
        return id_

    def set(self, window: int, name: str, kind: str, value: bytes, bits: int = 8) -> None:
        property_, type_ = (
            self.core.InternAtom(False, len(word), word).reply().atom  # noqa: FBT003
            for word in (name, kind)
        )
        self.core.ChangePropertyChecked(
            xcffib.xproto.PropMode.Replace,
            window,
            property_,
            type_,
            bits,
            len(value) * 8 // bits,
            value,
        ).check()

    def fill(self, drawable: int, at: Rect, colour: int) -> None:
        self.core.ChangeGC(self.gc, xcffib.xproto.GC.Foreground, [colour])
        area = xcffib.xproto.RECTANGLE.synthetic(at.left_px, at.top_px, at.width_px, at.height_px)
        self.core.PolyFillRectangleChecked(drawable, self.gc, 1, [area]).check()

    def place(self, window: int, **where: int) -> None:
        fields = xcffib.xproto.ConfigWindow
        mask = {"x": fields.X, "y": fields.Y, "width": fields.Width, "height": fields.Height}
        values = [where[name] for name in mask if name in where]
        bits = sum(mask[name] for name in where)
        self.core.ConfigureWindowChecked(window, bits, values).check()

    def warp(self, x: int, y: int) -> None:
        self.core.WarpPointerChecked(0, self.root, 0, 0, 0, 0, x, y).check()

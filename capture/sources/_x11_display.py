"""One connection to an X server: requests, events, and errors as sentences.

Owns what the X11 parts share. Every request runs inside ``guarded()``, so that a display that dies
is a ``DeviceLostError`` and never a traceback of xcffib. Used from one thread at a time.
"""

import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import xcffib
import xcffib.randr
import xcffib.xproto

from capture.closing import Closing
from capture.errors import AccessDeniedError, BackendUnavailableError, DeviceLostError
from capture.geometry import Rect
from capture.hints import Advice


class X11Display(Closing):
    """A connection to an X server.

    Args:
        name: Like ``:0``.

    Raises:
        AccessDeniedError: If a server is there and refuses.
        BackendUnavailableError: If there is none.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self.connection = xcffib.connect(name)
        except xcffib.XcffibException as error:
            raise _refusal(name, error) from error
        self.core = self.connection.core
        self.root: int = self.connection.setup.roots[self.connection.pref_screen].root
        self._listeners: list[Callable[[Any], None]] = [self._on_event]
        with self.guarded():
            mask = xcffib.xproto.EventMask.StructureNotify
            self.core.ChangeWindowAttributes(self.root, xcffib.xproto.CW.EventMask, [mask])
            size = self.core.GetGeometry(self.root).reply()
        self.desktop = Rect(0, 0, size.width, size.height)

    def close(self) -> None:
        """Disconnect, which frees all that was made on the server; idempotent."""
        self.connection.disconnect()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn a lost connection into ``DeviceLostError``; a refused request is raised as it is."""
        try:
            yield
        except xcffib.Error:
            raise
        except xcffib.XcffibException as error:
            raise DeviceLostError(
                f"the display {self.name} went away",
                hint="see whether the X server still runs, then start again",
                details={"error": str(error)},
            ) from error

    def extension(self, module: ModuleType, *version: int) -> Any | None:
        """Open an extension; ``None`` where the server has none.

        Args:
            module: Like ``xcffib.damage``.
            version: Major and minor that are asked for; nothing for extensions that don't ask.
        """
        with self.guarded():
            name = module.key.name
            if not self.core.QueryExtension(len(name), name).reply().present:
                return None
            extension = self.connection(module.key)
            # XInput 1 has taken the plain name.
            ask = getattr(extension, "XIQueryVersion", None) or extension.QueryVersion
            try:
                ask(*version).reply()
            except xcffib.Error:  # it has none of the versions that can be asked for like that
                return None
            return extension

    def new_id(self) -> int:
        """An unused resource id of this connection."""
        with self.guarded():
            return int(self.connection.generate_id())

    def listen(self, on_event: Callable[[Any], None]) -> None:
        """Add a function that ``drain()`` calls with every event."""
        self._listeners.append(on_event)

    def drain(self) -> None:
        """Handle all events that have arrived, without waiting."""
        while True:
            with self.guarded():
                try:
                    event = self.connection.poll_for_event()
                except xcffib.Error:
                    continue  # about a window that was just closed; its next use raises
            if event is None:
                return
            for on_event in self._listeners:
                on_event(event)

    def is_xwayland(self) -> bool:
        """Whether this is Xwayland, whose root is black: its windows lie on a Wayland desktop."""
        with self.guarded():
            extensions = self.core.ListExtensions().reply().names
            names = [extension.name.to_string() for extension in extensions]
            # Before 23.1 only its monitors gave it away.
            randr = self.extension(xcffib.randr, 1, 5)
            if randr:
                monitors = randr.GetMonitors(self.root, 1).reply().monitors
                atoms = [self.core.GetAtomName(monitor.name).reply() for monitor in monitors]
                names += [atom.name.to_string() for atom in atoms]
        return any(name.startswith("XWAYLAND") for name in names)

    def _on_event(self, event: Any) -> None:
        is_resized = isinstance(event, xcffib.xproto.ConfigureNotifyEvent)
        if is_resized and event.window == self.root:
            self.desktop = Rect(0, 0, event.width, event.height)


def _refusal(name: str, error: Exception) -> AccessDeniedError | BackendUnavailableError:
    """The error for a failed connection: libxcb reports a refusal like a missing server."""
    details = {"error": str(error)}
    number = re.fullmatch(r"(?:unix)?:(\d+)(?:\.\d+)?", name)
    if number and sys.platform != "win32":
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(f"/tmp/.X11-unix/X{number[1]}")  # noqa: S108 - where X servers listen
            return AccessDeniedError(
                f"the display {name} refuses this user",
                hint="set XAUTHORITY to the session's file, or run as the user who is logged in",
                details=details,
            )
    return BackendUnavailableError(
        f"no X server answers at DISPLAY={name}",
        hint=Advice.PRIVATE_DISPLAY.with_(),
        details=details,
    )

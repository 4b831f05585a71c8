"""What a machine may have besides: another sound server, and others that are busy."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

from capture.desktop import SINK_NAME, PrivateDesktop
from tests.device.servers import PipeWireServer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PipeWireDesktop", "busy"]


class PipeWireDesktop(PrivateDesktop):
    """A private desktop whose sound server is PipeWire; PulseAudio's is there, but unused.

    Args:
        width_px: Of the screen.
        height_px: Of the screen.
    """

    def __init__(self, width_px: int, height_px: int) -> None:
        self._pipewire: PipeWireServer | None = None
        super().__init__(width_px, height_px)
        folder = self.directory / "pipewire"
        folder.mkdir(mode=0o700)
        server = PipeWireServer(folder, sinks=(SINK_NAME,))
        try:
            server.start()
        finally:
            self._pipewire = server

    @property
    def environment(self) -> dict[str, str]:
        """As of every private desktop, and what leads to PipeWire."""
        return super().environment | (self._pipewire.environment if self._pipewire else {})

    def close(self) -> None:
        """End PipeWire, then the rest; idempotent."""
        server, self._pipewire = self._pipewire, None
        if server is not None:
            server.stop()
        super().close()


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes beside that never rest."""
    command = [sys.executable, "-c", "while True: pass"]
    loops = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()

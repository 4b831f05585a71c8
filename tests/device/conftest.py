"""What several device tests listen to."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from capture.desktop import SINK_NAME, PrivateDesktop
from tests.device.recorded import RATE_HZ, until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def monitor(desktop_env: PrivateDesktop) -> Iterator[list[bytes]]:
    """What the private desktop's speakers play meanwhile: float32, stereo."""
    assert desktop_env.display
    command = ["parec", "--raw", "--latency-msec=20", f"--device={SINK_NAME}.monitor"]
    command += ["--format=float32le", f"--rate={RATE_HZ}", "--channels=2"]
    heard: list[bytes] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        pipe: Any = process.stdout

        def listen() -> None:
            while data := pipe.read1(1 << 16):
                heard.append(data)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            until(lambda: heard)
            yield heard
        finally:
            process.terminate()
            thread.join()

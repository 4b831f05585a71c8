"""What real backends run on: servers of their own, with something to see and to hear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.device.recorded import until_playing
from tests.device.servers import PipeWireServer, PulseServer, serving, tone

if TYPE_CHECKING:
    from collections.abc import Iterator

MICROPHONE = "master=spk.monitor source_name=desk source_properties=device.class=sound"


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """An X server."""
    from tests.device.painter import x_server  # noqa: PLC0415 - needs libxcb

    with x_server() as (display, _):
        yield display


@pytest.fixture(scope="module")
def pulseaudio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """PulseAudio, silent; what an output that rewinds plays anew, its monitor never hears."""
    yield from serving(PulseServer(tmp_path_factory.mktemp("pulse"), "norewinds=1"))


@pytest.fixture(scope="module")
def pipewire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """PipeWire, silent."""
    yield from serving(PipeWireServer(tmp_path_factory.mktemp("pipewire")))


@pytest.fixture(scope="module")
def pulseaudio_sounding(pulseaudio: str) -> Iterator[str]:
    """PulseAudio, where ``host`` plays and a microphone hears it."""
    yield from _sounding(pulseaudio)


@pytest.fixture(scope="module")
def pipewire_sounding(pipewire: str) -> Iterator[str]:
    """PipeWire, where ``host`` plays and a microphone hears it."""
    yield from _sounding(pipewire)


def _sounding(address: str) -> Iterator[str]:
    import pulsectl  # noqa: PLC0415 - it loads libpulse

    with pulsectl.Pulse("test", server=address) as client:
        client.module_load("module-remap-source", MICROPHONE)
        client.source_default_set("desk")
        with tone("host", 440, PULSE_SERVER=address):
            until_playing(client, "host")
            yield address

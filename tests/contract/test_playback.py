"""What every way to play must keep to, heard from the output's monitor.

Frames say their own number (``counted_player``), so that what was heard is known whatever silence
a busy machine puts in between.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest

from capture.sources import open_audio
from capture.sources.playback import BUFFER_S, _PortAudioPlayback, _PulsePlayback
from capture.specs.recording import AudioSpec
from tests.device.counted_player import RATE_HZ, decode, encode
from tests.device.recorded import until
from tests.device.servers import look_with_portaudio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from capture.model.signal import AudioBlock
    from capture.sources.playback import Playback

pytestmark = pytest.mark.device

OpenPlayback: TypeAlias = "Callable[[], AbstractContextManager[tuple[Playback, Listener]]]"

LENGTH = RATE_HZ + 77
"""Frames: twice the buffer, and no whole number of blocks."""
HELD_S = 1.0


def portaudio() -> Playback:
    look_with_portaudio()
    return _PortAudioPlayback(RATE_HZ, 2)


WAYS = {"pulse": lambda: _PulsePlayback(RATE_HZ, 2), "portaudio": portaudio}


class Listener:
    """What the output plays."""

    def __init__(self, server: str) -> None:
        self.blocks: list[AudioBlock] = []
        # PipeWire's graph goes on without a recorder that is late for a cycle.
        self._may_miss = server == "pipewire"

    def frames(self) -> list[int]:
        """Numbers of the frames that were heard, in their order; silence left out."""
        samples = [np.zeros(0, np.float32), *(block.samples[:, 0] for block in self.blocks)]
        numbers = decode(np.concatenate(samples))
        return [int(number) for number in numbers[numbers >= 0]]

    def check(self, first: int, frames: int) -> None:
        """That so many frames from the first on were heard, in their order and once."""
        expected = list(range(first, first + frames))
        if not self._may_miss:
            until(lambda: expected[-1] in self.frames())
        heard = [number for number in self.frames() if number >= first]
        if self._may_miss:
            assert heard == sorted(set(heard) & set(expected))
            assert len(heard) > frames / 2
        else:
            assert heard == expected


@pytest.fixture(
    scope="module",
    params=[("pulse", "pulseaudio"), ("portaudio", "pulseaudio"), ("pulse", "pipewire")],
    ids="-".join,
)
def open_way(request: pytest.FixtureRequest) -> OpenPlayback:
    way, server = request.param
    address: str = request.getfixturevalue(server)

    @contextmanager
    def opened() -> Iterator[tuple[Playback, Listener]]:
        listener = Listener(server)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PULSE_SERVER", address)
            with open_audio(AudioSpec("system")) as output, WAYS[way]() as playback:
                output.start(listener.blocks.append, lambda _: None)
                until(lambda: listener.blocks)
                yield playback, listener

    return opened


def counted(first: int, frames: int) -> NDArray[np.float32]:
    return np.frombuffer(encode(first, frames), np.float32).reshape(-1, 2)


def write_all(playback: Playback, samples: NDArray[np.float32]) -> None:
    written = 0
    while written < len(samples):
        written += playback.write(samples[written:])
        time.sleep(0.01)


def test_what_is_written_is_heard_and_it_is_known_how_far(open_way: OpenPlayback) -> None:
    with open_way() as (playback, listener):
        assert (playback.rate_hz, playback.channels) == (RATE_HZ, 2)
        assert playback.position_frames == 0
        write_all(playback, counted(0, LENGTH))
        assert not playback.is_over
        positions = [playback.position_frames]
        playback.end()
        while not playback.is_over:
            positions.append(playback.position_frames)
            time.sleep(0.01)
        assert positions == sorted(positions)
        assert playback.position_frames == LENGTH
        listener.check(0, LENGTH)


def test_no_more_is_taken_than_there_is_room_for(open_way: OpenPlayback) -> None:
    with open_way() as (playback, _):
        playback.pause()
        much = counted(0, 10 * RATE_HZ)
        taken = playback.write(much)
        assert 0 < taken <= BUFFER_S * RATE_HZ
        until(lambda: not playback.write(much))  # what the server holds makes room for as much


def test_a_pause_is_silent_and_what_follows_is_whole(open_way: OpenPlayback) -> None:
    frames = round(BUFFER_S * RATE_HZ)
    with open_way() as (playback, listener):
        playback.pause()
        assert playback.is_paused
        assert playback.write(counted(0, frames)) == frames
        playback.end()
        time.sleep(HELD_S)  # for twice as long as it is
        assert playback.position_frames < frames
        assert not playback.is_over
        assert len(listener.frames()) < frames
        playback.resume()
        assert not playback.is_paused
        until(lambda: playback.is_over)
        listener.check(0, frames)


def test_a_new_beginning_forgets_what_was_not_heard(open_way: OpenPlayback) -> None:
    with open_way() as (playback, listener):
        playback.pause()
        playback.write(counted(0, RATE_HZ // 2))
        playback.end()
        playback.restart()
        playback.resume()
        assert playback.position_frames == 0
        write_all(playback, counted(RATE_HZ, LENGTH))
        assert not playback.is_over
        playback.end()
        until(lambda: playback.is_over)
        assert playback.position_frames == LENGTH
        listener.check(RATE_HZ, LENGTH)
        assert len(listener.frames()) < LENGTH + RATE_HZ // 2


def test_it_may_be_closed_twice_and_in_the_middle(open_way: OpenPlayback) -> None:
    with open_way() as (playback, _):
        playback.write(counted(0, RATE_HZ // 4))
        playback.close()
        playback.close()

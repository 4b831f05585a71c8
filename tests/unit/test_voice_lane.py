"""From blocks to finished messages, with time stepped: no device, real files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from capture.media.write.growing import read_growing
from capture.model.signal import AudioBlock
from capture.specs.voice import GateSpec, VoiceSpec
from capture.units import NS_PER_S
from capture.voice.lane import Finished, Lane

if TYPE_CHECKING:
    from pathlib import Path

    from capture.gate import GateEvent

RATE_HZ = 48_000
BLOCK_FRAMES = 1920


def played(*stretches: tuple[float, bool]) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """16-bit sound in which every frame says its place, and silence; (length in s, sounds)."""
    pieces = []
    at = 0
    for length_s, sounds in stretches:
        frames = np.arange(at, at + round(length_s * RATE_HZ))
        at += len(frames)
        pieces.append(np.where(sounds, 1000 + frames % 30_000, 0).astype(np.int16))
    return np.concatenate(pieces)


class Listener:
    """A lane into which sound is played, and what came of it."""

    def __init__(self, folder: Path, gate: GateSpec) -> None:
        self.finished: list[Finished] = []
        self.events: list[GateEvent] = []
        self.lane = Lane(
            "test",
            None,
            VoiceSpec(folder, gate=gate),
            start_ns=NS_PER_S,
            rate_hz=RATE_HZ,
            channels=1,
            judge=None,
            on_finished=self.finished.append,
            on_change=lambda _lane, event: self.events.append(event),
        )
        self.frames = 0

    def play(self, sound: np.ndarray[tuple[int], np.dtype[np.int16]]) -> None:
        for first in range(0, len(sound), BLOCK_FRAMES):
            block = (sound[first : first + BLOCK_FRAMES, None] / 32_768).astype(np.float32)
            stamp_ns = NS_PER_S + self.frames * NS_PER_S // RATE_HZ
            self.lane.push(AudioBlock(block, stamp_ns, self.frames))
            self.frames += len(block)
            self.lane.advance(NS_PER_S + self.frames * NS_PER_S // RATE_HZ)

    def end(self) -> None:
        self.lane.finish(NS_PER_S + self.frames * NS_PER_S // RATE_HZ)

    def sounds(self) -> list[np.ndarray[tuple[int], np.dtype[np.int16]]]:
        """What was kept, each as a row of frames."""
        return [
            np.concatenate(list(read_growing(f.growing.path, f.first_frame, f.frames)))[:, 0]
            for f in self.finished
        ]


def test_a_message_is_kept_whole_with_its_padding(tmp_path: Path) -> None:
    listener = Listener(tmp_path, GateSpec(is_any_sound=True))
    sound = played((2.0, False), (1.0, True), (0.8, False), (1.5, True), (3.0, False))
    listener.play(sound)
    (kept,) = listener.sounds()
    pad = round(0.1 * RATE_HZ)
    np.testing.assert_array_equal(kept, sound[2 * RATE_HZ - pad :][: len(kept)])
    assert len(kept) == pytest.approx(round(3.3 * RATE_HZ) + 2 * pad, abs=RATE_HZ // 100)


def test_nothing_is_lost_between_the_parts_of_a_long_message(tmp_path: Path) -> None:
    """It is cut in a pause of which nobody knows yet that it will end."""
    listener = Listener(tmp_path, GateSpec(is_any_sound=True, max_length_s=5.0, hold_s=4.0))
    sound = played((1.0, False), (4.2, True), (3.5, False), (7.0, True), (6.0, False))
    listener.play(sound)
    parts = listener.sounds()
    assert [finished.is_continued for finished in listener.finished] == [True, True, False]
    assert [finished.heard.part for finished in listener.finished] == [1, 2, 3]
    assert [len(part) for part in parts[:2]] == [5 * RATE_HZ, 5 * RATE_HZ]
    whole = np.concatenate(parts)
    begin = round(0.9 * RATE_HZ)
    np.testing.assert_array_equal(whole, sound[begin : begin + len(whole)])
    assert begin + len(whole) == pytest.approx(round(15.8 * RATE_HZ), abs=RATE_HZ // 100)


def test_what_is_thrown_away_leaves_nothing(tmp_path: Path) -> None:
    listener = Listener(tmp_path, GateSpec(is_any_sound=True, max_length_s=5.0))
    listener.play(played((1.0, False), (2.0, True)))
    assert list(tmp_path.iterdir())
    listener.lane.reject()
    assert not list(tmp_path.iterdir())
    listener.play(played((6.0, True), (3.0, False)))
    assert not listener.finished
    listener.play(played((1.0, True), (3.0, False)))
    assert len(listener.finished) == 1


def test_what_is_kept_by_hand_ends_there(tmp_path: Path) -> None:
    listener = Listener(tmp_path, GateSpec(is_any_sound=True))
    listener.play(played((1.0, False), (2.0, True)))
    listener.lane.cut()
    (kept,) = listener.sounds()
    assert len(kept) == pytest.approx(2.1 * RATE_HZ, abs=RATE_HZ // 10)


def test_an_open_message_is_kept_at_the_end(tmp_path: Path) -> None:
    listener = Listener(tmp_path, GateSpec(is_any_sound=True))
    sound = played((1.0, False), (2.0, True))
    listener.play(sound)
    listener.end()
    (kept,) = listener.sounds()
    np.testing.assert_array_equal(kept[-RATE_HZ:], sound[-RATE_HZ:])


def test_what_is_open_is_on_disk_all_the_time(tmp_path: Path) -> None:
    listener = Listener(tmp_path, GateSpec(is_any_sound=True))
    listener.play(played((1.0, False), (2.0, True)))
    (path,) = tmp_path.glob("*.part.wav")
    on_disk = np.concatenate(list(read_growing(path)))
    assert len(on_disk) == pytest.approx(2.1 * RATE_HZ, abs=RATE_HZ // 10)
    listener.lane.give_up()
    assert path.exists()
    assert list(tmp_path.glob(".*.journal"))

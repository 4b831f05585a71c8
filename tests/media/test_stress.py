"""Whole recordings under stress: a clock that is off, a writer that stops, a machine too slow."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from capture import AudioSpec, Event, EventKind, RecordingSpec, Session, TestCard, VideoSpec
from capture.media.write.encode import pcm16
from capture.media.write.file_watch import FileWatch
from capture.recording import segments
from capture.sources.synthetic import EPOCH_NS
from capture.sources.synthetic.tone import SyntheticTone, ToneFaults, read_tone
from tests.media.films import read_picture_times, read_sound, video_end

if TYPE_CHECKING:
    from capture.model.signal import AudioBlock

RATE_HZ = 48_000
S = 1_000_000_000
MB = 1_000_000


class Heard(SyntheticTone):
    """The test tone, which remembers what it delivered."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.blocks: list[AudioBlock] = []

    def start(self, put: Any, on_event: Any) -> None:
        def keep(block: AudioBlock) -> None:
            self.blocks.append(block)
            put(block)

        super().start(keep, on_event)


def recorded(path: Path, source: SyntheticTone, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session of sound alone that records this source, once it is entered."""
    monkeypatch.setattr("capture.recording.inputs.open_audio", lambda *_, **__: source)
    spec = RecordingSpec(path, video=None, audio=(AudioSpec("synthetic"),))
    return Session(spec)


def test_a_clock_that_is_off_and_one_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both at once, as each takes its time: 300 ppm within 5 ms after 20 s, 0 ppm bit for bit."""
    fast_path, true_path = tmp_path / "fast.wav", tmp_path / "true.wav"
    true_tone = Heard()
    with (
        recorded(true_path, true_tone, monkeypatch) as true,
        recorded(
            fast_path, SyntheticTone(faults=ToneFaults(clock_error_ppm=300)), monkeypatch
        ) as fast,
    ):
        time.sleep(26)

    beeps = read_tone(read_sound(fast_path).samples, RATE_HZ)
    late_ms = [
        beep.frame / RATE_HZ * 1000 - (EPOCH_NS + beep.number * S - fast._clock.start_ns) / 1e6
        for beep in beeps
    ]
    at_s = [beep.frame / RATE_HZ for beep in beeps]
    print([f"{s:.0f} s: {ms:+.2f} ms" for s, ms in zip(at_s, late_ms, strict=True)])  # noqa: T201
    assert at_s[-1] > 24
    assert max(abs(ms) for s, ms in zip(at_s, late_ms, strict=True) if s > 20) < 5
    result = fast.result
    assert result is not None
    assert 50 < result.tracks[0].drift_ppm < 350  # still on its way
    assert result.tracks[0].silence_inserted_s == 0

    before = pcm16(np.concatenate([block.samples for block in true_tone.blocks]))
    after, _ = soundfile.read(true_path, dtype="int16")
    (sounding,) = np.nonzero(after[:, 0])
    after = after[sounding[0] :]  # the first sound comes a moment after the start
    assert len(after) > 24 * RATE_HZ
    # The tone between two beeps repeats itself: it fits in many places, the whole in one.
    places = _find(after[:4800, 0], before[: 2 * RATE_HZ, 0])
    assert any(np.array_equal(after, before[at : at + len(after)]) for at in places)
    assert true.result is not None
    assert true.result.tracks[0].drift_ppm == 0


def _find(part: Any, whole: Any) -> list[int]:
    """Where a part may begin in the whole."""
    windows = np.lib.stride_tricks.sliding_window_view(whole, len(part))
    return [int(at) for at in np.flatnonzero((windows == part).all(axis=1))]


@pytest.mark.alone
def test_a_writer_that_stops_costs_pictures_not_memory_and_no_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "film.mkv"
    monkeypatch.setattr(segments, "PACKETS_BYTES", MB // 5)  # the test card takes little room
    may_write = threading.Event()
    may_write.set()

    def look(_: FileWatch) -> None:
        may_write.wait(30)  # as a disk that does not answer

    monkeypatch.setattr(FileWatch, "tick", look)
    video = VideoSpec(TestCard(1920, 1080), quality="lossless", fps=60)
    spec = RecordingSpec(path, video=video, audio=(AudioSpec("synthetic"),))
    events: list[Event] = []
    weights, memory = [], []
    with Session(spec, events.append) as session:
        assert session._inputs.film is not None
        assert session._segments is not None
        time.sleep(2)
        may_write.clear()
        before_bytes = _memory_bytes()
        for _ in range(70):
            time.sleep(0.1)
            weights.append(session._segments.mailbox._weight)
            memory.append(_memory_bytes() - before_bytes)
        dropped = session._inputs.film.dropped
        may_write.set()
        time.sleep(1.5)
    result = session.result
    assert result is not None
    print(max(weights), max(memory), dropped)  # noqa: T201 - shown with -s, and when it fails
    assert max(weights) < MB  # the sound is let in beyond the bound
    assert max(memory) < 100 * MB  # of which six pictures are 50
    # And there it stays, a picture of 8 MB more or less: unbounded it would grow by a gigabyte.
    assert max(memory[35:]) - max(memory[:35]) < 20 * MB
    assert dropped > 60
    assert any(event.kind is EventKind.OVERLOAD for event in events)
    assert result.tracks[1].silence_inserted_s == 0
    sound = read_sound(path)
    numbers = [beep.number for beep in read_tone(sound.samples, RATE_HZ)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) >= 9
    assert sound.end_s == pytest.approx(video_end(path), abs=0.045)
    times = read_picture_times(path)
    assert times == sorted(times)


def _memory_bytes() -> int:
    """What this process holds in memory."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096

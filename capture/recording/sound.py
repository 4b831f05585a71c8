"""The sound of a recording: its sources, the mailbox of their blocks, the mixer, its thread.

The counterpart of ``film``: what ``Film`` is to pictures, ``Sound`` is to blocks.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import TYPE_CHECKING

from capture.clock import SessionClock, now_ns
from capture.live.mixer import Mixer, SourceSetting, Track, plan_tracks
from capture.model.events import Event, EventKind
from capture.model.signal import AudioBlock, Level
from capture.pipeline import Mailbox, MailboxClosedError, StopFlag, WhenFull
from capture.recording.watchdog import SoundFacts
from capture.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from capture.model.recording import TrackReport
    from capture.recording.lanes import SoundLane
    from capture.sources.base import AudioSource
    from capture.specs.recording import AudioSpec, TrackMode


READY_WITHIN_S = 0.3
"""Longest wait of the first picture for sound; later sound begins with silence."""
BLOCKS_WAITING_S = 10
"""Between source and timeline; a thread that is never late keeps this empty."""
TICK_S = 0.1
"""Sound is moved on in batches of so long: few wake-ups, and meters that move."""


class Sound:
    """The sound sources of a recording, and the mixer of their blocks.

    Args:
        sources: Opened, not started; closed by ``close()``.
        specs: What each was opened for.
        mode: How they become tracks.
        rate_hz: Sample rate of all of them.

    Attributes:
        tracks: What the file gets.
    """

    def __init__(
        self,
        sources: Sequence[AudioSource],
        specs: Sequence[AudioSpec],
        mode: TrackMode,
        rate_hz: int,
    ) -> None:
        self._sources = sources
        self._mode = mode
        self._rate_hz = rate_hz
        self._settings = [
            SourceSetting(source.label, source.channels, 10 ** (spec.gain_db / 20))
            for source, spec in zip(sources, specs, strict=True)
        ]
        self.tracks: tuple[Track, ...] = plan_tracks(self._settings, mode)
        self._mixer: Mixer | None = None
        self._received_blocks = [0] * len(sources)
        self._box: Mailbox[tuple[int, AudioBlock | Event]] = Mailbox(
            BLOCKS_WAITING_S * rate_hz * len(sources),
            when_full=WhenFull.DROP_OLDEST,
            weigh=lambda item: len(item[1].samples) if isinstance(item[1], AudioBlock) else 0,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes of the sources."""
        return tuple(note for source in self._sources for note in source.notes)

    def start(
        self,
        on_event: Callable[[Event], None],
        on_overflow: Callable[[], None],
        on_block: Callable[[AudioBlock], None] | None = None,
    ) -> None:
        """Start all sources, and wait shortly until each has given a block.

        Args:
            on_event: Called with every event of the devices, from other threads.
            on_overflow: Called when blocks were lost because ``run`` did not keep up.
            on_block: Called with every block, before it is put away; ``None``: nobody listens.

        Raises:
            DeviceError: One of them cannot be opened.
        """
        heard: set[int] = set()
        ready = threading.Event()

        def take(index: int, item: AudioBlock | Event) -> None:
            heard.add(index)
            if len(heard) == len(self._sources):
                ready.set()
            if isinstance(item, Event):
                on_event(item)
                if item.kind is not EventKind.STREAM_ENDED:
                    return
            else:
                self._received_blocks[index] += 1
                if on_block is not None:
                    on_block(item)
            with contextlib.suppress(MailboxClosedError):
                if not self._box.put((index, item)):
                    on_overflow()

        for index, source in enumerate(self._sources):
            source.start(functools.partial(take, index), functools.partial(take, index))
        ready.wait(READY_WITHIN_S)

    def begin(self, clock: SessionClock) -> None:
        """Set media time 0, before ``run``."""
        self._clock = clock
        self._mixer = Mixer(self._settings, self._mode, clock, self._rate_hz)

    def run(
        self, lane: SoundLane, planned_end: Callable[[], int | None], stop_asked: StopFlag
    ) -> None:
        """Lay blocks on the timelines and encode the tracks until the end; run in a thread.

        Args:
            lane: Where the tracks go.
            planned_end: Capture clock of the end, ``None`` while it is not known.
            stop_asked: Set when the end was brought forward.
        """
        assert self._mixer is not None
        end_frame = None
        while end_frame is None or not self._mixer.is_at(end_frame):
            try:
                gather_s = 0.0 if stop_asked.is_set() else TICK_S
                items = self._box.get_all(TICK_S, gather_s=gather_s)
            except TimeoutError:
                items = []
            except MailboxClosedError:  # aborted: what was waiting is lost, not the tracks' length
                lane.put(self._mixer.finish(self._frame_of(planned_end() or now_ns())))
                break
            for index, item in items:
                if isinstance(item, AudioBlock):
                    self._mixer.push(index, item)
                else:
                    self._mixer.end_stream(index, item.details["stream"])
            end_ns = planned_end()
            if end_ns is not None:
                end_frame = self._frame_of(end_ns)
            tracks = self._mixer.advance(now_ns(), end_frame)
            if tracks and len(tracks[0]):
                lane.put(tracks)
        lane.end()

    def abort(self) -> None:
        """Drop all waiting blocks; ``run`` ends at once."""
        self._box.close(discard=True)

    def close(self) -> None:
        """Close all sources; idempotent."""
        for source in self._sources:
            source.close()

    def levels(self) -> dict[str, Level]:
        """Loudness of each track since the last call. Any thread."""
        return self._mixer.levels() if self._mixer else {}

    def drift_ppm(self) -> dict[str, float]:
        """Drift of each source's clock in ppm; empty before ``begin``. Any thread."""
        if self._mixer is None:
            return {}
        return {
            source.label: self._mixer.drift_ppm(index) for index, source in enumerate(self._sources)
        }

    def facts(self) -> list[SoundFacts]:
        """The facts for the watchdog; empty before ``begin``. Any thread."""
        if self._mixer is None:
            return []
        return [
            SoundFacts(source.label, source.sound_state, loudness, received, source.is_idle_silent)
            for source, loudness, received in zip(
                self._sources, self._mixer.loudness, self._received_blocks, strict=True
            )
        ]

    def reports(self, codec: str) -> tuple[TrackReport, ...]:
        """A report of each track so far. Any thread."""
        return self._mixer.track_reports(codec) if self._mixer else ()

    @property
    def has_recorded(self) -> bool:
        """Whether any samples went to the lane."""
        return self._mixer is not None and self._mixer.recorded_frames > 0

    def _frame_of(self, at_ns: int) -> int:
        return round((at_ns - self._clock.start_ns) * self._rate_hz / NS_PER_S)

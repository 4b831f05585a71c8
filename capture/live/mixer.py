"""All sound of a recording on one axis: timelines in, tracks out.

Every source has a timeline per stream (an application may play several at once). The mixer moves
all of them forward together to one horizon, adds them up, cuts the pauses out to the sample and
hands over tracks of equal length. Pure: no threads, no clock reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from capture.clock import SessionClock
from capture.levels import LevelMeter, Loudness
from capture.live.timeline import AudioTimeline, TimelineStats
from capture.model.recording import TrackReport
from capture.model.signal import AudioBlock, Level
from capture.specs.recording import TrackMode
from capture.units import NS_PER_S

MISSING_AFTER_S = 0.6
"""A source that gave nothing for so long gets silence, so that the file goes on."""
HOLDBACK_S = 0.5
"""Silence ends so long before now: sound that is merely late still finds its place."""
LONGEST_TICK_S = 0.25
"""More than this between two calls is this process being late, not the source."""
ASLEEP_S = 1.0
"""More than this is the process sleeping (SIGSTOP, suspend): every source has all its time again,
since a busy machine wakes the threads in any order."""
MIN_CHUNK_S = 0.02
"""The least length that is handed on: one wake-up of the encoders per audio fragment."""
FADE_S = 0.005
"""Length of the fades at the edges of a pause, so that the cut does not click."""


@dataclass(frozen=True, slots=True)
class SourceSetting:
    """Gain and name of one sound source."""

    label: str
    channels: int
    gain: float = 1.0
    """Linear factor; 1 leaves the sound as it is."""


@dataclass(frozen=True, slots=True)
class Track:
    """One sound track of the file, and the sources that are mixed into it."""

    name: str
    channels: int
    sources: tuple[int, ...]
    """Indexes of the sources that are mixed into the track."""


@dataclass(slots=True)
class _Stream:
    timeline: AudioTimeline
    base_frame: int
    """Session frame at which its timeline begins."""
    has_ended: bool = False


@dataclass(slots=True)
class _Source:
    setting: SourceSetting
    streams: dict[int, _Stream] = field(default_factory=dict)
    """Those that still come or are not played out; nobody else's than the thread's that mixes."""
    past_and_present: tuple[TimelineStats, tuple[AudioTimeline, ...]] = (TimelineStats(), ())
    """The sum of all streams that are over, and the timelines of the others. It is replaced as a
    whole, so that any thread may read it."""
    ready_frame: int = 0
    idle_s: float = 0.0
    """For how long it has not moved, counted while this process was awake."""


def plan_tracks(sources: Sequence[SourceSetting], mode: TrackMode) -> tuple[Track, ...]:
    """The tracks for these sources: the mix first, then each source on its own."""
    alone = [Track(s.label, s.channels, (i,)) for i, s in enumerate(sources)]
    if len(sources) <= 1 or mode is TrackMode.SEPARATE:
        return tuple(alone)
    mix = Track("mix", 2, tuple(range(len(sources))))
    return (mix,) if mode is TrackMode.MIXED else (mix, *alone)


class Mixer:
    """Blocks of several sources in, tracks of equal length out; used from one thread.

    ``levels()``, ``report()`` and ``track_reports()`` may be called from any thread.

    Args:
        sources: All sources, in the order of their index.
        mode: How they become tracks.
        clock: Start and pauses of the recording.
        rate_hz: Sample rate of all sources.
        corrects_drift: As in ``AudioTimeline``.
    """

    def __init__(
        self,
        sources: Sequence[SourceSetting],
        mode: TrackMode,
        clock: SessionClock,
        rate_hz: int,
        *,
        corrects_drift: bool = True,
    ) -> None:
        self._corrects_drift = corrects_drift
        self._is_still = False
        self.tracks = plan_tracks(sources, mode)
        self.recorded_frames = 0
        """Length of every track so far, without the pauses."""
        self._sources = [_Source(setting) for setting in sources]
        self._clock = clock
        self._rate_hz = rate_hz
        self._horizon = 0
        self._last_now_ns = clock.start_ns
        self._meters = [LevelMeter() for _ in self.tracks]
        self.loudness = tuple(Loudness(rate_hz) for _ in sources)
        """Loudness of every source so far, without the pauses; a mix would hide a silent one."""

    def push(self, source: int, block: AudioBlock) -> None:
        """Add a block of a source; the stream of the block begins with its first one."""
        streams = self._sources[source].streams
        stream = streams.get(block.stream)
        if stream is None:
            start_ns = self._clock.start_ns + self._horizon * NS_PER_S // self._rate_hz
            timeline = AudioTimeline(
                rate_hz=self._rate_hz,
                channels=block.samples.shape[1],
                start_ns=start_ns,
                corrects_drift=self._corrects_drift,
            )
            timeline.is_still = self._is_still
            past, present = self._sources[source].past_and_present
            self._sources[source].past_and_present = past, (*present, timeline)
            stream = streams[block.stream] = _Stream(timeline, self._horizon)
        stream.timeline.push(block)

    def keep_still(self, *, is_still: bool) -> None:
        """Switch corrections of the timelines off or on; see ``AudioTimeline.is_still``."""
        self._is_still = is_still
        for source in self._sources:
            for stream in source.streams.values():
                stream.timeline.is_still = is_still

    def end_stream(self, source: int, stream: int) -> None:
        """End a stream of a source; sound that was pushed before is still played out."""
        known = self._sources[source].streams.get(stream)
        if known is not None:
            known.has_ended = True
            known.timeline.finish()

    def advance(self, now_ns: int, end_frame: int | None = None) -> list[NDArray[np.float32]]:
        """Move on as far as there is sound, and past a source that stays silent too long.

        Args:
            now_ns: The capture clock.
            end_frame: Session frame, pauses included, at which the recording ends; when it is
                reached, ``is_at(end_frame)`` is true.

        Returns:
            Float32 of shape ``(frames, channels)`` for each track, all of one length; empty where
            there is nothing to hand on yet.
        """
        limit = (now_ns - self._clock.start_ns) * self._rate_hz // NS_PER_S
        if end_frame is not None:
            limit = min(limit, end_frame)
        passed_s = (now_ns - self._last_now_ns) / NS_PER_S
        self._last_now_ns = now_ns
        awake_s = min(passed_s, LONGEST_TICK_S)
        if passed_s > ASLEEP_S:
            awake_s = 0.0
            for source in self._sources:
                source.idle_s = 0.0
        horizon = min(
            (self._reach(source, limit, awake_s, now_ns) for source in self._sources), default=limit
        )
        is_last = horizon == end_frame
        if horizon - self._horizon < (1 if is_last else MIN_CHUNK_S * self._rate_hz):
            return []
        return self._hand_out(horizon)

    def finish(self, end_frame: int) -> list[NDArray[np.float32]]:
        """The rest up to the end, as ``advance`` gives it, silent where no sound came in time."""
        return self._hand_out(max(end_frame, self._horizon))

    def _hand_out(self, horizon: int) -> list[NDArray[np.float32]]:
        # The pauses are cut out of the sources, before they are added up: once for each.
        alone = [
            self._without_pauses(self._pull_source(source, horizon), self._horizon)
            for source in self._sources
        ]
        self._horizon = horizon
        for loudness, samples in zip(self.loudness, alone, strict=True):
            loudness.accumulate(samples)
        kept = self._mix(alone)
        for meter, samples in zip(self._meters, kept, strict=True):
            meter.accumulate(samples)  # none in a pause
        self.recorded_frames += len(kept[0]) if kept else 0
        return kept

    def is_at(self, end_frame: int) -> bool:
        """Whether everything before a session frame has been handed out."""
        return self._horizon >= end_frame

    def levels(self) -> dict[str, Level]:
        """Loudness of each track since the last call; see ``LevelMeter.take``."""
        return {
            track.name: meter.take() for track, meter in zip(self.tracks, self._meters, strict=True)
        }

    def track_reports(self, codec: str) -> tuple[TrackReport, ...]:
        """A report of each track so far.

        Args:
            codec: Of all of them, as people write it.
        """
        reports = []
        for track, meter in zip(self.tracks, self._meters, strict=True):
            parts = [self.report(index) for index in track.sources]
            reports.append(
                TrackReport(
                    name=track.name,
                    kind="audio",
                    codec=codec,
                    start_s=0.0,
                    end_s=self.recorded_frames / self._rate_hz,
                    silence_inserted_s=sum(p.inserted_frames for p in parts) / self._rate_hz,
                    sound_dropped_s=sum(p.dropped_frames for p in parts) / self._rate_hz,
                    gaps=sum(p.gaps for p in parts),
                    drift_ppm=max((p.drift_ppm for p in parts), key=abs),
                    max_error_ms=max(p.max_error_ns for p in parts) / 1e6,
                    peak_dbfs=meter.highest_dbfs,
                )
            )
        return tuple(reports)

    def report(self, source: int) -> TimelineStats:
        """The corrections that were made to a source so far."""
        past, present = self._sources[source].past_and_present
        return _sum([past, *(timeline.stats for timeline in present)])

    def drift_ppm(self, source: int) -> float:
        """The drift of a source so far, in ppm: that of its stream that has most."""
        past, present = self._sources[source].past_and_present
        return max((past.drift_ppm, *(each.stats.drift_ppm for each in present)), key=abs)

    def _reach(self, source: _Source, limit: int, awake_s: float, now_ns: int) -> int:
        """Session frame up to which a source can be handed out now."""
        waiting = [s for s in source.streams.values() if not s.has_ended]
        ready = min((s.base_frame + s.timeline.available_frames for s in waiting), default=0)
        ready = min(ready, limit)
        if ready > source.ready_frame:
            source.ready_frame, source.idle_s = ready, 0.0
        else:
            source.idle_s += awake_s
        if source.idle_s < MISSING_AFTER_S:
            return max(ready, self._horizon)
        late = (now_ns - self._clock.start_ns) / NS_PER_S - HOLDBACK_S
        return max(ready, self._horizon, min(limit, int(late * self._rate_hz)))

    def _mix(self, alone: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Sound of every track from that of every source."""
        tracks = []
        for track in self.tracks:
            if len(track.sources) == 1:
                tracks.append(alone[track.sources[0]])
                continue
            mix = np.zeros((len(alone[0]), track.channels), np.float32)
            for index in track.sources:
                mix += alone[index]  # mono is broadcast to both sides
            tracks.append(np.clip(mix, -1.0, 1.0, out=mix))
        return tracks

    def _pull_source(self, source: _Source, horizon: int) -> NDArray[np.float32]:
        """Sound of one source up to the horizon."""
        total: NDArray[np.float32] | None = None
        for key, stream in list(source.streams.items()):
            until = horizon - stream.base_frame
            samples = stream.timeline.pull(until, fill=True)
            total = samples if total is None else total + samples
            if stream.has_ended and stream.timeline.available_frames <= until:
                del source.streams[key]
                past, present = source.past_and_present
                present = tuple(each for each in present if each is not stream.timeline)
                source.past_and_present = _sum([past, stream.timeline.stats]), present
        if total is None:
            return np.zeros((horizon - self._horizon, source.setting.channels), np.float32)
        if source.setting.gain != 1.0:
            total = total * np.float32(source.setting.gain)
        return total

    def _without_pauses(self, samples: NDArray[np.float32], start: int) -> NDArray[np.float32]:
        """``samples``, which begin at session frame ``start``, without the pauses."""
        for pause_start_ns, pause_end_ns in reversed(self._clock.pauses):
            begin = self._frame_of(pause_start_ns) - start
            end = len(samples) if pause_end_ns is None else self._frame_of(pause_end_ns) - start
            if end < 0 or begin >= len(samples) + round(FADE_S * self._rate_hz):
                continue
            samples = self._cut(samples, begin, end)
        return samples

    def _cut(self, samples: NDArray[np.float32], begin: int, end: int) -> NDArray[np.float32]:
        """The samples without ``[begin:end]``, faded at both edges; bounds may lie outside."""
        fade = round(FADE_S * self._rate_hz)
        ramp = np.linspace(0.0, 1.0, fade, endpoint=False, dtype=np.float32)[:, None]
        before = samples[: max(begin, 0)].copy()
        lead = max(begin - fade, 0)
        if begin > 0 and len(before) > lead:
            before[lead:] *= ramp[::-1][lead - (begin - fade) :][: len(before) - lead]
        after = samples[max(min(end, len(samples)), 0) :].copy()
        if 0 <= end < len(samples):
            head = min(fade, len(after))
            after[:head] *= ramp[:head]
        return np.concatenate((before, after))

    def _frame_of(self, at_ns: int) -> int:
        return round((at_ns - self._clock.start_ns) * self._rate_hz / NS_PER_S)


def _sum(stats: Sequence[TimelineStats]) -> TimelineStats:
    return TimelineStats(
        inserted_frames=sum(s.inserted_frames for s in stats),
        dropped_frames=sum(s.dropped_frames for s in stats),
        gaps=sum(s.gaps for s in stats),
        drift_ppm=max((s.drift_ppm for s in stats), key=abs),
        max_error_ns=max(s.max_error_ns for s in stats),
    )

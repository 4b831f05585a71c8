"""From stamped blocks of sound to one gapless stream on the session's time axis.

Owns where every sample of one stream lands: it fills holes with silence of exactly the missing
length, drops what comes twice or too late, and follows a device whose clock runs fast or slow.
Pure: no threads, no clock reads, no I/O; the caller locks.

The mapping is one pair of integers: input frame ``_expected`` lands on session frame ``_laid``. A
block ahead of ``_expected`` is a hole, a block behind it is an overlap, and every correction is a
change of ``_expected``. Stamps never place single samples; their median over a second shows whether
the mapping still holds, so jitter cannot reach the sound: a device that keeps time comes out bit
for bit.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from capture.live.drift import (
    DRIFT_OFF_S,
    DRIFT_WINDOW_S,
    TAPS,
    DriftLoop,
    Samples,
    Stretcher,
    clamp,
)
from capture.live.fades import faded_in, faded_out, silence
from capture.model.signal import AudioBlock
from capture.units import NS_PER_S

# -------------------------------------------------------------------------------- thresholds
# SSR steps at 50 ms, OBS at 70, FFmpeg at 100; 25 keeps a clear distance to the 45 ms at which
# sound ahead of the picture is noticed (ITU-R BT.1359).
STEP_S = 0.025
STEP_CONFIRM_S = 0.25  # how long the median must stay beyond it: a single spike is no step
STEP_WINDOW_S = 1.0
WINDOW_BLOCKS = 20  # a median of fewer is unreliable when 1 % of the stamps are spikes
PLAUSIBLE_S = 3.0  # PortAudio latencies beyond are broken stamps, not latencies
DOUBT_S = 2.0  # implausible stamps that agree for this long are believed
DOUBT_LIMIT_S = 60.0  # never: a wall clock in place of the capture clock is decades off
PLACE_BLOCKS = 10  # the first stamps of a device are its worst
PLACE_S = 0.25
# A device whose first stamps were off by up to this, and that keeps time, is left there: 20 ms are
# within every lip sync tolerance, and its sound stays bit-exact. One that is resampled anyway is
# brought back, at a pace that is a fifth of the loop's cap on its integral.
SETTLE_ERROR_S = 0.020
SETTLE_RELEASE = 100e-6
SETTLE_S = 3.0  # latencies reported in the first second are not looked at: 3 s minus the window
FADE_S = 0.005
STEER_EVERY_S = 0.05
LANDING_S = 0.25  # from the resampler back to an input frame: 0.5 frames at 42 ppm at most


@dataclass(slots=True)
class TimelineStats:
    """Corrections that were made to a stream so far; goes into a file's certificate."""

    lead_frames: int = 0
    """Silence before the first sound: the stream began later than the session."""
    inserted_frames: int = 0
    """Silence in place of sound that was missing, or not there in time."""
    dropped_frames: int = 0
    """Sound that was left out: it came twice, too late, or there was too much of it."""
    gaps: int = 0
    """Holes in the sound, however they were filled."""
    corrected_frames: int = 0
    """Frames that went through the resampler; all others are bit-exact."""
    drift_ppm: float = 0.0
    """How fast the device's clock runs against the capture clock; 0 until it left the dead band."""
    max_error_ns: int = 0
    """Largest median distance between stamps and laid sound over a second."""


class AudioTimeline:
    """Lays one stream of blocks on the session's time axis. Used from one thread at a time.

    Args:
        rate_hz: Frames per second of the blocks and of the result.
        channels: Channels of both.
        start_ns: Capture clock of session frame 0.
        corrects_drift: Resample where the device's clock is off. Without it what is not a hole
            stays bit for bit, and what is off by more than 25 ms is put right at once.

    Attributes:
        is_still: Nothing is put right while this is set: what comes follows on what came, frame by
            frame. Holes between the blocks' positions are still filled.
    """

    def __init__(
        self, *, rate_hz: int, channels: int, start_ns: int, corrects_drift: bool = True
    ) -> None:
        self.is_still = False
        self._corrects_drift = corrects_drift
        self._rate = rate_hz
        self._fade_frames = round(FADE_S * rate_hz)
        self._channels = channels
        self._start_ns = start_ns
        self._ready: deque[Samples] = deque()  # laid and not pulled
        self._laid = 0  # session frame after the last laid one
        self._pulled = 0
        self._waiting: list[AudioBlock] = []  # before the first placement
        self._expected: int | None = None  # input frame that comes next; None: not placed
        self._tail: int | None = None  # input frame after the last laid one; None: silence
        self._continuation: Samples | None = None  # dropped sound to fade over from
        self._has_sound = False  # was any laid yet
        self._is_filled = False  # since the last block that could be placed
        self._past = silence(TAPS // 2, channels)  # last input laid, for the resampler
        self._stretcher: Stretcher | None = None
        self._errors: deque[tuple[float, float]] = deque()  # (session frame, error in frames)
        self._doubts: deque[tuple[float, float]] = deque()  # the same for implausible stamps
        self._beyond_since: float | None = None
        self._steered_at = -math.inf
        self._settle_at: float | None = None  # when the first placement's error becomes known
        self._accepted_error = 0.0  # frames
        self._loop = DriftLoop()
        self.stats = TimelineStats()

    @property
    def available_frames(self) -> int:
        """Session frame up to which sound is laid; behind the blocks while the first ones wait."""
        return self._laid

    def push(self, block: AudioBlock) -> None:
        """Take the next block of the stream; its samples are kept, not copied.

        Raises:
            ValueError: If the block has another number of channels.
        """
        if block.samples.ndim != 2 or block.samples.shape[1] != self._channels:  # noqa: PLR2004
            raise ValueError(
                f"a block has the shape {block.samples.shape}, not {self._channels} channels"
            )
        if len(block.samples) == 0:
            return
        if self._expected is not None:
            self._follow(block, self._expected)
            self._lay(block)
            return
        self._waiting.append(block)
        held = sum(len(waiting.samples) for waiting in self._waiting)
        if len(self._waiting) >= PLACE_BLOCKS or held >= PLACE_S * self._rate:
            self._place()

    def finish(self) -> None:
        """End the stream: lay the blocks that wait for their place or for more sound."""
        if self._waiting:
            self._place()
        self._flush()

    def pull(self, until_frame: int, *, fill: bool) -> Samples:
        """Everything from the last pull up to a session frame.

        Args:
            until_frame: Frames since the session's start, pauses not cut out.
            fill: Put silence where there is no sound yet; what arrives for that time later is
                dropped.

        Returns:
            Exactly ``until_frame`` minus the last ``until_frame`` frames, shape (frames, channels),
            owned by the caller.

        Raises:
            ValueError: If it lies before the last pull, or beyond ``available_frames`` without
                ``fill``.
        """
        if until_frame < self._pulled:
            raise ValueError(f"frame {until_frame} lies before the last pull, up to {self._pulled}")
        if until_frame > self._laid:
            if not fill:
                raise ValueError(
                    f"frame {until_frame} is not laid yet, only {self._laid} frames are"
                )
            self._fill(until_frame)
        frames = until_frame - self._pulled
        out = np.empty((frames, self._channels), np.float32)
        done = 0
        while done < frames:
            chunk = self._ready.popleft()
            part = chunk[: frames - done]
            out[done : done + len(part)] = part
            done += len(part)
            if len(part) < len(chunk):
                self._ready.appendleft(chunk[len(part) :])
        self._pulled = until_frame
        return out

    # ---------------------------------------------------------------------- where a block belongs

    def _frame_of(self, block: AudioBlock) -> float | None:
        """Session frame by the block's stamp; None where it has none (0)."""
        if block.captured_ns <= 0:
            return None
        return (block.captured_ns - self._start_ns) * self._rate / NS_PER_S

    def _first_frame(self) -> int:
        """Session frame of the first waiting block, by the median over all of their stamps."""
        offsets = [
            frame - block.position_frames
            for block in self._waiting
            if (frame := self._frame_of(block)) is not None
        ]
        if not offsets:
            return self._laid
        return round(_median(offsets)) + self._waiting[0].position_frames

    def _place(self) -> None:
        """Start the mapping, and lay the blocks that waited for it."""
        self._expected = self._waiting[0].position_frames + self._laid - self._first_frame()
        blocks, self._waiting = self._waiting, []
        for block in blocks:
            self._lay(block)
        self._settle_at = self._laid + SETTLE_S * self._rate

    def _follow(self, block: AudioBlock, expected: int) -> None:
        """Compare a block's stamp with where it would land, and move the mapping if it must."""
        end = self._laid + self._backlog
        ahead = block.position_frames - expected
        stamp = self._frame_of(block)
        error = None if stamp is None else stamp - (end + ahead)
        plausible = PLAUSIBLE_S * self._rate
        if stamp is None or error is None or min(abs(error), abs(stamp - end)) > plausible:
            if abs(ahead) > plausible:
                self._expected = block.position_frames  # neither is to be believed: just append
            elif error is not None:
                self._check_stamps(end + ahead, error)
            return
        self._doubts.clear()
        was_filled, self._is_filled = self._is_filled, False
        step = STEP_S * self._rate
        if abs(error) <= step or (ahead == 0 and not was_filled):
            if self.is_still:
                self._errors.clear()
                self._beyond_since = None
                return
            self._errors.append((end + ahead, error))
            self._steer(end + ahead)
        elif abs(stamp - end) <= step and not was_filled:
            self._expected = block.position_frames  # the count jumped, the sound did not
        else:
            self._move(error)

    def _move(self, error: float) -> None:
        """Lay all that comes later by ``error`` frames: a hole if positive, a cut if negative."""
        assert self._expected is not None
        self._expected -= round(error)
        self._errors.clear()
        self._beyond_since = None
        self._settle_at = None
        self._accepted_error = 0.0

    def _check_stamps(self, at: float, error: float) -> None:
        """Accept implausible stamps once they have agreed with each other for long enough."""
        if abs(error) > DOUBT_LIMIT_S * self._rate:
            return
        self._doubts.append((at, error))
        if at - self._doubts[0][0] < DOUBT_S * self._rate:
            return
        errors = [doubt for _, doubt in self._doubts]
        middle = _median(errors)
        agreeing = [doubt for doubt in errors if abs(doubt - middle) <= STEP_S * self._rate]
        self._doubts.clear()
        if 2 * len(agreeing) > len(errors):
            self._move(_median(agreeing))

    def _steer(self, at: float) -> None:
        """Act on the errors of the last second or two: step, settle or drift."""
        while len(self._errors) > WINDOW_BLOCKS and (
            at - self._errors[0][0] > DRIFT_WINDOW_S * self._rate
        ):
            self._errors.popleft()
        passed_s = (at - self._steered_at) / self._rate
        if len(self._errors) < WINDOW_BLOCKS or 0 <= passed_s < STEER_EVERY_S:
            return
        self._steered_at = at
        errors = [error for _, error in self._errors]
        young = sum(when > at - STEP_WINDOW_S * self._rate for when, _ in self._errors)
        recent = errors[-max(young, WINDOW_BLOCKS) :]
        middle = _median(recent)
        error_ns = round(abs(middle) / self._rate * NS_PER_S)
        self.stats.max_error_ns = max(self.stats.max_error_ns, error_ns)

        step = STEP_S * self._rate
        if abs(middle) > step:
            if self._beyond_since is None:
                self._beyond_since = at
            elif at - self._beyond_since >= STEP_CONFIRM_S * self._rate:
                sign = math.copysign(1.0, middle)
                self._move(_median(error for error in recent if error * sign > step))
            return
        self._beyond_since = None
        if self._corrects_drift:
            self._follow_drift(at, _median(errors), passed_s)

    def _follow_drift(self, at: float, middle: float, passed_s: float) -> None:
        """Settle on the median error of the first seconds, then resample against what comes."""
        if self._settle_at is not None:
            if at >= self._settle_at:
                # Less than the loop's target may be drift already; it is not worth accepting.
                excess = middle - clamp(middle, DRIFT_OFF_S * self._rate)
                self._accepted_error = clamp(excess, SETTLE_ERROR_S * self._rate)
                self._settle_at = None
            return
        passed_s = passed_s if 0 < passed_s < 1 else STEER_EVERY_S
        if self._loop.is_active:
            release = SETTLE_RELEASE * passed_s * self._rate
            self._accepted_error -= clamp(self._accepted_error, release)
        self._loop.update((middle - self._accepted_error) / self._rate, passed_s)
        self.stats.drift_ppm = 0.0 - self._loop.integral * 1e6

    # ------------------------------------------------------------------------------ laying sound

    @property
    def _backlog(self) -> float:
        """Frames that were pushed and not laid yet: the resampler looks ahead."""
        return self._stretcher.backlog if self._stretcher is not None else 0.0

    def _lay(self, block: AudioBlock) -> None:
        """Lay a block by the mapping, with soft edges wherever the sound is cut."""
        assert self._expected is not None
        samples, position = block.samples, block.position_frames
        behind = self._expected - position
        if behind > 0:
            self._drop(samples[:behind], position)
            if behind >= len(samples):
                return
            samples, position = samples[behind:], self._expected
        elif behind < 0:
            self._insert(-behind)
        if position != self._tail and self._has_sound:
            samples = faded_in(samples, self._continuation, self._fade_frames)
        self._continuation = None
        self._has_sound = True
        self._expected = self._tail = position + len(samples)
        self._emit(samples)

    def _drop(self, samples: Samples, position: int) -> None:
        """Leave out frames and count them, except those before the session's start."""
        assert self._expected is not None
        lands_at = self._laid + self._backlog - (self._expected - position)
        self.stats.dropped_frames += max(len(samples) + min(math.floor(lands_at), 0), 0)
        if self._tail is not None and 0 <= self._tail - position < len(samples):
            start = self._tail - position
            self._continuation = samples[start : start + self._fade_frames]

    def _emit(self, samples: Samples) -> None:
        """Lay sound right behind what is laid, through the resampler while the device drifts."""
        if self._loop.is_active and self._stretcher is None:
            self._stretcher = Stretcher(self._past)
        if len(samples) < len(self._past):
            self._past = np.concatenate((self._past, samples))[-len(self._past) :]
        else:
            self._past = samples[-len(self._past) :]
        if self._stretcher is None:
            self._append(samples)
            return
        if not self._loop.is_active and not self._stretcher.is_landing:
            self._stretcher.land(round(LANDING_S * self._rate))
        out = self._stretcher.push(samples, 1.0 - self._loop.correction)
        self.stats.corrected_frames += len(out)
        self._append(out)
        if self._stretcher.is_landed:
            self._append(self._stretcher.rest())
            self._stretcher = None

    def _insert(self, frames: int) -> None:
        """Lay silence, with a fade before it where the sound was not pulled yet."""
        self._flush()
        if not self._has_sound:
            self.stats.lead_frames += frames
        else:
            self.stats.inserted_frames += frames
            self.stats.gaps += self._tail is not None
        if self._tail is not None and self._ready:
            self._ready.append(faded_out(self._ready.pop(), self._fade_frames))
        self._tail = self._continuation = None
        self._past = silence(len(self._past), self._channels)
        self._append(silence(frames, self._channels))

    def _fill(self, until_frame: int) -> None:
        """Lay silence up to a frame in place of missing sound."""
        if self._waiting and self._first_frame() < until_frame:
            self._place()  # better by few stamps than not at all
        if until_frame > self._laid:
            self._flush()
        frames = until_frame - self._laid
        if frames <= 0:
            return
        self._insert(frames)
        if self._expected is not None:
            self._expected += frames
            self._is_filled = True

    def _flush(self) -> None:
        """Lay the frames that the resampler holds back."""
        if self._stretcher is None:
            return
        out = self._stretcher.flush()
        self._stretcher = None
        self.stats.corrected_frames += len(out)
        self._append(out)

    def _append(self, samples: Samples) -> None:
        if len(samples):
            self._ready.append(samples)
            self._laid += len(samples)


def _median(values: Iterable[float]) -> float:
    """The middle value; the upper one of two, which is good enough and three times as fast."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]

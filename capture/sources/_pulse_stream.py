"""One record stream of a PulseAudio server, and when each of its frames was heard.

When was a frame heard? By every answer to ``pa_stream_update_timing_info``, at ``timestamp`` the
server had written ``write_index``, the source lags by ``source_usec`` and, of a monitor, the sink
by ``sink_usec``. What the server holds back, because it could still be rewound, is in none of
these, but in ``buffer_usec`` of the source output (10 ms with a player of 100 ms latency; as much
as the device's latency is on a sound card). So the first frame of the stream was heard at::

    origin = timestamp - write_index / rate - buffer_usec - source_usec + sink_usec

and every later one on a straight line from there. These raw answers are taken, not libpulse's
interpolated latency, whose smoother is 0.2 to 0.7 s wrong for three seconds. On PulseAudio the
origin is exact from the first answer on, across the sink's latency steps: 0.02 ms against the
player's own clock. On PipeWire indexes move once a cycle, so an answer is as late as it is old: it
is asked for when data arrived. Disturbances only make answers late (a block on its way: 5 ms; this
thread waiting for the GIL; a machine with more to do than it can: half of them by 5-8 ms), so a low
quantile over the last seconds is the estimate (``_pulse_clock``). Measured with
``tests/device/counted_player.py``.
"""

import ctypes
import time
from collections.abc import Callable
from ctypes import byref
from dataclasses import dataclass
from typing import Any

import numpy as np

from capture.clock import now_ns
from capture.model.signal import AudioBlock
from capture.sources import _libpulse
from capture.sources._pulse_clock import ENOUGH_NS, OriginClock
from capture.units import NS_PER_S

CHANNELS = 2
FRAME_BYTES = 4 * CHANNELS
FRAGMENT_S = 0.04
"""What the server is asked to send at once; 20 ms cost twice the wake-ups and are no more exact.
PipeWire takes its cycle from it: 1024 frames."""
SETTLED_NS = 3 * NS_PER_S
"""After this long without a break the server is asked less often."""
ASK_EVERY_NS = NS_PER_S // 10
"""Time between answers then: ten a second follow a player that joins or leaves as well."""
NO_ANSWER_NS = NS_PER_S // 2
"""The first blocks wait this long for an answer, which takes 1 ms; then arrival must do."""
SILENCE_NS = NS_PER_S // 5
"""No data for so long may be a pause in which the server's indexes stood still (PipeWire)."""
IMPLAUSIBLE_NS = 5 * NS_PER_S
LATE_ANSWER_NS = NS_PER_S // 2
"""Answers take about 1 ms, and wait for the end of a rest at most: a later one was held up by a
stop of this thread."""
CATCH_UP_NS = NS_PER_S // 2
"""After that the server is not asked: what it could not send yet is in every answer."""


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """The description of a stream to record."""

    stream: int
    """Id of the stream on its blocks."""
    device: str | None
    """The source's name; ``None``: the monitor that ``sink_input`` plays to."""
    device_index: int | None
    """The source's index: a device that was removed and loaded again has another one."""
    sink_input: int | None = None
    """Only this stream of the monitored sink; ``None``: the mix, or a microphone."""
    fragment_s: float = FRAGMENT_S
    """Length of sound that the server sends at once; it renders no further ahead than that."""


@dataclass(slots=True)
class Position:
    """The next frame of a stream id, across re-opened streams."""

    next_frames: int = 0
    end_ns: int | None = None


class RecordStream:
    """A pa_stream and the clock of its frames. Used by the reader's thread only."""

    def __init__(self, context: Any, want: StreamRequest, rate_hz: int, position: Position) -> None:
        lib = self._lib = _libpulse.load()
        self._context = context
        self.want = want
        self._rate_hz = rate_hz
        self._position = position
        self._received_frames = 0
        self._arrivals: list[tuple[Any, int]] = []  # samples, when; not placed yet
        self._held: list[tuple[Any, int, int]] = []  # samples, first frame, arrival
        self._clock = OriginClock()
        self._operations: list[Any] = []  # the questions on their way, the last one last
        self._buffered_us = 0
        self._on_info = _libpulse.SourceOutputCallback(self._take_info)
        self._on_timing = _libpulse.StreamSuccessCallback(self._take_timing)
        self._opened_ns = self._last_data_ns = self._begun_ns = self._asked_ns = now_ns()
        self._ask_from_ns = 0
        self._is_fresh = True  # no block delivered since the stream began or paused
        self._was_silent = False  # as it is: because there was no data for SILENCE_NS
        spec = _libpulse.SampleSpec(_libpulse.FLOAT32, rate_hz, CHANNELS)
        self._stream = lib.pa_stream_new(context, b"record", byref(spec), None)
        if want.sink_input is not None:
            lib.pa_stream_set_monitor_stream(self._stream, want.sink_input)
        fragment = round(want.fragment_s * rate_hz) * FRAME_BYTES
        attr = _libpulse.BufferAttr(*[_libpulse.ANY] * 4, fragment)
        # DONT_MOVE: without it the server replaces a lost device, or the stream of an application
        # that ended, by another sound: a recording of what was not asked for.
        flags = _libpulse.STREAM_DONT_MOVE | _libpulse.STREAM_ADJUST_LATENCY
        device = want.device.encode() if want.device is not None else None
        # Taken as it comes: what is left in a stream that has ended meanwhile cannot be read.
        self._on_data = _libpulse.StreamRequestCallback(self._take_data)
        lib.pa_stream_set_read_callback(self._stream, self._on_data, None)
        self._refused = lib.pa_stream_connect_record(self._stream, device, byref(attr), flags) < 0

    @property
    def state(self) -> int:
        """The state of the stream, as pa_stream_state_t."""
        if self._refused:
            return _libpulse.STREAM_FAILED
        return int(self._lib.pa_stream_get_state(self._stream))

    def close(self) -> None:
        self._forget_questions()
        self._lib.pa_stream_set_read_callback(self._stream, _libpulse.StreamRequestCallback(), None)
        self._lib.pa_stream_disconnect(self._stream)
        self._lib.pa_stream_unref(self._stream)

    def _ask(self) -> None:
        """Request the server's timing; both answers come within about 1 ms, in this order."""
        lib = self._lib
        index = lib.pa_stream_get_index(self._stream)
        info = lib.pa_context_get_source_output_info(self._context, index, self._on_info, None)
        timing = lib.pa_stream_update_timing_info(
            self._stream, ctypes.cast(self._on_timing, ctypes.c_void_p), None
        )
        self._operations = [operation for operation in (info, timing) if operation]

    def _take_info(self, _context: Any, info: Any, _end: int, _data: Any) -> None:
        if info:
            self._buffered_us = info.contents.buffer_usec

    def _forget_questions(self) -> None:
        for operation in self._operations:
            self._lib.pa_operation_cancel(operation)
            self._lib.pa_operation_unref(operation)
        self._operations = []

    def overslept(self, slept_ns: int) -> None:
        """Note that this thread did not run for a while; frames are counted on.

        The frames that waited get times from the origin known before.
        """
        self._last_data_ns = min(self._last_data_ns + slept_ns, now_ns())
        if self._clock:
            self._forget_questions()
            self._ask_from_ns = now_ns() + CATCH_UP_NS

    def rested(self, for_ns: int) -> None:
        """Note that nothing was read for so long; what arrived meanwhile followed no silence.

        If nothing arrived there may be silence: on PipeWire it must be noticed after
        ``SILENCE_NS``.
        """
        if self._arrivals:
            self._last_data_ns = min(self._last_data_ns + for_ns, now_ns())

    @property
    def is_settled(self) -> bool:
        """Whether there are enough answers, and nothing to catch up with."""
        is_caught_up = now_ns() > self._ask_from_ns
        return is_caught_up and self._last_data_ns - self._begun_ns > ENOUGH_NS

    @property
    def age_ns(self) -> int:
        """Time since the stream was opened."""
        return now_ns() - self._opened_ns

    def deliver(self, put: Callable[[AudioBlock], None], *, is_last: bool = False) -> None:
        """Deliver all arrived blocks that have a time.

        Args:
            put: Takes the blocks.
            is_last: No more will come: what has no time yet gets that of its arrival.
        """
        self.look()
        self._deliver(put, is_last=is_last)

    def look(self) -> None:
        """Compute the position of arrived data, and hold it."""
        if not any(
            self._lib.pa_operation_get_state(each) == _libpulse.OPERATION_RUNNING
            for each in self._operations
        ):
            self._forget_questions()
        arrived, self._arrivals = self._arrivals, []
        if arrived:
            # Between those that were taken together there was no silence: this thread was late.
            self._notice_silence(arrived[0][1])
        for samples, arrival_ns in arrived:
            self._arrived(samples, arrival_ns)

    def _take_data(self, _stream: Any, _size: int, _data: Any) -> None:
        """Take all arrived data, within a dispatch.

        What it means is for ``look``: whether this thread overslept is known after the dispatch.
        """
        lib = self._lib
        data, size = ctypes.c_void_p(), ctypes.c_size_t()
        while lib.pa_stream_readable_size(self._stream):
            arrival_ns = now_ns()
            if lib.pa_stream_peek(self._stream, byref(data), byref(size)) < 0 or not size.value:
                break
            samples = np.zeros((size.value // FRAME_BYTES, CHANNELS), np.float32)
            if data.value:  # else a hole: silence of that length
                ctypes.memmove(samples.ctypes.data, data.value, samples.nbytes)
            lib.pa_stream_drop(self._stream)
            self._arrivals.append((samples, arrival_ns))

    def _notice_silence(self, arrival_ns: int) -> None:
        """Begin anew with this block, if there was no data before it for long."""
        if arrival_ns - self._last_data_ns > SILENCE_NS and not self._is_fresh:
            self._is_fresh = self._was_silent = True
            self._begun_ns = arrival_ns
            self._clock.clear()
            self._forget_questions()

    def _arrived(self, samples: Any, arrival_ns: int) -> None:
        self._last_data_ns = max(self._last_data_ns, arrival_ns)  # it may be older than a stop
        self._held.append((samples, self._received_frames, arrival_ns))
        self._received_frames += len(samples)
        is_seldom = arrival_ns - self._begun_ns > SETTLED_NS
        ask_at_ns = self._asked_ns + (ASK_EVERY_NS if is_seldom else 0)
        if not self._operations and arrival_ns >= max(ask_at_ns, self._ask_from_ns):
            self._asked_ns = arrival_ns
            self._ask()

    def _take_timing(self, _stream: Any, is_answered: int, _data: Any) -> None:
        """Turn an answer of the server into an origin, in the middle of a dispatch.

        Later would be too late: libpulse adds to the index what arrives after the answer.
        """
        pointer = self._lib.pa_stream_get_timing_info(self._stream)
        if not is_answered or not pointer or pointer.contents.write_index <= 0:
            return
        info = pointer.contents
        now = now_ns()
        if self._clock and now - self._asked_ns > LATE_ANSWER_NS:
            return  # a stop in between: the backlog is in it, and it would stand alone
        at_ns = info.sec * NS_PER_S + info.usec * 1000 - (time.time_ns() - now)
        written_ns = info.write_index // FRAME_BYTES * NS_PER_S // self._rate_hz
        origin = at_ns - written_ns + (info.sink_usec - info.source_usec) * 1000
        # A starved reader leaves hundreds of ms unsent, which ``buffer_usec`` counts as well.
        unread = (
            info.write_index - info.read_index - self._lib.pa_stream_readable_size(self._stream)
        )
        unsent_us = max(0, unread) // FRAME_BYTES * 1_000_000 // self._rate_hz
        self._clock.add(now, origin, max(0, self._buffered_us - unsent_us))

    def _deliver(self, put: Callable[[AudioBlock], None], *, is_last: bool) -> None:
        if not self._held:
            return
        samples, first, arrival_ns = self._held[-1]
        arrived_origin = arrival_ns - (first + len(samples)) * NS_PER_S // self._rate_hz
        if self._clock:
            origin = self._clock.origin_ns()
        elif now_ns() - self._held[0][2] < NO_ANSWER_NS and not is_last:
            return
        if not self._clock or abs(origin - arrived_origin) > IMPLAUSIBLE_NS:
            origin = arrived_origin
        position = self._position
        for samples, first, _ in self._held:
            captured_ns = origin + first * NS_PER_S // self._rate_hz
            if self._is_fresh and position.end_ns is not None:
                # Of another device the first frames may even be older than the last ones before.
                missing_ns = captured_ns - position.end_ns
                if self._was_silent and missing_ns < SILENCE_NS // 2:
                    missing_ns = 0  # no pause: the server was late, and has made up for it
                position.next_frames += round(missing_ns * self._rate_hz / NS_PER_S)
            self._is_fresh = self._was_silent = False
            put(AudioBlock(samples, captured_ns, position.next_frames, self.want.stream))
            position.next_frames += len(samples)
            position.end_ns = captured_ns + len(samples) * NS_PER_S // self._rate_hz
        self._held.clear()

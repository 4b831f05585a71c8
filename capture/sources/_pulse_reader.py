"""Reads record streams from a PulseAudio server and says when each frame was heard.

Owns one connection, its streams and the thread that drives them. What to record is told by
``want()``; the thread opens, re-opens and closes streams until they fit. The thread polls,
dispatches, then looks at its streams (see ``_libpulse``): no C thread ever calls Python.

When was a frame heard? Every answer to ``pa_stream_update_timing_info`` says: at ``timestamp`` the
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

from __future__ import annotations

import ctypes
import threading
import time
from ctypes import byref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from capture.clock import now_ns
from capture.model.signal import AudioBlock, TimeQuality
from capture.sources import _libpulse
from capture.sources._pulse_clock import ENOUGH_NS, OriginClock
from capture.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BACK_OFF_S", "CHANNELS", "PulseReader", "Want"]

CHANNELS = 2
FRAME_BYTES = 4 * CHANNELS
BACK_OFF_S = (0.5, 1.0, 2.0, 3.0)
"""Between attempts to open what was lost; the last one repeats (OBS retries every 3 s)."""
FRAGMENT_S = 0.04
"""What the server is asked to send at once; 20 ms cost twice the wake-ups and are no more exact.
PipeWire takes its cycle from it: 1024 frames."""
GUESS_NS = NS_PER_S
"""A new stream is known to be wanted, or not, within some 10 ms, on a busy machine 100 ms."""
POLL_US = 100_000
"""How long a round waits at most; data, answers and ``want()`` end it earlier."""
DRAIN_TURNS = 64
"""At most so many messages of the server are taken at once; a second of sound is about 100."""
SETTLED_NS = 3 * NS_PER_S
"""After this long without a break the server is asked less often."""
ASK_EVERY_NS = NS_PER_S // 10
"""How often then: ten answers a second follow a player that joins or leaves just as well."""
NO_ANSWER_NS = NS_PER_S // 2
"""The first blocks wait this long for an answer, which takes 1 ms; then arrival must do."""
SILENCE_NS = NS_PER_S // 5
"""No data for so long may be a pause in which the server's indexes stood still (PipeWire)."""
IMPLAUSIBLE_NS = 5 * NS_PER_S
OVERSLEPT_NS = 150_000_000
"""A longer round, rests apart, is this thread not having run (a busy machine, SIGSTOP), not the
server silent; with a fragment on top it is less than ``SILENCE_NS``."""
LATE_ANSWER_NS = NS_PER_S // 2
"""Answers take about 1 ms, and wait for the end of a rest at most: a later one was held up by a
stop of this thread."""
CATCH_UP_NS = NS_PER_S // 2
"""After that the server is not asked: what it could not send yet is in every answer."""
REST_S = 0.12
"""How long sound gathers once all streams are settled: a wake-up costs more than what is done in
it, six blocks of an application's stream."""
AWAKE_NS = NS_PER_S // 5
"""After somebody ended a rest there is none: where one stream came or went another may follow."""
STALL_NS = 5 * NS_PER_S
"""A reader that slept longer starts anew: the server drops silently after 10.9 s of this format."""


@dataclass(frozen=True, slots=True)
class Want:
    """One stream to record."""

    stream: int
    """Id on the blocks."""
    device: str | None
    """The source's name; ``None``: the monitor that ``sink_input`` plays to."""
    device_index: int | None
    """The source's index: a device that was removed and loaded again is another one."""
    sink_input: int | None = None
    """Only this stream of the monitored sink; ``None``: the mix, or a microphone."""
    fragment_s: float = FRAGMENT_S
    """What the server is asked to send at once; it also renders no further ahead than that."""


@dataclass(slots=True)
class _Position:
    """Where a stream id stands, across re-opened streams."""

    next_frames: int = 0
    end_ns: int | None = None


class _Stream:
    """A pa_stream and the clock of its frames. Used by the reader's thread only."""

    def __init__(
        self, context: Any, want: Want, rate_hz: int, position: _Position, name: bytes
    ) -> None:
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
        self._stream = lib.pa_stream_new(context, name, byref(spec), None)
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
        """pa_stream_state_t."""
        if self._refused:
            return _libpulse.STREAM_FAILED
        return int(self._lib.pa_stream_get_state(self._stream))

    def close(self) -> None:
        self._forget_questions()
        self._lib.pa_stream_set_read_callback(self._stream, _libpulse.StreamRequestCallback(), None)
        self._lib.pa_stream_disconnect(self._stream)
        self._lib.pa_stream_unref(self._stream)

    def _ask(self) -> None:
        """Ask where the server stands; both answers come within about 1 ms, in this order."""
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
        """This thread did not run for a while: what comes now goes on where it stopped.

        The frames that waited are counted on, with the origin known from before.
        """
        self._last_data_ns = min(self._last_data_ns + slept_ns, now_ns())
        if self._clock:
            self._forget_questions()
            self._ask_from_ns = now_ns() + CATCH_UP_NS

    def rested(self, for_ns: int) -> None:
        """Nobody listened for so long: what has arrived meanwhile was not silent before.

        If nothing has, it may be: on PipeWire a pause must be noticed after ``SILENCE_NS``.
        """
        if self._arrivals:
            self._last_data_ns = min(self._last_data_ns + for_ns, now_ns())

    @property
    def is_settled(self) -> bool:
        """Whether there are answers enough, and nothing to catch up with."""
        is_caught_up = now_ns() > self._ask_from_ns
        return is_caught_up and self._last_data_ns - self._begun_ns > ENOUGH_NS

    @property
    def age_ns(self) -> int:
        """Since it was opened."""
        return now_ns() - self._opened_ns

    def deliver(self, put: Callable[[AudioBlock], None], *, is_last: bool = False) -> None:
        """Hand over what has arrived and has a time.

        Args:
            put: Takes the blocks.
            is_last: No more will come: what has no time yet gets that of its arrival.
        """
        self.look()
        self._deliver(put, is_last=is_last)

    def look(self) -> None:
        """Place what has arrived, and keep it."""
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
        """Take all that has arrived, in the middle of a dispatch.

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
        """Begin anew with this block, if for long there was none before it."""
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
        self._clock.add(now, origin, self._buffered_us)

    def _deliver(self, put: Callable[[AudioBlock], None], *, is_last: bool) -> None:
        if not self._held:
            return
        quality = TimeQuality.SERVER
        samples, first, arrival_ns = self._held[-1]
        arrived_origin = arrival_ns - (first + len(samples)) * NS_PER_S // self._rate_hz
        if self._clock:
            origin = self._clock.origin_ns()
        elif now_ns() - self._held[0][2] < NO_ANSWER_NS and not is_last:
            return
        if not self._clock or abs(origin - arrived_origin) > IMPLAUSIBLE_NS:
            quality, origin = TimeQuality.ARRIVAL, arrived_origin
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
            put(AudioBlock(samples, captured_ns, position.next_frames, self.want.stream, quality))
            position.next_frames += len(samples)
            position.end_ns = captured_ns + len(samples) * NS_PER_S // self._rate_hz
        self._held.clear()


class PulseReader:
    """A connection that keeps the wanted streams open, on a thread of its own.

    It does not reconnect: when the server is gone, ``is_alive`` turns False and the owner makes
    another one, with the same ``positions``, so that frame counts go on.

    Attributes:
        heard_all_ns: All that the server had to say by then has been taken; any thread may ask.

    Args:
        server: As in PULSE_SERVER; ``None`` is the environment's.
        rate_hz: Of the blocks; the server resamples.
        positions: Where every stream id stands; the reader's own while it lives.
        put: Takes a block, on the reader's thread.
        on_state: Told on the reader's thread when a stream runs (True) or failed (False).
        on_new: Told on the reader's thread of a playback stream that has just been made, and
            when, or since when it may have been, where this thread did not run for a while. With
            it such a stream is opened at once, before it is known whose it is: the question would
            cost the first milliseconds of its sound. What comes of it is delivered if it is wanted
            within 1 s; else it is forgotten, heard by nobody.
    """

    def __init__(
        self,
        server: str | None,
        rate_hz: int,
        positions: dict[int, _Position],
        put: Callable[[AudioBlock], None],
        on_state: Callable[[Want, bool], None],
        *,
        on_new: Callable[[int, int], None] | None = None,
    ) -> None:
        self._hurried = threading.Event()
        self._has_changed = threading.Event()  # the streams are those that are wanted
        self._server = server
        self._rate_hz = rate_hz
        self._positions = positions
        self._put = put
        self._on_state = on_state
        self._on_new = on_new
        self._on_change = _libpulse.SubscriptionCallback(self._changed)
        self._lib = _libpulse.load()
        self._lock = threading.Lock()  # guards _loop against its end, and _wanted
        self._loop: Any = self._lib.pa_mainloop_new()
        self._wanted: frozenset[Want] = frozenset()
        self._is_stopping = False
        self._streams: dict[Want, _Stream] = {}
        self._running: set[Want] = set()
        self._failures: dict[Want, tuple[int, float]] = {}  # count, when to try again
        self._guesses: dict[int, _Stream] = {}  # by sink input: opened before they are wanted
        self._is_subscribed = False
        self._poll_us = POLL_US
        self._awake_until_ns = 0
        self.heard_all_ns = now_ns()
        self._caught_up_ns = 0  # until then the server may still hold back what it has to say
        self._thread = threading.Thread(target=self._run, name="capture-audio-read", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """False once the server is gone."""
        return self._thread.is_alive()

    def want(self, wanted: frozenset[Want]) -> None:
        """Record these and no others, from now on. Any thread."""
        with self._lock:
            if wanted == self._wanted:
                return
            self._wanted = wanted
            self._has_changed.clear()
            self._wake()

    def wait_for_change(self, timeout_s: float) -> None:
        """Wait until what is wanted no more has been closed, and the last of it delivered."""
        self._has_changed.wait(timeout_s)

    def close(self) -> None:
        """Disconnect and join the thread; idempotent. Not from the reader's thread."""
        with self._lock:
            self._is_stopping = True
            self._wake()
        self._thread.join()

    def hurry(self) -> None:
        """Look at what the server has to say now, where the reader rests. Any thread."""
        self._hurried.set()

    def _wake(self) -> None:
        self._hurried.set()
        if self._loop:
            self._lib.pa_mainloop_wakeup(self._loop)

    def _run(self) -> None:
        lib, loop = self._lib, self._loop
        context = lib.pa_context_new(lib.pa_mainloop_get_api(loop), b"capture")
        server = self._server.encode() if self._server else None
        flags = _libpulse.CONTEXT_NO_AUTOSPAWN
        try:
            if lib.pa_context_connect(context, server, flags, None) < 0:
                return
            last_ns = now_ns()
            while not self._is_stopping:
                if lib.pa_mainloop_prepare(loop, self._poll_us) < 0:
                    return
                if lib.mainloop_poll(loop) < 0 or lib.pa_mainloop_dispatch(loop) < 0:
                    return
                is_all = self._drain()
                self._poll_us = POLL_US
                state = lib.pa_context_get_state(context)
                if state in (_libpulse.CONTEXT_FAILED, _libpulse.CONTEXT_TERMINATED):
                    return
                at_ns = now_ns()
                if state == _libpulse.CONTEXT_READY:
                    self._subscribe(context)
                    self._round(context, at_ns - last_ns)
                last_ns = at_ns  # a stop within the round counts for the next
                if is_all and self._is_settled:
                    self._rest()
                    last_ns = min(now_ns(), last_ns + round(REST_S * NS_PER_S))
        finally:
            for want in list(self._streams):
                self._drop(want)
            for index in list(self._guesses):
                self._forget(index)
            self._has_changed.set()
            lib.pa_context_disconnect(context)
            lib.pa_context_unref(context)
            with self._lock:
                self._loop = None
                lib.pa_mainloop_free(loop)

    @property
    def _is_settled(self) -> bool:
        """Whether all that is wanted runs and has its times, and nothing else is under way."""
        return (
            now_ns() > self._awake_until_ns
            and not self._guesses
            and self._running == self._wanted == self._streams.keys()
            and all(stream.is_settled for stream in self._streams.values())
        )

    def _rest(self) -> None:
        """Let sound gather, and take it.

        What the poll then waits for is fresh: the server is asked while that is as old as it says.
        """
        self._drain()  # sends the questions: not a rest later
        begun_ns = now_ns()
        if self._hurried.wait(REST_S):
            # Somebody rang for something: libpulse's own bell is silenced by the drain.
            self._poll_us, self._awake_until_ns = 0, now_ns() + AWAKE_NS
        self._hurried.clear()
        rested_ns = now_ns() - begun_ns
        self._drain()
        for stream in self._streams.values():
            stream.rested(rested_ns)

    def _drain(self) -> bool:
        """Take what else has come, without giving the GIL away; whether that was all.

        A poll takes one message; beside busy Python threads each costs 10 ms of waiting for the
        GIL, and blocks of 12 ms pile up in the server.
        """
        lib, loop = self._lib, self._loop
        for _ in range(DRAIN_TURNS):
            if lib.pa_mainloop_prepare(loop, 0) < 0:
                return True
            at_ns = now_ns()
            ready = lib.pa_mainloop_poll(loop)
            done = lib.pa_mainloop_dispatch(loop)
            if ready < 0 or done < 0:
                return True
            if not ready and not done:  # libpulse does not look at the socket while it has work
                self._note_silence(at_ns)
                return True
        return False

    def _note_silence(self, at_ns: int) -> None:
        """The server had nothing more to say: that is all, unless it could not send for a while."""
        is_late = at_ns - self.heard_all_ns > OVERSLEPT_NS
        if is_late and not self._caught_up_ns:
            self._caught_up_ns = at_ns + CATCH_UP_NS
        if not is_late or at_ns >= self._caught_up_ns:
            self.heard_all_ns, self._caught_up_ns = at_ns, 0

    def _subscribe(self, context: Any) -> None:
        if self._is_subscribed or self._on_new is None:
            return
        self._is_subscribed = True
        lib, what = self._lib, _libpulse.SUBSCRIBE_SINK_INPUTS
        lib.pa_context_set_subscribe_callback(context, self._on_change, None)
        if operation := lib.pa_context_subscribe(context, what, None, None):
            lib.pa_operation_unref(operation)

    def _changed(self, context: Any, event: int, index: int, _data: Any) -> None:
        """A new playback stream: open it before anything else, for its sound may begin now."""
        assert self._on_new is not None
        if (
            event & _libpulse.EVENT_FACILITY_MASK != _libpulse.EVENT_SINK_INPUT
            or event & _libpulse.EVENT_TYPE_MASK != _libpulse.EVENT_NEW
        ):
            return
        at_ns = now_ns()
        is_late = at_ns - self.heard_all_ns > OVERSLEPT_NS
        self._on_new(index, self.heard_all_ns if is_late else at_ns)
        if index not in self._guesses and not any(
            want.sink_input == index for want in self._streams
        ):
            position = self._positions.setdefault(index, _Position())
            want = Want(index, None, None, index)
            self._guesses[index] = _Stream(context, want, self._rate_hz, position, b"record")

    def _read_guesses(self, wanted: frozenset[Want]) -> None:
        """Take over those that are wanted; forget those that nobody wants, or that failed."""
        for want in wanted:
            if want.sink_input in self._guesses and want not in self._streams:
                stream = self._guesses.pop(want.sink_input)
                stream.want = want
                self._streams[want] = stream
        for index, stream in list(self._guesses.items()):
            stream.look()
            is_over = stream.state in (_libpulse.STREAM_FAILED, _libpulse.STREAM_TERMINATED)
            if is_over or stream.age_ns > GUESS_NS:
                self._forget(index)
                self._positions.pop(index, None)

    def _forget(self, index: int) -> None:
        self._guesses.pop(index).close()

    def _round(self, context: Any, took_ns: int) -> None:
        """Make the streams fit what is wanted, then read them all.

        Args:
            context: The connection.
            took_ns: Time since the round before, of which ``POLL_US`` at most is waiting.
        """
        with self._lock:
            wanted = self._wanted
        self._read_guesses(wanted)
        self._close_unwanted(wanted, took_ns)
        self._failures = {want: how for want, how in self._failures.items() if want in wanted}
        for want in wanted:
            if (
                want not in self._streams
                and time.monotonic() >= self._failures.get(want, (0, 0))[1]
            ):
                position = self._positions.setdefault(want.stream, _Position())
                self._streams[want] = _Stream(context, want, self._rate_hz, position, b"record")
        for want, stream in list(self._streams.items()):
            state = stream.state
            if state == _libpulse.STREAM_READY:
                if want not in self._running:
                    self._running.add(want)
                    self._failures.pop(want, None)
                    self._on_state(want, True)  # noqa: FBT003
                stream.deliver(self._put)
            elif state in (_libpulse.STREAM_FAILED, _libpulse.STREAM_TERMINATED):
                stream.deliver(self._put, is_last=True)
                self._drop(want)
                count = self._failures.get(want, (0, 0.0))[0]
                pause_s = BACK_OFF_S[min(count, len(BACK_OFF_S) - 1)]
                self._failures[want] = (count + 1, time.monotonic() + pause_s)
                self._on_state(want, False)  # noqa: FBT003

    def _close_unwanted(self, wanted: frozenset[Want], took_ns: int) -> None:
        """Close what is wanted no more, and what this thread slept through."""
        for want, stream in list(self._streams.items()):
            if want not in wanted or took_ns > STALL_NS:
                stream.deliver(self._put, is_last=True)
                self._drop(want)
            elif took_ns > OVERSLEPT_NS:
                stream.overslept(took_ns)
        with self._lock:
            if wanted is self._wanted:
                self._has_changed.set()

    def _drop(self, want: Want) -> None:
        self._streams.pop(want).close()
        self._running.discard(want)

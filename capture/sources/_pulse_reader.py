"""Reads record streams from a PulseAudio server, on a thread of its own.

Owns one connection, its streams and the thread that drives them. ``want()`` sets the streams to
record; the thread opens, re-opens and closes streams until they fit. The thread polls, dispatches,
then looks at its streams (see ``_libpulse``): no C thread ever calls Python.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from capture.clock import now_ns
from capture.model.signal import AudioBlock
from capture.sources import _libpulse
from capture.sources._pulse_stream import CATCH_UP_NS, Position, RecordStream, StreamRequest
from capture.units import NS_PER_S

BACK_OFF_S = (0.5, 1.0, 2.0, 3.0)
"""Between attempts to open what was lost; the last one repeats (OBS retries every 3 s)."""
GUESS_NS = NS_PER_S
"""A new stream is known to be wanted, or not, within some 10 ms, on a busy machine 100 ms."""
POLL_US = 100_000
"""Longest wait of a round; data, answers and ``want()`` end it earlier."""
DRAIN_TURNS = 64
"""Most messages of the server that are read at once; a second of sound is about 100."""
OVERSLEPT_NS = 150_000_000
"""A longer round, rests apart, is this thread not having run (a busy machine, SIGSTOP), not the
server silent; with a fragment on top it is less than ``SILENCE_NS``."""
REST_S = 0.12
"""How long sound gathers once all streams are settled: a wake-up costs more than what is done in
it, six blocks of an application's stream."""
AWAKE_NS = NS_PER_S // 5
"""After somebody ended a rest there is none: where one stream came or went another may follow."""
STALL_NS = 5 * NS_PER_S
"""A reader that slept longer starts anew: the server drops silently after 10.9 s of this format."""


class PulseReader:
    """A connection that keeps the wanted streams open, on a thread of its own.

    It does not reconnect: when the server is gone, ``is_alive`` turns False and the owner makes
    another one, with the same ``positions``, so that frame counts go on.

    Attributes:
        heard_all_ns: All messages of the server before that have been read; any thread may read it.

    Args:
        server: As in PULSE_SERVER; ``None`` is the environment's.
        rate_hz: Of the blocks; the server resamples.
        positions: Where every stream id stands; the reader's own while it lives.
        put: Takes a block, on the reader's thread.
        on_state: Called on the reader's thread when a stream runs (True) or failed (False).
        on_new: Called on the reader's thread with a playback stream that has just been made, and
            when, or since when it may have been, where this thread did not run for a while. With
            it such a stream is opened at once, before it is known whose it is: the question would
            cost the first milliseconds of its sound. What comes of it is delivered if it is wanted
            within 1 s; else it is forgotten, heard by nobody.
    """

    def __init__(
        self,
        server: str | None,
        rate_hz: int,
        positions: dict[int, Position],
        put: Callable[[AudioBlock], None],
        on_state: Callable[[StreamRequest, bool], None],
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
        self._wanted: frozenset[StreamRequest] = frozenset()
        self._is_stopping = False
        self._streams: dict[StreamRequest, RecordStream] = {}
        self._running: set[StreamRequest] = set()
        self._failures: dict[StreamRequest, tuple[int, float]] = {}  # count, when to try again
        self._guesses: dict[int, RecordStream] = {}  # by sink input: opened before they are wanted
        self._is_subscribed = False
        self._poll_us = POLL_US
        self._awake_until_ns = 0
        self.heard_all_ns = now_ns()
        self._caught_up_ns = 0  # until then the server may hold back messages
        self._thread = threading.Thread(target=self._run, name="capture-audio-read", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the server still answers."""
        return self._thread.is_alive()

    def want(self, wanted: frozenset[StreamRequest]) -> None:
        """Set the streams to record from now on. Any thread."""
        with self._lock:
            if wanted == self._wanted:
                return
            self._wanted = wanted
            self._has_changed.clear()
            self._wake()

    def wait_for_change(self, timeout_s: float) -> None:
        """Wait until unwanted streams are closed, and their last blocks delivered."""
        self._has_changed.wait(timeout_s)

    def close(self) -> None:
        """Disconnect and join the thread; idempotent. Not from the reader's thread."""
        with self._lock:
            self._is_stopping = True
            self._wake()
        self._thread.join()

    def wake(self) -> None:
        """Wake the reader to read the server's messages now. Any thread."""
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
        """Whether all wanted streams run and have their times, and nothing is pending."""
        return (
            now_ns() > self._awake_until_ns
            and not self._guesses
            and self._running == self._wanted == self._streams.keys()
            and all(stream.is_settled for stream in self._streams.values())
        )

    def _rest(self) -> None:
        """Sleep while sound gathers, then read it.

        The following poll has fresh data: the server's timing is requested when the data is that
        old.
        """
        self._drain()  # sends the questions: not a rest later
        begun_ns = now_ns()
        if self._hurried.wait(REST_S):
            # ``wake()`` was called: libpulse's own wake-up is cleared by the drain.
            self._poll_us, self._awake_until_ns = 0, now_ns() + AWAKE_NS
        self._hurried.clear()
        rested_ns = now_ns() - begun_ns
        self._drain()
        for stream in self._streams.values():
            stream.rested(rested_ns)

    def _drain(self) -> bool:
        """Read all other messages without releasing the GIL; whether none was left.

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
        """Update ``heard_all_ns`` after the last message, unless the server was blocked."""
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
        """Handle a new playback stream: open it first, since its sound may begin now."""
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
            position = self._positions.setdefault(index, Position())
            want = StreamRequest(index, None, None, index)
            self._guesses[index] = RecordStream(context, want, self._rate_hz, position)

    def _read_guesses(self, wanted: frozenset[StreamRequest]) -> None:
        """Adopt early opened streams that are wanted; close the others."""
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
        """Open and close streams as wanted, then read them all.

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
                position = self._positions.setdefault(want.stream, Position())
                self._streams[want] = RecordStream(context, want, self._rate_hz, position)
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

    def _close_unwanted(self, wanted: frozenset[StreamRequest], took_ns: int) -> None:
        """Close unwanted streams, and those that changed while this thread slept."""
        for want, stream in list(self._streams.items()):
            if want not in wanted or took_ns > STALL_NS:
                stream.deliver(self._put, is_last=True)
                self._drop(want)
            elif took_ns > OVERSLEPT_NS:
                stream.overslept(took_ns)
        with self._lock:
            if wanted is self._wanted:
                self._has_changed.set()

    def _drop(self, want: StreamRequest) -> None:
        self._streams.pop(want).close()
        self._running.discard(want)

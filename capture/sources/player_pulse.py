"""Plays sound through libpulse, and gives the time at which each frame is heard.

The time comes from the server's raw timing: at an answer's ``timestamp``, ``read_index`` less the
sink's latency is heard. A stream without underruns is one straight line on the capture clock, so
the time of any frame follows from the median of all answers so far. (``pa_stream_get_time`` never
goes back, and so stands still for seconds after a sink has woken.)
"""

import ctypes
import os
import statistics
import time
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.clock import now_ns
from capture.closing import Closing
from capture.errors import BackendUnavailableError
from capture.hints import Advice
from capture.sources import _libpulse as lp
from capture.units import NS_PER_S

LATENCY_S = 0.1
"""Asked of the server: long enough for a busy machine, short enough to start soon."""
CONNECT_TIMEOUT_S = 5.0
TURN_US = 2_000
"""Longest wait of a turn: a picture that follows the sound is late by half of it."""
ASK_EVERY_S = 0.02
ANSWERS_KEPT = 100
ANSWERS_NEEDED = 5
_BYTES = 4  # float32


class PulseStream(Closing):
    """A stream to the default output. The caller turns its loop, from one thread.

    Args:
        name: How other programs see it, as in ``app:NAME``.
        rate_hz: Of what is written; the server resamples where it must.
        channels: Of what is written.
        latency_s: How far ahead of what is heard the server wants to be.

    Raises:
        BackendUnavailableError: No libpulse, or no server answers.
    """

    def __init__(
        self, name: str, rate_hz: int, channels: int = 1, latency_s: float = LATENCY_S
    ) -> None:
        self._name = name.encode()
        self._rate_hz = rate_hz
        self._channels = channels
        self._latency_s = latency_s
        self._starts_ns: deque[int] = deque(maxlen=ANSWERS_KEPT)
        self._question: Any = None
        self._next_question_s = 0.0
        self._is_paused = False
        self._stream: Any = None
        self._lib = lib = lp.load()
        self._loop = lib.pa_mainloop_new()
        self._context = lib.pa_context_new(lib.pa_mainloop_get_api(self._loop), self._name)
        if not self._context:  # in a process that was forked from one that had libpulse loaded
            lib.pa_mainloop_free(self._loop)
            raise BackendUnavailableError(
                "libpulse refuses to work in this process",
                hint="start it anew instead of forking it: multiprocessing calls that `spawn`",
            )
        try:
            server = os.environ.get("PULSE_SERVER")
            lib.pa_context_connect(
                self._context, server.encode() if server else None, lp.CONTEXT_NO_AUTOSPAWN, None
            )
            self._await(lambda: lib.pa_context_get_state(self._context), lp.CONTEXT_READY)
            self._connect()
        except BackendUnavailableError:
            self.close()
            raise

    @property
    def room_frames(self) -> int:
        """Number of frames that the server takes now."""
        room = int(self._lib.pa_stream_writable_size(self._stream))
        return room // (_BYTES * self._channels) if room < lp.ANY else 0

    @property
    def is_alive(self) -> bool:
        """Whether the server and the stream still exist."""
        return bool(self._lib.pa_stream_get_state(self._stream) == lp.STREAM_READY)

    def put(self, samples: NDArray[np.float32]) -> None:
        """Write frames, at most ``room_frames``; shape (frames, channels)."""
        data = samples.tobytes()
        self._lib.pa_stream_write(self._stream, data, len(data), None, 0, 0)

    def turn(self, wait_us: int = TURN_US) -> None:
        """Run the main loop; call at least every 50 ms. Waits so long for an answer."""
        self._ask()
        self._go_on(wait_us)

    def _go_on(self, wait_us: int) -> None:
        self._lib.pa_mainloop_prepare(self._loop, wait_us)
        self._lib.mainloop_poll(self._loop)
        self._lib.pa_mainloop_dispatch(self._loop)

    def heard_ns(self, frame: int) -> int | None:
        """Capture clock at which a frame is heard; ``None`` until the server has answered.

        Of a stream that has neither been paused nor run dry.
        """
        if len(self._starts_ns) < ANSWERS_NEEDED:
            return None
        return round(statistics.median(self._starts_ns)) + frame * NS_PER_S // self._rate_hz

    def heard_frames(self) -> int | None:
        """Number of frames heard, by the last answer; ``None`` until there is one."""
        if not self._starts_ns:
            return None
        return (now_ns() - self._starts_ns[-1]) * self._rate_hz // NS_PER_S

    def set_paused(self, *, is_paused: bool) -> None:
        """Pause or continue, at once and without a loss; earlier answers are forgotten."""
        lib = self._lib
        lib.pa_operation_unref(lib.pa_stream_cork(self._stream, int(is_paused), None, None))
        self._forget()
        self._is_paused = is_paused

    def restart(self) -> None:
        """Drop frames that were not heard, and begin again at frame 0.

        Raises:
            BackendUnavailableError: The server has gone.
        """
        self._disconnect()
        self._connect()

    def close(self) -> None:
        """Stop at once, without the frames that are not played yet, and disconnect."""
        if self._loop is None:
            return
        lib = self._lib
        self._disconnect()
        lib.pa_context_disconnect(self._context)
        lib.pa_context_unref(self._context)
        lib.pa_mainloop_free(self._loop)
        self._loop = None

    def _connect(self) -> None:
        lib = self._lib
        spec = lp.SampleSpec(lp.FLOAT32, self._rate_hz, self._channels)
        self._stream = lib.pa_stream_new(self._context, self._name, ctypes.byref(spec), None)
        wanted = round(self._latency_s * self._rate_hz) * _BYTES * self._channels
        attributes = lp.BufferAttr(lp.ANY, wanted, lp.ANY, lp.ANY, lp.ANY)
        lib.pa_stream_connect_playback(
            self._stream, None, ctypes.byref(attributes), lp.STREAM_ADJUST_LATENCY, None, None
        )
        self._await(lambda: lib.pa_stream_get_state(self._stream), lp.STREAM_READY)
        self._is_paused = False

    def _disconnect(self) -> None:
        self._forget()
        if self._stream is not None:
            self._lib.pa_stream_disconnect(self._stream)
            self._lib.pa_stream_unref(self._stream)
            self._stream = None

    def _forget(self) -> None:
        """Ignore answers to earlier requests."""
        if self._question is not None:
            self._lib.pa_operation_cancel(self._question)
            self._lib.pa_operation_unref(self._question)
            self._question = None
        self._starts_ns.clear()

    def _ask(self) -> None:
        """Take the answer to the last request, if there is one, and request again."""
        lib = self._lib
        if self._question is not None:
            if lib.pa_operation_get_state(self._question) == lp.OPERATION_RUNNING:
                return
            lib.pa_operation_unref(self._question)
            self._question = None
            info = lib.pa_stream_get_timing_info(self._stream)
            if info and info.contents.playing and info.contents.read_index > 0:
                self._starts_ns.append(self._start_ns(info.contents))
        if time.monotonic() >= self._next_question_s:
            self._next_question_s = time.monotonic() + ASK_EVERY_S
            self._question = lib.pa_stream_update_timing_info(self._stream, None, None)

    def _start_ns(self, info: Any) -> int:
        """Capture clock of the first frame, by this answer."""
        # The server stamps with wall time; both clocks read together turn it into ours.
        wall_to_capture_ns = now_ns() - time.time_ns()
        at_ns = (info.sec * 1_000_000 + info.usec) * 1000 + wall_to_capture_ns
        heard_frames = info.read_index // (_BYTES * self._channels)
        return int(at_ns - heard_frames * NS_PER_S // self._rate_hz + info.sink_usec * 1000)

    def _await(self, state: Any, ready: int) -> None:
        deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
        while (now := state()) != ready:
            # In both enumerations what follows ready is failed and terminated.
            if now > ready or time.monotonic() > deadline_s:
                raise BackendUnavailableError(
                    "no sound server answers", hint=Advice.CHECK_MACHINE.with_()
                )
            self._go_on(TURN_US)


class PulsePlayer(PulseStream):
    """One mono sound, played once, and silence after it. The caller turns its loop.

    Args:
        name: How other programs see it, as in ``app:NAME``.
        samples: Float32 of shape ``(frames,)``.
        rate_hz: Sample rate of the samples.

    Raises:
        BackendUnavailableError: No libpulse, or no server answers.
    """

    def __init__(self, name: str, samples: NDArray[np.float32], rate_hz: int) -> None:
        self._samples = np.ascontiguousarray(samples, np.float32)
        self._written = 0
        super().__init__(name, rate_hz)

    def turn(self, wait_us: int = TURN_US) -> None:
        """Write as much as the server takes and read its answers; call at least every 50 ms."""
        if (room := self.room_frames) > 0:
            piece = self._samples[self._written : self._written + room]
            # Silence after the end: the server's clock goes on, and nothing clicks.
            self.put(np.concatenate((piece, np.zeros(room - len(piece), np.float32))))
            self._written += room
        super().turn(wait_us)

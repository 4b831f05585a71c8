"""Plays sound through libpulse and knows when each of its frames is heard.

When that is comes from the server's raw timing: what is heard at an answer's ``timestamp`` is
``read_index`` less the sink's latency. A stream without underruns is one straight line on the
capture clock, so the median of all answers so far says when any frame was or will be heard.
(``pa_stream_get_time`` never goes back, and so stands still for seconds after a sink has woken.)
"""

from __future__ import annotations

import ctypes
import os
import statistics
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from capture.clock import now_ns
from capture.errors import BackendUnavailableError
from capture.model import NS_PER_S
from capture.sources import _libpulse as lp
from capture.sources.base import Closing

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PulsePlayer"]

LATENCY_S = 0.1
"""Asked of the server: long enough for a busy machine, short enough to start soon."""
CONNECT_TIMEOUT_S = 5.0
TURN_US = 2_000
"""How long a turn may wait: a picture that follows the sound is late by half of it."""
ASK_EVERY_S = 0.02
ANSWERS_KEPT = 100
ANSWERS_NEEDED = 5
_BYTES = 4  # float32, mono

_PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "pa_stream_connect_playback": (
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.POINTER(lp.BufferAttr),
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ),
    "pa_stream_writable_size": (ctypes.c_size_t, ctypes.c_void_p),
    "pa_stream_write": (
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int,
    ),
}


class PulsePlayer(Closing):
    """One mono sound, played once. The caller turns its loop, from one thread.

    Args:
        name: How other programs see it, as in ``app:NAME``.
        samples: Float32 of shape ``(frames,)``.
        rate_hz: Sample rate of the samples.

    Raises:
        BackendUnavailableError: No libpulse, or no server answers.
    """

    def __init__(self, name: str, samples: NDArray[np.float32], rate_hz: int) -> None:
        self._samples = np.ascontiguousarray(samples, np.float32)
        self._rate_hz = rate_hz
        self._written = 0
        self._starts_ns: deque[int] = deque(maxlen=ANSWERS_KEPT)
        self._question: Any = None
        self._next_question_s = 0.0
        self._lib = lib = lp.load()
        for function, (result, *arguments) in _PROTOTYPES.items():
            prototype = getattr(lib, function)
            prototype.restype, prototype.argtypes = result, arguments
        self._loop = lib.pa_mainloop_new()
        self._context = lib.pa_context_new(lib.pa_mainloop_get_api(self._loop), name.encode())
        server = os.environ.get("PULSE_SERVER")
        lib.pa_context_connect(
            self._context, server.encode() if server else None, lp.CONTEXT_NO_AUTOSPAWN, None
        )
        self._await(lambda: lib.pa_context_get_state(self._context), lp.CONTEXT_READY)
        spec = lp.SampleSpec(lp.FLOAT32, rate_hz, 1)
        self._stream = lib.pa_stream_new(self._context, name.encode(), ctypes.byref(spec), None)
        wanted = round(LATENCY_S * rate_hz) * _BYTES
        attributes = lp.BufferAttr(lp.ANY, wanted, lp.ANY, lp.ANY, lp.ANY)
        lib.pa_stream_connect_playback(
            self._stream, None, ctypes.byref(attributes), lp.STREAM_ADJUST_LATENCY, None, None
        )
        self._await(lambda: lib.pa_stream_get_state(self._stream), lp.STREAM_READY)

    def turn(self) -> None:
        """Give the server what it has room for and take its answers; call at least every 50 ms."""
        lib = self._lib
        room = lib.pa_stream_writable_size(self._stream) // _BYTES
        if 0 < room < lp.ANY // _BYTES:
            piece = self._samples[self._written : self._written + room]
            # Silence after the end: the server's clock goes on, and nothing clicks.
            piece = np.concatenate((piece, np.zeros(room - len(piece), np.float32)))
            lib.pa_stream_write(self._stream, piece.tobytes(), room * _BYTES, None, 0, 0)
            self._written += room
        self._ask()
        lib.pa_mainloop_prepare(self._loop, TURN_US)
        lib.mainloop_poll(self._loop)
        lib.pa_mainloop_dispatch(self._loop)

    def heard_ns(self, frame: int) -> int | None:
        """Capture clock at which a frame is heard; ``None`` until the server has answered."""
        if len(self._starts_ns) < ANSWERS_NEEDED:
            return None
        return round(statistics.median(self._starts_ns)) + frame * NS_PER_S // self._rate_hz

    def close(self) -> None:
        """Stop at once."""
        if self._loop is None:
            return
        lib = self._lib
        lib.pa_stream_disconnect(self._stream)
        lib.pa_stream_unref(self._stream)
        lib.pa_context_disconnect(self._context)
        lib.pa_context_unref(self._context)
        lib.pa_mainloop_free(self._loop)
        self._loop = None

    def _ask(self) -> None:
        """Take the answer to the last question, if there is one, and ask again."""
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
        """When the first frame was heard, after this answer."""
        # The server stamps with wall time; both clocks read together turn it into ours.
        wall_to_capture_ns = now_ns() - time.time_ns()
        at_ns = (info.sec * 1_000_000 + info.usec) * 1000 + wall_to_capture_ns
        heard_frames = info.read_index // _BYTES
        return int(at_ns - heard_frames * NS_PER_S // self._rate_hz + info.sink_usec * 1000)

    def _await(self, state: Any, ready: int) -> None:
        deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
        while (now := state()) != ready:
            # In both enumerations what follows ready is failed and terminated.
            if now > ready or time.monotonic() > deadline_s:
                raise BackendUnavailableError(
                    "no sound server answers", hint="see `capture doctor` for what works here"
                )
            self._lib.pa_mainloop_prepare(self._loop, TURN_US)
            self._lib.mainloop_poll(self._loop)
            self._lib.pa_mainloop_dispatch(self._loop)

"""Plays frames that carry their own number, and knows when each of them was heard.

Run as a program, so that neither its GIL nor its buffers touch the recorder's. The sample value of
frame n is ``(n + 1) / 2**23``, exact in float32, for 87 s; so every recorded frame says which one
it is. When a frame is heard comes from libpulse's raw timing of the playback stream: what is heard
at ``timestamp`` is ``read_index - sink latency``. A stream without underruns is one straight line,
so the median over all readings is the truth to a fraction of a millisecond.

Prints ``playing`` once it does, and at the end one JSON object: ``heard_ns`` is when frame 0 was
heard on CLOCK_MONOTONIC, ``spread_ms`` how far the readings scatter (p5 to p95).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from typing import Any

import numpy as np

from capture.sources import _libpulse as lp

RATE_HZ = 48_000
SCALE = 2.0**23


def decode(samples: Any) -> Any:
    """Frame numbers of recorded samples, float64; -1 for silence."""
    return np.rint(samples.astype(np.float64) * SCALE) - 1


def play(seconds: float, latency_ms: int, name: str, device: str | None) -> dict[str, Any]:
    lib = lp.load()
    lib.pa_stream_connect_playback.argtypes = (
        ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(lp.BufferAttr), ctypes.c_int,
        ctypes.c_void_p, ctypes.c_void_p,
    )  # fmt: skip
    lib.pa_stream_writable_size.argtypes = (ctypes.c_void_p,)
    lib.pa_stream_writable_size.restype = ctypes.c_size_t
    lib.pa_stream_write.argtypes = (
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int64,
        ctypes.c_int,
    )  # fmt: skip
    loop = lib.pa_mainloop_new()

    def turn(timeout_us: int) -> None:
        lib.pa_mainloop_prepare(loop, timeout_us)
        lib.mainloop_poll(loop)
        lib.pa_mainloop_dispatch(loop)

    context = lib.pa_context_new(lib.pa_mainloop_get_api(loop), name.encode())
    lib.pa_context_connect(context, None, lp.CONTEXT_NO_AUTOSPAWN, None)
    while (state := lib.pa_context_get_state(context)) != lp.CONTEXT_READY:
        if state > lp.CONTEXT_READY:
            sys.exit("no server")
        turn(-1)
    stream = lib.pa_stream_new(context, name.encode(), lp.SampleSpec(lp.FLOAT32, RATE_HZ, 2), None)
    wanted = RATE_HZ * 8 * latency_ms // 1000
    attr = lp.BufferAttr(lp.ANY, wanted if latency_ms else lp.ANY, lp.ANY, lp.ANY, lp.ANY)
    lib.pa_stream_connect_playback(
        stream, device.encode() if device else None, ctypes.byref(attr),
        lp.STREAM_ADJUST_LATENCY if latency_ms else 0, None, None,
    )  # fmt: skip
    while lib.pa_stream_get_state(stream) != lp.STREAM_READY:
        turn(-1)
    written = 0
    operation, readings = None, []
    total = int(seconds * RATE_HZ)
    end = None
    next_ask = 0.0
    announced = False
    while end is None or time.monotonic() < end:
        room = min(lib.pa_stream_writable_size(stream) // 8, total - written)
        if room > 0:
            counted = (np.arange(written + 1, written + room + 1) % 2**22) / SCALE
            data = np.repeat(counted.astype(np.float32), 2).tobytes()
            lib.pa_stream_write(stream, data, len(data), None, 0, 0)
            written += room
        if written >= total and end is None:
            end = time.monotonic() + latency_ms / 1000 + 0.3
        if operation and lib.pa_operation_get_state(operation) != lp.OPERATION_RUNNING:
            lib.pa_operation_unref(operation)
            operation = None
            info = lib.pa_stream_get_timing_info(stream).contents
            if info.playing and info.read_index > 0 and written < total:
                if not announced:
                    print("playing", flush=True)  # noqa: T201
                    announced = True
                epoch_ns = time.time_ns() - time.monotonic_ns()
                at_ns = info.sec * 1_000_000_000 + info.usec * 1000 - epoch_ns
                heard_ns = info.read_index // 8 * 1_000_000_000 // RATE_HZ - info.sink_usec * 1000
                readings.append((at_ns, at_ns - heard_ns, info.sink_usec, info.transport_usec, info.read_index//8, info.since_underrun))
        if operation is None and time.monotonic() >= next_ask:
            operation = lib.pa_stream_update_timing_info(stream, None, None)
            next_ask = time.monotonic() + 0.02
        turn(10_000)
    lib.pa_stream_disconnect(stream)
    lib.pa_context_disconnect(context)
    starts = np.array([reading[1] for reading in readings])
    return {
        "heard_ns": int(np.median(starts)),
        "spread_ms": float(np.subtract(*np.percentile(starts, [95, 5])) / 1e6),
        "readings": readings,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--latency-ms", type=int, default=0, help="0: the server's choice")
    parser.add_argument("--name", default="counted")
    parser.add_argument("--device")
    options = parser.parse_args()
    outcome = play(options.seconds, options.latency_ms, options.name, options.device)
    print(json.dumps(outcome), flush=True)  # noqa: T201

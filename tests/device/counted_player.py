"""Plays frames that carry their own number, and knows when each of them was heard.

Run as a program, so that neither its GIL nor its buffers touch the recorder's. The sample value of
frame n is ``(n + 1) / 2**23``, exact in float32, for 87 s; so every recorded frame says which one
it is. When a frame is heard comes from libpulse's raw timing of the playback stream: what is heard
at ``timestamp`` is ``read_index - sink latency``. A stream without underruns is one straight line.
On PulseAudio all answers agree to 0.1 ms. On PipeWire ``read_index`` runs ahead by up to a cycle
or two and then waits, so the upper quartile is the time at which frames reach the sink.

Prints ``playing`` once it does, and at the end one JSON object: ``heard_ns`` is when frame 0 was
heard on CLOCK_MONOTONIC, ``spread_ms`` how far the answers scatter (p5 to p95).
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
ASK_EVERY_S = 0.02


def decode(samples: Any) -> Any:
    """Frame numbers of recorded samples, float64; -1 for silence."""
    return np.rint(samples.astype(np.float64) * SCALE) - 1


def encode(first: int, frames: int) -> bytes:
    counted = (np.arange(first + 1, first + frames + 1) % 2**22) / SCALE
    return np.repeat(counted.astype(np.float32), 2).tobytes()


def library() -> Any:
    lib = lp.load()
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    more: dict[str, tuple[Any, ...]] = {
        "pa_stream_connect_playback": (
            ctypes.c_int, pointer, ctypes.c_char_p, ctypes.POINTER(lp.BufferAttr), ctypes.c_int,
            pointer, pointer,
        ),
        "pa_stream_writable_size": (size, pointer),
        "pa_stream_write": (
            ctypes.c_int, pointer, ctypes.c_char_p, size, pointer, ctypes.c_int64, ctypes.c_int,
        ),
        "pa_stream_cork": (pointer, pointer, ctypes.c_int, pointer, pointer),
    }  # fmt: skip
    for name, (result, *arguments) in more.items():
        prototype = getattr(lib, name)
        prototype.restype, prototype.argtypes = result, arguments
    return lib


class Player:
    """One playback stream; the caller turns its loop."""

    def __init__(self, name: str, device: str | None, latency_ms: int) -> None:
        self.lib = lib = library()
        self.loop = lib.pa_mainloop_new()
        self.context = lib.pa_context_new(lib.pa_mainloop_get_api(self.loop), name.encode())
        lib.pa_context_connect(self.context, None, lp.CONTEXT_NO_AUTOSPAWN, None)
        while (state := lib.pa_context_get_state(self.context)) != lp.CONTEXT_READY:
            if state > lp.CONTEXT_READY:
                sys.exit("no server")
            self.turn()
        spec = lp.SampleSpec(lp.FLOAT32, RATE_HZ, 2)
        self.stream = lib.pa_stream_new(self.context, name.encode(), spec, None)
        wanted = RATE_HZ * 8 * latency_ms // 1000 if latency_ms else lp.ANY
        lib.pa_stream_connect_playback(
            self.stream, device.encode() if device else None,
            lp.BufferAttr(lp.ANY, wanted, lp.ANY, lp.ANY, lp.ANY),
            lp.STREAM_ADJUST_LATENCY if latency_ms else 0, None, None,
        )  # fmt: skip
        while lib.pa_stream_get_state(self.stream) != lp.STREAM_READY:
            self.turn()
        self.operation: Any = None
        self.asked_s = 0.0

    def turn(self) -> None:
        self.lib.pa_mainloop_prepare(self.loop, 10_000)
        self.lib.mainloop_poll(self.loop)
        self.lib.pa_mainloop_dispatch(self.loop)

    def heard_start_ns(self) -> int | None:
        """When frame 0 was heard, by the answer to the last question; None while there is none."""
        lib = self.lib
        if self.operation is None and time.monotonic() - self.asked_s >= ASK_EVERY_S:
            self.operation = lib.pa_stream_update_timing_info(self.stream, None, None)
            self.asked_s = time.monotonic()
        if not self.operation or lib.pa_operation_get_state(self.operation) == lp.OPERATION_RUNNING:
            return None
        lib.pa_operation_unref(self.operation)
        self.operation = None
        info = lib.pa_stream_get_timing_info(self.stream).contents
        if not info.playing or info.read_index <= 0:
            return None
        epoch_ns = time.time_ns() - time.monotonic_ns()
        at_ns = info.sec * 1_000_000_000 + info.usec * 1000 - epoch_ns
        read_ns = info.read_index // 8 * 1_000_000_000 // RATE_HZ
        return int(at_ns - read_ns + info.sink_usec * 1000)

    def cork(self, *, is_corked: bool) -> None:
        self.lib.pa_operation_unref(
            self.lib.pa_stream_cork(self.stream, int(is_corked), None, None)
        )

    def close(self) -> None:
        self.lib.pa_stream_disconnect(self.stream)
        self.lib.pa_context_disconnect(self.context)


def play(options: argparse.Namespace) -> dict[str, Any]:
    player = Player(options.name, options.device, options.latency_ms)
    total, written = int(options.seconds * RATE_HZ), 0
    pause_at = resume_at = end = None
    corked_s = paused_s = 0.0
    starts: list[int] = []
    while end is None or time.monotonic() < end:
        now = time.monotonic()
        if pause_at is not None and now >= pause_at:
            player.cork(is_corked=True)
            corked_s = time.monotonic()
            pause_at, resume_at = None, now + options.pause_s
        if resume_at is not None and now >= resume_at:
            player.cork(is_corked=False)
            resume_at, paused_s = None, time.monotonic() - corked_s
        room = min(player.lib.pa_stream_writable_size(player.stream) // 8, total - written)
        if room > 0:
            data = encode(written, room)
            player.lib.pa_stream_write(player.stream, data, len(data), None, 0, 0)
            written += room
        if written >= total and end is None:
            end = now + options.latency_ms / 1000 + 0.3
        start = player.heard_start_ns()
        if start is not None and end is None:
            if not starts:
                print("playing", flush=True)  # noqa: T201
                pause_at = now + options.pause_at if options.pause_at else None
            starts.append(start)
        player.turn()
    player.close()
    low, truth, high = np.percentile(starts, [5, 75, 95])
    spread_ms = float(high - low) / 1e6
    return {"heard_ns": int(truth), "spread_ms": spread_ms, "paused_s": paused_s}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--latency-ms", type=int, default=0, help="0: the server's choice")
    parser.add_argument("--name", default="counted")
    parser.add_argument("--device")
    parser.add_argument("--pause-at", type=float, help="pause after so many seconds of play")
    parser.add_argument("--pause-s", type=float, default=1.0, help="for so long")
    print(json.dumps(play(parser.parse_args())), flush=True)  # noqa: T201

"""Plays a steady tone through libpulse under a name of its own, for tests that listen for it."""

from __future__ import annotations

import argparse
import time

import numpy as np

from tests.device.counted_player import RATE_HZ, Player


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hz", type=float, required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--peak", type=float, default=0.25)
    parser.add_argument("--rest", type=float, default=0.0, help="silent so long in every two s")
    parser.add_argument("--name", default="tone")
    parser.add_argument("--latency-ms", type=int, default=100)
    options = parser.parse_args()
    player = Player(options.name, None, options.latency_ms)
    total, written, end_s = round(options.seconds * RATE_HZ), 0, None
    while end_s is None or time.monotonic() < end_s:
        room = min(player.lib.pa_stream_writable_size(player.stream) // 8, total - written)
        if room > 0:
            moments = np.arange(written, written + room) / RATE_HZ
            tone = options.peak * np.sin(2 * np.pi * options.hz * moments)
            tone[moments % 2 < options.rest] = 0
            data = np.repeat(tone.astype(np.float32), 2).tobytes()
            player.lib.pa_stream_write(player.stream, data, len(data), None, 0, 0)
            written += room
        if written >= total and end_s is None:
            end_s = time.monotonic() + options.latency_ms / 1000 + 0.2
        player.turn()
    player.close()


if __name__ == "__main__":
    main()

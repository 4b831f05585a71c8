"""The measuring client: the screen turns white at the moment a beep is heard.

    python flashbeep.py --events 50 --out truth.jsonl

Runs on the DISPLAY and PULSE_SERVER of its environment and knows nothing of the recorder that
watches it, so that any recorder can be judged by it (``measure.py`` reads the recorded file).

Sound leads. The beeps are laid into the playback stream at random distances. The sound server is
asked all the time which frame it is playing: what is heard at an answer's ``timestamp`` is its
``read_index`` less the sink's latency. (Not ``pa_stream_get_time``: libpulse never lets it go back,
so that it stands still for seconds after a sink that was asleep has woken up.) A stream without
underruns is one straight line on CLOCK_MONOTONIC, so the upper quartile of the last answers says
when a frame will be heard. The client sleeps until then, spins through the last millisecond and
draws. On a busy machine it is late, and on PipeWire the answers are wrong by a cycle or two: so
what was really drawn and heard is found out afterwards.

Each line of the output is one event. ``drawn_ns`` is the X server's own time of drawing, to a
millisecond. ``heard_ns`` is settled with answers from after the event or, with ``--graph``, by
PipeWire's graph itself (``graph.py``; ``null``: it was missed). Both are CLOCK_MONOTONIC, and
neither depends on how busy the machine is. ``measure.py`` takes the step between them out of that
in a film.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xcffib
import xcffib.xproto

if TYPE_CHECKING:
    from tests.device.graph import Graph

RATE_HZ = 48_000
BEEP_HZ = 1000.0
BEEP_S = 0.03
BEEP_PEAK = 0.5
FLASH_S = 0.15
"""Long enough to be in a film of 10 pictures a second."""
SPACING_S = (0.6, 0.9)
"""Random, so that no event keeps step with a recorder's grid."""
LEAD_S = 2.5
"""Before the first event: the server's timing settles and the recorder gets going."""
TAIL_S = 1.5
LATENCY_S = 0.1
SPIN_S = 0.001
LATEST_MS = 10_000
"""An answer of the X server is never older."""
NEAR_NS = 250_000_000
"""So far from the graph's truth the answers may be; beeps are further apart."""
CONNECT_TIMEOUT_S = 20.0
POLL_S = 0.01
ANSWERS_KEPT = 50
"""About a second of them."""
HEARD_PERCENTILE = 75
"""On PulseAudio all answers agree to 0.1 ms. On PipeWire ``read_index`` runs ahead by up to a cycle
or two and then waits: late answers say when frames reach the sink (see ``counted_player.py``)."""

_CONTEXT_READY = 4
_STREAM_READY = 2
_OPERATION_RUNNING = 0
_SAMPLE_FLOAT32LE = 5
_ADJUST_LATENCY = 0x2000


class _SampleSpec(ctypes.Structure):
    _fields_ = (
        ("format", ctypes.c_int),
        ("rate", ctypes.c_uint32),
        ("channels", ctypes.c_uint8),
    )


class _BufferAttr(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint32) for name in ("maxlength", "tlength", "prebuf", "minreq", "fragsize")
    )


class _TimingInfo(ctypes.Structure):
    _fields_ = (
        ("sec", ctypes.c_long),
        ("usec", ctypes.c_long),
        ("synchronized_clocks", ctypes.c_int),
        ("sink_usec", ctypes.c_uint64),
        ("source_usec", ctypes.c_uint64),
        ("transport_usec", ctypes.c_uint64),
        ("playing", ctypes.c_int),
        ("write_index_corrupt", ctypes.c_int),
        ("write_index", ctypes.c_int64),
        ("read_index_corrupt", ctypes.c_int),
        ("read_index", ctypes.c_int64),
    )


_WriteCallback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)


def _load() -> Any:
    lib = ctypes.CDLL("libpulse.so.0")
    pointer = ctypes.c_void_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "pa_threaded_mainloop_new": (pointer, []),
        "pa_threaded_mainloop_get_api": (pointer, [pointer]),
        "pa_threaded_mainloop_start": (ctypes.c_int, [pointer]),
        "pa_threaded_mainloop_stop": (None, [pointer]),
        "pa_threaded_mainloop_lock": (None, [pointer]),
        "pa_threaded_mainloop_unlock": (None, [pointer]),
        "pa_threaded_mainloop_free": (None, [pointer]),
        "pa_context_new": (pointer, [pointer, ctypes.c_char_p]),
        "pa_context_connect": (ctypes.c_int, [pointer, ctypes.c_char_p, ctypes.c_int, pointer]),
        "pa_context_get_state": (ctypes.c_int, [pointer]),
        "pa_context_disconnect": (None, [pointer]),
        "pa_stream_new": (pointer, [pointer, ctypes.c_char_p, pointer, pointer]),
        "pa_stream_connect_playback": (
            ctypes.c_int,
            [pointer, ctypes.c_char_p, pointer, ctypes.c_int, pointer, pointer],
        ),
        "pa_stream_get_state": (ctypes.c_int, [pointer]),
        "pa_stream_set_write_callback": (None, [pointer, _WriteCallback, pointer]),
        "pa_stream_write": (
            ctypes.c_int,
            [pointer, pointer, ctypes.c_size_t, pointer, ctypes.c_int64, ctypes.c_int],
        ),
        "pa_stream_update_timing_info": (pointer, [pointer, pointer, pointer]),
        "pa_stream_get_timing_info": (ctypes.POINTER(_TimingInfo), [pointer]),
        "pa_operation_get_state": (ctypes.c_int, [pointer]),
        "pa_operation_unref": (None, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class Player:
    """Plays one mono array and knows when each of its frames is heard."""

    def __init__(self, samples: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        self._samples = np.ascontiguousarray(samples, dtype=np.float32)
        self._written_frames = 0
        self._silence = np.zeros(RATE_HZ, np.float32)
        self._starts_ns: deque[int] = deque(maxlen=ANSWERS_KEPT)
        self._question: int | None = None
        self._lib = lib = _load()
        self._loop = lib.pa_threaded_mainloop_new()
        self._write = _WriteCallback(self._on_writable)  # kept: C holds only its address
        lib.pa_threaded_mainloop_start(self._loop)
        lib.pa_threaded_mainloop_lock(self._loop)
        self._context = lib.pa_context_new(
            lib.pa_threaded_mainloop_get_api(self._loop), b"flashbeep"
        )
        lib.pa_context_connect(self._context, None, 0, None)
        lib.pa_threaded_mainloop_unlock(self._loop)
        self._await(lib.pa_context_get_state, self._context, _CONTEXT_READY)
        lib.pa_threaded_mainloop_lock(self._loop)
        spec = _SampleSpec(_SAMPLE_FLOAT32LE, RATE_HZ, 1)
        self._stream = lib.pa_stream_new(self._context, b"beeps", ctypes.byref(spec), None)
        lib.pa_stream_set_write_callback(self._stream, self._write, None)
        unset = 0xFFFF_FFFF
        attributes = _BufferAttr(unset, int(LATENCY_S * RATE_HZ) * 4, unset, unset, unset)
        lib.pa_stream_connect_playback(
            self._stream, None, ctypes.byref(attributes), _ADJUST_LATENCY, None, None
        )
        lib.pa_threaded_mainloop_unlock(self._loop)
        self._await(lib.pa_stream_get_state, self._stream, _STREAM_READY)

    def _await(self, state_of: Any, thing: Any, ready: int) -> None:
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while (state := state_of(thing)) != ready:
            # In both enumerations what follows ready is failed and terminated.
            if state > ready or time.monotonic() > deadline:
                sys.exit("flashbeep: the sound server does not answer")
            time.sleep(POLL_S)

    def _on_writable(self, stream: int, size: int, _: int | None) -> None:
        frames = size // 4
        piece = self._samples[self._written_frames : self._written_frames + frames]
        if len(piece) == 0:
            piece = self._silence[:frames]
        self._written_frames += len(piece)
        self._lib.pa_stream_write(stream, piece.ctypes.data, len(piece) * 4, None, 0, 0)

    def ask(self) -> None:
        """Take an answer about what is heard now, if there is one, and ask again. Every 10 ms."""
        lib = self._lib
        lib.pa_threaded_mainloop_lock(self._loop)
        if self._question is not None:
            if lib.pa_operation_get_state(self._question) == _OPERATION_RUNNING:
                lib.pa_threaded_mainloop_unlock(self._loop)
                return
            lib.pa_operation_unref(self._question)
            info = lib.pa_stream_get_timing_info(self._stream)
            if info and info.contents.playing and info.contents.read_index > 0:
                self._starts_ns.append(_start_ns(info.contents))
        self._question = lib.pa_stream_update_timing_info(self._stream, None, None)
        lib.pa_threaded_mainloop_unlock(self._loop)

    def heard_ns(self, frame: int) -> int | None:
        """When a frame of the stream is heard; ``None`` before enough answers."""
        if len(self._starts_ns) < ANSWERS_KEPT:
            return None
        start_ns = float(np.percentile(self._starts_ns, HEARD_PERCENTILE))
        return round(start_ns) + frame * 1_000_000_000 // RATE_HZ

    def close(self) -> None:
        """Stop at once."""
        self._lib.pa_threaded_mainloop_lock(self._loop)
        self._lib.pa_context_disconnect(self._context)
        self._lib.pa_threaded_mainloop_unlock(self._loop)
        self._lib.pa_threaded_mainloop_stop(self._loop)
        self._lib.pa_threaded_mainloop_free(self._loop)


def _start_ns(info: _TimingInfo) -> int:
    """When the first frame of the stream was heard, after this answer."""
    # The server stamps with wall time; both clocks read together turn it into the monotonic one.
    wall_to_monotonic_ns = time.monotonic_ns() - time.time_ns()
    at_ns = (info.sec * 1_000_000 + info.usec) * 1000 + wall_to_monotonic_ns
    heard_frames = info.read_index // 4  # float32, mono
    return int(at_ns - heard_frames * 1_000_000_000 // RATE_HZ + info.sink_usec * 1000)


class Screen:
    """A window over the whole screen, or a square in the middle of it, of one colour."""

    def __init__(self, side_px: int | None = None) -> None:
        self._connection = connection = xcffib.connect()
        root = connection.get_setup().roots[0]
        self._window = connection.generate_id()
        self._context = connection.generate_id()
        self._white, self._black = root.white_pixel, root.black_pixel
        whole = root.width_in_pixels, root.height_in_pixels
        self._size = (side_px, side_px) if side_px else whole
        place = ((have - own) // 2 for have, own in zip(whole, self._size, strict=True))
        cw, gc = xcffib.xproto.CW, xcffib.xproto.GC
        connection.core.CreateWindow(
            root.root_depth,
            self._window,
            root.root,
            *place,
            *self._size,
            0,
            xcffib.xproto.WindowClass.InputOutput,
            root.root_visual,
            cw.BackPixel | cw.OverrideRedirect | cw.EventMask,
            [self._black, 1, xcffib.xproto.EventMask.PropertyChange],
        )
        connection.core.CreateGC(self._context, self._window, gc.Foreground, [self._black])
        connection.core.MapWindow(self._window)
        self.fill(is_white=False)

    def fill(self, *, is_white: bool) -> int:
        """Draw, and say when the X server did so.

        That is the time of a change to the window that it makes right after: its answer would wait
        for this process to run.
        """
        core, atom = self._connection.core, xcffib.xproto.Atom
        colour = self._white if is_white else self._black
        core.ChangeGC(self._context, xcffib.xproto.GC.Foreground, [colour])
        whole = xcffib.xproto.RECTANGLE.synthetic(0, 0, *self._size)
        core.PolyFillRectangle(self._window, self._context, 1, [whole])
        replace = xcffib.xproto.PropMode.Replace
        core.ChangeProperty(replace, self._window, atom.WM_NAME, atom.STRING, 8, 5, b"flash")
        core.GetInputFocus().reply()
        answered_ns = drawn_ns = time.monotonic_ns()
        while (event := self._connection.poll_for_event()) is not None:
            if isinstance(event, xcffib.xproto.PropertyNotifyEvent):
                answered_ms = answered_ns // 1_000_000
                ago_ms = (answered_ms - event.time) % 2**32
                if ago_ms < LATEST_MS:  # else that server has another clock
                    drawn_ns = (answered_ms - ago_ms) * 1_000_000 + 500_000  # of a whole one
        return drawn_ns

    def close(self) -> None:
        """Take the window away."""
        self._connection.disconnect()


def plan_events(count: int, seed: int, lead_s: float) -> list[int]:
    """The frames of the stream at which the beeps begin."""
    spacing = np.random.default_rng(seed).uniform(*SPACING_S, size=count)
    return [round(second * RATE_HZ) for second in lead_s + np.cumsum(spacing) - spacing[0]]


def draw_sound(beeps: list[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Silence with a beep at each of these frames; it sets in with the first sample."""
    samples = np.zeros(beeps[-1] + RATE_HZ, np.float32)
    moments = np.arange(round(BEEP_S * RATE_HZ)) / RATE_HZ
    beep = BEEP_PEAK * np.cos(2 * np.pi * BEEP_HZ * moments)
    for start in beeps:
        samples[start : start + len(beep)] = beep
    return samples


def wait_until(target_ns: int, player: Player) -> None:
    """Sleep, with a question to the server now and then, and spin through the last stretch."""
    while (left_s := (target_ns - time.monotonic_ns()) / 1e9) > SPIN_S:
        if left_s > 2 * POLL_S:
            player.ask()
        time.sleep(min(left_s - SPIN_S, POLL_S))
    while time.monotonic_ns() < target_ns:
        pass


def main() -> None:
    """Show and play all events, and write down when they were."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lead", type=float, default=LEAD_S, help="seconds before the first")
    parser.add_argument("--tail", type=float, default=TAIL_S, help="seconds after the last")
    parser.add_argument("--side", type=int, help="of a square in the middle, in pixels; else all")
    parser.add_argument("--graph", metavar="SINK", help="of PipeWire, whose graph is asked")
    parser.add_argument("--out", type=Path, required=True, help="the true times, JSON lines")
    options = parser.parse_args()
    beeps = plan_events(options.events, options.seed, options.lead)
    graph = listen(options.graph) if options.graph else None
    screen, player = Screen(options.side), Player(draw_sound(beeps))
    while player.heard_ns(0) is None:
        player.ask()
        time.sleep(POLL_S)
    events = []
    for number, frame in enumerate(beeps):
        # Far ahead the estimate is still moving: look again shortly before.
        for ahead_ns in (50_000_000, 0):
            wait_until((player.heard_ns(frame) or 0) - ahead_ns, player)
        drawn_ns = screen.fill(is_white=True)
        wait_until(drawn_ns + int(FLASH_S * 1e9), player)
        screen.fill(is_white=False)
        events.append((number, player.heard_ns(frame) or 0, drawn_ns))
    time.sleep(options.tail)
    with options.out.open("w", encoding="utf-8") as out:
        for number, told_ns, drawn_ns in events:
            heard_ns = graph.heard_ns(told_ns, NEAR_NS) if graph else told_ns
            event = {"event": number, "heard_ns": heard_ns, "drawn_ns": drawn_ns}
            print(json.dumps(event | {"told_ns": told_ns}), file=out)
    player.close()
    screen.close()
    if graph:
        graph.close()


def listen(sink: str) -> Graph:
    """Listen to a sink from within PipeWire's graph."""
    from tests.device.graph import Graph  # noqa: PLC0415 - of this one server only

    return Graph(sink)


if __name__ == "__main__":
    main()

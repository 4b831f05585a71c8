"""Says when a PipeWire graph handed a beep to its sink, to the sample, however busy the machine is.

What a client of ``pipewire-pulse`` is told of its own stream moves by up to two cycles (43 ms) with
the moment at which it asks, and with load. The graph itself says when each of its cycles began, on
CLOCK_MONOTONIC; this listens to a sink's monitor inside it and looks in which cycle a beep set in.

A null sink plays to nobody, so when a frame is heard is a matter of words: native clients are told
that it is in the cycle that brings it to the sink, those of ``pipewire-pulse`` one to two cycles
before that. Here it is one cycle before: the last frame of a cycle counts as heard when it begins.

Where this process is so late that the graph has gone on meanwhile, a beep is missed, or off by a
cycle. The median of many is not.
"""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from typing import Any

import numpy as np

RATE_HZ = 48_000
LOUD = 0.25
"""Half a beep's peak."""
QUIET_FRAMES = RATE_HZ // 5
"""So much quiet comes before a beep."""
KEPT = 10_000
"""Beeps that are remembered."""

_INPUT = 0
_ANY = 0xFFFF_FFFF
_POSITION = 7  # SPA_IO_Position
_FLAGS = 1 << 0 | 1 << 2 | 1 << 4  # connect by itself, map buffers, call from the graph's thread
# SPA_PARAM_EnumFormat as a pod: raw audio, one channel, which the graph mixes for us.
_FORMAT = np.array(
    (
        *(144, 15, 0x40003, 3),  # size, an object, of which type, its id
        *(1, 0, 4, 3, 1, 0),  # media type: audio (an id)
        *(2, 0, 4, 3, 1, 0),  # subtype: raw
        *(0x10001, 0, 4, 3, 283, 0),  # samples: float32, little end first
        *(0x10003, 0, 4, 4, RATE_HZ, 0),  # rate (an int)
        *(0x10004, 0, 4, 4, 1, 0),  # channels
    ),
    np.uint32,
)


class _Chunk(ctypes.Structure):
    _fields_ = (("offset", c_uint32), ("size", c_uint32), ("stride", c_int32), ("flags", c_int32))


class _Data(ctypes.Structure):
    _fields_ = (
        ("type", c_uint32),
        ("flags", c_uint32),
        ("fd", c_int64),
        ("mapoffset", c_uint32),
        ("maxsize", c_uint32),
        ("data", c_void_p),
        ("chunk", POINTER(_Chunk)),
    )


class _SpaBuffer(ctypes.Structure):
    _fields_ = (
        ("n_metas", c_uint32),
        ("n_datas", c_uint32),
        ("metas", c_void_p),
        ("datas", POINTER(_Data)),
    )


class _Buffer(ctypes.Structure):
    _fields_ = (("buffer", POINTER(_SpaBuffer)),)


class _Clock(ctypes.Structure):
    _fields_ = (
        ("flags", c_uint32),
        ("id", c_uint32),
        ("name", ctypes.c_char * 64),
        ("nsec", c_uint64),
        ("rate", c_uint32 * 2),
        ("position", c_uint64),
        ("duration", c_uint64),
    )


_IoChanged = ctypes.CFUNCTYPE(None, c_void_p, c_uint32, c_void_p, c_uint32)
_Process = ctypes.CFUNCTYPE(None, c_void_p)


class _Events(ctypes.Structure):
    _fields_ = (
        ("version", c_uint32),
        ("destroy", c_void_p),
        ("state_changed", c_void_p),
        ("control_info", c_void_p),
        ("io_changed", _IoChanged),
        ("param_changed", c_void_p),
        ("add_buffer", c_void_p),
        ("remove_buffer", c_void_p),
        ("process", _Process),
        ("drained", c_void_p),
        ("command", c_void_p),
        ("trigger_done", c_void_p),
    )


def _load() -> Any:
    lib = ctypes.CDLL("libpipewire-0.3.so.0")
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "pw_init": (None, [c_void_p, c_void_p]),
        "pw_thread_loop_new": (c_void_p, [c_char_p, c_void_p]),
        "pw_thread_loop_get_loop": (c_void_p, [c_void_p]),
        "pw_thread_loop_start": (c_int, [c_void_p]),
        "pw_thread_loop_stop": (None, [c_void_p]),
        "pw_thread_loop_destroy": (None, [c_void_p]),
        "pw_thread_loop_lock": (None, [c_void_p]),
        "pw_thread_loop_unlock": (None, [c_void_p]),
        "pw_properties_new_string": (c_void_p, [c_char_p]),
        "pw_stream_new_simple": (c_void_p, [c_void_p, c_char_p, c_void_p, c_void_p, c_void_p]),
        "pw_stream_connect": (c_int, [c_void_p, c_int, c_uint32, c_int, c_void_p, c_uint32]),
        "pw_stream_dequeue_buffer": (POINTER(_Buffer), [c_void_p]),
        "pw_stream_queue_buffer": (c_int, [c_void_p, c_void_p]),
        "pw_stream_destroy": (None, [c_void_p]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class Graph:
    """Listens to a sink from within the graph.

    Args:
        sink: Its node's name.
    """

    def __init__(self, sink: str) -> None:
        self._beeps_ns: deque[int] = deque(maxlen=KEPT)
        self._quiet_frames = 0
        self._clock: Any = None
        self._lib = lib = _load()
        lib.pw_init(None, None)
        # Kept: C holds only their addresses.
        self._events = _Events(
            version=2, io_changed=_IoChanged(self._on_io), process=_Process(self._on_process)
        )
        self._pod = _FORMAT.copy()
        parameters = (c_void_p * 1)(self._pod.ctypes.data)
        self._loop = lib.pw_thread_loop_new(b"graph", None)
        properties = (
            f"media.type=Audio media.category=Capture stream.capture.sink=true"
            f" target.object={sink} node.target={sink} node.latency=8192/{RATE_HZ}"
        )
        lib.pw_thread_loop_start(self._loop)
        lib.pw_thread_loop_lock(self._loop)
        self._stream = lib.pw_stream_new_simple(
            lib.pw_thread_loop_get_loop(self._loop),
            b"graph",
            lib.pw_properties_new_string(properties.encode()),
            byref(self._events),
            None,
        )
        if not self._stream or (
            lib.pw_stream_connect(self._stream, _INPUT, _ANY, _FLAGS, parameters, 1) < 0
        ):
            sys.exit("flashbeep: PipeWire does not answer")
        lib.pw_thread_loop_unlock(self._loop)

    def heard_ns(self, expected_ns: int, within_ns: int) -> int | None:
        """When the beep was heard that was to be heard about then; ``None``: it was not."""
        beeps = [beep for beep in tuple(self._beeps_ns) if abs(beep - expected_ns) < within_ns]
        return min(beeps, key=lambda beep: abs(beep - expected_ns), default=None)

    def close(self) -> None:
        """Listen no more."""
        self._lib.pw_thread_loop_lock(self._loop)
        self._lib.pw_stream_destroy(self._stream)
        self._lib.pw_thread_loop_unlock(self._loop)
        self._lib.pw_thread_loop_stop(self._loop)
        self._lib.pw_thread_loop_destroy(self._loop)

    def _on_io(self, _data: Any, kind: int, area: int | None, _size: int) -> None:
        if kind == _POSITION:
            self._clock = ctypes.cast(area, POINTER(_Clock)).contents if area else None

    def _on_process(self, _data: Any) -> None:
        """The graph's thread, once a cycle."""
        buffer = self._lib.pw_stream_dequeue_buffer(self._stream)
        if not buffer:
            return
        part = buffer.contents.buffer.contents.datas[0]
        chunk = part.chunk.contents
        if self._clock is not None and part.data and chunk.size:
            kind = ctypes.c_float * (chunk.size // 4)
            self._look(np.frombuffer(kind.from_address(part.data + chunk.offset), np.float32))
        self._lib.pw_stream_queue_buffer(self._stream, buffer)

    def _look(self, samples: Any) -> None:
        begun_ns = self._clock.nsec - len(samples) * 1_000_000_000 // RATE_HZ
        (loud,) = np.nonzero(np.abs(samples) > LOUD)
        if len(loud) == 0:
            self._quiet_frames += len(samples)
            return
        # At the very beginning: the cycle with its first wave was missed.
        if self._quiet_frames + loud[0] > QUIET_FRAMES and loud[0] > 0:
            self._beeps_ns.append(int(begun_ns + int(loud[0]) * 1_000_000_000 // RATE_HZ))
        self._quiet_frames = len(samples) - int(loud[-1])

"""The part of libpulse that recording needs, through ctypes; loads the library.

The thread that drives the main loop prepares, polls and dispatches it, and then checks its
streams. So the GIL changes hands once a round, not once a call: only ``mainloop_poll`` waits, so
only it lets go of the GIL (CDLL); every other call is a few microseconds and keeps it (PyDLL). With
three busy Python threads this reads 48 000 frames/s, where a hand-over per call fell to 39 980.
The two callbacks run inside ``pa_mainloop_dispatch``, never on their own.
"""

import ctypes
import ctypes.util
from ctypes import (
    POINTER,
    c_char_p,
    c_int,
    c_int64,
    c_long,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from functools import cache
from typing import Any

from capture.libraries import needed

# Values of pulse/def.h and pulse/sample.h.
ANY = 0xFFFFFFFF
"""(uint32_t) -1: the server chooses."""
FLOAT32 = 5
"""PA_SAMPLE_FLOAT32LE: what this library supports are little-endian machines."""
CONTEXT_NO_AUTOSPAWN = 1
CONTEXT_READY, CONTEXT_FAILED, CONTEXT_TERMINATED = 4, 5, 6
STREAM_READY, STREAM_FAILED, STREAM_TERMINATED = 2, 3, 4
STREAM_DONT_MOVE = 0x0200
STREAM_ADJUST_LATENCY = 0x2000
OPERATION_RUNNING = 0
SUBSCRIBE_SINK_INPUTS = 0x0004
EVENT_FACILITY_MASK, EVENT_SINK_INPUT = 0x000F, 0x0002
EVENT_TYPE_MASK, EVENT_NEW = 0x0030, 0x0000


class SampleSpec(ctypes.Structure):
    """The struct pa_sample_spec: format, rate and channels of a stream."""

    _fields_ = [("format", c_int), ("rate", c_uint32), ("channels", c_uint8)]


class BufferAttr(ctypes.Structure):
    """The struct pa_buffer_attr, in bytes; ANY leaves a field to the server."""

    _fields_ = [
        (name, c_uint32) for name in ("maxlength", "tlength", "prebuf", "minreq", "fragsize")
    ]


class TimingInfo(ctypes.Structure):
    """The struct pa_timing_info: positions of the server at ``sec.usec`` of CLOCK_REALTIME.

    Indexes are in bytes since the stream was made.
    """

    _fields_ = [
        ("sec", c_long),
        ("usec", c_long),
        ("synchronized_clocks", c_int),
        ("sink_usec", c_uint64),
        ("source_usec", c_uint64),
        ("transport_usec", c_uint64),
        ("playing", c_int),
        ("write_index_corrupt", c_int),
        ("write_index", c_int64),
        ("read_index_corrupt", c_int),
        ("read_index", c_int64),
        ("configured_sink_usec", c_uint64),
        ("configured_source_usec", c_uint64),
        ("since_underrun", c_int64),
    ]


class ChannelMap(ctypes.Structure):
    """The struct pa_channel_map: the speaker of each channel."""

    _fields_ = [("channels", c_uint8), ("map", c_int * 32)]


class SourceOutputInfo(ctypes.Structure):
    """The first fields of the struct pa_source_output_info."""

    _fields_ = [
        ("index", c_uint32),
        ("name", c_char_p),
        ("owner_module", c_uint32),
        ("client", c_uint32),
        ("source", c_uint32),
        ("sample_spec", SampleSpec),
        ("channel_map", ChannelMap),
        ("buffer_usec", c_uint64),
    ]


SourceOutputCallback = ctypes.PYFUNCTYPE(None, c_void_p, POINTER(SourceOutputInfo), c_int, c_void_p)
"""Gets the answers of ``pa_context_get_source_output_info``; NULL ends them."""

StreamRequestCallback = ctypes.PYFUNCTYPE(None, c_void_p, c_size_t, c_void_p)
StreamSuccessCallback = ctypes.PYFUNCTYPE(None, c_void_p, c_int, c_void_p)
"""Cast it to ``c_void_p``: who only looks at the operation passes ``None``."""

SubscriptionCallback = ctypes.PYFUNCTYPE(None, c_void_p, c_int, c_uint32, c_void_p)
"""Gets what changed on the server: an event's type and facility in one number, and an index."""

_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "pa_mainloop_new": (c_void_p, ()),
    "pa_mainloop_free": (None, (c_void_p,)),
    "pa_mainloop_get_api": (c_void_p, (c_void_p,)),
    "pa_mainloop_prepare": (c_int, (c_void_p, c_int)),
    "pa_mainloop_poll": (c_int, (c_void_p,)),
    "pa_mainloop_dispatch": (c_int, (c_void_p,)),
    "pa_mainloop_wakeup": (None, (c_void_p,)),
    "pa_context_new": (c_void_p, (c_void_p, c_char_p)),
    "pa_context_connect": (c_int, (c_void_p, c_char_p, c_int, c_void_p)),
    "pa_context_disconnect": (None, (c_void_p,)),
    "pa_context_unref": (None, (c_void_p,)),
    "pa_context_get_state": (c_int, (c_void_p,)),
    "pa_context_get_source_output_info": (
        c_void_p,
        (c_void_p, c_uint32, SourceOutputCallback, c_void_p),
    ),
    "pa_context_set_subscribe_callback": (None, (c_void_p, SubscriptionCallback, c_void_p)),
    "pa_context_subscribe": (c_void_p, (c_void_p, c_int, c_void_p, c_void_p)),
    "pa_stream_new": (c_void_p, (c_void_p, c_char_p, POINTER(SampleSpec), c_void_p)),
    "pa_stream_unref": (None, (c_void_p,)),
    "pa_stream_get_state": (c_int, (c_void_p,)),
    "pa_stream_get_index": (c_uint32, (c_void_p,)),
    "pa_stream_set_monitor_stream": (c_int, (c_void_p, c_uint32)),
    "pa_stream_connect_record": (c_int, (c_void_p, c_char_p, POINTER(BufferAttr), c_int)),
    "pa_stream_disconnect": (c_int, (c_void_p,)),
    "pa_stream_readable_size": (c_size_t, (c_void_p,)),
    "pa_stream_peek": (c_int, (c_void_p, POINTER(c_void_p), POINTER(c_size_t))),
    "pa_stream_set_read_callback": (None, (c_void_p, StreamRequestCallback, c_void_p)),
    "pa_stream_drop": (c_int, (c_void_p,)),
    "pa_stream_update_timing_info": (c_void_p, (c_void_p, c_void_p, c_void_p)),
    "pa_stream_get_timing_info": (POINTER(TimingInfo), (c_void_p,)),
    "pa_stream_connect_playback": (
        c_int,
        (c_void_p, c_char_p, POINTER(BufferAttr), c_int, c_void_p, c_void_p),
    ),
    "pa_stream_writable_size": (c_size_t, (c_void_p,)),
    "pa_stream_write": (c_int, (c_void_p, c_char_p, c_size_t, c_void_p, c_int64, c_int)),
    "pa_stream_cork": (c_void_p, (c_void_p, c_int, c_void_p, c_void_p)),
    "pa_operation_get_state": (c_int, (c_void_p,)),
    "pa_operation_cancel": (None, (c_void_p,)),
    "pa_operation_unref": (None, (c_void_p,)),
}


@cache
def load() -> Any:
    """Load libpulse with its prototypes; ``mainloop_poll`` lets other Python threads run.

    Raises:
        LibraryMissingError: If libpulse is not installed.
    """
    library: Any
    with needed("pulsectl"):
        name = "libpulse.so.0"
        try:
            library = ctypes.PyDLL(name)
        except OSError:
            if (name := ctypes.util.find_library("pulse") or "") == "":
                raise
            library = ctypes.PyDLL(name)
        waiting = ctypes.CDLL(name)
    for function, (result, arguments) in _PROTOTYPES.items():
        prototype = getattr(library, function)
        prototype.restype, prototype.argtypes = result, arguments
    poll = waiting.pa_mainloop_poll
    poll.restype, poll.argtypes = c_int, (c_void_p,)
    library.mainloop_poll = poll
    return library

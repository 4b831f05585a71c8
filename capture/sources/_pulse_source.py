"""The base of all sources of a PulseAudio or PipeWire server: watching, losing, reconnecting.

Watches the server (pulsectl) and passes plans to a ``PulseReader``, which owns the streams and
their time. Every event of the server leads to the same step: list what there is, plan the streams
from it, hand the plan over. So a device that is lost, back or replaced, and an application that
starts, moves or ends, are one code path.

Two threads a source: ``capture-audio-watch`` here, ``capture-audio-read`` in the reader. Both are
daemons, and ``atexit`` closes what was left open: no C code may call into a dying interpreter.
"""

import atexit
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from capture.clock import now_ns
from capture.errors import BackendUnavailableError
from capture.model.events import Event, EventKind
from capture.model.signal import AudioBlock, SoundState
from capture.sources._pulse_reader import BACK_OFF_S, PulseReader
from capture.sources._pulse_server import View, connect, is_silenced, look
from capture.sources._pulse_stream import CHANNELS, StreamRequest
from capture.sources.base import AudioSource

LISTEN_S = 0.2
"""Longest sleep of the watch: it bounds ``close()`` and the reaction to a lost reader."""
WARN_AFTER_S = 0.3
"""A new stream on PipeWire is muted for a moment while it is set up."""
SETTLE_S = 0.03
"""At most one look at the server in this time: moving a volume slider sends dozens of events."""


class PulseSource(AudioSource):
    """The base of the three kinds of sources: watching the server, losing it, reconnecting.

    Args:
        server: As in PULSE_SERVER; ``None`` is the environment's.
        rate_hz: Of all blocks; the server resamples.

    Raises:
        BackendUnavailableError: If there is no server.
        DeviceNotFoundError: If the named device does not exist.
    """

    is_idle_silent = False

    def __init__(self, *, server: str | None, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.channels = CHANNELS
        self.notes = []
        self._server = server
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._positions: dict[int, Any] = {}
        self._lock = threading.Lock()  # guards _is_lost, which both threads change
        self._is_lost = False
        self._is_dirty = False  # the server changed since the last look; watching thread only
        self._warning: str | None = None
        self._sound_state = SoundState.UNKNOWN
        with connect(server) as pulse:
            view = look(pulse)
        self.label = self._find(view)

    @abstractmethod
    def _find(self, view: View) -> str:
        """Check the name of the source; gives its label.

        Raises:
            DeviceNotFoundError: If there is nothing to record, now or later.
        """

    @abstractmethod
    def _plan(self, view: View) -> frozenset[StreamRequest]:
        """The streams to record now; empty while the device is missing."""

    @abstractmethod
    def _silenced(self, view: View) -> str | None:
        """The reason why everything recorded is silent; ``None``: it is not."""

    @abstractmethod
    def _streams(self, view: View) -> list[Any] | None:
        """The streams into what is recorded, paused or not; ``None``: it always sounds."""

    @property
    def sound_state(self) -> SoundState:
        """The state at the last look at the server; see ``AudioSource``."""
        return SoundState.LOST if self._is_lost else self._sound_state

    def _state_in(self, view: View) -> SoundState:
        if self._silenced(view) is not None:
            return SoundState.MUTED
        streams = self._streams(view)
        if streams is None or any(not (s.corked or is_silenced(s)) for s in streams):
            return SoundState.PLAYING
        return SoundState.IDLE

    def start(self, put: Callable[[AudioBlock], None], on_event: Callable[[Event], None]) -> None:
        """Begin to deliver, within milliseconds, or within 2 s from an idle output.

        A block of an output may be stamped a little ahead of the clock: its sound left the server
        and is on its way to the speakers.
        """
        assert self._thread is None
        self._put, self._on_event = put, on_event
        atexit.register(self.close)
        self._thread = threading.Thread(target=self._watch, name="capture-audio-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop both threads and disconnect; takes up to 0.2 s. Idempotent."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            atexit.unregister(self.close)

    # ------------------------------------------------------------------------ the watching thread

    def _watch(self) -> None:
        """Serve one connection after another until closed."""
        failures = 0
        while not self._closing.is_set():
            try:
                with connect(self._server) as pulse:
                    failures = 0
                    self._serve(pulse)
                if self._closing.is_set():
                    return
            except BackendUnavailableError:
                pass
            self._lost("the sound server is gone")
            self._closing.wait(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
            failures += 1

    def _serve(self, pulse: Any) -> None:
        """Keep the plan up to date; returns when the server is lost or the source closed."""
        import pulsectl  # noqa: PLC0415 - it loads libpulse

        def note(_: Any) -> None:
            self._is_dirty = True
            reader.wake()
            raise pulsectl.PulseLoopStop

        self._connected()
        reader = PulseReader(
            self._server,
            self.rate_hz,
            self._positions,
            self._take,
            self._stream_changed,
            on_new=self._new_streams(),
        )
        try:
            pulse.event_mask_set("sink", "source", "sink_input", "server")
            pulse.event_callback_set(note)
            while not self._closing.is_set() and reader.is_alive:
                self._is_dirty = False  # before the look: what comes during it counts
                began_ns = now_ns()
                view = look(pulse)
                wanted = self._plan(view)
                is_news = self._planned(view, wanted, began_ns, reader.heard_all_ns)
                reader.want(wanted)
                # The end of a stream is published after the last of its sound.
                reader.wait_for_change(SETTLE_S)
                self._looked(view, wanted)
                self._sound_state = self._state_in(view)
                warning, looked = self._silenced(view), time.monotonic()
                self._closing.wait(SETTLE_S)
                self._is_dirty = self._is_dirty or is_news
                while not (self._is_dirty or self._closing.is_set()) and reader.is_alive:
                    pulse.event_listen(timeout=LISTEN_S)
                    if time.monotonic() - looked > WARN_AFTER_S:
                        self._warn(warning)
        except (pulsectl.PulseDisconnected, pulsectl.PulseError):
            pass  # the server went away in the middle of a call
        finally:
            reader.close()

    def _connected(self) -> None:
        """Called after every connection, perhaps to another server."""

    def _planned(
        self,
        view: View,  # noqa: ARG002
        wanted: frozenset[StreamRequest],  # noqa: ARG002
        began_ns: int,  # noqa: ARG002
        heard_all_ns: int,  # noqa: ARG002
    ) -> bool:
        """Prepare for the streams of a plan, before they are wanted.

        Args:
            view: The look that it was made from.
            wanted: The plan.
            began_ns: When the look began.
            heard_all_ns: Streams that the reader has not reported were made after this.

        Returns:
            Whether to look again soon.
        """
        return False

    def _looked(self, view: View, wanted: frozenset[StreamRequest]) -> None:
        """Publish changes since the last look."""

    def _new_streams(self) -> Callable[[int, int], None] | None:
        """The callback for new playback streams, called on the reader's thread."""
        return None

    def _take(self, block: AudioBlock) -> None:
        """Deliver a block; on the reader's thread."""
        self._put(block)

    def _stream_changed(self, want: StreamRequest, is_running: bool) -> None:  # noqa: FBT001
        """Handle a stream that runs or failed; on the reader's thread."""
        if is_running:
            self._back()
        else:
            self._lost(f"{want.device} went away")

    # ------------------------------------------------------------------------------------- events

    def _emit(self, kind: EventKind, message: str, **details: Any) -> None:
        self._on_event(Event(kind, message, now_ns(), self.label, details))

    def _warn(self, warning: str | None) -> None:
        if warning is not None and warning != self._warning:
            self._emit(EventKind.WARNING, warning)
        self._warning = warning

    def _lost(self, message: str) -> None:
        with self._lock:
            if self._is_lost:
                return
            self._is_lost = True
        self._emit(EventKind.DEVICE_LOST, message)

    def _back(self) -> None:
        with self._lock:
            if not self._is_lost:
                return
            self._is_lost = False
        self._emit(EventKind.DEVICE_BACK, f"{self.label} is back")

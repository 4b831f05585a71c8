"""Microphones through PortAudio (sounddevice), on every system.

Owns PortAudio: nothing else opens it. Its releases (v19.7 is the last) cannot record what the
speakers play, so it offers microphones only.
"""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from capture.cautions import Caution
from capture.clock import now_ns
from capture.errors import DeviceError, DeviceNotFoundError
from capture.libraries import needed
from capture.model.devices import AudioDevice, DeviceKind
from capture.model.events import Event, EventKind
from capture.model.signal import AudioBlock
from capture.sources.base import AudioSource
from capture.units import NS_PER_S

BLOCK_FRAMES = 960
"""20 ms at 48 kHz; PortAudio's own choice was 1 to 9 frames on Linux."""
LATENCY_S = 0.15
"""Asked of the device; stamps take it out again, so it only guards against overflows."""
IMPLAUSIBLE_S = 3.0
"""A reported delay beyond it is a broken stamp, not a delay."""
BACK_OFF_S = (0.5, 1.0, 2.0, 3.0)
"""Between attempts to open a lost device; the last one repeats (OBS retries every 3 s)."""
NO_DATA_S = 2.0
"""A microphone delivers all the time; PortAudio itself does not report that one was unplugged."""


def load_sounddevice() -> Any:
    """Import sounddevice, the Python module of PortAudio.

    Raises:
        LibraryMissingError: If PortAudio is not installed.
    """
    with needed("sounddevice"):
        import sounddevice  # noqa: PLC0415 - it loads PortAudio
    return sounddevice


def list_devices() -> tuple[AudioDevice, ...]:
    """Microphones of PortAudio's default host API, as of its first loading.

    Raises:
        LibraryMissingError: If PortAudio is not installed.
    """
    return tuple(device for _, device in _inputs(load_sounddevice()))


def _inputs(sd: Any) -> list[tuple[int, AudioDevice]]:
    """PortAudio's index and description of every microphone."""
    default = sd.default.device[0]
    host_api = sd.query_devices(default)["hostapi"] if default >= 0 else sd.default.hostapi
    found = []
    for index, device in enumerate(sd.query_devices()):
        if device["max_input_channels"] < 1 or device["hostapi"] != host_api:
            continue
        microphone = AudioDevice(
            id=device["name"],
            name=device["name"],
            kind=DeviceKind.MICROPHONE,
            backend="portaudio",
            rate_hz=round(device["default_samplerate"]),
            channels=device["max_input_channels"],
            is_default=index == default,
        )
        found.append((index, microphone))
    return found


class PortAudioMicrophone(AudioSource):
    """A microphone, named or the default one, as it comes: mono or stereo.

    Args:
        name: The device's name or part of it; ``None``: the default one.
        rate_hz: Of all blocks; the host API resamples where it can.

    Raises:
        LibraryMissingError: If PortAudio is not installed.
        DeviceNotFoundError: If there is no such microphone.
    """

    is_idle_silent = False

    def __init__(self, name: str | None = None, *, rate_hz: int = 48_000) -> None:
        self._sd = load_sounddevice()
        self._index, device = _choose(_inputs(self._sd), name)
        self.label = f"microphone ({device.name})"
        self.rate_hz = rate_hz
        self.channels = min(device.channels, 2)
        self.notes: list[str] = []
        self._position = 0
        self._end_ns: int | None = None
        self._last_ns = 0  # when the callback last ran
        self._stream: Any = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, put: Callable[[AudioBlock], None], on_event: Callable[[Event], None]) -> None:
        """Open the device and begin to deliver, on PortAudio's thread.

        Raises:
            DeviceError: If it cannot be opened.
        """
        self._put, self._on_event = put, on_event
        try:
            self._open()
        except self._sd.PortAudioError as error:
            raise DeviceError(
                f"{self.label} cannot be opened",
                hint="close the program that uses it, or allow this one to use the microphone",
                details={"error": str(error)},
            ) from error
        self._thread = threading.Thread(target=self._watch, name="capture-audio-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop and close the device; idempotent."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self._close_stream()

    def _open(self) -> None:
        self._last_ns = now_ns()
        self._is_fresh = True  # frames may have been lost before the first block
        # Raw: sounddevice wraps what PortAudio gives in an array in a way that NumPy gives up.
        stream = self._sd.RawInputStream(
            device=self._index,
            samplerate=self.rate_hz,
            channels=self.channels,
            dtype="float32",
            blocksize=BLOCK_FRAMES,
            latency=LATENCY_S,
            callback=self._arrived,
        )
        self._stream = stream
        stream.start()

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close(ignore_errors=True)

    def _arrived(self, data: Any, frames: int, timing: Any, status: Any) -> None:
        """Copy, stamp and deliver a block; on PortAudio's thread."""
        now = now_ns()
        try:
            self._last_ns = now
            delay_s = _delay_s(timing)
            if delay_s is None:
                captured_ns = now - frames * NS_PER_S // self.rate_hz
            else:
                captured_ns = now - round(delay_s * NS_PER_S)
            if (status.input_overflow or self._is_fresh) and self._end_ns is not None:
                missing_ns = max(captured_ns - self._end_ns, 0)
                self._position += missing_ns * self.rate_hz // NS_PER_S
            self._is_fresh = False
            # PortAudio's memory is another's when this returns: a copy.
            samples = np.frombuffer(data, np.float32).reshape(frames, self.channels).copy()
            block = AudioBlock(samples, captured_ns, self._position)
            self._position += frames
            self._end_ns = captured_ns + frames * NS_PER_S // self.rate_hz
            self._put(block)
        except Exception as error:  # noqa: BLE001 - an exception in here ends the stream silently
            warning = Caution.SOURCE_FAILED.with_(name=self.label, error=str(error))
            self._emit(EventKind.WARNING, warning)

    def _watch(self) -> None:
        """Open the device again whenever it stops to deliver."""
        while not self._closing.wait(0.1):
            stream = self._stream
            is_stale = now_ns() - self._last_ns > NO_DATA_S * NS_PER_S
            if stream is not None and stream.active and not is_stale:
                continue
            self._emit(EventKind.DEVICE_LOST, f"{self.label} went away")
            self._reopen()

    def _reopen(self) -> None:
        failures = 0
        while not self._closing.wait(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)]):
            failures += 1
            self._close_stream()
            try:
                self._open()
            except self._sd.PortAudioError:
                continue
            opened_ns = self._last_ns
            deadline = time.monotonic() + NO_DATA_S
            while self._last_ns == opened_ns and time.monotonic() < deadline:
                if self._closing.wait(0.05):
                    return
            if self._last_ns != opened_ns:
                self._emit(EventKind.DEVICE_BACK, f"{self.label} is back")
                return

    def _emit(self, kind: EventKind, message: str) -> None:
        self._on_event(Event(kind, message, now_ns(), self.label))


def _choose(inputs: list[tuple[int, AudioDevice]], name: str | None) -> tuple[int, AudioDevice]:
    if name is None:
        chosen = [each for each in inputs if each[1].is_default] or inputs
    else:
        wished = name.casefold()
        chosen = [each for each in inputs if each[1].name.casefold() == wished] or [
            each for each in inputs if wished in each[1].name.casefold()
        ]
    if not chosen:
        there = ", ".join(device.name for _, device in inputs)
        raise DeviceNotFoundError(
            f"no microphone is called {name}" if name else "this machine has no microphone",
            hint=f"there is {there}" if there else "connect one",
        )
    return chosen[0]


def _delay_s(timing: Any) -> float | None:
    """Age of a block's first frame in seconds; ``None`` where it is not known.

    Only the difference of two times is used: what clock they are on depends on the host API.
    """
    captured, now = timing.inputBufferAdcTime, timing.currentTime
    if captured == 0 or now == 0:  # MME and WDM-KS give no time
        return None
    delay = float(now - captured)
    if delay < 0 and sys.platform == "win32":
        delay = -delay  # PortAudio v19.7 adds WASAPI's delay where it should subtract it
    return delay if 0 <= delay <= IMPLAUSIBLE_S else None

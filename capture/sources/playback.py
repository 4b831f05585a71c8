"""Plays sound on the default output, and gives the position of what is heard.

Owns the choice between PortAudio, on every system, and PulseAudio or PipeWire directly where
PortAudio has no way to them (it knows ALSA only, and many Linux systems have no such bridge).
"""

import contextlib
import sys
import threading
from abc import abstractmethod
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.closing import Closing
from capture.errors import (
    BackendUnavailableError,
    CaptureError,
    DeviceError,
    DeviceNotFoundError,
    LibraryMissingError,
)
from capture.hints import Advice
from capture.sources.player_pulse import PulseStream

BUFFER_S = 0.5
"""Length of sound that is taken ahead: a short delay of the decoder is not heard."""
LATENCY_S = 0.15
"""Latency of the device or the server: longest time until a pause is heard."""
TURN_US = 10_000
"""The server is looked after this often; it holds fifteen times as much."""


def open_playback(rate_hz: int, channels: int) -> "Playback":
    """Open the default output; the caller closes it.

    Args:
        rate_hz: Of what will be written.
        channels: Of what will be written.

    Raises:
        DeviceError: There is no output, or it does not open.
    """
    try:
        return _PortAudioPlayback(rate_hz, channels)
    except CaptureError as error:
        if sys.platform != "linux":
            raise
        try:
            return _PulsePlayback(rate_hz, channels)
        except LibraryMissingError:
            raise
        except BackendUnavailableError:
            raise DeviceNotFoundError(
                "there is no sound output here",
                hint="plug one in, or start the sound server",
                details={"portaudio": error.message},
            ) from error


class Playback(Closing):
    """Plays written samples as soon as there are any. Any thread may call its methods.

    Attributes:
        rate_hz: Of what is written.
        channels: Of what is written.
        notes: What there is to say about the way that was taken.
        is_paused: Whether it is silent until ``resume``.
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        self.rate_hz = rate_hz
        self.channels = channels
        self.notes: list[str] = []
        self._lock = threading.Lock()
        self._waiting: deque[NDArray[np.float32]] = deque()
        self._waiting_frames = 0
        self._written_frames = 0
        self._is_ended = False
        self.is_paused = False
        self._error: CaptureError | None = None

    def write(self, samples: NDArray[np.float32]) -> int:
        """Queue as many frames as fit; gives their number, and never waits.

        Args:
            samples: Float32 of shape ``(frames, channels)``, -1..1; not to be changed afterwards.

        Raises:
            DeviceError: The output has gone.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            room = max(0, round(BUFFER_S * self.rate_hz) - self._waiting_frames)
            taken = samples[:room]
            if len(taken):
                self._waiting.append(taken)
                self._waiting_frames += len(taken)
                self._written_frames += len(taken)
            return len(taken)

    def end(self) -> None:
        """End the sound: the rest, however short, is played."""
        with self._lock:
            self._is_ended = True

    @property
    def is_over(self) -> bool:
        """Whether the last frame was heard.

        Raises:
            DeviceError: The output has gone: it will not be.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            is_ended, written = self._is_ended, self._written_frames
        return is_ended and self.position_frames >= written

    @property
    def position_frames(self) -> int:
        """Number of written frames that were heard."""
        heard = self._heard_frames()
        with self._lock:
            return max(0, min(heard, self._written_frames))

    def pause(self) -> None:
        """Play silence until ``resume()``."""
        self.is_paused = True

    def resume(self) -> None:
        """Continue at the frame where it was paused."""
        self.is_paused = False

    def restart(self) -> None:
        """Drop frames that were not heard; the next written frame is frame 0."""
        with self._lock:
            self._waiting.clear()
            self._waiting_frames = self._written_frames = 0
            self._is_ended = False
            self._begin_again()

    @abstractmethod
    def _heard_frames(self) -> int:
        """Frames heard since the last beginning; may exceed the written ones."""

    @abstractmethod
    def _begin_again(self) -> None:
        """Count the next pulled frame as frame 0. Called with the lock held."""

    def _pull(self, frames: int) -> NDArray[np.float32]:
        """Remove up to so many waiting frames. Called with the lock held."""
        pieces: list[NDArray[np.float32]] = []
        while frames and self._waiting:
            piece = self._waiting.popleft()
            if len(piece) > frames:
                self._waiting.appendleft(piece[frames:])
                piece = piece[:frames]
            pieces.append(piece)
            frames -= len(piece)
            self._waiting_frames -= len(piece)
        return np.concatenate(pieces) if pieces else np.zeros((0, self.channels), np.float32)


class _PulsePlayback(Playback):
    """Playback through libpulse, from a thread of its own."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        from capture.sources.player_pulse import PulseStream  # noqa: PLC0415 - it loads libpulse

        super().__init__(rate_hz, channels)
        self.notes.append("PortAudio has no output here: played through PulseAudio or PipeWire")
        self._is_new = False
        self._heard = 0
        self._closing = threading.Event()
        self._stream: PulseStream = PulseStream("capture", rate_hz, channels, LATENCY_S)
        self._thread = threading.Thread(target=self._run, name="capture-playback", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop at once, without the frames that are not played yet, and disconnect."""
        self._closing.set()
        self._thread.join()

    def _heard_frames(self) -> int:
        with self._lock:
            return self._heard

    def _begin_again(self) -> None:
        self._is_new = True
        self._heard = 0

    def _run(self) -> None:
        is_paused = False
        with self._stream as stream:
            try:
                while not self._closing.is_set():
                    with self._lock:
                        is_new, self._is_new = self._is_new, False
                    if is_new:
                        stream.restart()
                        is_paused = False
                    if is_paused != self.is_paused:
                        is_paused = not is_paused
                        stream.set_paused(is_paused=is_paused)
                    self._feed(stream)
                    stream.turn(TURN_US)
                    self._look(stream, is_paused=is_paused)
            except CaptureError as error:
                with self._lock:
                    self._error = error

    def _feed(self, stream: PulseStream) -> None:
        if (room := stream.room_frames) <= 0:
            return
        with self._lock:
            if self._is_new:
                return
            piece = self._pull(room)
            if self._is_ended and len(piece) < room:
                # The server plays what is short of its latency only when more comes.
                piece = np.concatenate(
                    (piece, np.zeros((room - len(piece), self.channels), np.float32))
                )
        if len(piece):
            stream.put(piece)

    def _look(self, stream: PulseStream, *, is_paused: bool) -> None:
        if not stream.is_alive:
            raise _gone()
        heard = None if is_paused else stream.heard_frames()
        with self._lock:
            if heard is not None and not self._is_new:
                self._heard = max(self._heard, heard)


class _PortAudioPlayback(Playback):
    """Playback through PortAudio, which pulls sound from a thread of its own."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        from capture.sources.audio_portaudio import load_sounddevice  # noqa: PLC0415 - loads PortAudio

        super().__init__(rate_hz, channels)
        self._sd = load_sounddevice()
        self._pulled = 0
        self._mark: tuple[int, float] | None = None
        """How many frames had been pulled before the last call, and when the next one is heard."""
        try:
            # Raw: sounddevice wraps what PortAudio gives in an array in a way that NumPy gives up.
            self._stream: Any = self._sd.RawOutputStream(
                samplerate=rate_hz,
                channels=channels,
                dtype="float32",
                latency=LATENCY_S,
                callback=self._on_frames,
            )
            self._stream.start()
        except (self._sd.PortAudioError, ValueError) as error:
            raise DeviceError(
                f"the sound output does not open: {error}", hint=Advice.SHOW_DEVICES.with_()
            ) from error

    def close(self) -> None:
        """Stop at once, without the frames that are not played yet, and close the device."""
        with contextlib.suppress(self._sd.PortAudioError):
            self._stream.abort()
            self._stream.close()

    def _heard_frames(self) -> int:
        with self._lock:
            if not self._stream.active and self._error is None:
                self._error = _gone()
            if self._mark is None:
                return 0
            pulled, heard_s = self._mark
            since = 0.0 if self.is_paused else (self._stream.time - heard_s) * self.rate_hz
            ended = self._is_ended and not self._waiting_frames
            return (
                max(0, pulled + round(since)) if ended else min(self._pulled, pulled + round(since))
            )

    def _begin_again(self) -> None:
        self._pulled = 0
        self._mark = None

    def _on_frames(self, out: Any, frames: int, times: Any, _status: Any) -> None:
        """Fill PortAudio's buffer, on its thread."""
        with self._lock:
            piece = self._pull(0 if self.is_paused else frames)
            if len(piece):
                self._mark = self._pulled, times.outputBufferDacTime
                self._pulled += len(piece)
        heard = np.frombuffer(out, np.float32).reshape(frames, self.channels)
        heard[: len(piece)] = piece
        heard[len(piece) :] = 0


def _gone() -> DeviceError:
    return DeviceError("the sound output has gone", hint="is the sound server still running?")

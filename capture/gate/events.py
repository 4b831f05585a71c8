"""What a gate says and asks: its events and states, and what it needs of a judge of speech."""

import enum
import math
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["LOOKBACK_S", "GateEvent", "GateEventKind", "GateState", "SpeechJudge", "Verdict"]

LOOKBACK_S: Final = 1.5
"""OPENED of a first part never points farther back than this before the first frame of the block
whose ``push`` returned it: the owner keeps so much sound. The first second is judged when it is
over, and half a second is for a soft beginning and the padding (a longer one is cut to fit). From
OPENED on the owner keeps all sound of the open message that is not settled: MOVED, and OPENED of a
further part, only drop the beginning of that."""


class SpeechJudge(Protocol):
    """Tells speech from other sounds; ``capture.speech.SpeechDetector`` is one."""

    @property
    def rate_hz(self) -> int:
        """Frames per second that it takes."""

    @property
    def window_frames(self) -> int:
        """The n-th probability since the reset is of frames n to n + 1 times this."""

    @property
    def lookahead_frames(self) -> int:
        """Frames past a window that its probability waits for."""

    def push(self, samples: NDArray[np.float32]) -> list[float]:
        """Take sound, shape (frames, channels); give 0..1 for each window that is complete."""

    def reset(self) -> None:
        """What is pushed next has nothing to do with what was."""


class GateState(enum.StrEnum):
    """What the gate is doing."""

    LISTENING = "listening"
    """No message is open."""
    HEARING = "hearing"
    """One is, and it sounds."""
    HOLDING = "holding"
    """One is, and pauses."""


class GateEventKind(enum.StrEnum):
    """What happened."""

    OPENED = "opened"
    MOVED = "moved"
    CLOSED = "closed"


class Verdict(enum.StrEnum):
    """What becomes of a message that was closed."""

    KEPT = "kept"
    NOT_SPEECH = "not-speech"
    TOO_SHORT = "too-short"


@dataclass(frozen=True, slots=True)
class GateEvent:
    """A message begins, begins later than thought, or is over.

    OPENED is said of any sound; it may turn out to be nothing. MOVED comes only before
    it is certain to be kept. Every OPENED is followed by a CLOSED.

    Attributes:
        kind: Which.
        start_frame: First frame of the message, its padding included.
        part: 1, and more for each part of a message that was longer than ``max_length_s``.
        end_frame: The frame after its last, padding included; ``None`` unless CLOSED.
        verdict: Whether it counts; ``None`` unless CLOSED.
        sound_start_frame: Where sound begins, or speech in continuous sound.
        sound_end_frame: Where it ends; ``None`` unless CLOSED.
        peak_dbfs: Its highest sample.
        rms_dbfs: Of its whole length without padding, pauses included.
    """

    kind: GateEventKind
    start_frame: int
    part: int
    end_frame: int | None = None
    verdict: Verdict | None = None
    sound_start_frame: int | None = None
    sound_end_frame: int | None = None
    peak_dbfs: float = -math.inf
    rms_dbfs: float = -math.inf

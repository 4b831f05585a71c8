"""Events and states of a gate, and the interface of the speech detector that it uses."""

import enum
import math
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

LOOKBACK_S: Final = 1.5
"""OPENED of a first part never points farther back than this before the first frame of the block
whose ``push`` returned it: the owner keeps so much sound. The first second is judged when it is
over, and half a second is for a soft beginning and the padding (a longer one is cut to fit). From
OPENED on the owner keeps all sound of the open message that is not settled: MOVED, and OPENED of a
further part, only drop the beginning of that."""


class SpeechJudge(Protocol):
    """Rates how likely sound is speech; ``capture.speech.SpeechDetector`` does."""

    @property
    def rate_hz(self) -> int:
        """Sample rate in Hz of the sound that ``push`` takes."""

    @property
    def window_frames(self) -> int:
        """Frames per probability: the n-th is of frames n to n + 1 times this."""

    @property
    def lookahead_frames(self) -> int:
        """Frames after a window that its probability needs."""

    def push(self, samples: NDArray[np.float32]) -> list[float]:
        """Take sound, shape (frames, channels); give 0..1 for each window that is complete."""

    def reset(self) -> None:
        """Forget all sound so far; the next frame is frame 0."""


class GateState(enum.StrEnum):
    """Whether a message is open, and whether it sounds or pauses."""

    LISTENING = "listening"
    """No message is open."""
    HEARING = "hearing"
    """A message is open, and it sounds."""
    HOLDING = "holding"
    """A message is open, and it pauses."""


class GateEventKind(enum.StrEnum):
    """The beginning, a later beginning, or the end of a message."""

    OPENED = "opened"
    MOVED = "moved"
    CLOSED = "closed"


class Verdict(enum.StrEnum):
    """Whether a closed message is kept, and if not, why."""

    KEPT = "kept"
    NOT_SPEECH = "not-speech"
    TOO_SHORT = "too-short"


@dataclass(frozen=True, slots=True)
class GateEvent:
    """The beginning, a later beginning, or the end of a message.

    OPENED is given for any sound, also for one that turns out to be no message. MOVED comes only
    before it is certain that the message is kept. A CLOSED follows every OPENED.

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

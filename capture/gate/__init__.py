"""Where messages begin and end in a stream of sound.

Owns every rule by which sound becomes a message; listening, splitting and trimming share them. The
edges are those of the sound itself; whether it counts is decided by a judge of speech (a
notification and music are no messages). Only in sound that never stops, the edges are the judge's.

Pure: no clock, no threads, no devices. All positions are frames since the first that was pushed,
and what comes out does not depend on the lengths of the blocks: everything is decided in steps of
``STEP_TICKS`` on a fixed grid of 10 ms, here called ticks.
"""

from capture.gate.events import (
    LOOKBACK_S,
    GateEvent,
    GateEventKind,
    GateState,
    SpeechJudge,
    Verdict,
)
from capture.gate.sound_gate import SoundGate, find_messages

__all__ = [
    "LOOKBACK_S",
    "GateEvent",
    "GateEventKind",
    "GateState",
    "SoundGate",
    "SpeechJudge",
    "Verdict",
    "find_messages",
]

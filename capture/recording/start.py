"""Waits for the start of a recording: a delay, a time, windows, applications, sound."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from capture.clock import now_ns
from capture.live.rule_watch import SoundDetector, StartWait
from capture.specs.recording import RecordingSpec
from capture.units import NS_PER_S

WALL_LOOK_S = 1.0
"""How often the machine's clock is looked at while waiting for a time: somebody may set it."""
PRE_ROLL_NS = NS_PER_S // 4
"""Sound before the first sound that is kept, where a sound starts the recording."""


@dataclass(slots=True, eq=False)
class Start:
    """Waits until a recording may begin. Used from one thread.

    Each method raises ``NothingRecordedError`` if it is stopped meanwhile, and ``CaptureError`` if
    what it waits for does not come in time.

    Args:
        spec: Its delay, its time and its start rules.
        start_wait: Waits for rules, and knows when it is stopped.
        on_wait: Called when it has to wait.
    """

    spec: RecordingSpec
    start_wait: StartWait
    on_wait: Callable[[], None]
    _asked_ns: int = field(default_factory=now_ns)

    def wait_for_time(self, before_s: float = 0.0) -> None:
        """Wait until the delay is over and the set time has come, or so long before."""
        self.start_wait.check()
        while True:
            left_s = (self._asked_ns - now_ns()) / NS_PER_S + self.spec.delay_s
            if self.spec.begin_at_s is not None:
                left_s = max(left_s, self.spec.begin_at_s - time.time())
            if left_s <= before_s:
                return
            self.on_wait()
            self.start_wait.rest(min(left_s - before_s, WALL_LOOK_S))

    def wait_for_others(self, environment: Mapping[str, str] | None) -> None:
        """Wait for the windows and applications of the start rules; nothing is open yet."""
        rules = [rule for rule in self.spec.start_when if rule.kind != "sound"]
        if rules:
            self.on_wait()
            self.start_wait.wait_for_others(rules, environment)

    def wait_for_sound(self, sound_detector: SoundDetector | None) -> int | None:
        """Wait for sound, if a rule asks for it; gives the start on the capture clock.

        The blocks wait in the mailbox meanwhile, ten seconds of them: with them the recording
        begins shortly before the sound.
        """
        rules = [rule for rule in self.spec.start_when if rule.kind == "sound"]
        if not rules or sound_detector is None:
            return None
        self.on_wait()
        self.start_wait.begin(rules)
        ready_ns = now_ns()
        while (sound_detector.heard_ns or 0) < ready_ns:
            self.start_wait.rest()
        assert sound_detector.onset_ns is not None
        return max(sound_detector.onset_ns - PRE_ROLL_NS, ready_ns)

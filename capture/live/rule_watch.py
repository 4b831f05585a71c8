"""Checks start and stop rules: which windows are open, what plays, when sound was heard.

A recording and a ``VoiceKeeper`` wait for their start rules with a ``StartWait``, and are ended by
their stop rules on a thread of ``watch_for_end``.
"""

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from capture import sources
from capture.cautions import Caution
from capture.clock import now_ns
from capture.errors import CaptureError, NothingRecordedError
from capture.hints import Advice
from capture.levels import gain_of
from capture.live.event_log import EventLog
from capture.live.rules import Facts, StopRules, has_all
from capture.live.running import Stoppable
from capture.model.events import EventKind
from capture.model.recording import State
from capture.model.signal import AudioBlock
from capture.specs.recording import RecordingSpec, Rule
from capture.specs.voice import VoiceSpec
from capture.units import NS_PER_S

SOUND_DBFS = -50.0
"""RMS of 20 ms: above the noise of a microphone in a quiet room, below the quietest speech."""
WINDOW_S = 0.02
EPISODE_GAP_S = 0.5
"""A shorter pause lies within speech; what sounds after a longer one is a new beginning."""
ASK_EVERY_NS = NS_PER_S // 2
"""Windows and applications are asked for this often: 3 ms of work each time."""
RULES_TICK_S = 0.05
"""Time between two checks of the rules."""
UNANSWERED_S = 10.0
"""A screen or a sound server that has not answered for so long is gone: a sound server that
crashed is back after 3 s at most."""


class SoundDetector:
    """Detects sound in the blocks of all sources; any thread may call its methods.

    Args:
        rate_hz: Of all sources.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._limit = gain_of(SOUND_DBFS)
        self._lock = threading.Lock()
        self.onset_ns: int | None = None
        """Capture clock at which the present sound, or the last one, began; ``None``: there was
        none."""
        self.heard_ns: int | None = None
        """Capture clock up to which there was sound; ``None``: there was none."""

    def take(self, block: AudioBlock) -> None:
        """Examine a block of any source; its samples are only read."""
        peak = max(float(block.samples.max()), -float(block.samples.min()))
        if peak < self._limit:
            return  # the RMS is never above the peak
        frames = round(WINDOW_S * self._rate_hz)
        starts = np.arange(0, len(block.samples), frames)
        power = np.add.reduceat(np.square(block.samples).mean(axis=1), starts)
        power /= np.diff(np.append(starts, len(block.samples)))
        loud = starts[power >= self._limit**2]
        if len(loud):
            with self._lock:
                self._hear(block, int(loud[0]), int(loud[-1]) + frames)

    def _hear(self, block: AudioBlock, first_frame: int, last_frame: int) -> None:
        def moment(frame: int) -> int:
            return block.captured_ns + frame * NS_PER_S // self._rate_hz

        gap_ns = EPISODE_GAP_S * NS_PER_S
        if self.heard_ns is None or moment(first_frame) - self.heard_ns > gap_ns:
            self.onset_ns = moment(first_frame)
        end_ns = moment(min(last_frame, len(block.samples)))
        self.heard_ns = max(self.heard_ns or end_ns, end_ns)


class RuleWatch:
    """Gathers the facts that some rules need. Used from one thread.

    Args:
        rules: The rules that the facts are for.
        sound_detector: Detects sound in the sources; ``None`` where none is open.
        environment: Of the desktop that is asked; ``None``: this process's own.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        sound_detector: SoundDetector | None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._rules = tuple(rules)
        self._environment = environment
        self._sound_detector = sound_detector
        self._asked_ns: int | None = None
        self._names: dict[str, tuple[str, ...] | None] = {"windows": (), "apps": ()}
        self._unanswered_ns: dict[str, int] = {}
        """Capture clock of the first unanswered question, for each of them."""

    def look(self) -> Facts:
        """The facts of this moment; windows and applications are at most 0.5 s old."""
        at_ns = now_ns()
        if self._asked_ns is None or at_ns - self._asked_ns >= ASK_EVERY_NS:
            self._asked_ns = at_ns
            for what in {_ABOUT[rule.kind] for rule in self._rules if rule.kind in _ABOUT}:
                self._ask(what, at_ns)
        heard_ns = self._sound_detector.heard_ns if self._sound_detector is not None else None
        return Facts(at_ns, heard_ns, self._names["windows"], self._names["apps"])

    def _ask(self, what: str, at_ns: int) -> None:
        try:
            self._names[what] = _ASK[what](self._environment)
        except CaptureError:
            self._names[what] = None
            self._unanswered_ns.setdefault(what, at_ns)
        else:
            self._unanswered_ns.pop(what, None)

    def unanswered(self) -> Rule | None:
        """A rule that could not be checked for ``UNANSWERED_S``; ``None``: there is none."""
        at_ns = now_ns()
        gone = {
            what
            for what, since_ns in self._unanswered_ns.items()
            if at_ns - since_ns >= UNANSWERED_S * NS_PER_S
        }
        return next((rule for rule in self._rules if _ABOUT.get(rule.kind) in gone), None)


@dataclass(slots=True, eq=False)
class StartWait:
    """Waits for start rules until they hold, it is stopped, or time is up. Used from one thread.

    Args:
        spec: Whose rules, and how long they have.
        events: Gets an event with what is waited for.
        wait_for_stop: Sleeps so many seconds; true once it was stopped.
    """

    spec: RecordingSpec | VoiceSpec
    events: EventLog
    wait_for_stop: Callable[[float], bool]
    _deadline_ns: int | None = None

    def begin(self, rules: Sequence[Rule]) -> None:
        """Publish what is waited for; the time limit counts from now."""
        self.events.emit(EventKind.WAITING, f"waiting for {' and '.join(map(str, rules))}")
        within_s = self.spec.start_within_s
        self._deadline_ns = None if within_s is None else now_ns() + round(within_s * NS_PER_S)

    def rest(self, wait_s: float = RULES_TICK_S) -> None:
        """Sleep for so many seconds.

        Raises:
            NothingRecordedError: It was stopped meanwhile.
            CaptureError: What it waits for did not come in time.
        """
        self.check(wait_s)
        if self._deadline_ns is not None and now_ns() >= self._deadline_ns:
            waited = " and ".join(map(str, self.spec.start_when))
            raise CaptureError(
                f"nothing was recorded: {waited} did not come within "
                f"{self.spec.start_within_s:g} s",
                hint=Advice.WAIT_LONGER.with_(),
            )

    def check(self, wait_s: float = 0.0) -> None:
        """Sleep for so many seconds, without a look at the time limit.

        Raises:
            NothingRecordedError: It was stopped meanwhile, or before.
        """
        if self.wait_for_stop(wait_s):
            raise NothingRecordedError("nothing was recorded: it was stopped before it began")

    def wait_for_others(
        self, rules: Sequence[Rule], environment: Mapping[str, str] | None = None
    ) -> None:
        """Wait until the windows and applications of the rules are there.

        Raises:
            NothingRecordedError: It was stopped meanwhile.
            CaptureError: They did not come in time, or can no longer be asked for.
        """
        watch = RuleWatch(rules, None, environment)
        self.begin(rules)
        while not has_all(rules, watch.look()):
            self.rest()
            if (rule := watch.unanswered()) is not None:
                check_rules([rule], environment)  # raises with the reason
                raise CaptureError(f"nothing was recorded: {_unknown(rule)}")
        self._deadline_ns = None


def watch_for_end(
    running: Stoppable,
    spec: RecordingSpec | VoiceSpec,
    sound_detector: SoundDetector | None,
    start_ns: int,
    events: EventLog,
    *,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Start a thread, capture-rules, that stops it when a stop rule holds; none without rules.

    The thread is never joined: a screen that does not answer must not delay the end.

    Args:
        running: What is stopped; the rule's kind is the reason.
        spec: From ``with_rules``; its start rules have held.
        sound_detector: Detects sound in the sources; ``None`` where no rule is about sound.
        start_ns: Capture clock of the start.
        events: Gets one warning for each rule that cannot be checked any more.
        environment: Of the desktop that is asked; ``None``: this process's own.
    """

    def watch() -> None:
        watch = RuleWatch(spec.stop_when, sound_detector, environment)
        ending = StopRules(spec.stop_when, start_ns, spec.start_when)
        while not running.wait_for_stop(RULES_TICK_S):
            facts = watch.look()
            if (rule := watch.unanswered()) is not None:
                events.warn(Caution.RULE_UNANSWERED.with_(reason=_unknown(rule)))
            if running.state == State.PAUSED:
                ending.rest(facts.at_ns)
            elif (kind := ending.step(facts)) is not None:
                running.stop(kind)

    if spec.stop_when:
        threading.Thread(target=watch, name="capture-rules", daemon=True).start()


def name_players() -> str:
    """The applications that play now, in words: ``there are: A, B``, or ``nothing is playing``."""
    try:
        apps = [app for app in sources.list_audio_apps() if app.is_playing]
    except CaptureError:
        return "the applications that play cannot be listed"
    names = sorted({app.name for app in apps if app.pid != os.getpid()}, key=str.casefold)
    return f"there are: {', '.join(names)}" if names else "nothing is playing"


def check_rules(rules: Iterable[Rule], environment: Mapping[str, str] | None = None) -> None:
    """Raise if some of the rules cannot be checked on this desktop.

    Raises:
        CaptureError: It does not: the class is that of the reason.
    """
    for rule in rules:
        if rule.kind not in _ABOUT:
            continue
        try:
            _ASK[_ABOUT[rule.kind]](environment)
        except CaptureError as error:
            hint = "window rules need an X11 desktop; leave the rule out, or use another one"
            raise type(error)(
                f"{_unknown(rule)}: {error.message}",
                hint=hint if _ABOUT[rule.kind] == "windows" else error.hint,
            ) from error


def check_window_rules(spec: RecordingSpec | VoiceSpec) -> None:
    """Check those rules of a spec that are about windows, as ``check_rules``, on this desktop."""
    check_rules(rule for rule in (*spec.start_when, *spec.stop_when) if rule.is_of_windows)


def require_rules(rules: Iterable[Rule]) -> None:
    """Raise if this system can never check some rules; asks no device.

    Raises:
        UnsupportedError: It cannot.
        LibraryMissingError: What it takes is not installed.
    """
    about = {_ABOUT.get(rule.kind) for rule in rules}
    if "windows" in about:
        sources.require_windows()
    if "apps" in about:
        sources.require_apps()


def _unknown(rule: Rule) -> str:
    return f"the rule {rule} cannot be checked"


def _titles(environment: Mapping[str, str] | None) -> tuple[str, ...]:
    return tuple(window.title for window in sources.list_windows(environment))


def _players(environment: Mapping[str, str] | None) -> tuple[str, ...]:
    """Names and programs of the applications that play."""
    apps = sources.list_audio_apps(environment)
    return tuple(name for app in apps for name in (app.name, app.binary) if name)


_ABOUT = {"window": "windows", "window-closed": "windows", "app": "apps", "app-ended": "apps"}
"""The facts that rules of a kind need; the others are about sound and numbers."""
_ASK: dict[str, Callable[[Mapping[str, str] | None], tuple[str, ...]]] = {
    "windows": _titles,
    "apps": _players,
}

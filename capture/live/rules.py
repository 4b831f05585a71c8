"""When a recording starts and stops: one small grammar for ``record``, ``voice`` and schedules.

To start, ``sound``, ``window:TITLE``, ``app:NAME``; to stop, ``silence:10s``, ``window-closed``,
``app-ended``, ``size:1GB``, ``duration:45m``. The two in the middle mean what is recorded, or what
was waited for; ``window-closed:TITLE`` and ``app-ended:NAME`` name another one. ``voice`` waits for
sound anyway and refuses that rule. Pure: texts become rules, and rules are held against facts that
somebody else has gathered.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from capture.errors import ConfigError
from capture.hints import Advice
from capture.specs.recording import AudioSpec, RecordingSpec, Rule
from capture.specs.target import Window
from capture.specs.voice import VoiceSpec
from capture.units import NS_PER_S, parse_duration, parse_size

APP_GONE_S = 2.0
"""Players close their stream and open another one between two titles."""

_START_HINT = "write sound, window:TITLE or app:NAME"
_STOP_HINT = "write silence:10s, window-closed, app-ended, size:1GB or duration:45m"
_Spec = TypeVar("_Spec", RecordingSpec, VoiceSpec)
_BEGINNINGS = {"window-closed": "window", "app-ended": "app"}
"""Stop rules to the start rules that wait for the same."""
_COUNTED = {"silence": parse_duration, "duration": parse_duration, "size": parse_size}


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that rules are checked against, at one moment."""

    at_ns: int
    """Capture clock."""
    heard_ns: int | None = None
    """Capture clock of the last sound; ``None``: there was none yet."""
    windows: tuple[str, ...] | None = ()
    """Titles of all windows; ``None`` where the screen does not answer."""
    apps: tuple[str, ...] | None = ()
    """Names of all applications that play; ``None`` where the sound server does not answer."""


def parse_start(text: str) -> Rule:
    """A start rule as people write it: ``sound``, ``window:TITLE`` or ``app:NAME``.

    Raises:
        ConfigError: It is none.
    """
    kind, _, name = text.strip().partition(":")
    kind, name = kind.strip().lower(), name.strip()
    if kind == "sound" and not name:
        return Rule("sound")
    if kind in {"window", "app"} and name:
        return Rule(kind, name)
    if kind in {"window", "app"}:
        raise ConfigError(f"the start rule {kind!r} names nothing", hint=f"write {kind}:NAME")
    raise ConfigError(f"{text!r} is no start rule", hint=_START_HINT)


def parse_stop(text: str) -> Rule:
    """A stop rule as people write it, such as ``silence:10s`` or ``window-closed``.

    Raises:
        ConfigError: It is none.
    """
    kind, _, rest = text.strip().partition(":")
    kind, rest = kind.strip().lower(), rest.strip()
    if kind in {"window-closed", "app-ended"}:
        return Rule(kind, rest or None)
    if kind not in _COUNTED:
        raise ConfigError(f"{text!r} is no stop rule", hint=_STOP_HINT)
    try:
        amount = _COUNTED[kind](rest)
    except ValueError as error:
        raise ConfigError(
            f"the stop rule {text!r} makes no sense: {error}", hint=_STOP_HINT
        ) from error
    if amount <= 0:
        raise ConfigError(f"the stop rule {kind!r} must have a limit above 0", hint=_STOP_HINT)
    return Rule(kind, amount=amount)


def with_rules(spec: _Spec) -> _Spec:
    """The spec with its rules made definite: sizes and durations are limits, names are known.

    Raises:
        ConfigError: A rule has nothing to go by: no sound is recorded, no window is named; or it
            has no meaning where messages are kept.
    """
    _check(spec)
    known = _known_names(spec)
    sizes = [spec.max_size_bytes] if spec.max_size_bytes is not None else []
    lengths = [spec.duration_s] if spec.duration_s is not None else []
    rules = []
    for rule in spec.stop_when:
        if rule.kind == "size":
            sizes.append(round(rule.amount))
        elif rule.kind == "duration":
            lengths.append(rule.amount)
        elif rule.kind == "silence" or rule.name or known[rule.kind]:
            rules.append(dataclasses.replace(rule, name=rule.name or known.get(rule.kind)))
        else:
            raise ConfigError(
                f"the stop rule {rule.kind!r} names nothing", hint=f"write {rule.kind}:NAME"
            )
    return dataclasses.replace(
        spec,
        stop_when=tuple(rules),
        max_size_bytes=min(sizes, default=None),
        duration_s=min(lengths, default=None),
    )


def _check(spec: RecordingSpec | VoiceSpec) -> None:
    """Raise if a rule lacks what it refers to."""
    waits_for_sound = any(rule.kind == "sound" for rule in spec.start_when)
    listens = waits_for_sound or any(rule.kind == "silence" for rule in spec.stop_when)
    if isinstance(spec, VoiceSpec):
        if waits_for_sound:
            raise ConfigError(
                "the start rule 'sound' has no meaning here: every message begins with its sound",
                hint=Advice.LIMIT_WAITING.with_(),
            )
    elif listens and not spec.audio:
        raise ConfigError("a rule about sound cannot be checked: no sound is recorded")
    if spec.start_within_s is not None and not spec.start_when:
        example = "app:NAME" if isinstance(spec, VoiceSpec) else "sound"
        raise ConfigError(
            "the start has a time limit, but no rule to wait for",
            hint=f"add a start rule, such as {example}",
        )


def _known_names(spec: RecordingSpec | VoiceSpec) -> Mapping[str, str | None]:
    """The window and the application that a stop rule without a name refers to."""
    audio = (AudioSpec(spec.source),) if isinstance(spec, VoiceSpec) else spec.audio
    video = None if isinstance(spec, VoiceSpec) else spec.video
    target = video.target if video else None
    known = {
        "window-closed": target.title if isinstance(target, Window) else None,
        "app-ended": next((each.name for each in audio if each.kind == "app"), None),
    }
    for rule in spec.start_when:
        if rule.name is not None:
            known["window-closed" if rule.kind == "window" else "app-ended"] = rule.name
    return known


def has_all(rules: Iterable[Rule], facts: Facts) -> bool:
    """Whether all start rules hold that are not about sound."""
    there = {"window": facts.windows, "app": facts.apps}
    return all(_is_among(rule.name, there[rule.kind]) for rule in rules if rule.kind in there)


class StopRules:
    """Finds the first stop rule that holds. Used from one thread.

    Args:
        rules: From ``with_rules``.
        at_ns: Capture clock of the start: silence counts from there.
        came: Start rules that have held: what they name was there, though it may be gone by now.
    """

    def __init__(self, rules: Sequence[Rule], at_ns: int, came: Iterable[Rule] = ()) -> None:
        self._rules = rules
        self._quiet_ns = at_ns
        known = {(rule.kind, rule.name) for rule in came}
        self._seen = {r for r in rules if (_BEGINNINGS.get(r.kind), r.name) in known}
        self._gone_ns: dict[Rule, int] = {}

    def step(self, facts: Facts) -> str | None:
        """The kind of the stop rule that holds now; ``None`` while none does."""
        if facts.heard_ns is not None:
            self._quiet_ns = max(self._quiet_ns, facts.heard_ns)
        return next((rule.kind for rule in self._rules if self._holds(rule, facts)), None)

    def rest(self, at_ns: int) -> None:
        """Step during a pause, in which no rule is checked."""
        self._quiet_ns = at_ns

    def _holds(self, rule: Rule, facts: Facts) -> bool:
        if rule.kind == "silence":
            return facts.at_ns - self._quiet_ns >= rule.amount * NS_PER_S
        names = facts.windows if rule.kind == "window-closed" else facts.apps
        if names is None:
            return False  # nobody knows: what cannot be asked is no reason to stop
        if _is_among(rule.name, names):
            self._seen.add(rule)
            self._gone_ns.pop(rule, None)
            return False
        if rule not in self._seen:
            return False  # it has not come yet
        since_ns = self._gone_ns.setdefault(rule, facts.at_ns)
        wait_s = APP_GONE_S if rule.kind == "app-ended" else 0.0
        return facts.at_ns - since_ns >= wait_s * NS_PER_S


def _is_among(name: str | None, names: Iterable[str] | None) -> bool:
    """Whether a text is part of one of the names, ignoring case."""
    wished = (name or "").casefold()
    return any(wished in each.casefold() for each in names or ())

"""``capture voice``: options into a spec, a spec into a keeper, a keeper onto the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from capture import parse_start, parse_stop
from capture.cli.app import print_error, say
from capture.cli.recover import mention_orphans
from capture.cli.running import run_shown
from capture.cli.signals import StopSignals
from capture.cli.streams import detached_output
from capture.cli.values import Duration, parse_duration
from capture.cli.voice_views import choose_view
from capture.config import default_voice_folder
from capture.errors import CaptureError, ConfigError
from capture.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_SOME_FAILED, of_listening
from capture.specs.voice import GateSpec, SoundFileSpec, VoiceSpec

if TYPE_CHECKING:
    from capture import VoiceResult

__all__ = ["DEFAULTS", "VoiceOptions", "voice"]

MESSENGERS = ("whatsapp", "telegram")
DEFAULT_GATE = GateSpec()


@Parameter(name="*")
@dataclass
class VoiceOptions:
    """What to listen to, and what to make of it, as people write it.

    Attributes:
        from_: auto (each application that plays, apart from the others), app:NAME, system,
            system:OUTPUT, mic or mic:NAME.
        format: By default opus.
        quality: Of the file; no matter for flac and wav. By default medium.
        for_: What the files are for (whatsapp or telegram: as that messenger writes its own), or
            how long to listen in all; may be given twice.
        count: Stop after so many messages.
        once: Stop after one message.
        idle: Stop when nothing was heard for so long.
        start_when: window:TITLE or app:NAME; of several, all have to be there before it listens.
        start_within: Give up when that has not come after this long.
        stop_when: silence:10m, window-closed, app-ended, size:1GB or duration:8h; the first one
            ends it, and an open message is kept.
        any_sound: Keep everything that sounds, not only speech.
        threshold: Level in dBFS above which it counts as sound; auto learns it.
        hold: How long a pause inside a message may be. By default 1.5s, of a microphone 3s.
        min_length: Shorter messages are dropped. By default 0.5s.
        max_length: Longer ones are cut into parts, without a gap. By default 4h.
        name: Of the files, from {date} {time} {app} {length} {source}.
        keep_last: So much of what sounded last is held in memory; the key s, or SIGUSR1, saves it.
            0 holds nothing.
        picture: Also draw the waveform of each message.
        library: Remember the messages, for `capture messages`; with --no-library nothing is kept
            but the files.
    """

    from_: Annotated[str, Parameter(name="--from", metavar="SOURCE")] = "auto"
    format: Literal["opus", "m4a", "mp3", "flac", "wav", "ogg"] | None = None
    quality: Literal["low", "medium", "high"] | None = None
    for_: Annotated[
        tuple[str, ...], Parameter(name="--for", negative="", metavar="MESSENGER|DURATION")
    ] = ()
    count: int | None = None
    once: Annotated[bool, Parameter(negative="")] = False
    idle: Duration = None
    start_when: Annotated[tuple[str, ...], Parameter(negative="", metavar="RULE")] = ()
    start_within: Duration = None
    stop_when: Annotated[tuple[str, ...], Parameter(negative="", metavar="RULE")] = ()
    any_sound: Annotated[bool, Parameter(negative="")] = False
    threshold: Annotated[str, Parameter(allow_leading_hyphen=True)] = "auto"
    hold: Duration = None
    min_length: Duration = None
    max_length: Duration = None
    name: str = "{date} {time} {app} {length}"
    keep_last: Duration = 120.0
    picture: Annotated[bool, Parameter(negative="")] = False
    library: bool = True

    def spec(self, folder: Path | None) -> VoiceSpec:
        """The spec that they amount to.

        Args:
            folder: Where the files go; ``None``: the usual one.

        Raises:
            ConfigError: A value makes no sense, or two contradict each other.
        """
        messenger, duration_s = _purposes(self.for_)
        if messenger is not None and (self.format is not None or self.quality is not None):
            raise ConfigError(
                f"--for {messenger} decides the format and the quality itself",
                hint="leave out --format and --quality, or --for",
            )
        if self.once and self.count not in (None, 1):
            raise ConfigError("--once and --count contradict each other", hint="leave one out")
        return VoiceSpec(
            folder=folder or default_voice_folder(),
            source=self.from_,
            file=SoundFileSpec(self.format or "opus", self.quality or "medium", messenger),
            gate=GateSpec(
                threshold_dbfs=_threshold(self.threshold),
                hold_s=self.hold,
                min_length_s=DEFAULT_GATE.min_length_s
                if self.min_length is None
                else self.min_length,
                max_length_s=DEFAULT_GATE.max_length_s
                if self.max_length is None
                else self.max_length,
                is_any_sound=self.any_sound,
            ),
            name=self.name,
            count=1 if self.once else self.count,
            duration_s=duration_s,
            idle_s=self.idle,
            start_when=tuple(parse_start(rule) for rule in self.start_when),
            start_within_s=self.start_within,
            stop_when=tuple(parse_stop(rule) for rule in self.stop_when),
            keep_last_s=self.keep_last or 0.0,
            with_picture=self.picture,
            library=self.library,
        )


DEFAULTS = VoiceOptions()


def voice(
    folder: Path | None = None,
    /,
    *,
    options: VoiceOptions = DEFAULTS,
    json: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(alias="-q", negative="")] = False,
) -> int:
    """Keep each voice message that plays as one clean file.

    Start it, play one message or twenty, in WhatsApp, Telegram, a browser, anywhere. It opens when
    something sounds, closes when it is over, keeps speech and leaves notifications and music out.
    Ends with ^C, q, or what the options say.

    Args:
        folder: Where the files go. By default Music/Voice messages.
        options: What to listen to, and what to make of it.
        json: Events on stdout, one JSON object a line; the last one is the result.
        quiet: Say nothing but errors; the paths still go to stdout.
    """
    spec = options.spec(folder)
    with detached_output(), StopSignals(is_last=True) as stop:
        stop.is_starting = True
        try:
            return _run(spec, stop, is_json=json, is_quiet=quiet)
        except CaptureError as error:
            if not stop.explains(error):
                raise
            say("stopped before it listened")
            return EXIT_INTERRUPTED


def _run(spec: VoiceSpec, stop: StopSignals, *, is_json: bool, is_quiet: bool) -> int:
    from capture import VoiceKeeper  # noqa: PLC0415 - av and the speech model are slow

    if not is_quiet:
        mention_orphans(spec.folder)
    view = choose_view(is_json=is_json, is_quiet=is_quiet)
    keeper = VoiceKeeper(spec, view.on_event)
    error = run_shown(keeper, view, stop)
    result = keeper.result
    assert result is not None
    if error is not None:
        print_error(error.message, error.hint)
        mention_orphans(spec.folder)
        return EXIT_FAILED
    return _exit_code(spec, result)


def _exit_code(spec: VoiceSpec, result: VoiceResult) -> int:
    """0 when what was asked for is there; says what is missing."""
    code = of_listening(spec, result)
    if code == EXIT_SOME_FAILED:
        kept = sum(message.part in {None, 1} for message in result.messages)
        print_error(f"only {kept} of {spec.count} messages came")
    elif code == EXIT_FAILED:
        sounded = f"; what sounded ({result.dropped}) was no message" if result.dropped else ""
        print_error(
            f"no message was heard in {result.listened_s:.0f} s{sounded}",
            "--any-sound keeps everything; `capture devices` lists what plays",
        )
    return code


def _purposes(words: Sequence[str]) -> tuple[str | None, float | None]:
    """A messenger's name and a duration out of what follows ``--for``."""
    messenger: str | None = None
    duration_s: float | None = None
    for word in words:
        if word.casefold() in MESSENGERS:
            messenger = word.casefold()
            continue
        try:
            duration_s = parse_duration(word)
        except ValueError as error:
            raise ConfigError(
                f"--for {word} is neither a messenger nor a duration",
                hint=f"write {' or '.join(MESSENGERS)}, or how long to listen, such as 10m",
            ) from error
    return messenger, duration_s


def _threshold(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        return float(text.casefold().removesuffix("dbfs").removesuffix("db"))
    except ValueError as error:
        raise ConfigError(
            f"--threshold {text} is no level", hint="write a level such as -45, or auto"
        ) from error

"""What follows the ``--`` of a job: the recorder's own options, made a spec, and held for sound."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime

from cyclopts.exceptions import CycloptsError

from capture.cli import app as cli, record, voice
from capture.cli.commands import refuse_empty
from capture.errors import ConfigError
from capture.naming import safe_name
from capture.schedule.jobs import Job, Place
from capture.specs.recording import RecordingSpec
from capture.specs.voice import VoiceSpec

__all__ = ["check_job", "parse_words"]

_OWN_OPTIONS = {
    "output": "--to",
    "folder": "--to",
    "duration": "--for",
    "at": None,
    "delay": None,
    "json": None,
    "quiet": None,
    "overwrite": None,
}
"""Options of a recorder that the schedule decides, and where they are given instead."""
_NO_END = "nothing ends these recordings: give them a length, such as --for 45m"


def parse_words(words: Sequence[str], name: str, place: Place) -> RecordingSpec | VoiceSpec:
    """The spec that a job's words amount to; its length is the schedule's to set.

    Args:
        words: Options of ``record``, or ``voice`` and its own; after ``--`` a command.
        name: What the job is called.
        place: Where its recordings go.

    Raises:
        ConfigError: They make no sense, or say what the schedule decides.
    """
    command, rest = _command_of(words)
    at = rest.index("--") if "--" in rest else len(rest)
    tokens, program = rest[:at], tuple(rest[at + 1 :])
    refuse_empty(tokens)
    try:
        _, bound, ignored = cli.app.parse_args(
            [command, *tokens], print_error=False, exit_on_error=False
        )
    except CycloptsError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ConfigError(
            f"the recorder does not take this: {reason}", hint=f"see `capture {command} --help`"
        ) from error
    if program and "words" not in ignored:
        raise ConfigError(f"{command} takes no command", hint="leave out the second `--`")
    options = bound.arguments.get("options")
    for option, instead in _OWN_OPTIONS.items():
        if bound.arguments.get(option) or getattr(options, option, None):
            raise ConfigError(
                f"the {option.replace('_', '-')} of a recording is the schedule's to decide",
                hint=f"write {instead} before the `--`" if instead else "leave it out",
            )
    if command == "voice":
        listening = (options or voice.DEFAULTS).spec(place.folder)
        if listening.duration_s is not None:
            raise ConfigError(
                "how long it listens is the schedule's to decide",
                hint="write --for before the `--`",
            )
        return listening
    wished = options or record.DEFAULTS
    return wished.spec(place.of_job(name, with_picture=wished.video is not False), program)


def check_job(job: Job) -> tuple[str, ...]:
    """Whether a job is sound; gives what to warn of, one sentence each.

    Raises:
        ConfigError: The time, the spec, or what they amount to makes no sense.
        DeviceNotFoundError: The program that is to be started is not there.
    """
    if safe_name(job.name) != job.name or job.name.startswith("-"):
        raise ConfigError(
            f"{job.name!r} cannot be a folder's name", hint=f"write {safe_name(job.name)!r}"
        )
    first = job.rule.next_after(datetime.now(UTC))
    if first is None or (job.until_s is not None and first.timestamp() > job.until_s):
        raise ConfigError(
            f"{job.when} does not come any more", hint="look at its time, and at --until"
        )
    # Only where a job is added or changed: loads av.
    from capture import check_listening, check_recording, missing_devices  # noqa: PLC0415

    if isinstance(job.spec, RecordingSpec):
        check_recording(dataclasses.replace(job.spec, output=job.output(first)))
    else:
        check_listening(job.spec)
    warnings = tuple(f"not there now: {what}" for what in missing_devices(job.spec))
    return warnings if job.has_end else (*warnings, _NO_END)


def _command_of(words: Sequence[str]) -> tuple[str, list[str]]:
    """Which recorder is meant, and what it gets."""
    if not words or words[0].startswith("-"):
        return "record", list(words)
    if words[0] not in {"record", "voice"}:
        raise ConfigError(
            f"{words[0]!r} cannot be scheduled",
            hint="after `--` come the options of record, or voice and its options",
        )
    return words[0], list(words[1:])

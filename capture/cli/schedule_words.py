"""What follows the ``--`` of a job: the recorder's own options, tried before the job is kept."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cyclopts.exceptions import CycloptsError

from capture.cli import app as cli
from capture.cli.commands import refuse_empty
from capture.cli.values import as_target
from capture.errors import CaptureError, ConfigError, DeviceNotFoundError
from capture.naming import safe_name
from capture.schedule.jobs import Job, utc
from capture.schedule.when import parse_when
from capture.specs.recording import AudioSpec, VideoSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["checked"]

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


def checked(job: Job, words: Sequence[str]) -> tuple[Job, tuple[str, ...]]:
    """The job with the recorder's words, all of it sound, and what to warn of: one sentence each.

    Raises:
        ConfigError: The time, the words, or what they amount to makes no sense.
        DeviceNotFoundError: The program that is to be started is not there.
    """
    if safe_name(job.name) != job.name or job.name.startswith("-"):
        raise ConfigError(
            f"{job.name!r} cannot be a folder's name", hint=f"write {safe_name(job.name)!r}"
        )
    rule = parse_when(job.when, job.zone, utc(job.created_s))
    first = rule.next_after(datetime.now(UTC))
    if first is None or (job.until_s is not None and first.timestamp() > job.until_s):
        raise ConfigError(
            f"{job.when} does not come any more", hint="look at its time, and at --until"
        )
    command, rest = _command_of(words)
    at = rest.index("--") if "--" in rest else len(rest)
    options, program = rest[:at], rest[at + 1 :]
    refuse_empty(options)
    try:
        function, bound, ignored = cli.app.parse_args(
            [command, *options], print_error=False, exit_on_error=False
        )
    except CycloptsError as error:
        said = str(error).strip().splitlines()[-1]
        raise ConfigError(
            f"the recorder does not take this: {said}", hint=f"see `capture {command} --help`"
        ) from error
    given = bound.arguments
    for option in given:
        if option in _OWN_OPTIONS:
            instead = _OWN_OPTIONS[option]
            raise ConfigError(
                f"the {option.replace('_', '-')} of a recording is the schedule's to decide",
                hint=f"write {instead} before the `--`" if instead else "leave it out",
            )
    if program and shutil.which(program[0]) is None:
        raise DeviceNotFoundError(
            f"there is no program {program[0]!r}", hint="check the command after the second `--`"
        )
    if _is_length_given(given.get("for_", ())):
        raise ConfigError(
            "how long it listens is the schedule's to decide", hint="write --for before the `--`"
        )
    with_picture = bool(given.get("video", command == "record"))
    job = dataclasses.replace(job, command=command, words=tuple(rest), with_picture=with_picture)
    if "is_trial" in ignored:
        place = {"folder": job.folder} if command == "voice" else {"output": job.output(first)}
        bound.arguments |= {"is_trial": True, **place}
        function(*bound.args, **bound.kwargs)
    warnings = tuple(f"not there now: {what}" for what in _missing(command, given))
    return job, warnings if job.has_end else (*warnings, _NO_END)


def _missing(command: str, given: Mapping[str, Any]) -> Iterator[str]:
    """Devices of this machine that a job needs and that do not answer now.

    They may be there when the job is due. Windows and applications are not looked for: those are
    opened for the occasion. Nor is anything on a private desktop, which is made for it.

    Raises:
        ConfigError: A word names no kind of sound source.
    """
    from capture import sources  # noqa: PLC0415 - only where a job is added or changed

    if given.get("private_desktop") is not None:
        return
    is_film = command == "record" and given.get("video", True)
    if is_film and given.get("test_card") is None and given.get("window") is None:
        try:
            target = as_target(given.get("screen"), given.get("region"))
            sources.open_screen(VideoSpec(target)).close()
        except CaptureError as error:
            yield error.message
    names = given.get("audio") or ("system",)
    if command == "voice":
        name = given.get("from_", "auto")
        names = ("system" if name == "auto" else name,)
    for spec in map(AudioSpec, names):
        if spec.kind in {"app", "none"}:
            continue
        try:
            sources.open_audio(spec).close()
        except ConfigError:
            raise
        except CaptureError as error:
            yield f"{error.message} (--{'from' if command == 'voice' else 'audio'} {spec.source})"


def _is_length_given(purposes: Sequence[str]) -> bool:
    """Whether ``--for`` of ``voice`` names more than messengers."""
    from capture.cli.voice import MESSENGERS  # noqa: PLC0415 - for its jobs alone

    return any(word.casefold() not in MESSENGERS for word in purposes)


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

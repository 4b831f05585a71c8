"""``capture recover``: clean files out of recordings that were cut off."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from capture.cli.app import print_error, say
from capture.cli.hints import in_options
from capture.cli.views import print_json
from capture.config import default_folder, default_voice_folder
from capture.errors import CaptureError
from capture.exit_codes import EXIT_FAILED, EXIT_SOME_FAILED
from capture.journal import find_orphans, is_message

if TYPE_CHECKING:
    from capture import Recovered, VoiceMessage

__all__ = ["mention_orphans", "recover"]


def recover(
    *places: Path,
    in_place: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Make clean files of recordings that a crash or a power cut ended.

    The pictures and the sound are copied as they are into NAME.recovered.EXT; the original is kept.
    Of a voice message that was cut off its file is made, as it would have been.

    Args:
        places: Files, or folders to look through, with those below them; by default Videos/Capture
            and Music/Voice messages.
        in_place: Put the clean file in the original's place, once it is checked.
        json: One JSON object on stdout.
    """
    from capture import recover as recover_file  # noqa: PLC0415 - av is slow to load

    files = _files(places or _default_folders())
    done: list[Recovered] = []
    messages: list[VoiceMessage] = []
    failed: list[tuple[Path, CaptureError]] = []
    for path in files:
        try:
            if is_message(path):
                messages += _recover_message(path, is_told=not json)
                continue
            result = recover_file(path, in_place=in_place)
        except CaptureError as error:
            failed.append((path, error))
            print_error(error.message, error.hint)
            continue
        done.append(result)
        if not json:
            _tell(result)
    if not files:
        say("nothing to recover")
    if json:
        print_json(
            {
                "recovered": [dataclasses.asdict(result) for result in done],
                "messages": [dataclasses.asdict(message) for message in messages],
                "failed": [
                    {"source": path, "message": error.message, "hint": in_options(error.hint)}
                    for path, error in failed
                ],
            }
        )
    if not failed:
        return 0
    return EXIT_SOME_FAILED if done or messages else EXIT_FAILED


def _recover_message(path: Path, *, is_told: bool) -> tuple[VoiceMessage, ...]:
    from capture import recover_message  # noqa: PLC0415 - loads the speech model

    messages = recover_message(path)
    for message in messages if is_told else ():
        say(f"recovered {path}: a message of {message.length_s:.1f} s")
        print(message.path, flush=True)  # noqa: T201
    if is_told and not messages:
        say(f"{path} held no message")
    return messages


def mention_orphans(folder: Path) -> None:
    """Say that a folder holds a recording that was cut off; one line."""
    orphans, _ = find_orphans(folder)
    if orphans:
        more = f" and {len(orphans) - 1} more were" if orphans[1:] else " was"
        # Several of them: the folder names them all.
        place = folder if orphans[1:] else orphans[0]
        say(f"note: {orphans[0]}{more} cut off; `capture recover {shlex.quote(str(place))}`")


def _default_folders() -> tuple[Path, ...]:
    """Those that are there: one that a person names and that is missing is an error."""
    return tuple(f for f in (default_folder(), default_voice_folder()) if f.is_dir())


def _files(places: tuple[Path, ...]) -> list[Path]:
    """What is to be recovered; what is being recorded now is only mentioned."""
    files: list[Path] = []
    for place in places:
        if not place.is_dir():
            files.append(place)
            continue
        orphans, living = find_orphans(place, with_folders=True)
        files += orphans
        for path in living:
            say(f"{path} is being recorded")
    return list(dict.fromkeys(files))


def _tell(result: Recovered) -> None:
    tracks: Any = zip(result.tracks.names, result.tracks.ends_s, strict=True)
    kept = ", ".join(f"{name} {end_s:.1f} s" for name, end_s in tracks)
    of = "" if result.journal_s is None else f"; the journal knew of {result.journal_s:.1f} s"
    say(f"recovered {result.source}: {kept}{of}")
    for warning in result.warnings:
        say(f"warning: {warning}")
    print(result.path, flush=True)  # noqa: T201

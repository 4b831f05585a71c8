"""Converts a schedule of version 1, whose jobs were words of the command line."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from capture.errors import CaptureError, OutputError
from capture.schedule.jobs import place_of
from capture.schedule.lock import serving_pid
from capture.specs.as_json import to_json
from capture.specs.recording import RecordingSpec
from capture.specs.voice import VoiceSpec
from capture.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from capture.schedule.jobs import Place

    Parse = Callable[[Sequence[str], str, Place], RecordingSpec | VoiceSpec]
    """Words, the job's name and its place into a spec; ConfigError: they make none."""

__all__ = ["carry_over"]

_GONE = ("words", "command", "for_s", "target", "with_picture")
"""Settings that are in the spec now."""


def carry_over(path: Path, parse: Parse) -> Path | None:
    """Convert a database with words to one with specs; its history stays as it is.

    A job whose words make no spec is kept, paused, with the reason.

    Args:
        path: The database.
        parse: The command line's own parser.

    Returns:
        A copy of the database as it was, beside it; ``None``: it is not of version 1, or not any
        more.

    Raises:
        OutputError: It cannot be changed, or a daemon of the earlier version still serves it.
    """
    if (pid := serving_pid(path)) is not None:
        raise OutputError(
            f"process {pid} serves the schedule, and may be of an earlier version of this program",
            hint="end it, and start it again afterwards",
        )
    copy = path.with_name(f"{path.name}.version-1")
    try:
        with closing(connect(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # another process that does so waits here
            if connection.execute("PRAGMA user_version").fetchone()[0] != 1:
                return None
            with closing(sqlite3.connect(path)) as before, closing(sqlite3.connect(copy)) as kept:
                before.backup(kept)
            connection.execute("ALTER TABLE jobs ADD COLUMN spec TEXT")
            for row in connection.execute("SELECT id, name, settings, is_paused FROM jobs"):
                _carry_job(connection, row, parse)
            connection.execute("DROP TABLE IF EXISTS alarms")
            connection.execute("UPDATE state SET revision = revision + 1")
            connection.execute("PRAGMA user_version = 2")
            connection.execute("COMMIT")
    except (sqlite3.Error, OSError) as error:
        raise OutputError(f"the schedule in {path} cannot be carried over: {error}") from error
    return copy


def _carry_job(connection: sqlite3.Connection, row: tuple[Any, ...], parse: Parse) -> None:
    job_id, name, text, is_paused = row
    name, settings = os.fsdecode(name), json.loads(text)
    words, command, for_s, target, _ = (settings.pop(key, None) for key in _GONE)
    place = place_of(target, name)
    try:
        spec = replace(parse((command, *words), name, place), duration_s=for_s)
    except CaptureError as error:
        options = shlex.join(words)
        settings["problem"] = f"the job's options make no sense now: {error.message}: {options}"
        is_paused = True
        kind = VoiceSpec if command == "voice" else RecordingSpec
        spec = place.put(kind(place.folder, duration_s=for_s), name)
    connection.execute(
        "UPDATE jobs SET settings = ?, is_paused = ?, spec = ? WHERE id = ?",
        (json.dumps(settings), is_paused, json.dumps(to_json(spec)), job_id),
    )

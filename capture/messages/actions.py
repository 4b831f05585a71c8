"""Actions on a kept message: rename it, keep a part of it, convert it for a messenger."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from typing import TYPE_CHECKING

from capture.errors import ConfigError, MediaError
from capture.hints import Advice
from capture.messages.library import describe
from capture.messages.message import Facts, Passage
from capture.messages.names import name_of, renamed_stem
from capture.messages.places import made_of, move, translating
from capture.naming import clear_parts, part_path, publish, safe_name
from capture.specs.extraction import ExtractJob
from capture.specs.voice import SoundFileSpec

if TYPE_CHECKING:
    from pathlib import Path

    from capture.messages.library import Library
    from capture.messages.message import Message

__all__ = ["copy_to", "for_messenger", "rename", "trim", "with_peaks"]

FOLDER_OF_OWNER = 0o700
_LOSSLESS = {".wav": SoundFileSpec("wav"), ".flac": SoundFileSpec("flac")}
"""Their packets are long, and encoding them anew changes no sample."""


def rename(library: Library, message: Message, name: str) -> Message:
    """Give a message's file another name; gives the changed message.

    Its content stays as it is, bit for bit, and with it the message's id. Its picture is renamed
    too.

    Args:
        library: Where it is kept.
        message: Which.
        name: Without the ending; what no file system takes is left out, and a name that is taken
            gets a number.

    Raises:
        ConfigError: There is no such message, or it is deleted.
        OutputError: The system refuses.
    """
    message = _present(library, message)
    target = message.path.with_name(f"{safe_name(name)}{message.path.suffix}")
    if target == message.path:
        return message
    renamed = dataclasses.replace(message, path=move(message.path, target))
    if message.picture is not None and os.path.lexists(message.picture):
        picture = renamed.path.with_suffix(message.picture.suffix)
        renamed = dataclasses.replace(renamed, picture=move(message.picture, picture))
    # A process that is killed here leaves a file that is found by its content.
    return library.change(renamed)


def trim(
    library: Library, message: Message, *, start_s: float | None = None, end_s: float | None = None
) -> Message:
    """Keep only a part of a message; gives the new message, which takes its place.

    The sound is not encoded a second time: it is cut between packets, at most 26 ms from where it
    was asked for, and to the sample where the format loses nothing. Words whose time is not known
    are left out. The message as it was is deleted, which can be undone.

    Args:
        library: Where it is kept.
        message: Which.
        start_s: Where the new one begins; ``None``: where the old one does.
        end_s: Where it ends; ``None``: the same.

    Raises:
        ConfigError: There is no such message, or no sound is left.
        MediaError: Its sound cannot be cut.
        OutputError: The system refuses.
    """
    from capture.media.extract.job import draw_waveform, extract  # noqa: PLC0415 - loads av

    message = _present(library, message)
    first_s, last_s = start_s or 0.0, message.length_s if end_s is None else end_s
    if not 0 <= first_s < min(last_s, message.length_s):
        raise ConfigError(
            f"nothing is left between {first_s:g} s and {last_s:g} s of {message.path.name}",
            hint=f"it is {message.length_s:.1f} s long",
        )
    clear_parts(message.path.parent)
    part = part_path(message.path)
    job = ExtractJob(
        message.path,
        part,
        is_target_file=True,
        spec=_LOSSLESS.get(message.path.suffix.lower()),
        start_s=start_s,
        end_s=end_s,
    )
    try:
        made = extract(job)
        if len(made.parts) != 1:
            raise MediaError(f"{message.path} cannot be cut: {'; '.join(made.warnings)}")
        length_s = made.parts[0].duration_s
        stem = renamed_stem(message, length_s)
        facts = Facts(
            **{one.name: getattr(message, one.name) for one in dataclasses.fields(Facts)}
            | {"length_s": length_s, "transcript": _cut(message.transcript, first_s, last_s)}
        )
        with translating(part):
            path = publish(
                part, message.path.with_name(f"{stem}{message.path.suffix}"), number=True
            )
    finally:
        part.unlink(missing_ok=True)
    from capture.messages.peaks import read_peaks  # noqa: PLC0415 - loads numpy

    picture = None if message.picture is None else draw_waveform(path)
    trimmed = describe(path, facts, peaks=read_peaks(path), picture=picture)
    (trimmed,) = library.add(dataclasses.replace(trimmed, kept_at=message.kept_at))
    library.delete(message, replaced_by=trimmed)
    return trimmed


def for_messenger(message: Message, messenger: str) -> Path:
    """A message's sound as a messenger writes its own; made once, in the user's cache folder.

    Args:
        message: Which.
        messenger: whatsapp or telegram.

    Raises:
        ConfigError: There is no such messenger.
        MediaError: Its file cannot be read.
        OutputError: The new one cannot be written.
    """
    from capture.media.extract.job import extract  # noqa: PLC0415 - loads av
    from capture.media.formats import check_sound_spec, suffix_of  # noqa: PLC0415 - the same

    spec = SoundFileSpec(messenger=messenger)
    check_sound_spec(spec)
    folder = made_of(message) / messenger
    target = folder / f"{message.path.stem}{suffix_of(spec)}"
    if target.exists():
        return target
    with translating(folder):
        for each in (folder.parent.parent, folder.parent, folder):
            each.mkdir(parents=True, exist_ok=True, mode=FOLDER_OF_OWNER)
        clear_parts(folder)
        for old in folder.glob(f"[!.]*{suffix_of(spec)}"):  # of the name before
            old.unlink(missing_ok=True)
    part = part_path(target)
    try:
        extract(ExtractJob(message.path, part, is_target_file=True, spec=spec, overwrite=True))
        with translating(target):
            part.chmod(0o600)
            return publish(part, target, overwrite=True)
    finally:
        part.unlink(missing_ok=True)


def copy_to(
    message: Message, folder: Path, *, name: str | None = None, messenger: str | None = None
) -> Path:
    """Copy a message's file under a free name, whole or not at all; as old as the message.

    Args:
        message: Which.
        folder: Where it goes; made where it is missing.
        name: A pattern, as of ``name_of``; by default as the file is called.
        messenger: Written as ``for_messenger`` does; by default bit for bit as it is.

    Raises:
        ConfigError: The file is missing, or there is no such messenger.
        MediaError: It cannot be read.
        OutputError: The copy cannot be written.
    """
    source = message.path if messenger is None else for_messenger(message, messenger)
    stem = source.stem if name is None else name_of(name, message)
    target = folder.absolute() / f"{stem}{source.suffix}"
    part = part_path(target)
    with translating(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        clear_parts(target.parent)
        try:
            if not source.is_file():
                raise ConfigError(
                    f"the file is missing: {source}", hint=Advice.INDEX_MESSAGES.with_()
                )
            shutil.copyfile(source, part)
            os.utime(part, (message.moment.timestamp(),) * 2)
            return publish(part, target, number=True)
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def with_peaks(library: Library, message: Message) -> Message:
    """The message with its waveform, which is computed and stored if it is missing.

    Raises:
        MediaError: Its file cannot be read.
        OutputError: It cannot be written down.
    """
    if message.peaks is not None:
        return message
    from capture.messages.peaks import read_peaks  # noqa: PLC0415 - loads numpy

    return library.change(library.newest(message), peaks=read_peaks(message.path))


def _present(library: Library, message: Message) -> Message:
    message = library.newest(message)
    if message.deleted_at is not None:
        raise ConfigError(f"{message.path.name} is deleted", hint=Advice.UNDO_DELETION.with_())
    return message


def _cut(passages: tuple[Passage, ...], start_s: float, end_s: float) -> tuple[Passage, ...]:
    """The part of a transcript within two times; words without a time are left out."""
    kept = []
    for one in passages:
        if one.start_s is None:
            continue
        last_s = one.start_s if one.end_s is None else one.end_s
        if one.start_s >= end_s or last_s <= start_s:
            continue
        ends_s = None if one.end_s is None else min(one.end_s, end_s) - start_s
        kept.append(Passage(one.text, max(0.0, one.start_s - start_s), ends_s))
    return tuple(kept)

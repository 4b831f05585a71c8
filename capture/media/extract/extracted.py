"""Finds files that were extracted before, by the identity of their source."""

import os
import re
from dataclasses import replace
from pathlib import Path

from capture.errors import MediaError
from capture.media.extract.copy_container import SUFFIXES
from capture.media.extract.job import check_job, expected_targets
from capture.media.extract.targets import manner_of, name_in_folder
from capture.media.formats import FORMATS
from capture.media.origin import identity_of, names_source
from capture.media.read.input import open_media
from capture.media.read.tracks import is_sound, track_duration_s
from capture.specs.extraction import ExtractJob

_SUFFIXES = SUFFIXES | {form.suffix for form in FORMATS.values()}
"""All endings that we give."""
SAME_LENGTH_S = 0.5
"""Lengths farther apart are those of different sound; encoders add and drop some frames."""


def choose_name(job: ExtractJob) -> tuple[ExtractJob, list[Path]]:
    """Choose the name of a job, and find its files if it has been done before.

    In a folder, a name that the sound of another source has is passed over: the job gets the next
    number. A file that names no source belongs to another one if its length differs. A file that
    was named explicitly is taken as it is, and counts as not done.

    Raises:
        ConfigError: The job contradicts itself.
        MediaError: The file has no such sound; as ``DamagedFileError``: it cannot be read.
    """
    check_job(job)
    if job.is_target_file or not _may_be_taken(job):
        return job, []
    while has_name_of_another(job):
        job = replace(job, number=job.number + 1)
    return job, [] if job.overwrite else find_extracted(job)


def has_name_of_another(job: ExtractJob) -> bool:
    """Whether the first file of a job would have a name that another source's sound has."""
    target = _targets(job)[0]
    try:
        if not os.path.lexists(target) or target.samefile(job.source):
            return False
        with open_media(target) as container:
            is_ours = names_source(target, container, identity_of(job.source))
    except (OSError, MediaError):
        return False  # it is not known; writing does not replace it
    return not (_is_as_long(job, target) if is_ours is None else is_ours)


def find_extracted(job: ExtractJob) -> list[Path]:
    """The files that have the names of a job in a folder, and are not older than the source.

    The names show how a file was made. A job of several files counts as done with the first one,
    which gets its name last.

    Raises:
        MediaError: The file has no such sound; as ``DamagedFileError``: it cannot be read.
    """
    targets = _targets(job)
    try:
        is_done = targets[0].stat().st_mtime_ns >= job.source.stat().st_mtime_ns
        if not is_done or targets[0].samefile(job.source):
            return []
    except OSError:
        return []
    return [target for target in targets if target.exists()]


def _may_be_taken(job: ExtractJob) -> bool:
    """Whether a name of the job is taken; the source is opened only if it must be."""
    if job.is_split or job.by_chapter or job.track.strip() != "1":
        return True
    # One file, with one of a few endings.
    names = {name_in_folder(job, manner_of(job, is_own_kind=own)) for own in (False, True)}
    return any((job.target / f"{name}{end}").exists() for name in names for end in _SUFFIXES)


def _targets(job: ExtractJob) -> list[Path]:
    """The files of a job; of one that splits those that are there, or the first."""
    targets = expected_targets(job)
    if job.is_split:  # the numbers have more digits where there are many
        first = targets[0]
        stem, _, _ = first.stem.rpartition("-")
        parts = re.compile(re.escape(stem) + r"-\d{2,}" + re.escape(first.suffix))
        there = (path for path in first.parent.glob("*") if parts.fullmatch(path.name))
        targets = sorted(there) or targets
    return targets


def _is_as_long(job: ExtractJob, target: Path) -> bool:
    """Whether a file has the length that the job gives it, as far as that is known."""
    is_open = job.is_trim or job.is_split or job.is_speech_only or job.by_chapter or job.keep_offset
    whole_s, there_s = _length_s(job.source), _length_s(target)
    if is_open or job.track.strip() != "1" or whole_s is None or there_s is None:
        return True
    start_s = job.start_s or 0.0
    end_s = whole_s if job.end_s is None else min(whole_s, job.end_s)
    return abs(end_s - start_s - there_s) <= SAME_LENGTH_S


def _length_s(path: Path) -> float | None:
    with open_media(path) as container:
        sound = next(filter(is_sound, container.streams), None)
        length_s = None if sound is None else track_duration_s(sound)
        if length_s is None and container.duration:
            return float(container.duration) / 1_000_000
        return length_s

"""The facts about a file that are known before it is read: tracks, chapters, cover."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from capture.errors import MediaError
from capture.hints import Advice
from capture.media.extract.copy_container import CopyContainer, copy_container_of
from capture.media.extract.targets import Wanted, manner_of
from capture.media.formats import suffix_of
from capture.media.read.cover import read_cover
from capture.media.read.tracks import (
    Chapter,
    codec_of,
    file_zero_s,
    is_cover,
    pick_tracks,
    read_chapters,
    source_tags,
    stated_end_s,
    tick_s,
    track_language,
)
from capture.specs.extraction import ExtractJob

Window = tuple[float | None, float | None, Chapter | None]
"""Start, end in seconds, and the chapter that it is, of a file."""

LATE_S = 0.02
"""A track that begins later than this after its file is late; less is rounding."""


@dataclass(frozen=True, slots=True)
class Track:
    """A track as the headers describe it, and the container that a copy of it goes to."""

    number: int
    stream: Any
    codec: str
    late_s: float
    stated_s: float | None
    """End that the header gives, in seconds on the clock that a player shows."""
    tags: dict[str, str]
    copy_container: CopyContainer | None
    """The container for a copy; ``None``: no container takes one."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The tracks that a job takes, the chapters of the file, and its cover."""

    tracks: list[Track]
    chapters: tuple[Chapter, ...]
    cover: bytes | None


def read_facts(container: Any, job: ExtractJob) -> Facts:
    """Read the facts that a job needs of an open file.

    Raises:
        MediaError: It is not there.
    """
    chapters = read_chapters(container) if job.by_chapter else ()
    if job.by_chapter and not chapters:
        raise MediaError(f"{job.source} has no chapters", hint=Advice.SHOW_TRACKS.with_())
    zero_s = float(file_zero_s(container))
    tracks = []
    for number, stream in pick_tracks(container, job.track, job.source):
        tick = float(tick_s(stream.time_base))
        late_s = 0.0 if stream.start_time is None else stream.start_time * tick - zero_s
        late_s = late_s if late_s > LATE_S else 0.0
        is_late = job.spec is None and job.keep_offset and late_s > 0
        tracks.append(
            Track(
                number,
                stream,
                codec_of(stream),
                late_s,
                stated_end_s(container, stream, job.source),
                source_tags(container, stream),
                copy_container_of(stream, job.source, is_late=is_late),
            )
        )
    has_cover = any(map(is_cover, container.streams.video))
    return Facts(tracks, chapters, read_cover(job.source) if has_cover else None)


def whole_name(track: Track, facts: Facts, job: ExtractJob) -> Wanted:
    """The parts of the file name of a whole track."""
    manner = manner_of(job, is_own_kind=_is_own_kind(track, job))
    if len(facts.tracks) == 1 and (track.number == 1 or job.is_target_file):
        return Wanted(manner=manner)
    return Wanted(track.number, track_language(track.stream), manner=manner)


def _is_own_kind(track: Track, job: ExtractJob) -> bool:
    """Whether an encoded file has the same ending as a copy."""
    if job.spec is None or track.copy_container is None:
        return False
    return suffix_of(job.spec) == track.copy_container.suffix


def windows_of(facts: Facts, job: ExtractJob) -> list[Window]:
    """Start, end and chapter of every file of a track.

    Raises:
        MediaError: There is no chapter between the times.
    """
    if not job.by_chapter:
        return [(job.start_s, job.end_s, None)]
    found: list[Window] = []
    for chapter in facts.chapters:
        start_s = max(chapter.start_s, job.start_s or 0.0)
        end_s = min(chapter.end_s, math.inf if job.end_s is None else job.end_s)
        if end_s > start_s:
            found.append((start_s, end_s, chapter))
    if not found:
        raise MediaError(
            f"{job.source} has no chapter between the times that were named",
            hint=Advice.SHOW_TRACKS.with_(),
        )
    return found


def chapter_names(base: Wanted, windows: Sequence[Window]) -> Iterator[Wanted]:
    """The parts of the file name of each file of a track, from those of the whole."""
    for number, (_, _, chapter) in enumerate(windows, 1):
        if chapter is None:
            yield base
        else:
            yield replace(base, part=number, title=chapter.title or f"Chapter {number}")

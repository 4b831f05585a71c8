"""One extraction: takes the sound out of a file, copied or encoded; ``capture extract``.

``extract`` decides what is to be done, gives names, and reports; ``copy_track`` and ``transcode``
do it. Every file is written under a hidden name and appears whole; the source is only read. Of a
damaged source everything readable is taken, and the result has a warning for what is missing.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from capture.cautions import Caution
from capture.errors import ConfigError, DamagedFileError, MediaError
from capture.hints import Advice
from capture.media.extract.copy_container import CopyContainer
from capture.media.extract.copy_track import TrackCopy, copy_packets
from capture.media.extract.facts import (
    Facts,
    Track,
    Window,
    chapter_names,
    read_facts,
    whole_name,
    windows_of,
)
from capture.media.extract.packet_file import PacketFile
from capture.media.extract.targets import Outputs, plan_targets
from capture.media.formats import FORMATS, check_sound_spec, suffix_of
from capture.media.origin import identity_of, with_origin
from capture.media.output import as_output_error
from capture.media.read.sample_clock import SampleClock
from capture.media.read.tracks import Chapter, open_sound_file, rate_of, track_language, track_title
from capture.model.extraction import ExtractedPart, ExtractResult, Span
from capture.naming import part_path, publish
from capture.specs.extraction import ExtractJob
from capture.specs.voice import SoundFileSpec

_RANGE_LUFS = (-70.0, -5.0)
"""What FFmpeg's ``loudnorm`` brings sound to, too; below -70 nothing is measured (EBU R128)."""


def extract(job: ExtractJob) -> ExtractResult:
    """Take the sound out of one file.

    A copy does not look into packets: those that came whole but are damaged inside are copied as
    they are, and what no decoder can read stays so. Encoding counts them, and a warning has their
    number.

    Args:
        job: What, and how. Without a format the packets are copied as they are; a job that trims,
            splits, keeps speech only, changes loudness, rate or channels has to write them anew,
            then in the source's own format, or FLAC where that is not written here.

    Returns:
        The files and warnings; without any file where nothing was found
        that should be kept.

    Raises:
        ConfigError: The job contradicts itself.
        MediaError: The file has no such sound; as ``DamagedFileError``: it cannot be read.
        OutputError: A file exists already, is the source itself, or cannot be written.
    """
    check_job(job)
    is_copy = job.spec is None and not _changes(job)
    work = Outputs(job)
    try:
        with open_sound_file(job.source) as container:
            work.origin = identity_of(job.source)
            facts = read_facts(container, job)
            if is_copy:
                _copy(container, facts, work)
        # Decoding opens it again: the index of a long film is not held twice.
        for track in () if is_copy else facts.tracks:
            _transcode(track, facts, work)
        work.publish()
    finally:
        work.clean()
    parts = tuple(work.parts)
    if job.with_picture:
        for part in parts:
            draw_waveform(part.path, overwrite=job.overwrite)
    return ExtractResult(
        source=job.source,
        parts=parts,
        warnings=tuple(work.warnings),
        sound_s=work.sound_s,
        is_partial=work.is_partial,
    )


def expected_targets(job: ExtractJob) -> list[Path]:
    """The files that a job will make, from the headers of its source.

    Of a track that is split, only the first: how many there are is known when it has been heard.

    Raises:
        ConfigError: The job contradicts itself.
        MediaError: The file has no such sound; as ``DamagedFileError``: it cannot be read.
    """
    check_job(job)
    with open_sound_file(job.source) as container:
        facts = read_facts(container, job)
        windows = windows_of(facts, job)
        found = []
        for track in facts.tracks:
            base = whole_name(track, facts, job)
            names = [replace(base, part=1)] if job.is_split else [*chapter_names(base, windows)]
            found += plan_targets(job, names, _suffix(track, job))
        return found


def _suffix(track: Track, job: ExtractJob) -> str:
    """File name ending of a track's files, with the dot."""
    if job.spec is None and not _changes(job):
        return _copy_container(track, job).suffix
    from capture.media.extract.transcode import default_spec  # noqa: PLC0415 - copying does without

    return suffix_of(job.spec or _named_spec(job) or default_spec(track.codec))


def _copy_container(track: Track, job: ExtractJob) -> CopyContainer:
    """The container that a copy of a track goes to."""
    if track.copy_container is not None:
        return track.copy_container
    rate_of(track.stream, job.source)
    what = f"a copy of {track.codec} sound"
    if job.keep_offset and track.late_s > 0:
        what += " and keeps how late it begins"
    raise MediaError(f"no container here takes {what}", hint=Advice.ENCODE.with_(format="flac"))


def check_job(job: ExtractJob) -> None:
    """Refuse a job that contradicts itself, before anything is opened.

    Raises:
        ConfigError: It does.
    """
    if job.spec is not None:
        check_sound_spec(job.spec)
    _check_loudness(job.loudness_lufs)
    ways = [job.is_trim, job.is_split, job.is_speech_only, job.by_chapter]
    if job.by_chapter and sum(ways) > 1:
        raise ConfigError("a file cannot be cut both by its chapters and by its sound")
    if job.is_split and job.is_speech_only:
        raise ConfigError(
            "speech cannot be kept both in one file and in many",
            hint="splitting keeps nothing but speech anyway",
        )


def _check_loudness(wanted_lufs: float | None) -> None:
    low, high = _RANGE_LUFS
    if wanted_lufs is not None and not low <= wanted_lufs <= high:
        raise ConfigError(
            f"sound can't be brought to {wanted_lufs:g} LUFS",
            hint=f"between {low:g} and {high:g}; -16 is usual for speech, -23 for broadcasts",
        )


def _changes(job: ExtractJob) -> bool:
    """Whether the job changes samples, so that they cannot be copied."""
    is_cut = job.is_trim or job.is_split or job.is_speech_only
    return is_cut or job.is_mono or job.rate_hz is not None or job.loudness_lufs is not None


def _title(track: Track, chapter: Chapter | None) -> str | None:
    return chapter.title if chapter else track_title(track.stream)


def _tags(track: Track, chapter: Chapter | None, work: Outputs) -> dict[str, str]:
    title = {} if chapter is None or not chapter.title else {"title": chapter.title}
    return with_origin(track.tags | title, work.origin)


def _copy(container: Any, facts: Facts, work: Outputs) -> None:
    """Copy all tracks in one pass, packet by packet."""
    job = work.job
    windows = windows_of(facts, job)
    copies: list[tuple[Track, TrackCopy, list[Path]]] = []
    try:
        for track in facts.tracks:
            rate_hz = track.stream.codec_context.sample_rate
            is_late = job.keep_offset and track.late_s > 0
            copy_container = _copy_container(track, job)
            names = list(chapter_names(whole_name(track, facts, job), windows))
            targets = plan_targets(job, names, copy_container.suffix)
            hidden = work.begin(targets)
            files = [
                PacketFile(
                    path,
                    copy_container,
                    _tags(track, chapter, work),
                    track_language(track.stream),
                    start=None if start_s is None else round(start_s * rate_hz),
                    end=None if end_s is None else round(end_s * rate_hz),
                    origin=round((start_s or 0.0) * rate_hz) if is_late else None,
                    cover=facts.cover,
                )
                for path, (start_s, end_s, chapter) in zip(hidden, windows, strict=True)
            ]
            copies.append((track, TrackCopy(container, track.stream, files), targets))
        read_error = copy_packets(container, [copy for _, copy, _ in copies])
        for track, copy, targets in copies:
            copy.finish(job.source)
            named = list(zip(targets, windows, strict=True))
            _report_copy(track, copy, named, read_error, work)
    finally:
        for _, copy, _ in copies:
            for file in copy.files:
                file.abandon()


def _report_copy(
    track: Track,
    copy: TrackCopy,
    named: Sequence[tuple[Path, Window]],
    read_error: str | None,
    work: Outputs,
) -> None:
    rate_hz = copy.rate_hz
    _refuse_nothing(any(file.packets for file in copy.files), track, copy.clock, work)
    for file, (target, (_, _, chapter)) in zip(copy.files, named, strict=True):
        if not file.packets:
            work.warnings.append(Caution.EMPTY_LEFT_OUT.with_(name=target.name))
            continue
        lead = file.begins - (file.begins if file.origin is None else file.origin)
        span = Span(max(0, file.begins) / rate_hz, file.ends / rate_hz)
        length_s = (file.ends - file.begins + lead) / rate_hz
        codec, title = file.copy_container.codec, _title(track, chapter)
        work.add(ExtractedPart(target, span, length_s, codec, size_bytes=0, title=title))
        work.sound_s += (file.ends - file.begins) / rate_hz
    stated_s = track.stated_s if copy.is_at_end else None
    work.report(
        track.number,
        stated_s,
        copy.clock,
        copy.broken,
        read_error,
        is_incomplete=copy.is_incomplete,
    )
    work.warnings += copy.notes(track.number)


def _refuse_nothing(is_something: bool, track: Track, clock: SampleClock, work: Outputs) -> None:  # noqa: FBT001 - the condition itself
    """Raise with the reason why a track gave no file."""
    if is_something:
        return
    job = work.job
    if clock.position is not None and job.start_s is not None:
        raise MediaError(
            f"{job.source} has no sound between the times that were named",
            hint=f"sound track {track.number} ends at {clock.seconds:.3f} s",
        )
    raise DamagedFileError(
        f"the sound track of {job.source} is empty", hint="was it cut off while it was recorded?"
    )


def _transcode(track: Track, facts: Facts, work: Outputs) -> None:
    """Decode and encode one track."""
    from capture.media.extract.pieces import Piece, Stretch, TrackSource  # noqa: PLC0415 - as below
    from capture.media.extract.transcode import (  # noqa: PLC0415 - copying does without all that
        default_spec,
        find_spans,
        write_pieces,
    )
    from capture.media.layouts import file_layout  # noqa: PLC0415 - as below

    job = work.job
    spec = job.spec or _named_spec(job) or default_spec(track.codec)
    arrange = str if spec.messenger is None and spec.format == "wav" else file_layout
    source = TrackSource(job.source, track.number, keep_offset=job.keep_offset, arrange=arrange)
    base = whole_name(track, facts, job)
    windows = windows_of(facts, job)
    names = list(chapter_names(base, windows))
    stretches: list[tuple[Stretch, ...]]
    stretches = [((start_s or 0.0, end_s),) for start_s, end_s, _ in windows]
    if job.is_trim or job.is_split or job.is_speech_only:
        found = find_spans(source, (job.start_s, job.end_s), job)
        if not found:
            is_any = job.is_trim or (job.gate is not None and job.gate.is_any_sound)
            what = "sound" if is_any and not job.is_speech_only else "speech"
            work.warnings.append(Caution.NOTHING_FOUND.with_(what=what, track=track.number))
            return
        stretches = [(one,) for one in found] if job.is_split else [tuple(found)]
        windows = [(None, None, None)] * len(stretches)
        numbers = range(1, len(found) + 1)
        names = [replace(base, part=number) for number in numbers] if job.is_split else [base]
    targets = plan_targets(job, names, suffix_of(spec))
    hidden = work.begin(targets)
    language = track_language(track.stream)
    pieces = [
        Piece(
            path,
            stretch,
            _tags(track, chapter, work) | ({"language": language} if language else {}),
            facts.cover,
        )
        for path, stretch, (_, _, chapter) in zip(hidden, stretches, windows, strict=True)
    ]
    done = write_pieces(source, pieces, spec, job, work.warnings)
    reader = source.farthest
    assert reader is not None, "it was read"
    _refuse_nothing(any(piece.length_s for piece in done), track, reader.clock, work)
    for piece, target, (_, _, chapter) in zip(done, targets, windows, strict=True):
        span = Span(piece.begins_s, piece.ends_s)
        codec, title = _codec_written(spec), _title(track, chapter)
        work.add(ExtractedPart(target, span, piece.length_s, codec, size_bytes=0, title=title))
    work.sound_s += reader.clock.seconds - reader.heard / reader.rate_hz
    stated_s = track.stated_s if reader.is_at_end else None
    work.report(track.number, stated_s, reader.clock, reader.broken, reader.read_error)
    if reader.changes:
        times = "once" if reader.changes == 1 else f"{reader.changes} times"
        work.warnings.append(Caution.FORM_CHANGES.with_(track=track.number, times=times))


def _codec_written(spec: SoundFileSpec) -> str:
    if spec.messenger:
        return "opus"
    codec = FORMATS[spec.format].codec
    return {"libopus": "opus", "libmp3lame": "mp3"}.get(codec, codec)


def _named_spec(job: ExtractJob) -> SoundFileSpec | None:
    """The format that the ending of a named file asks for."""
    ending = job.target.suffix.lower() if job.is_target_file else None
    named = (name for name, form in FORMATS.items() if form.suffix == ending)
    return next((SoundFileSpec(name, "high") for name in named), None)


def draw_waveform(path: Path, *, overwrite: bool = False) -> Path:
    """Draw the waveform of a file as a picture beside it.

    Raises:
        OutputError: It exists already, or cannot be written.
    """
    from capture.media.read.sound_reader import SoundReader  # noqa: PLC0415 - only with a picture
    from capture.media.write.waveform import Peaks, bar_count, save_waveform  # noqa: PLC0415 - the same

    target = path.with_suffix(".png")
    peaks = Peaks(bar_count())
    with open_sound_file(path) as container:
        reader = SoundReader(container, container.streams.audio[0], path, "s16", is_mono=True)
        for _, samples in reader.blocks():
            peaks.add(samples)
    hidden = part_path(target)
    try:
        save_waveform(hidden, peaks.take(), duration_s=peaks.frames / reader.rate_hz)
        with as_output_error(target):
            return publish(hidden, target, overwrite=overwrite)
    finally:
        hidden.unlink(missing_ok=True)

"""``capture extract``: options into jobs, jobs into a batch, a batch onto the terminal."""

import contextlib
import dataclasses
import os
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from capture.batch.executors import Cluster, Workers, usable_processors
from capture.batch.extraction import extract_file, wait_for_disk
from capture.batch.inputs import SOUND_ENDINGS, check_file, find_inputs, is_folder
from capture.batch.names import SOUND_FORMATS, is_own_result, name_job, name_jobs
from capture.batch.run import BatchReport, JobError, JobResult, error_of, run_batch
from capture.cli.app import say
from capture.cli.extract_views import BatchView, Tally, choose_batch_view, show_failures
from capture.cli.signals import StopSignals
from capture.cli.streams import detached_output
from capture.cli.values import Duration
from capture.clock import now_ns
from capture.errors import CaptureError, ConfigError
from capture.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_SOME_FAILED
from capture.memory import return_large_blocks
from capture.messages.extracted import record_extracted
from capture.model.extraction import ExtractedPart, ExtractResult
from capture.naming import clear_parts
from capture.specs.extraction import ExtractJob
from capture.specs.voice import GateSpec, SoundFileSpec
from capture.units import NS_PER_S

__all__ = ["extract"]

DEFAULT_LUFS = -16.0
"""Of ``--normalize`` without a number: what podcasts and messengers are usually made for."""


def extract(
    *inputs: Path,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    recursive: Annotated[bool, Parameter(alias="-r", negative="")] = False,
    format: Literal["copy", "opus", "m4a", "mp3", "flac", "wav", "ogg"] | None = None,  # noqa: A002 - the option's name
    quality: Literal["low", "medium", "high"] = "medium",
    rate: int | None = None,
    mono: Annotated[bool, Parameter(negative="")] = False,
    track: str = "1",
    start: Duration = None,
    end: Duration = None,
    trim: Annotated[bool, Parameter(negative="")] = False,
    split: Annotated[bool, Parameter(negative="")] = False,
    speech: Annotated[bool, Parameter(negative="")] = False,
    any_sound: Annotated[bool, Parameter(negative="")] = False,
    threshold: float | None = None,
    hold: Duration = None,
    normalize: Annotated[
        tuple[float, ...] | None, Parameter(negative="", consume_multiple=(0, 1), metavar="LUFS")
    ] = None,
    messenger: Annotated[
        Literal["whatsapp", "telegram"] | None, Parameter(name="--for", negative="")
    ] = None,
    picture: Annotated[bool, Parameter(negative="")] = False,
    chapters: Annotated[bool, Parameter(negative="")] = False,
    keep_offset: Annotated[bool, Parameter(negative="")] = False,
    library: bool | None = None,
    jobs: int | None = None,
    cluster: str | None = None,
    force: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(alias="-q", negative="")] = False,
) -> int:
    """Take the sound out of films, or out of sound files; as it is, unless told otherwise.

    The path of every new file is printed on stdout. What has been extracted before is not done
    again; the names say what was done. Exit code 1: a single file failed; 2: it is not there; 3:
    some of several failed, or could be had only in part.

    Args:
        inputs: Files, folders, or patterns in quotes.
        output: A folder; for one file also the new file's name. By default beside each file.
        recursive: Look into folders of folders; the results keep their order below --output.
        format: copy keeps the sound bit for bit; the others encode it anew. By default copy, or
            what the ending of --output needs.
        quality: Of opus, m4a, mp3 and ogg.
        rate: Samples per second, in Hz.
        mono: Mix all channels into one.
        track: Number from 1, all, or a language such as eng.
        start: Leave out what comes before this time.
        end: Leave out what comes after this time.
        trim: Leave out silence at both ends.
        split: A file for every message: speech between two pauses.
        speech: Keep speech only, in one file.
        any_sound: With --split, all sound between two pauses, not only speech.
        threshold: What is below this level is silence, in dBFS; by default learnt from the file.
        hold: How long a pause inside a message may be.
        normalize: Bring the loudness to this many LUFS; -16 without a number.
        messenger: Write it as whatsapp or telegram writes its voice messages.
        picture: Also a picture of the waveform, as PNG.
        chapters: A file for every chapter.
        keep_offset: A track that begins late begins as late in its file, after silence.
        library: Remember the new files, for `capture messages`; by default with --split, but not
            with --any-sound.
        jobs: How many files at a time; by default one for every processor.
        cluster: Address of a Dask scheduler whose workers do it; they must see the same files.
        force: Also what has been extracted before; replaces it.
        json: Events on stdout, one JSON object a line; the last one is the summary.
        quiet: Say nothing but errors.
    """
    if not inputs:
        raise ConfigError("no file to extract from", hint="name files or folders")
    if jobs is not None and jobs < 1:
        raise ConfigError(f"--jobs {jobs}: at least one", hint="leave it out to use all processors")
    if messenger and format:
        raise ConfigError("--for has a format of its own", hint="leave --format out")
    is_one = len(inputs) == 1 and not is_folder(inputs[0])
    folder = None if output is None else _folder_of(output)
    found = find_inputs(inputs, is_recursive=recursive, leave_out=folder)
    is_one = is_one and len(found) == 1
    if is_one:
        check_file(found[0].path)
    _check_output(output)
    is_encoded = messenger is not None or format not in {None, "copy"}
    template = ExtractJob(
        source=Path(),
        target=Path(),
        spec=SoundFileSpec(format or "opus", quality, messenger) if is_encoded else None,
        track=track,
        start_s=start,
        end_s=end,
        rate_hz=rate,
        is_mono=mono,
        gate=_gate(threshold, hold, is_any_sound=any_sound),
        is_trim=trim,
        is_split=split,
        is_speech_only=speech,
        loudness_lufs=None if normalize is None else (*normalize, DEFAULT_LUFS)[0],
        keep_offset=keep_offset,
        by_chapter=chapters,
        with_picture=picture,
        overwrite=force,
        library=split and not any_sound if library is None else library,
    )
    if is_one and cluster is None:
        fallback = quality if format is None else None
        job = name_job(template, found[0].path.absolute(), output, fallback=fallback)
        return _extract_one(job, is_json=json, is_quiet=quiet)
    if output is not None and (output.is_file() or _is_file_name(output)):
        raise ConfigError(f"{output} is no folder", hint="several files need a folder")
    named = (
        found if output is not None else [one for one in found if not is_own_result(one, template)]
    )
    left_alone, found = len(found) - len(named), named
    tally = Tally(len(found))
    with detached_output():
        view = choose_batch_view(tally, is_json=json, is_quiet=quiet)
        if not found:
            view.note("there is no film and no sound file to extract from")
        if left_alone:
            view.note(
                f"{left_alone} sound files are left alone: name a folder for theirs with --output"
            )
        batch = name_jobs(found, template, output, view.note)
        return _extract_many(
            batch, tally, view, lambda: Cluster(cluster) if cluster else _workers(jobs, len(found))
        )


def _is_file_name(output: Path) -> bool:
    return output.suffix.lower() in SOUND_ENDINGS and not output.is_dir()


def _check_output(output: Path | None) -> None:
    """Refuse a name that is meant for a file, but for no sound file."""
    if output is None or output.is_dir() or _is_file_name(output):
        return
    if not _ENDING.fullmatch(output.suffix):
        return
    endings = ", ".join(f".{name}" for name in sorted(SOUND_FORMATS))
    raise ConfigError(
        f"{output}: no sound file ends in {output.suffix}",
        hint=f"there are {endings}; a folder of that name has to be there before",
    )


def _folder_of(output: Path) -> Path:
    return Path(os.path.realpath(output))


def _gate(threshold: float | None, hold: float | None, *, is_any_sound: bool) -> GateSpec | None:
    gate = GateSpec(threshold_dbfs=threshold, is_any_sound=is_any_sound)
    gate = gate if hold is None else dataclasses.replace(gate, hold_s=hold)
    return None if gate == GateSpec() else gate


# ------------------------------------------------------------------------------------- one file


_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}")
"""What looks like the ending of a file, not like a date or a sentence in a folder's name."""


def _extract_one(job: ExtractJob, *, is_json: bool, is_quiet: bool) -> int:
    """Here and now: a pool of processes would take longer than most files."""
    return_large_blocks()
    _clear([job])
    makes_folder = not (job.is_target_file or job.target.exists())
    begun_ns = now_ns()
    error: CaptureError | None = None
    result: ExtractResult | None = None
    try:
        result = record_extracted(job, extract_file(job))
    except CaptureError as failure:
        error = failure
    if is_json:
        job_error = None if error is None else error_of(error)
        elapsed_s = (now_ns() - begun_ns) / NS_PER_S
        tally = Tally(1)
        view = choose_batch_view(tally, is_json=True, is_quiet=is_quiet)
        _account(JobResult(job, result, job_error, elapsed_s), tally, view)
        view.finish(BatchReport(tally.done, len(tally.failed), elapsed_s))
    if error is not None:
        raise error
    assert result is not None
    wait_for_disk(result.parts)
    if not is_json:
        if not is_quiet:
            if makes_folder and result.parts:
                say(f"made folder {job.target}")
            _tell(result, is_cut=_is_cut(job))
        for part in result.parts:
            print(part.path, flush=True)  # noqa: T201
    return EXIT_FAILED if result.is_partial else 0


def _is_cut(job: ExtractJob) -> bool:
    """Whether parts of the source are taken, so that it matters which."""
    asked = (job.start_s is not None, job.end_s is not None)
    return any((*asked, job.is_split, job.is_trim, job.by_chapter))


def _tell(result: ExtractResult, *, is_cut: bool) -> None:
    for warning in result.warnings:
        say(f"warning: {warning}")
    if result.is_skipped:
        say("already extracted; --force does it again")
    elif is_cut or len(result.parts) > 1:
        for part in result.parts:
            title = f" {part.title}" if part.title else ""
            say(f"{part.span.start_s:9.3f} to {part.span.end_s:9.3f} s{title}: {part.path.name}")


# --------------------------------------------------------------------------------- several files


def _workers(jobs: int | None, files: int) -> Workers:
    return Workers(min(jobs or usable_processors(), max(1, files)), ("capture.media.extract.job",))


def _extract_many(
    jobs: Sequence[ExtractJob], tally: Tally, view: BatchView, open_executor: Callable[[], Executor]
) -> int:
    stop = threading.Event()
    misuse: list[JobError] = []
    written: list[ExtractedPart] = []

    def on_result(result: JobResult[ExtractJob, ExtractResult]) -> None:
        if result.error is not None and result.error.kind == ConfigError.__name__:
            misuse.append(result.error)  # what contradicts itself does so for every file
            stop.set()
        else:
            value = None if result.value is None else record_extracted(result.job, result.value)
            if value is not None and not value.is_skipped:
                written.extend(value.parts)
            _account(dataclasses.replace(result, value=value), tally, view)

    with contextlib.ExitStack() as stack:
        executor = stack.enter_context(open_executor())
        is_ours = isinstance(executor, Workers)  # elsewhere the process of a part cannot be seen
        if is_ours:
            _clear(jobs)
        signals = stack.enter_context(StopSignals(raises_again=True))
        signals.attach(lambda _reason: stop.set())
        stack.enter_context(view)
        report = run_batch(
            jobs,
            extract_file,
            executor,
            on_result=on_result,
            on_poll=view.poll,
            on_loss=_clear if is_ours else lambda _: None,
            stop=stop,
        )
    wait_for_disk(written)  # once: file by file would take twice as long
    if misuse:
        raise ConfigError(misuse[0].message, hint=misuse[0].hint)
    view.finish(report)
    if tally.failed and not view.is_machine_read:
        show_failures(tally.failed)
    if report.is_stopped:
        return EXIT_INTERRUPTED
    if not tally.failed:
        return 0
    return EXIT_SOME_FAILED if tally.done or tally.skipped else EXIT_FAILED


def _account(result: JobResult[ExtractJob, ExtractResult], tally: Tally, view: BatchView) -> None:
    tally.ended += 1
    source = result.job.source
    if result.value is None:
        assert result.error is not None
        tally.failed.append((source, result.error))
        view.on_failed(source, result.error)
        return
    # Done by a process that died before it could tell: ours all the same.
    if result.value.is_skipped and not result.is_again:
        tally.skipped += 1
    else:
        tally.done += 1
    tally.sound_s += result.value.sound_s
    view.on_done(result.value)
    if result.value.is_partial:
        error = JobError(
            "DamagedFileError",
            f"only a part of it could be had: {'; '.join(result.value.warnings)}",
            "what there is has been kept",
        )
        tally.failed.append((source, error))
        view.on_failed(source, error)


def _clear(jobs: Iterable[ExtractJob]) -> None:
    """Remove what was begun and will never be finished."""
    for folder in {job.target.parent if job.is_target_file else job.target for job in jobs}:
        clear_parts(folder)

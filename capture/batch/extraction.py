"""The work of a batch that takes sound out of files."""

from collections.abc import Iterable
from dataclasses import replace

from capture.cautions import Caution
from capture.model.extraction import ExtractedPart, ExtractResult, Span
from capture.specs.extraction import ExtractJob


def extract_file(job: ExtractJob) -> ExtractResult:
    """Work: the sound out of one file, unless it has been taken out before, just so.

    Raises:
        CaptureError: As ``capture.media.extract.job.extract``.
    """
    from capture.media.extract.extracted import choose_name  # noqa: PLC0415 - the same
    from capture.media.extract.job import draw_waveform, extract  # noqa: PLC0415 - for workers only

    settled, there = choose_name(job)
    if not there:
        return _noted(extract(settled), job, settled)
    if job.with_picture:
        for path in there:
            if not path.with_suffix(".png").exists():
                draw_waveform(path)
    nowhere = Span(0.0, 0.0)
    parts = [ExtractedPart(path, nowhere, 0.0, "", path.stat().st_size) for path in there]
    return ExtractResult(job.source, tuple(parts), (), 0.0, is_skipped=True)


def wait_for_disk(parts: Iterable[ExtractedPart]) -> None:
    """Wait until the disk has the files of a batch and their names, so that a power cut takes none.

    Raises:
        OutputError: The disk reports an error.
    """
    from capture.media.output import sync_all  # noqa: PLC0415 - av, loaded by now

    sync_all(parts)


def _noted(result: ExtractResult, asked: ExtractJob, done: ExtractJob) -> ExtractResult:
    """The result, with a warning where the name is not the one that the job asked for."""
    if done.number == asked.number or not result.parts:
        return result
    name = result.parts[0].path.name
    note = Caution.NAME_TAKEN.with_(name=name)
    return replace(result, warnings=(note, *result.warnings))

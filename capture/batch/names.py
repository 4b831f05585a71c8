"""Makes the jobs of a batch, no two with the same names, and the job of a single file."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from capture.batch.inputs import SOUND_ENDINGS, Input
from capture.errors import CaptureError, ConfigError
from capture.media.formats import FORMATS, suffix_of
from capture.specs.extraction import ExtractJob
from capture.specs.voice import SoundFileSpec

SOUND_FORMATS = frozenset(FORMATS)
"""Which sound can be encoded in; each is also the ending of its files."""


def name_job(
    template: ExtractJob, source: Path, output: Path | None, *, fallback: str | None
) -> ExtractJob:
    """The job of a single file, whose output may be a folder or the very file.

    Args:
        template: What is to be done.
        source: The file, with its whole path.
        output: Where the result goes; ``None``: beside the source.
        fallback: The quality with which sound is encoded where a copy does not fit into the output;
            ``None``: it is not.
    """
    job = dataclasses.replace(template, source=source, target=source.parent)
    if output is None:
        return job
    output = output.absolute()
    if output.is_dir() or output.suffix.lower() not in SOUND_ENDINGS:
        return dataclasses.replace(job, target=output)
    job = dataclasses.replace(job, target=output, is_target_file=True)
    wanted = output.suffix[1:].lower()
    if job.spec is None and fallback is not None and wanted in SOUND_FORMATS:
        from capture.media.extract.job import expected_targets  # noqa: PLC0415 - av is slow to load

        try:
            expected_targets(job)
        except ConfigError:
            job = dataclasses.replace(job, spec=SoundFileSpec(wanted, fallback))
    return job


def is_own_result(one: Input, template: ExtractJob) -> bool:
    """Whether a file that was found in a folder would become itself, beside itself."""
    if one.below is None:
        return False
    ending = one.path.suffix.lower()
    if template.spec is None:
        return ending in SOUND_ENDINGS
    return ending == suffix_of(template.spec)


def name_jobs(
    inputs: Sequence[Input], template: ExtractJob, output: Path | None, note: Callable[[str], None]
) -> list[ExtractJob]:
    """A job for every file; where two would be given the same name, the second gets a number.

    Which number does not change when they are named again: who has a file already keeps its name.

    Args:
        inputs: The files.
        template: What is to be done with each.
        output: The folder of the results; ``None``: each beside its source.
        note: Takes a sentence about every file that gets a number.
    """
    jobs = [
        dataclasses.replace(template, source=one.path.absolute(), target=_folder(one, output))
        for one in inputs
    ]
    names = [_name(job) for job in jobs]
    counts: dict[tuple[Path, str], int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    numbers = _Numbers(frozenset(counts), note)
    return [
        numbers.give(job) if counts[name] > 1 else job
        for job, name in zip(jobs, names, strict=True)
    ]


def _folder(one: Input, output: Path | None) -> Path:
    return one.path.absolute().parent if output is None else output.absolute() / (one.below or "")


def _name(job: ExtractJob) -> tuple[Path, str]:
    """The path of a job's results as a file system compares it that ignores case."""
    from capture.media.extract.targets import name_in_folder  # noqa: PLC0415 - av is slow to load

    return job.target, name_in_folder(job, "").casefold()


def _folded(paths: Iterable[Path]) -> list[str]:
    return [str(path).casefold() for path in paths]


class _Numbers:
    """Gives numbers to jobs that would have the same names.

    Args:
        names: Of all jobs of the batch; a number does not make one of them.
        note: Takes a sentence about every job that gets a number.
    """

    def __init__(self, names: frozenset[tuple[Path, str]], note: Callable[[str], None]) -> None:
        self._names = names
        self._note = note
        self._claimed: set[str] = set()
        self._next: dict[str, int] = {}
        """By the name without a number: all below are taken, but for those passed over."""
        self._passed: dict[str, list[int]] = {}
        """Names of another source that is still to come, perhaps."""

    def give(self, job: ExtractJob) -> ExtractJob:
        """The job with names that no other job has, nor the file of another source."""
        from capture.media.extract.extracted import has_name_of_another  # noqa: PLC0415 - the same
        from capture.media.extract.job import expected_targets  # noqa: PLC0415 - av is slow to load

        try:
            wished = _folded(expected_targets(job))[0]
            passed = self._passed.setdefault(wished, [])
            tried = [*passed]
            while True:
                number = tried.pop(0) if tried else self._next.setdefault(wished, 1)
                named = dataclasses.replace(job, number=number)
                targets = expected_targets(named)
                is_new = number == self._next[wished]
                self._next[wished] += is_new
                if self._claimed.intersection(_folded(targets)) or (
                    number > 1 and _name(named) in self._names
                ):
                    continue
                if not has_name_of_another(named):
                    break
                if is_new:
                    passed.append(number)
        except CaptureError:
            return job  # the job itself reports the error
        if number in passed:
            passed.remove(number)
        self._claimed.update(_folded(targets))
        if number > 1:
            self._note(f"{job.source} becomes {targets[0].name}: another file has its name")
        return named

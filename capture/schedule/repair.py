"""Recovers the files of a recorder that was killed."""

from dataclasses import replace
from pathlib import Path

from capture.errors import CaptureError
from capture.journal import find_orphans, is_message
from capture.schedule.child import Outcome
from capture.schedule.jobs import Run, Status


def repaired(run: Run, outcome: Outcome) -> Outcome:
    """The outcome of a run after recovery; unchanged where its recorder had ended in order."""
    if outcome.has_result or run.output is None:
        return outcome
    output = Path(run.output)
    is_folder = output.is_dir()  # of voice, which names its files itself
    paths, findings, length_s = list(outcome.paths), list(outcome.findings), 0.0
    for orphan in find_orphans(output if is_folder else output.parent)[0]:
        if not is_folder and not orphan.name.startswith(output.stem):
            continue
        try:
            found, found_s, warnings = _recover(orphan)
        except CaptureError as error:
            findings.append(str(error))
            continue
        paths += found
        length_s += found_s
        findings += warnings
    if not paths:
        return outcome
    return replace(
        outcome,
        status=Status.RECOVERED,
        paths=tuple(paths),
        size_bytes=sum(path.stat().st_size for path in paths if path.exists()),
        length_s=length_s,
        findings=tuple(findings),
        message=f"the recorder was killed; {length_s:.1f} s were recovered",
    )


def _recover(orphan: Path) -> tuple[list[Path], float, tuple[str, ...]]:
    """Recover files; gives their new paths, their length in seconds, and warnings."""
    if is_message(orphan):
        from capture.voice import recover_message  # noqa: PLC0415 - loads the speech model

        messages = recover_message(orphan)
        length_s = sum(message.length_s for message in messages)
        warnings = tuple(warning for message in messages for warning in message.warnings)
        return [message.path for message in messages], length_s, warnings
    from capture.media.check.recover import recover  # noqa: PLC0415 - loads av

    done = recover(orphan, in_place=True)
    return [done.path], done.tracks.length_s, done.warnings

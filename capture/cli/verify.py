"""``capture verify``: is a recording whole and in step, and does it hold what it says?"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from capture.batch.inputs import check_file
from capture.cli.app import print_error
from capture.cli.views import print_json, table_of
from capture.errors import CaptureError, ConfigError, DamagedFileError
from capture.exit_codes import EXIT_FAILED, EXIT_USAGE
from capture.units import format_dbfs

if TYPE_CHECKING:
    from capture import TrackMeasure, VerifyReport

__all__ = ["verify"]


def verify(
    file: Path, /, *files: Path, json: Annotated[bool, Parameter(negative="")] = False
) -> int:
    """Measure recordings again: is all of it there, in step, as its recorder says?

    Files of other recorders are measured as well; they carry no certificate to compare with.
    Exit code 1: something is damaged or disagrees; 2: there is no such file.

    Args:
        file: A film or a sound file.
        files: More of them.
        json: One JSON object a file, on stdout.
    """
    codes = {_verify_one(path, as_json=json) for path in (file, *files)}
    return EXIT_FAILED if EXIT_FAILED in codes else max(codes)


def _verify_one(path: Path, *, as_json: bool) -> int:
    from capture import verify as verify_file  # noqa: PLC0415 - av is slow to load

    try:
        check_file(path)
        _check_readable(path)
        report = verify_file(path)
    except CaptureError as error:
        print_error(error.message, error.hint)
        if as_json:
            print_json({"path": path, "error": error.message})
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        _show(report)
    return EXIT_FAILED if report.faults else 0


def _check_readable(path: Path) -> None:
    """Whether there is something in the file.

    Raises:
        DamagedFileError: It is empty, or may not be read.
    """
    try:
        with path.open("rb") as file:
            is_empty = not file.read(1)
    except OSError as error:
        raise DamagedFileError(
            f"{path} cannot be read: {error.strerror}", hint="check its permissions"
        ) from error
    if is_empty:
        raise DamagedFileError(f"{path} is empty", hint="nothing was recorded into it")


def _show(report: VerifyReport) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    certificate = report.certificate
    origin = "no certificate"
    if certificate is None and report.written_by is not None:
        origin = f"a message or an extract, written by {report.written_by}"
    elif certificate is not None:
        origin = f"recorded by capture {certificate.get('capture', '')}".rstrip()
    # A path or a sentence is not broken into lines: the terminal does that, and scripts read it.
    console.print(f"{report.path}: {origin}", style="bold", markup=False, soft_wrap=True)
    if report.tracks:
        console.print(_tracks(report.tracks))
    for finding in report.findings:
        place = [] if finding.track is None else [finding.track]
        place += [] if finding.at_s is None else [f"at {finding.at_s:.2f} s"]
        where = f"{' '.join(place)}: " if place else ""
        style = "red" if finding.severity == "fault" else None
        line = f"{finding.severity}: {where}{finding.message}"
        console.print(line, style=style, markup=False, soft_wrap=True)
    console.print("faulty" if report.faults else "fine", style="bold")


def _tracks(tracks: tuple[TrackMeasure, ...]) -> Table:
    table = table_of(
        "track", "codec", "starts", "ends", "loudest", "silent", "black", "longest gap"
    )
    for track in tracks:
        is_sound = track.kind == "audio"
        gaps = track.holes if is_sound else (track.largest_gap,)
        longest_s = max((end - start for start, end in gaps), default=0.0)
        silent_s = sum(quiet.length_s for quiet in track.silent)
        black_s = sum(end - start for start, end in track.black)
        table.add_row(
            track.name,
            track.codec,
            f"{track.start_s:.3f} s",
            f"{track.end_s:.3f} s",
            format_dbfs(track.peak_dbfs) if track.peak_dbfs is not None else "",
            f"{silent_s:.1f} s" if is_sound else "",
            "" if is_sound else f"{black_s:.1f} s",
            f"{longest_s:.3f} s",
        )
    return table

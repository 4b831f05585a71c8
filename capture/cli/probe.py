"""``capture probe``: what is in a file, from its header; with its loudness, from its sound."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from capture.batch.inputs import check_file
from capture.cli.app import print_error
from capture.cli.hints import in_options
from capture.cli.views import print_json, table_of
from capture.errors import CaptureError, ConfigError
from capture.exit_codes import EXIT_FAILED, EXIT_USAGE
from capture.units import format_clock, format_size

if TYPE_CHECKING:
    from capture import Probe, ProbedTrack

__all__ = ["probe"]

_WIDEST = 500
"""Columns; more than any table here has."""


def probe(
    file: Path,
    /,
    *files: Path,
    loudness: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Say what is in media files: tracks, codecs, lengths, languages, late beginnings, chapters.

    Exit code 1: one of them cannot be read; 2: there is no such file.

    Args:
        file: A film or a sound file.
        files: More of them.
        loudness: Measure how loud each sound track is; it has to be decoded for that.
        json: One JSON object a file, on stdout.
    """
    from capture import probe as probe_file  # noqa: PLC0415 - av is slow to load

    codes = {0}
    for path in (file, *files):
        try:
            check_file(path)
            found = probe_file(path, with_loudness=loudness)
        except CaptureError as error:
            codes.add(EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED)
            print_error(error.message, error.hint)
            if json:
                print_json({"path": path, "error": error.message, "hint": in_options(error.hint)})
            continue
        if json:
            print_json(dataclasses.asdict(found))
        else:
            _show(found)
    return EXIT_FAILED if EXIT_FAILED in codes else max(codes)


def _show(found: Probe) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to load

    console = Console(highlight=False, markup=False, emoji=False)
    facts = [found.container.partition(",")[0]]
    facts += [_length(found.duration_s)] if found.duration_s is not None else []
    facts.append(format_size(found.size_bytes))
    # A path is not broken into lines: the terminal does that, and scripts read it.
    line = f"{found.path}: {', '.join(facts)}"
    console.print(line, style="bold", markup=False, soft_wrap=True)
    table = _tracks(found)
    # Nor are its numbers: a table that is too wide is left to the terminal as well.
    wide = console.options.update(width=_WIDEST)
    console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(table)
    for track in found.tracks:
        if track.title:
            line = f"  {_name(track)} is called {track.title}"
            console.print(line, markup=False, soft_wrap=True)
    for number, chapter in enumerate(found.chapters, 1):
        title = chapter.title or f"chapter {number}"
        line = f"  {format_clock(chapter.start_s)} to {format_clock(chapter.end_s)}  {title}"
        console.print(line, markup=False, soft_wrap=True)


def _tracks(found: Probe) -> Table:
    from rich.text import Text  # noqa: PLC0415 - slow to load

    lines = [_line(track) for track in found.tracks]
    # Only what one of them has something to say about.
    heads = [head for head in (lines[0] if lines else {}) if any(line[head] for line in lines)]
    table = table_of(*heads)
    for column in table.columns:
        column.no_wrap = True
    for line in lines:
        table.add_row(*(Text(line[head]) for head in heads))
    return table


def _line(track: ProbedTrack) -> dict[str, str]:
    loudness = track.loudness
    integrated = loudness.integrated_lufs if loudness else None
    peak = loudness.true_peak_dbtp if loudness else None
    return {
        "track": _name(track),
        "codec": track.codec,
        "what": _what(track),
        "language": track.language or "",
        "starts": f"{track.start_s:.3f}" if track.start_s else "",
        "length": _length(track.duration_s) if track.duration_s is not None else "",
        "kbit/s": f"{track.bit_rate / 1000:.0f}" if track.bit_rate else "",
        "LUFS": f"{integrated:.1f}" if integrated is not None else "silent" if loudness else "",
        "dBTP": f"{peak:.1f}" if peak is not None else "",
    }


def _name(track: ProbedTrack) -> str:
    return f"{'sound' if track.kind == 'audio' else track.kind} {track.number}"


def _what(track: ProbedTrack) -> str:
    if track.kind == "video":
        size = f"{track.width_px}x{track.height_px}" if track.width_px else ""
        return f"{size} {track.fps:.4g} pictures/s".lstrip() if track.fps else size
    if track.kind == "audio" and track.rate_hz:
        return f"{track.rate_hz} Hz {track.layout or _channels(track.channels)}".rstrip()
    return ""


def _channels(count: int | None) -> str:
    return {None: "", 1: "mono", 2: "stereo"}.get(count, f"{count} channels")


def _length(seconds: float) -> str:
    return f"{format_clock(seconds)}.{int(seconds * 1000) % 1000:03d}"

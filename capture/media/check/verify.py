"""Verifies a recording: measures the file and compares it with its certificate.

A *fault* is damage, or a difference between the file and its certificate. A *note* is worth
knowing, but may well be what was recorded: long silence, a black film, dropped pictures.
"""

import enum
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from capture.errors import DamagedFileError
from capture.levels import gain_of
from capture.media.certificate import Certificate, CertifiedTrack, parse
from capture.media.check.measure import FileMeasure, TrackMeasure, measure_file
from capture.media.read.convert import SoundForm
from capture.media.read.incomplete import top_boxes

__all__ = ["Finding", "Severity", "VerifyReport", "verify"]

TOLERANCE_S = 0.02
LONG_S = 5.0
"""Silence or black for so long is worth a note."""
LONG_GAP_S = 2.0
"""Between two pictures; even a still screen gives some every second."""
UNEQUAL_S = 0.1
"""Tracks of other recorders that end so far apart are worth a note."""
LATE_S = 0.045
"""Sound so far behind its picture is seen (ATSC IS-191)."""
QUIET_EDGE_S = 0.05
"""A lossy codec may move the edges of a silence so far."""
SUDDEN_DBFS = -30.0
"""Sound as loud as this right beside silence was cut off: nothing fades like that."""
CODEC_FRAME_MAX_S = 0.03
"""Length that an encoder may add to fill its last packet, or at the beginning."""
COMMON_SHIFT_S = 0.005
"""Tracks that move together do so to the tick of their container; this is more than any has."""


class Severity(enum.StrEnum):
    """Fault or note; see the module."""

    FAULT = "fault"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault or note, with its track and its time."""

    severity: Severity
    message: str
    """One sentence, without a full stop."""
    track: str | None = None
    """Name of the track; ``None`` for the whole file."""
    at_s: float | None = None
    """Time in the file; ``None`` where there is none."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The findings of one file, with the measures and the certificate that they come from."""

    path: Path
    format: str
    tracks: tuple[TrackMeasure, ...]
    findings: tuple[Finding, ...]
    certificate: Mapping[str, Any] | None
    """The facts in the file; empty if its recorder was killed, ``None`` if there are none."""
    written_by: str | None = None
    """``capture`` and its version for a sound file of ours that has no certificate."""
    faults: int = field(init=False)

    def __post_init__(self) -> None:
        faults = sum(finding.severity is Severity.FAULT for finding in self.findings)
        object.__setattr__(self, "faults", faults)


def verify(path: str | os.PathLike[str]) -> VerifyReport:
    """Decode a whole file, measure it, and compare it with its certificate if it carries one.

    Works on files of any recorder.

    Raises:
        DamagedFileError: It is no media file, or nothing in it can be decoded.
    """
    path = Path(path)
    missing_bytes = _missing_bytes(path)
    try:
        measure = measure_file(path)
    except DamagedFileError:
        if missing_bytes is None:
            raise
        return VerifyReport(path, "mp4", (), (_cut_short(missing_bytes),), None)
    certificate = next(filter(None, map(parse, measure.comments)), None)
    findings = list(_check_file(measure, missing_bytes))
    for track in measure.tracks:
        findings += [*_check_track(track), *_check_form(track)]
    if certificate is None:
        if measure.written_by is None:
            findings.append(
                Finding(Severity.NOTE, "the file has no certificate to compare it with")
            )
        findings += _check_other(measure)
    elif not certificate.is_finished:
        findings = [_as_note(finding, measure) for finding in findings]
        message = "the recording was not finished; its last second or so may be missing"
        findings.append(Finding(Severity.NOTE, message))
    else:
        findings += _compare(measure, certificate)
        findings += _recorded_losses(certificate.facts)
    findings.sort(key=lambda finding: (finding.severity, finding.at_s or 0.0))
    facts = None if certificate is None else certificate.facts
    return VerifyReport(
        path, measure.format, measure.tracks, tuple(findings), facts, measure.written_by
    )


# ------------------------------------------------------------------------------ by the file alone


def _check_file(measure: FileMeasure, missing_bytes: int | None) -> Iterator[Finding]:
    end_s = max(track.end_s for track in measure.tracks)
    slack_s = UNEQUAL_S + max(track.frame_s for track in measure.tracks)
    if missing_bytes is not None:
        yield _cut_short(missing_bytes, end_s)
    elif measure.declared_s is not None and measure.declared_s - end_s > slack_s:
        message = f"it is cut short: it ends at {end_s:.2f} s, not at {measure.declared_s:.2f} s"
        yield Finding(Severity.FAULT, message, at_s=end_s)
    if measure.read_error is not None:
        message = f"it cannot be read beyond {end_s:.2f} s: {measure.read_error}"
        yield Finding(Severity.FAULT, message, at_s=end_s)


def _check_track(track: TrackMeasure) -> Iterator[Finding]:
    if track.undecodable_s:
        message = f"{_count(len(track.undecodable_s), 'packet')} cannot be decoded"
        yield Finding(Severity.FAULT, message, track.name, track.undecodable_s[0])
    for at_s in track.backwards_s:
        yield Finding(Severity.FAULT, "its time goes back", track.name, at_s)
    for start_s, end_s in track.holes:
        message = f"it has a hole: {end_s - start_s:.3f} s of sound are missing"
        yield Finding(Severity.FAULT, message, track.name, start_s)
    if abs(track.stretch_s) > UNEQUAL_S:
        message = f"its times last {track.stretch_s:+.3f} s longer than its samples"
        yield Finding(Severity.FAULT, message, track.name, track.start_s)
    silent = [(quiet.start_s, quiet.end_s) for quiet in track.silent]
    for what, places in (("silent", silent), ("black", track.black)):
        for start_s, end_s in places:
            if end_s - start_s >= track.duration_s - TOLERANCE_S:
                message = f"it is {what} from beginning to end"
            elif end_s - start_s > LONG_S:
                message = f"it is {what} for {end_s - start_s:.1f} s"
            else:
                continue
            yield Finding(Severity.NOTE, message, track.name, start_s)
    gap_start_s, gap_end_s = track.largest_gap
    if gap_end_s - gap_start_s > LONG_GAP_S:
        message = f"it has no picture for {gap_end_s - gap_start_s:.1f} s"
        yield Finding(Severity.NOTE, message, track.name, gap_start_s)


def _check_form(track: TrackMeasure) -> Iterator[Finding]:
    if track.changes:
        first = track.changes[0]
        times = _count(len(track.changes), "time")
        message = (
            f"it changes its rate or channels, {times}, "
            f"first from {_form(first.before)} to {_form(first.after)}"
        )
        yield Finding(Severity.NOTE, message, track.name, first.at_s)


def _check_other(measure: FileMeasure) -> Iterator[Finding]:
    """Notes on a file without a certificate: unusual, but perhaps intended."""
    first = min(measure.tracks, key=lambda track: track.start_s)
    last = max(measure.tracks, key=lambda track: track.end_s)
    for track in measure.tracks:
        if (late_s := track.start_s - first.start_s) > LATE_S:
            message = f"it begins {late_s:.3f} s after {first.name}"
            yield Finding(Severity.NOTE, message, track.name, track.start_s)
        if (early_s := last.end_s - track.end_s) > UNEQUAL_S + track.frame_s:
            message = f"it ends {early_s:.3f} s before {last.name}"
            yield Finding(Severity.NOTE, message, track.name, track.end_s)
        sudden = [quiet for quiet in track.silent if quiet.edge > gain_of(SUDDEN_DBFS)]
        if sudden:
            times = _count(len(sudden), "time")
            message = (
                f"it falls silent and comes back as suddenly, {times}, "
                f"first for {sudden[0].length_s:.2f} s: so it was played, or it is a hole"
            )
            yield Finding(Severity.NOTE, message, track.name, sudden[0].start_s)


def _as_note(finding: Finding, measure: FileMeasure) -> Finding:
    """A finding near the end of a killed recording, as a note; other faults stay faults."""
    end_s = max(track.end_s for track in measure.tracks)
    if finding.at_s is None or finding.at_s < end_s - 1.0:
        return finding
    return Finding(Severity.NOTE, finding.message, finding.track, finding.at_s)


# --------------------------------------------------------------------------- by its certificate


def _compare(measure: FileMeasure, certificate: Certificate) -> Iterator[Finding]:
    found = [track.kind for track in measure.tracks]
    certified = [track.kind for track in certificate.tracks]
    if not certified:  # there was no room for it
        return
    if any(found.count(kind) > certified.count(kind) for kind in found):
        message = f"it holds {_kinds(found)}, but its certificate lists {_kinds(certified)}"
        yield Finding(Severity.FAULT, message)
        return
    if len(found) < len(certified):
        message = f"it is a part of a recording: {_kinds(found)} of {_kinds(certified)}"
        yield Finding(Severity.NOTE, message)
    pairs = _pairs(measure.tracks, certificate.tracks)
    later_s = _common_shift_s(pairs)
    if later_s:
        message = f"all of it begins {later_s * 1000:.0f} ms later: another program copied it"
        yield Finding(Severity.NOTE, message)
    for track, expected in pairs:
        moved = _moved(expected, later_s)
        yield from _compare_ends(track, moved, certificate.fps)
        yield from _compare_silence(track, moved)


_Pair = tuple["TrackMeasure", "CertifiedTrack"]


def _pairs(found: Sequence[TrackMeasure], certified: Sequence[CertifiedTrack]) -> list[_Pair]:
    """Each track with its entry in the certificate: by position, else by name."""
    pairs = []
    for kind in dict.fromkeys(track.kind for track in found):
        here = [track for track in found if track.kind == kind]
        there = [track for track in certified if track.kind == kind]
        if len(here) == len(there):
            pairs += list(zip(here, there, strict=True))
        else:
            named = {track.name: track for track in there}
            pairs += [(track, named[track.name]) for track in here if track.name in named]
    return pairs


def _common_shift_s(pairs: Sequence[_Pair]) -> float:
    """How much later picture and sound begin alike; 0 where they do not.

    A container that cannot state the samples to be skipped (priming) begins with them, and a
    program that copies into one moves the picture along.
    """
    pictures = [track.start_s - other.start_s for track, other in pairs if track.kind == "video"]
    sounds = [track.end_s - other.end_s for track, other in pairs if track.kind == "audio"]
    if not pictures or not sounds or not TOLERANCE_S < min(pictures) <= CODEC_FRAME_MAX_S:
        return 0.0
    return min(pictures) if min(sounds) >= min(pictures) - COMMON_SHIFT_S else 0.0


def _moved(expected: CertifiedTrack, later_s: float) -> CertifiedTrack:
    # Sound begins with its priming, or where the picture does: either is within the tolerance.
    start_s = expected.start_s + (later_s if expected.kind == "video" else later_s / 2)
    return replace(
        expected,
        start_s=start_s,
        end_s=expected.end_s + later_s,
        quiet_s=tuple((start + later_s, end + later_s) for start, end in expected.quiet_s),
    )


def _compare_ends(
    track: TrackMeasure, expected: CertifiedTrack, fps: float | None
) -> Iterator[Finding]:
    end_slack_s = TOLERANCE_S + min(track.frame_s, CODEC_FRAME_MAX_S)
    if track.kind == "video" and fps:
        # The last picture of a grid may begin half a slot early or late.
        end_slack_s = TOLERANCE_S + 0.5 / fps
    start_s, end_s = track.start_s - expected.start_s, track.end_s - expected.end_s
    is_moved, is_longer = abs(start_s) > TOLERANCE_S, abs(end_s) > end_slack_s
    if is_moved and abs(end_s - start_s) <= end_slack_s:
        # Sound that was copied may begin with a packet that its decoder would have left out, and
        # end with one that is padded: the truth lies between. Pictures begin when they begin.
        moved_s = start_s if track.kind == "video" else (start_s + end_s) / 2
        message = f"it is shifted by about {moved_s * 1000:+.0f} ms against its certificate"
        yield Finding(Severity.FAULT, message, track.name, track.start_s)
        return
    if track.kind == "video" and track.end_s - track.frame_s <= expected.end_s + end_slack_s:
        # Only its last picture is longer: not every container has its length.
        is_longer = is_longer and end_s < 0
    for is_off, what, off_s, at_s in (
        (is_moved, "begins", start_s, track.start_s),
        (is_longer, "ends", end_s, track.end_s),
    ):
        if is_off:
            side = "after" if off_s > 0 else "before"
            message = f"it {what} {abs(off_s):.3f} s {side} the time in its certificate"
            yield Finding(Severity.FAULT, message, track.name, at_s)


def _compare_silence(track: TrackMeasure, expected: CertifiedTrack) -> Iterator[Finding]:
    """Findings of silence where the certificate has sound."""
    for quiet in track.silent:
        is_certified = any(
            start_s - QUIET_EDGE_S <= quiet.start_s and quiet.end_s <= end_s + QUIET_EDGE_S
            for start_s, end_s in expected.quiet_s
        )
        is_a_gap = any(
            start_s < quiet.end_s and quiet.start_s < end_s for start_s, end_s in track.holes
        )
        is_known = is_certified or is_a_gap
        if not is_known and quiet.length_s > expected.quiet_floor_s + 2 * QUIET_EDGE_S:
            message = (
                f"it has a hole: {quiet.length_s:.3f} s are silent that were not when recorded"
            )
            yield Finding(Severity.FAULT, message, track.name, quiet.start_s)


def _recorded_losses(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Findings from the certificate's own list of losses and warnings."""
    pictures = facts.get("pictures") or {}
    if pictures.get("dropped"):
        message = f"the recorder dropped {_count(pictures['dropped'], 'picture')}"
        yield Finding(Severity.NOTE, message)
    if facts.get("device_changes"):
        message = f"the recorder noticed {_count(facts['device_changes'], 'change')} of device"
        yield Finding(Severity.NOTE, message)
    for track in facts["tracks"]:
        for key, what in (
            ("silence_inserted_s", "it has {:.3f} s of silence where its source gave no sound"),
            ("sound_dropped_s", "it lacks {:.3f} s of sound that was left out"),
        ):
            if track.get(key):
                yield Finding(Severity.NOTE, what.format(track[key]), track["name"])
    for warning in facts.get("warnings", ()):
        yield Finding(Severity.NOTE, f"the recorder warned: {warning}")


# -------------------------------------------------------------------------------------- small


def _cut_short(missing_bytes: int, end_s: float | None = None) -> Finding:
    count = _count(missing_bytes, "byte")
    return Finding(Severity.FAULT, f"it is cut short, and lacks {count} at its end", at_s=end_s)


def _missing_bytes(path: Path) -> int | None:
    """Bytes missing at the end of an MP4 or MOV; ``None`` if none, or another format."""
    end = max((end for _, _, end in top_boxes(path)), default=0)
    return max(0, end - path.stat().st_size) or None


def _form(form: SoundForm) -> str:
    return f"{form.rate_hz} Hz {form.layout}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _kinds(kinds: list[str]) -> str:
    """The tracks in words, such as ``1 video and 2 audio tracks``."""
    parts = [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]
    return f"{' and '.join(parts)} {'track' if len(kinds) == 1 else 'tracks'}"

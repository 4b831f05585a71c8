"""Messages that were cut out of longer recordings.

Only what is split by speech counts as one, unless it is asked for: a film's sound is no message.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from capture.errors import CaptureError
from capture.messages.library import describe, is_enabled, record
from capture.messages.message import Facts, Origin

if TYPE_CHECKING:
    from capture.model import ExtractJob, ExtractResult

__all__ = ["makes_messages", "remembered"]


def makes_messages(job: ExtractJob) -> bool:
    """Whether each file of a job is a message: speech between two pauses."""
    return job.is_split and (job.gate is None or not job.gate.is_any_sound)


def remembered(result: ExtractResult) -> ExtractResult:
    """A result whose files are written down as messages, unless the user has switched that off.

    Where that fails, a warning of the result says so. Their waveforms are computed when they are
    first looked at: in a batch nobody waits for them.
    """
    if result.is_skipped or not is_enabled():
        return result
    try:
        record(
            describe(
                part.path,
                Facts(
                    origin=Origin.EXTRACTED,
                    length_s=part.duration_s,
                    source=result.source.name,
                    more={"start_s": part.span.start_s, "end_s": part.span.end_s},
                ),
            )
            for part in result.parts
        )
    except CaptureError as error:
        warning = f"not in the list of messages: {error.message}"
        return replace(result, warnings=(*result.warnings, warning))
    return result

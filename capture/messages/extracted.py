"""Extracted files as kept messages: those that were split by speech, or all on request."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from capture.cautions import Caution
from capture.errors import CaptureError
from capture.messages.library import describe, is_enabled, record
from capture.messages.message import Facts, Origin

if TYPE_CHECKING:
    from capture.model.extraction import ExtractResult
    from capture.specs.extraction import ExtractJob

__all__ = ["record_extracted"]


def record_extracted(job: ExtractJob, result: ExtractResult) -> ExtractResult:
    """The result of a job; its files are recorded as messages if the job wants that.

    Where that fails, the result has a warning. Their waveforms are computed when they are
    first looked at: in a batch nobody waits for them.
    """
    if not job.library or result.is_skipped or not is_enabled():
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
        warning = Caution.NOT_LISTED.with_(error=error.message)
        return replace(result, warnings=(*result.warnings, warning))
    return result

"""The JSON dialect of events, snapshots and results: one object a line.

``event`` names each object: a kind of ``EventKind``, ``note``, ``progress`` (a snapshot), ``error``
(of a job's recorder: why it failed; its ``kind`` is a class of ``capture.errors``) or ``result``
(the last one). The first line is ``{"event": "protocol", "version": 1}``. Units are in the names; a
level of silence, which is -inf dBFS, is ``null``. Within a version keys may be added; none changes
its meaning or is removed.
"""

import dataclasses
import json
import re
from typing import Any

from capture.coded import Coded
from capture.errors import CaptureError
from capture.model.events import Event

VERSION = 1
_NO_UNICODE = re.compile(r"[\ud800-\udfff]")
"""The code points that stand for bytes of a name that is no UTF-8."""


def of_event(event: Event) -> dict[str, Any]:
    """An event as an object; its details are keys beside ``message`` and ``source``."""
    values: dict[str, Any] = {"event": event.kind.value, "message": event.message}
    if isinstance(event.message, Coded):
        name = event.message.code.name.lower().replace("_", "-")
        values |= {"code": name, "parameters": event.message.parameters}
    source = {"source": event.source} if event.source is not None else {}
    return {**values, "source": None, **event.details, **values, **source}


def of_snapshot(snapshot: Any) -> dict[str, Any]:
    """A ``Snapshot`` or ``VoiceSnapshot`` as an object, with the number of kept messages."""
    values = dataclasses.asdict(snapshot)
    kept = {"kept": len(values["kept"])} if "kept" in values else {}
    return {"event": "progress", **values, **kept}


def of_result(result: Any) -> dict[str, Any]:
    """A ``RecordingResult`` or ``VoiceResult`` as an object."""
    return {"event": "result", **dataclasses.asdict(result)}


def of_error(error: CaptureError) -> dict[str, Any]:
    """An error as an object; where something was kept all the same, the result follows."""
    values = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    return {"event": "error", **values}


def json_line(values: dict[str, Any]) -> str:
    """An object as one line with its end; bytes of names that are no UTF-8 are kept."""
    text = json.dumps(_plain(values), ensure_ascii=False)
    return _NO_UNICODE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def _plain(value: Any) -> Any:
    """A value with paths and infinities replaced by what JSON has."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if abs(value) != float("inf") else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)

"""Specs as JSON objects, to be stored or handed to another process.

``{"kind": "recording", "version": 1, "spec": {...}}``: every field by its name, so that a default
that changes later changes nothing that was stored. Within a version fields may be added, which have
their defaults where they are missing; a change that renames or removes one increases ``VERSION``.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from capture.errors import ConfigError
from capture.geometry import Rect
from capture.specs.recording import AudioSpec, RecordingSpec, Rule, TrackMode, VideoSpec
from capture.specs.target import Desktop, Region, Screen, TestCard, Window
from capture.specs.voice import GateSpec, SoundFileSpec, VoiceSpec

VERSION = 1
_KINDS: dict[str, type[RecordingSpec | VoiceSpec]] = {
    "recording": RecordingSpec,
    "voice": VoiceSpec,
}
_TARGETS: dict[str, type[Any]] = {
    "screen": Screen,
    "desktop": Desktop,
    "region": Region,
    "window": Window,
    "test-card": TestCard,
}
_PARTS: dict[str, Callable[..., Any]] = {
    "audio": AudioSpec,
    "file": SoundFileSpec,
    "gate": GateSpec,
    "rect": Rect,
    "start_when": Rule,
    "stop_when": Rule,
    "video": VideoSpec,
}
"""Fields that are objects, or lists of them."""


def to_json(spec: RecordingSpec | VoiceSpec) -> dict[str, Any]:
    """The object of a spec, of values that ``json`` returns unchanged."""
    kind = next(name for name, known in _KINDS.items() if isinstance(spec, known))
    values = json.loads(json.dumps(asdict(spec), default=os.fspath))
    if isinstance(spec, RecordingSpec) and spec.video is not None:
        target = next(name for name, each in _TARGETS.items() if type(spec.video.target) is each)
        values["video"]["target"]["kind"] = target
    return {"kind": kind, "version": VERSION, "spec": values}


def from_json(values: Any) -> RecordingSpec | VoiceSpec:
    """The spec of an object.

    Raises:
        ConfigError: It is of another version, or no spec, or of values that make no sense.
    """
    version = values.get("version") if isinstance(values, dict) else None
    if version != VERSION:
        raise ConfigError(
            f"a spec of version {version} cannot be read here, only of version {VERSION}",
            hint="update this program",
        )
    try:
        fields = {name: _value(name, value) for name, value in values["spec"].items()}
        return _KINDS[values["kind"]](**fields)
    except ConfigError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"the JSON object is no spec: {error!r}", hint="make it anew") from error


def _value(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_value(name, item) for item in value)
    if isinstance(value, dict) and (name in _PARTS or name == "target"):
        fields = {key: _value(key, item) for key, item in value.items()}
        return (_PARTS.get(name) or _TARGETS[fields.pop("kind")])(**fields)
    return TrackMode(value) if name == "tracks" else value

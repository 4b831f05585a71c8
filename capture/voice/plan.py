"""Checks a spec of a listening, as far as possible without a device."""

import tempfile
from pathlib import Path

from capture.errors import ConfigError, OutputError
from capture.live.rule_watch import check_window_rules, require_rules
from capture.live.rules import with_rules
from capture.media.formats import check_sound_spec
from capture.media.output import as_output_error
from capture.messages import check_name
from capture.naming import clear_parts
from capture.specs.voice import VoiceSpec

MIN_HOLD_S, MIN_MAX_LENGTH_S = 0.3, 5.0


def check_listening(spec: VoiceSpec) -> None:
    """Whether a spec makes sense on this machine, before its time has come.

    Raises:
        CaptureError: As ``VoiceKeeper.start`` would for what can be known now.
    """
    check_spec(spec)
    check_window_rules(spec)


def check_spec(spec: VoiceSpec) -> None:
    """Refuse a spec that makes no sense, before any device is opened.

    Raises:
        ConfigError: It does not.
        UnsupportedError: This system cannot check one of the rules.
        LibraryMissingError: What it takes for that is not installed.
    """
    check_sound_spec(spec.file)
    with_rules(spec)
    require_rules((*spec.start_when, *spec.stop_when))
    check_name(spec.name)
    gate = spec.gate
    if gate.threshold_dbfs is not None and not -90 <= gate.threshold_dbfs < 0:  # noqa: PLR2004
        raise ConfigError(
            f"a threshold of {gate.threshold_dbfs:g} dBFS is below the lowest possible, -90",
            hint="write a level from -90 to -1",
        )
    if gate.max_length_s < MIN_MAX_LENGTH_S:
        raise ConfigError(
            f"a greatest length of {gate.max_length_s:g} s is below the least possible, "
            f"{MIN_MAX_LENGTH_S:g} s",
            hint=f"write {MIN_MAX_LENGTH_S:g}s or more",
        )
    if gate.pause_s < MIN_HOLD_S:
        raise ConfigError(
            f"a hold of {gate.pause_s:g} s would cut at every word",
            hint=f"write {MIN_HOLD_S:g}s or more",
        )


def check_folder(folder: Path) -> None:
    """Make the folder, and prove that a file can be written there.

    Raises:
        OutputError: It cannot.
    """
    with as_output_error(folder):
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder} is no folder", hint="choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    clear_parts(folder)

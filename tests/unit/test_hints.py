"""Hints: a code with parameters, a text that is the same everywhere, and each front's own words."""

from __future__ import annotations

import copy
import pickle
import re
import string

import pytest

from capture import json_lines
from capture.cautions import Caution
from capture.cli.hints import _WORDS, in_options
from capture.coded import Code, Coded
from capture.errors import OutputError
from capture.hints import Advice
from capture.model.events import Event, EventKind

OPTION = re.compile(r"(^|\s)--?[a-z]|`capture|\bcapture (record|voice|extract)")


@pytest.mark.parametrize("advice", [*Advice, *Caution])
def test_the_text_of_a_code_names_no_option_and_every_front_has_the_same_parameters(
    advice: Code,
) -> None:
    assert not OPTION.search(advice.value)
    if advice in _WORDS:
        names = [
            {name for _, name, _, _ in string.Formatter().parse(text) if name}
            for text in (advice.value, _WORDS[advice])
        ]
        assert names[1] <= names[0]


def test_the_command_line_has_its_own_words() -> None:
    hint = Advice.MIX_TRACKS.with_(others=".mka")
    assert hint == "mix all sound into one track, or write to .mka"
    assert in_options(hint) == "add --tracks mixed, or write to .mka"
    assert in_options("plain") == "plain"
    assert in_options(None) is None


def test_a_hint_within_a_hint_is_in_the_same_words() -> None:
    hint = Advice.KEPT_IN.with_(length_s=3.0, path="a.mp4", then=Advice.SPLIT_FILES.with_())
    assert "another disk" in hint
    assert in_options(hint) == "3.0 s are kept in a.mp4; use --split-every or another disk"


def test_a_hint_comes_back_from_a_worker_process() -> None:
    error = OutputError("it failed", hint=Advice.ENCODE.with_(format="flac"))
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert isinstance(back.hint, Coded)
    assert back.hint.code is Advice.ENCODE
    assert in_options(back.hint) == "have it encoded: --format flac, or another"


def test_a_warning_is_a_code_with_parameters_in_the_result_and_in_json() -> None:
    warning = Caution.FAINT.with_(peak_dbfs=-51.6)
    assert warning == "it is faint (-52 dBFS): turn the player up"
    kept = Caution.OF_FILE.with_(name="a.opus", warning=warning)
    (copied,) = copy.deepcopy((kept,))  # as dataclasses.asdict does with results
    assert copied == kept
    assert isinstance(copied, Coded)
    assert copied.code is Caution.OF_FILE
    values = json_lines.of_event(Event(EventKind.WARNING, warning, 0))
    assert values["code"] == "faint"
    assert values["parameters"] == {"peak_dbfs": -51.6}
    assert "code" not in json_lines.of_event(Event(EventKind.STARTED, "recording", 0))

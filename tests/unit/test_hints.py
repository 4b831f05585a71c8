"""Hints: a code with parameters, a text that is the same everywhere, and each front's own words."""

from __future__ import annotations

import pickle
import re
import string

import pytest

from capture.cli.hints import _WORDS, in_options
from capture.errors import OutputError
from capture.hints import Advice, Hint

OPTION = re.compile(r"(^|\s)--?[a-z]|`capture|\bcapture (record|voice|extract)")


@pytest.mark.parametrize("advice", Advice)
def test_the_text_of_a_code_names_no_option_and_every_front_has_the_same_parameters(
    advice: Advice,
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
    assert isinstance(back.hint, Hint)
    assert back.hint.advice is Advice.ENCODE
    assert in_options(back.hint) == "have it encoded: --format flac, or another"

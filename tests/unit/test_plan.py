"""What a spec means, before anything is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from capture.recording.plan import find_doubled
from capture.specs.recording import AudioSpec, RecordingSpec, TrackMode


def doubled(*sources: str, tracks: TrackMode = TrackMode.BOTH) -> list[str]:
    audio = tuple(AudioSpec(source) for source in sources)
    return find_doubled(RecordingSpec(Path("a.mkv"), audio=audio, tracks=tracks))


@pytest.mark.parametrize("tracks", [TrackMode.BOTH, TrackMode.MIXED])
def test_what_the_mix_holds_twice_is_said(tracks: TrackMode) -> None:
    (warning,) = doubled("app:mpv", "system", "mic", tracks=tracks)
    assert warning == (
        "app:mpv is in system too: it will be twice as loud in the mix; "
        "record separate tracks instead"
    )
    assert len(doubled("system", "app:mpv", "app:Firefox", tracks=tracks)) == 2


def test_what_may_be_twice_is_called_so() -> None:
    assert "app:mpv may be in system:hdmi too" in doubled("app:mpv", "system:hdmi")[0]
    assert "mic:usb may be in mic too" in doubled("mic", "mic:usb")[0]


def test_nothing_is_said_of_what_is_apart() -> None:
    assert not doubled("system", "mic")
    assert not doubled("app:mpv", "app:Firefox")
    assert not doubled("system:hdmi", "system:usb")
    assert not doubled("app:mpv", "system", tracks=TrackMode.SEPARATE)

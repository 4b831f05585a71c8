"""The file of a voice message, read back: what its tags say, and what is said of its level."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from capture.media.write.growing import GrowingSound
from capture.specs.voice import GateSpec, SoundFileSpec, VoiceSpec
from capture.voice.saving import Heard, recipe_of, recover_message, save

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from capture.model.voice import VoiceMessage

RATE_HZ = 48_000
MOMENT = datetime(2026, 11, 22, 14, 31, 5).astimezone()
HEARD = Heard("applications", "WhatsApp", MOMENT.timestamp())


def tone(peak: float, length_s: float = 2.0, rate_hz: int = RATE_HZ) -> NDArray[np.int16]:
    """A sine of this peak where full scale is 1, cut off there; int16, shape (frames, 2)."""
    wave = peak * np.sin(2 * np.pi * 440 * np.arange(round(length_s * rate_hz)) / rate_hz)
    mono = np.rint(np.clip(wave, -1, 1) * 32_767).astype(np.int16)
    return np.stack((mono, mono), axis=1)


def tags_of(path: Path) -> dict[str, str]:
    """Those of the file and of its track, where Ogg has them; names in small letters."""
    with av.open(path) as container:
        tags = {**container.metadata, **container.streams.audio[0].metadata}
    return {name.lower(): text for name, text in tags.items()}


def save_it(
    folder: Path, samples: NDArray[np.int16], file: SoundFileSpec, heard: Heard = HEARD
) -> VoiceMessage:
    spec = VoiceSpec(folder, file=file, name="{app} {date}", library=False)
    return save(lambda: np.array_split(samples, 7), RATE_HZ, heard, spec)


@pytest.mark.parametrize("format_", ["opus", "m4a", "mp3", "flac", "wav", "ogg"])
def test_the_tags_say_who_when_and_how_long(tmp_path: Path, format_: str) -> None:
    message = save_it(tmp_path, tone(0.3), SoundFileSpec(format_))
    tags = tags_of(message.path)
    assert tags["title"] == "WhatsApp, 2026-11-22 14:31:05"
    assert datetime.fromisoformat(tags["date"]) == MOMENT
    # What a format has no place for is a line of its comment.
    comment = dict(line.split(": ", 1) for line in tags.get("comment", "").splitlines())
    assert tags.get("source", comment.get("source")) == "WhatsApp"
    assert tags.get("duration", comment.get("duration")) == "2.00"


def test_without_an_application_the_source_is_named(tmp_path: Path) -> None:
    heard = Heard("microphone", None, MOMENT.timestamp())
    tags = tags_of(save_it(tmp_path, tone(0.3), SoundFileSpec("opus"), heard).path)
    assert tags["title"] == "Voice message, 2026-11-22 14:31:05"
    assert tags["source"] == "microphone"
    assert datetime.fromisoformat(tags["date"]) == MOMENT


def test_the_file_of_a_messenger_has_no_tags(tmp_path: Path) -> None:
    """As its own have none."""
    message = save_it(tmp_path, tone(0.3), SoundFileSpec(messenger="telegram"))
    assert tags_of(message.path).keys() <= {"encoder"}


@pytest.mark.parametrize(
    ("peak", "warning"),
    [
        (2.0, "it is clipped: turn the player down and play it again"),
        (1.0, None),  # up to the brim, and not beyond
        (0.01, None),  # -40 dBFS
        (0.003, "it is faint (-50 dBFS): turn the player up"),
    ],
)
def test_a_level_that_spoils_it_is_said(tmp_path: Path, peak: float, warning: str | None) -> None:
    message = save_it(tmp_path, tone(peak), SoundFileSpec("wav"))
    assert message.warnings == (() if warning is None else (warning,))
    assert message.peak_dbfs == pytest.approx(20 * np.log10(min(peak, 1)), abs=0.1)


def test_a_click_at_full_scale_is_no_distortion(tmp_path: Path) -> None:
    samples = tone(0.3)
    samples[RATE_HZ : RATE_HZ + 480] = 32_767
    assert save_it(tmp_path, samples, SoundFileSpec("wav")).warnings == ()


def test_a_message_that_an_earlier_version_began_is_finished(tmp_path: Path) -> None:
    spec = VoiceSpec(tmp_path, gate=GateSpec(is_any_sound=True))
    recipe = recipe_of(spec, HEARD)
    recipe["heard"]["warnings"] = []
    growing = GrowingSound(tmp_path / "cut off", rate_hz=RATE_HZ, channels=2, recipe=recipe)
    growing.write(tone(0.3))
    growing.give_up()
    (message,) = recover_message(growing.path)
    assert message.app == "WhatsApp"

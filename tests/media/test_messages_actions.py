"""What is done to kept messages, on real files: trimmed, renamed, made for messengers, undone."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from capture.errors import CaptureError, ConfigError
from capture.media.read.decode import read_sound
from capture.messages import (
    Library,
    Origin,
    Passage,
    Query,
    entry_of,
    for_messenger,
    rename,
    trim,
    with_peaks,
)
from capture.messages.journal import JOURNAL
from capture.messages.peaks import amplitudes
from capture.specs.voice import SoundFileSpec, VoiceSpec
from capture.voice.saving import Heard, save

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RATE_HZ = 48_000
MOMENT = datetime(2026, 11, 22, 14, 31, 5).astimezone()
PACKET_S = 0.027
"""Of MP3 at 48 kHz 24 ms, of AAC 21.3, of Opus 20; and a rounding."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("data", "cache"):
        monkeypatch.setenv(f"CAPTURE_{name.upper()}_DIR", str(tmp_path / name))
    monkeypatch.setenv("XDG_MUSIC_DIR", str(tmp_path / "music"))
    return tmp_path


@pytest.fixture
def library() -> Iterator[Library]:
    with Library() as opened:
        yield opened


def rising(length_s: float = 4.0) -> Any:
    """A tone that gets louder from second to second, int16 of shape (frames, 2)."""
    at_s = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    wave = 0.2 * (1 + np.floor(at_s)) * np.sin(2 * np.pi * 440 * at_s)
    return np.stack([np.rint(np.clip(wave, -1, 1) * 32_767).astype(np.int16)] * 2, axis=1)


def keep(folder: Path, form: str = "opus", at_s: float = 0.0, **more: Any) -> Path:
    samples = rising()
    heard = Heard("applications", "WhatsApp", MOMENT.timestamp() + at_s)
    folder.mkdir(exist_ok=True)
    pattern = "{date} {time} {app} {length}"
    file = SoundFileSpec(form)
    spec = VoiceSpec(folder, file=file, name=pattern, **more)
    return save(lambda: np.array_split(samples, 7), RATE_HZ, heard, spec).path


@pytest.mark.parametrize("form", ["opus", "m4a", "mp3", "flac", "wav", "ogg"])
def test_what_is_heard_is_kept_with_all_that_is_known(
    tmp_path: Path, library: Library, form: str
) -> None:
    path = keep(tmp_path / "kept", form, with_picture=True)
    (message,) = library.messages()
    assert (message.path, message.origin, message.app) == (path, Origin.HEARD, "WhatsApp")
    assert (message.sent_at, message.length_s) == (MOMENT, 4.0)
    assert message.picture == path.with_suffix(".png")
    assert message.peaks is not None
    levels = amplitudes(message.peaks)
    assert levels[[10, 35, 60, 85]] == pytest.approx([0.2, 0.4, 0.6, 0.8], abs=0.01)


@pytest.mark.parametrize("form", ["opus", "m4a", "mp3", "flac", "wav", "ogg"])
def test_without_its_journal_a_file_of_ours_is_known_by_its_tags(
    tmp_path: Path, library: Library, form: str
) -> None:
    path = keep(tmp_path / "kept", form, library=False)
    keep(tmp_path / "kept", form, library=False, at_s=60.0)
    assert library.messages() == ()
    found = library.index(tmp_path / "kept")
    assert found.found == 2
    message = library.find(path)
    assert (message.sent_at, message.app, message.origin) == (MOMENT, "WhatsApp", Origin.HEARD)
    assert message.length_s == 4.0
    assert with_peaks(library, message).peaks is not None
    before = library.messages()
    library.index()
    assert library.messages() == before


@pytest.mark.parametrize("form", ["opus", "m4a", "mp3", "flac", "wav", "ogg"])
def test_a_trim_keeps_a_part_and_can_be_undone(tmp_path: Path, library: Library, form: str) -> None:
    path = keep(tmp_path / "kept", form, with_picture=True)
    content = path.read_bytes()
    words = (Passage("eins", 0.2, 0.9), Passage("zwei", 1.5, 2.2), Passage("drei", 3.1, 3.4))
    before = library.change(library.find(path), sender="Anna", transcript=words)
    trimmed = trim(library, before, start_s=1.0, end_s=3.0)
    exact_s = 0.001 if form in {"wav", "flac"} else 2 * PACKET_S
    assert trimmed.length_s == pytest.approx(2.0, abs=exact_s)
    assert trimmed.path.name == f"2026-11-22 14.31.05 WhatsApp 0m02s.{form}"
    assert (trimmed.sender, trimmed.sent_at) == ("Anna", MOMENT)
    assert [(one.text, one.start_s) for one in trimmed.transcript] == [("zwei", 0.5)]
    assert trimmed.transcript[0].end_s == pytest.approx(1.2)
    samples, rate_hz, _ = read_sound(trimmed.path)
    for second, level in ((0.5, 0.4), (1.5, 0.6)):  # the second and the third of the message
        piece = samples[round((second - 0.2) * rate_hz) : round((second + 0.2) * rate_hz)]
        assert np.abs(piece).max() == pytest.approx(level, abs=0.06)
    assert library.messages() == (trimmed,)
    assert trimmed.picture is not None
    assert trimmed.picture.exists()
    assert library.undo(before) == before
    assert path.read_bytes() == content
    assert before.picture is not None
    assert before.picture.exists()
    assert not trimmed.path.exists()
    assert library.messages() == (before,)


@pytest.mark.parametrize(("start_s", "end_s"), [(3.0, 2.0), (9.0, None), (None, 0.0), (-1.0, 2.0)])
def test_a_trim_that_leaves_nothing_is_refused(
    tmp_path: Path, library: Library, start_s: float | None, end_s: float | None
) -> None:
    path = keep(tmp_path / "kept")
    with pytest.raises(ConfigError, match="nothing is left"):
        trim(library, library.find(path), start_s=start_s, end_s=end_s)
    assert sorted(tmp_path.joinpath("kept").iterdir()) == sorted([path, path.parent / JOURNAL])


def test_a_file_that_is_damaged_cannot_be_trimmed(tmp_path: Path, library: Library) -> None:
    path = keep(tmp_path / "kept")
    message = library.find(path)
    path.write_bytes(b"no sound at all")
    with pytest.raises(CaptureError):
        trim(library, message, start_s=1.0)
    with pytest.raises(CaptureError):
        for_messenger(message, "whatsapp")
    assert sorted(path.parent.iterdir()) == sorted([path, path.parent / JOURNAL])


def test_a_name_changes_no_byte(tmp_path: Path, library: Library) -> None:
    path = keep(tmp_path / "kept", with_picture=True)
    (tmp_path / "kept" / "Mutter.opus").write_bytes(b"another")
    before = library.find(path)
    content = path.read_bytes()
    after = rename(library, before, "Mutter")
    assert after.path.name == "Mutter (2).opus"
    assert after.path.read_bytes() == content
    assert after.picture is not None
    assert after.picture.exists()
    changed = {"path", "picture"}
    old, new = entry_of(before), entry_of(after)
    assert {k: v for k, v in old.items() if k not in changed} == {
        k: v for k, v in new.items() if k not in changed
    }
    assert rename(library, after, "../../etc/Vater: \x1b[2J").path.parent == path.parent
    with pytest.raises(ConfigError, match="there is no message"):
        library.find(path)


@pytest.mark.parametrize("messenger", ["whatsapp", "telegram"])
def test_a_file_for_a_messenger_is_made_once_and_goes_with_the_message(
    tmp_path: Path, library: Library, messenger: str
) -> None:
    message = library.find(keep(tmp_path / "kept"))
    made = for_messenger(message, messenger)
    assert made.suffix == ".ogg"
    assert tmp_path / "cache" in made.parents
    assert made.stat().st_mode & 0o777 == 0o600
    assert made.parent.stat().st_mode & 0o777 == 0o700
    assert len(read_sound(made)[0]) == 4 * RATE_HZ
    written = made.stat().st_mtime_ns
    assert for_messenger(message, messenger).stat().st_mtime_ns == written
    renamed = for_messenger(rename(library, message, "Mutter"), messenger)
    assert [renamed] == list(made.parent.iterdir())
    library.purge(library.find(message.id))
    assert list((tmp_path / "cache" / "messages").iterdir()) == []


def test_a_messenger_that_is_none_is_refused(tmp_path: Path, library: Library) -> None:
    with pytest.raises(ConfigError, match="there is no messenger 'fax'"):
        for_messenger(library.find(keep(tmp_path / "kept")), "fax")


def test_what_is_deleted_is_not_changed(tmp_path: Path, library: Library) -> None:
    message = library.find(keep(tmp_path / "kept"))
    library.delete(message)
    with pytest.raises(ConfigError, match="is deleted"):
        rename(library, message, "x")
    with pytest.raises(ConfigError, match="is deleted"):
        trim(library, message, end_s=1.0)
    assert library.messages(Query(is_deleted=True))[0].id == message.id


def test_switched_off_nothing_but_the_file_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPTURE_LIBRARY", "off")
    path = keep(tmp_path / "kept")
    assert list(path.parent.iterdir()) == [path]
    assert not (tmp_path / "data").exists()


def test_a_message_that_cannot_be_written_down_is_kept_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    (folder / JOURNAL).mkdir(parents=True)
    samples = rising(1.0)
    spec = VoiceSpec(folder, file=SoundFileSpec("wav"), name="{date}")
    message = save(lambda: [samples], RATE_HZ, Heard("system", None, 0.0), spec)
    assert message.path.exists()
    assert message.id is None
    assert [warning.split(":")[0] for warning in message.warnings] == [
        "it is kept, but not in the list of messages"
    ]


def test_an_extract_of_a_message_is_not_taken_for_another_one(
    tmp_path: Path, library: Library
) -> None:
    from capture.media.extract.job import extract  # noqa: PLC0415
    from capture.specs.extraction import ExtractJob  # noqa: PLC0415

    path = keep(tmp_path / "kept", library=False)
    extract(ExtractJob(path, path.parent, spec=SoundFileSpec("mp3")))
    library.index(path.parent)
    assert [message.path for message in library.messages()] == [path]

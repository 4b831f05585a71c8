"""Saves a finished message: cut, encoded, named, tagged; also one that a crash interrupted.

All facts about the message are known by now, so its length is in its name and its tags, and sound
whose channels are the same becomes mono. Nothing has the final name before it is whole, and the
growing file is deleted last.
"""

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.cautions import Caution
from capture.clock import local_time, now_ns
from capture.config import version
from capture.errors import CaptureError, MediaError
from capture.gate import find_messages
from capture.hints import Advice
from capture.journal import MESSAGE_RECIPE, is_message, read_journal, require_ended
from capture.levels import LevelMeter, Loudness
from capture.media.formats import size_warning, suffix_of
from capture.media.output import as_output_error, sync
from capture.media.write.export import open_sound
from capture.media.write.growing import discard_growing, rate_of, read_growing
from capture.media.write.sndfile import as_float32
from capture.media.write.waveform import Peaks
from capture.messages import Facts, Origin, describe, is_enabled, name_of, record
from capture.messages.peaks import COLUMNS, pack
from capture.model.voice import VoiceMessage
from capture.naming import clear_parts, part_path, publish
from capture.specs.voice import GateSpec, SoundFileSpec, VoiceSpec
from capture.speech import SpeechDetector
from capture.units import NS_PER_S

MESSENGERS = ("WhatsApp", "Telegram", "Signal", "Messenger", "Threema", "Viber", "Discord")
"""Looked for in an application's name, and in the page title of a browser."""
BROWSERS = ("firefox", "librewolf", "chrom", "edge", "brave", "opera", "vivaldi", "safari", "web")
"""Parts of what browsers call themselves; Epiphany's sound is WebKit's."""
SAME_CHANNELS = 2
"""Channels that never differ by more 16-bit steps are one: resampling each may round them apart."""
FAINT_DBFS = -45.0
"""A message that is never louder than this is hard to understand: 10 dB below the softest that
``tests/scenes.py`` makes."""
CLIPPED_S = 0.3
"""So much sound in pieces with a run of samples at full scale is audible distortion."""
PIECE_S = 0.04
"""Length of such a piece, as of the blocks that the watchdog of a recording looks at."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The facts about a message besides its sound."""

    source: str
    """Label of the source."""
    app: str | None
    started_s: float
    """Wall time in s since 1970 of its first frame."""
    part: int | None = None


def wall_time(captured_ns: int) -> float:
    """Wall time in s since 1970 of a moment on the capture clock."""
    return time.time() - (now_ns() - captured_ns) / NS_PER_S


def recipe_of(spec: VoiceSpec, heard: Heard) -> dict[str, Any]:
    """The entry in a growing file's journal from which another process can finish it."""
    return {
        "kind": MESSAGE_RECIPE,
        "file": asdict(spec.file),
        "gate": asdict(spec.gate),
        "name": spec.name,
        "with_picture": spec.with_picture,
        "library": spec.library,
        "heard": asdict(heard),
    }


# ------------------------------------------------------------------------------------------- names


def app_label(details: Mapping[str, Any]) -> str:
    """The name of an application for a file name: the messenger's, where it is a known one.

    A messenger in a browser is known by the page title. The title of a player does not count: it
    may be that of a song, and there are songs of the name Signal.
    """
    app = str(details.get("app") or "")
    words = app.casefold()
    if any(browser in words for browser in BROWSERS):
        words += f" {details.get('title') or ''}".casefold()
    known = (name for name in MESSENGERS if name.casefold() in words)
    return next(known, None) or app or "unknown"


def facts_of(heard: Heard, length_s: float) -> Facts:
    """The facts of a heard message, in the form of all kept messages."""
    return Facts(
        origin=Origin.HEARD,
        length_s=length_s,
        app=heard.app,
        source=heard.source,
        sent_at=local_time(heard.started_s),
        part=heard.part,
    )


# ------------------------------------------------------------------------------------------ saving


class _Analysis:
    """Properties of a message's sound, found in one pass before it is encoded."""

    def __init__(self, rate_hz: int) -> None:
        self.frames = 0
        self._is_same = self._is_opposite = True
        self._piece_frames = round(PIECE_S * rate_hz)
        self.loudness = Loudness(rate_hz)
        self.meter = LevelMeter()
        self.peaks = Peaks(COLUMNS)

    def add(self, block: NDArray[np.int16]) -> None:
        samples = as_float32(block)
        for first in range(0, len(samples), self._piece_frames):
            self.loudness.accumulate(samples[first : first + self._piece_frames])
        self.meter.accumulate(samples)
        self.peaks.add(block)
        self.frames += len(block)
        if self.is_mono and block.shape[1] > 1:
            left, right = block[:, 0].astype(np.int32), block[:, 1]
            self._is_same &= int(np.abs(left - right).max(initial=0)) <= SAME_CHANNELS
            self._is_opposite &= int(np.abs(left + right).max(initial=0)) <= SAME_CHANNELS

    @property
    def is_mono(self) -> bool:
        """Whether one channel has all sound; opposite ones would cancel in one loudspeaker."""
        return self._is_same or self._is_opposite

    def warnings(self) -> tuple[str, ...]:
        """Warnings about its level."""
        if self.loudness.clipped_s >= CLIPPED_S:
            return (Caution.CLIPPED.with_(),)
        if self.loudness.peak_dbfs < FAINT_DBFS:
            return (Caution.FAINT.with_(peak_dbfs=self.loudness.peak_dbfs),)
        return ()


def save(
    blocks: Callable[[], Iterable[NDArray[np.int16]]], rate_hz: int, heard: Heard, spec: VoiceSpec
) -> VoiceMessage:
    """Encode a message into its file, and record it in the library.

    Args:
        blocks: Gives its sound from the beginning, int16 of shape (frames, channels); called twice.
        rate_hz: Its sample rate.
        heard: What is known of it.
        spec: Where the file goes (an existing one is never replaced), how it is encoded and named,
            whether its waveform is drawn, and whether it is remembered, unless the user has
            switched that off.

    Raises:
        OutputError: It cannot be written; nothing is left of it.
    """
    look = _Analysis(rate_hz)
    channels = 1
    for block in blocks():
        look.add(block)
        channels = block.shape[1]
    length_s = look.frames / rate_hz
    facts = facts_of(heard, length_s)
    target = spec.folder / f"{name_of(spec.name, facts)}{suffix_of(spec.file)}"
    part = part_path(target)
    with as_output_error(target):
        try:
            with open_sound(
                part,
                spec.file,
                rate_hz=rate_hz,
                channels=1 if look.is_mono else channels,
                tags=_tags(heard, length_s),
            ) as writer:
                for block in blocks():
                    writer.write(block[:, :1] if look.is_mono else block)
            sync(part)
            path = publish(part, target, number=True)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    too_large = size_warning(path, spec.file)
    level = look.meter.take()
    message = VoiceMessage(
        path=path,
        source=heard.source,
        app=heard.app,
        started=_iso(heard.started_s),
        length_s=length_s,
        size_bytes=path.stat().st_size,
        peak_dbfs=level.peak_dbfs,
        rms_dbfs=level.rms_dbfs,
        part=heard.part,
        picture=_draw(path, blocks, length_s) if spec.with_picture else None,
        warnings=(*look.warnings(), *((too_large,) if too_large else ())),
    )
    return _record(message, facts, look) if spec.library and is_enabled() else message


def _record(message: VoiceMessage, facts: Facts, look: _Analysis) -> VoiceMessage:
    """Record a message in the library; if that fails its file is kept all the same."""
    try:
        kept = describe(message.path, facts, peaks=pack(look.peaks.take()), picture=message.picture)
        record([kept])
    except CaptureError as error:
        warning = Caution.NOT_LISTED.with_(error=error.message)
        return replace(message, warnings=(*message.warnings, warning))
    return replace(message, id=kept.id)


def _tags(heard: Heard, length_s: float) -> dict[str, str]:
    who = heard.app or "Voice message"
    moment = local_time(heard.started_s)
    return {
        "title": f"{who}, {moment:%Y-%m-%d %H:%M:%S}",
        "date": _iso(heard.started_s),
        "source": heard.app or heard.source,
        "duration": f"{length_s:.2f}",
        "encoded_by": f"capture {version()}",
    }


def _iso(moment_s: float) -> str:
    return local_time(moment_s).isoformat(timespec="seconds")


def _draw(
    path: Path, blocks: Callable[[], Iterable[NDArray[np.int16]]], length_s: float
) -> Path | None:
    """Draw the waveform beside a message; ``None`` where it cannot be written."""
    from capture.media.write.waveform import Peaks, bar_count, save_waveform  # noqa: PLC0415 - OpenCV

    peaks = Peaks(bar_count(duration_s=length_s))
    for block in blocks():
        peaks.add(block)
    target = path.with_suffix(".png")
    part = part_path(target)
    try:
        save_waveform(part, peaks.take(), duration_s=length_s)
        return publish(part, target, number=True)
    except OSError:  # the message itself is whole
        part.unlink(missing_ok=True)
        return None


# ---------------------------------------------------------------------------------------- recovery


def recover_message(path: Path) -> tuple[VoiceMessage, ...]:
    """Finish a message that a crash interrupted: cut, encode and name it as usual.

    The growing file and its journal are removed when all is saved.

    Args:
        path: The growing file, with its journal.

    Raises:
        MediaError: It is being written, has no journal, or nothing can be read from it.
        OutputError: The message cannot be written; the growing file stays.
    """
    entry = read_journal(path)
    if entry is None or entry.recipe is None or not is_message(path):
        raise MediaError(
            f"{path} is no voice message that was cut off", hint=Advice.CHECK_FILE.with_()
        )
    require_ended(path)
    recipe, rate_hz = entry.recipe, rate_of(path)
    try:
        recipe["heard"].pop("warnings", None)  # an earlier version wrote that there were none
        heard = Heard(**recipe["heard"])
        spec = VoiceSpec(
            path.parent,
            file=SoundFileSpec(**recipe["file"]),
            gate=GateSpec(**recipe["gate"]),
            name=str(recipe["name"]),
            with_picture=bool(recipe["with_picture"]),
            library=bool(recipe.get("library", True)),
        )
    except (KeyError, TypeError) as error:
        raise MediaError(
            f"{path} was begun by another version of capture: {error}",
            hint="finish it with that one; until then it is a WAV file that plays",
        ) from error
    clear_parts(path.parent)  # of a recovery that was cut off itself
    messages = []
    for start_frame, end_frame in _spans(path, spec.gate, rate_hz):
        began = replace(heard, started_s=heard.started_s + start_frame / rate_hz)
        blocks = functools.partial(read_growing, path, start_frame, end_frame - start_frame)
        messages.append(save(blocks, rate_hz, began, spec))
    discard_growing(path)
    return tuple(messages)


def _spans(path: Path, gate: GateSpec, rate_hz: int) -> list[tuple[int, int]]:
    """First and last frame of the messages in a growing file; if there are none, of all sound.

    What was cut off in its first second may be too short to be known as speech: better a ping too
    many than a message lost.
    """
    judge = None if gate.is_any_sound else SpeechDetector()
    anything = replace(gate, is_any_sound=True, min_length_s=0.0)
    return _find(path, gate, rate_hz, judge) or _find(path, anything, rate_hz, None)


def _find(
    path: Path, gate: GateSpec, rate_hz: int, judge: SpeechDetector | None
) -> list[tuple[int, int]]:
    events = find_messages(map(as_float32, read_growing(path)), gate, rate_hz, judge)
    return [(e.start_frame, e.end_frame) for e in events if e.end_frame is not None]

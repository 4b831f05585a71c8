"""``capture record``: options into a spec, a spec into a session, a session onto the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeGuard

from cyclopts import Parameter

from capture import parse_start, parse_stop
from capture.cli.app import print_error, say
from capture.cli.recover import mention_orphans
from capture.cli.running import run_shown
from capture.cli.signals import StopSignals
from capture.cli.streams import detached_output
from capture.cli.values import Dimensions, Duration, Moment, RectOption, Size, as_target
from capture.cli.views import View, choose_view
from capture.coded import Coded
from capture.config import default_output
from capture.errors import (
    BackendUnavailableError,
    CaptureError,
    ConfigError,
    LibraryMissingError,
)
from capture.exit_codes import EXIT_DEAD_SOURCE, EXIT_INTERRUPTED, of_recording
from capture.hints import Advice
from capture.memory import return_large_blocks
from capture.specs.recording import AudioSpec, RecordingSpec, TrackMode, VideoSpec

__all__ = ["DEFAULTS", "RecordOptions", "record"]

READY_S = 4.0
"""So long before a time that was set the screen is opened; a private desktop is up in 1 s."""


@Parameter(name="*")
@dataclass
class RecordOptions:
    """What to record, and how, as people write it.

    Attributes:
        screen: Monitor by its number in `capture devices`; 0 is all of them.
        region: A part of the desktop, in pixels.
        window: The window with this in its title; followed when it moves.
        test_card: A moving test card of this size instead of a screen.
        video: Record pictures; by default unless the file is for sound alone.
        audio: system, system:OUTPUT, mic, mic:NAME, app:NAME, synthetic or none; may be repeated.
            By default system: what the speakers play.
        tracks: With several sources: one mixed track, separate ones, or both.
        audio_codec: By default what fits the file.
        fps: Pictures per second at most.
        cfr: Constant frame rate, for editors that want it.
        quality: Of the picture and of the sound.
        encoder: An encoder's name, or auto for hardware where it works.
        cursor: Draw the mouse pointer.
        duration: Stop after this long, pauses not counted.
        delay: Wait this long first.
        at: Wait until then: 20:15, or "2026-12-01 20:15".
        start_when: sound, window:TITLE or app:NAME; of several, all have to be there. With sound
            the file begins a moment before it.
        start_within: Give up when that has not come after this long.
        stop_when: silence:10s, window-closed, app-ended, size:1GB or duration:45m; the first one
            ends it.
        max_size: Stop when the file is about this large.
        split_every: Begin a new file after this long, without a gap.
        follow_default: Go over to the new default output, or microphone, when it changes.
        strict: Exit with code 4 when a source goes away, or records silence or a black picture.
        overwrite: Replace the file if it exists, once the new one is whole.
        private_desktop: Record a desktop of its own that nobody sees, where the command runs: on a
            server, without a screen.
    """

    screen: int | None = None
    region: RectOption = None
    window: str | None = None
    test_card: Dimensions = None
    video: bool | None = None
    audio: Annotated[tuple[str, ...], Parameter(negative="", metavar="SOURCE")] = ()
    tracks: TrackMode = TrackMode.BOTH
    audio_codec: Literal["aac", "opus", "flac", "pcm"] | None = None
    fps: float = 30.0
    cfr: Annotated[bool, Parameter(negative="")] = False
    quality: Literal["low", "medium", "high", "lossless"] = "medium"
    encoder: str = "libx264"
    cursor: bool = True
    duration: Duration = None
    delay: Duration = None
    at: Moment = None
    start_when: Annotated[tuple[str, ...], Parameter(negative="", metavar="RULE")] = ()
    start_within: Duration = None
    stop_when: Annotated[tuple[str, ...], Parameter(negative="", metavar="RULE")] = ()
    max_size: Size = None
    split_every: Duration = None
    follow_default: bool = True
    strict: Annotated[bool, Parameter(negative="")] = False
    overwrite: Annotated[bool, Parameter(negative="")] = False
    private_desktop: Dimensions = None

    def spec(self, output: Path | None, command: tuple[str, ...]) -> RecordingSpec:
        """The spec that they amount to.

        Args:
            output: The file; ``None``: a new one in the usual folder.
            command: What is recorded, where that is a command.

        Raises:
            ConfigError: A value makes no sense.
        """
        pictures = VideoSpec(
            as_target(self.screen, self.region, self.window, self.test_card),
            fps=self.fps,
            is_cfr=self.cfr,
            quality=self.quality,
            encoder=self.encoder,
            with_cursor=self.cursor,
        )
        is_film = self.video
        if is_film is None:
            is_asked_for = pictures != VideoSpec(quality=self.quality)
            is_film = output is None or is_asked_for or _may_hold_video(output)
        return RecordingSpec(
            output=output or default_output(".mp4" if is_film else ".m4a"),
            video=pictures if is_film else None,
            audio=_audio_specs(self.audio),
            tracks=self.tracks,
            audio_codec=self.audio_codec,
            duration_s=self.duration,
            delay_s=self.delay or 0.0,
            begin_at_s=self.at,
            start_when=tuple(parse_start(rule) for rule in self.start_when),
            start_within_s=self.start_within,
            stop_when=tuple(parse_stop(rule) for rule in self.stop_when),
            max_size_bytes=self.max_size,
            split_every_s=self.split_every,
            follow_default=self.follow_default,
            is_strict=self.strict,
            overwrite=self.overwrite,
            command=command,
            private_desktop=self.private_desktop,
        )


DEFAULTS = RecordOptions()


def record(
    output: Path | None = None,
    /,
    *,
    options: RecordOptions = DEFAULTS,
    json: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(alias="-q", negative="")] = False,
    words: Annotated[tuple[str, ...], Parameter(parse=False)] = (),
) -> int:
    """Record the screen together with what the speakers play.

    Ends with ^C, q, the duration, the closing of the window, or the end of the command after `--`.
    Meanwhile space pauses and goes on, m marks a chapter.

    Args:
        output: The file; its ending decides the format (.mp4 .mov .mkv .webm, and for sound
            alone .m4a .opus .ogg .mka .flac .wav). By default a new file in Videos/Capture.
        options: What to record, and how.
        json: Events on stdout, one JSON object a line; the last one is the result.
        quiet: Say nothing but errors.
        words: A command to record: it is started with the recording and ends it.
    """
    spec = options.spec(output, words)
    with detached_output(), StopSignals(is_last=True) as stop:
        stop.is_starting = True
        view = choose_view(is_json=json, is_quiet=quiet)
        try:
            if spec.begin_at_s is not None:  # what is wrong is said now, not when the time has come
                from capture import check_recording, missing_devices  # noqa: PLC0415 - loads av

                check_recording(spec)
                view.notes([f"not there now: {what}" for what in missing_devices(spec)])
            if not quiet:
                mention_orphans(spec.output.parent)
            _count_down(spec.begin_at_s, view, stop)
            return _run(spec, view, stop)
        except (KeyboardInterrupt, CaptureError) as error:
            if stop.explains(error):
                say("stopped before anything was recorded")
                return EXIT_INTERRUPTED
            if spec.private_desktop is None and _helps_desktop(error):
                raise _with_way_out(error) from error
            raise


def _may_hold_video(path: Path) -> bool:
    from capture import container_of  # noqa: PLC0415 - loads av

    return not container_of(path).is_audio_only


def _helps_desktop(error: BaseException) -> TypeGuard[BackendUnavailableError]:
    """Whether a private desktop is a way out that the error does not name yet."""
    if not isinstance(error, BackendUnavailableError) or isinstance(error, LibraryMissingError):
        return False
    desktops = {Advice.PRIVATE_DESKTOP, Advice.PRIVATE_DISPLAY}
    is_named = isinstance(error.hint, Coded) and error.hint.code in desktops
    return sys.platform == "linux" and not is_named


def _with_way_out(error: BackendUnavailableError) -> BackendUnavailableError:
    """The error, with the hint that a recording needs neither a screen nor a sound server."""
    way_out = "capture record --private-desktop 1280x720 …"
    hint = f"{error.hint}; without a desktop: {way_out}" if error.hint else way_out
    return BackendUnavailableError(error.message, hint=hint, details=error.details)


def _run(spec: RecordingSpec, view: View, stop: StopSignals) -> int:
    return_large_blocks()
    from capture import Session  # noqa: PLC0415 - NumPy is slow to load

    session = Session(spec, view.on_event)
    error = run_shown(session, view, stop)
    result = session.result
    assert result is not None
    code = of_recording(session.spec, result, has_failed=error is not None)
    if error is not None:
        print_error(error.message, error.hint)
    elif code == EXIT_DEAD_SOURCE:
        names = " and ".join(result.dead)
        print_error(f"recorded, but nothing came of {names}", "the warnings say what was missing")
    return code


def _count_down(begin_at_s: float | None, view: View, stop: StopSignals) -> None:
    """Show how long it is until a time, up to a few seconds before; the session waits the rest."""
    stop.check()
    while begin_at_s is not None and (left_s := begin_at_s - time.time()) > READY_S:
        wait_s = min(1.0, left_s - READY_S)
        view.wait(begin_at_s, lambda: stop.wait(wait_s))  # noqa: B023 - called at once
        stop.check()


def _audio_specs(names: Sequence[str]) -> tuple[AudioSpec, ...]:
    if not names:
        return (AudioSpec("system"),)
    if "none" in names:
        if len(names) > 1:
            raise ConfigError("--audio none and another source", hint="leave one of them out")
        return ()
    return tuple(AudioSpec(name) for name in names)

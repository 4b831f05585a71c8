"""The inputs of a recording: its screen and its sound, from opening to closing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from capture.clock import SessionClock, now_ns
from capture.model.recording import TrackReport
from capture.recording.sound import Sound
from capture.sources import open_audio, open_screen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from capture.recording.film import Film
    from capture.specs.recording import RecordingSpec


class Inputs:
    """The sources of a recording, with the film and the sound made of them.

    Args:
        spec: Checked before.

    Attributes:
        film: The pictures; ``None`` without, and before ``open()``.
        sound: The sound; likewise.
    """

    def __init__(self, spec: RecordingSpec) -> None:
        self._spec = spec
        self.film: Film | None = None
        self.sound: Sound | None = None

    def open(self, environment: Mapping[str, str] | None, check: Callable[[], None]) -> None:
        """Open the screen and all sources of sound; nothing is recorded yet.

        Args:
            environment: Of their desktop; ``None``: this process's own.
            check: Called in between; raises where it is to end.

        Raises:
            DeviceError: One of them is not there.
            BackendUnavailableError: This machine cannot do that.
        """
        spec = self._spec
        check()
        if spec.video is not None:
            screen = open_screen(spec.video, environment)
            try:
                from capture.recording.film import Film  # noqa: PLC0415 - av and cv2 are slow to load

                is_lossless = spec.video.quality == "lossless"
                self.film = Film(screen, spec.video.fps, is_lossless=is_lossless)
            except BaseException:
                screen.close()
                raise
        check()
        with contextlib.ExitStack() as opened:  # closes those before one that cannot be opened
            sources = [
                opened.enter_context(
                    open_audio(
                        audio,
                        rate_hz=spec.rate_hz,
                        follow_default=spec.follow_default,
                        environment=environment,
                    )
                )
                for audio in spec.audio
            ]
            opened.pop_all()
        if sources:
            self.sound = Sound(sources, spec.audio, spec.tracks, spec.rate_hz)

    def begin(self, start_ns: int | None) -> SessionClock:
        """Set media time 0; ``None``: at the first picture, which is taken now."""
        if start_ns is None and self.film is None:
            start_ns = now_ns()
        clock = SessionClock(self.film.begin(start_ns) if self.film else start_ns or 0)
        if self.sound is not None:
            self.sound.begin(clock)
        return clock

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each reason why a slower or poorer way was taken."""
        parts = [part for part in (self.film, self.sound) if part is not None]
        return tuple(note for part in parts for note in part.notes)

    def abort(self) -> None:
        """Drop pictures and sound that wait in mailboxes. Any thread."""
        if self.film is not None:
            self.film.mailbox.close(discard=True)
        if self.sound is not None:
            self.sound.abort()

    def close(self) -> None:
        """Close the sources; idempotent."""
        for part in (self.sound, self.film):
            if part is not None:
                part.close()

    def reports(
        self, video_codec: str | None, audio_codec: str, end_s: float
    ) -> tuple[TrackReport, ...]:
        """A report of each track so far, in the order of the file. Any thread."""
        reports = self.sound.reports(audio_codec) if self.sound is not None else ()
        if video_codec is None:
            return reports
        return (TrackReport("picture", "video", video_codec, 0.0, end_s), *reports)

    def picture_counts(self) -> dict[str, Any] | None:
        """Counts of pictures for the certificate; ``None`` without pictures."""
        film, video = self.film, self._spec.video
        if film is None or video is None:
            return None
        return {
            "fps": video.fps,
            "captured": film.captured,
            "unchanged": film.unchanged,
            "dropped": film.dropped,
        }

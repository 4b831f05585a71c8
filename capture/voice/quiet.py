"""Finds why no sound comes: the application does not play, or plays silence."""

from capture.cautions import Caution
from capture.live.event_log import EventLog
from capture.live.rule_watch import name_players
from capture.model.events import EventKind
from capture.model.signal import SoundState
from capture.sources.base import AudioSource
from capture.units import NS_PER_S

NOT_THERE_AFTER_S = 5.0
"""The application that is listened to does not play by then: perhaps its name is another."""
SILENT_AFTER_S = 10.0
"""Something plays, and nothing is heard of it: worth a warning after this long."""


class QuietWatch:
    """Watches a source that may give no sound. Used from one thread.

    Args:
        app: The application that is waited for; ``None`` where it may be any.
        events: Gets each finding once.
    """

    def __init__(self, app: str | None, events: EventLog) -> None:
        self._awaited = app
        self._events = events
        self._since_ns: int | None = None  # of the first look
        self._silent_ns = 0
        self._has_heard = False

    def note_stream(self) -> None:
        """Note that a stream began."""
        self._awaited = None

    def note_sound(self) -> None:
        """Note that something sounds."""
        self._has_heard = True

    def step(self, source: AudioSource, at_ns: int) -> None:
        """Check the source; asks the sound server once at most."""
        if self._since_ns is None:
            self._since_ns = self._silent_ns = at_ns
        is_late = at_ns - self._since_ns >= NOT_THERE_AFTER_S * NS_PER_S
        if self._awaited is not None and is_late:
            # An event, but no warning of the result: the sound may come yet.
            self._events.emit(
                EventKind.WARNING,
                Caution.APP_ABSENT.with_(name=self._awaited, players=name_players()),
            )
            self._awaited = None
        if source.sound_state is not SoundState.PLAYING or self._has_heard:
            self._silent_ns = at_ns
        elif at_ns - self._silent_ns >= SILENT_AFTER_S * NS_PER_S:
            self._events.warn(Caution.PLAYS_SILENCE.with_(name=source.label))

"""``keep_messages()``: a listening in one call."""

from collections.abc import Callable

from capture.model.events import Event
from capture.model.voice import VoiceResult
from capture.specs.voice import VoiceSpec
from capture.voice.keeper import VoiceKeeper

__all__ = ["keep_messages"]


def keep_messages(spec: VoiceSpec, on_event: Callable[[Event], None] | None = None) -> VoiceResult:
    """Keep messages until the spec's count or time is over, or ^C; gives the result.

    Raises:
        CaptureError: It could not start, or failed on the way.
    """
    return VoiceKeeper(spec, on_event).run()

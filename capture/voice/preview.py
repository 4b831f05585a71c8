"""Plays a kept message during a listening, without keeping it once more."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from capture.model.voice import VoiceState
from capture.player import Player

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture.model.voice import VoiceMessage
    from capture.voice.keeper import VoiceKeeper

__all__ = ["preview"]


@contextlib.contextmanager
def preview(keeper: VoiceKeeper, message: VoiceMessage) -> Iterator[Player]:
    """A player of a kept message; a listening to an output or microphone is paused meanwhile.

    A listening to applications needs no pause: each is followed alone, and this one never.

    Raises:
        CaptureError: The file cannot be read, or there is no output.
    """
    is_followed_alone = keeper.spec.source.partition(":")[0] in {"auto", "app"}
    is_pausing = not is_followed_alone and keeper.state is not VoiceState.PAUSED
    if is_pausing:
        keeper.pause()
    try:
        with Player(message.path) as player:
            yield player
    finally:
        if is_pausing:
            keeper.resume()

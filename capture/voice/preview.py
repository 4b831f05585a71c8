"""Plays a kept message during a listening, without keeping it once more."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from capture.model.voice import VoiceState
from capture.player import Player
from capture.voice.keeper import VoiceKeeper

__all__ = ["preview"]


@contextlib.contextmanager
def preview(keeper: VoiceKeeper, path: Path) -> Iterator[Player]:
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
        with Player(path) as player:
            yield player
    finally:
        if is_pausing:
            keeper.resume()

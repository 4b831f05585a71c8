"""How a keeper of voice messages is shown: a live view with keys, plain lines, JSON, or nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from capture.cli.app import say
from capture.cli.hints import in_options
from capture.cli.keys import action_of, legend, press
from capture.cli.views import POLL_S, JsonView, TerminalView, View
from capture.errors import CaptureError
from capture.model.events import Event, EventKind
from capture.model.voice import VoiceState
from capture.units import format_clock, format_dbfs, format_size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capture import VoiceKeeper, VoiceMessage, VoiceResult, VoiceSnapshot

__all__ = ["VoiceView", "choose_view", "kept_line", "render"]

_SPOKEN = {
    EventKind.WAITING,
    EventKind.WARNING,
    EventKind.DEVICE_LOST,
    EventKind.DEVICE_BACK,
    EventKind.DEFAULT_CHANGED,
    EventKind.MESSAGE_DROPPED,
}
_SIGNS = {
    VoiceState.LISTENING: ("◌", "listening", "cyan"),
    VoiceState.HEARING: ("●", "hearing", "red"),
    VoiceState.HOLDING: ("◐", "holding", "yellow"),
    VoiceState.PAUSED: ("‖", "paused", "yellow"),
    VoiceState.FINISHING: ("○", "finishing", "cyan"),
}
PLAY_TURN_S = 0.05
LISTED = 8
"""So many of the kept messages stay in sight."""


class VoiceView(View):
    """Prints the paths of kept messages, nothing else; the base of the other views."""

    def on_event(self, event: Event) -> None:
        """Print the path of a kept message on stdout."""
        if event.kind is EventKind.MESSAGE_KEPT:
            print(event.message, flush=True)  # noqa: T201


class LineView(VoiceView):
    """Plain lines on stderr, for logs and pipes: one for each thing that happens."""

    def on_event(self, event: Event) -> None:
        """Print kept messages, warnings and changes of the source."""
        if event.kind is EventKind.MESSAGE_KEPT:
            details = event.details
            level, size = format_dbfs(details["rms_dbfs"]), format_size(details["size_bytes"])
            say(f"kept {details['length_s']:.1f} s, {level}, {size}")
        elif event.kind in _SPOKEN or event.kind is EventKind.STARTED or _is_new(event):
            say(event.message)
        super().on_event(event)

    def notes(self, notes: Sequence[str]) -> None:
        """Print each note as a line."""
        for note in notes:
            say(f"note: {note}")

    def finish(self, result: VoiceResult) -> None:
        """Print how many messages were kept."""
        say(_summary(result))


class LiveView(TerminalView, VoiceView):
    """A live view with keys, in a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._question: str | None = None
        self._asked: VoiceMessage | int | None = None
        """What the question is about: a message that was kept, or the number of an open one."""
        self._player: threading.Thread | None = None
        self._stop_playing = threading.Event()

    def __exit__(self, *_: object) -> None:
        self._end_playing()
        super().__exit__()

    def on_event(self, event: Event) -> None:
        """Print warnings; paths go to stdout where that is not this terminal."""
        if event.kind in _SPOKEN:
            self.say(event.message, "yellow")
        if sys.stdout is not None and not sys.stdout.isatty():
            super().on_event(event)

    def show(self, keeper: VoiceKeeper) -> None:
        """Draw the view once and act on at most one key."""
        snapshot = keeper.snapshot()
        held_dbfs = self.peaks.update("level", snapshot.level.peak_dbfs)
        keys = self._question or legend({*keeper.actions(), "drop", "play"})
        picture = render(snapshot, held_dbfs, keys, is_question=self._question is not None)
        self.live.update(picture, refresh=True)
        key = self.keys.read(POLL_S)
        if key is not None:
            self._press(key, keeper, snapshot)

    def finish(self, result: VoiceResult) -> None:
        """Print the kept messages and a summary."""
        for message in result.messages:
            self.say(kept_line(message))
        self.say(_summary(result))

    def _press(self, key: str, keeper: VoiceKeeper, snapshot: VoiceSnapshot) -> None:
        action = action_of(key)
        if self._question is not None:
            self._question = None
            if key in {"y", "Y"}:
                self._throw_away(keeper, snapshot)
        elif action == "drop" and snapshot.number is not None:
            self._asked = snapshot.number
            self._question = "throw away the open message? y / n"
        elif action == "drop" and snapshot.kept:
            self._asked = snapshot.kept[-1]
            self._question = f"throw away {self._asked.path.name}? y / n"
        elif action == "play" and snapshot.kept:
            self._play(keeper, snapshot.kept[-1])
        else:
            press(keeper, action)

    def _throw_away(self, keeper: VoiceKeeper, snapshot: VoiceSnapshot) -> None:
        """Drop the message of the question, though another may be open by now."""
        if isinstance(self._asked, int):
            keeper.throw_away(self._asked)
            if self._asked != snapshot.number:
                self.say("that message is over, and is kept: d again drops it", "yellow")
        elif self._asked is not None:
            try:
                keeper.delete(self._asked)
            except CaptureError as error:
                self.say(f"{error.message}; {in_options(error.hint)}", "yellow")

    def _play(self, keeper: VoiceKeeper, message: VoiceMessage) -> None:
        """Play a message on a thread of its own; the key again ends it."""
        if self._player is not None and self._player.is_alive():
            self._stop_playing.set()
            return
        self._stop_playing.clear()
        self._player = threading.Thread(
            target=self._play_now, args=(keeper, message), name="capture-play", daemon=True
        )
        self._player.start()

    def _play_now(self, keeper: VoiceKeeper, message: VoiceMessage) -> None:
        from capture import preview  # noqa: PLC0415 - loads av

        try:
            with preview(keeper, message.path) as player:
                while not player.is_over and not self._stop_playing.wait(PLAY_TURN_S):
                    player.feed()
        except CaptureError as error:
            self.say(f"{error.message}; {in_options(error.hint)}", "yellow")

    def _end_playing(self) -> None:
        if self._player is not None:
            self._stop_playing.set()
            self._player.join()


def choose_view(*, is_json: bool, is_quiet: bool) -> View:
    """The view that fits what was asked and where we run."""
    if is_json:
        return JsonView()
    if is_quiet:
        return VoiceView()
    # Closed ones are None.
    is_terminal = all(each is not None and each.isatty() for each in (sys.stderr, sys.stdin))
    return LiveView() if is_terminal else LineView()


def _is_new(event: Event) -> bool:
    """Whether a message begins, and not a further part of a long one."""
    return event.kind is EventKind.MESSAGE_OPENED and event.details["part"] == 1


def render(
    snapshot: VoiceSnapshot, held_dbfs: float, keys: str, *, is_question: bool
) -> RenderableType:
    """What is shown in a terminal: state, meter with the threshold, what was kept, keys."""
    from rich.console import Group  # noqa: PLC0415 - slow to load
    from rich.text import Text  # noqa: PLC0415

    from capture.cli.meters import meter  # noqa: PLC0415

    sign, word, style = _SIGNS.get(snapshot.state, ("·", snapshot.state.value, "dim"))
    head = Text.assemble(
        (f" {sign} {word}", f"bold {style}"),
        (f" {snapshot.app}" if snapshot.app else ""),
        (f"  {format_clock(snapshot.message_s)}" if snapshot.message_s else ""),
        (f"   {len(snapshot.kept)} kept in {format_clock(snapshot.listened_s)}", "dim"),
    )
    level = meter("level", snapshot.level, held_dbfs, snapshot.threshold_dbfs)
    rows = [
        Text(f" ✓ {kept_line(message)}", "green", overflow="ellipsis", no_wrap=True)
        for message in snapshot.kept[-LISTED:]
    ]
    note = [Text(f" ! {snapshot.message}", "yellow")] if snapshot.message else []
    last = Text(f" {keys}", "bold yellow") if is_question else Text(keys, "dim")
    return Group(head, level, *rows, *note, last)


def kept_line(message: VoiceMessage) -> str:
    """A kept message as a line: path, length, level."""
    return f"{message.path}  {message.length_s:.1f} s  {format_dbfs(message.rms_dbfs)}"


def _summary(result: VoiceResult) -> str:
    kept, dropped = len(result.messages), result.dropped
    total_s = sum(message.length_s for message in result.messages)
    parts = [f"{kept} message{'' if kept == 1 else 's'} kept, {total_s:.1f} s"]
    if dropped:
        parts.append(f"{dropped} other sound{'' if dropped == 1 else 's'} not kept")
    return f"{'; '.join(parts)}; listened for {format_clock(result.listened_s)}"

"""Watches a running recording for dead tracks and an overloaded encoder."""

from capture.clock import now_ns
from capture.live.event_log import EventLog
from capture.model.events import Event, EventKind
from capture.recording.inputs import Inputs
from capture.recording.watchdog import GridWatch, PictureCounts, Watchdog


class Health:
    """Checks the inputs and publishes what is wrong. Used from one thread.

    Args:
        inputs: Open, and recording.
        fps: Pictures per second of the grid; ``None`` without pictures.
        events: Gets what is found.

    Attributes:
        dead: Sources that recorded nothing of use, each once.
    """

    def __init__(self, inputs: Inputs, fps: float | None, events: EventLog) -> None:
        self._inputs = inputs
        self._events = events
        self._watchdog = Watchdog(now_ns(), inputs.film.is_black if inputs.film else None)
        self._grid = None if fps is None else GridWatch(fps)
        self.dead: list[str] = []

    def step(self, at_ns: int, *, is_recording: bool) -> None:
        """Check all inputs; during a pause nothing is expected of them."""
        if not is_recording:
            self._watchdog.rest(at_ns)
            return
        film, pictures = self._inputs.film, None
        if film is not None and self._grid is not None and not film.is_gone:
            pictures = PictureCounts(film.captured + film.unchanged, film.dropped)
            event = self._grid.step(at_ns, pictures)
            if event is not None:
                film.divisor = self._grid.divisor
                self._publish(event)
        sound = self._inputs.sound
        for event in self._watchdog.step(at_ns, sound.facts() if sound else [], pictures):
            self._publish(event)

    def end(self) -> None:
        """Check once more, for faults that lasted from beginning to end."""
        sound = self._inputs.sound
        if sound is not None and sound.has_recorded:
            for event in self._watchdog.end(now_ns(), sound.facts()):
                self._publish(event)

    def _publish(self, event: Event) -> None:
        self._events.add_warning(event.message)
        if event.kind is EventKind.DEAD_SIGNAL and event.source not in {None, *self.dead}:
            self.dead.append(str(event.source))
        self._events.publish(event)

"""``VoiceKeeper``: opens the source, runs the lanes, saves messages, decides when to stop.

Two threads besides those of the source: ``capture-voice`` moves sound from the blocks to the
growing file, ``capture-voice-save`` makes named files of finished messages, so that encoding a long
message never keeps the next one waiting.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from capture.cautions import Caution
from capture.clock import now_ns
from capture.errors import ConfigError, OutputError
from capture.gate import GateEvent, GateEventKind, GateState, Verdict
from capture.live.disk import check_free_space
from capture.live.rule_watch import SoundDetector, StartWait, check_rules, watch_for_end
from capture.live.rules import with_rules
from capture.live.running import Running
from capture.media.formats import MESSENGERS
from capture.media.output import as_output_error
from capture.media.write.encode import pcm16
from capture.media.write.growing import read_growing
from capture.messages import Library
from capture.model.events import Event, EventKind
from capture.model.signal import AudioBlock, Level
from capture.model.voice import VoiceMessage, VoiceResult, VoiceSnapshot, VoiceState
from capture.pipeline import Mailbox, MailboxClosedError, Pipeline, WhenFull
from capture.sources import MIX_STREAM
from capture.units import NS_PER_S
from capture.voice.lanes import AUTO, RATE_HZ, Lanes
from capture.voice.plan import check_folder, check_spec
from capture.voice.quiet import QuietWatch
from capture.voice.recent import Recent
from capture.voice.saving import Heard, save, wall_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray

    from capture.sources.base import AudioSource
    from capture.specs.voice import VoiceSpec
    from capture.voice.lane import Finished, Lane

__all__ = ["AUTO", "VoiceKeeper"]

TICK_S = 0.4
"""Sound is moved on in batches of so long: nobody waits for it, and few wake-ups cost little."""
BLOCKS_WAITING_FRAMES = 240 * RATE_HZ
"""Between source and gate, over all streams: a disk may stand still for a minute or more."""
LAST_SOUND_WITHIN_S = 0.4
"""Longest wait at the end for sound that is on its way from the server."""
LOOK_EVERY_S = 2.0
"""Time between two checks of the disk."""


class VoiceKeeper(Running[VoiceSnapshot, VoiceResult]):
    """Listens, and keeps every voice message that plays as a file of its own.

    A signal handler may call ``save_last()``.

    Args:
        spec: What to listen to, and what to make of it.
        on_event: Called with every event, from several threads; must not block.

    Raises:
        ConfigError: The spec makes no sense.
    """

    def __init__(self, spec: VoiceSpec, on_event: Callable[[Event], None] | None = None) -> None:
        super().__init__(on_event)
        check_spec(spec)
        self.spec = spec = with_rules(spec)
        self._state = VoiceState.READY
        self._kept: list[VoiceMessage] = []
        self._dropped = 0
        self._failures: list[BaseException] = []
        self._deleting = threading.Lock()
        self._pipeline = Pipeline()
        self._box: Mailbox[AudioBlock | Event | Callable[[], object]] = Mailbox(
            BLOCKS_WAITING_FRAMES,
            when_full=WhenFull.DROP_OLDEST,
            weigh=lambda item: len(item.samples) if isinstance(item, AudioBlock) else 0,
        )
        self._saving: Mailbox[Callable[[], None]] = Mailbox(1)  # forced in: it never waits
        self._source: AudioSource | None = None
        self._sound_detector = (
            SoundDetector(RATE_HZ) if any(r.kind == "silence" for r in spec.stop_when) else None
        )
        # What follows belongs to the capture-voice thread.
        self._lanes = Lanes(spec, self._finish_message, self._message_changed)
        self._replay = Recent(round(spec.keep_last_s * RATE_HZ))
        self._asked_for = 0  # messages that were handed over to be saved, at least in part
        self._opened = 0  # messages that ever were
        self._started_ns = self._heard_ns = self._look_ns = now_ns()
        self._is_in_haste = self._is_save_asked = False
        kind, _, name = spec.source.partition(":")
        self._quiet = QuietWatch(name if kind == "app" else None, self._events)

    # ------------------------------------------------------------------------------ for the owner

    def start(self) -> None:
        """Wait for the start rules, open the source and listen.

        Raises:
            NothingRecordedError: It was stopped before it began.
            CaptureError: Something that is needed is not there. Nothing is left behind.
        """
        start_wait = StartWait(self.spec, self._events, self.wait_for_stop)
        try:
            start_wait.check()
            check_rules((*self.spec.start_when, *self.spec.stop_when))
            check_folder(self.spec.folder)
            check_free_space(self.spec.folder, self.spec.min_free_bytes)
            self._lanes.load()
            if self.spec.start_when:
                self._state = VoiceState.WAITING
                start_wait.wait_for_others(self.spec.start_when)
            start_wait.check()
            self._source = self._lanes.open_source()
            start_wait.check()
            self._started_ns = self._heard_ns = now_ns()
            self._lanes.begin(self._started_ns)
            self._pipeline.add("voice", self._run, self._saving.close)
            self._pipeline.add("voice-save", self._save_all, self._conclude)
            self._pipeline.start()
            self._state = VoiceState.LISTENING
            self._source.start(self._take, self._on_source_event)
        except BaseException:
            self._state = VoiceState.FAILED
            self.stop("error")
            self._box.close(discard=True)
            if self._source is not None:
                self._source.close()
            if self._pipeline.stages:
                self._finished.wait()
            self._end_events()
            raise
        began_at_s = time.time() - (now_ns() - self._started_ns) / NS_PER_S
        message = f"listening to {self._source.label}"
        self._events.emit(EventKind.STARTED, message, began_at_s=began_at_s, notes=self.notes)
        watch_for_end(self, self.spec, self._sound_detector, self._started_ns, self._events)

    def abort(self) -> None:
        """Stop without waiting for sound in queues; the messages so far are kept."""
        self._is_in_haste = True
        self.stop("abort")

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes of the source, and what a messenger will do to the files."""
        messenger = self.spec.file.messenger
        return (
            *(self._source.notes if self._source is not None else ()),
            *((MESSENGERS[messenger].note,) if messenger is not None else ()),
        )

    @property
    def state(self) -> VoiceState:
        """The present state; ``snapshot()`` has more while it listens."""
        return self._state

    def pause(self) -> None:
        """Leave out all sound from now on; an open message stays open."""
        if self._state is VoiceState.LISTENING:
            self._state = VoiceState.PAUSED
            at_ns = now_ns()
            self._do(lambda: self._lanes.pause(at_ns))
            self._events.emit(EventKind.PAUSED, "paused")

    def resume(self) -> None:
        """End the pause; new sound continues the open message."""
        if self._state is VoiceState.PAUSED:
            self._state = VoiceState.LISTENING
            at_ns = now_ns()
            self._do(lambda: self._lanes.resume(at_ns))
            self._events.emit(EventKind.RESUMED, "listening")

    def keep(self) -> None:
        """End the open message now and keep it; does nothing without one."""
        self._do(self._lanes.cut)

    def throw_away(self, number: int) -> None:
        """Drop an open message, with the rest of it that is still to come.

        Args:
            number: Which, as in a snapshot; one that is over by now stays as it is.
        """
        self._do(lambda: self._lanes.reject(number))

    def delete(self, message: VoiceMessage) -> None:
        """Delete a kept message, its picture and its entry in the library, for good.

        A second time changes nothing.

        Raises:
            OutputError: The system refuses.
        """
        with self._deleting:
            if message not in self._kept:
                return
            if message.id is not None:
                with Library() as library, contextlib.suppress(ConfigError):  # it is gone already
                    library.purge(library.find(message.id))
            for path in filter(None, (message.path, message.picture)):
                with as_output_error(path):
                    path.unlink(missing_ok=True)
            self._kept.remove(message)
            self._dropped += 1
        self._events.emit(
            EventKind.MESSAGE_DROPPED, f"{message.path.name} is deleted", why="thrown-away"
        )

    def save_last(self) -> None:
        """Save the sound of the last ``spec.keep_last_s``, message or not, as a file.

        May be called from a signal handler: it takes no lock.
        """
        self._is_save_asked = True

    def actions(self) -> dict[str, Callable[[], object]]:
        """As of all that runs; ``keep`` the open message, ``save`` what sounded last."""
        return super().actions() | {"keep": self.keep, "save": self.save_last}

    def snapshot(self) -> VoiceSnapshot:
        """The values of this moment; cheap, made to be polled 10-20 times a second."""
        lane = max(self._open_lanes, key=lambda each: each.open_s, default=None)
        state = self._state
        if state is VoiceState.LISTENING and lane is not None:
            state = VoiceState(lane.state.value)
        return VoiceSnapshot(
            state=state,
            listened_s=(now_ns() - self._started_ns) / NS_PER_S,
            app=lane.app if lane is not None and lane.open_s else None,
            message_s=lane.open_s if lane is not None else 0.0,
            number=lane.number if lane is not None and lane.open_s else None,
            level=lane.level() if lane is not None else Level(-math.inf, -math.inf),
            threshold_dbfs=lane.threshold_dbfs if lane is not None else -math.inf,
            kept=tuple(self._kept),
            message=self._events.last_warning,
        )

    # ---------------------------------------------------------------------------- from the source

    def _take(self, block: AudioBlock) -> None:
        if self._sound_detector is not None and block.stream != MIX_STREAM:
            self._sound_detector.take(block)
        with contextlib.suppress(MailboxClosedError):
            if not self._box.put(block):
                self._events.warn(Caution.SOUND_LOST.with_())

    def _on_source_event(self, event: Event) -> None:
        if event.kind in {EventKind.STREAM_STARTED, EventKind.STREAM_ENDED}:
            with contextlib.suppress(MailboxClosedError):
                self._box.put(event, force=True)
        self._events.forward(event)

    @property
    def _open_lanes(self) -> list[Lane]:
        return list(self._lanes.lanes.values())

    def _do(self, action: Callable[[], object]) -> None:
        """Call a function on the capture-voice thread."""
        with contextlib.suppress(MailboxClosedError):
            self._box.put(action, force=True)

    # --------------------------------------------------------------------- the capture-voice thread

    def _run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                self._step()
                self._watch(now_ns())
            self._state = VoiceState.FINISHING
            self._events.emit(EventKind.FINISHING, "finishing")
            self._end(now_ns())
        except BaseException:
            self.stop("error")
            self._lanes.give_up()
            raise
        finally:
            self._box.close(discard=True)
            if self._source is not None:
                self._source.close()

    def _step(self) -> None:
        """Take the waiting blocks, and advance all lanes."""
        with contextlib.suppress(TimeoutError):
            for item in self._box.get_all(TICK_S, gather_s=TICK_S):
                if isinstance(item, AudioBlock):
                    self._lanes.push(item)
                elif isinstance(item, Event):
                    if item.kind is EventKind.STREAM_STARTED:
                        self._quiet.note_stream()
                    self._lanes.change(item)
                else:
                    item()
        for heard in self._lanes.advance(now_ns()):
            if self.spec.keep_last_s > 0:
                self._replay.add(pcm16(heard))
        if self._is_save_asked:
            self._is_save_asked = False
            self._save_replay()

    def _end(self, end_ns: int) -> None:
        """Finish all lanes with the sound up to the end."""
        deadline_ns = end_ns + round(LAST_SOUND_WITHIN_S * NS_PER_S)
        while not self._is_in_haste and now_ns() < deadline_ns:
            if self._lanes.are_at(end_ns):
                break
            self._step()
        self._lanes.finish(end_ns, is_enough=self._stopped_by == "count")

    def _watch(self, at_ns: int) -> None:
        """Stop when the count, the time, the disk or an error requires it."""
        spec = self.spec
        if any(lane.state is not GateState.LISTENING for lane in self._open_lanes):
            self._heard_ns = at_ns
        if spec.duration_s is not None and at_ns - self._started_ns >= spec.duration_s * NS_PER_S:
            self.stop("duration")
        elif spec.idle_s is not None and at_ns - self._heard_ns >= spec.idle_s * NS_PER_S:
            self.stop("idle")
        elif self._is_enough and not any(lane.is_continuing for lane in self._open_lanes):
            self.stop("count")
        assert self._source is not None
        self._quiet.step(self._source, at_ns)
        if at_ns >= self._look_ns:
            self._look_ns = at_ns + round(LOOK_EVERY_S * NS_PER_S)
            try:
                check_free_space(spec.folder, spec.min_free_bytes)
            except OutputError as error:
                self._fail(error, "disk")  # what is left is enough for what is open

    # ------------------------------------------------------------------------------------- messages

    def _message_changed(self, lane: Lane, event: GateEvent) -> None:
        if event.kind is GateEventKind.OPENED:
            self._quiet.note_sound()
            if event.part == 1:
                self._opened += 1
                lane.number = self._opened
            self._events.emit(
                EventKind.MESSAGE_OPENED,
                f"hearing {lane.app or lane.label}",
                app=lane.app,
                part=event.part,
            )
        elif event.kind is GateEventKind.CLOSED:
            if event.verdict is Verdict.KEPT and not lane.is_rejected:
                return
            self._dropped += 1
            why = "thrown-away" if lane.is_rejected else str(event.verdict)
            self._events.emit(
                EventKind.MESSAGE_DROPPED, f"{lane.app or lane.label}: {why}, not kept", why=why
            )

    def _finish_message(self, lane: Lane, finished: Finished) -> None:
        """Queue a message for saving, unless the wanted number is reached."""
        if finished.heard.part in {None, 1}:  # the others belong to one that was counted
            if self._is_enough:
                finished.growing.discard()
                lane.reject()  # and its other parts
                return
            self._asked_for += 1
        self._saving.put(lambda: self._save(finished), force=True)

    @property
    def _is_enough(self) -> bool:
        return self.spec.count is not None and self._asked_for >= self.spec.count

    def _save_replay(self) -> None:
        blocks = list(self._replay.between(self._replay.start_frame, self._replay.end_frame))
        if not blocks:
            self._events.warn(Caution.NO_RECENT_SOUND.with_())
            return
        assert self._source is not None
        label = self._source.label
        began_ns = now_ns() - sum(map(len, blocks)) * NS_PER_S // RATE_HZ
        heard = Heard(label, "Last", wall_time(began_ns))
        self._saving.put(lambda: self._make(lambda: blocks, heard), force=True)

    # ---------------------------------------------------------------- the capture-voice-save thread

    def _save_all(self) -> None:
        """Save queued messages; after an error the others are saved, and it ends."""
        while True:
            save_one = self._saving.get()
            try:
                save_one()
            except Exception as error:  # noqa: BLE001 - raised by wait()
                self._fail(error, "error")

    def _fail(self, error: Exception, reason: str) -> None:
        """End in order, and make ``wait()`` raise."""
        self._failures.append(error)
        self.stop(reason)

    def _save(self, finished: Finished) -> None:
        growing = finished.growing
        blocks = functools.partial(
            read_growing, growing.path, finished.first_frame, finished.frames
        )
        try:
            self._make(blocks, finished.heard)
        except BaseException:
            growing.give_up()  # `capture recover` makes a message of it
            raise
        growing.discard()

    def _make(self, blocks: Callable[[], Iterable[NDArray[np.int16]]], heard: Heard) -> None:
        message = save(blocks, RATE_HZ, heard, self.spec)
        self._kept.append(message)
        self._events.emit(EventKind.MESSAGE_KEPT, str(message.path), **asdict(message))
        limit = self.spec.max_size_bytes
        if limit is not None and sum(each.size_bytes for each in self._kept) >= limit:
            self.stop("size")
        for warning in message.warnings:
            self._events.warn(Caution.OF_FILE.with_(name=message.path.name, warning=warning))

    def _conclude(self) -> None:
        """Compute the result; the last step of the last thread."""
        errors = [*self._failures, *(s.error for s in self._pipeline.stages if s.error is not None)]
        self._error = errors[0] if errors else None
        self._result = VoiceResult(
            messages=tuple(self._kept),
            listened_s=(now_ns() - self._started_ns) / NS_PER_S,
            dropped=self._dropped,
            warnings=self._events.warnings,
            stopped_by="error" if errors and self._stopped_by != "disk" else self._stopped_by,
        )
        self._state = VoiceState.FAILED if errors else VoiceState.DONE
        self._events.emit(EventKind.DONE, self._result.stopped_by)
        self._end_events()

"""``Session``: opens the sources, runs the threads, ends them in order, gives the result.

Threads, in the order in which the material flows::

    capture-screen ──pictures──> capture-encode ──packets──┐
                                                           ├──> capture-mux ──> file
    (source threads) ──blocks──> capture-sound ──packets───┘
    capture-watchdog: duration, size, disk, errors; ends the recording and computes its result

Pictures are dropped where they are taken when the encoder or the disk is slow; sound never is.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from capture.cautions import Caution
from capture.clock import SessionClock, now_ns
from capture.errors import (
    CaptureError,
    DeviceLostError,
    NothingRecordedError,
    OutputError,
    SourceEndedError,
)
from capture.live.disk import DiskWatch
from capture.live.rule_watch import SoundDetector, StartWait, check_rules, watch_for_end
from capture.live.rules import with_rules
from capture.live.running import Running
from capture.media.certificate import certify
from capture.model.events import Event, EventKind
from capture.model.recording import RecordingResult, Snapshot, State, TrackReport
from capture.pipeline import Pipeline
from capture.recording.health import Health
from capture.recording.inputs import Inputs
from capture.recording.place import Place
from capture.recording.plan import audio_codec_of, check_spec, find_doubled, plan_segments
from capture.recording.segments import Segments, with_kept_length
from capture.recording.start import Start
from capture.specs.recording import RecordingSpec
from capture.units import NS_PER_S

__all__ = ["Session"]

WATCH_TICK_S = 0.1
DISK_EVERY_NS = NS_PER_S
DRAIN_WITHIN_S = 20.0
"""After the end; a disk that takes longer to answer is given up."""
PREPARE_S = 1.5
"""The sources and the encoder are opened so long before a time that was set: it takes 0.5 s."""
PLACE_S = 2.5
"""A private desktop is started so long before that: it is up in 1 s."""
LISTENING = {"sound", "silence"}
"""Kinds of rules that need sound."""
DEVICE_CHANGES = {EventKind.DEVICE_LOST, EventKind.DEVICE_BACK, EventKind.DEFAULT_CHANGED}


class Session(Running[Snapshot, RecordingResult]):
    """One recording.

    Args:
        spec: What to record.
        on_event: Called with every event, from several threads; must not block.

    Raises:
        ConfigError: The spec makes no sense.
    """

    def __init__(
        self, spec: RecordingSpec, on_event: Callable[[Event], None] | None = None
    ) -> None:
        super().__init__(on_event)
        check_spec(spec)
        self.spec = spec = with_rules(spec)
        self._state = State.READY
        self._device_changes = 0
        self._end_ns: int | None = None
        self._start_wait = StartWait(spec, self._events, self.wait_for_stop)
        self._pipeline = Pipeline()
        self._place = Place(spec)
        self._inputs = Inputs(spec)
        self._disk = DiskWatch(spec)
        self._free_bytes: int | None = None
        self._clock = SessionClock(now_ns())
        self._segments: Segments | None = None
        self._sound_detector: SoundDetector | None = None
        self._watchdog = threading.Thread(target=self._watch, name="capture-watchdog", daemon=True)

    # ------------------------------------------------------------------------------ for the owner

    def start(self) -> None:
        """Wait for the set time and rules, open the sources, and begin to record.

        Raises:
            NothingRecordedError: It was stopped before it began.
            CaptureError: Something that is needed is not there. Nothing is left behind.
        """
        start = Start(self.spec, self._start_wait, self._on_wait)
        try:
            if not self._place.is_private:
                self._check_rules()
            for warning in find_doubled(self.spec):
                self._events.warn(warning)
            self._disk.check_start()
            start.wait_for_time(PREPARE_S + PLACE_S * self._place.is_private)
            self._place.open()
            if self._place.is_private:
                self._check_rules()
            if self.spec.start_when:
                self._place.start_command()
            start.wait_for_time(PREPARE_S)
            start.wait_for_others(self._place.environment)
            self._inputs.open(self._place.environment, self._start_wait.check)
            self._prepare()
            start.wait_for_time()
            self._begin(start.wait_for_sound(self._sound_detector))
        except BaseException:
            self._state = State.FAILED
            self._inputs.close()
            self._place.close()
            self._end_events()
            raise
        try:
            self._place.start_command()
        except CaptureError as error:
            self._fail(error)
            self.stop("error")

    def pause(self) -> None:
        """Leave out everything from the next picture on."""
        if self._state is State.RECORDING:
            self._clock.pause(self._next_slot_ns())
            self._state = State.PAUSED
            self._events.emit(EventKind.PAUSED, "paused")

    def resume(self) -> None:
        """End the pause with the next picture."""
        if self._state is State.PAUSED:
            self._clock.resume(self._next_slot_ns())
            self._state = State.RECORDING
            self._events.emit(EventKind.RESUMED, "recording")

    def mark(self) -> None:
        """Begin a chapter at the present media time; does nothing unless it records."""
        if self._segments is not None and self._state is State.RECORDING:
            media_ns = self._clock.recorded_ns(now_ns())
            self._segments.markers_ns.append(media_ns)
            self._events.emit(EventKind.MARKED, f"chapter at {media_ns / NS_PER_S:.1f} s")

    def actions(self) -> dict[str, Callable[[], object]]:
        """As of all that runs, and ``mark``."""
        return super().actions() | {"mark": self.mark}

    def _before_stop(self) -> None:
        planned_ns = self._planned_end()
        self._end_ns = now_ns() if planned_ns is None else min(planned_ns, now_ns())
        if self._inputs.film is not None:
            self._inputs.film.wake()

    def abort(self) -> None:
        """End at once, without the pictures and sound in mailboxes; the file stays whole."""
        self.stop("abort")
        self._inputs.abort()

    @property
    def state(self) -> State:
        """The present state of the recording."""
        return self._state

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each reason why a slower or poorer way was taken."""
        return self._inputs.notes

    def snapshot(self) -> Snapshot:
        """The values of this moment; cheap, made to be polled 10-20 times a second."""
        at_ns = min(now_ns(), self._end_ns or (1 << 63))
        film, sound, segments = self._inputs.film, self._inputs.sound, self._segments
        return Snapshot(
            state=self._state,
            recorded_ns=self._clock.recorded_ns(at_ns) if segments else 0,
            written_bytes=segments.written_bytes if segments else 0,
            free_bytes=self._free_bytes,
            captured_pictures=film.captured if film else 0,
            dropped_pictures=film.dropped if film else 0,
            fps=film.fps_at(at_ns) if film else 0.0,
            levels=sound.levels() if sound else {},
            drift_ppm=sound.drift_ppm() if sound else {},
            path=segments.current_path if segments else None,
            message=self._events.last_warning,
        )

    # ------------------------------------------------------------------------------------- waiting

    def _check_rules(self) -> None:
        check_rules((*self.spec.start_when, *self.spec.stop_when), self._place.environment)

    def _on_wait(self) -> None:
        self._state = State.WAITING

    # ------------------------------------------------------------------------------------- starting

    def _prepare(self) -> None:
        """Do everything slow before media time 0."""
        self._start_wait.check()
        film, sound = self._inputs.film, self._inputs.sound
        self._segments = plan_segments(
            self.spec,
            like=film.like if film else None,
            tracks=sound.tracks if sound else (),
            on_choice=lambda message: self._events.emit(EventKind.CHOICE, message),
            on_done=lambda path: self._events.emit(EventKind.FILE_DONE, str(path)),
            certify=self._certify,
        )
        if sound is None:
            return
        if {rule.kind for rule in (*self.spec.start_when, *self.spec.stop_when)} & LISTENING:
            self._sound_detector = SoundDetector(self.spec.rate_hz)
        sound.start(
            self._on_source_event,
            self._on_overflow,
            self._sound_detector.take if self._sound_detector else None,
        )

    def _begin(self, start_ns: int | None) -> None:
        """Start recording at a moment; ``None``: at the first picture, which is taken now."""
        assert self._segments is not None
        self._clock = self._inputs.begin(start_ns)
        with self._lock:  # stopped before this: nothing is left; after it: it ends in order
            self._start_wait.check()
            self._state = State.RECORDING
        self._segments.segment(0)
        self._start_threads()
        began_at_s = time.time() - (now_ns() - self._clock.start_ns) / NS_PER_S
        message = f"recording to {self._segments.current_path}"
        self._events.emit(EventKind.STARTED, message, began_at_s=began_at_s)

    def _start_threads(self) -> None:
        assert self._segments is not None
        pipeline, segments = self._pipeline, self._segments
        film, sound = self._inputs.film, self._inputs.sound
        if film is not None:
            pipeline.add("screen", self._run_film, film.mailbox.close)
            pipeline.add("encode", self._encode, lambda: film.mailbox.close(discard=True))
        if sound is not None:
            pipeline.add("sound", self._run_sound, sound.abort)
        # Ends last: the watchdog closes its mailbox when all others have ended.
        pipeline.add("mux", segments.write_all, lambda: segments.mailbox.close(discard=True))
        pipeline.start()
        self._watchdog.start()
        place, start_ns = self._place.environment, self._clock.start_ns
        watch_for_end(
            self, self.spec, self._sound_detector, start_ns, self._events, environment=place
        )

    # ------------------------------------------------------------------------------- the threads

    def _run_film(self) -> None:
        """capture-screen: take pictures on the grid."""
        film = self._inputs.film
        assert film is not None
        film.run(self._clock, self._planned_end, self._stop_asked, self._on_screen_gone)

    def _on_screen_gone(self, error: SourceEndedError | DeviceLostError) -> bool:
        """Whether the recording continues without its screen."""
        if isinstance(error, SourceEndedError):
            self._events.emit(EventKind.FINISHING, str(error))
            self.stop("source-ended")
            return False
        if self._inputs.sound is not None and not self.spec.is_strict:
            # What can still be kept is kept: the sound goes on over the last picture.
            self._events.warn(Caution.SCREEN_LOST.with_(error=error.message))
            return True
        self._fail(error)
        self.stop("device-lost")
        return False

    def _encode(self) -> None:
        """capture-encode: encode pictures."""
        from capture.recording.lanes import PictureLane  # noqa: PLC0415 - loads av

        assert self.spec.video is not None
        assert self._segments is not None
        assert self._inputs.film is not None
        video, film, segments = self.spec.video, self._inputs.film, self._segments
        assert segments.video is not None
        duration_s = self.spec.duration_s
        lane = PictureLane(
            segments,
            segments.video,
            video.fps,
            is_cfr=video.is_cfr,
            end_ns=None if duration_s is None else round(duration_s * NS_PER_S),
            on_free=film.recycle,
        )
        film.encode(lane)
        lane.end(self._recorded_until_ns())

    def _run_sound(self) -> None:
        """capture-sound: lay blocks on the timelines, encode the tracks."""
        from capture.recording.lanes import SoundLane  # noqa: PLC0415 - loads av

        assert self._segments is not None
        assert self._inputs.sound is not None
        self._inputs.sound.run(SoundLane(self._segments), self._planned_end, self._stop_asked)

    def _watch(self) -> None:
        """capture-watchdog: end the recording when it is time, then finish it."""
        next_disk_ns = 0
        video = self.spec.video
        health = Health(self._inputs, None if video is None else video.fps, self._events)
        while not self._stop_asked.wait(WATCH_TICK_S):
            at_ns = now_ns()
            end_ns = self._planned_end()
            health.step(at_ns, is_recording=self._state is State.RECORDING)
            if self._pipeline.failed.is_set():
                self.stop("error")
            elif end_ns is not None and at_ns >= end_ns:
                self.stop("duration")
            elif self._place.has_command_ended():
                self.stop("command-ended")
            elif at_ns >= next_disk_ns:
                next_disk_ns = at_ns + DISK_EVERY_NS
                self._watch_disk()
        try:
            self._finish(health)
        except BaseException as error:  # noqa: BLE001 - the owner gets it
            self._fail(error)
        finally:
            self._place.close()
            self._state = State.FAILED if self._error else State.DONE
            self._events.emit(EventKind.DONE, self._stopped_by)
            self._end_events()

    def _watch_disk(self) -> None:
        assert self._segments is not None
        recorded_s = self._clock.recorded_ns(now_ns()) / NS_PER_S
        look = self._disk.look(self._segments.written_bytes, recorded_s)
        self._free_bytes = look.free_bytes
        if look.warning is not None:
            self._events.warn(look.warning)
        if look.stop_reason is not None:
            self.stop(look.stop_reason)

    # ----------------------------------------------------------------------------------- finishing

    def _finish(self, health: Health) -> None:
        assert self._segments is not None
        self._state = State.FINISHING
        self._events.emit(EventKind.FINISHING, "finishing the file")
        *upstream, mux = self._pipeline.stages
        deadline = time.monotonic() + DRAIN_WITHIN_S
        for stage in upstream:
            stage.join(max(0.1, deadline - time.monotonic()))
        self._segments.mailbox.close()
        if not mux.join(max(1.0, deadline - time.monotonic())):
            self._fail(
                OutputError(
                    f"the disk does not answer; {self.spec.output} may be incomplete",
                    hint="the file plays up to the last second or two that reached the disk",
                )
            )
        self._inputs.close()
        self._place.close()
        if self._pipeline.first_error is not None:
            self._fail(self._pipeline.first_error)
        health.end()
        # A folder that was deleted took finished files of a split recording along.
        paths = tuple(path for path in self._segments.paths if path.exists())
        if not paths:
            self._fail(NothingRecordedError("nothing was recorded"))
            return
        length_s = self._recorded_until_ns() / NS_PER_S
        if isinstance(self._error, OutputError) and not mux.is_alive:
            kept_s, self._error = with_kept_length(self._error, paths)
            length_s = min(length_s, kept_s)
        self._result = RecordingResult(
            paths=paths,
            duration_s=length_s,
            size_bytes=sum(path.stat().st_size for path in paths if path.exists()),
            captured_pictures=self._inputs.film.captured if self._inputs.film else 0,
            unchanged_pictures=self._inputs.film.unchanged if self._inputs.film else 0,
            dropped_pictures=self._inputs.film.dropped if self._inputs.film else 0,
            tracks=self._track_reports(),
            warnings=(*self._events.warnings, *self._place.warnings),
            stopped_by=self._stopped_by,
            pauses_s=self._clock.pauses_s,
            markers_s=tuple(m / NS_PER_S for m in self._segments.markers_ns),
            dead=tuple(health.dead),
            command_exit_code=self._place.exit_code,
        )

    def _certify(self) -> dict[str, Any]:
        """capture-mux: the certificate so far, for a file that ends now."""
        return certify(
            tracks=self._track_reports(),
            pictures=self._inputs.picture_counts(),
            device_changes=self._device_changes,
            pauses_s=self._clock.pauses_s,
            warnings=self._events.warnings,
        )

    def _track_reports(self) -> tuple[TrackReport, ...]:
        assert self._segments is not None
        video = self._segments.video
        return self._inputs.reports(
            video.codec if video is not None else None,
            audio_codec_of(self.spec),
            self._recorded_until_ns() / NS_PER_S,
        )

    # --------------------------------------------------------------------------------------- small

    def _planned_end(self) -> int | None:
        """Capture clock of the end; ``None`` while it is not known."""
        with self._lock:
            if self._end_ns is not None:
                return self._end_ns
        if self.spec.duration_s is None:
            return None
        return self._clock.moment_of(round(self.spec.duration_s * NS_PER_S))

    def _recorded_until_ns(self) -> int:
        return self._clock.recorded_ns(self._planned_end() or now_ns())

    def _next_slot_ns(self) -> int:
        """Capture clock of the next slot of the grid; now, without a grid."""
        film = self._inputs.film
        return film.slot_after(self._clock, now_ns()) if film else now_ns()

    def _on_source_event(self, event: Event) -> None:
        if event.kind in DEVICE_CHANGES:
            self._device_changes += 1
        self._events.forward(event)
        if event.kind is EventKind.DEVICE_LOST and self.spec.is_strict:
            self._fail(DeviceLostError(event.message))
            self.stop("device-lost")

    def _on_overflow(self) -> None:
        """Warn of lost blocks, except while waiting: those are older than any pre-roll."""
        if self._state is not State.WAITING:
            self._events.warn(Caution.SOUND_LOST.with_())

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._error = self._error or error

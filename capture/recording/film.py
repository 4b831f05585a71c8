"""The screen recording loop: when to look, what changed, what goes to the encoder.

The grid keeps its phase: a slot that was missed is skipped and counted, never made up for in a
burst. A picture is stamped with when it was grabbed, not with its slot. Where nothing changed
nothing is grabbed, converted or encoded, but a picture is written twice a second all the same.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capture.clock import SessionClock, now_ns
from capture.errors import DeviceLostError, SourceEndedError
from capture.media.write.picture import kept_picture
from capture.pipeline import Mailbox, MailboxClosedError, StopFlag, WhenFull
from capture.recording.compositor import Compositor
from capture.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from av import VideoFrame

    from capture.recording.lanes import PictureLane
    from capture.sources.base import ScreenSource


PICTURES_WAITING = 6
"""Between screen and encoder, as OBS has it: enough for a hiccup, too few to hide an overload."""
REPEAT_AFTER_NS = NS_PER_S // 2
"""A still screen is written this often all the same: it bounds what a crash can lose."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture for the encoder, with its time."""

    frame: VideoFrame | None
    """``None``: the same as before."""
    media_ns: int
    is_key: bool = False


class Film:
    """A screen source, its kept picture and the mailbox to the encoder.

    Args:
        screen: Where pictures come from; closed by ``close()``.
        fps: Slots of the grid per second.
        is_lossless: Keep every colour value as it is.

    Attributes:
        mailbox: Mailbox of pictures for the encoding thread.
        captured: Pictures handed over.
        unchanged: Slots in which nothing had changed.
        dropped: Slots that were missed, and pictures for which there was no room.
        divisor: Only every so many slots of the grid are used, 1 by default; any thread may set it.
    """

    def __init__(self, screen: ScreenSource, fps: float, *, is_lossless: bool) -> None:
        self.mailbox: Mailbox[Picture] = Mailbox(PICTURES_WAITING, when_full=WhenFull.DROP_NEW)
        self.captured = 0
        self.unchanged = 0
        self.dropped = 0
        self.divisor = 1
        self._screen: ScreenSource | None = screen
        self._slot_ns = NS_PER_S / fps
        self._picture = kept_picture(*screen.size_px, is_lossless=is_lossless)
        self._compositor = Compositor(self._picture, screen.size_px)
        self._recent: deque[int] = deque()
        self._handed_ns = 0
        self._is_pending = False
        self._first_slot = 0

    @property
    def like(self) -> VideoFrame:
        """An unfilled frame of the size, pixel format and colour tags of all frames."""
        return self._picture.like()

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes of the screen source."""
        return tuple(self._screen.notes) if self._screen is not None else ()

    @property
    def is_gone(self) -> bool:
        """Whether the source has ended: the last picture stays for the rest of the recording."""
        return self._screen is None

    def is_black(self) -> bool:
        """Whether the picture is all black; any thread may ask."""
        return self._picture.is_black()

    def recycle(self, frame: VideoFrame) -> None:
        """Take back the frame of a picture that is not used any more; any thread."""
        self._picture.recycle(frame)

    def fps_at(self, at_ns: int) -> float:
        """Number of pictures in the second before a moment."""
        return float(sum(at_ns - t < NS_PER_S for t in tuple(self._recent)))

    def slot_after(self, clock: SessionClock, at_ns: int) -> int:
        """Capture clock of the next slot after a moment."""
        slots = int((at_ns - clock.start_ns) / self._slot_ns)
        return clock.start_ns + round((slots + 1) * self._slot_ns)

    def begin(self, start_ns: int | None = None) -> int:
        """Take the first picture; gives media time 0 on the capture clock.

        Args:
            start_ns: Where the recording has begun; ``None``: with this picture. What lies between
                shows it too, since nobody took pictures then, and is not counted as dropped.

        Raises:
            SourceEndedError: The window was closed.
            DeviceLostError: The display went away.
        """
        _, captured_ns = self._look()
        self.mailbox.put(Picture(self._picture.to_frame(), 0, is_key=True))
        self._count(captured_ns)
        start_ns = captured_ns if start_ns is None else start_ns
        self._first_slot = int((captured_ns - start_ns) / self._slot_ns)
        return start_ns

    def run(
        self,
        clock: SessionClock,
        planned_end: Callable[[], int | None],
        stop_asked: StopFlag,
        on_gone: Callable[[SourceEndedError | DeviceLostError], bool],
    ) -> None:
        """Take pictures until the end; the main function of a thread.

        Args:
            clock: Start and pauses.
            planned_end: Capture clock of the end, ``None`` while it is not known.
            stop_asked: Set when the end was brought forward.
            on_gone: Called when the source is gone; true: go on with the last picture.
        """
        slot = self._first_slot
        was_paused = False
        while True:
            stride = self.divisor
            missed = self._slots_between(slot, _until_end(planned_end), clock) // stride
            slot += missed * stride
            if not was_paused:
                quiet = self._slots_between(slot, self._rest(clock, planned_end()), clock) // stride
                slot += quiet * stride
                late = self._slots_between(slot, _until_end(planned_end), clock) // stride
                slot += late * stride
                self.unchanged += quiet
                self.dropped += missed + late
            # The next one that the stride divides: a coarser grid keeps the phase of the finer.
            slot = (slot // stride + 1) * stride
            due_ns = clock.start_ns + round(slot * self._slot_ns)
            if not _sleep_until(due_ns, planned_end, stop_asked):
                return
            if clock.media_ns(now_ns()) is None:
                was_paused = True
                continue
            try:
                is_changed, captured_ns = self._look()
            except (SourceEndedError, DeviceLostError) as error:
                self.close()
                if not on_gone(error):
                    return
                continue
            media_ns = clock.media_ns(captured_ns)
            end_ns = planned_end()
            if media_ns is None or (end_ns is not None and captured_ns >= end_ns):
                continue
            self.unchanged += not is_changed
            if self._hand_over(media_ns, is_new=is_changed or was_paused, is_key=was_paused):
                was_paused = False
                self._count(captured_ns)

    def _slots_between(self, slot: int, at_ns: int, clock: SessionClock) -> int:
        """Number of slots after this one that have begun at a moment."""
        return max(0, int((at_ns - clock.start_ns) / self._slot_ns) - slot)

    def _rest(self, clock: SessionClock, end_ns: int | None) -> int:
        """Sleep while the screen is still; gives the time up to which it was, or 0."""
        media_ns = clock.media_ns(now_ns())
        if self._screen is None or self._is_pending or media_ns is None:
            return 0
        # Half a slot early: the next one is that of the repeated picture.
        wait_ns = self._handed_ns + REPEAT_AFTER_NS - media_ns - round(self._slot_ns / 2)
        until_ns = now_ns() + wait_ns
        if end_ns is not None:
            until_ns = min(until_ns, end_ns)
        try:
            return min(now_ns(), until_ns) if self._screen.rest(until_ns) else 0
        except DeviceLostError:
            return 0  # the next look raises it

    def _hand_over(self, media_ns: int, *, is_new: bool, is_key: bool) -> bool:
        """Give the encoder a picture if it needs one now; whether it did."""
        if is_new or self._is_pending:
            picture = Picture(self._picture.to_frame(), media_ns, is_key)
        elif media_ns - self._handed_ns >= REPEAT_AFTER_NS:
            picture = Picture(None, media_ns)
        else:
            return False
        # A picture that finds no room is not lost for good: the kept one has what changed.
        self._is_pending = not self.mailbox.put(picture)
        if self._is_pending and picture.frame is not None:
            self.recycle(picture.frame)
        self.dropped += self._is_pending
        if not self._is_pending:
            self._handed_ns = media_ns
        return not self._is_pending

    def wake(self) -> None:
        """Wake ``run``, whose end is now earlier. Any thread."""
        if (screen := self._screen) is not None:
            screen.wake()

    def encode(self, lane: PictureLane) -> None:
        """Pass pictures from the mailbox to a lane until it is closed; run in a thread."""
        while True:
            try:
                picture = self.mailbox.get()
            except MailboxClosedError:
                return
            lane.put(picture.frame, picture.media_ns, is_key=picture.is_key)

    def close(self) -> None:
        """Close the source; the kept picture stays."""
        if self._screen is not None:
            self._screen.close()
            self._screen = None

    def _look(self) -> tuple[bool, int]:
        """Update the kept picture; gives whether it changed, and when."""
        if self._screen is None:
            return False, now_ns()
        shown = self._screen.grab()
        return self._compositor.take(shown), shown.captured_ns

    def _count(self, at_ns: int) -> None:
        self.captured += 1
        self._recent.append(at_ns)
        while at_ns - self._recent[0] > NS_PER_S:
            self._recent.popleft()


def _until_end(planned_end: Callable[[], int | None]) -> int:
    """The present, at most the end: a busy machine may come to it late, and no slot follows it."""
    end_ns = planned_end()
    return now_ns() if end_ns is None else min(now_ns(), end_ns - 1)


def _sleep_until(due_ns: int, planned_end: Callable[[], int | None], stop_asked: StopFlag) -> bool:
    """Wait for a slot of the grid; false when the recording ends before it."""
    end_ns = planned_end()
    until_ns = due_ns if end_ns is None else min(due_ns, end_ns)
    wait_s = (until_ns - now_ns()) / NS_PER_S
    if wait_s > 0 and stop_asked.wait(wait_s):
        return False
    end_ns = planned_end()
    return end_ns is None or due_ns < end_ns

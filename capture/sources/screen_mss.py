"""Screens and regions through mss, on every system; windows where a helper follows them.

Owns what is filmed, in memory that lives as long as the source. A ``Helper`` of the window system
finds the area, the changes and the pointer, and may read pixels faster. Without one
the whole area is read every time and compared with the picture before.
"""

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, Final, Protocol

import mss
import numpy as np
from mss.exception import ScreenShotError
from numpy.typing import NDArray

from capture.clock import now_ns
from capture.errors import (
    BackendUnavailableError,
    ConfigError,
    DeviceLostError,
    DeviceNotFoundError,
)
from capture.geometry import Rect
from capture.hints import Advice
from capture.model.devices import Monitor
from capture.model.signal import Pointer, ScreenPicture
from capture.sources.base import ScreenSource
from capture.specs.target import Desktop, Region, Screen

# Changed rows this close to each other are one rectangle: closer to one text line than to two.
_ROW_GAP: Final = 16

if sys.platform == "win32":
    _SCREEN_HINT = "log in to the desktop: a service or a remote shell shows none"
elif sys.platform == "darwin":
    _SCREEN_HINT = "allow the terminal to record the screen: System Settings, Privacy & Security"
else:
    _SCREEN_HINT: str = Advice.PRIVATE_DESKTOP.with_()


class Helper(Protocol):
    """The features of a window system beyond pixels. All places are in desktop coordinates.

    Attributes:
        can_read: Whether ``read`` and ``read_kept`` may be used; otherwise mss reads.
        notes: Why something is missing, one sentence each.
    """

    can_read: bool
    notes: list[str]

    def look(self) -> tuple[Rect | None, tuple[Rect, ...] | None, Pointer | None]:
        """Find the changes since the last call.

        Returns:
            Where the filmed area is (``None``: hidden, keep the last picture); what changed inside
            it (``None``: unknown, compare); the pointer.

        Raises:
            SourceEndedError: The window was closed.
            DeviceLostError: The display went away.
        """

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        """BGRA pixels, shape ``(height, width, 4)``; valid until the next call."""

    def read_kept(self, area: Rect) -> NDArray[np.uint8]:
        """BGRA pixels of the whole area, valid until the next call of ``read_kept``."""

    def rest(self, until_ns: int) -> bool:
        """Sleep while nothing changes; see ``ScreenSource.rest``."""

    def wake(self) -> None:
        """Wake ``rest()``; see ``ScreenSource.wake``."""

    def close(self) -> None:
        """Release all resources; idempotent."""


class MssScreen(ScreenSource):
    """A part of the desktop, kept as one picture.

    Reads the area once while being made, to prove that it works.

    Args:
        area: What to film, in desktop coordinates.
        label: What to call it.
        helper: Owned from now on: closed with the source, or if making it fails.
        display: X11 display, for mss; ``None``: this process's own. Ignored elsewhere.
        notes: Put before the helper's own.

    Raises:
        BackendUnavailableError: If the system gives no pixels.
        DeviceLostError: If the display goes away meanwhile.
    """

    def __init__(
        self,
        area: Rect,
        label: str,
        *,
        helper: Helper | None = None,
        display: str | None = None,
        notes: Iterable[str] = (),
    ) -> None:
        self.label = label
        self.notes = [*notes, *(helper.notes if helper else ())]
        self._area = area
        self._helper = helper
        self._mss: mss.MSS | None = None
        self._is_first = True
        try:
            if helper is None or not helper.can_read:
                self._mss = _open_mss(display)
            # Not always the area's own size: macOS counts an area in points, two pixels each.
            self._kept = self._read_kept()
        except BaseException:
            self.close()
            raise
        self.size_px = (self._kept.shape[1], self._kept.shape[0])

    def grab(self) -> ScreenPicture:
        """The present picture of the area; see ``ScreenSource.grab``."""
        begun_ns = now_ns()
        area: Rect | None = self._area
        changed: tuple[Rect, ...] | None = None
        pointer: Pointer | None = None
        if self._helper:
            area, changed, pointer = self._helper.look()
        if area is None:
            area, changed, pointer = self._area, (), None
        is_new = self._is_first or self._size_of(area) != self._size_of(self._area)
        self._area, self._is_first = area, False
        if is_new:
            dirty = self._replace()
        elif changed is None:
            dirty = self._compare()
        else:
            dirty = self._refresh(changed)
        captured_ns = (begun_ns + now_ns()) // 2
        return ScreenPicture(self._kept, tuple(dirty), captured_ns, self._placed(pointer))

    def rest(self, until_ns: int) -> bool:
        """Sleep while nothing changes; see ``ScreenSource.rest``."""
        return self._helper is not None and self._helper.rest(until_ns)

    def wake(self) -> None:
        """Wake ``rest()``; see ``ScreenSource.wake``."""
        if self._helper:
            self._helper.wake()

    def close(self) -> None:
        """Close the helper and the connection of mss; idempotent."""
        if self._helper:
            self._helper.close()
        screen, self._mss = self._mss, None  # a second close of a dead display would crash
        if screen:
            with suppress(ScreenShotError):  # it died before us
                screen.close()

    # Pixels. Rectangles are in picture coordinates from here on.

    def _read(self, rect: Rect) -> NDArray[np.uint8]:
        """Pixels of a rectangle of the desktop; valid until the next call."""
        if self._mss is None:
            assert self._helper is not None, "a closed source"
            return self._helper.read(rect)
        try:
            shot = self._mss.grab(
                {
                    "left": rect.left_px,
                    "top": rect.top_px,
                    "width": rect.width_px,
                    "height": rect.height_px,
                }
            )
        except (ScreenShotError, OSError, AssertionError) as error:  # mss asserts an answer
            raise DeviceLostError(
                f"the screen cannot be read any more: {error}",
                hint="see whether the display still runs, then start again",
                details=dict(getattr(error, "details", {})),
            ) from error
        pixels: NDArray[np.uint8] = np.frombuffer(shot.raw, np.uint8)
        return pixels.reshape(shot.height, shot.width, 4)

    def _read_kept(self) -> NDArray[np.uint8]:
        """Pixels of the whole area, for the kept picture; the previous ones may be overwritten."""
        if self._helper and self._helper.can_read:
            return self._helper.read_kept(self._area)
        return self._read(self._area).copy()

    def _replace(self) -> list[Rect]:
        """Read the whole area at its present size."""
        self._kept = self._read_kept()
        return [self._bounds]

    def _refresh(self, changed: Iterable[Rect]) -> list[Rect]:
        """Read the parts that have changed."""
        left, top = self._area.left_px, self._area.top_px
        inside = (rect.moved(-left, -top).intersect(self._bounds) for rect in changed)
        dirty = [rect for rect in inside if rect]
        if dirty == [self._bounds]:
            return self._replace()
        for rect in dirty:
            self._kept[rect.slices] = self._read(rect.moved(left, top))
        return dirty

    def _compare(self) -> list[Rect]:
        """Read the whole area and find the changes."""
        pixels = self._read(self._area)
        if pixels.shape != self._kept.shape:
            self._kept = pixels.copy()
            return [self._bounds]
        dirty = differing(self._kept, pixels)
        for rect in dirty:
            self._kept[rect.slices] = pixels[rect.slices]
        return dirty

    def _placed(self, pointer: Pointer | None) -> Pointer | None:
        """The pointer in picture coordinates; ``None`` if no part of it is inside."""
        if pointer is None:
            return None
        place = pointer.place.moved(-self._area.left_px, -self._area.top_px)
        return Pointer(place, pointer.image) if place.intersect(self._bounds) else None

    @property
    def _bounds(self) -> Rect:
        return Rect(0, 0, self._kept.shape[1], self._kept.shape[0])

    @staticmethod
    def _size_of(rect: Rect) -> tuple[int, int]:
        return rect.width_px, rect.height_px


def differing(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> list[Rect]:
    """Bands of rows in which two pictures differ, each as wide as its changes.

    Args:
        before: BGRA, shape ``(height, width, 4)``.
        now: The same of another moment.

    Returns:
        Rectangles that don't overlap, from top to bottom; empty if all is the same.
    """
    # A pixel is one number: four times fewer comparisons.
    differs = before.view(np.uint32)[..., 0] != now.view(np.uint32)[..., 0]
    rows = np.flatnonzero(differs.any(axis=1))
    if not rows.size:
        return []
    cuts = np.flatnonzero(np.diff(rows) > _ROW_GAP) + 1
    rects = []
    for first, end in pairwise([0, *cuts.tolist(), rows.size]):
        top, bottom = int(rows[first]), int(rows[end - 1]) + 1
        columns = np.flatnonzero(differs[top:bottom].any(axis=0))
        left, right = int(columns[0]), int(columns[-1]) + 1
        rects.append(Rect(left, top, right - left, bottom - top))
    return rects


def list_monitors(display: str | None = None) -> tuple[Monitor, ...]:
    """All monitors, the first one as number 1.

    Args:
        display: X11 display; ``None``: this process's own. Ignored elsewhere.

    Raises:
        BackendUnavailableError: If this system gives no screen to read.
    """
    screen = _open_mss(display)
    try:
        found = screen.monitors[1:]
    except (ScreenShotError, OSError) as error:
        raise _no_screen(error) from error
    finally:
        with suppress(ScreenShotError):
            screen.close()
    return tuple(_monitor(number, raw) for number, raw in enumerate(found, 1))


def find_area(monitors: Sequence[Monitor], target: Screen | Desktop | Region) -> tuple[Rect, str]:
    """The rectangle of a target, and its label.

    Args:
        monitors: As ``list_monitors()`` gives them.
        target: All of them, one, or a part.

    Raises:
        DeviceNotFoundError: No such monitor, or the region is on none.
        ConfigError: A part of the region lies outside the desktop.
    """
    if not monitors:
        raise DeviceNotFoundError("no monitor is connected", hint=_SCREEN_HINT)
    desktop = monitors[0].rect
    for monitor in monitors[1:]:
        desktop = desktop.union(monitor.rect)
    if isinstance(target, Region):
        return _checked(target.rect, desktop), f"region {target.rect}"
    if isinstance(target, Desktop):
        return desktop, "all screens"
    if target.number is None:
        chosen = next((monitor for monitor in monitors if monitor.is_primary), monitors[0])
    else:
        found = [monitor for monitor in monitors if monitor.id == target.number]
        if not found:
            there = ", ".join(f"{monitor.id} ({monitor.rect})" for monitor in monitors)
            raise DeviceNotFoundError(
                f"there is no screen {target.number}", hint=f"there is {there}"
            )
        chosen = found[0]
    return chosen.rect, f"screen {chosen.id}" + (f" ({chosen.name})" if chosen.name else "")


def _checked(region: Rect, desktop: Rect) -> Rect:
    inside = region.intersect(desktop)
    if inside == region:
        return region
    message = f"the region {region} lies outside the desktop, which is {desktop}"
    if inside is None:
        raise DeviceNotFoundError(message, hint=Advice.SHOW_DEVICES.with_())
    numbers = (inside.left_px, inside.top_px, inside.width_px, inside.height_px)
    hint = Advice.REGION_INSIDE.with_(region=",".join(map(str, numbers)))
    raise ConfigError(message.replace("lies", "lies partly"), hint=hint)


def _monitor(number: int, raw: dict[str, Any]) -> Monitor:
    rect = Rect(raw["left"], raw["top"], raw["width"], raw["height"])
    return Monitor(number, raw.get("output") or raw.get("name"), rect, raw.get("is_primary"))


def _open_mss(display: str | None) -> mss.MSS:
    try:
        return mss.MSS() if display is None else mss.MSS(display=display)
    except (ScreenShotError, OSError) as error:
        raise _no_screen(error) from error


def _no_screen(error: Exception) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"this system gives no screen to read: {error}",
        hint=_SCREEN_HINT,
        details=dict(getattr(error, "details", {})),
    )

"""Screens and windows of real X servers, drawn on by the tests themselves."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xcffib
import xcffib.randr
import xcffib.xfixes
import xcffib.xproto
import xcffib.xtest

from capture.clock import now_ns
from capture.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    ConfigError,
    DeviceLostError,
    DeviceNotFoundError,
    SourceEndedError,
)
from capture.geometry import Rect
from capture.model.devices import WindowInfo
from capture.sources import list_monitors, list_windows, open_screen
from capture.sources._x11_damage import merged
from capture.sources.screen_mss import MssScreen, differing
from capture.sources.screen_x11 import GLANCE_NS, REST_AFTER_NS, X11Display, X11Helper
from capture.specs.recording import VideoSpec
from capture.specs.target import Desktop, Region, Screen, Window
from capture.units import NS_PER_S
from tests.device.painter import BLUE, GREEN, GREY, HEIGHT, RED, WIDTH, Painter, x_server
from tests.device.recorded import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from capture.model.signal import ScreenPicture
    from capture.sources.base import ScreenSource
    from capture.specs.target import Target

pytestmark = pytest.mark.device

PRIMARY = Screen()
EVERYWHERE = np.s_[:, :]
MOTION_NOTIFY = 6  # of the X protocol


@pytest.fixture(scope="session")
def screen_display() -> Iterator[str]:
    with x_server() as (display, _):
        yield display


@pytest.fixture
def painter(screen_display: str) -> Iterator[Painter]:
    with Painter(screen_display) as painter:
        yield painter


def opened(display: str, target: Target = PRIMARY, *, with_cursor: bool = False) -> ScreenSource:
    return open_screen(VideoSpec(target, with_cursor=with_cursor), {"DISPLAY": display})


def truth(display: str) -> NDArray[np.uint8]:
    """The whole screen, grabbed by another path: mss, nothing kept."""
    with MssScreen(Rect(0, 0, WIDTH, HEIGHT), "truth", display=display) as source:
        return source.grab().pixels.copy()


def colours(pixels: NDArray[np.uint8]) -> set[int]:
    return {int(value) & 0xFFFFFF for value in np.unique(pixels.copy().view("<u4"))}


def eventually(source: ScreenSource, part: tuple[slice, slice], colour: int) -> ScreenPicture:
    """The first picture of one colour there: a window is given time to draw itself anew."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        picture = source.grab()
        if colours(picture.pixels[part]) == {colour}:
            return picture
        time.sleep(0.01)
    pytest.fail(f"never {colour:#x}: {[hex(c) for c in colours(picture.pixels[part])]}")


# ------------------------------------------------------------------------------- screens, regions


def test_a_still_screen_changes_only_once(screen_display: str, painter: Painter) -> None:
    painter.window(Rect(10, 20, 100, 50), RED)
    with opened(screen_display) as source:
        first = source.grab()
        assert source.size_px == (WIDTH, HEIGHT)
        assert source.notes == []
        assert first.changed == (Rect(0, 0, WIDTH, HEIGHT),)
        assert colours(first.pixels[20:70, 10:110]) == {RED}
        assert [source.grab().changed for _ in range(10)] == [()] * 10


def test_a_changed_corner_is_reported_and_read(screen_display: str, painter: Painter) -> None:
    with opened(screen_display) as source:
        source.grab()
        painter.fill(painter.root, Rect(WIDTH - 7, HEIGHT - 5, 7, 5), BLUE)
        picture = source.grab()
        assert picture.changed == (Rect(WIDTH - 7, HEIGHT - 5, 7, 5),)
        assert colours(picture.pixels[-5:, -7:]) == {BLUE}
        assert colours(picture.pixels[:-5]) == {GREY}
        assert source.grab().changed == ()


@pytest.mark.parametrize("region", [None, Rect(33, 17, 301, 255)])
def test_no_change_is_missed(screen_display: str, painter: Painter, region: Rect | None) -> None:
    rng = np.random.default_rng(11)
    area = region or Rect(0, 0, WIDTH, HEIGHT)
    windows = [painter.window(Rect(40 * n, 30 * n, 200, 150), GREY) for n in range(3)]
    with opened(screen_display, Region(region) if region else Screen()) as source:
        copy = source.grab().pixels.copy()
        for round_ in range(150):
            for _ in range(int(rng.integers(1, 6))):
                drawable = [painter.root, *windows][int(rng.integers(4))]
                x, y, width, height = (int(rng.integers(1, limit)) for limit in (600, 440, 90, 70))
                painter.fill(drawable, Rect(x, y, width, height), int(rng.integers(1 << 24)))
            if round_ % 10 == 0:
                painter.place(windows[round_ % 3], x=int(rng.integers(400)))
            if round_ % 3:
                continue
            picture = source.grab()
            for rect in picture.changed:
                part = slice(rect.top_px, rect.bottom_px), slice(rect.left_px, rect.right_px)
                copy[part] = picture.pixels[part]
            assert np.array_equal(copy, picture.pixels), "something changed without being said"
        picture = source.grab()
        kept = picture.pixels.copy()
    now = truth(screen_display)
    now = now[area.top_px : area.bottom_px, area.left_px : area.right_px]
    assert np.array_equal(kept[..., :3], now[..., :3])


def test_monitors_and_labels(screen_display: str) -> None:
    monitors = list_monitors({"DISPLAY": screen_display})
    assert [(m.id, m.rect) for m in monitors] == [(1, Rect(0, 0, WIDTH, HEIGHT))]
    with opened(screen_display, Desktop()) as source:
        assert source.label == "all screens"
    with opened(screen_display, Screen(1)) as source:
        assert source.label.startswith("screen 1")


def test_places_off_the_screen_are_refused(screen_display: str) -> None:
    with pytest.raises(ConfigError, match="partly outside") as caught:
        opened(screen_display, Region(Rect(WIDTH - 10, 0, 20, 20)))
    assert caught.value.hint == f"the part inside is {WIDTH - 10},0,10,20"
    with pytest.raises(DeviceNotFoundError, match="outside the desktop"):
        opened(screen_display, Region(Rect(WIDTH, 0, 20, 20)))
    with pytest.raises(DeviceNotFoundError, match="no screen 7"):
        opened(screen_display, Screen(7))


# ------------------------------------------------------------------------------------ the pointer


def rest(source: ScreenSource) -> None:
    """Look at a screen on which nothing happens until it is at rest."""
    until = time.monotonic() + 2 * REST_AFTER_NS / 1e9
    while time.monotonic() < until:
        source.grab()
        if not source.rest(now_ns() + NS_PER_S // 100):
            time.sleep(0.01)


def pointer_image(painter: Painter) -> tuple[Rect, NDArray[np.uint8]]:
    fixes = painter.connection(xcffib.xfixes.key)
    fixes.QueryVersion(4, 0).reply()
    answer = fixes.GetCursorImage().reply()
    pixels = np.frombuffer(answer.cursor_image.buf(), np.uint8)
    image = pixels.reshape(answer.height, answer.width, 4)
    left, top = answer.x - answer.xhot, answer.y - answer.yhot
    return Rect(left, top, answer.width, answer.height), image


def test_the_pointer_is_beside_the_picture(screen_display: str, painter: Painter) -> None:
    with opened(screen_display, with_cursor=True) as source:
        for x in (200, 300, WIDTH - 1):
            painter.warp(x, 100)
            picture = source.grab()
            spot, image = pointer_image(painter)
            assert picture.pointer is not None
            assert picture.pointer.place == spot
            assert np.array_equal(picture.pointer.image, image)
            assert colours(picture.pixels) == {GREY}
            again = source.grab()
            assert again.changed == ()
            assert again.pointer is not None
            assert again.pointer.image is picture.pointer.image


def test_another_pointer_shape_is_another_image(screen_display: str, painter: Painter) -> None:
    painter.warp(200, 100)
    with opened(screen_display, with_cursor=True) as source:
        before = source.grab().pointer
        font, cursor = painter.connection.generate_id(), painter.connection.generate_id()
        painter.core.OpenFontChecked(font, len("cursor"), "cursor").check()
        shape = (font, font, 58, 59, 0, 0, 0, 65535, 0, 0)
        painter.core.CreateGlyphCursorChecked(cursor, *shape).check()
        mask = xcffib.xproto.CW.Cursor
        painter.core.ChangeWindowAttributesChecked(painter.root, mask, [cursor]).check()
        try:
            after = source.grab().pointer
            assert before
            assert after
            assert after.image is not before.image
        finally:
            painter.core.ChangeWindowAttributesChecked(painter.root, mask, [0]).check()


def test_without_the_pointer_there_is_none(screen_display: str, painter: Painter) -> None:
    with opened(screen_display, Region(Rect(100, 100, 99, 77))) as source:
        source.grab()
        painter.warp(150, 150)
        picture = source.grab()
        assert picture.pointer is None
        assert picture.changed == ()
        assert colours(picture.pixels) == {GREY}


@pytest.mark.parametrize("how", ["mouse", "mouse while it sleeps", "program"])
def test_a_pointer_that_moves_after_a_rest_is_seen(
    screen_display: str, painter: Painter, how: str
) -> None:
    xtest = painter.connection(xcffib.xtest.key)
    with opened(screen_display, with_cursor=True) as source:
        painter.warp(50, 60)
        rest(source)
        for x in range(200, 210):  # a mouse says so before it is asked, a program does not
            if how.startswith("mouse"):
                xtest.FakeInputChecked(MOTION_NOTIFY, 0, 0, painter.root, x, 100, 0).check()
            else:
                painter.warp(x, 100)
                time.sleep(GLANCE_NS / 1e9)
            if how == "mouse while it sleeps":
                source.rest(now_ns() + NS_PER_S // 100)
            pointer = source.grab().pointer
            assert pointer
            assert pointer.place == pointer_image(painter)[0]


def test_a_screen_at_rest_is_hardly_asked_and_misses_nothing(
    screen_display: str, painter: Painter
) -> None:
    display = X11Display(screen_display)
    with closing(X11Helper(display, Rect(0, 0, WIDTH, HEIGHT))) as helper:
        until = time.monotonic() + 2 * REST_AFTER_NS / 1e9
        while time.monotonic() < until:
            helper.look()
        before = display.core.NoOperation().sequence
        until, looks = time.monotonic() + 1, 0
        while time.monotonic() < until:
            assert helper.look()[1] == ()
            looks += 1
        asked = display.core.NoOperation().sequence - before
        assert looks > 100
        assert asked < looks / 5
        painter.fill(painter.root, Rect(10, 20, 30, 40), BLUE)
        helper.rest(now_ns() + NS_PER_S)  # the server tells all its clients in turn
        assert helper.look()[1] == (Rect(10, 20, 30, 40),)
        assert not helper.rest(now_ns() + NS_PER_S)  # something has just happened


# ---------------------------------------------------------------------------------------- windows


def test_windows_are_listed_with_what_they_are(screen_display: str, painter: Painter) -> None:
    id_ = painter.window(Rect(30, 40, 200, 100), RED, "Grüße 日本")
    painter.set(id_, "WM_CLASS", "STRING", b"mail\0Mail\0")
    painter.set(id_, "_NET_WM_PID", "CARDINAL", (4321).to_bytes(4, "little"), bits=32)
    old = painter.window(Rect(300, 40, 50, 50), RED)
    painter.set(old, "WM_NAME", "STRING", "Grüße".encode("latin-1"))
    wide = painter.window(Rect(400, 90, 50, 50), RED)
    painter.set(wide, "WM_NAME", "COMPOUND_TEXT", b"Caf\xe9 \x1b$(BF|K\\\x1b(B \x1b-L\xbf")
    painter.window(Rect(400, 40, 50, 50), RED)
    windows = {window.id: window for window in list_windows({"DISPLAY": screen_display})}
    assert set(windows) == {id_, old, wide}
    assert windows[wide].title == "Café 日本 П"
    mail = windows[id_]
    assert (mail.title, mail.app_name, mail.pid) == ("Grüße 日本", "Mail", 4321)
    assert mail.rect == Rect(30, 40, 200, 100)
    assert windows[old].title == "Grüße"


def test_a_window_manager_is_believed(screen_display: str, painter: Painter) -> None:
    ids = [painter.window(Rect(10, 10, 50, 50), RED, title) for title in ("one", "two")]
    gone = 0x7FFFFF
    listed = b"".join(id_.to_bytes(4, "little") for id_ in (ids[1], gone))
    painter.set(painter.root, "_NET_CLIENT_LIST", "WINDOW", listed, bits=32)
    try:
        windows = list_windows({"DISPLAY": screen_display})
        assert [window.title for window in windows] == ["two"]
    finally:
        painter.set(painter.root, "_NET_CLIENT_LIST", "WINDOW", b"", bits=32)


def test_a_window_is_found_by_title_or_id(screen_display: str, painter: Painter) -> None:
    mail = painter.window(Rect(30, 40, 200, 100), RED, "Mail - Inbox")
    painter.window(Rect(30, 200, 100, 100), BLUE, "Mail - Draft")
    for wanted in ("inbox", hex(mail)):
        with opened(screen_display, Window(wanted)) as source:
            assert source.label == 'window "Mail - Inbox"'
            assert source.size_px == (200, 100)
            assert colours(source.grab().pixels) == {RED}
    for wanted in ("mail", "chess", "0x99", "0xnonsense"):
        with pytest.raises(DeviceNotFoundError) as caught:
            opened(screen_display, Window(wanted))
        assert "Mail - Draft" in (caught.value.hint or "")


@pytest.mark.parametrize("border", [0, 3])
def test_a_window_is_followed_to_its_end(
    screen_display: str, painter: Painter, border: int
) -> None:
    id_ = painter.window(Rect(30, 40, 200, 100), RED, "Followed", border=border)
    with opened(screen_display, Window("followed")) as source:
        assert colours(source.grab().pixels) == {RED}
        assert source.grab().changed == ()

        painter.place(id_, x=300, y=250)
        assert colours(source.grab().pixels) == {RED}
        painter.fill(id_, Rect(10, 20, 30, 40), GREEN)
        picture = source.grab()
        assert picture.changed == (Rect(10, 20, 30, 40),)
        assert colours(picture.pixels[20:60, 10:40]) == {GREEN}

        painter.place(id_, x=-50, y=HEIGHT - 20)
        assert colours(source.grab().pixels[20:60, 10:40]) == {GREEN}

        painter.core.UnmapWindowChecked(id_).check()
        picture = source.grab()
        assert picture.changed == ()
        assert colours(picture.pixels[20:60, 10:40]) == {GREEN}

        painter.core.MapWindowChecked(id_).check()
        eventually(source, EVERYWHERE, RED)

        painter.core.UnmapWindowChecked(id_).check()
        painter.core.MapWindowChecked(id_).check()
        painter.fill(id_, Rect(0, 0, 200, 100), BLUE)
        eventually(source, EVERYWHERE, BLUE)

        painter.core.DestroyWindowChecked(id_).check()
        with pytest.raises(SourceEndedError, match="Followed"):
            source.grab()


def test_a_resized_window_has_pictures_of_its_new_size(
    screen_display: str, painter: Painter
) -> None:
    id_ = painter.window(Rect(30, 40, 200, 100), RED, "Elastic")
    with opened(screen_display, Window("elastic")) as source:
        source.grab()
        for width, height, colour in ((100, 100, GREEN), (400, 300, BLUE), (200, 100, RED)):
            painter.place(id_, width=width, height=height)
            painter.fill(id_, Rect(0, 0, width, height), colour)
            picture = eventually(source, EVERYWHERE, colour)
            assert picture.changed == (Rect(0, 0, width, height),)
            assert picture.pixels.shape == (height, width, 4)
            assert source.grab().changed == ()
        assert source.size_px == (200, 100)


def test_what_lies_over_a_window_is_not_in_its_film(screen_display: str, painter: Painter) -> None:
    id_ = painter.window(Rect(30, 40, 200, 100), RED, "Below")
    painter.window(Rect(100, 60, 300, 200), BLUE)
    with opened(screen_display, Window("below")) as source:
        assert source.notes == []
        assert colours(source.grab().pixels) == {RED}
        secret = painter.window(Rect(50, 50, 60, 60), GREEN)
        painter.fill(secret, Rect(5, 5, 10, 10), GREY)
        picture = source.grab()
        assert picture.changed == ()
        painter.fill(id_, Rect(80, 30, 20, 20), GREY)
        picture = source.grab()
        assert picture.changed == (Rect(80, 30, 20, 20),)
        assert colours(picture.pixels) == {RED, GREY}


def test_a_window_that_draws_nothing_is_black_not_what_lies_over_it(
    screen_display: str, painter: Painter
) -> None:
    id_ = painter.window(Rect(30, 40, 200, 100), None, "Lazy")
    child = painter.window(Rect(10, 20, 50, 40), GREEN, parent=id_)
    painter.window(Rect(100, 60, 300, 200), BLUE)
    painter.window(Rect(0, 0, 99, 200), BLUE)
    with opened(screen_display, Window("lazy")) as source:
        pixels = source.grab().pixels
        assert colours(pixels) == {0, GREEN}
        assert colours(pixels[20:60, 10:60]) == {GREEN}
        painter.fill(child, Rect(0, 0, 5, 5), RED)
        assert source.grab().changed == (Rect(10, 20, 5, 5),)


def test_the_pointer_is_placed_in_the_window(screen_display: str, painter: Painter) -> None:
    painter.window(Rect(30, 40, 200, 100), RED, "Pointed")
    with opened(screen_display, Window("pointed"), with_cursor=True) as source:
        assert source.grab().pointer is None
        for x, y in ((130, 90), (30, 40)):  # the second hangs over the edge
            painter.warp(x, y)
            pointer = source.grab().pointer
            assert pointer
            assert pointer.place == pointer_image(painter)[0].moved(-30, -40)
        painter.warp(300, 300)
        picture = source.grab()
        assert picture.pointer is None
        assert colours(picture.pixels) == {RED}


def test_a_window_that_has_just_gone_is_not_found(
    screen_display: str, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = WindowInfo(painter.connection.generate_id(), "Gone", Rect(0, 0, 10, 10))
    monkeypatch.setattr("capture.sources.screen_x11.find_window", lambda *_: gone)
    with pytest.raises(DeviceNotFoundError, match="closed"):
        opened(screen_display, Window("gone"))


def test_a_hidden_window_is_refused(screen_display: str, painter: Painter) -> None:
    id_ = painter.window(Rect(30, 40, 200, 100), RED, "Hidden")
    painter.core.UnmapWindowChecked(id_).check()
    with pytest.raises(DeviceNotFoundError, match="hidden"):
        opened(screen_display, Window(hex(id_)))


# ------------------------------------------------------------------------ what servers don't have


def test_without_damage_pictures_are_compared() -> None:
    with (
        x_server("-extension", "DAMAGE") as (display, _),
        Painter(display) as painter,
        opened(display, with_cursor=True) as source,
    ):
        assert [note for note in source.notes if "compared" in note]
        source.grab()
        assert source.grab().changed == ()
        painter.fill(painter.root, Rect(10, 20, 30, 40), RED)
        painter.fill(painter.root, Rect(100, 200, 5, 4), BLUE)
        picture = source.grab()
        assert picture.changed == (Rect(10, 20, 30, 40), Rect(100, 200, 5, 4))
        assert colours(picture.pixels[20:60, 10:40]) == {RED}
        painter.warp(300, 300)
        picture = source.grab()
        assert picture.changed == ()
        assert picture.pointer


def test_a_bare_server_is_filmed_all_the_same() -> None:
    bare = [word for name in ("DAMAGE", "MIT-SHM", "Composite") for word in ("-extension", name)]
    with x_server(*bare) as (display, _), Painter(display) as painter:
        with opened(display, with_cursor=True) as source:
            assert len(source.notes) == 2
            source.grab()
            painter.fill(painter.root, Rect(10, 20, 30, 40), RED)
            picture = source.grab()
            assert picture.changed == (Rect(10, 20, 30, 40),)
            assert colours(picture.pixels[20:60, 10:40]) == {RED}
        painter.window(Rect(30, 40, 200, 100), RED, "Plain")
        with opened(display, Window("plain")) as source:
            assert [note for note in source.notes if "no Composite" in note]
            assert colours(source.grab().pixels) == {RED}


def test_without_composite_the_screen_is_filmed_at_the_windows_place() -> None:
    with x_server("-extension", "Composite") as (display, _), Painter(display) as painter:
        id_ = painter.window(Rect(30, 40, 200, 100), RED, "Plain")
        with opened(display, Window("plain")) as source:
            assert [note for note in source.notes if "no Composite" in note]
            assert colours(source.grab().pixels) == {RED}
            assert source.grab().changed == ()
            painter.place(id_, x=WIDTH - 100, y=HEIGHT - 50)
            picture = source.grab()
            assert colours(picture.pixels[:50, :100]) == {RED}
            assert colours(picture.pixels[50:]) == {0}


@pytest.mark.parametrize("target", [Screen(), Window("doomed")], ids=["screen", "window"])
def test_a_dying_display_is_a_lost_device(target: Target) -> None:
    with x_server() as (display, server), Painter(display) as painter:
        painter.window(Rect(30, 40, 200, 100), RED, "Doomed")
        with opened(display, target, with_cursor=True) as source:
            source.grab()
            server.kill()
            server.wait(PATIENCE_S)
            for _ in range(2):
                with pytest.raises(DeviceLostError):
                    source.grab()


def test_a_screen_that_shrinks_is_filmed_on_black_or_lost() -> None:
    corner = Rect(WIDTH - 50, HEIGHT - 50, 50, 50)
    with (
        x_server() as (display, _),
        Painter(display) as painter,
        opened(display) as whole,
        opened(display, Region(corner)) as part,
    ):
        assert colours(whole.grab().pixels) == colours(part.grab().pixels) == {GREY}
        randr = painter.connection(xcffib.randr.key)
        randr.QueryVersion(1, 5).reply()
        outputs = randr.GetScreenResources(painter.root).reply()
        off: tuple[Any, ...] = (outputs.crtcs[0], 0, outputs.config_timestamp, 0, 0, 0, 1, 0, [])
        assert randr.SetCrtcConfig(*off).reply().status == 0
        randr.SetScreenSizeChecked(painter.root, WIDTH // 2, HEIGHT // 2, 100, 80).check()
        painter.fill(painter.root, Rect(0, 0, WIDTH, HEIGHT), RED)
        picture = whole.grab()
        assert colours(picture.pixels[: HEIGHT // 2, : WIDTH // 2]) == {RED}
        assert colours(picture.pixels[HEIGHT // 2 :]) == {0}
        with pytest.raises(DeviceLostError, match="no longer on the screen"):
            part.grab()


def test_a_dying_display_is_a_lost_device_for_mss_alone() -> None:
    area = Rect(0, 0, WIDTH, HEIGHT)
    with x_server() as (display, server), MssScreen(area, "screen", display=display) as source:
        source.grab()
        server.kill()
        server.wait(PATIENCE_S)
        with pytest.raises(DeviceLostError):
            source.grab()
        source.close()


def test_no_display_is_said_clearly() -> None:
    with pytest.raises(BackendUnavailableError, match="DISPLAY is not set"):
        open_screen(VideoSpec(), {})
    for wayland in ({"WAYLAND_DISPLAY": "wayland-0"}, {"XDG_SESSION_TYPE": "wayland"}):
        with pytest.raises(BackendUnavailableError, match="Wayland") as caught:
            open_screen(VideoSpec(), wayland)
        assert "private desktop" in (caught.value.hint or "")
    for nowhere in (":9876", "nonsense"):
        with pytest.raises(BackendUnavailableError, match="no X server"):
            list_windows({"DISPLAY": nowhere})


def test_xwayland_is_refused_instead_of_filmed_black(
    screen_display: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with X11Display(screen_display) as display:
        assert not display.is_xwayland()
    monkeypatch.setattr(X11Display, "is_xwayland", lambda _self: True)
    with pytest.raises(BackendUnavailableError, match="Xwayland"):
        opened(screen_display)


def test_a_locked_display_says_who_may(tmp_path: Path) -> None:
    cookie = b"0123456789abcdef"
    locked = tmp_path / "authority"
    # Any host, any display: family 0xffff and three counted strings.
    entry = [b"", b"", b"MIT-MAGIC-COOKIE-1", cookie]
    locked.write_bytes(
        b"\xff\xff" + b"".join(len(part).to_bytes(2, "big") + part for part in entry)
    )
    with x_server("-auth", str(locked)) as (display, _):
        wrong = {"DISPLAY": display, "XAUTHORITY": str(tmp_path / "none")}
        with pytest.raises(AccessDeniedError, match="refuses"):
            open_screen(VideoSpec(), wrong)
        with open_screen(VideoSpec(), {**wrong, "XAUTHORITY": str(locked)}) as source:
            assert source.grab().pixels.shape == (HEIGHT, WIDTH, 4)


# ------------------------------------------------------------------------------------ arithmetic


def test_differences_are_bands_as_wide_as_the_change() -> None:
    before = np.zeros((200, 100, 4), np.uint8)
    now = before.copy()
    now[3:5, 10:20] = 1
    now[9, 50] = 1
    now[150:, 99] = 1
    assert differing(before, before) == []
    assert differing(before, now) == [Rect(10, 3, 41, 7), Rect(99, 150, 1, 50)]
    assert differing(before, now + 1) == [Rect(0, 0, 100, 200)]


def test_rectangles_are_merged_where_one_read_is_cheaper() -> None:
    near, far = Rect(0, 0, 10, 10), Rect(1000, 1000, 10, 10)
    assert merged([near, near.moved(20, 0)]) == (Rect(0, 0, 30, 10),)
    assert merged([near, far], cost_px=1000) == (near, far)
    assert merged([near, far, near.moved(500, 0)], cost_px=5000) == (far, Rect(0, 0, 510, 10))
    assert merged([]) == ()

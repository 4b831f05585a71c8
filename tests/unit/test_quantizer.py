"""The quantizer: fine for desktops, coarse for films, changed only where a key picture pays."""

from __future__ import annotations

import pytest

from capture.media.write.quantizer import Quantizer

AREA_PX = 1920 * 1080
FINEST = 18
DESKTOP_BYTES, FILM_BYTES = 6_000, 145_000
"""Of one picture: text that scrolls, and a film over the whole screen at ``FINEST``."""


def feed(quantizer: Quantizer, size_bytes: int, pictures: int, *, from_s: float = 0.0) -> float:
    """So many pictures, 30 a second; gives the time after them, in s."""
    for number in range(pictures):
        at_ns = round((from_s + number / 30) * 1e9)
        quantizer.note(size_bytes, at_ns, is_key=False)
    return from_s + pictures / 30


def test_a_desktop_stays_at_the_finest() -> None:
    quantizer = Quantizer(FINEST, AREA_PX)
    quantizer.note(600_000, 0, is_key=True)
    end_s = feed(quantizer, DESKTOP_BYTES, 300)
    assert not quantizer.wants_key(round(end_s * 1e9))
    assert not quantizer.renew()
    assert quantizer.qp == FINEST


def test_a_film_gets_a_coarser_one_and_keeps_it() -> None:
    quantizer = Quantizer(FINEST, AREA_PX)
    quantizer.note(600_000, 0, is_key=True)
    end_s = feed(quantizer, FILM_BYTES, 14)
    assert not quantizer.wants_key(round(end_s * 1e9)), "a key picture was written just before"
    end_s = feed(quantizer, FILM_BYTES, 4, from_s=end_s)
    assert quantizer.wants_key(round(end_s * 1e9))
    assert quantizer.renew()
    assert quantizer.qp == FINEST + 7
    # Its pictures are smaller now, which must not make it fine again.
    quantizer.note(200_000, round(end_s * 1e9), is_key=True)
    end_s = feed(quantizer, FILM_BYTES * 55 // 100, 90, from_s=end_s)
    assert not quantizer.wants_key(round(end_s * 1e9))
    assert not quantizer.renew()


def test_a_little_coarser_is_not_worth_a_key_picture_at_once() -> None:
    quantizer = Quantizer(FINEST, AREA_PX)
    quantizer.note(600_000, 0, is_key=True)
    end_s = feed(quantizer, FILM_BYTES // 3, 55)  # 3 steps
    assert not quantizer.wants_key(round(end_s * 1e9))
    end_s = feed(quantizer, FILM_BYTES // 3, 10, from_s=end_s)
    assert quantizer.wants_key(round(end_s * 1e9))


def test_the_desktop_after_a_film_is_fine_again() -> None:
    quantizer = Quantizer(FINEST, AREA_PX)
    end_s = feed(quantizer, FILM_BYTES, 90)
    assert quantizer.renew()
    end_s = feed(quantizer, DESKTOP_BYTES, 90, from_s=end_s)
    assert quantizer.wants_key(round(end_s * 1e9))
    assert quantizer.renew()
    assert quantizer.qp == FINEST


@pytest.mark.parametrize("size_bytes", [FILM_BYTES, 10 * FILM_BYTES, 100 * FILM_BYTES])
def test_it_ends_eight_steps_above_the_finest(size_bytes: int) -> None:
    quantizer = Quantizer(FINEST, AREA_PX)
    for _ in range(5):
        feed(quantizer, size_bytes, 90)
        quantizer.renew()
    assert FINEST + 7 <= quantizer.qp <= FINEST + 8


def test_slides_are_no_film() -> None:
    """One picture in five is wholly new."""
    quantizer = Quantizer(FINEST, AREA_PX)
    for number in range(300):
        size_bytes = 500_000 if number % 5 == 0 else 200
        quantizer.note(size_bytes, number * 200_000_000, is_key=False)
    assert not quantizer.wants_key(60_000_000_000)

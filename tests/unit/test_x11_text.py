"""Titles of windows in the encodings that X11 programs use."""

from __future__ import annotations

import pytest

pytest.importorskip("xcffib", reason="Linux alone has X11 windows")

from capture.sources._x11_text import decode_text

PIECE = b"koi8-r\x02\xf0\xd2\xc9"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"Caf\xe9\0", "Café"),
        ("Grüße 日本".encode(), "Grüße 日本"),  # said to be Latin-1 by programs that know no better
    ],
)
def test_latin_1_and_utf_8(raw: bytes, text: str) -> None:
    assert decode_text(raw, is_compound=False) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"Caf\xe9", "Café"),
        (b"\x1b-A\xfc\x1b-B\xb1\x1b-G\xd3", "üąس"),
        (b"\x1b-L\xbf\xe0\xd8", "При"),
        (b"\x1b$(BF|K\\\x1b(B!", "日本!"),
        (b"\x1b$)B\xc6\xfc\xcb\xdc!", "日本!"),
        (b"\x1b$)C\xc7\xd1", "한"),
        (b"\x1b$)A\xd6\xd0", "中"),
        (b"\x1b)I\xb1\xb2", "ｱｲ"),
        (b"5 \x1b%G\xe2\x82\xac\x1b%@ \x1b-A\xe9", "5 € é"),
        (b"\x1b%/1\x80" + bytes([128 + len(PIECE)]) + PIECE + b".", "При."),
        (b"\x1b$(Zabc", "\ufffd"),
        (b"\x1b", ""),
        (b"\x1b%/1\xff\xffx", ""),
    ],
)
def test_compound_text(raw: bytes, text: str) -> None:
    assert decode_text(raw, is_compound=True) == text

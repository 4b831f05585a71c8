"""Text of window properties: UTF-8, Latin-1, or the Compound Text of older toolkits.

Compound Text (X Consortium, version 1.1) is ISO 2022: ASCII on the left, Latin-1 on the right, and
escape sequences that put another character set on either side.
"""

import re
from typing import Final

_PARTS = "A=1 B=2 C=3 D=4 F=7 G=6 H=8 L=5 M=9 T=11 V=10 Y=13 _=14 b=15 f=16"
_RIGHT: Final = {part[:1].encode(): f"iso8859_{part[2:]}" for part in _PARTS.split()}
"""Sets of 96 characters by the last byte of ESC - F."""
_WIDE: Final = {b"A": "gb2312", b"B": "euc_jp", b"C": "euc_kr"}
"""Sets of 94 by 94 by the last byte of ESC $ ( F; the codecs have them on the right."""
_KANA: Final = {b"I": "shift_jis"}
"""Half-width kana by the last byte of ESC ) F; they lie where that encoding has them, too."""
_RIGHT_SETS: Final = {"right": _RIGHT, "wide_right": _WIDE, "kana": _KANA}
_UNKNOWN: Final = "unknown"
_PIECE: Final = re.compile(
    rb"\x1b%G(?P<utf8>.*?)(?:\x1b%@|$)"
    rb"|\x1b%/[0-4](?P<length>[\x80-\xff]{2})"
    rb"|\x1b\$\((?P<wide_left>.)|\x1b\$\)(?P<wide_right>.)"
    rb"|\x1b-(?P<right>.)|\x1b\((?P<left>.)|\x1b\)(?P<kana>.)"
    rb"|(?P<low>[\x00-\x1a\x1c-\x7f]+)|(?P<high>[\x80-\xff]+)|(?P<other>.)",
    re.DOTALL,
)


def decode_text(raw: bytes, *, is_compound: bool) -> str:
    """The text of a window property.

    Args:
        raw: Its bytes.
        is_compound: Its type is COMPOUND_TEXT; else STRING, which is Latin-1, though programs put
            UTF-8 there too, or UTF8_STRING.
    """
    raw = raw.rstrip(b"\0")
    if is_compound and b"\x1b" in raw:
        return _decode_compound(raw)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _decode_compound(raw: bytes) -> str:
    left, right = "ascii", "iso8859_1"
    text: list[str] = []
    at = 0
    while found := _PIECE.match(raw, at):
        at = found.end()
        kind, value = found.lastgroup, found[found.lastgroup or 0]
        if kind == "length":  # a segment in an encoding that it names
            end = at + (value[0] - 128) * 128 + value[1] - 128
            name, _, content = raw[at:end].partition(b"\x02")
            text.append(_decode(content, name.decode("ascii", "replace")))
            at = end
        elif kind in {"utf8", "high"}:
            text.append(_decode(value, right if kind == "high" else "utf-8"))
        elif kind == "low":
            is_wide = left != "ascii"
            text.append(_decode(bytes(b | 0x80 for b in value) if is_wide else value, left))
        elif kind in {"left", "wide_left"}:
            # Of one byte each it is ASCII, or its Japanese twin with a yen for the backslash.
            left = _WIDE.get(value, _UNKNOWN) if kind == "wide_left" else "ascii"
        elif kind in _RIGHT_SETS:
            right = _RIGHT_SETS[kind].get(value, _UNKNOWN)
    return "".join(text)


def _decode(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding, "replace")
    except LookupError:  # a set that Python does not know
        return "\ufffd"

"""Repairs the text of tags that are not the UTF-8 that FFmpeg expects.

ID3v1 has no encoding, RIFF INFO and QuickTime have several that nothing names, and any tag may be
damaged. PyAV reads every tag as it opens a file: with its own strict decoding one odd byte would
cost the whole file.
"""

import codecs
from typing import Any

_AS_MEANT = "capture-as-meant"
"""The name of an error handler for ``bytes.decode``: what is not UTF-8 is taken for the code page
that was usual where it was written."""
_KANA_LEADS = b"\x82\x83"
"""The first byte of every kana in Shift-JIS; in Western text a low quotation mark and a florin."""
_KANA = range(0x3041, 0x3100)


def _read_as_meant(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    data, start = error.object, error.start
    if error.reason == "unexpected end of data" and not data[:start].isascii():
        return "", len(data)  # UTF-8 that was cut to the length of a field
    rest = data[start:]
    if any(lead in rest for lead in _KANA_LEADS):
        japanese = rest.decode("cp932", "ignore")
        if any(ord(character) in _KANA for character in japanese):
            return japanese, len(data)
    return data[start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error(_AS_MEANT, _read_as_meant)


def as_meant(text: str) -> str:
    """A text whose bytes were kept by ``surrogateescape``, decoded by a fitting encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", _AS_MEANT)
    return text


def repair_tags(container: Any) -> None:
    """Repair the tags of a container and of its streams in place."""
    for tags in (container.metadata, *(stream.metadata for stream in container.streams)):
        meant = {as_meant(key): as_meant(text) for key, text in tags.items()}
        tags.clear()
        tags.update(meant)


def chapters_of(container: Any) -> list[Any]:
    """The chapters in PyAV's form, with repaired titles."""
    chapters: list[Any] = container.chapters()
    for chapter in chapters:
        tags = chapter.get("metadata", {})
        chapter["metadata"] = {as_meant(key): as_meant(text) for key, text in tags.items()}
    return chapters

"""FFmpeg's names of channel layouts: the arrangement in which channels are played."""

import av

_OF_FILES = ("", "mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")
"""By the number of channels: what they are in FLAC (RFC 9639, table 8), Vorbis and Opus (RFC 7845,
section 5.1.1.2), none of which can state another."""


def default_layout(channels: int) -> str:
    """FFmpeg's layout for so many channels where a file states none."""
    return str(av.AudioLayout(f"{channels}c").name)


def known_layout(layout: str) -> str | None:
    """The layout; ``None`` where the file states no more than the number of channels."""
    return None if layout.endswith(" channels") else layout


def usual_layout(channels: int) -> str:
    """The layout for so many channels in formats that cannot state one."""
    return _OF_FILES[channels] if channels < len(_OF_FILES) else default_layout(channels)


def file_layout(layout: str) -> str:
    """The layout that sound is converted to for a file that cannot state its own.

    The layout itself where no more than sides and backs differ, which are the same channels, or
    where the bass would get lost.
    """
    found = usual_layout(len(speakers(layout)))
    is_same = layout.partition("(")[0] == found.partition("(")[0]
    loses_bass = "LFE" in speakers(layout) and "LFE" not in speakers(found)
    return layout if is_same or loses_bass else found


def speakers(layout: str) -> tuple[str, ...]:
    """FFmpeg's names of the channels of a layout, in order: FL, FR, FC, LFE, ..."""
    return tuple(channel.name for channel in av.AudioLayout(layout).channels)

"""What FFmpeg calls the arrangement of channels: where each of them is played."""

from __future__ import annotations

import av

__all__ = ["default_layout", "known_layout"]


def default_layout(channels: int) -> str:
    """What FFmpeg takes so many channels for where nothing says which is which."""
    return str(av.AudioLayout(f"{channels}c").name)


def known_layout(layout: str) -> str:
    """The layout, or FFmpeg's default where the file states no more than the number of channels."""
    channels = layout.removesuffix(" channels")
    return layout if channels == layout else default_layout(int(channels))

"""OpenCV, without what its import leaves behind in the environment.

Its wheels bring Qt along, and point it out to every Qt program that is started afterwards, which
then finds plugins of another version and ends at once.
"""

from __future__ import annotations

import os

_BEFORE = dict(os.environ)

import cv2  # noqa: E402 - the environment is looked at before

for _name in ("QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR", "LD_LIBRARY_PATH"):
    if _name in _BEFORE:
        os.environ[_name] = _BEFORE[_name]
    else:
        os.environ.pop(_name, None)

__all__ = ["cv2"]

"""OpenCV, without what its import leaves behind in the environment.

Its wheels bring Qt along, and point it out to every Qt program that is started afterwards, which
then finds plugins of another version and ends at once.
"""

import os

from capture.libraries import needed

_BEFORE = dict(os.environ)

with needed("cv2"):
    import cv2

for _name in ("QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR", "LD_LIBRARY_PATH"):
    if _name in _BEFORE:
        os.environ[_name] = _BEFORE[_name]
    else:
        os.environ.pop(_name, None)

__all__ = ["cv2"]

"""Importing OpenCV must not reach the programs that are started afterwards."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os
before = dict(os.environ)
from capture.opencv import cv2
assert cv2.__version__
assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
"""


def test_the_environment_is_as_it_was() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)

"""A recorder to be killed: ``python -m tests.media.recorder still|moving NUMBERS FILE...``.

Records every file at once, each in a session of its own, and prints a line when all of them run.
What each file was given lies in NUMBERS (``Handed``). Ends when it is killed.
"""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path
from typing import Any

from capture import AudioSpec, RecordingSpec, Session, TestCard, VideoSpec
from capture.media.write.mux import FileSink, container_of
from capture.sources.synthetic import screen
from tests.media.handed import Handed

CARD = (320, 180)


def main(kind: str, numbers: str, *names: str) -> None:
    """Record until killed."""
    paths = [Path(name) for name in names]
    handed = Handed(paths, Path(numbers))
    sink: Any = FileSink
    sink.push = handed.noting(FileSink.push)
    if kind == "still":
        # Nothing moves: what fills no buffer is what other recorders lose.
        module: Any = screen
        module.SyntheticScreen = functools.partial(screen.SyntheticScreen, fps_change=1e-9)
    sessions = []
    for path in paths:
        video = None if container_of(path).is_audio_only else VideoSpec(TestCard(*CARD))
        sessions.append(Session(RecordingSpec(path, video, (AudioSpec("synthetic"),))))
        sessions[-1].start()
    print("recording", flush=True)  # noqa: T201 - that is the result
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])

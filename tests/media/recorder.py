"""A recorder to be killed: ``python -m tests.media.recorder still|moving FILE...``.

Records every file at once, each in a session of its own, and prints one line of JSON when all of
them run: the capture clock at which each began. Ends when it is killed.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from pathlib import Path
from typing import Any

from capture import AudioSpec, RecordingSpec, Session, VideoSpec
from capture.media.mux import container_of
from capture.sources import synthetic

CARD = (320, 180)


def main(kind: str, *names: str) -> None:
    """Record until killed."""
    if kind == "still":
        # Nothing moves: what fills no buffer is what other recorders lose.
        module: Any = synthetic
        module.SyntheticScreen = functools.partial(synthetic.SyntheticScreen, fps_change=1e-9)
    sessions = {}
    for name in names:
        path = Path(name)
        video = None if container_of(path).is_audio_only else VideoSpec(synthetic=CARD)
        sessions[name] = Session(RecordingSpec(path, video, (AudioSpec("synthetic"),)))
        sessions[name].start()
    began = {name: session._clock.start_ns for name, session in sessions.items()}
    print(json.dumps(began), flush=True)  # noqa: T201 - that is the result
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])

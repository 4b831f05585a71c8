"""Work for batches: what a job says happens, in the process that does it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from capture.batch.executors import Workers
from capture.batch.run import run_batch
from capture.errors import DamagedFileError


def work(job: str) -> Any:
    """``double 3``, ``fail``, ``crash``, ``unpicklable``, ``sleep 0.1`` or ``mark PATH``."""
    word, _, rest = job.partition(" ")
    if word == "double":
        return 2 * int(rest)
    if word == "fail":
        raise DamagedFileError(f"{job} is broken", hint="mend it")
    if word == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "unpicklable":
        return threading.Lock()
    if word == "sleep":
        time.sleep(float(rest))
    if word == "mark":
        Path(rest, f"{os.getpid()}.pid").touch()
        time.sleep(60)
    return None


def main(folder: str) -> None:
    """A batch of two jobs that never end; to be killed."""
    with Workers(2) as workers:
        run_batch([f"mark {folder}"] * 2, work, workers, on_result=lambda _: None)


if __name__ == "__main__":
    main(sys.argv[1])

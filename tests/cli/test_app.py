"""The command as a whole: help, versions, errors and exit codes."""

from __future__ import annotations

import ast
import ctypes
import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import capture
from capture.cli.app import app, run
from capture.cli.record import DEFAULTS
from capture.errors import ConfigError, OutputError

COMMANDS = (
    "record",
    "voice",
    "recover",
    "schedule",
    "verify",
    "devices",
    "doctor",
    "demo",
    "extract",
    "probe",
    "play",
)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in COMMANDS:
        assert name in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert ".left-px" not in shown
    assert "--empty-" not in shown
    for noise in ("[default: ()]", "[default: False]", "[default: True]", "[default: ]", "[ARGS"):
        assert noise not in shown


def test_help_is_written_as_people_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["record", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Usage: capture record [OPTIONS] [OUTPUT] [-- COMMAND]" in shown
    assert "space pauses and goes on, m marks a chapter" in shown
    assert run(["voice", "--help"]) == 0
    assert "[default: 2m]" in capsys.readouterr().out
    assert run(["--help"]) == 0
    assert capsys.readouterr().out.count("--debug") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["play-back"],
        ["record", "--fps", "many"],
        ["record", "--duration", "soon"],
        ["record", "--max-size", "huge"],
        ["record", "--region", "1,2"],
        ["record", "--quality", "best"],
        ["record", "--no-such-option"],
    ],
)
def test_usage_errors_are_one_sentence_and_a_hint(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert "\n\nhint: " in shown.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["recrod"], "`capture --help`"),
        (["record", "--fps", "many"], "`capture record --help`"),
        (["schedule", "add", "--often"], "`capture schedule add --help`"),
    ],
)
def test_the_hint_names_the_help_of_the_command(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(("command", "what"), [("voice", "level"), ("extract", "number")])
def test_a_level_that_is_none(command: str, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--threshold", "-50x", "a.wav"]) == 2
    assert f"-50x is no {what}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["talk.opus"], ""),
        (["talk.flac", "--quality", "high", "--stop-when", "silence:10s"], ""),
        (["film.mp4"], ""),
        (["film.mp4", "--no-video"], ""),
        (["talk.opus", "--video"], ".opus holds no pictures"),
        (["talk.opus", "--screen", "1"], ".opus holds no pictures"),
        (["talk.opus", "--fps", "60"], ".opus holds no pictures"),
        (["talk.xyz"], ".xyz"),
    ],
)
def test_a_file_for_sound_alone_gets_no_pictures_unless_they_are_asked_for(
    words: list[str], wrong: str, tmp_path: Path
) -> None:
    name, *options = words
    arguments = ["record", str(tmp_path / name), *options]
    _, bound, _ = app.parse_args(arguments, print_error=False, exit_on_error=False)
    options = bound.arguments.get("options", DEFAULTS)
    if not wrong:
        capture.check_recording(options.spec(bound.arguments["output"], ()))
        return
    with pytest.raises(ConfigError, match=re.escape(wrong)):
        capture.check_recording(options.spec(bound.arguments["output"], ()))


def test_without_screen_and_sound_server_record_names_the_private_desktop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PULSE_SERVER", str(tmp_path / "nobody"))
    monkeypatch.delenv("DISPLAY", raising=False)
    for name in ("a.mp4", "a.opus"):
        assert run(["record", str(tmp_path / name), "-q"]) == 1
        assert "--private-desktop 1280x720" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_words_after_dashes_are_refused_where_they_mean_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["devices", "--", "mpv"]) == 2
    assert "--" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
@pytest.mark.parametrize(
    ("ending", "code"), [(">&-", 0), (">&- 2>&-", 0), (">/dev/full", 1), ("<&- >&- 2>&-", 0)]
)
def test_output_that_leads_nowhere_is_no_traceback(ending: str, code: int) -> None:
    command = ["sh", "-c", f'exec "$0" -m capture --help {ending}', sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert ("the disk is full" in done.stderr) == (code == 1)


def test_a_film_does_not_get_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    film = tmp_path / "card.mkv"
    options = "--test-card 160x128 --audio none --duration 1s --json"
    command = f'exec "$0" -m capture record "{film}" {options} >&-'
    subprocess.run(["sh", "-c", command, sys.executable], check=True)
    assert film.read_bytes()[:4] == b"\x1a\x45\xdf\xa3"  # EBML, and nothing in front of it


def test_importing_the_package_loads_no_native_library() -> None:
    code = (
        "import sys, capture; capture.RecordingSpec; capture.VideoSpec;"
        "print([m for m in ('numpy','av','cv2','mss','xcffib','sounddevice') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_those_listed() -> None:
    for name in capture.__all__:
        assert getattr(capture, name) is not None
    assert set(capture.__all__) <= set(dir(capture))
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", capture.__version__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = capture.nonsense


def test_type_checkers_see_the_same_public_names() -> None:
    tree = ast.parse(Path(capture.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    seen = {(node.module, alias.asname) for node in imports for alias in node.names if alias.asname}
    seen |= {
        (node.module, name)
        for node in imports
        if node.module and node.names[0].name == "*"
        for name in importlib.import_module(node.module).__all__
    }
    assert seen == {(place, name) for name, place in capture._PLACE_OF.items()}


def test_what_public_functions_take_and_give_is_public() -> None:
    public = set(capture.__all__) - {"__version__"}
    values = {name: getattr(capture, name) for name in public}  # loads their modules
    ours = {
        name
        for module in list(sys.modules.values())
        if module is not None and module.__name__.startswith("capture.")
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__.startswith("capture.")
    }
    given = {word for value in values.values() for word in _annotated(value, with_fields=False)}
    fields = {word for name in given & public for word in _annotated(values[name])}
    assert sorted((given | fields) & (ours - public)) == []


def _annotated(value: Any, *, with_fields: bool = True) -> set[str]:
    """The types that a function, or the methods and fields of a class, are annotated with."""
    functions = [value]
    if isinstance(value, type):
        members = [each for name, each in vars(value).items() if not name.startswith("_")]
        functions = [each.fget if isinstance(each, property) else each for each in members]
        functions += [value] * with_fields
    texts = (str(t) for f in functions for t in getattr(f, "__annotations__", {}).values())
    return {word for text in texts for word in re.findall(r"[A-Z]\w+", text)}


@pytest.mark.parametrize("when", ["loading", "running"])
def test_what_was_made_out_of_an_interrupt_is_one(
    when: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Attribute:
        def __set_name__(self, owner: type, name: str) -> None:
            raise KeyboardInterrupt  # Python up to 3.11 makes a RuntimeError of it

    def interrupted(*_: object, **__: object) -> None:
        type("Class", (), {"attribute": Attribute()})

    if when == "loading":
        monkeypatch.setattr("capture.cli.app._split_words", interrupted)
    else:
        monkeypatch.setattr("capture.media.check.verify.verify", interrupted)
    assert run(["verify", __file__]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_interrupt_while_ctypes_converts_an_argument_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Text:
        @classmethod
        def from_param(cls, _value: object) -> object:
            raise KeyboardInterrupt

    def interrupted(*_: object, **__: object) -> None:
        function: Any = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(abs)
        function.argtypes = (Text,)
        function(1)

    monkeypatch.setattr("capture.media.check.verify.verify", interrupted)
    assert run(["verify", __file__]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_interrupt_that_fell_into_a_destructor_comes_again() -> None:
    script = """
import signal, time
from capture.cli import app

class Late:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def run(_):
    Late()
    time.sleep(20)

app._run = run
app.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=15
    )
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_an_error_while_an_interrupt_is_dealt_with_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise OutputError("the half of it cannot be deleted")

    monkeypatch.setattr("capture.media.check.verify.verify", interrupted)
    assert run(["verify", __file__]) == 1
    assert capsys.readouterr().err == "error: the half of it cannot be deleted\n"


def test_an_interrupt_that_falls_into_an_import_comes_after_it(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, signal\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "for _ in range(10**5): pass\n"
        "print('loaded', flush=True)\n"
    )
    script = f"""
import sys, time
from capture.cli import app

def run(_):
    sys.path.insert(0, {str(tmp_path)!r})
    try:
        import slow
    except BaseException as error:
        raise ImportError("as some libraries do") from None
    time.sleep(20)

app._run = run
app.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "loaded\n", "interrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="its timers are POSIX")
def test_an_interrupt_that_falls_into_an_error_of_a_compiled_library_is_not_lost() -> None:
    script = """
import signal
import av
from capture.cli.app import on_interrupt

signal.signal(signal.SIGINT, on_interrupt)
signal.signal(signal.SIGALRM, on_interrupt)
graph = av.filter.Graph()
nodes = graph.add_abuffer(sample_rate=48000, format="flt", layout="mono"), graph.add("abuffersink")
nodes[0].link_to(nodes[1])
graph.configure()
for number in range(100):
    signal.setitimer(signal.ITIMER_REAL, 0.002 + number / 1e5)
    try:
        while True:
            try:
                graph.pull()
            except av.BlockingIOError:
                pass
    except KeyboardInterrupt:
        pass
print("none was lost")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("none was lost\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
@pytest.mark.parametrize("ending", ["2>/dev/full", "2>&-"])
def test_talk_that_cannot_be_written_changes_no_exit_code(ending: str) -> None:
    command = ["sh", "-c", f'exec "$0" -m capture verify nothing.mp4 {ending}', sys.executable]
    assert subprocess.run(command, check=False).returncode == 2

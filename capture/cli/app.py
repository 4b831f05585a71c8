"""The ``capture`` command: its sub-commands, and what is common to all of them.

stdout carries results, stderr everything else. Exit codes: 0 done, 1 failed, 2 usage, 3 some of a
batch failed, 4 recorded but a source was dead (``--strict``), 130 interrupted before anything was
kept.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from cyclopts import App
from cyclopts.exceptions import CycloptsError

from capture.config import version
from capture.errors import CaptureError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["app", "main", "run"]

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


app = App(
    name="capture",
    help="Record what your screen shows and your speakers play, in step, into one safe file.",
    version=version,
)
# Named by path: a command's module, and all that it needs, is loaded when it is called.
app.command("capture.cli.record:record", help="Record the screen with its sound.")
app.command("capture.cli.voice:voice", help="Keep each voice message that plays as one file.")
app.command("capture.cli.recover:recover", help="Make clean files of recordings that were cut off.")
app.command("capture.cli.devices:devices", help="List screens, windows, sound devices and players.")
app.command("capture.cli.extract:extract", help="Take the sound out of films and sound files.")
app.command("capture.cli.probe:probe", help="Say what is in media files.")
app.command("capture.cli.play:play", help="Play a file, with its waveform.")
app.command(
    "capture.cli.doctor:doctor", help="Say what works on this machine, and why the rest not."
)
app.command(
    "capture.cli.verify:verify", help="Measure recordings again: is all of it there, in step?"
)
app.command("capture.cli.schedule:schedule", help="Record at set times, unattended.")
app.command("capture.cli.demo:demo", help="Record a short voice message, to see that all works.")


def run(arguments: Sequence[str]) -> int:
    """Run the command; gives its exit code.

    Args:
        arguments: What follows the word ``capture``.

    """
    tokens, words = _split_words(arguments)
    is_debug = "--debug" in tokens
    try:
        command, bound, ignored = app.parse_args(
            [word for word in tokens if word != "--debug"], print_error=False, exit_on_error=False
        )
    except CycloptsError as error:
        # Its first lines may name the option; the last one says what is wrong.
        print_error(str(error).strip().splitlines()[-1], "`capture --help` lists what there is")
        return EXIT_USAGE
    if words and "words" not in ignored:
        return _tell(ConfigError("this command takes nothing after `--`"))
    if words:
        bound.arguments["words"] = tuple(words)
    try:
        return command(*bound.args, **bound.kwargs) or 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        if is_debug:
            raise
        return _tell(error)


def main() -> None:
    """Entry point of the ``capture`` script."""
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody left to tell.
        sys.stdout = None
        code = EXIT_FAILED
    sys.exit(code)


def _split_words(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What comes before ``--`` and what comes after it."""
    tokens = list(arguments)
    if "--" not in tokens:
        return tokens, []
    at = tokens.index("--")
    return tokens[:at], tokens[at + 1 :]


def _tell(error: Exception) -> int:
    """Say what went wrong; gives the exit code."""
    hint: str | None = "run it again with --debug to see where, and report it"
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, CaptureError):
        message, hint = error.message, error.hint
    print_error(message, hint)
    return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED


def print_error(message: str, hint: str | None = None) -> None:
    """``error: ...`` and ``hint: ...`` on stderr."""
    text = f"error: {message}\n" + (f"\nhint: {hint}\n" if hint else "")
    _write(sys.stderr, text)


def say(text: str) -> None:
    """A line of talk, on stderr."""
    _write(sys.stderr, f"{text}\n")


def _write(stream: Any, text: str) -> None:
    stream.write(text)
    stream.flush()

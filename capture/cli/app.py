"""The ``capture`` command: its beginning and end, and what is common to all sub-commands.

stdout carries results, stderr everything else. Exit codes: 0 done, 1 failed, 2 usage, 3 some of a
batch failed, 4 recorded but a source was dead (``--strict``), 130 interrupted: before anything was
kept, or a run of the schedule.

Little is loaded here: ^C ends a command with one sentence from its first moment on, and that
includes the tenths of a second in which libraries load (``main``). While something is recorded
``capture.cli.signals`` has it instead.
"""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys

from capture.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE

TYPE_CHECKING = False
"""As in ``typing``, which takes longer to load than all that is loaded here."""
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType
    from typing import Any

    from cyclopts.exceptions import CycloptsError

    from capture.cli.commands import app

__all__ = ["app", "main", "run"]

READ_WITHIN_MS = 2000
"""A reader of stderr that takes nothing for so long does not read any more."""


def __getattr__(name: str) -> Any:
    """``app``, whose library takes 0.1 s to load."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from capture.cli.commands import app  # noqa: PLC0415 - see above

    return app


def run(arguments: Sequence[str]) -> int:
    """Run the command; gives its exit code.

    Args:
        arguments: What follows the word ``capture``.

    """
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        pass
    except Exception as error:
        if not _is_by_interrupt(error):
            raise
    say("interrupted")
    return EXIT_INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    tokens, words = _split_words(arguments)
    is_debug = "--debug" in tokens
    try:
        return _call([word for word in tokens if word != "--debug"], words)
    except Exception as error:
        if is_debug or _is_by_interrupt(error):
            raise
        return _tell(error)


def _call(tokens: list[str], words: Sequence[str]) -> int:
    from cyclopts.exceptions import CycloptsError  # noqa: PLC0415 - slow to load

    from capture.cli.commands import app, refuse_empty  # noqa: PLC0415 - the same
    from capture.errors import ConfigError  # noqa: PLC0415 - once ^C is listened for

    if tokens and {"--help", "-h"} & set(tokens) and tokens[0] in set(app):
        command_app = app[tokens[0]]
        if command_app.default_command is not None:
            command_app.help = None  # its page tells all that its docstring does, not one line
    try:
        refuse_empty(tokens)
    except ConfigError as error:
        return _tell(error)
    try:
        command, bound, ignored = app.parse_args(tokens, print_error=False, exit_on_error=False)
    except CycloptsError as error:
        return _tell_usage(error, tokens)
    if words and "words" not in ignored:
        print_error("this command takes nothing after `--`")
        return EXIT_USAGE
    if words:
        bound.arguments["words"] = tuple(words)
    return command(*bound.args, **bound.kwargs) or 0


def main() -> None:
    """Entry point of the ``capture`` script."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in the background
        signal.signal(signal.SIGINT, on_interrupt)
        sys.unraisablehook = _on_unraisable
    _open_closed_streams()
    _write_all_names()
    try:
        code = run(sys.argv[1:])
        code = _flush() or code
    except KeyboardInterrupt:  # a second one, while the first was reported
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone: nobody is left to read a message.
        sys.stdout = None
        code = EXIT_FAILED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is over: Python's own end is not interrupted
    try:
        sys.stderr.flush()
        if drain := getattr(sys.stderr, "drain", None):  # ^C came while it was being detached
            drain(READ_WITHIN_MS / 1000)
    except (OSError, ValueError):  # from 3.13 on Python would exit with 120 for it
        sys.stderr = None
    sys.exit(code)


def _flush() -> int:
    """Write what is still to be written; gives an exit code, 0 if all of it was."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.stdout = None
        print_error(f"cannot write what there is to say: {error.strerror}")
        return EXIT_FAILED
    return 0


def _open_closed_streams() -> None:
    """Have 0, 1 and 2 lead nowhere if they were closed (``>&-``).

    The next file that is opened would get the number, and what is meant for the terminal with it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # pathlib takes long to load; this is closed by the end of the process.
            nowhere = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115
            setattr(sys, name, nowhere)


def _write_all_names() -> None:
    """Have stdout take every name: one that is no Unicode is written as the bytes that it is."""
    codecs.register_error("capture-names", _as_bytes)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="capture-names")


def _as_bytes(error: UnicodeError) -> tuple[bytes, int]:
    """Bytes for what ``os.fsdecode`` made of them, escapes where the terminal has no sign."""
    assert isinstance(error, UnicodeEncodeError)
    part = error.object[error.start : error.end]
    pieces = (
        sign.encode(
            "ascii", "surrogateescape" if "\udc80" <= sign <= "\udcff" else "backslashreplace"
        )
        for sign in part
    )
    return b"".join(pieces), error.end


# ----------------------------------------------------------------------------------- interruptions


def on_interrupt(_number: int, frame: FrameType | None) -> None:
    """^C, as an exception; where it would be lost, as soon as it is not.

    A library that is just loading may make some other error of it, or stay loaded by half. What is
    compiled drops it while it notes where an error of its own came from.
    """
    caller = _outside(frame)
    if caller is None or caller is frame:
        raise KeyboardInterrupt
    _interrupt_in(caller)


def _outside(frame: FrameType | None) -> FrameType | None:
    """The innermost frame that is below no import, and no note of a compiled library."""
    inner = frame
    while frame is not None:
        name = frame.f_code.co_filename
        # No module of Python's has a relative name. Cython runs a line under one, to have a frame
        # for a traceback, and clears what is raised in it (``__Pyx_AddTraceback``, limited API).
        is_note = not name.startswith("<") and not os.path.isabs(name)  # noqa: PTH117 - loads long
        if is_note or name.startswith("<frozen importlib"):
            inner = frame.f_back
        frame = frame.f_back
    return inner


def _interrupt_in(frame: FrameType) -> None:
    """Have ^C raised in a frame further out, when it goes on."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt  # which ends the tracing

    frame.f_trace = interrupt
    sys.settrace(lambda *_: None)


def _on_unraisable(failure: sys.UnraisableHookArgs) -> None:
    """^C that fell into a destructor, where Python only prints it, comes again outside of it.

    Raised from here it would fall into this function itself.
    """
    caller = _outside(sys._getframe().f_back)  # noqa: SLF001 - inspect takes long to load
    if isinstance(failure.exc_value, KeyboardInterrupt) and caller is not None:
        _interrupt_in(caller)
    else:
        sys.__unraisablehook__(failure)


def _is_by_interrupt(error: BaseException) -> bool:
    """Whether an error was made out of ^C, as Python up to 3.11 does while a class is made.

    ``ctypes`` does so while it converts an argument. One that only came while ^C was dealt with is
    an error like any other.
    """
    if type(error).__name__ == "ArgumentError" and KeyboardInterrupt.__name__ in str(error):
        return True
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__
    return cause is not None


# ----------------------------------------------------------------------------------------- talking


def _split_words(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What comes before ``--`` and what comes after it."""
    tokens = list(arguments)
    if "--" not in tokens:
        return tokens, []
    at = tokens.index("--")
    return tokens[:at], tokens[at + 1 :]


def _tell_usage(error: CycloptsError, tokens: Sequence[str]) -> int:
    from cyclopts.exceptions import (  # noqa: PLC0415 - slow to load
        MissingArgumentError,
        UnknownCommandError,
    )

    chain = " ".join(("capture", *(error.command_chain or ())))
    hint = f"`{chain} --help` lists what there is"
    if isinstance(error, UnknownCommandError):
        word, names = str((error.unused_tokens or tokens)[0]), list(error.app or ())
        return _tell_unknown(word, names, chain, hint)
    # Its first lines may name the option; the last one says what is wrong.
    message = str(error).strip().splitlines()[-1]
    if isinstance(error, MissingArgumentError) and error.keyword in tokens[:-1]:
        value = tokens[tokens.index(error.keyword) + 1]
        if value[1:2].isdigit():  # "-50x" looks like an option to the library, not to people
            message = f"{error.keyword} {value}: {value} is no number; write one such as -50"
    print_error(message, hint)
    return EXIT_USAGE


def _tell_unknown(word: str, names: Sequence[str], chain: str, hint: str) -> int:
    """Of a command that there is not. The library's own words would load every command first."""
    from difflib import get_close_matches  # noqa: PLC0415 - for this alone

    like = get_close_matches(word, [name for name in names if not name.startswith("-")], n=1)
    suggestion = f"did you mean `{chain} {like[0]}`? " if like else ""
    print_error(f"there is no command `{chain} {word}`", suggestion + hint)
    return EXIT_USAGE


def _tell(error: Exception) -> int:
    """Say what went wrong; gives the exit code."""
    from capture.errors import (  # noqa: PLC0415 - once ^C is listened for
        CaptureError,
        ConfigError,
        explain_system_error,
    )
    from capture.libraries import missing_library  # noqa: PLC0415 - the same

    hint: str | None = "run it again with --debug to see where, and report it"
    message = f"{type(error).__name__}: {error}"
    error = missing_library(error) or error
    if isinstance(error, CaptureError):
        message, hint = error.message, error.hint
    elif isinstance(error, OSError) and (explained := explain_system_error(error)):
        message, hint = explained
    print_error(message, hint)
    return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED


def print_error(message: str, hint: str | None = None) -> None:
    """``error: ...`` and ``hint: ...`` on stderr."""
    if hint:
        from capture.cli.hints import in_options  # noqa: PLC0415 - once ^C is listened for

        hint = in_options(hint)
    text = f"error: {message}\n" + (f"\nhint: {hint}\n" if hint else "")
    _write(sys.stderr, text)


def say(text: str) -> None:
    """Print a line on stderr."""
    _write(sys.stderr, f"{text}\n")


def _write(stream: Any, text: str) -> None:
    """Talk that cannot be written, or that nobody reads, changes nothing about a command's end."""
    try:
        if _is_read(stream):
            stream.write(text)
            stream.flush()
    except (OSError, ValueError):  # ValueError: it is closed
        return


def _is_read(stream: Any) -> bool:
    """Whether a stream takes text in time, or at least an error; True where it cannot be asked."""
    if sys.platform == "win32":
        return True
    import select  # noqa: PLC0415 - not on Windows

    poll = select.poll()
    try:
        poll.register(stream, select.POLLOUT)
    except (OSError, TypeError, ValueError):  # no file, or none any more
        return True
    return bool(poll.poll(READ_WITHIN_MS))

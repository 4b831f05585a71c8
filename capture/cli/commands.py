"""The sub-commands, and how their help reads. Loads cyclopts, but no command."""

from collections.abc import Sequence
from typing import Any

from cyclopts import App, Parameter

from capture.config import version
from capture.errors import ConfigError

__all__ = ["app", "refuse_empty"]


def refuse_empty(tokens: Sequence[str]) -> None:
    """Refuse an empty value: a variable of a script that was not set, never a wish for nothing.

    Args:
        tokens: What was written for us, not for a command that is recorded.

    Raises:
        ConfigError: One of them is empty, or blank.
    """
    for before, token in zip(("", *tokens), tokens, strict=False):
        name, equals, value = token.partition("=")
        is_option = token.startswith("-") and bool(equals)
        if (value if is_option else token).strip():
            continue
        option = name if is_option else before
        what = f"the value of {option}" if option.startswith("--") else "an argument"
        raise ConfigError(f"{what} is empty", hint="is a variable of the script not set?")


def _shown(default: Any) -> str | None:
    """A default as a person would write it; nothing where leaving an option out says it all."""
    if default is None or default is False or default == ():
        return None
    if default is True:
        return "on"
    return f"{default:g}" if isinstance(default, float) else str(getattr(default, "value", default))


app = App(
    name="capture",
    help="Record what your screen shows and your speakers play, in step, into one safe file.\n\n"
    "With --debug a command that fails unexpectedly says where.",
    version=version,
    default_parameter=Parameter(show_default=_shown),
    help_format="plaintext",  # Markdown takes as long to load as all the rest
)


def _add(name: str, words: str, sentence: str) -> None:
    """Named by path: a command's module, and all that it needs, is loaded when it is called."""
    usage = f"Usage: capture {name} [OPTIONS] {words}".rstrip()
    app.command(f"capture.cli.{name}:{name}", help=sentence, usage=usage, help_format="markdown")


_add("record", "[OUTPUT] [-- COMMAND]", "Record the screen with its sound.")
_add("voice", "[FOLDER]", "Keep each voice message that plays as one file.")
app.command("capture.cli.messages:messages", help="List, find and change kept voice messages.")
_add("recover", "[FILE|FOLDER...]", "Make clean files of recordings that were cut off.")
_add("devices", "", "List screens, windows, sound devices and players.")
_add("extract", "FILE|FOLDER...", "Take the sound out of films and sound files.")
_add("probe", "FILE...", "Say what is in media files.")
_add("play", "FILE", "Play a file, with its waveform.")
_add("doctor", "", "Say what works on this machine, and why the rest not.")
_add("verify", "FILE...", "Measure recordings again: is all of it there, in step?")
app.command("capture.cli.schedule:schedule", help="Record at set times, unattended.")
_add("demo", "[FOLDER]", "Record a short voice message, to see that all works.")

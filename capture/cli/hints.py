"""The command line's words for what can be done about an error."""

from capture.coded import Code, Coded
from capture.hints import Advice

__all__ = ["in_options"]

_WORDS: dict[Code, str] = {
    Advice.REPLACE_RECORDING: "choose another name, or add --overwrite",
    Advice.REPLACE_EXTRACTED: "--force replaces it, --output names another",
    Advice.SPLIT_FILES: "use --split-every or another disk",
    Advice.KEEP_PICTURES_OUT: "add --no-video, or write to .mp4, .mkv or .webm",
    Advice.RECORD_SOMETHING: "leave out --no-video, or name an --audio",
    Advice.MIX_TRACKS: "add --tracks mixed, or write to {others}",
    Advice.OTHER_ENCODER: "use --encoder libx264, or auto",
    Advice.LOSSLESS_ENCODER: "use --encoder libx264 with --quality lossless",
    Advice.FITTING_NAME: "call it {name}, or name a format with --format",
    Advice.OTHER_FORMAT: "choose another --format, such as {format}",
    Advice.ENCODE: "have it encoded: --format {format}, or another",
    Advice.COPY_FIRST_PART: "several files were joined in it: --end there copies the first",
    Advice.COPY_OR_ENCODE: "have it encoded, as with --format m4a; --end there copies the first",
    Advice.FEWER_WORKERS: "is there memory left? try --jobs 1, or one file alone",
    Advice.REPORT: "run it alone with --debug to see where, and report it",
    Advice.SHOW_TRACKS: "`capture probe` shows what it holds",
    Advice.SHOW_DEVICES: "`capture devices` lists what there is",
    Advice.SHOW_MESSAGES: "{first}; `capture messages` shows them",
    Advice.CHECK_FILE: "`capture verify` says what it is",
    Advice.CHECK_MACHINE: "`capture doctor` says what works here",
    Advice.RECOVER_FIRST: "run `capture recover` on it and move it away, or record to another name",
    Advice.INDEX_MESSAGES: "`capture messages index FOLDER` finds what was moved by hand",
    Advice.SERVE_SCHEDULE: "run `capture schedule serve`, or `capture schedule install`",
    Advice.INSTALL_AGAIN: "call `capture schedule install` again, on this desktop",
    Advice.SHOW_JOBS: "`capture schedule list` shows them all",
    Advice.CARRY_OVER: "`capture schedule list` carries it over",
    Advice.UNDO_DELETION: "`capture messages undo` brings it back",
    Advice.KEEP_ANY_SOUND: "install it: pip install {package}; or keep any sound: --any-sound",
    Advice.WAIT_LONGER: "--start-within says how long it is waited for",
    Advice.LIMIT_WAITING: "leave it out; --idle 10m gives up when nothing is heard",
    Advice.PRIVATE_DESKTOP: "log in to an X11 session, or record a private one: "
    "--private-desktop 1280x720",
    Advice.PRIVATE_DISPLAY: "set DISPLAY to the running one, or use --private-desktop 1280x720",
    Advice.RECORD_REGION: "record its place on the screen with --region",
    Advice.REGION_INSIDE: "the part inside is --region {region}",
}
"""Those that are missing say the same on every front."""


def in_options(hint: str | None) -> str | None:
    """A hint as the user of the command line reads it."""
    if not isinstance(hint, Coded):
        return hint
    words: str = _WORDS.get(hint.code, hint.code.value)
    inner = {
        name: in_options(v) if isinstance(v, str) else v for name, v in hint.parameters.items()
    }
    return words.format(**inner)

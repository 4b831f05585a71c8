"""Starts the daemon with the session: a systemd user unit, or lines for other systems.

Recorders need to know where the screen and the sound server of the person are. A session has these
variables, cron and services do not, so they are taken from where ``install`` is called.
"""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from capture.config import data_folder
from capture.errors import CaptureError, OutputError
from capture.hints import Advice

UNIT_NAME = "capture-schedule.service"
SESSION_VARIABLES = (
    *("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR", "XDG_SESSION_TYPE"),
    *("DBUS_SESSION_BUS_ADDRESS", "PULSE_SERVER", "PULSE_COOKIE", "PULSE_RUNTIME_PATH"),
    *("PIPEWIRE_RUNTIME_DIR", "CAPTURE_DATA_DIR", "PYTHONPATH", "HOME", "PATH", "LANG"),
)
"""Variables of a session that recorders, and the programs that they start, need."""
PLACES = ("DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR", "PULSE_SERVER")
"""Variables with the places of its screen and its sound server."""


def session_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of this session that a recorder needs, as far as they are set."""
    around = os.environ if environment is None else environment
    found = {name: around[name] for name in SESSION_VARIABLES if around.get(name)}
    if "XAUTHORITY" not in found and "DISPLAY" in found and "HOME" in found:
        usual = Path(found["HOME"]) / ".Xauthority"  # the default of X
        if usual.exists():
            found["XAUTHORITY"] = str(usual)
    return found


def serve_words(database: Path | None) -> list[str]:
    """The words of the daemon's command line."""
    words = [sys.executable, "-m", "capture", "schedule", "serve"]
    return words + (["--database", str(database)] if database else [])


def systemd_unit(environment: Mapping[str, str], database: Path | None = None) -> str:
    """The text of the unit.

    Recorders outlive a daemon that is killed (``KillMode=process``): the next one finds them.
    """
    lines = [f"Environment={_quoted(f'{name}={value}')}" for name, value in environment.items()]
    command = " ".join(_quoted(word, escape_dollar=True) for word in serve_words(database))
    return f"""[Unit]
Description=Scheduled recordings (capture)
After=graphical-session.target pulseaudio.service pipewire-pulse.service
StartLimitIntervalSec=0

[Service]
ExecStart={command}
{"".join(f"{line}{chr(10)}" for line in lines)}Restart=always
RestartSec=2
KillMode=process
TimeoutStopSec=90

[Install]
WantedBy=default.target
"""


def write_unit(database: Path | None = None) -> Path:
    """Write the unit into the user's folder of systemd; gives its path.

    Raises:
        OutputError: That is not possible.
    """
    path = _unit_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(systemd_unit(session_environment(), database), encoding="utf-8")
        path.chmod(0o600)  # it has the path of the session's cookies
    except OSError as error:
        raise OutputError(
            f"the unit cannot be written: {error}",
            hint="have the unit printed, and write it by hand",
        ) from error
    return path


def state() -> str:
    """Whether the schedule of this user can run, in a sentence.

    Raises:
        CaptureError: It cannot: nothing serves it, or what was installed knows another session.
    """
    from capture.schedule.lock import serving_pid  # noqa: PLC0415 - for `capture doctor` alone
    from capture.schedule.store import Store  # noqa: PLC0415 - only where needed

    database = data_folder() / "schedule.sqlite"
    if not database.exists():
        return "no jobs"
    with Store(database) as store:
        jobs = store.jobs()
    count = f"{len(jobs)} job" + ("" if len(jobs) == 1 else "s")
    pid = serving_pid(database)
    if jobs and pid is None:
        raise CaptureError(
            f"no daemon serves the schedule, which has {count}",
            hint=Advice.SERVE_SCHEDULE.with_(),
        )
    for name, value in session_environment().items():
        line = f"Environment={_quoted(f'{name}={value}')}"
        if name in PLACES and _unit_path().exists() and line not in _unit_path().read_text("utf-8"):
            raise CaptureError(
                f"the installed daemon knows another {name} than this session",
                hint=Advice.INSTALL_AGAIN.with_(),
            )
    return count + (f", served by process {pid}" if pid is not None else "")


def _unit_path() -> Path:
    return Path(platformdirs.user_config_dir()) / "systemd" / "user" / UNIT_NAME


def printed(database: Path | None = None) -> dict[str, str]:
    """The lines to install on every system, by a comment that names the place."""
    environment = session_environment()
    words = serve_words(database)
    line = shlex.join(words)
    assignments = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    return {
        f"systemd: ~/.config/systemd/user/{UNIT_NAME}": systemd_unit(environment, database),
        "cron: `crontab -e`; % is written \\%": (
            f"@reboot {assignments} {line}".replace("%", "\\%") + "\n"
        ),
        "macOS: ~/Library/LaunchAgents/deskcapture.schedule.plist": _launchd(words, environment),
        "Windows: in a command prompt": (
            "schtasks /Create /SC ONLOGON /TN capture-schedule /TR "
            f'"{" ".join(_windows_quoted(word) for word in words)}"\n'
        ),
    }


def _quoted(text: str, *, escape_dollar: bool = False) -> str:
    """A word, quoted for a unit file (systemd.syntax(7), systemd.exec(5))."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
    return '"' + (text.replace("$", "$$") if escape_dollar else text) + '"'


def _windows_quoted(word: str) -> str:
    return f'\\"{word}\\"' if " " in word else word


def _launchd(words: list[str], environment: Mapping[str, str]) -> str:
    from plistlib import dumps  # noqa: PLC0415 - rarely asked for

    settings = {
        "Label": "deskcapture.schedule",
        "ProgramArguments": words,
        "EnvironmentVariables": dict(environment),
        "RunAtLoad": True,
        "KeepAlive": True,
        "AbandonProcessGroup": True,
    }
    return dumps(settings).decode()

"""``capture devices``: what can be recorded here, with the words that ``record`` takes for it."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

import capture
from capture.cli.app import print_error, say
from capture.cli.hints import in_options
from capture.cli.views import print_json, table_of
from capture.errors import CaptureError, UnsupportedError
from capture.exit_codes import EXIT_FAILED
from capture.model.devices import AudioApp, AudioDevice, DeviceKind, Monitor, WindowInfo

__all__ = ["devices"]


def devices(*, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """List screens, windows, sound devices and the applications that play sound now.

    Args:
        json: One JSON object on stdout.
    """
    problems: list[CaptureError] = []
    monitors = _ask(capture.list_monitors, problems)
    windows = _ask(capture.list_windows, problems)
    sounds = _ask(capture.list_audio_devices, problems)
    apps = _ask(capture.list_audio_apps, problems)
    if json:
        found = {"monitors": monitors, "windows": windows, "audio_devices": sounds, "apps": apps}
        lists = {
            name: [dataclasses.asdict(item) for item in items] for name, items in found.items()
        }
        print_json({**lists, "problems": [problem.message for problem in problems]})
    else:
        console = Console(highlight=False, markup=False, emoji=False)
        for table in (_screens(monitors, windows), _sounds(sounds, apps)):
            if table.row_count:
                console.print(table)
        _print_problems(problems)
    return 0 if monitors or sounds else EXIT_FAILED


def _ask(ask: Callable[[], tuple[Any, ...]], problems: list[CaptureError]) -> tuple[Any, ...]:
    """What a backend lists; nothing, and a problem more, where it cannot."""
    try:
        return ask()
    except CaptureError as error:
        problems.append(error)
        return ()


def _print_problems(problems: list[CaptureError]) -> None:
    """Each once. What this system does not have at all is no failure to list it."""
    for limit in (p for p in problems if isinstance(p, UnsupportedError)):
        say(f"note: {limit.message}" + (f"; {in_options(limit.hint)}" if limit.hint else ""))
    failures = (p for p in problems if not isinstance(p, UnsupportedError))
    for message, hint in dict.fromkeys((p.message, p.hint) for p in failures):
        print_error(message, hint)


def _screens(monitors: tuple[Monitor, ...], windows: tuple[WindowInfo, ...]) -> Table:
    table = table_of("to record it", "screen or window", "size and place")
    for monitor in monitors:
        mark = " (primary)" if monitor.is_primary else ""
        table.add_row(
            f"--screen {monitor.id}", f"{monitor.name or 'screen'}{mark}", str(monitor.rect)
        )
    for window in windows:
        table.add_row(f"--window {window.id:#x}", window.title, str(window.rect))
    return table


def _sounds(devices: tuple[AudioDevice, ...], apps: tuple[AudioApp, ...]) -> Table:
    table = table_of("to record it", "sound", "state")
    for device in devices:
        kind = "system" if device.kind is DeviceKind.OUTPUT else "mic"
        marks = [
            f"{device.rate_hz} Hz, {device.channels} channels",
            *(["default"] if device.is_default else []),
            *(["muted"] if device.is_muted else []),
        ]
        source = kind if device.is_default else f"{kind}:{device.id}"
        table.add_row(f"--audio {source}", device.name, ", ".join(marks))
    for app in apps:
        name = f"'app:{app.name}'" if " " in app.name else f"app:{app.name}"
        title = f"{app.name}: {app.title}" if app.title else app.name
        table.add_row(f"--audio {name}", title, "plays" if app.is_playing else "paused")
    return table

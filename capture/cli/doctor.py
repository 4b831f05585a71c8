"""``capture doctor``: what works on this machine and why the rest does not, by trying it."""

import dataclasses
import importlib.metadata
import platform
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from capture import try_machine
from capture.cli.hints import in_options
from capture.cli.views import print_json
from capture.exit_codes import EXIT_FAILED
from capture.libraries import packages

__all__ = ["doctor"]


def doctor(*, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Try each kind of source for a second and say what came of it; also the versions.

    Args:
        json: One JSON object on stdout.
    """
    versions = {"python": platform.python_version(), "system": platform.platform()}
    for name, is_needed in {"deskcapture": True, "cyclopts": True, **packages()}.items():
        versions[name] = _version(name) or ("not there" if is_needed else "not needed")
    trials = [dataclasses.replace(one, hint=in_options(one.hint)) for one in try_machine()]
    if json:
        print_json({"versions": versions, "parts": [dataclasses.asdict(one) for one in trials]})
    else:
        console = Console(highlight=False, emoji=False)
        table = Table(box=None, pad_edge=False, show_header=False)
        for one in trials:
            sign = "[green]works[/]" if one.works else "[red]no[/]"
            table.add_row(one.part, sign, one.says + (f"\n[dim]{one.hint}[/]" if one.hint else ""))
        console.print(table)
        console.print("\n" + ", ".join(f"{n} {v}" for n, v in versions.items()), style="dim")
    works = {one.part: one.works for one in trials}
    can_record = works["encoders"] and (works["screen"] or works["system sound"])
    return 0 if can_record or works["private desktop"] else EXIT_FAILED


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None

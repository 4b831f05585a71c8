"""Reports the end of a run: a job's hooks, and a notification on the desktop."""

import json
import os
import shutil
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from capture.schedule.jobs import Job, Run

HOOK_WITHIN_S = 600.0
"""A hook may upload a recording; one that hangs must not hold up its job for ever."""
NOTIFY_WITHIN_S = 5.0
DESKTOP_VARIABLES = ("DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY")


def run_values(job: Job, run: Run) -> dict[str, Any]:
    """A run as JSON values for hooks and ``--json``; times are ISO 8601 in UTC."""
    values = asdict(run) | {"job": job.name, "status": run.status.value}
    for key in ("due", "started", "ended"):
        wall_s = values.pop(f"{key}_s")
        values[key] = None if wall_s is None else datetime.fromtimestamp(wall_s, UTC).isoformat()
    for key in ("job_id", "job_name", "pid", "pid_started", "boot_id"):
        del values[key]
    return values


def call_hook(job: Job, run: Run, log: Path) -> str | None:
    """Run the job's command for this end; gives its error, or ``None``.

    It gets the run as JSON on its stdin, and the main facts as ``CAPTURE_...`` in its environment.
    """
    command = job.on_done if run.status.is_success else job.on_fail
    if command is None:
        return None
    facts = {
        "JOB": job.name,
        "STATUS": run.status.value,
        "PATH": run.paths[0] if run.paths else "",
        "EXIT_CODE": "" if run.exit_code is None else str(run.exit_code),
        "MESSAGE": run.message or "; ".join(run.findings),
        "DUE": run.due.isoformat(),
    }
    try:
        with log.open("ab") as out:
            out.write(f"$ {command}\n".encode(errors="surrogateescape"))
            out.flush()
            done = subprocess.run(  # noqa: S602 - a shell line of the job's owner, as in a crontab
                command,
                shell=True,
                input=json.dumps(run_values(job, run)).encode(),
                stdout=out,
                stderr=out,
                env=os.environ | {f"CAPTURE_{name}": value for name, value in facts.items()},
                timeout=HOOK_WITHIN_S,
                check=False,
            )
    except subprocess.TimeoutExpired:
        return f"the hook took longer than {HOOK_WITHIN_S / 60:.0f} min and was ended: {command}"
    except OSError as error:
        return f"the hook could not be started ({error}): {command}"
    return (
        f"the hook ended with exit code {done.returncode}: {command}" if done.returncode else None
    )


def notify(job: Job, run: Run) -> None:
    """Show the end of a run on the desktop, if there is one; errors are ignored."""
    program = shutil.which("notify-send")
    if program is None or not any(os.environ.get(name) for name in DESKTOP_VARIABLES):
        return
    urgency = "low" if run.status.is_success else "critical"
    text = run.message or "; ".join(run.findings) or (run.paths[0] if run.paths else "")
    words = [program, f"--urgency={urgency}", "--app-name=capture", "--"]
    try:
        subprocess.run(  # noqa: S603 - found on PATH, with plain text
            [*words, f"{job.name}: {run.status}", text],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=NOTIFY_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return

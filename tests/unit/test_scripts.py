"""The scripts say clearly what cannot be had, keep stdout clean, and do nothing twice."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the scripts set up Linux machines", allow_module_level=True)

PROJECT = Path(__file__).parents[2]
NEEDED = ("bash", "cat", "dirname", "env", "readlink", "sha256sum", "sh")
"""All that the scripts themselves call before they install anything."""


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH with a shell and little else: no Python, no apt-get, no sudo."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the scripts know of the project, in a folder with a space in its name."""
    folder = tmp_path / "a clone"
    shutil.copytree(PROJECT / "scripts", folder / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(PROJECT / name, folder / name)
    return folder


def run(path: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        env={"PATH": str(path), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def fake(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_without_python_and_apt_one_sentence_says_so(clone: Path, bare_path: Path) -> None:
    answer = run(bare_path, clone / "scripts" / "capture", "--help")
    assert answer.returncode == 1
    assert not answer.stdout
    assert "error: system packages are missing" in answer.stderr
    assert "no apt-get" in answer.stderr
    assert "hint: " in answer.stderr


def test_an_interpreter_that_is_a_shim_with_nothing_behind_it(clone: Path, bare_path: Path) -> None:
    fake(bare_path, "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    answer = run(bare_path, clone / "scripts" / "test", "--python", "python3.13")
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: there is no working python3.13")


def test_an_interpreter_that_is_too_old_is_passed_over(clone: Path, bare_path: Path) -> None:
    fake(bare_path, "python3", "exit 1")
    (bare_path / "python3.11").symlink_to(sys.executable)
    answer = run(
        bare_path, "bash", "-c", '. "$1"; find_python ""', "-", f"{clone}/scripts/setup.sh"
    )
    assert answer.returncode == 0
    assert Path(answer.stdout.strip()).exists()


def test_on_a_machine_that_is_ready_nothing_is_set_up(clone: Path, bare_path: Path) -> None:
    binaries = clone / ".venv" / "bin"
    binaries.mkdir(parents=True)
    fake(binaries, "python", "exit 99")
    fake(binaries, "capture", 'echo "capture $*"')
    setup = f"{clone}/scripts/setup.sh"
    fingerprint = run(bare_path, "bash", "-c", '. "$1"; fingerprint', "-", setup).stdout
    (clone / ".venv" / ".ready-for-capture").write_text(fingerprint)
    answer = run(bare_path, clone / "scripts" / "capture", "devices", "--json")
    assert answer.stdout == "capture devices --json\n"
    assert not answer.stderr

    (clone / "elsewhere").symlink_to(clone / "scripts" / "capture")
    assert run(bare_path, clone / "elsewhere", "probe").stdout == "capture probe\n"

    with (clone / "constraints.txt").open("a") as file:
        file.write("# changed\n")
    assert run(bare_path, clone / "scripts" / "capture").returncode == 1  # sets up anew

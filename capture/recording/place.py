"""The desktop that a recording is made on, and the command that runs there."""

from __future__ import annotations

import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

from capture.cautions import Caution
from capture.desktop import PrivateDesktop, inherited_variables
from capture.errors import DeviceNotFoundError
from capture.process import detached

if TYPE_CHECKING:
    from collections.abc import Mapping

    from capture.specs.recording import RecordingSpec


COMMAND_GRACE_S = 3.0
"""Time for the command to end by itself after the recording, before it is killed."""


def check_command(spec: RecordingSpec) -> None:
    """Raise if the command of a spec does not exist.

    Raises:
        DeviceNotFoundError: There is no such program.
    """
    around = spec.environment or {}
    if spec.command and shutil.which(spec.command[0], path=around.get("PATH")) is None:
        raise DeviceNotFoundError(
            f"there is no program {spec.command[0]!r}", hint="check the name of the command"
        )


class Place:
    """The desktop of a recording, and its command. Any thread may call its methods.

    Args:
        spec: Checked before; its ``private_desktop``, ``environment`` and ``command``.

    Attributes:
        environment: Where to find screen and sound; ``None``: where this process has them.
        exit_code: Of the command, 128 and more for a signal, as in a shell; ``None``: it has not
            ended by itself.
    """

    def __init__(self, spec: RecordingSpec) -> None:
        self._spec = spec
        self._desktop: PrivateDesktop | None = None
        self._command: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._lock = threading.Lock()  # a recording may end while its command is being started
        self.environment: Mapping[str, str] | None = spec.environment
        self.exit_code: int | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """A warning where the command has failed."""
        return (Caution.COMMAND_FAILED.with_(exit_code=self.exit_code),) if self.exit_code else ()

    @property
    def is_private(self) -> bool:
        """Whether the desktop is private to the recording."""
        return self._spec.private_desktop is not None

    def open(self) -> None:
        """Start the private desktop, if one is wanted.

        Raises:
            BackendUnavailableError: It cannot be started here.
        """
        if self._spec.private_desktop is not None:
            self._desktop = PrivateDesktop(*self._spec.private_desktop)
            self.environment = self._desktop.environment

    def start_command(self) -> None:
        """Start the command, if there is one that was not started, and this is open.

        Raises:
            DeviceNotFoundError: The system cannot start it.
        """
        with self._lock:
            if self._spec.command and self._command is None and not self._is_closed:
                self._start(self._spec.command)

    def _start(self, words: tuple[str, ...]) -> None:
        if self._desktop is not None:
            self._command = self._desktop.run(words)
            return
        variables = None
        if self.environment is not None:
            variables = inherited_variables() | dict(self.environment)
        # stdout is for results; in a group of its own it gets no ^C that is meant for us.
        try:
            self._command = subprocess.Popen(list(words), stdout=2, env=variables, **detached())  # noqa: S603 - it is asked for
        except OSError as error:
            raise DeviceNotFoundError(
                f"{words[0]!r} cannot be started: {error.strerror}", hint="run it by itself first"
            ) from error

    def has_command_ended(self) -> bool:
        """Whether the command has ended by itself."""
        if self._command is None or self._command.poll() is None:
            return False
        code = self._command.returncode
        self.exit_code = code if code >= 0 else 128 - code
        return True

    def close(self) -> None:
        """End the command and the private desktop; idempotent."""
        with self._lock:
            self._is_closed = True
        if self._command is not None and not self.has_command_ended():
            self._command.terminate()
            try:
                self._command.wait(COMMAND_GRACE_S)
            except subprocess.TimeoutExpired:
                self._command.kill()
                self._command.wait()
        self._command = None
        if self._desktop is not None:
            self._desktop.close()

"""Runs one command and sees to it that nothing of it stays behind.

A program of its own, standard library only, started by path (``python -I -S supervisor.py``), so
that it is there in 20 ms and is single-threaded: it may fork safely, and what it starts dies with
it.

    supervisor.py OWNER_PID GRACE_S REMOVE -- COMMAND ARGS...

* As a child subreaper it inherits every orphan of the command, also one that made itself a session
  of its own, so the tree can be found by walking parents in ``/proc``.
* When the command ends, when the owner dies (``kill -9`` included) or when SIGTERM, SIGINT or
  SIGHUP comes, the whole tree gets SIGTERM and, after ``GRACE_S`` seconds, SIGKILL. One that was
  ignored at the start (``nohup``, ``trap ''``) ends nothing, unless the owner sends it.
* The command's exit code is passed on; 128 + n where signal n ended it, as in a shell. If the owner
  is dead, nobody else can delete the folder ``REMOVE`` (empty: none), so the supervisor does.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time

assert sys.platform == "linux"  # for the type checker too: the rest exists on Linux only

OWNER_POLL_S = 0.5
"""How late the owner's death may be noticed; two wake-ups a second cost nothing measurable."""
REAP_POLL_S = 0.02
"""Time between two looks at the tree while it is taken down."""
NOT_FOUND_EXIT = 127
"""Exit code of a shell for a command that cannot be started."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_WATCHED = {signal.SIGCHLD, *_STOP_SIGNALS}


class Supervisor:
    """One command and all processes that it starts."""

    def __init__(self, owner_pid: int, command: list[str]) -> None:
        self._owner_pid = owner_pid
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        # Blocked, the signals wait for sigtimedwait(): no handler, no race.
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        self.exit_code: int | None = None
        self._child_pid = os.fork()
        if self._child_pid == 0:
            # Should the supervisor itself be killed, at least the command goes with it.
            libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, set())
            # Python ignores these two; programs expect them as they were.
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            try:
                os.execvp(command[0], command)  # noqa: S606 - a shell would only be in the way
            except OSError as error:
                os.write(2, f"{command[0]}: {error.strerror}\n".encode())
            os._exit(NOT_FOUND_EXIT)

    @property
    def is_owned(self) -> bool:
        """False once the owner is dead and another process has adopted the supervisor."""
        return os.getppid() == self._owner_pid

    def watch(self) -> None:
        """Wait until the command has ended, or is to be ended."""
        while self.exit_code is None and self.is_owned:
            got = signal.sigtimedwait(_WATCHED, OWNER_POLL_S)
            if got is not None and got.si_signo in _STOP_SIGNALS and self._counts(got):
                return
            self._reap()

    def _counts(self, got: signal.struct_siginfo) -> bool:
        """Whether a signal is to end the command; an ignored one counts if the owner sends it."""
        is_ignored = signal.getsignal(got.si_signo) is signal.SIG_IGN
        return not is_ignored or got.si_pid == self._owner_pid

    def take_down(self, grace_s: float) -> None:
        """End all processes of the tree: SIGTERM first, then SIGKILL until none is left."""
        asked: set[int] = set()
        deadline = time.monotonic() + grace_s
        while True:
            self._reap()
            tree = _descendants(os.getpid())
            if not tree:
                return
            if time.monotonic() < deadline:
                _send(signal.SIGTERM, tree - asked)
                asked |= tree
            else:
                _send(signal.SIGKILL, tree)
            signal.sigtimedwait({signal.SIGCHLD}, REAP_POLL_S)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._child_pid:
                    code = os.waitstatus_to_exitcode(status)
                    self.exit_code = code if code >= 0 else 128 - code


def _send(what: signal.Signals, pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, what)


def _descendants(root_pid: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib would double the start-up time
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
            # The name in parentheses may hold spaces; state and parent follow the last one.
            parent = int(file.read().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(name))
    found: set[int] = set()
    ahead = [root_pid]
    while ahead:
        for child in children.get(ahead.pop(), []):
            found.add(child)
            ahead.append(child)
    return found


def main(arguments: list[str]) -> int:
    """Run the command to its end, and its tree to theirs."""
    owner_pid, grace_s, remove, _, *command = arguments
    supervisor = Supervisor(int(owner_pid), command)
    supervisor.watch()
    supervisor.take_down(float(grace_s))
    if remove and not supervisor.is_owned:
        import shutil  # noqa: PLC0415 - after the work: it would cost 10 ms at the start

        shutil.rmtree(remove, ignore_errors=True)
    return supervisor.exit_code if supervisor.exit_code is not None else NOT_FOUND_EXIT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

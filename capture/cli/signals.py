"""^C and its like, while something is recorded."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Protocol, Self

from capture.model import State

if TYPE_CHECKING:
    from types import FrameType, TracebackType

__all__ = ["StopSignals", "Stoppable"]


class Stoppable(Protocol):
    """A recording, of whatever kind."""

    @property
    def state(self) -> str:
        """Where it stands; ready and waiting as in ``State``."""

    def stop(self, reason: str) -> None:
        """End it cleanly."""

    def abort(self) -> None:
        """End it without waiting for what is still under way."""


class StopSignals:
    """^C and SIGTERM: the first ends the recording cleanly, the second does not wait."""

    _NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")

    def __init__(self) -> None:
        self.session: Stoppable | None = None
        self._saved: dict[int, Any] = {}
        self._count = 0

    def __enter__(self) -> Self:
        for name in self._NAMES:
            number = getattr(signal, name, None)  # Windows has no SIGHUP, and alone SIGBREAK
            if number is not None:
                self._saved[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._saved.items():
            signal.signal(number, handler)

    @property
    def has_come(self) -> bool:
        """Whether there was one."""
        return self._count > 0

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self.session is None or self.session.state in {State.READY, State.WAITING}:
            raise KeyboardInterrupt
        if self._count == 1:
            self.session.stop("interrupt" if number == signal.SIGINT else "terminate")
        else:
            self.session.abort()

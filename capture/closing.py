"""Whoever opens, closes."""

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """Whoever opens, closes: usable in ``with``; ``close()`` may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Give everything back; idempotent."""

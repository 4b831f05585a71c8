"""``Closing``: the base of everything that is opened and has to be closed."""

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """Has ``close()``, which may be called twice, and calls it at the end of ``with``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Give everything back; idempotent."""

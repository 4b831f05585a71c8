"""Texts for people that are codes with parameters, so that each front can use its own words."""

import enum
from typing import Any, Self


class Code(enum.Enum):
    """Base of lists of codes; a value is the text in a front that has no words of its own."""

    def with_(self, **parameters: Any) -> "Coded":
        """The text of this code, with values for the names in braces."""
        return Coded(self, parameters)


class Coded(str):
    """The text of a code, with the code and its parameters.

    Args:
        code: The code.
        parameters: Values for the names in braces, of this text and of every front's.
    """

    __slots__ = ("code", "parameters")
    code: Code
    parameters: dict[str, Any]

    def __new__(cls, code: Code, parameters: dict[str, Any]) -> Self:
        """The text of the code with its parameters."""
        text = super().__new__(cls, code.value.format(**parameters))
        text.code, text.parameters = code, parameters
        return text

    def __reduce__(self) -> tuple[type["Coded"], tuple[Code, dict[str, Any]]]:
        return Coded, (self.code, self.parameters)  # it goes through worker processes

"""The reducers of what goes by value, made only when something does: plain data need not wait for cloudpickle."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reducers:
    """What a message calls, once, for a `by_value.ByValue`.

    Parameters
    ----------
    values : bool
        Whether a reader is to use definitions of its own only where they refer to equal values too, and functions never.
    refused : str, optional
        Why something could not be carried: all that is found by its name then goes by that and a digest of its definition.
    """

    values: bool = False
    refused: str | None = None

    def __call__(self) -> Any:
        from fastser.by_value import ByValue

        return ByValue(self.values, self.refused)

"""pandas: columns in Arrow's memory. Everything else of pandas goes by its own reducers, which lead to NumPy arrays.

They would lead to Arrow arrays too, but to copies: pandas joins the chunks of a column for pickle, even where it is only one.
"""

from functools import partial
from typing import Any

from pandas.arrays import ArrowExtensionArray, ArrowStringArray

from fastser.hooks import Hook


def _encode(array: Any) -> dict[str, Any]:
    state = dict(vars(array))
    if "_cache" in state:
        state["_cache"] = {}
    return state


def _decode(cls: type, state: Any) -> Any:
    array: Any = cls.__new__(cls)
    array.__setstate__(state)
    return array


HOOKS = tuple(
    Hook(cls, f"pandas.arrays.{cls.__name__}", _encode, partial(_decode, cls), False) for cls in (ArrowExtensionArray, ArrowStringArray)
)

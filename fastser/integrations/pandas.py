"""pandas: columns in Arrow's memory, and tables over memory that is not to be written to.

Everything else of pandas goes by its own reducers, which lead to NumPy arrays. Columns in Arrow's memory have hooks: reducers would lead
to Arrow arrays too, but to copies, since pandas joins the chunks of a column for pickle, even where it is only one.
"""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from pandas.arrays import ArrowExtensionArray, ArrowStringArray

from fastser.hooks import Hook


def _encode(array: Any) -> dict[str, Any]:
    state = dict(vars(array))
    if "_cache" in state:
        state["_cache"] = {}
    return state


def _decode(cls: type, state: Any) -> Any:
    array: Any = cls.__new__(cls)  # type: ignore[call-overload]
    array.__setstate__(state)
    return array


HOOKS = tuple(
    Hook(cls, f"pandas.arrays.{cls.__name__}", _encode, partial(_decode, cls), False) for cls in (ArrowExtensionArray, ArrowStringArray)
)


# --- tables ------------------------------------------------------------------------------------------------------------


class _Memory:
    """Stands for the memory that blocks of loaded tables are views of: one more who refers to it, and never gone."""


_MEMORY = _Memory()


def is_frame(cls: type) -> bool:
    """Whether objects of a class of pandas are tables, or indexes, which nobody writes to."""
    return cls is pd.DataFrame or cls is pd.Series or issubclass(cls, pd.Index)


def shield(obj: Any) -> None:
    """Have pandas copy a block of a table before it first writes to it, where its memory cannot be written to.

    It does so for blocks that another table refers to, and each block counts who refers to it.
    """
    if isinstance(obj, (pd.DataFrame, pd.Series)):
        for block in obj._mgr.blocks:
            if not _is_writable(block.values):
                block.refs.add_index_reference(_MEMORY)


def _is_writable(values: Any) -> bool:
    array = getattr(values, "_ndarray", None)  # times, periods, codes of categories
    if array is None:
        array = getattr(values, "_data", None) if not isinstance(values, np.ndarray) else values  # values beside a mask
    return isinstance(array, np.ndarray) and array.flags.writeable


def writes_in_place() -> bool:
    """Whether pandas, in its mode of now, writes to a block even if others refer to it: before 3.0 it does by default."""
    if not _SHIELDS:
        return True
    return _MAJOR < 3 and pd.get_option("mode.copy_on_write") is not True


def _shields() -> bool:
    """Whether this version of pandas counts as `shield` expects."""
    values = np.zeros(1)
    values.flags.writeable = False
    series: Any = pd.Series(values, copy=False)
    try:
        refs = series._mgr.blocks[0].refs
        before = refs.has_reference()
        shield(series)
        return not before and refs.has_reference()
    except (AttributeError, TypeError):
        return False


_MAJOR = int(pd.__version__.partition(".")[0])
_SHIELDS = _shields()

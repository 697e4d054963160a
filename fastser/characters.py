"""The characters of NumPy's texts of fixed width, in frames that anybody may have made.

NumPy makes a str of whatever four bytes there are, without a look. One that holds a number beyond Unicode breaks what the
interpreter relies on: methods end in a SystemError, and what it is encoded to is no UTF-8.
"""

from math import prod
from typing import Any

import numpy as np

from fastser import errors

LAST = 0x10FFFF

Parts = tuple[tuple[np.dtype[Any], int], ...]


def text_parts(dtype: np.dtype[Any]) -> Parts:
    """Where an element holds text: dtypes to view it by, in which so many steps to a field lead to the numbers of characters.

    Raises
    ------
    DecodeError
        Fields of text lie over one another, so that looking at them all could take longer than the frame's bytes pay for.
    """
    return tuple((_within(dtype.itemsize, 0, form, ()), steps + 1) for form, steps, _ in _find(dtype))


def check_characters(array: np.ndarray[Any, Any], parts: Parts) -> None:
    """Refuse an array without gaps, of that dtype, if it holds what is no character."""
    if array.size == 0:
        return
    flat = array.ravel("K")
    for form, steps in parts:
        numbers: Any = flat.view(form)
        for _ in range(steps):
            numbers = numbers["text"]
        most = int(numbers.max())
        if most > LAST:
            raise errors.no_character(most)


def _find(dtype: np.dtype[Any]) -> list[tuple[Any, int, int]]:
    """(form, steps, bytes of text in all) for each text."""
    if dtype.kind == "U":
        if dtype.itemsize == 0:
            return []
        return [(np.dtype((np.dtype("u4").newbyteorder(dtype.byteorder), (dtype.itemsize // 4,))), 0, dtype.itemsize)]
    found = []
    total = 0
    for name in dtype.names or ():
        field, offset = dtype.fields[name][:2]  # type: ignore[index]
        base, shape = field.subdtype or (field, ())
        if 0 in shape:
            continue
        for form, steps, size in _find(base):
            size *= prod(shape)
            total += size
            if total > dtype.itemsize:
                raise errors.bad_dtype("fields of text that do not lie over one another", dtype.names)
            found.append((_within(dtype.itemsize, offset, form, shape), steps + 1, size))
    return found


def _within(itemsize: int, offset: int, form: np.dtype[Any], shape: tuple[int, ...]) -> np.dtype[Any]:
    # One dimension is enough: NumPy knows a limit for them.
    item = np.dtype((form, (prod(shape),))) if shape else form
    return np.dtype({"names": ["text"], "formats": [item], "offsets": [offset], "itemsize": itemsize})

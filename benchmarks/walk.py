"""What the benchmark asks about data: what is in it, whether two values are the same, how large a frame may be."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

import numpy as np

ATOMS = {type(None), bool, int, str, bytes}
SEQUENCES = (list, tuple, set, frozenset)


def walk(value: object) -> Iterator[object]:
    """Every object in `value`, the way pickle writes them: each number where it stands, anything else once."""
    met = set()
    pending = [value]
    while pending:
        item = pending.pop()
        kind = type(item)
        if kind is not int and kind is not float:
            if id(item) in met:
                continue
            met.add(id(item))
        yield item
        if kind in SEQUENCES:
            pending.extend(item)
        elif kind is dict:
            pending.extend(item)
            pending.extend(item.values())
        elif isinstance(item, np.ndarray) and item.dtype.hasobject:
            pending.extend(item.flat)


def size_limit(value: object, pickled: int) -> int:
    """The bytes that fastser may take for what pickle writes in `pickled` bytes.

    pickle's own plus 5 % plus 64, plus one for each text item and for each integer beyond 32 bits.
    """
    items = sum(
        type(item) is str or type(item) is int and not -(1 << 31) <= item < 1 << 31 for item in walk(value)
    )
    return int(pickled * 1.05) + 64 + items


def text_memory(value: object) -> int:
    """Bytes that the strings in `value` occupy. It grows when somebody leaves a UTF-8 copy on them."""
    return sum(sys.getsizeof(item) for item in walk(value) if type(item) is str)


def same(a: object, b: object) -> bool:
    """Whether `b` is what a faithful copy of `a` is.

    Exact types, the bits of every float, the order of dict keys, the dtype, shape, memory order and bytes of arrays, and
    the identity of containers and arrays: two references to one in `a` are two references to one in `b`, and only they.
    """
    return _same(a, b, {}, {})


def _same(a, b, there: dict, back: dict) -> bool:
    kind = type(a)
    if type(b) is not kind:
        return False
    if kind in ATOMS:
        return a == b
    if kind is float:
        return struct.pack("d", a) == struct.pack("d", b)
    if kind in (list, tuple, dict, set, frozenset, bytearray) or isinstance(a, np.ndarray):
        if id(a) in there:
            return there[id(a)] is b
        if kind not in (tuple, frozenset) or len(a):  # the empty ones are one object each
            if id(b) in back:
                return False
            there[id(a)] = b
            back[id(b)] = a
    if kind is list or kind is tuple:
        return _same_items(a, b, there, back)
    if kind is dict:
        return _same_items(list(a), list(b), there, back) and _same_items(
            list(a.values()), list(b.values()), there, back
        )
    if kind is set or kind is frozenset:
        return a == b and {(type(x), x) for x in a} == {(type(x), x) for x in b}
    if isinstance(a, np.ndarray):
        return _same_array(a, b, there, back)
    if isinstance(a, np.generic):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if type(a).__repr__ is not object.__repr__:  # datetime's fold, Decimal's exponent: in the repr, not in equality
        return repr(a) == repr(b)
    return a == b


def _same_items(a, b, there: dict, back: dict) -> bool:
    if len(a) != len(b):
        return False
    kinds = list(map(type, a))
    if ATOMS.issuperset(kinds):
        return kinds == list(map(type, b)) and list(a) == list(b)
    return all(_same(x, y, there, back) for x, y in zip(a, b))


def _same_array(a, b, there: dict, back: dict) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape or a.flags.fnc != b.flags.fnc:
        return False
    if a.dtype.names:
        return all(_same_array(a[name], b[name], there, back) for name in a.dtype.names)
    if a.dtype.hasobject:
        return _same_items(list(a.flat), list(b.flat), there, back)
    order = "F" if a.flags.fnc else "C"
    bits = [np.asarray(x, order=order).ravel(order).view(np.uint8) for x in (a, b)]
    return np.array_equal(*bits)

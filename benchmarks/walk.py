"""What the benchmark asks about data: what is in it, whether two values are the same, how large a frame may be.

Objects that are not plain data are seen through their reducers, as pickle sees them.
"""

from __future__ import annotations

import copyreg
import struct
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pickle import PickleBuffer
from types import BuiltinFunctionType, FunctionType, ModuleType
from uuid import UUID

import numpy as np

ATOMS = {type(None), bool, int, str, bytes}
SEQUENCES = (list, tuple, set, frozenset)
BUFFERS = {bytearray, PickleBuffer}
# Their reprs tell all, datetime's fold and Decimal's exponent too; whether one of them comes back as two is not asked.
VALUES = {complex, range, slice, date, datetime, time, timedelta, timezone, Decimal, UUID}
LEAVES = ATOMS | BUFFERS | VALUES | {float}
NAMED = (type, BuiltinFunctionType, FunctionType, ModuleType)


def reduced(item: object) -> str | tuple:
    """What pickle asks an object for: the name that it is found by, or seven parts.

    These are a callable, its arguments, list items, keys, values, the state, and who puts the state in.
    """
    reducer = copyreg.dispatch_table.get(type(item))
    found = reducer(item) if reducer else item.__reduce_ex__(5)
    if isinstance(found, str):
        return found
    call, arguments, state, items, pairs, setter = (*found, None, None, None, None)[:6]
    pairs = list(pairs or ())
    return call, arguments, list(items or ()), [key for key, _ in pairs], [value for _, value in pairs], state, setter


def walk(value: object) -> Iterator[object]:
    """Every object in `value`, the way pickle writes them: each number where it stands, anything else once."""
    met = {}  # with the objects themselves: reducers make some that nobody else keeps
    pending = [value]
    while pending:
        item = pending.pop()
        kind = type(item)
        if kind is not int and kind is not float:
            if id(item) in met:
                continue
            met[id(item)] = item
        yield item
        if kind in SEQUENCES:
            pending.extend(item)
        elif kind is dict:
            pending.extend(item)
            pending.extend(item.values())
        elif isinstance(item, np.ndarray):
            pending.extend(item.flat if item.dtype.hasobject else ())
        elif not (kind in LEAVES or isinstance(item, (np.generic, *NAMED))):
            found = reduced(item)
            if not isinstance(found, str):
                _, *lists, state, _ = found
                for part in lists:
                    pending.extend(part)
                pending.append(state)


def size_limit(value: object, pickled: int) -> int:
    """The bytes that fastser may take for what pickle writes in `pickled` bytes.

    pickle's own plus 5 % plus 64, plus one for each text item and for each integer beyond 32 bits, plus the module's name for
    each class and function, which pickle writes once.
    """
    allowed = int(pickled * 1.05) + 64
    for item in walk(value):
        if type(item) is str or type(item) is int and not -(1 << 31) <= item < 1 << 31:
            allowed += 1
        elif isinstance(item, NAMED):
            allowed += len(getattr(item, "__module__", None) or "") + 1
    return allowed


def text_memory(value: object) -> int:
    """Bytes that the strings in `value` occupy. It grows when somebody leaves a UTF-8 copy on them."""
    return sum(sys.getsizeof(item) for item in walk(value) if type(item) is str)


def same(a: object, b: object) -> bool:
    """Whether `b` is what a faithful copy of `a` is.

    Exact types, the bits of every float, the order of dict keys, the dtype, shape, memory order and bytes of arrays, what
    the reducers of other objects return, the code and the cells of functions, and identity: of containers, arrays and
    objects, two references to one in `a` are two references to one in `b`, and only they.
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
    if kind is type:
        return a is b
    if kind in VALUES:
        return repr(a) == repr(b)
    if isinstance(a, np.generic):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, (Enum, *NAMED)) and not _is_local(a):
        return a is b
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
    if kind in BUFFERS:
        return bytes(a) == bytes(b)
    if isinstance(a, np.ndarray):
        return _same_array(a, b, there, back)
    if kind.__module__.partition(".")[0] in ("pyarrow", "polars") and hasattr(kind, "equals"):
        return _schema(a) == _schema(b) and a.equals(b)
    if kind.__module__ == "torch" and hasattr(kind, "equal"):
        return (a.dtype, a.shape, a.stride(), a.requires_grad) == (b.dtype, b.shape, b.stride(), b.requires_grad) and a.equal(b)
    if kind is FunctionType:
        return _same_function(a, b, there, back)
    first, second = reduced(a), reduced(b)
    if isinstance(first, str) or isinstance(second, str):
        return a is b
    call, *lists, state, setter = first
    other_call, *other_lists, other_state, other_setter = second
    return (
        (call is other_call or _same(call, other_call, there, back))
        and _same(state, other_state, there, back)
        and _same(setter, other_setter, there, back)
        and all(_same_items(x, y, there, back) for x, y in zip(lists, other_lists) if x or y)
    )


def _schema(data):
    return getattr(data, "schema", None) or getattr(data, "dtype", None) or getattr(data, "type", None)


def _is_local(item) -> bool:
    """Whether it is a function that goes by value, because no name leads to it."""
    return type(item) is FunctionType and "<locals>" in item.__qualname__


def _same_function(a, b, there: dict, back: dict) -> bool:
    def parts(function):
        names = [name for name in function.__code__.co_names if name in function.__globals__]
        return [
            *(function.__module__, function.__qualname__, function.__doc__, function.__defaults__, function.__kwdefaults__),
            *(function.__dict__, [cell.cell_contents for cell in function.__closure__ or ()]),
            {name: function.__globals__[name] for name in names},
        ]

    return a.__code__ == b.__code__ and _same_items(parts(a), parts(b), there, back)


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

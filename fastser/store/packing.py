"""How an executor packs what it sends: what is small, what goes through pipes, and how functions and classes go."""

import types
from dataclasses import replace
from typing import Any

from fastser import errors
from fastser._core.dumps import pack
from fastser._core.loads import loads, loads_private
from fastser._core.packed import Packed
from fastser.on_demand import Reducers
from fastser.store.functions import CARRIED

# What packs to more than that goes through the store. A pipe holds 64 KiB: beyond, writer and reader wait for each other.
INLINE_LIMIT = 64 << 10

_NUMBERS = frozenset([types.NoneType, bool, int, float, complex])
_TEXTS = frozenset([str, bytes])
_TEXT_LIMIT = 1000

# How functions and classes come back: who submitted the task takes its own where they are the same.
ANSWER: Any = Reducers()


def carry(obj: object, carried: Any = CARRIED) -> Packed:
    """What goes to a worker, or comes back. What cannot be carried may be there, if the worker was forked, or has imported the main
    module: who reads it looks."""
    try:
        return pack(obj, fallback=carried)
    except errors.EncodeError as error:
        refused = error
    by_name: Any = replace(carried, refused=str(refused))
    try:
        return pack(obj, fallback=by_name)
    except errors.EncodeError:
        raise refused from refused.__cause__


def is_small(obj: object) -> bool:
    kind = type(obj)
    return kind in _NUMBERS or (kind in _TEXTS and len(obj) <= _TEXT_LIMIT)  # type: ignore[arg-type]


def own(frame: bytes) -> Any:
    """The object of a frame that came through a pipe; its arrays can be written to."""
    return loads_private(bytearray(frame), readonly=False)


class Portable:
    """A function that pickle need not find by its name. Where processes are forked, nothing of it is pickled."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __reduce__(self) -> Any:
        return _carried, (carry(self.function).to_bytes(),)


def _carried(frame: bytes) -> Portable:
    return Portable(loads(frame))

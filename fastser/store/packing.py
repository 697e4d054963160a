"""How an executor packs what it sends: what is small, what goes through pipes, and how functions and classes go."""

import re
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from fastser import errors
from fastser._core.dumps import pack
from fastser._core.frame.packed import Packed
from fastser._core.loads import loads, loads_private
from fastser.on_demand import Reducers
from fastser.store.functions import CARRIED, MAX_DEPTH

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
        return pack(obj, max_depth=MAX_DEPTH, fallback=carried)
    except errors.EncodeError as error:
        refused = error
    by_name: Any = replace(carried, refused=str(refused))
    try:
        return pack(obj, max_depth=MAX_DEPTH, fallback=by_name)
    except errors.EncodeError:
        raise refused from refused.__cause__


_IN_CALL = re.compile(r"(?<=at )\$(?:\[0\]|\[1\]\[(\d+)\]\[(\d+)\]|\[2\](?:\.(\w+)|\['([^']*)'\]))")


def carry_call(fn: Any, calls: "list[tuple[Any, ...]]", kwargs: "dict[str, Any] | None") -> Packed:
    """A task: many calls, or one with `kwargs`. What is wrong with an argument is told as the caller knows it."""
    with _told(partial(_IN_CALL.sub, partial(_as_argument, of_many=kwargs is None), count=1)):
        return carry((fn, calls, kwargs))


def carry_function(fn: Any) -> Packed:
    """What many tasks call, on its own."""
    with _told(lambda text: text.replace("at $", "at fn", 1)):
        return carry(fn)


def carry_result(value: Any) -> Packed:
    """What a task returned."""
    with _told(lambda text: text.replace("at $", "at result", 1)):
        return carry(value, ANSWER)


@contextmanager
def _told(change: Callable[[str], str]) -> Iterator[None]:
    """Change the text of an error, which tells places in what is carried, to what its user knows."""
    try:
        yield
    except errors.FastserError as error:
        error.args = (change(str(error)), *error.args[1:])
        raise


def _as_argument(found: "re.Match[str]", of_many: bool) -> str:
    call, position, *names = found.groups()
    if call is not None:
        return f"argument {int(position) + 1}" + (f" of call {int(call) + 1} of its chunk" if of_many else "")
    name = next(filter(None, names), None)
    return "fn" if name is None else f"argument {name}"


def is_small(obj: object) -> bool:
    kind = type(obj)
    return kind in _NUMBERS or (kind in _TEXTS and len(obj) <= _TEXT_LIMIT)  # type: ignore[arg-type]


def own(frame: bytes) -> Any:
    """The object of a frame that came through a pipe; its arrays can be written to."""
    return loads_private(bytearray(frame), readonly=False, max_depth=MAX_DEPTH)


class Portable:
    """A function that pickle need not find by its name. Where processes are forked, nothing of it is pickled."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __reduce__(self) -> Any:
        return _carried, (carry(self.function).to_bytes(),)


def _carried(frame: bytes) -> Portable:
    return Portable(loads(frame, max_depth=MAX_DEPTH))

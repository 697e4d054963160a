"""Functions that go by value, packed once for as long as all that they refer to is the same.

cloudpickle takes a lambda, or a function of ``__main__``, together with what it refers to, which takes several times as long as
the rest of a small task. Most refer to what cannot change in place: constants, modules, what is found by name, and other such
functions. These are packed again only when something of that was replaced.
"""

import operator
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from fastser import fallback
from fastser._core.dumps import dumps
from fastser._core.loads import loads
from fastser.errors import EncodeError
from fastser.late import cached_annotations
from fastser.on_demand import Reducers

# How functions and classes go to workers: as they are now, whatever a worker has of that name.
CARRIED: Any = Reducers(values=True)

# Levels of what an executor sends: nobody tells it `max_depth`, and classes by value that refer to each other are many. The stack is the limit.
MAX_DEPTH = 1_000_000

_LIMIT = 200  # functions that are remembered
_CONSTANTS = frozenset([types.NoneType, types.EllipsisType, bool, int, float, complex, str, bytes])
_BY_NAME = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)
_GENERIC: tuple[Any, ...] = (types.GenericAlias, types.UnionType, type(typing.List[int]))  # noqa: UP006 - and what is derived from the last


def is_found_by_name(fn: Any) -> bool:
    """Whether pickle takes a function by its name, and cloudpickle would too."""
    return type(fn) is types.FunctionType and fallback.reference(fn, "cloudpickle") is not None


class PackedFunctions:
    """What one executor sends in place of functions that go by value."""

    def __init__(self) -> None:
        self._known: dict[types.FunctionType, tuple[list[Any], bytes]] = {}

    def frame(self, fn: Any) -> bytes | None:
        """The frame of a function, or None where it has to be packed each time."""
        if type(fn) is not types.FunctionType:
            return None
        try:
            parts = _parts(fn)
        except _Changeable:
            return None
        before, frame = self._known.get(fn, ((), b""))
        if len(before) != len(parts) or not all(map(operator.is_, before, parts)):
            try:
                frame = dumps(fn, max_depth=MAX_DEPTH, fallback=CARRIED)
            except EncodeError:
                return None
            if len(self._known) >= _LIMIT:
                self._known.clear()
            self._known[fn] = parts, frame
        return frame


class UnpackedFunctions:
    """What these frames are in a worker."""

    def __init__(self) -> None:
        self._known: dict[bytes, Any] = {}

    def function(self, frame: bytes) -> Any:
        fn = self._known.get(frame)
        if fn is None:
            if len(self._known) >= _LIMIT:
                self._known.clear()
            fn = self._known[frame] = loads(frame, max_depth=MAX_DEPTH)
        return fn


class _Changeable(Exception):
    """A function refers to what can change in place."""


def _parts(fn: types.FunctionType) -> list[Any]:
    """All that a function refers to, in an order that depends on that alone."""
    parts: list[Any] = [fn]
    functions = [fn]
    for function in functions:
        if function.__dict__ or function.__kwdefaults__:
            raise _Changeable
        parts.append(function.__code__)
        for part in _unfolded(_referred(function)):
            parts.append(part)
            if type(part) in _CONSTANTS or isinstance(part, _GENERIC):
                continue
            if not isinstance(part, _BY_NAME):
                raise _Changeable
            if fallback.reference(part, "cloudpickle") is None:
                if type(part) is not types.FunctionType:
                    raise _Changeable
                if part not in functions:
                    functions.append(part)
    return parts


def _referred(fn: types.FunctionType) -> Iterator[Any]:
    yield from fn.__defaults__ or ()
    for cell in fn.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            raise _Changeable from None
    for name in fallback.names_in(fn.__code__):
        if name in fn.__globals__:
            yield fn.__globals__[name]
    yield from getattr(fn, "__type_params__", ())
    annotate = getattr(fn, "__annotate__", None)
    if annotate is None:
        annotations = fn.__annotations__
    else:
        yield annotate
        annotations = cached_annotations(fn) or {}
    yield from annotations
    yield from annotations.values()


def _unfolded(parts: Iterable[Any]) -> Iterator[Any]:
    """The same, and what `list[int]`, `int | None` and others are made of."""
    for part in parts:
        yield part
        if isinstance(part, _GENERIC):
            origin = typing.get_origin(part)
            yield from _unfolded((*part.__args__, *getattr(part, "__metadata__", ()), origin if isinstance(origin, type) else None))

"""What an executor does in its workers: open a call, run it, and answer."""

import itertools
import os
import sys
import time
import types
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.util import Finalize
from typing import Any

from fastser import errors
from fastser.fallback import MAIN
from fastser.store.answers import Answer, OnItsWay
from fastser.store.functions import MAX_DEPTH, UnpackedFunctions
from fastser.store.lifeline import watch
from fastser.store.objects import ObjectStore, leave_all
from fastser.store.packing import INLINE_LIMIT, Portable, carry_result, is_small, own
from fastser.store.reference import ObjectRef
from fastser.store.sharing import Shared

_CLOSING = 0.05  # seconds in which the kernel has let go of all that a dead process had open, in whatever order


class Worker:
    """What a worker knows of the executor."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self.store, self.prefix = store, prefix
        self.functions = UnpackedFunctions()
        self._number = itertools.count()

    def open(self, call: bytes | ObjectRef) -> Any:
        fn, calls, kwargs = self.store.get(call, mode="c", max_depth=MAX_DEPTH) if isinstance(call, ObjectRef) else own(call)
        found: dict[ObjectRef, Any] = {}
        resolve = partial(self._resolve, found)
        calls = [tuple(map(resolve, args)) for args in calls]
        return resolve(fn), calls, kwargs and {name: resolve(value) for name, value in kwargs.items()}

    def _resolve(self, found: dict[ObjectRef, Any], argument: Any) -> Any:
        if type(argument) is ObjectRef:
            return self.store.get(argument)
        if type(argument) is not Shared:
            return argument
        if argument.ref not in found:
            found[argument.ref] = self.store.get(argument.ref, mode="c", max_depth=MAX_DEPTH)
        return found[argument.ref]

    def answer(self, value: Any) -> Any:
        if is_small(value):
            return value
        packed = carry_result(value)
        if packed.nbytes <= INLINE_LIMIT:
            return Answer(self.prefix, packed.to_bytes())
        try:
            ref = self.store.put_frame(packed, key=f"{self.prefix}{os.getpid()}-{next(self._number)}")
        except errors.StoreFullError as error:
            return Answer(self.prefix, packed.to_bytes(), str(error))
        return Answer(self.prefix, ref)


_worker: Worker


def start(line: Any, name: str, prefix: str, initializer: "Portable", initargs: tuple[Any, ...]) -> None:
    global _worker
    watch(line, _end)
    Finalize(None, leave_all, exitpriority=0)  # where the pipe of the pool ends first
    _worker = Worker(ObjectStore.attach(name), prefix)
    if initializer.function is not None:
        before = [(scope, dict(scope)) for scope in _main_scopes(initializer.function)]
        initializer.function(*initargs)
        found = {name: value for scope, old in before for name, value in scope.items() if old.get(name, old) is not value}
        if found:
            from fastser import by_value  # not at the top: a pool that is given functions by name does without cloudpickle

            by_value.set_in_main.update(found)
            for scope in _own_scopes():
                scope.update(found)


def _end() -> None:
    """The executor's process was killed: nobody waits for what a task is doing."""
    try:
        time.sleep(_CLOSING)
        leave_all()  # the last one removes the store
    finally:
        os._exit(1)


def _own_scopes() -> list[dict[str, Any]]:
    """What functions of the main module see: where processes are not forked, that is a dict of its own."""
    main = vars(sys.modules["__main__"])
    own = (fn.__globals__ for fn in main.values() if type(fn) is types.FunctionType and fn.__module__ in MAIN)
    return [main, next(own, main)]


def _main_scopes(fn: Any) -> Iterator[dict[str, Any]]:
    """These, and what stands for them where a function came by value."""
    yield from (own := _own_scopes())
    while not isinstance(fn, types.FunctionType):
        fn = getattr(fn, "func", None) or getattr(fn, "__func__", None)
        if fn is None:
            return
    if all(fn.__globals__ is not scope for scope in own) and fn.__globals__.get("__name__") in MAIN:
        yield fn.__globals__


def call(fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return _worker.answer(fn(*args))
    except BaseException as error:
        raised = OnItsWay.here(error)
    raise raised  # from here, so that it does not refer to the error and the frames of the task


def call_known(frame: bytes, args: tuple[Any, ...]) -> Any:
    try:
        return _worker.answer(_worker.functions.function(frame)(*args))
    except BaseException as error:
        raised = OnItsWay.here(error)
    raise raised


def run(call: bytes | ObjectRef) -> Any:
    try:
        fn, calls, kwargs = _worker.open(call)
        return _worker.answer([fn(*args) for args in calls] if kwargs is None else fn(*calls[0], **kwargs))
    except BaseException as error:
        raised = OnItsWay.here(error)
    raise raised

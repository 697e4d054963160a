"""A pool of processes to which large arguments and results go through a store, and everything else through its pipes."""

import concurrent.futures
import itertools
import multiprocessing
import os
import secrets
import sys
import threading
import traceback
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np

from fastser import errors
from fastser._core.dumps import dumps, pack
from fastser._core.loads import loads, loads_private
from fastser._core.packed import Packed
from fastser.fallback import MAIN
from fastser.on_demand import Reducers
from fastser.store.objects import ObjectStore
from fastser.store.functions import CARRIED, PackedFunctions, UnpackedFunctions, is_found_by_name
from fastser.store.reference import ObjectRef

# What packs to more than that goes through the store. A pipe holds 64 KiB: beyond, writer and reader wait for each other.
INLINE_LIMIT = 64 << 10
_COMPARED_AT_ONCE = 1 << 20

_NUMBERS = frozenset([types.NoneType, bool, int, float, complex])
_TEXTS = frozenset([str, bytes])
_TEXT_LIMIT = 1000

# How functions and classes come back: who submitted the task takes its own where they are the same.
_ANSWER: Any = Reducers()

# What every worker needs: this module, NumPy with it, and cloudpickle where a function goes by value.
_PRELOADED = "fastser.store.executor", "cloudpickle"


class Executor(concurrent.futures.Executor):
    """A pool of processes whose large arguments and results are in shared memory.

    A `concurrent.futures.ProcessPoolExecutor` runs the tasks. What is called and what it is called with are packed by fastser, so
    that lambdas and closures work; what is large is put into an object store and mapped by the worker, instead of
    being sent through a pipe.

    Parameters
    ----------
    max_workers : int, optional
        How many processes; by default as many as there are processors.
    mp_context : multiprocessing context, optional
        How they are started: ``multiprocessing.get_context("fork")``, ``"spawn"`` or ``"forkserver"``. A fork server that the first
        executor starts imports what workers need, so that they begin at once.
    initializer : callable, optional
        Is called with `initargs` in each worker when it starts. When it raises, the pool is broken.
    initargs : tuple
    store : ObjectStore, optional
        Where large arguments and results go. By default a store of its own, which is closed at `shutdown`.
    max_tasks_per_child : int, optional
        After so many tasks a worker is replaced by a new one; not with "fork". From Python 3.11 on.

    Attributes
    ----------
    store : ObjectStore
        Put an object here yourself, and pass its `ObjectRef` to as many tasks as you like.

    Notes
    -----
    A task owns its arguments, and the caller its results: their arrays can be written to, and nobody else sees it, since they
    are mapped copy-on-write. An `ObjectRef` among the arguments (not deeper) arrives as ``store.get(ref)``.

    An argument that packs to more than 64 KiB is put once, however many unfinished tasks have it: one that is passed again is compared
    with what was put, and put again if it was changed meanwhile. It is deleted when the last of these tasks is done. Results are
    deleted when they arrive; their memory is free once the last array over it is gone.

    Packing happens in `submit` and `map`, which raise EncodeError for what cannot be packed, and StoreFullError.

    Examples
    --------
    >>> import fastser
    >>> import numpy as np
    >>> with fastser.Executor(max_workers=2) as executor:
    ...     total = executor.submit(np.sum, np.ones(1_000_000))
    ...     squares = executor.map(lambda i: i * i, range(4))
    ...     total.result(), list(squares)
    (np.float64(1000000.0), [0, 1, 4, 9])
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        store: ObjectStore | None = None,
        max_tasks_per_child: int | None = None,
    ) -> None:
        if initializer is not None and not callable(initializer):
            raise errors.bad_option("initializer", "callable or None", initializer)
        if not isinstance(store, ObjectStore | None):
            raise errors.bad_option("store", "an ObjectStore or None", store)
        if mp_context is None and max_tasks_per_child is None:
            mp_context = multiprocessing.get_context()
        if mp_context is not None and mp_context.get_start_method() == "forkserver":
            _preload()
        self._through = _Through(store)
        self._is_down = False
        self._functions = PackedFunctions()
        self.store = self._through.store
        started = (self.store.name, self._through.prefix, _Portable(initializer), initargs)
        options = {} if max_tasks_per_child is None else {"max_tasks_per_child": max_tasks_per_child}  # from Python 3.11 on
        self._pool = _Pool(self._through, max_workers, mp_context, _start, started, **options)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "concurrent.futures.Future[Any]":
        """Schedule ``fn(*args, **kwargs)``, and return the future of its result."""
        if not kwargs and all(map(_is_small, args)):  # the pool's own pickling is the fastest for these
            if is_found_by_name(fn):
                return self._pool.submit(_call, fn, args)
            frame = self._functions.frame(fn)
            if frame is not None and len(frame) <= INLINE_LIMIT:
                return self._pool.submit(_call_known, frame, args)
        return self._submit(fn, [args], kwargs, [])

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """As ``map(fn, *iterables)``, with the calls made at the same time and in any order.

        Parameters
        ----------
        fn : callable
            Put once for all calls, if it is large: bound to large arrays, say.
        timeout : float, optional
            The seconds from now on after which a result that is not there is a TimeoutError.
        chunksize : int
            How many calls are one task.
        buffersize : int, optional
            So many tasks are submitted before their results are asked for, and one more with each result; all at once by default.
            From Python 3.14 on.
        """
        if chunksize < 1:
            raise errors.bad_chunksize(chunksize)
        self._check_is_open()
        if buffersize is not None:  # what is submitted later puts a large function again, if no task has it any more
            return self._map(fn, iterables, chunksize, [], timeout=timeout, buffersize=buffersize)
        with self._through.held(fn) as (fn, held):
            return self._map(fn, iterables, chunksize, held, timeout=timeout)

    def _map(
        self, fn: Any, iterables: tuple[Iterable[Any], ...], chunksize: int, held: "list[_Entry]", **options: Any
    ) -> Iterator[Any]:
        if chunksize > 1:
            calls = zip(*iterables)
            chunks = iter(lambda: list(itertools.islice(calls, chunksize)), [])
            batch = _Batch(lambda fn, calls: self._submit(fn, calls, None, held))
            return _flattened(batch, batch.map(fn, chunks, **options))
        if held:
            return _Batch(lambda fn, *args: self._submit(fn, [args], {}, held)).map(fn, *iterables, **options)
        return super().map(fn, *iterables, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; free everything once those that were submitted are done.

        Parameters
        ----------
        wait : bool
            Whether to return only then. Otherwise the store of an executor that has its own is closed when the executor and its
            futures are gone.
        cancel_futures : bool
            Whether to cancel those that have not begun.
        """
        self._is_down = True
        self._pool.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self._through.close()

    def _submit(
        self, fn: Any, calls: list[tuple[Any, ...]], kwargs: dict[str, Any] | None, held: "list[_Entry]"
    ) -> "concurrent.futures.Future[Any]":
        """One task of many calls without `kwargs`, or of a single one with them. `held`: what is in the store already."""
        self._check_is_open()
        through = self._through
        used = through.hold(held)
        try:
            packed = _packed((fn, calls, kwargs))
            if packed.nbytes > INLINE_LIMIT:
                share = partial(through.share, used)
                fn = share(fn)
                calls = [tuple(map(share, args)) for args in calls]
                kwargs = kwargs and {name: share(value) for name, value in kwargs.items()}
                packed = _packed((fn, calls, kwargs))
            future = self._pool.submit(_run, packed.to_bytes() if packed.nbytes <= INLINE_LIMIT else through.put(used, packed).ref)
        except BaseException:
            through.release(used)
            raise
        if used:
            future.add_done_callback(lambda _: through.release(used))
        return future

    def _check_is_open(self) -> None:
        if self._is_down:  # before anything is put
            raise errors.executor_is_down()


class _Pool(ProcessPoolExecutor):
    """The standard library's pool, whose futures are `_Future`s.

    It makes them itself, and nobody sees one before it is among the pool's tasks, which is a private attribute of its.
    """

    def __init__(self, through: "_Through", *options: Any, **more: Any) -> None:
        self._through = through
        super().__init__(*options, **more)

    @property
    def _pending_work_items(self) -> dict[int, Any]:
        return self._tasks

    @_pending_work_items.setter
    def _pending_work_items(self, tasks: dict[int, Any]) -> None:
        self._tasks = _Tasks(self._through)


class _Tasks(dict[int, Any]):
    """The tasks of a pool that are not done, by number."""

    def __init__(self, through: "_Through") -> None:
        self._through = through

    def __setitem__(self, number: int, task: Any) -> None:
        task.future.__class__ = _Future
        task.future.through = self._through
        super().__setitem__(number, task)


class _Future(concurrent.futures.Future):  # type: ignore[type-arg]
    """Opens what arrives."""

    def set_result(self, result: Any) -> None:
        if type(result) is not _Received:
            super().set_result(result)
        elif result.error is None:
            super().set_result(result.value)
        else:
            super().set_exception(result.error)

    def set_exception(self, exception: BaseException | None) -> None:
        super().set_exception(exception.original if isinstance(exception, _Raised) else exception)


def _preload() -> None:
    """Have the fork server, when it starts, import once what every worker would import."""
    from multiprocessing import forkserver  # not on every system

    # Private, since the public setter replaces what the program has set, and nothing tells what that is.
    server: Any = getattr(forkserver, "_forkserver", None)
    modules = getattr(server, "_preload_modules", None)
    if modules is not None:
        server._preload_modules = [*modules, *(name for name in _PRELOADED if name not in modules)]


class _Batch(concurrent.futures.Executor):
    """What `concurrent.futures.Executor.map` calls `submit` of."""

    def __init__(self, submit: Callable[..., Any]) -> None:
        self.submit = submit  # type: ignore[method-assign]


def _flattened(batch: _Batch, results: Iterator[list[Any]]) -> Iterator[Any]:
    """The items of all chunks. `batch` is kept: whoever submits as results are asked for refers to it weakly."""
    for chunk in results:
        chunk.reverse()
        while chunk:
            yield chunk.pop()  # keeps nothing that the caller has dropped


# --- what is in the store -----------------------------------------------------------------------------------------------


class _Entry:
    """An object in the store, and how many unfinished tasks have it."""

    __slots__ = ("count", "frame", "obj", "ref")

    def __init__(self, ref: ObjectRef, obj: object = None) -> None:
        self.ref, self.obj, self.count = ref, obj, 1
        self.frame: memoryview | None = None  # what was put, once somebody asked


@dataclass(frozen=True, slots=True)
class _Shared:
    """Stands in a call for what was put on its own."""

    ref: ObjectRef


class _Through:
    """What one executor has in its store."""

    def __init__(self, store: ObjectStore | None) -> None:
        self.store = ObjectStore.create() if store is None else store
        # The keys of all objects begin like that, the results that killed workers left included.
        self.prefix = f"executor-{secrets.token_hex(8)}-"
        self.close = weakref.finalize(self, _close, self.store, store is None, self.prefix, os.getpid())
        self._entries: dict[int, _Entry] = {}  # by the address of the object, which the entry keeps alive
        self._lock = threading.Lock()
        self._number = itertools.count()
        _RECEIVERS[self.prefix] = self

    @contextmanager
    def held(self, obj: Any) -> "Iterator[tuple[Any, list[_Entry]]]":
        """Put an object once for many tasks, if it is large: what stands for it, and what the tasks are to hold."""
        used: list[_Entry] = []
        try:
            yield self.share(used, obj), used
        finally:
            self.release(used)

    def share(self, used: list[_Entry], obj: Any) -> Any:
        """What to send instead of an object: itself, or what stands for it in the store."""
        if _is_small(obj) or type(obj) in (ObjectRef, _Shared):
            return obj
        packed = _packed(obj)
        if packed.nbytes <= INLINE_LIMIT:
            return obj
        with self._lock:
            entry = self._entries.get(id(obj))
            if entry is not None:
                entry.count += 1
        if entry is not None:
            if entry.frame is None:  # kept mapped for the next time: what takes longest is to map it
                entry.frame = memoryview(self.store.get_frame(entry.ref)).cast("B")
            if _is_unchanged(packed, entry.frame):
                used.append(entry)
                return _Shared(entry.ref)
            self.release([entry])
        entry = self.put(used, packed, obj)
        with self._lock:
            self._entries[id(obj)] = entry
        return _Shared(entry.ref)

    def put(self, used: list[_Entry], packed: Packed, obj: object = None) -> _Entry:
        entry = _Entry(self.store.put_frame(packed, key=f"{self.prefix}{next(self._number)}"), obj)
        used.append(entry)
        return entry

    def hold(self, entries: list[_Entry]) -> list[_Entry]:
        with self._lock:
            for entry in entries:
                entry.count += 1
        return [*entries]

    def release(self, used: list[_Entry]) -> None:
        unused = []
        with self._lock:
            for entry in used:
                entry.count -= 1
                if not entry.count:
                    unused.append(entry)
                    if self._entries.get(id(entry.obj)) is entry:
                        del self._entries[id(entry.obj)]
            used.clear()
        for entry in unused:
            with suppress(errors.StoreClosedError, errors.ObjectNotFoundError):  # whoever owns the store was faster
                self.store.delete(entry.ref)


# By their prefix, those that workers send results to.
_RECEIVERS: "weakref.WeakValueDictionary[str, _Through]" = weakref.WeakValueDictionary()


def _close(store: ObjectStore, is_own: bool, prefix: str, process: int) -> None:
    if os.getpid() != process:  # a copy in a forked child
        return
    if is_own:
        store.close()
    elif not store.closed:
        with suppress(errors.StoreClosedError):  # by its owner
            for ref in store.refs():
                if ref.name.startswith(f"key-{prefix}"):
                    with suppress(errors.ObjectNotFoundError):
                        store.delete(ref)


def _packed(obj: object, carried: Any = CARRIED) -> Packed:
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


def _is_small(obj: object) -> bool:
    kind = type(obj)
    return kind in _NUMBERS or (kind in _TEXTS and len(obj) <= _TEXT_LIMIT)  # type: ignore[arg-type]


def _is_unchanged(packed: Packed, stored: memoryview) -> bool:
    """Whether this is what was put, byte by byte: whoever owns an array may change it between two calls."""
    if packed.nbytes != stored.nbytes:
        return False
    at = 0
    for piece in packed.buffers():
        if not _are_equal(piece.cast("B"), stored[at : at + piece.nbytes]):
            return False
        at += piece.nbytes
    return True


def _are_equal(one: memoryview, other: memoryview) -> bool:
    whole = one.nbytes & ~7
    for begin in range(0, whole, _COMPARED_AT_ONCE):
        part = slice(begin, min(begin + _COMPARED_AT_ONCE, whole))
        if not np.array_equal(np.frombuffer(one[part], np.uint64), np.frombuffer(other[part], np.uint64)):
            return False
    return bytes(one[whole:]) == bytes(other[whole:])


# --- in the worker -------------------------------------------------------------------------------------------------------


class _Worker:
    """What a worker knows of the executor."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self.store, self.prefix = store, prefix
        self.functions = UnpackedFunctions()
        self._number = itertools.count()

    def open(self, call: bytes | ObjectRef) -> Any:
        fn, calls, kwargs = self.store.get(call, mode="c") if isinstance(call, ObjectRef) else _own(call)
        found: dict[ObjectRef, Any] = {}
        resolve = partial(self._resolve, found)
        calls = [tuple(map(resolve, args)) for args in calls]
        return resolve(fn), calls, kwargs and {name: resolve(value) for name, value in kwargs.items()}

    def _resolve(self, found: dict[ObjectRef, Any], argument: Any) -> Any:
        if type(argument) is ObjectRef:
            return self.store.get(argument)
        if type(argument) is not _Shared:
            return argument
        if argument.ref not in found:
            found[argument.ref] = self.store.get(argument.ref, mode="c")
        return found[argument.ref]

    def answer(self, value: Any) -> Any:
        if _is_small(value):
            return value
        packed = _packed(value, _ANSWER)
        if packed.nbytes <= INLINE_LIMIT:
            return _Answer(self.prefix, packed.to_bytes())
        return _Answer(self.prefix, self.store.put_frame(packed, key=f"{self.prefix}{os.getpid()}-{next(self._number)}"))


_worker: _Worker


def _start(name: str, prefix: str, initializer: "_Portable", initargs: tuple[Any, ...]) -> None:
    global _worker
    _worker = _Worker(ObjectStore.attach(name), prefix)
    if initializer.function is not None:
        before = [(scope, dict(scope)) for scope in _main_scopes(initializer.function)]
        initializer.function(*initargs)
        found = {name: value for scope, old in before for name, value in scope.items() if old.get(name, old) is not value}
        if found:
            from fastser import by_value  # not at the top: a pool that is given functions by name does without cloudpickle

            by_value.set_in_main.update(found)
            for scope in _own_scopes():
                scope.update(found)


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


def _call(fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return _worker.answer(fn(*args))
    except BaseException as error:
        raised = _Raised.here(error)
    raise raised  # from here, so that it does not refer to the error and the frames of the task


def _call_known(frame: bytes, args: tuple[Any, ...]) -> Any:
    try:
        return _worker.answer(_worker.functions.function(frame)(*args))
    except BaseException as error:
        raised = _Raised.here(error)
    raise raised


def _run(call: bytes | ObjectRef) -> Any:
    try:
        fn, calls, kwargs = _worker.open(call)
        return _worker.answer([fn(*args) for args in calls] if kwargs is None else fn(*calls[0], **kwargs))
    except BaseException as error:
        raised = _Raised.here(error)
    raise raised


class _Portable:
    """A function that pickle need not find by its name. Where processes are forked, nothing of it is pickled."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __reduce__(self) -> Any:
        return _carried, (_packed(self.function).to_bytes(),)


def _carried(frame: bytes) -> _Portable:
    return _Portable(loads(frame))


# --- on the way back -----------------------------------------------------------------------------------------------------


class _Answer:
    """A result on its way: pickled by the worker, and opened where the pool unpickles it."""

    __slots__ = ("content", "prefix")

    def __init__(self, prefix: str, content: bytes | ObjectRef) -> None:
        self.prefix, self.content = prefix, content

    def __reduce__(self) -> Any:
        return _receive, (self.prefix, self.content)


@dataclass(slots=True)
class _Received:
    """A result, or why there is none. An exception here would be taken for a worker's death by the pool."""

    value: Any = None
    error: BaseException | None = None


def _receive(prefix: str, content: bytes | ObjectRef) -> _Received:
    try:
        if not isinstance(content, ObjectRef):
            return _Received(_own(content))
        store = _RECEIVERS[prefix].store
        try:
            return _Received(store.get(content, mode="c"))
        finally:
            store.delete(content)  # its memory is free when the last view of it is gone
    except BaseException as error:
        return _Received(error=error)


def _own(frame: bytes) -> Any:
    """The object of a frame that came through a pipe; its arrays can be written to."""
    return loads_private(bytearray(frame), readonly=False)


class _Raised(Exception):
    """An exception on its way."""

    original: BaseException  # once it arrived

    @classmethod
    def here(cls, error: BaseException) -> "_Raised":
        trace = error.__traceback__ and error.__traceback__.tb_next  # without the frame of this module
        text = "".join(traceback.format_exception(type(error), error, trace))
        try:
            return cls(_packed(error, _ANSWER).to_bytes(), text)
        except Exception as reason:
            return cls(dumps(errors.cannot_send(error, reason)), text)

    def __reduce__(self) -> Any:
        return _raised_there, self.args

    def __str__(self) -> str:
        return ""  # the pool sends it along


def _raised_there(frame: bytes, text: str) -> _Raised:
    raised = _Raised(frame, text)
    try:
        raised.original = loads(frame)
    except BaseException as error:
        raised.original = error
    trace = RemoteTraceback(text)
    trace.__cause__, raised.original.__cause__ = raised.original.__cause__, trace
    return raised


class RemoteTraceback(Exception):
    """Shows where in a worker an exception was raised, as the cause of that exception."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'

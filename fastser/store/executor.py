"""A pool of processes to which large arguments and results go through a store, and everything else through its pipes."""

import concurrent.futures
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing.context import BaseContext
from typing import Any

from fastser import errors
from fastser.store import worker
from fastser.store.answers import OnItsWay, Received
from fastser.store.functions import PackedFunctions, is_found_by_name
from fastser.store.lifeline import lifeline
from fastser.store.objects import ObjectStore
from fastser.store.packing import INLINE_LIMIT, Portable, carry_call, is_small
from fastser.store.sharing import Entry, Through
from fastser.store.starting import default_context, preload, warning_of_threads


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
        How they are started: ``multiprocessing.get_context("fork")``, ``"spawn"`` or ``"forkserver"``. By default as the program
        has set by `multiprocessing.set_start_method`, or else by a fork server. One that the first executor starts imports what
        workers need, so that they begin at once.
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

    Packing happens in `submit` and `map`, which raise EncodeError for what cannot be packed. What the store has no room for goes through
    the pipes, with one RuntimeWarning.

    Workers end when this process does, even if it is killed.

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
        if mp_context is None:
            mp_context = default_context(max_tasks_per_child)
        if mp_context.get_start_method() == "forkserver":
            preload()
        self._through = Through(store)
        self._is_down = False
        self._functions = PackedFunctions()
        self.store = self._through.store
        started = (lifeline(), self.store.name, self._through.prefix, Portable(initializer), initargs)
        options = {} if max_tasks_per_child is None else {"max_tasks_per_child": max_tasks_per_child}  # from Python 3.11 on
        self._pool = _Pool(self._through, max_workers, mp_context, worker.start, started, **options)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "concurrent.futures.Future[Any]":
        """Schedule ``fn(*args, **kwargs)``, and return the future of its result."""
        if not kwargs and all(map(is_small, args)):  # the pool's own pickling is the fastest for these
            if is_found_by_name(fn):
                return self._pool.submit(worker.call, fn, args)
            frame = self._functions.frame(fn)
            if frame is not None and len(frame) <= INLINE_LIMIT:
                return self._pool.submit(worker.call_known, frame, args)
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
            So many tasks are submitted before their results are asked for, and one more with each result, so that endless iterables
            do; all at once by default.
        """
        _check_count("chunksize", chunksize)
        if buffersize is not None:
            _check_count("buffersize", buffersize)
        self._check_is_open()
        calls = zip(*iterables)
        if buffersize is not None:  # what is submitted later puts a large function again, if no task has it any more
            return self._map(fn, calls, chunksize, [], timeout, buffersize)
        with self._through.held(fn) as (fn, held):
            return self._map(fn, calls, chunksize, held, timeout, None)

    def _map(
        self,
        fn: Any,
        calls: Iterator[tuple[Any, ...]],
        chunksize: int,
        held: "list[Entry]",
        timeout: float | None,
        buffersize: int | None,
    ) -> Iterator[Any]:
        if chunksize > 1:
            chunks: Any = iter(lambda: list(itertools.islice(calls, chunksize)), [])
            return _flattened(_results(lambda chunk: self._submit(fn, chunk, None, held), chunks, timeout, buffersize))
        if held:
            return _results(lambda args: self._submit(fn, [args], {}, held), calls, timeout, buffersize)
        return _results(lambda args: self.submit(fn, *args), calls, timeout, buffersize)

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
        self, fn: Any, calls: list[tuple[Any, ...]], kwargs: dict[str, Any] | None, held: "list[Entry]"
    ) -> "concurrent.futures.Future[Any]":
        """One task of many calls without `kwargs`, or of a single one with them. `held`: what is in the store already."""
        self._check_is_open()
        through = self._through
        used = through.hold(held)
        try:
            packed = carry_call(fn, calls, kwargs)
            if packed.nbytes > INLINE_LIMIT:
                share = partial(through.share, used)
                fn = share(fn)
                calls = [tuple(map(share, args)) for args in calls]
                kwargs = kwargs and {name: share(value) for name, value in kwargs.items()}
                packed = carry_call(fn, calls, kwargs)
            entry = None if packed.nbytes <= INLINE_LIMIT else through.put(used, packed)
            future = self._pool.submit(worker.run, packed.to_bytes() if entry is None else entry.ref)
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

    def __init__(self, through: "Through", *options: Any, **more: Any) -> None:
        self._through = through
        self._may_fork = True  # at the first task, with all workers; not later
        super().__init__(*options, **more)

    def submit(self, *call: Any) -> "concurrent.futures.Future[Any]":  # type: ignore[override]
        if not self._may_fork:
            return super().submit(*call)
        self._may_fork = False
        with warning_of_threads():
            return super().submit(*call)

    @property
    def _pending_work_items(self) -> dict[int, Any]:
        return self._tasks

    @_pending_work_items.setter
    def _pending_work_items(self, tasks: dict[int, Any]) -> None:
        self._tasks = _Tasks(self._through)


class _Tasks(dict[int, Any]):
    """The tasks of a pool that are not done, by number."""

    def __init__(self, through: "Through") -> None:
        self._through = through

    def __setitem__(self, number: int, task: Any) -> None:
        task.future.__class__ = _Future
        task.future.through = self._through
        super().__setitem__(number, task)


class _Future(concurrent.futures.Future):  # type: ignore[type-arg]
    """Opens what arrives."""

    def set_result(self, result: Any) -> None:
        if type(result) is not Received:
            super().set_result(result)
        elif result.error is None:
            super().set_result(result.value)
        else:
            super().set_exception(result.error)

    def set_exception(self, exception: BaseException | None) -> None:
        super().set_exception(exception.original if isinstance(exception, OnItsWay) else exception)


def _check_count(name: str, found: object) -> None:
    if not hasattr(type(found), "__index__"):
        raise errors.bad_option(name, "an int", found)
    if found < 1:  # type: ignore[operator]
        raise errors.bad_count(name, found)


def _results(
    submit: "Callable[[Any], concurrent.futures.Future[Any]]",
    calls: Iterator[Any],
    timeout: float | None,
    buffersize: int | None,
) -> Iterator[Any]:
    """The results of calls in their order; `buffersize` of them are submitted ahead, or all."""
    end = None if timeout is None else time.monotonic() + timeout
    futures: deque[concurrent.futures.Future[Any]] = deque()

    def results() -> Iterator[Any]:
        try:
            while futures:
                if buffersize is not None:
                    futures.extend(map(submit, itertools.islice(calls, 1)))
                yield _result(futures.popleft(), end)
        finally:
            _cancel(futures)

    try:
        futures.extend(map(submit, itertools.islice(calls, buffersize)))
    except BaseException:
        _cancel(futures)
        raise
    return results()


def _result(future: "concurrent.futures.Future[Any]", end: float | None) -> Any:
    try:
        return future.result(None if end is None else end - time.monotonic())
    finally:
        future.cancel()
        del future  # the traceback of its exception has this frame


def _cancel(futures: "Iterable[concurrent.futures.Future[Any]]") -> None:
    for future in futures:
        future.cancel()


def _flattened(results: Iterator[list[Any]]) -> Iterator[Any]:
    """The items of all chunks."""
    for chunk in results:
        chunk.reverse()
        while chunk:
            yield chunk.pop()  # keeps nothing that the caller has dropped

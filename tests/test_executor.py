"""The executor: what arrives in a worker and comes back, what is in the store meanwhile, and that nothing is left in the end."""

import asyncio
import collections
import concurrent.futures
import contextlib
import functools
import gc
import itertools
import math
import multiprocessing
import operator
import os
import pathlib
import random
import re
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from concurrent.futures import FIRST_EXCEPTION, CancelledError
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

import fastser

pytestmark = [
    pytest.mark.core,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the store needs the shared memory of Linux"),
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
]

LARGE = 100_000  # elements of 8 bytes: far beyond what is sent inline
SHARED_MEMORY = pathlib.Path("/dev/shm")


def context(name):
    return multiprocessing.get_context(name)


@pytest.fixture(scope="module", params=["fork", "spawn"])
def executor(request):
    with fastser.Executor(2, context(request.param)) as executor:
        yield executor


@pytest.fixture
def own():
    """An executor for one test, with a single worker."""
    with fastser.Executor(1, context("fork")) as executor:
        yield executor


@pytest.fixture
def store():
    with fastser.ObjectStore.create() as store:
        yield store


def until(condition):
    """Wait for what happens in other threads and processes."""
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    pytest.fail("it did not happen")


def objects_in(store):
    return list(store.refs())


def mappings(store):
    """How many objects of a store this process has views of. What it can write to is the store's own."""
    lines = pathlib.Path("/proc/self/maps").read_text().splitlines()
    return len([line for line in lines if f"-{store.name}/" in line and "rw-s" not in line])


def same(obj):
    return obj


def described(obj):
    return type(obj).__name__, obj.flags.writeable, float(obj.sum())


def changed(array):
    before = float(array.sum())
    array[:] = -1
    return before, float(array.sum())


def wait_for(path, obj=None):
    while not os.path.exists(path):
        time.sleep(0.002)
    return float(np.sum(obj)) if obj is not None else os.getpid()


def killed(obj=None, path="/"):
    wait_for(path)
    os.kill(os.getpid(), signal.SIGKILL)


# --- arguments and results ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "obj",
    [
        None, True, 3, 2**80, 1.5, 2j, "text", b"bytes", "x" * 999, "x" * 200_000, b"x" * 200_000, bytearray(b"x" * 200_000), [1, [2, (3,)]],
        {"a": [1.5], 2: {3}}, list(range(50_000)), [str(i) for i in range(50_000)], np.float32(1.5), np.arange(10), np.arange(LARGE),
        np.asfortranarray(np.arange(LARGE).reshape(10, -1)), [np.arange(LARGE), {"b": np.arange(LARGE)}],
        collections.Counter("abc"), pathlib.PurePosixPath("a"), np.ndarray, math.sqrt,
    ],
    ids=lambda obj: type(obj).__name__,
)  # fmt: skip
def test_what_a_task_takes_and_returns(executor, obj):
    for found in (
        executor.submit(same, obj).result(),
        executor.submit(same, obj=obj).result(),
        executor.submit(lambda: obj).result(),
        *executor.map(same, [obj]),
        *executor.map(same, [obj], chunksize=3),
    ):
        assert type(found) is type(obj)
        assert fastser.dumps(found, track_refs=False) == fastser.dumps(obj, track_refs=False)


def test_what_is_nested_deeper_than_by_default(executor):
    """Nobody tells an executor `max_depth`, and classes that refer to each other are nested as well."""
    nested = functools.reduce(lambda inner, _: [inner], range(3000), [])
    with pytest.raises(fastser.DepthError):
        fastser.dumps(nested)
    for large in (b"", bytes(8 * LARGE)):  # through a pipe, and through the store
        depth, (found, _) = 0, executor.submit(lambda *args: args, nested, large).result()
        while found:
            depth, found = depth + 1, found[0]
        assert depth == 3000


def test_any_names_of_arguments(executor):
    def collected(*args, **kwargs):
        return args, kwargs

    assert executor.submit(collected, 1, self=2, fn=3, args=[4], kwargs=None).result() == ((1,), {"self": 2, "fn": 3, "args": [4], "kwargs": None})
    with pytest.raises(TypeError):
        executor.submit()
    with pytest.raises(TypeError, match="'int' object is not callable"):
        executor.submit(3).result()
    with pytest.raises(TypeError, match="positional argument"):
        executor.submit(same).result()


@pytest.mark.parametrize("size", [100, 5000, LARGE])
def test_arrays_belong_to_whom_they_were_passed(executor, size):
    array = np.ones(size)
    array.flags.writeable = False
    assert [f.result() for f in [executor.submit(changed, array) for _ in range(3)]] == [(size, -size)] * 3
    assert list(executor.map(changed, [array] * 3)) == [(size, -size)] * 3
    assert array.sum() == size
    found = executor.submit(np.zeros, size).result()
    found += 1
    assert found.sum() == size


def test_an_object_that_is_passed_twice_is_one_object(executor):
    array = np.ones(LARGE)
    assert executor.submit(operator.is_, array, array).result()
    assert executor.submit(lambda a, *, b: a is b, array, b=array).result()


def test_lambdas_closures_partials_and_local_classes(executor):
    class Local:
        def __init__(self, n):
            self.n = n

        def times(self, k):
            return self.n * k

    scale, table = 3, np.arange(LARGE)
    assert executor.submit(lambda x: x * scale, 5).result() == 15
    assert executor.submit(lambda i: int(table[i]), 77).result() == 77
    assert executor.submit(functools.partial(operator.add, 1), 2).result() == 3
    assert executor.submit(Local(4).times, 5).result() == 20
    assert executor.submit(math.sqrt, 4).result() == 2
    assert executor.submit([3, 4].index, 4).result() == 1
    back = executor.submit(lambda: Local(6)).result()
    assert (type(back), back.n) == (Local, 6)


def test_what_cannot_be_packed_is_refused_at_once(executor):
    with pytest.raises(fastser.EncodeError, match="lock"):
        executor.submit(same, threading.Lock())
    with pytest.raises(fastser.EncodeError, match="lock"):
        executor.map(same, [1, threading.Lock()])
    assert executor.submit(same, 1).result() == 1


class RefusesToComeBack:
    def __reduce__(self):
        return _refuse, (os.getpid(),)


def _refuse(writer):
    if os.getpid() != writer:
        raise ZeroDivisionError("not here")
    return RefusesToComeBack()


def test_what_cannot_be_rebuilt_is_the_error_of_its_task(executor):
    with pytest.raises(fastser.DecodeError, match="not here"):
        executor.submit(same, RefusesToComeBack()).result()
    for future in (executor.submit(RefusesToComeBack), executor.submit(lambda: [RefusesToComeBack(), np.zeros(LARGE)])):
        with pytest.raises(fastser.DecodeError, match="not here"):
            future.result()
        assert isinstance(future.exception(), fastser.DecodeError)
    with pytest.raises(fastser.EncodeError, match="lock"):
        executor.submit(lambda: threading.Lock()).result()
    assert executor.submit(same, 1).result() == 1
    until(lambda: not objects_in(executor.store))


# --- what is in the store ----------------------------------------------------------------------------------------------


def test_small_tasks_put_nothing(own, monkeypatch):
    def put_frame(*_, **__):
        raise AssertionError("put")

    monkeypatch.setattr(fastser.ObjectStore, "put_frame", put_frame)  # before the worker is forked
    assert own.submit(same, list(range(1000))).result() == list(range(1000))
    np.testing.assert_array_equal(own.submit(same, np.arange(5000.0)).result(), np.arange(5000.0))
    assert list(own.map(str, range(100), chunksize=7)) == [str(i) for i in range(100)]


def test_one_object_for_many_tasks_is_put_once(own, tmp_path):
    array, other = np.ones(LARGE), np.full(LARGE, 2.0)
    futures = [own.submit(wait_for, tmp_path / "go", array) for _ in range(5)]
    assert len(objects_in(own.store)) == 1
    futures += [own.submit(wait_for, tmp_path / "go", obj=array), *[own.submit(wait_for, tmp_path / "go", other) for _ in range(2)]]
    assert len(objects_in(own.store)) == 2
    (tmp_path / "go").touch()
    assert [future.result() for future in futures] == [LARGE] * 6 + [2 * LARGE] * 2
    until(lambda: not objects_in(own.store))


def test_an_object_that_changes_between_two_tasks_is_put_again(own, tmp_path):
    array = np.zeros(LARGE)
    futures = []
    for i in range(4):
        array[-1] = i
        futures += [own.submit(wait_for, tmp_path / "go", array), own.submit(wait_for, tmp_path / "go", array)]
    assert len(objects_in(own.store)) == 4
    array.resize(50_000, refcheck=False)
    futures.append(own.submit(wait_for, tmp_path / "go", array))
    text = bytearray(b"a" * 100_001)
    for end in b"bc":
        text[-1] = end
        futures.append(own.submit(lambda *args: wait_for(*args[:1]) and args[1][-1], tmp_path / "go", text))
    (tmp_path / "go").touch()
    assert [future.result() for future in futures] == [0, 0, 1, 1, 2, 2, 3, 3, 0, *b"bc"]
    until(lambda: not objects_in(own.store))


def test_map_puts_a_large_function_once(own, tmp_path):
    bound = functools.partial(lambda table, i: wait_for(tmp_path / "go") and int(table[i]), np.arange(LARGE))
    for chunksize in (1, 4):
        results = own.map(bound, range(12), chunksize=chunksize)
        assert len(objects_in(own.store)) == 1
        (tmp_path / "go").touch()
        assert list(results) == list(range(12))
        (tmp_path / "go").unlink()
        until(lambda: not objects_in(own.store))


def test_map_with_chunks_puts_large_items_once(own, tmp_path):
    array = np.ones(LARGE)
    results = own.map(wait_for, [tmp_path / "go"] * 6, [array] * 6, chunksize=2)
    assert len(objects_in(own.store)) == 1
    (tmp_path / "go").touch()
    assert list(results) == [LARGE] * 6
    until(lambda: not objects_in(own.store))


def test_results_are_freed_when_they_are_dropped(own):
    own.submit(same, 1).result()
    before = mappings(own.store)
    future = own.submit(np.zeros, LARGE)
    part = future.result()[10:20]
    assert future.result() is future.result()
    assert objects_in(own.store) == []
    assert mappings(own.store) > before
    del future
    gc.collect()
    assert mappings(own.store) > before
    part[0] = 1
    del part
    assert mappings(own.store) == before
    futures = [own.submit(np.zeros, LARGE) for _ in range(3)]  # never asked for
    own.submit(same, 1).result()
    assert objects_in(own.store) == []
    del futures
    assert mappings(own.store) == before


def test_an_object_ref_arrives_as_its_object(executor):
    ref = executor.store.put(np.arange(LARGE))
    assert executor.submit(described, ref).result() == ("ndarray", False, LARGE * (LARGE - 1) / 2)
    assert executor.submit(described, obj=ref).result() == ("ndarray", False, LARGE * (LARGE - 1) / 2)
    assert list(executor.map(operator.getitem, [ref] * 4, range(4), chunksize=2)) == [0, 1, 2, 3]
    assert executor.submit(same, [ref]).result() == [ref]
    executor.store.delete(ref)
    with pytest.raises(fastser.FastserError, match=ref.name):
        executor.submit(same, ref).result()


def test_a_ref_of_another_store_is_the_error_of_its_task(executor, store):
    with pytest.raises(fastser.FastserError, match="store"):
        executor.submit(same, store.put(np.arange(LARGE))).result()


def test_a_store_of_the_users(store):
    kept = store.put(np.arange(LARGE))
    with fastser.Executor(1, context("fork"), store=store) as executor:
        assert executor.store is store
        assert executor.submit(np.sum, kept).result() == LARGE * (LARGE - 1) // 2
        result = executor.submit(same, np.ones(LARGE)).result()
    assert objects_in(store) == [kept]
    assert result.sum() == LARGE
    np.testing.assert_array_equal(store.get(kept), np.arange(LARGE))


@pytest.mark.parametrize("use", ["argument", "result", "map", "function", "chunks"])
def test_what_the_store_has_no_room_for_goes_through_the_pipe(use):
    one = np.arange(10**6)
    with fastser.ObjectStore.create(capacity="4MiB") as store, fastser.Executor(1, context("fork"), store=store) as executor:
        with pytest.warns(RuntimeWarning, match=r"^the store is full: 80\d+ bytes are needed.* through a pipe") as warned:
            for _ in range(2):
                if use == "argument":
                    assert executor.submit(np.sum, one).result() == one.sum()
                elif use == "result":
                    found = executor.submit(np.arange, 10**6).result()
                    assert np.array_equal(found, one) and found.flags.writeable
                elif use == "map":
                    assert list(executor.map(np.sum, [one, one])) == [one.sum()] * 2
                elif use == "function":
                    assert list(executor.map(lambda i: one[i], range(3))) == [0, 1, 2]
                else:
                    assert list(executor.map(np.sum, [one, one, one], chunksize=2)) == [one.sum()] * 3
        (warning,) = [each for each in warned if "through a pipe" in str(each.message)]
        if use != "result":
            assert warning.filename == __file__
        assert executor.submit(np.sum, np.ones(LARGE)).result() == LARGE
        assert store.refs() == []


def test_what_a_process_may_not_write_goes_through_the_pipe(store):
    """A limit for the length of files counts in shared memory, too."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(fastser.StoreFullError, match=r"^/dev/shm is full: 80\d+ bytes are needed \(ulimit -f is a limit too\)$"):
            store.put(np.ones(10**6))
        with fastser.Executor(1, context("fork"), store=store) as executor:
            with pytest.warns(RuntimeWarning, match="through a pipe"):
                assert executor.submit(np.sum, np.ones(10**6)).result() == 10**6
                assert executor.submit(np.ones, 10**6).result().sum() == 10**6
            assert executor.submit(np.sum, np.ones(LARGE)).result() == LARGE
        stats = store.stats()
        assert (stats.objects, stats.used - stats.free, stats.being_put) == ((), 0, ())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


LOCK = threading.Lock()


@pytest.mark.parametrize(
    ("path", "submit"),
    [
        ("argument 1", lambda executor: executor.submit(same, LOCK)),
        ("argument 2.a[0]", lambda executor: executor.submit(same, 1, {"a": [LOCK]})),
        ("argument key.x", lambda executor: executor.submit(same, 1, key={"x": LOCK})),
        ("argument a__[1]", lambda executor: executor.submit(same, **{"a__": [1, LOCK]})),
        ("argument not a name", lambda executor: executor.submit(same, **{"not a name": LOCK})),
        ("argument 1[3][0]", lambda executor: executor.submit(same, [0, 1, 2, [LOCK]] + [0.5] * 10**5)),
        ("fn.state[1][0]", lambda executor: executor.submit(functools.partial(same, LOCK))),
        ("fn.state[1][0]", lambda executor: executor.map(functools.partial(same, LOCK), [1, 2])),
        ("argument 1", lambda executor: executor.map(same, [1, 2, LOCK])),
        ("argument 2[0]", lambda executor: executor.map(same, [1, 2, 3], [1, 2, [LOCK]])),
        ("argument 1 of call 2 of its chunk", lambda executor: executor.map(same, [1, 2, 3, LOCK], chunksize=2)),
        ("result.a[1]", lambda executor: executor.submit(lambda: {"a": [1, __import__("threading").Lock()]}).result()),
    ],
)
def test_errors_name_the_argument(own, path, submit):
    with pytest.raises(fastser.EncodeError, match=rf"^cannot pack the _thread.lock at {re.escape(path)}: TypeError: cannot pickle") as caught:
        submit(own)
    assert type(caught.value.__cause__) is TypeError or path.startswith("result")
    with pytest.raises(fastser.DepthError, match=r"at argument 1\[0\]\[0\]"):
        own.submit(same, functools.reduce(lambda inner, _: [inner], range(100_000), None))
    assert own.submit(same, 1).result() == 1


# --- map ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 2, 7, 1000])
def test_map(executor, chunksize):
    assert list(executor.map(pow, range(20), range(20), chunksize=chunksize)) == [i**i for i in range(20)]
    assert list(executor.map(pow, range(20), [2, 2, 2], chunksize=chunksize)) == [0, 1, 4]
    assert list(executor.map(pow, [], [], chunksize=chunksize)) == []
    results = executor.map(lambda i: 1 // (i - 5), range(10), chunksize=chunksize)
    with pytest.raises(ZeroDivisionError):
        list(results)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="came with Python 3.14")
@pytest.mark.parametrize("chunksize", [1, 3])
def test_map_takes_no_more_than_its_buffer(executor, chunksize):
    taken = []
    large = np.ones(LARGE)

    def items():
        for i in itertools.count():
            taken.append(i)
            yield i

    results = executor.map(functools.partial(lambda large, i: int(large[i]) + i, large), items(), chunksize=chunksize, buffersize=2)
    gc.collect()
    assert [next(results) for _ in range(20)] == list(range(1, 21))
    assert len(taken) <= 20 + 3 * chunksize
    assert list(executor.map(abs, range(-7, 0), chunksize=chunksize, buffersize=2)) == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("chunksize", [1, 3])
def test_map_keeps_no_result_that_the_caller_dropped(own, chunksize):
    own.submit(same, 1).result()
    before = mappings(own.store)
    for array in own.map(np.zeros, [LARGE] * 6, chunksize=chunksize):
        del array
    gc.collect()
    assert mappings(own.store) == before


def test_map_in_time(own, tmp_path):
    with pytest.raises(TimeoutError if sys.version_info >= (3, 11) else concurrent.futures.TimeoutError):
        list(own.map(wait_for, [tmp_path / "go"] * 3, timeout=0.05))
    (tmp_path / "go").touch()
    assert len(set(own.map(wait_for, [tmp_path / "go"] * 3, timeout=30))) == 1


@pytest.mark.parametrize("name", ["chunksize", "buffersize"])
def test_sizes_of_chunks_and_buffers(executor, name):
    """As the standard pool has it: what is no number is a TypeError, and what is too small a ValueError."""
    for found in (0, -1, np.int64(0)):
        with pytest.raises(ValueError, match=f"^{name} must be an int of at least 1, not {re.escape(repr(found))}$"):
            executor.map(same, [1], **{name: found})
    for found in (1.5, "2"):
        with pytest.raises(TypeError, match=f"^{name} must be an int, not {found!r}$"):
            executor.map(same, [1], **{name: found})
    assert list(executor.map(same, [1, 2, 3], **{name: np.int64(2)})) == [1, 2, 3]


# --- exceptions --------------------------------------------------------------------------------------------------------


class TwoArguments(Exception):
    def __init__(self, one, other):
        super().__init__(f"{one} {other}")


class Unsendable(Exception):
    def __init__(self):
        super().__init__("has a lock")
        self.lock = threading.Lock()


def raises(make):
    raise make()


def deep(n):
    return deep(n - 1) if n else [][3]


def test_exceptions_come_with_the_traceback_of_the_worker(executor):
    future = executor.submit(deep, 1)
    with pytest.raises(IndexError, match="^list index out of range$") as caught:
        future.result()
    assert future.exception() is caught.value
    text = "".join(traceback.format_exception(caught.value))
    assert re.search(r'^fastser\.store\.answers\.RemoteTraceback: \n"""\nTraceback \(most recent call last\):\n  File ".*test_executor\.py"', text, re.M)
    assert text.count("in deep") == 2
    assert "worker.py" not in text[: text.index("direct cause")]
    with pytest.raises(IndexError):
        future.result()


def test_kinds_of_exceptions(executor):
    class Local(Exception):
        pass

    with pytest.raises(Local, match="^here$") as caught:
        executor.submit(raises, lambda: Local("here")).result()
    assert caught.type is Local
    with pytest.raises(KeyError) as caught:
        executor.submit(raises, lambda: KeyError(np.arange(LARGE))).result()
    np.testing.assert_array_equal(caught.value.args[0], np.arange(LARGE))
    with pytest.raises(SystemExit) as caught:
        executor.submit(sys.exit, 3).result()
    assert caught.value.code == 3
    with pytest.raises(fastser.DecodeError, match="TwoArguments") as caught:
        executor.submit(raises, lambda: TwoArguments(1, 2)).result()
    assert "TwoArguments: 1 2" in str(caught.value.__cause__)
    with pytest.raises(fastser.EncodeError, match=r"the task raised .*Unsendable, which cannot be packed") as caught:
        executor.submit(raises, Unsendable).result()
    assert "Unsendable: has a lock" in str(caught.value.__cause__)
    assert executor.submit(same, 1).result() == 1


class Noted:
    alive = 0

    def __init__(self):
        type(self).alive += 1

    def __del__(self):
        type(self).alive -= 1


def fails_with(array):
    noted = Noted()
    raise ValueError(len(array), noted.alive)


def test_a_failed_task_leaves_nothing_in_its_worker(own):
    with pytest.raises(ValueError, match="100000, 1"):
        own.submit(fails_with, np.ones(LARGE)).result()
    assert own.submit(lambda: sys.modules["test_executor"].Noted.alive).result() == 0
    gc.collect()
    assert own.submit(mappings, own.store).result() == 0


def test_waiting_for_the_first_exception(own, tmp_path):
    failing, waiting = own.submit(deep, 0), own.submit(wait_for, tmp_path / "go")
    done, rest = concurrent.futures.wait([failing, waiting], return_when=FIRST_EXCEPTION)
    assert (done, rest) == ({failing}, {waiting})
    (tmp_path / "go").touch()
    assert set(concurrent.futures.as_completed([failing, waiting])) == {failing, waiting}


# --- futures -----------------------------------------------------------------------------------------------------------


def test_cancellation(own, tmp_path):
    running = own.submit(wait_for, tmp_path / "go", np.ones(LARGE))
    until(running.running)
    futures = [own.submit(wait_for, tmp_path / "go", np.full(LARGE, i)) for i in range(5)]
    assert not running.cancel()
    assert futures[-1].cancel()
    assert futures[-1].cancelled()
    with pytest.raises(CancelledError):
        futures[-1].result()
    own.shutdown(wait=False, cancel_futures=True)
    (tmp_path / "go").touch()
    assert running.result() == LARGE
    # What is queued for the worker already cannot be cancelled.
    until(lambda: all(future.done() for future in futures))
    assert [future.cancelled() for future in futures[2:]] == [True] * 3
    assert all(future.cancelled() or future.result() == i * LARGE for i, future in enumerate(futures))


def test_callbacks_and_event_loops(executor):
    found = []
    future = executor.submit(np.zeros, LARGE)
    future.add_done_callback(lambda future: found.append(future.result()))
    until(lambda: found)
    assert found[0] is future.result()

    async def gathered():
        loop = asyncio.get_running_loop()
        tasks = [loop.run_in_executor(executor, same, n * np.ones(LARGE)) for n in range(3)]
        tasks.append(loop.run_in_executor(executor, deep, 1))
        return await asyncio.gather(*tasks, return_exceptions=True)

    *arrays, error = asyncio.run(gathered())
    assert [array.sum() for array in arrays] == [0, LARGE, 2 * LARGE]
    assert isinstance(error, IndexError)


def test_a_result_in_time(own, tmp_path):
    future = own.submit(wait_for, tmp_path / "go")
    for wait in (future.result, future.exception):
        with pytest.raises(TimeoutError if sys.version_info >= (3, 11) else concurrent.futures.TimeoutError):
            wait(timeout=0.01)
    (tmp_path / "go").touch()
    assert future.result(30) == future.result()
    assert future.exception() is None


def test_many_threads_submit_at_the_same_time(executor):
    shared, errors = np.ones(LARGE), []

    def submit(n):
        own = np.full(LARGE, n)
        futures = [executor.submit(np.sum, array) for array in (shared, own) * 10]
        if [future.result() for future in futures] != [LARGE, n * LARGE] * 10:
            errors.append(n)

    threads = [threading.Thread(target=submit, args=[n]) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    until(lambda: not objects_in(executor.store))


# --- dead workers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_dead_worker_is_a_broken_pool(store, start, tmp_path):
    with fastser.Executor(2, context(start), store=store) as executor:
        futures = [executor.submit(same, np.ones(LARGE)), executor.submit(killed, np.ones(LARGE), tmp_path / "go")]
        futures += [executor.submit(wait_for, "never") for _ in range(3)]
        (tmp_path / "go").touch()  # once all are submitted
        with pytest.raises(BrokenProcessPool):
            futures[1].result()
        for future in futures[2:]:
            with pytest.raises(BrokenProcessPool):
                future.result()
        with pytest.raises(BrokenProcessPool):
            executor.submit(same, np.ones(LARGE))
        with pytest.raises(BrokenProcessPool):
            executor.map(same, [1])
        del future, futures
    assert objects_in(store) == []
    gc.collect()
    assert mappings(store) == 0


def put_and_killed():
    from fastser.store import worker

    worker._worker.answer(np.zeros(LARGE))
    killed()


def test_the_result_of_a_worker_that_died_before_it_was_sent_is_freed(store):
    other = store.put(1, key="executor-other")
    with fastser.Executor(1, context("fork"), store=store) as executor:
        with pytest.raises(BrokenProcessPool):
            executor.submit(put_and_killed).result()
        assert len(objects_in(store)) == 2
    assert objects_in(store) == [other]


def test_workers_that_are_killed_at_any_moment_leave_nothing(store):
    kept = store.put(np.arange(LARGE))
    moment = random.Random(1)
    for _ in range(12):
        with fastser.Executor(2, context("fork"), store=store) as executor:
            shared = np.ones(LARGE)
            futures = [executor.submit(lambda a, i: a[: LARGE // 2] + i, shared, i) for i in range(20)]
            never = [executor.submit(wait_for, "never") for _ in range(2)]  # a pool may hang when it is shut down just as an idle worker dies
            time.sleep(moment.random() / 50)
            os.kill(moment.choice(list(executor._pool._processes)), signal.SIGKILL)
            for i, future in enumerate(futures):
                with contextlib.suppress(BrokenProcessPool):
                    assert future.result(60).sum() == (1 + i) * (LARGE // 2)
            assert all(isinstance(future.exception(60), BrokenProcessPool) for future in never)
        del futures, future
        assert store.refs() == [kept]
        assert mappings(store) == 0


# --- starting and ending -----------------------------------------------------------------------------------------------


def test_what_was_returned_stays_valid_after_shutdown():
    with fastser.Executor(1, context("fork")) as executor:
        futures = [executor.submit(np.full, LARGE, i) for i in range(3)]
        name = executor.store.name
    assert executor.store.closed
    assert not (SHARED_MEMORY / name).exists()
    assert [future.result().sum() for future in futures] == [0, LARGE, 2 * LARGE]
    for call in (executor.submit, executor.map):
        with pytest.raises(RuntimeError, match="^cannot schedule new futures after shutdown$"):
            call(same, [1])
    with pytest.raises(RuntimeError, match="^cannot schedule new futures after shutdown$"):
        executor.submit(same, np.ones(LARGE))
    executor.shutdown()


def test_shutdown_without_waiting(tmp_path):
    executor = fastser.Executor(1, context("fork"))
    name = executor.store.name
    futures = [executor.submit(wait_for, tmp_path / "go", np.full(LARGE, i)) for i in range(3)]
    executor.shutdown(wait=False)
    del executor
    (tmp_path / "go").touch()
    assert [future.result() for future in futures] == [0, LARGE, 2 * LARGE]
    del futures
    until(lambda: gc.collect() is not None and not list(SHARED_MEMORY.glob(f"*{name}*")))


def test_an_executor_that_nobody_has_any_more_finishes_its_tasks():
    futures = [fastser.Executor(1, context("fork")).submit(lambda a: a + 1, np.full(LARGE, i)) for i in range(2)]
    assert [future.result().sum() for future in futures] == [LARGE, 2 * LARGE]


def test_a_forked_child_frees_nothing(own, tmp_path):
    future = own.submit(wait_for, tmp_path / "go", np.ones(LARGE))
    child = os.fork()
    if not child:
        own._through.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    (tmp_path / "go").touch()
    assert future.result() == LARGE
    assert own.submit(np.sum, np.ones(LARGE)).result() == LARGE


_started = None


def start(*args):
    global _started
    _started = args


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_initializers(method):
    lock, scale = context(method).Lock(), 7

    def initializer(*args):
        import test_executor

        test_executor.start(*args, scale)

    with fastser.Executor(1, context(method), initializer, (1, lock)) as executor:
        assert executor.submit(lambda: sys.modules["test_executor"]._started[::2]).result() == (1, 7)
    assert _started is None


# A module that the fork server imports first, and what it sees in a worker that was forked just now.
MARKER = """
import os, sys
pid, loaded = os.getpid(), None
def look():
    global loaded
    loaded = [name for name in ("numpy", "cloudpickle", "fastser.store.worker") if name in sys.modules]
os.register_at_fork(after_in_child=look)
"""
FORK_SERVER = """
import fastser, multiprocessing, os, sys

def look():
    import marker
    return marker.pid, os.getpid(), marker.loaded

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["marker"])
    servers = set()
    for _ in range(2):
        with fastser.Executor(1, context) as executor:
            server, worker, loaded = executor.submit(look).result()
        print(os.getpid() != server != worker, *loaded)
        servers.add(server)
    print(len(servers))
"""


def test_a_fork_server_imports_once_what_workers_need_and_what_the_program_wants(tmp_path):
    (tmp_path / "marker.py").write_text(MARKER)
    (tmp_path / "program.py").write_text(FORK_SERVER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "True numpy cloudpickle fastser.store.worker\n" * 2 + "1\n", done.stderr


WITHOUT_A_GUARD = """
import fastser, multiprocessing, sys
executor = fastser.Executor(1, multiprocessing.get_context(sys.argv[1]))
print(executor.store.name, flush=True)
executor.submit(abs, -1).result()
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_program_without_a_guard_is_told_so_and_leaves_nothing(tmp_path, method):
    (tmp_path / "program.py").write_text(WITHOUT_A_GUARD)
    done = subprocess.run([sys.executable, "program.py", method], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    # A fork server of Python 3.14 imports the program itself, and ends with it.
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and ("BrokenProcessPool" in last or "ConnectionResetError" in last), done.stderr
    assert "if __name__ == '__main__':" in done.stderr
    assert done.stdout
    for name in done.stdout.split():
        assert list(SHARED_MEMORY.glob(f"*{name}*")) == []


def test_an_initializer_that_fails_breaks_the_pool():
    with fastser.Executor(1, context("fork"), deep, (0,)) as executor:
        with pytest.raises(BrokenProcessPool):
            executor.submit(same, 1).result()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="from Python 3.11 on")
def test_workers_that_are_replaced():
    with fastser.Executor(1, context("spawn"), max_tasks_per_child=1) as executor:
        futures = [executor.submit(lambda a: (os.getpid(), a.sum()), np.ones(LARGE)) for _ in range(2)]
        (one, total), (other, _) = [future.result() for future in futures]
    assert one != other
    assert total == LARGE


def test_arguments_of_the_executor():
    with pytest.raises(ValueError, match="max_workers"):
        fastser.Executor(0)
    with pytest.raises(TypeError, match="initializer must be callable"):
        fastser.Executor(1, initializer=3)
    with pytest.raises(TypeError, match="store must be"):
        fastser.Executor(1, store="name")


PROGRAM = """
import sys, multiprocessing, fastser, numpy as np
from math import pi

class Point:
    def __init__(self, x): self.x = x

def moved(point, by): return Point(point.x + by)
def area(r): return pi * r * r

if __name__ == "__main__":
    executor = fastser.Executor(2, multiprocessing.get_context(sys.argv[1]))
    print(executor.store.name)
    point = executor.submit(moved, Point(1), 2).result()
    print(type(point) is Point, point.x, executor.submit(area, 1).result() == pi)
    array = executor.submit(np.ones, 100_000).result()
    left = executor.submit(np.sum, array)
    if sys.argv[2] == "raise":
        raise SystemExit(3)
"""


@pytest.mark.parametrize("end", ["", "raise"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_program_that_ends_without_shutdown_leaves_nothing(tmp_path, method, end):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "program.py", method, end], cwd=tmp_path, capture_output=True, text=True)
    name, *lines = done.stdout.splitlines()
    # At the program's end the pool's own thread may close the pipe just before the standard library writes to it to wake that thread.
    quiet = "" if "in _python_exit" in done.stderr and "in wakeup" in done.stderr else done.stderr
    assert (lines, quiet, done.returncode) == (["True 3 True"], "", 3 if end else 0)
    assert list(SHARED_MEMORY.glob(f"*{name}*")) == []


# --- functions that go by value ----------------------------------------------------------------------------------------

factor = 2
changeable = [2]


def helper(x):
    return x * factor


def test_functions_are_packed_again_when_what_they_refer_to_is_another(executor, monkeypatch):
    def local(x):
        return helper_of_local(x) + step + x * factor

    def helper_of_local(x):
        return [x * n for n in range(3)][2]

    step = 1
    assert executor.submit(local, 10).result() == 41
    step = 2
    assert executor.submit(local, 10).result() == 42
    local.__defaults__ = (20,)
    assert executor.submit(local).result() == 82
    local.__code__ = (lambda x: (helper_of_local, step, -x)[2]).__code__
    assert executor.submit(local).result() == -20


MAIN = """
import fastser, multiprocessing, operator, sys
scale, table = 1, [1]
class Number:
    value = 1
def helper(x): return x * scale
def task(x): return helper(x) + 1
def looks(x): return table[0] * x
def of_class(x): return Number.value * x
def recursive(x): return x and x + recursive(x - 1)
def default(x, y=[0]): return x + y[0]
with fastser.Executor(1, multiprocessing.get_context("fork")) as executor:
    ask = lambda fn: executor.submit(fn, 10).result()
    print(ask(task), ask(looks), ask(of_class), ask(recursive), ask(default))
    scale = 2; table[0] = 2; Number.value = 2; default.__defaults__[0][0] = 5
    print(ask(task), ask(looks), ask(of_class), ask(recursive), ask(default))
    def helper(x): return x * 100
    print(ask(task))
    task.marked = True
    print(ask(lambda x: task.marked and x))
    scale = 3
    print(ask(task), ask(lambda x: task(x) + 1))
"""


def test_functions_of_the_main_module_are_as_they_are_when_they_are_submitted(tmp_path):
    (tmp_path / "program.py").write_text(MAIN)
    done = subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "program.py"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("11 10 10 55 10\n21 20 20 55 15\n1001\n10\n1001 1002\n", "")


def test_functions_that_are_packed_once():
    from fastser.store.functions import PackedFunctions, UnpackedFunctions

    packed, step = PackedFunctions(), 3
    known = lambda x: math.sqrt(x) + step + helper(x) + np.float64(1)
    frame = packed.frame(known)
    assert packed.frame(known) is frame
    step = 4
    assert packed.frame(known) is not frame
    unpacked = UnpackedFunctions()
    assert unpacked.function(frame) is unpacked.function(bytes(bytearray(frame)))
    assert unpacked.function(frame)(4) == 2 + 3 + 8 + 1
    listed, table = [1], np.ones(3)
    with_default = lambda x=listed: x
    for fn in (lambda: listed, lambda: table, with_default, lambda: later, math.sqrt, print, functools.partial(same), str.upper):
        assert packed.frame(fn) is None
    later = 1
    for i in range(1000):
        packed.frame(eval(f"lambda: {i}"))
        unpacked.function(fastser.dumps(eval(f"lambda: {i}")))
    assert len(packed._known) <= 200
    assert len(unpacked._known) <= 200


def test_tracebacks_of_the_main_module_keep_file_and_line(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent("""
            import sys, traceback
            import fastser

            def fail(x):
                return 1 / x

            def main():
                with fastser.Executor(1) as executor:
                    for call in (fail, lambda x: fail(x)):
                        try:
                            executor.submit(call, 0).result()
                        except ZeroDivisionError as error:
                            print(error.__cause__)

            if __name__ == "__main__":
                main()
        """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.count(f'File "{script}", line 6, in fail') == 2 and f'File "{script}", line 10, in <lambda>' in done.stdout
    assert done.stdout.count("return 1 / x") == 2  # the line itself


def test_code_tells_no_folder():
    """Bytes are equal wherever a program lies."""
    frame = fastser.dumps(lambda: [i for i in range(3)])
    assert os.path.dirname(__file__).encode() not in frame
    found = fastser.loads(frame)
    assert found.__code__.co_filename == os.path.basename(__file__)
    assert found() == [0, 1, 2]
    assert fastser.loads(fastser.dumps(lambda: __file__))() == __file__

"""The object store: values, memory, lifetime, capacity, who may use it."""

import ctypes
import gc
import multiprocessing
import os
import pickle
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import store_processes

import fastser
from fastser._core.store import shared
from fastser.store import directory as directories

pytestmark = [pytest.mark.core, pytest.mark.skipif(sys.platform != "linux", reason="the store needs Linux")]

SPAWN = multiprocessing.get_context("spawn")
LARGE = np.arange(50_000)  # mapped, not read
LARGE_ONE = np.arange(1_000_000)
SMALL = {"a": 1, "b": [1.5, None, "text"]}


@pytest.fixture
def store():
    with fastser.ObjectStore.create() as store:
        yield store


@pytest.fixture
def name():
    name = f"test-{os.getpid()}-{time.monotonic_ns()}"
    yield name
    fastser.ObjectStore.create(name).close()


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    for name in directories.stores():
        with suppress(fastser.StoreError):  # somebody else's, who is at work
            assert directories.Directory.attach(name).info["owner"] != os.getpid(), name


def inode(store, ref):
    return os.stat(ref.name, dir_fd=store._directory.sealed).st_ino


def mapped_at(array):
    """(mode, path) of the mapping that an array lies in."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(text, 16) for text in line.split()[0].split("-"))
        if start <= address < end:
            return line.split()[1], line.split()[-1]


def smaps(array):
    """In bytes, what the system tells of the pages of the mapping that an array lies in."""
    return store_processes.smaps(array)


@pytest.fixture(autouse=True, scope="module")
def importable():
    """What runs in other processes is found by them, wherever earlier tests left the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(os.path.dirname(__file__))
        yield


def run(target, *arguments):
    process = SPAWN.Process(target=target, args=arguments)
    process.start()
    return process


def in_child(action):
    """The exit code of a forked process that runs an action: 0 if all was well."""
    pid = os.fork()
    if not pid:
        try:
            action()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# --- values ------------------------------------------------------------------------------------------------------------

VALUES = [
    None,
    SMALL,
    "x" * 100_000,
    [i / 7 for i in range(20_000)],
    [{"id": i, "name": f"n{i}"} for i in range(3000)],
    {"bytes": bytes(range(256)) * 1000, "set": {1, 2}, "tuple": (1, "a")},
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_values_come_back(store, value):
    found = store.get(store.put(value))
    assert found == value and type(found) is type(value)


def test_many_arrays_come_back(store):
    # More pieces than one system call takes.
    arrays = [np.full(1000, i) for i in range(2500)]
    for _ in range(2):  # into fresh memory, and into recycled memory
        ref = store.put(arrays)
        found = store.get(ref)
        assert all(np.array_equal(a, b) for a, b in zip(arrays, found, strict=True))
        del found
        store.delete(ref)


@pytest.mark.parametrize("array", [LARGE.reshape(500, 100)[::2, ::3], np.asfortranarray(LARGE.reshape(500, 100)), np.empty((0, 5))])
def test_arrays_of_any_layout_come_back(store, array):
    for _ in range(2):
        ref = store.put(array)
        found = store.get(ref)
        assert np.array_equal(found, array) and found.dtype == array.dtype
        assert found.flags.f_contiguous == array.flags.f_contiguous
        store.delete(ref)


@pytest.mark.parametrize("size", [*range(32_000, 34_000, 97), shared.SMALL])
def test_sizes_around_the_limit_of_what_is_mapped(store, size):
    data = os.urandom(size)
    assert store.get(store.put(data)) == data


def test_objects_keep_their_identity(store):
    shared_list = [1]
    found = store.get(store.put([shared_list, shared_list]))
    assert found[0] is found[1]
    found = store.get(store.put([shared_list, shared_list], track_refs=False))
    assert found[0] is not found[1]


def test_options_of_dumps_and_loads(store):
    with pytest.raises(fastser.EncodeError):
        store.put(lambda: 1, fallback=None)
    with pytest.raises(fastser.DepthError):
        store.put([[[1]]], max_depth=2)
    ref = store.put(store_processes.Point(5))
    with pytest.raises(fastser.UnsafeDataError):
        store.get(ref, safe=True)
    assert store.get(ref, safe=True, allow=[store_processes.Point]).x == 5
    with pytest.raises(fastser.DepthError):
        store.get(store.put([[[1]]]), max_depth=2)
    with pytest.raises(TypeError, match="mode must be 'r' or 'c', not 'w'"):
        store.get(ref, mode="w")


@pytest.mark.parametrize("value", [SMALL, {"x": LARGE}])
@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda frame: np.frombuffer(frame, "u2" if len(frame) % 2 == 0 else "u1")])
def test_put_of_a_frame(store, value, wrap):
    frame = fastser.dumps(value)
    for given in (wrap(frame), wrap(frame + bytes(64))):
        assert fastser.dumps(store.get(store.put_frame(given))) == frame
    assert fastser.dumps(store.get(store.put_frame(fastser.pack(value)))) == frame


def test_put_of_what_is_no_frame(store):
    with pytest.raises(fastser.DecodeError, match="not a fastser frame"):
        store.put_frame(bytes(100))
    with pytest.raises(fastser.DecodeError, match="truncated frame: expected"):
        store.put_frame(fastser.dumps(LARGE)[:-1])
    assert store.stats().objects == ()


# --- memory ------------------------------------------------------------------------------------------------------------


def test_arrays_are_read_only_views_of_shared_memory(store):
    ref = store.put({"x": LARGE, "y": [LARGE + 1]})
    found = store.get(ref)
    for array in (found["x"], found["y"][0]):
        assert not array.flags.writeable
        with pytest.raises(ValueError):
            array.flags.writeable = True
        with pytest.raises(TypeError, match="cannot modify read-only memory"):
            memoryview(array)[0] = 1
        mode, path = mapped_at(array)
        assert mode == "rw-p" and path.endswith(f"/sealed/{ref.name}")
        assert array.__array_interface__["data"][0] % 64 == 0
    # Two gets are two views of the same pages.
    assert mapped_at(store.get(ref)["x"])[1] == path


@pytest.mark.parametrize("mode", "rc")
def test_what_takes_no_notice_of_read_only_writes_to_pages_of_its_own(store, mode):
    refs = [store.put([LARGE]), store.put([LARGE[:100]])]
    others = [store.get(ref)[0] for ref in refs]
    for ref in refs:
        (array,) = store.get(ref, mode=mode)
        before = array.copy()
        ctypes.memset(array.ctypes.data, 255, 8)
        assert array[0] == -1 and np.array_equal(array[1:], before[1:])
        # Neither who views it, nor who gets it later, nor another process sees anything of it.
        assert np.array_equal(store.get(ref)[0], before)
        results = SPAWN.Queue()
        process = run(store_processes.add_first, store.name, ref, 0, results)
        assert np.array_equal(store.get(results.get(timeout=60)), before)
        process.join()
    assert all(np.array_equal(other, LARGE[: len(other)]) for other in others)


@pytest.mark.parametrize("mode", "rc")
def test_what_a_reducer_makes_is_written_to_without_a_copy_of_all(store, mode):
    value = store_processes.Model(np.arange(100_000.0), [np.arange(100_000)])
    ref = store.put({"model": value, "field": store_processes.Point(LARGE)})
    found = store.get(ref, mode=mode)
    assert found["field"].x.flags.writeable is (mode == "c")
    weights, (counts,) = found["model"].weights, found["model"].counts
    assert mapped_at(weights)[1].endswith(f"/sealed/{ref.name}") and mapped_at(counts) == mapped_at(weights)
    assert weights.flags.writeable and counts.flags.writeable
    weights.flags.writeable = False
    weights.flags.writeable = True
    weights[:10] = -1
    # One page was copied, and nobody else sees it.
    assert smaps(weights)["Anonymous"] == os.sysconf("SC_PAGE_SIZE")
    assert np.array_equal(store.get(ref)["model"].weights, np.arange(100_000.0))
    assert (weights[:10] == -1).all()


def test_reading_shares_the_pages(store):
    array = np.arange(1_000_000)
    ref = store.put([array])
    (found,) = store.get(ref)
    assert found.sum() == array.sum()
    results, go = SPAWN.Queue(), SPAWN.Event()
    process = run(store_processes.read_all, store.name, ref, results, go)
    there = results.get(timeout=60)
    here = smaps(found)
    go.set()
    process.join()
    for pages in (here, there):
        assert pages["Rss"] >= array.nbytes
        assert pages["Pss"] <= pages["Rss"] / 2 + 4096
        assert pages["Anonymous"] == 0


def test_writable(store):
    value = {"x": LARGE, "model": store_processes.Model(LARGE + 1, LARGE[:10])}
    ref = store.put(value)
    for mode in "rc":
        found = store.get(ref, mode=mode, writable=True)
        assert found["x"].flags.writeable and found["model"].weights.flags.writeable
        assert store.stats().objects[0].viewers == ()  # copies
        found["x"][0] = found["model"].weights[0] = found["model"].counts[0] = -1
        found = store.get(ref, mode=mode, writable=False)
        assert store.stats().objects[0].viewers == (os.getpid(),)
        for array in (found["x"], found["model"].weights, found["model"].counts):
            assert not array.flags.writeable and mapped_at(array)[1].endswith(ref.name)
        del found, array
    assert np.array_equal(store.get(ref)["x"], LARGE)
    with pytest.raises(TypeError, match="writable must be None, True or False"):
        store.get(ref, writable="yes")


@pytest.mark.parametrize("mode", "rc")
def test_where_the_system_promises_no_memory_what_is_written_to_is_copied(store, mode):
    ref = store.put({"x": np.arange(20_000_000), "model": store_processes.Model(np.arange(1000), [])})  # noqa: F841 - the reference keeps the object
    program = f"""
import resource, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
import fastser, store_processes
import numpy as np
store = fastser.ObjectStore.attach({store.name!r})
(ref,) = store.refs()
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData")) << 10
resource.setrlimit(resource.RLIMIT_DATA, (used + (100 << 20),) * 2)
try:
    found = store.get(ref, mode={mode!r})
    frame = memoryview(store.get_frame(ref, mode={mode!r}))
except MemoryError:
    print("MemoryError")
else:
    found["model"].weights += 1
    print(found["x"].flags.writeable, found["x"][-1], found["model"].weights[:3], frame.readonly)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    # 160 MB to write to are more than this process may have; to look at them is not.
    expected = "False 19999999 [1 2 3] True\n" if mode == "r" else "MemoryError\n"
    assert (done.returncode, done.stdout) == (0, expected), done.stderr


@pytest.mark.parametrize("array", [LARGE, LARGE[:100]])
def test_copy_on_write(store, array):
    ref = store.put([array])
    private = store.get(ref, mode="c")[0]
    private[:] = -1
    assert private.flags.writeable
    assert np.array_equal(store.get(ref)[0], array)
    assert np.array_equal(store.get(ref, mode="c")[0], array)
    assert (private == -1).all()


def test_what_is_viewed_stays_valid_after_delete_and_close(store):
    refs = [store.put(LARGE), store.put(LARGE[:100])]
    views = [store.get(ref, mode=mode) for ref in refs for mode in "rc"]
    for ref in refs:
        store.delete(ref)
    others = [store.put(np.zeros_like(LARGE)) for _ in range(5)]
    assert all(np.array_equal(view, LARGE[: len(view)]) for view in views)
    store.close()
    assert all(np.array_equal(view, LARGE[: len(view)]) for view in views)
    del others


def test_memory_is_recycled(store):
    ref = store.put(LARGE)
    first = inode(store, ref)
    for _ in range(3):
        store.delete(ref)
        ref = store.put(LARGE + 1)
        assert inode(store, ref) == first
        assert np.array_equal(store.get(ref), LARGE + 1)
    # A little smaller fits too, and is not told what lay there before.
    store.delete(ref)
    ref = store.put(LARGE[:-1000])
    assert inode(store, ref) == first
    assert np.array_equal(store.get(ref), LARGE[:-1000])
    # Much smaller does not.
    store.delete(ref)
    assert inode(store, store.put(LARGE[:10_000])) != first


def test_another_process_recycles_too(store):
    source, ref = store.put(LARGE + 1), store.put(LARGE)
    first = inode(store, ref)
    store.delete(ref)
    results = SPAWN.Queue()
    process = run(store_processes.add, store.name, source, 1, results)
    ref, writeable, pid = results.get(timeout=60)
    process.join()
    assert (pid, writeable) == (process.pid, False)
    assert inode(store, ref) == first
    assert np.array_equal(store.get(ref), LARGE + 2)


def test_a_segment_that_is_viewed_is_not_recycled(store):
    ref = store.put(LARGE)
    first = inode(store, ref)
    view = store.get(ref)[10:20]
    store.delete(ref)
    ref = store.put(LARGE + 1)
    assert inode(store, ref) != first
    assert np.array_equal(view, LARGE[10:20])
    del view
    assert inode(store, store.put(LARGE + 2)) == first


def test_a_segment_that_another_process_views_is_not_recycled(store):
    ref = store.put(LARGE)
    first = inode(store, ref)
    ready, go = SPAWN.Event(), SPAWN.Event()
    process = run(store_processes.hold, store.name, ref, ready, go)
    assert ready.wait(60)
    assert store.stats().objects[0].viewers == (process.pid,)
    store.delete(ref)
    assert store.stats().pinned == {process.pid: (LARGE.nbytes // 4096 + 1) * 4096}
    assert inode(store, store.put(LARGE + 1)) != first
    go.set()
    process.join()
    assert process.exitcode == 0
    assert inode(store, store.put(LARGE + 2)) == first


def test_views_cost_no_descriptors(store):
    refs = [store.put(LARGE) for _ in range(50)]
    before = len(os.listdir("/proc/self/fd"))
    views = [store.get(ref) for ref in refs for _ in range(20)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(views) == 1000


def test_nothing_of_multiprocessing_watches_over_segments(store):
    program = f"""
import fastser, numpy, sys
with fastser.ObjectStore.create() as own, fastser.ObjectStore.attach({store.name!r}) as store:
    view = own.get(own.put(store.get("data")))
print("multiprocessing" in sys.modules, int(view.sum()))
"""
    store.put(LARGE, key="data")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"False {LARGE.sum()}\n", "")
    assert np.array_equal(store.get("data"), LARGE)


# --- arrays that are built in place ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), 3, (0, 4), (100, 100), (300, 70, 2)])
@pytest.mark.parametrize("dtype", ["float32", "datetime64[s]", [("a", "i8"), ("b", "S3")]])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_built_in_place(store, shape, dtype, order):
    expected = np.zeros(shape, dtype, order)
    expected.view(np.ndarray).fill(np.array(7).astype(dtype) if isinstance(dtype, str) else (7, b"x"))
    for _ in range(2):
        with store.create_array(shape, dtype, order=order) as array:
            assert array.shape == expected.shape and array.dtype == expected.dtype
            array[...] = expected
        found = store.get(array.ref)
        assert type(found) is np.ndarray
        assert np.array_equal(found, expected) and found.dtype == expected.dtype
        assert found.flags.f_contiguous == expected.flags.f_contiguous
        del array, found
        store.delete(store.stats().objects[0].ref)


def test_an_array_lies_in_the_store_while_it_is_built(store):
    with store.create_array(50_000, int) as array:
        assert mapped_at(array)[1].endswith(f"/new/{array.ref.name}")
        address = array.__array_interface__["data"][0]
        array[:] = LARGE
    assert array.__array_interface__["data"][0] == address
    assert np.array_equal(store.get(array.ref), LARGE)


def test_views_from_building_time_cannot_change_what_is_sealed(store):
    with store.create_array(50_000, int) as array:
        array[:] = LARGE
        view, memory = array[10:20], memoryview(array)
    with pytest.raises(ValueError):
        array[0] = 1
    view[:] = -1
    memory[30_000] = -1
    found = store.get(array.ref)
    assert np.array_equal(found, LARGE)
    assert (view == -1).all() and array[30_000] == -1 and array[30_001] == 30_001
    # The views keep the segment, as all views do.
    first = inode(store, array.ref)
    store.delete(array.ref)
    del array, found, memory
    assert inode(store, store.put(LARGE + 1)) != first
    assert (view == -1).all()


def test_a_child_forked_while_an_array_is_built_fills_it_but_cannot_change_it_later(store):
    told, tell = os.pipe()
    late, wrote = os.pipe()
    with store.create_array(50_000, int) as array:
        array[:] = LARGE
        view = array[:100]
        pid = os.fork()
        if not pid:
            view[:] = -1
            os.write(tell, b"x")
            os.read(late, 1)  # sealed now
            view[:] = -2
            os._exit(0)
        os.read(told, 1)
    found = store.get(array.ref)
    os.write(wrote, b"x")
    os.waitpid(pid, 0)
    for again in (found, store.get(array.ref)):
        assert (again[:100] == -1).all() and np.array_equal(again[100:], LARGE[100:])
    for fd in (told, tell, late, wrote):
        os.close(fd)


def test_a_child_forked_after_an_array_was_built_has_locks_of_its_own(store):
    builder = store.create_array(50_000, int)
    with builder as array:
        array[:] = LARGE

    def work():
        assert not shared.lock(store._account._fd, exclusive=True, wait=False)  # the parent holds the account
        array.flags.writeable = True
        array[:] = 0

    with store._account:
        assert in_child(work) == 0
    assert np.array_equal(store.get(array.ref), LARGE)


@pytest.mark.parametrize("size", [10, 50_000])
def test_an_array_whose_building_fails_is_gone(store, size):
    before = store.stats().used
    with pytest.raises(ZeroDivisionError), store.create_array(size) as array:
        ref = array.ref
        1 / 0
    with pytest.raises(fastser.ObjectNotFoundError):
        store.get(ref)
    del array
    assert store.stats().used == before
    assert store.stats().being_put == ()


def test_arrays_of_objects_cannot_be_built(store):
    for dtype in (object, [("a", object)], np.dtypes.StringDType()):
        with pytest.raises(TypeError, match="needs a dtype whose elements are plain bytes, not"):
            store.create_array(10, dtype)


@pytest.mark.parametrize("size", [10, 50_000])
def test_get_waits_for_what_is_being_put(store, size):
    with store.create_array(size, int) as array:
        array[:] = 3
        assert store.stats().being_put == (array.ref.name,)
        with pytest.raises(fastser.StoreTimeoutError, match=f"{array.ref} was still being put after 0.01 seconds"):
            store.get(array.ref, timeout=0.01)
        with pytest.raises(fastser.ObjectExistsError, match="is still being put"):
            store.delete(array.ref)
        found = []
        thread = threading.Thread(target=lambda: found.append(store.get(array.ref)))
        thread.start()
    thread.join()
    assert (found[0] == 3).all() and found[0].size == size


def test_get_fails_at_once_when_the_writer_has_died(store):
    refs, go = SPAWN.Queue(), SPAWN.Event()
    process = run(store_processes.build_and_stall, store.name, refs, go)
    ref = refs.get(timeout=60)
    with pytest.raises(fastser.StoreTimeoutError):
        store.get(ref, timeout=0.01)
    failed = []

    def wait():
        with pytest.raises(fastser.ObjectNotFoundError) as caught:
            store.get(ref)
        failed.append(caught.value)

    thread = threading.Thread(target=wait)
    thread.start()
    process.kill()
    thread.join(60)
    assert str(failed[0]) == f"the store has no object {ref}: it was deleted, or its writer died before it was complete, or it never existed"
    fastser.ObjectStore.attach(store.name).close()
    assert store.stats().used == 0
    process.join()


# --- keys --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [SMALL, {"x": LARGE}])
def test_a_key_is_used_once(store, value):
    ref = store.put(value, key="config.v1")
    assert ref.name == "key-config.v1"
    for again in (SMALL, LARGE):
        with pytest.raises(fastser.ObjectExistsError, match="'key-config.v1' exists already"):
            store.put(again, key="config.v1")
        with pytest.raises(fastser.ObjectExistsError), store.create_array(100_000, key="config.v1"):
            pass
    assert fastser.dumps(store.get("config.v1")) == fastser.dumps(store.get(ref)) == fastser.dumps(value)
    store.delete("config.v1")
    with pytest.raises(fastser.ObjectNotFoundError):
        store.get("config.v1")
    store.put(1, key="config.v1")


def test_a_key_that_is_being_put_is_taken(store):
    with store.create_array(50_000, int, key="k") as array:
        array[:] = LARGE
        for value in (SMALL, LARGE):
            with pytest.raises(fastser.ObjectExistsError, match="'key-k' is being put already"):
                store.put(value, key="k")
    assert np.array_equal(store.get("k"), LARGE)


def test_one_of_many_processes_gets_a_key(store):
    start, results = SPAWN.Event(), SPAWN.Queue()
    processes = [run(store_processes.put_key, store.name, value, start, results) for value in range(3)]
    start.set()
    (winner,) = (value for value in [results.get(timeout=60) for _ in processes] if value is not None)
    for process in processes:
        process.join()
    assert (store.get("contested") == winner).all()


@pytest.mark.parametrize("key", ["", "../x", "a/b", "a\0b", ".hidden", "-x", "ü", "a b", "x" * 200, 5, b"x", None])
def test_keys_and_names_that_are_refused(store, key):
    for name in (key,) if key is not None else ():
        with pytest.raises(ValueError, match="must be 1 to 107 ASCII letters"):
            store.put(1, key=name)
        with pytest.raises(ValueError, match="must be 1 to 107 ASCII letters"):
            fastser.ObjectStore.create(name)
    for action in (store.get, store.delete, fastser.ObjectStore.attach):
        with pytest.raises(ValueError, match="must be 1 to 107 ASCII letters"):
            action(key)


# --- references --------------------------------------------------------------------------------------------------------


def test_references(store):
    refs = [store.put(i) for i in range(20)]
    assert refs == sorted(reversed(refs))
    assert len(set(refs) | {pickle.loads(pickle.dumps(ref)) for ref in refs}) == 20
    assert fastser.loads(fastser.dumps(refs)) == refs
    assert eval(repr(refs[0]), {"ObjectRef": fastser.ObjectRef}) == refs[0]
    assert str(refs[0]) == f"{store.id}/{refs[0].name}"
    assert len(pickle.dumps(refs[0])) < 200
    assert store.put(1, key="a") > refs[-1]
    with pytest.raises(AttributeError):
        refs[0].name = "x"


@pytest.mark.parametrize(
    "parts", [("x", "0" * 32), ("0" * 32, "../../etc"), ("0" * 32, "key-../x"), ("0" * 32, "key-"), ("0" * 32, "0" * 31), (1, "0" * 32), ("0" * 32, None)]
)
def test_malformed_references_are_refused(parts):
    with pytest.raises(ValueError, match="malformed ObjectRef: expected"):
        fastser.ObjectRef(*parts)


def test_a_forged_reference_finds_nothing(store):
    forged = fastser.ObjectRef(store.id, "0" * 32)
    with pytest.raises(fastser.ObjectNotFoundError, match=f"the store has no object {forged}"):
        store.get(forged)
    with pytest.raises(fastser.ObjectNotFoundError):
        store.delete(forged)


@pytest.mark.parametrize("path", ["../account", "../sealed/x", "/etc/passwd", "."])
def test_a_reference_that_was_forged_on_its_way_leads_nowhere(store, path):
    # Unpickling sets the attributes, as this does.
    forged = object.__new__(fastser.ObjectRef)
    object.__setattr__(forged, "store", store.id)
    object.__setattr__(forged, "name", path)
    for action in (store.get, store.get_frame, store.delete):
        with pytest.raises(ValueError, match="malformed ObjectRef: expected an object's 32 hexadecimal digits or key, found"):
            action(pickle.loads(pickle.dumps(forged)))


def test_a_reference_to_another_store_is_refused(name):
    with fastser.ObjectStore.create(name) as former:
        ref = former.put(SMALL)
    with fastser.ObjectStore.create(name) as store:
        for action in (store.get, store.delete):
            with pytest.raises(fastser.ForeignRefError, match=f"{ref} is a reference to another store than '{name}'"):
                action(ref)


def test_a_deleted_object_is_not_found(store):
    for value in (SMALL, LARGE):
        ref = store.put(value)
        store.delete(ref)
        for action in (store.get, store.delete):
            with pytest.raises(fastser.ObjectNotFoundError):
                action(ref)
    assert store.stats().objects == ()


def test_a_file_that_became_another_object_meanwhile_is_not_taken_for_the_first(store):
    # What a reader sees that opened the file, and was slow.
    ref = store.put(LARGE)
    os.link(ref.name, "0" * 32, src_dir_fd=store._directory.sealed, dst_dir_fd=store._directory.sealed)
    with pytest.raises(fastser.ObjectNotFoundError):
        store.get(fastser.ObjectRef(store.id, "0" * 32))
    os.unlink("0" * 32, dir_fd=store._directory.sealed)


def recycle(store, key, fd):
    """Put an object into the segment of another; yield while it is written."""
    segment = store._segments.begin(key, os.fstat(fd).st_size - shared.HEADER)
    yield
    store._segments.seal(segment, key, LARGE.nbytes)


def build(store, key, fd):
    with store.create_array(LARGE.shape, LARGE.dtype, key=key[len("key-") :]) as array:
        array[:] = LARGE
        yield


@pytest.mark.parametrize("write", [recycle, build])
def test_a_reader_that_was_overtaken_never_sees_what_is_being_written(store, write):
    # It has opened the file and asks for the lock; meanwhile the object is deleted, and its key and memory are used again.
    ref = store.put(LARGE, key="again")
    fd = os.open(ref.name, os.O_RDONLY, dir_fd=store._directory.sealed)
    store.delete(ref)
    writing = write(store, ref.name, fd)
    next(writing)
    assert os.stat(ref.name, dir_fd=store._directory.new).st_ino == os.fstat(fd).st_ino
    assert shared.lock(fd, exclusive=False, wait=False)
    assert os.pread(fd, shared.HEADER, 0) == bytes(shared.HEADER)
    shared.unlock(fd)
    assert next(writing, None) is None
    assert os.pread(fd, shared.HEADER, 0) != bytes(shared.HEADER)
    os.close(fd)


# --- stores and processes ----------------------------------------------------------------------------------------------


def test_a_store_is_used_by_one_name(name):
    with fastser.ObjectStore.create(name) as store:
        with pytest.raises(fastser.StoreExistsError, match=f"an object store named '{name}' is in use"):
            fastser.ObjectStore.create(name)
        with fastser.ObjectStore.attach(name) as other:
            assert (other.name, other.id, other.capacity) == (store.name, store.id, store.capacity)
            ref = other.put(SMALL)
        assert store.get(ref) == SMALL
    with pytest.raises(fastser.StoreNotFoundError, match=f"there is no object store named '{name}'"):
        fastser.ObjectStore.attach(name)


def test_a_closed_store_refuses_everything(store):
    ref = store.put(LARGE)
    other = fastser.ObjectStore.attach(store.name)
    view = other.get(ref)
    store.close()
    store.close()
    assert store.closed and repr(store) == f"<fastser.ObjectStore {store.name!r}: closed>"
    for action in (store.put, store.get, store.delete, store.put_frame):
        with pytest.raises(fastser.StoreClosedError, match=f"the object store '{store.name}' is closed"):
            action(fastser.pack(1) if action == store.put_frame else ref)
    with pytest.raises(fastser.StoreClosedError):
        store.create_array(10)
    with pytest.raises(fastser.StoreClosedError):
        store.stats()
    # The owner closed it for everybody.
    for value in (SMALL, LARGE):
        with pytest.raises(fastser.StoreClosedError):
            other.put(value)
    for action in (other.get, other.delete):
        with pytest.raises(fastser.StoreClosedError):
            action(ref)
    with pytest.raises(fastser.StoreClosedError):
        other.refs()
    assert np.array_equal(view, LARGE)
    other.close()


def test_an_array_that_is_built_while_the_store_is_closed(store):
    other = fastser.ObjectStore.attach(store.name)
    with pytest.raises(fastser.StoreClosedError), other.create_array(50_000, int) as array:
        store.close()
        array[:] = LARGE
    assert np.array_equal(array, LARGE)
    other.close()


def test_stores_travel_to_other_processes(store):
    results = SPAWN.Queue()
    process = run(store_processes.use, store, store.put(SMALL), results)
    assert results.get(timeout=60) == (SMALL, store.id)
    process.join()
    data = pickle.dumps(store)
    store.close()
    with fastser.ObjectStore.create(store.name), pytest.raises(fastser.StoreNotFoundError):
        pickle.loads(data)  # one of the same name is another one


def test_an_owner_that_ends_frees_everything(name):
    process = run(store_processes.own_and_end, name)
    process.join()
    assert process.exitcode == 0
    assert name not in directories.stores()


def test_a_store_that_is_forgotten_is_closed():
    store = fastser.ObjectStore.create()
    view = store.get(store.put(LARGE))
    name = store.name
    del store
    gc.collect()
    assert name not in directories.stores()
    assert np.array_equal(view, LARGE)


def test_what_a_killed_owner_leaves_is_there_until_the_last_one_leaves(name):
    process = run(store_processes.own_and_die, name)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    first, second = fastser.ObjectStore.attach(name), fastser.ObjectStore.attach(name)
    assert np.array_equal(first.get("data"), LARGE)
    with pytest.raises(fastser.StoreExistsError):
        fastser.ObjectStore.create(name)
    first.close()
    assert second.get("small") == {"a": 1}
    second.close()
    assert name not in directories.stores()


def test_threads_at_work_when_the_last_one_leaves(name):
    process = run(store_processes.own_and_die, name)
    process.join()
    store = fastser.ObjectStore.attach(name)
    at_work, ends = threading.Barrier(4), []

    def work():
        at_work.wait()
        try:
            while True:
                for value in (LARGE, SMALL):
                    store.delete(store.put(value))
        except Exception as error:
            ends.append(type(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    at_work.wait()
    time.sleep(0.01)
    store.close()
    for thread in threads:
        thread.join()
    assert ends == [fastser.StoreClosedError] * 3
    assert name not in directories.stores()


def test_a_store_that_a_killed_owner_left_is_replaced(name):
    run(store_processes.own_and_die, name).join()
    assert name in directories.stores()
    with fastser.ObjectStore.create(name) as store:
        assert store.stats().objects == ()


def test_a_forked_child_is_a_viewer_too(store):
    ref = store.put(LARGE)
    first = inode(store, ref)
    view = store.get(ref)
    go, tell = os.pipe()
    pid = os.fork()
    if not pid:
        os.read(go, 1)
        os._exit(not np.array_equal(view, LARGE))
    del view
    assert store.stats().objects[0].viewers == (pid,)
    store.delete(ref)
    assert inode(store, store.put(LARGE + 1)) != first
    os.write(tell, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert inode(store, store.put(LARGE + 2)) == first
    os.close(go)
    os.close(tell)


def test_a_forked_child_uses_the_store_and_does_not_own_it(store):
    ref = store.put(LARGE)
    store.delete(store.put(LARGE))  # its mapping is kept

    def act():
        assert np.array_equal(store.get(ref), LARGE)
        store.put(LARGE + 1, key="child")
        with store.create_array(50_000, int, key="built") as array:
            array[:] = 1
        store.close()

    assert in_child(act) == 0
    assert np.array_equal(store.get("child"), LARGE + 1)
    assert (store.get("built") == 1).all()
    assert np.array_equal(store.get(ref), LARGE)


def test_a_fork_while_other_threads_put(store):
    stop = threading.Event()

    def put():
        while not stop.is_set():
            store.delete(store.put(np.zeros(1_000_000)))

    threads = [threading.Thread(target=put) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            assert in_child(lambda: store.delete(store.put(LARGE))) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert store.stats().being_put == ()


def test_threads_share_a_store(store):
    failed = []

    def work(seed):
        for i in range(30):
            value = np.full(20_000, seed * 100 + i) if i % 2 else {"i": i}
            ref = store.put(value)
            if fastser.dumps(store.get(ref)) != fastser.dumps(value):
                failed.append((seed, i))
            store.delete(ref)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert store.stats().objects == ()


def test_a_finalizer_may_use_the_store_at_any_time(store):
    used = []

    class Owner:
        def __init__(self, value):
            self.ref = store.put(value)
            self.cycle = self

        def __del__(self):
            used.append(store.put(SMALL))
            store.delete(self.ref)

    threshold = gc.get_threshold()
    gc.set_threshold(1)  # a collection at nearly every step
    try:
        for i in range(20):
            Owner(LARGE[: 20_000 + i])
            Owner(i)
            store.delete(store.put(LARGE))
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert len(used) == 40
    assert [found.ref for found in store.stats().objects] == sorted(used)
    with store._account as account:
        counted = account.used, account.free
        account.count()
        assert (account.used, account.free) == counted


# --- capacity ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, expected",
    [("4GiB", 4 << 30), ("1.5 GiB", 3 << 29), ("500 MB", 500_000_000), ("64K", 64_000), ("10", 10), ("8B", 8), ("1TiB", 1 << 40), (4096, 4096)],
)
def test_capacities(text, expected):
    with fastser.ObjectStore.create(capacity=text) as store:
        assert store.capacity == expected


@pytest.mark.parametrize("capacity", ["", "x", "-1", "4 XB", 0, -5, 1.5, True, "1e9"])
def test_capacities_that_are_refused(capacity):
    with pytest.raises(ValueError, match=f"such as '4GiB' or '500 MB', not {re.escape(repr(capacity))}"):
        fastser.ObjectStore.create(capacity=capacity)


def test_a_full_store_refuses_before_anything_is_written():
    with fastser.ObjectStore.create(capacity=1_000_000) as store:
        refs = [store.put(LARGE), store.put(LARGE)]
        used = store.stats().used
        for value in (LARGE, np.zeros(1_000_000)):
            with pytest.raises(fastser.StoreFullError, match=rf"the store is full: \d+ bytes are needed, and {used} of its 1000000 are used"):
                store.put(value)
        with pytest.raises(fastser.StoreFullError), store.create_array(100_000):
            pass
        assert store.stats().used == used and store.stats().being_put == ()
        assert all(np.array_equal(store.get(ref), LARGE) for ref in refs)
        # Small ones fill what is left, to the last page.
        small = [store.put(i) for i in range((1_000_000 - used) // 4096)]
        with pytest.raises(fastser.StoreFullError):
            store.put(1)
        store.delete(small[0])
        store.put(1)
        # What is deleted makes room, also for what does not fit into its segment.
        store.delete(refs[0])
        store.put(np.zeros(5_000))
        store.delete(refs[1])
        store.put(np.zeros(70_000))


def test_what_is_viewed_takes_room_after_delete():
    with fastser.ObjectStore.create(capacity=500_000) as store:
        ref = store.put(LARGE)
        view = store.get(ref)
        store.delete(ref)
        with pytest.raises(fastser.StoreFullError):
            store.put(LARGE)
        del view
        store.put(LARGE)


def test_free_segments_are_at_most_half_of_the_capacity():
    with fastser.ObjectStore.create(capacity=4_000_000) as store:
        refs = [store.put(LARGE) for _ in range(8)]
        for ref in refs:
            store.delete(ref)
        assert store.stats().used == store.stats().free <= 2_000_000


def test_free_segments_are_few(store):
    refs = [store.put(LARGE[:5_000]) for _ in range(600)]
    for ref in refs:
        store.delete(ref)
    assert len(os.listdir(os.path.join(store._directory.path, "free"))) <= 256
    assert store.stats().used == store.stats().free <= 256 * 45_056


def test_the_least_recently_used_objects_are_spilled(tmp_path):
    with fastser.ObjectStore.create(capacity=2_000_000, spill_dir=tmp_path) as store:
        (folder,) = tmp_path.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        refs = [store.put(LARGE + i) for i in range(4)]
        small = store.put(SMALL)
        time.sleep(0.01)
        assert store.get(refs[0])[5] == 5  # used again
        refs += [store.put(LARGE + i) for i in range(4, 7)]
        assert {name.name for name in folder.iterdir()} - {small.name} == {ref.name for ref in refs[1:4]}
        assert [found.spilled for found in store.stats().objects if found.ref != small] == [False, True, True, True, False, False, False]
        for i, ref in enumerate(refs):
            found = store.get(ref)
            assert np.array_equal(found, LARGE + i) and not found.flags.writeable
        assert mapped_at(store.get(refs[1]))[1].startswith(str(folder))
        private = store.get(refs[1], mode="c")
        private[:] = 0
        assert np.array_equal(store.get(refs[1]), LARGE + 1)
        assert store.get(small) == SMALL
        view = store.get(refs[2])
        store.delete(refs[2])
        assert np.array_equal(view, LARGE + 2)
        with pytest.raises(fastser.ObjectNotFoundError):
            store.get(refs[2])
        larger = store.put(LARGE_ONE, key="larger")
        assert np.array_equal(store.get(larger), LARGE_ONE) and mapped_at(store.get("larger"))[1].startswith(str(folder))
        with pytest.raises(fastser.ObjectExistsError):
            store.put(LARGE_ONE, key="larger")
        assert not folder.joinpath("unfinished").exists()
        store.delete(larger)
        with pytest.raises(fastser.ObjectNotFoundError):
            store.get(larger)
        assert stat.S_IMODE(next(folder.iterdir()).stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == []
    assert np.array_equal(view, LARGE + 2)


def test_what_is_viewed_is_not_spilled(tmp_path):
    with fastser.ObjectStore.create(capacity=1_000_000, spill_dir=tmp_path) as store:
        refs = [store.put(LARGE), store.put(LARGE)]
        views = [store.get(ref) for ref in refs]
        with pytest.raises(fastser.StoreFullError, match="nothing that nobody views is left to spill"), store.create_array(LARGE.shape):
            pass
        refs.append(store.put(LARGE))  # to the disk at once
        assert [found.spilled for found in store.stats().objects] == [False, False, True]
        del views[0]
        refs.append(store.put(LARGE))
        assert [found.spilled for found in store.stats().objects] == [True, False, True, False]
        assert all(np.array_equal(store.get(ref), LARGE) for ref in refs)


def test_a_spilled_key_is_taken(tmp_path):
    with fastser.ObjectStore.create(capacity=500_000, spill_dir=tmp_path) as store:
        store.put(LARGE, key="k")
        store.put(LARGE)
        assert next(tmp_path.iterdir()).joinpath("key-k").exists()
        with pytest.raises(fastser.ObjectExistsError):
            store.put(1, key="k")
        assert np.array_equal(store.get("k"), LARGE)


def test_closing_while_other_processes_spill(tmp_path):
    def put():
        with suppress(fastser.StoreClosedError):
            while True:
                store.put(LARGE)

    for pause in np.linspace(0.01, 0.04, 20):
        with fastser.ObjectStore.create(capacity="2MiB", spill_dir=tmp_path) as store:
            children = [threading.Thread(target=lambda: codes.append(in_child(put))) for _ in range(2)]
            codes = []
            for child in children:
                child.start()
            time.sleep(pause)
        for child in children:
            child.join()
        assert codes == [0, 0]
        assert list(tmp_path.iterdir()) == []


def test_a_spill_directory_must_exist(tmp_path):
    with pytest.raises(NotADirectoryError, match="spill_dir must be an existing directory"):
        fastser.ObjectStore.create(spill_dir=tmp_path / "x")


FULL = """
import fastser, numpy as np, sys
from fastser.store import directory
directory.ROOT = sys.argv[1]
with fastser.ObjectStore.create(capacity="1GiB") as store:
    kept = store.put(np.arange(50_000))
    for make in (lambda: store.put(np.zeros(1_000_000)), lambda: store.put_frame(fastser.dumps(np.zeros(1_000_000))),
                 lambda: store.create_array(1_000_000).__enter__()):
        try:
            make()
        except fastser.StoreFullError as error:
            print(error)
    try:
        while True:
            store.put(bytes(10_000))
    except fastser.StoreFullError as error:
        print("full")
    stats = store.stats()
    assert all(store.get(found.ref) is not None for found in stats.objects)
    assert np.array_equal(store.get(kept), np.arange(50_000))
    for found in stats.objects:
        store.delete(found.ref)
    # Free segments are given up for it.
    assert store.get(store.put(np.zeros(150_000))).size == 150_000
"""


def test_full_shared_memory_is_an_error_and_no_signal(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("it takes the right to mount a small tmpfs")
    try:
        done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert len(re.findall(r"is full: 800\d+ bytes are needed \(ulimit -f is a limit too\)\n", done.stdout)) == 3
        assert done.stdout.endswith("full\n")
        assert os.listdir(tmp_path) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


# --- whose it is -------------------------------------------------------------------------------------------------------


def test_files_are_their_owners_alone(store):
    store.put(SMALL)
    store.put(LARGE)
    store.delete(store.put(LARGE))
    path = Path(store._directory.path)
    assert path.parent == Path("/dev/shm")
    found = [path, *path.rglob("*")]
    assert len(found) == 10
    for file in found:
        assert file.stat().st_uid == os.geteuid()
        assert stat.S_IMODE(file.lstat().st_mode) == (0o700 if file.is_dir() else 0o600)


@pytest.fixture
def place(name):
    """Where the directory of a store of this name would be."""
    path = Path(directories.ROOT, f"fastser-{os.geteuid()}-{name}")
    yield path
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        os.chown(path, os.geteuid(), -1)
        path.chmod(0o700)


def refused(name, text):
    for action in (fastser.ObjectStore.create, fastser.ObjectStore.attach):
        with pytest.raises(fastser.StorePermissionError, match=text):
            action(name)


def test_a_link_in_the_place_of_a_store_is_refused(name, place, store):
    place.symlink_to(store._directory.path)
    refused(name, f"expected {place} to be a directory that belongs to this user alone, found a link or a file: it is not used")


def test_a_directory_that_others_may_use_is_refused(name, place):
    place.mkdir(mode=0o700)
    place.chmod(0o750)
    refused(name, "found the mode 750")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_somebody_elses_directory_is_refused(name, place):
    place.mkdir(mode=0o700)
    os.chown(place, 65534, 65534)
    refused(name, "found one of user 65534")


@pytest.mark.parametrize("folder", ["new", "sealed", "free"])
def test_a_folder_that_became_a_link_is_refused(store, folder, tmp_path):
    path = Path(store._directory.path, folder)
    path.rename(path.with_name("other"))
    path.symlink_to(tmp_path)
    with pytest.raises(fastser.StorePermissionError):
        fastser.ObjectStore.attach(store.name)
    path.unlink()
    path.with_name("other").rename(path)


def test_an_object_that_became_a_link_is_refused(store, tmp_path):
    (tmp_path / "secret").write_bytes(fastser.dumps("secret"))
    os.symlink(tmp_path / "secret", "0" * 32, dir_fd=store._directory.sealed)
    with pytest.raises(OSError):
        store.get(fastser.ObjectRef(store.id, "0" * 32))


def test_a_platform_without_shared_memory_says_so(monkeypatch):
    monkeypatch.setattr(directories, "AVAILABLE", False)
    for action in (lambda: fastser.ObjectStore.create("x"), lambda: fastser.ObjectStore.attach("x"), fastser.ObjectStore.create):
        with pytest.raises(ImportError, match="needs Linux, with shared memory in /dev/shm"):
            action()


def test_stores_are_not_made_by_calling_the_class():
    with pytest.raises(TypeError, match="stores are made by ObjectStore.create and ObjectStore.attach"):
        fastser.ObjectStore()


# --- statistics --------------------------------------------------------------------------------------------------------


def test_statistics(store):
    refs = [store.put(SMALL), store.put(LARGE), store.put(LARGE, key="k")]
    view = store.get("k")
    private = store.get(refs[1], mode="c")
    stats = store.stats()
    assert [found.ref for found in stats.objects] == refs
    assert [found.nbytes for found in stats.objects] == [4096, 401408, 401408]
    assert [found.viewers for found in stats.objects] == [(), (os.getpid(),), (os.getpid(),)]
    assert all(0 <= found.age < 60 for found in stats.objects)
    assert (stats.name, stats.id, stats.owner, stats.capacity) == (store.name, store.id, os.getpid(), store.capacity)
    assert (stats.used, stats.free, stats.being_put, stats.pinned) == (2 * 401408 + 4096, 0, (), {os.getpid(): 2 * 401408})
    del view, private
    store.delete("k")
    stats = store.stats()
    assert (stats.used, stats.free, stats.pinned) == (2 * 401408 + 4096, 401408, {})


def command(*arguments):
    done = subprocess.run([sys.executable, "-m", "fastser", "store", *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_the_command_line(name):
    store = fastser.ObjectStore.create(name, capacity="1GiB")
    ref = store.put(LARGE)
    view = store.get(ref)
    code, text, _ = command("ls")
    assert code == 0 and re.search(rf"^{name} +1 +392.0 KiB +1.0 GiB  process {os.getpid()}$", text, re.MULTILINE)
    with store.create_array(10) as array:
        code, text, _ = command("stats", name)
        assert f"{array.ref.name:36} being put\n" in text
    assert re.search(rf"^{ref.name} +392.0 KiB +\d+s  {os.getpid()}$", text, re.MULTILINE)
    assert f"process {os.getpid()} pins 392.0 KiB\n" in text
    code, _, text = command("rm", name)
    assert code == 2 and "is in use" in text
    assert command("rm", "--force", name) == (0, "", "")
    assert name not in directories.stores()
    with pytest.raises(fastser.StoreClosedError):
        store.put(1)
    assert np.array_equal(view, LARGE)
    store.close()
    for action in ("stats", "rm"):
        code, _, text = command(action, name)
        assert code == 2 and f"there is no object store named {name!r}" in text


def test_the_command_line_removes_what_a_killed_owner_left(name):
    run(store_processes.own_and_die, name).join()
    assert command("ls")[0] == 0  # looking is not attaching
    assert name in directories.stores()
    assert command("rm", name) == (0, "", "")
    assert name not in directories.stores()


@pytest.mark.parametrize("by_command", [True, False])
def test_what_is_half_closed_is_removed(name, place, by_command):
    def close():
        store = fastser.ObjectStore.create(name)
        store.put(LARGE)
        with store._account as account:
            account.close()
        os._exit(0)

    assert in_child(close) == 0
    assert place.exists()
    if by_command:
        assert command("rm", name) == (0, "", "")
    else:
        with pytest.raises(fastser.StoreNotFoundError, match=f"there is no object store named '{name}'"):
            fastser.ObjectStore.attach(name)
    assert not place.exists()


def test_the_command_line_removes_what_is_half_made(name, place):
    place.mkdir(mode=0o700)
    (place / "making").touch()
    assert command("rm", name) == (0, "", "")
    assert not place.exists()


def test_the_command_line_lists_no_names_that_a_terminal_would_obey(name):
    """Anybody may make them in shared memory."""
    prefix = os.fsencode(directories.ROOT) + b"/fastser-%d-" % os.geteuid()
    strange = [prefix + text + name.encode() for text in (b"\x1b[31m", b"\xff\xfe", b"a\n", b"a ")]
    try:
        for path in strange:
            os.mkdir(path, 0o700)
        with fastser.ObjectStore.create(name):
            code, text, error = command("ls")
            assert (code, error) == (0, "") and name in text
            assert {line.split(" ")[0] for line in text.splitlines()} == {"STORE", *directories.stores()}
        assert all(map(os.path.isdir, strange))  # and they are no stores that killed processes left
    finally:
        for path in strange:
            os.rmdir(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda info, folder: [info],
        lambda info, folder: 5,
        lambda info, folder: {},
        lambda info, folder: {**info, "capacity": "1"},
        lambda info, folder: {**info, "more": None},
        lambda info, folder: {**info, "spill": 3},
        lambda info, folder: {**info, "spill": folder},
    ],
)
def test_what_is_no_store_is_told_and_removed(name, place, tmp_path, change):
    """It keeps no other store from being made, and nothing that it names is touched."""
    (tmp_path / "mine").touch()
    tmp_path.chmod(0o700)
    info = {"id": "0" * 32, "capacity": 1, "spill": None, "owner": os.getpid(), "created": 0.0}
    place.mkdir(mode=0o700)
    (place / "store").write_bytes(fastser.dumps(change(info, str(tmp_path))))
    with pytest.raises(fastser.StoreError, match=f"expected {place} to be an object store, found what no store"):
        fastser.ObjectStore.attach(name)
    code, text, _ = command("ls")
    assert code == 0 and re.search(rf"^{name} +expected {place} to be an object store", text, re.MULTILINE)
    fastser.ObjectStore.create().close()
    assert not place.exists()
    assert (tmp_path / "mine").exists()


def test_attaching_to_what_is_being_removed(name, place):
    with fastser.ObjectStore.create(name):
        (place / "account").rename(place / "gone")
        with pytest.raises(fastser.StoreNotFoundError, match=f"there is no object store named '{name}'"):
            fastser.ObjectStore.attach(name)
        assert re.search(rf"^{name} +there is no object store named", command("ls")[1], re.MULTILINE)
        (place / "gone").rename(place / "account")

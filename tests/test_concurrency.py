"""Threads that pack and load at once, data that changes meanwhile, and calls inside calls."""

import gc
import pickle
import sys
import threading
import time
import weakref
import zoneinfo

import numpy as np
import pytest
from same import same

import fastser


@pytest.fixture(autouse=True)
def switching_often():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def in_threads(*functions):
    """Run all at once; the first error is raised here."""
    errors = []
    start = threading.Barrier(len(functions))

    def run(function):
        start.wait()
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return type(other) is Point and (self.x, self.y) == (other.x, other.y)

    __hash__ = None


def example(i):
    shared = [i, str(i)]
    return {
        "records": [{"id": j, "name": f"{i} {j}", "parent": shared if j % 3 else None} for j in range(50)],
        "text": f"é {i}" * 1000,
        "array": np.arange(1000) + i,
        "small": [np.arange(3) + i for _ in range(20)],
        "set": {i, (i, "x")},
        "mixed": [1, "x", 2.5, None, [shared]] * 5,
    }


# --- at once ------------------------------------------------------------------------------------------------------------


def test_threads_pack_and_load_at_once():
    def work(i):
        value = example(i)
        frame = fastser.dumps(value)
        for _ in range(30):
            same(value, fastser.loads(fastser.dumps(value)))
            same(value, fastser.loads(frame))
            assert fastser.pack(value).to_bytes() == frame
            same(value, fastser.loads(fastser.dumps(value, track_refs=False)), identity=None)

    in_threads(*(lambda i=i: work(i) for i in range(6)))


def test_threads_with_foreign_objects():
    # Packing them runs Python code, where another thread goes on.
    def work(i):
        value = [example(i), [Point(i, j) for j in range(20)], {"a": Point(1, [2])}]
        for _ in range(10):
            found = fastser.loads(fastser.dumps(value))
            same(value[0], found[0])
            assert found[1:] == value[1:]

    in_threads(*(lambda i=i: work(i) for i in range(4)))


def test_threads_pack_one_object_and_load_one_frame():
    value = example(1)
    frame = fastser.dumps(value)
    packed = fastser.pack(value)

    def work():
        for _ in range(30):
            assert fastser.dumps(value) == frame
            same(value, fastser.loads(frame))
            same(value, fastser.loads(packed))
            assert packed.to_bytes() == frame

    in_threads(*[work] * 6)


def test_errors_in_threads():
    def good():
        for i in range(50):
            same(example(i), fastser.loads(fastser.dumps(example(i))))

    def bad():
        deep = [[[[[]]]]]
        frame = fastser.dumps(example(0))
        for _ in range(100):
            for call in (lambda: fastser.dumps([1, Raising()]), lambda: fastser.dumps(deep, max_depth=2), lambda: fastser.loads(frame[:-1]), lambda: fastser.loads(frame, max_depth=1)):
                with pytest.raises(fastser.FastserError):
                    call()

    in_threads(good, bad, good, bad)


def test_zones_that_are_loaded_at_once():
    # More than the interpreter keeps: making one runs Python code in the middle of loads.
    keys = sorted(zoneinfo.available_timezones())[:40]
    frame = fastser.dumps([[zoneinfo.ZoneInfo(key), {"key": key}] for key in keys])
    expected = [[key, {"key": key}] for key in keys]

    def work():
        for _ in range(20):
            assert [[zone.key, record] for zone, record in fastser.loads(frame)] == expected

    in_threads(*[work] * 4)


# --- while it changes ---------------------------------------------------------------------------------------------------

def pack_while_it_changes(make, change, seconds=0.2):
    """The copy may hold any state that there was, or be refused; what it must not do is crash or be none of them."""
    value = make()
    stop = threading.Event()

    def mutate():
        i = 0
        while not stop.is_set():
            change(value, i)
            i += 1

    def work():
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                try:
                    found = fastser.loads(fastser.dumps(value))
                except fastser.EncodeError as error:
                    assert "changed" in str(error) or isinstance(error.__cause__, RuntimeError), error
                else:
                    assert type(found) is type(value)
        finally:
            stop.set()

    in_threads(mutate, work, work)


class Slow:
    """Lets other threads run while it is packed."""

    def __reduce__(self):
        time.sleep(0)
        return Slow, ()


CHANGES = {
    "list that grows and shrinks": (lambda: [Slow(), *range(100)], lambda x, i: x.append([i]) if i % 2 else x.pop()),
    "list that is emptied": (lambda: [Slow(), *range(100)], lambda x, i: x.clear() if i % 2 else x.extend([[i], Slow()] * 50)),
    "list of lists": (lambda: [[Slow(), i] for i in range(50)], lambda x, i: x[i % 50].append([i]) if i % 3 else x[i % 50].clear()),
    "list whose items are replaced": (lambda: [[i] for i in range(100)] + [Slow()], lambda x, i: x.__setitem__(i % 100, {"i": [i]})),
    "dict that grows and shrinks": (lambda: {"a": Slow(), **{f"k{i}": i for i in range(50)}}, lambda x, i: x.pop(f"k{i % 60}", None) if i % 2 else x.__setitem__(f"k{i % 60}", [i])),
    "dict of other keys": (lambda: {0: Slow(), **{(i,): i for i in range(50)}}, lambda x, i: x.pop((i % 60,), None) if i % 2 else x.__setitem__((i % 60,), [i])),
    "records": (lambda: [{"a": Slow(), "b": i} for i in range(50)], lambda x, i: x[i % 50].pop("b", None) if i % 2 else x[i % 50].__setitem__("b", [i])),
    "records whose keys are renamed": (lambda: [{"a": Slow(), "b": i} for i in range(50)], lambda x, i: x[i % 50].__setitem__(f"c{i % 3}", x[i % 50].pop(f"c{(i + 1) % 3}", i))),
    "set": (lambda: {Slow(), 1}, lambda x, i: x.discard(i % 50) if i % 2 else x.add(i % 60)),
    "array of objects": (lambda: np.array([Slow(), *range(50)], object), lambda x, i: x.__setitem__(i % 50, [i])),
    "bytearray in a list": (lambda: [Slow(), bytearray(100), Slow()], lambda x, i: x.__setitem__(1, bytearray(i % 9000))),
    "without foreign objects": (lambda: [[i] for i in range(1000)], lambda x, i: x.append([i]) if i % 2 else x.pop()),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_data_that_another_thread_changes(kind):
    pack_while_it_changes(*CHANGES[kind])


def test_plain_data_is_packed_in_one_piece():
    # Without user code nothing else runs in between: every copy is a state that there was.
    value = [0, [0] * 1000, {"n": 0}]
    stop = threading.Event()

    def mutate():
        i = 0
        while not stop.is_set():
            i += 1
            value[:] = [i, [i] * 1000, {"n": i}]

    def work():
        try:
            for _ in range(300):
                n, many, record = fastser.loads(fastser.dumps(value))
                assert many == [n] * 1000 and record == {"n": n}
        finally:
            stop.set()

    in_threads(mutate, work)


def test_arrays_that_change_while_they_are_copied():
    value = np.zeros(2_000_000)
    stop = threading.Event()

    def mutate():
        while not stop.is_set():
            value[:] += 1

    def work():
        try:
            for _ in range(10):
                found = fastser.loads(fastser.dumps([value, value[::2]]))
                assert found[0].shape == value.shape
        finally:
            stop.set()

    in_threads(mutate, work)


# --- calls inside calls -------------------------------------------------------------------------------------------------


class Raising:
    def __reduce__(self):
        raise ArithmeticError("on purpose")


class Nested:
    """Packs itself with fastser, inside fastser."""

    def __init__(self, value, depth=1):
        self.value, self.depth = value, depth

    def __reduce__(self):
        inner = Nested(self.value, self.depth - 1) if self.depth else self.value
        return unpack, (fastser.dumps([inner, self.value]),)


def unpack(frame):
    inner, value = fastser.loads(frame)
    return [inner, value]


@pytest.mark.parametrize("depth", [0, 1, 2, 5, 20])
def test_a_call_inside_a_call(depth):
    value = {"a": [1, 2.5, "x"], "b": [np.arange(3).tolist()]}
    nested = Nested(value, depth)
    around = [{"i": i, "text": f"text {i}"} for i in range(20)]
    found = fastser.loads(fastser.dumps([around, nested, around, "text 5", [nested]]))
    assert found[0] == around and found[2] is found[0] and found[3] == "text 5"
    assert found[1] is found[4][0]
    inner = found[1]
    for _ in range(depth):
        assert inner[1] == value
        inner = inner[0]
    assert inner == [value, value]


def test_calls_inside_calls_in_threads():
    def work(i):
        for _ in range(10):
            found = fastser.loads(fastser.dumps([Nested([i], 3), example(i)]))
            same(example(i), found[1])

    in_threads(*(lambda i=i: work(i) for i in range(4)))


class Meddling:
    """Changes what is being packed, from inside."""

    def __init__(self, change):
        self.change = change

    def __reduce__(self):
        self.change()
        return int, ()


def meddled(make):
    for change in (
        lambda x: x.clear(),
        lambda x: x.extend([[1], [2]] * 1000) if isinstance(x, list) else x.update({f"new {i}": [i] for i in range(1000)}) if isinstance(x, dict) else x.update(range(1000)),
        lambda x: x.pop() if not isinstance(x, dict) else x.popitem(),
        lambda x: x.reverse() if isinstance(x, list) else None,
        lambda x: gc.collect(),
        lambda x: fastser.dumps(list(range(1000))),
    ):
        box = []
        meddler = Meddling(lambda: change(box[0]))
        box.append(make(meddler))
        yield box[0]


MEDDLED = {
    "list": lambda m: [[i] for i in range(20)] + [m] + [[i] for i in range(20)],
    "records": lambda m: [{"a": m, "b": [i]} for i in range(20)],
    "record": lambda m: {"a": [1], "m": m, "b": [2], "c": [3]},
    "dict": lambda m: {1: [1], 2: m, 3: [3], (4,): [4]},
    "wide dict": lambda m: {**{f"k{i}": [i] for i in range(50)}, "m": m, "last": [1]},
    "set": lambda m: {m, 1, "two", (3,)},
    "rows": lambda m: [[m, [i], str(i)] for i in range(20)],
}


@pytest.mark.parametrize("kind", MEDDLED)
def test_a_hook_that_changes_what_is_packed(kind):
    for value in meddled(MEDDLED[kind]):
        try:
            found = fastser.loads(fastser.dumps(value))
        except fastser.EncodeError as error:
            assert "changed" in str(error)
        else:
            assert type(found) in (list, dict, set)


def test_a_hook_that_changes_items_of_a_run():
    for change in (lambda item: item.clear(), lambda item: item.extend([[1]] * 100), lambda item: item.pop(0)):
        rows = [[[i], str(i)] for i in range(40)]
        rows[0][0] = Meddling(lambda: [change(row) for row in rows[1:]])
        try:
            found = fastser.loads(fastser.dumps(rows))
        except fastser.EncodeError as error:
            assert "changed" in str(error)
        else:
            assert len(found) == 40
        records = [{"a": [i], "b": [i]} for i in range(40)]
        records[0]["a"] = Meddling(lambda: [record.clear() for record in records[1:]])
        try:
            found = fastser.loads(fastser.dumps(records))
        except fastser.EncodeError as error:
            assert "changed" in str(error)
        else:
            assert len(found) == 40


def test_temporaries_do_not_lend_their_addresses():
    class Temporary:
        def __init__(self, i):
            self.i = i

        def __reduce__(self):
            return list, ([self.i, [self.i]],)

    value = [Temporary(i) for i in range(200)]
    assert fastser.loads(fastser.dumps(value)) == [[i, [i]] for i in range(200)]
    assert fastser.loads(fastser.dumps([np.array([Temporary(i)], object)[::1] for i in range(50)]))[49][0] == [49, [49]]


def look():
    """Touch every item of every container that the collector knows, and that has a length that few but the tests below make."""
    for container in gc.get_objects():
        if type(container) in (list, tuple) and 23 <= len(container) <= 25:
            for item in container:
                assert type(item) is not None


class Looking:
    def __reduce__(self):
        return look, ()


def test_what_hooks_see_while_loading():
    """Half-made containers may be visible; none of them has an empty slot."""
    for value in (
        [*range(22), Looking()],
        tuple([*range(22), Looking()]),
        [[i, Looking()] * 12 for i in range(5)],
        [{"a": [i] * 23, "b": Looking()} for i in range(5)],
        [(i, Looking(), *range(22)) for i in range(5)],
        [[x := [1], x, *range(20), Looking()] for _ in range(3)],
    ):
        fastser.loads(fastser.dumps(value))


def test_what_is_seen_while_zones_are_loaded():
    # The one native value that takes Python code to make, in a frame without foreign objects.
    keys = sorted(zoneinfo.available_timezones())[:24]
    zones = [zoneinfo.ZoneInfo(key) for key in keys]
    frames = [fastser.dumps(value) for value in (zones, tuple(zones), [[zone, i, *range(22)] for i, zone in enumerate(zones)], [(zone, i, *range(22)) for i, zone in enumerate(zones)])]
    del zones
    calls = []

    def watch(frame, event, argument):
        if event == "call" and frame.f_code.co_name == "load_data":
            calls.append(look() if len(calls) % 8 == 5 else None)

    for frame in frames:
        zoneinfo.ZoneInfo.clear_cache()
        sys.setprofile(watch)
        try:
            fastser.loads(frame)
        finally:
            sys.setprofile(None)
    assert len(calls) >= 4 * 24


def test_a_hook_that_loads_the_same_frame():
    value = [example(1), Rereading()]
    Rereading.frame = fastser.dumps(example(1))
    same(value[0], fastser.loads(fastser.dumps(value))[0])


class Rereading:
    frame = None

    def __reduce__(self):
        return reread, ()


def reread():
    same(example(1), fastser.loads(Rereading.frame))
    return 1


def test_a_hook_that_raises_inside_a_call_inside_a_call():
    value = [example(1), Nested([Raising()], 2)]
    for _ in range(20):
        with pytest.raises(fastser.EncodeError, match=r"\$\[1\]") as caught:
            fastser.dumps(value)
        causes = []
        error = caught.value
        while error is not None:
            causes.append(type(error))
            error = error.__cause__
        assert causes[-1] is ArithmeticError
        same(example(2), fastser.loads(fastser.dumps(example(2))))


def test_weak_references_and_finalizers():
    """Objects that die while the next is packed."""

    class Dying:
        def __del__(self):
            fastser.dumps([1, 2, 3])

    class Killing:
        def __reduce__(self):
            Dying()
            gc.collect()
            return int, ()

    value = [[Killing(), [i]] for i in range(20)]
    assert fastser.loads(fastser.dumps(value)) == [[0, [i]] for i in range(20)]
    kept = weakref.WeakValueDictionary()

    class Parent:
        def __init__(self):
            kept[id(self)] = self

        def __reduce__(self):
            return list, ([len(kept)],)

    assert fastser.loads(fastser.dumps([Parent() for _ in range(5)])) == [[5]] * 5


def test_pickle_inside_and_around():
    class Both:
        def __init__(self, value):
            self.value = value

        def __reduce__(self):
            return pickle.loads, (pickle.dumps(fastser.dumps(self.value)),)

    frame = fastser.loads(fastser.dumps([Both([1, 2])]))[0]
    assert fastser.loads(frame) == [1, 2]
    assert fastser.loads(pickle.loads(pickle.dumps(fastser.pack([1, np.arange(1000)]), 5)))[0] == 1


def test_a_module_that_another_thread_is_importing(tmp_path, monkeypatch):
    """It is among the modules, but what is looked for may not be there yet."""
    (tmp_path / "comes_slowly.py").write_text("import sys\nsys.coming.set()\nassert sys.may_come.wait(60)\ndef function(): return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "coming", threading.Event(), raising=False)
    monkeypatch.setattr(sys, "may_come", threading.Event(), raising=False)
    sys.may_come.set()
    import comes_slowly

    frame = fastser.dumps([comes_slowly.function])
    for event in (sys.coming, sys.may_come):
        event.clear()
    del sys.modules["comes_slowly"]
    found = []
    threads = [threading.Thread(target=lambda: found.append(fastser.loads(frame)[0])) for _ in range(2)]
    try:
        threads[0].start()
        assert sys.coming.wait(60)
        threads[1].start()
        threads[1].join(0.1)
        assert found == []
    finally:
        sys.may_come.set()
        for thread in threads:
            thread.join()
    assert found == 2 * [sys.modules.pop("comes_slowly").function]

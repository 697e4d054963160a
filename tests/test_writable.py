"""What can be written to: views, copies, and who shares memory with whom."""

import collections
import functools
import gc
import pickle
import threading
import tracemalloc
import types
from dataclasses import dataclass

import numpy as np
import pytest
import sample_objects as samples
from frames import ARRAY, COPY, RECORDS, build

import fastser

pytestmark = pytest.mark.core

THRESHOLD = 512  # bytes: smaller arrays ride in the columns
BIG = 1000


class Model:
    """Made by a call from its parts."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return Model, self.parts


class Stated:
    """Given a state, which may lead back to it."""

    def __init__(self, **fields):
        vars(self).update(fields)

    def __getstate__(self):
        return dict(vars(self))

    def __setstate__(self, state):
        vars(self).update(state)


class Items(list):
    """Extended by its items."""


class Table(dict):
    """Filled with its items."""


class Plain:
    def __init__(self, **fields):
        vars(self).update(fields)


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, a):
        self.a = a


@dataclass
class Data:
    a: np.ndarray


Row = collections.namedtuple("Row", "a b")


def memory(source):
    """What holds the bytes that a view of a source points into."""
    if isinstance(source, fastser.Packed):
        return [np.frombuffer(buffer, np.uint8) for buffer in source.buffers()]
    return [np.frombuffer(source, np.uint8)]


def is_view(array, source):
    """Of a Packed, whose small bodies are handed out as copies, for arrays of some size."""
    return any(np.shares_memory(array, piece) for piece in memory(source))


def array(n=BIG, start=0.0):
    return np.arange(start, start + n)


# --- sizes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nbytes", [0, 1, THRESHOLD - 1, THRESHOLD, THRESHOLD + 1, 10 * THRESHOLD])
def test_small_arrays_are_copies_and_large_ones_views(nbytes):
    for value in (np.arange(nbytes) % 200, np.arange(nbytes)[::-1] % 200):
        value = value.astype(np.uint8)
        source = fastser.dumps([value])
        viewed = nbytes >= THRESHOLD
        (found,) = fastser.loads(fastser.pack([value]))
        assert np.shares_memory(found, value) is viewed and found.flags.writeable is not viewed
        for data in (source, bytearray(source), memoryview(source)):
            (found,) = fastser.loads(data)
            assert np.array_equal(found, value)
            assert is_view(found, data) is viewed
            assert found.flags.writeable is (not viewed or type(data) is bytearray)
            (found,) = fastser.loads(data, writable=True)
            assert np.array_equal(found, value) and found.flags.writeable and not is_view(found, data)
            (found,) = fastser.loads(data, writable=False)
            assert np.array_equal(found, value) and not found.flags.writeable
            assert is_view(found, data) or not viewed


def test_a_run_of_small_arrays_has_one_copy():
    for count in (3, 20, 1000):
        value = [np.arange(5) + i for i in range(count)]
        source = fastser.dumps(value)
        found = fastser.loads(source)
        assert len({id(one.base) for one in found}) == 1
        for i, one in enumerate(found):
            one[:] = i
        assert [one.tolist() for one in found] == [[i] * 5 for i in range(count)]
        assert all(np.array_equal(one, other) for one, other in zip(value, fastser.loads(source), strict=True))


def test_copies_of_every_layout_and_dtype():
    for dtype in ("?", "i1", ">i4", "f8", "c16", "S3", "U2", "M8[us]", "V5", "g", [("a", "i1"), ("b", ">f8")]):
        for shape in ((), (0,), (3,), (2, 3), (40, 50)):
            raw = np.arange(int(np.prod(shape)) * np.dtype(dtype).itemsize, dtype=np.uint8) % 2
            value = np.asfortranarray(raw.view(dtype).reshape(shape)) if raw.size else np.empty(shape, dtype)
            for made in (value, Model(value)):
                for writable in (None, True, False):
                    source = bytes(1) + fastser.dumps(made)
                    for data in (source[1:], memoryview(source)[1:]):
                        found = fastser.loads(data, writable=writable)
                        found = found.parts[0] if made is not value else found
                        assert (found.dtype, found.shape, found.strides) == (value.dtype, value.shape, value.strides)
                        assert found.tobytes() == value.tobytes() and found.flags.aligned
                        if writable is not None:
                            assert found.flags.writeable is writable


# --- what reducers make ------------------------------------------------------------------------------------------------

MADE = {
    "argument": (Model, lambda found: found.parts[0]),
    "state": (lambda a: Stated(a=a), lambda found: found.a),
    "item": (lambda a: Items([a]), lambda found: found[0]),
    "value": (lambda a: Table(a=a), lambda found: found["a"]),
    "list in an argument": (lambda a: Model([[a]]), lambda found: found.parts[0][0][0]),
    "dict in a state": (lambda a: Stated(a={"b": (a,)}), lambda found: found.a["b"][0]),
    "fields in an argument": (lambda a: Model(Plain(a=a)), lambda found: found.parts[0].a),
    "slots in a state": (lambda a: Stated(a=[Slots(a)]), lambda found: found.a[0].a),
    "row in an item": (lambda a: Items([Row(1, a)]), lambda found: found[0].b),
    "container in an argument": (lambda a: Model(collections.OrderedDict(a=a)), lambda found: found.parts[0]["a"]),
    "made in what is made": (lambda a: Model(Model(Stated(a=a))), lambda found: found.parts[0].parts[0].a),
    "object array": (lambda a: Model(np.array([a, None], object)), lambda found: found.parts[0][0]),
    "run": (lambda a: Model([Plain(a=a, b=i) for i in range(30)]), lambda found: found.parts[0][7].a),
    "partial": (lambda a: functools.partial(max, a), lambda found: found.args[0]),
    "bound method": (lambda a: Plain(a=a).__eq__, lambda found: found.__self__.a),
    "exception": (ValueError, lambda found: found.args[0]),
    "closure": (lambda a: lambda: a, lambda found: found()),
}

CONTAINED = {
    "list": (lambda a: [a], lambda found: found[0]),
    "dict": (lambda a: {"a": (1, a)}, lambda found: found["a"][1]),
    "fields": (lambda a: Plain(a=a), lambda found: found.a),
    "slots": (Slots, lambda found: found.a),
    "dataclass": (Data, lambda found: found.a),
    "row": (lambda a: Row(a, 2), lambda found: found.a),
    "rows": (lambda a: [Row(a, i) for i in range(30)], lambda found: found[3].a),
    "run of fields": (lambda a: [Data(a) for _ in range(30)], lambda found: found[3].a),
    "object array": (lambda a: np.array([a, None], object), lambda found: found[0]),
    "ordered": (lambda a: collections.OrderedDict(a=a), lambda found: found["a"]),
    "defaultdict": (lambda a: collections.defaultdict(list, a=[a]), lambda found: found["a"][0]),
    "deque": (lambda a: collections.deque([a, 1]), lambda found: found[0]),
    "namespace": (lambda a: types.SimpleNamespace(a=a), lambda found: found.a),
    "beside what is made": (lambda a: [Model(1), a, Stated(b=2)], lambda found: found[1]),
}


@pytest.mark.parametrize("track_refs", [True, False])
@pytest.mark.parametrize("kind", MADE)
def test_what_a_reducer_makes_something_of_is_a_copy(kind, track_refs):
    wrap, pick = MADE[kind]
    value = array()
    holder = [wrap(value), value.copy()]
    source = fastser.dumps(holder, track_refs=track_refs)
    before = bytes(bytearray(source))
    packed = fastser.pack(holder, track_refs=track_refs)
    for data in (source, bytearray(source), packed):
        first, beside = fastser.loads(data)
        found = pick(first)
        assert np.array_equal(found, value)
        assert found.flags.writeable and not is_view(found, data)
        assert is_view(beside, data)
        found.flags.writeable = False
        found.flags.writeable = True
        found += 1
        assert np.array_equal(pick(fastser.loads(data)[0]), array())
        assert bytes(source) == before and np.array_equal(value, array())
        first, beside = fastser.loads(data, writable=False)
        assert is_view(pick(first), data) and not pick(first).flags.writeable and is_view(beside, data)
        first, beside = fastser.loads(data, writable=True)
        assert pick(first).flags.writeable and beside.flags.writeable
        assert not is_view(pick(first), data) and not is_view(beside, data)


@pytest.mark.parametrize("track_refs", [True, False])
@pytest.mark.parametrize("kind", CONTAINED)
def test_what_lies_in_containers_and_fields_is_a_view(kind, track_refs):
    wrap, pick = CONTAINED[kind]
    value = array()
    source = fastser.dumps(wrap(value), track_refs=track_refs)
    packed = fastser.pack(wrap(value), track_refs=track_refs)
    for data, writable in ((source, False), (bytearray(source), True), (packed, False)):
        found = pick(fastser.loads(data))
        assert np.array_equal(found, value)
        assert is_view(found, data) and found.flags.writeable is writable
        found = pick(fastser.loads(data, writable=False))
        assert is_view(found, data) and not found.flags.writeable
        found = pick(fastser.loads(data, writable=True))
        assert not is_view(found, data) and found.flags.writeable
        found += 1
        assert np.array_equal(pick(fastser.loads(data)), array())


def test_a_large_one_is_copied_whole():
    # Beyond what is copied while other threads wait.
    value = Model(array(300_000), [array(100_000, 5.0)])
    source = fastser.dumps(value)
    found = fastser.loads(source)
    assert np.array_equal(found.parts[0], value.parts[0]) and np.array_equal(found.parts[1][0], value.parts[1][0])
    assert not is_view(found.parts[0], source)


def test_memory_that_reducers_ask_for_is_a_copy():
    # What pickle would bring back as a bytearray.
    for size in (10, 5000):
        data = bytearray(range(256)) * (size // 256 + 1)
        source = fastser.dumps([Model(pickle.PickleBuffer(data)), Model(memoryview(data)), Model(bytearray(data))])
        for found in fastser.loads(source):
            view = memoryview(found.parts[0])
            assert view == data and not view.readonly
            view[0] = 77
            assert not np.shares_memory(np.frombuffer(view, np.uint8), np.frombuffer(source, np.uint8))
        assert [memoryview(found.parts[0]) == data for found in fastser.loads(source)] == [True] * 3


# --- in containers and in what is made -----------------------------------------------------------------------------------


def shared(around):
    """Objects that hold an array and objects made of it, and how to get both; another array that nothing is made of."""
    a, other = array(), array(start=7.0)
    return around(a, other)


def held_by_both(a, b):
    assert a.flags.writeable and b.flags.writeable
    a[3] = -5
    assert b[3] == -5


BOTH = {
    "before": (lambda a: [a, Model(a)], lambda f: (f[0], f[1].parts[0])),
    "behind": (lambda a: [Model(a), a], lambda f: (f[1], f[0].parts[0])),
    "in a state": (lambda a: [a, Stated(a=[a])], lambda f: (f[0], f[1].a[0])),
    "view": (lambda a: [a, Model(a.view("i8"))], lambda f: (f[0].view("i8"), f[1].parts[0])),
    "reshaped behind": (lambda a: [Model(a.reshape(10, -1)), a], lambda f: (f[1], f[0].parts[0].reshape(-1))),
    "strided": (lambda a: (lambda b: [b, Model(b)])(np.repeat(a, 2)[::2]), lambda f: (f[0], f[1].parts[0])),
    "two models": (lambda a: [Model(a), a, Stated(a=a)], lambda f: (f[1], f[2].a)),
    "many models": (lambda a: [a, [Model(a, i) for i in range(50)]], lambda f: (f[0], f[1][33].parts[0])),
    "list": (lambda a: (lambda b: [b, Model(b)])([a]), lambda f: (f[0][0], f[1].parts[0][0])),
    "lists": (lambda a: (lambda b: [*b, [Model(one) for one in b]])([[a, i] for i in range(40)]), lambda f: (f[0][0], f[-1][9].parts[0][0])),
    "dict": (lambda a: (lambda b: [b, Stated(b=b)])({"x": (a,)}), lambda f: (f[0]["x"][0], f[1].b["x"][0])),
    "fields": (lambda a: (lambda b: [b, Model(b)])(Plain(a={1: a})), lambda f: (f[0].a[1], f[1].parts[0].a[1])),
    "slots": (lambda a: (lambda b: [b, Model(b)])(Slots(a)), lambda f: (f[0].a, f[1].parts[0].a)),
    "row": (lambda a: (lambda b: [b, Model(b)])(Row(1, a)), lambda f: (f[0].b, f[1].parts[0].b)),
    "object array": (lambda a: (lambda b: [b, Model(b)])(np.array([None, a], object)), lambda f: (f[0][1], f[1].parts[0][1])),
    "ordered": (lambda a: (lambda b: [b, Model(b)])(collections.OrderedDict(x=a)), lambda f: (f[0]["x"], f[1].parts[0]["x"])),
    "defaultdict": (lambda a: (lambda b: [b, Model(b)])(collections.defaultdict(int, x=a)), lambda f: (f[0]["x"], f[1].parts[0]["x"])),
    "deque": (lambda a: (lambda b: [b, Model(b)])(collections.deque([a])), lambda f: (f[0][0], f[1].parts[0][0])),
    "namespace": (lambda a: (lambda b: [b, Model(b)])(types.SimpleNamespace(x=a)), lambda f: (f[0].x, f[1].parts[0].x)),
    "set of instances": (lambda a: (lambda b: [b, Model(b)])({Plain(a=a)}), lambda f: (next(iter(f[0])).a, next(iter(f[1].parts[0])).a)),
    "around, before": (lambda a: (lambda b: b.extend([a, Stated(b=b)]) or b)([]), lambda f: (f[0], f[1].b[0])),
    "around, behind": (lambda a: (lambda b: b.extend([Stated(b=b), a]) or b)([]), lambda f: (f[1], f[0].b[1])),
    "instance around, behind": (lambda a: (lambda b: vars(b).update(m=Stated(b=b), a=a) or b)(Plain()), lambda f: (f.a, f.m.b.a)),
}


@pytest.mark.parametrize("kind", BOTH)
def test_an_array_in_a_container_and_in_what_is_made_is_one_copy(kind):
    wrap, pick = BOTH[kind]
    a, other = array(), array(start=7.0)
    value = [other, wrap(a), [other]]
    source = fastser.dumps(value)
    for data in (source, bytearray(source), fastser.pack(value)):
        first, found, (last,) = fastser.loads(data)
        here, there = pick(found)
        assert np.array_equal(here.view("f8"), array())
        assert np.shares_memory(here, there)
        assert not is_view(here, data)
        held_by_both(here.view("f8"), there.view("f8"))
        # What nothing is made of stays a view.
        assert first is last and is_view(first, data)
        assert np.array_equal(other, array(start=7.0)) and np.array_equal(a, array())
        here, there = pick(fastser.loads(data, writable=False)[1])
        assert is_view(here, data) and is_view(there, data)
        held_by_both(*pick(fastser.loads(data, writable=True)[1]))


def test_views_share_memory_whatever_they_are():
    a = array()
    for writable, is_writable in ((None, False), (True, True), (False, False)):
        one, two, three = fastser.loads(fastser.dumps([a, a.view("u1"), a.reshape(10, 100)]), writable=writable)
        assert np.shares_memory(one, two) and np.shares_memory(one, three)
        assert one.flags.writeable is two.flags.writeable is three.flags.writeable is is_writable
    small = np.arange(5)
    one, two = fastser.loads(fastser.dumps([small, small.view("u1")]))
    two[0] = 99
    assert one[0] == 99


def test_trees_share_nothing():
    a = array()
    source = fastser.dumps([a, Model(a)], track_refs=False)
    found, model = fastser.loads(source)
    assert is_view(found, source) and not found.flags.writeable
    assert model.parts[0].flags.writeable and not np.shares_memory(found, model.parts[0])
    for kept in (None, True, False):
        one, other = fastser.loads(fastser.dumps([lambda: (a, a[:]), lambda: a], track_refs=False), writable=kept)
        assert np.shares_memory(*one()) and not np.shares_memory(one()[0], other())
        assert np.array_equal(one()[0], a) and np.array_equal(other(), a)


def test_a_table_that_is_written_as_columns_is_read_whatever_its_arrays_are_for():
    pa = pytest.importorskip("pyarrow")
    a, b = np.arange(1000), array()
    frame = fastser.dumps({"a": a, "b": b})
    assert pa.table(fastser.to_arrow(frame))["a"].to_numpy().tolist() == a.tolist()
    # The kind of body that is a copy stands where the others do.
    columns = {"a": a, "b": b}
    held = fastser.dumps([columns, Model(columns)])
    assert fastser.loads(held)[0]["a"].flags.writeable
    marked = build(RECORDS, 0, 1, ARRAY, 8, 0, 1, 1000, COPY, text=["a"], buffers=[a.tobytes()])
    assert pa.table(fastser.to_arrow(marked))["a"].to_numpy().tolist() == a.tolist()


# --- where a reader gets them from -----------------------------------------------------------------------------------------


def test_rows():
    pa = pytest.importorskip("pyarrow")
    objects = [{"x": array(), "m": Model(array())}, {"small": np.arange(3)}]
    table = pa.table(fastser.pack_many(objects))
    for writable in (None, True, False):
        first, second = fastser.loads_many(table, writable=writable)
        expected = (False, True, True) if writable is None else (writable,) * 3
        assert (first["x"].flags.writeable, first["m"].parts[0].flags.writeable, second["small"].flags.writeable) == expected
        if writable is not False:
            first["m"].parts[0][0] = 5
        row = fastser.loads(pa.array(fastser.pack(objects[0])), writable=writable)
        assert (row["x"].flags.writeable, row["m"].parts[0].flags.writeable) == expected[:2]
    again, _ = fastser.Serializer(writable=True).loads_many(table)
    assert again["m"].parts[0][0] == 0 and again["x"].flags.writeable
    with pytest.raises(TypeError, match="writable must be None, True or False"):
        fastser.loads_many(table, writable="c")


def test_arrow_data_stays_a_view_and_is_copied_with_all():
    pa = pytest.importorskip("pyarrow")
    column = pa.array(range(1000))
    for value, pick in (([column], lambda found: found[0]), (Model(column), lambda found: found.parts[0])):
        source = fastser.dumps(value)
        address = np.frombuffer(source, np.uint8).ctypes.data
        for writable in (None, True, False):
            found = pick(fastser.loads(source, writable=writable))
            assert found.equals(column)
            assert (0 <= found.buffers()[1].address - address < len(source)) is (writable is not True)


def test_safe_loading():
    source = fastser.dumps([array(), Plain(a=array()), np.arange(3)])
    for allow in ([Plain], [samples.Plain, Plain]):
        found, plain, small = fastser.loads(source, safe=True, allow=allow)
        assert is_view(found, source) and is_view(plain.a, source) and small.flags.writeable
        found, plain, small = fastser.loads(source, safe=True, allow=allow, writable=True)
        assert found.flags.writeable and plain.a.flags.writeable and small.flags.writeable
    with pytest.raises(fastser.UnsafeDataError):
        fastser.loads(fastser.dumps(Model(array())), safe=True, writable=True)


def test_a_buffer_may_die_when_all_is_copied():
    for value in ([array(), "text" * 3000, b"x" * 9000, bytearray(9000), Model(array()), np.arange(3)], array(), [np.arange(5) + i for i in range(500)]):
        source = bytearray(fastser.dumps(value))
        found = fastser.loads(source, writable=True)
        source[:] = bytes(len(source))
        source.clear()  # nothing exports it
        assert fastser.dumps(found) == fastser.dumps(value)


def test_options():
    frame = fastser.dumps([array()])
    assert fastser.Serializer(writable=True).loads(frame)[0].flags.writeable
    assert not fastser.Serializer(writable=False).loads(bytearray(frame))[0].flags.writeable
    assert repr(fastser.Serializer(writable=False)).count("writable=False") == 1
    assert pickle.loads(pickle.dumps(fastser.Serializer(writable=True))) == fastser.Serializer(writable=True)
    for wrong in (0, 1, "r", np.True_, []):
        with pytest.raises(TypeError, match="writable must be None, True or False"):
            fastser.loads(frame, writable=wrong)
        with pytest.raises(TypeError, match="writable must be None, True or False"):
            fastser.Serializer(writable=wrong)


# --- what it takes -------------------------------------------------------------------------------------------------------


def peak_of(action):
    tracemalloc.start()
    try:
        result = action()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


def test_each_body_is_copied_once():
    a = array(100_000)
    values = {
        "references": [a] * 200 + [Model(a) for _ in range(200)] + [[a.view("i8")] for _ in range(200)],
        "parts": [a, *(Model(a, [a], {"a": a.view("u1")}) for _ in range(100)), a.reshape(100, -1)],
    }
    for value in values.values():
        source = fastser.dumps(value)
        assert len(source) < 1.1 * a.nbytes
        for writable, copies in ((None, 1), (True, 1), (False, 0)):
            peak, found = peak_of(lambda: fastser.loads(source, writable=writable))
            assert copies * a.nbytes <= peak < (copies + 0.3) * a.nbytes
            assert found[0] is found[1] or value is values["parts"]


def test_all_copies_are_one_block():
    value = [array(50_000), "x" * 1_000_000, b"y" * 1_000_000, Model(array(50_000)), np.arange(50_000)]
    source = fastser.dumps(value)
    peak, found = peak_of(lambda: fastser.loads(source, writable=True))
    arrays = [found[0], found[3].parts[0], found[4]]
    assert len({id(one.base) for one in arrays}) == 1
    assert all(one.__array_interface__["data"][0] % 64 == 0 for one in arrays)
    assert peak < 2.1 * len(source)  # text and bytes are made of the frame itself, but have room in the block
    assert fastser.loads(fastser.dumps([1, "text"]), writable=True) == [1, "text"]


@pytest.mark.parametrize("value", [[[array(200_000)] for _ in range(6)], [Model(array(200_000), [i]) for i in range(6)]], ids=["lists", "models"])
def test_other_threads_see_nothing_half_made(value):
    source = fastser.dumps([value, [1, 2, 3], (4, value)])
    stop = threading.Event()
    seen = []

    def look():
        while not stop.is_set():
            for found in gc.get_objects():
                if type(found) in (list, tuple) and 0 < len(found) < 20:
                    seen.append(type(found[0]))
            seen.clear()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(10):
            found = fastser.loads(source, writable=True)
            assert found[1] == [1, 2, 3] and found[2][1] is found[0]
            fastser.loads(source)
    finally:
        stop.set()
        thread.join()
    assert gc.isenabled()

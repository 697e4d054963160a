"""Nothing leaks, nothing is held longer than promised, and the users' objects are as they were."""

import datetime as dt
import decimal
import gc
import io
import math
import pickle
import sys
import tracemalloc
import uuid
import weakref
import zoneinfo

import numpy as np
import pytest
from caches import clear_caches

import fastser


class Point:
    def __init__(self, x):
        self.x = x


class Broken:
    def __reduce__(self):
        raise ValueError("on purpose")


def cyclic():
    root = [1, "x"]
    root.append([root, {"root": root}])
    return root


def objects(*items):
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array


# What takes each path through the packer, made anew on every call.
MAKE = {
    "ints": lambda: [10**6 + i for i in range(100)],
    "big ints": lambda: [2**70 + i for i in range(100)],
    "floats": lambda: [i / 7 for i in range(100)],
    "complex": lambda: [complex(i, i) for i in range(20)],
    "texts": lambda: [f"text {i}" for i in range(100)],
    "other texts": lambda: [f"é {i}" for i in range(100)] + ["\ud800", "日" * 5000, "\udcff" * 1400, "x" * 5000],
    "repeated texts": lambda: [f"text {i % 5}" for i in range(100)] + ["again"] * 50,
    "bytes": lambda: [b"%d" % i for i in range(100)] + [b"x" * 5000, bytearray(b"y"), bytearray(5000)],
    "bools and None": lambda: [True, False, None] * 30,
    "nullable": lambda: [None if i % 3 else i / 7 for i in range(100)],
    "mixed": lambda: [1.5, 10**6, "text", None, b"b", (1,), [2]] * 20,
    "lists": lambda: [[i, [i]] for i in range(50)],
    "ragged": lambda: [[str(i)] * (i % 5) for i in range(50)],
    "rows": lambda: [(10**6 + i, str(i), i / 7) for i in range(50)],
    "tuples": lambda: [((i,), ()) for i in range(50)],
    "sets": lambda: [{10**6 + i, str(i)} for i in range(50)] + [frozenset([(i,)]) for i in range(20)],
    "records": lambda: [{"a": 10**6 + i, "b": str(i), "c": [i]} for i in range(50)],
    "variants": lambda: [{f"k{i % 7}": i, "all": [i]} for i in range(70)],
    "many shapes": lambda: [{f"k{i}": i} for i in range(400)],
    "dicts": lambda: [{(i, "x"): i, i: str(i)} for i in range(20)],
    "wide dict": lambda: {f"key {i}": [i] for i in range(500)},
    "message": lambda: {"id": 10**6, "name": "é", "tags": ["a", "b"], "at": 1.5, "parent": None},
    "shared": lambda: [x := [[i] for i in range(50)], x, x[::-1], {"a": x[0]}],
    "indexed": lambda: [r[i % 5] for r in [[{"a": j} for j in range(5)]] for i in range(100)],
    "cycles": cyclic,
    "cycles in runs": lambda: [cyclic() for _ in range(20)],
    "shared keys": lambda: [t := (1, "x"), {t: t}, ({t}, t), frozenset([t])],
    "times": lambda: [dt.datetime(2020, 1, 1 + i % 28, tzinfo=dt.timezone(dt.timedelta(hours=1), "n")) for i in range(20)] + [dt.date(2020, 1, 1), dt.time(1), dt.timedelta(1), dt.timedelta.max, zoneinfo.ZoneInfo("UTC")],
    "decimals": lambda: [decimal.Decimal(i) / 7 for i in range(20)],
    "uuids": lambda: [uuid.UUID(int=10**20 + i) for i in range(20)],
    "ranges": lambda: [range(10**6, 10**7), slice(10**6, None, 2), slice([1], "x")] * 10,
    "arrays": lambda: [np.arange(1000), np.arange(3), np.arange(2000)[::2], np.zeros((30, 40), order="F"), np.zeros(0)],
    "many arrays": lambda: [np.arange(10) for _ in range(50)],
    "aliases": lambda: [a := np.arange(1000), a[:], a[:10], a],
    "structured": lambda: [np.zeros(3, [("a", "i1"), ("b", "f8", (2,))]), np.zeros(3, [("a", "i1"), ("b", "f8", (2,))])[0]],
    "objects": lambda: [objects([1], "x", None), objects(*range(10**6, 10**6 + 50))],
    "strings": lambda: np.array(["a", "é" * 100, "b"], np.dtypes.StringDType()),
    "scalars": lambda: [np.float32(i) for i in range(20)] + [np.str_("é"), np.datetime64("2020-01-01")],
    "foreign": lambda: [Point([1]), {"a": Point("x")}, Point(np.arange(1000))],
    "foreign among others": lambda: [[{"a": i, "b": [i]} for i in range(20)], Point(1), ["text"] * 50, {(1, 2): [3]}, (1, [2]), {4}, objects([1])],
    "deep": lambda: [[[[[[[[(([{"a": [{1: 2}]}],),)]]]]]]]],
}


def everything(value):
    """All ways through, errors included."""
    for track_refs in (True, False):
        try:
            frame = fastser.dumps(value, track_refs=track_refs)
        except fastser.DepthError:
            continue
        fastser.loads(frame)
        fastser.loads(bytearray(frame))
        fastser.loads(memoryview(bytearray(b"x" + frame))[1:])
        packed = fastser.pack(value, track_refs=track_refs)
        fastser.loads(packed)
        packed.buffers()
        for length in range(0, len(frame), max(1, len(frame) // 7)):
            fails(fastser.loads, frame[:length])
        broken = bytearray(frame)
        for position in range(16, len(frame), max(1, len(frame) // 23)):
            broken[position] ^= 0xFF
            fails(fastser.loads, broken, safe=True)
            broken[position] ^= 0xFF
        for depth in range(5):
            fails(fastser.dumps, value, track_refs=track_refs, max_depth=depth)
            fails(fastser.loads, frame, max_depth=depth)
        fails(fastser.dumps, [value, Broken()], track_refs=track_refs)
        fails(fastser.dumps, {"a": value, "b": [value, {"c": Broken()}]}, track_refs=track_refs)
        fails(fastser.dumps, [value, Point(1)], track_refs=track_refs, fallback=None)
        fastser.dump(value, io.BytesIO(), track_refs=track_refs)


def fails(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except (fastser.FastserError, EOFError):
        pass


SHARED = [
    *(None, True, False, ..., NotImplemented, (), "", b"", dict, list, np.ndarray, fastser.Packed, Point),
    *(dt.timezone.utc, dt.timezone, decimal.Decimal, zoneinfo.ZoneInfo("UTC"), uuid.SafeUUID.unknown),
    *map(np.dtype, ("f8", "i8", "O")),
]


def state():
    gc.collect()
    clear_caches()  # they keep the names of attributes that were looked for
    return [tracemalloc.get_traced_memory()[0], *map(sys.getrefcount, SHARED)]


@pytest.mark.parametrize("kind", MAKE)
def test_no_memory_is_lost(kind):
    """Repeating everything leaves as much memory, and as many references to what everybody shares, as before."""
    value = MAKE[kind]()
    growths = []
    tracemalloc.start()
    try:
        for _ in range(6):
            before = state()
            for _ in range(3):
                everything(value)
            growths.append([new - old for old, new in zip(before, state())])
            # What fills caches of the interpreter's does not come again and again; what leaks does.
            least = [min(growth) for growth in zip(*growths)]
            if least[0] < 200 and all(growth < 3 for growth in least[1:]):
                return
    finally:
        tracemalloc.stop()
    pytest.fail(f"{least[0]} bytes and {[(item, growth) for item, growth in zip(SHARED, least[1:]) if growth >= 3]} in 3 rounds")


@pytest.mark.parametrize("kind", MAKE)
def test_sources_are_held_no_longer(kind):
    """Reference counts of all parts are as before, once what packed them is gone."""
    value = MAKE[kind]()
    parts = all_parts(value)
    for function in (fastser.dumps, fastser.pack, lambda value: fastser.dumps(value, track_refs=kind.startswith("cycle")), lambda value: fastser.loads(fastser.dumps(value)), lambda value: fastser.loads(fastser.pack(value)), lambda value: fails(fastser.dumps, [value, Broken()]), lambda value: fails(fastser.dumps, value, max_depth=1)):
        function(value)  # what fills caches does not come again
        gc.collect()
        counts = [sys.getrefcount(part) for part in parts]
        function(value)
        gc.collect()
        assert [sys.getrefcount(part) for part in parts] == counts


def all_parts(value):
    seen, work = {}, [value]
    while work:
        item = work.pop()
        # Small ints, short texts and what the interpreter keeps for ever belong to everybody.
        if id(item) in seen or isinstance(item, (int, type, type(None), type(...))) or (isinstance(item, (str, bytes, tuple)) and len(item) < 2):
            continue
        if sys.getrefcount(item) > 100_000:
            continue
        seen[id(item)] = item
        if isinstance(item, dict):
            work += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple, set, frozenset)) or (isinstance(item, np.ndarray) and item.dtype == object):
            work += list(item)
    parts = list(seen.values())
    seen.clear()
    return parts


@pytest.mark.parametrize("kind", MAKE)
def test_copies_are_freed(kind):
    class List(list):
        pass

    made = fastser.loads(fastser.dumps(MAKE[kind]()))
    watched = [weakref.ref(part) for part in all_parts(made) if type(part) in (set, frozenset, np.ndarray, Point)]
    del made
    gc.collect()
    assert all(reference() is None for reference in watched)


def test_large_results_are_given_back():
    gc.collect()
    tracemalloc.start()
    try:
        for value in ([i / 7 for i in range(100_000)], [f"text {i}" for i in range(30_000)], {f"k{i}": [i] for i in range(20_000)}, [[i] for i in range(30_000)] * 2):
            fastser.loads(fastser.dumps(value))
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(2):
                fastser.loads(fastser.dumps(value))
                fastser.pack(value)
            assert abs(tracemalloc.get_traced_memory()[0] - before) < 10_000
    finally:
        tracemalloc.stop()


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_scratch_is_given_back():
    # Scratch memory is malloc's, which tracemalloc does not see.
    value = [i * 2**40 for i in range(500_000)]
    shared = [value, [str(i) for i in range(100_000)]]
    small = [[i] for i in range(1000)]
    for _ in range(2):
        fastser.dumps(shared), fastser.dumps([small] * 3)
    before = resident()
    for _ in range(5):
        fastser.dumps(shared)
        fails(fastser.dumps, [shared, Broken()])
        fastser.pack(shared)
    assert resident() - before < 20 << 20


# --- the users' objects -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["é", "é" * 10, "é" * 5000, "日本", "日" * 5000, "😀" * 3, "Ā" * 2000, "\ud800x", "a" * 5000, "ÿ" * 4096])
def test_no_encoded_copy_stays_on_texts(text):
    texts = ["".join((text[:1], text[1:], str(i))) for i in range(40)]
    sizes = [sys.getsizeof(item) for item in texts]
    for value in (texts[0], texts, {item: item for item in texts}, [{item: 1} for item in texts], [{texts[0]: item} for item in texts], [texts[0]] * 50, [*texts, None], [1, texts[0], Point(1), *texts], np.array(texts, object)):
        for track_refs in (True, False):
            frame = fastser.dumps(value, track_refs=track_refs)
            fastser.pack(value, track_refs=track_refs).to_bytes()
    assert [sys.getsizeof(item) for item in texts] == sizes
    found = fastser.loads(frame)
    del frame
    assert [sys.getsizeof(item) for item in found] == sizes


def test_sources_are_not_changed():
    for make in MAKE.values():
        value = make()
        before = pickle.dumps(value)
        fastser.dumps(value)
        fastser.pack(value).to_bytes()
        assert pickle.dumps(value) == before
    array = np.arange(10)
    array.flags.writeable = False
    fastser.dumps([array, array[::2]])
    assert not array.flags.writeable and array.base is None


def test_hashes_and_interning_are_left_alone():
    # The copies' keys may be shared with one another, not with the users' texts.
    key = "".join(("a key ", "of its own"))
    found = fastser.loads(fastser.dumps({key: 1}))
    assert list(found) == [key] and list(found)[0] is not key


# --- what pack holds ----------------------------------------------------------------------------------------------------


def test_a_bytearray_cannot_be_resized_while_a_pack_holds_it():
    for value in (bytearray(5000), [bytearray(5000)], {"a": [1, bytearray(5000)]}):
        array = value if isinstance(value, bytearray) else value[0] if isinstance(value, list) else value["a"][1]
        packed = fastser.pack(value)
        with pytest.raises(BufferError):
            array.append(1)
        array[3] = 7  # but changed, which changes the frame
        assert packed.to_bytes().count(b"\7") >= 1
        view = memoryview(packed.buffers()[0])
        del packed
        del view
        array.append(1)


def test_an_array_cannot_be_resized_while_a_pack_holds_it():
    array = np.arange(1000)
    packed = fastser.pack([array])
    with pytest.raises(ValueError):
        array.resize(2000)
    del packed
    array.resize(2000)


def test_pack_keeps_the_sources_alive():
    arrays = [np.arange(1000) + i for i in range(3)] + [np.arange(2000)[::2], np.asfortranarray(np.ones((30, 40)))]
    expected = [array.copy() for array in arrays]
    references = [weakref.ref(array) for array in arrays]
    packed = fastser.pack([arrays, "x" * 5000, b"y" * 5000])
    del arrays
    gc.collect()
    rubbish = [np.full(1000, -1) for _ in range(20)]
    found = fastser.loads(packed)
    for a, b in zip(expected, found[0]):
        assert (a == b).all()
    del packed, rubbish
    gc.collect()
    assert (found[0][0] == expected[0]).all()  # loaded arrays hold it on
    del found, a, b
    gc.collect()
    assert all(reference() is None for reference in references)


def test_dumps_holds_nothing():
    array, data, text = np.arange(1000), bytearray(5000), "".join(("x" * 3000, "y" * 3000))
    counts = [sys.getrefcount(item) for item in (array, data, text)]
    frame = fastser.dumps([array, array[::2], data, text, text])
    assert [sys.getrefcount(item) for item in (array, data, text)] == counts
    data.append(1)
    array.resize(2000, refcheck=False)
    assert fastser.loads(frame)[2] == bytearray(5000)


def test_loaded_arrays_hold_the_buffer_and_nothing_else():
    frame = fastser.dumps([np.arange(1000), np.arange(3), "text", [1]])
    count = sys.getrefcount(frame)
    found = fastser.loads(frame)
    assert sys.getrefcount(frame) > count
    del found[0]
    assert sys.getrefcount(frame) == count  # small ones are copies
    fastser.loads(frame)
    assert sys.getrefcount(frame) == count


def test_what_is_freed_with_the_thread():
    # The collector sees the containers that were made.
    found = fastser.loads(fastser.dumps([[], {}, ([],), cyclic(), Point([1])]))
    for part in all_parts(found):
        if isinstance(part, (list, Point)):
            assert gc.is_tracked(part)
    gc.collect()
    tracked = fastser.loads(fastser.dumps([cyclic() for _ in range(50)]))
    reference = weakref.ref(fastser.loads(fastser.dumps(Point(1))))
    assert reference() is None
    del tracked
    assert gc.collect() >= 50


def test_padding_is_zero():
    # What lies between the bodies is never what the memory held before.
    value = [np.full(600, 0xFF, "u1"), np.full(3, 0xFF, "u1"), b"\xff" * 5001, "x", 2**70, np.full(2, math.nan)]
    frames = set()
    for _ in range(20):
        rubbish = [bytes([i]) * len(frame) for frame in frames for i in range(1, 255, 7)]
        del rubbish
        frames.add(fastser.dumps(value))
        frames.add(fastser.pack(value).to_bytes())
        buffer = bytearray(b"\xaa" * fastser.pack(value).nbytes)
        fastser.pack(value).write_into(buffer)
        frames.add(bytes(buffer))
    assert len(frames) == 1

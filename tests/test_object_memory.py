"""Nothing of an object's way through leaks, whatever its plan and wherever it fails; and the users' objects are held no longer than that."""

import collections
import copyreg
import functools
import gc
import sys
import tracemalloc
import types
import weakref

import numpy as np
import pytest
import sample_objects as samples
from caches import clear_caches
from sample_objects import Colour, Frozen, FrozenSlots, Pair, Plain, Slots, put

import fastser


class Broken:
    def __reduce__(self):
        raise ZeroDivisionError("on purpose")


class BrokenState(Plain):
    def __getstate__(self):
        raise ZeroDivisionError("on purpose")


class Tripwire:
    """Fails to be rebuilt while it is armed."""

    armed = False

    def __setstate__(self, state):
        if Tripwire.armed:
            raise ZeroDivisionError("on purpose")
        self.__dict__.update(state)


class Hooked:
    """Packed by functions that are registered for it; they fail while `Tripwire` is armed."""

    def __init__(self, a=None, b=None):
        self.a, self.b = a, b


def encode_hooked(obj):
    return [obj.a, obj.b]


def decode_hooked(payload):
    if Tripwire.armed:
        raise ZeroDivisionError("on purpose")
    return Hooked(*payload)


def fails_to_encode(obj):
    raise ZeroDivisionError("on purpose")


def linked(make, n):
    """Instances that lead to themselves and to one another."""
    items = [make(i, None) for i in range(n)]
    for i, item in enumerate(items):
        put(item, b=[items[i - 1], item, {"all": items}])
    return items


def closure():
    shared = [1]
    return [lambda: shared, shared]


# What takes each plan, and each way through it, made anew on every call.
MAKE = {
    "fields": lambda: [Plain(10**6 + i, [str(i)]) for i in range(40)],
    "one instance": lambda: Plain(10**6, Plain("x", [Plain(2.5)])),
    "slots": lambda: [Slots(10**6 + i, str(i)) for i in range(40)] + [samples.OneSlot()],
    "slots and dict": lambda: [samples.SlotsAndDict(10**6 + i, [i]) for i in range(40)],
    "frozen": lambda: [Frozen(i, FrozenSlots(i, (i,))) for i in range(40)],
    "optional fields": lambda: [samples.Bag(**{f"f{j}": str(i) for j in range(i % 5)}) for i in range(40)],
    "wide": lambda: [samples.Bag(**{f"f{j}": [j] for j in range(300)}) for i in range(3)],
    "odd keys": lambda: [put_items(Plain(i), {i: i, (i, "x"): [i]}) for i in range(10)],
    "mixed classes": lambda: [[Plain, Slots, Frozen, samples.Child, Pair][i % 5](i, [i]) for i in range(50)],
    "rows": lambda: [Pair(10**6 + i, [str(i)]) for i in range(40)] + [samples.SlimPair(1, 2)],
    "cycles of fields": lambda: linked(Plain, 20),
    "cycles of slots": lambda: linked(Slots, 20),
    "cycles of states": lambda: linked(lambda a, b: put(samples.SetState(), a=a), 5),
    "shared": lambda: [x := [Plain(i, [i]) for i in range(20)], x[::-1], [Slots(item, x) for item in x]],
    "its dict": lambda: [[x, vars(x), [vars(x)]] for x in [Plain(i, [i]) for i in range(10)]],
    "references": lambda: [samples.function, Plain, len, samples.Outer.Inner, collections.OrderedDict, np.sin] * 10,
    "enum members": lambda: [Colour.RED, Colour.GREEN, samples.Level.LOW, samples.Mode.BOTH] * 10,
    "bound methods": lambda: [x := samples.Calls([1]), x.method, [1].append, samples.Calls.class_method],
    "reduce": lambda: [put(samples.Reduced(10**6 + i), b=[i]) for i in range(10)],
    "state setter": lambda: [put(samples.WithSetter(), a=[i], b=i) for i in range(10)],
    "newargs": lambda: [put(samples.NewArgs([i]), b=i) for i in range(10)] + [put(samples.NewArgsEx(a=[1]), b=2)],
    "list items and dict items": lambda: [collections.OrderedDict(a=[1]), collections.deque([[1], 2], 5), collections.Counter("abca"), collections.defaultdict(list, a=[1]), samples.List(1, [2]), samples.Dict(1, [2])] * 3,
    "built-ins' subclasses": lambda: [kind(10**6, [1]) for kind in (samples.Text, samples.Int, samples.Float, samples.Bytes, samples.ByteArray, samples.Tuple, samples.FrozenSet, samples.Set)],
    "registered with copyreg": lambda: [put(samples.Registered(i), b=[i]) for i in range(10)],
    "temporaries": lambda: [samples.Temporary([i], (i, "x")) for i in range(20)],
    "exceptions": lambda: [samples.Problem("message", [1]), ValueError([2]), OSError(2, "x")],
    "parents": lambda: [put(x, child=samples.ChildOf(x)) for x in [samples.Bag() for _ in range(5)]],
    "a name": lambda: [samples.NAMED, [samples.NAMED] * 5],
    "partial": lambda: [functools.partial(samples.function, [1], y=[2]), types.SimpleNamespace(a=[1])],
    "by value": closure,
    "buffers": lambda: [Plain(np.arange(1000), np.arange(3)), put(samples.SetState(), a=np.arange(1000)), memoryview(bytearray(3000)), types.SimpleNamespace(a=np.arange(2000.0)[::2])],
    "hooks": lambda: [Hooked([i], Hooked(i, "x")) for i in range(20)],
    "tripwire": lambda: [Plain([1], put(Tripwire(), a=[2])), put(Tripwire(), a=[Pair([3], 4)])],
    "keys and members": lambda: [{samples.Keyed(i, (i,)): [i] for i in range(20)}, {Frozen(i, (i,)) for i in range(20)}, frozenset([Pair(1, (2,))])],
    "object arrays": lambda: np.array([Plain(i, [i]) if i % 2 else None for i in range(20)], object),
    "deep": lambda: Plain(1, [Slots(2, {"x": Pair(3, put(samples.SetState(), a=Plain(4, samples.List([5]))))})]),
}


def put_items(obj, items):
    vars(obj).update(items)
    return obj


def everything(value):
    """All ways through, failing halfway included."""
    for track_refs in (True, False):
        for serializer in SERIALIZERS:
            try:
                frame = serializer.dumps(value, track_refs=track_refs)
            except fastser.FastserError:
                continue
            serializer.loads(frame)
            serializer.loads(bytearray(frame))
            serializer.loads(serializer.pack(value, track_refs=track_refs))
            fails(serializer.loads, frame, safe=True)
            fails(serializer.loads, frame, safe=True, allow=[Plain, Slots, Pair, "sample_objects.Frozen"])
            # At the end of everything, a class that is not there, and state that is refused.
            fails(serializer.loads, frame[: len(frame) // 2])
            Tripwire.armed = True
            fails(serializer.loads, frame)
            Tripwire.armed = False
            fails(serializer.loads, serializer.dumps([value, put(Tripwire(), a=value)], track_refs=track_refs).replace(b"Tripwire", b"TripWire"))
            for name in (b"sample_objects", b"Plain", b"Slots", b"Pair", b"SetState", b"OrderedDict", b"Reduced"):
                if name in frame:
                    fails(serializer.loads, frame.replace(name, name.upper()))
            broken = bytearray(frame)
            for position in range(16, len(frame), max(1, len(frame) // 9)):
                broken[position] ^= 0xFF
                fails(serializer.loads, broken, safe=True, allow=[Plain, Slots, Pair, Frozen, FrozenSlots, samples.Bag, samples.SlotsAndDict])
                broken[position] ^= 0xFF
            for depth in (1, 3):
                fails(serializer.dumps, value, track_refs=track_refs, max_depth=depth)
                fails(serializer.loads, frame, max_depth=depth)
            for obstacle in (Broken(), BrokenState(1), Plain([1], Broken()), Slots(Pair(1, Broken())), put(samples.SetState(), a=Broken()), samples.BareList([Broken()]), {Broken()}, (i for i in range(3))):
                fails(serializer.dumps, [value, obstacle], track_refs=track_refs)
            fails(serializer.dumps, [Plain(i, value) for i in range(20)] + [Plain(1, Broken())], track_refs=track_refs)
            fails(serializer.dumps, value, track_refs=track_refs, fallback=None)
            fails(serializer.dumps, value, track_refs=track_refs, fallback="pickle")


class Options:
    """One way to call the functions: those of the package, or a serializer's."""

    def __init__(self, **options):
        self.options = options

    def make(self, options):
        serializer = fastser.Serializer(**options)
        serializer.register(Hooked, encode_hooked, decode_hooked, name="hooked")
        return serializer

    def dumps(self, value, **options):
        return self.make(options).dumps(value)

    def pack(self, value, **options):
        return self.make(options).pack(value)

    def loads(self, data, **options):
        return self.make(options).loads(data)


class Plainly:
    dumps, pack, loads = staticmethod(fastser.dumps), staticmethod(fastser.pack), staticmethod(fastser.loads)


SERIALIZERS = [Plainly, Options()]


def fails(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except (fastser.FastserError, EOFError):
        pass


SHARED = [
    *(None, True, ..., (), "", dict, list, tuple, object, type, Plain, Slots, Frozen, FrozenSlots, Pair, samples.SetState, samples.Reduced, samples.Bag),
    *(samples.List, samples.Text, Hooked, Tripwire, Broken, Colour, Colour.RED, samples.function, samples.NAMED, samples, collections.OrderedDict),
    *(copyreg.__newobj__, collections.deque, types.SimpleNamespace, functools.partial, samples.set_state, samples.reduce_registered, np.ndarray, np.dtype("f8")),
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
        for _ in range(20):  # up to Python 3.10 every function keeps a frame
            before = state()
            for _ in range(2):
                everything(value)
            growths.append([new - old for old, new in zip(before, state())])
            # What fills caches of the interpreter's does not come again and again; what leaks does, and what is freed too early.
            least = [min(growth, key=abs) for growth in zip(*growths)]
            if least[0] < 200 and all(abs(growth) < 2 for growth in least[1:]):
                return
    finally:
        tracemalloc.stop()
    pytest.fail(f"{least[0]} bytes and {[(item, growth) for item, growth in zip(SHARED, least[1:]) if abs(growth) >= 2]} in 2 rounds")


def all_parts(value):
    """Everything below that is somebody's own: containers, instances, their dicts and fields."""
    seen, work = {}, [value]
    while work:
        item = work.pop()
        if id(item) in seen or isinstance(item, (int, type, type(None), types.ModuleType, types.FunctionType, types.BuiltinFunctionType, Colour)):
            continue
        if isinstance(item, (str, bytes, tuple)) and len(item) < 2 or sys.getrefcount(item) > 100_000:
            continue
        seen[id(item)] = item
        work += [part for part in gc.get_referents(item) if gc.is_tracked(part)]
    parts = list(seen.values())
    seen.clear()
    return parts


@pytest.mark.parametrize("kind", [kind for kind in MAKE if kind not in ("by value", "enum members", "references", "a name")])
def test_sources_are_held_no_longer(kind):
    value = MAKE[kind]()
    fastser.dumps(value)
    parts = [part for part in all_parts(value) if type(part).__module__ in ("builtins", "sample_objects", __name__, "collections", "numpy")]
    counts = [sys.getrefcount(part) for part in parts]
    for function in (fastser.dumps, fastser.pack, lambda value: fastser.loads(fastser.dumps(value)), lambda value: fails(fastser.dumps, value, track_refs=False), lambda value: fails(fastser.dumps, [value, Broken()]), lambda value: fails(fastser.dumps, value, max_depth=1), lambda value: fails(fastser.dumps, value, fallback=None)):
        for _ in range(3):
            function(value)
        gc.collect()
        assert [sys.getrefcount(part) for part in parts] == counts


@pytest.mark.parametrize("kind", MAKE)
def test_copies_are_freed(kind):
    for track_refs in (True, False):
        try:
            made = fastser.loads(fastser.dumps(MAKE[kind](), track_refs=track_refs))
        except fastser.FastserError:
            continue
        watched = [weakref.ref(part) for part in all_parts(made) if type(part) in (Plain, samples.Bag, samples.SetState, samples.List, samples.Child, samples.SlotsAndDict, Hooked, set, np.ndarray)]
        assert watched or not isinstance(made, list) or type(made[0]) not in (Plain, samples.SetState)
        del made
        gc.collect()
        assert all(reference() is None for reference in watched)


def test_what_was_made_before_an_error_is_freed():
    class Watched(Plain):
        pass

    Watched.__module__, Watched.__qualname__ = "sample_objects", "Watched"
    samples.Watched = Watched
    value = [Watched(i, [Watched(i, "inner")]) for i in range(20)]
    frames = [fastser.dumps([*value, last]) for last in (put(Tripwire(), a=1), [put(Tripwire(), a=value[0])], Plain(1, Hooked(1)))]
    Tripwire.armed = True
    try:
        del value
        gc.collect()
        before = len([item for item in gc.get_objects() if type(item) is Watched])
        for frame in frames[:2]:
            for data in (frame, bytearray(frame), memoryview(frame)):
                with pytest.raises(fastser.DecodeError):
                    fastser.loads(data)
        gc.collect()
        assert len([item for item in gc.get_objects() if type(item) is Watched]) == before == 0
    finally:
        Tripwire.armed = False
        del samples.Watched


def test_instances_are_seen_by_the_collector():
    for make in (Plain, Slots, samples.SlotsAndDict, Frozen, FrozenSlots, samples.List, samples.Bag):
        found = fastser.loads(fastser.dumps([put(make(), a=[i]) for i in range(20)]))
        assert all(gc.is_tracked(item) for item in found)
        expected = [put(make(), a=[i]) for i in range(20)]
        if hasattr(expected[0], "__dict__"):
            # Python 3.13.0 leaves some dicts out that hold lists.
            assert all(gc.is_tracked(vars(a)) >= gc.is_tracked(vars(b)) for a, b in zip(found, expected))
    items = fastser.loads(fastser.dumps(linked(Plain, 50)))
    reference = weakref.ref(items[0])
    del items
    assert gc.collect() >= 50
    assert reference() is None


def test_instances_are_as_large_as_they_were():
    # Instances of one class share their dicts' keys, as those that __init__ made do.
    value = [Plain(i, i) for i in range(100)]
    found = fastser.loads(fastser.dumps(value))
    assert sum(sys.getsizeof(vars(item)) for item in found) <= sum(sys.getsizeof(vars(item)) for item in value) * 1.1


def test_finalizers_run_once():
    calls = []

    class Final:
        def __del__(self):
            calls.append(1)

    Final.__module__, Final.__qualname__ = "sample_objects", "Final"
    samples.Final = Final
    try:
        value = [put(Final(), a=i) for i in range(20)]
        frame = fastser.dumps(value)
        assert calls == []
        found = fastser.loads(frame)
        assert calls == []
        del found
        gc.collect()
        assert len(calls) == 20
        fails(fastser.loads, frame.replace(b"Final", b"FINAL"))
        with pytest.raises(fastser.DecodeError):
            fastser.loads(fastser.dumps([*value, put(Tripwire(), a=1)]).replace(b"Tripwire", b"TRIPWIRE"))
        gc.collect()
        assert len(calls) in (20, 40)  # made before the error was met, or not
    finally:
        value.clear()
        del samples.Final


def test_classes_are_held_no_longer():
    def use(**space):
        cls = type("Gone", (), {"__module__": "sample_objects", "__qualname__": "Gone", **space})
        samples.Gone = cls
        try:
            value = [put(cls(), a=[i]) for i in range(20)]
            fastser.loads(fastser.dumps(value))
            fastser.loads(fastser.dumps(value, track_refs=False))
            fastser.dumps([cls, value])
        finally:
            del samples.Gone
        return weakref.ref(cls)

    for space in ({}, {"__slots__": ("a",)}, {"__setstate__": lambda self, state: None}, {"__reduce__": lambda self: (Plain, (1,))}):
        references = [use(**space) for _ in range(3)]
        gc.collect()
        assert all(reference() is None for reference in references)

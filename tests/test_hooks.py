"""Hooks: objects packed as what their users' functions make of them, and rebuilt by those."""

import collections
import copy
import dataclasses
import enum
import gc
import io
import pickle
import sys
import threading
import traceback
import types
import weakref
from typing import NamedTuple

import numpy as np
import pytest

import fastser
from fastser import DecodeError, DepthError, EncodeError, Serializer, hooks


@pytest.fixture(autouse=True)
def forgotten():
    """What a test registers for the process is gone with it."""
    before = hooks.PROCESS._by_class
    yield
    hooks.PROCESS._by_class = before
    hooks.PROCESS._changed()


class Point:
    def __init__(self, x=0, y=0):
        self.x, self.y = x, y

    def __eq__(self, other):
        return type(other) is type(self) and (self.x, self.y) == (other.x, other.y)

    def __hash__(self):
        return hash((self.x, self.y))


class Point3(Point):
    pass


class Point4(Point3):
    pass


class Box:
    """Holds anything: what it holds is its payload."""

    def __init__(self, content=None):
        self.content = content


def to_pair(point):
    return point.x, point.y


def from_pair(pair):
    return Point(*pair)


def content(box):
    return box.content


def register_points(target=fastser, **options):
    target.register(Point, to_pair, from_pair, **options)


def boxes(**options):
    """A serializer that packs boxes as their contents."""
    serializer = Serializer(**options)
    serializer.register(Box, content, Box)
    return serializer


def roundtrip(obj, serializer=fastser):
    frame = serializer.dumps(obj)
    assert serializer.pack(obj).to_bytes() == frame
    return serializer.loads(frame)


class Calls:
    """A function that keeps what it was called with."""

    def __init__(self, function):
        self.function, self.arguments = function, []

    def __call__(self, argument):
        self.arguments.append(argument)
        return self.function(argument)


# --- the registry ------------------------------------------------------------------------------------------------------

NATIVE = [type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, slice]
NATIVE += [type(...), type(NotImplemented), np.ndarray, np.int64, np.float16, np.bool_, np.str_, np.datetime64, np.void, np.record, fastser.ArrowData]
NATIVE += [type(fastser.loads(fastser.dumps(value))) for value in (np.longlong(1), np.clongdouble(1), np.timedelta64(1, "s"))]


def natives():
    import datetime
    import decimal
    import uuid
    import zoneinfo

    modules = {datetime: "date time datetime timedelta timezone", decimal: "Decimal", uuid: "UUID", zoneinfo: "ZoneInfo"}
    return NATIVE + [getattr(module, name) for module, names in modules.items() for name in names.split()]


@pytest.mark.parametrize("cls", natives(), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("target", [fastser, Serializer()], ids=["process", "serializer"])
def test_native_types_have_no_hooks(cls, target):
    with pytest.raises(TypeError, match=f"{cls.__module__}.{cls.__qualname__} is a native type"):
        target.register(cls, str, str)


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((3, str, str), {}, TypeError, "cls must be a class, not 3"),
        (("Point", str, str), {}, TypeError, "cls must be a class, not 'Point'"),
        ((list[int], str, str), {}, TypeError, r"cls must be a class, not list\[int\]"),
        ((Point, 3, str), {}, TypeError, "encode must be callable, not 3"),
        ((Point, str, None), {}, TypeError, "decode must be callable, not None"),
        ((Point, str, str), {"name": 3}, TypeError, "name must be a str or None, not 3"),
        ((Point, str, str), {"name": enum.Enum("Names", {"POINT": "p"}, type=str).POINT}, TypeError, "name must be a str or None"),
        ((Point, str, str), {"name": ""}, ValueError, "name must be a str that is not empty"),
        ((Point, str, str), {"name": "box"}, ValueError, f"name='box' stands for {__name__}.Box already"),
        ((Point, str, str, "positional"), {}, TypeError, "positional"),
        ((Point, str), {}, TypeError, "decode"),
    ],
)
def test_wrong_arguments_change_nothing(arguments, options, error, message):
    fastser.register(Box, content, Box, name="box")
    fastser.register(Point, to_pair, from_pair)
    before = dict(hooks.PROCESS.by_name)
    with pytest.raises(error, match=message):
        fastser.register(*arguments, **options)
    assert hooks.PROCESS.by_name == before
    assert roundtrip(Point(1, 2)) == Point(1, 2)


def test_registering_again_replaces():
    register_points(name="old")
    frame = fastser.dumps(Point(1, 2))
    assert b"old" in frame
    fastser.register(Point, lambda point: point.y, lambda y: Point(0, y), name="new")
    assert b"new" in fastser.dumps(Point(1, 2))
    assert roundtrip(Point(1, 2)) == Point(0, 2)
    with pytest.raises(DecodeError, match="'old'"):
        fastser.loads(frame)


def test_a_class_made_anew_takes_the_place_of_the_old_one():
    # A module reloaded, a notebook's cell run again.
    for x in (1, 2):
        again = type("Point", (Point,), {"__module__": __name__, "__qualname__": "Point"})
        fastser.register(again, lambda point, x=x: x, lambda x: Point(x, x))
        assert roundtrip(again()) == Point(x, x)


def test_find():
    registry = hooks.Hooks()
    assert registry.find(Point) is None
    registry.add(Point, to_pair, from_pair)
    assert registry.find(Point) == hooks.Hook(Point, f"{__name__}.Point", to_pair, from_pair, False)
    assert registry.find(Point) is registry.found[id(Point)] is registry.by_name[f"{__name__}.Point"]
    assert registry.find(Point3) is None is registry.found[id(Point3)]


def test_changes_empty_what_was_found_and_keep_the_dicts():
    parent = hooks.Hooks()
    child = hooks.Hooks(parent)
    dicts = parent.found, parent.by_name, child.found, child.by_name
    assert child.find(Point) is None
    versions = parent.version, child.version
    parent.add(Point, to_pair, from_pair, "a")
    assert (parent.version, child.version) > versions and child.version > versions[1]
    assert child.found == {}
    assert child.find(Point).name == "a"
    assert set(child.by_name) == {"a"}
    child.add(Point, to_pair, from_pair, "b")
    assert child.find(Point).name == "b" and parent.find(Point).name == "a"
    assert set(child.by_name) == {"a", "b"} and set(parent.by_name) == {"a"}
    parent.add(Point, to_pair, from_pair, "c")
    assert set(child.by_name) == {"b", "c"}
    assert all(a is b for a, b in zip(dicts, (parent.found, parent.by_name, child.found, child.by_name), strict=True))


def test_a_name_taken_by_a_serializer_hides_the_hook_of_the_process():
    # Else what the serializer packs by one hook, it would read by the other.
    register_points(name="p")
    serializer = boxes()
    serializer.register(Box, content, Box, name="p")
    frame = serializer.dumps([Point(1, 2), Box(3)])
    point, box = serializer.loads(frame)
    assert point == Point(1, 2) and (type(box), box.content) == (Box, 3)


def test_a_registry_ends_with_its_serializer_and_keeps_no_classes():
    serializer = boxes()
    gone = [weakref.ref(serializer._hooks)]
    before = len(hooks.PROCESS._children)
    del serializer
    gc.collect()
    assert gone[0]() is None
    assert len(hooks.PROCESS._children) == before - 1


def test_what_is_remembered_of_classes_does_not_grow_for_ever(monkeypatch):
    monkeypatch.setattr(hooks, "_FOUND_LIMIT", 10)
    registry = hooks.Hooks()
    for i in range(100):
        registry.find(type(f"C{i}", (), {}))
        assert len(registry.found) <= 10


def test_a_lookup_that_a_change_overtakes_is_not_remembered(monkeypatch):
    registry = hooks.Hooks()
    search = hooks.Hooks._search

    def overtaken(self, cls):
        found = search(self, cls)
        monkeypatch.undo()
        self.add(Point, to_pair, from_pair)
        return found

    monkeypatch.setattr(hooks.Hooks, "_search", overtaken)
    assert registry.find(Point) is None
    assert id(Point) not in registry.found
    assert registry.find(Point) is not None


# --- which hook --------------------------------------------------------------------------------------------------------


def test_a_hook_is_for_its_exact_class():
    register_points()
    assert roundtrip(Point(1, 2)) == Point(1, 2)
    encode = Calls(to_pair)
    fastser.register(Point, encode, from_pair)
    assert roundtrip(Point3(1, 2)) == Point3(1, 2)  # by its fields
    assert encode.arguments == []


def test_a_hook_for_subclasses():
    fastser.register(Point, lambda p: (type(p).__name__, p.x, p.y), lambda t: globals()[t[0]](*t[1:]), subclasses=True)
    points = [Point(1, 2), Point3(3, 4), Point4(5, 6)]
    assert roundtrip(points) == points
    assert b"Point4" in fastser.dumps(points)
    assert fastser.dumps(Point4(1, 2)).count(f"{__name__}.Point".encode()) == 1  # the hook's name, not the class's


def named(name):
    return lambda obj: name, lambda payload: (name, payload)


def test_the_nearest_base_wins():
    fastser.register(Point, *named("point"), subclasses=True)
    assert roundtrip([Point(), Point3(), Point4()]) == [("point", "point")] * 3
    fastser.register(Point3, *named("point3"), subclasses=True)
    assert roundtrip([Point(), Point3(), Point4()]) == [("point", "point"), ("point3", "point3"), ("point3", "point3")]
    fastser.register(Point3, *named("point3"))
    assert roundtrip([Point(), Point3(), Point4()]) == [("point", "point"), ("point3", "point3"), ("point", "point")]
    fastser.register(Point4, *named("point4"))
    assert roundtrip([Point(), Point3(), Point4()]) == [("point", "point"), ("point3", "point3"), ("point4", "point4")]


def test_bases_are_looked_at_in_the_order_of_inheritance():
    class Left:
        pass

    class Right:
        pass

    class Both(Left, Right):
        pass

    serializer = Serializer()
    serializer.register(Right, *named("right"), subclasses=True)
    assert roundtrip(Both(), serializer) == ("right", "right")
    serializer.register(Left, *named("left"), subclasses=True)
    assert roundtrip(Both(), serializer) == ("left", "left")


def test_virtual_bases_are_no_bases():
    class Sized(collections.abc.Sized):
        pass

    Sized.register(Point)
    serializer = Serializer()
    serializer.register(Sized, *named("sized"), subclasses=True)
    assert roundtrip(Point(1, 2), serializer) == Point(1, 2)


def test_a_hook_for_object_is_for_all_that_is_not_native():
    serializer = Serializer()
    serializer.register(object, lambda obj: type(obj).__name__, lambda name: name.upper(), subclasses=True)
    values = [1, "a", [2.5], Point(), threading.Lock(), {"k": Box()}, np.arange(3).tolist()]
    assert roundtrip(values, serializer) == [1, "a", [2.5], "POINT", "LOCK", {"k": "BOX"}, [0, 1, 2]]


# --- names in the frame ------------------------------------------------------------------------------------------------


def test_the_name_travels_in_the_frame():
    register_points()
    assert f"{__name__}.Point".encode() in fastser.dumps(Point(1, 2))
    register_points(name="a point, ключ \U0001f600")
    assert "a point, ключ \U0001f600".encode() in fastser.dumps(Point(1, 2))
    assert __name__.encode() not in fastser.dumps(Point(1, 2))
    assert roundtrip(Point(1, 2)) == Point(1, 2)


def test_the_name_decides_what_reads_it():
    writer, reader = Serializer(), Serializer()
    writer.register(Point, to_pair, from_pair, name="point")
    reader.register(Box, content, tuple, name="point")
    assert reader.loads(writer.dumps([Point(1, 2)])) == [(1, 2)]


@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_reader_without_the_hook_is_told_its_name(count):
    writer = Serializer()
    register_points(writer, name="geometry/point")
    frame = writer.dumps({"a": [Point(i, i) for i in range(count)]})
    for load in (fastser.loads, Serializer().loads, lambda data: fastser.load(io.BytesIO(data))):
        with pytest.raises(DecodeError, match="'geometry/point'") as caught:
            load(frame)
        assert "register" in str(caught.value)


# --- errors of hooks ---------------------------------------------------------------------------------------------------


def fails(_):
    raise ZeroDivisionError("as it must")


@pytest.mark.parametrize("wrap, path", [(lambda x: x, "$"), (lambda x: {"a": [1, x]}, "$.a[1]"), (lambda x: [Bag(f=x)], "$[0].f")])
@pytest.mark.parametrize("function", ["dumps", "pack"])
def test_what_encode_raises_is_the_cause(wrap, path, function):
    fastser.register(Point, fails, from_pair)
    with pytest.raises(EncodeError) as caught:
        getattr(fastser, function)(wrap(Point()))
    assert f"{__name__}.Point at {path}:" in str(caught.value)
    assert "ZeroDivisionError: as it must" in str(caught.value)
    check_cause(caught.value)


class Bag:
    def __init__(self, **fields):
        self.__dict__.update(fields)


def check_cause(error):
    assert type(error.__cause__) is ZeroDivisionError
    assert "fails" in [frame.name for frame in traceback.extract_tb(error.__cause__.__traceback__)]


def test_what_decode_raises_is_the_cause():
    fastser.register(Point, to_pair, fails, name="the point")
    frame = fastser.dumps([Box(1), Point(), Point()])
    with pytest.raises(DecodeError, match="'the point'") as caught:
        fastser.loads(frame)
    assert type(caught.value) is DecodeError
    assert "ZeroDivisionError: as it must" in str(caught.value)
    check_cause(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_error_comes_through(error):
    def interrupted(_):
        raise error

    fastser.register(Point, interrupted, from_pair)
    with pytest.raises(error):
        fastser.dumps([1, Point()])
    fastser.register(Point, to_pair, interrupted)
    with pytest.raises(error):
        fastser.loads(fastser.dumps([1, Point()]))


def test_what_encode_returns_may_be_refused():
    fastser.register(Box, content, Box)
    with pytest.raises(EncodeError, match="generator") as caught:
        fastser.dumps({"a": [Box([1, (i for i in [])])]})
    assert "$.a[0]" in str(caught.value)
    with pytest.raises(EncodeError, match="lambda"):
        boxes(fallback="pickle").dumps([Box(lambda: 1)])


def test_hooks_need_no_fallback():
    serializer = boxes(fallback=None)
    assert roundtrip(Box([1, 2]), serializer).content == [1, 2]


def test_after_an_error_everything_goes_on():
    fastser.register(Point, fails, from_pair)
    frame = fastser.dumps([1, Box("a")])
    for _ in range(20):
        with pytest.raises(EncodeError):
            fastser.dumps([[1, 2], "text", Box(1), {"a": Point()}])
        assert fastser.dumps([1, Box("a")]) == frame


# --- payloads ----------------------------------------------------------------------------------------------------------

PAYLOADS = [
    None, 0, 2**70, -1.5, 1j, "text", "x" * 10_000, "\ud800", b"bytes", bytearray(b"x"), ..., NotImplemented, (), [], {},
    (1, "a"), [1, [2]], {"a": {"b": 1}}, {1, 2}, frozenset([3]), range(3), slice(1), np.float32(1.5), Point(1, 2), Ellipsis,
    collections.OrderedDict(a=1), collections.deque([1]), collections.Counter("aab"), enum.Flag, len, types, Box,
]  # fmt: skip


@pytest.mark.parametrize("track_refs", [True, False])
@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: repr(payload)[:30])
def test_payloads_of_any_kind(payload, track_refs):
    serializer = boxes(track_refs=track_refs)
    for value, pick in [(Box(payload), lambda v: v), ([1, Box(payload)], lambda v: v[1]), ([Box(payload) for _ in range(40)], lambda v: v[-1])]:
        box = pick(roundtrip(value, serializer))
        assert type(box) is Box
        assert type(box.content) is type(payload)
        assert box.content == payload or payload is types


def test_payloads_of_different_kinds_in_one_run():
    serializer = boxes()
    values = PAYLOADS * 3
    found = roundtrip([Box(value) for value in values], serializer)
    assert [box.content for box in found] == values


@pytest.mark.parametrize("count", [1, 3, 50])
def test_arrays_in_payloads_are_referenced_and_come_back_as_copies(count):
    serializer = boxes()
    arrays = [np.arange(1000.0) + i for i in range(count)]
    packed = serializer.pack([Box({"weights": array}) for array in arrays])
    arrays[-1][0] = -7  # the pack refers to it
    memory = bytearray(packed.nbytes)
    packed.write_into(memory)
    whole = np.frombuffer(memory, np.uint8)
    for box, array in zip(serializer.loads(memory), arrays, strict=True):
        found = box.content["weights"]
        np.testing.assert_array_equal(found, array)
        assert not np.shares_memory(found, whole)
        found += 1
    for box, array in zip(boxes(writable=False).loads(memory), arrays, strict=True):
        found = box.content["weights"]
        np.testing.assert_array_equal(found, array)
        assert np.shares_memory(found, whole) and not found.flags.writeable
    found = serializer.loads(packed)[-1].content["weights"]
    assert not np.shares_memory(found, arrays[-1]) and found.flags.writeable
    found = boxes(writable=False).loads(packed)[-1].content["weights"]
    assert np.shares_memory(found, arrays[-1]) and not found.flags.writeable


def test_a_temporary_array_lives_as_long_as_the_pack():
    serializer = Serializer()
    serializer.register(Point, lambda point: np.full(1000, point.x), lambda array: Point(array[0], array[-1]))
    packed = serializer.pack([Point(i) for i in range(20)])
    gc.collect()
    assert serializer.loads(packed.to_bytes()) == [Point(i, i) for i in range(20)]


# --- classes that would go another way ---------------------------------------------------------------------------------


class Row(NamedTuple):
    a: int
    b: str


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: int


class Slots:
    __slots__ = ("a",)


class Reduced:
    def __reduce__(self):
        raise AssertionError("asked in spite of a hook")


class Refuses:
    def __getstate__(self):
        raise AssertionError("asked in spite of a hook")


class MyList(list):
    pass


class MyInt(int):
    pass


class MyStr(str):
    pass


class MyArray(np.ndarray):
    pass


class Color(enum.Enum):
    RED = 1


def generator():
    yield 1


class Main:
    __module__ = "__main__"


OTHERS = {
    "plain": Point(1, 2), "dataclass": Frozen(1), "slots": Slots(), "namedtuple": Row(1, "a"), "reduce": Reduced(), "getstate": Refuses(),
    "list": MyList([1]), "int": MyInt(3), "str": MyStr("a"), "array": np.zeros(3).view(MyArray), "enum": Color.RED, "lock": threading.Lock(),
    "generator": generator(), "file": io.StringIO(), "ordered": collections.OrderedDict(a=1), "deque": collections.deque([1]),
    "error": ValueError("x"), "condition": threading.Condition(), "weakref": weakref.ref(Point), "frame": sys._getframe(),
    "function": generator, "builtin": len, "class": Color, "module": types, "method": Point().__eq__, "code": generator.__code__,
    "dtype": np.dtype("f8"), "mapping": types.MappingProxyType({}), "local": type("Local", (), {})(), "main": Main(),
    "view": memoryview(b"abc"), "buffer": pickle.PickleBuffer(b"abc"), "namespace": types.SimpleNamespace(a=1), "object": object(),
}  # fmt: skip


@pytest.mark.parametrize("track_refs", [True, False])
@pytest.mark.parametrize("kind", OTHERS)
def test_a_hook_comes_before_every_other_plan(kind, track_refs):
    obj = OTHERS[kind]
    serializer = Serializer(track_refs=track_refs)
    for _ in range(2):  # before it was packed, and afterwards
        encode = Calls(lambda obj: "packed")
        serializer.register(type(obj), encode, str.upper)
        for value in (obj, [1, obj], {"a": (obj, "b")}, [Bag(f=obj)]):
            encode.arguments.clear()
            found = serializer.loads(serializer.dumps(value))
            assert "PACKED" in (found, *leaves(found))
            assert len(encode.arguments) == 1 and encode.arguments[0] is obj


def test_a_resource_is_opened_again(tmp_path):
    path = tmp_path / "file"
    path.write_text("one\ntwo\n", encoding="utf-8")
    serializer = Serializer()
    serializer.register(io.TextIOWrapper, lambda file: (file.name, file.tell()), lambda where: reopen(*where))
    with open(path, encoding="utf-8") as file:
        assert file.readline() == "one\n"
        with serializer.loads(serializer.dumps({"log": file}))["log"] as again:
            assert again.readline() == "two\n"


def reopen(name, position):
    file = open(name, encoding="utf-8")
    file.seek(position)
    return file


@pytest.mark.parametrize("before", ["alone", "run"])
def test_a_hook_that_comes_later_changes_the_way_of_a_class(before):
    classes = [Point, Point3, Row, Frozen, Color, MyList]
    for cls in classes:
        obj = Color.RED if cls is Color else cls([1]) if cls is MyList else cls(1, "a") if cls is Row else cls(1)
        value = obj if before == "alone" else [obj] * 1 + [copy.copy(obj) for _ in range(40)]
        assert roundtrip(value) == value
        fastser.register(cls, lambda obj: 1, lambda one: "hooked")
        assert roundtrip(value) == ("hooked" if before == "alone" else ["hooked"] * len(value))
        assert Serializer(track_refs=False).loads(Serializer(track_refs=False).dumps([obj])) == ["hooked"]


def test_a_hook_for_subclasses_that_comes_later():
    assert roundtrip([Point4(1, 2)]) == [Point4(1, 2)]
    fastser.register(Point, lambda obj: 1, lambda one: "hooked", subclasses=True)
    assert roundtrip([Point4(1, 2)]) == ["hooked"]


# --- places ------------------------------------------------------------------------------------------------------------


def test_hooked_objects_in_every_place():
    register_points()
    point = Point(1, 2)
    array = np.empty(2, object)
    array[:] = [point, [point]]
    for value in [
        {"a": point}, {point: "a"}, {point}, frozenset([point]), (point,), [[point]], {(point, 1): 2}, {"k": {point: point}},
        [{"a": point, "b": 1}, {"a": point, "b": 2}], [(point, 1), (Point(3, 4), 2)], [None, point, None], [1, point, "a", 2.5],
        collections.OrderedDict(a=point), collections.deque([point]), Row(point, "a"), Frozen(point), slice(point, None),
        collections.defaultdict(list, {point: [point]}), types.SimpleNamespace(point=point),
    ]:  # fmt: skip
        assert roundtrip(value) == value
    found = roundtrip(array)
    assert found[0] == point and found[1][0] is found[0]


@pytest.mark.parametrize("make", [lambda items: items, tuple, lambda items: dict(enumerate(items)), lambda items: [{"p": p, "i": 1} for p in items]])
def test_many(make):
    register_points()
    value = make([Point(i, str(i)) for i in range(300)])
    assert roundtrip(value) == value


# --- runs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("track_refs", [True, False])
def test_a_run_is_columns_of_payloads(track_refs):
    encode, decode = Calls(to_pair), Calls(from_pair)
    serializer = Serializer(track_refs=track_refs)
    serializer.register(Point, encode, decode)
    points = [Point(i, -i) for i in range(1000)]
    frame = serializer.dumps(points)
    assert [id(point) for point in encode.arguments] == [id(point) for point in points]
    assert serializer.loads(frame) == points
    assert decode.arguments == [(i, -i) for i in range(1000)]
    plain = serializer.dumps([(i, -i) for i in range(1000)])
    assert len(frame) < len(plain) + 100
    assert frame.count(b"Point") == 1


def test_a_run_among_other_things():
    register_points()
    mixed = []
    for i in range(500):
        mixed += [Point(i, i), i, str(i), None, [i]][: 1 + i % 5]
    assert roundtrip(mixed) == mixed
    two = [Point(i) if i % 3 else Frozen(i) for i in range(500)]
    fastser.register(Frozen, lambda obj: obj.a, Frozen)
    assert roundtrip(two) == two
    assert len(fastser.dumps(two)) < 2500


# --- identity ----------------------------------------------------------------------------------------------------------


def test_one_object_comes_back_as_one():
    encode, decode = Calls(to_pair), Calls(from_pair)
    fastser.register(Point, encode, decode)
    point = Point(1, 2)
    for value in ([point, point], [point, [point]], [point] * 100, [Point(5, 6), point, Point(7, 8), point], ({"a": point}, point), [Bag(f=point), point]):
        encode.arguments.clear()
        decode.arguments.clear()
        frame = fastser.dumps(value)
        found = fastser.loads(frame)
        flat = [p for p in leaves(found) if p == point]
        assert len(flat) >= 2 and all(p is flat[0] for p in flat)
        assert sum(p is point for p in encode.arguments) == 1
        assert decode.arguments.count((1, 2)) == 1


def leaves(value):
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves(item)]
    if isinstance(value, dict):
        return leaves(list(value.values()))
    return leaves(value.f) if isinstance(value, Bag) else [value]


def test_a_tree_has_every_object_twice():
    encode = Calls(to_pair)
    serializer = Serializer(track_refs=False)
    serializer.register(Point, encode, from_pair)
    point = Point(1, 2)
    one, other = serializer.loads(serializer.dumps([point, point]))
    assert one == other == point and one is not other
    assert encode.arguments == [point]  # nobody is asked twice


def test_what_payloads_share_comes_back_shared():
    serializer = boxes()
    shared = [1]
    first, second, third = serializer.loads(serializer.dumps([Box(shared), Box({"a": shared}), shared]))
    assert first.content is second.content["a"] is third


def test_one_payload_for_two_objects():
    payload = [1, 2]
    serializer = Serializer()
    serializer.register(Point, lambda point: payload, lambda items: items)
    one, other = serializer.loads(serializer.dumps([Point(), Point()]))
    assert one is other == [1, 2]


def test_temporaries_lend_their_addresses_to_nobody():
    serializer = Serializer()
    serializer.register(Point, lambda point: [[point.x], {"y": point.y}], lambda items: Point(items[0][0], items[1]["y"]))
    points = [Point(i, str(i)) for i in range(500)]
    for value in (points, [[point, None] for point in points], {i: point for i, point in enumerate(points)}):
        assert serializer.loads(serializer.dumps(value)) == value


@pytest.mark.parametrize("track_refs", [True, False])
@pytest.mark.parametrize("encode", [lambda box: box, lambda box: [box], lambda box: {"a": (1, box)}, lambda box: Box(box)])
def test_a_payload_that_leads_back_without_end_is_a_depth_error(encode, track_refs):
    serializer = Serializer(track_refs=track_refs)
    serializer.register(Box, encode, Box)
    with pytest.raises(DepthError, match="It may contain itself recursively"):
        serializer.dumps([Box()])


def test_a_cycle_through_a_payload_that_is_kept():
    # Its hook is asked twice, since the object has no number before its payload is written; the payload is met again, and ends it.
    ring = []
    box = Box(ring)
    ring.append(box)
    for value in (box, [box], ring):
        found = boxes().loads(boxes().dumps(value))
        found = found if value is box else found[0]
        assert type(found) is Box and found.content[0] is found and len(found.content) == 1
    with pytest.raises(DepthError, match="It may contain itself recursively"):
        boxes(track_refs=False).dumps(box)


def test_hooks_nest():
    serializer = boxes()
    register_points(serializer)
    nested = serializer.loads(serializer.dumps(Box([Box(Point(1, 2)), Box(Box(Box("x")))])))
    assert nested.content[0].content == Point(1, 2)
    assert nested.content[1].content.content.content == "x"


@pytest.mark.parametrize("depth", [2000, 100_000])
def test_deep_nests_are_depth_errors(depth):
    box = None
    for _ in range(depth):
        box = Box(box)
    serializer = boxes()
    with pytest.raises(DepthError):
        serializer.dumps(box)
    if depth == 100_000:
        with pytest.raises(DepthError, match="stack"):
            boxes(max_depth=10**9).dumps(box)
    while box is not None:  # no deep deallocation
        box = box.content


def test_nests_within_the_depth():
    box = None
    for _ in range(90):
        box = Box(box)
    serializer = boxes(max_depth=100)
    frame = serializer.dumps(box)
    found = serializer.loads(frame)
    for _ in range(90):
        found = found.content
    assert found is None
    reader = boxes(max_depth=50)
    with pytest.raises(DepthError):
        reader.loads(frame)


# --- hooks that do more than they should ------------------------------------------------------------------------------


def test_dumps_inside_encode_and_loads_inside_decode():
    inner = Serializer(track_refs=False)
    fastser.register(Box, lambda box: inner.dumps(box.content), lambda frame: Box(inner.loads(frame)))
    found = roundtrip([Box([1, Box({"a": np.arange(5)})]), Box("x")])
    assert found[0].content[1].content["a"].tolist() == [0, 1, 2, 3, 4]
    assert found[1].content == "x"


def test_packing_the_same_thing_inside_encode():
    value = [[1, 2], None]
    fastser.register(Box, lambda box: fastser.dumps(value[0]), fastser.loads)
    value[1] = Box()
    assert roundtrip(value) == [[1, 2], [1, 2]]


def test_a_container_that_encode_changes():
    items = [Box(i) for i in range(50)]
    fastser.register(Box, lambda box: items.clear() or box.content, Box)
    try:
        found = fastser.loads(fastser.dumps(items))
        assert [box.content for box in found] == list(range(50))
    except EncodeError as error:
        assert "changed" in str(error)
    table = {i: Box(i) for i in range(50)}
    fastser.register(Box, lambda box: table.clear() or box.content, Box)
    try:
        assert [box.content for box in fastser.loads(fastser.dumps(table)).values()] == list(range(50))
    except EncodeError as error:
        assert "changed" in str(error)


def test_encode_that_lets_the_last_reference_go():
    holder = [[Box([i]), "x"] for i in range(100)]
    fastser.register(Box, lambda box: holder.clear() or gc.collect() or box.content, Box)
    assert len(fastser.dumps({"a": list(holder)})) > 0
    del holder[:]


def test_hooks_that_register_hooks():
    def encode(box):
        register_points()
        return box.content

    fastser.register(Box, encode, Box)
    points = [Point(1, 2), Box(Point(3, 4)), Point(5, 6)]
    for _ in range(2):
        found = fastser.loads(fastser.dumps(points))
        assert (found[0], found[1].content, found[2]) == (Point(1, 2), Point(3, 4), Point(5, 6))

    def decode(payload):
        fastser.register(Box, content, Box)
        return Box(payload)

    fastser.register(Box, content, decode)
    assert [box.content for box in roundtrip([Box(1), Box(2)])] == [1, 2]


@pytest.mark.parametrize("change", ["clear", "pop", "append"])
@pytest.mark.parametrize("make", [lambda box: [[1], box, [2]] + [[i] for i in range(1000)], lambda box: [[i, box] for i in range(100)]])
def test_decode_that_changes_what_is_being_filled(make, change):
    # What it is given leads to the list that its result is going to lie in.
    def decode(home):
        home.append(1) if change == "append" else getattr(home, change)() if home else None
        return Box(len(home))

    serializer = Serializer()
    serializer.register(Box, content, decode)
    box = Box()
    home = make(box)
    box.content = home
    frame = serializer.dumps(home)
    for _ in range(20):
        found = serializer.loads(frame)
        assert type(found) is list
        repr(found)
        gc.collect()
    box.content = None


def test_what_decode_keeps_is_whole():
    kept = []
    fastser.register(Box, content, lambda payload: kept.append(payload) or Box(payload))
    fastser.loads(fastser.dumps([Box([i, {"a": (i, "x")}]) for i in range(100)]))
    assert kept == [[i, {"a": (i, "x")}] for i in range(100)]


def test_decode_looks_around():
    # The collector hands out everything it tracks: nothing that is half made may be among it.
    def decode(payload):
        for obj in gc.get_objects():
            if type(obj) in (list, tuple, dict):
                len(obj), list(obj)
        return Box(payload)

    serializer = Serializer()
    serializer.register(Box, content, decode)
    found = serializer.loads(serializer.dumps([(1, [Box(2), (3, Box(4))], {"k": Box((5, "x"))})]))
    assert found[0][1][1][1].content == 4 and found[0][2]["k"].content == (5, "x")


# --- serializers -------------------------------------------------------------------------------------------------------


def test_a_hook_of_a_serializer_is_its_own():
    mine, other = Serializer(), Serializer()
    encode = Calls(to_pair)
    mine.register(Point, encode, from_pair, name="mine")
    for stranger in (fastser, other):
        assert b"mine" not in stranger.dumps(Point(1, 2))
    assert encode.arguments == []
    assert b"mine" in mine.dumps(Point(1, 2))
    assert hooks.PROCESS.find(Point) is None


def test_a_serializer_sees_the_hooks_of_the_process_and_its_own_first():
    before = Serializer()
    boxed = boxes()
    fastser.register(Point, *named("process"), name="p")
    for serializer in (before, boxed, Serializer()):
        assert serializer.loads(serializer.dumps(Point())) == ("process", "process")
        serializer.register(Point, *named("own"), name="o")
        assert serializer.loads(serializer.dumps(Point())) == ("own", "own")
        assert serializer.loads(fastser.dumps(Point())) == ("process", "process")  # by its name
    assert fastser.loads(fastser.dumps(Point())) == ("process", "process")


def test_every_method_of_a_serializer_knows_its_hooks(tmp_path):
    serializer = boxes()
    file = io.BytesIO()
    serializer.dump(Box(1), file)
    serializer.dump(Box(1), tmp_path / "file")
    assert file.getvalue() == serializer.dumps(Box(1)) == serializer.pack(Box(1)).to_bytes() == (tmp_path / "file").read_bytes()
    file.seek(0)
    for found in (serializer.load(file), serializer.load(tmp_path / "file"), serializer.loads(serializer.pack(Box(1)))):
        assert (type(found), found.content) == (Box, 1)


def test_serializers_are_equal_by_their_hooks_too():
    assert boxes() == boxes() != Serializer()
    assert hash(boxes()) == hash(Serializer())
    different = Serializer()
    different.register(Box, content, Box, name="box")
    assert boxes() != different
    assert boxes(max_depth=3) != boxes()


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, dataclasses.replace, lambda s: pickle.loads(pickle.dumps(s)), lambda s: fastser.loads(fastser.dumps(s))])
def test_copies_carry_the_hooks_and_part_ways(make):
    serializer = boxes(track_refs=False)
    again = make(serializer)
    assert again == serializer
    assert roundtrip(Box(1), again).content == 1
    again.register(Point, *named("again"))
    serializer.register(Frozen, *named("first"))
    assert roundtrip(Point(1, 2), serializer) == Point(1, 2)
    assert roundtrip(Frozen(1), again) == Frozen(1)
    fastser.register(Bag, *named("process"))
    assert roundtrip(Bag(), again) == ("process", "process")


def test_a_serializer_that_is_safe_packs_with_hooks_and_reads_none():
    serializer = boxes(safe=True)
    with pytest.raises(fastser.UnsafeDataError):
        serializer.loads(serializer.dumps(Box(1)))


# --- threads -----------------------------------------------------------------------------------------------------------


def in_threads(*functions):
    failures = []

    def run(function):
        try:
            function()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_threads_with_hooks_of_their_own():
    def work(factor):
        serializer = Serializer()
        serializer.register(Point, lambda point: point.x * factor, lambda x: Point(x, factor))
        for _ in range(100):
            assert serializer.loads(serializer.dumps([Point(1), [Point(2)]])) == [Point(factor, factor), [Point(2 * factor, factor)]]

    in_threads(*(lambda factor=factor: work(factor) for factor in (2, 3, 4, 5)))


def test_threads_that_register_while_others_pack():
    register_points()
    done = threading.Event()

    def register():
        try:
            for i in range(100):
                fastser.register(type(f"Made{i}", (), {}), to_pair, from_pair)
                register_points()
        finally:
            done.set()

    def work():
        while not done.is_set():
            points = [Point(i, i) for i in range(20)]
            assert roundtrip(points) == points

    in_threads(register, work, work)
    assert len([name for name in hooks.PROCESS.by_name if ".Made" in name]) == 100


def test_threads_that_register_for_one_serializer():
    serializer = Serializer()
    classes = [type(f"Made{i}", (), {}) for i in range(100)]

    def register(some):
        for cls in some:
            serializer.register(cls, to_pair, from_pair)

    in_threads(lambda: register(classes[:50]), lambda: register(classes[50:]))
    assert len(list(serializer._hooks)) == 100


# --- declined ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("track_refs", [True, False])
@pytest.mark.parametrize("count", [1, 5, 100])
def test_an_object_that_its_hook_declines_goes_its_own_way(count, track_refs):
    serializer = Serializer(track_refs=track_refs)
    serializer.register(Box, lambda box: NotImplemented if box.content % 3 == 0 else ("hooked", box.content), lambda pair: Box(pair))
    boxes = [Box(i) for i in range(count)]
    back = serializer.loads(serializer.dumps(boxes))
    assert [box.content for box in back] == [i if i % 3 == 0 else ("hooked", i) for i in range(count)]
    assert {type(box) for box in back} == {Box}


def test_a_declined_object_keeps_its_identity():
    serializer = Serializer()
    serializer.register(Box, lambda box: NotImplemented, lambda payload: pytest.fail("nothing was hooked"))
    box = Box([])
    box.content.append(box)
    back, same = serializer.loads(serializer.dumps([box, box]))
    assert back is same and back.content[0] is back


# --- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [None, "encode", "decode"])
def test_nothing_is_kept(function):
    """Neither objects nor payloads nor results, errors included."""
    alive = weakref.WeakSet()

    def new(cls, *arguments, **fields):
        obj = cls(*arguments, **fields)
        alive.add(obj)
        return obj

    def encode(box):
        payload = new(Bag, value=box.content)
        if function == "encode" and box.content == 30:
            raise ZeroDivisionError
        return payload

    def decode(payload):
        if function == "decode" and payload.value == 30:
            raise ZeroDivisionError
        alive.add(payload)
        return new(Box, payload.value)

    serializer = Serializer()
    serializer.register(Box, encode, decode)
    try:
        serializer.loads(serializer.dumps([new(Box, i) for i in range(50)]))
        assert function is None
    except (EncodeError, DecodeError):
        assert function is not None
    gc.collect()
    assert len(alive) == 0

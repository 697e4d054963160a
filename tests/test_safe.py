"""safe=True: nothing is imported, called or unpickled, whatever a frame says, but for the classes of `allow`, rebuilt from fields."""

import abc
import collections
import dataclasses
import datetime
import enum
import functools
import importlib
import io
import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import test_golden
from frames import *
from same import same

import fastser
from fastser import DecodeError, Serializer, UnsafeDataError

NAMED_ROWS, INSTANCES, GLOBAL, CALL, HOOK, MEMORY = 48, 49, 54, 55, 57, 58
STATE, LIST_ITEMS, DICT_ITEMS, SETTER, NEW = 1, 2, 4, 8, 16  # parts of a call
NEW_CALLABLE = 0

HERE = __name__


class Point:
    def __init__(self, x=1, y=2):
        self.x, self.y = x, y


class Outer:
    class Inner:
        def __init__(self):
            self.a = 1


@dataclasses.dataclass(frozen=True)
class Key:
    a: int
    b: str = "b"


class Slots:
    __slots__ = ("first", "second")

    def __init__(self, first=1, second=2):
        self.first, self.second = first, second


class SlotsChild(Slots):
    """Slots and a dict."""


class Row(NamedTuple):
    a: int
    b: object = "b"


class Reduced:
    def __reduce__(self):
        return Point, (1, 2)


class WithState:
    def __init__(self):
        self.a = 1

    def __setstate__(self, state):
        raise AssertionError("called")


class Color(enum.Enum):
    RED = 1


class MyDict(dict):
    pass


class MyList(list):
    pass


def function():
    raise AssertionError("called")


def refused(frame, what, path=None, **options):
    with pytest.raises(UnsafeDataError) as caught:
        fastser.loads(frame, safe=True, **options)
    message = str(caught.value)
    assert message.startswith("safe=True, but ")
    assert what in message, message
    assert path is None or re.search(re.escape(path) + r"(?![\w.\[{])", message), (path, message)
    return message


# --- what is refused, by what name and where ---------------------------------------------------------------------------

UNSAFE = {
    "class": (Color, f"{HERE}.Color"),
    "nested class": (Outer.Inner, f"{HERE}.Outer.Inner"),
    "function": (function, f"{HERE}.function"),
    "builtin": (len, "builtins.len"),
    "module": (types, "types"),
    "instance": (Point(), f"{HERE}.Point"),
    "nested instance": (Outer.Inner(), f"{HERE}.Outer.Inner"),
    "slots": (Slots(), f"{HERE}.Slots"),
    "dataclass": (Key(1), f"{HERE}.Key"),
    "namedtuple": (Row(1), f"{HERE}.Row"),
    "reduced": (Reduced(), f"{HERE}.Point"),
    "state": (WithState(), f"{HERE}.WithState"),
    "enum": (Color.RED, f"{HERE}.Color"),
    "ordered": (collections.OrderedDict(a=1), "collections.OrderedDict"),
    "deque": (collections.deque([1]), "collections.deque"),
    "dict subclass": (MyDict(a=1), f"{HERE}.MyDict"),
    "list subclass": (MyList([1]), f"{HERE}.MyList"),
    "partial": (functools.partial(function), "functools.partial"),
    "method": (Point().__init__, "builtins.getattr"),
    "error": (ValueError("a"), "builtins.ValueError"),
    "lambda": (lambda: 1, "fastser.by_value.make_function"),
    "local class": (type("Local", (), {"__module__": "__main__"}), "fastser.by_value.make_class"),
}

# An unsafe part in a place, and the path to it.
PLACES = {
    "root": (lambda x: x, "$"),
    "value": (lambda x: {"a": [1, "b", None, {"b": x}]}, "$.a[3].b"),
    "list": (lambda x: [x], "$[0]"),
    "tuple": (lambda x: (1, 2, x), "$[2]"),
    "last": (lambda x: [list(range(1000)), ["text"] * 100, {"k": 1.5}, [x]], "$[3][0]"),
    "slice": (lambda x: slice(None, x), "$.stop"),
    "odd key": (lambda x: {"two words": x}, "$['two words']"),
    "int key": (lambda x: {3: x}, "$[3]"),
    "records": (lambda x: [{"a": i, "b": x if i == 7 else 1} for i in range(30)], "$[7].b"),
    "column": (lambda x: [{"a": i, "b": x} for i in range(30)], "$[0].b"),
    "rows": (lambda x: [(i, x if i == 7 else None) for i in range(30)], "$[7][1]"),
    "lists": (lambda x: [[i, [x] if i == 7 else []] for i in range(30)], "$[7][1][0]"),
    "nullable": (lambda x: [None if i < 20 else x for i in range(40)], "$[20]"),
    "groups": (lambda x: [*range(50), *([x] * 50), *("a" * 50)], "$[50]"),
    "object array": (lambda x: object_array([1, [x]]), "$[1][0]"),
    "matrix": (lambda x: object_array([1, 2, 3, x]).reshape(2, 2), "$[1, 1]"),
}


def object_array(items):
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", UNSAFE)
def test_refused_by_name_and_path(kind, place):
    obj, what = UNSAFE[kind]
    wrap, path = PLACES[place]
    refused(fastser.dumps(wrap(obj)), what, path)
    refused(fastser.dumps(wrap(obj), track_refs=False), what, path)


@pytest.mark.parametrize("kind", ["class", "function", "dataclass", "namedtuple", "enum", "lambda"])
def test_refused_as_a_key_or_a_member(kind):
    obj, what = UNSAFE[kind]
    for value in ({obj: 1}, {(1, obj): 1}, {obj}, frozenset([obj]), [{obj: i} for i in range(30)], {"k": {obj}}):
        assert " at $" in refused(fastser.dumps(value), what)
    if kind != "lambda":
        refused(fastser.dumps({"a": {obj: 1}}), what, f"$.a.key({what})")
        refused(fastser.dumps({"a": {obj}}), what, f"$.a{{{what}}}")


def test_refused_within_what_is_refused():
    # The outermost is named: what is in it is none of the reader's.
    refused(fastser.dumps([Point(1, Row(1, Color.RED))]), f"{HERE}.", "$[0]")
    # And below what is allowed, the rest.
    refused(fastser.dumps([Point(1, [0, Row(1, 2)])]), f"{HERE}.Row", "$[0].y[1]", allow=[Point])
    refused(fastser.dumps([Row(1, [0, {"k": Slots(1, Color)}])]), f"{HERE}.Color", "$[0][1][1].k.second", allow=[Row, Slots])


class Zone(datetime.tzinfo):
    def utcoffset(self, when):
        raise AssertionError("called")


class Missing:
    pass


def test_refused_in_what_describes():
    zone = Zone()
    refused(fastser.dumps({"at": datetime.datetime(2020, 1, 1, tzinfo=zone)}), "Zone")
    refused(fastser.dumps([datetime.time(1, tzinfo=zone)] * 20), "Zone")
    refused(fastser.dumps({"a": np.array(["a"], np.dtypes.StringDType(na_object=Missing()))}), "Missing")


def test_hooks_are_refused_by_name():
    writer = Serializer()
    writer.register(Point, lambda point: (point.x, point.y), function, name="a point")
    frame = writer.dumps({"a": [1, Point()]})
    refused(frame, "'a point'", "$.a[1]")
    refused(frame, "'a point'", "$.a[1]", allow=[Point, f"{HERE}.Point"])
    reader = Serializer(safe=True, allow=[Point])
    reader.register(Point, function, function, name="a point")
    with pytest.raises(UnsafeDataError, match="'a point'"):
        reader.loads(frame)
    many = writer.dumps({"a": [Point(i) for i in range(100)]})
    refused(many, "'a point'", "$.a[0]")


def test_every_reader_refuses(tmp_path):
    frame = fastser.dumps([Point()])
    (tmp_path / "file").write_bytes(frame)
    for load in (
        lambda: fastser.loads(bytearray(frame), safe=True),
        lambda: fastser.loads(memoryview(b"x" + frame)[1:], safe=True),
        lambda: fastser.loads(fastser.pack([Point()]), safe=True),
        lambda: fastser.load(io.BytesIO(frame), safe=True),
        lambda: fastser.load(tmp_path / "file", safe=True),
        lambda: Serializer(safe=True).loads(frame),
        lambda: Serializer(safe=True).load(tmp_path / "file"),
    ):
        with pytest.raises(UnsafeDataError, match=re.escape(f"{HERE}.Point")):
            load()


def test_a_long_name_is_cut():
    frame = build(GLOBAL, text=["m" * 100_000, "n" * 100_000], flags=FOREIGN)
    assert len(refused(frame, "m")) < 1000


# --- nothing happens ---------------------------------------------------------------------------------------------------

TRAP = """
    import collections, enum, pathlib, typing
    pathlib.Path(__file__).with_suffix(".imported").touch()

    class Thing:
        def __init__(self):
            self.a = 1

    class Slotted:
        __slots__ = "a"

    class Row(typing.NamedTuple):
        a: int

    class Color(enum.Enum):
        RED = 1

    class Ordered(collections.OrderedDict):
        pass

    class Reduced:
        def __reduce__(self):
            return function, ()

    def function():
        pathlib.Path(__file__).with_suffix(".called").touch()
"""

WATCH = """
    import json, sys
    import fastser, numpy
    from fastser import hooks

    plain, *frames = [bytes.fromhex(line) for line in sys.stdin.read().split()]
    allow = json.loads(sys.argv[1])

    def refused(frame):
        try:
            fastser.loads(frame, safe=True, allow=allow)
        except fastser.UnsafeDataError as error:
            return str(error)

    fastser.loads(plain, safe=True, allow=allow)
    refused(bytes.fromhex(sys.argv[2]))  # what is needed to refuse is imported now
    events, armed = [], False

    def watch(event, arguments):
        if armed and event not in ("builtins.id", "object.__getattr__"):
            events.append(event)

    sys.addaudithook(watch)
    modules = set(sys.modules)
    armed = True
    messages = [refused(frame) for frame in frames]
    armed = False
    print(json.dumps({"messages": messages, "events": events, "modules": sorted(set(sys.modules) - modules)}))
"""


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module that leaves a file where it is imported, and where a function of it is called."""
    path = tmp_path / "fastser_trap.py"
    path.write_text(textwrap.dedent(TRAP), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("fastser_trap")
    yield module
    sys.modules.pop("fastser_trap", None)


def sprung(module):
    return [suffix for suffix in (".imported", ".called") if Path(module.__file__).with_suffix(suffix).exists()]


def watch(module, frames, allow=()):
    """What happens in a process of its own that reads these frames, where the trap's module could be imported."""
    for suffix in (".imported", ".called"):
        Path(module.__file__).with_suffix(suffix).unlink(missing_ok=True)
    plain = fastser.dumps([1, {"a": "b"}, np.arange(3)])
    command = [sys.executable, "-c", textwrap.dedent(WATCH), json.dumps(list(allow)), fastser.dumps([collections.Counter]).hex()]
    environment = {"PYTHONPATH": os.pathsep.join([str(Path(module.__file__).parent), str(Path(fastser.__file__).parents[1])])}
    source = "\n".join(frame.hex() for frame in (plain, *frames))
    done = subprocess.run(command, input=source, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_is_imported_or_run(trap):
    one = Serializer()
    one.register(trap.Thing, lambda thing: [trap.Color.RED], list, name="thing")
    slotted = trap.Slotted()
    slotted.a = 1
    parts = [
        trap.Thing(), slotted, trap.Row(1), trap.Color.RED, trap.Ordered(a=1), trap.Reduced(), trap.function, trap.Thing, trap,
        {trap.Row(1)}, {trap.Row(1): 2}, object_array([trap.Thing()]), functools.partial(trap.function), lambda: trap, memoryview(b"x"),
        [trap.Thing() for _ in range(100)], [trap.Row(i) for i in range(100)], [trap.Reduced() for _ in range(100)],
    ]  # fmt: skip
    frames = [fastser.dumps(part) for part in parts]
    frames += [fastser.dumps([*range(1000), {"k": [1.5] * 100}, part]) for part in parts]
    frames += [fastser.dumps(part, track_refs=False) for part in parts]
    frames += [one.dumps([1, trap.Thing()])]
    frames += [fastser.dumps(part, fallback="pickle") for part in parts if not isinstance(part, types.LambdaType) or part is trap.function]
    seen = watch(trap, frames)
    assert seen["events"] == []
    assert seen["modules"] == []
    assert sprung(trap) == []
    views = [i for i, message in enumerate(seen["messages"]) if message is None]
    assert all(b"fastser_trap" not in frames[i] for i in views)  # views of memory may be loaded: they are data


def test_nothing_is_imported_before_everything_is_looked_at(trap):
    # What is allowed comes first, what is not comes last.
    frames = [
        fastser.dumps([trap.Thing(), [trap.Row(1)] * 3, last])
        for last in (trap.Reduced(), trap.function, trap.Color.RED, lambda: 1, trap.Ordered(), [trap.Reduced() for _ in range(100)])
    ]
    frames += [fastser.dumps({"a": trap.Thing(), "b": pickle})]
    seen = watch(trap, frames, ["fastser_trap.Thing", "fastser_trap.Row"])
    assert all(seen["messages"])
    assert seen["events"] == []
    assert sprung(trap) == [".imported"]  # when they were allowed, before any frame


def test_what_is_allowed_by_name_is_imported_when_it_is_given(trap):
    allow = ["fastser_trap.Thing", "fastser_trap.Row"]
    for frame in (fastser.dumps([1, {"a": 2}]), fastser.dumps([trap.Thing(), trap.Row(1)])):
        seen = watch(trap, [frame], allow)
        assert seen == {"messages": [None], "events": [], "modules": []}
        assert sprung(trap) == [".imported"]


# --- what is allowed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["class", "name", "both"])
@pytest.mark.parametrize("count", [1, 2, 100])
@pytest.mark.parametrize("obj", [Point(3, [4]), Outer.Inner(), Key(1, "x"), Slots(1, {"k": 2}), SlotsChild(), Row(1, [2])], ids=lambda obj: type(obj).__name__)
def test_allowed_classes_are_rebuilt(obj, how, count):
    cls = type(obj)
    name = f"{cls.__module__}.{cls.__qualname__}"
    allow = {"class": [cls], "name": [name], "both": (cls, name)}[how]
    for value in (obj, {"a": [1, obj]}, [obj] * count, [pickle.loads(pickle.dumps(obj)) for _ in range(count)], (obj, {"b": (obj,)})):
        for options in ({}, {"track_refs": False}):
            frame = fastser.dumps(value, **options)
            refused(frame, name)
            found = fastser.loads(frame, safe=True, allow=allow)
            same(value, found, **({"identity": None} if options else {}))
            same(value, fastser.loads(fastser.pack(value, **options), safe=True, allow=iter(allow)), **({"identity": None} if options else {}))


def test_fields_that_come_later_and_nothing_at_all():
    point = Point()
    point.extra = {"z": 1}
    empty = Point.__new__(Point)
    bare = Slots.__new__(Slots)
    child = SlotsChild()
    child.more = 1
    value = [point, empty, bare, child]
    same(value, fastser.loads(fastser.dumps(value), safe=True, allow=[Point, Slots, SlotsChild]))


def test_cycles_and_identity_of_what_is_allowed():
    point = Point()
    point.x, point.y = point, [point, Row(point, 1)]
    found = fastser.loads(fastser.dumps([point, point]), safe=True, allow=[Point, Row])
    assert found[0] is found[1] is found[0].x is found[0].y[0] is found[0].y[1].a


def test_allowed_as_keys_and_members():
    value = {Key(1): {Row(1, 2)}, Row(3, 4): frozenset([Key(5)])}
    assert fastser.loads(fastser.dumps(value), safe=True, allow=[Key, Row]) == value


def test_one_that_is_not_allowed_is_enough():
    value = [Point(), Slots(), Row(1)]
    frame = fastser.dumps(value)
    refused(frame, f"{HERE}.Row", "$[2]", allow=[Point, Slots])
    refused(frame, f"{HERE}.Slots", "$[1]", allow=[Point, Row])
    refused(frame, f"{HERE}.Point", "$[0]", allow=[Slots, Row])
    same(value, fastser.loads(frame, safe=True, allow=[Point, Slots, Row]))


def test_a_subclass_is_another_class():
    refused(fastser.dumps([SlotsChild()]), f"{HERE}.SlotsChild", "$[0]", allow=[Slots])
    refused(fastser.dumps([Slots()]), f"{HERE}.Slots", "$[0]", allow=[SlotsChild, object])


class Watchful:
    """Every way in which a class could learn that an instance is made."""

    calls = []

    def __init__(self):
        self.calls.append("__init__")

    def __init_subclass__(cls):
        cls.calls.append("__init_subclass__")

    def __setattr__(self, name, value):
        self.calls.append("__setattr__")

    def __delattr__(self, name):
        self.calls.append("__delattr__")

    def __getattr__(self, name):
        self.calls.append(f"__getattr__({name})")
        raise AttributeError(name)

    def __eq__(self, other):
        self.calls.append("__eq__")
        return self is other

    def __hash__(self):
        self.calls.append("__hash__")
        return 1

    def __bool__(self):
        self.calls.append("__bool__")
        return True

    def __len__(self):
        self.calls.append("__len__")
        return 0

    def __repr__(self):
        self.calls.append("__repr__")
        return "Watchful"

    @property
    def value(self):
        self.calls.append("value")

    @value.setter
    def value(self, new):
        self.calls.append("value = ")


class WatchfulMeta(type):
    def __call__(cls, *arguments, **fields):
        Watchful.calls.append("__call__")
        return super().__call__(*arguments, **fields)

    def __instancecheck__(cls, obj):
        Watchful.calls.append("__instancecheck__")
        return True


class WatchfulMade(Watchful, metaclass=WatchfulMeta):
    pass


class WatchfulSlots:
    __slots__ = ("a", "value")
    calls = Watchful.calls
    __init__, __setattr__ = Watchful.__init__, Watchful.__setattr__


class WatchfulRow(collections.namedtuple("WatchfulRow", "a value")):
    __slots__ = ()
    calls = Watchful.calls
    __init__ = Watchful.__init__
    __init_subclass__ = classmethod(lambda cls: cls.calls.append("__init_subclass__"))

    @classmethod
    def _make(cls, items):
        cls.calls.append("_make")


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize("cls", [Watchful, WatchfulMade, WatchfulSlots, WatchfulRow], ids=lambda cls: cls.__name__)
def test_no_code_of_an_allowed_class_runs(cls, count):
    objects = []
    for i in range(count):
        obj = tuple.__new__(cls, (i, "x")) if cls is WatchfulRow else object.__new__(cls)
        if cls is WatchfulSlots:
            object.__setattr__(obj, "a", i)
            object.__setattr__(obj, "value", "x")
        elif cls is not WatchfulRow:
            obj.__dict__.update(a=i, value="x")
        objects.append(obj)
    frame = fastser.dumps(objects)
    Watchful.calls.clear()
    found = fastser.loads(frame, safe=True, allow=[cls])
    again = fastser.loads(frame, safe=True, allow=[f"{HERE}.{cls.__name__}"])
    assert Watchful.calls == []
    for objs in (found, again):
        assert [type(obj) for obj in objs] == [cls] * count
        for i, obj in enumerate(objs):
            if cls is WatchfulRow:
                assert tuple(obj) == (i, "x")
            elif cls is WatchfulSlots:
                assert (obj.a, obj.value) == (i, "x")
            else:
                assert list(obj.__dict__.items()) == [("a", i), ("value", "x")]


# --- what allow does not cover -----------------------------------------------------------------------------------------

class CallsInit(ValueError):
    def __init__(self, text):
        super().__init__(text)


class OwnSetattr(dict):
    def __setattr__(self, name, value):
        raise AssertionError("called")


class OwnSetitem(dict):
    def __setitem__(self, key, value):
        raise AssertionError("called")


class OwnNew:
    def __new__(cls, *arguments):
        raise AssertionError("called")


class Found(enum.Enum):
    A = 1

    def __reduce_ex__(self, protocol):
        return function, ()


class SetOfMine(set):
    pass


CALLS = "would run with whatever a frame holds: send what its objects are made of"
# What cannot be allowed, and why.
NEVER = {
    "reduce": (Reduced, f"{HERE}.Reduced is in allow, but is made by calling its __reduce__, which {CALLS}"),
    "state": (WithState, f"{HERE}.WithState is in allow, but is made by calling its __setstate__, which {CALLS}"),
    "init": (CallsInit, f"{HERE}.CallsInit is in allow, but is made by calling its __init__, which {CALLS}"),
    "new": (OwnNew, f"{HERE}.OwnNew is in allow, but is made by calling its __new__, which {CALLS}"),
    "setattr": (OwnSetattr, f"{HERE}.OwnSetattr is in allow, but is made by calling its __setattr__, which {CALLS}"),
    "setitem": (OwnSetitem, f"{HERE}.OwnSetitem is in allow, but is made by calling its __setitem__, which {CALLS}"),
    "enum": (Found, f"{HERE}.Found is in allow, but is made by calling its __reduce_ex__, which {CALLS}"),
    "set": (SetOfMine, f"{HERE}.SetOfMine is in allow, but is made by calling code of its own: send"),
    "partial": (functools.partial, "functools.partial is in allow, but is made by calling code of its own: send"),
    "pattern": (re.Pattern, "re.Pattern is in allow, but is made by calling code of its own: send"),
    "function type": (types.FunctionType, "builtins.function is in allow, but is made by calling code of its own: send"),
    "type": (type, "builtins.type is in allow, but is made by calling code of its own: send"),
    "property": (property, "builtins.property is in allow, but is made by calling code of its own: send"),
    "local": (type("Local.<locals>.A", (), {}), "goes by value, as code, since no name leads to it: define it in a module"),
    "function": (f"{HERE}.function", f"{HERE}.function is in allow, but is no class: allow takes classes"),
    "builtin": ("os.system", "os.system is in allow, but is no class: allow takes classes"),
    "member": (f"{HERE}.Color.RED", f"{HERE}.Color.RED is in allow, but is no class: allow takes classes"),
    "module": ("os.path", "os.path is in allow, but is no class: allow takes classes"),
    "no module": ("fastser_nowhere.Name", "fastser_nowhere.Name is in allow, but is not there (ModuleNotFoundError: No module named"),
    "no class": (f"{HERE}.Outer.Missing", f"{HERE}.Outer.Missing is in allow, but is not there (AttributeError: "),
    "not loaded": ("xml.etree.ElementTree.Nothing", "xml.etree.ElementTree.Nothing is in allow, but is not there (AttributeError: "),
}


@pytest.mark.parametrize("kind", NEVER)
def test_what_cannot_be_allowed_is_refused_when_it_is_given(kind):
    entry, message = NEVER[kind]
    plain = fastser.dumps([1, 2])
    entries = [entry]
    if isinstance(entry, type) and entry.__module__ == HERE and kind != "local":
        entries.append(f"{HERE}.{entry.__qualname__}")
    for entry in entries:
        for load in (
            lambda: fastser.loads(plain, safe=True, allow=[Point, entry]),
            lambda: fastser.load(io.BytesIO(plain), safe=True, allow=[*fastser.STANDARD, entry]),
            lambda: fastser.loads_many([], safe=True, allow=[entry]),
            lambda: Serializer(safe=True, allow=[entry]),
        ):
            with pytest.raises(ValueError) as caught:
                load()
            assert type(caught.value) is ValueError
            assert message in str(caught.value)


@pytest.mark.parametrize(
    "allow",
    [3, None, [3], [None], "package.module.Name", b"package.module.Name", [b"package.Name"], [function], [Point()], [Point, 3], [list[int]],
     ["Name"], [""], [".Name"], ["package."], ["package..Name"], ["package Name"], [types]],
    ids=repr,
)  # fmt: skip
def test_wrong_things_to_allow(allow):
    for data in (fastser.dumps(1), fastser.dumps(Point())):
        with pytest.raises(TypeError, match="allow") as caught:
            fastser.loads(data, safe=True, allow=allow)
        assert not isinstance(caught.value, fastser.FastserError)
        with pytest.raises(TypeError, match="allow"):
            fastser.load(io.BytesIO(data), safe=True, allow=allow)
    with pytest.raises(TypeError, match="allow"):
        Serializer(safe=True, allow=allow)


def test_allow_is_an_iterable_of_any_kind():
    frame = fastser.dumps([Point(), Row(1)])
    for allow in ([Point, Row], (Point, Row), {Point, Row}, {Point: 1, Row: 2}, iter([Point, Row]), (cls for cls in (Point, f"{HERE}.Row"))):
        assert type(fastser.loads(frame, safe=True, allow=allow)[1]) is Row
    serializer = Serializer(safe=True, allow=(cls for cls in (Point, f"{HERE}.Row")))
    for _ in range(2):
        assert type(serializer.loads(frame)[1]) is Row


def test_allow_asks_for_safe():
    frame = fastser.dumps(Point())
    for load in (
        lambda: fastser.loads(frame, allow=[Point]),
        lambda: fastser.loads(bytearray(frame), allow=fastser.STANDARD),
        lambda: fastser.load(io.BytesIO(frame), allow=[Point]),
        lambda: fastser.loads_many([], allow=[Point]),
        lambda: Serializer(allow=[Point]),
    ):
        with pytest.raises(ValueError, match="^allow is given, but not safe=True: without it a frame may make anything$"):
            load()
    assert type(fastser.loads(frame, allow=[])) is type(fastser.loads(frame, allow=())) is Point


def test_the_class_that_is_given_is_the_class_that_is_used():
    # What module and name lead to is not asked: the reader said which class it means.
    other = type("Point", (), {"__module__": HERE, "__qualname__": "Point"})
    assert type(fastser.loads(fastser.dumps(Point()), safe=True, allow=[other])) is other
    nowhere = type("Name", (), {"__module__": "fastser_nowhere", "__qualname__": "Name"})
    frame = build(INSTANCES, 0, NEW_CALLABLE, GLOBAL, text=["fastser_nowhere", "Name"], flags=FOREIGN)
    assert type(fastser.loads(frame, safe=True, allow=[nowhere])) is nowhere


# --- forged frames -----------------------------------------------------------------------------------------------------


def instance(cls, fields, slots=0, values=(), count=1, module=HERE):
    """A frame with instances of a class that have these fields, the first of them in slots; the values are tags."""
    form = (1 + slots, 0, len(fields)) if fields else (0,)
    where = () if count == 1 else (LIST, count)
    return build(*where, INSTANCES, *form, NEW_CALLABLE, GLOBAL, *values, text=[*fields, module, cls], flags=FOREIGN)


def test_the_frames_below_are_those_that_dumps_writes():
    found = fastser.loads(instance("Point", ["x", "y"], 0, [small(1), small(2)]))
    same(Point(), found)
    same(Slots(), fastser.loads(instance("Slots", ["first", "second"], 2, [small(1), small(2)]), safe=True, allow=[Slots]))
    row = build(NAMED_ROWS, 2, NEW_CALLABLE, GLOBAL, small(1), small(2), text=[HERE, "Row"], flags=FOREIGN)
    assert fastser.loads(row, safe=True, allow=[Row]) == Row(1, 2)


MODULE = ["os", "system"]
GLOBALS = {
    "value": build(GLOBAL, text=MODULE, flags=FOREIGN),
    "many": build(LIST, 20, GLOBAL, text=MODULE * 20, flags=FOREIGN),
    "key": build(DICT, 1, GLOBAL, NONE, text=MODULE, flags=FOREIGN),
    "member": build(SET, 1, GLOBAL, text=MODULE, flags=FOREIGN),
    "frozen member": build(FROZENSET, 1, GLOBAL, text=MODULE, flags=FOREIGN),
    "zone": build(DATETIME_ZONED, 0, GLOBAL, text=MODULE, i64=[0], flags=FOREIGN),
    "zone of a time": build(TIME_ZONED, 0, GLOBAL, text=MODULE, i64=[0], flags=FOREIGN),
    "offset": build(TIMEZONE, GLOBAL, NONE, text=MODULE, flags=FOREIGN),
    "dtype": build(ARRAY, DESCRIBED, GLOBAL, 0, 1, 1, INLINE, text=MODULE, data=[b"x"], flags=FOREIGN),
    "scalar's dtype": build(SCALAR, DESCRIBED, GLOBAL, text=MODULE, data=[b"x"], flags=FOREIGN),
    "start": build(RANGE, GLOBAL, small(1), small(1), text=MODULE, flags=FOREIGN),
    "bound": build(SLICE, GLOBAL, NONE, NONE, text=MODULE, flags=FOREIGN),
    "element": build(OBJECT_ARRAY, OBJECT, 0, 1, 1, GLOBAL, text=MODULE, flags=FOREIGN),
    "record": build(RECORDS, 0, 1, GLOBAL, text=["a", *MODULE], flags=FOREIGN),
    "row": build(TUPLE_ROWS, 1, GLOBAL, text=MODULE, flags=FOREIGN),
    "nullable": build(LIST, 2, NULLABLE, GLOBAL, text=MODULE * 2, bits=b"\1", flags=FOREIGN),
    "concat": build(LIST, 2, CONCAT, 1, GLOBAL, NONE, text=MODULE, flags=FOREIGN),
    "indexed": build(LIST, 2, INDEXED, 1, GLOBAL, 1, text=MODULE, i8=[0, 0], flags=FOREIGN),
    "class": build(INSTANCES, 0, NEW_CALLABLE, GLOBAL, text=MODULE, flags=FOREIGN),
    "row's class": build(NAMED_ROWS, 1, NEW_CALLABLE, GLOBAL, NONE, text=MODULE, flags=FOREIGN),
    "call": build(CALL, 0, NEW_CALLABLE, GLOBAL, 2, TEXT, 0, text=[*MODULE, "true"], flags=FOREIGN),
    "new": build(CALL, NEW, NEW_CALLABLE, GLOBAL, 2, TEXT, 0, text=[*MODULE, "true"], flags=FOREIGN),
}


@pytest.mark.parametrize("place", GLOBALS)
@pytest.mark.parametrize("flags", [FOREIGN, 0, FOREIGN | REFS])
def test_references_in_odd_places(place, flags):
    frame = bytearray(GLOBALS[place])
    frame[5] = flags
    for allow in ([], [Point, "subprocess.Popen"], fastser.STANDARD):
        with pytest.raises(DecodeError) as caught:
            fastser.loads(frame, safe=True, allow=allow)
        if flags and type(caught.value) is UnsafeDataError:
            assert "os.system" in str(caught.value)
    if place in ("value", "many", "key", "member", "frozen member", "element", "bound", "record", "row", "class", "call", "new") and flags == FOREIGN:
        refused(frame, "os.system")


def test_what_is_no_class_is_never_called():
    for name in ("os.system", "os.remove", "builtins.eval", "builtins.exec", "subprocess.getoutput"):
        module, _, function = name.rpartition(".")
        frame = build(CALL, 0, NEW_CALLABLE, GLOBAL, 2, TEXT, 0, text=[module, function, "1 / 0"], flags=FOREIGN)
        for allow in ([], fastser.STANDARD):
            refused(frame, name, allow=allow)
        for fields in ([], ["a"]):
            forged = instance(function, fields, 0, [NONE for _ in fields], module=module)
            with pytest.raises(DecodeError, match=name):
                fastser.loads(forged, safe=True, allow=fastser.STANDARD)
            with pytest.raises(DecodeError):
                fastser.loads(forged)


def test_a_callable_may_be_no_reference():
    # A text, a list, a call, in the place of a class.
    odd = [
        (TEXT,), (LIST, 0), (NONE,), (CALL, 0, NEW_CALLABLE, GLOBAL, 1, 0), (INSTANCES, 0, NEW_CALLABLE, GLOBAL), (HOOK, NONE, 0),
    ]  # fmt: skip
    for value in odd:
        for head in ((INSTANCES, 0), (INSTANCES, 1, 0, 1), (NAMED_ROWS, 1), (CALL, 0), (CALL, NEW)):
            frame = build(*head, NEW_CALLABLE, *value, 1, NONE, NONE, text=[HERE, "Point", "x"], flags=FOREIGN)
            with pytest.raises(DecodeError):
                fastser.loads(frame, safe=True, allow=[Point])


def test_forged_slots():
    for fields, slots in (
        (["first", "third"], 2), (["third"], 1), (["__class__"], 1), (["__dict__"], 1), (["__weakref__"], 1), (["__doc__"], 1),
        (["__init__"], 1), (["__slots__"], 1), (["first", "first"], 2), (["first", "second"], 3),
        (["__class__"], 0), (["__dict__"], 0), (["first", "third"], 1),
    ):  # fmt: skip
        for count in (1, 2):
            values = [small(1) if count == 1 else (INT8,) for _ in fields]
            flat = [tag for value in values for tag in (value if type(value) is tuple else (value,))]
            form = (1 + slots, 0, len(fields))
            where = () if count == 1 else (LIST, count)
            frame = build(
                *where, INSTANCES, *form, NEW_CALLABLE, GLOBAL, *flat, text=[*fields, HERE, "Slots"],
                i8=[1] * len(fields) * count if count > 1 else (), flags=FOREIGN,
            )  # fmt: skip
            for options in ({}, {"safe": True, "allow": [Slots]}):
                with pytest.raises(DecodeError):
                    found = fastser.loads(frame, **options)
                    print(fields, slots, count, options, found)


@pytest.mark.parametrize("name", ["__class__", "__dict__", "__init__", "__doc__", "__weakref__", "__module__", "__slots__", "", "a b", "é"])
def test_odd_names_of_fields_are_entries_of_the_dict(name):
    # As with pickle; what the interpreter looks up, it looks up in the class.
    for value, expected in ((small(1), 1), (TRUE, True)):
        found = fastser.loads(instance("Point", ["x", name], 0, [NONE, value]), safe=True, allow=[Point])
        assert type(found) is Point and found.__class__ is Point
        assert list(object.__getattribute__(found, "__dict__").items()) == [("x", None), (name, expected)]
    for cls in ("Row", "Color"):
        forged = build(INSTANCES, 1, 0, 1, NEW_CALLABLE, GLOBAL, NONE, text=[name, HERE, cls], flags=FOREIGN)
        with pytest.raises(DecodeError):
            fastser.loads(forged, safe=True, allow=[Row, Color])


def test_a_dict_is_no_dict_of_another():
    # __dict__ by a list, a tuple, an instance: it is an entry like any other, and the instance keeps its own.
    found = fastser.loads(instance("Point", ["__dict__", "x"], 0, [DICT, 0, small(1)]), safe=True, allow=[Point])
    assert object.__getattribute__(found, "__dict__") == {"__dict__": {}, "x": 1}
    found = fastser.loads(instance("SlotsChild", ["first", "__class__"], 1, [small(1), small(2)]), safe=True, allow=[SlotsChild])
    assert type(found) is SlotsChild and found.first == 1 and vars(found) == {"__class__": 2}


class Abstract(abc.ABC):
    @abc.abstractmethod
    def method(self):
        """Not here."""


def test_a_class_that_is_not_finished():
    for options in ({}, {"safe": True, "allow": [Abstract]}):
        with pytest.raises(DecodeError, match="Abstract"):
            fastser.loads(instance("Abstract", ["a"], 0, [NONE]), **options)


def test_a_field_may_be_missing():
    # The class's own methods meet it: an error of theirs is no crash.
    frame = build(DICT, 1, INSTANCES, 1, 0, 1, NEW_CALLABLE, GLOBAL, NONE, NONE, text=["b", HERE, "Key"], flags=FOREIGN)
    with pytest.raises(DecodeError) as caught:
        fastser.loads(frame, safe=True, allow=[Key])
    assert isinstance(caught.value.__cause__, AttributeError)


@pytest.mark.parametrize("width", [0, 1, 3, 200])
@pytest.mark.parametrize("count", [1, 2])
def test_a_named_tuple_of_the_wrong_width(width, count):
    where = () if count == 1 else (LIST, count)
    frame = build(*where, NAMED_ROWS, width, NEW_CALLABLE, GLOBAL, *[NONE] * width, text=[HERE, "Row"], flags=FOREIGN)
    with pytest.raises(DecodeError, match="Row") as caught:
        fastser.loads(frame, safe=True, allow=[Row])
    assert not isinstance(caught.value, UnsafeDataError)
    # Without safety the class is called, as pickle calls it: it may have got a field with a default since.
    if width == 1:
        assert fastser.loads(frame) == (Row(None) if count == 1 else [Row(None)] * count)
    else:
        with pytest.raises(DecodeError, match="Row"):
            fastser.loads(frame)


BUILTINS = [
    "builtins.type", "builtins.object", "builtins.int", "builtins.str", "builtins.bytes", "builtins.dict", "builtins.list", "builtins.tuple",
    "builtins.set", "builtins.frozenset", "builtins.property", "builtins.super", "builtins.memoryview", "builtins.slice", "builtins.range",
    "builtins.Exception", "builtins.OSError", "builtins.classmethod", "builtins.float", "builtins.enumerate", "builtins.map", "builtins.BaseExceptionGroup",
    "types.FunctionType", "types.CodeType", "types.GeneratorType", "types.FrameType", "types.TracebackType", "types.CellType", "types.ModuleType",
    "types.MethodType", "types.MappingProxyType", "types.SimpleNamespace", "types.NoneType", "types.BuiltinFunctionType",
    "collections.OrderedDict", "collections.deque", "collections.defaultdict", "functools.partial", "itertools.count", "re.Pattern", "weakref.ref",
    "datetime.datetime", "datetime.timezone", "decimal.Decimal", "zoneinfo.ZoneInfo", "uuid.UUID", "array.array", "_io.BytesIO", "_io.FileIO",
    "_thread.lock", "_thread.RLock", "_socket.socket", "numpy.ndarray", "numpy.dtype", "numpy.float64", "numpy.record", "numpy.void",
    "ctypes.c_int", "ctypes.Structure", "ctypes.c_void_p", "operator.itemgetter", "enum.Enum", "typing.NamedTuple", "pathlib.Path",
    "fastser.Packed", "fastser._core.frame.packed.Packed",
]  # fmt: skip

FORGED = """
    import sys
    import importlib, gc
    import fastser
    for line in sys.stdin:
        name, allowed, frame = line.split()
        module, _, cls = name.rpartition(".")
        importlib.import_module(module)
        print(line[:80], flush=True)
        try:
            found = fastser.loads(bytes.fromhex(frame), **({"safe": True, "allow": [name]} if allowed == "1" else {}))
        except ValueError as error:  # one of fastser's, or from what may not be allowed at all
            print("refused", type(error).__name__, flush=True)
        else:
            print("made", flush=True)
            gc.collect()
            del found
"""


def test_classes_of_the_interpreter_are_not_made_of_fields():
    """object.__new__ is not theirs, and what they hold is not in fields. Without safety they may be, as with pickle; nothing crashes."""
    lines = []
    for name in BUILTINS:
        module, _, cls = name.rpartition(".")
        if not hasattr(importlib.import_module(module), cls):
            continue
        forged = [
            instance(cls, [], module=module),
            instance(cls, ["a"], 0, [NONE], module=module),
            instance(cls, ["__class__"], 1, [NONE], module=module),
            build(LIST, 20, INSTANCES, 0, NEW_CALLABLE, GLOBAL, text=[module, cls], flags=FOREIGN),
            build(NAMED_ROWS, 1, NEW_CALLABLE, GLOBAL, NONE, text=[module, cls], flags=FOREIGN),
            build(NAMED_ROWS, 0, NEW_CALLABLE, GLOBAL, text=[module, cls], flags=FOREIGN),
            build(LIST, 20, NAMED_ROWS, 1, NEW_CALLABLE, GLOBAL, NONE, text=[module, cls], flags=FOREIGN),
        ]
        lines += [f"{name} {allowed} {frame.hex()}\n" for frame in forged for allowed in "01"]
    command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(FORGED)]
    environment = {"PYTHONPATH": str(Path(fastser.__file__).parents[1])}
    done = subprocess.run(command, input="".join(lines), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr
    outcomes = done.stdout.splitlines()
    made = [a for a, b in zip(outcomes[::2], outcomes[1::2], strict=True) if not b.startswith("refused")]
    assert [line for line in made if line.split()[1] == "1"] == []


DAMAGED = """
    import random, sys, zoneinfo
    import fastser
    import test_safe

    frames = [bytes.fromhex(line) for line in sys.stdin.read().split()]
    allow = [test_safe.Point, test_safe.Key, test_safe.Slots, test_safe.SlotsChild, test_safe.Row, test_safe.Outer.Inner]
    names = [b"Point", b"Slots", b"Inner"]
    events, armed = [], False

    def watch(event, arguments):
        if armed and event not in ("builtins.id", "object.__getattr__") and "zoneinfo" not in str(arguments):  # zones are data
            events.append((event, arguments))

    for key in ("nowhere", "No/where", "Europe/London"):
        try:
            zoneinfo.ZoneInfo(key)  # what that needs is imported now
        except zoneinfo.ZoneInfoNotFoundError:
            pass
    sys.addaudithook(watch)
    rng = random.Random(7)
    outcomes = {}
    for i in range(12_000):
        frame = bytearray(rng.choice(frames))
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(16, len(frame))
            way = rng.randrange(4)
            if way == 0:
                frame[at] ^= 1 << rng.randrange(8)
            elif way == 1:
                frame[at] = rng.choice((0, 1, 2, 44, 48, 49, 54, 55, 56, 57, 58, 60, 61, 62, 63, 64, 65, 128))
            elif way == 2:
                name = rng.choice(names)
                start = frame.find(rng.choice(names))
                if start >= 0:
                    frame[start : start + 5] = name
            else:
                frame[at] = frame[rng.randrange(16, len(frame))]
        armed = True
        try:
            found = fastser.loads(frame, safe=True, allow=allow)
            outcome = "value"
            del found
        except fastser.FastserError as error:
            outcome = type(error).__name__
        armed = False
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    print(events, outcomes)
    assert events == []
    assert outcomes["value"] > 100 and outcomes["DecodeError"] > 100 and outcomes["UnsafeDataError"] > 100
"""


def test_damage_of_what_is_allowed():
    """A value or an error of ours; no import, no call, no crash."""
    child = SlotsChild()
    child.more = [child]
    loop = Point()
    loop.x = [loop, Row(loop)]
    allowed = [Point(), Key(1), Slots(), child, Row(1, [2]), Outer.Inner(), loop, {Key(2): Row(3, 4)}, {Row(1, 2)}]
    runs = [[Point(i, str(i)) for i in range(20)], [Row(i, [i]) for i in range(20)], [Slots(i, None) for i in range(20)]]
    others = [WithState(), collections.OrderedDict(a=1), Color.RED, function, lambda: 1, Reduced(), memoryview(b"abc")]
    values = [[one] for one in allowed] + runs + [allowed, [*allowed, *runs]] + [[Point(), other] for other in others]
    hooked = Serializer()
    hooked.register(Key, lambda key: key.a, Key)
    frames = [fastser.dumps(value) for value in values] + [fastser.dumps(value, track_refs=False) for value in values[:8]]
    frames += [hooked.dumps([Point(), Key(1)])]
    command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(DAMAGED)]
    environment = {"PYTHONPATH": os.pathsep.join([str(Path(fastser.__file__).parents[1]), str(Path(__file__).parent)])}
    done = subprocess.run(command, input="\n".join(frame.hex() for frame in frames), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]


# --- plain data --------------------------------------------------------------------------------------------------------

ZONES = {"zones"}  # announced as foreign, since zones are looked up


@pytest.mark.parametrize("name", sorted(test_golden.OBJECTS))
def test_plain_data_needs_nothing_and_the_rest_is_refused(name):
    frame = test_golden.golden(name)
    if frame[5] & FOREIGN and name not in ZONES:
        refused(frame, "")
        return
    same(test_golden.OBJECTS[name], fastser.loads(frame, safe=True))
    same(test_golden.OBJECTS[name], fastser.loads(frame, safe=True, allow=[Point, f"{HERE}.Row"]))


def test_arrays_of_safe_frames_are_views_too():
    array = np.arange(1000.0)
    memory = bytearray(fastser.dumps([array, Point(array + 1)]))
    plain, point = fastser.loads(memory, safe=True, allow=[Point])
    for found, expected in ((plain, array), (point.x, array + 1)):
        np.testing.assert_array_equal(found, expected)
        assert np.shares_memory(found, np.frombuffer(memory, np.uint8)) and found.flags.writeable

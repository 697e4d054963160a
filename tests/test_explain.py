"""What explain tells: plans, reasons, bytes and every failure; of the most hostile objects too, and in bounded time."""

import collections
import dataclasses
import datetime
import enum
import fractions
import os
import re
import subprocess
import sys
import textwrap
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest

import fastser
from fastser import Explanation, explain


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y


@dataclasses.dataclass
class Job:
    name: str
    points: list
    lock: object = None


class Slotted:
    __slots__ = ("a", "b")


Row = collections.namedtuple("Row", "left right")


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Refusing:
    def __reduce__(self):
        raise ZeroDivisionError("on purpose")


class Reducing:
    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def with_attribute(obj, **attributes):
    vars(obj).update(attributes)
    return obj


def lines(explanation):
    """(path, type, plan, count) of every node, in the order of the text."""
    return [(node.path, node.type_name, node.plan, node.count) for node in explanation.nodes()]


def tree(obj, **options):
    found = explain(obj, **options)
    assert found.failures == []
    assert_agrees_with_dumps(obj, found, **options)
    return lines(found)


def assert_agrees_with_dumps(obj, found, **options):
    """Nothing fails exactly when dumps works, and what dumps says is among the failures."""
    try:
        frame = fastser.dumps(obj, **options)
    except fastser.FastserError as error:
        assert str(error) in [failure.reason for failure in found.failures]
    else:
        assert found.failures == []
        assert found.nbytes == len(frame)


# --- the tree ----------------------------------------------------------------------------------------------------------


def text(*rows):
    return "\n".join(rows)


def test_the_text():
    obj = {"name": "a", "sizes": [1, 2, 3], "pair": (1.5, None)}
    assert str(explain(obj)) == text(
        "path        type      plan    bytes  reason",
        "$           dict      native     89",
        "$.name      str       native     10",
        "$.sizes     list      native      5",
        "$.sizes[0]  3 × int   native      4",
        "$.pair      tuple     native     11",
        "$.pair[0]   float     native      9",
        "$.pair[1]   NoneType  native      1",
    )
    assert str(explain(5)) == text("path  type  plan    bytes  reason", "$     int   native     25")


def test_the_text_of_objects():
    assert str(explain([Point(i, "a") for i in range(1000)])) == text(
        "path    type                        plan    bytes  reason",
        "$       list                        native  2,089",
        "$[0]    1,000 × test_explain.Point  FIELDS  2,140  the default object protocol",
        "$[0].x  1,000 × int                 native  2,002",
        "$[0].y  1,000 × str                 native    108",
    )
    loop = {"colours": [Colour.RED, Colour.RED], "each": Reducing(Point, (1, 3))}
    loop["loop"] = loop
    assert str(explain(loop)) == text(
        "path                  type                   plan    bytes  reason",
        "$                     dict                   native    131",
        "$.colours             list                   native     33",
        "$.colours[0]          test_explain.Colour    REDUCE     32  it has a __reduce_ex__ of its own",
        "$.colours[0].args[0]  int                    native      1",
        "$.colours[1]          test_explain.Colour    REF         0  met before, at $.colours[0]",
        "$.each                test_explain.Reducing  REDUCE     32  it has a __reduce__ of its own",
        "$.each.args[0]        int                    native      1",
        "$.each.args[1]        int                    native      1",
        "$.loop                dict                   REF         0  leads back to $",
    )


def test_the_text_of_what_fails():
    found = explain({"a": [1, threading.Lock(), Point(1, threading.Lock())], "b": Refusing()})
    assert [failure.path for failure in found.failures] == ["$.a[1]", "$.a[2].y", "$.b"]
    assert found.failures[2].reason == "cannot pack the test_explain.Refusing at $.b: ZeroDivisionError: on purpose"
    assert str(found) == text(
        "path      type                   plan    bytes  reason",
        "$         dict                   native     48",
        "$.a       list                   native     33",
        "$.a[0]    int                    native      1",
        "$.a[1]    _thread.lock           REDUCE      0  its reducer refuses: TypeError: cannot pickle '_thread.lock' object; fails",
        "$.a[2]    test_explain.Point     FIELDS     31  the default object protocol",
        "$.a[2].x  int                    native      1",
        "$.a[2].y  _thread.lock           REDUCE      0  its reducer refuses: TypeError: cannot pickle '_thread.lock' object; fails",
        "$.b       test_explain.Refusing  REDUCE      0  it has a __reduce__ of its own; fails",
        "",
        "3 of its parts cannot be packed:",
        *[f"- {failure.reason}" for failure in found.failures],
    )


@pytest.mark.parametrize(
    "obj, expected",
    [
        (None, [("$", "NoneType", "native", 1)]),
        (5, [("$", "int", "native", 1)]),
        ([], [("$", "list", "native", 1)]),
        ((), [("$", "tuple", "native", 1)]),
        (np.arange(3), [("$", "numpy.ndarray", "native", 1)]),
        ([1, 2], [("$", "list", "native", 1), ("$[0]", "int", "native", 2)]),
        (
            [1, "a", 2, None, 3.5],
            [("$", "list", "native", 1), ("$[0]", "int", "native", 2), ("$[1]", "str", "native", 1)]
            + [("$[3]", "NoneType", "native", 1), ("$[4]", "float", "native", 1)],
        ),
        (
            {"a": 1, "b c": [2]},
            [("$", "dict", "native", 1), ("$.a", "int", "native", 1), ("$['b c']", "list", "native", 1), ("$['b c'][0]", "int", "native", 1)],
        ),
        ({(1, "a"): 5}, [("$", "dict", "native", 1), ("$.key(tuple)", "tuple", "native", 1)] + [("$.key(tuple)[0]", "int", "native", 1)] + [("$.key(tuple)[1]", "str", "native", 1), ("$[(1, 'a')]", "int", "native", 1)]),
        ({3, 4}, [("$", "set", "native", 1), ("${int}", "int", "native", 2)]),
        (slice(1, None), [("$", "slice", "native", 1), ("$.start", "int", "native", 1), ("$.stop", "NoneType", "native", 1), ("$.step", "NoneType", "native", 1)]),
        (datetime.datetime(2020, 1, 1), [("$", "datetime.datetime", "native", 1)]),
        (
            [datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)],
            [("$", "list", "native", 1), ("$[0]", "datetime.datetime", "native", 1), ("$[0].tzinfo", "datetime.timezone", "native", 1)],
        ),
        (
            np.array([[1, "x"], [[2], None]], object),
            [("$", "numpy.ndarray", "native", 1), ("$[0, 0]", "int", "native", 1), ("$[0, 1]", "str", "native", 1)]
            + [("$[1, 0]", "list", "native", 1), ("$[1, 0][0]", "int", "native", 1), ("$[1, 1]", "NoneType", "native", 1)],
        ),
        ([np.array(["a"], np.dtypes.StringDType())], [("$", "list", "native", 1), ("$[0]", "numpy.ndarray", "native", 1)]),
        (Point(1, "a"), [("$", "test_explain.Point", "FIELDS", 1), ("$.x", "int", "native", 1), ("$.y", "str", "native", 1)]),
        (np.zeros(2, [("a", "O")]), [("$", "numpy.ndarray", "REDUCE", 1)]),
        (Row(1, [2]), [("$", "test_explain.Row", "ROWS", 1), ("$.left", "int", "native", 1), ("$.right", "list", "native", 1), ("$.right[0]", "int", "native", 1)]),
        (Colour.RED, [("$", "test_explain.Colour", "REDUCE", 1), ("$.args[0]", "int", "native", 1)]),
        (Reducing(Point, (1, "a")), [("$", "test_explain.Reducing", "REDUCE", 1), ("$.args[0]", "int", "native", 1), ("$.args[1]", "str", "native", 1)]),
        (collections.OrderedDict(a=1), [("$", "collections.OrderedDict", "REDUCE", 1), ("$.a", "int", "native", 1)]),
        (print, [("$", "builtin_function_or_method", "REFERENCE", 1)]),
        (Point, [("$", "type", "REFERENCE", 1)]),
        (os, [("$", "module", "REFERENCE", 1)]),
        ([len, print, dict], [("$", "list", "native", 1), ("$[0]", "builtin_function_or_method", "REFERENCE", 2), ("$[2]", "type", "REFERENCE", 1)]),
    ],
    ids=lambda value: "" if isinstance(value, list) else type(value).__name__,
)
def test_small_trees(obj, expected):
    assert tree(obj) == expected


def test_alike_parts_are_one_line():
    obj = [Job(f"job {i}", [Point(i, 0.5)] * 2) for i in range(1000)]
    assert tree(obj) == [
        ("$", "list", "native", 1),
        ("$[0]", "test_explain.Job", "FIELDS", 1000),
        ("$[0].name", "str", "native", 1000),
        ("$[0].points", "list", "native", 1000),
        ("$[0].points[0]", "test_explain.Point", "FIELDS", 1000),
        ("$[0].points[0].x", "int", "native", 1000),
        ("$[0].points[0].y", "float", "native", 1000),
        ("$[0].points[1]", "test_explain.Point", "REF", 1000),
        ("$[0].lock", "NoneType", "native", 1000),
    ]


def test_records_have_a_line_for_each_key_and_wide_dicts_for_each_type():
    records = [{"id": i, "name": "x"} | ({"extra": [i]} if i % 2 else {}) for i in range(10)]
    assert tree(records) == [
        ("$", "list", "native", 1),
        ("$[0]", "dict", "native", 10),
        ("$[0].id", "int", "native", 10),
        ("$[0].name", "str", "native", 10),
        ("$[1].extra", "list", "native", 5),
        ("$[1].extra[0]", "int", "native", 5),
    ]
    wide = {f"k{i}": i if i % 2 else str(i) for i in range(1000)}
    assert tree(wide) == [("$", "dict", "native", 1), ("$.k0", "str", "native", 500), ("$.k1", "int", "native", 500)]


def test_dicts_of_ever_other_keys_have_a_bounded_number_of_lines():
    many = [{f"k{i}": i} for i in range(1000)]
    found = tree(many)
    assert found[:3] == [("$", "list", "native", 1), ("$[0]", "dict", "native", 1000), ("$[0].k0", "int", "native", 1)]
    assert found[-1] == ("$[64].k64", "int", "native", 936)
    assert len(found) == 2 + 64 + 1


def test_reasons():
    found = explain([Point(1, 2), Row(1, 2), fractions.Fraction(1), print, Colour.RED, lambda: 1, type("Local", (), {})()])
    reasons = {node.type_name.rpartition(".")[2]: (node.plan, node.reason) for node in found.nodes() if node.reason}
    assert reasons == {
        "Point": ("FIELDS", "the default object protocol"),
        "Row": ("ROWS", "a named tuple"),
        "Fraction": ("REDUCE", "it has a __reduce__ of its own"),
        "builtin_function_or_method": ("REFERENCE", "its reducer gives its name"),
        "Colour": ("REDUCE", "it has a __reduce_ex__ of its own"),
        "function": ("VALUE", "it cannot be imported, or is not to be"),
        "Local": ("FIELDS", "the default object protocol"),
        "type": ("VALUE", "it cannot be imported, or is not to be"),
    }


def test_what_goes_by_value():
    local = type("Local", (), {})
    found = explain({"a": [1, lambda: 1, lambda: 2], "b": local(), "c": print})
    assert [(node.path, node.type_name, node.count) for node in found.by_value] == [("$.a[1]", "function", 2), ("$.b.class", "type", 1)]
    assert explain([1, Point(1, 2)]).by_value == []
    assert explain([fractions.Fraction(1)], track_refs=False).by_value == []


def test_hooks():
    class Hooked:
        def __init__(self, x):
            self.x = x

    fastser.register(Hooked, lambda obj: {"x": obj.x}, lambda payload: Hooked(payload["x"]), name="hooked")
    found = explain([Hooked(1), Hooked([2])])
    assert lines(found)[:4] == [
        ("$", "list", "native", 1),
        ("$[0]", f"{__name__}.test_hooks.<locals>.Hooked", "HOOK", 2),
        ("$[0].hook", "dict", "native", 2),
        ("$[0].hook.x", "int", "native", 1),
    ]
    assert found.children[0].reason == "registered as 'hooked'"

    class Failing:
        pass

    def encode(obj):
        raise ZeroDivisionError("in the hook")

    fastser.register(Failing, encode, lambda payload: None, name="failing")
    found = explain({"a": [1, Failing()], "b": Failing()})
    assert [failure.path for failure in found.failures] == ["$.a[1]", "$.b"]
    assert "in the hook" in found.failures[0].reason
    assert_agrees_with_dumps(obj := {"a": [1, Failing()]}, explain(obj))


# --- what was met before -----------------------------------------------------------------------------------------------


def refs(obj, **options):
    return [(node.path, node.count, node.reason) for node in explain(obj, **options).nodes() if node.plan == "REF"]


def test_shared_parts():
    shared = [1]
    assert refs([shared, shared, {"a": shared}, (shared,)]) == [
        ("$[1]", 1, "met before, at $[0]"),
        ("$[2].a", 1, "met before, at $[0]"),
        ("$[3][0]", 1, "met before, at $[0]"),
    ]
    assert refs([shared, shared], track_refs=False) == [("$[1]", 1, "written again, as at $[0]")]
    assert refs([shared] * 100_000) == [("$[1]", 99_999, "met before, at $[0]")]
    text = "x" * 1000
    assert refs([text, text, 10**100, (), ()]) == []


def test_cycles():
    loop = [1]
    loop.append(loop)
    assert refs(loop) == [("$[1]", 1, "leads back to $")]
    point = Point(1, {"a": []})
    point.y["a"].append(point)
    assert refs([0, point]) == [("$[1].y.a[0]", 1, "leads back to $[1]")]
    assert tree(loop)[-1] == ("$[1]", "list", "REF", 1)
    ordered = collections.OrderedDict()
    ordered["self"] = ordered
    assert refs(ordered) == [("$.self", 1, "leads back to $")]
    thing = Point(1, 2)
    thing.x = vars(thing)
    assert tree([thing, vars(thing)])[0] == ("$", "list", "native", 1)


def test_cycles_in_a_tree():
    loop = [1]
    loop.append({"k": loop})
    found = explain([0, loop], track_refs=False)
    assert found.failures == [("$[1]", "list", str(fastser.errors.contains_itself("$[1]")))]
    assert_agrees_with_dumps([0, loop], found, track_refs=False)
    point = Point(1, 2)
    point.x = [point]
    found = explain([point, Point(1, 2)], track_refs=False)
    assert lines(found)[1:3] == [("$[0]", "test_explain.Point", "FIELDS", 1), ("$[1]", "test_explain.Point", "FIELDS", 1)]
    assert found.children[0].reason == "it contains itself, so that identity is kept in it"
    assert_agrees_with_dumps([point], explain([point], track_refs=False), track_refs=False)


def test_what_a_tree_writes_again_may_be_too_deep_there():
    shared = [[1]]
    found = explain([shared, [[shared]]], track_refs=False, max_depth=4)
    assert [(path, reason) for path, _, reason in found.failures] == [
        ("$", str(fastser.errors.depth_exceeded("$[0][0]", 4, decoding=False, stack=False)))
    ]
    assert_agrees_with_dumps([shared, [[shared]]], found, track_refs=False, max_depth=4)


def test_shared_a_thousand_times_over():
    for track_refs in (True, False):
        value = [1]
        for _ in range(60):
            value = [value, value]  # 2**60 paths
        assert len(lines(explain(value, track_refs=track_refs))) == 2 * 60 + 2


# --- what fails --------------------------------------------------------------------------------------------------------


def test_every_failure_with_its_path(tmp_path):
    file = open(tmp_path / "file", "w")
    lock = threading.Lock()
    obj = {
        "a": [1, lock, 2, threading.Lock()],
        "b": Point((i for i in "abc"), Refusing()),
        "c": {"d": [Point(1, file)]},
        "e": np.array([None, Refusing()], object),
        "again": lock,
        "fine": [1, print],
    }
    found = explain(obj)
    assert [(path, name.rpartition(".")[2]) for path, name, _ in found.failures] == [
        ("$.a[1]", "lock"),
        ("$.a[3]", "lock"),
        ("$.b.x", "generator"),
        ("$.b.y", "Refusing"),
        ("$.c.d[0].y", "TextIOWrapper"),
        ("$.e[1]", "Refusing"),
    ]
    for failure in found.failures:
        assert failure.reason.startswith(f"cannot pack the {failure.type_name} at {failure.path}: ")
    assert found.failures[3].reason.endswith(": ZeroDivisionError: on purpose")
    assert_agrees_with_dumps(obj, found)
    file.close()
    assert f"{len(found.failures)} of its parts cannot be packed:\n- {found.failures[0].reason}\n" in str(found)


@pytest.mark.parametrize("options", [{}, {"track_refs": False}, {"fallback": "pickle"}, {"fallback": None}, {"max_depth": 2}], ids=str)
def test_what_dumps_says_is_among_the_failures(options):
    local = type("Local", (), {})
    for part in (threading.Lock(), lambda: 1, local, local(), Refusing(), Point(1, lambda: 1), print, fractions.Fraction(1), [[1]], Row([1], 2), open, range(3), slice(1)):
        for obj in (part, [part], {"a": [1, part]}, Point(part, 2), collections.OrderedDict(a=part), Row(1, part)):
            assert_agrees_with_dumps(obj, explain(obj, **options), **options)


def test_failures_of_a_node_are_those_below_it():
    found = explain({"a": [threading.Lock()], "b": [1]})
    assert [failure.path for failure in found.failures] == ["$.a[0]"]
    assert found.children[0].failures == found.failures
    assert found.children[1].failures == []


def test_many_failures():
    found = explain([threading.Lock() for _ in range(10_000)])
    assert len(found.failures) == 10_000
    assert found.failures[-1].path == "$[9999]"
    assert len(str(found).splitlines()) == 3 + 2 + 20 + 1
    assert str(found).endswith("\n… and 9,980 more")


def test_part_of_a_group_fails():
    good = [Reducing(Point, (1, i)) for i in range(5)]
    bad = [Reducing(Point, (1, threading.Lock())), Reducing(Point, ("no", "tuple"), 5, 6), Reducing("neither a name nor known")]
    found = explain([*good, *bad])
    assert {failure.path for failure in found.failures} >= {"$[5].args[1]", "$[6]", "$[7]"}
    assert_agrees_with_dumps([*good, *bad], found)


@pytest.mark.parametrize("max_depth", [0, 1, 2, 3, 4])
def test_what_is_too_deep(max_depth):
    obj = {"a": [[(1,)]], "b": [1], "c": Point(1, {"d": [2]})}
    found = explain(obj, max_depth=max_depth)
    expected = {0: ["$"], 1: ["$.a", "$.b", "$.c"], 2: ["$.a[0]", "$.c.y"], 3: ["$.a[0][0]", "$.c.y.d"], 4: []}[max_depth]
    assert [failure.path for failure in found.failures] == expected
    for failure in found.failures:
        assert failure.reason == str(fastser.errors.depth_exceeded(failure.path, max_depth, decoding=False, stack=False))
    assert_agrees_with_dumps(obj, found, max_depth=max_depth)


# --- hostile objects ---------------------------------------------------------------------------------------------------


class Boom(Exception):
    def __str__(self):
        raise ZeroDivisionError("no words either")

    __repr__ = __str__


def objects(*items):
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array


def boom(*arguments, **options):
    raise Boom


class EverythingRaises:
    __getattribute__ = __reduce_ex__ = __reduce__ = __getstate__ = __repr__ = __str__ = __hash__ = __eq__ = __len__ = __iter__ = __bool__ = boom


class NoClass:
    __class__ = property(boom)


class NoDict:
    __dict__ = property(boom)


class RaisesRecursionError:
    def __reduce__(self):
        raise RecursionError("as if")


class Meta(type):
    __hash__ = __eq__ = __repr__ = __instancecheck__ = __subclasscheck__ = boom


class OfMeta(metaclass=Meta):
    pass


class NamelessMeta(type):
    __getattribute__ = boom


class Nameless(metaclass=NamelessMeta):
    pass


class Endless:
    def __reduce__(self):
        return Endless, (Endless(),)


class Branching:
    def __reduce__(self):
        return Branching, (Branching(), Branching())


class Widening:
    def __reduce__(self):
        return list, ([Widening(), Widening()],)


class BadIterators:
    def __reduce__(self):
        return Point, (1, 2), None, iter([1, 2, boom]), map(boom, [1])


class Changing:
    """Raises every second time."""

    times = 0

    def __reduce__(self):
        Changing.times += 1
        if Changing.times % 2:
            return Point, (1, 2)
        raise ValueError("not again")


class EmptySlots:
    __slots__ = ("missing",)


class UnreadableSize(list):
    __len__ = __iter__ = boom


HOSTILE = [EverythingRaises, NoClass, NoDict, RaisesRecursionError, OfMeta, Nameless, Endless, BadIterators, Changing, EmptySlots, UnreadableSize, Boom]


@pytest.mark.parametrize("cls", [pytest.param(cls, id=str(i)) for i, cls in enumerate(HOSTILE)])
@pytest.mark.parametrize("options", [{}, {"track_refs": False}, {"fallback": None}], ids=str)
def test_hostile_objects_are_explained(cls, options):
    for wrap in (lambda x: x, lambda x: [1, x], lambda x: {"a": (x,), "b": Point(x, 2)}, lambda x: objects(x, None, [x])):
        obj = wrap(cls())
        found = explain(obj, **options)
        assert str(found).startswith("path ")
        assert isinstance(repr(found), str)
        for failure in found.failures:
            assert type(failure.path) is str and failure.path.startswith("$")
            assert type(failure.type_name) is str and type(failure.reason) is str
            assert failure.reason


def test_a_leaf_that_fails():
    forged = uuid.UUID(int=1)
    object.__setattr__(forged, "int", threading.Lock())
    obj = {"a": [1, forged], "b": {forged: 1}, "c": [forged] * 3}
    found = explain(obj)
    assert {failure.path for failure in found.failures} >= {"$.a[1]", "$.c[0]"}
    assert_agrees_with_dumps(obj, found)


def test_hostile_keys():
    class Key:
        def __hash__(self):
            return 1

        __repr__ = boom

    obj = {Key(): [threading.Lock()], "b": 1}
    found = explain(obj)
    assert [failure.path for failure in found.failures] == ["$[<test_explain.test_hostile_keys.<locals…][0]"]


def test_nesting_without_end_ends():
    value = []
    for _ in range(100_000):
        value = [value]
    found = explain(value)
    assert [failure.path for failure in found.failures] == ["$" + "[0]" * 1000]
    assert len(str(found)) < 20_000
    found = explain(value, max_depth=10**6)
    assert len(lines_of := [node.type_name for node in found.nodes()]) == 100_001 and set(lines_of) == {"list"}
    assert [failure.type_name for failure in found.failures] == ["list"]
    assert len(str(found)) < 50_000
    value = Point(1, 2)
    for _ in range(50_000):
        value = Point(1, value)
    assert explain(value).failures[0].path == "$" + ".y" * 1000


def test_reducers_without_end_end():
    found = explain(Endless())
    assert [failure.type_name for failure in found.failures] == ["test_explain.Endless"]


@pytest.mark.parametrize("cls", [Branching, Widening])
def test_reducers_that_double_end(cls):
    found = explain({"a": cls(), "b": threading.Lock()})
    assert [failure.path for failure in found.failures if failure.type_name == "_thread.lock"] == ["$.b"]
    assert any(node.reason == "not looked into: reducers within reducers make too many objects" for node in found.nodes())


def test_interrupts_come_through():
    class Interrupted:
        def __reduce__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explain([Interrupted()])


def test_objects_are_as_they_were():
    obj = {"a": [Point(1, 2)], "b": Slotted()}
    before = sys.getrefcount(obj["a"]), sys.getrefcount(obj["a"][0]), sys.getrefcount(Point)
    found = explain(obj)
    str(found), found.failures
    del found
    assert (sys.getrefcount(obj["a"]), sys.getrefcount(obj["a"][0]), sys.getrefcount(Point)) == before
    assert vars(obj["a"][0]) == {"x": 1, "y": 2}


def test_bad_options_are_refused_as_dumps_refuses_them():
    with pytest.raises(TypeError, match="fallback must be 'cloudpickle', 'pickle' or None, not 'marshal'"):
        explain(1, fallback="marshal")
    with pytest.raises(TypeError):
        explain(1, max_depth="deep")
    with pytest.raises(TypeError):
        explain(1, True)


# --- bytes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "obj",
    [
        list(range(100_000)),
        [{"a": i, "b": str(i), "c": [i, i / 3]} for i in range(10_000)],
        np.arange(100_000.0),
        {"a": np.arange(1000), "b": b"x" * 10_000, "c": ["text"] * 1000},
        [Point(i, i / 2) for i in range(10_000)],
        [Row(i, str(i)) for i in range(10_000)],
        {"a": {i: i for i in range(10_000)}, "b": {f"k{i}": [i] for i in range(1000)}},
        [fractions.Fraction(i, 7) for i in range(10_000)],
        [uuid.UUID(int=i) for i in range(1000)],
        {"points": [Point(i, None) for i in range(1000)], "shared": [[1, 2]] * 100},
    ],
    ids=lambda value: type(value).__name__,
)
def test_bytes_of_parts_sum_up_to_about_the_whole(obj):
    found = explain(obj)
    assert found.nbytes == len(fastser.dumps(obj))
    if found.children:
        assert sum(child.nbytes for child in found.children) == pytest.approx(found.nbytes, rel=0.25, abs=200)


def test_bytes_of_one_part():
    found = explain({"big": np.zeros(10_000), "small": 5})
    big, small = found.children
    assert big.nbytes == len(fastser.dumps([np.zeros(10_000)])) - len(fastser.dumps([]))
    assert small.nbytes == 1
    shared = np.zeros(10_000)
    first, again = explain([shared, shared]).children
    assert (first.nbytes, again.nbytes) == (big.nbytes, 0)


def test_bytes_where_something_fails():
    found = explain({"a": np.zeros(10_000), "b": threading.Lock()})
    assert found.nbytes >= 80_000
    assert found.children[1].nbytes == 0


def test_no_array_is_copied():
    array = np.zeros(10**9, np.uint8)  # never touched: no memory of it is there
    assert explain([array, {"a": array}]).nbytes > 10**9


# --- bounded cost ------------------------------------------------------------------------------------------------------


def test_big_data_has_small_trees():
    assert tree(list(range(10**6))) == [("$", "list", "native", 1), ("$[0]", "int", "native", 10**6)]
    assert tree(dict.fromkeys(range(10**5), 1.5)) == [("$", "dict", "native", 1), ("$[0]", "float", "native", 10**5)]
    assert len(tree([Point(i, [i]) for i in range(100_000)])) == 5


def test_a_tree_that_is_too_large_is_cut():
    classes = [type(f"C{i}", (), {}) for i in range(300)]
    found = explain([{f"k{j}": [[j]] for j in range(50)}, [cls for cls in classes]])
    assert len(str(found).splitlines()) <= 202
    wide = explain([{f"k{i}": {f"l{j}": [1, "a"] for j in range(50)} for i in range(50)}])
    rows = str(wide).splitlines()
    assert len(rows) == 202
    assert rows[-1] == f"… and {len(lines(wide)) - 200:,} more"
    assert rows[1].startswith("$ ") and rows[2].startswith("$[0] ") and rows[3].startswith("$[0].k0 ")


def test_repr_is_one_line():
    assert repr(explain([1, 2])) == f"<Explanation of $: list, native, {len(fastser.dumps([1, 2]))} bytes>"
    assert repr(explain([1, 2]).children[0]) == "<Explanation of $[0]: 2 × int, native, 3 bytes>"
    assert isinstance(explain(1), Explanation)


# --- the command line --------------------------------------------------------------------------------------------------


@pytest.fixture
def module(tmp_path):
    (tmp_path / "wares.py").write_text(
        textwrap.dedent("""\
            import threading

            class Box:
                def __init__(self):
                    self.sizes = [1, 2]
                    self.nested = {"lock": threading.Lock()}

            class Space:
                inner = {"a": [1, 2, 3]}

            odd = {"\\udc80": 1}
            loop = [1]
            loop.append(loop)

            def make():
                return Space.inner

            def fail():
                raise ValueError("on\\npurpose")
            """),
        encoding="utf-8",
    )
    (tmp_path / "broken.py").write_text("1 / 0\n", encoding="utf-8")
    return tmp_path


def command(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(Path(fastser.__file__).parents[1]), os.environ.get("PYTHONPATH")]))}
    done = subprocess.run(
        [sys.executable, "-m", "fastser", *arguments], cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", stdin=subprocess.DEVNULL
    )
    return done.returncode, done.stdout, done.stderr


def test_the_command_explains(module):
    code, out, err = command(module, "explain", "wares:Space.inner")
    assert (code, err) == (0, "")
    assert out == str(explain({"a": [1, 2, 3]})) + "\n"
    assert command(module, "explain", "wares:make()") == (0, out, "")
    code, out, err = command(module, "explain", "wares:make")
    assert (code, err) == (0, "")
    assert re.search(r"^\$ +function +REFERENCE ", out, re.MULTILINE)


def test_the_command_tells_failures_by_its_exit_code(module):
    code, out, err = command(module, "explain", "wares:Box()")
    assert (code, err) == (1, "")
    assert "\n- cannot pack the _thread.lock at $.nested.lock: " in out
    code, out, err = command(module, "explain", "wares:Space.inner", "--max-depth", "1")
    assert (code, err) == (1, "") and "max_depth=1 was reached at $.a" in out
    assert command(module, "explain", "wares:loop")[0] == 0
    code, out, err = command(module, "explain", "wares:loop", "--no-track-refs")
    assert (code, err) == (1, "") and "contains itself" in out
    assert command(module, "explain", "wares:Box()", "--fallback", "none")[0] == 1


def test_the_command_prints_any_text(module):
    code, out, err = command(module, "explain", "wares:odd")
    assert (code, err) == (0, "")
    assert "udc80" in out


@pytest.mark.parametrize(
    "target, message",
    [
        ("wares", "expected module:object or module:factory(), found 'wares'"),
        ("wares:Box(1)", "expected module:object or module:factory(), found 'wares:Box(1)'"),
        (":", "expected module:object or module:factory(), found ':'"),
        ("nowhere:x", "cannot import nowhere: ModuleNotFoundError: No module named 'nowhere'"),
        ("broken:x", "cannot import broken: ZeroDivisionError: division by zero"),
        ("wares:nothing", "cannot find nothing in wares: AttributeError: module 'wares' has no attribute 'nothing'"),
        ("wares:Space.inner.x", "cannot find Space.inner.x in wares: AttributeError: 'dict' object has no attribute 'x'"),
        ("wares:fail()", "wares:fail() raised ValueError: on purpose"),
        ("wares:loop()", "wares:loop() raised TypeError: 'list' object is not callable"),
    ],
)
def test_the_command_refuses_in_one_line(module, target, message):
    assert command(module, "explain", target) == (2, "", f"python -m fastser explain: error: {message}\n")


def test_the_command_refuses_bad_options(module):
    for arguments in ([], ["unknown"], ["explain"], ["explain", "wares:loop", "--fallback", "json"], ["explain", "wares:loop", "--max-depth", "x"]):
        code, out, err = command(module, *arguments)
        assert (code, out) == (2, "") and ": error: " in err.splitlines()[-1]
    assert command(module, "explain", "wares:loop", "--max-depth", str(10**30))[0] == 2


def test_version_and_help(module):
    assert command(module, "--version") == (0, f"fastser {fastser.__version__}\n", "")
    code, out, err = command(module, "--help")
    assert (code, err) == (0, "") and "explain" in out
    code, out, err = command(module, "explain", "--help")
    assert (code, err) == (0, "") and all(option in out for option in ("--no-track-refs", "--max-depth", "--fallback", "module:object"))


# --- many alike parts, which are looked at at once -----------------------------------------------------------------------


class Held:
    def __init__(self, **fields):
        self.__dict__.update(fields)


class Subdict(dict):
    pass


def outline(explanation):
    return [(node.path, node.type_name, node.plan, node.count) for node in explanation.nodes()]


@pytest.mark.parametrize("make", [dict, Held], ids=["dicts", "instances"])
def test_alike_parts_and_one_that_is_not(make):
    alike = [make(i=i, x=1.5) for i in range(100)]
    plan = "native" if make is dict else "FIELDS"
    name = fastser.errors.type_name(alike[0])
    expected = [("$", "list", "native", 1), ("$[0]", name, plan, 100), ("$[0].i", "int", "native", 100), ("$[0].x", "float", "native", 100)]
    assert outline(fastser.explain(alike)) == expected
    for odd, path, type_name, count in [
        (make(i=1, x="t"), "$[100].x", "str", 1),
        (make(x=2.5, i=1, y=None), "$[100].y", "NoneType", 1),
        (make(i=1, x=[2]), "$[100].x", "list", 1),
    ]:
        found = outline(fastser.explain([*alike, odd]))
        assert found[1] == ("$[0]", name, plan, 101)
        assert (path, type_name, "native", count) in found
        assert found[2] == ("$[0].i", "int", "native", 101)
    again = outline(fastser.explain([*alike, alike[0]]))
    assert again[:4] == expected
    assert again[4] == ("$[100]", name, "REF", 1)


class Pair:
    __slots__ = ("left", "right")

    def __init__(self, left, right):
        self.left, self.right = left, right


@pytest.mark.parametrize("make, plan", [(Row, "ROWS"), (Pair, "FIELDS")], ids=["named tuples", "slots"])
def test_fields_of_many_named_tuples_and_slots(make, plan):
    name = fastser.errors.type_name(make(1, 2))
    alike = [make(i, "x") for i in range(100)]
    head = [("$", "list", "native", 1), ("$[0]", name, plan, 100), ("$[0].left", "int", "native", 100)]
    assert tree(alike) == [*head, ("$[0].right", "str", "native", 100)]
    alike[3] = make(3, 1.5)
    alike[2] = make(None, "y")
    alike[7] = make(2.5, None)
    assert tree(alike) == [
        ("$", "list", "native", 1), ("$[0]", name, plan, 100), ("$[0].left", "int", "native", 98), ("$[0].right", "str", "native", 98),
        ("$[2].left", "NoneType", "native", 1), ("$[3].right", "float", "native", 1),
        ("$[7].left", "float", "native", 1), ("$[7].right", "NoneType", "native", 1),
    ]
    alike[4] = make([4], "x")
    assert ("$[4].left[0]", "int", "native", 1) in tree(alike)
    lock = threading.Lock()
    assert [failure.path for failure in explain([*alike, make(1, lock)]).failures] == ["$[100].right"]


def test_slots_that_are_not_set():
    alike = [Pair(i, "x") for i in range(10)]
    del alike[3].left, alike[4].right
    assert tree(alike)[2:] == [("$[0].left", "int", "native", 9), ("$[0].right", "str", "native", 9)]


def test_sequences_of_alike_objects_that_are_met_again():
    points = [Point(i, 1.5) for i in range(5)]
    loop = [Point(1, None), Point(2, None)]
    loop[1].y = loop
    assert lines(explain([points, points[:2], [*points, Point(9, 2.5)], loop])) == [
        ("$", "list", "native", 1), ("$[0]", "list", "native", 4),
        ("$[0][0]", "test_explain.Point", "FIELDS", 8), ("$[0][0].x", "int", "native", 8), ("$[0][0].y", "float", "native", 6),
        ("$[3][0].y", "NoneType", "native", 1), ("$[3][1].y", "list", "REF", 1), ("$[1][0]", "test_explain.Point", "REF", 7),
    ]
    assert refs(loop) == [("$[1].y", 1, "leads back to $")]


def test_instances_whose_dict_is_of_a_subclass():
    odd = Held()
    odd.__dict__ = Subdict(i=1, x=2.5)
    found = outline(fastser.explain([Held(i=1, x=1.5), odd, Held(i=1, x=1.5)]))
    assert ("$[0].i", "int", "native", 3) in found and ("$[0].x", "float", "native", 3) in found


def test_leaves_of_alike_sequences_lie_where_they_come_first():
    found = outline(fastser.explain([[], [1, 2], [3, "x"], ["y", None]]))
    assert found[2:] == [("$[1][0]", "int", "native", 3), ("$[2][1]", "str", "native", 2), ("$[3][1]", "NoneType", "native", 1)]

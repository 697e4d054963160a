"""Types that came with newer Pythons: frozendict, sentinels, and the others of the table in docs/objects.md."""

import collections
import copyreg
import importlib
import pickle
import random
import re
import sys
import types
from pathlib import Path

import frames as f
import pytest
from same import same

import fastser
from fastser import DecodeError, UnsafeDataError

pytestmark = pytest.mark.core

OBJECTS_PAGE = Path(__file__).parent.parent / "docs" / "objects.md"
ROW = re.compile(r"^\| (3\.\d+) \| `(.+?)` \| (?:`([A-Z]+)`|\*(native)\*)", re.MULTILINE)
ROWS = [(int(since[2:]), expression, plan or native) for since, expression, plan, native in ROW.findall(OBJECTS_PAGE.read_text())]
since_15 = pytest.mark.skipif(sys.version_info < (3, 15), reason="came with Python 3.15")


def evaluated(expression):
    scope = {"__builtins__": __builtins__}
    for name in re.findall(r"\b([a-z]+(?:\.[a-z]+)*)\.\w+", expression):
        importlib.import_module(name)
        scope[name.split(".")[0]] = sys.modules[name.split(".")[0]]
    return eval(expression, scope)


def back(obj, **options):
    return fastser.loads(fastser.dumps(obj), **options)


# --- the table ----------------------------------------------------------------------------------------------------------


def test_the_table_is_read():
    assert len(ROWS) == 14 and {since for since, *_ in ROWS} == {14, 15}


@pytest.mark.parametrize(("since", "expression", "plan"), ROWS, ids=[row[1] for row in ROWS])
def test_the_table_of_newer_types(since, expression, plan):
    if sys.version_info < (3, since):
        with pytest.raises((AttributeError, ImportError, NameError, TypeError, ValueError)):
            evaluated(expression)
        return
    obj = evaluated(expression)
    assert fastser.explain(obj).plan == plan
    found, other = back(obj), pickle.loads(pickle.dumps(obj, 5))
    assert type(found) is type(other) and repr(found) == repr(other)
    assert (found == obj) is (other == obj) and (found is obj) is (other is obj)


since_14 = pytest.mark.skipif(sys.version_info < (3, 14), reason="came with Python 3.14")


def told(obj):
    """Templates are equal only to themselves."""
    from string.templatelib import Interpolation, Template

    if type(obj) is Template:
        return "template", obj.strings, [told(found) for found in obj.interpolations]
    if type(obj) is Interpolation:
        return "interpolation", obj.value, obj.expression, obj.conversion, obj.format_spec
    return [told(item) for item in obj]


def templates():
    from string.templatelib import Interpolation, Template

    one = Interpolation([1], "x", "r", ">5")
    plain = Interpolation("a", "a", None, "")
    yield "template", Template("a", one, "b")
    yield "interpolation", one
    yield "empty", Template()
    yield "no strings", Template(one, plain)
    yield "many", [Template("a", Interpolation(i, "i")) for i in range(50)]
    yield "of many lengths", [Template(*["a", plain] * i) for i in range(30)]
    yield "interpolations", [Interpolation(i, str(i), "s", "") for i in range(50)]
    yield "one again and again", [plain] * 30


@since_14
@pytest.mark.parametrize("name", ["template", "interpolation", "empty", "no strings", "many", "of many lengths", "interpolations", "one again and again"])
@pytest.mark.parametrize("options", [{}, {"track_refs": False}], ids=str)
def test_templates_are_read_without_python_code(name, options):
    obj = dict(templates())[name]
    frame = fastser.dumps(obj, **options)
    for found in (fastser.loads(frame), fastser.loads(frame, safe=True), f.read(frame)):
        assert told(found) == told(obj)
        if name == "one again and again" and not options:
            assert len({id(item) for item in found}) == 1
    many, other = fastser.loads(fastser.dumps([obj, obj], **options), safe=True)
    assert (many is other) is (not options)


@since_14
def test_templates_in_cycles_and_beside_what_is_not_safe():
    from string.templatelib import Interpolation, Template

    values = []
    values.append(Template("a", Interpolation(values, "values")))
    found = back(values, safe=True)
    assert found[0].interpolations[0].value is found
    ring = ([],)
    ring[0].append(Template(Interpolation(ring, "ring")))
    found = back(ring)
    assert found[0][0].interpolations[0].value is found
    with pytest.raises(UnsafeDataError, match=r"difflib\.Match|collections\.Counter"):
        back(Template(Interpolation(collections.Counter("a"), "x")), safe=True)
    keyed = {Template("a"): 1}
    assert [key.strings for key in back(keyed, safe=True)] == [("a",)]


@since_14
def test_a_reducer_of_the_users_comes_first(monkeypatch):
    from string.templatelib import Template

    monkeypatch.setitem(copyreg.dispatch_table, Template, lambda template: (tuple, (template.strings,)))
    assert back(Template("a")) == ("a",)


TEMPLATE_FRAMES = {
    "interpolation": (f.build(f.TEMPLATE, 1, 5, f.NONE, f.TEXT, f.NONE, f.TEXT, 0, text=["x", ""]), None),
    "template": (f.build(f.TEMPLATE, 0, 3, f.TUPLE, 1, f.TEXT, f.TUPLE, 0, 0, text=["x"]), None),
    "another kind": (f.build(f.TEMPLATE, 2, 1, 0), "expected the kind 0 or 1, found 2"),
    "no arguments": (f.build(f.TEMPLATE, 1, 0, 0, 0), "cannot rebuild an interpolation"),
    "a range for strings": (f.build(f.TEMPLATE, 0, 3, f.RANGE, f.small(0), f.small(9), f.small(1), f.TUPLE, 0, 0), "cannot rebuild a template"),
    "a number among strings": (f.build(f.TEMPLATE, 0, 3, f.TUPLE, 1, f.small(1), f.TUPLE, 0, 0), "expected strings and interpolations"),
    "too few strings": (f.build(f.TEMPLATE, 0, 3, f.TUPLE, 0, f.TUPLE, 0, 0), "expected a tuple of strings"),
    "a wrong conversion": (f.build(f.TEMPLATE, 1, 5, f.NONE, f.TEXT, f.TEXT, f.TEXT, 0, text=["x", "q", ""]), "cannot rebuild an interpolation"),
}


@pytest.mark.parametrize("name", TEMPLATE_FRAMES)
@pytest.mark.parametrize("safe", [False, True])
def test_frames_with_templates(name, safe):
    frame, message = TEMPLATE_FRAMES[name]
    if sys.version_info < (3, 14) and name != "another kind":
        message = "cannot rebuild a template string at tag .*: expected Python 3.14 or newer, found"
    if message is None:
        assert type(fastser.loads(frame, safe=safe)).__name__ == name.title()
        return
    with pytest.raises(DecodeError, match=message):
        fastser.loads(frame, safe=safe)


# --- frozendict ---------------------------------------------------------------------------------------------------------


def frozen_frames():
    yield f.build(f.FROZENDICT, f.RECORDS, 0, 1, f.small(5), text=["a"]), {"a": 5}
    yield f.build(f.FROZENDICT, f.DICT, 1, f.small(1), f.small(2)), {1: 2}
    yield f.build(f.FROZENDICT, f.DICT, 0), {}


@pytest.mark.parametrize(("frame", "items"), [*frozen_frames()], ids=["record", "pair", "empty"])
def test_a_frame_with_a_frozendict_on_any_python(frame, items):
    if sys.version_info >= (3, 15):
        assert same(frozendict(items), fastser.loads(frame))
        assert fastser.dumps(frozendict(items)) == frame
        return
    here = f"3.{sys.version_info[1]}"
    with pytest.raises(DecodeError, match=f"cannot rebuild a frozendict at tag 0: expected Python 3.15 or newer, found {here}"):
        fastser.loads(frame)


@since_15
def test_it_is_laid_out_as_a_dict():
    """The reader fills it through the functions for dicts."""
    assert frozendict.__basicsize__ >= dict.__basicsize__ and frozendict.__itemsize__ == dict.__itemsize__ == 0


def frozendicts():
    yield "empty", frozendict()
    yield "one", frozendict(a=1, b="x", c=[1], d=None)
    yield "any keys", frozendict({1: 2, (3, "x"): [4], None: 5, frozenset({1}): 6, frozendict(a=1): 7})
    yield "wide", frozendict({f"key {i}": i for i in range(300)})
    yield "of one shape", [frozendict(a=i, b=str(i), c=[i]) for i in range(300)]
    yield "of many shapes", [frozendict({"abc"[i % 3]: i}) for i in range(300)]
    yield "of no shape", [frozendict({i: i, str(i): 2}) for i in range(300)]
    yield "among dicts", [frozendict(a=i) if i % 3 else {"a": i} for i in range(300)]
    yield "again and again", [frozendict(a=1), frozendict(a=2)] * 100
    one = frozendict(a=[1])
    yield "one twice", [one, one, {"again": one}]
    yield "nested", frozendict(a=frozendict(b=frozendict(c=[frozendict()])))
    yield "key and member", {frozendict(a=1): 1, frozendict(a=2): {frozendict(b=frozendict()), frozendict(c=(1,))}}
    yield "beside an instance", [frozendict(a=types.SimpleNamespace(b=frozendict(c=1)), b=fastser.DecodeError)]


@since_15
@pytest.mark.parametrize("name", [name for name, _ in frozendicts()] if sys.version_info >= (3, 15) else [])
@pytest.mark.parametrize("track_refs", [True, False])
def test_frozendicts(name, track_refs):
    obj = dict(frozendicts())[name]
    frame = fastser.dumps(obj, track_refs=track_refs)
    assert same(obj, fastser.loads(frame), identity="graph" if track_refs else None)
    assert same(obj, f.read(frame), identity=None)
    assert same(obj, fastser.loads(fastser.pack(obj)), identity="graph")
    if name != "beside an instance":
        assert same(obj, fastser.loads(frame, safe=True), identity=None)


@since_15
def test_frozendicts_in_cycles():
    items = []
    one = frozendict(items=items, number=1)
    items.append(one)
    for options in ({}, {"safe": True}):
        found = back(one, **options)
        assert type(found) is frozendict and found["items"][0] is found and found["number"] == 1
        found = back(items, **options)
        assert type(found[0]) is frozendict and found[0]["items"] is found
    many = []
    many.extend(frozendict(all=many, i=i) for i in range(100))
    found = back(many, safe=True)
    assert {type(item) for item in found} == {frozendict} and all(item["all"] is found for item in found)
    keyed = []
    keyed.append(frozendict({1: keyed}))
    found = back(keyed)
    assert type(found[0]) is frozendict and found[0][1] is found
    holder = types.SimpleNamespace()
    holder.found = frozendict(holder=holder)
    found = back(holder.found)
    assert type(found) is frozendict and found["holder"].found is found


class Node:
    """Hashed by identity, and leads back to what it lies in."""


@since_15
def test_frozendicts_that_are_keys_of_what_lies_in_them():
    node = Node()
    one = frozendict(node=node)
    node.table = {one: 1}
    for root in (one, node, [one]):
        found = back(root)
        found = found[0] if type(found) is list else found if type(found) is frozendict else next(iter(found.table))
        assert type(found) is frozendict
        (key,) = found["node"].table
        assert key is found and hash(key) == hash(frozendict(found)) and found["node"].table[found] == 1


@since_15
def test_subclasses_of_frozendict():
    for obj in (Sub(a=1), Sub({1: [2]}), [Sub(a=i) for i in range(50)], Extra(a=1)):
        assert same(pickle.loads(pickle.dumps(obj)), back(obj))
    assert back(Extra(a=1)).extra == 5


@since_15
def test_frozendicts_become_structs_as_dicts_do():
    pytest.importorskip("pyarrow")
    rows = [{"a": i, "b": {"c": str(i)}} for i in range(100)]
    expected = fastser.to_arrow(fastser.dumps(rows))
    found = fastser.to_arrow(fastser.dumps([frozendict(row, b=frozendict(row["b"])) for row in rows]))
    import pyarrow as pa

    assert pa.table(found).equals(pa.table(expected))


@since_15
def test_what_cannot_be_hashed_is_no_key():
    for key in ([f.LIST, 0], [f.FROZENDICT, f.RECORDS, 0, 1, f.LIST, 0]):
        with pytest.raises(DecodeError, match="unhashable"):
            fastser.loads(f.build(f.DICT, 1, *key, f.NONE, text=["a"] if len(key) > 2 else []))
    # One that is a key in itself.
    frame = f.build(f.FROZENDICT, f.RECORDS, 0, 1, f.DICT, 1, f.REF, 0, f.NONE, text=["a"], flags=f.REFS)
    with pytest.raises(DecodeError, match="unhashable"):
        fastser.loads(frame)
    with pytest.raises(DecodeError, match="the tag of dicts, found 40"):
        fastser.loads(f.build(f.FROZENDICT, f.LIST, 0))


# --- sentinels ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def module(monkeypatch):
    module = types.ModuleType("module_of_sentinels")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec("A = sentinel('A')\nB = sentinel('B')", module.__dict__)
    return module


@since_15
def test_sentinels_are_found_by_their_names(module):
    a, b = module.A, module.B
    choose = random.Random(1).choice
    columns = [
        [a] * 1000,
        [choose((a, b)) for _ in range(1000)],
        *([choose((a, other)) for _ in range(1000)] for other in (1, 2.5, "x", b"x", None, True, 2**70)),
        [a, *range(1000)],
        [*range(1000), a],
        [choose((a, None, 1)) for _ in range(1000)],
        [choose((a, b, 1)) for _ in range(1000)],
        [choose((a, (1, 2))) for _ in range(1000)],
        [{"id": i, "name": choose((a, "x"))} for i in range(1000)],
    ]
    for track_refs in (True, False):
        for column in [*columns, a, [a], {a: a}, (a, b)]:
            frame = fastser.dumps(column, track_refs=track_refs)
            found = fastser.loads(frame)
            assert found == column  # sentinels are equal to themselves alone
            if type(column) is list and type(column[0]) is not dict:
                assert list(map(type, found)) == list(map(type, column))
            with pytest.raises(UnsafeDataError, match="module_of_sentinels.[AB]"):
                fastser.loads(frame, safe=True)
    some = columns[2]
    assert fastser.explain(a).plan == "REFERENCE"
    assert len(fastser.dumps(some)) - len(fastser.dumps([None if item is a else item for item in some])) < 64
    assert len(fastser.dumps(columns[0])) - len(fastser.dumps([None] * 1000)) < 64


@since_15
def test_a_hook_for_sentinels(module):
    serializer = fastser.Serializer()
    serializer.register(sentinel, lambda obj: obj.__name__, lambda name: f"<{name}>", name="sentinels")
    assert serializer.loads(serializer.dumps([module.A, 1, module.B, *[module.A] * 20])) == ["<A>", 1, "<B>", *["<A>"] * 20]


@since_15
def test_sentinels_are_no_values_of_arrow(module):
    for column in ([module.A, 1], [module.A] * 20 + [1] * 20, [module.A] * 40):
        with pytest.raises(fastser.EncodeError, match="found by its name"):
            fastser.to_arrow(fastser.dumps(column))


if sys.version_info >= (3, 15):

    class Sub(frozendict):
        pass

    class Extra(frozendict):
        def __init__(self, *args, **kwargs):
            self.extra = 5

"""The path in an error leads to the very object that cannot be packed, whatever plain data lies before it."""

import ast
import collections
import dataclasses
import pickle
import re
import threading
import typing

import numpy as np
import pytest

import fastser
from fastser.errors import type_name
from fastser.locate import locate

MANY = 40  # more than what the search looks at again without noting it


class Fields:
    def __init__(self, a, b=None):
        self.a, self.b = a, b


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, a, b=None):
        self.a, self.b = a, b


@dataclasses.dataclass
class Data:
    a: object
    b: object = None


Named = collections.namedtuple("Named", "a b")


class Typed(typing.NamedTuple):
    a: object
    b: object = None


class ObjectsOf(np.ndarray):
    pass


def array_of(items, cls=np.ndarray):
    array = np.empty(len(items), object)
    array[:] = items
    return array.view(cls)


def grid_of(items):
    array = np.empty((2, len(items)), object)
    array[1, :] = items
    return array


PLAIN = {
    "ints": lambda i: i,
    "texts": lambda i: f"text {i}",
    "dicts": lambda i: {"i": i, "x": 1.5, "s": "t"},
    "long dicts": lambda i: {f"k{j}": j for j in range(MANY)},
    "tuples": lambda i: (i, 1.5, None),
    "nested": lambda i: {"a": [i, (1, {"b": [1.5]})]},
    "deeply nested": lambda i: [[[[[[[i]]]]]]],
    "sets": lambda i: frozenset((i, i + 1)),
    "fields": lambda i: Fields(i, "t"),
    "fields in fields": lambda i: Fields(Fields(i), [Fields(1)]),
    "slots": lambda i: Slots(i),
    "dataclasses": lambda i: Data(i, [i]),
    "named tuples": lambda i: Named(i, (1, 2)),
    "typed tuples": lambda i: Typed(i),
    "arrays": lambda i: np.arange(i),
    "reducers": lambda i: complex if i % 2 else collections.OrderedDict(a=i),
}

WHOLES = {
    "list": lambda items, bad: [*items, bad],
    "first": lambda items, bad: [bad, *items],
    "tuple": lambda items, bad: (*items, bad),
    "dict": lambda items, bad: {**{f"k{i}": item for i, item in enumerate(items)}, "bad": bad},
    "int keys": lambda items, bad: {**dict(enumerate(items)), -1: bad},
    "a key": lambda items, bad: {"items": items, bad: 1},
    "set": lambda items, bad: [items, {1, 2, bad, "x"}],
    "fields": lambda items, bad: [*items, Fields(1, [bad])],
    "last of many fields": lambda items, bad: [*(Fields(item) for item in items), Fields(1, bad)],
    "last of many slots": lambda items, bad: [*(Slots(item) for item in items), Slots(1, bad)],
    "last of many rows": lambda items, bad: [*(Named(item, 1) for item in items), Named(1, bad)],
    "array": lambda items, bad: array_of([*items, bad]),
    "array of a subclass": lambda items, bad: array_of([*items, bad], ObjectsOf),
    "grid": lambda items, bad: grid_of([*items, bad]),
    "deep": lambda items, bad: [items, [[[[[[[[{"a": (items, bad)}]]]]]]]]],
    "shared": lambda items, bad: [items, items, {"again": items}, [items, bad], bad],
}


def leads_to(root, path):
    """What lies at a path."""
    steps = re.findall(r"\.key\([\w.]+\)|\{[\w.]+\}|\.[A-Za-z_]\w*|\[[^\]]*\]", path)
    assert "$" + "".join(steps) == path
    for step in steps:
        if step.startswith(".key("):
            (root,) = [key for key in root if type_name(key) == step[5:-1]]
        elif step.startswith("{"):
            (root,) = [member for member in root if type_name(member) == step[1:-1]]
        elif step.startswith("["):
            root = root[ast.literal_eval(step[1:-1])]
        else:
            root = root[step[1:]] if isinstance(root, dict) else getattr(root, step[1:])
    return root


def refused(pack, root, bad):
    with pytest.raises(fastser.EncodeError) as caught:
        pack(root)
    assert str(caught.value).startswith(f"cannot pack the {type(bad).__module__}.{type(bad).__qualname__} at $")
    path = re.search(r" at (\$.*?): TypeError: ", str(caught.value)).group(1)
    assert leads_to(root, path) is bad
    assert isinstance(caught.value.__cause__, TypeError)
    return path


@pytest.mark.parametrize("whole", WHOLES)
@pytest.mark.parametrize("plain", PLAIN)
def test_the_path_leads_to_what_is_refused(plain, whole):
    lock = threading.Lock()
    root = WHOLES[whole]([PLAIN[plain](i) for i in range(MANY)], lock)
    with pytest.raises(TypeError):
        pickle.dumps(root)
    path = refused(fastser.dumps, root, lock)
    assert refused(lambda root: fastser.dumps(root, track_refs=False), root, lock) == path
    assert refused(fastser.pack, root, lock) == path


def test_cycles_are_passed_over():
    lock = threading.Lock()
    parent = []
    parent += [{"parent": parent, "i": i, "more": [[parent]]} for i in range(MANY)]
    ring = {"n": 1}
    ring["ring"] = [ring, parent, (ring,)]
    assert refused(fastser.dumps, [ring, parent, lock], lock) == "$[2]"
    parent[-1]["more"][0].append(lock)
    assert refused(fastser.dumps, [parent, ring], lock) == f"$[0][{MANY - 1}].more[0][1]"
    assert refused(fastser.dumps, [ring, parent], lock) == f"$[0].ring[1][{MANY - 1}].more[0][1]"


def test_what_is_shared_many_times_over_is_looked_at_once():
    level = [[i] for i in range(MANY)]
    for _ in range(30):
        level = [level] * MANY
    thing = object()
    assert locate([level, thing], thing) == "$[1]"
    small = [1]
    for _ in range(200):
        small = [small, small]
    assert locate([small, thing], thing) == "$[1]"


@pytest.mark.parametrize("plain", [plain for plain in PLAIN if plain != "reducers"])
def test_the_path_of_a_cycle_in_a_tree_behind_plain_data(plain):
    shared = [1, [2]]
    cycle = [shared, shared]
    cycle.append({"in": cycle})
    items = [PLAIN[plain](i) for i in range(MANY)]
    with pytest.raises(fastser.DepthError, match=r"at \$\[41\]\[0\]|\$\[41\]"):
        fastser.dumps([items, *items, cycle], track_refs=False)
    with pytest.raises(fastser.DepthError) as caught:
        fastser.dumps({"items": items, "last": [items, [cycle]]}, track_refs=False)
    assert "$.last[1][0]" in str(caught.value)


@pytest.mark.parametrize("track_refs", [True, False])
@pytest.mark.parametrize("plain", PLAIN)
def test_the_path_of_what_is_too_deep_behind_plain_data(plain, track_refs):
    deep = []
    for _ in range(60):
        deep = [deep]
    with pytest.raises(fastser.DepthError) as caught:
        fastser.dumps([[PLAIN[plain](i) for i in range(MANY)], deep], track_refs=track_refs, max_depth=50)
    assert "$[1]" + "[0]" * 49 in str(caught.value)


class Asked:
    """Counts how often it is asked, and tells what it is made again from."""

    times = 0

    def __init__(self, *things):
        self.things = things

    def __reduce__(self):
        Asked.times += 1
        return Asked, self.things


class Made:
    """Its reducer makes what it holds anew each time."""

    def __init__(self, make):
        self.make = make

    def __reduce__(self):
        return Made, (0, [self.make()])


BEHIND = {
    "arguments": lambda bad: Asked(1, [2], bad),
    "items": lambda bad: collections.deque([1, bad]),
    "values": lambda bad: collections.OrderedDict(a=1, bad=bad),
    "the object itself": lambda bad: bad,
    "reducers in reducers": lambda bad: Asked({"a": Asked([Asked(bad)])}),
}


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("n", [0, 1, MANY])
def test_no_reducer_is_asked_again_for_the_path(behind, n):
    lock = threading.Lock()
    Asked.times = 0
    root = [*(Asked(i, [i]) for i in range(n)), {"last": BEHIND[behind](lock)}]
    with pytest.raises(fastser.EncodeError, match=r"cannot pack the _thread\.lock at \$\[%d\]\.last" % n) as caught:
        fastser.dumps(root)
    within = {"arguments": 1, "reducers in reducers": 3}.get(behind, 0)
    assert Asked.times == n + within
    path = re.search(r" at (\$.*?): ", str(caught.value)).group(1).removeprefix(f"$[{n}].last")
    assert path == {
        "arguments": ".args[2]",
        "items": "[1]",
        "values": ".bad",
        "the object itself": "",
        "reducers in reducers": ".args[0].a.args[0][0].args[0]",
    }[behind]


def test_what_a_reducer_made_is_found_in_what_it_returned():
    with pytest.raises(fastser.EncodeError, match=r"at \$\[3\]\.args\[1\]\[0\]: "):
        fastser.dumps([Made(dict), Made(list), Made(tuple), Made(threading.Lock)])
    with pytest.raises(fastser.DepthError, match=r"\$\[1\]\.args\[1\]\[0\]"):
        fastser.dumps([Made(int), Made(list)], max_depth=3)


def test_no_hook_is_asked_again_for_the_path():
    asked = []

    def encode(obj):
        asked.append(obj)
        return [obj.a, obj.b]

    hooks = fastser.Serializer()
    hooks.register(Fields, encode, lambda parts: Fields(*parts), name="fields")
    lock = threading.Lock()
    root = [Fields(i, [i]) for i in range(MANY)] + [Fields(1, lock)]
    with pytest.raises(fastser.EncodeError, match=r"at \$\[40\]\.hook\[1\]: "):
        hooks.dumps(root)
    assert asked == root


def test_objects_that_come_again_and_what_holds_one_thing_only():
    lock = threading.Lock()
    shared = [print, Fields, threading.Lock, Fields(1), Slots(2), slice(1, 2), np.arange(3)]
    times = [1, *(slice(i, [i]) for i in range(MANY))]
    root = [*shared * MANY, times, lock]
    assert refused(fastser.dumps, root, lock) == f"$[{len(root) - 1}]"
    for within in (slice(1, lock), slice(lock, 1)):
        with pytest.raises(fastser.EncodeError, match=r"at \$\[1\]\[40\]\.(start|stop): "):
            fastser.dumps([shared, [*times[1:], within]])


def test_deeper_than_what_is_looked_through_at_once():
    lock = threading.Lock()
    for depth in (1, 15, 16, 17, 18, 40, 200):
        plain, holding = [1, [2]], [lock]
        for _ in range(depth):
            plain, holding = [plain, 1], [plain, holding]
        assert locate([plain, [plain], holding], lock) == "$[2]" + "[1]" * depth + "[0]"

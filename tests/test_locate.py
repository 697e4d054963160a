"""The parts of instances, named tuples and what reducers make; the paths to them; the cycles that they close."""

import collections
import fractions
import functools
import threading
import typing

import pytest

from fastser.locate import cyclic_instances, find_cycle, locate

THING = object()


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b=None):
        self.a, self.b = a, b


class Both(Slotted):
    pass


Row = collections.namedtuple("Row", "left right")


class Typed(typing.NamedTuple):
    name: object
    value: object = None


class Reducing:
    """Packs what it is given to pack."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


class Temporary:
    """Its reducer makes a new list each time."""

    def __init__(self, *things):
        self.things = things

    def __reduce__(self):
        return list, ([*self.things],)


class Endless:
    def __reduce__(self):
        return Endless, (Endless(),)


class Branching:
    def __reduce__(self):
        return Branching, (Branching(), Branching())


class HostileState:
    def __reduce_ex__(self, protocol):
        raise ZeroDivisionError("no")

    def __getattribute__(self, name):
        raise ZeroDivisionError("nor this")


class HashlessMeta(type):
    def __hash__(cls):
        raise ZeroDivisionError("no hash")

    def __eq__(cls, other):
        raise ZeroDivisionError("no comparison")


class OfHashlessMeta(metaclass=HashlessMeta):
    def __init__(self, x):
        self.x = x


def with_attribute(obj, value):
    obj.extra = value
    return obj


class ListOf(list):
    pass


@pytest.mark.parametrize(
    "root, path",
    [
        (Point(1, THING), "$.y"),
        ({"points": [Point(1, 2), Point(THING, 2)]}, "$.points[1].x"),
        (Point(1, [Point(2, {"a": THING})]), "$.y[0].y.a"),
        (Slotted(1, THING), "$.b"),
        (with_attribute(Both(1), THING), "$.extra"),
        (Both(THING), "$.a"),
        (Row(1, THING), "$.right"),
        ([Row(1, 2), Typed("a", [THING])], "$[1].value[0]"),
        (ListOf([1, THING]), "$[1]"),
        (with_attribute(ListOf([1]), [THING]), "$.extra[0]"),
        (collections.OrderedDict(a=1, b=THING), "$.b"),
        (collections.deque([1, 2, THING]), "$[2]"),
        (collections.defaultdict(list, {3: [THING]}), "$[3][0]"),
        (functools.partial(print, 1, sep=THING), "$.state[2].sep"),
        (ValueError("a", THING), "$.args[1]"),
        (Reducing(Point, (1, THING)), "$.args[1]"),
        (Reducing(Point, (1, 2), {"x": 1, "y": [THING]}), "$.y[0]"),
        (Reducing(Point, (1, 2), [THING]), "$.state[0]"),
        (Reducing(dict, (), None, None, iter([("k", THING)])), "$.k"),
        (Reducing(dict, (), None, None, iter([(THING, 1)])), "$.key(object)"),
        ([Reducing(Point, (1, Reducing(Point, (1, THING))))], "$[0].args[1].args[1]"),
        ([Point, [Point]], None),
    ],
    ids=lambda value: value if type(value) is str else "",
)
def test_path_inside_objects(root, path):
    assert locate(root, THING) == path


def test_the_path_of_what_an_object_is_made_by():
    assert locate([Point(1, 2)], Point) == "$[0].class"
    assert locate([Point, Point(1, 2)], Point) == "$[0]"
    assert locate([ListOf()], ListOf) == "$[0].class"
    assert locate([fractions.Fraction(1)], fractions.Fraction) == "$[0].callable"


def test_what_a_reducer_makes_anew_is_found_in_the_object_that_makes_it():
    root = [Temporary(1), {"a": Temporary([2])}]
    assert locate(root, ["another list"]) == "$[0]"  # of the type of what the first one makes
    assert locate(root, {"another": "dict"}) is None
    assert locate([Point(1, Temporary({}))], {}) == "$[0].y"
    lock = threading.Lock()
    assert locate([Temporary(1), Temporary(lock)], lock) == "$[1].args[0][0]"  # itself, and not only something like it


def test_reducers_that_make_objects_without_end():
    assert locate([Endless()], THING) is None
    assert locate([Endless()], Endless()) == "$[0]"


HOSTILE = {
    "everything raises": HostileState,
    "a class that cannot be hashed": lambda: OfHashlessMeta(1),
    "nothing": Reducing,
    "a name": lambda: Reducing("no such name"),
    "no callable": lambda: Reducing(1, 2),
    "no tuple": lambda: Reducing(print, []),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_raises_has_no_parts(name):
    hostile = HOSTILE[name]()
    assert locate([hostile, [THING]], THING) == "$[1][0]"
    assert locate([hostile], hostile) == "$[0]"
    assert find_cycle([hostile]) is None
    assert cyclic_instances([hostile]) == []


def test_temporaries_lend_their_addresses_to_nobody():
    root = [Temporary(i) for i in range(1000)]
    root.append([[THING]])
    assert locate(root, THING) == "$[1000][0][0]"


def test_a_list_that_grows_while_it_is_searched():
    root = []

    class Growing:
        def __reduce__(self):
            root.append(Growing())
            return Growing, ()

    root.append(Growing())
    assert locate(root, THING) is None
    assert len(root) == 2


# --- cycles ------------------------------------------------------------------------------------------------------------


def loop(*nodes):
    """Points, each of which leads to the next, the last to the first."""
    for node, following in zip(nodes, [*nodes[1:], nodes[0]]):
        node.y = following
    return nodes[0]


def points(n):
    return [Point(i, None) for i in range(n)]


def the_same(found, expected):
    assert list(map(id, found)) == list(map(id, expected))


def test_no_cycles():
    shared = Point(1, [])
    for root in (1, [], [shared, shared], {"a": shared, "b": [shared, Row(shared, shared)]}, Point(shared, shared.y)):
        assert find_cycle(root) is None
        assert cyclic_instances(root) == []


def test_the_outermost_instance_on_the_way_to_a_cycle():
    a, b, c = points(3)
    the_same(cyclic_instances(loop(a)), [a])
    loop(b, c)
    the_same(cyclic_instances([b, c]), [b])  # what c leads to is a unit by then
    the_same(cyclic_instances([c, b]), [c])
    outer = Point([b], 1)
    the_same(cyclic_instances({"a": outer}), [outer])
    row = Row(1, b)
    the_same(cyclic_instances([row]), [row])
    for root in (b, [b], outer, row):
        assert find_cycle(root) is None


def test_all_instances_on_ways_to_cycles_are_found():
    rings = [loop(*points(3)) for _ in range(10)]
    the_same(cyclic_instances(rings), rings)
    chain = points(50)  # doubly linked
    for left, right in zip(chain, chain[1:]):
        left.x, right.y = right, left
    the_same(cyclic_instances(chain[0]), [chain[0]])
    units = cyclic_instances(chain)
    assert {id(unit) for unit in units} <= set(map(id, chain))
    assert cyclic_instances([unit for unit in chain if id(unit) not in set(map(id, units))]) != units


def test_many_cycles_take_one_walk():
    parent = Point(0, [])
    parent.y += [Point(i, parent) for i in range(20_000)]
    the_same(cyclic_instances(parent), [parent])
    the_same(cyclic_instances(parent.y), parent.y)
    the_same(cyclic_instances(rings := [loop(*points(2)) for _ in range(20_000)]), rings)


def test_cycles_without_an_instance_on_the_way():
    a = [1]
    a.append(a)
    assert find_cycle(a) == "$"
    assert find_cycle([Point(1, 2), {"k": a}]) == "$[1].k"
    assert find_cycle([Point(1, a)]) is None
    inside = Point(1, a)
    the_same(cyclic_instances([inside]), [inside])
    ring = loop(*points(2))
    assert find_cycle([ring, a]) == "$[1]"
    both = {"points": []}
    both["points"].append(Point(1, both))  # the way to the cycle has an instance on it, though the cycle ends in a dict
    assert find_cycle(both) is None
    the_same(cyclic_instances(both), both["points"])


def test_cycles_through_what_reducers_tell():
    a = collections.OrderedDict()
    a["self"] = a
    b = ListOf()
    b.append(b)
    assert find_cycle([a, b]) is None
    the_same(cyclic_instances([a, b]), [a, b])
    c = with_attribute(ListOf([1]), {})
    c.extra["c"] = c
    the_same(cyclic_instances({"c": [c]}), [c])


def test_what_reducers_make_without_end_is_no_cycle():
    loop = [1]
    loop.append(loop)
    assert cyclic_instances([Endless()]) == []
    assert find_cycle([Endless(), Branching(), loop]) == "$[2]"


def test_cycles_however_long():
    chain = points(50_000)
    loop(*chain)
    the_same(cyclic_instances(chain[0]), [chain[0]])
    the_same(cyclic_instances([[[chain[0]]]]), [chain[0]])

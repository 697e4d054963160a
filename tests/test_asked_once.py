"""Nobody is asked twice for the parts of one object in one call, however often the walk begins.

The one exception is pickle's too: an object that is met among its own arguments, before it has a number.
"""

import collections
import copyreg
import io
import itertools
import pickle

import numpy as np
import pytest

import fastser

pytestmark = pytest.mark.core

CALLS = collections.Counter()
KEPT = []  # lest an address be that of two objects


def note(obj, name):
    CALLS[id(obj), name] += 1
    KEPT.append(obj)


class Base:
    def __init__(self, i=0, held=None):
        self.i, self.held = i, held

    def __eq__(self, other):
        return type(other) is type(self) and other.i == self.i

    def __hash__(self):
        return self.__dict__.get("i", 0)


def make(cls, i, held):
    return cls(i, held)


class Reduces(Base):
    def __reduce__(self):
        note(self, "__reduce__")
        return make, (type(self), self.i, self.held)


class ReducesEx(Base):
    """Its parts are lists of its own each time."""

    def __reduce_ex__(self, protocol):
        note(self, "__reduce_ex__")
        return make, (type(self), self.i, None), {"i": self.i, "held": self.held}


class Stateful(Base):
    def __getstate__(self):
        note(self, "__getstate__")
        return [self.i, self.held]

    def __setstate__(self, state):
        self.i, self.held = state


class NewArgs(Base):
    def __new__(cls, i=0, held=None):
        return object.__new__(cls)

    def __getnewargs__(self):
        note(self, "__getnewargs__")
        return (self.i,)


class NewArgsEx(Base):
    def __new__(cls, i=0, held=None):
        return object.__new__(cls)

    def __getnewargs_ex__(self):
        note(self, "__getnewargs_ex__")
        return (), {"i": self.i}


class Items(list):
    """What it is made of is read from it once."""

    def __init__(self, i=0, held=None):
        super().__init__([i, held])

    def __iter__(self):
        note(self, "__iter__")
        return super().__iter__()

    def __hash__(self):
        return self[0]

    i = property(lambda self: self[0])
    held = property(lambda self: self[1], lambda self, value: self.__setitem__(1, value))


class Registered(Base):
    pass


def reduce_registered(obj):
    note(obj, "copyreg")
    return make, (Registered, obj.i, None), {"held": obj.held}


copyreg.pickle(Registered, reduce_registered)


class Hooked(Base):
    pass


class Declined(Base):
    """Its hook leaves it to its reducer."""

    def __reduce__(self):
        note(self, "__reduce__")
        return make, (Declined, self.i, None), {"held": self.held}


class Named(Base):
    """It is found by its name, as its reducer says."""

    def __init__(self, i=0, held=None):
        super().__init__(i, held)
        globals()[f"NAMED_{i}"] = self

    def __reduce__(self):
        note(self, "__reduce__")
        return f"NAMED_{self.i}"


class Changing(Base):
    """Two of three are made by one function, the others by another: runs break off."""

    def __reduce__(self):
        note(self, "__reduce__")
        return (make, (Changing, self.i, None), {"held": self.held}) if self.i % 3 else (Changing, (self.i,), None)


def encode_hooked(obj):
    note(obj, "encode")
    return [obj.i, obj.held]


def decode_hooked(payload):
    return Hooked(*payload)


def decline(obj):
    note(obj, "encode")
    return NotImplemented


@pytest.fixture
def hooks():
    serializer = fastser.Serializer()
    serializer.register(Hooked, encode_hooked, decode_hooked)
    serializer.register(Declined, decline, decode_hooked)
    return serializer


KINDS = [Reduces, ReducesEx, Stateful, NewArgs, NewArgsEx, Items, Registered, Hooked, Declined, Named, Changing]


def objects(*items):
    array = np.empty(len(items), object)
    array[:] = items
    return array


def all_of(kind, count):
    return [kind(i) for i in range(count)]


def mixed(kind, count):
    others = itertools.cycle(other for other in KINDS if other is not kind)
    return [kind(i) if i % 3 else next(others)(i) for i in range(count)]


# By name: what is made of a list of objects of one kind.
SHAPES = {
    "one": lambda made: made[0],
    "a list": lambda made: made,
    "a tuple": tuple,
    "after plain data": lambda made: [[1.5] * 100, {"a": [1, 2]}, made],
    "twice": lambda made: [made, made],
    "each twice": lambda made: made * 2,
    "one many times": lambda made: [made[0]] * 50,
    "a few many times": lambda made: made[:3] * 20,
    "records": lambda made: [{"a": one, "b": made[0]} for one in made],
    "rows": lambda made: [[1, one, "text"] for one in made],
    "tuples": lambda made: [(one, made[0]) for one in made],
    "keys": lambda made: {one: i for i, one in enumerate(made)},
    "keys of many": lambda made: [{one: made} for one in made],
    "tuples as keys": lambda made: {(one, i): one for i, one in enumerate(made)},
    "a set": lambda made: {*made},
    "frozensets": lambda made: [frozenset([one]) for one in made],
    "an array": lambda made: objects(*made),
    "nested": lambda made: [[one, [one, [one]]] for one in made],
    "among others": lambda made: [part for one in made for part in (one, 5, "text", None)],
    "runs": lambda made: [*made, *[1.5] * 30, *made, *["text"] * 30],
    "a slice": lambda made: slice(made, made[0], None),
    "fields": lambda made: [Plain(one, made) for one in made],
    "in each other": lambda made: chained(made),
    "cycles": lambda made: circle(made),
    "cycles through a list": lambda made: circle(made, lambda one: [one]),
    "cycles through a dict": lambda made: circle(made, lambda one: {"a": one, 1: [one]}),
    "a run that leads back to itself": lambda made: holding(made, made),
    "keys that lead back": lambda made: holding(made, {one: i for i, one in enumerate(made)}),
    "tuples that lead back": lambda made: holding(made, tuple(made)),
    "rows that are keys of each other": lambda made: rows_within(made),
    "a class that holds them": lambda made: class_with(made),
    "functions that hold them": lambda made: [*[(lambda one: lambda: (one, made))(one) for one in made], made],
    "defaults that hold them": lambda made: [(lambda x=one: x) for one in made] + made,
}


class Plain:
    def __init__(self, *values):
        self.first, self.rest = values[0], values[1:]


def chained(made):
    for one, other in itertools.pairwise(made[:50]):
        one.held = other
    return made[0]


def circle(made, wrap=lambda one: one):
    made = made[:30]
    for one, other in zip(made, made[1:] + made[:1]):
        one.held = wrap(other)
    return made


def holding(made, held):
    for one in made:
        one.held = held
    return [held, made]


def rows_within(made):
    rows = [[one, {}] for one in made]
    for row, one in zip(rows, made):
        one.held = rows
        row[1][(one, 1)] = rows
    return rows


def class_with(made):
    class Local:
        table = {one: one for one in made}
        run = made

        def __init__(self, one):
            self.one = one

        def me(self):
            return self, made

    Local.instances = [Local(one) for one in made]
    return [Local.instances, Local, made, Local.instances[0].me]


# What pickle cannot pack; nothing leads back to its own arguments there.
BY_VALUE = {"a class that holds them", "functions that hold them", "defaults that hold them"}


class AsHooks(pickle.Pickler):
    """Makes of hooked objects what their hook does."""

    def reducer_override(self, obj):
        if type(obj) is Hooked:
            return decode_hooked, (encode_hooked(obj),)
        if type(obj) is Declined:
            decline(obj)
        return NotImplemented


def counted(call, *arguments, **options):
    """What comes of a call, and how often each object was asked for each of its parts."""
    CALLS.clear()
    KEPT.clear()
    return call(*arguments, **options), dict(CALLS)


def as_pickle(root):
    AsHooks(io.BytesIO(), 5).dump(root)


def check(hooks, call, root, shape):
    """Nobody is asked more often than by pickle, which asks again for what is met among its own arguments."""
    allowed = {}
    if shape not in BY_VALUE:
        try:
            _, allowed = counted(as_pickle, root)
        except RecursionError:
            # Its own arguments lead back to it and nothing else has a number before: there is no end.
            with pytest.raises(fastser.DepthError):
                call(root)
            return
    found, asked = counted(call, root)
    again = {key: count for key, count in asked.items() if count > max(allowed.get(key, 1), 1)}
    if max(allowed.values(), default=1) > 1:
        # Which object of a cycle that is depends on where the walk begins, and on what is tried as a run first.
        leading_back = {id(obj) for obj in KEPT if type(obj) in (Reduces, Hooked)}
        again = {key: count for key, count in again.items() if key[0] not in leading_back or count > 2}
    assert asked and again == {}
    hooks.loads(found)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3, 15, 16, 17, 70])
def test_nobody_is_asked_twice(kind, shape, count, hooks):
    for many in (all_of, mixed):
        root = SHAPES[shape](many(kind, count))
        check(hooks, hooks.dumps, root, shape)
        check(hooks, hooks.pack, root, shape)


# Those that end somewhere when everything is written as often as it is met.
TREES = ["one", "a list", "after plain data", "twice", "each twice", "records", "rows", "tuples as keys", "a set", "an array", "nested", "among others", "in each other"]
TREES += ["cycles", "cycles through a list", "a run that leads back to itself", *BY_VALUE]


@pytest.mark.parametrize("shape", TREES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3, 16, 20])
def test_nobody_is_asked_twice_for_a_tree(kind, shape, count, hooks):
    root = SHAPES[shape](all_of(kind, count))
    is_cycle = shape in ("cycles", "cycles through a list", "a run that leads back to itself")
    found, asked = counted(attempt, hooks, [[1.5], root])
    if type(found) is fastser.DepthError:
        assert is_cycle
        return
    # What is met among its own arguments is so in each place.
    leading_back = {id(obj) for obj in KEPT if type(obj) in (Reduces, Hooked)} if is_cycle else ()
    assert asked and {key: count for key, count in asked.items() if count > 1 and key[0] not in leading_back} == {}
    hooks.loads(found)


def attempt(hooks, root):
    try:
        return fastser.dumps(root, track_refs=False, hooks=hooks._hooks)
    except fastser.DepthError as error:
        return error


def test_a_tree_that_is_looked_through_for_cycles():
    """What is met on several levels may be a cycle: who looks for one uses what was answered, and leaves what it asks."""
    shared = [5]
    one, other = Reduces(1, shared), Stateful(2)
    other.held = [other]
    roots = [[one, [one]], [shared, [shared, one]], [shared, [shared, [one]], one], [[shared], [[shared]], {"a": one}, [one]], [other, [other]]]
    for root in roots:
        found, asked = counted(fastser.dumps, root, track_refs=False)
        assert {*asked.values()} == {1}
        fastser.loads(found)


def test_what_a_call_that_failed_was_told_is_forgotten():
    """Another call may meet the object when it has changed."""
    shared, one, endless = [5], Stateful(1), []
    endless.append(endless)
    with pytest.raises(fastser.DepthError):
        fastser.dumps(([shared], shared, [one], endless), track_refs=False)
    one.i = 2
    found, asked = counted(fastser.dumps, [1, one])
    assert [*asked.values()] == [1] and fastser.loads(found)[1].i == 2


def test_rows_of_many_objects():
    made = [kind(i) for i, kind in enumerate(KINDS) if kind not in (Hooked,)]
    # Each object of the batch is a message of its own.
    packed, asked = counted(lambda: list(fastser.loads_many(fastser.pack_many([made, [made[0]], made[1:]]))))
    assert len(packed) == 3
    assert {count for (_, name), count in asked.items()} == {2}

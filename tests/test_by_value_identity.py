"""What functions, classes and modules that go by value share with each other and with the data around them is one object again."""

import collections
import functools
import pickle
import random
import types
import weakref

import cloudpickle
import mains
import numpy as np
import pytest
from shapes import Ambiguous, shape
from value_graphs import KINDS, Graph

import fastser

pytestmark = pytest.mark.core

try:
    import hypothesis
except ImportError:
    hypothesis = None

BIG = 20_000  # bytes, well above what rides in a frame's columns


def roundtrip(obj, **options):
    return fastser.loads(fastser.dumps(obj, **options))


def check(root, classes=False, **options):
    """The copy has the shape of the original, by every way there is. Classes stay what they are in one process."""
    options["classes"] = classes
    expected = shape(root, **options)
    found = roundtrip(root)
    assert shape(found, **options) == expected
    assert shape(fastser.loads(fastser.pack(root)), **options) == expected
    assert shape(fastser.loads(fastser.dumps(found)), **options) == expected  # what came is as good as what was made
    return found


# --- in one process -----------------------------------------------------------------------------------------------------


def test_functions_share_a_variable():
    def counter():
        count = [0]
        total = 0

        def step():
            nonlocal total
            total += 1
            count[0] += 1
            return total

        def look():
            return total, count

        return step, look, count

    step, look, count = check(counter())
    assert (step(), step(), look()) == (1, 2, (2, [2]))
    assert look()[1] is count


def test_functions_of_different_parts_of_a_message_share_a_variable():
    def make():
        held = None

        def put(value):
            nonlocal held
            held = value

        def get():
            return held

        return {"put": [put], "deep": {"get": (get,)}, "cells": put.__closure__}

    found = check(make())
    found["put"][0]("new")
    assert found["deep"]["get"][0]() == "new" == found["cells"][0].cell_contents


def test_callbacks_change_what_they_belong_to():
    class Recorder:
        def __init__(self):
            self.events = []
            self.on_event = lambda event: self.events.append(event)
            self.by_default = lambda event, events=self.events: events.append(event)
            self.log = self.events.append
            self.table = collections.defaultdict(lambda: self)

    recorder, events = roundtrip([one := Recorder(), one.events])
    for i, call in enumerate((recorder.on_event, recorder.by_default, recorder.log)):
        call(i)
    assert recorder.events is events == [0, 1, 2]
    assert recorder.table["new"] is recorder
    check([one, one.events])


@pytest.mark.parametrize("count", [1, 15, 16, 17, 3000])
def test_runs_of_instances_with_callbacks(count):
    class Node:
        def me(self):
            return self

    nodes = [Node() for _ in range(count)]
    for i, node in enumerate(nodes):
        node.i = i
        node.by_closure = (lambda node: lambda: node)(node)
        node.by_default = lambda node=node: node
        node.method = node.me
        node.partial = functools.partial(Node.me, node)
        node.next = (lambda other: lambda: other)(nodes[i + 1 if 0 < i < 99 and i < count - 1 else 0])  # no deeper than max_depth
    found = roundtrip(nodes)
    for i, node in enumerate(found):
        assert node.i == i and type(node) is Node
        assert node.by_closure() is node.by_default() is node.method() is node.partial() is node
        assert node.next() is found[i + 1 if 0 < i < 99 and i < count - 1 else 0]
    if count < 100:
        check(nodes, own=[Node.me])


def test_an_array_in_closures_and_data_is_written_once():
    big = np.arange(BIG)
    view = big[:]

    class Holder:
        in_class = big

    def in_closure():
        return big, view

    def in_default(x=big):
        return x

    in_default.at = big
    root = [in_closure, in_default, {"data": big}, functools.partial(in_default, big), Holder, (lambda: view), Holder()]
    root[-1].field = view
    for frame in (fastser.dumps(root), fastser.pack(root).to_bytes()):
        assert big.nbytes < len(frame) < big.nbytes + 6000
        closure, default, data, partial, _, other, holder = fastser.loads(bytearray(frame))
        array = data["data"]
        assert closure()[0] is array is default() is default.at is partial.args[0]
        assert closure()[1] is other() is holder.field is not array
        assert np.shares_memory(array, holder.field)
        array[0] = 77
        assert other()[0] == 77
    assert fastser.pack(root).nbytes < big.nbytes + 6000


def test_a_cycle_through_a_tuple_and_a_closure():
    def direct():
        return whole

    whole = (direct, 1)
    first, _ = found = check(whole)
    assert first() is found

    def through_list():
        return kept

    kept = ([through_list],)
    found = check([kept, {"again": kept}])
    assert found[0][0][0]() is found[0] is found[1]["again"]


def test_a_cycle_through_a_frozenset_and_a_closure():
    def member():
        return members

    members = frozenset([member, 5])
    found = check(members)
    (function,) = (one for one in found if one != 5)
    assert function() is found and function in found
    found = check({members: member})
    assert [*found.values()][0]() is [*found][0]


def test_functions_as_keys_and_members():
    def handler():
        return registry

    def other():
        return members

    class Event:
        pass

    registry = {handler: [handler], Event: handler, (other, 1): {other: handler}, Event().__class__: 5}
    members = {handler, other, Event, (handler, other)}
    root = [registry, members, handler, other]
    found = check(root)
    loaded, again, first, second = found
    assert loaded[first] == [first] and first() is loaded and loaded[second, 1][second] is first
    assert second in again and (first, second) in again and second() is again


def test_a_default_dict_whose_function_leads_back():
    made = collections.defaultdict(None)
    made.default_factory = lambda: made
    found = check({"a": made})["a"]
    assert found["missing"] is found


def test_bound_methods_partials_and_wrappers():
    class Owner:
        def method(self):
            return self

        @classmethod
        def of_class(cls):
            return cls

        @property
        def itself(self):
            return self

    one = Owner()
    held = functools.lru_cache(maxsize=7)(lambda: one)
    held.tag = [held, one]
    partial = functools.partial(one.method)
    partial.tag = partial
    made = property(held.__wrapped__), staticmethod(held.__wrapped__), classmethod(held.__wrapped__)
    root = [one, one.method, one.method, partial, held, made, Owner.of_class, held.__wrapped__, functools.cached_property(held.__wrapped__)]
    one.method_kept = one.method
    found = roundtrip(root)
    owner, method, _, partial, held, made, of_class, function, cached = found
    assert type(owner) is Owner and method.__self__ is owner is partial.func.__self__ is owner.method_kept.__self__
    assert partial.tag is partial and of_class() is Owner
    assert held.tag[0] is held and held.tag[1] is owner and held() is owner and held.cache_parameters() == {"maxsize": 7, "typed": False}
    assert held.__wrapped__ is function is made[0].fget is made[1].__func__ is made[2].__func__ is cached.func
    assert [type(one) for one in made] == [property, staticmethod, classmethod]
    check(root, own=[vars(Owner)["of_class"].__func__])


def test_the_cache_of_a_function_stays_here():
    calls = []

    @functools.lru_cache
    def cached(x):
        calls.append(x)
        return x

    cached(1)
    cached.__wrapped__.later = 5  # after its attributes were copied
    found, log = roundtrip([cached, calls])
    assert found.cache_info().currsize == 0 and found(1) == 1 and log == [1, 1] and calls == [1]
    assert list(vars(found)) == list(vars(cached)) and found.__wrapped__.later == 5 and not hasattr(found, "later")


def test_weak_dictionaries():
    class Key:
        pass

    keys = [Key() for _ in range(20)]
    by_key = weakref.WeakKeyDictionary((key, lambda key=key: [by_key, key]) for key in keys)
    by_name = weakref.WeakValueDictionary(enumerate(keys))
    members = weakref.WeakSet(keys[:1])
    for i, key in enumerate(keys):
        key.tag = i
        key.all = by_name
    found_keys, found_by_key, found_by_name, found_members = check([keys, by_key, by_name, members])
    for i, key in enumerate(found_keys):
        assert found_by_name[i] is key and key.all is found_by_name
        assert found_by_key[key]()[0] is found_by_key and found_by_key[key]()[1] is key
    assert [*found_members] == [found_keys[0]]


MODULE = """
import math
table = {}
class Made:
    def ask(self): return table, Made, helper
def helper(): return table
def count():
    global table
    table = math.pi
    return helper()
table["helper"] = helper
table["one"] = Made()
"""


def test_a_module_that_was_made_up():
    module = types.ModuleType("made_up_here")
    exec(MODULE, vars(module))
    root = [module.helper, module, module.table, module.Made]
    helper, found, table, Made = check(root)
    assert found.helper is helper is table["helper"] and helper() is table is found.table and Made is module.Made
    # Its functions have globals of their own, which they share.
    assert found.count() == 3.141592653589793 == helper()
    again, same = roundtrip([module, module])
    assert again is same


def test_empty_cells_and_names_that_are_not_there_yet():
    def make():
        def early():
            return late, missing

        yield early
        late = 5
        yield late

    made = make()
    early = next(made)
    found = check([early, early.__closure__])[0]
    with pytest.raises(NameError):
        found()
    next(made)
    assert roundtrip([early])[0].__closure__[0].cell_contents == 5


def test_a_cell_on_its_own():
    shared = []
    cell = types.CellType(shared)
    looping = types.CellType()
    looping.cell_contents = [looping]
    found = check([cell, shared, types.CellType(), looping])
    assert found[0].cell_contents is found[1]


def test_equal_functions_stay_apart():
    made = [(lambda n: lambda: n)(i) for i in range(40)]
    same = [eval("lambda: 1") for _ in range(40)]
    found = check([made, same])
    assert [function() for function in found[0]] == [*range(40)]
    assert len(set(found[1])) == 40


def test_functions_keep_one_dict_of_globals():
    scope = {"__name__": "__main__", "count": 0}
    exec("def step():\n global count\n count += 1\n return count\ndef look(): return count\ndef unused(): return step", scope)
    step, look = roundtrip([scope["step"], {"look": scope["look"]}["look"]])
    assert step.__globals__ is look.__globals__ and (step(), step(), look()) == (1, 2, 2)


@pytest.mark.parametrize("kinds", [["closure", "list"], ["pair", "tuple"], ["callbacks", "closure"], ["keys", "defaults", "frozenset"]])
def test_many_graphs(kinds):
    for seed in range(150):
        choose = random.Random(seed)
        root = Graph(choose.randrange, kinds).build(choose.randrange(1, 9)).root()
        check(root)


if hypothesis is not None:
    st = hypothesis.strategies

    @st.composite
    def graphs(draw, kinds=KINDS):
        graph = Graph(lambda n: draw(st.integers(0, n - 1)) if n > 1 else 0, list(kinds))
        return graph.build(draw(st.integers(1, 10))).root()

    @hypothesis.settings(max_examples=250)
    @hypothesis.given(graphs())
    def test_random_graphs(root):
        try:
            expected = shape(root, classes=False)
        except Ambiguous:
            hypothesis.reject()
        assert shape(roundtrip(root), classes=False) == expected
        assert shape(fastser.loads(fastser.pack([root, root]))[1], classes=False) == expected

    # What cloudpickle keeps. It loses the cells that functions share, which memory two arrays have, and weak references.
    KEPT = sorted({*KINDS} - {"cached", "view", "weak"})

    @hypothesis.settings(max_examples=150)
    @hypothesis.given(graphs(KEPT))
    def test_random_graphs_beside_cloudpickle(root):
        try:
            expected = shape(root, classes=False, cells=False)
        except Ambiguous:
            hypothesis.reject()
        assert shape(roundtrip(root), classes=False, cells=False) == expected
        # Last, since it changes the classes that it finds here.
        assert shape(cloudpickle.loads(cloudpickle.dumps(root)), classes=False, cells=False) == expected


# --- in another process -------------------------------------------------------------------------------------------------

# By name: what a program packs as `made`, and what another finds true of `loaded`.
PROGRAMS = {
    "registry": (
        """
        class Item:
            registry = {}
            def __init__(self, number):
                self.number = number
                Item.registry[number] = self
        made = [Item(i) for i in range(40)]
        """,
        """
        Item = type(loaded[0])
        assert [*Item.registry.values()] == loaded and [*Item.registry] == [*range(40)]
        """,
    ),
    "one instance in its class": (
        """
        class One:
            def __init__(self): One.only = self
        made = One()
        """,
        "assert type(loaded).only is loaded",
    ),
    "a class before its instances": (
        """
        class Item:
            kept = []
            def __init__(self): self.kept.append(self)
        made = [Item, [Item() for _ in range(20)]]
        """,
        "assert loaded[0].kept == loaded[1] and {*map(type, loaded[1])} == {loaded[0]}",
    ),
    "named tuples in their class": (
        """
        class Point(typing.NamedTuple):
            x: int
            def origin(self): return ORIGIN
        ORIGIN = Point.zero = Point(0)
        Point.some = [Point(i) for i in range(20)]
        Other = collections.namedtuple("Other", "a b")
        Other.one = Other(1, [Other])
        made = [Point(1), Point.zero, Point, Other.one, Other]
        """,
        """
        one, zero, Point, other, Other = loaded
        assert type(one) is Point and one.origin() is zero is Point.zero and [point.x for point in Point.some] == [*range(20)]
        assert {*map(type, Point.some)} == {Point} and Other.one is other and other.b[0] is Other and type(other) is Other
        """,
    ),
    "instances that need their class when they are made": (
        """
        class Stateful:
            def __init__(self, x): self.x = x
            def __getstate__(self): return (self.x,)
            def __setstate__(self, state): self.x, = state; self.restored = LIMIT
            def other(self): return DEFAULT
        LIMIT = 5
        DEFAULT = Stateful(1)
        Stateful.kept = [Stateful(2)]
        class Measure(float):
            def __new__(cls, value, unit):
                self = super().__new__(cls, value)
                self.unit = unit
                return self
            def __getnewargs__(self): return float(self), self.unit
            def other(self): return ZERO
        ZERO = Measure.zero = Measure(0, "m")
        class Currency:
            nothing = object()
            names = {"EUR": "euro"}
            def __new__(cls, name, text=nothing):
                self = object.__new__(cls)
                self.name, self.text = name, cls.names.get(name) if text is cls.nothing else text
                return self
            def __getnewargs__(self): return (self.name,)
            def usual(self): return USUAL
        USUAL = Currency.known = Currency("EUR")
        class Failure(Exception):
            def __init__(self, text, code): super().__init__(text, code); self.code = code
            def other(self): return FAILED
        FAILED = Failure("failed", 7)
        class Reduced:
            def __init__(self, *args): self.args = args
            def __reduce__(self): return Reduced, self.args
            def other(self): return REDUCED
        REDUCED = Reduced.kept = Reduced(1, 2)
        class Appends(list):
            def append(self, item): list.append(self, ("appended", item))
            def extend(self, items): list.extend(self, [("extended", item) for item in items])
        Appends.kept = Appends([1])
        made = [Stateful(3), Measure(1, "km"), Failure("x", 1), Reduced(5), Appends([2]), Currency("EUR")]
        """,
        """
        stateful, measure, failure, reduced, appends, currency = loaded
        assert currency.usual() is currency.known and (currency.known.name, currency.known.text, currency.text) == ("EUR", "euro", "euro")
        assert (stateful.x, stateful.other().x, stateful.kept[0].x, stateful.kept[0].restored) == (3, 1, 2, 5)
        assert (measure, measure.unit, measure.other().unit, type(measure).zero) == (1, "km", "m", measure.other())
        assert (failure.code, failure.other().code, failure.other().args) == (1, 7, ("failed", 7))
        assert reduced.args == (5,) and reduced.other() is reduced.kept and reduced.kept.args == (1, 2)
        assert appends[0][0] == appends.kept[0][0] == "extended"
        assert all(type(other) is type(one) for one, other in ((stateful, stateful.other()), (measure, measure.zero), (reduced, reduced.kept)))
        """,
    ),
    "keys of a class that hashes them": (
        """
        @dataclasses.dataclass(frozen=True)
        class Key:
            x: int
            tag = property(lambda self: self.x)
            def known(self): return KNOWN[self]
        KNOWN = {Key(1): "one", Key(2): "two"}
        Key.all = frozenset(KNOWN)
        class Slots:
            __slots__ = ("x",)
            tag = property(lambda self: self.x)
            members = set()
            def __init__(self, x): self.x = x
            def __eq__(self, other): return self.x == other.x
            def __hash__(self): return hash((SALT, self.x))
        SALT = 77
        Slots.members.update(map(Slots, range(20)))
        made = [Key(1), Key(2), Key, Slots(3)]
        """,
        """
        one, two, Key, three = loaded
        assert (one.known(), two.known()) == ("one", "two") and {one, two} == Key.all and three in three.members
        assert len(three.members) == 20
        """,
    ),
    "subclasses in their base": (
        """
        class Base:
            subclasses = []
            def __init_subclass__(cls, **options):
                super().__init_subclass__(**options)
                Base.subclasses.append(cls)
        class First(Base):
            class Inner(Base): outer = Base
        class Second(First): first = First
        made = [First(), Second, Base, First, First.Inner()]
        """,
        """
        first, Second, Base, First, inner = loaded
        assert Base.subclasses == [First.Inner, First, Second] and type(first) is First is Second.first is Second.__mro__[1]
        assert type(inner) is First.Inner and inner.outer is Base and First.Inner.__qualname__ == "First.Inner"
        class Third(Base): ...
        assert Base.subclasses == [First.Inner, First, Second, Third]
        """,
    ),
    "a metaclass that holds its classes": (
        """
        class Meta(type):
            made = {}
            def __new__(meta, name, bases, scope):
                cls = super().__new__(meta, name, bases, scope)
                Meta.made[name] = cls
                return cls
            def __call__(cls, *args):
                one = super().__call__(*args)
                one.by = cls
                return one
        class A(metaclass=Meta): ...
        class B(A): a = A
        made = [A(), B(), Meta, A, B]
        """,
        """
        a, b, Meta, A, B = loaded
        assert Meta.made == {"A": A, "B": B} and type(A) is type(B) is Meta and B.a is A and b.by is B and a.by is A
        assert B().by is B and type("C", (), {}).__class__ is type and Meta("D", (), {}) is Meta.made["D"]
        """,
    ),
    "members of classes": (
        """
        class Owner:
            def method(self): return Owner.__dict__
            @staticmethod
            def static(): return Owner.static
            @classmethod
            def of_class(cls): return cls
            @property
            def it(self): return Owner.it
            @it.setter
            def it(self, value): ...
            @functools.cached_property
            def cached(self): return self
            @functools.lru_cache
            def remembered(self): return self
            alias = method
        table = {Owner.method: "method", Owner.static: "static", Owner.it: "it", Owner.it.fset: "setter", Owner.remembered: "remembered"}
        made = [Owner.it, table, Owner.__dict__["static"], Owner, Owner.method, Owner().method]
        """,
        """
        it, table, static, Owner, method, bound = loaded
        held = vars(Owner)
        assert it is held["it"] and static is held["static"] and method is held["method"] is held["alias"] is bound.__func__
        assert [*table] == [Owner.method, Owner.static, it, it.fset, held["remembered"]] and [*table.values()][-1] == "remembered"
        assert Owner.static() is Owner.static and Owner.of_class() is Owner and Owner().cached and held["cached"].attrname == "cached"
        one = Owner()
        assert one.remembered() is one and Owner.remembered.cache_info().currsize == 1
        """,
    ),
    "enums": (
        """
        def later(x): return Color.RED, x
        class Color(enum.Enum):
            RED = 1
            CALL = enum.member(functools.partial(later, 5)) if hasattr(enum, "member") else functools.partial(later, 5)
            PAIR = (later, [1])
            def next(self): return Color.PAIR
        class Flags(enum.Flag):
            A = 1; B = 2; AB = 3
        Color.table = {Color.RED: Color.PAIR}
        made = [later, Color.RED, Color, {Color.CALL: Color.RED}, Color.RED.next, Flags.A | Flags.B, Flags]
        """,
        """
        later, red, Color, table, following, both, Flags = loaded
        assert later(1) == (red, 1) and later(1)[0] is Color.RED is red and Color.CALL.value()[0] is red and table == {Color.CALL: red}
        assert following() is Color.PAIR and Color.PAIR.value[0] is later and Color.table == {red: Color.PAIR} and both is Flags.AB
        """,
    ),
    "functions of the program": (
        """
        events = []
        state = {"count": 0}
        def on_event(event): events.append(event); state["count"] += 1; return other
        def other(): return on_event, events
        made = {"events": events, "handlers": [on_event, other], "by handler": {on_event: events}, "state": state}
        """,
        """
        on_event, other = loaded["handlers"]
        assert on_event("x") is other and loaded["events"] == ["x"] and loaded["state"] == {"count": 1}
        assert other()[0] is on_event and other()[1] is loaded["events"] is loaded["by handler"][on_event]
        """,
    ),
    "a module that was made up": (
        "module = types.ModuleType('made_up')\nexec('''" + MODULE + "''', vars(module))\nmade = [module.Made(), module.table, module]",
        """
        one, table, module = loaded
        assert type(one) is module.Made and one.ask() == (table, module.Made, module.helper) and module.table is table
        assert type(table["one"]) is module.Made and table["helper"] is module.helper and "made_up" not in sys.modules
        """,
    ),
    "a class that was made again and again": (
        """
        def make(i):
            class Local:
                number = i
                def other(self): return Local, i
            return Local
        classes = [make(i) for i in range(30)]
        made = [classes, [cls() for cls in classes] * 2]
        """,
        """
        classes, instances = loaded
        assert len({*classes}) == 30 and [*map(type, instances)] == classes * 2
        assert [one.other() for one in instances] == [(cls, i) for i, cls in enumerate(classes)] * 2
        assert [cls.number for cls in classes] == [*range(30)]
        """,
    ),
}


@pytest.fixture(scope="module")
def frames():
    written = mains.run_all({name: write + "\nsend(fastser.dumps(made))" for name, (write, _) in unindented().items()})
    return {name: done.sent for name, done in written.items()}


def unindented():
    return {name: (mains.unindented(write), mains.unindented(read)) for name, (write, read) in PROGRAMS.items()}


# Of a process that runs the program, too: it has its own definitions, and nothing of them is changed.
SAME = """
from shapes import reached, shape
before = shape(made)
loaded = fastser.loads(received)
assert shape(made) == before
own = [one for one in reached(made) if isinstance(one, type) and one.__module__ == "__main__" and "<locals>" not in one.__qualname__]
for one in reached(loaded):
    if isinstance(one, type) and one.__module__ == "__main__" and "<locals>" not in one.__qualname__:
        assert any(one is other for other in own), one
"""


@pytest.fixture(scope="module")
def readers(frames):
    """What fails of those who read: a process that has nothing of the program, one that was sent what such one has read, and one that has run it too."""
    programs = {}
    sent = mains.run_all({name: ("send(fastser.dumps(fastser.loads(received)))", frame) for name, frame in frames.items()})
    for name, (write, read) in unindented().items():
        programs[name, "other"] = "loaded = fastser.loads(received)\n" + read, frames[name]
        programs[name, "further"] = "loaded = fastser.loads(received)\n" + read, sent[name].sent
        programs[name, "same"] = write + SAME, frames[name]
    return mains.run_all(programs, check=False)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("reader", ["other", "further", "same"])
def test_programs(readers, name, reader):
    assert not readers[name, reader].failed, readers[name, reader].failed


# Each seed is a graph. Half of them have classes of the program, the others classes that are local to a function.
WRITE = """
import pickle, random
from shapes import Ambiguous, shape
from value_graphs import Graph
def make_class(number):
    name = f"Main{seed}_{number}"
    exec(f'''
class {name}:
    def __init__(self, tag):
        self.tag = tag
    def me(self, *more):
        return self, {name}, more
    @property
    def itself(self):
        return self
    @staticmethod
    def there(): return {name}, make_class
''', globals())
    return globals()[name]
written = []
for seed in range(300):
    choose = random.Random(seed)
    root = Graph(choose.randrange, make_class=make_class if seed % 2 else None).build(choose.randrange(1, 12)).root()
    try:
        written.append((seed, shape(root), fastser.dumps(root)))
    except Ambiguous:
        pass
send(pickle.dumps(written))
"""
READ = """
import pickle
from shapes import shape
written = pickle.loads(received)
assert len(written) > 250
for seed, expected, frame in written:
    assert shape(fastser.loads(frame)) == expected, seed
"""


def test_random_graphs_in_another_process():
    mains.run(READ, mains.run(WRITE).sent)


# --- what else there is -------------------------------------------------------------------------------------------------


def some_graph():
    class Local:
        def __init__(self, kept):
            self.kept = kept

    shared = [1.5]
    return [lambda: shared, shared, Local(shared), functools.partial(lambda: shared)]


def test_safe_refuses_it():
    for obj in [*some_graph(), some_graph(), types.ModuleType("made_up"), {lambda: 1: 2}, types.CellType([])]:
        if obj != [1.5]:
            with pytest.raises(fastser.UnsafeDataError, match="safe=True, but"):
                fastser.loads(fastser.dumps(obj), safe=True)


def test_a_tree_keeps_identity_within_one_function_or_class():
    shared = [1.5]

    def inner():
        return shared

    def outer():
        return shared, inner, outer

    class Local:
        held = shared, inner

    found = roundtrip([outer, outer, shared, {"a": inner}], track_refs=False)
    for function in found[:2]:
        held, within, itself = function()
        assert held is within() and itself is function and held is not found[2] is not found[3]["a"]()
    assert found[0] is not found[1] and found[0]()[1] is not found[3]["a"]
    assert roundtrip([Local, Local(), {"class": Local}], track_refs=False)[2]["class"] is Local
    looping = [outer]
    outer.loop = looping
    loop = roundtrip([looping, [1, [looping]]], track_refs=False)[0][0].loop
    assert loop[0].loop is loop


def test_trees_of_many_instances_with_callbacks():
    class Node:
        pass

    nodes = [Node() for _ in range(200)]
    for node in nodes:
        node.me = (lambda node: lambda: node)(node)
        node.more = [node.me]
    found = roundtrip(nodes, track_refs=False)
    for node in found:
        # The function is whole in itself, with another instance.
        assert type(node) is Node is type(node.me()) and node.me().me is node.me and node.me().me() is node.me().more[0]() is not node
        assert node.more[0] is not node.me


@pytest.mark.parametrize("fallback", ["pickle", None])
def test_other_fallbacks_refuse_with_the_path(fallback):
    class Local:
        pass

    module = types.ModuleType("made_up")
    refused = [(lambda: 1, "function"), (Local, "type"), (module, "module"), ((lambda: [].append).__code__, "code"), (types.CellType(1), "cell")]
    for obj, name in refused:
        with pytest.raises(fastser.EncodeError, match=rf"cannot pack the (builtins\.)?{name} at \$\.jobs\[1\]\.x: "):
            fastser.dumps({"jobs": [1, {"x": obj}]}, fallback=fallback)
    with pytest.raises(fastser.EncodeError, match=r"cannot pack the type at \$\[0\]\.class: "):
        fastser.dumps([Local()], fallback=fallback)
    with pytest.raises(fastser.EncodeError, match=r"at \$\.key\(function\)|at \$\.key"):
        fastser.dumps({(lambda: 1): 1}, fallback=fallback)


def check_some(found):
    function, shared, local, partial = found
    assert function() is shared is local.kept is partial()


def test_files(tmp_path):
    fastser.dump(some_graph(), tmp_path / "frame")
    check_some(fastser.load(tmp_path / "frame"))
    check_some(fastser.load(tmp_path / "frame", mmap_mode="c"))
    check_some(fastser.Serializer().loads(fastser.Serializer().dumps(some_graph())))


def test_pack_many():
    packed = fastser.pack_many([some_graph(), some_graph(), [1, 2]])
    *found, last = fastser.loads_many(packed)
    for one in found:
        check_some(one)
    assert found[0][1] is not found[1][1] and last == [1, 2]
    assert type(found[0][2]) is not type(found[1][2])


def test_a_store():
    with fastser.ObjectStore.create() as store:
        big = np.arange(BIG)
        ref = store.put([lambda: big, big, *some_graph()])
        function, array, *some = store.get(ref)
        assert function() is array and store.get(ref)[1] is not array
        check_some(some)


def test_pickled_beside():
    """What this process packs and pickles by turns stays what it is."""
    graph = some_graph()
    check_some(cloudpickle.loads(cloudpickle.dumps(roundtrip(graph))))
    check_some(roundtrip(cloudpickle.loads(cloudpickle.dumps(graph))))
    assert type(pickle.loads(cloudpickle.dumps(roundtrip(graph)))[2]) is type(graph[2])


TASKS = """
class Job:
    def __init__(self):
        self.events = []
        self.on_event = lambda event: self.events.append(event)
    def run(self, other, log):
        self.on_event("ran")
        return self, other is self, log is self.events, type(other) is Job
def both(a, b, *, c): return a is b is c[0], a() is a.held, [a, c]
def check(executor):
    job = Job()
    found, *flags = executor.submit(job.run, job, job.events).result()
    assert flags == [True, True, True] and type(found) is Job
    assert found.events == ["ran"] and job.events == []
    found.on_event("here")
    assert found.events == ["ran", "here"]
    function = lambda: function.held
    function.held = [function]
    same, held, (first, second) = executor.submit(both, function, function, c=[function]).result()
    assert same and held and first is second[0] and first() is first.held and first.held[0] is first
    results = list(executor.map(lambda one, other: (one is other, one), [function] * 3, [function] * 3))
    assert [same for same, _ in results] == [True] * 3
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_tasks(tmp_path, method):
    if method not in __import__("multiprocessing").get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    mains.run_script(
        tmp_path / "program.py",
        TASKS + f"if __name__ == '__main__':\n with fastser.Executor(1, multiprocessing.get_context({method!r})) as executor:\n  check(executor)\n",
    )

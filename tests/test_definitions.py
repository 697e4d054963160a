"""Definitions are known again: by another process that has the same, by one that has another, and by the one that packed them."""

import multiprocessing
import os
import sys

import cloudpickle
import mains
import pytest

import fastser
from fastser.digests import Graph, narrow, wide

pytestmark = pytest.mark.core

since_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters and aliases came with Python 3.12")

# --- the digest ---------------------------------------------------------------------------------------------------------

IMPORTS = "import abc, collections, dataclasses, enum, functools, typing\n"

EQUAL = {
    "integers of many digits": ("class x: a = {1: 2}, 10**5000", "class x: a = {1: 3}, 10**5000"),
    "layout": ("def x(a): return a + 1", "# comment\n\n\ndef x(a):\n\n    return (a   + 1)"),
    "sets of text": (
        "class x:\n def f(self, s=frozenset('abc')): ...\n s = frozenset('abc')",
        "class x:\n def f(self, s=frozenset('bca')): ...\n s = frozenset('cba')",
    ),
    "sets in annotations": (
        "class x:\n a = typing.Annotated[int, {*'abcdef'}, 5]\n b = list[typing.Annotated[str, frozenset('abcdef')]]",
        "class x:\n a = typing.Annotated[int, {*'fedcba'}, 5]\n b = list[typing.Annotated[str, frozenset('fedcba')]]",
    ),
    "order of a class": ("class x:\n a = 1\n def f(self): ...", "class x:\n def f(self): ...\n a = 1"),
    "values of globals": ("y = 1\ndef x(): return y", "y = 2\ndef x(): return y"),
    "other functions": ("def y(): return 1\ndef x(): return y()", "def y(): return 2\ndef x(): return y()"),
    "the definition of a base": ("class B: z = 1\nclass x(B): ...", "class B: z = 2\nclass x(B): ..."),
    "what can change": ("class x: t = [1]", "class x: t = [2]"),
    "annotations that were asked for": ("class x: ...", "class x: ...\nx.__annotations__"),
    "names of slots that were asked for": ("class x: ...", "class x: ...\nimport copy\ncopy.copy(x())"),
    "members of flags that were met": (
        "class x(enum.Flag): A = 1; B = 2; C = 4",
        "class x(enum.Flag): A = 1; B = 2; C = 4\nx.A | x.B, x(7)",
    ),
    "instances of abstract classes": ("class x(abc.ABC): ...", "class x(abc.ABC): ...\nisinstance(1, x), issubclass(int, x), x.register(int)"),
    "signatures in docstrings": (
        "@dataclasses.dataclass\nclass x: a: object = dataclasses.field(default=len)",
        "@dataclasses.dataclass\nclass x: a: object = dataclasses.field(default=len)\nx.__doc__",
    ),
    "signatures": ("@dataclasses.dataclass\nclass x: a: int = 1", "@dataclasses.dataclass\nclass x: a: int = 1\nimport inspect\ninspect.signature(x)\nx()"),
}

OTHER = {
    "a constant": ("def x(a): return a + 1", "def x(a): return a + 2"),
    "a name": ("def x(a): return a", "def x(b): return b"),
    "a docstring": ("def x(a):\n 'one'\n return a", "def x(a):\n 'two'\n return a"),
    "no docstring": ("def x(a):\n 'one'\n return a", "def x(a):\n return a"),
    "a default": ("def x(a=1): ...", "def x(a=2): ..."),
    "the type of a default": ("def x(a=1): ...", "def x(a=True): ..."),
    "the sign of a zero": ("def x(a=0.0): ...", "def x(a=-0.0): ..."),
    "a keyword's default": ("def x(*, a=1): ...", "def x(*, a=2): ..."),
    "an annotation": ("def x(a: int): ...", "def x(a: str): ..."),
    "no annotation": ("def x(a) -> int: ...", "def x(a): ..."),
    "the type of a constant": ("def x(): return 1", "def x(): return 1.0"),
    "the type of a constant within a tuple": ("def x(): return (1, 2)", "def x(): return (1, 2.0)"),
    "bytes": ("def x(): return 'a'", "def x(): return b'a'"),
    "a function within": ("def x(): return lambda: 1", "def x(): return lambda: 2"),
    "a global's name": ("def x(): return y", "def x(): return z"),
    "a coroutine": ("def x(): ...", "async def x(): ..."),
    "a generator": ("def x(): ...", "def x(): yield"),
    "an attribute": ("def x(): ...\nx.a = 1", "def x(): ...\nx.a = 2"),
    "the content of a cell": ("def y(n): return lambda: n\nx = y(1)", "def y(n): return lambda: n\nx = y(2)"),
    "a value in a class": ("class x: a = 1", "class x: a = 2"),
    "a tuple in a class": ("class x: a = (1, 2)", "class x: a = (1, 3)"),
    "the name of a value": ("class x: a = None", "class x: b = None"),
    "a field": ("class x: a: int", "class x: a: str"),
    "a docstring of a class": ("class x: 'one'", "class x: 'two'"),
    "a method": ("class x:\n def f(self): return 1", "class x:\n def f(self): return 2"),
    "a static method": ("class x:\n def f(self): ...", "class x:\n @staticmethod\n def f(self): ..."),
    "a class method": ("class x:\n @classmethod\n def f(c): return 1", "class x:\n @classmethod\n def f(c): return 2"),
    "a property": ("class x:\n @property\n def f(self): return 1", "class x:\n @property\n def f(self): return 2"),
    "a setter": (
        "class x:\n @property\n def f(self): ...\n @f.setter\n def f(self, v): ...",
        "class x:\n @property\n def f(self): ...\n @f.setter\n def f(self, v): self.v = v",
    ),
    "a cached property": (
        "class x:\n @functools.cached_property\n def f(self): return 1",
        "class x:\n @functools.cached_property\n def f(self): return 2",
    ),
    "a function with a cache": (
        "class x:\n @functools.lru_cache\n def f(self): return 1",
        "class x:\n @functools.lru_cache\n def f(self): return 2",
    ),
    "a partial method": (
        "class x:\n def g(s, a): ...\n f = functools.partialmethod(g, 1)",
        "class x:\n def g(s, a): ...\n f = functools.partialmethod(g, 2)",
    ),
    "a class within": ("class x:\n class y: a = 1", "class x:\n class y: a = 2"),
    "a base": ("class A: ...\nclass x: ...", "class A: ...\nclass x(A): ..."),
    "a metaclass": ("class M(type): ...\nclass x: ...", "class M(type): ...\nclass x(metaclass=M): ..."),
    "slots": ("class x: __slots__ = ('a',)", "class x: __slots__ = ('b',)"),
    "no slots": ("class x: __slots__ = ('a',)", "class x: ..."),
    "a default of a dataclass": ("@dataclasses.dataclass\nclass x: a: int = 1", "@dataclasses.dataclass\nclass x: a: int = 2"),
    "a frozen dataclass": ("@dataclasses.dataclass\nclass x: a: int", "@dataclasses.dataclass(frozen=True)\nclass x: a: int"),
    "what is compared": (
        "@dataclasses.dataclass\nclass x: a: int = dataclasses.field(default=1)",
        "@dataclasses.dataclass\nclass x: a: int = dataclasses.field(default=1, compare=False)",
    ),
    "what is known of a field": (
        "@dataclasses.dataclass\nclass x: a: int = dataclasses.field(metadata={'k': 1})",
        "@dataclasses.dataclass\nclass x: a: int = dataclasses.field(metadata={'k': 2})",
    ),
    "a default factory": (
        "@dataclasses.dataclass\nclass x: a: list = dataclasses.field(default_factory=lambda: [1])",
        "@dataclasses.dataclass\nclass x: a: list = dataclasses.field(default_factory=lambda: [2])",
    ),
    "what a type takes": ("def x(a: list[int]): ...", "def x(a: list[str]): ..."),
    "what annotates": ("class x: a: typing.Annotated[int, 5]", "class x: a: typing.Annotated[int, 6]"),
    "what is annotated": ("class x: a: list[typing.Annotated[int, 5]]", "class x: a: list[typing.Annotated[str, 5]]"),
    "an integer of many digits": ("class x: a = 10**5000", "class x: a = 10**5000 + 1"),
    "a constant of many digits": (f"def x(): return 0x{'f' * 5000}", f"def x(): return 0x{'e' * 5000}"),
    "the value of a member": ("class x(enum.Enum): A = 1", "class x(enum.Enum): A = 2"),
    "a member": ("class x(enum.Enum): A = 1", "class x(enum.Enum): A = 1; B = 2"),
    "another name of a member": ("class x(enum.Enum): A = 1", "class x(enum.Enum): A = 1; B = 1"),
    "the order of members": ("class x(enum.Enum): A = 1; B = 2", "class x(enum.Enum): B = 2; A = 1"),
    "a method of an enum": ("class x(enum.Enum):\n A = 1\n def f(self): return 1", "class x(enum.Enum):\n A = 1\n def f(self): return 2"),
    "a field of a named tuple": ("class x(typing.NamedTuple): a: int", "class x(typing.NamedTuple): b: int"),
    "a default of a named tuple": ("x = collections.namedtuple('x', 'a')", "x = collections.namedtuple('x', 'a', defaults=[1])"),
    "a key of a typed dict": ("class x(typing.TypedDict): a: int", "class x(typing.TypedDict, total=False): a: int"),
    "an abstract method": ("class x(abc.ABC):\n def f(self): ...", "class x(abc.ABC):\n @abc.abstractmethod\n def f(self): ..."),
}


def digest(text, filename="<text>"):
    scope = {"__name__": "__main__"}
    exec(compile(IMPORTS + text, filename, "exec"), scope)
    return narrow(scope["x"])


@pytest.mark.parametrize("name", EQUAL)
def test_what_the_digest_does_not_cover(name):
    one, other = EQUAL[name]
    assert digest(one) == digest("\n\n\n" + other, "<another file>")


@pytest.mark.parametrize("name", OTHER)
def test_what_the_digest_covers(name):
    one, other = OTHER[name]
    assert digest(one) != digest(other)
    assert digest(one) == digest(one)


def test_a_digest_follows_the_definition():
    scope = {"__name__": "__main__"}
    exec(IMPORTS + "class x:\n def f(self): return 1\n def g(self): return 2\ndef y(a=1): return a", scope)
    x, y = scope["x"], scope["y"]
    seen = [narrow(x)]
    for change in (
        lambda: setattr(x, "a", 1),
        lambda: setattr(x, "f", x.g),
        lambda: setattr(x.g, "__code__", (lambda self: 3).__code__),
        lambda: delattr(x, "a"),
    ):
        change()
        seen.append(narrow(x))
    of_function = [narrow(y)]
    for name, value in (("__defaults__", (2,)), ("__code__", (lambda a: a + 1).__code__), ("__kwdefaults__", {"a": 1}), ("tag", 1)):
        setattr(y, name, value)
        of_function.append(narrow(y))
    assert len(set(seen)) == len(seen) and len(set(of_function)) == len(of_function)


# --- in several processes -----------------------------------------------------------------------------------------------

DEFINITIONS = """
T = typing.TypeVar("T")
P = typing.ParamSpec("P")
Id = typing.NewType("Id", int)
class Color(enum.Enum):
    RED = 1
    BLUE = "b"
    def next(self): return Color.BLUE
class Flags(enum.IntFlag):
    A = 1; B = 2
@dataclasses.dataclass
class Point:
    x: int
    y: list = dataclasses.field(default_factory=list)
@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Frozen:
    x: int = 1
class Row(typing.NamedTuple):
    a: int
    b: str = "x"
Old = collections.namedtuple("Old", "p q", defaults=[1])
class Outer:
    class Inner:
        class Deep: z = 1
    def __init__(self): self.inner = Outer.Inner()
class Meta(type):
    def __call__(cls, *args): return super().__call__(*args)
class WithMeta(metaclass=Meta): ...
class Slots:
    __slots__ = ("a", "__b", "__weakref__")
    def __init__(self): self.a, self.__b = 1, 2
class Members:
    names = {"a", "b", "c", "d", "e"}
    nested = frozenset([frozenset(["a", "b"]), frozenset(["c", "d"]), ("x", 1)])
    table = {i: str(i) for i in range(100)}
    allowed = {Color.RED, Color.BLUE, len, Outer}
    @property
    def it(self): return self
    @functools.cached_property
    def cached(self): return 2
    @staticmethod
    def static(): return Members
    @classmethod
    def of_class(cls): return cls
    @functools.lru_cache
    def remembered(self): return 1
    def has(self, x): return x in {"p", "q", "r", "s"}
    def sets(self): self.zeta = self.alpha = self.mid = self.beta = 1
class Box(typing.Generic[T]):
    x: T
class Abstract(abc.ABC):
    @abc.abstractmethod
    def f(self): ...
class Concrete(Abstract):
    def f(self): return super().f()
@Abstract.register
class Registered: ...
class Protocol(typing.Protocol):
    def m(self) -> int: ...
class Failure(Exception):
    def __init__(self, a): super().__init__(a); self.a = a
class Typed(typing.TypedDict):
    a: int
@functools.total_ordering
class Ordered:
    def __init__(self, x): self.x = x
    def __lt__(self, other): return self.x < other.x
    def __eq__(self, other): return type(other) is Ordered and self.x == other.x
    __hash__ = None
class Tagged:
    def __init_subclass__(cls, *, tag): cls.tag = tag
class WithOptions(Tagged, tag=1): ...
@functools.lru_cache
def cached(x): return x
@functools.singledispatch
def dispatched(x): return "object"
def function(a: int, b=[1], *, c={"k": 1}) -> Color:
    "Text."
    return Color.RED, function
def generator(): yield Point(1)
async def coroutine(): ...
class Fields(collections.namedtuple("Fields", "a b")):
    def sum(self): return self.a + self.b
class Annotated:
    x: typing.Annotated[int, {*"abcdef"}] = 1
Made = dataclasses.make_dataclass("Made", ["a", ("b", int)])
Made.__module__ = "__main__"  # before Python 3.12 it is of types
Called = enum.Enum("Called", "P Q")
Derived = type("Derived", (Point,), {"extra": 5})
made = {
    name: value for name, value in [*globals().items()]
    if getattr(value, "__module__", None) == "__main__" and (hasattr(value, "__qualname__") or isinstance(value, (typing.TypeVar, typing.ParamSpec)))
}
assert len(made) > 30
equal = [
    Color.RED, Color.BLUE, Flags.A | Flags.B, Point(1, [2]), Frozen(3), Row(1), Old(2), Outer.Inner.Deep, Ordered(1), Called.Q, Made(1, 2),
    Members.static, Members.has, vars(Members)["it"], Members.remembered, vars(Members)["static"], Outer.__init__, Id, Box[int], {Frozen(1): Row(1)}, Derived(1), Fields(1, 2), Annotated,
]
others = [Outer(), WithMeta(), Slots(), Members(), Box(), Concrete(), Failure(1), Registered(), WithOptions()]
everything = [made, equal, others]
"""

NEWER = """
type Alias = list[Alias]
def generic[S: int](x: S) -> S: return x
class Generic[S]:
    x: S
made |= {"Alias": Alias, "generic": generic, "Generic": Generic}
""" * (sys.version_info >= (3, 12))


def test_a_script_that_is_run_twice():
    """It finds what it has itself in the frame of the earlier run, and nothing of it was changed."""
    program = DEFINITIONS + NEWER
    frame = mains.run(program + "send(fastser.dumps(everything))", seed=1).sent
    use = """
    from shapes import shape
    before = shape([*made.values()])
    found, same, rest = fastser.loads(received)
    for name, value in made.items():
        assert found[name] is value, name
    for one, other in zip(same, equal, strict=True):
        assert one == other, other
        assert type(one) is type(other)
        if isinstance(other, (enum.Enum, type, types.FunctionType, typing.NewType, property, staticmethod, functools._lru_cache_wrapper)):
            assert one is other, other
    for one, other in zip(rest, others):
        assert type(one) is type(other) and isinstance(one, type(other))
    assert type(rest[0].inner) is Outer.Inner and rest[2]._Slots__b == 2 and rest[6].a == 1
    assert shape([*made.values()]) == before
    again = fastser.loads(fastser.dumps([found, same]))
    assert again[0] == made and again[1] == equal
    """
    assert mains.run(program + mains.unindented(use), frame, seed=2) == ""
    # One that has nothing of it has other classes, which are the writer's own again when they come back.
    there = "loaded = fastser.loads(received)\nassert loaded[0]['Color'].RED is loaded[1][0]\nsend(fastser.dumps(loaded))"
    # Functions have the state of the message that they came with: they stay what they are.
    without_named = program + "for one in ('Tagged', 'WithOptions'): del made[one]\nothers.pop()\n"
    without_named += "made = {name: one for name, one in made.items() if isinstance(one, (type, enum.Enum)) or not callable(one)}\n"
    without_named += "equal = [one for one in equal if not isinstance(one, (types.FunctionType, functools._lru_cache_wrapper))]\neverything = [made, equal, others]\n"
    back = mains.run(there, mains.run(without_named + "send(fastser.dumps(everything))", seed=3).sent).sent
    assert mains.run(without_named + mains.unindented(use), back, seed=4) == ""


def test_equal_definitions_are_equal_bytes_in_every_process():
    program = DEFINITIONS + NEWER + """
@dataclasses.dataclass(slots=True)
class WithSlots:  # before Python 3.14 its function refers to the class that had none
    held: typing.ClassVar = [object.__new__(Outer)]
    def cls(self): return __class__
for track_refs in (True, False):
    for one in [*made.values(), *equal, *others, WithSlots(), everything, {"text": Members.names, "nested": [Members.nested]}]:
        if track_refs and type(one) is dict and "text" in one:
            continue
        send(fastser.dumps(one, track_refs=track_refs))
"""
    first, *rest = [mains.run(program, seed=seed).sent for seed in (0, 1, 2)]
    assert first == rest[0] == rest[1]


def test_attrs_classes_with_hashes():
    """Of the code that attrs generates for a hash, something is of the process."""
    pytest.importorskip("attrs")
    program = "import attrs\n@attrs.frozen\nclass Point:\n x: int\n y: list = attrs.field(factory=list)\nmade = Point(1)\n"
    frame = mains.run(program + "send(fastser.dumps([made, {Point(2, (3,)): 4}]))", seed=1).sent
    use = "point, table = fastser.loads(received)\nassert point == made and type(point) is Point and table == {Point(2, (3,)): 4}"
    mains.run(program + use, frame, seed=2)
    mains.run("point, table = fastser.loads(received)\nassert point.x == 1 and table[type(point)(2, (3,))] == 4", frame, seed=3)


CHANGES = {
    "class": ("class It:\n def f(self): return 1\nmade = It(), It", "class It:\n def f(self): return 2\n", "it.f() == 1"),
    "dataclass": (
        "@dataclasses.dataclass\nclass It:\n x: int = 1\nmade = It(5), It",
        "@dataclasses.dataclass\nclass It:\n x: int = 1\n y: int = 2\n",
        "it.x == 5 and not hasattr(it, 'y') and it != It(5)",
    ),
    "enum": ("class It(enum.Enum): A = 1\nmade = It.A, It", "class It(enum.Enum): A = 1; B = 2\n", "it.name == 'A' and it != It.A"),
    "named tuple": (
        "class It(typing.NamedTuple): a: int\nmade = It(1), It",
        "class It(typing.NamedTuple): a: int; b: int = 1\n",
        "tuple(it) == (1,)",
    ),
    "function": ("def It(): return 1\nmade = It, It", "def It(): return 2\n", "it() == 1 and Found is it"),
    "type variable": (
        "It = typing.TypeVar('It', bound=int)\nmade = It, It",
        "It = typing.TypeVar('It', bound=str)\n",
        "it.__bound__ is int and Found is it",
    ),
    "new type": ("It = typing.NewType('It', int)\nmade = It, It", "It = typing.NewType('It', str)\n", "it.__supertype__ is int"),
    "metaclass": (
        "class It(type):\n def f(c): return 1\nmade = It('C', (), {}), It",
        "class It(type):\n def f(c): return 2\n",
        "it.f() == 1 and type(it) is Found",
    ),
    "function with a cache": (
        "@functools.lru_cache\ndef It(): return 1\nmade = It, It",
        "@functools.lru_cache\ndef It(): return 2\n",
        "it() == 1 and Found is it",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_definition_that_was_changed(name):
    """What was packed is used, and a warning names both."""
    old, new, check = CHANGES[name]
    frame = mains.run(old + "\nsend(fastser.dumps(made))").sent
    use = f"""
import warnings
before = It
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    it, Found = fastser.loads(received)
assert Found is not It is before and {check}
(warning,) = caught
assert warning.category is fastser.DefinitionWarning and issubclass(fastser.DefinitionWarning, UserWarning)
print(warning.message)
with warnings.catch_warnings():
    warnings.simplefilter("error")
    try:
        fastser.loads(received)
    except fastser.DecodeError as error:
        assert type(error.__cause__) is fastser.DefinitionWarning
    else:
        raise AssertionError("no error")
"""
    text = mains.run(new + use, frame)
    assert text.startswith("__main__.It was packed with another definition (") and "than __main__.It has here (" in text
    packed, own = (part.partition(")")[0] for part in text.split("(")[1:3])
    assert len(packed) == len(own) == 12 and packed != own and {*packed, *own} <= {*"0123456789abcdef"}
    # The definition that it was packed with, and no definition at all.
    for program in (old, "It = 5", "It = [1]", "import json as It", "class It2: ...\nIt = It2()", "It = len"):
        mains.run(program + "\nit, Found = fastser.loads(received)\n" + f"assert {check.partition(' and ')[0]}, it", frame)


def test_methods_are_those_of_their_class():
    """A function that did not change belongs to the class that it came with, whose code it may refer to."""
    program = "class B:\n def m(self): return 'B'\nclass C(B):\n def m(self): return super().m() + 'C'\n"
    use = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    first, one, last = fastser.loads(received)
print(one.m(), type(one) is C, first is C.m, first is last is type(one).m, len(caught) > 0)
"""
    for order in ("[C.m, C(), C.m]", "[vars(C)['m'], C(), C().m.__func__]"):
        frame = mains.run(program + f"send(fastser.dumps({order}))").sent
        assert mains.run(program + " def other(self): ...\n" + use, frame) == "BC False False True True\n"
        assert mains.run(program + use, frame) == "BC True True True False\n"
        assert mains.run(use.replace("C.m", "None").replace("is C", "is None"), frame) == "BC False False True False\n"


def test_definitions_that_are_made_anew_in_one_process():
    program = """
    import warnings
    def cell(text): exec(compile(text, "<cell>", "exec"), globals())
    cell("class C:\\n def f(self): return 1\\ndef g(): return 1")
    first, first_g = C, g
    frame = fastser.dumps([C(), C, g])
    cell("class C:\\n def f(self): return 1\\ndef g(): return 1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, found, found_g = fastser.loads(frame)
        assert found is C is type(one) is not first and found_g is g
        # Both are among the data, each as it was.
        assert [x is y for x, y in zip(fastser.loads(fastser.dumps([C, first, C()])), [C, first])] == [True, True]
    cell("class C:\\n def f(self): return 2\\ndef g(): return 2")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        one, found, found_g = fastser.loads(frame)
    assert {str(warning.message).split()[0] for warning in caught} == {"__main__.C", "__main__.g"}
    assert found is not C and one.f() == 1 and C().f() == 2 and found_g() == 1 and g() == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both = fastser.loads(fastser.dumps([C, found, C(), one]))
    assert both[0] is C and both[1] is found and type(both[2]) is C and type(both[3]) is found
    # What was changed in place is still the class.
    frame = fastser.dumps(C)
    C.more = 5
    assert fastser.loads(frame) is C is fastser.loads(fastser.dumps(C))
    """
    mains.run(program)


def test_local_classes_there_and_back():
    program = """
    import subprocess
    def make(kept):
        class Local:
            held = kept
            def me(self): return self, Local
        return Local
    plain, same, changing = make(1), make(1), make([1])
    there = "import sys, fastser; sys.stdout.buffer.write(fastser.dumps(fastser.loads(sys.stdin.buffer.read())))"
    sent = [plain, same, changing, plain(), same(), changing(), plain.me]
    def back(obj):
        done = subprocess.run([sys.executable, "-c", there], input=fastser.dumps(obj), stdout=subprocess.PIPE, check=True)
        return fastser.loads(done.stdout)
    for found in (fastser.loads(fastser.dumps(sent)), back(sent), back(back(sent))):
        assert [cls is other for cls, other in zip(found, [plain, same, changing])] == [True] * 3
        assert [type(one) for one in found[3:6]] == [plain, same, changing] and found[6] is plain.me
        assert found[3].me() == (found[3], plain) and plain.held == 1 and changing.held == [1]
    plain.more = 7
    found = back([plain, same])
    assert found == [plain, same] and plain.more == 7 and not hasattr(same, "more")
    send(fastser.dumps(sent))
    """
    frame = mains.run(program).sent
    use = """
    plain, same, changing, *instances, function = fastser.loads(received)
    assert [type(one) for one in instances] == [plain, same, changing] and function is plain.me
    again = fastser.loads(received)
    assert len({plain, same, changing}) == 3 and again[:3] == [plain, same, changing] and again[6] is plain.me
    assert plain.__qualname__ == "make.<locals>.Local" and plain.held == 1 and changing.held == [1]
    """
    mains.run(use, frame)


# --- what cannot be carried ---------------------------------------------------------------------------------------------

LOCKED = """
lock = threading.Lock()
def guarded(x):
    with lock:
        return x + 1
class Guard:
    lock = lock
    def run(self, x):
        with self.lock:
            return x, type(self) is Guard
"""


def test_a_lock_among_the_globals_is_refused():
    program = LOCKED + """
for obj, path in (
    ({"jobs": [1, guarded]}, "$.jobs[1].__globals__['lock']"),
    ([Guard()], "$[0].class.lock"),
    (Guard().run, "$.args[0].class.lock"),
    ((lambda: guarded), "$.__globals__['guarded'].__globals__['lock']"),
    (Guard, "$.lock"),
):
    for dumps in (fastser.dumps, fastser.pack):
        try:
            dumps(obj)
        except fastser.EncodeError as error:
            assert type(error.__cause__) is TypeError and str(error.__cause__) == "cannot pickle '_thread.lock' object"
            assert str(error).startswith(f"cannot pack the _thread.lock at {path}: TypeError: cannot pickle '_thread.lock' object"), error
        else:
            raise AssertionError("no error")
"""
    mains.run(program)


# Classes that what makes classes cannot make again, and why.
NAMED = {
    "ctypes structure": (
        "import ctypes\nclass It(ctypes.Structure): _fields_ = [('x', ctypes.c_int)]\nmade = [It(5), It]",
        "import ctypes\nclass It(ctypes.Structure): _fields_ = [('x', ctypes.c_short)]\n",
        "one.x == 5",
        "metaclass",
    ),
    "options of a base": (
        "class Base:\n def __init_subclass__(cls, *, tag): cls.tag = tag\nclass It(Base, tag=1): ...\nmade = [It(), It]",
        "class Base:\n def __init_subclass__(cls, *, tag): cls.tag = tag\nclass It(Base, tag=2): ...\n",
        "one.tag == 1",
        "it was made with tag in its statement",
    ),
    "options of a metaclass": (
        "class Meta(type):\n def __new__(m, n, b, d, *, tag): return super().__new__(m, n, b, d)\n def __init__(c, n, b, d, *, tag): c.tag = tag\n"
        "class It(metaclass=Meta, tag=1): ...\nmade = [It(), It]",
        "class Meta(type):\n def __new__(m, n, b, d, *, tag): return super().__new__(m, n, b, d)\n def __init__(c, n, b, d, *, tag): c.tag = tag + 1\n"
        "class It(metaclass=Meta, tag=1): ...\n",
        "one.tag == 1",
        "it was made with tag in its statement",
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_classes_that_cannot_be_made_again_go_by_name_and_digest(name):
    program, other, check, reason = NAMED[name]
    frame = mains.run(program + "\nsend(fastser.dumps(made))").sent
    mains.run(program + f"\none, found = fastser.loads(received)\nassert found is It is type(one) and {check}", frame)
    refused = """
try:
    fastser.loads(received)
except fastser.DecodeError as error:
    assert type(error.__cause__) is LookupError
    print(error)
"""
    assert "__main__.It is defined differently here, and its definition was not carried: " in (text := mains.run(other + refused, frame))
    assert reason in text
    assert "there is no __main__.It here, and its definition was not carried: " in mains.run(refused, frame)
    # Where no name leads to it, it cannot be packed.
    text = "made.append(It)\ndel It\ntry:\n fastser.dumps(made)\nexcept fastser.EncodeError as error: print(error)"
    assert reason in mains.run(program + "\n" + text)


TASKS = LOCKED + """
count = 0
def setup(value):
    global count, model
    count, model = value, [value]
def look(): return count, model
class Counted:
    def look(self): return count, model, type(self) is Counted
class Failed(Exception):
    held = Guard
def fail(): raise Failed("on purpose")
def attempt(executor, *args):
    try:
        return executor.submit(*args).result()
    except Exception as error:
        return error
def check(executor):
    global look
    assert attempt(executor, guarded, 1) == 2 and list(executor.map(guarded, range(3))) == [1, 2, 3]
    assert attempt(executor, Guard().run, 1) == (1, True) == attempt(executor, Guard.run, Guard(), 1)
    assert attempt(executor, lambda x: guarded(x) + 1, 1) == 3
    # What comes back by name is what is here.
    assert attempt(executor, lambda: [guarded, Guard]) == [guarded, Guard] and type(attempt(executor, Guard)) is Guard
    assert type(attempt(executor, fail)) is Failed and attempt(executor, fail).held is Guard
    refused = attempt(executor, lambda: threading.Lock())
    assert type(refused) is fastser.EncodeError and str(refused).startswith("cannot pack the _thread.lock at result: "), refused
    # What the initializer set is seen by functions that come by value and by name, whether it had a value here or not.
    for task in (look, lambda: look(), lambda: (count, model)):
        assert attempt(executor, task) == (7, [7]), attempt(executor, task)
    assert attempt(executor, Counted().look) == (7, [7], True) == attempt(executor, lambda one: one.look(), Counted())
    assert attempt(executor, lambda: (guarded(1), model)) == (2, [7])
    assert count == 0 and "model" not in globals()
    local = (lambda: lambda x: lock)()
    refused = attempt(executor, local, 1)
    assert type(refused) is fastser.EncodeError and "_thread.lock at " in str(refused), refused
    # The worker has another definition now, and none of a new one.
    exec("def guarded(x):\\n with lock: return x + 100\\ndef new():\\n with lock: return 1", globals())
    for name, task, words in (("guarded", lambda: attempt(executor, guarded, 1), "is defined differently here"), ("new", lambda: attempt(executor, new), "")):
        error = task()
        assert type(error) is fastser.DecodeError and f"__main__.{name}" in str(error) and "was not carried: " in str(error), error
        assert words in str(error) and "cannot pack the _thread.lock at $[0].__globals__['lock']" in str(error)
    # What can be carried is as it is now.
    def look(): return "new", count
    assert attempt(executor, look) == ("new", 7)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_tasks(tmp_path, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    mains.run_script(
        tmp_path / "program.py",
        TASKS
        + f"""
if __name__ == "__main__":
    with fastser.Executor(1, multiprocessing.get_context({method!r}), initializer=setup, initargs=(7,)) as executor:
        check(executor)
""",
    )


WORKERS = """
class Color(enum.Enum): RED = 1; CALL = (print, 1)
@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    color: Color = Color.RED
Row = collections.namedtuple("Row", "a b")
Id = typing.NewType("Id", int)
def own(frame):
    values = fastser.loads(frame)
    kinds = [type(values[0]) is Color, values[0] is Color.RED, type(values[1]) is Point, values[1] == Point(1), type(values[2]) is Row, values[3] is Id]
    return kinds, fastser.dumps([Point(2), Color.RED, Color.CALL, Row(1, Point(3)), Id])
if __name__ == "__main__":
    values = [Color.RED, Point(1), Row(1, 2), Id]
    with multiprocessing.get_context(METHOD).Pool(1) as pool:
        kinds, frame = pool.apply(own, (fastser.dumps(values),))
    assert kinds == [True] * 6, kinds
    point, color, call, row, Other = fastser.loads(frame)
    assert (point, color, row) == (Point(2), Color.RED, Row(1, Point(3))) and color is Color.RED and call is Color.CALL and Other is Id
    assert type(row) is Row and type(row.b) is Point
    with fastser.Executor(1, multiprocessing.get_context(METHOD)) as executor:
        found = executor.submit(lambda *args: [*args, [type(one).__name__ for one in args], args[1] == Point(1), args[0] is Color.RED], *values).result()
    assert found[:4] == values and found[0] is Color.RED and found[3] is Id and found[4:] == [["Color", "Point", "Row", type(Id).__name__], True, True]
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_have_the_definitions_of_their_script(tmp_path, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    mains.run_script(tmp_path / "program.py", WORKERS.replace("METHOD", repr(method)))


# --- classes of other makers --------------------------------------------------------------------------------------------

# By name: a program, what it needs, and whether a process without the program can read what it packs.
MAKERS = {
    "attrs": ("import attrs\n@attrs.define\nclass It:\n x: int\n y: list = attrs.field(factory=list)\nmade = [It(1), It]", "attrs", True),
    "attrs slots": ("import attr\n@attr.s(slots=True, hash=True)\nclass It:\n x = attr.ib(default=1)\nmade = [It(1), It]", "attrs", True),
    "pydantic": (
        "import pydantic\nclass It(pydantic.BaseModel):\n x: int\n y: list[str] = []\n n: 'It | None' = None\n"
        " @pydantic.field_validator('x')\n def check(cls, x): return x\nmade = [It(x=1, n=It(x=2)), It]",
        "pydantic",
        True,
    ),
    "pydantic frozen": ("import pydantic\nclass It(pydantic.BaseModel, frozen=True):\n x: int\nmade = [It(x=1), It, {It(x=2): 1}]", "pydantic", True),
    "pydantic dataclass": ("import pydantic.dataclasses\n@pydantic.dataclasses.dataclass\nclass It:\n x: int\nmade = [It(1), It]", "pydantic", True),
    "msgspec": ("import msgspec\nclass It(msgspec.Struct, frozen=True):\n x: int\n y: list = msgspec.field(default_factory=list)\nmade = [It(1), It]", "msgspec", False),
    "ctypes": ("import ctypes\nclass It(ctypes.Structure):\n _fields_ = [('x', ctypes.c_int)]\nmade = [It(1), It]", "ctypes", False),
    "subclass of an array": ("class It(np.ndarray):\n x = 1\nmade = [np.arange(3).view(It), It]", "numpy", True),
    "subclass of a date": ("import datetime\nclass It(datetime.date): x = 1\nmade = [It(2020, 1, 1), It]", "datetime", True),
    "subclass of a decimal": ("import decimal\nclass It(decimal.Decimal): x = 1\nmade = [It('1.5'), It]", "decimal", True),
    "slots of an iterator": ("class It:\n __slots__ = iter(['x', 'y'])\none = It(); one.x = 1\nmade = [one, It]", "abc", True),
    "slots of a dict": ("class It:\n __slots__ = {'x': 'text', '__y': 'text'}\n def __init__(self): self.x = self.__y = 1\nmade = [It(), It]", "abc", True),
}


@pytest.mark.parametrize("name", MAKERS)
def test_classes_of_other_makers(name):
    program, package, is_carried = MAKERS[name]
    pytest.importorskip(package)
    frame = mains.run(program + "\nsend(fastser.dumps(made))", seed=1).sent
    same = """
one, found, *more = fastser.loads(received)
assert found is It is type(one), (found, type(one))
assert np.array_equal(one, made[0]) if isinstance(one, np.ndarray) else getattr(one, "x") == getattr(made[0], "x")
assert more == made[2:]
"""
    mains.run(program + same, frame, seed=2)
    other = "one, found, *_ = fastser.loads(received)\nassert type(one) is found and found.__name__ == 'It' and (one.x == 1)"
    done = mains.run(other, frame, check=False)
    assert bool(done.failed) is not is_carried
    if not is_carried:
        assert "DecodeError" in done.failed and "there is no __main__.It here, and its definition was not carried" in done.failed


REFUSED = {
    "structseq": "[sys.version_info, sys.flags, sys.float_info, sys.hash_info, sys.thread_info, type(sys.flags), sys.implementation]",
    "ctypes": "[(ctypes.c_int * 5)(1, 2), ctypes.c_int * 5, ctypes.pointer(ctypes.c_int(5)), ctypes.POINTER(ctypes.c_int), ctypes.CFUNCTYPE(ctypes.c_int), ctypes.CDLL(None)]",
    "types of the interpreter": "[type({}.keys()), type(iter([])), type(sys.version_info)]",
    "what needs arguments": "[Needs(1), NeedsKeyword(1, y=2)]",
}
NEEDS = """
import ctypes
class Needs:
    def __new__(cls, x, y=1): return object.__new__(cls)
class NeedsKeyword:
    def __new__(cls, x=1, *, y): return object.__new__(cls)
"""


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_reader_could_make_is_refused(name):
    program = NEEDS + f"""
for obj in {REFUSED[name]}:
    for value in (obj, [1, {{"x": obj}}], [obj] * 20):
        try:
            fastser.loads(fastser.dumps(value))
        except fastser.EncodeError as error:
            assert "unknown path" not in str(error), error
        else:
            print(obj)
"""
    if sys.platform == "win32":
        program = program.replace("CDLL(None)", "c_void_p * 2")
    assert mains.run(program) == ""


def test_a_template_of_jinja():
    jinja2 = pytest.importorskip("jinja2")
    with pytest.raises(fastser.EncodeError, match=r"cannot pack the jinja2.environment.Template at \$\[0\]: PicklingError: its class makes objects by a __new__"):
        fastser.dumps([jinja2.Template("a {{ b }}")])


def test_copies_that_cloudpickle_made_of_what_is_one():
    """It knows no better of dataclasses' own, and puts its copies into the class when it is loaded where it was packed."""
    program = """
    import cloudpickle
    @dataclasses.dataclass
    class Point:
        x: int
        y: list = dataclasses.field(default_factory=list)
    cloudpickle.loads(cloudpickle.dumps(Point))
    assert fastser.loads(fastser.dumps(Point(1))) == Point(1)
    send(fastser.dumps([Point(2), Point]))
    """
    use = """
    point, Point = fastser.loads(received)
    first, second = dataclasses.fields(Point)
    assert first.default is second.default is dataclasses.MISSING and point == Point(2) and dataclasses.replace(point, x=3) == Point(3)
    """
    mains.run(use, mains.run(program).sent)


def test_cloudpickles_classes_and_ours_are_one():
    class Local:
        pass

    copy = cloudpickle.loads(cloudpickle.dumps(Local))
    assert copy is Local is fastser.loads(fastser.dumps(copy))


def test_a_failed_load_leaves_nothing_half_made():
    program = """
    class Fails:
        def __reduce__(self): return getattr, (sys, "there_now")
    class Holder:
        held = Fails()
        def f(self): return Holder, self.held
    send(fastser.dumps([Holder(), Holder, Holder.f]))
    """
    use = """
    for i in range(2):
        try:
            fastser.loads(received)
        except fastser.DecodeError as error:
            assert "there_now" in str(error)
        else:
            raise AssertionError("no error")
    sys.there_now = 7
    one, Holder, f = fastser.loads(received)
    assert one.f() == (Holder, 7) and type(one) is Holder and f is Holder.f
    assert fastser.loads(received)[1] is Holder
    """
    mains.run(use, mains.run(program).sent)


# --- threads ------------------------------------------------------------------------------------------------------------

# The function of a class gets what it refers to after what the class holds.
HOLDS = """
import mains
class Pause:
    def __reduce__(self): return mains.pause, ()
class A:
    def f(self): return is_a(self), self.held
    held = Pause()
def is_a(x): return type(x) is A
"""
LOADS = """
import mains
entered, go = threading.Event(), threading.Event()
def hold():
    mains.at_pause = int
    entered.set()
    assert go.wait(60)
    return result()
def result(): return 5
found = {}
def load(name):
    try:
        found[name] = fastser.loads(received)
    except Exception as error:
        found[name] = error
one, two = (threading.Thread(target=load, args=(name,)) for name in ("one", "two"))
"""


def test_a_class_that_another_thread_is_filling():
    frame = mains.run(HOLDS + "send(fastser.dumps([A(), A]))").sent
    program = LOADS + """
mains.at_pause = hold
one.start()
assert entered.wait(60)
two.start()
two.join(0.1)
assert not found
go.set()
one.join()
two.join()
"""
    mains.run(program + "(a, A), (b, B) = found['one'], found['two']\nassert type(a) is A is B is type(b) and a.f() == b.f() == (True, 5)", frame)
    failing = program.replace("return 5", "raise ValueError('on purpose')")
    mains.run(failing + "error, (a, A) = found['one'], found['two']\nassert 'on purpose' in str(error) and type(a) is A and a.f() == (True, 0)", frame)


def test_classes_that_two_threads_begin_in_two_orders():
    frame = mains.run("""
    import mains
    class Pause:
        def __init__(self, name): self.name = name
        def __reduce__(self): return mains.pause, ()
    class A:
        held = Pause("A")
        @property
        def other(self): return B
    class B:
        held = Pause("B")
        @property
        def other(self): return A
    A.next, B.next = B, A
    send(fastser.dumps([fastser.dumps(A), fastser.dumps(B)]))
    """).sent
    mains.run("""
    import mains
    both = threading.Barrier(2)
    paused = threading.local()
    def meet():
        if not hasattr(paused, "once"):
            paused.once = both.wait(60)
        return 1
    mains.at_pause = meet
    found = [None, None]
    def load(i): found[i] = fastser.loads(fastser.loads(received)[i])
    threads = [threading.Thread(target=load, args=(i,)) for i in range(2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    A, B = found
    assert A.next is B is A().other and B.next is A is B().other and A.held == B.held == 1
    """, frame)


def test_a_class_that_is_filled_again_serves_others_meanwhile():
    frame = mains.run("def scope():\n" + "\n".join(f" {line}" for line in HOLDS.splitlines()) + "\n return [A(), A]\nsend(fastser.dumps(scope()))").sent
    mains.run(LOADS + """
a, A = fastser.loads(received)
assert a.f() == (True, 0)
mains.at_pause = hold
one.start()
assert entered.wait(60)
assert a.f() == (True, 0) and A.held == 0
go.set()
one.join()
assert found["one"][1] is A and a.f() == (True, 5)
mains.at_pause = hold
def result(): raise ValueError("on purpose")
load("two")
assert "on purpose" in str(found["two"]) and a.f() == (True, 5)
""", frame)


def test_a_class_whose_first_load_failed():
    """The next one begins anew: what it holds needs attributes and functions of it while the frame is read."""
    frame = mains.run("""
    import mains
    class Pause:
        def __reduce__(self): return mains.pause, ()
    class Key:
        size = [1]
        def __eq__(self, other): return twice(self) == twice(other)
        def __hash__(self): return twice(self)
    def twice(key): return 2 * key.size[0]
    Key.all = {Key(): Pause()}
    send(fastser.dumps(Key))
    """).sent
    mains.run("""
    import mains
    def fail(): raise ValueError("on purpose")
    mains.at_pause = fail
    errors = []
    def load():
        try: fastser.loads(received)
        except fastser.DecodeError as error: errors.append(error)
    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    assert "on purpose" in str(errors[0])
    mains.at_pause = lambda: 7
    Key = fastser.loads(received)
    assert Key.all[Key()] == 7 and fastser.loads(received) is Key and Key.all[Key()] == 7
    """, frame)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_that_is_forked_while_a_class_is_filled():
    frame = mains.run(HOLDS + "send(fastser.dumps([A(), A]))").sent
    mains.run(LOADS + """
import os
mains.at_pause = hold
one.start()
assert entered.wait(60)
if not (child := os.fork()):
    a, A = fastser.loads(received)
    os._exit(7 if a.f() == (True, 0) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
go.set()
one.join()
assert found["one"][0].f() == (True, 5)
""", frame)


def test_threads_that_load_and_pack_classes():
    program = """
    class Base:
        made = []
        def name(self): return type(self).__name__, helper(self)
    def helper(self): return isinstance(self, Base), Color.RED.value
    class Color(enum.Enum): RED = 1
    @dataclasses.dataclass
    class Point(Base):
        x: int
        f: object = None
    def local(i):
        class Local(Point):
            number = i
            def get(self): return Local, super().name()
        return Local(i, lambda: Local)
    objects = [local(i) for i in range(3)]
    Point.made.append(objects[0])
    send(fastser.dumps([objects, Color.RED, Point(1), {Color.RED: Point}, lambda: objects]))
    """
    frames = [done.sent for done in mains.run_all({str(i): program.replace("= i", f"= i + {i}") for i in range(5)}).values()]
    mains.run("""
    import warnings
    sys.setswitchinterval(1e-5)
    errors = []
    def load(frame, start, found):
        start.wait()
        try:
            objects, red, point, table, function = fastser.loads(frame)
            for one in objects:
                assert one.get() == (type(one), ("Local", (True, 1))) and one.f() is type(one)
            assert type(point) is table[red] and type(function()[1]) is type(objects[1])
            found.append((objects, red, point))
            fastser.loads(fastser.dumps([objects, red, point, table, function]))
        except Exception as error:
            errors.append(error)
    warnings.simplefilter("ignore", fastser.DefinitionWarning)
    for frame in 6 * fastser.loads(received):
        start, found = threading.Barrier(4), []
        threads = [threading.Thread(target=load, args=(frame, start, found)) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        if errors: raise errors[0]
        for kinds in zip(*([type(objects[0]), type(red), type(point)] for objects, red, point in found)):
            assert len(set(kinds)) == 1
    """, fastser.dumps(frames))


def test_a_class_that_is_loaded_again_works_meanwhile():
    """Other threads may be using it: it gets what it holds when that is complete."""
    program = """
    class Meets:
        def __reduce__(self): return (lambda: sys.meet()), ()
    def make(kept):
        class Local:
            held = kept
            met = Meets()
            def f(self): return __class__, kept, helper(self)
        Local.again = Local()
        return Local
    def helper(obj): return obj.held
    Local = make([1])
    send(fastser.dumps([Local(), Local]))
    """
    use = """
    sys.meet = lambda: 0
    first, Local = fastser.loads(received)
    seen = []
    def meet():
        thread = threading.Thread(target=lambda: seen.append((first.f(), Local.met)))
        thread.start()
        thread.join()
        return len(seen)
    sys.meet = meet
    again, found = fastser.loads(received)
    assert seen == [((Local, [1], [1]), 0)] and found is Local is type(again) and Local.met == 1
    """
    # Two threads that load it for the first time.
    both = """
    seen = []
    def load_as_well():
        thread = threading.Thread(target=lambda: seen.append(fastser.loads(received)))
        sys.meet = lambda: 2
        thread.start()
        thread.join()
        (one, Local) = seen[0]
        assert one.f() == (Local, [1], [1]) and Local.met == 2
        return 1
    sys.meet = load_as_well
    one, Local = fastser.loads(received)
    assert type(one) is Local is seen[0][1] and one.f() == seen[0][0].f() == (Local, [1], [1])
    assert Local.again.f() == (Local, [1], [1])
    """
    sent = mains.run(program).sent
    for reader in (use, both):
        mains.run(reader, sent)


def test_a_class_that_a_reader_does_not_have_is_as_the_last_frame_says():
    """Its statement is the same; what it refers to, and what it is derived from, was defined anew."""
    program = """
    def cell(text): exec(compile(text, "<cell>", "exec"), globals())
    frames = []
    def pack(text):
        cell(text)
        frames.append(fastser.dumps(C()))
    pack("def f(): return 1\\nN = 1\\nclass C:\\n kept = [1]\\n def m(self): return f(), N, self.kept")
    pack("def f(): return 2\\nN = 2\\nC.kept.append(2)")
    both = "class B:\\n def m(self): return {0}\\nclass C(B): ..."
    pack(both.format(1))
    pack(both.format(2))
    both = "class M(type):\\n def of(c): return {0}\\nclass C(metaclass=M):\\n def m(self): return C.of()"
    pack(both.format(1))
    pack(both.format(2))
    import pickle
    send(pickle.dumps(frames))
    """
    use = """
    import pickle
    frames = pickle.loads(received)
    loaded = [fastser.loads(frame) for frame in frames]
    assert [one.m() for one in loaded] == [(2, 2, [1, 2])] * 2 + [1, 2, 1, 2]
    assert type(loaded[0]) is type(loaded[1])
    for one, frame in zip(loaded[1::2], frames[1::2]):
        assert type(fastser.loads(frame)) is type(one)
    assert fastser.loads(frames[0]).m() == (1, 1, [1])
    """
    mains.run(use, mains.run(program).sent)


ENUMS = {
    "attributes of __init__": (
        "class E(enum.Enum):\n A = 1, 2\n B = 3, 4\n def __init__(self, x, y): self.both = [x, y]",
        "E.A.both == [1, 2] and E((3, 4)) is E.B and E.B.both == [3, 4]",
    ),
    "an inherited __init__": (
        "class B(enum.Enum):\n def __init__(self, x): self.x = x * 2\nclass E(B): A = 1",
        "E.A.x == 2 and E.A.value == 1 and E(1) is E.A",
    ),
    "values of __new__": (
        "class E(bytes, enum.Enum):\n def __new__(cls, n, unit):\n  one = bytes.__new__(cls, [n])\n  one._value_, one.unit = n, unit\n  return one\n"
        " A = 7, 'km'",
        "E.A == b'\\x07' and E.A.value == 7 and E.A.unit == 'km' and E(7) is E.A",
    ),
    "members that are times": (
        "import datetime\nclass E(datetime.timedelta, enum.Enum):\n def __new__(cls, n):\n  one = datetime.timedelta.__new__(cls, n)\n"
        "  one._value_ = str(n)\n  return one\n A = 7",
        "E.A.days == 7 and E('7') is E.A",
    ),
    "members that are tuples": ("class E(tuple, enum.Enum):\n A = 1, 2\n B = (3,)", "E.A == (1, 2) == E.A.value and E.B == (3,) and E((3,)) is E.B"),
    "members that are dataclasses": (
        "@dataclasses.dataclass\nclass D: x: int; y: int = 5\nclass E(D, enum.Enum): A = 1, 2; B = 3,",
        "(E.A.x, E.A.y, E.B.x, E.B.y) == (1, 2, 3, 5)",
    ),
    "other names": ("class E(enum.Enum): A = 1; B = 1; C = 2", "E.B is E.A is E['B'] and [*E.__members__] == ['A', 'B', 'C']"),
    "several flags": (
        "class E(enum.Flag): A = 1; B = 2; AB = 3; NONE = 0",
        "E.AB is E.A | E.B and E(0) is E.NONE and [*E.__members__] == ['A', 'B', 'AB', 'NONE']",
    ),
    "flags without a name": ("class E(enum.IntFlag): A = 1; HIGH = 12", "E.HIGH == 12 and E(13) == E.A | E.HIGH == 13"),
    "functions": ("class E(enum.Enum):\n A = functools.partial(lambda x: x + 1)\n def __call__(self, x): return self.value(x)", "E.A(1) == 2"),
    "attributes set later": ("class E(enum.Enum): A = 1\nE.A.of = [E]", "E.A.of == [E]"),
}
if sys.version_info >= (3, 11):  # before, such members say that they cannot be pickled
    ENUMS["members that are lists"] = "class E(list, enum.Enum): A = [1]", "E.A == [1] == E.A.value"


def test_members_of_enumerations():
    """They are not made of their values anew, which `__new__` and `__init__` may have changed."""
    sent = mains.run_all({name: f"{text}\nsend(fastser.dumps([E, list(E)]))" for name, (text, _) in ENUMS.items()})
    use = "E, members = fastser.loads(received)\nassert {0}, vars(E)\nassert all(one is other for one, other in zip(E, members))\n"
    use += "assert fastser.loads(fastser.dumps(E)) is E"
    mains.run_all({name: (use.replace("{0}", check), sent[name].sent) for name, (_, check) in ENUMS.items()})


WIDE = {
    "what two names of a dict lead to": (
        "def wrap(f): return lambda a: f(a)\nclass x: of = {'one': wrap(lambda a: a + 1), 'two': wrap(lambda a: a + 2)}",
        "def wrap(f): return lambda a: f(a)\nclass x: of = {'one': wrap(lambda a: a + 2), 'two': wrap(lambda a: a + 1)}",
    ),
    "what is far away": (
        "N = 1\ndef a(): return N\ndef b(): return a, c\ndef c(): return b, x\nclass x:\n def f(self): return b",
        "N = 2\ndef a(): return N\ndef b(): return a, c\ndef c(): return b, x\nclass x:\n def f(self): return b",
    ),
    "how many there are": (
        "def make(): return lambda: 1\nf = make()\ndef x(): return f, g\ng = f",
        "def make(): return lambda: 1\nf = make()\ndef x(): return f, g\ng = make()",
    ),
    "what is open": ("A = object()\ndef a(): return A\ndef x(): return a", "def a(): return A\ndef x(): return a"),
    "the definition of a base": ("class B: z = 1\nclass x(B): ...", "class B: z = 2\nclass x(B): ..."),
}


@pytest.mark.parametrize("name", WIDE)
def test_what_a_digest_of_values_covers(name):
    def digest(text):
        scope = {"__name__": "__main__"}
        exec(text, scope)
        return wide(scope["x"])

    one, other = WIDE[name]
    assert digest(one) == digest(one) == digest("\n\n" + one) and digest(one)[0] != digest(other)[0]
    assert digest(one)[1] is (name == "what is open")


def test_every_definition_is_looked_at_once():
    """However many of a message lead to it."""
    names = range(60)
    text = "met = []\nclass B:\n kept = met\n" + "".join(f"class C{i}(B):\n def m(self): return C{(i + 1) % 60}, f{i}\ndef f{i}(): return C{i}\n" for i in names)
    scope = {"__name__": "__main__"}
    exec(text, scope)
    classes = [scope[f"C{i}"] for i in names]
    scope["met"].extend(classes)
    graph = Graph()
    assert [wide(cls, graph) for cls in classes] == [wide(cls) for cls in classes]
    assert len({wide(cls, graph) for cls in classes}) == 60 and len(graph.nodes) == 1 + 60 * 3


# Before Python 3.12 what is derived from property had only the docstring of its function.
OF_Q = "'of q'" if sys.version_info >= (3, 12) else "None"

CLASSES = {
    "derived from property": (
        "class Own(property):\n def __get__(self, obj, cls=None): return self.fget(cls)\nclass C:\n @Own\n def p(cls): 'text'; return __class__\n"
        " q = Own(lambda cls: 5, doc='of q')\n p.more = [1]",
        "C.p is C and C.q == 5 and type(vars(C)['p']).__name__ == 'Own' and [vars(C)[n].__doc__ for n in 'pq'] == ['text', " + OF_Q + "] and "
        "vars(C)['p'].more == [1]",
    ),
    "derived from class and static methods": (
        "class M(classmethod): tag = 1\nclass S(staticmethod): tag = 2\nclass C:\n @M\n def m(cls): return cls, __class__\n @S\n def s(): return C",
        "C.m() == (C, C) and C().s() is C and vars(C)['m'].tag + vars(C)['s'].tag == 3",
    ),
    "abstract properties": ("class C(abc.ABC):\n @abc.abstractproperty\n def p(self): ...", "C.__abstractmethods__ == {'p'}"),
    "whose metaclass sets nothing": (
        "class M(type):\n def __setattr__(cls, name, value): raise AttributeError(name)\nclass C(metaclass=M):\n n, kept = 1, [2]\n def f(self): return C",
        "(C.n, C.kept, C().f()) == (1, [2], C)",
    ),
    "that holds what its base holds": (
        "class B: a = kept = [1]\nclass C(B): kept, c = B.kept, 5",
        "(setattr(C.__base__, 'kept', 3), C.kept)[1] == [1] and C.a is C.kept and 'a' not in vars(C)",
    ),
    "a singleton": (
        "class C:\n it = None\n def __new__(cls):\n  if cls.it is None: cls.it = super().__new__(cls)\n  return cls.it\nC().kept = [1]",
        "C() is C.it is C() and C.it.kept == [1]",
    ),
    "singletons by class": (
        "class B:\n of = {}\n def __new__(cls):\n  if cls not in cls.of: cls.of[cls] = super().__new__(cls)\n  return cls.of[cls]\n"
        "class C(B): ...\nC().kept = [1]\nB()",
        "C() is C.of[C] and C().kept == [1] and len(C.of) == 2",
    ),
}


def test_classes_as_their_statements_made_them():
    sent = mains.run_all({name: f"{text}\nsend(fastser.dumps([C]))" for name, (text, _) in CLASSES.items()})
    use = "C = fastser.loads(received)[0]\nassert {0}, vars(C)\nassert fastser.loads(fastser.dumps(C)) is C"
    mains.run_all({name: (use.replace("{0}", check), sent[name].sent) for name, (_, check) in CLASSES.items()}, options=["-W", "ignore"])

"""Classes of every make, at module level, where a reader finds them by name.

Most take two fields, ``a`` and ``b``, so that one test can be written for all of them: `FIELDS`, `ROWS` and `PROTOCOL` make
an instance of each kind, and `put` sets a field whatever the class says to that.
"""

import collections
import copyreg
import dataclasses
import decimal
import enum
import fractions
import gc
import importlib.util
import types
import weakref
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


def put(obj, **fields):
    """Set fields, of frozen instances too; return the instance."""
    for name, value in fields.items():
        object.__setattr__(obj, name, value)
    return obj


# --- the default object protocol: a class and its fields ------------------------------------------------------------------


class Plain:
    def __init__(self, a=None, b=None):
        self.a, self.b = a, b


class Child(Plain):
    def __init__(self, a=None, b=None):
        super().__init__(a, b)
        self.of = "Child"


class Other:
    """The fields of `Plain`, in another class."""

    def __init__(self, a=None, b=None):
        self.a, self.b = a, b


class Bag:
    """Any fields, in the order given."""

    def __init__(self, **fields):
        self.__dict__.update(fields)


class NoFields:
    pass


@dataclasses.dataclass
class Data:
    a: Any = None
    b: Any = None


@dataclasses.dataclass(eq=False)
class DataChild(Data):
    c: list = dataclasses.field(default_factory=lambda: ["made", "by", "__init__"])

    def __post_init__(self):
        self.later = "not a field"


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: Any = None
    b: Any = None


@dataclasses.dataclass(slots=True)
class SlotsData:
    a: Any = None
    b: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots:
    a: Any = None
    b: Any = None


@dataclasses.dataclass(kw_only=True)
class KwOnly:
    a: Any
    b: Any


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, a=None, b=None):
        self.a, self.b = a, b


class OneSlot:
    __slots__ = "a"


class SlotsChild(Slots):
    __slots__ = ("c",)

    def __init__(self, a=None, b=None):
        super().__init__(a, b)
        self.c = "c"


class SlotsAndDict:
    __slots__ = ("a", "__dict__", "__weakref__")

    def __init__(self, a=None, b=None):
        self.a, self.b = a, b


class SlotsThenDict(Slots):
    """Slots from the parent, a dict of its own."""

    def __init__(self, a=None, b=None):
        super().__init__(a, b)
        self.c = "c"


class DictThenSlots(Plain):
    __slots__ = ("c",)

    def __init__(self, a=None, b=None):
        super().__init__(a, b)
        self.c = "c"


class PrivateSlots:
    __slots__ = ("a", "b", "__secret")

    def __init__(self, a=None, b=None):
        self.a, self.b, self.__secret = a, b, "the parent's"


class PrivateSlotsChild(PrivateSlots):
    __slots__ = ("__secret",)

    def __init__(self, a=None, b=None):
        super().__init__(a, b)
        self.__secret = "the child's"


class _Underscored:
    """The underscores before the class's name are no part of a mangled one."""

    __slots__ = ("a", "b", "__secret")

    def __init__(self, a=None, b=None):
        self.a, self.b, self.__secret = a, b, "secret"


class Private:
    def __init__(self, a=None, b=None):
        self.a, self.b, self.__secret = a, b, "secret"


class Generics(Generic[T]):
    def __init__(self, a: T = None, b: T = None):
        self.a, self.b = a, b


class Shape(Protocol):
    a: Any

    def area(self) -> float: ...


class Square(Shape):
    def __init__(self, a=None, b=None):
        self.a, self.b = a, b

    def area(self):
        return self.a**2


class Keyed:
    """Hashed and compared by its fields."""

    def __init__(self, a=None, b=None):
        self.a, self.b = a, b

    def __eq__(self, other):
        return type(other) is Keyed and (self.a, self.b) == (other.a, other.b)

    def __hash__(self):
        return hash((self.a, self.b))


class Descriptor:
    """A property, and a slot of a parent's, of the names that are keys of the dict as well."""

    calls: list = []

    def __init__(self, a=None, b=None):
        self.__dict__.update(a=a, b=b)

    @property
    def a(self):
        type(self).calls.append("read")
        return self.__dict__["a"]

    @a.setter
    def a(self, value):
        type(self).calls.append("written")
        self.__dict__["a"] = value


class OwnSetattr:
    calls: list = []

    def __init__(self, a=None, b=None):
        self.__dict__.update(a=a, b=b)

    def __setattr__(self, name, value):
        type(self).calls.append(name)
        object.__setattr__(self, name, value)


class AnyAttribute:
    """Claims to have every attribute, those of pickle's protocol excepted."""

    def __init__(self, a=None, b=None):
        self.a, self.b = a, b

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return f"made up: {name}"


class Meta(type):
    def __call__(cls, *args):
        obj = super().__call__(*args)
        obj.called = True
        return obj


class WithMeta(metaclass=Meta):
    def __init__(self, a=None, b=None):
        self.a, self.b = a, b


class Outer:
    class Inner:
        def __init__(self, a=None, b=None):
            self.a, self.b = a, b

        def method(self):
            return self.a

        @classmethod
        def make(cls):
            return cls(1, 2)

        @staticmethod
        def helper():
            return "helped"


# --- rows -----------------------------------------------------------------------------------------------------------------

Pair = collections.namedtuple("Pair", ["a", "b"])


class Typed(NamedTuple):
    a: Any
    b: Any = None


class PairWithMethods(Pair):
    """No __slots__, so it has a dict."""

    def swapped(self):
        return self.b, self.a


class SlimPair(Pair):
    __slots__ = ()

    def swapped(self):
        return self.b, self.a


class CheckedPair(Pair):
    __slots__ = ()
    made = 0

    def __new__(cls, a, b=None):
        cls.made += 1
        return super().__new__(cls, a, b)


class Nothing(NamedTuple):
    pass


# --- classes that say how they are pickled --------------------------------------------------------------------------------


class Reduced:
    def __init__(self, a=None):
        self.a = a

    def __reduce__(self):
        return Reduced, (self.a,), {"b": self.b}


class ReducedEx:
    def __reduce_ex__(self, protocol):
        return copyreg.__newobj__, (ReducedEx,), {"a": self.a, "b": self.b, "protocol": protocol}


class GetState:
    def __getstate__(self):
        return {**self.__dict__, "saved": True}


class SetState:
    def __setstate__(self, state):
        self.__dict__.update(state, restored=True)


class ListState:
    __slots__ = ("a", "b")

    def __getstate__(self):
        return [self.a, self.b]

    def __setstate__(self, state):
        self.a, self.b = state


class FalseState:
    """What is false is no state in the eyes of copyreg, but not of an object's own __reduce__."""

    def __reduce__(self):
        return FalseState, (), 0

    def __setstate__(self, state):
        self.state = state


class NewArgs:
    def __new__(cls, a, *rest):
        self = super().__new__(cls)
        self.a = ("new", a)
        return self

    def __getnewargs__(self):
        return (self.a[1], "rest")


class NewArgsEx:
    def __new__(cls, *, a):
        self = super().__new__(cls)
        self.a = ("new", a)
        return self

    def __getnewargs_ex__(self):
        return (), {"a": self.a[1]}


class OwnNew:
    made = 0

    def __new__(cls, *args):
        cls.made += 1
        return super().__new__(cls)

    def __init__(self, a=None, b=None):
        self.a, self.b = a, b


class GetAttribute:
    def __getattribute__(self, name):
        value = object.__getattribute__(self, name)
        return {**value, "looked at": True} if name == "__dict__" else value


class Registered:
    def __init__(self, a=None):
        self.a = a


def reduce_registered(obj):
    return Registered, (("copyreg", obj.a),), {"b": obj.b}


copyreg.pickle(Registered, reduce_registered)


class WithSetter:
    """Its reducer brings along the function that restores the state."""

    def __reduce__(self):
        return WithSetter, (), [self.a, self.b], None, None, set_state


def set_state(obj, state):
    obj.a, obj.b = state
    obj.set_by = "set_state"


class Named:
    """Reduces to a name in its module."""

    def __reduce__(self):
        return "NAMED"


NAMED = Named()


class Temporary:
    """What it reduces to is made on the spot, and gone as soon as it was written."""

    def __init__(self, a=None, b=None):
        self.a, self.b = a, b

    def __reduce__(self):
        return Temporary, ([self.a], (self.b, [self.a]))


class Growing:
    """Rebuilt through both iterators of the reduce protocol."""

    def __init__(self):
        self.items, self.pairs = [], {}

    def append(self, item):
        self.items.append(item)

    def __setitem__(self, key, value):
        self.pairs[key] = value

    def __reduce__(self):
        return Growing, (), None, iter(self.items), iter(self.pairs.items())


class ChildOf:
    """Knows its parent by a weak reference, which pickling follows."""

    def __init__(self, parent):
        self.parent = weakref.ref(parent)

    def __getstate__(self):
        return {**self.__dict__, "parent": self.parent()}

    def __setstate__(self, state):
        self.__dict__.update(state, parent=weakref.ref(state["parent"]))


class List(list):
    def __init__(self, a=None, b=None):
        super().__init__([a, "item"])
        self.a, self.b = a, b


class Dict(dict):
    def __init__(self, a=None, b=None):
        super().__init__({"key": a, 5: 6})
        self.a, self.b = a, b


class Set(set):
    def __init__(self, a=None, b=None):
        super().__init__(["member", 2.5])
        self.a, self.b = a, b


class Text(str):
    def __new__(cls, a="", b=None):
        return put(super().__new__(cls, f"text {a}"), a=a, b=b)


class Int(int):
    def __new__(cls, a=0, b=None):
        return put(super().__new__(cls, 2**70), a=a, b=b)


class Float(float):
    def __new__(cls, a=0, b=None):
        return put(super().__new__(cls, -0.0), a=a, b=b)


class Complex(complex):
    pass


class Bytes(bytes):
    def __new__(cls, a=b"", b=None):
        return put(super().__new__(cls, b"bytes"), a=a, b=b)


class ByteArray(bytearray):
    def __init__(self, a=None, b=None):
        super().__init__(b"bytearray")
        self.a, self.b = a, b


class Tuple(tuple):
    def __new__(cls, a=None, b=None):
        return put(super().__new__(cls, ["x", 1]), a=a, b=b)


class FrozenSet(frozenset):
    def __new__(cls, a=None, b=None):
        return put(super().__new__(cls, ["x", 1]), a=a, b=b)


# Nothing but a name added to the built-in's.
class BareList(list):
    pass


class BareDict(dict):
    pass


class BareTuple(tuple):
    pass


class BareText(str):
    pass


class BareInt(int):
    pass


class SlotsList(list):
    __slots__ = ("a",)


class Ordered(collections.OrderedDict):
    pass


class Deque(collections.deque):
    pass


class Default(collections.defaultdict):
    pass


class Number(decimal.Decimal):
    pass


class Ratio(fractions.Fraction):
    pass


class Colour(enum.Enum):
    RED = 1
    GREEN = (2, "two")
    ALIAS = 1

    def shout(self):
        return self.name + "!"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 10


class Mode(enum.Flag):
    READ = 1
    WRITE = 2
    BOTH = 3


class IntMode(enum.IntFlag):
    READ = 1
    WRITE = 2


class Word(str, enum.Enum):
    YES = "yes"


class Problem(Exception):
    def __init__(self, message, code=None):
        super().__init__(message)
        self.code = code


class ForgetfulProblem(Exception):
    """Its arguments are not those of its class: pickle makes one, and cannot load it."""

    def __init__(self, one, two):
        super().__init__("one argument")


def function(x, y=2, *args, **kwargs):
    return x, y, args, kwargs


class Calls:
    """Has methods to refer to."""

    def __init__(self, a=None):
        self.a = a

    def method(self):
        return self.a

    @classmethod
    def class_method(cls):
        return cls

    @staticmethod
    def static_method():
        return "static"


# --- classes of other packages, where they are installed ------------------------------------------------------------------

if importlib.util.find_spec("attr"):
    import attr

    @attr.define
    class AttrsSlots:
        a: Any = None
        b: Any = None

    @attr.s
    class AttrsPlain:
        a = attr.ib(default=None)
        b = attr.ib(default=None)

    @attr.frozen
    class AttrsFrozen:
        a: Any = None
        b: Any = None


if importlib.util.find_spec("pydantic"):
    import pydantic

    class Model(pydantic.BaseModel):
        a: Any = None
        b: Any = None
        _private: list = pydantic.PrivateAttr(default_factory=list)

    class FrozenModel(pydantic.BaseModel, frozen=True, extra="allow"):
        a: Any = None
        b: Any = None


# --- one instance of each -------------------------------------------------------------------------------------------------


def by_class(*classes):
    return {cls.__qualname__: lambda a, b, cls=cls: cls(a=a, b=b) for cls in classes}


def by_put(*classes):
    return {cls.__qualname__: lambda a, b, cls=cls: put(cls(), a=a, b=b) for cls in classes}


FIELDS = {
    **by_class(Plain, Child, Other, Bag, Data, DataChild, Frozen, SlotsData, FrozenSlots, KwOnly, Slots, SlotsChild, SlotsAndDict),
    **by_class(SlotsThenDict, DictThenSlots, PrivateSlots, PrivateSlotsChild, _Underscored, Private, Generics, Square, Keyed, AnyAttribute),
    **by_class(OwnSetattr, Outer.Inner),
    "WithMeta": lambda a, b: WithMeta(a, b),
}
# The classes whose instances a cycle can lead through before they are hashed.
BY_IDENTITY = [kind for kind in FIELDS if kind not in ("Data", "DataChild", "Frozen", "SlotsData", "FrozenSlots", "KwOnly", "Keyed")]
ROWS = {cls.__name__: lambda a, b, cls=cls: cls(a, b) for cls in (Pair, Typed, PairWithMethods, SlimPair, CheckedPair)}
PROTOCOL = {
    **by_put(Reduced, ReducedEx, GetState, SetState, ListState, OwnNew, Registered, WithSetter, GetAttribute),
    "NewArgs": lambda a, b: put(NewArgs(a), b=b),
    "NewArgsEx": lambda a, b: put(NewArgsEx(a=a), b=b),
    **by_class(List, Dict, Set, Text, Int, Float, Bytes, ByteArray, Tuple, FrozenSet),
    "Problem": lambda a, b: put(Problem(a, "code"), b=b),
    "SimpleNamespace": lambda a, b: types.SimpleNamespace(a=a, b=b),
    "OrderedDict": lambda a, b: put(Ordered(a=a, b=b), a=a, b=b),
    "deque": lambda a, b: put(Deque([a, b], 5), a=a, b=b),
    "defaultdict": lambda a, b: put(Default(List, {"a": a, "b": b}), a=a, b=b),
}


class Neighbour:
    """Its __setstate__ looks at the one beside it."""

    def __init__(self, value, beside=None):
        self.value, self.beside = value, beside

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.seen = None if self.beside is None else self.beside.value


class Dropper:
    """Packing it lets go of garbage that changes other objects when it is collected, and lets the collector run at any time."""

    objects = ()

    def __reduce__(self):
        _Finalized(type(self).objects)
        gc.enable()
        gc.set_threshold(200, 2, 2)
        return Dropper, ()


class _Finalized:
    def __init__(self, objects):
        self.itself, self.objects = self, objects

    def __del__(self):
        for obj in self.objects:
            obj.a = None
        self.junk = [bytearray(40) for _ in range(2000)]

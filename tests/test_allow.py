"""STANDARD, requirements, and classes in `allow`: what is made equals what pickle makes; whatever a frame holds, nothing of it runs."""

import array
import collections
import dataclasses
import decimal
import enum
import fractions
import importlib
import importlib.util
import inspect
import ipaddress
import os
import pathlib
import pickle
import pickletools
import re
import signal
import statistics
import struct
import subprocess
import sys
import textwrap
import time
import tracemalloc
import types
import urllib.parse
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import pytest
import sample_objects
from frames import CALL, DICT_ITEMS, FOREIGN, GLOBAL, LIST_ITEMS, STATE, build
from same import same, same_dtype

import fastser
from fastser import DecodeError, UnsafeDataError, errors
from fastser.hooks import found_in
from fastser.standard import HOOKS, WAYS

HERE = __name__
STANDARD = fastser.STANDARD


def copied(obj):
    """What pickle makes of it."""
    return pickle.loads(pickle.dumps(obj, protocol=5))


# --- one of each ---------------------------------------------------------------------------------------------------------

noted = ValueError("a", [1])
noted.code = 3
noted.__notes__ = ["a note"]

# What tells a missing part of a URL from an empty one.
EMPTY_PARTS = {}
if sys.version_info >= (3, 15):
    EMPTY_PARTS = {"SplitResult with empty parts": urllib.parse.urlsplit("http://a/?", missing_as_none=True)}

VALUES = {
    "OrderedDict": collections.OrderedDict(b=1, a=[2]),
    "Counter": collections.Counter("abracadabra"),
    "deque": collections.deque([1, [2]]),
    "bounded deque": collections.deque([1, 2, 3], 5),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "defaultdict without": collections.defaultdict(None, a=1),
    "ChainMap": collections.ChainMap({"a": 1}, {"b": 2}),
    "UserDict": collections.UserDict(a=1),
    "UserList": collections.UserList([1]),
    "UserString": collections.UserString("text"),
    "SimpleNamespace": types.SimpleNamespace(a=1, b=[2]),
    "Fraction": fractions.Fraction(-22, 7),
    "large Fraction": fractions.Fraction(3**5000, 2**8000),
    "DecimalTuple": decimal.Decimal("-1.50").as_tuple(),
    "NormalDist": statistics.NormalDist(1, 2.5),
    **{f"array {code}": array.array(code, [1, 2]) for code in "bBhHiIlLqQfd"},
    "array u": array.array("u", "ab\u20ac"),
    "struct_time": time.gmtime(0),
    "PurePosixPath": pathlib.PurePosixPath("/a/b"),
    "PureWindowsPath": pathlib.PureWindowsPath("c:/a/b"),
    "Path": pathlib.Path("a/b"),
    "IPv4Address": ipaddress.ip_address("1.2.3.4"),
    "IPv6Address": ipaddress.ip_address("2001:db8::1"),
    "IPv4Network": ipaddress.ip_network("10.0.0.0/8"),
    "IPv6Network": ipaddress.ip_network("2001:db8::/32"),
    "IPv4Interface": ipaddress.ip_interface("10.0.0.1/8"),
    "IPv6Interface": ipaddress.ip_interface("2001:db8::1/32"),
    "SplitResult": urllib.parse.urlsplit("http://a.b/c?d#e"),
    "SplitResultBytes": urllib.parse.urlsplit(b"http://a.b/c?d#e"),
    "ParseResult": urllib.parse.urlparse("http://a.b/c;p?d#e"),
    "ParseResultBytes": urllib.parse.urlparse(b"http://a.b/c;p?d#e"),
    "DefragResult": urllib.parse.urldefrag("http://a.b/c#e"),
    "DefragResultBytes": urllib.parse.urldefrag(b"http://a.b/c#e"),
    **EMPTY_PARTS,
    "noted error": noted,
    "OSError": OSError(2, "no such file", "name"),
    "UnicodeDecodeError": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"),
    "SyntaxError": SyntaxError("why", ("file", 1, 2, "text")),
    "ImportError": ImportError("why", name="module", path="path"),
    "KeyError": KeyError(("a", 1)),
    "StopIteration": StopIteration(3),
    "classes": [int, list, np.float32, decimal.Decimal, np.ndarray],
}

DTYPES = [
    "?", "i1", "<i4", ">i4", "f2", "f8", ">f8", "c16", "S5", "U7", ">U7", "V4", "O", "M8", "M8[ns]", "M8[25s]", ">M8[D]", "m8[us]", "g",
    [("a", "i4"), ("b", "f8", (2,))], [(("title", "a"), "i4")], [("a", [("b", ">i2")])], ("i4", (2, 3)),
    {"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [8, 2], "itemsize": 20}, {"names": [], "formats": [], "itemsize": 3},
]  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values_are_made_as_pickle_makes_them(name):
    obj = VALUES[name]
    values = [obj, {"a": [obj]}, [obj, obj]]
    with suppress(TypeError):  # Python 3.15.2 cannot pickle a URL that it has loaded
        pickle.dumps(copied(obj))
        values.append([copied(obj) for _ in range(20)])
    for value in values:
        for options in ({}, {"track_refs": False}):
            frame = fastser.dumps(value, **options)
            with pytest.raises(UnsafeDataError, match="allow=fastser.STANDARD lets be made"):
                fastser.loads(frame, safe=True)
            found = fastser.loads(frame, safe=True, allow=STANDARD)
            same(copied(value), found, identity=None)
    if name != "classes":
        frame = fastser.dumps([obj])
        cls = type(obj)
        factories = [name for name, uses in fastser.requirements(frame).items() if uses == ("value",)]
        same(copied(obj), fastser.loads(frame, safe=True, allow=[cls, *factories])[0], identity=None)
        same(copied(obj), fastser.loads(frame, safe=True, allow=[f"{found_in(cls.__module__)}.{cls.__qualname__}", *factories])[0], identity=None)


@pytest.mark.parametrize("described", DTYPES, ids=repr)
def test_dtypes(described):
    dtype = np.dtype(described)
    aligned = [dtype, np.dtype(described, align=True)] if dtype.names else [dtype]
    for one in aligned:
        for value in ([one], [one, one], {"a": one}):
            found = fastser.loads(fastser.dumps(value), safe=True, allow=STANDARD)
            for dtype in found.values() if type(found) is dict else found:
                same_dtype(one, dtype)
    record = np.dtype((np.record, [("a", "i4")]))
    same_dtype(record, fastser.loads(fastser.dumps(record), safe=True, allow=[np.dtype, np.record]))


@pytest.mark.parametrize("options", [{}, {"coerce": False}, {"na_object": None}, {"na_object": float("nan")}], ids=repr)
def test_string_dtypes(options):
    dtype = np.dtypes.StringDType(**options)
    found = fastser.loads(fastser.dumps([dtype]), safe=True, allow=STANDARD)[0]
    assert type(found) is type(dtype) and repr(found) == repr(dtype)


def test_views_of_memory():
    for view in (memoryview(b"abcdefgh"), memoryview(b"abcdefgh").cast("i"), memoryview(b"abcdefgh").cast("B", (2, 4)), memoryview(b"")):
        found = fastser.loads(fastser.dumps([view]), safe=True, allow=STANDARD)[0]
        assert (found.format, found.shape, found.tobytes()) == (view.format, view.shape, view.tobytes())


@pytest.mark.parametrize("cls", [one for one in vars(__builtins__ if isinstance(__builtins__, types.ModuleType) else types.SimpleNamespace(**__builtins__)).values() if isinstance(one, type) and issubclass(one, Exception)], ids=lambda cls: cls.__name__)  # fmt: skip
def test_exceptions_of_the_interpreter(cls):
    if f"builtins.{cls.__name__}" not in STANDARD:
        assert cls.__name__ in ("ExceptionGroup",)
        return
    arguments = {UnicodeDecodeError: ("a", b"b", 0, 1, "c"), UnicodeEncodeError: ("a", "b", 0, 1, "c"), UnicodeTranslateError: ("b", 0, 1, "c")}
    error = cls(*arguments.get(cls, ("why",)))
    found = fastser.loads(fastser.dumps([error]), safe=True, allow=STANDARD)[0]
    assert type(found) is cls and found.args == error.args and str(found) == str(error)


def test_everything_in_the_list_is_there_and_has_a_reason():
    assert STANDARD == WAYS.keys() | HOOKS.keys()
    for name, way in WAYS.items():
        assert way.full_name == name and way.reason
        assert way.value or way.fields or way.call
        if name.partition(".")[0] not in ("pandas",):
            way.ready()


def test_the_list_is_in_the_docs():
    page = (pathlib.Path(__file__).parents[1] / "docs" / "security.md").read_text(encoding="utf-8")
    for name, reason in [*((way.full_name, way.reason) for way in WAYS.values()), *((name, reason) for name, (reason, _) in HOOKS.items())]:
        assert reason in page, (name, reason)
        if not name.startswith("builtins.") and "itself: its objects are native" not in reason:
            assert f"`{name}`" in page or f"`{name.rpartition('.')[2]}`" in page, name


# --- pandas, pyarrow, Polars -----------------------------------------------------------------------------------------------


def pandas_values():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "i": [1, 2], "f": [1.5, None], "s": ["x", None], "t": pd.to_datetime(["2020-01-01", None]), "d": pd.to_timedelta([1, 2]),
            "c": pd.Categorical(["q", "r"]), "b": [True, False], "o": [[1], {}], "p": pd.period_range("2020", periods=2, freq="D"),
        }
    )  # fmt: skip
    attributed = frame.copy()
    attributed.attrs["from"] = "here"
    return {
        "Timestamp": pd.Timestamp("2020-02-03 04:05:06.000007"),
        "Timestamp in UTC": pd.Timestamp("2020-02-03", tz="UTC"),
        "Timedelta": pd.Timedelta(1, "s"),
        "NaT": pd.NaT,
        "NA": pd.NA,
        "Interval": pd.Interval(1, 2.5, closed="left"),
        "Interval of times": pd.Interval(pd.Timestamp("2020"), pd.Timestamp("2021")),
        "Period": pd.Period("2020-01", freq="M"),
        "offset": pd.offsets.BusinessDay(2),
        "Index": pd.Index([1, 2], name="n"),
        "Index of text": pd.Index(["a", "b"]),
        "Index of objects": pd.Index([1, "a", (1, 2)], dtype=object),
        "RangeIndex": pd.RangeIndex(2, 10, 3),
        "DatetimeIndex": pd.date_range("2020", periods=3, freq="D"),
        "DatetimeIndex in UTC": pd.date_range("2020", periods=3, tz="UTC"),
        "TimedeltaIndex": pd.to_timedelta([1, 2]),
        "PeriodIndex": pd.period_range("2020", periods=3, freq="D"),
        "IntervalIndex": pd.interval_range(0, 3),
        "CategoricalIndex": pd.CategoricalIndex(["a", "b", "a"]),
        "MultiIndex": pd.MultiIndex.from_tuples([(1, "a"), (2, "b")], names=["x", None]),
        "Series": pd.Series([1.5, 2], name="x"),
        "Series of objects": pd.Series([1, "a", [2]], dtype=object),
        "DataFrame": frame,
        "DataFrame with attributes": attributed,
        "DataFrame of one type": pd.DataFrame(np.arange(12.0).reshape(3, 4), columns=list("abcd")),
        "DataFrame of levels": pd.DataFrame(np.ones((2, 4)), columns=pd.MultiIndex.from_product([[1, 2], ["a", "b"]])),
        "empty DataFrame": pd.DataFrame(),
        "CategoricalDtype": pd.CategoricalDtype(["a", "b"], ordered=True),
        "DatetimeTZDtype": pd.DatetimeTZDtype(tz="UTC"),
        "PeriodDtype": pd.PeriodDtype("D"),
        "Categorical": pd.Categorical([1, 2, 1]),
    }


def same_in_pandas(expected, found):
    import pandas as pd
    import pandas.testing as testing

    assert type(found) is type(expected)
    if isinstance(expected, pd.DataFrame):
        testing.assert_frame_equal(found, expected)
        assert found.attrs == expected.attrs
    elif isinstance(expected, pd.Series):
        testing.assert_series_equal(found, expected)
    elif isinstance(expected, pd.Index):
        testing.assert_index_equal(found, expected, exact=True)
        assert getattr(found, "freq", None) == getattr(expected, "freq", None)
    elif expected is pd.NaT or expected is pd.NA:
        assert found is expected
    elif isinstance(expected, pd.Categorical):
        assert found.equals(expected) and list(found.codes) == list(expected.codes)
    else:
        assert found == expected and repr(found) == repr(expected)


def test_values_of_pandas():
    for name, obj in pandas_values().items():
        frame = fastser.dumps({"x": obj})
        with pytest.raises(UnsafeDataError):
            fastser.loads(frame, safe=True)
        same_in_pandas(copied(obj), fastser.loads(frame, safe=True, allow=STANDARD)["x"])
        if name not in ("NaT", "NA"):
            same_in_pandas(copied(obj), fastser.loads(frame, safe=True, allow=[type(obj)])["x"])
        writable = fastser.loads(frame, safe=True, allow=STANDARD, writable=True)["x"]
        same_in_pandas(copied(obj), writable)


def test_tables_in_arrow():
    pa = pytest.importorskip("pyarrow")
    pl = pytest.importorskip("polars")
    value = [pa.table({"a": [1, None], "b": ["x", "y"]}), pa.array([1, 2]), pl.DataFrame({"a": [1, 2]}), pl.Series(["a", None])]
    table, numbers, frame, series = fastser.loads(fastser.dumps(value), safe=True, allow=STANDARD)
    assert table.equals(value[0]) and numbers.equals(value[1]) and frame.equals(value[2]) and series.equals(value[3], null_equal=True)


# --- classes of the reader ---------------------------------------------------------------------------------------------------


class Color(enum.Enum):
    RED = 1
    PAIR = (1, "a")
    LIST = [1]


class Level(enum.IntEnum):
    LOW = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Mode(enum.IntFlag):
    A = 1
    B = 2


class Name(str, enum.Enum):
    A = "a"


class Guess(enum.Enum):
    A = 1

    @classmethod
    def _missing_(cls, value):
        raise AssertionError("called")


@dataclasses.dataclass
class Data:
    a: int = 1

    def __post_init__(self):
        assert self.a != 13


class Row(NamedTuple):
    a: int


class Text(str):
    pass


class Number(int):
    pass


class Pair(tuple):
    pass


class Items(list):
    pass


class Mapping(dict):
    pass


class Ordered(collections.OrderedDict):
    pass


class Chosen:
    """Tells which of its attributes are its state."""

    def __init__(self, a=1):
        self.a = a

    def __getstate__(self):
        return {"a": self.a}

    def __eq__(self, other):
        return type(other) is Chosen and self.a == other.a

    __hash__ = None


class ChosenSlots:
    __slots__ = ("a", "b")

    def __init__(self, a=1):
        self.a, self.b = a, 2

    def __getstate__(self):
        return None, {"a": self.a}

    def __eq__(self, other):
        return type(other) is ChosenSlots and self.a == other.a

    __hash__ = None


class Problem(ValueError):
    pass


def with_attributes(obj, **attributes):
    vars(obj).update(attributes)
    return obj


OF_READERS = {
    "enum": Color.RED, "enum by tuple": Color.PAIR, "enum by name": Color.LIST, "int enum": Level.LOW, "str enum": Name.A,
    "flag": Access.READ, "joined": Access.READ | Access.RUN, "none of the flags": Access(0), "int flag": Mode.A | Mode.B,
    "undeclared flag": Mode(8), "enum of a module": signal.SIGINT, "own _missing_": Guess.A,
    "dataclass": Data(), "row": Row(1), "text": with_attributes(Text("a"), b=1), "number": Number(3), "pair": Pair((1, [2])),
    "items": with_attributes(Items([1]), b=1), "mapping": with_attributes(Mapping(a=1), b=1), "ordered": Ordered(a=1),
    "error": with_attributes(Problem("a", 1), b=1),
}  # fmt: skip


@pytest.mark.parametrize("kind", OF_READERS)
def test_classes_of_readers(kind):
    obj = OF_READERS[kind]
    cls = type(obj)
    for value in (obj, [obj, obj], {"a": obj}, [copied(obj) for _ in range(20)]):
        frame = fastser.dumps(value)
        for allow in ([cls], [f"{cls.__module__}.{cls.__qualname__}"], [*STANDARD, cls], (one for one in [cls])):
            same(copied(value), fastser.loads(frame, safe=True, allow=allow), identity=None)
        with pytest.raises(UnsafeDataError):
            fastser.loads(frame, safe=True, allow=[*STANDARD, Data if cls is not Data else Row])


def test_states_that_classes_choose():
    for obj in (Chosen(3), ChosenSlots(3)):
        assert fastser.loads(fastser.dumps([obj, obj]), safe=True, allow=[type(obj)]) == [obj, obj]
    forged = fastser.dumps(Forged(None, state=(None, {"__class__": 1}), new=ChosenSlots))
    with pytest.raises(DecodeError, match="expected the name of a slot, found '__class__'"):
        fastser.loads(forged, safe=True, allow=[ChosenSlots])


def test_members_that_are_none():
    for cls, value in ((Color, 2), (Guess, 2), (Access, 8), (Access, 1 << 100), (Mode, 1 << 100), (Level, 1.5), (Name, "b"), (Color, (1, "b"))):
        frame = fastser.dumps(Forged(cls, value))
        with pytest.raises(DecodeError, match=cls.__name__):
            fastser.loads(frame, safe=True, allow=[cls])
    for value in ([1], {}, Data(), (Data(),)):
        with pytest.raises(DecodeError, match="expected a plain value"):
            fastser.loads(fastser.dumps(Forged(Color, value)), safe=True, allow=[Color, Data])
    for cls, name in ((Color, "mro"), (Color, "_member_map_"), (Data, "a"), (Data(), "a"), (Color, 3)):
        with pytest.raises(DecodeError):
            fastser.loads(fastser.dumps(Forged(getattr, cls, name)), safe=True, allow=[Color, Data])
    with pytest.raises(UnsafeDataError, match="builtins.getattr"):
        fastser.loads(fastser.dumps(getattr), safe=True, allow=[Color])


def test_members_that_are_joined_are_not_remembered_without_end():
    wide = enum.IntFlag("Wide", {f"f{i}": 1 << i for i in range(20)}, module=HERE)
    globals()["Wide"] = wide
    values = [Forged(wide, 3 + 4 * i) for i in range(70_000)]
    with pytest.raises(DecodeError, match="Wide"):
        fastser.loads(fastser.dumps(values), safe=True, allow=[wide])
    assert len(wide._value2member_map_) <= 1 << 16


def test_models():
    pydantic = pytest.importorskip("pydantic")
    model = sample_objects.Model(a=1, b=[2])
    model._private.append(3)
    frozen = sample_objects.FrozenModel(a=1, c=4)
    found, other = fastser.loads(fastser.dumps([model, frozen]), safe=True, allow=[sample_objects.Model, sample_objects.FrozenModel])
    assert found == model and found._private == [3] and found.model_fields_set == model.model_fields_set
    assert other == frozen and other.c == 4 and hash(other) == hash(frozen)
    # Validators do not run: what is in a model is what the frame says.
    assert isinstance(found, pydantic.BaseModel)
    for state in (3, {}, {"__dict__": {}}, {"__dict__": [], "__pydantic_fields_set__": set()}, {"__dict__": {1: 2}, "__pydantic_fields_set__": set()}):
        with pytest.raises(DecodeError, match="Model"):
            fastser.loads(fastser.dumps(Forged(None, state=state, new=sample_objects.Model)), safe=True, allow=[sample_objects.Model])


def test_attrs():
    attr = pytest.importorskip("attr")
    for cls in (sample_objects.AttrsPlain, sample_objects.AttrsFrozen):
        obj = cls(a=1, b=[2])
        assert attr.has(cls)
        assert fastser.loads(fastser.dumps([obj, obj]), safe=True, allow=[cls]) == [obj, obj]


def test_structs():
    msgspec = pytest.importorskip("msgspec")
    made = {}
    for name, options in (("Struct", {}), ("KeyStruct", {"kw_only": True}), ("FrozenStruct", {"frozen": True})):
        made[name] = msgspec.defstruct(name, [("a", int), ("b", list, msgspec.field(default_factory=list))], module=HERE, **options)
        globals()[name] = made[name]
        obj = made[name](a=1, b=[2])
        assert fastser.loads(fastser.dumps([obj, obj]), safe=True, allow=[made[name]]) == [obj, obj]
        with pytest.raises(DecodeError, match="expected 2 fields"):
            fastser.loads(fastser.dumps(Forged(made[name], 1)), safe=True, allow=[made[name]])
    globals()["Checked"] = checked = msgspec.defstruct("Checked", [("a", int)], module=HERE, namespace={"__post_init__": lambda self: None})
    with pytest.raises(ValueError, match="Checked is in allow, but is made by calling it, and its __post_init__ would run"):
        fastser.loads(b"", safe=True, allow=[checked])


# --- frames that want more ---------------------------------------------------------------------------------------------------


class Trap:
    """Nothing of it may run."""

    calls = []


def _sprung(name):
    def method(self, *arguments, **named):
        Trap.calls.append(name)
        raise AssertionError(name)

    return method


for _name in (
    "__iter__", "__next__", "__len__", "__getitem__", "__setitem__", "__contains__", "__index__", "__int__", "__float__", "__complex__",
    "__bool__", "__str__", "__repr__", "__bytes__", "__call__", "__eq__", "__lt__", "__hash__", "__getattr__", "__fspath__", "__add__",
    "__radd__", "__sub__", "__mul__", "__truediv__", "__neg__", "__round__", "__buffer__", "__array__", "__array_interface__", "__enter__",
    "__set_name__", "__get__", "__set__", "__format__", "__reversed__", "__length_hint__", "keys", "items", "as_integer_ratio", "extend",
):  # fmt: skip
    setattr(Trap, _name, _sprung(_name))


class Forged:
    """Packed as a call of anything, with any arguments, and any parts."""

    def __init__(self, call, *arguments, state=None, items=None, pairs=None, new=None):
        self.reduced = (call, arguments, state, items, pairs)
        self.new = new

    def __reduce__(self):
        call, arguments, state, items, pairs = self.reduced
        return call, arguments, state, items and iter(items), pairs and iter(pairs)

    @property
    def __class__(self):  # copyreg.__newobj__ asks for it
        return self.new or Forged

    def __reduce_ex__(self, protocol):
        if self.new is None:
            return self.__reduce__()
        import copyreg

        call, arguments, state, items, pairs = self.reduced
        return copyreg.__newobj__, (self.new, *arguments), state, items and iter(items), pairs and iter(pairs)


def wild():
    """What no honest frame holds there; each a new one."""
    deep = []
    for _ in range(50):
        deep = [deep, deep]
    return [
        Trap(), [Trap()], (Trap(),), {"a": Trap()}, int, Trap, None, True, -1, 0, 2**31, 2**63, -(2**63) - 1, 1 << 50_000, 1.5, float("nan"),
        float("inf"), "", "a", "9" * 5_000, "1/" + "9" * 5_000, "../" * 1_000, "\0", "\ud800", b"", b"a" * 100, bytearray(8), [], [1], (),
        (1, 2), (2**62, 2**62), {}, {"a": 1}, {1: 2}, {"__class__": Trap}, {"__dict__": {}}, {"data": 3}, {"args": 3}, {"__notes__": [Trap()]},
        set(), slice(0, 10**15, 1), range(10**15), np.array([1, 2]), np.array([2**40]), np.empty((10**9, 0)), np.zeros(3, "M8[ns]"), decimal.Decimal("1e999999"),
        complex(1, 2), deep, "O8", "S9999999999", "V9999999999", "datetime64[ns]", ("O", 3), np.dtype("O"), np.dtype("i4"), (3, "|", None, ("a",), {"a": (np.dtype("O"), 100)}, 4, 1, 63),
        (3, "|", (np.dtype("i8"), (2**40,)), None, None, -1, -1, 0), (3, "<", None, None, None, 1 << 40, 8, 0),
    ]  # fmt: skip


# Of what is looked at alike, some.
ALIKE = re.compile(
    r"builtins\.(?!OSError|UnicodeDecodeError|SyntaxError|KeyError)"
    r"|pandas\._libs\.tslibs\.offsets\.(?!Day|Week)|array\.array$|pandas\.core\.(frame|series|dtypes)|pathlib\.(?!PurePosix|PureWindows)"
)
CALLED = sorted(name for name, way in WAYS.items() if way.call is not None and not ALIKE.match(name))


@pytest.mark.parametrize("name", CALLED)
def test_hostile_arguments(name):
    """A value or an error; nothing of the frame's classes runs, and no more memory is taken than some times the frame."""
    way = WAYS[name]
    try:
        found = way.ready().found
    except (ImportError, AttributeError):
        pytest.skip("another version has it")
    allow = [*STANDARD, Trap]
    forged = []
    for one in wild():
        forged += [((one,), None), ((one, 2**62), None), (("a", one), None)]
        forged += [((one, one, one), None), ((found, one, None), None), ((found, one), None), ((one, 1, None, 10), None)]
        forged += [((found, 1, one), None), ((found, "i", 8, one), None), ((found, "i", one, b"abcd"), None), ((b"abcd", "i", one), None)]
        forged += [((), one), (("V4", False, True), one), ((found, 82904607, None), one), (("why",), one)]
    # Named tuples: as many arguments as they take, and their state.
    parts = ("a",) * len(getattr(found, "_fields", ()))
    for one in wild() if parts else ():
        forged += [((*parts[:i], one, *parts[i + 1 :]), None) for i in range(len(parts))]
        forged += [(parts, one), (parts, (None, {"_keep_empty": one})), (parts, (None, {"geturl": one})), (parts, (one, {"_keep_empty": True}))]
    outcomes = collections.Counter()
    Trap.calls.clear()
    tracemalloc.start()
    try:
        for arguments, state in forged:
            obj = Forged(found, *arguments, state=state, new=found if way.new else None) if way.new else Forged(found, *arguments, state=state)
            try:
                frame = fastser.dumps(obj)
            except fastser.FastserError:
                outcomes["unpacked"] += 1
                continue
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                made = fastser.loads(frame, safe=True, allow=allow)
                outcomes["made"] += 1
                del made
            except DecodeError as error:
                outcomes[type(error).__name__] += 1
                str(error)
            assert tracemalloc.get_traced_memory()[1] - before < (1 << 20) + 100 * len(frame), (name, arguments, state)
    finally:
        tracemalloc.stop()
    assert Trap.calls == []
    assert outcomes["DecodeError"] > 20, outcomes


@pytest.mark.parametrize("name", CALLED)
def test_parts_that_do_not_belong(name):
    """A setter, items or a state where the thing has none; and a class that is called where its __new__ is meant, or the other way."""
    way = WAYS[name]
    for parts in range(32):
        if way.takes(parts):
            continue
        rest = {LIST_ITEMS: (0,), DICT_ITEMS: (0,), STATE: (1,)}
        tags = [CALL, parts, 0, GLOBAL, 1, 0]
        for part in (LIST_ITEMS, DICT_ITEMS, STATE):
            if parts & part:
                tags += rest[part]
        if parts & 8:
            tags += [0, GLOBAL]
        text = [way.module, way.name, "os", "system"][: 4 if parts & 8 else 2]
        with pytest.raises(DecodeError):
            fastser.loads(build(*tags, text=text, flags=FOREIGN), safe=True, allow=STANDARD)


def test_what_only_makes_others_is_no_value():
    for name, way in WAYS.items():
        if way.value:
            continue
        frame = build(GLOBAL, text=[way.module, way.name], flags=FOREIGN)
        with pytest.raises(UnsafeDataError, match=re.escape(errors.NO_DATA)):
            fastser.loads(frame, safe=True, allow=STANDARD)


class Frozen(tuple):
    """Hashed by what is in it."""


def nested(make, levels):
    made = make(1)
    for _ in range(levels):
        made = make((made, made))
    return made


def test_keys_that_unfold():
    """A key that holds one twice, forty levels deep: hashing it would take for ever."""
    makers = [(Frozen, lambda value: Frozen((value,)))]
    if importlib.util.find_spec("pydantic"):
        makers.append((sample_objects.FrozenModel, lambda value: sample_objects.FrozenModel(a=value)))
    if importlib.util.find_spec("attr"):
        makers.append((sample_objects.AttrsFrozen, lambda value: sample_objects.AttrsFrozen(a=value)))
    for cls, make in makers:
        small = {nested(make, 3): 1}
        assert fastser.loads(fastser.dumps(small), safe=True, allow=[cls]) == small
        own = vars(cls).get("__hash__")
        cls.__hash__ = lambda self: 1
        try:
            frame = fastser.dumps({nested(make, 60): 1})
        finally:
            if own is None:
                del cls.__hash__
            else:
                cls.__hash__ = own
        with pytest.raises(DecodeError, match="expected keys that can be hashed in reasonable time"):
            fastser.loads(frame, safe=True, allow=[cls])


DAMAGED = """
    import random, sys, warnings
    warnings.simplefilter("ignore")
    import fastser
    frames = [bytes.fromhex(line) for line in sys.stdin.read().split()]
    for frame in frames:
        fastser.loads(frame, safe=True, allow=fastser.STANDARD)  # what that needs is imported now
    events, armed = [], False

    def watch(event, arguments):
        if armed and event.partition(".")[0] in ("open", "os", "subprocess", "socket", "exec", "compile", "import", "ctypes", "shutil"):
            events.append((event, arguments))

    rng = random.Random(7)
    outcomes = {}
    sys.addaudithook(watch)
    for i in range(6_000):
        frame = bytearray(rng.choice(frames))
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(16, len(frame))
            way = rng.randrange(4)
            if way == 0:
                frame[at] ^= 1 << rng.randrange(8)
            elif way == 1:
                frame[at] = rng.choice((0, 1, 2, 40, 41, 44, 48, 54, 55, 65, 127, 128, 255))
            elif way == 2:
                frame[at] = frame[rng.randrange(16, len(frame))]
            else:
                frame[at] = 255
        if b"!" in frame:  # the tag of time zones, whose data is looked for in files
            continue
        armed = True
        try:
            found = fastser.loads(frame, safe=True, allow=fastser.STANDARD)
            outcome = "value"
            del found
        except fastser.FastserError as error:
            outcome = type(error).__name__
        armed = False
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    print(outcomes)
    assert events == [], events
    assert outcomes["value"] > 50 and outcomes["DecodeError"] > 500
"""


def test_damage():
    """A value or an error of ours; nothing is opened, imported or run, and nothing crashes."""
    values = [obj for name, obj in VALUES.items() if "classes" not in name] + [np.dtype(described) for described in DTYPES]
    if importlib.util.find_spec("pandas"):
        values += pandas_values().values()
    frames = [frame for frame in (fastser.dumps([value]) for value in values) if b"!" not in frame]
    assert len(frames) > 60
    command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(DAMAGED)]
    environment = {"PYTHONPATH": str(pathlib.Path(fastser.__file__).parents[1])}
    done = subprocess.run(command, input="\n".join(frame.hex() for frame in frames), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]


def test_ranges_are_not_written_out():
    pd = pytest.importorskip("pandas")
    long = pd.RangeIndex(10**15)
    assert len(fastser.loads(fastser.dumps(long), safe=True, allow=STANDARD)) == 10**15
    honest = pd.interval_range(0, 3).__reduce__()
    forged = Forged(honest[0], honest[1][0], {"left": long, "right": long, "closed": "right", "name": None})
    with pytest.raises(DecodeError, match="expected bounds of intervals"):
        fastser.loads(fastser.dumps(forged), safe=True, allow=STANDARD)
    for offset in (pd.offsets.Day(0), pd.offsets.BusinessDay(0), pd.offsets.Week(0), pd.offsets.Nano(2**62)):
        make, (cls, parts), *_ = pd.date_range("2020", periods=3).__reduce__()
        with pytest.raises(DecodeError):
            fastser.loads(fastser.dumps(Forged(make, cls, {"data": pd.to_datetime(["2020", "2021"]).array, "name": None, "freq": offset})), safe=True, allow=STANDARD)


def test_no_message_says_to_trust():
    for _, member in inspect.getmembers(errors, inspect.isfunction):
        assert "without safe only" not in inspect.getsource(member)
    frame = fastser.dumps({"a": [Data()]})
    with pytest.raises(UnsafeDataError) as caught:
        fastser.loads(frame, safe=True)
    assert str(caught.value) == (
        f"safe=True, but {HERE}.Data at $.a[0] would be needed to load this frame: if it is a class whose objects a frame may make, put it into "
        "allow (fastser.requirements tells all that a frame needs)"
    )
    with pytest.raises(UnsafeDataError, match=re.escape('it goes by value, as code: dump it with fallback="pickle", and it goes by its name')):
        fastser.loads(fastser.dumps([lambda: 1]), safe=True, allow=STANDARD)
    with pytest.raises(UnsafeDataError, match=f"{HERE}.Data is in allow, but is made by calling it in this frame"):
        fastser.loads(fastser.dumps(Forged(Data, 1)), safe=True, allow=[Data])


# --- requirements ------------------------------------------------------------------------------------------------------------


def names_by_pickle(obj):
    """The names that pickle's own disassembler finds."""
    names, texts = set(), []
    for opcode, argument, _ in pickletools.genops(pickle.dumps(obj, protocol=4)):
        if opcode.name in ("SHORT_BINUNICODE", "BINUNICODE"):
            texts.append(argument)
        elif opcode.name == "BINGET":
            texts.append(None)
        if opcode.name == "STACK_GLOBAL":
            names.add(tuple(texts[-2:]))
    return names


SAMPLES = {**sample_objects.FIELDS, **sample_objects.ROWS, **sample_objects.PROTOCOL}


@pytest.mark.parametrize("kind", SAMPLES)
def test_requirements_are_what_pickle_names_too(kind):
    obj = SAMPLES[kind]("a value", 1.5)
    try:
        expected = names_by_pickle(obj)
    except Exception:
        pytest.skip("pickle cannot pack it")
    found = fastser.requirements(fastser.dumps(obj, fallback="pickle"))
    named = {name for module, name in expected if module and name and not module.startswith("copyreg")}
    assert named <= {name.rpartition(".")[2] if name.count(".") == 1 else name.split(".", 1)[1] for name in found}
    assert all(set(uses) <= {"fields", "call", "value", "hook"} for uses in found.values())
    assert list(found) == sorted(found)


LOOK = """
    import sys, builtins
    import fastser
    asked = []
    from fastser import fallback
    plain = fallback.resolve
    def resolve(module, name):
        asked.append(f"{module}.{name}" if name else module)
        return plain(module, name)
    fallback.resolve = resolve
    fastser.loads(bytes.fromhex(sys.stdin.read()))
    print("\\n".join(asked))
"""


def test_requirements_are_what_a_reader_asks_for():
    """In a process that has imported nothing of it: there every name is looked for."""
    values = [SAMPLES[kind]("a", 1) for kind in ("Plain", "Slots", "Pair", "Reduced", "SetState", "List", "Dict", "Text", "WithSetter", "OrderedDict")]
    frame = fastser.dumps([values, sample_objects.Plain, pathlib, fractions.Fraction(1, 2)], fallback="pickle")
    found = fastser.requirements(frame)
    environment = {"PYTHONPATH": os.pathsep.join([str(pathlib.Path(fastser.__file__).parents[1]), str(pathlib.Path(__file__).parent)])}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LOOK)], input=frame.hex(), capture_output=True, text=True, env=environment, check=True
    )
    asked = set(done.stdout.split())
    # Of what is there already only the first name leads to a look.
    assert asked <= set(found)
    assert "sample_objects.Plain" in asked


def test_requirements_of_each_kind():
    serializer = fastser.Serializer()
    serializer.register(Row, lambda row: row.a, Row, name="a row")
    value = [Data(), Data, Color.RED, pathlib, fractions.Fraction(1, 2)]
    assert fastser.requirements(fastser.dumps(value)) == {
        "fractions.Fraction": ("call",), "pathlib": ("value",), f"{HERE}.Color": ("call",), f"{HERE}.Data": ("fields",),
    }  # fmt: skip
    assert fastser.requirements(serializer.dumps([Row(1)])) == {"a row": ("hook",)}
    assert fastser.requirements(fastser.dumps([1, {"a": np.arange(3)}])) == {}
    assert all(name.startswith("fastser.by_value.") for name in fastser.requirements(fastser.dumps(lambda: 1)))
    for source in (fastser.pack([Data()]), bytearray(fastser.dumps([Data()])), memoryview(fastser.dumps([Data()]))):
        assert fastser.requirements(source) == {f"{HERE}.Data": ("fields",)}


def test_requirements_of_what_is_no_frame():
    frame = fastser.dumps([Data()])
    for damaged in (b"", frame[:20], b"text" * 10, build(GLOBAL, text=["a"], flags=FOREIGN), frame[:-1]):
        with pytest.raises(DecodeError) as expected:
            fastser.loads(damaged)
        with pytest.raises(DecodeError) as caught:
            fastser.requirements(damaged)
        assert str(caught.value) == str(expected.value)
    nested = 1
    for _ in range(30):
        nested = [nested]
    with pytest.raises(fastser.DepthError):
        fastser.requirements(fastser.dumps(nested), max_depth=10)
    with pytest.raises(TypeError):
        fastser.requirements("text")


def test_requirements_import_nothing():
    frame = build(GLOBAL, text=["fastser_nowhere.at.all", "Name"], flags=FOREIGN)
    assert fastser.requirements(frame) == {"fastser_nowhere.at.all.Name": ("value",)}
    assert "antigravity" not in sys.modules
    assert fastser.requirements(build(GLOBAL, text=["antigravity", "x"], flags=FOREIGN)) == {"antigravity.x": ("value",)}
    assert "antigravity" not in sys.modules


def test_frame_length_tells_how_much_to_read():
    frame = fastser.dumps({"a": np.arange(1000.0)})
    assert fastser.frame_length(frame[:16]) == len(frame)
    with pytest.raises(DecodeError, match="truncated frame: expected 16 bytes, found 15"):
        fastser.frame_length(frame[:15])
    header = struct.pack("<4sBBHQ", b"\xf5FSR", 1, 0, 0, 1 << 60)
    assert fastser.frame_length(header) == 1 << 60

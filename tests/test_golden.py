"""Golden frames: written once, by tests/golden/write.py, and read by every later version.

The objects they hold are made here, by code. Each is compared with what the package reads and with what the reader in
frames.py makes of the same bytes.
"""

import datetime
import decimal
import fractions
import functools
import operator
import pickle
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from pathlib import Path
from typing import NamedTuple

import frames
import numpy as np
import pytest
from same import same

import fastser

pytestmark = pytest.mark.core

FILES = Path(__file__).parent / "golden"


def objects():
    """What the frames hold that `dumps` wrote, by name."""
    return {
        "scalars": scalars(),
        "numbers": numbers(),
        "text": text(),
        "bytes": [b"", b"\0\xff", [b"a", b"bc", b""], bytearray(b"xyz"), [bytearray(b"1"), bytearray()]],
        "bodies": bodies(),
        "times": times(),
        "zones": zones(),
        "standard": standard(),
        "containers": containers(),
        "records": records(),
        "structure": structure(),
        "identity": identity(),
        "ring": ring(),
        "arrays": arrays(),
        "array-runs": array_runs(),
        "array-memory": array_memory(),
        "object-arrays": object_arrays(),
        "strings": strings(),
        "dtypes": dtypes(),
        "numpy-scalars": numpy_scalars(),
        "array-classes": array_classes(),
        "dtype-values": dtype_values(),
        "reducers": reducers(),
        "instances": instances(),
        "named-rows": named_rows(),
        "named-ring": named_ring(),
        "globals": by_name(),
        "calls": calls(),
        "hooks": hooks(),
        "memory": memory(),
        "copies": copies(),
        "arrow-data": arrow_data(),
        "object-cycles": object_cycles(),
    }


def scalars():
    return [None, True, False, ..., NotImplemented, 0, 127, 128, -1, 1.5, "a", b"b", 2j, [None, None], [..., ...]]


def numbers():
    edges = [0, -1, 127, -128, 128, -129, 2**15 - 1, -(2**15), 2**15, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63)]
    return {
        "edges": edges,
        "each": [(n, [n, 0]) for n in edges],
        "int8": list(range(-100, 100)),
        "int16": list(range(0, 30_000, 1000)),
        "int32": [n << 16 for n in range(20)],
        "int64": [n << 40 for n in range(-10, 10)],
        "big": [2**63, -(2**63) - 1, 10**30, -(10**30), 2**200],
        "floats": [0.0, -0.0, 0.1, float("inf"), float("-inf"), 5e-324, 1.7976931348623157e308],
        "nan": float("nan"),
        "bools": [True, False, False] * 7,
        "mixed": [1, 2.5, 3, 4.5, -(10**12), 0.25] * 5,
        "complex": [1 + 2j, complex(-0.0, float("inf"))],
        "with None": [1, None, 3, None, None, 1000, -5, 8, 9],
    }


def text():
    return {
        "": ["", "a", "é", "€", "\U0001f600", "nul\0", "\n"],
        "ASCII": [f"item {i}" for i in range(50)],
        "Latin": ["naïve", "façade", "Größe"] * 3,
        "other": ["日本語", "עברית", "\U0001d11e clef", ""],
        "surrogates": ["\ud800", "a\udfffb"],
        "few": ["red", "green", "blue"] * 40,
        "with None": ["x", None, "y", None],
        "é": "é as a key",
        "again": [again := "a text that is met again", 1, again, {"key": again}, [again, 2.5]],
    }


def bodies():
    long = "long " * 2000
    data = bytes(range(256)) * 30
    return [long, data, long, "é" * 3000, bytearray(data), {"text": long, "data": data}, ["ü" * 5000, None, "x" * 4096]]


def times():
    hour = datetime.timezone(datetime.timedelta(hours=1))
    named = datetime.timezone(-datetime.timedelta(hours=3, minutes=30, seconds=1), "NST?")
    utc = datetime.timezone.utc
    moment = datetime.datetime(2024, 2, 29, 12, 30, 15, 123456)
    return {
        "datetimes": [datetime.datetime.min, datetime.datetime.max, moment, datetime.datetime(1970, 1, 1)],
        "zoned": [moment.replace(tzinfo=zone) for zone in (utc, hour, named)] + [moment.replace(fold=1), moment],
        "run": [moment.replace(tzinfo=utc) + datetime.timedelta(hours=i) for i in range(10)],
        "dates": [datetime.date.min, datetime.date.max, datetime.date(1969, 12, 31), datetime.date(2000, 2, 29)],
        "times": [datetime.time(), datetime.time.max, datetime.time(1, 2, 3, 4, tzinfo=hour), datetime.time(5, fold=1)],
        "timedeltas": [datetime.timedelta(0), -datetime.timedelta(microseconds=1), datetime.timedelta(5, 6, 7)],
        "long": [datetime.timedelta.min, datetime.timedelta.max],
        "runs": [[datetime.time(i, 30) for i in range(5)], [datetime.time(i, tzinfo=utc) for i in range(5)]],
        "zoned run": [datetime.datetime(2024, 1, 1 + i, tzinfo=named) for i in range(5)],
        "timezones": [utc, hour, named, utc],
    }


def zones():
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    late = datetime.datetime(2024, 10, 27, 2, 30, tzinfo=berlin)
    return [berlin, [late, late.replace(fold=1)], datetime.time(7, tzinfo=zoneinfo.ZoneInfo("America/New_York"))]


def standard():
    ids = [uuid.UUID(int=(i * 0x0123456789ABCDEF0123456789ABCDEF) % 2**128) for i in range(5)]
    return {
        "decimals": [decimal.Decimal(item) for item in ("0", "-0.00", "1.10", "1E+100", "-Infinity", "NaN123", "123456789.123456789")],
        "uuids": ids,
        "safe": uuid.UUID(int=7, is_safe=uuid.SafeUUID.safe),
        "ranges": [range(5), range(10, 0, -3), range(0), range(-(10**30), 10**30, 10**29)],
        "slices": [slice(None), slice(1, 2), slice(None, "b", -1), slice(0.5, None, None)],
    }


def containers():
    return {
        "empty": [[], (), {}, set(), frozenset(), [[], []], [(), (), ()], [{}, {}], [set(), set()]],
        "lists": [[1, 2], [], [3], [4, 5, 6]],
        "tuples": [(1, "a"), (2, "b"), (3, "c")],
        "ragged": [("a",), (), ("b", "c")],
        "rows": [[1, 2.5, None], [2, 3.5, None], [3, 4.5, None]],
        "sets": [{1, 2, 3}, {"a"}, frozenset({b"x", 2}), {(1, 2), (3, 4)}],
        "runs of sets": [{1, 2}, {3}, set()],
        "runs of frozensets": [frozenset({1, 2}), frozenset({3}), frozenset()],
        "dicts": {1: "a", "b": 2, None: 3, 2.5: 4, (1, 2): 5, b"b": 6, frozenset({1}): 7},
        "runs of dicts": [{1: 2}, {3: 4, 5: 6}, {}],
        "int keys": {i: str(i) for i in range(300)},
        "nested": {"a": [{"b": ({"c": [1, [2, [3, [4]]]]},)}]},
        "mixed": [1, "a", None, 2.5, [1], (2,), {"k": b"v"}, {3}],
        "numbers": numbers()["edges"],
    }


def records():
    return {
        "run": [{"id": i, "name": f"name {i}", "score": i / 4, "tags": ["a", "b"][: i % 3]} for i in range(12)],
        "one": {"id": 1, "name": "x", "none": None},
        "again": [1, {"id": 2, "name": "y", "none": None}, {"id": 3, "name": "z", "none": 4}],
        "optional": [{"a": i} | ({"b": str(i)} if i % 2 else {}) for i in range(20)],
        "shapes": [{f"k{i % 5}": i, "common": i % 2 == 0} for i in range(40)],
        "nested": [{"point": {"x": i, "y": -i}, "of": ({"n": i},)} for i in range(5)],
    }


def structure():
    return {
        "odd one": [*range(1000, 1100), "odd", *range(1100, 1200)],
        "two kinds": [i if i % 3 else f"t{i}" for i in range(60)],
        "many kinds": [[1, "a", 2.5, None, True, b"x", (1,), [2]][i % 8] for i in range(64)],
        "mostly None": [None] * 50 + ["x"] + [None] * 50,
        "one value": [None] * 3000,
    }


def identity():
    shared, pair, own = [1, 2], (1, [2]), []
    own.append(own)
    loop = {"name": "loop"}
    loop["self"] = loop
    rows = [{"id": i} for i in range(4)]
    few = [{"x": i, "y": str(i)} for i in range(3)]
    frozen = frozenset({1, 2})
    data = bytearray(b"shared")
    return {
        "shared": [shared, shared, {"again": shared}, (shared, pair)],
        "pair": pair,
        "own": own,
        "loop": loop,
        "rows": [rows, rows[::-1], rows[2]],
        "few": [few[i % 3] for i in range(60)],
        "frozen": [frozen, {frozen: frozen}],
        "data": [data, data],
        "tree": {"children": [parents := {"parent": None}, parents]},
    }


def ring():
    """A tuple that contains itself, which Python code can only make through a list."""
    ring = (1, [])
    ring[1].append(ring)
    return [ring, ring]


def arrays():
    grid = np.arange(12.0).reshape(3, 4)
    return {
        "plain": [np.arange(3).astype(code) for code in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16")],
        "C": grid,
        "Fortran": np.asfortranarray(grid),
        "strided": np.array(grid[::2, ::-1]),
        "0-d": np.array(1.5),
        "empty": [np.zeros((0,)), np.zeros((2, 0, 3), "i4")],
        "five": np.arange(32, dtype="u1").reshape(2, 2, 2, 2, 2),
        "large": np.arange(500, dtype="i4").reshape(20, 25),
        "large Fortran": np.asfortranarray(np.arange(200.0).reshape(10, 20)),
        "special": np.array([0.0, -0.0, np.inf, -np.inf]),
    }


def array_runs():
    return {
        "small": [np.arange(3.0) + i for i in range(6)],
        "two dimensions": [np.full((2, 2), i, "i2") for i in range(3)],
        "Fortran": [np.asfortranarray(np.arange(6).reshape(2, 3) * i) for i in range(3)],
        "large": [np.arange(100.0) * i for i in range(3)],
        "lists": [[np.arange(2)], [np.arange(2), np.arange(3)]],
        "objects": [np.array([None, i], object) for i in range(3)],
    }


def array_memory():
    base = np.arange(200.0)
    return {"base": base, "same": base, "again": [base, base], "view": base.reshape(10, 20), "turned": base.reshape(10, 20).T}


def object_arrays():
    array = np.array([1, "a", None, 2.5, [1, 2], (3,)], object)
    own = np.array([None, 1], object)
    own[0] = own
    return [array, array.reshape(2, 3), np.asfortranarray(array.reshape(3, 2)), own, np.array({"k": 1}, object), np.empty((0,), object)]


def strings():
    return [np.array(["a", "bc", "é" * 50, ""], np.dtypes.StringDType()), np.array(["x", None], np.dtypes.StringDType(na_object=None))]


def dtypes():
    record = np.array([(1, 2.5, b"ab", "é")], [("a", "<i4"), ("b", ">f8"), ("c", "S3"), ("d", "<U2")])
    aligned = np.zeros(2, np.dtype([("a", "u1"), ("b", "<f8")], align=True))
    nested = np.zeros(2, [("p", [("x", "<i2"), ("y", "<i2")]), ("m", "<f4", (2, 2))])
    titles = np.zeros(1, {"names": ["a"], "formats": ["<i4"], "titles": ["the a"], "offsets": [4], "itemsize": 12})
    return {
        "big": [np.arange(3, dtype=code) for code in (">i2", ">u4", ">i8", ">f4", ">c16")],
        "text": [np.array(["a", "bcd"]), np.array(["a", "é"], ">U4"), np.array([b"a", b"bcd"])],
        "void": np.frombuffer(b"abcdefgh", "V4"),
        "times": [np.array([0, 1, -1], f"{kind}8[{unit}]") for kind in "Mm" for unit in ("D", "s", "ms", "us", "ns", "25s")],
        "generic": np.array([1, 2], "m8"),
        "NaT": np.array(["NaT", "2024-02-29"], "M8[D]"),
        "record": record,
        "aligned": aligned,
        "nested": nested,
        "titles": titles,
        "again": [record[:1], np.zeros(3, record.dtype)],
    }


def numpy_scalars():
    plain = [np.float32(1.5), np.float64(2.5), np.int8(-1), np.uint64(2**64 - 1), np.bool_(True), np.complex64(1 + 2j)]
    times = [np.datetime64("2024-02-29", "D"), np.timedelta64(5, "ms")]
    return [plain, times, [np.int32(i) for i in range(10)], np.str_("é"), np.bytes_(b"x"), np.array([(1, 2.5)], "i4,f8")[0]]


def array_classes():
    grid = np.arange(12.0).reshape(3, 4)
    mask = grid % 3 == 0
    record = np.dtype([("x", "<i4"), ("y", "<f8")])
    own = np.array([None, 1], object).view(Grid)
    own[0] = own
    masked = np.ma.MaskedArray(grid, mask, fill_value=-1)
    return {
        "records": [np.zeros(3, record).view(np.recarray), np.arange(100).view(np.recarray)],
        "matrix": grid.view(np.matrix),
        "map": np.arange(5).view(np.memmap),
        "own": [grid.view(Grid), np.asfortranarray(grid).view(Grid), np.array(1.5).view(Grid), np.zeros((0, 2)).view(Grid)],
        "run": [np.arange(i, i + 3).view(Grid) for i in range(4)],
        "objects": own,
        "memory": [grid, grid.view(Grid), grid.T.view(Grid)],
        "masked": [masked, masked, np.ma.MaskedArray(grid), np.ma.MaskedArray(np.asfortranarray(grid), np.asfortranarray(mask))],
        "masked run": [np.ma.MaskedArray([i, 2, 3], [i % 2, 0, 1]) for i in range(4)],
        "masked structure": np.ma.MaskedArray([(1, 2.5), (3, 4.5)], [(0, 1), (1, 0)], record),
        "masked of a class": [np.ma.MaskedArray(grid.view(Grid), mask.copy()), Layers(grid[0], mask[0].copy())],
        "large": [np.arange(300).view(Grid), np.ma.MaskedArray(np.arange(600), np.arange(600) % 2 == 0)],
    }


def dtype_values():
    structure = np.dtype([("a", "<i4"), ("b", ">f8", (2,)), ("c", [("d", "S3")])])
    plain = [np.dtype(code) for code in ("?", "i1", "<f8", ">f8", "O", "U3", "S", "V2", "M8[25s]", "m8", "c16")]
    strings = [np.dtypes.StringDType(), np.dtypes.StringDType(na_object=None)]
    return [plain, structure, {structure: structure}, strings, np.dtype(("f4", (2, 3))), np.dtype((np.record, structure)), plain[2], [plain[2]] * 20]


def reducers():
    return {
        "fractions": [fractions.Fraction(1, 3), fractions.Fraction(-5, 7)],
        "collections": [OrderedDict(a=1), deque([1, 2], maxlen=5), Counter("abca")],
        "class": fractions.Fraction,
        "function": uuid.uuid5,
        "array": np.ma.masked_array([1, 2, 3], [False, True, False]),
        "exception": ValueError,
    }


# --- classes, which the frames name: neither these names nor their fields may change ------------------------------------


class Point:
    def __init__(self, x, y):
        self.x = x
        self.y = y

    class Nested:
        pass


class Grid(np.ndarray):
    def __array_finalize__(self, obj):
        self.made = obj is not None


class Layers(np.ma.MaskedArray):
    pass


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, *values):
        for name, value in zip(self.__slots__, values, strict=False):
            setattr(self, name, value)


class Both(Slots):
    """Slots, and a dict beside them."""


Row = namedtuple("Row", "id name")


class Typed(NamedTuple):
    id: int
    of: object = None


class Nothing(NamedTuple):
    pass


class Numbers(list):
    pass


class Table(dict):
    pass


class Called:
    """Made by a call with its arguments; what its reducer returns is told when it is made."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return Called, self.arguments


class Stated:
    def __init__(self, *arguments):
        self.arguments = arguments

    def __getstate__(self):
        return ["state", self.arguments]

    def __setstate__(self, state):
        self.arguments = state[1]


class Set(Called):
    def __reduce__(self):
        return Set, (), {"arguments": self.arguments}, None, None, put


def put(target, state):
    target.arguments = state["arguments"]


class Held:
    """Its memory goes out of band."""

    def __init__(self, memory):
        self.memory = bytes(memory)

    def __reduce__(self):
        return Held, (pickle.PickleBuffer(self.memory),)


class Celsius:
    def __init__(self, degrees):
        self.degrees = degrees


fastser.register(Celsius, lambda celsius: celsius.degrees, Celsius, name="golden.celsius")


def instances():
    shared = Point(1, [2])
    odd = Point(1, 2)
    odd.z = 3
    return {
        "one": Point(1.5, "y"),
        "none": [Point.__new__(Point), Slots(), Point.Nested()],
        "slots": [Slots(1, 2), Slots(1), Slots("a", None)],
        "both": [Both(1), Both()],
        "run": [Point(i, str(i)) for i in range(20)],
        "runs of slots": [Slots(i, i / 2) for i in range(10)],
        "runs of none": [Point.Nested() for _ in range(5)],
        "odd one": [*(Point(i, i) for i in range(10)), odd, *(Point(i, i) for i in range(10))],
        "nested": [Point(Slots(i), [Point(i, i)]) for i in range(5)],
        "shared": [shared, shared, {"again": shared}],
        "fields by dict": vars_of(Both(1, 2), c=3, d=[4]),
    }


def vars_of(target, **fields):
    vars(target).update(fields)
    return target


def named_rows():
    shared = Row(1, [2])
    return {
        "one": Row(1, "a"),
        "run": [Row(i, f"n{i}") for i in range(20)],
        "typed": [Typed(1), Typed(2, Row(3, "c"))],
        "nothing": [Nothing(), Nothing()],
        "shared": [shared, shared, shared[1]],
        "keys": {Row(1, 2): 3},
    }


def named_ring():
    """Through a list, as only that can be made."""
    ring = Row(1, [])
    ring.name.append(ring)
    return [ring, ring]


def by_name():
    return [Point, Point.Nested, uuid, uuid.UUID, uuid.uuid5, len, Point, {"k": Point, "l": int}, type(None), fractions]


def calls():
    numbers = Numbers([1, 2, 3])
    numbers.name = "numbers"
    table = Table(a=1, b=[2])
    table.name = "table"
    return {
        "arguments": [Called(), Called(1), Called("a", [1])],
        "run": [Called(i, str(i)) for i in range(10)],
        "lengths": [Called(*range(i)) for i in range(6)],
        "state": [Stated(1, 2), Stated()],
        "setter": [Set(1), Set(2), Set()],
        "list items": [numbers, Numbers(), [Numbers([i]) for i in range(5)]],
        "dict items": [table, Table(), [Table(k=i) for i in range(5)]],
        "collections": [OrderedDict(a=1, b=2), deque([1, 2], maxlen=5), Counter("abca"), defaultdict(list, k=[1])],
        "fractions": [fractions.Fraction(i, 7) for i in range(1, 6)],
        "callables": [functools.partial(operator.add, 1), [Called(Called(i)) for i in range(4)]],
        "exceptions": [ValueError("a", 1), KeyError("k")],
    }


def hooks():
    shared = Celsius([20])
    return [Celsius(1), [Celsius(i / 2) for i in range(6)], [shared, shared], {"of": Celsius({"a": Celsius(None)})}]


def memory():
    return [Held(b""), Held(b"abc"), b"x", Held(b"de"), Held(bytes(range(256)) * 20), [Held(b"f" * i) for i in range(5)]]


def copies():
    """Arrays that calls are given, and some that they share with a container before or behind them; others are views."""
    before, behind, alone = np.arange(100.0), np.asfortranarray(np.arange(400, dtype="i2").reshape(20, 20)), np.arange(600, dtype="u1")
    held, own = [behind], np.arange(70.0)
    return [before, Called([before.view("u1"), own]), Called(held), held, OrderedDict(alone=alone), Held(bytes(range(256)) * 20), alone]


def arrow_data():
    """A schema alone, an array, a stream of two chunks, one of none, and one array twice."""

    def data(kind, schema, nodes, *buffers):
        return fastser.ArrowData.from_parts((kind, schema, nodes), [np.array(items, dtype) for items, dtype in buffers])

    number = ("l", "n", b"\1\0\0\0\4\0\0\0unit\1\0\0\0m", 2, (), None)
    text = ("u", "text", None, 2, (), None)
    record = ("+s", "", None, 0, (number, ("i", "kind", None, 1, (), text)), None)
    words = (4, 1, 0, (1, 2, 3), (), None)
    letters = ([0b1101], "u1"), ([0, 3, 3, 3, 8], "<i4"), ([*b"onethree"], "u1")
    array = data("array", text, (words,), *letters)
    chunk = (3, 0, 0, (0,), ((3, -1, 0, (0, 1), (), None), (3, 0, 1, (0, 2), (), (2, 0, 0, (0, 3, 4), (), None))), None)
    other = (2, 0, 0, (0,), ((2, 0, 0, (0, 5), (), None), (2, 0, 0, (0, 2), (), (2, 0, 0, (0, 3, 4), (), None))), None)
    columns = ([1, 2, 3], "<i8"), ([0, 1, 0, 1], "<i4"), ([0, 1, 4], "<i4"), ([*b"abcd"], "u1"), ([2**40, -1], "<i8")
    large = data("array", number, ((1000, 0, 0, (0, 1), (), None),), (range(1000), "<i8"))
    return [
        data("schema", record, ()), array, {"stream": data("stream", record, (chunk, other), *columns)},
        data("stream", number, ()), array, (large, data("array", ("n", "", None, 2, (), None), ((7, 7, 0, (), (), None),))),
    ]


def object_cycles():
    point, other = Point(1, 2), Slots(1, 2)
    point.x, other.a, other.b = other, point, [point]
    numbers, table = Numbers(), Table()
    numbers.append(numbers)
    table["self"] = table
    table.of = [table, numbers]
    again = Called([])
    again.arguments[0].append(again)
    state = Set(1)
    state.arguments = (state, [state])
    ring = [Point(i, None) for i in range(4)]
    for i, one in enumerate(ring):
        one.y = ring[i - 1]
    return {"instances": [point, other], "items": [numbers, table], "arguments": [again, again], "state": state, "ring": ring}


def by_hand():
    """Frames of what the grammar allows and `dumps` does not write, or only of gigabytes; and what they hold."""
    f = frames
    hour = datetime.timezone(datetime.timedelta(hours=1))
    lengths = (f.LIST, 2, f.LIST, 1, f.INT8, f.LIST, 2, f.LIST, 2, f.INT8, f.LIST, 2, f.LIST, 4, f.INT8, f.LIST, 2, f.LIST, 8, f.INT8)
    runs = {
        (f.TRUE,): [True, True],
        (f.FALSE,): [False, False],
        (f.NOT_IMPLEMENTED,): [NotImplemented, NotImplemented],
        (f.SURROGATE_TEXT,): ["\ud800", "é"],
        (f.TEXT,): ["a", "b"],
        (f.TEXT_REF, 1, 0): ["b", "a"],
        (f.BODY_TEXT, f.BUFFER, f.INLINE): ["in a buffer", "inline"],
        (f.BODY_BYTES, f.BUFFER, f.SAME, 1): [b"bytes", b"bytes"],
        (f.BODY_BYTEARRAY, f.INLINE, f.BUFFER): [bytearray(b"one"), bytearray(b"two")],
        (f.TIME_ZONED, 1, f.NONE): [datetime.time(0, fold=1), datetime.time(1, fold=1)],
        (f.UTC,): [datetime.timezone.utc, datetime.timezone.utc],
        (f.TIMEZONE, f.TIMEDELTA, f.NULLABLE, f.TEXT): [hour, datetime.timezone(datetime.timedelta(0), "zero")],
        (f.DATETIME_ZONED, 0, f.TIMEZONE, f.TIMEDELTA, f.NONE): [datetime.datetime(1970, 1, 1, h, tzinfo=hour) for h in (0, 1)],
        (f.ARRAY, 2, 0, 1, 2, f.INLINE, f.BUFFER): [np.array([1, 2], "i1"), np.array([3, 4], "i1")],
        (f.ARRAY_RUN, 4, 1, 2, 1, 2, f.BUFFER): [np.array([[1, 2]], "i2"), np.array([[3, 4]], "i2")],
        (f.OBJECT_ARRAY, f.OBJECT, 0, 0, f.INT8): [np.array(5, object), np.array(6, object)],
        (f.INDEXED, 2, f.INDEXED, 1, f.NULLABLE, f.INT32, 1): [7, 7],
        (f.OPTIONAL, f.ELLIPSIS, f.INT8): [..., 4],
        (f.CONCAT, 1, f.BOOLS, f.INT64): [True, 9],
        (f.CONCAT, 1, f.DATE, f.LONG_TIMEDELTA): [datetime.date(1970, 1, 2), datetime.timedelta(1, 2, 3)],
        (f.CONCAT, 1, f.DECIMAL, f.BIG_INT): [decimal.Decimal("1.0"), -2],
        (f.GROUPS, 2, 1, f.TIME, 1, f.COMPLEX): [1j, datetime.time(0, 0, 1)],
    }
    by_hand_objects = {
        (f.GLOBAL,): [Point, Point.Nested],
        (f.NAMED_ROWS, 2, 0, f.GLOBAL, f.INT8, f.NONE): [Row(1, None), Row(2, None)],
        (f.NAMED_ROWS, 2, 1, f.NONE, f.INT8): [Row(None, 3), Row(None, 4)],
        (f.INSTANCES, 1, 0, 1, 0, f.GLOBAL, f.TRUE): [vars_of(Point.Nested(), x=True), vars_of(Point.Nested(), x=True)],
        (f.INSTANCES, 3, 0, 2, 0, f.GLOBAL, f.FALSE, f.INT8): [Slots(False, 5), Slots(False, 6)],
        (f.INSTANCES, 0, 3): [Slots(), Slots()],
        (f.CALL, 0, 0, f.GLOBAL, 0, 1, f.INT8): [Called(7), Called(8, 9)],
        (f.CALL, f.STATE | f.SETTER | f.NEW, 0, f.GLOBAL, 1, f.RECORDS, 0, 1, f.TUPLE, 0, 1, f.INT8, 0, f.GLOBAL): [Set(10), Set(11)],
        (f.CALL, f.LIST_ITEMS | f.STATE, 0, f.GLOBAL, 1, 1, f.INT8, f.RECORDS, 0, 1, f.NONE): [
            vars_of(Numbers([1]), name=None), vars_of(Numbers([2, 3]), name=None),
        ],
        (f.CALL, f.DICT_ITEMS, 0, f.GLOBAL, 1, 0, 1, f.TEXT, f.INT8): [Table(k=1), Table(l=2)],
        (f.CALL, 0, 0, f.CALL, 0, 0, f.GLOBAL, 3, f.GLOBAL, f.small(1), 0, 2, f.INT8): [3, 4],  # what is called is made by a call
        (f.HOOK, f.INT8): [Celsius(5), Celsius(6)],
        (f.CONCAT, 1, f.HOOK, f.FLOAT, 0, f.CALL, 0, 0, f.GLOBAL, 2, f.MEMORY, f.PADDED, 5, 0): [Celsius(1.5), Held(b"abc")],
        (f.CALL, 0, 11, 2, f.MEMORY, f.INLINE, f.BUFFER): [Held(b"inline"), Held(b"in a buffer")],
    }
    here = "test_golden"
    names = [here, "Point", here, "Point.Nested", here, "Row", "x", here, "Point.Nested", "a", "b", here, "Slots", here, "Called"]
    names += [here, "Set", "arguments", here, "put", here, "Numbers", "name", here, "Table", "k", "l", "functools", "partial"]
    names += ["operator", "add", "golden.celsius", "golden.celsius", here, "Held"]
    return {
        "objects-by-hand": (
            f.build(
                f.LIST, len(by_hand_objects), f.GENERIC, *[part for run in by_hand_objects for part in (f.LIST, 2, *run)],
                i8=[1, 2, 3, 4, 5, 6, 1, 2, 7, 8, 9, 10, 11, 1, 2, 1, 2, 3, 1, 2, 2, 3, 5, 6], f64=[1.5], text=names,
                data=[bytes(5) + b"abc", b"inline"], buffers=[b"in a buffer"], flags=f.FOREIGN,
            ),
            list(by_hand_objects.values()),
        ),
        "lengths": (
            f.build(
                f.LIST, 5, f.GENERIC, *lengths, f.LIST, 2, f.LIST, 0, 2, f.INT8,
                i8=[1, 0, 1, 2, 3, 4, 5, 6, 7, 1], i16=[0, 1], i32=[0, 1], i64=[1, 0],
            ),
            [[[1], []], [[], [2]], [[], [3]], [[4], []], [[5, 6], [7, 1]]],
        ),
        "large": (
            f.build(f.LIST, 3, f.GENERIC, f.TEXT, f.BYTES, f.BODY_BYTES, f.BUFFER, text=["é"], data=[b"x"], buffers=[b"abc"], flags=f.LARGE),
            ["é", b"x", b"abc"],
        ),
        "productions": (
            f.build(
                f.LIST, len(runs), f.GENERIC, *[part for run in runs for part in (f.LIST, 2, *run)],
                buffers=[b"in a buffer", b"bytes", b"two", bytes([3, 4]), np.array([1, 2, 3, 4], "<i2").tobytes()],
                i64=[0, 3600 * 10**6, 3600 * 10**6, 0, 3600 * 10**6, 0, 3600 * 10**6, 9, 10**6],
                f64=[0.0, 1.0], i32=[7, 1, 1, 2, 3], text=["a", "b", "", "zero", "1.0"],
                data=["\ud800".encode("utf-8", "surrogatepass"), "é".encode(), b"inline", b"one", bytes([1, 2]), b"\xfe"],
                i8=[5, 6, 0, 1, 3, 4], bits=bytes([0b10, 0b1, 0b10, 0b1, 0b01]),
            ),
            list(runs.values()),
        ),
    }  # fmt: skip


OBJECTS = objects() | {name: obj for name, (_, obj) in by_hand().items()}
HOOKS = {"golden.celsius": Celsius, frames.ARROW: fastser.ArrowData.from_parts}
NOT_READ_BY_HAND = {"ring", "named-ring"}
each_name = pytest.mark.parametrize("name", OBJECTS)


def golden(name):
    return (FILES / f"{name}.frame").read_bytes()


def test_every_file_has_its_object():
    assert {path.stem for path in FILES.glob("*.frame")} == set(OBJECTS)


@each_name
def test_read(name):
    frame = golden(name)
    for data in (frame, bytearray(frame), memoryview(b"odd" + frame)[3:]):
        assert same(OBJECTS[name], fastser.loads(data))


@each_name
def test_read_with_what_comes_after(name):
    assert same(OBJECTS[name], fastser.loads(golden(name) + golden("scalars")))


@pytest.mark.parametrize("name", sorted(OBJECTS.keys() - NOT_READ_BY_HAND))
def test_the_words_of_the_format_say_the_same(name):
    assert same(OBJECTS[name], frames.read(golden(name), HOOKS))


@pytest.mark.parametrize("name", sorted(OBJECTS.keys() - NOT_READ_BY_HAND))
def test_what_is_written_now_is_read_by_the_words_of_the_format(name):
    assert same(OBJECTS[name], frames.read(fastser.dumps(OBJECTS[name]), HOOKS))


@pytest.mark.parametrize("name", sorted(OBJECTS.keys() - NOT_READ_BY_HAND))
def test_build_is_the_inverse_of_parse(name):
    frame = golden(name)
    columns = frames.parse(frame)
    assert frames.build(columns.pop("tags"), **columns) == frame

"""Tables without objects: what to_arrow makes of frames, against what pyarrow and Polars make of the objects themselves."""

import collections
import datetime
import decimal
import uuid
import zoneinfo
from dataclasses import dataclass

import fastser
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pa = pytest.importorskip("pyarrow")

START = datetime.datetime(2024, 3, 1, 12)
UTC = datetime.timezone.utc
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def arrow(obj, *, exact=False, **options):
    """What pyarrow imports of the frame, of the Packed and of the row of an object, which are all the same."""
    frame = fastser.dumps(obj, **options)
    array = pa.array(fastser.to_arrow(frame, exact=exact))
    array.validate(full=True)
    for data in (fastser.pack(obj, **options), pa.array(fastser.pack(obj, **options)), memoryview(b"x" + frame)[1:]):
        other = pa.array(fastser.to_arrow(data, exact=exact))
        other.validate(full=True)
        assert other.equals(array)
        assert other.type == array.type
    return array


# --- columns -----------------------------------------------------------------------------------------------------------


@dataclass
class Point:
    x: int
    label: str


class Slotted:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x, self.y = x, y


Row = collections.namedtuple("Row", "x label")
SHARED = {"k": 1}

VALUES = {
    "ints": ([1, 2, 300, -70000, 2**62], pa.int64()),
    "small ints": ([1, 2, 3], pa.int64()),
    "ints and None": ([1, None, 3] * 5, pa.int64()),
    "floats": ([1.5, -2.0, float("inf")], pa.float64()),
    "ints and floats": ([1, 2.5, 3, None] * 5, pa.float64()),
    "text": (["a", "é", "", "\U0001f600"], pa.string()),
    "text and None": (["a", None, "b"] * 6, pa.string()),
    "text that repeats": (["Rome", "Oslo"] * 50, pa.string()),
    "text that repeats, and None": (["Rome", "Oslo", None] * 50, pa.string()),
    "long text": (["x" * 5000, "a", None, "é" * 3000], pa.string()),
    "bytes": ([b"", b"ab", b"\xff"], pa.binary()),
    "long bytes": ([b"", b"ab" * 4000, None], pa.binary()),
    "bools": ([True, False, True] * 7, pa.bool_()),
    "bools and None": ([True, None, False] * 7, pa.bool_()),
    "the same bool": ([True] * 3, pa.bool_()),
    "nothing": ([None, None], pa.null()),
    "empty": ([], pa.null()),
    "datetimes": ([START, START + datetime.timedelta(microseconds=1)], pa.timestamp("us")),
    "datetimes and None": ([START, None] * 10, pa.timestamp("us")),
    "datetimes in UTC": ([START.replace(tzinfo=UTC), None], pa.timestamp("us", "UTC")),
    "datetimes of an offset": ([START.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=-3, minutes=-30)))], pa.timestamp("us", "-03:30")),
    "dates": ([datetime.date(2024, 2, 29), None, datetime.date(1, 1, 1)], pa.date32()),
    "times": ([datetime.time(1, 2, 3, 4), None], pa.time64("us")),
    "timedeltas": ([datetime.timedelta(1, 2, 3), datetime.timedelta(-1)], pa.duration("us")),
    "long timedeltas": ([datetime.timedelta(100_000_000), datetime.timedelta(1)], pa.duration("us")),
    "decimals": ([decimal.Decimal("1.50"), None, decimal.Decimal("-3E+2")], pa.decimal128(38, 2)),
    "UUIDs": ([uuid.UUID(int=1), uuid.UUID(int=2**127)], pa.uuid()),
    "lists": ([[1, 2], [], [3], None], pa.list_(pa.int64())),
    "lists with None at different places": ([[1, None], [2, 3]], pa.list_(pa.int64())),
    "lists of ints and floats": ([[1, 2.5], [2, 3]], pa.list_(pa.float64())),
    "tuples": ([(1, 2), (3,)], pa.list_(pa.int64())),
    "lists of lists": ([[[1], []], [], [[2, 3]]] * 6, pa.list_(pa.list_(pa.int64()))),
    "lists of records": ([[{"a": 1}], [], [{"a": 2}, {"a": None}]], pa.list_(pa.struct({"a": pa.int64()}))),
    "records": ([{"a": 1, "b": "x"}, {"a": 2, "b": None}], pa.struct({"a": pa.int64(), "b": pa.string()})),
    "records in records": ([{"a": {"b": [1.5]}}, {"a": {"b": []}}], pa.struct({"a": pa.struct({"b": pa.list_(pa.float64())})})),
    "references": ([SHARED, SHARED, {"k": 2}] * 9, pa.struct({"k": pa.int64()})),
    "references between columns": ([{"a": SHARED, "b": SHARED}] * 3, pa.struct({"a": pa.struct({"k": pa.int64()}), "b": pa.struct({"k": pa.int64()})})),
    "scalars of NumPy": ([np.int16(1), np.int16(2)], pa.int16()),
    "float64 of NumPy and floats": ([np.float64(1.5), 2.5], pa.float64()),
}  # fmt: skip


@pytest.mark.parametrize("track_refs", [True, False])
@pytest.mark.parametrize("values, kind", VALUES.values(), ids=VALUES)
def test_columns(values, kind, track_refs):
    array = arrow(values, track_refs=track_refs)
    assert array.type == kind
    assert array.to_pylist() == [list(v) if type(v) is tuple else v for v in values]
    if not pa.types.is_decimal(kind) and kind != pa.uuid():
        assert array.equals(pa.array([list(v) if type(v) is tuple else v for v in values], kind))


@pytest.mark.parametrize("values, kind", VALUES.values(), ids=VALUES)
def test_columns_of_a_dict(values, kind):
    array = arrow({"values": values, "places": list(range(len(values)))})
    kinds = {"values": kind, "places": pa.int64() if values else pa.null()}
    assert array.type == pa.struct(kinds)
    assert array.field("values").to_pylist() == [list(v) if type(v) is tuple else v for v in values]
    assert array.field("places").to_pylist() == list(range(len(values)))


ROWS = {
    "dataclass instances": ([Point(1, "a"), Point(2, "b")], ["x", "label"]),
    "instances with slots": ([Slotted(1, "a"), Slotted(2, "b")], ["x", "y"]),
    "named tuples": ([Row(1, "a"), Row(2, "b")], ["x", "label"]),
    "tuples of different types": ([(1, "a"), (2, "b")], ["0", "1"]),
    "lists of different types": ([[1, "a"], [2, "b"]], ["0", "1"]),
    "one instance": ([Point(1, "a")], ["x", "label"]),
}


@pytest.mark.parametrize("rows, names", ROWS.values(), ids=ROWS)
def test_rows(rows, names):
    array = arrow(rows)
    assert array.type == pa.struct(dict(zip(names, [pa.int64(), pa.string()], strict=True)))
    assert array.to_pylist() == [dict(zip(names, pair, strict=True)) for pair in [(1, "a"), (2, "b")][: len(rows)]]


def test_missing_keys_are_null():
    rows = [{"a": i, "b": str(i)} if i % 3 else {"b": None, "c": [i]} for i in range(50)]
    array = arrow(rows)
    assert [field.name for field in array.type] == ["b", "c", "a"]
    assert array.to_pylist() == [{"b": r["b"], "c": r.get("c"), "a": r.get("a")} for r in rows]


def test_dicts_of_many_shapes_and_of_keys_that_are_no_shape():
    rows = [{f"k{i % 5}": i, f"j{i % 7}": str(i)} for i in range(40)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    array = arrow(rows)
    assert [field.name for field in array.type] == names
    assert array.to_pylist() == [{name: row.get(name) for name in names} for row in rows]
    wide = [{f"c{i}": i + j for i in range(300)} for j in range(3)]
    assert arrow(wide).to_pylist() == wide


def test_arrays():
    array = arrow([np.arange(3), np.arange(4)])
    assert array.type == pa.list_(pa.int64())
    assert array.to_pylist() == [[0, 1, 2], [0, 1, 2, 3]]
    array = arrow([np.full(3, i, "f4") for i in range(20)])
    assert array.type == pa.list_(pa.float32())
    assert array.to_pylist() == [[float(i)] * 3 for i in range(20)]
    for dtype in ("i1", "u1", "i2", "u2", "i4", "u4", "u8", "f2", "f4", "f8", "?", "M8[s]", "M8[ns]", "m8[ms]"):
        values = np.arange(100).astype(dtype)
        array = arrow(values)
        assert array.equals(pa.array(values)), dtype
    assert arrow(np.array(["2024-01-01", "NaT"], "M8[us]")).to_pylist() == [datetime.datetime(2024, 1, 1), None]
    assert arrow(np.array([], "f4")).type == pa.float32()
    assert arrow(np.array(["a", None, "b"], object)).to_pylist() == ["a", None, "b"]
    base = np.arange(1000.0)
    assert arrow([base, base[:]]).to_pylist() == [base.tolist()] * 2


def test_zones_with_changing_offsets():
    before, after = datetime.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN), datetime.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1)
    values = [before, after, START.replace(tzinfo=BERLIN)] + [before + datetime.timedelta(hours=i) for i in range(-50, 3000, 7)]
    array = arrow(values)
    assert array.type == pa.timestamp("us", "Europe/Berlin")
    assert array.equals(pa.array(values, array.type))


def test_exact():
    assert arrow([1, 2, 3], exact=True).type == pa.int8()
    assert arrow([1, 2, 300] * 9, exact=True).type == pa.int16()
    assert arrow([{"a": 1}, {"a": 70000, "b": 1}] * 9, exact=True).type == pa.struct({"a": pa.int32(), "b": pa.int8()})
    for extra in ([], [None]):
        values = (["Rome", "Oslo"] + extra) * 50
        array = arrow(values, exact=True)
        assert array.type == pa.dictionary(pa.uint8(), pa.string())
        assert array.to_pylist() == values


REFUSED = {
    "a number": (5, r"\$: .*no table"),
    "text": ("abc", r"\$: .*no table"),
    "a dict of values": ({"a": 1}, r"\$\.a: .*no column"),
    "uneven columns": ({"a": [1], "b": [1, 2]}, r"\$\.b: .*2 values beside one of 1"),
    "int and str": ([1, "a"], r"\$\[\*\]: .*a mixture of int and str"),
    "int and str, deep": ([{"a": {"b": [1, "x"]}}], r"\$\[\*\]\.a\.b\[\*\]: .*int and str"),
    "list and dict": ([[1], {"a": 1}], r"a mixture of list and dict"),
    "datetimes with and without zone": ([START, START.replace(tzinfo=UTC)], r"no zone and in UTC"),
    "big ints": ([2**70], r"more than 64 bits"),
    "ints that no double holds": ([2**60 + 1, 0.5], r"double does not hold 1152921504606846977"),
    "complex": ([{"z": 1j}], r"\$\[\*\]\.z: .*complex"),
    "NaN": ([decimal.Decimal("NaN")], r"Decimal NaN"),
    "many digits": ([decimal.Decimal(10**30), decimal.Decimal("1E-30")], r"more than 38 digits"),
    "keys": ([{1: 2}], r"other keys than str"),
    "a cycle": ((lambda cycle: cycle.append(cycle) or cycle)([]), r"contains itself"),
    "two dimensions": (np.zeros((2, 2)), r"an array of 2 dimensions"),
    "functions": ([len], r"found by its name"),
    "surrogates": (["\ud800"], r"lone surrogates"),
    "zones of seconds": ([START.replace(tzinfo=datetime.timezone(datetime.timedelta(seconds=1)))], r"whole number of minutes"),
}  # fmt: skip


@pytest.mark.parametrize("obj, text", REFUSED.values(), ids=REFUSED)
def test_what_arrow_cannot_express(obj, text):
    with pytest.raises(fastser.EncodeError, match=text):
        fastser.to_arrow(fastser.dumps(obj))


# --- memory ------------------------------------------------------------------------------------------------------------


def test_columns_are_the_memory_of_the_frame():
    n = 1000
    rows = [{"x": i / 7, "s": f"text {i}", "b": i % 3 == 0, "t": START + datetime.timedelta(i), "d": START.date(), "n": 2**40 + i, "v": [i / 2] * 2}
            for i in range(n)]  # fmt: skip
    frame = fastser.dumps(rows)
    array = pa.array(fastser.to_arrow(frame))
    start = np.frombuffer(frame, "u1").ctypes.data

    def inside(buffer):
        return start <= buffer.address < start + len(frame)

    for name in ("x", "s", "b", "t", "n"):
        assert all(inside(b) for b in array.field(name).buffers() if b is not None), name
    offsets, values = array.field("v").buffers()[1], array.field("v").buffers()[3]
    assert not inside(offsets)
    assert inside(values)
    assert array.to_pylist() == rows


def test_arrays_are_the_memory_that_was_packed():
    x = np.arange(10_000.0)
    array = pa.array(fastser.to_arrow(fastser.pack({"x": x})))
    assert array.field("x").buffers()[1].address == x.ctypes.data


def test_the_frame_lives_as_long_as_its_columns():
    def make():
        return pa.array(fastser.to_arrow(fastser.dumps([{"s": f"text {i}"} for i in range(1000)])))

    array = make()
    make()
    assert array.field("s").to_pylist() == [f"text {i}" for i in range(1000)]


# --- engines -----------------------------------------------------------------------------------------------------------

RECORDS = [{"id": i, "price": i / 4, "name": f"n{i % 10}", "at": START + datetime.timedelta(i), "tags": ["a"] * (i % 3), "opt": None if i % 2 else i}
           for i in range(100)]  # fmt: skip


def test_engines_take_it():
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    table = fastser.to_arrow(fastser.dumps(RECORDS))
    assert pa.table(table).to_pylist() == RECORDS
    assert polars.DataFrame(table).equals(polars.DataFrame(RECORDS))
    assert polars.DataFrame(table).schema == polars.DataFrame(RECORDS).schema
    columns = fastser.to_arrow(fastser.dumps({"id": [1, 2], "x": np.array([0.5, 1.5])}))
    assert duckdb.sql("select sum(id * x) from columns").fetchall() == [(3.5,)]


# --- any records -------------------------------------------------------------------------------------------------------

LEAVES = [
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 200),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.booleans(),
    st.binary(max_size=4),
    st.datetimes(datetime.datetime(1900, 1, 1)),
]


@st.composite
def columns(draw, level=0):
    """A strategy for the values of one column."""
    kind = draw(st.integers(0, len(LEAVES) + (1 if level < 2 else -1)))
    if kind < len(LEAVES):
        values = LEAVES[kind]
    elif kind == len(LEAVES):
        values = st.lists(draw(columns(level + 1)), max_size=3)
    else:
        values = draw(records(level + 1))
    return st.none() | values if draw(st.booleans()) else values


@st.composite
def records(draw, level=0):
    fields = {name: draw(columns(level)) for name in draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=4, unique=True))}
    optional = draw(st.sets(st.sampled_from(sorted(fields)), max_size=len(fields) - 1))
    return st.fixed_dictionaries({n: s for n, s in fields.items() if n not in optional}, optional={n: fields[n] for n in optional})


def bare(value):
    """Without the keys that are None, which cannot be told from those that are missing."""
    if isinstance(value, dict):
        return {k: bare(v) for k, v in value.items() if v is not None}
    return [bare(v) for v in value] if isinstance(value, list) else value


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_records(data):
    rows = data.draw(st.lists(data.draw(records()), min_size=1, max_size=40))
    rows += rows[: data.draw(st.integers(0, len(rows)))] * data.draw(st.integers(0, 3))
    for track_refs in (True, False):
        frame = fastser.dumps(rows, track_refs=track_refs)
        for exact in (True, False):
            array = pa.array(fastser.to_arrow(frame, exact=exact))
            array.validate(full=True)
            assert bare(array.to_pylist()) == bare(rows)

"""Tables without objects: to_arrow and from_arrow, against what pyarrow and Polars make of the objects themselves."""

import collections
import datetime
import decimal
import pathlib
import sys
import uuid
import zoneinfo
from dataclasses import dataclass

import fuzz_loads
import numpy as np
import pytest
from frames import DICT, INDEXED, INT8, LIST, TEXT, build
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastser

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
    "big ints below 0": ([-(2**63) - 1], r"more than 64 bits"),
    "ints of 65 bits": ([2**64], r"more than 64 bits"),
    "uint64 and below 0": ([2**63, -5], r"a mixture of ints beyond 63 bits and -5: expected none below 0"),
    "uint64 and float": ([2**63, 0.5], r"a mixture of int beyond 63 bits and float|a mixture of float and int beyond 63 bits"),
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
    columns = fastser.to_arrow(fastser.dumps({"id": [1, 2], "x": np.array([0.5, 1.5])}))  # noqa: F841 - DuckDB finds it by its name
    assert duckdb.sql("select sum(id * x) from columns").fetchall() == [(3.5,)]


# --- frames from strangers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_frames(seed):
    assert fuzz_loads.run(seed, "tables") is None


def test_the_dict_at_the_root_may_be_one_of_others():
    # No writer takes a single dict out of a run.
    tags = (INDEXED, 2, DICT, 4, TEXT, LIST, 4, INT8, 0)
    frame = build(*tags, i32=[1, 2, 2, 2, 2], text=["a", "b", "c"], i8=range(6))
    assert fastser.loads(frame) == {"a": [0, 1]}
    assert pa.table(fastser.to_arrow(frame)).to_pydict() == {"a": [0, 1]}


def test_nothing_that_a_frame_names_is_imported_or_called(tmp_path, monkeypatch):
    (tmp_path / "trap_of_tables.py").write_text("from collections import namedtuple\nRow = namedtuple('Row', 'x y')\n")
    monkeypatch.syspath_prepend(tmp_path)
    import trap_of_tables

    frame = fastser.dumps([trap_of_tables.Row(1, 2), trap_of_tables.Row(3, 4)])
    assert arrow_types(fastser.to_arrow(frame)) == ["x", "y"]
    monkeypatch.delitem(sys.modules, "trap_of_tables")
    with pytest.raises(fastser.EncodeError, match="trap_of_tables.Row, which is not there: import it first"):
        fastser.to_arrow(frame)
    assert "trap_of_tables" not in sys.modules
    with pytest.raises(fastser.EncodeError, match="an object that its own reducer makes"):
        fastser.to_arrow(fastser.dumps([pathlib.Path("a"), pathlib.Path("b")]))


def arrow_types(table):
    return [field.name for field in pa.array(table).type]


def test_what_is_shared_again_and_again_is_refused():
    shared = [0.5]
    for _ in range(40):
        shared = [shared, shared]
    with pytest.raises(fastser.EncodeError, match="many times the memory of the frame"):
        fastser.to_arrow(fastser.dumps(shared))
    record = {"x": 1}
    for _ in range(40):
        record = {"a": record, "b": record}
    with pytest.raises(fastser.EncodeError, match="many times the memory|more than 64 levels"):
        fastser.to_arrow(fastser.dumps([record]))
    sparse = [{f"key {i}": i} for i in range(3000)]
    with pytest.raises(fastser.EncodeError, match="many times the memory"):
        fastser.to_arrow(fastser.dumps(sparse))


def test_deep_nesting():
    deep = []
    for _ in range(60):
        deep = [deep]
    assert len(pa.array(fastser.to_arrow(fastser.dumps(deep)))) == 1
    for _ in range(100):
        deep = [deep]
    with pytest.raises(fastser.EncodeError, match="more than 64 levels"):
        fastser.to_arrow(fastser.dumps(deep))


def test_frames_that_are_no_frames():
    frame = fastser.dumps([{"a": i} for i in range(10)])
    for cut in range(len(frame)):
        with pytest.raises(fastser.DecodeError):
            fastser.to_arrow(frame[:cut])
    with pytest.raises(fastser.DecodeError, match="column text"):
        fastser.to_arrow(fastser.dumps(["aé"] * 2, track_refs=False).replace("é".encode(), b"\xc3("))


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


# --- the other way -----------------------------------------------------------------------------------------------------


def list_of(table):
    """What from_arrow gives, and loads_many: the same as pyarrow's own objects."""
    packed = fastser.from_arrow(table)
    assert type(packed) is fastser.Packed
    frame = packed.to_bytes()
    back = fastser.loads(frame)
    assert fastser.loads(frame, safe=True) == back
    return back


def types_of(value):
    """The types of a value and of what lies in it."""
    if type(value) is dict:
        return {k: types_of(v) for k, v in value.items()}
    return [types_of(v) for v in value] if type(value) in (list, tuple) else type(value)


def of_type(kind, *values):
    return pa.array([*values, None, values[0]], kind)


NUMBERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()]
TEXTS = [pa.string(), pa.large_string(), pa.string_view()]
BINARIES = [pa.binary(), pa.large_binary(), pa.binary_view()]
ARRAYS = {
    **{str(kind): of_type(kind, 1, 100, 3) for kind in NUMBERS},
    "ints of all widths": pa.array([1, -300, 70_000, 2**62, None]),
    "uint64 beyond int64": of_type(pa.uint64(), 1, 2**63, 2**64 - 1),
    "halves": of_type(pa.float16(), 1.5, 65504.0, -0.0001, 6e-8, float("inf"), 0.0),
    "bool": of_type(pa.bool_(), True, False),
    **{str(kind): of_type(kind, "a", "", "é" * 30) for kind in TEXTS},
    **{str(kind): of_type(kind, b"a", b"", b"\xff" * 30) for kind in BINARIES},
    "binary of one width": of_type(pa.binary(2), b"ab", b"cd"),
    **{str(kind): of_type(kind, decimal.Decimal("1.50"), decimal.Decimal("-0.01"), decimal.Decimal(0))
       for kind in [pa.decimal32(5, 2), pa.decimal64(10, 2), pa.decimal128(20, 3), pa.decimal256(50, 5)]},
    "decimal128 of 38 digits": of_type(pa.decimal128(38, 0), decimal.Decimal(10) ** 37),
    "decimal128 with a negative scale": of_type(pa.decimal128(5, -3), decimal.Decimal("-1E+3")),
    "date32": of_type(pa.date32(), datetime.date(2024, 2, 29), datetime.date(1, 1, 1)),
    "date64": of_type(pa.date64(), datetime.date(2024, 2, 29), datetime.date(1960, 1, 1)),
    "time32[s]": of_type(pa.time32("s"), 3661),
    "time32[ms]": of_type(pa.time32("ms"), 3661),
    "time64[us]": of_type(pa.time64("us"), datetime.time(1, 2, 3, 4)),
    "time64[ns]": of_type(pa.time64("ns"), datetime.time(1, 2, 3, 4)),
    **{f"{kind}": of_type(kind, 1000, -5000) for unit in ("s", "ms", "us") for kind in (pa.timestamp(unit), pa.duration(unit), pa.timestamp(unit, "UTC"),
       pa.timestamp(unit, "-05:30"), pa.timestamp(unit, "Europe/Berlin"))},
    "a change of clocks": pa.array([1729987200 + i * 1800 for i in range(20)] + [None], pa.timestamp("s", "Europe/Berlin")),
    "lists": of_type(pa.list_(pa.int64()), [1, 2], []),
    "large lists": of_type(pa.large_list(pa.string()), ["a", None], []),
    "lists of one width": of_type(pa.list_(pa.int64(), 2), [1, 2], [3, None]),
    "list views": of_type(pa.list_view(pa.int64()), [1, 2], []),
    "lists of structs": of_type(pa.list_(pa.struct({"a": pa.int64()})), [{"a": 1}, None, {"a": None}], []),
    "maps": of_type(pa.map_(pa.string(), pa.int64()), [("a", 1), ("b", None)], []),
    "structs": of_type(pa.struct({"a": pa.int64(), "d": pa.date32()}), {"a": 1, "d": datetime.date(2024, 1, 1)}, {"a": None, "d": None}),
    "structs in structs": of_type(pa.struct({"a": pa.struct({"b": pa.string()})}), {"a": {"b": "x"}}, {"a": None}),
    "structs without fields": of_type(pa.struct([]), {}),
    "dictionary": pa.array(["a", "b", None, "a"]).dictionary_encode(),
    "dictionary of structs": pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 1]), pa.array([{"a": 1}, {"a": 2}, {"a": 3}])),
    "run-end encoded": pa.RunEndEncodedArray.from_arrays(pa.array([2, 5, 7], pa.int32()), pa.array(["x", None, "y"])),
    "sparse union": pa.UnionArray.from_sparse(pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, None]), pa.array(["a", "b", "c"])]),
    "dense union": pa.UnionArray.from_dense(pa.array([0, 1, 0, 2], pa.int8()), pa.array([0, 0, 1, 0], pa.int32()), [pa.array([1, 2]), pa.array(["a"]), pa.array([0.5])]),
    "nulls": pa.nulls(3),
    "many nulls": pa.nulls(100_000, pa.int64()),
    "empty": pa.array([], pa.int64()),
    "UUIDs": pa.uuid().wrap_array(pa.array([b"a" * 16, None], pa.binary(16))),
    "bool8": pa.bool8().wrap_array(pa.array([1, 0, None], pa.int8())),
    "JSON": pa.json_().wrap_array(pa.array(["[1]", None])),
}  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_from_arrow(array):
    for part in (array, array[1:], array[: len(array) // 2], pa.chunked_array([array[:1], array[1:], array])):
        back = list_of(part)
        assert back == part.to_pylist()
        assert types_of(back) == types_of(part.to_pylist())


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_from_arrow_as_a_column(array):
    if len(array) == 0:
        return
    table = pa.table({"before": range(len(array)), "column": array})
    assert list_of(table) == table.to_pylist()
    rows = pa.StructArray.from_arrays([array], ["column"], mask=pa.array([i % 2 == 0 for i in range(len(array))]))
    assert list_of(rows) == rows.to_pylist()
    lists = pa.ListArray.from_arrays([0, 0, len(array) - 1, len(array)], array)
    assert list_of(lists) == lists.to_pylist()


def test_folds_come_back():
    array = ARRAYS["a change of clocks"]
    assert [v.fold for v in list_of(array)[:-1]] == [v.fold for v in array.to_pylist()[:-1]]


def test_from_other_engines():
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    frame = polars.DataFrame(RECORDS)
    assert list_of(frame) == RECORDS
    assert list_of(duckdb.sql("select id, name from frame order by id limit 3")) == [{"id": r["id"], "name": r["name"]} for r in RECORDS[:3]]
    assert list_of(frame["name"].cast(polars.Categorical)) == [r["name"] for r in RECORDS]


@pytest.mark.parametrize("kind, value", [
    (pa.timestamp("ns"), datetime.datetime(1970, 1, 1, 0, 0, 0, 1)),
    (pa.timestamp("ns", "UTC"), datetime.datetime(1970, 1, 1, 0, 0, 0, 1, UTC)),
    (pa.duration("ns"), datetime.timedelta(0, 0, 1)),
    (pa.time64("ns"), datetime.time(0, 0, 0, 1)),
])  # fmt: skip
def test_nanoseconds_are_microseconds_or_an_error(kind, value):
    back = list_of(pa.array([1000, None], kind))
    assert back == [value, None] and type(back[0]) is type(value)
    assert pa.array([1000, None], kind).to_pylist() == back    # whatever the class
    with pytest.raises(fastser.EncodeError, match=r"at \$\[\*\]: a value has nanoseconds, which Python's type for it does not hold"):
        fastser.from_arrow(pa.array([1001], kind))


def test_zones_that_come_back():
    for kind, zone in (("UTC", UTC), ("Etc/UTC", zoneinfo.ZoneInfo("Etc/UTC")), ("+05:30", datetime.timezone(datetime.timedelta(hours=5, minutes=30)))):
        back = list_of(pa.array([1000], pa.timestamp("us", kind)))[0].tzinfo
        assert back == zone and type(back) is type(zone)
        if kind != "UTC":
            assert pa.array([1000], pa.timestamp("us", kind)).to_pylist()[0].tzinfo == zone
    assert list_of(pa.array([1000], pa.timestamp("us", "UTC")))[0].tzinfo is UTC


DELTAS = [datetime.timedelta(400, 3), datetime.timedelta(microseconds=-1), None, datetime.timedelta(-40, 0, 7), datetime.timedelta(0)]


def test_intervals_without_months_are_timedeltas():
    array = pa.array([(0, 3, 4000), (0, -1, -(10**12)), None, (0, 0, 0), (0, 10**8, 9 * 10**18)], pa.month_day_nano_interval())
    values = [value and datetime.timedelta(days=value.days) + datetime.timedelta(microseconds=value.nanoseconds // 1000) for value in array.to_pylist()]
    for part, expected in ((array, values), (array[2:], values[2:]), (pa.chunked_array([array[:2], array[3:]]), values[:2] + values[3:])):
        back = list_of(part)
        assert back == expected and types_of(back) == types_of(expected)
    assert list_of(pa.table({"a": array})) == [{"a": value} for value in values]
    # Behind a null anything may lie.
    hidden = pa.Array.from_buffers(array.type, 2, [pa.py_buffer(b"\x02"), array.buffers()[1]])
    months = pa.Array.from_buffers(array.type, 2, [pa.py_buffer(b"\x02"), pa.array([(5, 0, 0), (0, 1, 0)], array.type).buffers()[1]])
    assert list_of(hidden) == [None, values[1]] and list_of(months) == [None, datetime.timedelta(1)]


def test_intervals_of_days_and_milliseconds():
    numbers = np.array([[3, 4], [-1, -86_400_001], [0, 0]], "i4")
    data = fastser.ArrowData.from_parts(("array", ("tiD", "", None, 2, (), None), ((3, 0, 0, (0, 1), (), None),)), [numbers])
    expected = [datetime.timedelta(days=int(days), milliseconds=int(rest)) for days, rest in numbers]
    assert fastser.loads(fastser.from_arrow(data)) == expected
    months = fastser.ArrowData.from_parts(("array", ("tiM", "", None, 2, (), None), ((3, 0, 0, (0, 1), (), None),)), [numbers])
    with pytest.raises(fastser.EncodeError, match=r"'tiM' at \$\[\*\]: a value is an interval of months"):
        fastser.from_arrow(months)


def test_timedeltas_through_duckdb():
    duckdb = pytest.importorskip("duckdb")
    source = pa.table(pa.array(fastser.to_arrow(fastser.dumps([{"a": value} for value in DELTAS]))).flatten(), ["a"])
    found = duckdb.from_arrow(source)
    assert [row["a"] for row in list_of(found)] == [row[0] for row in found.fetchall()] == DELTAS
    apart = duckdb.sql("select timestamp '2024-03-01 12:00:00' - timestamp '2023-01-01' as a")
    assert list_of(apart) == [{"a": datetime.timedelta(425, 43200)}] == [{"a": apart.fetchall()[0][0]}]


BIG = [[1, 2**63], [2**64 - 1], [0, None, 2**63, 300, 2**40], [2**63] * 5 + [127]]


@pytest.mark.parametrize("values", BIG)
def test_uint64_beyond_2_63_goes_there_and_back(values):
    array = arrow(values)
    assert array.equals(pa.array(values, pa.uint64()))
    assert arrow(values, exact=True).equals(array)
    assert list_of(array) == values
    records = arrow([{"a": value, "b": [value]} for value in values])
    assert records.to_pylist() == [{"a": value, "b": [value]} for value in values]
    assert records.field("a").type == records.field("b").type.value_type == pa.uint64()
    assert fastser.loads(fastser.from_arrow(records)) == records.to_pylist()
    again = pa.array(fastser.to_arrow(fastser.from_arrow(array)))
    assert again.equals(array)


def test_texts_and_dates_of_numpy():
    """As pyarrow takes them."""
    for values in (
        np.array(["a", "é\U0001f600", "", "long" * 20]),
        np.array(["2024-01-01", "1960-02-03", "NaT"], "M8[D]"),
        np.array(["NaT"], "M8[D]"),
        np.array([], "U5"),
    ):
        expected = pa.array(values)
        assert arrow(values).equals(expected)
        assert arrow({"a": values}).field("a").equals(expected)
        nested = arrow([values, values[:1], None])
        assert nested.type == pa.list_(expected.type)
        assert nested.to_pylist() == [expected.to_pylist(), expected[:1].to_pylist(), None]
        assert arrow([values, values]).to_pylist() == [expected.to_pylist()] * 2
        assert arrow(list(values)).to_pylist() == expected.to_pylist()
    assert arrow([np.str_("a"), "b", None, np.str_("long")]).equals(pa.array(["a", "b", None, "long"]))
    shared = np.array(["abc", "d", "ef"])
    assert arrow([shared, shared[1:]]).to_pylist() == [["abc", "d", "ef"], ["d", "ef"]]
    dates = np.array(["2024-01-01", "2024-01-02"], "M8[D]")
    assert arrow([dates, dates[1:]]).to_pylist() == [dates.tolist(), dates[1:].tolist()]
    with pytest.raises(fastser.EncodeError, match="lone surrogates"):
        arrow(np.array(["\ud800"]))
    with pytest.raises(fastser.EncodeError, match="beyond 32 bits of days"):
        arrow(np.array([2**40], "M8[D]"))


def test_bytes_of_numpy():
    """As pyarrow takes them: without the zeros at the end."""
    for values in (np.array([b"a", b"bc", b""]), np.array([], "S3"), np.array([b"\xff" * 40] * 100)):
        expected = pa.array(values)
        assert expected.type == pa.binary()
        assert arrow(values).equals(expected)
        assert arrow({"a": values}).field("a").equals(expected)
        nested = arrow([values, values[:1], None])
        assert nested.type == pa.list_(pa.binary())
        assert nested.to_pylist() == [expected.to_pylist(), expected[:1].to_pylist(), None]
    scalars = [np.bytes_(b"ab"), b"c", None, np.bytes_(b""), np.bytes_(b"ab")]
    assert arrow(scalars).equals(pa.array(scalars))
    shared = np.array([b"abc", b"d", b"ef"])
    assert arrow([shared, shared[1:]]).to_pylist() == [[b"abc", b"d", b"ef"], [b"d", b"ef"]]


def test_what_differs_from_pyarrow_on_purpose():
    """Where pyarrow drops a part of the values: docs/arrow.md tells."""
    rows = [Row(1, 2), Row(3, 4)]
    assert pa.array(rows).to_pylist() == [[1, 2], [3, 4]]
    assert arrow(rows).to_pylist() == [{"x": 1, "label": 2}, {"x": 3, "label": 4}]
    holes = np.array([b"a\0b", b"c"])
    assert arrow(holes).to_pylist() == holes.tolist() == [b"a\0b", b"c"]
    zoned, mixed = [datetime.time(1, tzinfo=UTC)], [datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1, 5)]
    for values, text in ((zoned, "times of day with a time zone"), (mixed, "a mixture of date and datetime")):
        with pytest.raises(fastser.EncodeError, match=text):
            fastser.to_arrow(fastser.dumps(values))
    for code in ("M8[10s]", "m8[10s]"):
        times = np.array([6], code)
        for values in (times, list(times)):
            with pytest.raises(fastser.EncodeError, match=r"elements of dtype \w+\[10s\]"):
                fastser.to_arrow(fastser.dumps(values))


def test_nan_among_text_is_null_when_asked_for():
    nan = float("nan")
    start = datetime.date(2024, 1, 1)
    for values in (["a", nan, "b"], [nan, "x", None] * 10, [start, nan], [nan, b"ab"], [["a"], nan], ["Rome", nan, "Oslo"] * 50, [True, nan]):
        frame = fastser.dumps(values)
        with pytest.raises(fastser.EncodeError, match="a mixture of .*float"):
            fastser.to_arrow(frame)
        array = pa.array(fastser.to_arrow(frame, nan_is_null=True))
        array.validate(full=True)
        assert array.equals(pa.array([None if value is nan else value for value in values]))
        records = pa.array(fastser.to_arrow(fastser.dumps([{"t": value, "n": nan} for value in values]), nan_is_null=True))
        assert records.field("t").equals(array)
        assert np.isnan(records.field("n").to_numpy()).all()    # a number
    with pytest.raises(fastser.EncodeError, match="a mixture of str and float"):
        fastser.to_arrow(fastser.dumps(["a", nan, 1.5]), nan_is_null=True)
    numbers = pa.array(fastser.to_arrow(fastser.dumps([1, nan]), nan_is_null=True))
    assert numbers.type == pa.float64() and numbers.null_count == 0


def test_there_and_back():
    frame = fastser.dumps(RECORDS)
    assert fastser.loads(fastser.from_arrow(fastser.to_arrow(frame))) == RECORDS
    assert fastser.loads(fastser.from_arrow(fastser.to_arrow(frame, exact=True))) == RECORDS
    assert pa.array(fastser.to_arrow(fastser.from_arrow(pa.table(pa.array(fastser.to_arrow(frame)).flatten(), list(RECORDS[0]))))).to_pylist() == RECORDS


@pytest.mark.parametrize("array, text", [
    (pa.array([1], pa.timestamp("ns")), r"'tsn:' at \$\[\*\]: a value has nanoseconds"),
    (pa.array([10**7], pa.date32()), r"'tdD' at \$\[\*\]: a value lies beyond"),
    (pa.array([10**15], pa.duration("s")), r"lies beyond"),
    (pa.table({"a": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}), r"'tin' at \$\[\*\]\.a: a value is an interval of months"),
    (pa.array([(0, 0, 1000), (0, 2, 3)], pa.month_day_nano_interval()), r"'tin' at \$\[\*\]: a value has nanoseconds"),
    (pa.array([(0, 2**31 - 1, 0)], pa.month_day_nano_interval()), r"'tin' at \$\[\*\]: a value lies beyond"),
    (pa.table([[1], [2]], ["a", "a"]), r"two fields have the name 'a'"),
    (pa.table([[1]] * 300, [str(i) for i in range(300)]), r"at most 256 fields"),
    (pa.array([1], pa.timestamp("us", "Nowhere/Town")), r"Nowhere/Town"),
])  # fmt: skip
def test_what_python_cannot_hold(array, text):
    with pytest.raises(fastser.EncodeError, match=text):
        fastser.from_arrow(array)


def test_no_producer():
    with pytest.raises(TypeError, match="__arrow_c_array__"):
        fastser.from_arrow([1, 2])
    with pytest.raises(TypeError, match="expected a bytes-like object"):
        fastser.to_arrow([1, 2])

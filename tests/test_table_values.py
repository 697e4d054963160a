"""to_arrow of enums, of subclasses of Python's types, of pandas' and NumPy's scalars, and of mixtures, against pyarrow."""

import collections
import datetime
import decimal
import enum
import subprocess
import sys
import zoneinfo

import numpy as np
import pytest

import fastser

pa = pytest.importorskip("pyarrow")

Decimal = decimal.Decimal
UTC = datetime.timezone.utc
START = datetime.datetime(2024, 1, 2, 3, 4, 5, 678)


class Color(str, enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Odd(int, enum.Enum):
    """The value is another one than that of the int."""

    def __new__(cls, value, number):
        self = int.__new__(cls, number)
        self._value_ = value
        return self

    ONE = ("one", 1)
    MANY = ("many", 70000)


class Ratio(float, enum.Enum):
    HALF = 0.5


class Raw(bytes, enum.Enum):
    A = b"a\0"


class Mode(enum.IntFlag):
    READ = 1
    WRITE = 2


class Plain(enum.Enum):
    A = 1


class Text(str):
    pass


class Slotted(str):
    __slots__ = ()


class Noted(str):
    def __init__(self, text):
        self.note = {"length": len(text)}


class Upper(str):
    def __new__(cls, text):
        return super().__new__(cls, text.upper())


class Number(int):
    pass


class Real(float):
    pass


class Data(bytes):
    pass


class Date(datetime.date):
    pass


class Moment(datetime.datetime):
    pass


class Clock(datetime.time):
    pass


class Span(datetime.timedelta):
    pass


class Money(Decimal):
    pass


class Items(list):
    pass


class Pair(tuple):
    pass


class Record(dict):
    pass


class Own(int):
    def __reduce__(self):
        return Own, (int(self) + 1,)


def counted(**items):
    made = collections.defaultdict(int)
    made.update(items)
    return made


if sys.version_info >= (3, 11):

    class Name(enum.StrEnum):
        A = "a"

    NAMES = {"StrEnum": [Name.A, None, "b", Name.A]}
else:
    NAMES = {}

# As pa.array takes them, type and values.
SAME = {
    **NAMES,
    "an enum of str": [Color.RED, Color.BLUE, None, Color.RED],
    "an enum of str, str": [Color.RED, "green"],
    "IntEnum": [Level.LOW, Level.HIGH, None],
    "IntEnum, int": [Level.LOW, 5, 2**40],
    "IntEnum, float": [Level.LOW, 5.5],
    "an enum of int with other values": [Odd.ONE, Odd.MANY],
    "an enum of float": [Ratio.HALF, 1.0],
    "an enum of bytes": [Raw.A, b"b"],
    "IntFlag": [Mode.READ, Mode.READ | Mode.WRITE, Mode(0)],
    "two enums": [Color.RED, Text("x"), "y"],
    "str": [Text("a"), Text("é"), None, Text("")],
    "str, plain": [Text("a"), "b"],
    "str with slots": [Slotted("a")],
    "str with attributes": [Noted("abc"), Noted("d")],
    "str changed by __new__": [Upper("a"), Upper("b")],
    "int": [Number(1), Number(-70000), None, Number(2**62)],
    "int, plain": [Number(1), 2],
    "int, float": [Number(1), 2.5],
    "float": [Real(0.5), 1.5],
    "bytes": [Data(b"a"), b"", None],
    "date": [Date(2024, 1, 2), Date(1, 1, 1), None, Date(1960, 12, 31)],
    "date, plain": [Date(2024, 1, 2), datetime.date(2024, 1, 3)],
    "datetime": [Moment(2024, 1, 2, 3, 4, 5, 6), None, Moment(1, 1, 1), Moment(9999, 12, 31, 23, 59, 59, 999999)],
    "datetime, plain": [Moment(2024, 1, 2), START],
    "datetime in UTC": [Moment(2024, 1, 2, tzinfo=UTC), START.replace(tzinfo=UTC)],
    "time": [Clock(1, 2, 3, 4), Clock(23, 59, 59, 999999)],
    "timedelta": [Span(1, 2, 3), Span(-1, 0, 5), None],
    "list": [Items([1, 2]), Items(), None, [3]],
    "tuple": [Pair((1, 2)), Pair()],
    "dict": [Record(a=1), Record(a=2), None, {"a": 3}],
    "dict, other keys": [Record(a=1), Record(b="x"), Record()],
    "OrderedDict": [collections.OrderedDict(a=1, b="x"), collections.OrderedDict(a=2, b="y")],
    "OrderedDict, empty": [collections.OrderedDict(), collections.OrderedDict(a=1)],
    "defaultdict": [counted(a=1), counted(a=2, b=3)],
    "Counter": [collections.Counter("aab"), collections.Counter("b")],
    "within": [{"a": Record(x=Text("t"), y=[Level.LOW])}, collections.OrderedDict(a=Record(x="u", y=Items([Number(7)])))],
    "NumPy's int, int": [np.int32(1), 2, None],
    "NumPy's ints": [np.int8(1), np.int16(-300), np.int32(70000)],
    "NumPy's unsigned ints": [np.uint16(65535), np.uint8(255)],
    "NumPy's int, 64 bits": [np.int32(1), np.int64(2**40)],
    "NumPy's unsigned int, int": [np.uint32(2**32 - 1), -1],
    "NumPy's int, float": [np.int8(1), 2.5],
    "NumPy's float, float": [np.float32(0.1), 2.5, None],
    "NumPy's float, int": [np.float32(1.5), 2],
    "NumPy's floats": [np.float16(1.5), 1.0],
    "NumPy's int, 64 bits of float": [np.int32(1), np.float64(2.5)],
    "NumPy's str, str": [np.str_("a"), "b", Text("c")],
    "datetime, NumPy's": [START, np.datetime64("2024-01-01T00:00:00.000001")],
    "timedelta, NumPy's": [datetime.timedelta(1), np.timedelta64(1, "us")],
    "masked ints": np.ma.array([1, 2, 3], mask=[0, 1, 0]),
    "masked floats": np.ma.array([1.0, 2.0, 3.0], mask=[1, 1, 0]),
    "masked small ints": np.ma.array(np.array([1, 2], "i2"), mask=[0, 1]),
    "masked bools": np.ma.array([True, False, True], mask=[0, 0, 1]),
    "masked times": np.ma.array(np.array(["2024", "2025", "2026"], "M8[s]"), mask=[0, 1, 0]),
    "masked text": np.ma.array(["a", "bc"], mask=[0, 1]),
    "masked, nothing": np.ma.array([1, 2, 3]),
    "masked, all": np.ma.array([1.5, 2.5], mask=True),
    "masked, empty": np.ma.array(np.array([], "f8")),
    "masked, many": np.ma.array(np.arange(1000.0), mask=np.arange(1000) % 3 == 0),
}


def arrow(obj, **options):
    """What to_arrow makes of the frame and of the Packed of an object, which is the same."""
    array = pa.array(fastser.to_arrow(fastser.dumps(obj, **options)))
    array.validate(full=True)
    assert pa.array(fastser.to_arrow(fastser.pack(obj, **options))).equals(array)
    return array


@pytest.mark.parametrize("track_refs", [True, False])
@pytest.mark.parametrize("values", SAME.values(), ids=SAME)
def test_as_pyarrow_takes_them(values, track_refs):
    expected = pa.array(values)
    array = arrow(values, track_refs=track_refs)
    assert array.type == expected.type and array.equals(expected)
    assert arrow({"a": values}, track_refs=track_refs).field("a").equals(expected)
    if isinstance(values, list):
        records = [{"id": i, "value": value} for i, value in enumerate(values)]
        table = pa.table(arrow(records, track_refs=track_refs).flatten(), ["id", "value"])
        assert table.equals(pa.Table.from_pylist(records))
        # Many of them.
        assert arrow(values * 50, track_refs=track_refs).equals(pa.array(values * 50))


@pytest.mark.parametrize("values", [
    [Money("1.5"), Money("-2.25"), None], [Money("1.5"), Decimal("1000")], [Decimal("1.5"), 1, Number(-7)], [Decimal("12"), 3, Decimal("0.25")],
], ids=str)  # fmt: skip
def test_decimals(values):
    """Of 38 digits, whatever the values; pyarrow's have as many as these need."""
    array, expected = arrow(values), pa.array(values)
    assert array.type == pa.decimal128(38, expected.type.scale)
    assert array.to_pylist() == expected.to_pylist()


def test_zones_of_subclasses():
    zone = datetime.timezone(datetime.timedelta(hours=-3))
    array = arrow([Moment(2024, 1, 2, tzinfo=zone), Moment(2024, 1, 2, 5, tzinfo=zone)])
    assert array.type == pa.timestamp("us", "-03:00")
    assert array.cast(pa.timestamp("us")).to_pylist() == [datetime.datetime(2024, 1, 2, 3), datetime.datetime(2024, 1, 2, 8)]
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    folded = [Moment(2024, 10, 27, 2, 30, tzinfo=berlin), Moment(2024, 10, 27, 2, 30, tzinfo=berlin, fold=1), Moment(2024, 7, 1, tzinfo=berlin)]
    assert arrow(folded).equals(pa.array(folded))


def test_what_differs_on_purpose():
    """Where pyarrow drops a part, is of two minds, or lets values of one type pass for those of another: docs/arrow.md tells."""
    masked = np.ma.array([1, 2], mask=[0, 1])
    assert pa.array([masked]).to_pylist() == [[1, 2]]
    assert arrow([masked, masked, None]).to_pylist() == [[1, None], [1, None], None]
    nat = np.datetime64("NaT")
    assert arrow([np.datetime64("2024-01-01T00:00:00"), nat]).equals(pa.array([datetime.datetime(2024, 1, 1), None], pa.timestamp("s")))
    assert arrow(["a", nat]).equals(pa.array(["a", None])) and arrow([nat]).type == pa.null()
    assert arrow([np.datetime64("2024-01-01"), datetime.date(2024, 1, 2)]).equals(pa.array([datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)]))
    assert arrow([np.float16(1), np.float32(2)]).equals(pa.array([1.0, 2.0]))
    both = [np.datetime64("2024-01-01T00:00:00.000001"), START]
    assert arrow(both).to_pylist() == [datetime.datetime(2024, 1, 1, 0, 0, 0, 1), START]


REFUSED = {
    "plain enum": ([{"a": Plain.A}], r"\$\[\*\]\.a: it is a member of the enum test_table_values\.Plain, which is neither a str, an int"),
    "own reducer": ([Own(1)], r"its own reducer makes, by test_table_values\.Own"),
    "object": ([{"a": [object()]}], r"\$\[\*\]\.a\[\*\]: it is an object that its own reducer makes, by builtins\.object"),
    "bool, int": ([True, 1], "a mixture of bool and int"),
    "float, bool": ([1.5, True], "a mixture of float and bool"),
    "str, bytes": (["a", b"b"], "a mixture of str and bytes"),
    "Decimal, float": ([Decimal("1.5"), 0.5], "a mixture of Decimal and float"),
    "units": ([np.datetime64("2024-01-01T00:00", "s"), np.datetime64("2024-01-01T00:00", "ms")], "a mixture of NumPy's 'tss:' and NumPy's 'tsm:'"),
    "signs": ([np.uint8(1), np.int8(-1)], "a mixture of NumPy's 'C' and NumPy's 'c'"),
    "enum, str": ([Level.LOW, "a"], "a mixture of int and str"),
    "deque": ([collections.deque([1])], r"its own reducer makes, by collections\.deque"),
    "functions": ([len], r"found by its name \(builtins\.len\)"),
    "masked, 2 dimensions": ({"a": np.ma.array([[1]], mask=[[0]])}, r"\$\.a: it is an array of 2 dimensions"),
}


@pytest.mark.parametrize("values, text", REFUSED.values(), ids=REFUSED)
def test_what_cannot_go(values, text):
    with pytest.raises(fastser.EncodeError, match=text):
        fastser.to_arrow(fastser.dumps(values))


def test_classes_of_a_main_program(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import fastser\nclass Text(str): pass\ntry: fastser.to_arrow(fastser.dumps([Text('a')]))\nexcept fastser.EncodeError as e: print(e)\n")
    found = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True)
    assert "whose class goes by value" in found.stdout


def test_nothing_is_imported(tmp_path, monkeypatch):
    """A class that is not there is refused, not looked for; pandas' times need no pandas."""
    (tmp_path / "elsewhere_of_tables.py").write_text("class Text(str): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("elsewhere_of_tables")
    frame = fastser.dumps([module.Text("a")])
    assert pa.array(fastser.to_arrow(frame)).to_pylist() == ["a"]
    monkeypatch.delitem(sys.modules, "elsewhere_of_tables")
    with pytest.raises(fastser.EncodeError, match=r"an object of elsewhere_of_tables\.Text, which is not there: import it first"):
        fastser.to_arrow(frame)
    assert "elsewhere_of_tables" not in sys.modules


@pytest.mark.parametrize("name", ["IntEnum", "date", "datetime in UTC", "dict, other keys", "defaultdict", "masked ints", "str with attributes"])
def test_damaged_frames(name):
    frame = fastser.dumps(SAME[name])
    for i in range(len(frame)):
        for bit in (1, 4, 128):
            broken = bytearray(frame)
            broken[i] ^= bit
            try:
                pa.array(fastser.to_arrow(bytes(broken))).validate(full=True)
            except (fastser.EncodeError, fastser.DecodeError, fastser.DepthError):
                pass


# --- pandas ---------------------------------------------------------------------------------------------------------------

pd = pytest.importorskip("pandas")

# As pa.array(..., from_pandas=True) takes them.
OF_PANDAS = {
    "Timestamps": [pd.Timestamp(START), pd.Timestamp("2025-01-02"), None],
    "Timestamps of units": [pd.Timestamp(START).as_unit("s"), pd.Timestamp(START).as_unit("ms"), pd.Timestamp(START).as_unit("ns")],
    "Timestamps, NaT": [pd.Timestamp(START), pd.NaT, None],
    "Timestamps in a zone": [pd.Timestamp(START, tz=UTC), pd.NaT, pd.Timestamp("2024-07-02", tz=UTC)],
    "Timestamps, datetime": [pd.Timestamp(START), START, Moment(2024, 1, 1)],
    "datetime, NaT": [START, pd.NaT],
    "Timedeltas": [pd.Timedelta(days=1, microseconds=5), pd.NaT, pd.Timedelta(-1, "h"), datetime.timedelta(3)],
    "NA": [1, pd.NA, 3],
    "NA, str": ["a", pd.NA, None],
    "NaT, int": [1, pd.NaT],
    "NaT, NA": [pd.NaT, pd.NA],
    "NA, list": [[1], pd.NA, [pd.NA]],
}


@pytest.mark.parametrize("track_refs", [True, False])
@pytest.mark.parametrize("values", OF_PANDAS.values(), ids=OF_PANDAS)
def test_scalars_of_pandas(values, track_refs):
    expected = pa.array(values, from_pandas=True)
    array = arrow(values, track_refs=track_refs)
    assert array.type == expected.type and array.equals(expected)
    records = [{"id": i, "value": value} for i, value in enumerate(values)] * 20
    assert arrow(records, track_refs=track_refs).field("value").equals(pa.array(values * 20, from_pandas=True))


def test_a_named_zone_of_pandas():
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    values = [pd.Timestamp(START, tz=berlin), pd.Timestamp("2024-07-02", tz=berlin), pd.NaT]
    assert arrow(values).equals(pa.array(values, from_pandas=True))


def test_nanoseconds_of_pandas():
    """pyarrow drops them from lists; here they make the column one of nanoseconds, as pandas' own column is."""
    values = [pd.Timestamp("2024-01-02 03:04:05.123456789"), pd.Timestamp(START), None]
    assert pa.array(values).type == pa.timestamp("us")
    expected = pa.array(pd.Series(values, dtype="datetime64[ns]"))
    assert arrow(values).equals(expected)
    assert arrow([values[0], START, None]).equals(expected)
    assert arrow([values[0].tz_localize("UTC")]).equals(pa.array([values[0].tz_localize("UTC").value], pa.timestamp("ns", "UTC")))
    spans = [pd.Timedelta(5, "ns"), datetime.timedelta(1), None]
    assert arrow(spans).equals(pa.array([5, 86400 * 10**9, None], pa.duration("ns")))
    for far in (datetime.datetime(9999, 1, 1), pd.Timestamp("3000-01-01").as_unit("s") if hasattr(pd.Timestamp, "as_unit") else None):
        with pytest.raises(fastser.EncodeError, match=r"\$\[\*\]: it is a time .*64 bits of nanoseconds"):
            arrow([values[0], far])


def test_what_pandas_has_and_arrow_has_not():
    with pytest.raises(fastser.EncodeError, match=r"\$\[\*\]\.a: it is an object that its own reducer makes, by pandas.*Period"):
        fastser.to_arrow(fastser.dumps([{"a": pd.Period("2024-01", "M")}]))


def test_pandas_is_not_imported():
    frame = fastser.dumps([pd.Timestamp(START), pd.NaT])
    program = (
        "import sys, fastser, pyarrow as pa\n"
        f"print(pa.array(fastser.to_arrow({frame!r})).cast('int64').to_pylist(), 'pandas' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == f"{pa.array([START, None]).cast('int64').to_pylist()} False"

"""pandas: frames, series and indexes of every kind of column; which memory goes by reference, and what may be written to."""

import datetime
import decimal
import pickle

import numpy as np
import pytest

import fastser

pd = pytest.importorskip("pandas")

from pandas import testing  # noqa: E402

PANDAS_3 = int(pd.__version__.split(".")[0]) >= 3


def has_pyarrow():
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.fixture(params=["in place", "copy on write"] if not PANDAS_3 else ["copy on write"])
def mode(request):
    """How pandas writes: before 3.0 in place, unless it is told otherwise."""
    if PANDAS_3:
        yield request.param
        return
    with pd.option_context("mode.copy_on_write", request.param == "copy on write"):
        yield request.param


def again(obj, **options):
    return fastser.loads(fastser.dumps(obj, **options))


def span(buffer):
    """The addresses that a buffer covers."""
    start = np.frombuffer(buffer, np.uint8).ctypes.data
    return range(start, start + memoryview(buffer).nbytes)


def address(array):
    return array.__array_interface__["data"][0]


def same(expected, found):
    """As pandas compares, all that it would pass over included; always True, so that ``assert`` can be written."""
    assert type(found) is type(expected)
    if isinstance(expected, pd.DataFrame):
        testing.assert_frame_equal(expected, found, check_exact=True, check_flags=True, check_freq=True)
        assert found.attrs == expected.attrs
        assert all(same_values(expected.iloc[:, i].array, found.iloc[:, i].array) for i in range(expected.shape[1]))
    elif isinstance(expected, pd.Series):
        testing.assert_series_equal(expected, found, check_exact=True, check_flags=True, check_freq=True)
        assert found.attrs == expected.attrs
        assert same_values(expected.array, found.array)
    elif isinstance(expected, pd.Index):
        testing.assert_index_equal(expected, found, exact=True)
        assert getattr(found, "freq", None) == getattr(expected, "freq", None)
    else:
        testing.assert_extension_array_equal(expected, found, check_exact=True)
        assert same_values(expected, found)
    return True


def same_values(expected, found):
    assert type(found) is type(expected)
    assert found.dtype == expected.dtype
    if expected.dtype == object:
        assert list(map(type, found)) == list(map(type, expected))
    return True


# --- values ------------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(83)
N = 40
STAMPS = pd.date_range("2024-01-01", periods=N, freq="h")

COLUMNS = {
    "int64": np.arange(N),
    "uint8": np.arange(N, dtype=np.uint8),
    "float32": RNG.random(N, np.float32),
    "bool": np.arange(N) % 3 == 0,
    "complex": RNG.random(N) + 1j,
    "datetime": STAMPS,
    "datetime in seconds": STAMPS.as_unit("s"),
    "datetime with zone": STAMPS.tz_localize("Europe/Berlin", ambiguous="NaT", nonexistent="NaT"),
    "datetime in UTC": STAMPS.tz_localize("UTC"),
    "timedelta": pd.to_timedelta(np.arange(N), unit="min"),
    "period": pd.period_range("2024", periods=N, freq="M"),
    "interval": pd.interval_range(0, N, periods=N, closed="left"),
    "categorical": pd.Categorical(["a", "b", None, "c"] * (N // 4), categories=["c", "b", "a"], ordered=True),
    "categorical of ints": pd.Categorical([3, 1] * (N // 2)),
    "Int64": pd.array([1, None] * (N // 2), dtype="Int64"),
    "UInt16": pd.array([1, None] * (N // 2), dtype="UInt16"),
    "Float64": pd.array([1.5, None] * (N // 2), dtype="Float64"),
    "boolean": pd.array([True, None, False, True] * (N // 4), dtype="boolean"),
    "string of objects": pd.array(["text", None] * (N // 2), dtype="string[python]"),
    "sparse": pd.arrays.SparseArray([0.0, 0, 0, 2.5] * (N // 4), fill_value=0.0),
    "sparse ints": pd.arrays.SparseArray([7, 7, 7, 2] * (N // 4), fill_value=7),
    "objects": np.array(["text", None, 1.5, 3] * (N // 4), object),
    "text as objects": np.array([f"text {i}" for i in range(N)], object),
    "text with gaps": np.array(["text", None, float("nan"), pd.NA] * (N // 4), object),
    "decimals": np.array([decimal.Decimal(i) / 4 for i in range(N)], object),
    "dates": np.array([datetime.date(2024, 1, 1 + i % 28) for i in range(N)], object),
    "lists": np.array([[i] * (i % 3) for i in range(N)], object),
    "NaT": np.array([pd.NaT, pd.Timestamp("2024", tz="UTC")] * (N // 2), object),
}
if has_pyarrow():
    import pyarrow as pa

    COLUMNS |= {
        "string": pd.array(["text", None] * (N // 2), dtype="string"),
        "string of Arrow": pd.array(["text", None] * (N // 2), dtype="string[pyarrow]"),
        "Arrow ints": pd.array([1, None] * (N // 2), dtype=pd.ArrowDtype(pa.int32())),
        "Arrow text": pd.array(["text", None] * (N // 2), dtype=pd.ArrowDtype(pa.string())),
        "Arrow timestamps": pd.array([datetime.datetime(2024, 1, 1), None] * (N // 2), dtype=pd.ArrowDtype(pa.timestamp("us", "UTC"))),
        "Arrow lists": pd.array([[1, 2], None, [], [3]] * (N // 4), dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
        "Arrow structs": pd.array(
            [{"a": 1, "b": "x"}, None] * (N // 2), dtype=pd.ArrowDtype(pa.struct({"a": pa.int8(), "b": pa.string()}))
        ),
        "Arrow dictionary": pd.array(["a", "b", None, "a"] * (N // 4), dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
    }
    if PANDAS_3:
        COLUMNS["str"] = pd.array(["text", float("nan")] * (N // 2), dtype="str")

SOURCES = {"bytes": bytes, "bytearray": bytearray}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS)
def test_every_kind_of_column(values, source):
    series = pd.Series(values, name="x", index=pd.Index(range(5, N + 5), name="key"))
    for data in (
        series,
        series.iloc[3:30:4],
        series.to_frame(),
        pd.DataFrame({"a": series, "b": 1, "c": series}),
        series.array,
        series.iloc[:0],
    ):
        assert same(data, fastser.loads(source(fastser.dumps(data))))
    assert same(series, again(series, track_refs=False))
    if not isinstance(values[2], list):
        index = pd.Index(values, name="k")
        assert same(index, fastser.loads(source(fastser.dumps(index))))


def everything():
    frame = pd.DataFrame({name: values for name, values in COLUMNS.items()})
    frame.attrs = {"source": "sensor", "scale": np.float32(2.5)}
    return frame


def test_a_frame_of_all_of_them():
    frame = everything()
    assert same(frame, again(frame))
    assert same(frame, fastser.loads(fastser.pack(frame)))
    assert same(frame.T, again(frame.T))


@pytest.mark.parametrize(
    "index",
    [
        pd.MultiIndex.from_product([["a", "b"], range(3), pd.to_datetime(["2024", "2025"])], names=["letter", None, "year"]),
        pd.MultiIndex.from_tuples([("a", 1), ("a", 2), (None, 3)], names=[("nested", "name"), "n"]),
        pd.RangeIndex(3, 30, 4, name="r"),
        pd.date_range("2024-03-29", periods=5, freq="B", name="days"),
        pd.date_range("2024-03-29", periods=5, freq="h", tz="America/New_York"),
        pd.timedelta_range("1h", periods=4, freq="90min"),
        pd.period_range("2024Q1", periods=4, freq="Q-NOV"),
        pd.IntervalIndex.from_breaks([0, 1.5, 4], closed="both"),
        pd.CategoricalIndex(["a", "b", "a"], ordered=True),
        pd.Index([1, "a", None, (2, 3)], dtype=object),
        pd.Index([], dtype="float32"),
        pd.Index([True, False]),
    ],
    ids=lambda index: type(index).__name__,
)  # fmt: skip
def test_indexes(index):
    assert same(index, again(index))
    frame = pd.DataFrame({"x": np.arange(len(index)), "y": "text"}, index=index)
    assert same(frame, again(frame))
    assert same(frame.T, again(frame.T))


def test_names_attributes_and_flags():
    frame = pd.DataFrame([[1, 2], [3, 4]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("b", "y")], names=["upper", "lower"]))
    frame.attrs["units"] = {"a": "m"}
    frame = frame.set_flags(allows_duplicate_labels=False)
    found = again(frame)
    assert same(frame, found)
    assert found.attrs == {"units": {"a": "m"}}
    assert found.flags.allows_duplicate_labels is False
    series = pd.Series([1, 2], name=("a", 3), index=["p", "q"])
    series.attrs["note"] = "n"
    assert same(series, again(series))


@pytest.mark.parametrize(
    "value",
    [
        pd.Timestamp("2024-02-29 12:30", tz="Asia/Tokyo"), pd.Timestamp("2024").as_unit("ns"), pd.Timedelta("3 days 2ns"),
        pd.Period("2024-05", "M"), pd.Interval(0, 1.5, closed="neither"), pd.offsets.BusinessHour(3), pd.DateOffset(months=2),
        pd.CategoricalDtype(["a", "b"], ordered=True), pd.Int8Dtype(), pd.DatetimeTZDtype("us", "UTC"), pd.SparseDtype("int32", 3),
    ],
    ids=str,
)  # fmt: skip
def test_scalars_and_dtypes(value):
    found = again([value])[0]
    assert found == value and type(found) is type(value) and repr(found) == repr(value)


def test_missing_values_are_the_ones_there_are():
    found = again([pd.NA, pd.NaT])
    assert found[0] is pd.NA and found[1] is pd.NaT


def test_objects_over_frames():
    frame = pd.DataFrame({"k": ["a", "b", "a"], "x": [1.0, 2, 3]})
    found = again([frame.groupby("k"), frame.rolling(2)])
    assert same(frame.groupby("k").sum(), found[0].sum())
    assert same(frame[["x"]].rolling(2).sum(), found[1]["x"].sum().to_frame())


def test_many_small_ones():
    data = [pd.Series(np.arange(i % 5), name=f"s{i}") for i in range(100)] + [pd.DataFrame({"a": [i], "b": ["x"]}) for i in range(100)]
    assert all(map(same, data, again(data)))


class Measured(pd.DataFrame):
    _metadata = ["unit"]

    @property
    def _constructor(self):
        return Measured


def test_subclasses_with_metadata():
    frame = Measured({"a": [1, 2]})
    frame.unit = "m"
    found = again(frame)
    assert same(frame, found)
    assert found.unit == "m"


# --- pandas' own data and helpers ----------------------------------------------------------------------------------------


def test_the_data_that_pandas_keeps_its_own_pickles_of():
    generate = pytest.importorskip("pandas.tests.io.generate_legacy_storage_files")
    compare = pytest.importorskip("pandas.tests.io.test_pickle").compare_element
    data = generate.create_pickle_data()
    found = again(data)
    assert found.keys() == data.keys()
    for kind, values in data.items():
        assert found[kind].keys() == values.keys()
        for name, value in values.items():
            compare(found[kind][name], value, kind)


def test_the_indexes_that_pandas_tests_with():
    indices = pytest.importorskip("pandas.conftest").indices_dict
    for index in indices.values():
        assert same(index, again(index))
        assert same(pickle.loads(pickle.dumps(index)), again(index))
        assert same(index.to_frame(), again(index.to_frame()))


# --- memory ------------------------------------------------------------------------------------------------------------


def blocks(frame):
    return [block.values for block in frame._mgr.blocks]


def test_numeric_blocks_go_by_reference_and_come_back_as_views(mode):
    frame = pd.DataFrame(
        {"a": np.arange(5000), "b": np.arange(5000) * 2, "x": np.random.rand(5000), "t": pd.date_range("2024", periods=5000)}
    )
    packed = fastser.pack(frame)
    addresses = [span(buffer).start for buffer in packed.buffers()]
    memory = [getattr(values, "_ndarray", values) for values in blocks(frame)]
    assert len(memory) == 3
    assert all(address(values) in addresses for values in memory)
    written = fastser.dumps(frame)
    found = fastser.loads(written)
    inside = span(written)
    assert {address(getattr(values, "_ndarray", values)) in inside for values in blocks(found)} == {mode == "copy on write"}
    assert same(frame, found)


def test_masked_and_categorical_columns_do_too(mode):
    frame = pd.DataFrame(
        {"n": pd.array(range(5000), dtype="Int64"), "c": pd.Categorical.from_codes(np.arange(5000, dtype=np.int16) % 300, range(300))}
    )
    addresses = [span(buffer).start for buffer in fastser.pack(frame).buffers()]
    assert {address(frame["n"].array._data), address(frame["n"].array._mask), address(frame["c"].array.codes)} <= set(addresses)
    written = fastser.dumps(frame)
    found = fastser.loads(written)
    for array in found["n"].array._data, found["n"].array._mask, found["c"].array.codes:
        assert (address(array) in span(written)) is (mode == "copy on write")


def test_arrow_columns_do_too():
    pa = pytest.importorskip("pyarrow")
    text = pa.array([f"text {i}" for i in range(5000)], pa.large_string())
    frame = pd.DataFrame({"s": pd.array(text, dtype="string[pyarrow]"), "n": pd.array(range(5000), dtype=pd.ArrowDtype(pa.int64()))})
    addresses = {span(buffer).start for buffer in fastser.pack(frame).buffers()}
    held = [chunk.buffers() for name in frame for chunk in frame[name].array.__arrow_array__().chunks]
    assert {buffer.address for buffers in held for buffer in buffers if buffer is not None} <= addresses
    written = fastser.dumps(frame)
    found = fastser.loads(written)
    for name in found:
        for chunk in found[name].array.__arrow_array__().chunks:
            assert all(buffer is None or buffer.address in span(written) for buffer in chunk.buffers())
    assert same(frame, found)


def test_text_is_a_run_of_text_and_nothing_is_pickled():
    names = [f"customer {i:05}" for i in range(5000)]
    frame = pd.DataFrame({"name": pd.Series(names, dtype=object), "city": pd.Series(["Lima", "Oslo", None, "Rome"] * 1250, dtype=object)})
    explanation = fastser.explain(frame)
    assert explanation.by_value == []
    assert "".join(names).encode() in fastser.dumps(frame)
    assert len(fastser.dumps(frame)) < 5000 * (14 + 4 + 1) + 3000
    assert explanation.failures == []
    assert fastser.explain(everything()).by_value == []


def test_series_of_one_frame_share_what_begins_alike():
    frame = pd.DataFrame({"a": np.arange(5000), "b": np.arange(5000)})
    one, two = again([frame, frame])
    assert one is two
    first, whole = again([frame["a"], frame["a"].rename("other", copy=False) if not PANDAS_3 else frame["a"].rename("other")])
    assert np.shares_memory(first.to_numpy(), whole.to_numpy())


# --- writing -----------------------------------------------------------------------------------------------------------

ROWS = 200


def mixed(n=ROWS):
    """A table of blocks that are views where they are large, and copies where they are small."""
    return pd.DataFrame(
        {
            "a": np.arange(n) * 1.0,
            "b": np.arange(n) * 2.0,
            "count": np.arange(n),
            "time": pd.date_range("2020-01-01", periods=n),
            "zoned": pd.date_range("2020-01-01", periods=n, tz="UTC"),
            "kind": pd.Categorical(["x", "y"] * (n // 2)),
            "maybe": pd.array([1, None] * (n // 2), dtype="Int64"),
            "text": ["p", "q"] * (n // 2),
        }
    )


WRITES = {
    "iloc": lambda frame: frame.iloc.__setitem__((0, 0), 7.0),
    "loc": lambda frame: frame.loc.__setitem__((3, "count"), 7),
    "at": lambda frame: frame.at.__setitem__((0, "a"), 1.5),
    "slice": lambda frame: frame.loc.__setitem__((slice(None), "a"), 1.5),
    "mask": lambda frame: frame.loc.__setitem__((frame["a"] > 5, "b"), -1.0),
    "time": lambda frame: frame.loc.__setitem__((1, "time"), pd.Timestamp("2021-01-01")),
    "zoned": lambda frame: frame.loc.__setitem__((1, "zoned"), pd.Timestamp("2021-01-01", tz="UTC")),
    "category": lambda frame: frame.loc.__setitem__((1, "kind"), "x"),
    "missing": lambda frame: frame.loc.__setitem__((0, "maybe"), None),
    "text": lambda frame: frame.loc.__setitem__((1, "text"), "r"),
    "replace": lambda frame: frame.replace({"a": 3.0}, 4.0, inplace=True),
    "fillna": lambda frame: frame.fillna({"maybe": 5}, inplace=True),
    "update": lambda frame: frame.update(pd.DataFrame({"a": [9.0]})),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("read", ["bytes", "Packed", "bytearray", "file", "small"])
def test_tables_can_be_written_to_whatever_they_were_loaded_from(read, write, mode, tmp_path):
    frame = mixed(10 if read == "small" else ROWS)
    expected = pickle.loads(pickle.dumps(frame))
    write(expected)
    if read == "file":
        fastser.dump(frame, tmp_path / "frame")
        sources = [None, None]
        found = [fastser.load(tmp_path / "frame", mmap_mode="r") for _ in sources]
    else:
        source = fastser.pack(frame) if read == "Packed" else bytearray(fastser.dumps(frame)) if read == "bytearray" else fastser.dumps(frame)
        found = [fastser.loads(source), fastser.loads(source)]
    write(found[0])
    assert same(expected, found[0])
    if read != "bytearray":
        assert same(mixed(len(frame)), found[1])
        again = fastser.load(tmp_path / "frame") if read == "file" else fastser.loads(source)
        assert same(mixed(len(frame)), again)
    assert same(mixed(len(frame)), frame)


def test_a_block_is_copied_when_it_is_written_to_and_no_other(mode):
    source = fastser.dumps(mixed())
    frame = fastser.loads(source)
    viewed = [name for name in ("a", "count", "time") if address(frame[name].to_numpy()) in span(source)]
    assert viewed == (["a", "count", "time"] if mode == "copy on write" else [])
    frame.iloc[0, 0] = 7.0
    viewed = [name for name in ("a", "count", "time") if address(frame[name].to_numpy()) in span(source)]
    assert viewed == (["count", "time"] if mode == "copy on write" else [])
    values = address(frame["b"].to_numpy())
    frame.iloc[1, 0] = 8.0
    assert address(frame["b"].to_numpy()) == values  # once


def test_what_is_derived_can_be_written_to_when_the_table_is_gone(mode):
    source = fastser.dumps(mixed())
    column = fastser.loads(source)["a"]
    column.iloc[0] = 7.0
    part = fastser.loads(source).iloc[2:5]
    part = part if mode == "copy on write" else part.copy()
    part.iloc[0, 1] = 8.0
    shallow = fastser.loads(source).copy(deep=False)
    shallow.loc[1, "count"] = 9
    assert (column[0], part.iloc[0, 1], shallow.loc[1, "count"]) == (7.0, 8.0, 9)
    assert same(mixed(), fastser.loads(source))


def test_series_and_what_is_made_of_indexes_can_be_written_to(mode):
    series = pd.Series(np.arange(ROWS) * 1.0, index=pd.date_range("2020-01-01", periods=ROWS))
    source = fastser.dumps([series, series.index])
    found, index = fastser.loads(source)
    assert found.index is index
    assert (address(found.to_numpy()) in span(source)) is (mode == "copy on write")
    found.iloc[0] = 5.0
    found += 1
    assert found.iloc[:2].tolist() == [6.0, 2.0]
    for made in (pd.Series(index), index.to_series(), found.reset_index()["index"], index.to_frame()[0]):
        made = made.copy(deep=False)
        made.iloc[0] = pd.Timestamp("2021-01-01")
        assert made.iloc[0].year == 2021
    assert same(series.index, index)
    again, _ = fastser.loads(source)
    assert same(series, again)


def test_tables_within_what_a_reducer_makes_are_copies():
    frame = mixed()
    source = fastser.dumps(Holding(frame))
    found = fastser.loads(source)
    assert all(address(found.content[name].to_numpy()) not in span(source) for name in ("a", "count", "time"))
    found.content.iloc[0, 0] = 7.0
    assert found.content.iloc[0, 0] == 7.0


class Holding:
    def __init__(self, content):
        self.content = content

    def __reduce__(self):
        return Holding, (self.content,)


def test_arrays_of_pandas_are_copies_and_within_tables_views(mode):
    for array in (pd.Categorical(["x", "y"] * ROWS * 2), pd.date_range("2020-01-01", periods=ROWS).array.copy()):
        found = again(array)
        found[0] = found[1]
        assert found[0] == array[1]
    source = fastser.dumps(pd.DataFrame({"a": pd.array(range(ROWS))}))
    values = fastser.loads(source)["a"].array._data
    assert (address(values) in span(source)) is (mode == "copy on write")


def test_subclasses_of_tables_are_copies():
    frame = Measured({"a": np.arange(ROWS) * 1.0})
    frame.unit = "m"
    source = fastser.dumps(frame)
    found = fastser.loads(source)
    assert address(found["a"].to_numpy()) not in span(source)
    found.iloc[0, 0] = 7.0
    assert found.iloc[0, 0] == 7.0


def test_the_arrays_themselves_are_read_only_unless_all_is_copied():
    source = fastser.dumps(mixed())
    if PANDAS_3:
        with pytest.raises(ValueError, match="read-only"):
            fastser.loads(source)["time"].array[0] = pd.Timestamp("2021-01-01")
        with pytest.raises(ValueError, match="read-only"):
            frame = fastser.loads(source, writable=False)
            frame.iloc[0, 0] = 7.0
    found = fastser.loads(source, writable=True)
    found["time"].array[0] = pd.Timestamp("2021-01-01")
    assert found["time"].iloc[0].year == 2021
    assert address(found["a"].to_numpy()) not in span(source)


def test_what_makes_new_columns_works_over_read_only_memory():
    frame = fastser.loads(fastser.dumps(mixed()), writable=False)
    frame["a"] = 1.0
    frame["c"] = frame["b"] + 1
    frame = frame.drop(index=0)
    assert frame[["a", "b", "c"]].head(2).to_dict("list") == {"a": [1.0] * 2, "b": [2.0, 4], "c": [3.0, 5]}
    copied = fastser.loads(fastser.dumps(mixed()), writable=False).copy()
    copied.iloc[0, 0] = 7
    assert copied.iloc[0, 0] == 7


def test_over_writable_memory_they_are_written_in_place(mode):
    written = bytearray(fastser.dumps(mixed()))
    frame = fastser.loads(written)
    frame.iloc[0, 0] = 42
    assert fastser.loads(written).iloc[0, 0] == (42 if mode == "copy on write" else 0)


def test_columns_of_objects_are_writable_always():
    frame = fastser.loads(fastser.dumps(pd.DataFrame({"s": pd.Series(["a", "b"], dtype=object)})))
    frame.iloc[0, 0] = "c"
    assert frame["s"].tolist() == ["c", "b"]


def test_columns_of_arrow_are_writable_always():
    pytest.importorskip("pyarrow")
    frame = fastser.loads(fastser.dumps(pd.DataFrame({"s": pd.array(["a", "b"], dtype="string[pyarrow]")})))
    frame.iloc[0, 0] = "c"
    assert frame["s"].tolist() == ["c", "b"]

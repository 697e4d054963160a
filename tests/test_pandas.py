"""pandas: frames, series and indexes of every kind of column; which memory goes by reference, and what may be written to."""

import datetime
import decimal
import pickle
from contextlib import suppress

import fastser
import numpy as np
import pytest

pd = pytest.importorskip("pandas")

from pandas import testing  # noqa: E402

PANDAS_3 = int(pd.__version__.split(".")[0]) >= 3


def has_pyarrow():
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return False
    return True


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


def test_numeric_blocks_go_by_reference_and_come_back_as_views():
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
    assert all(address(getattr(values, "_ndarray", values)) in inside for values in blocks(found))
    assert same(frame, found)


def test_masked_and_categorical_columns_do_too():
    frame = pd.DataFrame(
        {"n": pd.array(range(5000), dtype="Int64"), "c": pd.Categorical.from_codes(np.arange(5000, dtype=np.int16) % 300, range(300))}
    )
    addresses = [span(buffer).start for buffer in fastser.pack(frame).buffers()]
    assert {address(frame["n"].array._data), address(frame["n"].array._mask), address(frame["c"].array.codes)} <= set(addresses)
    written = fastser.dumps(frame)
    found = fastser.loads(written)
    for array in found["n"].array._data, found["n"].array._mask, found["c"].array.codes:
        assert address(array) in span(written)


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


def numbers():
    return pd.DataFrame({"a": np.arange(5.0), "b": np.arange(5) * 2.0})


@pytest.mark.parametrize("read", [bytes, fastser.pack], ids=["bytes", "Packed"])
def test_over_read_only_memory_values_cannot_be_written_in_place(read):
    source = fastser.pack(numbers()) if read is fastser.pack else fastser.dumps(numbers())
    for write in (
        lambda frame: frame.iloc.__setitem__((0, 0), 1.0),
        lambda frame: frame.loc.__setitem__((slice(None), "a"), 1.0),
        lambda frame: frame.at.__setitem__((0, "a"), 1.0),
        lambda frame: frame["a"].to_numpy().__setitem__(0, 1.0),
    ):
        frame = fastser.loads(source)
        # In pandas' own words, which are not always NumPy's. Older ones may put a new column in place of what they cannot write to.
        refused = pytest.raises((ValueError, TypeError), match="read-only|Invalid value '1.0'") if PANDAS_3 else suppress(ValueError)
        with refused:
            write(frame)
        assert same(numbers(), fastser.loads(source))


def test_what_makes_new_columns_works_over_read_only_memory():
    frame = fastser.loads(fastser.dumps(numbers()))
    frame["a"] = 1.0
    frame["c"] = frame["b"] + 1
    frame = frame.drop(index=0)
    assert frame.to_dict("list") == {"a": [1.0] * 4, "b": [2.0, 4, 6, 8], "c": [3.0, 5, 7, 9]}
    copied = fastser.loads(fastser.dumps(numbers())).copy()
    copied.iloc[0, 0] = 7
    assert copied.iloc[0, 0] == 7


def test_over_writable_memory_they_are_written_in_place():
    written = bytearray(fastser.dumps(numbers()))
    frame = fastser.loads(written)
    frame.iloc[0, 0] = 42
    assert fastser.loads(written).iloc[0, 0] == 42


def test_columns_of_objects_are_writable_always():
    frame = fastser.loads(fastser.dumps(pd.DataFrame({"s": pd.Series(["a", "b"], dtype=object)})))
    frame.iloc[0, 0] = "c"
    assert frame["s"].tolist() == ["c", "b"]


def test_columns_of_arrow_are_writable_always():
    pytest.importorskip("pyarrow")
    frame = fastser.loads(fastser.dumps(pd.DataFrame({"s": pd.array(["a", "b"], dtype="string[pyarrow]")})))
    frame.iloc[0, 0] = "c"
    assert frame["s"].tolist() == ["c", "b"]

"""Polars against pickle: every dtype in every nesting, what is known of a column's order, and what no interface carries."""

import datetime
import decimal
import io
import pickle
import subprocess
import sys

import numpy as np
import pytest

import fastser
from fastser import ArrowData, DecodeError, EncodeError

pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

VERSION = tuple(map(int, pl.__version__.split(".")[:2]))
SERIALIZERS = {"references": fastser.Serializer(), "tree": fastser.Serializer(track_refs=False)}

# What Polars 1 does with these ends the process, or is none of them.
NEEDS_2 = pytest.mark.skipif(VERSION < (2, 0), reason="Polars before 2.0 ends the process when it exports Objects")


@pytest.fixture(params=SERIALIZERS)
def serializer(request):
    return SERIALIZERS[request.param]


def text_of(error):
    return str(error.value)


# --- Objects -----------------------------------------------------------------------------------------------------------


def objects():
    return pl.Series("o", [object(), None, object()], dtype=pl.Object)


def object_frame():
    return pl.DataFrame({"a": [1, 2, 3], "o": objects()})


class Wrapper:
    """Hands on what another producer gives, as the frames of wrapping packages do."""

    def __init__(self, producer):
        self.producer = producer

    def __arrow_c_stream__(self, requested_schema=None):
        return self.producer.__arrow_c_stream__(requested_schema)


PRODUCERS = {
    "series": (objects, "the root"),
    "frame": (object_frame, "column 'o'"),
    "wrapper": (lambda: Wrapper(object_frame()), "column 'o'"),
    "no rows": (lambda: object_frame().clear(), "column 'o'"),
}


@NEEDS_2
@pytest.mark.parametrize("name", PRODUCERS)
@pytest.mark.parametrize("take", [ArrowData.from_producer, fastser.from_arrow, lambda x: ArrowData.from_producer(x, kind="stream")])
def test_addresses_are_not_taken_for_values(name, take):
    make, place = PRODUCERS[name]
    with pytest.raises(EncodeError) as caught:
        take(make())
    assert text_of(caught) == f"what Polars gives of {place} are addresses, since it holds Python objects (pl.Object): expected values; hand them on as a list (to_list)"


def test_bytes_of_a_fixed_size_are_values():
    array = pa.array([b"12345678", None], pa.binary(8))
    for producer in (array, pa.table({"a": array}), pa.array([[b"12345678"]], pa.list_(pa.binary(8)))):
        assert len(ArrowData.from_producer(producer)) == len(producer)
        assert fastser.loads(fastser.dumps(producer)).equals(producer)
    assert fastser.loads(fastser.from_arrow(array)) == [b"12345678", None]


@pytest.mark.parametrize("make", [objects, object_frame, lambda: object_frame().lazy(), lambda: object_frame().clear()])
def test_objects_are_refused_by_column_and_path(make, serializer):
    for function in (serializer.dumps, serializer.pack):
        with pytest.raises(EncodeError, match=r"^cannot pack the polars\.\w+\.\w+\.(Series|DataFrame) at \$\.jobs\[1\]: .*the column 'o' are addresses"):
            function({"jobs": [1, make()]})
    (failure,) = fastser.explain({"jobs": [1, make()]}).failures or [None]
    assert failure is None or "the column 'o' are addresses" in failure.reason


@NEEDS_2
def test_objects_in_an_extension_are_refused(serializer):
    """Polars' own pickling makes bytes of their addresses."""
    if not hasattr(pl, "Extension"):
        pytest.skip("this Polars has no extensions")
    series = objects().ext.to(pl.Extension("tests.objects", pl.Object))
    assert pickle.loads(pickle.dumps(series)).ext.storage().dtype == pl.Binary
    for value in (series, series.to_frame()):
        with pytest.raises(EncodeError, match="the column 'o' are addresses"):
            serializer.dumps(value)
        with pytest.raises(EncodeError, match="are addresses"):
            ArrowData.from_producer(value)


# --- every dtype -------------------------------------------------------------------------------------------------------

UTC = datetime.timezone.utc
MAPS = hasattr(pl, "Map")
EXTENSIONS = VERSION >= (2, 0)  # before, what was not registered was read as its storage


def leaves():
    for name in ("Int8", "Int16", "Int32", "Int64", "Int128", "UInt8", "UInt16", "UInt32", "UInt64", "UInt128"):
        if hasattr(pl, name):
            yield name, pl.Series(name, [1, None, 3], dtype=getattr(pl, name))
    for name in ("Float16", "Float32", "Float64"):
        if hasattr(pl, name):
            yield name, pl.Series(name, [1.5, None, float("inf")], dtype=getattr(pl, name))
    yield "Boolean", pl.Series("b", [True, None, False])
    yield "String", pl.Series("s", ["a", None, "longer than twelve characters"])
    yield "Binary", pl.Series("b", [b"a", None, b"longer than twelve characters"])
    yield "Null", pl.Series("n", [None, None, None])
    yield "Date", pl.Series("d", [datetime.date(2020, 1, 1), None, datetime.date(1900, 1, 1)])
    yield "Time", pl.Series("t", [datetime.time(1), None, datetime.time(2)])
    for unit in ("ms", "us", "ns"):
        yield f"Datetime {unit}", pl.Series("d", [datetime.datetime(2020, 1, 1), None, datetime.datetime(1980, 1, 1)], dtype=pl.Datetime(unit))
        yield f"Duration {unit}", pl.Series("d", [datetime.timedelta(1), None, datetime.timedelta(-1)], dtype=pl.Duration(unit))
    yield "zoned", pl.Series("z", [datetime.datetime(2020, 1, 1, tzinfo=UTC), None], dtype=pl.Datetime("us", "Europe/Zurich"))
    yield "Decimal", pl.Series("d", [decimal.Decimal("1.50"), None, decimal.Decimal(2)], dtype=pl.Decimal(10, 2))
    yield "wide Decimal", pl.Series("d", [decimal.Decimal("1.50"), None], dtype=pl.Decimal(38, 9))
    yield "Categorical", pl.Series("c", ["x", None, "y"], dtype=pl.Categorical)
    if hasattr(pl, "Categories"):
        yield "named Categorical", pl.Series("c", ["x", None, "y"], dtype=pl.Categorical(pl.Categories("a name", namespace="a space")))
        yield "small Categorical", pl.Series("c", ["x", None], dtype=pl.Categorical(pl.Categories("of bytes", physical=pl.UInt8)))
    yield "Enum", pl.Series("e", ["x", None, "y"], dtype=pl.Enum(["y", "x"]))
    yield "empty Enum", pl.Series("e", [None, None], dtype=pl.Enum([]))


LEAVES = dict(leaves())
NESTINGS = {
    "itself": lambda s: s,
    "list": lambda s: pl.Series("l", [s.to_list(), [], None, s.to_list()[:1]], dtype=pl.List(s.dtype)),
    "full list": lambda s: pl.Series("f", [s.to_list(), s.to_list()[:1]], dtype=pl.List(s.dtype)),
    "array": lambda s: pl.Series("a", [s.to_list(), None, s.to_list()], dtype=pl.Array(s.dtype, len(s))),
    "matrix": lambda s: pl.Series("m", [[s.to_list()[:2], s.to_list()[:2]], None], dtype=pl.Array(s.dtype, (2, 2))),
    "struct": lambda s: pl.DataFrame([s.alias("x"), pl.Series("y", range(len(s)))]).to_struct("st"),
    "empty": lambda s: s.clear(),
    "one": lambda s: s.head(1),
    "slice": lambda s: s.slice(1, 2),
    "chunks": lambda s: s.head(2).append(s),
}
if MAPS:
    NESTINGS["map"] = lambda s: pl.Series("m", [{f"k{i}": x for i, x in enumerate(s.to_list())}, None, {}], dtype=pl.Map(pl.String, s.dtype))
    NESTINGS["map of keys"] = lambda s: pl.Series("m", [{s.to_list()[0]: 1}, None, {}], dtype=pl.Map(s.dtype, pl.Int64))
if EXTENSIONS:
    NESTINGS["extension"] = lambda s: s.ext.to(pl.Extension("tests.extension", s.dtype, "its metadata"))


def assert_same(a, b, by_pickle=None):
    """Values, dtypes and flags; pickle loses some flags of single lists."""
    assert type(a) is type(b)
    if isinstance(a, pl.DataFrame):
        assert a.columns == b.columns
        for one, other, third in zip(a.get_columns(), b.get_columns(), (by_pickle if by_pickle is not None else a).get_columns()):
            assert_same(one, other, third)
    else:
        assert (a.name, repr(a.dtype), a.dtype, len(a)) == (b.name, repr(b.dtype), b.dtype, len(b))
        assert a.flags == b.flags or (by_pickle is not None and by_pickle.flags == b.flags)
        assert a.equals(b)
        assert repr(a.to_list()) == repr(b.to_list())


def nested(name):
    """A series of this dtype in every nesting, and these in every one."""
    for outer, nest in NESTINGS.items():
        try:
            series = nest(LEAVES[name])
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, ValueError, AssertionError):
            assert outer in ("map", "map of keys"), outer  # of what does not make a map
            continue
        yield outer, series
        yield f"{outer}, frame", pl.DataFrame([series, series.alias("again")])
        for second, again in NESTINGS.items():
            if len(series) and second in ("list", "array", "struct", "map", "extension", "chunks"):
                try:
                    twice = again(series)
                except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, ValueError, AssertionError):
                    continue
                yield f"{outer} in {second}", twice


@pytest.mark.skipif(VERSION < (2, 0), reason="Polars before 2.0 exports some of these wrongly, or ends the process")
@pytest.mark.parametrize("name", LEAVES)
def test_every_dtype_in_every_nesting(name):
    count = 0
    for nesting, value in nested(name):
        count += 1
        try:
            assert_same(value, fastser.loads(fastser.dumps(value)), pickle.loads(pickle.dumps(value)))
        except Exception as error:
            raise AssertionError(f"{nesting}: {value.dtype if isinstance(value, pl.Series) else value.schema}") from error
    assert count > 40


@pytest.mark.parametrize("name", [name for name in ("Int128", "UInt128") if hasattr(pl, name)])
@pytest.mark.parametrize("nesting", [name for name in ("map", "map of keys", "extension", "list", "struct") if name in NESTINGS])
def test_what_the_interface_does_not_carry_goes_by_its_reducer(name, nesting, serializer):
    wide = pl.Series("w", [1 << 100, None, 3], dtype=getattr(pl, name)) if name == "Int128" else LEAVES[name]
    series = NESTINGS[nesting](wide)
    for value in (series, series.to_frame(), pl.DataFrame([series, pl.Series("z", range(len(series)))])):
        back = serializer.loads(serializer.dumps([value]))[0]
        assert_same(value, back, pickle.loads(pickle.dumps(value)))
        assert "REDUCE" in str(fastser.explain(value))
    assert serializer.loads(serializer.dumps(series.to_frame().lazy())).collect().equals(series.to_frame())


def test_a_dtype_that_is_not_known_goes_by_its_reducer(monkeypatch):
    """As the dtypes of later versions do."""
    from fastser.integrations import polars as integration

    frame = pl.DataFrame({"a": [1, 2], "b": [[0.5], [1.5]]})
    carried = tuple(dtype for dtype in integration._CARRIED if dtype not in (pl.Float64, pl.Int64))
    monkeypatch.setattr(integration, "_CARRIED", carried)
    monkeypatch.setattr(integration, "_LEAVES", carried)
    assert "REDUCE" in str(fastser.explain(frame))
    assert_same(frame, fastser.loads(fastser.dumps(frame)))


def test_what_is_exported_short_goes_by_its_reducer(monkeypatch):
    """Some versions leave out chunks, others fail in the middle."""
    from fastser.integrations import polars as integration

    frame = pl.DataFrame({"a": [1, 2, 3]})
    short = ArrowData.from_producer(frame[:1])

    class Short:
        from_producer = staticmethod(lambda table: short)

    class Failing:
        @staticmethod
        def from_producer(table):
            raise fastser.errors.stream_failed("its next array", 22, "a reason")

    for exported in (Short, Failing):
        monkeypatch.setattr(integration, "ArrowData", exported)
        assert "REDUCE" in str(fastser.explain(frame))
        assert fastser.loads(fastser.dumps(frame)).equals(frame)


def test_chunks_that_are_read_one_by_one_are_all_read(monkeypatch):
    """Versions before 1.12 read no more than the first chunk of a frame."""
    from fastser.integrations import polars as integration

    frame = pl.concat([pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [3]})], rechunk=False)
    data = ArrowData.from_producer(pa.table({"a": pa.chunked_array([[1, 2], [3]])}))
    assert integration._read(lambda part: pl.DataFrame(part)[:2], data).equals(frame)
    assert integration._read(pl.DataFrame, data).equals(frame)
    assert fastser.loads(fastser.dumps(frame)).equals(frame)


# --- flags -------------------------------------------------------------------------------------------------------------

LISTS = pl.Series("l", [[1, 2], [3], [4, 5]])
FLAGGED = {
    "ascending": pl.Series("a", [1, 2, 3]).set_sorted(),
    "descending": pl.Series("a", [3, 2, 1]).set_sorted(descending=True),
    "sorted": pl.Series("a", ["x", None, "longer than twelve characters"]).sort(),
    "none": pl.Series("a", [1, 2, 3]),
    "wrongly": pl.Series("a", [3, 1, 2]).set_sorted(),
    "times": pl.Series("a", [datetime.datetime(2020, 1, 1), datetime.datetime(2021, 1, 1)]).set_sorted(),
    "enum": pl.Series("a", ["y", "x"], dtype=pl.Enum(["y", "x"])).set_sorted(),
    "one": pl.Series("a", [1]),
    "nothing": pl.Series("a", [], dtype=pl.Int8),
    "array": pl.Series("a", [[1], [2]], dtype=pl.Array(pl.Int8, 1)).set_sorted(),
    "lists": LISTS,
    "sorted lists": LISTS.set_sorted(descending=True),
    "one empty list": pl.Series("l", [[1], []]),
    "one null": pl.Series("l", [[1], None]),
    "aggregated": pl.DataFrame({"g": [1, 1, 2], "v": [1, 2, 3]}).group_by("g", maintain_order=True).agg("v")["v"],
    "lists of text": pl.Series("l", [["a"], ["b", None]]),
}
if VERSION >= (2, 0):  # before, exporting these ends the process
    FLAGGED["lists of enums"] = pl.Series("l", [["x"], ["y"]], dtype=pl.List(pl.Enum(["y", "x"])))


def flags_of(value):
    return value.flags if isinstance(value, (pl.Series, pl.DataFrame)) else value.collect().flags


@pytest.mark.skipif(VERSION < (1, 20), reason="Polars before 1.20 does not pickle all of its flags")
@pytest.mark.parametrize("name", FLAGGED)
def test_flags_are_kept_as_with_pickle(name, serializer):
    series = FLAGGED[name]
    frame = pl.DataFrame([pl.Series("plain", range(len(series))), series.alias("x"), series.alias("y")])
    for value in (series, frame, frame.lazy()):
        expected = flags_of(pickle.loads(pickle.dumps(value)) if not isinstance(value, pl.LazyFrame) else value)
        back = serializer.loads(serializer.dumps({"v": value}))["v"]
        assert flags_of(back) == expected
        assert back.lazy().collect().equals(value.lazy().collect()) if not isinstance(value, pl.Series) else back.equals(value)


def test_flags_of_one_column_are_not_those_of_another():
    frame = pl.DataFrame([pl.Series("a", [1, 2]).set_sorted(), pl.Series("b", [2, 1]).set_sorted(descending=True), pl.Series("c", [1, 2])])
    back = fastser.loads(fastser.dumps(frame))
    assert [(column["SORTED_ASC"], column["SORTED_DESC"]) for column in back.flags.values()] == [(True, False), (False, True), (False, False)]


def test_flags_cost_nothing_where_there_are_none():
    plain = pl.Series("a", [2, 1] * 500)
    known = plain.set_sorted()
    assert len(fastser.dumps(known)) - len(fastser.dumps(plain)) <= 64
    assert fastser.explain(plain).children[0].type_name == "fastser._core.arrow.data.ArrowData"
    assert fastser.explain(known).children[0].type_name == "tuple"


@pytest.mark.parametrize("name", ["ascending", "lists", "lists of text"])
def test_what_has_flags_is_a_view_of_the_frame(name):
    series = pl.concat([FLAGGED[name]] * 1000).rechunk()
    series = series.set_sorted() if name == "ascending" else pl.Series(series.to_list())
    frame = fastser.dumps(series)
    back = fastser.loads(frame)
    assert back.flags == series.flags
    start = np.frombuffer(frame, "u1").ctypes.data
    buffers = [np.frombuffer(buffer, "u1") for buffer in ArrowData.from_producer(back).take_apart()[1]]
    largest = max(buffers, key=len)
    assert start <= largest.ctypes.data < start + len(frame)


def test_flags_from_strangers():
    from fastser.integrations.polars import HOOKS

    frame_hook, series_hook = HOOKS[:2]
    series = pl.Series("a", [1, 2, 3])
    data = ArrowData.from_producer(series)
    assert series_hook.decode((data, bytes([1]))).flags["SORTED_ASC"]
    assert series_hook.decode((data, bytes([4]))).flags == series.flags  # it is for lists alone
    assert frame_hook.decode((ArrowData.from_producer(series.to_frame()), b"")).equals(series.to_frame())
    forged = fastser.Serializer()

    class Forged:
        pass

    for payload in ((data, 1), (data,), (data, b"\1\1"), (data, b"", 1), (data, b"", data, data), ([], b"\1"), (data, "x"), (), [data]):
        forged.register(Forged, lambda obj: payload, lambda payload: payload, name=series_hook.name)
        stranger = forged.dumps([Forged()])
        with pytest.raises(DecodeError, match="cannot rebuild what the hook 'polars.series.series.Series' packed"):
            fastser.loads(stranger, safe=True, allow=[pl.Series])


# --- arrays of width 0 -------------------------------------------------------------------------------------------------


def empty(values, dtype):
    return pl.Series("e", values, dtype=dtype)


WIDTHS = {
    "full": lambda: empty([[], []], pl.Array(pl.Int8, 0)),
    "nulls": lambda: empty([[], None, []], pl.Array(pl.String, 0)),
    "no rows": lambda: empty([], pl.Array(pl.Int8, 0)),
    "inner": lambda: empty([[[], []], None], pl.Array(pl.Int8, (2, 0))),
    "outer": lambda: empty([[], None], pl.Array(pl.Int8, (0, 2))),
    "list": lambda: empty([[[], []], [], None, [None]], pl.List(pl.Array(pl.Int8, 0))),
    "struct": lambda: empty([{"a": [], "b": 1}, {"a": None, "b": 2}], pl.Struct({"a": pl.Array(pl.Int8, 0), "b": pl.Int64})),
    "enum": lambda: empty([[], None], pl.Array(pl.Enum(["a"]), 0)),
    "chunks": lambda: empty([[], None], pl.Array(pl.Int8, 0)).append(empty([[], []], pl.Array(pl.Int8, 0))),
}


@pytest.mark.skipif(VERSION < (2, 0), reason="how well Polars casts these depends on its version; what it does not is refused")
@pytest.mark.parametrize("name", WIDTHS)
def test_arrays_of_width_0_come_back(name, serializer):
    """Polars reads them neither from Arrow data nor from its own pickles."""
    series = WIDTHS[name]()
    frame = pl.DataFrame([series, pl.Series("other", range(len(series))).set_sorted()])
    for value in (series, frame):
        back = serializer.loads(serializer.dumps(value))
        assert_same(value, back)
    assert serializer.loads(serializer.dumps(frame.lazy())).collect().equals(frame)


REFUSED = {"wide": lambda: empty([[], None], pl.Array(pl.Int128, 0))} if hasattr(pl, "Int128") else {}
if MAPS:
    REFUSED["map"] = lambda: empty([{"a": []}], pl.Map(pl.String, pl.Array(pl.Int8, 0)))
if EXTENSIONS:
    REFUSED["extension"] = lambda: empty([[]], pl.Array(pl.Int8, 0)).ext.to(pl.Extension("tests.empty", pl.Array(pl.Int8, 0)))


@pytest.mark.parametrize("name", REFUSED)
def test_arrays_of_width_0_that_would_not_come_back_are_refused(name, serializer):
    series = REFUSED[name]()
    for value in (series, pl.DataFrame([pl.Series("a", range(len(series))), series])):
        with pytest.raises(EncodeError, match=r"at \$\[1\]: the column 'e' has arrays of width 0 \(.*\), which Polars could not read again: cast them to lists"):
            serializer.dumps([1, value])


@pytest.mark.parametrize("lost", ["an error", "a wrong value"])
def test_a_cast_that_is_wrong_is_refused(lost, monkeypatch):
    from fastser.integrations import polars as integration

    series = WIDTHS["nulls"]()

    def like(table, *others):
        if lost == "an error":
            raise pl.exceptions.ComputeError("on purpose")
        return table.head(1).cast(series.dtype)

    monkeypatch.setattr(integration, "_like", like)
    with pytest.raises(EncodeError, match="the column 'e' has arrays of width 0"):
        fastser.dumps(series)


# --- elsewhere ---------------------------------------------------------------------------------------------------------


def test_another_process_reads_them():
    frame = pl.DataFrame({"a": pl.Series([1, 2]).set_sorted(), "w": pl.Series([1, None]).cast(pl.Int64), "l": [[1], [2]]})
    program = "import sys, fastser; f = fastser.loads(sys.stdin.buffer.read()); print(f.flags['a']['SORTED_ASC'], f.rows())"
    done = subprocess.run([sys.executable, "-c", program], input=fastser.dumps(frame), capture_output=True, check=True)
    assert done.stdout.decode().split("\n")[0] == "True [(1, 1, [1]), (2, None, [2])]"


def test_files(tmp_path):
    frame = pl.DataFrame({"a": pl.Series(range(1000)).set_sorted(), "l": [[i] for i in range(1000)]})
    fastser.dump(frame, tmp_path / "frame")
    for mode in (None, "r", "c"):
        assert_same(frame, fastser.load(tmp_path / "frame", mmap_mode=mode))
    file = io.BytesIO()
    fastser.dump(frame, file)
    file.seek(0)
    assert fastser.load(file).flags["a"]["SORTED_ASC"]

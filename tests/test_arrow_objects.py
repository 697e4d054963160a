"""Arrow data inside objects: arrays, tables, frames and schemas of Arrow libraries, at any depth, by reference."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

import fastser
from fastser import DecodeError, EncodeError, Serializer, UnsafeDataError

pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")
pytest.importorskip("polars.testing")

import frames as f  # noqa: E402
from arrow_samples import ARRAYS as SAMPLES  # noqa: E402


def addresses(array):
    """Of all buffers of an array, those of its children and its dictionary included."""
    if isinstance(array, pa.ChunkedArray):
        return [address for chunk in array.chunks for address in addresses(chunk)]
    return [buffer.address for buffer in array.buffers() if buffer is not None and buffer.size]


def within(array, memory):
    start = np.frombuffer(memory, "u1").ctypes.data
    return all(start <= address < start + len(memory) for address in addresses(array))


def same(a, b):
    """Equal, of one class and type, NaNs included, chunks as they were."""
    assert type(a) is type(b)
    if isinstance(a, pa.ChunkedArray):
        assert a.type == b.type
        assert [len(chunk) for chunk in a.chunks] == [len(chunk) for chunk in b.chunks]
        for one, other in zip(a.chunks, b.chunks):
            same(one, other)
    elif isinstance(a, pa.Array):
        assert a.type.equals(b.type, check_metadata=True)
        b.validate(full=True)
        assert a.null_count == b.null_count
        assert repr(a.to_pylist()) == repr(b.to_pylist())
    else:
        assert a.schema.equals(b.schema, check_metadata=True)
        assert a.num_rows == b.num_rows
        b.validate(full=True)
        for one, other in zip(a.columns, b.columns):
            same(one, other)


class Forged:
    pass


SERIALIZERS = {"references": Serializer(), "tree": Serializer(track_refs=False)}


@pytest.fixture(params=SERIALIZERS)
def serializer(request):
    return SERIALIZERS[request.param]


# --- pyarrow -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_arrays_of_every_type(name, serializer):
    array = SAMPLES[name]
    payload = {"array": array, "slice": array[1:3], "chunks": pa.chunked_array([array, array[:1], array[:0]])}
    back = serializer.loads(serializer.dumps([payload]))[0]
    for key, value in payload.items():
        same(value, back[key])


@pytest.mark.parametrize("name", SAMPLES)
def test_tables_and_batches_of_every_type(name, serializer):
    array = SAMPLES[name]
    schema = pa.schema([pa.field("x", array.type, metadata={"unit": "m", b"\xff": b"\0"})], metadata={"of": "all"})
    batch = pa.record_batch([array], schema=schema)
    table = pa.Table.from_batches([batch, batch[1:], batch[:0]])
    back = serializer.loads(serializer.dumps((batch, table, schema, schema.field(0))))
    same(batch, back[0])
    same(table, back[1])
    assert back[2].equals(schema, check_metadata=True) and type(back[2]) is pa.Schema
    assert back[3].equals(schema.field(0), check_metadata=True) and type(back[3]) is pa.Field


@pytest.mark.parametrize("name", SAMPLES)
def test_scalars_of_every_type(name, serializer):
    for scalar in SAMPLES[name][:3]:
        back = serializer.loads(serializer.dumps({"s": scalar}))["s"]
        assert type(back) is type(scalar)
        assert back.type.equals(scalar.type, check_metadata=True)
        assert repr(back.as_py()) == repr(scalar.as_py())


def test_columns_of_other_chunks_keep_them():
    table = pa.table({"a": pa.chunked_array([[1, 2], [3]]), "b": pa.chunked_array([["x"], ["y", "z"], []])})
    back = fastser.loads(fastser.dumps(table))
    same(table, back)
    assert [len(chunk) for chunk in back["b"].chunks] == [1, 2, 0]


@pytest.mark.parametrize("table", [
    pa.table({}), pa.table({"a": pa.chunked_array([], pa.int8())}), pa.table({"a": pa.array([], "f8")}),
    pa.table({"a": [1, 2, 3]}).select([]), pa.table({"a": [1]}, metadata={"k": "v"}).select([]),
], ids=["nothing", "no chunk", "no row", "no column", "metadata alone"])
def test_tables_of_nothing(table):
    same(table, fastser.loads(fastser.dumps(table)))


def test_buffers_are_referenced_and_views_of_the_frame():
    table = pa.table({"i": np.arange(10_000), "s": [str(i) for i in range(10_000)], "n": [None, 1.5] * 5000})
    packed = fastser.pack({"deep": [table]})
    theirs = {
        buffer.address for column in table.columns for buffer in column.chunk(0).buffers() if buffer is not None and buffer.size > 4096
    }
    assert len(theirs) == 4
    ours = {np.frombuffer(view, "u1").ctypes.data for view in packed.buffers() if view.nbytes}
    assert theirs <= ours
    frame = packed.to_bytes()
    back = fastser.loads(frame)["deep"][0]
    assert all(within(column, frame) for column in back.columns)
    assert all(within(column, frame) for column in fastser.loads(memoryview(frame))["deep"][0].columns)


def test_a_frame_lives_as_long_as_what_was_made_of_it():
    class Memory(bytearray):
        pass

    memory = Memory(fastser.dumps(pa.array(range(10_000))))
    alive = weakref.ref(memory)
    array = fastser.loads(memory)
    del memory
    slice = array[9_990:]
    del array
    gc.collect()
    assert alive() is not None
    assert slice.to_pylist() == list(range(9_990, 10_000))
    del slice
    gc.collect()
    assert alive() is None


def test_a_slice_packs_the_slice():
    array = pa.array([f"text number {i}" for i in range(100_000)])
    table = pa.table({"a": array, "b": pa.array(range(100_000))})
    view = array.cast(pa.string_view())
    nested = pa.ListArray.from_arrays(pa.array(range(0, 100_001, 10), pa.int32()), array)
    for whole in (array, table, view, nested):
        part = whole[500:510]
        frame = fastser.dumps(part)
        assert len(frame) < 6_000
        assert fastser.loads(frame).to_pylist() == part.to_pylist()


def test_one_table_met_twice_is_one_table():
    table = pa.table({"a": np.arange(10_000)})
    array = pa.array(np.arange(10_000))
    back = fastser.loads(fastser.dumps([table, array, table, array]))
    assert back[0] is back[2] and back[1] is back[3]
    assert len(fastser.dumps([table, table])) < 100_000


def test_extension_types():
    class Money(pa.ExtensionType):
        def __init__(self, currency):
            self.currency = currency
            super().__init__(pa.int64(), "tests.money")

        def __arrow_ext_serialize__(self):
            return self.currency.encode()

        @classmethod
        def __arrow_ext_deserialize__(cls, storage, serialized):
            return cls(serialized.decode())

    array = pa.ExtensionArray.from_storage(Money("CHF"), pa.array([1, None, 3]))
    pa.register_extension_type(Money(""))
    try:
        back = fastser.loads(fastser.dumps({"a": array, "t": pa.table({"m": array})}))
    finally:
        pa.unregister_extension_type("tests.money")
    assert back["a"].type == Money("CHF") and back["a"].type.currency == "CHF"
    assert back["a"].storage.to_pylist() == [1, None, 3]
    assert back["t"]["m"].type.currency == "CHF"
    # Not registered, the interface would drop it: it goes by pyarrow's own reducer, with the class.
    back = fastser.loads(fastser.dumps(array))
    assert back.type.currency == "CHF" and back.storage.to_pylist() == [1, None, 3]


def test_many_small_arrays():
    arrays = [pa.array([i, None, i + 1], pa.int32()) for i in range(200)]
    back = fastser.loads(fastser.dumps(arrays))
    assert [array.to_pylist() for array in back] == [array.to_pylist() for array in arrays]
    assert {type(array) for array in back} == {pa.Int32Array}
    assert len({id(array) for array in back}) == 200


def test_inside_objects_of_other_packages():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": pd.array([1, None], dtype="int64[pyarrow]"), "b": ["x", None]})
    back = fastser.loads(fastser.dumps({"frame": frame}))["frame"]
    pd.testing.assert_frame_equal(frame, back)


def test_explain_tells():
    table = pa.table({"a": [1]})
    assert "HOOK" in str(fastser.explain({"t": table}))
    assert "built in as 'pyarrow.lib.Table'" in str(fastser.explain({"t": table}))
    explained = fastser.explain(pa.array(range(10_000)))
    assert explained.by_value == [] and 80_000 <= explained.nbytes < 81_000
    assert "ArrowData" in str(explained) and "native" in str(explained)


def test_hooks_of_users_come_first():
    serializer = Serializer()
    serializer.register(pa.Table, lambda table: table.to_pydict(), lambda columns: pa.table(columns), name="mine")
    frame = serializer.dumps(pa.table({"a": [1]}))
    assert serializer.loads(frame).to_pydict() == {"a": [1]}
    with pytest.raises(DecodeError, match="a hook registered as 'mine'"):
        fastser.loads(frame)


def test_a_reader_without_the_package_is_told():
    frame = fastser.dumps(pa.table({"a": [1]}))
    code = "import sys; sys.modules['pyarrow'] = None\nimport fastser\nfastser.loads(bytes.fromhex(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, frame.hex()], capture_output=True, text=True)
    assert "DecodeError: cannot rebuild what the hook 'pyarrow.lib.Table' packed" in done.stderr
    assert "pyarrow" in done.stderr


def test_data_without_pyarrow_is_arrow_data():
    frame = fastser.dumps(fastser.ArrowData.from_producer(pa.array([1, 2, None])))
    code = "import sys; sys.modules['pyarrow'] = None\nimport fastser\nd = fastser.loads(bytes.fromhex(sys.argv[1]), safe=True)\nprint(type(d).__name__, len(d))"
    done = subprocess.run([sys.executable, "-c", code, frame.hex()], capture_output=True, text=True, check=True)
    assert done.stdout == "ArrowData 3\n"


# --- safe --------------------------------------------------------------------------------------------------------------


def test_safe_refuses_classes_and_takes_data():
    frame = fastser.dumps({"t": [pa.table({"a": [1]})]})
    with pytest.raises(UnsafeDataError, match=r"the hook 'pyarrow.lib.Table'.*\$\.t\[0\]"):
        fastser.loads(frame, safe=True)
    for allow in ([pa.Table], ["pyarrow.lib.Table"]):
        assert fastser.loads(frame, safe=True, allow=allow)["t"][0].to_pydict() == {"a": [1]}
    arrays = fastser.dumps([pa.array([1]), pa.array(["x"])])
    assert [array.to_pylist() for array in fastser.loads(arrays, safe=True, allow=[pa.Int64Array])] == [[1], ["x"]]
    data = fastser.ArrowData.from_producer(pa.array(["a", "b"]))
    assert pa.array(fastser.loads(fastser.dumps(data), safe=True)).to_pylist() == ["a", "b"]


def test_safe_takes_a_class_and_its_objects():
    """The class by its name and the hook of its objects, which has the same name."""
    table = pa.table({"a": [1]})
    for data in ([pa.Table, table], [table, pa.Table, table]):
        assert fastser.loads(fastser.dumps(data), safe=True, allow=[pa.Table]) == data


@pytest.mark.parametrize("again", ["reference", "index"])
def test_parts_of_descriptions_occur_once(again):
    """A wide schema that is referred to thousands of times would be a few bytes, and more than a memory of structs."""
    child = [bytes([f.TUPLE]), 6, bytes([f.GENERIC, f.TEXT, f.TEXT_REF]), 0, bytes([f.NONE]), f.small(2), bytes([f.TUPLE]), 0, bytes([f.NONE])]
    schema = [bytes([f.TUPLE]), 6, bytes([f.GENERIC, f.TEXT, f.TEXT_REF]), 0, bytes([f.NONE]), f.small(2)]
    schema += [bytes([f.TUPLE]), 1, *child, bytes([f.NONE])]
    description = [bytes([f.TUPLE]), 3, bytes([f.GENERIC, f.TEXT]), *schema, bytes([f.TUPLE]), 0]
    text = ["", "schema", "+s", "n"]
    once = [bytes([f.LIST]), 2, bytes([f.GENERIC, f.TEXT]), bytes([f.ARROW]), *description, 0]
    assert len(fastser.loads(f.build(*once, text=text))) == 2
    if again == "reference":
        # The list is 0, the data 1, its description 2.
        tags = [bytes([f.LIST]), 3, *once[2:], bytes([f.ARROW, f.REF]), 2, 0]
        frame = f.build(*tags, text=text, flags=f.REFS)
    else:
        tags = [bytes([f.LIST]), 3, bytes([f.CONCAT]), 1, bytes([f.TEXT]), bytes([f.ARROW, f.INDEXED]), 1, *description, 0, 0]
        frame = f.build(*tags, text=text)
    with pytest.raises(DecodeError, match="expected parts of Arrow data that occur once, found"):
        fastser.loads(frame)


def test_safe_hands_arrow_data_to_packages_and_nothing_else():
    serializer = Serializer()
    for cls, name in ((pa.Table, "pyarrow.lib.Table"), (pa.Array, "pyarrow.lib.Array"), (pl.DataFrame, "polars.dataframe.frame.DataFrame")):
        serializer.register(Forged, lambda forged: [[1, 2]], lambda payload: payload, name=name)
        with pytest.raises(DecodeError, match="expected an ArrowData, found list"):
            fastser.loads(serializer.dumps(Forged()), safe=True, allow=[cls])


def test_safe_calls_no_hook_of_a_user():
    serializer = Serializer(safe=True, allow=["pyarrow.lib.Table"])
    serializer.register(pa.Table, lambda table: 1, lambda payload: pytest.fail("called"), name="mine")
    with pytest.raises(UnsafeDataError, match="the hook 'mine'"):
        serializer.loads(serializer.dumps(pa.table({"a": [1]})))


@pytest.mark.parametrize("name", ["string", "list", "dictionary"])
def test_safe_looks_at_every_offset(name):
    array = {
        "string": pa.array(["one", "two", "three"] * 100),
        "list": pa.array([[1, 2], [3]] * 100),
        "dictionary": pa.array(["one", "two"] * 100).dictionary_encode(),
    }[name]
    frame = bytearray(fastser.dumps(array))
    buffer = array.buffers()[1]
    where = bytes(frame).index(buffer.to_pybytes()[:64])
    frame[where + 8:where + 12] = b"\xff\xff\xff\x7f"
    with pytest.raises(DecodeError):
        fastser.loads(frame, safe=True, allow=[pa.Array])


# --- Polars ------------------------------------------------------------------------------------------------------------

POLARS = {
    "numbers": pl.Series([1, None, 3]),
    "text": pl.Series(["a", None, "longer than twelve characters"]),
    "categories": pl.Series(["x", "y", None], dtype=pl.Categorical),
    "enum": pl.Series(["x", "y"], dtype=pl.Enum(["y", "x"])),
    "nulls": pl.Series([None, None]),
    "wide": pl.Series([1 << 100, None], dtype=pl.Int128),
    "decimal": pl.Series(["1.50", "2.25"], dtype=pl.Decimal(10, 2)),
    "time": pl.Series([1, 2], dtype=pl.Time),
    "zoned": pl.Series([1, 2], dtype=pl.Datetime("ns", "Europe/Zurich")),
    "array": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int8, 2)),
    "list": pl.Series([[1], None, []], dtype=pl.List(pl.Int64)),
    "struct": pl.Series([{"a": 1, "b": "x"}, {"a": None, "b": "y"}]),
    "binary": pl.Series([b"a", None]),
    "booleans": pl.Series([True, None, False]),
    "empty": pl.Series([], dtype=pl.Float32),
}


@pytest.mark.parametrize("name", POLARS)
def test_polars(name, serializer):
    series = POLARS[name].alias("a name")
    frame = pl.DataFrame([series, series.alias("other")])
    back = serializer.loads(serializer.dumps([series, frame, frame.lazy()]))
    assert type(back[0]) is pl.Series and back[0].name == "a name" and back[0].dtype == series.dtype
    pl.testing.assert_series_equal(series, back[0])
    assert type(back[1]) is pl.DataFrame and back[1].schema == frame.schema
    pl.testing.assert_frame_equal(frame, back[1])
    assert type(back[2]) is pl.LazyFrame
    pl.testing.assert_frame_equal(frame, back[2].collect())


def test_polars_chunks_and_slices():
    frame = pl.concat([pl.DataFrame({"a": range(1000)}), pl.DataFrame({"a": range(5)})], rechunk=False)
    pl.testing.assert_frame_equal(frame, fastser.loads(fastser.dumps(frame)))
    small = frame[500:503]
    assert len(fastser.dumps(small)) < 1500
    pl.testing.assert_frame_equal(small, fastser.loads(fastser.dumps(small)))


def test_polars_references_memory():
    frame = pl.DataFrame({"a": np.arange(10_000)})
    packed = fastser.pack(frame)
    address = frame["a"].to_numpy(allow_copy=False).ctypes.data
    assert address in {np.frombuffer(view, "u1").ctypes.data for view in packed.buffers() if view.nbytes}
    data = packed.to_bytes()
    loaded = fastser.loads(data)["a"].to_numpy(allow_copy=False)
    start = np.frombuffer(data, "u1").ctypes.data
    assert start <= loaded.ctypes.data < start + len(data)


def test_polars_of_nothing_and_of_objects():
    for frame in (pl.DataFrame(), pl.DataFrame({"a": []})):
        back = fastser.loads(fastser.dumps(frame))
        assert back.shape == frame.shape and back.schema == frame.schema
    with pytest.raises(EncodeError, match="polars"):
        fastser.dumps(pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}))


# --- nanoarrow, and others by the protocol -----------------------------------------------------------------------------


def test_nanoarrow(serializer):
    na = pytest.importorskip("nanoarrow")
    array, schema = na.Array(["a", None, "c"], na.string()), na.Schema(na.struct({"x": na.int32()}))
    back = serializer.loads(serializer.dumps([array, schema, na.c_array([1, 2], na.int16())]))
    assert type(back[0]) is na.Array and back[0].to_pylist() == ["a", None, "c"]
    assert type(back[1]) is na.Schema and repr(back[1]) == repr(schema)
    assert type(back[2]) is type(na.c_array([1], na.int16())) and na.Array(back[2]).to_pylist() == [1, 2]


def test_any_class_that_gives_and_takes(serializer):
    core = pytest.importorskip("arro3.core")
    table = core.Table.from_arrow(pa.table({"a": np.arange(1000), "b": ["x"] * 1000}))
    array = core.Array.from_arrow(pa.array([1.5, None]))
    back = serializer.loads(serializer.dumps({"t": table, "a": array}))
    assert type(back["t"]) is core.Table and pa.table(back["t"]).equals(pa.table(table))
    assert type(back["a"]) is core.Array and pa.array(back["a"]).to_pylist() == [1.5, None]


def test_a_class_of_fields_that_gives_data_keeps_its_fields():
    class Wrapper:
        def __init__(self, array):
            self.array = array
            self.note = "kept"

        def __arrow_c_array__(self, requested_schema=None):
            return self.array.__arrow_c_array__(requested_schema)

    back = fastser.loads(fastser.dumps(Wrapper(pa.array([1, 2]))))
    assert type(back).__name__ == "Wrapper" and back.note == "kept" and back.array.to_pylist() == [1, 2]


def test_what_only_gives_is_refused_with_its_path():
    duckdb = pytest.importorskip("duckdb")
    with pytest.raises(EncodeError, match=r"DuckDBPy(Connection at \$\.r\._con|Relation at \$\.r)"):
        fastser.dumps({"r": duckdb.sql("select 1 as a")})


# --- golden frames -----------------------------------------------------------------------------------------------------


def golden():
    """What the frames under golden/engines hold, which every later version reads; written by golden/write.py."""
    na = pytest.importorskip("nanoarrow")
    array = pa.array(["a", None, "text"])
    table = pa.table({"n": pa.chunked_array([[1, 2], [3]]), "s": array}, metadata={"of": "what"})
    frame = pl.DataFrame({"n": [1, None], "s": ["x", "longer than twelve characters"]})
    return {
        "pyarrow": [array, pa.chunked_array([array, array]), table.to_batches()[0], table, table.schema, table.schema.field(0), array[2]],
        "polars": [frame, frame["s"], frame.lazy()],
        "nanoarrow": [na.Array([1, None], na.int32()), na.Schema(na.string()), na.c_array([1.5], na.float64()), na.c_schema(na.bool_())],
    }


@pytest.mark.parametrize("name", ["pyarrow", "polars", "nanoarrow"])
def test_golden_frames(name):
    frame = (Path(__file__).parent / "golden" / "engines" / f"{name}.frame").read_bytes()
    expected, found = golden()[name], fastser.loads(frame)
    assert [type(x) for x in found] == [type(x) for x in expected]
    for a, b in zip(expected, found):
        if name == "polars":
            assert a.lazy().collect().equals(b.lazy().collect()) if hasattr(a, "lazy") else a.equals(b)
        elif name == "pyarrow":
            assert a.equals(b)
        elif hasattr(a, "__arrow_c_array__"):
            assert pa.array(a).equals(pa.array(b))
        else:
            assert pa.field(a).equals(pa.field(b))

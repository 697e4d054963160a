"""Objects as rows of tables: through what engines, files and sockets make of them, lazily, and what malformed rows do."""

import ctypes
import gc
import io
import itertools
import mmap
import re
import subprocess
import sys
import textwrap
import threading
import weakref

import numpy as np
import pytest
import sample_objects as samples
from same import same
from test_arrow_row import COLUMNS, POSITION, RELEASE_ARRAY, Array, Schema, _pointer_of, free_memory
from test_packed import OBJECTS, address

import fastser
from fastser import DecodeError, DepthError, UnsafeDataError

BATCH_ROWS = 1 << 16
BATCH_BYTES = 1 << 25
NAMES = list(POSITION)


@pytest.fixture
def pa():
    return pytest.importorskip("pyarrow")


def table_of(objects, **options):
    import pyarrow

    return pyarrow.table(fastser.pack_many(objects, **options))


def names(count):
    return [{"id": i, "name": f"name {i}", "values": [i / 3] * (i % 4)} for i in range(count)]


# --- there and back -----------------------------------------------------------------------------------------------------


@pytest.mark.core
@pytest.mark.parametrize("large", [False, True])
def test_without_any_engine(large):
    rows = fastser.pack_many(OBJECTS.values(), large=large)
    found = list(fastser.loads_many(rows))
    for obj, other in zip(OBJECTS.values(), found, strict=True):
        assert same(obj, other)
    assert list(fastser.loads_many(fastser.pack_many([], large=large))) == []


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_the_table_is_valid_and_says_what_the_format_says(pa, large, copy):
    table = table_of(OBJECTS.values(), large=large, copy=copy)
    table.validate(full=True)
    assert table.schema.names == NAMES
    listed, text, data = (pa.large_list, pa.large_string(), pa.large_binary()) if large else (pa.list_, pa.string(), pa.binary())
    types = [pa.large_binary() if copy else pa.binary_view(), pa.int64(), pa.float64(), pa.int32(), text, data, pa.int16(), pa.int8(), pa.uint8(), pa.uint8()]
    assert table.schema.types == [pa.uint8()] * 2 + [listed(pa.field("item", kind, nullable=False)) for kind in types]
    assert pa.schema(fastser.pack_many([], large=large, copy=copy)) == table.schema
    for i, obj in enumerate(OBJECTS.values()):
        row = pa.array(fastser.pack(obj))[0].as_py()
        assert table.slice(i, 1).to_pylist() == [row]


def sequences(pa):
    """What hands rows out, as functions of a table of them."""
    pl = pytest.importorskip("polars")
    duckdb = pytest.importorskip("duckdb")
    pq = pytest.importorskip("pyarrow.parquet")

    def parquet(table):
        file = io.BytesIO()
        pq.write_table(table, file, row_group_size=7)
        file.seek(0)
        return file

    def ipc(table):
        file = pa.BufferOutputStream()
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=3)
        return pa.ipc.open_stream(file.getvalue())

    def query(table, sql="select * from source"):
        connection = duckdb.connect()
        connection.register("source", table)
        return connection.sql(sql)

    def chunks(table):
        empty = table.slice(0, 0).to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
        return pa.Table.from_batches(empty + table.to_batches(max_chunksize=2) + empty)

    return {
        "Table": lambda t: t,
        "chunks": chunks,
        "ChunkedArray": lambda t: t.to_struct_array(max_chunksize=6),
        "StructArray": lambda t: t.to_struct_array().combine_chunks(),
        "RecordBatch": lambda t: t.combine_chunks().to_batches()[0],
        "RecordBatchReader": lambda t: t.to_reader(max_chunksize=4),
        "batches": lambda t: t.to_batches(max_chunksize=5),
        "IPC": ipc,
        "Parquet": lambda t: pq.read_table(parquet(t)),
        "Parquet's batches": lambda t: pq.ParquetFile(parquet(t)).iter_batches(batch_size=4),
        "views": lambda t: pl.DataFrame(t).to_arrow(compat_level=pl.CompatLevel.newest()),
        "DataFrame": pl.DataFrame,
        "DataFrame, old layouts": lambda t: pl.DataFrame(t).to_arrow(compat_level=pl.CompatLevel.oldest()),
        "Series": lambda t: pl.DataFrame(t).to_struct("rows"),
        "Polars' Parquet": lambda t: pl.read_parquet(parquet(t)),
        "relation": query,
        "DuckDB's Table": lambda t: query(t).to_arrow_table(),
        "struct of DuckDB": lambda t: query(pa.table({"row": t.to_struct_array()})),
    }


ROUTES = [
    "Table", "chunks", "ChunkedArray", "StructArray", "RecordBatch", "RecordBatchReader", "batches", "IPC", "Parquet",
    "Parquet's batches", "views", "DataFrame", "DataFrame, old layouts", "Series", "Polars' Parquet", "relation",
    "DuckDB's Table", "struct of DuckDB",
]  # fmt: skip


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("route", ROUTES)
def test_loads_many_of(pa, route, large):
    source = sequences(pa)[route](table_of(OBJECTS.values(), large=large))
    for obj, found in zip(OBJECTS.values(), fastser.loads_many(source), strict=True):
        assert same(obj, found)


@pytest.mark.parametrize("route", [route for route in ROUTES if "batches" not in route])
def test_loads_of_one_row_of(pa, route):
    make = sequences(pa)[route]
    table = table_of(OBJECTS.values())
    for i, obj in enumerate(OBJECTS.values()):
        if i % 5 == 0 or route in ("Table", "DataFrame"):
            assert same(obj, fastser.loads(make(table.slice(i, 1))))


def test_a_slice_of_what_an_engine_gave(pa):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(fastser.pack_many(OBJECTS.values()))
    series = frame.to_struct("rows")
    for i, obj in enumerate(OBJECTS.values()):
        assert same(obj, fastser.loads(frame[i]))
        assert same(obj, fastser.loads(series[i : i + 1]))
    assert [obj["id"] for obj in fastser.loads_many(pl.DataFrame(fastser.pack_many(names(10)))[7:2:-2])] == [7, 5, 3]


def test_engines_read_the_rows_themselves(pa):
    """Without pyarrow in between."""
    pl = pytest.importorskip("polars")
    duckdb = pytest.importorskip("duckdb")
    rows = fastser.pack_many(names(100))
    with duckdb.connect() as connection:
        connection.register("packed", rows)
        assert connection.sql("select count(*), sum(len(f64)) from packed").fetchall() == [(100, 150)]
        assert list(fastser.loads_many(connection.sql("select * from packed"))) == names(100)
    assert pl.DataFrame(rows).select(pl.col("f64").list.len().sum()).item() == 150


def test_files_that_engines_write_and_read(pa, tmp_path):
    pl = pytest.importorskip("polars")
    duckdb = pytest.importorskip("duckdb")
    pq = pytest.importorskip("pyarrow.parquet")
    table = table_of(OBJECTS.values())
    pq.write_table(table, tmp_path / "pyarrow.parquet")
    pl.DataFrame(table).write_parquet(tmp_path / "polars.parquet")
    pl.DataFrame(table).write_ipc(tmp_path / "polars.arrow")
    with duckdb.connect() as connection:
        connection.register("source", table)
        connection.sql("select * from source").write_parquet(str(tmp_path / "duckdb.parquet"))
        for name in ("pyarrow", "polars", "duckdb"):
            path = tmp_path / f"{name}.parquet"
            readers = [pq.read_table(path), pq.ParquetFile(path).iter_batches(3), pl.read_parquet(path), connection.read_parquet(str(path))]
            for source in [*readers, pa.dataset.dataset(path).to_batches()]:
                for obj, found in zip(OBJECTS.values(), fastser.loads_many(source), strict=True):
                    assert same(obj, found)
    for obj, found in zip(OBJECTS.values(), fastser.loads_many(pl.read_ipc(tmp_path / "polars.arrow")), strict=True):
        assert same(obj, found)


def test_duckdb_with_other_layouts(pa):
    duckdb = pytest.importorskip("duckdb")
    settings = ["arrow_large_buffer_size", "arrow_output_list_view", "produce_arrow_string_view", "arrow_lossless_conversion"]
    for chosen in itertools.product([False, True], repeat=len(settings)):
        with duckdb.connect() as connection:
            for setting, value in zip(settings, chosen, strict=True):
                connection.execute(f"set {setting} = {value}")
            connection.register("source", table_of(OBJECTS.values()))
            for obj, found in zip(OBJECTS.values(), fastser.loads_many(connection.sql("select * from source")), strict=True):
                assert same(obj, found)


def test_pandas_with_columns_of_arrow(pa):
    pandas = pytest.importorskip("pandas")
    frame = table_of(names(10), copy=True).to_pandas(types_mapper=pandas.ArrowDtype)
    assert list(fastser.loads_many(frame)) == names(10)
    frame = frame.assign(id=range(10))
    assert list(fastser.loads_many(frame[frame.id > 6])) == names(10)[7:]


def test_pyarrow_filters_what_was_copied(pa):
    """pyarrow's own functions do not take views."""
    pq = pytest.importorskip("pyarrow.parquet")
    objects = [[i, np.arange(1000.0) + i] for i in range(10)]
    table = pa.table({"id": range(10), "object": pa.chunked_array(fastser.pack_many(objects, copy=True))})
    file = io.BytesIO()
    pq.write_table(table, file)
    for source, kept in (
        (table.filter(pa.compute.field("id") > 6), [7, 8, 9]),
        (table.take([5, 0]), [5, 0]),
        (table.sort_by([("id", "descending")]), range(9, -1, -1)),
        (pq.read_table(file, filters=[("id", "in", [2, 4])]), [2, 4]),
    ):
        for i, found in zip(kept, fastser.loads_many(source, column="object"), strict=True):
            assert same(objects[i], found)


@pytest.mark.core
@pytest.mark.parametrize("large", [False, True])
def test_copied_bodies(large):
    source = np.arange(1000.0)
    objects = [*OBJECTS.values(), [source, source[::2], b"x" * 10_000, b""]]
    found = list(fastser.loads_many(fastser.pack_many(objects, copy=True, large=large)))
    for obj, other in zip(objects, found, strict=True):
        assert same(obj, other)
    alive = weakref.ref(source)
    del source, objects, obj, other
    gc.collect()
    assert alive() is None
    assert found[-1][0][-1] == 999.0


def test_nanoarrow(pa):
    na = pytest.importorskip("nanoarrow")
    rows = fastser.pack_many(OBJECTS.values())
    for obj, found in zip(OBJECTS.values(), fastser.loads_many(na.c_array_stream(rows)), strict=True):
        assert same(obj, found)
    for obj, found in zip(OBJECTS.values(), fastser.loads_many(na.ArrayStream(rows)), strict=True):
        assert same(obj, found)
    # nanoarrow's own arrays of binary views are not safe to touch; those of plain binaries are.
    plain = plain_bodies(pa, table_of(OBJECTS.values())).to_struct_array()
    for array in (na.Array(plain), na.Array(plain.combine_chunks()), na.c_array(plain.combine_chunks())):
        for obj, found in zip(OBJECTS.values(), fastser.loads_many(array), strict=True):
            assert same(obj, found)
    assert fastser.loads(na.Array(plain.slice(0, 1))) == fastser.loads(na.c_array(plain.combine_chunks().slice(0, 1))) == 1


def plain_bodies(pa, table):
    return table.set_column(2, "buffers", table["buffers"].cast(pa.list_(pa.binary())))


def test_flight(pa):
    flight = pytest.importorskip("pyarrow.flight")

    class Server(flight.FlightServerBase):
        def do_get(self, context, ticket):
            return flight.RecordBatchStream(plain_bodies(pa, table_of(names(1000))).to_reader(max_chunksize=100))

        def do_put(self, context, descriptor, reader, writer):
            self.received = list(fastser.loads_many(reader.to_reader()))

    with Server("grpc://127.0.0.1:0") as server, flight.connect(f"grpc://127.0.0.1:{server.port}") as client:
        assert list(fastser.loads_many(client.do_get(flight.Ticket(b"")).to_reader())) == names(1000)
        assert fastser.loads(client.do_get(flight.Ticket(b"")).read_all().slice(77, 1)) == names(78)[77]
        table = table_of(names(50))
        writer, _ = client.do_put(flight.FlightDescriptor.for_path("x"), table.schema)
        writer.write_table(table, max_chunksize=20)
        writer.close()
        assert server.received == names(50)


def one_array(column):
    column = column.combine_chunks()
    return column.chunk(0) if hasattr(column, "chunk") else column


def as_views(pa, lists, kind):
    """The same lists as list views of that type."""
    starts, ends = lists.offsets.to_numpy()[:-1], lists.offsets.to_numpy()[1:]
    make, width = (pa.LargeListViewArray, "i8") if kind.id == pa.large_list_view(pa.null()).id else (pa.ListViewArray, "i4")
    return make.from_arrays(pa.array(starts.astype(width)), pa.array((ends - starts).astype(width)), lists.values)


@pytest.mark.parametrize("layout", ["list_view", "large_list_view", "large", "views", "plain", "other names", "nullable"])
def test_other_layouts(pa, layout):
    make_list, text, data, bodies = {
        "list_view": (pa.list_view, pa.string(), pa.binary(), pa.binary()),
        "large_list_view": (pa.large_list_view, pa.large_string(), pa.large_binary(), pa.large_binary()),
        "large": (pa.large_list, pa.large_string(), pa.large_binary(), pa.large_binary()),
        "views": (pa.list_, pa.string_view(), pa.binary_view(), pa.binary_view()),
        "plain": (pa.list_, pa.string(), pa.binary(), pa.binary()),
    }.get(layout, (pa.list_, pa.string(), pa.binary(), pa.binary_view()))
    table = table_of(OBJECTS.values())
    if layout in ("list_view", "large_list_view"):
        table = plain_bodies(pa, table)
    kinds = dict(zip(NAMES[2:], [field.type.value_type for field in list(table.schema)[2:]], strict=True))
    kinds |= {"text": text, "data": data, "buffers": bodies}
    if "list_view" in layout:
        columns = [as_views(pa, one_array(table[name].cast(pa.large_list(kind))), make_list(kind)) for name, kind in kinds.items()]
    else:
        columns = [one_array(table[name].cast(make_list(kind))) for name, kind in kinds.items()]
    columns = [one_array(column) for column in table.columns[:2]] + columns
    if layout == "nullable":  # validity bitmaps, behind a null that was sliced away
        columns = [pa.concat_arrays([pa.nulls(1, column.type), column]).slice(1) for column in columns]
    again = pa.table(columns, names=[f"_{i}" for i in range(12)] if layout == "other names" else NAMES)
    for obj, found in zip(OBJECTS.values(), fastser.loads_many(again), strict=True):
        assert same(obj, found)
    for i in (0, 5, len(OBJECTS) - 1):
        assert same(list(OBJECTS.values())[i], fastser.loads(again.slice(i, 1)))


def test_list_views_in_any_order(pa):
    """Lists that lie backwards, apart or twice."""
    table = table_of(names(3)).combine_chunks()
    columns = []
    for name in NAMES[2:]:
        lists = table[name].chunk(0)
        starts, ends = lists.offsets.to_numpy()[:-1], lists.offsets.to_numpy()[1:]
        order = [2, 0, 0, 1]
        items = lists.values
        columns.append(pa.ListViewArray.from_arrays(pa.array(starts[order]), pa.array((ends - starts)[order]), items))
    heads = [table[name].chunk(0).take([2, 0, 0, 1]) for name in NAMES[:2]]
    found = list(fastser.loads_many(pa.table(heads + columns, names=NAMES)))
    assert found == [names(3)[i] for i in [2, 0, 0, 1]]


# --- where the columns are ----------------------------------------------------------------------------------------------


def test_columns_of_ones_own(pa):
    duckdb = pytest.importorskip("duckdb")
    objects = names(20)
    table = table_of(objects).append_column("id", pa.array(range(20))).add_column(0, "kind", pa.array(["a", "b"] * 10))
    assert list(fastser.loads_many(table)) == objects
    shuffled = table.select(sorted(table.schema.names, reverse=True))
    assert list(fastser.loads_many(shuffled)) == objects
    with duckdb.connect() as connection:
        connection.register("stored", table)
        found = connection.sql("select * from stored where kind = 'b' and id > 10 order by id desc")
        assert list(fastser.loads_many(found)) == [objects[i] for i in (19, 17, 15, 13, 11)]


def test_a_struct_column(pa):
    duckdb = pytest.importorskip("duckdb")
    pl = pytest.importorskip("polars")
    objects = names(20)
    table = pa.table({"id": pa.array(range(20)), "object": pa.chunked_array(fastser.pack_many(objects)), "tags": ["x"] * 20})
    for source in (table, table.slice(0), pl.DataFrame(table), table.to_batches(max_chunksize=3)):
        assert list(fastser.loads_many(source, column="object")) == objects
    assert list(fastser.loads_many(table.slice(5, 3), column="object")) == objects[5:8]
    assert list(fastser.loads_many(table.to_struct_array().combine_chunks().slice(4), column="object")) == objects[4:]
    assert list(fastser.loads_many(table.select(["object"]))) == objects
    assert fastser.loads(table.select(["object"]).slice(4, 1)) == objects[4]
    with duckdb.connect() as connection:
        connection.register("stored", table)
        found = connection.sql("select object from stored where id = 7")
        assert fastser.loads(found) == objects[7]


def test_names_go_before_positions(pa):
    table = table_of(names(3))
    assert list(fastser.loads_many(table.select(NAMES[::-1]))) == names(3)
    # By position, types that do not fit are an error, and those that do are not what they seem.
    with pytest.raises(DecodeError, match="^malformed Arrow row at version: expected format 'C'"):
        list(fastser.loads_many(table.select(NAMES[::-1]).rename_columns(list("abcdefghijkl"))))
    twice = pa.Table.from_arrays([*table.columns, table["tags"]], names=[*NAMES, "tags"])
    with pytest.raises(DecodeError, match="expected the 12 columns of packed objects .* found 13 columns: version, flags"):
        fastser.loads_many(twice)


def test_columns_that_are_not_there(pa):
    table = pa.table({"id": [1], "object": pa.chunked_array(fastser.pack_many([1])), "x": [{"a": 1}]})
    for read in (fastser.loads_many, fastser.loads):
        with pytest.raises(DecodeError, match=re.escape("found 3 columns: id, object, x: give column='object'") + "$"):
            read(table)
    expected = "expected one column 'other', found 0 among the columns id, object, x: give column='object'"
    with pytest.raises(DecodeError, match=re.escape(expected) + "$"):
        fastser.loads_many(table, column="other")
    frames = table.append_column("frame", pa.array([fastser.dumps(1)]))
    with pytest.raises(DecodeError, match=re.escape("found 4 columns: id, object, x, frame: give column='object' or column='frame'") + "$"):
        fastser.loads_many(frames)
    with pytest.raises(DecodeError, match=re.escape("found 2 columns: id, x") + "$"):
        fastser.loads_many(table.select(["id", "x"]))
    expected = "at column id: expected format '+s' (a struct), or binaries that are frames, found 'l'"
    with pytest.raises(DecodeError, match=re.escape(expected) + "$"):
        fastser.loads_many(table, column="id")
    with pytest.raises(DecodeError, match=re.escape("found 1 columns: a")):
        fastser.loads_many(table, column="x")
    with pytest.raises(TypeError, match="^column must be the name of a column or None, not 1$"):
        fastser.loads_many(table, column=1)
    again = table.append_column("object", table["id"])
    with pytest.raises(DecodeError, match="expected one column 'object', found 2 among"):
        fastser.loads_many(again, column="object")


def test_what_is_no_rows_at_all(pa):
    for source, found in ((5, "int"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"^expected Arrow data with a row for each object .* found {found}$"):
            fastser.loads_many(source)
    frame = fastser.dumps(1)
    make, read = "make a table of it first (pyarrow.table, polars.DataFrame)", "fastser.loads reads a frame; many of them are read as a binary column of a table"
    for source, found in (({"frame": [frame]}, f"dict: {make}"), (frame, f"bytes: {read}"), (bytearray(frame), f"bytearray: {read}"), ("text", "str")):
        with pytest.raises(TypeError, match=f"or an iterable of them\\), found {re.escape(found)}$"):
            fastser.loads_many(source)
    with pytest.raises(TypeError, match=f"found bytes: {read}$"):
        next(fastser.loads_many([frame]))
    objects = fastser.loads_many([table_of([1, 2]), "text"])
    assert [next(objects), next(objects)] == [1, 2]
    with pytest.raises(TypeError, match="found str$"):
        next(objects)
    for array in (pa.array([1, 2]), pa.array([{"a": 1}]), pa.array(["x"]).dictionary_encode(), pa.chunked_array([[1]])):
        with pytest.raises(DecodeError, match="^malformed Arrow row at its start: expected"):
            fastser.loads_many(array)
    with pytest.raises(TypeError):
        fastser.loads(pa.array(fastser.pack(1))[0])


def test_loads_says_that_there_are_others(pa):
    table = table_of([1, 2])
    for source, found in ((table, "2"), (table.slice(0, 0), "none"), (pa.concat_tables([table.slice(0, 1)] * 2), "more")):
        with pytest.raises(DecodeError, match=f"^expected one Arrow row, found {found}: fastser.loads_many reads"):
            fastser.loads(source)


def test_a_lazy_frame_is_to_be_collected(pa):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(table_of([1, 2]))
    with pytest.raises(TypeError, match=r"found polars\.lazyframe\.frame\.LazyFrame: collect it first$"):
        fastser.loads_many(frame.lazy())
    assert list(fastser.loads_many(frame.lazy().collect())) == [1, 2]


# --- integers of other widths, text for bytes -----------------------------------------------------------------------------

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
RANGES = {"i64": (-(2**63), 2**63 - 1), "i32": (-(2**31), 2**31 - 1), "i16": (-(2**15), 2**15 - 1), "i8": (-128, 127), "bits": (0, 255), "tags": (0, 255)}


def recast(pa, table, change):
    """The table with the item type that change(name, type) gives; lists keep their offsets."""
    columns = []
    for name in table.schema.names:
        column = one_array(table[name])
        if name in NAMES[:2]:
            columns.append(column.cast(change(name, column.type)))
        else:
            columns.append(pa.ListArray.from_arrays(column.offsets, column.values.cast(change(name, column.values.type))))
    return pa.table(columns, names=table.schema.names)


SMALL_NUMBERS = [{"a": 1, "b": [True, False, None]}, [100, 90, 1], (1.5, "é", b"bytes"), [[], {}], np.arange(100.0)]


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_of_every_width_and_sign(pa, kind):
    table = table_of(SMALL_NUMBERS, copy=True)
    kept = ("bits", "tags") if kind == "int8" else ()   # tags are beyond it
    again = recast(pa, table, lambda name, type: getattr(pa, kind)() if pa.types.is_integer(type) and name not in kept else type)
    assert again.schema.field("version").type == getattr(pa, kind)()
    for source in (again, again.to_struct_array(), pa.table({"id": range(5), "row": again.to_struct_array()}).select(["row"])):
        for obj, found in zip(SMALL_NUMBERS, fastser.loads_many(source), strict=True):
            assert same(obj, found)
    for i, obj in enumerate(SMALL_NUMBERS):
        assert same(obj, fastser.loads(again.slice(i, 1)))


@pytest.mark.parametrize("kind", ["int64", "int32"])
def test_integers_that_are_widened(pa, kind):
    """Every number that a column may have, through a type that holds it."""
    objects = [value for name, (low, high) in RANGES.items() for value in ([low, high, 5] * 3,) if kind == "int64" or name != "i64"]
    objects += [[b"\x80" * 10, {1, 200}], [True, False] * 20, 2**63 if kind == "int64" else 7]
    table = table_of(objects, copy=True)
    again = recast(pa, table, lambda name, type: getattr(pa, kind)() if pa.types.is_integer(type) and name != "i64" else type)
    for obj, found in zip(objects, fastser.loads_many(again.slice(0)), strict=True):
        assert same(obj, found)


@pytest.mark.parametrize("name", RANGES)
def test_an_integer_that_does_not_fit_is_the_error_of_its_row(pa, name):
    low, high = RANGES[name]
    table = table_of(["first", "second", "third"], copy=True)
    values = [(low - 1, pa.int64()), (high + 1, pa.uint64() if name == "i64" else pa.int64()), (2**64 - 1, pa.uint64())]
    for value, kind in values:
        if not -(2**63) <= value:
            continue
        # The third of the items that the second row has.
        rows = [row if i != 1 else [0, high, value] for i, row in enumerate(table[name].to_pylist())]
        objects = fastser.loads_many(table.set_column(NAMES.index(name), name, pa.array(rows, pa.list_(kind))))
        assert next(objects) == "first"
        expected = f"row 1: malformed Arrow row at column {name}, position 2: expected a number from {low} to {high}, found {value}"
        with pytest.raises(DecodeError, match=f"^{re.escape(expected)}$"):
            next(objects)
        assert next(objects) == "third"


@pytest.mark.parametrize("name", NAMES[:2])
def test_a_header_that_does_not_fit(pa, name):
    table = table_of([1, 2])
    first = table[name][0].as_py()
    for value, kind in ((-1, pa.int8()), (256, pa.int32()), (2**64 - 1, pa.uint64()), (first + 256, pa.int64())):
        objects = fastser.loads_many(table.set_column(NAMES.index(name), name, pa.array([first, value], kind)))
        assert next(objects) == 1
        with pytest.raises(DecodeError, match=f"^row 1: malformed Arrow row at {name}: expected a number from 0 to 255, found {value}$"):
            next(objects)


def test_text_for_binary_and_binary_for_text(pa):
    """As engines have it whose text is bytes: those that are no UTF-8 are kept, too."""
    objects = [*SMALL_NUMBERS, "x" * 5000, b"\xff\x80" * 3000, [b"\xff", "é" * 4]]
    table = table_of(objects, copy=True)
    for kinds in ((pa.binary(), pa.string()), (pa.large_binary(), pa.large_string()), (pa.binary_view(), pa.string_view())):
        columns = []
        for name in NAMES:
            column = one_array(table[name])
            if name in ("text", "data", "buffers"):
                items = column.values.cast(kinds[0])
                if name != "text":   # not cast, which would look at it
                    items = pa.Array.from_buffers(kinds[1], len(items), items.buffers())
                column = pa.ListArray.from_arrays(column.offsets, items)
            columns.append(column)
        for obj, found in zip(objects, fastser.loads_many(pa.table(columns, names=NAMES)), strict=True):
            assert same(obj, found)


def test_bytes_that_are_no_text(pa):
    table = table_of(["text", "no text"])
    column = pa.array([[b"text"], [b"\xff\xfe"]])
    objects = fastser.loads_many(table.set_column(NAMES.index("text"), "text", column))
    assert next(objects) == "text"
    with pytest.raises(DecodeError, match="^row 1: .*utf-8"):
        next(objects)


def test_structs_of_pandas(pa):
    """Which makes dicts of rows: what is no array has 64 bits afterwards."""
    pytest.importorskip("pandas")
    objects = [{"a": 1, "b": [True, None]}, [1, 2, 300], "x" * 5000]
    table = pa.table({"id": range(3), "row": table_of(objects, copy=True).to_struct_array()})
    again = pa.Table.from_pandas(table.to_pandas())
    kinds = {field.name: field.type for field in again.schema.field("row").type}
    assert kinds["version"] == pa.int64() and kinds["i64"].value_type == pa.int64()
    for obj, found in zip(objects, fastser.loads_many(again, column="row"), strict=True):
        assert same(obj, found)


# --- frames in one column ---------------------------------------------------------------------------------------------------


@pytest.mark.core
@pytest.mark.parametrize("large", [False, True])
def test_frames_without_any_engine(large):
    rows = fastser.pack_many(OBJECTS.values(), layout="frames", large=large)
    assert len(rows) == len(OBJECTS)
    for _ in range(2):
        for obj, found in zip(OBJECTS.values(), fastser.loads_many(rows), strict=True):
            assert same(obj, found)
    assert list(fastser.loads_many(fastser.pack_many([], layout="frames", large=large))) == []
    with pytest.raises(TypeError, match="^layout must be 'columns' or 'frames', not 'rows'$"):
        fastser.pack_many([], layout="rows")


@pytest.mark.parametrize("large", [False, True])
def test_frames_are_those_of_dumps(pa, large):
    rows = fastser.pack_many(OBJECTS.values(), layout="frames", large=large)
    table = pa.table(rows)
    table.validate(full=True)
    kind = pa.large_binary() if large else pa.binary()
    assert table.schema == pa.schema(rows) == pa.schema([pa.field("frame", kind, nullable=False)])
    assert table["frame"].to_pylist() == [fastser.dumps(obj) for obj in OBJECTS.values()]


@pytest.mark.parametrize("route", ROUTES)
def test_frames_through(pa, route):
    source = sequences(pa)[route](table_of(OBJECTS.values(), layout="frames"))
    for obj, found in zip(OBJECTS.values(), fastser.loads_many(source), strict=True):
        assert same(obj, found)


def test_frames_of_every_binary_type(pa):
    frames = [fastser.dumps(obj) for obj in OBJECTS.values()]
    for kind in (pa.binary(), pa.large_binary(), pa.binary_view()):
        array = pa.array([None, *frames], kind)
        texts = {pa.binary(): pa.string(), pa.large_binary(): pa.large_string(), pa.binary_view(): pa.string_view()}
        text = pa.Array.from_buffers(texts[kind], len(array), array.buffers())
        for column in (array.slice(1), text.slice(1)):
            table = pa.table({"id": range(len(frames)), "frame": column})
            sources = [(table, "frame"), (table.select(["frame"]), None), (table.select(["frame"]).rename_columns(["x"]), None)]
            sources += [(column, None), (pa.chunked_array([column.slice(0, 3), column.slice(3)]), None)]
            for source, name in sources:
                for obj, found in zip(OBJECTS.values(), fastser.loads_many(source, column=name), strict=True):
                    assert same(obj, found)
            assert same(OBJECTS[next(iter(OBJECTS))], fastser.loads(column.slice(0, 1)))
    pl = pytest.importorskip("polars")
    assert same(list(OBJECTS.values())[0], next(fastser.loads_many(pl.Series("frame", frames))))


def test_frames_that_are_none(pa):
    good = fastser.dumps("good")
    column = pa.array([good, None, b"", b"something else", good[:-1], good])
    for source in (column, pa.table({"id": range(6), "frame": column})):
        objects = fastser.loads_many(source, column=None if source is column else "frame")
        assert next(objects) == "good"
        for row, expected in enumerate(["malformed Arrow row at column frame: expected no null, found one at position 0", "truncated frame: expected ", "not a fastser frame: expected ", "truncated frame: expected "], 1):
            with pytest.raises(DecodeError, match=f"^row {row}: {expected}"):
                next(objects)
        assert next(objects) == "good"
        assert next(objects, "end") == "end"
    with pytest.raises(DecodeError, match="^malformed Arrow row at column frame: expected no null"):
        fastser.loads(column.slice(1, 1))


def test_lists_without_a_type(pa):
    """As whoever infers types has it where all of them are empty."""
    objects = ["text", "other"]
    table = table_of(objects)
    empty = [name for name in NAMES[2:] if not any(table[name].to_pylist())]
    assert {"f64", "buffers", "data"} <= set(empty)
    for name in empty:
        table = table.set_column(NAMES.index(name), name, pa.array([[], []], pa.list_(pa.null())))
    assert list(fastser.loads_many(table)) == objects
    nulls = fastser.loads_many(table.set_column(NAMES.index("f64"), "f64", pa.array([[], [None]], pa.list_(pa.null()))))
    assert next(nulls) == "text"
    with pytest.raises(DecodeError, match="^row 1: malformed Arrow row at column f64: expected no null, found one at position 0$"):
        next(nulls)


def test_frames_in_a_struct(pa):
    """As a struct column of pack_many's batches is made."""
    column = pa.chunked_array(fastser.pack_many(["a", [1]], layout="frames"))
    table = pa.table({"id": [1, 2], "event": column})
    assert list(fastser.loads_many(table, column="event")) == ["a", [1]]
    assert list(fastser.loads_many(table.slice(1), column="event")) == [[1]]
    with pytest.raises(DecodeError, match="found 2 columns: id, event: give column='event'$"):
        fastser.loads_many(table)
    for nulls in (pa.array([None, {"frame": fastser.dumps(1)}]), pa.array([{"frame": None}, {"frame": fastser.dumps(1)}])):
        objects = fastser.loads_many(pa.table({"event": nulls}))
        with pytest.raises(DecodeError, match="^row 0: malformed Arrow row at (its start|column frame): expected no null"):
            next(objects)
        assert next(objects) == 1


def test_a_table_of_one_frame(pa):
    objects = [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    frames = pa.table(fastser.pack_many([objects, 5], layout="frames"))
    for source in (frames.slice(0, 1), frames["frame"].slice(0, 1), fastser.pack_many([objects], layout="frames")):
        assert fastser.loads(source) == objects
        assert pa.table(fastser.to_arrow(source)).to_pylist() == objects
    assert fastser.requirements(frames.slice(1)) == {}


def test_frames_are_safe_and_errors_name_the_object(pa):
    rows = pa.table(fastser.pack_many([1, samples.Point(1, 2)] if hasattr(samples, "Point") else [1, re.compile("a")], layout="frames"))
    objects = fastser.loads_many(rows, safe=True)
    assert next(objects) == 1
    with pytest.raises(UnsafeDataError, match="^row 1: "):
        next(objects)
    objects = fastser.loads_many(fastser.pack_many([1, (i for i in "a")], layout="frames"))
    with pytest.raises(DecodeError, match="object 1: cannot pack the generator"):
        next(objects)


def test_arrays_of_frames_keep_the_batch(pa):
    array = np.arange(1000.0)
    back = next(fastser.loads_many(fastser.pack_many([array], layout="frames")))
    gc.collect()
    assert not back.flags.writeable and np.array_equal(back, array)
    writable = next(fastser.loads_many(fastser.pack_many([array], layout="frames"), writable=True))
    writable[0] = 5
    assert writable[0] == 5


def test_offsets_of_frames_of_any_kind_are_errors(pa):
    frame = fastser.dumps([1, 2, 3])
    for offsets in ([0, len(frame) + 1], [5, 2], [0, 2**31 - 1]):
        held = pa.py_buffer(np.array([*offsets, len(frame)], "i4"))
        column = pa.Array.from_buffers(pa.binary(), 2, [None, held, pa.py_buffer(frame)])
        with pytest.raises(DecodeError, match="^row 0: malformed Arrow row at column frame, position 0: expected offsets that grow to"):
            next(fastser.loads_many(column))


def test_frames_make_batches(pa):
    rows = fastser.pack_many((bytes(2**20) for _ in range(70)), layout="frames")
    batches = list(pa.RecordBatchReader.from_stream(rows))
    assert [len(batch) for batch in batches] == [32, 32, 6]
    with pytest.raises(ValueError, match="^these rows were read before"):
        pa.table(rows)


# --- a little at a time -------------------------------------------------------------------------------------------------


class Probe:
    """A generator that tells how far it was read."""

    def __init__(self, objects):
        self.objects = objects
        self.read = 0

    def __iter__(self):
        for obj in self.objects:
            self.read += 1
            yield obj


@pytest.mark.core
def test_objects_are_packed_when_they_are_asked_for():
    probe = Probe(itertools.repeat({"a": 1}))
    rows = fastser.pack_many(probe)
    objects = fastser.loads_many(rows)
    assert probe.read == 0
    assert next(objects) == {"a": 1}
    assert probe.read == BATCH_ROWS
    for _ in itertools.islice(objects, BATCH_ROWS):
        pass
    assert probe.read == 2 * BATCH_ROWS


@pytest.mark.core
def test_large_objects_make_small_batches():
    probe = Probe(np.zeros(BATCH_BYTES // 32 + 1) for _ in range(20))
    objects = fastser.loads_many(fastser.pack_many(probe))
    assert next(objects).shape == (BATCH_BYTES // 32 + 1,)
    assert probe.read == 4
    probe = Probe(np.zeros(BATCH_BYTES // 4, "i4").tolist() for _ in range(3))  # columns, not bodies
    objects = fastser.loads_many(fastser.pack_many(probe))
    next(objects)
    assert probe.read in (1, 2, 3)


def test_batches_are_read_when_they_are_asked_for(pa):
    table = table_of(names(30))
    probe = Probe(table.to_batches(max_chunksize=10))
    reader = pa.RecordBatchReader.from_batches(table.schema, probe)
    objects = fastser.loads_many(reader)
    assert probe.read == 0
    for read in (1, 2, 3):
        for _ in range(10):
            next(objects)
            assert probe.read == read
    assert list(objects) == []
    assert list(objects) == []


@pytest.mark.core
def test_a_batch_is_let_go_when_it_was_read():
    sources = [np.full(BATCH_BYTES // 8, float(i)) for i in range(3)]
    alive = [weakref.ref(source) for source in sources]
    objects = fastser.loads_many(fastser.pack_many(sources.pop(0) for _ in range(3)))
    first = next(objects)
    assert len(sources) == 2
    second = next(objects)
    assert second[0] == 1.0
    del first
    gc.collect()
    assert alive[0]() is None
    assert second[-1] == 1.0
    del second, objects
    gc.collect()
    assert alive[1]() is None


@pytest.mark.core
def test_arrays_keep_the_batch_and_nothing_else_does():
    source = np.arange(1000.0)
    alive = weakref.ref(source)
    found = list(fastser.loads_many(fastser.pack_many([{"a": source}, "text", 5])))
    assert found[0]["a"].ctypes.data == source.ctypes.data
    assert not found[0]["a"].flags.writeable
    del source
    gc.collect()
    assert alive() is not None
    found[0] = None
    gc.collect()
    assert alive() is None


@pytest.mark.core
def test_lists_are_read_again_and_iterators_once():
    rows = fastser.pack_many(names(5))
    assert len(rows) == 5
    assert repr(rows) == "<fastser.PackedRows of list>"
    assert list(fastser.loads_many(rows)) == list(fastser.loads_many(rows)) == names(5)
    rows = fastser.pack_many(iter(names(5)))
    with pytest.raises(TypeError, match="len"):
        len(rows)
    rows.__arrow_c_schema__()
    assert list(fastser.loads_many(rows)) == names(5)
    with pytest.raises(ValueError, match="^these rows were read before, and pack_many was given an iterator"):
        fastser.loads_many(rows)
    with pytest.raises(TypeError, match="not iterable"):
        fastser.pack_many(5)
    with pytest.raises(TypeError, match="^PackedRows are made by fastser.pack_many$"):
        fastser.PackedRows()


def test_more_rows_than_a_batch_holds(pa):
    table = table_of(range(BATCH_ROWS + 10))
    assert [len(chunk) for chunk in table["tags"].chunks] == [BATCH_ROWS, 10]
    assert list(fastser.loads_many(table)) == list(range(BATCH_ROWS + 10))
    assert fastser.loads(table.slice(BATCH_ROWS + 3, 1)) == BATCH_ROWS + 3


# --- what rows are made of ----------------------------------------------------------------------------------------------


def test_bodies_are_not_copied(pa):
    arrays = [np.arange(1000.0) + i for i in range(5)]
    text, data = "x" * 10_000, b"y" * 10_000
    table = table_of([*arrays, [text, data], arrays[0][::2], arrays[1]])
    views = table["buffers"].chunk(0).values.buffers()[2:]
    assert [view.address for view in views[:7]][:5] == [array.ctypes.data for array in arrays]
    assert address(data) in [view.address for view in views]
    found = list(fastser.loads_many(table))
    assert [array.ctypes.data for array in found[:5]] == [array.ctypes.data for array in arrays]
    assert found[7].ctypes.data == arrays[1].ctypes.data
    assert same(arrays[0][::2].copy(), found[6])


def test_small_arrays_at_any_offset(pa):
    """Their elements lie wherever the row before ended: what is misaligned is copied."""
    objects = [[b"x" * i, np.arange(3.0) + i, np.arange(i % 5)] for i in range(40)]
    for obj, found in zip(objects, fastser.loads_many(table_of(objects)), strict=True):
        assert same(obj, found)
        assert found[1].flags.aligned


@pytest.mark.core
@pytest.mark.parametrize("over", [-1, 0, 12, 13])
def test_bodies_beyond_a_view(over):
    size = 2 * (2**31 - 64) + over
    with mmap.mmap(-1, size) as mapping:  # pages that nobody touches cost nothing
        source = np.frombuffer(mapping, "u1")
        small = np.arange(100.0)
        found = list(fastser.loads_many(fastser.pack_many([small, source, small])))
        assert [array.ctypes.data for array in found] == [small.ctypes.data, source.ctypes.data, small.ctypes.data]
        assert found[1].shape == (size,)
        del found, source


@pytest.mark.skipif(free_memory() < 8 << 30, reason="needs 8 GB of free memory")
def test_columns_beyond_32_bits():
    text = "x" * 4000
    rows = fastser.pack_many([[text] * 2000, [text] * (2**31 // 4000 + 1)], track_refs=False)
    with pytest.raises(DecodeError, match=re.escape("object 1: a column of a row with 32-bit offsets (large=False) is too large")):
        fastser.loads_many(rows).__next__()


@pytest.mark.core
def test_identity_is_kept_within_an_object():
    shared = [1]
    cycle = {}
    cycle["self"] = cycle
    first, second, third = fastser.loads_many(fastser.pack_many([[shared, shared], shared, cycle]))
    assert first[0] is first[1]
    assert first[0] is not second
    assert third["self"] is third
    apart = next(fastser.loads_many(fastser.pack_many([[shared, shared]], track_refs=False)))
    assert apart[0] is not apart[1]


@pytest.mark.core
def test_objects_of_users_classes():
    objects = [samples.Plain(), samples.put(samples.Slots(), a=1), samples.Colour.RED, samples.put(samples.Reduced(), b=[1]), lambda x: x + 1]
    found = list(fastser.loads_many(fastser.pack_many(objects)))
    for obj, other in zip(objects[:-1], found, strict=False):
        assert same(obj, other)
    assert found[-1](1) == 2


@pytest.mark.core
def test_options_of_both():
    rows = fastser.pack_many([1, samples.Colour.RED, 2])
    objects = fastser.loads_many(rows, safe=True)
    assert next(objects) == 1
    with pytest.raises(UnsafeDataError, match="^row 1: safe=True, but "):
        next(objects)
    assert next(objects) == 2
    plain = samples.put(samples.Plain(), a=1)
    assert same(plain, next(fastser.loads_many(fastser.pack_many([plain]), safe=True, allow=[samples.Plain])))
    objects = fastser.loads_many(fastser.pack_many([[[[1]]], []]), max_depth=2)
    with pytest.raises(DepthError, match="^row 0: This object exceeds the maximum recursion depth"):
        next(objects)
    assert list(objects) == [[]]
    for options in ({"fallback": "other"}, {"max_depth": "x"}, {"hooks": 1}):
        with pytest.raises(TypeError):
            fastser.pack_many([], **options)
    for options in ({"allow": 5}, {"max_depth": "x"}, {"hooks": 1}):
        with pytest.raises(TypeError):
            fastser.loads_many(rows, **options)


@pytest.mark.core
def test_a_serializer_has_both():
    class Own:
        def __init__(self, value):
            self.value = value

    serializer = fastser.Serializer(max_depth=3)
    serializer.register(Own, lambda own: own.value, Own, name="own")
    rows = serializer.pack_many([Own(1), [Own(2)]], large=True)
    first, second = serializer.loads_many(rows)
    assert (first.value, second[0].value) == (1, 2)
    with pytest.raises(DecodeError, match="^row 0: expected a hook registered as 'own'"):
        next(fastser.loads_many(rows))
    with pytest.raises(DecodeError, match="object 0: This object exceeds the maximum recursion depth"):
        next(serializer.loads_many(serializer.pack_many([[[[[]]]]])))


# --- errors -------------------------------------------------------------------------------------------------------------


class Refuses:
    def __reduce__(self):
        raise OSError("own")


@pytest.mark.core
def test_errors_name_the_object():
    rows = fastser.pack_many([1, {"a": Refuses()}, 2])
    with pytest.raises(DecodeError, match=r"object 1: cannot pack the test_rows.Refuses at \$\.a: OSError: own"):
        list(fastser.loads_many(rows))


def test_errors_reach_the_engine(pa):
    rows = fastser.pack_many([1, {"a": Refuses()}, 2])
    with pytest.raises(pa.ArrowInvalid, match=r"object 1: cannot pack the test_rows.Refuses at \$\.a: OSError: own"):
        pa.table(rows)
    reader = pa.RecordBatchReader.from_stream(rows)
    with pytest.raises(pa.ArrowInvalid):
        reader.read_next_batch()
    with pytest.raises(StopIteration):
        reader.read_next_batch()

    def breaks():
        yield 1
        raise KeyError("ä\ud800")

    with pytest.raises(pa.ArrowInvalid, match=r"KeyError: 'ä\\ud800'"):
        pa.table(fastser.pack_many(breaks()))

    def exhausted():
        yield 1
        raise MemoryError

    with pytest.raises(MemoryError):
        pa.table(fastser.pack_many(exhausted()))


@pytest.mark.core
def test_rows_that_ask_for_rows():
    """Loading an object may read the next one from the same iterator."""
    objects = fastser.loads_many(fastser.pack_many([AsksForNext(), "next", "last"]))
    AsksForNext.objects = objects
    try:
        assert [next(objects).found, *objects] == ["next", "last"]
    finally:
        del AsksForNext.objects


class AsksForNext:
    def __setstate__(self, state):
        self.found = next(self.objects)

    def __getstate__(self):
        return {"a": 1}


@pytest.mark.core
def test_objects_that_ask_for_the_stream_they_are_in():
    def greedy():
        yield 1
        yield next(stream)

    rows = fastser.pack_many(greedy())
    stream = fastser.loads_many(rows)
    with pytest.raises(DecodeError, match="ValueError: these rows are being read by another thread"):
        next(stream)


@pytest.mark.core
def test_several_threads_read_one_iterator():
    waiting, go = threading.Event(), threading.Event()

    def slowly():
        waiting.set()
        go.wait(10)
        yield from range(5)

    objects = fastser.loads_many(fastser.pack_many(slowly()))
    found = []
    thread = threading.Thread(target=lambda: found.extend(objects))
    thread.start()
    waiting.wait(10)
    with pytest.raises(ValueError, match="^these rows are being read by another thread"):
        next(objects)
    go.set()
    thread.join()
    assert found == [0, 1, 2, 3, 4]


# --- release ------------------------------------------------------------------------------------------------------------


class Stream(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("get_schema", "get_next", "get_last_error", "release", "private_data")]


GET_NEXT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Stream), ctypes.POINTER(Array))
GET_SCHEMA = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Stream), ctypes.POINTER(Schema))
RELEASE_STREAM = ctypes.CFUNCTYPE(None, ctypes.POINTER(Stream))
RELEASE_SCHEMA = ctypes.CFUNCTYPE(None, ctypes.POINTER(Schema))


class Counted:
    """The stream of some rows, every release of which is counted, and its arrays changed on their way."""

    def __init__(self, rows, change=lambda array: None):
        self.rows = rows
        self.change = change
        self.made = {"stream": 0, "schema": 0, "array": 0}
        self.released = {"stream": 0, "schema": 0, "array": 0}
        self.kept = []

    def __arrow_c_stream__(self, requested_schema=None):
        capsule = self.rows.__arrow_c_stream__()
        stream = Stream.from_address(_pointer_of(capsule, b"arrow_array_stream"))
        get_next, get_schema = GET_NEXT(stream.get_next), GET_SCHEMA(stream.get_schema)

        def next_array(stream, array):
            code = get_next(stream, array)
            if code == 0 and array.contents.release:
                self.count("array", array.contents, RELEASE_ARRAY)
                self.change(array.contents)
            return code

        def schema_of(stream, schema):
            code = get_schema(stream, schema)
            self.count("schema", schema.contents, RELEASE_SCHEMA)
            return code

        self.count("stream", stream, RELEASE_STREAM)
        stream.get_next = self.keep(GET_NEXT(next_array))
        stream.get_schema = self.keep(GET_SCHEMA(schema_of))
        return capsule

    def keep(self, function):
        self.kept.append(function)
        return ctypes.cast(function, ctypes.c_void_p)

    def count(self, what, struct, kind):
        original = kind(struct.release)

        def released(pointer):
            self.released[what] += 1
            original(pointer)

        self.made[what] += 1
        struct.release = self.keep(kind(released))


@pytest.mark.core
def test_everything_is_released_once():
    counted = Counted(fastser.pack_many(names(BATCH_ROWS + 5)))
    objects = fastser.loads_many(counted)
    assert counted.released == {"stream": 0, "schema": 1, "array": 0}
    assert sum(1 for _ in objects) == BATCH_ROWS + 5
    assert counted.made == counted.released == {"stream": 1, "schema": 1, "array": 2}


@pytest.mark.core
def test_everything_is_released_though_nothing_is_read():
    counted = Counted(fastser.pack_many(names(5)))
    objects = fastser.loads_many(counted)
    del objects
    assert counted.made == counted.released == {"stream": 1, "schema": 1, "array": 0}
    counted = Counted(fastser.pack_many(names(5)))
    counted.__arrow_c_stream__()
    assert counted.made == counted.released == {"stream": 1, "schema": 0, "array": 0}
    objects = fastser.loads_many(counted)
    next(objects)
    del objects
    assert counted.made == counted.released == {"stream": 2, "schema": 1, "array": 1}


@pytest.mark.core
def test_everything_is_released_after_errors():
    def spoil(array):
        array.children[5].contents.length = 0

    counted = Counted(fastser.pack_many(names(5)), spoil)
    objects = fastser.loads_many(counted)
    with pytest.raises(DecodeError, match="^row 0: malformed Arrow row at column i32: expected 5 items or more, found 0$"):
        next(objects)
    assert counted.made == counted.released == {"stream": 1, "schema": 1, "array": 1}
    assert list(objects) == []
    counted = Counted(fastser.pack_many([1, 2]))
    with pytest.raises(DecodeError, match="found 2"):
        fastser.loads(counted)
    assert counted.made == counted.released == {"stream": 1, "schema": 1, "array": 1}
    counted = Counted(fastser.pack_many([Refuses()]))
    with pytest.raises(DecodeError, match="object 0"):
        fastser.loads(counted)
    assert counted.made == counted.released == {"stream": 1, "schema": 1, "array": 0}


@pytest.mark.core
def test_the_array_of_one_row_is_released_with_the_last_view():
    counted = Counted(fastser.pack_many([np.arange(1000.0)]))
    array = fastser.loads(counted)
    assert counted.released == {"stream": 1, "schema": 1, "array": 0}
    view = array[5:]
    del array
    assert counted.released["array"] == 0
    del view
    assert counted.released["array"] == 1


@pytest.mark.core
def test_release_on_another_thread():
    source = np.arange(1000.0)
    alive = weakref.ref(source)
    found = [fastser.loads(fastser.pack_many([source]))]
    del source
    thread = threading.Thread(target=found.clear)
    thread.start()
    thread.join()
    assert alive() is None


@pytest.mark.core
def test_rows_that_are_alive_when_the_interpreter_ends():
    script = """
        import sys
        sys.path[:0] = {path!r}
        import fastser, numpy
        rows = fastser.pack_many(numpy.zeros(1000) for _ in range(10))
        stream = rows.__arrow_c_stream__()
        objects = fastser.loads_many(fastser.pack_many([numpy.zeros(1000), 2]))
        sys.kept = [rows, stream, objects, next(objects)]
        """
    script = textwrap.dedent(script).format(path=sys.path)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- malformed rows -----------------------------------------------------------------------------------------------------

THREE = [OBJECTS[name] for name in list(OBJECTS)[:1]] + [{"a": np.arange(100.0), "b": ["text", b"data", 300, 70_000, 2**40, 1.5, [True] * 9]}, "é"]


def with_null(pa, column, row):
    """The column with a null in place of a row."""
    array = one_array(column)
    return pa.concat_arrays([array.slice(0, row), pa.nulls(1, array.type), array.slice(row + 1)])


@pytest.mark.parametrize("name", NAMES)
def test_a_null_is_the_error_of_its_row(pa, name):
    table = table_of(THREE)
    i = NAMES.index(name)
    table = table.set_column(i, pa.field(name, table.schema[i].type), with_null(pa, table[name], 1))
    objects = fastser.loads_many(table)
    assert same(THREE[0], next(objects))
    place = f"column {name}" if name in COLUMNS else name
    with pytest.raises(DecodeError, match=f"^row 1: malformed Arrow row at {place}: expected no null, found one at position 0$"):
        next(objects)
    assert next(objects) == "é"


def test_a_row_that_is_null(pa):
    rows = with_null(pa, table_of(THREE).to_struct_array(), 1)
    for source, options in ((rows, {}), (pa.table({"id": [1, 2, 3], "row": rows}), {"column": "row"})):
        objects = fastser.loads_many(source, **options)
        assert same(THREE[0], next(objects))
        with pytest.raises(DecodeError, match="^row 1: malformed Arrow row at its start: expected no null"):
            next(objects)
        assert next(objects) == "é"


def test_a_null_item(pa):
    table = table_of(THREE)
    items = [[*column, None] if i == 1 else column for i, column in enumerate(table["f64"].to_pylist())]
    table = table.set_column(NAMES.index("f64"), "f64", pa.array(items, pa.list_(pa.float64())))
    with pytest.raises(DecodeError, match="^row 1: malformed Arrow row at column f64: expected no null, found one at position"):
        list(fastser.loads_many(table))


@pytest.mark.parametrize("name", NAMES)
def test_columns_of_another_type(pa, name):
    table = table_of(THREE)
    i = NAMES.index(name)
    place = f"column {name}" if name in COLUMNS else name
    lists = pa.array([[{"a": 1}]] * 3)
    fixed = pa.array([[1, 2]] * 3, pa.list_(pa.uint8(), 2))
    dictionary = pa.array(["a"] * 3).dictionary_encode()
    encoded = pa.RunEndEncodedArray.from_arrays(pa.array([3], pa.int32()), pa.array([1], pa.uint8()))
    for column in (lists, fixed, dictionary, encoded, pa.nulls(3), pa.array([1.5] * 3), pa.array([[1.5]] * 3, pa.list_(pa.float32()))):
        with pytest.raises(DecodeError, match=f"^malformed Arrow row at {place}: expected "):
            fastser.loads_many(table.set_column(i, name, column))


def test_items_that_are_a_dictionary(pa):
    table = table_of(THREE)
    text = one_array(table["text"])
    column = pa.ListArray.from_arrays(text.offsets, text.values.dictionary_encode())
    with pytest.raises(DecodeError, match="^malformed Arrow row at column text: expected a plain array, found one with a dictionary$"):
        fastser.loads_many(table.set_column(NAMES.index("text"), "text", column))


def test_offsets_of_any_kind_are_errors(pa):
    """Every offset of every list, text and view replaced by numbers that do not fit: an error of the row, or its object."""
    table = table_of(THREE).combine_chunks()
    wanted = [-1, 2**31 - 1, -(2**31), 10**6]
    errors = 0
    for name in COLUMNS:
        lists = table[name].chunk(0)
        items = lists.values
        for target, dtype in ((lists, "i4"), (items, "i4") if name in ("text", "data", "buffers") else (lists, "i4")):
            source = np.frombuffer(target.buffers()[1], dtype)
            for position, value in itertools.product(range(len(source)), wanted):
                changed = source.copy()
                changed[position] = value
                buffers = target.buffers()[: 2 if target is lists else None]
                buffers[1] = pa.py_buffer(changed)
                try:
                    if target is lists:
                        column = pa.Array.from_buffers(lists.type, 3, buffers, children=[items])
                    else:
                        inner = pa.Array.from_buffers(items.type, len(items), buffers)
                        column = pa.Array.from_buffers(lists.type, 3, lists.buffers()[:2], children=[inner])
                except pa.ArrowInvalid:
                    continue  # pyarrow looks at first and last offsets itself
                objects = fastser.loads_many(table.set_column(NAMES.index(name), name, column))
                for _ in range(3):
                    try:
                        next(objects)
                    except DecodeError as error:
                        assert re.match("row [012]: ", str(error))
                        errors += 1
    assert errors > 100


def test_text_of_another_row_is_no_text_of_this_one(pa):
    """Offsets that go back behind the row's first, to what was not looked at when it was found to be ASCII."""
    table = table_of(["éé", ["plain", "text"]]).combine_chunks()
    lists = table["text"].chunk(0)
    items = lists.values
    offsets = np.frombuffer(items.buffers()[1], "i4").copy()
    assert offsets.tolist() == [0, 4, 9, 13]
    for first in (0, 1, 3):
        changed = offsets.copy()
        changed[2] = first
        inner = pa.Array.from_buffers(items.type, 3, [None, pa.py_buffer(changed), items.buffers()[2]])
        column = pa.Array.from_buffers(lists.type, 2, lists.buffers()[:2], children=[inner])
        objects = fastser.loads_many(table.set_column(NAMES.index("text"), "text", column))
        assert next(objects) == "éé"
        with pytest.raises(DecodeError, match=r"^row 1: malformed frame at .*: expected rising offsets in column text"):
            next(objects)


def test_rows_of_random_bytes(pa):
    rng = np.random.default_rng(5)
    table = table_of(THREE * 5).combine_chunks()
    for _ in range(300):
        name = COLUMNS[rng.integers(len(COLUMNS))]
        lists = table[name].chunk(0)
        items = lists.values
        buffers = [buffer and np.frombuffer(buffer, "u1").copy() for buffer in items.buffers()]
        chosen = [buffer for buffer in buffers[1:] if buffer is not None and len(buffer)]
        if not chosen:
            continue
        target = chosen[rng.integers(len(chosen))]
        target[rng.integers(len(target), size=3)] = rng.integers(256, size=3)
        try:
            again = pa.Array.from_buffers(items.type, len(items), [None if b is None else pa.py_buffer(b) for b in buffers])
        except pa.ArrowInvalid:
            continue
        column = pa.Array.from_buffers(lists.type, len(lists), lists.buffers()[:2], children=[again])
        objects = fastser.loads_many(table.set_column(NAMES.index(name), name, column), safe=True)
        for _ in range(15):
            try:
                next(objects)
            except (DecodeError, DepthError):
                pass


def test_versions_of_rows(pa):
    table = table_of([1, 2, 3])
    table = table.set_column(0, "version", pa.array([1, 2, 1], pa.uint8())).set_column(1, "flags", pa.array([0, 0, 0x88], pa.uint8()))
    objects = fastser.loads_many(table)
    assert next(objects) == 1
    with pytest.raises(DecodeError, match="^row 1: this frame has format version 2"):
        next(objects)
    with pytest.raises(DecodeError, match="^row 2: malformed Arrow row at flags: expected no flags but 0x7, found 0x88$"):
        next(objects)
    with pytest.raises(StopIteration):
        next(objects)

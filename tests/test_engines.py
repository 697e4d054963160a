"""Packed objects through files and engines, in both layouts of pack_many: what each hands back, as docs/arrow.md tells."""

import datetime
import re

import numpy as np
import pytest
from same import same

import fastser

pa = pytest.importorskip("pyarrow")

OBJECTS = [
    {"a": 1, "b": "é" * 3},
    [1.5, 2, -300, 70_000, -(2**40)],
    np.arange(1000.0),
    {"x": b"\xff\x00\x80" * 5, "t": (None, True, False) * 40},
    datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc),
    "x" * 5000,
    2**63,
    [b"\x80" * 3000, {1, 2, 255, 128}],
]


def parquet(table, path):
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(table, path / "file")
    return pq.read_table(path / "file")


def feather(table, path):
    feather = pytest.importorskip("pyarrow.feather")
    feather.write_feather(table, path / "file")
    return feather.read_table(path / "file")


def orc(table, path):
    orc = pytest.importorskip("pyarrow.orc")
    orc.write_table(table, path / "file")
    return orc.read_table(path / "file")


def duckdb(table, path):
    connection = pytest.importorskip("duckdb").connect(path / "file")
    connection.register("given", table)
    connection.sql("create table stored as select * from given")
    return connection.sql("select * from stored").to_arrow_table()


def polars(table, path):
    pl = pytest.importorskip("polars")
    pl.DataFrame(table).write_parquet(path / "file")
    return pl.read_parquet(path / "file")


def pandas(table, path):
    pytest.importorskip("pandas")
    return table.to_pandas()


def datafusion(table, path):
    context = pytest.importorskip("datafusion").SessionContext()
    context.register_record_batches("stored", [table.to_batches()])
    return context.sql("select * from stored")


def delta(table, path):
    deltalake = pytest.importorskip("deltalake")
    deltalake.write_deltalake(path / "table", table)
    return deltalake.DeltaTable(path / "table").to_pyarrow_table()


def lance(table, path):
    lance = pytest.importorskip("lance")
    lance.write_dataset(table, path / "table")
    return lance.dataset(path / "table").to_table()


def iceberg(table, path):
    catalogs = pytest.importorskip("pyiceberg.catalog.sql")
    catalog = catalogs.SqlCatalog("catalog", uri=f"sqlite:///{path}/catalog.db", warehouse=f"file://{path}")
    catalog.create_namespace("space")
    stored = catalog.create_table("space.stored", schema=table.schema)
    stored.append(table)
    return stored.scan().to_arrow()


def clickhouse(table, path):
    chdb = pytest.importorskip("chdb")
    parquet(table, path)
    return chdb.query(f"select * from file('{path}/file', Parquet)", "arrowtable")


ENGINES = [parquet, feather, orc, duckdb, polars, pandas, datafusion, delta, lance, iceberg, clickhouse]
REFUSES_COLUMNS = {orc: "unsupported Arrow type: uint8", delta: "Can't cast value 182 to type Int8"}
REFUSES_VIEWS = {pandas: "binary_view"}


def matches(objects, **options):
    for obj, found in zip(OBJECTS, fastser.loads_many(objects, **options), strict=True):
        assert same(obj, found)


@pytest.mark.parametrize("engine", ENGINES)
def test_frames(engine, tmp_path):
    table = pa.table(fastser.pack_many(OBJECTS, layout="frames"))
    matches(engine(table, tmp_path))


@pytest.mark.parametrize("engine", ENGINES)
def test_frames_beside_other_columns(engine, tmp_path):
    table = pa.table(fastser.pack_many(OBJECTS, layout="frames")).add_column(0, "id", pa.array(range(len(OBJECTS))))
    matches(engine(table, tmp_path), column="frame")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("copy", [False, True])
def test_columns(engine, copy, tmp_path):
    table = pa.table(fastser.pack_many(OBJECTS, copy=copy))
    refusal = REFUSES_COLUMNS.get(engine) or (None if copy else REFUSES_VIEWS.get(engine))
    if refusal:
        with pytest.raises(Exception, match=re.escape(refusal)):
            engine(table, tmp_path)
    else:
        matches(engine(table, tmp_path))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_struct_of_columns(engine, tmp_path):
    rows = pa.table(fastser.pack_many(OBJECTS, copy=True)).to_struct_array()
    table = pa.table({"id": range(len(OBJECTS)), "event": rows})
    if engine in REFUSES_COLUMNS:
        with pytest.raises(Exception, match=re.escape(REFUSES_COLUMNS[engine])):
            engine(table, tmp_path)
    else:
        matches(engine(table, tmp_path), column="event")


def test_integers_of_delta(tmp_path):
    """It has no integers without a sign: uint8 becomes int8, where the numbers are small."""
    table = pa.table(fastser.pack_many([1, None, 2.5, "text"]))
    narrow = table.drop_columns(["tags", "bits"])
    found = delta(narrow, tmp_path)
    assert found.schema.field("version").type == found.schema.field("i8").type.value_type == pa.int8()
    whole = found.append_column("tags", table["tags"]).append_column("bits", table["bits"])
    assert list(fastser.loads_many(whole)) == [1, None, 2.5, "text"]


def test_integers_of_iceberg(tmp_path):
    found = iceberg(pa.table(fastser.pack_many(OBJECTS)), tmp_path)
    types = {field.name: field.type for field in found.schema}
    assert types["version"] == types["flags"] == types["tags"].value_type == types["i8"].value_type == pa.int32()


def test_binaries_of_clickhouse(tmp_path):
    found = clickhouse(pa.table(fastser.pack_many(OBJECTS, layout="frames")), tmp_path)
    assert found.schema.field("frame").type == pa.string()


def test_lazy_frames_are_read_by_arrow_data(tmp_path):
    """What is no table yet is refused with the way to pack it."""
    table = pa.table({"a": [1, 2, 3]})
    for found, refusal in (
        (datafusion(table, tmp_path), "cannot pickle 'datafusion.DataFrame' object; pack what fastser.ArrowData.from_producer reads of it, or register a hook"),
        (pytest.importorskip("duckdb").from_arrow(table), "packing does not read it: pack what fastser.ArrowData.from_producer reads of it"),
    ):
        for obj in (found, {"x": [found]}):
            with pytest.raises(fastser.EncodeError, match=re.escape(refusal)) as caught:
                fastser.dumps(obj)
            assert "__getstate__" not in str(caught.value)
        frame = fastser.dumps(fastser.ArrowData.from_producer(found))
        assert pa.table(fastser.loads(frame)).equals(table)

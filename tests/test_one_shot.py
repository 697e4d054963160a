"""Streams of Arrow data that can be read once: nothing takes what it was not asked for."""

import gc

import pytest

import fastser
import fastser.fallback
from fastser import ArrowData, EncodeError

pa = pytest.importorskip("pyarrow")

TABLE = pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]})
REFUSAL = (
    "its data may be there only once, so packing does not read it: pack what fastser.ArrowData.from_producer reads of it, or a table made of it"
)


def reader():
    return pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches(max_chunksize=2))


def ipc_reader():
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return pa.ipc.open_stream(sink.getvalue())


class Stream:
    """A generator behind the protocol, of a class that could be made again of what another one gives."""

    def __new__(cls):
        self = object.__new__(cls)
        self.batches = (batch for batch in TABLE.to_batches())
        return self

    def __arrow_c_stream__(self, requested_schema=None):
        return pa.RecordBatchReader.from_batches(TABLE.schema, self.batches).__arrow_c_stream__(requested_schema)

    @classmethod
    def from_arrow(cls, data):
        raise AssertionError("nobody asked")


class Iterating(Stream):
    def __len__(self):
        return 3

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.batches)


def arro3(name):
    return lambda: getattr(pytest.importorskip("arro3.core"), name).from_arrow(TABLE)


def nanoarrow(name):
    return lambda: getattr(pytest.importorskip("nanoarrow"), name)(TABLE)


def collected():
    frame = pytest.importorskip("polars").DataFrame(TABLE).lazy()
    if not hasattr(frame, "collect_batches"):
        pytest.skip("this Polars has no batches")
    batches = frame.collect_batches()
    return batches if hasattr(batches, "__arrow_c_stream__") else pytest.skip("this Polars has batches without the protocol")


def relation():
    return pytest.importorskip("duckdb").from_arrow(TABLE)


def result():
    found = relation()
    return found.to_arrow_reader() if hasattr(found, "to_arrow_reader") else found.fetch_record_batch()


STREAMS = {
    "pyarrow": reader,
    "pyarrow, of a file": ipc_reader,
    "arro3": arro3("RecordBatchReader"),
    "arro3, arrays": arro3("ArrayReader"),
    "nanoarrow": nanoarrow("ArrayStream"),
    "nanoarrow, in C": nanoarrow("c_array_stream"),
    "Polars": collected,
    "DuckDB": relation,
    "DuckDB, reader": result,
    "a generator": Stream,
    "an iterator": Iterating,
}
CALLS = {
    "dumps": fastser.dumps,
    "pack": fastser.pack,
    "a tree": lambda value: fastser.dumps(value, track_refs=False),
    "pickle": lambda value: fastser.dumps(value, fallback="pickle"),
    "no fallback": lambda value: fastser.dumps(value, fallback=None),
}


def assert_whole(stream):
    data = ArrowData.from_producer(stream)
    assert pa.chunked_array(data).to_pylist() == TABLE.to_pylist()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_refused_before_it_is_read(name, call):
    stream = STREAMS[name]()
    with pytest.raises(EncodeError) as caught:
        CALLS[call]({"jobs": [1, stream]})
    assert str(caught.value) == f"cannot pack the {fastser.errors.type_name(stream)} at $.jobs[1]: {REFUSAL}"
    with pytest.raises(EncodeError, match="ArrowData.from_producer"):
        CALLS[call]([stream] * 20 + [stream])
    assert_whole(stream)


@pytest.mark.parametrize("track_refs", [True, False])
@pytest.mark.parametrize("name", STREAMS)
def test_explain_takes_nothing(name, track_refs):
    stream = STREAMS[name]()
    explained = fastser.explain({"jobs": [1, stream], "table": TABLE}, track_refs=track_refs)
    (failure,) = explained.failures
    assert failure.path == "$.jobs[1]" and failure.type_name == fastser.errors.type_name(stream)
    assert failure.reason == f"cannot pack the {failure.type_name} at $.jobs[1]: {REFUSAL}"
    assert "a one-shot stream" in str(explained) or isinstance(stream, Stream)
    assert_whole(stream)


@pytest.mark.parametrize("name", STREAMS)
def test_an_error_elsewhere_takes_nothing(name):
    """The search for a path goes through all that there is."""
    stream = STREAMS[name]()
    for value in ([(i for i in ()), stream], [stream, (i for i in ())]):
        for track_refs in (True, False):
            with pytest.raises(EncodeError):
                fastser.dumps(value, track_refs=track_refs)
    assert_whole(stream)


@pytest.mark.parametrize("name", STREAMS)
def test_what_is_told_to_do_works(name):
    back = fastser.loads(fastser.dumps({"r": ArrowData.from_producer(STREAMS[name]())}), safe=True)["r"]
    assert pa.chunked_array(back).to_pylist() == TABLE.to_pylist()


def test_a_message_of_an_executor():
    from fastser.store.executor import Executor

    stream = reader()
    with Executor(max_workers=1) as executor:
        with pytest.raises(EncodeError, match="ArrowData.from_producer"):
            executor.submit(len, stream)
        with pytest.raises(EncodeError, match="ArrowData.from_producer"):
            executor.submit(reader).result()
        assert executor.submit(len, TABLE).result() == 3
    assert_whole(stream)


def test_other_ways_of_writing(tmp_path):
    stream = reader()
    for call in (
        lambda: fastser.dump(stream, tmp_path / "file"),
        lambda: fastser.Serializer().dumps(stream),
        lambda: fastser.Serializer(fallback="pickle").pack([stream]),
        lambda: list(fastser.loads_many(fastser.pack_many([stream]))),
    ):
        with pytest.raises((EncodeError, fastser.DecodeError), match="ArrowData.from_producer"):
            call()
    assert not list(tmp_path.iterdir())
    assert_whole(stream)


# --- what is read as before --------------------------------------------------------------------------------------------


def repeatable():
    yield "table", TABLE
    yield "batch", TABLE.to_batches()[0]
    yield "chunks", TABLE["a"]
    yield "array", TABLE["a"].chunk(0)
    yield "data", ArrowData.from_producer(TABLE)


@pytest.mark.parametrize("name, value", list(repeatable()))
def test_what_holds_its_data_goes_as_before(name, value):
    assert fastser.explain([value]).failures == []
    back = fastser.loads(fastser.dumps([value, value]))
    assert back[0] is back[1] and type(back[0]) is type(value)
    assert back[0].equals(value) if name != "data" else pa.table(back[0]).equals(TABLE)


@pytest.mark.parametrize("name", ["Table", "ChunkedArray", "Array", "RecordBatch", "Schema", "Field", "DataType"])
def test_arro3_goes_as_before(name):
    core = pytest.importorskip("arro3.core")
    source = {
        "Table": TABLE, "ChunkedArray": TABLE["a"], "Array": TABLE["a"].chunk(0), "RecordBatch": TABLE.to_batches()[0],
        "Schema": TABLE.schema, "Field": TABLE.schema.field(0), "DataType": pa.int8(),
    }[name]
    value = getattr(core, name).from_arrow(source)
    for _ in range(2):
        assert fastser.explain([value]).failures == []
        assert type(fastser.loads(fastser.dumps([value]))[0]) is type(value)


class Held:
    """Says how long it is, so it holds what it gives."""

    def __new__(cls, table=TABLE):
        self = object.__new__(cls)
        self.table = table
        return self

    def __len__(self):
        return len(self.table)

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)

    @classmethod
    def from_arrow(cls, data):
        return cls(pa.table(data))


class HeldArray(Held):
    """One array at once; the length is hidden by its class."""

    __len__ = None

    def __new__(cls, table=TABLE):
        self = object.__new__(cls)
        self.table = pa.table(table)
        return self

    def __arrow_c_array__(self, requested_schema=None):
        return self.table.to_batches()[0].__arrow_c_array__(requested_schema)


@pytest.mark.parametrize("cls", [Held, HeldArray])
def test_other_classes_that_hold_their_data(cls):
    back = fastser.loads(fastser.dumps({"h": cls()}))["h"]
    assert type(back) is cls and back.table.equals(TABLE)


class WithFields:
    """A stream in name; what it is made of can be packed."""

    def __init__(self):
        self.table = TABLE

    def __arrow_c_stream__(self, requested_schema=None):
        raise AssertionError("nobody asked")


def test_fields_come_before_the_protocol():
    back = fastser.loads(fastser.dumps(WithFields()))
    assert type(back) is WithFields and back.table.equals(TABLE)


class Reader(pa.RecordBatchReader):
    """As packages make them of pyarrow's; which makes none of it itself."""


class Reduced(Reader):
    def __reduce__(self):
        return reader, ()


def test_subclasses_are_streams_unless_they_have_a_reducer():
    assert fastser.fallback.plan(Reader)[:2] == ("HOOK", "a one-shot stream")
    assert fastser.fallback.plan(Reduced)[:2] == ("REDUCE", "it has a __reduce__ of its own")
    assert fastser.loads(fastser.dumps([Reduced.__new__(Reduced)]))[0].read_all().equals(TABLE)
    with pytest.raises(EncodeError, match="ArrowData.from_producer"):
        fastser.dumps([Reader.__new__(Reader)])


def test_hooks_of_users_come_first():
    serializer = fastser.Serializer()
    serializer.register(pa.RecordBatchReader, lambda stream: stream.read_all(), lambda table: table.to_reader(), name="reader")
    assert serializer.loads(serializer.dumps(reader())).read_all().equals(TABLE)
    with pytest.raises(EncodeError, match="ArrowData.from_producer"):
        fastser.dumps(reader())


def test_what_has_no_reducer_is_told_of_from_producer():
    """Of a class that is not known, the reducer's refusal names the way."""
    rows = fastser.pack_many(iter([1, 2]))
    with pytest.raises(EncodeError, match=r"; pack what fastser\.ArrowData\.from_producer reads of it, or register a hook for its class"):
        fastser.dumps([rows])
    assert fastser.explain([rows]).failures[0].path == "$[0]"
    assert list(fastser.loads_many(rows)) == [1, 2]
    with pytest.raises(EncodeError) as caught:
        fastser.dumps((i for i in ()))
    assert "from_producer" not in str(caught.value)


# --- lazy frames -------------------------------------------------------------------------------------------------------


def lazy(collected):
    pl = pytest.importorskip("polars")

    def count(frame):
        collected.append(frame.height)
        return frame

    return pl.DataFrame({"a": [1, 2]}).lazy().map_batches(count, schema={"a": pl.Int64})


@pytest.mark.parametrize("track_refs", [True, False])
def test_explain_computes_nothing(track_refs):
    collected = []
    frame = lazy(collected)
    explained = fastser.explain({"frames": [frame, frame], "x": 1}, track_refs=track_refs)
    assert explained.failures == [] and collected == []
    node = explained.children[0].children[0]
    assert (node.type_name, node.plan, node.reason) == ("polars.lazyframe.frame.LazyFrame", "HOOK", "not looked into: it is computed when it is packed")
    assert node.nbytes == 0 and explained.nbytes > 0
    assert fastser.explain(frame, track_refs=track_refs).failures == [] and collected == []
    with pytest.raises(EncodeError):
        fastser.dumps([(i for i in ()), frame], track_refs=track_refs)
    assert collected == []
    assert fastser.loads(fastser.dumps(frame, track_refs=track_refs)).collect().rows() == [(1,), (2,)]
    assert collected == [2]


def test_failures_beside_what_is_not_computed_are_found():
    collected = []
    explained = fastser.explain([lazy(collected), (i for i in ()), {"x": iter(())}, (i for i in ())])
    assert [failure.path for failure in explained.failures] == ["$[1]", "$[3]"] and collected == []


def test_a_lazy_frame_over_a_stream_is_left_alone_by_explain():
    pl = pytest.importorskip("polars")
    if not hasattr(pl, "scan_arrow_c_stream"):
        pytest.skip("this Polars scans no streams")
    frame = pl.scan_arrow_c_stream(reader())
    assert fastser.explain([frame]).failures == []
    assert fastser.loads(fastser.dumps([frame]))[0].collect().to_arrow().to_pylist() == TABLE.to_pylist()
    gc.collect()

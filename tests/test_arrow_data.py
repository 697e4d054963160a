"""ArrowData: every type, from producers and from parts, described, lent and exported; what is malformed; who releases what."""

import gc
import pickle
import subprocess
import sys
import textwrap
import threading
import weakref

import numpy as np
import pytest

import fastser
from fastser import ArrowData

pa = pytest.importorskip("pyarrow")

from arrow_producers import ArrayProducer, Releases, StreamProducer, numbers  # noqa: E402
from arrow_samples import ARRAYS, COUNT, table, variants  # noqa: E402
from test_arrow_row import move, release, structs  # noqa: E402

each_type = pytest.mark.parametrize("name", ARRAYS)


def address(buffer):
    return np.frombuffer(buffer, np.uint8).ctypes.data


def parts(data):
    """What it is made of, copied."""
    description, buffers = data.take_apart()
    return description, [bytes(buffer) for buffer in buffers]


def same(found, expected):
    found.validate(full=True)
    assert found.equals(expected)
    assert type(found) is type(expected)
    if isinstance(expected, pa.Table):
        assert found.schema.equals(expected.schema, check_metadata=True)
    else:
        assert found.type.equals(expected.type, check_metadata=True)


# --- every type --------------------------------------------------------------------------------------------------------


@each_type
def test_arrays_come_back(name):
    for _, array in variants(ARRAYS[name]):
        data = ArrowData.from_producer(array, kind="array")
        assert (data.kind, len(data)) == ("array", len(array))
        rebuilt = ArrowData.from_parts(*parts(data), full=True)
        same(pa.array(rebuilt), array)
        assert rebuilt.take_apart()[0] == data.take_apart()[0]
        assert parts(rebuilt) == parts(data)
        if len(array) or "view" not in name:  # pyarrow cannot read the empty slice of its own views at an offset
            same(pa.array(data), array)


@each_type
def test_streams_come_back_in_their_chunks(name):
    array = ARRAYS[name]
    for chunks in ([], [array], [array[:7], array[7:7], array[7:20], array[20:]]):
        source = pa.chunked_array(chunks, array.type)
        data = ArrowData.from_producer(source)
        assert (data.kind, len(data)) == ("stream", len(source))
        rebuilt = ArrowData.from_parts(*parts(data), full=True)
        found = pa.chunked_array(rebuilt)
        same(found, source)
        assert [len(chunk) for chunk in found.chunks] == [len(chunk) for chunk in chunks]


@each_type
def test_schemas_come_back(name):
    field = pa.field("a name", ARRAYS[name].type, nullable=name == "null", metadata={"k": "v", "": b"\xff\0"})
    data = ArrowData.from_producer(field)
    assert (data.kind, len(data), data.nbytes, bool(data)) == ("schema", 0, 0, True)
    description, buffers = data.take_apart()
    assert (description[0], description[2], buffers) == ("schema", (), [])
    for source in (data, ArrowData.from_parts(description, buffers)):
        found = pa.field(source)
        assert found.equals(field, check_metadata=True)
        assert found.nullable == (name == "null")


def test_a_table_comes_back_with_all_its_metadata():
    source = table()
    data = ArrowData.from_producer(source)
    assert data.kind == "stream"
    for found in (data, ArrowData.from_parts(*parts(data), full=True), pickle.loads(pickle.dumps(data))):
        same(pa.table(found), source)
        assert pa.table(found).column(0).num_chunks == 3


def test_null_counts_survive():
    array = ARRAYS["int64"]
    data = ArrowData.from_producer(array)
    assert data.take_apart()[0][2][0][:3] == (COUNT, array.null_count, 0)
    nested = ArrowData.from_producer(ARRAYS["list of strings"][1:]).take_apart()[0][2][0]
    assert nested[4][0][1] == -1  # nobody has counted those of a part of a child


@pytest.mark.parametrize("format, width", [(b"tiM", 4), (b"tiD", 8), (b"tss:", 8), (b"tDn", 8), (b"w:7", 7), (b"d:5,2", 16)])
def test_formats_that_pyarrow_does_not_write(format, width):
    releases = Releases()
    body = bytes(range(3 * width))
    data = ArrowData.from_producer(ArrayProducer(releases.schema(format), releases.array(3, [None, body])))
    description, buffers = data.take_apart()
    assert description == ("array", (format.decode(), "", None, 2, (), None), ((3, 0, 0, (0, 1), (), None),))
    assert [bytes(b) for b in buffers] == [body]
    again = ArrowData.from_parts(description, buffers, full=True)
    assert parts(again) == parts(data)


# --- zero copy ---------------------------------------------------------------------------------------------------------


def buffers_of(array):
    """The addresses and sizes of all buffers of a pyarrow array, dictionaries included."""
    found = {(b.address, b.size) for b in array.buffers() if b is not None}
    storage = getattr(array, "storage", array)
    for child in (getattr(storage, "dictionary", None), getattr(storage, "values", None)):
        if isinstance(child, pa.Array):
            found |= buffers_of(child)
    if isinstance(storage, pa.StructArray):
        for i in range(storage.type.num_fields):
            found |= buffers_of(storage.field(i))
    return found


@each_type
def test_what_is_no_slice_is_lent_where_it_lies(name):
    array = ARRAYS[name]
    held = buffers_of(array)
    _, buffers = ArrowData.from_producer(array).take_apart()
    for buffer in buffers:
        view = memoryview(buffer)
        assert (view.readonly, view.format, view.contiguous, view.nbytes) == (True, "B", True, len(buffer))
        assert any(start == address(buffer) and len(buffer) <= size for start, size in held)


@each_type
def test_exported_buffers_are_the_ones_given(name):
    array = ARRAYS[name]
    if "string_view" in name or name == "null":
        pytest.skip("pyarrow validates views by reading, and keeps no buffers of nulls")
    data = ArrowData.from_producer(array)
    assert {a for a, size in buffers_of(pa.array(data)) if size} == {a for a, size in buffers_of(array) if size}
    description, buffers = parts(data)
    given = {address(np.frombuffer(b, np.uint8)) for b in buffers}
    found = {a for a, size in buffers_of(pa.array(ArrowData.from_parts(description, buffers))) if size}
    assert given & found == given


@each_type
def test_slices_lend_only_what_they_use(name):
    small = ARRAYS[name]
    try:
        array = pa.concat_arrays([small] * 500)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        pytest.skip("pyarrow cannot concatenate these")
    start = len(array) // 2 + 3
    for part in (array[start : start + 16], array[:16], array[-16:]):
        data = ArrowData.from_producer(part)
        # Sixteen items of any sample, with the dictionary they may have.
        assert data.nbytes <= max(4096, 2 * ArrowData.from_producer(small).nbytes)
        same(pa.array(ArrowData.from_parts(*parts(data), full=True)), part)


def test_a_slice_of_numbers_is_lent_where_it_lies():
    array = pa.array(np.arange(1000))
    _, (buffer,) = ArrowData.from_producer(array[10:20]).take_apart()
    assert (address(buffer), len(buffer)) == (array.buffers()[1].address + 80, 80)
    array = pa.array([None if i == 15 else i for i in range(1000)])
    description, (validity, buffer) = ArrowData.from_producer(array[10:20]).take_apart()
    assert description[2] == ((10, 1, 2, (1, 2), (), None),)  # the bits begin within a byte
    assert (address(validity), len(validity)) == (array.buffers()[0].address + 1, 2)
    assert (address(buffer), len(buffer)) == (array.buffers()[1].address + 64, 96)


def test_slices_of_texts_and_lists_have_offsets_of_their_own():
    array = pa.array(["aa", "bbb", "c"])
    description, buffers = ArrowData.from_producer(array[1:]).take_apart()
    assert [bytes(b) for b in buffers] == [np.array([0, 3, 4], np.int32).tobytes(), b"bbbc"]
    assert address(buffers[1]) == array.buffers()[2].address + 2
    array = pa.array([[1, 2], [3], [4, 5, 6]])
    description, buffers = ArrowData.from_producer(array[1:]).take_apart()
    assert description[2] == ((2, 0, 0, (0, 1), ((4, 0, 0, (0, 2), (), None),), None),)
    assert np.frombuffer(buffers[0], np.int32).tolist() == [0, 1, 4]
    assert np.frombuffer(buffers[1], np.int64).tolist() == [3, 4, 5, 6]


def test_views_are_compacted_where_most_is_not_used():
    array = pa.array([f"{i:050}" for i in range(1000)], pa.string_view())
    whole = ArrowData.from_producer(array)
    used = ArrowData.from_producer(array[3:5])
    assert len(whole.take_apart()[1]) == 1 + len(array.buffers()[2:])
    assert (used.nbytes, whole.nbytes >= 66_000) == (2 * 16 + 100, True)
    same(pa.array(ArrowData.from_parts(*parts(used), full=True)), array[3:5])
    most = ArrowData.from_producer(array[3:])
    assert address(most.take_apart()[1][0]) == array.buffers()[1].address + 48
    short = ArrowData.from_producer(pa.array(["x" * 12] * 5 + ["y" * 100], pa.string_view())[:5])
    assert (short.nbytes, [len(b) for b in short.take_apart()[1]]) == (80, [80])


def test_dense_unions_and_runs_keep_the_part_that_is_used():
    kinds, offsets = pa.array([0, 1] * 500, pa.int8()), pa.array([i // 2 for i in range(1000)], pa.int32())
    union = pa.UnionArray.from_dense(kinds, offsets, [pa.array(range(500)), pa.array(np.arange(500.0))])
    data = ArrowData.from_producer(union[100:104])
    assert data.nbytes == 4 + 16 + 16 + 16
    assert np.frombuffer(data.take_apart()[1][-1], np.int32).tolist() == [0, 0, 1, 1]
    runs = pa.RunEndEncodedArray.from_arrays(pa.array(range(10, 1001, 10), pa.int32()), pa.array(range(100)))
    description, (ends, values) = ArrowData.from_producer(runs[15:38]).take_apart()
    assert description[2][0][0] == 23
    assert np.frombuffer(ends, np.int32).tolist() == [5, 15, 23]
    assert np.frombuffer(values, np.int64).tolist() == [1, 2, 3]


def test_list_views_keep_the_part_that_is_used():
    child = pa.array(range(100), pa.int8())
    array = pa.ListViewArray.from_arrays(pa.array([60, 50, 70], pa.int32()), pa.array([5, 5, 0], pa.int32()), child)
    data = ArrowData.from_producer(array)
    description, buffers = data.take_apart()
    assert [np.frombuffer(b, np.int32).tolist() for b in buffers[:2]] == [[10, 0, 0], [5, 5, 0]]
    assert bytes(buffers[2]) == bytes(range(50, 65))
    assert pa.array(ArrowData.from_parts(description, buffers, full=True)).to_pylist() == array.to_pylist()
    near = pa.ListViewArray.from_arrays(pa.array([1, 3], pa.int32()), pa.array([4, 4], pa.int32()), child)
    _, buffers = ArrowData.from_producer(near).take_apart()
    assert address(buffers[0]) == near.buffers()[1].address  # one item more is cheaper than other offsets
    assert bytes(buffers[2]) == bytes(range(7))


def test_chunks_share_their_dictionary():
    dictionary = pa.array(["a", "b", "c" * 100])
    source = pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array([i, 0], pa.int8()), dictionary) for i in range(3)])
    description, buffers = ArrowData.from_producer(source).take_apart()
    assert [node[5][3] for node in description[2]] == [(0, 1, 2)] * 3
    assert len(buffers) == 5
    assert [node[3] for node in description[2]] == [(0, 3), (0, 4), (0, 5)]
    found = pa.chunked_array(ArrowData.from_parts(description, buffers, full=True))
    same(found, source)
    assert len({chunk.dictionary.buffers()[2].address for chunk in found.chunks}) == 1


def test_misaligned_buffers_are_copied_where_items_ask_for_it():
    for array in (ARRAYS["int64"], ARRAYS["string"], ARRAYS["decimal128"], ARRAYS["dense_union"], ARRAYS["list_view"]):
        description, buffers = parts(ArrowData.from_producer(array))
        shifted = [memoryview(bytearray(b"x" + b))[1:] for b in buffers]
        data = ArrowData.from_parts(description, shifted, full=True)
        same(pa.array(data), array)
        for start, buffer in zip(shifted, data.take_apart()[1], strict=True):
            assert address(buffer) % 8 == 0 or address(buffer) == address(start)
    array = pa.array(["text"], pa.large_string())
    description, (offsets, text) = parts(ArrowData.from_producer(array))
    block = bytearray(b"123" + text)
    _, lent = ArrowData.from_parts(description, [offsets, memoryview(block)[3:]]).take_apart()
    assert address(lent[1]) == address(block) + 3


# --- other packages ----------------------------------------------------------------------------------------------------


def test_polars_reads_it():
    polars = pytest.importorskip("polars")
    names = ["int64", "uint8", "double", "string", "string_view", "binary", "timestamp[us]", "list", "struct", "dictionary", "null"]
    source = table().select(names)
    frame = polars.from_arrow(source)
    data = ArrowData.from_producer(source)
    assert polars.DataFrame(data).equals(frame)
    assert polars.DataFrame(ArrowData.from_parts(*parts(data), full=True)).equals(frame)
    data = ArrowData.from_producer(frame)
    assert data.kind == "stream"
    assert polars.DataFrame(ArrowData.from_parts(*parts(data), full=True)).equals(frame)
    series = frame["list"][3:20]
    assert polars.Series(ArrowData.from_parts(*parts(ArrowData.from_producer(series)), full=True)).equals(series)


@each_type
def test_nanoarrow_reads_it(name):
    nanoarrow = pytest.importorskip("nanoarrow")
    array = ARRAYS[name]
    if "run_end" in name or "view" in str(array.type):
        pytest.skip("nanoarrow has no such arrays, or corrupts memory with those of any number of buffers")
    rebuilt = ArrowData.from_parts(*parts(ArrowData.from_producer(array)), full=True)
    found = nanoarrow.c_array(rebuilt)
    assert (found.length, found.null_count) == (len(array), array.null_count)
    same(pa.array(found), array)
    again = ArrowData.from_producer(nanoarrow.c_array_stream(rebuilt))
    same(pa.chunked_array(again), pa.chunked_array([array]))


def test_duckdb_queries_it():
    duckdb = pytest.importorskip("duckdb")
    source = pa.table({"a": range(100), "b": [f"text {i}" for i in range(100)]})
    data = ArrowData.from_parts(*parts(ArrowData.from_producer(source)), full=True)
    assert data.kind == "stream"
    assert duckdb.sql("select sum(a), max(b) from data").fetchall() == [(4950, "text 99")]
    result = duckdb.sql("select a * 2 as c from data where a < 3 order by a")
    found = ArrowData.from_producer(result)
    assert pa.table(found).to_pydict() == {"c": [0, 2, 4]}


def test_a_record_batch_is_a_stream_or_an_array():
    batch = pa.record_batch({"a": [1, 2], "b": ["x", None]})
    stream, array = ArrowData.from_producer(batch), ArrowData.from_producer(batch, kind="array")
    assert (stream.kind, array.kind) == ("stream", "array")
    assert pa.record_batch(array).equals(batch)
    assert pa.table(array).equals(pa.table(batch))
    assert pa.table(stream).equals(pa.table(batch))
    schema = ArrowData.from_producer(batch.schema)
    assert pa.schema(schema).equals(batch.schema)


# --- the object --------------------------------------------------------------------------------------------------------


def test_it_has_the_methods_of_its_kind():
    array = pa.array([1, 2])
    methods = ("__arrow_c_schema__", "__arrow_c_array__", "__arrow_c_stream__")
    kinds = {
        "schema": (ArrowData.from_producer(array.type), (True, False, False)),
        "array": (ArrowData.from_producer(array), (True, True, True)),
        "stream": (ArrowData.from_producer(pa.chunked_array([array])), (True, False, True)),
    }
    for kind, (data, expected) in kinds.items():
        assert data.kind == kind
        assert tuple(hasattr(data, method) for method in methods) == expected
    assert [repr(data) for data, _ in kinds.values()] == [
        "<fastser.ArrowData: schema, format 'l'>",
        "<fastser.ArrowData: array of 2, format 'l'>",
        "<fastser.ArrowData: stream of 2 in 1 chunks, format 'l'>",
    ]
    assert kinds["array"][0].nbytes == 16
    assert pa.chunked_array(kinds["array"][0]).to_pylist() == [1, 2]
    assert pa.array(kinds["array"][0], pa.int64()).to_pylist() == [1, 2]  # passes a requested schema


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_pickles(protocol):
    array = ARRAYS["struct"]
    data = ArrowData.from_producer(array)
    same(pa.array(pickle.loads(pickle.dumps(data, protocol))), array)
    if protocol == 5:
        buffers = []
        frame = pickle.dumps(data, protocol, buffer_callback=buffers.append)
        again = pickle.loads(frame, buffers=buffers)
        assert [address(b) for b in again.take_apart()[1]] == [address(b) for b in data.take_apart()[1]]


@each_type
def test_frames_hold_it(name):
    array = ARRAYS[name]
    data = [ArrowData.from_producer(a) for a in (array, pa.chunked_array([array[:3], array[3:]]))]
    found = fastser.loads(fastser.dumps([data, data[0]]), safe=True)
    same(pa.array(found[0][0]), array)
    assert found[1] is found[0][0]
    assert pa.chunked_array(found[0][1]).to_pylist() == array.to_pylist()


def test_made_of_nothing():
    data = ArrowData.__new__(ArrowData)
    assert repr(data) == "<fastser.ArrowData: schema, format 'n'>"
    assert pa.DataType._import_from_c_capsule(data.__arrow_c_schema__()) == pa.null()
    assert fastser.loads(fastser.dumps(data)).kind == "schema"


def test_wrong_arguments():
    with pytest.raises(TypeError, match=r"^ArrowData objects are made by fastser.ArrowData.from_producer$"):
        ArrowData()
    with pytest.raises(TypeError, match=r"^ArrowData objects are made by fastser\.ArrowData\.from_producer$"):
        ArrowData(ArrowData.from_producer(fastser.pack(1)), kind="array")
    with pytest.raises(TypeError, match="^expected a producer of Arrow data, with __arrow_c_stream__, __arrow_c_array__ or __arrow_c_schema__, found list"):
        ArrowData.from_producer([1])
    with pytest.raises(TypeError, match="^expected a producer of Arrow data, with __arrow_c_array__, found pyarrow.lib.ChunkedArray"):
        ArrowData.from_producer(pa.chunked_array([[1]]), kind="array")
    with pytest.raises(TypeError, match="^kind must be 'stream', 'array', 'schema' or None, not 'table'"):
        ArrowData.from_producer(pa.array([1]), kind="table")
    (buffer,) = ArrowData.from_producer(pa.array([1])).take_apart()[1]
    with pytest.raises(TypeError, match="^ArrowBuffer objects are made by ArrowData.take_apart"):
        type(buffer)()
    with pytest.raises(TypeError, match="cannot modify read-only memory"):
        memoryview(buffer)[0] = 1


# --- who releases what -------------------------------------------------------------------------------------------------


def counted():
    """A struct with a child, and a stream of two of it; what each was released how often."""
    releases = Releases()
    schema = releases.schema(b"+s", [releases.schema(b"i", name=b"a", release="child schema")])
    arrays = [releases.array(3, [None], [numbers(releases, tag=f"child {i}")], release=f"array {i}") for i in range(2)]
    return releases, schema, arrays


EXPECTED = {"child schema": 0, "schema": 1, "child 0": 0, "child 1": 0, "array 0": 1, "array 1": 1, "stream": 1}


def test_a_stream_that_nobody_reads_is_released_once():
    releases, schema, arrays = counted()
    data = ArrowData.from_producer(StreamProducer(releases.stream(schema, arrays)))
    assert releases.counts == EXPECTED | {"schema": 0, "array 0": 0, "array 1": 0}  # the stream itself has ended
    del data
    assert releases.counts == EXPECTED


def test_it_is_released_when_the_last_user_is_gone():
    releases, schema, arrays = counted()
    data = ArrowData.from_producer(StreamProducer(releases.stream(schema, arrays)))
    tables = [pa.table(data), pa.table(data)]
    _, buffers = data.take_apart()
    unread = data.__arrow_c_stream__(), data.__arrow_c_schema__()
    view = memoryview(buffers[1])
    again = ArrowData.from_producer(data)
    del data, buffers, unread
    assert tables[0].to_pydict() == {"a": [0, 1, 2] * 2}
    del tables
    assert pa.table(again).num_rows == 6
    del again
    gc.collect()
    assert (releases.counts["array 0"], releases.counts["array 1"], releases.counts["schema"]) == (0, 0, 0)
    assert np.frombuffer(view, np.int32).tolist() == [0, 1, 2]
    del view
    assert releases.counts == EXPECTED


def test_the_last_user_may_be_another_thread():
    releases, schema, arrays = counted()
    users = [pa.table(ArrowData.from_producer(StreamProducer(releases.stream(schema, arrays))))]
    thread = threading.Thread(target=users.clear)
    thread.start()
    thread.join()
    assert releases.counts == EXPECTED


def test_children_that_were_moved_away_live_on():
    releases, schema, arrays = counted()
    capsules = ArrowData.from_producer(ArrayProducer(schema, arrays[0])).__arrow_c_array__()
    taken_schema, taken = map(move, structs(capsules))
    child = move(taken.children[0].contents)
    child_schema = move(taken_schema.children[0].contents)
    release(taken)
    release(taken_schema)
    del capsules
    assert (releases.counts["array 0"], child.length, child_schema.name) == (0, 3, b"a")
    release(child)
    assert releases.counts["array 0"] == 0  # the schema still holds all
    release(child_schema)
    assert (releases.counts["array 0"], releases.counts["schema"]) == (1, 1)


def test_views_of_a_frame_keep_it():
    class Frame(bytearray):
        pass

    description, (buffer,) = parts(ArrowData.from_producer(pa.array([1, 2])))
    frame = Frame(buffer)
    alive = weakref.ref(frame)
    data = ArrowData.from_parts(description, [memoryview(frame)])
    del frame
    array = pa.array(data)
    del data
    gc.collect()
    assert (array.to_pylist(), alive() is not None) == ([1, 2], True)
    del array
    assert alive() is None


def test_an_interpreter_may_end_while_data_is_lent():
    program = """
        import sys, threading, pyarrow as pa
        from fastser import ArrowData
        source = pa.table({"a": list(range(1000)), "b": ["x"] * 1000})
        data = ArrowData.from_producer(source)
        sys.kept = [data, pa.table(data), data.__arrow_c_stream__(), data.take_apart(), ArrowData.from_producer(data)]
        sys.reader = pa.RecordBatchReader.from_stream(data)
        print(next(iter(sys.reader)).num_rows)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1000\n", "")


def test_views_of_buffers_leave_no_references():
    buffers = ArrowData.from_producer(pa.array(["a", "b"])).take_apart()[1]
    before = sys.getrefcount(None)
    for _ in range(1000):
        for buffer in buffers:
            memoryview(buffer).release()
    assert abs(sys.getrefcount(None) - before) < 100

"""The Arrow row of a Packed: what is handed out, who keeps it alive, what comes back, and what malformed rows do."""

import ctypes
import gc
import io
import mmap
import os
import re
import subprocess
import sys
import textwrap
import threading
import weakref

import numpy as np
import pytest
from same import same
from test_packed import OBJECTS, address, each_object, parse

import fastser
from fastser import DecodeError

# --- the C data interface, as a consumer sees it -----------------------------------------------------------------------


class Schema(ctypes.Structure):
    pass


class Array(ctypes.Structure):
    pass


# CFUNCTYPE gives up the GIL for the call, as a consumer in another language does.
RELEASE_SCHEMA = ctypes.CFUNCTYPE(None, ctypes.POINTER(Schema))
RELEASE_ARRAY = ctypes.CFUNCTYPE(None, ctypes.POINTER(Array))

Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_char_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(Schema))),
    ("dictionary", ctypes.POINTER(Schema)),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]
Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(Array))),
    ("dictionary", ctypes.POINTER(Array)),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]


def structs(capsules):
    """The structs in a pair of capsules."""
    return (
        Schema.from_address(_pointer_of(capsules[0], b"arrow_schema")),
        Array.from_address(_pointer_of(capsules[1], b"arrow_array")),
    )


def release(struct):
    (RELEASE_SCHEMA if type(struct) is Schema else RELEASE_ARRAY)(struct.release)(ctypes.byref(struct))


def move(struct):
    """Take a struct over, as the interface has it: copy it, and mark the old one released."""
    moved = type(struct).from_buffer_copy(struct)
    struct.release = None
    return moved


def take(packed):
    """The structs of a packed object's row, moved out of their capsules."""
    capsules = packed.__arrow_c_array__()
    return tuple(map(move, structs(capsules)))


class Producer:
    """Hands out capsules once, after something was done to the structs in them."""

    def __init__(self, obj, change=lambda schema, array: None):
        self.packed = obj if isinstance(obj, fastser.Packed) else fastser.pack(obj)
        self.change = change

    def __arrow_c_array__(self, requested_schema=None):
        capsules = self.packed.__arrow_c_array__()
        self.change(*structs(capsules))
        return capsules


COLUMNS = ["buffers", "i64", "f64", "i32", "text", "data", "i16", "i8", "bits", "tags"]
POSITION = {name: i for i, name in enumerate(["version", "flags", *COLUMNS])}


def free_memory():
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


@pytest.fixture
def pa():
    return pytest.importorskip("pyarrow")


# --- export -------------------------------------------------------------------------------------------------------------


@pytest.mark.core
def test_structs_say_what_the_format_says():
    schema, array = structs(capsules := fastser.pack([1.5, "text"]).__arrow_c_array__())
    assert (schema.format, schema.name, schema.metadata, schema.flags, schema.n_children) == (b"+s", b"", None, 0, 12)
    assert (array.length, array.null_count, array.offset, array.n_buffers, array.n_children) == (1, 0, 0, 1, 12)
    children = [schema.children[i].contents for i in range(12)]
    assert [child.name.decode() for child in children] == list(POSITION)
    assert [child.format for child in children] == [b"C", b"C"] + [b"+l"] * 10
    assert not any(child.flags for child in children)
    items = [child.children[0].contents for child in children[2:]]
    assert [item.format for item in items] == [b"vz", b"l", b"g", b"i", b"u", b"z", b"s", b"c", b"C", b"C"]
    assert {(item.name, item.flags, item.n_children) for item in items} == {(b"item", 0, 0)}
    arrays = [array.children[i].contents for i in range(12)]
    assert {(a.length, a.null_count, a.offset, a.n_buffers) for a in arrays} == {(1, 0, 0, 2)}
    assert [a.children[0].contents.n_buffers for a in arrays[2:]] == [3, 2, 2, 2, 3, 3, 2, 2, 2, 2]
    assert capsules


@each_object
def test_row_is_valid(pa, obj):
    row = pa.array(fastser.pack(obj))
    row.validate(full=True)
    assert type(row) is pa.StructArray
    assert len(row) == 1
    assert not any(field.nullable for field in row.type)
    assert [field.name for field in row.type] == list(POSITION)
    types = [pa.binary_view(), pa.int64(), pa.float64(), pa.int32(), pa.string(), pa.binary(), pa.int16(), pa.int8()]
    types += [pa.uint8(), pa.uint8()]
    assert [field.type for field in row.type][2:] == [pa.list_(pa.field("item", t, nullable=False)) for t in types]
    assert row.field("version").to_pylist() == [1]
    assert pa.DataType._import_from_c_capsule(fastser.pack(obj).__arrow_c_schema__()) == row.type


def test_columns_are_the_same_in_frame_and_row(pa):
    for obj in OBJECTS.values():
        parts, _ = parse(fastser.dumps(obj))
        row = pa.array(fastser.pack(obj))[0].as_py()
        assert row.pop("version") == 1
        row["text"] = [text.encode() for text in row["text"]]
        assert row.pop("flags") == fastser.dumps(obj)[5]
        assert row == {name: list(part) for name, part in parts.items()}


def test_nothing_is_copied(pa):
    grid = np.arange(10_000.0).reshape(100, 100)
    text = b"x" * 10_000
    packed = fastser.pack([grid, text, 1.5, 2**40, 70_000, 300, -1, "text", b"data", [True, False] * 50])
    row = pa.array(packed)
    head = packed.__reduce_ex__(5)[1][0]
    start, end = address(head), address(head) + len(head)
    for name in COLUMNS[1:]:
        items = row.field(name).values
        assert len(items) > 0
        for buffer in filter(None, items.buffers()):
            assert start <= buffer.address < end
            assert buffer.address % 8 == 0 or name in ("i8", "i16", "bits", "tags", "text", "data", "i32")
    bodies = row.field("buffers").values.buffers()[2:]
    assert [body.address for body in bodies[:2]] == [grid.ctypes.data, address(text)]


@pytest.mark.core
def test_loaded_arrays_lie_on_the_sources_memory_and_keep_it():
    source = np.arange(1000.0)
    alive = weakref.ref(source)
    loaded = fastser.loads(Producer({"a": source}))["a"]
    assert loaded.ctypes.data == source.ctypes.data
    assert not loaded.flags.writeable
    del source
    gc.collect()
    assert loaded[-1] == 999.0
    del loaded
    assert alive() is None


@pytest.mark.core
def test_a_packed_is_gathered_once_for_all_rows():
    packed = fastser.pack(np.arange(4000.0)[::2])
    first, second = fastser.loads(Producer(packed)), fastser.loads(Producer(packed))
    assert first.ctypes.data == second.ctypes.data == fastser.loads(packed).ctypes.data


@pytest.mark.core
@pytest.mark.parametrize("over", [-1, 0, 1, 12, 13, 63, 64])
@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_bodies_beyond_a_view_are_cut_and_joined(pieces, over):
    cut = 2**31 - 64
    size = pieces * cut + over
    with mmap.mmap(-1, size) as mapping:  # pages that nobody touches cost nothing
        source = np.frombuffer(mapping, "u1")
        capsules = fastser.pack(source).__arrow_c_array__()
        _, array = structs(capsules)
        item = array.children[2].contents.children[0].contents
        views = ctypes.cast(item.buffers[1], ctypes.POINTER(ctypes.c_int32))
        lengths = [views[4 * i] for i in range(item.length)]
        whole = [cut] * (pieces - 1)
        assert lengths == whole + ([cut - 1] if over < 0 else [cut + over, 0] if over <= 12 else [cut, over])
        loaded = fastser.loads(Producer(source))
        assert loaded.shape == (size,)
        assert loaded.ctypes.data == source.ctypes.data
        del capsules, loaded, source, array, item, views


@pytest.mark.skipif(free_memory() < 6 << 30, reason="needs 6 GB of free memory")
def test_pieces_that_lie_apart_are_copied_together(pa):
    size = 2**31 - 64
    first = mmap.mmap(-1, size + 4096, flags=mmap.MAP_PRIVATE)
    first[:4] = b"abcd"
    row = pa.array(fastser.pack(np.zeros(size + 4, "u1")))
    views = np.array([[size, 0x64636261, 0, 0], [4, 0x5A595857, 0, 0]], "i4")
    apart = pa.Array.from_buffers(
        pa.binary_view(), 2, [None, pa.py_buffer(views), pa.py_buffer(memoryview(first)[:size])], null_count=0
    )
    fields = [row.field(i) for i in range(12)]
    fields[2] = pa.ListArray.from_arrays([0, 2], apart)
    loaded = fastser.loads(pa.StructArray.from_arrays(fields, names=list("abcdefghijkl")))
    assert loaded.shape == (size + 4,)
    assert loaded[[0, 1, 2, 3, 4, -4, -3, -2, -1]].tobytes() == b"abcd\0WXYZ"


# --- life and death -----------------------------------------------------------------------------------------------------


def watched():
    """A packed array, and a reference that tells whether its memory is still held."""
    source = np.arange(1000.0)
    return fastser.pack([source, "text" * 5]), weakref.ref(source)


@pytest.mark.core
def test_capsules_that_nobody_takes_are_freed():
    packed, alive = watched()
    capsules = packed.__arrow_c_array__()
    schema = packed.__arrow_c_schema__()
    del packed
    assert alive() is not None
    del capsules
    assert alive() is None
    del schema


@pytest.mark.core
def test_a_row_that_was_moved_lives_until_it_is_released():
    packed, alive = watched()
    schema, array = take(packed)
    del packed
    gc.collect()
    assert alive() is not None
    release(schema)
    assert not schema.release
    release(array)
    assert not array.release
    assert alive() is None


@pytest.mark.core
def test_children_that_were_moved_live_on_their_own():
    packed, alive = watched()
    schema, array = structs(capsules := packed.__arrow_c_array__())
    column = move(array.children[POSITION["text"]].contents)
    bodies = move(array.children[POSITION["buffers"]].contents.children[0].contents)
    field = move(schema.children[POSITION["text"]].contents)
    del packed, capsules, schema, array
    gc.collect()
    assert alive() is not None
    assert (field.format, field.name, field.children[0].contents.format) == (b"+l", b"text", b"u")
    assert ctypes.string_at(column.children[0].contents.buffers[2], 20) == b"text" * 5
    release(column)
    assert alive() is not None
    assert ctypes.cast(bodies.buffers[2], ctypes.POINTER(ctypes.c_double))[999] == 999.0
    release(bodies)
    assert alive() is None
    release(field)


@pytest.mark.core
def test_release_on_another_thread():
    packed, alive = watched()
    schema, array = take(packed)
    release(schema)
    del packed
    thread = threading.Thread(target=release, args=(array,))
    thread.start()
    thread.join()
    assert alive() is None


@pytest.mark.core
def test_many_rows_leak_nothing():
    packed, alive = watched()
    for _ in range(1000):
        packed.__arrow_c_array__()
        fastser.loads(Producer(packed))
    del packed
    assert alive() is None


@pytest.mark.core
@pytest.mark.skipif(sys.platform != "linux", reason="__cxa_atexit, with an argument, is glibc's")
def test_release_after_the_interpreter_ended():
    script = """
        import ctypes, numpy, sys
        sys.path[:0] = {path!r}
        import fastser
        from test_arrow_row import take
        schema, array = take(fastser.pack(numpy.zeros(1000)))
        libc = ctypes.CDLL(None)
        libc.__cxa_atexit.argtypes = [ctypes.c_void_p] * 3
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(array))   # the struct itself outlives the interpreter
        libc.__cxa_atexit(array.release, ctypes.addressof(array), None)
        print("armed")
        """
    script = textwrap.dedent(script).format(path=sys.path)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "armed\n"), done.stderr


@pytest.mark.core
def test_rows_that_are_alive_when_the_interpreter_ends():
    script = """
        import sys
        sys.path[:0] = {path!r}
        import fastser, numpy
        packed = fastser.pack(numpy.zeros(1000))
        capsules = packed.__arrow_c_array__()
        sys.kept = [packed, capsules, packed.buffers()]
        """
    script = textwrap.dedent(script).format(path=sys.path)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_pyarrow_keeps_and_lets_go(pa):
    packed, alive = watched()
    row = pa.array(packed)
    del packed
    column = row.field("buffers")
    del row
    gc.collect()
    assert alive() is not None
    assert column[0].as_py()[0][-8:] == np.float64(999).tobytes()
    del column
    gc.collect()
    assert alive() is None


# --- import -------------------------------------------------------------------------------------------------------------


@pytest.mark.core
@each_object
def test_loads_of_a_row(obj):
    assert same(obj, fastser.loads(Producer(obj)))


@each_object
def test_loads_of_pyarrow(pa, obj):
    assert same(obj, fastser.loads(pa.array(fastser.pack(obj))))


def rows(pa, obj):
    """Several rows in one array, the object's in the middle."""
    other = fastser.pack({"other": [b"x" * 5000, "text", b"bytes"] * 3, "n": list(range(77))})
    return pa.concat_arrays([pa.array(other), pa.array(fastser.pack(obj)), pa.array(other)])


@each_object
def test_rows_at_an_offset(pa, obj):
    array = rows(pa, obj)
    assert same(obj, fastser.loads(array.slice(1, 1)))
    # An offset of the struct itself, which its children do not have.
    shifted = pa.StructArray.from_arrays([array.field(i) for i in range(12)], fields=list(array.type)).slice(1, 1)
    assert same(obj, fastser.loads(shifted))


@each_object
def test_rows_in_other_layouts_and_under_other_names(pa, obj):
    array = rows(pa, obj)
    layouts = {
        "large": (pa.large_list, pa.large_string(), pa.large_binary()),
        "views": (pa.list_, pa.string_view(), pa.binary_view()),
    }
    for make_list, text, binary in layouts.values():
        types = [pa.uint8(), pa.uint8(), make_list(binary)]
        types += [make_list(field.type.value_type) for field in list(array.type)[3:]]
        types[POSITION["text"]], types[POSITION["data"]] = make_list(text), make_list(binary)
        fields = [array.field(i).cast(kind) for i, kind in enumerate(types)]
        again = pa.StructArray.from_arrays(fields, fields=[pa.field("", kind) for kind in types])
        assert again.type != array.type
        assert same(obj, fastser.loads(again.slice(1, 1)))
    types = [pa.uint8(), pa.uint8(), pa.list_(pa.binary())]
    fields = [array.field(i).cast(kind) if i == 2 else array.field(i) for i, kind in enumerate(types)]
    fields += [array.field(i) for i in range(3, 12)]
    assert same(obj, fastser.loads(pa.StructArray.from_arrays(fields, names=["x"] * 12).slice(1, 1)))


def one_array(column):
    column = column.combine_chunks()
    return column.chunk(0) if hasattr(column, "chunk") else column


@each_object
def test_through_parquet_and_ipc(pa, obj):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"row": rows(pa, obj)})
    file = io.BytesIO()
    parquet.write_table(table, file)
    file.seek(0)
    assert same(obj, fastser.loads(one_array(parquet.read_table(file)["row"]).slice(1, 1)))
    file = pa.BufferOutputStream()
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    assert same(obj, fastser.loads(one_array(pa.ipc.open_stream(file.getvalue()).read_all()["row"]).slice(1, 1)))


@each_object
def test_polars_opens_a_row_and_hands_it_back(pa, obj):
    polars = pytest.importorskip("polars")
    packed = fastser.pack(obj)
    series = polars.Series(packed)
    assert len(series) == 1
    assert series.struct.field("tags").to_list() == [pa.array(packed)[0]["tags"].as_py()]
    assert same(obj, fastser.loads(series.to_arrow()))
    assert same(obj, fastser.loads(polars.from_arrow(pa.array(packed)).to_arrow()))
    several = polars.Series(rows(pa, obj))
    assert same(obj, fastser.loads(several.slice(1, 1).to_arrow()))


@each_object
def test_duckdb_opens_a_row_and_hands_it_back(pa, obj):
    duckdb = pytest.importorskip("duckdb")
    table = pa.table({"row": pa.array(fastser.pack(obj))})
    with duckdb.connect() as connection:
        connection.register("packed", table)
        assert connection.sql("select row.version, len(row.tags) from packed").fetchall() == [
            (1, len(table["row"][0]["tags"]))
        ]
        result = connection.sql("select row from packed").arrow()
        result = result.read_all() if hasattr(result, "read_all") else result
    assert same(obj, fastser.loads(one_array(result["row"])))


def test_a_record_batch_is_a_row(pa):
    row = pa.array(fastser.pack([1, "x"]))
    assert fastser.loads(pa.record_batch([row.field(i) for i in range(12)], names=list(POSITION))) == [1, "x"]


@pytest.mark.core
def test_a_row_is_read_once_and_released():
    packed, alive = watched()
    capsules = packed.__arrow_c_array__()

    class Once:
        def __arrow_c_array__(self, requested_schema=None):
            return capsules

    value = fastser.loads(Once())
    assert value[1] == "text" * 5
    with pytest.raises(DecodeError, match="^expected a PyCapsule .arrow_array. that was not consumed yet, found one that was released"):
        fastser.loads(Once())
    del packed, value
    assert alive() is None


# --- malformed rows -----------------------------------------------------------------------------------------------------

OBJECT = {"a": np.arange(100.0), "b": [b"x" * 5000, "text", b"bytes", 1.5, 300, 70_000, 2**40], "c": [True] * 20}


def child(struct, *path):
    for name in path:
        struct = struct.children[POSITION.get(name, 0)].contents
    return struct


def setter(which, path, attribute, value):
    def change(schema, array):
        setattr(child(schema if which == "schema" else array, *path), attribute, value)

    return change


def buffer_setter(path, index, value):
    def change(schema, array):
        child(array, *path).buffers[index] = value

    return change


def offsets_setter(path, *values, width=ctypes.c_int32):
    """Give an array other offsets."""

    def change(schema, array):
        held = (width * len(values))(*values)
        child(array, *path).buffers[1] = ctypes.addressof(held)
        change.held = held

    return change


def view_setter(index, value):
    def change(schema, array):
        views = child(array, "buffers", "item").buffers[1]
        ctypes.cast(views, ctypes.POINTER(ctypes.c_int32))[index] = value

    return change


def with_nulls(path, byte):
    def change(schema, array):
        held = ctypes.create_string_buffer(bytes([byte]) + b"\xff" * 100)
        target = child(array, *path)
        target.null_count = -1
        target.buffers[0] = ctypes.addressof(held)
        change.held = held

    return change


MALFORMED = {
    "no struct": (setter("schema", (), "format", b"+l"), "its start: expected format '+s' (a struct), or binaries that are frames, found '+l'"),
    "no format": (setter("schema", (), "format", None), "its start: expected a format, found none"),
    "short columns": (setter("array", (), "length", 2), "version: expected 2 items or more, found 1"),
    "negative length": (setter("array", (), "length", -1), "its start: expected a length and an offset, found length -1, offset 0"),
    "absurd offset": (setter("array", (), "offset", 2**60), "its start: expected a length and an offset, found length 1"),
    "few children": (setter("schema", (), "n_children", 3), "its start: expected the 12 columns of packed objects (version, flags, buffers, ... tags), by these names or with no others, found 3 columns: version, flags, buffers"),
    "no children": (setter("array", (), "n_children", 0), "its start: expected 12 children, as in the schema, found 0"),
    "buffers of the struct": (setter("array", (), "n_buffers", 0), "its start: expected 1 buffers, found 0"),
    "null": (with_nulls((), 0xFE), "its start: expected no null, found one at position 0"),
    "version format": (setter("schema", ("version",), "format", b"g"), "version: expected format 'C' (uint8) or another integer, found 'g'"),
    "version offset": (setter("array", ("version",), "length", 0), "version: expected 1 items or more, found 0"),
    "flags buffer": (buffer_setter(("flags",), 1, None), "flags: expected a buffer 1, found NULL"),
    "null flags": (with_nulls(("flags",), 0), "flags: expected no null, found one at position 0"),
    "list format": (setter("schema", ("text",), "format", b"+w:3"), "column text: expected a list ('+l', '+L', '+vl' or '+vL'), found '+w:3'"),
    "list buffers": (setter("array", ("text",), "n_buffers", 3), "column text: expected 2 buffers, found 3"),
    "null list": (with_nulls(("i8",), 0), "column i8: expected no null, found one at position 0"),
    "list offset": (setter("array", ("i8",), "offset", -1), "column i8: expected a length and an offset, found length 1, offset -1"),
    "list offsets": (offsets_setter(("i64",), 0, 99), "column i64: expected offsets within"),
    "list offsets turned": (offsets_setter(("tags",), 5, 2), "column tags: expected offsets within"),
    "list offsets negative": (offsets_setter(("tags",), -5, 2), "column tags: expected offsets within"),
    "no list offsets": (buffer_setter(("tags",), 1, None), "column tags: expected a buffer 1, found NULL"),
    "item format": (setter("schema", ("i16", "item"), "format", b"f"), "column i16: expected items of format 's' or other integers, found 'f'"),
    "item format of floats": (setter("schema", ("f64", "item"), "format", b"l"), "column f64: expected items of format 'g', found 'l'"),
    "item buffers": (setter("array", ("i16", "item"), "n_buffers", 1), "column i16: expected 2 buffers, found 1"),
    "no item buffers": (setter("array", ("i16", "item"), "buffers", None), "column i16: expected buffers, found none"),
    "no items": (buffer_setter(("i16", "item"), 1, None), "column i16: expected a buffer 1, found NULL"),
    "item length": (setter("array", ("i16", "item"), "length", 0), "column i16: expected offsets within 0 items"),
    "null items": (with_nulls(("f64", "item"), 0), "column f64: expected no null, found one at position 0"),
    "text format": (setter("schema", ("text", "item"), "format", b"i"), "column text: expected items of text or binaries ('u', 'U', 'vu', 'z', 'Z' or 'vz'), found 'i'"),
    "items of no type": (setter("schema", ("i16", "item"), "format", b"n"), "column i16: expected no null, found one at position 0"),
    "text buffers": (setter("array", ("text", "item"), "n_buffers", 2), "column text: expected 3 buffers, found 2"),
    "no text": (buffer_setter(("text", "item"), 2, None), "column text: expected a buffer 2, found NULL"),
    "no text offsets": (buffer_setter(("text", "item"), 1, None), "column text: expected a buffer 1, found NULL"),
    "text offsets": (offsets_setter(("text", "item"), *[9, 8, 7, 6, 5, 4]), "column text: expected offsets that grow to"),
    "text offsets negative": (offsets_setter(("text", "item"), *[-9, 0, 7, 8, 8, 8]), "column text: expected offsets that grow to 8, found -9 first"),
    "data offsets": (offsets_setter(("data", "item"), *[0, -1, -1, -1, -1, -1]), "column data: expected offsets that grow to -1, found 0 first, -1 last"),
    "view buffers": (setter("array", ("buffers", "item"), "n_buffers", 2), "column buffers: expected 3 buffers or more, found 2"),
    "view sizes": (buffer_setter(("buffers", "item"), 4, None), "column buffers: expected a buffer 4, found NULL"),
    "no views": (buffer_setter(("buffers", "item"), 1, None), "column buffers: expected a buffer 1, found NULL"),
    "no view data": (buffer_setter(("buffers", "item"), 2, None), "column buffers, position 0: expected a view within a buffer"),
    "view length": (view_setter(0, -800), "column buffers, position 0: expected a length, found -800"),
    "view too long": (view_setter(0, 2000), "column buffers, position 0: expected a view within a buffer of 800 bytes, found 2000 at 0"),
    "view index": (view_setter(2, 2), "column buffers, position 0: expected one of 2 buffers, found 2"),
    "view offset": (view_setter(3, -1), "column buffers, position 0: expected a view within a buffer of 800 bytes, found 800 at -1"),
    "view offset late": (view_setter(7, 1), "column buffers, position 1: expected a view within a buffer of 5000 bytes, found 5000 at 1"),
    "view goes on": (view_setter(4, 2**31 - 1), "column buffers, position 1: expected a view within a buffer"),
}  # fmt: skip


@pytest.mark.core
@pytest.mark.parametrize("change, message", MALFORMED.values(), ids=MALFORMED)
def test_malformed_rows_are_decode_errors(change, message):
    with pytest.raises(DecodeError, match="^" + re.escape(f"malformed Arrow row at {message}")):
        fastser.loads(Producer(OBJECT, change))
    assert same(OBJECT, fastser.loads(Producer(OBJECT)))


@pytest.mark.core
def test_versions_and_flags_of_rows():
    def change(name, value):
        held = ctypes.create_string_buffer(bytes([value]))

        def apply(schema, array):
            child(array, name).buffers[1] = ctypes.addressof(held)
            apply.held = held

        return apply

    with pytest.raises(DecodeError, match="format version 2"):
        fastser.loads(Producer(OBJECT, change("version", 2)))
    with pytest.raises(DecodeError, match="^malformed Arrow row at flags: expected no flags but 0x7, found 0x88$"):
        fastser.loads(Producer(OBJECT, change("flags", 0x88)))


@pytest.mark.core
def test_a_released_child_is_no_column():
    with pytest.raises(DecodeError, match="^malformed Arrow row at column i32: expected an array, found one that was released"):
        fastser.loads(Producer(OBJECT, lambda schema, array: release(child(array, "i32"))))


@pytest.mark.core
def test_producers_that_give_something_else():
    class Gives:
        def __init__(self, given):
            self.given = given

        def __arrow_c_array__(self, requested_schema=None):
            if isinstance(self.given, Exception):
                raise self.given
            return self.given

    with pytest.raises(OSError, match="^own$"):
        fastser.loads(Gives(OSError("own")))
    schema, array = fastser.pack(1).__arrow_c_array__()
    for given in (None, (), (schema,), (array, schema), (1, 2), (schema, schema)):
        with pytest.raises((TypeError, ValueError)):
            fastser.loads(Gives(given))
    assert fastser.loads(Gives((schema, array))) == 1


def test_other_arrow_arrays_are_decode_errors(pa):
    for array in (pa.array([1, 2]), pa.array([{"a": 1}]), pa.array([None]), pa.array(["x"]).dictionary_encode()):
        with pytest.raises(DecodeError, match="^malformed Arrow row at its start: expected"):
            fastser.loads(array)

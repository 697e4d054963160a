"""NumPy arrays and scalars: dtypes, layouts, aliasing, writability, and that loads copies nothing."""

import gc
import itertools
import math
import mmap
import pickle
import sys

import numpy as np
import pytest
from same import same

import fastser

pytestmark = pytest.mark.core

BODY = 64  # what array bodies are aligned to
THRESHOLD = 512  # bytes from which on an array has a body of its own

# "q" and "Q" come back as what NumPy calls the same size first, as from pickle: see test_two_names_of_one_size.
NUMBERS = [np.dtype(code) for code in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "e", "f", "d", "g", "F", "D", "G")]
POINT = np.dtype([("x", "f4"), ("y", "f4")])
ALIGNED = np.dtype([("a", "i1"), ("b", "f8"), ("c", "i2")], align=True)
STRUCTURED = [
    POINT,
    ALIGNED,
    np.dtype([("a", "i1"), ("b", "f8"), ("c", ">i2")]),
    np.dtype([(("the title", "name"), "i4"), ("", ">f8"), ("s", "S3"), ("u", ">U3"), ("t", "M8[25s]"), ("v", "V4")]),
    np.dtype({"names": ["b", "a"], "formats": ["i4", "i2"], "offsets": [8, 1], "itemsize": 40}),
    np.dtype({"names": ["all", "low", "high"], "formats": ["u4", "u2", "u2"], "offsets": [0, 0, 2]}),
    np.dtype([("inner", ALIGNED), ("m", "f8", (2, 3)), ("p", POINT, (4,))]),
    np.dtype([("naïve \ud800", "g"), ("c", "G")]),
    np.dtype((np.record, POINT)),
    np.dtype([]),
]
DTYPES = [
    *NUMBERS,
    *(dtype.newbyteorder() for dtype in NUMBERS),
    *(np.dtype(f"{order}{kind}8{unit}") for order in "<>" for kind in "Mm" for unit in ("", "[Y]", "[D]", "[25s]", "[ns]", "[as]")),
    *(np.dtype(f"{kind}{size}") for kind in "SUV" for size in (1, 3, 16, 300)),
    np.dtype(">U3"),
    *STRUCTURED,
]
SHAPES = [(), (0,), (1,), (2,), (7,), (100,), (1000,), (0, 3), (3, 0), (2, 3), (1, 1), (1, 7), (7, 1), (40, 50), (2, 3, 4), (3, 1, 5), (2, 0, 4), (2,) * 10, (1,) * 64]


def filled(shape, dtype):
    """An array of any plain dtype, of bytes that differ from item to item."""
    dtype = np.dtype(dtype)
    count = math.prod(shape)
    if dtype.kind == "U":
        characters = np.arange(count * (dtype.itemsize // 4), dtype="u4") % 0x300 + 1
        array = characters.astype(characters.dtype.newbyteorder(dtype.byteorder)).tobytes()
    elif dtype.kind == "b":
        array = (np.arange(count) % 3 == 0).tobytes()
    else:
        array = (np.arange(count * dtype.itemsize, dtype="u4") * 7 % 251).astype("u1").tobytes()
    return np.ndarray(shape, dtype, array).copy() if count and dtype.itemsize else np.zeros(shape, dtype)


def address(buffer):
    return np.frombuffer(buffer, "u1").__array_interface__["data"][0]


def span(array):
    low, high = np.lib.array_utils.byte_bounds(array)
    return low, high


def inside(array, buffer):
    start = address(buffer)
    low, high = span(array)
    return start <= low and high <= start + len(buffer)


def aligned_buffer(size, offset=0, kind=bytearray):
    """A writable view of memory that starts `offset` bytes after a multiple of 64."""
    memory = kind(size + 128)
    start = -address(memory) % 64 + offset
    return memoryview(memory)[start : start + size]


def round_trip(value, **options):
    found = fastser.loads(fastser.dumps(value, **options))
    same(value, found, identity="graph" if options.get("track_refs", True) else None)
    return found


# --- values and layouts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=[f"{i}-{dtype.str}" for i, dtype in enumerate(DTYPES)])
def test_dtypes(dtype):
    for shape in ((), (0,), (3,), (5, 4), (300,), (0, 2)):
        array = filled(shape, dtype)
        round_trip(array)
        round_trip([array, [filled(shape, dtype) for _ in range(20)]])
        round_trip([array, array.copy()], track_refs=False)
    for item in filled((3,), dtype):
        found = fastser.loads(fastser.dumps([item, item, [item] * 20]))
        assert type(found[0]) is type(item)
        same([item, item, [item] * 20], found, identity=None)


@pytest.mark.parametrize("code", "bhilqpBHILQPnN")
def test_two_names_of_one_size(code):
    for value in (np.arange(5, dtype=code), np.dtype(code).type(5), np.arange(1000, dtype=code)[::2]):
        found, expected = fastser.loads(fastser.dumps(value)), pickle.loads(pickle.dumps(value))
        same(expected, found)
        assert found.dtype == value.dtype


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(shape):
    for dtype in ("f8", "i1", "S3", POINT):
        array = filled(shape, dtype)
        assert round_trip(array).flags.c_contiguous
        assert round_trip(np.asfortranarray(array) if shape else array).strides == (np.asfortranarray(array) if shape else array).strides
        round_trip([filled(shape, dtype) for _ in range(20)])
        round_trip({"a": array, "b": [array.T]})


LAYOUTS = {
    "every other": lambda a: a[::2],
    "every other column": lambda a: a[:, ::2],
    "backwards": lambda a: a[::-1],
    "backwards both": lambda a: a[::-1, ::-1],
    "backwards inside": lambda a: a[:, ::-1],
    "transposed": lambda a: a.T,
    "transposed three": lambda a: a.reshape(a.shape[0], 2, -1).transpose(1, 2, 0),
    "a block": lambda a: a[1:-1, 1:-1],
    "a row": lambda a: a[1],
    "a column": lambda a: a[:, 1],
    "the last column": lambda a: a[:, -1:],
    "an item": lambda a: a[1, 1, ...],
    "broadcast": lambda a: np.broadcast_to(a[0], a.shape),
    "broadcast column": lambda a: np.broadcast_to(a[:, :1], a.shape),
    "broadcast item": lambda a: np.broadcast_to(a[:1, :1], (3, 4)),
    "no strides": lambda a: np.lib.stride_tricks.as_strided(a, (3, 0, 5), (7, 11, 13)),
    "windows": lambda a: np.lib.stride_tricks.sliding_window_view(a, 3, 0),
    "fortran": np.asfortranarray,
    "a fortran block": lambda a: np.asfortranarray(a)[:, :2],
    "new axes": lambda a: a[None, ::2, None],
    "nothing": lambda a: a[:0],
    "read-only": lambda a: (a.setflags(write=False), a)[1],
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("shape", [(6, 4), (100, 60)], ids=["small", "large"])
def test_layouts(layout, shape):
    for dtype in ("u1", ">i4", "f8", "G", "S3", POINT, "M8[us]"):
        array = layout(filled(shape, dtype))
        found = round_trip(array)
        if array.flags.f_contiguous and not array.flags.c_contiguous:
            assert found.strides == array.strides
        else:
            assert found.flags.c_contiguous
        round_trip([array])
        round_trip([layout(filled(shape, dtype)) for _ in range(20)])
        round_trip([array, array.copy()], track_refs=False)
        assert fastser.dumps(array) == fastser.pack(array).to_bytes()


def test_layout_of_objects():
    for name, layout in LAYOUTS.items():
        objects = np.array([[[i, j] if (i + j) % 3 else str(i) for j in range(4)] for i in range(6)] + [[None] * 4], object)[:6]
        if name == "no strides":
            continue
        found = fastser.loads(fastser.dumps(layout(objects)))
        same(layout(objects), found)
        assert found.flags.writeable


def test_misaligned_arrays():
    memory = bytearray(8 * 200 + 1)
    array = np.frombuffer(memory, "f8", 200, offset=1)
    array[:] = range(200)
    assert not array.flags.aligned
    for value in (array, array[:10], array[::2], array[:10].reshape(2, 5).T):
        assert round_trip(value).flags.aligned
        round_trip([value, value[:]])


def test_long_empty_shapes():
    for shape in ((0, 2**40), (2**40, 0), (0, 2**62), (1, 0, 2**31)):
        round_trip(np.empty(shape, "i1"))
        round_trip([np.empty(shape, "i1") for _ in range(3)])
    round_trip(np.lib.stride_tricks.as_strided(np.zeros(1, "V0"), (5,)))
    round_trip(np.zeros(100, "V0"))


def test_text_of_no_length():
    array = np.zeros(3, [("a", "S0"), ("b", "i4"), ("c", "U0")])
    for value in (array, array["a"], array["c"], array["a"][0], [array["a"]] * 3):
        round_trip(value)


# --- no copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000])
def test_arrays_point_into_the_buffer(count):
    arrays = [np.arange(count, dtype=dtype) for dtype in ("f8", "i1", "c16", ">u4", "f2", "g")]
    arrays += [np.asfortranarray(filled((count, 3), "f4")), filled((count,), POINT), filled((count,), "S5")]
    value = {"arrays": arrays, "strided": np.arange(2.0 * count)[::2], "run": [np.arange(count) + i for i in range(20)]}
    frame = fastser.dumps(value)
    for buffer in (frame, bytearray(frame), memoryview(frame), np.frombuffer(frame, "u1")):
        found = fastser.loads(buffer)
        same(value, found, identity=None)
        for array in (*found["arrays"], found["strided"], *found["run"]):
            assert inside(array, buffer) is (array.nbytes >= THRESHOLD)
            assert array.flags.aligned
        for array in (*found["arrays"], found["strided"]):
            if array.nbytes >= THRESHOLD:
                assert (span(array)[0] - address(buffer)) % BODY == 0


def test_bodies_are_aligned_in_memory():
    arrays = [filled((n,), "u1") for n in (511, 512, 513, 575, 576, 577, 5000)] + [b"x" * 5000, "y" * 4097, bytearray(5001)]
    frame = fastser.dumps(arrays)
    assert len(frame) % BODY == 0
    buffer = aligned_buffer(len(frame))
    buffer[:] = frame
    found = fastser.loads(buffer)
    same(arrays, found)
    for array in found[1:7]:
        assert span(array)[0] % BODY == 0
        assert inside(array, buffer)
    assert not inside(found[0], buffer)


def test_bodies_are_found_where_the_source_put_them():
    # pack references the sources' memory, and loads of a Packed views it.
    array = np.arange(1000.0)
    fortran = np.asfortranarray(filled((30, 40), "f8"))
    packed = fastser.pack([array, fortran])
    found = fastser.loads(packed)
    assert span(found[0]) == span(array)
    assert span(found[1]) == span(fortran)
    assert not found[0].flags.writeable and not found[1].flags.writeable
    addresses = [address(buffer) for buffer in packed.buffers()]
    assert span(array)[0] in addresses and span(fortran)[0] in addresses


def test_pack_sees_later_changes():
    array = np.arange(1000)
    packed = fastser.pack(array)
    array[3] = -5
    assert fastser.loads(packed.to_bytes())[3] == -5
    assert fastser.loads(packed)[3] == -5


@pytest.mark.parametrize("offset", range(1, 17))
def test_a_frame_that_is_not_aligned(offset):
    value = [np.arange(12.0).reshape(3, 4), np.arange(1000.0), np.arange(1000, dtype="u1"), np.asfortranarray(filled((30, 40), "f8")), np.arange(3, dtype="G"), "text", 5, 2**40, 1.5]
    frame = fastser.dumps(value)
    for writable in (True, False):
        buffer = aligned_buffer(len(frame), offset)
        buffer[:] = frame
        if not writable:
            buffer = buffer.toreadonly()
        found = fastser.loads(buffer)
        same(value, found)
        for array in found[:5]:
            assert array.flags.aligned
            assert array.flags.writeable is (writable or not inside(array, buffer))  # copies are
        assert inside(found[2], buffer)  # bytes are aligned anywhere
        if offset % 8 == 0:
            assert inside(found[1], buffer)


def test_the_buffer_outlives_its_name():
    frame = fastser.dumps([np.arange(1000), np.arange(3), [np.arange(4) + i for i in range(5)]])
    for make in (bytes, bytearray, lambda frame: memoryview(bytearray(frame))):
        found = fastser.loads(make(frame))
        gc.collect()
        rubbish = [bytearray(b"\xff" * len(frame)) for _ in range(20)]
        assert found[0].sum() == 499500 and found[1].tolist() == [0, 1, 2] and found[2][4].tolist() == [4, 5, 6, 7]
        del rubbish


def test_the_buffer_is_held_while_arrays_are_alive():
    buffer = bytearray(fastser.dumps([np.arange(1000), np.arange(3)]))
    found = fastser.loads(buffer)
    with pytest.raises(BufferError):
        buffer.append(0)
    del found[0]
    buffer.append(0)
    for value in ([1, "two", [3.0]], np.arange(3), [np.arange(3)] * 20, [np.arange(i, i + 3) for i in range(100)]):
        buffer = bytearray(fastser.dumps(value))
        found = fastser.loads(buffer)
        buffer.append(0)  # nothing in the object refers to it
        same(value, found)


def test_mapped_memory(tmp_path):
    path = tmp_path / "frame"
    fastser.dump([np.arange(1000), np.arange(3)], path)
    with open(path, "r+b") as file:
        for access, writable in ((mmap.ACCESS_READ, False), (mmap.ACCESS_COPY, True)):
            mapped = mmap.mmap(file.fileno(), 0, access=access)
            found = fastser.loads(mapped)
            assert [array.flags.writeable for array in found] == [writable, True]
            assert inside(found[0], mapped)
            with pytest.raises(BufferError):
                mapped.close()
            del found
            mapped.close()


# --- writable, and who sees it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.arange(3), np.arange(1000), np.asfortranarray(filled((30, 40), "f8")), np.zeros((0, 3)), np.array(5), filled((10,), POINT), np.arange(100)[::2]], ids=lambda a: f"{a.dtype.str}{a.shape}")
def test_views_are_writable_exactly_as_the_buffer(value):
    frame = fastser.dumps([value, [value.copy() for _ in range(5)]])
    for buffer, writable in (
        (frame, False),
        (bytearray(frame), True),
        (memoryview(frame), False),
        (memoryview(bytearray(frame)), True),
        (memoryview(bytearray(frame)).toreadonly(), False),
        (np.frombuffer(frame, "u1").copy(), True),
        (np.frombuffer(frame, "u1"), False),
    ):
        found = fastser.loads(buffer)
        for array in (found[0], *found[1]):
            assert inside(array, buffer) is (array.nbytes >= THRESHOLD)
            assert array.flags.writeable is (writable or array.nbytes < THRESHOLD)
            if array.flags.writeable:
                array.setflags(write=False)
                array.setflags(write=True)
            else:
                with pytest.raises(ValueError):
                    array.setflags(write=True)
    found = fastser.loads(fastser.pack([value, [value]]))
    assert found[0].flags.writeable is (value.nbytes < THRESHOLD)
    assert np.shares_memory(found[0], value) is (value.nbytes >= THRESHOLD and value.base is None)


def test_writing_writes_to_the_buffer():
    for count in (THRESHOLD - 1, THRESHOLD):
        buffer = bytearray(fastser.dumps(np.zeros(count, "u1")))
        found = fastser.loads(buffer)
        found[:] = 0xAB
        assert buffer.count(0xAB) == (count if count == THRESHOLD else 0)
        assert fastser.loads(buffer).tolist() == [0xAB if count == THRESHOLD else 0] * count


def test_read_only_sources_come_back_writable_from_writable_buffers():
    array = np.arange(1000)
    array.flags.writeable = False
    assert fastser.loads(bytearray(fastser.dumps(array))).flags.writeable


def test_small_arrays_of_a_run_do_not_share():
    buffer = bytearray(fastser.dumps([np.zeros(3) for _ in range(50)]))
    found = fastser.loads(buffer)
    for i, array in enumerate(found):
        array[:] = i
    assert [array.tolist() for array in found] == [[float(i)] * 3 for i in range(50)]


@pytest.mark.parametrize("count", [3, 1000])
def test_views_of_one_array_share_memory_again(count):
    a = np.arange(float(count))
    value = [a, a[:], {"a": a.view(), "b": a.reshape(1, -1)}, [a[:] for _ in range(20)], a.view("i8"), a]
    found = fastser.loads(bytearray(fastser.dumps(value)))
    same(value, found)
    others = [found[1], found[2]["a"], found[2]["b"], *found[3], found[4]]
    assert all(np.shares_memory(found[0], other) and span(found[0]) == span(other) for other in others)
    assert found[5] is found[0]
    found[0][0] = 7
    assert found[1][0] == 7 and found[2]["b"][0, 0] == 7 and found[3][19][0] == 7
    assert found[4][0] == np.array(7.0).view("i8")


@pytest.mark.parametrize("count", [5, 100, 100000])
def test_what_is_met_twice_is_written_once(count):
    a = np.random.default_rng(0).integers(0, 2**60, count)
    alone = len(fastser.dumps([a]))
    assert len(fastser.dumps([a, a, [a], {"a": a}])) < alone + 100
    assert len(fastser.dumps([a, a[:], [a.view()], a.reshape(1, -1)])) < alone + 200
    assert len(fastser.dumps([a, a], track_refs=False)) > alone + 8 * count - 64
    apart = fastser.loads(bytearray(fastser.dumps([a, a], track_refs=False)))
    assert not np.shares_memory(*apart)


def test_parts_of_one_array_keep_their_elements():
    a = np.arange(1000.0)
    value = [a, a[:500], a[500:], a[::2], a[:1], a[:0], a.reshape(10, 100), a.reshape(10, 100).T, a.reshape(10, 100, order="F"), a[1:], a[:999]]
    for _ in range(2):
        round_trip(value)
        value.reverse()
    small = np.arange(6)
    round_trip([small, small[:3], small[3:], small[::2], small.reshape(2, 3), small.reshape(2, 3).T, small[:0], small[:6]])
    round_trip([[small[:3] for _ in range(20)], small, [small[3:] for _ in range(20)]])


def test_aliases_in_every_place():
    for count in (3, 1000):
        k = [np.arange(count) + i for i in range(5)]
        value = [k, k[2][:], [k[1], np.arange(count), k[0]], {"x": k[4][:], "y": k}, tuple(a.view("u8") for a in k), [{"a": k[i % 5][:]} for i in range(20)], [k[i % 3] for i in range(40)]]
        found = fastser.loads(bytearray(fastser.dumps(value)))
        same(value, found)
        for a, b in itertools.combinations(range(5), 2):
            assert not np.shares_memory(found[0][a], found[0][b])
        assert span(found[1]) == span(found[0][2]) and span(found[3]["x"]) == span(found[0][4])
        assert all(span(found[4][i]) == span(found[0][i]) for i in range(5))
        assert all(span(found[5][i]["a"]) == span(found[0][i % 5]) for i in range(20))


def test_memory_that_is_freed_is_not_taken_for_an_alias():
    class Maker:
        """Arrays that live no longer than their __reduce__'s result."""

        def __init__(self, seed):
            self.seed = seed

        def __reduce__(self):
            return np.ndarray.tolist, (np.full(100, self.seed),)

    found = fastser.loads(fastser.dumps([Maker(i) for i in range(50)]))
    assert found == [[i] * 100 for i in range(50)]


# --- arrays of objects --------------------------------------------------------------------------------------------------


def objects(*items):
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array


def test_object_arrays():
    shared = [1]
    for value in (
        objects(),
        objects(None),
        objects(1, "two", 3.0, None, [4], {"five": 6}, shared, shared),
        objects(*range(1000)),
        objects(*map(str, range(100))),
        np.array([[1, "a"], [None, 2.5]], object),
        np.asfortranarray(np.array([[1, "a", ()], [None, 2.5, []]], object)),
        np.array("text", object),
        np.empty((3, 0), object),
        np.empty(5, object),  # NULL stands for None
        objects(objects(1, 2), objects(), np.arange(3), np.arange(1000)),
        [objects(i, str(i)) for i in range(50)],
        [objects(i) for i in range(50)] + [objects(1, 2)],
        {"a": objects([1]), "b": objects([1])},
    ):
        found = round_trip(value)
        round_trip(value, track_refs=False)
        if isinstance(found, np.ndarray):
            assert found.flags.writeable and found.flags.owndata
    assert b"numpy" not in fastser.dumps(objects(1, [2], "x"))  # not pickled


def test_object_arrays_that_contain_themselves():
    a = objects(None, 1)
    a[0] = a
    found = round_trip(a)
    assert found[0] is found
    b, c = objects(None, "b"), objects(None, None, [])
    b[0], c[1] = c, b
    c[2].append(c)
    found = round_trip([b, c])
    assert found[0][0] is found[1] and found[1][1] is found[0] and found[1][2][0] is found[1]
    d = {"a": a}
    a[1] = d
    found = round_trip(d)
    assert found["a"][1] is found and found["a"][0] is found["a"]
    with pytest.raises(fastser.DepthError):
        fastser.dumps(a, track_refs=False)


def plain(count):
    """Elements that are walked where they lie: numbers, short text, truth values and None."""
    words = ["word", "Wörter", "слово", "", "x" * 300]
    return [None, True, 1.5, 2**70, *(words[i % 5] if i % 7 else None for i in range(count)), *map(str, range(count)), *range(count)]


MORE = ["nothing", "a long text", "a body of text", "a long text of surrogates", "a surrogate", "a list", "an error"]


@pytest.mark.parametrize("more", [(), ("x" * 1024,), ("é" * 5000,), ("\ud800" * 5000,), ("\ud800",), ([],), (OSError(1),)], ids=MORE)
@pytest.mark.parametrize("careful", [False, True])
def test_plain_elements_and_others(more, careful):
    array = objects(*plain(2000), *more, "end")
    empty = np.empty(50, object)  # NULL stands for None
    for data in (array, array[::3], array[: len(array) // 2 * 2].reshape(2, -1).T, np.array(array.reshape(1, -1), order="F"), empty):
        value = [OSError(2), data, data, data[:10]] if careful else [data, data, data[:10]]
        found = fastser.loads(fastser.dumps(value))
        assert same(value, found)


@pytest.mark.parametrize("count", [20, 1000, 5000, 40_000])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.6, 0.7, 1])
@pytest.mark.parametrize("gaps", [False, True])
def test_repeated_elements(count, share, gaps):
    distinct = [f"text {i}" for i in range(max(1, int(count * share)))]
    items = [distinct[i * 7919 % len(distinct)] for i in range(count)]
    if gaps:
        items[3::11] = [None] * len(items[3::11])
    found = fastser.loads(fastser.dumps(objects(*items)))
    assert found.tolist() == items


def test_views_of_object_arrays():
    a = objects([1], [2], "x", None)
    for value in ([a, a[:]], [a[:], a], [a, a[::2], a[::-1]], [a.reshape(2, 2), a.reshape(2, 2).T, a], [a[:2], a[2:], a]):
        found = round_trip(value)
        assert all(array.flags.writeable for array in found)
    found = round_trip([a, a[:]])
    assert found[0][0] is found[1][0]


def test_structured_arrays_with_objects():
    array = np.array([(1, [1], "x"), (2, None, {})], [("a", "i4"), ("o", "O"), ("p", "O")])
    found = fastser.loads(fastser.dumps([array, array]))
    assert found[0] is found[1]
    assert found[0].dtype == array.dtype and found[0].tolist() == array.tolist()


# --- StringDType --------------------------------------------------------------------------------------------------------

STRINGS = [np.dtypes.StringDType(), np.dtypes.StringDType(coerce=False), np.dtypes.StringDType(na_object=None), np.dtypes.StringDType(na_object=np.nan, coerce=False), np.dtypes.StringDType(na_object="missing")]


@pytest.mark.parametrize("dtype", STRINGS, ids=repr)
def test_variable_width_strings(dtype):
    texts = ["", "a", "é日😀", "x" * 15, "x" * 16, "y" * 5000, "\0"]
    missing = [dtype.na_object] if hasattr(dtype, "na_object") else []
    for items in ([], texts, texts + missing, missing * 20, texts * 30 + missing):
        array = np.array(items, dtype) if items else np.empty(0, dtype)
        found = round_trip(array)
        assert found.flags.writeable
        round_trip([array, array[::2], array[:1], array.reshape(1, -1)])
        round_trip([np.array(items, dtype) if items else np.empty(0, dtype) for _ in range(20)])
        for a, b in zip(array.tolist(), found.tolist()):
            assert type(a) is type(b)
    round_trip(np.array([["a", "b"], ["c", "d" * 100]], dtype).T)


# --- subclasses ---------------------------------------------------------------------------------------------------------


def test_recarrays():
    for shape in ((3,), (2, 3), (0,), (1000,)):
        array = filled(shape, POINT).view(np.recarray)
        found = fastser.loads(fastser.dumps(array))
        assert type(found) is np.recarray and found.dtype == array.dtype and found.dtype.type is np.record
        assert found.tolist() == array.tolist() and found.shape == shape
        if found.size:
            assert found.x.tolist() == array.x.tolist()
    record = np.rec.array([(1, 2.0), (3, 4.0)], dtype=[("a", "i4"), ("b", "f8")])
    found = fastser.loads(fastser.dumps([record[0], record]))
    assert type(found[0]) is np.record and found[0] == record[0] and found[0].a == 1


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_matrices():
    for matrix in (np.matrix([[1, 2], [3, 4]]), np.asmatrix(filled((100, 200), "f8"))):
        found = fastser.loads(fastser.dumps([matrix, matrix]))
        assert type(found[0]) is np.matrix and found[0] is found[1] and (found[0] == matrix).all()


def test_memmaps(tmp_path):
    array = np.memmap(tmp_path / "array", "f8", "w+", shape=(1000,))
    array[:] = range(1000)
    found = fastser.loads(fastser.dumps({"a": array}))["a"]
    assert isinstance(found, np.ndarray) and found.dtype == array.dtype and found.tolist() == array.tolist()


def test_masked_arrays():
    for size in (5, 1000):
        array = np.ma.MaskedArray(np.arange(size), mask=np.arange(size) % 3 == 0, fill_value=-1)
        for value in (array, array[::2], array.reshape(5, -1), np.ma.MaskedArray(np.arange(size))):
            found = fastser.loads(fastser.dumps([value]))[0]
            same(value, found, identity=None)
            assert found.fill_value == value.fill_value
    assert fastser.loads(fastser.dumps(np.ma.masked)) is np.ma.masked
    structured = np.ma.array([(1, 2.0), (3, 4.0)], mask=[(0, 1), (1, 0)], dtype=[("a", "i4"), ("b", "f8")])
    same(structured, fastser.loads(fastser.dumps(structured)), identity=None)


class Tagged(np.ndarray):
    tag = None

    def __reduce__(self):
        rebuild, arguments, state = super().__reduce__()
        return rebuild, arguments, (state, self.tag)

    def __setstate__(self, state):
        super().__setstate__(state[0])
        self.tag = state[1]


def test_subclasses_of_users():
    array = np.arange(1000.0).view(Tagged)
    array.tag = "seen"
    found = fastser.loads(fastser.dumps([array, np.arange(3), array]))
    assert type(found[0]) is Tagged and found[0].tag == "seen" and found[0] is found[2] and found[0].tolist() == array.tolist()
    assert type(found[1]) is np.ndarray


# --- scalars ------------------------------------------------------------------------------------------------------------


def test_scalars():
    values = [
        *(dtype.type(1) for dtype in NUMBERS),
        *(dtype.type(0) for dtype in NUMBERS),
        np.float64(-0.0),
        np.float32(math.nan),
        np.uint64(2**64 - 1),
        np.int64(-(2**63)),
        np.longdouble(1) / 3,
        np.complex64(complex(-0.0, math.inf)),
        np.str_(""),
        np.str_("é\0x"),
        np.bytes_(b""),
        np.bytes_(b"a\0b"),
        np.void(b""),
        np.void(b"\0\1"),
        np.datetime64("NaT"),
        np.datetime64("NaT", "25s"),
        np.datetime64("2020-01-01T00:00", "ns"),
        np.datetime64(-5, "Y"),
        np.timedelta64(7, "as"),
        np.timedelta64("NaT"),
        filled((2,), POINT)[1],
        filled((2,), ALIGNED)[1],
        filled((2,), np.dtype([("inner", ALIGNED), ("m", "f8", (2, 3))]))[1],
        filled((2,), POINT).view(np.recarray)[0],
    ]
    for value in values:
        for length in (1, 2, 7, 8, 16, 17, 65):
            run = [value] * length
            same(run, fastser.loads(fastser.dumps(run)), identity=None)
            same(run, fastser.loads(fastser.dumps(run, track_refs=False)), identity=None)
        same({"a": value, "b": (value,)}, fastser.loads(fastser.dumps({"a": value, "b": (value,)})), identity=None)
    same(values * 3, fastser.loads(fastser.dumps(values * 3)), identity=None)
    run = [np.float64(i) if i % 3 else float(i) for i in range(100)]
    same(run, fastser.loads(fastser.dumps(run)))
    run = [np.float64(i) for i in range(1000)]
    assert len(fastser.dumps(run)) < 8100


def test_structured_scalars_are_of_their_own():
    array = np.zeros(2, POINT)
    found = fastser.loads(bytearray(fastser.dumps([array[0], array[1]])))
    found[0]["x"] = 5
    assert found[1]["x"] == 0


# --- many arrays --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 64, 65, 1000])
@pytest.mark.parametrize("count", [0, 1, 3, 63, 64, 65])
def test_runs_of_arrays(length, count):
    round_trip([np.arange(count) + i for i in range(length)])
    round_trip([np.arange(count, dtype="f4") + i for i in range(length)], track_refs=False)
    round_trip([{"x": np.arange(count) + i, "y": str(i)} for i in range(length)])
    round_trip([(np.arange(count) + i, np.arange(i % 3)) for i in range(length)])
    for odd in (np.arange(count + 1), np.arange(count, dtype="i2"), None, [1], np.arange(2000)):
        arrays = [np.arange(count) + i for i in range(length)]
        arrays[length // 2] = odd
        round_trip(arrays)


def test_a_run_is_written_as_one():
    arrays = [np.full(10, i, "f4") for i in range(1000)]
    assert len(fastser.dumps(arrays)) < 1000 * 40 + 200
    found = fastser.loads(fastser.dumps(arrays))
    starts = [span(array)[0] for array in found]
    assert {b - a for a, b in itertools.pairwise(starts)} == {40}


def test_many_dtypes_at_once():
    value = {f"{dtype.str} {i}": filled((3 + i % 50,), dtype) for i, dtype in enumerate(DTYPES * 3)}
    round_trip(value)
    # Equal dtypes that are different objects.
    round_trip([filled((4,), np.dtype([("x", "f4"), ("y", "f4")])) for _ in range(40)])
    round_trip([filled((4,), np.dtype([("x", "f4"), ("y", f"S{i + 1}")])) for i in range(40)])


def test_dtypes_themselves():
    for dtype in DTYPES:
        assert fastser.loads(fastser.dumps([dtype, dtype]))[0] == dtype


def test_a_view_costs_no_reference_to_the_source():
    array = np.arange(1000)
    before = sys.getrefcount(array)
    frame = fastser.dumps([array, array[:]])
    assert sys.getrefcount(array) == before
    packed = fastser.pack(array)
    assert sys.getrefcount(array) == before + 1
    del packed
    assert sys.getrefcount(array) == before
    del frame

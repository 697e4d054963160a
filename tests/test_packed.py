"""Packed: the frame's layout, what is referenced and what is copied, pickling, and what hostile pickles can do."""

import copy
import gc
import mmap
import pickle
import re
import struct
import threading
import tracemalloc
import weakref
from array import array

import numpy as np
import pytest
from same import same

import fastser
from fastser import DecodeError, Packed
from fastser._core.frame.packed import HEADER_SIZE, MAGIC, frame_length, rebuild

pytestmark = pytest.mark.core

RECORD = np.dtype([("a", "u1"), ("b", "f8")], align=True)  # seven bytes of padding


def records():
    array = np.zeros(2000, RECORD)
    array["a"] = np.arange(2000)
    array["b"] = np.arange(2000) / 7
    return array


def make_objects():
    grid = np.arange(40_000, dtype="f8").reshape(200, 200)
    return {
        "int": 1,
        "text": "texte é \U0001f600",
        "plain": {"a": [1, 2.5, None, "x"], "b": (True, b"bytes", 2**70), "c": {1, 2}},
        "ints": list(range(-1000, 100_000, 37)),
        "rows": [{"id": i, "name": f"n{i}", "tags": ["a"] * (i % 3)} for i in range(100)],
        "contiguous": np.arange(1000.0),
        "fortran": np.asfortranarray(grid[:50]),
        "strided": grid[::2, ::3],
        "reversed": grid[::-1, ::-1],
        "broadcast": np.broadcast_to(np.arange(300.0), (50, 300)),
        "records": records(),
        "many": [np.full(500 + i, i, "i2") for i in range(50)],
        "long": ["é" * 5000, "a" * 5000, b"\xff" * 5000, bytearray(9000)],
        "mixed": {"x": grid, "y": grid.T, "z": grid[3:150, 5:190], "n": "name", "small": np.arange(3.0)},
    }


OBJECTS = make_objects()
each_object = pytest.mark.parametrize("obj", OBJECTS.values(), ids=OBJECTS)


def address(buffer):
    return np.frombuffer(buffer, "u1").ctypes.data


def parse(frame):
    """Read a frame's layout, as docs/format.md tells it: the parts by name, and all padding."""
    names = ["buffers", "i64", "f64", "i32", "text", "data", "i16", "i8", "bits", "tags"]
    magic, version, flags, presence, total = struct.unpack_from("<4sBBHQ", frame)
    assert (magic, version, presence >> 10, total) == (b"\xf5FSR", 1, 0, len(frame))
    code, width = ("Q", 8) if flags & 1 else ("I", 4)
    present = [name for i, name in enumerate(names) if presence >> i & 1]
    numbers = struct.unpack_from(f"<{len(present)}{code}", frame, 16)
    assert all(numbers)
    counts = dict.fromkeys(names, 0) | dict(zip(present, numbers, strict=True))
    at = 16 + width * len(present)
    padding = []

    def align(to):
        nonlocal at
        end = -(-at // to) * to
        padding.append(bytes(frame[at:end]))
        at = end

    def take(size):
        nonlocal at
        at += size
        return bytes(frame[at - size : at])

    parts = {}
    align(8)
    sizes = struct.unpack(f"<{counts['buffers']}Q", take(8 * counts["buffers"]))
    parts["i64"] = array("q", take(8 * counts["i64"]))
    parts["f64"] = array("d", take(8 * counts["f64"]))
    offsets = {}
    for name in ("text", "data"):
        n = counts[name] + 1 if counts[name] else 0
        offsets[name] = struct.unpack(f"<{n}{code.lower()}", take(n * width))
    parts["i32"] = array("i", take(4 * counts["i32"]))
    parts["i16"] = array("h", take(2 * counts["i16"]))
    parts["i8"] = array("b", take(counts["i8"]))
    parts["bits"] = take(counts["bits"])
    parts["tags"] = take(counts["tags"])
    for name in ("text", "data"):
        if name == "data" and offsets[name]:
            align(16)
        content = take(offsets[name][-1] if offsets[name] else 0)
        parts[name] = [content[a:b] for a, b in zip(offsets[name], offsets[name][1:], strict=False)]
    parts["buffers"] = []
    for size in sizes:
        align(64)
        parts["buffers"].append(take(size))
    if sizes:
        align(64)
    assert at == len(frame)
    return parts, padding


# --- the frame ---------------------------------------------------------------------------------------------------------


@each_object
def test_dumps_is_pack_written_into_one_bytes_object(obj):
    frame = fastser.dumps(obj)
    packed = fastser.pack(obj)
    assert type(frame) is bytes
    assert packed.nbytes == len(frame)
    assert packed.to_bytes() == bytes(packed) == frame
    assert b"".join(packed.buffers()) == frame
    assert frame_length(frame[:HEADER_SIZE]) == len(frame)


@each_object
def test_layout_is_the_documented_one_and_padding_is_zero(obj):
    _, padding = parse(fastser.dumps(obj))
    assert not any(map(any, padding))


def test_small_frames_are_small():
    assert len(fastser.dumps(1)) <= 32
    parts, _ = parse(fastser.dumps(1))
    assert parts["tags"] == bytes([129])


def test_columns_hold_runs():
    for items, column, held in [
        (list(range(-50, 100)), "i8", list(range(-50, 100))),
        ([300, -300] * 10, "i16", [300, -300] * 10),
        ([-70_000, 1] * 10, "i32", [-70_000, 1] * 10),
        ([2**40, 1] * 10, "i64", [2**40, 1] * 10),
        ([0.5, -0.5] * 10, "f64", [0.5, -0.5] * 10),
        ([f"é{i}" for i in range(20)], "text", [f"é{i}".encode() for i in range(20)]),
        ([b"%d" % i for i in range(20)], "data", [b"%d" % i for i in range(20)]),
        ([True, False, True, True] * 5, "bits", [0b11011101, 0b11011101, 0b1101]),
    ]:
        parts, _ = parse(fastser.dumps(items))
        assert list(parts[column]) == held
        assert {name for name, part in parts.items() if part} == {column, "tags"}


def test_bodies_hold_the_elements_in_their_order():
    grid = np.arange(10_000.0).reshape(100, 100)
    for source, order in [(grid, "C"), (grid.T, "F"), (grid[::2], "C"), (grid[::-1, 5:], "C")]:
        parts, _ = parse(fastser.dumps(source))
        assert parts["buffers"] == [source.tobytes(order)]


def test_holes_of_gathered_records_hold_no_foreign_memory():
    source = np.frombuffer(b"\xff" * 16 * 400, RECORD)[::2]
    parts, _ = parse(fastser.dumps(source))
    body = np.frombuffer(parts["buffers"][0], "u1").reshape(-1, 16)
    assert (body[:, :1] == 255).all()
    assert (body[:, 8:] == 255).all()
    # NumPy up to 2.4 leaves the holes alone, and they were zeroed; later ones carry along what lies in the source's.
    assert set(np.unique(body[:, 1:8])) in ({0}, {255})
    source = records()[::2]
    for loaded in (fastser.loads(fastser.dumps(source)), fastser.loads(fastser.pack(source))):
        assert loaded.dtype == RECORD
        assert (loaded == source).all()


# --- what is referenced ---------------------------------------------------------------------------------------------------


def test_pack_references_and_copies_nothing():
    source = np.arange(1_000_000.0)
    text = "x" * 1_000_000
    tracemalloc.start()
    packed = fastser.pack([source, text])
    views = packed.buffers()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000
    assert source.ctypes.data in map(address, filter(len, views))
    source[17] = -1.0
    assert fastser.loads(packed.to_bytes())[0][17] == -1.0


def test_buffers_are_read_only_views_and_small_ones_are_merged():
    packed = fastser.pack(OBJECTS["many"])
    views = packed.buffers()
    assert all(type(view) is memoryview and view.readonly and view.format == "B" for view in views)
    assert all(len(view) for view in views)
    assert len(views) == 2  # the head; everything else
    views = fastser.pack([np.arange(1000.0), np.arange(1001.0)]).buffers()
    assert [len(view) for view in views[1::2]][:1] == [(-len(views[0])) % 64]


def test_a_strided_source_is_gathered_without_a_temporary():
    source = np.arange(4_000_000, dtype="i4").reshape(2000, 2000)[::2, ::2]
    packed = fastser.pack(source)
    target = bytearray(packed.nbytes)
    tracemalloc.start()
    packed.write_into(target)
    _, peak = tracemalloc.get_traced_memory()
    assert peak < 50_000
    tracemalloc.reset_peak()
    frame = fastser.dumps(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(frame) + 50_000
    assert bytes(target) == frame
    assert (fastser.loads(frame) == source).all()


def test_a_strided_source_is_materialised_once():
    packed = fastser.pack(np.arange(20_000.0)[::2])
    first, second = (packed.buffers()[-1] for _ in range(2))
    assert address(first) == address(second) == fastser.loads(packed).ctypes.data


def test_owners_live_as_long_as_the_packed_or_a_view_of_it():
    source = np.arange(1000.0)
    strided = np.arange(4000.0)[::2]
    alive = [weakref.ref(source), weakref.ref(strided.base)]
    packed = fastser.pack([source, strided])
    del source, strided
    view = packed.buffers()[2]
    reference = weakref.ref(packed)
    del packed
    assert reference() is not None
    assert np.frombuffer(view, "f8")[-1] == 999.0
    del view
    assert reference() is None
    assert [ref() for ref in alive] == [None, None]


def test_a_bytearray_cannot_be_resized_while_it_is_referenced():
    source = bytearray(10_000)
    packed = fastser.pack(source)
    with pytest.raises(BufferError):
        source.append(1)
    del packed
    source.append(1)


class Tagged(np.ndarray):
    pass


def test_a_cycle_through_a_packed_is_collected():
    source = np.zeros(10_000).view(Tagged)
    source.packed = fastser.pack(source)
    reference = weakref.ref(source)
    del source
    gc.collect()
    assert reference() is None


# --- write_into -----------------------------------------------------------------------------------------------------------


@each_object
def test_write_into(obj):
    packed = fastser.pack(obj)
    frame = fastser.dumps(obj)
    for shift in (0, 1, 7):
        target = bytearray(b"\xaa" * (len(frame) + 16))
        assert packed.write_into(memoryview(target)[shift:]) == len(frame)
        assert target[shift : shift + len(frame)] == frame
        assert target[:shift] + target[shift + len(frame) :] == b"\xaa" * 16


def test_write_into_of_more_than_caches_hold():
    data = np.arange(40_000_000 // 8).view("u1")
    parts = [data[: 33_000_003], data[:64], np.empty(0), data[5:5_000_777]]
    packed = fastser.pack(parts)
    for shift in (0, 1, 16):
        target = np.full(packed.nbytes + 64, 255, "u1")
        assert packed.write_into(target.data[shift:]) == packed.nbytes
        assert not target[:shift].size or (target[:shift] == 255).all()
        assert (target[shift + packed.nbytes :] == 255).all()
        found = fastser.loads(target[shift:])
        assert all(np.array_equal(a, b) for a, b in zip(found, parts, strict=True))


def test_write_into_what_holds_memory():
    packed = fastser.pack(list(range(1000)))
    size = packed.nbytes
    with mmap.mmap(-1, size) as mapping:
        assert packed.write_into(mapping) == size
        assert fastser.loads(mapping[:]) == list(range(1000))
    target = np.zeros((-(-size // 8), 1), "f8")
    assert packed.write_into(target) == size
    assert target.tobytes()[:size] == packed.to_bytes()


def test_write_into_errors():
    packed = fastser.pack([1, 2])
    size = packed.nbytes
    for bad, kind in [
        (bytes(100), "bytes"),
        (3, "int"),
        ("text", "str"),
        (memoryview(bytearray(100))[::2], "memoryview"),
        (np.zeros(100, "u1")[::2], "numpy.ndarray"),
    ]:
        with pytest.raises(TypeError, match=f"^expected a writable, contiguous buffer, found {kind}$"):
            packed.write_into(bad)
    message = f"the buffer is too small for the frame: expected at least {size} bytes, found {size - 1}"
    target = bytearray(size - 1)
    with pytest.raises(ValueError, match=f"^{message}$"):
        packed.write_into(target)
    target.append(0)  # the buffer was given back
    assert target == bytes(size)


def test_threads_write_and_gather_at_once():
    source = np.arange(2_000_000, dtype="i4").reshape(1000, 2000)
    obj = {"a": source, "b": source[::2, ::2], "c": source.T, "d": source[:, ::-1]}
    frame = fastser.dumps(obj)
    for _ in range(3):
        packed = fastser.pack(obj)
        results = []
        actions = [packed.to_bytes, lambda p=packed: b"".join(p.buffers())] * 3
        threads = [threading.Thread(target=lambda act=act, out=results: out.append(act() == frame)) for act in actions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 6


# --- loads ----------------------------------------------------------------------------------------------------------------


@each_object
def test_loads_reads_a_packed_without_a_frame(obj):
    assert same(obj, fastser.loads(fastser.pack(obj)))


def test_arrays_loaded_from_a_packed_are_read_only_views_that_keep_it():
    source = np.arange(1000.0)
    packed = fastser.pack({"a": source})
    reference = weakref.ref(packed)
    loaded = fastser.loads(packed)["a"]
    assert loaded.ctypes.data == source.ctypes.data
    assert not loaded.flags.writeable
    del packed, source
    gc.collect()
    assert reference() is not None
    assert loaded[-1] == 999.0
    del loaded
    assert reference() is None


# --- pickle ---------------------------------------------------------------------------------------------------------------


@each_object
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_in_band(obj, protocol):
    again = pickle.loads(pickle.dumps(fastser.pack(obj), protocol))
    assert type(again) is Packed
    assert again.to_bytes() == fastser.dumps(obj)


@each_object
def test_pickle_out_of_band(obj):
    packed = fastser.pack(obj)
    buffers = []
    stream = pickle.dumps(packed, 5, buffer_callback=buffers.append)
    again = pickle.loads(stream, buffers=buffers)
    assert again.to_bytes() == packed.to_bytes()
    assert same(obj, fastser.loads(again))
    copies = [bytearray(buffer.raw()) for buffer in buffers]
    again = pickle.loads(stream, buffers=copies)
    assert again.to_bytes() == packed.to_bytes()


def test_pickle_hands_out_and_takes_the_same_memory():
    source = np.arange(100_000.0)
    buffers = []
    stream = pickle.dumps(fastser.pack(source), 5, buffer_callback=buffers.append)
    assert len(stream) < 500
    assert [address(buffer) for buffer in buffers] == [source.ctypes.data]
    received = bytearray(buffers[0].raw())
    loaded = fastser.loads(pickle.loads(stream, buffers=[received]))
    assert loaded.ctypes.data == address(received)
    assert not loaded.flags.writeable


def test_copies():
    packed = fastser.pack(OBJECTS["mixed"])
    assert copy.copy(packed).to_bytes() == copy.deepcopy(packed).to_bytes() == packed.to_bytes()


def parts_of(obj):
    _, (head, buffers) = fastser.pack(obj).__reduce_ex__(5)
    return head, [bytes(buffer) for buffer in buffers]


def test_hostile_pickles_are_decode_errors():
    head, buffers = parts_of([np.arange(1000.0), b"x" * 5000])
    assert fastser.loads(rebuild(head, buffers))[1] == b"x" * 5000
    for bad_head, bad_buffers, message in [
        (b"", buffers, "truncated frame: expected 16 bytes, found 0"),
        (head[:15], buffers, "truncated frame: expected 16 bytes, found 15"),
        (b"PK\x03\x04" + head[4:], buffers, r"not a fastser frame: expected b'\xf5FSR' at offset 0, found b'PK\x03\x04'"),
        (head[:4] + b"\x07" + head[5:], buffers, "this frame has format version 7, at offset 4"),
        (head[:5] + b"\x80" + head[6:], buffers, "malformed frame at offset 5: expected no flags but 0x7, found 0x80"),
        (head, [], "truncated frame: expected"),
        (head, buffers[:1], "truncated frame: expected"),
        (head, buffers[::-1], "malformed frame at buffer 0: expected a buffer of 8000 bytes, found 5000"),
        (head, buffers + [b""], "malformed frame at offset 16: expected columns and buffers of"),
        (head, [buffers[0], buffers[1] + bytes(64)], "malformed frame at offset 16: expected columns and buffers of"),
        (head[:-1], buffers, "expected"),
        (head + b"\0", buffers, "expected"),
        (bytearray(head), buffers, "malformed frame at offset 0: expected bytes for header and columns, found bytearray"),
        (None, buffers, "malformed frame at offset 0: expected bytes for header and columns, found NoneType"),
        (head, [1, 2], "cannot rebuild the buffers of a Packed"),
        (head, None, "cannot rebuild the buffers of a Packed"),
    ]:
        with pytest.raises(DecodeError, match=re.escape(message)):
            rebuild(bad_head, bad_buffers)


def test_flipped_heads_are_decode_errors_or_other_values():
    head, buffers = parts_of({"a": np.arange(100.0), "b": ["x", "yz", None] * 4, "c": (b"data", 1.5, 70000)})
    for at in range(len(head)):
        for bit in (0, 3, 7):
            flipped = bytearray(head)
            flipped[at] ^= 1 << bit
            try:
                packed = rebuild(bytes(flipped), buffers)
                packed.to_bytes()
                fastser.loads(packed)
            except (DecodeError, fastser.DepthError):
                pass


# --- the class ------------------------------------------------------------------------------------------------------------


def test_packed_is_made_by_pack_alone():
    with pytest.raises(TypeError, match="^Packed objects are made by fastser.pack$"):
        Packed()
    with pytest.raises(TypeError):
        type("Subclass", (Packed,), {})


def test_a_packed_that_was_not_made_by_pack_is_empty():
    empty = Packed.__new__(Packed)
    assert empty.nbytes == 0
    assert empty.to_bytes() == b""
    assert empty.buffers() == []
    assert empty.write_into(bytearray()) == 0
    assert repr(empty) == "<fastser.Packed: 0 bytes, buffers by reference: 0>"
    for action in (fastser.loads, Packed.__arrow_c_array__, lambda p: pickle.loads(pickle.dumps(p))):
        with pytest.raises(DecodeError, match="^truncated frame: expected 16 bytes, found 0$"):
            action(empty)


def test_repr():
    assert repr(fastser.pack([b"x" * 5000] * 3)) == "<fastser.Packed: 5120 bytes, buffers by reference: 1>"


def test_frame_length():
    frame = fastser.dumps(OBJECTS["mixed"])
    for start in (frame, frame[:16], bytearray(frame), memoryview(frame)[:100]):
        assert frame_length(start) == len(frame)
    assert frame[:4] == MAGIC
    for bad, message in [
        (b"", "truncated frame: expected 16 bytes, found 0"),
        (frame[:15], "truncated frame: expected 16 bytes, found 15"),
        (b"text", r"not a fastser frame: expected b'\xf5FSR' at offset 0, found b'text'"),
        (frame[:4] + b"\x02" + frame[5:], "this frame has format version 2, at offset 4"),
        (frame[:8] + bytes(8), "malformed frame at offset 8: expected a length of at least 16, found 0"),
        (frame[:8] + b"\xff" * 8, "malformed frame at offset 8: expected a length of at least 16, found 18446744073709551615"),
    ]:
        with pytest.raises(DecodeError, match=re.escape(message)):
            frame_length(bad)
    with pytest.raises(TypeError):
        frame_length("text")

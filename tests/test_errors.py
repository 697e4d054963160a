"""What goes wrong says what was expected, what came and where; and leaves nothing behind."""

import collections
import gc
import io
import pickle
import sys
import threading
import zipfile
import zlib

import numpy as np
import pytest
from same import same

import fastser

pytestmark = pytest.mark.core

FRAMES = {
    "one": fastser.dumps(1),
    "nothing": fastser.dumps(None),
    "text": fastser.dumps("text"),
    "message": fastser.dumps({"id": 5, "name": "é", "tags": ["a", "b"], "at": 1.5, "parent": None, "big": 2**70}),
    "records": fastser.dumps([{"a": i, "b": str(i), "c": i / 3} for i in range(30)]),
    "shared": fastser.dumps([x := [1], x, (x,)]),
    "arrays": fastser.dumps([np.arange(3), np.arange(100.0), np.array([1, "x"], object), np.zeros(3, [("a", "i1")])]),
    "bodies": fastser.dumps(["x" * 5000, b"y" * 5000, bytearray(5000)]),
    "pickled": fastser.dumps([{1: fractions.Fraction(1, 3)} for fractions in [__import__("fractions")]]),
}


class Broken:
    def __reduce__(self):
        raise ZeroDivisionError("broken on purpose")


class Refusing:
    def __reduce_ex__(self, protocol):
        raise fastser.EncodeError("an error of its own")


def assert_works():
    value = {"a": [1, 2.5, "x", None], "b": ({1}, b"y"), "c": "é" * 5000}
    for track_refs in (True, False):
        same(value, fastser.loads(fastser.dumps(value, track_refs=track_refs)), identity=None)


# --- packing ------------------------------------------------------------------------------------------------------------

PLACES = {
    "$": lambda x: x,
    "$[0]": lambda x: [x],
    "$[3]": lambda x: [1, 2, 3, x],
    "$[40]": lambda x: [*range(40), x, 5],
    "$[20].a": lambda x: [{"a": i} for i in range(20)] + [{"a": x}],
    "$[20][1]": lambda x: [(i, "x") for i in range(20)] + [(1, x)],
    "$.jobs[3].callback": lambda x: {"jobs": [{"callback": None}, {"callback": 1}, {}, {"callback": x}]},
    "$.a.b.c[1][0]": lambda x: {"a": {"b": {"c": [1, (x,)]}}},
    "$['a key'][5]": lambda x: {"a key": {5: x}},
    "$[(1, 2)]": lambda x: {(1, 2): x},
    "$[1, 0]": lambda x: np.array([[1, 2], [x, 3]], object),
    "$[2].stop": lambda x: [1, 2, slice(x)],
    "$.é": lambda x: {"é": x},
}


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize("track_refs", [True, False])
def test_the_path_of_what_cannot_be_packed(path, track_refs):
    for function in (fastser.dumps, fastser.pack):
        with pytest.raises(fastser.EncodeError) as caught:
            function(PLACES[path](Broken()), track_refs=track_refs)
        assert str(caught.value) == f"cannot pack the test_errors.Broken at {path}: ZeroDivisionError: broken on purpose"
        assert isinstance(caught.value, TypeError) and isinstance(caught.value, fastser.FastserError)
        assert type(caught.value.__cause__) is ZeroDivisionError
        assert str(caught.value.__cause__) == "broken on purpose"
    assert_works()


def test_keys_and_members_that_cannot_be_packed():
    for value, place in (({Broken(): 1}, "key"), ({1, Broken()}, "Broken"), ({(1, Broken()): 1}, "key"), (frozenset([Broken()]), "Broken")):
        with pytest.raises(fastser.EncodeError, match=r"cannot pack the test_errors\.Broken at \$.*" + place):
            fastser.dumps(value)
    assert_works()


def test_what_pickle_refuses():
    for refused, name in (((i for i in range(3)), "generator"), (threading.Lock(), "lock")):
        with pytest.raises(fastser.EncodeError, match=rf"cannot pack the \S*{name} at \$\.a\[1\]: \w*Error: "):
            fastser.dumps({"a": [1, refused]})
    with pytest.raises(fastser.EncodeError, match=r"cannot pack the function at \$\[0\]: "):
        fastser.dumps([lambda: 1], fallback="pickle")
    assert fastser.loads(fastser.dumps([lambda: 1]))[0]() == 1
    assert_works()


def test_no_fallback():
    for value, name in ((lambda: 1, "function"), (type("Local", (), {}), "type"), (threading.Lock(), "_thread.lock"), ((i for i in ()), "generator")):
        with pytest.raises(fastser.EncodeError, match=rf"^cannot pack the {name} at \$\.a\[1\]\.b: "):
            fastser.dumps({"a": [1, {"b": value}]}, fallback=None)
    for value in (print, int, memoryview(b"abc"), collections.Counter("aab")):
        assert fastser.loads(fastser.dumps([value], fallback=None)) == [value]
    plain = [1, 2.5, "x", np.arange(3), {1: 2}, np.array([None], object), np.zeros(2, [("a", "f4")])]
    same(plain, fastser.loads(fastser.dumps(plain, fallback=None)))


def test_an_error_of_the_hook_s_own():
    with pytest.raises(fastser.EncodeError) as caught:
        fastser.dumps([1, Refusing()])
    assert "$[1]" in str(caught.value) and "an error of its own" in str(caught.value)
    assert_works()


def test_errors_that_are_not_to_be_caught():
    class Interrupted:
        def __reduce__(self):
            raise KeyboardInterrupt

    class Leaving:
        def __reduce__(self):
            raise SystemExit(3)

    for cls, error in ((Interrupted, KeyboardInterrupt), (Leaving, SystemExit)):
        with pytest.raises(error):
            fastser.dumps([1, cls()])
    assert_works()


def test_bad_options():
    for options, text in (({"fallback": "marshal"}, "fallback must be 'cloudpickle', 'pickle' or None, not 'marshal'"), ({"fallback": 5}, "not 5")):
        with pytest.raises(TypeError, match=text):
            fastser.dumps(1, **options)
    for call in (lambda: fastser.dumps(), lambda: fastser.dumps(1, 2), lambda: fastser.dumps(1, unknown=2), lambda: fastser.loads(), lambda: fastser.loads(b"", True)):
        with pytest.raises(TypeError):
            call()


# --- reading ------------------------------------------------------------------------------------------------------------


def assert_decode_error(data, match=None):
    with pytest.raises(fastser.DecodeError, match=match) as caught:
        fastser.loads(data)
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, fastser.FastserError)
    return str(caught.value)


@pytest.mark.parametrize("name", FRAMES)
def test_every_truncation(name):
    frame = FRAMES[name]
    lengths = range(len(frame)) if len(frame) < 1500 else [*range(400), *range(400, len(frame), 97), len(frame) - 1]
    for length in lengths:
        message = assert_decode_error(frame[:length], "truncated|empty|expected")
        assert str(length) in message
        assert_decode_error(bytearray(frame[:length]))
    fastser.loads(frame)


def test_nothing_at_all():
    for empty in (b"", bytearray(), memoryview(b""), np.empty(0, "u1")):
        assert "0" in assert_decode_error(empty)


def other_formats():
    value = {"a": [1, 2.5, "x"] * 100}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a", "content" * 100)
    array = io.BytesIO()
    np.save(array, np.arange(100))
    yield "zip", archive.getvalue()
    yield "npy", array.getvalue()
    yield "zlib", zlib.compress(b"x" * 1000)
    yield "text", b'{"json": ["text", 1, 2, 3]}' * 10
    yield "zeros", bytes(1000)
    yield "ones", b"\xff" * 1000
    yield "one byte", b"\0"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield f"pickle {protocol}", pickle.dumps(value, protocol)


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in other_formats()])
def test_other_formats(data):
    message = assert_decode_error(data, "not a fastser frame")
    assert repr(b"\xf5FSR") in message and repr(data[:4]) in message and "offset 0" in message


def test_arrow_files():
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": [1, 2, 3]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    assert_decode_error(sink.getvalue(), "not a fastser frame")


def test_other_versions():
    for version in (0, 2, 3, 255):
        frame = bytearray(FRAMES["message"])
        frame[4] = version
        message = assert_decode_error(frame)
        assert f"format version {version}" in message and "offset 4" in message and "1 to 1" in message


def test_unknown_flags():
    for bit in range(3, 8):
        frame = bytearray(FRAMES["message"])
        frame[5] |= 1 << bit
        assert_decode_error(frame, "offset 5")


def test_lengths_that_lie():
    for name, frame in FRAMES.items():
        for length in (0, 1, 15, 16, len(frame) - 1, len(frame) + 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1):
            lying = bytearray(frame)
            lying[8:16] = length.to_bytes(8, "little")
            assert_decode_error(lying)
            assert_decode_error(lying + bytes(100))


def test_what_is_no_buffer():
    for data in (None, 1, "text", [b""], object()):
        with pytest.raises(TypeError, match=f"expected a bytes-like object, a Packed or a producer of one Arrow row, found {type(data).__name__}"):
            fastser.loads(data)
    for data in (memoryview(FRAMES["message"])[::2], np.arange(100)[::2], np.zeros((3, 4), order="F")[:, ::2]):
        with pytest.raises((TypeError, ValueError, BufferError)):
            fastser.loads(data)


def test_buffers_of_other_items():
    frame = FRAMES["arrays"]
    padded = frame + bytes(-len(frame) % 8)
    assert fastser.loads(np.frombuffer(padded, "f8"))[0].tolist() == [0, 1, 2]
    assert fastser.loads(memoryview(padded).cast("Q"))[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", FRAMES)
def test_flipped_bits_never_crash(name):
    # What comes is an error of ours, or a wrong value. Pickled parts may do anything: they stay whole here.
    frame = bytearray(FRAMES[name])
    positions = range(len(frame) * 8) if len(frame) < 400 else [*range(1600), *range(1600, len(frame) * 8, 211)]
    for position in positions:
        frame[position >> 3] ^= 1 << (position & 7)
        try:
            found = fastser.loads(frame, safe=True)
        except fastser.FastserError:
            pass
        else:
            gc.get_referents(found)
            del found
        frame[position >> 3] ^= 1 << (position & 7)
    assert bytes(frame) == FRAMES[name]


def test_safe():
    with pytest.raises(fastser.UnsafeDataError, match="safe=True"):
        fastser.loads(FRAMES["pickled"], safe=True)
    for name, frame in FRAMES.items():
        if name != "pickled":
            same(fastser.loads(frame), fastser.loads(frame, safe=True))


def test_an_error_while_unpickling():
    frame = fastser.dumps([1, {"a": Exploding()}])
    with pytest.raises(fastser.DecodeError, match="ArithmeticError: on the way back") as caught:
        fastser.loads(frame)
    assert type(caught.value.__cause__) is ArithmeticError
    assert_works()


class Exploding:
    def __reduce__(self):
        return explode, ()


def explode():
    raise ArithmeticError("on the way back")


# --- afterwards ---------------------------------------------------------------------------------------------------------


def test_nothing_is_lost_after_errors():
    shared = [np.arange(100), "text" * 2000, {"a": 1}, bytearray(5000), lambda: 1]
    counts = [sys.getrefcount(item) for item in shared]
    frame = FRAMES["records"]
    for i in range(100):
        value = [{"a": shared, "b": i} for i in range(20)]
        for bad in (Broken(), Refusing()):
            with pytest.raises(fastser.EncodeError):
                fastser.dumps([*shared[:4], value[:1] * 3, bad])
        with pytest.raises(fastser.EncodeError):
            fastser.dumps(value, fallback=None)
        with pytest.raises(fastser.DecodeError):
            fastser.loads(frame[:-1])
    del value, bad
    gc.collect()
    assert [sys.getrefcount(item) for item in shared] == counts
    shared[3].append(1)  # and is held by nothing
    assert_works()


def test_the_collector_is_as_it_was():
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            for call in (lambda: fastser.dumps([1]), lambda: fastser.loads(FRAMES["records"]), lambda: fastser.dumps(Broken()), lambda: fastser.loads(b""), lambda: fastser.loads(FRAMES["records"][:-1] + b"\xff"), lambda: fastser.dumps([[[]]], max_depth=1), lambda: fastser.loads(FRAMES["pickled"])):
                try:
                    call()
                except fastser.FastserError:
                    pass
                assert gc.isenabled() is enabled
        finally:
            gc.enable()

"""Dtypes of ml_dtypes: bfloat16, the small floats and the small integers. They are written by name and imported where one is read."""

import gc
import pickle
import subprocess
import sys
from pathlib import Path

import frames
import numpy as np
import pytest
from frames import ARRAY, DESCRIBED, DTYPE, FALSE, FOREIGN, GENERIC, INLINE, NONE, SCALAR, TEXT, TUPLE, build, small
from same import same, same_dtype

import fastser
from fastser import DecodeError, UnsafeDataError
from fastser._core.values.dtypes import build as dtype_of
from fastser._core.values.dtypes import describe

ml_dtypes = pytest.importorskip("ml_dtypes")

SCALARS = [cls for cls in vars(ml_dtypes).values() if isinstance(cls, type) and issubclass(cls, np.generic)]
SHAPES = [(), (0,), (1,), (100,), (1000,), (3, 0), (30, 40), (2, 3, 4)]
each = pytest.mark.parametrize("cls", SCALARS, ids=lambda cls: cls.__name__)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


class Own(np.ndarray):
    pass


def filled(shape, dtype):
    """An array of the values that the dtype has."""
    count = int(np.prod(shape))
    return (np.arange(count) % 2).astype("f4").astype(dtype).reshape(shape)


def both(obj):
    yield fastser.loads(fastser.dumps(obj))
    yield fastser.loads(fastser.pack(obj))
    yield fastser.loads(fastser.dumps(obj), writable=True)
    yield fastser.loads(fastser.dumps(obj, track_refs=False), safe=True, allow=[Own])


def test_they_are_all_here():
    assert len(SCALARS) >= 10 and {"bfloat16", "float8_e4m3fn", "int4", "uint4"} <= {cls.__name__ for cls in SCALARS}


@each
def test_arrays(cls):
    for shape in SHAPES:
        array = filled(shape, cls)
        for obj in (array, np.asfortranarray(array), array[..., ::2] if shape else array, array.view(Own)):
            expected = pickle.loads(pickle.dumps(obj, 5))
            for found in both(obj):
                assert type(found) is type(obj) and found.dtype is obj.dtype is expected.dtype
                assert found.tobytes() == expected.tobytes() and found.shape == expected.shape and found.flags.fnc == expected.flags.fnc


@each
def test_runs_and_scalars(cls):
    arrays = [filled((5,), cls) for _ in range(100)]
    scalars = [cls(i % 2) for i in range(100)]
    mixed = [part for i in range(20) for part in (cls(1), i, None)]
    for found in both([arrays, scalars, cls(1), mixed, {"a": cls(1), "b": [arrays[0], arrays[0]]}]):
        assert all(type(array) is np.ndarray and array.dtype == cls for array in found[0])
        assert [array.tobytes() for array in found[0]] == [array.tobytes() for array in arrays]
        expected = pickle.loads(pickle.dumps(scalars))
        assert [type(one) for one in found[1]] == [cls] * 100 and [one.tobytes() for one in found[1]] == [one.tobytes() for one in expected]
        assert type(found[2]) is cls and found[2] == cls(1) and [type(one) for one in found[3]] == [type(one) for one in mixed]
        assert type(found[4]["a"]) is cls
    assert len(fastser.dumps(scalars)) < 200 + 100 * np.dtype(cls).itemsize


@each
def test_dtypes(cls):
    dtype = np.dtype(cls)
    structure = np.dtype([("a", dtype), ("b", "f8"), ("c", dtype, (2,)), ("d", [("e", dtype)])])
    aligned = np.dtype([("a", "i1"), ("b", dtype)], align=True)
    for found in both([dtype, structure, aligned, {dtype: structure}, [dtype] * 20, np.dtype((dtype, (3,)))]):
        assert found[0] is dtype and found[3] == {dtype: structure} and found[4] == [dtype] * 20
        for a, b in ((structure, found[1]), (aligned, found[2]), (np.dtype((dtype, (3,))), found[5])):
            same_dtype(a, b)
    array = np.zeros(50, structure)
    array["a"], array["c"] = cls(1), cls(1)
    same([array, array[0]], fastser.loads(fastser.dumps([array, array[0]])))
    assert describe(dtype) == ("E", "ml_dtypes", cls.__name__, dtype.itemsize) and dtype_of(describe(dtype)) is dtype


def test_no_copies():
    array = filled((1000,), BFLOAT16)
    frame = fastser.dumps([array, array.view("u2"), array])
    found = fastser.loads(frame)
    assert found[0] is found[2] and np.shares_memory(found[0], found[1]) and np.shares_memory(found[0], np.frombuffer(frame, "u1"))
    assert np.shares_memory(fastser.loads(fastser.pack({"a": array}))["a"], array)


def test_masked():
    array = np.ma.MaskedArray(filled((6,), BFLOAT16), [1, 0, 0, 1, 0, 0], fill_value=ml_dtypes.bfloat16(3))
    found = fastser.loads(fastser.dumps(array))
    assert found.dtype == BFLOAT16 and found.mask.tolist() == array.mask.tolist() and found.fill_value == 3


def test_other_bytes_go_by_their_reducer():
    """A bfloat16 in the other byte order is no bfloat16 to NumPy."""
    swapped = BFLOAT16.newbyteorder(">")
    assert describe(swapped) is None
    metadata = np.dtype(BFLOAT16, metadata={"a": 1})
    assert describe(metadata) is None


def test_explained():
    explained = fastser.explain([filled((3,), BFLOAT16), ml_dtypes.int4(1), BFLOAT16])
    assert [node.plan for node in explained.children] == ["native"] * 3 and not explained.failures


def test_no_column_of_numpy_s():
    """The characters of some of these dtypes are those of NumPy's own: that of a float of eight bits is that of an integer of 64."""
    for dtype in map(np.dtype, SCALARS):
        with pytest.raises(fastser.EncodeError, match=f"elements of dtype {dtype}"):
            fastser.to_arrow(fastser.dumps([filled((3,), dtype)]))
    assert gc.isenabled()


# --- when it is imported, and when it is not there ------------------------------------------------------------------------


def child(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


def test_imported_where_one_is_read(tmp_path):
    (tmp_path / "frame").write_bytes(fastser.dumps([filled((4,), BFLOAT16), 1]))
    lines = child(
        "import sys, pathlib, numpy, fastser\n"
        "fastser.loads(fastser.dumps([numpy.arange(3), numpy.dtype('f8'), numpy.float32(1), numpy.zeros(2, 'i4,f8').view(numpy.recarray)]))\n"
        "print('ml_dtypes' in sys.modules)\n"
        "print(fastser.loads(pathlib.Path(sys.argv[1]).read_bytes())[0].dtype, 'ml_dtypes' in sys.modules)\n",
        tmp_path / "frame",
    )
    assert lines[:2] == ["False", "bfloat16 True"]


def test_not_installed(tmp_path):
    (tmp_path / "frame").write_bytes(fastser.dumps([filled((4,), BFLOAT16), 1]))
    lines = child(
        "import sys, pathlib, fastser\n"
        "sys.modules['ml_dtypes'] = None  # an import of it fails\n"
        "for safe in (False, True):\n"
        "    try:\n"
        "        fastser.loads(pathlib.Path(sys.argv[1]).read_bytes(), safe=safe)\n"
        "    except fastser.DecodeError as error:\n"
        "        print(error, '|', type(error.__cause__).__name__)\n",
        tmp_path / "frame",
    )
    assert lines[:2] == [
        "cannot import ml_dtypes, which has the dtype bfloat16: ModuleNotFoundError: import of ml_dtypes halted; None in sys.modules"
        " | ModuleNotFoundError"
    ] * 2


def described(package="ml_dtypes", name="bfloat16", size=2, flags=FOREIGN, tags=(ARRAY,), end=(0, 0, INLINE), data=(b"\x80\x3f",)):
    description = (TUPLE, 4, GENERIC, TEXT, TEXT, TEXT, small(size))
    return build(*tags, DESCRIBED, *description, *end, flags=flags, text=["E", package, name], data=list(data))


def test_the_frames_below_are_read():
    assert fastser.loads(described()) == 1 and fastser.loads(described()).dtype == BFLOAT16
    assert fastser.loads(described(tags=(SCALAR,), end=()), safe=True) == ml_dtypes.bfloat16(1)
    assert fastser.loads(described(tags=(DTYPE,), end=(), data=())) is BFLOAT16


@pytest.mark.parametrize("frame, message", [
    (described(flags=0), "the header to announce what is imported"),
    (described(package="os"), "a dtype of ml_dtypes, found"),
    (described(package="ml_dtypes._ml_dtypes_ext"), "a dtype of ml_dtypes, found"),
    (described(name="bfloat17"), "expected a ml_dtypes with the dtype bfloat17, found ml_dtypes .*, which has none"),
    (described(name="finfo"), "which has none"),
    (described(name="__name__"), "which has none"),
    (described(name="np.float64"), "which has none"),
    (described(size=4), "an itemsize of 2 for ml_dtypes.bfloat16, found 4"),
    (described(data=(b"\x80",)), "2 bytes of data"),
    (described(tags=(SCALAR,), end=(), data=(b"\x80\x3f\0",)), "1 items of 2 bytes"),
    (build(ARRAY, DESCRIBED, TUPLE, 2, GENERIC, TEXT, TEXT, 0, 0, INLINE, text=["E", "ml_dtypes"], data=[b""], flags=FOREIGN), "fields of the types"),
    (build(ARRAY, DESCRIBED, TUPLE, 4, GENERIC, TEXT, TEXT, NONE, FALSE, 0, 0, INLINE, text=["E", "ml_dtypes"], data=[b""], flags=FOREIGN), "fields of the types"),
    (build(DTYPE, 16), "the code of a dtype, found 16"),
    (build(DTYPE), "an operand, found the end of the tags"),
])  # fmt: skip
def test_malformed(frame, message):
    for safe in (False, True):
        with pytest.raises(DecodeError, match=message):
            fastser.loads(frame, safe=safe)


def test_safe_refuses_the_rest():
    with pytest.raises(UnsafeDataError):
        fastser.loads(fastser.dumps([filled((4,), BFLOAT16), pickle.loads]), safe=True)


# --- golden frames --------------------------------------------------------------------------------------------------------


def golden():
    """What the frame under golden/packages holds, which every later version reads; written by golden/write.py."""
    names = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4"]
    dtypes = [np.dtype(getattr(ml_dtypes, name)) for name in names]
    structure = np.dtype([("a", BFLOAT16), ("b", "<f8")])
    return {
        "arrays": [filled((6,), dtype) for dtype in dtypes] + [np.asfortranarray(filled((20, 30), BFLOAT16)), np.ones(2, structure)],
        "runs": [filled((3,), BFLOAT16) for _ in range(10)],
        "scalars": [dtype.type(1) for dtype in dtypes] + [ml_dtypes.bfloat16(i) for i in range(20)],
        "dtypes": [*dtypes, structure],
    }


def test_golden_frame():
    frame = (Path(__file__).parent / "golden" / "packages" / "ml_dtypes.frame").read_bytes()
    for found in (fastser.loads(frame), frames.read(frame), fastser.loads(frame, safe=True), frames.read(fastser.dumps(golden()))):
        assert same(golden(), found)

"""Text in arrays of a frame that anybody may have made: numbers beyond Unicode are no characters."""

import array
import sys

import numpy as np
import pytest

import fastser
from fastser import DecodeError

LAST = 0x10FFFF
SAFE = {"safe": True, "allow": fastser.STANDARD}

NESTED = np.dtype([("n", "i1"), ("in", [("t", "U3"), ("b", "S2")], (2, 2))])
GAPS = np.dtype({"names": ["t", "x"], "formats": ["<U2", "f8"], "offsets": [3, 16], "itemsize": 40})
UNION = np.dtype({"names": ["t", "bytes"], "formats": ["U2", "V8"], "offsets": [0, 0], "itemsize": 8})
RECORD = np.dtype((np.record, [("t", "U2")]))
DTYPES = [np.dtype("<U2"), np.dtype(">U2"), np.dtype([("t", ">U2")]), NESTED, GAPS, UNION, RECORD]
SHAPES = [(1,), (3,), (2, 3), (), (500,)]


def texts(found):
    """The views of an array's memory that hold numbers of characters."""
    if found.dtype.kind == "U":
        order = found.dtype.byteorder
        form = np.dtype({"names": ["n"], "formats": [(order + "u4", (found.dtype.itemsize // 4,))], "itemsize": found.dtype.itemsize})
        yield found.view(form)["n"]
    for name in found.dtype.names or ():
        yield from texts(found[name])


def filled(dtype, shape, number):
    made = np.zeros(shape, dtype)
    for numbers in texts(made):
        numbers[...] = ord("a")
        numbers[(-1,) * numbers.ndim] = number
    return made


def frames(made):
    """The array alone, several in one run, over another's memory, and its elements as scalars."""
    yield fastser.dumps(made)
    yield fastser.dumps({"in": [made, 1]})
    yield fastser.dumps([made.copy() for _ in range(40)])
    yield fastser.dumps([made, made[...]])
    yield fastser.dumps(np.asfortranarray(made))
    if made.dtype.names:
        yield fastser.dumps([made[(-1,) * made.ndim], 1])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_beyond_unicode(dtype, shape):
    for number in (LAST + 1, 0xFF000061, 0x80000000):
        for frame in frames(filled(dtype, shape, number)):
            with pytest.raises(DecodeError, match=f"malformed text in an array: expected characters up to U.10FFFF, found {number:#x}"):
                fastser.loads(frame, safe=True)


@pytest.mark.parametrize("shape", [*SHAPES, (0,), (0, 4)], ids=str)
@pytest.mark.parametrize("dtype", [*DTYPES, np.dtype("i4"), np.dtype("V8"), np.dtype([("a", "f8")]), np.dtype([])], ids=str)
def test_characters(dtype, shape):
    for number in (LAST, 0xD800, 0x41):
        made = filled(dtype, shape, number) if 0 not in shape else np.zeros(shape, dtype)
        for frame in frames(made) if made.size else [fastser.dumps(made)]:
            assert fastser.dumps(fastser.loads(frame, safe=True)) == fastser.dumps(fastser.loads(frame))
        found = fastser.loads(fastser.dumps(made), safe=True)
        assert found.dtype == dtype and found.shape == made.shape and found.tobytes() == made.tobytes()


def test_many_dimensions_of_arrays_in_arrays():
    dtype = np.dtype("U1")
    for _ in range(15):
        dtype = np.dtype([("f", dtype, (1, 1))])
    made = np.zeros((1,) * 30, dtype)
    assert fastser.loads(fastser.dumps(made), safe=True).dtype == dtype
    frame = bytearray(fastser.dumps(np.full(3, 0x11111111, "u4").view(dtype)))
    with pytest.raises(DecodeError, match="characters up to U.10FFFF, found 0x11111111"):
        fastser.loads(frame, safe=True)


def test_text_over_text():
    """Each field would have to be looked through, however many lie over the same bytes."""
    names = [f"f{i}" for i in range(50)]
    dtype = np.dtype({"names": names, "formats": ["U10"] * 50, "offsets": [0] * 50, "itemsize": 40})
    frame = fastser.dumps(np.zeros(5, dtype))
    assert fastser.loads(frame).dtype == dtype
    with pytest.raises(DecodeError, match="malformed dtype: expected fields of text that do not lie over one another, found"):
        fastser.loads(frame, safe=True)


@pytest.mark.parametrize("code", ["u", *(["w"] if sys.version_info >= (3, 13) else [])])
@pytest.mark.filterwarnings("ignore:The 'u' type code")
def test_arrays_of_the_standard_library(code):
    made = array.array(code, "a\U0010ffff")
    frame = fastser.dumps(made)
    found = fastser.loads(frame, **SAFE)
    assert found == made and found.typecode == code and type(found) is array.array
    assert fastser.loads(fastser.dumps(array.array(code)), **SAFE) == array.array(code)
    if made.itemsize == 4:
        broken = frame.replace(made.tobytes(), b"\1\1\1\1\2\2\2\2")
        assert broken != frame
        with pytest.raises(DecodeError, match="expected characters up to U.10FFFF, found '0x2020202'"):
            fastser.loads(broken, **SAFE)

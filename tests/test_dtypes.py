"""dtypes as tagged fields: every dtype NumPy has comes back equal, and no description crashes."""

import gc
import pickle
import sys

import numpy as np
import pytest

import fastser
from fastser._core.values.dtypes import build, describe

pytestmark = pytest.mark.core

NUMBERS = [*"?bhilnpBHILNPefdgFDG"]
UNITS = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"]
POINT = np.dtype([("x", "f4"), ("y", "f4")])
ALIGNED = np.dtype([("a", "i1"), ("b", "f8"), ("c", "i2")], align=True)

SIMPLE = [
    *(np.dtype(code) for code in NUMBERS),
    *(np.dtype(code).newbyteorder() for code in NUMBERS),
    *(np.dtype(f"{order}{kind}8[{multiple}{unit}]") for order in "<>" for kind in "Mm" for unit in UNITS for multiple in (1, 25)),
    *(np.dtype(f"{order}{kind}8") for order in "<>" for kind in "Mm"),
    *(np.dtype(f"{kind}{size}") for kind in "SVU" for size in (0, 1, 7, 1000)),
    np.dtype(">U3"),
    np.dtype("S2147483647"),
    np.dtype("V2147483647"),
    np.dtype("O"),
]
STRINGS = [
    np.dtypes.StringDType(),
    np.dtypes.StringDType(coerce=False),
    np.dtypes.StringDType(na_object=None),
    np.dtypes.StringDType(na_object=np.nan, coerce=False),
    np.dtypes.StringDType(na_object="missing"),
]
STRUCTURED = [
    np.dtype([]),
    np.dtype({"names": [], "formats": [], "itemsize": 5}),
    POINT,
    ALIGNED,
    ALIGNED[["a", "c"]],  # keeps the flag, the gap and the itemsize
    ALIGNED.newbyteorder(),
    np.dtype([("inner", ALIGNED), ("n", "i1")], align=True),
    np.dtype([("inner", ALIGNED), ("n", "i1")]),
    np.dtype([(("the title", "name"), "i4"), ("", ">f8"), ("s", "S3"), ("u", ">U3"), ("t", "M8[25s]"), ("v", "V4")]),
    np.dtype([(("", "name"), "i4")]),
    np.dtype([("naïve \ud800 \0", "i4")]),
    np.dtype({"names": ["b", "a"], "formats": ["i4", "i2"], "offsets": [8, 1], "itemsize": 40}),
    np.dtype({"names": ["all", "low", "high"], "formats": ["u4", "u2", "u2"], "offsets": [0, 0, 2]}),
    np.dtype([("m", "f8", (2, 3)), ("p", POINT, (4,)), ("one", "i1", (1,)), ("none", "i1", (0,))]),
    np.dtype([("long", "g"), ("complex", ">G")]),
    np.dtype((np.record, POINT)),
    np.dtype([("inner", np.dtype((np.record, ALIGNED)))]),
    np.dtype([(f"f{i}", "i1") for i in range(300)]),
]
SUBARRAYS = [np.dtype(("i4", (2, 3))), np.dtype((POINT, (1,))), np.dtype(("U5", (2,) * 20))]


def is_plain(description):
    if type(description) is tuple:
        return all(map(is_plain, description))
    return type(description) in (int, str, bool, bytes, type(None))


def assert_same(found, expected):
    """Equality of dtypes does not look at titles within, at the class of the scalars, or at the flag of alignment."""
    assert type(found) is type(expected)
    assert found == expected
    assert (found.str, found.itemsize, found.kind, found.isnative) == (expected.str, expected.itemsize, expected.kind, expected.isnative)
    assert (found.type, found.isalignedstruct, found.hasobject) == (expected.type, expected.isalignedstruct, expected.hasobject)
    assert (found.names, found.shape, found.ndim) == (expected.names, expected.shape, expected.ndim)
    if expected.subdtype:
        assert_same(found.base, expected.base)
    if expected.names is not None:
        assert found.fields.keys() == expected.fields.keys()
        for key, (inner, *place) in expected.fields.items():
            assert [*found.fields[key][1:]] == place  # the offset, and the title
            assert_same(found.fields[key][0], inner)


@pytest.mark.parametrize("dtype", SIMPLE + STRUCTURED + SUBARRAYS, ids=lambda dtype: str(dtype)[:40].encode("ascii", "replace").decode())
def test_comes_back(dtype):
    description = describe(dtype)
    assert type(description) is tuple
    assert is_plain(description)
    assert_same(build(description), dtype)


@pytest.mark.parametrize("dtype", STRINGS, ids=str)
def test_string_dtype_comes_back(dtype):
    found = build(describe(dtype))
    assert type(found) is type(dtype)
    assert found.coerce is dtype.coerce
    assert hasattr(found, "na_object") is hasattr(dtype, "na_object")
    assert getattr(found, "na_object", ()) is getattr(dtype, "na_object", ())
    assert found == dtype


@pytest.mark.parametrize("dtype", SIMPLE, ids=str)
def test_what_was_unpickled_is_described_as_what_was_not(dtype):
    """NumPy up to 2.2 unpickles times with metadata that has no entries."""
    again = pickle.loads(pickle.dumps(dtype))
    assert describe(again) == describe(dtype) is not None
    values = np.zeros(3 if dtype.itemsize < 10_000 else 0, dtype)
    for array in (pickle.loads(pickle.dumps(values)), values.astype(again)):
        found = fastser.loads(fastser.dumps(array), safe=True)  # which no pickle within the frame is
        assert_same(found.dtype, array.dtype)
        assert found.tobytes() == array.tobytes()


def test_string_dtype_hands_its_missing_value_on_as_it_is():
    class Missing:
        pass

    missing = Missing()
    description = describe(np.dtypes.StringDType(na_object=missing))
    assert description == ("T", True, missing)
    assert description[2] is missing
    assert build(description).na_object is missing


@pytest.mark.parametrize("code", "qQ")
def test_one_of_two_c_types_of_one_size_comes_back(code):
    dtype = np.dtype(code)
    assert build(describe(dtype)) == dtype
    assert_same(build(describe(dtype)), pickle.loads(pickle.dumps(dtype)))


def test_native_dtypes_are_numpys_own():
    assert build(describe(np.dtype("f8"))) is np.dtype("f8")
    assert build(describe(np.dtype("i4"))) is np.dtype("i4")


@pytest.mark.parametrize(
    "dtype",
    [
        np.dtype("i4", metadata={"unit": "m"}),
        np.dtype([("a", np.dtype("i4", metadata={"unit": "m"}))]),
        np.dtype([("a", "O")]),
        np.dtype([("a", "O", (2,))]),
        np.dtype(("O", (2,))),
        np.dtype(("i4", [("low", "i2"), ("high", "i2")])),
        np.dtype([(((1, 2), "name"), "i4")]),
        np.dtype((type("Row", (np.record,), {}), POINT)),
        np.dtype((type("Blob", (np.void,), {}), "V4")),
    ],
    ids=str,
)
def test_what_a_description_would_lose_has_none(dtype):
    assert describe(dtype) is None


def test_nesting_beyond_the_limit_has_no_description():
    dtype = np.dtype("i4")
    for _ in range(32):
        dtype = np.dtype([("a", dtype)])
    assert_same(build(describe(dtype)), dtype)
    assert describe(np.dtype([("a", dtype)])) is None


def test_an_alignment_that_numpy_would_not_make_again_has_none():
    # The selection [a, c] counts as aligned to 1, so NumPy lets it lie at an odd offset; made afresh it would not.
    outer = np.dtype({"names": ["x", "s"], "formats": ["i1", ALIGNED[["a", "c"]]], "offsets": [0, 1], "itemsize": 25}, align=True)
    assert describe(outer) is None


def test_describe_takes_dtypes_only():
    with pytest.raises(TypeError):
        describe("f8")


def test_long_double_of_another_platform():
    size = np.dtype("g").itemsize
    with pytest.raises(fastser.DecodeError, match="no dtype for long doubles of 77 mantissa bits in"):
        build(("g", size, False, 77))
    with pytest.raises(fastser.DecodeError, match="complex numbers of two long doubles of 64 mantissa bits in 24 bytes"):
        build(("G", 24, False, 64))


def struct(itemsize=8, aligned=False, record=False, names=("a",), titles=(None,), offsets=(0,), fields=(("i", 4, False),)):
    return ("R", itemsize, aligned, record, names, titles, offsets, fields)


def nested(levels):
    description = ("i", 4, False)
    for _ in range(levels):
        description = struct(fields=(description,))
    return description


class Uncomparable:
    def __eq__(self, other):
        raise ZeroDivisionError

    __ne__ = __eq__
    __hash__ = None


@pytest.mark.parametrize(
    "description",
    [
        None,
        "f8",
        (),
        [],
        ("f", 8),
        ("f", 8, 0),
        ("f", 8, False, 0),
        ("f", 3, False),
        ("f", 16, False),
        ("f", -8, False),
        ("f", True, False),
        ("f", "8", False),
        ("x", 8, False),
        ("f8", 8, False),
        ("", 8, False),
        (b"f", 8, False),
        (["f"], 8, False),
        ("O", 8),
        ("O", 8, False),
        ("S",),
        ("S", -1),
        ("S", 2**31),
        ("S", 10**30),
        ("V", True),
        ("U", 2**29, False),
        ("U", -1, False),
        ("U", 5),
        ("M", "s", 0, False),
        ("M", "s", -1, False),
        ("M", "s", 2**31, False),
        ("M", "s", 10**30, False),
        ("M", "s]", 1, False),
        ("M", "B", 1, False),
        ("M", "generic", 2, False),
        ("M", None, 1, False),
        ("m", "s", 1),
        ("g", 16, False),
        ("T",),
        ("T", 1),
        ("T", True, None, None),
        ("T", True, Uncomparable()),
        ("A", (2,), None),
        ("A", (), ("i", 4, False)),
        ("A", (-1,), ("i", 4, False)),
        ("A", (2.0,), ("i", 4, False)),
        ("A", (True,), ("i", 4, False)),
        ("A", [2], ("i", 4, False)),
        ("A", (2**31,), ("i", 1, False)),
        ("A", (2**16, 2**16), ("i", 1, False)),
        ("A", (0, 10**30), ("i", 1, False)),
        ("A", (1,) * 65, ("i", 1, False)),
        ("A", (2,), ("A", (2,), ("i", 4, False))),
        ("A", (2,), ("O",)),
        ("A", (2,), ("T", True)),
        struct(fields=(("O",),)),
        struct(fields=(("T", True),)),
        struct(itemsize=-1),
        struct(itemsize=2**31),
        struct(itemsize=3),
        struct(itemsize=True),
        struct(offsets=(-1,)),
        struct(offsets=(5,)),
        struct(offsets=(10**30,)),
        struct(offsets=("0",)),
        struct(offsets=()),
        struct(names=(1,)),
        struct(names=["a"]),
        struct(names=("a", "a"), titles=(None, None), offsets=(0, 4), fields=(("i", 4, False),) * 2),
        struct(names=("a", "b"), titles=("b", None), offsets=(0, 4), fields=(("i", 4, False),) * 2),
        struct(titles=(1,)),
        struct(titles=("a",)),
        struct(fields=(None,)),
        struct(fields=((),)),
        struct(aligned=True, itemsize=7),
        struct(aligned=True, offsets=(1,)),
        struct(aligned=1),
        struct() + (None,),
        nested(33),
    ],
    ids=lambda description: repr(description)[:60],
)
def test_malformed_descriptions_are_decode_errors(description):
    with pytest.raises(fastser.DecodeError, match="^malformed dtype: expected .*, found "):
        build(description)


def test_a_refused_missing_value_names_its_cause():
    with pytest.raises(fastser.DecodeError) as caught:
        build(("T", True, Uncomparable()))
    assert type(caught.value.__cause__) is ZeroDivisionError


def test_nothing_leaks():
    def references():
        for dtype in STRUCTURED + STRINGS + SIMPLE:
            build(describe(dtype))
        for description in [("M", "s", 0, False), struct(offsets=(5,)), struct(aligned=True, offsets=(1,)), nested(33)]:
            with pytest.raises(fastser.DecodeError):
                build(description)
        return [sys.getrefcount(thing) for thing in (np.dtype("i4"), np.dtype("f8"), np.void, np.record)]

    references()
    gc.collect()
    before = references()
    for _ in range(20):
        references()
    gc.collect()
    assert all(abs(b - a) < 20 for a, b in zip(references(), before, strict=True))


def test_whatever_numpy_makes():
    hypothesis = pytest.importorskip("hypothesis")
    arrays = pytest.importorskip("hypothesis.extra.numpy")
    scalars = arrays.scalar_dtypes()
    structs = arrays.array_dtypes(scalars, allow_subarrays=True)
    anything = scalars | structs | arrays.array_dtypes(scalars | structs, allow_subarrays=True) | arrays.nested_dtypes(scalars)

    @hypothesis.settings(max_examples=300, deadline=None)
    @hypothesis.given(anything, hypothesis.strategies.booleans())
    def check(dtype, align):
        if align and dtype.names is not None:
            dtype = np.dtype([(name, dtype[name]) for name in dtype.names], align=True)
        assert_same(build(describe(dtype)), dtype)
        assert_same(build(describe(dtype)), pickle.loads(pickle.dumps(dtype)))

    check()


def test_no_description_crashes():
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies
    # True halves: what differs from a sound description in one place.
    leaf = (
        st.none() | st.booleans() | st.integers(-2, 20) | st.integers() | st.sampled_from([*"biufcgGMmSVUTOAR", *UNITS, "generic"])
    )
    anything = st.recursive(leaf, lambda inner: st.lists(inner, max_size=8).map(tuple), max_leaves=25)
    sound = st.sampled_from([describe(dtype) for dtype in SIMPLE + STRUCTURED[:-1] + SUBARRAYS])

    def replace(description, path, replacement):
        if not path or type(description) is not tuple or not description:
            return replacement
        at = path[0] % len(description)
        return (*description[:at], replace(description[at], path[1:], replacement), *description[at + 1 :])

    @hypothesis.settings(max_examples=1000, deadline=None)
    @hypothesis.given(anything | st.builds(replace, sound, st.lists(st.integers(0, 7), min_size=1, max_size=4), leaf | sound))
    def check(description):
        try:
            dtype = build(description)
        except fastser.DecodeError:
            return
        assert 0 <= dtype.itemsize < 2**31
        assert build(describe(dtype)) == dtype

    check()

"""Subclasses of NumPy's arrays: as pickle brings them back, over the memory that the frame or the packed arrays have."""

import itertools
import pickle
import sys

import numpy as np
import pytest
from frames import ARRAY, ARRAYS_OF, FOREIGN, GLOBAL, INLINE, LIST, NONE, REF, REFS, TEXT, build, parse, small
from same import same

import fastser
from fastser import DecodeError, UnsafeDataError

pytestmark = [
    pytest.mark.core,
    pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The chararray class is deprecated:DeprecationWarning"),
]

HERE = __name__


class Plain(np.ndarray):
    """An attribute of an object of this class is not in its pickle."""


class Informed(np.ndarray):
    """As NumPy's documentation writes a subclass with an attribute."""

    def __new__(cls, values, info=None):
        array = np.asarray(values).view(cls)
        array.info = info
        return array

    def __array_finalize__(self, obj):
        self.info = getattr(obj, "info", "none")
        self.shape_then = self.shape


class Slotted(np.ndarray):
    __slots__ = ("unit",)


class Reduced(Informed):
    """With a reducer, which keeps the attribute."""

    def __reduce__(self):
        make, arguments, state = super().__reduce__()
        return make, arguments, (*state, self.info)

    def __setstate__(self, state):
        self.info = state[-1]
        super().__setstate__(state[:-1])


class SetsState(np.ndarray):
    """Without a reducer, but with something to do when it is unpickled."""

    def __setstate__(self, state):
        super().__setstate__(state)
        self.set = True


class Layers(np.ma.MaskedArray):
    pass


class Model:
    """What a reducer makes."""

    def __init__(self, array):
        self.array = array

    def __reduce__(self):
        return Model, (self.array,)


CLASSES = [Plain, Informed, Slotted, Reduced, SetsState, np.recarray, np.memmap, np.matrix]
MASKED = [np.ma.MaskedArray, Layers]
DTYPES = ["?", "<i8", ">i8", "g", "S3", ">U2", "M8[s]", "V3", "O", "i4,f8", "i4,O"]
DTYPES += [np.dtype((np.record, [("a", "i4"), ("b", ">f8", (2,))])), np.dtype([("a", "i1"), ("b", "f8")], align=True)]
SHAPES = [(), (1,), (90,), (0, 3), (3, 5), (2, 3, 4)]
LAYOUTS = {
    "C": lambda array: array,
    "Fortran": np.asfortranarray,
    "strided": lambda array: np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array,
    "reversed": lambda array: array[::-1] if array.ndim else array,
    "turned": lambda array: array.T,
}


def filled(shape, dtype):
    count = int(np.prod(shape))
    dtype = np.dtype(dtype)
    if dtype == object:
        array = np.empty(count, object)
        array[:] = [[i] if i % 3 else i for i in range(count)]
    elif dtype.hasobject:
        array = np.array([(i, [i]) for i in range(count)], dtype)
    elif dtype.kind == "U":
        array = np.array([f"{i}" for i in range(count)], dtype)
    elif dtype.kind == "b":
        array = np.arange(count) % 2 == 0
    elif dtype.kind == "V":
        array = np.frombuffer((np.arange(count * dtype.itemsize) % 251).astype("u1").tobytes(), dtype, count).copy()
    else:
        array = np.arange(count).astype(dtype)
    return array.reshape(shape)


def arrays():
    for dtype, shape, layout in itertools.product(DTYPES, SHAPES, LAYOUTS):
        if len(shape) > 1 or layout in ("C", "reversed"):
            yield LAYOUTS[layout](filled(shape, dtype))


def ways(obj):
    """Back from wherever an object may have been."""
    yield fastser.loads(fastser.dumps(obj))
    yield fastser.loads(fastser.pack(obj))
    yield fastser.loads(fastser.dumps(obj), writable=True)
    yield fastser.loads(fastser.dumps(obj), writable=False)
    yield fastser.loads(fastser.dumps(obj, track_refs=False))
    yield fastser.loads(fastser.dumps(Model(obj))).array
    yield next(iter(fastser.loads_many(fastser.pack_many([obj]))))


def check(obj, found, expected=None):
    """That an array is as pickle makes it."""
    expected = pickle.loads(pickle.dumps(obj, 5)) if expected is None else expected
    assert type(found) is type(expected) and found.dtype == expected.dtype and found.dtype.type is expected.dtype.type
    assert found.shape == expected.shape and found.flags.fnc == expected.flags.fnc
    assert found.strides == expected.strides or not found.size
    if found.dtype.hasobject or found.dtype.names:  # between fields there may be anything
        assert repr(np.asarray(found).tolist()) == repr(np.asarray(expected).tolist())
    else:
        assert np.ndarray.tobytes(found) == np.ndarray.tobytes(expected)
    attributes = getattr(expected, "__dict__", {})
    assert [*map(repr, getattr(found, "__dict__", {}).items())] == [*map(repr, attributes.items())]
    if isinstance(obj, np.ma.MaskedArray):
        assert repr(np.ma.getmask(found).tolist()) == repr(np.ma.getmask(expected).tolist())
        assert np.ma.getmask(found).dtype == np.ma.getmask(expected).dtype
        assert np.ma.getmask(found).strides == np.ma.getmask(expected).strides or not found.size
        assert repr(found.fill_value) == repr(expected.fill_value) and found.fill_value.dtype == expected.fill_value.dtype
        assert found.hardmask == expected.hardmask and found._baseclass is expected._baseclass


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_as_pickle(cls):
    for array in arrays():
        if cls is np.matrix and array.ndim > 2:
            continue
        obj = array.view(cls)
        expected = pickle.loads(pickle.dumps(obj, 5))
        for found in ways(obj):
            check(obj, found, expected)


@pytest.mark.parametrize("cls", MASKED, ids=lambda cls: cls.__name__)
def test_masked_as_pickle(cls):
    for array in arrays():
        if array.dtype.hasobject and array.dtype.names:
            continue  # which pickle brings back with a fill value of another dtype
        masks = [np.ma.nomask, np.ma.make_mask_none(array.shape, array.dtype)]
        if array.dtype.names is None:
            masks += [np.arange(array.size).reshape(array.shape) % 3 == 0, np.asfortranarray(np.arange(array.size).reshape(array.shape) % 2 == 0)]
        for mask in masks:
            obj = cls(array, mask)
            expected = pickle.loads(pickle.dumps(obj, 5))
            for found in itertools.islice(ways(obj), 3):
                check(obj, found, expected)


def test_masked_arrays_keep_what_their_pickles_keep():
    array = np.ma.MaskedArray(np.arange(5), [1, 0, 0, 0, 1], fill_value=-7, hard_mask=True)
    for obj in (array, array[1:], np.ma.MaskedArray(np.arange(5.0).view(Informed), [1, 0, 0, 0, 1]), np.ma.MaskedArray(np.arange(3))):
        for found in ways(obj):
            check(obj, found)
    assert type(fastser.loads(fastser.dumps(np.ma.MaskedArray(np.arange(3.0).view(Plain)))).data) is Plain
    assert fastser.loads(fastser.dumps([np.ma.masked, array[0]])) == [np.ma.masked, np.ma.masked]
    array.note = "not in its pickle"
    assert not hasattr(fastser.loads(fastser.dumps(array)), "note")


def test_masked_arrays_of_odd_attributes_go_by_their_reducer():
    array = np.ma.MaskedArray(np.arange(4), [1, 0, 1, 0])
    array._mask = np.array([1, 0, 1, 0], "i1")
    assert fastser.explain(array).plan == "REDUCE"
    check(array, fastser.loads(fastser.dumps(array)))


def test_what_is_not_in_their_pickles():
    array = np.arange(4).view(Plain)
    array.note = []
    assert vars(fastser.loads(fastser.dumps(array))) == {}
    slotted = np.arange(4).view(Slotted)
    slotted.unit = "m"
    assert not hasattr(fastser.loads(fastser.dumps(slotted)), "unit")


def test_finalized_while_it_is_empty():
    found = fastser.loads(fastser.dumps(Informed(np.arange(6).reshape(2, 3), "x")))
    assert (found.info, found.shape_then, found.shape) == ("none", (0,), (2, 3))


def test_memory_maps(tmp_path):
    array = np.memmap(tmp_path / "array", "f8", "w+", shape=(1000,))
    array[:] = range(1000)
    for found in ways(array):
        check(array, found)
        assert found._mmap is None and found.filename is None


def test_character_arrays():
    for obj in (np.array(["a", "bc"]), np.array([[b"a", b"bc"]])):
        check(obj.view(np.char.chararray), fastser.loads(fastser.dumps(obj.view(np.char.chararray))))


def test_runs():
    for cls in (Plain, Reduced, np.recarray):
        objs = [np.arange(i, i + 5.0).view(cls) for i in range(50)]
        for found in ways(objs):
            for a, b in zip(objs, found, strict=True):
                check(a, b)
    masked = [np.ma.MaskedArray(np.arange(3.0) + i, [i % 2, 0, 1] if i % 5 else np.ma.nomask, fill_value=i) for i in range(50)]
    mixed = [part for i, array in enumerate(masked) for part in (array, np.arange(i).view(Plain), np.arange(i).astype(">i2").view(Plain))]
    for objs in (masked, mixed, [np.ma.MaskedArray(np.arange(4.0).view((Plain, Informed)[i % 7 == 3]), i % 2) for i in range(30)]):
        for found in ways(objs):
            for a, b in zip(objs, found, strict=True):
                check(a, b)
    large = [np.arange(i, i + 100.0).view(Plain) for i in range(20)]
    for a, b in zip(large, fastser.loads(fastser.dumps(large)), strict=True):
        check(a, b)


# --- memory -------------------------------------------------------------------------------------------------------------

LARGE = {
    "plain": lambda: np.arange(1000.0).view(Plain),
    "Fortran": lambda: np.asfortranarray(np.arange(1000.0).reshape(20, 50)).view(Informed),
    "records": lambda: np.zeros(100, "i4,f8").view(np.recarray),
    "matrix": lambda: np.matrix(np.arange(1000.0).reshape(20, 50)),
    "masked": lambda: np.ma.MaskedArray(np.arange(1000.0), np.arange(1000) % 3 == 0),
}


def memory(array):
    """The arrays that hold its elements."""
    plain = [np.asarray(array)]
    return plain + [np.ma.getmask(array)] if isinstance(array, np.ma.MaskedArray) else plain


@pytest.mark.parametrize("name", LARGE)
def test_bodies_are_lent_and_viewed(name):
    array = LARGE[name]()
    frame = fastser.dumps({"x": array})
    buffer = bytearray(frame)
    packed = fastser.loads(fastser.pack([array]))[0]
    for part, inside in zip(memory(array), memory(packed), strict=True):
        assert np.shares_memory(part, inside) and not inside.flags.writeable
    for source, writable in ((frame, False), (buffer, True)):
        for part in memory(fastser.loads(source)["x"]):
            assert np.shares_memory(part, np.frombuffer(source, "u1")) and part.flags.writeable is writable
    for found in (fastser.loads(frame, writable=True)["x"], fastser.loads(fastser.dumps(Model(array))).array):
        for part in memory(found):
            assert part.flags.writeable
    kept = fastser.dumps(Model(array))
    for part in memory(fastser.loads(kept, writable=False).array):
        assert not part.flags.writeable and np.shares_memory(part, np.frombuffer(kept, "u1"))


def test_small_ones_can_be_written_to():
    for array in (np.arange(5).view(Plain), np.ma.MaskedArray(np.arange(5), np.arange(5) > 3), np.ma.MaskedArray(np.arange(50))):
        found = fastser.loads(fastser.dumps(array))
        found[0] = 7
        if isinstance(array, np.ma.MaskedArray):
            found[1] = np.ma.masked
        assert found[0] == 7


@pytest.mark.parametrize("name", [*LARGE, "gathered", "mask gathered", "mask turned"])
def test_what_a_model_has_as_well_can_be_written_to(name):
    if name == "gathered":
        array = np.arange(2000.0).view(Plain)[::2]
    elif name == "mask gathered":
        array = np.ma.MaskedArray(np.arange(2000.0), np.arange(2000) % 3 == 0)[::2]
    elif name == "mask turned":
        array = np.ma.MaskedArray(np.arange(2000.0).reshape(40, 50), np.asfortranarray(np.arange(2000).reshape(40, 50) % 3 == 0))
    else:
        array = LARGE[name]()
    shared = [array]
    for obj, first in (([array, Model(array)], 0), ([Model(array), array], 1), ([shared, Model(shared)], 0)):
        found = fastser.loads(fastser.dumps(obj))[first]
        for part in memory(found if type(found) is type(array) else found[0]):
            assert part.flags.writeable


def test_a_class_with_a_reducer_is_a_copy():
    array = Reduced(np.arange(1000.0), "x")
    found = fastser.loads(fastser.dumps([array]))[0]
    found += 1
    assert found.info == "x" and found[3] == 4 and fastser.explain(array).plan == "REDUCE"


def test_identity_and_shared_memory():
    array = np.arange(1000.0)
    own = array.view(Plain)
    found = fastser.loads(fastser.dumps([array, own, own, array.reshape(10, 100).view(Informed), own[:10]]))
    assert found[1] is found[2] and type(found[0]) is np.ndarray
    assert np.shares_memory(found[0], found[1]) and np.shares_memory(found[0], found[3])
    found = fastser.loads(fastser.dumps([own, array]), writable=True)
    found[0][5] = -1
    assert found[1][5] == -1
    found = fastser.loads(fastser.dumps([own, own], track_refs=False))
    assert found[0] is not found[1] and found[0].tolist() == found[1].tolist()


def test_cycles():
    array = np.empty(3, object).view(Plain)
    array[:] = [array, [array], {"array": array}]
    for found in (fastser.loads(fastser.dumps(array)), fastser.loads(fastser.dumps([array], track_refs=False))[0]):
        assert type(found) is Plain and found[0] is found and found[1][0] is found and found[2]["array"] is found
    twin = np.ma.MaskedArray(np.empty(2, object), [True, False])
    twin.data[:] = [twin, 1]
    found = fastser.loads(fastser.dumps(twin))
    assert found.data[0] is found
    informed = Reduced(np.arange(3))
    informed.info = [informed]
    found = fastser.loads(fastser.dumps(informed))
    assert found.info[0] is found and found.tolist() == [0, 1, 2]


def test_a_class_of_a_function():
    class Local(np.ndarray):
        pass

    Local.default = np.arange(4).view(Local)
    found = fastser.loads(fastser.dumps([Local.default, np.arange(300).view(Local)]))
    assert type(type(found[0]).default) is type(found[0]) is type(found[1]) and found[1].tolist() == list(range(300))


def test_the_reader_s_class_counts(monkeypatch):
    frame = fastser.dumps([np.arange(1000).view(Plain), np.ma.MaskedArray(np.arange(3), [0, 1, 0]).view(Layers)])
    states = []

    def set_state(self, state):
        states.append(state)
        super(type(self), self).__setstate__(state)

    monkeypatch.setattr(Plain, "__setstate__", set_state, raising=False)
    monkeypatch.setattr(Layers, "__setstate__", set_state, raising=False)
    plain, layers = fastser.loads(frame)
    assert plain.tolist() == list(range(1000)) and layers.tolist() == [0, None, 2]
    assert states[0] == np.arange(1000).__reduce__()[2] and states[1][5:] == (bytes([0, 1, 0]), None)


def test_explained():
    array = np.arange(1000.0)
    explained = fastser.explain([array.view(Plain), np.ma.MaskedArray(array), array.astype(">f8").view(Plain), Reduced(array)])
    assert [(node.plan, node.reason) for node in explained.children] == [
        ("ARRAY", "a subclass of ndarray without a reducer"),
        ("REDUCE", "it is none that a description brings back as pickle does"),
        ("ARRAY", "a masked array"),
        ("REDUCE", "it has a __reduce_ex__ of its own"),
    ]
    objects = np.array([1, lambda: 0, open], object).view(Plain)
    objects[0] = generator = (i for i in "abc")
    (failure,) = fastser.explain({"a": objects}).failures
    assert failure.path == "$.a[0]"
    with pytest.raises(fastser.EncodeError, match=r"at \$\.a\[0\]"):
        fastser.dumps({"a": objects})
    del generator


# --- frames that others wrote --------------------------------------------------------------------------------------------


def test_safe():
    for obj in (np.arange(1000).view(Plain), np.ma.MaskedArray(np.arange(1000), np.arange(1000) > 3), np.zeros(3, "i4,f8").view(np.recarray)):
        frame = fastser.dumps({"a": [obj]})
        name = f"{type(obj).__module__}.{type(obj).__qualname__}"
        with pytest.raises(UnsafeDataError, match=rf"{name.replace('.', '[.]')} at \$\.a\[0\]"):
            fastser.loads(frame, safe=True)
        for allow in ([type(obj)], [name]):
            found = fastser.loads(frame, safe=True, allow=allow)["a"][0]
            check(obj, found)
            assert np.shares_memory(found, np.frombuffer(frame, "u1")) == (obj.nbytes >= 512)
    frame = fastser.dumps(np.ma.MaskedArray(np.arange(5).view(Plain)))
    with pytest.raises(UnsafeDataError, match=HERE):
        fastser.loads(frame, safe=True, allow=[np.ma.MaskedArray])
    assert type(fastser.loads(frame, safe=True, allow=[np.ma.MaskedArray, Plain]).data) is Plain


@pytest.mark.parametrize("cls", [Reduced, SetsState])
def test_safe_refuses_what_needs_more(cls):
    with pytest.raises(UnsafeDataError):
        fastser.loads(fastser.dumps(np.arange(3).view(cls)), safe=True)
    with pytest.raises(ValueError, match=f"{cls.__name__} is in allow, but is made by calling its __setstate__"):
        fastser.loads(frame_of(cls=cls.__name__), safe=True, allow=[cls])
    with pytest.raises(UnsafeDataError, match="more of .* than its fields"):
        fastser.loads(frame_of(1, NONE, NONE), safe=True, allow=[Plain])


def frame_of(form=0, *rest, module=HERE, cls="Plain", elements=(ARRAY, 2, 0, 1, 2, INLINE), flags=FOREIGN, base=(), text=(), bodies=()):
    """The frame of an array of a class; `rest` is what follows its elements."""
    return build(ARRAYS_OF, form, 0, GLOBAL, *base, *elements, *rest, flags=flags, text=[module, cls, *text], data=[b"\1\2", *bodies])


def test_the_frames_below_are_read():
    found = fastser.loads(frame_of())
    assert type(found) is Plain and found.tolist() == [1, 2] and found.dtype == "i1"
    found = fastser.loads(frame_of(1, NONE, small(5), cls="Layers"))
    assert type(found) is Layers and found.tolist() == [1, 2] and found.fill_value == 5 and found.mask.tolist() == [False, False]
    frame = frame_of(2, ARRAY, 1, 0, 1, 2, INLINE, NONE, cls="Layers", base=(0, GLOBAL), text=[HERE, "Plain"], bodies=[b"\0\1"])
    found = fastser.loads(frame)
    assert type(found) is Layers and type(found.data) is Plain and found.tolist() == [1, None]


BROKEN = {
    "no flag": (frame_of(flags=0), "the header to announce classes"),
    "a form unknown": (frame_of(3), "a form of arrays of at most 2, found 3"),
    "no array": (frame_of(elements=(NONE,)), "an array of elements, found NoneType"),
    "no class": (frame_of(cls="HERE"), "something to call"),
    "no class of arrays": (frame_of(module="builtins", cls="dict"), "a subclass of ndarray"),
    "a function": (frame_of(cls="filled"), "a subclass of ndarray"),
    "a reference to itself": (frame_of(elements=(REF, 0), flags=FOREIGN | REFS), "an array of elements"),
    "a size": (frame_of(elements=(ARRAY, 2, 0, 1, 3, INLINE)), "3 bytes of data"),
    "no mask": (frame_of(1, TEXT, NONE, cls="Layers", text=["x"]), "a mask of dtype bool"),
    "a mask of another shape": (frame_of(1, ARRAY, 1, 0, 1, 1, INLINE, NONE, cls="Layers", bodies=[b"\1"]), "a mask of dtype bool"),
    "a mask of another dtype": (frame_of(1, ARRAY, 2, 0, 1, 2, INLINE, NONE, cls="Layers", bodies=[b"\1\1"]), "a mask of dtype bool"),
    "a base that is none": (frame_of(2, NONE, NONE, cls="Layers", base=(0, GLOBAL), text=["builtins", "dict"]), "a subclass of ndarray"),
    "a masked array that is none": (frame_of(1, NONE, NONE), "cannot rebuild a"),
    "fill values that do not fit": (frame_of(1, NONE, TEXT, cls="Layers", text=["x"]), "cannot rebuild a"),
    "too few": (build(LIST, 2, ARRAYS_OF, 0, 0, GLOBAL, NONE, flags=FOREIGN, text=[HERE, "Plain"]), "an array of elements"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_frames(name):
    frame, message = BROKEN[name]
    with pytest.raises(DecodeError, match=message):
        fastser.loads(frame)


def test_no_memory_for_masks_out_of_nothing():
    elements = np.zeros(2**40, "V0")
    frame = fastser.dumps(elements)
    columns = parse(frame)
    text = ["numpy.ma", "MaskedArray", *columns.pop("text")]
    forged = build(ARRAYS_OF, 1, 0, GLOBAL, columns.pop("tags"), bytes([NONE, NONE]), **columns | {"flags": FOREIGN}, text=text)
    with pytest.raises(DecodeError, match="a mask for elements that take less than one"):
        fastser.loads(forged)


def test_truncated_and_flipped():
    frame = fastser.dumps([np.ma.MaskedArray(np.arange(5), np.arange(5) > 2), np.arange(4).view(Plain), np.dtype("i4,f8")])
    for end in range(len(frame)):
        with pytest.raises(DecodeError):
            fastser.loads(frame[:end])
    for i in range(16, len(frame)):
        for bit in (1, 16, 128):
            forged = bytearray(frame)
            forged[i] ^= bit
            try:
                fastser.loads(forged, safe=True, allow=[np.ma.MaskedArray, Plain])
            except (fastser.FastserError, MemoryError):
                pass


def test_nothing_but_the_reference_goes():
    """Elements that were taken over are let go with the array that has them."""
    frame = fastser.dumps(np.arange(1000).view(Plain))
    before = sys.getrefcount(frame)
    for _ in range(10):
        found = fastser.loads(frame)
    assert sys.getrefcount(frame) == before + 1 and found[-1] == 999
    del found
    assert sys.getrefcount(frame) == before
    same(np.arange(4).view(Plain), fastser.loads(fastser.dumps(np.arange(4).view(Plain))))

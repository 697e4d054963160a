"""Arrays of other packages that are exchanged by DLPack, and cannot be pickled."""

import mmap
import sys
import types

import numpy as np
import pytest

import fastser

pytestmark = pytest.mark.core

CPU, CUDA = (1, 0), (2, 0)


class Memory(mmap.mmap):
    """float64 numbers in memory of their own: no pickle, no fields, only the protocol."""

    __slots__ = ()
    device = CPU

    @classmethod
    def of(cls, numbers):
        memory = cls(-1, 8 * len(numbers))
        memory.array()[:] = numbers
        return memory

    @classmethod
    def from_dlpack(cls, producer):
        taken.append(producer)
        return cls.of(np.from_dlpack(producer))

    def array(self):
        return np.frombuffer(self, np.float64)

    def __dlpack__(self, **options):
        return self.array().__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device


class Standard(Memory):
    """Made again by its namespace, as the array API standard has it."""

    __slots__ = ()
    from_dlpack = None

    def __array_namespace__(self):
        return namespace


class Packaged(Memory):
    """Made again by its package."""

    __slots__ = ()
    from_dlpack = None
    __module__ = "arrays_by_dlpack.core"


class Attributed(Memory):
    pass


class Remote(Memory):
    __slots__ = ()
    device = CUDA


class Kept(Memory):
    """Taken without a copy."""

    __slots__ = ()

    @classmethod
    def from_dlpack(cls, producer):
        taken.append(producer)
        return np.from_dlpack(producer)


class Labelled:
    """Has fields: what DLPack would give is not all of it."""

    def __init__(self, values, label):
        self.values, self.label = values, label

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return CPU

    @classmethod
    def from_dlpack(cls, producer):
        raise AssertionError("not asked")


class New(Labelled):
    __slots__ = ("values", "label")

    def __new__(cls, *arguments):
        return super().__new__(cls)


taken = []


def module(name, cls):
    made = types.ModuleType(name)
    made.from_dlpack = lambda producer: cls.of(np.from_dlpack(producer))
    return made


namespace = module("arrays_by_standard", Standard)


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    monkeypatch.setitem(sys.modules, "arrays_by_standard", namespace)
    monkeypatch.setitem(sys.modules, "arrays_by_dlpack", module("arrays_by_dlpack", Packaged))
    taken.clear()


@pytest.mark.parametrize("cls", [Memory, Standard, Packaged])
@pytest.mark.parametrize("count", [1, 5, 5000])
def test_it_comes_back_as_its_class(cls, count):
    memory = cls.of(range(count))
    one, two = fastser.loads(fastser.dumps([memory, memory]))
    assert type(one) is cls
    assert one.array().tolist() == list(range(count))
    assert two is one


def test_its_memory_goes_by_reference():
    memory = Memory.of(range(5000))
    packed = fastser.pack(memory)
    address = memory.array().ctypes.data
    assert address in [np.frombuffer(buffer, np.uint8).ctypes.data for buffer in packed.buffers()]
    memory.array()[7] = 42
    assert fastser.loads(packed).array()[7] == 42


def test_it_is_made_of_a_view_where_the_memory_is_writable_else_of_a_copy():
    frame = fastser.dumps(Kept.of(range(5000)))
    writable = bytearray(frame)
    found = fastser.loads(writable)
    assert np.shares_memory(found, np.frombuffer(writable, np.uint8)) and taken[-1].flags.writeable
    found = fastser.loads(frame)
    assert taken[-1].flags.owndata and taken[-1].flags.writeable
    assert not np.shares_memory(found, np.frombuffer(frame, np.uint8))
    # NumPy's from_dlpack returns nothing that can be written to, up to some release.
    assert found.flags.writeable == np.from_dlpack(np.ones(1)).flags.writeable


@pytest.mark.parametrize("cls", [Labelled, New])
def test_what_has_fields_goes_by_them(cls):
    values = np.arange(3.0)
    found = cls(values, "a")
    found.values, found.label = values, "a"
    found = fastser.loads(fastser.dumps(found))
    assert type(found) is cls
    assert (found.values.tolist(), found.label) == ([0, 1, 2], "a")


def test_what_dlpack_would_not_bring_back_is_refused():
    attributed = Attributed.of([1])
    assert fastser.loads(fastser.dumps(attributed)).array().tolist() == [1]
    attributed.name = "a"
    for memory in attributed, Remote.of([1]):
        with pytest.raises(fastser.EncodeError, match=f"cannot pickle '{type(memory).__name__}' object"):
            fastser.dumps(memory)


def test_safe_loading_refuses_it():
    with pytest.raises(fastser.UnsafeDataError, match="dlpack"):
        fastser.loads(fastser.dumps(Memory.of([1])), safe=True)


def test_jax():
    jax = pytest.importorskip("jax")
    array = jax.numpy.arange(5)
    found = fastser.loads(fastser.dumps(array))
    assert isinstance(found, jax.Array) and found.tolist() == [0, 1, 2, 3, 4]

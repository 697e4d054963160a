"""Plans of classes are remembered, and made again as soon as something that they were decided by is another."""

import copyreg
import gc
import pickle
import sys
import weakref

import pytest
from same import same

import fastser

pytestmark = pytest.mark.core


def made(changes):
    """A class and its base; after so many changes the interpreter gives a class no version any more, from Python 3.13 on."""

    class Base:
        __slots__ = ()

    class Job(Base):
        __slots__ = ("a", "b", "__dict__")
        count = 0

        def __init__(self, a, b):
            type(self).count += 1
            self.a, self.b, self.c = a, b, [a]

    for cls, name in ((Base, "Base"), (Job, "Job")):
        cls.__qualname__ = name
        cls.__module__ = __name__
        globals()[name] = cls
    for i in range(changes):
        Job(i, i)
    return Job


Base = Job = None


def reduce(self, protocol=None):
    return rebuilt, (self.a,)


def rebuilt(a):
    found = Job(a, "rebuilt")
    found.d = 4
    return found


def reduce_by_name(self, protocol):
    return rebuilt, (self.a,)


def set_state(self, state):
    self.a, self.b, self.restored = "set", "state", state


def get_state(self):
    return None, {"a": self.a, "b": "state", "more": 3}


def renamed(cls):
    cls.__qualname__ = "Renamed"
    globals()["Renamed"] = cls


def slot_is_a_property(cls):
    # What the slot of this name was is still reached by another.
    slot = cls.b
    cls.hidden = slot
    cls.b = property(lambda self: slot.__get__(self), lambda self, value: slot.__set__(self, value))


CHANGES = {
    "__reduce__": lambda cls: setattr(cls, "__reduce__", reduce),
    "__reduce__ of a base": lambda cls: setattr(cls.__base__, "__reduce__", reduce),
    "__reduce_ex__": lambda cls: setattr(cls, "__reduce_ex__", reduce_by_name),
    "__setstate__": lambda cls: setattr(cls, "__setstate__", set_state),
    "__setstate__ of a base": lambda cls: setattr(cls.__base__, "__setstate__", set_state),
    "__getstate__": lambda cls: setattr(cls, "__getstate__", get_state),
    "__getnewargs__": lambda cls: (setattr(cls, "__getnewargs__", lambda self: (7,)), setattr(cls, "__new__", lambda cls, *more: object.__new__(cls))),
    "__qualname__": renamed,
    "a reducer of copyreg": lambda cls: copyreg.pickle(cls, reduce),
    "a slot that is a property": slot_is_a_property,
    "nothing": lambda cls: None,
}


@pytest.fixture
def registry():
    before = dict(copyreg.dispatch_table)
    yield
    copyreg.dispatch_table.clear()
    copyreg.dispatch_table.update(before)


@pytest.mark.parametrize("changes", [0, 1500])
@pytest.mark.parametrize("kind", CHANGES)
def test_a_class_that_changes(kind, changes, registry):
    cls = made(changes)
    value = [cls(1, [2]), cls(3, "x")]
    for _ in range(3):
        assert same(pickle.loads(pickle.dumps(value, 5)), fastser.loads(fastser.dumps(value)))
    CHANGES[kind](cls)
    for _ in range(3):
        assert same(pickle.loads(pickle.dumps(value, 5)), fastser.loads(fastser.dumps(value)))
        assert fastser.loads(fastser.dumps(value[0])).__dict__ == pickle.loads(pickle.dumps(value[0], 5)).__dict__


@pytest.mark.parametrize("changes", [0, 1500])
def test_a_class_that_a_hook_is_registered_for(changes):
    cls = made(changes)
    serializer = fastser.Serializer()
    value = cls(1, 2)
    assert serializer.loads(serializer.dumps(value)).b == 2
    serializer.register(cls, lambda job: job.a, lambda a: cls(a, "hooked"))
    assert serializer.loads(serializer.dumps(value)).b == "hooked"
    assert fastser.loads(fastser.dumps(value)).b == 2


@pytest.mark.parametrize("changes", [0, 1500])
def test_another_class_at_the_same_address(changes):
    """A plan does not outlive its class: what lies at its address next is another class."""
    for kind in range(30):
        cls = made(changes if kind == 0 else 0)
        if kind % 2:
            cls.__reduce__ = reduce
        value = cls(1, 2)
        assert same(pickle.loads(pickle.dumps(value, 5)), fastser.loads(fastser.dumps(value)))
        del cls, value


class Closed:
    """None is not as if there were nothing."""

    __setstate__ = None

    def __init__(self):
        self.a = 1


class NotExtended(list):
    extend = None

    def __reduce__(self):
        return NotExtended, (), None, iter([1, 2])


@pytest.mark.parametrize("cls", [Closed, NotExtended])
def test_none_is_no_method(cls):
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        pickle.loads(pickle.dumps(cls(), 5))
    with pytest.raises(fastser.DecodeError, match="'NoneType' object is not callable"):
        fastser.loads(fastser.dumps(cls()))


class Element:
    pass


def test_weak_sets():
    kept = [Element(), Element()]
    found, weak = fastser.loads(fastser.dumps([kept, weakref.WeakSet(kept)]))
    assert type(weak) is weakref.WeakSet and set(weak) == set(found)
    del found
    gc.collect()
    assert len(weak) == 0


class Outer:
    class __Private:
        class __Inner:
            def method(self):
                return 1

    private = __Private
    inner = __Private._Private__Inner if hasattr(__Private, "_Private__Inner") else None

    def __hidden(self):
        return 2

    hidden = __hidden

    @staticmethod
    def __alone():
        return 3

    alone = __alone


class __Mangling:
    class __Private:
        pass

    private = __Private


@pytest.mark.parametrize("obj", [Outer.private, Outer.inner, Outer.hidden, Outer.alone, globals()["__Mangling"].private], ids=lambda obj: obj.__qualname__)
def test_private_members_are_found_by_their_mangled_names(obj):
    frame = fastser.dumps([obj, obj])
    assert fastser.loads(frame) == [obj, obj] and fastser.loads(frame)[0] is obj
    assert b"cloudpickle" not in frame
    assert fastser.loads(fastser.dumps([obj], fallback="pickle"))[0] is obj


def test_plans_that_this_file_is_about_are_made_without_versions():
    if sys.version_info < (3, 13):
        pytest.skip("classes get versions for ever")
    _testcapi = pytest.importorskip("_testcapi")
    cls = made(1500)
    fastser.dumps(cls(1, 2))
    assert _testcapi.type_get_version(cls) == 0

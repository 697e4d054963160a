"""The classes of errors: what else they are, and that they arrive wherever they are sent, as they were."""

import copy
import copyreg
import pickle
import subprocess
import sys

import cloudpickle
import pytest

import fastser
from fastser import errors

pytestmark = pytest.mark.core


def classes():
    """Every class of exceptions that the package has."""
    found = {}
    for module in [fastser, errors, *(module for name, module in sys.modules.items() if name.startswith("fastser."))]:
        for name in dir(module):
            value = getattr(module, name, None)
            if isinstance(value, type) and issubclass(value, BaseException) and value.__module__.startswith("fastser.") and name[0] != "_":
                found[value.__qualname__] = value
    return found


if sys.platform == "linux":
    import fastser.store.answers
CLASSES = classes()
CLASSES.pop("OnItsWay", None)  # becomes another when it arrives
OURS = {name: cls for name, cls in CLASSES.items() if issubclass(cls, fastser.FastserError)}


class Mine(fastser.EncodeError):
    """One that a user derived."""


def thrown(error, cause=None):
    try:
        raise error from cause
    except BaseException as caught:
        return caught


def made(cls, cause=None):
    error = thrown(cls("a text", 5), cause)
    error.path = "$.jobs[3]"
    error.details = {"a": [1, None]}
    error.__notes__ = ["a note", "another"]
    return error


def assert_same(a, b):
    assert type(b) is type(a) and b is not a
    assert (str(b), repr(b), b.args) == (str(a), repr(a), a.args)
    assert (b.path, b.details, b.__notes__) == ("$.jobs[3]", {"a": [1, None]}, ["a note", "another"])
    if isinstance(a, OSError):
        assert (b.errno, b.strerror, b.filename) == (a.errno, a.strerror, a.filename)


WAYS = {
    **{f"pickle {protocol}": lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol)) for protocol in range(6)},
    "pickle in Python": lambda error: pickle._loads(pickle._dumps(error)),
    "cloudpickle": lambda error: pickle.loads(cloudpickle.dumps(error)),
    "fastser": lambda error: fastser.loads(fastser.dumps(error)),
    "fastser, a tree": lambda error: fastser.loads(fastser.dumps(error, track_refs=False)),
    "fastser, among others": lambda error: fastser.loads(fastser.dumps([error, made(type(error)), error]))[2],
    "fastser, allowed": lambda error: fastser.loads(fastser.dumps(error), safe=True, allow=[type(error), KeyError]),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def test_there_are_as_many_as_are_public():
    public = {name for name in dir(fastser) if isinstance(getattr(fastser, name), type) and issubclass(getattr(fastser, name), fastser.FastserError)}
    assert public <= OURS.keys() and len(public) == 15
    assert {name for name in vars(errors) if name.endswith("Error")} == OURS.keys()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*OURS, "Mine"])
def test_an_error_arrives_as_it_was(name, way):
    cls = OURS.get(name, Mine)
    cause = KeyError("the cause", 7)
    for error in (made(cls), made(cls, cause)):
        if way == "fastser, allowed":
            with pytest.raises(fastser.UnsafeDataError):
                fastser.loads(fastser.dumps(error), safe=True)
            back = fastser.loads(fastser.dumps(error))
        else:
            back = WAYS[way](error)
        assert_same(error, back)
        assert type(back.__cause__) is type(error.__cause__)
        if error.__cause__ is not None:
            assert back.__cause__.args == ("the cause", 7)
            assert back.__suppress_context__
            assert (back.__cause__ is cause) == (way == "copy")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [name for name in CLASSES if name not in OURS])
def test_other_exceptions_of_the_package_arrive(name, way):
    error = made(CLASSES[name])
    if way != "fastser, allowed":
        assert_same(error, WAYS[way](error))


@pytest.mark.parametrize("name", OURS)
def test_a_plain_error_is_no_larger_than_another(name):
    error = OURS[name]("a text")
    assert len(error.__reduce__()) == 2 or isinstance(error, OSError)
    assert copyreg.__reduce_ex__ is not None and error.__reduce_ex__(2)[0] is OURS[name]


def test_what_really_comes_arrives():
    with pytest.raises(fastser.EncodeError) as refused:
        fastser.dumps({"a": [1, (i for i in ())]})
    with pytest.raises(fastser.DecodeError) as malformed:
        fastser.loads(b"\xf5FSR")
    with pytest.raises(fastser.DepthError) as deep:
        fastser.dumps([[[]]], max_depth=1)
    with pytest.raises(fastser.UnsafeDataError) as unsafe:
        fastser.loads(fastser.dumps(Mine), safe=True)
    for caught in (refused, malformed, deep, unsafe):
        for way in ("pickle 5", "cloudpickle", "fastser", "copy", "deepcopy"):
            back = WAYS[way](caught.value)
            assert type(back) is caught.type and str(back) == str(caught.value)
            assert repr(back.__cause__) == repr(caught.value.__cause__)


# --- causes ------------------------------------------------------------------------------------------------------------


def test_causes_of_causes():
    error = made(fastser.DecodeError, made(fastser.EncodeError, made(fastser.StoreFullError, ValueError("the first"))))
    for way in ("pickle 5", "pickle 0", "cloudpickle", "fastser", "copy", "deepcopy"):
        back = WAYS[way](error)
        found = []
        while back is not None:
            found.append(type(back))
            back = back.__cause__
        assert found == [fastser.DecodeError, fastser.EncodeError, fastser.StoreFullError, ValueError]


def test_a_long_chain_of_causes():
    error = None
    for i in range(60):
        error = thrown(fastser.EncodeError(i), error)
    back = pickle.loads(pickle.dumps(error))
    for i in reversed(range(60)):
        assert back.args == (i,)
        back = back.__cause__
    assert back is None


def test_causes_that_lead_back():
    one, other = fastser.EncodeError("one"), fastser.DecodeError("other")
    one.__cause__, other.__cause__ = other, one
    for way in ("pickle 5", "fastser", "copy", "deepcopy"):
        back = WAYS[way](one)
        assert str(back) == "one" and type(back.__cause__) is fastser.DecodeError


def test_a_cause_that_cannot_be_pickled_stays_behind():
    class Local(Exception):
        pass

    for cause in (Local("local"), ValueError((i for i in ()))):
        error = made(fastser.EncodeError, cause)
        for way in WAYS:
            if way not in ("copy", "deepcopy", "fastser, allowed"):
                back = WAYS[way](error)
                assert_same(error, back)
                assert back.__cause__ is None
        assert copy.copy(error).__cause__ is cause


class WithReducer(fastser.EncodeError):
    """Is made in another way than by its arguments."""

    def __init__(self, *, path):
        super().__init__(f"at {path}")
        self.place = path

    def __reduce__(self):
        return remade, (self.place,), super().__reduce__()[2]


def remade(path):
    return WithReducer(path=path)


def test_a_derived_class_with_a_reducer():
    error = thrown(WithReducer(path="$.x"), KeyError(1))
    for way in WAYS:
        if way not in ("fastser, allowed", "fastser, among others"):
            back = WAYS[way](error)
            assert type(back) is WithReducer and back.place == "$.x" and repr(back.__cause__) == "KeyError(1)"


def test_what_is_not_to_be_caught_is_not():
    class Interrupting(Exception):
        def __reduce__(self):
            raise KeyboardInterrupt

    error = made(fastser.EncodeError, Interrupting())
    with pytest.raises(KeyboardInterrupt):
        pickle.dumps(error)
    assert pickle.loads(pickle.dumps(made(fastser.EncodeError, KeyError(1)))).__cause__.args == (1,)  # it tries again


def test_another_process_reads_them():
    error = made(fastser.EncodeError, KeyError("the cause"))
    program = "import sys, pickle; e = pickle.load(sys.stdin.buffer); print(type(e), e.path, e.__notes__, repr(e.__cause__), e)"
    done = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(error), capture_output=True, check=True)
    assert done.stdout.decode().strip() == "<class 'fastser.errors.EncodeError'> $.jobs[3] ['a note', 'another'] KeyError('the cause') ('a text', 5)"


def test_an_error_of_one_of_many_keeps_what_it_had():
    error = made(fastser.EncodeError)
    prefixed = errors.in_object(error, 4)
    assert str(prefixed) == "object 4: ('a text', 5)" and (prefixed.path, prefixed.__notes__) == (error.path, error.__notes__)


# --- what else they are ------------------------------------------------------------------------------------------------


def test_code_written_for_pickle_catches_them():
    for refused in ((i for i in ()), lambda: 1):
        with pytest.raises(pickle.PicklingError):
            fastser.dumps([refused], fallback="pickle")
    for data in (b"", b"no frame at all", fastser.dumps([1, 2])[:-1]):
        with pytest.raises(pickle.UnpicklingError):
            fastser.loads(data)
    with pytest.raises(pickle.UnpicklingError):
        fastser.loads(fastser.dumps(Mine), safe=True)
    assert not issubclass(fastser.EncodeError, pickle.UnpicklingError) and not issubclass(fastser.DecodeError, pickle.PicklingError)
    for cls in OURS.values():
        assert issubclass(cls, pickle.PickleError) == issubclass(cls, (fastser.EncodeError, fastser.DecodeError))


def test_a_full_store_is_no_lack_of_memory():
    assert not issubclass(fastser.StoreFullError, MemoryError)
    assert fastser.StoreFullError.__mro__[1:4] == (fastser.StoreError, fastser.FastserError, Exception)


class Nesting:
    """Its reducer packs something with an own call of fastser, and counts."""

    def __init__(self, inner, calls):
        self.inner, self.calls = inner, calls

    def __reduce__(self):
        self.calls.append(1)
        return bytes, (self.inner(),)


INNER = {
    "EncodeError": lambda: fastser.dumps((i for i in ())),
    "DecodeError": lambda: fastser.loads(b"no frame"),
    "UnsafeDataError": lambda: fastser.loads(fastser.dumps(Mine), safe=True),
}


@pytest.mark.parametrize("fallback", ["cloudpickle", "pickle", None])
@pytest.mark.parametrize("track_refs", [True, False])
@pytest.mark.parametrize("name", INNER)
def test_an_error_of_a_call_within_a_call_is_final(name, track_refs, fallback):
    """It passes for one of pickle's, after which cloudpickle would be asked: the reducer would be called again."""
    calls = []
    with pytest.raises(fastser.EncodeError) as caught:
        fastser.dumps([1, Nesting(INNER[name], calls)], track_refs=track_refs, fallback=fallback)
    assert len(calls) == 1
    assert str(caught.value).startswith("cannot pack the test_error_classes.Nesting at $[1]: ")
    assert "register a hook" not in str(caught.value).split("cannot pack")[1]
    assert type(caught.value.__cause__) is getattr(fastser, name)
    with pytest.raises(fastser.EncodeError):
        fastser.dumps([Nesting(INNER[name], calls) for _ in range(40)], track_refs=track_refs, fallback=fallback)
    (failure,) = fastser.explain([1, Nesting(INNER[name], calls)], track_refs=track_refs, fallback=fallback).failures
    assert failure.path == "$[1]" and failure.reason.startswith("cannot pack the test_error_classes.Nesting at $[1]: ")


class InPickle:
    """Its reducer calls fastser, which fails."""

    def __getstate__(self):
        fastser.dumps((i for i in ()))


def test_an_error_of_ours_is_final():
    raised = []

    class Local:
        def __reduce__(self):
            raised.append(1)
            raise thrown(fastser.EncodeError("on purpose"), RecursionError("the cause"))

    for mode in ("pickle", "cloudpickle"):
        raised.clear()
        with pytest.raises(fastser.EncodeError, match="on purpose"):
            fastser.dumps(Local(), fallback=mode)
        assert len(raised) == 1
    with pytest.raises(fastser.EncodeError, match="generator"):
        fastser.dumps([InPickle()])


def test_refusals_of_pickle_still_go_to_cloudpickle():
    class Local:
        def __reduce__(self):
            raise pickle.PicklingError("ask another")

    calls = fastser.explain(Local())
    assert calls.plan == "REDUCE" and "its reducer refuses" in calls.reason


# --- from workers ------------------------------------------------------------------------------------------------------


def failing(frame):
    error = fastser.loads(frame)
    cause = error.__cause__
    error.__cause__ = None
    raise error from cause


@pytest.fixture(scope="module")
def executor():
    if sys.platform != "linux":
        pytest.skip("the executor needs Linux")
    with fastser.Executor(max_workers=1) as executor:
        yield executor


@pytest.mark.parametrize("with_cause", [True, False])
@pytest.mark.parametrize("name", OURS)
def test_an_error_of_a_task_arrives(name, with_cause, executor):
    error = made(OURS[name], KeyError("the cause", 7) if with_cause else None)
    frame = fastser.dumps(error)
    for submit in (lambda: executor.submit(failing, frame), lambda: executor.submit(lambda: failing(frame))):
        back = submit().exception()
        assert_same(error, back)
        trace = back.__cause__
        assert type(trace).__name__ == "RemoteTraceback" and "in failing" in str(trace) and "a note" in str(trace) or sys.version_info < (3, 11)
        assert ("KeyError" in str(trace)) == with_cause
        assert repr(trace.__cause__) == ("KeyError('the cause', 7)" if with_cause else "None")

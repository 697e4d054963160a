"""What the core does not know: the rules of pickle and cloudpickle, the path of what fails, and the wording of errors."""

import datetime
import functools
import gc
import operator
import pickle
import subprocess
import sys
import textwrap
import threading
import types
import weakref

import numpy as np
import pytest

import fastser
from fastser import errors
from fastser.locate import locate

pytestmark = pytest.mark.core


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return type(other) is Point and (self.x, self.y) == (other.x, other.y)

    __hash__ = None


class Refuses:
    """Says how pickling it fails."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        raise self.error


def roundtrip(obj, mode="cloudpickle"):
    return fastser.loads(fastser.dumps(obj, fallback=mode))


# --- by name, by reducer, by value -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["pickle", "cloudpickle", None])
def test_what_has_a_name_or_fields_needs_no_cloudpickle(mode):
    point = Point(1, [2, "text"])
    assert fastser.dumps(point, fallback=mode) == fastser.dumps(point)
    assert roundtrip(point, mode) == point


def test_a_pickle_buffer_itself():
    view = roundtrip(pickle.PickleBuffer(b"abc"), "pickle")
    assert type(view) is memoryview and bytes(view) == b"abc"


def test_what_pickle_refuses_goes_by_value():
    factor = 3

    class Local:
        value = 7

    assert roundtrip(lambda x: x * factor)(4) == 12
    assert roundtrip(Local).value == 7
    assert type(roundtrip(Local())).__name__ == "Local"
    assert roundtrip(functools.partial(lambda a, b: a - b, 10))(3) == 7
    module = types.ModuleType("made_up")
    module.answer = 42
    assert roundtrip(module).answer == 42
    assert list(roundtrip({"a": 1}.keys())) == ["a"]


def test_arrays_beside_what_goes_by_value():
    array = np.arange(1000.0)
    frame = fastser.dumps([array, lambda: array])
    assert len(frame) < array.nbytes + 1000
    found, function = fastser.loads(frame)
    np.testing.assert_array_equal(found, array)
    assert function() is found


def test_mode_pickle_never_asks_cloudpickle():
    with pytest.raises(fastser.EncodeError):
        fastser.dumps(lambda: None, fallback="pickle")


def test_importable_functions_and_classes_go_by_reference():
    for thing in (operator.add, Point, np.add, functools.partial(operator.mul, 2).func):
        assert roundtrip(thing) is thing


def test_modules_registered_by_value():
    cloudpickle = pytest.importorskip("cloudpickle")
    module = sys.modules[__name__]
    plain = fastser.dumps(Point(1, 2))
    cloudpickle.register_pickle_by_value(module)
    try:
        assert b"__init__" in fastser.dumps(Point(1, 2))  # the class's own code
        assert fastser.dumps(Point(1, 2), fallback="pickle") == plain
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    assert fastser.dumps(Point(1, 2)) == plain and b"__init__" not in plain


MAIN = """
    import sys, threading
    import fastser

    class Plain:
        def twice(self):
            return 2 * self.x

    class Locked:
        lock = threading.Lock()

    plain, locked = Plain(), Locked()
    plain.x = 21
    for obj in (plain, Plain, "the text __main__"):
        print(fastser.dumps(obj).hex())
    try:
        fastser.dumps([locked])
    except fastser.EncodeError as error:
        print(error, error.__cause__, sep="\\n")
"""


def test_main_goes_by_value_or_not_at_all():
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(MAIN)], capture_output=True, text=True, check=True)
    *frames, error, cause = done.stdout.splitlines()
    plain, cls, text = map(bytes.fromhex, frames)
    assert fastser.loads(plain).twice() == 42  # its class is not in this process's __main__
    assert fastser.loads(cls).__name__ == "Plain"
    assert fastser.loads(text) == "the text __main__"
    assert error.startswith("cannot pack the _thread.lock at $[0].class.lock: ") and cause == "cannot pickle '_thread.lock' object"


def test_plain_objects_do_not_import_cloudpickle():
    values = "[range, len, sys, fractions.Fraction(1, 3), fractions.Fraction.limit_denominator, types.SimpleNamespace(a=1), OSError(1)]"
    program = f"import fractions, sys, types, fastser; fastser.dumps({values}); print('cloudpickle' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# --- what is refused ---------------------------------------------------------------------------------------------------


def test_the_obstacle_is_named():
    lock = threading.Lock()
    with pytest.raises(fastser.EncodeError, match=r"cannot pack the _thread.lock at \$\.__closure__\[0\]\.cell_contents: ") as caught:
        fastser.dumps(lambda: lock)
    assert type(caught.value.__cause__) is TypeError and str(caught.value.__cause__) == "cannot pickle '_thread.lock' object"


@pytest.mark.parametrize("error", [ValueError("mine"), ZeroDivisionError("mine"), TypeError("mine"), AttributeError("mine")])
@pytest.mark.parametrize("mode", ["pickle", "cloudpickle"])
def test_an_objects_own_error_is_the_cause(error, mode):
    with pytest.raises(fastser.EncodeError, match=f"{type(error).__name__}: mine") as caught:
        fastser.dumps(Refuses(error), fallback=mode)
    assert caught.value.__cause__ is error


def test_nothing_of_a_refused_attempt_is_kept():
    class Local:
        pass

    array, lock = np.arange(1000.0), threading.Lock()
    with pytest.raises(fastser.EncodeError):
        fastser.dumps([array, Local, Local(), lambda: array, lambda: lock])
    gone = weakref.ref(array)
    del array
    gc.collect()
    assert gone() is None


# --- the path of what fails --------------------------------------------------------------------------------------------

THING = object()
ZONE = datetime.timezone(datetime.timedelta(hours=1))


@pytest.mark.parametrize(
    "root, path",
    [
        (THING, "$"),
        ([THING], "$[0]"),
        ({"jobs": [1, 2, 3, {"callback": THING}]}, "$.jobs[3].callback"),
        ({"two words": THING}, "$['two words']"),
        ({"": THING}, "$['']"),
        ({"ключ": THING}, "$.ключ"),
        ({3: (0, THING)}, "$[3][1]"),
        ({(1, "a"): THING}, "$[(1, 'a')]"),
        ({b"key": THING}, "$[b'key']"),
        ({"k" * 60: THING}, "$['" + "k" * 38 + "…]"),
        ({"x" * 10**6: THING}, "$['" + "x" * 38 + "…]"),
        ({THING: 1}, "$.key(object)"),
        ({(1, THING): 1}, "$.key(tuple)[1]"),
        ({"tags": {1, THING}}, "$.tags{object}"),
        ({"tags": frozenset([(THING,)])}, "$.tags{tuple}[0]"),
        ([np.array([1, THING], dtype=object)], "$[0][1]"),
        (np.array([[1, 2], [3, {"a": THING}]], dtype=object), "$[1, 1].a"),
        (np.array(THING, dtype=object), "$[()]"),
        (slice(None, [THING]), "$.stop[0]"),
        ({"at": datetime.datetime(2020, 1, 1, tzinfo=ZONE)}, "$.at.tzinfo"),
        ([datetime.time(1, tzinfo=ZONE)], "$[0].tzinfo"),
        ([np.array(["a"], np.dtypes.StringDType(na_object=THING))], "$[0].dtype.na_object"),
        ([[THING], THING], "$[0][0]"),
        ([THING, [THING]], "$[0]"),
        ({"b": [THING], "a": THING}, "$.b[0]"),
    ],
    ids=lambda value: value if type(value) is str else "",
)
def test_path(root, path):
    assert locate(root, ZONE if path.endswith(".tzinfo") else THING) == path


class UnreadableKey:
    def __repr__(self):
        raise ZeroDivisionError

    def __hash__(self):
        return 1


def test_path_through_a_key_without_a_repr():
    assert locate({UnreadableKey(): THING}, THING) == f"$[<{__name__}.UnreadableKey>]"


@pytest.mark.parametrize("root", [1, None, [], {"a": [1, 2]}, np.arange(3), np.array(["a"], np.dtypes.StringDType())])
def test_what_is_not_there_has_no_path(root):
    assert locate(root, THING) is None


def test_path_in_what_contains_itself():
    loop = [1]
    loop += [loop, {"loop": loop, "thing": THING}]
    assert locate(loop, THING) == "$[2].thing"
    assert locate(loop, loop) == "$"
    assert locate([loop], object()) is None


@pytest.mark.parametrize("wrap, step", [(lambda x: [x], "[0]"), (lambda x: (x,), "[0]"), (lambda x: {"a": x}, ".a")])
def test_path_however_deep(wrap, step):
    root = [THING]
    for _ in range(100_000):
        root = wrap(root)
    assert locate(root, THING) == "$" + step * 100_000 + "[0]"


def test_a_container_met_often_is_searched_once():
    root = [THING]
    for _ in range(60):
        root = [root, root]  # 2**60 paths
    assert locate(root, object()) is None
    assert locate(root, THING) == "$" + "[0]" * 61


# --- the wording of errors ---------------------------------------------------------------------------------------------

FIRST = "This object exceeds the maximum recursion depth. It may contain itself recursively. "


@pytest.mark.parametrize(
    "error, cls, message",
    [
        (
            errors.depth_exceeded("$.a[3]", 1000, decoding=False, stack=False),
            errors.DepthError,
            FIRST + "max_depth=1000 was reached at $.a[3]: raise max_depth, or, if it contains itself, keep track_refs on.",
        ),
        (
            errors.depth_exceeded(None, 5, decoding=True, stack=False),
            errors.DepthError,
            FIRST + "max_depth=5 was reached: raise max_depth.",
        ),
        (
            errors.depth_exceeded(None, 10**9, decoding=True, stack=True),
            errors.DepthError,
            FIRST + "The stack of this thread was full, before max_depth=1000000000: "
            "run it in a thread with a larger stack (threading.stack_size).",
        ),
        (
            errors.depth_exceeded("$.a", 10**9, decoding=False, stack=True),
            errors.DepthError,
            FIRST + "The stack of this thread was full at $.a, before max_depth=1000000000: "
            "run it in a thread with a larger stack (threading.stack_size), or, if it contains itself, keep track_refs on.",
        ),
        (
            errors.cannot_pack("$.jobs[3].callback", "generator", TypeError("cannot pickle 'generator' object")),
            errors.EncodeError,
            "cannot pack the generator at $.jobs[3].callback: TypeError: cannot pickle 'generator' object",
        ),
        (
            errors.needs_fallback("$[0]", "function"),
            errors.EncodeError,
            "cannot pack the function at $[0]: it would need pickle, and fallback is None; pass fallback='pickle' or 'cloudpickle'",
        ),
        (
            errors.not_a_frame(b"\xf5FSR", b"PK\3\4"),
            errors.DecodeError,
            r"not a fastser frame: expected b'\xf5FSR' at offset 0, found b'PK\x03\x04'",
        ),
        (errors.truncated(100, 40), errors.DecodeError, "truncated frame: expected 100 bytes, found 40"),
        (
            errors.bad_frame("a tag", "byte 255", 77),
            errors.DecodeError,
            "malformed frame at offset 77: expected a tag, found byte 255",
        ),
        (
            errors.bad_frame("valid UTF-8", "b'\\xff'", "column text, position 3"),
            errors.DecodeError,
            "malformed frame at column text, position 3: expected valid UTF-8, found b'\\xff'",
        ),
        (
            errors.unbacked_items(10**12, 80, 20),
            errors.DecodeError,
            "malformed frame at offset 20: it claims 1000000000000 items, but its bytes can back only 80",
        ),
        (
            errors.unsafe("a pickled object", "column tags, position 9", errors.NO_DATA),
            errors.UnsafeDataError,
            "safe=True, but a pickled object at column tags, position 9 would be needed to load this frame: "
            "no allow lets a frame have it, since it is no class: send what it is made of",
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_wording(error, cls, message):
    assert type(error) is cls
    assert str(error) == message
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (cls, message)


def test_a_long_path_is_cut_in_the_middle():
    message = str(errors.depth_exceeded("$.start" + "[0]" * 100_000 + ".end", 1000, decoding=False, stack=False))
    assert len(message) < 500
    assert "$.start[0][0]" in message
    assert "[0].end:" in message
    assert " … " in message

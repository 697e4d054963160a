"""max_depth holds exactly, both ways, and no depth and no stack size ends the process."""

import datetime as dt
import faulthandler
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastser

FIRST_SENTENCE = "This object exceeds the maximum recursion depth. It may contain itself recursively."


def objects(*items):
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array


# How to put a value one level deeper.
NESTED = {
    "list": lambda x: [x],
    "list among others": lambda x: [1, "a", x],
    "long list": lambda x: [*range(40), x],
    "tuple": lambda x: (x,),
    "tuple among others": lambda x: (x, None),
    "record": lambda x: {"key": x},
    "wide record": lambda x: {**{f"k{i}": i for i in range(300)}, "last": x},
    "dict": lambda x: {1: x},
    "object array": lambda x: objects(x),
    "slice": lambda x: slice(x),
}


def nest(wrap, depth, inner=1):
    value = inner
    for _ in range(depth):
        value = wrap(value)
    return value


def unnest(value):
    """The depth of nested containers; without recursion, which would end at the interpreter's limit."""
    depth = 0
    while True:
        if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype == object):
            value = value[-1] if value[-1] is not None else value[0]
        elif isinstance(value, dict):
            value = list(value.values())[-1]
        elif isinstance(value, slice):
            value = value.stop
        elif isinstance(value, (frozenset, set)):
            (value,) = value
        else:
            return depth
        depth += 1


def assert_depth_error(function, *arguments, **options):
    with pytest.raises(fastser.DepthError) as caught:
        function(*arguments, **options)
    message = str(caught.value)
    assert message.startswith(FIRST_SENTENCE)
    assert "\n" not in message
    assert isinstance(caught.value, RecursionError) and isinstance(caught.value, fastser.FastserError)
    return message


@pytest.mark.parametrize("track_refs", [True, False])
@pytest.mark.parametrize("wrap", NESTED.values(), ids=NESTED)
def test_max_depth_is_exact(wrap, track_refs):
    for depth in (0, 1, 2, 3, 10, 50):
        value = nest(wrap, depth)
        frame = fastser.dumps(value, track_refs=track_refs, max_depth=depth)
        assert fastser.dumps(value, track_refs=track_refs) == frame
        assert unnest(fastser.loads(frame, max_depth=depth)) == depth
        if depth:
            message = assert_depth_error(fastser.dumps, value, track_refs=track_refs, max_depth=depth - 1)
            assert f"max_depth={depth - 1}" in message and "raise max_depth" in message
            message = assert_depth_error(fastser.loads, frame, max_depth=depth - 1)
            assert f"max_depth={depth - 1}" in message and "raise max_depth" in message
            assert_depth_error(fastser.pack, value, track_refs=track_refs, max_depth=depth - 1)
            assert_depth_error(fastser.loads, fastser.pack(value), max_depth=depth - 1)


@pytest.mark.parametrize("wrap", NESTED.values(), ids=NESTED)
def test_max_depth_is_exact_in_runs(wrap):
    # Items of a run lie at the depth where they would lie one by one.
    for length in (2, 16, 40):
        for depth in (1, 2, 5):
            value = [nest(wrap, depth, i) for i in range(length)]
            frame = fastser.dumps(value, max_depth=depth + 1)
            found = fastser.loads(frame, max_depth=depth + 1)
            assert [unnest(item) for item in found] == [depth] * length
            assert_depth_error(fastser.dumps, value, max_depth=depth)
            assert_depth_error(fastser.loads, frame, max_depth=depth)
            # One item that is deeper than the others.
            value[length // 2] = nest(wrap, depth + 1)
            frame = fastser.dumps(value, max_depth=depth + 2)
            assert unnest(fastser.loads(frame, max_depth=depth + 2)[length // 2]) == depth + 1
            assert_depth_error(fastser.dumps, value, max_depth=depth + 1)
            assert_depth_error(fastser.loads, frame, max_depth=depth + 1)


def test_every_container_is_a_level():
    for value, depth in (
        (1, 0),
        ("text", 0),
        ([], 1),
        ({}, 1),
        (set(), 1),
        (frozenset(), 1),
        ({1}, 1),
        (frozenset([frozenset([1])]), 2),
        ({(1,): 2}, 2),
        ({((1,),): 2}, 3),
        ([{"a": [(1,)]}], 4),
        ([[[]], []], 3),
        ([{"a": 1}] * 20 + [{"a": []}], 3),
    ):
        frame = fastser.dumps(value, max_depth=depth)
        assert fastser.loads(frame, max_depth=depth) == value
        if depth:
            assert_depth_error(fastser.dumps, value, max_depth=depth - 1)
            assert_depth_error(fastser.loads, frame, max_depth=depth - 1)


def test_what_one_side_accepts_the_other_accepts_too():
    zone = dt.timezone(dt.timedelta(hours=1), "name")
    values = [
        *(value for wrap in NESTED.values() for value in (nest(wrap, 3), [nest(wrap, 2, [i]) for i in range(20)])),
        [dt.datetime(2020, 1, 1, tzinfo=zone)] * 3,
        dt.time(1, tzinfo=zone),
        [slice((i,), None) for i in range(20)],
        range(2**70),
        np.zeros(3, [("a", [("b", [("c", "i4")])])]),
        [np.zeros(3, [("a", "i4", (2, 2))])],
        [np.array(["a"], np.dtypes.StringDType(na_object=None))],
        {frozenset([(1, frozenset([2]))]): {(3, (4,)): [5]}},
        [{"a": {"b": i if i % 2 else [i]}} for i in range(30)],
        [[None, {"a": None}, [i]] for i in range(20)],
        [bytearray(b"x"), bytearray(5000)],
        bytearray(5000),
        np.zeros(3),
        np.zeros(1000),
        [np.zeros(3) for _ in range(20)],
        np.float32(1),
        objects(1, 2),
        objects(objects(1), [2]),
    ]
    for value in values:
        for track_refs in (True, False):
            for depth in range(12):
                try:
                    frame = fastser.dumps(value, max_depth=depth, track_refs=track_refs)
                except fastser.DepthError:
                    continue
                fastser.loads(frame, max_depth=depth)
                break
            else:
                pytest.fail(f"{value!r} is too deep for everything")
            # And what one side refuses the other refuses too.
            for less in range(depth):
                assert_depth_error(fastser.loads, frame, max_depth=less)


def test_the_default_is_1000():
    deep = nest(NESTED["list"], 1000)
    assert unnest(fastser.loads(fastser.dumps(deep))) == 1000
    assert_depth_error(fastser.dumps, [deep])
    frame = fastser.dumps([deep], max_depth=1001)
    assert_depth_error(fastser.loads, frame)


def test_the_message_tells_the_path():
    value = {"jobs": [0, 1, [[[]]]]}
    message = assert_depth_error(fastser.dumps, value, max_depth=3)
    assert "$.jobs[2][0]" in message
    message = assert_depth_error(fastser.dumps, nest(NESTED["list"], 5000))
    assert "[0][0]" in message and len(message) < 600


def test_bad_max_depth():
    for bad in ("1", None, 1.5):
        with pytest.raises(TypeError):
            fastser.dumps(1, max_depth=bad)
        with pytest.raises(TypeError):
            fastser.loads(fastser.dumps(1), max_depth=bad)
    with pytest.raises(OverflowError):
        fastser.dumps(1, max_depth=2**100)
    assert fastser.loads(fastser.dumps(5, max_depth=0), max_depth=0) == 5
    assert_depth_error(fastser.dumps, [], max_depth=0)
    assert_depth_error(fastser.dumps, [], max_depth=-1)


@pytest.mark.parametrize("wrap", NESTED.values(), ids=NESTED)
def test_what_contains_itself(wrap):
    root = []
    root.append(wrap(root))
    message = assert_depth_error(fastser.dumps, root, track_refs=False)
    assert "keep track_refs on" in message
    assert_depth_error(fastser.dumps, root, track_refs=False, max_depth=sys.maxsize)
    found = fastser.loads(fastser.dumps(root, max_depth=10), max_depth=10)
    assert unnest_one(found[0]) is found


def unnest_one(value):
    if isinstance(value, dict):
        return list(value.values())[-1]
    if isinstance(value, slice):
        return value.stop
    return next(item for item in reversed(value) if item is not None) if len(value) > 1 else value[0]


def test_objects_that_pickle_itself_finds_too_deep():
    class Node:
        child = None

    root = node = Node()
    for _ in range(100000):
        node.child = Node()
        node = node.child
    assert_depth_error(fastser.dumps, [root])
    # Taken apart by hand: the interpreter would free one within the other.
    while root is not None:
        root.child, root = None, root.child


def test_a_reduce_that_never_ends():
    class Endless:
        def __reduce__(self):
            return Endless, (Endless(),)

    assert_depth_error(fastser.dumps, {"a": Endless()})
    assert fastser.loads(fastser.dumps([1])) == [1]


def test_nothing_is_lost_after_a_depth_error():
    deep = nest(NESTED["list"], 2000)
    frame = fastser.dumps(deep, max_depth=3000)
    value = {"a": [1, 2.5, "x", np.arange(3).tolist()]}
    for _ in range(20):
        assert_depth_error(fastser.dumps, [value, deep])
        assert_depth_error(fastser.loads, frame)
        assert fastser.loads(fastser.dumps(value)) == value
        assert fastser.loads(fastser.dumps(value, track_refs=False)) == value


# --- the C stack --------------------------------------------------------------------------------------------------------

KINDS = list(NESTED.values())
DEEP = {
    **{name: lambda depth, wrap=wrap: nest(wrap, depth) for name, wrap in NESTED.items() if name not in ("long list", "wide record")},
    "mixed": lambda depth: nest_in_turn(KINDS, depth // 4),
    "frozensets": lambda depth: nest(lambda x: frozenset([x]), depth // 4),
    "tuples in sets": lambda depth: {nest(lambda x: (x,), depth // 100)},
    "keys": lambda depth: {nest(lambda x: (x, frozenset([x])), 12): 1},
    "records in runs": lambda depth: nest(lambda x: [{"a": x, "b": 1}, {"a": [2], "b": 3}], depth),
    "rows in runs": lambda depth: nest(lambda x: [[x, 1], ["x", [2]]], depth),
    "lists in runs": lambda depth: nest(lambda x: [[x], [x, 1], []], depth),
    "dicts in runs": lambda depth: nest(lambda x: [{1: x}, {2: [x], 3: 4}], depth),
    "groups": lambda depth: nest(lambda x: [1, "x"] * 8 + [[x], 2.5] * 8, depth // 10),
    "shared": lambda depth: nest(lambda x: [x, [x], x], depth),
}


def nest_in_turn(wraps, depth):
    value = 1
    for i in range(depth):
        value = wraps[i * 7 % len(wraps)](value)
    return value


def hammer(stack, depth):
    """Pack and load everything deep in a thread of `stack` KiB, and frames that were written where there was room.

    Runs in a process of its own: what goes wrong here ends the process.
    """
    faulthandler.enable()
    kept = []  # nothing may be freed where the stack is small; what is very deep is freed nowhere
    for name, make in DEEP.items():
        print(name, flush=True)
        found = []
        in_thread(512 << 10, lambda: found.append((make(depth), make(depth // 50))))
        for value in found[0]:
            frames = []
            for track_refs in (True, False):
                # Without references what is shared unfolds: two to the power of its depth.
                if track_refs or name not in ("shared", "lists in runs", "dicts in runs", "groups", "keys"):
                    in_thread(512 << 10, attempt, fastser.dumps, value, kept=frames, track_refs=track_refs, max_depth=sys.maxsize)
            assert any(frame is not None for frame in frames)
            in_thread(stack, work, value, name, frames, kept)
        kept.append(found)
    print("done", flush=True)
    os._exit(0)


def in_thread(stack, function, *arguments, **options):
    done = []

    def call():
        function(*arguments, **options)
        done.append(True)

    threading.stack_size(stack << 10)
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert done


def work(value, name, frames, kept):
    for max_depth in (sys.maxsize, 1000):
        attempt(fastser.dumps, value, kept=kept, max_depth=max_depth)
        if name not in ("shared", "lists in runs", "dicts in runs", "groups", "keys"):
            attempt(fastser.dumps, value, kept=kept, max_depth=max_depth, track_refs=False)
        for frame in frames:
            if frame is not None:
                attempt(fastser.loads, frame, kept=kept, max_depth=max_depth)
                attempt(fastser.loads, bytearray(frame), kept=kept, max_depth=max_depth)
    # What was done before works after.
    assert fastser.loads(fastser.dumps({"a": [1, 2.5, "x"]})) == {"a": [1, 2.5, "x"]}


def attempt(function, argument, *, kept, **options):
    try:
        kept.append(function(argument, **options))
    except fastser.DepthError as error:
        assert str(error).startswith(FIRST_SENTENCE)
        kept.append(None)


@pytest.mark.parametrize("stack", [64, 100, 128, 256, 1024])
def test_no_depth_ends_the_process(stack):
    program = f"import test_depth; test_depth.hammer({stack}, 20000)"
    path = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": path})
    assert result.returncode == 0 and result.stdout.endswith("done\n"), (result.returncode, result.stdout[-100:], result.stderr[-3000:])


def test_a_stack_that_is_full_is_told_as_such():
    deep = nest(NESTED["list"], 50000)
    frames = []
    in_thread(512 << 10, attempt, fastser.dumps, deep, kept=frames, max_depth=sys.maxsize)
    messages = []

    def work():
        for function, argument in ((fastser.dumps, deep), (fastser.loads, frames[0])):
            try:
                function(argument, max_depth=sys.maxsize)
            except fastser.DepthError as error:
                messages.append(str(error))

    in_thread(256, work)
    assert len(messages) == 2
    for message in messages:
        assert message.startswith(FIRST_SENTENCE) and "stack" in message and "max_depth=" in message


def test_deep_data_where_the_stack_allows():
    for name in ("list", "tuple", "record", "dict"):
        deep, found = nest(NESTED[name], 100000), []
        in_thread(512 << 10, lambda: found.append(fastser.loads(fastser.dumps(deep, max_depth=10**6), max_depth=10**6)))
        assert unnest(found[0]) == 100000

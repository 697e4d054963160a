"""What cloudpickle promises, through fastser: code that the reader cannot import travels with the data."""

import subprocess
import sys
import textwrap
import types

import cloudpickle
import numpy as np
import pytest

import fastser
from fastser._core.frame.packed import frame_length

BIG = 20_000  # bytes, well above what rides in a frame's columns


def run(*parts, data=None):
    """Run the parts of a program, one after the other, as `__main__` of a process of its own."""
    command = [sys.executable, "-c", "".join(map(textwrap.dedent, parts))]
    return subprocess.run(command, input=data, capture_output=True)


PACK = """
    import sys, fastser
    def pack(obj, **options):
        sys.stdout.buffer.write(fastser.dumps(obj, **options))
"""


def packed_in_main(*parts):
    """What the parts of a program write, in a process of its own: with `pack(obj)`, a frame."""
    done = run(PACK, *parts)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def next_frame(frames):
    length = frame_length(frames)
    return frames[:length], frames[length:]


def roundtrip(obj, **options):
    return fastser.loads(fastser.dumps(obj, **options))


def module_of(tmp_path, monkeypatch, name, source):
    """An importable module that only this process can find."""
    tmp_path.joinpath(name + ".py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__(name)
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, name, module)
    return module


@pytest.fixture
def by_value():
    """Registers modules whose contents go by value, until the test ends."""
    registered = []

    def register(module):
        cloudpickle.register_pickle_by_value(module)
        registered.append(module)

    yield register
    for module in registered:
        if module.__name__ in cloudpickle.list_registry_pickle_by_value():
            cloudpickle.unregister_pickle_by_value(module)


# --- functions ---------------------------------------------------------------------------------------------------------


def test_the_readmes_examples():
    assert roundtrip(lambda x: x**2)(2) == 4
    frame = packed_in_main(
        """
        CONSTANT = 42
        def my_function(data: int) -> int:
            return data + CONSTANT
        pack(my_function)
        """
    )
    function = fastser.loads(frame)
    assert (function.__name__, function.__module__) == ("my_function", "__main__")
    assert function(43) == 85
    assert function.__annotations__ == {"data": int, "return": int}


def local_functions():
    factor = 3

    def scaled(x, *rest, by=2, **named):
        """Multiplies."""
        return x * by * factor, rest, named

    scaled.note = {"kept": [1, 2]}
    return scaled


def test_a_local_function_with_all_that_belongs_to_it():
    original = local_functions()
    loaded = roundtrip(original)
    assert loaded is not original
    assert loaded(2, 3, by=5, z=1) == (30, (3,), {"z": 1}) == original(2, 3, by=5, z=1)
    assert loaded(2) == (12, (), {})
    for name in ("__name__", "__qualname__", "__doc__", "__module__", "__kwdefaults__", "__defaults__", "__dict__", "__annotations__"):
        assert getattr(loaded, name) == getattr(original, name), name


def test_functions_among_data():
    functions = {"double": lambda x: 2 * x, "triple": lambda x: 3 * x, "builtin": len, "numbers": [1.0, 2.0]}
    loaded = roundtrip([functions, functions])
    assert loaded[0] is loaded[1]
    assert list(loaded[0]) == list(functions)
    assert [loaded[0][name](7) for name in ("double", "triple")] == [14, 21]
    assert loaded[0]["builtin"] is len
    assert loaded[0]["numbers"] == [1.0, 2.0]


def test_one_function_met_twice_is_one():
    function = lambda: 1
    first, second, nested = roundtrip([function, function, {"f": (function,)}])
    assert first is second is nested["f"][0]


def test_importable_functions_go_by_reference():
    frame = fastser.dumps([local_functions, np.linspace, textwrap.dedent])
    assert fastser.loads(frame) == [local_functions, np.linspace, textwrap.dedent]
    assert len(frame) < 300


class Methods(list):
    def plain(self):
        return len(self)

    @classmethod
    def of_class(cls):
        return cls

    @staticmethod
    def static():
        return "static"


@pytest.mark.parametrize("fallback", ["cloudpickle", "pickle"])
@pytest.mark.parametrize(
    "method, arguments",
    [
        (Methods([1, 2]).plain, ()),
        (Methods.plain, (Methods([1]),)),
        (Methods.of_class, ()),
        (Methods.static, ()),
        (Methods([1, 2, 2]).count, (2,)),
        ("abcd".index, ("c",)),
        (str.index, ("abcd", "c")),
        ([1, 2].__len__, ()),
        ({1, 2}.__contains__, (2,)),
        (dict.fromkeys, ("ab", 1)),
        (bytearray.maketrans, (b"a", b"b")),
        (np.ndarray.sum, (np.arange(4),)),
        (np.arange(4).sum, ()),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_methods(method, arguments, fallback):
    first, second = roundtrip([method, method], fallback=fallback)
    assert first is second
    assert type(first) is type(method)
    assert first(*arguments) == method(*arguments)


def test_a_method_keeps_its_object():
    owner = Methods([1, 2])
    method, same, numbers = roundtrip([owner.plain, owner, [owner.append, 3]])
    assert method.__self__ is same
    numbers[0](numbers[1])
    assert (list(same), method()) == ([1, 2, 3], 3)


def test_a_function_that_calls_itself():
    def factorial(n):
        return 1 if n == 0 else n * factorial(n - 1)

    loaded = roundtrip(factorial)
    assert loaded(10) == 3628800
    assert loaded.__closure__[0].cell_contents is loaded


def test_functions_that_call_one_another():
    def even(n):
        return n == 0 or odd(n - 1)

    def odd(n):
        return n != 0 and even(n - 1)

    loaded = roundtrip(even)
    assert [loaded(n) for n in range(4)] == [True, False, True, False]
    other = loaded.__closure__[0].cell_contents
    assert other.__closure__[0].cell_contents is loaded


def test_generators_coroutines_and_nested_functions():
    def counter(start):
        def step(by):
            nonlocal start
            start += by
            return start

        return step

    def numbers(n):
        yield from range(n)

    async def waits():
        return "done"

    made, numbers, waits = roundtrip([counter(10), numbers, waits])
    assert (made(1), made(2)) == (11, 13)
    assert list(numbers(3)) == [0, 1, 2]
    with pytest.raises(StopIteration, match="^done$"):
        waits().send(None)


def test_an_empty_cell_stays_empty():
    def outer():
        inner = lambda: late
        if False:
            late = 1
        return inner

    loaded = roundtrip(outer())
    with pytest.raises(NameError):
        loaded()


def test_decorators_and_default_arguments():
    def traced(function):
        def wrapper(*arguments):
            calls.append(arguments)
            return function(*arguments)

        calls = wrapper.calls = []
        return wrapper

    @traced
    def add(a, b=(1, [2])):
        return a, b

    loaded = roundtrip(add)
    assert loaded(5) == (5, (1, [2]))
    assert loaded.calls == [(5,)]
    assert add.calls == []


# --- globals -----------------------------------------------------------------------------------------------------------


def test_the_globals_that_a_function_uses_and_no_others():
    frame = packed_in_main(
        """
        used = {"key": [1, 2]}
        unused = b"never mentioned " * 10_000
        def through():
            return used["key"]
        def function():
            return through()
        pack(function)
        """
    )
    assert len(frame) < 10_000
    assert b"never mentioned" not in frame
    function = fastser.loads(frame)
    assert function() == [1, 2]
    assert function.__globals__["through"].__globals__ is function.__globals__
    assert "unused" not in function.__globals__


def test_modules_among_the_globals_are_imported():
    frame = packed_in_main(
        """
        import collections.abc, json as encoder, numpy as np
        pack(lambda: (encoder.dumps([1]), np.arange(3).tolist(), collections.abc.Sized.__name__))
        """
    )
    assert fastser.loads(frame)() == ("[1]", [0, 1, 2], "Sized")


def test_a_global_that_changes_is_shared_by_functions_packed_as_one():
    frame = packed_in_main(
        """
        count = 0
        def step():
            global count
            count += 1
            return look()
        def look():
            return count
        pack(step)
        """
    )
    step = fastser.loads(frame)
    assert [step(), step()] == [1, 2]


# --- classes of __main__ -----------------------------------------------------------------------------------------------

CLASSES = """
    import abc, dataclasses, enum, typing

    class Base(abc.ABC):
        __slots__ = ()
        registry = []
        @abc.abstractmethod
        def area(self): ...

    class Square(Base):
        "A square."
        __slots__ = ("side", "__dict__")
        def __init__(self, side):
            self.side = side
            self.calls = 0
        def area(self):
            return self.side ** 2
        @property
        def double(self):
            return 2 * self.side
        @classmethod
        def unit(cls):
            return cls(1)
        @staticmethod
        def name():
            return "square"
        def __eq__(self, other):
            return type(other) is type(self) and self.side == other.side
        def parent(self):
            return super().area, __class__

    @dataclasses.dataclass(frozen=True)
    class Point:
        x: float
        y: float = 2.0

    class Color(enum.Enum):
        RED = 1
        BLUE = "b"

    class Pair(typing.NamedTuple):
        left: int
        right: str = "r"

    class Custom:
        def __init__(self, secret):
            self.secret = secret
        def __getstate__(self):
            return [self.secret]
        def __setstate__(self, state):
            self.secret, = state
            self.restored = True

    class Lists(list):
        pass
"""


def test_classes_of_main_come_with_their_instances():
    frame = packed_in_main(
        CLASSES,
        """
        lists = Lists([1, 2])
        lists.tag = "t"
        pack({"square": Square(3), "point": Point(1.0), "color": Color.BLUE, "pair": Pair(1), "custom": Custom("s"),
              "lists": lists, "class": Square, "colors": [Color.RED, Color.BLUE, Color.RED]})
        """,
    )
    loaded = fastser.loads(frame)
    square, Square = loaded["square"], loaded["class"]
    assert type(square) is Square
    assert (Square.__name__, Square.__module__, Square.__doc__) == ("Square", "__main__", "A square.")
    assert (square.side, square.calls, square.area(), square.double) == (3, 0, 9, 6)
    assert (Square.unit(), Square.name()) == (Square(1), "square")
    assert square.parent()[1] is Square
    assert Square.__mro__[1].registry == []
    with pytest.raises(TypeError, match="abstract"):
        Square.__mro__[1]()
    point = loaded["point"]
    assert (point.x, point.y, type(point)(1.0, 2.0) == point) == (1.0, 2.0, True)
    with pytest.raises(AttributeError):
        point.x = 5
    color = loaded["color"]
    assert (color.name, color.value) == ("BLUE", "b")
    red, blue, again = loaded["colors"]
    assert blue is color
    assert red is again is type(color).RED
    pair = loaded["pair"]
    assert (pair, pair._fields, pair.right) == ((1, "r"), ("left", "right"), "r")
    assert (loaded["custom"].secret, loaded["custom"].restored) == ("s", True)
    lists = loaded["lists"]
    assert (list(lists), lists.tag, type(lists).__mro__[1]) == ([1, 2], "t", list)


def test_a_class_of_main_loaded_twice_is_one_class():
    frame = packed_in_main(CLASSES, "pack([Square(1), Point(0.0), Color.RED])")
    first, second = fastser.loads(frame), fastser.loads(frame)
    assert [type(one) is type(other) for one, other in zip(first, second, strict=True)] == [True] * 3
    assert first[0] == second[0]
    assert first[2] is second[2]


def test_what_main_sent_can_be_sent_on():
    frame = packed_in_main(CLASSES, "pack([Square(4), Square.area])")
    square, area = fastser.loads(fastser.dumps(fastser.loads(frame)))
    assert square.area() == area(square) == 16


def test_there_and_back_again():
    there = "import sys, fastser; sys.stdout.buffer.write(fastser.dumps(fastser.loads(sys.stdin.buffer.read())))"
    done = run(
        PACK,
        CLASSES,
        f"""
        import subprocess
        sent = [Square(3), Point(1.0), Color.RED, Pair(4), Custom("s"), Lists([1]), Square]
        there = subprocess.run([sys.executable, "-c", {there!r}], input=fastser.dumps(sent), stdout=subprocess.PIPE, check=True)
        back = fastser.loads(there.stdout)
        assert [type(obj) for obj in back] == [type(obj) for obj in sent], back
        assert back[:4] == sent[:4]
        assert back[2] is Color.RED
        assert back[6] is Square
        """,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_a_script_is_main_too(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("".join(map(textwrap.dedent, (PACK, CLASSES, "pack([Square(5), lambda square: square.area()])"))))
    done = subprocess.run([sys.executable, script], capture_output=True, check=True)
    square, function = fastser.loads(done.stdout)
    assert function(square) == 25


def test_by_the_rules_of_pickle_main_is_imported():
    frame = packed_in_main(CLASSES, "pack([Square(1), Point(0.0)], fallback='pickle')")
    with pytest.raises(fastser.DecodeError, match="Square|Point"):
        fastser.loads(frame)
    use = "import sys, fastser; square, point = fastser.loads(sys.stdin.buffer.read()); print(square.area(), point.y)"
    assert run(CLASSES, use, data=frame).stdout.split() == [b"1", b"2.0"]


def test_classes_that_refer_to_one_another():
    frame = packed_in_main(
        """
        class Tree:
            def __init__(self, *children):
                self.children = children
            def leaves(self):
                return sum(child.leaves() for child in self.children)
            def grow(self):
                return Tree(self, Leaf())
        class Leaf(Tree):
            parent = Tree
            def leaves(self):
                return 1
        Tree.leaf = Leaf
        def forest(n):
            return [Tree(Leaf(), Leaf()) for _ in range(n)] + [forest]
        pack([Tree(Leaf(), Tree(Leaf())), forest])
        """
    )
    tree, forest = fastser.loads(frame)
    assert tree.leaves() == 2
    assert tree.grow().leaves() == 3
    Tree, Leaf = type(tree), type(tree).leaf
    assert Leaf.parent is Tree is Leaf.__mro__[1]
    assert [type(tree) for tree in forest(2)[:-1]] == [Tree, Tree]
    assert forest(1)[-1] is forest


def test_classes_in_functions_and_their_metaclasses():
    def make(base):
        class Meta(type):
            def __call__(cls, *arguments):
                made = super().__call__(*arguments)
                made.made_by = cls
                return made

        class Local(base, metaclass=Meta):
            class Inner:
                depth = 2

            def itself(self):
                return Local

        return Local

    cls = make(dict)
    loaded = roundtrip([cls([("a", 1)]), cls, cls.Inner()])
    assert loaded[0] == {"a": 1}
    assert type(loaded[0]) is loaded[1] is cls  # in one process a class stays the one that it is
    assert loaded[0].made_by is cls
    assert loaded[2].depth == 2
    assert loaded[0].itself() is cls


@pytest.mark.parametrize(
    "make, check",
    [
        ("Square(i)", lambda last: last.area() == 999**2),
        ("Point(float(i))", lambda last: last.x == 999.0),
        ("Pair(i)", lambda last: last.left == 999),
        ("Custom(i)", lambda last: last.secret == 999 and last.restored),
        ("Lists([i])", lambda last: last == [999]),
        ("[Color.RED, Color.BLUE][i % 2]", lambda last: last is type(last).BLUE),
    ],
    ids=["slots", "dataclass", "namedtuple", "getstate", "list", "enum"],
)
def test_a_class_of_main_is_written_once(make, check):
    frames = packed_in_main(
        CLASSES,
        f"""
        for track_refs in (True, False):
            for n in (10, 1000):
                pack([{make} for i in range(n)], track_refs=track_refs)
        """,
    )
    for track_refs in (True, False):
        few, frames = next_frame(frames)
        many, frames = next_frame(frames)
        assert len(fastser.loads(few)) == 10
        assert len(many) - len(few) < 990 * 40, track_refs  # a number or two each, and no code
        loaded = fastser.loads(many)
        assert (len(loaded), len(set(map(type, loaded)))) == (1000, 1)
        assert check(loaded[-1])


# --- by value, by request ----------------------------------------------------------------------------------------------

LIBRARY = """
    OFFSET = 100
    def helper(x):
        return x + OFFSET
    def my_function(x):
        return helper(x)
    class Thing:
        def __init__(self, value):
            self.value = value
        def shifted(self):
            return my_function(self.value)
"""
USE = """
    import sys, fastser
    function, thing, cls = fastser.loads(sys.stdin.buffer.read())
    print(function(1), thing.shifted(), type(thing) is cls)
"""


def elsewhere(frame):
    """What a process makes of a frame that cannot import what this one can."""
    return run(USE, data=frame)


def test_register_pickle_by_value(tmp_path, monkeypatch, by_value):
    library = module_of(tmp_path, monkeypatch, "fastser_test_library", LIBRARY)
    objects = [library.my_function, library.Thing(5), library.Thing]

    by_reference = fastser.dumps(objects)
    assert fastser.loads(by_reference)[0] is library.my_function
    refused = elsewhere(by_reference)
    assert refused.returncode != 0
    assert b"DecodeError" in refused.stderr
    assert b"fastser_test_library" in refused.stderr

    by_value(library)
    frame = fastser.dumps(objects)
    done = elsewhere(frame)
    assert done.stdout.split() == [b"101", b"105", b"True"], done.stderr

    cloudpickle.unregister_pickle_by_value(library)
    assert fastser.dumps(objects) == by_reference
    assert elsewhere(fastser.dumps(objects)).returncode != 0


def test_register_pickle_by_value_of_a_package(tmp_path, monkeypatch, by_value):
    package = tmp_path / "fastser_test_package"
    package.mkdir()
    package.joinpath("__init__.py").write_text("")
    package.joinpath("inner.py").write_text(textwrap.dedent(LIBRARY))
    monkeypatch.syspath_prepend(tmp_path)
    inner = __import__("fastser_test_package.inner").inner
    by_value(sys.modules["fastser_test_package"])
    done = elsewhere(fastser.dumps([inner.my_function, inner.Thing(5), inner.Thing]))
    assert done.stdout.split() == [b"101", b"105", b"True"], done.stderr
    for name in ("fastser_test_package", "fastser_test_package.inner"):
        monkeypatch.delitem(sys.modules, name)


def test_a_plan_made_before_the_module_was_registered_is_not_kept(tmp_path, monkeypatch, by_value):
    library = module_of(tmp_path, monkeypatch, "fastser_test_replanned", LIBRARY)
    things = [library.Thing(i) for i in range(3)]
    sizes = [len(fastser.dumps(things))]
    by_value(library)
    sizes.append(len(fastser.dumps(things)))
    cloudpickle.unregister_pickle_by_value(library)
    sizes.append(len(fastser.dumps(things)))
    assert sizes[0] == sizes[2] < sizes[1]


def test_other_fallbacks_disregard_the_registry(tmp_path, monkeypatch, by_value):
    library = module_of(tmp_path, monkeypatch, "fastser_test_unmoved", LIBRARY)
    by_reference = fastser.dumps(library.Thing(1), fallback="pickle")
    by_value(library)
    assert fastser.dumps(library.Thing(1), fallback="pickle") == by_reference


# --- modules -----------------------------------------------------------------------------------------------------------


def test_modules():
    assert roundtrip([np, subprocess, sys]) == [np, subprocess, sys]


def test_a_dynamic_module_goes_by_value():
    module = types.ModuleType("made_up", "Made up.")
    exec("import math\nanswer = 42\ndef ask(): return math.floor(answer)\n", module.__dict__)
    loaded = roundtrip(module)
    assert type(loaded) is types.ModuleType
    assert (loaded.__name__, loaded.__doc__, loaded.answer) == ("made_up", "Made up.", 42)
    assert loaded.ask() == 42
    assert "made_up" not in sys.modules


def test_a_function_of_a_dynamic_module():
    module = types.ModuleType("made_up_too")
    exec("answer = 42\ndef ask(): return answer\n", module.__dict__)
    assert roundtrip(module.ask)() == 42


# --- buffers -----------------------------------------------------------------------------------------------------------


def views(frame, array):
    memory = np.frombuffer(frame, np.uint8)
    return np.shares_memory(memory, array)


def test_an_array_in_a_closure_is_referenced_and_comes_back_as_a_copy():
    big = np.arange(BIG, dtype=np.float64)
    frame = fastser.dumps({"function": lambda i: big[i], "number": 1})
    assert big.nbytes < len(frame) < big.nbytes + 2000
    loaded = fastser.loads(frame)
    (cell,) = loaded["function"].__closure__
    array = cell.cell_contents
    assert not views(frame, array)
    array[0] = 5
    assert loaded["function"](0) == 5 and loaded["function"](BIG - 1) == BIG - 1
    (cell,) = fastser.loads(frame, writable=False)["function"].__closure__
    array = cell.cell_contents
    assert views(frame, array) and array[0] == 0 and not array.flags.writeable
    assert (array.ctypes.data - np.frombuffer(frame, np.uint8).ctypes.data) % 64 == 0
    addresses = [np.frombuffer(buffer, np.uint8).ctypes.data for buffer in fastser.pack(lambda i: big[i]).buffers()]
    assert big.ctypes.data in addresses


def test_arrays_in_globals_defaults_attributes_and_classes_are_copies_and_in_fields_views():
    frame = packed_in_main(
        f"""
        import numpy as np
        def array(start):
            return np.arange(start, start + {BIG})
        in_globals = array(1)
        class Holder:
            in_class = array(2)
            def __init__(self):
                self.in_fields = array(3)
        def function(in_default=array(4)):
            return in_globals
        function.in_attribute = array(5)
        pack([function, Holder(), Holder])
        """
    )
    for writable in (None, False, True):
        function, holder, Holder = fastser.loads(frame, writable=writable)
        arrays = [function(), Holder.in_class, holder.in_fields, function.__defaults__[0], function.in_attribute]
        for start, array in enumerate(arrays, 1):
            np.testing.assert_array_equal(array, np.arange(start, start + BIG))
            if start == 2 and writable is not None:
                continue  # the class is that which was made first
            assert views(frame, array) is (start == 3 if writable is None else not writable), start
            assert array.flags.writeable is not views(frame, array)


def test_one_array_met_within_one_function_is_one():
    big = np.arange(BIG)

    def first():
        return big

    def second():
        return big, first

    frame = fastser.dumps([second])
    array, function = fastser.loads(frame)[0]()
    assert function() is array
    assert len(frame) < big.nbytes + 3000


# --- what cannot be carried --------------------------------------------------------------------------------------------


def test_what_stands_in_the_way_is_named():
    import threading

    lock = threading.Lock()
    with pytest.raises(fastser.EncodeError, match=r"cannot pack the _thread.lock at \$\.jobs\[1\]\.__closure__\[0\]\.cell_contents: .*cannot pickle '_thread.lock' object"):
        fastser.dumps({"jobs": [1, lambda: lock]})


@pytest.mark.parametrize("fallback", ["pickle", None])
def test_functions_are_refused_where_cloudpickle_is_not_asked(fallback):
    with pytest.raises(fastser.EncodeError, match=r"cannot pack the function at \$\[1\]"):
        fastser.dumps([1, lambda: 1], fallback=fallback)


def test_safe_refuses_functions_before_anything_happens():
    frame = packed_in_main("pack([1, lambda: 1])")
    with pytest.raises(fastser.UnsafeDataError):
        fastser.loads(frame, safe=True)

"""What newer Pythons put into functions and classes goes by value as well, and nothing of it is evaluated to be packed.

Programs pack what they define in `__main__`; a process without the program reads it. Both describe what they have.
"""

import json
import subprocess
import sys
import textwrap
import typing

import pytest

import fastser

pytestmark = pytest.mark.core

since_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters and aliases came with Python 3.12")
since_14 = pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated late from Python 3.14 on")
since_15 = pytest.mark.skipif(sys.version_info < (3, 15), reason="lazy imports and sentinels came with Python 3.15")

START = """
import json, sys, fastser
def pack(obj):
    sys.stdout.write(fastser.dumps(obj).hex() + "\\n")
"""


def run(program, data="", *, folder=None):
    command = [sys.executable, "-W", "error", "program.py"] if folder else [sys.executable, "-W", "error", "-c", program]
    if folder:
        folder.joinpath("program.py").write_text(program)
    done = subprocess.run(command, input=data, capture_output=True, text=True, cwd=folder)
    assert (done.stderr, done.returncode) == ("", 0), done.stderr
    return done.stdout


def written(program):
    """What a program packs, as the text that `read` takes."""
    return run(START + textwrap.dedent(program))


def read(frames, program):
    """What a process prints that has `loaded`, and nothing of the program that wrote it."""
    first = "loaded = [fastser.loads(bytes.fromhex(line)) for line in sys.stdin.read().split()]\n"
    return run(START + first + textwrap.dedent(program), frames)


# --- annotations --------------------------------------------------------------------------------------------------------

DESCRIBE = r"""
import annotationlib, re
from annotationlib import Format
def attempt(ask, *arguments):
    try:
        found = ask(*arguments)
    except Exception as error:
        found = error
    return re.sub(" at 0x[0-9a-f]+", "", repr(found))
def describe(obj):
    "What can be asked of annotations; the values last, since they are kept."
    yield obj.__annotate__ is None
    for format in (Format.STRING, Format.FORWARDREF, Format.VALUE):
        yield attempt(lambda: annotationlib.get_annotations(obj, format=format))
        if obj.__annotate__ is not None:
            yield attempt(lambda: annotationlib.call_annotate_function(obj.__annotate__, format, owner=obj))
        for parameter in obj.__type_params__:
            for part in ("bound", "constraints", "default"):
                evaluate = getattr(parameter, f"evaluate_{part}", None)
                if evaluate is not None:
                    yield part, attempt(annotationlib.call_evaluate_function, evaluate, format)
            yield attempt(lambda: (parameter.__bound__, parameter.__infer_variance__, parameter.__default__))
    yield attempt(lambda: obj.__annotations__)
    yield attempt(lambda: [value is parameter for value in obj.__annotations__.values() for parameter in obj.__type_params__])
"""

DEFINITIONS = {
    "missing": "def made(x: Missing, y: int = 1, *, z: list[Missing] = ()) -> 'Later': return x",
    "found": "Found = dict\ndef made(x: Found[str, int], y: json.JSONDecoder): ...",
    "never asked": "def made(x: evaluated.append(1)): ...",
    "none": "def made(x, y=1): return x",
    "local": "def outer(T):\n def inner(x: T, y: Missing): return T\n return inner\nmade = outer(bytes)",
    "cell of nothing": "def outer():\n def inner(x: late): ...\n return inner\n late = 1\nmade = outer()",
    "maker": "class Used: ...\ndef made(T):\n class Inner:\n  x: Used\n  y: T\n  z: Missing\n return Inner",
    "wrapped": "import functools\ndef inner(x: Missing) -> int: ...\n@functools.wraps(inner)\ndef made(*a): return inner(*a)",
    "generic": "def made[T: Missing, S: (int, Missing), *Ts, **P, D = Missing](x: T, y: S, *a: P.args, **k: P.kwargs) -> D: ...",
    "assigned": "def made(x: Missing): ...\nmade.__annotations__ = {'x': int, 'y': [1]}",
    "assigned generic": "def made[T](x: T): ...\nmade.__annotations__ = {'x': int}",
    "cached": "T = int\ndef made(x: T): ...\nmade.__annotations__\nT = str",
    "changed": "def made(x: int): ...\nmade.__annotations__['x'] = bytes\nmade.__annotations__['more'] = str",
    "changed and local": "def outer(T):\n def inner(x: T): ...\n return inner\nmade = outer(int)\nmade.__annotations__['x'] = str",
    "given": "class Given:\n def __call__(self, format): return {'x': format}\ndef made(x): ...\nmade.__annotate__ = Given()",
    "attributes": "def made(x: Missing, *, y: int = 5): 'Text.'\nmade.tag = {'annotations': 1}\nmade.__kwdefaults__['y'] = 6",
    "calls itself": "def made(x: 'made', y: Kept, z: Missing): return made\nclass Kept:\n def again(self) -> made: ...",
    "class": "class made:\n x: Missing\n y: int = 1\n def method(self) -> Missing: ...",
    "empty class": "class made: ...",
    "class scope": "Name = int\nclass made:\n Name = str\n x: Name\n y: Missing\n z: Global\nGlobal = bytes",
    "method in class scope": "class Owner:\n Name = str\n def made(self, x: Name, y: Owner, z: Missing): ...\nmade = Owner.made",
    "recursive": "class made:\n next: made | None\n all: list[made]\n missing: Missing",
    "derived": "class Base:\n x: Missing\nclass made(Base):\n y: Base",
    "assigned class": "class made:\n x: Missing\nmade.__annotations__ = {'x': int}",
    "cached class": "T = int\nclass made:\n x: T\nmade.__annotations__\nT = str",
    "conditional": "class made:\n if json:\n  x: Missing\n else:\n  y: int",
    "generic class": "class made[T: Missing, D = made]:\n x: T\n y: D\n def method(self, x: T) -> made[T]: ...",
    "generic method": "class Owner[T]:\n Name = int\n def method[S: Name](self, x: T, y: S, z: Name): ...\nmade = Owner.method",
    "bound to itself": "class made[T: made]:\n x: T",
    "dataclass": "import dataclasses\n@dataclasses.dataclass\nclass made:\n x: Missing\n y: list[Missing]\n z: int = 1",
    "slots": "import dataclasses\n@dataclasses.dataclass(slots=True, kw_only=True)\nclass made:\n x: Missing\n y: made = None",
    "defaults": "def made[T = int, *Ts = *tuple[Missing], **P = [Missing]](x: T, *a: *Ts): ...",
    "generic named tuple": "from typing import NamedTuple\nclass made[T](NamedTuple):\n x: T\n y: Missing",
    "generic protocol": "from typing import Protocol\nclass made[T: Missing](Protocol):\n x: T\n def method[S](self: S) -> T: ...",
    "derived generic": "class Base[T]:\n x: T\nclass made[S: Missing](Base[S]):\n y: S\n z: Base[made[int]]",
    "old generic": "from typing import *\nT = TypeVar('T', bound='Missing')\nclass made(Generic[T]):\n x: T\n y: list[Missing]",
    "annotated": "from typing import *\ndef made(x: Annotated[int, Missing], y: Literal['a'], *a: Unpack[tuple[Missing]]): ...",
    "comprehension": "class Owner:\n All = [int]\n def made(self, x: [n for n in All], y: (lambda: Owner)): ...\nmade = Owner.made",
    "its init": "import dataclasses\n@dataclasses.dataclass\nclass Owner:\n x: Missing\n z: int = 1\nmade = Owner.__init__",
    "named tuple": "from typing import NamedTuple\nclass made(NamedTuple):\n x: int\n y: 'Missing'\n z: Missing = 1",
    "protocol": "from typing import Protocol\nclass made(Protocol):\n x: Missing\n def method(self) -> Missing: ...",
    "typed dict": "from typing import TypedDict, Required\nclass made(TypedDict, total=False):\n x: Missing\n y: Required[int]",
    "enum": "import enum\nclass made(enum.Enum):\n x: Missing\n A = 1",
    "strings": "exec(compile('from __future__ import annotations\\ndef made(x: Missing, y: int): ...', '', 'exec'), globals())",
    "strings of a class": "exec(compile('from __future__ import annotations\\nclass made:\\n x: Missing', '', 'exec'), globals())",
}


@pytest.fixture(scope="module")
def described():
    """By name: what the program says of its own, what the reader does, and what one does that was sent on twice."""
    program = START + DESCRIBE + "evaluated, made_by_name, lines = [], {}, []\n"
    program += "SKIP = {'__builtins__', '__name__'}\n"
    for name, text in DEFINITIONS.items():
        # Each in globals of its own, which say that they are those of __main__.
        program += f"scope = dict(globals()); exec({text!r}, scope); made_by_name[{name!r}] = scope['made']\n"
    program += "lines = [fastser.dumps({'deep': [made, made]}).hex() for made in made_by_name.values()]\n"
    program += "assert evaluated == []\n"
    program += "print(json.dumps([lines, [[*describe(made)] for made in made_by_name.values()]]))"
    lines, here = json.loads(run(program))
    again = """
    loaded = [item["deep"] for item in loaded]
    assert all(first is second for first, second in loaded)
    lines = [fastser.dumps({"deep": made}).hex() for made in loaded]
    print(json.dumps([lines, [[*describe(made)] for made, _ in loaded]]))
    """
    lines, there = json.loads(read("\n".join(lines), DESCRIBE + textwrap.dedent(again)))
    lines, further = json.loads(read("\n".join(lines), DESCRIBE + textwrap.dedent(again)))
    return dict(zip(DEFINITIONS, zip(here, there, further, strict=True), strict=True))


@since_14
@pytest.mark.parametrize("name", DEFINITIONS)
def test_annotations_are_those_of_the_original(described, name):
    here, there, further = described[name]
    assert there == here
    assert further == here


@since_14
def test_the_descriptions_tell_something(described):
    here = {name: str(description) for name, (description, *_) in described.items()}
    assert "NameError" in here["missing"] and "ForwardRef('Missing'" in here["missing"] and "'list[Missing]'" in here["missing"]
    assert here["cached"].count("<class 'int'>") > 1 and "'x': 'T'" in here["cached"]
    assert "<class 'str'>" in here["class scope"] and "True" in here["generic method"]


@since_14
def test_what_was_made_works():
    frames = written(
        """
        import dataclasses, functools
        def plain(x: Missing, *, by: Missing = 3): return x * by
        class Used: ...
        def maker():
            class Inner:
                x: Used
            return Inner
        @dataclasses.dataclass
        class Point:
            x: Missing
            other: Point | None = None
        plain.tag = [1]
        def of_object(x): ...
        class Given:
            def __call__(self, format): return {"x": int}
        of_object.__annotate__ = Given()
        of_object.__annotations__["x"] = str
        partial = functools.partial(plain, 5)
        pack([plain, partial, maker, Point(1, Point(2)), Point, Used, of_object])
        """
    )
    use = """
    plain, partial, maker, point, Point, Used, of_object = loaded[0]
    assert (plain(2), partial(by=2), plain.tag) == (6, 10, [1])
    assert of_object.__annotations__ == {"x": str}
    assert maker().__annotations__ == {"x": Used}
    assert point == Point(1, Point(2)) and type(point) is Point and repr(point) == "Point(x=1, other=Point(x=2, other=None))"
    assert "Missing" not in plain.__globals__
    plain.__globals__["Missing"] = bytes
    assert plain.__annotations__ == {"x": bytes, "by": bytes}
    """
    read(frames, use)


@since_14
def test_attrs_classes_with_slots():
    pytest.importorskip("attrs")
    frames = written(
        """
        import attrs
        @attrs.define
        class Point:
            x: Missing
            y: list[Missing] = None
        pack([Point(1), Point])
        """
    )
    use = """
    point, Point = loaded[0]
    assert type(point) is Point and repr(point) == "Point(x=1, y=None)"
    assert [field.type.__forward_arg__ for field in Point.__attrs_attrs__[:1]] == ["Missing"]
    """
    read(frames, use)


def test_a_weak_reference_to_a_class():
    frames = written("import weakref\nclass A: ...\nclass B: a = weakref.ref(A)\npack([A, B])")
    read(frames, "A, B = loaded[0]; assert B.a() is A")
    refused = "import weakref\nclass A: ...\na = A()\nref = weakref.ref(a)\npack(lambda: ref)"
    with pytest.raises(AssertionError, match="cannot pickle .*weakref"):
        written(refused)


@since_14
def test_annotations_take_no_globals_along_that_they_do_not_name():
    frames = written(
        """
        import dataclasses, threading
        lock = threading.Lock()
        text = "never mentioned " * 10_000
        @dataclasses.dataclass
        class Some:
            lock: Missing
            text: list[Missing]
            def method(self, x: Missing): ...
        pack([Some])
        """
    )
    assert len(frames) < 20_000
    use = """
    Some, = loaded[0]
    assert Some(1, 2).lock == 1
    assert "lock" not in Some.__annotate__.__globals__
    first, second = Some.__dataclass_fields__.values()
    assert first.type.__forward_arg__ == "Missing" and first.type.__owner__ is Some and "lock" not in first.type.__globals__
    assert second.type.__args__[0].evaluate(globals={"Missing": int}) is int
    """
    read(frames, use)


# --- type parameters, aliases, and what else is one object --------------------------------------------------------------

PARAMETERS = """
    from typing import Generic, NewType, ParamSpec, TypeVar
    T = TypeVar("T")
    Bound = TypeVar("Bound", bound=int)
    Either = TypeVar("Either", str, bytes)
    Out = TypeVar("Out", covariant=True)
    P = ParamSpec("P")
    UserId = NewType("UserId", int)
    class Box(Generic[T]):
        def get(self) -> T: ...
    def first(x: list[T], *args: P.args, **kwargs: P.kwargs) -> UserId: ...
    made = [T, Bound, Either, Out, P, UserId, Box, first, {"deep": (T, Box[T], UserId, P.args)}, Box()]
"""


def test_type_variables_of_main():
    use = """
    first, second = loaded
    assert [a is b for a, b in zip(first[:8], second[:8])] == [True] * 7 + [False]
    T, Bound, Either, Out, P, UserId, Box, function, deep, box = first
    assert [one.__name__ for one in first[:6]] == ["T", "Bound", "Either", "Out", "P", "UserId"]
    assert {one.__module__ for one in first[:6]} == {"__main__"}
    assert (T.__bound__, T.__constraints__, T.__covariant__) == (None, (), False)
    assert (Bound.__bound__, Either.__constraints__, Out.__covariant__) == (int, (str, bytes), True)
    assert UserId.__supertype__ is int and UserId("5") == "5"
    assert Box.__parameters__ == (T,) and Box.get.__annotations__["return"] is T and type(box) is Box
    assert function.__annotations__["x"] == list[T] and function.__annotations__["return"] is UserId
    assert function.__annotations__["args"].__origin__ is P
    assert deep["deep"] == (T, Box[T], UserId, P.args) and deep["deep"][2] is UserId
    pack(first[:6])
    assert [fastser.explain(one).plan for one in first[:8]] == ["VALUE"] * 8
    """
    program = PARAMETERS + "    import subprocess\n    pack(made); pack(made)\n"
    frames = written(program)
    read(frames, use)
    # In the process that made them, and there and back again.
    there = START + "made = fastser.loads(bytes.fromhex(sys.stdin.read()))\npack(made[:6])"
    back = f"""
    import subprocess
    assert [a is b for a, b in zip(fastser.loads(fastser.dumps(made)), made)][:7] == [True] * 7
    done = subprocess.run([sys.executable, "-c", {there!r}], input=fastser.dumps(made).hex(), capture_output=True, text=True)
    assert [a is b for a, b in zip(fastser.loads(bytes.fromhex(done.stdout)), made)] == [True] * 6
    """
    written(PARAMETERS + back)


@since_12
def test_type_parameters():
    frames = written(
        """
        def function[T, *Ts, **P](x: T, *args: *Ts) -> list[T]: return x
        class Box[T: int]:
            def get[S: (str, bytes)](self, x: S) -> T: ...
        pack([function, Box, Box[int], Box()])
        """
    )
    use = """
    function, Box, alias, box = loaded[0]
    T, Ts, P = function.__type_params__
    assert list(map(repr, (T, Ts, P))) == ["T", "Ts", "P"] and T.__infer_variance__
    assert function.__annotations__ == {"x": T, "args": typing.Unpack[Ts], "return": list[T]} and function(3) == 3
    B, = Box.__type_params__
    S, = Box.get.__type_params__
    assert B.__bound__ is int and S.__constraints__ == (str, bytes) and Box.get.__annotations__ == {"x": S, "return": B}
    assert Box.__parameters__ == (B,) and alias == Box[int] and type(box) is Box
    """
    read(frames, "    import typing\n" + use)


@since_14
def test_a_class_that_is_there_keeps_what_its_annotations_will_find():
    written(
        """
        class Node:
            next: Later
            def method(self, x: Later): ...
        def given(format): return {"x": format}
        assert fastser.loads(fastser.dumps([Node, Node()]))[0] is Node
        class Later: ...
        assert Node.__annotations__ == {"next": Later}
        frame = fastser.dumps(Node)
        Node.__annotate__ = given
        assert fastser.loads(frame) is Node and Node.__annotate__ is given  # nothing is patched back
        """
    )


@pytest.mark.parametrize(
    "definition",
    [
        "class Made:\n    def go(self) -> None: return 5",
        "class Made(abc.ABC):\n    def go(self) -> None: return 5",
        "class Made(typing.Protocol):\n    next: 'Made'\n    def go(self) -> None: return 5",
        "class Made:\n    @property\n    def it(self) -> 'int': return 5\n    def go(self): return self.it",
        "@dataclasses.dataclass\nclass Made:\n    kids: 'list[Made]' = ()\n    def go(self) -> 'int': return 5",
        "@dataclasses.dataclass(slots=True)\nclass Made:\n    kids: 'list[Made]' = ()\n    def go(self) -> 'int': return 5",
        "class Made(Exception):\n    a: 'b' = 1\n    def go(self) -> None: return 5",
        "def maker():\n    class Made:\n        a: 'b' = 1\n        def go(self) -> None: return 5\n    return Made\nMade = maker()",
        "class Held:\n    lock = threading.Lock()\n    data = bytes(10_000_000)\n    @staticmethod\n    def go() -> None: return 5\nclass Made:\n    go = Held.go",
    ],
)
def test_annotations_that_name_nothing(definition):
    """Late code of a class sees its whole namespace: none of that goes along."""
    start = "import abc, dataclasses, threading, typing\n"
    made = "Made" if "Held" in definition or "Protocol" in definition else "Made()"
    frames = written(start + textwrap.dedent(definition) + f"\npack({made})\nassert len(fastser.dumps({made})) < 100_000\n")
    call = "made.go()" if "Held" in definition else "type('Child', (made,), {})().go()" if "Protocol" in definition else "made.go()"
    assert read(frames, f"made, = loaded; print({call})") == "5\n"


def test_type_variables_of_typing_extensions():
    """They are those of typing, with attributes that its constructors may not know."""
    pytest.importorskip("typing_extensions")
    frames = written("""
        import typing_extensions as te
        pack([te.TypeVar("A"), te.TypeVar("B", default=int), te.TypeVar("C", bound=str, infer_variance=True), te.ParamSpec("P")])
        if sys.version_info >= (3, 11):  # before, its class is not typing's, and nothing carries it
            pack(te.TypeVarTuple("Ts"))
    """)
    program = """
        (a, b, c, p), *ts = loaded
        print([one.__name__ for one in (a, b, c, p, *ts)], b.__default__, c.__bound__, c.__infer_variance__)
    """
    names = ["A", "B", "C", "P", "Ts"][: 4 + (sys.version_info >= (3, 11))]
    assert read(frames, program) == f"{names} <class 'int'> <class 'str'> True\n"


def test_an_annotate_function_that_was_called_comes_whole():
    if sys.version_info < (3, 14):
        pytest.skip("annotations are evaluated late from Python 3.14 on")
    frames = written("""
        def annotate(format, /, *, k=5):
            return {"x": k}
        annotate.tag = "mine"
        def f(x): return x
        f.__annotate__ = annotate
        assert f.__annotations__ == {"x": 5}
        pack(f)
    """)
    program = "f, = loaded; print(f.__annotate__(1), f.__annotate__.tag, f.__annotate__.__name__, f.__annotations__)"
    assert read(frames, program) == "{'x': 5} mine annotate {'x': 5}\n"


@since_12
def test_an_alias_whose_value_is_a_function():
    frames = written("""
        import typing
        def value(): return 3
        pack(typing.TypeAliasType("Named", value))
    """)
    assert read(frames, "alias, = loaded; print(alias, alias.__value__())") == "Named 3\n"


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there is no fork")
def test_a_child_that_is_forked_while_another_thread_loads():
    program = """
        import os, signal, threading, typing, fastser
        frame = fastser.dumps([typing.NewType(f"Id{i}", int) for i in range(50)])
        done = False
        def load():
            while not done:
                fastser.loads(frame)
        thread = threading.Thread(target=load)
        thread.start()
        codes = set()
        for _ in range(150):
            pid = os.fork()
            if not pid:
                signal.alarm(20)
                fastser.loads(frame)
                os._exit(0)
            codes.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        done = True
        thread.join()
        print(codes)
    """
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("{0}\n", 0), done.stderr


@pytest.mark.skipif(sys.version_info < (3, 13), reason="defaults came with Python 3.13")
def test_defaults_of_type_variables():
    made = typing.TypeVar("made", default=int), typing.TypeVarTuple("made", default=typing.Unpack[tuple[int]])
    frames = written("from typing import *\npack([TypeVar('A', default=int), ParamSpec('B', default=[int]), TypeVar('C')])")
    read(frames, "A, B, C = loaded[0]; assert A.__default__ is int and B.__default__ == [int] and not C.has_default()")
    assert fastser.loads(fastser.dumps(made)) == made


ALIASES = """
    import typing
    type Number = int | float
    type Tree[T] = list[Tree[T]] | T
    type Late = Missing
    type Mutual = list[Other]
    type Other = dict[str, Mutual]
    type Many[T, *Ts, **P] = tuple[T, *Ts]
    Given = typing.TypeAliasType("Given", list[int])
    class Owner:
        Name = str
        type Inner = list[Name]
    def local():
        here = bytes
        type Local = dict[here, Local]
        return Local
    def function(x: Number) -> Tree[int]: ...
    made = [Number, Tree, Late, Mutual, Other, Many, Given, Owner.Inner, local(), function, {"deep": (Tree, list[Tree[int]])}]
"""


@since_12
def test_aliases_of_main():
    use = """
    first, second = loaded
    assert [a is b for a, b in zip(first[:9], second[:9])] == [True] * 9
    Number, Tree, Late, Mutual, Other, Many, Given, Inner, Local, function, deep = first
    assert {type(one).__name__ for one in first[:9]} == {"TypeAliasType"}
    assert [one.__name__ for one in first[:9]] == "Number Tree Late Mutual Other Many Given Inner Local".split()
    assert {one.__module__ for one in first[:9]} == {"__main__"}
    assert Number.__value__ == int | float
    T, = Tree.__type_params__
    assert Tree.__value__ == list[Tree[T]] | T and repr(T) == "T"
    assert Mutual.__value__ == list[Other] and Other.__value__ == dict[str, Mutual]
    assert list(map(repr, Many.__type_params__)) == ["T", "Ts", "P"]
    assert Many.__value__.__args__[0] is Many.__type_params__[0]
    assert Given.__value__ == list[int] and Inner.__value__ == list[str] and Local.__value__ == dict[bytes, Local]
    assert function.__annotations__ == {"x": Number, "return": Tree[int]}
    assert deep["deep"] == (Tree, list[Tree[int]])
    try:
        Late.__value__
    except NameError as error:
        assert error.name == "Missing"
    if sys.version_info >= (3, 15):
        assert Inner.__qualname__ == "Owner.Inner" and Local.__qualname__ == "local.<locals>.Local"
    pack(first)
    """
    frames = written(ALIASES + "    pack(made); pack(made)")
    again = read(frames, use)
    read(again + again, use)
    written(ALIASES + "    assert [a is b for a, b in zip(fastser.loads(fastser.dumps(made)), made)][:9] == [True] * 9")


@since_15
def test_the_qualified_name_of_an_alias_that_a_call_made():
    frames = written("import typing\npack(typing.TypeAliasType('Inner', int, qualname='Owner.Inner'))")
    read(frames, "assert (loaded[0].__qualname__, loaded[0].__name__, loaded[0].__value__) == ('Owner.Inner', 'Inner', int)")


SENTINELS = """
    MISSING, OTHER = sentinel("MISSING"), sentinel("OTHER", repr="<other>")
    class Holder:
        def __init__(self): self.held = MISSING
    def local():
        return sentinel("LOCAL")
    def function(x=MISSING): return x is MISSING
    made = [MISSING, OTHER, local(), function, Holder(), [MISSING] * 20, {"deep": (MISSING, None)}]
"""


@since_15
def test_sentinels_of_main():
    use = """
    first, second = loaded
    assert [a is b for a, b in zip(first[:3], second[:3])] == [True] * 3
    MISSING, OTHER, LOCAL, function, holder, many, deep = first
    assert [type(one) for one in first[:3]] == [sentinel] * 3
    assert [(one.__name__, one.__module__) for one in first[:3]] == [(name, "__main__") for name in ("MISSING", "OTHER", "LOCAL")]
    assert (repr(MISSING), repr(OTHER)) == ("MISSING", "<other>")
    assert function() and function(MISSING) and not function(OTHER) and holder.held is MISSING
    assert many == [MISSING] * 20 and deep == {"deep": (MISSING, None)}
    pack(first)
    """
    frames = written(SENTINELS + "    pack(made); pack(made)")
    again = read(frames, use)
    read(again + again, use)
    there = START + "pack(fastser.loads(bytes.fromhex(sys.stdin.read())))"
    back = f"""
    import subprocess
    assert [a is b for a, b in zip(fastser.loads(fastser.dumps(made)), made)][:3] == [True] * 3
    done = subprocess.run([sys.executable, "-c", {there!r}], input=fastser.dumps(made).hex(), capture_output=True, text=True)
    assert [a is b for a, b in zip(fastser.loads(bytes.fromhex(done.stdout)), made)][:3] == [True] * 3
    assert fastser.explain(MISSING).plan == "VALUE"
    """
    written(SENTINELS + back)


MODULE = """
    from typing import NewType, TypeVar
    T = TypeVar("T", bound=int)
    UserId = NewType("UserId", int)
    def function(x: T) -> UserId: return x
"""
NEWER = {
    12: "type Alias[S: int] = list[Alias[S]]\n",
    14: "type Bound[S: Bound] = list[S]\n",  # before, bounds are evaluated
    15: "EMPTY = sentinel('EMPTY')\nlazy import colorsys\ndef late(): return colorsys.__name__\n",
}


def test_modules_registered_by_value(tmp_path):
    text = textwrap.dedent(MODULE) + "".join(text for since, text in NEWER.items() if sys.version_info >= (3, since))
    tmp_path.joinpath("registered_here.py").write_text(text)
    program = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import cloudpickle, registered_here as module
{START}
names = [name for name in vars(module) if name in ("T", "UserId", "function", "Alias", "Bound", "EMPTY", "late")]
made = {{name: getattr(module, name) for name in names}}
by_name = fastser.dumps(made)
assert all(obj is made[name] for name, obj in fastser.loads(by_name).items())
cloudpickle.register_pickle_by_value(module)
pack(made)
assert all(obj is made[name] for name, obj in fastser.loads(fastser.dumps(made)).items() if name not in ("function", "late"))
cloudpickle.unregister_pickle_by_value(module)
assert fastser.dumps(made) == by_name
"""
    use = """
    made, = loaded
    assert made["function"].__annotations__ == {"x": made["T"], "return": made["UserId"]} and made["T"].__bound__ is int
    if "Alias" in made:
        S, = made["Alias"].__type_params__
        assert made["Alias"].__value__ == list[made["Alias"][S]] and S.__bound__ is int
    if "Bound" in made:
        assert made["Bound"].__type_params__[0].__bound__ is made["Bound"]
    if "EMPTY" in made:
        assert type(made["EMPTY"]) is sentinel and made["late"]() == "colorsys"
    """
    read(run(program), use)
    if sys.version_info >= (3, 15):
        program = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import cloudpickle, registered_here
cloudpickle.register_pickle_by_value(registered_here)
lazy import registered_here as module
lazy from registered_here import function as it
{START}
pack(lambda: (module.UserId(3), it(4)))
"""
        read(run(program), "assert loaded[0]() == (3, 4)")


# --- lazy imports -------------------------------------------------------------------------------------------------------

LAZY = """
    lazy import colorsys
    lazy import xml.dom.minidom
    lazy import xml.sax.saxutils as utils
    lazy from wave import Error as WaveError, open as wave_open
    lazy from html import entities
    lazy import nowhere_to_be_found as nowhere
    def function():
        return colorsys.rgb_to_hsv(0, 0, 0), xml.dom.minidom.Document, utils.escape("<"), WaveError, entities.html5["gt"]
    def broken(): return nowhere.x
    def annotated(x: colorsys.Missing): ...
    def also_annotated(x: WaveError): ...
    class Uses:
        def ask(self): return wave_open
    late = "colorsys", "xml", "xml.dom", "xml.sax", "wave", "html", "html.entities"
    pack([function, broken, annotated, also_annotated, Uses, Uses()])
    assert not set(late) & set(sys.modules)
"""


@since_15
def test_lazy_imports_stay_lazy():
    use = """
    function, broken, annotated, also_annotated, Uses, uses = loaded[0]
    late = "colorsys", "xml", "xml.dom", "xml.sax", "wave", "html", "html.entities"
    assert not set(late) & set(sys.modules)
    before = fastser.dumps(function)
    assert not set(late) & set(sys.modules)
    black, Document, escaped, WaveError, gt = function()
    assert (black, Document.__name__, escaped, gt) == ((0.0, 0.0, 0), "Document", "&lt;", ">")
    import wave
    assert WaveError is wave.Error and uses.ask() is Uses().ask() is wave.open
    assert fastser.loads(before)()[1] is fastser.loads(fastser.dumps(function))()[1] is Document
    assert also_annotated.__annotations__ == {"x": wave.Error}
    try:
        annotated.__annotations__
    except AttributeError as error:
        assert error.name == "Missing"
    try:
        broken()
    except ImportError as error:
        assert error.name == "nowhere_to_be_found"
    """
    read(written(LAZY), use)


@since_15
def test_lazy_imports_among_data():
    frames = written("lazy import colorsys\nlazy from wave import open as it\npack([globals()['colorsys'], globals()['it']])")
    read(frames, "def types(): return [type(one).__name__ for one in loaded[0]]\nassert types() == ['lazy_import'] * 2")


# --- in an executor -----------------------------------------------------------------------------------------------------

TASKS = {
    10: """
from typing import NewType, TypeVar
T, Id = TypeVar("T"), NewType("Id", int)
def found(x): return x, T, Id
def check(executor):
    assert executor.submit(found, [T]).result() == ([T], T, Id)
    assert executor.submit(lambda: (T, Id)).result() == (T, Id)
""",
    12: """
type Tree = list[Tree]
def found(x): return x, Tree
def check(executor):
    assert executor.submit(found, [Tree]).result() == ([Tree], Tree)
""",
    14: """
Named = int
def task(x: Missing, y: Named = 1): return task.__annotate__.__globals__["Named"]
class Part:
    x: Missing
    def same(self, other: Part): return type(other) is Part
def check(executor):
    global Named
    assert executor.submit(task, 1).result() is int
    Named = str
    assert executor.submit(task, 1).result() is str
    assert executor.submit(Part().same, Part()).result() and type(executor.submit(lambda p: p, Part()).result()) is Part
""",
    15: """
lazy import colorsys
EMPTY = sentinel("EMPTY")
def task(x): return x, EMPTY, x is EMPTY, colorsys.rgb_to_hsv(0, 0, 0)
def check(executor):
    for _ in range(2):
        assert executor.submit(task, EMPTY).result() == (EMPTY, EMPTY, True, (0.0, 0.0, 0))
    assert "colorsys" not in sys.modules
""",
}


@pytest.mark.parametrize("since", TASKS)
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_tasks(tmp_path, since, method):
    if sys.version_info < (3, since):
        pytest.skip(f"came with Python 3.{since}")
    pool = f"""
if __name__ == "__main__":
    with fastser.Executor(1, multiprocessing.get_context({method!r})) as executor:
        check(executor)
"""
    run("import fastser, multiprocessing, sys\n" + TASKS[since] + pool, folder=tmp_path)


def test_functions_are_packed_again_when_their_annotations_are_others():
    from fastser.store.functions import PackedFunctions

    packed = PackedFunctions()
    scope = {"__name__": "__main__", "Kept": int, "Cached": list[int], "typing": typing}
    text = """
    def several(x: Kept, y: Cached | None, z: typing.Optional[typing.List[int]]): ...
    def one(x: Kept): ...
    def plain(x: list): ...
    """
    exec(textwrap.dedent(text), scope)
    several, one, plain = scope["several"], scope["one"], scope["plain"]
    for fn in (several, one, plain):
        frame = packed.frame(fn)
        assert packed.frame(fn) is frame is not None
    if sys.version_info >= (3, 14):
        scope["Kept"] = str
        again = packed.frame(one)
        assert again is not frame and fastser.loads(again).__annotations__ == {"x": str}
    for fn in (several, plain):
        fn.__annotations__["x"] = bytes
        again = packed.frame(fn)
        assert again is packed.frame(fn) and fastser.loads(again).__annotations__["x"] is bytes
    may_change = [], type("Local", (), {"__module__": "__main__"})
    for annotation in (*may_change, list[may_change[1]], typing.Optional[may_change[1]], typing.Annotated[int, may_change[0]]):
        plain.__annotations__ = {"x": annotation}
        assert packed.frame(plain) is None


# --- what is not asked --------------------------------------------------------------------------------------------------


def test_plain_data_does_not_import_it():
    run(START + "fastser.loads(fastser.dumps([1, len, fastser.Packed])); assert 'fastser.by_value' not in sys.modules")

"""Frames that one Python wrote and another reads.

tests/golden/pythons/ has, for each supported Python, the frames that it wrote of everything below: plain data, arrays, instances,
and what the standard library holds. Written by tests/golden/write.py, once with each.
"""

import array
import collections
import copy
import datetime
import decimal
import email.message
import fractions
import functools
import http.cookies
import io
import ipaddress
import logging
import operator
import pathlib
import pickle
import random
import re
import socket
import string
import sys
import types
import typing
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pytest
import sample_objects
import test_golden
from same import same

import fastser

pytestmark = pytest.mark.core

FILES = Path(__file__).parent / "golden" / "pythons"
HERE = "%d.%d" % sys.version_info[:2]


def library():
    """What has plans of many kinds, and changed its ways from Python to Python."""
    paths = [pathlib.PurePosixPath("/a/b"), pathlib.PureWindowsPath("c:\\a"), pathlib.Path("a", "b"), pathlib.Path("/")]
    error = OSError(2, "no such file", "a")
    generator = random.Random(1)
    generator.random()
    record = logging.LogRecord("a", logging.INFO, "a.py", 3, "%s", ("b",), None)
    message = email.message.EmailMessage()
    message["Subject"] = "é"
    message.set_content("text")
    found = {
        "paths": paths,
        "counters": [collections.Counter("abca"), collections.ChainMap({"a": 1}, {"b": 2})],
        "user's containers": [collections.UserDict(a=1), collections.UserList([1])],
        "errors": [error, KeyError("a"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"), StopIteration(3), ZeroDivisionError("a", 1)],
        "partials": [functools.partial(int, base=2)],
        "callers": [operator.itemgetter(1, 2), operator.attrgetter("a.b"), operator.methodcaller("f", 1, a=2)],
        "addresses": [ipaddress.ip_address("10.0.0.1"), ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_interface("::1/64")],
        "namespaces": [types.SimpleNamespace(a=1, b=[2]), types.MappingProxyType],
        "generics": [list[int], dict[str, list[int]], typing.List[int], typing.Optional[int], typing.Callable[[int], str]],
        "patterns": [re.compile("a(b)", re.I), re.compile(b"a")],
        "numbers": [fractions.Fraction(1, 3), decimal.Decimal("1.50"), complex(1, -0.0)],
        "times": [datetime.datetime(2024, 2, 29, 1, 2, 3, 4, datetime.timezone.utc, fold=1), datetime.timedelta(-1, 2, 3)],
        "enums": [re.I | re.M, uuid.SafeUUID.safe, logging.Formatter("%(message)s").__class__, socket.SOCK_STREAM],
        "arrays": [array.array("d", [1.5]), array.array("q", [-1])],
        "uuids": [uuid.UUID(int=5), uuid.UUID(int=6, is_safe=uuid.SafeUUID.safe)],
        "texts": [string.Template("$a"), http.cookies.SimpleCookie("a=b")],
        "message": message,
        "streams": [io.BytesIO(b"abc"), io.StringIO("abc")],
        "generator": generator,
        "record": record,
        "slices": [slice(1, None), range(3), range(0), slice("a", "b", 2)],
        "types": [int, types.FunctionType, type(None), type(...), collections.OrderedDict, types.ModuleType, np.ndarray, np.float32],
        "functions": [len, "a".join, copy.deepcopy, operator.add, datetime.datetime.fromtimestamp, np.sum, np.add],
        "random state": np.random.default_rng(3),
        "polynomial": np.polynomial.Polynomial([1, 2]),
        "iterators": [iter([1, 2]), iter((1,)), enumerate("ab"), reversed([1, 2]), zip("ab", "cd"), map(len, ["a"])],
    }
    # Of no module: they go by value.
    hidden = [typing.TypeVar("A"), typing.TypeVar("B", bound=int), typing.TypeVar("C", int, str), typing.TypeVar("D", covariant=True)]
    found["type variables"] = [*hidden, typing.ParamSpec("P"), typing.NewType("Id", int)]
    if sys.version_info >= (3, 11):
        found["group"] = ExceptionGroup("several", [ValueError(1), KeyError("a")])
    if sys.version_info >= (3, 14):
        from string.templatelib import Interpolation, Template

        found["template"] = Template("a", Interpolation([1], "x", "r", ">5"), "b")
    if sys.version_info >= (3, 15):
        found["frozendict"] = [frozendict(a=1), frozendict({1: [2]})]
    return found


VARIABLE = "module", "bound", "constraints", "covariant", "contravariant", "supertype"

# What says of objects that have no equality, or fields that come and go with the version, that they are the same.
SEEN_AS = {
    "library/callers": lambda found: [obj.__reduce__() for obj in found],
    "library/message": lambda found: (type(found), found.as_string()),
    "library/record": lambda found: (type(found), found.name, found.levelno, found.lineno, found.getMessage()),
    "library/random state": lambda found: (type(found), found.bit_generator.state),
    "library/polynomial": lambda found: (type(found), found.coef, found.domain, found.window),
    "library/paths": lambda found: [(type(obj), str(obj), hash(obj) == hash(type(obj)(str(obj)))) for obj in found],
    "library/generics": lambda found: [(type(obj), repr(obj)) for obj in found],
    "library/texts": lambda found: [type(found[0]), found[0].template, type(found[1]), found[1].output()],
    "library/type variables": lambda found: [[getattr(one, f"__{part}__", None) for part in ("name", *VARIABLE)] for one in found],
    "library/template": lambda found: (found.strings, [(one.value, one.expression, one.conversion, one.format_spec) for one in found.interpolations]),
    "library/iterators": lambda found: [(type(obj), list(obj)) for obj in found],
    "library/streams": lambda found: [(type(obj), obj.getvalue(), obj.tell()) for obj in found],
}


# What an older Python cannot make: {name: (since, what it says)}.
NEWER = {
    "library/group": ((3, 11), r"cannot find builtins\.ExceptionGroup, which is needed at tag \d+: AttributeError: "),
    "library/texts": ((3, 14), r"cannot rebuild a http\.cookies\.Morsel at tag \d+: CookieError: Invalid attribute 'partitioned'"),
    "library/template": ((3, 14), "cannot rebuild a template string at tag .*: expected Python 3.14 or newer"),
    "library/frozendict": ((3, 15), "expected Python 3.15 or newer"),
}


def objects():
    """Each made anew: iterators are used up."""
    made = {f"golden/{name}": lambda obj=obj: obj for name, obj in test_golden.objects().items()}
    for kind, make in {**sample_objects.FIELDS, **sample_objects.ROWS, **sample_objects.PROTOCOL}.items():
        made[f"class/{kind}"] = lambda make=make: [make(1, [2]), [make(i, "a") for i in range(5)]]
    return made | {f"library/{name}": lambda name=name: library()[name] for name in library()}


def write(path):
    """Write the frames of this Python, as one zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, make in {**objects(), "by value": lambda: by_value(1)}.items():
            archive.writestr(zipfile.ZipInfo(name), fastser.dumps(make()), zipfile.ZIP_DEFLATED)


OBJECTS = objects()
VERSIONS = sorted(path.stem for path in FILES.glob("*.zip"))


def frames():
    for path in sorted(FILES.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name != "by value":
                    yield pytest.param(path.stem, name, archive.read(name), id=f"{path.stem}-{name}")


@pytest.mark.parametrize("version, name, frame", [*frames()])
def test_read(version, name, frame):
    since, message = NEWER.get(name, ((3, 0), ""))
    if sys.version_info < since <= tuple(map(int, version.split("."))):
        with pytest.raises(fastser.DecodeError, match=message):
            fastser.loads(frame)
        return
    expected = OBJECTS[name]()
    if name.startswith("class/"):  # some of them see to it that an unpickled one is another
        expected = pickle.loads(pickle.dumps(expected, 5))
    seen_as = SEEN_AS.get(name, lambda found: found)
    assert same(seen_as(expected), seen_as(fastser.loads(frame)))


def by_value(x):
    """Packed as if this module were not importable."""
    return [lambda y: x + y, type("Local", (), {"method": lambda self: x})]


@pytest.mark.parametrize("version", VERSIONS)
def test_code_is_read_by_the_python_that_compiled_it(version):
    """Another would run it as something else, or crash."""
    with zipfile.ZipFile(FILES / f"{version}.zip") as archive:
        frame = archive.read("by value")
    if version == HERE:
        function, cls = fastser.loads(frame)
        assert (function(2), cls().method()) == (3, 1)
    else:
        message = rf"RuntimeError: it has code that Python {version} compiled, which Python {HERE} cannot run"
        with pytest.raises(fastser.DecodeError, match=message):
            fastser.loads(frame)


def test_every_supported_python_has_its_frames():
    supported = re.findall(r"Python :: (3\.\d+)", (Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert VERSIONS == sorted(supported)

"""STANDARD: what safe loading may make of the standard library and NumPy, and what each of it looks at first.

The rule of an entry: with arguments of a frame's choosing it runs no code that the frame chooses, imports nothing of the frame's
choosing, and costs no more than the frame's bytes pay for. None of them calls what the frame calls. Each is given the arguments, takes exact
types alone (a subclass might have code of its own), and makes the object itself.
"""

import builtins
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from fastser import characters, errors, fallback, standard_pandas
from fastser.fallback import DICT_ITEMS, LIST_ITEMS, STATE
from fastser.hooks import NATIVE
from fastser.ways import Way, attributes, bare, exact, no_arguments, one_of, plain

# Reducing a fraction takes time by the square of its length.
_FRACTION_BITS = 8192
_RATIO = re.compile(r"-?\d{1,2466}(/\d{1,2466})?\Z", re.ASCII)
# The longest text of an address and its prefix, with room for the name of an interface.
_ADDRESS_LENGTH = 128


# --- containers ----------------------------------------------------------------------------------------------------------


def _counter(cls: Any, counts: Any = None) -> Any:
    counter = cls()
    if counts is not None:
        dict.update(counter, exact(counts, dict))
    return counter


def _deque(cls: Any, items: Any = (), maxlen: Any = None) -> Any:
    if exact(items, tuple, list):
        raise errors.unfit("no items beside the length", items)
    return cls((), exact(maxlen, int, type(None)))


# What a missing key makes: called without arguments later, whoever chose it.
FACTORIES = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)


def _defaultdict(cls: Any, factory: Any = None) -> Any:
    if factory is not None and not one_of(factory, *FACTORIES):
        raise errors.unfit("None or a built-in type of data as the factory", factory)
    return cls(factory)


def _user_string(cls: Any, text: Any = "") -> Any:
    string = object.__new__(cls)
    string.data = exact(text, str)
    return string


def _set_user_string(string: Any, state: Any) -> None:
    if attributes(state).keys() != {"data"}:
        raise errors.unfit("a state of the text alone", state)
    string.data = exact(state["data"], str)


def _set_namespace(namespace: Any, state: Any) -> None:
    namespace.__dict__.update(attributes(state))


# --- numbers -------------------------------------------------------------------------------------------------------------


def _fraction(cls: Any, numerator: Any, denominator: Any = 1) -> Any:
    if type(numerator) is str and type(denominator) is int and denominator == 1 and _RATIO.match(numerator):  # up to Python 3.10
        return cls(numerator)
    for number in (numerator, denominator):
        if exact(number, int).bit_length() > _FRACTION_BITS:
            raise errors.too_long("a fraction of numbers", _FRACTION_BITS, "bits", number.bit_length())
    return cls(numerator, denominator)


def _set_normal(distribution: Any, state: Any) -> None:
    if len(exact(state, tuple)) != 2:
        raise errors.unfit("a mean and a deviation", state)
    mean, deviation = (exact(number, float, int) for number in state)
    distribution._mu, distribution._sigma = mean, deviation


def _array(reconstruct: Any, cls: Any, code: Any, format: Any, items: Any) -> Any:
    import array

    if cls is not array.array:
        raise errors.unfit("the class array.array", cls)
    made = reconstruct(cls, exact(code, str), exact(format, int), exact(items, bytes))
    if made.typecode in ("u", "w") and made.itemsize == 4:  # copied unlooked at where the format is the machine's own
        most = max(array.array("I", made.tobytes()), default=0)
        if most > characters.LAST:
            raise errors.unfit("characters up to U+10FFFF", hex(most))
    return made


def _struct_time(cls: Any, items: Any, named: Any) -> Any:
    for item in exact(items, tuple):
        exact(item, int)
    for name, value in attributes(named).items():
        if name not in ("tm_zone", "tm_gmtoff"):
            raise errors.unfit("the fields of a time", name)
        exact(value, str, int, type(None))
    return cls(items, named)


# From Python 3.15 these tell their state themselves, and so are made by a call.
def _url(cls: Any, *items: Any) -> Any:
    if len(items) != len(cls._fields):
        raise errors.unfit(f"{len(cls._fields)} parts of a URL", items)
    for item in items:
        exact(item, str, bytes, type(None))
    return tuple.__new__(cls, items)


def _set_url(url: Any, state: Any) -> None:
    if len(exact(state, tuple)) != 2 or state[0] is not None or attributes(state[1]).keys() != {"_keep_empty"}:
        raise errors.unfit("whether empty parts are kept", state)
    url._keep_empty = exact(state[1]["_keep_empty"], bool)


# --- names of places -----------------------------------------------------------------------------------------------------


def _path(cls: Any, *parts: Any) -> Any:
    for part in parts:
        exact(part, str)
    return cls(*parts)


def _address(cls: Any, address: Any) -> Any:
    if type(address) is str and len(address) > _ADDRESS_LENGTH:
        raise errors.too_long("an address", _ADDRESS_LENGTH, "characters", len(address))
    return cls(exact(address, int, str))


def _network(cls: Any, address: Any) -> Any:
    if len(exact(address, str)) > _ADDRESS_LENGTH:
        raise errors.too_long("a network", _ADDRESS_LENGTH, "characters", len(address))
    return cls(address)


# --- memory --------------------------------------------------------------------------------------------------------------

_FORMAT = re.compile(r"@?[cbB?hHiIlLqQnNefdP]\Z", re.ASCII)


def _view(again: Any, memory: Any, format: Any, shape: Any) -> Any:
    for length in exact(shape, tuple):
        exact(length, int)
    if not _FORMAT.match(exact(format, str)):
        raise errors.unfit("the format of a view", format)
    return again(exact(memory, memoryview, bytes, bytearray), format, shape)


# --- errors --------------------------------------------------------------------------------------------------------------

# Those that look into what they are given.
_LOOKING = (OSError, UnicodeError, SyntaxError, ImportError, StopIteration, AttributeError, NameError, SystemExit)
_NOT_PUT = frozenset(["with_traceback", "add_note", "characters_written"])


def make_error(cls: Any, *arguments: Any) -> Any:
    if issubclass(cls, _LOOKING):
        for argument in arguments:
            plain(argument)
    return cls(*arguments)


def set_error(error: Any, state: Any) -> None:
    """What pickle puts into an error is set as attributes: names that lead anywhere else are refused."""
    for name, value in attributes(state).items():
        if name == "__notes__":
            for note in exact(value, list):
                exact(note, str)
        elif name == "args":  # it has them already
            exact(value, tuple)
        elif name in _NOT_PUT or (name.startswith("__") and name.endswith("__")):
            raise errors.unfit("attributes of an error", name)
    BaseException.__setstate__(error, {name: value for name, value in state.items() if name != "args"})


def _error_classes() -> list[type]:
    """Those of the interpreter that are made of any arguments, and hold nothing but those and attributes."""
    left_out = (SystemExit, KeyboardInterrupt, GeneratorExit, getattr(builtins, "BaseExceptionGroup", ()))
    found = {one for one in vars(builtins).values() if isinstance(one, type) and issubclass(one, Exception)}
    return sorted((cls for cls in found if not issubclass(cls, left_out)), key=lambda cls: cls.__name__)


# --- NumPy ---------------------------------------------------------------------------------------------------------------

_CODE = re.compile(r"[<>|=]?(?:[biufcmMO]\d{1,2}|[SUV]\d{1,10}|\?|T)\Z", re.ASCII)
_DTYPE_PARTS = 1000


def _dtype(cls: Any, code: Any, align: Any = False, copy: Any = False) -> Any:
    exact(align, bool, int)
    exact(copy, bool, int)
    if code is np.record:
        return np.dtype(np.record, False, True)
    if not _CODE.match(exact(code, str)):
        raise errors.unfit("the code of a dtype", code)
    return np.dtype(code, False, True)


def _set_dtype(dtype: Any, state: Any) -> None:
    """Put a state in that NumPy itself tells of a dtype made of the same description, and no other: it trusts what it is given."""
    made = _described(dtype, exact(state, tuple))
    reduced: Any = made.__reduce__()
    if type(dtype) is not type(made) or len(reduced) != 3 or not _same(reduced[2][:8], state[:8]):
        raise errors.unfit("a state that NumPy gives to a dtype", state)
    dtype.__setstate__(reduced[2])


def _described(dtype: Any, state: tuple[Any, ...]) -> Any:
    if len(state) not in (8, 9) or type(state[0]) is not int or exact(state[1], str) not in ("<", ">", "|", "="):
        raise errors.unfit("the state of a dtype", state)
    version, order, subarray, names, fields, itemsize, alignment, flags, *metadata = state
    for number in (itemsize, alignment, flags):
        exact(number, int)
    if subarray is not None:
        base, shape = exact(subarray, tuple)
        if len(exact(shape, tuple)) > 32:
            raise errors.unfit("the shape of a dtype", shape)
        for length in shape:
            exact(length, int)
        return np.dtype((_whole(base), shape))
    if names is not None:
        if len(exact(names, tuple)) > _DTYPE_PARTS or len(exact(fields, dict)) > 2 * _DTYPE_PARTS:
            raise errors.unfit(f"at most {_DTYPE_PARTS} fields", names)
        parts = [fields[exact(name, str)] for name in names]
        for part in parts:
            if len(exact(part, tuple)) not in (2, 3):
                raise errors.unfit("a dtype and an offset", part)
            _whole(part[0])
            exact(part[1], int)
        described = {
            "names": list(names), "formats": [part[0] for part in parts], "offsets": [part[1] for part in parts], "itemsize": itemsize,
        }  # fmt: skip
        titles = [exact(part[2], str) if len(part) == 3 else None for part in parts]
        if any(titles):
            described["titles"] = titles
        made = np.dtype(described, align=bool(flags & 0x80))  # type: ignore[call-overload]
        return np.dtype((np.record, made)) if dtype.type is np.record else made
    if metadata:
        unit = metadata[0]
        # No metadata, by NumPy's version an empty dict or None, and the unit of a time.
        if dtype.kind not in "mM" or len(exact(unit, tuple)) != 2 or exact(unit[0], dict, type(None)) or len(exact(unit[1], tuple)) != 4:
            raise errors.unfit("the unit of a time", unit)
        name, *numbers = unit[1]
        for number in numbers:
            exact(number, int)
        if exact(name, str, bytes) in ("generic", b"generic"):
            return np.dtype(f"{dtype.kind}8").newbyteorder(order)
        name = name.decode("ascii") if type(name) is bytes else name
        if name not in _UNITS:
            raise errors.unfit("the unit of a time", unit)
        return np.dtype(f"{dtype.kind}8[{numbers[0]}{name}]").newbyteorder(order)
    return dtype.newbyteorder(order) if order in "<>" else dtype


def _string_dtype(make: Any, coerce: Any, *missing: Any) -> Any:
    if len(missing) > 1:
        raise errors.unfit("one object for missing values", missing)
    return make(exact(coerce, int, bool), *map(plain, missing))


_UNITS = frozenset("Y M W D h m s ms us ns ps fs as".split())


def _whole(dtype: Any) -> Any:
    if not issubclass(type(dtype), np.dtype):
        raise errors.unfit("a dtype", dtype)
    return dtype


def _same(one: Any, other: Any) -> bool:
    """Equal and of the same types all through; dtypes by what they are made of."""
    if isinstance(one, np.dtype):
        return issubclass(type(other), np.dtype) and bool(one == other)
    if type(one) is not type(other):
        return False
    if type(one) is tuple:
        return len(one) == len(other) and all(map(_same, one, other))
    if type(one) is dict:
        return one.keys() == attributes(other).keys() and all(_same(value, other[key]) for key, value in one.items())
    return type(one) in (int, str, bytes, bool, type(None)) and one == other


# --- the list ------------------------------------------------------------------------------------------------------------


_ITSELF = "the class itself: its objects are native"


def _ways() -> dict[str, Way]:
    """All of them, by the names that frames have."""
    ways = {}

    def add(module: str, names: str, reason: str, **how: Any) -> None:
        for name in names.split():
            way = Way(module, name, reason, **({"value": True} | how))
            ways[way.full_name] = way

    for cls in sorted(NATIVE - {type(None), type(...), type(NotImplemented)}, key=errors.class_name):
        module, name = cls.__module__, cls.__qualname__
        if fallback.resolve(module, name) is cls:
            add(module, name, _ITSELF)
    add("collections", "OrderedDict", "made empty, filled as a dict is", call=no_arguments, parts=DICT_ITEMS)
    add("collections", "Counter", "made empty, filled with one dict as a dict is; nothing is counted", call=_counter)
    add("collections", "deque", "made empty, extended by a list; a largest length sets nothing aside", call=_deque, parts=LIST_ITEMS)
    add(
        "collections", "defaultdict",
        "made empty, filled as a dict is; what makes missing values is a built-in type of data or None",
        call=_defaultdict, parts=DICT_ITEMS,
    )  # fmt: skip
    add("collections", "ChainMap UserDict UserList", "made of its fields", fields=True)
    add("collections", "UserString", "holds one str", call=_user_string, new=True, parts=STATE, state=_set_user_string)
    add("types", "SimpleNamespace", "made empty; its attributes are an entry of a dict each", call=no_arguments, parts=STATE, state=_set_namespace)
    add(
        "fractions", "Fraction", f"two ints of at most {_FRACTION_BITS} bits: reducing longer ones takes time by the square of their length",
        call=_fraction,
    )  # fmt: skip
    add("decimal", "DecimalTuple", "a named tuple, made of its items", fields=True)
    add("statistics", "NormalDist", "two numbers, which are set", call=bare, new=True, parts=STATE, state=_set_normal)
    add("array", "array", "the class itself: its objects are made by the next one")
    add("array", "_array_reconstructor", "bytes and the code of their type, which it checks against each other", call=_array, value=False)
    add("time", "struct_time", "ints, a name and an offset", call=_struct_time)
    add(
        "pathlib", "PurePath PurePosixPath PureWindowsPath Path PosixPath WindowsPath",
        "text alone: the file system is not looked at before a method is called. Where it leads is the frame's choice",
        call=_path,
    )  # fmt: skip
    add(
        "ipaddress", "IPv4Address IPv6Address", f"one int, or text of at most {_ADDRESS_LENGTH} characters", call=_address
    )  # fmt: skip
    add(
        "ipaddress", "IPv4Network IPv6Network IPv4Interface IPv6Interface",
        f"text of at most {_ADDRESS_LENGTH} characters; no address is listed. Going through one may take for ever",
        call=_network,
    )  # fmt: skip
    add(
        "urllib.parse",
        "SplitResult SplitResultBytes ParseResult ParseResultBytes DefragResult DefragResultBytes",
        "a named tuple, made of its items",
        fields=True, call=_url, new=True, parts=STATE, state=_set_url,
    )  # fmt: skip
    add("fastser.fallback", "view_again", "a memoryview: bytes of the frame, a format and a shape that must fit them", call=_view, value=False)
    for cls in _error_classes():
        add(
            "builtins", cls.__name__, "an exception, made and not raised: its arguments and attributes, none of them special",
            call=make_error, parts=STATE, state=set_error,
        )  # fmt: skip
    add(
        "numpy", "dtype", "the code of a type; a state only if it is what NumPy tells of the same dtype made anew",
        call=_dtype, parts=STATE, state=_set_dtype,
    )  # fmt: skip
    add("numpy._core._internal", "_convert_to_stringdtype_kwargs", "a truth value and a plain one for what is missing", call=_string_dtype, value=False)
    return ways


WAYS = _ways() | {way.full_name: way for way in standard_pandas.ways()}
NATIVE_NAMES = frozenset(name for name, way in WAYS.items() if way.reason == _ITSELF)

# Names of hooks that are built in, with why their data may be anybody's, and what looks at it where they do not do so themselves.
_ARROW = "Arrow data, checked to the last offset and character"
HOOKS: dict[str, tuple[str, Callable[[Any], None] | None]] = {
    **{f"pyarrow.lib.{name}": (_ARROW, None) for name in ("Array", "ChunkedArray", "RecordBatch", "Table", "Schema", "Field", "Scalar")},
    "polars.dataframe.frame.DataFrame": (_ARROW, None),
    "polars.series.series.Series": (_ARROW, None),
    "pandas.arrays.ArrowStringArray": (f"{_ARROW}: text", standard_pandas.check_text),
}

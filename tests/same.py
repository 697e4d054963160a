"""A comparison as strict as a round trip has to be: values, exact types, order, bits, layout and identity."""

import array
import builtins
import collections
import copyreg
import datetime
import decimal
import enum
import struct
import types
import uuid
import weakref
import zoneinfo
from typing import Any

import numpy as np

_MAPPINGS = tuple(getattr(builtins, name) for name in ("dict", "frozendict") if hasattr(builtins, name))  # the second from 3.15 on
# What keeps its identity, beside the instances of classes that this module does not know.
_SHAREABLE = (list, *_MAPPINGS, set, bytearray, tuple, frozenset, np.ndarray, collections.deque, array.array, BaseException)
_SEQUENCES = (list, tuple, collections.deque)
_SETS = (set, frozenset)
_ATOMS = (str, bytes, bytearray, int, bool, type(None), type(...), type(NotImplemented))
_SUBCLASSED = (str, bytes, bytearray, int, float, complex)
# One for the whole process.
_BY_NAME = (type, enum.Enum, types.ModuleType)
# Values, whose identity nobody promises, although their classes are written as those of instances are.
_VALUES = (decimal.Decimal, uuid.UUID, zoneinfo.ZoneInfo, np.generic, types.FunctionType, types.BuiltinFunctionType, types.MethodType, *_BY_NAME)


def same(expected: Any, found: Any, *, identity: str | None = "graph") -> bool:
    """Assert that `found` is what a faithful round trip of `expected` gives; always True, so that ``assert`` can be written.

    Parameters
    ----------
    expected, found : object
    identity : {"graph", "tree"} or None
        "graph": objects are the same in one exactly where they are in the other.
        "tree": no list, dict, set, bytearray, array, tuple or frozenset is met twice in `found`.
        None: identity is not looked at, and `expected` must not contain itself.

    Notes
    -----
    No recursion: objects may be nested more deeply than the interpreter's stack is high.
    """
    forth: dict[int, int] = {}
    back: dict[int, int] = {}
    kept: list[Any] = []  # a temporary must not lend its address to another object
    work: list[tuple[Any, Any, Any]] = [(expected, found, None)]
    while work:
        a, b, path = work.pop()
        _check(type(a) is type(b), path, type(a), type(b))
        if identity is not None and _is_shareable(a):
            kept += a, b
            if identity == "graph":
                known = id(a) in forth
                _check(known == (id(b) in back), path, f"met before: {known}", f"met before: {id(b) in back}")
                if known:
                    _check(forth[id(a)] == id(b), path, "the object met before", "another one")
                    continue
            else:
                _check(id(b) not in back, path, "an object of its own", "one that was met before")
            forth[id(a)] = id(b)
            back[id(b)] = id(a)
        _check_hash(a, b, path)
        work.extend(reversed(_parts(a, b, path)))
    return True


def bits(number: float) -> bytes:
    return struct.pack("<d", number)


def same_dtype(expected: np.dtype, found: np.dtype, path: Any = None) -> bool:
    """Dtypes with the same layout, names, titles, alignment, byte order and scalar type."""
    _check(type(expected) is type(found), path, type(expected), type(found))
    _check(expected == found, path, expected, found)
    for name in ("str", "byteorder", "itemsize", "alignment", "isalignedstruct", "type", "names", "shape", "kind", "num"):
        _check(getattr(expected, name) == getattr(found, name), (path, f".dtype.{name}"), getattr(expected, name), getattr(found, name))
    if expected.names is not None:
        _check(list(expected.fields) == list(found.fields), path, list(expected.fields), list(found.fields))
        for name in expected.fields:
            a, b = expected.fields[name], found.fields[name]
            _check(a[1:] == b[1:], (path, f".dtype.fields[{name!r}]"), a, b)  # offset and title
            same_dtype(a[0], b[0], (path, f".dtype.fields[{name!r}]"))
    if expected.subdtype is not None:
        same_dtype(expected.subdtype[0], found.subdtype[0], (path, ".dtype.base"))
    if isinstance(expected, np.dtypes.StringDType):
        _check(expected.coerce == found.coerce, path, expected.coerce, found.coerce)
        _check(hasattr(expected, "na_object") == hasattr(found, "na_object"), path, expected, found)
        if hasattr(expected, "na_object"):
            same(expected.na_object, found.na_object, identity=None)
    return True


def _check_hash(a: Any, b: Any, path: Any) -> None:
    """What equals the original is found where the original is: a wrong hash is invisible to ``==``."""
    if type(a).__hash__ in (None, object.__hash__) or not _is_flat(a):
        return
    try:
        with np.errstate(invalid="ignore"):
            # In this order: what has no hash may lead back to itself, and comparing that may crash.
            hashes, equal = (hash(a), hash(b)), bool(a == b)
    except (TypeError, ValueError, AttributeError, RecursionError, ArithmeticError):
        return  # items that have no hash or cannot be compared, a signalling NaN say
    if equal:
        _check(hashes[0] == hashes[1] and b in {a} and a in {b}, path, f"the hash {hashes[0]}", f"the hash {hashes[1]}")


def _is_flat(a: Any, levels: int = 5) -> bool:
    """Whether hashing it does not recurse far."""
    if isinstance(a, (tuple, frozenset)):
        return levels > 0 and all(_is_flat(item, levels - 1) for item in a)
    if isinstance(a, _MAPPINGS):
        return _is_flat((*a.keys(), *a.values()), levels)
    return not isinstance(a, slice) or _is_flat((a.start, a.stop, a.step), levels - 1)


def _is_shareable(a: Any) -> bool:
    if isinstance(a, (tuple, frozenset)):
        return len(a) > 0  # the interpreter has one empty tuple
    return isinstance(a, _SHAREABLE) or type(a) is object or type(a).__name__ == "ArrowData" or (not isinstance(a, _VALUES) and (hasattr(a, "__dict__") or bool(_slots(a))))


def _slots(a: Any) -> dict[str, Any]:
    """The slots that are set, by their mangled names."""
    if isinstance(a, _VALUES) or type(a).__module__ == "builtins":
        return {}
    return {name: getattr(a, name) for name in copyreg._slotnames(type(a)) if hasattr(a, name)}  # type: ignore[attr-defined]


def _parts(a: Any, b: Any, path: Any) -> list[tuple[Any, Any, Any]]:
    """Compare all but the parts of `a` and `b`, which are of one type; return the parts."""
    if isinstance(a, np.ndarray):
        return _array_parts(a, b, path)
    kind = type(a)
    if kind in _ATOMS:
        _check(a == b, path, a, b)
        return []
    if kind is float:
        _check(bits(a) == bits(b), path, bits(a), bits(b))
        return []
    if kind is complex:
        _check(bits(a.real) + bits(a.imag) == bits(b.real) + bits(b.imag), path, a, b)
        return []
    if kind.__name__ == "ArrowData":
        (one, lent), (other, borrowed) = a.take_apart(), b.take_apart()
        _check(one == other, path, one, other)
        return [(bytes(x), bytes(y), (path, f".buffer({i})")) for i, (x, y) in enumerate(zip(lent, borrowed, strict=True))]
    if isinstance(a, _SEQUENCES):
        _check(len(a) == len(b), path, f"{len(a)} items", f"{len(b)} items")
        parts = [(x, y, (path, f"[{i}]")) for i, (x, y) in enumerate(zip(a, b))]
    elif isinstance(a, _MAPPINGS):
        _check(len(a) == len(b), path, f"{len(a)} keys", f"{len(b)} keys")
        parts, nothing = [], object()
        for i, (x, y) in enumerate(zip(a.items(), b.items())):
            parts.append((x[0], y[0], (path, f".key({i})")))
            parts.append((x[1], y[1], (path, f".value({i})")))
            _check(b.get(y[0], nothing) is not nothing, (path, f".key({i})"), "a key that is found", "another hash")
    elif isinstance(a, _SETS):
        parts = _set_parts(a, b, path)
    elif isinstance(a, np.generic):
        same_dtype(a.dtype, b.dtype, path)
        if isinstance(a, np.void) and a.dtype.hasobject:
            return [(a[name], b[name], (path, f"[{name!r}]")) for name in a.dtype.names]
        _check(a.tobytes() == b.tobytes(), path, a, b)
        return []
    elif isinstance(a, (range, slice)):
        return [(getattr(a, name), getattr(b, name), (path, f".{name}")) for name in ("start", "stop", "step")]
    elif isinstance(a, datetime.datetime) or kind is datetime.time:
        _check(a.replace(tzinfo=None) == b.replace(tzinfo=None), path, a, b)
        _check(a.fold == b.fold, path, f"fold {a.fold}", f"fold {b.fold}")
        return [(a.tzinfo, b.tzinfo, (path, ".tzinfo"))]
    elif isinstance(a, (datetime.date, datetime.timedelta)):
        _check(a == b, path, a, b)
        return []
    elif kind is datetime.timezone:
        _check(a == b and repr(a) == repr(b), path, a, b)
        _check((a is datetime.timezone.utc) == (b is datetime.timezone.utc), path, a, b)
        return []
    elif isinstance(a, zoneinfo.ZoneInfo):
        _check(a.key == b.key, path, a, b)
        return []
    elif isinstance(a, decimal.Decimal):
        _check(a.as_tuple() == b.as_tuple(), path, a.as_tuple(), b.as_tuple())
        return []
    elif isinstance(a, uuid.UUID):
        _check((a.int, a.is_safe) == (b.int, b.is_safe), path, (a, a.is_safe), (b, b.is_safe))
        return []
    elif isinstance(a, _BY_NAME):
        _check(a is b, path, a, b)
        return []
    elif kind is weakref.ref:
        return [(a(), b(), (path, "()"))]
    elif isinstance(a, (types.BuiltinFunctionType, types.MethodType)):
        return [(getattr(a, name), getattr(b, name), (path, f".{name}")) for name in ("__name__", "__self__")]
    elif kind is types.FunctionType:
        _check(a is b or a.__code__ == b.__code__, path, a, b)
        parts = []
    elif isinstance(a, BaseException):
        parts = [(a.args, b.args, (path, ".args"))]
    else:
        if isinstance(a, _SUBCLASSED) or not (kind is object or hasattr(a, "__dict__") or hasattr(a, "__slots__")):
            _check(a == b, path, a, b)
        parts = []
    for name in ("maxlen", "default_factory"):
        if isinstance(a, (collections.deque, collections.defaultdict)) and hasattr(a, name):
            _check(getattr(a, name) == getattr(b, name), (path, f".{name}"), getattr(a, name), getattr(b, name))
    for fields, others in ((_slots(a), _slots(b)), (getattr(a, "__dict__", {}), getattr(b, "__dict__", {}))):
        _check(list(fields) == list(others), path, f"the fields {list(fields)}", f"the fields {list(others)}")
        parts += [(fields[name], others[name], (path, f".{name}")) for name in fields]
    return parts


def _set_parts(a: Any, b: Any, path: Any) -> list[tuple[Any, Any, Any]]:
    """Pairs of members: the equal one of the other set or, for what is not equal to itself, one that looks the same."""
    _check(len(a) == len(b), path, f"{len(a)} members", f"{len(b)} members")
    _check(all(x in b for x in b), path, "members that are found", "other hashes")
    left = {x: x for x in b}
    parts, odd = [], []
    for x in a:
        if x in left:
            parts.append((x, left.pop(x), (path, "{}")))
        else:
            odd.append(x)
    rest = list(left)
    labels, others = [_label(x) for x in odd], [_label(y) for y in rest]
    if len(set(labels)) == len(odd) and set(labels) == set(others):
        return parts + [(x, rest[others.index(label)], (path, "{}")) for x, label in zip(odd, labels)]
    for x in odd:
        for i, y in enumerate(rest):
            if _looks_same(x, y):
                parts.append((x, rest.pop(i), (path, "{}")))
                break
        else:
            _check(False, path, f"a member {x!r}", rest)
    return parts


def _label(x: Any) -> str:
    """What tells apart the members that are hashed by identity, and may lead back to themselves: the class, and the field `a`."""
    if isinstance(x, (tuple, frozenset)):
        return f"{type(x)}: {sorted(map(_label, x))}"
    plain = {**_slots(x), **getattr(x, "__dict__", {})}.get("a", x)
    return f"{type(x)}: {plain if isinstance(plain, (str, int)) else ''}"


def _looks_same(x: Any, y: Any) -> bool:
    try:
        return same(x, y)
    except AssertionError:
        return False


def _array_parts(a: np.ndarray, b: np.ndarray, path: Any) -> list[tuple[Any, Any, Any]]:
    same_dtype(a.dtype, b.dtype, path)
    _check(a.shape == b.shape, path, a.shape, b.shape)
    if isinstance(a, np.ma.MaskedArray):
        pairs = (a.data, b.data), (np.ma.getmaskarray(a), np.ma.getmaskarray(b)), (a.fill_value, b.fill_value)
        plain = [(np.asarray(x), np.asarray(y)) for x, y in pairs]
        return [(x, y, (path, name)) for (x, y), name in zip(plain, (".data", ".mask", ".fill_value"))]
    if a.flags.f_contiguous and not a.flags.c_contiguous:
        _check(b.flags.f_contiguous, path, "Fortran order", b.flags)
    else:
        _check(b.flags.c_contiguous, path, "C order", b.flags)
    _check(b.flags.aligned, path, "aligned memory", b.flags)
    if a.dtype == object or isinstance(a.dtype, np.dtypes.StringDType):
        return [(x, y, (path, f"[{i}]")) for i, (x, y) in enumerate(zip(a.ravel().tolist(), b.ravel().tolist()))]
    if a.dtype.hasobject:
        return [(a.tolist(), b.tolist(), (path, ".tolist()"))]
    _check(a.tobytes() == b.tobytes(), path, a, b)
    return []


def _check(condition: Any, path: Any, expected: Any, found: Any) -> None:
    if condition:
        return
    segments = []
    while path is not None:
        path, segment = path
        segments.append(segment)
    where = "".join(reversed(segments))
    raise AssertionError(f"at ${_short(where)}: expected {_short(_text(expected))}, found {_short(_text(found))}")


def _text(value: Any) -> str:
    return value if type(value) is str else repr(value)


def _short(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else f"{text[: limit // 2]} ... {text[-limit // 2 :]}"

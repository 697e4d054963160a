"""The shape of a graph of objects, functions and classes among them: what each is, and which are one object.

Two graphs are copies of each other if their shapes are equal: nodes have the numbers in whose order they are met on the way from the
root, and what leads from one to others is named. So shapes can be compared in another process, too.
"""

import collections
import enum
import functools
import sys
import types
import weakref
from contextlib import suppress

import numpy as np

_VALUES = (type(None), type(...), bool, int, float, complex, str, bytes, range, types.CodeType, np.generic, np.dtype)
_WRAPPERS = {
    property: ("fget", "fset", "fdel", "__doc__"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    functools.partial: ("func", "args", "keywords", "__dict__"),
    type(functools.lru_cache(print)): ("__wrapped__", "__dict__"),
}
_SEQUENCES = (list, tuple, collections.deque)
# What is the interpreter's own affair.
_OF_CLASSES = frozenset(["__dict__", "__weakref__", "_abc_impl", "__annotate_func__", "__annotations_cache__", "__static_attributes__"])
_OF_CLASSES |= {"__firstlineno__", "__orig_bases__", "__classdictcell__"}
_FIELD_OF_ENUMS = frozenset(["_member_map_", "_value2member_map_", "_member_names_", "_generate_next_value_", "_unhashable_values_"])
_FIELD_OF_ENUMS |= {"_hashable_values_", "_unhashable_values_map_", "_new_member_", "__new__", "_member_type_"}


class Ambiguous(Exception):
    """Two members of a set look alike, so that nothing tells which is which."""


def shape(root, *, classes=True, cells=True, own=()):
    """The shape of a graph: a list of [what it is, [what leads where, ...]] for each node.

    Parameters
    ----------
    root : object
    classes : bool
        Whether classes that cannot be imported are looked into; else each must be the same object in the copy.
    cells : bool
        Whether it matters which cells are one. It does not to cloudpickle.
    own : sequence of object
        What must be the same object in the copy.
    """
    own = {id(one): f"own {i}" for i, one in enumerate(own)}
    numbers, kept, nodes, pending = {}, [], [], collections.deque()

    def lead_to(obj, key=None):
        if not cells and type(obj) is types.CellType:
            return lead_to(_content(obj))
        if key is None:
            if id(obj) in own:
                return own[id(obj)]
            found = _label(obj)
            if found is None and not classes and isinstance(obj, type):
                found = f"class {id(obj)}"
            if found is not None:
                return found
            key = id(obj)
        if key not in numbers:
            numbers[key] = len(numbers)
            kept.append(obj)
            if type(key) is int:
                pending.append(obj)
                nodes.append(None)
            else:
                nodes.append([str(key[0]), []])
        return numbers[key]

    def describe(obj):
        what, parts = _parts(obj, lead_to)
        nodes[numbers[id(obj)]] = [what, [[name, part if type(part) is _Reached else lead_to(part)] for name, part in parts]]

    start = lead_to(root)
    while pending:
        describe(pending.popleft())
    return [start, nodes]


def reached(root):
    """All objects of a graph that have parts."""
    seen, pending = {}, [root]

    def lead_to(obj, key=None):
        return 0

    while pending:
        obj = pending.pop()
        if id(obj) not in seen and _label(obj) is None:
            seen[id(obj)] = obj
            pending += (part for _, part in _parts(obj, lead_to)[1] if type(part) is not _Reached)
    return [*seen.values()]


class _Reached(int):
    """A node that has its number already."""


def _label(obj):
    """What a value is, or something that is found by its name; None for what has parts."""
    if isinstance(obj, _VALUES) and type(obj).__module__ in ("builtins", "numpy") and not isinstance(obj, np.void):
        return f"{type(obj).__name__} {_code(obj) if type(obj) is types.CodeType else repr(obj)}"
    if obj is _NOTHING:
        return "nothing"
    if isinstance(obj, types.ModuleType):
        return f"module {obj.__name__}" if sys.modules.get(obj.__name__) is obj and obj.__name__ != "__main__" else None
    if isinstance(obj, (type, types.FunctionType, types.BuiltinFunctionType)) and obj.__module__ != "__main__":
        with suppress(AttributeError, TypeError):
            found = sys.modules.get(obj.__module__)
            for name in obj.__qualname__.split("."):
                found = getattr(found, name)
            if found is obj:
                return f"{obj.__module__}.{obj.__qualname__}"
    if isinstance(obj, (types.WrapperDescriptorType, types.MethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType)):
        return f"{type(obj).__name__} {obj.__qualname__}"
    return None


def _code(code):
    """Without the file and the lines."""
    constants = [_code(part) if type(part) is types.CodeType else _of_sets(part) for part in code.co_consts]
    return f"{code.co_name} {code.co_names} {code.co_varnames} {code.co_freevars} {code.co_cellvars} {code.co_code.hex()} {constants}"


def _of_sets(part):
    return sorted(map(repr, part)) if type(part) is frozenset else repr(part)


_NOTHING = object()


def _content(cell):
    try:
        return cell.cell_contents
    except ValueError:
        return _NOTHING


def _parts(obj, lead_to):
    """What an object is, and its parts by their names; nothing is left out but what raises here."""
    cls = type(obj)
    if cls is types.CellType:
        return "cell", [("content", _content(obj))]
    if cls is types.FunctionType:
        return _function(obj, lead_to)
    if isinstance(obj, type):
        return _class(obj)
    if isinstance(obj, types.ModuleType):
        return f"module {obj.__name__}", [(n, v) for n, v in vars(obj).items() if n != "__builtins__"]
    if cls in _WRAPPERS:
        return cls.__name__, [(name, getattr(obj, name)) for name in _WRAPPERS[cls]]
    if cls is types.MethodType:
        is_own = vars(type(obj.__self__)).get(obj.__name__) is obj.__func__  # as its class says
        return f"method {obj.__name__}", [("__self__", obj.__self__), *([] if is_own else [("__func__", obj.__func__)])]
    if cls is types.BuiltinFunctionType:
        return f"builtin {obj.__name__}", [("__self__", obj.__self__)]
    if isinstance(obj, enum.Enum):
        return f"member {obj.name}", [("class", cls), ("value", obj._value_)]
    if isinstance(obj, weakref.ref):
        return "weak", [("referent", obj())]
    if isinstance(obj, np.ndarray):
        return _array(obj, lead_to)
    what, parts = cls.__qualname__, [("class", cls)] if cls.__module__ != "builtins" else []
    if isinstance(obj, (weakref.WeakKeyDictionary, weakref.WeakValueDictionary)):
        pairs = sorted(obj.items(), key=lambda pair: (_order(pair[0]), _order(pair[1])))
        return what, [*parts, *((f"{role} {i}", part) for i, pair in enumerate(pairs) for role, part in zip(("key", "value"), pair))]
    if isinstance(obj, (set, frozenset, weakref.WeakSet)):
        parts += ((f"member {i}", member) for i, member in enumerate(_in_order(obj)))
        if isinstance(obj, weakref.WeakSet):
            return what, parts
    elif isinstance(obj, _SEQUENCES):
        kind = next(kind for kind in _SEQUENCES if isinstance(obj, kind))
        parts += ((f"[{i}]", item) for i, item in enumerate(kind.__iter__(obj)))
    elif isinstance(obj, (dict, types.MappingProxyType)):
        parts += ((f"{role} {i}", part) for i, pair in enumerate(obj.items()) for role, part in zip(("key", "value"), pair))
        assert all(obj[key] is value for key, value in obj.items()), "a key that is not found"
        if isinstance(obj, collections.defaultdict):
            parts.append(("default_factory", obj.default_factory))
    elif isinstance(obj, bytearray):
        what += f" {bytes(obj)!r}"
    elif isinstance(obj, _VALUES):
        kind = next(kind for kind in _VALUES[2:] if isinstance(obj, kind))
        what += f" {kind.__repr__(obj)}"
    if isinstance(obj, BaseException):
        parts.append(("args", obj.args))
    for base in cls.__mro__:
        for name, slot in vars(base).items():
            if isinstance(slot, types.MemberDescriptorType) and slot.__objclass__ is base and base.__module__ not in ("builtins", "functools"):
                parts.append((f"slot {name}", _slot(slot, obj)))
    if hasattr(obj, "__dict__"):
        parts += vars(obj).items()
    return what, parts


def _slot(slot, obj):
    try:
        return slot.__get__(obj)
    except AttributeError:
        return _NOTHING


def _function(fn, lead_to):
    what = f"function {fn.__module__} {fn.__qualname__} {fn.__name__} {fn.__doc__!r} {_code(fn.__code__)}"
    parts = [(f"cell {name}", cell) for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or ())]
    parts += [("defaults", fn.__defaults__), ("kwdefaults", fn.__kwdefaults__), *fn.__dict__.items()]
    parts.append(("globals", _Reached(lead_to(fn.__globals__, ("globals", id(fn.__globals__))))))
    parts += [(f"global {name}", fn.__globals__.get(name, _NOTHING)) for name in sorted(set(_names(fn.__code__))) if name in fn.__globals__]
    return what, parts


def _names(code):
    yield from code.co_names
    for constant in code.co_consts:
        if type(constant) is types.CodeType:
            yield from _names(constant)


def _class(cls):
    what = f"class {cls.__module__} {cls.__qualname__} {cls.__basicsize__}"
    left_out = _OF_CLASSES | (_FIELD_OF_ENUMS if isinstance(cls, enum.EnumMeta) else frozenset())
    held = {name: value for name, value in vars(cls).items() if name not in left_out}
    held = {name: held[name] for name in sorted(held)}
    if isinstance(cls, enum.EnumMeta):
        held = {**cls.__members__, **held}
    return what, [("metaclass", type(cls)), *((f"base {i}", base) for i, base in enumerate(cls.__bases__)), *held.items()]


def _array(array, lead_to):
    what = f"{type(array).__name__} {array.dtype} {array.shape} {array.flags.c_contiguous}"
    if array.dtype == object:
        return what, [(f"[{i}]", item) for i, item in enumerate(array.ravel().tolist())]
    place = array.__array_interface__["data"][0], array.nbytes
    return f"{what} {array.tobytes().hex()}", [("memory", _Reached(lead_to(array, ("memory", place))))] if array.size else []


def _in_order(members):
    orders = {}
    for member in members:
        if orders.setdefault(_order(member), member) is not member:
            raise Ambiguous(f"{member!r} and {orders[_order(member)]!r}")
    return [orders[order] for order in sorted(orders)]


def _order(member):
    if isinstance(member, (tuple, frozenset)):
        return f"{type(member).__name__} {sorted(map(_order, member)) if isinstance(member, frozenset) else [*map(_order, member)]}"
    if isinstance(member, (weakref.ref, types.MethodType)):
        return f"{type(member).__name__} {_order(member() if isinstance(member, weakref.ref) else member.__self__)}"
    label = _label(member)
    if label is not None:
        return label
    if isinstance(member, enum.Enum):
        return f"member {member.name}"
    tag = getattr(member, "tag", "")
    return f"{type(member).__name__} {getattr(member, '__name__', '')} {getattr(member, '__qualname__', '')} {tag if type(tag) in (str, int) else ''}"

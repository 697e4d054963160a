"""What to do with the objects of a class that the compiled core does not know.

`plan` decides once per class; the core carries the decision out for every instance. In this order: what a class says about
itself through the default object protocol (its fields), a reference by name, what its reducer returns, and what cloudpickle's do.
"""

import builtins
import copyreg
import dataclasses
import datetime
import decimal
import enum
import functools
import inspect
import pickle
import sys
import types
import typing
import uuid
import weakref
from collections import namedtuple
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, Literal, NamedTuple

import numpy as np

from fastser import numpy_classes
from fastser.errors import FastserError
from fastser.hooks import PROCESS, Hook, Hooks, built_in, exchanged, found_in, refused

Kind = Literal["FIELDS", "ROWS", "ARRAY", "DTYPE", "SCALAR", "HOOK", "REFERENCE", "REDUCE"]


# What reducers raise for what they will not take apart.
_REFUSALS = (pickle.PicklingError, AttributeError, TypeError)


def is_refusal(error: Exception) -> bool:
    """Whether cloudpickle may know better. An error of ours, of a call within this one, is final, though it passes for one of pickle's."""
    return isinstance(error, _REFUSALS) and not isinstance(error, FastserError)


# The bits that tell what a reducer returned beside a callable and its arguments.
STATE, LIST_ITEMS, DICT_ITEMS, SETTER, NEW = 1, 2, 4, 8, 16

_OWN_PROTOCOL = "__reduce_ex__", "__reduce__", "__getstate__", "__setstate__"
# The interpreter's own types, many of which say that they are of builtins.
_OWN_TYPES = {found: name for name, found in vars(types).items() if type(found) is type}
# Beside classes and modules, whose own classes may be subclasses.  Sentinels came with Python 3.15.
_FOUND_BY_NAME = (types.FunctionType, *(getattr(builtins, name) for name in ("sentinel",) if hasattr(builtins, name)))
_NOTHING = object()
# What dataclasses gives to frozen classes with slots. It does no more than the default would, were they not frozen.
_OF_DATACLASSES = {
    "__getstate__": getattr(dataclasses, "_dataclass_getstate", _NOTHING),
    "__setstate__": getattr(dataclasses, "_dataclass_setstate", _NOTHING),
}
MAIN = frozenset(["__main__", "__mp_main__"])  # the second is its name in a worker that was not forked
_HEAP_TYPE = 1 << 9
_POINTER = tuple.__itemsize__
_NAMEDTUPLE_ARGUMENTS = namedtuple("_NAMEDTUPLE_ARGUMENTS", "").__getnewargs__.__code__  # type: ignore[attr-defined]


class Plan(NamedTuple):
    """How the objects of a class are packed, and why.

    Parameters
    ----------
    kind : str
        "FIELDS": the names and values of its fields. "ROWS": a named tuple, its items. "ARRAY": a subclass of NumPy's arrays, its
        elements. "DTYPE", "SCALAR": native. "HOOK": what a registered function returns. "REFERENCE": module and name, or by value.
        "REDUCE": what its reducer returns.
    reason : str
        For `explain`.
    slots : tuple of (str, descriptor)
        FIELDS: the slots, those of bases first.
    has_dict : bool
        FIELDS: whether instances have a ``__dict__``.
    hook : Hook or None
        HOOK: what packs them.
    masked : bool
        ARRAY: it is made again as NumPy's masked arrays are.
    """

    kind: Kind
    reason: str
    slots: tuple[tuple[str, Any], ...] = ()
    has_dict: bool = False
    hook: Hook | None = None
    masked: bool = False


def plan(cls: type, hooks: Hooks = PROCESS) -> Plan:
    """Decide how the objects of exactly this class are packed.

    Examples
    --------
    >>> from fastser.fallback import plan
    >>> class Point:
    ...     __slots__ = "x", "y"
    >>> plan(Point)[:2]
    ('FIELDS', 'the default object protocol')
    >>> plan(OSError)[:2]
    ('REDUCE', 'it has a __reduce__ of its own')
    """
    if (hook := hooks.find(cls)) is not None:
        return Plan("HOOK", f"registered as {hook.name!r}", hook=hook)
    return protocol_plan(cls)


def protocol_plan(cls: type) -> Plan:
    """The plan of a class that no hook is registered for."""
    if cls in copyreg.dispatch_table:
        return Plan("REDUCE", "copyreg has a reducer for it")
    if (hook := built_in(cls)) is not None:
        return Plan("HOOK", f"built in as {hook.name!r}", hook=hook)
    if (hook := refused(cls)) is not None:
        return Plan("HOOK", "a one-shot stream", hook=hook)
    if issubclass(cls, (type, types.ModuleType)) or cls in _FOUND_BY_NAME:
        return Plan("REFERENCE", "it is found by its module and name")
    if cls in (pickle.PickleBuffer, memoryview):
        return Plan("REDUCE", "it is a buffer")
    if cls in OWN_REDUCERS:
        return Plan("REDUCE", "it has a reducer here")
    if _is_namedtuple(cls):
        return Plan("ROWS", "a named tuple")
    if (form := numpy_classes.form_of(cls)) is not None:
        return Plan("ARRAY", form.reason, masked=form.masked)
    if numpy_classes.is_dtype(cls):
        return Plan("DTYPE", "a dtype")
    if numpy_classes.package_of(cls) is not None:
        return Plan("SCALAR", "a scalar of a dtype that is known by its name")
    obstacle = _customised(cls)
    if obstacle is None:
        slots = slots_alone(cls)
        if slots is not None:
            return Plan("FIELDS", "the default object protocol", tuple(slots.items()), cls.__dictoffset__ != 0)
        obstacle = "its instances hold more than fields"
    if all(_is_default(cls, name) for name in _OWN_PROTOCOL) and (hook := exchanged(cls)) is not None:
        return Plan("HOOK", f"built in as {hook.name!r}", hook=hook)
    return Plan("REDUCE", obstacle)


def slots_alone(cls: type) -> dict[str, Any] | None:
    """The slots of a class, those of bases first; None where its instances hold more than slots and a dict."""
    slots: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).copy().items():  # other threads may change it
            if isinstance(value, types.MemberDescriptorType) and value.__objclass__ is base and value.__name__ == name:
                slots[name] = value
    size = object.__basicsize__ + _POINTER * (len(slots) + (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0))
    return slots if cls.__basicsize__ == size and not cls.__itemsize__ else None


def declined(plan: Plan, cls: type) -> Plan:
    """The plan for an object that `plan`, that of its class, is not for: its hook would not have it, or its dtype is an odd one."""
    if plan.kind in ("ARRAY", "DTYPE"):
        return Plan("REDUCE", "it is none that a description brings back as pickle does")
    if plan.hook is not None and plan.hook in (built_in(cls), exchanged(cls)):
        return Plan("REDUCE", f"the hook {plan.hook.name!r} leaves it to its reducer")
    return protocol_plan(cls)


def _customised(cls: type) -> str | None:
    """What keeps a class from being packed by its fields alone."""
    for name in ("__reduce_ex__", "__reduce__", "__getattribute__"):
        if getattr(cls, name) is not getattr(object, name):
            return f"it has a {name} of its own"
    for name in ("__getnewargs_ex__", "__getnewargs__"):
        if hasattr(cls, name):
            return f"it has {name}"
    for name in ("__getstate__", "__setstate__"):
        if not _is_default(cls, name) and getattr(cls, name) is not _OF_DATACLASSES[name]:
            return f"it has a {name} of its own"
    if cls.__new__ is not object.__new__:  # type: ignore[comparison-overlap]
        return "it has a __new__ of its own"
    if not cls.__flags__ & _HEAP_TYPE:
        return "it is not made by a class statement"
    if type(cls).__hash__ is not type.__hash__ or type(cls).__eq__ is not type.__eq__:
        return "its metaclass compares classes"
    return None


def _is_default(cls: type, name: str) -> bool:
    """Whether a class has what object has, which may be nothing: None is not nothing."""
    return getattr(cls, name, _NOTHING) is getattr(object, name, _NOTHING)


def _is_namedtuple(cls: type) -> bool:
    new = getattr(cls, "__new__", None)
    arguments = getattr(cls, "__getnewargs__", None)
    return (
        issubclass(cls, tuple)
        and getattr(new, "__globals__", {}).get("_tuple_new") is tuple.__new__
        and getattr(arguments, "__code__", None) is _NAMEDTUPLE_ARGUMENTS
        and cls.__dictoffset__ == 0
        and cls.__basicsize__ == tuple.__basicsize__
        and type(cls).__hash__ is type.__hash__
        and type(cls).__eq__ is type.__eq__
        and all(getattr(cls, name) is getattr(tuple, name) for name in ("__reduce_ex__", "__reduce__", "__getattribute__"))
        and all(_is_default(cls, name) for name in ("__getstate__", "__setstate__"))
        and not hasattr(cls, "__getnewargs_ex__")
    )


# --- references --------------------------------------------------------------------------------------------------------


def reference(obj: Any, mode: str | None, name: str | None = None) -> tuple[str, str] | None:
    """Return module and qualified name by which an object is found again, or None: it goes by value, through cloudpickle.

    Parameters
    ----------
    obj : object
    mode : {"cloudpickle", "pickle"} or None
        By "cloudpickle" what lives in ``__main__``, or in a module that was registered to go by value, does so.
    name : str, optional
        The name, where the object's reducer told it.

    Raises
    ------
    pickle.PicklingError
        It is not found, and there is no cloudpickle to ask.
    """
    by_value = mode == "cloudpickle"
    if isinstance(obj, types.ModuleType):
        if type(obj.__name__) is str and sys.modules.get(obj.__name__) is obj and not (by_value and _goes_by_value(obj.__name__)):
            return obj.__name__, ""
        # One may have the name of another, as _collections_abc has.
        if type(obj.__name__) is str and obj.__name__ in sys.modules:
            for key, module in [*sys.modules.items()]:
                if module is obj and not (by_value and _goes_by_value(key)):
                    return key, ""
        if by_value:
            return None
        raise pickle.PicklingError(f"it is not the module that is imported as {obj.__name__}")
    if type(obj) is type and obj in _OWN_TYPES:
        return "types", _OWN_TYPES[obj]
    if name is None:
        name = getattr(obj, "__qualname__", None) or obj.__name__
    if by_value and "<" in name:  # <locals> or <lambda>
        return None
    if ".__" in name:
        name = _mangled(name)
    module = _module_of(obj, name)
    if by_value and (_goes_by_value(module) or (type(obj) is types.FunctionType and module not in sys.modules)):
        return None  # named tuples have functions of modules that never were
    if type(module) is str and type(name) is str:
        with suppress(ImportError, KeyError, AttributeError, ValueError):
            if resolve(module, name) is obj:
                return module, name
    if by_value:
        return None
    raise pickle.PicklingError(f"it is not the object that is found as {module}.{name}")


def _mangled(name: str) -> str:
    """A qualified name with the names of private members as their class holds them: ``A.__b`` is ``A._A__b``."""
    parts = name.split(".")
    for i in range(len(parts) - 1, 0, -1):
        owner = parts[i - 1].lstrip("_")
        if parts[i].startswith("__") and not parts[i].endswith("__") and owner:
            parts[i] = f"_{owner}{parts[i]}"
    return ".".join(parts)


def _module_of(obj: Any, name: str) -> Any:
    """Where an object says that it is; else the first module that holds it, or ``__main__``.

    `pickle.whichmodule` answers the same, but raises from Python 3.14 on when nothing is found there. Modules are looked at
    through their dicts, where a look imports nothing.
    """
    module = getattr(obj, "__module__", None)
    if module is not None:
        return found_in(module)
    known = _found_in.get(name)
    if known is not None and _is_held(sys.modules.get(known), name, obj):
        return known
    for module, held in [*sys.modules.items()]:
        if module not in MAIN and _is_held(held, name, obj):
            if len(_found_in) >= _FOUND_LIMIT:
                _found_in.clear()
            _found_in[name] = module
            return module
    return "__main__"


# Where objects that do not say so were found, by name: a look at all modules takes a thousand times as long.
_found_in: dict[str, str] = {}
_FOUND_LIMIT = 1000


def _is_held(module: Any, name: str, obj: Any) -> bool:
    first, *rest = name.split(".")
    try:
        found = module.__dict__[first]
        for part in rest:
            found = getattr(found, part)
    except (AttributeError, KeyError):
        return False
    return found is obj


def resolve(module: str, name: str) -> Any:
    """Return what `reference` told the names of."""
    found: Any = sys.modules.get(module)
    if found is None or getattr(getattr(found, "__spec__", None), "_initializing", False):  # another thread may be importing it
        found = import_module(module)
    for part in name.split(".") if name else ():
        if part == "<locals>":
            raise AttributeError(f"{module}.{name} is local to a function")
        found = getattr(found, part)
    return found


def _goes_by_value(module: str) -> bool:
    return module in MAIN or any(
        module == registered or module.startswith(f"{registered}.") for registered in _registered_by_value()
    )


def _registered_by_value() -> Iterable[str]:
    # Only an imported cloudpickle can have been told to.
    cloudpickle = sys.modules.get("cloudpickle")
    return () if cloudpickle is None else cloudpickle.list_registry_pickle_by_value()


# --- reducers ----------------------------------------------------------------------------------------------------------


class Reduced(NamedTuple):
    """What a reducer returned: a callable and its arguments, and what is put into the result afterwards."""

    parts: int
    call: Any
    arguments: tuple[Any, ...]
    state: Any
    items: list[Any]
    keys: list[Any]
    values: list[Any]
    setter: Any


def reduce(obj: Any) -> str | Reduced:
    """Ask an object for its parts, as pickle does; a str is the name that it is found by.

    Raises
    ------
    pickle.PicklingError
        What came is not what a reducer may return.
    Exception
        Whatever the reducer raises.
    """
    return take_apart(obj, ask(obj))


def ask(obj: Any) -> Any:
    """Return what the reducer of an object does."""
    cls = type(obj)
    reducer = copyreg.dispatch_table.get(cls) or OWN_REDUCERS.get(cls)
    if reducer is not None:
        return reducer(obj)
    reduced = obj.__reduce_ex__(5)
    return of_enum(obj, reduced) if isinstance(obj, enum.Enum) else reduced


def of_enum(member: Any, reduced: Any) -> Any:
    """What the reducer of an enum's member returned; the member's name, where a copy of its value is not equal to it."""
    cls = type(member)
    if type(reduced) is not tuple or len(reduced) != 2 or reduced[0] is not cls or type(reduced[1]) is not tuple or len(reduced[1]) != 1:
        return reduced
    value = reduced[1][0]
    if type(value) in ORDERED or (type(value) is tuple and ORDERED.issuperset(map(type, value))):
        return reduced
    name = getattr(member, "_name_", None)
    return (getattr, (cls, name)) if type(name) is str and cls.__members__.get(name) is member else reduced


def _reduce_method(method: types.MethodType) -> Any:
    """The object and the method's name, where that leads to it; else its function as well, which may be anything, or that of a base."""
    function, owner = method.__func__, method.__self__
    name = getattr(function, "__name__", None)
    if type(name) is str and name.startswith("__") and not name.endswith("__"):  # a private one, which its class holds by another name
        name = _mangled(getattr(function, "__qualname__", name)).rpartition(".")[2]
    if type(name) is str and _has_method(owner, name, function):
        return getattr, (owner, name)
    return types.MethodType, (function, owner)


def _has_method(owner: Any, name: str, function: Any) -> bool:
    classes = type(owner).__mro__
    if isinstance(owner, type):
        classes = (*owner.__mro__, *classes)
    elif type(owner).__dictoffset__ and name in object.__getattribute__(owner, "__dict__"):
        return False
    found = next((vars(cls)[name] for cls in classes if name in vars(cls)), None)
    if type(found) is classmethod:
        return bool(found.__func__ is function)
    # Another descriptor may be what made the method.
    return found is function or (type(found) is not types.FunctionType and hasattr(type(found), "__get__"))


def _reduce_view(view: memoryview) -> Any:
    try:
        memoryview(bytes(view.itemsize)).cast(view.format)  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise pickle.PicklingError(f"nothing makes a memoryview of the format {view.format!r}") from error
    memory = view if view.c_contiguous else view.tobytes()
    return view_again, (pickle.PickleBuffer(memory), view.format, view.shape)


def _reduce_weak_set(weak: "weakref.WeakSet[Any]") -> Any:
    # Its own reducer tells a function that holds a weak reference.
    return weakref.WeakSet, (list(weak),)


def _reduce_weak_mapping(mapping: Any) -> Any:
    return type(mapping), (), None, None, iter(list(mapping.items()))


def _reduce_forward(obj: Any) -> tuple[Any, ...]:
    """A name that nothing was found for: it holds all globals of its module, and all that is in its class."""
    make, arguments, (fields, slots), *rest = obj.__reduce_ex__(5)
    names: tuple[str, ...] = ()
    with suppress(SyntaxError):
        names = compile(f"({obj.__forward_arg__},)", __name__, "eval").co_names
    narrowed = {name: {n: held[n] for n in names if n in held} for name, held in slots.items() if isinstance(held, dict)}
    return make, arguments, (fields, {**slots, **narrowed, "__code__": None}), *rest


def _reduce_cached_property(prop: "functools.cached_property[Any]") -> Any:
    return functools.cached_property, (None,), {name: value for name, value in vars(prop).items() if name != "lock"}


# What pickle cannot carry, or not as it should be. What a program registers with copyreg comes first.
OWN_REDUCERS: dict[type, Any] = {
    memoryview: _reduce_view,
    types.MethodType: _reduce_method,
    weakref.WeakSet: _reduce_weak_set,
    weakref.WeakKeyDictionary: _reduce_weak_mapping,
    weakref.WeakValueDictionary: _reduce_weak_mapping,
    type(dataclasses.MISSING): lambda one: _of_dataclasses(one, "MISSING"),
    type(dataclasses.KW_ONLY): lambda one: _of_dataclasses(one, "KW_ONLY"),
    type(dataclasses._HAS_DEFAULT_FACTORY): lambda one: _of_dataclasses(one, "_HAS_DEFAULT_FACTORY"),  # type: ignore[attr-defined]
    type(dataclasses._FIELD): lambda kind: _of_dataclasses(kind, kind.name),  # type: ignore[attr-defined]
}
if sys.version_info >= (3, 14):
    OWN_REDUCERS[typing.ForwardRef] = _reduce_forward
if sys.version_info < (3, 12):  # before, it has a lock
    OWN_REDUCERS[functools.cached_property] = _reduce_cached_property


def _of_dataclasses(one: Any, name: str) -> Any:
    """One object, which dataclasses look for; others are copies that cloudpickle has made of it."""
    return name if getattr(dataclasses, name) is one else (getattr, (dataclasses, name))


ORDERED = frozenset([str, bytes, int, float, bool, type(None), complex, decimal.Decimal, uuid.UUID])
ORDERED |= {datetime.date, datetime.datetime, datetime.time, datetime.timedelta}


def in_order(members: list[Any]) -> list[Any]:
    """The members of a set in an order that depends on nothing but them; as they come where some are instances of users' classes."""
    try:
        return sorted(members, key=_place_in_order)
    except _NoOrder:
        return members


def _place_in_order(member: Any) -> tuple[str, Any]:
    kind = type(member)
    if kind in ORDERED:
        return kind.__name__, member if kind is str else text_of(member)
    if kind is tuple:
        return "tuple", tuple(map(_place_in_order, member))
    if kind is frozenset:
        return "frozenset", tuple(sorted(map(_place_in_order, member)))
    if isinstance(member, enum.Enum):
        return "member", (kind.__module__, kind.__qualname__, str(member._name_))
    if isinstance(member, (type, types.FunctionType, types.BuiltinFunctionType)):
        return "named", (str(member.__module__), member.__qualname__, "")
    raise _NoOrder


def text_of(plain: Any) -> str:
    """The repr of a plain value; of large integers, whose digits Python counts only up to a limit, in base 16."""
    return hex(plain) if type(plain) is int and plain.bit_length() > 64 else repr(plain)


class _NoOrder(Exception):
    """Nothing but its own code tells where an object belongs."""


def names_in(code: types.CodeType) -> Iterator[str]:
    """What code may find among globals: names of attributes are among them."""
    yield from code.co_names
    for constant in code.co_consts:
        if type(constant) is types.CodeType:
            yield from names_in(constant)


def check_new(new: types.FunctionType, count: int) -> None:
    """Check that a class' ``__new__`` takes so many arguments: no reader could make the object otherwise.

    Raises
    ------
    pickle.PicklingError
        It does not.
    """
    code = new.__code__
    required = code.co_argcount - len(new.__defaults__ or ()) - 1
    takes_more = bool(code.co_flags & 0x04)  # *args
    missing = [name for name in code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount] if name not in (new.__kwdefaults__ or {})]
    if count < required or missing or (count > code.co_argcount - 1 and not takes_more):
        raise pickle.PicklingError(
            f"its class makes objects by a __new__ that takes other arguments than {count}: give it a __getnewargs__ or a __reduce__"
        )


def take_apart(obj: Any, reduced: Any) -> str | Reduced:
    """Check what a reducer returned, and name its parts."""
    if isinstance(reduced, str):
        return reduced
    if not isinstance(reduced, tuple) or not 2 <= len(reduced) <= 6:
        raise pickle.PicklingError(f"its reducer returned {type(reduced).__name__}, not a str or a tuple of 2 to 6 items")
    call, arguments, state, items, pairs, setter = (*reduced, None, None, None, None)[:6]
    if not isinstance(arguments, tuple):
        raise pickle.PicklingError(f"its reducer returned arguments of type {type(arguments).__name__}, not a tuple")
    parts = 0
    name = getattr(call, "__name__", "")
    if name in ("__newobj__", "__newobj_ex__"):
        if not arguments or not hasattr(arguments[0], "__new__"):
            raise pickle.PicklingError(f"its reducer returned {name} without a class that has a __new__")
        if arguments[0] is not type(obj) and arguments[0] is not getattr(obj, "__class__", None):
            raise pickle.PicklingError("its reducer makes an object of another class")
        if name == "__newobj_ex__" and (len(arguments) != 3 or type(arguments[1]) is not tuple or type(arguments[2]) is not dict):
            raise pickle.PicklingError(f"its reducer returned {name} without a tuple and a dict of arguments")
    if name == "__newobj__":
        parts, call, arguments = NEW, arguments[0], arguments[1:]
        new = inspect.getattr_static(call, "__new__")
        if type(new) is staticmethod and type(new.__func__) is types.FunctionType:
            check_new(new.__func__, len(arguments))
    if not callable(call) or not (setter is None or callable(setter)):
        raise pickle.PicklingError("its reducer returned something to call that cannot be called")
    for found in (items, pairs):
        if not (found is None or isinstance(found, Iterator)):
            raise pickle.PicklingError(f"its reducer returned items of type {type(found).__name__}, not an iterator")
    keys: list[Any] = []
    values: list[Any] = []
    if pairs is not None:
        for key, value in pairs:
            keys.append(key)
            values.append(value)
    listed = [] if items is None else list(items)
    parts |= STATE * (state is not None) | LIST_ITEMS * bool(listed) | DICT_ITEMS * bool(keys)
    parts |= SETTER * (state is not None and setter is not None)
    return Reduced(parts, call, arguments, state, listed, keys, values, setter)


def template_maker(kind: int) -> Any:
    """What makes an interpolation of its parts, or a template string of its strings and interpolations; None below Python 3.14."""
    if sys.version_info < (3, 14):
        return None
    from string.templatelib import Interpolation, Template

    if kind:
        return Interpolation

    def make(strings: Any, interpolations: Any) -> Template:
        if not (type(strings) is tuple and type(interpolations) is tuple and len(strings) == len(interpolations) + 1):
            raise TypeError("expected a tuple of strings, and one of interpolations that has one item less")
        if not (all(type(text) is str for text in strings) and all(type(found) is Interpolation for found in interpolations)):
            raise TypeError("expected strings and interpolations")
        between = zip(strings, interpolations)
        return Template(*(part for pair in between for part in pair), strings[-1])

    return make


def view_again(buffer: Any, format: str, shape: tuple[int, ...]) -> memoryview:
    """A memoryview like the one that was packed, over the buffer that was read."""
    view = memoryview(buffer).cast("B")
    if 0 in shape:  # cast takes no such shapes
        return np.empty(shape, format).data
    return view.cast(format, list(shape))  # type: ignore[call-overload, no-any-return]

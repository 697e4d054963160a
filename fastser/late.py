"""What newer Pythons put into functions and classes, and cloudpickle leaves out.

Annotations that are evaluated late, type parameters, ``type`` aliases, lazy imports and sentinels. None of them is evaluated or imported
to be packed, but for what type parameters hold before Python 3.14, and lazy imports of what goes by value itself.
"""

import builtins
import dis
import functools
import gc
import itertools
import sys
import types
import typing
import weakref
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any

from fastser.fallback import reference

# --- annotations ---------------------------------------------------------------------------------------------------------


def cached_annotations(fn: types.FunctionType) -> dict[str, Any] | None:
    """The annotations of a function that were evaluated before: to ask for ``__annotations__`` would evaluate them."""
    untyped: Any = fn  # mypy knows of no __builtins__
    others = {id(other) for other in (fn.__globals__, untyped.__builtins__, fn.__dict__, fn.__kwdefaults__, fn.__doc__)}
    return next((held for held in gc.get_referents(fn) if isinstance(held, dict) and id(held) not in others), None)


def add_annotations(fn: types.FunctionType, state: dict[str, Any]) -> dict[str, Any] | None:
    """Put what evaluates the annotations of a function into `state`, else its annotations; return what was evaluated before."""
    annotate = getattr(fn, "__annotate__", None)
    if annotate is None:
        if fn.__annotations__:
            state["__annotations__"] = fn.__annotations__
        return None
    cached = cached_annotations(fn)
    if cached is None or type(annotate) is types.FunctionType:
        state["__annotate__"] = annotate
    return cached


def _copied(fn: types.FunctionType, code: types.CodeType, closure: Any) -> types.FunctionType:
    """The same function, with this code and closure, and without annotations."""
    copy = types.FunctionType(code, fn.__globals__, fn.__name__, fn.__defaults__, closure)
    for name in ("__kwdefaults__", "__qualname__", "__module__", "__doc__"):
        setattr(copy, name, getattr(fn, name))
    copy.__dict__.update(fn.__dict__)
    return copy


def narrowed(code: types.CodeType, closure: tuple[types.CellType, ...]) -> tuple[types.CellType, ...]:
    """The same, but that of the namespace of a class, which code that is evaluated late sees whole, only what it names goes along."""
    if "__classdict__" not in code.co_freevars:
        return closure
    names = names_of_class_scope(code)
    return tuple(_narrowed(cell, names) if variable == "__classdict__" else cell for variable, cell in zip(code.co_freevars, closure))


def _narrowed(cell: types.CellType, names: list[str]) -> types.CellType:
    with suppress(ValueError):  # it is empty
        return types.CellType({name: cell.cell_contents[name] for name in names if name in cell.cell_contents})
    return cell


def names_of_class_scope(code: types.CodeType) -> list[str]:
    """What late code within a class looks up there first, and then among globals: cloudpickle does not look for it."""
    names = _NAMES.get(code)
    if names is None:
        names = _NAMES[code] = []
        if "__classdict__" in code.co_freevars:
            names += (found.argval for found in dis.get_instructions(code) if found.opname.startswith("LOAD_FROM_DICT_OR_"))
        for constant in code.co_consts:
            if type(constant) is types.CodeType:
                names += names_of_class_scope(constant)
    return names


_NAMES: MutableMapping[types.CodeType, list[str]] = weakref.WeakKeyDictionary()


def set_annotations(fn: types.FunctionType, annotate: Any, cached: dict[str, Any]) -> None:
    """Give a function both what evaluates its annotations, or None, and what that returned before."""
    if annotate is None:
        fn.__annotations__ = cached
        return
    # Each of the two attributes clears the other. So a copy is evaluated once, while its code is another.
    code = annotate.__code__
    nothing = _nothing.__code__.replace(co_freevars=code.co_freevars)
    copy = _copied(annotate, nothing, annotate.__closure__)
    fn.__annotate__ = copy  # type: ignore[attr-defined]
    fn.__annotations__.update(cached)
    copy.__code__ = code


def _nothing(format: int, /) -> dict[str, Any]:
    return {}


def set_class_annotations(cls: type, here: Any, annotate: Any, cached: Any) -> None:
    """The same for a class; `here`: what it had before it was filled, if it was complete then."""
    if here is not None and getattr(here, "__code__", None) == getattr(annotate, "__code__", ""):
        type.__setattr__(cls, "__annotate_func__", here)  # some versions of cloudpickle put theirs there
    else:
        # This clears what was evaluated while the class was still empty.
        type.__setattr__(cls, "__annotate__", annotate)
    if cached is not None:
        type.__setattr__(cls, "__annotations_cache__", cached)


def base_of(special: Any) -> Any:
    return types.resolve_bases((special,))[0]


def special_base(cls: type, found: Any) -> Any:
    """What such a class comes from that no name leads to: of typing's TypedDict, say, which is a function. `found`: what has its name."""
    if found is not None and found is not cls and hasattr(found, "__mro_entries__"):
        with suppress(Exception):
            return found if base_of(found) is cls else None
    return None


# --- type parameters, aliases, sentinels ---------------------------------------------------------------------------------


def _reduce_parameter(parameter: Any) -> tuple[Any, ...]:
    cls = type(parameter)
    if type(getattr(parameter, "evaluate_default", "")) in (types.FunctionType, types.NoneType):
        # A statement made it. What that has for each part is a function, which may be unable to tell yet.
        evaluate = [getattr(parameter, f"evaluate_{part}", None) for part in ("bound", "constraints", "default")]
        return cls, _make_late_parameter, cls.__name__.upper(), parameter.__name__, parameter.__module__, *evaluate
    # What is as by default is left out, so that older Pythons read it. Attributes that typing_extensions adds are no options.
    options = {part: getattr(parameter, f"__{part}__", None) for part in ("bound", "covariant", "contravariant", "infer_variance")}
    options = {part: value for part, value in options.items() if value}
    if cls is typing.ParamSpec and options.get("bound") is types.NoneType:
        del options["bound"]  # what Python 3.12 and 3.13 make of None
    default = parameter.__default__ if getattr(parameter, "has_default", bool)() else _missing
    return cls, _make_parameter, cls, parameter.__name__, parameter.__module__, getattr(parameter, "__constraints__", ()), options, default


def _missing() -> None:
    """Stands for a default that is not there: found by its name, as None may be one."""


def _make_parameter(cls: type, name: str, module: str, constraints: tuple[Any, ...], options: dict[str, Any], default: Any) -> Any:
    if default is not _missing:
        options["default"] = default
    unknown = [part for part, since in (("infer_variance", (3, 12)), ("default", (3, 13))) if sys.version_info < since]
    attributes = {part: options.pop(part) for part in unknown if part in options}
    parameter = cls(name, *constraints, **options)
    for part, value in attributes.items():
        setattr(parameter, f"__{part}__", value)
    parameter.__module__ = module
    return parameter


def _make_late_parameter(intrinsic: str, name: str, module: str, bound: Any, constraints: Any, default: Any) -> Any:
    if bound is not None:
        parameter = _intrinsic("TYPEVAR_WITH_BOUND", name, bound)
    elif constraints is not None:
        parameter = _intrinsic("TYPEVAR_WITH_CONSTRAINTS", name, constraints)
    else:
        parameter = _intrinsic(intrinsic, name)
    if default is not None:
        _intrinsic("SET_TYPEPARAM_DEFAULT", parameter, default)
    parameter.__module__ = module
    return parameter


def _reduce_alias(alias: Any) -> tuple[Any, ...]:
    # Before Python 3.14 no attribute gives it. That of a statement is named as the alias is.
    for evaluate in [alias.evaluate_value] if hasattr(alias, "evaluate_value") else gc.get_referents(alias):
        if type(evaluate) is types.FunctionType and evaluate.__code__.co_name == alias.__name__:
            return type(alias), _make_late_alias, alias.__name__, alias.__type_params__, evaluate
    options = {"type_params": alias.__type_params__}
    if getattr(alias, "__qualname__", alias.__name__) != alias.__name__:
        options["qualname"] = alias.__qualname__
    return type(alias), _make_alias, alias.__name__, alias.__module__, alias.__value__, options


def _make_late_alias(*parts: Any) -> Any:
    return _intrinsic("TYPEALIAS", parts)


def _make_alias(name: str, module: str, value: Any, options: dict[str, Any]) -> Any:
    # Its module is that of the caller.
    return eval("make(name, value, **options)", {"__name__": module, "make": typing.TypeAliasType}, locals())


def _reduce_new_type(made: Any) -> tuple[Any, ...]:
    return type(made), _make_new_type, made.__name__, made.__qualname__, made.__module__, made.__supertype__


def _make_new_type(name: str, qualname: str, module: str, supertype: Any) -> Any:
    made: Any = typing.NewType(name, supertype)  # type: ignore[misc]
    made.__qualname__, made.__module__ = qualname, module
    return made


def _reduce_sentinel(obj: Any) -> tuple[Any, ...]:
    return type(obj), _make_sentinel, obj.__name__, obj.__module__, repr(obj)


def _make_sentinel(name: str, module: str, text: str) -> Any:
    made = builtins.sentinel(name, repr=text)  # type: ignore[attr-defined]
    made.__module__ = module
    return made


ONE_IN_A_PROCESS: dict[type, Callable[[Any], tuple[Any, ...]]] = {typing.TypeVar: _reduce_parameter, typing.ParamSpec: _reduce_parameter}
for _module, _name, _reducer in (
    (typing, "TypeVarTuple", _reduce_parameter),
    (typing, "TypeAliasType", _reduce_alias),
    (typing, "NewType", _reduce_new_type),
    (builtins, "sentinel", _reduce_sentinel),
):
    if hasattr(_module, _name):
        ONE_IN_A_PROCESS[getattr(_module, _name)] = _reducer


# Only statements make aliases and bounds that are evaluated late: there is no constructor. So the one instruction of a function
# is replaced by the one that the compiler has for them. It takes as many objects, and leaves one.

_STATEMENTS = """
type X = int
def f[T: int, S: (int, str), R, *Ts, **P](): ...
"""
_DEFAULTS = """
def f[T = int](): ...
"""


def _intrinsic(name: str, *operands: Any) -> Any:
    code = (_one if len(operands) == 1 else _two).__code__
    replaced = bytes([dis.opmap["BUILD_TUPLE"], len(operands)])
    if code.co_code.count(replaced) != 1:
        raise RuntimeError(f"this Python does not make a tuple by one {replaced.hex()}")
    return types.FunctionType(code.replace(co_code=code.co_code.replace(replaced, _instruction(name))), {})(*operands)


@functools.cache
def _instruction(name: str) -> bytes:
    codes = [compile(_STATEMENTS + _DEFAULTS * (sys.version_info >= (3, 13)), __name__, "exec")]
    for code in codes:
        codes.extend(constant for constant in code.co_consts if type(constant) is types.CodeType)
        for found in dis.get_instructions(code):
            if found.argrepr == f"INTRINSIC_{name}":
                return bytes([found.opcode, found.arg or 0])
    raise RuntimeError(f"this Python has no INTRINSIC_{name}")


def _one(a: Any) -> Any:
    return (a,)


def _two(a: Any, b: Any) -> Any:
    return a, b


# --- the others --------------------------------------------------------------------------------------------------------


def _reduce_arguments(obj: Any) -> tuple[Any, ...]:
    return type(obj), (obj.__origin__,)


def _reduce_weak(obj: Any) -> Any:
    """attrs gives one to the class that a class with slots was made from, and names that are not found lead there."""
    referent = obj()
    return (weakref.ref, (referent,)) if isinstance(referent, type) else NotImplemented


def _reduce_lazy_import(obj: Any) -> tuple[Any, ...]:
    """The statement again. What `from` or `as` says is a chain of names, which no attribute tells."""
    names: list[str] = []
    module: Any = obj
    while type(module) is type(obj):
        module, *rest = (held for held in gc.get_referents(module) if isinstance(held, (str, tuple, type(obj))))
        names[:0] = (name for name in rest if type(name) is str)
    packages = itertools.accumulate(module.split("."), "{}.{}".format)
    if any(package in sys.modules and reference(sys.modules[package], "cloudpickle") is None for package in packages):
        return _same, (obj.resolve(),)  # the reader has no such module
    if rest:
        return _import_lazily, (f"from {module} import {names[0]} as it", "it")
    if names:
        return _import_lazily, (f"import {module} as it", "it")
    return _import_lazily, (f"import {module}", module.split(".")[0])


def _import_lazily(statement: str, name: str) -> Any:
    scope: dict[str, Any] = {"__name__": __name__}
    exec(f"lazy {statement}", scope)
    return scope[name]


def _same(obj: Any) -> Any:
    return obj


REDUCERS: dict[type, Callable[[Any], Any]] = {
    weakref.ref: _reduce_weak,
    typing.ParamSpecArgs: _reduce_arguments,
    typing.ParamSpecKwargs: _reduce_arguments,
}
if sys.version_info >= (3, 15):
    REDUCERS[types.LazyImportType] = _reduce_lazy_import

"""What goes by value: functions, classes and modules that a reader cannot import, and what only cloudpickle takes apart.

cloudpickle knows what there is to carry. It is asked for that as a reducer would be, and the packer walks the answer like any other, so
that what functions and classes share with the rest of a message is one object there, and one when it comes back. This module is
imported only when something goes by value, or comes so.
"""

import builtins
import enum
import functools
import inspect
import io
import os
import pickle
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import MAGIC_NUMBER
from typing import Any

import cloudpickle  # type: ignore[import-untyped,unused-ignore]

from fastser import definitions, digests, enums, errors, late
from fastser.definitions import Key
from fastser.fallback import MAIN, reference
from fastser.hooks import found_in

_reducers = cloudpickle.Pickler.dispatch_table
_HEAP_TYPE = 1 << 9
_HAS_DOCSTRING = 1 << 26
_OF_MODULES = "__package__", "__name__", "__path__"  # what relative imports look for
_FILE = 10  # the place of its file's name among what code is made of, on every Python
_LRU_CACHE = type(functools.lru_cache(print))
# What of a class may lead to none of its instances.
_PLAIN = frozenset([type(None), bool, int, float, complex, str, bytes])
_CONTAINERS = frozenset([dict, list, tuple, set, frozenset])
# What a class gets last: `__init_subclass__` is not to be called for what its own class holds.
_LAST = frozenset(["_abc_impl", "__abstractmethods__", "__annotations__", "__annotations_cache__", "__firstlineno__", "__init_subclass__"])
# What holds functions in a class, and by which attributes.
_WRAPPERS: dict[type, tuple[str, ...]] = {
    property: ("fget", "fset", "fdel"),
    classmethod: ("__func__",),
    staticmethod: ("__func__",),
    functools.cached_property: ("func",),
}
_KEEPERS = frozenset([property, classmethod, staticmethod])
# What looks at nothing that it is given, so that it may be incomplete still.
_LENIENT = frozenset([types.FunctionType, types.CellType, property, classmethod, staticmethod])


class ByValue:
    """The reducers of one message.

    Parameters
    ----------
    values : bool
        Whether a reader is to use definitions of its own only where they refer to equal values too, and functions never.
    refused : str, optional
        Why a first attempt failed: what is found by its name then goes by that and the digest of its definition, without it.
    """

    def __init__(self, values: bool = False, refused: str | None = None) -> None:
        self._values, self._refused = values, refused
        self._graph = digests.Graph()
        self._cells: dict[int, types.CellType] = {}  # whose contents their functions have
        self._scopes: dict[int, dict[str, Any]] = {}  # what stands for the globals of their modules
        self._functions: dict[int, types.FunctionType] = {}  # those that were taken apart
        self._members: dict[int, tuple[Any, ...]] = {}  # what classes have, with what it is found by there

    def reduce(self, obj: Any, name: str | None = None) -> Any:
        """What a reducer of `obj` would return, or None; `name` is what its own reducer returned.

        Raises
        ------
        pickle.PicklingError
            It cannot go by value; the message tells why.
        """
        cls = type(obj)
        if id(obj) in self._members:
            return self._member(obj)
        if cls is types.FunctionType:
            return self._named(obj) or self._function(obj)
        if issubclass(cls, type):
            return self._class(obj)
        if cls is types.CodeType:
            return make_code, (MAGIC_NUMBER, sys.version_info[:2], *self._code(obj))
        if cls is types.CellType:
            return self._cell(obj)
        if issubclass(cls, types.ModuleType):
            attributes = {name: value for name, value in vars(obj).copy().items() if name != "__builtins__"}
            return make_module, (cls, obj.__name__), attributes, None, None, fill_module
        if cls in late.ONE_IN_A_PROCESS:
            _, make, *arguments = parts = late.ONE_IN_A_PROCESS[cls](obj)
            return make_one, (tuple(definitions.key_of(obj, parts=parts, graph=self._graph)), cls, make, *arguments)
        if cls in late.REDUCERS:
            reduced = late.REDUCERS[cls](obj)
            return None if reduced is NotImplemented else reduced
        if cls is _LRU_CACHE:
            return self._cached(obj)
        for stream in ("stdout", "stderr"):
            if obj is getattr(sys, stream):
                return getattr, (sys, stream)
        if cls in _reducers and cls is not io.TextIOWrapper:  # it would take a text file for its text
            return self._by_cloudpickle(obj)
        if (base := _wrapper_base(cls)) is not None:
            return make_wrapper, (cls, base, *(getattr(base, part).__get__(obj) for part in _WRAPPERS[base])), getattr(obj, "__dict__", None)
        return self._named(obj, name)

    def _code(self, code: types.CodeType) -> list[Any]:
        """What code is made of. Its file is for tracebacks: a whole path would tell machines and folders apart that hold the same."""
        parts = list(_reducers[types.CodeType](code)[1])
        parts[_FILE] = code.co_filename if self._values else code.co_filename.rpartition(os.sep)[2]
        return parts

    def _by_cloudpickle(self, obj: Any) -> Any:
        reduced = _reducers[type(obj)](obj)
        if reduced[0] is getattr:
            found = None
            with suppress(Exception):
                found = getattr(*reduced[1])
            if found is not obj:  # what `type` has for its instances, say
                return None
        return reduced

    def is_lenient(self, obj: Any) -> bool:
        """Whether what makes an object again takes arguments that are incomplete still."""
        return type(obj) in _LENIENT or _wrapper_base(type(obj)) is not None

    def _named(self, obj: Any, name: str | None = None) -> Any:
        """A name and a digest, where its reducer says that it is found by a name, or where it cannot be carried."""
        if name is None and self._refused is None:
            return None
        module, own_name = digests.place(obj)
        if name is None:
            name = own_name
        elif not module:
            module = found_in(getattr(obj, "__module__", None)) or "__main__"
        if digests.found(module, name) is not obj:
            return None
        return definitions.named, (module, name, definitions.fingerprint(obj), self._refused or "its reducer gives its name")

    # --- functions

    def _function(self, fn: types.FunctionType) -> Any:
        self._functions[id(fn)] = fn
        bare, whole = self._bare(fn), self._whole(fn)
        if self._values or fn.__name__ == "__annotate__" or not definitions.is_found(fn):
            return make_function, bare, whole, None, None, fill_function
        return make_own_function, (tuple(definitions.key_of(fn)), *bare), whole, None, None, fill_own_function

    def _bare(self, fn: types.FunctionType) -> tuple[Any, ...]:
        """What a function is made of, before it has anything that may lead back to it."""
        closure = fn.__closure__
        if closure is not None:
            closure = late.narrowed(fn.__code__, closure)
            self._cells.update((id(cell), cell) for cell in closure)
        scope = self._scopes.get(id(fn.__globals__))
        if scope is None:
            scope = self._scopes[id(fn.__globals__)] = {name: fn.__globals__[name] for name in _OF_MODULES if name in fn.__globals__}
        return fn.__code__, scope, closure

    def _whole(self, fn: types.FunctionType) -> tuple[Any, ...]:
        """What is put into a function."""
        code, closure = fn.__code__, fn.__closure__
        names = _global_names(code)
        found = {name: fn.__globals__[name] for name in names if name in fn.__globals__}
        contents: tuple[Any, ...] = ()
        if closure is not None:
            contents = tuple(map(_content, late.narrowed(code, closure)))
        submodules: Any = ()
        if types.ModuleType in map(type, (*found.values(), *contents)):
            submodules = cloudpickle.cloudpickle._find_imported_submodules(code, (*found.values(), *contents))
            submodules.sort(key=lambda module: module.__name__)
        state = {name: value for name, value, default in _attributes(fn, code) if value is not default and value != default}
        cached = late.add_annotations(fn, state)
        return found, contents, state or None, cached, *submodules

    def _cached(self, obj: Any) -> Any:
        parts = _parts_of_cached(obj)
        if self._values or not definitions.is_found(obj):
            return make_cached, parts, vars(obj), None, None, fill_cached
        return make_own_cached, (tuple(definitions.key_of(obj, parts=parts, graph=self._graph)), *parts), vars(obj), None, None, fill_cached

    def _cell(self, cell: types.CellType) -> Any:
        if id(cell) in self._cells:
            return make_cell, ()
        return make_cell, (), (_content(cell),), None, None, fill_cell

    # --- classes

    def _class(self, cls: type) -> Any:
        special = late.special_base(cls, digests.found(*digests.place(cls)))
        if special is not None:
            return late.base_of, (special,)
        said = cls.__module__
        module = found_in(said)
        if module != said:
            return getattr, (sys.modules[module], cls.__qualname__)
        named = self._named(cls)
        if named is not None:
            return named
        if not _is_of_a_statement(cls):
            raise pickle.PicklingError(f"it is not the object that is found as {cls.__module__}.{cls.__qualname__}")
        make, arguments, (attributes, _), *_ = cloudpickle.cloudpickle._dynamic_class_reduce(cls)
        if issubclass(cls, enum.Enum):
            make, arguments = enums.make_enum, (type(cls), arguments[0], *enums.parts_of(cls))
            attributes = {name: value for name, value in attributes.items() if name not in cls.__members__}
        else:
            # cloudpickle leaves out what a base has too, which may get another one there.
            attributes.update(
                (name, value)
                for name, value in vars(cls).copy().items()
                if not name.startswith("__") and any(vars(base).get(name, nothing) is value for base in cls.__bases__)
            )
            arguments = _with_slots(cls, (*arguments[:-2], None, arguments[-1]), attributes)
        static = attributes.get("__static_attributes__")
        if type(static) is tuple:
            attributes["__static_attributes__"] = tuple(sorted(static))  # in the order of a set
        attributes.pop("__slotnames__", None)  # what copyreg found
        if "_abc_impl" in attributes:
            attributes["_abc_impl"].sort(key=digests.place)
        reason = _obstacle(cls, make, arguments, attributes)
        if reason:
            if definitions.is_found(cls):
                return definitions.named, (*digests.place(cls), definitions.fingerprint(cls), reason)
            raise pickle.PicklingError(reason)
        key = tuple(definitions.key_of(cls, self._values, graph=self._graph))
        begin, last = self._begin(cls, attributes)
        annotate = vars(cls).get("__annotate_func__")
        state = (begin, last) if annotate is None else (begin, last, annotate, vars(cls).get("__annotations_cache__"))
        return make_class, (key, make, arguments), state, None, None, fill_class

    def _begin(self, cls: type, attributes: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """What a reader calls one after the other, and the attributes that a class gets in the end.

        What a class holds and what its functions refer to may lead to instances, and these may need functions and attributes of the class
        to be made, and to be keys. So the functions are there from the beginning, those that the interpreter calls have what they refer
        to first, and attributes come in the order of the statement.
        """
        first: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        last: dict[str, Any] = {}
        called: list[Any] = []
        others: list[Any] = []
        for name, attribute in attributes.items():
            functions = _functions_of(attribute)
            # What a metaclass does to new classes was done to those that it holds.
            is_last = name in _LAST or issubclass(cls, type) or (name == "__new__" and _is_kept_by_new(cls))
            (last if is_last else first if functions or _is_plain(attribute) else rest)[name] = attribute
            is_own = all(_is_of_statement(fn, cls) for fn in functions)
            for i, member in enumerate(_members_of(attribute) if is_own else functions):
                if id(member) in self._functions or self._members.setdefault(id(member), (member, cls, name if is_own else "", i))[1] is not cls:
                    continue  # it comes with another class, or came alone
                if type(member) is types.FunctionType and _goes_by_value(member):
                    (called if name.startswith("__") else others).append((member, self._whole(member)))
        begin = [Then(fill_first, cls, first)]
        if called:
            begin.append(Then(fill_functions, called))
        begin += (Then(fill_attribute, cls, name, rest[name]) for name in vars(cls).copy() if name in rest)
        if others:
            begin.append(Then(fill_functions, others))
        if issubclass(cls, enum.Enum):
            begin.append(Then(fill_members, cls, enums.states_of(cls)))
        return begin, last

    def _member(self, obj: Any) -> Any:
        """What a class has from the beginning, but not yet what it refers to."""
        _, cls, name, index = self._members[id(obj)]
        make, arguments = (make_new_function, self._bare(obj)) if type(obj) is types.FunctionType else _reducers[type(obj)](obj)
        return (make_member, (cls, name, index, make, arguments)) if name else (make, arguments)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return nothing


def nothing() -> None:
    """Stands in frames for what an empty cell holds."""


def _global_names(code: types.CodeType) -> Any:
    """The globals that code uses. cloudpickle does not look for those of late code within a class."""
    names = cloudpickle.cloudpickle._extract_code_globals(code)
    later = late.names_of_class_scope(code)
    return {**names, **dict.fromkeys(later)} if later else names


def _attributes(fn: types.FunctionType, code: types.CodeType) -> Iterator[tuple[str, Any, Any]]:
    """Names and values, and what a function has instead that was just made of the same code and globals."""
    first = code.co_consts[0] if code.co_consts else None
    doc = first if type(first) is str and (sys.version_info < (3, 13) or code.co_flags & _HAS_DOCSTRING) else None
    yield "__name__", fn.__name__, code.co_name
    yield "__qualname__", fn.__qualname__, getattr(code, "co_qualname", code.co_name)
    yield "__module__", fn.__module__, fn.__globals__.get("__name__")
    yield "__doc__", fn.__doc__, doc
    yield "__defaults__", fn.__defaults__, None
    yield "__kwdefaults__", fn.__kwdefaults__, None
    yield "__type_params__", getattr(fn, "__type_params__", ()), ()
    yield "__dict__", fn.__dict__, {}


def _is_of_statement(fn: types.FunctionType, cls: type) -> bool:
    """Whether a function was defined with a class; what was made elsewhere may hold what is not the class's."""
    name = fn.__qualname__
    for prefix in (f"{cls.__qualname__}.", f"{cls.__name__}."):  # the second one is that of named tuples
        if name.startswith(prefix):
            return "<locals>" not in name[len(prefix) :]
    return False


def _is_kept_by_new(cls: Any) -> bool:
    """Whether a class holds instances that its `__new__` may look for, as singletons do: these are made without it.

    They can be if they need nothing but their state.
    """
    if super(cls, cls).__new__ is not object.__new__ or cls.__reduce__ is not object.__reduce__:
        return False
    if hasattr(cls, "__getnewargs__") or hasattr(cls, "__getnewargs_ex__"):
        return False
    for attribute in [*vars(cls).values()]:
        held = (attribute.values() if type(attribute) is dict else attribute) if type(attribute) in _CONTAINERS else (attribute,)
        if any(issubclass(type(each), cls) for each in held):
            return True
    return False


def _goes_by_value(fn: types.FunctionType) -> bool:
    return fn.__module__ in MAIN or "<" in fn.__qualname__ or reference(fn, "cloudpickle") is None


def _parts_of_cached(obj: Any) -> tuple[Any, ...]:
    return obj.__wrapped__, *obj.cache_parameters().values()


def _functions_of(attribute: Any) -> list[types.FunctionType]:
    parts = [getattr(attribute, name) for name in _WRAPPERS.get(type(attribute), ())] or [attribute]
    return [part for part in parts if type(part) is types.FunctionType]


def _members_of(attribute: Any) -> list[Any]:
    return [attribute, *_functions_of(attribute)] if type(attribute) in _WRAPPERS else _functions_of(attribute)


def _wrapper_base(cls: type) -> Any:
    """The built-in class that a class of Python is derived from, which keeps functions where no attribute of fields has them."""
    return next((base for base in cls.__mro__ if base in _KEEPERS), None)


def _is_plain(attribute: Any) -> bool:
    return type(attribute) in _PLAIN or (type(attribute) is tuple and _PLAIN.issuperset(map(type, attribute)))


class Then:
    """Something to call when a reader comes to it."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def __reduce__(self) -> Any:
        return self._parts[0], self._parts[1:]


def _is_of_a_statement(cls: type) -> bool:
    """Whether Python code made a class, so that Python code can make it again."""
    if not cls.__flags__ & _HEAP_TYPE:
        return False
    for name, attribute in vars(cls).copy().items():  # other threads may change it
        if getattr(attribute, "__objclass__", None) is not cls or name in ("__dict__", "__weakref__"):
            continue
        if type(attribute) is not types.MemberDescriptorType or "__slots__" not in vars(cls):
            if isinstance(attribute, (types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType)):
                return False
            if isinstance(attribute, (types.MethodDescriptorType, types.ClassMethodDescriptorType)):
                return False
    return True


def _with_slots(cls: type, arguments: tuple[Any, ...], attributes: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments for a class that has its qualified name, what its metaclass has descriptors for, and its slots.

    Some versions of cloudpickle name the slots afterwards, which makes none.
    """
    slots = vars(cls).get("__slots__")
    bases, options = arguments[2:4]
    if type(options) is dict:
        if cls.__qualname__ != cls.__name__:
            options["__qualname__"] = cls.__qualname__
        for name in [name for name in attributes if _is_set_by_metaclass(cls, name)]:
            options[name] = attributes.pop(name)
    # The functions that named tuples are derived from (typing has one, typing_extensions another) make their slots.
    if slots is None or type(options) is not dict or any(getattr(base, "__name__", "") == "NamedTuple" and type(base) is types.FunctionType for base in bases):
        return arguments
    attributes.pop("__slots__", None)
    members = [name for name, found in vars(cls).copy().items() if type(found) is types.MemberDescriptorType and found.__objclass__ is cls]
    for name in members:
        attributes.pop(name, None)
    if isinstance(slots, Iterator):  # it has no more names
        slots = tuple(members)
    return *arguments[:3], {**options, "__slots__": slots}, *arguments[4:]


def _is_set_by_metaclass(cls: type, name: str) -> bool:
    descriptor = inspect.getattr_static(type(cls), name, None)
    return hasattr(type(descriptor), "__set__") and vars(type).get(name) is not descriptor


_made_again: "weakref.WeakKeyDictionary[type, bool]" = weakref.WeakKeyDictionary()


def _obstacle(cls: type, make: Any, arguments: tuple[Any, ...], attributes: dict[str, Any]) -> str:
    """Why no reader could make a class again; empty where one could."""
    needed = dict.fromkeys(_options_needed(cls))
    if needed:
        return f"it was made with {', '.join(needed)} in its statement, which nothing tells"
    metaclasses = [meta for meta in type(cls).__mro__ if not issubclass(type, meta)]  # type: ignore[attr-defined]
    if all(_is_of_a_statement(meta) and meta.__basicsize__ == type.__basicsize__ for meta in metaclasses):
        return ""
    if not _is_of_a_statement(type(cls)) and reference(type(cls), "cloudpickle") is None:
        return f"its metaclass is not found as {type(cls).__module__}.{type(cls).__qualname__}"
    return "" if _can_be_made_again(cls, make, arguments, attributes) else "what its metaclass holds cannot be carried"


def _options_needed(cls: type) -> Iterator[str]:
    """The options of its statement that what makes a class cannot do without."""
    takers = [*(inspect.getattr_static(type(cls), name) for name in ("__new__", "__init__")), getattr(super(cls, cls), "__init_subclass__", None)]
    for taker in takers:
        fn = getattr(taker, "__func__", taker)
        if type(fn) is types.FunctionType:
            code = fn.__code__
            names = code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount]
            yield from (name for name in names if name not in (fn.__kwdefaults__ or {}))


def _can_be_made_again(cls: type, make: Any, arguments: tuple[Any, ...], attributes: dict[str, Any]) -> bool:
    """Whether a class with a metaclass in C can be: it may keep what no attribute tells. One is made to see."""
    known = _made_again.get(cls)
    if known is None:
        known = False
        with suppress(Exception):
            copy = make(*arguments)
            set_attributes(copy, attributes)
            known = copy.__basicsize__ == cls.__basicsize__ and vars(copy).keys() >= vars(cls).keys()
        _made_again[cls] = known
    return known


# --- what frames call to make these again --------------------------------------------------------------------------------

# What the initializer of a worker has set in its main module; functions of that module see it, wherever they come from.
set_in_main: dict[str, Any] = {}

_new_functions: "weakref.WeakSet[Any]" = weakref.WeakSet()


def make_code(magic: bytes, version: tuple[int, int], *parts: Any) -> types.CodeType:
    """Code. What one version of Python compiled, another would run as something else, or crash."""
    if magic != MAGIC_NUMBER:
        raise errors.code_of_another_python(version)
    return types.CodeType(*parts)


def make_cell() -> types.CellType:
    """A cell, which is empty."""
    return types.CellType()


def fill_cell(cell: types.CellType, state: tuple[Any]) -> None:
    if state[0] is not nothing:
        cell.cell_contents = state[0]


def make_function(code: types.CodeType, scope: dict[str, Any], closure: Any) -> types.FunctionType:
    """A function of whatever name."""
    scope["__builtins__"] = builtins
    return types.FunctionType(code, scope, None, None, closure)


def fill_function(fn: types.FunctionType, whole: tuple[Any, ...]) -> None:
    found, contents, state, cached, *_ = whole
    scope = fn.__globals__
    scope.update(found)
    if set_in_main and scope.get("__name__") in MAIN:
        scope.update(set_in_main)  # it may be all that there is of a name
    for cell, content in zip(fn.__closure__ or (), contents):
        if content is not nothing:
            cell.cell_contents = content
    if state is not None:
        fn.__dict__.update(state.pop("__dict__", ()))
        for name, value in state.items():
            setattr(fn, name, value)
    if cached is not None:
        late.set_annotations(fn, None if state is None else state.get("__annotate__"), cached)


def make_new_function(*parts: Any) -> types.FunctionType:
    """A function that `fill_own_function` fills."""
    made = make_function(*parts)
    _new_functions.add(made)
    return made


def make_own_function(key: tuple[Any, ...], *parts: Any) -> types.FunctionType:
    """A function that the reader may have."""
    own = definitions.own_function(Key(*key))
    return make_new_function(*parts) if own is None else own


def fill_own_function(fn: types.FunctionType, whole: tuple[Any, ...]) -> None:
    if fn in _new_functions:
        _new_functions.discard(fn)
        fill_function(fn, whole)


def make_class(key: tuple[Any, ...], make: Callable[..., type], arguments: tuple[Any, ...]) -> Any:
    """A class, unless this process has it."""
    return definitions.made(Key(*key), make, arguments)


def set_attributes(cls: Any, attributes: dict[str, Any]) -> None:
    """Put attributes into a class as its statement did: what its metaclass does to those that are set later is not asked."""
    registered = attributes.get("_abc_impl", ())
    lines = [(name, attributes[name]) for name in ("__firstlineno__",) if name in attributes]  # which is deleted when another is set
    setters = [vars(base)["__setattr__"] for base in type(cls).__mro__ if "__setattr__" in vars(base)]
    put = next(setter for setter in setters if type(setter) is not types.FunctionType)
    for name, attribute in [*attributes.items(), *lines]:
        if name != "_abc_impl":
            put(cls, name, attribute)
    for subclass in registered:
        cls.register(subclass)


def fill_class(cls: type, state: tuple[Any, ...]) -> None:
    definitions.filled(cls, functools.partial(_complete, cls, *state[1:]))


def _complete(cls: type, attributes: dict[str, Any], *annotations: Any) -> None:
    # One that is here already knows the line where it begins. What its annotations name may come later.
    here = vars(cls).get("__annotate_func__") if "__firstlineno__" in vars(cls) else None
    set_attributes(cls, attributes)
    if annotations:
        late.set_class_annotations(cls, here, *annotations)


def fill_first(cls: type, attributes: dict[str, Any]) -> None:
    definitions.change(cls, functools.partial(set_attributes, cls, attributes))


def fill_attribute(cls: type, name: str, attribute: Any) -> None:
    definitions.change(cls, functools.partial(set_attributes, cls, {name: attribute}))


def fill_members(cls: type, states: dict[str, dict[str, Any]]) -> None:
    definitions.change(cls, functools.partial(enums.fill_members, cls, states))


def fill_functions(parts: list[tuple[types.FunctionType, Any]]) -> None:
    for fn, whole in parts:
        fill_own_function(fn, whole)


def make_member(cls: type, name: str, index: int, make: Callable[..., Any], parts: tuple[Any, ...]) -> Any:
    """A function of a class, or what holds one there: that of the class, if this process had it."""
    if not definitions.is_unfilled(cls):
        with suppress(KeyError, IndexError):  # it was changed here
            return _members_of(vars(cls)[name])[index]
    return make(*parts)


def make_wrapper(cls: Any, base: Any, *functions: Any) -> Any:
    """A property, class or static method of a class that is derived from these."""
    made = base.__new__(cls, *functions)  # from Python 3.15 on, methods need theirs here
    base.__init__(made, *functions)
    return made


def make_one(key: tuple[Any, ...], cls: type, make: Callable[..., Any], *arguments: Any) -> Any:
    """What is one object in a process: a type variable, an alias, a sentinel."""
    return definitions.made(Key(*key), make, arguments, cls, late.ONE_IN_A_PROCESS[cls])


def make_cached(fn: Any, *options: Any) -> Any:
    """A function with a cache, which is empty."""
    made = functools.lru_cache(*options)(fn)
    _new_functions.add(made)
    return made


def make_own_cached(key: tuple[Any, ...], *parts: Any) -> Any:
    """One that the reader may have."""
    own = definitions.own_function(Key(*key), _LRU_CACHE, _parts_of_cached)
    return make_cached(*parts) if own is None else own


def fill_cached(obj: Any, attributes: dict[str, Any]) -> None:
    if obj in _new_functions:
        _new_functions.discard(obj)
        vars(obj).clear()  # what its function has now
        vars(obj).update(attributes)


def make_module(cls: type, name: str) -> types.ModuleType:
    """A module that nobody can import."""
    module: types.ModuleType = cls(name)
    return module


def fill_module(module: types.ModuleType, attributes: dict[str, Any]) -> None:
    vars(module).update(attributes)
    vars(module)["__builtins__"] = builtins

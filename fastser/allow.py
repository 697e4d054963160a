"""What readers allow: which ways of making something `allow` stands for, decided when it is given, before any frame is looked at."""

import collections
import copyreg
import enum
import sys
from collections.abc import Iterable
from functools import partial
from types import FunctionType
from typing import Any

from fastser import errors, fallback
from fastser.fallback import DICT_ITEMS, LIST_ITEMS, STATE
from fastser.hooks import NATIVE, built_in, class_name, found_in
from fastser.standard import HOOKS, NATIVE_NAMES, WAYS, make_error, set_error
from fastser.ways import Way, attributes, bare, exact, one_of

STANDARD: frozenset[str] = frozenset(WAYS.keys() | HOOKS.keys())
"""The names of what `loads` may make with ``safe=True`` of the standard library, of NumPy, and of other packages' values.

Give it as `allow`, or together with classes of yours: ``allow=[*fastser.STANDARD, Point]``. docs/security.md has a reason for each.
"""


# Packages whose objects are made of one another, and by other names than those of their classes.
_TOGETHER = {
    "array": frozenset(name for name in WAYS if name.startswith("array.")),
    "numpy": frozenset(name for name in WAYS if name.startswith("numpy.") and name not in NATIVE_NAMES),
    "pandas": frozenset(name for name in STANDARD if name.startswith("pandas.")) | {"numpy.dtype", "pyarrow.lib.ChunkedArray"},
}


class Allowed:
    """What `allow` stands for.

    Attributes
    ----------
    ways : dict of str to Way
        By the names in frames.
    hooks : frozenset of str
        The names of hooks that are built in.
    given : tuple
        What was given, kept alive.
    """

    __slots__ = ("ways", "hooks", "given")

    def __init__(self, given: tuple[type | str, ...]) -> None:
        self.given = given
        self.ways: dict[str, Way] = {}
        hooks: set[str] = set()
        for entry in given:
            # list[int] says that it is an instance of type, up to Python 3.10.
            if isinstance(entry, type) and issubclass(type(entry), type):
                self._add(entry, class_name(entry), hooks)
            elif type(entry) is str and entry in STANDARD:
                self._add_standard(entry, hooks)
            elif type(entry) is str and "." in entry and all(part.isidentifier() for part in entry.split(".")):
                self._add(_find(entry), entry, hooks)
            else:
                raise errors.bad_option("allow", "a sequence of classes and their full names", entry)
        self.hooks = frozenset(hooks)
        classes = [way.found for way in self.ways.values() if way.call is not None]
        enums = frozenset(id(cls) for cls in classes if isinstance(cls, type) and issubclass(cls, enum.Enum))
        if enums:
            self._add_way(Way("builtins", "getattr", call=partial(_member_named, enums), found=getattr))
        structs = frozenset(id(cls) for cls in classes if hasattr(cls, "__struct_fields__"))
        rebuild = getattr(sys.modules.get("msgspec._utils"), "rebuild", None)
        if structs and rebuild is not None:  # what is called where fields are given by their names alone
            self._add_way(Way("msgspec._utils", "rebuild", call=partial(_struct_again, structs), found=rebuild))

    def _add_way(self, way: Way) -> None:
        self.ways[way.full_name] = way

    def _add(self, cls: Any, name: str, hooks: set[str]) -> None:
        if not isinstance(cls, type):
            raise errors.cannot_allow(name, *errors.NO_CLASS)
        hook = built_in(cls)
        if hook is not None:
            hooks.add(hook.name)
        for way in ways_of(cls):
            if way.full_name in WAYS and way.found is None:
                self._add_standard(way.full_name, hooks)
            else:
                self._add_way(way)

    def _add_standard(self, name: str, hooks: set[str]) -> None:
        """What the list has by this name, with what its objects are made by."""
        together = _TOGETHER.get(name.partition(".")[0], frozenset()) if name not in NATIVE_NAMES else frozenset()
        if name in self.ways:
            return
        for one in {name} | together:
            if one in HOOKS:
                hooks.add(one)
            else:
                self.ways[one] = WAYS[one]


_NOTHING = Allowed(())
_STANDARD = Allowed(tuple(STANDARD))
# Deciding about a class takes longer than reading a small frame.
_decided: dict[tuple[int | str, ...], Allowed] = {}
_DECIDED_LIMIT = 100


def allowed(allow: Iterable[type | str]) -> Allowed:
    """Return what is allowed.

    Raises
    ------
    TypeError
        There is something else than classes and names among them.
    ValueError
        A class cannot be allowed, or a name does not exist.
    """
    if isinstance(allow, (str, bytes)) or not isinstance(allow, Iterable):
        raise errors.bad_option("allow", "a sequence of classes and their full names", allow)
    if allow is STANDARD:
        return _STANDARD
    given = tuple(allow)
    if not given:
        return _NOTHING
    key = tuple([entry if type(entry) is str else id(entry) for entry in given])
    found = _decided.get(key)
    if found is None:
        found = Allowed(given)
        if len(_decided) >= _DECIDED_LIMIT:
            _decided.clear()
        _decided[key] = found
    return found


def _find(name: str) -> Any:
    """The class of a full name: its module is as much of it as can be imported."""
    parts = name.split(".")
    reason: Exception | None = None
    for i in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:i])
        try:
            return fallback.resolve(module, ".".join(parts[i:]))
        except ModuleNotFoundError as error:
            if not module.startswith(error.name or "\0"):
                raise errors.not_there(name, error) from error
            reason = reason or error
        except Exception as error:
            raise errors.not_there(name, error) from error
    raise errors.not_there(name, reason) from reason


# --- classes ---------------------------------------------------------------------------------------------------------------


def ways_of(cls: type) -> tuple[Way, ...]:
    """How frames may make the objects of a class.

    Raises
    ------
    ValueError
        No way is safe; the message tells why, and what to do.
    """
    module, name = found_in(cls.__module__), cls.__qualname__
    curated = _curated(cls)
    if curated:
        return curated
    if type(module) is not str or type(name) is not str or "<" in name:
        raise errors.cannot_allow(class_name(cls), *errors.LOCAL_CLASS)
    way = Way(module, name, value=True, found=cls)
    if cls in NATIVE or built_in(cls) is not None:
        return (way,)
    if issubclass(cls, enum.Enum):
        return _of_enum(cls, way)
    if fallback.protocol_plan(cls).kind in ("FIELDS", "ROWS", "ARRAY"):
        return (way._replace(fields=True),)
    for decide in (_of_pydantic, _of_attrs, _of_msgspec, _of_error, _of_collection, _by_new):
        ways = decide(cls, way)
        if ways:
            return ways
    raise errors.cannot_allow(class_name(cls), *_obstacle(cls))


def _curated(cls: type) -> tuple[Way, ...]:
    """That of the list."""
    way = WAYS.get(class_name(cls))
    return () if way is None or way.ready().found is not cls else (way,)


_OWN_CODE = (
    "__setstate__", "__reduce_ex__", "__reduce__", "__new__", "__init__", "__getnewargs_ex__", "__getnewargs__", "__getattribute__",
    "__setattr__", "__setitem__", "extend", "append",
)  # fmt: skip


def _obstacle(cls: type) -> tuple[str, str]:
    for name in _OWN_CODE:
        for base in cls.__mro__:
            if isinstance(vars(base).get(name), (FunctionType, classmethod, staticmethod)):
                return f"is made by calling its {name}, which would run with whatever a frame holds", errors.SEND_PARTS
    return "is made by calling code of its own", errors.SEND_PARTS


def _defines(cls: type, until: type, *names: str) -> str | None:
    """The first of these names that the class has from itself or a base before that one."""
    for name in names:
        for base in cls.__mro__:
            if base is until:
                break
            if name in vars(base):
                return name
    return None


# --- enums -----------------------------------------------------------------------------------------------------------------

_BY_NAME = tuple(
    getattr(enum, name) for name in ("pickle_by_global_name", "_reduce_ex_by_global_name", "_reduce_ex_by_name") if hasattr(enum, name)
)
_FLAG_BITS = 64
_FLAG_MEMBERS = 1 << 16


def _of_enum(cls: type[enum.Enum], way: Way) -> tuple[Way, ...]:
    reduce: Any = cls.__reduce_ex__
    if reduce in _BY_NAME:
        # They are found in the module itself.
        return (way, *(Way(way.module, name, value=True, found=member) for name, member in cls.__members__.items()))
    if getattr(reduce, "__module__", None) != "enum":
        raise errors.cannot_allow(class_name(cls), *_obstacle(cls))
    return (way._replace(call=_member),)


def _member(cls: Any, value: Any) -> Any:
    """The member of a value: looked up, since a call would go on to `_missing_`."""
    for item in value if type(value) is tuple else (value,):
        if not one_of(type(item), *fallback.ORDERED):
            raise errors.unfit("a plain value", item)
    found = cls._value2member_map_.get(value)
    if found is not None:
        return found
    if not issubclass(cls, enum.Flag) or type(value) is not int or not _joins_as_usual(cls):
        raise errors.no_member(errors.class_name(cls), value)
    # Members that are joined are remembered by the class, for good.
    widest = max((abs(member._value_).bit_length() for member in cls._member_map_.values()), default=0)
    if value.bit_length() > max(_FLAG_BITS, widest) or len(cls._value2member_map_) >= _FLAG_MEMBERS:
        raise errors.no_member(errors.class_name(cls), value)
    return cls(value)


def _joins_as_usual(cls: Any) -> bool:
    for name in ("_missing_", "_create_pseudo_member_"):
        for base in cls.__mro__:
            if name in vars(base):
                if base.__module__ != "enum":
                    return False
                break
    return True


def _member_named(enums: frozenset[int], _: Any, cls: Any, name: Any) -> Any:
    """What a frame calls getattr for: a member whose value does not tell it."""
    if id(cls) not in enums or exact(name, str) not in cls._member_map_:
        raise errors.unfit("an enum of those allowed, and the name of a member", name)
    return cls._member_map_[name]


# --- classes of packages ---------------------------------------------------------------------------------------------------


def _of_pydantic(cls: Any, way: Way) -> tuple[Way, ...] | None:
    """Models: their state is set as it is, by pydantic. Validators do not run, as they do not for pickle."""
    package = sys.modules.get("pydantic")
    base = getattr(package, "BaseModel", None)
    if base is None or not issubclass(cls, base):
        return None
    usual = [base.__setstate__]
    root = getattr(package, "RootModel", None)
    if root is not None:
        usual.append(root.__setstate__)
    if cls.__setstate__ not in usual or cls.__new__ is not object.__new__ or _defines(cls, base, "__reduce__", "__reduce_ex__", "__getnewargs__"):
        return None
    return (way._replace(call=bare, new=True, parts=STATE, state=_set_model),)


_OF_MODELS = {
    "__dict__": (dict,),
    "__pydantic_fields_set__": (set,),
    "__pydantic_extra__": (dict, type(None)),
    "__pydantic_private__": (dict, type(None)),
}


def _set_model(model: Any, state: Any) -> None:
    for name, value in attributes(state).items():
        if name not in _OF_MODELS:
            raise errors.unfit("the state of a model", name)
        for key in exact(value, *_OF_MODELS[name]) or ():
            exact(key, str)
    if not {"__dict__", "__pydantic_fields_set__"} <= state.keys():
        raise errors.unfit("the state of a model", state)
    model.__setstate__(state)


def _of_attrs(cls: Any, way: Way) -> tuple[Way, ...] | None:
    """Classes with slots, which get a __setstate__ from attrs that sets the attributes named in it."""
    if "__attrs_attrs__" not in vars(cls) or cls.__new__ is not object.__new__ or _defines(cls, object, "__reduce__", "__reduce_ex__"):
        return None
    attr = sys.modules.get("attr")
    if attr is None or getattr(cls.__setstate__, "__code__", None) is not _code_of_attrs(attr):
        return None
    return (way._replace(call=bare, new=True, parts=STATE, state=_set_attrs),)


def _code_of_attrs(attr: Any) -> Any:
    made = attr.make_class("Made", ["a"], slots=True)
    return getattr(getattr(made, "__setstate__", None), "__code__", None)


def _set_attrs(obj: Any, state: Any) -> None:
    obj.__setstate__(attributes(state))


def _of_msgspec(cls: Any, way: Way) -> tuple[Way, ...] | None:
    """Structs: what makes them is compiled, and takes the fields as they are. A __post_init__ is code that would run."""
    package = sys.modules.get("msgspec")
    base = getattr(package, "Struct", None)
    if base is None or not issubclass(cls, base):
        return None
    if type(cls) is not type(base):
        raise errors.cannot_allow(class_name(cls), "has a metaclass of its own, which makes its objects", errors.SEND_PARTS)
    obstacle = _defines(cls, base, "__post_init__", "__init__", "__new__", "__reduce__", "__reduce_ex__", "__setstate__", "__setattr__")
    if obstacle:
        raise errors.cannot_allow(
            class_name(cls), f"is made by calling it, and its {obstacle} would run with whatever a frame holds", errors.SEND_PARTS
        )
    return (way._replace(call=_struct),)


def _struct(cls: Any, *values: Any) -> Any:
    if len(values) != len(cls.__struct_fields__):  # what is missing would be made by a default of the class
        raise errors.unfit(f"{len(cls.__struct_fields__)} fields", values)
    return cls(*values)


def _struct_again(structs: frozenset[int], _: Any, cls: Any, fields: Any) -> Any:
    if id(cls) not in structs or attributes(fields).keys() != set(cls.__struct_fields__):
        raise errors.unfit("a struct of those allowed, and all its fields", cls)
    return cls(**fields)


# --- classes of the interpreter's making -----------------------------------------------------------------------------------


def _of_error(cls: type, way: Way) -> tuple[Way, ...] | None:
    """Exceptions that are made as those of the interpreter are."""
    if not issubclass(cls, Exception) or issubclass(cls, getattr(sys.modules["builtins"], "BaseExceptionGroup", ())):
        return None
    until = next(base for base in cls.__mro__ if base.__module__ == "builtins")
    if _defines(cls, until, "__new__", "__init__", "__reduce__", "__reduce_ex__", "__setstate__", "__setattr__", "__getattribute__"):
        return None
    if any(type(vars(base).get(name)).__name__ == "property" for base in cls.__mro__ for name in vars(base)):
        return None  # their setters would run
    return (way._replace(call=make_error, parts=STATE, state=set_error),)


_BASES = (str, int, float, complex, bytes, tuple, list, dict)


def _by_new(cls: Any, way: Way) -> tuple[Way, ...] | None:
    """Classes over a built-in one, and those whose __getstate__ says which fields there are: nothing of theirs runs."""
    base: Any = next((base for base in _BASES if issubclass(cls, base)), object)
    if cls.__new__ is not base.__new__ or cls.__reduce__ is not object.__reduce__ or cls in copyreg.dispatch_table:
        return None
    if _defines(cls, base, "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__", "__setstate__", "__setattr__", "__getattribute__"):
        return None
    if base is object:
        return (way._replace(call=bare, new=True, parts=STATE, state=_set_fields),) if fallback.slots_alone(cls) is not None else None
    if base in (list, dict):
        if _defines(cls, base, "extend", "append", "__setitem__"):
            return None
        return (way._replace(call=base.__new__, new=True, parts=STATE | (LIST_ITEMS if base is list else DICT_ITEMS), state=_set_fields),)
    return (way._replace(call=partial(_made_of, base), new=True, parts=STATE, state=_set_fields),)


def _of_collection(cls: type, way: Way) -> tuple[Way, ...] | None:
    """Classes over those of `collections`, which are called as these are."""
    for base in (collections.OrderedDict, collections.defaultdict, collections.Counter, collections.deque):
        if issubclass(cls, base):
            made = WAYS[class_name(base)]
            if _defines(cls, base, *_OWN_CODE) or cls in copyreg.dispatch_table:
                return None
            return (way._replace(call=made.call, parts=made.parts | STATE, state=_set_fields),)
    return None


def _made_of(base: Any, cls: Any, *arguments: Any) -> Any:
    if base is complex:
        return base.__new__(cls, *(exact(argument, float) for argument in arguments))
    (argument,) = arguments
    return base.__new__(cls, exact(argument, base))


def _set_fields(obj: Any, state: Any) -> None:
    """Put attributes into the dict of an object, and into its slots: by what pickle does, past what the class defines."""
    fields, slots = state if type(state) is tuple and len(state) == 2 else (state, None)
    for name, value in attributes(slots or {}).items():
        slot = _slot(type(obj), name)
        if slot is None:
            raise errors.unfit("the name of a slot", name)
        slot.__set__(obj, value)
    if fields:
        obj.__dict__.update(attributes(fields))


def _slot(cls: type, name: str) -> Any:
    for base in cls.__mro__:
        found = vars(base).get(name)
        if found is not None:
            return found if type(found).__name__ == "member_descriptor" else None
    return None

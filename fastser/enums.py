"""Enumerations that go by value: their members as they are, without what their class does to new ones.

cloudpickle makes members of their values. But `__new__` and `__init__` of an enumeration may give them other values than were written in
its statement, and attributes; and other names of members, and members of several flags, are not met by who iterates.
"""

import enum
import types
from typing import Any

# What the interpreter gives to members.
_ADDED = frozenset(["_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_"])
# Whose `__new__` makes an empty one.
_CONTAINERS = (list, dict, set, bytearray)
_Member = tuple[str, Any, tuple[Any, ...]]


def parts_of(cls: Any) -> tuple[Any, ...]:
    """The arguments of `make_enum` that come after the bases."""
    boundary = getattr(cls, "_boundary_", None)
    if boundary is getattr(cls.__bases__[-1], "_boundary_", None):
        boundary = None
    base = _maker(cls._member_type_)
    members = [(name, member._value_, _arguments(base, member)) for name, member in cls.__members__.items()]
    return cls.__name__, cls.__qualname__, cls.__module__, members, boundary


def states_of(cls: Any) -> dict[str, dict[str, Any]]:
    """What members have beside their values, by name."""
    states = {name: {key: value for key, value in vars(member).items() if key not in _ADDED} for name, member in cls.__members__.items()}
    return {name: state for name, state in states.items() if state and cls.__members__[name]._name_ == name}


def make_enum(
    metaclass: Any, bases: tuple[Any, ...], name: str, qualname: str, module: str, members: list[_Member], boundary: Any = None
) -> Any:
    """An enumeration with these members, and nothing else yet."""
    scope = metaclass.__prepare__(name, bases)
    scope.update({"__new__": _new, "__init__": _init})
    for member, value, arguments in members:
        scope[member] = value, arguments
    made = metaclass.__new__(metaclass, name, bases, scope, **({} if boundary is None else {"boundary": boundary}))
    for added in ("__init__", "__new_member__"):
        type.__delattr__(made, added)
    made.__module__, made.__qualname__ = module, qualname
    return made


def fill_members(cls: Any, states: dict[str, dict[str, Any]]) -> None:
    for name, state in states.items():
        vars(cls.__members__[name]).update(state)


def _new(cls: Any, *parts: Any) -> Any:
    value, arguments = parts[0] if len(parts) == 1 else parts  # one, where members are tuples
    base = _maker(cls._member_type_)
    member = base.__new__(cls, *arguments)
    if issubclass(base, _CONTAINERS):
        base.__init__(member, *arguments)
    member._value_ = value
    return member


def _init(member: enum.Enum, *parts: Any) -> None:
    pass


def _maker(cls: type) -> Any:
    """The class whose `__new__` is not of Python."""
    for base in cls.__mro__:
        new = vars(base).get("__new__")
        if new is not None and type(getattr(new, "__func__", new)) is not types.FunctionType:
            return base
    return object


def _arguments(base: Any, member: Any) -> tuple[Any, ...]:
    """What makes the value of a built-in class that a member is."""
    if base is object:
        return ()
    if issubclass(base, _CONTAINERS):
        return (base(member),)
    if hasattr(base, "__getnewargs__"):
        return tuple(base.__getnewargs__(member))
    return tuple(base.__reduce__(member)[1])

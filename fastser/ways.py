"""How what frames name is made where they may be anybody's: by what, of which arguments, and what may be put into it then."""

import enum
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import MemberDescriptorType
from typing import Any, NamedTuple

from fastser import errors, fallback
from fastser.fallback import NEW

_FRAME = 32
Put = Callable[[Any, Any], None]


class Way(NamedTuple):
    """How one thing that frames name is made with ``safe=True``.

    Parameters
    ----------
    module, name : str
        As frames have them.
    reason : str
        Why nothing of the frame's choosing runs.
    value : bool
        Whether it may lie in data itself, as a class does.
    fields : bool
        Whether instances are made from their fields, by the core.
    call : callable, optional
        Called with what is found by the name, and the arguments of the frame. It looks at each of them before it makes anything.
    new : bool
        Whether `call` stands for the ``__new__`` of a class rather than for a call of it.
    parts : int
        What may be put into what `call` made: the sum of STATE, LIST_ITEMS and DICT_ITEMS of `fastser.fallback`.
    state : callable, optional
        Called with the object and its state, which it looks at before it puts it in.
    found : object, optional
        What is found by the name, where a reader gave it.
    """

    module: str
    name: str
    reason: str = ""
    value: bool = False
    fields: bool = False
    call: Callable[..., Any] | None = None
    new: bool = False
    parts: int = 0
    state: Put | None = None
    found: Any = None

    @property
    def full_name(self) -> str:
        return f"{self.module}.{self.name}"

    def takes(self, parts: int) -> bool:
        """Whether what is made by a call may have these parts. That a table is one (PART_FRAME) asks nothing of its maker."""
        new = NEW if self.new else 0
        return self.call is not None and parts & NEW == new and not parts & ~(self.parts | NEW | _FRAME)

    @property
    def looks_inside(self) -> bool:
        """Whether the hash of such an object may look at what the frame put into it: that of a class of the reader's."""
        return self.call is not None and not self.reason and isinstance(self.found, type) and not issubclass(self.found, enum.Enum)

    def parts_of(self, obj: Any) -> list[Any]:
        """What it may look at."""
        parts = [*getattr(obj, "__dict__", {}).values()]
        if isinstance(obj, tuple):
            parts += tuple.__iter__(obj)
        for base in type(obj).__mro__:
            for name, slot in vars(base).items():
                if type(slot) is MemberDescriptorType and name != "__dict__":
                    with suppress(AttributeError):
                        parts.append(slot.__get__(obj))
        # Structs of msgspec have descriptors of their own.
        parts += [getattr(obj, name, None) for name in getattr(type(obj), "__struct_fields__", ())]
        return parts

    def ready(self) -> "Way":
        """The same, with what is found by the name, which is imported where it must be."""
        found = fallback.resolve(self.module, self.name) if self.found is None else self.found
        call = None if self.call is None else partial(self.call, found)
        return self._replace(found=found, call=call)


# --- what ways look at ---------------------------------------------------------------------------------------------------

# What has no code but the interpreter's, whatever is done with it.
PLAIN = (type(None), bool, int, float, complex, str, bytes)


def exact(value: Any, *types: type) -> Any:
    """The value, which must be of exactly one of these types.

    Raises
    ------
    TypeError
        It is not.
    """
    if not one_of(type(value), *types):
        raise errors.unfit(" or ".join(errors.class_name(cls) for cls in types), value)
    return value


def one_of(value: Any, *others: Any) -> bool:
    """Whether it is one of these; its own idea of being equal is not asked."""
    return any(value is other for other in others)


def plain(value: Any) -> Any:
    """The value, which must be a number, text, bytes or None, or a tuple of those."""
    if not one_of(type(value), *PLAIN) and not (type(value) is tuple and all(one_of(type(item), *PLAIN) for item in value)):
        raise errors.unfit("a number, text, bytes, None, or a tuple of them", value)
    return value


def attributes(state: Any) -> dict[str, Any]:
    """A state, which must be a dict with names for keys."""
    exact(state, dict)
    for name in state:
        exact(name, str)
    return state  # type: ignore[no-any-return]


def no_arguments(cls: type) -> Any:
    """An object of a class whose ``__new__`` and ``__init__`` are the interpreter's."""
    return cls()


def bare(cls: type) -> Any:
    return object.__new__(cls)

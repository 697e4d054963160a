"""Hooks: how objects of a class are packed and rebuilt where its users say so themselves.

A registry answers two questions: which hook packs the objects of a class, and which one reads what was written under a name.
There is one for the process, and one for each serializer that has hooks of its own; those come first.
"""

import builtins
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from importlib import import_module
from types import FunctionType
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np

from fastser import errors
from fastser._core.arrow.data import ArrowData

# From Python 3.15 on there are two.
MAPPINGS: tuple[type, ...] = tuple(getattr(builtins, name) for name in ("dict", "frozendict") if hasattr(builtins, name))

# What the core packs before any hook is looked for.
NATIVE: frozenset[type] = frozenset(
    [type(None), type(...), type(NotImplemented), bool, int, float, complex, str, bytes, bytearray]
    + [list, tuple, *MAPPINGS, set, frozenset, range, slice, date, datetime, time, timedelta, timezone, ZoneInfo, Decimal, UUID]
    + [np.ndarray, np.record, ArrowData]
    + [np.dtype(code).type for code in np.typecodes["All"]]
)

# Modules that classes of the standard library say they are of, in one version of Python alone, and where each version has them.
_MOVED = {"pathlib._local": "pathlib"}

# Classes come and go: what is remembered of them does not grow for ever.
_FOUND_LIMIT = 10_000

# Held while a registry changes. Lookups take no lock, so that a fork in the middle of one leaves none taken.
LOCK = threading.RLock()


class Hook(NamedTuple):
    """How objects of a class are packed: as what `encode` makes of them, under a name that tells the reader what to call.

    `encode` may return NotImplemented, for an object that shall be packed as if there were no hook. `computes`: it does more than to
    look at the object, so that it is called for packing and for nothing else.
    """

    cls: type
    name: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    subclasses: bool
    computes: bool = False


class Hooks:
    """A registry of hooks.

    Parameters
    ----------
    parent : Hooks, optional
        Asked where this registry has no answer. A hook of the parent whose name a hook of this registry has taken is not seen.
    hooks : iterable of Hook
        What it begins with.

    Attributes
    ----------
    by_name : dict of str to Hook
        What may be read, the parent's hooks included. Always the same dict.
    found : dict of int to Hook or None
        By the addresses of classes, which it does not keep alive.
        What `find` has answered. Always the same dict, emptied by every change.
    version : int
        Raised by every change, the parent's included.
    """

    def __init__(self, parent: "Hooks | None" = None, hooks: Iterable[Hook] = ()) -> None:
        self._parent = parent
        self._by_class = {hook.cls: hook for hook in hooks}
        self._children: weakref.WeakValueDictionary[int, Hooks] = weakref.WeakValueDictionary()
        self.by_name: dict[str, Hook] = {}
        self.found: dict[int, Hook | None] = {}
        self._classes: dict[int, weakref.ref[type]] = {}
        self.version = 0
        with LOCK:
            if parent is not None:
                parent._children[id(self)] = self
            self._changed()

    def __iter__(self) -> Iterator[Hook]:
        return iter(self._by_class.values())

    def __eq__(self, other: object) -> bool:
        return self._by_class == other._by_class if isinstance(other, Hooks) else NotImplemented

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process has a registry for the process of its own.
        return _own, (tuple(self),)

    def add(
        self,
        cls: type,
        encode: Callable[[Any], Any],
        decode: Callable[[Any], Any],
        name: str | None = None,
        subclasses: bool = False,
    ) -> None:
        """Add a hook, or replace the one that the class has here.

        Raises
        ------
        TypeError
            `cls` is no class, or a native one; `encode` or `decode` cannot be called; `name` is no str.
        ValueError
            `name` is empty, or stands for another class.
        """
        if not issubclass(type(cls), type):  # list[int] says that it is an instance of type, up to Python 3.10
            raise errors.bad_option("cls", "a class", cls)
        if cls in NATIVE:
            raise errors.cannot_hook(class_name(cls))
        for role, function in (("encode", encode), ("decode", decode)):
            if not callable(function):
                raise errors.bad_option(role, "callable", function)
        if name is None:
            name = class_name(cls)
        elif type(name) is not str:
            raise errors.bad_option("name", "a str or None", name)
        elif not name:
            raise errors.empty_hook_name()
        with LOCK:
            # A class of the same name is the same class made anew: a module reloaded, a notebook's cell run again.
            others = {hook.cls: hook for hook in self if class_name(hook.cls) != class_name(cls)}
            for other in others.values():
                if other.name == name:
                    raise errors.hook_name_taken(name, class_name(other.cls))
            self._by_class = others | {cls: Hook(cls, name, encode, decode, bool(subclasses))}
            self._changed()

    def find(self, cls: type) -> Hook | None:
        """The hook that packs the objects of a class: its own, else that of the nearest base whose hook is for subclasses too.

        Virtual bases (``ABC.register``) are no bases.
        """
        version = self.version
        hook = self._search(cls)
        address = id(cls)
        found, classes = self.found, self._classes

        def gone(_: object) -> None:
            found.pop(address, None)
            classes.pop(address, None)

        if len(found) >= _FOUND_LIMIT:
            found.clear()
            classes.clear()
        classes[address] = weakref.ref(cls, gone)
        found[address] = hook
        if self.version != version:  # what was found may have been replaced meanwhile
            found.pop(address, None)
        return hook

    def _search(self, cls: type) -> Hook | None:
        for base in cls.__mro__:
            hook = self._by_class.get(base)
            if hook is not None and (base is cls or hook.subclasses):
                return hook
        hook = None if self._parent is None else self._parent.find(cls)
        return None if hook is None or self.by_name.get(hook.name) is not hook else hook

    def _changed(self) -> None:
        inherited = {} if self._parent is None else self._parent.by_name
        by_name = inherited | {hook.name: hook for hook in self}
        self.by_name.update(by_name)
        for name in self.by_name.keys() - by_name.keys():
            del self.by_name[name]
        self.version += 1
        self.found.clear()
        self._classes.clear()
        for child in list(self._children.values()):
            child._changed()


# --- built in ----------------------------------------------------------------------------------------------------------

# Packages whose classes have hooks without being asked, in `HOOKS` of these modules, and the names of those hooks begin
# with. They are imported when the first object of such a class is packed or read; what users register comes first.
INTEGRATIONS = {
    "dlpack": "fastser.integrations.dlpack",
    "arrow": "fastser.integrations.arrow",
    "nanoarrow": "fastser.integrations.nanoarrow",
    "pandas": "fastser.integrations.pandas",
    "polars": "fastser.integrations.polars",
    "pyarrow": "fastser.integrations.pyarrow",
    "torch": "fastser.integrations.torch",
}

_ARROW = ("__arrow_c_stream__", "__arrow_c_array__", "__arrow_c_schema__")


def built_in(cls: type) -> Hook | None:
    """The hook that is there for a class without being registered: its own, else that of the nearest base whose hook is for subclasses too."""
    for base in cls.__mro__:
        package = base.__module__.partition(".")[0] if type(base.__module__) is str else ""
        if package in INTEGRATIONS:
            hooks: tuple[Hook, ...] = import_module(INTEGRATIONS[package]).HOOKS
            for hook in hooks:
                if hook.cls is base and (base is cls or hook.subclasses):
                    return hook
    return None


def exchanged(cls: type) -> Hook | None:
    """The hook for a class that gives and takes its data by a protocol between packages."""
    if any(hasattr(cls, name) for name in _ARROW) and callable(getattr(cls, "from_arrow", None)):
        return _ONE_SHOT if _may_be_one_shot(cls) else built_in_named("arrow")
    if hasattr(cls, "__dlpack__") and hasattr(cls, "__dlpack_device__"):
        return built_in_named("dlpack")
    return None


def refused(cls: type) -> Hook | None:
    """The hook for a class whose objects are one-shot streams of Arrow data: packing one would leave its owner without the data.

    A subclass with a reducer of its own, written in Python, says itself how it is packed.
    """
    for base in cls.__mro__:
        package = base.__module__.partition(".")[0] if type(base.__module__) is str else ""
        if base.__qualname__ in _ONE_SHOT_CLASSES.get(package, ()):
            return _ONE_SHOT
        if any(isinstance(vars(base).get(name), FunctionType) for name in ("__reduce__", "__reduce_ex__")):
            return None
    return None


def _may_be_one_shot(cls: type) -> bool:
    """What holds its data has a length, or gives all of it as one array. An iterator is used up, whatever else it has."""
    if hasattr(cls, "__next__"):
        return True
    return hasattr(cls, "__arrow_c_stream__") and not hasattr(cls, "__arrow_c_array__") and not hasattr(cls, "__len__")


def _refuse(stream: Any) -> Any:
    raise errors.one_shot()


_ONE_SHOT_CLASSES = {
    "_duckdb": ("DuckDBPyRelation",),
    "adbc_driver_manager": ("ArrowArrayStreamHandle",),
    "arro3": ("ArrayReader", "RecordBatchReader"),
    "duckdb": ("DuckDBPyRelation",),
    "nanoarrow": ("ArrayStream", "CArrayStream"),
    "polars": ("_CollectBatches",),
    "pyarrow": ("RecordBatchReader",),
}
_ONE_SHOT = Hook(object, "arrow", _refuse, _refuse, False)


def built_in_named(name: str) -> Hook | None:
    """The hook that is there under a name without being registered.

    Raises
    ------
    ImportError
        The package that it is for is not there.
    """
    package = name.partition(".")[0]
    if package in INTEGRATIONS:
        hooks: tuple[Hook, ...] = import_module(INTEGRATIONS[package]).HOOKS
        for hook in hooks:
            if hook.name == name:
                return hook
    return None


def _own(hooks: Iterable[Hook]) -> Hooks:
    return Hooks(PROCESS, hooks)


def found_in(module: Any) -> Any:
    """The module to look for what says that it is of this one."""
    return _MOVED.get(module, module) if type(module) is str else module


def class_name(cls: type) -> str:
    """The name of a class in frames."""
    return f"{found_in(cls.__module__)}.{cls.__qualname__}"


# What `fastser.register` adds to.
PROCESS = Hooks()

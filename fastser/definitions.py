"""Definitions of functions and classes: whether what is here is what was packed elsewhere.

What goes by value carries its module, its qualified name and a digest of its definition. A reader that has the same definition there
takes its own, and changes nothing on it; one that has another is warned, and gets what was carried. Here is what this
process has packed and made: that is one object, however often it is loaded.
"""

import os
import sys
import threading
import types
import uuid
import warnings
import weakref
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, NamedTuple

from fastser import digests, errors
from fastser.digests import place

# NAMED: it is found by its name. WIDE: as well, and the digest covers the values that it refers to. OPEN: these are not all values
# that a digest covers. LOCAL: it is found by no name, so its digest covers them too, and a number tells equal ones apart.
NAMED, WIDE, OPEN, LOCAL = range(4)


class Key(NamedTuple):
    """What a definition is known by, in frames too."""

    module: str
    name: str
    digest: bytes
    kind: int
    number: int | str


def key_of(obj: Any, values: bool = False, parts: Any = None, graph: digests.Graph | None = None) -> Key:
    """What to pack for a definition, so that a reader knows it if it has it.

    Parameters
    ----------
    obj : object
        A class, a function, or what else is one object in a process: a type variable, say.
    values : bool
        Whether a reader is to take its own only if that refers to equal values as well.
    parts : tuple, optional
        What an object that is neither class nor function is made of.
    graph : digests.Graph, optional
        What definitions of the same message refer to.
    """
    narrow = _narrow(obj) if parts is None else digests.of_parts(parts)
    record = _record_of(obj)
    if record.key is not None:
        if record.narrow is None:  # of what never changes
            record.narrow = narrow
        if record.narrow == narrow:
            return record.key
    module, name = place(obj)
    if digests.found(module, name) is not obj:
        return record.keys.get(narrow) or _local_key(obj, record, narrow, parts, graph)
    key = Key(module, name, narrow, NAMED, 0)
    _remember(key, obj)
    if values and parts is None:
        digest, is_open = digests.wide(obj, graph)
        key = Key(module, name, digest, OPEN if is_open else WIDE, 0)
        _remember(key, obj)
    return key


def known(key: Key, cls: type = type, parts_of: Callable[[Any], Any] | None = None) -> Any:
    """What this process has under a key, or None.

    Its own definition of that name, if that is the same; else what was packed or made under the key before.

    Parameters
    ----------
    key : Key
    cls : type
        What it is an instance of. Something else may have its name here.
    parts_of : callable, optional
        What an object that is neither class nor function is made of.

    Warns
    -----
    DefinitionWarning
        This process has another definition of that name.
    """
    before = _of_key(key)
    if key.kind == LOCAL:
        return before
    own = digests.found(key.module, key.name)
    if not issubclass(type(own), cls) or own is before or key.kind == OPEN:
        return before
    if parts_of is not None:
        digest = digests.of_parts(parts_of(own))
    else:
        digest = _narrow(own) if key.kind == NAMED else digests.wide(own)[0]
    if digest == key.digest:
        _remember(key, own)
        return own
    if key.kind == NAMED:
        text = errors.other_definition(f"{key.module}.{key.name}", key.digest, digest)
        warnings.warn(text, errors.DefinitionWarning, stacklevel=4)
    return before


def made(
    key: Key, make: Callable[..., Any], arguments: tuple[Any, ...], cls: type = type, parts_of: Callable[[Any], Any] | None = None
) -> Any:
    """What is `known` under a key; else what `make` makes, which is known from now on, and is to be filled."""
    found = known(key, cls, parts_of)
    if not _is_made_of(found, arguments):
        new = make(*arguments)  # which may run any code: nothing is locked
        with _lock:
            found = _of_key(key)
            if not _is_made_of(found, arguments):  # no other thread was faster
                found = new
                record = _record_of(found)
                record.key, record.maker = key, threading.get_ident()
                _remember(key, found)
    if isinstance(found, type):
        _begin_to_fill(found, key)
    return found


def _is_made_of(found: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether a class that was made here has the bases and the metaclass that one is to be made of: they may have been defined anew."""
    if not isinstance(found, type) or _record_of(found).key is None:
        return found is not None
    metaclass, bases = arguments[0], next(part for part in arguments if type(part) is tuple)
    parts = [getattr(base, "__origin__", base) for base in bases]
    return (not isinstance(metaclass, type) or type(found) is metaclass) and all(
        any(part is base for base in found.__mro__) for part in parts if isinstance(part, type)
    )


def _begin_to_fill(cls: type, key: Key) -> None:
    record, thread = _record_of(cls), threading.get_ident()
    if record.maker is not None:
        record.waiting[thread] = None if record.maker == thread else {}
    elif record.key is not None and key.kind != WIDE:  # made before; what it refers to may have changed
        record.waiting[thread] = {}
    else:
        record.waiting.pop(thread, None)  # of a load that failed


def is_unfilled(cls: type) -> bool:
    """Whether a class that `made` returned to this thread has still to get what it holds."""
    return threading.get_ident() in _record_of(cls).waiting


def waiting(cls: type) -> dict[str, Any] | None:
    """The attributes that a class is to get all at once, when what they refer to is complete.

    Other threads may be using it. None: nobody else has it yet, and what its attributes lead to may need those that come before.
    """
    return _record_of(cls).waiting[threading.get_ident()]


def filled(cls: type) -> None:
    record = _record_of(cls)
    record.maker = None
    del record.waiting[threading.get_ident()]
    for thread in [*record.waiting]:  # who began to fill it before waits from now on: it is in use
        if record.waiting.get(thread, 0) is None:
            record.waiting[thread] = {}
    if record.narrow is None:
        record.narrow = _narrow(cls)


def own_function(key: Key, cls: type = types.FunctionType, parts_of: Callable[[Any], Any] | None = None) -> Any:
    """The function that this process has under the name of a key, if its definition is the same."""
    found = known(key, cls, parts_of)
    return found if digests.found(key.module, key.name) is found else None


def named(module: str, name: str, digest: bytes, reason: str) -> Any:
    """What this process has under a name, which could not be carried: only if its definition is the same.

    Raises
    ------
    LookupError
        It is not.
    """
    found = digests.found(module, name)
    if found is None or fingerprint(found) != digest:
        raise errors.definition_not_here(f"{module}.{name}", found is not None, reason)
    return found


def is_found(obj: Any) -> bool:
    """Whether an object is found in its module, by its name."""
    return digests.found(*place(obj)) is obj


def fingerprint(obj: Any) -> bytes:
    """The digest of a definition and of those that it refers to; of what is none, that of its class."""
    return digests.code(obj if isinstance(obj, (type, types.FunctionType)) else type(obj))


# --- what this process knows ---------------------------------------------------------------------------------------------


def _narrow(obj: Any) -> bytes:
    """The digest of its statement; of a function that is found in a class, that of the class, to which it may refer."""
    if type(obj) is types.FunctionType:
        module, name = place(obj)
        owner = digests.found(module, name.rpartition(".")[0])
        if isinstance(owner, type):
            obj = owner
    return digests.narrow(obj)


class _Record:
    """What is known of one object."""

    __slots__ = ("key", "keys", "narrow", "maker", "waiting")

    def __init__(self) -> None:
        self.key: Key | None = None  # that it was made under
        self.narrow: bytes | None = None  # its digest then
        self.keys: dict[bytes, Key] = {}  # where no name finds it, by what its digest was
        self.maker: int | None = None  # the thread that made a class which is not complete yet
        self.waiting: dict[int, dict[str, Any] | None] = {}  # by thread: what a class is about to get


# What allows no weak references (aliases, sentinels) is kept.
_records: MutableMapping[Any, _Record] = weakref.WeakKeyDictionary()
_kept_records: dict[Any, _Record] = {}
_objects: MutableMapping[Key, Any] = weakref.WeakValueDictionary()
_kept_objects: dict[Key, Any] = {}
_numbers: dict[tuple[str, str, bytes], int] = {}  # how many equal definitions no name finds
_lock = threading.RLock()  # what is made may free what is known


def _renew_lock() -> None:
    """In a forked child: another thread of the parent may have held it."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _record_of(obj: Any) -> _Record:
    records = _records if type(obj).__weakrefoffset__ else _kept_records
    return records.get(obj) or records.setdefault(obj, _Record())


def _of_key(key: Key) -> Any:
    return _objects.get(key, _kept_objects.get(key))


def _remember(key: Key, obj: Any) -> None:
    objects = _objects if type(obj).__weakrefoffset__ else _kept_objects
    objects[key] = obj


def _local_key(obj: Any, record: _Record, narrow: bytes, parts: Any, graph: digests.Graph | None) -> Key:
    module, name = place(obj)
    digest, is_open = digests.wide(obj if parts is None else parts, graph)
    number: int | str = uuid.uuid4().hex  # nobody can tell whether another one is the same
    with _lock:
        if narrow in record.keys:  # another thread was faster
            return record.keys[narrow]
        if not is_open:
            number = _numbers[module, name, digest] = _numbers.get((module, name, digest), -1) + 1
        key = record.keys[narrow] = Key(module, name, digest, LOCAL, number)
        _remember(key, obj)
    return key

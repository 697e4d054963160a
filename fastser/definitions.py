"""Definitions of functions and classes: whether what is here is what was packed elsewhere.

What goes by value carries its module, its qualified name and a digest of its definition. A reader that has the same definition there
takes its own, and changes nothing on it; one that has another is warned, and gets what was carried. Here is what this
process has packed and made: that is one object, however often it is loaded.
"""

import os
import threading
import types
import uuid
import warnings
import weakref
from collections.abc import Callable, MutableMapping
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
    """What is `known` under a key; else what `make` makes, which is known from now on. A class may have to be filled then."""
    found = known(key, cls, parts_of)
    if not _is_made_of(found, arguments):
        new = make(*arguments)  # which may run any code: nothing is locked
        with _lock:
            found = _of_key(key)
            if not _is_made_of(found, arguments):  # no other thread was faster
                found = new
                record = _record_of(found)
                record.key = key
                if isinstance(found, type):
                    record.filling = _Filling()
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


# --- filling -------------------------------------------------------------------------------------------------------------


class _Filling:
    """One thread puts into a new class what it holds; others wait for it, lest they use what is not complete."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.ended = threading.Event()  # also where it failed, or another thread fills the class now
        _fillings.add(self)

    def end(self) -> None:
        _fillings.discard(self)
        self.ended.set()


class _Here(threading.local):
    """What the load of this thread has for classes that it is filling, by their ids."""

    def __init__(self) -> None:
        self.changes: dict[int, tuple[type, list[Callable[[], None]]]] = {}


_here = _Here()
_fillings: set[_Filling] = set()
_waiting: dict[int, _Filling] = {}  # threads, and for what each of them waits
_PATIENCE = 5  # seconds: who waits may hold a lock that the other thread needs


def _begin_to_fill(cls: type, key: Key) -> None:
    record = _record_of(cls)
    if record.filling is None:  # it is complete; if it was made before, what it refers to may have changed
        is_to_fill = record.key is not None and key.kind != WIDE
    else:
        is_to_fill = _is_to_fill_new(record)
    if is_to_fill:
        _here.changes[id(cls)] = cls, []


def _is_to_fill_new(record: "_Record") -> bool:
    """Wait while another thread fills a new class. If that failed, or would never end, this one is to fill it."""
    me = threading.get_ident()
    endless = None
    while True:
        with _lock:
            filling = record.filling
            if filling is None:
                return False
            if filling is endless or filling.ended.is_set() or _is_waited_for(me, filling):
                filling.end()
                record.filling = _Filling()
                return True
            _waiting[me] = filling
        try:
            if not filling.ended.wait(_PATIENCE):
                endless = filling
        finally:
            _waiting.pop(me, None)


def _is_waited_for(thread: int, filling: _Filling) -> bool:
    """Whether who fills a class is this thread, or waits for it."""
    other: _Filling | None = filling
    while other is not None and not other.ended.is_set():
        if other.thread == thread:
            return True
        other = _waiting.get(other.thread)
    return False


def is_unfilled(cls: type) -> bool:
    """Whether this thread has still to put into a class that `made` returned what it holds."""
    return id(cls) in _here.changes


def change(cls: type, put: Callable[[], None]) -> None:
    """Put something into a class that is unfilled: at once, if this thread alone fills it; else in the end, as others may use it."""
    if is_unfilled(cls):
        _here.changes[id(cls)][1].append(put)
        with _lock:  # another thread may be completing it
            if _is_filled_here(_record_of(cls)):
                put()


def filled(cls: type, put: Callable[[], None]) -> None:
    """Put the last into a class that is unfilled, and what else was not put into it at once: all that it refers to is complete."""
    if not is_unfilled(cls):
        return
    _, changes = _here.changes.pop(id(cls))
    record = _record_of(cls)
    with _lock:
        if _is_filled_here(record):
            changes.clear()
        elif record.filling is not None:  # others need not wait any longer for who fills it
            record.filling.end()
            record.filling = _Filling()
    for each in (*changes, put):
        each()
    if record.narrow is None:
        record.narrow = _narrow(cls)
    with _lock:
        filling, record.filling = record.filling, None
    if filling is not None:
        filling.end()


def _is_filled_here(record: "_Record") -> bool:
    return record.filling is not None and record.filling.thread == threading.get_ident()


def give_up() -> None:
    """A load of this thread has failed: new classes that it was filling are left to others."""
    _here.changes.clear()
    for filling in [*_fillings]:
        if filling.thread == threading.get_ident():
            filling.end()


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

    __slots__ = ("key", "keys", "narrow", "filling")

    def __init__(self) -> None:
        self.key: Key | None = None  # that it was made under
        self.narrow: bytes | None = None  # its digest then
        self.keys: dict[bytes, Key] = {}  # where no name finds it, by what its digest was
        self.filling: _Filling | None = None  # until it has for the first time what it holds


# What allows no weak references (aliases, sentinels) is kept.
_records: MutableMapping[Any, _Record] = weakref.WeakKeyDictionary()
_kept_records: dict[Any, _Record] = {}
_objects: MutableMapping[Key, Any] = weakref.WeakValueDictionary()
_kept_objects: dict[Key, Any] = {}
_BEFORE_SLOTS = "before slots"
_numbers: dict[tuple[str, str, bytes], int] = {}  # how many equal definitions no name finds
_lock = threading.RLock()  # what is made may free what is known


def _renew_lock() -> None:
    """In a forked child: another thread of the parent may have held it, or have filled what it will never complete here."""
    global _lock
    _lock = threading.RLock()
    _waiting.clear()
    for filling in [*_fillings]:
        if filling.thread != threading.get_ident():
            filling.ended = threading.Event()  # whose lock may be held
            filling.end()


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
    is_before_slots = _is_before_slots(obj, digests.found(module, name))
    number: int | str = uuid.uuid4().hex  # nobody can tell whether another one is the same
    with _lock:
        if narrow in record.keys:  # another thread was faster
            return record.keys[narrow]
        if not is_open:
            number = _numbers[module, name, digest] = _numbers.get((module, name, digest), -1) + 1
        elif is_before_slots and _of_key(Key(module, name, digest, LOCAL, _BEFORE_SLOTS)) is None:
            number = _BEFORE_SLOTS  # there is one for what is found by that name
        key = record.keys[narrow] = Key(module, name, digest, LOCAL, number)
        _remember(key, obj)
    return key


def _is_before_slots(obj: Any, found: Any) -> bool:
    """Whether a class is the one that a decorator made that of its name of, with slots: before Python 3.14 its methods refer to it."""
    if not isinstance(obj, type) or not isinstance(found, type):
        return False
    fields = vars(obj).get("__dataclass_fields__")
    return fields is not None and fields is vars(found).get("__dataclass_fields__")

"""What an executor has in its store: large objects, each put once for all unfinished tasks that have it."""

import itertools
import os
import secrets
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastser import errors
from fastser._core.frame.packed import Packed
from fastser.store.claims import Claim
from fastser.store.objects import ObjectStore
from fastser.store.packing import INLINE_LIMIT, carry, carry_function, is_small
from fastser.store.reference import ObjectRef
from fastser.store.starting import user_level

_COMPARED_AT_ONCE = 1 << 20


class Entry:
    """An object in the store, and how many unfinished tasks have it."""

    __slots__ = ("count", "frame", "obj", "ref")

    def __init__(self, ref: ObjectRef, obj: object = None) -> None:
        self.ref, self.obj, self.count = ref, obj, 1
        self.frame: memoryview | None = None  # what was put, once somebody asked


@dataclass(frozen=True, slots=True)
class Shared:
    """Stands in a call for what was put on its own."""

    ref: ObjectRef


class Through:
    """What one executor has in its store."""

    def __init__(self, store: ObjectStore | None) -> None:
        self.store = ObjectStore.create() if store is None else store
        # The keys of all objects begin like that, the results that killed workers left included.
        self.prefix = f"executor-{secrets.token_hex(8)}-"
        claim = None if store is None else store._claim_keys(self.prefix)
        self.close = weakref.finalize(self, _close, self.store, claim, self.prefix, os.getpid())
        self._warned = False
        self._entries: dict[int, Entry] = {}  # by the address of the object, which the entry keeps alive
        self._lock = threading.Lock()
        self._number = itertools.count()
        RECEIVERS[self.prefix] = self

    @contextmanager
    def held(self, fn: Any) -> "Iterator[tuple[Any, list[Entry]]]":
        """Put a function once for many tasks, if it is large: what stands for it, and what the tasks are to hold."""
        used: list[Entry] = []
        try:
            yield self.share(used, fn, carry_function), used
        finally:
            self.release(used)

    def share(self, used: list[Entry], obj: Any, carry: Callable[[Any], Packed] = carry) -> Any:
        """What to send instead of an object: itself, or what stands for it in the store."""
        if is_small(obj) or type(obj) in (ObjectRef, Shared):
            return obj
        packed = carry(obj)
        if packed.nbytes <= INLINE_LIMIT:
            return obj
        with self._lock:
            entry = self._entries.get(id(obj))
            if entry is not None:
                entry.count += 1
        if entry is not None:
            if entry.frame is None:  # kept mapped for the next time: what takes longest is to map it
                entry.frame = memoryview(self.store.get_frame(entry.ref)).cast("B")
            if _is_unchanged(packed, entry.frame):
                used.append(entry)
                return Shared(entry.ref)
            self.release([entry])
        entry = self.put(used, packed, obj)
        if entry is None:
            return obj
        with self._lock:
            self._entries[id(obj)] = entry
        return Shared(entry.ref)

    def put(self, used: list[Entry], packed: Packed, obj: object = None) -> Entry | None:
        """Put an object, or return None where there is no room for it."""
        try:
            ref = self.store.put_frame(packed, key=f"{self.prefix}{next(self._number)}")
        except errors.StoreFullError as error:
            self.warn_that_full(str(error))
            return None
        entry = Entry(ref, obj)
        used.append(entry)
        return entry

    def warn_that_full(self, why: str) -> None:
        """Say once that something large goes through a pipe."""
        if not self._warned:
            self._warned = True
            warnings.warn(errors.through_the_pipe(why), RuntimeWarning, stacklevel=user_level())

    def hold(self, entries: list[Entry]) -> list[Entry]:
        with self._lock:
            for entry in entries:
                entry.count += 1
        return [*entries]

    def release(self, used: list[Entry]) -> None:
        unused = []
        with self._lock:
            for entry in used:
                entry.count -= 1
                if not entry.count:
                    unused.append(entry)
                    if self._entries.get(id(entry.obj)) is entry:
                        del self._entries[id(entry.obj)]
            used.clear()
        for entry in unused:
            with suppress(errors.StoreClosedError, errors.ObjectNotFoundError):  # whoever owns the store was faster
                self.store.delete(entry.ref)


# By their prefix, those that workers send results to.
RECEIVERS: "weakref.WeakValueDictionary[str, Through]" = weakref.WeakValueDictionary()


def _close(store: ObjectStore, claim: Claim | None, prefix: str, process: int) -> None:
    if os.getpid() != process:  # a copy in a forked child
        return
    if claim is None:
        store.close()
        return
    if not store.closed:
        with suppress(errors.StoreClosedError):  # by its owner
            store._delete_keys(prefix)
    claim.release()


def _is_unchanged(packed: Packed, stored: memoryview) -> bool:
    """Whether this is what was put, byte by byte: whoever owns an array may change it between two calls."""
    if packed.nbytes != stored.nbytes:
        return False
    at = 0
    for piece in packed.pieces():
        if not _are_equal(piece.cast("B"), stored[at : at + piece.nbytes]):
            return False
        at += piece.nbytes
    return True


def _are_equal(one: memoryview, other: memoryview) -> bool:
    whole = one.nbytes & ~7
    for begin in range(0, whole, _COMPARED_AT_ONCE):
        part = slice(begin, min(begin + _COMPARED_AT_ONCE, whole))
        if not np.array_equal(np.frombuffer(one[part], np.uint64), np.frombuffer(other[part], np.uint64)):
            return False
    return bytes(one[whole:]) == bytes(other[whole:])

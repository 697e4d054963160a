"""The object store: objects put once by one process, and read by all others without a copy."""

import math
import os
import re
import threading
import time
import weakref
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from fastser import errors
from fastser._core.dumps import pack
from fastser._core.frame.packed import HEADER_SIZE, Packed, frame_length
from fastser._core.loads import loads, loads_private
from fastser._core.store.shared import fetch, lock
from fastser.store.account import Account
from fastser.store.claims import Claim, is_held
from fastser.store.directory import ROOT, Directory, spill_name, sweep
from fastser.store.files import OPEN, names, remove
from fastser.store.reference import ObjectRef, check_store_name, name_of_key, new_name, new_store_id
from fastser.store.segments import Segments
from fastser.store.spill import Spill

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Buffer

    from fastser.store.building import ArrayBuilder
    from fastser.store.stats import StoreStats

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(?:([kKMGT])(i?))?B?")
_CLAIM = "claim-"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0001, 0.01  # seconds, between looks at what is being put


class ObjectStore:
    """Immutable objects in shared memory. Made by `create` and by `attach`; closed at the end of ``with``.

    Whoever created it owns it: when the owner closes it, or ends, everything is freed. What a process still views stays valid for it.

    Attributes
    ----------
    name : str
        What other processes attach to.
    id : str
        What references carry: no other store has it, even of the same name.
    capacity : int
        In bytes.

    Examples
    --------
    >>> import numpy, fastser
    >>> with fastser.ObjectStore.create(capacity="1GiB") as store:
    ...     ref = store.put({"weights": numpy.arange(100_000)})
    ...     weights = store.get(ref)["weights"]   # in this process, or in another one that attached to store.name
    >>> weights[-1], weights.flags.writeable
    (np.int64(99999), False)
    """

    name: str
    id: str
    capacity: int
    _directory: Directory
    _account: Account
    _spill: Spill
    _segments: Segments
    _touch: bool
    _builders: "weakref.WeakSet[ArrayBuilder]"
    _finish: "weakref.finalize[..., ObjectStore]"

    def __init__(self) -> None:
        raise TypeError("stores are made by ObjectStore.create and ObjectStore.attach")

    @classmethod
    def create(
        cls, name: str | None = None, *, capacity: int | str | None = None, spill_dir: str | os.PathLike[str] | None = None
    ) -> "ObjectStore":
        """Make a store.

        Parameters
        ----------
        name : str, optional
            Letters, digits and any of ``_.-``. By default one that nobody else uses.
        capacity : int or str, optional
            How many bytes objects may take, such as ``"4GiB"``. By default what the system's shared memory holds.
        spill_dir : path, optional
            An existing directory for the objects that were not used for longest, when the store is full.

        Returns
        -------
        ObjectStore

        Raises
        ------
        StoreExistsError
            A store of this name is in use.
        StorePermissionError
            Its directory exists and is not this user's alone.
        StoreFullError
            Shared memory is full.
        ImportError
            The platform has no such shared memory.

        Notes
        -----
        Stores of this user that killed processes left behind are removed first.
        """
        sweep()
        store_id = new_store_id()
        directory = Directory.create(
            name=f"store-{store_id[:16]}" if name is None else check_store_name(name),
            info={
                "id": store_id,
                "capacity": _shared_memory() if capacity is None else _bytes_of(capacity),
                "spill": None if spill_dir is None else _spill_path(os.fspath(spill_dir), store_id),
                "owner": os.getpid(),
                "created": time.time(),
            },
        )
        return cls._over(directory, owner=True)

    @classmethod
    def attach(cls, name: str) -> "ObjectStore":
        """The store of this name, which another process of this user created.

        Parameters
        ----------
        name : str

        Returns
        -------
        ObjectStore

        Raises
        ------
        StoreNotFoundError, StorePermissionError
        ImportError
            The platform has no such shared memory.
        """
        self = cls._over(Directory.attach(check_store_name(name)), owner=False)
        try:
            with self._account as account:
                account.count()
        except errors.StoreClosedError:  # somebody removes it, or was killed while doing so
            self.close()
            raise errors.store_not_found(name) from None
        return self

    @classmethod
    def _over(cls, directory: Directory, owner: bool) -> "ObjectStore":
        self = cls.__new__(cls)
        self.name = directory.name
        self.id = directory.info["id"]
        self.capacity = directory.info["capacity"]
        self._directory = directory
        self._account = Account(directory, self.capacity)
        self._spill = Spill(directory, self._account)
        self._segments = Segments(directory, self._account, self._spill)
        self._touch = directory.spill is not None  # when objects were used is asked for by nothing else
        self._builders = weakref.WeakSet()
        self._finish = weakref.finalize(self, _finish, directory, self._account, os.getpid() if owner else None)
        _STORES.add(self)
        return self

    def close(self) -> None:
        """Detach from the store. The owner's closing frees all that is in it, and ends the store for everybody."""
        self._finish()
        self._segments.forget()

    @property
    def closed(self) -> bool:
        """Whether it was closed here."""
        return not self._finish.alive

    def __enter__(self) -> "ObjectStore":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<fastser.ObjectStore {self.name!r}{': closed' if self.closed else ''}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _attach, (self.name, self.id)

    # --- objects -----------------------------------------------------------------------------------------------------

    def put(
        self,
        obj: object,
        *,
        key: str | None = None,
        track_refs: bool = True,
        max_depth: int = 1000,
        fallback: Literal["cloudpickle", "pickle"] | None = "cloudpickle",
        verify: bool = False,
    ) -> ObjectRef:
        """Pack an object straight into shared memory.

        Parameters
        ----------
        obj : object
        key : str, optional
            A name to get it by, which is used once: a second put is refused.
        track_refs, max_depth, fallback, verify
            As for `fastser.dumps`.

        Returns
        -------
        ObjectRef

        Raises
        ------
        EncodeError, DepthError
            The object cannot be packed.
        StoreFullError
            There is no room. Nothing was written.
        ObjectExistsError
            The key is taken.
        StoreClosedError
        """
        return self._write(pack(obj, track_refs=track_refs, max_depth=max_depth, fallback=fallback, verify=verify), key)

    def put_frame(self, frame: "Buffer | Packed", *, key: str | None = None) -> ObjectRef:
        """Put what is packed already: what `fastser.dumps` or `fastser.pack` returned.

        Parameters
        ----------
        frame : bytes-like or Packed
        key : str, optional
            As for `put`.

        Returns
        -------
        ObjectRef

        Raises
        ------
        DecodeError
            It is no frame.
        StoreFullError, ObjectExistsError, StoreClosedError
            As for `put`.
        """
        if isinstance(frame, Packed):
            return self._write(frame, key)
        view = memoryview(frame).cast("B")
        length = frame_length(view[:HEADER_SIZE])
        if length > view.nbytes:
            raise errors.truncated(length, view.nbytes)
        return self._write(view[:length], key)

    def _write(self, frame: "Packed | memoryview", key: str | None) -> ObjectRef:
        self._check_open()
        name = new_name() if key is None else name_of_key(key)
        self._segments.write(name, frame)
        return ObjectRef(self.id, name)

    def get(
        self,
        ref: ObjectRef | str,
        *,
        mode: Literal["r", "c"] = "r",
        timeout: float | None = None,
        writable: bool | None = None,
        safe: bool = False,
        allow: Iterable[type | str] = (),
        max_depth: int = 1000,
    ) -> Any:
        """Rebuild an object over shared memory: large buffers are not copied.

        Parameters
        ----------
        ref : ObjectRef or str
            A reference, or the key of an object that was put with one.
        mode : {"r", "c"}
            Whether arrays in containers and fields are read-only, or writable. The memory is private and copy-on-write in any case:
            arrays that a reducer makes something of are writable and no copies, and the store's bytes never change.
        timeout : float, optional
            How many seconds to wait for an object that is still being put. By default as long as its writer lives.
        writable, safe, allow, max_depth
            As for `fastser.loads`. With ``writable=True`` nothing views the store.

        Returns
        -------
        object
            It stays valid after the object was deleted and after the store was closed.

        Raises
        ------
        ObjectNotFoundError
            There is no such object, or its writer died.
        StoreTimeoutError
            It is still being put.
        ForeignRefError
            The reference is to another store.
        DecodeError, UnsafeDataError, DepthError
            As for `fastser.loads`.
        """
        if mode != "r" and mode != "c":
            raise errors.bad_option("mode", "'r' or 'c'", mode)
        frame = self._frame(ref, True, timeout)
        if writable is True or (mode == "c" and memoryview(frame).readonly and writable is None):
            return loads(frame, writable=True, safe=safe, allow=allow, max_depth=max_depth)
        return loads_private(frame, readonly=mode == "r", writable=writable, safe=safe, allow=allow, max_depth=max_depth)

    def get_frame(self, ref: ObjectRef | str, *, mode: Literal["r", "c"] = "r", timeout: float | None = None) -> "Buffer":
        """The frame of an object, as it was put: what `fastser.loads` takes.

        Parameters
        ----------
        ref, mode, timeout
            As for `get`.

        Returns
        -------
        bytes-like
            Of shared memory, unless it is small; writable, and private, with ``mode="c"``.

        Raises
        ------
        ObjectNotFoundError, StoreTimeoutError, ForeignRefError
            As for `get`.
        """
        if mode != "r" and mode != "c":
            raise errors.bad_option("mode", "'r' or 'c'", mode)
        frame = self._frame(ref, mode == "c", timeout)
        return bytearray(frame) if mode == "c" and memoryview(frame).readonly else frame

    def _frame(self, ref: ObjectRef | str, private: bool, timeout: float | None) -> "Buffer":
        name = self._name(ref)
        frame = fetch(self._directory.sealed, name, private=private, touch=self._touch)
        return self._wait(ref, name, private, timeout) if frame is None else frame

    def refs(self) -> list[ObjectRef]:
        """The objects in the store, in the order in which they were put; those that have a key come last."""
        self._check_open()
        with self._account:
            return sorted(ObjectRef(self.id, name) for name in {*names(self._directory.sealed), *self._spill.names()})

    def delete(self, ref: ObjectRef | str) -> None:
        """Delete an object. It stays valid for who views it; when nobody does, its memory is used again.

        Parameters
        ----------
        ref : ObjectRef or str

        Raises
        ------
        ObjectNotFoundError
            There is no such object.
        ObjectExistsError
            It is still being put.
        ForeignRefError
            The reference is to another store.
        """
        name = self._name(ref)
        if not self._segments.delete(name):
            if self._is_being_put(name):
                raise errors.object_being_put(ref)
            raise errors.object_not_found(ref)

    def create_array(
        self, shape: int | Iterable[int], dtype: "npt.DTypeLike" = float, *, order: Literal["C", "F"] = "C", key: str | None = None
    ) -> "ArrayBuilder":
        """Build an array where it will lie, in shared memory.

        Parameters
        ----------
        shape : int or tuple of int
        dtype : dtype
            Of elements that are plain bytes: no objects.
        order : {"C", "F"}
        key : str, optional
            As for `put`.

        Returns
        -------
        context manager
            Entering gives the array, whose elements are arbitrary until they are set, with its reference as attribute ``ref``: others may
            wait for it already. Leaving seals it; leaving by an exception removes it. What is written through views later is seen by nobody.

        Raises
        ------
        StoreFullError, ObjectExistsError, StoreClosedError
            When entering, as for `put`.

        Examples
        --------
        >>> import fastser
        >>> with fastser.ObjectStore.create() as store:
        ...     with store.create_array((1000, 8), "float32") as array:
        ...         array[:] = 1.5
        ...     print(store.get(array.ref).sum())
        12000.0
        """
        from fastser.store.building import ArrayBuilder

        self._check_open()
        name = new_name() if key is None else name_of_key(key)
        builder = ArrayBuilder(self._segments, ObjectRef(self.id, name), shape, dtype, order)
        self._builders.add(builder)
        return builder

    def trim(self) -> int:
        """Give the memory of deleted objects back to the system, which is kept for new ones otherwise.

        Returns
        -------
        int
            How many bytes of shared memory that were. What is still viewed goes when it is no longer.

        Examples
        --------
        >>> import fastser, numpy
        >>> with fastser.ObjectStore.create() as store:
        ...     store.delete(store.put(numpy.zeros(1_000_000)))
        ...     print(store.stats().used, store.trim(), store.stats().used)
        8003584 8003584 0
        """
        self._check_open()
        return self._segments.trim()

    def stats(self) -> "StoreStats":
        """What is in the store, and which processes view it.

        Returns
        -------
        StoreStats
            ``objects`` (each with ``ref``, ``nbytes``, ``age``, ``spilled`` and ``viewers``), ``pinned`` (bytes by process), ``used``,
            ``free``, ``capacity``, ``being_put``, ``owner``, ``owner_lives``.

        Notes
        -----
        It looks through ``/proc``, which takes milliseconds. Objects below 32 KiB are copied by who gets them, so that nobody views them.

        Examples
        --------
        >>> import fastser
        >>> with fastser.ObjectStore.create() as store:
        ...     ref = store.put("text")
        ...     stats = store.stats()
        >>> [found.ref == ref for found in stats.objects], stats.used
        ([True], 4096)
        """
        from fastser.store.stats import collect

        self._check_open()
        return collect(self._directory, self._account)

    def _claim_keys(self, prefix: str) -> Claim:
        """Claim the keys that begin like that. Objects whose keys were claimed by a process that died meanwhile are deleted."""
        folder = self._directory.fd
        for name in names(folder):
            if name.startswith(_CLAIM) and not is_held(folder, name):
                self._delete_keys(name.removeprefix(_CLAIM))
        return Claim(folder, _CLAIM + prefix)

    def _delete_keys(self, prefix: str) -> None:
        """Delete all objects whose keys begin like that, and the claim to them."""
        for ref in self.refs():
            if ref.name.startswith(f"key-{prefix}"):
                with suppress(errors.ObjectNotFoundError):
                    self.delete(ref)
        remove(self._directory.fd, _CLAIM + prefix)

    # --- looking for them ----------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if not self._finish.alive:
            raise errors.store_closed(self.name)

    def _name(self, ref: ObjectRef | str) -> str:
        if not self._finish.alive:
            raise errors.store_closed(self.name)
        if not isinstance(ref, ObjectRef):
            return name_of_key(ref)
        if ref.store != self.id:
            raise errors.foreign_ref(ref, self.name)
        ref.check()  # unpickling does not
        return ref.name

    def _wait(self, ref: ObjectRef | str, name: str, private: bool, timeout: float | None) -> "Buffer":
        """The frame of an object that was not sealed when one looked."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while True:
            being_put = self._is_being_put(name)  # asked first: it may be sealed in between
            frame = self._find(name, private)
            if frame is not None:
                return frame
            if not being_put:
                with self._account:  # or the owner has closed it
                    raise errors.object_not_found(ref)
            left = deadline - time.monotonic()
            if left <= 0:
                raise errors.put_timed_out(ref, timeout)
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _find(self, name: str, private: bool) -> "Buffer | None":
        # What is spilled is complete there before it goes here.
        directory = self._directory
        frame = fetch(directory.sealed, name, private=private, touch=self._touch)
        if frame is None and directory.spill is not None:
            frame = fetch(directory.spill, name, private=private)
        return frame

    def _is_being_put(self, name: str) -> bool:
        """Whether a process that lives writes it: that one holds a lock on the file."""
        try:
            fd = os.open(name, OPEN, dir_fd=self._directory.new)
        except FileNotFoundError:
            return False
        try:
            return not lock(fd, exclusive=True, wait=False)
        finally:
            os.close(fd)

    # --- fork ----------------------------------------------------------------------------------------------------------

    def _before_fork(self) -> None:
        for builder in list(self._builders):
            builder.forked = True

    def _after_fork(self) -> None:
        """In the child: a viewer, attached on its own account."""
        for builder in list(self._builders):
            builder.after_fork()
        self._segments.after_fork()
        try:
            self._directory.after_fork()
            self._account.after_fork()
        except FileNotFoundError:  # closed meanwhile
            self._finish.detach()


_STORES: "weakref.WeakSet[ObjectStore]" = weakref.WeakSet()
_leaving = threading.Lock()


def leave_all() -> None:
    """Detach this process from all stores, before it ends without cleaning up otherwise."""
    with _leaving:  # who comes second must not end the process before the first one is done
        for store in list(_STORES):
            store.close()


def _before_fork() -> None:
    for store in list(_STORES):
        store._before_fork()


def _after_fork() -> None:
    global _leaving
    _leaving = threading.Lock()
    for store in list(_STORES):
        if not store.closed:
            store._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


def _finish(directory: Directory, account: Account, owner: int | None) -> None:
    if owner == os.getpid() or directory.leave():
        with suppress(errors.StoreClosedError), account:  # it may have been removed by hand
            account.close()
        directory.remove()


def _attach(name: str, store_id: str) -> ObjectStore:
    """Unpickle a store: the same one, not another that took its name."""
    store = ObjectStore.attach(name)
    if store.id != store_id:
        store.close()
        raise errors.store_not_found(name)
    return store


def _bytes_of(capacity: int | str) -> int:
    if isinstance(capacity, str):
        match = _SIZE.fullmatch(capacity.strip())
        if match is None:
            raise errors.bad_capacity(capacity)
        number, prefix, binary = match.groups()
        step = 1024 if binary else 1000
        size = int(float(number) * step ** (" KMGT".index((prefix or " ").upper())))
    elif isinstance(capacity, int) and not isinstance(capacity, bool):
        size = capacity
    else:
        raise errors.bad_capacity(capacity)
    if size <= 0:
        raise errors.bad_capacity(capacity)
    return size


def _shared_memory() -> int:
    if not os.path.isdir(ROOT):
        raise errors.no_store_here()
    found = os.statvfs(ROOT)
    return found.f_blocks * found.f_frsize


def _spill_path(folder: str, store_id: str) -> str:
    if not os.path.isdir(folder):
        raise errors.no_spill_directory(folder)
    return os.path.join(os.path.abspath(folder), spill_name(store_id))

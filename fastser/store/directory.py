"""The directory of a store in shared memory: where it is, whose it is, and who is attached.

Everything that is attached holds a shared lock on the directory, and the kernel drops it with the process. Where an exclusive
lock is granted, nobody is left. The owner holds a claim beside that, so that others see whether it lives.
"""

import errno
import os
import stat
import time
from contextlib import suppress
from typing import TypedDict, cast

from fastser import errors
from fastser._core.dumps import dumps
from fastser._core.loads import loads
from fastser._core.store.shared import AVAILABLE, lock, unlock
from fastser.store.claims import Claim, is_held
from fastser.store.files import NO_LINK, directory_flags, discard, is_full, names
from fastser.store.reference import is_valid

ROOT = "/dev/shm"
# The life of an object: new while it is written, sealed while it can be read, free when it was deleted and its memory waits for another.
_FOLDERS = ("new", "sealed", "free")
_OWNER = "owner"
_LEAST = 4096  # bytes that a store takes
_PATIENCE, _PAUSE = 0.2, 0.001  # seconds to wait for who is removing a store of dead processes


class Info(TypedDict):
    """What a store was created with."""

    id: str
    capacity: int
    spill: str | None  # the directory of its spilled objects
    owner: int  # the process that created it
    created: float


_INFO = {"id": str, "capacity": int, "owner": int, "created": float}


class Directory:
    """The open directory of one store. Its descriptors are closed with the last reference to it.

    Attributes
    ----------
    fd, new, sealed, free : int
        Descriptors of the directory and of its folders.
    spill : int or None
        Descriptor of the directory of spilled objects.
    info : Info
    """

    def __init__(self, name: str) -> None:
        self._opened: list[int] = []
        self.name = name
        self.path = _path(name)
        self.spill: int | None = None
        self.info: Info
        self._claim: Claim | None = None
        self.fd = self._open(self.path)

    def __del__(self) -> None:
        for fd in self._opened:
            os.close(fd)

    @classmethod
    def create(cls, name: str, info: Info) -> "Directory":
        """Make the directory of a store, or take the place of one whose processes are all dead."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            with suppress(FileExistsError):
                _make(_path(name))
            try:
                self = cls(name)
            except FileNotFoundError:
                continue
            if not lock(self.fd, exclusive=True, wait=False):
                if self.owner_lives() or time.monotonic() > deadline:
                    raise errors.store_exists(name)
                time.sleep(_PAUSE)
                continue
            if not self._is_in_place():  # it was removed before it was locked
                continue
            try:
                self._clear()
                self._fill(info)
            except BaseException as error:
                self.remove()
                raise errors.memory_full(ROOT, _LEAST) if is_full(error) else error
            lock(self.fd, exclusive=False)
            with suppress(FileNotFoundError):  # in between the lock was nobody's, and the store could be taken for a dead one
                if self._read_info("store") == info:
                    self._open_folders()
                    return self

    @classmethod
    def attach(cls, name: str) -> "Directory":
        try:
            self = cls(name)
            lock(self.fd, exclusive=False)
            self.info = self._read_info("store")
            self._open_folders()
        except FileNotFoundError:
            raise errors.store_not_found(name) from None
        return self

    def after_fork(self) -> None:
        """In the child: a lock of its own, since the one it inherited is the parent's too."""
        own = os.open(".", directory_flags(), dir_fd=self.fd)
        lock(own, exclusive=False)
        os.dup2(own, self.fd, inheritable=False)
        os.close(own)

    def owner_lives(self) -> bool:
        """Whether the process that created it does, and has not closed it."""
        return is_held(self.fd, _OWNER)

    def leave(self) -> bool:
        """Detach; return whether nobody else is attached, so that it is to be removed: its owner was killed."""
        if lock(self.fd, exclusive=True, wait=False):
            return True
        unlock(self.fd)  # of several that leave at once, the last one to let go gets the lock
        return lock(self.fd, exclusive=True, wait=False)

    def remove(self) -> None:
        """Remove everything. What is viewed stays valid for who views it."""
        self._clear()
        if self._claim is not None:
            self._claim.release()
        if self._is_in_place():
            with suppress(OSError):  # a new store has taken the name
                os.rmdir(self.path)
        unlock(self.fd)  # who waits to attach learns that it is gone

    # --- opening -----------------------------------------------------------------------------------------------------

    def _open(self, path: str, parent: int | None = None) -> int:
        """Open a directory if it is this user's alone, and no link."""
        try:
            fd = os.open(path, directory_flags(), dir_fd=parent)
        except NotADirectoryError:  # a symbolic link is none either
            raise errors.store_not_ours(path, "a link or a file") from None
        except PermissionError:
            raise errors.store_not_ours(path, "one that it may not open") from None
        self._opened.append(fd)
        found = os.fstat(fd)
        if found.st_uid != os.geteuid():
            raise errors.store_not_ours(path, f"one of user {found.st_uid}")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise errors.store_not_ours(path, f"the mode {stat.S_IMODE(found.st_mode):o}")
        return fd

    def _open_folders(self) -> None:
        self.new, self.sealed, self.free = (self._open(folder, self.fd) for folder in _FOLDERS)
        if self.info["spill"] is not None:
            self.spill = self._open(self.info["spill"])

    def _is_in_place(self) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.stat(self.path, follow_symlinks=False), os.fstat(self.fd))
        return False

    # --- contents ----------------------------------------------------------------------------------------------------

    def _fill(self, info: Info) -> None:
        self.info = info
        self._claim = Claim(self.fd, _OWNER)
        # Written before the directory of spilled objects is made, and renamed last: whoever clears up finds all that there is.
        with open("making", "xb", opener=self._opener) as file:
            file.write(dumps(info))
        for folder in _FOLDERS:
            os.mkdir(folder, 0o700, dir_fd=self.fd)
        with open("account", "xb", opener=self._opener) as file:
            file.write(bytes(64))
        if info["spill"] is not None:
            os.mkdir(info["spill"], 0o700)
        os.rename("making", "store", src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def _read_info(self, name: str) -> Info:
        with open(name, "rb", opener=self._opener) as file:
            frame = file.read()
        with suppress(errors.FastserError):
            info = loads(frame, safe=True)
            if _is_info(info):
                return cast(Info, info)
        raise errors.no_store_in(self.path)

    def _opener(self, name: str, flags: int) -> int:
        return os.open(name, flags | NO_LINK, 0o600, dir_fd=self.fd)

    def _clear(self) -> None:
        for name in ("store", "making"):  # first, so that nobody attaches any more
            with suppress(FileNotFoundError, errors.StoreError):  # not complete, or not to be touched
                spill = self._read_info(name)["spill"]
                if spill is not None:
                    self._remove_folder(spill)
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.fd)
        for folder in _FOLDERS:
            self._remove_folder(folder, self.fd)
        for name in names(self.fd):
            discard(self.fd, name, truncate=False)

    def _remove_folder(self, folder: str, parent: int | None = None) -> None:
        try:
            fd = self._open(folder, parent)
        except FileNotFoundError:
            return
        while True:  # who seals or spills an object may add a file meanwhile, but only one
            for name in names(fd):
                discard(fd, name, truncate=folder != "new")
            try:
                return os.rmdir(folder, dir_fd=parent)
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise


def _is_info(found: object) -> bool:
    """Whether this is what `ObjectStore.create` writes. What is removed depends on it."""
    if type(found) is not dict or {name: type(value) for name, value in found.items() if name != "spill"} != _INFO:
        return False
    spill = found.get("spill", 0)
    return spill is None or (type(spill) is str and os.path.basename(spill) == spill_name(found["id"]))


def spill_name(store_id: str) -> str:
    """What the directory of a store's spilled objects is called."""
    return f"fastser-{store_id}"


def _make(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except OSError as error:
        raise errors.memory_full(ROOT, _LEAST) if is_full(error) else error


def sweep() -> None:
    """Remove the stores to which nobody is attached: they were left behind by processes that were killed."""
    for name in stores():
        with suppress(OSError, errors.StoreError):  # somebody else was faster, or it is not as stores are
            directory = Directory(name)
            if lock(directory.fd, exclusive=True, wait=False):
                directory.remove()


def stores() -> list[str]:
    """The names of this user's stores, and of what stands in the place of one. What no store can be called is none."""
    prefix = os.path.basename(_path(""))
    found = (name[len(prefix) :] for name in os.listdir(ROOT) if name.startswith(prefix))
    return sorted(filter(is_valid, found))


def _path(name: str) -> str:
    if not AVAILABLE or not os.path.isdir(ROOT):
        raise errors.no_store_here()
    return os.path.join(ROOT, f"fastser-{os.geteuid()}-{name}")

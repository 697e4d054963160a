"""The account of a store: how many bytes it uses. Whoever changes which files there are does so while it holds the account.

The counters are words in shared memory, changed under a lock of the kernel. A process that is killed in between leaves them too
high, never too low: what is added is counted first and what is removed last. Counting the files corrects them.
"""

import os
import threading
from contextlib import suppress
from types import TracebackType

from fastser import errors
from fastser._core.store.shared import Mapping, lock, unlock
from fastser.store.directory import Directory
from fastser.store.files import OPEN, names

_SIZE = 64
_USED, _FREE, _SEGMENTS, _CLOSED = range(4)
_PAGE = 4096


def pages(nbytes: int) -> int:
    """The memory that a file of this size takes."""
    return -(-nbytes // _PAGE) * _PAGE


class Account:
    """The account of one store, held by ``with``.

    Attributes
    ----------
    capacity : int
    kept : int
        How many bytes of free segments are kept at most.
    """

    def __init__(self, directory: Directory, capacity: int) -> None:
        self._directory = directory
        self.capacity = capacity
        self.kept = capacity // 2
        # Again by the same thread: the collector may run a finalizer at any time, which deletes an object.
        self._thread = threading.RLock()
        self._depth = 0
        self._fd = self._open()
        # By another open file description: a child inherits the mapping, and must not inherit the lock with it.
        fd = self._open()
        self._words = memoryview(Mapping(fd, _SIZE, 0, _SIZE, writable=True)).cast("q")
        os.close(fd)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def _open(self) -> int:
        try:
            return os.open("account", OPEN, dir_fd=self._directory.fd)
        except FileNotFoundError:  # it is being removed
            raise errors.store_not_found(self._directory.name) from None

    def after_fork(self) -> None:
        """In the child: locks of its own."""
        self._thread = threading.RLock()
        self._depth = 0
        own = self._open()
        os.dup2(own, self._fd, inheritable=False)
        os.close(own)

    def __enter__(self) -> "Account":
        self._thread.acquire()
        try:
            if not self._depth:
                lock(self._fd, exclusive=True)
            self._depth += 1
            if self._words[_CLOSED]:
                raise errors.store_closed(self._directory.name)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leave()

    def _leave(self) -> None:
        try:
            self._depth -= self._depth > 0
            if not self._depth:
                unlock(self._fd)
        finally:
            self._thread.release()

    # --- while it is held --------------------------------------------------------------------------------------------

    @property
    def used(self) -> int:
        """Bytes of all files, those of free segments included."""
        return self._words[_USED]

    @property
    def free(self) -> int:
        """Bytes of free segments."""
        return self._words[_FREE]

    @property
    def segments(self) -> int:
        """How many free segments there are."""
        return self._words[_SEGMENTS]

    @property
    def room(self) -> int:
        return self.capacity - self._words[_USED]

    def add(self, nbytes: int) -> None:
        self._words[_USED] += nbytes

    def remove(self, nbytes: int) -> None:
        self._words[_USED] -= nbytes

    def freed(self, nbytes: int) -> None:
        """A segment of this size became free, or with a negative size is in use again."""
        self._words[_FREE] += nbytes
        self._words[_SEGMENTS] += 1 if nbytes > 0 else -1

    def close(self) -> None:
        """Let nobody hold the account any more."""
        self._words[_CLOSED] = 1

    def count(self) -> None:
        """Count all files; remove those whose writers died."""
        directory = self._directory
        for name in names(directory.new):
            self.remove_if_abandoned(name)
        free = _size_of_all(directory.free)
        self._words[_FREE] = free
        self._words[_SEGMENTS] = len(names(directory.free))
        # What is sealed in between is counted twice rather than not at all.
        self._words[_USED] = free + _size_of_all(directory.new) + _size_of_all(directory.sealed)

    def remove_if_abandoned(self, name: str) -> bool:
        """Remove a file that was being written if its writer has died."""
        try:
            fd = os.open(name, OPEN, dir_fd=self._directory.new)
        except FileNotFoundError:
            return True
        try:
            if not lock(fd, exclusive=True, wait=False):
                return False
            with suppress(FileNotFoundError):  # it was sealed meanwhile
                os.unlink(name, dir_fd=self._directory.new)
            return True
        finally:
            os.close(fd)


def _size_of_all(folder: int) -> int:
    total = 0
    for name in names(folder):
        with suppress(FileNotFoundError):
            total += pages(os.stat(name, dir_fd=folder, follow_symlinks=False).st_size)
    return total

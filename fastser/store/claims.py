"""Claims: locked files that tell whether the process that made them lives.

A claim is a file that one process holds an exclusive lock on for as long as it lives. The kernel drops the lock with the process, so
that nobody has to guess from a number whose process it is. A forked child has no part in it.
"""

import os
import weakref
from contextlib import suppress

from fastser._core.store.shared import lock
from fastser.store.files import CREATE, OPEN


class Claim:
    """A claim of this process, until it is released.

    Parameters
    ----------
    folder : int
        Descriptor of the directory that the file is in.
    name : str
        Of a file that is not there yet.
    """

    def __init__(self, folder: int, name: str) -> None:
        self._fd: int | None = None
        while True:
            fd = os.open(name, CREATE, 0o600, dir_fd=folder)
            lock(fd, exclusive=True)
            with suppress(FileNotFoundError):  # somebody took it for that of a dead process in between
                if os.path.samestat(os.stat(name, dir_fd=folder), os.fstat(fd)):
                    break
            os.close(fd)
        self._fd = fd
        _HELD.add(self)

    def release(self) -> None:
        """Let others see it as that of a dead process."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    __del__ = release


def is_held(folder: int, name: str) -> bool:
    """Whether a process that lives has this claim."""
    try:
        fd = os.open(name, OPEN, dir_fd=folder)
    except FileNotFoundError:
        return False
    try:
        return not lock(fd, exclusive=False, wait=False)
    finally:
        os.close(fd)


_HELD: "weakref.WeakSet[Claim]" = weakref.WeakSet()


def _after_fork() -> None:
    for claim in list(_HELD):
        with suppress(OSError):
            claim.release()  # the parent's descriptor, and with it the lock, is another


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

"""Files of a store: opened by descriptor of their directory, links never followed."""

import errno
import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from fastser._core.store.shared import lock

# Descriptors that Python opens are not inherited by other programs.
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
OPEN = os.O_RDWR | NO_LINK
CREATE = OPEN | os.O_CREAT | os.O_EXCL
_PIECES = 1024  # IOV_MAX
_AT_ONCE = 8 << 20


def directory_flags() -> int:
    return os.O_RDONLY | os.O_DIRECTORY | NO_LINK


def names(folder: int) -> list[str]:
    """What is in a directory. Its descriptor has one position for all who share it, also across fork, so it is opened anew."""
    fd = os.open(".", directory_flags(), dir_fd=folder)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def remove(folder: int, name: str) -> bool:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def discard(folder: int, name: str, *, truncate: bool) -> None:
    """Remove a file.

    Its memory goes at once, though writers may still map it, unless somebody views it. A file in the folder ``new`` must not be
    truncated: a process that was forked while it was written may still write to it.
    """
    with suppress(OSError):  # no file, or nothing of ours
        fd = os.open(name, OPEN, dir_fd=folder)
        try:
            if truncate and lock(fd, exclusive=True, wait=False):
                os.ftruncate(fd, 0)
        finally:
            os.close(fd)
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def write_all(fd: int, pieces: Iterable[memoryview], position: int = 0) -> None:
    """Write pieces one after the other, from a position in a file on; no more of them are made at a time than one call writes."""
    left = iter(pieces)
    while some := list(_some(left)):
        while some:
            written = os.pwritev(fd, some, position)
            position += written
            while some and written >= some[0].nbytes:
                written -= some.pop(0).nbytes
            if some:
                some[0] = some[0][written:]


def _some(pieces: Iterator[memoryview]) -> Iterator[memoryview]:
    size = 0
    for piece in itertools.islice(pieces, _PIECES):
        yield piece
        size += piece.nbytes
        if size >= _AT_ONCE:
            return


def is_full(error: BaseException) -> bool:
    """Whether there is no room for a file: in its file system, for this user, or by what this process may write (`ulimit -f`)."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

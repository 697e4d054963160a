"""Files of a store: opened by descriptor of their directory, links never followed."""

import errno
import os
from contextlib import suppress

from fastser._core.shared import lock

# Descriptors that Python opens are not inherited by other programs.
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
OPEN = os.O_RDWR | NO_LINK
CREATE = OPEN | os.O_CREAT | os.O_EXCL
_PIECES = 1024  # IOV_MAX


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


def write_all(fd: int, pieces: list[memoryview], position: int = 0) -> None:
    """Write pieces one after the other, from a position in a file on."""
    done = 0
    while done < len(pieces):
        some = pieces[done : done + _PIECES]
        written = os.pwritev(fd, some, position)
        position += written
        for piece in some:
            if written < piece.nbytes:
                pieces[done] = piece[written:]
                break
            written -= piece.nbytes
            done += 1


def is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)

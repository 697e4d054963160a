"""What is in a store, and who views it: asked of the kernel, since nobody keeps a list that a killed process could leave wrong."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass

from fastser.store.account import Account, pages
from fastser.store.directory import Directory
from fastser.store.files import names
from fastser.store.reference import ObjectRef


@dataclass(frozen=True, slots=True)
class ObjectStats:
    """An object in a store."""

    ref: ObjectRef
    nbytes: int  # of memory, or of the file it was spilled to
    age: float  # in seconds
    spilled: bool
    viewers: tuple[int, ...]  # processes that map it


@dataclass(frozen=True, slots=True)
class StoreStats:
    """A store at one moment.

    Examples
    --------
    >>> import os, numpy, fastser
    >>> with fastser.ObjectStore.create() as store:
    ...     view = store.get(store.put(numpy.zeros(10_000)))
    ...     stats = store.stats()
    >>> stats.objects[0].viewers == tuple(stats.pinned) == (os.getpid(),)
    True
    """

    name: str
    id: str
    owner: int  # the process that created it
    owner_lives: bool
    capacity: int
    used: int  # bytes of memory, those of free segments included
    free: int  # bytes of segments of deleted objects, which wait for new ones or are still viewed
    objects: tuple[ObjectStats, ...]  # in the order in which they were put
    being_put: tuple[str, ...]  # names
    pinned: dict[int, int]  # by process: bytes of objects that it views, deleted ones included


def collect(directory: Directory, account: Account) -> StoreStats:
    info = directory.info
    with account:
        used, free = account.used, account.free
    views = _views(directory)
    now = time.time()
    objects = {}
    # Where an object is found in both, it is being spilled and is still here.
    for folder in (directory.spill, directory.sealed):
        for name in names(folder) if folder is not None else []:
            with suppress(FileNotFoundError, ValueError):  # deleted meanwhile; not complete yet
                ref = ObjectRef(info["id"], name)
                found = os.stat(name, dir_fd=folder)
                viewers = tuple(pid for pid, viewed in views.items() if found.st_ino in viewed)
                spilled = folder == directory.spill
                objects[ref] = ObjectStats(ref, pages(found.st_size), now - found.st_mtime, spilled, viewers)
    return StoreStats(
        name=directory.name,
        id=info["id"],
        owner=info["owner"],
        owner_lives=directory.owner_lives(),
        capacity=account.capacity,
        used=used,
        free=free,
        objects=tuple(objects[ref] for ref in sorted(objects)),
        being_put=tuple(sorted(names(directory.new))),
        pinned={pid: sum(viewed.values()) for pid, viewed in views.items()},
    )


def _views(directory: Directory) -> dict[int, dict[int, int]]:
    """By process: the inodes that it maps for reading, and their sizes. What writers keep mapped is shared and writable."""
    places = [directory.path, *([str(directory.info["spill"])] if directory.spill is not None else [])]
    views: dict[int, dict[int, int]] = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{pid}/maps", errors="surrogateescape") as maps:  # it ended, or is another user's
            for line in maps:
                if not any(place in line for place in places):
                    continue
                addresses, mode, _, _, inode, path = line.split(maxsplit=5)
                if mode != "rw-s" and any(path.startswith(f"{place}/") for place in places):
                    start, _, end = addresses.partition("-")
                    views.setdefault(int(pid), {})[int(inode)] = int(end, 16) - int(start, 16)
    return views

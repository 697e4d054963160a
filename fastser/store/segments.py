"""Segments: the files that objects are written to, from making or recycling one to freeing it again.

What costs is not the copy but touching memory for the first time. So a deleted object's segment is kept as a free one, and whoever
wrote it before keeps its mapping: the next object of that size is written at the speed of a plain copy. A segment is taken
only while nobody views it, which an exclusive lock on its file proves.
"""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from fastser import errors
from fastser._core.frame.packed import Packed
from fastser._core.store.shared import HEADER, SMALL, Mapping, lock, segment_header, unlock
from fastser.store.account import Account, pages
from fastser.store.directory import ROOT, Directory
from fastser.store.files import CREATE, OPEN, exists, is_full, names, remove, write_all
from fastser.store.spill import Spill

_MAPPINGS_KEPT = 256  # each is an entry in the kernel's table for this process, of which there are 65,530
_FREE_KEPT = 256  # free segments: who looks for one looks through them


class Segment:
    """A file that is being written, under a shared lock that tells that its writer lives.

    Attributes
    ----------
    name : str
        The name of the object.
    fd : int
    size : int
    inode : int
    recycled : bool
        Whether its memory was touched before.
    mapping : Mapping or None
        By which it is written, where that is not the descriptor.
    """

    def __init__(self, name: str, fd: int, recycled: bool) -> None:
        found = os.fstat(fd)
        self.name = name
        self.fd = fd
        self.size = found.st_size
        self.inode = found.st_ino
        self.recycled = recycled
        self.mapping: Mapping | None = None


class Segments:
    """The segments of one store, as this process uses them."""

    def __init__(self, directory: Directory, account: Account, spill: Spill) -> None:
        self._directory = directory
        self._account = account
        self._spill = spill
        self._mappings: dict[int, Mapping] = {}  # by inode: of segments that this process wrote to, last used last
        self._freed: deque[tuple[int, int]] = deque(maxlen=_FREE_KEPT)  # (size, inode) of what this process deleted
        self._open: dict[int, Segment] = {}  # by descriptor: of segments that it is writing to

    def after_fork(self) -> None:
        """In the child: let go of what threads of the parent are writing, so that it depends on the parent's life alone."""
        for segment in self._open.values():
            os.close(segment.fd)
            if segment.mapping is not None:
                segment.mapping.unmap()
        self._open.clear()
        self.forget()

    def forget(self) -> None:
        """Unmap what was kept."""
        self._mappings.clear()
        self._freed.clear()

    # --- writing -----------------------------------------------------------------------------------------------------

    def write(self, name: str, frame: "Packed | memoryview", sealed_as: str | None = None) -> None:
        """Write a frame and seal it, in memory, or on disk if memory has no room for it."""
        try:
            if frame.nbytes < SMALL:
                self._write_small(name, bytes(frame), sealed_as or name)
            else:
                self._write_large(name, frame, sealed_as or name)
        except errors.StoreFullError:
            if self._directory.spill is None:
                raise
            self._spill.write(sealed_as or name, frame, partial(self._refuse_if_taken, name))

    def _write_small(self, name: str, frame: bytes, sealed_as: str) -> None:
        size = pages(len(frame))
        new = self._directory.new
        while True:
            with self._account as account:
                self._refuse_if_taken(name)
                if self._make_room(size):
                    account.add(size)
                    try:
                        fd = os.open(name, CREATE, 0o600, dir_fd=new)
                        try:
                            write_all(fd, [memoryview(frame)])
                        finally:
                            os.close(fd)
                        return os.rename(name, sealed_as, src_dir_fd=new, dst_dir_fd=self._directory.sealed)
                    except BaseException as error:
                        remove(new, name)
                        account.remove(size)
                        if is_full(error):
                            raise errors.memory_full(ROOT, size) from None
                        raise
            self._spill.make_room(size)

    def _write_large(self, name: str, frame: "Packed | memoryview", sealed_as: str) -> None:
        segment = self.begin(name, frame.nbytes)
        try:
            if segment.recycled:
                mapping = segment.mapping = self._mapping(segment)
                with memoryview(mapping) as memory, memory[HEADER:] as rest:
                    copy_frame(frame, rest)
                self._keep(segment, mapping)
            else:
                # Pages that nobody touched are filled at half the price by the kernel.
                write_all(segment.fd, frame.pieces() if isinstance(frame, Packed) else [frame], HEADER)
            self.seal(segment, sealed_as, frame.nbytes)
        except BaseException:
            self.abandon(segment)
            raise

    def begin(self, name: str, nbytes: int) -> Segment:
        """A segment for a frame of so many bytes, whose memory is reserved."""
        size = pages(HEADER + nbytes)
        while True:
            with self._account as account:
                self._refuse_if_taken(name)
                segment = self._recycle(name, size)
                if segment is None and self._make_room(size):
                    segment = self._create(name, size)
            if segment is None:
                self._spill.make_room(size)
                continue
            if segment.recycled:
                return segment
            try:
                os.posix_fallocate(segment.fd, 0, size)
                return segment
            except BaseException as error:
                self.abandon(segment)
                if not is_full(error):
                    raise
            with self._account as account:
                if not self._reclaim(account.used):
                    raise errors.memory_full(ROOT, size)

    def seal(self, segment: Segment, name: str, nbytes: int, *, viewed: bool = False) -> None:
        """Make it an object that can be read, at once and as a whole.

        With `viewed`, a mapping of the segment's descriptor is left to views and holds the lock for them.
        """
        # The header last: a reader that was overtaken may have the file open, and must not take it for the object before it is complete.
        os.pwrite(segment.fd, segment_header(name, nbytes), 0)
        os.utime(segment.fd)
        try:
            os.rename(segment.name, name, src_dir_fd=self._directory.new, dst_dir_fd=self._directory.sealed)
        except FileNotFoundError:
            raise errors.store_closed(self._directory.name) from None
        del self._open[segment.fd]
        if not viewed:
            unlock(segment.fd)
        os.close(segment.fd)

    def abandon(self, segment: Segment) -> None:
        """Remove it, unless it is sealed."""
        if self._open.get(segment.fd) is not segment:
            return
        del self._open[segment.fd]
        with suppress(errors.StoreClosedError), self._account as account:
            if remove(self._directory.new, segment.name):
                account.remove(segment.size)
        os.close(segment.fd)

    def map_again(self, segment: Segment, mapping: Mapping) -> None:
        """Map the same memory in the place of a mapping, without the lock that the mapping held."""
        fd = os.open(f"/proc/self/fd/{segment.fd}", os.O_RDWR)  # by its name, another thread may have removed it meanwhile
        mapping.replace(fd, shared=True)
        os.close(fd)

    def trim(self) -> int:
        """Give all free segments back; return how many bytes they had."""
        with self._account as account:
            before = account.used
            self._reclaim(before)
            return before - account.used

    # --- making and recycling, while the account is held ----------------------------------------------------------------

    def _refuse_if_taken(self, name: str) -> None:
        """A key is used once. Other names are never used twice."""
        if name[0] != "k":
            return
        directory = self._directory
        if exists(directory.sealed, name) or (directory.spill is not None and exists(directory.spill, name)):
            raise errors.key_exists(name, being_put=False)
        if exists(directory.new, name) and not self._account.remove_if_abandoned(name):
            raise errors.key_exists(name, being_put=True)

    def _create(self, name: str, size: int) -> Segment:
        account = self._account
        account.add(size)
        fd = None
        try:
            fd = os.open(name, CREATE, 0o600, dir_fd=self._directory.new)
            lock(fd, exclusive=False)
            os.ftruncate(fd, size)  # before a page is reserved, so that it counts
        except BaseException as error:  # no inode is left, or the process may write no such file
            if fd is not None:
                os.close(fd)
                remove(self._directory.new, name)
            account.remove(size)
            raise errors.memory_full(ROOT, size) if is_full(error) else error
        return self._opened(Segment(name, fd, recycled=False))

    def _recycle(self, name: str, size: int) -> Segment | None:
        if self._account.free < size:
            return None
        for found, inode in self._fitting(size, size + size // 4):
            free_name = f"{found}-{inode}"
            try:
                fd = os.open(free_name, OPEN, dir_fd=self._directory.free)
            except FileNotFoundError:  # taken by a finalizer that ran meanwhile
                continue
            if not lock(fd, exclusive=True, wait=False):
                os.close(fd)
                continue
            os.pwrite(fd, bytes(HEADER), 0)  # who waits for the lock to read what was here finds that it is gone
            os.rename(free_name, name, src_dir_fd=self._directory.free, dst_dir_fd=self._directory.new)
            lock(fd, exclusive=False)
            self._account.freed(-found)
            return self._opened(Segment(name, fd, recycled=True))
        return None

    def _fitting(self, least: int, most: int) -> Iterator[tuple[int, int]]:
        """Free segments to try: what this process deleted last, of which it may have a mapping, then all."""
        # A copy: a finalizer that deletes an object may run between any two steps. Making one takes a single step.
        for found in reversed(list(self._freed)):
            if not least <= found[0] <= most:
                continue
            with suppress(ValueError):
                self._freed.remove(found)
            yield found
        fitting = [(size, inode not in self._mappings, inode) for size, inode in self._free_segments() if least <= size <= most]
        yield from ((size, inode) for size, _, inode in sorted(fitting))

    def _opened(self, segment: Segment) -> Segment:
        self._open[segment.fd] = segment
        return segment

    def _make_room(self, size: int) -> bool:
        """Whether so many bytes more fit into the capacity, once free segments were given up for them."""
        account = self._account
        if size > account.room:
            self._reclaim(size - account.room)
        if size > account.room:
            account.count()
        return size <= account.room

    def _reclaim(self, size: int) -> bool:
        """Give free segments back to the system, large ones first, until so many bytes were; return whether any were."""
        before = self._account.used
        for found, inode in sorted(self._free_segments(), reverse=True):
            if before - self._account.used >= size:
                break
            self._give_back(f"{found}-{inode}", found)
        return self._account.used < before

    def _give_back(self, free_name: str, size: int) -> None:
        try:
            fd = os.open(free_name, OPEN, dir_fd=self._directory.free)
        except FileNotFoundError:
            return
        try:
            if lock(fd, exclusive=True, wait=False):
                os.ftruncate(fd, 0)
                os.unlink(free_name, dir_fd=self._directory.free)
                self._account.remove(size)
                self._account.freed(-size)
        finally:
            os.close(fd)

    def _free_segments(self) -> list[tuple[int, int]]:
        """(size, inode) of each."""
        return [(int(size), int(inode)) for size, _, inode in (name.partition("-") for name in names(self._directory.free))]

    # --- mappings that are kept -----------------------------------------------------------------------------------------

    def _mapping(self, segment: Segment) -> Mapping:
        mapping = self._mappings.pop(segment.inode, None)
        return mapping or Mapping(segment.fd, segment.size, 0, segment.size, writable=True, populate=True)

    def _keep(self, segment: Segment, mapping: Mapping) -> None:
        self._mappings[segment.inode] = mapping
        while len(self._mappings) > _MAPPINGS_KEPT:
            with suppress(KeyError, RuntimeError):  # another thread does the same
                del self._mappings[next(iter(self._mappings))]

    # --- deleting ----------------------------------------------------------------------------------------------------

    def delete(self, name: str) -> bool:
        """Delete a sealed object, wherever it lies; return whether there was one."""
        directory = self._directory
        with self._account as account:
            spilled = directory.spill is not None and remove(directory.spill, name)
            try:
                found = os.stat(name, dir_fd=directory.sealed, follow_symlinks=False)
            except FileNotFoundError:
                return spilled
            if found.st_size < SMALL:
                os.unlink(name, dir_fd=directory.sealed)
                account.remove(pages(found.st_size))
            else:
                os.rename(name, f"{found.st_size}-{found.st_ino}", src_dir_fd=directory.sealed, dst_dir_fd=directory.free)
                account.freed(found.st_size)
                self._freed.append((found.st_size, found.st_ino))
                if account.free > account.kept:
                    self._reclaim(account.free - account.kept)
                elif account.segments > _FREE_KEPT:  # small ones cost least to make anew
                    for size, inode in sorted(self._free_segments())[: _FREE_KEPT // 4]:
                        self._give_back(f"{size}-{inode}", size)
            return True


def copy_frame(frame: "Packed | memoryview", memory: memoryview) -> None:
    if isinstance(frame, Packed):
        frame.write_into(memory)
    else:
        memory[: frame.nbytes] = frame

"""Spilling: when the store is full, the objects that were not used for longest go to a directory on disk, or else the new one does."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from fastser import errors
from fastser._core.frame.packed import Packed
from fastser._core.store.shared import HEADER, SMALL, lock, segment_header
from fastser.store.account import Account, pages
from fastser.store.directory import Directory
from fastser.store.files import CREATE, OPEN, directory_flags, is_full, names, remove, write_all

_UNFINISHED = "unfinished"


class Spill:
    """Makes room in one store."""

    def __init__(self, directory: Directory, account: Account) -> None:
        self._directory = directory
        self._account = account

    def make_room(self, size: int) -> None:
        """Spill something, or raise StoreFullError. Whether there is room now is for the caller to see."""
        account, folder = self._account, self._directory.spill
        if folder is None or size > account.capacity:
            raise errors.store_full(size, account.used - account.free, account.capacity, folder is not None)
        with self._turn(folder):
            remove(folder, _UNFINISHED)
            missing = size - account.room
            spilled = 0
            for name in self._least_recently_used():
                if spilled >= missing:
                    return
                spilled += self._spill(name, folder)
            if spilled < missing and not spilled:
                with account:  # or the owner has closed it
                    raise errors.store_full(size, account.used - account.free, account.capacity, True)

    @contextmanager
    def _turn(self, folder: int) -> Iterator[None]:
        """One at a time: all would spill for the same room, and there is one unfinished file."""
        turn = os.open(".", directory_flags(), dir_fd=folder)
        try:
            lock(turn, exclusive=True)
            yield
        finally:
            os.close(turn)

    def write(self, name: str, frame: "Packed | memoryview", refuse_if_taken: Callable[[], None]) -> None:
        """Put an object here at once, which memory has no room for."""
        folder = self._directory.spill
        assert folder is not None
        large = frame.nbytes >= SMALL
        with self._turn(folder):
            out = self._open_unfinished(folder)
            try:
                write_all(out, frame.pieces() if isinstance(frame, Packed) else [frame], HEADER if large else 0)
                if large:
                    os.pwrite(out, segment_header(name, frame.nbytes), 0)
                with self._account:
                    refuse_if_taken()
                    os.rename(_UNFINISHED, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException as error:
                self._give_up(folder, frame.nbytes, error)
            finally:
                os.close(out)

    def names(self) -> list[str]:
        """Of the objects that are spilled."""
        folder = self._directory.spill
        return [] if folder is None else [name for name in names(folder) if name != _UNFINISHED]

    def _least_recently_used(self) -> list[str]:
        folder = self._directory.sealed
        used = []
        for name in names(folder):
            with suppress(FileNotFoundError):
                used.append((os.stat(name, dir_fd=folder).st_atime_ns, name))
        return [name for _, name in sorted(used)]

    def _spill(self, name: str, folder: int) -> int:
        """Return how many bytes of shared memory that gave back: none if somebody views the object."""
        try:
            fd = os.open(name, OPEN, dir_fd=self._directory.sealed)
        except FileNotFoundError:
            return 0
        try:
            if not lock(fd, exclusive=True, wait=False):
                return 0
            lock(fd, exclusive=False)  # read while it is copied; nobody recycles it meanwhile
            size = os.fstat(fd).st_size
            self._copy(fd, size, folder)
            with self._account as account:
                # Readers look here first and there second, so that they find it at any moment.
                if not self._is_sealed(name, fd) or not lock(fd, exclusive=True, wait=False):
                    return 0
                os.rename(_UNFINISHED, name, src_dir_fd=folder, dst_dir_fd=folder)
                if size >= SMALL:
                    os.ftruncate(fd, 0)
                os.unlink(name, dir_fd=self._directory.sealed)
                account.remove(pages(size))
            return pages(size)
        finally:
            os.close(fd)

    def _copy(self, fd: int, size: int, folder: int) -> None:
        out = self._open_unfinished(folder)
        try:
            position = 0
            while position < size:
                position += os.sendfile(out, fd, position, size - position)
        except BaseException as error:
            self._give_up(folder, size, error)
        finally:
            os.close(out)

    def _open_unfinished(self, folder: int) -> int:
        remove(folder, _UNFINISHED)
        try:
            return os.open(_UNFINISHED, CREATE, 0o600, dir_fd=folder)
        except FileNotFoundError:
            raise errors.store_closed(self._directory.name) from None

    def _give_up(self, folder: int, size: int, error: BaseException) -> NoReturn:
        remove(folder, _UNFINISHED)
        raise errors.memory_full(str(self._directory.info["spill"]), size) if is_full(error) else error

    def _is_sealed(self, name: str, fd: int) -> bool:
        """Whether it is still the file of this object that is open."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.stat(name, dir_fd=self._directory.sealed), os.fstat(fd))
        return False

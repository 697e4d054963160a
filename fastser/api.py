"""What wraps the compiled functions: files, and options chosen once."""

import io
import mmap
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from fastser import errors, hooks
from fastser._core.dumps import dumps, pack
from fastser._core.frame.packed import HEADER_SIZE, Packed, frame_length
from fastser._core.loads import loads, loads_private
from fastser._core.loads_many import loads_many
from fastser._core.pack_many import PackedRows, pack_many
from fastser._core.store.shared import AVAILABLE, Mapping

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from fastser._core.frame.packed import ArrowArrayExportable, ArrowStreamExportable

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]
_PATHS = (str, bytes, os.PathLike)
Fallback = Literal["cloudpickle", "pickle"] | None
MmapMode = Literal["r", "c"] | None

# What is allocated on the word of a header alone, where a file does not tell how much it holds.
_FIRST_STEP = 1 << 20


# --- files -------------------------------------------------------------------------------------------------------------


def dump(
    obj: object,
    file: Path | BinaryIO,
    *,
    track_refs: bool = True,
    max_depth: int = 1000,
    fallback: Fallback = "cloudpickle",
    verify: bool = False,
) -> None:
    """Write an object to a file as one frame.

    Large buffers go from where they lie to the file; no frame is put together in memory.

    Parameters
    ----------
    obj : object
    file : path or binary file
        A path is replaced as a whole once everything is written, so that it holds either the old contents or the new.
        To a file the frame is written at its position; frames may follow one another.
    track_refs, max_depth, fallback, verify
        As for `dumps`.

    Raises
    ------
    EncodeError, DepthError
        The object cannot be packed. Nothing has been written.
    OSError
        Writing failed. A path is as it was; a file may hold a part of the frame.

    Notes
    -----
    For a path, a temporary file is written beside it (``.fastser-*.tmp``) and renamed. It is removed on every error, but not
    when the process is killed. Whoever has the old file open or mapped keeps it. Where a symbolic link leads is replaced, not
    the link; the new file has the mode of the old one, and its owner and group where this process may give them; other names
    of the old file (hard links) keep the old contents. Pipes and devices are written to.

    A process that dies leaves one of the two contents. A machine that dies may lose both, since nothing is forced to the disk:
    that would take much longer than writing. If you need that, write to an open file, `os.fsync` it, and rename it yourself.

    Examples
    --------
    >>> import io
    >>> import fastser
    >>> file = io.BytesIO()
    >>> fastser.dump([1, 2], file)
    >>> fastser.dump({"a": 3}, file)
    >>> position = file.seek(0)
    >>> fastser.load(file), fastser.load(file)
    ([1, 2], {'a': 3})
    """
    _dump(obj, file, track_refs=track_refs, max_depth=max_depth, fallback=fallback, verify=verify)


def load(
    file: Path | BinaryIO,
    *,
    writable: bool | None = None,
    safe: bool = False,
    allow: Iterable[type | str] = (),
    max_depth: int = 1000,
    mmap_mode: MmapMode = None,
) -> Any:
    """Read one frame from a file and rebuild its object.

    Trusts the file as pickle does, unless `safe` is set.

    Parameters
    ----------
    file : path or binary file
        From a path the first frame is read; a file is left behind the frame, where the next one may begin.
    writable, safe, allow, max_depth
        As for `loads`.
    mmap_mode : {None, "r", "c"}
        Map the frame instead of reading it, as `numpy.memmap` does for one array: its large arrays are then read from the disk
        as they are looked at, a page at a time. With ``"r"`` arrays in containers and fields are read-only, with ``"c"`` all
        can be written to. Either way the memory is mapped copy-on-write: what is written, be it by code that takes no notice of
        what is read-only, is this process's own, and never reaches the file. Takes the path of a regular file.

    Returns
    -------
    object
        Its larger arrays are writable views of the memory that the frame was read into; with `mmap_mode`, views of the mapping,
        which lives until the last of them is gone. With ``writable=True`` they are copies where they are mapped.

    Raises
    ------
    EOFError
        The file is at its end.
    DecodeError
        What follows is not a whole frame.
    TypeError
        `file` is neither a path nor a binary file, or `mmap_mode` is given for what is not a path.
    OSError
        Reading failed, or `mmap_mode` is given for what is not a regular file.

    Notes
    -----
    A mapped file may be deleted, or replaced (as `dump` does): the mapping keeps what it maps. It must not be truncated or
    written to in place: arrays over ``"r"`` would show the change, those over ``"c"`` might, and looking at what was cut off
    ends the process (SIGBUS), as with any mapping.

    Examples
    --------
    >>> import io
    >>> import fastser
    >>> fastser.load(io.BytesIO(fastser.dumps("text")))
    'text'

    >>> import numpy as np
    >>> fastser.dump({"a": np.arange(1e6)}, "file")
    >>> a = fastser.load("file", mmap_mode="r")["a"]
    >>> a[500_000], a.flags.writeable
    (np.float64(500000.0), False)
    """
    return _load(file, mmap_mode, writable=writable, safe=safe, allow=allow, max_depth=max_depth)


def _dump(obj: object, file: Path | BinaryIO, **options: Any) -> None:
    if not isinstance(file, _PATHS) and not hasattr(file, "write"):
        raise errors.not_a_file("write", file)
    packed = pack(obj, **options)
    if isinstance(file, _PATHS):
        _write_path(os.fsdecode(file), packed)
    else:
        _write_file(file, packed)


def _load(file: Path | BinaryIO, mmap_mode: MmapMode, *, writable: bool | None, **options: Any) -> Any:
    if mmap_mode is not None:
        mapping = _map(file, mmap_mode)
        if writable is True or (writable is None and mmap_mode == "c" and memoryview(mapping).readonly):
            return loads(mapping, writable=True, **options)
        return loads_private(mapping, readonly=mmap_mode == "r", writable=writable, **options)
    if isinstance(file, _PATHS):
        with open(file, "rb", buffering=0) as opened:
            frame = _read_frame(opened)
    else:
        frame = _read_frame(file)
    return loads_private(frame, readonly=False, writable=writable, **options)


def _map(path: Path | BinaryIO, mode: MmapMode) -> "Mapping | mmap.mmap":
    """The file's first frame. The views that `loads` makes keep the mapping, and nothing else does."""
    if mode not in ("r", "c"):
        raise errors.bad_option("mmap_mode", "None, 'r' or 'c'", mode)
    if not isinstance(path, _PATHS):
        raise errors.not_a_path(path)
    if not stat.S_ISREG(os.stat(path).st_mode):  # before it is opened: a pipe would wait for its writer
        raise errors.not_mappable(os.fsdecode(path))
    with open(path, "rb", buffering=0) as file:
        start = file.read(HEADER_SIZE)
        if not start:
            raise errors.end_of_file()
        total, size = frame_length(start), _size_of(file)
        if size < total:
            raise errors.truncated(total, size)
        if AVAILABLE:
            return Mapping(file.fileno(), total, 0, total, private=True)
        return mmap.mmap(file.fileno(), total, access=mmap.ACCESS_COPY)


def _write_path(path: str, packed: Packed) -> None:
    path = os.path.realpath(path)  # what a symbolic link leads to is replaced, not the link
    try:
        old = os.stat(path)
    except FileNotFoundError:
        old = None
    if old is not None and not stat.S_ISREG(old.st_mode):
        with open(path, "wb") as device:
            return _write_file(device, packed)
    temporary = os.path.join(os.path.dirname(path), f".fastser-{secrets.token_hex(8)}.tmp")
    try:
        if old is not None:
            open(path, "r+b").close()  # a file that may not be written must not be replaced either
        with open(temporary, "xb") as file:
            if old is not None:
                _inherit(temporary, old)
            _write_file(file, packed)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename == temporary:
            error.filename = path
        raise


def _inherit(path: str, old: os.stat_result) -> None:
    """Give a new file the group, owner and mode of the one that it is to replace, as far as this process may."""
    if hasattr(os, "chown"):
        for owner in (-1, old.st_gid), (old.st_uid, -1):
            with suppress(OSError):
                os.chown(path, *owner)
    os.chmod(path, stat.S_IMODE(old.st_mode))  # last: chown takes bits away


def _write_file(file: BinaryIO, packed: Packed) -> None:
    for buffer in packed.pieces():
        while buffer.nbytes:
            written = file.write(buffer)
            if written is None:
                # Only raw files say None for "would block"; others mean that everything was written.
                if isinstance(file, io.RawIOBase):
                    raise errors.would_block("writing")
                break
            if not written:
                raise errors.write_stalled(buffer.nbytes)
            buffer = buffer[written:]


def _read_frame(file: BinaryIO) -> memoryview:
    """The next frame, or what there is of it: `loads` says what is missing."""
    if not hasattr(file, "readinto"):
        raise errors.not_a_file("readinto", file)
    frame = memoryview(bytearray(HEADER_SIZE))
    filled = _fill(file, frame, 0)
    if not filled:
        raise errors.end_of_file()
    total = frame_length(frame[:filled])
    # The length is the header's claim. Memory follows what the file is known to hold, then what it turned out to hold.
    size = min(total, max(_size_of(file), _FIRST_STEP))
    while True:
        head, frame = frame, np.empty(size, np.uint8).data
        frame[:filled] = head
        filled = _fill(file, frame, filled)
        if filled < size or size == total:
            return frame[:filled]
        size = min(total, 2 * size)


def _fill(file: BinaryIO, view: memoryview, filled: int) -> int:
    while filled < len(view):
        count = file.readinto(view[filled:])  # type: ignore[attr-defined]
        if count is None:
            raise errors.would_block("reading")
        if not count:
            break
        filled += count
    return filled


def _size_of(file: BinaryIO) -> int:
    try:
        found = os.fstat(file.fileno())
    except (AttributeError, OSError, ValueError):
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


# --- hooks -------------------------------------------------------------------------------------------------------------


def register(
    cls: type,
    encode: Callable[[Any], Any],
    decode: Callable[[Any], Any],
    *,
    name: str | None = None,
    subclasses: bool = False,
) -> None:
    """Say how the objects of a class are packed and rebuilt, in this process.

    Parameters
    ----------
    cls : type
        Any class but the native ones (int, list, numpy.ndarray ...), which no hook is asked for.
    encode : callable
        Takes an object of the class and returns what is packed in its place: anything that can be packed, or NotImplemented
        to have this one packed as if there were no hook.
    decode : callable
        Takes what `encode` returned, as it was loaded, and returns the object.
    name : str, optional
        What frames call the hook by. A reader needs a hook of the same name. By default the class's module and qualified name.
    subclasses : bool
        Whether the hook is for subclasses too that have none of their own. `decode` is not told the subclass.

    Raises
    ------
    TypeError
        `cls` is no class, or a native one; `encode` or `decode` cannot be called; `name` is no str.
    ValueError
        `name` is empty, or stands for another class.

    Notes
    -----
    Registering a class again replaces its hook. With ``safe=True`` no hook is called, and what would need one is refused.

    Examples
    --------
    >>> import fastser
    >>> class Celsius:
    ...     def __init__(self, degrees):
    ...         self.degrees = degrees
    >>> fastser.register(Celsius, lambda celsius: celsius.degrees, Celsius, name="celsius")
    >>> fastser.loads(fastser.dumps([Celsius(20), Celsius(25)]))[1].degrees
    25
    """
    hooks.PROCESS.add(cls, encode, decode, name, subclasses)


# --- options chosen once -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Serializer:
    """`dumps`, `pack`, `pack_many`, `dump`, `loads`, `loads_many` and `load` as methods, their options chosen once.

    Parameters
    ----------
    track_refs, max_depth, fallback, verify
        As for `dumps`.
    writable, safe, allow
        As for `loads`.

    Raises
    ------
    TypeError, ValueError
        An option is none of those that the functions take.

    Notes
    -----
    Its options cannot be changed; `register` gives it hooks of its own. It is equal to another one with the same options and hooks,
    and can be pickled.

    Examples
    --------
    >>> import fastser
    >>> serializer = fastser.Serializer(track_refs=False, max_depth=50)
    >>> serializer.loads(serializer.dumps([1, 2]))
    [1, 2]
    """

    track_refs: bool = True
    max_depth: int = 1000
    fallback: Fallback = "cloudpickle"
    verify: bool = False
    writable: bool | None = None
    safe: bool = False
    allow: Iterable[type | str] = ()
    # None where it has none of its own. Replaced, never changed: copies of the serializer share it.
    _hooks: hooks.Hooks | None = field(default=None, repr=False, hash=False)

    def __post_init__(self) -> None:
        if isinstance(self.allow, Iterable) and not isinstance(self.allow, (str, frozenset)):
            object.__setattr__(self, "allow", tuple(self.allow))
        self.loads(self.dumps(None))  # a wrong option is refused here, in the words of the function it is for

    def register(
        self,
        cls: type,
        encode: Callable[[Any], Any],
        decode: Callable[[Any], Any],
        *,
        name: str | None = None,
        subclasses: bool = False,
    ) -> None:
        """As the function `register`, for this serializer alone. Its hooks come before those of the process."""
        with hooks.LOCK:
            own = hooks.Hooks(hooks.PROCESS, self._hooks or ())
            own.add(cls, encode, decode, name, subclasses)
            object.__setattr__(self, "_hooks", own)

    # Written out: collecting the options in a dict, or a functools.partial, costs more than packing a small message.

    def dumps(self, obj: object) -> bytes:
        """As the function `dumps`."""
        return dumps(
            obj, track_refs=self.track_refs, max_depth=self.max_depth, fallback=self.fallback, hooks=self._hooks, verify=self.verify
        )

    def pack(self, obj: object) -> Packed:
        """As the function `pack`."""
        return pack(
            obj, track_refs=self.track_refs, max_depth=self.max_depth, fallback=self.fallback, hooks=self._hooks, verify=self.verify
        )

    def dump(self, obj: object, file: Path | BinaryIO) -> None:
        """As the function `dump`."""
        _dump(
            obj, file, track_refs=self.track_refs, max_depth=self.max_depth, fallback=self.fallback, hooks=self._hooks, verify=self.verify
        )

    def pack_many(
        self, objects: Iterable[object], *, layout: Literal["columns", "frames"] = "columns", copy: bool = False, large: bool = False
    ) -> PackedRows:
        """As the function `pack_many`."""
        options = {"track_refs": self.track_refs, "max_depth": self.max_depth, "fallback": self.fallback, "hooks": self._hooks}
        return pack_many(objects, layout=layout, copy=copy, large=large, **options)  # type: ignore[arg-type]

    def loads(self, data: "Buffer | ArrowArrayExportable | ArrowStreamExportable") -> Any:
        """As the function `loads`."""
        return loads(
            data, writable=self.writable, safe=self.safe, allow=self.allow, max_depth=self.max_depth, hooks=self._hooks
        )

    def load(self, file: Path | BinaryIO, *, mmap_mode: MmapMode = None) -> Any:
        """As the function `load`."""
        return _load(
            file, mmap_mode, writable=self.writable, safe=self.safe, allow=self.allow, max_depth=self.max_depth, hooks=self._hooks
        )

    def loads_many(
        self,
        table: "ArrowStreamExportable | ArrowArrayExportable | Iterable[ArrowStreamExportable | ArrowArrayExportable]",
        *,
        column: str | None = None,
    ) -> Iterator[Any]:
        """As the function `loads_many`."""
        return loads_many(
            table,
            column=column,
            writable=self.writable,
            safe=self.safe,
            allow=self.allow,
            max_depth=self.max_depth,
            hooks=self._hooks,
        )

"""What wraps the compiled functions: files, and options chosen once."""

import io
import os
import secrets
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from fastser import errors, hooks
from fastser._core.loads import loads
from fastser._core.dumps import dumps, pack
from fastser._core.packed import HEADER_SIZE, Packed, frame_length

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from fastser._core.packed import ArrowArrayExportable

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]
_PATHS = (str, bytes, os.PathLike)
Fallback = Literal["cloudpickle", "pickle"] | None

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
) -> None:
    """Write an object to a file as one frame.

    Large buffers go from where they lie to the file; no frame is put together in memory.

    Parameters
    ----------
    obj : object
    file : path or binary file
        A path is replaced as a whole once everything is written, so that it holds either the old contents or the new.
        To a file the frame is written at its position; frames may follow one another.
    track_refs, max_depth, fallback
        As for `dumps`.

    Raises
    ------
    EncodeError, DepthError
        The object cannot be packed. Nothing has been written.
    OSError
        Writing failed. A path is as it was; a file may hold a part of the frame.

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
    _dump(obj, file, track_refs=track_refs, max_depth=max_depth, fallback=fallback)


def load(
    file: Path | BinaryIO,
    *,
    safe: bool = False,
    allow: Iterable[type | str] = (),
    max_depth: int = 1000,
) -> Any:
    """Read one frame from a file and rebuild its object.

    Trusts the file as pickle does, unless `safe` is set.

    Parameters
    ----------
    file : path or binary file
        From a path the first frame is read; a file is left behind the frame, where the next one may begin.
    safe, allow, max_depth
        As for `loads`.

    Returns
    -------
    object
        Its arrays are writable views of the memory that the frame was read into.

    Raises
    ------
    EOFError
        The file is at its end.
    DecodeError
        What follows is not a whole frame.

    Examples
    --------
    >>> import io
    >>> import fastser
    >>> fastser.load(io.BytesIO(fastser.dumps("text")))
    'text'
    """
    return loads(_read(file), safe=safe, allow=allow, max_depth=max_depth)


def _dump(obj: object, file: Path | BinaryIO, **options: Any) -> None:
    if not isinstance(file, _PATHS) and not hasattr(file, "write"):
        raise errors.not_a_file("write", file)
    packed = pack(obj, **options)
    if isinstance(file, _PATHS):
        _write_path(os.fsdecode(file), packed)
    else:
        _write_file(file, packed)


def _read(file: Path | BinaryIO) -> memoryview:
    if isinstance(file, _PATHS):
        with open(file, "rb", buffering=0) as opened:
            return _read_frame(opened)
    return _read_frame(file)


def _write_path(path: str, packed: Packed) -> None:
    path = os.path.realpath(path)  # what a symbolic link leads to is replaced, not the link
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):
        with open(path, "wb") as device:
            return _write_file(device, packed)
    temporary = os.path.join(os.path.dirname(path), f".fastser-{secrets.token_hex(8)}.tmp")
    try:
        if mode is not None:
            open(path, "r+b").close()  # a file that may not be written must not be replaced either
        with open(temporary, "xb") as file:
            if mode is not None:
                os.chmod(temporary, stat.S_IMODE(mode))
            _write_file(file, packed)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename == temporary:
            error.filename = path
        raise


def _write_file(file: BinaryIO, packed: Packed) -> None:
    for buffer in packed.buffers():
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
        Takes an object of the class and returns what is packed in its place: anything that can be packed.
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
    """`dumps`, `pack`, `dump`, `loads` and `load` as methods, their options chosen once.

    Parameters
    ----------
    track_refs, max_depth, fallback
        As for `dumps`.
    safe, allow
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
    safe: bool = False
    allow: Iterable[type | str] = ()
    # None where it has none of its own. Replaced, never changed: copies of the serializer share it.
    _hooks: hooks.Hooks | None = field(default=None, repr=False, hash=False)

    def __post_init__(self) -> None:
        if isinstance(self.allow, Iterable) and not isinstance(self.allow, str):
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
        return dumps(obj, track_refs=self.track_refs, max_depth=self.max_depth, fallback=self.fallback, hooks=self._hooks)

    def pack(self, obj: object) -> Packed:
        """As the function `pack`."""
        return pack(obj, track_refs=self.track_refs, max_depth=self.max_depth, fallback=self.fallback, hooks=self._hooks)

    def dump(self, obj: object, file: Path | BinaryIO) -> None:
        """As the function `dump`."""
        _dump(obj, file, track_refs=self.track_refs, max_depth=self.max_depth, fallback=self.fallback, hooks=self._hooks)

    def loads(self, data: "Buffer | ArrowArrayExportable") -> Any:
        """As the function `loads`."""
        return loads(data, safe=self.safe, allow=self.allow, max_depth=self.max_depth, hooks=self._hooks)

    def load(self, file: Path | BinaryIO) -> Any:
        """As the function `load`."""
        return loads(_read(file), safe=self.safe, allow=self.allow, max_depth=self.max_depth, hooks=self._hooks)

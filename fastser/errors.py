"""The exceptions, and the wording of every one of them.

The rest of the package raises what these functions return, so that a message is written, read and changed in one place.
Each says what was expected, what came instead, and where: the path inside the object that was being packed
(``$.jobs[3].callback``), or the byte offset inside the frame that was being read.
"""

import errno
import os
import pickle
import reprlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PATH_LIMIT = 160
_FIRST_SENTENCE = "This object exceeds the maximum recursion depth. It may contain itself recursively."


class FastserError(Exception):
    """Base class of everything that fastser raises on its own account.

    Copied and pickled, an error keeps its cause too, where that can be pickled; other exceptions lose it.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        reduced: Any = super().__reduce__()
        cls, arguments, *state = reduced  # in a dict of the state are the notes, too
        attributes = {**state[0]} if state and state[0] else {}
        if self.__cause__ is not None and _can_be_pickled(self.__cause__):
            attributes["__cause__"] = self.__cause__
        return (cls, arguments, attributes) if attributes else (cls, arguments)

    def __copy__(self) -> "FastserError":
        with _taken_as_they_are():
            reduced: Any = self.__reduce_ex__(4)
        make, arguments, *state = reduced
        copied: FastserError = make(*arguments)
        if state and state[0] is not None:
            copied.__setstate__(state[0])
        return copied


class EncodeError(FastserError, pickle.PicklingError, TypeError):
    """An object cannot be packed. The cause, where there is one, is in ``__cause__``."""


class DecodeError(FastserError, pickle.UnpicklingError, ValueError):
    """The data is not a whole, well-formed frame."""


class DefinitionWarning(UserWarning):
    """A frame carries a function or class whose definition differs from that of the same name here."""


class DepthError(FastserError, RecursionError):
    """An object or a frame is nested deeper than ``max_depth``, or than the thread's stack allows."""


class UnsafeDataError(DecodeError):
    """A frame read with ``safe=True`` asks for something that would import or call."""


_causes = threading.local()


@contextmanager
def _taken_as_they_are() -> "Iterator[None]":
    before = getattr(_causes, "taken", False)
    _causes.taken = True
    try:
        yield
    finally:
        _causes.taken = before


def _can_be_pickled(cause: BaseException) -> bool:
    """Whether a cause can, with all that leads to it: who asks for an error's parts would fail on it."""
    if getattr(_causes, "taken", False):  # causes of causes are part of the trial
        return True
    try:
        with _taken_as_they_are():
            pickle.dumps(cause, protocol=5, buffer_callback=lambda buffer: None)
    except Exception:
        return False
    return True


# --- both directions ---------------------------------------------------------------------------------------------------


def depth_exceeded(path: str | None, max_depth: int, *, decoding: bool, stack: bool) -> DepthError:
    """`stack`: what ran out is the C stack of the thread, so that a larger max_depth would not help."""
    where = f" at {shorten(path)}" if path else ""
    if stack:
        what = f"The stack of this thread was full{where}, before max_depth={max_depth}"
        remedy = "run it in a thread with a larger stack (threading.stack_size)"
        if not decoding:
            remedy += ", or, if it contains itself, keep track_refs on"
    else:
        what = f"max_depth={max_depth} was reached{where}"
        remedy = "raise max_depth" if decoding else "raise max_depth, or, if it contains itself, keep track_refs on"
    return DepthError(f"{_FIRST_SENTENCE} {what}: {remedy}.")


def contains_itself(path: str) -> DepthError:
    return DepthError(f"{_FIRST_SENTENCE} {shorten(path)} contains itself: keep track_refs on.")


def pickle_recursed(path: "str | None", type_name: str) -> DepthError:
    where = f" at {shorten(path)}" if path else ""
    return DepthError(
        f"{_FIRST_SENTENCE} pickle gave up on the {type_name}{where}: raise the interpreter's limit (sys.setrecursionlimit)."
    )


def bad_option(name: str, expected: str, found: object) -> TypeError:
    return TypeError(f"{name} must be {expected}, not {reprlib.repr(found)}")


def no_attribute(module: str, name: str) -> AttributeError:
    return AttributeError(f"module {module!r} has no attribute {name!r}", name=name)


# --- hooks -------------------------------------------------------------------------------------------------------------


def cannot_hook(class_name: str) -> TypeError:
    return TypeError(f"{class_name} is a native type, which no hook is asked for: expected a class of another library or of your own")


def empty_hook_name() -> ValueError:
    return ValueError("name must be a str that is not empty: it tells the reader which hook to call")


def hook_name_taken(name: str, class_name: str) -> ValueError:
    return ValueError(f"name={name!r} stands for {class_name} already: expected a name of its own for each class")


# --- packing -----------------------------------------------------------------------------------------------------------


def cannot_pack(path: str | None, type_name: str, reason: object) -> EncodeError:
    """`reason` is a text or the exception that becomes the cause (``raise cannot_pack(...) from reason``)."""
    return EncodeError(f"cannot pack the {type_name} at {shorten(path or 'an unknown path')}: {_reason(reason)}")


def cannot_pickle(path: str | None, obj: object, reason: Exception) -> EncodeError:
    instead = "leave it out in __getstate__"
    if hasattr(type(obj), "__arrow_c_stream__") or hasattr(type(obj), "__arrow_c_array__"):
        instead = "pack what fastser.ArrowData.from_producer reads of it"
    remedy = f"{instead}, or register a hook for its class (fastser.register)"
    return cannot_pack(path, type_name(obj), f"{_reason(reason)}; {remedy}")


def one_shot() -> EncodeError:
    return EncodeError(
        "its data may be there only once, so packing does not read it: pack what fastser.ArrowData.from_producer reads of it, or a table made of it"
    )


def not_found_by_name(obj: object, name: str | None) -> pickle.PicklingError:
    name = name or getattr(obj, "__qualname__", None) or getattr(obj, "__name__", "")
    return pickle.PicklingError(f"it is not the object that is found as {getattr(obj, '__module__', None)}.{name}")


def needs_fallback(path: str | None, type_name: str) -> EncodeError:
    return cannot_pack(path, type_name, "it would need pickle, and fallback is None; pass fallback='pickle' or 'cloudpickle'")


def cannot_be_loaded(path: str, type_name: str, reason: object) -> EncodeError:
    return EncodeError(f"the {type_name} at {shorten(path)} was packed, but cannot be loaded again: {_reason(reason)}")


def changed_while_packing(path: str | None, type_name: str) -> EncodeError:
    return cannot_pack(path, type_name, "it changed size while it was being packed; pack a copy, or hold a lock")


def too_large(what: str, limit: int, found: int) -> EncodeError:
    return EncodeError(f"{what} is too large for a frame: expected at most {limit}, found {found}")


def not_writable(found: object) -> TypeError:
    return TypeError(f"expected a writable, contiguous buffer, found {type_name(found)}")


def too_small(needed: int, got: int) -> ValueError:
    return ValueError(f"the buffer is too small for the frame: expected at least {needed} bytes, found {got}")


def in_object(error: FastserError, index: int) -> FastserError:
    """The same error, with the index of the object among those of pack_many."""
    return _prefixed(error, f"object {index}")


def rows_read_before() -> ValueError:
    return ValueError("these rows were read before, and pack_many was given an iterator, which can be read once: give it a list")


# --- reading -----------------------------------------------------------------------------------------------------------


def not_a_frame(expected: bytes, found: bytes, offset: int = 0) -> DecodeError:
    return DecodeError(f"not a fastser frame: expected {bytes(expected)!r} at offset {offset}, found {bytes(found)!r}")


def wrong_version(found: int, supported: int) -> DecodeError:
    return DecodeError(
        f"this frame has format version {found}, at offset 4; this reader knows the versions 1 to {supported}: upgrade fastser to read it"
    )


def truncated(needed: int, got: int) -> DecodeError:
    return DecodeError(f"truncated frame: expected {needed} bytes, found {got}")


def bad_frame(expected: str, found: object, offset: int | str) -> DecodeError:
    """`offset` is the byte offset within the frame, or a text such as ``column i64, position 3``."""
    return DecodeError(f"malformed frame {_place(offset)}: expected {expected}, found {found}")


def bad_row(expected: str, found: object, place: str) -> DecodeError:
    """`place` is a column of an Arrow row, such as ``column text``."""
    return DecodeError(f"malformed Arrow row at {place}: expected {expected}, found {found}")


def no_row_columns(found: "list[str]", objects: "list[str]") -> DecodeError:
    expected = "the 12 columns of packed objects (version, flags, buffers, ... tags), by these names or with no others"
    return bad_row(expected, f"{len(found)} columns: {shorten(', '.join(found))}{_choose(objects)}", "its start")


def no_row_column(name: str, found: "list[str]", objects: "list[str]") -> DecodeError:
    """`objects`: the columns that look as those of packed objects do."""
    return bad_row(f"one column {name!r}", f"{found.count(name)} among the columns {shorten(', '.join(found))}{_choose(objects)}", "its start")


def _choose(objects: "list[str]") -> str:
    return f": give {' or '.join(f'column={name!r}' for name in objects)}" if objects else ""


def not_one_row(found: str) -> DecodeError:
    return DecodeError(f"expected one Arrow row, found {found}: fastser.loads_many reads the objects of any number of rows")


def in_row(error: FastserError, row: int) -> FastserError:
    """The same error, with the number of the row, counted over all batches."""
    return _prefixed(error, f"row {row}")


def not_rows(found: object) -> TypeError:
    remedy = ""
    if isinstance(found, dict):
        remedy = ": make a table of it first (pyarrow.table, polars.DataFrame)"
    elif isinstance(found, (bytes, bytearray, memoryview)):
        remedy = ": fastser.loads reads a frame; many of them are read as a binary column of a table"
    elif hasattr(type(found), "collect"):
        remedy = ": collect it first"
    return TypeError(
        "expected Arrow data with a row for each object (a table, a batch, a stream of batches or an iterable of them), "
        f"found {type_name(found)}{remedy}"
    )


def rows_in_use() -> ValueError:
    return ValueError("these rows are being read by another thread, or by what they hold: expected one reader at a time")


def not_a_capsule(name: str, found: object) -> TypeError:
    """`found` is whatever a producer gave instead of a PyCapsule with that name."""
    what = repr(found) if type(found).__name__ == "PyCapsule" else brief(found)
    return TypeError(f"expected a PyCapsule named {name!r} from the producer of Arrow data, found {what}")


def not_capsules(found: object) -> TypeError:
    return TypeError(f"expected two PyCapsules, 'arrow_schema' and 'arrow_array', from __arrow_c_array__, found {tuple_or_type(found)}")


def capsule_consumed(name: str) -> DecodeError:
    return DecodeError(f"expected a PyCapsule {name!r} that was not consumed yet, found one that was released or moved away")


def stream_failed(action: str, code: int, reason: "str | None") -> DecodeError:
    """`reason` is what the producer of the stream says itself."""
    return DecodeError(f"the producer of an Arrow stream failed to give {action}: {reason or os.strerror(code)} (error {code})")


def stream_incomplete(action: str) -> DecodeError:
    return DecodeError(f"expected an Arrow stream that can give {action}, found one without")


def bad_arrow(expected: str, found: object, place: str) -> DecodeError:
    """`place` leads to a part of Arrow data, such as ``chunk 0, column 'a', child 0``."""
    return DecodeError(f"malformed Arrow data at {place}: expected {expected}, found {found}")


def arrow_too_deep(limit: int) -> DepthError:
    return DepthError(f"{_FIRST_SENTENCE} Arrow data may be nested at most {limit} levels deep.")


def not_arrow(found: object, methods: str) -> TypeError:
    return TypeError(f"expected a producer of Arrow data, with {methods}, found {type_name(found)}")


def only_addresses(place: str) -> EncodeError:
    """`place` leads to a part of Arrow data, such as ``column 'a'``."""
    return EncodeError(
        f"what Polars gives of {place} are addresses, since it holds Python objects (pl.Object): expected values; hand them on as a list (to_list)"
    )


def polars_empty_arrays(name: str, dtype: object) -> EncodeError:
    return EncodeError(f"the column {name!r} has arrays of width 0 ({dtype}), which Polars could not read again: cast them to lists")


def not_arrow_data(found: object) -> TypeError:
    return TypeError(f"expected an ArrowData, found {type_name(found)}")


def panicked(package: str, error: BaseException) -> ValueError:
    return ValueError(f"expected data that {package} can read, found what it ends on: {shorten(str(error))}")


def no_constructor(name: str, instead: str) -> TypeError:
    return TypeError(f"{name} objects are made by {instead}")


def unbacked_items(claimed: int, backed: int, offset: int | str) -> DecodeError:
    return DecodeError(f"malformed frame {_place(offset)}: it claims {claimed} items, but its bytes can back only {backed}")


def bad_dtype(expected: str, found: object) -> DecodeError:
    return DecodeError(f"malformed dtype: expected {expected}, found {reprlib.repr(found)}")


def no_character(found: int) -> DecodeError:
    return DecodeError(f"malformed text in an array: expected characters up to U+10FFFF, found {found:#x}")


def dtype_unavailable(what: str) -> DecodeError:
    return DecodeError(f"this platform has no dtype for {what}: the array was written on another one")


def dtype_not_installed(package: str, name: str, reason: object) -> DecodeError:
    return DecodeError(f"cannot import {package}, which has the dtype {shorten(name)}: {_reason(reason)}")


def dtype_unknown(package: str, name: str, version: object) -> DecodeError:
    return DecodeError(f"expected a {package} with the dtype {shorten(name)}, found {package} {version}, which has none")


def cannot_rebuild(what: str, reason: object, offset: int | str) -> DecodeError:
    """The bytes are well-formed, but what they describe could not be made; raised ``from`` the cause."""
    return DecodeError(f"cannot rebuild {what} {_place(offset)}: {_reason(reason)}")


def newer_python(what: str, since: tuple[int, int], offset: int | str) -> DecodeError:
    """The bytes are well-formed, but this Python has no such type."""
    here = ".".join(map(str, sys.version_info[:2]))
    return DecodeError(f"cannot rebuild a {what} {_place(offset)}: expected Python {since[0]}.{since[1]} or newer, found {here}")


def cannot_find(module: str, name: str, reason: object, offset: int | str) -> DecodeError:
    what = shorten(f"{module}.{name}" if name else f"the module {module}")
    return DecodeError(f"cannot find {what}, which is needed {_place(offset)}: {_reason(reason)}")


def lost_field(cls: type, name: str, offset: int | str) -> DecodeError:
    return DecodeError(f"cannot rebuild a {class_name(cls)} {_place(offset)}: expected a class with a field {name!r}, found one without")


def missing_hook(name: str, offset: int | str) -> DecodeError:
    return DecodeError(f"expected a hook registered as {shorten(name)!r}, which is needed {_place(offset)}, found none: register it before loading")


def unsafe(what: str, offset: int | str, remedy: str) -> UnsafeDataError:
    """`remedy`: what its reader or its writer can do, never to trust it."""
    return UnsafeDataError(f"safe=True, but {shorten(what)} {_place(offset)} would be needed to load this frame: {remedy}")


def changed(what: str, offset: int | str) -> UnsafeDataError:
    """Between the look at a frame and its reading."""
    return unsafe(what, offset, "it was not there when the frame was looked at, so the memory of the frame was changed meanwhile")


IS_STANDARD = "it is one of those that allow=fastser.STANDARD lets be made"
NOT_ALLOWED = "if it is a class whose objects a frame may make, put it into allow (fastser.requirements tells all that a frame needs)"
NO_DATA = "no allow lets a frame have it, since it is no class: send what it is made of"
HOOK_OF_USERS = "hooks that are registered may do anything, and are not called: send what it is made of"
BY_VALUE = 'it goes by value, as code: dump it with fallback="pickle", and it goes by its name'
LOCAL_CLASS = "goes by value, as code, since no name leads to it", "define it in a module, and dump its objects there"
NO_CLASS = "is no class", "allow takes classes, and names of fastser.STANDARD"
SEND_PARTS = "send what its objects are made of, and make them from that, or let the class be its fields alone"


def is_called(name: str) -> str:
    """In place of a remedy: a class that may be made in another way than the frame asks for."""
    return f"{name} is in allow, but is made by calling it in this frame, which would run code of its own: {SEND_PARTS}"


def not_fields(name: str) -> str:
    return f"{name} is in allow, but is not made of fields: the frame was made by another definition of it"


def cannot_allow(name: str, reason: str, remedy: str) -> ValueError:
    return ValueError(f"{name} is in allow, but {reason}: {remedy}")


def not_there(name: str, reason: object) -> ValueError:
    return ValueError(f"{name} is in allow, but is not there ({_reason(reason)}): expected the full name of a class")


def allow_without_safe() -> ValueError:
    return ValueError("allow is given, but not safe=True: without it a frame may make anything")


def unfit(expected: str, found: object) -> TypeError:
    """Of what a frame gives to what makes an object; nothing that is found is asked for its repr."""
    what = repr(shorten(found)) if type(found) is str else tuple_or_type(found)
    return TypeError(f"expected {expected}, found {what}")


def too_long(what: str, limit: int, unit: str, found: int) -> ValueError:
    return ValueError(f"expected {what} of at most {limit} {unit}, found {found}")


def no_member(enum: str, value: object) -> ValueError:
    return ValueError(f"{reprlib.repr(value)} is not the value of a member of {enum}")


def not_readable(found: object) -> TypeError:
    return TypeError(f"expected a bytes-like object, a Packed or a producer of one Arrow row, found {type(found).__name__}")


# --- tables ------------------------------------------------------------------------------------------------------------

CONTAINS_ITSELF = "an object that contains itself"
KEYS_NOT_TEXT = "dicts with other keys than str"
NO_COLUMN = "no column: expected a list or an array of one dimension"
NO_ROOT = "no table: expected a list, or a dict of lists or arrays of one length"
TOO_SPREAD = "so much shared or left out that it would take many times the memory of the frame"


OF_MONTHS = "a value is an interval of months, and Python has a type for those of days and less only"
BY_VALUE_OBJECT = "an object whose class goes by value, so that Python code alone can make it: define the class in a module"
TOO_FAR_FOR_NANOSECONDS = "a time that 64 bits of nanoseconds do not hold, beside times with nanoseconds"
TOO_FAR = "a value lies beyond what Python's type for it holds"
TOO_FINE = "a value has nanoseconds, which Python's type for it does not hold: cast the column to microseconds"


def arrow_type(format: str) -> str:
    return f"column of Arrow format {format!r}"


def not_a_column(path: str, reason: object) -> EncodeError:
    return EncodeError(f"Arrow cannot express what lies at {shorten(path)}: it is {reason}")


def mixed_column(names: list[str]) -> str:
    return f"a mixture of {', '.join(names[:-1])} and {names[-1]}: expected values of one type"


def mixed_zones(one: str, other: str) -> str:
    return f"a mixture of datetimes in {one or 'no zone'} and in {other or 'no zone'}: expected one zone"


def mixed_signs(value: int) -> str:
    return f"a mixture of ints beyond 63 bits and {value}: expected none below 0 beside them"


def inexact_double(value: int) -> str:
    return f"a mixture of float and int, of which a double does not hold {value}"


def odd_decimal(text: bytes) -> str:
    return f"the Decimal {text.decode('utf-8', 'replace')}: expected a finite one of at most 38 digits"


def wide_decimal(text: bytes, scale: int) -> str:
    return f"the Decimal {text.decode('utf-8', 'replace')}, which has more than 38 digits when {scale} of them come after the point"


def long_duration(days: int) -> str:
    return f"a timedelta of {days} days: expected at most 64 bits of microseconds"


def too_nested(levels: int) -> str:
    return f"nested in more than {levels} levels, which importers do not take"


def uneven_columns(count: int, other: int) -> str:
    return f"a column of {count} values beside one of {other}"


# --- files -------------------------------------------------------------------------------------------------------------


def end_of_file() -> EOFError:
    return EOFError("expected a frame, found the end of the file")


def not_a_file(method: str, found: object) -> TypeError:
    return TypeError(f"expected a path or a binary file with {method}(), found {type(found).__name__}")


def would_block(action: str) -> BlockingIOError:
    return BlockingIOError(f"the file is in non-blocking mode and would block on {action}: expected a blocking binary file")


def write_stalled(left: int) -> OSError:
    return OSError(f"the file accepted no more bytes: {left} of the buffer being written were left")


def not_a_path(found: object) -> TypeError:
    return TypeError(f"expected a path, since mmap_mode is given, found {type(found).__name__}")


def not_mappable(path: str) -> OSError:
    return OSError(errno.EINVAL, "expected a regular file, since mmap_mode is given", path)


# --- the object store --------------------------------------------------------------------------------------------------


class StoreError(FastserError):
    """Base class of what an object store raises."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """There is no store of this name."""


class StoreExistsError(StoreError, FileExistsError):
    """A store of this name is in use."""


class StorePermissionError(StoreError, PermissionError):
    """The directory of a store is not this user's alone."""


class StoreClosedError(StoreError, ValueError):
    """The store was closed, here or by its owner."""


class StoreFullError(StoreError):
    """There is no room for the object. Nothing was written."""


class StoreTimeoutError(StoreError, TimeoutError):
    """The object was still being put when the time was over."""


class ObjectExistsError(StoreError, FileExistsError):
    """There is an object with this key, or one is being put."""


class ObjectNotFoundError(StoreError, LookupError):
    """The store has no such object: it was deleted, its writer died before it was complete, or there never was one."""


class ForeignRefError(StoreError, ValueError):
    """The reference is to an object in another store."""


def no_store_here() -> ImportError:
    return ImportError("fastser.ObjectStore needs Linux, with shared memory in /dev/shm; the rest of fastser does not")


def bad_store_name(what: str, limit: int, found: object) -> ValueError:
    return ValueError(f"{what} must be 1 to {limit} ASCII letters, digits and any of '_.-' (the first one a letter, a digit or '_'), not {reprlib.repr(found)}")


def bad_reference(expected: str, found: object) -> ValueError:
    return ValueError(f"malformed ObjectRef: expected {expected}, found {reprlib.repr(found)}")


def bad_capacity(found: object) -> ValueError:
    return ValueError(f"capacity must be a number of bytes above 0, or a text such as '4GiB' or '500 MB', not {reprlib.repr(found)}")


def no_spill_directory(path: str) -> NotADirectoryError:
    return NotADirectoryError(f"spill_dir must be an existing directory, and {path!r} is none")


def store_not_found(name: str) -> StoreNotFoundError:
    return StoreNotFoundError(f"there is no object store named {name!r}: expected one made by ObjectStore.create and not closed yet")


def no_store_in(path: str) -> StoreError:
    return StoreError(f"expected {path} to be an object store, found what no store of this version of fastser has in it")


def store_exists(name: str) -> StoreExistsError:
    return StoreExistsError(f"an object store named {name!r} is in use: attach to it, or choose another name")


def store_in_use(name: str, owner_lives: bool) -> StoreExistsError:
    who = "its owner lives" if owner_lives else "its owner is dead, but others are attached to it"
    return StoreExistsError(f"the object store {name!r} is in use: {who}; --force removes it all the same")


def store_not_ours(path: str, found: str) -> StorePermissionError:
    return StorePermissionError(f"expected {path} to be a directory that belongs to this user alone, found {found}: it is not used")


def store_closed(name: str) -> StoreClosedError:
    return StoreClosedError(f"the object store {name!r} is closed")


def store_full(needed: int, used: int, capacity: int, spilling: bool) -> StoreFullError:
    remedy = "nothing that nobody views is left to spill" if spilling else "delete objects, or create the store with spill_dir"
    return StoreFullError(
        f"the store is full: {needed} bytes are needed, and {used} of its {capacity} are used by objects that cannot go: {remedy}"
    )


def through_the_pipe(why: str) -> str:
    """The text of a warning."""
    return f"{why}. The executor sends what does not fit through a pipe, which takes longer"


def forked_with_threads(count: int) -> str:
    """The text of a warning."""
    return (
        f"the workers were forked while {count} other thread{'s' if count > 1 else ''} ran: what these had locked stays locked in the workers, "
        "which may wait for it for ever. Let mp_context be multiprocessing.get_context('forkserver')"
    )


def memory_full(path: str, needed: int) -> StoreFullError:
    return StoreFullError(f"{path} is full: {needed} bytes are needed (ulimit -f is a limit too)")


def put_timed_out(ref: object, timeout: float | None) -> StoreTimeoutError:
    return StoreTimeoutError(f"{ref} was still being put after {timeout} seconds")


def key_exists(name: str, being_put: bool) -> ObjectExistsError:
    return ObjectExistsError(f"an object named {name!r} {'is being put' if being_put else 'exists'} already: a key is used once")


def object_not_found(ref: object) -> ObjectNotFoundError:
    return ObjectNotFoundError(f"the store has no object {ref}: it was deleted, or its writer died before it was complete, or it never existed")


def foreign_ref(ref: object, name: str) -> ForeignRefError:
    return ForeignRefError(f"{ref} is a reference to another store than {name!r}")


def object_being_put(ref: object) -> ObjectExistsError:
    return ObjectExistsError(f"{ref} is still being put: it can be deleted once it is complete")


def not_an_array_type(dtype: object) -> TypeError:
    return TypeError(f"an array in a store needs a dtype whose elements are plain bytes, not {dtype}")


# --- the interpreter ---------------------------------------------------------------------------------------------------


def other_definition(name: str, packed: bytes, own: bytes) -> str:
    """The text of a DefinitionWarning."""
    return (
        f"{name} was packed with another definition ({packed.hex()[:12]}) than {name} has here ({own.hex()[:12]}): "
        "what was packed is used, and is not an instance of what is here, nor equal to it"
    )


def definition_not_here(name: str, is_other: bool, reason: str) -> LookupError:
    found = f"{name} is defined differently here" if is_other else f"there is no {name} here"
    return LookupError(f"{found}, and its definition was not carried: {reason}")


def code_of_another_python(version: tuple[int, int]) -> RuntimeError:
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return RuntimeError(
        f"it has code that Python {version[0]}.{version[1]} compiled, which Python {here} cannot run; functions and classes that go by value "
        "are read by the version that wrote them"
    )


def not_in_a_subinterpreter() -> ImportError:
    return ImportError(
        "fastser cannot be imported in a subinterpreter, since neither its core nor NumPy's can be loaded there. Use processes, "
        "fastser.Executor or multiprocessing, instead of concurrent.interpreters and InterpreterPoolExecutor; under mod_wsgi set "
        "WSGIApplicationGroup %{GLOBAL}",
        name="fastser",
    )


# --- the executor ------------------------------------------------------------------------------------------------------


def executor_is_down() -> RuntimeError:
    return RuntimeError("cannot schedule new futures after shutdown")


def bad_count(name: str, found: object) -> ValueError:
    return ValueError(f"{name} must be an int of at least 1, not {reprlib.repr(found)}")


def cannot_send(error: BaseException, reason: Exception) -> EncodeError:
    return EncodeError(f"the task raised {type_name(error)}, which cannot be packed: {_reason(reason)}")


# --- pieces ------------------------------------------------------------------------------------------------------------


def shorten(path: str) -> str:
    """Cut a long path in the middle: both ends say where, what lies between is mostly repetition."""
    if len(path) <= _PATH_LIMIT:
        return path
    half = _PATH_LIMIT // 2
    return f"{path[:half]} … {path[-half:]}"


def type_name(obj: object) -> str:
    """How messages name the type of an object: builtins bare, everything else with its module."""
    return class_name(type(obj))


def tuple_or_type(found: object) -> str:
    return f"a tuple of {len(found)}" if type(found) is tuple else type_name(found)


def brief(found: object) -> str:
    return reprlib.repr(found)


def no_class(found: object, where: tuple[str, str] | None) -> str:
    """`where`: the module and the name that led to it."""
    return f"{shorten('.'.join(filter(None, where)))} of type {type_name(found)}" if where else type_name(found)


def call_of(function: object, arguments: tuple[object, ...]) -> str:
    """How messages name what a function makes."""
    if getattr(function, "__name__", "") == "__newobj_ex__" and arguments:
        function = arguments[0]
    if isinstance(function, type):
        return f"a {class_name(function)}"
    name = getattr(function, "__qualname__", None)
    module = getattr(function, "__module__", None)
    return f"what {f'{module}.{name}' if module and name else name or type_name(function)} returns"


def class_name(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _prefixed(error: FastserError, place: str) -> FastserError:
    # Of a class of ours: one that a user derived may be made otherwise.
    cls = next(cls for cls in type(error).__mro__ if cls.__module__ == __name__)
    prefixed: FastserError = cls(f"{place}: {error}")
    vars(prefixed).update(vars(error))
    return prefixed


def _place(offset: int | str) -> str:
    return f"at offset {offset}" if isinstance(offset, int) else f"at {offset}"


def _reason(reason: object) -> str:
    return f"{type(reason).__name__}: {reason}" if isinstance(reason, BaseException) and type(reason) is not EncodeError else str(reason)

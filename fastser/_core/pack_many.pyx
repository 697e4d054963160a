"""pack_many: many objects as a stream of batches, a row for each."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.errno cimport EINVAL, EIO, ENOMEM
from libc.string cimport memset

from fastser import errors
from fastser._core.arrow.abi cimport ArrowArray, ArrowArrayStream, ArrowSchema
from fastser._core.arrow.capsules cimport new_schema_capsule, new_stream_capsule
from fastser._core.arrow.lend cimport fastser_finalizing, fastser_release_owner
from fastser._core.c.capi cimport PY_SSIZE_T_MAX
from fastser._core.dumps cimport encode_columns, give_encoder
from fastser._core.encode.state cimport Encoder
from fastser._core.frame.block cimport Block, new_block
from fastser._core.frame.frames cimport export_frame_schema, new_frame_block
from fastser._core.frame.rows_out cimport schema_export

cdef enum:
    # Where a batch ends: few enough rows for a reader to hold, and enough of them to make what a batch costs small.
    BATCH_ROWS = 1 << 16
    BATCH_BYTES = 1 << 25

cdef extern from "Python.h":
    int PyGILState_Check() nogil


@cython.final
@cython.auto_pickle(False)
cdef class PackedRows:
    """Objects that are packed when they are asked for, a row of Arrow columns for each: made by `fastser.pack_many`.

    Whatever reads streams of Arrow data reads it: ``pyarrow.table(rows)``, ``polars.DataFrame(rows)``, a query of DuckDB. Each time
    it is read, the objects are packed anew; those of an iterator can be read once.

    Examples
    --------
    >>> import fastser
    >>> rows = fastser.pack_many(["text", [1, 2]])
    >>> len(rows)
    2
    >>> list(fastser.loads_many(rows))
    ['text', [1, 2]]
    """

    cdef object objects
    cdef bint large
    cdef bint copy
    cdef bint frames
    cdef bint track_refs
    cdef Py_ssize_t max_depth
    cdef object fallback
    cdef object hooks
    cdef bint once               # the objects are an iterator's
    cdef bint begun

    def __init__(self):
        raise TypeError("PackedRows are made by fastser.pack_many")

    def __len__(self):
        return len(self.objects)

    def __repr__(self):
        return f"<fastser.PackedRows of {errors.type_name(self.objects)}>"

    def __arrow_c_schema__(self):
        """The schema of all batches, as a capsule of the Arrow C data interface."""
        cdef ArrowSchema* schema = NULL
        capsule = new_schema_capsule(&schema)
        if self.frames:
            export_frame_schema(self.large, schema)
        elif schema_export(self.large, self.copy, schema) < 0:
            raise MemoryError()
        return capsule

    def __arrow_c_stream__(self, requested_schema=None):
        """The rows, as a capsule of the Arrow C stream interface.

        Parameters
        ----------
        requested_schema : object, optional
            Ignored, as the interface allows: there is just one schema.

        Returns
        -------
        PyCapsule

        Raises
        ------
        ValueError
            The objects are an iterator's, and were read before.
        """
        cdef ArrowArrayStream* stream = NULL
        cdef RowStream private = RowStream.__new__(RowStream)
        capsule = new_stream_capsule(&stream)
        if self.once and self.begun:
            raise errors.rows_read_before()
        private.rows = self
        private.objects = iter(self.objects)
        private.block = empty_block(self)
        self.begun = True
        Py_INCREF(private)
        stream.private_data = <void*> private
        stream.get_schema = _get_schema
        stream.get_next = _get_next
        stream.get_last_error = _get_last_error
        stream.release = _release
        return capsule


cdef Block empty_block(PackedRows rows):
    return new_frame_block(rows.large) if rows.frames else new_block(rows.large, rows.copy)


# --- the stream -----------------------------------------------------------------------------------------------------------


@cython.final
@cython.auto_pickle(False)
cdef class RowStream:
    """One reading of the objects."""

    cdef PackedRows rows
    cdef object objects          # an iterator; None at its end
    cdef Block block          # the rows of the next batch
    cdef Py_ssize_t index        # of the next object
    cdef bint running
    cdef bytes failure

    cdef int next_batch(self, ArrowArray* out) except -1:
        """Leaves ``out`` released at the end."""
        cdef Block full = None
        while full is None and self.objects is not None and self.block.rows < BATCH_ROWS and self.block.nbytes < BATCH_BYTES:
            try:
                obj = next(self.objects)
            except StopIteration:
                self.objects = None
                break
            try:
                full = self.pack(obj)
            except errors.FastserError as error:
                raise errors.in_object(error, self.index) from error.__cause__
            self.index += 1
        if full is None:
            full = self.block
            self.block = empty_block(self.rows)
        if full.rows:
            full.export(out)
        return 0

    cdef Block pack(self, object obj):
        """New reference: the block that is full, as this object did not fit into it; None if it did."""
        cdef PackedRows rows = self.rows
        cdef Block full = None
        cdef Encoder* e = encode_columns(obj, rows.track_refs, rows.max_depth, rows.fallback, rows.hooks)
        try:
            if not self.block.append(&e.columns, e.flags):
                full = self.block
                self.block = empty_block(rows)
                if not self.block.append(&e.columns, e.flags):
                    raise errors.too_large(f"{'a frame' if rows.frames else 'a column'} of a row with 32-bit offsets (large=False)", 0x7fffffff, "more items")
        finally:
            give_encoder(e, PY_SSIZE_T_MAX // 8)
        return full if full is not None and full.rows else None

    cdef int next_or_code(self, ArrowArray* out) noexcept:
        """0, or an errno and what failed() tells."""
        cdef int code = EINVAL
        try:
            if self.running:
                raise errors.rows_in_use()
            self.running = True
            try:
                memset(out, 0, sizeof(ArrowArray))
                self.next_batch(out)
            except:
                self.objects = None   # part of a row may be in the block
                self.block = empty_block(self.rows)
                raise
            finally:
                self.running = False
            return 0
        except errors.FastserError as error:
            text = str(error)
        except BaseException as error:
            code = ENOMEM if isinstance(error, MemoryError) else EINVAL
            text = f"{type(error).__name__}: {error}"
        try:
            self.failure = text.encode("utf-8", "backslashreplace")
        except BaseException:
            self.failure = None
        return code

    cdef int schema_or_code(self, ArrowSchema* out) noexcept:
        memset(out, 0, sizeof(ArrowSchema))
        if self.rows.frames:
            try:
                export_frame_schema(self.rows.large, out)
            except BaseException:
                return ENOMEM
            return 0
        return 0 if schema_export(self.rows.large, self.rows.copy, out) == 0 else ENOMEM

    cdef const char* failed(self) noexcept:
        """What the last error was, in text that is valid until the next one."""
        return NULL if self.failure is None else PyBytes_AS_STRING(self.failure)


cdef bint _too_late() noexcept nogil:
    """A thread that asks for the GIL while the interpreter ends never comes back."""
    return fastser_finalizing() and not PyGILState_Check()


cdef int _get_schema(ArrowArrayStream* stream, ArrowSchema* out) noexcept nogil:
    if _too_late():
        return EIO
    with gil:
        return (<RowStream> stream.private_data).schema_or_code(out)


cdef int _get_next(ArrowArrayStream* stream, ArrowArray* out) noexcept nogil:
    if _too_late():
        return EIO
    with gil:
        return (<RowStream> stream.private_data).next_or_code(out)


cdef const char* _get_last_error(ArrowArrayStream* stream) noexcept nogil:
    if _too_late():
        return NULL
    with gil:
        return (<RowStream> stream.private_data).failed()


cdef void _release(ArrowArrayStream* stream) noexcept nogil:
    stream.release = NULL
    fastser_release_owner(<PyObject*> stream.private_data)


def pack_many(
    objects, *, layout="columns", bint copy=False, bint large=False, bint track_refs=True, Py_ssize_t max_depth=1000,
    fallback="cloudpickle", hooks=None,
):
    """Pack objects as a table with a row for each: of Arrow columns, whose large buffers are not copied, or a frame.

    Parameters
    ----------
    objects : iterable
        Packed one by one, when the table is read. An iterator can be read once, everything else any number of times.
    layout : {"columns", "frames"}
        Twelve columns (see "Frames as Arrow rows" in the documentation), or one binary column, ``frame``, of whole frames as `dumps`
        makes them: for engines and formats that do not take lists, views or integers without a sign. Frames are copied into
        the table.
    copy : bool
        Of the columns: copy large buffers into the table, as ``large_binary``, instead of referring to them as ``binary_view``: for programs that
        do not handle views, such as pyarrow's own ``filter``, ``take`` and ``sort_by``.
    large : bool
        Whether offsets have 64 bits: for objects of which a single one has more than 2 GiB of short texts or bytes, or
        2**31 numbers, or is a frame of that size. One schema holds for all rows, and is told before the first one is packed.
    track_refs, max_depth, fallback
        As for `dumps`. Identity is kept within an object, not from row to row.
    hooks : Hooks, optional
        Those of a Serializer. By default, those of the process.

    Returns
    -------
    PackedRows
        Something to read with ``__arrow_c_stream__``. It comes in batches of up to 65,536 objects or about 32 MiB, which refer to
        the memory of arrays, long texts and long bytes: changing an array before its batch is written changes the row.

    Raises
    ------
    EncodeError, DepthError
        While it is read, as the error of whoever reads: the message names the index of the object.

    Examples
    --------
    >>> import fastser
    >>> rows = fastser.pack_many({"id": i} for i in range(3))
    >>> sum(obj["id"] for obj in fastser.loads_many(rows))
    3
    >>> frames = fastser.pack_many(["text", [1, 2]], layout="frames")
    >>> list(fastser.loads_many(frames))
    ['text', [1, 2]]
    """
    cdef PackedRows self = PackedRows.__new__(PackedRows)
    if layout != "columns" and layout != "frames":
        raise errors.bad_option("layout", "'columns' or 'frames'", layout)
    give_encoder(encode_columns(None, track_refs, max_depth, fallback, hooks), 0)   # a wrong option is refused here
    self.objects = objects
    self.once = iter(objects) is objects
    self.copy = copy
    self.frames = layout == "frames"
    self.large = large
    self.track_refs = track_refs
    self.max_depth = max_depth
    self.fallback = fallback
    self.hooks = hooks
    return self

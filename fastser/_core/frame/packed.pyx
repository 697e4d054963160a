"""Packed memory: made from columns, written as a frame, handed out by buffer and by Arrow row."""

cimport cython
cimport numpy as cnp
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from fastser import errors
from fastser._core.arrow.abi cimport ArrowArray, ArrowSchema
from fastser._core.arrow.capsules cimport new_array_capsule, new_schema_capsule
from fastser._core.c.buffer cimport Buffer
from fastser._core.c.capi cimport fastser_decref
from fastser._core.c.copy cimport fastser_copy_stream
from fastser._core.c.pages cimport HUGE_MIN, fastser_advise_huge
from fastser._core.format.columns cimport Body, Columns, columns_bodies, columns_body_count, Lent, lent_truncate, View
from fastser._core.format.tags cimport *
from fastser._core.frame.layout cimport (
    align_up, FASTSER_MAGIC, frame_check_start, FRAME_COLUMNS, FRAME_FLAGS, frame_layout, FRAME_MAGIC, FRAME_MEMORY,
    FRAME_OK, frame_parse_head, FRAME_SHORT, FRAME_TRUNCATED, FRAME_VERSION, frame_write_head, frame_write_own,
    HEADER_SIZE, Layout, view_release,
)
from fastser._core.frame.rows_out cimport array_export, schema_export
from fastser._core.values.text cimport lent_size, write_with_lent

from pickle import PickleBuffer

cnp.import_array()


cdef extern from *:
    """
    #define fastser_memory_buffer(view) PyMemoryView_GET_BUFFER(view)
    """
    Py_buffer* fastser_memory_buffer(object view)


cdef extern from *:
    """
    static inline PyObject *fastser_array_over(PyArrayObject *like, void *data) {
        PyArray_Descr *descr = PyArray_DESCR(like);
        PyObject *array;
        Py_INCREF(descr);
        array = PyArray_NewFromDescr(&PyArray_Type, descr, PyArray_NDIM(like), PyArray_DIMS(like), NULL, data,
                                     NPY_ARRAY_CARRAY, NULL);
        if (array != NULL)
            PyArray_UpdateFlags((PyArrayObject *) array, NPY_ARRAY_ALIGNED);
        return array;
    }
    """
    # An array of the same dtype and shape over other memory.
    cnp.ndarray fastser_array_over(cnp.ndarray like, void* data)


cdef extern from "Python.h":
    object PyMemoryView_GetContiguous(object source, int access, char order)
    object PyTuple_New(Py_ssize_t size)
    void PyTuple_SET_ITEM(object items, Py_ssize_t position, PyObject* item)
    PyObject* PyTuple_GET_ITEM(object items, Py_ssize_t position)
    int PyBUF_READ


cdef enum:
    NOGIL_MIN = 256 << 10      # below, giving up the GIL and taking it again costs more than the copy
    STREAM_MIN = 32 << 20      # above, no cache holds what is written until somebody reads it
    BLOCK = 1 << 20            # pieces() copies so much at a time
    MERGE_BELOW = 4096         # buffers() copies smaller bodies together with the padding around them

# The first bytes of a frame.  HEADER_SIZE of them tell how long it is: see frame_length.
MAGIC = FASTSER_MAGIC[:4]
globals()["HEADER_SIZE"] = HEADER_SIZE


# --- writing ---------------------------------------------------------------------------------------------------------


cdef int _gather(const Body* body, char* out) except -1:
    """Copy the elements of an ndarray that is not contiguous, in the wanted order, to ``out``."""
    cdef cnp.ndarray source = <cnp.ndarray> body.owner
    cdef uint64_t expected = body.size
    # The array can have been given another state in place since it was met.
    if <uint64_t> cnp.PyArray_NBYTES(source) != expected:
        raise errors.changed_while_packing(None, "ndarray")
    if cnp.PyArray_HASFIELDS(source):
        memset(out, 0, expected)   # the holes between fields are not copied
    cnp.PyArray_CopyInto(fastser_array_over(source, out), source)
    return 0


cdef bytes gathered(const Body* body):
    cdef bytes block = PyBytes_FromStringAndSize(NULL, <Py_ssize_t> body.size)
    _gather(body, PyBytes_AS_STRING(block))   # may let other threads run
    return block


cdef void _copy(const Body* bodies, Py_ssize_t count, char* out, bint stream=False) noexcept nogil:
    cdef Py_ssize_t i, size, padded
    for i in range(count):
        size = <Py_ssize_t> bodies[i].size
        padded = align_up(size, BODY_ALIGNMENT)
        if size and stream:
            fastser_copy_stream(out, bodies[i].data, size)
        elif size:
            memcpy(out, bodies[i].data, size)
        memset(out + size, 0, padded - size)
        out += padded


cdef int _write_bodies(const Body* bodies, Py_ssize_t count, char* out) except -1:
    """Write bodies and the padding after each.  ``out`` is a multiple of 64 from the start of the frame."""
    cdef Py_ssize_t i = 0, end, size, padded
    while i < count:
        # Looked at anew after each step: other threads that run meanwhile may have gathered a body of a Packed.
        if bodies[i].gather:
            size = <Py_ssize_t> bodies[i].size
            padded = align_up(size, BODY_ALIGNMENT)
            _gather(&bodies[i], out)
            memset(out + size, 0, padded - size)
            i += 1
        else:
            end = i
            padded = 0
            while end < count and not bodies[end].gather:
                padded += align_up(<Py_ssize_t> bodies[end].size, BODY_ALIGNMENT)
                end += 1
            if padded >= NOGIL_MIN:
                with nogil:
                    _copy(bodies + i, end - i, out, padded >= STREAM_MIN)
            else:
                _copy(bodies + i, end - i, out)
            i = end
        out += padded
    return 0


cdef int _layout(Columns* columns, int flags, Layout* layout) except -1:
    cdef uint64_t left = <uint64_t> 1 << 62
    cdef Py_ssize_t i
    # Broadcast arrays can be of any size, and a few of them overflow a sum.
    for i in range(columns_body_count(columns)):
        if columns_bodies(columns)[i].size >= left:
            raise errors.too_large("the sum of all buffers", 1 << 62, columns_bodies(columns)[i].size + (1 << 62) - left)
        left -= columns_bodies(columns)[i].size
    frame_layout(columns, flags, layout)
    return 0


cdef object frame_to_bytes(Columns* columns, int flags):
    cdef Layout layout
    cdef bytes frame
    cdef char* out
    cdef Py_ssize_t count = columns_body_count(columns)
    if count:
        _layout(columns, flags, &layout)
    else:
        frame_layout(columns, flags, &layout)
    frame = PyBytes_FromStringAndSize(NULL, layout.total)
    out = PyBytes_AS_STRING(frame)
    if layout.total >= HUGE_MIN:
        fastser_advise_huge(out, layout.total)
    frame_write_head(columns, &layout, out)
    if count:
        memset(out + layout.head_size, 0, layout.bodies_start - layout.head_size)
        _write_bodies(columns_bodies(columns), count, out + layout.bodies_start)
    return frame


# --- statuses of frame/layout.pxd in words ----------------------------------------------------------------------------------


cdef object frame_error(int status, const char* data, Py_ssize_t size):
    cdef uint64_t total = 0
    if status == FRAME_MEMORY:
        return MemoryError()
    if status == FRAME_SHORT:
        return errors.truncated(HEADER_SIZE, size)
    if status == FRAME_MAGIC:
        return errors.not_a_frame(MAGIC, data[:min(size, 4)])
    if status == FRAME_VERSION:
        return errors.wrong_version((<const uint8_t*> data)[4], FORMAT_VERSION)
    if status == FRAME_FLAGS:
        return errors.bad_frame(f"no flags but {FLAGS_KNOWN:#x}", hex((<const uint8_t*> data)[5]), 5)
    memcpy(&total, data + 8, 8)
    if status == FRAME_TRUNCATED:
        return errors.truncated(total, size)
    return errors.bad_frame(f"columns and buffers of {total} bytes in all, as the header says", "others", HEADER_SIZE)


def frame_length(start):
    """The length in bytes of the frame that begins with ``start``: how much there is to read.

    It is what the header says, which may be anything up to 2**63 - 1: look at it before you set aside that much.

    Parameters
    ----------
    start : bytes-like
        The first 16 bytes of a frame, or more.

    Returns
    -------
    int

    Raises
    ------
    DecodeError
        ``start`` is shorter, or no frame of a known version begins like that.

    Examples
    --------
    >>> import fastser
    >>> frame = fastser.dumps([1, 2, 3])
    >>> fastser.frame_length(frame[:16]) == len(frame)
    True
    """
    cdef uint64_t total = 0
    cdef object view = PyMemoryView_GetContiguous(start, PyBUF_READ, b"C")
    cdef Py_buffer* buffer = fastser_memory_buffer(view)
    cdef int status = frame_check_start(<const char*> buffer.buf, buffer.len, &total)
    if status != FRAME_OK:
        raise frame_error(status, <const char*> buffer.buf, buffer.len)
    if total < HEADER_SIZE or total >> 63:
        raise errors.bad_frame(f"a length of at least {HEADER_SIZE}", total, 8)
    return total


# --- the packed object -----------------------------------------------------------------------------------------------


@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class _Part:
    """Lends one body of a Packed to memoryviews."""

    cdef Packed packed
    cdef Py_ssize_t index

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        cdef Body* body = &self.packed.bodies[self.index]
        if flags & PyBUF_WRITABLE:
            raise BufferError("the bodies of a Packed are read-only")
        buffer.obj = self
        buffer.buf = <void*> body.data
        buffer.len = <Py_ssize_t> body.size
        buffer.itemsize = 1
        buffer.readonly = 1
        buffer.ndim = 1
        buffer.format = NULL
        if flags & PyBUF_FORMAT:
            buffer.format = b"B"
        buffer.shape = &buffer.len if flags & PyBUF_ND else NULL
        buffer.strides = &buffer.itemsize if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
        buffer.suboffsets = NULL
        buffer.internal = NULL


cdef object _lend(Packed packed, Py_ssize_t index):
    cdef _Part part = _Part.__new__(_Part)
    part.packed = packed
    part.index = index
    return memoryview(part)


@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class Packed:
    """An object packed by `fastser.pack`: columns, and references to large buffers that were not copied.

    The buffers still belong to the arrays and bytes that were packed: what is changed there before
    the frame is written is changed in the frame too.

    Attributes
    ----------
    nbytes : int
        The size of the frame: of `to_bytes`, and of what `write_into` needs.

    Examples
    --------
    >>> import numpy, fastser
    >>> packed = fastser.pack({"weights": numpy.zeros(1000)})
    >>> shared = bytearray(packed.nbytes)
    >>> packed.write_into(shared) == packed.nbytes
    True
    >>> fastser.loads(shared)["weights"].shape
    (1000,)
    """

    def __cinit__(self):
        self.head = b""
        self.owners = ()

    def __init__(self):
        raise TypeError("Packed objects are made by fastser.pack")

    def __dealloc__(self):
        cdef Py_ssize_t i
        free(self.bodies)
        for i in range(self.lent_count):
            fastser_decref(self.lent[i].owner)
        free(self.lent)

    @property
    def nbytes(self):
        return self.total

    def __repr__(self):
        return f"<fastser.Packed: {self.total} bytes, buffers by reference: {self.body_count}>"

    def to_bytes(self):
        """The frame, as `fastser.dumps` returns it.

        Returns
        -------
        bytes

        Examples
        --------
        >>> import fastser
        >>> fastser.pack([1, 2]).to_bytes() == fastser.dumps([1, 2])
        True
        """
        cdef bytes frame = PyBytes_FromStringAndSize(NULL, self.total)
        if self.total >= HUGE_MIN:
            fastser_advise_huge(PyBytes_AS_STRING(frame), self.total)
        _write_frame(self, PyBytes_AS_STRING(frame))
        return frame

    def __bytes__(self):
        return self.to_bytes()

    def write_into(self, buffer):
        """Write the frame to the start of ``buffer``; the buffer's other bytes stay as they are.

        Parameters
        ----------
        buffer : writable bytes-like
            Contiguous, of at least ``nbytes`` bytes: a bytearray, an mmap, a slice of a memoryview, ...

        Returns
        -------
        int
            The number of bytes written, which is ``nbytes``.

        Raises
        ------
        TypeError
            ``buffer`` is no writable contiguous buffer.
        ValueError
            It is too small.

        Examples
        --------
        >>> import fastser
        >>> packed = fastser.pack("text")
        >>> target = bytearray(packed.nbytes)
        >>> fastser.loads(target[:packed.write_into(target)])
        'text'
        """
        cdef Py_buffer target
        try:
            PyObject_GetBuffer(buffer, &target, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS)
        except (BufferError, TypeError, ValueError) as error:
            raise errors.not_writable(buffer) from error
        try:
            if target.len < self.total:
                raise errors.too_small(self.total, target.len)
            _write_frame(self, <char*> target.buf)
        finally:
            PyBuffer_Release(&target)
        return self.total

    def buffers(self):
        """The frame in pieces, for a gathering write (``os.writev``, ``socket.sendmsg``): large buffers are not copied.

        Returns
        -------
        list of memoryview
            Read-only; one after the other they are exactly the frame.

        Notes
        -----
        Texts and bytes below 4 KiB are copied into the first one.

        Examples
        --------
        >>> import fastser
        >>> packed = fastser.pack(bytes(10_000))
        >>> b"".join(packed.buffers()) == packed.to_bytes()
        True
        """
        _materialise(self)
        return [memoryview(_head(self)), *_after_head(self)] if self.head_size else []

    def pieces(self):
        """As `buffers`, but one piece after the other is made, so that the memory for what is copied is that of one piece.

        Returns
        -------
        iterator of memoryview

        Examples
        --------
        >>> import fastser
        >>> packed = fastser.pack(["text" * 100] * 10)
        >>> b"".join(packed.pieces()) == packed.to_bytes()
        True
        """
        cdef Py_ssize_t i = 0, end, at = 0, stop, size
        cdef bytes block
        if self.lent_count == 0:
            yield from self.buffers()
            return
        while i < self.lent_count:
            size = 0
            end = i
            while end < self.lent_count and size < BLOCK:
                size += lent_size(self.lent[end].owner)
                end += 1
            stop = <Py_ssize_t> self.lent[end - 1].at
            block = PyBytes_FromStringAndSize(NULL, stop - at + size)
            write_with_lent(PyBytes_AS_STRING(block), PyBytes_AS_STRING(self.head), at, stop, self.lent + i, end - i)
            yield memoryview(block)
            at = stop
            i = end
        if at < PyBytes_GET_SIZE(self.head):
            yield memoryview(self.head)[at:]
        _materialise(self)
        yield from _after_head(self)

    def __reduce_ex__(self, protocol):
        cdef Py_ssize_t i
        _materialise(self)
        bodies = [_lend(self, i) for i in range(self.body_count)]
        if protocol >= 5:
            return rebuild, (_head(self), [PickleBuffer(body) for body in bodies])
        return rebuild, (_head(self), [bytes(body) for body in bodies])

    def __arrow_c_schema__(self):
        """The schema of the row of `__arrow_c_array__`, as a capsule of the Arrow C data interface."""
        return _schema_capsule(PyBytes_GET_SIZE(self.head) and PyBytes_AS_STRING(self.head)[5] & FLAG_LARGE)

    def __arrow_c_array__(self, requested_schema=None):
        """One struct of list columns, as capsules of the Arrow C data interface: nothing is copied.

        Parameters
        ----------
        requested_schema : object, optional
            Ignored, as the interface allows: the row has just one schema.

        Returns
        -------
        tuple of PyCapsule
            The schema and the array.

        Examples
        --------
        >>> import fastser
        >>> schema, array = fastser.pack([1, 2, 3]).__arrow_c_array__()
        >>> "arrow_array" in repr(array)   # what pyarrow.array(packed) and polars.Series(packed) ask for
        True
        """
        cdef View view
        cdef ArrowArray* array = NULL
        cdef int status
        memset(&view, 0, sizeof(View))
        schema = self.__arrow_c_schema__()
        capsule = new_array_capsule(&array)
        try:
            packed_view(self, &view)
            status = array_export(&view, <const uint8_t*> PyBytes_AS_STRING(_head(self)) + 4, <PyObject*> self, array)
        finally:
            view_release(&view, NULL)
        if status == -2:
            raise errors.too_large("a column of an Arrow row with 32-bit offsets", 0x7fffffff, "more items")
        if status < 0:
            raise MemoryError()
        Py_INCREF(self)
        return schema, capsule


cdef list _after_head(Packed self):
    """The bodies, and what lies between and before them, in pieces."""
    cdef list pieces = []
    cdef Py_ssize_t first = 0, end, small, padding, position = self.head_size
    cdef bytes piece
    while self.body_count:
        # The padding after what came last, and the small bodies that follow, are one piece.
        padding = align_up(position, BODY_ALIGNMENT) - position
        small = 0
        end = first
        while end < self.body_count and self.bodies[end].size < MERGE_BELOW:
            small += align_up(<Py_ssize_t> self.bodies[end].size, BODY_ALIGNMENT)
            end += 1
        if padding + small:
            piece = PyBytes_FromStringAndSize(NULL, padding + small)
            memset(PyBytes_AS_STRING(piece), 0, padding)
            _copy(self.bodies + first, end - first, PyBytes_AS_STRING(piece) + padding)
            pieces.append(memoryview(piece))
        if end == self.body_count:
            break
        pieces.append(_lend(self, end))
        position = <Py_ssize_t> self.bodies[end].size
        first = end + 1
    return pieces


cdef int _write_head(Packed self, char* out) except -1:
    cdef const char* own = PyBytes_AS_STRING(self.head)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(self.head)
    if self.lent_count == 0:
        memcpy(out, own, size)
    elif self.head_size >= NOGIL_MIN:
        with nogil:
            write_with_lent(out, own, 0, size, self.lent, self.lent_count)
    else:
        write_with_lent(out, own, 0, size, self.lent, self.lent_count)
    return 0


cdef bytes _head(Packed self):
    """Header and columns in one piece."""
    cdef bytes whole
    if self.lent_count == 0:
        return self.head
    if self.whole is None:
        whole = PyBytes_FromStringAndSize(NULL, self.head_size)
        _write_head(self, PyBytes_AS_STRING(whole))
        self.whole = whole
    return self.whole


cdef object _schema_capsule(bint large):
    cdef ArrowSchema* schema = NULL
    capsule = new_schema_capsule(&schema)
    if schema_export(large, False, schema) < 0:
        raise MemoryError()
    return capsule


cdef int _write_frame(Packed self, char* out) except -1:
    """Write self.total bytes."""
    cdef Py_ssize_t size = self.head_size
    cdef Py_ssize_t start = align_up(size, BODY_ALIGNMENT) if self.body_count else size
    cdef tuple owners = self.owners  # no-cython-lint: kept, since another thread may put others into their place meanwhile
    _write_head(self, out)
    memset(out + size, 0, start - size)
    _write_bodies(self.bodies, self.body_count, out + start)
    return 0


cdef int _materialise(Packed self) except -1:
    """Give every body an address: gather, once, those that were to be gathered where the frame is written."""
    cdef tuple held = self.owners
    cdef list owners = None
    cdef Py_ssize_t i
    cdef bytes block
    for i in range(self.body_count):
        if self.bodies[i].gather:
            if owners is None:
                owners = list(held)
            owners[i] = gathered(&self.bodies[i])
    if owners is None:
        return 0
    fresh = tuple(owners)
    if self.owners is held:   # no other thread came first
        self.owners = fresh
        for i in range(self.body_count):
            if self.bodies[i].gather:
                block = owners[i]
                self.bodies[i].data = PyBytes_AS_STRING(block)
                self.bodies[i].owner = <PyObject*> block
                self.bodies[i].gather = 0
    return 0


cdef object packed_new(Columns* columns, int flags):
    cdef Packed self = None
    cdef Layout layout
    cdef Body* bodies = columns_bodies(columns)
    cdef Py_ssize_t i, own, before, count = columns_body_count(columns)
    cdef tuple owners
    columns.bodies.size = 0
    try:
        owners = PyTuple_New(count)
    except:
        for i in range(count):
            Py_DECREF(<object> bodies[i].owner)
        lent_truncate(&columns.text_lent, 0)
        lent_truncate(&columns.data_lent, 0)
        raise
    for i in range(count):
        PyTuple_SET_ITEM(owners, i, bodies[i].owner)   # steals
    columns.bodies.size = count * sizeof(Body)
    try:
        _layout(columns, flags, &layout)
        self = Packed.__new__(Packed)
        own = layout.head_size - <Py_ssize_t> (columns.text_lent_size + columns.data_lent_size)
        self.head = PyBytes_FromStringAndSize(NULL, own)
        before = frame_write_own(columns, &layout, PyBytes_AS_STRING(self.head))
        if own < layout.head_size:
            _take_lent(self, columns, before, own - <Py_ssize_t> columns.data.size)
    finally:
        columns.bodies.size = 0
        lent_truncate(&columns.text_lent, 0)
        lent_truncate(&columns.data_lent, 0)
    self.head_size = layout.head_size
    self.total = layout.total
    if count:
        self.bodies = <Body*> malloc(count * sizeof(Body))
        if self.bodies == NULL:
            raise MemoryError()
        memcpy(self.bodies, bodies, count * sizeof(Body))
        self.body_count = count
        self.owners = owners
    return self


cdef int _take_lent(Packed self, Columns* columns, Py_ssize_t text_at, Py_ssize_t data_at) except -1:
    """Steals what is lent; `text_at` and `data_at` are where the own bytes of these columns begin in `head`."""
    cdef Py_ssize_t i, texts = <Py_ssize_t> (columns.text_lent.size // sizeof(Lent))
    cdef Py_ssize_t count = texts + <Py_ssize_t> (columns.data_lent.size // sizeof(Lent))
    if count == texts:   # the memory as well: of a million texts it is some
        self.lent = <Lent*> columns.text_lent.data
        memset(&columns.text_lent, 0, sizeof(Buffer))
    else:
        self.lent = <Lent*> malloc(count * sizeof(Lent))
        if self.lent == NULL:
            raise MemoryError()
        if texts:
            memcpy(self.lent, columns.text_lent.data, columns.text_lent.size)
        memcpy(self.lent + texts, columns.data_lent.data, columns.data_lent.size)
    columns.text_lent.size = columns.data_lent.size = 0
    for i in range(count):
        self.lent[i].at += text_at if i < texts else data_at
    self.lent_count = count
    return 0


def rebuild(head, buffers):
    """Unpickle a Packed: ``head`` is its header and columns, and ``buffers`` are referenced."""
    cdef Packed self = Packed.__new__(Packed)
    cdef View view
    cdef char* copied = NULL
    cdef Py_buffer* buffer
    cdef Py_ssize_t i, head_size = 0, count, apart = 0
    cdef int status
    if type(head) is not bytes:
        raise errors.bad_frame("bytes for header and columns", errors.type_name(head), 0)
    memset(&view, 0, sizeof(View))
    try:
        self.owners = tuple([PyMemoryView_GetContiguous(body, PyBUF_READ, b"C") for body in buffers])
    except (BufferError, TypeError, ValueError) as error:
        raise errors.cannot_rebuild("the buffers of a Packed", error, PyBytes_GET_SIZE(head)) from error
    self.head = head
    count = len(self.owners)
    self.bodies = <Body*> calloc(count + 1, sizeof(Body))
    if self.bodies == NULL:
        raise MemoryError()
    for i in range(count):
        buffer = fastser_memory_buffer(self.owners[i])
        self.bodies[i].data = <const char*> buffer.buf
        self.bodies[i].size = buffer.len
        self.bodies[i].owner = PyTuple_GET_ITEM(self.owners, i)
        apart += align_up(buffer.len, BODY_ALIGNMENT)
    self.body_count = count
    count = PyBytes_GET_SIZE(head)
    if self.body_count:
        apart += align_up(count, BODY_ALIGNMENT) - count
    try:
        status = frame_parse_head(PyBytes_AS_STRING(head), count, apart, &view, &copied, &head_size)
        if status != FRAME_OK:
            raise frame_error(status, PyBytes_AS_STRING(head), count + apart if status == FRAME_TRUNCATED else count)
        if head_size != count or view.frame_size != count + apart or view.body_count != self.body_count:
            raise frame_error(FRAME_COLUMNS, PyBytes_AS_STRING(head), count + apart)
        for i in range(self.body_count):
            if view.bodies[i].size != self.bodies[i].size:
                raise errors.bad_frame(f"a buffer of {view.bodies[i].size} bytes", self.bodies[i].size, f"buffer {i}")
    finally:
        view_release(&view, copied)
    self.head_size = count
    self.total = count + apart
    return self


cdef int packed_view(Packed self, View* view) except -1:
    cdef char* copied = NULL
    cdef Py_ssize_t head_size = 0, size = self.head_size
    cdef bytes head = _head(self)    # which `self` keeps
    cdef int status
    memset(view, 0, sizeof(View))
    _materialise(self)
    # The data of a bytes object is aligned, so that nothing is copied.
    status = frame_parse_head(PyBytes_AS_STRING(head), size, self.total - size, view, &copied, &head_size)
    if status != FRAME_OK:
        raise frame_error(status, PyBytes_AS_STRING(head), size)
    if view.body_count:
        memcpy(view.bodies, self.bodies, self.body_count * sizeof(Body))
    return 0

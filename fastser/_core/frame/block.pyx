"""Rows of packed objects, one behind the other in columns that a batch hands out."""

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from fastser._core.arrow.abi cimport ArrowArray
from fastser._core.arrow.abi cimport BinaryView, VIEW_INLINE_MAX
from fastser._core.c.buffer cimport Buffer, append_u8, buffer_append, buffer_extend, buffer_release, buffer_reserve
from fastser._core.format.columns cimport (
    Body, Columns, Lent, columns_bodies, columns_body_count, data_size, text_size, view_offset,
)
from fastser._core.format.tags cimport *
from fastser._core.frame.packed cimport gathered
from fastser._core.frame.rows_out cimport VIEW_CUT, RowArrays, put_views, rows_export, view_room
from fastser._core.values.text cimport write_with_lent

cdef enum:
    SMALL_MAX = 0x7fffffff


cdef inline int _push(Buffer* offsets, bint large, Py_ssize_t value) except -1:
    cdef int32_t narrow = <int32_t> value
    cdef int64_t wide = value
    if buffer_append(offsets, &wide if large else <void*> &narrow, 8 if large else 4) < 0:
        raise MemoryError()
    return 0


@cython.auto_pickle(False)
cdef class Block:
    """Rows in some layout, which those that derive from it know."""

    cdef bint append(self, Columns* columns, int flags) except -1:
        raise NotImplementedError()

    cdef int export(self, ArrowArray* out) except -1:
        raise NotImplementedError()


@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class RowBlock(Block):
    """Grows by a row at a time, until it is exported."""

    def __dealloc__(self):
        cdef Py_ssize_t i
        buffer_release(&self.versions)
        buffer_release(&self.flags)
        buffer_release(&self.body_data)
        buffer_release(&self.body_sizes)
        for i in range(COLUMN_COUNT):
            buffer_release(&self.list_offsets[i])
            buffer_release(&self.values[i])
            buffer_release(&self.contents[i])

    cdef bint append(self, Columns* columns, int flags) except -1:
        cdef Py_ssize_t i
        cdef Body body
        if not self.large and not _fits(self, columns):
            return False
        if buffer_reserve(&self.versions, 1) < 0 or buffer_reserve(&self.flags, 1) < 0:
            raise MemoryError()
        append_u8(&self.versions, FORMAT_VERSION)
        append_u8(&self.flags, <uint8_t> (flags | (FLAG_LARGE if columns.large else 0)))
        _append_numbers(self, COLUMN_I64, &columns.i64, 3)
        _append_numbers(self, COLUMN_F64, &columns.f64, 3)
        _append_numbers(self, COLUMN_I32, &columns.i32, 2)
        _append_numbers(self, COLUMN_I16, &columns.i16, 1)
        _append_numbers(self, COLUMN_I8, &columns.i8, 0)
        _append_numbers(self, COLUMN_BITS, &columns.bits, 0)
        _append_numbers(self, COLUMN_TAGS, &columns.tags, 0)
        _append_strings(self, COLUMN_TEXT, &columns.text_offsets, &columns.text, &columns.text_lent, columns.text_lent_size, columns.large)
        _append_strings(self, COLUMN_DATA, &columns.data_offsets, &columns.data, &columns.data_lent, columns.data_lent_size, columns.large)
        for i in range(columns_body_count(columns)):
            body = columns_bodies(columns)[i]
            owner = <object> body.owner
            if body.gather:
                owner = gathered(&body)
                body.data = <bytes> owner
            if self.copied:
                _append_copy(self, &body)
            else:
                self.owners.append(owner)
                _append_view(self, &body)
        for i in range(COLUMN_COUNT):
            _push(&self.list_offsets[i], self.large, self.items[i])
        self.rows += 1
        return True

    cdef int export(self, ArrowArray* out) except -1:
        cdef RowArrays arrays
        cdef Py_ssize_t i, bodies = self.bodies
        memset(&arrays, 0, sizeof(RowArrays))
        arrays.rows = self.rows
        arrays.headers[0] = self.versions.data
        arrays.headers[1] = self.flags.data
        for i in range(COLUMN_COUNT):
            _trim(&self.values[i])
            _trim(&self.contents[i])
            arrays.list_offsets[i] = self.list_offsets[i].data
            arrays.items[i] = self.items[i]
            arrays.values[i] = self.values[i].data
            arrays.contents[i] = self.contents[i].data
        if not self.copied:
            arrays.view_buffer_count = bodies + 3
            arrays.view_buffers = <const void**> calloc(bodies + 3, sizeof(void*))
            if arrays.view_buffers == NULL:
                raise MemoryError()
            arrays.view_buffers[1] = self.values[COLUMN_BUFFERS].data
            if bodies:
                memcpy(arrays.view_buffers + 2, self.body_data.data, self.body_data.size)
            arrays.view_buffers[2 + bodies] = self.body_sizes.data
        if rows_export(&arrays, <PyObject*> self, out) < 0:
            free(arrays.view_buffers)
            raise MemoryError()
        Py_INCREF(self)
        return 0


cdef RowBlock new_block(bint large, bint copied):
    cdef RowBlock self = RowBlock.__new__(RowBlock)
    cdef Py_ssize_t i
    self.large = large
    self.copied = copied
    self.owners = []
    for i in range(COLUMN_COUNT):
        _push(&self.list_offsets[i], large, 0)
    _push(&self.values[COLUMN_TEXT], large, 0)
    _push(&self.values[COLUMN_DATA], large, 0)
    if copied:
        _push(&self.values[COLUMN_BUFFERS], True, 0)
    # Never NULL, which readers take amiss even where there is nothing to point to.
    if buffer_reserve(&self.values[COLUMN_BUFFERS], sizeof(BinaryView)) < 0 or buffer_reserve(&self.body_sizes, 8) < 0:
        raise MemoryError()
    return self


cdef bint _fits(RowBlock self, Columns* columns) noexcept:
    """With 32-bit offsets."""
    cdef Py_ssize_t views = 0, i
    for i in range(columns_body_count(columns)):
        views += view_room(columns_bodies(columns)[i].size)
    return (
        not columns.large
        and self.items[COLUMN_BUFFERS] + views <= SMALL_MAX
        and self.items[COLUMN_I64] + <Py_ssize_t> columns.i64.size // 8 <= SMALL_MAX
        and self.items[COLUMN_F64] + <Py_ssize_t> columns.f64.size // 8 <= SMALL_MAX
        and self.items[COLUMN_I32] + <Py_ssize_t> columns.i32.size // 4 <= SMALL_MAX
        and self.items[COLUMN_I16] + <Py_ssize_t> columns.i16.size // 2 <= SMALL_MAX
        and self.items[COLUMN_I8] + <Py_ssize_t> columns.i8.size <= SMALL_MAX
        and self.items[COLUMN_BITS] + <Py_ssize_t> columns.bits.size <= SMALL_MAX
        and self.items[COLUMN_TAGS] + <Py_ssize_t> columns.tags.size <= SMALL_MAX
        and self.items[COLUMN_TEXT] + <Py_ssize_t> columns.text_offsets.size // 4 <= SMALL_MAX
        and self.items[COLUMN_DATA] + <Py_ssize_t> columns.data_offsets.size // 4 <= SMALL_MAX
        and self.contents[COLUMN_TEXT].size + text_size(columns) <= SMALL_MAX
        and self.contents[COLUMN_DATA].size + data_size(columns) <= SMALL_MAX)


cdef inline int _append_numbers(RowBlock self, int column, Buffer* numbers, int shift) except -1:
    if numbers.size:
        if buffer_append(&self.values[column], numbers.data, numbers.size) < 0:
            raise MemoryError()
        self.items[column] += numbers.size >> shift
        self.nbytes += numbers.size
    return 0


cdef inline int _append_strings(RowBlock self, int column, Buffer* offsets, Buffer* content, Buffer* lent, size_t lent_size, bint wide) except -1:
    """The content, and offsets that go on where those of the row before ended."""
    cdef Py_ssize_t i, count = <Py_ssize_t> (offsets.size >> (3 if wide else 2)) - 1
    cdef Py_ssize_t base = self.contents[column].size
    cdef char* out
    if count == 0:
        return 0
    out = buffer_extend(&self.contents[column], content.size + lent_size)
    if out == NULL:
        raise MemoryError()
    write_with_lent(out, content.data, 0, content.size, <const Lent*> lent.data, <Py_ssize_t> (lent.size // sizeof(Lent)))
    out = buffer_extend(&self.values[column], count * (8 if self.large else 4))
    if out == NULL:
        raise MemoryError()
    if self.large:
        for i in range(count):
            (<int64_t*> out)[i] = base + view_offset(offsets.data, wide, i + 1)
    else:
        for i in range(count):
            (<int32_t*> out)[i] = <int32_t> base + (<int32_t*> offsets.data)[i + 1]
    self.items[column] += count
    self.nbytes += content.size + lent_size + count * (8 if self.large else 4)
    return 0


cdef int _append_copy(RowBlock self, const Body* body) except -1:
    """Cut as views are, so that readers join the pieces by one rule."""
    cdef Buffer* content = &self.contents[COLUMN_BUFFERS]
    cdef size_t end = content.size + body.size
    cdef size_t at = content.size
    if buffer_append(content, body.data, body.size) < 0:
        raise MemoryError()
    while end - at > VIEW_CUT + VIEW_INLINE_MAX:
        at += VIEW_CUT
        _push(&self.values[COLUMN_BUFFERS], True, at)
        self.items[COLUMN_BUFFERS] += 1
    _push(&self.values[COLUMN_BUFFERS], True, end)
    self.items[COLUMN_BUFFERS] += 1
    if end - at >= VIEW_CUT:
        _push(&self.values[COLUMN_BUFFERS], True, end)
        self.items[COLUMN_BUFFERS] += 1
    self.nbytes += body.size
    return 0


cdef int _append_view(RowBlock self, const Body* body) except -1:
    cdef Py_ssize_t room = view_room(body.size)
    cdef Buffer* views = &self.values[COLUMN_BUFFERS]
    if buffer_reserve(views, room * sizeof(BinaryView)) < 0 \
            or buffer_reserve(&self.body_data, room * sizeof(void*)) < 0 or buffer_reserve(&self.body_sizes, room * 8) < 0:
        raise MemoryError()
    put_views(body, <BinaryView*> views.data, &self.items[COLUMN_BUFFERS],
              <const void**> self.body_data.data, <int64_t*> self.body_sizes.data, &self.bodies)
    views.size = self.items[COLUMN_BUFFERS] * sizeof(BinaryView)
    self.body_data.size = self.bodies * sizeof(void*)
    self.body_sizes.size = self.bodies * 8
    self.nbytes += body.size
    return 0


cdef void _trim(Buffer* buffer) noexcept:
    """Give back what was reserved in vain: batches may live long."""
    cdef char* data
    if buffer.size and buffer.capacity > buffer.size:
        data = <char*> realloc(buffer.data, buffer.size)
        if data != NULL:
            buffer.data = data
            buffer.capacity = buffer.size

"""The fixed set of columns of one packed object, being written or being read."""

from cpython.object cimport PyObject
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport malloc

from fastser._core.c.buffer cimport (
    Buffer, append_u8, append_varint, buffer_append, buffer_extend, buffer_grow, buffer_release, buffer_reserve,
)
from fastser._core.c.capi cimport fastser_decref, fastser_incref


cdef struct Body:
    # One large buffer.  `owner` keeps `data` alive (a strong reference in Columns, borrowed in View).
    # When `gather` is set, `owner` is an ndarray that is not contiguous: its elements are copied
    # straight to their destination, in C order, and `data` is NULL.
    const char* data
    uint64_t size
    PyObject* owner
    Py_ssize_t tag        # where in `tags` its kind of body is, while it is written
    int gather


cdef struct Lent:
    # Text or bytes that a column refers to instead of holding a copy; put in where the frame is written.
    size_t at             # the column's own bytes before it
    PyObject* owner       # strong: an exact str or bytes


cdef struct Columns:
    Buffer tags
    Buffer i8
    Buffer i16
    Buffer i32
    Buffer i64
    Buffer f64
    Buffer bits
    Buffer text_offsets   # n + 1 offsets, the first 0; 4 bytes each, or 8 when large
    Buffer text           # its own bytes; what is lent comes between them
    Buffer text_lent      # of Lent, rising
    size_t text_lent_size  # their bytes
    Buffer data_offsets
    Buffer data
    Buffer data_lent
    size_t data_lent_size
    Buffer bodies         # of Body
    int large


cdef struct View:
    # Borrowed pointers into a frame or into the arrays of an Arrow row.
    const uint8_t* tags
    const int8_t* i8
    const int16_t* i16
    const int32_t* i32
    const int64_t* i64
    const double* f64
    const uint8_t* bits
    const void* text_offsets   # text_count + 1 of them, or NULL when text_count is 0
    const char* text
    const void* data_offsets
    const char* data
    Body* bodies               # body_count; gather is always 0
    Py_ssize_t tag_count
    Py_ssize_t i8_count
    Py_ssize_t i16_count
    Py_ssize_t i32_count
    Py_ssize_t i64_count
    Py_ssize_t f64_count
    Py_ssize_t bits_count      # bytes
    Py_ssize_t text_count
    Py_ssize_t data_count
    Py_ssize_t body_count
    Py_ssize_t text_start      # the first offset: before it lies what is somebody else's
    Py_ssize_t text_size       # the last offset
    Py_ssize_t data_size
    Py_ssize_t frame_size      # bytes that back the items
    int text_large             # 64-bit offsets
    int data_large
    int flags


cdef inline void view_clear(View* self) noexcept nogil:
    # One by one: the compiler makes of memset a loop that takes longer to start than this takes.
    self.tags = NULL
    self.i8 = NULL
    self.i16 = NULL
    self.i32 = NULL
    self.i64 = NULL
    self.f64 = NULL
    self.bits = NULL
    self.text_offsets = NULL
    self.text = NULL
    self.data_offsets = NULL
    self.data = NULL
    self.bodies = NULL
    self.tag_count = 0
    self.i8_count = 0
    self.i16_count = 0
    self.i32_count = 0
    self.i64_count = 0
    self.f64_count = 0
    self.bits_count = 0
    self.text_count = 0
    self.data_count = 0
    self.body_count = 0
    self.text_start = 0
    self.text_size = 0
    self.data_size = 0
    self.frame_size = 0
    self.text_large = 0
    self.data_large = 0
    self.flags = 0


cdef inline Body* columns_bodies(Columns* self) noexcept nogil:
    return <Body*> self.bodies.data


cdef inline Py_ssize_t columns_body_count(Columns* self) noexcept nogil:
    return <Py_ssize_t> (self.bodies.size // sizeof(Body))


cdef inline size_t text_size(const Columns* self) noexcept nogil:
    return self.text.size + self.text_lent_size


cdef inline size_t data_size(const Columns* self) noexcept nogil:
    return self.data.size + self.data_lent_size


cdef inline int lend(Buffer* lent, size_t at, PyObject* owner) noexcept:
    if buffer_reserve(lent, sizeof(Lent)) < 0:
        return -1
    (<Lent*> (lent.data + lent.size)).at = at
    (<Lent*> (lent.data + lent.size)).owner = owner
    lent.size += sizeof(Lent)
    fastser_incref(owner)
    return 0


cdef inline void lent_truncate(Buffer* lent, size_t size) noexcept:
    """Give back what was lent after that."""
    while lent.size > size:
        lent.size -= sizeof(Lent)
        fastser_decref((<Lent*> (lent.data + lent.size)).owner)


cdef inline int columns_reset(Columns* self, int large) noexcept nogil:
    """Empty every column, keeping its memory.  The owners of bodies and of what is lent are the caller's to release before."""
    cdef size_t offset_size = 8 if large else 4
    self.tags.size = 0
    self.i8.size = 0
    self.i16.size = 0
    self.i32.size = 0
    self.i64.size = 0
    self.f64.size = 0
    self.bits.size = 0
    self.text.size = 0
    self.data.size = 0
    self.bodies.size = 0
    self.text_lent.size = 0
    self.data_lent.size = 0
    self.text_lent_size = 0
    self.data_lent_size = 0
    self.text_offsets.size = 0
    self.data_offsets.size = 0
    self.large = large
    if buffer_reserve(&self.text_offsets, offset_size) < 0 or buffer_reserve(&self.data_offsets, offset_size) < 0:
        return -1
    (<int64_t*> self.text_offsets.data)[0] = 0
    (<int64_t*> self.data_offsets.data)[0] = 0
    self.text_offsets.size = offset_size
    self.data_offsets.size = offset_size
    return 0


cdef inline void columns_release(Columns* self) noexcept nogil:
    buffer_release(&self.tags)
    buffer_release(&self.i8)
    buffer_release(&self.i16)
    buffer_release(&self.i32)
    buffer_release(&self.i64)
    buffer_release(&self.f64)
    buffer_release(&self.bits)
    buffer_release(&self.text_offsets)
    buffer_release(&self.text)
    buffer_release(&self.data_offsets)
    buffer_release(&self.data)
    buffer_release(&self.text_lent)
    buffer_release(&self.data_lent)
    buffer_release(&self.bodies)


cdef inline size_t columns_capacity(Columns* self) noexcept nogil:
    return (self.tags.capacity + self.i8.capacity + self.i16.capacity + self.i32.capacity
            + self.i64.capacity + self.f64.capacity + self.bits.capacity
            + self.text_offsets.capacity + self.text.capacity
            + self.data_offsets.capacity + self.data.capacity + self.bodies.capacity
            + self.text_lent.capacity + self.data_lent.capacity)


cdef inline Py_ssize_t view_offset(const void* offsets, int large, Py_ssize_t index) noexcept nogil:
    if large:
        return <Py_ssize_t> (<const int64_t*> offsets)[index]
    return <Py_ssize_t> (<const int32_t*> offsets)[index]

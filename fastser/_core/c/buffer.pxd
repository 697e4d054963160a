"""A growable buffer of bytes: reserve once, then append unchecked."""

from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from fastser._core.c.pages cimport HUGE_MIN, fastser_advise_huge


cdef struct Buffer:
    char* data
    size_t size      # bytes in use
    size_t capacity


cdef inline int buffer_grow(Buffer* self, size_t extra) noexcept nogil:
    """Make room for ``extra`` more bytes; -1 when memory is short."""
    cdef size_t wanted = self.size + extra
    cdef size_t capacity = self.capacity * 2
    cdef char* data
    if wanted < extra:
        return -1
    if capacity < 256:
        capacity = 256
    if capacity < wanted:
        capacity = wanted
    data = <char*> realloc(self.data, capacity)
    if data == NULL:
        return -1
    if capacity >= HUGE_MIN:
        fastser_advise_huge(data + self.size, capacity - self.size)
    self.data = data
    self.capacity = capacity
    return 0


cdef inline int buffer_reserve(Buffer* self, size_t extra) noexcept nogil:
    if self.capacity - self.size >= extra:
        return 0
    return buffer_grow(self, extra)


cdef inline void append_u8(Buffer* self, uint8_t value) noexcept nogil:
    """Unchecked: the caller reserved."""
    self.data[self.size] = <char> value
    self.size += 1


cdef inline void append_varint(Buffer* self, uint64_t value) noexcept nogil:
    """Unchecked: at most 10 bytes."""
    while value >= 0x80:
        self.data[self.size] = <char> <uint8_t> (value | 0x80)
        self.size += 1
        value >>= 7
    self.data[self.size] = <char> <uint8_t> value
    self.size += 1


cdef inline int buffer_append(Buffer* self, const void* source, size_t size) noexcept nogil:
    if buffer_reserve(self, size) < 0:
        return -1
    if size:
        memcpy(self.data + self.size, source, size)
        self.size += size
    return 0


cdef inline char* buffer_extend(Buffer* self, size_t size) noexcept nogil:
    """Room for ``size`` bytes that the caller fills; NULL when memory is short."""
    cdef char* at
    if (self.data == NULL or self.capacity - self.size < size) and buffer_grow(self, size) < 0:
        return NULL
    at = self.data + self.size
    self.size += size
    return at


cdef inline void buffer_release(Buffer* self) noexcept nogil:
    free(self.data)
    self.data = NULL
    self.size = 0
    self.capacity = 0

"""Open-addressing tables: addresses to numbers, and the shapes of dicts."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset


cdef struct MemoEntry:
    const void* key       # NULL: free
    Py_ssize_t value      # -1: there once, now forgotten


cdef struct Memo:
    MemoEntry* entries
    size_t mask           # capacity - 1, or 0 when there is no table yet
    size_t count
    int shift
    size_t touched[8]     # the first slots taken, so that a small message clears only them


cdef enum:
    MEMO_SMALLEST = 6     # log2 of the first capacity
    MEMO_KEPT = 14        # log2 of the largest capacity that survives a call


cdef inline size_t address_slot(const void* address, int bits) noexcept nogil:
    """Where an address belongs in a table of 2 ** bits places."""
    return <size_t> ((<uint64_t> <size_t> address * <uint64_t> 0x9E3779B97F4A7C15) >> (64 - bits))


cdef inline int memo_resize(Memo* self, int bits) noexcept nogil:
    cdef MemoEntry* old = self.entries
    cdef size_t old_size = self.mask + 1 if old != NULL else 0
    cdef size_t i, at
    cdef MemoEntry* entries = <MemoEntry*> calloc(<size_t> 1 << bits, sizeof(MemoEntry))
    if entries == NULL:
        return -1
    self.entries = entries
    self.mask = (<size_t> 1 << bits) - 1
    self.shift = 64 - bits
    for i in range(old_size):
        if old[i].key != NULL:
            at = address_slot(old[i].key, bits)
            while entries[at].key != NULL:
                at = (at + 1) & self.mask
            entries[at] = old[i]
    free(old)
    return 0


cdef inline MemoEntry* memo_entry(Memo* self, const void* key) noexcept nogil:
    """The entry of ``key``, made with value -1 where there was none; NULL when memory is short."""
    cdef size_t at
    if self.count * 2 >= self.mask:
        if memo_resize(self, MEMO_SMALLEST if self.entries == NULL else 65 - self.shift) < 0:
            return NULL
    at = address_slot(key, 64 - self.shift)
    while self.entries[at].key != key:
        if self.entries[at].key == NULL:
            self.entries[at].key = key
            self.entries[at].value = -1
            if self.count < 8:
                self.touched[self.count] = at
            self.count += 1
            break
        at = (at + 1) & self.mask
    return &self.entries[at]


cdef inline void memo_clear(Memo* self) noexcept nogil:
    """Forget everything; a table that grew large is given back."""
    cdef size_t i
    if self.count:
        if self.count <= 8 and self.shift == 64 - MEMO_SMALLEST:
            for i in range(self.count):
                self.entries[self.touched[i]].key = NULL
            self.count = 0
        elif self.shift < 64 - MEMO_KEPT:
            memo_release(self)
        else:
            memset(self.entries, 0, (self.mask + 1) * sizeof(MemoEntry))
            self.count = 0


cdef inline void memo_release(Memo* self) noexcept nogil:
    free(self.entries)
    memset(self, 0, sizeof(Memo))

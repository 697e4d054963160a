"""The state of one call of the decoder: cursors into the columns, and what the frame refers back to."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from fastser._core.buffer cimport Buffer, buffer_release
from fastser._core.capi cimport fastser_incref, fastser_xdecref
from fastser._core.columns cimport View
from fastser._core.memo cimport Memo, memo_release
from fastser._core.stack cimport uintptr_t


cdef struct ShapeSeen:
    Py_ssize_t first          # its first key's place in `text`
    Py_ssize_t count
    PyObject* template        # a dict of the keys and None; NULL until the shape is used again; strong


cdef struct OpenTuples:
    Py_ssize_t first          # number of the first
    Py_ssize_t count
    OpenTuples* next


cdef struct Decoder:
    View view
    char* copied              # the head, where it was not aligned; malloc'ed
    const uint8_t* at         # the next tag
    const uint8_t* end
    Py_ssize_t i8
    Py_ssize_t i16
    Py_ssize_t i32
    Py_ssize_t i64
    Py_ssize_t f64
    Py_ssize_t bits
    Py_ssize_t text
    Py_ssize_t data
    Py_ssize_t body
    Py_ssize_t budget         # items that the frame's bytes can still back
    Py_ssize_t depth
    Py_ssize_t max_depth
    uintptr_t stack_limit
    PyObject** refs           # numbered objects; strong; NULL where one is not complete yet
    Py_ssize_t ref_count
    Py_ssize_t ref_capacity
    PyObject** texts          # items of text that are referred to, made lazily; strong
    PyObject** bodies         # long texts and bytes, made lazily; strong
    Buffer shapes             # of ShapeSeen
    PyObject* dtypes          # a list, or NULL; strong
    PyObject* owner           # what the memory belongs to; the base of arrays; borrowed
    int writable
    OpenTuples* open          # the tuples that are being filled, innermost first
    Memo sizes                # of tuples and frozensets, items of items counted; the keys are strong references
    Memo reopened             # tuples that were referred to before they were full
    uint64_t hashing          # how many more items may be hashed
    int shares                # what a key holds may be met twice
    int has_refs
    int foreign               # user code may run
    int safe
    int text_is_ascii         # the whole column; -1 not looked at


cdef inline void sizes_release(Decoder* d) noexcept:
    cdef Memo sizes = d.sizes
    cdef size_t i
    memset(&d.sizes, 0, sizeof(Memo))
    if sizes.count:
        for i in range(sizes.mask + 1):
            fastser_xdecref(<PyObject*> sizes.entries[i].key)
    memo_release(&sizes)


cdef inline void decoder_release(Decoder* d) noexcept:
    cdef Py_ssize_t i
    for i in range(d.ref_count):
        fastser_xdecref(d.refs[i])
    free(d.refs)
    if d.texts != NULL:
        for i in range(d.view.text_count):
            fastser_xdecref(d.texts[i])
        free(d.texts)
    if d.bodies != NULL:
        for i in range(d.view.body_count):
            fastser_xdecref(d.bodies[i])
        free(d.bodies)
    for i in range(<Py_ssize_t> (d.shapes.size // sizeof(ShapeSeen))):
        fastser_xdecref((<ShapeSeen*> d.shapes.data)[i].template)
    buffer_release(&d.shapes)
    sizes_release(d)
    memo_release(&d.reopened)
    fastser_xdecref(d.dtypes)


cdef inline PyObject** slots_new(Py_ssize_t n) except NULL:
    """n empty slots; slots_free takes them and what was put there."""
    cdef PyObject** slots = <PyObject**> calloc(n if n else 1, sizeof(PyObject*))
    if slots == NULL:
        raise MemoryError()
    return slots


cdef inline void slots_free(PyObject** slots, Py_ssize_t n) noexcept:
    cdef Py_ssize_t i
    for i in range(n):
        fastser_xdecref(slots[i])
    free(slots)

"""Numbered objects: what references lead to, also before it is complete."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset

from fastser._core.c.capi cimport *
from fastser._core.c.memo cimport Memo
from fastser._core.c.refs cimport replace_slot
from fastser._core.decode.errors cimport bad
from fastser._core.decode.hash_limits cimport note_open
from fastser._core.decode.read cimport read_unsigned, read_varint
from fastser._core.decode.state cimport Decoder
from fastser._core.values.arrays cimport (
    DTYPE_OBJECT, fastser_array_data, fastser_array_descr, fastser_array_size, fastser_array_type, fastser_dtype_code,
)


cdef inline Py_ssize_t number(Decoder* d, Py_ssize_t n) except -1:
    """Take n numbers, their objects still missing; the first of them."""
    cdef PyObject** refs
    cdef Py_ssize_t first = d.ref_count, capacity
    if not d.has_refs:
        return 0
    if d.ref_count + n > d.ref_capacity:
        capacity = max(2 * d.ref_capacity, d.ref_count + n, 64)
        refs = <PyObject**> realloc(d.refs, capacity * sizeof(PyObject*))
        if refs == NULL:
            raise MemoryError()
        d.refs = refs
        d.ref_capacity = capacity
    memset(d.refs + d.ref_count, 0, n * sizeof(PyObject*))
    d.ref_count += n
    return first


cdef inline void set_number(Decoder* d, Py_ssize_t index, PyObject* o) noexcept:
    if d.has_refs:
        fastser_incref(o)
        d.refs[index] = o


cdef inline bint branches(Decoder* d, PyObject* o) noexcept:
    """Whether there may be just one of it: who shares parts of a tree could make a large one of few bytes."""
    return d.tree and fastser_is_tuple(o) and fastser_tuple_size(o) != 0


cdef inline PyObject* referred(Decoder* d, uint64_t index) except NULL:
    """New reference to a numbered object."""
    if index >= <uint64_t> d.ref_count or d.refs[index] == NULL:
        bad(d, f"a reference to one of {d.ref_count} objects, complete enough to be referred to", index)
    if branches(d, d.refs[index]):
        bad(d, "parts of Arrow data that occur once", "a reference to one")
    if d.open != NULL and fastser_is_tuple(d.refs[index]):
        note_open(d, index)
    fastser_incref(d.refs[index])
    return d.refs[index]


cdef inline int read_references(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i
    cdef uint64_t* numbers
    if n == 1:
        out[0] = referred(d, read_varint(d))
        return 0
    numbers = <uint64_t*> malloc(n * sizeof(uint64_t))
    if numbers == NULL:
        raise MemoryError()
    try:
        read_unsigned(d, numbers, n)
        for i in range(n):
            out[i] = referred(d, numbers[i])
    finally:
        free(numbers)
    return 0


cdef inline void hide(Decoder* d, PyObject* o) noexcept:
    """Where user code may run it must not find, through the collector, what has empty slots.

    Where there are references nothing has, and a dict that is given a hidden tuple would hide too.
    """
    if d.exposed and not d.has_refs:
        gc_untrack(o)


cdef inline void show(Decoder* d, PyObject* o) noexcept:
    """It is complete."""
    if d.exposed:
        # The collector itself lets go of tuples that are full of None.
        if not gc_is_tracked(o):
            gc_track(o)
        # User code that got hold of it may have hashed it as it was.
        if d.has_refs:
            fastser_forget_hash(o)


cdef inline bint grows(Decoder* d, bint is_list) noexcept:
    """Whether a list is empty until it is filled: Python code that gets hold of it may change its length."""
    return is_list and d.has_refs and d.exposed


cdef inline PyObject* new_sequence(Decoder* d, Py_ssize_t size, bint is_list) except NULL:
    """A list or tuple to fill.  Where references may lead to it before it is full, it is full of None, or grows."""
    cdef PyObject* o
    cdef PyObject** items
    cdef Py_ssize_t i
    if grows(d, is_list):
        return new_list(0)
    o = new_list(size) if is_list else new_tuple(size)
    items = fastser_list_items(o) if is_list else fastser_tuple_items(o)
    if d.has_refs:
        for i in range(size):
            fastser_incref(fastser_none)
            items[i] = fastser_none
    if is_list or size:
        hide(d, o)
    return o


cdef inline int grow(PyObject* o, PyObject** items, Py_ssize_t size, Py_ssize_t stride) except -1:
    """Append to a list; steals the items, which lie ``stride`` apart."""
    cdef Py_ssize_t i
    for i in range(size):
        list_append(o, items[i * stride])
        fastser_decref(items[i * stride])
        items[i * stride] = NULL
    return 0


cdef inline int let_go(Decoder* d) except -1:
    """After an error: empty what contains itself and what no collector could free."""
    cdef Py_ssize_t i, j
    cdef Memo* reopened
    cdef PyObject* o
    if d.hashing != NULL and d.hashing.reopened.count:
        reopened = &d.hashing.reopened
        for i in range(<Py_ssize_t> reopened.mask + 1):
            if reopened.entries[i].key != NULL and reopened.entries[i].value >= 0:
                o = <PyObject*> reopened.entries[i].key
                for j in range(fastser_tuple_size(o)):
                    replace_slot(&fastser_tuple_items(o)[j], fastser_none)
    # What came out of a pickle may be the user's own.
    for j in range(0 if d.foreign else d.ref_count):
        o = d.refs[j]
        if o != NULL and fastser_type(o) == fastser_array_type \
                and fastser_dtype_code(fastser_array_descr(o)) == DTYPE_OBJECT:
            for i in range(fastser_array_size(o)):
                replace_slot(&(<PyObject**> fastser_array_data(o))[i], fastser_none)
    return 0

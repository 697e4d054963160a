"""Records: dicts that share a shape, which is written once in a message."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memmove, memset

from fastser._core.c.buffer cimport append_varint
from fastser._core.c.capi cimport *
from fastser._core.encode.runs cimport RUN_MIN
from fastser._core.encode.shapes cimport (
    gather_keys, keys_equal, shape_add, shape_find, SHAPE_UNKNOWN, Shapes, shapes_clear, shapes_release,
)
from fastser._core.encode.state cimport block_new, Encoder, keep, text_failed, write_tag, write_varint
from fastser._core.format.tags cimport *
from fastser._core.values.text cimport text_append, TEXT_OK, TEXT_SURROGATES


cdef inline int write_shape(Encoder* e, PyObject** keys, Py_ssize_t count) except -1:
    """Refer to the shape of these strs, writing it when it is new; 0 where `text` does not take them."""
    cdef uint64_t hash = 0
    cdef Py_ssize_t i, index = shape_find(&e.shapes, keys, count, &hash)
    cdef size_t tags = e.columns.tags.size, text = e.columns.text.size, offsets = e.columns.text_offsets.size
    cdef int status
    if index >= 0:
        write_varint(e, index + 1)
        return 1
    write_tag(e, 0)
    append_varint(&e.columns.tags, count)
    for i in range(count):
        status = TEXT_SURROGATES
        if fastser_str_length(keys[i]) < BYTES_BODY_MIN:
            status = text_append(&e.columns, keys[i])
        if status == TEXT_SURROGATES:
            e.columns.tags.size = tags
            e.columns.text.size = text
            e.columns.text_offsets.size = offsets
            return 0
        if status != TEXT_OK:
            return text_failed(e)
        if e.careful:
            keep(e, <object> keys[i])
    if shape_add(&e.shapes, keys, count, hash) < 0:
        raise MemoryError()
    return 1


cdef inline Py_ssize_t record_prefix(Encoder* e, PyObject** items, Py_ssize_t k, PyObject*** columns) except -1:
    """How many leading dicts have the keys of the first.

    ``columns`` gets the keys and then the values, k of each key; it stays NULL where the first dict
    has no shape.
    """
    cdef Py_ssize_t width = fastser_dict_size(items[0]), i, j
    cdef PyObject** first
    cdef PyObject** keys
    cdef PyObject** values
    if not 0 < width <= MAX_SHAPE_KEYS:
        return 0
    first = block_new(e, width * (k + 2))
    values = first + width
    keys = values + width * k
    if not gather_keys(items[0], first, values, k):
        return 0
    for i in range(1, k):
        if fastser_dict_size(items[i]) != width or not (
                gather_keys(items[i], keys, values + i, k) and keys_equal(keys, first, width)):
            break
    else:
        i = k
    columns[0] = first
    if i < k and i >= RUN_MIN:
        # Close the gaps, so that each key has just i values.
        for j in range(1, width):
            memmove(values + j * i, values + j * k, i * sizeof(PyObject*))
    return i


cdef inline Py_ssize_t shape_groups(Encoder* e, PyObject** items, Py_ssize_t n, uint8_t* index) except -1:
    """Group dicts by their keys; the number of groups, or n where they are too many."""
    cdef Shapes shapes
    cdef PyObject* keys[MAX_SHAPE_KEYS]
    cdef PyObject* values[MAX_SHAPE_KEYS]
    cdef Py_ssize_t i, number, width, count = 0
    cdef uint64_t hash = 0
    memset(&shapes, 0, sizeof(Shapes))
    shapes_clear(&shapes)
    try:
        for i in range(n):
            width = fastser_dict_size(items[i])
            if width > MAX_SHAPE_KEYS or not gather_keys(items[i], keys, values, 1):
                return n
            number = shape_find(&shapes, keys, width, &hash)
            if number == SHAPE_UNKNOWN:
                if count == MAX_GROUPS or (count >= 64 and count * 4 > i):
                    return n
                number = shape_add(&shapes, keys, width, hash)
                if number < 0:
                    raise MemoryError()
                count += 1
            index[i] = <uint8_t> number
        return count
    finally:
        shapes_release(&shapes)

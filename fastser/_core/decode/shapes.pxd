"""Shapes on the way back: where their keys lie, and the dicts that are copied for those that come again."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from fastser._core.c.buffer cimport buffer_append
from fastser._core.c.capi cimport (
    dict_set, fastser_decref, fastser_dict_presized, fastser_none, fastser_tuple_items, intern_in_place, new_tuple,
)
from fastser._core.decode.errors cimport bad
from fastser._core.decode.keys cimport new_key
from fastser._core.decode.read cimport next_text, read_count, read_varint
from fastser._core.decode.state cimport Decoder, ShapeSeen
from fastser._core.format.tags cimport MAX_SHAPE_KEYS


cdef inline ShapeSeen* read_shape(Decoder* d) except NULL:
    """Borrowed: a shape, with a template when it is used again or for many."""
    cdef uint64_t index = read_varint(d)
    cdef ShapeSeen new
    if index:
        if index > d.shapes.size // sizeof(ShapeSeen):
            bad(d, f"one of {d.shapes.size // sizeof(ShapeSeen)} shapes", index)
        return <ShapeSeen*> d.shapes.data + (index - 1)
    new.count = read_count(d)
    new.first = d.text
    new.template = NULL
    new.names = NULL
    if new.count > d.view.text_count - d.text or new.count == 0 or new.count > MAX_SHAPE_KEYS:
        bad(d, "a shape whose keys lie in column text", f"{new.count} keys")
    d.text += new.count
    if buffer_append(&d.shapes, &new, sizeof(ShapeSeen)) < 0:
        raise MemoryError()
    return <ShapeSeen*> (d.shapes.data + d.shapes.size) - 1


cdef inline PyObject* names_of(Decoder* d, ShapeSeen* shape) except NULL:
    """Borrowed: a tuple of the shape's keys, which are the names of attributes."""
    cdef Py_ssize_t i, size = 0
    cdef const char* text
    cdef PyObject** items
    if shape.names == NULL:
        shape.names = new_tuple(shape.count)
        items = fastser_tuple_items(shape.names)
        for i in range(shape.count):
            text = next_text(d, shape.first + i, &size)
            items[i] = new_key(text, size)
            intern_in_place(&items[i])
        if len(set(<object> shape.names)) != shape.count:
            bad(d, "a shape of different keys", "one with a key twice")
    return shape.names


cdef inline PyObject* template_of(Decoder* d, ShapeSeen* shape) except NULL:
    """Borrowed: a dict of the shape's keys, to copy: cheaper than to insert them one by one."""
    cdef Py_ssize_t i, size = 0
    cdef const char* text
    cdef PyObject* key
    if shape.template == NULL:
        shape.template = fastser_dict_presized(shape.count)
        for i in range(shape.count):
            text = next_text(d, shape.first + i, &size)
            key = new_key(text, size)
            try:
                dict_set(shape.template, key, fastser_none)
            finally:
                fastser_decref(key)
    return shape.template

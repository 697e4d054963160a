"""Shapes: the tuple of a dict's str keys, written once in a message and then referred to by number.

As the hidden classes of JavaScript engines, but decided by the keys' text alone: which dicts share
a shape never depends on where the keys lie in memory.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastser._core.c.buffer cimport Buffer, buffer_append, buffer_release
from fastser._core.c.capi cimport fastser_dict_next, fastser_str_hash, fastser_str_type, fastser_type
from fastser._core.values.text cimport text_equal


cdef enum:
    SHAPE_SLOTS = 64      # of the first table
    SHAPE_UNKNOWN = -1
    SHAPE_MEMORY = -2


cdef struct Shape:
    uint64_t hash
    size_t first          # of its keys in `keys`
    Py_ssize_t count


cdef struct Shapes:
    Buffer shapes         # of Shape
    Buffer keys           # of PyObject*, borrowed: the dicts hold them for as long as the call lasts
    uint32_t small[SHAPE_SLOTS]
    uint32_t* slots       # index + 1 of a shape, 0 for free; `small` until there are many
    size_t mask


cdef inline void shapes_clear(Shapes* self) noexcept nogil:
    if self.shapes.size:
        if self.slots != self.small:
            free(self.slots)
            self.slots = NULL
        memset(self.small, 0, sizeof(self.small))
    self.shapes.size = 0
    self.keys.size = 0
    if self.slots != self.small:
        self.slots = self.small
        self.mask = SHAPE_SLOTS - 1


cdef inline void shapes_release(Shapes* self) noexcept nogil:
    shapes_clear(self)
    buffer_release(&self.shapes)
    buffer_release(&self.keys)


cdef inline Py_ssize_t shapes_count(Shapes* self) noexcept nogil:
    return <Py_ssize_t> (self.shapes.size // sizeof(Shape))


cdef inline bint gather_keys(PyObject* dictionary, PyObject** keys, PyObject** values, Py_ssize_t stride) noexcept:
    """Fill the keys of a dict and its values, ``stride`` apart; whether all keys are exact strs."""
    cdef Py_ssize_t position = 0, i = 0
    cdef PyObject* key
    cdef PyObject* value
    cdef bint text = True
    while fastser_dict_next(dictionary, &position, &key, &value):
        text &= fastser_type(key) == fastser_str_type
        keys[i] = key
        values[i * stride] = value
        i += 1
    return text


cdef inline bint keys_equal(PyObject** a, PyObject** b, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        if a[i] != b[i] and not text_equal(a[i], b[i]):
            return False
    return True


cdef inline Py_ssize_t shape_find(Shapes* self, PyObject** keys, Py_ssize_t count, uint64_t* hash) noexcept:
    """The number of the shape with these exact strs, or SHAPE_UNKNOWN; its hash for shape_add."""
    cdef uint64_t h = <uint64_t> count
    cdef Py_ssize_t i
    cdef size_t at
    cdef uint32_t slot
    cdef Shape* shape
    for i in range(count):
        h = (h ^ <uint64_t> fastser_str_hash(keys[i])) * <uint64_t> 0x9E3779B97F4A7C15
    hash[0] = h
    at = <size_t> (h >> 32) & self.mask
    while True:
        slot = self.slots[at]
        if slot == 0:
            return SHAPE_UNKNOWN
        shape = <Shape*> self.shapes.data + (slot - 1)
        if shape.hash == h and shape.count == count and keys_equal(
                keys, <PyObject**> self.keys.data + shape.first, count):
            return slot - 1
        at = (at + 1) & self.mask


cdef inline int _shapes_grow(Shapes* self) noexcept nogil:
    cdef size_t mask = self.mask * 2 + 1, at
    cdef Py_ssize_t i
    cdef uint32_t* slots = <uint32_t*> calloc(mask + 1, sizeof(uint32_t))
    if slots == NULL:
        return SHAPE_MEMORY
    for i in range(shapes_count(self)):
        at = <size_t> ((<Shape*> self.shapes.data)[i].hash >> 32) & mask
        while slots[at]:
            at = (at + 1) & mask
        slots[at] = <uint32_t> (i + 1)
    if self.slots != self.small:
        free(self.slots)
    self.slots = slots
    self.mask = mask
    return 0


cdef inline Py_ssize_t shape_add(Shapes* self, PyObject** keys, Py_ssize_t count, uint64_t hash) noexcept nogil:
    """Number a new shape; SHAPE_MEMORY when memory is short."""
    cdef Shape shape
    cdef Py_ssize_t index = shapes_count(self)
    cdef size_t at
    if <size_t> index * 2 > self.mask and _shapes_grow(self) < 0:
        return SHAPE_MEMORY
    shape.hash = hash
    shape.first = self.keys.size // sizeof(PyObject*)
    shape.count = count
    if buffer_append(&self.shapes, &shape, sizeof(Shape)) < 0:
        return SHAPE_MEMORY
    if buffer_append(&self.keys, keys, count * sizeof(PyObject*)) < 0:
        return SHAPE_MEMORY
    at = <size_t> (hash >> 32) & self.mask
    while self.slots[at]:
        at = (at + 1) & self.mask
    self.slots[at] = <uint32_t> (index + 1)
    return index

"""Shapes: the tuple of a dict's str keys, written once in a message and then referred to by number.

As the hidden classes of JavaScript engines, but decided by the keys' text alone: which dicts share
a shape never depends on where the keys lie in memory.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastser._core.buffer cimport Buffer, buffer_append, buffer_release, buffer_reserve
from fastser._core.capi cimport fastser_dict_next, fastser_dict_size, fastser_str_hash, fastser_str_type, fastser_type
from fastser._core.tags cimport MAX_SHAPE_KEYS
from fastser._core.text cimport text_equal


cdef enum:
    SHAPE_SLOTS = 64      # of the first table
    SHAPE_UNKNOWN = -1
    SHAPE_NONE = -2       # not a dict of str keys, or too wide
    SHAPE_MEMORY = -3


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


cdef inline bint shape_matches(Shapes* self, Py_ssize_t index, PyObject* dictionary) noexcept:
    """Whether a dict has just these keys in this order."""
    cdef Shape* shape = <Shape*> self.shapes.data + index
    cdef PyObject** keys = <PyObject**> self.keys.data + shape.first
    cdef PyObject* key
    cdef Py_ssize_t position = 0, i = 0
    if fastser_dict_size(dictionary) != shape.count:
        return False
    while fastser_dict_next(dictionary, &position, &key, NULL):
        if key != keys[i] and (fastser_type(key) != fastser_str_type or not text_equal(key, keys[i])):
            return False
        i += 1
    return True


cdef inline Py_ssize_t shape_find(Shapes* self, PyObject* dictionary, uint64_t* hash) noexcept:
    """The number of a dict's shape, SHAPE_UNKNOWN or SHAPE_NONE; its hash for shape_add."""
    cdef PyObject* key
    cdef Py_ssize_t position = 0
    cdef uint64_t h = 0
    cdef size_t at
    cdef uint32_t slot
    if fastser_dict_size(dictionary) > MAX_SHAPE_KEYS:
        return SHAPE_NONE
    while fastser_dict_next(dictionary, &position, &key, NULL):
        if fastser_type(key) != fastser_str_type:
            return SHAPE_NONE
        h = (h ^ <uint64_t> fastser_str_hash(key)) * <uint64_t> 0x9E3779B97F4A7C15
    hash[0] = h
    at = <size_t> (h >> 32) & self.mask
    while True:
        slot = self.slots[at]
        if slot == 0:
            return SHAPE_UNKNOWN
        if (<Shape*> self.shapes.data)[slot - 1].hash == h and shape_matches(self, slot - 1, dictionary):
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


cdef inline Py_ssize_t shape_add(Shapes* self, PyObject* dictionary, uint64_t hash) noexcept:
    """Number a new shape; SHAPE_MEMORY when memory is short."""
    cdef Shape shape
    cdef PyObject* key
    cdef Py_ssize_t position = 0, index = shapes_count(self)
    cdef size_t at
    if <size_t> index * 2 > self.mask and _shapes_grow(self) < 0:
        return SHAPE_MEMORY
    shape.hash = hash
    shape.first = self.keys.size // sizeof(PyObject*)
    shape.count = fastser_dict_size(dictionary)
    if buffer_append(&self.shapes, &shape, sizeof(Shape)) < 0:
        return SHAPE_MEMORY
    if buffer_reserve(&self.keys, shape.count * sizeof(PyObject*)) < 0:
        return SHAPE_MEMORY
    while fastser_dict_next(dictionary, &position, &key, NULL):
        (<PyObject**> (self.keys.data + self.keys.size))[0] = key
        self.keys.size += sizeof(PyObject*)
    at = <size_t> (hash >> 32) & self.mask
    while self.slots[at]:
        at = (at + 1) & self.mask
    self.slots[at] = <uint32_t> (index + 1)
    return index

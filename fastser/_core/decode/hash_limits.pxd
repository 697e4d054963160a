"""The limits of hashing, for frames in which what a key holds may be met twice."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from fastser._core.c.capi cimport (
    fastser_frozendict_type, fastser_frozenset_type, fastser_is_tuple, fastser_slice_type, fastser_type,
)
from fastser._core.decode.state cimport Decoder

# Remember a tuple that is referred to while it is being filled.
cdef int note_open(Decoder* d, uint64_t index) except -1

# At the end: a tuple may contain itself through a list or dict, never through tuples alone: nothing else could make one.
cdef int check_reopened(Decoder* d) except -1

# Before a key that holds others is hashed.
cdef int check_shared(Decoder* d, PyObject* key) except -1


cdef inline bint holds_hashed(PyObject* o, PyObject* t) noexcept:
    """Whether the hash of an object of type t is made of those of others."""
    return fastser_is_tuple(o) or t == fastser_frozenset_type or t == fastser_slice_type or t == fastser_frozendict_type


cdef inline int check_hashable(Decoder* d, PyObject* key) except -1:
    """Before a key or member is hashed."""
    cdef PyObject* t = fastser_type(key)
    if not d.shares or (not holds_hashed(key, t) and d.allowed == NULL):
        return 0
    return check_shared(d, key)

"""Arrays that hold text, of a frame that may be anybody's."""

from cpython.object cimport PyObject

from fastser import characters as _characters
from fastser._core.c.capi cimport fastser_incref
from fastser._core.decode.state cimport Decoder
from fastser._core.values.arrays cimport fastser_array_descr


cdef int check_array(Decoder* d, PyObject* array) except -1:
    # Looked for once for each dtype: they may have many parts, and an array costs a few bytes.  d.dtypes keeps them.
    cdef object descr = <object> fastser_array_descr(array), parts
    cdef dict seen
    if d.text_parts == NULL:
        seen = {}
        fastser_incref(<PyObject*> seen)
        d.text_parts = <PyObject*> seen
    seen = <dict> d.text_parts
    parts = seen.get(id(descr))
    if parts is None:
        parts = seen[id(descr)] = _characters.text_parts(descr)
    if parts:
        _characters.check_characters(<object> array, parts)
    return 0

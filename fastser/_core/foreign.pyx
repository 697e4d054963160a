"""Objects of types that are not native: each is pickled as a unit."""

from cpython.object cimport PyObject

from fastser._core.columns cimport Body
from fastser._core.encoder cimport *
from fastser._core.tags cimport *
from fastser._core.text cimport TEXT_OK, data_append

from fastser import errors as _errors, fallback as _fallback, locate as _locate


cdef object path_of(Encoder* e, PyObject* o):
    return _locate.locate(<object> e.root, <object> o)


cdef int encode_foreign(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Objects of types that are not native, numbered already: each is pickled as a unit."""
    cdef Py_ssize_t i
    cdef object payload, buffers, buffer
    if not e.careful:
        return stop(e, STOP_CAREFUL)
    write_tag(e, TAG_PICKLE)
    e.flags |= FLAG_FOREIGN
    for i in range(n):
        if e.fallback == FALLBACK_NONE:
            raise _errors.needs_fallback(path_of(e, items[i]), _errors.type_name(<object> items[i]))
        try:
            payload, buffers = _fallback.pickle_object(
                <object> items[i], "cloudpickle" if e.fallback == FALLBACK_CLOUDPICKLE else "pickle")
            buffers = [buffer.raw() for buffer in buffers]
        except RecursionError as error:
            raise _errors.pickle_recursed(path_of(e, items[i]), _errors.type_name(<object> items[i])) from error
        except Exception as error:
            raise _errors.cannot_pack(path_of(e, items[i]), _errors.type_name(<object> items[i]), error) from error
        write_memory(e, payload)
        write_varint(e, len(buffers))
        for buffer in buffers:
            write_memory(e, buffer)
    return 0


cdef int write_memory(Encoder* e, object memory) except -1:
    """Bytes or a memoryview as a body."""
    cdef const unsigned char[::1] view
    cdef Body* body
    cdef Py_ssize_t size = len(memory)
    cdef object owner = memoryview(memory).cast("B")
    view = owner
    if size < BYTES_BODY_MIN:
        write_tag(e, BODY_INLINE)
        if data_append(&e.columns, <const char*> &view[0] if size else NULL, size) != TEXT_OK:
            return text_failed(e)
        return 0
    body = body_new(e, <PyObject*> owner)
    body.data = <const char*> &view[0]
    body.size = size
    return write_tag(e, BODY_BUFFER)

"""The Arrow PyCapsule interface: structs out of a producer's capsules, capsules for a consumer, streams read without the GIL."""

from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastser import errors
from fastser._core.arrow.abi cimport ArrowArray, ArrowArrayStream, ArrowSchema


cdef void* _struct(object capsule, const char* name) except NULL:
    if not PyCapsule_IsValid(capsule, name):
        raise errors.not_a_capsule((<bytes> name).decode(), capsule)
    return PyCapsule_GetPointer(capsule, name)


cdef int take_schema(object capsule, ArrowSchema* out) except -1:
    cdef ArrowSchema* source = <ArrowSchema*> _struct(capsule, "arrow_schema")
    if source.release == NULL:
        raise errors.capsule_consumed("arrow_schema")
    out[0] = source[0]
    source.release = NULL
    return 0


cdef int take_stream(object capsule, ArrowArrayStream* out) except -1:
    cdef ArrowArrayStream* source = <ArrowArrayStream*> _struct(capsule, "arrow_array_stream")
    if source.release == NULL:
        raise errors.capsule_consumed("arrow_array_stream")
    out[0] = source[0]
    source.release = NULL
    return 0


cdef int take_schema_and_array(object capsules, ArrowSchema* schema, ArrowArray* array) except -1:
    cdef ArrowArray* source
    if not isinstance(capsules, tuple) or len(<tuple> capsules) != 2:
        raise errors.not_capsules(capsules)
    source = <ArrowArray*> _struct((<tuple> capsules)[1], "arrow_array")
    if source.release == NULL:
        raise errors.capsule_consumed("arrow_array")
    take_schema((<tuple> capsules)[0], schema)
    array[0] = source[0]
    source.release = NULL
    return 0


cdef object new_schema_capsule(ArrowSchema** out):
    cdef void* struct_ = _new_struct(sizeof(ArrowSchema))
    capsule = _capsule(struct_, "arrow_schema", _free_schema)
    out[0] = <ArrowSchema*> struct_
    return capsule


cdef object new_array_capsule(ArrowArray** out):
    cdef void* struct_ = _new_struct(sizeof(ArrowArray))
    capsule = _capsule(struct_, "arrow_array", _free_array)
    out[0] = <ArrowArray*> struct_
    return capsule


cdef object new_stream_capsule(ArrowArrayStream** out):
    cdef void* struct_ = _new_struct(sizeof(ArrowArrayStream))
    capsule = _capsule(struct_, "arrow_array_stream", _free_stream)
    out[0] = <ArrowArrayStream*> struct_
    return capsule


cdef void* _new_struct(size_t size) except NULL:
    cdef void* struct_ = calloc(1, size)
    if struct_ == NULL:
        raise MemoryError()
    return struct_


cdef object _capsule(void* struct_, const char* name, void (*destructor)(object) noexcept):
    try:
        return PyCapsule_New(struct_, name, destructor)
    except:
        free(struct_)
        raise


cdef void _free_schema(object capsule) noexcept:
    cdef ArrowSchema* schema = <ArrowSchema*> PyCapsule_GetPointer(capsule, "arrow_schema")
    if schema.release != NULL:   # nobody took it
        schema.release(schema)
    free(schema)


cdef void _free_array(object capsule) noexcept:
    cdef ArrowArray* array = <ArrowArray*> PyCapsule_GetPointer(capsule, "arrow_array")
    if array.release != NULL:
        array.release(array)
    free(array)


cdef void _free_stream(object capsule) noexcept:
    cdef ArrowArrayStream* stream = <ArrowArrayStream*> PyCapsule_GetPointer(capsule, "arrow_array_stream")
    if stream.release != NULL:
        stream.release(stream)
    free(stream)


cdef int _failed(ArrowArrayStream* stream, str action, int code) except -1:
    """Raise what the producer says: its text is only valid until it is called again."""
    cdef const char* text = NULL
    if stream.get_last_error != NULL:
        with nogil:
            text = stream.get_last_error(stream)
    raise errors.stream_failed(action, code, None if text == NULL else (<bytes> text).decode("utf-8", "replace"))


cdef int stream_schema(ArrowArrayStream* stream, ArrowSchema* out) except -1:
    cdef ArrowSchema schema
    cdef int code
    memset(&schema, 0, sizeof(ArrowSchema))
    if stream.get_schema == NULL:
        raise errors.stream_incomplete("its schema")
    with nogil:
        code = stream.get_schema(stream, &schema)
    if code != 0:
        _failed(stream, "its schema", code)
    if schema.release == NULL:
        raise errors.capsule_consumed("arrow_schema")
    out[0] = schema
    return 0


cdef int stream_next(ArrowArrayStream* stream, ArrowArray* out) except -1:
    cdef ArrowArray array
    cdef int code
    memset(&array, 0, sizeof(ArrowArray))
    if stream.get_next == NULL:
        raise errors.stream_incomplete("its next array")
    with nogil:
        code = stream.get_next(stream, &array)
    if code != 0:
        _failed(stream, "its next array", code)
    if array.release == NULL:
        return 0
    out[0] = array
    return 1

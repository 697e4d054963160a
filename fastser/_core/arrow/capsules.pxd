"""The Arrow PyCapsule interface: structs out of a producer's capsules, capsules for a consumer, streams read without the GIL.

A taken struct is the caller's to release, once.  Where a function raises, ``out`` is left as it was and nothing was taken.
"""

from fastser._core.arrow.abi cimport ArrowArray, ArrowArrayStream, ArrowSchema

# Move the struct out of a capsule: its source is marked released, and the capsule then only frees the struct's own memory.
cdef int take_schema(object capsule, ArrowSchema* out) except -1
cdef int take_stream(object capsule, ArrowArrayStream* out) except -1

# `capsules` is what __arrow_c_array__ returned: both structs are taken, or none.
cdef int take_schema_and_array(object capsules, ArrowSchema* schema, ArrowArray* array) except -1

# New reference: a capsule that holds a zeroed struct, which the caller fills.  The capsule releases what nobody took.
cdef object new_schema_capsule(ArrowSchema** out)
cdef object new_array_capsule(ArrowArray** out)
cdef object new_stream_capsule(ArrowArrayStream** out)

# The schema, or the next array, of a stream: the caller's to release.  The GIL is not held while the producer works.
# stream_next returns 1, or 0 at the stream's end, with `out` untouched.
cdef int stream_schema(ArrowArrayStream* stream, ArrowSchema* out) except -1
cdef int stream_next(ArrowArrayStream* stream, ArrowArray* out) except -1

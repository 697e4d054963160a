from fastser._core.encode.state cimport Encoder


# After the walk: what a call's parts refer to and what was written as part of a container is for both; its bodies are copied by readers.
cdef int mark_reached(Encoder* e) except -1

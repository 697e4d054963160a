"""What is made by running Python code: calls, hooks, and the memory that they ask for."""

from cpython.object cimport PyObject

from fastser._core.decode.state cimport Decoder

cdef int rebuild_calls(Decoder* d, PyObject** out, Py_ssize_t n) except -1
cdef int rebuild_templates(Decoder* d, PyObject** out, Py_ssize_t n) except -1
cdef int rebuild_hooked(Decoder* d, PyObject** out, Py_ssize_t n) except -1
cdef int rebuild_arrow(Decoder* d, PyObject** out, Py_ssize_t n) except -1
cdef int rebuild_memory(Decoder* d, PyObject** out, Py_ssize_t n) except -1

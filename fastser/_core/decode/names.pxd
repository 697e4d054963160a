"""Classes and other callables of a frame."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from fastser._core.classes.plans cimport ClassPlan
from fastser._core.decode.state cimport Decoder

# Borrowed: one met before, or a new one, which is a value of its own.
cdef PyObject* read_callable(Decoder* d) except NULL

# The plan of a class; None for what is no class.
cdef ClassPlan class_plan(Decoder* d, PyObject* cls)

# With safe=True, say that a class needs more than its fields; else nothing.
cdef int refuse(Decoder* d, PyObject* cls) except -1

# With safe=True, check that the instances of a class may be made from their fields.
cdef int check_fields(Decoder* d, PyObject* cls) except -1

# With safe=True, how what is called may make an object of such parts; it was looked at before.
cdef object way_of(Decoder* d, object call, uint64_t parts)

# What takes the place of something that would run Python code, while a frame is inspected.  `cls` is a stand-in itself, or NULL.
cdef object stand_in(Decoder* d, object what, PyObject* cls, object hook=*, uint64_t parts=*)

cdef int rebuild_globals(Decoder* d, PyObject** out, Py_ssize_t n) except -1

"""The columns of many rows or records at once, made a few rows at a time."""

from cpython.object cimport PyObject
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from fastser._core.decoder cimport Decoder
from fastser._core.leaf_runs cimport LeafRun, read_leaf_run
from fastser._core.slots cimport slots_free


cdef enum:
    CHUNK = 128               # rows that are made at a time


cdef struct Column:
    LeafRun leaves            # tag 0: `items` holds them already
    PyObject** items


cdef inline void columns_free(Column* columns, Py_ssize_t width, Py_ssize_t n) noexcept:
    cdef Py_ssize_t j
    for j in range(width):
        if columns[j].items != NULL:
            slots_free(columns[j].items, n)
    free(columns)


cdef inline PyObject** read_columns(
    Decoder* d, Column* columns, Py_ssize_t width, PyObject** scratch, Py_ssize_t chunk, Py_ssize_t start, Py_ssize_t m,
) except NULL:
    """m rows of all columns, ``chunk`` apart, in ``scratch``, which owns them."""
    cdef Py_ssize_t j
    for j in range(width):
        if columns[j].leaves.tag:
            read_leaf_run(d, &columns[j].leaves, scratch + j * chunk, start, m)
        else:
            memcpy(scratch + j * chunk, columns[j].items + start, m * sizeof(PyObject*))
            memset(columns[j].items + start, 0, m * sizeof(PyObject*))
    return scratch

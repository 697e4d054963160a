"""The columns of many rows or records at once, made a few rows at a time."""

from cpython.object cimport PyObject
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastser._core.c.refs cimport slots_free, slots_new
from fastser._core.decode.leaf_runs cimport LeafRun, open_leaf_run, read_leaf_run
from fastser._core.decode.state cimport Decoder


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


cdef inline Column* open_columns(Decoder* d, Py_ssize_t width, Py_ssize_t n) except NULL:
    """The columns of n rows, claimed already.  columns_free takes them.

    Leaves are not made yet: making them a few rows at a time keeps them in the processor's cache
    until they are put into their row.
    """
    cdef Py_ssize_t j
    cdef Column* columns = <Column*> calloc(width if width else 1, sizeof(Column))
    if columns == NULL:
        raise MemoryError()
    try:
        for j in range(width):
            if n > 1 and d.at < d.end and open_leaf_run(d, d.at[0], n, &columns[j].leaves):
                d.at += 1
                continue
            columns[j].leaves.tag = 0
            columns[j].items = slots_new(n)
            # Claimed while it was still to come: given back before it claims itself.
            if n > 1:
                d.budget += n
            d.walk_items(d, columns[j].items, n)
    except:
        columns_free(columns, width, n)
        raise
    return columns


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

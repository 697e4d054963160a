"""Arrays of strong references: scratch of the decoder's, and the items of the lists and tuples that it fills."""

from cpython.object cimport PyObject
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastser._core.c.capi cimport fastser_incref, fastser_xdecref
from fastser._core.c.pages cimport HUGE_MIN, fastser_advise_huge


cdef inline PyObject* new_reference(object o) noexcept:
    """For a slot."""
    fastser_incref(<PyObject*> o)
    return <PyObject*> o


cdef inline PyObject** slots_new(Py_ssize_t n) except NULL:
    """n empty slots; slots_free takes them and what was put there."""
    cdef PyObject** slots = <PyObject**> calloc(n if n else 1, sizeof(PyObject*))
    if slots == NULL:
        raise MemoryError()
    if n * sizeof(PyObject*) >= HUGE_MIN:
        fastser_advise_huge(<char*> slots, n * sizeof(PyObject*))
    return slots


cdef inline void slots_free(PyObject** slots, Py_ssize_t n) noexcept:
    cdef Py_ssize_t i
    for i in range(n):
        fastser_xdecref(slots[i])
    free(slots)


cdef enum:
    FEW = 8    # slots that lie on the stack


cdef inline PyObject** slots_few(PyObject** few, Py_ssize_t n) except NULL:
    """The same, in room for FEW of them if they fit there; slots_done takes them."""
    if n > FEW:
        return slots_new(n)
    memset(few, 0, FEW * sizeof(PyObject*))
    return few


cdef inline void slots_done(PyObject** slots, PyObject** few, Py_ssize_t n) noexcept:
    cdef Py_ssize_t i
    for i in range(n):
        fastser_xdecref(slots[i])
    if slots != few:
        free(slots)


cdef inline void fill_slots(PyObject** slots, PyObject** items, Py_ssize_t size) noexcept:
    """Steals items; what lay in the slots is let go."""
    cdef Py_ssize_t i
    cdef PyObject* old
    for i in range(size):
        old = slots[i]
        slots[i] = items[i]
        items[i] = NULL
        fastser_xdecref(old)


cdef inline void replace_slot(PyObject** slot, PyObject* o) noexcept:
    cdef PyObject* old = slot[0]
    fastser_incref(o)
    slot[0] = o
    fastser_xdecref(old)
